use std::path::PathBuf;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use arc_swap::ArcSwap;
use caesure_wire::OutPoint;
use smallvec::SmallVec;

use crate::coin::CoinView;
use crate::log::Log;
use crate::spends::{self, Spends};
use crate::table::{Key, Place, Slot, Table};
use crate::window::{Entry, Window};
use crate::{BATCH, Error, Map};

/// Further coins of one outpoint, which several blocks of the window have made: by its key.
pub(crate) type Extras = Map<u64, SmallVec<[Place; 1]>>;

/// What the writer and all readers share.
///
/// A reader holds no lock while it looks at coins. It may find a coin that is taken out at the same
/// time; that is why the writer clears a world's `held` before the table loses anything of it, takes a
/// spent coin out of the table before it forgets who spent it, and raises the floor before it forgets
/// who made a coin; and why a reader looks again at what it found, and at `held` last.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) log: Log,
    pub(crate) table: Table,
    pub(crate) spends: Spends,
    pub(crate) extras: ArcSwap<Extras>,
    /// Coins whose place is below, in bytes, are of the root and all who stand on it.
    pub(crate) floor: AtomicU64,
    pub(crate) window: RwLock<Window>,
    /// The fees up to the base; minus one while validation from genesis has not reached it.
    pub(crate) verified_fees: AtomicI64,
    /// The records of blocks that were dropped since a checkpoint began.
    pub(crate) dropped: Mutex<Option<Vec<u64>>>,
    /// Where files without a name are made.
    pub(crate) folder: PathBuf,
    pub(crate) sort: u64,
}

/// A coin that was found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found<'a> {
    pub(crate) view: CoinView<'a>,
    pub(crate) key: Key,
    pub(crate) place: Place,
}

impl Shared {
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Window> {
        self.window.read().expect("a panic of the writer ends the process")
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, Window> {
        self.window.write().expect("a panic of the writer ends the process")
    }

    pub(crate) fn dropped(&self) -> MutexGuard<'_, Option<Vec<u64>>> {
        self.dropped.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The fees up to the base, once validation from genesis has reached it.
    pub(crate) fn verified_fees(&self) -> Option<i64> {
        Some(self.verified_fees.load(Acquire)).filter(|&fees| 0 <= fees)
    }

    pub(crate) fn set_verified_fees(&self, fees: Option<i64>) {
        self.verified_fees.store(fees.unwrap_or(-1), Release);
    }

    /// The entry of a block, or an error that names the oldest world.
    pub(crate) fn find(&self, hash: &caesure_wire::BlockHash) -> Result<Arc<Entry>, Error> {
        let window = self.read();
        window.find(hash).cloned().ok_or_else(|| not_held(hash, &window))
    }

    /// Finds a coin in a block's world. The caller looks at whether that is still held afterwards.
    pub(crate) fn look(
        &self,
        entry: &Entry,
        key: Key,
        outpoint: &OutPoint,
    ) -> Result<Option<Found<'_>>, Error> {
        loop {
            if let Some(found) = self.look_beside(entry, key, outpoint, &self.extras.load())? {
                return Ok(found);
            }
        }
    }

