mod announcing;
mod api;
mod blocks;
mod chain;
mod compact_relay;
mod headers;
mod peer;
mod serving;
mod transactions;
mod user;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use caesure_consensus::{HeaderId, HeaderTree, MAX_MONEY};
use caesure_wire::{BlockHash, Message};

pub use api::{
    Action, BlockState, ChainTip, PeerChain, Submitted, SyncError, SyncOptions, TipStatus,
};
pub use peer::NewPeer;
pub use transactions::{NoPool, TxPool, TxVerdict};

use announcing::Recent;
use blocks::Source;
use chain::Chain;
use peer::Peer;

use crate::{ConnectionKind, Downloads, Now, PeerId, Random, TxRequests};

/// The version that stands in a locator. Core: `CBlockLocator::DUMMY_VERSION`.
const PROTOCOL_VERSION: u32 = 70_016;
/// The protocol version from which messages are understood.
const SENDHEADERS_VERSION: i32 = 70_012;
const FEE_FILTER_VERSION: i32 = 70_013;
const COMPACT_BLOCKS_VERSION: i32 = 70_014;
/// The version of compact blocks. Core: `CMPCTBLOCKS_VERSION`.
const COMPACT_VERSION: u64 = 2;
/// Core: `STALE_CHECK_INTERVAL`.
const STALE_CHECK_INTERVAL: Duration = Duration::from_secs(10 * 60);
/// How often peers are looked at when something changed, and when nothing did.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
const IDLE_INTERVAL: Duration = Duration::from_secs(1);

/// All that needs the header tree: headers, blocks and transactions are fetched, served and relayed.
///
/// It does no I/O. Every call may lead to actions, which [`next_action`](Self::next_action) gives in
/// order; [`tick`](Self::tick) is wanted at [`deadline`](Self::deadline).
///
/// Bounds, besides those of [`Downloads`], [`TxRequests`] and [`HeadersSync`](crate::HeadersSync): of
/// a peer are kept at most 50,000 entries of `getdata`, 4 blocks that are read for it, 5,000
/// transactions to be announced and 50,000 that it knows; in all 64 reads, and of 4,096 blocks who
/// sent them. From 32 MiB of blocks on that the validator was not heard of yet, no more are asked for.
pub struct Sync {
    options: SyncOptions,
    chain: Chain,
    peers: BTreeMap<PeerId, Peer>,
    downloads: Downloads,
    requests: TxRequests,
    pool: Box<dyn TxPool + Send>,
    random: Random,
    actions: VecDeque<Action>,
    now: Now,
    /// When all peers were looked at, and whether something changed since.
    last_poll: Option<Duration>,
    is_due: bool,
    is_initial_download: bool,

    /// How many peers are preferred, are asked for headers, and are protected.
    preferred: usize,
    syncing: usize,
    protected: usize,
    /// Core: `m_last_block_inv_triggering_headers_sync`.
    last_inv_asked: Option<BlockHash>,

    /// Blocks that were handed to the validator and not heard of yet, and their bytes.
    pending: BTreeMap<HeaderId, Arc<Vec<u8>>>,
    pending_bytes: usize,
    /// Who sent the blocks that are not validated, by age. Core: `mapBlockSource`.
    sources: BTreeMap<BlockHash, Source>,
    /// Why blocks were refused, of the last thousand.
    reasons: BTreeMap<HeaderId, String>,
    source_order: VecDeque<BlockHash>,
    /// The peers that announce by compact blocks, who did longest ago first. Core:
    /// `lNodesAnnouncingHeaderAndIDs`.
    high_bandwidth: Vec<PeerId>,

    recent: Option<Recent>,
    /// Core: `m_highest_fast_announce`.
    highest_announced: u32,
    last_tip_update: Duration,
    stale_check: Duration,
    is_stale: bool,

    ticket: u64,
    /// For whom blocks are read.
    reads: BTreeMap<u64, PeerId>,
    /// Who waits until fewer are read.
    waiting: VecDeque<PeerId>,
    /// Core: `m_next_inv_to_inbounds`.
    next_inbound_inv: Duration,
}

