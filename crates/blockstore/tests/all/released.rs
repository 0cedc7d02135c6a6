//! Blocks whose bodies were released: headers and places stay.

use std::fs;
use std::ops::ControlFlow;
use std::os::unix::fs::{FileExt, MetadataExt};

use caesure_blockstore::{
    BlockReader, BlockStore, Error, Follow, FollowOptions, RecordReader, ScanOptions, scan,
};
use caesure_wire::BlockHash;
use tempfile::TempDir;

use crate::support::*;

/// Blocks of 30 kB, but for the first two.
fn blocks() -> Vec<TestBlock> {
    let mut parent = BlockHash::ZERO;
    let mine = |tag| {
        let block = TestBlock::mine(parent, tag, if tag < 2 { 10 } else { 30_000 });
        parent = block.hash;
        block
    };
    (0..12).map(mine).collect()
}

fn hashes(blocks: &[TestBlock]) -> Vec<BlockHash> {
    blocks.iter().map(|block| block.hash).collect()
}

/// Checks that the first `count` blocks are released, and the others whole.
fn check(reader: &BlockReader, blocks: &[TestBlock], count: usize) {
    let entries: Vec<_> = reader.entries().map(Result::unwrap).collect();
    assert_eq!(entries.len(), blocks.len());
    let mut position = 0;
    for (number, (block, entry)) in blocks.iter().zip(entries).enumerate() {
        let is_released = number < count;
        assert_eq!((entry.hash, entry.header.hash()), (block.hash, block.hash));
        assert_eq!((entry.position, entry.is_released), (position, is_released));
        position = entry.end();
        assert_eq!(reader.contains(&block.hash), !is_released);
        assert_eq!(reader.is_released(&block.hash), is_released);
        // Blocks of tests have one transaction; that is known of those that are gone too.
        assert_eq!(reader.tx_count(&block.hash).unwrap(), Some(1));
        match reader.verify(&block.hash) {
            Ok(raw) => assert!(!is_released && raw == block.raw),
            Err(Error::Pruned(hash)) => assert!(is_released && hash == block.hash),
            Err(error) => panic!("{error}"),
        }
    }
    let bytes: u64 = reader.bodies().map(|(_, size)| u64::from(size)).sum();
    assert_eq!(reader.body_bytes(), bytes);
    let bodies: Vec<BlockHash> = reader.bodies().map(|(hash, _)| hash).collect();
    assert_eq!(bodies, hashes(&blocks[count..]));
}

fn released(count: usize) -> (TempDir, Vec<TestBlock>) {
    let blocks = blocks();
    let dir = stored(&blocks);
    let (mut store, _) = BlockStore::open(dir.path(), REGTEST).unwrap();
    let bytes = store.release(&hashes(&blocks[..count])).unwrap();
    assert_eq!(bytes, blocks[..count].iter().map(|block| block.raw.len() as u64).sum::<u64>());
    check(&store, &blocks, count);
    (dir, blocks)
}

#[test]
fn a_released_body_leaves_its_header_its_place_and_a_page_and_a_new_index_knows_it() {
    let (dir, blocks) = released(9);
    let len: usize = blocks.iter().map(|block| block.raw.len() + 8).sum();
    let meta = fs::metadata(blocks_bin(&dir)).unwrap();
    assert_eq!(meta.len(), len as u64);
    assert!(meta.blocks() * 512 < (3 * 30_000 + 10 * 4096) as u64 + 8192, "{}", meta.blocks());
    check(&BlockStore::open_read_only(dir.path(), REGTEST).unwrap(), &blocks, 9);
    let (mut store, report) = BlockStore::open(dir.path(), REGTEST).unwrap();
    assert_eq!(report, Default::default());
    check(&store, &blocks, 9);
    assert_eq!(store.release(&hashes(&blocks)).unwrap(), 3 * blocks[11].raw.len() as u64);
    drop(store);
    // The last one is released too: nothing is cut for it, with an index or without.
    let (store, report) = BlockStore::open(dir.path(), REGTEST).unwrap();
    assert_eq!(report, Default::default());
    check(&store, &blocks, 12);
    drop(store);
    fs::remove_file(blocks_idx(&dir)).unwrap();
    check(&BlockStore::open_read_only(dir.path(), REGTEST).unwrap(), &blocks, 12);
    let (store, report) = BlockStore::open(dir.path(), REGTEST).unwrap();
    assert_eq!((report.indexed, report.cut, report.damaged), (12, None, vec![]));
    check(&store, &blocks, 12);
}

#[test]
fn a_reader_that_opened_the_store_before_is_told_that_a_block_was_pruned() {
    let blocks = blocks();
    let dir = stored(&blocks);
    let reader = BlockStore::open_read_only(dir.path(), REGTEST).unwrap();
    let (mut store, _) = BlockStore::open(dir.path(), REGTEST).unwrap();
    store.release(&hashes(&blocks[..5])).unwrap();
    for (number, block) in blocks.iter().enumerate() {
        match reader.read(&block.hash) {
            Ok(raw) => assert!(5 <= number && raw == block.raw),
            Err(error) => {
                assert!(number < 5 && matches!(error, Error::Pruned(_)), "{error}");
                assert!(error.to_string().contains("pruned"));
            }
        }
    }
}