    /// Looks with what lay beside the table at some time since the block was committed; none if that
    /// has changed since and may matter. Coins go from there into the table and never back.
    fn look_beside(
        &self,
        entry: &Entry,
        key: Key,
        outpoint: &OutPoint,
        extras: &Arc<Extras>,
    ) -> Result<Option<Option<Found<'_>>>, Error> {
        let is_it =
            |view: &CoinView<'_>| *view.txid == outpoint.txid.0 && view.vout == outpoint.vout;
        let found = self.table.find(key, |slot: Slot| {
            let place = slot.place();
            let view = self.log.coin(place)?;
            if !is_it(&view) {
                // Bits of two keys may be alike; but a coin that does not belong here at all was
                // not the one that was written.
                let is_alike = self.log.key(&view.outpoint()).is_alike(key);
                return if is_alike { Ok(None) } else { Err(self.log.damaged(place * 4)) };
            }
            let is_there = self.is_in(entry, place, &view, slot.is_spent_somewhere());
            Ok(is_there.then_some(Found { view, key, place }))
        })?;
        if found.is_some() || extras.is_empty() {
            return Ok(Some(found));
        }
        let mut found = None;
        for &place in extras.get(&key.0).into_iter().flatten() {
            let view = self.log.coin(place)?;
            if is_it(&view) && self.is_in(entry, place, &view, true) {
                found = Some(Found { view, key, place });
            }
        }
        Ok(Arc::ptr_eq(extras, &self.extras.load()).then_some(found))
    }

    /// Whether a coin of the table is in a block's world.
    fn is_in(&self, entry: &Entry, place: Place, view: &CoinView<'_>, may_be_spent: bool) -> bool {
        // In this order: what is no more on the branch is below the floor.
        let is_made = entry.is_on(view.number) || place * 4 < self.floor.load(Acquire);
        is_made && !(may_be_spent && self.spends.any(place, |number| entry.is_on(number)))
    }

    /// Whether the coin at a place is in a block's world, which may have left the table since the place
    /// was read.
    pub(crate) fn is_place_in(&self, entry: &Entry, place: Place) -> Result<bool, Error> {
        let outpoint = self.log.coin(place)?.outpoint();
        let found = self.look(entry, self.log.key(&outpoint), &outpoint)?;
        Ok(found.is_some_and(|found| found.place == place))
    }

    /// Asks for the lines where coins lie in the table, and among what is spent.
    pub(crate) fn prefetch(&self, coins: &[(Key, Place)], spends: &spends::Writer<'_>) {
        coins.iter().for_each(|&(key, _)| self.table.prefetch(key));
        coins.iter().for_each(|&(_, place)| spends.prefetch(place));
    }

    pub(crate) fn keys(&self, outpoints: &[OutPoint]) -> Vec<Key> {
        outpoints.iter().map(|outpoint| self.log.key(outpoint)).collect()
    }

    /// Looks many coins up, whose keys are known; their cache misses overlap.
    pub(crate) fn look_many<'a>(
        &'a self,
        entry: &Entry,
        outpoints: &[OutPoint],
        keys: &[Key],
        mut visit: impl FnMut(usize, Option<Found<'a>>),
    ) -> Result<(), Error> {
        let mut extras = self.extras.load();
        let mut slots = SmallVec::<[Slot; BATCH]>::new();
        for (batch, (keys, outpoints)) in
            keys.chunks(BATCH).zip(outpoints.chunks(BATCH)).enumerate()
        {
            keys.iter().for_each(|&key| self.table.prefetch(key));
            slots.clear();
            let mut others = SmallVec::<[Key; BATCH]>::new();
            for &key in keys {
                match self.table.peek(key) {
                    Some(slot) => slots.push(slot),
                    None => others.push(key),
                }
            }
            slots.extend(others.iter().filter_map(|&key| self.table.peek_second(key)));
            slots.iter().for_each(|slot| self.log.prefetch(slot.place()));
            let spent = slots.iter().filter(|slot| slot.is_spent_somewhere());
            spent.for_each(|slot| self.spends.prefetch(slot.place()));
            for (at, (&key, outpoint)) in keys.iter().zip(outpoints).enumerate() {
                let found = loop {
                    match self.look_beside(entry, key, outpoint, &extras)? {
                        Some(found) => break found,
                        None => extras = self.extras.load(),
                    }
                };
                visit(batch * BATCH + at, found);
            }
        }
        Ok(())
    }
}

pub(crate) fn not_held(hash: &caesure_wire::BlockHash, window: &Window) -> Error {
    let root = window.root.info;
    Error::NotHeld { hash: *hash, root: root.hash, height: root.height }
}
