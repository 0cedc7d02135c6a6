//! Scans against a naive model.

use std::collections::BTreeMap;
use std::fs;
use std::ops::{ControlFlow, RangeInclusive};
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use caesure_blockstore::{
    Error, Fault, Order, RecordReader, ScanOptions, ScanReport, ScannedBlock, scan,
};
use caesure_wire::{BlockHash, Header};
use proptest::prelude::*;

use crate::support::*;

/// What a scan told of a block.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Seen {
    raw: Vec<u8>,
    hash: BlockHash,
    height: Option<u32>,
    is_best: bool,
    position: u64,
}

fn seen(block: &ScannedBlock<'_>) -> Seen {
    let ScannedBlock { bytes, hash, height, is_best, position, .. } = *block;
    Seen { raw: bytes.to_vec(), hash, height, is_best, position }
}

fn scan_path(path: &Path, options: &ScanOptions) -> Result<(Vec<Seen>, ScanReport), Error> {
    let mut blocks = Vec::new();
    let report = scan(RecordReader::open(path, REGTEST)?, options, seen, |block| {
        blocks.push(block);
        ControlFlow::Continue(())
    })?;
    assert_eq!(report.blocks, blocks.len() as u64);
    let progress = options.control.progress();
    assert_eq!(progress.done_blocks, report.blocks);
    if !report.is_stopped {
        assert_eq!(progress.located_bytes, progress.input_bytes);
        assert_eq!(progress.done_bytes, progress.total_bytes);
        assert_eq!(progress.done_blocks, progress.total_blocks);
    }
    Ok((blocks, report))
}

/// Records in the order of the files, with what a model knows of them.
struct Model {
    /// Place and block; of several records of a block the last.
    blocks: Vec<((usize, u64), TestBlock)>,
    heights: BTreeMap<BlockHash, u32>,
}

impl Model {
    fn new(files: &[Vec<TestBlock>]) -> Self {
        let mut places = BTreeMap::new();
        for (number, file) in files.iter().enumerate() {
            let mut position = 0;
            for block in file {
                places.insert(block.hash.0, ((number, position), block.clone()));
                position += 8 + block.raw.len() as u64;
            }
        }
        let mut blocks: Vec<_> = places.into_values().collect();
        blocks.sort_by_key(|(place, _)| *place);
        let all = files.iter().flatten();
        Self { heights: connected(all.clone()).into_keys_heights(), blocks }
    }
}

/// Height and work of each block from which parents lead to the genesis block.
struct Connected(BTreeMap<BlockHash, (u32, u64)>);

impl Connected {
    fn into_keys_heights(self) -> BTreeMap<BlockHash, u32> {
        self.0.into_iter().map(|(hash, (height, _))| (hash, height)).collect()
    }
}

fn connected<'a>(blocks: impl Iterator<Item = &'a TestBlock> + Clone) -> Connected {
    let mut known: BTreeMap<BlockHash, (u32, u64)> = BTreeMap::new();
    loop {
        let before = known.len();
        for block in blocks.clone() {
            let header = header_of(block);
            let own = work(header.bits);
            if let Some(&(height, work)) = known.get(&header.prev_block) {
                known.entry(block.hash).or_insert((height + 1, work + own));
            } else if header.prev_block == BlockHash::ZERO && known.is_empty() {
                known.insert(block.hash, (0, own));
            }
        }
        if known.len() == before {
            return Connected(known);
        }
    }
}

fn header_of(block: &TestBlock) -> Header {
    Header::from_bytes(block.raw.first_chunk().unwrap())
}

fn work(bits: u32) -> u64 {
    match bits {
        0x207f_ffff => 2,
        0x201f_ffff => 8,
        _ => panic!("{bits:08x} is no target of these tests"),
    }
}

/// The tips that have the most work and were the first to have it, with the blocks of the files in
/// their order.
fn best_tips(files: &[Vec<TestBlock>]) -> Vec<BlockHash> {
    let all: Vec<&TestBlock> = files.iter().flatten().collect();
    let most = |count: usize| {
        let known = connected(all[..count].iter().copied()).0;
        let most = known.values().map(|(_, work)| *work).max();
        let tips = known.iter().filter(|(_, (_, work))| Some(*work) == most);
        (most, tips.map(|(hash, _)| *hash).collect::<Vec<_>>())
    };
    let (target, last) = most(all.len());
    let first = (0..=all.len()).map(most).find(|(work, _)| *work == target);
    first.map_or(last, |(_, tips)| tips)
}

/// The options of a scan, as numbers.
#[derive(Clone, Debug)]
struct Choice {
    heights: Option<RangeInclusive<u32>>,
    times: RangeInclusive<u32>,
    best_chain: bool,
    order: Order,
    threads: usize,
}

