use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use caesure_wire::{Endpoint, NetAddress};

use super::connection::{Connection, Stage};
use super::gossip::may_know_addresses;
use super::{Effect, Network, log};
use crate::{ConnectionKind, NetworkKind, Now, PeerId, Random, Socks5, net_group};

/// How many peers for blocks alone there are. Core: `MAX_BLOCK_RELAY_ONLY_CONNECTIONS`.
pub(super) const BLOCK_RELAY: usize = 2;
/// How often a new address is tried, on average.
const FEELER_INTERVAL: Duration = Duration::from_mins(2);
/// How often one more peer for blocks alone, or of a network without a peer, is tried, on average.
const EXTRA_INTERVAL: Duration = Duration::from_mins(5);
/// How often peers above the limits are looked for.
const ROTATION_INTERVAL: Duration = Duration::from_secs(45);
/// How long an extra peer has to show its worth.
const MIN_CONNECT_TIME: Duration = Duration::from_secs(30);
/// How far apart dials are.
pub(super) const DIAL_INTERVAL: Duration = Duration::from_millis(500);
/// How long a connection stands that is not held for a failure.
const LASTING: Duration = Duration::from_mins(1);
/// The longest wait before a node that the user named is dialled again.
const MAX_BACKOFF: Duration = Duration::from_mins(10);

/// A node that the user wants a connection to.
#[derive(Debug)]
pub(super) struct Added {
    /// How often in a row it failed.
    failures: u32,
    /// Whether by v2 or v1, where that was said.
    v2: Option<bool>,
    /// When it may be dialled.
    next: Duration,
}

/// What decides when whom is dialled.
#[derive(Debug, Default)]
pub(super) struct Dialler {
    pub(super) added: BTreeMap<Endpoint, Added>,
    /// Peers for blocks alone of the last run, dialled first.
    pub(super) anchors: Vec<Endpoint>,
    /// Nodes that are to be asked for addresses, alone; by name where a proxy looks it up.
    pub(super) fetches: VecDeque<(Endpoint, Option<String>)>,
    next_dial: Duration,
    /// How often in a row the address book had nobody: it is then asked more rarely, up to every
    /// eight seconds, since a search through an all but empty book takes long.
    fruitless: u32,
    next_feeler: Duration,
    next_extra_block_relay: Duration,
    next_extra_network: Duration,
    next_rotation: Duration,
    pub(super) try_new_outbound: bool,
    /// The tip was near once: extra peers for blocks alone are tried from now on.
    pub(super) has_synced: bool,
}

impl Added {
    pub(super) const fn new(v2: Option<bool>, next: Duration) -> Self {
        Self { failures: 0, v2, next }
    }
}

impl Dialler {
    /// Sets the times of what is done now and then.
    pub(super) fn start(&mut self, random: &mut Random, now: Duration) {
        self.next_dial = now;
        self.next_feeler = now + random.exponential(FEELER_INTERVAL);
        self.next_extra_block_relay = now + random.exponential(EXTRA_INTERVAL);
        self.next_extra_network = now + random.exponential(EXTRA_INTERVAL);
        self.next_rotation = now + ROTATION_INTERVAL;
    }
}

impl Network {
    /// Dials whom it is time to dial. Returns when it is wanted next. Core: `ThreadOpenConnections`,
    /// `ThreadOpenAddedConnections`.
    pub(super) fn dial_due(&mut self) -> Duration {
        if !self.is_active {
            return Duration::MAX;
        }
        let next_added = self.dial_added();
        if self.options.only_connect {
            return next_added;
        }
        let now = self.now.mono;
        if now >= self.dialler.next_rotation {
            self.dialler.next_rotation = now + ROTATION_INTERVAL;
            self.drop_extra_outbound();
        }
        if now >= self.dialler.next_dial {
            self.dial_fetch();
            // A node with hundreds of peers gets them in half a minute.
            for _ in 0..=self.options.outbound / 64 {
                self.dial_one();
            }
            self.dialler.next_dial = now + DIAL_INTERVAL * (1 << self.dialler.fruitless);
        }
        let counts = self.count_outbound();
        let is_missing = counts.full < self.options.outbound
            || counts.block_relay < self.block_relay_limit()
            || self.dialler.try_new_outbound;
        let dialler = &self.dialler;
        let next = [
            dialler.next_feeler,
            dialler.next_extra_network,
            if dialler.has_synced { dialler.next_extra_block_relay } else { Duration::MAX },
            if is_missing && !self.book.is_empty() { Duration::ZERO } else { Duration::MAX },
            if dialler.fetches.is_empty() { Duration::MAX } else { Duration::ZERO },
        ];
        let next = next.into_iter().min().unwrap_or(Duration::MAX);
        next.max(dialler.next_dial).min(dialler.next_rotation).min(next_added)
    }

