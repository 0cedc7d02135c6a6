use std::fs;
use std::path::{Path, PathBuf};

use caesure_blockstore::{BlockStore, RecordReader};
use caesure_generate::{BITS, solve};
use caesure_wire::{
    BlockHash, Header, MerkleRoot, OutPoint, Transaction, TxIn, TxOut, encode_block,
};
use proptest::collection;
use proptest::prelude::*;
use proptest::sample::Index;
use tempfile::TempDir;

pub(crate) const MAIN: [u8; 4] = [0xf9, 0xbe, 0xb4, 0xd9];
pub(crate) const TESTNET3: [u8; 4] = [0x0b, 0x11, 0x09, 0x07];
pub(crate) const REGTEST: [u8; 4] = [0xfa, 0xbf, 0xb5, 0xda];

/// Mainnet's genesis block.
pub(crate) const GENESIS: &str = "0100000000000000000000000000000000000000000000000000000000000000\
    000000003ba3edfd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4a29ab5f49ffff001d1dac2b7c\
    01010000000100000000000000000000000000000000000000000000000000000000000000\
    00ffffffff4d04ffff001d0104455468652054696d65732030332f4a616e2f32303039204368616e63656c6c6f72206f\
    6e206272696e6b206f66207365636f6e64206261696c6f757420666f722062616e6b73ffffffff0100f2052a01000000\
    434104678afdb0fe5548271967f1a67130b7105cd6a828e03909a67962e0ea1f61deb649f6bc3f4cef38c4f35504e51e\
    c112de5c384df7ba0b8d578a4c702b6bf11d5fac00000000";

/// A raw block and its hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TestBlock {
    pub(crate) raw: Vec<u8>,
    pub(crate) hash: BlockHash,
}

impl TestBlock {
    /// A block of one transaction whose script has `padding` bytes, with a proof of work of regtest.
    pub(crate) fn mine(prev_block: BlockHash, tag: u32, padding: usize) -> Self {
        Self::mine_to(prev_block, tag, padding, BITS)
    }

    /// Such a block with another target.
    pub(crate) fn mine_to(prev_block: BlockHash, tag: u32, padding: usize, bits: u32) -> Self {
        let coinbase = Transaction {
            version: 1,
            inputs: vec![TxIn {
                prevout: OutPoint::NULL,
                script_sig: tag.to_le_bytes().to_vec(),
                ..TxIn::default()
            }],
            outputs: vec![TxOut { value: 50, script_pubkey: vec![0x51; padding] }],
            lock_time: 0,
        };
        let merkle_root = MerkleRoot(coinbase.txid().0);
        let mut header = Header { version: 4, prev_block, merkle_root, time: tag, bits, nonce: 0 };
        solve(&mut header);
        Self { raw: encode_block(&header, &[coinbase.encode()]), hash: header.hash() }
    }

    /// The record in the form that is written.
    pub(crate) fn record(&self, magic: [u8; 4]) -> Vec<u8> {
        let size = u32::try_from(self.raw.len()).unwrap().to_le_bytes();
        [&magic[..], &size, &self.raw].concat()
    }

    /// The record in the original's form.
    pub(crate) fn native_record(&self) -> Vec<u8> {
        [&(self.raw.len() as u64).to_le_bytes()[..], &self.raw].concat()
    }
}

/// Blocks in any order, some of them twice: each the child of one of the others or of none, with one
/// of two targets.
pub(crate) fn any_tree(count: usize) -> impl Strategy<Value = Vec<TestBlock>> {
    let parents = collection::vec((any::<Index>(), any::<bool>(), 0..60_usize, 0..20_u8), 1..count);
    let order = collection::vec(any::<Index>(), 0..count / 2);
    (parents, order, any::<bool>()).prop_map(|(parents, order, is_shuffled)| {
        let mut blocks = Vec::<TestBlock>::new();
        for (tag, (parent, is_hard, padding, kind)) in (0..).zip(parents) {
            let prev = match (blocks.len(), kind) {
                (0, 1..) => BlockHash::ZERO,
                (0, 0) | (_, 0) => BlockHash([7; 32]),
                (count, 1..8) => blocks[parent.index(count)].hash,
                (count, _) => blocks[count - 1].hash,
            };
            blocks.push(TestBlock::mine_to(
                prev,
                tag,
                padding,
                if is_hard { 0x201f_ffff } else { 0x207f_ffff },
            ));
        }
        for index in order {
            let (at, other) = (index.index(blocks.len()), blocks.len() / 2);
            match is_shuffled {
                true => blocks.swap(at, other.max(at / 2)),
                false => blocks.push(blocks[at].clone()),
            }
        }
        blocks
    })
}

