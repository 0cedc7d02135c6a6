#![cfg_attr(fuzzing, no_main)]
//! What is written is read again, and what is read is written again, in every text format.

use caesure_text::{base58, bech32, hex};
use caesure_wire::Txid;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    assert_eq!(hex::decode(&hex::encode(data)).as_deref(), Ok(data));
    if data.len() < 512 {
        assert_eq!(base58::decode(&base58::encode(data)).as_deref(), Ok(data));
        assert_eq!(base58::decode_check(&base58::encode_check(data)).as_deref(), Ok(data));
    }
    if let [version, program @ ..] = data
        && let Ok(text) = bech32::encode_segwit("bcrt", *version, program)
    {
        assert_eq!(bech32::decode_segwit("bcrt", &text), Ok((*version, program.to_vec())));
        assert_eq!(
            bech32::decode_segwit("bcrt", &text.to_uppercase()),
            bech32::decode_segwit("bcrt", &text)
        );
    }
    let Ok(text) = str::from_utf8(data) else { return };
    if let Ok(bytes) = hex::decode(text) {
        assert_eq!(hex::encode(&bytes), text.to_ascii_lowercase());
    }
    if let Ok(bytes) = base58::decode(text) {
        assert_eq!(base58::encode(&bytes), text.trim_matches(|c| matches!(c, ' ' | '\t'..='\r')));
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
});

#[cfg(not(fuzzing))]
fn main() {}
