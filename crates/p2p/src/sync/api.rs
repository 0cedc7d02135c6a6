use std::sync::Arc;

use caesure_consensus::{HeaderId, Params, Work};
use caesure_wire::{BlockHash, Header, Message};

use crate::PeerId;

/// How chain data is fetched, served and relayed.
#[derive(Clone, Debug)]
pub struct SyncOptions {
    /// The network.
    pub params: Params,
    /// The least work of a chain that headers of peers are kept of.
    pub minimum_chain_work: Work,
    /// Whether peers shall send no transactions (`--blocksonly`).
    pub blocks_only: bool,
    /// Whether transactions are taken even before the tip is reached (`-r`).
    pub relays_before_tip: bool,
    /// Whether old blocks are released (`--prune`), so that no deep ones are served.
    pub pruned: bool,
}

/// What is known of a block beyond its header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockState {
    /// Whether the block is stored, or was before it was pruned.
    pub has_body: bool,
    /// Whether it was connected once: it is valid, scripts included.
    pub is_connected: bool,
}

/// What [`Sync`](crate::Sync) wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send a message.
    Send {
        /// To whom.
        peer: PeerId,
        /// The message.
        message: Message,
    },
    /// The peer broke a rule: disconnect and discourage it. Nothing more is said to it.
    Punish {
        /// The peer.
        peer: PeerId,
        /// The rule, for the log.
        why: &'static str,
    },
    /// Disconnect a peer that is of no use. Nothing more is said to it.
    Disconnect {
        /// The peer.
        peer: PeerId,
        /// Why, for the log.
        why: &'static str,
    },
    /// The peer was the first to give a block. Core: `m_last_block_time`.
    NoteBlock(PeerId),
    /// The peer was the first to give a transaction that was accepted.
    NoteTx(PeerId),
    /// The peer is one of up to four outbound ones whose chain was good, which no rule about chains
    /// evicts. Core: `m_chain_sync.m_protect`.
    Protect(PeerId),
    /// A peer announced a block that was new and has more work than the tip. Core:
    /// `m_last_block_announcement`.
    Announced(PeerId),
    /// Headers that are in the tree from now on, parents first.
    Headers(Vec<Header>),
    /// A block to check, store and connect; its header was said before.
    Block {
        /// The block's hash.
        hash: BlockHash,
        /// The block.
        bytes: Arc<Vec<u8>>,
    },
    /// A stored block is wanted, answered by [`Sync::read`](crate::Sync::read).
    Read {
        /// Names the question.
        ticket: u64,
        /// The block.
        hash: BlockHash,
    },
    /// Whether no new block has come for long, so that another outbound peer may help. Said every ten
    /// minutes while it is so.
    StaleTip(bool),
}

/// The end of a branch, as `getchaintips` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainTip {
    /// The header.
    pub id: HeaderId,
    /// Its height.
    pub height: u32,
    /// Its hash.
    pub hash: BlockHash,
    /// How many blocks the branch has that are not on the active chain.
    pub branch_len: u32,
    /// What is known of it.
    pub status: TipStatus,
}

/// What is known of a branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TipStatus {
    /// It is the active chain.
    Active,
    /// It was validated.
    ValidFork,
    /// All blocks are there, not all were validated.
    ValidHeaders,
    /// Blocks are missing.
    HeadersOnly,
    /// A block of it is invalid.
    Invalid,
}

impl TipStatus {
    /// Returns Core's name of it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::ValidFork => "valid-fork",
            Self::ValidHeaders => "valid-headers",
            Self::HeadersOnly => "headers-only",
            Self::Invalid => "invalid",
        }
    }
}

/// A peer's chain as far as it is known, for `getpeerinfo`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerChain {
    /// The best header that the peer announced (`synced_headers`).
    pub best_known: Option<HeaderId>,
    /// The last block that both have (`synced_blocks`).
    pub last_common: Option<HeaderId>,
    /// The heights of the blocks that were asked for (`inflight`).
    pub in_flight: Vec<u32>,
    /// The height to which headers were looked at but not kept (`presynced_headers`).
    pub presync_height: Option<u32>,
    /// Whether we have the peer announce blocks compactly (`bip152_hb_to`).
    pub high_bandwidth_to: bool,
    /// Whether the peer has us announce blocks compactly (`bip152_hb_from`).
    pub high_bandwidth_from: bool,
    /// The least fee rate of the transactions that the peer wants, satoshi per 1,000 vbytes.
    pub fee_filter: i64,
    /// How many transactions are to be announced (`inv_to_send`).
    pub inv_to_send: usize,
}

/// What became of a block that was handed over by a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Submitted {
    /// It goes to the validator: `stored` or `refused` will say more.
    Taken,
    /// It is there already.
    Duplicate,
}

/// Why a block or header of a user, or a wish of him, is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SyncError {
    /// The bytes are no block.
    #[error("Block decode failed")]
    Decode(#[from] caesure_wire::DecodeError),
    /// The block or header breaks a rule.
    #[error("{0}")]
    Refused(#[from] caesure_consensus::Reject),
    /// The header of a submitted header's parent is not known.
    #[error("Must submit previous header ({0}) first")]
    NoParent(BlockHash),
    /// The block's header is not known.
    #[error("Block header missing")]
    NoHeader,
    /// The block is there already.
    #[error("Block already downloaded")]
    HaveBlock,
    /// The peer is not connected.
    #[error("Peer does not exist")]
    NoPeer,
    /// The peer keeps no witnesses.
    #[error("Pre-SegWit peer")]
    NoWitnesses,
    /// A pruned node fetches only what comes after its tip.
    #[error(
        "In prune mode, only blocks that the node has already synced previously can be fetched from a peer"
    )]
    Pruned,
}
