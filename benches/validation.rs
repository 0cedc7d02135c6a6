//! A whole chain from its bytes to the set of unspent outputs, on one thread.

#![allow(missing_docs, reason = "criterion's macros make public items")]

use caesure_benches::chain;
use caesure_consensus::{
    BlockContext, HeaderTree, Network, Params, check_block, check_block_context, connect_block,
    verify_tx_scripts,
};
use caesure_generate::{Options, Profile};
use caesure_ledger::{Ledger, Sums, genesis_info};
use caesure_wire::Block;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// Validates blocks into a ledger in memory and returns how many outputs are unspent.
fn connect(blocks: &[Block<Vec<u8>>], params: &Params, has_scripts: bool) -> usize {
    let mut tree = HeaderTree::new(params);
    let mut ledger = Ledger::in_memory(genesis_info(params, &tree), 288);
    for block in &blocks[1..] {
        let id = tree.accept(block.header(), u32::MAX).expect("a valid header");
        let txids = check_block(block, params).expect("a valid block");
        let context = BlockContext::new(params, &tree, id);
        check_block_context(block, &context, &txids).expect("a valid block");
        let resolved = ledger.resolve(block, &txids, context.checks_bip30);
        let resolved = resolved.expect("memory is readable").expect("a known parent");
        let totals =
            connect_block(block, &context, params, &tree, &resolved.prevouts, resolved.overwrites)
                .expect("a valid block");
        let mut rest = &resolved.prevouts[..];
        for tx in block.txs().skip(1).filter(|_| has_scripts) {
            let (prevouts, others) = rest.split_at(tx.input_count());
            verify_tx_scripts(tx, prevouts, context.flags).expect("valid scripts");
            rest = others;
        }
        let (fees, subsidy) = (totals.fees, totals.subsidy);
        let sums = Sums { chain_work: tree.chain_work(id), fees, subsidy };
        ledger.extend(block, &txids, &resolved, sums).expect("the window has room");
        ledger.commit(&block.hash()).expect("memory takes it");
    }
    let mut count = 0;
    ledger.tip().for_each(|_, _| count += 1).expect("the tip is held");
    count
}

fn chains(criterion: &mut Criterion) {
    let params = Params::new(Network::Regtest);
    let mut group = criterion.benchmark_group("connect a chain");
    group.sample_size(10);
    for (name, profile) in [("mixed", Profile::Mixed), ("utxo", Profile::Utxo)] {
        let options = Options { blocks: 150, txs: 2_000, profile, forks: 0, ..Options::default() };
        let blocks = chain(&options);
        group.throughput(Throughput::Elements(
            blocks.iter().map(|block| block.input_count() as u64).sum(),
        ));
        for (what, has_scripts) in [("all rules", true), ("no scripts", false)] {
            group.bench_function(format!("{name}, {what}"), |bencher| {
                bencher.iter(|| connect(&blocks, &params, has_scripts));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, chains);
criterion_main!(benches);
