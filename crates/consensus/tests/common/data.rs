//! Where test data comes from.
#![allow(unused_imports, reason = "each test program uses a part")]

#[path = "../../../text/tests/support/core_text.rs"]
mod core_text;
#[path = "../../../script/tests/data/outside.rs"]
mod outside;

pub(crate) use outside::{folder, outside};
use serde_json::Value;

/// Reads a file of Core's test data.
pub(crate) fn core_json(name: &str) -> Value {
    serde_json::from_str(&core_text::core_text(&format!("data/{name}"))).expect("it is JSON")
}

/// Reads a file of outside data as JSON.
pub(crate) fn outside_json(path: &str, left_out: &str) -> Option<Value> {
    outside(path, left_out).map(|bytes| serde_json::from_slice(&bytes).expect(path))
}

/// Reads hexadecimal digits, with or without `0x` before them.
pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digits = text.trim_start_matches("0x").as_bytes();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}
