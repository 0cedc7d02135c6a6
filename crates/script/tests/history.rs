//! What went wrong elsewhere: faults of the original Caesure, published vulnerabilities, and
//! divergences of other nodes, each with the exact error where it must fail.
#![allow(clippy::print_stdout, reason = "what needs outside data says so")]

mod data;

use std::ops::ControlFlow;

use caesure_script::{
    Flags, Leaf, ScriptError as E, Step, TAPSCRIPT_LEAF_VERSION, disassemble_signatures,
    is_unspendable, legacy_sighash, opcode::*, p2sh_sigop_count, push_int, push_slice, sigop_count,
    tap_branch_hash, tap_leaf_hash, tap_tweak_hash, witness_sigop_count,
};
use caesure_wire::{OutPoint, Transaction, Tx, TxIn, TxOut, Txid};
use data::{Spend, assemble, bytes, run};
use secp256k1::{Keypair, Message, Scalar, SecretKey, ecdsa, schnorr};

const NONE: Flags = Flags::NONE;

fn with_witness() -> Flags {
    Flags::P2SH | Flags::WITNESS
}

fn with_taproot() -> Flags {
    with_witness() | Flags::TAPROOT
}

fn pair(number: u8) -> Keypair {
    let mut secret = [0; 32];
    secret[31] = number;
    Keypair::from_secret_key(&SecretKey::from_secret_bytes(secret).unwrap())
}

fn key(number: u8) -> Vec<u8> {
    pair(number).public_key().serialize().to_vec()
}

fn push(data: &[u8]) -> Vec<u8> {
    let mut script = Vec::new();
    push_slice(&mut script, data);
    script
}

fn ecdsa_sign(number: u8, hash: [u8; 32], sighash_type: u8) -> Vec<u8> {
    let secret = SecretKey::from_keypair(&pair(number));
    let signature = ecdsa::sign(Message::from_digest(hash), &secret);
    [&signature.serialize_der()[..], &[sighash_type]].concat()
}

/// A spend of a bare script without a scriptSig.
fn bare(script_pubkey: Vec<u8>) -> Spend {
    Spend::of(vec![], script_pubkey, vec![], 1000)
}

/// A signature over `code` outside witnesses.
fn sign(spend: &Spend, code: &[u8], number: u8, sighash_type: u8) -> Vec<u8> {
    spend.with(|context| {
        let hash = legacy_sighash(context.tx(), 0, code, sighash_type.into());
        ecdsa_sign(number, hash, sighash_type)
    })
}

/// Puts pushes of `items` into the scriptSig.
fn unlocked(mut spend: Spend, items: &[Vec<u8>]) -> Spend {
    spend.tx.inputs[0].script_sig = items.iter().flat_map(|item| push(item)).collect();
    spend
}

/// A spend of a tree of one leaf, with what follows the arguments in the witness.
fn tapscript(script: &[u8], arguments: Vec<Vec<u8>>) -> Spend {
    tapscript_at(script, arguments, 0)
}

/// The same in a tree of `depth` levels.
fn tapscript_at(script: &[u8], arguments: Vec<Vec<u8>>, depth: usize) -> Spend {
    let internal = pair(9).x_only_public_key().0;
    let leaf = tap_leaf_hash(TAPSCRIPT_LEAF_VERSION, script);
    let root = (0..depth).fold(leaf, |node, _| tap_branch_hash(node, [7; 32]));
    let tweak = tap_tweak_hash(internal.to_byte_array(), Some(root));
    let (output, parity) = internal.add_tweak(&Scalar::from_be_bytes(tweak).unwrap()).unwrap();
    let mut control = vec![TAPSCRIPT_LEAF_VERSION | parity.to_u8()];
    control.extend(internal.to_byte_array());
    control.extend([7; 32].repeat(depth));
    let witness = [arguments, vec![script.to_vec(), control]].concat();
    Spend::of(vec![], [&[OP_1, 32][..], &output.to_byte_array()].concat(), witness, 1000)
}

/// A spend by key of two outputs, the second signed; the first is anybody's.
fn key_spend(annex: Option<&[u8]>) -> Spend {
    let internal = pair(9).x_only_public_key().0.to_byte_array();
    let tweak = Scalar::from_be_bytes(tap_tweak_hash(internal, None)).unwrap();
    let tweaked = pair(9).add_xonly_tweak(&tweak).unwrap();
    let output = tweaked.x_only_public_key().0.to_byte_array();
    let mut spend = bare([&[OP_1, 32][..], &output].concat());
    spend.tx.inputs.insert(0, TxIn { sequence: 7, ..spend.tx.inputs[0].clone() });
    spend.spent.insert(0, TxOut { value: 5, script_pubkey: vec![OP_1] });
    let hash = spend.with(|context| context.taproot_sighash(1, 0, annex, None).unwrap());
    let signature = schnorr::sign_no_aux_rand(&hash, &tweaked).to_byte_array().to_vec();
    spend.tx.inputs[1].witness =
        [Some(signature), annex.map(<[u8]>::to_vec)].into_iter().flatten().collect();
    spend
}

fn repeated(words: &str, count: usize) -> String {
    [words].repeat(count).join(" ")
}

// Faults of the original.

#[test]
fn fault_1_multisig_uses_each_key_once_and_in_order() {
    let script = [&[OP_2][..], &push(&key(1)), &push(&key(2)), &[OP_2, OP_CHECKMULTISIG]].concat();
    let spend = bare(script.clone());
    let [a, b] = [1, 2].map(|number| sign(&spend, &script, number, 1));
    let verify = |first: &Vec<u8>, second: &Vec<u8>| {
        unlocked(spend.clone(), &[vec![], first.clone(), second.clone()]).verify(0, NONE)
    };
    assert_eq!(verify(&a, &b), Ok(()));
    assert_eq!(verify(&b, &a), Err(E::EvalFalse));
    assert_eq!(verify(&a, &a), Err(E::EvalFalse));
    assert_eq!(verify(&b, &b), Err(E::EvalFalse));
}

