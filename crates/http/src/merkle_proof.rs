//! Proofs that transactions are in a block. Core: `merkleblock.cpp`. Spec: BIP-0037.

use caesure_hash::sha256d;
use caesure_wire::{DecodeError, MerkleRoot, Reader, Txid, push_compact_size};

/// A block has no more transactions: each takes 60 bytes at least.
const MAX_TXS: u32 = 4_000_000 / 4 / 60;

/// The part of a block's merkle tree that leads to some transactions: the tree is walked from the
/// root, a bit says whether a node has one of them below it, and if not its hash is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MerkleProof {
    txs: u32,
    hashes: Vec<[u8; 32]>,
    bits: Vec<bool>,
}

/// How many nodes a level has, counted from the leaves.
const fn width(txs: u32, height: u32) -> u32 {
    (txs + (1 << height) - 1) >> height
}

fn height_of(txs: u32) -> u32 {
    (0..32).find(|height| width(txs, *height) <= 1).unwrap_or(0)
}

impl MerkleProof {
    /// Makes a proof from all transactions of a block.
    pub(crate) fn new(txids: &[Txid], is_wanted: impl Fn(&Txid) -> bool) -> Self {
        let txs = u32::try_from(txids.len()).expect("a block has under 2^32 transactions");
        // Each level with what is wanted below its nodes, leaves first.
        let mut levels = vec![txids.iter().map(|txid| (txid.0, is_wanted(txid))).collect()];
        for _ in 0..height_of(txs) {
            let level: &Vec<([u8; 32], bool)> = levels.last().expect("there are the leaves");
            let pair = |pair: &[([u8; 32], bool)]| {
                let (left, right) = (pair[0], pair[pair.len() - 1]);
                (sha256d([left.0, right.0].as_flattened()), left.1 | right.1)
            };
            levels.push(level.chunks(2).map(pair).collect());
        }
        let mut proof = Self { txs, hashes: Vec::new(), bits: Vec::new() };
        proof.push(&levels, levels.len() - 1, 0);
        proof
    }

    fn push(&mut self, levels: &[Vec<([u8; 32], bool)>], height: usize, index: usize) {
        let (hash, is_wanted) = levels[height][index];
        self.bits.push(is_wanted);
        if height == 0 || !is_wanted {
            self.hashes.push(hash);
            return;
        }
        self.push(levels, height - 1, 2 * index);
        if 2 * index + 1 < levels[height - 1].len() {
            self.push(levels, height - 1, 2 * index + 1);
        }
    }

    /// Returns how many transactions the block is said to have.
    pub(crate) const fn tx_count(&self) -> usize {
        self.txs as usize
    }

    /// Returns the root and the transactions that are shown to be below it; none when the proof is
    /// not sound. Core: `ExtractMatches`.
    pub(crate) fn matches(&self) -> Option<(MerkleRoot, Vec<Txid>)> {
        let is_possible = 0 < self.txs
            && self.txs <= MAX_TXS
            && self.hashes.len() <= self.tx_count()
            && self.hashes.len() <= self.bits.len();
        if !is_possible {
            return None;
        }
        let mut walk = Walk { proof: self, bits: 0, hashes: 0, found: Vec::new() };
        let root = walk.node(height_of(self.txs), 0)?;
        let is_whole = walk.bits.div_ceil(8) == self.bits.len().div_ceil(8)
            && walk.hashes == self.hashes.len();
        is_whole.then_some((MerkleRoot(root), walk.found))
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::from(self.txs.to_le_bytes());
        push_compact_size(&mut out, self.hashes.len());
        out.extend_from_slice(self.hashes.as_flattened());
        push_compact_size(&mut out, self.bits.len().div_ceil(8));
        for eight in self.bits.chunks(8) {
            let bits = eight.iter().enumerate();
            out.push(bits.fold(0, |byte, (at, bit)| byte | u8::from(*bit) << at));
        }
        out
    }

    /// Reads a proof; what follows it is left, as by Core.
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let txs = reader.u32()?;
        let mut hashes = Vec::new();
        for _ in 0..reader.compact_size()? {
            hashes.push(reader.array()?);
        }
        let bytes = reader.sized_bytes()?;
        let bits = bytes.iter().flat_map(|byte| (0..8).map(move |at| byte >> at & 1 == 1));
        Ok(Self { txs, hashes, bits: bits.collect() })
    }
}

/// How far a proof was walked.
struct Walk<'a> {
    proof: &'a MerkleProof,
    bits: usize,
    hashes: usize,
    found: Vec<Txid>,
}

impl Walk<'_> {
    fn node(&mut self, height: u32, index: u32) -> Option<[u8; 32]> {
        let is_wanted = *self.proof.bits.get(self.bits)?;
        self.bits += 1;
        if height == 0 || !is_wanted {
            let hash = *self.proof.hashes.get(self.hashes)?;
            self.hashes += 1;
            if height == 0 && is_wanted {
                self.found.push(Txid(hash));
            }
            return Some(hash);
        }
        let left = self.node(height - 1, 2 * index)?;
        let right = if 2 * index + 1 < width(self.proof.txs, height - 1) {
            let right = self.node(height - 1, 2 * index + 1)?;
            // Two equal nodes could hide repeated transactions (CVE-2012-2459).
            (left != right).then_some(right)?
        } else {
            left
        };
        Some(sha256d([left, right].as_flattened()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use caesure_hash::merkle_root;
    use proptest::prelude::*;

    fn txids(count: u32) -> Vec<Txid> {
        (0..count).map(|n| Txid(sha256d(&n.to_le_bytes()))).collect()
    }

    proptest! {
        #[test]
        fn a_proof_shows_what_it_was_made_for_and_no_damage_passes(
            count in 1_u32..60, wanted: u64, flip in 0_usize..4_000,
        ) {
            let all = txids(count);
            let is_wanted = |txid: &Txid| {
                let index = all.iter().position(|it| it == txid).unwrap();
                wanted >> (index % 64) & 1 == 1
            };
            let proof = MerkleProof::new(&all, is_wanted);
            let mut bytes = proof.to_bytes();
            let again = MerkleProof::read(&mut Reader::new(&bytes)).unwrap();
            let (root, found) = again.matches().unwrap();
            let expected = merkle_root(all.iter().map(|txid| txid.0).collect()).0;
            prop_assert_eq!(root.0, expected);
            let chosen: Vec<Txid> = all.iter().copied().filter(is_wanted).collect();
            prop_assert_eq!(&found, &chosen);

            let at = flip % (bytes.len() * 8);
            bytes[at / 8] ^= 1 << (at % 8);
            let damaged = MerkleProof::read(&mut Reader::new(&bytes)).ok();
            if let Some((root, found)) = damaged.as_ref().and_then(MerkleProof::matches) {
                // Padding bits, the number of transactions, which the caller compares, and whether
                // a leaf is wanted, can change without the root; what is shown is in the block.
                let is_in = found.iter().all(|txid| all.contains(txid));
                let count = damaged.unwrap().tx_count();
                prop_assert!(root.0 != expected || is_in || count != all.len());
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(proof) = MerkleProof::read(&mut Reader::new(&bytes)) {
                let _ = proof.matches();
            }
        }
    }

    #[test]
    fn cve_2012_2459_equal_nodes_are_refused() {
        let all = txids(3);
        let all = [&all[..], &all[2..]].concat();
        let proof = MerkleProof::new(&all, |txid| *txid == all[0]);
        assert!(proof.matches().is_some());
        let proof = MerkleProof::new(&all, |txid| *txid == all[2]);
        assert_eq!(proof.matches(), None);
    }
}
