//! Messages as a capture of packets: each is put into a frame of the v1 transport, and that into TCP
//! segments between the peer and an address that stands for the node.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use caesure_eventlog::{Error, Record, Value};
use etherparse::PacketBuilder;
use sha2::{Digest, Sha256};

/// Networks, with the magic of their messages and their port.
pub(crate) const NETWORKS: [(&str, [u8; 4], u16); 5] = [
    ("main", [0xf9, 0xbe, 0xb4, 0xd9], 8_333),
    ("testnet3", [0x0b, 0x11, 0x09, 0x07], 18_333),
    ("testnet4", [0x1c, 0x16, 0x3f, 0x28], 48_333),
    ("signet", [0x0a, 0x03, 0xcf, 0x40], 38_333),
    ("regtest", [0xfa, 0xbf, 0xb5, 0xda], 18_444),
];

/// Packets without a frame of a link. Spec: the list of link types of libpcap, `LINKTYPE_RAW`.
const LINK_TYPE: u32 = 101;
const SNAPSHOT_LENGTH: u32 = 1 << 18;
/// How much of a message a segment holds; headers come on top, and 65,535 bytes are the most.
const SEGMENT: usize = 60_000;
/// They stand for the node, whose own address is not in the log.
const OWN_V4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const OWN_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);
/// It stands for a peer that is reached by a name.
const NAMED: Ipv4Addr = Ipv4Addr::new(240, 0, 0, 1);

/// A capture that is written.
pub(crate) struct Capture<W> {
    out: W,
    magic: [u8; 4],
    port: u16,
    /// How many bytes went and came, by peer.
    sequences: BTreeMap<(IpAddr, u16), [u32; 2]>,
    messages: u64,
}

impl<W: Write> Capture<W> {
    pub(crate) fn new(mut out: W, network: &str) -> io::Result<Self> {
        out.write_all(&0xa1b2_c3d4_u32.to_le_bytes())?;
        for number in [2_u16, 4] {
            out.write_all(&number.to_le_bytes())?;
        }
        for number in [0, 0, SNAPSHOT_LENGTH, LINK_TYPE] {
            out.write_all(&number.to_le_bytes())?;
        }
        let (magic, port, messages) = ([0; 4], 0, 0);
        let mut capture = Self { out, magic, port, sequences: BTreeMap::new(), messages };
        capture.set_network(network);
        Ok(capture)
    }

    /// Takes a record; those that are no messages are passed over, but for the network's name.
    pub(crate) fn take(&mut self, record: &Record) -> Result<(), Error> {
        let is_sent = match record.facility() {
            "server" if record.text(1) == "starting" => {
                self.set_network(record.text(3));
                return Ok(());
            }
            "send" => true,
            "recv" => false,
            _ => return Ok(()),
        };
        let [_, Value::Tuple(address), _, Value::Bytes(payload)] = &record.items[..] else {
            return Ok(());
        };
        let [Value::Bytes(host), Value::Integer(port)] = &address[..] else { return Ok(()) };
        let host = std::str::from_utf8(host).ok().and_then(|host| host.parse::<IpAddr>().ok());
        let peer = (host.unwrap_or(NAMED.into()), u16::try_from(*port).unwrap_or(0));
        self.messages += 1;
        let frame = self.frame(record.text(2), payload);
        for part in frame.chunks(SEGMENT) {
            self.segment(record.time, peer, is_sent, part)?;
        }
        Ok(())
    }

    /// Ends it; returns how many messages there were.
    pub(crate) fn finish(mut self) -> io::Result<u64> {
        self.out.flush()?;
        Ok(self.messages)
    }

    fn set_network(&mut self, name: &str) {
        if let Some((_, magic, port)) = NETWORKS.iter().find(|(network, ..)| *network == name) {
            (self.magic, self.port) = (*magic, *port);
        }
    }

    fn frame(&self, command: &str, payload: &[u8]) -> Vec<u8> {
        let mut name = [0; 12];
        name.iter_mut().zip(command.bytes()).for_each(|(to, from)| *to = from);
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes();
        let checksum = Sha256::digest(Sha256::digest(payload));
        [&self.magic, &name[..], &length, &checksum[..4], payload].concat()
    }

    fn segment(
        &mut self,
        time: i64,
        (ip, port): (IpAddr, u16),
        is_sent: bool,
        bytes: &[u8],
    ) -> Result<(), Error> {
        let sequence = self.sequences.entry((ip, port)).or_default();
        let [of, other] = if is_sent { [0, 1] } else { [1, 0] };
        let (number, acknowledged) = (sequence[of], sequence[other]);
        let length = u32::try_from(bytes.len()).unwrap_or(0);
        sequence[of] = number.wrapping_add(length);
        let order =
            |own: (IpAddr, u16)| if is_sent { [own, (ip, port)] } else { [(ip, port), own] };
        let [from, to] = order(match ip {
            IpAddr::V4(_) => (OWN_V4.into(), self.port),
            IpAddr::V6(_) => (OWN_V6.into(), self.port),
        });
        let builder = match (from.0, to.0) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                PacketBuilder::ipv4(from.octets(), to.octets(), 64)
            }
            (from, to) => PacketBuilder::ipv6(octets(from), octets(to), 64),
        };
        let builder = builder.tcp(from.1, to.1, number, u16::MAX).ack(acknowledged).psh();
        let mut packet = Vec::with_capacity(builder.size(bytes.len()));
        builder.write(&mut packet, bytes).map_err(io::Error::other)?;
        let length = u32::try_from(packet.len()).unwrap_or(u32::MAX);
        let seconds = u32::try_from(time.div_euclid(1_000_000)).unwrap_or(0);
        let micros = u32::try_from(time.rem_euclid(1_000_000)).unwrap_or(0);
        for number in [seconds, micros, length, length] {
            self.out.write_all(&number.to_le_bytes())?;
        }
        Ok(self.out.write_all(&packet)?)
    }
}

fn octets(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}
