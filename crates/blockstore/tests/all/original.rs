//! Faults that were seen in the original's block file and tools, one test each.

use std::fs;

use caesure_blockstore::{BlockStore, Converted, Error, Fault, convert};

use crate::support::*;

#[test]
fn golden_genesis_record_begins_f9beb4d91d010000() {
    let genesis = unhex(GENESIS);
    let hash = "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f".parse().unwrap();
    let dir = new_dir();
    let (mut store, _) = BlockStore::open(dir.path(), MAIN).unwrap();
    assert_eq!(store.append(&genesis, &hash).unwrap(), 0);
    store.sync().unwrap();
    let file = fs::read(blocks_bin(&dir)).unwrap();
    assert_eq!(file, [unhex("f9beb4d91d010000"), genesis].concat());
    assert_eq!(file.len(), 293);
}

#[test]
fn partial_prefix_crash() {
    let blocks = chain(3);
    for size in 1..8 {
        let whole = file_of(&blocks, REGTEST);
        let dir = dir_with(&[&whole[..], &blocks[0].record(REGTEST)[..size]].concat());
        let (store, report) = BlockStore::open(dir.path(), REGTEST).unwrap();
        check_blocks(&store, &blocks);
        let cut = report.cut.unwrap();
        assert_eq!((cut.position, cut.bytes), (whole.len() as u64, size as u64));
    }
}

#[test]
fn body_of_under_80_header_bytes_crash() {
    let blocks = chain(3);
    let whole = file_of(&blocks[..2], REGTEST);
    for size in 8..88 {
        let dir = dir_with(&[&whole[..], &blocks[2].record(REGTEST)[..size]].concat());
        let (store, report) = BlockStore::open(dir.path(), REGTEST).unwrap();
        check_blocks(&store, &blocks[..2]);
        assert_eq!(report.cut.unwrap().fault, Fault::Short);
    }
}

#[test]
fn append_after_torn_tail_lands_behind_the_last_whole_record() {
    let blocks = chain(3);
    let torn = [file_of(&blocks[..2], REGTEST), blocks[2].record(REGTEST)[..100].to_vec()].concat();
    let dir = dir_with(&torn);
    let (mut store, _) = BlockStore::open(dir.path(), REGTEST).unwrap();
    append_all(&mut store, &blocks[2..]);
    store.sync().unwrap();
    assert_eq!(fs::read(blocks_bin(&dir)).unwrap(), file_of(&blocks, REGTEST));
}

/// Files that the original wrote after a crash: a record cut short, and whole ones behind it.
#[test]
fn records_behind_a_torn_one_are_all_read() {
    let blocks = chain(4);
    let [before, after] = [&blocks[..1], &blocks[2..]].map(|part| file_of(part, REGTEST));
    let torn = blocks[1].record(REGTEST);
    let left = [&blocks[..1], &blocks[2..]].concat();
    for size in 1..torn.len() {
        let bytes = [&before[..], &torn[..size], &after].concat();
        let (read, reader) = read_all(&bytes, REGTEST);
        assert_eq!(read, raws(&left), "{size} bytes");
        assert_eq!(reader.counts().skipped_bytes, size as u64);
        let dir = dir_with(&bytes);
        let (store, report) = BlockStore::open(dir.path(), REGTEST).unwrap();
        check_blocks(&store, &left);
        assert_eq!((report.skipped_bytes, report.cut), (size as u64, None));
    }
}

#[test]
fn read_only_creates_an_empty_file_and_writes_metadata() {
    let dir = new_dir();
    assert!(BlockStore::open_read_only(dir.path(), REGTEST).unwrap().is_empty());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    let blocks = chain(3);
    let torn = [&file_of(&blocks, REGTEST)[..], b"torn"].concat();
    let dir = dir_with(&torn);
    let reader = BlockStore::open_read_only(dir.path(), REGTEST).unwrap();
    assert_eq!(reader.len(), 3);
    assert_eq!(reader.verify(&blocks[1].hash).unwrap(), blocks[1].raw);
    assert_eq!(reader.entries().count(), 3);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    assert_eq!(fs::read(blocks_bin(&dir)).unwrap(), torn);
}

