//! The way of a block: header tree, checks without coins, store, coins, scripts, commit.
//!
//! One thread owns all state and walks the blocks in the order in which they were offered; the
//! pool's threads prepare blocks ahead and check scripts behind. A block is resolved on its
//! parent's world while the parent's scripts still run, and dropped with it if they fail.

mod branches;
mod links;
mod live;
mod pipeline;

use std::collections::{BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use caesure_blockstore::Error::{Damaged, Pruned, Unknown};
use caesure_blockstore::{BlockReader, BlockStore};
use caesure_consensus::{BlockContext, Coin, HeaderId, HeaderTree, Params, Reject};
use caesure_engine::ChainEvent;
use caesure_eventlog::{Event, Logger};
use caesure_http::Histogram;
use caesure_ledger::{Checkpointed, Ledger};
use caesure_wire::{BlockHash, Header};

use crate::checkpointer::Checkpointer;
use crate::memory::Memory;
use crate::opening::Settings;
use crate::pool::{Body, Checked, Done, Fault, Job, Pool, ScriptFault, Scripts};
use crate::progress::bar;
use crate::script_cache::ScriptCache;
use crate::{Error, Waiting};
use links::Links;

/// What a block on its way takes besides its bytes, so that many small ones are bounded too.
const BLOCK_OVERHEAD: usize = 1 << 10;

/// Where a block was read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origin {
    pub(crate) path: PathBuf,
    pub(crate) position: u64,
}

/// A block that was refused, and why.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) origin: Origin,
    pub(crate) height: Option<u32>,
    pub(crate) hash: BlockHash,
    pub(crate) fault: Fault,
    pub(crate) input: Option<(usize, usize)>,
}

/// What the chain did so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) connected: u64,
    /// Signatures that were checked.
    pub(crate) signatures: u64,
    /// Inputs of transactions that had passed under the same flags before.
    pub(crate) scripts_cached: u64,
    /// Inputs that were not checked, being below the block that is assumed valid.
    pub(crate) scripts_skipped: u64,
    pub(crate) invalid: u64,
    pub(crate) skipped: u64,
    pub(crate) parked: u64,
    /// Stored blocks whose bytes are damaged and were not read anew.
    pub(crate) damaged: BTreeSet<BlockHash>,
    /// Blocks that were stored in the time between their reading and their turn.
    pub(crate) duplicates: u64,
    pub(crate) txs: u64,
    pub(crate) inputs: u64,
    pub(crate) bytes: u64,
    pub(crate) first_invalid: Option<Refusal>,
}

/// What became of an offered block.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Offer {
    /// Its header was judged; if that is good, the rest takes its turn.
    Taken,
    /// Its bytes are stored already.
    Known,
    /// Its parent's header is not known.
    Unconnected,
}

/// Where stored blocks are read, and whether new ones can be stored.
pub(crate) enum Store {
    Writer(BlockStore),
    Reader(BlockReader),
}

impl Store {
    /// The reading side, which a writer has too.
    pub(crate) fn reader(&self) -> &BlockReader {
        match self {
            Self::Writer(store) => store,
            Self::Reader(store) => store,
        }
    }

    /// A block's bytes, none when it is not stored, pruned or damaged.
    pub(crate) fn find(
        &self,
        hash: &BlockHash,
    ) -> Result<Option<Vec<u8>>, caesure_blockstore::Error> {
        match self.reader().read(hash) {
            Err(Damaged { .. } | Unknown(_) | Pruned(_)) => Ok(None),
            read => read.map(Some),
        }
    }
}

struct Queued {
    ticket: u64,
    id: HeaderId,
    context: BlockContext,
    origin: Origin,
    is_stored: bool,
    /// Followed at once whatever its work, since a descendant needs it or nothing else is to be done.
    is_needed: bool,
    /// Its ancestors down to the ledger were read and are sound.
    has_sound_ancestors: bool,
    size: usize,
    body: Option<Result<Arc<Body>, Fault>>,
}

struct Checking {
    ticket: u64,
    /// When its coins were begun to be looked up.
    begun: Instant,
    id: HeaderId,
    origin: Origin,
    scripts: Scripts,
    size: usize,
    coins_size: usize,
    is_assumed_valid: bool,
    open_parts: usize,
    faults: Vec<ScriptFault>,
}

/// What is done with an input whose script fails, instead of refusing its block.
pub(crate) type OnScriptFault =
    Box<dyn FnMut(&Scripts, &[ScriptFault]) -> Result<(), Error> + Send>;

