//! Followers of files that grow, against a naive model.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

use caesure_blockstore::{BlockStore, Change, Error, Follow, FollowOptions, FollowPosition};
use caesure_generate::{Options, generate};
use caesure_wire::{BlockHash, Header};
use proptest::prelude::*;

use crate::support::*;
use crate::told::Told;

fn open(path: &Path, from: FollowPosition) -> Follow {
    Follow::open(path, REGTEST, &FollowOptions { from, root: None }).unwrap()
}

/// The blocks from which parents lead to the first genesis block.
fn connected(blocks: &[TestBlock]) -> BTreeSet<Vec<u8>> {
    let mut hashes = BTreeSet::new();
    let mut raws = BTreeSet::new();
    loop {
        let before = raws.len();
        for block in blocks {
            let prev = Header::from_bytes(block.raw.first_chunk().unwrap()).prev_block;
            if hashes.contains(&prev.0) || prev == BlockHash::ZERO && hashes.is_empty() {
                hashes.insert(block.hash.0);
                raws.insert(block.raw.clone());
            }
        }
        if raws.len() == before {
            return raws;
        }
    }
}

/// How a writer goes about it.
#[derive(Clone, Debug)]
struct Writer {
    key: [u8; 8],
    /// Zeros that are written ahead, at a time.
    ahead: usize,
    /// How many records a file has.
    per_file: usize,
    /// How many bytes are written at a time.
    pieces: Vec<usize>,
    /// After which pieces a new follower goes on.
    resumes: Vec<bool>,
}

fn writers() -> impl Strategy<Value = Writer> {
    let key = prop_oneof![Just([0; 8]), any::<[u8; 8]>()];
    let ahead = prop_oneof![Just(0), 1..3000_usize];
    let pieces = prop::collection::vec(prop_oneof![1..4_usize, 1..400_usize], 1..40);
    let resumes = prop::collection::vec(prop::bool::weighted(0.2), 1..40);
    (key, ahead, 1..12_usize, pieces, resumes).prop_map(
        |(key, ahead, per_file, pieces, resumes)| Writer { key, ahead, per_file, pieces, resumes },
    )
}

