//! The many-worlds UTXO set.
//!
//! A [`Ledger`] holds the complete set of unspent outputs not of one block, as other nodes do, but
//! of every recent block on every fork. Each is a [`World`]: immutable, taken in constant time, and
//! free to hold. A reorganisation moves a pointer; nothing is disconnected.
//!
//! - The *log* has a record for each block: the coins that it made, and where those lie that it
//!   spent. It is only ever appended to, and a coin is named by its place in it.
//! - The *table* finds the places of a transaction's coins, in eight bytes a coin. It has the coins
//!   of all worlds at once.
//! - The *window* is the blocks of all forks above the *root*, the youngest block that all live forks
//!   share and that is at least a horizon below the tip. A coin is in a world if the block that made
//!   it is the world's own, one of its ancestors, or not above the root, and none of these has spent
//!   it: a few bit tests, however many worlds there are.
//! - What the root spent leaves the table when the root moves up; when a fork is dropped, what it
//!   made does.
//! - A *checkpoint* of the table is written while blocks go on, and replaces the last one at once.
//!   After a crash the log is redone from where it began.
//!
//! A block goes through three steps, so that the scripts of one can be checked while the next is
//! already resolved: [`Ledger::resolve`] finds the coins that it spends, [`Ledger::extend`] makes
//! its world, invisible to others, and [`Ledger::commit`] shows it, or [`Ledger::discard`] drops it.
//! The ledger does not judge: between the steps, the caller applies the rules of
//! `caesure-consensus`.
//!
//! ```
//! use caesure_consensus::{HeaderTree, Network, Params};
//! use caesure_ledger::{Ledger, genesis_info};
//!
//! let params = Params::new(Network::Regtest);
//! let tree = HeaderTree::new(&params);
//! let ledger = Ledger::in_memory(genesis_info(&params, &tree), 288);
//! let summary = ledger.tip().summary()?;
//! assert_eq!(summary.txouts, 0); // nobody can spend the genesis block's coin
//! # Ok::<(), caesure_ledger::Error>(())
//! ```
//!
//! Readers take no lock: any number of threads look coins up while one connects blocks. Its two files
//! are described byte by byte in `docs/ledger-file.md`.

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod checkpoint;
mod coin;
mod compress;
mod delta;
mod disk;
mod error;
mod format;
mod hasher;
mod load;
mod log;
mod mapping;
mod open;
pub mod original;
mod shared;
pub mod snapshot;
mod sorted;
mod spends;
mod table;
mod tally;
mod trim;
mod window;
mod world;
mod worlds;

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Release;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::sync::{Arc, Mutex, RwLock};

use caesure_consensus::{Coin, HeaderTree, Params, Work, subsidy};
use caesure_wire::{Block, BlockHash, Txid};
use smallvec::SmallVec;

pub use checkpoint::{Checkpoint, Checkpointed};
pub use disk::{Change, Watch};
pub use error::Error;
pub use format::{FormatError, FormatFault};
pub use open::OpenReport;
pub use tally::Tally;
pub use window::BlockInfo;
pub use world::{Difference, Summary, World};
pub use worlds::{WorldSize, Worlds};

use delta::Delta;
use disk::Disk;
use log::{Kind, Log, NO_RECORD, new_record};
use shared::{Beside, Extras, Shared};
use spends::Spends;
use table::{Key, Place, Slot, Source, Spot, Table};
use window::{Entry, MAX_WINDOW, Window};

/// A hash map that nobody outside can aim collisions at.
pub(crate) type Map<K, V> = hashbrown::HashMap<K, V, foldhash::fast::RandomState>;

/// Says whether the block store has a block.
pub type IsStored<'a> = &'a mut dyn FnMut(&BlockHash) -> Result<bool, caesure_blockstore::Error>;

