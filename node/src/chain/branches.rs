//! Which branches are followed, and the way to those that were not.

use std::cmp::Reverse;
use std::sync::Arc;

use caesure_consensus::{HeaderId, HeaderTree, Work};
use caesure_wire::BlockHash;

use super::{Chain, Queued};
use crate::Error;
use crate::pool::Body;

/// A branch is followed while it has at most this many of the tip's blocks less work.
/// Core: `MIN_WORK`'s buffer in `AcceptBlock`, 144 blocks.
const BRANCH_BLOCKS: u32 = 144;

impl Chain {
    pub(super) fn is_below_root(&self, id: HeaderId) -> bool {
        let root = self.ledger.root();
        let root_id = self.tree.find(&root.hash).expect("the root's header is in the tree");
        self.tree.height(id) <= root.height
            && self.tree.ancestor(root_id, self.tree.height(id)) == Some(id)
    }

    /// Whether a block's scripts are left unchecked.
    pub(super) fn is_assumed_valid(&self, id: HeaderId) -> bool {
        let (tree, work) = (&self.tree, self.params.minimum_chain_work);
        self.assumed_valid != BlockHash::ZERO
            && tree.is_assumed_valid(id, &self.assumed_valid, tree.best(), work)
    }

    /// The tip, or what will be it if the scripts that are being checked are good.
    pub(super) fn next_tip(&self) -> HeaderId {
        let ids = self.checking.iter().map(|checking| checking.id).chain([self.tip_id()]);
        ids.max_by_key(|&id| self.tree.chain_work(id)).expect("there is a tip")
    }

    pub(super) fn is_behind(&self, id: HeaderId) -> bool {
        self.tree.chain_work(id) < self.tree.chain_work(self.next_tip())
    }

    /// Whether a block has no more work than the tip, and its branch leaves below the root.
    fn is_cut_off(&self, id: HeaderId) -> bool {
        let root = self.ledger.root().hash;
        let root = self.tree.find(&root).expect("the root's header is in the tree");
        self.tree.chain_work(id) <= self.tree.chain_work(self.next_tip())
            && self.tree.fork_point(id, root) != root
    }

    /// A branch is followed while its work is close to the tip's, and from below the root only if it
    /// has more.
    pub(super) fn is_wanted(&self, id: HeaderId) -> bool {
        if self.is_cut_off(id) {
            return false;
        }
        let tip = self.next_tip();
        let parent = self.tree.parent(tip).map_or_else(Work::default, |p| self.tree.chain_work(p));
        let proof = self.tree.chain_work(tip) - parent;
        let slack = (0..BRANCH_BLOCKS).fold(Work::default(), |sum, _| sum + proof);
        self.tree.chain_work(tip) < self.tree.chain_work(id) + slack
    }

    pub(crate) fn tip_id(&self) -> HeaderId {
        let tip = self.ledger.tip().info().hash;
        self.tree.find(&tip).expect("the tip's header is in the tree")
    }

    /// The parent's world is not held: its branch was not followed so far, or lies below the root.
    pub(super) fn fetch_ancestors(&mut self, queued: Queued, body: Arc<Body>) -> Result<(), Error> {
        if self.is_cut_off(queued.id) {
            self.in_flight -= queued.size;
            self.counts.parked += 1;
            return Ok(());
        }
        let first = self.first_missing(queued.id);
        let are_sound = |first: &_| queued.has_sound_ancestors || self.are_sound(*first, queued.id);
        let Some(first) = first.filter(are_sound) else {
            // A body between here and the ledger is not stored, so that nothing can be judged.
            self.in_flight -= queued.size;
            self.counts.skipped += 1;
            return Ok(());
        };
        let parent = self.tree.parent(first).expect("genesis is below the root");
        if !self.ledger.holds(&self.tree.hash(parent)) {
            self.rewind(parent)?;
        }
        let (from, to) = (self.tree.height(first), self.tree.height(queued.id));
        let end = self.in_flight + self.memory.in_flight / 2;
        let mut batch = Vec::new();
        for height in from..to {
            let ancestor = self.tree.ancestor(queued.id, height);
            let ancestor = ancestor.expect("heights below are ancestors");
            let hash = self.tree.hash(ancestor);
            let bytes = self.store.reader().read(&hash)?;
            let origin = self.stored_origin(&hash);
            batch.push(Queued { is_needed: true, ..self.prepare(ancestor, bytes, origin, true) });
            if end < self.in_flight {
                break;
            }
        }
        let body = Some(Ok(body));
        self.queue.push_front(Queued { body, has_sound_ancestors: true, ..queued });
        batch.into_iter().rev().for_each(|queued| self.queue.push_front(queued));
        Ok(())
    }