impl Sync {
    /// Begins with the headers that are known, what is known of each block by [`HeaderId`], and the
    /// active tip.
    ///
    /// # Panics
    /// When there are not as many states as headers.
    #[must_use]
    pub fn new(
        options: SyncOptions,
        tree: HeaderTree,
        states: Vec<BlockState>,
        tip: HeaderId,
        mut random: Random,
        now: Now,
    ) -> Self {
        let chain = Chain::new(tree, states, tip, options.minimum_chain_work);
        let mut sync = Self {
            downloads: Downloads::new(options.params.pow_target_spacing),
            requests: TxRequests::new(&mut random),
            options,
            chain,
            peers: BTreeMap::new(),
            pool: Box::new(NoPool),
            random,
            actions: VecDeque::new(),
            now,
            last_poll: None,
            is_due: false,
            is_initial_download: true,
            preferred: 0,
            syncing: 0,
            protected: 0,
            last_inv_asked: None,
            pending: BTreeMap::new(),
            pending_bytes: 0,
            sources: BTreeMap::new(),
            reasons: BTreeMap::new(),
            source_order: VecDeque::new(),
            high_bandwidth: Vec::new(),
            recent: None,
            highest_announced: 0,
            last_tip_update: now.mono,
            stale_check: now.mono + STALE_CHECK_INTERVAL,
            is_stale: false,
            ticket: 0,
            reads: BTreeMap::new(),
            waiting: VecDeque::new(),
            next_inbound_inv: Duration::ZERO,
        };
        sync.is_initial_download = !sync.chain.is_tip_recent(now);
        sync
    }

    /// Sets where transactions go to and come from; until then none are taken.
    pub fn set_pool(&mut self, pool: Box<dyn TxPool + Send>) {
        self.pool = pool;
    }

    /// A connection is ready for chain data.
    pub fn peer_ready(&mut self, peer: impl Into<NewPeer>, now: Now) {
        self.now = now;
        let facts = peer.into();
        let state = Peer::new(facts);
        self.preferred += usize::from(state.is_preferred());
        self.downloads.peer_ready(facts.id, state.is_inbound());
        self.peers.insert(facts.id, state);
        self.add_tx_peer(facts.id);
        if COMPACT_BLOCKS_VERSION <= facts.version {
            let message = Message::SendCmpct { announce: false, version: COMPACT_VERSION };
            self.send(facts.id, message);
        }
        self.poll(facts.id, now);
    }

    /// A connection that was ready is gone.
    pub fn peer_gone(&mut self, peer: PeerId, now: Now) {
        self.now = now;
        let Some(state) = self.peers.remove(&peer) else { return };
        self.preferred -= usize::from(state.is_preferred());
        self.syncing -= usize::from(state.is_syncing);
        self.protected -= usize::from(state.chain_sync.is_protected);
        self.downloads.peer_gone(peer);
        self.requests.peer_gone(peer);
        self.high_bandwidth.retain(|&other| other != peer);
        self.waiting.retain(|&other| other != peer);
        self.is_due = true;
    }

    /// Says whether the peer's send queue is above its limit: while it is, nothing that it asked for
    /// is sent or read. Core: `fPauseSend`.
    pub fn peer_full(&mut self, peer: PeerId, is_full: bool, now: Now) {
        self.now = now;
        let state = self.peers.get_mut(&peer).filter(|state| state.is_full != is_full);
        if let Some(state) = state {
            state.is_full = is_full;
            self.serve_queued(peer);
        }
    }

    /// Takes a message about chain data; others are ignored.
    pub fn message(&mut self, peer: PeerId, message: Message, now: Now) {
        self.now = now;
        let Some(state) = self.peers.get_mut(&peer).filter(|state| !state.is_dropped) else {
            return;
        };
        match message {
            Message::SendHeaders => state.prefers_headers = true,
            Message::SendCmpct { announce, version: COMPACT_VERSION } => {
                state.gives_compact = true;
                state.wants_compact = announce;
            }
            Message::FeeFilter(rate) if (0..=MAX_MONEY).contains(&rate) => {
                state.txs.fee_filter = rate;
            }
            Message::Inv(items) => self.on_inv(peer, &items, now),
            Message::GetData(items) => self.on_getdata(peer, items),
            Message::NotFound(items) => self.on_not_found(peer, &items, now),
            Message::GetBlocks(locator) => self.on_getblocks(peer, &locator),
            Message::GetHeaders(locator) => self.on_getheaders(peer, &locator),
            Message::Headers(headers) => self.on_headers(peer, headers, false, now),
            Message::Block(bytes) => self.on_block(peer, bytes, now),
            Message::Tx(bytes) => self.on_tx(peer, &bytes, now),
            Message::CmpctBlock(compact) => self.on_compact(peer, compact, now),
            Message::GetBlockTxn(request) => self.on_getblocktxn(peer, request),
            Message::BlockTxn(answer) => self.on_block_txn(peer, &answer, now),
            _ => {}
        }
        self.poll(peer, now);
    }

