//! An index of 1,000,000 entries.

#![allow(clippy::print_stdout, reason = "says what was measured or left out")]

use std::fs;
use std::io::{BufWriter, Write};

use caesure_blockstore::BlockStore;

use crate::support::*;

/// Writes an index by the table in docs/block-file.md, whose records of 100 bytes lie in a file that
/// is sparse but for the places that opening looks at.
#[test]
fn an_index_of_1_000_000_entries_is_opened() {
    const COUNT: usize = 1_000_000;
    let dir = tempfile::tempdir().unwrap();
    let block = TestBlock::mine(Default::default(), 1, 10);
    let record_size = 8 + block.raw.len();
    let mut index = BufWriter::new(fs::File::create(blocks_idx(&dir)).unwrap());
    let mut header = [&b"caes.idx"[..], &1_u32.to_le_bytes(), &REGTEST].concat();
    header.extend(crc32fast::hash(&header).to_le_bytes());
    index.write_all(&header).unwrap();
    let blocks = fs::File::create(blocks_bin(&dir)).unwrap();
    blocks.set_len((COUNT * record_size) as u64).unwrap();
    let samples = (0..COUNT).step_by(COUNT / 8).chain([COUNT - 1]).collect::<Vec<_>>();
    for i in 0..COUNT {
        let is_sample = samples.binary_search(&i).is_ok();
        let tag = if is_sample { u32::try_from(i).unwrap() } else { 0 };
        let sample = is_sample.then(|| TestBlock::mine(Default::default(), tag, 10));
        let mut hash = caesure_hash::sha256(&i.to_le_bytes());
        let mut raw_header = [0; 80];
        let mut checksum = 0;
        if let Some(sample) = &sample {
            assert_eq!(sample.raw.len(), block.raw.len());
            let at = (i * record_size) as u64;
            std::os::unix::fs::FileExt::write_all_at(&blocks, &sample.record(REGTEST), at).unwrap();
            hash = sample.hash.0;
            raw_header.copy_from_slice(&sample.raw[..80]);
            checksum = crc32fast::hash(&sample.raw);
        }
        let mut entry = [&raw_header[..], &hash].concat();
        entry.extend(((i * record_size) as u64).to_le_bytes());
        entry.extend(u32::try_from(block.raw.len()).unwrap().to_le_bytes());
        entry.extend(checksum.to_le_bytes());
        entry.extend(crc32fast::hash(&entry).to_le_bytes());
        index.write_all(&entry).unwrap();
    }
    index.flush().unwrap();
    let start = cpu_seconds();
    let (store, report) = BlockStore::open(dir.path(), REGTEST).unwrap();
    println!("opened {COUNT} entries in {:.3} s of CPU", cpu_seconds() - start);
    assert_eq!((store.len(), report.scanned_bytes), (COUNT, 0));
    assert!(store.verify(&TestBlock::mine(Default::default(), 999_999, 10).hash).is_ok());
    let start = cpu_seconds();
    assert_eq!(store.entries().filter(|entry| entry.is_ok()).count(), COUNT);
    println!("iterated over their headers in {:.3} s of CPU", cpu_seconds() - start);
    drop(store);
    let start = cpu_seconds();
    assert_eq!(BlockStore::open_read_only(dir.path(), REGTEST).unwrap().len(), COUNT);
    println!("opened them for reading in {:.3} s of CPU", cpu_seconds() - start);
}

/// The processor time of this process so far, where the system tells it in `/proc`.
fn cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect::<Vec<_>>();
    let ticks = |i: usize| fields.get(i).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}
