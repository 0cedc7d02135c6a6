use core::time::Duration;
use std::collections::BTreeMap;

use caesure_consensus::{Deployment, HeaderId, HeaderTree, Work};

use crate::{PartialBlock, PeerId};

/// How long the window may wait for a peer at first. Core: `BLOCK_STALLING_TIMEOUT_DEFAULT`.
const MIN_STALLING_TIMEOUT: Duration = Duration::from_secs(2);

/// How long it may at most. Core: `BLOCK_STALLING_TIMEOUT_MAX`.
const MAX_STALLING_TIMEOUT: Duration = Duration::from_secs(64);

/// How deep a block may be, below the best of a peer that keeps the last 288 alone, to be asked of
/// it: two less, as new ones may come meanwhile. Core: `NODE_NETWORK_LIMITED_MIN_BLOCKS`.
const LIMITED_DEPTH: u32 = 288 - 2;

/// How many headers are walked over at a time, since finding one takes as long as many steps.
const STRIDE: u32 = 128;

/// What is known of the chain.
#[derive(Clone, Copy)]
pub struct ChainFacts<'a> {
    /// All headers.
    pub tree: &'a HeaderTree,
    /// The block up to which the chain is connected.
    pub tip: HeaderId,
    /// The least work of a chain whose blocks are fetched: the tip's, or less where branches beside
    /// it are wanted too.
    pub minimum_chain_work: Work,
    /// Whether a block needs no fetching: its body is stored, or was before it was pruned.
    pub has_block: &'a dyn Fn(HeaderId) -> bool,
    /// Whether a block came and is not stored yet. It is not asked for, but might be again when it
    /// is found to be no good.
    pub is_pending: &'a dyn Fn(HeaderId) -> bool,
}

/// What is known of a peer's chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DownloadPeer {
    /// The header with the most work that the peer is known to have. Core: `pindexBestKnownBlock`.
    pub best_known: HeaderId,
    /// Whether it keeps the last 288 blocks alone. Core: `IsLimitedPeer`.
    pub is_limited: bool,
    /// Whether it sends witnesses. Core: `CanServeWitnesses`.
    pub serves_witnesses: bool,
}

/// Why a peer is to be disconnected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DownloadTimeout {
    /// The window of the download cannot move for want of a block that it was asked for.
    Stalling,
    /// It did not send this block in time.
    Block(HeaderId),
}

/// The place of a compact block among the requests of that block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompactSlot {
    /// The block counts as asked of the peer. `is_first`: no other peer was asked before, so the
    /// whole block may be asked for when the compact one fails. `earlier`: how many peers, this one
    /// included if it was among them, were asked before.
    Taken {
        /// Whether it was asked first.
        is_first: bool,
        /// How many requests there were before.
        earlier: usize,
    },
    /// The peer's compact block is being put together already: this one is ignored.
    Duplicate,
    /// There is no place: the block may be tried without asking the peer for anything.
    Full,
}

/// Which block was asked of which peer, since when.
///
/// Of each peer at most [`MAX_PER_PEER`](Self::MAX_PER_PEER) blocks are asked at a time, and each
/// block of one peer, a compact one of [`MAX_PER_BLOCK`](Self::MAX_PER_BLOCK). Only
/// [`request`](Self::request) goes beyond, as the user may. What a peer does ends its own
/// requests alone.
#[derive(Clone, Debug)]
pub struct Downloads {
    block_spacing: Duration,
    stalling_timeout: Duration,
    peers: BTreeMap<PeerId, Peer>,
    /// The peers of which a block was asked, the first first.
    by_block: BTreeMap<HeaderId, Vec<PeerId>>,
}

#[derive(Clone, Debug, Default)]
struct Peer {
    is_inbound: bool,
    requests: Vec<Request>,
    last_common: Option<HeaderId>,
    /// Since when we wait for the first of the requests. Core: `m_downloading_since`.
    downloading_since: Duration,
    /// Since when the window waits for it. Core: `m_stalling_since`.
    stalling_since: Option<Duration>,
}

#[derive(Clone, Debug)]
struct Request {
    block: HeaderId,
    /// Whether a compact block came, which need not have been kept.
    is_compact: bool,
    partial: Option<PartialBlock>,
}

impl Downloads {
    /// The most blocks that are asked of one peer at a time. Core:
    /// `MAX_BLOCKS_IN_TRANSIT_PER_PEER`.
    pub const MAX_PER_PEER: usize = 16;
    /// The most peers of which one block is asked at a time. Core:
    /// `MAX_CMPCTBLOCKS_INFLIGHT_PER_BLOCK`.
    pub const MAX_PER_BLOCK: usize = 3;
    /// How far above the last block that we and a peer have in common blocks are asked for.
    /// Core: `BLOCK_DOWNLOAD_WINDOW`.
    pub const WINDOW: u32 = 1_024;

