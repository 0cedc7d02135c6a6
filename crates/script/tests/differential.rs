//! The same spends judged by this crate and by Bitcoin Core's `bitcoinconsensus`: real ones with
//! changes, signed ones, and random scripts, each under a random set of the flags that it knows.
//!
//! And signature hashes beside those of rust-bitcoin.
//!
//! `CAESURE_CASES` sets how many, `CAESURE_SEED` the seed.
#![allow(clippy::print_stdout, reason = "the test prints its seed and how many cases it ran")]

mod data;

use std::ops::ControlFlow;

use bitcoin::consensus::deserialize;
use bitcoin::hashes::Hash;
use bitcoin::sighash::{Annex, EcdsaSighashType, Prevouts, SighashCache, TapSighashType};
use bitcoinconsensus::Utxo;
use caesure_script::{
    Flags, Leaf, TAPSCRIPT_LEAF_VERSION, TxContext, legacy_sighash, opcode::*, push_int,
    push_slice, tap_branch_hash, tap_leaf_hash, tap_tweak_hash,
};
use caesure_wire::{OutPoint, Transaction, TxIn, TxOut, Txid};
use data::{Random, Spend, core_vectors, outside_data, script_test, text, tx_tests};
use secp256k1::{Keypair, Message, Scalar, SecretKey, ecdsa, schnorr};
use serde_json::Value;

/// The flags that both sides know; `bitcoinconsensus` has them at the same bits.
const KNOWN: [Flags; 7] = [
    Flags::P2SH,
    Flags::DERSIG,
    Flags::NULLDUMMY,
    Flags::CHECKLOCKTIMEVERIFY,
    Flags::CHECKSEQUENCEVERIFY,
    Flags::WITNESS,
    Flags::TAPROOT,
];
/// Values that lock times and their operands have borders at.
const TIMES: [u32; 12] = [
    0,
    1,
    5,
    0xffff,
    1 << 22,
    1 << 22 | 5,
    499_999_999,
    500_000_000,
    0x7fff_ffff,
    1 << 31,
    0xffff_fffe,
    0xffff_ffff,
];
const SIGHASH_TYPES: [u8; 12] = [1, 2, 3, 0x81, 0x82, 0x83, 1, 3, 0, 4, 0x50, 0xff];
const KEYS: usize = 5;

fn core_accepts(spend: &Spend, index: usize, flags: Flags) -> bool {
    let utxo = |output: &TxOut| Utxo {
        script_pubkey: output.script_pubkey.as_ptr(),
        script_pubkey_len: u32::try_from(output.script_pubkey.len()).unwrap(),
        value: output.value,
    };
    let spent: Vec<_> = spend.spent.iter().map(utxo).collect();
    let output = &spend.spent[index];
    let amount = output.value.cast_unsigned();
    let tx = spend.tx.encode();
    let script = &output.script_pubkey;
    bitcoinconsensus::verify_with_flags(script, amount, &tx, Some(&spent), index, flags.0).is_ok()
}

struct Maker {
    random: Random,
    corpus: Vec<(Spend, usize)>,
    keys: Vec<Keypair>,
}

/// Where a script that is run stands.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Bare,
    P2sh,
    P2wsh,
    P2shP2wsh,
    Tapscript,
}