#[test]
fn fault_2_zeros_of_any_length_are_false() {
    for zero in ["0", "0x01 0x00", "0x02 0x0000", "0x01 0x80", "0x02 0x0080"] {
        assert_eq!(run("", zero, NONE), Err(E::EvalFalse), "{zero}");
        assert_eq!(run(zero, "VERIFY 1", NONE), Err(E::Verify), "{zero}");
        assert_eq!(run(zero, "NOTIF 1 ELSE RETURN ENDIF", NONE), Ok(()), "{zero}");
    }
    assert_eq!(run("", "0x02 0x8000", NONE), Ok(()));
}

#[test]
fn fault_3_a_conditional_after_a_closed_one_must_be_closed_too() {
    assert_eq!(run("", "1 IF ENDIF 1 IF 1", NONE), Err(E::UnbalancedConditional));
    assert_eq!(run("1 IF", "ENDIF 1", NONE), Err(E::UnbalancedConditional));
}

#[test]
fn fault_4_operands_of_five_bytes_fail_even_if_small() {
    assert_eq!(run("0x05 0x0100000000", "1ADD", NONE), Err(E::Scriptnum));
    assert_eq!(run("0x04 0xffffff7f", "1ADD 0x05 0x0000008000 EQUAL", NONE), Ok(()));
    assert_eq!(run("0x04 0xffffff7f", "1ADD 1ADD", NONE), Err(E::Scriptnum));
}

#[test]
fn fault_5_a_redeem_script_over_520_bytes_fails() {
    for (size, expected) in [(520, Ok(())), (521, Err(E::PushSize))] {
        let redeem = [vec![OP_NOP; 1], push(&vec![1; size - 5]), vec![OP_1]].concat();
        assert_eq!(redeem.len(), size);
        let hash = caesure_hash::hash160(&redeem);
        let lock = [&[OP_HASH160, 20][..], &hash, &[OP_EQUAL]].concat();
        assert_eq!(unlocked(bare(lock), &[redeem]).verify(0, Flags::P2SH), expected);
    }
}

#[test]
fn fault_6_separators_and_each_part_of_a_conditional_count_as_ops() {
    let check = |words: String, expected| assert_eq!(run("", &words, NONE), expected);
    check(repeated("CODESEPARATOR", 201) + " 1", Ok(()));
    check(repeated("CODESEPARATOR", 202) + " 1", Err(E::OpCount));
    check(repeated("1 IF ELSE ENDIF", 67) + " 1", Ok(()));
    check(repeated("1 IF ELSE ENDIF", 67) + " NOP 1", Err(E::OpCount));
    check("0 IF ".to_owned() + &repeated("NOP", 199) + " ENDIF 1", Ok(()));
    check("0 IF ".to_owned() + &repeated("NOP", 200) + " ENDIF 1", Err(E::OpCount));
}

#[test]
fn fault_7_signatures_cover_every_kind_of_push_as_it_is_written() {
    let start = [
        &[OP_PUSHDATA1, 2, 7, 7, OP_DROP, OP_PUSHDATA2, 1, 0, 7, OP_DROP][..],
        &[OP_PUSHDATA4, 1, 0, 0, 0, 7, OP_DROP, OP_PUSHDATA1, 0, OP_DROP],
    ];
    let script = [&start.concat()[..], &push(&key(1)), &[OP_CHECKSIG]].concat();
    let spend = bare(script.clone());
    let signature = sign(&spend, &script, 1, 1);
    let spend = unlocked(spend, &[signature]);
    assert_eq!(spend.verify(0, NONE), Ok(()));
    assert_eq!(spend.verify(0, Flags::MINIMALDATA), Err(E::Minimaldata));
}

#[test]
fn fault_8_an_empty_else_branch_may_stand_beside_a_signature_check() {
    let start = [OP_1, OP_IF, OP_ELSE, OP_ENDIF];
    let script = [&start[..], &push(&key(1)), &[OP_CHECKSIG]].concat();
    let spend = bare(script.clone());
    let signature = sign(&spend, &script, 1, 1);
    assert_eq!(unlocked(spend, &[signature]).verify(0, NONE), Ok(()));
}

#[test]
fn fault_9_boolean_opcodes_push_zero_or_one() {
    assert_eq!(run("2 3", "BOOLAND 1 EQUAL", NONE), Ok(()));
    assert_eq!(run("2 0", "BOOLOR 1 EQUAL", NONE), Ok(()));
    assert_eq!(run("2 0", "BOOLAND 0 EQUAL", NONE), Ok(()));
}

#[test]
fn fault_10_the_last_separator_that_ran_counts_wherever_it_stands() {
    let check = [&push(&key(1))[..], &[OP_CHECKSIG]].concat();
    let cases: [(&[u8], usize, &[u8]); 4] = [
        // Before an IF: seen inside it.
        (&[OP_CODESEPARATOR, OP_1, OP_IF], 1, &[OP_ENDIF]),
        // In the branch that runs.
        (&[OP_1, OP_IF, OP_CODESEPARATOR, OP_ELSE, OP_ENDIF], 3, &[]),
        // In the branch that does not: then it is only left out.
        (&[OP_1, OP_IF, OP_ELSE, OP_CODESEPARATOR, OP_ENDIF], 0, &[]),
        (&[OP_CODESEPARATOR, OP_0, OP_IF, OP_CODESEPARATOR, OP_ENDIF], 1, &[]),
    ];
    for (start, code_start, end) in cases {
        let script = [start, &check, end].concat();
        let spend = bare(script.clone());
        for place in 0..4 {
            let signature = sign(&spend, &script[place..], 1, 1);
            let result = unlocked(spend.clone(), &[signature]).verify(0, NONE);
            let is_same =
                without_separators(&script[place..]) == without_separators(&script[code_start..]);
            assert_eq!(
                result,
                if is_same { Ok(()) } else { Err(E::EvalFalse) },
                "{script:?} {place}"
            );
        }
    }
    // A signature in a branch is taken out there too.
    let plain = [&[OP_0, OP_IF, OP_ENDIF][..], &check].concat();
    let signature = sign(&bare(vec![]), &plain, 1, 1);
    let lock = [&[OP_0, OP_IF][..], &push(&signature), &[OP_ENDIF], &check].concat();
    let mut spend = bare(lock);
    spend.tx.inputs[0].prevout = bare(vec![]).tx.inputs[0].prevout;
    assert_eq!(unlocked(spend, &[signature]).verify(0, NONE), Ok(()));
}

