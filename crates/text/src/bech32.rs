//! Bech32, Bech32m and the addresses of witness programs.

use alloc::string::String;
use alloc::vec::Vec;

use crate::TextError;
use crate::alphabet::{ABSENT, find_invalid, to_text, values};

/// The longest text in characters. Spec: BIP-0173.
pub const MAX_LENGTH: usize = 90;

const ALPHABET: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
const CHECKSUM_SIZE: usize = 6;
/// Where five bits each lie in 40.
const SHIFTS: [u32; 8] = [35, 30, 25, 20, 15, 10, 5, 0];
/// What the longest human-readable part expands to, with 1, 0 and the checksum; a multiple of six.
const EXPANDED_SIZE: usize = 2 * (MAX_LENGTH - 1 - CHECKSUM_SIZE) + 2 + CHECKSUM_SIZE;
/// Of letters of either case.
const VALUES: [u8; 256] = {
    let mut values = values(ALPHABET);
    let mut letter = b'A';
    while letter <= b'Z' {
        values[letter as usize] = values[letter.to_ascii_lowercase() as usize];
        letter += 1;
    }
    values
};

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
    let is_valid = |byte: u8| byte.is_ascii_graphic() && !byte.is_ascii_uppercase();
    if !hrp.bytes().all(is_valid) {
        return Err(find_invalid(hrp, 0, is_valid));
    }
    if let Some((at, &value)) = values.iter().enumerate().find(|(_, value)| 31 < **value) {
        return Err(TextError::ValueRange { at, value });
    }
    let length = hrp.len() + 1 + values.len() + CHECKSUM_SIZE;
    if MAX_LENGTH < length {
        return Err(TextError::TooLong { length, limit: MAX_LENGTH });
    }
    let mut text = Vec::with_capacity(length);
    text.extend_from_slice(hrp.as_bytes());
    text.push(b'1');
    text.extend(values.iter().map(|&value| ALPHABET[usize::from(value)]));
    let checksum = polymod(hrp, values, CHECKSUM_SIZE) ^ variant.remainder();
    text.extend([25, 20, 15, 10, 5, 0].map(|shift| ALPHABET[low_five(checksum >> shift)]));
    Ok(to_text(text))
}

/// Reads what [`encode`] writes, in one case or the other: the human-readable part in lower case,
/// the values without the checksum, and the variant that the checksum shows. Core: `bech32::Decode`.
///
/// # Errors
/// Any text that is not Bech32 or Bech32m.
pub fn decode(text: &str) -> Result<(String, Vec<u8>, Variant), TextError> {
    let mut buffer = [0; MAX_LENGTH];
    let (hrp, values, variant) = decode_to_slice(text, &mut buffer)?;
    Ok((hrp.to_ascii_lowercase(), values.to_vec(), variant))
}

/// Says in Core's words what is wrong with a text that [`decode`] refuses, and where: the bytes at which
/// one or two wrong characters are, if so few explain a wrong checksum. Core: `bech32::LocateErrors`.
#[must_use]
pub fn locate_errors(text: &str) -> (&'static str, Vec<usize>) {
    let bytes = text.as_bytes();
    if MAX_LENGTH < bytes.len() {
        return ("Bech32 string too long", (MAX_LENGTH..bytes.len()).collect());
    }
    let [mut has_lower, mut has_upper] = [false; 2];
    let mut is_wrong = |byte: u8| match byte {
        b'a'..=b'z' => {
            has_lower |= !has_upper;
            has_upper
        }
        b'A'..=b'Z' => {
            has_upper |= !has_lower;
            has_lower
        }
        _ => !byte.is_ascii_graphic(),
    };
    let wrong: Vec<usize> = (0..bytes.len()).filter(|&at| is_wrong(bytes[at])).collect();
    if !wrong.is_empty() {
        return ("Invalid character or mixed case", wrong);
    }
    let Some(separator) = text.rfind('1') else { return ("Missing separator", Vec::new()) };
    if separator == 0 || bytes.len() <= separator + CHECKSUM_SIZE {
        return ("Invalid separator position", Vec::from([separator]));
    }
    let data = &bytes[separator + 1..];
    let values: Vec<u8> = data.iter().map(|byte| VALUES[usize::from(*byte)]).collect();
    if let Some(at) = values.iter().position(|value| *value == ABSENT) {
        return ("Invalid Base 32 character", Vec::from([separator + 1 + at]));
    }
    let remainder = polymod(&text[..separator], &values, 0);
    let left = remainders(values.len());
    let mut found = ("Invalid checksum", Vec::new());
    for (variant, words) in [
        (Variant::Bech32, "Invalid Bech32 checksum"),
        (Variant::Bech32m, "Invalid Bech32m checksum"),
    ] {
        let places = explain(remainder ^ variant.remainder(), &left);
        if !places.is_empty() && (found.1.is_empty() || places.len() < found.1.len()) {
            found = (words, places.iter().map(|place| bytes.len() - 1 - place).collect());
        }
    }
    found
}

