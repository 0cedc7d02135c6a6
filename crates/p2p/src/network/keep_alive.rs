use core::time::Duration;

use caesure_wire::Message;

use super::Network;
use super::connection::{Connection, Stage};
use crate::{ConnectionKind, PeerId};

/// How long a dial may take.
const DIAL_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a dial over a proxy may take.
const PROXY_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a handshake may take; nothing else is called late before. Core: `-peertimeout`.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long an answer to a ping may take, and how long nothing may move. Core: `TIMEOUT_INTERVAL`.
const TIMEOUT: Duration = Duration::from_mins(20);
/// How often a ping is sent.
const PING_INTERVAL: Duration = Duration::from_mins(2);
/// How long addresses are waited for where nothing else is wanted.
const ADDR_FETCH_TIMEOUT: Duration = Duration::from_secs(300);
/// From later versions on, pings have numbers and answers. Spec: BIP-0031.
pub(super) const BIP31_VERSION: i32 = 60_000;

impl Network {
    /// Ends what takes too long, and sends pings and addresses that are due. Returns when it is
    /// wanted next.
    pub(super) fn keep_alive(&mut self) -> Duration {
        let peers: Vec<PeerId> = self.connections.keys().copied().collect();
        for &peer in &peers {
            let Some(c) = self.connections.get(&peer) else { continue };
            let mut limits = self.limits(c).into_iter();
            if let Some((_, why)) = limits.find(|limit| limit.0 <= self.now.mono) {
                self.disconnect(peer, why);
            } else if c.info.is_ready {
                self.ping_if_due(peer);
                self.send_addresses_if_due(peer);
            }
        }
        let dues = self.connections.values().map(|c| self.due(c));
        dues.min().unwrap_or(Duration::MAX)
    }

    /// Returns when a connection has to end, and why: of those that passed, the first counts. Core:
    /// `InactivityCheck`, `MaybeSendPing`.
    fn limits(&self, c: &Connection) -> [(Duration, &'static str); 7] {
        let since = c.info.connected_at.mono;
        let grace = since + HANDSHAKE_TIMEOUT;
        let unless = |is_fine: bool, at: Duration| if is_fine { Duration::MAX } else { at };
        let long_after =
            |at: Option<Duration>| at.map_or(Duration::MAX, |at| grace.max(at + TIMEOUT));
        let (sent, received) = (c.info.last_send, c.info.last_recv);
        let has_moved = sent.is_some() && received.is_some();
        let fetches = c.info.kind == ConnectionKind::AddrFetch;
        [
            (unless(c.stage == Stage::Open, since + self.dial_timeout()), "no answer in time"),
            (unless(has_moved, grace), "no byte came or went for a minute"),
            (long_after(sent.map(|at| at.mono)), "sending took too long"),
            (long_after(received.map(|at| at.mono)), "nothing came for too long"),
            (unless(c.info.is_ready, grace), "the handshake took too long"),
            (long_after(c.info.ping_since), "no answer to a ping"),
            (unless(!fetches, since + ADDR_FETCH_TIMEOUT), "no addresses came"),
        ]
    }

    /// Returns when a connection is to be looked at next.
    fn due(&self, c: &Connection) -> Duration {
        let chores = c.info.is_ready.then(|| {
            let ping = if c.info.ping_since.is_none() { c.next_ping } else { Duration::MAX };
            [ping, c.gossip.as_ref().map_or(Duration::MAX, |gossip| gossip.next_send)]
        });
        let limits = self.limits(c).map(|limit| limit.0).into_iter();
        limits.chain(chores.into_iter().flatten()).min().unwrap_or(Duration::MAX)
    }

    fn dial_timeout(&self) -> Duration {
        if self.options.proxy.is_some() { PROXY_TIMEOUT } else { DIAL_TIMEOUT }
    }

    fn ping_if_due(&mut self, peer: PeerId) {
        let now = self.now.mono;
        let Some(c) = self.connections.get_mut(&peer) else { return };
        if !(c.is_ping_wanted || c.info.ping_since.is_none() && now >= c.next_ping) {
            return;
        }
        c.is_ping_wanted = false;
        c.next_ping = now + PING_INTERVAL;
        let nonce = (c.info.common_version > BIP31_VERSION).then(|| self.random.u64().max(1));
        c.ping_nonce = nonce.unwrap_or(0);
        c.info.ping_since = nonce.map(|_| now);
        self.push(peer, &Message::Ping(nonce));
    }

    /// Takes an answer to a ping. Core: `ProcessPong`.
    pub(super) fn on_pong(&mut self, peer: PeerId, payload: &[u8]) {
        let now = self.now.mono;
        let Some(c) = self.connections.get_mut(&peer) else { return };
        let nonce = payload.first_chunk().map(|nonce| u64::from_le_bytes(*nonce));
        match (nonce, c.info.ping_since) {
            (Some(nonce), Some(since)) if nonce == c.ping_nonce => {
                let took = now.saturating_sub(since);
                c.info.ping = Some(took);
                c.info.min_ping = Some(c.info.min_ping.map_or(took, |least| least.min(took)));
                c.info.ping_since = None;
            }
            // Another's fault: no answer to this ping will come.
            (None | Some(0), _) => c.info.ping_since = None,
            _ => return,
        }
        self.next_tick = self.next_tick.min(c.next_ping);
    }
}
