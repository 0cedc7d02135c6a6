use core::time::Duration;

pub(super) use caesure_eventlog::Event;
use caesure_eventlog::{Address, Host};
use caesure_wire::{Endpoint, NetAddress};

use super::{Effect, Network};
use crate::PeerId;
use crate::transport::Frame;

/// How many events one connection may cause.
pub(super) const PEER_LINES: u8 = 8;
/// How many events all peers together may cause at once.
pub(super) const LINES: f64 = 60.0;
/// How many more each second.
const LINES_PER_SECOND: f64 = 10.0;

/// How often something may still be done that is limited in rate.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    pub(super) left: f64,
    counted_at: Duration,
}

impl Tokens {
    pub(super) const fn new(left: f64, now: Duration) -> Self {
        Self { left, counted_at: now }
    }

    /// Counts in what the time since brought, up to a number; above that, what is left stays.
    pub(super) fn refill(&mut self, now: Duration, per_second: f64, most: f64) {
        let since = now.saturating_sub(self.counted_at).as_secs_f64();
        if self.left < most {
            self.left = (self.left + since * per_second).min(most);
        }
        self.counted_at = now;
    }

    /// Returns whether it may be done, which is then counted.
    pub(super) fn take(&mut self) -> bool {
        let is_left = self.left >= 1.0;
        self.left -= if is_left { 1.0 } else { 0.0 };
        is_left
    }
}

impl Network {
    /// Says what we did.
    pub(super) fn log(&mut self, event: Event) {
        self.effects.push_back(Effect::Log(event));
    }

    /// Says what a peer did, unless it or all peers together caused too much to be said already. The
    /// event is made of the connection's number and the peer's address.
    pub(super) fn log_peer(&mut self, peer: PeerId, event: impl FnOnce(u64, Address) -> Event) {
        let Some(c) = self.connections.get_mut(&peer) else { return };
        let Some(left) = c.log_tokens.checked_sub(1) else { return };
        self.log_limit.refill(self.now.mono, LINES_PER_SECOND, LINES);
        if !self.log_limit.take() {
            self.left_out += 1;
            return;
        }
        c.log_tokens = left;
        let event = event(peer.0, address(&c.info.remote));
        let count = core::mem::take(&mut self.left_out);
        if count > 0 {
            self.log(Event::LeftOut { count });
        }
        self.log(event);
    }

    /// Says that a message was sent, where that is wanted.
    pub(super) fn trace_sent(
        &mut self,
        peer: PeerId,
        command: &str,
        size: usize,
        payload: impl FnOnce() -> Vec<u8>,
    ) {
        if let Some((remote, command)) = self.traced(peer, command, self.options.log_packets) {
            self.log(Event::PacketSent { remote, command, payload: payload().into() });
        }
        if let Some((remote, command)) = self.traced(peer, command, self.is_told(command)) {
            self.log(Event::MessageSent { remote, command, size: size as u64 });
        }
    }

    /// Says that a message came, where that is wanted.
    pub(super) fn trace_received(&mut self, peer: PeerId, frame: &Frame) {
        let command = &frame.command;
        if let Some((remote, command)) = self.traced(peer, command, self.options.log_packets) {
            let payload = frame.payload.clone().into();
            self.log(Event::PacketReceived { remote, command, payload });
        }
        if let Some((remote, command)) = self.traced(peer, command, self.is_told(command)) {
            self.log(Event::MessageReceived { remote, command, size: frame.size as u64 });
        }
    }

    /// Pings are many and say nothing.
    fn is_told(&self, command: &str) -> bool {
        self.options.log_commands && command != "ping" && command != "pong"
    }

    fn traced(&self, peer: PeerId, command: &str, is_wanted: bool) -> Option<(Address, String)> {
        let c = self.connections.get(&peer).filter(|_| is_wanted)?;
        Some((address(&c.info.remote), text(command.as_bytes())))
    }
}

/// Returns where a node is, as the log has it.
pub(super) fn address(endpoint: &Endpoint) -> Address {
    let host = match &endpoint.address {
        NetAddress::Ipv4(octets) => Host::Ip((*octets).into()),
        NetAddress::Ipv6(octets) | NetAddress::Cjdns(octets) => Host::Ip((*octets).into()),
        other => Host::Name(other.to_string()),
    };
    Address { host, port: endpoint.port }
}

/// Returns text of a peer's as one line of printable ASCII.
pub(super) fn text(bytes: &[u8]) -> String {
    bytes.iter().take(256).flat_map(|byte| byte.escape_ascii()).map(char::from).collect()
}
