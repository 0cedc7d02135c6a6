#![cfg_attr(fuzzing, no_main)]
//! The rules on transactions and blocks judge whatever decodes. The header is made to fit, so that
//! the rules behind work and merkle root are reached.

use caesure_consensus::{
    BlockContext, Coin, HeaderTree, Network, Params, check_block, check_block_context,
    check_transaction, connect_block, is_block_mutated, is_final, legacy_sigop_count,
};
use caesure_hash::merkle_root;
use caesure_wire::{Block, Header, MerkleRoot, Tx, encode_block};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(tx) = Tx::parse(data) {
        let is_sound = check_transaction(tx.view()).is_ok();
        assert!(!is_sound || tx.view().input_count() != 0 && tx.view().output_count() != 0);
        let (low, high) = (is_final(tx.view(), 0, 0), is_final(tx.view(), u32::MAX, u32::MAX));
        assert!(high || !low || tx.view().lock_time() == u32::MAX);
        assert!(legacy_sigop_count(tx.view()) <= 20 * data.len());
    }
    let params = Params::new(Network::Regtest);
    // What follows a count of transactions, as a block on block 0.
    let Ok(draft) = Block::parse([&[0; Header::SIZE], data].concat()) else { return };
    let txs: Vec<&[u8]> = draft.txs().map(|tx| tx.bytes()).collect();
    let (root, _) = merkle_root(draft.txs().map(|tx| tx.txid().0).collect());
    let mut tree = HeaderTree::new(&params);
    let mut header = Header {
        version: 4,
        prev_block: params.genesis_hash,
        merkle_root: MerkleRoot(root),
        time: params.genesis.time + 1,
        bits: params.genesis.bits,
        nonce: 0,
    };
    while 0x7f < header.hash().0[31] {
        header.nonce += 1;
    }
    let id = tree.accept(&header, header.time).expect("it keeps all rules on headers");
    let block = Block::parse(encode_block(&header, &txs)).expect("it was parsed before");
    let verdict = check_block(&block, &params);
    let _ = is_block_mutated(&block, true);
    let context = BlockContext::new(&params, &tree, id);
    let wtxids = verdict.and_then(|txids| check_block_context(&block, &context, &txids));
    let Ok(wtxids) = wtxids else { return };
    assert_eq!(wtxids, block.wtxids());
    assert!(!is_block_mutated(&block, context.has_segwit));
    let coin = Coin { value: 1, height: 0, is_coinbase: false, script_pubkey: [0x51][..].into() };
    let prevouts = vec![Some(coin); block.input_count()];
    let _ = connect_block(&block, &context, &params, &tree, &prevouts, false);
    let _ = connect_block(&block, &context, &params, &tree, &vec![None; block.input_count()], true);
});

#[cfg(not(fuzzing))]
fn main() {}
