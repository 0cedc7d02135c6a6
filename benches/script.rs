//! Spends of each kind.

#![allow(missing_docs, reason = "criterion's macros make public items")]

use std::collections::BTreeMap;

use caesure_benches::chain;
use caesure_generate::Options;
use caesure_script::{Flags, ScriptType, TxContext, classify, p2sh_hash};
use caesure_wire::{OutPoint, OutputView, Transaction, Tx, TxOut};
use criterion::{Criterion, criterion_group, criterion_main};

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

criterion_group!(benches, scripts);
criterion_main!(benches);
