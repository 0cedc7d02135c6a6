//! Where test data comes from, and the text forms that Bitcoin Core's vectors use.
#![allow(dead_code, unused_imports, reason = "each test program uses a part")]
#![allow(clippy::missing_panics_doc, reason = "a panic is how a test fails")]
#![allow(clippy::print_stdout, reason = "a test says what it leaves out")]

#[path = "../../../text/tests/support/core_text.rs"]
mod core_text;
mod outside;

use std::collections::BTreeMap;

use caesure_script::{Flags, ScriptError, TxContext, tap_leaf_hash, tap_tweak_hash};
use caesure_text::hex;
use caesure_wire::{OutPoint, OutputView, Reader, Transaction, Tx, TxIn, TxOut, Txid};
pub(crate) use core_text::core_text;
pub(crate) use outside::outside as outside_data;
use secp256k1::{Keypair, Scalar, SecretKey, XOnlyPublicKey};
use serde_json::Value;

/// Reads an array of Core's test vectors, comments left out.
pub(crate) fn core_vectors(name: &str) -> Vec<Vec<Value>> {
    let vectors: Vec<Vec<Value>> =
        serde_json::from_str(&core_text(&format!("data/{name}"))).expect("an array of arrays");
    vectors.into_iter().filter(|vector| 1 < vector.len()).collect()
}

