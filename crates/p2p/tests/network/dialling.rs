use core::time::Duration;
use std::collections::BTreeSet;

use caesure_p2p::{
    ConnectionKind, Network, NetworkError, NetworkOptions, Now, PeerId, Random, SavedFiles,
    anchors_to_bytes, dns_seeds, filtered_seed, fixed_seeds, net_group,
};
use caesure_wire::{Endpoint, Message, NetAddress, Version};

use crate::support::{Bench, FULL, at, ip, params, quiet, version};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);

/// Options of a node that dials, but asks no seed.
fn busy() -> NetworkOptions {
    let mut options = NetworkOptions::new(params());
    options.services = FULL;
    options.v2 = false;
    options.dns_seed = false;
    options.fixed_seeds = false;
    options
}

/// A node whose address book has addresses of so many groups.
fn with_book(options: NetworkOptions, groups: u8, seed: u8) -> Bench {
    let mut network = crate::support::network(quiet(), seed);
    for i in 0..groups {
        for j in 1..5 {
            _ = network.add_address(ip(20 + i, i, j, 1), false);
        }
    }
    let peers = Some(network.address_book().to_bytes());
    let saved = SavedFiles { peers, ..SavedFiles::default() };
    let mut bench = Bench::with(Network::new(options, saved, Random::new([seed; 32]), at(0)));
    bench.network.set_tip(1, u32::try_from(bench.now.unix).unwrap(), true);
    bench
}

/// Answers dials that were not answered, and does handshakes, for some time.
fn run(bench: &mut Bench, time: Duration, answers: impl Fn(&Endpoint) -> bool) {
    let end = bench.now.mono + time;
    while bench.now.mono < end {
        bench.pass(SECOND / 4);
        for (peer, endpoint) in core::mem::take(&mut bench.dials) {
            if answers(&endpoint) {
                bench.answer_dial(peer);
                bench.shake(peer);
            } else {
                bench.network.dial_failed(peer, "refused", bench.now);
            }
        }
        let peers: Vec<PeerId> = bench.network.peers().map(|info| info.id).collect();
        for peer in peers {
            for (command, payload) in bench.heard_raw(peer) {
                if command == "ping" {
                    let bytes = bench.frame("pong", &payload);
                    bench.bytes(peer, &bytes);
                }
            }
        }
    }
}

fn count(bench: &Bench, kind: ConnectionKind) -> usize {
    bench.network.peers().filter(|info| info.kind == kind).count()
}

#[test]
fn eight_peers_and_two_for_blocks_are_dialled_each_in_a_group_of_its_own() {
    let mut bench = with_book(busy(), 40, 1);
    run(&mut bench, 20 * SECOND, |_| true);
    assert_eq!(count(&bench, ConnectionKind::OutboundFull), 8);
    assert_eq!(count(&bench, ConnectionKind::BlockRelay), 2);
    let groups: BTreeSet<_> =
        bench.network.peers().map(|info| net_group(&info.remote.address)).collect();
    assert_eq!(groups.len(), 10);
    assert!(bench.network.peers().all(|info| info.is_ready));
}

#[test]
fn one_group_gives_one_peer_however_many_addresses_it_has() {
    let mut bench = with_book(busy(), 1, 1);
    run(&mut bench, 5 * SECOND, |_| true);
    let lasting = count(&bench, ConnectionKind::OutboundFull);
    assert_eq!(lasting, 1);
}

#[test]
fn hundreds_of_peers_are_dialled_where_asked_for() {
    let mut options = busy();
    options.outbound = 150;
    let mut bench = with_book(options, 200, 1);
    run(&mut bench, 2 * MINUTE, |_| true);
    assert!(count(&bench, ConnectionKind::OutboundFull) >= 120);
}

#[test]
fn lost_peers_are_replaced() {
    let mut bench = with_book(busy(), 40, 1);
    run(&mut bench, 20 * SECOND, |_| true);
    let lost: Vec<PeerId> = bench.network.peers().map(|info| info.id).take(3).collect();
    for peer in lost {
        bench.network.closed(peer, bench.now);
    }
    run(&mut bench, 20 * SECOND, |_| true);
    assert_eq!(count(&bench, ConnectionKind::OutboundFull), 8);
    assert_eq!(count(&bench, ConnectionKind::BlockRelay), 2);
}

