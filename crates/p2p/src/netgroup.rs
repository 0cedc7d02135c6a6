use caesure_wire::NetAddress;

/// The network by which an address is reached, in Core's order. Core: `Network`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NetworkKind {
    /// None that all can reach: private, reserved or unknown.
    NotPubliclyRoutable,
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
    /// Tor.
    Onion,
    /// I2P.
    I2p,
    /// CJDNS.
    Cjdns,
}

impl NetworkKind {
    /// Those that nodes are reached by.
    pub const ROUTABLE: [Self; 5] = [Self::Ipv4, Self::Ipv6, Self::Onion, Self::I2p, Self::Cjdns];

    /// Returns Core's name of it, as in `getpeerinfo`. Core: `GetNetworkName`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotPubliclyRoutable => "not_publicly_routable",
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
            Self::Onion => "onion",
            Self::I2p => "i2p",
            Self::Cjdns => "cjdns",
        }
    }

    /// Returns the network that an address is written in, whether or not it stands for one of
    /// another network. Core: `CNetAddr::GetNetwork`.
    #[must_use]
    pub fn of(address: &NetAddress) -> Self {
        match address {
            _ if !is_routable(address) => Self::NotPubliclyRoutable,
            NetAddress::Ipv4(_) => Self::Ipv4,
            NetAddress::Ipv6(_) => Self::Ipv6,
            NetAddress::TorV3(_) => Self::Onion,
            NetAddress::I2p(_) => Self::I2p,
            NetAddress::Cjdns(_) => Self::Cjdns,
            NetAddress::Unknown { .. } => Self::NotPubliclyRoutable,
        }
    }

    /// Returns the network that an address leads to: IPv4 for those of IPv6 that tunnel or translate
    /// it. Core: `CNetAddr::GetNetClass`.
    #[must_use]
    pub fn class_of(address: &NetAddress) -> Self {
        if linked_ipv4(address).is_some() { Self::Ipv4 } else { Self::of(address) }
    }
}

/// Returns whether the address is of our own machine. Core: `CNetAddr::IsLocal`.
#[must_use]
pub fn is_local(address: &NetAddress) -> bool {
    match address {
        NetAddress::Ipv4(ip) => matches!(ip[0], 0 | 127),
        NetAddress::Ipv6(ip) => u128::from_be_bytes(*ip) == 1,
        _ => false,
    }
}

/// Returns whether the address can be that of a host. Core: `CNetAddr::IsValid`.
#[must_use]
pub fn is_valid(address: &NetAddress) -> bool {
    match address {
        NetAddress::Ipv4(ip) => !matches!(ip, [0, 0, 0, 0] | [255, 255, 255, 255]),
        NetAddress::Ipv6(ip) => *ip != [0; 16] && !ip.starts_with(&[0x20, 0x01, 0x0d, 0xb8]),
        NetAddress::Cjdns(ip) => ip[0] == 0xfc,
        NetAddress::TorV3(_) | NetAddress::I2p(_) => true,
        NetAddress::Unknown { .. } => false,
    }
}

/// Returns whether all on the network can reach the address. Core: `CNetAddr::IsRoutable`.
#[must_use]
pub fn is_routable(address: &NetAddress) -> bool {
    let is_reserved = match address {
        // RFC 1918, 2544, 3927, 6598, 5737.
        NetAddress::Ipv4(ip) => matches!(
            ip,
            [10, ..]
                | [192, 168, ..]
                | [172, 16..=31, ..]
                | [198, 18 | 19, ..]
                | [169, 254, ..]
                | [100, 64..=127, ..]
                | [192, 0, 2, _]
                | [198, 51, 100, _]
                | [203, 0, 113, _]
        ),
        // RFC 4862, 4193, 4843, 7343.
        NetAddress::Ipv6(ip) => matches!(
            ip,
            [0xfe, 0x80, 0, 0, 0, 0, 0, 0, ..]
                | [0xfc | 0xfd, ..]
                | [0x20, 0x01, 0x00, 0x10..=0x2f, ..]
        ),
        _ => false,
    };
    is_valid(address) && !is_local(address) && !is_reserved
}

/// Returns the group of an address: what is likely in one hand. /16 of IPv4, /32 of IPv6, /36 of
/// he.net, 4 random bits of the others; 1 to 6 bytes. Core: `NetGroupManager::GetGroup`, without a
/// map of autonomous systems.
#[must_use]
pub fn net_group(address: &NetAddress) -> Vec<u8> {
    let class = NetworkKind::class_of(address);
    let mut group = vec![class as u8];
    if let Some([a, b, ..]) = linked_ipv4(address) {
        group.extend([a, b]);
    } else if class != NetworkKind::NotPubliclyRoutable {
        match address {
            NetAddress::TorV3(key) | NetAddress::I2p(key) => group.push(key[0] | 0x0f),
            NetAddress::Cjdns(ip) => group.extend([ip[0], ip[1] | 0x0f]),
            NetAddress::Ipv6(ip) if ip.starts_with(&[0x20, 0x01, 0x04, 0x70]) => {
                group.extend(&ip[..4]);
                group.push(ip[4] | 0x0f);
            }
            NetAddress::Ipv6(ip) => group.extend(&ip[..4]),
            _ => {}
        }
    }
    group
}

