use std::collections::BTreeMap;
use std::iter::successors;

use byteorder::{ByteOrder, LittleEndian};
use caesure_wire::{BlockHash, Header};
use hashbrown::HashTable;

/// The number of a block that is none, and the height of one that is not known.
pub(crate) const NONE: u32 = u32::MAX;

/// How the chain with the most work changed with a block. Of chains with the same work, the one that
/// was complete first is the best.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The block is the best chain's new tip, on its old one.
    Extends,
    /// The block begins or continues another branch.
    Fork {
        /// The last block that the branch and the best chain share.
        fork: BlockHash,
        /// Its height.
        fork_height: u32,
    },
    /// The block's branch is the best chain now.
    Reorganisation {
        /// The last block that both chains share.
        fork: BlockHash,
        /// Its height.
        fork_height: u32,
        /// The blocks that are no longer in the best chain, the lowest first.
        leave: Vec<BlockHash>,
        /// The blocks that take their place, the lowest first; the last of them is this block.
        join: Vec<BlockHash>,
    },
}

/// Headers linked to a tree. A block without its parent is held back until that comes.
#[derive(Debug)]
pub(crate) struct Links {
    /// What the first block builds on: nothing, when that is a genesis block.
    root: Option<(BlockHash, u32)>,
    nodes: Vec<Node>,
    table: HashTable<u32>,
    /// The blocks without a parent, by the hash of it.
    held: BTreeMap<BlockHash, Vec<u32>>,
    /// The best chain.
    chain: Vec<u32>,
}

#[derive(Debug)]
struct Node {
    hash: BlockHash,
    parent: u32,
    /// The height over the first block.
    height: u32,
    /// The expected number of hashes of the block and, once it is connected, of all below it.
    work: u128,
}

impl Links {
    pub(crate) fn new(root: Option<(BlockHash, u32)>) -> Self {
        let (table, held) = (HashTable::new(), BTreeMap::new());
        Self { root, nodes: Vec::new(), table, held, chain: Vec::new() }
    }

    /// Finds a block's number: how many were added before it.
    pub(crate) fn find(&self, hash: &BlockHash) -> Option<u32> {
        self.table.find(key(hash), |&id| self.node(id).hash == *hash).copied()
    }

    /// Adds a block that meets its target and is not known, and returns its number. Tells the blocks
    /// that now hang on the root, each after its parent: this one and those that were held back for
    /// it, or none.
    pub(crate) fn add(
        &mut self,
        hash: BlockHash,
        header: &Header,
        mut connected: impl FnMut(u32, Change),
    ) -> u32 {
        let number = self.push(hash, proof(header.bits));
        let parent = self.find(&header.prev_block).filter(|&id| self.node(id).height != NONE);
        let is_first = match self.root {
            Some((root, _)) => header.prev_block == root,
            None => header.prev_block == BlockHash::ZERO && self.chain.is_empty(),
        };
        if parent.is_none() && !is_first {
            self.held.entry(header.prev_block).or_default().push(number);
            return number;
        }
        let mut ready = vec![(number, parent.unwrap_or(NONE))];
        while let Some((id, parent)) = ready.pop() {
            let (height, work) = match self.nodes.get(parent as usize) {
                Some(parent) => (parent.height + 1, parent.work),
                None => (0, 0),
            };
            let node = &mut self.nodes[id as usize];
            (node.parent, node.height, node.work) =
                (parent, height, node.work.saturating_add(work));
            let children = self.held.remove(&node.hash).unwrap_or_default();
            ready.extend(children.into_iter().rev().map(|child| (child, id)));
            let change = self.change_tip(id);
            connected(id, change);
        }
        number
    }

    /// Adds a block that never hangs on the root, since it does not meet its target.
    pub(crate) fn push(&mut self, hash: BlockHash, work: u128) -> u32 {
        let id = u32::try_from(self.nodes.len()).expect("fewer blocks than 2^32");
        self.nodes.push(Node { hash, parent: NONE, height: NONE, work });
        let nodes = &self.nodes;
        self.table.insert_unique(key(&hash), id, |&id| key(&nodes[id as usize].hash));
        id
    }

    pub(crate) fn hash(&self, id: u32) -> BlockHash {
        self.node(id).hash
    }

    /// The height, if the block hangs on the root.
    pub(crate) fn height(&self, id: u32) -> Option<u32> {
        let height = Some(self.node(id).height).filter(|&height| height != NONE);
        height.map(|height| self.root.map_or(height, |(_, root)| root.saturating_add(1 + height)))
    }

    /// Whether the block is in the best chain.
    pub(crate) fn is_best(&self, id: u32) -> bool {
        self.chain.get(self.node(id).height as usize) == Some(&id)
    }

