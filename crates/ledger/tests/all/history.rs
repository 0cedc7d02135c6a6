//! Faults of other nodes and of the original, each kept from coming back.

use std::path::Path;

use caesure_consensus::Coin;
use caesure_ledger::{Ledger, Options};
use caesure_wire::{Block, BlockHash, OutPoint, Transaction, TxOut, Txid};

use crate::naive::{coinbase, outpoint, output, spend};
use crate::pair::{Pair, assert_set, open_with};

/// A pair on a folder with a horizon of 3, whose blocks have coinbases of 50 told apart by a tag.
struct Chain {
    pair: Pair,
    genesis: BlockHash,
}

impl Chain {
    fn new(folder: &Path) -> Self {
        let pair = Pair::open(folder, 3);
        let genesis = pair.naive.genesis.hash;
        Self { pair, genesis }
    }

    fn add(&mut self, parent: BlockHash, tag: u32, txs: &[Transaction]) -> BlockHash {
        let txs = [&[tagged(tag)], txs].concat();
        let hash = self.pair.naive.make(parent, txs, 1);
        self.pair.extend(hash);
        self.pair.commit(hash);
        self.pair.check_tree();
        hash
    }

    fn coin(&self, block: BlockHash, outpoint: OutPoint) -> Option<Coin> {
        self.pair.world(&block).get(&outpoint).unwrap()
    }

    fn tip_len(&self) -> usize {
        usize::try_from(self.pair.ledger.tip().summary().unwrap().txouts).unwrap()
    }
}

fn tagged(tag: u32) -> Transaction {
    coinbase(tag, vec![output(50)])
}

fn first_output(tx: &Transaction) -> OutPoint {
    outpoint(tx, 0)
}

#[test]
fn cve_2013_3220_a_block_may_touch_over_100000_outpoints() {
    let folder = tempfile::tempdir().unwrap();
    let mut chain = Chain::new(folder.path());
    let first = chain.add(chain.genesis, 1, &[]);
    let wide = spend(&[first_output(&tagged(1))], &[0; 120_000]);
    let second = chain.add(first, 2, std::slice::from_ref(&wide));
    assert_eq!(chain.tip_len(), 120_001);
    let txid = wide.txid();
    let all: Vec<OutPoint> = (0..120_000).map(|vout| OutPoint { txid, vout }).collect();
    let third = chain.add(second, 3, &[spend(&all, &[0])]);
    assert_eq!(chain.tip_len(), 3);
    chain.pair.reopen(folder.path());
    assert_eq!(chain.pair.ledger.tip().info().hash, third);
    assert_eq!(chain.tip_len(), 3);
    // Sorted in parts that lie in files.
    chain.pair.ledger = Ledger::in_memory(chain.pair.naive.genesis, 3);
    let options = Options { horizon: 3, memory: 0, sort: 0, ..Options::default() };
    let (ledger, _) = open_with(folder.path(), &chain.pair.naive, options).unwrap();
    assert_set(&ledger.world(&second).unwrap(), chain.pair.naive.set(&second));
}

#[test]
fn satd_583_a_coin_spent_on_one_fork_is_unspent_on_the_other_and_stays_so() {
    let folder = tempfile::tempdir().unwrap();
    let mut chain = Chain::new(folder.path());
    let first = chain.add(chain.genesis, 1, &[]);
    let coin = first_output(&tagged(1));
    let spent = chain.add(first, 2, &[spend(&[coin], &[0])]);
    let unspent = chain.add(first, 3, &[]);
    let tip = chain.add(unspent, 4, &[]);
    assert_eq!(chain.pair.ledger.tip().info().hash, tip);
    for _ in 0..2 {
        assert_eq!(chain.coin(spent, coin), None);
        assert!(chain.coin(unspent, coin).is_some() && chain.coin(tip, coin).is_some());
        chain.pair.ledger.checkpoint().unwrap();
        chain.pair.reopen(folder.path());
        chain.pair.check();
    }
}

