use std::sync::Arc;

use caesure_consensus::HeaderId;
use caesure_wire::{BlockTxn, BlockTxnRequest, CompactBlock, Header, Message};

use super::blocks::Arrival;
use super::chain::claimed_work;
use super::{Action, COMPACT_VERSION, Sync};
use crate::downloads::has_segwit;
use crate::{CompactError, CompactSlot, Now, PartialBlock, PeerId};

/// How many peers announce by compact blocks without asking. Spec: BIP-0152.
pub(super) const MAX_HIGH_BANDWIDTH: usize = 3;
/// How far above the tip a compact block is put together.
const MAX_AHEAD: u32 = 2;

impl Sync {
    pub(super) fn on_compact(&mut self, peer: PeerId, compact: CompactBlock, now: Now) {
        if self.options.blocks_only || !self.peers[&peer].gives_compact {
            return;
        }
        let header = compact.header;
        let Some(parent) = self.chain.tree.find(&header.prev_block) else {
            if !self.is_initial_download {
                self.ask_for_headers(peer, self.chain.tree.best(), now);
            }
            return;
        };
        if self.chain.tree.chain_work(parent) + claimed_work(&header) < self.chain.threshold() {
            return;
        }
        let (id, is_new) = match self.accept_header(&header, now) {
            Ok(accepted) => accepted,
            Err(reject) => {
                self.punish_for_block(peer, reject.class(), true, "invalid header via cmpctblock");
                return;
            }
        };
        self.note_available(peer, &self.chain.tree.hash(id));
        let has_more_work = self.chain.tip_work() < self.chain.tree.chain_work(id);
        if is_new && has_more_work {
            self.actions.push_back(Action::Announced(peer));
        }
        if self.chain.has_body(id) || self.pending.contains_key(&id) {
            return;
        }
        let is_requested = self.downloads.is_requested_of(peer, id);
        if !is_requested && !self.peers[&peer].is_high_bandwidth {
            return;
        }
        let is_near = self.chain.tree.height(id) <= self.chain.height() + MAX_AHEAD;
        if !has_more_work || self.chain.had_body(id) || (!is_near && is_requested) {
            if is_requested {
                self.send_getdata(peer, &[id]);
            }
        } else if self.downloads.peers_of(id).is_empty() && !self.chain.is_near_today(now) {
            // Blocks are fetched in parallel until the tip is near.
        } else if is_near {
            self.reconstruct(peer, id, &compact, now);
        } else {
            self.on_headers(peer, vec![header], true, now);
        }
    }

    fn reconstruct(&mut self, peer: PeerId, id: HeaderId, compact: &CompactBlock, now: Now) {
        let slot = self.downloads.compact_slot(peer, id, now.mono);
        if slot == CompactSlot::Duplicate {
            return;
        }
        let partial = PartialBlock::new(compact, self.pool.transactions());
        let CompactSlot::Taken { is_first, .. } = slot else {
            let has_segwit = has_segwit(&self.chain.tree, id);
            let whole = partial.and_then(|mut partial| partial.fill(&[], has_segwit));
            if let Ok(bytes) = whole {
                self.take_reconstructed(peer, &compact.header, bytes, now);
            }
            return;
        };
        match partial {
            Err(error) => self.fail_compact(peer, id, error, is_first, now),
            Ok(partial) => {
                let indices = partial.missing();
                let is_high_bandwidth = self.peers[&peer].is_high_bandwidth;
                let hash = self.chain.tree.hash(id);
                if indices.is_empty() {
                    self.downloads.keep_compact(peer, id, partial);
                    self.on_block_txn(peer, &BlockTxn { hash, txs: Vec::new() }, now);
                } else if self.downloads.may_ask_for_missing(peer, id, slot, is_high_bandwidth) {
                    self.downloads.keep_compact(peer, id, partial);
                    self.send(peer, Message::GetBlockTxn(BlockTxnRequest { hash, indices }));
                } else {
                    self.downloads.release(peer, id, now.mono);
                }
            }
        }
    }

    /// A compact block cannot be put together: the first who was asked for the block sends it whole.
    fn fail_compact(
        &mut self,
        peer: PeerId,
        id: HeaderId,
        error: CompactError,
        is_first: bool,
        now: Now,
    ) {
        if error == CompactError::Failed && is_first {
            self.send_getdata(peer, &[id]);
            return;
        }
        self.downloads.release(peer, id, now.mono);
        if error == CompactError::Invalid {
            self.punish(peer, "invalid compact block/non-matching block transactions");
        }
    }

    /// Core: `ProcessCompactBlockTxns`.
    pub(super) fn on_block_txn(&mut self, peer: PeerId, answer: &BlockTxn, now: Now) {
        let Some(id) = self.chain.tree.find(&answer.hash) else { return };
        let is_first = self.downloads.peers_of(id).first() == Some(&peer);
        let has_segwit = has_segwit(&self.chain.tree, id);
        let Some(partial) = self.downloads.compact(peer, id) else { return };
        let header = *partial.header();
        match partial.fill(&answer.txs, has_segwit) {
            Err(error) => self.fail_compact(peer, id, error, is_first, now),
            Ok(bytes) => {
                self.downloads.release(peer, id, now.mono);
                self.take_reconstructed(peer, &header, bytes, now);
            }
        }
    }

    fn take_reconstructed(&mut self, peer: PeerId, header: &Header, bytes: Vec<u8>, now: Now) {
        let source = Some((peer, false));
        let arrival = Arrival { source, is_requested: true, is_work_enough: true };
        if let Err(reject) = self.take_block(Arc::new(bytes), header, arrival, now) {
            self.punish_for_block(peer, reject.class(), true, "invalid block received");
        }
    }

    /// Has a peer that gave a new block announce the next ones by compact blocks, and the one that
    /// did so longest ago no more; an outbound one is kept. Core:
    /// `MaybeSetPeerAsAnnouncingHeaderAndIDs`.
    pub(super) fn choose_high_bandwidth(&mut self, peer: PeerId) {
        let Some(state) = self.peers.get(&peer).filter(|state| state.gives_compact) else { return };
        if self.options.blocks_only || state.is_dropped {
            return;
        }
        let is_inbound = state.is_inbound();
        if let Some(index) = self.high_bandwidth.iter().position(|&other| other == peer) {
            self.high_bandwidth.remove(index);
            self.high_bandwidth.push(peer);
            return;
        }
        let is_outbound = |peer: &PeerId| !self.peers[peer].is_inbound();
        let outbound = self.high_bandwidth.iter().filter(|peer| is_outbound(peer)).count();
        let is_all = MAX_HIGH_BANDWIDTH <= self.high_bandwidth.len();
        if is_inbound && is_all && outbound == 1 && is_outbound(&self.high_bandwidth[0]) {
            self.high_bandwidth.swap(0, 1);
        }
        self.high_bandwidth.push(peer);
        self.set_high_bandwidth(peer, true);
        if MAX_HIGH_BANDWIDTH < self.high_bandwidth.len() {
            let oldest = self.high_bandwidth.remove(0);
            self.set_high_bandwidth(oldest, false);
        }
    }

    fn set_high_bandwidth(&mut self, peer: PeerId, announce: bool) {
        self.peer_mut(peer).is_high_bandwidth = announce;
        self.send(peer, Message::SendCmpct { announce, version: COMPACT_VERSION });
    }
}
