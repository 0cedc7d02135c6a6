use std::cmp::Reverse;

use caesure_consensus::{Coin, Work};
use caesure_wire::{BlockHash, OutPoint};
use smallvec::SmallVec;

use crate::Map;
use crate::delta::Delta;

/// The most blocks that the window holds, on all forks together.
pub(crate) const MAX_WINDOW: usize = 1024;

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
    /// The sum of all fees ever paid, in satoshi.
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

/// A set of slots.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SlotSet([u64; MAX_WINDOW / 64]);

impl SlotSet {
    pub(crate) const fn contains(&self, slot: u16) -> bool {
        self.0[slot as usize / 64] >> (slot % 64) & 1 == 1
    }

    const fn insert(&mut self, slot: u16) {
        self.0[slot as usize / 64] |= 1 << (slot % 64);
    }

    const fn remove(&mut self, slot: u16) {
        self.0[slot as usize / 64] &= !(1 << (slot % 64));
    }
}

/// A block in the window.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) info: BlockInfo,
    pub(crate) parent: Option<u16>,
    /// The slots of the block and its ancestors above the root.
    pub(crate) branch: SlotSet,
    created: Vec<OutPoint>,
    spent: Vec<OutPoint>,
    /// The place in the journal, once the block is committed.
    pub(crate) record: Option<u64>,
    /// In which order blocks were committed: the first of equal work stays the tip.
    pub(crate) sequence: u64,
}

impl Slot {
    /// The keys that the block changed.
    pub(crate) fn touched(&self) -> impl Iterator<Item = &OutPoint> {
        self.created.iter().chain(&self.spent)
    }
}

/// All that happened to an outpoint inside the window.
#[derive(Debug, Default)]
struct Entry {
    /// The output, when a block of the window made it. Its height is that of the block, since one
    /// transaction may stand at different heights on two forks.
    output: Option<(i64, bool, Box<[u8]>)>,
    /// Slot times two, plus one for a spend.
    ops: SmallVec<[u16; 4]>,
}

const fn op(slot: u16, is_spend: bool) -> u16 {
    slot << 1 | is_spend as u16
}

/// The base, which is the root block's set, and what the blocks above it changed.
#[derive(Debug)]
pub(crate) struct Window {
    pub(crate) base: Map<OutPoint, Coin>,
    table: Map<OutPoint, Entry>,
    slots: Vec<Option<Slot>>,
    by_hash: Map<BlockHash, u16>,
    pub(crate) root: u16,
    pub(crate) tip: u16,
    next_sequence: u64,
}

impl Window {
    /// A window that holds one world, that of `info` with the coins of `base`.
    pub(crate) fn new(base: Map<OutPoint, Coin>, info: BlockInfo, record: Option<u64>) -> Self {
        let root = Slot {
            info,
            parent: None,
            branch: SlotSet::default(),
            created: Vec::new(),
            spent: Vec::new(),
            record,
            sequence: 0,
        };
        Self {
            base,
            table: Map::default(),
            by_hash: Map::from_iter([(info.hash, 0)]),
            slots: vec![Some(root)],
            root: 0,
            tip: 0,
            next_sequence: 1,
        }
    }

    pub(crate) fn find(&self, hash: &BlockHash) -> Option<u16> {
        self.by_hash.get(hash).copied()
    }

    pub(crate) fn slot(&self, slot: u16) -> &Slot {
        self.slots[usize::from(slot)].as_ref().expect("a slot number that is held names a block")
    }

    pub(crate) fn slots(&self) -> impl Iterator<Item = (u16, &Slot)> {
        (0..).zip(&self.slots).filter_map(|(number, slot)| Some((number, slot.as_ref()?)))
    }

    /// Committed blocks without a committed child.
    pub(crate) fn leaves(&self) -> Vec<u16> {
        let mut parents = SlotSet::default();
        for parent in self.committed().filter_map(|(_, slot)| slot.parent) {
            parents.insert(parent);
        }
        let leaves = self.committed().filter(|&(number, _)| !parents.contains(number));
        leaves.map(|(number, _)| number).collect()
    }

    fn committed(&self) -> impl Iterator<Item = (u16, &Slot)> {
        self.slots().filter(|(number, slot)| slot.sequence != u64::MAX || *number == self.root)
    }

