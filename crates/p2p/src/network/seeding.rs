use core::time::Duration;
use std::collections::VecDeque;

use caesure_wire::{Endpoint, NetAddress, TimedAddress};

use super::{Effect, Network, log};
use crate::peer::{NODE_NETWORK, NODE_WITNESS};
use crate::{ConnectionKind, NetworkKind, Now, dns_seeds, filtered_seed, fixed_seeds};

/// What is wanted of nodes that seeds name.
const SERVICES: u64 = NODE_NETWORK | NODE_WITNESS;
/// With so many peers no seed is asked.
const ENOUGH_PEERS: usize = 2;
/// How many seeds are asked at once, lest one decide whom we see.
const AT_ONCE: usize = 3;
/// How long the addresses that we have are tried first, if they are few, and how often we look.
const WAIT: Duration = Duration::from_secs(11);
/// The same if there are 1,000 or more.
const LONG_WAIT: Duration = Duration::from_mins(5);
/// When addresses that came with the program are tried.
const FIXED_WAIT: Duration = Duration::from_mins(1);
/// How many addresses are taken of one seed.
const MAX_ADDRESSES: usize = 32;
const DAY: u64 = 86_400;

/// Where addresses come from when there are no peers.
#[derive(Debug, Default)]
pub(super) struct Seeding {
    /// DNS seeds that were not asked yet.
    names: VecDeque<&'static str>,
    /// Names that were asked for and not answered.
    asked: Vec<String>,
    /// When the next are asked.
    next: Duration,
    /// When it is seen again whether there are enough peers.
    next_look: Duration,
    /// When fixed seeds are taken, once.
    next_fixed: Option<Duration>,
}

impl Network {
    pub(super) fn new_seeding(&mut self) -> Seeding {
        let now = self.now.mono;
        if self.options.only_connect {
            return Seeding::default();
        }
        let network = self.options.params.network;
        let mut names =
            if self.options.dns_seed { dns_seeds(network).to_vec() } else { Vec::new() };
        self.random.shuffle(&mut names);
        let first = if self.book.is_empty() {
            now
        } else if self.book.len() < 1_000 {
            now + WAIT
        } else {
            now + LONG_WAIT
        };
        let has_others = !names.is_empty() || !self.options.connect.is_empty();
        let fixed = if has_others { now + FIXED_WAIT } else { now };
        Seeding {
            names: names.into(),
            asked: Vec::new(),
            next: first,
            next_look: first.min(now + WAIT),
            next_fixed: self.options.fixed_seeds.then_some(fixed),
        }
    }

    /// Asks seeds if peers are wanting. Returns when it is wanted next. Core:
    /// `ThreadDNSAddressSeed`.
    pub(super) fn seed_due(&mut self) -> Duration {
        let now = self.now.mono;
        if !self.is_active {
            return Duration::MAX;
        }
        if self.seeding.next_fixed.is_some_and(|at| now >= at) {
            self.add_fixed_seeds();
        }
        if !self.seeding.names.is_empty() && now >= self.seeding.next_look {
            self.ask_seeds();
        }
        let look =
            if self.seeding.names.is_empty() { Duration::MAX } else { self.seeding.next_look };
        self.seeding.next_fixed.map_or(look, |at| at.min(look))
    }

    fn ask_seeds(&mut self) {
        let now = self.now.mono;
        let is_empty = self.book.is_empty();
        let peers = self.connections.values();
        let peers =
            peers.filter(|c| c.info.is_ready && c.info.kind == ConnectionKind::OutboundFull);
        if !is_empty && peers.count() >= ENOUGH_PEERS {
            self.log(log::Event::NoSeeding {});
            self.seeding.names.clear();
            return;
        }
        self.seeding.next_look = now + WAIT;
        if now < self.seeding.next {
            return;
        }
        self.seeding.next = now + if self.book.len() < 1_000 { WAIT } else { LONG_WAIT };
        let count = if is_empty { self.seeding.names.len() } else { AT_ONCE };
        for _ in 0..count {
            let Some(name) = self.seeding.names.pop_front() else { return };
            self.log(log::Event::AskingSeed { seed: name.to_owned() });
            // The proxy looks names up; it can only connect, and addresses are then asked for.
            if self.options.proxy.is_some() {
                let port = self.options.params.default_port;
                let nowhere = Endpoint { address: NetAddress::NONE, port };
                self.dialler.fetches.push_back((nowhere, Some(name.to_owned())));
            } else {
                self.resolve(filtered_seed(name, SERVICES));
            }
        }
    }

    fn resolve(&mut self, name: String) {
        self.seeding.asked.push(name.clone());
        self.effects.push_back(Effect::Resolve(name));
    }

    /// A name was looked up; no address when that failed.
    pub fn resolved(&mut self, name: &str, addresses: Vec<NetAddress>, now: Now) {
        self.now = now;
        let Some(i) = self.seeding.asked.iter().position(|asked| asked == name) else { return };
        self.seeding.asked.swap_remove(i);
        self.hurry();
        let network = self.options.params.network;
        let port = self.options.params.default_port;
        let seeds = dns_seeds(network);
        let filtered = seeds.iter().find(|seed| filtered_seed(seed, SERVICES) == name);
        if let Some(seed) = filtered.filter(|_| addresses.is_empty()) {
            // It knows no such names: one of its nodes is asked for addresses.
            return self.resolve((*seed).to_owned());
        }
        if filtered.is_none() {
            if !addresses.is_empty() {
                let address = addresses[self.random.index(addresses.len())].clone();
                self.dialler.fetches.push_back((Endpoint { address, port }, None));
            }
            return;
        }
        let found: Vec<TimedAddress> = addresses
            .into_iter()
            .take(MAX_ADDRESSES)
            .map(|address| {
                let age = 3 * DAY + self.random.below(4 * DAY);
                self.seed_address(Endpoint { address, port }, age)
            })
            .collect();
        let count = self.book.add(&found, &source(name), 0, self.now.unix);
        self.log_addresses(count, name);
    }

    fn add_fixed_seeds(&mut self) {
        self.seeding.next_fixed = None;
        let networks = self.reachable_networks();
        let missing: Vec<NetworkKind> =
            networks.into_iter().filter(|&kind| self.book.count(kind) == (0, 0)).collect();
        let mut found = Vec::new();
        for endpoint in fixed_seeds(self.options.params.network) {
            if missing.contains(&NetworkKind::of(&endpoint.address)) {
                let age = 7 * DAY + self.random.below(7 * DAY);
                found.push(self.seed_address(endpoint, age));
            }
        }
        let count = self.book.add(&found, &source("fixedseeds"), 0, self.now.unix);
        if count > 0 {
            self.log_addresses(count, "program");
        }
    }

    fn log_addresses(&mut self, count: usize, source: &str) {
        self.log(log::Event::Addresses { count: count as u64, source: source.to_owned() });
    }

    fn seed_address(&self, endpoint: Endpoint, age: u64) -> TimedAddress {
        let time = u32::try_from(self.now.unix.saturating_sub(age)).unwrap_or(u32::MAX);
        TimedAddress { time, services: SERVICES, endpoint }
    }
}

/// Returns an address that stands for a name as the source of addresses, in fd6b:88c0:8724::/48.
/// Core: `CNetAddr::SetInternal`.
fn source(name: &str) -> NetAddress {
    use sha2::Digest;
    let mut ip = [0xfd, 0x6b, 0x88, 0xc0, 0x87, 0x24, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    ip[6..].copy_from_slice(&sha2::Sha256::digest(name.as_bytes())[..10]);
    NetAddress::Ipv6(ip)
}
