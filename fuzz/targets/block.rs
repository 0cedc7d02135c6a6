#![cfg_attr(fuzzing, no_main)]
//! Any bytes are a block that encodes to the same bytes, or an error.

use caesure_wire::{Block, Header, encode_block};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let whole = Block::parse(data);
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
});

#[cfg(not(fuzzing))]
fn main() {}
