//! The vectors of Bitcoin Core, BIP-0340 and BIP-0341.
#![allow(clippy::print_stdout, reason = "each test prints how many cases it ran")]

mod data;

use std::ops::ControlFlow;

use std::collections::{BTreeMap, BTreeSet};

use caesure_script::{
    Flags, Leaf, legacy_sighash, tap_branch_hash, tap_leaf_hash, tap_tweak_hash, verify_schnorr,
};
use caesure_wire::{OutPoint, Tx, TxOut, TxView, Txid};
use data::{
    Random, TxTest, bytes, core_text, core_vectors, script_test, text, tx_tests, with_context,
};
use secp256k1::{Scalar, XOnlyPublicKey};
use serde_json::Value;

/// `WITNESS` without `P2SH` and `CLEANSTACK` without both mean nothing.
fn trimmed(mut flags: Flags) -> Flags {
    if !flags.contains(Flags::P2SH) {
        flags = flags.without(Flags::WITNESS);
    }
    if flags.contains(Flags::WITNESS) { flags } else { flags.without(Flags::CLEANSTACK) }
}

fn filled(mut flags: Flags) -> Flags {
    if flags.contains(Flags::CLEANSTACK) {
        flags = flags | Flags::WITNESS;
    }
    if flags.contains(Flags::WITNESS) { flags | Flags::P2SH } else { flags }
}

fn all_flags() -> Flags {
    Flags::NAMES.iter().fold(Flags::NONE, |flags, (_, flag)| flags | *flag)
}

fn random_flags(random: &mut Random) -> Flags {
    Flags(u32::try_from(random.next() >> 32).unwrap() & all_flags().0)
}

#[test]
fn script_tests_give_the_expected_error_and_flags_only_forbid() {
    let vectors = core_vectors("script_tests.json");
    let mut random = Random(1);
    for vector in &vectors {
        let (spend, flags, expected) = script_test(vector);
        spend.with(|context| {
            assert_eq!(context.verify_input(0, flags), expected, "{vector:?}");
            for _ in 0..16 {
                let other = random_flags(&mut random);
                let flags = if expected.is_ok() {
                    trimmed(flags.without(other))
                } else {
                    filled(flags | other)
                };
                let result = context.verify_input(0, flags);
                assert_eq!(result.is_ok(), expected.is_ok(), "{flags} {vector:?}");
            }
            let mut steps = 0;
            let traced = context.trace_input(0, flags, &mut |step| {
                steps += 1;
                assert!(step.to_string().lines().count() == 4, "{step}");
                ControlFlow::Continue(())
            });
            let traced = traced.map_continue(|result| result.map_err(|failure| failure.error));
            assert_eq!(traced, ControlFlow::Continue(expected), "traced {vector:?}");
            assert!(0 < steps || context.spent()[0].script_pubkey.is_empty() || expected.is_err());
        });
    }
    println!("script_tests.json: {} cases", vectors.len());
    assert_eq!(vectors.len(), 1222);
}

fn is_valid(test: &TxTest, flags: Flags) -> bool {
    test.spend().with(|context| {
        (0..context.spent().len()).all(|index| context.verify_input(index, flags).is_ok())
    })
}

/// The rules for a transaction alone, which the vectors with `BADTX` break.
fn is_well_formed(tx: TxView<'_>) -> bool {
    let prevouts: BTreeSet<_> = tx.inputs().map(|input| input.prevout).collect();
    let money = 0..=2_100_000_000_000_000;
    let mut total = 0;
    let has_money = tx.outputs().all(|output| {
        total += output.value;
        money.contains(&output.value) && money.contains(&total)
    });
    let has_right_inputs = if tx.is_coinbase() {
        (2..=100).contains(&tx.input(0).script_sig.len())
    } else {
        !prevouts.contains(&OutPoint::NULL)
    };
    let is_unique = prevouts.len() == tx.input_count();
    0 < tx.input_count() && 0 < tx.output_count() && has_money && is_unique && has_right_inputs
}

/// Every valid set of flags that lacks one of `flags`.
fn without_one(flags: Flags) -> BTreeSet<Flags> {
    let lesser = Flags::NAMES.iter().map(|(_, flag)| trimmed(flags.without(*flag)));
    lesser.filter(|lesser| *lesser != flags).collect()
}