/// All that is known of the chain, and the blocks on their way into it.
pub(crate) struct Chain {
    pub(crate) params: Arc<Params>,
    pub(crate) tree: HeaderTree,
    /// Dropped before the store, whose lock keeps other writers out.
    pub(crate) ledger: Ledger,
    pub(crate) store: Store,
    /// How long blocks took.
    pub(crate) times: Arc<Histogram>,
    /// Headers of stored blocks whose parents are not known, by parent.
    pub(crate) waiting: Waiting<Header>,
    pub(crate) counts: Counts,
    /// Set by a signal: blocks whose turn has not come are then forgotten.
    pub(crate) stop: Arc<AtomicBool>,
    /// Set by `verify`, which goes on after a failing script.
    pub(crate) on_script_fault: Option<OnScriptFault>,
    pub(crate) logger: Logger,
    /// What was found when it was opened, for the log.
    pub(crate) found: Vec<Event>,
    checkpoint: Checkpointer,
    pool: Pool,
    queue: VecDeque<Queued>,
    checking: VecDeque<Checking>,
    /// Stored blocks with less work than the tip, judged when nothing else is on its way.
    later: BTreeSet<HeaderId>,
    /// Headers that were announced, and whose blocks did not come yet.
    announced: BTreeSet<HeaderId>,
    links: Links,
    /// Stored blocks whose ancestors are all stored since a block that came late.
    ready: VecDeque<HeaderId>,
    /// Set when a stored branch that was not followed may be the best now.
    must_search: bool,
    /// What the last search found, and the tip that it met.
    searched: Option<(HeaderId, HeaderId)>,
    /// What happened, where somebody wants to know.
    events: Option<VecDeque<ChainEvent>>,
    /// The tip that was told last.
    told: HeaderId,
    assumed_valid: BlockHash,
    memory: Memory,
    in_flight: usize,
    checking_coins: usize,
    next_ticket: u64,
}

impl Chain {
    pub(crate) fn new(
        params: Arc<Params>,
        tree: HeaderTree,
        store: Store,
        ledger: Ledger,
        settings: &Settings,
    ) -> Self {
        let &Settings { threads, mut memory, assumed_valid, .. } = settings;
        // More than this keeps no thread busier.
        memory.in_flight = memory.in_flight.min((threads + 2) << 20);
        memory.coins = memory.coins.min((threads + 1) << 19);
        Self {
            checkpoint: Checkpointer::default(),
            pool: Pool::new(threads, &params, ScriptCache::new(memory.script_cache)),
            params,
            tree,
            store,
            ledger,
            times: Arc::default(),
            waiting: Waiting::new(),
            counts: Counts::default(),
            stop: Arc::default(),
            on_script_fault: None,
            logger: Logger::default(),
            found: Vec::new(),
            queue: VecDeque::new(),
            checking: VecDeque::new(),
            later: BTreeSet::new(),
            announced: BTreeSet::new(),
            links: Links::default(),
            ready: VecDeque::new(),
            must_search: false,
            searched: None,
            events: None,
            told: HeaderTree::GENESIS,
            assumed_valid,
            memory,
            in_flight: 0,
            checking_coins: 0,
            next_ticket: 0,
        }
    }

    /// Takes the header of a block that is to come, so that those below it may be assumed valid.
    pub(crate) fn announce(&mut self, header: &Header, now: u32) -> Result<(), Reject> {
        let is_new = self.tree.find(&header.hash()).is_none();
        let id = self.tree.accept(header, now)?;
        if is_new {
            self.announced.insert(id);
        }
        Ok(())
    }

    /// Takes a block from outside. Its header is judged now, the rest in its turn.
    pub(crate) fn offer(&mut self, bytes: &[u8], origin: Origin, now: u32) -> Result<Offer, Error> {
        let Some(header) = bytes.first_chunk().map(Header::from_bytes) else {
            return Ok(Offer::Unconnected);
        };
        let hash = header.hash();
        let parent = self.tree.find(&header.prev_block);
        if parent.is_some_and(|parent| self.announced.contains(&parent)) {
            return Ok(Offer::Unconnected);
        }
        let known = self.tree.find(&hash);
        if let Some(id) = known {
            self.announced.remove(&id);
        }
        let is_stored = self.is_sound(&hash);
        if is_stored && known.is_some() {
            return Ok(Offer::Known);
        }
        match self.tree.accept(&header, now) {
            Ok(id) => {
                let first = self.tree.len();
                let waiting = self.waiting.remove(&hash).unwrap_or_default();
                self.accept_stored(waiting, now);
                self.link_from(first);
                let queued = self.prepare(id, bytes.to_vec(), origin, is_stored);
                self.queue.push_back(queued);
                self.pump()?;
            }
            Err(Reject::PrevBlkNotFound) => return Ok(Offer::Unconnected),
            Err(Reject::BadPrevblk | Reject::DuplicateInvalid) => self.counts.skipped += 1,
            Err(reject) => self.refuse_header(&header, origin, reject),
        }
        Ok(Offer::Taken)
    }

