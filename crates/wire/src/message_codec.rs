use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::compact_size::push_compact_u64;
use crate::walk::{MIN_TX_SIZE, walk_tx};
use crate::{
    BlockHash, BlockTxn, BlockTxnRequest, CompactBlock, DecodeError, Endpoint, Header, Inventory,
    Locator, Message, NetAddress, Reader, TimedAddress, Version, push_compact_size,
};

/// The most entries of `inv` and `getdata`. Core: `MAX_INV_SZ`.
const MAX_INVENTORY: usize = 50_000;
/// The most entries of a `notfound` that is looked at. Core: `MAX_PEER_TX_ANNOUNCEMENTS` and
/// `MAX_BLOCKS_IN_TRANSIT_PER_PEER`.
const MAX_NOT_FOUND: usize = 5_016;
/// The most headers of a message. Core: `MAX_HEADERS_RESULTS`.
const MAX_HEADERS: usize = 2_000;
/// The most addresses of a message. Core: `MAX_ADDR_TO_SEND`.
const MAX_ADDRESSES: usize = 1_000;
/// The most hashes of a locator. Core: `MAX_LOCATOR_SZ`.
const MAX_LOCATOR: usize = 101;
/// The most bytes of a user agent. Core: `MAX_SUBVERSION_LENGTH`.
const MAX_USER_AGENT_SIZE: usize = 256;
/// The bytes of a feature's name. Spec: BIP-0434.
const FEATURE_ID_SIZES: core::ops::RangeInclusive<usize> = 4..=80;
/// The most bytes of a feature's data. Spec: BIP-0434.
const MAX_FEATURE_DATA_SIZE: usize = 512;
/// Those that ask for bloom filters, or for what no node without them answers.
const BLOOM: [&str; 4] = ["mempool", "filterload", "filteradd", "filterclear"];
/// Those that ask for compact filters, and how many bytes they have at least. Spec: BIP-0157.
const FILTERS: [(&str, usize); 3] =
    [("getcfilters", 37), ("getcfheaders", 37), ("getcfcheckpt", 33)];

impl Message {
    /// Returns the command: the message's name on the wire.
    #[must_use]
    pub fn command(&self) -> &str {
        match self {
            Self::Version(_) => "version",
            Self::Verack => "verack",
            Self::WtxidRelay => "wtxidrelay",
            Self::SendAddrV2 => "sendaddrv2",
            Self::SendHeaders => "sendheaders",
            Self::SendCmpct { .. } => "sendcmpct",
            Self::Feature { .. } => "feature",
            Self::FeeFilter(_) => "feefilter",
            Self::Addr(_) => "addr",
            Self::AddrV2(_) => "addrv2",
            Self::GetAddr => "getaddr",
            Self::Inv(_) => "inv",
            Self::GetData(_) => "getdata",
            Self::NotFound(_) => "notfound",
            Self::GetBlocks(_) => "getblocks",
            Self::GetHeaders(_) => "getheaders",
            Self::Headers(_) => "headers",
            Self::Block(_) => "block",
            Self::Tx(_) => "tx",
            Self::CmpctBlock(_) => "cmpctblock",
            Self::GetBlockTxn(_) => "getblocktxn",
            Self::BlockTxn(_) => "blocktxn",
            Self::Ping(_) => "ping",
            Self::Pong(_) => "pong",
            Self::Bloom(command) => command,
            Self::Unknown(command) => command,
        }
    }

