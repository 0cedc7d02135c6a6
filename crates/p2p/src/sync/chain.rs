use std::collections::BTreeMap;

use caesure_consensus::{Deployment, HeaderId, HeaderTree, Reject, Target, Work};
use caesure_wire::{BlockHash, Header};

use super::{BlockState, ChainTip, TipStatus};
use crate::downloads::path;
use crate::{ChainFacts, Now};

/// How many of the tip's proofs a chain may have less than the tip's to be of interest.
/// Core: `GetAntiDoSWorkThreshold`.
const NEAR_TIP_BLOCKS: u32 = 144;
/// The age, in seconds, from which forks are not shown. Core: `STALE_RELAY_AGE_LIMIT`.
const STALE_FORK_AGE: i64 = 30 * 24 * 60 * 60;
/// The age of the tip, in seconds, from which the node counts as behind. Core:
/// `DEFAULT_MAX_TIP_AGE`.
const MAX_TIP_AGE: u64 = 24 * 60 * 60;

/// The headers, what is known of each block, and the active tip.
pub(super) struct Chain {
    pub(super) tree: HeaderTree,
    states: Vec<State>,
    pub(super) tip: HeaderId,
    pub(super) minimum_work: Work,
    /// The height up to which bodies are released.
    pub(super) pruned: Option<u32>,
    /// Blocks that are there, by a parent without a complete chain. Core: `m_blocks_unlinked`.
    unlinked: BTreeMap<HeaderId, Vec<HeaderId>>,
}

#[derive(Clone, Copy, Default)]
struct State {
    block: BlockState,
    /// Whether all ancestors are there too, or were. Core: `HaveNumChainTxs`.
    is_complete: bool,
}

impl Chain {
    pub(super) fn new(
        tree: HeaderTree,
        states: Vec<BlockState>,
        tip: HeaderId,
        minimum_work: Work,
    ) -> Self {
        assert_eq!(tree.len(), states.len(), "there is a state for each header");
        let empty = vec![State::default(); states.len()];
        let unlinked = BTreeMap::new();
        let mut chain = Self { tree, states: empty, tip, minimum_work, pruned: None, unlinked };
        for (id, block) in (0..).map(HeaderId).zip(states) {
            chain.states[id.0 as usize].block.is_connected = block.is_connected;
            if block.has_body || block.is_connected || id == HeaderTree::GENESIS {
                chain.stored(id);
            }
        }
        chain.states[0].block.is_connected = true;
        chain
    }

    pub(super) fn state(&self, id: HeaderId) -> BlockState {
        self.states[id.0 as usize].block
    }

    /// Whether the block can be read.
    pub(super) fn has_body(&self, id: HeaderId) -> bool {
        self.state(id).has_body && self.pruned.is_none_or(|pruned| pruned < self.tree.height(id))
    }

    /// Whether the block need not be fetched.
    pub(super) fn had_body(&self, id: HeaderId) -> bool {
        self.state(id).has_body
    }

    pub(super) fn stored(&mut self, id: HeaderId) {
        self.states[id.0 as usize].block.has_body = true;
        let is_complete = |chain: &Self, id: HeaderId| chain.states[id.0 as usize].is_complete;
        let parent = self.tree.parent(id);
        if let Some(parent) = parent.filter(|&parent| !is_complete(self, parent)) {
            let siblings = self.unlinked.entry(parent).or_default();
            if !siblings.contains(&id) {
                siblings.push(id);
            }
            return;
        }
        let mut complete = vec![id];
        while let Some(id) = complete.pop() {
            self.states[id.0 as usize].is_complete = true;
            complete.extend(self.unlinked.remove(&id).into_iter().flatten());
        }
    }

    pub(super) fn connected(&mut self, id: HeaderId) {
        self.states[id.0 as usize].block.is_connected = true;
    }

    /// Judges a header, takes it in, and tells whether it is new.
    pub(super) fn accept(&mut self, header: &Header, now: Now) -> Result<(HeaderId, bool), Reject> {
        let id = self.tree.accept(header, clock(now))?;
        let is_new = self.states.len() < self.tree.len();
        self.states.resize(self.tree.len(), State::default());
        Ok((id, is_new))
    }

    pub(super) fn height(&self) -> u32 {
        self.tree.height(self.tip)
    }

    pub(super) fn tip_work(&self) -> Work {
        self.tree.chain_work(self.tip)
    }

    /// Whether a block is on the active chain.
    pub(super) fn contains(&self, id: HeaderId) -> bool {
        self.tree.ancestor(self.tip, self.tree.height(id)) == Some(id)
    }

    /// The blocks of the active chain from a height on, at most `limit`.
    pub(super) fn active_from(&self, height: u32, limit: usize) -> Vec<HeaderId> {
        let end = height.saturating_add(u32::try_from(limit).unwrap_or(u32::MAX)).saturating_sub(1);
        path(&self.tree, self.tip, height, end.min(self.height())).collect()
    }