    /// Takes a block that is stored, whose header is in the tree.
    pub(crate) fn offer_stored(&mut self, id: HeaderId) -> Result<(), Error> {
        if !self.is_over(id) && self.is_wanted(id) {
            self.take_stored(id, false)?;
            self.pump()?;
        }
        Ok(())
    }

    fn take_stored(&mut self, id: HeaderId, is_needed: bool) -> Result<(), Error> {
        let hash = self.tree.hash(id);
        match self.store.reader().read(&hash) {
            Ok(bytes) => {
                let origin = self.stored_origin(&hash);
                let queued = self.prepare(id, bytes, origin, true);
                self.queue.push_back(Queued { is_needed, ..queued });
            }
            Err(damage @ Damaged { .. }) => {
                let reason = damage.to_string();
                bar().suspend(|| eprintln!("block {hash}: {reason}; import it again"));
                self.logger.log(Event::BlockDamaged { name: hash.0, reason });
                self.counts.damaged.insert(hash);
            }
            // Whoever has need of it fetches it again.
            Err(Pruned(_)) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Whether the ledger has the block already.
    pub(crate) fn is_over(&self, id: HeaderId) -> bool {
        self.ledger.holds(&self.tree.hash(id)) || self.is_below_root(id)
    }

    /// Whether a block was connected and its body released since: it is not stored again.
    pub(crate) fn has_released(&self, hash: &BlockHash) -> bool {
        let id = self.tree.find(hash);
        self.store.reader().is_released(hash) && id.is_some_and(|id| self.is_over(id))
    }

    /// Whether a block is stored and can be read; one that is damaged is stored anew.
    fn is_sound(&self, hash: &BlockHash) -> bool {
        matches!(self.store.find(hash), Ok(Some(_)))
    }

    /// Waits for all blocks on their way, then follows the stored branch with most work, if a block
    /// that was found invalid has left another one behind.
    pub(crate) fn finish(&mut self) -> Result<(), Error> {
        self.drain()?;
        self.must_search = true;
        self.drain()?;
        self.save()
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Forces blocks to the disk, and shows them to readers in other processes.
    pub(crate) fn sync(&mut self) -> Result<(), Error> {
        match &mut self.store {
            Store::Writer(store) => Ok(store.sync()?),
            Store::Reader(_) => Ok(()),
        }
    }

    /// Forces blocks and ledger to the disk and writes a checkpoint.
    pub(crate) fn save(&mut self) -> Result<(), Error> {
        self.sync()?;
        self.wait_for_checkpoint()?;
        Ok(self.ledger.checkpoint()?)
    }

    fn wait_for_checkpoint(&mut self) -> Result<(), Error> {
        match self.checkpoint.wait() {
            Some(written) => self.end_checkpoint(written?),
            None => Ok(()),
        }
    }

    fn end_checkpoint(&mut self, written: Checkpointed) -> Result<(), Error> {
        self.ledger.end_checkpoint(written)?;
        self.logger.log(Event::Checkpoint { millis: self.checkpoint.millis() });
        Ok(())
    }

    /// Begins a checkpoint when it is time, and takes over one that is written.
    fn checkpoint(&mut self) -> Result<(), Error> {
        if let Some(written) = self.checkpoint.take() {
            self.end_checkpoint(written?)?;
        }
        if self.ledger.is_checkpoint_due() { self.begin_save() } else { Ok(()) }
    }

    /// Begins a checkpoint, unless one is being written.
    pub(crate) fn begin_save(&mut self) -> Result<(), Error> {
        if !self.checkpoint.is_running() {
            self.sync()?;
            if let Some(checkpoint) = self.ledger.begin_checkpoint()? {
                self.checkpoint.start(checkpoint);
            }
        }
        Ok(())
    }

    /// Puts headers of stored blocks into the tree, and those that waited for them.
    pub(crate) fn accept_stored(&mut self, mut ready: Vec<Header>, now: u32) {
        while let Some(header) = ready.pop() {
            let hash = header.hash();
            match self.tree.accept(&header, now) {
                Ok(_) => ready.extend(self.waiting.remove(&hash).unwrap_or_default()),
                Err(Reject::PrevBlkNotFound) => {
                    self.waiting.entry(header.prev_block).or_default().push(header);
                }
                Err(reject) => self.refuse_header(&header, self.stored_origin(&hash), reject),
            }
        }
    }

    fn prepare(&mut self, id: HeaderId, bytes: Vec<u8>, origin: Origin, is_stored: bool) -> Queued {
        let context = BlockContext::new(&self.params, &self.tree, id);
        let ticket = self.next_ticket;
        let size = bytes.len() + BLOCK_OVERHEAD;
        self.next_ticket += 1;
        self.in_flight += size;
        self.pool.prepare(Job::Prepare { ticket, bytes, context });
        let (is_needed, has_sound_ancestors, body) = (false, false, None);
        Queued {
            ticket,
            id,
            context,
            origin,
            is_stored,
            is_needed,
            has_sound_ancestors,
            size,
            body,
        }
    }

    /// Does what can be done at once, and waits only while too much is in flight.
    fn pump(&mut self) -> Result<(), Error> {
        loop {
            self.take_done();
            self.refill()?;
            self.advance()?;
            if self.in_flight <= self.memory.in_flight {
                return Ok(());
            }
            self.wait();
        }
    }

    fn take_done(&mut self) {
        while let Some(done) = self.pool.take(false) {
            self.receive(done);
        }
    }

    /// Takes up stored blocks, as many as there is room for.
    fn refill(&mut self) -> Result<(), Error> {
        while self.in_flight <= self.memory.in_flight / 2
            && let Some(id) = self.ready.pop_front()
        {
            if !self.is_over(id) && !self.tree.is_invalid(id) && self.is_wanted(id) {
                self.take_stored(id, false)?;
            }
        }
        Ok(())
    }

    /// Waits until nothing is on its way, and nothing is left for later.
    pub(crate) fn drain(&mut self) -> Result<(), Error> {
        while self.step()? {
            if !self.queue.is_empty() || !self.checking.is_empty() {
                self.wait();
            }
        }
        Ok(())
    }

    /// Does what can be done at once; returns whether there is more. Blocks that were left for later
    /// are judged when nothing else is on its way, each when the one before is done.
    pub(crate) fn step(&mut self) -> Result<bool, Error> {
        if self.is_stopped() {
            self.in_flight -= self.queue.drain(..).map(|queued| queued.size).sum::<usize>();
            self.later.clear();
            self.ready.clear();
            self.must_search = false;
        }
        self.take_done();
        self.refill()?;
        self.advance()?;
        if !self.queue.is_empty() || !self.checking.is_empty() || !self.ready.is_empty() {
            return Ok(true);
        }
        if let Some(id) = self.later.pop_first() {
            self.follow(id)?;
            return Ok(true);
        }
        if self.must_search {
            self.search()?;
            return Ok(true);
        }
        self.tell_tip(true);
        Ok(false)
    }

    /// Takes up a block that was left for later, if its branch is still near the tip.
    fn follow(&mut self, id: HeaderId) -> Result<(), Error> {
        if self.tree.is_invalid(id) {
            self.counts.skipped += 1;
        } else if self.is_over(id) {
        } else if self.is_wanted(id) {
            self.take_stored(id, true)?;
        } else {
            self.counts.parked += 1;
        }
        Ok(())
    }

    fn wait(&mut self) {
        if let Some(done) = self.pool.take(true) {
            self.receive(done);
        }
    }

    pub(crate) fn receive(&mut self, done: Done) {
        match done {
            Done::Prepared { ticket, result } => {
                if let Some(queued) = self.queue.iter_mut().find(|queued| queued.ticket == ticket) {
                    queued.body = Some(result);
                }
            }
            Done::Scripts { ticket, checked: Checked { faults, signatures, cached } } => {
                self.counts.signatures += signatures;
                self.counts.scripts_cached += cached;
                let of_ticket = |checking: &&mut Checking| checking.ticket == ticket;
                if let Some(checking) = self.checking.iter_mut().find(of_ticket) {
                    checking.faults.extend(faults);
                    checking.open_parts -= 1;
                }
            }
        }
    }

    fn stored_origin(&self, hash: &BlockHash) -> Origin {
        let position = self.store.reader().position(hash).unwrap_or_default();
        Origin { path: "blocks.bin".into(), position }
    }

    /// All headers, parents before children.
    pub(crate) fn ids(&self) -> impl Iterator<Item = HeaderId> + use<> {
        (0..).take(self.tree.len()).map(HeaderId)
    }

    pub(crate) fn tip_height(&self) -> u32 {
        self.ledger.tip().info().height
    }

    /// The coins of one transaction of a block.
    pub(crate) fn prevouts_of(scripts: &Scripts, tx_index: usize) -> &[Option<Coin>] {
        let block = &scripts.body.block;
        let before: usize = (1..tx_index).map(|index| block.tx(index).input_count()).sum();
        &scripts.prevouts[before..before + block.tx(tx_index).input_count()]
    }
}

#[cfg(test)]
mod tests;