    /// Appends the payload; of a message that is not known, nothing.
    pub fn encode_payload(&self, out: &mut Vec<u8>) {
        match self {
            Self::Version(version) => encode_version(version, out),
            Self::SendCmpct { announce, version } => {
                out.push((*announce).into());
                out.extend(version.to_le_bytes());
            }
            Self::Feature { id, data } => {
                push_bytes(out, id);
                push_bytes(out, data);
            }
            Self::FeeFilter(rate) => out.extend(rate.to_le_bytes()),
            Self::Addr(list) => push_list(out, list, |out, address| {
                out.extend(address.time.to_le_bytes());
                out.extend(address.services.to_le_bytes());
                address.endpoint.encode_v1_to(out);
            }),
            Self::AddrV2(list) => push_list(out, list, |out, address| {
                out.extend(address.time.to_le_bytes());
                push_compact_u64(out, address.services);
                address.endpoint.address.encode_v2_to(out);
                out.extend(address.endpoint.port.to_be_bytes());
            }),
            Self::Inv(list) | Self::GetData(list) | Self::NotFound(list) => {
                push_list(out, list, |out, entry| {
                    out.extend(entry.kind.to_le_bytes());
                    out.extend(entry.hash);
                });
            }
            Self::GetBlocks(locator) | Self::GetHeaders(locator) => {
                out.extend(locator.version.to_le_bytes());
                push_list(out, &locator.hashes, |out, hash| out.extend(hash.0));
                out.extend(locator.stop.0);
            }
            Self::Headers(headers) => push_list(out, headers, |out, header| {
                out.extend(header.to_bytes());
                out.push(0);
            }),
            Self::Block(bytes) | Self::Tx(bytes) => out.extend_from_slice(bytes),
            Self::CmpctBlock(block) => encode_compact_block(block, out),
            Self::GetBlockTxn(request) => {
                out.extend(request.hash.0);
                push_compact_size(out, request.indices.len());
                let mut next = 0;
                for index in &request.indices {
                    push_difference(out, &mut next, *index);
                }
            }
            Self::BlockTxn(block) => {
                out.extend(block.hash.0);
                push_list(out, &block.txs, |out, tx| out.extend_from_slice(tx));
            }
            Self::Ping(nonce) => out.extend(nonce.iter().flat_map(|nonce| nonce.to_le_bytes())),
            Self::Pong(bytes) => out.extend_from_slice(bytes),
            Self::Verack
            | Self::WtxidRelay
            | Self::SendAddrV2
            | Self::SendHeaders
            | Self::GetAddr
            | Self::Bloom(_)
            | Self::Unknown(_) => {}
        }
    }

    /// Reads a payload as Core reads it. Bytes after the last field are dropped, but in `feature`; a
    /// block and a transaction are walked, and do decode. The memory that it takes is at most seven
    /// times the payload's.
    ///
    /// # Errors
    /// When the payload is none of the command's. Core passes over such a message, but for
    /// [`TooMany`](DecodeError::TooMany), [`BadAnnounce`](DecodeError::BadAnnounce), and any error in
    /// `feature`, for which it disconnects.
    pub fn decode(command: &str, payload: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(payload);
        let reader = &mut reader;
        Ok(match command {
            "version" => Self::Version(read_version(reader)?),
            "verack" => Self::Verack,
            "wtxidrelay" => Self::WtxidRelay,
            "sendaddrv2" => Self::SendAddrV2,
            "sendheaders" => Self::SendHeaders,
            "sendcmpct" => read_send_cmpct(reader)?,
            "feature" => read_feature(reader)?,
            "feefilter" => Self::FeeFilter(reader.i64()?),
            "addr" => Self::Addr(read_list(reader, 30, MAX_ADDRESSES, read_address)?),
            "addrv2" => Self::AddrV2(read_list(reader, 9, MAX_ADDRESSES, read_address_v2)?),
            "getaddr" => Self::GetAddr,
            "inv" => Self::Inv(read_inventory(reader, MAX_INVENTORY)?),
            "getdata" => Self::GetData(read_inventory(reader, MAX_INVENTORY)?),
            "notfound" => Self::NotFound(match read_inventory(reader, MAX_NOT_FOUND) {
                Err(DecodeError::TooMany { .. }) => Vec::new(),
                list => list?,
            }),
            "getblocks" => Self::GetBlocks(read_locator(reader)?),
            "getheaders" => Self::GetHeaders(read_locator(reader)?),
            "headers" => Self::Headers(read_headers(reader)?),
            "block" => Self::Block(read_block(reader)?),
            "tx" => Self::Tx(read_tx(reader)?),
            "cmpctblock" => Self::CmpctBlock(read_compact_block(reader)?),
            "getblocktxn" => Self::GetBlockTxn(read_block_txn_request(reader)?),
            "blocktxn" => Self::BlockTxn(BlockTxn {
                hash: BlockHash(reader.array()?),
                txs: read_list(reader, MIN_TX_SIZE, usize::MAX, read_tx)?,
            }),
            "ping" if payload.is_empty() => Self::Ping(None),
            "ping" => Self::Ping(Some(reader.u64()?)),
            "pong" => Self::Pong(payload[..payload.len().min(8)].to_vec()),
            _ => {
                let filters = FILTERS.into_iter().filter(|(_, size)| *size <= payload.len());
                let mut names = BLOOM.into_iter().chain(filters.map(|(name, _)| name));
                match names.find(|&name| name == command) {
                    Some(name) => Self::Bloom(name),
                    None => Self::Unknown(String::from(command)),
                }
            }
        })
    }
}

