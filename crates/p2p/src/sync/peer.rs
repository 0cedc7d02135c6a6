use std::collections::VecDeque;
use std::time::Duration;

use caesure_consensus::HeaderId;
use caesure_wire::BlockHash;

use super::serving::{Request, Serving};
use super::transactions::TxRelay;
use crate::peer::{NODE_NETWORK, NODE_NETWORK_LIMITED, NODE_WITNESS};
use crate::{ConnectionKind, DownloadPeer, HeadersSync, PeerId, PeerInfo};

/// What a connection is, as far as chain data goes.
#[derive(Clone, Copy, Debug, Default)]
pub struct NewPeer {
    /// The connection.
    pub id: PeerId,
    /// Why there is one.
    pub kind: ConnectionKind,
    /// What the peer offers.
    pub services: u64,
    /// The lesser of the two protocol versions.
    pub version: i32,
    /// Whether transactions are announced by wtxid.
    pub wtxid_relay: bool,
    /// Whether transactions may be announced to the peer.
    pub relays_txs: bool,
}

impl From<&PeerInfo> for NewPeer {
    fn from(info: &PeerInfo) -> Self {
        Self {
            id: info.id,
            kind: info.kind,
            services: info.services,
            version: info.common_version,
            wtxid_relay: info.wtxid_relay,
            relays_txs: info.relays_txs,
        }
    }
}

/// What is known of a peer. Core: `Peer`, `CNodeState`.
#[derive(Default)]
pub(super) struct Peer {
    pub(super) facts: NewPeer,
    /// It was punished or disconnected, and is heard no more.
    pub(super) is_dropped: bool,

    /// Core: `pindexBestKnownBlock`.
    pub(super) best_known: Option<HeaderId>,
    /// Core: `hashLastUnknownBlock`.
    pub(super) last_unknown: Option<BlockHash>,
    /// Core: `pindexBestHeaderSent`.
    pub(super) best_sent: Option<HeaderId>,

    /// Core: `fSyncStarted`.
    pub(super) is_syncing: bool,
    /// When the first download of headers must be through; none once it was.
    pub(super) headers_timeout: Option<Duration>,
    pub(super) last_getheaders: Option<Duration>,
    pub(super) presync: Option<Box<HeadersSync>>,
    /// Core: `m_inv_triggered_getheaders_before_sync`.
    pub(super) was_asked_for_inv: bool,
    pub(super) chain_sync: ChainSync,

    pub(super) sent_sendheaders: bool,
    pub(super) prefers_headers: bool,
    /// The peer understands compact blocks.
    pub(super) gives_compact: bool,
    /// The peer has us announce by compact blocks.
    pub(super) wants_compact: bool,
    /// We have the peer announce by compact blocks.
    pub(super) is_high_bandwidth: bool,

    /// What it asked for and is not begun yet; at most [`MAX_REQUESTS`](super::serving).
    pub(super) requests: VecDeque<Request>,
    pub(super) requested_cost: usize,
    pub(super) serving: VecDeque<Serving>,
    pub(super) is_full: bool,
    pub(super) is_waiting: bool,
    /// Core: `m_continuation_block`.
    pub(super) continuation: Option<HeaderId>,

    pub(super) txs: TxRelay,
}

/// Whether an outbound peer's chain keeps up with ours. Core: `ChainSyncTimeoutState`.
#[derive(Default)]
pub(super) struct ChainSync {
    /// Until when, in seconds of the clock, and the header with the work that it must show.
    pub(super) wanted: Option<(u64, HeaderId)>,
    pub(super) was_asked: bool,
    pub(super) is_protected: bool,
}

impl Peer {
    pub(super) fn new(facts: NewPeer) -> Self {
        Self { facts, ..Self::default() }
    }

    pub(super) fn is_inbound(&self) -> bool {
        self.facts.kind == ConnectionKind::Inbound
    }

    /// Whether it keeps blocks, if only the last. Core: `CanServeBlocks`.
    pub(super) fn serves_blocks(&self) -> bool {
        self.facts.services & (NODE_NETWORK | NODE_NETWORK_LIMITED) != 0
    }

    /// Core: `IsLimitedPeer`.
    pub(super) fn is_limited(&self) -> bool {
        self.facts.services & NODE_NETWORK == 0
    }

    /// Core: `CanServeWitnesses`.
    pub(super) fn serves_witnesses(&self) -> bool {
        self.facts.services & NODE_WITNESS != 0
    }

    /// Core: `fPreferredDownload`.
    pub(super) fn is_preferred(&self) -> bool {
        let kind = self.facts.kind;
        !matches!(kind, ConnectionKind::Inbound | ConnectionKind::AddrFetch) && self.serves_blocks()
    }

    /// Whether we chose it, so that it may be evicted for its chain. Core:
    /// `IsOutboundOrBlockRelayConn`.
    pub(super) fn is_chosen(&self) -> bool {
        matches!(self.facts.kind, ConnectionKind::OutboundFull | ConnectionKind::BlockRelay)
    }

    pub(super) fn download_facts(&self) -> Option<DownloadPeer> {
        Some(DownloadPeer {
            best_known: self.best_known?,
            is_limited: self.is_limited(),
            serves_witnesses: self.serves_witnesses(),
        })
    }
}
