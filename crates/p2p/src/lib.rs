//! Bitcoin's peer-to-peer protocol without I/O, clock or threads.

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod address_book;
mod bans;
mod cipher;
mod compact;
mod downloads;
mod eviction;
mod netgroup;
mod network;
mod now;
mod peer;
mod presync;
mod random;
mod recent_set;
mod saved;
mod seeds;
mod socks5;
mod sync;
mod transport;
mod tx_requests;

pub use address_book::{AddressBook, BookEntry};
pub use bans::{Ban, BanError, Bans, DISCOURAGED, MAX_BANS, ParseSubnetError, Subnet};
pub use compact::{CompactError, PartialBlock, ShortIds, compact_block};
pub use downloads::{ChainFacts, CompactSlot, DownloadPeer, DownloadTimeout, Downloads};
pub use eviction::{EvictionCandidate, select_peer_to_evict};
pub use netgroup::{NetworkKind, is_local, is_routable, is_valid, net_group};
pub use network::{
    AddedNode, Effect, Event, MessageTotals, Network, NetworkError, NetworkOptions, PeerInfo,
    SavedFiles, Totals, commands,
};
pub use now::Now;
pub use peer::{ConnectionKind, PeerId};
pub use presync::{HeadersSync, HeadersSyncOutcome, HeadersSyncParams, HeadersSyncState};
pub use random::Random;
pub use recent_set::RecentSet;
pub use saved::{SavedError, anchors_from_bytes, anchors_to_bytes};
pub use seeds::{dns_seeds, filtered_seed, fixed_seeds};
pub use socks5::{Socks5, Socks5Error, Socks5Step};
pub use sync::{
    Action, BlockState, ChainTip, NewPeer, NoPool, PeerChain, Submitted, Sync, SyncError,
    SyncOptions, TipStatus, TxPool, TxVerdict,
};
pub use transport::{Frame, Transport, TransportError, TransportKind};
pub use tx_requests::{TxHash, TxPeer, TxRequests};
