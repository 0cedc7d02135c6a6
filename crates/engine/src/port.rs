//! What goes into the engine and what comes out of it.

use std::sync::Arc;

use caesure_consensus::RejectClass;
use caesure_p2p::{ConnectionKind, Effect, PeerId};
use caesure_wire::{BlockHash, Endpoint, Header, NetAddress};

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// A peer dialled. The number is odd and new.
    Accepted {
        /// The connection.
        peer: PeerId,
        /// Where it comes from.
        remote: Endpoint,
        /// Where it arrived.
        local: Endpoint,
    },
    /// A connection that was asked for stands.
    Dialled {
        /// The connection.
        peer: PeerId,
        /// Our end of it.
        local: Endpoint,
    },
    /// A connection that was asked for could not be made; the number is used up.
    DialFailed {
        /// The connection.
        peer: PeerId,
        /// Why not, in the system's words.
        reason: String,
    },
    /// Bytes came.
    Received {
        /// The connection.
        peer: PeerId,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// Bytes of [`Effect::Send`] were handed to the system.
    Written {
        /// The connection.
        peer: PeerId,
        /// How many.
        bytes: usize,
    },
    /// The peer closed, or the connection failed. Never said after [`Effect::Close`].
    Closed {
        /// The connection.
        peer: PeerId,
    },
    /// A name was looked up; no address when that failed.
    Resolved {
        /// The name.
        name: String,
        /// What it stands for.
        addresses: Vec<NetAddress>,
    },
    /// The chain's answer or news.
    Chain(ChainEvent),
    /// A user's command, answered by [`Output::Reply`] with the same number.
    Command {
        /// The number.
        id: u64,
        /// The command.
        command: Command,
    },
    /// The deadline has passed.
    Tick,
    /// The end: all connections are closed, and what the next run begins with is saved.
    Stop,
}

/// Something to be done.
#[derive(Clone, Debug)]
pub enum Output {
    /// For the system: sockets, names and files. [`Input::Dialled`] or [`Input::DialFailed`] answers
    /// [`Effect::Dial`], [`Input::Written`] [`Effect::Send`], [`Input::Resolved`]
    /// [`Effect::Resolve`].
    Network(Effect),
    /// For the validator and the block store.
    Chain(ChainRequest),
    /// The answer to a command.
    Reply {
        /// The command's number.
        id: u64,
        /// What came of it: the error is the sentence for the user.
        answer: Result<(), CommandError>,
    },
}

/// Asked of the validator and the block store. Requests are taken in order, but for reads.
#[derive(Clone, Debug)]
pub enum ChainRequest {
    /// Headers that are in the engine's tree from now on, parents first. They are written to
    /// `headers.bin`, and blocks under them may come.
    Headers(Vec<Header>),
    /// A block to check, store and connect. Its header was said before.
    Block {
        /// Its hash.
        hash: BlockHash,
        /// The block.
        bytes: Arc<Vec<u8>>,
    },
    /// A stored block's bytes are wanted: [`ChainEvent::Read`] answers, in any order.
    Read {
        /// Names the question.
        ticket: u64,
        /// The block.
        hash: BlockHash,
    },
    /// Make it the tip if its chain has as much work as the tip's. [`ChainEvent::Done`] answers.
    Precious {
        /// Names the request.
        id: u64,
        /// The block.
        hash: BlockHash,
    },
    /// Hold a block for invalid by the user's will, and all on top of it.
    Invalidate {
        /// Names the request.
        id: u64,
        /// The block.
        hash: BlockHash,
    },
    /// Take the mark of invalidity off a block, its ancestors and descendants.
    Reconsider {
        /// Names the request.
        id: u64,
        /// The block.
        hash: BlockHash,
    },
}

