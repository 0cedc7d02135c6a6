//! Faults of other nodes and of the original, each kept from coming back.
#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::collections::BTreeMap;
use std::path::Path;

use caesure_consensus::{Coin, HeaderTree, Network, Params, Work};
use caesure_ledger::{Ledger, Options, Sums, World, genesis_info};
use caesure_wire::{
    Block, BlockHash, Header, OutPoint, Transaction, TxIn, TxOut, Txid, encode_block,
};

/// A ledger with the blocks that it was given.
struct Chain {
    ledger: Ledger,
    blocks: BTreeMap<BlockHash, (Vec<u8>, u64)>,
    genesis: BlockHash,
}

fn work(number: u64) -> Work {
    let mut bytes = [0; 32];
    bytes[24..].copy_from_slice(&number.to_be_bytes());
    Work::from_be_bytes(bytes)
}

fn open(folder: &Path, blocks: &BTreeMap<BlockHash, (Vec<u8>, u64)>) -> Ledger {
    let params = Params::new(Network::Regtest);
    let genesis = genesis_info(&params, &HeaderTree::new(&params));
    let mut is_stored = |hash: &BlockHash| Ok(*hash == genesis.hash || blocks.contains_key(hash));
    let options = Options { horizon: 3, ..Options::default() };
    Ledger::open(folder, &params, genesis, options, true, &mut is_stored).unwrap().0
}

impl Chain {
    fn new(folder: &Path) -> Self {
        let ledger = open(folder, &BTreeMap::new());
        let genesis = ledger.tip().info().hash;
        Self { ledger, blocks: BTreeMap::new(), genesis }
    }

    /// Adds a block with a coinbase, told apart by `tag`, and other transactions.
    fn add(&mut self, parent: BlockHash, tag: u32, txs: &[Transaction]) -> BlockHash {
        let txs: Vec<Vec<u8>> =
            [coinbase(tag)].iter().chain(txs).map(Transaction::encode).collect();
        let nonce = u32::try_from(self.blocks.len()).unwrap();
        let header = Header { prev_block: parent, nonce, ..Header::default() };
        let bytes = encode_block(&header, &txs);
        let block = Block::parse(&bytes[..]).unwrap();
        let txids: Vec<Txid> = block.txs().map(|tx| tx.txid()).collect();
        let resolved = self.ledger.resolve(&block, &txids, true).unwrap().unwrap();
        assert!(resolved.prevouts.iter().all(Option::is_some));
        let height = self.blocks.get(&parent).map_or(0, |(_, height)| *height) + 1;
        let sums = Sums { chain_work: work(100 + height), fees: 0, subsidy: 50 };
        self.ledger.extend(&block, &txids, &resolved, sums).unwrap();
        let hash = block.hash();
        self.ledger.commit(&hash).unwrap();
        self.blocks.insert(hash, (bytes.clone(), height));
        hash
    }

    fn coin(&self, block: BlockHash, outpoint: OutPoint) -> Option<Coin> {
        self.ledger.world(&block).unwrap().get(&outpoint).unwrap()
    }
}

fn count(world: &World) -> u64 {
    world.summary().unwrap().txouts
}

fn coinbase(tag: u32) -> Transaction {
    let input = TxIn { prevout: OutPoint::NULL, sequence: tag, ..TxIn::default() };
    let outputs = vec![TxOut { value: 50, script_pubkey: vec![0x51] }];
    Transaction { version: 1, inputs: vec![input], outputs, lock_time: 0 }
}

fn first_output(tx: &Transaction) -> OutPoint {
    OutPoint { txid: tx.txid(), vout: 0 }
}

fn spend(prevouts: &[OutPoint], outputs: usize) -> Transaction {
    let input = |prevout: &OutPoint| TxIn { prevout: *prevout, ..TxIn::default() };
    let output = TxOut { value: 0, script_pubkey: vec![0x51] };
    Transaction {
        version: 1,
        inputs: prevouts.iter().map(input).collect(),
        outputs: vec![output; outputs],
        lock_time: 0,
    }
}

#[test]
fn cve_2013_3220_a_block_may_touch_over_100000_outpoints() {
    let folder = tempfile::tempdir().unwrap();
    let mut chain = Chain::new(folder.path());
    let first = chain.add(chain.genesis, 1, &[]);
    let wide = spend(&[first_output(&coinbase(1))], 120_000);
    let second = chain.add(first, 2, std::slice::from_ref(&wide));
    assert_eq!(count(&chain.ledger.tip()), 120_001);
    let txid = wide.txid();
    let all: Vec<OutPoint> = (0..120_000).map(|vout| OutPoint { txid, vout }).collect();
    let third = chain.add(second, 3, &[spend(&all, 1)]);
    assert_eq!(count(&chain.ledger.tip()), 3);
    drop(std::mem::replace(&mut chain.ledger, open(folder.path(), &chain.blocks)));
    assert_eq!(chain.ledger.tip().info().hash, third);
}