    /// The best chain's last block.
    pub(crate) fn tip(&self) -> Option<u32> {
        self.chain.last().copied()
    }

    /// How many blocks wait for their parent.
    pub(crate) fn held_count(&self) -> usize {
        self.held.values().map(Vec::len).sum()
    }

    /// Makes a block the tip that has as much work as the tip has.
    pub(crate) fn prefer(&mut self, id: u32) {
        let tip_work = self.tip().map(|tip| self.node(tip).work);
        if self.height(id).is_some() && !self.is_best(id) && tip_work == Some(self.node(id).work) {
            self.reorganise(id);
        }
    }

    fn node(&self, id: u32) -> &Node {
        &self.nodes[id as usize]
    }

    fn change_tip(&mut self, id: u32) -> Change {
        let node = self.node(id);
        let Some(tip) = self.tip().filter(|&tip| tip != node.parent) else {
            self.chain.push(id);
            return Change::Extends;
        };
        if self.node(tip).work < node.work {
            return self.reorganise(id);
        }
        let (fork, fork_height) = self.fork_point(&self.branch(id));
        Change::Fork { fork, fork_height }
    }

    /// The blocks of a branch up to `id`, the lowest first.
    fn branch(&self, id: u32) -> Vec<u32> {
        let next = |&id: &u32| Some(self.node(id).parent).filter(|&parent| parent != NONE);
        let ids = successors(Some(id), next).take_while(|&id| !self.is_best(id));
        let mut branch = ids.collect::<Vec<_>>();
        branch.reverse();
        branch
    }

    /// The block on which a branch begins, and its height.
    fn fork_point(&self, branch: &[u32]) -> (BlockHash, u32) {
        let below = branch.first().map(|&id| self.node(id).parent).filter(|&id| id != NONE);
        let in_input = below.map(|id| (self.hash(id), self.height(id).unwrap_or_default()));
        in_input.or(self.root).unwrap_or_default()
    }

    fn reorganise(&mut self, id: u32) -> Change {
        let join = self.branch(id);
        let (fork, fork_height) = self.fork_point(&join);
        let kept = join.first().map_or(0, |&id| self.node(id).height);
        let leave = self.chain.split_off(kept as usize);
        self.chain.extend(&join);
        let hashes = |ids: Vec<u32>| ids.into_iter().map(|id| self.hash(id)).collect();
        Change::Reorganisation { fork, fork_height, leave: hashes(leave), join: hashes(join) }
    }
}

/// A hash is random where it is not ground: its first bytes are those without proof of work.
fn key(hash: &BlockHash) -> u64 {
    LittleEndian::read_u64(&hash.0)
}

/// How many hashes it takes on average to meet the target that a header claims: 2^256 by the target
/// and one. Targets below 2^151, which no hash was ever below, take the most.
///
/// Core: `GetBlockProof`.
fn proof(bits: u32) -> u128 {
    let mantissa = u128::from(bits & 0x007f_ffff).max(1);
    // The target is the mantissa times 2^(8 * exponent - 24).
    match 280_u32.checked_sub((bits >> 24) * 8) {
        None => 0,
        Some(power @ 0..128) => {
            let power = 1_u128 << power;
            // The one that is added to the target matters only where the division has no rest.
            power / mantissa - u128::from(power.is_multiple_of(mantissa))
        }
        Some(_) => u128::MAX,
    }
}

#[cfg(test)]
mod tests {
    use caesure_consensus::Target;
    use proptest::prelude::*;

    use super::*;

    /// The work by the rules of consensus, as a number.
    fn expected(bits: u32) -> Option<u128> {
        let hex = Target::from_compact(bits)?.work().to_string();
        Some(u128::from_str_radix(&hex, 16).unwrap_or(u128::MAX))
    }

    #[test]
    fn proof_is_that_of_consensus_for_known_targets() {
        for bits in [0x207f_ffff, 0x2040_0000, 0x1d00_ffff, 0x1b04_04cb, 0x1707_6fff, 0x2200_0001] {
            assert_eq!(Some(proof(bits)), expected(bits), "{bits:08x}");
        }
        assert_eq!(proof(0x0400_0001), u128::MAX);
        assert_eq!(proof(0xff12_3456), 0);
    }

    proptest! {
        #[test]
        fn proof_is_that_of_consensus(exponent in 0x14_u32..0x23, mantissa in 1_u32..0x0080_0000) {
            let bits = exponent << 24 | mantissa;
            if let Some(expected) = expected(bits) {
                prop_assert_eq!(proof(bits), expected);
            }
        }
    }
}
