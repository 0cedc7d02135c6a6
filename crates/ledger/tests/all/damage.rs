//! Files that are cut, flipped, overwritten or swapped: exact answers or an error that says where.

use std::fs;
use std::path::Path;

use caesure_ledger::{Error, Ledger, OpenReport, Options};
use caesure_wire::{BlockHash, OutPoint};

use crate::disk::files;
use crate::naive::{Naive, Random, difference, outpoint, spend, summary};
use crate::pair::{Pair, assert_set, cases, open, open_with};

/// A chain of 40 blocks with two forks and a checkpoint in the middle, closed again.
fn prepare(folder: &Path) -> Naive {
    let mut pair = Pair::open(folder, 6);
    let mut at = pair.naive.genesis.hash;
    for number in 0..40_usize {
        let coins: Vec<OutPoint> = pair.naive.set(&at).keys().copied().collect();
        let spent = coins.get(number % 7..number % 7 + 2).unwrap_or_default();
        let mut txs = vec![spend(spent, &[3; 9])];
        txs.retain(|tx| !tx.inputs.is_empty());
        if number % 12 == 11 {
            pair.add(at, &[], 1);
        }
        at = pair.add(at, &txs, 1);
        if number == 30 {
            pair.ledger.checkpoint().unwrap();
        }
    }
    pair.ledger.sync().unwrap();
    pair.check();
    pair.naive
}

/// Counts what came of it.
#[derive(Debug, Default)]
struct Outcomes {
    refused: u32,
    reported: u32,
    errors: u32,
    exact: u32,
}

/// An error that sends its reader to the place.
fn is_named(error: &Error) -> bool {
    let text = error.to_string();
    let names_file = text.contains("ledger.log") || text.contains("ledger.table");
    names_file && (text.contains("offset") || text.contains("network or version"))
}

/// The answer, or nothing where an error names file and offset.
fn answer<T>(result: Result<T, Error>, outcomes: &mut Outcomes) -> Option<T> {
    match result {
        Ok(answer) => {
            outcomes.exact += 1;
            Some(answer)
        }
        Err(error) => {
            assert!(is_named(&error), "{error}");
            outcomes.errors += 1;
            None
        }
    }
}

/// Asks everything on every world. Returns whether all was answered.
fn ask(ledger: &Ledger, naive: &Naive, outcomes: &mut Outcomes) -> bool {
    let before = outcomes.errors;
    let tip = ledger.tip();
    for info in ledger.worlds() {
        let known = &naive.blocks[&info.hash];
        assert_eq!(info, known.info);
        let world = ledger.world(&info.hash).unwrap();
        for outpoint in &naive.outpoints {
            if let Some(coin) = answer(world.get(outpoint), outcomes) {
                assert_eq!(coin.as_ref(), known.set.get(outpoint));
            }
        }
        let mut visited = Vec::new();
        let all = world.for_each(|outpoint, coin| visited.push((*outpoint, coin.clone())));
        // What was visited before an error is true, too.
        let is_right = |(outpoint, coin): &(_, _)| known.set.get(outpoint) == Some(coin);
        assert!(visited.iter().all(is_right) && visited.is_sorted_by(|a, b| a.0 < b.0));
        if answer(all, outcomes).is_some() {
            assert_eq!(visited.len(), known.set.len());
        }
        if let Some(found) = answer(world.diff(&tip), outcomes) {
            assert_eq!(found, difference(&known.set, naive.set(&tip.info().hash)));
        }
    }
    if let Some(found) = answer(tip.summary(), outcomes) {
        assert_eq!(found, summary(naive.set(&tip.info().hash)));
    }
    outcomes.errors == before
}

/// Overwrites some bytes of a file: one bit, a few bytes, or a longer part with zeros.
fn damage(path: &Path, random: &mut Random) -> String {
    let mut bytes = fs::read(path).unwrap();
    // The table is mostly zeros, and its head is at one end and the rest at the other.
    let at = match random.below(4) {
        0 => random.below(64.min(bytes.len())),
        1 => bytes.len() - 1 - random.below(600.min(bytes.len())),
        _ => random.below(bytes.len()),
    };
    let what = random.below(3);
    match what {
        0 => bytes[at] ^= 1 << random.below(8),
        1 => bytes[at..].iter_mut().take(8).for_each(|byte| *byte = random.below(256) as u8),
        _ => bytes[at..].iter_mut().take(100).for_each(|byte| *byte = 0),
    }
    fs::write(path, bytes).unwrap();
    format!("{} at {at}, {what}", path.display())
}

