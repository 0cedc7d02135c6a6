//! The file layer fails at every change in turn, and the power with it.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use caesure_consensus::Coin;
use caesure_ledger::{BlockInfo, Error, Ledger, Options, Watch};
use caesure_wire::{BlockHash, OutPoint};
use tempfile::TempDir;

use crate::disk::{Disk, Failure, files};
use crate::naive::{Naive, Random, Set, Snapshot, hash_serialized, spend};
use crate::pair::{Pair, assert_set, cases, open, open_with};

/// What is done to a ledger that is open.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Extends by a block of the model and commits it.
    Add(BlockHash),
    Extend(BlockHash),
    Discard(BlockHash),
    Sync,
    Checkpoint,
    BeginCheckpoint,
    WriteCheckpoint,
    EndCheckpoint,
    Rewind(BlockHash),
}

/// What a folder has seen already, and what is tried on it with failures.
struct Scenario {
    naive: Naive,
    before: Vec<Step>,
    steps: Vec<Step>,
    memory: u64,
    chunks_from: u64,
}

/// Why a run stops: the disk failed, as it was to.
struct Stop;

struct Run {
    pair: Pair,
    disk: Arc<Disk>,
    /// States that a start may find: that when a sync last returned, and all since.
    allowed: Vec<Snapshot>,
    begun: Option<caesure_ledger::Checkpoint>,
    written: Option<caesure_ledger::Checkpointed>,
}

impl Run {
    /// Opens a folder over a disk that may fail.
    fn open(folder: &Path, naive: &Naive, disk: Arc<Disk>, limits: [u64; 2]) -> Result<Self, Stop> {
        let watch: Arc<dyn Watch> = disk.clone();
        let (horizon, [memory, chunks_from]) = (naive.horizon, limits);
        let watch = Some(watch);
        let options = Options { horizon, memory, chunks_from, watch, ..Options::default() };
        let ledger = told(&disk, "open", || open_with(folder, naive, options))?.0;
        let mut pair = Pair { naive: naive.clone(), ledger };
        let allowed = vec![pair.naive.now.clone()];
        // Discarded blocks of the log can keep more worlds alive than there were.
        pair.naive.adopt(&pair.ledger.worlds());
        Ok(Self { pair, disk, allowed, begun: None, written: None })
    }

    /// Whether a step makes sense after what came before, some of which may have failed.
    fn is_possible(&self, step: Step) -> bool {
        let naive = &self.pair.naive;
        let held = &naive.now.held;
        match step {
            Step::Add(hash) | Step::Extend(hash) => {
                held.contains(&naive.blocks[&hash].parent) && !held.contains(&hash)
            }
            Step::Discard(hash) => naive.pending.contains(&hash),
            Step::Rewind(hash) => naive.is_at_or_below_root(&hash),
            _ => true,
        }
    }

    fn step(&mut self, step: Step) -> Result<(), Stop> {
        let Self { pair, disk, .. } = self;
        match step {
            Step::Add(hash) => {
                self.step(Step::Extend(hash))?;
                // A commitment that fails may have reached the disk all the same.
                let mut after = self.pair.naive.clone();
                after.commit(hash);
                self.allowed.push(after.now.clone());
                let ledger = &mut self.pair.ledger;
                told(&self.disk, "commit", || ledger.commit(&hash))?;
                self.pair.naive = after;
            }
            Step::Extend(hash) => told(disk, "extend", || pair.try_extend(hash))?,
            Step::Discard(hash) => {
                told(disk, "discard", || pair.ledger.discard(&hash))?;
                pair.naive.discard(&hash);
            }
            Step::Sync => {
                told(disk, "sync", || pair.ledger.sync())?;
                self.allowed = vec![pair.naive.now.clone()];
            }
            Step::Checkpoint => {
                told(disk, "checkpoint", || pair.ledger.checkpoint())?;
                self.allowed = vec![pair.naive.now.clone()];
            }
            Step::BeginCheckpoint => {
                self.begun = told(disk, "begin_checkpoint", || pair.ledger.begin_checkpoint())?;
            }
            Step::WriteCheckpoint => {
                if let Some(begun) = self.begun.take() {
                    self.written = Some(told(disk, "write", || begun.write())?);
                }
            }
            Step::EndCheckpoint => {
                if let Some(written) = self.written.take() {
                    told(disk, "end_checkpoint", || pair.ledger.end_checkpoint(written))?;
                }
            }
            Step::Rewind(hash) => {
                let mut after = pair.naive.clone();
                after.rewind(hash);
                self.allowed.push(after.now.clone());
                let rewound = told(disk, "rewind_to", || pair.ledger.rewind_to(&hash));
                // One that failed late has happened all the same.
                if pair.ledger.tip().info().hash == hash {
                    pair.naive = after;
                }
                rewound?;
            }
        }
        Ok(())
    }
}

