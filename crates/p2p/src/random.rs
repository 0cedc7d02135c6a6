use core::time::Duration;

use sha2::{Digest, Sha256};

/// A generator of random numbers from a seed of 32 bytes: the same seed gives the same numbers, and
/// nobody without it can tell them. Block `i` is SHA-256 of seed and `i`.
#[derive(Clone, Debug)]
pub struct Random {
    seed: [u8; 32],
    counter: u64,
    block: [u8; 32],
    used: usize,
}

impl Random {
    /// Begins with a seed.
    #[must_use]
    pub const fn new(seed: [u8; 32]) -> Self {
        Self { seed, counter: 0, block: [0; 32], used: 32 }
    }

    /// Returns the next bytes.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }

    /// Writes the next bytes.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            if self.used == self.block.len() {
                let hash = Sha256::new().chain_update(self.seed);
                self.block = hash.chain_update(self.counter.to_le_bytes()).finalize().into();
                self.counter += 1;
                self.used = 0;
            }
            *byte = self.block[self.used];
            self.used += 1;
        }
    }

    /// Returns a number of 64 bits.
    pub fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.bytes())
    }

    /// Returns a number below `end`, 0 if that is 0. The skew is under `end / 2^64`.
    #[expect(clippy::missing_panics_doc, reason = "a product of two u64, shifted, is one")]
    pub fn below(&mut self, end: u64) -> u64 {
        u64::try_from((u128::from(self.u64()) * u128::from(end)) >> 64).expect("it is below 2^64")
    }

    /// Returns an index into a slice of `len` entries.
    ///
    /// # Panics
    /// When `len` is 0.
    pub fn index(&mut self, len: usize) -> usize {
        assert_ne!(len, 0, "there is an entry");
        usize::try_from(self.below(len as u64)).expect("it is below a usize")
    }

    /// Returns the time until the next of events that come at random, `mean` apart.
    pub fn exponential(&mut self, mean: Duration) -> Duration {
        #[expect(clippy::cast_precision_loss, reason = "53 bits are enough")]
        let uniform = ((self.u64() >> 11) as f64 + 1.0) / (1_u64 << 53) as f64;
        mean.mul_f64(-uniform.ln())
    }

    /// Puts a slice into random order.
    pub fn shuffle<T>(&mut self, slice: &mut [T]) {
        for i in (1..slice.len()).rev() {
            let j = self.index(i + 1);
            slice.swap(i, j);
        }
    }
}