/// How a ledger is held.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many blocks below the tip keep a world of their own.
    pub horizon: u32,
    /// How many bytes of memory the table may take; what is beyond lies in a file without a name that
    /// the system writes out as it likes.
    pub memory: u64,
    /// How many bytes may be taken to put a set into key order, at least 4 MiB; what is beyond goes
    /// to files without a name.
    pub sort: u64,
    /// From which length on the log's file grows by two MiB at once, zeros behind its records, which the next
    /// ones are written over: systems with large pages map those as one, and look-ups in a long log wait
    /// less. A short one would be resident as a whole. The zeros are cut at the end.
    pub chunks_from: u64,
    /// Who is told of each change to a file before it is made, if anybody.
    pub watch: Option<Arc<dyn Watch>>,
}

impl Default for Options {
    fn default() -> Self {
        Self { horizon: 288, memory: 1 << 30, sort: 128 << 20, chunks_from: 256 << 20, watch: None }
    }
}

/// The coins that a block spends, found in its parent's world.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// For each input of each transaction but the coinbase, in the block's order: the coin, or none
    /// where it is missing or already spent.
    pub prevouts: Arc<[Option<Coin>]>,
    /// Whether an output of the block stands in the parent's world already. Spec: BIP-0030.
    pub overwrites: bool,
    hash: BlockHash,
    prev_block: BlockHash,
    height: u32,
    /// What is spent of earlier blocks, in the order of the inputs, and then what the coinbase
    /// overwrites.
    gone: Vec<(Key, Place)>,
    gone_value: i64,
    /// The block's own outputs that it spends, in their order: the number of the transaction that makes
    /// it, the output's index, and which input spends it.
    spent_here: Vec<(usize, u32, usize)>,
}

/// What the rules say of a block: its work, and what it adds to the sums, in satoshi.
#[derive(Clone, Copy, Debug)]
pub struct Sums {
    /// The work of the chain up to the block.
    pub chain_work: Work,
    /// The fees of its transactions.
    pub fees: i64,
    /// The subsidy at its height.
    pub subsidy: i64,
}

/// Returns what a ledger starts from. The genesis block's coin is not in the set.
#[must_use]
pub fn genesis_info(params: &Params, tree: &HeaderTree) -> BlockInfo {
    BlockInfo {
        hash: params.genesis_hash,
        height: 0,
        chain_work: tree.chain_work(HeaderTree::GENESIS),
        total: 0,
        fees: 0,
        issued: subsidy(0, params),
    }
}

/// The writer's side of the set. One at a time for a folder: the block store's lock sees to it, which is
/// to be held until this is dropped.
#[derive(Debug)]
pub struct Ledger {
    shared: Arc<Shared>,
    disk: Disk,
    horizon: u32,
    network: [u8; 4],
    /// Where the set begins: the genesis block, or that of a snapshot.
    base: BlockInfo,
    /// The hash of the set that it begins with, if that was a snapshot.
    snapshot: Option<[u8; 32]>,
    /// Where checkpoints go; none for a ledger without a folder, or a reader's.
    table_path: Option<PathBuf>,
    /// The length of the log when the last checkpoint began, and that of the checkpoint.
    checkpoint_at: u64,
    checkpoint_len: u64,
    /// Counts checkpoints that were begun or given up, so that only the last one counts.
    checkpoint_turn: u64,
    /// How many coins were spent since the log's pages were given back.
    looked_at: u64,
    /// Set when a change failed half-way: nothing more is changed.
    is_broken: bool,
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.shared.log.cut_zeros();
    }
}

/// Of so many coins at once, cache lines are asked for: in loops so short that the processor looks up
/// the addresses of several pages at a time.
pub(crate) const BATCH: usize = 64;
/// The log grows by this many bytes at least between two checkpoints.
const CHECKPOINT_INTERVAL: u64 = 256 << 20;

impl Ledger {
    /// Begins with the genesis block, in memory only.
    ///
    /// # Panics
    /// When the system has no memory or address space left.
    #[must_use]
    pub fn in_memory(genesis: BlockInfo, horizon: u32) -> Self {
        let file = rustix::fs::memfd_create("caesure", rustix::fs::MemfdFlags::CLOEXEC);
        let file = file.expect("the system has memory for an empty file").into();
        let options = Options { horizon, memory: u64::MAX, ..Options::default() };
        let ledger = Self::unnamed(file, std::env::temp_dir(), genesis, options);
        ledger.expect("the system has address space for an empty ledger")
    }