#[test]
fn new_addresses_are_tested_by_feelers() {
    let mut bench = with_book(busy(), 60, 1);
    run(&mut bench, 30 * MINUTE, |_| true);
    let tried = bench.network.address_book().table(true).count();
    assert!(tried > 15, "{tried} were reached");
    assert_eq!(count(&bench, ConnectionKind::Feeler), 0);
    assert_eq!(count(&bench, ConnectionKind::OutboundFull), 8);
}

#[test]
fn addresses_that_fail_are_left_for_a_while() {
    let mut bench = with_book(busy(), 10, 1);
    let mut dials: Vec<Endpoint> = Vec::new();
    for _ in 0..100 {
        bench.pass(SECOND / 2);
        for (peer, endpoint) in core::mem::take(&mut bench.dials) {
            dials.push(endpoint);
            bench.network.dial_failed(peer, "refused", bench.now);
        }
    }
    let different: BTreeSet<_> = dials.iter().collect();
    assert!(different.len() >= 30, "{} of 40 addresses in 100 dials", different.len());
}

#[test]
fn nobody_else_is_dialled_where_only_some_are_wanted() {
    let mut options = quiet();
    options.connect = vec![ip(5, 5, 5, 5)];
    let mut bench = with_book(options, 20, 1);
    run(&mut bench, 5 * MINUTE, |_| true);
    assert_eq!(bench.network.peers().count(), 1);
    assert!(bench.names.is_empty());
}

#[test]
fn a_wanted_node_is_dialled_for_ever_ever_more_rarely() {
    let mut options = quiet();
    options.v2 = false;
    options.connect = vec![ip(5, 5, 5, 5)];
    let mut bench = Bench::new(options);
    let mut times = Vec::new();
    let end = Duration::from_hours(12);
    while bench.now.mono < end {
        bench.pass(SECOND / 2);
        for (peer, _) in core::mem::take(&mut bench.dials) {
            times.push(bench.now.mono);
            bench.network.dial_failed(peer, "refused", bench.now);
        }
    }
    let waits: Vec<Duration> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(waits[0] <= 2 * SECOND, "{:?}", waits[0]);
    for pair in waits.windows(2).take(8) {
        assert!(pair[1] > pair[0]);
    }
    assert!(waits.iter().all(|&wait| wait <= 10 * MINUTE + SECOND));
    assert!(*waits.last().unwrap() >= 7 * MINUTE);
    // It stands for a while, ends, and is dialled again at once.
    run(&mut bench, 12 * MINUTE, |_| true);
    let peer = bench.network.peers().next().unwrap().id;
    bench.network.closed(peer, bench.now);
    bench.pass(2 * SECOND);
    assert_eq!(bench.dials.len(), 1);
}

#[test]
fn a_node_that_hangs_up_at_once_is_not_dialled_each_second() {
    let mut options = quiet();
    options.v2 = false;
    options.connect = vec![ip(5, 5, 5, 5)];
    let mut bench = Bench::new(options);
    let mut dials = 0;
    for _ in 0..600 {
        bench.pass(SECOND);
        for (peer, _) in core::mem::take(&mut bench.dials) {
            dials += 1;
            bench.answer_dial(peer);
            bench.shake(peer);
            bench.network.closed(peer, bench.now);
        }
    }
    assert!((5..20).contains(&dials), "{dials} dials in ten minutes");
}

