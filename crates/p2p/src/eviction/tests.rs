use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::Random;

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// A candidate that nothing speaks for, of a group of its own.
fn plain(id: u64) -> EvictionCandidate {
    EvictionCandidate {
        peer: PeerId(id),
        connected_at: seconds(id),
        min_ping: Duration::MAX,
        last_block: seconds(0),
        last_tx: seconds(0),
        has_services: false,
        relays_txs: true,
        keyed_net_group: id,
        prefer_evict: false,
        is_local: false,
        network: NetworkKind::Ipv4,
        kind: ConnectionKind::Inbound,
    }
}

/// As many candidates in random order, each changed.
fn candidates(
    count: u64,
    random: &mut Random,
    change: impl Fn(&mut EvictionCandidate, u64),
) -> Vec<EvictionCandidate> {
    let mut all: Vec<_> = (0..count).map(plain).collect();
    for candidate in &mut all {
        candidate.connected_at = seconds(random.below(200));
        candidate.min_ping = seconds(random.below(100));
        candidate.last_block = seconds(random.below(100));
        candidate.last_tx = seconds(random.below(100));
        candidate.has_services = random.below(2) == 1;
        candidate.relays_txs = random.below(2) == 1;
        candidate.keyed_net_group = random.below(100);
        candidate.prefer_evict = random.below(2) == 1;
        candidate.is_local = random.below(2) == 1;
        candidate.network = NetworkKind::ROUTABLE[random.index(5)];
    }
    random.shuffle(&mut all);
    for candidate in &mut all {
        let id = candidate.peer.0;
        change(candidate, id);
    }
    all
}

/// Whether none of some peers is evicted out of so many random ones.
fn protects(change: impl Fn(&mut EvictionCandidate, u64), is_protected: impl Fn(u64) -> bool) {
    let mut random = Random::new([5; 32]);
    for count in 0..200 {
        let evicted = select_peer_to_evict(candidates(count, &mut random, &change));
        assert!(evicted.is_none_or(|peer| !is_protected(peer.0)), "{evicted:?} of {count}");
    }
}

#[test]
fn useful_and_near_peers_are_protected() {
    // Four groups that the key favours.
    protects(|c, id| c.keyed_net_group = 1000_u64.saturating_sub(id), |id| id < 4);
    // Eight that are near.
    protects(|c, id| c.min_ping = seconds(id), |id| id < 8);
    // Four that gave transactions last.
    protects(|c, id| c.last_tx = seconds(1000 - id), |id| id < 4);
    // Four that gave blocks last.
    protects(|c, id| c.last_block = seconds(1000 - id), |id| id < 4);
    // Eight more of those that do not relay transactions.
    let blocks_only = |c: &mut EvictionCandidate, id: u64| {
        c.last_block = seconds(1000 - id);
        if id < 12 {
            (c.relays_txs, c.has_services) = (false, true);
        }
    };
    protects(blocks_only, |id| id < 12);
    // All together, each by another.
    let combined = |c: &mut EvictionCandidate, id: u64| {
        c.keyed_net_group = if id < 4 { 1000 - id } else { 0 };
        c.min_ping = if (4..12).contains(&id) { seconds(0) } else { seconds(100 + id) };
        c.last_tx = if (12..16).contains(&id) { seconds(1000) } else { seconds(0) };
        c.last_block = if (16..20).contains(&id) { seconds(1000) } else { seconds(0) };
        c.relays_txs = true;
    };
    protects(combined, |id| id < 20);
}

#[test]
fn the_older_half_of_the_rest_is_protected() {
    let mut all: Vec<_> = (0..60).map(plain).collect();
    all.iter_mut().for_each(|candidate| candidate.keyed_net_group = 0);
    protect_by_ratio(&mut all);
    assert_eq!(all.iter().map(|c| c.peer.0).collect::<BTreeSet<_>>(), (30..60).collect());
}

/// Which of twelve are protected, with so many of Tor, of our machine, of I2P and of CJDNS, all
/// youngest. Core: `peer_protection_test`.
#[test]
fn a_quarter_is_kept_for_disadvantaged_networks() {
    fn protected(networks: &[(u64, NetworkKind, bool)]) -> BTreeSet<u64> {
        let mut all: Vec<_> = (0..12).map(plain).collect();
        for &(id, network, is_local) in networks {
            let candidate = &mut all[usize::try_from(id).unwrap()];
            (candidate.network, candidate.is_local) = (network, is_local);
        }
        protect_by_ratio(&mut all);
        let left: BTreeSet<_> = all.iter().map(|c| c.peer.0).collect();
        (0..12).filter(|id| !left.contains(id)).collect()
    }
    let [onion, i2p, cjdns] = [NetworkKind::Onion, NetworkKind::I2p, NetworkKind::Cjdns];
    let ipv4 = NetworkKind::Ipv4;
    assert_eq!(protected(&[]), BTreeSet::from([0, 1, 2, 3, 4, 5]));
    // Three of one network, and the three oldest.
    let onions = [(3, onion, false), (8, onion, false), (9, onion, false), (10, onion, false)];
    assert_eq!(protected(&onions), BTreeSet::from([0, 1, 2, 3, 8, 9]));
    let local = [(6, ipv4, true), (9, ipv4, true), (11, ipv4, true)];
    assert_eq!(protected(&local), BTreeSet::from([0, 1, 2, 6, 9, 11]));
    // The network with fewest comes first; one alone leaves the rest to the other.
    let two = [(6, ipv4, true), (9, onion, false), (10, onion, false), (11, onion, false)];
    assert_eq!(protected(&two), BTreeSet::from([0, 1, 2, 6, 9, 10]));
    // One of each of three.
    let three = [(7, i2p, false), (9, cjdns, false), (10, onion, false), (11, onion, false)];
    assert_eq!(protected(&three), BTreeSet::from([0, 1, 2, 7, 9, 10]));
    // Four networks of equal count: CJDNS, I2P, our machine, and none is left for Tor.
    let four = [(6, onion, false), (7, ipv4, true), (8, i2p, false), (9, cjdns, false)];
    assert_eq!(protected(&four), BTreeSet::from([0, 1, 2, 7, 8, 9]));
    // With one peer Tor comes before them all, and our machine goes without.
    let local = [(6, ipv4, true), (7, ipv4, true)];
    let others = [(8, i2p, false), (9, i2p, false), (10, cjdns, false), (11, cjdns, false)];
    let unequal = [&[(5, onion, false)][..], &local, &others].concat();
    assert_eq!(protected(&unequal), BTreeSet::from([0, 1, 2, 5, 8, 10]));
}

