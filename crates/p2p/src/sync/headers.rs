use std::time::Duration;

use caesure_consensus::{HeaderId, Reject, RejectClass, Work, check_header};
use caesure_wire::{BlockHash, Header, Locator, Message};

use super::chain::claimed_work;
use super::{Action, Sync};
use crate::{ConnectionKind, HeadersSync, HeadersSyncParams, HeadersSyncState, Now, PeerId};

/// The most headers of a message. Core: `MAX_HEADERS_RESULTS`.
pub(super) const MAX_HEADERS: usize = 2_000;
/// How long a `getheaders` is waited for. Core: `HEADERS_RESPONSE_TIME`.
const RESPONSE_TIME: Duration = Duration::from_secs(2 * 60);
/// Core: `HEADERS_DOWNLOAD_TIMEOUT_BASE`.
const DOWNLOAD_TIME: Duration = Duration::from_secs(15 * 60);
/// Core: `HEADERS_DOWNLOAD_TIMEOUT_PER_HEADER`.
const TIME_PER_HEADER: Duration = Duration::from_millis(1);
/// The age of the best header, in seconds, below which all peers are asked for headers.
const RECENT: u64 = 24 * 60 * 60;
/// How many seconds an outbound peer has to show as much work as the tip's. Core:
/// `CHAIN_SYNC_TIMEOUT`.
const CHAIN_SYNC_TIME: u64 = 20 * 60;
/// How many outbound peers no rule about chains evicts. Core:
/// `MAX_OUTBOUND_PEERS_TO_PROTECT_FROM_DISCONNECT`.
const MAX_PROTECTED: usize = 4;

impl Sync {
    /// Core: `ProcessHeadersMessage`.
    pub(super) fn on_headers(
        &mut self,
        peer: PeerId,
        headers: Vec<Header>,
        via_compact: bool,
        now: Now,
    ) {
        let is_full = headers.len() == MAX_HEADERS;
        if headers.is_empty() {
            let state = self.peer_mut(peer);
            state.presync = None;
            state.last_getheaders = None;
            return;
        }
        if let Err(why) = self.check_batch(&headers) {
            self.punish(peer, why);
            return;
        }
        let (headers, mut is_work_shown) = self.continue_presync(peer, headers, is_full, now);
        let (Some(first), Some(last)) = (headers.first(), headers.last()) else { return };
        let is_presync = self.peer_mut(peer).presync.is_some();
        let last_hash = last.hash();
        let Some(start) = self.chain.tree.find(&first.prev_block) else {
            self.ask_for_headers(peer, self.chain.tree.best(), now);
            self.note_available(peer, &last_hash);
            return;
        };
        self.peer_mut(peer).last_getheaders = None;
        let known = self.chain.tree.find(&last_hash);
        is_work_shown |= known.is_some_and(|id| self.chain.is_on_best(id));
        if !is_work_shown && self.is_low_work(peer, start, &headers, is_full, now) {
            return;
        }
        let last = match self.accept_headers(&headers, now) {
            Ok(last) => last,
            Err(class) => {
                self.punish_for_block(peer, class, via_compact, "invalid header received");
                return;
            }
        };
        if is_full && !is_presync {
            self.ask_for_headers(peer, last, now);
        }
        self.headers_taken(peer, last, known.is_none(), is_full);
        self.fetch_directly(peer, last, now);
    }