impl Maker {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let key = |_| {
            let secret = SecretKey::from_secret_bytes(random.bytes(32).try_into().unwrap());
            Keypair::from_secret_key(&secret.unwrap())
        };
        let keys = (0..KEYS).map(key).collect();
        let mut corpus = Vec::new();
        for vector in core_vectors("script_tests.json") {
            corpus.push((script_test(&vector).0, 0));
        }
        for test in [tx_tests("tx_valid.json"), tx_tests("tx_invalid.json")].iter().flatten() {
            let spend = test.spend();
            corpus.extend((0..spend.spent.len()).map(|index| (spend.clone(), index)));
        }
        let assets = outside_data("taproot/script_assets_test.json.xz", "its taproot spends");
        let assets = assets.map_or(vec![], |json| serde_json::from_slice(&json).unwrap());
        corpus.extend(assets.iter().map(asset));
        Self { random, corpus, keys }
    }

    fn chance(&mut self, of: usize) -> bool {
        self.random.below(of) == 0
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.random.below(of.len())]
    }

    fn flags(&mut self) -> Flags {
        if self.chance(2) {
            return KNOWN.iter().fold(Flags::NONE, |flags, flag| flags | *flag);
        }
        let mut flags = Flags::NONE;
        for flag in KNOWN {
            let is_allowed = match flag {
                Flags::WITNESS => flags.contains(Flags::P2SH),
                Flags::TAPROOT => flags.contains(Flags::WITNESS),
                _ => true,
            };
            if is_allowed && !self.chance(4) {
                flags = flags | flag;
            }
        }
        flags
    }

    fn case(&mut self) -> (Spend, usize, Flags) {
        let (mut spend, index) = match self.random.below(4) {
            0 => {
                let place = self.random.below(self.corpus.len());
                self.corpus[place].clone()
            }
            1 => self.unsigned(),
            _ => self.signed(),
        };
        for _ in 0..self.pick(&[0, 0, 1, 1, 2, 4]) {
            self.mutate(&mut spend, index);
        }
        (spend, index, self.flags())
    }

    fn tx(&mut self) -> (Spend, usize) {
        let count = 1 + self.random.below(3);
        let index = self.random.below(count);
        let mut input = |_| TxIn {
            prevout: OutPoint {
                txid: Txid(self.random.bytes(32).try_into().unwrap()),
                vout: u32::try_from(self.random.below(3)).unwrap(),
            },
            script_sig: vec![],
            sequence: TIMES[self.random.below(TIMES.len())],
            witness: vec![],
        };
        let inputs: Vec<_> = (0..count).map(&mut input).collect();
        let mut output = |_| TxOut {
            value: i64::try_from(self.random.below(1 << 40)).unwrap(),
            script_pubkey: vec![OP_1; self.random.below(30)],
        };
        let spent = (0..count).map(&mut output).collect();
        let outputs = (count..2 * count).map(&mut output).skip(count / 2).collect();
        let version = self.pick(&[0, 1, 2, 3, 0xffff_ffff, 0x8000_0000]);
        let lock_time = self.pick(&TIMES);
        (Spend { tx: Transaction { version, inputs, outputs, lock_time }, spent }, index)
    }

    /// An opcode or a small push, balanced conditionals left to chance.
    fn random_words(&mut self, script: &mut Vec<u8>, count: usize) {
        for _ in 0..count {
            match self.random.below(12) {
                0..=3 => push_int(script, i64::try_from(self.random.below(6)).unwrap() - 1),
                4 => {
                    let time = self.pick(&TIMES);
                    push_int(script, time.into());
                    script.push(self.pick(&[
                        OP_CHECKLOCKTIMEVERIFY,
                        OP_CHECKSEQUENCEVERIFY,
                        OP_DROP,
                    ]));
                }
                5 => {
                    let size = self.pick(&[0, 1, 2, 4, 5, 20, 32, 33, 64, 65, 520, 521]);
                    let data = self.random.bytes(size);
                    push_slice(script, &data);
                }
                6 => {
                    script.push(self.pick(&[OP_1, OP_0, OP_DUP]));
                    script.push(self.pick(&[OP_IF, OP_NOTIF]));
                    let inner = self.random.below(3);
                    self.random_words(script, inner);
                    if self.chance(2) {
                        script.push(OP_ELSE);
                        self.random_words(script, inner);
                    }
                    script.push(OP_ENDIF);
                }
                7 if self.chance(4) => script.extend(self.random.bytes(1)),
                8 => script.push(self.pick(&[
                    OP_CHECKSIG,
                    OP_CHECKMULTISIG,
                    OP_CODESEPARATOR,
                    OP_CHECKSIGADD,
                ])),
                _ => {
                    let span = usize::from(OP_HASH256 - OP_TOALTSTACK) + 1;
                    let opcode = OP_TOALTSTACK + u8::try_from(self.random.below(span)).unwrap();
                    let is_usual = !matches!(opcode, OP_CAT..=OP_RIGHT | OP_INVERT..=OP_XOR
                        | OP_RESERVED1 | OP_RESERVED2 | OP_2MUL | OP_2DIV | OP_MUL..=OP_RSHIFT);
                    script.push(if is_usual || self.chance(50) { opcode } else { OP_NOP });
                }
            }
        }
    }

    fn place(&mut self) -> Place {
        self.pick(&[Place::Bare, Place::P2sh, Place::P2wsh, Place::P2shP2wsh, Place::Tapscript])
    }

    fn unsigned(&mut self) -> (Spend, usize) {
        let (mut spend, index) = self.tx();
        let mut script = Vec::new();
        let count = self.random.below(12);
        self.random_words(&mut script, count);
        if self.chance(2) {
            script.extend([
                OP_DEPTH, OP_IF, OP_DEPTH, OP_1SUB, OP_IF, OP_2DROP, OP_ENDIF, OP_ENDIF, OP_1,
            ]);
        }
        let place = self.place();
        let witness = self.lock(&mut spend, index, place, &script);
        let items = (0..self.random.below(6)).map(|_| self.random.below(4)).collect::<Vec<_>>();
        let items = items.into_iter().map(|size| self.random.bytes(size.min(2))).collect();
        unlock(&mut spend, index, items, witness);
        (spend, index)
    }

    /// Makes the spent output run `script`; returns what must follow its arguments.
    fn lock(&mut self, spend: &mut Spend, index: usize, place: Place, script: &[u8]) -> Tail {
        let hashed = |script: &[u8]| [&[OP_0, 32][..], &caesure_hash::sha256(script)].concat();
        let p2sh = |redeem: &[u8]| {
            [&[OP_HASH160, 20][..], &caesure_hash::hash160(redeem), &[OP_EQUAL]].concat()
        };
        let (script_pubkey, tail) = match place {
            Place::Bare => (script.to_vec(), Tail::default()),
            Place::P2sh => (p2sh(script), Tail { redeem: Some(script.to_vec()), witness: None }),
            Place::P2wsh => {
                (hashed(script), Tail { redeem: None, witness: Some(vec![script.to_vec()]) })
            }
            Place::P2shP2wsh => {
                let redeem = hashed(script);
                let witness = Some(vec![script.to_vec()]);
                (p2sh(&redeem), Tail { redeem: Some(redeem), witness })
            }
            Place::Tapscript => {
                let version = if self.chance(20) { 0xc2 } else { TAPSCRIPT_LEAF_VERSION };
                let leaf = tap_leaf_hash(version, script);
                let path: Vec<[u8; 32]> = (0..self.random.below(3))
                    .map(|level| caesure_hash::sha256(&[u8::try_from(level).unwrap()]))
                    .collect();
                let root = path.iter().fold(leaf, |node, other| tap_branch_hash(node, *other));
                let internal = self.keys[0].x_only_public_key().0;
                let tweak = tap_tweak_hash(internal.to_byte_array(), Some(root));
                let (key, parity) =
                    internal.add_tweak(&Scalar::from_be_bytes(tweak).unwrap()).unwrap();
                let mut control = vec![version | parity.to_u8()];
                control.extend(internal.to_byte_array());
                control.extend(path.as_flattened());
                let mut witness = vec![script.to_vec(), control];
                if self.chance(4) {
                    witness.push(vec![0x50, 7]);
                }
                let script_pubkey = [&[OP_1, 32][..], &key.to_byte_array()].concat();
                (script_pubkey, Tail { redeem: None, witness: Some(witness) })
            }
        };
        spend.spent[index].script_pubkey = script_pubkey;
        tail
    }

    fn signed(&mut self) -> (Spend, usize) {
        let (mut spend, index) = self.tx();
        if self.chance(6) {
            self.sign_key_path(&mut spend, index);
            return (spend, index);
        }
        let place = self.place();
        let key_count = 1 + self.random.below(KEYS);
        let required = 1 + self.random.below(key_count);
        let (mut script, code_start, code_separator): (Vec<u8>, _, _) = match self.random.below(5) {
            0 => (vec![OP_CODESEPARATOR], 1, 0),
            1 => (vec![OP_1, OP_IF, OP_CODESEPARATOR, OP_ENDIF], 3, 2),
            2 => (vec![OP_0, OP_IF, OP_CODESEPARATOR, OP_ENDIF], 0, u32::MAX),
            _ => (vec![], 0, u32::MAX),
        };
        let keys: Vec<_> = (0..key_count).map(|key| self.key(key, place)).collect();
        self.push_checks(&mut script, place, &keys, required);
        let tail = self.lock(&mut spend, index, place, &script);
        let signing =
            Signing { index, place, code: &script[code_start..], code_separator, tail: &tail };
        let signatures: Vec<_> =
            (0..required).map(|key| self.sign(&spend, &signing, key)).collect();
        let mut items = match (place, key_count) {
            (Place::Tapscript, _) => {
                let empty = vec![vec![]; key_count - required];
                empty.into_iter().chain(signatures.into_iter().rev()).collect()
            }
            (_, 1) => signatures,
            _ => [vec![vec![]], signatures].concat(),
        };
        if 1 < items.len() && self.chance(8) {
            let other = self.random.below(items.len());
            items.swap(0, other);
        }
        unlock(&mut spend, index, items, tail);
        (spend, index)
    }

    fn key(&mut self, key: usize, place: Place) -> Vec<u8> {
        if place == Place::Tapscript {
            return self.keys[key].x_only_public_key().0.to_byte_array().to_vec();
        }
        let key = self.keys[key].public_key();
        let mut long = key.serialize_uncompressed();
        match self.random.below(6) {
            0 => long.to_vec(),
            1 => {
                long[0] = 6 | long[64] & 1;
                long.to_vec()
            }
            _ => key.serialize().to_vec(),
        }
    }

    fn push_checks(
        &mut self,
        script: &mut Vec<u8>,
        place: Place,
        keys: &[Vec<u8>],
        required: usize,
    ) {
        let [required, count] = [required, keys.len()].map(|count| i64::try_from(count).unwrap());
        if place == Place::Tapscript {
            for (nth, key) in keys.iter().enumerate() {
                push_slice(script, key);
                script.push(if nth == 0 { OP_CHECKSIG } else { OP_CHECKSIGADD });
            }
            push_int(script, required);
            script.push(OP_NUMEQUAL);
        } else if count == 1 {
            push_slice(script, &keys[0]);
            script.push(OP_CHECKSIG);
        } else {
            push_int(script, required);
            keys.iter().for_each(|key| push_slice(script, key));
            push_int(script, count);
            script.push(OP_CHECKMULTISIG);
        }
        if self.chance(4) {
            script.push(OP_CODESEPARATOR);
        }
    }

    fn sign(&mut self, spend: &Spend, signing: &Signing<'_>, key: usize) -> Vec<u8> {
        let Signing { index, place, code, code_separator, tail } = *signing;
        let sighash_type = self.pick(&SIGHASH_TYPES);
        let pair = self.keys[key];
        if place == Place::Tapscript {
            let witness = tail.witness.as_ref().unwrap();
            let hash = tap_leaf_hash(TAPSCRIPT_LEAF_VERSION, &witness[0]);
            let leaf = Some(Leaf { hash, code_separator });
            let annex = witness.get(2).map(|annex| &annex[..]);
            return sign_schnorr(spend, index, &pair, sighash_type, annex, leaf);
        }
        let hash = spend.with(|context| match place {
            Place::Bare | Place::P2sh => {
                legacy_sighash(context.tx(), index, code, sighash_type.into())
            }
            _ => context.segwit_v0_sighash(index, code, sighash_type.into()),
        });
        let signature = ecdsa::sign(Message::from_digest(hash), &SecretKey::from_keypair(&pair));
        let mut der = signature.serialize_der().to_vec();
        match self.random.below(10) {
            0 => der = with_high_s(&signature),
            1 => {
                der[1] += 1;
                der[3] += 1;
                der.insert(4, 0);
            }
            2 => {
                der.push(7);
            }
            _ => {}
        }
        der.push(sighash_type);
        der
    }

    fn sign_key_path(&mut self, spend: &mut Spend, index: usize) {
        let internal = self.keys[0].x_only_public_key().0.to_byte_array();
        let tweak = Scalar::from_be_bytes(tap_tweak_hash(internal, None)).unwrap();
        let pair = self.keys[0].add_xonly_tweak(&tweak).unwrap();
        let key = pair.x_only_public_key().0.to_byte_array();
        spend.spent[index].script_pubkey = [&[OP_1, 32][..], &key].concat();
        let annex = self.chance(3).then(|| vec![0x50, 1, 2]);
        let sighash_type = self.pick(&SIGHASH_TYPES);
        let signature = sign_schnorr(spend, index, &pair, sighash_type, annex.as_deref(), None);
        spend.tx.inputs[index].witness = [Some(signature), annex].into_iter().flatten().collect();
    }

    /// Changes something of a spend.
    fn mutate(&mut self, spend: &mut Spend, index: usize) {
        let input = &mut spend.tx.inputs[index];
        let item = match input.witness.len() {
            0 => None,
            count => Some(self.random.below(count)),
        };
        match (self.random.below(14), item) {
            (0, _) => spend.tx.version = self.pick(&[0, 1, 2, 0x8000_0000, u32::MAX]),
            (1, _) => spend.tx.lock_time = self.pick(&TIMES),
            (2, _) => input.sequence = self.pick(&TIMES),
            (3, _) => spend.spent[index].value = self.pick(&[0, 1, -1, i64::MAX]),
            (4, _) => change_bytes(&mut self.random, &mut input.script_sig),
            (5, _) => change_bytes(&mut self.random, &mut spend.spent[index].script_pubkey),
            (6, Some(item)) => drop(input.witness.remove(item)),
            (7, Some(item)) => input.witness.insert(item, vec![]),
            (8, Some(item)) => input.witness.swap(0, item),
            (9, Some(item)) => input.witness.push(input.witness[item].clone()),
            (10, _) => {
                let prefix = self.random.bytes(1);
                input.script_sig.splice(..0, prefix);
            }
            (11, None) => input.witness.push(vec![1]),
            (12, _) => drop(spend.tx.outputs.pop()),
            (_, Some(item)) => change_bytes(&mut self.random, &mut input.witness[item]),
            (_, None) => change_bytes(&mut self.random, &mut input.script_sig),
        }
    }
}

