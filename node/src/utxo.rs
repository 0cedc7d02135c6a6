use caesure_wire::BlockHash;
use serde_json::json;

use crate::args::{Common, Utxo};
use crate::opening::{Access, find_block, open_chain};
use crate::{Error, Outcome, base, report};

pub(crate) fn run(common: &Common, command: &Utxo) -> Result<Outcome, Error> {
    let Utxo::Info { at } = command;
    let folder = base::network_folder(common.base.as_deref(), common.network())?;
    let chain = open_chain(&folder, common.params(), Access::Read, 288, 1)?;
    let hash = chain.tree.hash(find_block(&chain, at)?);
    let root = chain.ledger.root();
    let world = chain.ledger.world(&hash).ok_or(caesure_ledger::Error::NotHeld {
        hash,
        root: root.hash,
        height: root.height,
    })?;
    let (info, summary) = (*world.info(), world.summary()?);
    // Both hashes are printed as Core prints them, last byte first.
    let text = |hash: [u8; 32]| BlockHash(hash).to_string();
    report(
        common,
        &json!({
            "height": info.height,
            "bestblock": info.hash.to_string(),
            "transactions": summary.transactions,
            "txouts": summary.txouts,
            "bogosize": summary.bogosize,
            "total_amount": summary.total_amount,
            "hash_serialized_3": text(summary.hash_serialized_3),
            "muhash": text(summary.muhash),
            "fees": info.fees,
            "lost": info.lost(),
            "chain_work": info.chain_work.to_string(),
        }),
    );
    Ok(Outcome::Done)
}
