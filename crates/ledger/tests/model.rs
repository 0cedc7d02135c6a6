//! The naive model: one ordered map cloned per block, beside the real ledger.
//!
//! Blocks here are only as valid as the ledger needs them: they link up and spend what exists.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test may fail loudly")]

use std::collections::BTreeMap;
use std::path::Path;

use caesure_consensus::{Coin, HeaderTree, Network, Params, Work};
use caesure_ledger::{BlockInfo, Error, Ledger, OpenReport, Options, Sums, genesis_info};
use caesure_wire::{
    Block, BlockHash, Header, MerkleRoot, OutPoint, Transaction, TxIn, TxOut, Txid, encode_block,
};

type Set = BTreeMap<OutPoint, Coin>;

/// A generator of numbers that a seed replays (xorshift64*).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

#[derive(Clone)]
struct Known {
    bytes: Vec<u8>,
    parent: BlockHash,
    height: u32,
    work: u64,
    set: Set,
}

struct Model {
    random: Random,
    params: Params,
    genesis: BlockInfo,
    horizon: u32,
    ledger: Ledger,
    known: BTreeMap<BlockHash, Known>,
    /// Committed blocks in order, which decides ties.
    committed: Vec<BlockHash>,
    past_txs: Vec<Transaction>,
    counter: u32,
}

fn work(number: u64) -> Work {
    let mut bytes = [0; 32];
    bytes[24..].copy_from_slice(&number.to_be_bytes());
    Work::from_be_bytes(bytes)
}

fn open(
    folder: &Path,
    params: &Params,
    genesis: BlockInfo,
    horizon: u32,
    known: &BTreeMap<BlockHash, Known>,
) -> (Ledger, OpenReport) {
    let mut is_stored = |hash: &BlockHash| Ok(known.contains_key(hash));
    let options = Options { horizon, ..Options::default() };
    Ledger::open(folder, params, genesis, options, true, &mut is_stored).unwrap()
}

impl Model {
    fn new(seed: u64, folder: Option<&Path>, horizon: u32) -> Self {
        let params = Params::new(Network::Regtest);
        let mut genesis = genesis_info(&params, &HeaderTree::new(&params));
        genesis.chain_work = work(0);
        let set = Set::new();
        let start = Known { bytes: Vec::new(), parent: BlockHash::ZERO, height: 0, work: 0, set };
        let known = BTreeMap::from([(genesis.hash, start)]);
        let ledger = match folder {
            Some(folder) => open(folder, &params, genesis, horizon, &known).0,
            None => Ledger::in_memory(genesis, horizon),
        };
        Self {
            random: Random(seed.wrapping_mul(2) + 1),
            committed: vec![genesis.hash],
            past_txs: Vec::new(),
            counter: 0,
            params,
            genesis,
            horizon,
            ledger,
            known,
        }
    }

    /// Spends a few coins, but no coinbase of the same block: a repeated one (BIP-0030) that is spent at
    /// once is kept from the ledger by the maturity rule.
    fn transaction(&mut self, set: &Set, height: u32) -> Option<Transaction> {
        let is_free = |coin: &Coin| !(coin.is_coinbase && coin.height == height);

        if self.random.chance(25) && !self.past_txs.is_empty() {
            let index = self.random.below(self.past_txs.len());
            let tx = self.past_txs[index].clone();
            let spends = |input: &TxIn| set.get(&input.prevout).is_some_and(is_free);
            let spends = tx.inputs.iter().all(spends);
            let txid = tx.txid();
            let is_new = (0..9).all(|vout| !set.contains_key(&OutPoint { txid, vout }));
            return (spends && is_new).then_some(tx);
        }
        let first = self.random.below(set.len().max(1));
        let count = 1 + self.random.below(3);
        let mut inputs: Vec<TxIn> = set
            .iter()
            .filter(|(_, coin)| is_free(coin))
            .map(|(prevout, _)| prevout)
            .skip(first)
            .take(count)
            .map(|prevout| TxIn { prevout: *prevout, ..TxIn::default() })
            .collect();
        if inputs.is_empty() {
            return None;
        }
        self.counter += 1;
        inputs[0].sequence = self.counter;
        Some(Transaction { version: 1, inputs, outputs: self.outputs(), lock_time: 0 })
    }

