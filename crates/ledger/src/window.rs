//! The blocks whose worlds are held: a tree above the root.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};

use caesure_consensus::Work;
use caesure_wire::BlockHash;

use crate::Map;

/// The most blocks that the window holds, on all forks together, the root apart.
pub(crate) const MAX_WINDOW: u16 = 1023;
/// The sequence of a block that is not yet committed.
const UNCOMMITTED: u64 = u64::MAX;

/// What is known of a block whose world is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockInfo {
    /// The block's hash.
    pub hash: BlockHash,
    /// Its height.
    pub height: u32,
    /// The work of the chain up to it.
    pub chain_work: Work,
    /// The sum of all unspent outputs, in satoshi. Core: `total_amount` of `gettxoutsetinfo`.
    pub total: i64,
    /// The sum of all fees ever paid, in satoshi; above a snapshot that is not verified, of those
    /// paid since.
    pub fees: i64,
    /// The sum of all subsidies that were allowed, in satoshi.
    pub issued: i64,
}

impl BlockInfo {
    /// Returns the satoshi that were allowed and are in no unspent output: unclaimed, provably
    /// unspendable, overwritten (BIP-0030), or the genesis block's. Never negative for a valid chain.
    #[must_use]
    pub const fn lost(&self) -> i64 {
        self.issued - self.total
    }
}

/// A block in the window.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) info: BlockInfo,
    pub(crate) prev_block: BlockHash,
    /// Its number among the blocks of the window.
    pub(crate) number: u16,
    /// Where its record begins.
    pub(crate) record: u64,
    /// In which order blocks were committed: the first of equal work stays the tip.
    sequence: AtomicU64,
    /// False from the moment on from which the table may lack something of this world.
    held: AtomicBool,
    /// The numbers of the block and its ancestors above the root.
    branch: [AtomicU64; 16],
}

impl Entry {
    pub(crate) fn new(
        info: BlockInfo,
        prev_block: BlockHash,
        number: u16,
        record: u64,
        parent: Option<&Self>,
    ) -> Self {
        let word = |at: usize| parent.map_or(0, |parent| parent.branch[at].load(Relaxed));
        let entry = Self {
            info,
            prev_block,
            number,
            record,
            sequence: AtomicU64::new(UNCOMMITTED),
            held: AtomicBool::new(true),
            branch: std::array::from_fn(|at| AtomicU64::new(word(at))),
        };
        if parent.is_some() {
            entry.branch[usize::from(number / 64)].fetch_or(1 << (number % 64), Relaxed);
        }
        entry
    }

    /// Whether the block with this number is this one or one of its ancestors above the root.
    pub(crate) fn is_on(&self, number: u16) -> bool {
        self.branch[usize::from(number / 64)].load(Acquire) >> (number % 64) & 1 == 1
    }

    pub(crate) fn is_held(&self) -> bool {
        self.held.load(Acquire)
    }

    /// Said before the table loses anything of the block's world.
    pub(crate) fn stop_holding(&self) {
        self.held.store(false, Release);
    }

    pub(crate) fn is_committed(&self) -> bool {
        self.sequence.load(Relaxed) != UNCOMMITTED
    }

    pub(crate) fn sequence(&self) -> u64 {
        self.sequence.load(Relaxed)
    }

    /// By work, then by which was complete first.
    fn rank(&self) -> (Work, Reverse<u64>) {
        (self.info.chain_work, Reverse(self.sequence()))
    }
}

/// All blocks that are held.
#[derive(Debug)]
pub(crate) struct Window {
    by_hash: Map<BlockHash, Arc<Entry>>,
    pub(crate) root: Arc<Entry>,
    pub(crate) tip: Arc<Entry>,
    free: VecDeque<u16>,
    next_sequence: u64,
}

impl Window {
    /// A window that holds one world.
    pub(crate) fn new(root: Entry) -> Self {
        root.sequence.store(0, Relaxed);
        let root = Arc::new(root);
        Self {
            by_hash: Map::from_iter([(root.info.hash, Arc::clone(&root))]),
            tip: Arc::clone(&root),
            root,
            free: (0..MAX_WINDOW).collect(),
            next_sequence: 1,
        }
    }

    pub(crate) fn find(&self, hash: &BlockHash) -> Option<&Arc<Entry>> {
        self.by_hash.get(hash)
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.by_hash.values()
    }

    fn above_root(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.entries().filter(|entry| entry.info.hash != self.root.info.hash)
    }

    fn committed(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.entries().filter(|entry| entry.is_committed())
    }

    /// Committed blocks without a committed child.
    pub(crate) fn leaves(&self) -> Vec<Arc<Entry>> {
        let parents: Map<BlockHash, ()> =
            self.committed().map(|entry| (entry.prev_block, ())).collect();
        let leaves = self.committed().filter(|entry| !parents.contains_key(&entry.info.hash));
        leaves.cloned().collect()
    }

    fn parent(&self, entry: &Entry) -> &Arc<Entry> {
        &self.by_hash[&entry.prev_block]
    }

    /// Takes a free number: this one, or any.
    pub(crate) fn take_number(&mut self, wanted: Option<u16>) -> Option<u16> {
        let at = match wanted {
            Some(wanted) => self.free.iter().position(|&number| number == wanted)?,
            None => 0,
        };
        self.free.remove(at)
    }

