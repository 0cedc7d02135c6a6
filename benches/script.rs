//! Spends of each kind against the curve alone, and against Bitcoin Core's library, which takes ten
//! minutes to build: `cargo bench -p caesure-benches --bench script --features kernel`.

#![allow(missing_docs, reason = "criterion's macros make public items")]

use std::collections::BTreeMap;

use caesure_benches::{chain, compare};
use caesure_generate::Options;
use caesure_hash::hash160;
use caesure_script::{
    Flags, Instructions, ScriptType, TxContext, classify, opcode::*, p2sh_hash, push_slice,
};
use caesure_wire::{OutPoint, OutputView, Transaction, Tx, TxIn, TxOut, Txid};
use criterion::{Criterion, criterion_group, criterion_main};
use secp256k1::{Keypair, Message, PublicKey, XOnlyPublicKey, ecdsa, schnorr};

/// A transaction and what it spends.
#[derive(Clone)]
struct Spend {
    tx: Transaction,
    spent: Vec<TxOut>,
}

impl Spend {
    /// Hands the prepared transaction to `f`.
    fn with<T>(&self, f: impl FnOnce(&TxContext<'_>) -> T) -> T {
        let tx = Tx::parse(self.tx.encode()).expect("it was encoded");
        f(&TxContext::new(tx.view(), &self.outputs()))
    }

    fn outputs(&self) -> Vec<OutputView<'_>> {
        self.spent
            .iter()
            .map(|it| OutputView { value: it.value, script_pubkey: &it.script_pubkey })
            .collect()
    }
}

/// What consensus demands today.
fn flags() -> Flags {
    let names = "P2SH,DERSIG,NULLDUMMY,CHECKLOCKTIMEVERIFY,CHECKSEQUENCEVERIFY,WITNESS,TAPROOT";
    Flags::from_names(names).expect("the names are right")
}

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

/// The first spend of each kind in a chain, and the input.
fn spends() -> BTreeMap<&'static str, (Spend, usize)> {
    let options = Options { blocks: 160, txs: 2_000, forks: 0, ..Options::default() };
    let mut outputs: BTreeMap<OutPoint, TxOut> = BTreeMap::new();
    let mut found = BTreeMap::new();
    for block in chain(&options) {
        for tx in block.txs().map(|tx| tx.to_owned()) {
            let spent = tx.inputs.iter().map(|input| outputs.get(&input.prevout).cloned());
            if let Some(spent) = spent.collect::<Option<Vec<_>>>() {
                for (index, output) in spent.iter().enumerate() {
                    let Some(kind) = kind(&tx, index, output) else { continue };
                    let spend = || Spend { tx: tx.clone(), spent: spent.clone() };
                    found.entry(kind).or_insert_with(|| (spend(), index));
                }
            }
            let txid = tx.txid();
            outputs.extend((0..).map(|vout| OutPoint { txid, vout }).zip(tx.outputs));
        }
    }
    assert_eq!(found.len(), 6, "a mixed chain has every kind");
    found
}