    fn dial_added(&mut self) -> Duration {
        let now = self.now.mono;
        let waiting: Vec<(Endpoint, bool, Duration)> = self
            .dialler
            .added
            .iter()
            .filter(|(endpoint, _)| !self.is_connected_to(endpoint))
            .map(|(at, it)| (at.clone(), it.v2.unwrap_or(self.options.v2), it.next))
            .collect();
        let mut next_due = Duration::MAX;
        for (endpoint, v2, next) in waiting {
            if now < next {
                next_due = next_due.min(next);
            } else if self.is_dialable(&endpoint) {
                self.dial(endpoint, 0, ConnectionKind::Manual, v2, false);
            }
        }
        next_due
    }

    fn dial_fetch(&mut self) {
        if self.count_outbound().automatic >= self.automatic_limit() {
            return;
        }
        if let Some((endpoint, host)) = self.dialler.fetches.pop_front()
            && self.is_dialable(&endpoint)
            && !self.is_connected_to(&endpoint)
        {
            let peer = self.dial(endpoint, 0, ConnectionKind::AddrFetch, self.options.v2, false);
            if let Some(c) = self.connections.get_mut(&peer) {
                c.host = host;
            }
        }
    }

    /// Decides what kind of peer is wanted most, picks one and dials it.
    fn dial_one(&mut self) {
        let now = self.now.mono;
        let counts = self.count_outbound();
        if counts.automatic >= self.automatic_limit() {
            return;
        }
        let mut networks = self.reachable_networks();
        let mut from_anchors = false;
        let kind = if !self.dialler.anchors.is_empty()
            && counts.block_relay < self.block_relay_limit()
        {
            from_anchors = true;
            ConnectionKind::BlockRelay
        } else if counts.full < self.options.outbound {
            ConnectionKind::OutboundFull
        } else if counts.block_relay < self.block_relay_limit() {
            ConnectionKind::BlockRelay
        } else if self.dialler.try_new_outbound {
            ConnectionKind::OutboundFull
        } else if now >= self.dialler.next_extra_block_relay && self.dialler.has_synced {
            self.dialler.next_extra_block_relay = now + self.random.exponential(EXTRA_INTERVAL);
            ConnectionKind::BlockRelay
        } else if now >= self.dialler.next_feeler {
            self.dialler.next_feeler = now + self.random.exponential(FEELER_INTERVAL);
            ConnectionKind::Feeler
        } else if now >= self.dialler.next_extra_network && self.options.outbound >= 8 {
            self.dialler.next_extra_network = now + self.random.exponential(EXTRA_INTERVAL);
            self.random.shuffle(&mut networks);
            networks
                .retain(|&kind| self.count_network(kind) == 0 && self.book.count(kind) != (0, 0));
            networks.truncate(1);
            if networks.is_empty() {
                return;
            }
            ConnectionKind::OutboundFull
        } else {
            return;
        };
        self.book.resolve_collisions(self.now.unix);
        let picked = if from_anchors { self.pick_anchor() } else { self.pick(kind, &networks) };
        let Some(endpoint) = picked else {
            self.dialler.fruitless = (self.dialler.fruitless + 1).min(4);
            return;
        };
        self.dialler.fruitless = 0;
        // Else it may be us who are offline.
        let is_online =
            counts.groups.len() + counts.private >= self.automatic_limit().min(3).saturating_sub(1);
        let services = self.offered(&endpoint);
        let v2 = self.options.v2 && services & crate::peer::NODE_P2P_V2 != 0;
        self.dial(endpoint, services, kind, v2, is_online);
    }

