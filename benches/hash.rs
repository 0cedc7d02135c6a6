//! Merkle roots and hashes of many messages, beside `sha2`.

#![allow(missing_docs, reason = "criterion's macros make public items")]

use std::hint::black_box;

use caesure_benches::{block, compare};
use caesure_hash::{merkle_root, sha256, sha256_backend, sha256d_many};
use caesure_wire::Block;
use criterion::{Criterion, criterion_group, criterion_main};
use sha2::{Digest, Sha256};

fn merkle(criterion: &mut Criterion) {
    eprintln!("on {}", sha256_backend());
    let leaves: Vec<[u8; 32]> = (0..9_001_u32).map(|n| sha256(&n.to_le_bytes())).collect();
    let plain = || {
        let mut nodes = leaves.clone();
        while 1 < nodes.len() {
            let node = |pair: &[[u8; 32]]| {
                let pair = [pair[0], pair[pair.len() - 1]];
                Sha256::digest(Sha256::digest(pair.as_flattened())).into()
            };
            nodes = nodes.chunks(2).map(node).collect();
        }
        nodes
    };
    assert_eq!(plain()[0], merkle_root(leaves.clone()).0);
    let ours = || merkle_root(black_box(&leaves).clone());
    compare(criterion, "merkle root of 9,001", 1.54, ours, ("sha2", plain));
}

/// Hashes messages at once, beside one after the other.
fn many(criterion: &mut Criterion, name: &str, goal: f64, messages: &[[&[u8]; 3]]) {
    let ours = || {
        let mut hashes = vec![[0; 32]; messages.len()];
        sha256d_many(&mut hashes, |i| messages[i]);
        hashes
    };
    let plain = || {
        let one = |parts: &[&[u8]; 3]| {
            let mut hash = Sha256::new();
            parts.iter().for_each(|part| hash.update(part));
            <[u8; 32]>::from(Sha256::digest(hash.finalize()))
        };
        messages.iter().map(one).collect::<Vec<_>>()
    };
    assert_eq!(plain(), ours());
    compare(criterion, name, goal, ours, ("sha2", plain));
}

fn messages(criterion: &mut Criterion) {
    let (name, bytes) = block();
    let alike: Vec<[&[u8]; 3]> = bytes.chunks_exact(250).map(|chunk| [chunk, b"", b""]).collect();
    many(criterion, &format!("{} messages of 250 bytes", alike.len()), 2.0, &alike);
    let block = Block::parse(&bytes[..]).expect("the block decodes");
    let whole: Vec<[&[u8]; 3]> = block.txs().map(|tx| [tx.bytes(), b"", b""]).collect();
    many(criterion, &format!("transactions of block {name}"), 2.0, &whole);
    // As the ids of transactions with a witness are made: from a version, a middle and a lock time.
    let split = |parts: &[&'_ [u8]; 3]| {
        let (version, rest) = parts[0].split_at(4);
        let (middle, lock_time) = rest.split_at(rest.len() - 4);
        [version.to_vec(), middle.to_vec(), lock_time.to_vec()]
    };
    let split: Vec<[Vec<u8>; 3]> = whole.iter().map(split).collect();
    let split: Vec<[&[u8]; 3]> =
        split.iter().map(|parts| parts.each_ref().map(|p| &p[..])).collect();
    many(criterion, &format!("transactions of block {name} in three parts"), 2.0, &split);
    many(criterion, &format!("7 transactions of block {name}"), 1.0, &whole[1..8]);
}

criterion_group!(benches, merkle, messages);
criterion_main!(benches);
