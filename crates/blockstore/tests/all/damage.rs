//! Flipped bits and arbitrary bytes: an error that names the place, or the right block, never another.

use std::fs;

use caesure_blockstore::{BlockStore, DamagedRecord, Error, Fault};
use proptest::prelude::*;

use crate::support::*;

#[test]
fn a_flip_of_any_byte_of_the_block_file_never_yields_a_wrong_block() {
    let blocks = chain(4);
    let dir = stored(&blocks);
    let whole = fs::read(blocks_bin(&dir)).unwrap();
    let reader = BlockStore::open_read_only(dir.path(), REGTEST).unwrap();
    let mut refused = 0;
    for at in 0..whole.len() {
        for flip in [1, 0x80, 0xff] {
            let mut bytes = whole.clone();
            bytes[at] ^= flip;
            fs::write(blocks_bin(&dir), &bytes).unwrap();
            for block in &blocks {
                match reader.read(&block.hash) {
                    Ok(raw) => assert_eq!(raw, block.raw),
                    Err(Error::Damaged { .. }) => refused += 1,
                    Err(other) => panic!("{other}"),
                }
            }
        }
    }
    assert_eq!(refused, 3 * whole.len(), "each flip spoils one block");
}

#[test]
fn after_a_flip_the_store_opens_without_the_damaged_block_at_most() {
    let blocks = chain(4);
    let whole = file_of(&blocks, REGTEST);
    let source = stored(&blocks);
    let index = fs::read(blocks_idx(&source)).unwrap();
    for at in 0..whole.len() {
        for with_index in [false, true] {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            let dir = dir_with(&bytes);
            if with_index {
                fs::write(blocks_idx(&dir), &index).unwrap();
            }
            let store = match BlockStore::open(dir.path(), REGTEST) {
                Ok((store, _)) => store,
                Err(Error::OtherNetwork { .. }) if at < 4 => continue,
                Err(other) => panic!("byte {at}: {other}"),
            };
            let good = blocks.iter().filter(|block| store.verify(&block.hash).is_ok()).count();
            assert_eq!(good, 3, "byte {at}, index {with_index}");
        }
    }
}

#[test]
fn a_flip_of_any_byte_of_the_index_loses_no_block() {
    let blocks = chain(4);
    let source = stored(&blocks);
    let (file, index) =
        (fs::read(blocks_bin(&source)).unwrap(), fs::read(blocks_idx(&source)).unwrap());
    for at in 0..index.len() {
        let mut bytes = index.clone();
        bytes[at] ^= 0x10;
        let dir = dir_with(&file);
        fs::write(blocks_idx(&dir), bytes).unwrap();
        let (store, _) = BlockStore::open(dir.path(), REGTEST).unwrap();
        check_blocks(&store, &blocks);
    }
}

#[test]
fn an_index_of_which_a_power_cut_left_zeros_loses_no_block() {
    let blocks = chain(5);
    let source = stored(&blocks);
    let (file, index) =
        (fs::read(blocks_bin(&source)).unwrap(), fs::read(blocks_idx(&source)).unwrap());
    for from in (0..index.len()).step_by(16) {
        for to in [from + 16, from + 100, index.len()] {
            let mut bytes = index.clone();
            bytes[from..to.min(index.len())].fill(0);
            let dir = dir_with(&file);
            fs::write(blocks_idx(&dir), bytes).unwrap();
            let (store, _) = BlockStore::open(dir.path(), REGTEST).unwrap();
            check_blocks(&store, &blocks);
        }
    }
}

#[test]
fn damage_in_the_middle_is_named_at_rebuild_and_the_block_can_be_stored_again() {
    let blocks = chain(5);
    let mut bytes = file_of(&blocks, REGTEST);
    let position = bytes.len() - blocks[3].raw.len() - blocks[4].raw.len() - 16;
    bytes[position + 8 + 100] ^= 4;
    let dir = dir_with(&bytes);
    let (mut store, report) = BlockStore::open(dir.path(), REGTEST).unwrap();
    assert_eq!(report.damaged.len(), 1);
    let DamagedRecord { position: at, hash, fault } = report.damaged[0];
    assert_eq!((at, hash, fault), (position as u64, blocks[3].hash, Fault::MerkleRoot));
    assert_eq!((store.len(), store.contains(&blocks[3].hash)), (4, false));
    append_all(&mut store, &blocks);
    let order = [&blocks[..3], &blocks[4..], &blocks[3..4]].concat();
    check_blocks(&store, &order);
}

