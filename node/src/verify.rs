use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::Path;

use caesure_consensus::HeaderId;
use caesure_ledger::Ledger;
use caesure_text::hex;
use caesure_wire::BlockHash;
use serde_json::json;

use crate::args::{Common, Verify};
use crate::chain::{Chain, OnScriptFault};
use crate::import::{conclude, stop_flag};
use crate::opening::{Access, Settings, open_chain};
use crate::progress::Progress;
use crate::{Error, Outcome, base};

pub(crate) fn run(common: &Common, options: &Verify) -> Result<Outcome, Error> {
    let on_script_fault = fault_writer(options)?;
    let folder = base::network_folder(common.base.as_deref(), common.network())?;
    let settings = Settings::new(&options.validation);
    let mut chain = open_chain(&folder, common.params(), Access::ReadFromGenesis, &settings)?;
    refuse_pruned(&chain, &folder)?;
    chain.stop = stop_flag();
    chain.on_script_fault = Some(on_script_fault);
    let best = chain.best_complete().ok_or_else(|| Error::EmptyBase(folder.clone()))?;
    // A stored branch with more work that leads elsewhere was refused.
    let standing = open_standing(&folder, common, options);
    let held = standing.as_ref().map(|ledger| ledger.tip().info().hash);
    let held = held.and_then(|tip| chain.tree.find(&tip));
    let leads_on =
        |tip: &HeaderId| chain.tree.ancestor(best, chain.tree.height(*tip)) == Some(*tip);
    let best = held.filter(|tip| !leads_on(tip)).unwrap_or(best);
    let total = chain.tree.height(best);
    let snapshot = standing.filter(|ledger| !ledger.is_verified());
    let snapshot = snapshot.and_then(|ledger| Some((*ledger.base(), ledger.snapshot()?)));
    let mut fees = None;
    let mut progress = Progress::new(total.into());
    for height in 1..=total {
        if chain.is_stopped() {
            break;
        }
        let id = chain.tree.ancestor(best, height).expect("the best chain has every height");
        chain.offer_stored(id)?;
        progress.show(height.into(), &mut chain)?;
        if let Some((base, hash)) = snapshot.filter(|(base, _)| base.hash == chain.tree.hash(id)) {
            chain.drain()?;
            fees = fees_if_equal(&chain, &base.hash, hash, &folder)?;
        }
    }
    chain.drain()?;
    progress.finish();
    if let Some(fees) = fees.filter(|_| chain.counts.invalid == 0) {
        let mut standing = open_chain(&folder, common.params(), Access::Write, &settings)?;
        standing.ledger.mark_verified(fees)?;
        standing.save()?;
        eprintln!("the snapshot is verified: validation from genesis gives the same set");
    }
    Ok(conclude(common, &chain, &progress, json!({ "blocks_stored": total })))
}

/// Nothing can be validated from genesis on without the bodies of blocks.
fn refuse_pruned(chain: &Chain, folder: &Path) -> Result<(), Error> {
    let entries = chain.store.reader().entries().collect::<Result<Vec<_>, _>>()?;
    let mut released = entries.iter().filter(|entry| entry.is_released);
    match released.next() {
        Some(first) => Err(Error::Pruned {
            folder: folder.to_owned(),
            count: 1 + released.count(),
            first: first.hash,
        }),
        None => Ok(()),
    }
}

/// The ledger that stands in the folder, if that can be read.
fn open_standing(folder: &Path, common: &Common, options: &Verify) -> Option<Ledger> {
    let settings = Settings::reading(options.validation.ceiling);
    Some(open_chain(folder, common.params(), Access::Read, &settings).ok()?.ledger)
}

/// Compares the set of a snapshot's block with the snapshot's; returns the fees up to the block, or
/// none if validation did not get there.
fn fees_if_equal(
    chain: &Chain,
    block: &BlockHash,
    expected: [u8; 32],
    folder: &Path,
) -> Result<Option<i64>, Error> {
    let Some(world) = chain.ledger.world(block) else { return Ok(None) };
    let found = world.hash_serialized_3()?;
    if found == expected {
        return Ok(Some(world.info().fees));
    }
    let (found, folder) = (BlockHash(found), folder.to_owned());
    Err(Error::WrongSnapshot { block: *block, found, folder })
}

/// Writes the inputs whose script fails, in the original's form, into a file that is made by the
/// first of them. That it cannot be made is said before.
fn fault_writer(options: &Verify) -> Result<OnScriptFault, Error> {
    let path = options.fails.clone();
    let is_new = !path.exists();
    OpenOptions::new().create(true).append(true).open(&path).map_err(Error::io(&path))?;
    if is_new {
        fs::remove_file(&path).map_err(Error::io(&path))?;
    }
    let mut file: Option<BufWriter<File>> = None;
    Ok(Box::new(move |scripts, faults| {
        let file = match &mut file {
            Some(file) => file,
            None => file.insert(BufWriter::new(File::create(&path).map_err(Error::io(&path))?)),
        };
        for fault in faults {
            let block = &scripts.body.block;
            let tx = block.tx(fault.tx);
            let coin = Chain::prevouts_of(scripts, fault.tx)[fault.input].as_ref();
            let script = coin.map_or_else(String::new, |coin| hex::encode(&coin.script_pubkey));
            let (txid, bytes) = (scripts.body.txids[fault.tx], hex::encode(tx.bytes()));
            let (input, time) = (fault.input, block.header().time);
            writeln!(file, "#{txid} {}\n{script} {bytes} {input} {time}", fault.error)
                .and_then(|()| file.flush())
                .map_err(Error::io(&path))?;
        }
        Ok(())
    }))
}