#[test]
fn satd_an_output_made_and_spent_in_one_block_leaves_nothing_whatever_the_order() {
    let folder = tempfile::tempdir().unwrap();
    let mut chain = Chain::new(folder.path());
    let first = chain.add(chain.genesis, 1, &[]);
    let middle = spend(&[first_output(&tagged(1))], &[0]);
    let last = spend(&[first_output(&middle)], &[0]);
    let second = chain.add(first, 2, &[middle.clone(), last.clone()]);
    assert_eq!(chain.coin(second, first_output(&middle)), None);
    assert!(chain.coin(second, first_output(&last)).is_some());
    let difference = chain.pair.world(&first).diff(&chain.pair.world(&second)).unwrap();
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
    let coin = first_output(&tagged(1));
    assert_eq!(chain.coin(repeat, coin).unwrap().height, 3);
    assert_eq!(chain.pair.ledger.tip().info().total, 100);
    let fork = chain.add(second, 5, &[]);
    let tip = chain.add(fork, 6, &[]);
    assert_eq!(chain.coin(tip, coin).unwrap().height, 1);
    // Below the root, too, and after a start.
    let mut at = repeat;
    for tag in 10..20 {
        at = chain.add(at, tag, &[]);
    }
    assert!(3 < chain.pair.ledger.root().height);
    assert_eq!(chain.coin(at, coin).unwrap().height, 3);
    chain.pair.ledger.checkpoint().unwrap();
    chain.pair.reopen(folder.path());
    chain.pair.check();
    chain.pair.rewind(second);
    assert_eq!(chain.coin(second, coin).unwrap().height, 1);
    assert_eq!(chain.pair.ledger.tip().info().total, 100);
    chain.pair.check();
}

/// The original's tree held a key that was inserted again a second time.
#[test]
fn original_fault_an_outpoint_that_is_made_again_is_held_once_and_counted_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut chain = Chain::new(folder.path());
    let mut at = chain.add(chain.genesis, 1, &[]);
    for _ in 0..3 {
        at = chain.add(at, 1, &[]);
        assert_eq!((chain.tip_len(), chain.pair.ledger.tip().info().total), (1, 50));
    }
    at = chain.add(at, 2, &[spend(&[first_output(&tagged(1))], &[20])]);
    assert_eq!(chain.coin(at, first_output(&tagged(1))), None);
    for tag in 3..9 {
        at = chain.add(at, tag, &[]);
    }
    chain.pair.check();
    chain.pair.ledger.checkpoint().unwrap();
    chain.pair.reopen(folder.path());
    assert_eq!(chain.coin(at, first_output(&tagged(1))), None);
    chain.pair.check();
}

/// The original keyed coins by half a txid: two transactions that share it were one to it.
#[test]
fn original_fault_coins_are_told_apart_by_the_whole_txid() {
    let mut pair = Pair::in_memory(3);
    let genesis = pair.naive.genesis.hash;
    let values: Vec<TxOut> = (0..3).map(output).collect();
    let txs = vec![pair.naive.coinbase(values)];
    let hash = pair.naive.make(genesis, txs, 1);
    let known = pair.naive.blocks[&hash].clone();
    let block = Block::parse(&known.bytes[..]).unwrap();
    // The ledger takes ids as they are given.
    let mut alike = [Txid([7; 32]); 2];
    alike[1].0[31] = 8;
    let mut parent = block;
    for (number, txid) in alike.iter().enumerate() {
        let resolved = pair.ledger.resolve(&parent, &[*txid], true).unwrap().unwrap();
        assert!(!resolved.overwrites, "{number}");
        pair.ledger.extend(&parent, &[*txid], &resolved, known.sums).unwrap();
        let hash = parent.hash();
        pair.ledger.commit(&hash).unwrap();
        let world = pair.world(&hash);
        assert_eq!(world.summary().unwrap().txouts, 3 * (number as u64 + 1));
        for txid in &alike[..=number] {
            assert!(world.get(&OutPoint { txid: *txid, vout: 2 }).unwrap().is_some());
        }
        assert_eq!(world.get(&OutPoint { txid: Txid([9; 32]), vout: 0 }).unwrap(), None);
        if number == 0 {
            pair.naive.extend(hash);
            pair.naive.commit(hash);
            let txs = vec![pair.naive.coinbase((0..3).map(output).collect())];
            let next = pair.naive.make(hash, txs, 1);
            let bytes: &'static [u8] = pair.naive.blocks[&next].bytes.clone().leak();
            parent = Block::parse(bytes).unwrap();
        }
    }
}

