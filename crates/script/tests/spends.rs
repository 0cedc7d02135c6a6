//! Real spends, and the taproot cases of Bitcoin Core's `script_assets_test`.
#![allow(clippy::print_stdout, reason = "each test prints how many cases it ran")]

mod data;

use std::collections::BTreeMap;

use caesure_script::{Flags, TAPSCRIPT_LEAF_VERSION, TxContext, tap_leaf_hash, tap_tweak_hash};
use caesure_wire::{Block, OutPoint, OutputView, Reader, Transaction, Tx, TxIn, TxOut, TxView};
use data::{Spend, bytes, outputs, outside_data, text, with_context};
use secp256k1::{Scalar, XOnlyPublicKey};
use serde_json::Value;

const TESTNET3_EXCEPTION: &str = "00000000dd30457c001f4095d208cc1296b0eed002427aa599874af7a432b105";

/// The rules that hold for every block but the exceptions.
fn always() -> Flags {
    Flags::P2SH | Flags::WITNESS | Flags::TAPROOT
}

/// All consensus rules.
fn all() -> Flags {
    let locks = Flags::CHECKLOCKTIMEVERIFY | Flags::CHECKSEQUENCEVERIFY;
    always() | Flags::DERSIG | Flags::NULLDUMMY | locks
}

/// Verifies every input of a transaction; returns how many there are.
fn verify_tx(tx: TxView<'_>, spent: &[TxOut], flags: Flags) -> usize {
    let views: Vec<_> = spent
        .iter()
        .map(|output| OutputView { value: output.value, script_pubkey: &output.script_pubkey })
        .collect();
    let context = TxContext::new(tx, &views);
    for index in 0..spent.len() {
        assert_eq!(context.verify_input(index, flags), Ok(()), "{}:{index}", tx.txid());
    }
    spent.len()
}

fn verify_block(block: &[u8], spent: &[TxOut], flags: Flags) -> usize {
    let block = Block::parse(block).unwrap();
    let mut spent = spent;
    let mut count = 0;
    for tx in block.txs().skip(1) {
        let (mine, rest) = spent.split_at(tx.input_count());
        count += verify_tx(tx, mine, flags);
        spent = rest;
    }
    assert!(spent.is_empty());
    count
}

/// Verifies the spends of blocks that form a chain from its start; returns how many there are.
fn verify_chain<'a>(blocks: impl Iterator<Item = Block<&'a [u8]>>, flags: Flags) -> usize {
    let mut unspent: BTreeMap<OutPoint, TxOut> = BTreeMap::new();
    let mut count = 0;
    for block in blocks {
        // The one block of testnet3 that breaks BIP-0016 is excepted by its hash, as in Core.
        let is_excepted = block.hash().to_string() == TESTNET3_EXCEPTION;
        let flags = if is_excepted { Flags::NONE } else { flags };
        for tx in block.txs() {
            if !tx.is_coinbase() {
                let prevouts = tx.inputs().map(|input| input.prevout);
                let spent: Vec<_> =
                    prevouts.map(|prevout| unspent.remove(&prevout).unwrap()).collect();
                count += verify_tx(tx, &spent, flags);
            }
            let txid = tx.txid();
            for (vout, output) in (0..).zip(tx.outputs()) {
                unspent.insert(OutPoint { txid, vout }, output.to_owned());
            }
        }
    }
    count
}

#[test]
fn every_spend_of_three_testnet3_blocks() {
    for (height, expected) in [(928_816, 8692), (928_828, 1972), (1_087_400, 205)] {
        let path = format!("blocks/testnet3/{height}");
        let left_out = format!("{expected} spends of testnet3 {height}");
        let Some(block) = outside_data(&format!("{path}.raw"), &left_out) else { continue };
        let undo = outside_data(&format!("{path}-undo.raw"), &left_out).unwrap();
        let count = verify_block(&block, &outputs(&undo), all());
        println!("testnet3 {height}: {count} spends");
        assert_eq!(count, expected);
    }
}

#[test]
fn every_spend_of_mainnet_866342() {
    let path = "prevouts/866342-spent_utxos.json.zst";
    let Some(json) = outside_data(path, "7972 spends of mainnet 866342") else { return };
    let spent: Vec<Value> = serde_json::from_slice(&json).unwrap();
    let output = |coin: &Value| TxOut {
        value: coin["txout"]["value"].as_i64().unwrap(),
        script_pubkey: bytes(text(&coin["txout"]["script_pubkey"])),
    };
    let spent: Vec<_> = spent.iter().map(output).collect();
    let block = outside_data("blocks/mainnet/866342.raw", "").unwrap();
    let count = verify_block(&block, &spent, all());
    println!("mainnet 866342: {count} spends");
    assert_eq!(count, 7972);
}