#[test]
fn reader_never_notices_appended_blocks() {
    let blocks = chain(5);
    let dir = new_dir();
    let (mut store, _) = BlockStore::open(dir.path(), REGTEST).unwrap();
    let mut reader = BlockStore::open_read_only(dir.path(), REGTEST).unwrap();
    for (i, block) in blocks.iter().enumerate() {
        append_all(&mut store, std::slice::from_ref(block));
        assert!(!reader.refresh().unwrap() && !reader.contains(&block.hash), "not yet durable");
        store.sync().unwrap();
        assert!(reader.refresh().unwrap());
        assert_eq!(reader.read(&block.hash).unwrap(), block.raw);
        assert_eq!((reader.len(), reader.committed_len()), (i + 1, store.committed_len()));
    }
}

#[test]
fn last_block_regress_after_storing_a_fork_block() {
    let blocks = chain(5);
    let fork = TestBlock::mine(blocks[1].hash, 99, 3);
    let dir = stored(&blocks);
    let (mut store, _) = BlockStore::open(dir.path(), REGTEST).unwrap();
    let before = store.committed_len();
    assert_eq!(store.append(&fork.raw, &fork.hash).unwrap(), before);
    store.sync().unwrap();
    drop(store);
    let (store, report) = BlockStore::open(dir.path(), REGTEST).unwrap();
    assert_eq!(report, Default::default());
    check_blocks(&store, &[&blocks[..], &[fork]].concat());
}

#[test]
fn parent_later_in_the_file_key_error_and_nochain_drop() {
    let mut blocks = chain(6);
    blocks.reverse();
    let dir = dir_with(&file_of(&blocks, REGTEST));
    let (store, report) = BlockStore::open(dir.path(), REGTEST).unwrap();
    assert_eq!(report.indexed, 6);
    check_blocks(&store, &blocks);
}

#[test]
fn both_prefix_forms_may_be_mixed() {
    let blocks = chain(6);
    let mixed = blocks.iter().enumerate().flat_map(|(i, block)| match i % 2 {
        0 => block.native_record(),
        _ => block.record(REGTEST),
    });
    let mixed = mixed.collect::<Vec<_>>();
    let (read, reader) = read_all(&mixed, REGTEST);
    assert_eq!(read, raws(&blocks));
    assert_eq!(reader.finish().unwrap().records, 6);
    let dir = dir_with(&mixed);
    let (mut store, report) = BlockStore::open(dir.path(), REGTEST).unwrap();
    check_blocks(&store, &blocks);
    assert_eq!((report.indexed, report.cut), (6, None));
    let next = TestBlock::mine(blocks[5].hash, 77, 9);
    append_all(&mut store, std::slice::from_ref(&next));
    store.sync().unwrap();
    assert_eq!(fs::read(blocks_bin(&dir)).unwrap(), [mixed, next.record(REGTEST)].concat());
}

#[test]
fn zero_size_ends_the_scan_and_hides_what_follows() {
    let blocks = chain(4);
    let [a, b] = [&blocks[..2], &blocks[2..]].map(|part| file_of(part, REGTEST));
    let (read, reader) = read_all(&[&a[..], &[0; 1000], &b].concat(), REGTEST);
    assert_eq!(read, raws(&blocks));
    assert_eq!(reader.counts().skipped_bytes, 1000);
}

#[test]
fn other_networks_records_were_read_and_written_with_mainnets_magic() {
    let blocks = chain(1);
    let dir = new_dir();
    let (mut store, _) = BlockStore::open(dir.path(), TESTNET3).unwrap();
    append_all(&mut store, &blocks);
    store.sync().unwrap();
    assert_eq!(fs::read(blocks_bin(&dir)).unwrap()[..4], TESTNET3);
}