fn without_separators(script: &[u8]) -> Vec<u8> {
    script.iter().copied().filter(|opcode| *opcode != OP_CODESEPARATOR).collect()
}

#[test]
fn fault_11_multisig_counts_the_keys_on_the_stack_and_only_when_it_runs() {
    let check = |words: String, expected| assert_eq!(run("", &words, NONE), expected);
    check(repeated("0 IF 20 CHECKMULTISIG ENDIF", 67) + " 1", Ok(()));
    check(repeated("0 0 0 20 DROP CHECKMULTISIG DROP", 67) + " 1", Ok(()));
    let twenty = repeated("0", 22) + " 20 NOP CHECKMULTISIG DROP";
    check(repeated(&twenty, 8) + " 1 " + &repeated("NOP", 17), Ok(()));
    check(repeated(&twenty, 8) + " 1 " + &repeated("NOP", 18), Err(E::OpCount));
}

#[test]
fn fault_12_strictenc_takes_uncompressed_keys_and_no_others_of_65_bytes() {
    let mut long = pair(1).public_key().serialize_uncompressed().to_vec();
    for (first, is_plain) in [(4, true), (6 | long[64] & 1, false)] {
        long[0] = first;
        let script = [&push(&long)[..], &[OP_CHECKSIG]].concat();
        let spend = bare(script.clone());
        let signature = sign(&spend, &script, 1, 1);
        let spend = unlocked(spend, &[signature]);
        assert_eq!(spend.verify(0, NONE), Ok(()));
        let expected = if is_plain { Ok(()) } else { Err(E::Pubkeytype) };
        assert_eq!(spend.verify(0, Flags::STRICTENC), expected);
    }
}

#[test]
fn fault_13_every_opcode_on_an_empty_stack_gives_a_script_error() {
    for opcode in 0..=0xff {
        let expected = match opcode {
            OP_0 => E::EvalFalse,
            1..=OP_PUSHDATA4 => E::BadOpcode,
            OP_1NEGATE | OP_1..=OP_16 => continue,
            OP_NOP | OP_NOP1..=OP_NOP10 | OP_CODESEPARATOR | OP_DEPTH => E::EvalFalse,
            OP_ELSE | OP_ENDIF => E::UnbalancedConditional,
            OP_RETURN => E::OpReturn,
            OP_FROMALTSTACK => E::InvalidAltstackOperation,
            OP_CAT..=OP_RIGHT | OP_INVERT..=OP_XOR | OP_2MUL | OP_2DIV | OP_MUL..=OP_RSHIFT => {
                E::DisabledOpcode
            }
            OP_RESERVED | OP_VER | OP_VERIF | OP_VERNOTIF | OP_RESERVED1 | OP_RESERVED2 => {
                E::BadOpcode
            }
            OP_CHECKSIGADD.. => E::BadOpcode,
            _ => E::InvalidStackOperation,
        };
        assert_eq!(bare(vec![opcode]).verify(0, NONE), Err(expected), "{opcode:#x}");
    }
}

#[test]
fn fault_13_conditionals_100_000_deep_take_no_call_stack() {
    let depth = 100_000;
    let script = [&[OP_0][..], &vec![OP_IF; depth], &vec![OP_ENDIF; depth], &[OP_1]].concat();
    assert_eq!(tapscript(&script, vec![]).verify(0, with_taproot()), Ok(()));
    let open = &script[..depth];
    let result = tapscript(open, vec![]).verify(0, with_taproot());
    assert_eq!(result, Err(E::UnbalancedConditional));
}

#[test]
fn fault_14_minimal_pushes_have_core_s_borders() {
    let size = |size: usize| size.to_le_bytes();
    for (prefix, sizes, expected) in [
        (OP_PUSHDATA1, &[0, 1, 75][..], Err(E::Minimaldata)),
        (OP_PUSHDATA1, &[76, 255], Ok(())),
        (OP_PUSHDATA2, &[76, 255], Err(E::Minimaldata)),
        (OP_PUSHDATA2, &[256, 520], Ok(())),
        (OP_PUSHDATA4, &[256, 520], Err(E::Minimaldata)),
        (OP_PUSHDATA4, &[521], Err(E::PushSize)),
    ] {
        let width = match prefix {
            OP_PUSHDATA1 => 1,
            OP_PUSHDATA2 => 2,
            _ => 4,
        };
        for &count in sizes {
            let lock = [&[prefix][..], &size(count)[..width], &vec![7; count], &[OP_1]].concat();
            assert_eq!(bare(lock).verify(0, Flags::MINIMALDATA), expected, "{prefix} {count}");
        }
    }
}

