use core::time::Duration;
use std::collections::BTreeMap;

use caesure_hash::siphash24;
use caesure_wire::{Endpoint, Message, NetAddress, TimedAddress};

use super::Network;
use super::connection::Connection;
use super::log::Tokens;
use crate::{ConnectionKind, NetworkKind, PeerId, RecentSet, is_routable};

/// How many addresses one message may have.
pub(super) const MAX_ADDRESSES: usize = 1_000;
/// How many addresses of those that a peer has, or sent, are remembered.
const MAX_KNOWN: usize = 5_000;
/// How much of the address book an answer may show, in per cent.
const MAX_PERCENT: usize = 23;
/// How many addresses a peer may send a second, in the long run. Core: `MAX_ADDR_RATE_PER_SECOND`.
const TOKENS_PER_SECOND: f64 = 0.1;
/// How many addresses a peer may save up. Core: `MAX_ADDR_PROCESSING_TOKEN_BUCKET`.
const MAX_TOKENS: f64 = 1_000.0;
/// How long apart messages with addresses are sent, on average.
const SEND_INTERVAL: Duration = Duration::from_secs(30);
/// How much older than it says an address is held for, in seconds.
const PENALTY: u64 = 2 * 3600;
const DAY: Duration = Duration::from_hours(24);
/// How many answers to `getaddr` are kept: one for each network that asks and address that it asks.
const MAX_ANSWERS: usize = 32;

/// What is exchanged of addresses with one peer.
#[derive(Debug)]
pub(super) struct Gossip {
    /// Those that the peer has, or sent.
    known: RecentSet<u64>,
    /// At most [`MAX_ADDRESSES`].
    to_send: Vec<TimedAddress>,
    pub(super) next_send: Duration,
    /// When our own address is told next; none before the first time.
    next_own: Option<Duration>,
    tokens: Tokens,
    /// A large answer is on its way, which is nobody else's news.
    is_asked: bool,
    has_answered: bool,
}

