use core::fmt;

/// Serves all blocks. Core: `NODE_NETWORK`.
pub(crate) const NODE_NETWORK: u64 = 1;
/// Serves witnesses.
pub(crate) const NODE_WITNESS: u64 = 1 << 3;
/// Serves the last 288 blocks. Spec: BIP-0159.
pub(crate) const NODE_NETWORK_LIMITED: u64 = 1 << 10;
/// Speaks the v2 transport. Spec: BIP-0324.
pub(crate) const NODE_P2P_V2: u64 = 1 << 11;

/// A connection, by a number that is never used again. Those that we dialled are even, those that
/// were accepted odd.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub u64);

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why there is a connection. Core: `ConnectionType`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ConnectionKind {
    /// The peer dialled.
    #[default]
    Inbound,
    /// Blocks, transactions and addresses.
    OutboundFull,
    /// Blocks alone, so that the topology is harder to see.
    BlockRelay,
    /// Asked for by the user.
    Manual,
    /// Only to see whether an address is good.
    Feeler,
    /// Only to ask for addresses.
    AddrFetch,
}

impl ConnectionKind {
    /// Returns Core's name of it, as in `getpeerinfo`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::OutboundFull => "outbound-full-relay",
            Self::BlockRelay => "block-relay-only",
            Self::Manual => "manual",
            Self::Feeler => "feeler",
            Self::AddrFetch => "addr-fetch",
        }
    }
}
