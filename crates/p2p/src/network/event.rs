use caesure_wire::{Endpoint, Message};

use crate::PeerId;

/// What a [`Network`](crate::Network) has to say of its peers.
#[derive(Clone, Debug)]
pub enum Event {
    /// Both sides took the other's version: messages may be sent.
    Ready(PeerId),
    /// A message that is about the chain, after [`Event::Ready`].
    Message {
        /// Who sent it.
        peer: PeerId,
        /// The message.
        message: Message,
    },
    /// The connection ended, after [`Event::Ready`].
    Gone(PeerId),
}

/// What a [`Network`](crate::Network) wants done outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Connect by TCP; [`Network::dialled`](crate::Network::dialled) or
    /// [`Network::dial_failed`](crate::Network::dial_failed) answers, unless `Close` comes first.
    Dial {
        /// The connection, even and new.
        peer: PeerId,
        /// An IPv4 or IPv6 address: the peer's, or that of the proxy.
        endpoint: Endpoint,
    },
    /// Send bytes in order; [`Network::written`](crate::Network::written) says when they are gone.
    Send {
        /// The connection.
        peer: PeerId,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// Close the connection, or give up making it; nothing is heard of it any more.
    Close(PeerId),
    /// Look up a name; [`Network::resolved`](crate::Network::resolved) answers.
    Resolve(String),
    /// Replace a file, atomically.
    Save {
        /// Its name.
        file: &'static str,
        /// All of it.
        bytes: Vec<u8>,
    },
    /// Something for the log. What peers can cause is limited in rate, and their words are escaped.
    Log(caesure_eventlog::Event),
}

/// Why a command was not done. The texts are those of Core's RPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// The node is in the list of those that a connection is kept to.
    #[error("Error: Node already added")]
    AlreadyAdded,
    /// It is not.
    #[error("Error: Node could not be removed. It has not been added previously.")]
    NotAdded,
    /// There is no such connection.
    #[error("Node not found in connected nodes")]
    NotConnected,
    /// There are as many connections of that kind as may be.
    #[error("Error: Already at capacity for specified connection type.")]
    AtCapacity,
    /// The v2 transport is turned off.
    #[error("Error: Adding v2transport connections requires -v2transport init flag to be set.")]
    V2Disabled,
    /// Networking is turned off, or the address is one that is not dialled.
    #[error("Error: the address cannot be dialled")]
    NotDialled,
    /// There is a connection to the node.
    #[error("Error: already connected to the node")]
    AlreadyConnected,
    /// There are as many bans as may be.
    #[error("Error: there are too many bans")]
    NotBannable,
    /// The subnet is banned.
    #[error("Error: IP/Subnet already banned")]
    AlreadyBanned,
    /// The subnet is not banned.
    #[error("Error: Unban failed. Requested address/subnet was not previously manually banned.")]
    NotBanned,
    /// More bits than the address has, or none that means something.
    #[error("Error: Invalid IP/Subnet")]
    InvalidSubnet,
    /// The address cannot be reached from elsewhere, or the book has no place for it.
    #[error("failed-adding-to-new")]
    NotAddedToNew,
    /// Another has its place among those that were reached.
    #[error("failed-adding-to-tried")]
    NotAddedToTried,
    /// The message's name is longer than twelve bytes, or it is too long.
    #[error("Error: msg_type too long, max length is 12")]
    InvalidMessage,
}
