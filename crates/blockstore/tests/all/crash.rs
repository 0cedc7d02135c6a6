//! What `kill -9` and power cuts leave behind.

use std::fs;

use caesure_blockstore::{BlockStore, Fault};

use crate::support::*;

/// Opens the folder, checks that it has these blocks, appends one more and opens it again.
fn check_usable(dir: &tempfile::TempDir, blocks: &[TestBlock], what: &str) {
    let (mut store, _) = BlockStore::open(dir.path(), REGTEST).unwrap();
    assert_eq!(store.len(), blocks.len(), "{what}");
    check_blocks(&store, blocks);
    let prev = blocks.last().map_or_else(Default::default, |block| block.hash);
    let next = TestBlock::mine(prev, 4242, 3);
    append_all(&mut store, std::slice::from_ref(&next));
    store.sync().unwrap();
    drop(store);
    let (store, report) = BlockStore::open(dir.path(), REGTEST).unwrap();
    assert_eq!(report, Default::default(), "{what}");
    check_blocks(&store, &[blocks, &[next]].concat());
}

/// Where each record of a file ends.
fn ends(blocks: &[TestBlock]) -> Vec<usize> {
    let mut end = 0;
    let add = |block: &TestBlock| {
        end += 8 + block.raw.len();
        end
    };
    blocks.iter().map(add).collect()
}

#[test]
fn a_block_file_cut_at_any_length_keeps_every_whole_record() {
    let blocks = chain(4);
    let source = stored(&blocks);
    let (file, index) =
        (fs::read(blocks_bin(&source)).unwrap(), fs::read(blocks_idx(&source)).unwrap());
    for size in 0..=file.len() {
        let count = ends(&blocks).iter().filter(|end| **end <= size).count();
        for with_index in [true, false] {
            let dir = dir_with(&file[..size]);
            if with_index {
                fs::write(blocks_idx(&dir), &index).unwrap();
            }
            check_usable(&dir, &blocks[..count], &format!("{size} bytes, index {with_index}"));
        }
    }
}

#[test]
fn an_index_cut_at_any_length_loses_no_block() {
    let blocks = chain(4);
    let source = stored(&blocks);
    let (file, index) =
        (fs::read(blocks_bin(&source)).unwrap(), fs::read(blocks_idx(&source)).unwrap());
    for size in 0..=index.len() {
        let dir = dir_with(&file);
        fs::write(blocks_idx(&dir), &index[..size]).unwrap();
        check_usable(&dir, &blocks, &format!("index of {size} bytes"));
    }
}

#[test]
fn kill_before_a_sync_keeps_what_reached_the_file() {
    let blocks = chain(6);
    let dir = stored(&blocks[..2]);
    let (mut store, _) = BlockStore::open(dir.path(), REGTEST).unwrap();
    append_all(&mut store, &blocks[2..]);
    drop(store);
    let (store, report) = BlockStore::open(dir.path(), REGTEST).unwrap();
    assert_eq!((report.indexed, report.cut), (4, None));
    check_blocks(&store, &blocks);
}