    /// The lowest ancestor whose world is not held while its parent's is, or whose parent lies below
    /// the root; none when nothing is missing.
    fn first_missing(&self, id: HeaderId) -> Option<HeaderId> {
        let mut first = id;
        loop {
            let parent = self.tree.parent(first)?;
            let is_held = self.ledger.holds(&self.tree.hash(parent));
            if is_held || self.is_below_root(parent) {
                return Some(first).filter(|_| first != id || !is_held);
            }
            first = parent;
        }
    }

    /// Whether the bodies from an ancestor of a block to its parent are stored and can be read.
    fn are_sound(&self, first: HeaderId, id: HeaderId) -> bool {
        (self.tree.height(first)..self.tree.height(id)).all(|height| {
            let ancestor = self.tree.ancestor(id, height);
            ancestor.is_some_and(|ancestor| self.is_sound(&self.tree.hash(ancestor)))
        })
    }

    /// Moves the ledger back to an ancestor of its root.
    pub(super) fn rewind(&mut self, to: HeaderId) -> Result<(), Error> {
        self.conclude_all()?;
        self.wait_for_checkpoint()?;
        Ok(self.ledger.rewind_to(&self.tree.hash(to))?)
    }

    /// Follows the stored block with most work, if that is more than the tip's. Nothing is on its way.
    pub(super) fn search(&mut self) -> Result<(), Error> {
        let tip = self.tip_id();
        let best = self.best_stored().filter(|&best| self.searched != Some((best, tip)));
        self.searched = best.map(|best| (best, tip));
        self.must_search = best.is_some();
        best.map_or(Ok(()), |best| self.take_stored(best, false))
    }

    /// The stored block with most work, if that is more than the tip's and all up to it is stored.
    pub(super) fn best_stored(&self) -> Option<HeaderId> {
        let tip_work = self.tree.chain_work(self.tip_id());
        let mut candidates: Vec<HeaderId> = self
            .ids()
            .filter(|&id| tip_work < self.tree.chain_work(id) && !self.tree.is_invalid(id))
            .filter(|&id| self.store.reader().contains(&self.tree.hash(id)))
            .collect();
        candidates.sort_by_key(|&id| (self.tree.chain_work(id), Reverse(id)));
        candidates.into_iter().rev().find(|&id| {
            let parent = self.tree.parent(id).expect("genesis has the least work");
            self.is_sound(&self.tree.hash(id))
                && (self.ledger.holds(&self.tree.hash(parent))
                    || self.first_missing(id).is_some_and(|first| self.are_sound(first, id)))
        })
    }

    /// Stored blocks that the ledger does not have, parents before children, and first the branch with
    /// most work: a start in the middle of a deep reorganisation goes on with it, instead of back.
    pub(crate) fn open_blocks(&self) -> Vec<HeaderId> {
        let is_open = |id: &HeaderId| self.links.is_stored(*id) && !self.is_over(*id);
        let linked = self.ids().filter(|&id| self.links.is_linked(id) && !self.tree.is_invalid(id));
        let best = linked.max_by_key(|&id| (self.tree.chain_work(id), Reverse(id)));
        let branch = std::iter::successors(best, |&id| self.tree.parent(id)).take_while(is_open);
        let mut open: Vec<HeaderId> = branch.collect();
        open.reverse();
        let is_beside = |id: &HeaderId| open.binary_search(id).is_err();
        let others: Vec<_> = self.ids().filter(|id| is_beside(id) && is_open(id)).collect();
        open.extend(others);
        open
    }

    /// The stored block with most work up to which all blocks are stored; none in an empty store.
    pub(crate) fn best_complete(&self) -> Option<HeaderId> {
        let genesis = HeaderTree::GENESIS;
        let mut complete = vec![genesis];
        let mut best = genesis;
        // Parents stand before their children in the tree.
        for id in self.ids().filter(|&id| id != genesis) {
            let parent = self.tree.parent(id).expect("only genesis has none");
            if complete.binary_search(&parent).is_ok()
                && self.store.reader().contains(&self.tree.hash(id))
            {
                complete.push(id);
                if self.tree.chain_work(best) < self.tree.chain_work(id) {
                    best = id;
                }
            }
        }
        Some(best).filter(|&best| best != genesis)
    }
}
