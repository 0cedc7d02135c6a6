//! Random trees of blocks, every query compared on every world.

use std::path::Path;

use caesure_wire::{BlockHash, Transaction, TxIn, TxOut};
use proptest::prelude::*;

use crate::naive::{Naive, coinbase, outpoint, spend};
use crate::pair::{Pair, cases};

/// On which block the next one stands.
#[derive(Clone, Copy, Debug)]
enum On {
    Tip,
    /// Any world.
    World(u16),
    /// One of the oldest worlds.
    Deep(u16),
    /// One of the leaves.
    Leaf(u16),
    /// The tip's parent, with the tip's work exactly.
    Rival,
}

#[derive(Clone, Debug)]
enum Tx {
    /// Spends some coins, from one on.
    Spend { first: u16, count: u8, outputs: Vec<(u16, u8)> },
    /// Repeats a transaction of some block, if its inputs are there and its outputs are not.
    Again(u16),
}

#[derive(Clone, Debug)]
struct Plan {
    on: On,
    /// Repeats one of a few coinbases. Spec: BIP-0030.
    repeats: Option<u8>,
    has_bonus: bool,
    txs: Vec<Tx>,
}

#[derive(Clone, Debug)]
enum Action {
    Add(Plan),
    /// Extends by one block, adds another, and then commits the first.
    Overtake(Plan, Plan),
    /// Extends by a block and its child, and discards both.
    Discard(Plan, Plan),
    /// Extends by a block that a crash forgets.
    Forget(Plan),
    /// Resolves a block that spends what is not there.
    Refuse(On, u16),
    /// Commits a block again that was dropped with its fork or by a rewind.
    Redo(u16),
    /// Makes some world's block the tip.
    Choose(u16),
    Checkpoint,
    /// Adds blocks between a checkpoint's beginning, its writing and its end.
    SlowCheckpoint(Vec<Plan>),
    /// Opens the folder again, after a checkpoint or as after a crash, with another horizon or not.
    Reopen {
        is_clean: bool,
        horizon: Option<u8>,
    },
    /// Goes back some blocks behind the root.
    Rewind(u8),
}

fn on() -> impl Strategy<Value = On> {
    prop_oneof![
        5 => Just(On::Tip),
        2 => any::<u16>().prop_map(On::Leaf),
        1 => any::<u16>().prop_map(On::World),
        1 => any::<u16>().prop_map(On::Deep),
        1 => Just(On::Rival),
    ]
}

fn tx() -> impl Strategy<Value = Tx> {
    let outputs = prop::collection::vec((0_u16..1000, 0_u8..44), 1..5);
    prop_oneof![
        3 => (any::<u16>(), 1_u8..4, outputs)
            .prop_map(|(first, count, outputs)| Tx::Spend { first, count, outputs }),
        1 => any::<u16>().prop_map(Tx::Again),
    ]
}

fn plan() -> impl Strategy<Value = Plan> {
    let repeats = prop::option::weighted(0.15, 0_u8..5);
    let txs = prop::collection::vec(tx(), 0..5);
    (on(), repeats, prop::bool::weighted(0.2), txs).prop_map(|(on, repeats, has_bonus, txs)| Plan {
        on,
        repeats,
        has_bonus,
        txs,
    })
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        20 => plan().prop_map(Action::Add),
        2 => (plan(), plan()).prop_map(|(a, b)| Action::Overtake(a, b)),
        2 => (plan(), plan()).prop_map(|(a, b)| Action::Discard(a, b)),
        1 => plan().prop_map(Action::Forget),
        2 => (on(), any::<u16>()).prop_map(|(on, pick)| Action::Refuse(on, pick)),
        2 => any::<u16>().prop_map(Action::Redo),
        1 => any::<u16>().prop_map(Action::Choose),
        1 => Just(Action::Checkpoint),
        1 => prop::collection::vec(plan(), 0..12).prop_map(Action::SlowCheckpoint),
        2 => (any::<bool>(), prop::option::weighted(0.2, 1_u8..12))
            .prop_map(|(is_clean, horizon)| Action::Reopen { is_clean, horizon }),
        1 => (0_u8..6).prop_map(Action::Rewind),
    ]
}

/// A pair on a folder, to which actions are done.
struct Run<'a> {
    pair: Pair,
    folder: &'a Path,
}