    /// Begins with the genesis block, in files without a name in `folder`, gone with the ledger.
    ///
    /// # Errors
    /// When the folder takes no files.
    pub fn temporary(folder: &Path, genesis: BlockInfo, options: Options) -> Result<Self, Error> {
        let file = tempfile::tempfile_in(folder).map_err(Error::io(folder))?;
        Self::unnamed(file, folder.to_owned(), genesis, options)
    }

    fn unnamed(
        file: std::fs::File,
        folder: PathBuf,
        genesis: BlockInfo,
        options: Options,
    ) -> Result<Self, Error> {
        let log = Log::unnamed(file, [0; 4], secret())?.chunks_from(options.chunks_from);
        Self::with(log, folder, genesis, options, None)
    }

    /// A ledger that holds one world, that of `base`, with the table of a checkpoint or an empty one.
    fn with(
        log: Log,
        folder: PathBuf,
        base: BlockInfo,
        options: Options,
        source: Option<Source>,
    ) -> Result<Self, Error> {
        let root = Entry::new(base, BlockHash::ZERO, 0, NO_RECORD, None);
        let shared = Shared {
            floor: AtomicU64::new(log.len()),
            log,
            table: Table::new(options.memory, folder.clone(), source)?,
            spends: Spends::new(),
            spent_lists: (0..=MAX_WINDOW).map(|_| AtomicU64::new(0)).collect(),
            extras: Beside::default(),
            window: RwLock::new(Window::new(root)),
            verified_fees: AtomicI64::new(0),
            dropped: Mutex::new(None),
            folder,
            sort: options.sort.max(4 << 20),
        };
        Ok(Self {
            shared: Arc::new(shared),
            disk: Disk(options.watch),
            horizon: options.horizon,
            network: [0; 4],
            base,
            snapshot: None,
            table_path: None,
            checkpoint_at: 0,
            checkpoint_len: 0,
            checkpoint_turn: 0,
            looked_at: 0,
            is_broken: false,
        })
    }

    /// Refuses changes after one has failed half-way.
    const fn check(&self) -> Result<(), Error> {
        if self.is_broken { Err(Error::Broken) } else { Ok(()) }
    }

    /// Remembers that a change failed half-way.
    fn breaks<T>(&mut self, result: Result<T, Error>) -> Result<T, Error> {
        self.is_broken |= result.is_err();
        result
    }

    /// As [`Worlds::resolve`].
    ///
    /// # Errors
    /// As there.
    pub fn resolve<B: AsRef<[u8]>>(
        &self,
        block: &Block<B>,
        txids: &[Txid],
        looks_for_overwrites: bool,
    ) -> Result<Option<Resolved>, Error> {
        self.reader().resolve(block, txids, looks_for_overwrites)
    }

    /// Makes the world of a block whose coins are resolved and whose rules hold, scripts apart.
    ///
    /// Nobody sees it before [`commit`](Self::commit), but it can be extended.
    ///
    /// # Errors
    /// When the parent has left the window since, the window is full of one branch, or the log cannot
    /// be written.
    ///
    /// # Panics
    /// When a coin of `resolved` is missing: such a block breaks a rule. When the block is held already.
    pub fn extend<B: AsRef<[u8]>>(
        &mut self,
        block: &Block<B>,
        txids: &[Txid],
        resolved: &Resolved,
        sums: Sums,
    ) -> Result<(), Error> {
        self.check()?;
        let is_whole = resolved.prevouts.iter().all(Option::is_some);
        assert!(is_whole, "a block that spends a missing coin is invalid");
        assert!(!self.holds(&resolved.hash), "a block is extended once");
        let parent = self.shared.find(&resolved.prev_block)?;
        let number = self.take_number(&parent)?;
        let delta =
            Delta::new(&self.shared.log, block, txids, resolved, &parent.info, sums, number);
        let appended = self.append_block(&parent, delta);
        if appended.is_err() {
            self.shared.write().free_number(number);
        }
        let (entry, created) = appended?;
        let result = self.insert_coins(&entry, true, &created, &resolved.gone);
        self.breaks(result)?;
        self.looked_at += resolved.gone.len() as u64;
        self.release_log()
    }

