//! How blocks leave the window: dropped with their fork, folded into the root, or undone.

use std::sync::Arc;

use caesure_wire::BlockHash;

use crate::log::{NO_RECORD, Record};
use crate::shared::{Extras, Shared};
use crate::table::{Key, Place, Slot};
use crate::window::Entry;
use crate::{BATCH, Error, Ledger};

impl Ledger {
    /// A number for a block on `parent`; in a full window that of the leaf with least work.
    pub(crate) fn take_number(&mut self, parent: &Entry) -> Result<u16, Error> {
        let (free, weakest) = {
            let mut window = self.shared.write();
            let free = window.take_number(None);
            (free, if free.is_none() { window.weakest(parent) } else { None })
        };
        if let Some(free) = free {
            return Ok(free);
        }
        let weakest = weakest.ok_or(Error::WindowFull)?;
        let dropped = self.drop_block(&weakest);
        self.breaks(dropped)?;
        self.shared.write().take_number(None).ok_or(Error::WindowFull)
    }

    /// Drops a block and all that stand on it.
    pub(crate) fn drop_subtree(&self, entry: &Entry) -> Result<(), Error> {
        let blocks = self.shared.read().subtree(entry);
        blocks.iter().try_for_each(|block| self.drop_block(block))
    }

    /// Takes a block that nothing stands on out of the window, and its coins out of the table.
    fn drop_block(&self, entry: &Entry) -> Result<(), Error> {
        let shared = &self.shared;
        shared.write().remove(entry);
        let (_, record) = shared.log.block(entry.record)?;
        shared.forget_created(&record)?;
        let mut spends = shared.spends.writer();
        for (index, coin) in shared.log.spent(&record)?.enumerate() {
            shared.unspend(&mut spends, coin, entry.number, index)?;
        }
        drop(spends);
        if let Some(dropped) = &mut *shared.dropped() {
            dropped.push(entry.record);
        }
        shared.write().free_number(entry.number);
        Ok(())
    }

    /// Moves the root up, and drops forks, as far as the horizon asks.
    pub(crate) fn trim(&self) -> Result<(), Error> {
        let (dropped, folded) = self.shared.read().plan(self.horizon);
        dropped.iter().try_for_each(|entry| self.drop_block(entry))?;
        folded.iter().try_for_each(|entry| self.fold(entry))
    }

    /// Makes a child of the root the root, and drops what does not stand on it.
    pub(crate) fn fold_onto(&self, entry: &Arc<Entry>) -> Result<(), Error> {
        let mut others: Vec<Arc<Entry>> = {
            let window = self.shared.read();
            let is_beside = |other: &&Arc<Entry>| {
                other.record != window.root.record && !other.is_on(entry.number)
            };
            window.entries().filter(is_beside).cloned().collect()
        };
        others.sort_by_key(|other| std::cmp::Reverse(other.info.height));
        others.iter().try_for_each(|other| self.drop_block(other))?;
        self.fold(entry)
    }

    /// Makes the only child of the root the root: what it spent leaves the table.
    fn fold(&self, entry: &Arc<Entry>) -> Result<(), Error> {
        let shared = &self.shared;
        let (_, record) = shared.log.block(entry.record)?;
        shared.write().move_root(entry);
        let spent: Vec<(Key, Place)> = shared.log.spent(&record)?.collect();
        let mut beside = Extras::clone(&shared.extras.load());
        let has_extras = !beside.is_empty();
        let mut spends = shared.spends.writer();
        let (mut index, mut left) = (0, Vec::new());
        for batch in spent.chunks(BATCH) {
            let spots = shared.spots(batch.iter().map(|&(key, _)| key));
            spots.iter().for_each(|spot| _ = spot.peek());
            for (spot, &(key, place)) in spots.into_iter().zip(batch) {
                if !shared.table.remove(spot, Slot::spent_by(entry.number, index))? {
                    if !shared.remove(key, place)? {
                        take_from(&mut beside, key, place);
                    }
                    left.push(place);
                }
                index += 1;
            }
        }
        if has_extras {
            // Other coins of the outpoint are gone with their forks or by being spent.
            let mut promoted = shared.log.created_keys(&record)?;
            promoted.retain(|(key, place)| {
                beside.get(&key.0).is_some_and(|places| places.contains(place))
            });
            for (key, place) in promoted {
                let is_same = |other| shared.is_same(other, place);
                // Some block above may have spent it already.
                if shared.table.insert(shared.table.spot(key), Slot::at(place, true), is_same)? {
                    take_from(&mut beside, key, place);
                }
            }
            shared.extras.store(beside);
        }
        shared.raise_floor();
        shared.read().forget_on_branches(entry.number);
        left.iter().for_each(|&place| spends.remove(place, entry.number));
        drop(spends);
        shared.write().free_number(entry.number);
        Ok(())
    }