    /// Makes an empty one. `block_spacing` is [`Params::pow_target_spacing`](caesure_consensus::Params).
    #[must_use]
    pub fn new(block_spacing: u32) -> Self {
        Self {
            block_spacing: Duration::from_secs(block_spacing.into()),
            stalling_timeout: MIN_STALLING_TIMEOUT,
            peers: BTreeMap::new(),
            by_block: BTreeMap::new(),
        }
    }

    /// Takes a peer in.
    pub fn peer_ready(&mut self, peer: PeerId, is_inbound: bool) {
        self.peers.entry(peer).or_insert(Peer { is_inbound, ..Peer::default() });
    }

    /// Forgets a peer; what was asked of it may be asked of others.
    pub fn peer_gone(&mut self, peer: PeerId) {
        for request in self.peers.remove(&peer).into_iter().flat_map(|peer| peer.requests) {
            self.unlist(peer, request.block);
        }
    }

    /// Returns the blocks to ask a peer for now, which count as asked for. When there is none
    /// because another peer keeps the window from moving, that one's time begins to run. Core:
    /// `FindNextBlocksToDownload`.
    pub fn next_for(
        &mut self,
        peer: PeerId,
        peer_chain: DownloadPeer,
        chain: &ChainFacts<'_>,
        now: Duration,
    ) -> Vec<HeaderId> {
        let Some(state) = self.peers.get(&peer) else { return Vec::new() };
        let count = Self::MAX_PER_PEER.saturating_sub(state.requests.len());
        let (tree, best) = (chain.tree, peer_chain.best_known);
        let work = tree.chain_work(best);
        if count == 0 || work < chain.minimum_chain_work {
            return Vec::new();
        }
        let fork = tree.fork_point(best, chain.tip);
        // What was in common stays so, unless the peer's chain left it or ours got further.
        let is_still = |last: &HeaderId| {
            tree.chain_work(fork) <= tree.chain_work(*last)
                && tree.ancestor(best, tree.height(*last)) == Some(*last)
        };
        let mut common = state.last_common.filter(is_still).unwrap_or(fork);
        let mut found = self.find(peer, peer_chain, chain, common, count);
        // The window moved: at its new end there may be more, and nobody need be waited for.
        while found.common != common && found.blocks.len() < count {
            common = found.common;
            found = self.find(peer, peer_chain, chain, common, count);
        }
        for block in &found.blocks {
            self.request(peer, *block, now);
        }
        let Some(state) = self.peers.get_mut(&peer) else { return Vec::new() };
        state.last_common = Some(found.common);
        let is_idle = state.requests.is_empty();
        let staller = found.staller.filter(|_| is_idle);
        if let Some(staller) = staller.and_then(|staller| self.peers.get_mut(&staller)) {
            staller.stalling_since.get_or_insert(now);
        }
        found.blocks
    }

    /// Returns the blocks to ask a peer for that has just announced a header with at least the
    /// tip's work: those that lead there, when they are few. They count as asked for. The caller
    /// sees to it that the tip is recent (Core: `CanDirectFetch`). Core: `HeadersDirectFetchBlocks`.
    pub fn direct_for(
        &mut self,
        peer: PeerId,
        peer_chain: DownloadPeer,
        chain: &ChainFacts<'_>,
        now: Duration,
    ) -> Vec<HeaderId> {
        let (tree, last) = (chain.tree, peer_chain.best_known);
        let Some(state) = self.peers.get(&peer) else { return Vec::new() };
        if tree.is_invalid(last) || tree.chain_work(last) < tree.chain_work(chain.tip) {
            return Vec::new();
        }
        let mut blocks = Vec::new();
        let mut id = last;
        while tree.ancestor(chain.tip, tree.height(id)) != Some(id) {
            if Self::MAX_PER_PEER < blocks.len() {
                // So large a reorganisation is left to the parallel download.
                return Vec::new();
            }
            let is_servable = peer_chain.serves_witnesses || !has_segwit(tree, id);
            let is_there = (chain.has_block)(id) || (chain.is_pending)(id);
            if !is_there && !self.by_block.contains_key(&id) && is_servable {
                blocks.push(id);
            }
            let Some(parent) = tree.parent(id) else { return Vec::new() };
            id = parent;
        }
        let count = Self::MAX_PER_PEER.saturating_sub(state.requests.len());
        blocks.reverse();
        blocks.truncate(count);
        for block in &blocks {
            self.request(peer, *block, now);
        }
        blocks
    }

