//! Scans of a block file of 1 GB, beside `bitcoin_slices`. The file is in the page cache.

#![allow(missing_docs, reason = "criterion's macros make public items")]

use std::fs::File;
use std::io::{BufWriter, Write};
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::Path;

use bitcoin_slices::{Visit, Visitor, bsl};
use caesure_benches::{block, compare};
use caesure_blockstore::{Order, RecordReader, ScanOptions, scan};
use caesure_wire::{BlockHash, Header, Part, visit_block};
use criterion::{Criterion, criterion_group, criterion_main};
use memmap2::Mmap;

const REGTEST: [u8; 4] = [0xfa, 0xbf, 0xb5, 0xda];
const FILE_SIZE: usize = 1_000_000_000;

/// Transactions, outputs, and the sum of their values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sums {
    txs: u64,
    outputs: u64,
    value: u64,
}

impl Sums {
    fn add(&mut self, other: Self) {
        self.txs += other.txs;
        self.outputs += other.outputs;
        self.value += other.value;
    }
}

impl Visitor for Sums {
    fn visit_block_begin(&mut self, total_transactions: usize) {
        self.txs += total_transactions as u64;
    }

    fn visit_tx_out(&mut self, _vout: usize, tx_out: &bsl::TxOut<'_>) -> ControlFlow<()> {
        self.outputs += 1;
        self.value += tx_out.value();
        ControlFlow::Continue(())
    }
}

/// Writes the block again and again, each time on the one before, with a proof of work of regtest.
fn write_file(path: &Path) {
    let (_, mut bytes) = block();
    let mut file = BufWriter::new(File::create(path).expect("the disk takes a file"));
    let mut header = Header::from_bytes(bytes.first_chunk().expect("a block has a header"));
    (header.bits, header.prev_block) = (0x207f_ffff, BlockHash::ZERO);
    let size = u32::try_from(bytes.len()).expect("a block is small").to_le_bytes();
    for _ in 0..FILE_SIZE / bytes.len() {
        while 0x7f <= header.hash().0[31] {
            header.nonce += 1;
        }
        bytes[..Header::SIZE].copy_from_slice(&header.to_bytes());
        for part in [&REGTEST[..], &size, &bytes] {
            file.write_all(part).expect("the disk takes 1 GB");
        }
        header.prev_block = header.hash();
    }
    file.flush().expect("the disk takes 1 GB");
}

fn ours(path: &Path, threads: usize, order: Order) -> Sums {
    let input = RecordReader::open(path, REGTEST).expect("it was written");
    let options = ScanOptions { threads, order, ..ScanOptions::default() };
    let mut total = Sums::default();
    let count = |bytes: &[u8]| {
        let mut sums = Sums::default();
        let visit = |part: Part<'_>| match part {
            Part::Tx(_) => sums.txs += 1,
            Part::Output(output) => {
                sums.outputs += 1;
                sums.value += output.value.unsigned_abs();
            }
            _ => {}
        };
        visit_block(bytes, visit).expect("it is a block");
        sums
    };
    let add = |sums| {
        total.add(sums);
        ControlFlow::Continue(())
    };
    scan(input, &options, |block| count(block.bytes), add).expect("it was written");
    total
}

/// Visits the blocks of a file that is mapped for it.
#[expect(unsafe_code, reason = "mapping a file is unsafe; nothing else has this one open")]
fn mapped_slices(path: &Path) -> Sums {
    let file = File::open(path).expect("it was written");
    // SAFETY: the file is this program's own and not changed while it is mapped.
    let map = unsafe { Mmap::map(&file) }.expect("a file can be mapped");
    let (mut sums, mut rest) = (Sums::default(), &map[..]);
    while let Some((prefix, blocks)) = rest.split_first_chunk::<8>() {
        let size = u32::from_le_bytes([prefix[4], prefix[5], prefix[6], prefix[7]]);
        let (bytes, others) = blocks.split_at(size as usize);
        bsl::Block::visit(bytes, &mut sums).expect("it is a block");
        rest = others;
    }
    sums
}

/// Reads each block into the same buffer and visits it.
fn buffered_slices(path: &Path) -> Sums {
    let file = File::open(path).expect("it was written");
    let (mut sums, mut at, mut buffer) = (Sums::default(), 0, vec![0; 4_000_000]);
    let mut prefix = [0; 8];
    while file.read_exact_at(&mut prefix, at).is_ok() {
        let size = u32::from_le_bytes([prefix[4], prefix[5], prefix[6], prefix[7]]);
        let bytes = &mut buffer[..size as usize];
        file.read_exact_at(bytes, at + 8).expect("a whole record");
        bsl::Block::visit(bytes, &mut sums).expect("it is a block");
        at += 8 + u64::from(size);
    }
    sums
}

fn scans(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a folder for the file");
    let path = dir.path().join("bootstrap.dat");
    write_file(&path);
    let sums = mapped_slices(&path);
    assert_eq!(buffered_slices(&path), sums);
    assert_eq!(ours(&path, 1, Order::File), sums);
    assert_eq!(ours(&path, 2, Order::Height), sums);
    let mut group = |name: &str, goal, threads, order| {
        let ours = || ours(&path, threads, order);
        let mapped = ("bitcoin_slices, the file mapped", || mapped_slices(&path));
        compare(criterion, &format!("{name}, mapped"), goal, ours, mapped);
        let buffered = ("bitcoin_slices, each block read", || buffered_slices(&path));
        compare(criterion, &format!("{name}, read"), goal, ours, buffered);
    };
    group("scan of 1 GB on one thread", 1.0, 1, Order::File);
    group("scan of 1 GB on two threads", 1.0, 2, Order::File);
    group("scan of 1 GB on two threads by height", 1.0, 2, Order::Height);
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10);
    targets = scans
}
criterion_main!(benches);