    fn outputs(&mut self) -> Vec<TxOut> {
        let output = |random: &mut Random| {
            let script = if random.chance(10) { vec![0x6a] } else { vec![0x51; random.below(40)] };
            TxOut { value: random.below(1000) as i64, script_pubkey: script }
        };
        (0..=self.random.below(4)).map(|_| output(&mut self.random)).collect()
    }

    /// Makes a block on `parent`, and the set after it.
    fn block(&mut self, parent: BlockHash) -> (BlockHash, Known) {
        let before = self.known[&parent].clone();
        let height = before.height + 1;
        let mut set = before.set;
        let repeats = self.random.chance(10);
        let tag = if repeats { self.random.below(5) as u32 } else { 1000 + self.counter };
        self.counter += 1;
        let outputs = if repeats {
            vec![TxOut { value: 7, script_pubkey: vec![0x52] }]
        } else {
            self.outputs()
        };
        let input = TxIn { prevout: OutPoint::NULL, sequence: tag, ..TxIn::default() };
        let mut txs = vec![Transaction { version: 1, inputs: vec![input], outputs, lock_time: 0 }];
        apply(&mut set, &txs[0], height, true);
        for _ in 0..self.random.below(5) {
            if let Some(tx) = self.transaction(&set, height) {
                apply(&mut set, &tx, height, false);
                self.past_txs.push(tx.clone());
                txs.push(tx);
            }
        }
        let mut header = Header { prev_block: parent, ..Header::default() };
        self.counter += 1;
        header.merkle_root = MerkleRoot([0; 32]);
        header.nonce = self.counter;
        let txs: Vec<Vec<u8>> = txs.iter().map(Transaction::encode).collect();
        let work = before.work + 1 + u64::from(self.random.chance(20));
        let bytes = encode_block(&header, &txs);
        (header.hash(), Known { bytes, parent, height, work, set })
    }

    fn extend(&mut self, hash: &BlockHash, known: &Known) -> Vec<Option<Coin>> {
        let block = Block::parse(&known.bytes[..]).unwrap();
        let txids: Vec<Txid> = block.txs().map(|tx| tx.txid()).collect();
        let resolved = self.ledger.resolve(&block, &txids, true).unwrap().unwrap();
        let sums = Sums { chain_work: work(known.work), fees: 3, subsidy: 5000 };
        self.ledger.extend(&block, &txids, &resolved, sums).unwrap();
        assert!(self.ledger.holds(hash) && self.ledger.world(hash).is_none());
        resolved.prevouts.to_vec()
    }

    /// Adds a random block, now and then to discard it with a child on it.
    fn step(&mut self) {
        let worlds = self.ledger.worlds();
        let parent = match self.random.below(10) {
            0..6 => self.ledger.tip().info().hash,
            _ => worlds[self.random.below(worlds.len())].hash,
        };
        let (hash, known) = self.block(parent);
        self.extend(&hash, &known);
        if self.random.chance(15) {
            self.known.insert(hash, known);
            let (child, child_known) = self.block(hash);
            self.extend(&child, &child_known);
            self.ledger.discard(&hash).unwrap();
            self.known.remove(&hash);
            assert!(!self.ledger.holds(&hash) && !self.ledger.holds(&child));
            return;
        }
        self.ledger.commit(&hash).unwrap();
        self.known.insert(hash, known);
        self.committed.push(hash);
    }