#[test]
fn tx_valid_holds_and_its_excluded_flags_are_maximal() {
    let tests = tx_tests("tx_valid.json");
    let mut random = Random(2);
    for test in &tests {
        let tx = Tx::parse(&test.bytes[..]).unwrap();
        assert!(is_well_formed(tx.view()));
        let excluded = Flags::from_names(&test.flags).unwrap();
        let name = format!("{} without {excluded}", tx.view().txid());
        assert!(is_valid(test, all_flags().without(excluded)), "{name}");
        for (_, flag) in Flags::NAMES {
            let fewer = trimmed(all_flags().without(excluded | *flag));
            assert!(is_valid(test, fewer), "{name}: {fewer}");
            let fewer = trimmed(all_flags().without(excluded | random_flags(&mut random)));
            assert!(is_valid(test, fewer), "{name}: {fewer}");
        }
        for fewer in without_one(excluded) {
            assert!(!is_valid(test, all_flags().without(fewer)), "{name}: too many");
        }
    }
    println!("tx_valid.json: {} cases", tests.len());
    assert_eq!(tests.len(), 121);
}

#[test]
fn tx_invalid_fails_and_its_flags_are_minimal() {
    let tests = tx_tests("tx_invalid.json");
    let mut random = Random(3);
    let mut malformed = 0;
    for test in &tests {
        let tx = Tx::parse(&test.bytes[..]).unwrap();
        assert_eq!(is_well_formed(tx.view()), test.flags != "BADTX", "{}", tx.view().txid());
        if test.flags == "BADTX" {
            malformed += 1;
            continue;
        }
        let flags = Flags::from_names(&test.flags).unwrap();
        let name = format!("{} with {flags}", tx.view().txid());
        assert!(!is_valid(test, flags), "{name}");
        for (_, flag) in Flags::NAMES {
            assert!(!is_valid(test, filled(flags | *flag)), "{name}");
            assert!(!is_valid(test, filled(flags | random_flags(&mut random))), "{name}");
        }
        for fewer in without_one(flags) {
            assert!(is_valid(test, fewer), "{name}: too many, {fewer} suffices");
        }
    }
    println!("tx_invalid.json: {} cases, {malformed} of them not by scripts", tests.len());
    assert_eq!(tests.len(), 93);
}

#[test]
fn sighash_vectors() {
    let vectors = core_vectors("sighash.json");
    for vector in &vectors {
        let bytes_of = |place: usize| bytes(text(&vector[place]));
        let tx = Tx::parse(bytes_of(0)).unwrap();
        let index = usize::try_from(vector[2].as_u64().unwrap()).unwrap();
        let sighash_type = vector[3].as_i64().unwrap() & 0xffff_ffff;
        let sighash_type = u32::try_from(sighash_type).unwrap();
        let hash = legacy_sighash(tx.view(), index, &bytes_of(1), sighash_type);
        assert_eq!(Txid(hash).to_string(), text(&vector[4]));
    }
    println!("sighash.json: {} cases", vectors.len());
    assert_eq!(vectors.len(), 500);
}

#[test]
fn bip340_vectors_that_core_has() {
    let source = core_text("key_tests.cpp");
    let mut count = 0;
    for line in source.lines().filter(|line| line.trim_start().starts_with("{{\"")) {
        let quoted: Vec<&str> = line.split('"').skip(1).step_by(2).collect();
        let [key, message, signature] = quoted[..] else { continue };
        let key = bytes(key).try_into().unwrap();
        let signature = bytes(signature).try_into().unwrap();
        assert_eq!(
            verify_schnorr(&key, &signature, &bytes(message)),
            line.contains("true"),
            "{line}"
        );
        count += 1;
    }
    println!("BIP-0340: {count} cases");
    assert_eq!(count, 15);
}

/// The four vectors that Core leaves out, of messages with 0, 1, 17 and 100 bytes.
#[test]
fn bip340_vectors_with_messages_of_any_length() {
    let key = "778caa53b4393ac467774d09497a87224bf9fab6f6e68b23086497324d6fd117";
    let key: [u8; 32] = bytes(key).try_into().unwrap();
    let cases = [
        (
            vec![],
            "71535db165ecd9fbbc046e5ffaea61186bb6ad436732fccc25291a55895464cf6069ce26bf03466228f19a3a62db8a649f2d560fac652827d1af0574e427ab63",
        ),
        (
            vec![0x11],
            "08a20a0afef64124649232e0693c583ab1b9934ae63b4c3511f3ae1134c6a303ea3173bfea6683bd101fa5aa5dbc1996fe7cacfc5a577d33ec14564cec2bacbf",
        ),
        (
            (1..=17).collect(),
            "5130f39a4059b43bc7cac09a19ece52b5d8699d1a71e3c52da9afdb6b50ac370c4a482b77bf960f8681540e25b6771ece1e5a37fd80e5a51897c5566a97ea5a5",
        ),
        (
            vec![0x99; 100],
            "403b12b0d8555a344175ea7ec746566303321e5dbfa8be6f091635163eca79a8585ed3e3170807e7c03b720fc54c7b23897fcba0e9d0b4a06894cfd249f22367",
        ),
    ];
    for (message, signature) in &cases {
        let mut signature: [u8; 64] = bytes(signature).try_into().unwrap();
        assert!(verify_schnorr(&key, &signature, message));
        signature[40] ^= 1;
        assert!(!verify_schnorr(&key, &signature, message));
    }
    println!("BIP-0340: {} cases", cases.len());
}

