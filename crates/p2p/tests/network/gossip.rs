use core::time::Duration;

use caesure_p2p::{ConnectionKind, PeerId};
use caesure_wire::{Endpoint, Message, NetAddress, TimedAddress};

use crate::support::{Bench, FULL, ip, quiet, version};

const MINUTE: Duration = Duration::from_mins(1);

fn timed(bench: &Bench, endpoint: Endpoint) -> TimedAddress {
    TimedAddress { time: u32::try_from(bench.now.unix).unwrap(), services: FULL, endpoint }
}

/// So many different addresses, each in a group of its own if there are groups enough.
fn many(bench: &Bench, count: usize) -> Vec<TimedAddress> {
    let address = |i: usize| {
        let [.., b, c, d] = u32::try_from(i).unwrap().to_be_bytes();
        timed(bench, ip(50 + b, d, c, 1))
    };
    (0..count).map(address).collect()
}

/// Returns the addresses that a peer was told.
fn told(bench: &mut Bench, peer: PeerId) -> Vec<TimedAddress> {
    let addresses = bench.heard(peer).into_iter().filter_map(|message| match message {
        Message::Addr(addresses) | Message::AddrV2(addresses) => Some(addresses),
        _ => None,
    });
    addresses.flatten().collect()
}

/// Has a peer understand that addresses are exchanged.
fn talk(bench: &mut Bench, peer: PeerId) {
    bench.say(peer, &Message::Addr(Vec::new()));
}

#[test]
fn cve_2024_52919_a_flood_of_addresses_is_limited() {
    let mut bench = Bench::new(quiet());
    let peer = bench.guest(ip(1, 0, 0, 1));
    for _ in 0..10 {
        let addresses = many(&bench, 1_000);
        bench.say(peer, &Message::AddrV2(addresses));
    }
    let count = |bench: &Bench| {
        let info = bench.network.peer(peer).unwrap();
        (info.addr_processed, info.addr_rate_limited)
    };
    assert_eq!(count(&bench), (1, 9_999));
    bench.pass(Duration::from_secs(100));
    let addresses = many(&bench, 1_000);
    bench.say(peer, &Message::AddrV2(addresses));
    assert_eq!(count(&bench), (11, 10_989));
    // What was saved up is bounded, too.
    for _ in 0..200 {
        bench.pass(MINUTE);
        bench.say(peer, &Message::Ping(Some(1)));
        for message in bench.heard(peer) {
            if let Message::Ping(Some(nonce)) = message {
                bench.say(peer, &Message::Pong(nonce.to_le_bytes().to_vec()));
            }
        }
    }
    for _ in 0..2 {
        let addresses = many(&bench, 1_000);
        bench.say(peer, &Message::AddrV2(addresses));
    }
    assert_eq!(count(&bench).0, 1_011);
}

#[test]
fn the_answer_to_getaddr_is_taken_whole() {
    let mut bench = Bench::new(quiet());
    let peer = bench.dial(ip(1, 0, 0, 1), ConnectionKind::OutboundFull);
    bench.shake(peer);
    let addresses = many(&bench, 1_000);
    bench.say(peer, &Message::AddrV2(addresses));
    assert_eq!(bench.network.peer(peer).unwrap().addr_processed, 1_000);
    assert!(bench.network.address_book().len() > 500);
}

#[test]
fn peers_for_blocks_alone_neither_give_nor_get_addresses() {
    let mut bench = Bench::new(quiet());
    let peer = bench.dial(ip(1, 0, 0, 1), ConnectionKind::BlockRelay);
    bench.say(peer, &Message::Version(version()));
    assert!(!bench.commands(peer).contains(&"getaddr".to_owned()));
    bench.say(peer, &Message::Verack);
    let addresses = many(&bench, 5);
    bench.say(peer, &Message::AddrV2(addresses));
    let bytes = bench.frame("addr", &[&[0xfd, 0xe9, 0x03][..], &[0; 30 * 1_001]].concat());
    bench.bytes(peer, &bytes);
    assert!(bench.is_ready(peer));
    assert!(!bench.network.peer(peer).unwrap().addr_relay);
    assert!(bench.network.address_book().is_empty());
}

#[test]
fn a_peer_that_gave_addresses_alone_is_let_go() {
    let mut bench = Bench::new(quiet());
    let peer = bench.dial(ip(1, 0, 0, 1), ConnectionKind::AddrFetch);
    bench.shake(peer);
    let addresses = many(&bench, 1);
    bench.say(peer, &Message::AddrV2(addresses));
    assert!(bench.is_up(peer), "that was its own");
    let addresses = many(&bench, 2);
    bench.say(peer, &Message::AddrV2(addresses));
    assert_eq!(bench.closed, [peer]);
}