    fn check_batch(&self, headers: &[Header]) -> Result<(), &'static str> {
        let mut previous: Option<BlockHash> = None;
        for header in headers {
            check_header(header, &self.options.params)
                .map_err(|_| "header with invalid proof of work")?;
            if previous.is_some_and(|previous| previous != header.prev_block) {
                return Err("non-continuous headers sequence");
            }
            previous = Some(header.hash());
        }
        Ok(())
    }

    /// Takes headers, parents first, and returns the last.
    /// Takes a header into the tree; returns whether it is new.
    pub(super) fn accept_header(
        &mut self,
        header: &Header,
        now: Now,
    ) -> Result<(HeaderId, bool), Reject> {
        let (id, is_new) = self.chain.accept(header, now)?;
        if is_new {
            self.actions.push_back(Action::Headers(vec![*header]));
            self.is_due = true;
        }
        Ok((id, is_new))
    }

    fn accept_headers(&mut self, headers: &[Header], now: Now) -> Result<HeaderId, RejectClass> {
        let mut last = Err(RejectClass::MissingPrev);
        let mut new = Vec::new();
        for header in headers {
            last = self.chain.accept(header, now).map_err(|reject| reject.class()).map(
                |(id, is_new)| {
                    new.extend(is_new.then_some(*header));
                    id
                },
            );
            if last.is_err() {
                break;
            }
        }
        if !new.is_empty() {
            self.actions.push_back(Action::Headers(new));
            self.is_due = true;
        }
        last
    }

    /// Lets a download of headers in two passes go on. Returns the headers that are left to be
    /// looked at, and whether their work is shown. Core: `IsContinuationOfLowWorkHeadersSync`.
    fn continue_presync(
        &mut self,
        peer: PeerId,
        headers: Vec<Header>,
        is_full: bool,
        now: Now,
    ) -> (Vec<Header>, bool) {
        let Some(mut presync) = self.peer_mut(peer).presync.take() else { return (headers, false) };
        let outcome = presync.process(&self.chain.tree, &headers, is_full);
        if outcome.success {
            self.peer_mut(peer).last_getheaders = None;
        }
        if outcome.request_more {
            let hashes = presync.locator(&self.chain.tree);
            self.send_getheaders(peer, hashes, now);
        }
        if presync.state() != HeadersSyncState::Final {
            self.peer_mut(peer).presync = Some(presync);
        }
        if outcome.success { (outcome.headers, true) } else { (headers, false) }
    }

    /// Returns whether headers on a known one have too little work to be kept; a full message
    /// begins a download in two passes. Core: `TryLowWorkHeadersSync`.
    fn is_low_work(
        &mut self,
        peer: PeerId,
        start: HeaderId,
        headers: &[Header],
        is_full: bool,
        now: Now,
    ) -> bool {
        let claimed = headers.iter().map(claimed_work);
        let work = claimed.fold(self.chain.tree.chain_work(start), |sum, work| sum + work);
        let threshold = self.chain.threshold();
        if threshold <= work {
            return false;
        }
        if is_full {
            let params = HeadersSyncParams::new(self.options.params.network);
            let tree = &self.chain.tree;
            let presync = HeadersSync::new(tree, start, params, threshold, &mut self.random, now);
            self.peer_mut(peer).presync = Some(Box::new(presync));
            let _ = self.continue_presync(peer, headers.to_vec(), is_full, now);
        }
        true
    }

    /// Core: `UpdatePeerStateForReceivedHeaders`.
    fn headers_taken(&mut self, peer: PeerId, last: HeaderId, is_new: bool, may_have_more: bool) {
        self.note_available(peer, &self.chain.tree.hash(last));
        let (tip_work, minimum) = (self.chain.tip_work(), self.chain.minimum_work);
        if is_new && tip_work < self.chain.tree.chain_work(last) {
            self.actions.push_back(Action::Announced(peer));
        }
        let best_known = self.peer_mut(peer).best_known;
        let work = best_known.map_or(Work::ZERO, |id| self.chain.tree.chain_work(id));
        let state = &self.peers[&peer];
        if state.is_chosen() && work < minimum && !may_have_more && self.is_initial_download {
            self.disconnect(peer, "its chain has too little work");
            return;
        }
        if state.facts.kind == ConnectionKind::OutboundFull
            && !state.chain_sync.is_protected
            && tip_work <= work
            && self.protected < MAX_PROTECTED
        {
            self.protected += 1;
            self.peer_mut(peer).chain_sync.is_protected = true;
            self.actions.push_back(Action::Protect(peer));
        }
    }

    /// Notes that a peer has a block. Core: `UpdateBlockAvailability`.
    pub(super) fn note_available(&mut self, peer: PeerId, hash: &BlockHash) {
        self.look_for_unknown(peer);
        match self.chain.tree.find(hash) {
            Some(id) => self.raise_best_known(peer, id),
            None => self.peer_mut(peer).last_unknown = Some(*hash),
        }
    }

    /// Core: `ProcessBlockAvailability`.
    pub(super) fn look_for_unknown(&mut self, peer: PeerId) {
        let unknown = self.peer_mut(peer).last_unknown;
        if let Some(id) = unknown.and_then(|hash| self.chain.tree.find(&hash)) {
            self.peer_mut(peer).last_unknown = None;
            self.raise_best_known(peer, id);
        }
    }

    fn raise_best_known(&mut self, peer: PeerId, id: HeaderId) {
        let tree = &self.chain.tree;
        let known = self.peers.get_mut(&peer).expect("the caller found the peer");
        if known.best_known.is_none_or(|best| tree.chain_work(best) <= tree.chain_work(id)) {
            known.best_known = Some(id);
        }
    }

    /// Asks for what follows a header, unless an answer is waited for. Core: `MaybeSendGetHeaders`.
    pub(super) fn ask_for_headers(&mut self, peer: PeerId, from: HeaderId, now: Now) -> bool {
        let hashes = self.chain.tree.locator(from);
        self.send_getheaders(peer, hashes, now)
    }

    fn send_getheaders(&mut self, peer: PeerId, hashes: Vec<BlockHash>, now: Now) -> bool {
        let last = &mut self.peer_mut(peer).last_getheaders;
        if hashes.is_empty() || last.is_some_and(|last| now.mono <= last + RESPONSE_TIME) {
            return false;
        }
        *last = Some(now.mono);
        let locator = Locator { version: super::PROTOCOL_VERSION, hashes, stop: BlockHash::ZERO };
        self.send(peer, Message::GetHeaders(locator));
        true
    }

    /// Begins to download headers from a peer when it is its turn, gives it up when it takes too
    /// long, and sees to it that outbound peers have good chains.
    pub(super) fn poll_headers(&mut self, peer: PeerId, now: Now) {
        let best = self.chain.tree.best();
        let best_time = u64::from(self.chain.tree.header(best).time);
        let is_recent = now.unix.saturating_sub(RECENT) < best_time;
        let state = self.peer_mut(peer);
        if !state.is_syncing && state.serves_blocks() {
            let is_alone = self.syncing == 0 && self.is_source(peer);
            let from = self.chain.tree.parent(best).unwrap_or(best);
            if (is_alone || is_recent) && self.ask_for_headers(peer, from, now) {
                let spacing = u64::from(self.options.params.pow_target_spacing);
                let missing = now.unix.saturating_sub(best_time) / spacing;
                let missing = u32::try_from(missing).unwrap_or(u32::MAX);
                self.syncing += 1;
                let state = self.peer_mut(peer);
                state.is_syncing = true;
                let timeout = now.mono + DOWNLOAD_TIME + TIME_PER_HEADER * missing;
                state.headers_timeout = Some(timeout);
            }
        }
        let state = self.peer_mut(peer);
        if let Some(timeout) = state.headers_timeout.filter(|_| state.is_syncing) {
            let others = self.preferred - usize::from(self.peer_mut(peer).is_preferred());
            if is_recent {
                self.peer_mut(peer).headers_timeout = None;
            } else if timeout < now.mono && self.syncing == 1 && 0 < others {
                self.disconnect(peer, "it did not send headers in time");
                return;
            }
        }
        self.consider_eviction(peer, now);
    }

    /// Core: `ConsiderEviction`.
    fn consider_eviction(&mut self, peer: PeerId, now: Now) {
        let state = self.peer_mut(peer);
        if state.chain_sync.is_protected || !state.is_chosen() || !state.is_syncing {
            return;
        }
        let (best_known, wanted, was_asked) =
            (state.best_known, state.chain_sync.wanted, state.chain_sync.was_asked);
        let has_work_of = |sync: &Self, id: HeaderId| {
            let work = |id| sync.chain.tree.chain_work(id);
            best_known.is_some_and(|known| work(id) <= work(known))
        };
        let tip = self.chain.tip;
        let (wanted, was_asked) = if has_work_of(self, tip) {
            (None, false)
        } else {
            match wanted {
                Some((_, id)) if has_work_of(self, id) => {
                    (Some((now.unix + CHAIN_SYNC_TIME, tip)), false)
                }
                None => (Some((now.unix + CHAIN_SYNC_TIME, tip)), false),
                Some((until, _)) if now.unix <= until => return,
                Some(_) if was_asked => {
                    self.disconnect(peer, "its chain has less work than ours");
                    return;
                }
                Some((_, id)) => {
                    let parent = self.chain.tree.parent(id).unwrap_or(id);
                    self.ask_for_headers(peer, parent, now);
                    (Some((now.unix + RESPONSE_TIME.as_secs(), id)), true)
                }
            }
        };
        let sync = &mut self.peer_mut(peer).chain_sync;
        (sync.wanted, sync.was_asked) = (wanted, was_asked);
    }

    /// Whether headers and blocks are asked of the peer while others are preferred. Core:
    /// `sync_blocks_and_headers_from_peer`.
    pub(super) fn is_source(&self, peer: PeerId) -> bool {
        let state = &self.peers[&peer];
        let is_spare = || self.preferred == 0 || self.downloads.is_empty();
        state.is_preferred()
            || (state.serves_blocks()
                && state.facts.kind != ConnectionKind::AddrFetch
                && is_spare())
    }
}
