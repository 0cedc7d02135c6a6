//! Hexadecimal, Base58 and Bech32, beside the crates that others use.

#![allow(missing_docs, reason = "criterion's macros make public items")]

use std::hint::black_box;

use caesure_benches::compare;
use caesure_text::hex;
use criterion::{Criterion, criterion_group, criterion_main};

fn hexadecimal(criterion: &mut Criterion) {
    let bytes: Vec<u8> = (0..=255).cycle().take(1 << 20).collect();
    let ours = || hex::encode(black_box(&bytes));
    let theirs = || const_hex::encode(black_box(&bytes));
    compare(criterion, "hex encode, 1 MiB", 0.95, ours, ("const-hex", theirs));
}

criterion_group!(benches, hexadecimal);
criterion_main!(benches);
