use caesure_consensus::Coin;
use caesure_ledger::{BlockInfo, Summary, Tally, World};
use caesure_text::hex;
use caesure_wire::{BlockHash, OutPoint};
use serde_json::{Value, json};

use crate::args::{Ceiling, Common, Utxo};
use crate::chain::Chain;
use crate::opening::{Access, Settings, find_block, open_chain};
use crate::progress::{measure, show_count, watch};
use crate::{Error, Outcome, base, print_line, report, utxo_file};

pub(crate) fn run(common: &Common, ceiling: Ceiling, command: &Utxo) -> Result<Outcome, Error> {
    match command {
        Utxo::Info { file: Some(file), .. } => utxo_file::info(common, file)?,
        Utxo::Info { at, file: None } => info(common, &open(common, ceiling)?, at)?,
        Utxo::Diff { from, at } => diff(common, &open(common, ceiling)?, from, at)?,
        Utxo::Export { at, format, file } => {
            utxo_file::refuse_existing(file)?;
            utxo_file::export(common, &open(common, ceiling)?, at, *format, file)?;
        }
        Utxo::Load { file, hash } => utxo_file::load(common, ceiling, file, *hash)?,
    }
    Ok(Outcome::Done)
}

/// Opens the base to look at sets.
fn open(common: &Common, ceiling: Ceiling) -> Result<Chain, Error> {
    let folder = base::network_folder(common.base.as_deref(), common.network())?;
    open_chain(&folder, common.params(), Access::Read, &Settings::reading(ceiling))
}

/// Finds the set of a block.
pub(crate) fn world(chain: &Chain, at: &str) -> Result<World, Error> {
    let hash = chain.tree.hash(find_block(chain, at)?);
    let root = chain.ledger.root();
    let not_held = caesure_ledger::Error::NotHeld { hash, root: root.hash, height: root.height };
    Ok(chain.ledger.world(&hash).ok_or(not_held)?)
}

/// What was counted of a set, in the words of Core's `gettxoutsetinfo`.
pub(crate) fn push_summary(fields: &mut Value, summary: &Summary) {
    // Both hashes are printed as Core prints them, last byte first.
    let text = |hash: [u8; 32]| BlockHash(hash).to_string();
    fields["transactions"] = summary.transactions.into();
    fields["txouts"] = summary.txouts.into();
    fields["bogosize"] = summary.bogosize.into();
    fields["total_amount"] = summary.total_amount.into();
    fields["hash_serialized_3"] = text(summary.hash_serialized_3).into();
    fields["muhash"] = text(summary.muhash).into();
}

fn info(common: &Common, chain: &Chain, at: &str) -> Result<(), Error> {
    let world = world(chain, at)?;
    let info = *world.info();
    let mut fields = block_fields(&info);
    let mut tally = Tally::default();
    for_each_coin(&world, "hashing coins", |outpoint, coin| tally.push(outpoint, coin))?;
    push_summary(&mut fields, &tally.finish());
    fields["fees"] = info.fees.into();
    fields["lost"] = info.lost().into();
    fields["chain_work"] = info.chain_work.to_string().into();
    fields["verified"] = world.is_verified().into();
    report(common, &fields);
    Ok(())
}

/// Visits all coins of a set.
pub(crate) fn for_each_coin(
    world: &World,
    what: &'static str,
    mut visit: impl FnMut(&OutPoint, &Coin),
) -> Result<(), Error> {
    Ok(measure(what, 0, |bar| {
        let mut count = 0_u64;
        world.for_each(|outpoint, coin| {
            count += 1;
            show_count(bar, count);
            visit(outpoint, coin);
        })
    })?)
}

/// Names a block.
pub(crate) fn block_fields(info: &BlockInfo) -> Value {
    json!({ "height": info.height, "bestblock": info.hash.to_string() })
}

fn diff(common: &Common, chain: &Chain, from: &str, at: &str) -> Result<(), Error> {
    let (from, to) = (world(chain, from)?, world(chain, at)?);
    let difference = watch("comparing", || from.diff(&to))?;
    let mut fields = json!({
        "from": block_fields(from.info()),
        "at": block_fields(to.info()),
        "removed_count": difference.removed.len(),
        "added_count": difference.added.len(),
    });
    let list = |coins: &[(OutPoint, Coin)]| coins.iter().map(coin_fields).collect::<Value>();
    if common.json {
        fields["removed"] = list(&difference.removed);
        fields["added"] = list(&difference.added);
    } else {
        let signed = [('-', &difference.removed), ('+', &difference.added)];
        for (sign, coins) in signed {
            coins.iter().for_each(|coin| print_line(&coin_line(sign, coin)));
        }
    }
    report(common, &fields);
    Ok(())
}

fn coin_fields((outpoint, coin): &(OutPoint, Coin)) -> Value {
    json!({
        "txid": outpoint.txid.to_string(),
        "vout": outpoint.vout,
        "value": coin.value,
        "height": coin.height,
        "coinbase": coin.is_coinbase,
        "script_pubkey": hex::encode(&coin.script_pubkey),
    })
}

/// Sign, outpoint, satoshi, height with `c` behind a coinbase's, script.
fn coin_line(sign: char, (outpoint, coin): &(OutPoint, Coin)) -> String {
    let Coin { value, height, is_coinbase, script_pubkey } = coin;
    let mark = if *is_coinbase { "c" } else { "" };
    format!("{sign} {outpoint} {value} {height}{mark} {}", hex::encode(script_pubkey))
}