#[test]
fn nodes_are_added_and_removed() {
    let mut options = quiet();
    options.v2 = false;
    let mut bench = Bench::new(options);
    let node = ip(5, 5, 5, 5);
    bench.network.add_node(node.clone(), None).unwrap();
    assert_eq!(bench.network.add_node(node.clone(), None), Err(NetworkError::AlreadyAdded));
    bench.pass(SECOND);
    assert_eq!(bench.dials.len(), 1);
    assert_eq!(bench.network.added_nodes().next().unwrap().peer, None);
    bench.answer_dial(bench.dials[0].0);
    assert_eq!(bench.network.added_nodes().next().unwrap().peer, Some(PeerId(0)));
    bench.network.remove_node(&node).unwrap();
    assert_eq!(bench.network.remove_node(&node), Err(NetworkError::NotAdded));
    bench.network.disconnect_address(&node).unwrap();
    assert_eq!(bench.network.disconnect_address(&node), Err(NetworkError::NotConnected));
    bench.pass(MINUTE);
    assert_eq!(bench.dials.len(), 1);
}

#[test]
fn commands_dial_within_the_limits() {
    let mut options = quiet();
    options.outbound = 1;
    options.v2 = false;
    let mut bench = Bench::new(options);
    let full = ConnectionKind::OutboundFull;
    bench.network.connect(ip(1, 0, 0, 1), full, None).unwrap();
    let again = bench.network.connect(ip(1, 0, 0, 1), ConnectionKind::Manual, None);
    assert_eq!(again, Err(NetworkError::AlreadyConnected));
    let second = bench.network.connect(ip(2, 0, 0, 1), full, None);
    assert_eq!(second, Err(NetworkError::AtCapacity));
    let v2 = bench.network.connect(ip(2, 0, 0, 1), ConnectionKind::Manual, Some(true));
    assert_eq!(v2, Err(NetworkError::V2Disabled));
    for address in
        [NetAddress::I2p([1; 32]), NetAddress::Cjdns([0xfc; 16]), NetAddress::TorV3([1; 32])]
    {
        let endpoint = Endpoint { address, port: 8333 };
        let refused = bench.network.connect(endpoint, ConnectionKind::Manual, None);
        assert_eq!(refused, Err(NetworkError::NotDialled));
    }
}

#[test]
fn anchors_are_dialled_first_after_a_restart() {
    let mut bench = with_book(busy(), 40, 1);
    run(&mut bench, 20 * SECOND, |_| true);
    let anchors: BTreeSet<Endpoint> = bench
        .network
        .peers()
        .filter(|info| info.kind == ConnectionKind::BlockRelay)
        .map(|info| info.remote.clone())
        .collect();
    bench.network.stop(bench.now);
    bench.settle();
    assert_eq!(bench.network.peers().count(), 0);
    let saved = SavedFiles {
        peers: bench.files.get("peers.bin").cloned(),
        bans: bench.files.get("bans.bin").cloned(),
        anchors: bench.files.get("anchors.bin").cloned(),
    };
    let known = bench.network.address_book().len();
    let mut bench = Bench::with(Network::new(busy(), saved, Random::new([9; 32]), at(1_000)));
    bench.now = at(1_000);
    assert!(bench.log.is_empty(), "{:?}", bench.log);
    assert_eq!(bench.network.address_book().len(), known);
    // They are for one start.
    assert_eq!(bench.files["anchors.bin"], anchors_to_bytes(&[]));
    bench.network.set_tip(1, u32::try_from(bench.now.unix).unwrap(), true);
    bench.pass(2 * SECOND);
    let first: BTreeSet<Endpoint> =
        bench.dials.iter().take(2).map(|(_, endpoint)| endpoint.clone()).collect();
    assert_eq!(first, anchors);
}

#[test]
fn damaged_files_are_told_and_begun_anew() {
    let saved = SavedFiles {
        peers: Some(b"nonsense".to_vec()),
        bans: Some(Vec::new()),
        anchors: Some(anchors_to_bytes(&[ip(1, 2, 3, 4)])[1..].to_vec()),
    };
    let bench = Bench::with(Network::new(busy(), saved, Random::new([9; 32]), at(0)));
    for file in ["peers.bin", "bans.bin", "anchors.bin"] {
        assert!(bench.log.iter().any(|line| line.contains(file)), "{:?}", bench.log);
    }
    assert!(bench.network.address_book().is_empty());
}

