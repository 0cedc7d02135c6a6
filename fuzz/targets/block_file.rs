#![cfg_attr(fuzzing, no_main)]
//! Any bytes are a block file: records come in order, lie inside it, and all bytes are accounted for.
//! A scan gives the same blocks on one thread and on two, in order and not; a follower of the growing
//! file tells each sound block once.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Cursor, Write};
use std::ops::ControlFlow;
use std::path::Path;

use caesure_blockstore::{Follow, FollowOptions, Order, RecordReader, ScanOptions, scan};
use caesure_fuzz::new_block;
use caesure_wire::{BlockHash, Header};
use libfuzzer_sys::fuzz_target;

const REGTEST: [u8; 4] = [0xfa, 0xbf, 0xb5, 0xda];

fuzz_target!(|data: &[u8]| {
    let made = with_blocks(data);
    let data = if data.first().is_some_and(|byte| *byte < 128) { &made[..] } else { data };
    let hashes = read(data);
    let dir = tempfile::tempdir().expect("a folder for the test");
    let path = dir.path().join("bootstrap.dat");
    fs::write(&path, data).expect("the disk takes it");
    for threads in [1, 2] {
        for order in [Order::Any, Order::File, Order::Height] {
            scan_file(&path, ScanOptions { threads, order, ..ScanOptions::default() }, &hashes);
        }
    }
    follow(&path, data, &hashes);
});

/// Puts whole blocks, a chain of them, in place of some bytes.
fn with_blocks(data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut prev_block = BlockHash::ZERO;
    for pair in data.chunks(2) {
        let (mut raw, mut header) = new_block(*pair.last().expect("a chunk is not empty"));
        header.prev_block = prev_block;
        while 0x7f <= header.hash().0[31] {
            header.nonce = header.nonce.wrapping_add(1);
        }
        raw[..Header::SIZE].copy_from_slice(&header.to_bytes());
        let size = u32::try_from(raw.len()).expect("a small block").to_le_bytes();
        match pair[0] % 8 {
            kind @ 0..4 => {
                bytes.extend([&REGTEST, &size[..], &raw].concat());
                prev_block = if kind == 0 { prev_block } else { header.hash() };
            }
            4 => bytes.extend(&[&REGTEST, &size[..], &raw].concat()[..70]),
            5 => bytes.resize(bytes.len() + usize::from(pair[0]), 0),
            6 => prev_block = header.hash(),
            _ => bytes.extend(pair),
        }
    }
    bytes
}

/// Reads all records as a stream and returns their blocks' hashes.
fn read(data: &[u8]) -> BTreeSet<[u8; 32]> {
    let mut reader = RecordReader::stream(Path::new("fuzz"), REGTEST, Cursor::new(data.to_vec()));
    let (mut end, mut count, mut bytes) = (0, 0, 0);
    let mut hashes = BTreeSet::new();
    for record in reader.by_ref() {
        let record = record.expect("memory can be read");
        let start = usize::try_from(record.position).expect("a position in memory");
        assert!(end <= start);
        assert!(data[start + 8..].starts_with(record.bytes.as_ref()));
        end = start + 8 + record.bytes.as_ref().len();
        count += 1;
        bytes += end - start;
        let header = record.bytes.as_ref().first_chunk().expect("a block has a header");
        hashes.insert(Header::from_bytes(header).hash().0);
    }
    let counts = reader.counts();
    assert_eq!(counts.records, count);
    let outside = counts.torn_bytes + counts.zero_bytes + counts.skipped_bytes;
    if counts.foreign == 0 {
        assert_eq!(outside + bytes as u64, data.len() as u64);
    }
    assert_eq!(reader.finish().is_ok(), 0 < count);
    hashes
}

/// Checks that a scan gives each of the blocks once.
fn scan_file(path: &Path, options: ScanOptions, hashes: &BTreeSet<[u8; 32]>) {
    let input = RecordReader::open(path, REGTEST).expect("it was written");
    let mut found = Vec::new();
    let mut heights = Vec::new();
    let report = scan(
        input,
        &options,
        |block| (block.hash.0, block.height),
        |(hash, height)| {
            found.push(hash);
            heights.push(height.unwrap_or(u32::MAX));
            ControlFlow::Continue(())
        },
    );
    match report {
        Ok(report) => assert_eq!(report.blocks + report.duplicates, report.counts.records),
        Err(_) => assert!(hashes.is_empty()),
    }
    assert_eq!(found.len(), hashes.len());
    assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), *hashes);
    assert!(options.order != Order::Height || heights.is_sorted());
}

/// Checks that a follower tells only blocks of the file, each once, however the file grows.
fn follow(path: &Path, data: &[u8], hashes: &BTreeSet<[u8; 32]>) {
    let mut told = BTreeSet::new();
    let mut file = fs::File::create(path).expect("the disk takes it");
    let mut options = FollowOptions::default();
    let mut follow = Follow::open(path, REGTEST, &options).expect("it was written");
    let pieces = 1 + data.len() / 7;
    for (number, piece) in data.chunks(pieces).enumerate() {
        file.write_all(piece).expect("the disk takes it");
        // An error stands for another network's file.
        while let Ok(Some(block)) = follow.poll() {
            assert!(told.insert(block.hash.0), "told once");
        }
        if number % 3 == 2 {
            options.from = follow.position();
            follow = Follow::open(path, REGTEST, &options).expect("it was written");
        }
    }
    let mut whole = Follow::open(path, REGTEST, &FollowOptions::default()).expect("it was written");
    let mut at_once = BTreeSet::new();
    while let Ok(Some(block)) = whole.poll() {
        at_once.insert(block.hash.0);
    }
    assert!(at_once.is_subset(hashes));
    assert!(at_once.is_subset(&told), "none is missed");
}

#[cfg(not(fuzzing))]
fn main() {}
