//! What the modules share to read and write letters.

use alloc::string::String;
use alloc::vec::Vec;

use crate::TextError;

/// What [`values`] gives for bytes that are no letters. All values are below.
pub(crate) const ABSENT: u8 = 0x80;

/// The place in an alphabet of each byte.
#[expect(clippy::cast_possible_truncation, reason = "an alphabet has at most 58 letters")]
pub(crate) const fn values(alphabet: &[u8]) -> [u8; 256] {
    let mut values = [ABSENT; 256];
    let mut value = 0;
    while value < alphabet.len() {
        values[alphabet[value] as usize] = value as u8;
        value += 1;
    }
    values
}

/// The error for the first character that is not valid; `offset` is what comes before the text.
///
/// # Panics
/// When all are valid. Only ASCII may be.
#[cold]
pub(crate) fn find_invalid(text: &str, offset: usize, is_valid: fn(u8) -> bool) -> TextError {
    let at = text.bytes().position(|byte| !is_valid(byte)).expect("a character is not valid");
    let character = text[at..].chars().next().expect("it starts there");
    TextError::InvalidCharacter { at: offset + at, character }
}

/// The text of letters of an alphabet.
#[inline]
pub(crate) fn to_text(letters: Vec<u8>) -> String {
    String::from_utf8(letters).expect("alphabets are ASCII")
}