impl Run<'_> {
    fn parent(&self, on: On) -> BlockHash {
        let naive = &self.pair.naive;
        let worlds = naive.worlds();
        let pick = |count: usize, number: u16| usize::from(number) % count;
        match on {
            On::Tip => naive.now.tip,
            On::World(number) => worlds[pick(worlds.len(), number)].hash,
            On::Deep(number) => worlds[pick(worlds.len().div_ceil(4), number)].hash,
            On::Leaf(number) => {
                let leaves = naive.leaves();
                leaves[pick(leaves.len(), number)].hash
            }
            On::Rival if naive.now.tip == naive.now.root => naive.now.tip,
            On::Rival => naive.blocks[&naive.now.tip].parent,
        }
    }

    fn make(&mut self, parent: BlockHash, plan: &Plan) -> BlockHash {
        let naive = &mut self.pair.naive;
        let (height, mut set) = (naive.height(&parent) + 1, naive.set(&parent).clone());
        let first = match plan.repeats {
            Some(tag) => {
                coinbase(tag.into(), vec![TxOut { value: 7, script_pubkey: vec![0x52] }; 2])
            }
            None => naive.coinbase(vec![crate::naive::output(50)]),
        };
        crate::naive::apply(&mut set, &first, height, true);
        let past: Vec<Transaction> =
            naive.blocks.values().flat_map(|known| known.txs.iter().skip(1).cloned()).collect();
        let mut txs = vec![first];
        for plan in &plan.txs {
            let tx = match plan {
                Tx::Again(number) if !past.is_empty() => {
                    Some(past[usize::from(*number) % past.len()].clone())
                }
                Tx::Again(_) => None,
                Tx::Spend { first, count, outputs } => {
                    naive.counter += 1;
                    spending(&set, (*first, *count), outputs, height, naive.counter)
                }
            };
            if let Some(tx) = tx.filter(|tx| is_possible(&set, tx, height)) {
                crate::naive::apply(&mut set, &tx, height, false);
                txs.push(tx);
            }
        }
        let added = match plan.on {
            On::Rival => {
                let tip = naive.blocks[&naive.now.tip].work;
                tip.saturating_sub(naive.blocks[&parent].work).max(1)
            }
            _ => 1 + u64::from(plan.has_bonus),
        };
        naive.make(parent, txs, added)
    }

    fn add(&mut self, plan: &Plan) -> BlockHash {
        let hash = self.make(self.parent(plan.on), plan);
        self.pair.extend(hash);
        self.pair.commit(hash);
        hash
    }

    fn act(&mut self, action: &Action) {
        match action {
            Action::Add(plan) => {
                self.add(plan);
            }
            Action::Overtake(first, second) => {
                let hash = self.make(self.parent(first.on), first);
                self.pair.extend(hash);
                self.add(second);
                self.pair.commit(hash);
            }
            Action::Discard(first, second) => {
                let hash = self.make(self.parent(first.on), first);
                self.pair.extend(hash);
                let child = self.make(hash, second);
                self.pair.extend(child);
                self.pair.discard(&hash);
                self.pair.check();
            }
            Action::Forget(plan) => {
                let hash = self.make(self.parent(plan.on), plan);
                self.pair.extend(hash);
                self.reopen(false, None);
            }
            Action::Refuse(on, pick) => self.refuse(*on, *pick),
            Action::Redo(number) => {
                let naive = &self.pair.naive;
                let is_gone = |hash: &&BlockHash| !naive.now.held.contains(*hash);
                let could =
                    |hash: &&BlockHash| naive.now.held.contains(&naive.blocks[*hash].parent);
                let gone: Vec<BlockHash> =
                    naive.blocks.keys().filter(is_gone).filter(could).copied().collect();
                if let Some(hash) = gone.get(usize::from(*number) % gone.len().max(1)) {
                    self.pair.extend(*hash);
                    self.pair.commit(*hash);
                }
            }
            Action::Choose(number) => {
                let worlds = self.pair.naive.worlds();
                let hash = worlds[usize::from(*number) % worlds.len()].hash;
                self.pair.choose(hash);
            }
            Action::Checkpoint => self.pair.ledger.checkpoint().unwrap(),
            Action::SlowCheckpoint(plans) => {
                let checkpoint = self.pair.ledger.begin_checkpoint().unwrap().unwrap();
                let (before, after) = plans.split_at(plans.len() / 2);
                for plan in before {
                    self.add(plan);
                }
                let written = checkpoint.write().unwrap();
                for plan in after {
                    self.add(plan);
                }
                self.pair.ledger.end_checkpoint(written).unwrap();
            }
            Action::Reopen { is_clean, horizon } => self.reopen(*is_clean, *horizon),
            Action::Rewind(down) => {
                let naive = &self.pair.naive;
                let mut hash = naive.now.root;
                for _ in 0..*down {
                    let is_genesis = hash == naive.genesis.hash;
                    hash = if is_genesis { hash } else { naive.blocks[&hash].parent };
                }
                self.pair.rewind(hash);
                self.pair.check();
            }
        }
    }

    /// Resolves a block with a coin that is spent or stands on another fork, with one that is spent
    /// twice, with one that is made after it is spent, and with one of its own that is spent twice, whose
    /// transaction it has twice.
    fn refuse(&mut self, on: On, pick: u16) {
        let parent = self.parent(on);
        let naive = &mut self.pair.naive;
        let set = naive.set(&parent);
        let absent: Vec<_> = naive.outpoints.iter().filter(|o| !set.contains_key(o)).collect();
        let absent = *absent[usize::from(pick) % absent.len()];
        let height = naive.height(&parent) + 1;
        let twice = Naive::inputs(set, pick.into(), 1, height);
        let twice: Vec<_> = twice.iter().flat_map(|input| [input.prevout; 2]).collect();
        let later = spend(&[absent], &[1, 2]);
        let earlier = spend(&[outpoint(&later, 1)], &[3]);
        let first = naive.coinbase(vec![crate::naive::output(50)]);
        let own = spend(&[outpoint(&later, 0); 2], &[5]);
        let mut txs = vec![first, earlier, later.clone(), own, later];
        if !twice.is_empty() {
            txs.insert(1, spend(&twice, &[4]));
        }
        let found = self.pair.resolve_only(&parent, &txs);
        let missing = found.iter().filter(|coin| coin.is_none()).count();
        assert_eq!(missing, txs.len() - 1);
        let own = &found[found.len() - 3..][..2];
        assert_eq!(own.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false]);
    }

    fn reopen(&mut self, is_clean: bool, horizon: Option<u8>) {
        if is_clean {
            self.pair.ledger.checkpoint().unwrap();
        }
        let naive = &mut self.pair.naive;
        // What is extended but not committed is gone.
        naive.now.held = naive.worlds().iter().map(|info| info.hash).collect();
        let before = naive.now.clone();
        let (old_horizon, has_chosen) = (naive.horizon, naive.has_chosen);
        naive.horizon = horizon.map_or(old_horizon, u32::from);
        self.pair.reopen(self.folder);
        // Blocks that were pending or discarded can keep more worlds alive than there were.
        let worlds = self.pair.ledger.worlds();
        self.pair.naive.adopt(&worlds);
        if has_chosen {
            // The most work is the tip again, and trims by its own height.
            return self.pair.check();
        }
        let naive = &self.pair.naive;
        assert_eq!(naive.now.tip, before.tip);
        if old_horizon <= naive.horizon {
            assert!(before.held.is_subset(&naive.now.held));
        }
        let mut hash = naive.now.tip;
        for _ in 0..=old_horizon.min(naive.horizon) {
            assert!(naive.now.held.contains(&hash) || !before.held.contains(&hash));
            hash = naive.blocks[&hash].parent;
            if hash == BlockHash::ZERO {
                break;
            }
        }
        self.pair.check();
    }
}