#[test]
fn golden_sighashes_of_the_original_s_worked_example() {
    let signature = "3046022100f5746b0b254f5a37e75251459c7a23b6dfcb868ac7467edd9a6fdd1d969871be02210088948aea29b69161ca341c49c02686a81d8cbb73940f917fa0ed7154686d3e5b01";
    let public = "0447d490561f396c8a9efc14486bc198884ba18379bcac2e0be2d8525134ab742f301a9aca36606e5d29aa238a9e2993003150423df6924563642d4afe9bf4fe28";
    let scripts = [
        [push(&bytes(signature)), push(&bytes(public))].concat(),
        push(&bytes(
            "3046022100bce43ad3acbc79b0247e54c8c91eac1cf9037505000e01d1fd811854d85bc21a022100992a6f6f2feb6f62d3706f3b9aaab88d9f1132956a1dffa926cd556ed55360df01",
        )),
        push(&bytes(
            "30450220209757368161537708fd29d89bb1e9d648007949ecfded789b51a96324cb6518022100cd0f7c30213916482b6e166d8a4f2b981f777eb184cd8a495f1b3d3690fbbf2d01",
        )),
    ];
    let prevouts = [
        "30f3701f9bc464552f70495791040817ce777ad5ede16e529fcd0c0e94915694",
        "72142bf7686ce92c6de5b73365bfb9d59bb60c2c80982d5958c1e6a3b08ea689",
        "d28128bbb6207c1c3d0a630cc619dc7e7bea56ac19a1dab127c62c78fa1b632c",
    ];
    let input = |(script_sig, txid): (Vec<u8>, &str)| TxIn {
        prevout: OutPoint { txid: Txid(bytes(txid).try_into().unwrap()), vout: 0 },
        script_sig,
        sequence: u32::MAX,
        witness: vec![],
    };
    let tx = Transaction {
        version: 1,
        inputs: scripts.into_iter().zip(prevouts).map(input).collect(),
        outputs: vec![TxOut {
            value: 10_200_000_000,
            script_pubkey: bytes("76a9149e35d93c7792bdcaad5697ddebf04353d9a5e19688ac"),
        }],
        lock_time: 0,
    };
    let asm = disassemble_signatures(&tx.inputs[0].script_sig);
    assert_eq!(asm, format!("{}[ALL] {public}", &signature[..signature.len() - 2]));
    let txid = "ff954e099764d192c5bb531c9c14c18c230b0c0a63f02cd168a4ea94548c890f";
    assert_eq!(tx.txid().to_string(), txid);
    let parsed = Tx::parse(tx.encode()).unwrap();
    let lock = bytes("76a91402bf4b2889c6ada8190c252e70bde1a1909f961788ac");
    for (sighash_type, expected) in [
        (0x00, "cf008faed0a8c5e2596aa5cb6c4cd0e89371934e1c002d76eeec10aa6a0366af"),
        (0x01, "e8a875b4a6b23e507cdad56d1d74285f22fec05bfd6be2f737923c43fcc23987"),
        (0x02, "513cd65418be97ce6d414f28515744113805cfd0f6b6d2c326ac4a0bac258a58"),
        (0x03, "d9ce72e3e8997bd425ec5ed3b1efbe7fee7aeca83b3003f37d0487c6938bea43"),
        (0x81, "3b35348dac012bf3a9169af93e57fb83d023d7662f186077e443e4531faad019"),
        (0x82, "66452650161ccc43f9f53485259fae9e6f7acb95233eef7b5bedd3a7a3d5bcd0"),
        (0x83, "b58272238dddbfbcb929049d9fd497b988d1bec3d312c4ac46b566d99f99ba71"),
    ] {
        let hash = legacy_sighash(parsed.view(), 0, &lock, sighash_type);
        assert_eq!(hash.to_vec(), bytes(expected), "{sighash_type:#x}");
    }
    let one = legacy_sighash(parsed.view(), 1, &lock, 3);
    assert_eq!((one[0], &one[1..]), (1, &[0; 31][..]));
    let spent = TxOut { value: 0, script_pubkey: lock };
    let anybody = TxOut { value: 0, script_pubkey: vec![OP_1] };
    let spend = Spend { tx, spent: vec![spent, anybody.clone(), anybody] };
    assert_eq!(spend.verify(0, Flags::DERSIG), Ok(()));
}

// Vulnerabilities.

#[test]
fn cve_2010_5137_disabled_opcodes_fail_even_where_they_do_not_run() {
    let names = "CAT SUBSTR LEFT RIGHT INVERT AND OR XOR 2MUL 2DIV MUL DIV MOD LSHIFT RSHIFT";
    for name in names.split(' ') {
        let words = format!("0 IF {name} ENDIF 1");
        assert_eq!(run("", &words, NONE), Err(E::DisabledOpcode), "{name}");
    }
}

#[test]
fn cve_2010_5138_signature_checks_are_counted_in_every_kind_of_script() {
    let script = assemble("1 CHECKSIG CHECKSIGVERIFY 2 CHECKMULTISIG 0 CHECKMULTISIGVERIFY");
    assert_eq!(sigop_count(&script, false), 42);
    assert_eq!(sigop_count(&script, true), 24);
    assert_eq!(sigop_count(&assemble("CHECKSIG 0x02 0x01"), false), 1);
    let p2sh = |script: &[u8]| {
        [&[OP_HASH160, 20][..], &caesure_hash::hash160(script), &[OP_EQUAL]].concat()
    };
    let lock = p2sh(&script);
    assert_eq!(p2sh_sigop_count(&push(&script), &lock), 24);
    assert_eq!(p2sh_sigop_count(&push(&script), &script), 0);
    assert_eq!(p2sh_sigop_count(&[&push(&script)[..], &[OP_NOP]].concat(), &lock), 0);
    assert_eq!(p2sh_sigop_count(&[&push(&script)[..], &[OP_16]].concat(), &lock), 0);
    let program = [&[OP_0, 32][..], &caesure_hash::sha256(&script)].concat();
    let spend = Spend::of(vec![], program.clone(), vec![script.clone()], 0);
    spend.with(|context| {
        let count =
            |sig: &[u8], lock: &[u8]| witness_sigop_count(sig, lock, context.tx().witness(0));
        assert_eq!(count(&[], &program), 24);
        assert_eq!(count(&push(&program), &p2sh(&program)), 24);
        assert_eq!(count(&[], &p2sh(&program)), 0);
        assert_eq!(count(&[], &[&[OP_0, 20][..], &[7; 20]].concat()), 1);
        assert_eq!(count(&[], &[&[OP_1, 32][..], &[7; 32]].concat()), 0);
        assert_eq!(count(&[], &script), 0);
    });
}

#[test]
fn cve_2010_5141_the_two_scripts_are_never_joined() {
    assert_eq!(run("1 RETURN", "0", NONE), Err(E::OpReturn));
    // A push that would swallow the lock.
    assert_eq!(run("1 0x05 0x51", "RETURN 1 1 1", NONE), Err(E::BadOpcode));
    assert_eq!(run("1 TOALTSTACK", "FROMALTSTACK", NONE), Err(E::InvalidAltstackOperation));
}