#[test]
fn damage_found_when_read_is_repaired_by_appending_the_block_again() {
    let blocks = chain(5);
    let dir = stored(&blocks);
    let (mut store, _) = BlockStore::open(dir.path(), REGTEST).unwrap();
    let mut bytes = fs::read(blocks_bin(&dir)).unwrap();
    let position = store.position(&blocks[2].hash).unwrap();
    bytes[usize::try_from(position).unwrap() + 120] ^= 1;
    fs::write(blocks_bin(&dir), bytes).unwrap();
    match store.read(&blocks[2].hash).unwrap_err() {
        Error::Damaged { position: at, fault, .. } => {
            assert_eq!((at, fault), (position, Fault::Checksum));
        }
        other => panic!("{other}"),
    }
    assert_ne!(store.append(&blocks[2].raw, &blocks[2].hash).unwrap(), position);
    assert_eq!(store.verify(&blocks[2].hash).unwrap(), blocks[2].raw);
    store.sync().unwrap();
    drop(store);
    let (store, _) = BlockStore::open(dir.path(), REGTEST).unwrap();
    assert_eq!(store.verify(&blocks[2].hash).unwrap(), blocks[2].raw);
    assert_eq!(store.len(), 5);
}

/// CVE-2012-2459: a body with a doubled tail has the root of the true one and does not shadow it.
#[test]
fn a_mutated_body_with_the_right_merkle_root_is_not_indexed() {
    let single = &chain(1)[0];
    let coinbase = single.raw[81..].to_vec();
    let doubled = [&single.raw[..80], &[2][..], &coinbase, &coinbase].concat();
    // One transaction twice has another root, so the header is made for it.
    let leaf = caesure_hash::sha256d(&coinbase);
    let root = caesure_hash::sha256d(&[leaf, leaf].concat());
    let mut raw = doubled;
    raw[36..68].copy_from_slice(&root);
    let header = (0..)
        .map(|nonce: u32| {
            raw[76..80].copy_from_slice(&nonce.to_le_bytes());
            caesure_wire::Header::from_bytes(raw.first_chunk().unwrap())
        })
        .find(|header| header.hash().0[31] < 0x7f)
        .unwrap();
    raw[76..80].copy_from_slice(&header.nonce.to_le_bytes());
    let mutated = TestBlock { hash: header.hash(), raw };
    let dir = dir_with(&[mutated.record(REGTEST), single.record(REGTEST)].concat());
    let (store, report) = BlockStore::open(dir.path(), REGTEST).unwrap();
    let damaged = DamagedRecord { position: 0, hash: mutated.hash, fault: Fault::MerkleRoot };
    assert_eq!(report.damaged, [damaged]);
    check_blocks(&store, std::slice::from_ref(single));
}

#[test]
fn a_map_of_a_file_with_records_only_of_claims_reserves_nothing() {
    // 50,000 prefixes that each announce 4,000,000 bytes.
    let bytes = [&REGTEST[..], &4_000_000_u32.to_le_bytes()].concat().repeat(50_000);
    let (read, reader) = read_all(&bytes, REGTEST);
    assert!(read.is_empty());
    assert_eq!(reader.counts().torn_bytes + reader.counts().skipped_bytes, 400_000);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any bytes between, over and in place of records: no panic, and every byte is accounted for.
    #[test]
    fn any_bytes_are_read_without_panic(
        parts in prop::collection::vec(
            prop_oneof![
                prop::collection::vec(any::<u8>(), 0..200),
                (0_u32..8).prop_map(|tag| TestBlock::mine(Default::default(), tag, 9).record(REGTEST)),
                (0_u32..8).prop_map(|tag| TestBlock::mine(Default::default(), tag, 9).native_record()),
                (0_u32..8, 0_usize..120)
                    .prop_map(|(tag, cut)| TestBlock::mine(Default::default(), tag, 9).record(REGTEST)[..cut].to_vec()),
                (0_usize..100).prop_map(|size| vec![0; size]),
            ],
            0..8,
        )
    ) {
        let bytes = parts.concat();
        let (read, reader) = read_all(&bytes, REGTEST);
        let counts = reader.counts();
        let in_records = read.iter().map(|raw| raw.len() as u64 + 8).sum::<u64>();
        if counts.foreign == 0 {
            let all = in_records + counts.torn_bytes + counts.zero_bytes + counts.skipped_bytes;
            prop_assert_eq!(all, bytes.len() as u64);
        }
        let dir = dir_with(&bytes);
        match BlockStore::open(dir.path(), REGTEST) {
            Ok((store, _)) => {
                for entry in store.entries() {
                    prop_assert!(store.verify(&entry.unwrap().hash).is_ok());
                }
            }
            Err(Error::NotABlockFile { .. } | Error::OtherNetwork { .. }) => {
                prop_assert_eq!(fs::read(blocks_bin(&dir)).unwrap(), bytes);
            }
            Err(other) => return Err(TestCaseError::fail(other.to_string())),
        }
    }
}
