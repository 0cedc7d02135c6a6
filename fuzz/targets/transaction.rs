#![cfg_attr(fuzzing, no_main)]
//! Any bytes are a transaction that encodes to the same bytes, or an error that names a byte.

use caesure_wire::{DecodeError, Tx};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| match Tx::parse(data) {
    Ok(tx) => caesure_fuzz::check_tx(tx.view()),
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
    }
});

#[cfg(not(fuzzing))]
fn main() {}
