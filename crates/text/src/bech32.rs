//! Bech32, Bech32m and the addresses of witness programs.

use alloc::string::String;
use alloc::vec::Vec;

use crate::TextError;

/// The longest text in characters. Spec: BIP-0173.
pub const MAX_LENGTH: usize = 90;

const ALPHABET: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
const CHECKSUM_SIZE: usize = 6;

/// Which of the two checksums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// For witness version 0. Spec: BIP-0173.
    Bech32,
    /// For witness versions from 1 on. Spec: BIP-0350.
    Bech32m,
}

impl Variant {
    /// The remainder that a text with a right checksum leaves.
    const fn remainder(self) -> u32 {
        match self {
            Self::Bech32 => 1,
            Self::Bech32m => 0x2bc8_30a3,
        }
    }

    /// Returns the variant of a witness version.
    #[must_use]
    pub const fn of_version(version: u8) -> Self {
        if version == 0 { Self::Bech32 } else { Self::Bech32m }
    }
}

/// Writes `hrp`, `1`, five bits a character and the checksum, in lower case. Core: `bech32::Encode`.
///
/// # Errors
/// When `hrp` is empty or not of printable ASCII without capitals, a value is over 31, or the text
/// would have more than [`MAX_LENGTH`] characters.
pub fn encode(hrp: &str, values: &[u8], variant: Variant) -> Result<String, TextError> {
    if hrp.is_empty() {
        return Err(TextError::NoHrp);
    }
    let is_wrong = |c: char| !c.is_ascii_graphic() || c.is_ascii_uppercase();
    if let Some((at, character)) = hrp.char_indices().find(|&(_, c)| is_wrong(c)) {
        return Err(TextError::InvalidCharacter { at, character });
    }
    if let Some((at, &value)) = values.iter().enumerate().find(|(_, value)| 31 < **value) {
        return Err(TextError::ValueRange { at, value });
    }
    let length = hrp.len() + 1 + values.len() + CHECKSUM_SIZE;
    if MAX_LENGTH < length {
        return Err(TextError::TooLong { length, limit: MAX_LENGTH });
    }
    let blank = values.iter().copied().chain([0; CHECKSUM_SIZE]);
    let checksum = polymod(hrp, blank) ^ variant.remainder();
    let checksum = (0..6).rev().map(|i| (checksum >> (5 * i) & 31).to_le_bytes()[0]);
    let mut text = String::from(hrp);
    text.push('1');
    let values = values.iter().copied().chain(checksum);
    text.extend(values.map(|value| char::from(ALPHABET[usize::from(value)])));
    Ok(text)
}

/// Reads what [`encode`] writes, in one case or the other: the human-readable part in lower case,
/// the values without the checksum, and the variant that the checksum shows. Core: `bech32::Decode`.
///
/// # Errors
/// Any text that is not Bech32 or Bech32m.
pub fn decode(text: &str) -> Result<(String, Vec<u8>, Variant), TextError> {
    check_characters(text)?;
    if MAX_LENGTH < text.len() {
        return Err(TextError::TooLong { length: text.len(), limit: MAX_LENGTH });
    }
    let hrp_length = text.rfind('1').filter(|&at| at != 0).ok_or(TextError::NoHrp)?;
    let hrp = text[..hrp_length].to_ascii_lowercase();
    let value = |(at, character): (usize, char)| {
        let letter = character.to_ascii_lowercase();
        let position = ALPHABET.iter().position(|&byte| char::from(byte) == letter);
        let value = position.and_then(|value| u8::try_from(value).ok());
        value.ok_or(TextError::InvalidCharacter { at, character })
    };
    let data = text.char_indices().skip(hrp_length + 1).map(value);
    let mut values = data.collect::<Result<Vec<u8>, TextError>>()?;
    let length = values.len().checked_sub(CHECKSUM_SIZE).ok_or(TextError::TooShort)?;
    let remainder = polymod(&hrp, values.iter().copied());
    let variant = [Variant::Bech32, Variant::Bech32m]
        .into_iter()
        .find(|variant| variant.remainder() == remainder)
        .ok_or(TextError::Checksum)?;
    values.truncate(length);
    Ok((hrp, values, variant))
}

/// Writes the address of a witness program; `hrp` is the network's (`bc`, `tb`, `bcrt`).
///
/// # Errors
/// When BIP-0141 knows no such program, and as [`encode`].
pub fn encode_segwit(hrp: &str, version: u8, program: &[u8]) -> Result<String, TextError> {
    check_program(version, program)?;
    let mut values = Vec::from([version]);
    let mut bits = 0u32;
    let mut bit_count = 0;
    for &byte in program {
        bits = bits << 8 | u32::from(byte);
        bit_count += 8;
        while 5 <= bit_count {
            bit_count -= 5;
            values.push((bits >> bit_count & 31).to_le_bytes()[0]);
        }
    }
    if bit_count != 0 {
        values.push((bits << (5 - bit_count) & 31).to_le_bytes()[0]);
    }
    encode(hrp, &values, Variant::of_version(version))
}

