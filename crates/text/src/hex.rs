//! Hexadecimal.

use alloc::string::String;
use alloc::vec::Vec;

use crate::TextError;

/// Writes two lower-case digits a byte.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from(b"0123456789abcdef"[usize::from(value)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Reads pairs of digits of either case.
///
/// # Errors
/// At the first character that is no digit; else when the number of digits is odd.
pub fn decode(text: &str) -> Result<Vec<u8>, TextError> {
    let digit = |(at, character): (usize, char)| {
        let value = character.to_digit(16).and_then(|value| u8::try_from(value).ok());
        value.ok_or(TextError::InvalidCharacter { at, character })
    };
    let digits = text.char_indices().map(digit).collect::<Result<Vec<u8>, TextError>>()?;
    match digits.as_chunks() {
        (pairs, []) => Ok(pairs.iter().map(|[high, low]| high << 4 | low).collect()),
        _ => Err(TextError::OddLength { length: digits.len() }),
    }
}

#[cfg(test)]
mod tests {
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
    fn errors_name_position_and_character() {
        let invalid = |at, character| Err(TextError::InvalidCharacter { at, character });
        assert_eq!(decode("0g1"), invalid(1, 'g'));
        assert_eq!(decode("00 0"), invalid(2, ' '));
        assert_eq!(decode("0é"), invalid(1, 'é'));
        assert_eq!(decode("abc"), Err(TextError::OddLength { length: 3 }));
    }
}