/// Returns the IPv4 address that a routable address is or leads to. Core: `GetLinkedIPv4`.
fn linked_ipv4(address: &NetAddress) -> Option<[u8; 4]> {
    if !is_routable(address) {
        return None;
    }
    match address {
        NetAddress::Ipv4(ip) => Some(*ip),
        // RFC 6052 and 6145: the last four bytes; 3964: the four after the prefix; 4380: the last
        // four, every bit turned.
        NetAddress::Ipv6(
            [0x00, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d]
            | [0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, a, b, c, d]
            | [0x20, 0x02, a, b, c, d, ..],
        ) => Some([*a, *b, *c, *d]),
        NetAddress::Ipv6([0x20, 0x01, 0, 0, .., a, b, c, d]) => Some([!a, !b, !c, !d]),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> NetAddress {
        text.parse().unwrap()
    }

    fn cjdns(head: [u8; 4]) -> NetAddress {
        let mut ip = [7; 16];
        ip[..4].copy_from_slice(&head);
        NetAddress::Cjdns(ip)
    }

    #[test]
    fn reserved_ranges_are_not_routable_to_their_last_address() {
        // The first and the last address inside, the nearest outside; none where that is reserved
        // too, or of no range.
        for (first, last, before, after) in [
            ("10.0.0.0", "10.255.255.255", "9.255.255.255", "11.0.0.0"),
            ("192.168.0.0", "192.168.255.255", "192.167.255.255", "192.169.0.0"),
            ("172.16.0.0", "172.31.255.255", "172.15.255.255", "172.32.0.0"),
            ("198.18.0.0", "198.19.255.255", "198.17.255.255", "198.20.0.0"),
            ("169.254.0.0", "169.254.255.255", "169.253.255.255", "169.255.0.0"),
            ("100.64.0.0", "100.127.255.255", "100.63.255.255", "100.128.0.0"),
            ("192.0.2.0", "192.0.2.255", "192.0.1.255", "192.0.3.0"),
            ("198.51.100.0", "198.51.100.255", "198.51.99.255", "198.51.101.0"),
            ("203.0.113.0", "203.0.113.255", "203.0.112.255", "203.0.114.0"),
            ("127.0.0.0", "127.255.255.255", "126.255.255.255", "128.0.0.0"),
            ("0.0.0.0", "0.255.255.255", "1.0.0.0", "1.0.0.0"),
            ("255.255.255.255", "255.255.255.255", "255.255.255.254", "255.255.255.254"),
            ("fe80::", "fe80::ffff:ffff:ffff:ffff", "fe7f:ffff::", "fe80:0:0:1::"),
            ("fc00::", "fdff:ffff::", "fbff::", "fe00::"),
            ("2001:10::", "2001:2f:ffff::", "2001:f::", "2001:30::"),
            ("2001:db8::", "2001:db8:ffff::", "2001:db7::", "2001:db9::"),
            ("::", "::1", "::2", "::2"),
        ] {
            for inside in [first, last] {
                assert!(!is_routable(&address(inside)), "{inside}");
                let kind = NetworkKind::class_of(&address(inside));
                assert_eq!(kind, NetworkKind::NotPubliclyRoutable);
            }
            for outside in [before, after] {
                assert!(is_routable(&address(outside)), "{outside}");
            }
        }
        assert!(is_routable(&cjdns([0xfc, 0, 0, 1])) && !is_routable(&cjdns([0xfd, 0, 0, 1])));
        assert!(is_routable(&NetAddress::TorV3([0; 32])) && is_routable(&NetAddress::I2p([0; 32])));
        let unknown = NetAddress::Unknown { network: 9, bytes: Box::new([1; 8]) };
        assert!(!is_routable(&unknown) && !is_valid(&unknown));
    }

    #[test]
    fn our_own_machine_is_local() {
        for text in ["127.0.0.1", "0.1.2.3", "127.255.0.1", "::1"] {
            assert!(is_local(&address(text)), "{text}");
        }
        for text in ["128.0.0.1", "::2", "::", "10.0.0.1"] {
            assert!(!is_local(&address(text)), "{text}");
        }
    }

    #[test]
    fn groups_are_those_of_core() {
        for (text, group) in [
            ("127.0.0.1", &[0][..]),
            ("10.0.0.1", &[0]),
            ("169.254.1.1", &[0]),
            ("1.2.3.4", &[1, 1, 2]),
            ("::ffff:0:102:304", &[1, 1, 2]),
            ("64:ff9b::102:304", &[1, 1, 2]),
            ("2002:102:304:9999:9999:9999:9999:9999", &[1, 1, 2]),
            ("2001:0:9999:9999:9999:9999:fefd:fcfb", &[1, 1, 2]),
            ("2001:470:abcd:9999:9999:9999:9999:9999", &[2, 32, 1, 4, 112, 175]),
            ("2001:2001:9999:9999:9999:9999:9999:9999", &[2, 32, 1, 32, 1]),
        ] {
            assert_eq!(net_group(&address(text)), group, "{text}");
        }
        let key = |first| core::array::from_fn(|i| if i == 0 { first } else { 9 });
        assert_eq!(net_group(&NetAddress::TorV3(key(0x12))), [3, 0x1f]);
        assert_eq!(net_group(&NetAddress::I2p(key(0xa7))), [4, 0xaf]);
        assert_eq!(net_group(&cjdns([0xfc, 0xab, 1, 2])), [5, 0xfc, 0xaf]);
    }

    #[test]
    fn a_tunnel_leads_to_ipv4_but_is_written_in_ipv6() {
        let tunnel = address("2002:102:304::1");
        assert_eq!(NetworkKind::of(&tunnel).name(), "ipv6");
        assert_eq!(NetworkKind::class_of(&tunnel).name(), "ipv4");
    }
}
