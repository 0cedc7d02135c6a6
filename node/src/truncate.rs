use std::fs::{self, File};
use std::io::{BufWriter, Write, stdin};
use std::path::Path;

use caesure_blockstore::{BlockStore, RecordReader};
use caesure_wire::{BlockHash, Header};
use serde_json::json;

use crate::args::{Ceiling, Common};
use crate::chain::{Chain, Store};
use crate::opening::{Access, Settings, find_block, open_chain};
use crate::progress::watch;
use crate::{Error, Outcome, base, report};

/// Holds the kept blocks that lie behind dropped ones while the file is cut.
const PENDING: &str = "truncate.pending";

pub(crate) fn run(
    common: &Common,
    ceiling: Ceiling,
    block: &str,
    yes: bool,
) -> Result<Outcome, Error> {
    let folder = base::network_folder(common.base.as_deref(), common.network())?;
    let mut chain =
        open_chain(&folder, common.params(), Access::Write, &Settings::reading(ceiling))?;
    let id = find_block(&chain, block)?;
    let height = chain.tree.height(id);
    let (dropped, cut_at) = blocks_above(&chain, height)?;
    if let Some(cut_at) = cut_at {
        eprintln!(
            "{dropped} blocks above height {height}, on all forks, will be dropped from {}",
            folder.display()
        );
        if !yes && !is_confirmed() {
            return Err(Error::NotConfirmed);
        }
        watch("stepping back", || step_back(&mut chain, height))?;
        let Store::Writer(store) = &mut chain.store else { unreachable!("opened for writing") };
        let is_kept = |hash: &BlockHash| {
            chain.tree.find(hash).is_none_or(|id| chain.tree.height(id) <= height)
        };
        watch("dropping blocks", || cut(store, &folder, chain.params.magic, cut_at, is_kept))?;
    }
    let tip = *chain.ledger.tip().info();
    report(
        common,
        &json!({
            "blocks_dropped": dropped,
            "height": tip.height,
            "bestblock": tip.hash.to_string(),
        }),
    );
    Ok(Outcome::Done)
}

/// How many stored blocks are above a height, and where in the file the first of them lies.
fn blocks_above(chain: &Chain, height: u32) -> Result<(u64, Option<u64>), Error> {
    let Store::Writer(store) = &chain.store else { unreachable!("opened for writing") };
    let mut dropped = 0;
    let mut cut_at: Option<u64> = None;
    for entry in store.entries() {
        let entry = entry?;
        if chain.tree.find(&entry.hash).is_some_and(|id| height < chain.tree.height(id)) {
            dropped += 1;
            cut_at = Some(cut_at.map_or(entry.position, |at| at.min(entry.position)));
        }
    }
    Ok((dropped, cut_at))
}

fn is_confirmed() -> bool {
    eprint!("go on? [y/N] ");
    let mut answer = String::new();
    stdin().read_line(&mut answer).is_ok() && matches!(answer.trim(), "y" | "yes")
}

/// Takes the ledger down first: were it the other way round, a crash between would make it build
/// the set anew.
fn step_back(chain: &mut Chain, height: u32) -> Result<(), Error> {
    let root = chain.ledger.root();
    if height < root.height {
        let root_id = chain.tree.find(&root.hash).expect("the root's header is in the tree");
        let to = chain.tree.ancestor(root_id, height).expect("heights below are ancestors");
        chain.ledger.rewind_to(&chain.tree.hash(to))?;
    }
    for world in chain.ledger.worlds() {
        if height < world.height {
            chain.ledger.discard(&world.hash)?;
        }
    }
    Ok(chain.ledger.checkpoint()?)
}

/// Cuts the file at `cut_at` and appends again what is kept of the part behind.
fn cut(
    store: &mut BlockStore,
    folder: &Path,
    magic: [u8; 4],
    cut_at: u64,
    is_kept: impl Fn(&BlockHash) -> bool,
) -> Result<(), Error> {
    let pending = folder.join(PENDING);
    let temporary = pending.with_extension("tmp");
    let mut file = BufWriter::new(File::create(&temporary).map_err(Error::io(&temporary))?);
    for entry in store.entries() {
        let entry = entry?;
        if cut_at <= entry.position && is_kept(&entry.hash) {
            let bytes = store.read(&entry.hash)?;
            let size = u32::try_from(bytes.len()).expect("a block is under 4 GiB");
            [&magic[..], &size.to_le_bytes(), &bytes]
                .iter()
                .try_for_each(|part| file.write_all(part))
                .map_err(Error::io(&temporary))?;
        }
    }
    let file = file.into_inner().map_err(|error| error.into_error());
    file.and_then(|file| file.sync_all()).map_err(Error::io(&temporary))?;
    fs::rename(&temporary, &pending).map_err(Error::io(&pending))?;
    store.truncate_to(cut_at)?;
    resume(store, folder, magic)
}

/// Appends what a truncation that was interrupted had put aside.
pub(crate) fn resume(store: &mut BlockStore, folder: &Path, magic: [u8; 4]) -> Result<(), Error> {
    let pending = folder.join(PENDING);
    if !pending.exists() {
        return Ok(());
    }
    for record in RecordReader::open(&pending, magic)? {
        let bytes = record?.bytes;
        if let Some(header) = bytes.as_ref().first_chunk() {
            store.append(bytes.as_ref(), &Header::from_bytes(header).hash())?;
        }
    }
    store.sync()?;
    fs::remove_file(&pending).map_err(Error::io(&pending))
}