/// What a signature is made for.
struct Signing<'a> {
    index: usize,
    place: Place,
    code: &'a [u8],
    code_separator: u32,
    tail: &'a Tail,
}

/// What follows the arguments: the redeem script, and the end of the witness.
#[derive(Default)]
struct Tail {
    redeem: Option<Vec<u8>>,
    witness: Option<Vec<Vec<u8>>>,
}

fn unlock(spend: &mut Spend, index: usize, items: Vec<Vec<u8>>, tail: Tail) {
    let input = &mut spend.tx.inputs[index];
    if let Some(witness) = tail.witness {
        input.witness = [items, witness].concat();
    } else {
        items.iter().for_each(|item| push_slice(&mut input.script_sig, item));
    }
    if let Some(redeem) = tail.redeem {
        push_slice(&mut input.script_sig, &redeem);
    }
}

fn sign_schnorr(
    spend: &Spend,
    index: usize,
    pair: &Keypair,
    sighash_type: u8,
    annex: Option<&[u8]>,
    leaf: Option<Leaf>,
) -> Vec<u8> {
    let hash = spend.with(|context: &TxContext<'_>| {
        context.taproot_sighash(index, sighash_type, annex, leaf).unwrap_or([7; 32])
    });
    let mut signature = schnorr::sign_no_aux_rand(&hash, pair).to_byte_array().to_vec();
    if sighash_type != 0 {
        signature.push(sighash_type);
    }
    signature
}

