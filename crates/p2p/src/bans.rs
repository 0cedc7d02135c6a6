use core::fmt;
use core::str::FromStr;
use std::collections::BTreeMap;

use caesure_wire::NetAddress;

use crate::saved::{self, BANS};
use crate::{Random, RecentSet, SavedError, is_valid};

/// How many bans there may be.
pub const MAX_BANS: usize = 50_000;
/// How many addresses are discouraged at least until they are forgotten; at most twice as many are
/// kept, in 5.4 MB. Core: 50,000.
pub const DISCOURAGED: usize = 50_000;

/// A range of addresses of IPv4 or IPv6, or one address of another network. Core: `CSubNet`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subnet {
    address: NetAddress,
    prefix: u8,
}

/// A text is no subnet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a subnet is an address, or one of IPv4 or IPv6 with `/` and how many bits count")]
pub struct ParseSubnetError;

impl Subnet {
    /// Makes the subnet of all addresses of IPv4 or IPv6 that begin with as many bits of the
    /// address. Of other networks there are single addresses only, and `prefix` does not count.
    /// None when the prefix is longer than the address, or its network is not known.
    #[must_use]
    pub fn new(address: NetAddress, prefix: u8) -> Option<Self> {
        let bits = range_bits(&address)?;
        let address = match address {
            _ if prefix > bits && bits > 0 => return None,
            NetAddress::Ipv4(ip) => {
                let mask = u32::MAX.checked_shl((32 - prefix).into()).unwrap_or(0);
                NetAddress::Ipv4((u32::from_be_bytes(ip) & mask).to_be_bytes())
            }
            NetAddress::Ipv6(ip) => {
                let mask = u128::MAX.checked_shl((128 - prefix).into()).unwrap_or(0);
                NetAddress::Ipv6((u128::from_be_bytes(ip) & mask).to_be_bytes())
            }
            other => other,
        };
        Some(Self { address, prefix: prefix.min(bits) })
    }

    /// Makes the subnet of one address; none if its network is not known.
    #[must_use]
    pub fn single(address: NetAddress) -> Option<Self> {
        let bits = range_bits(&address)?;
        Self::new(address, bits)
    }

    /// Returns the first address.
    #[must_use]
    pub const fn address(&self) -> &NetAddress {
        &self.address
    }

    /// Returns how many leading bits count; 0 for networks other than IPv4 and IPv6.
    #[must_use]
    pub const fn prefix(&self) -> u8 {
        self.prefix
    }

    /// Returns whether the address is in the subnet. Core: `CSubNet::Match`.
    #[must_use]
    pub fn contains(&self, address: &NetAddress) -> bool {
        is_valid(address) && Self::new(address.clone(), self.prefix).as_ref() == Some(self)
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)?;
        if range_bits(&self.address) > Some(0) { write!(f, "/{}", self.prefix) } else { Ok(()) }
    }
}

impl FromStr for Subnet {
    type Err = ParseSubnetError;

    /// Reads an address, or one of IPv4 or IPv6 with a slash and a number of bits or a netmask. Core:
    /// `LookupSubNet`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (address, mask) = text.rsplit_once('/').map_or((text, None), |(a, m)| (a, Some(m)));
        let address: NetAddress = address.parse().map_err(|_| ParseSubnetError)?;
        let subnet = match mask {
            None => Self::single(address),
            Some(_) if range_bits(&address) == Some(0) => None,
            Some(mask) if mask.bytes().all(|byte| byte.is_ascii_digit()) => {
                mask.parse().ok().and_then(|prefix| Self::new(address, prefix))
            }
            Some(mask) => mask_bits(&address, mask).and_then(|prefix| Self::new(address, prefix)),
        };
        subnet.ok_or(ParseSubnetError)
    }
}

/// Returns how many bits of an address a range may be made by; none for unknown networks.
const fn range_bits(address: &NetAddress) -> Option<u8> {
    match address {
        NetAddress::Ipv4(_) => Some(32),
        NetAddress::Ipv6(_) => Some(128),
        NetAddress::TorV3(_) | NetAddress::I2p(_) | NetAddress::Cjdns(_) => Some(0),
        NetAddress::Unknown { .. } => None,
    }
}