/// What a difference of each value at each place, counted from the end, adds to the remainder, sorted
/// by that, since the code is linear.
fn remainders(length: usize) -> Vec<(u32, usize)> {
    let mut all = Vec::with_capacity(31 * length);
    for value in 1..32 {
        let mut remainder = value;
        for place in 0..length {
            all.push((remainder, place));
            remainder = step(remainder);
        }
    }
    all.sort_unstable();
    all
}

/// The one or two places, the first in the text first, at which differences add up to a remainder. No
/// two pairs do: codewords differ in five places at least.
fn explain(remainder: u32, all: &[(u32, usize)]) -> Vec<usize> {
    let find = |wanted: u32| {
        let found = all.binary_search_by_key(&wanted, |it| it.0);
        found.ok().map(|index| all[index].1)
    };
    if let Some(place) = find(remainder) {
        return Vec::from([place]);
    }
    let pair = |&(part, place): &(u32, usize)| Some((place, find(remainder ^ part)?));
    let pair = all.iter().find_map(pair);
    pair.map_or(Vec::new(), |(a, b)| Vec::from([a.max(b), a.min(b)]))
}

/// Writes the address of a witness program; `hrp` is the network's (`bc`, `tb`, `bcrt`).
///
/// # Errors
/// When BIP-0141 knows no such program, and as [`encode`].
pub fn encode_segwit(hrp: &str, version: u8, program: &[u8]) -> Result<String, TextError> {
    check_program(version, program.len())?;
    let mut padded = [0; 40];
    padded[..program.len()].copy_from_slice(program);
    let mut values = [version; 1 + 64];
    let groups = values[1..].as_chunks_mut::<8>().0.iter_mut();
    for (values, &[a, b, c, d, e]) in
        groups.zip(padded[..program.len().next_multiple_of(5)].as_chunks().0)
    {
        let bits = u64::from_be_bytes([0, 0, 0, a, b, c, d, e]);
        *values = SHIFTS.map(|shift| (bits >> shift & 31).to_le_bytes()[0]);
    }
    encode(hrp, &values[..1 + (8 * program.len()).div_ceil(5)], Variant::of_version(version))
}

/// Reads the address of a witness program: its version and the program.
///
/// # Errors
/// As [`decode`], and when the human-readable part is not `hrp`, the variant is not the version's,
/// the padding is wrong, or BIP-0141 knows no such program.
pub fn decode_segwit(hrp: &str, text: &str) -> Result<(u8, Vec<u8>), TextError> {
    let mut buffer = [0; MAX_LENGTH];
    let (found, values, variant) = decode_to_slice(text, &mut buffer)?;
    if !found.bytes().map(|byte| byte.to_ascii_lowercase()).eq(hrp.bytes()) {
        return Err(TextError::WrongHrp);
    }
    let (&version, values) = values.split_first().ok_or(TextError::WitnessVersion)?;
    if 16 < version {
        return Err(TextError::WitnessVersion);
    }
    if variant != Variant::of_version(version) {
        return Err(TextError::WrongVariant { version });
    }
    let length = 5 * values.len() / 8;
    let mut program = Vec::with_capacity(length + 5);
    for values in values.chunks(8) {
        let bits = values.iter().zip(SHIFTS);
        let bits = bits.fold(0, |bits, (&value, shift)| bits | u64::from(value) << shift);
        program.extend_from_slice(&bits.to_be_bytes()[3..]);
    }
    if 5 <= 5 * values.len() % 8 || program[length..].iter().any(|&byte| byte != 0) {
        return Err(TextError::Padding);
    }
    program.truncate(length);
    check_program(version, length)?;
    Ok((version, program))
}

/// The human-readable part as it stands, the values without the checksum, and its variant.
fn decode_to_slice<'a, 'b>(
    text: &'a str,
    buffer: &'b mut [u8; MAX_LENGTH],
) -> Result<(&'a str, &'b [u8], Variant), TextError> {
    check_characters(text)?;
    if MAX_LENGTH < text.len() {
        return Err(TextError::TooLong { length: text.len(), limit: MAX_LENGTH });
    }
    let (hrp, data) =
        text.rsplit_once('1').filter(|(hrp, _)| !hrp.is_empty()).ok_or(TextError::NoHrp)?;
    let values = &mut buffer[..data.len()];
    let mut seen = 0;
    for (value, byte) in values.iter_mut().zip(data.bytes()) {
        *value = VALUES[usize::from(byte)];
        seen |= *value;
    }
    if ABSENT <= seen {
        return Err(find_invalid(data, hrp.len() + 1, |byte| VALUES[usize::from(byte)] != ABSENT));
    }
    let length = data.len().checked_sub(CHECKSUM_SIZE).ok_or(TextError::TooShort)?;
    let remainder = polymod(hrp, values, 0);
    let variant = [Variant::Bech32, Variant::Bech32m]
        .into_iter()
        .find(|variant| variant.remainder() == remainder)
        .ok_or(TextError::Checksum)?;
    Ok((hrp, &values[..length], variant))
}

fn check_program(version: u8, length: usize) -> Result<(), TextError> {
    match (version, length) {
        (17.., _) => Err(TextError::WitnessVersion),
        (0, 20 | 32) | (1.., 2..=40) => Ok(()),
        (_, length) => Err(TextError::ProgramLength { version, length }),
    }
}