    fn check(&mut self, context: &str) {
        let worlds = self.ledger.worlds();
        let held: Vec<&BlockHash> =
            self.committed.iter().filter(|hash| self.ledger.world(hash).is_some()).collect();
        assert_eq!(held.len(), worlds.len(), "{context}");
        let most = held.iter().map(|hash| self.known[*hash].work).max().unwrap();
        let tip = held.iter().find(|hash| self.known[*hash].work == most).unwrap();
        assert_eq!(self.ledger.tip().info().hash, **tip, "{context}");
        for info in &worlds {
            let world = self.ledger.world(&info.hash).unwrap();
            let known = &self.known[&info.hash];
            let mut set = Set::new();
            world.for_each(|outpoint, coin| drop(set.insert(*outpoint, coin.clone()))).unwrap();
            assert!(set == known.set, "{context}: the sets of {} differ", info.hash);
            assert_eq!(info.total, set.values().map(|coin| coin.value).sum::<i64>(), "{context}");
            assert_eq!(info.fees, 3 * i64::from(info.height), "{context}");
            assert_eq!(info.lost(), 50 * 100_000_000 + 5000 * i64::from(info.height) - info.total);
        }
        let [a, b] = [(); 2].map(|()| worlds[self.random.below(worlds.len())].hash);
        let diff = self.ledger.world(&a).unwrap().diff(&self.ledger.world(&b).unwrap()).unwrap();
        let only = |x: &Set, y: &Set| -> Vec<(OutPoint, Coin)> {
            let differs = |(key, coin): &(&OutPoint, &Coin)| y.get(*key) != Some(*coin);
            x.iter().filter(differs).map(|(key, coin)| (*key, coin.clone())).collect()
        };
        let (a, b) = (&self.known[&a].set, &self.known[&b].set);
        assert_eq!((diff.removed, diff.added), (only(a, b), only(b, a)), "{context}");
    }

    fn reopen(&mut self, folder: &Path) -> OpenReport {
        let (genesis, horizon) = (self.genesis, self.horizon);
        // The old one is closed first, as after a crash.
        self.ledger = Ledger::in_memory(genesis, horizon);
        let (ledger, report) = open(folder, &self.params, genesis, horizon, &self.known);
        self.ledger = ledger;
        report
    }
}

fn apply(set: &mut Set, tx: &Transaction, height: u32, is_coinbase: bool) {
    if !is_coinbase {
        for input in &tx.inputs {
            set.remove(&input.prevout).unwrap();
        }
    }
    let txid = tx.txid();
    for (vout, output) in (0..).zip(&tx.outputs) {
        if output.script_pubkey.first() != Some(&0x6a) {
            let script_pubkey = output.script_pubkey.clone().into();
            let coin = Coin { value: output.value, height, is_coinbase, script_pubkey };
            set.insert(OutPoint { txid, vout }, coin);
        }
    }
}

#[test]
fn every_world_equals_the_naive_model_over_random_trees() {
    let (seeds, steps) = (12, 150);
    for seed in 0..seeds {
        let mut model = Model::new(seed, None, 8);
        for step in 0..steps {
            model.step();
            model.check(&format!("seed {seed}, step {step}"));
        }
    }
    println!("{} random steps compared, all worlds each", seeds * steps);
}

#[test]
fn a_reopened_ledger_holds_the_same_worlds() {
    for seed in 100..108 {
        let folder = tempfile::tempdir().unwrap();
        let mut model = Model::new(seed, Some(folder.path()), 8);
        for step in 0..90 {
            model.step();
            if model.random.chance(10) {
                model.ledger.checkpoint().unwrap();
            }
            if model.random.chance(20) {
                let tip = *model.ledger.tip().info();
                let leaves = model.ledger.leaves();
                model.reopen(folder.path());
                assert_eq!(*model.ledger.tip().info(), tip, "seed {seed}, step {step}");
                assert_eq!(model.ledger.leaves(), leaves, "seed {seed}, step {step}");
                model.check(&format!("seed {seed}, step {step}"));
            }
        }
    }
}

#[test]
fn a_journal_cut_anywhere_gives_the_worlds_of_its_whole_records() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.log");
    let mut model = Model::new(7, Some(folder.path()), 100);
    for _ in 0..6 {
        model.step();
    }
    let whole = std::fs::read(&path).unwrap();
    let committed = model.committed.clone();
    for len in (0..whole.len()).rev() {
        std::fs::write(&path, &whole[..len]).unwrap();
        let report = model.reopen(folder.path());
        let left = usize::try_from(report.replayed).unwrap() + 1;
        model.committed = committed[..left].to_vec();
        assert!(left < committed.len());
        // Below 32 bytes the file's own head is made anew.
        let left = std::fs::metadata(&path).unwrap().len() + report.torn_bytes;
        assert_eq!(left, len.max(32) as u64);
        model.check(&format!("cut at {len}"));
    }
    std::fs::write(&path, &whole).unwrap();
    let mut flipped = whole;
    flipped[60] ^= 1;
    std::fs::write(&path, &flipped).unwrap();
    assert_eq!(model.reopen(folder.path()).replayed, 0);
}

