use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::str::FromStr;

use caesure_hash::sha3_256;

use crate::{DecodeError, Reader, push_compact_size};

/// Where a node can be reached, on any network. Spec: BIP-0155.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NetAddress {
    /// An IPv4 address.
    Ipv4([u8; 4]),
    /// An IPv6 address that stands for nothing else.
    Ipv6([u8; 16]),
    /// The public key of a Tor v3 onion service.
    TorV3([u8; 32]),
    /// The SHA-256 of an I2P destination.
    I2p([u8; 32]),
    /// A CJDNS address, in fc00::/8.
    Cjdns([u8; 16]),
    /// An address of a network that is not known here, which Core drops.
    Unknown {
        /// The network's number.
        network: u8,
        /// The address, up to 512 bytes.
        bytes: Box<[u8]>,
    },
}

/// An address and a TCP port.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// The address.
    pub address: NetAddress,
    /// The port, 0 where the network has none.
    pub port: u16,
}

/// What is told of a node: where it is, what it offers, and when it was last seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TimedAddress {
    /// Seconds since 1970.
    pub time: u32,
    /// The service bits.
    pub services: u64,
    /// Where it is.
    pub endpoint: Endpoint,
}

/// A text is no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an address is an IP, a Tor v3 or an I2P address; its port stands after a colon")]
pub struct ParseAddressError;

const MAPPED_IPV4: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];
/// Tor v2 addresses in IPv6, by OnionCat.
const MAPPED_TOR_V2: [u8; 6] = [0xfd, 0x87, 0xd8, 0x7e, 0xeb, 0x43];
/// Names that Core keeps as addresses.
const MAPPED_INTERNAL: [u8; 6] = [0xfd, 0x6b, 0x88, 0xc0, 0x87, 0x24];
const MAX_ADDRESS_SIZE: usize = 512;
const ONION_VERSION: u8 = 3;
const I2P_SUFFIX: &str = ".b32.i2p";

impl NetAddress {
    /// The address that stands for none, and is not valid. Core: a default `CNetAddr`.
    pub const NONE: Self = Self::Ipv6([0; 16]);

    /// Reads the 16 bytes of `addr` and `version`: IPv4 is mapped into IPv6; what is mapped
    /// otherwise (Tor v2, Core's internal names) is [`NONE`](Self::NONE). Core: `SetLegacyIPv6`.
    #[must_use]
    pub fn from_v1(bytes: [u8; 16]) -> Self {
        match bytes.strip_prefix(&MAPPED_IPV4) {
            Some(&[a, b, c, d]) => Self::Ipv4([a, b, c, d]),
            _ => Self::from_ipv6(bytes),
        }
    }

    /// Returns the 16 bytes of `addr` and `version`, zeros when they cannot say it. Core:
    /// `SerializeV1Array`.
    #[must_use]
    pub fn to_v1(&self) -> [u8; 16] {
        match self {
            Self::Ipv4(octets) => Ipv4Addr::from_octets(*octets).to_ipv6_mapped().octets(),
            Self::Ipv6(octets) => *octets,
            _ => [0; 16],
        }
    }

    /// Reads a network's number, a CompactSize and as many bytes. IPv4 inside IPv6 is no address.
    /// Core: `UnserializeV2Stream`.
    ///
    /// # Errors
    /// When the bytes end, there are more than 512, or not as many as a known network's.
    pub fn read_v2(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let network = reader.u8()?;
        let at = reader.position();
        let size = reader.compact_size()?;
        let expected = match network {
            1 => 4,
            2 | 6 => 16,
            4 | 5 => 32,
            _ => size,
        };
        if size != expected || MAX_ADDRESS_SIZE < size {
            return Err(DecodeError::BadLength { at, size });
        }
        Ok(match network {
            1 => Self::Ipv4(reader.array()?),
            2 => match reader.array()? {
                bytes if bytes.starts_with(&MAPPED_IPV4) => Self::NONE,
                bytes => Self::from_ipv6(bytes),
            },
            4 => Self::TorV3(reader.array()?),
            5 => Self::I2p(reader.array()?),
            6 => Self::Cjdns(reader.array()?),
            _ => Self::Unknown { network, bytes: reader.bytes(size)?.into() },
        })
    }

    /// Appends the network's number, a CompactSize and as many bytes. Spec: BIP-0155.
    pub fn encode_v2_to(&self, out: &mut Vec<u8>) {
        let (network, bytes): (_, &[u8]) = match self {
            Self::Ipv4(octets) => (1, octets),
            Self::Ipv6(octets) => (2, octets),
            Self::TorV3(key) => (4, key),
            Self::I2p(hash) => (5, hash),
            Self::Cjdns(octets) => (6, octets),
            Self::Unknown { network, bytes } => (*network, bytes),
        };
        out.push(network);
        push_compact_size(out, bytes.len());
        out.extend_from_slice(bytes);
    }

    fn from_ipv6(bytes: [u8; 16]) -> Self {
        let is_mapped = bytes.starts_with(&MAPPED_TOR_V2) || bytes.starts_with(&MAPPED_INTERNAL);
        if is_mapped { Self::NONE } else { Self::Ipv6(bytes) }
    }
}

impl Default for NetAddress {
    fn default() -> Self {
        Self::NONE
    }
}

impl From<IpAddr> for NetAddress {
    fn from(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => Self::Ipv4(ip.octets()),
            IpAddr::V6(ip) => Self::from_v1(ip.octets()),
        }
    }
}