/// The root of a tree in the form of the BIP-0341 vectors, and each leaf's path by id.
fn tree(node: &Value, paths: &mut BTreeMap<u64, Vec<[u8; 32]>>) -> ([u8; 32], Vec<u64>) {
    if let Value::Array(children) = node {
        let (left, left_ids) = tree(&children[0], paths);
        let (right, right_ids) = tree(&children[1], paths);
        for (ids, other) in [(&left_ids, right), (&right_ids, left)] {
            for id in ids {
                paths.get_mut(id).unwrap().push(other);
            }
        }
        return (tap_branch_hash(left, right), [left_ids, right_ids].concat());
    }
    let id = node["id"].as_u64().unwrap();
    paths.insert(id, Vec::new());
    let version = u8::try_from(node["leafVersion"].as_u64().unwrap()).unwrap();
    (tap_leaf_hash(version, &bytes(text(&node["script"]))), vec![id])
}

#[test]
fn bip341_vectors_of_script_trees() {
    let vectors: Value =
        serde_json::from_str(&core_text("data/bip341_wallet_vectors.json")).unwrap();
    let vectors = vectors["scriptPubKey"].as_array().unwrap();
    for vector in vectors {
        let internal: [u8; 32] =
            bytes(text(&vector["given"]["internalPubkey"])).try_into().unwrap();
        let mut paths = BTreeMap::new();
        let given = &vector["given"]["scriptTree"];
        let root = (!given.is_null()).then(|| tree(given, &mut paths).0);
        let between = &vector["intermediary"];
        assert_eq!(root.map(|root| root.to_vec()), between["merkleRoot"].as_str().map(bytes));
        let tweak = tap_tweak_hash(internal, root);
        assert_eq!(tweak.to_vec(), bytes(text(&between["tweak"])));
        let key = XOnlyPublicKey::from_byte_array(internal).unwrap();
        let (output, parity) = key.add_tweak(&Scalar::from_be_bytes(tweak).unwrap()).unwrap();
        assert_eq!(output.to_byte_array().to_vec(), bytes(text(&between["tweakedPubkey"])));
        let expected = &vector["expected"];
        let script = [&[0x51, 0x20][..], &output.to_byte_array()].concat();
        assert_eq!(script, bytes(text(&expected["scriptPubKey"])));
        for (id, path) in paths {
            let control =
                bytes(text(&expected["scriptPathControlBlocks"][usize::try_from(id).unwrap()]));
            assert_eq!(control[0] & 1, parity.to_u8());
            assert_eq!(control[33..], *path.as_flattened());
        }
    }
    println!("BIP-0341 trees: {} cases", vectors.len());
    assert_eq!(vectors.len(), 7);
}

#[test]
fn bip341_vectors_of_key_spends() {
    let vectors: Value =
        serde_json::from_str(&core_text("data/bip341_wallet_vectors.json")).unwrap();
    let vector = &vectors["keyPathSpending"][0];
    let tx = bytes(text(&vector["given"]["rawUnsignedTx"]));
    let output = |output: &Value| TxOut {
        value: output["amountSats"].as_i64().unwrap(),
        script_pubkey: bytes(text(&output["scriptPubKey"])),
    };
    let spent: Vec<_> =
        vector["given"]["utxosSpent"].as_array().unwrap().iter().map(output).collect();
    let cases = vector["inputSpending"].as_array().unwrap();
    with_context(&tx, &spent, |context| {
        for case in cases {
            let given = &case["given"];
            let index = usize::try_from(given["txinIndex"].as_u64().unwrap()).unwrap();
            let sighash_type = u8::try_from(given["hashType"].as_u64().unwrap()).unwrap();
            let hash = context.taproot_sighash(index, sighash_type, None, None).unwrap();
            assert_eq!(hash.to_vec(), bytes(text(&case["intermediary"]["sigHash"])));
            let witness = bytes(text(&case["expected"]["witness"][0]));
            let signature: [u8; 64] = witness[..64].try_into().unwrap();
            let key = spent[index].script_pubkey[2..].try_into().unwrap();
            assert!(verify_schnorr(&key, &signature, &hash));
            let leaf = Leaf { hash: [1; 32], code_separator: u32::MAX };
            assert_ne!(context.taproot_sighash(index, sighash_type, None, Some(leaf)), Some(hash));
        }
    });
    let full = bytes(text(&vector["auxiliary"]["fullySignedTx"]));
    with_context(&full, &spent, |context| {
        for index in 0..spent.len() {
            assert_eq!(context.verify_input(index, all_flags()), Ok(()), "input {index}");
        }
    });
    println!("BIP-0341 key spends: {} cases", cases.len());
    assert_eq!(cases.len(), 7);
}