/// Writes blocks piece by piece, as Bitcoin Core does into its folder, and follows.
fn check(blocks: &[TestBlock], writer: &Writer) {
    let dir = new_dir();
    fs::write(dir.path().join("xor.dat"), writer.key).unwrap();
    fs::write(dir.path().join("blk00000.dat"), b"").unwrap();
    let (mut follow, mut told) = (open(dir.path(), FollowPosition::default()), Told::default());
    let mut steps = writer.pieces.iter().zip(&writer.resumes).cycle();
    for (number, records) in blocks.chunks(writer.per_file).enumerate() {
        let path = dir.path().join(format!("blk{number:05}.dat"));
        let file = fs::File::create(&path).unwrap();
        let mut bytes = file_of(records, REGTEST);
        bytes.iter_mut().zip(writer.key.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
        let (mut at, mut size) = (0, 0);
        while at < bytes.len() {
            let (&piece, &is_resumed) = steps.next().unwrap();
            let end = bytes.len().min(at + piece);
            if 0 < writer.ahead && size < end {
                size = end + writer.ahead;
                file.set_len(size as u64).unwrap();
            }
            file.write_all_at(&bytes[at..end], at as u64).unwrap();
            at = end;
            if is_resumed {
                // One block at most is told before.
                if let Some(block) = follow.poll().unwrap() {
                    told.take(&block);
                }
                follow = open(dir.path(), follow.position());
            } else if piece % 3 != 0 {
                told.poll(&mut follow);
            }
        }
        file.set_len(bytes.len() as u64).unwrap();
    }
    told.poll(&mut follow);
    assert_eq!(told.raws, connected(blocks));
    assert_eq!(told.poll(&mut follow), 0);
    let all: BTreeSet<_> = blocks.iter().map(|block| block.hash.0).collect();
    assert_eq!(follow.waiting_count(), all.len() - told.raws.len());
    let mut again = open(dir.path(), follow.position());
    assert_eq!(told.poll(&mut again), 0, "all was told");
    assert_eq!(again.position(), follow.position());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_block_is_told_once_and_after_its_parent(
        blocks in any_tree(24),
        writer in writers(),
    ) {
        check(&blocks, &writer);
    }

    #[test]
    fn a_store_is_followed_as_far_as_it_is_durable(
        blocks in any_tree(16),
        steps in prop::collection::vec(0..4_u8, 16),
    ) {
        let dir = new_dir();
        let (mut store, _) = BlockStore::open(dir.path(), REGTEST).unwrap();
        let (mut follow, mut told) = (open(dir.path(), FollowPosition::default()), Told::default());
        for (block, step) in blocks.iter().zip(steps.iter().cycle()) {
            store.append(&block.raw, &block.hash).unwrap();
            match step {
                0 => {}
                1 => drop(told.poll(&mut follow)),
                2 => {
                    store.sync().unwrap();
                    told.poll(&mut follow);
                }
                _ => {
                    store.sync().unwrap();
                    follow.poll().unwrap().iter().for_each(|block| told.take(block));
                    follow = open(dir.path(), follow.position());
                }
            }
        }
        store.sync().unwrap();
        told.poll(&mut follow);
        assert_eq!(told.raws, connected(&blocks));
    }
}

#[test]
fn a_generated_chain_with_forks_is_told_byte_by_byte() {
    let options = Options { blocks: 130, txs: 200, pool: 60, forks: 6, ..Options::default() };
    let mut bytes = Vec::new();
    let summary = generate(&options, &mut |raw| {
        let hash = Header::from_bytes(raw.first_chunk().unwrap()).hash();
        bytes.extend(TestBlock { raw: raw.to_vec(), hash }.record(REGTEST));
        Ok(())
    })
    .unwrap();
    let dir = new_dir();
    let path = dir.path().join("bootstrap.dat");
    let file = fs::File::create(&path).unwrap();
    let (mut follow, mut told) = (open(&path, FollowPosition::default()), Told::default());
    let mut at = 0;
    while at < bytes.len() {
        // Single bytes around some ends of records, larger pieces elsewhere.
        let size = if at % 20_000 < 150 { 1 } else { 149 };
        let end = bytes.len().min(at + size);
        file.write_all_at(&bytes[at..end], at as u64).unwrap();
        assert!(told.poll(&mut follow) <= 1);
        at = end;
    }
    assert_eq!(told.blocks.len() as u64, summary.blocks);
    assert_eq!(told.chain.last(), Some(&summary.tip));
    assert_eq!(told.chain.len(), 131);
    assert_eq!(told.reorganisations, 3, "every second fork wins");
    assert!(3 < told.forks);
    assert_eq!(follow.waiting_count(), 0);
}

#[test]
fn a_follower_that_goes_on_between_blocks_that_waited_for_one_tells_the_rest_in_keeping() {
    let chain = chain(2);
    let branch = |blocks: &[u8]| {
        let mut prev = chain[1].hash;
        let mine = |tag: &u8| {
            let block = TestBlock::mine(prev, u32::from(*tag), 5);
            prev = block.hash;
            block
        };
        blocks.iter().map(mine).collect::<Vec<_>>()
    };
    let (a, b) = (branch(&[20, 21]), branch(&[30, 31, 32]));
    // All but the first wait for the last.
    let order = [&chain[0], &b[0], &a[0], &a[1], &b[1], &b[2], &chain[1]];
    let dir = new_dir();
    let path = dir.path().join("bootstrap.dat");
    fs::write(&path, file_of(&order.map(Clone::clone), REGTEST)).unwrap();
    for resumed in 0..1 << 7 {
        let (mut follow, mut told) = (open(&path, FollowPosition::default()), Told::default());
        for at in 0..7 {
            told.take(&follow.poll().unwrap().unwrap());
            if resumed >> at & 1 == 1 {
                follow = open(&path, follow.position());
            }
        }
        assert_eq!(told.poll(&mut follow), 0);
        assert_eq!(told.chain.last(), Some(&b[2].hash));
    }
}

#[test]
fn a_record_inside_a_half_written_one_is_not_taken() {
    let blocks = chain(3);
    // A block whose script holds a whole record of another.
    let inner = TestBlock::mine(blocks[0].hash, 9, 5).record(REGTEST);
    let mut outer = TestBlock::mine(blocks[0].hash, 7, 4000);
    let at = outer.raw.len() - 3000;
    outer.raw[at..at + inner.len()].copy_from_slice(&inner);
    let mut header = Header::from_bytes(outer.raw.first_chunk().unwrap());
    let tx = caesure_wire::Tx::parse(outer.raw[81..].to_vec()).unwrap();
    header.merkle_root.0 = tx.view().txid().0;
    caesure_generate::solve(&mut header);
    outer.raw[..80].copy_from_slice(&header.to_bytes());
    outer.hash = header.hash();
    let bytes = file_of(&[blocks[0].clone(), outer.clone()], REGTEST);
    for ahead in [0, 50_000] {
        let dir = new_dir();
        let path = dir.path().join("blk00000.dat");
        let file = fs::File::create(&path).unwrap();
        let (mut follow, mut told) = (open(&path, FollowPosition::default()), Told::default());
        for end in (1..bytes.len()).step_by(61).chain([bytes.len()]) {
            file.write_all_at(&bytes[..end], 0).unwrap();
            file.set_len((end + ahead) as u64).unwrap();
            told.poll(&mut follow);
        }
        assert_eq!(told.chain, [blocks[0].hash, outer.hash]);
        assert_eq!(told.blocks.len(), 2);
    }
}

/// The system gives a reader one page as it was before a write and the next one as it is after.
#[test]
fn no_block_is_lost_that_is_written_while_it_is_read() {
    let mut prev_block = BlockHash::ZERO;
    let block = |tag: u32| {
        let block = TestBlock::mine(prev_block, tag, 37 * tag as usize % 3_000);
        prev_block = block.hash;
        block
    };
    let blocks: Vec<TestBlock> = (0..3_000).map(block).collect();
    let records: Vec<Vec<u8>> = blocks.iter().map(|block| block.record(REGTEST)).collect();
    for _ in 0..4 {
        let dir = new_dir();
        let file = fs::File::create(dir.path().join("blk00000.dat")).unwrap();
        file.set_len(16 << 20).unwrap();
        let mut told = Told::default();
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let mut at = 0;
                for record in &records {
                    file.write_all_at(record, at).unwrap();
                    at += record.len() as u64;
                }
            });
            let mut follow = open(dir.path(), FollowPosition::default());
            while !writer.is_finished() {
                told.poll(&mut follow);
            }
            told.poll(&mut follow);
        });
        assert_eq!(told.chain.len(), blocks.len());
    }
}