fn with_high_s(signature: &ecdsa::Signature) -> Vec<u8> {
    let mut compact = signature.serialize_compact();
    let s = SecretKey::from_secret_bytes(compact[32..].try_into().unwrap()).unwrap();
    compact[32..].copy_from_slice(&s.negate().to_secret_bytes());
    ecdsa::Signature::from_compact(&compact).unwrap().serialize_der().to_vec()
}

/// Changes, takes out, puts in or cuts off bytes.
fn change_bytes(random: &mut Random, bytes: &mut Vec<u8>) {
    let at = random.below(bytes.len() + 1);
    let byte = random.bytes(1)[0];
    match (random.below(5), bytes.get_mut(at)) {
        (0, Some(old)) => *old = byte,
        (1, Some(old)) => *old ^= 1 << (byte & 7),
        (2, Some(_)) => drop(bytes.remove(at)),
        (3, Some(_)) if byte < 64 => bytes.truncate(at),
        _ => bytes.insert(at, byte),
    }
}

/// A successful case of `script_assets_test`.
fn asset(test: &Value) -> (Spend, usize) {
    let index = usize::try_from(test["index"].as_u64().unwrap()).unwrap();
    let spent = test["prevouts"].as_array().unwrap().iter();
    let spent = spent.flat_map(|output| data::outputs(&data::bytes(text(output)))).collect();
    let tx = caesure_wire::Tx::parse(data::bytes(text(&test["tx"]))).unwrap();
    let mut tx = tx.view().to_owned();
    let case = &test["success"];
    tx.inputs[index].script_sig = data::bytes(text(&case["scriptSig"]));
    let witness = case["witness"].as_array().unwrap().iter();
    tx.inputs[index].witness = witness.map(|item| data::bytes(text(item))).collect();
    (Spend { tx, spent }, index)
}