    fn pick_anchor(&mut self) -> Option<Endpoint> {
        let groups = self.count_outbound().groups;
        while let Some(endpoint) = self.dialler.anchors.pop() {
            if self.is_dialable(&endpoint)
                && self.is_welcome(&endpoint)
                && !groups.contains(&net_group(&endpoint.address))
            {
                return Some(endpoint);
            }
        }
        None
    }

    /// Picks a node out of the address book.
    fn pick(&mut self, kind: ConnectionKind, networks: &[NetworkKind]) -> Option<Endpoint> {
        let is_feeler = kind == ConnectionKind::Feeler;
        let now = self.now.unix;
        let groups = self.count_outbound().groups;
        for tries in 1..=100 {
            let mut found = None;
            if is_feeler && let Some(collision) = self.book.select_tried_collision(&mut self.random)
            {
                if self.is_connected_to_address(&collision.0) {
                    self.book.good(&collision.0, now);
                } else {
                    found = Some(collision);
                }
            }
            let found =
                found.or_else(|| self.book.select(is_feeler, networks, &mut self.random, now));
            let (endpoint, tried_at) = found?;
            if self.local.contains_key(&endpoint) {
                return None;
            }
            let services = self.offered(&endpoint);
            let is_useful = if is_feeler {
                may_know_addresses(services)
            } else {
                self.has_wanted_services(services)
                    && !groups.contains(&net_group(&endpoint.address))
            };
            let is_clear = matches!(endpoint.address, NetAddress::Ipv4(_) | NetAddress::Ipv6(_));
            let is_skipped = !is_useful
                || !self.is_dialable(&endpoint)
                || tries < 30 && now.saturating_sub(tried_at) < 600
                || tries < 50 && is_clear && is_bad_port(endpoint.port)
                || self.dialler.added.contains_key(&endpoint);
            if !is_skipped {
                return Some(endpoint).filter(|endpoint| self.is_welcome(endpoint));
            }
        }
        None
    }

    /// Returns what the address book says that a node offers.
    fn offered(&self, endpoint: &Endpoint) -> u64 {
        self.book.get(endpoint).map_or(0, |entry| entry.address.services)
    }

    /// Returns whether an address may be dialled without the user's word.
    fn is_welcome(&self, endpoint: &Endpoint) -> bool {
        !self.is_unwelcome(&endpoint.address)
            && !self.is_connected_to_address(endpoint)
            && !self.local.contains_key(endpoint)
    }

    /// Begins a connection. `services` is what the node is said to offer; `counts` says whether the
    /// address book shall count a failure.
    pub(super) fn dial(
        &mut self,
        endpoint: Endpoint,
        services: u64,
        kind: ConnectionKind,
        v2: bool,
        counts: bool,
    ) -> PeerId {
        let peer = PeerId(self.next_id);
        self.next_id += 2;
        let target = self.options.proxy.clone().unwrap_or_else(|| endpoint.clone());
        self.effects.push_back(Effect::Dial { peer, endpoint: target });
        let mut c = self.new_connection(peer, kind, endpoint, v2);
        c.offered = services;
        c.counts_failure = counts;
        self.connections.insert(peer, c);
        peer
    }

    /// A connection that was asked for stands; `local` is our end of it.
    pub fn dialled(&mut self, peer: PeerId, local: Endpoint, now: Now) {
        self.now = now;
        let Some(c) = self.connections.get_mut(&peer) else { return };
        if c.stage != Stage::Dialling {
            return;
        }
        c.info.local = local;
        c.info.connected_at = self.now;
        if self.options.proxy.is_none() {
            return self.open(peer);
        }
        c.stage = Stage::Proxy;
        let host = c.host.clone().unwrap_or_else(|| c.info.remote.address.to_string());
        let isolation = Some(self.random.bytes());
        match Socks5::new(&host, c.info.remote.port, isolation) {
            Ok((socks, hello)) => {
                c.socks = Some(Box::new((socks, Vec::new())));
                self.send_bytes(peer, hello);
                self.hurry();
            }
            Err(e) => self.disconnect(peer, &e.to_string()),
        }
    }

