//! The crate `bitcoin` over the same bytes: the same acceptance and the same values.
//!
//! It differs from Bitcoin Core, whose `UnserializeTransaction` is the truth, in one thing: what an
//! empty list of inputs at the start means. Core takes a transaction with flag 0 for one without
//! inputs and outputs; `bitcoin` refuses it. Core refuses flag 1 with no inputs, since it has no
//! witness; `bitcoin` takes it, and writes transactions without inputs so.

use bitcoin::consensus::{deserialize, serialize};
use bitcoin::hashes::Hash;
use caesure_wire::{Block, DecodeError, Transaction, Tx, TxView, encode_block};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::{header, real_blocks, transaction};

/// What is done to bytes at a place.
#[derive(Clone, Debug)]
enum Damage {
    Flip(Index, u8),
    Set(Index, u8),
    Insert(Index, u8),
    Cut(Index),
    Remove(Index),
    Repeat(Index, Index),
}

fn damage() -> impl Strategy<Value = Damage> {
    let byte = prop_oneof![any::<u8>(), Just(0), Just(1), 0xfb..=0xff_u8];
    let at = any::<Index>;
    prop_oneof![
        (at(), 0..8_u8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        (at(), byte.clone()).prop_map(|(at, byte)| Damage::Set(at, byte)),
        (at(), byte).prop_map(|(at, byte)| Damage::Insert(at, byte)),
        at().prop_map(Damage::Cut),
        at().prop_map(Damage::Remove),
        (at(), at()).prop_map(|(from, to)| Damage::Repeat(from, to)),
    ]
}

fn apply(bytes: &mut Vec<u8>, damage: &Damage) {
    if bytes.is_empty() {
        return;
    }
    let len = bytes.len();
    match damage {
        Damage::Flip(at, bit) => bytes[at.index(len)] ^= 1 << bit,
        Damage::Set(at, byte) => bytes[at.index(len)] = *byte,
        Damage::Insert(at, byte) => bytes.insert(at.index(len), *byte),
        Damage::Cut(at) => bytes.truncate(at.index(len)),
        Damage::Remove(at) => drop(bytes.remove(at.index(len))),
        Damage::Repeat(from, to) => {
            let (from, to) = (from.index(len), to.index(len));
            let part = bytes[from.min(to)..from.max(to)].to_vec();
            bytes.splice(from.max(to)..from.max(to), part);
        }
    }
}

fn check_equal(ours: TxView<'_>, theirs: &bitcoin::Transaction) {
    assert_eq!(serialize(theirs), ours.bytes());
    assert_eq!(theirs.compute_txid().to_byte_array(), ours.txid().0);
    assert_eq!(theirs.compute_wtxid().to_byte_array(), ours.wtxid().0);
    assert_eq!(theirs.weight().to_wu(), ours.weight() as u64);
    assert_eq!((theirs.vsize(), theirs.total_size()), (ours.vsize(), ours.total_size()));
    assert_eq!(theirs.base_size(), ours.stripped_size());
    assert_eq!(theirs.version.0.cast_unsigned(), ours.version());
    assert_eq!(theirs.lock_time.to_consensus_u32(), ours.lock_time());
    assert_eq!(theirs.is_coinbase(), ours.is_coinbase());
    assert_eq!(
        (theirs.input.len(), theirs.output.len()),
        (ours.input_count(), ours.output_count())
    );
    for (index, input) in theirs.input.iter().enumerate() {
        let view = ours.input(index);
        assert_eq!(input.previous_output.to_string(), view.prevout.to_string());
        assert_eq!(input.script_sig.as_bytes(), view.script_sig);
        assert_eq!(input.sequence.0, view.sequence);
        assert!(input.witness.iter().eq(ours.witness(index)));
    }
    for (index, output) in theirs.output.iter().enumerate() {
        let view = ours.output(index);
        assert_eq!(output.value.to_sat().cast_signed(), view.value);
        assert_eq!(output.script_pubkey.as_bytes(), view.script_pubkey);
    }
}

/// Returns whether both took the bytes.
fn compare_tx(bytes: &[u8]) -> bool {
    match (Tx::parse(bytes), deserialize::<bitcoin::Transaction>(bytes)) {
        (Ok(ours), Ok(theirs)) => {
            check_equal(ours.view(), &theirs);
            return true;
        }
        (Ok(ours), Err(_)) => assert_eq!((bytes.len(), ours.view().input_count()), (10, 0)),
        (Err(error), Ok(theirs)) => {
            assert!(theirs.input.is_empty(), "{error}");
            assert!(matches!(error, DecodeError::SuperfluousWitness { .. }), "{error}");
        }
        (Err(_), Err(_)) => {}
    }
    false
}

fn compare_block(bytes: &[u8]) -> bool {
    match (Block::parse(bytes), deserialize::<bitcoin::Block>(bytes)) {
        (Ok(ours), Ok(theirs)) => {
            assert_eq!(serialize(&theirs.header), ours.header().to_bytes());
            assert_eq!(theirs.block_hash().to_string(), ours.hash().to_string());
            assert_eq!(theirs.weight().to_wu(), ours.weight() as u64);
            let root = theirs.compute_merkle_root().map_or([0; 32], |root| root.to_byte_array());
            assert_eq!(root, ours.merkle_root().0.0);
            let root = theirs.witness_root().map_or([0; 32], |root| root.to_byte_array());
            assert_eq!(root, ours.witness_merkle_root().0);
            assert_eq!(theirs.txdata.len(), ours.tx_count());
            ours.txs().zip(&theirs.txdata).for_each(|(ours, theirs)| check_equal(ours, theirs));
            return true;
        }
        (Ok(ours), Err(_)) => assert!(ours.txs().any(|tx| tx.input_count() == 0)),
        (Err(error), Ok(theirs)) => {
            assert!(theirs.txdata.iter().any(|tx| tx.input.is_empty()), "{error}");
            assert!(matches!(error, DecodeError::SuperfluousWitness { .. }), "{error}");
        }
        (Err(_), Err(_)) => {}
    }
    false
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn damaged_transactions_are_taken_or_refused_alike(tx in transaction(), damages in vec(damage(), 0..4)) {
        let mut bytes = tx.encode();
        damages.iter().for_each(|damage| apply(&mut bytes, damage));
        let is_equal = compare_tx(&bytes);
        prop_assert!(is_equal || !damages.is_empty());
    }

    #[test]
    fn damaged_blocks_are_taken_or_refused_alike(
        header in header(), txs in vec(transaction(), 1..4), damages in vec(damage(), 0..3),
    ) {
        let txs: Vec<Vec<u8>> = txs.iter().map(Transaction::encode).collect();
        let mut bytes = encode_block(&header, &txs);
        damages.iter().for_each(|damage| apply(&mut bytes, damage));
        let is_equal = compare_block(&bytes);
        prop_assert!(is_equal || !damages.is_empty());
    }

    /// Small bytes at the places of flag and counts, where most decisions are.
    #[test]
    fn any_bytes_are_taken_or_refused_alike(
        flag in 0..4_u8, marker in 0..2_u8, counts in vec(0..3_u8, 0..4), rest in vec(any::<u8>(), 0..90),
    ) {
        compare_tx(&[&[1, 0, 0, 0, marker, flag][..], &counts, &rest].concat());
        compare_tx(&rest);
        compare_block(&rest);
    }
}

#[test]
fn the_two_deviations_of_bitcoin_from_core_are_still_there() {
    let no_inputs = [1, 0, 0, 0, 0, 0, 5, 0, 0, 0];
    assert!(Tx::parse(no_inputs).is_ok());
    assert!(deserialize::<bitcoin::Transaction>(&no_inputs).is_err());
    let no_inputs_marked = [1, 0, 0, 0, 0, 1, 0, 0, 5, 0, 0, 0];
    let error = DecodeError::SuperfluousWitness { at: 8 };
    assert_eq!(Tx::parse(no_inputs_marked).unwrap_err(), error);
    assert!(deserialize::<bitcoin::Transaction>(&no_inputs_marked).is_ok());
}

#[test]
fn real_blocks_are_the_same() {
    for (name, bytes) in real_blocks() {
        assert!(compare_block(&bytes), "{name}");
    }
}

#[test]
fn real_transactions_with_any_byte_changed_are_taken_or_refused_alike() {
    let mut counts = [0; 2];
    for (_, bytes) in real_blocks() {
        let block = Block::parse(&bytes[..]).unwrap();
        for tx in block.txs().filter(|tx| tx.total_size() < 600).step_by(97) {
            for at in 0..tx.total_size() {
                for change in [0x01, 0x80, 0xff] {
                    let mut damaged = tx.bytes().to_vec();
                    damaged[at] ^= change;
                    counts[usize::from(compare_tx(&damaged))] += 1;
                }
                compare_tx(&tx.bytes()[..at]);
            }
        }
    }
    println!("{} refused, {} taken", counts[0], counts[1]);
}