/// Does something that must report a failure of the disk, and fails for no other reason.
fn told<T>(disk: &Disk, what: &str, act: impl FnOnce() -> Result<T, Error>) -> Result<T, Stop> {
    let before = disk.failed();
    let result = act();
    match (result, disk.failed()) {
        (Ok(value), now) => {
            assert_eq!(before, now, "{what} keeps a failure to itself");
            Ok(value)
        }
        (Err(error), None) => panic!("{what} fails without cause: {error}"),
        (Err(error), Some(failed)) => {
            if before.is_none() {
                let is_named = error.to_string().contains("ledger.") || failed.contains("Folder");
                assert!(is_named, "{what}: {error} at {failed}");
            }
            Err(Stop)
        }
    }
}

impl Scenario {
    fn new(horizon: u32) -> Self {
        let naive = Naive::new(horizon);
        let (memory, chunks_from) = (1 << 30, 1 << 30);
        Self { naive, before: Vec::new(), steps: Vec::new(), memory, chunks_from }
    }

    fn limits(&self) -> [u64; 2] {
        [self.memory, self.chunks_from]
    }

    /// A block on `parent` that spends a coin or two of it and makes a few.
    fn block(&mut self, parent: BlockHash) -> BlockHash {
        let naive = &mut self.naive;
        let coins: Vec<OutPoint> = naive.set(&parent).keys().copied().collect();
        let mut random = Random::new(u64::from(naive.counter));
        let first = random.below(coins.len().max(1));
        let mut txs = vec![naive.coinbase(vec![crate::naive::output(50); 2])];
        let spent = &coins[first.min(coins.len())..coins.len().min(first + 2)];
        if !spent.is_empty() {
            txs.push(spend(spent, &[1, 2, 3]));
        }
        naive.make(parent, txs, 1)
    }

    fn chain(&mut self, mut parent: BlockHash, length: u32) -> Vec<BlockHash> {
        let mut chain = Vec::new();
        for _ in 0..length {
            parent = self.block(parent);
            chain.push(parent);
        }
        chain
    }

    /// The folder before, and the model as it then is.
    fn prepare(&self) -> (TempDir, Naive) {
        let folder = tempfile::tempdir().unwrap();
        let disk = Arc::new(Disk::new(folder.path(), None));
        let Ok(mut run) = Run::open(folder.path(), &self.naive, Arc::clone(&disk), self.limits())
        else {
            unreachable!("this disk does not fail");
        };
        for step in &self.before {
            assert!(!run.is_possible(*step) || run.step(*step).is_ok());
        }
        assert!(run.step(Step::Sync).is_ok());
        // Every change was told, or the image that a loss of power leaves would be another.
        assert!(disk.whole() == files(folder.path()));
        let mut naive = run.pair.naive;
        let pending = std::mem::take(&mut naive.pending);
        naive.now.held.retain(|hash| !pending.contains(hash));
        (folder, naive)
    }

    /// Lets the disk fail at each change in turn.
    fn try_all(&self) {
        let (prepared, naive) = self.prepare();
        let mut changes = 0;
        for failure in
            [Failure::Whole, Failure::Forever, Failure::Prefix(128), Failure::Prefix(255)]
        {
            for at in 1.. {
                if let Some(count) = self.try_one(prepared.path(), &naive, at, failure) {
                    changes = count;
                    break;
                }
            }
        }
        println!("failures at {changes} changes, four sorts each");
        assert!(0 < changes);
    }

