//! Asserts that the fuzz targets share.
//!
//! Run one by `cargo fuzz run --sanitizer none TARGET -- -max_total_time=60`; the code under test has
//! no unsafe memory access but for mapped files and the lanes of `hash`, so that stable Rust and no
//! sanitizer will do. A plain `cargo check` compiles all targets with an empty `main`.

use caesure_script::{Flags, sigop_count, witness_sigop_count};
use caesure_wire::{Header, MerkleRoot, OutPoint, Transaction, TxIn, TxOut, TxView, encode_block};

/// Looks at every part of a transaction that decoded, and builds it anew.
pub fn check_tx(tx: TxView<'_>) {
    let owned = tx.to_owned();
    if tx.has_witness() || 0 < tx.input_count() {
        assert_eq!(owned.encode(), tx.bytes());
        assert_eq!(owned.encode_stripped().len(), tx.stripped_size());
        assert_eq!(owned.txid(), tx.txid());
    }
    assert_eq!(tx.total_size(), tx.bytes().len());
    assert_eq!(tx.weight(), 3 * tx.stripped_size() + tx.total_size());
    assert_eq!(tx.has_witness(), tx.txid().0 != tx.wtxid().0);
    assert_eq!(tx.is_coinbase(), is_coinbase(&owned));
    for (index, input) in tx.inputs().enumerate() {
        let witness = tx.witness(index);
        assert!(
            witness_sigop_count(input.script_sig, input.script_sig, witness.clone()) <= 200_000
        );
        assert_eq!(witness.count(), owned.inputs[index].witness.len());
    }
    for (index, output) in tx.outputs().enumerate() {
        assert_eq!(output.to_owned(), owned.outputs[index]);
        assert!(tx.output_bytes(index).ends_with(output.script_pubkey));
        assert!(
            sigop_count(output.script_pubkey, true) <= sigop_count(output.script_pubkey, false)
        );
    }
}

fn is_coinbase(tx: &Transaction) -> bool {
    matches!(&tx.inputs[..], [input] if input.prevout == OutPoint::NULL)
}

/// Takes flags from a number, with those added that others want.
pub fn flags(bits: u32) -> Flags {
    let mut flags = Flags(bits & 0x1f_ffff);
    if flags.intersects(Flags::CLEANSTACK | Flags::TAPROOT) {
        flags = flags | Flags::WITNESS;
    }
    if flags.contains(Flags::WITNESS) {
        flags = flags | Flags::P2SH;
    }
    flags
}

/// A block that meets the easiest target.
pub fn new_block(number: u8) -> (Vec<u8>, Header) {
    let script_sig = vec![1, number];
    let coinbase = Transaction {
        version: 1,
        inputs: vec![TxIn { prevout: OutPoint::NULL, script_sig, ..TxIn::default() }],
        outputs: vec![TxOut { value: 1, script_pubkey: vec![0x51] }],
        lock_time: 0,
    };
    let merkle_root = MerkleRoot(coinbase.txid().0);
    let mut header = Header { bits: 0x207f_ffff, merkle_root, ..Header::default() };
    while 0x7f < header.hash().0[31] {
        header.nonce += 1;
    }
    (encode_block(&header, &[coinbase.encode()]), header)
}
