//! The naive model: one ordered map cloned per block, and the original's trim rule written over
//! sets of blocks.
//!
//! Blocks here are only as valid as the ledger needs them: they link up and spend what exists.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use caesure_consensus::{Coin, HeaderTree, Network, Params, Work};
use caesure_hash::{MuHash3072, Sha256};
use caesure_ledger::{BlockInfo, Difference, Summary, Sums, genesis_info};
use caesure_wire::{
    BlockHash, Header, MerkleRoot, OutPoint, Transaction, TxIn, TxOut, encode_block,
    push_compact_size,
};

pub(crate) type Set = BTreeMap<OutPoint, Coin>;

/// A generator of numbers that a seed replays (xorshift64*).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(2) + 1)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit
    }

    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

/// A block with all that follows from it.
#[derive(Clone)]
pub(crate) struct Known {
    pub(crate) bytes: Vec<u8>,
    pub(crate) txs: Vec<Transaction>,
    pub(crate) parent: BlockHash,
    pub(crate) info: BlockInfo,
    pub(crate) work: u64,
    pub(crate) sums: Sums,
    pub(crate) set: Arc<Set>,
    /// The place in the order of commitment, which decides ties.
    order: usize,
}

/// What is held and what is the tip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub(crate) held: BTreeSet<BlockHash>,
    pub(crate) tip: BlockHash,
    pub(crate) root: BlockHash,
}

#[derive(Clone)]
pub(crate) struct Naive {
    pub(crate) params: Params,
    pub(crate) genesis: BlockInfo,
    pub(crate) horizon: u32,
    pub(crate) blocks: BTreeMap<BlockHash, Known>,
    pub(crate) now: Snapshot,
    pub(crate) pending: BTreeSet<BlockHash>,
    /// The state after each commitment and each rewind, the first before all.
    pub(crate) snapshots: Vec<Snapshot>,
    /// Every outpoint that was ever made, unspendable ones too.
    pub(crate) outpoints: BTreeSet<OutPoint>,
    commits: usize,
    pub(crate) counter: u32,
    /// A tip was chosen since the last start, which then need not be the tip again.
    pub(crate) has_chosen: bool,
}

pub(crate) fn work(number: u64) -> Work {
    let mut bytes = [0; 32];
    bytes[24..].copy_from_slice(&number.to_be_bytes());
    Work::from_be_bytes(bytes)
}

impl Naive {
    pub(crate) fn new(horizon: u32) -> Self {
        let params = Params::new(Network::Regtest);
        let mut genesis = genesis_info(&params, &HeaderTree::new(&params));
        genesis.chain_work = work(0);
        let start = Known {
            bytes: Vec::new(),
            txs: Vec::new(),
            parent: BlockHash::ZERO,
            info: genesis,
            work: 0,
            sums: Sums { chain_work: work(0), fees: 0, subsidy: 0 },
            set: Arc::default(),
            order: 0,
        };
        let hash = genesis.hash;
        let now = Snapshot { held: BTreeSet::from([hash]), tip: hash, root: hash };
        Self {
            params,
            genesis,
            horizon,
            blocks: BTreeMap::from([(hash, start)]),
            snapshots: vec![now.clone()],
            now,
            pending: BTreeSet::new(),
            outpoints: BTreeSet::from([OutPoint::NULL]),
            commits: 0,
            has_chosen: false,
            counter: 0,
        }
    }

    pub(crate) fn set(&self, hash: &BlockHash) -> &Set {
        &self.blocks[hash].set
    }

    pub(crate) fn height(&self, hash: &BlockHash) -> u32 {
        self.blocks[hash].info.height
    }

    /// Held and committed blocks by height.
    pub(crate) fn worlds(&self) -> Vec<BlockInfo> {
        let shown = self.now.held.difference(&self.pending);
        let mut worlds: Vec<BlockInfo> = shown.map(|hash| self.blocks[hash].info).collect();
        worlds.sort_by_key(|info| (info.height, info.hash));
        worlds
    }