    /// The way to the node is open: it is told who we are.
    pub(super) fn open(&mut self, peer: PeerId) {
        let Some(c) = self.connections.get_mut(&peer) else { return };
        c.stage = Stage::Open;
        c.info.connected_at = self.now;
        self.book.attempt(&c.info.remote, c.counts_failure, self.now.unix);
        let local = log::address(&c.info.local);
        let direction = "outgoing";
        self.log_peer(peer, |_, remote| log::Event::Connect { direction, local, remote });
        self.send_version(peer);
        self.hurry();
    }

    /// What follows the end of a connection that we dialled, or tried to.
    pub(super) fn after_dial(&mut self, c: &Connection) {
        // The proxy's own failure says nothing of the node.
        if c.stage == Stage::Proxy || c.stage == Stage::Dialling && self.options.proxy.is_none() {
            self.book.attempt(&c.info.remote, c.counts_failure, self.now.unix);
        }
        let is_wanted =
            c.info.kind == ConnectionKind::Manual || !self.is_unwelcome(&c.info.remote.address);
        if self.is_active
            && is_wanted
            && c.stage == Stage::Open
            && c.transport.should_fall_back_to_v1()
        {
            let remote = c.info.remote.clone();
            let peer = self.dial(remote, c.offered, c.info.kind, false, false);
            if let Some(again) = self.connections.get_mut(&peer) {
                again.host.clone_from(&c.host);
            }
        } else if c.info.kind == ConnectionKind::Manual {
            self.back_off(c);
        }
    }

    /// Sets when a node that the user named is dialled again: after 1 s, 2 s, and so on to 10 min,
    /// a quarter less at most; anew after a connection that lasted.
    fn back_off(&mut self, c: &Connection) {
        let Some(added) = self.dialler.added.get_mut(&c.info.remote) else { return };
        let age = self.now.mono.saturating_sub(c.info.connected_at.mono);
        if c.info.is_ready && age >= LASTING {
            added.failures = 0;
        }
        let wait = Duration::from_secs(1 << added.failures.min(10)).min(MAX_BACKOFF);
        added.failures = added.failures.saturating_add(1);
        let quarter = u32::try_from(wait.as_millis() / 4).unwrap_or(u32::MAX);
        let less = self.random.below(u64::from(quarter));
        added.next = self.now.mono + wait - Duration::from_millis(less);
    }

    /// Drops peers that were tried beside those that we keep, or those that proved worse. Core:
    /// `EvictExtraOutboundPeers`.
    fn drop_extra_outbound(&mut self) {
        let ready = |kind: ConnectionKind| {
            self.connections.values().filter(move |c| c.info.is_ready && c.info.kind == kind)
        };
        let is_settled = |c: &Connection| {
            let age = self.now.mono.saturating_sub(c.info.connected_at.mono);
            age >= MIN_CONNECT_TIME && !c.is_downloading
        };
        let mut dropped = Vec::new();
        if ready(ConnectionKind::BlockRelay).count() > self.block_relay_limit() {
            let block_at = |c: &Connection| c.info.last_block.map(|at| at.mono);
            let mut youngest: Vec<&Connection> = self
                .connections
                .values()
                .filter(|c| c.stage == Stage::Open && c.info.kind == ConnectionKind::BlockRelay)
                .collect();
            youngest.reverse();
            let is_better = youngest.len() > 1 && block_at(youngest[0]) > block_at(youngest[1]);
            let worst = youngest[usize::from(is_better)];
            if is_settled(worst) {
                dropped.push(worst.info.id);
            }
        }
        let mut is_full_dropped = false;
        if ready(ConnectionKind::OutboundFull).count() > self.options.outbound {
            let worst = self
                .connections
                .values()
                .filter(|c| c.stage == Stage::Open && c.info.kind == ConnectionKind::OutboundFull)
                .filter(|c| !c.is_protected && self.count_network(c.network()) > 1)
                .min_by_key(|c| (c.last_announcement, core::cmp::Reverse(c.info.id)));
            if let Some(worst) = worst.filter(|c| is_settled(c)) {
                dropped.push(worst.info.id);
                is_full_dropped = true;
            }
        }
        for peer in dropped {
            self.disconnect(peer, "there are better ones");
        }
        if is_full_dropped {
            self.dialler.try_new_outbound = false;
        }
    }