/// Answers to `getaddr`, by who asks, each for about a day: who asks again and again learns no
/// more. Core: `m_addr_response_caches`.
pub(super) type Answers = BTreeMap<(&'static str, Endpoint), (Duration, Vec<TimedAddress>)>;

impl Gossip {
    pub(super) fn memory(&self) -> usize {
        // A set has up to two places, of a key and a byte, for each key.
        let known = self.known.len() * 2 * (size_of::<u64>() + 1);
        size_of::<Self>() + known + self.to_send.capacity() * size_of::<TimedAddress>()
    }
}

impl Network {
    /// Begins to exchange addresses, where the kind of connection has it. Core:
    /// `SetupAddressRelay`.
    fn begin_gossip(&mut self, peer: PeerId) -> Option<&mut Gossip> {
        let c = self.connections.get_mut(&peer)?;
        if !c.is_talkative() {
            return None;
        }
        c.info.addr_relay = true;
        let gossip = c.gossip.get_or_insert_with(|| {
            Box::new(Gossip {
                known: RecentSet::new(MAX_KNOWN, self.salt.0),
                to_send: Vec::new(),
                next_send: Duration::ZERO,
                next_own: None,
                tokens: Tokens::new(1.0, c.info.connected_at.mono),
                is_asked: false,
                has_answered: false,
            })
        });
        Some(gossip)
    }

    /// Asks a peer that we dialled for addresses, once.
    pub(super) fn ask_for_addresses(&mut self, peer: PeerId) {
        if let Some(gossip) = self.begin_gossip(peer) {
            gossip.is_asked = true;
            gossip.tokens.left += MAX_TOKENS;
            self.push(peer, &Message::GetAddr);
        }
    }

    /// Takes `addr` or `addrv2`. Core: `ProcessAddrs`.
    pub(super) fn on_addresses(&mut self, peer: PeerId, mut addresses: Vec<TimedAddress>) {
        let now = self.now;
        let Some(gossip) = self.begin_gossip(peer) else { return };
        gossip.tokens.refill(now.mono, TOKENS_PER_SECOND, MAX_TOKENS);
        let is_news = !gossip.is_asked && addresses.len() <= 10;
        let count = addresses.len();
        self.random.shuffle(&mut addresses);
        let mut taken = Vec::new();
        for mut address in addresses {
            let Some(c) = self.connections.get_mut(&peer) else { return };
            let Some(gossip) = &mut c.gossip else { return };
            if !gossip.tokens.take() {
                c.info.addr_rate_limited += 1;
                continue;
            }
            if !may_know_addresses(address.services) {
                continue;
            }
            let time = u64::from(address.time);
            if time <= 100_000_000 || time > now.unix.saturating_add(600) {
                let days_ago = now.unix.saturating_sub(5 * 86_400);
                address.time = u32::try_from(days_ago).unwrap_or(u32::MAX);
            }
            gossip.known.insert(key(&address.endpoint));
            if self.is_unwelcome(&address.endpoint.address) {
                continue;
            }
            if let Some(c) = self.connections.get_mut(&peer) {
                c.info.addr_processed += 1;
            }
            let is_fresh = u64::from(address.time) > now.unix.saturating_sub(600);
            if is_fresh && is_news && is_routable(&address.endpoint.address) {
                self.relay_address(peer, &address);
            }
            taken.push(address);
        }
        let Some(c) = self.connections.get(&peer) else { return };
        self.book.add(&taken, &c.info.remote.address, PENALTY, now.unix);
        self.hurry();
        let Some(c) = self.connections.get_mut(&peer) else { return };
        if let Some(gossip) = c.gossip.as_mut().filter(|_| count < MAX_ADDRESSES) {
            gossip.is_asked = false;
        }
        // One address is but the peer's own.
        if c.info.kind == ConnectionKind::AddrFetch && count > 1 {
            self.disconnect(peer, "addresses came");
        }
    }

    /// Passes an address on to one or two peers, the same ones all day. Core: `RelayAddress`.
    fn relay_address(&mut self, from: PeerId, address: &TimedAddress) {
        let network = NetworkKind::of(&address.endpoint.address);
        let is_reachable = self.reachable_networks().contains(&network);
        let hash = key(&address.endpoint);
        let day = self.now.unix.wrapping_add(hash) / DAY.as_secs();
        let mut bytes = [0; 24];
        bytes[..8].copy_from_slice(&hash.to_le_bytes());
        bytes[8..16].copy_from_slice(&day.to_le_bytes());
        let (k0, k1) = self.salt;
        let count = if is_reachable || siphash24(k0, k1, &bytes[..16]) & 1 == 1 { 2 } else { 1 };
        let mut best: Vec<(u64, PeerId)> = Vec::new();
        for (&peer, c) in &self.connections {
            if peer != from && c.info.addr_relay && c.takes(&address.endpoint) {
                bytes[16..].copy_from_slice(&peer.0.to_le_bytes());
                best.push((siphash24(k0, k1, &bytes), peer));
            }
        }
        best.sort_unstable_by(|a, b| b.cmp(a));
        for &(_, peer) in best.iter().take(count) {
            self.queue_address(peer, address.clone());
        }
    }

    /// Core: `PushAddress`.
    fn queue_address(&mut self, peer: PeerId, address: TimedAddress) {
        let Some(c) = self.connections.get_mut(&peer) else { return };
        if !c.takes(&address.endpoint) {
            return;
        }
        let Some(gossip) = &mut c.gossip else { return };
        if gossip.known.contains(&key(&address.endpoint)) {
            return;
        }
        if gossip.to_send.len() < MAX_ADDRESSES {
            gossip.to_send.push(address);
        } else {
            let i = self.random.index(gossip.to_send.len());
            gossip.to_send[i] = address;
        }
    }

    /// Answers `getaddr` of those who dialled, once each.
    pub(super) fn on_getaddr(&mut self, peer: PeerId) {
        let Some(c) = self.connections.get(&peer) else { return };
        if !c.info.is_inbound() {
            return;
        }
        let asker = (c.info.network, c.info.local.clone());
        let Some(gossip) = self.begin_gossip(peer) else { return };
        if core::mem::replace(&mut gossip.has_answered, true) {
            return;
        }
        gossip.to_send.clear();
        self.hurry();
        let now = self.now.mono;
        if self.answers.get(&asker).is_none_or(|(until, _)| *until < now) {
            if self.answers.len() >= MAX_ANSWERS && !self.answers.contains_key(&asker) {
                self.answers.pop_first();
            }
            let (random, unix) = (&mut self.random, self.now.unix);
            let mut sample = self.book.addresses(MAX_ADDRESSES, MAX_PERCENT, None, random, unix);
            sample.retain(|address| !self.is_unwelcome(&address.endpoint.address));
            let until = now + Duration::from_secs(self.random.below(6 * 3600) + 21 * 3600);
            self.answers.insert(asker.clone(), (until, sample));
        }
        let (_, sample) = self.answers[&asker].clone();
        for address in sample {
            self.queue_address(peer, address);
        }
    }

    /// Core: `MaybeSendAddr`.
    pub(super) fn send_addresses_if_due(&mut self, peer: PeerId) {
        let now = self.now.mono;
        self.send_own_address_if_due(peer);
        let Some(c) = self.connections.get_mut(&peer) else { return };
        let Some(gossip) = &mut c.gossip else { return };
        if now < gossip.next_send {
            return;
        }
        gossip.next_send = now + self.random.exponential(SEND_INTERVAL);
        let known = &mut gossip.known;
        let mut addresses = core::mem::take(&mut gossip.to_send);
        addresses.retain(|address| known.insert(key(&address.endpoint)));
        self.send_addresses(peer, addresses);
    }

    fn send_own_address_if_due(&mut self, peer: PeerId) {
        let now = self.now.mono;
        let is_told = !self.options.listen.is_empty() && !self.is_initial_download;
        let services = self.services();
        let Some(c) = self.connections.get_mut(&peer) else { return };
        let Some(gossip) = &mut c.gossip else { return };
        if !is_told || gossip.next_own.is_some_and(|at| now < at) {
            return;
        }
        let is_first = gossip.next_own.is_none();
        gossip.next_own = Some(now + self.random.exponential(DAY));
        if !is_first {
            gossip.known.clear();
        }
        let Some(endpoint) = self.own_address_for(peer) else { return };
        let time = u32::try_from(self.now.unix).unwrap_or(u32::MAX);
        let own = TimedAddress { time, services, endpoint };
        // By itself, lest the limit of one that is new drop it.
        if !is_first {
            self.queue_address(peer, own);
        } else if self.connections[&peer].takes(&own.endpoint) {
            self.send_addresses(peer, vec![own]);
        }
    }

    fn send_addresses(&mut self, peer: PeerId, addresses: Vec<TimedAddress>) {
        if addresses.is_empty() {
            return;
        }
        let Some(c) = self.connections.get(&peer) else { return };
        let as_v2 = c.info.addrv2;
        let message = if as_v2 { Message::AddrV2(addresses) } else { Message::Addr(addresses) };
        self.push(peer, &message);
    }

    /// Returns the address of ours that a peer may tell others. Core: `GetLocalAddrForPeer`.
    fn own_address_for(&mut self, peer: PeerId) -> Option<Endpoint> {
        let c = self.connections.get(&peer)?;
        let network = c.network();
        let is_private = |kind| !matches!(kind, NetworkKind::Ipv4 | NetworkKind::Ipv6);
        let bound = self
            .local
            .iter()
            .map(|(own, score)| (NetworkKind::of(&own.address), score, own))
            .filter(|&(kind, ..)| kind == network || !is_private(kind) && !is_private(network))
            .max_by_key(|&(kind, score, _)| (kind == network, score))
            .map(|(.., own)| own.clone());
        // Who hides behind a proxy does not tell what others see.
        let seen = c.info.seen_local.as_ref().filter(|seen| {
            self.options.proxy.is_none()
                && is_routable(&seen.address)
                && is_routable(&c.info.remote.address)
        });
        let Some(seen) = seen.filter(|_| bound.is_none() || self.random.below(2) == 0) else {
            return bound;
        };
        // Whom we dialled sees our address, but not where we listen.
        let listened = self.options.listen.first().map(|listen| listen.port);
        let port = if c.info.is_inbound() { seen.port } else { listened? };
        Some(Endpoint { address: seen.address.clone(), port })
    }
}

impl Connection {
    /// Returns whether the peer understands an address.
    fn takes(&self, endpoint: &Endpoint) -> bool {
        let is_v1 = matches!(endpoint.address, NetAddress::Ipv4(_) | NetAddress::Ipv6(_));
        self.info.addrv2 || is_v1
    }
}

/// Core: `MayHaveUsefulAddressDB`.
pub(super) const fn may_know_addresses(services: u64) -> bool {
    services & (crate::peer::NODE_NETWORK | crate::peer::NODE_NETWORK_LIMITED) != 0
}

/// Returns a hash of an endpoint, which anybody can compute. Core: `CServiceHash(0, 0)`.
fn key(endpoint: &Endpoint) -> u64 {
    let mut bytes = Vec::new();
    endpoint.address.encode_v2_to(&mut bytes);
    bytes.extend(endpoint.port.to_be_bytes());
    siphash24(0, 0, &bytes)
}