#[test]
fn original_fault_op_return_outputs_are_not_stored_and_count_as_lost() {
    let folder = tempfile::tempdir().unwrap();
    let mut chain = Chain::new(folder.path());
    let first = chain.add(chain.genesis, 1, &[]);
    let mut burn = spend(&[first_output(&tagged(1))], &[0]);
    burn.outputs[0] = TxOut { value: 50, script_pubkey: vec![0x6a, 1, 7] };
    let second = chain.add(first, 2, &[burn]);
    let tip = chain.pair.ledger.tip();
    assert_eq!((tip.info().hash, tip.summary().unwrap().txouts), (second, 1));
    assert_eq!((tip.info().total, tip.info().lost()), (50, 50 * 100_000_000 + 2 * 5000 - 50));
}

/// A branch of the original skipped outputs without value.
#[test]
fn original_fault_outputs_of_nothing_are_coins_and_can_be_spent() {
    let folder = tempfile::tempdir().unwrap();
    let mut chain = Chain::new(folder.path());
    let first = chain.add(chain.genesis, 1, &[]);
    let free = spend(&[first_output(&tagged(1))], &[0, 0]);
    let second = chain.add(first, 2, std::slice::from_ref(&free));
    assert_eq!(chain.coin(second, outpoint(&free, 1)).unwrap().value, 0);
    let third = chain.add(second, 3, &[spend(&[outpoint(&free, 1)], &[0])]);
    assert_eq!(chain.coin(third, outpoint(&free, 1)), None);
    chain.pair.check();
}

/// The original put the outputs of the coinbase into the set first and looked no further, and put
/// back what it had taken only after one sort of error.
#[test]
fn original_fault_a_block_that_is_refused_halfway_leaves_no_trace() {
    let folder = tempfile::tempdir().unwrap();
    let mut chain = Chain::new(folder.path());
    let first = chain.add(chain.genesis, 1, &[]);
    let coin = first_output(&tagged(1));
    // The first spend is sound, the second one is of the block's own coinbase, the third of nothing.
    let own = tagged(2);
    let txs = vec![
        own.clone(),
        spend(&[coin], &[50]),
        spend(&[first_output(&own)], &[50]),
        spend(&[OutPoint { txid: Txid([5; 32]), vout: 0 }], &[1]),
    ];
    let found = chain.pair.resolve_only(&first, &txs);
    assert_eq!(found[0].as_ref().unwrap().height, 1);
    // What the rule of maturity needs in order to refuse it.
    let own = found[1].as_ref().unwrap();
    assert!(own.is_coinbase && own.height == 2);
    assert_eq!(found[2], None);
    assert!(chain.coin(first, coin).is_some());
    chain.pair.check();
    // Extended and then found to be invalid.
    let txs = vec![tagged(3), spend(&[coin], &[50])];
    let hash = chain.pair.naive.make(first, txs, 1);
    chain.pair.extend(hash);
    chain.pair.discard(&hash);
    chain.pair.check();
    chain.pair.reopen(folder.path());
    chain.pair.check();
}

#[test]
fn original_fault_a_fresh_ledger_takes_block_1_and_a_short_chain_keeps_its_outputs() {
    let folder = tempfile::tempdir().unwrap();
    let mut chain = Chain::new(folder.path());
    let mut at = chain.genesis;
    for tag in 1..=60 {
        at = chain.add(at, tag, &[]);
    }
    chain.pair.ledger.checkpoint().unwrap();
    chain.pair.reopen(folder.path());
    assert_eq!(chain.tip_len(), 60);
    chain.pair.check();
}

