use std::path::PathBuf;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use arc_swap::{ArcSwap, Guard};
use caesure_wire::OutPoint;
use smallvec::SmallVec;

use crate::coin::CoinView;
use crate::log::{BlockHead, Log};
use crate::spends::{self, Spends};
use crate::table::{Key, Place, Slot, Spot, Table};
use crate::window::{Entry, Window};
use crate::{BATCH, Error, Map};

/// Further coins of one outpoint, which several blocks of the window have made: by its key.
pub(crate) type Extras = Map<u64, SmallVec<[Place; 1]>>;

/// Where they lie, beside the table. Coins go from here into the table and never back.
#[derive(Debug, Default)]
pub(crate) struct Beside {
    extras: ArcSwap<Extras>,
    /// Said after the coins of an uncommitted block came, and after the last one went into the table.
    has_any: AtomicBool,
}

impl Beside {
    pub(crate) fn load(&self) -> Guard<Arc<Extras>> {
        self.extras.load()
    }

    /// What there is, if anything: most of the time nothing, which costs a reader next to nothing.
    #[inline]
    fn load_any(&self) -> Option<Guard<Arc<Extras>>> {
        self.has_any.load(Acquire).then(|| self.load())
    }

    pub(crate) fn store(&self, extras: Extras) {
        let has_any = !extras.is_empty();
        self.extras.store(Arc::new(extras));
        self.has_any.store(has_any, Release);
    }
}

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
    /// Where in the log stands what a block of the window has spent, by its number.
    pub(crate) spent_lists: Box<[AtomicU64]>,
    pub(crate) extras: Beside,
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

    /// Puts a block on `parent`, whose record begins at `at`, into the window.
    pub(crate) fn enter(&self, head: &BlockHead, at: u64, parent: &Entry) -> Arc<Entry> {
        self.spent_lists[usize::from(head.number)].store(head.spent_list(at), Release);
        let entry = Entry::new(head.info, head.prev_block, head.number, at, Some(parent));
        self.write().insert(entry)
    }

    /// Finds a coin in a block's world. The caller looks at whether that is still held afterwards.
    #[inline]
    pub(crate) fn look(
        &self,
        entry: &Entry,
        key: Key,
        outpoint: &OutPoint,
    ) -> Result<Option<Found<'_>>, Error> {
        let (spot, mut found) = (self.table.spot(key), None);
        while !self.look_beside(
            entry,
            spot,
            outpoint,
            self.extras.load_any().as_deref(),
            &mut found,
        )? {}
        Ok(found)
    }

    /// Looks with what lay beside the table at some time since the block was committed; false if that
    /// has changed since and may matter.
    #[inline(always)]
    fn look_beside<'a>(
        &'a self,
        entry: &Entry,
        spot: Spot<'_>,
        outpoint: &OutPoint,
        extras: Option<&Arc<Extras>>,
        found: &mut Option<Found<'a>>,
    ) -> Result<bool, Error> {
        let key = spot.key;
        let is_it =
            |view: &CoinView<'_>| *view.txid == outpoint.txid.0 && view.vout == outpoint.vout;
        let is_in_table = self.table.find(spot, |slot: Slot| {
            let place = self.place(slot)?;
            let view = self.log.coin(place)?;
            if !is_it(&view) {
                // Bits of two keys may be alike; but a coin that does not belong here at all was
                // not the one that was written.
                let is_alike = self.log.key(&view.outpoint()).is_alike(key);
                return if is_alike { Ok(false) } else { Err(self.log.damaged(place * 4)) };
            }
            *found = Some(Found { view, key, place });
            Ok(self.is_in(entry, place, &view, slot))
        })?;
        if is_in_table {
            return Ok(true);
        }
        *found = None;
        let Some(extras) = extras else { return Ok(true) };
        for &place in extras.get(&key.0).into_iter().flatten() {
            let view = self.log.coin(place)?;
            if is_it(&view) && self.is_in(entry, place, &view, Slot::at(place, true)) {
                *found = Some(Found { view, key, place });
            }
        }
        Ok(Arc::ptr_eq(extras, &self.extras.load()))
    }

    /// Whether a coin of the table is in a block's world.
    #[inline]
    fn is_in(&self, entry: &Entry, place: Place, view: &CoinView<'_>, slot: Slot) -> bool {
        // In this order: what is no more on the branch is below the floor.
        let is_made = entry.is_on(view.number) || place * 4 < self.floor.load(Acquire);
        let is_spent = || match slot.spender() {
            Some((number, _)) => entry.is_on(number),
            None => self.spends.any(place, |number| entry.is_on(number)),
        };
        is_made && !(slot.is_spent_somewhere() && is_spent())
    }

    /// The place of the coin in a slot.
    #[inline]
    pub(crate) fn place(&self, slot: Slot) -> Result<Place, Error> {
        let Some((number, index)) = slot.spender() else { return Ok(slot.place().unwrap_or(0)) };
        self.log.spent_place(self.spent_lists[usize::from(number)].load(Acquire), index)
    }

    /// Whether the coin in a slot has the outpoint of that at a place.
    pub(crate) fn is_same(&self, slot: Slot, place: Place) -> Result<bool, Error> {
        self.log.have_one_outpoint(self.place(slot)?, place)
    }

    /// Notes that a block spends a coin, of all its coins the one at `index`: in the coin's slot, unless
    /// another block spends it too, or the coin lies beside the table.
    pub(crate) fn spend(
        &self,
        spends: &mut spends::Writer<'_>,
        (spot, place): (Spot<'_>, Place),
        number: u16,
        index: usize,
    ) -> Result<(), Error> {
        if self.table.replace(spot, Slot::at(place, false), Slot::spent_by(number, index))? {
            return Ok(());
        }
        spends.insert(place, number);
        let mut other = None;
        let is_spent = self.table.find(spot, |slot| {
            other = slot.spender().map(|(number, _)| (slot, number));
            Ok(other.is_some() && self.place(slot)? == place)
        })?;
        if let Some((slot, number)) = other.filter(|_| is_spent) {
            spends.insert(place, number);
            self.table.replace(spot, slot, Slot::at(place, true))?;
        }
        Ok(())
    }

    /// Takes back that a block spends a coin.
    pub(crate) fn unspend(
        &self,
        spends: &mut spends::Writer<'_>,
        (key, place): (Key, Place),
        number: u16,
        index: usize,
    ) -> Result<(), Error> {
        let spot = self.table.spot(key);
        if !self.table.replace(spot, Slot::spent_by(number, index), Slot::at(place, false))? {
            spends.remove(place, number);
        }
        Ok(())
    }

    /// Takes a coin whose place is known, and that no block alone spends, out of the table.
    pub(crate) fn remove(&self, key: Key, place: Place) -> Result<bool, Error> {
        let spot = self.table.spot(key);
        Ok(self.table.remove(spot, Slot::at(place, false))?
            || self.table.remove(spot, Slot::at(place, true))?)
    }

    /// Whether the coin at a place is in a block's world, which may have left the table since the place
    /// was read.
    pub(crate) fn is_place_in(&self, entry: &Entry, place: Place) -> Result<bool, Error> {
        let outpoint = self.log.coin(place)?.outpoint();
        let found = self.look(entry, self.log.key(&outpoint), &outpoint)?;
        Ok(found.is_some_and(|found| found.place == place))
    }

    /// Finds where coins lie in the table, and asks for the lines.
    pub(crate) fn spots(&self, keys: impl Iterator<Item = Key>) -> SmallVec<[Spot<'_>; BATCH]> {
        keys.map(|key| self.table.spot(key)).inspect(Spot::prefetch).collect()
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
        let mut extras = self.extras.load_any();
        for (batch, (keys, outpoints)) in
            keys.chunks(BATCH).zip(outpoints.chunks(BATCH)).enumerate()
        {
            let spots = self.spots(keys.iter().copied());
            let mut hints: SmallVec<[_; BATCH]> = spots.iter().map(Spot::peek).collect();
            for (spot, hint) in spots.iter().zip(&mut hints) {
                *hint = hint.or_else(|| spot.peek_second());
            }
            let places = || hints.iter().filter_map(|hint| hint.and_then(Slot::place));
            places().for_each(|place| self.log.prefetch(place));
            places().for_each(|place| self.log.prefetch_rest(place));
            for (at, (spot, outpoint)) in spots.into_iter().zip(outpoints).enumerate() {
                let mut found = None;
                while !self.look_beside(entry, spot, outpoint, extras.as_deref(), &mut found)? {
                    extras = self.extras.load_any();
                }
                visit(batch * BATCH + at, found);
            }
        }
        Ok(())
    }
}

#[cold]
pub(crate) fn not_held(hash: &caesure_wire::BlockHash, window: &Window) -> Error {
    let root = window.root.info;
    Error::NotHeld { hash: *hash, root: root.hash, height: root.height }
}