    /// The active tip is now another.
    pub fn tip_changed(&mut self, hash: &BlockHash, now: Now) {
        self.now = now;
        let Some(id) = self.chain.tree.find(hash) else { return };
        let old = std::mem::replace(&mut self.chain.tip, id);
        self.is_due = true;
        if old == id {
            return;
        }
        self.last_tip_update = now.mono;
        if self.is_initial_download {
            self.is_initial_download = !self.chain.is_tip_recent(now);
        }
        if !self.is_initial_download {
            self.announce_tip(old);
        }
    }

    /// Bodies of blocks up to a height are released.
    pub const fn pruned(&mut self, height: u32) {
        self.chain.pruned = Some(height);
    }

    /// A user holds a block for invalid (`invalidateblock`).
    pub fn invalidated(&mut self, hash: &BlockHash, now: Now) {
        self.now = now;
        if let Some(id) = self.chain.tree.find(hash) {
            self.mark_invalid(id, now);
        }
    }

    /// A user took the mark of invalidity off a block, its ancestors and descendants
    /// (`reconsiderblock`).
    pub fn reconsidered(&mut self, hash: &BlockHash, now: Now) {
        self.now = now;
        if let Some(id) = self.chain.tree.find(hash) {
            self.chain.tree.mark_valid(id);
            self.is_due = true;
        }
    }

    /// Does what time asks for; nothing before the [`deadline`](Self::deadline).
    pub fn tick(&mut self, now: Now) {
        self.now = now;
        if now.mono < self.deadline() {
            return;
        }
        self.last_poll = Some(now.mono);
        self.is_due = false;
        for (peer, timeout) in self.downloads.timeouts(now.mono) {
            self.drop_slow(peer, timeout);
        }
        self.check_stale_tip(now);
        let peers: Vec<_> = self.peers.keys().copied().collect();
        for peer in peers {
            self.poll(peer, now);
            self.serve_queued(peer);
            self.poll_announcements(peer, now);
        }
        self.poll_requests(now);
    }

    /// Returns the monotonic time at which [`tick`](Self::tick) is wanted.
    #[must_use]
    pub fn deadline(&self) -> Duration {
        let Some(last) = self.last_poll else { return Duration::ZERO };
        let (soon, late) = (last + POLL_INTERVAL, last + IDLE_INTERVAL);
        let requests = self.requests.deadline().filter(|_| !self.is_due);
        requests.map_or(if self.is_due { soon } else { late }, |due| due.clamp(soon, late))
    }

    /// Takes the next thing to do.
    pub fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Returns how many bytes of blocks were handed to the validator and not heard of yet.
    #[must_use]
    pub const fn pending_bytes(&self) -> usize {
        self.pending_bytes
    }

    /// Returns all headers.
    #[must_use]
    pub const fn tree(&self) -> &HeaderTree {
        &self.chain.tree
    }

    /// Returns the active tip.
    #[must_use]
    pub const fn tip(&self) -> HeaderId {
        self.chain.tip
    }

    /// Returns what is known of a block.
    ///
    /// # Panics
    /// When the id is another tree's, as all that take one.
    #[must_use]
    pub fn block_state(&self, id: HeaderId) -> BlockState {
        self.chain.state(id)
    }

    /// Returns whether a block can be read: it is stored and not pruned.
    #[must_use]
    pub fn has_body(&self, id: HeaderId) -> bool {
        self.chain.has_body(id)
    }

