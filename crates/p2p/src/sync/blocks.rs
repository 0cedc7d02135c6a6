use std::sync::Arc;

use caesure_consensus::{HeaderId, Reject, RejectClass, is_block_mutated};
use caesure_wire::{Block, BlockHash, Header, Inventory, Message};

use super::chain::{claimed_work, clock};
use super::{Action, Sync};
use crate::{ConnectionKind, DownloadTimeout, Now, PeerId};

/// How far above the tip a block may be that nobody asked for. Core: `MIN_BLOCKS_TO_KEEP`.
pub(super) const MAX_AHEAD: u32 = 288;
/// The bytes of blocks that wait for the validator from which no more are asked for.
pub(super) const MAX_PENDING_BYTES: usize = 32 << 20;
/// Of how many blocks it is remembered who sent them.
pub(super) const MAX_SOURCES: usize = 4_096;
/// Of how many refused blocks the reason is remembered.
const REASONS: usize = 1_000;

/// Who sent a block, and whether it may be punished for it: not for a compact one, which may be
/// passed on before it is validated.
pub(super) type Source = (PeerId, bool);

/// How a block came, that it be judged by.
pub(super) struct Arrival {
    pub(super) source: Option<Source>,
    /// Whether it was asked for, of whomever.
    pub(super) is_requested: bool,
    /// Whether its chain has enough work for its header to be kept.
    pub(super) is_work_enough: bool,
}

impl Sync {
    pub(super) fn on_block(&mut self, peer: PeerId, bytes: Arc<Vec<u8>>, now: Now) {
        let Ok(block) = Block::parse(bytes.as_slice()) else { return };
        let (header, hash) = (*block.header(), block.hash());
        let id = self.chain.tree.find(&hash);
        let parent = self.chain.tree.find(&header.prev_block);
        let is_mutated = parent.is_some_and(|parent| {
            let has_segwit = self.chain.has_segwit_after(parent);
            let has_witness = || block.txs().any(|tx| tx.has_witness());
            is_block_mutated(&block, has_segwit) || (!has_segwit && has_witness())
        });
        let is_requested = id.is_some_and(|id| !self.downloads.peers_of(id).is_empty());
        if let Some(id) = id {
            self.downloads.release(peer, id, now.mono);
        }
        if is_mutated {
            self.punish(peer, "mutated block");
            return;
        }
        let work = parent.map(|id| self.chain.tree.chain_work(id) + claimed_work(&header));
        let is_work_enough = work.is_some_and(|work| self.chain.threshold() <= work);
        let arrival = Arrival { source: Some((peer, true)), is_requested, is_work_enough };
        if let Err(reject) = self.take_block(bytes, &header, arrival, now) {
            self.punish_for_block(peer, reject.class(), false, "invalid block received");
        }
    }

    /// Hands a block to the validator, if it is wanted, and tells whether it was.
    /// Core: `AcceptBlock`.
    pub(super) fn take_block(
        &mut self,
        bytes: Arc<Vec<u8>>,
        header: &Header,
        arrival: Arrival,
        now: Now,
    ) -> Result<bool, Reject> {
        let known = self.chain.tree.check(header, clock(now))?;
        if known.is_none() && !arrival.is_work_enough {
            return Ok(false);
        }
        let (id, _) = self.accept_header(header, now)?;
        let hash = self.chain.tree.hash(id);
        if self.chain.has_body(id) || self.pending.contains_key(&id) {
            return Ok(false);
        }
        let work = self.chain.tree.chain_work(id);
        if !arrival.is_requested
            && (self.chain.had_body(id)
                || work < self.chain.tip_work()
                || self.chain.height() + MAX_AHEAD < self.chain.tree.height(id)
                || work < self.chain.minimum_work)
        {
            return Ok(false);
        }
        if let Some(source) = arrival.source {
            self.note_source(hash, source);
        }
        self.pending_bytes += bytes.len();
        self.pending.insert(id, Arc::clone(&bytes));
        self.actions.push_back(Action::Block { hash, bytes });
        Ok(true)
    }

