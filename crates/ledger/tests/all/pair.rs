//! A ledger and the naive model side by side.

use std::path::Path;

use caesure_consensus::Coin;
use caesure_ledger::{BlockInfo, Error, Ledger, OpenReport, Options, Resolved, World};
use caesure_wire::{Block, BlockHash, Header, OutPoint, Transaction, Txid, encode_block};

use crate::naive::{Naive, Random, Set, difference, summary};

/// Opens a folder's ledger as the model's blocks are stored.
pub(crate) fn open(folder: &Path, naive: &Naive) -> Result<(Ledger, OpenReport), Error> {
    let options = Options { horizon: naive.horizon, ..Options::default() };
    open_with(folder, naive, options)
}

pub(crate) fn open_with(
    folder: &Path,
    naive: &Naive,
    options: Options,
) -> Result<(Ledger, OpenReport), Error> {
    let mut is_stored = |hash: &BlockHash| Ok(naive.blocks.contains_key(hash));
    Ledger::open(folder, &naive.params, naive.genesis, options, true, &mut is_stored)
}

/// How many cases a property is tried on; `CAESURE_LEDGER_CASES` says how many times the usual number.
pub(crate) fn cases(usual: u32) -> u32 {
    let times = std::env::var("CAESURE_LEDGER_CASES").map_or(1, |text| text.parse().unwrap());
    usual * times
}

pub(crate) struct Pair {
    pub(crate) naive: Naive,
    pub(crate) ledger: Ledger,
}

impl Pair {
    pub(crate) fn in_memory(horizon: u32) -> Self {
        let naive = Naive::new(horizon);
        let ledger = Ledger::in_memory(naive.genesis, horizon);
        Self { naive, ledger }
    }

    pub(crate) fn open(folder: &Path, horizon: u32) -> Self {
        let naive = Naive::new(horizon);
        let (ledger, _) = open(folder, &naive).unwrap();
        Self { naive, ledger }
    }

    /// Resolves a block of the model in the ledger, whose answers must be the model's.
    pub(crate) fn resolve(&self, hash: &BlockHash) -> Resolved {
        let known = &self.naive.blocks[hash];
        let block = Block::parse(&known.bytes[..]).unwrap();
        let txids: Vec<Txid> = block.txs().map(|tx| tx.txid()).collect();
        let resolved = self.ledger.resolve(&block, &txids, true).unwrap().unwrap();
        assert_eq!(*resolved.prevouts, *self.naive.prevouts(&known.parent, &known.txs));
        assert_eq!(resolved.overwrites, self.naive.overwrites(&known.parent, &known.txs));
        resolved
    }

    /// Resolves transactions that need not be valid as a block on `parent`.
    pub(crate) fn resolve_only(
        &self,
        parent: &BlockHash,
        txs: &[Transaction],
    ) -> Vec<Option<Coin>> {
        let header = Header { prev_block: *parent, ..Header::default() };
        let encoded: Vec<Vec<u8>> = txs.iter().map(Transaction::encode).collect();
        let bytes = encode_block(&header, &encoded);
        let block = Block::parse(&bytes[..]).unwrap();
        let txids: Vec<Txid> = txs.iter().map(Transaction::txid).collect();
        let resolved = self.ledger.resolve(&block, &txids, true).unwrap().unwrap();
        assert_eq!(*resolved.prevouts, *self.naive.prevouts(parent, txs));
        resolved.prevouts.to_vec()
    }

    /// Extends ledger and model by a block of the model; none sees it yet.
    pub(crate) fn extend(&mut self, hash: BlockHash) {
        self.try_extend(hash).unwrap();
        assert!(self.ledger.holds(&hash) && self.ledger.world(&hash).is_none());
    }

    pub(crate) fn try_extend(&mut self, hash: BlockHash) -> Result<(), Error> {
        let resolved = self.resolve(&hash);
        let known = &self.naive.blocks[&hash];
        let block = Block::parse(&known.bytes[..]).unwrap();
        let txids: Vec<Txid> = block.txs().map(|tx| tx.txid()).collect();
        self.ledger.extend(&block, &txids, &resolved, known.sums)?;
        self.naive.extend(hash);
        Ok(())
    }

    pub(crate) fn commit(&mut self, hash: BlockHash) {
        self.ledger.commit(&hash).unwrap();
        self.naive.commit(hash);
    }

    /// Makes a block with a coinbase of one output, extends and commits it.
    pub(crate) fn add(&mut self, parent: BlockHash, txs: &[Transaction], added: u64) -> BlockHash {
        let coinbase = self.naive.coinbase(vec![crate::naive::output(50)]);
        let hash = self.naive.make(parent, [&[coinbase], txs].concat(), added);
        self.extend(hash);
        self.commit(hash);
        hash
    }