#[test]
fn a_rewound_ledger_equals_the_ancestors_set_and_goes_on() {
    for seed in 200..206 {
        let folder = tempfile::tempdir().unwrap();
        let mut model = Model::new(seed, Some(folder.path()), 4);
        for _ in 0..60 {
            model.step();
        }
        let mut target = model.ledger.root().hash;
        for _ in 0..5 {
            target = model.known[&target].parent;
        }
        model.ledger.rewind_to(&target).unwrap();
        model.committed = vec![target];
        model.check(&format!("seed {seed}"));
        for _ in 0..20 {
            model.step();
            model.check(&format!("seed {seed}, after"));
        }
        model.ledger.checkpoint().unwrap();
        model.reopen(folder.path());
        model.check(&format!("seed {seed}, reopened"));
    }
}

#[test]
fn a_ledger_whose_root_is_not_stored_any_more_steps_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut model = Model::new(3, Some(folder.path()), 4);
    for _ in 0..40 {
        model.step();
    }
    model.ledger.checkpoint().unwrap();
    let root = model.ledger.root();
    let is_kept = |known: &Known| known.height < root.height - 2;
    model.known.retain(|_, known| is_kept(known));
    let known = &model.known;
    model.committed.retain(|hash| known.contains_key(hash));
    let report = model.reopen(folder.path());
    assert!(report.stepped_back);
    assert_eq!(model.ledger.tip().info().height, root.height - 3);
    model.check("stepped back");
}

#[test]
fn a_full_window_gives_up_the_leaf_with_least_work() {
    let mut model = Model::new(1, None, 800);
    let genesis = model.genesis.hash;
    let mut first = None;
    for number in 0..1100 {
        let (hash, mut known) = model.block(genesis);
        known.work = if number == 7 { 3 } else { 2 };
        model.extend(&hash, &known);
        model.ledger.commit(&hash).unwrap();
        if number == 7 {
            first = Some(hash);
        }
    }
    assert_eq!(Some(model.ledger.tip().info().hash), first);
    assert_eq!(model.ledger.worlds().len(), 1024);
}

/// The golden trace of the original's fork and trim rule.
#[test]
fn the_original_trims_at_the_same_heights() {
    let mut model = Model::new(1, None, 20);
    let add = |model: &mut Model, parent: BlockHash| {
        let (hash, mut known) = model.block(parent);
        known.work = model.known[&parent].work + 1;
        model.extend(&hash, &known);
        model.ledger.commit(&hash).unwrap();
        model.known.insert(hash, known);
        hash
    };
    let mut main = vec![model.genesis.hash];
    for height in 1..30 {
        main.push(add(&mut model, main[height - 1]));
    }
    let pinned = model.ledger.world(&main[25]).unwrap();
    let fork = add(&mut model, main[20]);
    let state = |model: &Model| {
        let leaves: Vec<u32> = model.ledger.leaves().iter().map(|leaf| leaf.height).collect();
        (model.ledger.root().height, leaves, model.ledger.worlds().len())
    };
    assert_eq!(state(&model), (9, vec![21, 29], 22));
    for height in 30..=46 {
        main.push(add(&mut model, main[height - 1]));
        match height {
            40 => assert_eq!(state(&model), (20, vec![21, 40], 22)),
            41 => assert_eq!(state(&model), (20, vec![21, 41], 23)),
            42 => assert_eq!(state(&model), (22, vec![42], 21)),
            43 => assert_eq!(state(&model), (23, vec![43], 21)),
            _ => {}
        }
    }
    assert!(model.ledger.world(&fork).is_none());
    let error = pinned.get(&OutPoint::NULL).unwrap_err();
    assert!(matches!(error, Error::NotHeld { height: 26, .. }), "{error}");
}
