#![cfg_attr(fuzzing, no_main)]
//! Any bytes are a transaction that encodes to the same bytes, or an error that names a byte; any text
//! is an outpoint that prints as the same text, or an error.

use caesure_wire::{DecodeError, OutPoint, Transaction, Tx};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    check_bytes(data);
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(outpoint) = text.parse::<OutPoint>()
    {
        assert_eq!(outpoint.to_string(), text.to_ascii_lowercase());
    }
});

fn check_bytes(data: &[u8]) {
    let decoded = Transaction::decode(data);
    match Tx::parse(data) {
        Ok(tx) => {
            assert_eq!(decoded, Ok(tx.view().to_owned()));
            caesure_fuzz::check_tx(tx.view());
        }
        Err(error) => {
            let at = match error {
                DecodeError::UnexpectedEnd { at }
                | DecodeError::NonCanonicalSize { at }
                | DecodeError::OversizedSize { at, .. }
                | DecodeError::SuperfluousWitness { at }
                | DecodeError::UnknownFlag { at, .. }
                | DecodeError::TrailingBytes { at } => at,
                _ => 0,
            };
            assert!(at <= data.len(), "{error}");
            assert_eq!(decoded, Err(error));
        }
    }
}

#[cfg(not(fuzzing))]
fn main() {}
