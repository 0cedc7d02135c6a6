use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::value::{put_bool, put_integer, put_list, put_octets, put_tuple};

/// Where a peer is: written as a tuple of its host in text and its port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The host.
    pub host: Host,
    /// The port.
    pub port: u16,
}

/// The host of an [`Address`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// An IP address.
    Ip(IpAddr),
    /// Any other: an onion service, say.
    Name(String),
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self { host: Host::Ip(address.ip()), port: address.port() }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

/// What an event is made of.
pub(crate) trait Field {
    /// What it is called in docs/event-log.md.
    const SHAPE: &'static str;
    fn encode(&self, out: &mut Vec<u8>);
}

macro_rules! integers {
    ($($integer:ty)*) => {$(
        impl Field for $integer {
            const SHAPE: &'static str = "integer";
            fn encode(&self, out: &mut Vec<u8>) {
                put_integer(out, (*self).into());
            }
        }
    )*};
}

integers!(u8 u16 u32 u64 i32 i64);

impl Field for bool {
    const SHAPE: &'static str = "truth";
    fn encode(&self, out: &mut Vec<u8>) {
        put_bool(out, *self);
    }
}

impl Field for String {
    const SHAPE: &'static str = "text";
    fn encode(&self, out: &mut Vec<u8>) {
        put_octets(out, self.as_bytes());
    }
}

impl Field for &'static str {
    const SHAPE: &'static str = "text";
    fn encode(&self, out: &mut Vec<u8>) {
        put_octets(out, self.as_bytes());
    }
}

/// A block's or a transaction's name, in internal order.
impl Field for [u8; 32] {
    const SHAPE: &'static str = "name";
    fn encode(&self, out: &mut Vec<u8>) {
        put_octets(out, self);
    }
}

/// `Vec<u8>` would be a list of numbers.
impl Field for Box<[u8]> {
    const SHAPE: &'static str = "bytes";
    fn encode(&self, out: &mut Vec<u8>) {
        put_octets(out, self);
    }
}

impl Field for Address {
    const SHAPE: &'static str = "address";
    fn encode(&self, out: &mut Vec<u8>) {
        put_tuple(out, |out| {
            put_octets(out, self.host.to_string().as_bytes());
            self.port.encode(out);
        });
    }
}

impl Field for Vec<String> {
    const SHAPE: &'static str = "list of texts";
    fn encode(&self, out: &mut Vec<u8>) {
        put_list(out, |out| self.iter().for_each(|text| text.encode(out)));
    }
}