/// Reads the address of a witness program: its version and the program.
///
/// # Errors
/// As [`decode`], and when the human-readable part is not `hrp`, the variant is not the version's,
/// the padding is wrong, or BIP-0141 knows no such program.
pub fn decode_segwit(hrp: &str, text: &str) -> Result<(u8, Vec<u8>), TextError> {
    let (found, values, variant) = decode(text)?;
    if found != hrp {
        return Err(TextError::WrongHrp);
    }
    let (&version, values) = values.split_first().ok_or(TextError::WitnessVersion)?;
    if 16 < version {
        return Err(TextError::WitnessVersion);
    }
    if variant != Variant::of_version(version) {
        return Err(TextError::WrongVariant { version });
    }
    let mut program = Vec::new();
    let mut bits = 0u32;
    let mut bit_count = 0;
    for &value in values {
        bits = bits << 5 | u32::from(value);
        bit_count += 5;
        if 8 <= bit_count {
            bit_count -= 8;
            program.push((bits >> bit_count & 255).to_le_bytes()[0]);
        }
    }
    if 5 <= bit_count || bits & ((1 << bit_count) - 1) != 0 {
        return Err(TextError::Padding);
    }
    check_program(version, &program)?;
    Ok((version, program))
}

fn check_program(version: u8, program: &[u8]) -> Result<(), TextError> {
    match (version, program.len()) {
        (17.., _) => Err(TextError::WitnessVersion),
        (0, 20 | 32) | (1.., 2..=40) => Ok(()),
        (_, length) => Err(TextError::ProgramLength { version, length }),
    }
}

/// Printable ASCII, and letters of one case.
fn check_characters(text: &str) -> Result<(), TextError> {
    let mut is_upper = None;
    for (at, character) in text.char_indices() {
        if !character.is_ascii_graphic() {
            return Err(TextError::InvalidCharacter { at, character });
        }
        if character.is_ascii_alphabetic() {
            let case = character.is_ascii_uppercase();
            if *is_upper.get_or_insert(case) != case {
                return Err(TextError::MixedCase { at, character });
            }
        }
    }
    Ok(())
}

/// The remainder of the expanded `hrp` and the values by the generator of the code. Spec: BIP-0173.
fn polymod(hrp: &str, values: impl Iterator<Item = u8>) -> u32 {
    const GENERATOR: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
    let high = hrp.bytes().map(|byte| byte >> 5);
    let low = hrp.bytes().map(|byte| byte & 31);
    high.chain([0]).chain(low).chain(values).fold(1, |state, value| {
        let top = state >> 25;
        let next = (state & 0x01ff_ffff) << 5 ^ u32::from(value);
        (0..5).filter(|bit| top >> bit & 1 == 1).fold(next, |next, bit| next ^ GENERATOR[bit])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_position_and_character() {
        let invalid = |at, character| Err(TextError::InvalidCharacter { at, character });
        assert_eq!(decode("y1b0jsk6g"), invalid(2, 'b'));
        assert_eq!(decode("de1lg7wt\u{ff}"), invalid(8, '\u{ff}'));
        assert_eq!(decode("a12uEl5l"), Err(TextError::MixedCase { at: 4, character: 'E' }));
        assert_eq!(
            encode("Bc", &[], Variant::Bech32),
            Err(TextError::InvalidCharacter { at: 0, character: 'B' })
        );
        assert_eq!(
            encode("bc", &[1, 32], Variant::Bech32),
            Err(TextError::ValueRange { at: 1, value: 32 })
        );
    }

    #[test]
    fn programs_that_bip141_does_not_know_are_refused() {
        let error = |version, length| Err(TextError::ProgramLength { version, length });
        assert_eq!(encode_segwit("bc", 0, &[0; 21]), error(0, 21));
        assert_eq!(encode_segwit("bc", 1, &[0; 1]), error(1, 1));
        assert_eq!(encode_segwit("bc", 16, &[0; 41]), error(16, 41));
        assert_eq!(encode_segwit("bc", 17, &[0; 32]), Err(TextError::WitnessVersion));
    }

    #[test]
    fn the_length_limit_and_one_past_it() {
        let text = encode("a", &[0; 82], Variant::Bech32m).unwrap();
        assert_eq!(text.len(), MAX_LENGTH);
        assert_eq!(decode(&text).unwrap().1, [0; 82]);
        let error = TextError::TooLong { length: 91, limit: 90 };
        assert_eq!(encode("a", &[0; 83], Variant::Bech32m), Err(error));
        assert_eq!(decode(&alloc::format!("{text}q")), Err(error));
    }
}