/// Printable ASCII, and letters of one case.
fn check_characters(text: &str) -> Result<(), TextError> {
    // All are looked at, so that the compiler can use vectors.
    let (mut is_printable, mut has_lower, mut has_upper) = (true, false, false);
    for byte in text.bytes() {
        is_printable &= byte.is_ascii_graphic();
        has_lower |= byte.is_ascii_lowercase();
        has_upper |= byte.is_ascii_uppercase();
    }
    if !is_printable {
        return Err(find_invalid(text, 0, |byte| byte.is_ascii_graphic()));
    }
    if has_lower && has_upper {
        let at =
            text.find(char::is_lowercase).max(text.find(char::is_uppercase)).unwrap_or_default();
        let character = char::from(text.as_bytes()[at]);
        return Err(TextError::MixedCase { at, character });
    }
    Ok(())
}

/// The remainder of the expanded `hrp`, the values and `zeros` zeros by the generator of the code.
/// Spec: BIP-0173.
///
/// The remainder has six values of five bits. One more value shifts out the highest, which adds its
/// multiple of the generator; six more shift out all, which add a number each from a table.
fn polymod(hrp: &str, values: &[u8], zeros: usize) -> u32 {
    // Zeros at the front change nothing, and the 1 after them is the first remainder.
    let mut all = [0; EXPANDED_SIZE];
    let start = EXPANDED_SIZE - 2 - 2 * hrp.len() - values.len() - zeros;
    let (high, low) = all[start..].split_at_mut(1 + hrp.len());
    high[0] = 1;
    for (index, byte) in hrp.bytes().enumerate() {
        high[1 + index] = byte.to_ascii_lowercase() >> 5;
        low[1 + index] = byte & 31;
    }
    low[1 + hrp.len()..][..values.len()].copy_from_slice(values);
    all[start / 6 * 6..].as_chunks::<6>().0.iter().fold(0, |remainder, values| {
        let next = values.iter().fold(0, |next, &value| next << 5 | u32::from(value));
        let tables = SHIFTED.iter().zip([0, 5, 10, 15, 20, 25]);
        tables.fold(next, |next, (table, shift)| next ^ table[low_five(remainder >> shift)])
    })
}

/// The remainder after a value of zero.
const fn step(state: u32) -> u32 {
    const GENERATOR: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
    let mut next = (state & 0x01ff_ffff) << 5;
    let mut bit = 0;
    while bit < 5 {
        if state >> (25 + bit) & 1 == 1 {
            next ^= GENERATOR[bit];
        }
        bit += 1;
    }
    next
}

/// What each of the remainder's values, the lowest first, leaves after six steps.
const SHIFTED: [[u32; 32]; 6] = {
    let mut tables = [[0; 32]; 6];
    let mut place = 0;
    while place < 6 {
        let mut value = 0;
        while value < 32 {
            let mut state = value << (5 * place);
            let mut steps = 0;
            while steps < 6 {
                state = step(state);
                steps += 1;
            }
            tables[place][value as usize] = state;
            value += 1;
        }
        place += 1;
    }
    tables
};

fn low_five(bits: u32) -> usize {
    usize::from((bits & 31).to_le_bytes()[0])
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
    fn one_or_two_wrong_characters_are_located_and_nothing_is_made_up() {
        let variants = [(0, "Invalid Bech32 checksum"), (1, "Invalid Bech32m checksum")];
        for (version, words) in variants {
            let text = encode_segwit("bc", version, &[7; 32]).unwrap();
            let changed = |places: &[usize]| {
                let mut bytes = text.clone().into_bytes();
                for &at in places {
                    bytes[at] = if bytes[at] == b'q' { b'l' } else { b'q' };
                }
                locate_errors(str::from_utf8(&bytes).unwrap())
            };
            for first in 3..text.len() {
                assert_eq!(changed(&[first]), (words, Vec::from([first])));
                for second in first + 1..text.len() {
                    // By chance the other checksum may be as near; the older one is then told, as by Core.
                    let found = changed(&[first, second]);
                    let is_other = found.0 != words && found.1.len() <= 2 && !found.1.is_empty();
                    assert!(is_other || found.1 == [first, second], "{first} {second} {found:?}");
                }
            }
            let (_, places) = changed(&[5, 9, 14, 20]);
            assert!(places.len() <= 2 && places != [5, 9], "{places:?}");
        }
        let check = |text: &str, words, places: &[usize]| {
            assert_eq!(locate_errors(text), (words, places.to_vec()), "{text}");
        };
        check("bc1Qq\u{7f}", "Invalid character or mixed case", &[3, 5]);
        check("bcqqqqqqq", "Missing separator", &[]);
        check("1qqqqqqq", "Invalid separator position", &[0]);
        check("bc1qqqqq", "Invalid separator position", &[2]);
        check("bc1qqbqqqq", "Invalid Base 32 character", &[5]);
        check(&"q".repeat(92), "Bech32 string too long", &[90, 91]);
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