    /// Goes back to an ancestor of the root, which becomes the root; all worlds above it are gone.
    ///
    /// This is the slow way to a branch that forks below the root. A checkpoint ends it, so that a crash
    /// on the way finds the ledger as it was before; none may be under way on another thread.
    ///
    /// # Errors
    /// When a record on the way cannot be read, or `hash` is no ancestor of the root.
    pub fn rewind_to(&mut self, hash: &BlockHash) -> Result<(), Error> {
        self.check()?;
        let path = self.records_down_to(hash)?;
        let rewound = self.rewind(&path);
        self.breaks(rewound)?;
        // Without it, what is committed next would be redone on what was before.
        let saved = self.checkpoint();
        self.breaks(saved)
    }

    /// The records of the root and its ancestors, as far as they are above a block.
    fn records_down_to(&self, hash: &BlockHash) -> Result<Vec<u64>, Error> {
        let root = Arc::clone(&self.shared.read().root);
        let (mut at, mut is_found) = (root.record, root.info.hash == *hash);
        let mut path = Vec::new();
        while !is_found {
            if at == NO_RECORD {
                return Err(Error::NoAncestor { hash: *hash, base: self.base.hash });
            }
            let (head, _) = self.shared.log.block(at)?;
            path.push(at);
            is_found = head.prev_block == *hash;
            at = head.parent_record;
        }
        Ok(path)
    }

    fn rewind(&mut self, path: &[u64]) -> Result<(), Error> {
        let shared = Arc::clone(&self.shared);
        let root = Arc::clone(&shared.read().root);
        let children: Vec<Arc<Entry>> = {
            let window = shared.read();
            let stands_on = |entry: &&Arc<Entry>| entry.prev_block == root.info.hash;
            window.entries().filter(stands_on).cloned().collect()
        };
        children.iter().try_for_each(|child| self.drop_subtree(child))?;
        // A checkpoint that has begun would mix what is before with what is after.
        self.checkpoint_turn += 1;
        let mut to = None;
        for &at in path {
            let (head, record) = shared.log.block(at)?;
            if to.is_none() {
                let entry = Entry::new(root.info, root.prev_block, 0, root.record, None);
                // Whoever takes the tip meanwhile is refused: the table changes under it.
                entry.stop_holding();
                shared.write().reset(entry);
            }
            shared.forget_created(&record)?;
            let spent: Vec<(Key, Place)> = shared.log.spent(&record)?.collect();
            let beside = self.insert_all(&spent, false)?;
            debug_assert!(beside.is_empty(), "a set has one coin an outpoint");
            to = Some((head.prev_block, head.parent_record));
        }
        let Some((hash, at)) = to else { return Ok(()) };
        let entry = match at {
            NO_RECORD => Entry::new(self.base, BlockHash::ZERO, 0, NO_RECORD, None),
            at => {
                let (head, _) = shared.log.block(at)?;
                Entry::new(head.info, head.prev_block, 0, at, None)
            }
        };
        debug_assert_eq!(entry.info.hash, hash, "records name their parents");
        shared.write().reset(entry);
        shared.floor.store(shared.log.len(), std::sync::atomic::Ordering::Release);
        Ok(())
    }
}

impl Shared {
    /// Takes what a record made out of the table, or from beside it, if it is there.
    pub(crate) fn forget_created(&self, record: &Record<'_>) -> Result<(), Error> {
        let mut beside = Extras::clone(&self.extras.load());
        let has_extras = !beside.is_empty();
        for (key, place) in self.log.created_keys(record)? {
            if !self.remove(key, place)? && has_extras {
                take_from(&mut beside, key, place);
            }
        }
        if has_extras {
            self.extras.store(beside);
        }
        Ok(())
    }
}

fn take_from(extras: &mut Extras, key: Key, place: Place) {
    if let hashbrown::hash_map::Entry::Occupied(mut entry) = extras.entry(key.0) {
        entry.get_mut().retain(|other| *other != place);
        if entry.get().is_empty() {
            entry.remove();
        }
    }
}
