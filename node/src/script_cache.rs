use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use caesure_hash::Sha256;
use caesure_script::Flags;
use caesure_wire::Wtxid;

/// How many entries share a place; with 16 bytes each they fill a cache line.
const WAYS: usize = 4;

type Bucket = [[AtomicU64; 2]; WAYS];

/// Which transactions passed all their scripts, and under which flags.
///
/// The hash of a whole transaction commits to its scripts, its witnesses and, through the ids of
/// what it spends, to the coins. So what is true of it in one world is true in all in which it is
/// held to the same flags. The flags are in the key: an entry says nothing under any other set.
/// Failures are never kept.
///
/// An entry is 128 bits of a SHA-256 with a secret salt, since to take one transaction for another
/// is to accept an invalid block. Without the salt, two transactions with one key would cost 2^64
/// hashes; with it nobody can search for them, and by chance a look-up in a full cache is wrong once
/// in 2^126. A keyed hash of 64 bits would be wrong by chance once in 2^62, and every transaction
/// that was ever sent is a try. Core: `SignatureCache`, `ValidationCache`.
///
/// The size is fixed; a new entry takes the place of one of four. Threads share it without a lock.
/// They may see half of an entry that is being written beside half of the old one: together these
/// are as random as any other entry.
pub(crate) struct ScriptCache {
    salted: Sha256,
    buckets: Box<[Bucket]>,
}

/// A transaction under a set of flags.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    entry: [u64; 2],
    place: u64,
    victim: usize,
}

impl ScriptCache {
    /// Makes an empty cache of about `size` bytes, at least one bucket.
    pub(crate) fn new(size: usize) -> Self {
        // The one source of randomness in the standard library.
        let random = RandomState::new();
        let salt: [[u8; 8]; 8] = std::array::from_fn(|i| random.hash_one(i).to_le_bytes());
        let count = (size / size_of::<Bucket>()).max(1);
        let buckets = (0..count).map(|_| Bucket::default()).collect();
        Self { salted: Sha256::new().chain(salt.as_flattened()), buckets }
    }

    pub(crate) fn key(&self, wtxid: &Wtxid, flags: Flags) -> Key {
        let hash = self.salted.clone().chain(&wtxid.0).chain(&flags.0.to_le_bytes()).finish();
        let [first, second, place] =
            [0, 8, 16].map(|at| u64::from_le_bytes(std::array::from_fn(|i| hash[at + i])));
        // A slot that was never used is zero.
        Key { entry: [first | 1, second], place, victim: usize::from(hash[24]) % WAYS }
    }

    /// Returns whether a transaction is known to be good.
    pub(crate) fn contains(&self, key: Key) -> bool {
        self.bucket(key).iter().any(|slot| holds(slot, key.entry))
    }

    /// Takes a transaction in of which all scripts passed.
    pub(crate) fn insert(&self, key: Key) {
        let bucket = self.bucket(key);
        let free = bucket.iter().position(|slot| slot[0].load(Ordering::Relaxed) == 0);
        for (half, value) in bucket[free.unwrap_or(key.victim)].iter().zip(key.entry) {
            half.store(value, Ordering::Relaxed);
        }
    }

    fn bucket(&self, key: Key) -> &Bucket {
        // The high half of the product is the place scaled to the number of buckets.
        let place = (u128::from(key.place) * self.buckets.len() as u128) >> 64;
        &self.buckets[usize::try_from(place).expect("it is below the number of buckets")]
    }
}

fn holds(slot: &[AtomicU64; 2], entry: [u64; 2]) -> bool {
    slot.iter().zip(entry).all(|(half, value)| half.load(Ordering::Relaxed) == value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wtxid(number: u64) -> Wtxid {
        Wtxid(caesure_hash::sha256(&number.to_le_bytes()))
    }

    #[test]
    fn an_entry_holds_for_its_own_transaction_and_flags_only() {
        let cache = ScriptCache::new(1 << 16);
        let flags = Flags::P2SH | Flags::DERSIG;
        assert!(!cache.contains(cache.key(&wtxid(0), flags)));
        cache.insert(cache.key(&wtxid(0), flags));
        assert!(cache.contains(cache.key(&wtxid(0), flags)));
        for (_, flag) in Flags::NAMES {
            let other = Flags(flags.0 ^ flag.0);
            assert!(!cache.contains(cache.key(&wtxid(0), other)), "{other:?}");
        }
        for bit in 0..256 {
            let mut other = wtxid(0);
            other.0[bit / 8] ^= 1 << (bit % 8);
            assert!(!cache.contains(cache.key(&other, flags)), "bit {bit}");
        }
    }

    /// One bucket, so that only the entries themselves tell the transactions apart.
    #[test]
    fn a_full_cache_forgets_and_never_takes_one_transaction_for_another() {
        let cache = ScriptCache::new(0);
        let key = |number| cache.key(&wtxid(number), Flags::NONE);
        for number in 0..1000 {
            assert!(!cache.contains(key(number)), "{number}");
            cache.insert(key(number));
            assert!(cache.contains(key(number)), "{number}");
        }
        assert_eq!((0..1000).filter(|&number| cache.contains(key(number))).count(), WAYS);
    }

    #[test]
    fn the_salt_differs_from_cache_to_cache() {
        let keys = [0; 2].map(|_| ScriptCache::new(0).key(&wtxid(0), Flags::NONE));
        assert_ne!(keys[0].entry, keys[1].entry);
    }

    #[test]
    fn threads_that_write_at_once_lose_nothing_but_entries() {
        let cache = ScriptCache::new(1 << 12);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let cache = &cache;
                scope.spawn(move || {
                    for number in (0..20_000).filter(|number| number % 4 == thread) {
                        cache.insert(cache.key(&wtxid(number), Flags::NONE));
                        assert!(!cache.contains(cache.key(&wtxid(number), Flags::P2SH)));
                    }
                });
            }
        });
        let kept = (0..20_000).filter(|&n| cache.contains(cache.key(&wtxid(n), Flags::NONE)));
        assert!(200 < kept.count());
    }
}
