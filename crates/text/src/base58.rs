//! Base58 and Base58Check.

use alloc::string::String;
use alloc::vec::Vec;
use core::iter::once;

use caesure_hash::sha256d;

use crate::TextError;
use crate::alphabet::{ABSENT, find_invalid, to_text, values};

/// The longest text that is decoded, in characters, white space around it not counted: the time taken
/// grows with the length's square.
///
/// What Bitcoin writes in Base58Check has at most 112 characters (extended keys).
pub const MAX_LENGTH: usize = 1024;

const ALPHABET: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
const VALUES: [u8; 256] = values(ALPHABET);

/// Writes bytes as a number in 58 digits, with a `1` for each zero byte at the front.
///
/// Bytes of any length are written, in time that grows with the length's square: some 2 µs for 200
/// bytes, 1 ms for 4 KiB. [`decode`] reads back texts of up to [`MAX_LENGTH`] characters, and the text of
/// at most 749 bytes is never longer. Core: `EncodeBase58`.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    encode_words(bytes, &[])
}

/// Reads what [`encode`] writes. White space around the text is skipped, as Core does.
/// Core: `DecodeBase58`.
///
/// # Errors
/// At the first character outside the alphabet, and over [`MAX_LENGTH`] characters.
pub fn decode(text: &str) -> Result<Vec<u8>, TextError> {
    /// Ten digits fit a word, and so does their product with another word and a carry.
    const BASE: u64 = 58_u64.pow(10);
    let is_space = |c: char| matches!(c, ' ' | '\t'..='\r');
    let start = text.len() - text.trim_start_matches(is_space).len();
    let text = text.trim_matches(is_space);
    if MAX_LENGTH < text.len() {
        return Err(TextError::TooLong { length: text.len(), limit: MAX_LENGTH });
    }
    let zeros = text.bytes().take_while(|&byte| byte == b'1').count();
    let (first, groups) = text.as_bytes()[zeros..].as_rchunks::<10>();
    let mut seen = 0;
    // The number so far in words, the least first.
    let mut words: Vec<u64> = Vec::with_capacity(groups.len() + 1);
    for group in once(first).chain(groups.iter().map(|group| &group[..])) {
        let mut carry = group.iter().fold(0, |number, &letter| {
            let value = VALUES[usize::from(letter)];
            seen |= value;
            number * 58 + u64::from(value)
        });
        for word in &mut words {
            (*word, carry) = word.carrying_mul(BASE, carry);
        }
        if carry != 0 {
            words.push(carry);
        }
    }
    if ABSENT <= seen {
        return Err(find_invalid(text, start, |byte| VALUES[usize::from(byte)] != ABSENT));
    }
    let mut bytes = Vec::with_capacity(zeros + 8 * words.len());
    bytes.resize(zeros, 0);
    if let Some((top, rest)) = words.split_last() {
        let top = top.to_be_bytes();
        let empty = top.iter().take_while(|&&byte| byte == 0).count();
        bytes.extend_from_slice(&top[empty..]);
        rest.iter().rev().for_each(|word| bytes.extend_from_slice(&word.to_be_bytes()));
    }
    Ok(bytes)
}

/// Writes bytes and the first four of their double SHA-256. Core: `EncodeBase58Check`.
#[must_use]
pub fn encode_check(bytes: &[u8]) -> String {
    encode_words(bytes, &sha256d(bytes)[..4])
}

/// Reads what [`encode_check`] writes and returns the bytes without the checksum.
/// Core: `DecodeBase58Check`.
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

/// Writes bytes and after them whole words.
fn encode_words(bytes: &[u8], words: &[u8]) -> String {
    /// Five digits fit half a word.
    const BASE: u64 = 58_u64.pow(5);
    let zeros = bytes.iter().chain(words).take_while(|&&byte| byte == 0).count();
    let (first, rest) = bytes.get(zeros..).unwrap_or_default().as_rchunks::<4>();
    let first = first.iter().fold(0, |number, &byte| number << 8 | u64::from(byte));
    let remainder = |number| u32::try_from(number % BASE).expect("the base fits");
    // The number so far in groups of five digits, the least first.
    let mut groups: Vec<u32> = Vec::with_capacity((bytes.len() + words.len()) / 3 + 1);
    let words = rest.iter().chain(words.as_chunks().0);
    for word in once(first).chain(words.map(|word| u64::from(u32::from_be_bytes(*word)))) {
        let mut carry = word;
        for group in &mut groups {
            carry += u64::from(*group) << 32;
            *group = remainder(carry);
            carry /= BASE;
        }
        while carry != 0 {
            groups.push(remainder(carry));
            carry /= BASE;
        }
    }
    let mut text = Vec::with_capacity(zeros + 5 * groups.len());
    text.resize(zeros, b'1');
    if let Some((top, rest)) = groups.split_last() {
        let top = letters(*top);
        let empty = top.iter().take_while(|&&letter| letter == b'1').count();
        text.extend_from_slice(&top[empty..]);
        rest.iter().rev().for_each(|group| text.extend_from_slice(&letters(*group)));
    }
    to_text(text)
}

/// The five digits of a group.
fn letters(mut group: u32) -> [u8; 5] {
    let mut letters = [0; 5];
    for letter in letters.iter_mut().rev() {
        *letter = ALPHABET[usize::from((group % 58).to_le_bytes()[0])];
        group /= 58;
    }
    letters
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

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

    #[test]
    fn zeros_and_a_checksum_that_starts_with_zeros_are_all_ones() {
        let mut found = 0;
        for size in 0..700 {
            let zeros = vec![0; size];
            let checksum = &sha256d(&zeros)[..4];
            assert_eq!(encode_check(&zeros), encode(&[&zeros, checksum].concat()));
            found += usize::from(checksum[0] == 0);
        }
        assert!(0 < found);
    }
}