/// Returns how many bits a netmask sets, which must be the first ones.
fn mask_bits(address: &NetAddress, mask: &str) -> Option<u8> {
    let (mask, width) = match (address, mask.parse().ok()?) {
        (NetAddress::Ipv4(_), NetAddress::Ipv4(mask)) => (u32::from_be_bytes(mask).into(), 32),
        (NetAddress::Ipv6(_), NetAddress::Ipv6(mask)) => (u128::from_be_bytes(mask), 128),
        _ => return None,
    };
    let ones = mask.count_ones();
    let is_prefix = ones == 0 || mask.trailing_zeros() + ones == width;
    u8::try_from(ones).ok().filter(|_| is_prefix)
}

/// How long a subnet is banned, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ban {
    /// Since when.
    pub created: u64,
    /// Until when.
    pub until: u64,
}

/// Why a ban is not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BanError {
    /// There is one of the same subnet that lasts as long.
    #[error("it is already banned as long")]
    AlreadyBanned,
    /// There are [`MAX_BANS`].
    #[error("there are already {MAX_BANS} bans")]
    TooMany,
}

/// Subnets that the user banned, and addresses of peers that broke the protocol, which are
/// discouraged. What peers do changes only the latter, which are forgotten at the end. Core:
/// `BanMan`.
#[derive(Clone, Debug)]
pub struct Bans {
    banned: BTreeMap<Subnet, Ban>,
    discouraged: RecentSet<NetAddress>,
}

impl Bans {
    /// Makes an empty list.
    #[must_use]
    pub fn new(random: &mut Random) -> Self {
        Self { banned: BTreeMap::new(), discouraged: RecentSet::new(DISCOURAGED, random.u64()) }
    }

    /// Bans a subnet until a time.
    ///
    /// # Errors
    /// When it is banned as long, or there are too many.
    pub fn ban(&mut self, subnet: Subnet, until: u64, now: u64) -> Result<(), BanError> {
        if self.banned.get(&subnet).is_some_and(|ban| ban.until >= until) {
            return Err(BanError::AlreadyBanned);
        }
        if self.banned.len() >= MAX_BANS && !self.banned.contains_key(&subnet) {
            self.sweep(now);
            if self.banned.len() >= MAX_BANS {
                return Err(BanError::TooMany);
            }
        }
        self.banned.insert(subnet, Ban { created: now, until });
        Ok(())
    }

    /// Ends a ban; returns whether there was one of just that subnet.
    pub fn unban(&mut self, subnet: &Subnet) -> bool {
        self.banned.remove(subnet).is_some()
    }

    /// Ends all bans.
    pub fn clear(&mut self) {
        self.banned.clear();
    }

    /// Returns whether a banned subnet has the address in it. Looks each of the at most 129 subnets
    /// up that it can be in, however many bans there are.
    #[must_use]
    pub fn is_banned(&self, address: &NetAddress, now: u64) -> bool {
        if self.banned.is_empty() || !is_valid(address) {
            return false;
        }
        subnets_of(address).any(|subnet| self.is_subnet_banned(&subnet, now))
    }

    /// Returns whether just that subnet is banned.
    #[must_use]
    pub fn is_subnet_banned(&self, subnet: &Subnet, now: u64) -> bool {
        self.banned.get(subnet).is_some_and(|ban| now < ban.until)
    }

    /// Takes those out that are over; returns whether there was one.
    pub fn sweep(&mut self, now: u64) -> bool {
        let before = self.banned.len();
        self.banned.retain(|_, ban| now <= ban.until);
        self.banned.len() < before
    }

    /// Returns the bans by subnet, also those that are over and were not swept.
    pub fn iter(&self) -> impl Iterator<Item = (&Subnet, &Ban)> {
        self.banned.iter()
    }

    /// Discourages an address: it is not dialled nor told of, and the first to be dropped.
    pub fn discourage(&mut self, address: &NetAddress) {
        self.discouraged.insert(address.clone());
    }

    /// Returns whether the address is discouraged.
    #[must_use]
    pub fn is_discouraged(&self, address: &NetAddress) -> bool {
        self.discouraged.contains(address)
    }

    /// Writes `bans.bin`.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut file = saved::begin(BANS);
        for (subnet, ban) in &self.banned {
            subnet.address.encode_v2_to(&mut file);
            file.push(subnet.prefix);
            file.extend(ban.created.to_le_bytes());
            file.extend(ban.until.to_le_bytes());
        }
        saved::seal(file)
    }

    /// Reads `bans.bin`.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn from_bytes(bytes: &[u8], random: &mut Random) -> Result<Self, SavedError> {
        let mut reader = saved::open(BANS, bytes)?;
        let mut bans = Self::new(random);
        while !reader.is_empty() && bans.banned.len() < MAX_BANS {
            let address = NetAddress::read_v2(&mut reader)?;
            let subnet = Subnet::new(address, reader.u8()?).ok_or(SavedError::Malformed)?;
            let created = u64::from_le_bytes(reader.array()?);
            bans.banned.insert(subnet, Ban { created, until: u64::from_le_bytes(reader.array()?) });
        }
        if reader.is_empty() { Ok(bans) } else { Err(SavedError::Malformed) }
    }
}

