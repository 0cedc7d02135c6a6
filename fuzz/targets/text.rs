#![cfg_attr(fuzzing, no_main)]
//! What is written is read again, and what is read is written again, in every text format.

use caesure_text::bech32::{self, Variant};
use caesure_text::{base58, hex, wif};
use caesure_wire::Txid;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    of_bytes(data);
    let Ok(text) = str::from_utf8(data) else { return };
    of_text(text);
    let (start, end) = text.split_at(text.floor_char_boundary(text.len() / 2));
    if let Ok((version, program)) = bech32::decode_segwit(start, end) {
        let address = bech32::encode_segwit(start, version, &program);
        assert_eq!(address, Ok(end.to_ascii_lowercase()));
    }
    for variant in [Variant::Bech32, Variant::Bech32m] {
        if let Ok(text) = bech32::encode(start, end.as_bytes(), variant) {
            assert_eq!(bech32::decode(&text), Ok((start.into(), end.into(), variant)));
        }
    }
});

fn of_bytes(data: &[u8]) {
    let text = hex::encode(data);
    assert_eq!(hex::decode(&text).as_deref(), Ok(data));
    let mut letters = vec![0; text.len()];
    assert_eq!(hex::encode_to_slice(data, &mut letters), Ok(()));
    assert_eq!(letters, text.as_bytes());
    assert_eq!(hex::decode_to_slice(&text, &mut letters[..data.len()]), Ok(()));
    assert_eq!(letters[..data.len()], *data);
    assert!(hex::decode_to_slice(&text, &mut [0; 777]).is_err() || data.len() == 777);
    if data.len() < 512 {
        assert_eq!(base58::decode(&base58::encode(data)).as_deref(), Ok(data));
        assert_eq!(base58::decode_check(&base58::encode_check(data)).as_deref(), Ok(data));
    }
    let Some((&version, program)) = data.split_first() else { return };
    if let Ok(text) = bech32::encode_segwit("bcrt", version, program) {
        assert_eq!(bech32::decode_segwit("bcrt", &text), Ok((version, program.to_vec())));
        assert_eq!(
            bech32::decode_segwit("bcrt", &text.to_uppercase()),
            bech32::decode_segwit("bcrt", &text)
        );
    }
    if let Ok(key) = program.try_into()
        && let Ok(text) = wif::encode(version, key, data[1] & 1 == 1)
    {
        assert_eq!(wif::decode(version, &text), Ok((*key, data[1] & 1 == 1)));
    }
    if let Ok((key, is_compressed)) = wif::decode(version, &base58::encode_check(data)) {
        assert_eq!(wif::encode(version, &key, is_compressed), Ok(base58::encode_check(data)));
    }
    let values: Vec<u8> = data.iter().map(|byte| byte & 31).collect();
    if let Ok(text) = bech32::encode("tb", &values, Variant::of_version(version)) {
        // Whatever the values, an address or an error.
        _ = bech32::decode_segwit("tb", &text);
    }
}

fn of_text(text: &str) {
    if let Ok(bytes) = hex::decode(text) {
        assert_eq!(hex::encode(&bytes), text.to_ascii_lowercase());
    }
    if let Ok(bytes) = base58::decode(text) {
        assert_eq!(base58::encode(&bytes), text.trim_matches(|c| matches!(c, ' ' | '\t'..='\r')));
    }
    if let Ok(bytes) = base58::decode_check(text) {
        assert_eq!(base58::decode_check(&base58::encode_check(&bytes)), Ok(bytes));
    }
    for prefix in [wif::MAIN_PREFIX, wif::TEST_PREFIX] {
        _ = wif::decode(prefix, text);
    }
    if let Ok((hrp, values, variant)) = bech32::decode(text) {
        assert_eq!(bech32::encode(&hrp, &values, variant), Ok(text.to_ascii_lowercase()));
    }
    if let Ok((version, program)) = bech32::decode_segwit("bc", text) {
        assert_eq!(bech32::encode_segwit("bc", version, &program), Ok(text.to_ascii_lowercase()));
    }
    if let Ok(hash) = text.parse::<Txid>() {
        assert_eq!(hash.to_string(), text.to_ascii_lowercase());
    }
}

#[cfg(not(fuzzing))]
fn main() {}
