//! Real blocks, from the folder that `CAESURE_TEST_DATA` names.

#![allow(clippy::print_stdout, reason = "says what was measured or left out")]

use std::fs::{self, File};
use std::io::{BufReader, Read};

use caesure_blockstore::{BlockStore, Error, convert};
use caesure_wire::{Block, BlockHash};

use crate::support::*;

/// Bitcoin Core's file of 2,201 blocks, unpacked.
fn mainnet() -> Option<Vec<u8>> {
    let mut file =
        BufReader::new(File::open(outside_data("chains/mainnet-0-2200.blk.xz")?).unwrap());
    let mut bytes = Vec::new();
    lzma_rs::xz_decompress(&mut file, &mut bytes).unwrap();
    Some(bytes)
}

#[test]
fn cores_file_of_2_201_blocks_is_adopted_converted_and_rebuilt() {
    let Some(bytes) = mainnet() else { return println!("left out 2,201 mainnet blocks") };
    let dir = dir_with(&bytes);
    let (store, report) = BlockStore::open(dir.path(), MAIN).unwrap();
    assert_eq!((report.indexed, report.cut, report.skipped_bytes), (2201, None, 0));
    let mut prev = BlockHash::ZERO;
    let mut hashes = Vec::new();
    for entry in store.entries().map(Result::unwrap) {
        assert_eq!(entry.header.prev_block, prev);
        let raw = store.verify(&entry.hash).unwrap();
        assert_eq!(Block::parse(&raw).unwrap().hash(), entry.hash);
        prev = entry.hash;
        hashes.push(prev);
    }
    assert_eq!(
        prev.to_string(),
        "0000000070118b55e0436a721d4533fc3d09a0238f72a5380e8a694c9dbf948e"
    );
    drop(store);
    assert_eq!(convert(&blocks_bin(&dir)).unwrap().rewritten, 2201);
    fs::remove_file(blocks_idx(&dir)).unwrap();
    let (store, report) = BlockStore::open(dir.path(), MAIN).unwrap();
    assert_eq!((report.indexed, report.cut), (2201, None));
    assert_eq!(store.entries().map(|entry| entry.unwrap().hash).collect::<Vec<_>>(), hashes);
    println!("2201 mainnet blocks");
}

#[test]
fn btcds_file_of_255_blocks_is_read() {
    let Some(path) = outside_data("chains/btcd-blocks1-256.bz2") else {
        return println!("left out 255 mainnet blocks");
    };
    let mut bytes = Vec::new();
    bzip2_rs::DecoderReader::new(File::open(path).unwrap()).read_to_end(&mut bytes).unwrap();
    let (read, reader) = read_all(&bytes, MAIN);
    let counts = reader.finish().unwrap();
    assert_eq!((counts.records, counts.torn_bytes, counts.skipped_bytes), (255, 0, 0));
    let tip = Block::parse(&read[254]).unwrap().hash().to_string();
    assert!(tip.starts_with("00000000d0a75c861fabf9ff7b9"), "{tip}");
    println!("255 mainnet blocks");
}

#[test]
fn a_testnet3_block_is_refused_by_name_on_mainnet_and_read_on_testnet3() {
    let Some(path) = outside_data("blocks/testnet3/86756.raw") else {
        return println!("left out 1 testnet3 block");
    };
    let raw = fs::read(path).unwrap();
    let hash = Block::parse(&raw).unwrap().hash();
    let block = TestBlock { raw, hash };
    let record = block.record(TESTNET3);
    let (_, reader) = read_all(&record, MAIN);
    assert!(reader.finish().unwrap_err().to_string().contains("testnet3"));
    let dir = dir_with(&record);
    assert!(matches!(BlockStore::open(dir.path(), MAIN), Err(Error::OtherNetwork { .. })));
    let (store, _) = BlockStore::open(dir.path(), TESTNET3).unwrap();
    check_blocks(&store, &[block]);
    println!("1 testnet3 block");
}