/// A power cut may keep any part of what was written since the last sync, in units of a sector here
/// of 32 bytes, and leave zeros in place of the rest: whichever it is, synced records stay.
#[test]
fn lost_unsynced_writes_cost_no_synced_record() {
    let blocks = chain(5);
    let dir = stored(&blocks[..2]);
    let (synced, index) =
        (fs::metadata(blocks_bin(&dir)).unwrap().len(), fs::read(blocks_idx(&dir)).unwrap());
    let (mut store, _) = BlockStore::open(dir.path(), REGTEST).unwrap();
    append_all(&mut store, &blocks[2..]);
    drop(store);
    let full = fs::read(blocks_bin(&dir)).unwrap();
    let synced = usize::try_from(synced).unwrap();
    let sectors = (full.len() - synced).div_ceil(32);
    assert!((10..30).contains(&sectors));
    for round in 0..600_u64 {
        // SplitMix64, so that every round is the same in every run.
        let mut bits = (round + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits ^= bits >> 27;
        let mut left = full.clone();
        let mut is_whole = vec![true; full.len()];
        for sector in (0..sectors).filter(|sector| bits >> sector & 1 == 0) {
            let at = synced + 32 * sector;
            let end = full.len().min(at + 32);
            left[at..end].fill(0);
            is_whole[at..end].fill(false);
        }
        let ends = ends(&blocks);
        let kept = blocks.iter().enumerate().filter(|(i, block)| {
            let range = ends[*i] - block.raw.len() - 8..ends[*i];
            left[range.clone()] == full[range]
        });
        let kept = kept.map(|(_, block)| block.clone()).collect::<Vec<_>>();
        let dir = dir_with(&left);
        fs::write(blocks_idx(&dir), &index).unwrap();
        let (store, _) = BlockStore::open(dir.path(), REGTEST).unwrap();
        check_blocks(&store, &kept);
    }
}

/// Must survive: a block's index entry on disk before the block's bytes.
#[test]
fn block_index_entry_before_block_bytes_on_disk_is_not_believed() {
    let blocks = chain(5);
    let dir = stored(&blocks);
    let mut file = fs::read(blocks_bin(&dir)).unwrap();
    let kept = ends(&blocks)[2];
    file[kept..].fill(0);
    fs::write(blocks_bin(&dir), &file).unwrap();
    let (store, report) = BlockStore::open(dir.path(), REGTEST).unwrap();
    assert_eq!(report.cut.unwrap().position, kept as u64);
    check_blocks(&store, &blocks[..3]);
}

/// Must survive: a reindex that wipes before it can replay.
#[test]
fn reindex_that_wipes_before_it_can_replay_is_not_needed() {
    let blocks = chain(6);
    let dir = stored(&blocks);
    let before = fs::read(blocks_bin(&dir)).unwrap();
    fs::write(blocks_idx(&dir), b"damaged").unwrap();
    let (store, report) = BlockStore::open(dir.path(), REGTEST).unwrap();
    assert_eq!(report.indexed, 6);
    check_blocks(&store, &blocks);
    assert_eq!(fs::read(blocks_bin(&dir)).unwrap(), before, "the scan writes no block");
}

#[test]
fn full_length_tail_of_zeros_or_with_a_wrong_merkle_root_is_torn() {
    let blocks = chain(4);
    let whole = file_of(&blocks, REGTEST);
    let tail = ends(&blocks)[2];
    let check = |change: &dyn Fn(&mut [u8]), fault| {
        let mut bytes = whole.clone();
        change(&mut bytes[tail..]);
        let dir = dir_with(&bytes);
        let (_, report) = BlockStore::open(dir.path(), REGTEST).unwrap();
        let cut = report.cut.unwrap();
        assert_eq!((cut.position, cut.bytes), (tail as u64, (whole.len() - tail) as u64));
        assert_eq!(cut.fault, fault);
        assert!(report.damaged.is_empty());
        check_usable(&dir, &blocks[..3], "cut");
    };
    check(&|tail| tail.fill(0), Fault::Prefix);
    check(&|tail| tail[8..].fill(0), Fault::Target);
    check(&|tail| *tail.last_mut().unwrap() ^= 1, Fault::MerkleRoot);
    check(&|tail| tail[4] = 0xff, Fault::Short);
}

#[test]
fn a_kill_between_the_two_steps_of_truncate_undoes_it() {
    let blocks = chain(5);
    let dir = stored(&blocks);
    let file = fs::read(blocks_bin(&dir)).unwrap();
    let (mut store, _) = BlockStore::open(dir.path(), REGTEST).unwrap();
    store.truncate_to(store.position(&blocks[2].hash).unwrap()).unwrap();
    drop(store);
    fs::write(blocks_bin(&dir), file).unwrap();
    let (store, _) = BlockStore::open(dir.path(), REGTEST).unwrap();
    check_blocks(&store, &blocks);
}