/// Takes a CompactSize and as many entries, which are `least` bytes at least. All are read, so that
/// one that does not decode counts more than their number, but no more than `limit` are kept.
fn read_list<'a, T>(
    reader: &mut Reader<'a>,
    least: usize,
    limit: usize,
    mut read: impl FnMut(&mut Reader<'a>) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    let count = reader.count(least)?;
    let mut list = Vec::with_capacity(if count <= limit { count } else { 0 });
    for _ in 0..count {
        let entry = read(reader)?;
        if count <= limit {
            list.push(entry);
        }
    }
    if count <= limit { Ok(list) } else { Err(DecodeError::TooMany { count, limit }) }
}

fn read_sized(reader: &mut Reader<'_>, limit: usize) -> Result<Vec<u8>, DecodeError> {
    let at = reader.position();
    let size = reader.compact_size()?;
    if limit < size {
        return Err(DecodeError::BadLength { at, size });
    }
    Ok(reader.bytes(size)?.to_vec())
}

/// All after the receiver may be missing. Core: `ProcessMessage`.
fn read_version(reader: &mut Reader<'_>) -> Result<Version, DecodeError> {
    let mut version = Version {
        version: i32::from_le_bytes(reader.array()?),
        services: reader.u64()?,
        time: reader.i64()?,
        receiver: (reader.u64()?, Endpoint::read_v1(reader)?),
        sender: (0, Endpoint::default()),
        nonce: 1,
        user_agent: Vec::new(),
        height: -1,
        relay: true,
    };
    if !reader.is_empty() {
        version.sender = (reader.u64()?, Endpoint::read_v1(reader)?);
        version.nonce = reader.u64()?;
    }
    if !reader.is_empty() {
        version.user_agent = read_sized(reader, MAX_USER_AGENT_SIZE)?;
    }
    if !reader.is_empty() {
        version.height = i32::from_le_bytes(reader.array()?);
    }
    if !reader.is_empty() {
        version.relay = reader.u8()? != 0;
    }
    Ok(version)
}

fn read_send_cmpct(reader: &mut Reader<'_>) -> Result<Message, DecodeError> {
    let announce = reader.u8()?;
    let version = reader.u64()?;
    match announce {
        0 | 1 => Ok(Message::SendCmpct { announce: announce == 1, version }),
        value => Err(DecodeError::BadAnnounce { value }),
    }
}

fn read_feature(reader: &mut Reader<'_>) -> Result<Message, DecodeError> {
    let id = read_sized(reader, *FEATURE_ID_SIZES.end())?;
    if !FEATURE_ID_SIZES.contains(&id.len()) {
        return Err(DecodeError::BadLength { at: 0, size: id.len() });
    }
    let data = read_sized(reader, MAX_FEATURE_DATA_SIZE)?;
    reader.clone().finish()?;
    Ok(Message::Feature { id, data })
}

fn read_address(reader: &mut Reader<'_>) -> Result<TimedAddress, DecodeError> {
    let (time, services) = (reader.u32()?, reader.u64()?);
    Ok(TimedAddress { time, services, endpoint: Endpoint::read_v1(reader)? })
}

fn read_address_v2(reader: &mut Reader<'_>) -> Result<TimedAddress, DecodeError> {
    let (time, services) = (reader.u32()?, reader.compact_u64()?);
    let address = NetAddress::read_v2(reader)?;
    let endpoint = Endpoint { address, port: u16::from_be_bytes(reader.array()?) };
    Ok(TimedAddress { time, services, endpoint })
}

fn read_inventory(reader: &mut Reader<'_>, limit: usize) -> Result<Vec<Inventory>, DecodeError> {
    read_list(reader, 36, limit, |reader| {
        Ok(Inventory { kind: reader.u32()?, hash: reader.array()? })
    })
}

fn read_locator(reader: &mut Reader<'_>) -> Result<Locator, DecodeError> {
    let version = reader.u32()?;
    let hashes = read_list(reader, 32, MAX_LOCATOR, |reader| Ok(BlockHash(reader.array()?)));
    let stop = BlockHash(reader.array()?);
    Ok(Locator { version, hashes: hashes?, stop })
}

/// The number is judged before the headers are read. What stands for the number of transactions is
/// passed over.
fn read_headers(reader: &mut Reader<'_>) -> Result<Vec<Header>, DecodeError> {
    match reader.clone().compact_size()? {
        0..=MAX_HEADERS => {}
        count => return Err(DecodeError::TooMany { count, limit: MAX_HEADERS }),
    }
    read_list(reader, Header::SIZE + 1, MAX_HEADERS, |reader| {
        let header = Header::read(reader)?;
        reader.compact_size()?;
        Ok(header)
    })
}