    /// The coin at `outpoint` in the world of a slot: the last change on its branch, else the base.
    pub(crate) fn get(&self, slot: u16, outpoint: &OutPoint) -> Option<Coin> {
        let branch = &self.slot(slot).branch;
        let entry = self.table.get(outpoint);
        let last = entry.and_then(|entry| {
            let on_branch = entry.ops.iter().filter(|&&op| branch.contains(op >> 1));
            on_branch.map(|&op| (self.slot(op >> 1).info.height, op & 1 == 0)).max()
        });
        match last {
            None => self.base.get(outpoint).cloned(),
            Some((_, false)) => None,
            Some((height, true)) => {
                let output = entry.and_then(|entry| entry.output.as_ref());
                let (value, is_coinbase, script) = output.expect("a created coin has an output");
                Some(Coin {
                    value: *value,
                    height,
                    is_coinbase: *is_coinbase,
                    script_pubkey: script.clone(),
                })
            }
        }
    }

    /// All outpoints of a world in key order.
    pub(crate) fn outpoints(&self, slot: u16) -> Vec<OutPoint> {
        let changed = self.table.keys();
        let in_base = self.base.keys().filter(|outpoint| !self.table.contains_key(*outpoint));
        let mut outpoints: Vec<OutPoint> = changed
            .filter(|outpoint| self.get(slot, outpoint).is_some())
            .chain(in_base)
            .copied()
            .collect();
        outpoints.sort_unstable();
        outpoints
    }

    /// A free slot; in a full window that of the leaf with least work, which `parent` and the tip
    /// are not.
    fn free_slot(&mut self, parent: u16) -> Option<usize> {
        if let Some(free) = self.slots.iter().position(Option::is_none) {
            return Some(free);
        }
        if self.slots.len() < MAX_WINDOW {
            self.slots.push(None);
            return Some(self.slots.len() - 1);
        }
        let has_child = |leaf| self.slots().any(|(_, slot)| slot.parent == Some(leaf));
        let mut leaves = self.leaves();
        leaves.retain(|&leaf| leaf != parent && leaf != self.tip && !has_child(leaf));
        let rank =
            |&leaf: &u16| (self.slot(leaf).info.chain_work, Reverse(self.slot(leaf).sequence));
        let least = leaves.into_iter().min_by_key(rank)?;
        self.remove(least);
        Some(usize::from(least))
    }

    /// Adds a block that is not yet committed; not to a window that is full of one branch.
    pub(crate) fn insert(&mut self, parent: u16, info: BlockInfo, delta: Delta) -> Option<u16> {
        let free = self.free_slot(parent)?;
        let number = u16::try_from(free).expect("the window has 1,024 slots");
        let mut branch = self.slot(parent).branch;
        branch.insert(number);
        for outpoint in &delta.spent {
            self.table.entry(*outpoint).or_default().ops.push(op(number, true));
        }
        let mut created = Vec::with_capacity(delta.created.len());
        for (outpoint, coin) in delta.created {
            let entry = self.table.entry(outpoint).or_default();
            entry.ops.push(op(number, false));
            entry.output.get_or_insert((coin.value, coin.is_coinbase, coin.script_pubkey));
            created.push(outpoint);
        }
        self.by_hash.insert(info.hash, number);
        self.slots[free] = Some(Slot {
            info,
            parent: Some(parent),
            branch,
            created,
            spent: delta.spent,
            record: None,
            sequence: u64::MAX,
        });
        Some(number)
    }

    /// Makes a block visible: it can be the tip from now on.
    pub(crate) fn commit(&mut self, number: u16, record: Option<u64>) {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        let slot = self.slots[usize::from(number)].as_mut().expect("a block is committed once");
        slot.record = record;
        slot.sequence = sequence;
        let rank = |slot: &Slot| (slot.info.chain_work, Reverse(slot.sequence));
        if rank(self.slot(self.tip)) < rank(self.slot(number)) {
            self.tip = number;
        }
    }