    /// The last block of the active chain that a locator names. Core: `FindForkInGlobalIndex`.
    pub(super) fn fork_of(&self, locator: &[BlockHash]) -> HeaderId {
        let known = locator.iter().filter_map(|hash| self.tree.find(hash));
        let on_chain = |id: HeaderId| match self.contains(id) {
            true => Some(id),
            false => (self.tree.ancestor(id, self.height()) == Some(self.tip)).then_some(self.tip),
        };
        known.filter_map(on_chain).next().unwrap_or(HeaderTree::GENESIS)
    }

    /// The least work of a chain whose headers are kept. Core: `GetAntiDoSWorkThreshold`.
    pub(super) fn threshold(&self) -> Work {
        let proof = self.tree.proof(self.tip);
        let near = (0..NEAR_TIP_BLOCKS).fold(Work::ZERO, |sum, _| sum + proof);
        let work = self.tip_work();
        let near = if near < work { work - near } else { Work::ZERO };
        near.max(self.minimum_work)
    }

    /// What the download of blocks must know. Branches with less work than the tip's are wanted too,
    /// as long as their headers are.
    pub(super) fn facts<'a>(
        &'a self,
        has_block: &'a dyn Fn(HeaderId) -> bool,
        is_pending: &'a dyn Fn(HeaderId) -> bool,
    ) -> ChainFacts<'a> {
        let minimum_chain_work = self.threshold();
        ChainFacts { tree: &self.tree, tip: self.tip, minimum_chain_work, has_block, is_pending }
    }

    /// Whether the tip is recent enough to fetch single blocks. Core: `CanDirectFetch`.
    pub(super) fn is_near_today(&self, now: Now) -> bool {
        let spacing = u64::from(self.tree.params().pow_target_spacing);
        now.unix.saturating_sub(20 * spacing) < self.tree.header(self.tip).time.into()
    }

    /// Core: `IsTipRecent`.
    pub(super) fn is_tip_recent(&self, now: Now) -> bool {
        let time = u64::from(self.tree.header(self.tip).time);
        self.minimum_work <= self.tip_work() && now.unix.saturating_sub(MAX_TIP_AGE) <= time
    }

    /// Whether peers may be told of a block: those of forks only when valid and not old, so that
    /// they do not give the node away. Core: `BlockRequestAllowed`.
    pub(super) fn may_show(&self, id: HeaderId) -> bool {
        if self.contains(id) {
            return true;
        }
        let best = self.tree.best();
        let age = |id| i64::from(self.tree.header(id).time);
        self.state(id).is_connected
            && !self.tree.is_invalid(id)
            && age(best) - age(id) < STALE_FORK_AGE
            && self.tree.seconds_of_work(id, best) < STALE_FORK_AGE
    }

    /// Whether segwit holds for a block on this one.
    pub(super) fn has_segwit_after(&self, parent: HeaderId) -> bool {
        self.tree.params().is_active(Deployment::Segwit, self.tree.height(parent) + 1)
    }

    /// Core: `IsAncestorOfBestHeaderOrTip`.
    pub(super) fn is_on_best(&self, id: HeaderId) -> bool {
        self.tree.ancestor(self.tree.best(), self.tree.height(id)) == Some(id) || self.contains(id)
    }

    /// Core: `getchaintips`.
    pub(super) fn tips(&self) -> Vec<ChainTip> {
        let forks = self.tree.leaves().iter().filter(|id| !self.contains(**id));
        let mut tips: Vec<_> = forks.map(|id| self.chain_tip(*id)).collect();
        tips.push(self.chain_tip(self.tip));
        tips.sort_by_key(|tip| (std::cmp::Reverse(tip.height), tip.id));
        tips
    }

    fn chain_tip(&self, id: HeaderId) -> ChainTip {
        let fork = self.tree.fork_point(id, self.tip);
        let status = if self.contains(id) {
            TipStatus::Active
        } else if self.tree.is_invalid(id) {
            TipStatus::Invalid
        } else if !self.states[id.0 as usize].is_complete {
            TipStatus::HeadersOnly
        } else if self.state(id).is_connected {
            TipStatus::ValidFork
        } else {
            TipStatus::ValidHeaders
        };
        let height = self.tree.height(id);
        let branch_len = height - self.tree.height(fork);
        ChainTip { id, height, hash: self.tree.hash(id), branch_len, status }
    }
}

/// The clock as headers have it.
pub(super) fn clock(now: Now) -> u32 {
    u32::try_from(now.unix).unwrap_or(u32::MAX)
}

/// The work of a header that may break every rule.
pub(super) fn claimed_work(header: &Header) -> Work {
    Target::from_compact(header.bits).map_or(Work::ZERO, Target::work)
}