#[test]
fn a_body_that_is_stored_again_counts_and_so_it_does_in_a_new_index() {
    let (dir, blocks) = released(9);
    let (mut store, _) = BlockStore::open(dir.path(), REGTEST).unwrap();
    store.append(&blocks[3].raw, &blocks[3].hash).unwrap();
    store.sync().unwrap();
    drop(store);
    for _ in 0..2 {
        let (store, _) = BlockStore::open(dir.path(), REGTEST).unwrap();
        assert_eq!(store.read(&blocks[3].hash).unwrap(), blocks[3].raw);
        assert!(store.contains(&blocks[3].hash) && !store.is_released(&blocks[3].hash));
        assert!(store.is_released(&blocks[4].hash));
        assert_eq!(store.len(), 12);
        let bytes: u64 = store.bodies().map(|(_, size)| u64::from(size)).sum();
        assert_eq!((store.body_bytes(), store.bodies().count()), (bytes, 4));
        fs::remove_file(blocks_idx(&dir)).unwrap();
    }
}

/// A mark is written first, then the hole, then the index.
#[test]
fn a_crash_anywhere_on_the_way_leaves_a_block_that_is_released_or_can_be() {
    let (dir, blocks) = released(9);
    let (bin, idx) = (fs::read(blocks_bin(&dir)).unwrap(), fs::read(blocks_idx(&dir)).unwrap());
    let whole = stored(&blocks);
    let before = fs::read(blocks_idx(&whole)).unwrap();
    let at = |number: usize| file_of(&blocks[..number], REGTEST).len();
    // The index as it was, with marks and with holes.
    let mut marked = fs::read(blocks_bin(&whole)).unwrap();
    for number in 0..9 {
        let head = at(number) + 88;
        marked[head..head + 16].copy_from_slice(&bin[head..head + 16]);
    }
    for bytes in [&marked, &bin] {
        let dir = dir_with(bytes);
        fs::write(blocks_idx(&dir), &before).unwrap();
        let (mut store, report) = BlockStore::open(dir.path(), REGTEST).unwrap();
        assert_eq!(report, Default::default());
        for block in &blocks[..9] {
            assert!(matches!(store.read(&block.hash), Err(Error::Pruned(_))));
        }
        store.release(&hashes(&blocks[..9])).unwrap();
        check(&store, &blocks, 9);
        drop(store);
        assert_eq!(fs::read(blocks_bin(&dir)).unwrap(), bin);
    }
    // An entry that is half written ends the index, and the scan goes on from there.
    for number in [0, 4, 8] {
        let mut torn = idx.clone();
        let entry = 20 + 132 * number;
        torn[entry + 124..entry + 132].copy_from_slice(&before[entry + 124..entry + 132]);
        torn[entry + 123] = 0;
        torn[entry + 122] ^= 1;
        fs::write(blocks_idx(&dir), torn).unwrap();
        let (store, report) = BlockStore::open(dir.path(), REGTEST).unwrap();
        assert_eq!((report.indexed, report.cut), (12 - number as u64, None));
        check(&store, &blocks, 9);
    }
}

#[test]
fn imports_and_followers_pass_over_what_is_released_and_a_scan_says_so() {
    let (dir, blocks) = released(9);
    let (read, reader) = read_path(dir.path(), REGTEST);
    assert_eq!(read, raws(&blocks[9..]));
    assert_eq!((reader.counts().records, reader.counts().released), (12, 9));
    assert_eq!(reader.counts().skipped_bytes, 0);
    let scanned = |heights| {
        let input = RecordReader::open(dir.path(), REGTEST).unwrap();
        let mut seen = Vec::new();
        let options = ScanOptions { heights, ..ScanOptions::default() };
        let report = scan(
            input,
            &options,
            |block| block.height,
            |height| {
                seen.push(height.unwrap());
                ControlFlow::Continue(())
            },
        );
        report.map(|report| (seen, report.tip.unwrap().1))
    };
    assert_eq!(scanned(Some(9..=50)).unwrap(), (vec![9, 10, 11], 11));
    let error = scanned(None).unwrap_err();
    assert!(matches!(error, Error::Pruned(_)), "{error}");
    let mut follow = Follow::open(dir.path(), REGTEST, &FollowOptions::default()).unwrap();
    for (height, block) in (0..).zip(&blocks).skip(9) {
        let told = follow.poll().unwrap().unwrap();
        assert_eq!((told.hash, told.height), (block.hash, height));
    }
    assert!(follow.poll().unwrap().is_none());
    // From where it is, it goes on.
    let from = follow.position();
    let options = FollowOptions { from, ..FollowOptions::default() };
    let mut again = Follow::open(dir.path(), REGTEST, &options).unwrap();
    assert!(again.poll().unwrap().is_none());
    let (mut store, _) = BlockStore::open(dir.path(), REGTEST).unwrap();
    let next = TestBlock::mine(blocks[11].hash, 99, 50);
    append_all(&mut store, std::slice::from_ref(&next));
    store.sync().unwrap();
    assert_eq!(again.poll().unwrap().unwrap().height, 12);
    assert_eq!(follow.poll().unwrap().unwrap().hash, next.hash);
}

#[test]
fn zeros_that_a_crash_left_in_place_of_a_body_are_no_released_block() {
    let blocks = blocks();
    let dir = dir_with(&file_of(&blocks, REGTEST));
    let start = file_of(&blocks[..11], REGTEST).len() as u64;
    let file = fs::OpenOptions::new().write(true).open(blocks_bin(&dir)).unwrap();
    file.write_all_at(&vec![0; blocks[11].raw.len() - 80], start + 88).unwrap();
    let (store, report) = BlockStore::open(dir.path(), REGTEST).unwrap();
    assert_eq!(report.cut.unwrap().position, start);
    assert!(store.position(&blocks[11].hash).is_none());
}