fn read_block(reader: &mut Reader<'_>) -> Result<Arc<Vec<u8>>, DecodeError> {
    let start = reader.clone();
    Header::read(reader)?;
    for _ in 0..reader.count(MIN_TX_SIZE)? {
        walk_tx(reader, |_, _| ())?;
    }
    taken_since(start, reader)
}

fn read_tx(reader: &mut Reader<'_>) -> Result<Arc<Vec<u8>>, DecodeError> {
    let start = reader.clone();
    walk_tx(reader, |_, _| ())?;
    taken_since(start, reader)
}

/// A copy of what was read between two positions.
fn taken_since(mut start: Reader<'_>, end: &Reader<'_>) -> Result<Arc<Vec<u8>>, DecodeError> {
    let size = end.position() - start.position();
    Ok(Arc::new(start.bytes(size)?.to_vec()))
}

/// An index over 65,535 is kept as 65,535: no compact block has so many transactions, so whoever
/// looks for its place finds none, as Core does later.
fn read_compact_block(reader: &mut Reader<'_>) -> Result<CompactBlock, DecodeError> {
    let (header, nonce) = (Header::read(reader)?, reader.u64()?);
    let short_ids = read_list(reader, 6, usize::MAX, |reader| {
        let mut bytes = [0; 8];
        bytes[..6].copy_from_slice(reader.bytes(6)?);
        Ok(u64::from_le_bytes(bytes))
    })?;
    let mut next = 0_u16;
    let prefilled = read_list(reader, 1 + MIN_TX_SIZE, usize::MAX, |reader| {
        let difference = reader.compact_size()?;
        let at = reader.position();
        let difference =
            u16::try_from(difference).map_err(|_| DecodeError::OversizedIndex { at })?;
        let index = next.saturating_add(difference);
        next = index.saturating_add(1);
        Ok((index, read_tx(reader)?))
    })?;
    if usize::from(u16::MAX) < short_ids.len() + prefilled.len() {
        return Err(DecodeError::OversizedIndex { at: reader.position() });
    }
    Ok(CompactBlock { header, nonce, short_ids, prefilled })
}

fn read_block_txn_request(reader: &mut Reader<'_>) -> Result<BlockTxnRequest, DecodeError> {
    let hash = BlockHash(reader.array()?);
    let mut next = 0;
    let indices = read_list(reader, 1, usize::MAX, |reader| {
        let index = next + reader.compact_size()?;
        next = index + 1;
        u16::try_from(index).map_err(|_| DecodeError::OversizedIndex { at: reader.position() })
    })?;
    Ok(BlockTxnRequest { hash, indices })
}

fn push_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    push_compact_size(out, bytes.len());
    out.extend_from_slice(bytes);
}

fn push_list<T>(out: &mut Vec<u8>, list: &[T], push: impl Fn(&mut Vec<u8>, &T)) {
    push_compact_size(out, list.len());
    for entry in list {
        push(out, entry);
    }
}

/// Appends how far an index is from `next`, the one after the last.
fn push_difference(out: &mut Vec<u8>, next: &mut u16, index: u16) {
    push_compact_size(out, index.saturating_sub(*next).into());
    *next = index.saturating_add(1);
}

fn encode_version(version: &Version, out: &mut Vec<u8>) {
    out.extend(version.version.to_le_bytes());
    out.extend(version.services.to_le_bytes());
    out.extend(version.time.to_le_bytes());
    for (services, endpoint) in [&version.receiver, &version.sender] {
        out.extend(services.to_le_bytes());
        endpoint.encode_v1_to(out);
    }
    out.extend(version.nonce.to_le_bytes());
    push_bytes(out, &version.user_agent);
    out.extend(version.height.to_le_bytes());
    out.push(version.relay.into());
}

fn encode_compact_block(block: &CompactBlock, out: &mut Vec<u8>) {
    out.extend(block.header.to_bytes());
    out.extend(block.nonce.to_le_bytes());
    push_list(out, &block.short_ids, |out, id| out.extend(&id.to_le_bytes()[..6]));
    push_compact_size(out, block.prefilled.len());
    let mut next = 0;
    for (index, tx) in &block.prefilled {
        push_difference(out, &mut next, *index);
        out.extend_from_slice(tx);
    }
}
