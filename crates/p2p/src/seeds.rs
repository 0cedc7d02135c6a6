use caesure_consensus::Network;
use caesure_wire::{Endpoint, NetAddress};

/// Returns the names whose addresses are nodes, with the dot at the end. Core: `vSeeds`.
#[must_use]
pub const fn dns_seeds(network: Network) -> &'static [&'static str] {
    match network {
        Network::Main => &[
            "dnsseed.bluematt.me.",
            "seed.bitcoin.jonasschnelli.ch.",
            "seed.btc.petertodd.net.",
            "seed.bitcoin.sprovoost.nl.",
            "dnsseed.emzy.de.",
            "seed.bitcoin.wiz.biz.",
            "seed.mainnet.achownodes.xyz.",
        ],
        Network::Testnet3 => &[
            "testnet-seed.bitcoin.jonasschnelli.ch.",
            "seed.tbtc.petertodd.net.",
            "seed.testnet.bitcoin.sprovoost.nl.",
            "testnet-seed.bluematt.me.",
            "seed.testnet.achownodes.xyz.",
        ],
        Network::Testnet4 => &["seed.testnet4.bitcoin.sprovoost.nl.", "seed.testnet4.wiz.biz."],
        Network::Signet => &["seed.signet.bitcoin.sprovoost.nl.", "seed.signet.achownodes.xyz."],
        Network::Regtest => &[],
    }
}

/// Returns the name under a DNS seed that has only nodes with all of the service bits.
#[must_use]
pub fn filtered_seed(seed: &str, services: u64) -> String {
    format!("x{services:x}.{seed}")
}

/// Returns nodes that were there when this was released, for when no name can be looked up. Core:
/// `vFixedSeeds`, of which these are some.
pub fn fixed_seeds(network: Network) -> impl Iterator<Item = Endpoint> {
    let text = match network {
        Network::Main => include_str!("../seeds/main.txt"),
        Network::Testnet3 => include_str!("../seeds/testnet3.txt"),
        Network::Testnet4 => include_str!("../seeds/testnet4.txt"),
        Network::Signet => include_str!("../seeds/signet.txt"),
        Network::Regtest => "",
    };
    text.lines().filter_map(|line| {
        let Endpoint { address, port } = line.parse().ok()?;
        let address = match address {
            NetAddress::Ipv6(ip) if ip[0] == 0xfc => NetAddress::Cjdns(ip),
            other => other,
        };
        Some(Endpoint { address, port })
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{NetworkKind, is_routable, net_group};

    #[test]
    fn every_fixed_seed_can_be_reached_and_is_of_its_own_group_where_groups_are_wide() {
        let ports = [8333, 18333, 48333, 38333];
        for (network, port) in Network::ALL.into_iter().zip(ports) {
            let seeds: Vec<_> = fixed_seeds(network).collect();
            assert_eq!(seeds.len(), if network == Network::Main { 48 } else { 24 });
            assert_eq!(seeds.iter().collect::<BTreeSet<_>>().len(), seeds.len());
            assert!(seeds.iter().all(|seed| is_routable(&seed.address)));
            let is_i2p = |seed: &&Endpoint| matches!(seed.address, NetAddress::I2p(_));
            assert!(seeds.iter().all(|seed| seed.port == if is_i2p(&seed) { 0 } else { port }));
            let kinds: BTreeSet<_> =
                seeds.iter().map(|seed| NetworkKind::of(&seed.address)).collect();
            assert_eq!(kinds, BTreeSet::from(NetworkKind::ROUTABLE));
            let is_ip = |seed: &&Endpoint| {
                matches!(seed.address, NetAddress::Ipv4(_) | NetAddress::Ipv6(_))
            };
            let ips = seeds.iter().filter(is_ip);
            let groups: BTreeSet<_> = ips.clone().map(|seed| net_group(&seed.address)).collect();
            assert_eq!(groups.len(), ips.count());
        }
        assert_eq!(fixed_seeds(Network::Regtest).count(), 0);
    }

    #[test]
    fn seeds_are_asked_for_nodes_with_all_blocks_and_witnesses() {
        let names = dns_seeds(Network::Main);
        assert_eq!(names.len(), 7);
        assert_eq!(filtered_seed(names[0], 1 | 8), "x9.dnsseed.bluematt.me.");
        let mut all = Network::ALL.into_iter().flat_map(dns_seeds);
        assert!(all.all(|name| name.ends_with('.') && !name.starts_with('.')));
        assert!(dns_seeds(Network::Regtest).is_empty());
    }
}
