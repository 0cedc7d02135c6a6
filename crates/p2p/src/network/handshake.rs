use caesure_wire::{Endpoint, Message, NetAddress, Version};

use super::{Event, Network, log};
use crate::peer::{NODE_NETWORK, NODE_NETWORK_LIMITED, NODE_P2P_V2, NODE_WITNESS};
use crate::{ConnectionKind, PeerId, is_routable};

/// What we speak. Core: `PROTOCOL_VERSION`.
pub(super) const PROTOCOL_VERSION: i32 = 70_017;
/// Who speaks an older version is left alone. Core: `MIN_PEER_PROTO_VERSION`.
const MIN_PROTOCOL_VERSION: i32 = 31_800;
/// From here on transactions are announced by wtxid, and `sendaddrv2` harms nobody.
const WTXID_RELAY_VERSION: i32 = 70_016;
/// From here on there are feature messages. Spec: BIP-0434.
const FEATURE_VERSION: i32 = 70_017;
/// Below this height of blocks behind the clock, pruned peers are as good as others.
const LIMITED_DEPTH: u64 = 144;

impl Network {
    /// Returns what we offer.
    #[must_use]
    pub fn services(&self) -> u64 {
        let v2 = if self.options.v2 { NODE_P2P_V2 } else { 0 };
        self.options.services & !NODE_P2P_V2 | v2
    }

    /// Returns whether a node offers all that we want. Core: `HasAllDesirableServiceFlags`.
    pub(super) fn has_wanted_services(&self, services: u64) -> bool {
        let spacing = u64::from(self.options.params.pow_target_spacing);
        let depth = self.now.unix.saturating_sub(u64::from(self.tip_time)) / spacing;
        let is_limited = services & NODE_NETWORK_LIMITED != 0 && depth < LIMITED_DEPTH;
        let blocks = if is_limited { NODE_NETWORK_LIMITED } else { NODE_NETWORK };
        services & (blocks | NODE_WITNESS) == blocks | NODE_WITNESS
    }

    /// Sends our version. Core: `PushNodeVersion`.
    pub(super) fn send_version(&mut self, peer: PeerId) {
        let services = self.services();
        let Some(c) = self.connections.get(&peer) else { return };
        let nowhere = Endpoint::default();
        let address = &c.info.remote.address;
        let is_told = is_routable(address)
            && matches!(address, NetAddress::Ipv4(_) | NetAddress::Ipv6(_))
            && self.options.proxy.as_ref() != Some(&c.info.remote);
        let remote = if is_told { c.info.remote.clone() } else { nowhere.clone() };
        let mut user_agent = self.options.user_agent.clone().into_bytes();
        user_agent.truncate(256);
        let version = Version {
            version: PROTOCOL_VERSION,
            services,
            time: i64::try_from(self.now.unix).unwrap_or(i64::MAX),
            receiver: (c.offered, remote),
            sender: (services, nowhere),
            nonce: c.nonce,
            user_agent,
            height: i32::try_from(self.height).unwrap_or(i32::MAX),
            relay: !self.options.blocks_only && c.is_talkative(),
        };
        self.push(peer, &Message::Version(version));
    }

    /// Takes a message of the handshake, or one that came before its end. Core: `ProcessMessage`.
    pub(super) fn handshake(&mut self, peer: PeerId, message: Message) {
        let Some(c) = self.connections.get_mut(&peer) else { return };
        match message {
            Message::Version(version) if c.info.version.is_none() => self.on_version(peer, version),
            // Nothing before it, and no second one.
            _ if c.info.version.is_none() => {}
            Message::Verack => self.on_verack(peer),
            Message::WtxidRelay => {
                c.info.wtxid_relay = c.info.common_version >= WTXID_RELAY_VERSION;
            }
            Message::SendAddrV2 => c.info.addrv2 = true,
            Message::Feature { .. } if c.info.common_version < FEATURE_VERSION => {
                self.disconnect(peer, "feature before its version was agreed on");
            }
            Message::Feature { ref id, .. } if id.len() < 4 => {
                self.disconnect(peer, "feature message is malformed");
            }
            Message::SendHeaders => c.early_send_headers = true,
            Message::SendCmpct { .. } => c.early_send_cmpct = Some(message),
            _ => {}
        }
    }

