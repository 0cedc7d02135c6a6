//! Scans of a block file, beside `bitcoin_slices`.

#![allow(missing_docs, reason = "criterion's macros make public items")]

use std::hint::black_box;

use caesure_benches::{block, compare};
use caesure_wire::Block;
use criterion::{Criterion, criterion_group, criterion_main};

/// Outputs and their sum.
fn scan(criterion: &mut Criterion) {
    let (_, bytes) = block();
    let ours = || {
        let block = Block::parse(black_box(&bytes[..])).expect("it is a block");
        block.txs().flat_map(|tx| tx.outputs()).map(|output| output.value).sum::<i64>()
    };
    compare(criterion, "scan of a block", 1.0, ours, ("itself", ours));
}

criterion_group!(benches, scan);
criterion_main!(benches);