#[test]
fn second_process_is_told_that_the_folder_is_in_use() {
    let dir = new_dir();
    let first = BlockStore::open(dir.path(), REGTEST).unwrap();
    let error = BlockStore::open(dir.path(), REGTEST).unwrap_err();
    assert!(matches!(error, Error::Locked { .. }), "{error}");
    assert!(error.to_string().contains(dir.path().to_str().unwrap()));
    drop(first);
    BlockStore::open(dir.path(), REGTEST).unwrap();
}

#[test]
fn convert_gives_the_bytes_of_the_original_tool() {
    let blocks = chain(5);
    let dir = new_dir();
    let path = dir.path().join("bootstrap.dat");
    for magic in [MAIN, TESTNET3, REGTEST, [1, 2, 3, 4]] {
        fs::write(&path, file_of(&blocks, magic)).unwrap();
        assert_eq!(convert(&path).unwrap(), Converted { records: 5, rewritten: 5 });
        let native = blocks.iter().flat_map(TestBlock::native_record).collect::<Vec<_>>();
        assert_eq!(fs::read(&path).unwrap(), native);
        assert_eq!(read_path(&path, magic).0, raws(&blocks));
    }
}

#[test]
fn non_idempotent_convert() {
    let blocks = chain(5);
    let dir = dir_with(&file_of(&blocks, MAIN));
    convert(&blocks_bin(&dir)).unwrap();
    let native = fs::read(blocks_bin(&dir)).unwrap();
    assert_eq!(convert(&blocks_bin(&dir)).unwrap(), Converted { records: 5, rewritten: 0 });
    assert_eq!(fs::read(blocks_bin(&dir)).unwrap(), native);
}

#[test]
fn half_converted_file_is_converted_to_the_end() {
    let blocks = chain(4);
    let native = blocks.iter().flat_map(TestBlock::native_record).collect::<Vec<_>>();
    // Each record is old, has both copies of the size, or is new: all states that a crash leaves.
    for state in 0..81 {
        let records = blocks.iter().enumerate().flat_map(|(i, block)| {
            let size = u32::try_from(block.raw.len()).unwrap().to_le_bytes();
            match state / 3_usize.pow(u32::try_from(i).unwrap()) % 3 {
                0 => block.record(MAIN),
                1 => [&size, &size, &block.raw[..]].concat(),
                _ => block.native_record(),
            }
        });
        let dir = dir_with(&records.collect::<Vec<_>>());
        assert_eq!(convert(&blocks_bin(&dir)).unwrap().records, 4);
        assert_eq!(fs::read(blocks_bin(&dir)).unwrap(), native);
    }
}

#[test]
fn convert_changes_nothing_when_the_sizes_do_not_lead_to_the_end() {
    let blocks = chain(4);
    let whole = file_of(&blocks, MAIN);
    for (bytes, at) in [
        (whole[..whole.len() - 1].to_vec(), whole.len() - blocks[3].raw.len() - 8),
        ([&whole[..], b"tail"].concat(), whole.len()),
        (b"not a block file at all, but of some length, so that there is something to read, or so\
           mewhat more than that"
            .to_vec(), 0),
    ] {
        let dir = dir_with(&bytes);
        match convert(&blocks_bin(&dir)) {
            Err(Error::NotConvertible { position, .. }) => assert_eq!(position, at as u64),
            other => panic!("{other:?}"),
        }
        assert_eq!(fs::read(blocks_bin(&dir)).unwrap(), bytes);
    }
}

#[test]
fn convert_of_a_running_stores_file_is_refused() {
    let blocks = chain(2);
    let dir = stored(&blocks);
    let (store, _) = BlockStore::open(dir.path(), REGTEST).unwrap();
    assert!(matches!(convert(&blocks_bin(&dir)), Err(Error::Locked { .. })));
    drop(store);
    assert_eq!(convert(&blocks_bin(&dir)).unwrap().rewritten, 2);
    let (store, report) = BlockStore::open(dir.path(), REGTEST).unwrap();
    assert_eq!(report, Default::default(), "the index holds for both forms");
    check_blocks(&store, &blocks);
}