    pub(crate) fn leaves(&self) -> Vec<BlockInfo> {
        let worlds = self.worlds();
        let parents: BTreeSet<BlockHash> =
            worlds.iter().map(|info| self.blocks[&info.hash].parent).collect();
        worlds.into_iter().filter(|info| !parents.contains(&info.hash)).collect()
    }

    /// A block and its ancestors as far as they are held.
    fn branch(&self, mut hash: BlockHash) -> BTreeSet<BlockHash> {
        let mut branch = BTreeSet::new();
        while self.now.held.contains(&hash) {
            branch.insert(hash);
            hash = self.blocks[&hash].parent;
        }
        branch
    }

    pub(crate) fn coinbase(&mut self, outputs: Vec<TxOut>) -> Transaction {
        self.counter += 1;
        coinbase(1000 + self.counter, outputs)
    }

    /// Makes a block on `parent` with `added` work; its coinbase comes first in `txs`.
    pub(crate) fn make(
        &mut self,
        parent: BlockHash,
        txs: Vec<Transaction>,
        added: u64,
    ) -> BlockHash {
        let before = &self.blocks[&parent];
        let height = before.info.height + 1;
        let mut set = Set::clone(&before.set);
        for (index, tx) in txs.iter().enumerate() {
            apply(&mut set, tx, height, index == 0);
            let txid = tx.txid();
            let outpoints = (0..tx.outputs.len() as u32 + 1).map(|vout| OutPoint { txid, vout });
            self.outpoints.extend(outpoints);
        }
        self.counter += 1;
        let header = Header {
            prev_block: parent,
            merkle_root: MerkleRoot([0; 32]),
            nonce: self.counter,
            ..Header::default()
        };
        let encoded: Vec<Vec<u8>> = txs.iter().map(Transaction::encode).collect();
        let hash = header.hash();
        let work_sum = before.work + added;
        let sums =
            Sums { chain_work: work(work_sum), fees: i64::from(self.counter % 5), subsidy: 5000 };
        let info = BlockInfo {
            hash,
            height,
            chain_work: work(work_sum),
            total: set.values().map(|coin| coin.value).sum(),
            fees: before.info.fees + sums.fees,
            issued: before.info.issued + sums.subsidy,
        };
        let known = Known {
            bytes: encode_block(&header, &encoded),
            txs,
            parent,
            info,
            work: work_sum,
            sums,
            set: Arc::new(set),
            order: usize::MAX,
        };
        self.blocks.insert(hash, known);
        hash
    }

    pub(crate) fn extend(&mut self, hash: BlockHash) {
        assert!(self.now.held.contains(&self.blocks[&hash].parent));
        self.now.held.insert(hash);
        self.pending.insert(hash);
    }

    pub(crate) fn commit(&mut self, hash: BlockHash) {
        assert!(self.pending.remove(&hash));
        self.commits += 1;
        self.blocks.get_mut(&hash).unwrap().order = self.commits;
        if self.blocks[&self.now.tip].work < self.blocks[&hash].work {
            self.now.tip = hash;
        }
        self.trim();
        self.snapshots.push(self.now.clone());
    }

    pub(crate) fn discard(&mut self, hash: &BlockHash) {
        let doomed: Vec<BlockHash> = self
            .now
            .held
            .iter()
            .copied()
            .filter(|held| self.branch(*held).contains(hash))
            .collect();
        for hash in doomed {
            self.now.held.remove(&hash);
            self.pending.remove(&hash);
        }
        if !self.now.held.contains(&self.now.tip) {
            self.choose_tip();
        }
    }

    /// Makes a block the tip whatever its work.
    pub(crate) fn choose(&mut self, hash: BlockHash) {
        self.now.tip = hash;
        self.has_chosen = true;
    }

    pub(crate) fn rewind(&mut self, hash: BlockHash) {
        self.now = Snapshot { held: BTreeSet::from([hash]), tip: hash, root: hash };
        self.pending.clear();
        self.snapshots.push(self.now.clone());
    }

