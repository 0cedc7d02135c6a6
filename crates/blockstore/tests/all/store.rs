//! The writer and its readers.

use std::fs;

use caesure_blockstore::{BlockStore, Error, Fault};

use crate::support::*;

#[test]
fn what_is_appended_is_read_and_a_known_block_is_not_appended_again() {
    let blocks = chain(20);
    let dir = new_dir();
    let (mut store, report) = BlockStore::open(dir.path(), REGTEST).unwrap();
    assert_eq!(report, Default::default());
    append_all(&mut store, &blocks);
    check_blocks(&store, &blocks);
    assert_eq!(store.committed_len(), 0, "nothing was synced");
    let positions = blocks.iter().map(|block| store.position(&block.hash)).collect::<Vec<_>>();
    for (block, position) in blocks.iter().zip(&positions) {
        assert_eq!(Some(store.append(&block.raw, &block.hash).unwrap()), *position);
    }
    store.sync().unwrap();
    assert_eq!(fs::read(blocks_bin(&dir)).unwrap(), file_of(&blocks, REGTEST));
    drop(store);
    let (store, report) = BlockStore::open(dir.path(), REGTEST).unwrap();
    assert_eq!(report, Default::default());
    check_blocks(&store, &blocks);
    for (entry, block) in store.entries().map(Result::unwrap).zip(&blocks) {
        assert_eq!(entry.header.to_bytes(), block.raw[..80]);
        assert_eq!(Some(entry.position), store.position(&block.hash));
        assert_eq!(entry.size as usize, block.raw.len());
    }
}

#[test]
fn bytes_that_are_not_the_block_are_not_stored() {
    let blocks = chain(2);
    let dir = new_dir();
    let (mut store, _) = BlockStore::open(dir.path(), REGTEST).unwrap();
    let mut check = |raw: &[u8], wrong| match store.append(raw, &blocks[1].hash).unwrap_err() {
        Error::NotStorable { fault, .. } => assert_eq!(fault, wrong),
        other => panic!("{other}"),
    };
    check(&blocks[0].raw, Fault::Hash);
    check(&blocks[1].raw[..80], Fault::Size);
    check(&[], Fault::Size);
    check(&vec![0; 4_000_001], Fault::Size);
    assert_eq!(fs::metadata(blocks_bin(&dir)).unwrap().len(), 0);
}

#[test]
fn a_replaced_body_is_the_one_that_is_read() {
    let blocks = chain(3);
    let dir = stored(&blocks);
    let (mut store, _) = BlockStore::open(dir.path(), REGTEST).unwrap();
    let old = store.position(&blocks[1].hash).unwrap();
    let new = store.replace(&blocks[1].raw, &blocks[1].hash).unwrap();
    assert!(old < new);
    store.sync().unwrap();
    drop(store);
    let (store, _) = BlockStore::open(dir.path(), REGTEST).unwrap();
    assert_eq!(store.position(&blocks[1].hash), Some(new));
    check_blocks(&store, &[blocks[0].clone(), blocks[2].clone(), blocks[1].clone()]);
}

#[test]
fn a_base_of_another_network_is_refused_and_left_as_it_is() {
    let dir = stored(&chain(2));
    let before = fs::read(blocks_bin(&dir)).unwrap();
    for error in [
        BlockStore::open(dir.path(), MAIN).unwrap_err(),
        BlockStore::open_read_only(dir.path(), MAIN).unwrap_err(),
    ] {
        let text = error.to_string();
        assert!(text.contains("of the network regtest, not of the network main"), "{text}");
    }
    assert_eq!(fs::read(blocks_bin(&dir)).unwrap(), before);
    assert_eq!(BlockStore::open(dir.path(), REGTEST).unwrap().0.len(), 2);
}

#[test]
fn a_file_that_is_no_block_file_is_refused_and_left_as_it_is() {
    for bytes in [&b"hello"[..], &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 9, 9], &[0x55; 70_000]] {
        let dir = dir_with(bytes);
        let error = BlockStore::open(dir.path(), REGTEST).unwrap_err();
        assert!(matches!(error, Error::NotABlockFile { .. }), "{error}");
        assert_eq!(fs::read(blocks_bin(&dir)).unwrap(), bytes);
    }
}

#[test]
fn a_bootstrap_dat_moved_here_is_adopted_without_a_copy() {
    let blocks = chain(50);
    let bytes = file_of(&blocks, REGTEST);
    let dir = dir_with(&bytes);
    let mut last = 0;
    let progress = |done, total| {
        assert!(last < done && done <= total && total == bytes.len() as u64);
        last = done;
    };
    let (store, report) = BlockStore::open_with(dir.path(), REGTEST, progress).unwrap();
    assert_eq!((report.indexed, report.scanned_bytes), (50, bytes.len() as u64));
    assert_eq!(last, bytes.len() as u64);
    check_blocks(&store, &blocks);
    drop(store);
    assert_eq!(fs::read(blocks_bin(&dir)).unwrap(), bytes);
    assert_eq!(BlockStore::open(dir.path(), REGTEST).unwrap().1, Default::default());
}