    fn on_version(&mut self, peer: PeerId, version: Version) {
        let wanted = self.has_wanted_services(version.services);
        let Some(c) = self.connections.get_mut(&peer) else { return };
        let kind = c.info.kind;
        let is_inbound = kind == ConnectionKind::Inbound;
        let expects_services = matches!(
            kind,
            ConnectionKind::OutboundFull | ConnectionKind::BlockRelay | ConnectionKind::AddrFetch
        );
        if !is_inbound {
            self.book.set_services(&c.info.remote, version.services);
        }
        if expects_services && !wanted {
            return self.disconnect(peer, "it does not offer what is wanted of it");
        }
        if version.version < MIN_PROTOCOL_VERSION {
            return self.disconnect(peer, "its version is obsolete");
        }
        if is_inbound && self.is_own_nonce(version.nonce) {
            return self.disconnect(peer, "it is ourselves");
        }
        let seen = &version.receiver.1;
        if is_inbound {
            if let Some(score) = self.local.get_mut(seen) {
                *score = score.saturating_add(1);
            }
            self.send_version(peer);
        }
        self.take_version(peer, version, wanted);
        let Some(c) = self.connections.get(&peer) else { return };
        let common = c.info.common_version;
        if common >= WTXID_RELAY_VERSION {
            self.push(peer, &Message::WtxidRelay);
            self.push(peer, &Message::SendAddrV2);
        }
        self.push(peer, &Message::Verack);
        if !is_inbound {
            self.ask_for_addresses(peer);
            let Some(c) = self.connections.get(&peer) else { return };
            self.book.good(&c.info.remote, self.now.unix);
        }
        if kind == ConnectionKind::Feeler {
            self.disconnect(peer, "feeler is done");
        }
    }

    /// Notes what a version says. No arithmetic on its numbers can overflow, and its time is shown,
    /// nothing more.
    fn take_version(&mut self, peer: PeerId, version: Version, wanted: bool) {
        let unix = i64::try_from(self.now.unix).unwrap_or(i64::MAX);
        let Some(c) = self.connections.get_mut(&peer) else { return };
        c.has_wanted_services = wanted;
        c.info.services = version.services;
        c.info.common_version = version.version.min(PROTOCOL_VERSION);
        c.info.time_offset = version.time.max(0).saturating_sub(unix);
        c.info.relays_txs = version.relay && c.is_talkative();
        c.info.seen_local = Some(version.receiver.1.clone());
        c.info.version = Some(version);
    }

    fn on_verack(&mut self, peer: PeerId) {
        let Some(c) = self.connections.get_mut(&peer) else { return };
        c.info.is_ready = true;
        self.events.push_back(Event::Ready(peer));
        if c.early_send_headers {
            self.events.push_back(Event::Message { peer, message: Message::SendHeaders });
        }
        if let Some(message) = c.early_send_cmpct.take() {
            self.events.push_back(Event::Message { peer, message });
        }
        let (connection, transport) = (c.info.kind.name(), c.transport.kind().name());
        let known = c.info.version.as_ref();
        let user_agent = known.map_or_else(String::new, |it| log::text(&it.user_agent));
        let (version, height) = known.map_or((0, 0), |it| (it.version, it.height));
        self.log_peer(peer, |peer, remote| log::Event::Ready {
            peer,
            remote,
            connection,
            transport,
            version,
            user_agent,
            height,
        });
        self.hurry();
    }

    /// Returns whether one of our own dials, not yet answered, said this number.
    fn is_own_nonce(&self, nonce: u64) -> bool {
        self.connections
            .values()
            .any(|c| !c.info.is_ready && !c.info.is_inbound() && c.nonce == nonce)
    }
}
