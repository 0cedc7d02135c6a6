use caesure_hash::siphash24;
use caesure_wire::{OutPoint, Txid};

use crate::table::Key;

/// What makes keys: products of the outpoint's words, each XORed with a secret one, whose halves are
/// XORed. docs/decisions/003 says why that suffices.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hasher([u64; 7]);

impl Hasher {
    /// Draws its words from those of the log.
    pub(crate) fn new([k0, k1]: [u64; 2]) -> Self {
        Self([0, 1, 2, 3, 4, 5, 6].map(|number: u8| siphash24(k0, k1, &[number])))
    }

    #[inline]
    pub(crate) fn key(&self, outpoint: &OutPoint) -> Key {
        self.key_of(self.of_txid(&outpoint.txid), outpoint.vout)
    }

    /// What a key needs of the txid.
    #[inline]
    pub(crate) fn of_txid(&self, txid: &Txid) -> [u64; 2] {
        let (words, _) = txid.0.as_chunks();
        let word = |at: usize| u64::from_le_bytes(words[at]) ^ self.0[at];
        [product(word(0), word(1)), product(word(2), word(3))]
    }

    /// The key of an output, when [`of_txid`](Self::of_txid) is known.
    #[inline]
    pub(crate) fn key_of(&self, [low, high]: [u64; 2], vout: u32) -> Key {
        let both = product(low ^ u64::from(vout) ^ self.0[4], high ^ self.0[5]);
        Key(product(both, self.0[6] | 1))
    }
}

/// The halves of a product, XORed.
#[inline]
fn product(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    let [low, high] = [product & u128::from(u64::MAX), product >> 64];
    u64::try_from(low ^ high).unwrap_or(0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test may fail loudly")]
mod tests {
    use super::*;

    /// Outputs of one transaction, and transactions that differ in a bit or are counted, lie as
    /// numbers drawn at random do.
    #[test]
    fn keys_of_like_outpoints_are_spread_over_groups_buckets_and_tags() {
        let outpoint = |set: u32, number: u32| {
            let mut txid = [7; 32];
            let at = 4 * set as usize;
            if let Some(bytes) = txid.get_mut(at..at + 4) {
                bytes.copy_from_slice(&number.to_le_bytes());
            }
            OutPoint { txid: Txid(txid), vout: if set == 8 { number } else { 0 } }
        };
        for secret in [[0, 0], [1, 2], [u64::MAX, 3]] {
            let hasher = Hasher::new(secret);
            for set in 0..9 {
                let keys: Vec<Key> =
                    (0..1 << 16).map(|number| hasher.key(&outpoint(set, number))).collect();
                type Part = fn(&Key) -> usize;
                let parts: [Part; 4] = [
                    |key| (key.0 & 1023) as usize,
                    |key| (key.0 >> 30 & 1023) as usize,
                    |key| (key.0 >> 54) as usize,
                    |key| (key.0 >> 44 & 1023) as usize,
                ];
                for (number, part) in parts.iter().enumerate() {
                    let mut counts = vec![0_u32; 1024];
                    keys.iter().for_each(|key| counts[part(key)] += 1);
                    // 64 on average. Drawn at random, none in a thousand million is off by so much.
                    let (least, most) =
                        (counts.iter().min().unwrap(), counts.iter().max().unwrap());
                    assert!(16 < *least && *most < 130, "{set} {number}: {least} to {most}");
                }
                let mut whole: Vec<u64> = keys.iter().map(|key| key.0).collect();
                whole.sort_unstable();
                whole.dedup();
                assert_eq!(whole.len(), keys.len(), "set {set}");
            }
        }
    }

    #[test]
    fn keys_depend_on_each_bit_of_the_outpoint_and_on_the_secret() {
        let hasher = Hasher::new([1, 2]);
        let outpoint = OutPoint { txid: Txid([0; 32]), vout: 0 };
        let key = hasher.key(&outpoint);
        for bit in 0..288_usize {
            let mut other = outpoint;
            match other.txid.0.get_mut(bit / 8) {
                Some(byte) => *byte ^= 1 << (bit % 8),
                None => other.vout ^= 1 << (bit - 256),
            }
            let changed = (hasher.key(&other).0 ^ key.0).count_ones();
            assert!((8..56).contains(&changed), "bit {bit} changes {changed} bits");
        }
        assert_ne!(Hasher::new([1, 3]).key(&outpoint), key);
        assert_eq!(product(u64::MAX, u64::MAX), u64::MAX);
    }
}
