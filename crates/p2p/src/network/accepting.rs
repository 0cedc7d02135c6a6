use core::time::Duration;

use caesure_wire::{Endpoint, NetAddress};

use super::connection::Stage;
use super::{Effect, Network, log};
use crate::{
    ConnectionKind, EvictionCandidate, NetworkKind, Now, PeerId, is_local, select_peer_to_evict,
};

impl Network {
    /// A peer dialled. The number is odd and new. The connection may be closed at once. Core:
    /// `CreateNodeFromAcceptedSocket`.
    pub fn accepted(&mut self, peer: PeerId, remote: Endpoint, local: Endpoint, now: Now) {
        self.now = now;
        let inbound = self.connections.values().filter(|c| c.info.is_inbound()).count();
        let limit = self.options.inbound;
        let is_banned = self.bans.is_banned(&remote.address, self.now.unix);
        let is_discouraged = self.bans.is_discouraged(&remote.address);
        let is_taken = self.is_active
            && limit > 0
            && !self.connections.contains_key(&peer)
            && !is_banned
            && !(is_discouraged && inbound + 1 >= limit)
            && (inbound < limit || self.evict());
        if !is_taken {
            self.effects.push_back(Effect::Close(peer));
            return;
        }
        let mut c = self.new_connection(peer, ConnectionKind::Inbound, remote, self.options.v2);
        c.stage = Stage::Open;
        c.info.local = local;
        let local = log::address(&c.info.local);
        self.connections.insert(peer, c);
        let direction = "incoming";
        self.log_peer(peer, |_, remote| log::Event::Connect { direction, local, remote });
        self.hurry();
    }

    /// Makes room for one; returns whether there was a peer to drop. Core:
    /// `AttemptToEvictConnection`.
    fn evict(&mut self) -> bool {
        let since = |at: Option<Now>| at.map_or(Duration::ZERO, |at| at.mono);
        let candidates = self.connections.values().map(|c| EvictionCandidate {
            peer: c.info.id,
            connected_at: c.info.connected_at.mono,
            min_ping: c.info.min_ping.unwrap_or(Duration::MAX),
            last_block: since(c.info.last_block),
            last_tx: since(c.info.last_tx),
            has_services: c.has_wanted_services,
            relays_txs: c.info.relays_txs,
            keyed_net_group: c.keyed_net_group,
            prefer_evict: c.is_discouraged,
            is_local: is_local(&c.info.remote.address),
            network: NetworkKind::class_of(&c.info.remote.address),
            kind: c.info.kind,
        });
        let Some(peer) = select_peer_to_evict(candidates.collect()) else { return false };
        self.disconnect(peer, "it makes room for another");
        true
    }

    /// Returns whether an address is neither dialled nor told of.
    pub(super) fn is_unwelcome(&self, address: &NetAddress) -> bool {
        self.bans.is_banned(address, self.now.unix) || self.bans.is_discouraged(address)
    }
}
