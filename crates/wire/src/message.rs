use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::{BlockHash, Endpoint, Header, TimedAddress};

/// One message between peers. Those that are not known, or do nothing here, are `Unknown`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Message {
    /// The first message: who one is.
    Version(Version),
    /// The version was taken.
    Verack,
    /// Transactions are announced by wtxid. Spec: BIP-0339.
    WtxidRelay,
    /// Addresses are sent as `addrv2`. Spec: BIP-0155.
    SendAddrV2,
    /// New blocks are announced by their headers. Spec: BIP-0130.
    SendHeaders,
    /// Compact blocks are understood. Spec: BIP-0152.
    SendCmpct {
        /// Whether new blocks shall be sent as such without asking.
        announce: bool,
        /// The version, 2 being the only one in use.
        version: u64,
    },
    /// A feature of a later protocol. Spec: BIP-0434 (draft).
    Feature {
        /// Its name.
        id: Vec<u8>,
        /// What it says.
        data: Vec<u8>,
    },
    /// The least fee rate of transactions that shall be announced, in satoshi per 1,000 vbytes.
    /// Spec: BIP-0133.
    FeeFilter(i64),
    /// Nodes, IPv4 and IPv6 alone (onion v3 and others cannot be said).
    Addr(Vec<TimedAddress>),
    /// Nodes of all networks. Spec: BIP-0155.
    AddrV2(Vec<TimedAddress>),
    /// Asks for nodes.
    GetAddr,
    /// What one has.
    Inv(Vec<Inventory>),
    /// What one wants.
    GetData(Vec<Inventory>),
    /// What one was asked for and has not; read as empty when it is over 5,016, which is ignored.
    NotFound(Vec<Inventory>),
    /// Asks for the names of blocks.
    GetBlocks(Locator),
    /// Asks for headers.
    GetHeaders(Locator),
    /// Up to 2,000 headers.
    Headers(Vec<Header>),
    /// A block that decodes, and is not judged otherwise.
    Block(Arc<Vec<u8>>),
    /// A transaction that decodes, and is not judged otherwise.
    Tx(Arc<Vec<u8>>),
    /// A block whose transactions are told by short ids. Spec: BIP-0152.
    CmpctBlock(CompactBlock),
    /// Asks for transactions of a compact block.
    GetBlockTxn(BlockTxnRequest),
    /// Transactions of a compact block.
    BlockTxn(BlockTxn),
    /// Asks for a pong; without a number from nodes before BIP-0031.
    Ping(Option<u64>),
    /// Answers a ping: its eight bytes, or fewer from who knows no better.
    Pong(Vec<u8>),
    /// `mempool`, `filterload`, `filteradd` or `filterclear`, or what asks for compact filters
    /// (`getcfilters`, `getcfheaders`, `getcfcheckpt`): who sends it is disconnected.
    Bloom(&'static str),
    /// Another message: its name, as it stands in the header without the zeros.
    Unknown(String),
}

/// Who a node is. Missing in the message, and then as for a default here: all after the receiver, the
/// user agent and what follows, the height and what follows, or `relay`. Core: `PushNodeVersion`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// The protocol version.
    pub version: i32,
    /// What the sender offers.
    pub services: u64,
    /// The sender's clock, seconds since 1970.
    pub time: i64,
    /// What the sender thinks that the receiver offers, and where it is.
    pub receiver: (u64, Endpoint),
    /// What the sender offers, and where it is.
    pub sender: (u64, Endpoint),
    /// A random number, by which a node notices that it talks to itself.
    pub nonce: u64,
    /// The sender's software, up to 256 bytes.
    pub user_agent: Vec<u8>,
    /// The height of the sender's tip.
    pub height: i32,
    /// Whether transactions may be announced. Spec: BIP-0037.
    pub relay: bool,
}

/// A kind of thing and its hash, in internal order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Inventory {
    /// The kind: one of the constants, or one that is not known.
    pub kind: u32,
    /// The hash of the block or transaction.
    pub hash: [u8; 32],
}

impl Inventory {
    /// A transaction by txid.
    pub const TX: u32 = 1;
    /// A block.
    pub const BLOCK: u32 = 2;
    /// A block through a bloom filter.
    pub const FILTERED_BLOCK: u32 = 3;
    /// A block as a compact one.
    pub const COMPACT_BLOCK: u32 = 4;
    /// A transaction by wtxid. Spec: BIP-0339.
    pub const WTX: u32 = 5;
    /// A transaction with its witnesses, by txid.
    pub const WITNESS_TX: u32 = 1 | 1 << 30;
    /// A block with its witnesses.
    pub const WITNESS_BLOCK: u32 = 2 | 1 << 30;
}

/// Where one stands, and up to where one wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Locator {
    /// The protocol version, of no use.
    pub version: u32,
    /// Hashes from the tip back.
    pub hashes: Vec<BlockHash>,
    /// The last that is wanted, zero for as many as may be.
    pub stop: BlockHash,
}

/// A block whose transactions are told by short ids. Spec: BIP-0152.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompactBlock {
    /// The header.
    pub header: Header,
    /// Salts the short ids.
    pub nonce: u64,
    /// The first six bytes of each SipHash-2-4 of a wtxid, little-endian.
    pub short_ids: Vec<u64>,
    /// Transactions that are sent whole, with their index in the block (not the difference), which
    /// can lie beyond its end; 65,535 stands for that and more.
    pub prefilled: Vec<(u16, Arc<Vec<u8>>)>,
}

/// Asks for transactions of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockTxnRequest {
    /// The block.
    pub hash: BlockHash,
    /// Their indices, ascending (not the differences).
    pub indices: Vec<u16>,
}

/// Transactions of a block, in the order in which they were asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockTxn {
    /// The block.
    pub hash: BlockHash,
    /// The transactions, with witnesses.
    pub txs: Vec<Arc<Vec<u8>>>,
}