    /// Lets the disk fail at one change, and starts on what can be left then. Returns how many changes
    /// there are, if the disk did not come to that one.
    fn try_one(&self, prepared: &Path, naive: &Naive, at: u64, failure: Failure) -> Option<u64> {
        let folder = copy(prepared);
        let disk = Arc::new(Disk::new(folder.path(), Some((at, failure))));
        println!("{failure:?} at change {at}");
        let allowed = self.run(folder.path(), naive, &disk);
        for (percent, seed) in [(0, 1), (100, 2), (50, at), (80, at)] {
            let left = tempfile::tempdir().unwrap();
            disk.lose_power(left.path(), percent, seed);
            println!("  {percent} % of what was not synced are left");
            check_start(left.path(), naive, &allowed);
        }
        let told = disk.whole() == files(folder.path());
        println!("  the power stays");
        check_start(folder.path(), naive, &allowed);
        match disk.failed() {
            Some(_) => None,
            None => {
                assert!(told);
                Some(disk.changes())
            }
        }
    }

    /// Does all steps, and goes on after a failure where the ledger lets it. Returns what may be found
    /// at the next start.
    fn run(&self, folder: &Path, naive: &Naive, disk: &Arc<Disk>) -> Vec<Snapshot> {
        let Ok(mut run) = Run::open(folder, naive, Arc::clone(disk), self.limits()) else {
            return vec![naive.now.clone()];
        };
        for step in &self.steps {
            let result = if run.is_possible(*step) { run.step(*step) } else { Ok(()) };
            if result.is_err() {
                println!("  {step:?} fails");
                // What is answered still is exact, or an error.
                check_answers(&run.pair);
                if let Step::Add(hash) = step
                    && run.pair.naive.pending.contains(hash)
                {
                    let _ = run.step(Step::Discard(*hash));
                }
            }
        }
        run.allowed
    }
}

/// Compares the worlds of a ledger on which a change failed, as far as it answers.
fn check_answers(pair: &Pair) {
    for info in pair.ledger.worlds() {
        let Some(known) = pair.naive.blocks.get(&info.hash) else { panic!("{} is new", info.hash) };
        let world = pair.world(&info.hash);
        for outpoint in &pair.naive.outpoints {
            if let Ok(coin) = world.get(outpoint) {
                assert_eq!(coin.as_ref(), known.set.get(outpoint));
            }
        }
    }
}

/// Starts on what is left and compares it, then goes on.
fn check_start(folder: &Path, naive: &Naive, allowed: &[Snapshot]) {
    let mut naive = naive.clone();
    let (ledger, report) = open(folder, &naive).unwrap();
    assert_eq!((report.damaged, report.stepped_back), (None, false));
    let tip = ledger.tip().info().hash;
    let worlds = ledger.worlds();
    let is_held = |hash: &BlockHash| worlds.iter().any(|info| info.hash == *hash);
    let found =
        allowed.iter().find(|snapshot| snapshot.tip == tip && snapshot.held.iter().all(is_held));
    assert!(found.is_some(), "tip at {}, {} worlds", ledger.tip().info().height, worlds.len());
    naive.now.held = worlds.iter().map(|info| info.hash).collect();
    (naive.now.tip, naive.now.root) = (tip, worlds[0].hash);
    for info in &worlds {
        assert_eq!(*info, naive.blocks[&info.hash].info);
        assert_set(&ledger.world(&info.hash).unwrap(), naive.set(&info.hash));
    }
    // Three blocks more, and another start.
    let mut pair = Pair { naive, ledger };
    let mut at = tip;
    for _ in 0..3 {
        let coin = pair.naive.set(&at).keys().next().copied();
        let txs: Vec<_> = coin.iter().map(|coin| spend(&[*coin], &[1])).collect();
        at = pair.add(at, &txs, 1);
    }
    pair.ledger.checkpoint().unwrap();
    pair.reopen(folder);
    assert_eq!(pair.ledger.tip().info().hash, at);
    assert_set(&pair.ledger.tip(), pair.naive.set(&at));
}

fn copy(folder: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for (path, bytes) in files(folder) {
        fs::write(copy.path().join(path.file_name().unwrap()), bytes).unwrap();
    }
    copy
}

fn adds(blocks: &[BlockHash]) -> Vec<Step> {
    blocks.iter().map(|hash| Step::Add(*hash)).collect()
}

#[test]
fn a_failure_while_blocks_are_appended_loses_none_that_was_synced() {
    for chunks_from in [1 << 30, 0] {
        appended(chunks_from);
    }
}