    /// Gives the log's pages back each time that a sixteenth as many coins were spent as the table has:
    /// those of old blocks add up otherwise, and to fault them in again costs little beside so many
    /// look-ups.
    fn release_log(&mut self) -> Result<(), Error> {
        if self.looked_at <= self.shared.table.live() / 16 {
            return Ok(());
        }
        self.looked_at = 0;
        self.shared.log.release()
    }

    #[expect(clippy::type_complexity, reason = "a list of keys and places")]
    fn append_block(
        &mut self,
        parent: &Entry,
        mut delta: Delta,
    ) -> Result<(Arc<Entry>, Vec<(Key, Place)>), Error> {
        delta.head.parent_record = parent.record;
        delta.head.write(&mut delta.record);
        let record = std::mem::take(&mut delta.record);
        let at = self.shared.log.append(Kind::Block, record)?;
        let entry = self.shared.enter(&delta.head, at, parent);
        Ok((entry, delta.places(at).collect()))
    }

    /// Puts what a block made into the table, where it may be already unless `is_new`, and says what it
    /// spent.
    fn insert_coins(
        &self,
        entry: &Entry,
        is_new: bool,
        created: &[(Key, Place)],
        gone: &[(Key, Place)],
    ) -> Result<(), Error> {
        let shared = &self.shared;
        let (mut spends, mut index) = (shared.spends.writer(), 0);
        for batch in gone.chunks(BATCH) {
            let spots = shared.spots(batch.iter().map(|&(key, _)| key));
            for (spot, &(_, place)) in spots.into_iter().zip(batch) {
                shared.spend(&mut spends, (spot, place), entry.number, index)?;
                index += 1;
            }
        }
        drop(spends);
        let beside = self.insert_all(created, is_new)?;
        if !beside.is_empty() {
            let mut extras = Extras::clone(&shared.extras.load());
            for (key, place) in beside {
                let places = extras.entry(key.0).or_default();
                if !places.contains(&place) {
                    places.push(place);
                }
            }
            shared.extras.store(extras);
        }
        Ok(())
    }