#[test]
fn an_address_is_passed_on_to_two_peers() {
    let mut bench = Bench::new(quiet());
    let peers: Vec<PeerId> = (1..=20).map(|i| bench.guest(ip(i, 0, 0, 1))).collect();
    for &peer in &peers {
        talk(&mut bench, peer);
    }
    let silent = bench.guest(ip(30, 0, 0, 1));
    let address = timed(&bench, ip(77, 7, 7, 7));
    bench.say(peers[0], &Message::AddrV2(vec![address.clone()]));
    bench.pass(5 * MINUTE);
    let mut heard = Vec::new();
    for &peer in peers.iter().chain([&silent]) {
        if told(&mut bench, peer).contains(&address) {
            heard.push(peer);
        }
    }
    assert_eq!(heard.len(), 2, "{heard:?}");
    assert!(!heard.contains(&peers[0]) && !heard.contains(&silent));
    // The same address again that day goes the same way, where it is known.
    for _ in 0..3 {
        bench.pass(MINUTE);
        let address = timed(&bench, ip(77, 7, 7, 7));
        let other = *peers[1..].iter().find(|peer| !heard.contains(peer)).unwrap();
        bench.say(other, &Message::AddrV2(vec![address]));
        bench.pass(2 * MINUTE);
        let again = peers.iter().filter(|&&peer| !told(&mut bench, peer).is_empty()).count();
        assert_eq!(again, 0);
    }
}

#[test]
fn old_addresses_and_large_messages_are_not_passed_on() {
    let mut bench = Bench::new(quiet());
    let from = bench.dial(ip(1, 0, 0, 1), ConnectionKind::OutboundFull);
    bench.shake(from);
    let other = bench.guest(ip(2, 0, 0, 1));
    talk(&mut bench, other);
    // The answer to our own question, then one that is over ten.
    for count in [8, 11] {
        let addresses = many(&bench, count);
        bench.say(from, &Message::AddrV2(addresses));
    }
    let mut old = timed(&bench, ip(99, 9, 9, 9));
    old.time -= 601;
    let private = timed(&bench, ip(192, 168, 0, 1));
    let useless = TimedAddress { services: 0, ..timed(&bench, ip(99, 8, 8, 8)) };
    bench.say(from, &Message::AddrV2(vec![old, private, useless]));
    bench.pass(5 * MINUTE);
    assert!(told(&mut bench, other).is_empty());
    assert!(bench.network.address_book().get(&ip(99, 8, 8, 8)).is_none());
}

#[test]
fn only_those_who_asked_get_addresses_of_the_second_form() {
    let mut bench = Bench::new(quiet());
    let from = bench.guest(ip(1, 0, 0, 1));
    let modern = bench.guest(ip(2, 0, 0, 1));
    let old = bench.accept(ip(3, 0, 0, 1));
    bench.say(old, &Message::Version(version()));
    bench.say(old, &Message::Verack);
    talk(&mut bench, modern);
    talk(&mut bench, old);
    bench.sent.clear();
    bench.pass(MINUTE);
    let onion = Endpoint { address: NetAddress::TorV3([7; 32]), port: 8333 };
    let addresses = vec![timed(&bench, onion.clone()), timed(&bench, ip(88, 1, 2, 3))];
    bench.say(from, &Message::AddrV2(addresses));
    bench.pass(5 * MINUTE);
    let names = bench.commands(old);
    assert!(names.contains(&"addr".to_owned()) && !names.contains(&"addrv2".to_owned()));
    let heard = bench.heard(modern);
    assert!(heard.iter().any(|message| {
        matches!(message, Message::AddrV2(list) if list.iter().any(|a| a.endpoint == onion))
    }));
}