    /// Notes that a block is asked of a peer. Returns false when it was already, or there is no such
    /// peer. Core: `BlockRequested`.
    pub fn request(&mut self, peer: PeerId, block: HeaderId, now: Duration) -> bool {
        let is_requested = self.is_requested_of(peer, block);
        let Some(state) = self.peers.get_mut(&peer).filter(|_| !is_requested) else { return false };
        if state.requests.is_empty() {
            state.downloading_since = now;
        }
        state.requests.push(Request { block, is_compact: false, partial: None });
        self.by_block.entry(block).or_default().push(peer);
        true
    }

    /// Ends the request of a block from one peer, which delivered it, has not got it, or sent
    /// something else. Nobody else's ends. Returns whether there was one. Core: `RemoveBlockRequest`.
    pub fn release(&mut self, peer: PeerId, block: HeaderId, now: Duration) -> bool {
        let Some(state) = self.peers.get_mut(&peer) else { return false };
        let position = state.requests.iter().position(|request| request.block == block);
        let Some(position) = position else { return false };
        if position == 0 {
            state.downloading_since = state.downloading_since.max(now);
        }
        state.requests.remove(position);
        state.stalling_since = None;
        self.unlist(peer, block);
        true
    }

    /// Ends all requests of a block: it is stored.
    pub fn stored(&mut self, block: HeaderId, now: Duration) {
        for peer in self.peers_of(block).to_vec() {
            self.release(peer, block, now);
        }
    }

    /// Notes that a block was connected: the time after which a peer stalls gets shorter.
    pub fn connected(&mut self) {
        let seconds = self.stalling_timeout.as_secs() * 85 / 100;
        self.stalling_timeout = Duration::from_secs(seconds).max(MIN_STALLING_TIMEOUT);
    }

    /// Returns the peers of which a block was asked, the first first.
    #[must_use]
    pub fn peers_of(&self, block: HeaderId) -> &[PeerId] {
        self.by_block.get(&block).map_or(&[], Vec::as_slice)
    }

    /// Returns whether a block was asked of a peer.
    #[must_use]
    pub fn is_requested_of(&self, peer: PeerId, block: HeaderId) -> bool {
        self.peers_of(block).contains(&peer)
    }