/// News of the validator and the block store, in the order in which it happened.
#[derive(Clone, Debug)]
pub enum ChainEvent {
    /// A block passed every check that needs no coins, and is stored.
    Stored {
        /// The block.
        hash: BlockHash,
    },
    /// A block was judged on its parent's world and has a world of its own.
    Connected {
        /// The block.
        hash: BlockHash,
    },
    /// A block was refused. Those on top of it are not told.
    Refused {
        /// The block.
        hash: BlockHash,
        /// Core's reject reason.
        reason: String,
        /// What that says of the header: unless `Mutated`, header and descendants are invalid.
        class: RejectClass,
    },
    /// The active tip is now another block; said after its `Connected`, and at the start.
    Tip {
        /// The block.
        hash: BlockHash,
    },
    /// A stored block that was asked for; none when it is not stored, pruned or damaged.
    Read {
        /// The ticket of the question.
        ticket: u64,
        /// The block.
        block: Option<Arc<Vec<u8>>>,
    },
    /// `Precious`, `Invalidate` or `Reconsider` was done; all `Tip`s that it caused were said before.
    Done {
        /// The request's number.
        id: u64,
        /// What hindered it.
        result: Result<(), String>,
    },
    /// Bodies of blocks up to this height are released (`--prune`).
    Pruned {
        /// The height.
        height: u32,
    },
}

/// What a user may have the node do. Reading needs no command: the engine can be looked into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Keep a connection to a node (`addnode add`).
    AddNode {
        /// The node.
        endpoint: Endpoint,
        /// Whether the v2 transport is tried; as the options say where none.
        v2: Option<bool>,
    },
    /// No longer keep it (`addnode remove`).
    RemoveNode(Endpoint),
    /// Connect once; of a kind, and by v2 or v1 (`addnode onetry`, `addconnection`).
    Connect {
        /// The node.
        endpoint: Endpoint,
        /// Why.
        kind: ConnectionKind,
        /// Whether the v2 transport is tried; as the options say where none.
        v2: Option<bool>,
    },
    /// Close a connection.
    DisconnectPeer(PeerId),
    /// Close the connections to an address.
    DisconnectAddress(Endpoint),
    /// Ban an address or subnet until a time, seconds since 1970 (`setban add`).
    Ban {
        /// The address.
        address: NetAddress,
        /// How many leading bits count.
        prefix: u8,
        /// Until when.
        until: u64,
    },
    /// End a ban (`setban remove`).
    Unban {
        /// The address.
        address: NetAddress,
        /// How many leading bits count.
        prefix: u8,
    },
    /// End all bans.
    ClearBans,
    /// Turn all networking on or off (`setnetworkactive`).
    SetActive(bool),
    /// Check, store and connect a block. Refused with Core's reject reason, or `duplicate`, ….
    SubmitBlock(Arc<Vec<u8>>),
    /// Take a header into the tree.
    SubmitHeader(Header),
    /// Ask one peer for a block.
    GetBlockFromPeer {
        /// The block, whose header is known.
        hash: BlockHash,
        /// The peer.
        peer: PeerId,
    },
    /// See [`ChainRequest::Precious`].
    Precious(BlockHash),
    /// See [`ChainRequest::Invalidate`].
    Invalidate(BlockHash),
    /// See [`ChainRequest::Reconsider`].
    Reconsider(BlockHash),
    /// Put an address into the address book (`addpeeraddress`).
    AddAddress {
        /// The address.
        endpoint: Endpoint,
        /// Whether it counts as one that was reached.
        tried: bool,
    },
    /// Send a message as it stands (`sendmsgtopeer`).
    SendMessage {
        /// The peer.
        peer: PeerId,
        /// The message's name.
        name: String,
        /// The payload.
        payload: Vec<u8>,
    },
}

/// Why a command was not done, with what RPC makes a code of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandError {
    /// There is no such peer, ban, block, or node in the list.
    NotFound(String),
    /// It is there already.
    Duplicate(String),
    /// The block, header or address is refused.
    Refused(String),
}