fn spending(
    set: &crate::naive::Set,
    (first, count): (u16, u8),
    outputs: &[(u16, u8)],
    height: u32,
    sequence: u32,
) -> Option<Transaction> {
    let mut inputs: Vec<TxIn> = Naive::inputs(set, first.into(), count.into(), height);
    inputs.first_mut()?.sequence = sequence;
    let output = |&(value, length): &(u16, u8)| TxOut {
        value: value.into(),
        // One in ten is no coin.
        script_pubkey: if length < 40 { vec![0x51; length.into()] } else { vec![0x6a] },
    };
    Some(Transaction {
        version: 1,
        inputs,
        outputs: outputs.iter().map(output).collect(),
        lock_time: 0,
    })
}

/// Whether a transaction spends what is there, and makes what is not.
fn is_possible(set: &crate::naive::Set, tx: &Transaction, height: u32) -> bool {
    let is_free = |input: &TxIn| {
        let coin = set.get(&input.prevout);
        coin.is_some_and(|coin| !(coin.is_coinbase && coin.height == height))
    };
    let is_new = |vout| !set.contains_key(&outpoint(tx, vout));
    tx.inputs.iter().all(is_free) && (0..tx.outputs.len() as u32).all(is_new)
}

fn run(horizon: u32, actions: &[Action]) {
    let folder = tempfile::tempdir().unwrap();
    let pair = Pair::open(folder.path(), horizon);
    let mut run = Run { pair, folder: folder.path() };
    for (step, action) in actions.iter().enumerate() {
        run.act(action);
        run.pair.check_tree();
        if step % 8 == 0 {
            run.pair.check();
        }
    }
    run.reopen(true, None);
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 5000, ..ProptestConfig::with_cases(cases(48)) })]

    #[test]
    fn every_query_on_every_world_of_a_random_tree_equals_the_naive_model(
        horizon in 1_u32..12,
        actions in prop::collection::vec(action(), 1..120),
    ) {
        run(horizon, &actions);
    }
}
