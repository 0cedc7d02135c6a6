use caesure_wire::{Endpoint, NetAddress, TimedAddress};

use super::connection::Stage;
use super::dialling::Added;
use super::{AddedNode, Effect, Network, NetworkError, log};
use crate::peer::{NODE_NETWORK, NODE_WITNESS};
use crate::{ConnectionKind, PeerId, Subnet};

/// What a user may ask for.
impl Network {
    /// Keeps a connection to a node; by v2 or v1, as the options say where neither is said.
    ///
    /// # Errors
    /// When it is in the list, or v2 is wanted and the options forbid it.
    pub fn add_node(&mut self, endpoint: Endpoint, v2: Option<bool>) -> Result<(), NetworkError> {
        if v2 == Some(true) && !self.options.v2 {
            return Err(NetworkError::V2Disabled);
        }
        if self.dialler.added.contains_key(&endpoint) {
            return Err(NetworkError::AlreadyAdded);
        }
        self.dialler.added.insert(endpoint, Added::new(v2, self.now.mono));
        self.hurry();
        Ok(())
    }

    /// No longer keeps a connection to a node; one that stands is left.
    ///
    /// # Errors
    /// When it is not in the list.
    pub fn remove_node(&mut self, endpoint: &Endpoint) -> Result<(), NetworkError> {
        self.dialler.added.remove(endpoint).map(|_| ()).ok_or(NetworkError::NotAdded)
    }

    /// Returns the nodes that connections are kept to.
    pub fn added_nodes(&self) -> impl Iterator<Item = AddedNode> {
        self.dialler.added.keys().map(|endpoint| {
            let peer = self.peers().find(|info| info.remote == *endpoint).map(|info| info.id);
            AddedNode { endpoint: endpoint.clone(), peer }
        })
    }

    /// Dials a node once; by v2 or v1, as the options say where neither is said.
    ///
    /// # Errors
    /// When there are as many connections of that kind as may be, or it cannot be dialled.
    pub fn connect(
        &mut self,
        endpoint: Endpoint,
        kind: ConnectionKind,
        v2: Option<bool>,
    ) -> Result<PeerId, NetworkError> {
        let counts = self.count_outbound();
        let is_full = match kind {
            ConnectionKind::OutboundFull => counts.full >= self.options.outbound,
            ConnectionKind::BlockRelay => counts.block_relay >= self.block_relay_limit(),
            _ => false,
        };
        if is_full {
            return Err(NetworkError::AtCapacity);
        }
        if v2 == Some(true) && !self.options.v2 {
            return Err(NetworkError::V2Disabled);
        }
        let is_inbound = kind == ConnectionKind::Inbound;
        if !self.is_active || is_inbound || !self.is_dialable(&endpoint) {
            return Err(NetworkError::NotDialled);
        }
        if self.is_connected_to(&endpoint) {
            return Err(NetworkError::AlreadyConnected);
        }
        Ok(self.dial(endpoint, 0, kind, v2.unwrap_or(self.options.v2), false))
    }

    /// Closes the connections to an address and port.
    ///
    /// # Errors
    /// When there is none.
    pub fn disconnect_address(&mut self, endpoint: &Endpoint) -> Result<(), NetworkError> {
        let found = self.peers().find(|info| info.remote == *endpoint).map(|info| info.id);
        self.disconnect_peer(found.ok_or(NetworkError::NotConnected)?)
    }

    /// Closes a connection by the user's will.
    ///
    /// # Errors
    /// When there is none of that number.
    pub fn disconnect_peer(&mut self, peer: PeerId) -> Result<(), NetworkError> {
        self.peer(peer).ok_or(NetworkError::NotConnected)?;
        self.disconnect(peer, "the user wants it");
        Ok(())
    }