#[test]
fn the_address_book_is_saved_every_quarter_of_an_hour() {
    let mut bench = Bench::new(quiet());
    bench.pass(14 * MINUTE);
    assert!(!bench.files.contains_key("peers.bin"));
    bench.pass(2 * MINUTE);
    assert!(bench.files.contains_key("peers.bin"));
}

#[test]
fn dns_seeds_are_asked_at_once_when_no_address_is_known() {
    let mut options = busy();
    options.dns_seed = true;
    let mut bench = Bench::new(options);
    bench.pass(SECOND);
    let seeds = dns_seeds(params().network);
    let asked: BTreeSet<String> = bench.names.drain(..).collect();
    assert_eq!(asked, seeds.iter().map(|seed| filtered_seed(seed, 9)).collect());
    // Some answer, one knows no names by services, and others are never heard of.
    let addresses = (1..60).map(|i| ip(i, 1, 1, 1).address).collect();
    bench.network.resolved(&filtered_seed(seeds[0], 9), addresses, bench.now);
    bench.network.resolved(&filtered_seed(seeds[1], 9), Vec::new(), bench.now);
    bench.network.resolved("nobody.asked.example", vec![ip(99, 1, 1, 1).address], bench.now);
    bench.settle();
    assert_eq!(bench.names, [seeds[1]]);
    // No more than 32, of which two may want one place.
    assert!((28..=32).contains(&bench.network.address_book().len()));
    assert!(bench.network.address_book().get(&ip(99, 1, 1, 1)).is_none());
    bench.network.resolved(seeds[1], vec![ip(98, 1, 1, 1).address], bench.now);
    bench.pass(2 * SECOND);
    assert!(bench.dials.iter().any(|(_, endpoint)| *endpoint == ip(98, 1, 1, 1)));
}

#[test]
fn dns_seeds_are_not_asked_when_there_are_peers() {
    for answers in [true, false] {
        let mut options = busy();
        options.dns_seed = true;
        let mut bench = with_book(options, 40, 1);
        run(&mut bench, 10 * SECOND, |_| answers);
        assert!(bench.names.is_empty(), "not in the first ten seconds");
        run(&mut bench, 2 * SECOND, |_| answers);
        assert_eq!(bench.names.is_empty(), answers);
        assert!(bench.names.len() <= 3);
        run(&mut bench, 12 * SECOND, |_| answers);
        assert_eq!(bench.names.len(), if answers { 0 } else { 6 });
    }
}

#[test]
fn fixed_seeds_are_taken_after_a_minute() {
    if fixed_seeds(params().network).next().is_none() {
        println!("left out: there are no fixed seeds");
        return;
    }
    let mut options = busy();
    options.dns_seed = true;
    options.fixed_seeds = true;
    let mut bench = Bench::new(options);
    bench.pass(59 * SECOND);
    assert!(bench.network.address_book().is_empty());
    bench.pass(2 * SECOND);
    assert!(!bench.network.address_book().is_empty());
}

/// A proxy is told the address, and the protocol begins after its answer, which may come in pieces.
#[test]
fn everything_is_dialled_over_the_proxy() {
    let mut options = quiet();
    options.v2 = false;
    options.proxy = Some(ip(127, 0, 0, 1));
    let mut bench = Bench::new(options);
    let peer = bench.network.connect(ip(1, 2, 3, 4), ConnectionKind::OutboundFull, None).unwrap();
    bench.settle();
    assert_eq!(bench.dials, [(peer, ip(127, 0, 0, 1))]);
    bench.answer_dial(peer);
    assert_eq!(bench.sent.remove(&peer).unwrap(), [5, 2, 0, 2]);
    assert!(!bench.is_up(peer));
    bench.bytes(peer, &[5]);
    bench.bytes(peer, &[0]);
    let asked = bench.sent.remove(&peer).unwrap();
    assert!(asked.starts_with(&[5, 1, 0, 3, 7]) && asked.ends_with(b"1.2.3.4\x20\x8d"));
    for byte in [5, 0, 0, 1, 9, 9, 9, 9, 0] {
        bench.bytes(peer, &[byte]);
    }
    // The last byte of the proxy's, and the first of the peer's.
    let version = bench.encode(&Message::Version(version()));
    bench.bytes(peer, &[&[0][..], &version].concat());
    assert_eq!(bench.commands(peer)[..2], ["version", "wtxidrelay"]);
    assert!(bench.is_up(peer));
}