#[test]
fn verdicts_equal_those_of_bitcoinconsensus() {
    let number = |name: &str, default| {
        std::env::var(name).map_or(default, |value| value.parse().expect(name))
    };
    let (cases, seed) = (number("CAESURE_CASES", 20_000), number("CAESURE_SEED", 1));
    let mut maker = Maker::new(seed);
    let mut accepted = 0;
    for case in 0..cases {
        let (spend, index, flags) = maker.case();
        let (result, located, traced) = spend.with(|context| {
            let traced = context.trace_input(index, flags, &mut |_| ControlFlow::Continue(()));
            let located = context.verify_input_located(index, flags);
            (context.verify_input(index, flags), located, traced)
        });
        assert_eq!(located.map_err(|failure| failure.error), result);
        assert_eq!(traced, ControlFlow::Continue(located));
        let is_accepted = core_accepts(&spend, index, flags);
        assert_eq!(
            result.is_ok(),
            is_accepted,
            "case {case} of seed {seed}: {result:?}, input {index}, {flags}, {spend:?}"
        );
        accepted += u64::from(is_accepted);
    }
    println!("seed {seed}: {cases} cases, {accepted} accepted");
    assert!(cases / 5 < accepted && accepted < cases * 4 / 5, "one verdict is too rare");
}