pub(crate) fn bytes(digits: &str) -> Vec<u8> {
    hex::decode(digits).unwrap_or_else(|error| panic!("{digits}: {error}"))
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

/// Assembles the form in Core's vectors.
pub(crate) fn assemble(words: &str) -> Vec<u8> {
    caesure_script::assemble(words).unwrap_or_else(|error| panic!("{words}: {error}"))
}

/// A transaction as owned bytes with what its inputs spend.
#[derive(Clone, Debug)]
pub(crate) struct Spend {
    pub(crate) tx: Transaction,
    pub(crate) spent: Vec<TxOut>,
}

impl Spend {
    /// Spends an output as Core's script tests do: a crediting transaction, and one that spends it.
    pub(crate) fn of(
        script_sig: Vec<u8>,
        script_pubkey: Vec<u8>,
        witness: Vec<Vec<u8>>,
        value: i64,
    ) -> Self {
        let credit = Transaction {
            version: 1,
            inputs: vec![TxIn {
                prevout: OutPoint::NULL,
                script_sig: vec![0, 0],
                sequence: u32::MAX,
                witness: vec![],
            }],
            outputs: vec![TxOut { value, script_pubkey: script_pubkey.clone() }],
            lock_time: 0,
        };
        let prevout = OutPoint { txid: credit.txid(), vout: 0 };
        let tx = Transaction {
            version: 1,
            inputs: vec![TxIn { prevout, script_sig, sequence: u32::MAX, witness }],
            outputs: vec![TxOut { value, script_pubkey: vec![] }],
            lock_time: 0,
        };
        Self { tx, spent: vec![TxOut { value, script_pubkey }] }
    }

    /// Hands the prepared transaction to `f`.
    pub(crate) fn with<R>(&self, f: impl FnOnce(&TxContext<'_>) -> R) -> R {
        with_context(&self.tx.encode(), &self.spent, f)
    }

    /// Verifies one input.
    pub(crate) fn verify(&self, index: usize, flags: Flags) -> Result<(), ScriptError> {
        self.with(|context| context.verify_input(index, flags))
    }
}

pub(crate) fn with_context<R>(
    tx: &[u8],
    spent: &[TxOut],
    f: impl FnOnce(&TxContext<'_>) -> R,
) -> R {
    let parsed = Tx::parse(tx).expect("a transaction");
    let spent: Vec<_> = spent
        .iter()
        .map(|output| OutputView { value: output.value, script_pubkey: &output.script_pubkey })
        .collect();
    f(&TxContext::new(parsed.view(), &spent))
}

/// Runs two scripts without a witness and gives Core's name of the result.
pub(crate) fn run(script_sig: &str, script_pubkey: &str, flags: Flags) -> Result<(), ScriptError> {
    Spend::of(assemble(script_sig), assemble(script_pubkey), vec![], 0).verify(0, flags)
}

/// The key that Core's generated taproot script tests use: the secret key is the number one.
pub(crate) fn key_of_core() -> XOnlyPublicKey {
    let mut secret = [0; 32];
    secret[31] = 1;
    let pair = Keypair::from_secret_key(&SecretKey::from_secret_bytes(secret).unwrap());
    pair.x_only_public_key().0
}

/// The control block and output key of a tree of one leaf.
pub(crate) fn one_leaf(script: &[u8]) -> (Vec<u8>, [u8; 32]) {
    let internal = key_of_core().to_byte_array();
    let tweak = tap_tweak_hash(internal, Some(tap_leaf_hash(0xc0, script)));
    let tweak = Scalar::from_be_bytes(tweak).unwrap();
    let (output, parity) = key_of_core().add_tweak(&tweak).unwrap();
    let mut control = vec![0xc0 | parity.to_u8()];
    control.extend(internal);
    (control, output.to_byte_array())
}

/// Satoshi from a decimal number of coins.
pub(crate) fn satoshi(coins: &Value) -> i64 {
    format!("{:.0}", coins.as_f64().unwrap() * 1e8).parse().unwrap()
}

pub(crate) fn script_test(vector: &[Value]) -> (Spend, Flags, Result<(), ScriptError>) {
    let mut witness: Vec<Vec<u8>> = Vec::new();
    let mut value = 0;
    let mut output_key = [0; 32];
    let mut rest = vector;
    if let [Value::Array(items), tail @ ..] = vector {
        let (coins, items) = items.split_last().unwrap();
        value = satoshi(coins);
        for item in items {
            witness.push(match text(item) {
                "#CONTROLBLOCK#" => {
                    let (control, key) = one_leaf(witness.last().unwrap());
                    output_key = key;
                    control
                }
                item => match item.strip_prefix("#SCRIPT#") {
                    Some(script) => assemble(script),
                    None => bytes(item),
                },
            });
        }
        rest = tail;
    }
    let script_pubkey = match text(&rest[1]) {
        "0x51 0x20 #TAPROOTOUTPUT#" => [&[0x51, 0x20][..], &output_key].concat(),
        words => assemble(words),
    };
    let flags = Flags::from_names(text(&rest[2])).unwrap();
    let flags = if flags.contains(Flags::CLEANSTACK) {
        flags | Flags::P2SH | Flags::WITNESS
    } else {
        flags
    };
    let expected = match text(&rest[3]) {
        "OK" => Ok(()),
        name => Err(*ScriptError::ALL.iter().find(|error| error.name() == name).expect(name)),
    };
    (Spend::of(assemble(text(&rest[0])), script_pubkey, witness, value), flags, expected)
}

pub(crate) struct TxTest {
    pub(crate) bytes: Vec<u8>,
    pub(crate) spent: BTreeMap<OutPoint, TxOut>,
    pub(crate) flags: String,
}

pub(crate) fn tx_tests(name: &str) -> Vec<TxTest> {
    let vectors = core_vectors(name).into_iter().filter(|vector| vector[0].is_array());
    let output = |input: &Value| {
        let txid: Txid = text(&input[0]).parse().unwrap();
        let vout = input[1].as_i64().unwrap() & 0xffff_ffff;
        let prevout = OutPoint { txid, vout: u32::try_from(vout).unwrap() };
        let value = input.get(3).map_or(0, |value| value.as_i64().unwrap());
        (prevout, TxOut { value, script_pubkey: assemble(text(&input[2])) })
    };
    let test = |vector: Vec<Value>| TxTest {
        bytes: bytes(text(&vector[1])),
        spent: vector[0].as_array().unwrap().iter().map(output).collect(),
        flags: text(&vector[2]).to_owned(),
    };
    vectors.map(test).collect()
}

impl TxTest {
    pub(crate) fn spend(&self) -> Spend {
        let tx = Tx::parse(&self.bytes[..]).unwrap().view().to_owned();
        let spent = tx.inputs.iter().map(|input| self.spent[&input.prevout].clone()).collect();
        Spend { tx, spent }
    }
}

/// Reads outputs one after the other until the bytes end, as undo data of some nodes has them.
pub(crate) fn outputs(bytes: &[u8]) -> Vec<TxOut> {
    let mut reader = Reader::new(bytes);
    let mut outputs = Vec::new();
    while !reader.is_empty() {
        let value = reader.i64().expect("a value");
        outputs
            .push(TxOut { value, script_pubkey: reader.sized_bytes().expect("a script").to_vec() });
    }
    outputs
}

/// A small generator with a seed (SplitMix64).
#[derive(Clone, Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % (end as u64)).expect("below a usize")
    }

    pub(crate) fn bytes(&mut self, size: usize) -> Vec<u8> {
        (0..size).map(|_| self.next().to_le_bytes()[0]).collect()
    }
}
