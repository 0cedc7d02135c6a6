//! Blocks for regtest, made by hand: what tests of other crates build their chains from.

use caesure_consensus::Target;
use caesure_hash::{merkle_root, sha256d};
use caesure_script::{opcode::OP_RETURN, push_int, push_slice};
use caesure_wire::{
    BlockHash, Header, MerkleRoot, Transaction, Tx, TxIn, TxOut, TxView, encode_block,
};

/// Regtest's only target, in compact form.
pub const BITS: u32 = 0x207f_ffff;

/// Returns a coinbase for a block at `height`. Coinbases that differ in `tag` differ in their id.
///
/// Spec: BIP-0034. Core: `"bad-cb-height"`, `"bad-cb-length"`.
#[must_use]
pub fn coinbase(height: u32, tag: u32, outputs: Vec<TxOut>) -> Transaction {
    let mut script_sig = Vec::new();
    push_int(&mut script_sig, height.into());
    push_slice(&mut script_sig, &tag.to_le_bytes());
    let input = TxIn { script_sig, sequence: u32::MAX, ..TxIn::default() };
    Transaction { version: 2, inputs: vec![input], outputs, lock_time: 0 }
}

/// Returns a solved block on `prev`. `txs` are whole serializations, without the coinbase; when one
/// of them has a witness, the commitment is added to the coinbase. Nothing else is checked.
///
/// Spec: BIP-0141.
///
/// # Panics
/// When one of `txs` is not a transaction.
#[must_use]
pub fn mine_block(
    prev: BlockHash,
    time: u32,
    mut coinbase: Transaction,
    txs: &[Vec<u8>],
) -> Vec<u8> {
    let parsed: Result<Vec<_>, _> = txs.iter().map(Tx::parse).collect();
    let parsed = parsed.expect("the caller gives transactions");
    let root_with = |id: [u8; 32], id_of: fn(TxView<'_>) -> [u8; 32]| {
        merkle_root([id].into_iter().chain(parsed.iter().map(|tx| id_of(tx.view()))).collect()).0
    };
    if parsed.iter().any(|tx| tx.view().has_witness()) {
        let root = root_with([0; 32], |tx| tx.wtxid().0);
        let mut script_pubkey = vec![OP_RETURN, 36, 0xaa, 0x21, 0xa9, 0xed];
        script_pubkey.extend(sha256d([root, [0; 32]].as_flattened()));
        coinbase.outputs.push(TxOut { value: 0, script_pubkey });
        coinbase.inputs[0].witness = vec![vec![0; 32]];
    }
    let mut header = Header {
        version: 0x2000_0000,
        prev_block: prev,
        merkle_root: MerkleRoot(root_with(coinbase.txid().0, |tx| tx.txid().0)),
        time,
        bits: BITS,
        nonce: 0,
    };
    solve(&mut header);
    encode_block(&header, &[&[coinbase.encode()], txs].concat())
}

/// Sets the nonce to the first one, from the present one on, with which the header's hash meets the
/// target that the header names. With regtest's that takes two tries on average.
///
/// # Panics
/// When the header's bits are no target.
pub fn solve(header: &mut Header) {
    let target = Target::from_compact(header.bits).expect("the caller gives a target");
    while !target.is_met_by(&header.hash()) {
        header.nonce = header.nonce.wrapping_add(1);
    }
}
