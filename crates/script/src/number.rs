use alloc::vec::Vec;

use crate::ScriptError;
use crate::error::ensure;

/// Encodes a number as scripts do: little-endian, the sign in the last byte's top bit, zero empty.
/// Core: `CScriptNum::serialize`.
#[must_use]
pub fn encode_number(number: i64) -> Vec<u8> {
    let magnitude = number.unsigned_abs();
    let Some(top_bit) = magnitude.checked_ilog2() else { return Vec::new() };
    // The sign takes one more bit.
    let size = (top_bit as usize + 1) / 8 + 1;
    let mut bytes = u128::from(magnitude).to_le_bytes()[..size].to_vec();
    if number < 0 {
        bytes[size - 1] |= 0x80;
    }
    bytes
}

/// Decodes a number of at most `max_size` bytes: 4 for arithmetic, 5 for lock times.
/// Core: `CScriptNum`.
///
/// # Errors
/// [`ScriptError::Scriptnum`] when it is longer, or `is_minimal` is asked for and it is not.
pub fn decode_number(bytes: &[u8], is_minimal: bool, max_size: usize) -> Result<i64, ScriptError> {
    let Some((last, rest)) = bytes.split_last() else { return Ok(0) };
    let is_padded = last & 0x7f == 0 && rest.last().is_none_or(|before| *before < 0x80);
    ensure(bytes.len() <= max_size.min(8) && !(is_minimal && is_padded), ScriptError::Scriptnum)?;
    let mut wide = [0; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    wide[rest.len()] &= 0x7f;
    let magnitude = i64::from_le_bytes(wide);
    Ok(if *last < 0x80 { magnitude } else { -magnitude })
}

/// Returns whether a stack item counts as true: not empty, not zero, not negative zero.
/// Core: `CastToBool`.
#[must_use]
pub fn is_true(item: &[u8]) -> bool {
    // The last byte's top bit is the sign: 0x80 alone there is still zero.
    item.split_last().is_some_and(|(last, rest)| last & 0x7f != 0 || rest.iter().any(|&b| b != 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_the_original_wrote_them() {
        let check = |number, bytes: &[u8]| {
            assert_eq!(encode_number(number), bytes);
            assert_eq!(decode_number(bytes, true, 8), Ok(number));
        };
        check(0, &[]);
        check(1, &[1]);
        check(-1, &[0x81]);
        check(128, &[0x80, 0]);
        check(-127, &[0xff]);
        check(-128, &[0x80, 0x80]);
        check(255, &[0xff, 0]);
        check(-255, &[0xff, 0x80]);
        check(256, &[0, 1]);
        check(1 << 31, &[0, 0, 0, 0x80, 0]);
        assert_eq!(encode_number(i64::MIN), [0, 0, 0, 0, 0, 0, 0, 0x80, 0x80]);
    }

    #[test]
    fn long_or_padded_numbers_are_refused() {
        let check = |bytes: &[u8], is_minimal, expected| {
            assert_eq!(decode_number(bytes, is_minimal, 4), expected, "{bytes:?}");
        };
        check(&[0, 0, 0, 0, 0], false, Err(ScriptError::Scriptnum));
        check(&[0], true, Err(ScriptError::Scriptnum));
        check(&[0x80], true, Err(ScriptError::Scriptnum));
        check(&[1, 0], true, Err(ScriptError::Scriptnum));
        check(&[0x80], false, Ok(0));
        check(&[1, 0], false, Ok(1));
        check(&[0xff, 0x80], true, Ok(-255));
    }

    #[test]
    fn fault_2_zeros_and_negative_zeros_are_false() {
        for zero in [&[][..], &[0], &[0, 0], &[0x80], &[0, 0x80]] {
            assert!(!is_true(zero), "{zero:?}");
        }
        for one in [&[1][..], &[0x80, 0], &[0x81], &[0x80, 0x80], &[0, 1]] {
            assert!(is_true(one), "{one:?}");
        }
    }
}