#[test]
fn every_spend_of_five_mainnet_blocks_with_their_rules() {
    for (file, flags, expected) in [
        ("169.json", always(), 1),
        ("57042.json", always(), 131),
        ("150012.json", always(), 94),
        ("209999.json.xz", always(), 899),
        ("757738.json", all(), 91),
    ] {
        let path = format!("prevouts/raito-full_{file}");
        let left_out = format!("{expected} spends of the block after mainnet {file}");
        let Some(json) = outside_data(&path, &left_out) else { continue };
        let json: Value = serde_json::from_slice(&json).unwrap();
        let txs = json["blocks"][0]["data"]["transactions"].as_array().unwrap();
        let count: usize = txs[1..].iter().map(|tx| verify_json_tx(tx, flags)).sum();
        println!("mainnet block after {file}: {count} spends");
        assert_eq!(count, expected);
    }
}

fn verify_json_tx(tx: &Value, flags: Flags) -> usize {
    let raw = |value: &Value| bytes(text(value).strip_prefix("0x").unwrap());
    let number = |value: &Value| u32::try_from(value.as_u64().unwrap()).unwrap();
    let output = |output: &Value| TxOut {
        value: output["value"].as_i64().unwrap(),
        script_pubkey: raw(&output["pk_script"]),
    };
    let has_witness = tx["is_segwit"].as_bool().unwrap();
    let input = |input: &Value| {
        let prevout = &input["previous_output"];
        let witness: Vec<_> = input["witness"].as_array().unwrap().iter().map(raw).collect();
        TxIn {
            prevout: OutPoint {
                txid: text(&prevout["txid"]).parse().unwrap(),
                vout: number(&prevout["vout"]),
            },
            script_sig: raw(&input["script"]),
            sequence: number(&input["sequence"]),
            witness: if has_witness { witness } else { vec![] },
        }
    };
    let inputs = tx["inputs"].as_array().unwrap();
    let spent: Vec<_> =
        inputs.iter().map(|input| output(&input["previous_output"]["data"])).collect();
    let tx = Transaction {
        version: number(&tx["version"]),
        inputs: inputs.iter().map(input).collect(),
        outputs: tx["outputs"].as_array().unwrap().iter().map(output).collect(),
        lock_time: number(&tx["lock_time"]),
    };
    let tx = Tx::parse(tx.encode()).unwrap();
    verify_tx(tx.view(), &spent, flags)
}

#[test]
fn every_spend_of_the_first_blocks_of_mainnet_and_testnet3() {
    if let Some(chain) = outside_data("chains/mainnet-0-2200.blk.xz", "mainnet to 2200") {
        let mut reader = Reader::new(&chain);
        let blocks = std::iter::from_fn(|| {
            (!reader.is_empty()).then(|| {
                reader.u32().unwrap();
                let size = usize::try_from(reader.u32().unwrap()).unwrap();
                Block::parse(reader.bytes(size).unwrap()).unwrap()
            })
        });
        let count = verify_chain(blocks, always());
        println!("mainnet to 2200: {count} spends");
        assert_eq!(count, 111);
    }
    if let Some(json) = outside_data("chains/testnet3-0-2016.json.xz", "testnet3 to 2016") {
        let blocks: Vec<String> = serde_json::from_slice(&json).unwrap();
        let blocks: Vec<_> = blocks.iter().map(|block| bytes(block)).collect();
        let parsed = blocks.iter().map(|block| Block::parse(&block[..]).unwrap());
        let count = verify_chain(parsed, always());
        println!("testnet3 to 2016: {count} spends");
        assert_eq!(count, 1919);
    }
}

#[test]
fn single_transactions_with_odd_scripts() {
    for name in ["bcoin-tx1", "bcoin-tx2", "bcoin-tx3", "bcoin-tx4"] {
        let Some(tx) = outside_data(&format!("tx/{name}.raw"), name) else { return };
        let undo = outside_data(&format!("tx/{name}-undo.raw"), name).unwrap();
        let tx = Tx::parse(tx).unwrap();
        let count = verify_tx(tx.view(), &outputs(&undo), always());
        println!("{name}: {count} spends");
    }
}