fn appended(chunks_from: u64) {
    let mut scenario = Scenario::new(8);
    scenario.chunks_from = chunks_from;
    let genesis = scenario.naive.genesis.hash;
    let first = scenario.chain(genesis, 3);
    scenario.before = adds(&first);
    let blocks = scenario.chain(first[2], 4);
    let fork = scenario.chain(first[1], 2);
    let invalid = scenario.block(blocks[1]);
    scenario.steps = [
        &adds(&blocks[..2])[..],
        &[Step::Sync, Step::Add(fork[0]), Step::Extend(invalid), Step::Discard(invalid)],
        &adds(&blocks[2..]),
        &[Step::Add(fork[1]), Step::Sync],
    ]
    .concat();
    scenario.try_all();
}

#[test]
fn a_failure_in_a_fresh_folder_leaves_one_that_can_be_used() {
    let mut scenario = Scenario::new(8);
    let genesis = scenario.naive.genesis.hash;
    let blocks = scenario.chain(genesis, 2);
    scenario.steps = [adds(&blocks), vec![Step::Sync]].concat();
    let naive = scenario.naive.clone();
    for at in 1.. {
        let folder = tempfile::tempdir().unwrap();
        let disk = Arc::new(Disk::new(folder.path(), Some((at, Failure::Prefix(200)))));
        println!("change {at}");
        let allowed = scenario.run(folder.path(), &naive, &disk);
        for percent in [0, 30, 60, 100] {
            let left = tempfile::tempdir().unwrap();
            disk.lose_power(left.path(), percent, at);
            let (ledger, _) = open(left.path(), &naive).unwrap();
            let tip = ledger.tip().info().hash;
            assert!(allowed.iter().any(|snapshot| snapshot.tip == tip));
            assert_set(&ledger.tip(), naive.set(&tip));
        }
        if disk.failed().is_none() {
            break;
        }
    }
}

#[test]
fn a_failure_while_a_checkpoint_is_written_leaves_the_last_one() {
    let mut scenario = Scenario::new(3);
    let genesis = scenario.naive.genesis.hash;
    let first = scenario.chain(genesis, 6);
    scenario.before = [adds(&first), vec![Step::Checkpoint]].concat();
    let blocks = scenario.chain(first[5], 6);
    let fork = scenario.chain(blocks[0], 1);
    scenario.steps = [
        &adds(&blocks[..2])[..],
        &[Step::Checkpoint, Step::Add(fork[0]), Step::Add(blocks[2]), Step::BeginCheckpoint],
        &adds(&blocks[3..4]),
        &[Step::WriteCheckpoint],
        &adds(&blocks[4..]),
        &[Step::EndCheckpoint, Step::Sync],
    ]
    .concat();
    scenario.try_all();
}

#[test]
fn a_failure_while_blocks_are_folded_at_the_horizon_harms_no_world() {
    for memory in [1 << 30, 0] {
        let mut scenario = Scenario::new(2);
        scenario.memory = memory;
        let genesis = scenario.naive.genesis.hash;
        let first = scenario.chain(genesis, 4);
        let fork = scenario.chain(first[1], 3);
        scenario.before = [adds(&first), vec![Step::Checkpoint], adds(&fork[..2])].concat();
        let blocks = scenario.chain(first[3], 6);
        scenario.steps = [
            &[Step::Add(fork[2])],
            &adds(&blocks[..3])[..],
            &[Step::Sync],
            &adds(&blocks[3..]),
            &[Step::Sync],
        ]
        .concat();
        scenario.try_all();
    }
}

#[test]
fn a_failure_in_a_deep_reorganisation_leaves_the_old_branch_or_the_new_one() {
    let mut scenario = Scenario::new(2);
    let genesis = scenario.naive.genesis.hash;
    let first = scenario.chain(genesis, 10);
    scenario.before = [&adds(&first[..6])[..], &[Step::Checkpoint], &adds(&first[6..])].concat();
    let blocks = scenario.chain(first[2], 9);
    scenario.steps = [
        &[Step::Rewind(first[2])],
        &adds(&blocks[..4])[..],
        &[Step::Sync],
        &adds(&blocks[4..]),
        &[Step::Sync],
    ]
    .concat();
    scenario.try_all();
}