#[test]
fn original_fault_two_blocks_at_the_top_are_no_hindrance_and_the_first_stays_the_tip() {
    let folder = tempfile::tempdir().unwrap();
    let mut chain = Chain::new(folder.path());
    let first = chain.add(chain.genesis, 1, &[]);
    let tip = chain.add(first, 2, &[]);
    let other = chain.add(first, 3, &[]);
    for is_clean in [false, true, false] {
        assert_eq!(chain.pair.ledger.tip().info().hash, tip);
        assert_eq!(chain.pair.ledger.leaves().len(), 2);
        assert!(chain.pair.ledger.world(&other).is_some());
        if is_clean {
            chain.pair.ledger.checkpoint().unwrap();
        }
        chain.pair.reopen(folder.path());
    }
}

/// The original fed blocks to its checkpoint without a look whether that was on their chain.
#[test]
fn original_fault_a_checkpoint_on_a_branch_that_loses_is_no_hindrance() {
    let folder = tempfile::tempdir().unwrap();
    let mut chain = Chain::new(folder.path());
    let start = chain.add(chain.genesis, 1, &[]);
    let mut at = start;
    for tag in 2..12 {
        at = chain.add(at, tag, &[]);
    }
    chain.pair.ledger.checkpoint().unwrap();
    assert!(1 < chain.pair.ledger.root().height);
    chain.pair.reopen(folder.path());
    chain.pair.rewind(start);
    let mut winner = start;
    for tag in 102..120 {
        winner = chain.add(winner, tag, &[]);
    }
    assert_eq!(chain.pair.ledger.tip().info().hash, winner);
    chain.pair.check();
    chain.pair.ledger.checkpoint().unwrap();
    chain.pair.reopen(folder.path());
    assert_eq!(chain.pair.ledger.tip().info().hash, winner);
    chain.pair.check();
}

/// The original's checkpoint was its only record, made once an hour and never at a stop.
#[test]
fn original_fault_what_was_committed_since_the_checkpoint_is_there_after_a_start() {
    let folder = tempfile::tempdir().unwrap();
    let mut chain = Chain::new(folder.path());
    let mut at = chain.genesis;
    for tag in 1..=30 {
        at = chain.add(at, tag, &[]);
        if tag == 12 {
            chain.pair.ledger.checkpoint().unwrap();
        }
    }
    chain.pair.ledger.sync().unwrap();
    chain.pair.reopen(folder.path());
    chain.pair.check();
    assert_eq!(chain.pair.ledger.tip().info().height, 30);
}

/// The original looked a parent up by the height that the block claimed.
#[test]
fn original_fault_a_block_whose_parent_is_not_held_is_refused_and_nothing_else_happens() {
    let folder = tempfile::tempdir().unwrap();
    let mut chain = Chain::new(folder.path());
    let mut hashes = vec![chain.genesis];
    for tag in 1..10 {
        hashes.push(chain.add(hashes[hashes.len() - 1], tag, &[]));
    }
    let unknown = BlockHash([3; 32]);
    for parent in [hashes[2], unknown] {
        let bytes = {
            let header = caesure_wire::Header { prev_block: parent, ..Default::default() };
            caesure_wire::encode_block(&header, &[tagged(77).encode()])
        };
        let block = Block::parse(&bytes[..]).unwrap();
        assert!(chain.pair.ledger.resolve(&block, &[tagged(77).txid()], true).unwrap().is_none());
        assert!(!chain.pair.ledger.holds(&parent) && chain.pair.ledger.world(&parent).is_none());
    }
    chain.pair.check();
}

#[test]
fn original_fault_an_empty_ledger_has_a_root_a_tip_and_an_empty_set() {
    let folder = tempfile::tempdir().unwrap();
    let chain = Chain::new(folder.path());
    let in_memory = Ledger::in_memory(chain.pair.naive.genesis, 3);
    for ledger in [&chain.pair.ledger, &in_memory] {
        assert_eq!(ledger.root().hash, chain.genesis);
        assert_eq!(ledger.tip().summary().unwrap().txouts, 0);
        assert_eq!((ledger.leaves().len(), ledger.worlds().len()), (1, 1));
    }
    chain.pair.check();
}