/// Opcodes at random, none of them a push or `OP_CODESEPARATOR`, which rust-bitcoin leaves in.
fn plain_script(random: &mut Random) -> Vec<u8> {
    let size = random.below(60);
    let opcode = |_| OP_NOP + u8::try_from(random.below(70)).unwrap();
    (0..size).map(opcode).collect()
}

/// The hashes for one input that rust-bitcoin computes: legacy, of witness version 0, and of taproot
/// with and without annex and leaf.
fn compare_sighashes(
    context: &TxContext<'_>,
    theirs: &mut SighashCache<bitcoin::Transaction>,
    index: usize,
    random: &mut Random,
) {
    let code = plain_script(random);
    let script = bitcoin::Script::from_bytes(&code);
    let sighash_type = [1, 2, 3, 0x81, 0x82, 0x83][random.below(6)];
    let place = format!("input {index} of {}, type {sighash_type:#x}", context.spent().len());
    // Any number is a type outside witnesses.
    let any_type = if random.below(3) == 0 { random.next() >> 32 } else { sighash_type };
    let any_type = u32::try_from(any_type).unwrap();
    for any_type in [1, any_type] {
        let legacy = theirs.legacy_signature_hash(index, script, any_type).unwrap();
        let hash = context.legacy_sighash(index, &code, any_type);
        assert_eq!(hash, *legacy.as_byte_array(), "{place}");
        assert_eq!(legacy_sighash(context.tx(), index, &code, any_type), hash);
    }

    let number = u32::try_from(sighash_type).unwrap();
    let value = bitcoin::Amount::from_sat(context.spent()[index].value.cast_unsigned());
    let ecdsa_type = EcdsaSighashType::from_standard(number).unwrap();
    let segwit = theirs.p2wsh_signature_hash(index, script, value, ecdsa_type).unwrap();
    let hash = context.segwit_v0_sighash(index, &code, number);
    assert_eq!(hash, *segwit.as_byte_array(), "{place}");

    let number = if random.below(4) == 0 { 0 } else { u8::try_from(sighash_type).unwrap() };
    let taproot_type = TapSighashType::from_consensus_u8(number).unwrap();
    let output = |it: &caesure_wire::OutputView<'_>| bitcoin::TxOut {
        value: bitcoin::Amount::from_sat(it.value.cast_unsigned()),
        script_pubkey: bitcoin::ScriptBuf::from_bytes(it.script_pubkey.to_vec()),
    };
    let spent: Vec<_> = context.spent().iter().map(output).collect();
    let annex = (random.below(3) == 0).then(|| [&[0x50], &code[..]].concat());
    let leaf = (random.below(2) == 0).then(|| Leaf {
        hash: caesure_hash::sha256(&code),
        code_separator: u32::try_from(random.next() >> 32).unwrap(),
    });
    let taproot = theirs.taproot_signature_hash(
        index,
        &Prevouts::All(&spent),
        annex.as_deref().map(|annex| Annex::new(annex).unwrap()),
        leaf.map(|leaf| (bitcoin::TapLeafHash::from_byte_array(leaf.hash), leaf.code_separator)),
        taproot_type,
    );
    let hash = context.taproot_sighash(index, number, annex.as_deref(), leaf);
    // None on both sides for SINGLE without an output.
    assert_eq!(hash, taproot.ok().map(|hash| hash.to_byte_array()), "{place}");
}