#[test]
fn a_damaged_record_is_passed_over_and_told_when_it_is_stored_again() {
    let blocks = chain(5);
    let mut damaged = blocks[2].clone();
    *damaged.raw.last_mut().unwrap() ^= 1;
    let dir = new_dir();
    let path = dir.path().join("bootstrap.dat");
    let mut bytes = [file_of(&blocks[..2], REGTEST), damaged.record(REGTEST)].concat();
    fs::write(&path, &bytes).unwrap();
    let (mut follow, mut told) = (open(&path, FollowPosition::default()), Told::default());
    assert_eq!(told.poll(&mut follow), 2);
    bytes.extend(file_of(&blocks[3..], REGTEST));
    fs::write(&path, &bytes).unwrap();
    assert_eq!(told.poll(&mut follow), 0);
    assert_eq!((follow.waiting_count(), &follow.position().owed[..]), (2, &[blocks[2].hash][..]));
    let mut follow = open(&path, follow.position());
    assert_eq!(told.poll(&mut follow), 0);
    bytes.extend(blocks[2].record(REGTEST));
    fs::write(&path, &bytes).unwrap();
    assert_eq!(told.poll(&mut follow), 3);
    assert_eq!(told.raws, connected(&blocks));
    assert!(follow.position().owed.is_empty());
}

#[test]
fn a_file_that_is_cut_and_written_anew_is_read_again() {
    let blocks = chain(6);
    let dir = new_dir();
    let path = dir.path().join("blk00000.dat");
    let with_zeros = |blocks: &[TestBlock]| {
        let mut bytes = file_of(blocks, REGTEST);
        bytes.resize(5000, 0);
        bytes
    };
    fs::write(&path, with_zeros(&blocks[..4])).unwrap();
    let (mut follow, mut told) = (open(&path, FollowPosition::default()), Told::default());
    assert_eq!(told.poll(&mut follow), 4);
    // After a crash, a node knows less than its file has, and writes over the rest.
    let other = TestBlock::mine(blocks[1].hash, 99, 3);
    let anew = [&blocks[..2], std::slice::from_ref(&other), &blocks[2..]].concat();
    fs::write(&path, with_zeros(&anew)).unwrap();
    assert_eq!(told.poll(&mut follow), 3);
    fs::write(&path, file_of(&blocks[..1], REGTEST)).unwrap();
    assert_eq!(told.poll(&mut follow), 0);
    assert_eq!(told.raws, connected(&anew));
}

