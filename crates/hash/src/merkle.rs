use alloc::vec::Vec;

use crate::sha256d;

/// Returns the merkle root of `leaves` and whether a level has two equal nodes side by side.
///
/// An odd level is completed by its own last node, so that a list and the same list with its tail
/// repeated share one root; the flag tells the second apart (CVE-2012-2459). The root of no leaves
/// is zero. Core: `ComputeMerkleRoot`.
#[must_use]
pub fn merkle_root(mut leaves: Vec<[u8; 32]>) -> ([u8; 32], bool) {
    let mut is_mutated = false;
    while 1 < leaves.len() {
        is_mutated |= leaves.chunks_exact(2).any(|pair| pair[0] == pair[1]);
        for i in 0..leaves.len().div_ceil(2) {
            let left = leaves[2 * i];
            let right = leaves.get(2 * i + 1).copied().unwrap_or(left);
            leaves[i] = sha256d([left, right].as_flattened());
        }
        leaves.truncate(leaves.len().div_ceil(2));
    }
    (leaves.first().copied().unwrap_or_default(), is_mutated)
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
