use core::time::Duration;
use std::collections::BTreeMap;

use caesure_wire::{Endpoint, Version};

use crate::{ConnectionKind, NetworkKind, Now, PeerId, TransportKind};

/// How much went over a connection under one message's name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MessageTotals {
    /// How many messages.
    pub messages: u64,
    /// How many bytes, with what frames them.
    pub bytes: u64,
}

impl MessageTotals {
    pub(super) const fn add(&mut self, size: usize) {
        self.messages += 1;
        self.bytes += size as u64;
    }
}

/// What is known of a connection, but for the chain. Core: `CNodeStats`.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct PeerInfo {
    /// The connection.
    pub id: PeerId,
    /// Why there is a connection.
    pub kind: ConnectionKind,
    /// The other end.
    pub remote: Endpoint,
    /// Our end.
    pub local: Endpoint,
    /// Our end as the peer sees it (`addrlocal`).
    pub seen_local: Option<Endpoint>,
    /// The network's name, as Core has it: `ipv4`, `ipv6`, `onion`, `not_publicly_routable`, ….
    pub network: &'static str,
    /// What the peer offers.
    pub services: u64,
    /// What it said of itself.
    pub version: Option<Version>,
    /// The lesser of the two protocol versions, 0 before the peer's is known.
    pub common_version: i32,
    /// Whether the handshake is complete.
    pub is_ready: bool,
    /// Whether the peer wants transactions announced, and the kind of connection has it so.
    pub relays_txs: bool,
    /// Whether transactions are announced by wtxid.
    pub wtxid_relay: bool,
    /// Whether the peer wants `addrv2`.
    pub addrv2: bool,
    /// How bytes are framed.
    pub transport: TransportKind,
    /// Names the encrypted session, the same on both sides.
    pub session_id: Option<[u8; 32]>,
    /// When the connection was made.
    pub connected_at: Now,
    /// When bytes were last sent.
    pub last_send: Option<Now>,
    /// When bytes last came.
    pub last_recv: Option<Now>,
    /// When the peer last gave a block that was new and valid.
    pub last_block: Option<Now>,
    /// When the peer last gave a transaction that was taken.
    pub last_tx: Option<Now>,
    /// The bytes that were handed to the system.
    pub bytes_sent: u64,
    /// The bytes that came.
    pub bytes_recv: u64,
    /// How many messages were sent.
    pub messages_sent: u64,
    /// How many messages came.
    pub messages_recv: u64,
    /// What was sent, by message; those of names that are not known as `*other*`.
    pub sent_by_message: BTreeMap<&'static str, MessageTotals>,
    /// What came, by message; those of names that are not known, and what was skipped, as `*other*`.
    pub recv_by_message: BTreeMap<&'static str, MessageTotals>,
    /// How long the last answered ping took.
    pub ping: Option<Duration>,
    /// How long the quickest ping took.
    pub min_ping: Option<Duration>,
    /// When the ping was sent that waits for its answer, by [`Now::mono`].
    pub ping_since: Option<Duration>,
    /// The peer's clock less ours, in seconds. Shown, and used for nothing.
    pub time_offset: i64,
    /// Whether addresses are exchanged.
    pub addr_relay: bool,
    /// How many addresses of the peer's were taken.
    pub addr_processed: u64,
    /// How many were dropped since there were too many.
    pub addr_rate_limited: u64,
    /// Whether the send queue is above its limit: nothing of the peer's is looked into until it
    /// shrinks, and no large answer should be begun.
    pub is_full: bool,
}

impl PeerInfo {
    pub(super) fn new(id: PeerId, kind: ConnectionKind, remote: Endpoint, now: Now) -> Self {
        Self {
            id,
            kind,
            network: NetworkKind::class_of(&remote.address).name(),
            remote,
            connected_at: now,
            ..Self::default()
        }
    }

    /// Returns whether the peer dialled.
    #[must_use]
    pub const fn is_inbound(&self) -> bool {
        matches!(self.kind, ConnectionKind::Inbound)
    }
}