#[test]
fn the_largest_group_loses_its_youngest() {
    let mut all: Vec<_> = (0..100).map(plain).collect();
    for candidate in &mut all {
        // Groups of five, but one of seven.
        let id = candidate.peer.0;
        candidate.keyed_net_group = if (60..67).contains(&id) { 1 } else { 10 + id / 5 };
    }
    // Of equals the order is kept, so that 48 to 87 remain when all protection is done.
    assert_eq!(select_peer_to_evict(all.clone()), Some(PeerId(66)));
    all[70].prefer_evict = true;
    assert_eq!(select_peer_to_evict(all), Some(PeerId(70)));
}

#[test]
fn outbound_peers_are_never_evicted() {
    let mut random = Random::new([6; 32]);
    let kinds = [ConnectionKind::Inbound, ConnectionKind::Manual, ConnectionKind::Feeler];
    for count in 0..200 {
        let all = candidates(count, &mut random, |c, id| {
            c.kind = kinds[usize::try_from(id).unwrap() % 3];
        });
        if let Some(PeerId(id)) = select_peer_to_evict(all) {
            assert_eq!(id % 3, 0);
        }
    }
}

#[test]
fn the_count_that_is_always_protected_and_that_never_is_are_those_of_core() {
    let mut random = Random::new([7; 32]);
    for count in 0..200 {
        let evicted = select_peer_to_evict(candidates(count, &mut random, |_, _| {}));
        // Core: 20 are always protected, and up to 8 more; of 29 one goes.
        assert!(count > 20 || evicted.is_none());
        assert!(count < 29 || evicted.is_some());
    }
}

proptest! {
    /// Forty honest peers of groups of their own. The attacker, in one group, has any number of
    /// connections and any claims; but it is neither nearest nor the last to do useful work.
    #[test]
    fn an_attacker_in_one_netgroup_evicts_no_protected_honest_peer(
        attackers in 1..300_u64,
        facts in prop::collection::vec((1..3_u64, 0..300_u64, 0..3_u64, 0..3_u64, any::<u8>()), 300),
        is_onion: bool,
        group: u64,
        seed: [u8; 32],
    ) {
        let mut all: Vec<_> = (0..40).map(plain).collect();
        let mut random = Random::new(seed);
        for candidate in &mut all {
            candidate.connected_at = seconds(random.below(1000));
            candidate.keyed_net_group = random.u64();
            candidate.min_ping = seconds(if candidate.peer.0 < 8 { 0 } else { 100 });
            candidate.has_services = true;
        }
        all[8..12].iter_mut().for_each(|c| c.last_tx = seconds(9));
        all[12..16].iter_mut().for_each(|c| c.last_block = seconds(9));
        let mut protected: BTreeSet<u64> = (0..16).collect();
        let mut groups: Vec<_> = all.iter().map(|c| (Reverse(c.keyed_net_group), c.peer.0)).collect();
        groups.sort_unstable();
        // By group four, of those before which the attacker's does not come.
        let first = groups.iter().take(4).take_while(|(g, _)| g.0 > group);
        protected.extend(first.map(|&(_, id)| id));
        for (i, &(ping, time, block, tx, bits)) in (0..attackers).zip(&facts) {
            let mut candidate = plain(1000 + i);
            candidate.connected_at = seconds(1000 + time);
            candidate.keyed_net_group = group;
            candidate.min_ping = seconds(ping);
            (candidate.last_block, candidate.last_tx) = (seconds(block), seconds(tx));
            candidate.relays_txs = bits & 1 == 0;
            candidate.has_services = bits & 2 == 0;
            candidate.prefer_evict = bits & 12 == 0;
            if is_onion {
                candidate.network = NetworkKind::Onion;
            }
            all.push(candidate);
        }
        random.shuffle(&mut all);
        let mut evicted = 0;
        while let Some(peer) = select_peer_to_evict(all.clone()) {
            if peer.0 < 1000 {
                prop_assert!(!protected.contains(&peer.0));
                break;
            }
            evicted += 1;
            all.retain(|c| c.peer != peer);
        }
        // An honest peer goes only when the attacker has no more than what may protect it: 4 by its
        // group, 8 as blocks-only peers, and as Tor's a quarter of the others.
        let left = attackers - evicted;
        let by_network = if is_onion { (40 + left) / 4 } else { 0 };
        prop_assert!(left <= 4 + 8 + by_network + 1, "{left}");
    }
}
