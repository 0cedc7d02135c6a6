//! Base58 and Base58Check.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use caesure_hash::sha256d;

use crate::TextError;

/// The longest text that is decoded, in characters: the time taken grows with the length's square.
///
/// What Bitcoin writes in Base58Check has at most 112 characters (extended keys).
pub const MAX_LENGTH: usize = 1024;

const ALPHABET: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

/// Writes bytes as a number in 58 digits, with a `1` for each zero byte at the front.
///
/// Takes time in proportion to the square of the length. Core: `EncodeBase58`.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
    let digits = convert(bytes[zeros..].iter().copied(), 256, 58);
    let digits = digits.iter().rev().map(|&digit| char::from(ALPHABET[usize::from(digit)]));
    core::iter::repeat_n('1', zeros).chain(digits).collect()
}

/// Reads what [`encode`] writes. White space around the text is skipped, as Core does.
///
/// # Errors
/// At the first character outside the alphabet, and over [`MAX_LENGTH`] characters.
pub fn decode(text: &str) -> Result<Vec<u8>, TextError> {
    let is_space = |c: char| matches!(c, ' ' | '\t'..='\r');
    let start = text.len() - text.trim_start_matches(is_space).len();
    let text = text.trim_matches(is_space);
    if MAX_LENGTH < text.len() {
        return Err(TextError::TooLong { length: text.len(), limit: MAX_LENGTH });
    }
    let digit = |(at, character): (usize, char)| {
        let position = ALPHABET.iter().position(|&letter| char::from(letter) == character);
        let value = position.and_then(|value| u8::try_from(value).ok());
        value.ok_or(TextError::InvalidCharacter { at: start + at, character })
    };
    let digits = text.char_indices().map(digit).collect::<Result<Vec<u8>, TextError>>()?;
    let zeros = digits.iter().take_while(|&&digit| digit == 0).count();
    let mut bytes = convert(digits[zeros..].iter().copied(), 58, 256);
    bytes.extend(vec![0; zeros]);
    bytes.reverse();
    Ok(bytes)
}

/// Writes bytes and the first four of their double SHA-256. Core: `EncodeBase58Check`.
#[must_use]
pub fn encode_check(bytes: &[u8]) -> String {
    encode(&[bytes, &sha256d(bytes)[..4]].concat())
}

/// Reads what [`encode_check`] writes and returns the bytes without the checksum.
///
/// # Errors
/// As [`decode`], and when the checksum is missing or wrong.
pub fn decode_check(text: &str) -> Result<Vec<u8>, TextError> {
    let mut bytes = decode(text)?;
    let (data, checksum) = bytes.split_last_chunk::<4>().ok_or(TextError::TooShort)?;
    if sha256d(data)[..4] != *checksum {
        return Err(TextError::Checksum);
    }
    bytes.truncate(bytes.len() - 4);
    Ok(bytes)
}

/// Converts a number from one base to another; the result's least digit comes first.
fn convert(digits: impl Iterator<Item = u8>, from: u32, to: u32) -> Vec<u8> {
    let mut result: Vec<u8> = Vec::new();
    for digit in digits {
        let mut carry = u32::from(digit);
        for value in &mut result {
            carry += u32::from(*value) * from;
            *value = u8::try_from(carry % to).expect("bases are at most 256");
            carry /= to;
        }
        while carry != 0 {
            result.push(u8::try_from(carry % to).expect("bases are at most 256"));
            carry /= to;
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn core_skips_white_space_around_and_not_inside() {
        assert_eq!(decode(" \t\n\u{b}\u{c}\r skip \r\u{c}\u{b}\n\t "), Ok(vec![0x97, 0x1a, 0x55]));
        assert_eq!(decode("  skip a"), Err(TextError::InvalidCharacter { at: 6, character: ' ' }));
    }

    #[test]
    fn errors_name_position_and_character() {
        let invalid = |at, character| Err(TextError::InvalidCharacter { at, character });
        assert_eq!(decode("bad0IOl"), invalid(3, '0'));
        assert_eq!(decode("good\0"), invalid(4, '\0'));
        assert_eq!(decode("ſ"), invalid(0, 'ſ'));
    }

    #[test]
    fn the_length_limit_and_one_past_it() {
        assert_eq!(decode(&"1".repeat(MAX_LENGTH)), Ok(vec![0; MAX_LENGTH]));
        let error = TextError::TooLong { length: MAX_LENGTH + 1, limit: MAX_LENGTH };
        assert_eq!(decode(&"1".repeat(MAX_LENGTH + 1)), Err(error));
    }

    #[test]
    fn a_checksum_is_missed_and_its_damage_is_seen() {
        let text = encode_check(b"");
        assert_eq!(text, "3QJmnh");
        assert_eq!(decode_check(&text), Ok(Vec::new()));
        assert_eq!(decode_check("3QJmnj"), Err(TextError::Checksum));
        assert_eq!(decode_check("111"), Err(TextError::TooShort));
    }
}
