/// Why bytes are not a transaction, a block or a message. `at` counts bytes from the start of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes end before a field does, or a length claims more bytes than there are.
    #[error("data ends at byte {at}, inside a field")]
    UnexpectedEnd {
        /// Where the data ends.
        at: usize,
    },
    /// A CompactSize could have been written shorter.
    #[error("the length at byte {at} is not in its shortest form")]
    NonCanonicalSize {
        /// Where the length begins.
        at: usize,
    },
    /// A CompactSize is over [`MAX_SIZE`](crate::MAX_SIZE).
    #[error("the length {size} at byte {at} is over the limit of 33554432")]
    OversizedSize {
        /// Where the length begins.
        at: usize,
        /// The length.
        size: u64,
    },
    /// A transaction is marked as having witnesses, and has none.
    #[error("the transaction before byte {at} is marked as having witnesses and has none")]
    SuperfluousWitness {
        /// Where the witnesses end.
        at: usize,
    },
    /// The flag byte of a transaction has a bit that means nothing.
    #[error("unknown flag {flag:#04x} at byte {at}")]
    UnknownFlag {
        /// Where the flag stands.
        at: usize,
        /// The flag.
        flag: u8,
    },
    /// Bytes follow the last field.
    #[error("the data goes on after its end at byte {at}")]
    TrailingBytes {
        /// Where the value ends.
        at: usize,
    },
    /// A length is not one that its field may have.
    #[error("the length {size} at byte {at} is none of its field's")]
    BadLength {
        /// Where the length begins.
        at: usize,
        /// The length.
        size: usize,
    },
    /// An index among a block's transactions is over 65,535.
    #[error("the index before byte {at} is over 65535")]
    OversizedIndex {
        /// Where the difference from the index before ends.
        at: usize,
    },
    /// A message decodes and has more entries than it may: Core disconnects for a locator
    /// (`getblocks`, `getheaders`), and calls it misbehaviour for the others (`inv`, `getdata`,
    /// `headers`, `addr`, `addrv2`).
    #[error("{count} entries, over the limit of {limit}")]
    TooMany {
        /// How many entries there are.
        count: usize,
        /// How many there may be.
        limit: usize,
    },
    /// The first byte of a `sendcmpct` is neither 0 nor 1: misbehaviour. Spec: BIP-0152.
    #[error("sendcmpct begins with {value}, neither 0 nor 1")]
    BadAnnounce {
        /// The byte.
        value: u8,
    },
}