    /// Who has a number.
    pub(crate) fn holder(&self, number: u16) -> Option<Arc<Entry>> {
        self.above_root().find(|entry| entry.number == number).cloned()
    }

    /// The leaf that is given up when no number is free: that with least work, but not `parent` or
    /// the tip.
    pub(crate) fn weakest(&self, parent: &Entry) -> Option<Arc<Entry>> {
        let parents: Map<BlockHash, ()> =
            self.entries().map(|entry| (entry.prev_block, ())).collect();
        let spared = [parent.info.hash, self.tip.info.hash];
        let is_weak = |entry: &&Arc<Entry>| {
            !parents.contains_key(&entry.info.hash) && !spared.contains(&entry.info.hash)
        };
        let leaves = self.above_root().filter(|entry| entry.is_committed()).filter(is_weak);
        leaves.min_by_key(|entry| entry.rank()).cloned()
    }

    pub(crate) fn insert(&mut self, entry: Entry) -> Arc<Entry> {
        let entry = Arc::new(entry);
        self.by_hash.insert(entry.info.hash, Arc::clone(&entry));
        entry
    }

    /// Makes a block visible: it can be the tip from now on.
    pub(crate) fn commit(&mut self, entry: &Arc<Entry>) {
        entry.sequence.store(self.next_sequence, Relaxed);
        self.next_sequence += 1;
        if self.tip.rank() < entry.rank() {
            self.tip = Arc::clone(entry);
        }
    }

    /// A block and everything on top of it, the highest first.
    pub(crate) fn subtree(&self, entry: &Entry) -> Vec<Arc<Entry>> {
        let mut blocks: Vec<Arc<Entry>> =
            self.above_root().filter(|other| other.is_on(entry.number)).cloned().collect();
        blocks.sort_by_key(|entry| Reverse(entry.info.height));
        blocks
    }

    /// Takes a block out. Its number is free again only when the table knows it no more.
    pub(crate) fn remove(&mut self, entry: &Entry) {
        entry.stop_holding();
        self.by_hash.remove(&entry.info.hash);
        if entry.info.hash == self.tip.info.hash {
            let best = self.committed().max_by_key(|entry| entry.rank()).cloned();
            self.tip = best.unwrap_or_else(|| Arc::clone(&self.root));
        }
    }

    pub(crate) fn free_number(&mut self, number: u16) {
        self.free.push_back(number);
    }

    /// By the original's rule: which blocks are dropped, because their fork's leaf is more than
    /// `horizon` below the tip, and which are folded into the root, the lowest first: those that are
    /// that deep, as far as all forks that are kept share them.
    pub(crate) fn plan(&self, horizon: u32) -> (Vec<Arc<Entry>>, Vec<Arc<Entry>>) {
        let cutoff = self.tip.info.height.saturating_sub(horizon);
        if cutoff <= self.root.info.height {
            return (Vec::new(), Vec::new());
        }
        let mut leaves = self.leaves();
        leaves.retain(|leaf| cutoff <= leaf.info.height);
        leaves.extend(self.entries().filter(|entry| !entry.is_committed()).cloned());
        leaves.push(Arc::clone(&self.tip));
        let is_kept = |entry: &Entry| leaves.iter().any(|leaf| leaf.is_on(entry.number));
        let mut dropped: Vec<Arc<Entry>> =
            self.above_root().filter(|entry| !is_kept(entry)).cloned().collect();
        dropped.sort_by_key(|entry| Reverse(entry.info.height));
        let mut ancestor = self.common_ancestor(leaves);
        let mut folded = Vec::new();
        while ancestor.info.hash != self.root.info.hash {
            if ancestor.info.height <= cutoff {
                folded.push(Arc::clone(&ancestor));
            }
            ancestor = Arc::clone(self.parent(&ancestor));
        }
        folded.reverse();
        (dropped, folded)
    }

    fn common_ancestor(&self, mut leaves: Vec<Arc<Entry>>) -> Arc<Entry> {
        loop {
            leaves.sort_unstable_by_key(|leaf| Reverse((leaf.info.height, leaf.info.hash)));
            leaves.dedup_by_key(|leaf| leaf.info.hash);
            if leaves.len() == 1 {
                return leaves.remove(0);
            }
            leaves[0] = Arc::clone(self.parent(&leaves[0]));
        }
    }

    /// Makes a child of the root the root. The number is the caller's to free.
    pub(crate) fn move_root(&mut self, to: &Arc<Entry>) {
        self.root.stop_holding();
        self.by_hash.remove(&self.root.info.hash);
        self.root = Arc::clone(to);
    }

    /// Nobody's branch names the block any more, now that all stand on it.
    pub(crate) fn forget_on_branches(&self, number: u16) {
        for entry in self.entries() {
            entry.branch[usize::from(number / 64)].fetch_and(!(1 << (number % 64)), Release);
        }
    }

    /// Where the first record of a block above the root begins.
    pub(crate) fn first_record(&self) -> Option<u64> {
        self.above_root().map(|entry| entry.record).min()
    }

    /// Holds a single world again.
    pub(crate) fn reset(&mut self, root: Entry) {
        self.entries().for_each(|entry| entry.stop_holding());
        let next_sequence = self.next_sequence;
        *self = Self::new(root);
        self.next_sequence = next_sequence;
    }
}