#[test]
fn a_damaged_file_gives_exact_answers_or_an_error_that_names_file_and_offset() {
    let folder = tempfile::tempdir().unwrap();
    let naive = prepare(folder.path());
    let whole = files(folder.path());
    let mut outcomes = Outcomes::default();
    for seed in 0..u64::from(cases(150)) {
        let mut random = Random::new(seed);
        for (path, bytes) in &whole {
            fs::write(path, bytes).unwrap();
        }
        let path = whole.keys().nth(random.below(whole.len())).unwrap();
        println!("seed {seed}: {}", damage(path, &mut random));
        let is_whole = match open(folder.path(), &naive) {
            Err(error) => {
                assert!(is_named(&error), "{error}");
                outcomes.refused += 1;
                matches!(error, Error::Foreign { .. })
            }
            Ok((mut ledger, report)) => {
                let is_reported =
                    report != OpenReport { replayed: report.replayed, ..Default::default() };
                outcomes.reported += u32::from(is_reported);
                if !is_reported {
                    assert_eq!(ledger.tip().info().hash, naive.now.tip);
                }
                let is_whole = ask(&ledger, &naive, &mut outcomes);
                is_whole && go_back(&mut ledger, &naive, &mut outcomes)
            }
        };
        if !is_whole {
            // As the error's text has it, the ledger is made anew.
            Ledger::distrust(folder.path()).unwrap();
            let (ledger, _) = open(folder.path(), &naive).unwrap();
            assert!(ask(&ledger, &naive, &mut outcomes));
        }
    }
    println!("{outcomes:?}");
    assert!(0 < outcomes.reported && 0 < outcomes.errors && 1000 < outcomes.exact);
}

/// Rewinds behind the root, which reads old records.
fn go_back(ledger: &mut Ledger, naive: &Naive, outcomes: &mut Outcomes) -> bool {
    let mut target = ledger.root().hash;
    for _ in 0..5 {
        if target != naive.genesis.hash {
            target = naive.blocks[&target].parent;
        }
    }
    let rewound = ledger.rewind_to(&target);
    if answer(rewound, outcomes).is_none() {
        return false;
    }
    assert_eq!(ledger.tip().info().hash, target);
    ask(ledger, naive, outcomes)
}

#[test]
fn a_log_that_is_damaged_while_it_is_open_never_gives_another_answer() {
    let folder = tempfile::tempdir().unwrap();
    let naive = prepare(folder.path());
    let log = folder.path().join("ledger.log");
    let whole = fs::read(&log).unwrap();
    let mut outcomes = Outcomes::default();
    for seed in 0..u64::from(cases(60)) {
        fs::write(&log, &whole).unwrap();
        let (ledger, _) = open(folder.path(), &naive).unwrap();
        let mut random = Random::new(seed);
        let mut bytes = whole.clone();
        for _ in 0..3 {
            let at = random.below(bytes.len());
            bytes[at] ^= 1 << random.below(8);
        }
        // In place: the file is not cut, and what has it open sees the change.
        let file = fs::OpenOptions::new().write(true).open(&log).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &bytes, 0).unwrap();
        println!("seed {seed}");
        ask(&ledger, &naive, &mut outcomes);
    }
    println!("{outcomes:?}");
    assert!(0 < outcomes.errors && 1000 < outcomes.exact);
}

#[test]
fn a_log_cut_anywhere_gives_the_worlds_of_its_whole_records() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("ledger.log");
    let mut pair = Pair::open(folder.path(), 100);
    let mut tips = vec![pair.naive.genesis.hash];
    let mut ends = vec![0];
    for number in 0..6 {
        let parent = if number == 4 { tips[2] } else { *tips.last().unwrap() };
        let coin = pair.naive.set(&parent).keys().next().copied();
        let txs: Vec<_> = coin.iter().map(|coin| spend(&[*coin], &[1, 2])).collect();
        tips.push(pair.add(parent, &txs, 1));
        ends.push(fs::metadata(&log).unwrap().len());
    }
    let whole = fs::read(&log).unwrap();
    for len in (0..whole.len() as u64).rev() {
        fs::write(&log, &whole[..usize::try_from(len).unwrap()]).unwrap();
        pair.reopen(folder.path());
        let left = ends.iter().filter(|end| **end <= len).count();
        let expected: Vec<&BlockHash> = tips[..left].iter().collect();
        let worlds = pair.ledger.worlds();
        assert_eq!(worlds.len(), left, "cut at {len}");
        for hash in expected {
            assert_set(&pair.world(hash), pair.naive.set(hash));
        }
    }
}

