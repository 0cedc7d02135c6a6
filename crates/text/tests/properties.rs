//! What is written is read again, any text is read or refused as the crates that others use do, and
//! errors say where.

use bech32::primitives::decode::CheckedHrpstring;
use bech32::primitives::iter::Fe32IterExt;
use bech32::{Bech32, Bech32m, Checksum, Fe32, Hrp};
use caesure_text::bech32 as ours;
use caesure_text::bech32::Variant;
use caesure_text::{TextError, base58, hex, wif};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

const BASE58: &str = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
const BECH32: &str = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";
const HEX: &str = "0123456789abcdefABCDEF";

fn config() -> ProptestConfig {
    ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() }
}

/// Bytes with zeros in front or without.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let size = prop_oneof![0..4usize, 19..34usize, 0..200usize];
    (0..5usize, size.prop_flat_map(|size| vec(any::<u8>(), size)))
        .prop_map(|(zeros, bytes)| [&vec![0; zeros][..], &bytes].concat())
}

/// What happens to a text: nothing mostly, else characters come, go and change.
fn damage() -> impl Strategy<Value = Vec<(Index, u8, char)>> {
    let letters: Vec<char> = "10OIlqLxX bioz\0\t\u{7f}é\u{2028}".chars().collect();
    let character = prop_oneof![select(letters), prop::char::range('!', '~'), any::<char>()];
    vec((any::<Index>(), 0..3u8, character), 0..4usize)
}

fn apply(text: &str, damage: &[(Index, u8, char)]) -> String {
    let mut characters: Vec<char> = text.chars().collect();
    for (index, how, character) in damage {
        let at = index.index(characters.len() + 1);
        match how {
            0 => characters.insert(at, *character),
            1 if at < characters.len() => characters[at] = *character,
            _ if at < characters.len() => _ = characters.remove(at),
            _ => {}
        }
    }
    characters.into_iter().collect()
}

fn is_space(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\n' | '\u{b}' | '\u{c}' | '\r')
}

/// The error for the first character from `start` on that is not of the alphabet.
fn first_stranger(text: &str, start: usize, alphabet: &str) -> Option<TextError> {
    for (at, character) in text.char_indices() {
        if start <= at && !alphabet.contains(character) {
            return Some(TextError::InvalidCharacter { at, character });
        }
    }
    None
}

/// A human-readable part, in lower case.
fn hrp() -> impl Strategy<Value = String> {
    let any = vec(prop::char::range('!', '~'), 1..84);
    let any = any.prop_map(|part| part.into_iter().collect::<String>().to_ascii_lowercase());
    prop_oneof![select(vec!["bc", "tb", "bcrt", "1", "a1b"]).prop_map(String::from), any]
}

fn variant() -> impl Strategy<Value = Variant> {
    select(vec![Variant::Bech32, Variant::Bech32m])
}

/// What the crate `bech32` writes.
fn their_text<Ck: Checksum>(hrp: &str, values: &[u8]) -> String {
    let hrp = Hrp::parse(hrp).unwrap();
    let values = values.iter().map(|&value| Fe32::try_from(value).unwrap());
    values.with_checksum::<Ck>(&hrp).chars().collect()
}

/// What the crate `bech32` reads.
fn their_parts<Ck: Checksum>(text: &str) -> Option<(String, Vec<u8>)> {
    let parts = CheckedHrpstring::new::<Ck>(text).ok()?;
    let values = parts.data_part_ascii_no_checksum().iter().map(|&letter| {
        let value = BECH32.find(char::from(letter.to_ascii_lowercase())).unwrap();
        u8::try_from(value).unwrap()
    });
    Some((parts.hrp().to_lowercase(), values.collect()))
}

/// The first of what makes a text no Bech32, before the checksum: by the letter of BIP-0173.
fn first_bech32_error(text: &str) -> Option<TextError> {
    for (at, character) in text.char_indices() {
        if !('!'..='~').contains(&character) {
            return Some(TextError::InvalidCharacter { at, character });
        }
    }
    let first = text.chars().find(char::is_ascii_alphabetic);
    for (at, character) in text.char_indices().filter(|(_, c)| c.is_ascii_alphabetic()) {
        if first.is_some_and(|first| first.is_ascii_lowercase() != character.is_ascii_lowercase()) {
            return Some(TextError::MixedCase { at, character });
        }
    }
    if 90 < text.len() {
        return Some(TextError::TooLong { length: text.len(), limit: 90 });
    }
    match text.rfind('1') {
        None | Some(0) => Some(TextError::NoHrp),
        Some(at) => first_stranger(&text.to_ascii_lowercase(), at + 1, BECH32).map(|error| {
            let TextError::InvalidCharacter { at, .. } = error else { unreachable!() };
            TextError::InvalidCharacter { at, character: char::from(text.as_bytes()[at]) }
        }),
    }
}

