//! Many forks at once, many switches between them, and one transaction on several.

use caesure_consensus::{
    BlockContext, BlockTotals, HeaderTree, Network, Params, Reject, connect_block,
};
use caesure_generate::{coinbase as regtest_coinbase, mine_block};
use caesure_ledger::{Error, Ledger, Sums, genesis_info};
use caesure_wire::{Block, BlockHash, Header, OutPoint, Transaction, TxOut, Txid};

use crate::naive::{Random, hash_serialized, outpoint, spend};
use crate::pair::{Pair, assert_set};

/// The trace of original.md's appendix: fork and trim with a horizon of 20.
#[test]
fn the_original_trims_at_the_same_heights() {
    let folder = tempfile::tempdir().unwrap();
    for is_on_disk in [false, true] {
        let mut pair = if is_on_disk { Pair::open(folder.path(), 20) } else { Pair::in_memory(20) };
        let mut main = vec![pair.naive.genesis.hash];
        for height in 1..30 {
            main.push(pair.add(main[height - 1], &[], 1));
        }
        let pinned = pair.world(&main[25]);
        let fork = pair.add(main[20], &[], 1);
        let state = |pair: &Pair| {
            let leaves: Vec<u32> = pair.ledger.leaves().iter().map(|leaf| leaf.height).collect();
            (pair.ledger.root().height, leaves, pair.ledger.worlds().len())
        };
        assert_eq!(state(&pair), (9, vec![21, 29], 22));
        for height in 30..=46 {
            main.push(pair.add(main[height - 1], &[], 1));
            match height {
                40 => assert_eq!(state(&pair), (20, vec![21, 40], 22)),
                41 => assert_eq!(state(&pair), (20, vec![21, 41], 23)),
                42 => assert_eq!(state(&pair), (22, vec![42], 21)),
                43 => assert_eq!(state(&pair), (23, vec![43], 21)),
                _ => {}
            }
            pair.check();
            if is_on_disk && height == 41 {
                pair.reopen(folder.path());
                pair.check();
            }
        }
        assert!(pair.ledger.world(&fork).is_none());
        if !is_on_disk {
            let error = pinned.get(&OutPoint::NULL).unwrap_err();
            assert!(matches!(error, Error::NotHeld { height: 26, .. }), "{error}");
        }
    }
}

/// In each round eight forks race, each extended at random past the others; what lost is dropped
/// behind the horizon.
#[test]
fn ten_thousand_switches_of_the_tip_give_the_models_hash_each() {
    let mut pair = Pair::in_memory(20);
    let mut random = Random::new(11);
    let mut switches = 0;
    while switches < 10_000 {
        let start = pair.naive.now.tip;
        let mut tips = [start; 8];
        for _ in 0..96 {
            let fork = random.below(8);
            let parent = tips[fork];
            let before = pair.naive.now.tip;
            let added = 1 + pair.naive.blocks[&before].work - pair.naive.blocks[&parent].work;
            let set = pair.naive.set(&parent);
            let coins: Vec<OutPoint> = set.keys().copied().collect();
            let first = random.below(coins.len().max(1));
            let spent = coins.get(first..coins.len().min(first + coins.len() / 8 + 1));
            let mut txs = vec![spend(spent.unwrap_or_default(), &[1, 2])];
            txs.retain(|tx| !tx.inputs.is_empty());
            let hash = pair.add(parent, &txs, added);
            tips[fork] = hash;
            switches += u32::from(parent != before);
            let tip = pair.ledger.tip();
            assert_eq!(tip.info().hash, hash);
            let set = pair.naive.set(&hash);
            let found = tip.hash_serialized_3().unwrap();
            assert_eq!(found, hash_serialized(set), "switch {switches}");
            let pinned = pair.ledger.world(&tips[random.below(8)]).unwrap();
            let outpoint = coins.get(first).copied().unwrap_or(OutPoint::NULL);
            let set = pair.naive.set(&pinned.info().hash);
            assert_eq!(pinned.get(&outpoint).unwrap().as_ref(), set.get(&outpoint));
        }
        pair.check();
        pair.naive.forget_old(0);
    }
    println!("{switches} switches of the tip");
}