/// The one signature check of a spend by key, everything but the curve done before.
fn curve(context: &TxContext<'_>, index: usize) -> Option<Box<dyn FnMut() -> bool>> {
    let tx = context.tx();
    let lock = context.spent()[index].script_pubkey;
    let witness: Vec<&[u8]> = tx.witness(index).collect();
    let pushes: Vec<&[u8]> = Instructions::new(tx.input(index).script_sig)
        .map(|item| item.expect("the script is whole").data)
        .collect();
    let (signature, key, hash) = match (classify(lock), &witness[..], &pushes[..]) {
        (ScriptType::PubkeyHash(_), _, &[signature, key]) => {
            let sighash_type = *signature.last()?;
            (signature, key, context.legacy_sighash(index, lock, sighash_type.into()))
        }
        (ScriptType::WitnessV0KeyHash(hash), &[signature, key], _) => {
            let code = p2pkh(hash);
            let sighash_type = *signature.last()?;
            (signature, key, context.segwit_v0_sighash(index, &code, sighash_type.into()))
        }
        (ScriptType::WitnessV1Taproot(key), &[signature], _) => {
            let (signature, rest) = signature.split_first_chunk::<64>()?;
            let sighash_type = rest.first().copied().unwrap_or(0);
            let hash = context.taproot_sighash(index, sighash_type, None, None)?;
            let (key, signature) = (*key, schnorr::Signature::from_byte_array(*signature));
            return Some(Box::new(move || {
                XOnlyPublicKey::from_byte_array(key)
                    .is_ok_and(|key| signature.verify(&hash, &key).is_ok())
            }));
        }
        _ => return None,
    };
    let (der, key) = (signature[..signature.len() - 1].to_vec(), key.to_vec());
    Some(Box::new(move || {
        let key = PublicKey::from_slice(&key).expect("the key is valid");
        let mut signature = ecdsa::Signature::from_der_lax(&der).expect("so is the signature");
        signature.normalize_s();
        signature.verify(Message::from_digest(hash), &key).is_ok()
    }))
}

fn p2pkh(hash: &[u8; 20]) -> Vec<u8> {
    [&[OP_DUP, OP_HASH160, 20][..], hash, &[OP_EQUALVERIFY, OP_CHECKSIG]].concat()
}

fn standard(criterion: &mut Criterion) {
    let flags = flags();
    for (kind, (spend, index)) in spends() {
        spend.with(|context| {
            let ours = || context.verify_input(index, flags).is_ok();
            assert!(ours(), "{kind}");
            if let Some(mut curve) = curve(context, index) {
                assert!(curve(), "{kind}");
                let name = format!("{kind}, the curve alone");
                compare(criterion, &name, 0.95, ours, ("libsecp256k1", curve));
            } else {
                criterion.bench_function(kind, |bencher| bencher.iter(ours));
            }
            against_core(criterion, kind, 1.0, (&spend, vec![index]), context);
        });
    }
}

/// A transaction of `count` inputs that all spend one key's hash, with every signature of type ALL.
fn many_inputs(count: u32) -> Spend {
    let keys = Keypair::from_secret_bytes([7; 32]).expect("a key");
    let key = keys.public_key().serialize();
    let lock = p2pkh(&hash160(&key));
    let input = |vout| TxIn {
        prevout: OutPoint { txid: Txid([1; 32]), vout },
        sequence: u32::MAX,
        ..TxIn::default()
    };
    let inputs: Vec<_> = (0..count).map(input).collect();
    let output = TxOut { value: 1_000, script_pubkey: lock.clone() };
    let tx = Transaction { version: 1, inputs, outputs: vec![output.clone()], lock_time: 0 };
    let spent = vec![output; tx.inputs.len()];
    let mut spend = Spend { tx, spent };
    let script_sigs: Vec<_> = spend.with(|context| {
        let sign = |index| {
            let hash = Message::from_digest(context.legacy_sighash(index, &lock, 1));
            let signature = ecdsa::sign(hash, &keys.secret_key()).serialize_der();
            let mut script = Vec::new();
            push_slice(&mut script, &[&signature[..], &[1]].concat());
            push_slice(&mut script, &key);
            script
        };
        (0..context.spent().len()).map(sign).collect()
    });
    for (input, script_sig) in spend.tx.inputs.iter_mut().zip(script_sigs) {
        input.script_sig = script_sig;
    }
    spend
}