#[test]
fn of_chains_with_the_same_work_the_one_that_was_told_first_stays_the_best() {
    let genesis = chain(1).remove(0);
    let [first, second] = [1, 2].map(|tag| TestBlock::mine(genesis.hash, tag, 9));
    let dir = new_dir();
    let write = |name: &str, blocks: &[TestBlock]| {
        fs::write(dir.path().join(name), file_of(blocks, REGTEST)).unwrap();
    };
    write("blk00000.dat", std::slice::from_ref(&genesis));
    write("blk00001.dat", std::slice::from_ref(&first));
    let (mut follow, mut told) = (open(dir.path(), FollowPosition::default()), Told::default());
    assert_eq!(told.poll(&mut follow), 2);
    // A later block in an earlier file, as where a node fills two files at once.
    write("blk00000.dat", &[genesis.clone(), second.clone()]);
    assert_eq!(told.poll(&mut follow), 1);
    assert_eq!(follow.position().tip, Some(first.hash));
    let mut follow = open(dir.path(), follow.position());
    write("blk00001.dat", &[first.clone(), TestBlock::mine(first.hash, 3, 9)]);
    assert_eq!(told.poll(&mut follow), 1);
    assert_eq!((told.forks, told.reorganisations, told.chain.len()), (1, 0, 3));
}

#[test]
fn a_torn_record_that_stays_costs_no_other() {
    let blocks = chain(4);
    let torn = &TestBlock::mine(blocks[0].hash, 77, 40).record(REGTEST)[..110];
    let bytes =
        [&file_of(&blocks[..1], REGTEST)[..], torn, &file_of(&blocks[1..], REGTEST)].concat();
    for piece in [1, 3, 44] {
        let dir = new_dir();
        let path = dir.path().join("bootstrap.dat");
        let file = fs::File::create(&path).unwrap();
        let (mut follow, mut told) = (open(&path, FollowPosition::default()), Told::default());
        for at in (0..bytes.len()).step_by(piece) {
            let end = bytes.len().min(at + piece);
            file.write_all_at(&bytes[at..end], at as u64).unwrap();
            told.poll(&mut follow);
        }
        assert_eq!(told.raws, connected(&blocks));
    }
}

#[test]
fn a_store_that_is_truncated_and_goes_on_otherwise_is_followed() {
    let blocks = chain(6);
    let dir = stored(&blocks[..4]);
    let (mut follow, mut told) = (open(dir.path(), FollowPosition::default()), Told::default());
    assert_eq!(told.poll(&mut follow), 4);
    let (mut store, _) = BlockStore::open(dir.path(), REGTEST).unwrap();
    store.truncate_to(store.position(&blocks[2].hash).unwrap()).unwrap();
    let other = TestBlock::mine(blocks[1].hash, 99, 3);
    append_all(&mut store, &[other]);
    store.sync().unwrap();
    assert_eq!(told.poll(&mut follow), 1);
    assert_eq!(told.forks, 1);
    append_all(&mut store, &blocks[2..]);
    assert_eq!(told.poll(&mut follow), 0, "not before they are durable");
    store.sync().unwrap();
    assert_eq!(told.poll(&mut follow), 2);
    assert_eq!(told.chain.last(), Some(&blocks[5].hash));
}

#[test]
fn a_part_of_a_chain_is_followed_from_its_root() {
    let blocks = chain(9);
    let dir = new_dir();
    let path = dir.path().join("blk00007.dat");
    fs::write(&path, file_of(&blocks[4..], REGTEST)).unwrap();
    let mut follow = open(&path, FollowPosition::default());
    assert!(follow.poll().unwrap().is_none());
    assert_eq!(follow.waiting_count(), 5);
    let options = FollowOptions { root: Some((blocks[3].hash, 3)), ..Default::default() };
    let mut follow = Follow::open(&path, REGTEST, &options).unwrap();
    let first = follow.poll().unwrap().unwrap();
    assert_eq!((first.height, first.hash, first.change), (4, blocks[4].hash, Change::Extends));
    assert_eq!(follow.files().collect::<Vec<_>>(), [path]);
    assert_eq!((first.file, first.position), (0, 0));
}

#[test]
fn what_cannot_be_followed_is_an_error() {
    let dir = new_dir();
    let options = FollowOptions::default();
    let error = Follow::open(dir.path(), REGTEST, &options).err().unwrap();
    assert!(matches!(error, Error::NoBlockFiles(_)), "{error}");
    let path = dir.path().join("bootstrap.dat");
    let error = Follow::open(&path, REGTEST, &options).err().unwrap();
    assert!(matches!(error, Error::Io { .. }), "{error}");
    fs::write(&path, file_of(&chain(2), TESTNET3)).unwrap();
    let error = open(&path, FollowPosition::default()).poll().unwrap_err();
    assert!(matches!(error, Error::OtherNetwork { .. }), "{error}");
}