#[test]
fn another_block_file_in_place_of_the_indexed_one_is_indexed_anew() {
    let [old, new] = [chain(30), chain(40).into_iter().rev().collect::<Vec<_>>()];
    let dir = stored(&old);
    fs::write(blocks_bin(&dir), file_of(&new, REGTEST)).unwrap();
    let reader = BlockStore::open_read_only(dir.path(), REGTEST).unwrap();
    assert_eq!(reader.verify(&new[0].hash).unwrap(), new[0].raw);
    let (store, report) = BlockStore::open(dir.path(), REGTEST).unwrap();
    assert_eq!(report.indexed, 40);
    check_blocks(&store, &new);
}

#[test]
fn duplicates_and_foreign_records_in_an_adopted_file_are_counted_and_kept() {
    let blocks = chain(3);
    let bytes = [
        file_of(&blocks, REGTEST),
        blocks[1].record(REGTEST),
        b"noise".to_vec(),
        blocks[0].record(REGTEST),
        blocks[2].record(TESTNET3),
    ];
    let bytes = bytes.concat();
    let dir = dir_with(&bytes);
    let (store, report) = BlockStore::open(dir.path(), REGTEST).unwrap();
    check_blocks(&store, &blocks);
    assert_eq!((report.duplicates, report.foreign, report.skipped_bytes), (2, 1, 5));
    assert_eq!((report.cut, &report.damaged[..]), (None, &[][..]));
    assert_eq!(fs::read(blocks_bin(&dir)).unwrap(), bytes);
}

#[test]
fn truncate_drops_a_record_and_all_behind_it() {
    let blocks = chain(10);
    let dir = stored(&blocks);
    let (mut store, _) = BlockStore::open(dir.path(), REGTEST).unwrap();
    let mut reader = BlockStore::open_read_only(dir.path(), REGTEST).unwrap();
    let position = store.position(&blocks[6].hash).unwrap();
    assert!(matches!(store.truncate_to(position + 1), Err(Error::NoRecordAt { .. })));
    check_blocks(&store, &blocks);
    store.truncate_to(position).unwrap();
    check_blocks(&store, &blocks[..6]);
    assert!(reader.refresh().unwrap());
    assert_eq!((reader.len(), reader.contains(&blocks[6].hash)), (6, false));
    let fork = TestBlock::mine(blocks[5].hash, 1000, 10);
    append_all(&mut store, std::slice::from_ref(&fork));
    store.truncate_to(store.committed_len() + 8 + fork.raw.len() as u64).unwrap();
    drop(store);
    let (mut store, _) = BlockStore::open(dir.path(), REGTEST).unwrap();
    check_blocks(&store, &[&blocks[..6], &[fork]].concat());
    store.truncate_to(0).unwrap();
    assert!(store.is_empty());
    assert!(reader.refresh().unwrap() && reader.is_empty());
}

#[test]
fn a_reader_notices_blocks_that_took_the_place_of_truncated_ones() {
    let blocks = chain(10);
    let dir = stored(&blocks);
    let mut reader = BlockStore::open_read_only(dir.path(), REGTEST).unwrap();
    let (mut store, _) = BlockStore::open(dir.path(), REGTEST).unwrap();
    store.truncate_to(store.position(&blocks[4].hash).unwrap()).unwrap();
    let mut branch = blocks[..4].to_vec();
    for tag in 0..9 {
        branch.push(TestBlock::mine(branch.last().unwrap().hash, 500 + tag, 20));
    }
    append_all(&mut store, &branch[4..]);
    store.sync().unwrap();
    assert!(reader.refresh().unwrap());
    assert!(!reader.contains(&blocks[5].hash));
    for block in &branch {
        assert_eq!(reader.read(&block.hash).unwrap(), block.raw);
    }
}

#[test]
fn a_reader_survives_that_the_index_is_deleted_and_rebuilt() {
    let blocks = chain(6);
    let dir = stored(&blocks);
    let mut reader = BlockStore::open_read_only(dir.path(), REGTEST).unwrap();
    fs::remove_file(blocks_idx(&dir)).unwrap();
    reader.refresh().unwrap();
    assert_eq!(reader.len(), 6);
    let (mut store, report) = BlockStore::open(dir.path(), REGTEST).unwrap();
    assert_eq!(report.indexed, 6);
    let next = TestBlock::mine(blocks[5].hash, 50, 5);
    append_all(&mut store, std::slice::from_ref(&next));
    store.sync().unwrap();
    assert!(reader.refresh().unwrap());
    assert_eq!(reader.read(&next.hash).unwrap(), next.raw);
}

#[test]
fn concurrent_block_writers_in_one_folder_are_impossible() {
    let dir = stored(&chain(2));
    let (store, _) = BlockStore::open(dir.path(), REGTEST).unwrap();
    let before = fs::read(blocks_bin(&dir)).unwrap();
    assert!(matches!(BlockStore::open(dir.path(), REGTEST), Err(Error::Locked { .. })));
    assert_eq!(BlockStore::open_read_only(dir.path(), REGTEST).unwrap().len(), store.len());
    assert_eq!(fs::read(blocks_bin(&dir)).unwrap(), before);
}

#[test]
fn errors_of_the_system_name_the_file() {
    let dir = new_dir();
    fs::create_dir(dir.path().join("blocks.bin")).unwrap();
    let error = BlockStore::open(dir.path(), REGTEST).unwrap_err();
    assert!(error.to_string().contains("blocks.bin: "), "{error}");
    let file = dir.path().join("file");
    fs::write(&file, b"").unwrap();
    let error = BlockStore::open(&file, REGTEST).unwrap_err();
    assert!(error.to_string().contains("file: "), "{error}");
}