    /// Bans a subnet until a time, seconds since 1970, and closes the connections to it.
    ///
    /// # Errors
    /// When it is banned, is no subnet, or there are too many bans.
    pub fn ban(
        &mut self,
        address: &NetAddress,
        prefix: u8,
        until: u64,
    ) -> Result<(), NetworkError> {
        let subnet = Subnet::new(address.clone(), prefix).ok_or(NetworkError::InvalidSubnet)?;
        let is_single = Subnet::single(address.clone()).as_ref() == Some(&subnet);
        let is_banned = if is_single {
            self.bans.is_banned(address, self.now.unix)
        } else {
            self.bans.is_subnet_banned(&subnet, self.now.unix)
        };
        if is_banned {
            return Err(NetworkError::AlreadyBanned);
        }
        let done = self.bans.ban(subnet.clone(), until, self.now.unix);
        done.map_err(|_| NetworkError::NotBannable)?;
        self.log(log::Event::Banned { subnet: subnet.to_string(), until });
        self.save_bans();
        let inside = self.connections.values().filter(|c| subnet.contains(&c.info.remote.address));
        for peer in inside.map(|c| c.info.id).collect::<Vec<_>>() {
            self.disconnect(peer, "it is banned");
        }
        Ok(())
    }

    /// Ends a ban.
    ///
    /// # Errors
    /// When there is none of just that subnet.
    pub fn unban(&mut self, address: &NetAddress, prefix: u8) -> Result<(), NetworkError> {
        let subnet = Subnet::new(address.clone(), prefix).ok_or(NetworkError::InvalidSubnet)?;
        if !self.bans.unban(&subnet) {
            return Err(NetworkError::NotBanned);
        }
        self.log(log::Event::Unbanned { subnet: subnet.to_string() });
        self.save_bans();
        Ok(())
    }

    /// Ends all bans; who is discouraged stays so. Core: `ClearBanned`.
    pub fn clear_bans(&mut self) {
        self.bans.clear();
        self.log(log::Event::Unbanned { subnet: "all".to_owned() });
        self.save_bans();
    }

    /// Turns all networking on or off.
    pub fn set_active(&mut self, is_active: bool) {
        self.is_active = is_active;
        self.hurry();
        let peers: Vec<PeerId> = self.connections.keys().copied().collect();
        for peer in peers.into_iter().filter(|_| !is_active) {
            self.disconnect(peer, "the network is off");
        }
    }

    /// Returns whether networking is on.
    #[must_use]
    pub const fn is_active(&self) -> bool {
        self.is_active
    }

    /// Puts an address into the address book (`addpeeraddress`).
    ///
    /// # Errors
    /// When the book does not take it.
    pub fn add_address(&mut self, endpoint: Endpoint, tried: bool) -> Result<(), NetworkError> {
        let now = self.now.unix;
        let time = u32::try_from(now).unwrap_or(u32::MAX);
        let source = endpoint.address.clone();
        let address = TimedAddress { time, services: NODE_NETWORK | NODE_WITNESS, endpoint };
        self.hurry();
        if self.book.add(core::slice::from_ref(&address), &source, 0, now) == 0 {
            return Err(NetworkError::NotAddedToNew);
        }
        if tried && !self.book.good(&address.endpoint, now) {
            return Err(NetworkError::NotAddedToTried);
        }
        Ok(())
    }

    /// Sends a message as it stands (`sendmsgtopeer`).
    ///
    /// # Errors
    /// When the peer is gone, or the name is longer than twelve bytes.
    pub fn send_raw(
        &mut self,
        peer: PeerId,
        name: &str,
        payload: &[u8],
    ) -> Result<(), NetworkError> {
        if name.len() > 12 || payload.len() > caesure_wire::MAX_PAYLOAD {
            return Err(NetworkError::InvalidMessage);
        }
        let c = self.connections.get_mut(&peer).filter(|c| c.stage == Stage::Open);
        let size = c.ok_or(NetworkError::NotConnected)?.transport.send_raw(name, payload);
        self.trace_sent(peer, name, size, || payload.to_vec());
        self.note_sent(peer, name, size);
        Ok(())
    }

    /// Pings all peers (`ping`).
    pub fn ping_all(&mut self) {
        self.hurry();
        self.connections.values_mut().for_each(|c| c.is_ping_wanted = true);
    }

    pub(super) fn save_bans(&mut self) {
        self.bans.sweep(self.now.unix);
        let bytes = self.bans.to_bytes();
        self.effects.push_back(Effect::Save { file: "bans.bin", bytes });
    }
}