fn check_bech32(text: &str) -> Result<(), TestCaseError> {
    let result = ours::decode(text);
    if let Some(error) = first_bech32_error(text) {
        prop_assert_eq!(&result, &Err(error), "{}", text);
    } else {
        use TextError::{Checksum, TooShort};
        prop_assert!(matches!(result, Ok(_) | Err(Checksum | TooShort)), "{} {:?}", text, result);
    }
    let theirs = [
        (Variant::Bech32, their_parts::<Bech32>(text)),
        (Variant::Bech32m, their_parts::<Bech32m>(text)),
    ];
    // They read up to 1,023 characters, of which the checksum finds less.
    let theirs = theirs.into_iter().filter(|_| text.len() <= 90);
    let mut theirs = theirs.filter_map(|(variant, parts)| parts.map(|(hrp, v)| (hrp, v, variant)));
    prop_assert_eq!(result.ok(), theirs.next_back(), "{}", text);
    let theirs = bech32::segwit::decode(text).ok();
    for hrp in ["bc", "tb", "bcrt"] {
        // They give the human-readable part, of which ours is told.
        let theirs = theirs.as_ref().filter(|theirs| theirs.0.to_lowercase() == hrp);
        let theirs = theirs.map(|(_, version, program)| (version.to_u8(), program.clone()));
        prop_assert_eq!(ours::decode_segwit(hrp, text).ok(), theirs, "{}", text);
    }
    Ok(())
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn hex_is_written_and_read_digit_by_digit(bytes in bytes(), damage in damage()) {
        let text = hex::encode(&bytes);
        let naive: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        prop_assert_eq!(&text, &naive);
        prop_assert_eq!(hex::decode(&text), Ok(bytes));
        let damaged = apply(&text, &damage);
        for text in [&damaged, &damaged.to_ascii_uppercase()] {
            let result = hex::decode(text);
            let pairs = text.as_bytes().chunks(2).map(|pair| {
                let is_pair = pair.len() == 2 && pair.iter().all(u8::is_ascii_hexdigit);
                let pair = std::str::from_utf8(pair).ok().filter(|_| is_pair)?;
                u8::from_str_radix(pair, 16).ok()
            });
            let naive: Option<Vec<u8>> = pairs.collect();
            prop_assert_eq!(result.as_ref().ok(), naive.as_ref());
            let odd = (text.len() % 2 == 1).then_some(TextError::OddLength { length: text.len() });
            prop_assert_eq!(result.err(), first_stranger(text, 0, HEX).or(odd), "{}", text);
        }
    }

    #[test]
    fn hex_in_buffers_is_as_in_strings(bytes in bytes(), damage in damage(), size in 0..300usize) {
        let mut letters = vec![0; 2 * bytes.len()];
        prop_assert_eq!(hex::encode_to_slice(&bytes, &mut letters), Ok(()));
        let text = String::from_utf8(letters).unwrap();
        prop_assert_eq!(&text, &hex::encode(&bytes));
        let text = apply(&text, &damage);
        let mut buffer = vec![0; text.len() / 2];
        match (hex::decode(&text), hex::decode_to_slice(&text, &mut buffer)) {
            (Err(TextError::OddLength { .. }), result) => {
                let error = TextError::WrongLength { length: text.len(), expected: text.len() - 1 };
                prop_assert_eq!(result, Err(error));
            }
            (result, _) if text.len() % 2 == 1 => prop_assert!(result.is_err()),
            (whole, into) => {
                prop_assert_eq!(whole.as_ref().err(), into.as_ref().err());
                prop_assert!(whole.is_err() || whole.as_ref() == Ok(&buffer));
            }
        }
        if size != bytes.len() {
            let mut buffer = vec![0; size];
            let error = |length, expected| Err(TextError::WrongLength { length, expected });
            let text = hex::encode(&bytes);
            let result = hex::decode_to_slice(&text, &mut buffer);
            prop_assert_eq!(result, error(text.len(), 2 * size));
            let result = hex::encode_to_slice(&bytes, &mut buffer);
            prop_assert!(size == 2 * bytes.len() || result == error(size, text.len()));
        }
    }

    #[test]
    fn base58_is_written_and_read_as_bs58_does(bytes in bytes(), damage in damage()) {
        let text = base58::encode(&bytes);
        prop_assert_eq!(&text, &bs58::encode(&bytes).into_string());
        prop_assert_eq!(base58::decode(&text), Ok(bytes));
        let text = apply(&text, &damage);
        let result = base58::decode(&text);
        // They do not skip white space around, which Core does.
        let inner = text.trim_matches(is_space);
        prop_assert_eq!(result.clone().ok(), bs58::decode(inner).into_vec().ok());
        let start = text.find(|c| !is_space(c)).unwrap_or_default();
        let end = text.trim_end_matches(is_space);
        prop_assert_eq!(result.err(), first_stranger(end, start, BASE58), "{:?}", text);
    }

    #[test]
    fn base58check_is_written_and_read_as_bs58_does(bytes in bytes(), damage in damage()) {
        let text = base58::encode_check(&bytes);
        prop_assert_eq!(&text, &bs58::encode(&bytes).with_check().into_string());
        prop_assert_eq!(base58::decode_check(&text), Ok(bytes));
        let text = apply(&text, &damage);
        let result = base58::decode_check(&text);
        let theirs = bs58::decode(text.trim_matches(is_space)).with_check(None).into_vec();
        prop_assert_eq!(result.as_ref().ok(), theirs.as_ref().ok());
        if let Err(error) = base58::decode(&text) {
            prop_assert_eq!(result, Err(error));
        }
    }

    #[test]
    fn base58_with_any_characters_of_its_alphabet(text in "[1-9A-HJ-NP-Za-km-z]{0,200}") {
        let bytes = base58::decode(&text).unwrap();
        prop_assert_eq!(base58::encode(&bytes), &text[..]);
        prop_assert_eq!(bs58::decode(&text).into_vec(), Ok(bytes));
        let theirs = bs58::decode(&text).with_check(None).into_vec();
        prop_assert_eq!(base58::decode_check(&text).ok(), theirs.ok());
    }

    #[test]
    fn private_keys_come_back(
        prefix: u8,
        key: [u8; 32],
        is_compressed: bool,
        other: u8,
        damage in damage(),
    ) {
        // Keys as large as the order, or zero, are too rare to be drawn.
        let text = wif::encode(prefix, &key, is_compressed).unwrap();
        prop_assert_eq!(wif::decode(prefix, &text), Ok((key, is_compressed)));
        if other != prefix {
            let error = Err(TextError::WrongPrefix { prefix });
            prop_assert_eq!(wif::decode(other, &text), error);
        }
        let damaged = apply(&text, &damage);
        let is_same = damaged.trim_matches(is_space) == text;
        prop_assert_eq!(wif::decode(prefix, &damaged).is_ok(), is_same, "{}", damaged);
    }

    #[test]
    fn bech32_is_written_and_read_as_bech32_does(
        hrp in hrp(),
        values in vec(0..32u8, 0..84),
        variant in variant(),
        is_upper: bool,
        damage in damage(),
    ) {
        let length = hrp.len() + 7 + values.len();
        let result = ours::encode(&hrp, &values, variant);
        if 90 < length {
            prop_assert_eq!(result, Err(TextError::TooLong { length, limit: 90 }));
            return Ok(());
        }
        let text = result.unwrap();
        prop_assert_eq!(&text, &match variant {
            Variant::Bech32 => their_text::<Bech32>(&hrp, &values),
            Variant::Bech32m => their_text::<Bech32m>(&hrp, &values),
        });
        prop_assert_eq!(ours::decode(&text), Ok((hrp.clone(), values, variant)));
        let text = if is_upper { text.to_ascii_uppercase() } else { text };
        check_bech32(&text)?;
        check_bech32(&apply(&text, &damage))?;
    }

    #[test]
    fn segwit_addresses_are_written_and_read_as_bech32_does(
        hrp in select(vec!["bc", "tb", "bcrt"]),
        version in prop_oneof![0..2u8, 0..19u8],
        program in select(vec![0, 1, 2, 19, 20, 21, 31, 32, 33, 39, 40, 41])
            .prop_flat_map(|size: usize| vec(any::<u8>(), size)),
        damage in damage(),
    ) {
        let result = ours::encode_segwit(hrp, version, &program);
        let theirs = Fe32::try_from(version).ok().and_then(|version| {
            bech32::segwit::encode(Hrp::parse(hrp).unwrap(), version, &program).ok()
        });
        prop_assert_eq!(result.as_ref().ok(), theirs.as_ref());
        let Ok(text) = result else { return Ok(()) };
        prop_assert_eq!(ours::decode_segwit(hrp, &text), Ok((version, program)));
        check_bech32(&text)?;
        check_bech32(&apply(&text, &damage))?;
    }

    #[test]
    fn any_values_with_a_right_checksum_are_an_address_where_they_are_theirs(
        hrp in select(vec!["bc", "tb", "bcrt"]),
        version in prop_oneof![0..2u8, 0..32u8],
        values in select(vec![0, 1, 2, 3, 4, 5, 31, 32, 33, 51, 52, 53, 63, 64, 65])
            .prop_flat_map(|size: usize| vec(0..32u8, size)),
        padding in 0..6u8,
        variant in variant(),
    ) {
        let mut values = values;
        if let Some(last) = values.last_mut() {
            *last = *last >> padding << padding;
        }
        let values = [&[version][..], &values].concat();
        check_bech32(&ours::encode(hrp, &values, variant).unwrap())?;
    }

    #[test]
    fn any_text_is_read_or_refused(text: String, spare in "\\PC*1[ -~]{0,90}") {
        for text in [&text, &spare] {
            check_bech32(text)?;
            prop_assert_eq!(hex::decode(text).err().is_none(), first_stranger(text, 0, HEX).is_none() && text.len() % 2 == 0);
            let inner = text.trim_matches(is_space);
            prop_assert_eq!(base58::decode(text).ok(), bs58::decode(inner).into_vec().ok());
        }
    }
}
