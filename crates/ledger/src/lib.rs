//! The many-worlds UTXO set.
//!
//! A [`Ledger`] holds the complete set of unspent outputs not of one block, as other nodes do, but
//! of every recent block on every fork. Each is a [`World`]: immutable, taken in constant time, and
//! free to hold. A reorganisation moves a pointer; nothing is disconnected.
//!
//! - The *base* is the set at the *root*, the youngest block that all live forks share and that is
//!   at least a horizon below the tip.
//! - The *window* above it is one table for all blocks of all forks: an outpoint's few changes, each
//!   tagged with its block. A world is a block and the set of its ancestors in the window, so that a
//!   lookup is one probe and a few bit tests, however many worlds there are.
//! - On disk there are a *journal*, with a record for each block that says what it spent, and a
//!   *checkpoint* of the base that is replaced at once. After a crash the checkpoint is loaded and
//!   the journal redone from there, with the blocks' bytes from the block store.
//!
//! A block goes through three steps, so that the scripts of one can be checked while the next is
//! already resolved: [`Ledger::resolve`] finds the coins that it spends, [`Ledger::extend`] makes
//! its world, invisible to others, and [`Ledger::commit`] writes it down and shows it, or
//! [`Ledger::discard`] drops it. The ledger does not judge: between the steps, the caller applies
//! the rules of `caesure-consensus`.
//!
//! ```
//! use caesure_consensus::{HeaderTree, Network, Params};
//! use caesure_ledger::{Ledger, genesis_info};
//! use caesure_wire::Block;
//!
//! let params = Params::new(Network::Regtest);
//! let tree = HeaderTree::new(&params);
//! let ledger = Ledger::in_memory(genesis_info(&params, &tree), 288);
//! let summary = ledger.tip().summary()?;
//! assert_eq!(summary.txouts, 0); // nobody can spend the genesis block's coin
//! # Ok::<(), caesure_ledger::Error>(())
//! ```
//!
//! Today the base lies in memory and a reader takes a short lock; the interface is made for neither.

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod checkpoint;
mod coin;
mod delta;
mod error;
mod journal;
mod window;
mod world;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};

use caesure_consensus::{Coin, HeaderTree, Params, Work, subsidy};
use caesure_wire::{Block, BlockHash, OutPoint, Txid};

pub use error::Error;
pub use window::BlockInfo;
pub use world::{Difference, Summary, World};

use checkpoint::Checkpoint;
use delta::{Delta, index_txids, own_coin};
use journal::{Journal, Record};
use window::Window;

/// A hash map that nobody outside can aim collisions at.
pub(crate) type Map<K, V> = hashbrown::HashMap<K, V, foldhash::fast::RandomState>;

/// What the writer and all readers share.
#[derive(Debug)]
pub(crate) struct Shared(RwLock<Window>);

impl Shared {
    fn read(&self) -> RwLockReadGuard<'_, Window> {
        self.0.read().expect("a panic of the writer ends the process")
    }

    fn write(&self) -> RwLockWriteGuard<'_, Window> {
        self.0.write().expect("a panic of the writer ends the process")
    }
}

/// Reads a block's bytes from the block store; none when it is not stored.
pub type ReadBlock<'a> =
    &'a mut dyn FnMut(&BlockHash) -> Result<Option<Vec<u8>>, caesure_blockstore::Error>;

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
    overwritten: Vec<(OutPoint, Coin)>,
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

/// What [`Ledger::open`] found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// Blocks that were redone from the journal.
    pub replayed: u64,
    /// Bytes of a torn record at the journal's end.
    pub torn_bytes: u64,
    /// Whether the checkpoint's block is not stored any more, so that the set was built anew.
    pub was_rebuilt: bool,
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

/// The writer's side of the set. One at a time for a folder: the block store's lock sees to it.
#[derive(Debug)]
pub struct Ledger {
    shared: Arc<Shared>,
    horizon: u32,
    genesis: BlockInfo,
    network: [u8; 4],
    journal: Option<Journal>,
    checkpoint_path: PathBuf,
    /// Records whose blocks are not committed yet, by slot.
    pending: Map<BlockHash, Record>,
    /// The length of the checkpoint, and of the journal when it was made.
    checkpoint_len: u64,
    checkpoint_journal_len: u64,
}

/// The journal grows by this many bytes at least between two checkpoints.
const CHECKPOINT_INTERVAL: u64 = 256 << 20;