/// Returns every subnet that has the address in it.
fn subnets_of(address: &NetAddress) -> impl Iterator<Item = Subnet> {
    let bits = range_bits(address).map_or(0..0, |bits| 0..bits + 1);
    bits.filter_map(|prefix| Subnet::new(address.clone(), prefix))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const NOW: u64 = 1_700_000_000;

    fn random() -> Random {
        Random::new([3; 32])
    }

    fn subnet(text: &str) -> Subnet {
        text.parse().unwrap()
    }

    #[test]
    fn subnets_are_read_and_shown_as_core_does() {
        let onion = "pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd.onion";
        for (text, shown) in [
            ("1.2.3.0/24", "1.2.3.0/24"),
            ("1.2.3.4/24", "1.2.3.0/24"),
            ("1.2.3.4", "1.2.3.4/32"),
            ("1.2.3.4/0", "0.0.0.0/0"),
            ("1.2.3.4/32", "1.2.3.4/32"),
            ("1.2.3.4/255.255.255.255", "1.2.3.4/32"),
            ("1.2.3.4/255.255.240.0", "1.2.0.0/20"),
            ("1.2.3.4/0.0.0.0", "0.0.0.0/0"),
            ("1:2:3:4:5:6:7:8/ffff:ffff:ffff:fffe::", "1:2:3:4::/63"),
            ("1:2:3:4:5:6:7:8/112", "1:2:3:4:5:6:7:0/112"),
            ("::1", "::1/128"),
            ("::/0", "::/0"),
            (onion, onion),
        ] {
            assert_eq!(subnet(text).to_string(), shown);
            assert_eq!(subnet(shown), subnet(text));
        }
        for text in [
            "",
            "/",
            "1.2.3.4/",
            "1.2.3.4/33",
            "1.2.3.4/+8",
            "1.2.3.4/-1",
            "1.2.3.4/255.255.232.0",
            "1.2.3.4/255.0.255.255",
            "1.2.3.4/::",
            "::1/129",
            "::1/255.255.255.0",
            "fuzzy",
            "pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd.onion/32",
        ] {
            assert_eq!(text.parse::<Subnet>(), Err(ParseSubnetError), "{text}");
        }
    }

    #[test]
    fn a_ban_ends_at_its_time_and_only_a_longer_one_replaces_it() {
        let mut bans = Bans::new(&mut random());
        let address = NetAddress::Ipv4([1, 2, 3, 4]);
        assert_eq!(bans.ban(subnet("1.2.0.0/16"), NOW + 10, NOW), Ok(()));
        assert!(bans.is_banned(&address, NOW + 9) && !bans.is_banned(&address, NOW + 10));
        assert!(!bans.is_subnet_banned(&subnet("1.2.3.0/24"), NOW));
        assert_eq!(bans.ban(subnet("1.2.3.4/16"), NOW + 10, NOW), Err(BanError::AlreadyBanned));
        assert_eq!(bans.ban(subnet("1.2.3.4/16"), NOW + 11, NOW + 1), Ok(()));
        let ban = Ban { created: NOW + 1, until: NOW + 11 };
        assert_eq!(bans.iter().collect::<Vec<_>>(), [(&subnet("1.2.0.0/16"), &ban)]);
        assert!(!bans.sweep(NOW + 11) && bans.sweep(NOW + 12));
        assert_eq!(bans.iter().count(), 0);
        assert!(!bans.unban(&subnet("1.2.0.0/16")));
        bans.ban(subnet("::/0"), u64::MAX, NOW).unwrap();
        assert!(bans.is_banned(&NetAddress::Ipv6([0x20; 16]), NOW));
        assert!(!bans.is_banned(&NetAddress::Cjdns([0xfc; 16]), NOW));
        assert!(bans.unban(&subnet("::/0")));
    }

    #[test]
    fn the_ban_list_is_bounded_and_a_lookup_does_not_grow_with_it_cve_2020_14198() {
        let mut bans = Bans::new(&mut random());
        let single = |i: u32| Subnet::single(NetAddress::Ipv4(i.to_be_bytes())).unwrap();
        for i in 0..50_000 {
            bans.ban(single(i << 8), NOW + u64::from(i), NOW).unwrap();
        }
        assert_eq!(bans.ban(single(1), NOW, NOW), Err(BanError::TooMany));
        assert_eq!(bans.ban(single(256), NOW + 50_000, NOW), Ok(()));
        assert_eq!(bans.ban(single(1), NOW + 9, NOW + 3), Ok(()));
        assert_eq!(bans.iter().count(), 49_999);
        // All that a lookup does, whatever the list.
        let count = |address| subnets_of(&address).collect::<BTreeSet<_>>().len();
        assert_eq!(count(NetAddress::Ipv4([1; 4])), 33);
        assert_eq!(count(NetAddress::Ipv6([0x21; 16])), 129);
        assert_eq!(count(NetAddress::TorV3([1; 32])), 1);
        let size = bans.to_bytes().len();
        assert!(size < 60 * MAX_BANS);
        // Misbehaviour changes neither the list nor its file.
        for i in 0..300_000_u32 {
            bans.discourage(&NetAddress::Ipv4(i.to_be_bytes()));
        }
        assert!(bans.is_discouraged(&NetAddress::Ipv4(299_999_u32.to_be_bytes())));
        assert!(bans.is_discouraged(&NetAddress::Ipv4(250_000_u32.to_be_bytes())));
        assert!(!bans.is_discouraged(&NetAddress::Ipv4(199_999_u32.to_be_bytes())));
        assert!(bans.discouraged.len() <= 2 * DISCOURAGED);
        assert_eq!(bans.to_bytes().len(), size);
    }

    #[test]
    fn damaged_lists_are_errors() {
        let mut bans = Bans::new(&mut random());
        bans.ban(subnet("1.2.3.0/24"), NOW + 10, NOW).unwrap();
        let file = bans.to_bytes();
        for i in 0..file.len() {
            let mut damaged = file.clone();
            damaged[i] ^= 0x40;
            assert!(Bans::from_bytes(&damaged, &mut random()).is_err());
            assert!(Bans::from_bytes(&file[..i], &mut random()).is_err());
        }
        let prefix =
            saved::seal([&saved::begin(BANS)[..], &[1, 4, 1, 2, 3, 4, 33], &[0; 16]].concat());
        assert_eq!(Bans::from_bytes(&prefix, &mut random()).unwrap_err(), SavedError::Malformed);
    }

    fn any_subnet() -> impl Strategy<Value = Subnet> {
        let address = prop_oneof![
            (0..2_u8, any::<u8>()).prop_map(|(a, b)| NetAddress::Ipv4([1, a, b, 1])),
            (0..2_u8, any::<u8>()).prop_map(|(a, b)| NetAddress::Ipv6([
                0x20, a, b, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1
            ])),
            (0..4_u8).prop_map(|a| NetAddress::TorV3([a; 32])),
        ];
        (address, any::<u8>()).prop_filter_map("a longer prefix than the address", |(a, prefix)| {
            Subnet::new(a, prefix % 129)
        })
    }

    proptest! {
        #[test]
        fn any_text_is_a_subnet_that_reads_back_or_an_error(
            text in "[0-9a-f.:/]{0,24}|\\PC{0,24}",
            any in any_subnet(),
        ) {
            prop_assert_eq!(any.to_string().parse(), Ok(any));
            if let Ok(subnet) = text.parse::<Subnet>() {
                prop_assert_eq!(subnet.to_string().parse(), Ok(subnet));
            }
        }

        #[test]
        fn lookups_agree_with_a_walk_over_all_and_files_roundtrip(
            banned in prop::collection::vec((any_subnet(), NOW - 2..NOW + 3), 0..30),
            asked in prop::collection::vec(any_subnet(), 30),
        ) {
            let mut bans = Bans::new(&mut random());
            for (subnet, until) in banned {
                let _ = bans.ban(subnet, until, NOW);
            }
            for subnet in asked {
                let address = subnet.address();
                let walk = bans.iter().any(|(s, ban)| s.contains(address) && NOW < ban.until);
                prop_assert_eq!(bans.is_banned(address, NOW), walk);
            }
            let again = Bans::from_bytes(&bans.to_bytes(), &mut random()).unwrap();
            prop_assert_eq!(again.banned, bans.banned);
        }
    }
}