    fn note_source(&mut self, hash: BlockHash, source: Source) {
        if self.sources.insert(hash, source).is_none() {
            self.source_order.push_back(hash);
        }
        while MAX_SOURCES < self.source_order.len() {
            if let Some(oldest) = self.source_order.pop_front() {
                self.sources.remove(&oldest);
            }
        }
    }

    /// Takes a block from those that the validator was not heard of yet.
    fn take_pending(&mut self, id: HeaderId) -> Option<Arc<Vec<u8>>> {
        let bytes = self.pending.remove(&id)?;
        self.pending_bytes -= bytes.len();
        self.is_due = true;
        Some(bytes)
    }

    /// A block passed every check that needs no coins, and is stored.
    pub fn stored(&mut self, hash: &BlockHash, now: Now) {
        self.now = now;
        let Some(id) = self.chain.tree.find(hash) else { return };
        let bytes = self.take_pending(id);
        self.downloads.stored(id, now.mono);
        self.chain.stored(id);
        let source = self.sources.get(hash).copied();
        if let Some((peer, _)) = source.filter(|(peer, _)| self.peers.contains_key(peer)) {
            self.actions.push_back(Action::NoteBlock(peer));
        }
        let is_next = self.chain.tree.parent(id) == Some(self.chain.tip);
        if let Some(bytes) = bytes.filter(|_| is_next && !self.is_initial_download) {
            self.announce_stored(id, bytes);
        }
    }

    /// A block was connected: it is valid.
    pub fn connected(&mut self, hash: &BlockHash, now: Now) {
        self.now = now;
        let Some(id) = self.chain.tree.find(hash) else { return };
        self.chain.connected(id);
        self.downloads.connected();
        let source = self.sources.remove(hash);
        // What else is on its way may be better.
        let is_best = self.downloads.is_empty()
            || (self.downloads.len() == 1 && !self.downloads.peers_of(id).is_empty());
        if let Some((peer, _)) = source.filter(|_| is_best && !self.is_initial_download) {
            self.choose_high_bandwidth(peer);
        }
    }

    /// A block was refused, for the reason given; unless it is mutated, it and its descendants are
    /// marked as invalid.
    pub fn refused(&mut self, hash: &BlockHash, reason: &str, class: RejectClass, now: Now) {
        self.now = now;
        let Some(id) = self.chain.tree.find(hash) else { return };
        self.take_pending(id);
        let source = self.sources.remove(hash);
        let is_here = |peer: &PeerId| self.peers.get(peer).is_some_and(|peer| !peer.is_dropped);
        if let Some((peer, may_punish)) = source.filter(|(peer, _)| is_here(peer)) {
            self.punish_for_block(peer, class, !may_punish, "invalid block received");
        }
        let is_final = matches!(
            class,
            RejectClass::Consensus
                | RejectClass::InvalidHeader
                | RejectClass::InvalidPrev
                | RejectClass::CachedInvalid
        );
        if is_final && id != caesure_consensus::HeaderTree::GENESIS {
            self.reasons.insert(id, reason.to_owned());
            if REASONS < self.reasons.len() {
                self.reasons.pop_first();
            }
            self.mark_invalid(id, now);
        }
    }

    /// Marks a block and its descendants as invalid, and waits for none of them any longer.
    pub(super) fn mark_invalid(&mut self, id: HeaderId, now: Now) {
        self.chain.tree.mark_invalid(id);
        let peers: Vec<_> = self.peers.keys().copied().collect();
        for peer in peers {
            let blocks: Vec<_> = self.downloads.in_flight(peer).collect();
            for block in blocks.into_iter().filter(|&block| self.chain.tree.is_invalid(block)) {
                self.downloads.release(peer, block, now.mono);
            }
        }
        self.is_due = true;
    }

    /// Core: `MaybePunishNodeForBlock`.
    pub(super) fn punish_for_block(
        &mut self,
        peer: PeerId,
        class: RejectClass,
        via_compact: bool,
        why: &'static str,
    ) {
        let is_deserved = match class {
            RejectClass::Consensus | RejectClass::Mutated => !via_compact,
            RejectClass::CachedInvalid => !via_compact && !self.peers[&peer].is_inbound(),
            RejectClass::InvalidHeader | RejectClass::InvalidPrev | RejectClass::MissingPrev => {
                true
            }
            _ => false,
        };
        if is_deserved {
            self.punish(peer, why);
        }
    }

