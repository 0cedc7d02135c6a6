//! Hexadecimal.
//!
//! The digits are turned by `const-hex`, which uses vectors where the CPU has them; what is accepted, and
//! what is said of the rest, is decided here.

use alloc::string::String;
use alloc::vec::Vec;

use crate::TextError;
use crate::alphabet::find_invalid;

/// Writes two lower-case digits a byte. Core: `HexStr`.
#[inline]
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    const_hex::encode(bytes)
}

/// Writes two lower-case digits a byte into a buffer of the caller's, of just the length that it takes.
///
/// # Errors
/// When the buffer has not twice the length of the bytes.
#[inline]
pub fn encode_to_slice(bytes: &[u8], text: &mut [u8]) -> Result<(), TextError> {
    let (length, expected) = (text.len(), 2 * bytes.len());
    const_hex::encode_to_slice(bytes, text).map_err(|_| TextError::WrongLength { length, expected })
}

/// Reads pairs of digits of either case. Core: `TryParseHex`, which skips white space also.
///
/// # Errors
/// At the first character that is no digit; else when the number of digits is odd.
#[inline]
pub fn decode(text: &str) -> Result<Vec<u8>, TextError> {
    match const_hex::decode(text) {
        // It skips `0x` in front, and then gives fewer bytes.
        Ok(bytes) if 2 * bytes.len() == text.len() => Ok(bytes),
        _ => Err(fault(text)),
    }
}

/// Reads pairs of digits of either case into a buffer of the caller's, of just the length that it takes:
/// `[u8; 32]` for a hash.
///
/// # Errors
/// When the text has not twice the length of the buffer, and at the first character that is no digit.
/// What the buffer then holds is not specified.
#[inline]
pub fn decode_to_slice(text: &str, bytes: &mut [u8]) -> Result<(), TextError> {
    let (length, expected) = (text.len(), 2 * bytes.len());
    if length != expected {
        return Err(TextError::WrongLength { length, expected });
    }
    const_hex::decode_to_slice(text, bytes).map_err(|_| fault(text))
}

#[cold]
fn fault(text: &str) -> TextError {
    match text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        true => TextError::OddLength { length: text.len() },
        false => find_invalid(text, 0, |byte| byte.is_ascii_hexdigit()),
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn every_byte_in_both_cases() {
        let bytes: Vec<u8> = (0..=255).collect();
        let text = encode(&bytes);
        assert!(text.starts_with("000102") && text.ends_with("fdfeff"));
        assert_eq!(decode(&text).as_ref(), Ok(&bytes));
        assert_eq!(decode(&text.to_uppercase()), Ok(bytes));
        assert_eq!(decode(""), Ok(Vec::new()));
    }

    #[test]
    fn no_character_but_the_22_digits_is_read() {
        for character in '\0'..='\u{17f}' {
            let mut text = String::from("0");
            text.push(character);
            let result = match character.to_digit(16) {
                Some(value) => Ok(vec![u8::try_from(value).unwrap()]),
                None => Err(TextError::InvalidCharacter { at: 1, character }),
            };
            assert_eq!(decode(&text), result);
        }
    }

    #[test]
    fn errors_name_position_and_character() {
        let invalid =
            |at, character| Err::<Vec<u8>, _>(TextError::InvalidCharacter { at, character });
        assert_eq!(decode("0g1"), invalid(1, 'g'));
        assert_eq!(decode("00 0"), invalid(2, ' '));
        assert_eq!(decode("0é"), invalid(1, 'é'));
        assert_eq!(decode("0x00"), invalid(1, 'x'));
        assert_eq!(decode_to_slice("0x00", &mut [0; 2]), Err(invalid(1, 'x').unwrap_err()));
        assert_eq!(decode("abc"), Err(TextError::OddLength { length: 3 }));
    }
}