/// CVE-2017-18350: whatever a proxy says, it fills no more than its bounds.
#[test]
fn cve_2017_18350_a_proxy_that_lies_is_left() {
    for lies in [&[4_u8, 0][..], &[5, 0xff], &[5, 0, 5, 5], &[5, 0, 5, 0, 0, 9], &[0; 300]] {
        let mut options = quiet();
        options.proxy = Some(ip(127, 0, 0, 1));
        let mut bench = Bench::new(options);
        let peer = bench.network.connect(ip(1, 2, 3, 4), ConnectionKind::Manual, None).unwrap();
        bench.answer_dial(peer);
        bench.bytes(peer, lies);
        assert_eq!(bench.closed, [peer], "{lies:?}");
        assert!(bench.events.is_empty());
    }
}

#[test]
fn onions_are_dialled_over_the_proxy_alone() {
    let onion = Endpoint { address: NetAddress::TorV3([3; 32]), port: 8333 };
    let mut options = quiet();
    options.proxy = Some(ip(127, 0, 0, 1));
    options.v2 = false;
    let mut bench = Bench::new(options);
    let peer = bench.network.connect(onion.clone(), ConnectionKind::Manual, None).unwrap();
    bench.answer_dial(peer);
    bench.bytes(peer, &[5, 0]);
    let asked = bench.sent.remove(&peer).unwrap();
    let name = onion.address.to_string();
    assert!(name.ends_with(".onion"));
    assert!(asked.windows(name.len()).any(|window| window == name.as_bytes()));
    bench.bytes(peer, &[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    let heard = bench.heard(peer);
    let [Message::Version(Version { receiver, .. })] = &heard[..] else { panic!("{heard:?}") };
    assert_eq!(receiver.1.address, NetAddress::NONE);
    assert_eq!(bench.network.peer(peer).unwrap().network, "onion");
}

#[test]
fn dns_seeds_are_asked_through_the_proxy_by_name() {
    let mut options = busy();
    options.dns_seed = true;
    options.proxy = Some(ip(127, 0, 0, 1));
    let mut bench = Bench::new(options);
    bench.pass(2 * SECOND);
    assert!(bench.names.is_empty(), "names are looked up by the proxy alone");
    let (peer, endpoint) = bench.dials[0].clone();
    assert_eq!(endpoint, ip(127, 0, 0, 1));
    bench.answer_dial(peer);
    bench.bytes(peer, &[5, 0]);
    let asked = bench.sent.remove(&peer).unwrap();
    let seeds = dns_seeds(params().network);
    assert!(seeds.iter().any(|seed| asked.windows(seed.len()).any(|name| name == seed.as_bytes())));
    bench.bytes(peer, &[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    bench.shake(peer);
    assert_eq!(bench.network.peer(peer).unwrap().kind, ConnectionKind::AddrFetch);
}

#[test]
fn a_stale_tip_brings_one_more_peer_and_the_worst_is_dropped() {
    let mut bench = with_book(busy(), 60, 1);
    run(&mut bench, MINUTE, |_| true);
    let full = |bench: &Bench| -> Vec<PeerId> {
        let peers = bench.network.peers();
        peers.filter(|info| info.kind == ConnectionKind::OutboundFull).map(|info| info.id).collect()
    };
    let before = full(&bench);
    assert_eq!(before.len(), 8);
    for &peer in &before[1..] {
        bench.network.note_announcement(peer, bench.now);
    }
    bench.network.protect(before[0]);
    bench.network.set_try_new_outbound(true);
    run(&mut bench, 3 * SECOND, |_| true);
    assert_eq!(full(&bench).len(), 9);
    let extra = *full(&bench).last().unwrap();
    bench.network.set_downloading(extra, true);
    run(&mut bench, 2 * MINUTE, |_| true);
    assert!(full(&bench).contains(&extra), "blocks are on their way from it");
    bench.network.set_downloading(extra, false);
    run(&mut bench, MINUTE, |_| true);
    assert_eq!(full(&bench), before, "it announced nothing, and the first is protected");
}

#[test]
fn peers_for_blocks_alone_are_exchanged_once_in_step() {
    let mut bench = with_book(busy(), 60, 1);
    run(&mut bench, 20 * MINUTE, |_| true);
    let alone = |bench: &Bench| -> BTreeSet<PeerId> {
        let peers = bench.network.peers();
        peers.filter(|info| info.kind == ConnectionKind::BlockRelay).map(|info| info.id).collect()
    };
    let before = alone(&bench);
    assert_eq!(before.len(), 2);
    let time = u32::try_from(bench.now.unix).unwrap();
    bench.network.set_tip(1, time, false);
    let mut most = 0;
    let mut newcomers = BTreeSet::new();
    for _ in 0..60 {
        run(&mut bench, 30 * SECOND, |_| true);
        most = most.max(alone(&bench).len());
        newcomers.extend(alone(&bench).difference(&before).copied());
    }
    assert!((3..=4).contains(&most), "{most}");
    assert!(newcomers.len() >= 2);
    // Those that gave nothing newer went again.
    assert!(alone(&bench).len() <= 3 && before.is_subset(&alone(&bench)));
}

#[test]
fn who_is_banned_or_discouraged_is_not_dialled() {
    let mut bench = with_book(busy(), 2, 1);
    for i in 0..2 {
        let address = ip(20 + i, i, 0, 0).address;
        bench.network.ban(&address, 16, bench.now.unix + 10_000).unwrap();
    }
    run(&mut bench, 5 * SECOND, |_| true);
    assert_eq!(bench.network.peers().count(), 0);
    bench.network.clear_bans();
    run(&mut bench, 5 * SECOND, |_| true);
    assert!(bench.network.peers().count() > 0);
}

#[test]
fn an_all_but_empty_address_book_is_searched_ever_more_rarely() {
    let mut bench = with_book(busy(), 1, 1);
    run(&mut bench, MINUTE, |_| true);
    let ticks = bench.ticks_in(2 * MINUTE);
    assert!(ticks <= 30, "{ticks} ticks in two minutes");
    // Who is told then is dialled soon.
    bench.dials.clear();
    bench.network.add_address(ip(99, 9, 9, 9), false).unwrap();
    bench.pass(20 * SECOND);
    assert!(bench.dials.iter().any(|(_, endpoint)| *endpoint == ip(99, 9, 9, 9)));
}

/// The same inputs and the same seed give the same outputs.
#[test]
fn a_seed_replays_exactly() {
    let history = |seed: u8| {
        let mut bench = with_book(busy(), 40, seed);
        let mut dials = Vec::new();
        for _ in 0..200 {
            bench.pass(SECOND);
            for (peer, endpoint) in core::mem::take(&mut bench.dials) {
                dials.push((bench.now.mono, endpoint));
                bench.answer_dial(peer);
                bench.shake(peer);
            }
        }
        (dials, bench.log, bench.network.address_book().to_bytes())
    };
    assert_eq!(history(5), history(5));
    assert_ne!(history(5).0, history(6).0);
}

#[test]
fn time_that_stands_or_leaps_does_no_harm() {
    let mut bench = with_book(busy(), 10, 1);
    for mono in [0, 0, 1, 1_000_000, 1_000_000, 4_000_000_000] {
        for unix in [0, u64::MAX, 1] {
            let now = Now { mono: Duration::from_secs(mono), unix };
            bench.network.tick(now);
            while bench.network.next_event(now).is_some() {}
            bench.take_effects();
        }
    }
    assert!(bench.network.deadline() > Duration::from_secs(4_000_000_000));
}
