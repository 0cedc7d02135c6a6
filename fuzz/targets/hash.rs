#![cfg_attr(fuzzing, no_main)]
//! Many messages at once have the hashes that each has alone, and a tree the root by its definition.

use caesure_hash::{merkle_root, sha256d, sha256d_many, siphash24};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // The first bytes are lengths of parts; every message is cut out of the whole input.
    let count = data.len().min(96);
    let part = |i: usize| {
        let rest = &data[i % 7 % count..];
        &rest[..rest.len().min(9 * usize::from(data[i]))]
    };
    let messages: Vec<[&[u8]; 3]> =
        (0..count / 3).map(|i| [3 * i, 3 * i + 1, 3 * i + 2].map(part)).collect();
    let mut hashes = vec![[0; 32]; messages.len()];
    sha256d_many(&mut hashes, |i| messages[i]);
    for (hash, parts) in hashes.iter().zip(&messages) {
        assert_eq!(*hash, sha256d(&parts.concat()));
    }
    // Bytes as leaves, so that equal ones come together.
    let leaves: Vec<[u8; 32]> = data.iter().take(600).map(|byte| [byte & 15; 32]).collect();
    let (mut nodes, mut is_mutated) = (leaves.clone(), false);
    while 1 < nodes.len() {
        is_mutated |= nodes.chunks_exact(2).any(|pair| pair[0] == pair[1]);
        let node = |pair: &[[u8; 32]]| sha256d(&[pair[0], pair[pair.len() - 1]].concat());
        nodes = nodes.chunks(2).map(node).collect();
    }
    assert_eq!(merkle_root(leaves), (nodes.first().copied().unwrap_or_default(), is_mutated));
    let _ = siphash24(0, 1, data);
});

#[cfg(not(fuzzing))]
fn main() {}