/// The spent output is not at hand, but its key follows from the leaf and the control block.
#[test]
fn btcd_cve_2022_44797_the_real_transaction_with_500_000_witness_items() {
    let Some(digits) = outside_data("tx/huge_witness.hex.xz", "73be398c...") else { return };
    let tx = bytes(std::str::from_utf8(&digits).unwrap().trim());
    let parsed = Tx::parse(&tx[..]).unwrap();
    let txid = "73be398c4bdc43709db7398106609eea2a7841aaf3a4fa2000dc18184faa2a7e";
    assert_eq!(parsed.view().txid().to_string(), txid);
    let witness: Vec<_> = parsed.view().witness(0).collect();
    let [.., script, control] = witness[..] else { panic!("no script path") };
    let internal: [u8; 32] = control[1..33].try_into().unwrap();
    assert_eq!(control.len(), 33);
    let root = tap_leaf_hash(TAPSCRIPT_LEAF_VERSION, script);
    let tweak = Scalar::from_be_bytes(tap_tweak_hash(internal, Some(root))).unwrap();
    let key = XOnlyPublicKey::from_byte_array(internal).unwrap().add_tweak(&tweak).unwrap().0;
    let script_pubkey = [&[0x51, 0x20][..], &key.to_byte_array()].concat();
    println!("{txid}: {} witness items", witness.len());
    with_context(&tx, &[TxOut { value: 0, script_pubkey }], |context| {
        assert_eq!(context.verify_input(0, all()), Ok(()));
    });
}

/// Every set of consensus flags that means something.
fn flag_sets() -> Vec<Flags> {
    let every: Vec<_> = Flags::NAMES.iter().filter(|(_, flag)| all().contains(*flag)).collect();
    let set = |bits: usize| {
        let chosen = every.iter().enumerate().filter(|(place, _)| bits >> place & 1 == 1);
        chosen.fold(Flags::NONE, |flags, (_, (_, flag))| flags | *flag)
    };
    let is_valid = |flags: &Flags| {
        (flags.contains(Flags::P2SH) || !flags.contains(Flags::WITNESS))
            && (flags.contains(Flags::WITNESS) || !flags.contains(Flags::TAPROOT))
    };
    (0..1 << every.len()).map(set).filter(is_valid).collect()
}

#[test]
fn script_assets_hold_under_every_subset_and_fail_under_every_superset() {
    let path = "taproot/script_assets_test.json.xz";
    let Some(json) = outside_data(path, "2243 cases of script_assets_test") else { return };
    let tests: Vec<Value> = serde_json::from_slice(&json).unwrap();
    let sets = flag_sets();
    let [mut successes, mut failures, mut runs] = [0; 3];
    for test in &tests {
        let flags = Flags::from_names(text(&test["flags"])).unwrap();
        let is_final = test["final"].as_bool() == Some(true);
        let index = usize::try_from(test["index"].as_u64().unwrap()).unwrap();
        let spent: Vec<_> = test["prevouts"].as_array().unwrap().iter().map(text).collect();
        let spent: Vec<_> = spent.iter().flat_map(|output| outputs(&bytes(output))).collect();
        let tx = Tx::parse(bytes(text(&test["tx"]))).unwrap().view().to_owned();
        for (name, is_success) in [("success", true), ("failure", false)] {
            let Some(case) = test.get(name) else { continue };
            let mut spend = Spend { tx: tx.clone(), spent: spent.clone() };
            let input = &mut spend.tx.inputs[index];
            input.script_sig = bytes(text(&case["scriptSig"]));
            input.witness =
                case["witness"].as_array().unwrap().iter().map(|item| bytes(text(item))).collect();
            *if is_success { &mut successes } else { &mut failures } += 1;
            let is_meant = |set: &&Flags| {
                if is_success { is_final || flags.contains(**set) } else { set.contains(flags) }
            };
            spend.with(|context| {
                for set in sets.iter().filter(is_meant) {
                    let result = context.verify_input(index, *set);
                    assert_eq!(result.is_ok(), is_success, "{} {set} {result:?}", test["comment"]);
                    runs += 1;
                }
            });
        }
    }
    println!("script_assets_test: {successes} successes, {failures} failures, {runs} runs");
    assert_eq!((tests.len(), successes, failures), (2243, 2243, 1492));
}
