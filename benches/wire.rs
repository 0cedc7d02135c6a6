//! Blocks from bytes, beside the crates that others use.

#![allow(missing_docs, reason = "criterion's macros make public items")]

use std::hint::black_box;

use caesure_benches::{block, compare};
use caesure_wire::Block;
use criterion::{Criterion, criterion_group, criterion_main};

fn walk(criterion: &mut Criterion) {
    let (name, bytes) = block();
    let ours = || Block::parse(black_box(&bytes[..])).expect("it is a block").tx_count();
    let theirs = || {
        let block: bitcoin::Block =
            bitcoin::consensus::deserialize(black_box(&bytes)).expect("it is a block");
        block.txdata.len()
    };
    compare(criterion, &format!("walk of block {name}"), 8.0, ours, ("bitcoin", theirs));
}

criterion_group!(benches, walk);
criterion_main!(benches);