#[test]
fn signature_hashes_equal_those_of_rust_bitcoin() {
    let mut maker = Maker::new(3);
    // Of many inputs, every one, since hashes of the transaction's start are kept at some places.
    let counts = (0..600).map(|_| 0).chain([24, 25, 26, 252, 253, 1_100]);
    for count in counts {
        let (mut spend, index) = maker.tx();
        let random = &mut maker.random;
        for vout in spend.tx.inputs.len()..count {
            let prevout = OutPoint {
                txid: Txid(random.bytes(32).try_into().unwrap()),
                vout: u32::try_from(vout).unwrap(),
            };
            let sequence = TIMES[random.below(TIMES.len())];
            let script_sig = random.bytes(vout % 3);
            let witness = vec![random.bytes(1); usize::from(random.below(200) == 0)];
            spend.tx.inputs.push(TxIn { prevout, script_sig, sequence, witness });
            spend.spent.push(spend.spent[0].clone());
        }
        // A version is signed in one crate and not in the other, and the bytes are the same.
        let mut theirs = SighashCache::new(deserialize(&spend.tx.encode()).unwrap());
        spend.with(|context| {
            let all = if count == 0 { index..index + 1 } else { 0..spend.spent.len() };
            for index in all {
                compare_sighashes(context, &mut theirs, index, random);
            }
        });
    }
}
