use crate::sha256;

const LIMBS: usize = 48;
/// The modulus is 2^3072 less this.
const PRIME_DIFF: u64 = 1_103_717;

/// A hash of a set of byte strings that does not depend on their order and can be updated.
///
/// Each element becomes a number of 3,072 bits (ChaCha20 keyed by its SHA-256); the set is the
/// product of them modulo 2^3072 - 1103717. Core: `MuHash3072`, the `muhash` of `gettxoutsetinfo`.
#[derive(Clone, Debug)]
pub struct MuHash3072 {
    numerator: Num3072,
    denominator: Num3072,
}

impl Default for MuHash3072 {
    fn default() -> Self {
        Self { numerator: Num3072::ONE, denominator: Num3072::ONE }
    }
}

impl MuHash3072 {
    /// The hash of the empty set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an element.
    pub fn insert(&mut self, element: &[u8]) {
        self.numerator = self.numerator.mul(&Num3072::from_element(element));
    }

    /// Takes an element out. Taking one that is not in the set gives a hash that adding it repairs.
    pub fn remove(&mut self, element: &[u8]) {
        self.denominator = self.denominator.mul(&Num3072::from_element(element));
    }

    /// Adds all elements of another set.
    pub fn union(&mut self, other: &Self) {
        self.numerator = self.numerator.mul(&other.numerator);
        self.denominator = self.denominator.mul(&other.denominator);
    }

    /// Returns the SHA-256 of the little-endian product.
    #[must_use]
    pub fn finish(&self) -> [u8; 32] {
        sha256(&self.numerator.mul(&self.denominator.inverse()).reduced().to_bytes())
    }
}

/// A number below 2^3072, little-endian limbs, not always reduced.
#[derive(Clone, Debug)]
struct Num3072([u64; LIMBS]);

#[expect(
    clippy::cast_possible_truncation,
    reason = "limb arithmetic keeps the low half on purpose"
)]
impl Num3072 {
    const ONE: Self = {
        let mut limbs = [0; LIMBS];
        limbs[0] = 1;
        Self(limbs)
    };

    fn from_element(element: &[u8]) -> Self {
        let key = sha256(element);
        let mut limbs = [0; LIMBS];
        for (counter, block) in (0..).zip(limbs.chunks_exact_mut(8)) {
            block.copy_from_slice(&chacha20_block(&key, counter));
        }
        Self(limbs)
    }

    fn mul(&self, other: &Self) -> Self {
        let mut wide = [0u64; 2 * LIMBS];
        for (i, &a) in self.0.iter().enumerate() {
            let mut carry = 0u64;
            for (j, &b) in other.0.iter().enumerate() {
                let sum =
                    u128::from(a) * u128::from(b) + u128::from(wide[i + j]) + u128::from(carry);
                wide[i + j] = sum as u64;
                carry = (sum >> 64) as u64;
            }
            wide[i + LIMBS] = carry;
        }
        // The high half counts PRIME_DIFF times; what overflows then does so again, at most twice.
        let mut low = [0u64; LIMBS];
        let mut carry = 0u128;
        for (i, limb) in low.iter_mut().enumerate() {
            carry += u128::from(wide[i]) + u128::from(wide[i + LIMBS]) * u128::from(PRIME_DIFF);
            *limb = carry as u64;
            carry >>= 64;
        }
        let mut number = Self(low);
        while carry != 0 {
            carry = number.add_small(carry * u128::from(PRIME_DIFF));
        }
        number
    }

    /// Adds a small number and returns the carry out of 3,072 bits.
    fn add_small(&mut self, mut carry: u128) -> u128 {
        for limb in &mut self.0 {
            carry += u128::from(*limb);
            *limb = carry as u64;
            carry >>= 64;
        }
        carry
    }

    /// The number below the modulus.
    fn reduced(&self) -> Self {
        let mut shifted = self.clone();
        if shifted.add_small(u128::from(PRIME_DIFF)) == 0 { self.clone() } else { shifted }
    }

    /// The inverse, by Fermat: self^(p - 2). The exponent's high limbs are all ones.
    fn inverse(&self) -> Self {
        if self.0 == Self::ONE.0 {
            return Self::ONE;
        }
        let lowest = u64::MAX - (PRIME_DIFF + 1);
        let mut power = Self::ONE;
        for bit in (0..3072).rev() {
            power = power.mul(&power);
            if 64 <= bit || lowest >> bit & 1 == 1 {
                power = power.mul(self);
            }
        }
        power
    }

    fn to_bytes(&self) -> [u8; 8 * LIMBS] {
        let mut bytes = [0; 8 * LIMBS];
        for (chunk, limb) in bytes.chunks_exact_mut(8).zip(self.0) {
            chunk.copy_from_slice(&limb.to_le_bytes());
        }
        bytes
    }
}

/// A block of ChaCha20's key stream with a zero nonce, as eight little-endian words. Spec: RFC 8439.
fn chacha20_block(key: &[u8; 32], counter: u32) -> [u64; 8] {
    let mut start = [0u32; 16];
    start[..4].copy_from_slice(&[0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574]);
    for (word, bytes) in start[4..12].iter_mut().zip(key.as_chunks().0) {
        *word = u32::from_le_bytes(*bytes);
    }
    start[12] = counter;
    let mut state = start;
    let mut quarter = |[a, b, c, d]: [usize; 4]| {
        for (x, y, z, bits) in [(a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)] {
            state[x] = state[x].wrapping_add(state[y]);
            state[z] = (state[z] ^ state[x]).rotate_left(bits);
        }
    };
    for _ in 0..10 {
        for column in 0..4 {
            quarter([column, column + 4, column + 8, column + 12]);
        }
        for row in 0..4 {
            quarter([row, 4 + (row + 1) % 4, 8 + (row + 2) % 4, 12 + (row + 3) % 4]);
        }
    }
    core::array::from_fn(|i| {
        let word = |k: usize| u64::from(state[k].wrapping_add(start[k]));
        word(2 * i) | word(2 * i + 1) << 32
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(byte: u8) -> [u8; 32] {
        let mut element = [0; 32];
        element[0] = byte;
        element
    }

    /// Core: `muhash_tests`, the set {0, 1} less {2}.
    #[test]
    fn agrees_with_core() {
        let mut set = MuHash3072::new();
        set.insert(&element(0));
        set.insert(&element(1));
        set.remove(&element(2));
        let mut hash = set.finish();
        hash.reverse();
        assert_eq!(
            hash,
            *b"\x10\xd3\x12\xb1\x00\xcb\xd3\x2a\xda\x02\x4a\x66\x46\xe4\x0d\x34\
               \x82\xfc\xff\x10\x36\x68\xd2\x62\x5f\x10\x00\x2a\x60\x7d\x58\x63"
        );
    }

    #[test]
    fn order_and_detours_do_not_matter() {
        let [mut a, mut b, mut c] = [MuHash3072::new(), MuHash3072::new(), MuHash3072::new()];
        for i in [1, 2, 3] {
            a.insert(&element(i));
        }
        for i in [3, 9, 1] {
            b.insert(&element(i));
        }
        b.remove(&element(9));
        c.insert(&element(2));
        b.union(&c);
        assert_eq!(a.finish(), b.finish());
        assert_ne!(a.finish(), c.finish());
    }
}