/// `count` blocks, each the child of the one before, of different sizes.
pub(crate) fn chain(count: u32) -> Vec<TestBlock> {
    let mut prev_block = BlockHash::ZERO;
    let block = |tag| {
        let block = TestBlock::mine(prev_block, tag, 7 * tag as usize % 50);
        prev_block = block.hash;
        block
    };
    (0..count).map(block).collect()
}

/// All records one after the other.
pub(crate) fn file_of(blocks: &[TestBlock], magic: [u8; 4]) -> Vec<u8> {
    blocks.iter().flat_map(|block| block.record(magic)).collect()
}

/// A new folder, in memory where there is such a file system, since these tests sync thousands of times.
pub(crate) fn new_dir() -> TempDir {
    let in_memory = Path::new("/dev/shm");
    if in_memory.is_dir() { tempfile::tempdir_in(in_memory) } else { tempfile::tempdir() }.unwrap()
}

/// A new folder with a `blocks.bin` of these bytes.
pub(crate) fn dir_with(bytes: &[u8]) -> TempDir {
    let dir = new_dir();
    fs::write(dir.path().join("blocks.bin"), bytes).unwrap();
    dir
}

/// A new folder with a store of these blocks, closed again.
pub(crate) fn stored(blocks: &[TestBlock]) -> TempDir {
    let dir = new_dir();
    let (mut store, _) = BlockStore::open(dir.path(), REGTEST).unwrap();
    append_all(&mut store, blocks);
    store.sync().unwrap();
    dir
}

pub(crate) fn append_all(store: &mut BlockStore, blocks: &[TestBlock]) {
    for block in blocks {
        store.append(&block.raw, &block.hash).unwrap();
    }
}

/// Checks that the store has exactly these blocks, whole, in this order.
pub(crate) fn check_blocks(store: &BlockStore, blocks: &[TestBlock]) {
    let hashes = store.entries().map(|entry| entry.unwrap().hash).collect::<Vec<_>>();
    assert_eq!(hashes, blocks.iter().map(|block| block.hash).collect::<Vec<_>>());
    assert_eq!(store.len(), blocks.len());
    for block in blocks {
        assert_eq!(store.verify(&block.hash).unwrap(), block.raw);
    }
}

/// The blocks that a reader finds in a file of these bytes, and the reader after them.
pub(crate) fn read_all(bytes: &[u8], magic: [u8; 4]) -> (Vec<Vec<u8>>, RecordReader) {
    let dir = new_dir();
    let path = dir.path().join("bootstrap.dat");
    fs::write(&path, bytes).unwrap();
    read_path(&path, magic)
}

pub(crate) fn read_path(path: &Path, magic: [u8; 4]) -> (Vec<Vec<u8>>, RecordReader) {
    let mut reader = RecordReader::open(path, magic).unwrap();
    let blocks = reader.by_ref().map(|record| record.unwrap().bytes.as_ref().to_vec()).collect();
    (blocks, reader)
}

pub(crate) fn raws(blocks: &[TestBlock]) -> Vec<Vec<u8>> {
    blocks.iter().map(|block| block.raw.clone()).collect()
}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let digits = text.bytes().filter(u8::is_ascii_hexdigit).collect::<Vec<_>>();
    let digit = |byte: u8| u8::try_from(char::from(byte).to_digit(16).unwrap()).unwrap();
    digits.as_chunks().0.iter().map(|[high, low]| digit(*high) << 4 | digit(*low)).collect()
}

/// A file of outside data, or nothing when the folder was not given.
pub(crate) fn outside_data(name: &str) -> Option<PathBuf> {
    let dir = std::env::var_os("CAESURE_TEST_DATA")?;
    Some(Path::new(&dir).join(name))
}

pub(crate) fn blocks_bin(dir: &TempDir) -> PathBuf {
    dir.path().join("blocks.bin")
}

pub(crate) fn blocks_idx(dir: &TempDir) -> PathBuf {
    dir.path().join("blocks.idx")
}