    /// Returns the blocks that were asked of a peer, in order.
    pub fn in_flight(&self, peer: PeerId) -> impl Iterator<Item = HeaderId> + '_ {
        let requests = self.peers.get(&peer).map_or(&[][..], |peer| &peer.requests);
        requests.iter().map(|request| request.block)
    }

    /// Returns how many different blocks are asked for.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_block.len()
    }

    /// Returns whether nothing is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_block.is_empty()
    }

    /// Returns the last block that we and a peer have in common. Core: `pindexLastCommonBlock`.
    #[must_use]
    pub fn last_common(&self, peer: PeerId) -> Option<HeaderId> {
        self.peers.get(&peer)?.last_common
    }

    /// Finds a place for a compact block that a peer sent.
    pub fn compact_slot(&mut self, peer: PeerId, block: HeaderId, now: Duration) -> CompactSlot {
        let peers = self.peers_of(block);
        let (earlier, first) = (peers.len(), peers.first().copied());
        let is_requested = peers.contains(&peer);
        let in_flight = self.peers.get(&peer).map_or(usize::MAX, |peer| peer.requests.len());
        let has_room = earlier < Self::MAX_PER_BLOCK && in_flight < Self::MAX_PER_PEER;
        if !has_room && !is_requested {
            return CompactSlot::Full;
        }
        self.request(peer, block, now);
        match self.request_mut(peer, block) {
            Some(request) if !request.is_compact => {
                request.is_compact = true;
                CompactSlot::Taken { is_first: first.is_none_or(|first| first == peer), earlier }
            }
            _ => CompactSlot::Duplicate,
        }
    }

    /// Returns whether a peer with a [`CompactSlot::Taken`] may be asked for what is missing: the
    /// first may, and so may others that we told to announce by compact blocks, but for the last
    /// place, which only an outbound peer gets unless one is being asked already (CVE-2024-52922).
    #[must_use]
    pub fn may_ask_for_missing(
        &self,
        peer: PeerId,
        block: HeaderId,
        slot: CompactSlot,
        is_high_bandwidth: bool,
    ) -> bool {
        let CompactSlot::Taken { is_first, earlier } = slot else { return false };
        let is_outbound = |peer: &PeerId| self.peers.get(peer).is_some_and(|peer| !peer.is_inbound);
        is_first
            || is_high_bandwidth
                && (is_outbound(&peer)
                    || self.peers_of(block).iter().any(is_outbound)
                    || earlier < Self::MAX_PER_BLOCK - 1)
    }

    /// Keeps a peer's compact block until the missing transactions come, if the block is still asked
    /// of it.
    pub fn keep_compact(&mut self, peer: PeerId, block: HeaderId, partial: PartialBlock) {
        if let Some(request) = self.request_mut(peer, block) {
            request.is_compact = true;
            request.partial = Some(partial);
        }
    }

    /// Returns a peer's compact block that waits for transactions.
    pub fn compact(&mut self, peer: PeerId, block: HeaderId) -> Option<&mut PartialBlock> {
        self.request_mut(peer, block)?.partial.as_mut()
    }

    /// Returns the peers that took too long and are to be disconnected. For each that stalls the
    /// time gets twice as long, as it might be our own line that is slow.
    pub fn timeouts(&mut self, now: Duration) -> Vec<(PeerId, DownloadTimeout)> {
        let limit = self.block_timeout();
        let mut timeouts = Vec::new();
        for (peer, state) in &mut self.peers {
            let patience = self.stalling_timeout;
            if state.stalling_since.is_some_and(|since| since.saturating_add(patience) < now) {
                state.stalling_since = None;
                self.stalling_timeout = (2 * patience).min(MAX_STALLING_TIMEOUT);
                timeouts.push((*peer, DownloadTimeout::Stalling));
            } else if let Some(first) = state.requests.first()
                && state.downloading_since.saturating_add(limit) < now
            {
                timeouts.push((*peer, DownloadTimeout::Block(first.block)));
            }
        }
        timeouts
    }

    fn block_timeout(&self) -> Duration {
        let peers = self.peers.values().filter(|peer| !peer.requests.is_empty()).count();
        let others = u32::try_from(peers.saturating_sub(1)).unwrap_or(u32::MAX);
        self.block_spacing.saturating_mul(others.saturating_add(2)) / 2
    }

    fn request_mut(&mut self, peer: PeerId, block: HeaderId) -> Option<&mut Request> {
        let mut requests = self.peers.get_mut(&peer)?.requests.iter_mut();
        requests.find(|request| request.block == block)
    }

    fn unlist(&mut self, peer: PeerId, block: HeaderId) {
        if let Some(peers) = self.by_block.get_mut(&block) {
            peers.retain(|other| *other != peer);
            if peers.is_empty() {
                self.by_block.remove(&block);
            }
        }
    }

    /// Walks up a peer's chain and collects what is neither there nor asked for. Core:
    /// `FindNextBlocks`.
    fn find(
        &self,
        peer: PeerId,
        peer_chain: DownloadPeer,
        chain: &ChainFacts<'_>,
        common: HeaderId,
        count: usize,
    ) -> Found {
        let (tree, best) = (chain.tree, peer_chain.best_known);
        let window_end = tree.height(common) + Self::WINDOW;
        // One more than the window, to see whether it is the window that hinders.
        let end = tree.height(best).min(window_end + 1);
        let mut found = Found { blocks: Vec::new(), common, staller: None };
        let mut waits_for = None;
        let mut is_gapless = true;
        for id in path(tree, best, tree.height(common) + 1, end) {
            let is_servable = peer_chain.serves_witnesses || !has_segwit(tree, id);
            if tree.is_invalid(id) || !is_servable {
                break;
            }
            if (chain.has_block)(id) {
                if is_gapless {
                    found.common = id;
                }
                continue;
            }
            is_gapless = false;
            if (chain.is_pending)(id) {
                continue;
            }
            if let Some(first) = self.peers_of(id).first() {
                waits_for = waits_for.or(Some(*first));
                continue;
            }
            let height = tree.height(id);
            if window_end < height {
                let is_stuck = found.blocks.is_empty();
                found.staller = waits_for.filter(|other| is_stuck && *other != peer);
                break;
            }
            let depth = tree.height(best) - height;
            if peer_chain.is_limited && LIMITED_DEPTH <= depth {
                continue;
            }
            found.blocks.push(id);
            if found.blocks.len() == count {
                break;
            }
        }
        found
    }
}

struct Found {
    blocks: Vec<HeaderId>,
    /// The last block that is there with all before it.
    common: HeaderId,
    /// For whom the window waits.
    staller: Option<PeerId>,
}

/// The ancestors of a header, itself included, at the heights from `start` to `end`, upwards.
pub(crate) fn path(
    tree: &HeaderTree,
    last: HeaderId,
    start: u32,
    end: u32,
) -> impl Iterator<Item = HeaderId> + '_ {
    let strides = (start..=end).step_by(STRIDE as usize);
    strides.flat_map(move |low| {
        let top = tree.ancestor(last, end.min(low + STRIDE - 1));
        let down = core::iter::successors(top, |id| tree.parent(*id));
        let mut ids: Vec<HeaderId> = down.take_while(|id| low <= tree.height(*id)).collect();
        ids.reverse();
        ids
    })
}

pub(crate) fn has_segwit(tree: &HeaderTree, id: HeaderId) -> bool {
    tree.params().is_active(Deployment::Segwit, tree.height(id))
}

#[cfg(test)]
mod tests;