/// The encodings that BIP-0066 ended verify without its flag, since blocks before it hold them.
#[test]
fn cve_2014_8275_class_bip66_signatures_are_strict_der_with_the_flag_and_lax_without() {
    let script = [&push(&key(1))[..], &[OP_CHECKSIG]].concat();
    let spend = bare(script.clone());
    let good = sign(&spend, &script, 1, 1);
    // A length in its long form, a padded integer, and rubbish before the hash type.
    let long_form = [&[0x30, 0x81][..], &good[1..]].concat();
    let mut padded = good.clone();
    padded[1] += 1;
    padded[3] += 1;
    padded.insert(4, 0);
    let trailing = [&good[..good.len() - 1], &[0xff, 1]].concat();
    for signature in [good.clone(), long_form, padded, trailing] {
        let is_strict = signature == good;
        let spend = unlocked(bare(script.clone()), &[signature]);
        assert_eq!(spend.verify(0, NONE), Ok(()));
        let expected = if is_strict { Ok(()) } else { Err(E::SigDer) };
        assert_eq!(spend.verify(0, Flags::DERSIG), expected);
    }
}

#[test]
fn cve_2013_2292_cached_hashes_tell_types_and_scripts_apart() {
    let types = [1, 2, 3, 0x81, 0x82, 0x83, 0x41, 1];
    let check = [&push(&key(1))[..], &[OP_CHECKSIGVERIFY, OP_CODESEPARATOR]].concat();
    let script = [&check.repeat(types.len())[..], &[OP_1]].concat();
    let spend = bare(script.clone());
    let mut signatures: Vec<_> = (0..types.len())
        .map(|place| sign(&spend, &script[place * check.len()..], 1, types[place]))
        .collect();
    let verify = |signatures: &[Vec<u8>]| {
        let items: Vec<_> = signatures.iter().rev().cloned().collect();
        unlocked(spend.clone(), &items).verify(0, NONE)
    };
    assert_eq!(verify(&signatures), Ok(()));
    signatures[7] = signatures[0].clone();
    assert_eq!(verify(&signatures), Err(E::Checksigverify));
}

#[test]
fn bip66_only_strict_der_passes_and_only_under_its_flag() {
    let script = [&push(&key(1))[..], &[OP_CHECKSIG]].concat();
    let spend = bare(script.clone());
    let good = sign(&spend, &script, 1, 1);
    let padded = |at: usize| {
        let mut der = good.clone();
        der[1] += 1;
        der[at] += 1;
        der.insert(at + 1, 0);
        der
    };
    let s_at = 5 + usize::from(good[3]);
    let mut trailing = good.clone();
    trailing.insert(good.len() - 1, 0);
    let mut long_length = good.clone();
    long_length.splice(1..2, [0x81, good[1]]);
    let mut wrong_total = good.clone();
    wrong_total[1] += 1;
    for der in [padded(3), padded(s_at), trailing, long_length, wrong_total] {
        let spend = unlocked(spend.clone(), &[der]);
        assert_eq!(spend.verify(0, NONE), Ok(()));
        assert_eq!(spend.verify(0, Flags::DERSIG), Err(E::SigDer));
    }
    for broken in ["01", "3001", "300602010102010", "30060201010201000101", "30060201800201010101"]
    {
        let spend =
            unlocked(spend.clone(), &[bytes(&format!("{broken}{}", &"0"[..broken.len() % 2]))]);
        assert_eq!(spend.verify(0, Flags::DERSIG), Err(E::SigDer), "{broken}");
        assert_eq!(spend.verify(0, NONE), Err(E::EvalFalse), "{broken}");
    }
    // Well-formed but for its size of 74 bytes.
    let long = [&[0x30, 71, 2, 34][..], &[1; 34], &[2, 33], &[1; 33], &[1]].concat();
    assert_eq!(long.len(), 74);
    let spend = unlocked(spend, &[long]);
    assert_eq!(spend.verify(0, Flags::DERSIG), Err(E::SigDer));
    assert_eq!(spend.verify(0, NONE), Err(E::EvalFalse));
}

#[test]
fn btcd_cve_2022_39389_998_of_999_keys_in_a_tapscript() {
    let numbers: Vec<u8> = (0..999).map(|place| u8::try_from(place % 200 + 1).unwrap()).collect();
    let mut script = Vec::new();
    for (place, number) in numbers.iter().enumerate() {
        push_slice(&mut script, &pair(*number).x_only_public_key().0.to_byte_array());
        script.push(if place == 0 { OP_CHECKSIG } else { OP_CHECKSIGADD });
    }
    push_int(&mut script, 998);
    script.push(OP_NUMEQUAL);
    let leaf = tap_leaf_hash(TAPSCRIPT_LEAF_VERSION, &script);
    let leaf = Leaf { hash: leaf, code_separator: u32::MAX };
    let hash = tapscript(&script, vec![])
        .with(|context| context.taproot_sighash(0, 0, None, Some(leaf)).unwrap());
    let sign =
        |number: &u8| schnorr::sign_no_aux_rand(&hash, &pair(*number)).to_byte_array().to_vec();
    let mut arguments: Vec<_> = numbers.iter().rev().map(sign).collect();
    arguments[500] = vec![];
    assert_eq!(tapscript(&script, arguments.clone()).verify(0, with_taproot()), Ok(()));
    arguments[501] = vec![];
    let result = tapscript(&script, arguments).verify(0, with_taproot());
    assert_eq!(result, Err(E::EvalFalse));
}

#[test]
fn btcd_cve_2022_44797_op_success_with_500_000_witness_items() {
    let spend = tapscript(&[OP_RESERVED], vec![vec![]; 500_000]);
    assert_eq!(spend.verify(0, with_taproot()), Ok(()));
    let flags = with_taproot() | Flags::DISCOURAGE_OP_SUCCESS;
    assert_eq!(spend.verify(0, flags), Err(E::DiscourageOpSuccess));
    // The stack may not begin with over 1,000 items, even if the first opcode drops one.
    for (count, expected) in [(1000, Err(E::Cleanstack)), (1001, Err(E::StackSize))] {
        let spend = tapscript(&[OP_DROP], vec![vec![1]; count]);
        assert_eq!(spend.verify(0, with_taproot()), expected, "{count}");
    }
}