/// Legacy inputs, of which each signs all others: 8 of them, from the first to the last.
fn legacy(criterion: &mut Criterion) {
    let flags = flags();
    // Of 100, the curve takes nine tenths of Core's time. A transaction of block 364292 has 5,569.
    for (count, goal) in [(100, 1.1), (500, 1.5), (2_000, 1.5), (5_569, 1.5)] {
        let spend = many_inputs(count);
        let last = spend.spent.len() - 1;
        let inputs: Vec<_> = (0..8).map(|part| part * last / 7).collect();
        let name = format!("8 of {count} legacy inputs");
        spend.with(|context| {
            let ours = || inputs.iter().all(|&index| context.verify_input(index, flags).is_ok());
            assert!(ours());
            criterion.bench_function(&name, |bencher| bencher.iter(ours));
            against_core(criterion, &name, goal, (&spend, inputs.clone()), context);
        });
        let tx = Tx::parse(spend.tx.encode()).expect("it was encoded");
        let spent = spend.outputs();
        criterion.bench_function(&format!("context of {count} legacy inputs"), |bencher| {
            bencher.iter(|| TxContext::new(tx.view(), &spent));
        });
    }
}

/// Scripts that ask little of the curve: nested conditionals around numbers, and arithmetic.
fn machine(criterion: &mut Criterion) {
    let flags = flags();
    let nested = [[OP_1, OP_IF].repeat(100), vec![OP_1; 1_000], vec![OP_ENDIF; 100]].concat();
    let sum = [vec![OP_1; 201], vec![OP_ADD; 200]].concat();
    let hashes = [vec![OP_1], [OP_SHA256, OP_DUP, OP_EQUALVERIFY, OP_1].repeat(67)].concat();
    for (name, goal, script_pubkey) in [
        ("100 nested OP_IF around 1,000 numbers", 3.0, nested),
        ("200 OP_ADD", 2.0, sum),
        ("67 OP_SHA256", 1.0, hashes),
    ] {
        let output = TxOut { value: 1, script_pubkey };
        let inputs =
            vec![TxIn { prevout: OutPoint { txid: Txid([1; 32]), vout: 0 }, ..TxIn::default() }];
        let tx = Transaction { version: 1, inputs, outputs: vec![output.clone()], lock_time: 0 };
        let spend = Spend { tx, spent: vec![output] };
        spend.with(|context| {
            let ours = || context.verify_input(0, flags).is_ok();
            assert!(ours(), "{name}");
            criterion.bench_function(name, |bencher| bencher.iter(ours));
            against_core(criterion, name, goal, (&spend, vec![0]), context);
        });
    }
}

/// Compares inputs with Core's library, its transaction and hashes prepared as ours are.
#[cfg(feature = "kernel")]
fn against_core(
    criterion: &mut Criterion,
    name: &str,
    goal: f64,
    (spend, inputs): (&Spend, Vec<usize>),
    context: &TxContext<'_>,
) {
    use bitcoinkernel::{PrecomputedTransactionData, ScriptPubkey, verify};

    let flags = flags();
    let tx = bitcoinkernel::Transaction::new(&spend.tx.encode()).expect("it was encoded");
    let output = |output: &TxOut| {
        let script = ScriptPubkey::new(&output.script_pubkey).expect("any bytes are a script");
        (bitcoinkernel::TxOut::new(&script, output.value), script)
    };
    let (outputs, scripts): (Vec<_>, Vec<_>) = spend.spent.iter().map(output).unzip();
    let shared = PrecomputedTransactionData::new(&tx, &outputs).expect("one output for each input");
    let core = || {
        inputs.iter().all(|&index| {
            let value = spend.spent[index].value;
            verify(&scripts[index], Some(value), &tx, index, Some(flags.0), &shared).is_ok()
        })
    };
    let ours = || inputs.iter().all(|&index| context.verify_input(index, flags).is_ok());
    assert!(core() && ours(), "{name}");
    compare(criterion, &format!("{name}, Core"), goal, ours, ("bitcoinkernel", core));
}

#[cfg(not(feature = "kernel"))]
fn against_core(_: &mut Criterion, _: &str, _: f64, _: (&Spend, Vec<usize>), _: &TxContext<'_>) {}

criterion_group!(benches, standard, legacy, machine);
criterion_main!(benches);