#[test]
fn satd_583_a_coin_spent_on_one_fork_is_unspent_on_the_other_and_stays_so() {
    let folder = tempfile::tempdir().unwrap();
    let mut chain = Chain::new(folder.path());
    let first = chain.add(chain.genesis, 1, &[]);
    let coin = first_output(&coinbase(1));
    let spent = chain.add(first, 2, &[spend(&[coin], 1)]);
    let unspent = chain.add(first, 3, &[]);
    let tip = chain.add(unspent, 4, &[]);
    assert_eq!(chain.ledger.tip().info().hash, tip);
    for _ in 0..2 {
        assert_eq!(chain.coin(spent, coin), None);
        assert!(chain.coin(unspent, coin).is_some() && chain.coin(tip, coin).is_some());
        chain.ledger.checkpoint().unwrap();
        chain.ledger = open(folder.path(), &chain.blocks);
    }
}

#[test]
fn satd_an_output_made_and_spent_in_one_block_leaves_nothing_whatever_the_order() {
    let folder = tempfile::tempdir().unwrap();
    let mut chain = Chain::new(folder.path());
    let first = chain.add(chain.genesis, 1, &[]);
    let middle = spend(&[first_output(&coinbase(1))], 1);
    let last = spend(&[first_output(&middle)], 1);
    let second = chain.add(first, 2, &[middle.clone(), last.clone()]);
    assert_eq!(chain.coin(second, first_output(&middle)), None);
    assert!(chain.coin(second, first_output(&last)).is_some());
    let difference = {
        let world = |hash| chain.ledger.world(hash).unwrap();
        world(&first).diff(&world(&second)).unwrap()
    };
    assert_eq!((difference.removed.len(), difference.added.len()), (1, 2));
}

/// Somsen's point of 2025: when the block that repeats a coinbase is reorganised away, the coin that
/// it overwrote must be there again.
#[test]
fn cve_2012_1909_bip30_a_repeat_that_is_reorganised_away_gives_the_earlier_coin_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut chain = Chain::new(folder.path());
    let first = chain.add(chain.genesis, 1, &[]);
    let second = chain.add(first, 2, &[]);
    let repeat = chain.add(second, 1, &[]);
    let coin = first_output(&coinbase(1));
    assert_eq!(chain.coin(repeat, coin).unwrap().height, 3);
    assert_eq!(chain.ledger.tip().info().total, 100);
    assert_eq!(chain.ledger.tip().info().lost(), 50 * 100_000_000 + 50);
    let fork = chain.add(second, 5, &[]);
    let tip = chain.add(fork, 6, &[]);
    assert_eq!(chain.coin(tip, coin).unwrap().height, 1);
    // Below the root, too.
    let mut at = repeat;
    for tag in 10..20 {
        at = chain.add(at, tag, &[]);
    }
    assert!(3 < chain.ledger.root().height);
    assert_eq!(chain.coin(at, coin).unwrap().height, 3);
    chain.ledger.rewind_to(&second).unwrap();
    assert_eq!(chain.coin(second, coin).unwrap().height, 1);
    assert_eq!(chain.ledger.tip().info().total, 100);
}

#[test]
fn original_fault_op_return_outputs_are_not_stored_and_count_as_lost() {
    let folder = tempfile::tempdir().unwrap();
    let mut chain = Chain::new(folder.path());
    let first = chain.add(chain.genesis, 1, &[]);
    let mut burn = spend(&[first_output(&coinbase(1))], 1);
    burn.outputs[0] = TxOut { value: 50, script_pubkey: vec![0x6a, 1, 7] };
    let second = chain.add(first, 2, &[burn]);
    let tip = chain.ledger.tip();
    assert_eq!((tip.info().hash, count(&tip)), (second, 1));
    assert_eq!((tip.info().total, tip.info().lost()), (50, 50 * 100_000_000 + 50));
}

#[test]
fn original_fault_a_fresh_ledger_takes_block_1_and_a_short_chain_keeps_its_outputs() {
    let folder = tempfile::tempdir().unwrap();
    let mut chain = Chain::new(folder.path());
    let mut at = chain.genesis;
    for tag in 1..=60 {
        at = chain.add(at, tag, &[]);
    }
    chain.ledger.checkpoint().unwrap();
    chain.ledger = open(folder.path(), &chain.blocks);
    assert_eq!(count(&chain.ledger.tip()), 60);
}

#[test]
fn original_fault_two_blocks_at_the_top_are_no_hindrance_and_the_first_stays_the_tip() {
    let folder = tempfile::tempdir().unwrap();
    let mut chain = Chain::new(folder.path());
    let first = chain.add(chain.genesis, 1, &[]);
    let tip = chain.add(first, 2, &[]);
    let other = chain.add(first, 3, &[]);
    for _ in 0..2 {
        assert_eq!(chain.ledger.tip().info().hash, tip);
        assert_eq!(chain.ledger.leaves().len(), 2);
        assert!(chain.ledger.world(&other).is_some());
        chain.ledger.checkpoint().unwrap();
        chain.ledger = open(folder.path(), &chain.blocks);
    }
}

/// The original keyed coins by half a txid: two transactions that share it were one to it.
#[test]
fn original_fault_coins_are_told_apart_by_the_whole_txid() {
    let folder = tempfile::tempdir().unwrap();
    let mut chain = Chain::new(folder.path());
    let first = chain.add(chain.genesis, 1, &[]);
    let mut similar = first_output(&coinbase(1));
    similar.txid.0[31] ^= 1;
    assert_eq!(chain.coin(first, similar), None);
}
