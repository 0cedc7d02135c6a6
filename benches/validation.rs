//! Scripts by type, and a whole chain from its bytes to the set of unspent outputs, on one thread.

#![allow(missing_docs, reason = "criterion's macros make public items")]

use std::collections::BTreeMap;

use caesure_benches::chain;
use caesure_consensus::{
    BlockContext, HeaderTree, Network, Params, check_block, check_block_context, connect_block,
    verify_tx_scripts,
};
use caesure_generate::{Options, Profile};
use caesure_ledger::{Ledger, Sums, genesis_info};
use caesure_script::{Flags, ScriptType, TxContext, classify, p2sh_hash};
use caesure_wire::{Block, OutPoint, OutputView, Transaction, Tx, TxOut};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// What is measured of a spend, by the output it spends and, where a hash locks it, the script.
fn kind(tx: &Transaction, index: usize, output: &TxOut) -> Option<&'static str> {
    let input = &tx.inputs[index];
    let keys = |script: &[u8]| match classify(script) {
        ScriptType::Multisig { required: 2, keys: 3 } => Some("2 of 3"),
        _ => None,
    };
    match classify(&output.script_pubkey) {
        ScriptType::PubkeyHash(_) => Some("P2PKH"),
        ScriptType::WitnessV0KeyHash(_) => Some("P2WPKH"),
        ScriptType::WitnessV1Taproot(_) if input.witness.len() == 1 => Some("P2TR by key"),
        ScriptType::WitnessV1Taproot(_) => Some("P2TR by script"),
        ScriptType::WitnessV0ScriptHash(_) => keys(input.witness.last()?).map(|_| "P2WSH, 2 of 3"),
        _ if p2sh_hash(&output.script_pubkey).is_some() => None,
        _ => keys(&output.script_pubkey).map(|_| "bare, 2 of 3"),
    }
}

/// The first spend of each kind in a chain: the transaction, what it spends, and the input.
fn spends() -> BTreeMap<&'static str, (Vec<u8>, Vec<TxOut>, usize)> {
    let options = Options { blocks: 160, txs: 2_000, forks: 0, ..Options::default() };
    let mut outputs: BTreeMap<OutPoint, TxOut> = BTreeMap::new();
    let mut found = BTreeMap::new();
    for block in chain(&options) {
        for tx in block.txs().map(|tx| tx.to_owned()) {
            let prevouts = tx.inputs.iter().map(|input| outputs.get(&input.prevout).cloned());
            if let Some(prevouts) = prevouts.collect::<Option<Vec<_>>>() {
                for (index, output) in prevouts.iter().enumerate() {
                    let Some(kind) = kind(&tx, index, output) else { continue };
                    found.entry(kind).or_insert_with(|| (tx.encode(), prevouts.clone(), index));
                }
            }
            let txid = tx.txid();
            outputs.extend((0..).map(|vout| OutPoint { txid, vout }).zip(tx.outputs));
        }
    }
    assert_eq!(found.len(), 6, "a mixed chain has every kind");
    found
}

fn scripts(criterion: &mut Criterion) {
    let flags = Flags::from_names(
        "P2SH,DERSIG,NULLDUMMY,CHECKLOCKTIMEVERIFY,CHECKSEQUENCEVERIFY,WITNESS,TAPROOT",
    )
    .expect("the names are right");
    let mut group = criterion.benchmark_group("verify an input");
    for (kind, (bytes, spent, index)) in spends() {
        let tx = Tx::parse(bytes).expect("it was encoded");
        let spent: Vec<OutputView<'_>> = spent
            .iter()
            .map(|output| OutputView { value: output.value, script_pubkey: &output.script_pubkey })
            .collect();
        group.bench_function(kind, |bencher| {
            bencher.iter(|| TxContext::new(tx.view(), &spent).verify_input(index, flags).is_ok());
        });
    }
    group.finish();
}

/// Validates blocks into a ledger in memory and returns how many outputs are unspent.
fn connect(blocks: &[Block<Vec<u8>>], params: &Params, has_scripts: bool) -> usize {
    let mut tree = HeaderTree::new(params);
    let mut ledger = Ledger::in_memory(genesis_info(params, &tree), 288);
    for block in &blocks[1..] {
        let id = tree.accept(block.header(), u32::MAX).expect("a valid header");
        let txids = check_block(block, params).expect("a valid block");
        let context = BlockContext::new(params, &tree, id);
        check_block_context(block, &context).expect("a valid block");
        let resolved = ledger.resolve(block, &txids, context.checks_bip30).expect("a known parent");
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
    ledger.tip().outpoints().expect("the tip is held").len()
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

criterion_group!(benches, scripts, chains);
criterion_main!(benches);