fn choices() -> impl Strategy<Value = Choice> {
    let heights =
        prop_oneof![Just(None), (0..12_u32, 0..12_u32).prop_map(|(from, to)| Some(from..=to)),];
    let times = prop_oneof![Just(0..=u32::MAX), (0..30_u32, 0..30_u32).prop_map(|(a, b)| a..=b)];
    let order = prop_oneof![Just(Order::Any), Just(Order::File), Just(Order::Height)];
    (heights, times, any::<bool>(), order, 1..4_usize).prop_map(
        |(heights, times, best_chain, order, threads)| Choice {
            heights,
            times,
            best_chain,
            order,
            threads,
        },
    )
}

/// Checks a scan of files against the model.
fn check(files: &[Vec<TestBlock>], path: &Path, choice: &Choice) {
    let Choice { heights, times, best_chain, order, threads } = choice.clone();
    let options =
        ScanOptions { heights, times, best_chain, order, threads, ..ScanOptions::default() };
    let (blocks, report) = scan_path(path, &options).unwrap();
    let model = Model::new(files);
    let records: usize = files.iter().map(Vec::len).sum();
    assert_eq!(report.counts.records, records as u64);
    assert_eq!(report.duplicates, (records - model.blocks.len()) as u64);
    assert_eq!(report.unconnected, (model.blocks.len() - model.heights.len()) as u64);
    let tips = best_tips(files);
    match report.tip {
        Some((tip, height)) => {
            assert!(tips.contains(&tip));
            assert_eq!(height, model.heights[&tip]);
        }
        None => assert!(tips.is_empty()),
    }
    let by_hash: BTreeMap<_, _> =
        model.blocks.iter().map(|(_, block)| (block.hash, header_of(block).prev_block)).collect();
    let next = |hash: &BlockHash| by_hash.get(hash).copied().filter(|p| by_hash.contains_key(p));
    let best: Vec<_> = std::iter::successors(report.tip.map(|tip| tip.0), next).collect();
    let mut expected: Vec<_> = model
        .blocks
        .iter()
        .map(|(place, block)| {
            let height = model.heights.get(&block.hash).copied();
            let is_best = best.contains(&block.hash);
            let TestBlock { raw, hash } = block.clone();
            (*place, Seen { raw, hash, height, is_best, position: place.1 })
        })
        .filter(|(_, block)| {
            choice
                .heights
                .as_ref()
                .is_none_or(|heights| block.height.is_some_and(|height| heights.contains(&height)))
                && choice.times.contains(&Header::from_bytes(block.raw.first_chunk().unwrap()).time)
                && (!choice.best_chain || block.is_best)
        })
        .collect();
    if order == Order::Height {
        expected.sort_by_key(|(place, block)| (block.height.unwrap_or(u32::MAX), *place));
    }
    let mut expected: Vec<_> = expected.into_iter().map(|(_, block)| block).collect();
    let mut blocks = blocks;
    if order == Order::Any {
        blocks.sort_by_key(|block| block.hash);
        expected.sort_by_key(|block| block.hash);
    }
    assert_eq!(blocks, expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_scan_tells_what_a_model_knows(
        blocks in any_tree(24),
        choice in choices(),
        split in 0..24_usize,
        key in prop_oneof![Just([0; 8]), any::<[u8; 8]>()],
        zeros in 0..200_usize,
    ) {
        let dir = new_dir();
        let (first, second) = blocks.split_at(split.min(blocks.len()));
        let files = [first.to_vec(), second.to_vec()];
        fs::write(dir.path().join("xor.dat"), key).unwrap();
        for (name, file) in ["blk00000.dat", "blk00001.dat"].into_iter().zip(&files) {
            let mut bytes = file_of(file, REGTEST);
            bytes.iter_mut().zip(key.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
            bytes.resize(bytes.len() + zeros, 0);
            fs::write(dir.path().join(name), bytes).unwrap();
        }
        check(&files, dir.path(), &choice);
    }

    #[test]
    fn one_file_in_either_form_is_scanned(blocks in any_tree(16), choice in choices()) {
        let dir = new_dir();
        for (name, record) in [
            ("bootstrap.dat", (|block| block.record(REGTEST)) as fn(&TestBlock) -> Vec<u8>),
            ("native.dat", TestBlock::native_record),
        ] {
            let path = dir.path().join(name);
            fs::write(&path, blocks.iter().flat_map(record).collect::<Vec<_>>()).unwrap();
            check(std::slice::from_ref(&blocks), &path, &choice);
        }
    }
}

#[test]
fn a_stores_own_folder_is_scanned() {
    let blocks = chain(40);
    let dir = stored(&blocks);
    let (seen, report) =
        scan_path(dir.path(), &ScanOptions { order: Order::Height, ..Default::default() }).unwrap();
    assert_eq!(seen.iter().map(|block| block.raw.clone()).collect::<Vec<_>>(), raws(&blocks));
    assert_eq!(report.tip, Some((blocks[39].hash, 39)));
}

#[test]
fn a_part_of_a_chain_has_heights_when_its_root_is_named() {
    let blocks = chain(30);
    let dir = dir_with(&file_of(&blocks[10..], REGTEST));
    let (seen, report) = scan_path(dir.path(), &ScanOptions::default()).unwrap();
    assert!(seen.iter().all(|block| block.height.is_none() && !block.is_best));
    assert_eq!((report.unconnected, report.tip), (20, None));
    let root = Some((blocks[9].hash, 9));
    let options = ScanOptions { root, heights: Some(12..=13), ..Default::default() };
    let (mut seen, report) = scan_path(dir.path(), &options).unwrap();
    seen.sort_by_key(|block| block.height);
    assert_eq!(
        seen.iter().map(|block| block.hash).collect::<Vec<_>>(),
        [blocks[12].hash, blocks[13].hash]
    );
    assert_eq!((report.unconnected, report.tip), (0, Some((blocks[29].hash, 29))));
    let options = ScanOptions { root: Some((blocks[9].hash, u32::MAX)), ..Default::default() };
    let (_, report) = scan_path(dir.path(), &options).unwrap();
    assert_eq!(report.tip, Some((blocks[29].hash, u32::MAX)), "heights end there");
}

#[test]
fn a_header_that_does_not_meet_its_target_has_no_height() {
    let mut blocks = chain(5);
    let bits = 0x1d00_ffff_u32.to_le_bytes();
    blocks[3].raw[72..76].copy_from_slice(&bits);
    blocks[3].hash = header_of(&blocks[3]).hash();
    blocks[4] = TestBlock::mine(blocks[3].hash, 4, 9);
    let dir = dir_with(&file_of(&blocks, REGTEST));
    let options = ScanOptions { order: Order::File, ..Default::default() };
    let (seen, report) = scan_path(dir.path(), &options).unwrap();
    let heights = seen.iter().map(|block| block.height).collect::<Vec<_>>();
    assert_eq!(heights, [Some(0), Some(1), Some(2), None, None]);
    assert_eq!((report.tip, report.unconnected), (Some((blocks[2].hash, 2)), 2));
}

#[test]
fn a_second_genesis_block_has_no_height() {
    let blocks = [chain(2), vec![TestBlock::mine(BlockHash::ZERO, 9, 9)]].concat();
    let dir = dir_with(&file_of(&blocks, REGTEST));
    let (seen, report) = scan_path(dir.path(), &ScanOptions::default()).unwrap();
    assert_eq!((seen[2].height, report.unconnected), (None, 1));
}

#[test]
fn damage_is_counted_and_passed_over() {
    let blocks = chain(9);
    let bytes = [file_of(&blocks[..4], REGTEST), vec![7; 500], file_of(&blocks[4..], REGTEST)];
    let dir = dir_with(&[&bytes.concat()[..], &blocks[0].record(REGTEST)[..50]].concat());
    let options = ScanOptions { order: Order::File, threads: 3, ..Default::default() };
    let (seen, report) = scan_path(dir.path(), &options).unwrap();
    assert_eq!(seen.iter().map(|block| block.raw.clone()).collect::<Vec<_>>(), raws(&blocks));
    assert_eq!((report.counts.skipped_bytes, report.counts.torn_bytes), (500, 50));
}

#[test]
fn a_file_without_a_block_of_the_network_is_refused() {
    let dir = dir_with(&file_of(&chain(3), MAIN));
    let error = scan_path(dir.path(), &ScanOptions::default()).unwrap_err();
    assert!(matches!(error, Error::OtherNetwork { .. }), "{error}");
    let dir = dir_with(b"nothing of the kind");
    let error = scan_path(dir.path(), &ScanOptions::default()).unwrap_err();
    assert!(matches!(error, Error::NotABlockFile(_)), "{error}");
}

#[test]
fn a_stream_is_refused() {
    let stream = RecordReader::stream(Path::new("-"), REGTEST, &b""[..]);
    let error = scan(stream, &ScanOptions::default(), seen, |_| ControlFlow::Continue(()));
    assert!(matches!(error, Err(Error::NotSeekable(0))), "{error:?}");
}

/// Blocks of about 100 kB, so that a scan takes many chunks.
fn large_chain() -> tempfile::TempDir {
    let mut prev = BlockHash::ZERO;
    let blocks: Vec<_> = (0..600)
        .map(|tag| {
            let block = TestBlock::mine(prev, tag, 100_000);
            prev = block.hash;
            block
        })
        .collect();
    dir_with(&file_of(&blocks, REGTEST))
}

#[test]
fn a_sink_that_breaks_off_and_a_stop_from_outside_end_the_scan() {
    let dir = large_chain();
    for order in [Order::Any, Order::File, Order::Height] {
        let options = ScanOptions { order, threads: 3, ..Default::default() };
        let input = RecordReader::open(dir.path(), REGTEST).unwrap();
        let mut count = 0;
        let report = scan(input, &options, seen, |_| {
            count += 1;
            if count == 40 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        let report = report.unwrap();
        assert_eq!((count, report.blocks, report.is_stopped), (40, 40, true));
        let options = ScanOptions { order, ..options };
        let control = Arc::clone(&options.control);
        let input = RecordReader::open(dir.path(), REGTEST).unwrap();
        let report = scan(input, &options, seen, |_| {
            control.stop();
            ControlFlow::Continue(())
        });
        assert_eq!(report.map(|report| (report.blocks, report.is_stopped)).unwrap(), (1, true));
        let (seen, report) = scan_path(dir.path(), &options).unwrap();
        assert_eq!((seen.len(), report.is_stopped), (0, true), "it was stopped before it began");
    }
}

#[test]
fn results_come_in_order_and_workers_wait_for_a_sink_that_does_not_take_them() {
    let dir = large_chain();
    for order in [Order::Any, Order::File, Order::Height] {
        let (begun, taken) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let options = ScanOptions { order, threads: 2, ..Default::default() };
        let input = RecordReader::open(dir.path(), REGTEST).unwrap();
        let work = |block: &ScannedBlock<'_>| {
            begun.fetch_add(1, Ordering::SeqCst);
            block.position
        };
        let mut last = None;
        let sink = |position| {
            let is_next = last.replace(position) < Some(position);
            assert!(is_next || order == Order::Any, "in their order");
            let taken = taken.fetch_add(1, Ordering::SeqCst);
            std::thread::sleep(std::time::Duration::from_millis(1));
            // 42 blocks make a chunk, and there are three for each of two threads.
            let ahead = begun.load(Ordering::SeqCst) - taken;
            assert!(ahead <= 42 * 3 * 2, "{ahead} blocks ahead");
            ControlFlow::Continue(())
        };
        assert_eq!(scan(input, &options, work, sink).unwrap().blocks, 600);
    }
}

#[test]
fn a_panic_of_a_worker_or_of_the_sink_ends_the_scan_with_it() {
    let dir = large_chain();
    let run = |work: fn(&ScannedBlock<'_>) -> u64, sink: fn(u64) -> ControlFlow<()>| {
        let options = ScanOptions { order: Order::File, threads: 3, ..Default::default() };
        let input = RecordReader::open(dir.path(), REGTEST).unwrap();
        std::panic::catch_unwind(AssertUnwindSafe(|| scan(input, &options, work, sink)))
    };
    let of = |block: &ScannedBlock<'_>| block.position;
    assert!(
        run(
            |block| {
                assert_ne!(block.height, Some(50));
                0
            },
            |_| ControlFlow::Continue(())
        )
        .is_err()
    );
    assert!(
        run(of, |position| {
            assert!(position < 5_000_000);
            ControlFlow::Continue(())
        })
        .is_err()
    );
}

#[test]
fn a_file_that_is_cut_or_changed_meanwhile_is_an_error_that_names_the_place() {
    for fault in [Fault::Short, Fault::Hash] {
        let dir = large_chain();
        let path = blocks_bin(&dir);
        let options = ScanOptions { order: Order::File, threads: 1, ..Default::default() };
        let input = RecordReader::open(&path, REGTEST).unwrap();
        let mut count = 0;
        let result = scan(input, &options, seen, |_| {
            count += 1;
            if count == 1 {
                match fault {
                    Fault::Short => {
                        fs::File::options().write(true).open(&path).unwrap().set_len(50_000_000)
                    }
                    _ => fs::write(&path, vec![1; 64_000_000]),
                }
                .unwrap();
            }
            ControlFlow::Continue(())
        });
        let error = result.unwrap_err();
        let text = error.to_string();
        let Error::Damaged { path: named, fault: named_fault, .. } = error else {
            panic!("{text}")
        };
        assert_eq!((named, named_fault), (path, fault), "{text}");
        assert!(0 < count && count < 600);
    }
}