/// Core: `ToStringAddr`.
impl fmt::Display for NetAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ipv4(octets) => Ipv4Addr::from_octets(*octets).fmt(f),
            Self::Ipv6(octets) | Self::Cjdns(octets) => Ipv6Addr::from_octets(*octets).fmt(f),
            Self::TorV3(key) => {
                let mut bytes = key.to_vec();
                bytes.extend(onion_checksum(key));
                bytes.push(ONION_VERSION);
                write!(f, "{}.onion", base32(&bytes))
            }
            Self::I2p(hash) => write!(f, "{}{I2P_SUFFIX}", base32(hash)),
            Self::Unknown { network, bytes } => {
                write!(f, "network-{network}:")?;
                bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    }
}

/// IP addresses, with or without brackets, Tor v3 and I2P. A CJDNS address is taken for IPv6, as Core
/// does unless told otherwise. Core: `LookupHost` without a name lookup.
impl FromStr for NetAddress {
    type Err = ParseAddressError;

    fn from_str(text: &str) -> Result<Self, ParseAddressError> {
        let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
        let text = inner.unwrap_or(text);
        let address = if let Some(letters) = text.strip_suffix(".onion") {
            from_base32(letters).and_then(from_onion)
        } else if let Some((letters, suffix)) = text.split_at_checked(52)
            && suffix.eq_ignore_ascii_case(I2P_SUFFIX)
        {
            from_base32(letters).and_then(|bytes| bytes.try_into().ok()).map(Self::I2p)
        } else {
            text.parse::<IpAddr>().ok().map(Self::from)
        };
        address.ok_or(ParseAddressError)
    }
}

impl Endpoint {
    /// Reads an address with or without a port, IPv6 in brackets when with one. Core:
    /// `SplitHostPort`.
    ///
    /// # Errors
    /// When it is none: names are not looked up.
    pub fn parse(text: &str, default_port: u16) -> Result<Self, ParseAddressError> {
        if let Some((host, digits)) = text.rsplit_once(':')
            && (!host.contains(':') || host.starts_with('[') && host.ends_with(']'))
            && !digits.starts_with('+')
            && let Ok(port) = digits.parse()
        {
            return Ok(Self { address: host.parse()?, port });
        }
        Ok(Self { address: text.parse()?, port: default_port })
    }

    /// Returns the socket address, none when the network is neither IPv4 nor IPv6 nor CJDNS.
    #[must_use]
    pub const fn socket_address(&self) -> Option<SocketAddr> {
        let ip = match self.address {
            NetAddress::Ipv4(octets) => IpAddr::V4(Ipv4Addr::from_octets(octets)),
            NetAddress::Ipv6(octets) | NetAddress::Cjdns(octets) => {
                IpAddr::V6(Ipv6Addr::from_octets(octets))
            }
            _ => return None,
        };
        Some(SocketAddr::new(ip, self.port))
    }

    /// Reads 16 bytes and a port, as in `addr` and `version`. The port is big-endian.
    ///
    /// # Errors
    /// When the bytes end.
    pub fn read_v1(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let address = NetAddress::from_v1(reader.array()?);
        Ok(Self { address, port: u16::from_be_bytes(reader.array()?) })
    }

    /// Appends 16 bytes and the port, as in `addr` and `version`.
    pub fn encode_v1_to(&self, out: &mut Vec<u8>) {
        out.extend(self.address.to_v1());
        out.extend(self.port.to_be_bytes());
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self { address: address.ip().into(), port: address.port() }
    }
}

/// Core: `ToStringAddrPort`.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            NetAddress::Ipv6(_) | NetAddress::Cjdns(_) => {
                write!(f, "[{}]:{}", self.address, self.port)
            }
            _ => write!(f, "{}:{}", self.address, self.port),
        }
    }
}

/// As [`Endpoint::parse`]; without a port it is 0.
impl FromStr for Endpoint {
    type Err = ParseAddressError;

    fn from_str(text: &str) -> Result<Self, ParseAddressError> {
        Self::parse(text, 0)
    }
}

fn from_onion(bytes: Vec<u8>) -> Option<NetAddress> {
    let (key, rest) = bytes.split_first_chunk()?;
    let [first, second] = onion_checksum(key);
    (rest == [first, second, ONION_VERSION]).then_some(NetAddress::TorV3(*key))
}

/// Spec: Tor's rend-spec-v3, "Encoding onion addresses".
fn onion_checksum(key: &[u8; 32]) -> [u8; 2] {
    let [first, second, ..] = sha3_256(&[&b".onion checksum"[..], key, &[ONION_VERSION]].concat());
    [first, second]
}

/// Base32 in small letters, without padding. Spec: RFC 4648.
fn base32(bytes: &[u8]) -> String {
    let digit = |at: usize| {
        let pair = [bytes[at / 8], bytes.get(at / 8 + 1).copied().unwrap_or(0)];
        let bits = u16::from_be_bytes(pair) >> (11 - at % 8) & 31;
        char::from(b"abcdefghijklmnopqrstuvwxyz234567"[usize::from(bits)])
    };
    (0..8 * bytes.len()).step_by(5).map(digit).collect()
}

/// The bits that are left over must be zero, and fewer than five.
fn from_base32(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let (mut bits, mut bit_count) = (0_u32, 0);
    for letter in text.bytes() {
        let digit = match letter {
            b'a'..=b'z' => letter - b'a',
            b'A'..=b'Z' => letter - b'A',
            b'2'..=b'7' => letter - b'2' + 26,
            _ => return None,
        };
        bits = bits << 5 | u32::from(digit);
        bit_count += 5;
        if 8 <= bit_count {
            bit_count -= 8;
            bytes.push((bits >> bit_count).to_le_bytes()[0]);
        }
    }
    (bit_count < 5 && bit_count <= bits.trailing_zeros()).then_some(bytes)
}