    /// Returns why a block was refused; none when it was not, or is not remembered any more: that it is
    /// [invalid](HeaderTree::is_invalid) is. What stands on it was refused for its sake.
    #[must_use]
    pub fn refusal(&self, id: HeaderId) -> Option<&str> {
        self.reasons.get(&id).map(|reason| &**reason)
    }

    /// Returns whether a block is on the active chain.
    #[must_use]
    pub fn is_active(&self, id: HeaderId) -> bool {
        self.chain.contains(id)
    }

    /// Returns the height up to which bodies are released.
    #[must_use]
    pub const fn pruned_height(&self) -> Option<u32> {
        self.chain.pruned
    }

    /// Returns the ends of all branches, the highest first. Takes time in proportion to the branches.
    #[must_use]
    pub fn chain_tips(&self) -> Vec<ChainTip> {
        self.chain.tips()
    }

    /// Returns what is known of a peer's chain.
    #[must_use]
    pub fn peer_chain(&self, peer: PeerId) -> Option<PeerChain> {
        let state = self.peers.get(&peer)?;
        let blocks = self.downloads.in_flight(peer);
        Some(PeerChain {
            best_known: state.best_known,
            last_common: self.downloads.last_common(peer),
            in_flight: blocks.map(|id| self.chain.tree.height(id)).collect(),
            presync_height: state.presync.as_ref().map(|presync| presync.presync_height()),
            high_bandwidth_to: state.is_high_bandwidth,
            high_bandwidth_from: state.wants_compact,
            fee_filter: state.txs.fee_filter,
            inv_to_send: state.txs.to_send.len(),
        })
    }

    /// Returns whether the node has not yet been at the tip: its chain has not the minimum work, or
    /// its tip was older than a day ever since. Core: `IsInitialBlockDownload`.
    #[must_use]
    pub const fn is_initial_download(&self) -> bool {
        self.is_initial_download
    }

    /// Does for a peer what is due. Core: `SendMessages`.
    fn poll(&mut self, peer: PeerId, now: Now) {
        if self.peers[&peer].is_dropped {
            return;
        }
        self.poll_sendheaders(peer);
        self.poll_headers(peer, now);
        if !self.peers[&peer].is_dropped {
            self.poll_blocks(peer, now);
            self.poll_fee_filter(peer, now);
        }
    }

    /// Asks a peer to announce by headers once its chain is known to be good, so that announcements
    /// do not disturb the download of headers. Core: `MaybeSendSendHeaders`.
    fn poll_sendheaders(&mut self, peer: PeerId) {
        let state = &self.peers[&peer];
        let work = state.best_known.map(|id| self.chain.tree.chain_work(id));
        if !state.sent_sendheaders
            && SENDHEADERS_VERSION <= state.facts.version
            && work.is_some_and(|work| self.chain.minimum_work < work)
        {
            self.peer_mut(peer).sent_sendheaders = true;
            self.send(peer, Message::SendHeaders);
        }
    }

    /// The peer, which the caller found before.
    fn peer_mut(&mut self, peer: PeerId) -> &mut Peer {
        self.peers.get_mut(&peer).expect("the caller found the peer")
    }

    fn send(&mut self, peer: PeerId, message: Message) {
        if self.peers.get(&peer).is_some_and(|state| !state.is_dropped) {
            self.actions.push_back(Action::Send { peer, message });
        }
    }

    /// Core: `Misbehaving`. Those that the user asked for stay.
    fn punish(&mut self, peer: PeerId, why: &'static str) {
        let state = self.peer_mut(peer);
        if state.facts.kind != ConnectionKind::Manual {
            self.drop_peer(peer);
        }
        self.actions.push_back(Action::Punish { peer, why });
    }

    fn disconnect(&mut self, peer: PeerId, why: &'static str) {
        if self.drop_peer(peer) {
            self.actions.push_back(Action::Disconnect { peer, why });
        }
    }

    /// Lets a peer be heard no more. Returns false when it was dropped before.
    fn drop_peer(&mut self, peer: PeerId) -> bool {
        let state = self.peer_mut(peer);
        (state.requests, state.serving) = (VecDeque::new(), VecDeque::new());
        state.requested_cost = 0;
        !std::mem::replace(&mut state.is_dropped, true)
    }
}
