//! Merkle roots and hashes, beside `sha2`.

#![allow(missing_docs, reason = "criterion's macros make public items")]

use std::hint::black_box;

use caesure_benches::compare;
use caesure_hash::{merkle_root, sha256};
use criterion::{Criterion, criterion_group, criterion_main};
use sha2::{Digest, Sha256};

fn merkle(criterion: &mut Criterion) {
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

criterion_group!(benches, merkle);
criterion_main!(benches);