/// Any steps, and any change at which the disk fails.
#[test]
fn a_failure_anywhere_in_a_random_history_loses_nothing_that_was_synced() {
    for seed in 0..u64::from(cases(40)) {
        let mut random = Random::new(seed);
        let mut scenario = Scenario::new(1 + random.below(5) as u32);
        scenario.chunks_from = [1 << 30, 0][usize::from(seed % 8 == 3)];
        let mut blocks = vec![scenario.naive.genesis.hash];
        let mut steps = Vec::new();
        for _ in 0..50 {
            let back = if random.chance(70) { 1 } else { 1 + random.below(blocks.len().min(9)) };
            let hash = scenario.block(blocks[blocks.len() - back]);
            match random.below(20) {
                0 => steps.extend([Step::Extend(hash), Step::Discard(hash)]),
                1 => steps.push(Step::Checkpoint),
                2 => steps.push(Step::BeginCheckpoint),
                3 => steps.push(Step::WriteCheckpoint),
                4 => steps.push(Step::EndCheckpoint),
                5 => steps.push(Step::Rewind(blocks[random.below(blocks.len())])),
                6 | 7 => steps.push(Step::Sync),
                _ => {
                    steps.push(Step::Add(hash));
                    blocks.push(hash);
                }
            }
        }
        scenario.steps = steps.split_off(15);
        scenario.before = steps;
        let (prepared, naive) = scenario.prepare();
        let failures =
            [Failure::Whole, Failure::Forever, Failure::Prefix(100), Failure::Prefix(255)];
        for failure in failures {
            let at = 1 + random.below(60) as u64;
            println!("seed {seed}");
            scenario.try_one(prepared.path(), &naive, at, failure);
        }
    }
}

fn load(folder: &Path, naive: &Naive, set: &Set, base: BlockInfo, disk: Arc<Disk>) -> bool {
    let options = Options { watch: Some(disk.clone()), chunks_from: 2000, ..Options::default() };
    let coins: Vec<Result<(OutPoint, Coin), Error>> =
        set.iter().map(|(outpoint, coin)| Ok((*outpoint, coin.clone()))).collect();
    let mut coins = coins.into_iter();
    let hash = hash_serialized(set);
    let loaded = Ledger::load(folder, &naive.params, base, options, &mut coins, hash);
    // That the zeros behind the last record stay when they cannot be cut harms nobody.
    let failed = disk.failed().filter(|failed| !(loaded.is_ok() && failed.contains("SetLen")));
    assert_eq!(loaded.is_err(), failed.is_some(), "a failure is reported");
    loaded.is_ok()
}

#[test]
fn a_failure_while_a_snapshot_is_loaded_leaves_it_whole_or_not_there() {
    let mut scenario = Scenario::new(4);
    let genesis = scenario.naive.genesis.hash;
    let chain = scenario.chain(genesis, 30);
    let naive = &scenario.naive;
    let known = &naive.blocks[&chain[29]];
    let base = known.info;
    let mut outcomes = [0, 0];
    for failure in [Failure::Whole, Failure::Prefix(128), Failure::Prefix(255)] {
        for at in 1.. {
            let folder = tempfile::tempdir().unwrap();
            let disk = Arc::new(Disk::new(folder.path(), Some((at, failure))));
            let is_loaded = load(folder.path(), naive, &known.set, base, Arc::clone(&disk));
            println!("{failure:?} at change {at}");
            for percent in [0, 30, 60, 100] {
                let left = tempfile::tempdir().unwrap();
                disk.lose_power(left.path(), percent, at);
                let (ledger, _) = open(left.path(), naive).unwrap();
                let tip = *ledger.tip().info();
                let is_there = tip.hash == base.hash;
                outcomes[usize::from(is_there)] += 1;
                assert!(is_there || (tip.hash == genesis && !is_loaded));
                assert_set(&ledger.tip(), naive.set(&tip.hash));
                assert_eq!(tip.total, naive.blocks[&tip.hash].info.total);
                assert_eq!(ledger.is_verified(), !is_there);
                drop(ledger);
                if !is_there {
                    let again = Arc::new(Disk::new(left.path(), None));
                    assert!(load(left.path(), naive, &known.set, base, again));
                    let (ledger, _) = open(left.path(), naive).unwrap();
                    assert_set(&ledger.tip(), &known.set);
                }
            }
            if disk.failed().is_none() {
                break;
            }
        }
    }
    println!("not there {} times, whole {} times", outcomes[0], outcomes[1]);
    assert!(outcomes.iter().all(|count| 0 < *count));
}
