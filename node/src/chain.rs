//! The way of a block: header tree, checks without coins, store, coins, scripts, commit.
//!
//! One thread owns all state and walks the blocks in the order in which they were offered; the
//! pool's threads prepare blocks ahead and check scripts behind. A block is resolved on its
//! parent's world while the parent's scripts still run, and dropped with it if they fail.

use std::collections::{BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use caesure_blockstore::Error::{Damaged, Unknown};
use caesure_blockstore::{BlockReader, BlockStore};
use caesure_consensus::{
    BlockContext, BlockTotals, Coin, HeaderId, HeaderTree, Params, Reject, RejectClass, Work,
    connect_block,
};
use caesure_ledger::{Ledger, Resolved, Sums};
use caesure_wire::{BlockHash, Header};

use crate::checkpointer::Checkpointer;
use crate::memory::Memory;
use crate::opening::Settings;
use crate::pool::{Body, Checked, Done, Fault, Job, Pool, ScriptFault, Scripts, guarded};
use crate::script_cache::ScriptCache;
use crate::{Error, Waiting};

/// What a block on its way takes besides its bytes, so that many small ones are bounded too.
const BLOCK_OVERHEAD: usize = 1 << 10;
/// How many blocks may wait for their scripts.
const CHECKING_MAX: usize = 64;
/// What a coin takes besides its script.
const COIN_OVERHEAD: usize = size_of::<Coin>() + 16;
/// How many inputs a thread takes at a time; a transaction is not divided.
const CHUNK_INPUTS: usize = 48;
/// A branch is followed while it has at most this many of the tip's blocks less work.
/// Core: `MIN_WORK`'s buffer in `AcceptBlock`, 144 blocks.
const BRANCH_BLOCKS: u32 = 144;

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

    /// A block's bytes, none when it is not stored or damaged.
    pub(crate) fn find(
        &self,
        hash: &BlockHash,
    ) -> Result<Option<Vec<u8>>, caesure_blockstore::Error> {
        match self.reader().read(hash) {
            Err(Damaged { .. } | Unknown { .. }) => Ok(None),
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
pub(crate) type OnScriptFault = Box<dyn FnMut(&Scripts, &[ScriptFault]) -> Result<(), Error>>;

/// All that is known of the chain, and the blocks on their way into it.
pub(crate) struct Chain {
    pub(crate) params: Arc<Params>,
    pub(crate) tree: HeaderTree,
    pub(crate) store: Store,
    pub(crate) ledger: Ledger,
    /// Headers of stored blocks whose parents are not known, by parent.
    pub(crate) waiting: Waiting<Header>,
    pub(crate) counts: Counts,
    /// Set by a signal: blocks whose turn has not come are then forgotten.
    pub(crate) stop: Arc<AtomicBool>,
    /// Set by `verify`, which goes on after a failing script.
    pub(crate) on_script_fault: Option<OnScriptFault>,
    checkpoint: Checkpointer,
    pool: Pool,
    queue: VecDeque<Queued>,
    checking: VecDeque<Checking>,
    /// Stored blocks with less work than the tip, judged when nothing else is on its way.
    later: BTreeSet<HeaderId>,
    /// Headers that were announced, and whose blocks did not come yet.
    announced: BTreeSet<HeaderId>,
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
        let &Settings { threads, memory, assumed_valid, .. } = settings;
        Self {
            checkpoint: Checkpointer::default(),
            pool: Pool::new(threads, &params, ScriptCache::new(memory.script_cache)),
            params,
            tree,
            store,
            ledger,
            waiting: Waiting::new(),
            counts: Counts::default(),
            stop: Arc::default(),
            on_script_fault: None,
            queue: VecDeque::new(),
            checking: VecDeque::new(),
            later: BTreeSet::new(),
            announced: BTreeSet::new(),
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
                let waiting = self.waiting.remove(&hash).unwrap_or_default();
                self.accept_stored(waiting, now);
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
                eprintln!("block {hash}: {damage}; import it again");
                self.counts.damaged.insert(hash);
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Whether the ledger has the block already.
    fn is_over(&self, id: HeaderId) -> bool {
        self.ledger.holds(&self.tree.hash(id)) || self.is_below_root(id)
    }

    /// Whether a block is stored and can be read; one that is damaged is stored anew.
    fn is_sound(&self, hash: &BlockHash) -> bool {
        matches!(self.store.find(hash), Ok(Some(_)))
    }

    /// Waits for all blocks on their way, then follows the stored branch with most work, if a block
    /// that was found invalid has left another one behind.
    pub(crate) fn finish(&mut self) -> Result<(), Error> {
        self.drain()?;
        while let Some(best) = self.best_stored().filter(|_| !self.is_stopped()) {
            let before = self.ledger.tip().info().hash;
            self.take_stored(best, false)?;
            self.drain()?;
            if self.ledger.tip().info().hash == before && !self.tree.is_invalid(best) {
                break;
            }
        }
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
            Some(written) => Ok(self.ledger.end_checkpoint(written?)?),
            None => Ok(()),
        }
    }

    /// Begins a checkpoint when it is time, and takes over one that is written.
    fn checkpoint(&mut self) -> Result<(), Error> {
        if let Some(written) = self.checkpoint.take() {
            self.ledger.end_checkpoint(written?)?;
        }
        if self.ledger.is_checkpoint_due() && !self.checkpoint.is_running() {
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
            while let Some(done) = self.pool.take(false) {
                self.receive(done);
            }
            self.advance()?;
            if self.in_flight <= self.memory.in_flight {
                return Ok(());
            }
            self.wait();
        }
    }

    /// Waits until nothing is on its way, then judges the blocks that were left for later, each when
    /// the one before is done.
    pub(crate) fn drain(&mut self) -> Result<(), Error> {
        loop {
            if self.is_stopped() {
                self.in_flight -= self.queue.drain(..).map(|queued| queued.size).sum::<usize>();
                self.later.clear();
            }
            self.advance()?;
            if !self.queue.is_empty() || !self.checking.is_empty() {
                self.wait();
            } else if let Some(id) = self.later.pop_first() {
                self.follow(id)?;
            } else {
                return Ok(());
            }
        }
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

    fn receive(&mut self, done: Done) {
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

    fn advance(&mut self) -> Result<(), Error> {
        loop {
            if self.checking.front().is_some_and(|front| front.open_parts == 0) {
                let front = self.checking.pop_front().expect("there is a front");
                guarded(self.tree.hash(front.id), || self.conclude(front))?;
                continue;
            }
            let has_room = self.checking.is_empty()
                || (self.checking.len() < CHECKING_MAX && self.checking_coins < self.memory.coins);
            if has_room && self.queue.front().is_some_and(|front| front.body.is_some()) {
                let front = self.queue.pop_front().expect("there is a front");
                guarded(front.context.hash, || self.settle(front))?;
                continue;
            }
            return Ok(());
        }
    }

    /// A block's turn has come: it is stored, and connected to its parent's world.
    fn settle(&mut self, mut queued: Queued) -> Result<(), Error> {
        let body = match queued.body.take().expect("a block settles once it is prepared") {
            Ok(body) => body,
            Err(fault) => {
                self.in_flight -= queued.size;
                self.judge(queued.id, queued.origin, fault, None);
                return Ok(());
            }
        };
        let hash = queued.context.hash;
        let was_known = !queued.is_stored && self.is_sound(&hash);
        if let Store::Writer(store) = &mut self.store
            && !queued.is_stored
        {
            store.append(body.block.bytes(), &hash)?;
            self.counts.damaged.remove(&hash);
            queued.is_stored = true;
        }
        let is_over = if was_known {
            self.counts.duplicates += 1;
            true
        } else if self.tree.is_invalid(queued.id) {
            self.counts.skipped += 1;
            true
        } else if self.ledger.holds(&hash) {
            true
        } else {
            !queued.is_needed && self.is_behind(queued.id) && self.later.insert(queued.id)
        };
        if is_over {
            self.in_flight -= queued.size;
            return Ok(());
        }
        let looks_for_overwrites = queued.context.checks_bip30;
        match self.ledger.resolve(&body.block, &body.txids, looks_for_overwrites)? {
            Some(resolved) => self.connect(queued, body, resolved),
            None => self.fetch_ancestors(queued, body),
        }
    }

    fn connect(
        &mut self,
        queued: Queued,
        body: Arc<Body>,
        resolved: Resolved,
    ) -> Result<(), Error> {
        let Queued { ticket, id, context, origin, size, .. } = queued;
        let Resolved { prevouts, overwrites, .. } = &resolved;
        let (params, tree) = (&self.params, &self.tree);
        match connect_block(&body.block, &context, params, tree, prevouts, *overwrites) {
            Ok(BlockTotals { fees, subsidy, .. }) => {
                let sums = Sums { chain_work: self.tree.chain_work(id), fees, subsidy };
                self.ledger.extend(&body.block, &body.txids, &resolved, sums)?;
            }
            Err(reject) => {
                self.in_flight -= size;
                self.judge(id, origin, reject.into(), None);
                return Ok(());
            }
        }
        let scripts = Scripts { body, prevouts: resolved.prevouts, flags: context.flags };
        let is_assumed_valid = self.is_assumed_valid(id);
        let open_parts = if is_assumed_valid { 0 } else { self.check_scripts(ticket, &scripts) };
        let coins = scripts.prevouts.iter().flatten();
        let coins_size = coins.map(|coin| COIN_OVERHEAD + coin.script_pubkey.len()).sum();
        self.checking_coins += coins_size;
        self.checking.push_back(Checking {
            ticket,
            id,
            origin,
            scripts,
            size,
            coins_size,
            is_assumed_valid,
            open_parts,
            faults: Vec::new(),
        });
        Ok(())
    }

    /// Hands the scripts out in parts and returns how many there are.
    fn check_scripts(&self, ticket: u64, scripts: &Scripts) -> usize {
        let block = &scripts.body.block;
        let (mut parts, mut start, mut first_input, mut inputs) = (0, 1, 0, 0);
        for end in 1..=block.tx_count() {
            if CHUNK_INPUTS <= inputs || (end == block.tx_count() && 0 < inputs) {
                let (txs, scripts) = (start..end, scripts.clone());
                self.pool.check(Job::Scripts { ticket, scripts, txs, first_input });
                parts += 1;
                first_input += inputs;
                (start, inputs) = (end, 0);
            }
            if end < block.tx_count() {
                inputs += block.tx(end).input_count();
            }
        }
        parts
    }

    /// All scripts of the oldest block are checked: it is committed, or it falls with what is on it.
    fn conclude(&mut self, mut checked: Checking) -> Result<(), Error> {
        self.in_flight -= checked.size;
        self.checking_coins -= checked.coins_size;
        checked.faults.sort_unstable();
        let hash = self.tree.hash(checked.id);
        if let Some(&first) = checked.faults.first() {
            let Some(report) = &mut self.on_script_fault else {
                self.ledger.discard(&hash)?;
                let fault = Reject::BlockScriptVerifyFlagFailed(first.error).into();
                let input = Some((first.tx, first.input));
                self.judge(checked.id, checked.origin, fault, input);
                self.drop_descendants();
                return Ok(());
            };
            report(&checked.scripts, &checked.faults)?;
            self.counts.invalid += 1;
        }
        self.ledger.commit(&hash)?;
        let block = &checked.scripts.body.block;
        self.counts.connected += 1;
        self.counts.txs += block.tx_count() as u64;
        let inputs = checked.scripts.prevouts.len() as u64;
        self.counts.inputs += inputs;
        self.counts.scripts_skipped += if checked.is_assumed_valid { inputs } else { 0 };
        self.counts.bytes += block.bytes().len() as u64;
        self.checkpoint()
    }

    /// Takes blocks out whose ancestor was just found invalid.
    fn drop_descendants(&mut self) {
        let is_invalid = |checking: &Checking| self.tree.is_invalid(checking.id);
        let (dropped, kept): (VecDeque<Checking>, _) =
            self.checking.drain(..).partition(is_invalid);
        self.checking = kept;
        for checking in dropped {
            self.in_flight -= checking.size;
            self.checking_coins -= checking.coins_size;
            self.counts.skipped += 1;
        }
    }

    /// Remembers a fault against the hash, unless another body may stand under the same header.
    fn judge(&mut self, id: HeaderId, origin: Origin, fault: Fault, input: Option<(usize, usize)>) {
        if let Fault::Reject(reject) = fault
            && reject.class() != RejectClass::Mutated
        {
            self.tree.mark_invalid(id);
        }
        let (height, hash) = (Some(self.tree.height(id)), self.tree.hash(id));
        self.refuse(Refusal { origin, height, hash, fault, input });
    }

    fn refuse_header(&mut self, header: &Header, origin: Origin, reject: Reject) {
        let parent = self.tree.find(&header.prev_block);
        let height = parent.map(|parent| self.tree.height(parent) + 1);
        let (hash, fault) = (header.hash(), reject.into());
        self.refuse(Refusal { origin, height, hash, fault, input: None });
    }

    fn refuse(&mut self, refusal: Refusal) {
        self.counts.invalid += 1;
        self.counts.first_invalid.get_or_insert(refusal);
    }

    fn stored_origin(&self, hash: &BlockHash) -> Origin {
        let position = self.store.reader().position(hash).unwrap_or_default();
        Origin { path: "blocks.bin".into(), position }
    }

    fn is_below_root(&self, id: HeaderId) -> bool {
        let root = self.ledger.root();
        let root_id = self.tree.find(&root.hash).expect("the root's header is in the tree");
        self.tree.height(id) <= root.height
            && self.tree.ancestor(root_id, self.tree.height(id)) == Some(id)
    }

    /// Whether a block's scripts are left unchecked.
    fn is_assumed_valid(&self, id: HeaderId) -> bool {
        let (tree, work) = (&self.tree, self.params.minimum_chain_work);
        self.assumed_valid != BlockHash::ZERO
            && tree.is_assumed_valid(id, &self.assumed_valid, tree.best(), work)
    }

    /// The tip, or what will be it if the scripts that are being checked are good.
    fn next_tip(&self) -> HeaderId {
        let ids = self.checking.iter().map(|checking| checking.id).chain([self.tip_id()]);
        ids.max_by_key(|&id| self.tree.chain_work(id)).expect("there is a tip")
    }

    fn is_behind(&self, id: HeaderId) -> bool {
        self.tree.chain_work(id) < self.tree.chain_work(self.next_tip())
    }

    /// A branch is followed while its work is close to the tip's.
    fn is_wanted(&self, id: HeaderId) -> bool {
        let tip = self.next_tip();
        let parent = self.tree.parent(tip).map_or_else(Work::default, |p| self.tree.chain_work(p));
        let proof = self.tree.chain_work(tip) - parent;
        let slack = (0..BRANCH_BLOCKS).fold(Work::default(), |sum, _| sum + proof);
        self.tree.chain_work(tip) < self.tree.chain_work(id) + slack
    }

    fn tip_id(&self) -> HeaderId {
        let tip = self.ledger.tip().info().hash;
        self.tree.find(&tip).expect("the tip's header is in the tree")
    }

    /// The parent's world is not held: its branch was not followed so far, or lies below the root.
    fn fetch_ancestors(&mut self, queued: Queued, body: Arc<Body>) -> Result<(), Error> {
        let Some(first) = self.first_missing(queued.id, queued.has_sound_ancestors) else {
            // A body between here and the ledger is not stored, so that nothing can be judged.
            self.in_flight -= queued.size;
            self.counts.skipped += 1;
            return Ok(());
        };
        let parent = self.tree.parent(first).expect("genesis is below the root");
        if !self.ledger.holds(&self.tree.hash(parent)) {
            if self.tree.chain_work(queued.id) <= self.tree.chain_work(self.tip_id()) {
                self.in_flight -= queued.size;
                self.counts.parked += 1;
                return Ok(());
            }
            self.rewind(parent)?;
        }
        let (from, to) = (self.tree.height(first), self.tree.height(queued.id));
        let end = self.in_flight + self.memory.in_flight / 2;
        let mut batch = Vec::new();
        for height in from..to {
            let ancestor = self.tree.ancestor(queued.id, height);
            let ancestor = ancestor.expect("heights below are ancestors");
            let hash = self.tree.hash(ancestor);
            let bytes = self.store.reader().read(&hash)?;
            let origin = self.stored_origin(&hash);
            batch.push(Queued { is_needed: true, ..self.prepare(ancestor, bytes, origin, true) });
            if end < self.in_flight {
                break;
            }
        }
        let body = Some(Ok(body));
        self.queue.push_front(Queued { body, has_sound_ancestors: true, ..queued });
        batch.into_iter().rev().for_each(|queued| self.queue.push_front(queued));
        Ok(())
    }

    /// The lowest ancestor whose world is not held while its parent's is, or whose parent lies below
    /// the root; none when a body on the way is not stored, or damaged.
    fn first_missing(&self, id: HeaderId, is_sound: bool) -> Option<HeaderId> {
        let mut first = id;
        loop {
            let parent = self.tree.parent(first)?;
            let hash = self.tree.hash(parent);
            if self.ledger.holds(&hash) || self.is_below_root(parent) {
                return Some(first).filter(|first| *first != id || !self.ledger.holds(&hash));
            }
            if !is_sound && !self.is_sound(&hash) {
                return None;
            }
            first = parent;
        }
    }

    /// Moves the ledger back to an ancestor of its root.
    fn rewind(&mut self, to: HeaderId) -> Result<(), Error> {
        while let Some(front) = self.checking.front() {
            if front.open_parts == 0 {
                let front = self.checking.pop_front().expect("there is a front");
                self.conclude(front)?;
            } else {
                self.wait();
            }
        }
        self.wait_for_checkpoint()?;
        Ok(self.ledger.rewind_to(&self.tree.hash(to))?)
    }

    /// The stored block with most work, if that is more than the tip's and all up to it is stored.
    fn best_stored(&self) -> Option<HeaderId> {
        let tip_work = self.tree.chain_work(self.tip_id());
        let mut candidates: Vec<HeaderId> = self
            .ids()
            .filter(|&id| tip_work < self.tree.chain_work(id) && !self.tree.is_invalid(id))
            .filter(|&id| self.store.reader().contains(&self.tree.hash(id)))
            .collect();
        candidates.sort_by_key(|&id| (self.tree.chain_work(id), std::cmp::Reverse(id)));
        candidates.into_iter().rev().find(|&id| {
            let parent = self.tree.parent(id).expect("genesis has the least work");
            self.is_sound(&self.tree.hash(id))
                && (self.ledger.holds(&self.tree.hash(parent))
                    || self.first_missing(id, false).is_some())
        })
    }

    /// The stored block with most work up to which all blocks are stored; none in an empty store.
    pub(crate) fn best_complete(&self) -> Option<HeaderId> {
        let genesis = HeaderTree::GENESIS;
        let mut complete = vec![genesis];
        let mut best = genesis;
        // Parents stand before their children in the tree.
        for id in self.ids().filter(|&id| id != genesis) {
            let parent = self.tree.parent(id).expect("only genesis has none");
            if complete.binary_search(&parent).is_ok()
                && self.store.reader().contains(&self.tree.hash(id))
            {
                complete.push(id);
                if self.tree.chain_work(best) < self.tree.chain_work(id) {
                    best = id;
                }
            }
        }
        Some(best).filter(|&best| best != genesis)
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