#[test]
fn btcd_cve_2024_34478_version_minus_one_obeys_relative_lock_times() {
    for (version, expected) in [
        (0, Err(E::UnsatisfiedLocktime)),
        (1, Err(E::UnsatisfiedLocktime)),
        (2, Ok(())),
        (0x8000_0000, Ok(())),
        (u32::MAX, Ok(())),
    ] {
        let mut spend = bare(assemble("5 CHECKSEQUENCEVERIFY"));
        spend.tx.version = version;
        spend.tx.inputs[0].sequence = 5;
        assert_eq!(spend.verify(0, Flags::CHECKSEQUENCEVERIFY), expected, "{version}");
    }
}

#[test]
fn btcd_cve_2024_38365_only_whole_pushes_of_the_signature_are_taken_out() {
    let check = [&push(&key(1))[..], &[OP_CHECKSIG]].concat();
    let signature = sign(&bare(vec![]), &check, 1, 1);
    let verify = |start: Vec<u8>| {
        let mut spend = bare([&start[..], &check].concat());
        spend.tx.inputs[0].prevout = bare(vec![]).tx.inputs[0].prevout;
        unlocked(spend, std::slice::from_ref(&signature)).verify(0, NONE)
    };
    let pushed = push(&signature);
    assert_eq!(verify(pushed.clone()), Ok(()));
    assert_eq!(verify([&pushed[..], &pushed].concat()), Ok(()));
    // The same bytes inside a longer push, with more after them, or under another prefix.
    assert_eq!(verify([push(&pushed), vec![OP_DROP]].concat()), Err(E::EvalFalse));
    let longer = [&signature[..], &[1]].concat();
    assert_eq!(verify([push(&longer), vec![OP_DROP]].concat()), Err(E::EvalFalse));
    let size = u8::try_from(signature.len()).unwrap();
    let other = [&[OP_PUSHDATA1, size][..], &signature, &[OP_DROP]].concat();
    assert_eq!(verify(other), Err(E::EvalFalse));
}

// Divergences of other nodes.

#[test]
fn nbitcoin_1288_nip_at_sixteen_items() {
    let script =
        bytes("000360670000005b770100000000005b770100000000000008777760779f00000877776077");
    assert_eq!(bare(script.clone()).verify(0, NONE), Ok(()));
    let mut deepest = 0;
    bare(script).with(|context| {
        let mut see = |step: &Step<'_>| {
            deepest = deepest.max(step.stack.len());
            ControlFlow::Continue(())
        };
        assert_eq!(context.trace_input(0, NONE, &mut see), ControlFlow::Continue(Ok(())));
    });
    assert!(16 <= deepest, "{deepest}");
    let words = repeated("1", 16) + " " + &repeated("NIP", 15);
    assert_eq!(run("", &words, NONE), Ok(()));
    assert_eq!(run("", &(words + " NIP"), NONE), Err(E::InvalidStackOperation));
}

#[test]
fn gocoin_42763e1e_zero_not_equal_takes_four_bytes_at_most() {
    assert_eq!(run("0x05 0x0100000000", "0NOTEQUAL", NONE), Err(E::Scriptnum));
    assert_eq!(run("0x04 0x01000000", "0NOTEQUAL", NONE), Ok(()));
}

#[test]
fn libbitcoin_1836_checkmultisigverify_fails_where_its_signatures_do() {
    let script = [&[OP_1][..], &push(&key(1)), &[OP_1, OP_CHECKMULTISIGVERIFY, OP_1]].concat();
    let spend = bare(script.clone());
    for (number, expected) in [(1, Ok(())), (2, Err(E::Checkmultisigverify))] {
        let signature = sign(&spend, &script, number, 1);
        let spend = unlocked(bare(script.clone()), &[vec![], signature]);
        assert_eq!(spend.verify(0, NONE), expected);
    }
}

#[test]
fn libbitcoin_1837_structural_faults_of_multisig_end_the_script() {
    let check = |words: &str, expected| {
        assert_eq!(run("", &format!("{words} CHECKMULTISIG NOT"), NONE), expected, "{words}");
    };
    check("", Err(E::InvalidStackOperation));
    check("0 0 -1", Err(E::PubkeyCount));
    check("0 0 21", Err(E::PubkeyCount));
    check("0 0 0x05 0x0000000000", Err(E::Scriptnum));
    check("0 0 1", Err(E::InvalidStackOperation));
    check("0 -1 0", Err(E::SigCount));
    check("0 0 1 0", Err(E::SigCount));
    check("0 1 0 1", Err(E::InvalidStackOperation));
    check("0 0", Err(E::InvalidStackOperation));
    check("0 0 1 0 1", Ok(()));
    let bad = "0 0x02 0x0101 1 0 1 CHECKMULTISIG NOT";
    assert_eq!(run("", bad, NONE), Ok(()));
    assert_eq!(run("", bad, Flags::DERSIG), Err(E::SigDer));
}

#[test]
fn libbitcoin_1840_checksig_needs_two_items() {
    assert_eq!(run("", "1 CHECKSIG", NONE), Err(E::InvalidStackOperation));
    assert_eq!(run("", "1 CHECKSIGVERIFY 1", NONE), Err(E::InvalidStackOperation));
    assert_eq!(run("", "0 0 CHECKSIG NOT", NONE), Ok(()));
}

#[test]
fn btcd_2485_a_separator_where_it_does_not_run_is_against_policy_only() {
    let words = "0 IF CODESEPARATOR ENDIF 1";
    assert_eq!(run("", words, NONE), Ok(()));
    assert_eq!(run("", words, Flags::CONST_SCRIPTCODE), Err(E::OpCodeseparator));
    let script = assemble(words);
    let program = [&[OP_0, 32][..], &caesure_hash::sha256(&script)].concat();
    let spend = Spend::of(vec![], program, vec![script], 0);
    assert_eq!(spend.verify(0, with_witness() | Flags::CONST_SCRIPTCODE), Ok(()));
}