    /// Counts what we dialled.
    pub(super) fn count_outbound(&self) -> Counts {
        let mut counts = Counts::default();
        for c in self.connections.values() {
            match c.info.kind {
                ConnectionKind::Inbound => continue,
                ConnectionKind::OutboundFull => counts.full += 1,
                ConnectionKind::BlockRelay => counts.block_relay += 1,
                ConnectionKind::Manual => {}
                ConnectionKind::Feeler | ConnectionKind::AddrFetch => {
                    counts.automatic += 1;
                    continue;
                }
            }
            counts.automatic += usize::from(c.info.kind != ConnectionKind::Manual);
            match NetworkKind::of(&c.info.remote.address) {
                NetworkKind::Onion | NetworkKind::I2p | NetworkKind::Cjdns => counts.private += 1,
                _ => _ = counts.groups.insert(net_group(&c.info.remote.address)),
            }
        }
        counts
    }

    /// Counts the peers of a network that exchange all.
    fn count_network(&self, network: NetworkKind) -> usize {
        let lasting = [ConnectionKind::OutboundFull, ConnectionKind::Manual];
        self.connections
            .values()
            .filter(|c| lasting.contains(&c.info.kind) && c.network() == network)
            .count()
    }

    pub(super) const fn block_relay_limit(&self) -> usize {
        if self.options.outbound == 0 { 0 } else { BLOCK_RELAY }
    }

    /// How many may be dialled without the user's word: one more for feelers.
    const fn automatic_limit(&self) -> usize {
        let limit = self.options.outbound + self.block_relay_limit();
        if limit == 0 { 0 } else { limit + 1 }
    }

    /// Returns the networks that can be dialled.
    pub(super) fn reachable_networks(&self) -> Vec<NetworkKind> {
        let all = [NetworkKind::Ipv4, NetworkKind::Ipv6, NetworkKind::Onion];
        all[..if self.options.proxy.is_some() { 3 } else { 2 }].to_vec()
    }

    /// Returns whether an address can be dialled: IPv4 and IPv6, onions over a proxy.
    pub(super) const fn is_dialable(&self, endpoint: &Endpoint) -> bool {
        match endpoint.address {
            NetAddress::Ipv4(_) | NetAddress::Ipv6(_) => endpoint.port != 0,
            NetAddress::TorV3(_) => endpoint.port != 0 && self.options.proxy.is_some(),
            _ => false,
        }
    }

    pub(super) fn is_connected_to(&self, endpoint: &Endpoint) -> bool {
        self.connections.values().any(|c| c.info.remote == *endpoint)
    }

    fn is_connected_to_address(&self, endpoint: &Endpoint) -> bool {
        self.connections.values().any(|c| c.info.remote.address == endpoint.address)
    }
}

/// What was dialled, and stands or may stand soon.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) full: usize,
    pub(super) block_relay: usize,
    /// All that the user did not name.
    automatic: usize,
    /// Over networks whose groups say nothing.
    private: usize,
    /// The groups of the others.
    groups: BTreeSet<Vec<u8>>,
}

/// Returns whether another service is known for a port, whom a node that lies about addresses
/// could have us disturb. Core: `IsBadPort`.
fn is_bad_port(port: u16) -> bool {
    const BAD: [u16; 85] = [
        1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101,
        102, 103, 104, 109, 110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389,
        427, 465, 512, 513, 514, 515, 526, 530, 531, 532, 540, 548, 554, 556, 563, 587, 601, 636,
        989, 990, 993, 995, 1719, 1720, 1723, 2049, 3306, 3389, 3659, 4045, 5060, 5061, 5432, 5900,
        6000, 6566, 6665, 6666, 6667, 6668, 6669, 6697, 10080, 27017,
    ];
    BAD.binary_search(&port).is_ok()
}
