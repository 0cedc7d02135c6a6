//! What is checked of everything that a follower tells.

use std::collections::{BTreeMap, BTreeSet};

use caesure_blockstore::{Change, Follow, FollowedBlock};
use caesure_wire::{BlockHash, Header};

/// What a follower has told, checked as it comes.
#[derive(Default)]
pub(crate) struct Told {
    /// Parent, height and work of each block.
    pub(crate) blocks: BTreeMap<BlockHash, (BlockHash, u32, u64)>,
    /// The best chain, by the changes that were told.
    pub(crate) chain: Vec<BlockHash>,
    pub(crate) raws: BTreeSet<Vec<u8>>,
    pub(crate) reorganisations: usize,
    pub(crate) forks: usize,
}

impl Told {
    /// Takes all that there is, and checks that each block comes once, after its parent, and that
    /// its change of the best chain is right.
    pub(crate) fn poll(&mut self, follow: &mut Follow) -> usize {
        let mut count = 0;
        while let Some(block) = follow.poll().unwrap() {
            self.take(&block);
            count += 1;
        }
        count
    }

    pub(crate) fn take(&mut self, block: &FollowedBlock) {
        let header = Header::from_bytes(block.bytes.first_chunk().unwrap());
        assert_eq!(header.hash(), block.hash);
        let own = if header.bits == 0x201f_ffff { 8 } else { 2 };
        let (height, work) = match self.blocks.get(&header.prev_block) {
            Some((_, height, work)) => (height + 1, work + own),
            None => (0, own),
        };
        assert!(height != 0 || header.prev_block == BlockHash::ZERO, "after its parent");
        assert_eq!(block.height, height);
        let before = self.blocks.insert(block.hash, (header.prev_block, height, work));
        assert_eq!(before, None, "once");
        self.raws.insert(block.bytes.clone());
        let tip_work = self.chain.last().map_or(0, |tip| self.blocks[tip].2);
        let mut branch = vec![block.hash];
        while let Some((prev, ..)) = self.blocks.get(branch.last().unwrap())
            && !self.chain.contains(prev)
            && *prev != BlockHash::ZERO
        {
            branch.push(*prev);
        }
        branch.reverse();
        let fork = self.blocks[&branch[0]].0;
        let kept = self.chain.iter().position(|hash| *hash == fork).map_or(0, |at| at + 1);
        let fork_height = u32::try_from(kept).unwrap().wrapping_sub(1);
        let expected = match (kept == self.chain.len(), tip_work < work) {
            (true, _) => Change::Extends,
            (false, false) => Change::Fork { fork, fork_height },
            (false, true) => {
                let leave = self.chain[kept..].to_vec();
                Change::Reorganisation { fork, fork_height, leave, join: branch.clone() }
            }
        };
        assert_eq!(block.change, expected);
        if tip_work < work {
            self.chain.truncate(kept);
            self.chain.extend(branch);
        }
        self.reorganisations += usize::from(matches!(expected, Change::Reorganisation { .. }));
        self.forks += usize::from(matches!(expected, Change::Fork { .. }));
    }
}