/// 500 forks make the coin again and spend it; in each world it is what that fork made of it.
#[test]
fn five_hundred_forks_may_hold_one_transaction_and_spend_one_coin() {
    let folder = tempfile::tempdir().unwrap();
    let mut pair = Pair::open(folder.path(), 30);
    let first = pair.add(pair.naive.genesis.hash, &[], 1);
    let coin = *pair.naive.set(&first).keys().next().unwrap();
    let tx = spend(&[coin], &[40, 10]);
    let made = outpoint(&tx, 0);
    let again = spend(&[made], &[39]);
    let mut forks = Vec::new();
    for number in 0..500 {
        // Some forks have an empty block first, so that the coin stands at several heights.
        let parent = if number % 7 == 0 { pair.add(first, &[], 1) } else { first };
        forks.push(pair.add(parent, std::slice::from_ref(&tx), 1));
        if number == 16 || number == 499 {
            check_forks(&pair, &forks, made);
        }
    }
    for fork in forks.clone().into_iter().take(440) {
        forks.push(pair.add(fork, std::slice::from_ref(&again), 1));
    }
    check_forks(&pair, &forks, made);
    pair.ledger.sync().unwrap();
    pair.reopen(folder.path());
    check_forks(&pair, &forks, made);
    // All but one fall behind the horizon.
    let mut tip = forks[123];
    for _ in 0..35 {
        tip = pair.add(tip, &[], 2);
    }
    assert_eq!(pair.ledger.leaves().len(), 1);
    pair.check();
    pair.ledger.checkpoint().unwrap();
    pair.reopen(folder.path());
    pair.check();
}

fn check_forks(pair: &Pair, forks: &[BlockHash], coin: OutPoint) {
    for hash in forks {
        let set = pair.naive.set(hash);
        assert_eq!(pair.world(hash).get(&coin).unwrap().as_ref(), set.get(&coin));
        assert_eq!(pair.world(hash).info().total, pair.naive.blocks[hash].info.total);
    }
    for hash in forks.iter().step_by(25) {
        assert_set(&pair.world(hash), pair.naive.set(hash));
    }
    let [a, b] = [forks[forks.len() / 2], forks[0]];
    let found = pair.world(&a).diff(&pair.world(&b)).unwrap();
    assert_eq!(found, crate::naive::difference(pair.naive.set(&a), pair.naive.set(&b)));
}

#[test]
fn six_hundred_forks_of_one_block_may_spend_one_coin_of_the_base() {
    let mut pair = Pair::in_memory(3);
    let mut parent = pair.naive.genesis.hash;
    for _ in 0..10 {
        parent = pair.add(parent, &[], 1);
    }
    let coin = *pair.naive.set(&pair.ledger.root().hash).keys().next().unwrap();
    let tx = spend(&[coin], &[50]);
    let forks: Vec<BlockHash> =
        (0..900).map(|_| pair.add(parent, std::slice::from_ref(&tx), 1)).collect();
    check_forks(&pair, &forks, coin);
    check_forks(&pair, &forks, outpoint(&tx, 0));
    let root = pair.ledger.root().hash;
    assert!(pair.world(&root).get(&coin).unwrap().is_some());
    assert!(pair.world(&parent).get(&coin).unwrap().is_some());
    let mut tip = forks[700];
    for _ in 0..5 {
        tip = pair.add(tip, &[], 1);
    }
    pair.check();
}

#[test]
fn a_full_window_gives_up_the_leaf_with_least_work() {
    let mut pair = Pair::in_memory(800);
    let genesis = pair.naive.genesis.hash;
    let mut first = None;
    for number in 0..1100 {
        let coinbase = pair.naive.coinbase(vec![crate::naive::output(50)]);
        let hash = pair.naive.make(genesis, vec![coinbase], if number == 7 { 3 } else { 2 });
        pair.extend(hash);
        pair.ledger.commit(&hash).unwrap();
        if number == 7 {
            first = Some(hash);
        }
    }
    assert_eq!(Some(pair.ledger.tip().info().hash), first);
    assert_eq!(pair.ledger.worlds().len(), 1024);
}

/// Regtest blocks by every rule but the scripts.
struct Valid {
    params: Params,
    tree: HeaderTree,
    ledger: Ledger,
}

impl Valid {
    fn new() -> Self {
        let params = Params::new(Network::Regtest);
        let tree = HeaderTree::new(&params);
        let ledger = Ledger::in_memory(genesis_info(&params, &tree), 50);
        Self { params, tree, ledger }
    }

    /// Judges a block with a coinbase and some transactions, and adds it if it is valid.
    fn add(
        &mut self,
        parent: BlockHash,
        tag: u32,
        txs: &[Transaction],
    ) -> Result<BlockHash, Reject> {
        let parent_id = self.tree.find(&parent).unwrap();
        let height = self.tree.height(parent_id) + 1;
        let output = TxOut { value: 5_000_000_000, script_pubkey: vec![0x51] };
        let encoded: Vec<Vec<u8>> = txs.iter().map(Transaction::encode).collect();
        let time = self.tree.header(parent_id).time + 600;
        let coinbase = regtest_coinbase(height, tag, vec![output]);
        let bytes = mine_block(parent, time, coinbase, &encoded);
        let block = Block::parse(&bytes[..]).unwrap();
        let header = Header::from_bytes(bytes.first_chunk().unwrap());
        let id = self.tree.accept(&header, time).unwrap();
        let context = BlockContext::new(&self.params, &self.tree, id);
        let txids: Vec<Txid> = block.txs().map(|tx| tx.txid()).collect();
        let resolved = self.ledger.resolve(&block, &txids, true).unwrap().unwrap();
        let (params, tree) = (&self.params, &self.tree);
        let (prevouts, overwrites) = (&resolved.prevouts, resolved.overwrites);
        let totals = connect_block(&block, &context, params, tree, prevouts, overwrites)?;
        let BlockTotals { fees, subsidy, .. } = totals;
        let chain_work = self.tree.chain_work(id);
        self.ledger.extend(&block, &txids, &resolved, Sums { chain_work, fees, subsidy }).unwrap();
        self.ledger.commit(&block.hash()).unwrap();
        Ok(block.hash())
    }
}