impl Ledger {
    /// Begins with the genesis block, in memory only.
    #[must_use]
    pub fn in_memory(genesis: BlockInfo, horizon: u32) -> Self {
        Self {
            shared: Arc::new(Shared(RwLock::new(Window::new(Map::default(), genesis, None)))),
            horizon,
            genesis,
            network: [0; 4],
            journal: None,
            checkpoint_path: PathBuf::new(),
            pending: Map::default(),
            checkpoint_len: 0,
            checkpoint_journal_len: 0,
        }
    }

    /// Opens the ledger of a folder: loads the checkpoint and redoes the journal.
    ///
    /// A writer (`is_writer`) makes missing files and cuts a torn tail; a reader changes nothing.
    ///
    /// # Errors
    /// When a file cannot be read, is damaged before its end, or belongs to another network.
    pub fn open(
        folder: &Path,
        params: &Params,
        genesis: BlockInfo,
        horizon: u32,
        is_writer: bool,
        read_block: ReadBlock<'_>,
    ) -> Result<(Self, OpenReport), Error> {
        let mut ledger = Self::in_memory(genesis, horizon);
        ledger.network = params.magic;
        ledger.checkpoint_path = folder.join("ledger.coins");
        ledger.journal = Journal::open(folder.join("ledger.journal"), is_writer)?;
        let mut report = OpenReport::default();
        let mut replay_from = 0;
        if let Some((checkpoint, base)) = checkpoint::read(&ledger.checkpoint_path, params.magic)? {
            let is_stored =
                checkpoint.info == genesis || read_block(&checkpoint.info.hash)?.is_some();
            if is_stored {
                replay_from = checkpoint.replay_from;
                let window = Window::new(base, checkpoint.info, checkpoint.record);
                ledger.shared = Arc::new(Shared(RwLock::new(window)));
                let path = &ledger.checkpoint_path;
                ledger.checkpoint_len = fs::metadata(path).map_err(Error::io(path))?.len();
            } else {
                report.was_rebuilt = true;
            }
        }
        ledger.replay(replay_from, is_writer, read_block, &mut report)?;
        Ok((ledger, report))
    }

    fn replay(
        &mut self,
        from: u64,
        is_writer: bool,
        read_block: ReadBlock<'_>,
        report: &mut OpenReport,
    ) -> Result<(), Error> {
        let Some(journal) = self.journal.take() else { return Ok(()) };
        let mut at = from;
        while let Some((record, next)) = journal.read(at)? {
            self.redo(&record, at, read_block, report)?;
            at = next;
        }
        let mut journal = journal;
        report.torn_bytes = journal.len().saturating_sub(at);
        if is_writer && 0 < report.torn_bytes {
            journal.truncate(at)?;
        }
        self.checkpoint_journal_len = from;
        self.journal = Some(journal);
        Ok(())
    }

    /// Makes the world of a journalled block anew, unless its parent or its bytes are gone.
    fn redo(
        &self,
        record: &Record,
        at: u64,
        read_block: ReadBlock<'_>,
        report: &mut OpenReport,
    ) -> Result<(), Error> {
        let mut window = self.shared.write();
        let is_known = window.find(&record.info.hash).is_some();
        let Some(parent) = window.find(&record.prev_block).filter(|_| !is_known) else {
            return Ok(());
        };
        let Some(bytes) = read_block(&record.info.hash)? else { return Ok(()) };
        let block = self.parse(&bytes, &record.info.hash)?;
        let delta = Delta::of(&block, &block.txids(), record.info.height);
        let slot = window.insert(parent, record.info, delta).ok_or(Error::WindowFull)?;
        window.commit(slot, Some(at));
        window.trim(self.horizon);
        report.replayed += 1;
        Ok(())
    }

