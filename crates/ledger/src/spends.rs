//! Which blocks of the window have spent which coins: words in tables with open addressing, read
//! without a lock while one thread writes.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use arc_swap::ArcSwap;

use crate::mapping::prefetch;
use crate::table::Place;

const SHARDS: usize = 64;
const EMPTY: u64 = 0;
/// A word that was taken out; the search goes on behind it.
const GONE: u64 = 1;
const TAKEN: u64 = 1 << 63;
const NUMBER_SHIFT: u32 = 40;

/// The words of a shard: the coin's place, and the block's number above it.
type Words = Box<[AtomicU64]>;

#[derive(Debug)]
struct Shard {
    words: ArcSwap<Words>,
    /// How many words are taken, and how many are not empty. Only the writer counts.
    live: AtomicU64,
    used: AtomicU64,
}

/// A set of pairs of a coin's place and the number of a block.
#[derive(Debug)]
pub(crate) struct Spends(Box<[Shard]>);

fn empty(len: usize) -> Words {
    (0..len).map(|_| AtomicU64::new(EMPTY)).collect()
}

fn mix(place: Place) -> (usize, usize) {
    let mixed = place.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ mixed >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
    ((mixed >> 58) as usize, (mixed >> 20) as usize)
}

fn word(place: Place, number: u16) -> u64 {
    TAKEN | u64::from(number) << NUMBER_SHIFT | place
}

impl Spends {
    pub(crate) fn new() -> Self {
        let shard = |_| Shard {
            words: ArcSwap::from_pointee(empty(16)),
            live: AtomicU64::new(0),
            used: AtomicU64::new(0),
        };
        Self((0..SHARDS).map(shard).collect())
    }

    pub(crate) fn prefetch(&self, place: Place) {
        let (shard, at) = mix(place);
        let words = self.0[shard].words.load();
        prefetch(&words[at & (words.len() - 1)]);
    }

    /// Whether a block for which `is_one` holds has spent the coin.
    pub(crate) fn any(&self, place: Place, is_one: impl Fn(u16) -> bool) -> bool {
        let (shard, at) = mix(place);
        let words = self.0[shard].words.load();
        let of_place = |word: u64| word & !(0xffff << NUMBER_SHIFT) == TAKEN | place;
        probe(&words, at)
            .map(|slot| slot.load(Acquire))
            .take_while(|&word| word != EMPTY)
            .any(|word| of_place(word) && is_one((word >> NUMBER_SHIFT & 0x3ff) as u16))
    }

    pub(crate) fn insert(&self, place: Place, number: u16) {
        let (index, at) = mix(place);
        let shard = &self.0[index];
        let mut words = shard.words.load();
        if words.len() as u64 * 5 / 8 <= shard.used.load(Relaxed) {
            shard.rebuild(&words);
            words = shard.words.load();
        }
        let free = probe(&words, at).find(|slot| slot.load(Relaxed) <= GONE);
        let free = free.expect("a shard is never full");
        if free.load(Relaxed) == EMPTY {
            shard.used.fetch_add(1, Relaxed);
        }
        shard.live.fetch_add(1, Relaxed);
        free.store(word(place, number), Release);
    }

    pub(crate) fn remove(&self, place: Place, number: u16) {
        let (index, at) = mix(place);
        let shard = &self.0[index];
        let words = shard.words.load();
        let mut slots = probe(&words, at).take_while(|slot| slot.load(Relaxed) != EMPTY);
        if let Some(slot) = slots.find(|slot| slot.load(Relaxed) == word(place, number)) {
            slot.store(GONE, Release);
            shard.live.fetch_sub(1, Relaxed);
        }
    }
}

/// All words from a place on, once round.
fn probe(words: &[AtomicU64], at: usize) -> impl Iterator<Item = &AtomicU64> {
    let mask = words.len() - 1;
    (0..words.len()).map(move |step| &words[(at + step) & mask])
}

impl Shard {
    /// Copies what is taken into words of the right number. Readers of the old ones miss nothing: what
    /// comes later concerns no world that they hold.
    fn rebuild(&self, old: &Words) {
        let live = self.live.load(Relaxed);
        let len = usize::try_from(live * 5 / 2).unwrap_or(usize::MAX).next_power_of_two().max(16);
        let new = empty(len);
        for slot in old.iter() {
            let word = slot.load(Relaxed);
            if GONE < word {
                let (_, at) = mix(word & ((1 << NUMBER_SHIFT) - 1));
                let free = probe(&new, at).find(|slot| slot.load(Relaxed) == EMPTY);
                free.expect("the new words are more").store(word, Relaxed);
            }
        }
        self.used.store(live, Relaxed);
        self.words.store(Arc::new(new));
    }
}
