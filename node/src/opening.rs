use std::fs;
use std::path::Path;
use std::sync::Arc;

use caesure_blockstore::{BlockStore, Cut, DamagedRecord, OpenReport};
use caesure_consensus::{HeaderId, HeaderTree, Params};
use caesure_eventlog::Event;
use caesure_ledger::{BlockInfo, Ledger, Options, genesis_info};
use caesure_wire::{BlockHash, Header};

use crate::args::{Ceiling, Validation};
use crate::chain::{Chain, Store};
use crate::memory::Memory;
use crate::progress::watch;
use crate::{Error, clock, truncate};

/// What a command does with the base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Stores blocks; one process at a time.
    Write,
    /// Changes nothing.
    Read,
    /// Changes nothing, and builds the set anew in memory.
    ReadFromGenesis,
}

/// How blocks are validated and kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) threads: usize,
    pub(crate) horizon: u32,
    pub(crate) memory: Memory,
    /// Scripts up to this block are taken to be good; zero for none.
    pub(crate) assumed_valid: BlockHash,
}

impl Settings {
    pub(crate) fn new(validation: &Validation) -> Self {
        Self {
            threads: validation.threads(),
            horizon: validation.horizon,
            memory: validation.ceiling.memory(),
            assumed_valid: validation.assumevalid.unwrap_or(BlockHash::ZERO),
        }
    }

    /// How the ledger is held.
    pub(crate) fn ledger(&self) -> Options {
        let Memory { ledger_memory: memory, sort, .. } = self.memory;
        let mut options = Options { horizon: self.horizon, memory, sort, ..Options::default() };
        // What of the log is mapped by large pages is resident: not before it outgrows the memory.
        options.chunks_from = options.chunks_from.max(memory);
        options
    }

    /// For a command that validates nothing.
    pub(crate) fn reading(ceiling: Ceiling) -> Self {
        let memory = Memory { script_cache: 0, ..ceiling.memory() };
        Self { threads: 1, horizon: 288, memory, assumed_valid: BlockHash::ZERO }
    }
}

/// Opens the base's block store and ledger and reads all stored headers.
pub(crate) fn open_chain(
    folder: &Path,
    params: Params,
    access: Access,
    settings: &Settings,
) -> Result<Chain, Error> {
    #[cfg(test)]
    let _held = crate::tests::no_start();
    let params = Arc::new(params);
    if access != Access::Write && !folder.is_dir() {
        return Err(Error::EmptyBase(folder.to_owned()));
    }
    let mut found = Vec::new();
    let mut store = match access {
        Access::Write => {
            fs::create_dir_all(folder).map_err(Error::io(folder))?;
            let (mut store, report) =
                watch("opening the blocks", || BlockStore::open(folder, params.magic))?;
            truncate::resume(&mut store, folder, params.magic)?;
            describe(folder, &report, &mut found);
            Store::Writer(store)
        }
        Access::Read | Access::ReadFromGenesis => {
            let open = || BlockStore::open_read_only(folder, params.magic);
            Store::Reader(watch("opening the blocks", open)?)
        }
    };
    let entries = store.reader().entries().map(|entry| entry.map(|entry| entry.header));
    let mut headers = entries.collect::<Result<Vec<Header>, _>>()?;
    let is_foreign =
        |header: &Header| header.prev_block == BlockHash::ZERO && *header != params.genesis;
    if headers.iter().any(is_foreign) {
        let network = params.network.name();
        return Err(Error::OtherNetwork { path: folder.to_owned(), network });
    }
    if let Store::Writer(store) = &mut store {
        store.append(&params.genesis_block(), &params.genesis_hash)?;
    }
    let tree = HeaderTree::new(&params);
    let genesis = genesis_info(&params, &tree);
    let options = settings.ledger();
    let ledger = if access == Access::ReadFromGenesis {
        Ledger::temporary(folder, genesis, options)?
    } else {
        open_ledger(folder, &params, genesis, options, &store, &mut found)?
    };
    let mut chain = Chain::new(params, tree, store, ledger, settings);
    chain.found = found;
    // The oldest are taken first, from the end.
    headers.reverse();
    watch("reading headers", || chain.accept_stored(headers, clock::unix_time()));
    chain.link_from(0);
    Ok(chain)
}

/// Opens the ledger beside a block store, for writing if the store is. What was found is told, and added
/// to `found`.
pub(crate) fn open_ledger(
    folder: &Path,
    params: &Params,
    genesis: BlockInfo,
    options: Options,
    store: &Store,
    found: &mut Vec<Event>,
) -> Result<Ledger, Error> {
    let is_writer = matches!(store, Store::Writer(_));
    // A block whose body is released was stored: the ledger has no need of it.
    let store_reader = store.reader();
    let mut is_stored =
        |hash: &BlockHash| Ok(store_reader.contains(hash) || store_reader.is_released(hash));
    let (ledger, report) = watch("opening the ledger", || {
        Ledger::open(folder, params, genesis, options, is_writer, &mut is_stored)
    })?;
    let (checkpoint, replayed) = (report.had_checkpoint, report.replayed);
    found.push(Event::LedgerOpened { checkpoint, replayed });
    if let Some((path, position)) = report.damaged {
        let file = path.display().to_string();
        eprintln!(
            "{file} is damaged at offset {position}; the ledger was made anew from what is whole"
        );
        found.push(Event::LedgerDamaged { file, position });
    }
    if report.stepped_back {
        let height = ledger.tip().info().height;
        match is_writer {
            true => {
                eprintln!("the block file is shorter than the ledger, which stepped back to it")
            }
            false => eprintln!(
                "the ledger is ahead of the index of blocks, as after a crash: this shows it up to height {height}; \
                 caesure import brings the index up to date"
            ),
        }
        found.push(Event::LedgerSteppedBack { height });
    }
    if is_writer && 0 < report.torn_bytes {
        let size = report.torn_bytes;
        eprintln!("cut {size} bytes of an unfinished record from the ledger's log");
        found.push(Event::LedgerCut { size });
    }
    if !ledger.is_verified() {
        let BlockInfo { hash, height, .. } = *ledger.base();
        eprintln!(
            "unverified: the set stands on a snapshot of block {hash} at height {height}, which validation from \
             genesis has not reached; caesure verify does it"
        );
        found.push(Event::Unverified { name: hash.0, height });
    }
    Ok(ledger)
}

fn describe(folder: &Path, report: &OpenReport, found: &mut Vec<Event>) {
    let path = folder.join("blocks.bin");
    let file = path.display();
    if 0 < report.indexed {
        found.push(Event::IndexScanned { count: report.indexed, size: report.scanned_bytes });
    }
    if let Some(Cut { position, bytes: size, fault }) = report.cut {
        eprintln!("cut {size} bytes from the end of {file}, at offset {position}: {fault}");
        found.push(Event::BlocksCut { position, size, reason: fault.to_string() });
    }
    for DamagedRecord { position, hash, fault } in &report.damaged {
        let reason = format!("{file} at offset {position}: {fault}");
        eprintln!("block {hash}: {reason}; import it again");
        found.push(Event::BlockDamaged { name: hash.0, reason });
    }
}

/// Finds a block by hash, by height on the tip's branch, or as `tip` or `tip-N`.
pub(crate) fn find_block(chain: &Chain, text: &str) -> Result<HeaderId, Error> {
    let found = chain.tree.find_named(text, chain.tip_id());
    found.ok_or_else(|| Error::NoSuchBlock(text.to_owned()))
}
