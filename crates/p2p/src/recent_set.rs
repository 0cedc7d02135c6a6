use core::hash::Hash;
use core::mem;

use foldhash::fast::FixedState;
use hashbrown::HashSet;

/// The last `limit` different keys that were put in, and up to as many before them: exact, where
/// Core has a `CRollingBloomFilter`.
///
/// Empty it holds no memory. Full it holds at most `2 * limit` keys, in two tables of at most
/// `max(4, limit * 16 / 7)` places of `size_of::<K>() + 1` bytes each: for 5,000 hashes of 32 bytes
/// 0.54 MB.
#[derive(Clone, Debug)]
pub struct RecentSet<K> {
    limit: usize,
    seed: u64,
    young: HashSet<K, FixedState>,
    old: HashSet<K, FixedState>,
}

impl<K: Eq + Hash> RecentSet<K> {
    /// Makes an empty set. The seed is secret, so that nobody chooses keys that collide.
    #[must_use]
    pub const fn new(limit: usize, seed: u64) -> Self {
        let young = HashSet::with_hasher(FixedState::with_seed(seed));
        Self { limit, seed, young, old: HashSet::with_hasher(FixedState::with_seed(seed)) }
    }

    /// Puts a key in, as the youngest; returns whether it was not there.
    pub fn insert(&mut self, key: K) -> bool {
        if self.young.contains(&key) {
            return false;
        }
        let is_new = !self.old.contains(&key);
        if self.young.len() >= self.limit {
            let empty = Self::new(self.limit, self.seed);
            self.old = mem::replace(self, empty).young;
        }
        self.young.insert(key);
        is_new
    }

    /// Returns whether the key is there.
    #[must_use]
    pub fn contains(&self, key: &K) -> bool {
        self.young.contains(key) || self.old.contains(key)
    }

    /// Returns how many places hold a key, one that came again counting twice; at most twice the
    /// limit.
    #[must_use]
    pub fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    /// Returns whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets all, and gives the memory back.
    pub fn clear(&mut self) {
        *self = Self::new(self.limit, self.seed);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn it_grows_to_twice_the_limit_and_no_more() {
        let mut set = RecentSet::new(5000, 1);
        assert_eq!(set.young.allocation_size() + set.old.allocation_size(), 0);
        for i in 0..100_000_u64 {
            assert!(set.insert([i; 4]));
            assert!(set.len() <= 10_000);
            assert!(set.young.allocation_size() + set.old.allocation_size() < 541_000);
        }
        assert!(set.contains(&[99_999; 4]) && set.contains(&[95_000; 4]));
        assert!(!set.contains(&[89_999; 4]));
        set.clear();
        assert!(set.is_empty());
        assert_eq!(set.young.allocation_size() + set.old.allocation_size(), 0);
    }

    proptest! {
        #[test]
        fn the_last_keys_are_there_and_those_long_ago_are_not(
            limit in 1..9_usize,
            keys in prop::collection::vec(0..40_u8, 0..200),
        ) {
            let mut set = RecentSet::new(limit, 7);
            for (i, key) in keys.iter().enumerate() {
                let before: Vec<u8> = keys[..i].iter().rev().copied().collect();
                let mut different = BTreeSet::new();
                let mut last = before.iter().take_while(|&&key| {
                    different.insert(key);
                    different.len() <= limit
                });
                prop_assert!(last.all(|key| set.contains(key)));
                prop_assert_eq!(set.contains(key), !set.clone().insert(*key));
                prop_assert!(!set.contains(key) || before.contains(key));
                set.insert(*key);
                prop_assert!(set.contains(key) && set.len() <= 2 * limit);
            }
        }
    }
}
