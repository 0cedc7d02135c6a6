use core::fmt;
use core::ops::{Add, Sub};

use caesure_wire::BlockHash;

/// An unsigned number of 256 bits: its high and its low half.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct U256(u128, u128);

impl U256 {
    const ZERO: Self = Self(0, 0);
    const ONE: Self = Self(0, 1);

    const fn from_be_bytes(bytes: [u8; 32]) -> Self {
        let (&[high, low], []) = bytes.as_chunks() else { panic!("32 bytes are two halves") };
        Self(u128::from_be_bytes(high), u128::from_be_bytes(low))
    }

    const fn bit_length(self) -> u32 {
        match self {
            Self(0, low) => 128 - low.leading_zeros(),
            Self(high, _) => 256 - high.leading_zeros(),
        }
    }

    const fn not(self) -> Self {
        Self(!self.0, !self.1)
    }

    /// Adds, modulo 2^256.
    fn add(self, other: Self) -> Self {
        let (low, carry) = self.1.overflowing_add(other.1);
        Self(self.0.wrapping_add(other.0).wrapping_add(carry.into()), low)
    }

    /// Subtracts, modulo 2^256.
    fn sub(self, other: Self) -> Self {
        self.add(other.not()).add(Self::ONE)
    }

    fn shl(self, bits: u32) -> Self {
        match bits {
            0 => self,
            1..128 => Self(self.0 << bits | self.1 >> (128 - bits), self.1 << bits),
            _ => Self(self.1.checked_shl(bits - 128).unwrap_or(0), 0),
        }
    }

    fn shr(self, bits: u32) -> Self {
        match bits {
            0 => self,
            1..128 => Self(self.0 >> bits, self.0 << (128 - bits) | self.1 >> bits),
            _ => Self(0, self.0.checked_shr(bits - 128).unwrap_or(0)),
        }
    }

    /// Multiplies, modulo 2^256.
    fn mul(self, factor: u32) -> Self {
        let factor = u128::from(factor);
        let middle = (self.1 >> 64) * factor + (((self.1 << 64 >> 64) * factor) >> 64);
        let high = self.0.wrapping_mul(factor).wrapping_add(middle >> 64);
        Self(high, self.1.wrapping_mul(factor))
    }

    /// Divides, rounding down, in as many steps as the quotient has bits.
    fn div(mut self, divisor: Self) -> Self {
        assert_ne!(divisor, Self::ZERO, "targets and intervals are not zero");
        let mut quotient = Self::ZERO;
        let Some(shift) = self.bit_length().checked_sub(divisor.bit_length()) else {
            return quotient;
        };
        let mut divisor = divisor.shl(shift);
        for _ in 0..=shift {
            quotient = quotient.shl(1);
            if divisor <= self {
                self = self.sub(divisor);
                quotient.1 |= 1;
            }
            divisor = divisor.shr(1);
        }
        quotient
    }
}

impl fmt::Display for U256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}{:032x}", self.0, self.1)
    }
}

/// The greatest hash, as a number, that a header may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target(U256);

impl Target {
    /// Reads a target from 32 bytes, the most significant first.
    #[must_use]
    pub const fn from_be_bytes(bytes: [u8; 32]) -> Self {
        Self(U256::from_be_bytes(bytes))
    }

    /// Reads the compact form of a header: exponent 1 byte, sign 1 bit, mantissa 23 bits. Gives
    /// none for a target that is negative, zero or over 256 bits. Core: `SetCompact`, `DeriveTarget`.
    #[must_use]
    pub fn from_compact(bits: u32) -> Option<Self> {
        let exponent = bits >> 24;
        let mantissa = U256(0, (bits & 0x007f_ffff).into());
        let is_negative = bits & 0x0080_0000 != 0;
        let value = match exponent {
            0..=3 => mantissa.shr(8 * (3 - exponent)),
            _ => mantissa.shl(8 * (exponent - 3)),
        };
        let overflows = 256 < (mantissa.bit_length() + 8 * exponent).saturating_sub(24);
        (!is_negative && !overflows && value != U256::ZERO).then_some(Self(value))
    }

