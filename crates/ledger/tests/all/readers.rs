//! Readers in other threads, while the writer goes on.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{Scope, ScopedJoinHandle};

use caesure_ledger::{Checkpointed, Error, World, Worlds};
use caesure_wire::{BlockHash, OutPoint};

use crate::naive::{Naive, Random, Set, difference, outpoint, spend};
use crate::pair::{Pair, cases};

/// A pinned world and what it must answer as long as it is held.
#[derive(Clone)]
struct Pinned {
    world: World,
    set: Arc<Set>,
}

#[derive(Default)]
struct Shared {
    pinned: Mutex<VecDeque<Pinned>>,
    /// Outpoints that were made at some time, of which a world may have none.
    outpoints: Mutex<Vec<OutPoint>>,
    is_over: AtomicBool,
    answers: AtomicU64,
    refusals: AtomicU64,
}

impl Shared {
    fn count<T>(&self, answer: Result<T, Error>) -> Option<T> {
        match answer {
            Ok(answer) => {
                self.answers.fetch_add(1, Ordering::Relaxed);
                Some(answer)
            }
            Err(Error::NotHeld { .. }) => {
                self.refusals.fetch_add(1, Ordering::Relaxed);
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// Lets the readers have a world, unless its fork was behind the horizon at once.
    fn publish(&self, pair: &Pair, hash: &BlockHash) {
        let Some(world) = pair.ledger.world(hash) else { return };
        let known = &pair.naive.blocks[hash];
        let mut all = self.pinned.lock().unwrap();
        all.push_back(Pinned { world, set: Arc::clone(&known.set) });
        if 60 < all.len() {
            all.pop_front();
        }
        self.outpoints.lock().unwrap().push(outpoint(&known.txs[0], 0));
    }

    /// Looks at what the readers' side shows of a ledger that changes meanwhile.
    fn look(&self, worlds: &Worlds, seed: u64) {
        let mut random = Random::new(seed);
        while !self.is_over.load(Ordering::Relaxed) {
            let blocks = [worlds.worlds(), worlds.leaves(), vec![worlds.root()]].concat();
            let some = worlds.world(&blocks[random.below(blocks.len())].hash);
            for world in [Some(worlds.tip()), some].into_iter().flatten() {
                let mut total = 0;
                let visited = world.for_each(|_, coin| total += coin.value);
                if self.count(visited).is_some() {
                    assert_eq!(total, world.info().total);
                }
            }
        }
    }

    fn read(&self, seed: u64) {
        let mut random = Random::new(seed);
        let mut kept: Vec<Pinned> = Vec::new();
        while !self.is_over.load(Ordering::Relaxed) {
            {
                let pinned = self.pinned.lock().unwrap();
                // Some are held on to for long, beyond their time.
                let newest = pinned.len().saturating_sub(1 + random.below(12));
                kept.truncate(if random.chance(25) { 0 } else { 6 });
                kept.extend(pinned.get(newest).cloned());
            }
            let outpoints: Vec<OutPoint> = {
                let outpoints = self.outpoints.lock().unwrap();
                let pick =
                    |random: &mut Random| outpoints.get(random.below(outpoints.len().max(1)));
                (0..40).filter_map(|_| pick(&mut random)).copied().collect()
            };
            for Pinned { world, set } in &kept {
                for outpoint in outpoints.iter().chain(set.keys().take(5)) {
                    if let Some(coin) = self.count(world.get(outpoint)) {
                        assert_eq!(
                            coin.as_ref(),
                            set.get(outpoint),
                            "{outpoint:?} at {:?}",
                            world.info()
                        );
                    }
                }
            }
            if random.chance(30) && !kept.is_empty() {
                self.read_whole(&kept[random.below(kept.len())], &kept[0]);
            }
        }
    }

    fn read_whole(&self, pinned: &Pinned, other: &Pinned) {
        let mut found = Set::new();
        let visited = pinned.world.for_each(|outpoint, coin| {
            // What was visited before a refusal is true, too.
            assert_eq!(pinned.set.get(outpoint), Some(coin));
            found.insert(*outpoint, coin.clone());
        });
        if self.count(visited).is_some() {
            assert!(found == *pinned.set);
        }
        if let Some(found) = self.count(pinned.world.diff(&other.world)) {
            assert_eq!(found, difference(&pinned.set, &other.set));
        }
        if let Some(summary) = self.count(pinned.world.summary()) {
            assert_eq!(summary, crate::naive::summary(&pinned.set));
        }
    }
}

/// Ends the readers, also when the writer fails.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Extends, forks, discards, chooses tips, folds and goes back, and has checkpoints written meanwhile.
fn write<'scope>(scope: &'scope Scope<'scope, '_>, pair: &mut Pair, shared: &Shared, blocks: u32) {
    let mut random = Random::new(5);
    let mut checkpoint: Option<ScopedJoinHandle<'scope, Checkpointed>> = None;
    for step in 0..blocks {
        let worlds = pair.naive.worlds();
        let parent = if random.chance(80) {
            pair.naive.now.tip
        } else {
            worlds[random.below(worlds.len())].hash
        };
        let hash = make(&mut pair.naive, &mut random, parent);
        pair.extend(hash);
        if random.chance(10) {
            let child = make(&mut pair.naive, &mut random, hash);
            pair.extend(child);
            pair.discard(&hash);
        } else {
            pair.commit(hash);
            shared.publish(pair, &hash);
        }
        if random.chance(5) {
            let worlds = pair.naive.worlds();
            pair.choose(worlds[random.below(worlds.len())].hash);
        }
        if step % 90 == 60 {
            let begun = pair.ledger.begin_checkpoint().unwrap().unwrap();
            checkpoint = Some(scope.spawn(move || begun.write().unwrap()));
        }
        if step % 90 == 80
            && let Some(written) = checkpoint.take()
        {
            pair.ledger.end_checkpoint(written.join().unwrap()).unwrap();
        }
        if step % 400 == 399 {
            let root = pair.naive.now.root;
            let down = pair.naive.blocks[&root].parent;
            pair.rewind(down);
        }
        if step % 10 == 0 {
            pair.check_tree();
            pair.naive.forget_old(50);
        }
    }
    pair.check();
    if let Some(written) = checkpoint {
        pair.ledger.end_checkpoint(written.join().unwrap()).unwrap();
    }
}

fn make(naive: &mut Naive, random: &mut Random, parent: BlockHash) -> BlockHash {
    let set = naive.set(&parent);
    let coins: Vec<OutPoint> = set.keys().copied().collect();
    let first = random.below(coins.len().max(1));
    let count = random.below(if 300 < coins.len() { 40 } else { 8 });
    let spent = &coins[first.min(coins.len())..coins.len().min(first + count)];
    let mut txs = vec![naive.coinbase(vec![crate::naive::output(50); 2])];
    if !spent.is_empty() {
        txs.push(spend(spent, &[1, 2, 3, 4, 5]));
    }
    naive.make(parent, txs, 1 + u64::from(random.chance(20)))
}

#[test]
fn a_pinned_world_answers_exactly_or_is_refused_whatever_the_writer_does() {
    let folder = tempfile::tempdir().unwrap();
    let mut pair = Pair::open(folder.path(), 8);
    let shared = Shared::default();
    let blocks = cases(4000);
    std::thread::scope(|scope| {
        let readers = [1, 2, 3, 4].map(|seed| {
            let shared = &shared;
            let worlds = pair.ledger.reader();
            scope.spawn(
                move || if seed < 4 { shared.read(seed) } else { shared.look(&worlds, seed) },
            )
        });
        let end = End(&shared.is_over);
        write(scope, &mut pair, &shared, blocks);
        drop(end);
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    });
    let (answers, refusals) = (shared.answers.into_inner(), shared.refusals.into_inner());
    println!("{answers} exact answers and {refusals} refusals while {blocks} blocks were added");
    assert!(1000 < answers && 0 < refusals);
}

/// The way back below the root takes coins from the very world that it begins with.
#[test]
fn a_tip_that_is_taken_while_the_ledger_steps_back_is_refused_or_exact() {
    let mut pair = Pair::in_memory(1);
    let low = pair.naive.genesis.hash;
    let worlds = pair.ledger.reader();
    for _ in 0..cases(10) {
        let (mut at, mut coins) = (low, Vec::new());
        for _ in 0..20 {
            let first = pair.naive.coinbase(vec![crate::naive::output(50); 400]);
            coins.push(outpoint(&first, 0));
            at = pair.naive.make(at, vec![first], 1);
            pair.extend(at);
            pair.commit(at);
        }
        let root = pair.ledger.root();
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let tip = worlds.tip();
                    if tip.info().hash == root.hash {
                        match tip.get(&coins[root.height as usize - 1]) {
                            Ok(coin) => assert!(coin.is_some()),
                            Err(error) => assert!(matches!(error, Error::NotHeld { .. })),
                        }
                    }
                }
            });
            let _end = End(&is_over);
            pair.rewind(low);
        });
        assert_eq!(worlds.tip().info().hash, low);
    }
}
