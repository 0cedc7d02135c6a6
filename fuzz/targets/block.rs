#![cfg_attr(fuzzing, no_main)]
//! Any bytes are a block that encodes to the same bytes, or an error; a view and a visit agree.

use caesure_hash::merkle_root;
use caesure_wire::{Block, Header, Part, TxView, encode_block, visit_block};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let whole = Block::parse(data);
    let mut counts = [0; 4];
    let visited = visit_block(data, |part| match part {
        Part::Input(_) => counts[0] += 1,
        Part::Output(_) => counts[1] += 1,
        Part::Witness(witness) => counts[2] += witness.count(),
        Part::Tx(_) => counts[3] += 1,
    });
    assert_eq!(visited, whole.as_ref().map(|block| *block.header()).map_err(|error| *error));
    let Ok((block, rest)) = Block::parse_prefix(data) else {
        assert!(whole.is_err());
        return;
    };
    assert_eq!(whole.is_ok(), rest.is_empty());
    assert_eq!([block.bytes(), rest].concat(), data);
    assert_eq!(block.bytes()[..Header::SIZE], block.header().to_bytes());
    assert_eq!(block.hash(), block.header().hash());
    let txs: Vec<&[u8]> = block.txs().map(|tx| tx.bytes()).collect();
    assert_eq!(encode_block(block.header(), &txs), block.bytes());
    assert_eq!(block.tx_count(), txs.len());
    assert_eq!(block.input_count(), block.txs().map(|tx| tx.input_count()).sum::<usize>());
    assert_eq!(block.output_count(), block.txs().map(|tx| tx.output_count()).sum::<usize>());
    assert_eq!(block.weight(), 3 * block.stripped_size() + block.bytes().len());
    block.txs().for_each(caesure_fuzz::check_tx);
    let txids: Vec<[u8; 32]> = block.txs().map(|tx| tx.txid().0).collect();
    assert!(block.txids().iter().map(|txid| txid.0).eq(txids.iter().copied()));
    let (root, is_mutated) = merkle_root(txids);
    assert_eq!((block.merkle_root().0.0, block.merkle_root().1), (root, is_mutated));
    let mut wtxids: Vec<[u8; 32]> = block.txs().map(|tx| tx.wtxid().0).collect();
    assert!(block.wtxids().iter().map(|wtxid| wtxid.0).eq(wtxids.iter().copied()));
    wtxids.iter_mut().take(1).for_each(|coinbase| *coinbase = [0; 32]);
    assert_eq!(block.witness_merkle_root().0, merkle_root(wtxids).0);
    if rest.is_empty() {
        let witnesses =
            |tx: TxView<'_>| (0..tx.input_count()).map(|i| tx.witness(i).len()).sum::<usize>();
        let items = block.txs().map(witnesses).sum();
        assert_eq!(counts, [block.input_count(), block.output_count(), items, block.tx_count()]);
    }
});

#[cfg(not(fuzzing))]
fn main() {}