    /// Returns the compact form, rounded down to what it can hold. Core: `GetCompact`.
    #[must_use]
    pub fn to_compact(self) -> u32 {
        let mut size = self.0.bit_length().div_ceil(8);
        let mantissa = match size {
            0..=3 => self.0.shl(8 * (3 - size)),
            _ => self.0.shr(8 * (size - 3)),
        };
        let [a, b, c, ..] = mantissa.1.to_le_bytes();
        let mut mantissa = u32::from_le_bytes([a, b, c, 0]);
        if mantissa & 0x0080_0000 != 0 {
            mantissa >>= 8;
            size += 1;
        }
        mantissa | size << 24
    }

    /// Returns whether a hash is not above the target.
    #[must_use]
    pub fn is_met_by(&self, hash: &BlockHash) -> bool {
        let mut bytes = hash.0;
        bytes.reverse();
        U256::from_be_bytes(bytes) <= self.0
    }

    /// Returns the target times `numerator` over `denominator`, rounded down.
    pub(crate) fn scale(self, numerator: u32, denominator: u32) -> Self {
        Self(self.0.mul(numerator).div(U256(0, denominator.into())))
    }

    /// Returns how many hashes meet the target once on average. Core: `GetBlockProof`.
    #[must_use]
    pub fn work(self) -> Work {
        Work(self.0.not().div(self.0.add(U256::ONE)).add(U256::ONE))
    }
}

/// An expected number of hashes. `Display` is 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Work(U256);

impl Work {
    /// Returns the 32 bytes, highest first.
    #[must_use]
    pub fn to_be_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes[..16].copy_from_slice(&self.0.0.to_be_bytes());
        bytes[16..].copy_from_slice(&self.0.1.to_be_bytes());
        bytes
    }

    /// No work.
    pub const ZERO: Self = Self(U256::ZERO);

    /// Reads work from 32 bytes, the most significant first.
    #[must_use]
    pub const fn from_be_bytes(bytes: [u8; 32]) -> Self {
        Self(U256::from_be_bytes(bytes))
    }

    /// Returns how many seconds this much work takes when `proof` takes `spacing` seconds, capped
    /// at `i64::MAX`. The product wraps at 256 bits, as Core's does.
    pub(crate) fn seconds(self, proof: Self, spacing: u32) -> i64 {
        let seconds = self.0.mul(spacing).div(proof.0);
        i64::try_from(seconds.1).ok().filter(|_| seconds.0 == 0).unwrap_or(i64::MAX)
    }
}

impl Add for Work {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.add(other.0))
    }
}

impl Sub for Work {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(self.0.sub(other.0))
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn arithmetic_carries_across_limbs() {
        let max = U256(u128::MAX, u128::MAX);
        let one = U256::ONE;
        let limbs = |limbs: [u64; 4]| {
            let [a, b, c, d] = limbs.map(u128::from);
            U256(a << 64 | b, c << 64 | d)
        };
        assert_eq!(max.add(one), U256::ZERO);
        assert_eq!(U256::ZERO.sub(one), max);
        assert_eq!(one.shl(255).shr(255), one);
        assert_eq!(one.shl(64), limbs([0, 0, 1, 0]));
        assert_eq!(limbs([0, 0, 1, 0]).shr(1), U256(0, 1 << 63));
        assert_eq!(one.shl(256), U256::ZERO);
        assert_eq!(max.mul(2), max.sub(one));
        assert_eq!(limbs([0, 0, 1, 0]).mul(u32::MAX), limbs([0, 0, u32::MAX.into(), 0]));
        assert_eq!(max.div(max), one);
        assert_eq!(one.div(max), U256::ZERO);
        let n = limbs([0x89ab_cdef, 7, u64::MAX, 5]);
        assert_eq!(n.mul(1_000_003).sub(n.mul(2)).div(U256(0, 1_000_001)), n);
        assert_eq!(one.shl(200).add(U256(0, 7)).div(one.shl(72)), one.shl(128));
        assert_eq!(one.shl(130).bit_length(), 131);
    }

    #[test]
    fn display_is_64_digits() {
        let mut bytes = [0; 32];
        bytes[0] = 0x12;
        bytes[31] = 0xef;
        let text = Work::from_be_bytes(bytes).to_string();
        assert_eq!(text.len(), 64);
        assert!(text.starts_with("120") && text.ends_with("0ef"));
    }
}