#[test]
fn bitcoin_rs_key_spends_commit_to_every_spent_output() {
    let spend = key_spend(None);
    assert_eq!(spend.verify(1, with_taproot()), Ok(()));
    let changed = |change: fn(&mut Spend)| {
        let mut spend = spend.clone();
        change(&mut spend);
        spend.verify(1, with_taproot())
    };
    assert_eq!(changed(|spend| spend.spent[0].value += 1), Err(E::SchnorrSig));
    assert_eq!(changed(|spend| spend.spent[0].script_pubkey.push(OP_NOP)), Err(E::SchnorrSig));
    assert_eq!(changed(|spend| spend.spent[1].value += 1), Err(E::SchnorrSig));
    assert_eq!(changed(|spend| spend.tx.inputs[0].sequence += 1), Err(E::SchnorrSig));
    assert_eq!(changed(|spend| spend.tx.inputs[1].witness[0].push(0)), Err(E::SchnorrSigHashtype));
    for sighash_type in [4, 0x40, 0x80, 0x84, 0xff] {
        let mut spend = spend.clone();
        spend.tx.inputs[1].witness[0].push(sighash_type);
        assert_eq!(spend.verify(1, with_taproot()), Err(E::SchnorrSigHashtype));
    }
    // There is one output: type 3 has nothing to sign for the second input.
    let mut single = spend.clone();
    single.tx.inputs[1].witness[0].push(3);
    assert_eq!(single.verify(1, with_taproot()), Err(E::SchnorrSigHashtype));
    assert_eq!(changed(|spend| spend.tx.inputs[1].witness[0].truncate(63)), Err(E::SchnorrSigSize));
    assert_eq!(changed(|spend| spend.tx.inputs[1].witness[0].clear()), Err(E::SchnorrSigSize));
}

#[test]
fn bitcoin_rs_a_block_excepted_from_bip16_does_not_run_the_redeem_script() {
    let hash = caesure_hash::hash160(&[OP_RETURN]);
    let lock = [&[OP_HASH160, 20][..], &hash, &[OP_EQUAL]].concat();
    let spend = unlocked(bare(lock), &[vec![OP_RETURN]]);
    assert_eq!(spend.verify(0, NONE), Ok(()));
    assert_eq!(spend.verify(0, Flags::P2SH), Err(E::OpReturn));
}

#[test]
fn rustoshi_an_anchor_in_a_script_hash_is_an_unknown_program() {
    let anchor = vec![OP_1, 2, 0x4e, 0x73];
    let discouraged = with_taproot() | Flags::DISCOURAGE_UPGRADABLE_WITNESS_PROGRAM;
    assert_eq!(bare(anchor.clone()).verify(0, discouraged), Ok(()));
    let hash = caesure_hash::hash160(&anchor);
    let spend = unlocked(bare([&[OP_HASH160, 20][..], &hash, &[OP_EQUAL]].concat()), &[anchor]);
    assert_eq!(spend.verify(0, with_taproot()), Ok(()));
    let expected = Err(E::DiscourageUpgradableWitnessProgram);
    assert_eq!(spend.verify(0, discouraged), expected);
}

#[test]
fn rustoshi_an_empty_signature_takes_empty_pushes_out() {
    // With the empty signature, OP_0 leaves what the other signature signs.
    let keys = [push(&key(1)), push(&key(2))].concat();
    let script = [&[OP_0, OP_DROP, OP_1][..], &keys, &[OP_2, OP_CHECKMULTISIG]].concat();
    assert_eq!(bare(script[1..].to_vec()).verify(0, NONE), Err(E::InvalidStackOperation));
    let lock = [&[OP_0, OP_DROP][..], &push(&key(1)), &[OP_CHECKSIG, OP_NOT]].concat();
    let spend = unlocked(bare(lock.clone()), &[vec![]]);
    assert_eq!(spend.verify(0, NONE), Ok(()));
    assert_eq!(spend.verify(0, Flags::CONST_SCRIPTCODE), Err(E::SigFindanddelete));
    let two = [&[OP_0, OP_DROP, OP_2][..], &keys, &[OP_2, OP_CHECKMULTISIG, OP_NOT]].concat();
    let spend = bare(two.clone());
    let signature = sign(&spend, &two[1..], 2, 1);
    let items = [vec![], vec![], signature];
    let spend = unlocked(spend, &items);
    assert_eq!(spend.verify(0, NONE), Ok(()));
    assert_eq!(spend.verify(0, Flags::CONST_SCRIPTCODE), Err(E::SigFindanddelete));
}

#[test]
fn rbtc_single_blanks_the_outputs_before_and_drops_those_after() {
    let mut spend = bare(vec![]);
    spend.tx.inputs.push(TxIn { sequence: 9, ..spend.tx.inputs[0].clone() });
    spend.tx.outputs = (0..3).map(|value| TxOut { value, script_pubkey: vec![OP_1] }).collect();
    let mut expected = Transaction { lock_time: spend.tx.lock_time, ..spend.tx.clone() };
    expected.inputs[0].sequence = 0;
    expected.inputs[1].script_sig = vec![OP_2];
    expected.outputs = vec![
        TxOut { value: -1, script_pubkey: vec![] },
        TxOut { value: 1, script_pubkey: vec![OP_1] },
    ];
    let preimage = [&expected.encode_stripped()[..], &3u32.to_le_bytes()].concat();
    let parsed = Tx::parse(spend.tx.encode()).unwrap();
    let hash = legacy_sighash(parsed.view(), 1, &[OP_2], 3);
    assert_eq!(hash, caesure_hash::sha256d(&preimage));
}

#[test]
fn rbtc_all_32_bits_of_the_type_are_hashed_and_separators_are_not() {
    let parsed = Tx::parse(bare(vec![]).tx.encode()).unwrap();
    let hash = |code: &[u8], sighash_type| legacy_sighash(parsed.view(), 0, code, sighash_type);
    assert_ne!(hash(&[OP_1], 1), hash(&[OP_1], 0x101));
    assert_ne!(hash(&[OP_1], 0), hash(&[OP_1], 1));
    assert_eq!(hash(&[OP_CODESEPARATOR, OP_1, OP_CODESEPARATOR], 1), hash(&[OP_1], 1));
    assert_ne!(hash(&[1, OP_CODESEPARATOR], 1), hash(&[1], 1));
}

