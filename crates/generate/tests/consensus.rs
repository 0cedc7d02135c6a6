//! The rules of `caesure-consensus` judge generated chains, with a naive set of coins for each block.

use std::collections::BTreeMap;

use caesure_consensus::{
    BlockContext, BlockTotals, Coin, HeaderTree, Network, Params, check_block, check_block_context,
    connect_block, verify_tx_scripts,
};
use caesure_generate::{Error, Options, Profile, Summary, generate};
use caesure_wire::{Block, BlockHash, OutPoint};

type Coins = BTreeMap<OutPoint, Coin>;

/// A block's transactions, inputs and outputs but the coinbase's, its weight, and what it adds up to.
struct Judged {
    input_count: usize,
    output_count: usize,
    weight: usize,
    totals: BlockTotals,
}

struct Judge {
    params: Params,
    tree: HeaderTree,
    worlds: BTreeMap<BlockHash, Coins>,
    blocks: Vec<Judged>,
}

impl Judge {
    fn connect(&mut self, bytes: &[u8]) {
        let block = Block::parse(bytes).unwrap();
        let txids = check_block(&block, &self.params).unwrap();
        let now = 1_704_067_200;
        let id = self.tree.accept(block.header(), now).unwrap();
        let context = BlockContext::new(&self.params, &self.tree, id);
        check_block_context(&block, &context, &txids).unwrap();
        let mut coins = self.worlds.get(&block.header().prev_block).cloned().unwrap_or_default();
        let mut prevouts = Vec::new();
        for (tx, &txid) in block.txs().zip(&txids) {
            if !tx.is_coinbase() {
                let spent: Vec<_> = tx.inputs().map(|input| coins.remove(&input.prevout)).collect();
                assert!(verify_tx_scripts(tx, &spent, context.flags).is_ok(), "{txid}");
                prevouts.extend(spent);
            }
            for (vout, output) in (0..).zip(tx.outputs()) {
                let coin = Coin::from_output(&output, context.height, tx.is_coinbase());
                coins.extend(coin.map(|coin| (OutPoint { txid, vout }, coin)));
            }
        }
        let (params, tree) = (&self.params, &self.tree);
        let totals = connect_block(&block, &context, params, tree, &prevouts, false).unwrap();
        if context.height != 0 {
            self.worlds.insert(block.hash(), coins);
        }
        self.blocks.push(Judged {
            input_count: block.input_count() - 1,
            output_count: block.output_count() - block.tx(0).output_count(),
            weight: block.weight(),
            totals,
        });
    }
}

fn judge(options: &Options) -> (Vec<Judged>, Result<Summary, Error>) {
    let params = Params::new(Network::Regtest);
    let tree = HeaderTree::new(&params);
    let mut judge = Judge { params, tree, worlds: BTreeMap::new(), blocks: Vec::new() };
    let result = generate(options, &mut |bytes| {
        judge.connect(bytes);
        Ok(())
    });
    (judge.blocks, result)
}

fn sum(blocks: &[Judged], count: impl Fn(&Judged) -> usize) -> usize {
    blocks.iter().map(count).sum()
}

#[test]
fn every_block_of_every_branch_keeps_every_rule() {
    for (profile, txs) in [
        (Profile::Mixed, 600),
        (Profile::Utxo, 30),
        (Profile::Coins, 300),
        (Profile::Sig, 300),
        (Profile::Legacy, 40),
    ] {
        let options = Options { blocks: 160, txs, pool: 400, profile, forks: 5, seed: 3 };
        let (blocks, summary) = judge(&options);
        assert_eq!(blocks.len() as u64, summary.unwrap().blocks);
        let inputs = sum(&blocks, |block| block.input_count);
        let outputs = sum(&blocks, |block| block.output_count);
        match profile {
            Profile::Utxo => assert!(50 * inputs < outputs, "{inputs} {outputs}"),
            Profile::Legacy => assert!(600 < inputs && outputs < 2 * inputs, "{inputs} {outputs}"),
            _ => assert!(400 < inputs && outputs < 3 * inputs, "{inputs} {outputs}"),
        }
        let due = |block: &&Judged| block.totals.fees + block.totals.subsidy;
        let is_underpaid = |block: &&Judged| block.totals.coinbase_value < due(block);
        let underpaid = blocks.iter().skip(1).filter(is_underpaid).count();
        assert!((1..10).contains(&underpaid), "{profile:?}: {underpaid} claim less than is due");
    }
}

#[test]
fn full_blocks_keep_to_the_limits() {
    for (profile, txs) in [(Profile::Utxo, 900), (Profile::Mixed, 20_000)] {
        let options = Options { blocks: 103, txs, pool: 3_000, profile, forks: 0, seed: 7 };
        let (blocks, result) = judge(&options);
        assert!(matches!(result, Err(Error::DoesNotFit { .. })), "{result:?}");
        let weight = blocks.iter().map(|block| block.weight).max().unwrap();
        let sigop_cost = blocks.iter().map(|block| block.totals.sigop_cost).max().unwrap();
        assert!(weight <= 4_000_000 && sigop_cost <= 80_000);
        assert!(3_500_000 < weight || 79_000 < sigop_cost, "{weight} {sigop_cost}");
    }
}