    /// Takes over what a ledger holds after a restart that may have dropped worlds.
    pub(crate) fn adopt(&mut self, worlds: &[BlockInfo]) {
        self.now.held = worlds.iter().map(|info| info.hash).collect();
        self.now.root = worlds[0].hash;
        self.pending.clear();
        for info in worlds {
            let known = &self.blocks[&info.hash];
            assert_ne!(known.order, usize::MAX, "{} was never committed", info.hash);
            let is_linked = self.now.held.contains(&known.parent) || info.hash == self.now.root;
            assert!(is_linked, "{} has no parent", info.hash);
        }
        self.choose_tip();
        self.has_chosen = false;
        self.snapshots.push(self.now.clone());
    }

    pub(crate) fn is_at_or_below_root(&self, hash: &BlockHash) -> bool {
        let mut at = self.now.root;
        while at != *hash && at != self.genesis.hash {
            at = self.blocks[&at].parent;
        }
        at == *hash
    }

    /// Forgets blocks that are more than `depth` below the root, so that a long run stays small.
    pub(crate) fn forget_old(&mut self, depth: u32) {
        let least = self.height(&self.now.root).saturating_sub(depth);
        self.blocks.retain(|_, known| least <= known.info.height);
        self.snapshots.clear();
        let sets = self.blocks.values().flat_map(|known| known.set.keys().copied());
        self.outpoints = sets.collect();
    }

    /// The most work; of two, the one that was committed first.
    fn choose_tip(&mut self) {
        let shown = self.now.held.difference(&self.pending);
        let rank = |hash: &&BlockHash| {
            let known = &self.blocks[*hash];
            (known.work, std::cmp::Reverse(known.order))
        };
        self.now.tip = *shown.max_by_key(rank).unwrap();
    }

    /// original.md 5.7: a fork is dropped once its leaf is more than the horizon below the tip, and
    /// the root is the youngest common ancestor of those that are kept, a horizon deep at least.
    fn trim(&mut self) {
        let cutoff = self.height(&self.now.tip).saturating_sub(self.horizon);
        if cutoff <= self.height(&self.now.root) {
            return;
        }
        let leaves = self.leaves().into_iter().filter(|leaf| cutoff <= leaf.height);
        let kept: BTreeSet<BlockHash> =
            leaves.map(|leaf| leaf.hash).chain(self.pending.iter().copied()).collect();
        let branches: Vec<BTreeSet<BlockHash>> =
            kept.iter().map(|leaf| self.branch(*leaf)).chain([self.branch(self.now.tip)]).collect();
        let shared = branches[0].iter().filter(|hash| branches.iter().all(|b| b.contains(*hash)));
        let shared = shared.filter(|hash| self.height(hash) <= cutoff);
        let root = *shared.max_by_key(|hash| self.height(hash)).unwrap();
        let height = self.height(&root);
        self.now.held = branches
            .into_iter()
            .flatten()
            .filter(|hash| *hash == root || height < self.height(hash))
            .collect();
        self.now.root = root;
    }

    /// The coin of each input but the coinbase's: of the parent's world or of an earlier transaction,
    /// unless an earlier input spends it.
    pub(crate) fn prevouts(&self, parent: &BlockHash, txs: &[Transaction]) -> Vec<Option<Coin>> {
        let height = self.height(parent) + 1;
        let mut set = self.set(parent).clone();
        let mut prevouts = Vec::new();
        for (index, tx) in txs.iter().enumerate() {
            if 0 < index {
                prevouts.extend(tx.inputs.iter().map(|input| set.remove(&input.prevout)));
            }
            set.extend(outputs(tx, height, index == 0));
        }
        prevouts
    }

    pub(crate) fn overwrites(&self, parent: &BlockHash, txs: &[Transaction]) -> bool {
        let set = self.set(parent);
        txs.iter().any(|tx| {
            let txid = tx.txid();
            let mut outpoints = (0..tx.outputs.len() as u32).map(|vout| OutPoint { txid, vout });
            outpoints.any(|outpoint| set.contains_key(&outpoint))
        })
    }

    /// Inputs for up to `count` coins of a set from the `first` on, but for coinbases of the same
    /// height: a repeated one (BIP-0030) that is spent at once is kept from the ledger by the
    /// maturity rule.
    pub(crate) fn inputs(set: &Set, first: usize, count: usize, height: u32) -> Vec<TxIn> {
        let input = |prevout: &OutPoint| TxIn { prevout: *prevout, ..TxIn::default() };
        let free = set.iter().filter(|(_, coin)| !(coin.is_coinbase && coin.height == height));
        free.skip(first % set.len().max(1)).take(count).map(|(prevout, _)| input(prevout)).collect()
    }
}