#[test]
fn rbtc_tapscript_has_no_limit_of_ops_and_its_own_limit_of_signatures() {
    let script = [vec![OP_NOP; 20_000], vec![OP_1]].concat();
    assert_eq!(tapscript(&script, vec![]).verify(0, with_taproot()), Ok(()));
    // An unknown key type takes any signature, which still costs 50 units of weight. The budget is
    // 50 and the size of the whole witness, so 50 * 20 take an annex that fills it up.
    let check = [OP_DUP, 1, 7, OP_CHECKSIGVERIFY];
    let script = [&check.repeat(20)[..], &[OP_DROP, OP_1]].concat();
    let size = 1 + (1 + 1) + (1 + script.len()) + (1 + 33);
    for (annex, expected) in [
        (20 * 50 - 50 - size - 3, Ok(())),
        (20 * 50 - 50 - size - 4, Err(E::TapscriptValidationWeight)),
    ] {
        let mut spend = tapscript(&script, vec![vec![1]]);
        spend.tx.inputs[0].witness.push(vec![0x50; annex]);
        assert_eq!(spend.verify(0, with_taproot()), expected, "{annex}");
    }
}

#[test]
fn script_trees_have_128_levels_at_most() {
    let verify = |depth| tapscript_at(&[OP_1], vec![], depth).verify(0, with_taproot());
    assert_eq!(verify(128), Ok(()));
    assert_eq!(verify(129), Err(E::TaprootWrongControlSize));
    let mut spend = tapscript_at(&[OP_1], vec![], 1);
    spend.tx.inputs[0].witness[1].pop();
    assert_eq!(spend.verify(0, with_taproot()), Err(E::TaprootWrongControlSize));
    let mut spend = tapscript_at(&[OP_1], vec![], 1);
    spend.tx.inputs[0].witness[1][0] ^= 1;
    assert_eq!(spend.verify(0, with_taproot()), Err(E::WitnessProgramMismatch));
}

#[test]
fn tapscripts_with_an_opcode_that_means_nothing_yet_succeed() {
    let flags = with_taproot() | Flags::DISCOURAGE_OP_SUCCESS;
    for opcode in 0..=0xff {
        let is_listed = matches!(
            opcode,
            0x50 | 0x62 | 0x7e..=0x81 | 0x83..=0x86 | 0x89..=0x8a | 0x8d..=0x8e | 0x95..=0x99
                | 0xbb..=0xfe
        );
        // Even behind what fails, but not behind a push that runs past the end.
        let spend = tapscript(&[OP_RETURN, opcode], vec![]);
        assert_eq!(spend.verify(0, with_taproot()).is_ok(), is_listed, "{opcode:#x}");
        let is_discouraged = spend.verify(0, flags) == Err(E::DiscourageOpSuccess);
        assert_eq!(is_discouraged, is_listed, "{opcode:#x}");
        let spend = tapscript(&[OP_RETURN, 2, opcode], vec![]);
        assert_eq!(spend.verify(0, with_taproot()), Err(E::BadOpcode));
    }
}

#[test]
fn taproot_in_a_script_hash_is_an_unknown_program() {
    let program = [&[OP_1, 32][..], &[7; 32]].concat();
    assert_eq!(bare(program.clone()).verify(0, with_taproot()), Err(E::WitnessProgramWitnessEmpty));
    let hash = caesure_hash::hash160(&program);
    let spend = unlocked(bare([&[OP_HASH160, 20][..], &hash, &[OP_EQUAL]].concat()), &[program]);
    assert_eq!(spend.verify(0, with_taproot()), Ok(()));
    let flags = with_taproot() | Flags::DISCOURAGE_UPGRADABLE_WITNESS_PROGRAM;
    assert_eq!(spend.verify(0, flags), Err(E::DiscourageUpgradableWitnessProgram));
}

#[test]
fn rbtc_items_left_over_are_against_policy_only() {
    assert_eq!(run("1", "1", NONE), Ok(()));
    let clean = with_witness() | Flags::CLEANSTACK;
    assert_eq!(run("1", "1", clean), Err(E::Cleanstack));
    let script = [OP_1, OP_1];
    let program = [&[OP_0, 32][..], &caesure_hash::sha256(&script)].concat();
    let spend = Spend::of(vec![], program, vec![script.to_vec()], 0);
    assert_eq!(spend.verify(0, with_witness()), Err(E::Cleanstack));
}

#[test]
fn blvm_a_witness_where_none_belongs_fails() {
    let spend = Spend::of(vec![], vec![OP_1], vec![vec![1]], 0);
    assert_eq!(spend.verify(0, Flags::P2SH), Ok(()));
    assert_eq!(spend.verify(0, with_witness()), Err(E::WitnessUnexpected));
}

#[test]
fn blvm_signatures_commit_to_the_annex() {
    let spend = key_spend(Some(&[0x50, 1, 2]));
    assert_eq!(spend.verify(1, with_taproot()), Ok(()));
    let mut changed = spend.clone();
    changed.tx.inputs[1].witness[1][2] = 3;
    assert_eq!(changed.verify(1, with_taproot()), Err(E::SchnorrSig));
    let mut without = spend;
    without.tx.inputs[1].witness.truncate(1);
    assert_eq!(without.verify(1, with_taproot()), Err(E::SchnorrSig));
    let mut added = key_spend(None);
    added.tx.inputs[1].witness.push(vec![0x50]);
    assert_eq!(added.verify(1, with_taproot()), Err(E::SchnorrSig));
    // Alone it is no annex, and with another first byte neither.
    added.tx.inputs[1].witness = vec![vec![0x50]];
    assert_eq!(added.verify(1, with_taproot()), Err(E::SchnorrSigSize));
    added.tx.inputs[1].witness = vec![vec![1], vec![0x51]];
    assert_eq!(added.verify(1, with_taproot()), Err(E::TaprootWrongControlSize));
}

#[test]
fn btcd_allocz_6_only_return_first_and_long_scripts_are_unspendable() {
    assert!(is_unspendable(&[OP_RETURN]));
    assert!(is_unspendable(&[OP_1; 10_001]));
    assert!(!is_unspendable(&[OP_1; 10_000]));
    assert!(!is_unspendable(&[]));
    assert!(!is_unspendable(&[OP_1, OP_RETURN]));
    assert!(!is_unspendable(&[OP_VERIF]));
}