/// What a process that is killed leaves of a long log, and what one that stops does.
#[test]
fn chunks_that_a_log_is_made_in_end_with_zeros_that_are_no_damage() {
    let [folder, killed] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let log = folder.path().join("ledger.log");
    let naive = prepare(folder.path());
    let len = fs::metadata(&log).unwrap().len();
    let options = Options { horizon: naive.horizon, chunks_from: len + 400, ..Options::default() };
    let (ledger, _) = open_with(folder.path(), &naive, options.clone()).unwrap();
    let mut pair = Pair { naive, ledger };
    let mut lens = Vec::new();
    for _ in 0..3 {
        let tip = pair.ledger.tip().info().hash;
        pair.add(tip, &[], 1);
        lens.push((pair.ledger.reader().log_len(), fs::metadata(&log).unwrap().len()));
    }
    let chunk = 2 << 20;
    assert_eq!(lens[0].0, lens[0].1, "a short log ends with its last record");
    assert!(lens[2].0 < chunk, "all of it lies in what would be the first chunk");
    assert_eq!(lens[2].0, lens[2].1, "what is begun without a chunk is ended so");
    // A block of records as long as a chunk: from the next one on, chunks are made.
    let tip = pair.ledger.tip().info().hash;
    let coin = outpoint_of_many(&mut pair, tip);
    let (end, file) = (pair.ledger.reader().log_len(), fs::metadata(&log).unwrap().len());
    assert!(chunk < end && end < file && file % chunk == 0, "{end} of {file}");
    for (path, bytes) in files(folder.path()) {
        fs::write(killed.path().join(path.file_name().unwrap()), bytes).unwrap();
    }
    assert!(pair.ledger.tip().get(&coin).unwrap().is_some());
    let naive = pair.naive.clone();
    drop(pair.ledger);
    assert_eq!(fs::metadata(&log).unwrap().len(), end, "a clean end cuts the zeros");
    let left = killed.path().join("ledger.log");
    for torn in [0, 100] {
        let mut bytes = fs::read(&left).unwrap();
        bytes.resize(usize::try_from(file).unwrap(), 0);
        bytes[usize::try_from(end).unwrap()..][..torn].fill(7);
        fs::write(&left, bytes).unwrap();
        let (ledger, report) = open_with(killed.path(), &naive, options.clone()).unwrap();
        assert_eq!(report.torn_bytes, torn as u64);
        assert_eq!(fs::metadata(&left).unwrap().len(), end);
        assert_set(&ledger.tip(), naive.set(&naive.now.tip));
    }
}

/// Whoever holds a world of a ledger that is gone takes nothing from the one that came after it.
#[test]
fn a_world_that_outlives_its_ledger_cuts_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let naive = prepare(folder.path());
    let options = Options { horizon: naive.horizon, chunks_from: 0, ..Options::default() };
    let (ledger, _) = open_with(folder.path(), &naive, options.clone()).unwrap();
    let mut pair = Pair { naive, ledger };
    let tip = pair.ledger.tip().info().hash;
    outpoint_of_many(&mut pair, tip);
    let world = pair.ledger.tip();
    pair.ledger = Ledger::in_memory(pair.naive.genesis, 1);
    let (ledger, report) = open_with(folder.path(), &pair.naive, options).unwrap();
    assert_eq!(report.torn_bytes, 0);
    pair.ledger = ledger;
    let tip = pair.add(pair.naive.now.tip, &[], 1);
    drop(world);
    pair.reopen(folder.path());
    assert_eq!(pair.ledger.tip().info().hash, tip);
    assert_set(&pair.ledger.tip(), pair.naive.set(&tip));
}

/// Adds a block whose record is longer than two MiB, and one after it; returns a coin of the first.
fn outpoint_of_many(pair: &mut Pair, tip: BlockHash) -> OutPoint {
    let coin = *pair.naive.set(&tip).keys().next().unwrap();
    let many = spend(&[coin], &vec![1; 150_000]);
    let first = outpoint(&many, 0);
    let tip = pair.add(tip, &[many], 1);
    pair.add(tip, &[], 1);
    first
}

#[test]
fn a_ledger_whose_blocks_are_not_stored_any_more_steps_back() {
    let folder = tempfile::tempdir().unwrap();
    for is_clean in [false, true] {
        let folder = folder.path().join(format!("{is_clean}"));
        fs::create_dir(&folder).unwrap();
        let mut naive = prepare(&folder);
        if is_clean {
            let (mut ledger, _) = open(&folder, &naive).unwrap();
            ledger.checkpoint().unwrap();
        }
        for height in [38, 20, 1, 0] {
            naive.blocks.retain(|_, known| known.info.height <= height);
            let (ledger, report) = open(&folder, &naive).unwrap();
            assert!(report.stepped_back);
            let tip = ledger.tip();
            assert_eq!(tip.info().height, height);
            assert_set(&tip, naive.set(&tip.info().hash));
        }
    }
}

/// A checkpoint of another ledger beside the log is not taken for its own.
#[test]
fn a_checkpoint_of_another_folder_is_not_believed() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let naive = folders.each_ref().map(|folder| prepare(folder.path()));
    let mut pair =
        Pair { ledger: open(folders[1].path(), &naive[1]).unwrap().0, naive: naive[1].clone() };
    let tip = pair.naive.now.tip;
    let coin = *pair.naive.set(&tip).keys().next().unwrap();
    pair.add(tip, &[spend(&[coin], &[1])], 1);
    pair.ledger.checkpoint().unwrap();
    fs::copy(folders[1].path().join("ledger.table"), folders[0].path().join("ledger.table"))
        .unwrap();
    let (ledger, _) = open(folders[0].path(), &naive[0]).unwrap();
    let tip = ledger.tip();
    assert_eq!(tip.info().hash, naive[0].now.tip);
    assert_set(&tip, naive[0].set(&tip.info().hash));
    assert_eq!(tip.get(&outpoint(&pair.naive.blocks[&tip.info().hash].txs[0], 7)).unwrap(), None);
}