/// A coin's height is that of the block which made it on that fork, which decides relative locks.
#[test]
fn bip68_a_spend_is_final_on_the_fork_where_its_coin_is_older() {
    let mut chain = Valid::new();
    let mut parent = chain.params.genesis_hash;
    for tag in 0..110 {
        parent = chain.add(parent, tag, &[]).unwrap();
    }
    let coin = outpoint(
        &regtest_coinbase(1, 0, vec![TxOut { value: 5_000_000_000, script_pubkey: vec![0x51] }]),
        0,
    );
    let tx = Transaction { version: 2, ..spend(&[coin], &[4_000_000_000]) };
    // Four blocks, or four times 512 seconds, which are four blocks too.
    for (sequence, tag) in [(4, 1000), (1 << 22 | 4, 2000)] {
        let mut late = Transaction { version: 2, ..spend(&[outpoint(&tx, 0)], &[3_000_000_000]) };
        late.inputs[0].sequence = sequence;
        let mut early_fork = chain.add(parent, tag, std::slice::from_ref(&tx)).unwrap();
        let mut late_fork = parent;
        for step in 0..5 {
            late_fork = chain.add(late_fork, tag + 100 + step, &[]).unwrap();
        }
        late_fork = chain.add(late_fork, tag + 110, std::slice::from_ref(&tx)).unwrap();
        for step in 0..3 {
            let is_early = chain.add(early_fork, tag + 200 + step, std::slice::from_ref(&late));
            assert_eq!(is_early, Err(Reject::BadTxnsNonfinal), "{step}");
            early_fork = chain.add(early_fork, tag + 210 + step, &[]).unwrap();
        }
        let refused = chain.add(late_fork, tag + 300, std::slice::from_ref(&late));
        assert_eq!(refused, Err(Reject::BadTxnsNonfinal));
        let taken = chain.add(early_fork, tag + 301, std::slice::from_ref(&late)).unwrap();
        assert!(chain.ledger.world(&taken).unwrap().get(&outpoint(&late, 0)).unwrap().is_some());
        let height = |hash| chain.ledger.world(hash).unwrap().get(&outpoint(&tx, 0)).unwrap();
        assert_eq!(height(&late_fork).unwrap().height, 116);
        assert_eq!(height(&early_fork).unwrap().height, 111);
        // On a fork where the coin's transaction is missing, the spend is.
        let missing = chain.add(parent, tag + 302, std::slice::from_ref(&late));
        assert_eq!(missing, Err(Reject::BadTxnsInputsMissingorspent));
    }
}

/// Core: `PreciousBlock`, `InvalidateBlock`.
#[test]
fn a_chosen_tip_stays_until_a_block_has_more_work_than_it_and_a_start_forgets_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut pair = Pair::open(folder.path(), 20);
    let mut main = vec![pair.naive.genesis.hash];
    for height in 1..10 {
        main.push(pair.add(main[height - 1], &[], 1));
    }
    let rival = pair.add(main[8], &[], 1);
    assert_eq!(pair.ledger.tip().info().hash, main[9]);
    pair.choose(rival);
    pair.check();
    pair.choose(main[4]);
    pair.check();
    // With as much work as the chosen tip, with more, and with more than all.
    let beside = pair.add(main[3], &[], 1);
    assert_eq!(pair.ledger.tip().info().hash, main[4]);
    let child = pair.add(beside, &[], 1);
    assert_eq!(pair.ledger.tip().info().hash, child);
    pair.check();
    pair.ledger.checkpoint().unwrap();
    pair.reopen(folder.path());
    assert_eq!(pair.ledger.tip().info().hash, main[9]);
    let pending = pair.naive.coinbase(vec![crate::naive::output(50)]);
    let pending = pair.naive.make(main[9], vec![pending], 1);
    pair.extend(pending);
    for hash in [pending, BlockHash([7; 32])] {
        let error = pair.ledger.choose(&hash).unwrap_err();
        assert!(matches!(error, Error::NotHeld { hash: named, .. } if named == hash), "{error}");
    }
}