pub(crate) fn coinbase(tag: u32, outputs: Vec<TxOut>) -> Transaction {
    let input = TxIn { prevout: OutPoint::NULL, sequence: tag, ..TxIn::default() };
    Transaction { version: 1, inputs: vec![input], outputs, lock_time: 0 }
}

pub(crate) fn output(value: i64) -> TxOut {
    TxOut { value, script_pubkey: vec![0x51] }
}

/// A transaction that spends some outpoints and makes as many outputs as there are values.
pub(crate) fn spend(prevouts: &[OutPoint], values: &[i64]) -> Transaction {
    let input = |prevout: &OutPoint| TxIn { prevout: *prevout, ..TxIn::default() };
    let inputs = prevouts.iter().map(input).collect();
    let outputs = values.iter().map(|value| output(*value)).collect();
    Transaction { version: 1, inputs, outputs, lock_time: 0 }
}

pub(crate) fn outpoint(tx: &Transaction, vout: u32) -> OutPoint {
    OutPoint { txid: tx.txid(), vout }
}

/// The coins that a transaction makes; outputs that begin with OP_RETURN are none.
fn outputs(tx: &Transaction, height: u32, is_coinbase: bool) -> Vec<(OutPoint, Coin)> {
    let coin = |output: &TxOut| Coin {
        value: output.value,
        height,
        is_coinbase,
        script_pubkey: output.script_pubkey.clone().into(),
    };
    let txid = tx.txid();
    let all = (0..).zip(&tx.outputs).map(|(vout, output)| (OutPoint { txid, vout }, coin(output)));
    all.filter(|(_, coin)| coin.script_pubkey.first() != Some(&0x6a)).collect()
}

pub(crate) fn apply(set: &mut Set, tx: &Transaction, height: u32, is_coinbase: bool) {
    if !is_coinbase {
        for input in &tx.inputs {
            set.remove(&input.prevout).unwrap();
        }
    }
    set.extend(outputs(tx, height, is_coinbase));
}

pub(crate) fn difference(before: &Set, after: &Set) -> Difference {
    let only = |x: &Set, y: &Set| -> Vec<(OutPoint, Coin)> {
        let differs = |(key, coin): &(&OutPoint, &Coin)| y.get(*key) != Some(*coin);
        x.iter().filter(differs).map(|(key, coin)| (*key, coin.clone())).collect()
    };
    Difference { removed: only(before, after), added: only(after, before) }
}

/// Core's `hash_serialized_3`: all coins in key order, hashed at once.
pub(crate) fn serialized(outpoint: &OutPoint, coin: &Coin) -> Vec<u8> {
    let mut bytes = outpoint.to_bytes().to_vec();
    bytes.extend((coin.height * 2 + u32::from(coin.is_coinbase)).to_le_bytes());
    bytes.extend(coin.value.to_le_bytes());
    push_compact_size(&mut bytes, coin.script_pubkey.len());
    bytes.extend_from_slice(&coin.script_pubkey);
    bytes
}

pub(crate) fn hash_serialized(set: &Set) -> [u8; 32] {
    let mut hash = Sha256::new();
    set.iter().for_each(|(outpoint, coin)| hash.update(&serialized(outpoint, coin)));
    hash.finish_double()
}

pub(crate) fn summary(set: &Set) -> Summary {
    let mut muhash = MuHash3072::new();
    set.iter().for_each(|(outpoint, coin)| muhash.insert(&serialized(outpoint, coin)));
    let txids: BTreeSet<_> = set.keys().map(|outpoint| outpoint.txid).collect();
    Summary {
        txouts: set.len() as u64,
        transactions: txids.len() as u64,
        total_amount: set.values().map(|coin| coin.value).sum(),
        bogosize: set.values().map(|coin| 50 + coin.script_pubkey.len() as u64).sum(),
        hash_serialized_3: hash_serialized(set),
        muhash: muhash.finish(),
    }
}