    /// Puts coins into the table. Returns those whose outpoint another coin in it has.
    fn insert_all(
        &self,
        coins: &[(Key, Place)],
        are_new: bool,
    ) -> Result<Vec<(Key, Place)>, Error> {
        let table = &self.shared.table;
        let mut beside = Vec::new();
        for batch in coins.chunks(BATCH) {
            let spots = self.shared.spots(batch.iter().map(|&(key, _)| key));
            let full: SmallVec<[&Spot<'_>; BATCH]> =
                spots.iter().filter(|spot| spot.is_first_full()).collect();
            full.into_iter().for_each(Spot::prefetch_room);
            let groups = table.groups();
            for (mut spot, &(key, place)) in spots.into_iter().zip(batch) {
                if table.groups() != groups {
                    spot = table.spot(key);
                }
                let is_same = |other| self.shared.is_same(other, place);
                let is_in = match are_new {
                    true => table.insert_new(spot, place, is_same)?,
                    false => table.insert(spot, Slot::at(place, false), is_same)?,
                };
                if !is_in {
                    beside.push((key, place));
                }
            }
        }
        Ok(beside)
    }

    /// Shows a block's world; it is the tip if it has more work than the tip.
    ///
    /// # Errors
    /// When the log cannot be written. The block is then not committed.
    ///
    /// # Panics
    /// When the block was not [extended](Self::extend), or its parent not committed.
    pub fn commit(&mut self, hash: &BlockHash) -> Result<(), Error> {
        self.check()?;
        let entry = self.shared.find(hash)?;
        assert!(!entry.is_committed(), "a block is extended, then committed");
        let mut record = new_record(Kind::Commit);
        record.extend_from_slice(&entry.record.to_le_bytes());
        self.shared.log.append(Kind::Commit, record)?;
        self.shared.write().commit(&entry);
        let trimmed = self.trim();
        self.breaks(trimmed)
    }

    /// Drops a block that was found invalid, and all that was built on it.
    ///
    /// # Errors
    /// When what the block did cannot be read again.
    pub fn discard(&mut self, hash: &BlockHash) -> Result<(), Error> {
        self.check()?;
        let Ok(entry) = self.shared.find(hash) else { return Ok(()) };
        if entry.record == self.shared.read().root.record {
            return Ok(());
        }
        let dropped = self.drop_subtree(&entry);
        self.breaks(dropped)
    }

    /// Makes a committed block that is held the tip, whatever its work. From then on the tip moves only
    /// for more work than it has; after a start the most work is the tip again.
    ///
    /// # Errors
    /// [`Error::NotHeld`] when the block's world is not held, or the block not committed.
    pub fn choose(&mut self, hash: &BlockHash) -> Result<(), Error> {
        self.check()?;
        let mut window = self.shared.write();
        let entry = window.find(hash).filter(|entry| entry.is_committed()).cloned();
        window.tip = entry.ok_or_else(|| shared::not_held(hash, &window))?;
        Ok(())
    }

    /// Returns the readers' side, which any thread can have.
    #[must_use]
    pub fn reader(&self) -> Worlds {
        Worlds(Arc::clone(&self.shared))
    }

    /// As [`Worlds::tip`].
    #[must_use]
    pub fn tip(&self) -> World {
        self.reader().tip()
    }

    /// As [`Worlds::world`].
    #[must_use]
    pub fn world(&self, hash: &BlockHash) -> Option<World> {
        self.reader().world(hash)
    }

    /// Returns whether a block's world is held, committed or not.
    #[must_use]
    pub fn holds(&self, hash: &BlockHash) -> bool {
        self.shared.read().find(hash).is_some()
    }

    /// As [`Worlds::worlds`].
    #[must_use]
    pub fn worlds(&self) -> Vec<BlockInfo> {
        self.reader().worlds()
    }

    /// As [`Worlds::root`].
    #[must_use]
    pub fn root(&self) -> BlockInfo {
        self.reader().root()
    }

    /// As [`Worlds::leaves`].
    #[must_use]
    pub fn leaves(&self) -> Vec<BlockInfo> {
        self.reader().leaves()
    }

    /// Returns where the set begins: the genesis block, or that of a snapshot which was loaded.
    #[must_use]
    pub const fn base(&self) -> &BlockInfo {
        &self.base
    }

    /// Returns the hash that the set of the base has (`hash_serialized_3`, internal order), if that was
    /// loaded from a snapshot.
    #[must_use]
    pub const fn snapshot(&self) -> Option<[u8; 32]> {
        self.snapshot
    }

    /// Returns whether all of the set was validated from the genesis block on; false above a
    /// snapshot that validation has not yet reached.
    #[must_use]
    pub fn is_verified(&self) -> bool {
        self.shared.verified_fees().is_some()
    }

    /// Forces all committed blocks to the disk.
    ///
    /// # Errors
    /// When the disk refuses. What was written may be lost then, and nothing more is.
    pub fn sync(&mut self) -> Result<(), Error> {
        self.check()?;
        let synced = self.shared.log.sync();
        self.breaks(synced)
    }
}

/// A secret of 16 bytes that no peer can know: places in the table depend on it, and nothing else.
fn secret() -> [u8; 16] {
    use std::hash::{BuildHasher, RandomState};
    let word = |at: u64| RandomState::new().hash_one(at).to_le_bytes();
    let [a, b] = [word(0), word(1)];
    std::array::from_fn(|at| if at < 8 { a[at] } else { b[at - 8] })
}

// The floor is raised by whoever folds: here so that the order of its stores is seen at a glance.
impl Shared {
    fn raise_floor(&self) {
        let first = self.read().first_record();
        self.floor.store(first.unwrap_or_else(|| self.log.len()), Release);
    }
}