    /// Drops a block and everything on top of it.
    pub(crate) fn discard(&mut self, number: u16) {
        let doomed: Vec<u16> = self
            .slots()
            .filter(|(_, slot)| slot.branch.contains(number))
            .map(|(number, _)| number)
            .collect();
        for number in doomed {
            self.remove(number);
        }
        let rank = |&(_, slot): &(u16, &Slot)| (slot.info.chain_work, Reverse(slot.sequence));
        let best = self.committed().max_by_key(rank);
        self.tip = best.expect("the root is committed").0;
    }

    fn remove(&mut self, number: u16) -> Slot {
        let slot = self.slots[usize::from(number)].take().expect("a block is removed once");
        self.by_hash.remove(&slot.info.hash);
        for outpoint in slot.touched() {
            self.forget_op(outpoint, number);
        }
        slot
    }

    fn forget_op(&mut self, outpoint: &OutPoint, number: u16) {
        if let hashbrown::hash_map::Entry::Occupied(mut entry) = self.table.entry(*outpoint) {
            entry.get_mut().ops.retain(|op| *op >> 1 != number);
            if entry.get().ops.is_empty() {
                entry.remove();
            }
        }
    }

    /// Moves the root up by the original's rule: blocks more than `horizon` below the tip are
    /// folded into the base, as far as all forks that are kept share them; a fork whose leaf has
    /// fallen that far is dropped.
    pub(crate) fn trim(&mut self, horizon: u32) {
        let cutoff = self.slot(self.tip).info.height.saturating_sub(horizon);
        if cutoff <= self.slot(self.root).info.height {
            return;
        }
        let is_fresh = |slot: &Slot| cutoff <= slot.info.height;
        let mut leaves = self.leaves();
        leaves.retain(|&leaf| is_fresh(self.slot(leaf)));
        let pending = self.slots().filter(|(_, slot)| slot.sequence == u64::MAX);
        leaves.extend(pending.map(|(number, _)| number));
        leaves.push(self.tip);
        let is_kept = |number| leaves.iter().any(|&leaf| self.slot(leaf).branch.contains(number));
        let numbers = self.slots().map(|(number, _)| number);
        let dropped: Vec<u16> =
            numbers.filter(|&number| number != self.root && !is_kept(number)).collect();
        for number in dropped {
            self.remove(number);
        }
        let mut ancestor = self.common_ancestor(leaves);
        while cutoff < self.slot(ancestor).info.height {
            ancestor = self.slot(ancestor).parent.expect("the root is below the cutoff");
        }
        self.fold_up_to(ancestor);
    }

    fn common_ancestor(&self, mut leaves: Vec<u16>) -> u16 {
        loop {
            leaves.sort_unstable_by_key(|&leaf| Reverse((self.slot(leaf).info.height, leaf)));
            leaves.dedup();
            if leaves.len() == 1 {
                return leaves[0];
            }
            leaves[0] = self.slot(leaves[0]).parent.expect("two leaves meet at the root at last");
        }
    }

    /// Puts `root` and what is below it into the base. All other blocks stand on `root`.
    fn fold_up_to(&mut self, root: u16) {
        let mut path = Vec::new();
        let mut at = root;
        while at != self.root {
            path.push(at);
            at = self.slot(at).parent.expect("the new root descends from the old one");
        }
        for number in path.into_iter().rev() {
            self.fold(number);
            let old = self.slots[usize::from(self.root)].take().expect("there is a root");
            self.by_hash.remove(&old.info.hash);
            for slot in self.slots.iter_mut().flatten() {
                slot.branch.remove(number);
            }
            self.slots[usize::from(number)].as_mut().expect("it was just folded").parent = None;
            self.root = number;
        }
    }

    fn fold(&mut self, number: u16) {
        let height = self.slot(number).info.height;
        let slot = self.slots[usize::from(number)].as_mut().expect("a folded block is held");
        let (created, spent) = (std::mem::take(&mut slot.created), std::mem::take(&mut slot.spent));
        for outpoint in &spent {
            self.base.remove(outpoint);
            self.forget_op(outpoint, number);
        }
        for outpoint in &created {
            let output = self.table.get(outpoint).and_then(|entry| entry.output.clone());
            let (value, is_coinbase, script_pubkey) = output.expect("a created coin has an output");
            self.base.insert(*outpoint, Coin { value, height, is_coinbase, script_pubkey });
            self.forget_op(outpoint, number);
        }
    }
}
