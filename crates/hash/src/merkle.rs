use alloc::vec::Vec;

use crate::batch::sha256_each;
use crate::lanes::{Backends, Compress, START, Work, digest};

/// Returns the merkle root of `leaves` and whether a level has two equal nodes side by side.
///
/// An odd level is completed by its own last node, so that a list and the same list with its tail
/// repeated share one root; the flag tells the second apart (CVE-2012-2459). The root of no leaves
/// is zero. The levels are written over the leaves; nothing is allocated. Core: `ComputeMerkleRoot`.
#[must_use]
pub fn merkle_root(leaves: Vec<[u8; 32]>) -> ([u8; 32], bool) {
    root(Backends::best(), leaves)
}

fn root(backends: Backends, mut nodes: Vec<[u8; 32]>) -> ([u8; 32], bool) {
    let mut is_mutated = false;
    while let [_, .., last] = nodes[..] {
        is_mutated |= nodes.as_chunks().0.iter().any(|[left, right]| left == right);
        let count = nodes.len().div_ceil(2);
        backends.run(&mut Pairs { nodes: &mut nodes, done: 0, last: [last, last] });
        nodes.truncate(count);
        sha256_each(backends, &mut nodes);
    }
    (nodes.first().copied().unwrap_or_default(), is_mutated)
}

/// A level of a tree, each pair hashed once and written where the next level's node will be.
struct Pairs<'n> {
    nodes: &'n mut [[u8; 32]],
    done: usize,
    /// The pair that completes an odd level.
    last: [[u8; 32]; 2],
}

impl Work for Pairs<'_> {
    fn run<const N: usize>(&mut self, compress: Compress<N>, least: usize) {
        let mut padding = [0; 64];
        padding[0] = 0x80;
        padding[62..].copy_from_slice(&512_u16.to_be_bytes());
        let count = self.nodes.len().div_ceil(2);
        while least <= count - self.done {
            let last = self.last.as_flattened().as_chunks().0;
            let pairs = self.nodes.as_flattened().as_chunks().0;
            let mut blocks = pairs[self.done..].iter().chain(last);
            let blocks = core::array::from_fn(|_| blocks.next().unwrap_or(&padding));
            let mut state = START.map(|word| [word; N]);
            compress(&mut state, &blocks);
            compress(&mut state, &[&padding; N]);
            let end = count.min(self.done + N);
            for (lane, node) in self.nodes[self.done..end].iter_mut().enumerate() {
                *node = digest(&state, lane);
            }
            self.done = end;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sha256d;

    /// The root by definition, one node after the other, and the flag.
    fn plain_root(mut nodes: Vec<[u8; 32]>) -> ([u8; 32], bool) {
        let mut is_mutated = false;
        while 1 < nodes.len() {
            is_mutated |= nodes.chunks_exact(2).any(|pair| pair[0] == pair[1]);
            nodes = nodes
                .chunks(2)
                .map(|pair| sha256d([pair[0], pair[pair.len() - 1]].as_flattened()))
                .collect();
        }
        (nodes.first().copied().unwrap_or_default(), is_mutated)
    }

    fn leaves(count: u32) -> Vec<[u8; 32]> {
        (0..count).map(|n| sha256d(&n.to_le_bytes())).collect()
    }

    #[test]
    fn small_trees_by_hand() {
        let [a, b, c] = [[1; 32], [2; 32], [3; 32]];
        let pair = |x: [u8; 32], y: [u8; 32]| sha256d([x, y].as_flattened());
        assert_eq!(merkle_root(Vec::new()), ([0; 32], false));
        assert_eq!(merkle_root(alloc::vec![a]), (a, false));
        assert_eq!(merkle_root(alloc::vec![a, b, c]), (pair(pair(a, b), pair(c, c)), false));
    }

    #[test]
    fn cve_2012_2459_repeated_tail_has_the_same_root_and_is_told_apart() {
        let [a, b, c] = [[1; 32], [2; 32], [3; 32]];
        let (root, _) = merkle_root(alloc::vec![a, b, c]);
        assert_eq!(merkle_root(alloc::vec![a, b, c, c]), (root, true));
    }

    #[test]
    fn cve_2012_2459_a_repeated_tail_of_any_tree_is_told_apart() {
        for count in 1..70_usize {
            // Completing a level repeats the last node that it has, a power of two of leaves.
            let leaves = leaves(u32::try_from(count).unwrap());
            let (root, is_mutated) = merkle_root(leaves.clone());
            assert!(!is_mutated);
            let tail = 1 << count.trailing_zeros();
            if tail < count {
                let repeated = [&leaves[..], &leaves[count - tail..]].concat();
                assert_eq!(merkle_root(repeated), (root, true), "{count}");
            }
        }
    }

    #[test]
    fn every_backend_agrees_with_the_definition() {
        for (name, backends) in Backends::each() {
            for count in (0..=140).chain([9_001]) {
                let leaves = leaves(count);
                assert_eq!(root(backends, leaves.clone()), plain_root(leaves), "{name}, {count}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_leaves_also_equal_ones_have_the_root_and_flag_of_the_definition(
            numbers in prop::collection::vec(0..40_u32, 0..100),
        ) {
            let leaves: Vec<_> = numbers.iter().map(|n| sha256d(&n.to_le_bytes())).collect();
            let expected = plain_root(leaves.clone());
            for (name, backends) in Backends::each() {
                prop_assert_eq!(root(backends, leaves.clone()), expected, "{}", name);
            }
        }
    }
}
