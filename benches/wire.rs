//! Blocks from bytes, beside the crates that others use.

#![allow(missing_docs, reason = "criterion's macros make public items")]

use std::hint::black_box;
use std::ops::ControlFlow;

use bitcoin::hashes::Hash;
use bitcoin_slices::{Visit, Visitor, bsl};
use caesure_benches::{block, compare};
use caesure_wire::{Block, Part, visit_block};
use cpu_time::ProcessTime;
use criterion::{Criterion, criterion_group, criterion_main};

/// What the walks that are compared find out, so that neither can leave it out.
#[derive(Debug, Default, PartialEq)]
struct Counts {
    txs: usize,
    inputs: usize,
    outputs: usize,
}

impl Visitor for Counts {
    fn visit_transaction(&mut self, _: &bsl::Transaction<'_>) -> ControlFlow<()> {
        self.txs += 1;
        ControlFlow::Continue(())
    }

    fn visit_tx_in(&mut self, _: usize, _: &bsl::TxIn<'_>) -> ControlFlow<()> {
        self.inputs += 1;
        ControlFlow::Continue(())
    }

    fn visit_tx_out(&mut self, _: usize, _: &bsl::TxOut<'_>) -> ControlFlow<()> {
        self.outputs += 1;
        ControlFlow::Continue(())
    }
}

fn parse(bytes: &[u8]) -> Counts {
    let block = Block::parse(black_box(bytes)).expect("it is a block");
    Counts { txs: block.tx_count(), inputs: block.input_count(), outputs: block.output_count() }
}

fn visit(bytes: &[u8]) -> Counts {
    let mut counts = Counts::default();
    let count = |part: Part<'_>| match part {
        Part::Input(_) => counts.inputs += 1,
        Part::Output(_) => counts.outputs += 1,
        Part::Tx(_) => counts.txs += 1,
        Part::Witness(_) => {}
    };
    visit_block(black_box(bytes), count).expect("it is a block");
    counts
}

fn visit_slices(bytes: &[u8]) -> Counts {
    let mut counts = Counts::default();
    bsl::Block::visit(black_box(bytes), &mut counts).expect("it is a block");
    counts
}

fn deserialize(bytes: &[u8]) -> bitcoin::Block {
    bitcoin::consensus::deserialize(black_box(bytes)).expect("it is a block")
}

fn walk(criterion: &mut Criterion) {
    let (name, bytes) = block();
    assert_eq!(parse(&bytes), visit(&bytes));
    assert_eq!(parse(&bytes), visit_slices(&bytes));
    assert_eq!(parse(&bytes).txs, deserialize(&bytes).txdata.len());
    let title = format!("walk of block {name} with an arena");
    compare(criterion, &title, 8.0, || parse(&bytes), ("bitcoin", || deserialize(&bytes)));
    let title = format!("walk of block {name} with an arena, beside a visit");
    compare(criterion, &title, 1.0, || parse(&bytes), ("bitcoin_slices", || visit_slices(&bytes)));
    let title = format!("visit of block {name}");
    compare(criterion, &title, 1.0, || visit(&bytes), ("bitcoin_slices", || visit_slices(&bytes)));
}

fn hashes(criterion: &mut Criterion) {
    let (name, bytes) = block();
    let ours = || {
        let block = Block::parse(black_box(&bytes[..])).expect("it is a block");
        block.txids()
    };
    let theirs = || {
        let block = deserialize(&bytes);
        block.txdata.iter().map(bitcoin::Transaction::compute_txid).collect::<Vec<_>>()
    };
    assert!(ours().iter().map(|txid| txid.0).eq(theirs().iter().map(|txid| txid.to_byte_array())));
    let title = format!("walk of block {name} with all txids");
    compare(criterion, &title, 2.0, ours, ("bitcoin", theirs));

    let (block, rival) = (Block::parse(&bytes[..]).expect("it is a block"), deserialize(&bytes));
    let ours = || black_box(&block).merkle_root().0.0;
    let theirs = || black_box(&rival).compute_merkle_root().expect("it has one").to_byte_array();
    assert_eq!(ours(), theirs());
    let title = format!("merkle root of block {name} from its transactions");
    compare(criterion, &title, 2.0, ours, ("bitcoin", theirs));
}

/// Each call walks the next of so many copies that the CPU's caches hold none of it any more.
fn cold(criterion: &mut Criterion) {
    let (name, bytes) = block();
    let count = (512 << 20) / bytes.len();
    let buffer = bytes.repeat(count);
    let copies: Vec<&[u8]> = buffer.chunks_exact(bytes.len()).collect();
    for (way, ours) in [("walk with an arena", parse as fn(&[u8]) -> Counts), ("visit", visit)] {
        let mut next = copies.iter().cycle();
        let mut next_slices = copies.iter().cycle();
        let ours = || ours(next.next().expect("a cycle has no end"));
        let theirs = || visit_slices(next_slices.next().expect("a cycle has no end"));
        let title = format!("{way}, {count} copies of block {name} in turn, beside a visit");
        compare(criterion, &title, 1.0, ours, ("bitcoin_slices", theirs));
    }
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let ways = [("walk with an arena", parse as fn(&[u8]) -> Counts), ("visit", visit)];
    for (way, walk) in ways.into_iter().chain([("bitcoin_slices' visit", visit_slices as _)]) {
        let start = ProcessTime::now();
        for copy in &copies {
            black_box(walk(copy));
        }
        let gigabytes = f64::from(u32::try_from(buffer.len()).expect("it has 512 MiB")) / 1e9;
        let speed = gigabytes / start.elapsed().as_secs_f64();
        eprintln!("{way} of {count} copies of block {name}: {speed:.1} GB a second");
    }
}

criterion_group!(benches, walk, hashes, cold);
criterion_main!(benches);