    pub(crate) fn discard(&mut self, hash: &BlockHash) {
        self.ledger.discard(hash).unwrap();
        self.naive.discard(hash);
    }

    pub(crate) fn choose(&mut self, hash: BlockHash) {
        self.ledger.choose(&hash).unwrap();
        self.naive.choose(hash);
    }

    pub(crate) fn rewind(&mut self, hash: BlockHash) {
        self.ledger.rewind_to(&hash).unwrap();
        self.naive.rewind(hash);
    }

    /// Drops the ledger, as a crash does, and opens it again.
    pub(crate) fn reopen(&mut self, folder: &Path) -> OpenReport {
        self.ledger = Ledger::in_memory(self.naive.genesis, 1);
        let (ledger, report) = open(folder, &self.naive).unwrap();
        self.ledger = ledger;
        self.naive.pending.clear();
        report
    }

    /// Compares what is held, without a look into the sets.
    pub(crate) fn check_tree(&self) {
        let naive = &self.naive;
        assert_eq!(self.ledger.worlds(), naive.worlds());
        assert_eq!(*self.ledger.tip().info(), naive.blocks[&naive.now.tip].info);
        assert_eq!(self.ledger.root(), naive.blocks[&naive.now.root].info);
        assert_eq!(self.ledger.leaves(), naive.leaves());
        for hash in naive.blocks.keys() {
            assert_eq!(self.ledger.holds(hash), naive.now.held.contains(hash));
            let is_shown = naive.now.held.contains(hash) && !naive.pending.contains(hash);
            assert_eq!(self.ledger.world(hash).is_some(), is_shown);
        }
    }

    /// Compares every query on every world that the ledger holds.
    pub(crate) fn check(&self) {
        self.check_tree();
        let worlds = self.ledger.worlds();
        let mut random = Random::new(u64::from(self.naive.counter));
        for info in &worlds {
            self.check_world(info, random.chance(30));
        }
        for _ in 0..4 {
            let [a, b] = [(); 2].map(|()| worlds[random.below(worlds.len())].hash);
            self.check_difference(&a, &b);
        }
        self.check_difference(&self.naive.now.root, &self.naive.now.tip);
        let sizes = self.ledger.reader().sizes().unwrap();
        assert_eq!(sizes.iter().map(|size| size.info).collect::<Vec<_>>(), worlds);
        for size in sizes {
            let coins = self.naive.set(&size.info.hash).len() as u64;
            assert_eq!((size.coins, size.bytes % 4), (coins, 0), "height {}", size.info.height);
        }
        for hash in [self.naive.now.tip, worlds[random.below(worlds.len())].hash] {
            let found = self.world(&hash).summary().unwrap();
            assert_eq!(found, summary(self.naive.set(&hash)));
        }
    }

    pub(crate) fn world(&self, hash: &BlockHash) -> World {
        self.ledger.world(hash).unwrap()
    }

    fn check_world(&self, info: &BlockInfo, visits_all: bool) {
        let world = self.world(&info.hash);
        let known = &self.naive.blocks[&info.hash];
        assert_eq!(*world.info(), known.info);
        assert_eq!(info.lost(), info.issued - known.info.total);
        // It takes long, and the outpoints below are all that there can be.
        if visits_all {
            assert_set(&world, &known.set);
        }
        let outpoints: Vec<OutPoint> = self.naive.outpoints.iter().copied().collect();
        let found = world.get_many(&outpoints).unwrap();
        for (outpoint, found) in outpoints.iter().zip(found) {
            let expected = known.set.get(outpoint);
            assert_eq!(found.as_ref(), expected);
            assert_eq!(world.get(outpoint).unwrap().as_ref(), expected);
        }
    }

    fn check_difference(&self, a: &BlockHash, b: &BlockHash) {
        let found = self.world(a).diff(&self.world(b)).unwrap();
        assert_eq!(found, difference(self.naive.set(a), self.naive.set(b)));
    }
}

/// Checks that a world's coins are those of a set, in its order.
pub(crate) fn assert_set(world: &World, set: &Set) {
    let mut expected = set.iter();
    let mut count = 0;
    let visit = |outpoint: &_, coin: &_| {
        assert_eq!(
            expected.next(),
            Some((outpoint, coin)),
            "coin {count} of {}",
            world.info().hash
        );
        count += 1;
    };
    world.for_each(visit).unwrap();
    assert_eq!(count, set.len());
}
