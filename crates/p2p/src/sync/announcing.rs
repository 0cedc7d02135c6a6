use std::sync::Arc;

use caesure_consensus::HeaderId;
use caesure_wire::{Block, BlockHash, CompactBlock, Inventory, Message};

use super::serving::Request;
use super::{Action, Sync};
use crate::{PeerId, compact_block};

/// How many blocks are announced by their headers. Core: `MAX_BLOCKS_TO_ANNOUNCE`.
const MAX_ANNOUNCED: usize = 8;

/// The last block that was stored on top of the tip.
pub(super) struct Recent {
    pub(super) hash: BlockHash,
    pub(super) bytes: Arc<Vec<u8>>,
    pub(super) compact: CompactBlock,
}

impl Sync {
    /// Whether the peer has a block, as far as we know. Core: `PeerHasHeader`.
    fn has_header(&self, peer: PeerId, id: HeaderId) -> bool {
        let (state, tree) = (&self.peers[&peer], &self.chain.tree);
        let leads_to = |best: HeaderId| tree.ancestor(best, tree.height(id)) == Some(id);
        state.best_known.is_some_and(leads_to) || state.best_sent.is_some_and(leads_to)
    }

    /// Announces a block that is stored on top of the tip and not validated yet to the peers that
    /// want compact blocks. Core: `NewPoWValidBlock`.
    pub(super) fn announce_stored(&mut self, id: HeaderId, bytes: Arc<Vec<u8>>) {
        let height = self.chain.tree.height(id);
        let parent = self.chain.tree.parent(id);
        let Some(parent) = parent.filter(|&parent| self.chain.has_segwit_after(parent)) else {
            return;
        };
        if height <= self.highest_announced {
            return;
        }
        self.highest_announced = height;
        let Ok(block) = Block::parse(bytes.as_slice()) else { return };
        let compact = compact_block(&block, self.random.u64());
        let hash = self.chain.tree.hash(id);
        let peers: Vec<_> = self.peers.keys().copied().collect();
        for peer in peers {
            self.look_for_unknown(peer);
            if self.peers[&peer].wants_compact
                && !self.has_header(peer, id)
                && self.has_header(peer, parent)
            {
                self.send(peer, Message::CmpctBlock(compact.clone()));
                self.peer_mut(peer).best_sent = Some(id);
            }
        }
        drop(block);
        self.recent = Some(Recent { hash, bytes, compact });
    }

    /// Announces to all peers what is new on the active chain. Core: `UpdatedBlockTip`.
    pub(super) fn announce_tip(&mut self, old: HeaderId) {
        let (tree, tip) = (&self.chain.tree, self.chain.tip);
        let fork = tree.fork_point(old, tip);
        let new = std::iter::successors(Some(tip), |&id| tree.parent(id));
        let mut new: Vec<_> = new.take_while(|&id| id != fork).take(MAX_ANNOUNCED).collect();
        new.reverse();
        let Some(&last) = new.last() else { return };
        let peers: Vec<_> = self.peers.keys().copied().collect();
        for peer in peers {
            self.look_for_unknown(peer);
            if !self.announce_headers(peer, &new) && !self.has_header(peer, last) {
                let hash = self.chain.tree.hash(last).0;
                let kind = Inventory::BLOCK;
                self.send(peer, Message::Inv(vec![Inventory { kind, hash }]));
            }
        }
    }

    /// Announces blocks, parents first, by headers or a compact block. Returns false when that is
    /// not what the peer wants, or would not follow on what it has.
    fn announce_headers(&mut self, peer: PeerId, new: &[HeaderId]) -> bool {
        let state = &self.peers[&peer];
        let (prefers_headers, wants_compact) = (state.prefers_headers, state.wants_compact);
        if !prefers_headers && (!wants_compact || 1 < new.len()) {
            return false;
        }
        let first = new.iter().position(|&id| !self.has_header(peer, id));
        let Some(unknown) = first.map(|first| &new[first..]) else { return true };
        let follows = match self.chain.tree.parent(unknown[0]) {
            Some(parent) => self.has_header(peer, parent),
            None => true,
        };
        if !follows {
            return false;
        }
        let best = unknown[unknown.len() - 1];
        if let ([id], true) = (unknown, wants_compact) {
            let hash = self.chain.tree.hash(*id);
            let recent = self.recent.as_ref().filter(|recent| recent.hash == hash);
            match recent.map(|recent| recent.compact.clone()) {
                Some(compact) => self.send(peer, Message::CmpctBlock(compact)),
                None => self.serve(peer, vec![Request::Compact(*id)]),
            }
        } else if prefers_headers {
            let headers = unknown.iter().map(|&id| self.chain.tree.header(id)).collect();
            self.send(peer, Message::Headers(headers));
        } else {
            return false;
        }
        self.peer_mut(peer).best_sent = Some(best);
        true
    }

    /// Says whether the tip is stale, or no longer is. Core: `CheckForStaleTipAndEvictPeers`.
    pub(super) fn check_stale_tip(&mut self, now: crate::Now) {
        if self.stale_check <= now.mono {
            self.stale_check = now.mono + super::STALE_CHECK_INTERVAL;
            let limit = 3 * u64::from(self.options.params.pow_target_spacing);
            let is_old = self.last_tip_update + std::time::Duration::from_secs(limit) < now.mono;
            let is_stale = is_old && self.downloads.is_empty();
            // Said again as long as it is so: the wish ends with each peer that is rotated out.
            if is_stale || self.is_stale {
                self.is_stale = is_stale;
                self.actions.push_back(Action::StaleTip(is_stale));
            }
        }
    }
}