    fn parse<'a>(&self, bytes: &'a [u8], hash: &BlockHash) -> Result<Block<&'a [u8]>, Error> {
        Block::parse(bytes).map_err(|_| Error::MissingBlock(*hash))
    }

    /// Finds the coins that a block spends; none when its parent's world is not held.
    ///
    /// Only where BIP-0030 is enforced, `looks_for_overwrites` pays for its look-ups.
    #[must_use]
    pub fn resolve<B: AsRef<[u8]>>(
        &self,
        block: &Block<B>,
        txids: &[Txid],
        looks_for_overwrites: bool,
    ) -> Option<Resolved> {
        let window = self.shared.read();
        let prev_block = block.header().prev_block;
        let parent = window.find(&prev_block)?;
        let height = window.slot(parent).info.height + 1;
        let own = index_txids(txids);
        let mut spent = Map::<OutPoint, ()>::default();
        let mut prevouts = Vec::with_capacity(block.input_count());
        for (tx_index, tx) in block.txs().enumerate().skip(1) {
            for OutPoint { txid, vout } in tx.inputs().map(|input| input.prevout) {
                let outpoint = OutPoint { txid, vout };
                let coin = match own.get(&txid) {
                    _ if spent.insert(outpoint, ()).is_some() => None,
                    Some(&index) if index < tx_index => own_coin(block, height, index, vout),
                    _ => window.get(parent, &outpoint),
                };
                prevouts.push(coin);
            }
        }
        let outpoints = |index: usize| {
            let count = block.tx(index).output_count();
            (0..).take(count).map(move |vout| OutPoint { txid: txids[index], vout })
        };
        let held = |outpoint| Some((outpoint, window.get(parent, &outpoint)?));
        let first = 0..block.tx_count().min(1);
        Some(Resolved {
            prevouts: prevouts.into(),
            overwrites: looks_for_overwrites
                && (0..block.tx_count()).flat_map(outpoints).any(|o| held(o).is_some()),
            hash: block.hash(),
            prev_block,
            height,
            overwritten: first.flat_map(outpoints).filter_map(held).collect(),
        })
    }

    /// Makes the world of a block whose coins are resolved and whose rules hold, scripts apart.
    ///
    /// Nobody sees it before [`commit`](Self::commit), but it can be extended.
    ///
    /// # Errors
    /// When the parent has left the window since, or the window is full.
    ///
    /// # Panics
    /// When a coin of `resolved` is missing: such a block breaks a rule.
    pub fn extend<B: AsRef<[u8]>>(
        &mut self,
        block: &Block<B>,
        txids: &[Txid],
        resolved: &Resolved,
        sums: Sums,
    ) -> Result<(), Error> {
        let mut window = self.shared.write();
        let parent = world::find(&window, &resolved.prev_block)?;
        let before = window.slot(parent).info;
        let delta = Delta::of(block, txids, resolved.height);
        // What is spent of earlier blocks stands in the delta in the order of the inputs.
        let mut keys = delta.spent.iter().peekable();
        let inputs = block.txs().skip(1).flat_map(|tx| tx.inputs().map(|input| input.prevout));
        let spent: Vec<Coin> = inputs
            .zip(resolved.prevouts.iter())
            .filter(|(prevout, _)| keys.next_if_eq(&prevout).is_some())
            .map(|(_, coin)| coin.clone().expect("a block that spends a missing coin is invalid"))
            .collect();
        let gone = spent.iter().chain(resolved.overwritten.iter().map(|(_, coin)| coin));
        let gone: i64 = gone.map(|coin| coin.value).sum();
        let made: i64 = delta.created.iter().map(|(_, coin)| coin.value).sum();
        let info = BlockInfo {
            hash: resolved.hash,
            height: resolved.height,
            chain_work: sums.chain_work,
            total: before.total + made - gone,
            fees: before.fees + sums.fees,
            issued: before.issued + sums.subsidy,
        };
        window.insert(parent, info, delta).ok_or(Error::WindowFull)?;
        let overwritten = resolved.overwritten.clone();
        let prev_block = resolved.prev_block;
        let record = Record { info, prev_block, parent_record: None, spent, overwritten };
        self.pending.insert(info.hash, record);
        Ok(())
    }

    /// Writes a block down and shows its world; it is the tip if it has the most work.
    ///
    /// # Errors
    /// When the journal cannot be written. The block is then not committed.
    ///
    /// # Panics
    /// When the block was not [extended](Self::extend), or its parent not committed.
    pub fn commit(&mut self, hash: &BlockHash) -> Result<(), Error> {
        let mut window = self.shared.write();
        let slot = world::find(&window, hash)?;
        let mut record = self.pending.remove(hash).expect("a block is extended, then committed");
        let at = match &mut self.journal {
            None => None,
            Some(journal) => {
                record.parent_record = window.slot(slot).parent.and_then(|p| window.slot(p).record);
                Some(journal.append(&mut record.encode())?)
            }
        };
        window.commit(slot, at);
        window.trim(self.horizon);
        Ok(())
    }

    /// Drops a block that was found invalid, and all that was built on it.
    pub fn discard(&mut self, hash: &BlockHash) {
        let mut window = self.shared.write();
        if let Some(slot) = window.find(hash) {
            window.discard(slot);
        }
        self.pending.retain(|hash, _| window.find(hash).is_some());
    }

    /// Returns the world with the most work; of two, the one that was complete first.
    #[must_use]
    pub fn tip(&self) -> World {
        let window = self.shared.read();
        self.world_of(window.slot(window.tip).info)
    }

    /// Returns the world of a block, if it is held. Extended blocks have none before they are
    /// committed.
    #[must_use]
    pub fn world(&self, hash: &BlockHash) -> Option<World> {
        let window = self.shared.read();
        let slot = window.find(hash).filter(|_| !self.pending.contains_key(hash))?;
        Some(self.world_of(window.slot(slot).info))
    }

    fn world_of(&self, info: BlockInfo) -> World {
        World { shared: Arc::clone(&self.shared), info }
    }

    /// Returns whether a block's world is held, committed or not.
    #[must_use]
    pub fn holds(&self, hash: &BlockHash) -> bool {
        self.shared.read().find(hash).is_some()
    }

    /// Returns all blocks whose worlds are held, by height.
    #[must_use]
    pub fn worlds(&self) -> Vec<BlockInfo> {
        let window = self.shared.read();
        let is_shown = |hash: &BlockHash| !self.pending.contains_key(hash);
        let infos = window.slots().map(|(_, slot)| slot.info);
        let mut worlds: Vec<BlockInfo> = infos.filter(|info| is_shown(&info.hash)).collect();
        worlds.sort_by_key(|info| (info.height, info.hash));
        worlds
    }

    /// Returns the oldest block whose world is held, the ancestor of all others.
    #[must_use]
    pub fn root(&self) -> BlockInfo {
        let window = self.shared.read();
        window.slot(window.root).info
    }

    /// Returns the tips of all forks that are held, by height.
    #[must_use]
    pub fn leaves(&self) -> Vec<BlockInfo> {
        let window = self.shared.read();
        let mut leaves: Vec<BlockInfo> =
            window.leaves().into_iter().map(|leaf| window.slot(leaf).info).collect();
        leaves.sort_by_key(|info| (info.height, info.hash));
        leaves
    }

    /// Goes back to an ancestor of the root, which becomes the root; all worlds above it are gone.
    ///
    /// This is the slow way to a branch that forks below the root. The files stay as they are, so
    /// that a crash on the way loses nothing.
    ///
    /// # Errors
    /// When a record or a block on the way cannot be read, or the ledger is in memory only.
    pub fn rewind_to(&mut self, hash: &BlockHash, read_block: ReadBlock<'_>) -> Result<(), Error> {
        let journal = self.journal.as_ref().ok_or(Error::NoJournal)?;
        let mut window = self.shared.write();
        let root = window.slot(window.root);
        let (mut info, mut record_at) = (root.info, root.record);
        let mut base = std::mem::take(&mut window.base);
        while info.hash != *hash {
            let at = record_at.ok_or(Error::MissingBlock(*hash))?;
            let damaged = || Error::Damaged { path: journal.path().to_owned(), offset: at };
            let (record, _) = journal.read(at)?.ok_or_else(damaged)?;
            let bytes = read_block(&info.hash)?.ok_or(Error::MissingBlock(info.hash))?;
            let block = self.parse(&bytes, &info.hash)?;
            let delta = Delta::of(&block, &block.txids(), info.height);
            for (outpoint, _) in &delta.created {
                base.remove(outpoint);
            }
            base.extend(delta.spent.into_iter().zip(record.spent));
            base.extend(record.overwritten);
            record_at = record.parent_record;
            info = match record_at {
                None => self.genesis,
                Some(at) => journal.read(at)?.ok_or_else(damaged)?.0.info,
            };
        }
        *window = Window::new(base, info, record_at);
        self.pending.clear();
        Ok(())
    }

    /// Returns whether the journal has grown so much that a checkpoint pays.
    #[must_use]
    pub fn is_checkpoint_due(&self) -> bool {
        let grown = self.journal.as_ref().map_or(0, Journal::len) - self.checkpoint_journal_len;
        CHECKPOINT_INTERVAL.max(2 * self.checkpoint_len) < grown
    }

    /// Forces all committed blocks to the disk.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn sync(&self) -> Result<(), Error> {
        self.journal.as_ref().map_or(Ok(()), Journal::sync)
    }

    /// Writes the base down, so that the next start redoes the blocks of the window only.
    ///
    /// # Errors
    /// When the disk refuses; the old checkpoint stays.
    pub fn checkpoint(&mut self) -> Result<(), Error> {
        let Some(journal) = &self.journal else { return Ok(()) };
        journal.sync()?;
        let window = self.shared.read();
        let root = window.slot(window.root);
        let above = window.slots().filter(|&(number, _)| number != window.root);
        let replay_from = above.filter_map(|(_, slot)| slot.record).min().unwrap_or(journal.len());
        let checkpoint = Checkpoint { info: root.info, record: root.record, replay_from };
        let path = &self.checkpoint_path;
        self.checkpoint_len = checkpoint::write(path, &checkpoint, self.network, &window.base)?;
        self.checkpoint_journal_len = journal.len();
        Ok(())
    }
}