    /// Asks a peer for the blocks whose turn it is. Core: `FindNextBlocksToDownload`.
    pub(super) fn poll_blocks(&mut self, peer: PeerId, now: Now) {
        self.look_for_unknown(peer);
        let state = &self.peers[&peer];
        let is_wanted = (self.is_source(peer) && !state.is_limited()) || !self.is_initial_download;
        if !state.serves_blocks() || !is_wanted || MAX_PENDING_BYTES <= self.pending_bytes {
            return;
        }
        let Some(facts) = state.download_facts() else { return };
        let (has_block, is_pending) =
            (|id| self.chain.had_body(id), |id| self.pending.contains_key(&id));
        let chain = self.chain.facts(&has_block, &is_pending);
        let blocks = self.downloads.next_for(peer, facts, &chain, now.mono);
        self.send_getdata(peer, &blocks);
    }

    /// Asks a peer for the blocks to a header that it has just announced, when the tip is recent.
    /// Core: `HeadersDirectFetchBlocks`.
    pub(super) fn fetch_directly(&mut self, peer: PeerId, last: HeaderId, now: Now) {
        let state = &self.peers[&peer];
        let Some(facts) = state.download_facts().filter(|_| !state.is_dropped) else { return };
        let facts = crate::DownloadPeer { best_known: last, ..facts };
        if !self.chain.is_near_today(now)
            || self.chain.tree.is_invalid(last)
            || self.chain.tree.chain_work(last) < self.chain.tip_work()
        {
            return;
        }
        let (has_block, is_pending) =
            (|id| self.chain.had_body(id), |id| self.pending.contains_key(&id));
        let chain = self.chain.facts(&has_block, &is_pending);
        let blocks = self.downloads.direct_for(peer, facts, &chain, now.mono);
        let parent = self.chain.tree.parent(last);
        let is_parent_valid = parent.is_some_and(|parent| self.chain.state(parent).is_connected);
        let is_compact = !self.options.blocks_only
            && self.peers[&peer].gives_compact
            && self.downloads.len() == 1
            && is_parent_valid;
        match blocks[..] {
            [block] if is_compact => {
                let hash = self.chain.tree.hash(block).0;
                let wanted = Inventory { kind: Inventory::COMPACT_BLOCK, hash };
                self.send(peer, Message::GetData(vec![wanted]));
            }
            _ => self.send_getdata(peer, &blocks),
        }
    }

    pub(super) fn send_getdata(&mut self, peer: PeerId, blocks: &[HeaderId]) {
        let kind = match self.peers[&peer].serves_witnesses() {
            true => Inventory::WITNESS_BLOCK,
            false => Inventory::BLOCK,
        };
        let wanted = |id: &HeaderId| Inventory { kind, hash: self.chain.tree.hash(*id).0 };
        let wanted: Vec<_> = blocks.iter().map(wanted).collect();
        if !wanted.is_empty() {
            self.send(peer, Message::GetData(wanted));
        }
    }

    /// Gives up a peer that has not the block that it announced: another will have it.
    pub(super) fn on_block_not_found(&mut self, peer: PeerId, hash: &BlockHash, now: Now) {
        let id = self.chain.tree.find(hash);
        if id.is_some_and(|id| self.downloads.release(peer, id, now.mono)) {
            self.disconnect(peer, "it has not the block that it announced");
        }
    }

    pub(super) fn drop_slow(&mut self, peer: PeerId, timeout: DownloadTimeout) {
        let why = match timeout {
            DownloadTimeout::Stalling => "it stalls the download of blocks",
            DownloadTimeout::Block(_) => "it did not send a block in time",
        };
        self.disconnect(peer, why);
    }

    /// Whether a peer shall send no transactions at all. Core: `RejectIncomingTxs`.
    pub(super) fn rejects_txs(&self, peer: PeerId) -> bool {
        let kind = self.peers[&peer].facts.kind;
        self.options.blocks_only
            || matches!(kind, ConnectionKind::BlockRelay | ConnectionKind::Feeler)
    }
}