#[test]
fn getaddr_is_answered_once_to_those_who_dialled() {
    let mut bench = Bench::new(quiet());
    let from = bench.dial(ip(1, 0, 0, 1), ConnectionKind::OutboundFull);
    bench.shake(from);
    let addresses = many(&bench, 1_000);
    bench.say(from, &Message::AddrV2(addresses));
    let known = bench.network.address_book().len();
    let peer = bench.guest(ip(2, 0, 0, 1));
    let ask = |bench: &mut Bench, peer: PeerId| {
        bench.say(peer, &Message::GetAddr);
        let messages = bench.live(peer, 5 * MINUTE);
        assert!(bench.is_ready(peer));
        let mut told = Vec::new();
        for message in messages {
            let Message::AddrV2(addresses) = message else { panic!("{message:?}") };
            told.extend(addresses.into_iter().map(|address| address.endpoint));
        }
        told.sort();
        told
    };
    assert!(ask(&mut bench, from).is_empty(), "we dialled");
    let first = ask(&mut bench, peer);
    assert!(!first.is_empty() && first.len() <= known * 23 / 100 + 1, "{} of {known}", first.len());
    assert!(ask(&mut bench, peer).is_empty(), "once is enough");

    // Another that asks the same day gets the same answer.
    let addresses = many(&bench, 1_000).split_off(900);
    bench.say(from, &Message::AddrV2(addresses));
    let other = bench.guest(ip(3, 0, 0, 1));
    assert_eq!(ask(&mut bench, other), first);

    // The next day there is another answer, for those who were not answered.
    bench.live(peer, Duration::from_hours(28));
    assert!(ask(&mut bench, peer).is_empty());
    let late = bench.guest(ip(4, 0, 0, 1));
    assert!(ask(&mut bench, late).iter().any(|endpoint| !first.contains(endpoint)));
}

#[test]
fn times_that_cannot_be_are_five_days_ago() {
    let mut bench = Bench::new(quiet());
    let from = bench.dial(ip(1, 0, 0, 1), ConnectionKind::OutboundFull);
    bench.shake(from);
    let at = |time: u32, endpoint| TimedAddress { time, services: FULL, endpoint };
    let addresses = vec![
        at(0, ip(50, 0, 0, 1)),
        at(100_000_000, ip(51, 0, 0, 1)),
        at(u32::MAX, ip(52, 0, 0, 1)),
    ];
    let five_days_ago = bench.now.unix - 5 * 86_400;
    bench.say(from, &Message::AddrV2(addresses));
    for i in 50..53 {
        let entry = bench.network.address_book().get(&ip(i, 0, 0, 1)).unwrap();
        // And two hours that are taken off all that others tell.
        assert_eq!(u64::from(entry.address.time), five_days_ago - 7_200);
    }
}

#[test]
fn who_listens_tells_its_address_once_it_is_in_step() {
    let mut options = quiet();
    options.listen = vec![ip(44, 4, 4, 4)];
    let mut bench = Bench::new(options);
    let peer = bench.guest(ip(2, 0, 0, 1));
    talk(&mut bench, peer);
    bench.pass(5 * MINUTE);
    assert!(told(&mut bench, peer).is_empty(), "it is far behind");
    let time = u32::try_from(bench.now.unix).unwrap();
    bench.network.set_tip(1_000, time, false);
    bench.pass(5 * MINUTE);
    let own = told(&mut bench, peer);
    assert_eq!(own.len(), 1);
    // As it is bound, or as the peer says that it sees us.
    assert!([ip(44, 4, 4, 4), ip(1, 2, 3, 4)].contains(&own[0].endpoint), "{own:?}");
    assert_eq!(own[0].services, FULL | 1 << 11);
    bench.pass(Duration::from_mins(9));
    assert!(told(&mut bench, peer).is_empty());
}

#[test]
fn who_does_not_listen_tells_no_address() {
    let mut bench = Bench::new(quiet());
    let time = u32::try_from(bench.now.unix).unwrap();
    bench.network.set_tip(1_000, time, false);
    let peer = bench.guest(ip(2, 0, 0, 1));
    talk(&mut bench, peer);
    bench.pass(5 * MINUTE);
    assert!(told(&mut bench, peer).is_empty());
}

/// A peer may tell us any number of addresses and ask for any: what is kept for it is bounded.
#[test]
fn what_is_remembered_of_a_peers_addresses_is_bounded() {
    let mut bench = Bench::new(quiet());
    let peer = bench.dial(ip(1, 0, 0, 1), ConnectionKind::OutboundFull);
    bench.shake(peer);
    for day in 0..40 {
        // The token bucket lets a thousand pass each time.
        bench.now.mono += Duration::from_hours(3);
        let addresses: Vec<TimedAddress> = (0..1_000_u16)
            .map(|i| {
                let [b, c] = (i + 1_000 * (day % 60)).to_be_bytes();
                timed(&bench, ip(60, b, c, 1))
            })
            .collect();
        bench.say(peer, &Message::AddrV2(addresses));
    }
    assert_eq!(bench.network.peer(peer).unwrap().addr_processed, 40_000);
    let memory = bench.network.memory(peer);
    assert!(memory < 250_000, "{memory} bytes");
}
