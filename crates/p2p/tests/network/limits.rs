use core::time::Duration;

use caesure_p2p::{ConnectionKind, Event, MessageTotals, NetworkError, SavedFiles};
use caesure_wire::{Message, Version};

use crate::support::{Bench, ip, network, quiet, version};

/// Per idle peer, here. The system's own buffers are not ours.
const IDLE_PEER: usize = 16 * 1024;

/// CVE-2013-4627, CVE-2013-5700.
#[test]
fn cve_2013_5700_the_memory_of_each_peer_is_counted() {
    let mut bench = Bench::new(quiet());
    let guest = bench.guest(ip(1, 0, 0, 1));
    let host = bench.dial(ip(2, 0, 0, 1), ConnectionKind::OutboundFull);
    bench.shake(host);
    bench.pass(Duration::from_mins(10));
    for peer in [guest, host] {
        let memory = bench.network.memory(peer);
        assert!((1_000..IDLE_PEER).contains(&memory), "{memory} bytes");
    }
    assert_eq!(bench.network.memory(caesure_p2p::PeerId(1_001)), 0);
}

#[test]
fn an_encrypted_idle_peer_holds_little_memory() {
    let mut options = quiet();
    options.connect = vec![ip(2, 0, 0, 1)];
    let mut wires = crate::support::Wires::new(vec![
        (network(options, 1), ip(1, 0, 0, 1)),
        (network(quiet(), 2), ip(2, 0, 0, 1)),
    ]);
    wires.pass(Duration::from_mins(10));
    for node in &wires.nodes {
        let id = node.network.peers().next().unwrap().id;
        let memory = node.network.memory(id);
        assert!(memory < IDLE_PEER, "{memory} bytes");
    }
}

#[test]
fn no_more_than_the_limit_are_accepted() {
    let mut options = quiet();
    options.inbound = 4;
    let mut bench = Bench::new(options);
    // So few are all protected: by their groups.
    for i in 1..=20 {
        bench.accept(ip(i, 0, 0, 1));
    }
    assert_eq!(bench.network.peers().count(), 4);
    assert_eq!(bench.closed.len(), 16);
    let mut options = quiet();
    options.inbound = 0;
    let mut bench = Bench::new(options);
    bench.accept(ip(1, 0, 0, 1));
    assert_eq!(bench.closed.len(), 1);
}

/// Whatever number of peers one group sends, most of those of other groups that were there stay.
#[test]
fn a_flood_from_one_group_drops_its_own() {
    let mut options = quiet();
    options.inbound = 100;
    let mut bench = Bench::new(options);
    let honest: Vec<_> = (0..50).map(|i| bench.guest(ip(i + 1, i, 0, 1))).collect();
    bench.pass(Duration::from_secs(30));
    for i in 0..1_000_u16 {
        bench.network.tick(bench.now);
        let [high, low] = i.to_be_bytes();
        bench.guest(ip(100, 1, high, low));
    }
    assert_eq!(bench.network.peers().count(), 100);
    let left = honest.iter().filter(|&&peer| bench.is_up(peer)).count();
    assert_eq!(left, 50, "{left} of 50 honest peers are left");
}

/// Half of all is protected by age, as in Core. Of the rest the largest group makes room, not the
/// youngest peers.
#[test]
fn an_old_crowd_from_one_group_makes_room_for_other_groups() {
    let mut options = quiet();
    options.inbound = 100;
    let mut bench = Bench::new(options);
    let crowd: Vec<_> = (0..60).map(|i| bench.guest(ip(100, 1, i, 1))).collect();
    bench.pass(Duration::from_secs(10));
    let mut honest: Vec<_> = (0..40).map(|i| bench.guest(ip(1, i, 0, 1))).collect();
    for i in 0..10 {
        bench.pass(Duration::from_secs(1));
        honest.push(bench.guest(ip(2, i, 0, 1)));
    }
    assert!(honest.iter().all(|&peer| bench.is_up(peer)));
    assert_eq!(crowd.iter().filter(|&&peer| bench.is_up(peer)).count(), 50);
}

#[test]
fn who_gives_blocks_outlasts_a_flood_from_all_groups() {
    let mut options = quiet();
    options.inbound = 60;
    let mut bench = Bench::new(options);
    let useful = bench.guest(ip(1, 1, 0, 1));
    bench.network.note_block(useful, bench.now);
    for i in 0..500_u16 {
        bench.pass(Duration::from_millis(100));
        let [high, low] = i.to_be_bytes();
        bench.guest(ip(50 + high, low, 0, 1));
    }
    assert!(bench.is_up(useful));
}

#[test]
fn who_is_banned_is_neither_accepted_nor_kept() {
    let mut bench = Bench::new(quiet());
    let peer = bench.guest(ip(1, 2, 3, 4));
    let other = bench.guest(ip(1, 3, 3, 4));
    let address = ip(1, 2, 0, 0).address;
    bench.network.ban(&address, 16, bench.now.unix + 100).unwrap();
    bench.settle();
    assert_eq!(bench.closed, [peer]);
    assert!(bench.files.contains_key("bans.bin"));
    assert_eq!(
        bench.network.ban(&address, 16, bench.now.unix + 200),
        Err(NetworkError::AlreadyBanned)
    );
    bench.accept(ip(1, 2, 9, 9));
    assert_eq!(bench.closed.len(), 2);
    bench.pass(Duration::from_secs(101));
    let again = bench.accept(ip(1, 2, 9, 9));
    assert!(bench.is_up(again) && bench.is_up(other));
    assert_eq!(bench.network.unban(&ip(7, 7, 7, 7).address, 32), Err(NetworkError::NotBanned));
    assert_eq!(bench.network.ban(&address, 33, 0), Err(NetworkError::InvalidSubnet));
}

#[test]
fn bans_outlast_a_restart_and_damage_is_told() {
    let mut bench = Bench::new(quiet());
    bench.network.ban(&ip(1, 2, 3, 4).address, 32, bench.now.unix + 1_000).unwrap();
    bench.network.stop(bench.now);
    bench.settle();
    let start = |bytes: Vec<u8>| {
        let saved = SavedFiles { bans: Some(bytes), ..SavedFiles::default() };
        let random = caesure_p2p::Random::new([3; 32]);
        Bench::with(caesure_p2p::Network::new(quiet(), saved, random, crate::support::at(0)))
    };
    let bytes = bench.files["bans.bin"].clone();
    let mut next = start(bytes.clone());
    next.accept(ip(1, 2, 3, 4));
    assert_eq!(next.closed.len(), 1);
    let mut damaged = bytes;
    *damaged.last_mut().unwrap() ^= 1;
    let next = start(damaged);
    assert!(next.log[0].contains("bans.bin"), "{:?}", next.log);
}

#[test]
fn who_breaks_the_protocol_is_dropped_with_all_at_its_address() {
    let mut bench = Bench::new(quiet());
    let peer = bench.guest(ip(1, 2, 3, 4));
    let mut beside = ip(1, 2, 3, 4);
    beside.port = 9;
    let beside = bench.guest(beside);
    let other = bench.guest(ip(1, 2, 3, 5));
    bench.network.punish(peer, "test");
    bench.settle();
    assert_eq!(bench.closed, [peer, beside]);
    assert!(bench.is_up(other));
    assert!(bench.network.bans().is_discouraged(&ip(1, 2, 3, 4).address));
    // It is accepted while there is room, and the first to be dropped.
    let again = bench.accept(ip(1, 2, 3, 4));
    assert!(bench.is_up(again));
    assert!(matches!(bench.events[..], [.., Event::Gone(_), Event::Gone(_)]));
}

#[test]
fn the_discouraged_get_no_last_place() {
    let mut options = quiet();
    options.inbound = 2;
    let mut bench = Bench::new(options);
    let peer = bench.guest(ip(1, 2, 3, 4));
    bench.network.punish(peer, "test");
    bench.guest(ip(2, 0, 0, 1));
    let again = bench.accept(ip(1, 2, 3, 4));
    assert!(!bench.is_up(again));
    let another = bench.accept(ip(3, 0, 0, 1));
    assert!(bench.is_up(another));
}

#[test]
fn whom_the_user_named_is_not_punished_and_our_own_machine_not_discouraged() {
    let mut bench = Bench::new(quiet());
    let named = bench.dial(ip(1, 2, 3, 4), ConnectionKind::Manual);
    bench.shake(named);
    bench.network.punish(named, "test");
    bench.settle();
    assert!(bench.is_up(named) && !bench.network.bans().is_discouraged(&ip(1, 2, 3, 4).address));
    let near = bench.guest(ip(127, 0, 0, 1));
    let beside = bench.guest(ip(127, 0, 0, 1));
    bench.network.punish(near, "test");
    bench.settle();
    assert!(!bench.is_up(near) && bench.is_up(beside));
    assert!(!bench.network.bans().is_discouraged(&ip(127, 0, 0, 1).address));
}

/// A peer's words are escaped, so that they make no line of their own and steer no terminal.
#[test]
fn cve_2018_20586_no_peer_writes_lines_into_the_log() {
    let mut bench = Bench::new(quiet());
    let peer = bench.dial(ip(1, 2, 3, 4), ConnectionKind::Manual);
    let user_agent = b"/x\n2026 all is well\r\x1b[2J\xff/".to_vec();
    bench.shake_with(peer, Version { user_agent, ..version() });
    let line = bench.log.iter().find(|line| line.contains("all is well")).unwrap();
    assert!(line.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{line:?}");
    assert!(line.len() < 600);
}

/// Neither one connection nor many can fill the disk with lines.
#[test]
fn cve_2025_54605_lines_that_peers_cause_are_limited() {
    let mut bench = Bench::new(quiet());
    let peer = bench.dial(ip(1, 2, 3, 4), ConnectionKind::Manual);
    bench.shake(peer);
    let before = bench.log.len();
    for _ in 0..1_000 {
        bench.network.punish(peer, "test");
    }
    bench.settle();
    assert!(bench.log.len() <= before + 8, "{} lines of one peer", bench.log.len());

    let before = bench.log.len();
    for i in 0..2_000_u16 {
        let [high, low] = i.to_be_bytes();
        let peer = bench.guest(ip(50, high, low, 1));
        bench.network.punish(peer, "test");
    }
    bench.settle();
    assert!(bench.log.len() <= before + 60, "{} lines of all", bench.log.len());
    // Before the next that is said, it is told how many were not.
    let before = bench.log.len();
    bench.pass(Duration::from_secs(2));
    let peer = bench.guest(ip(60, 0, 0, 1));
    bench.network.punish(peer, "test");
    bench.settle();
    assert!(bench.log[before].contains("left out"), "{:?}", bench.log[before]);
}

#[test]
fn messages_are_logged_at_request_and_pings_only_whole() {
    for (log_commands, log_packets) in [(false, false), (true, false), (false, true)] {
        let mut options = quiet();
        (options.log_commands, options.log_packets) = (log_commands, log_packets);
        let mut bench = Bench::new(options);
        let peer = bench.guest(ip(1, 2, 3, 4));
        bench.log.clear();
        bench.say(peer, &Message::Ping(Some(0x0102)));
        bench.network.send(peer, &Message::SendHeaders);
        let bytes = bench.frame("nonsense", &[7]);
        bench.bytes(peer, &bytes);
        bench.settle();
        let expected: &[&str] = match (log_commands, log_packets) {
            (true, _) => {
                &["conn => (1.2.3.4, 8333) sendheaders 24", "conn <= (1.2.3.4, 8333) nonsense 25"]
            }
            (_, true) => &[
                "recv (1.2.3.4, 8333) ping 0201000000000000",
                "send (1.2.3.4, 8333) pong 0201000000000000",
                "send (1.2.3.4, 8333) sendheaders \"\"",
                "recv (1.2.3.4, 8333) nonsense 07",
            ],
            _ => &[],
        };
        assert_eq!(bench.log, expected);
    }
}

#[test]
fn networking_can_be_turned_off_and_on() {
    let mut bench = Bench::new(quiet());
    let peer = bench.guest(ip(1, 0, 0, 1));
    bench.network.set_active(false);
    bench.settle();
    assert_eq!(bench.closed, [peer]);
    bench.accept(ip(1, 0, 0, 1));
    assert_eq!(bench.closed.len(), 2);
    let refused = bench.network.connect(ip(1, 0, 0, 1), ConnectionKind::Manual, None);
    assert_eq!(refused, Err(NetworkError::NotDialled));
    bench.network.set_active(true);
    let peer = bench.accept(ip(1, 0, 0, 1));
    assert!(bench.is_up(peer));
}

#[test]
fn any_message_is_sent_as_it_stands() {
    let mut bench = Bench::new(quiet());
    let peer = bench.guest(ip(1, 0, 0, 1));
    bench.network.send_raw(peer, "anything", &[1, 2, 3]).unwrap();
    bench.settle();
    assert_eq!(bench.heard_raw(peer), [("anything".to_owned(), vec![1, 2, 3])]);
    let too_long = bench.network.send_raw(peer, "thirteen bytes", &[]);
    assert_eq!(too_long, Err(NetworkError::InvalidMessage));
    let gone = bench.network.send_raw(caesure_p2p::PeerId(99), "ping", &[]);
    assert_eq!(gone, Err(NetworkError::NotConnected));
    let sent = &bench.network.peer(peer).unwrap().sent_by_message;
    assert_eq!(sent["*other*"].bytes, 27);
}

#[test]
fn bytes_are_counted() {
    let mut bench = Bench::new(quiet());
    let peer = bench.guest(ip(1, 0, 0, 1));
    for nonce in [1, 2] {
        bench.say(peer, &Message::Ping(Some(nonce)));
        bench.heard(peer);
    }
    let info = bench.network.peer(peer).unwrap();
    assert_eq!(info.recv_by_message["ping"], MessageTotals { messages: 2, bytes: 64 });
    assert_eq!(info.sent_by_message["pong"], MessageTotals { messages: 2, bytes: 64 });
    let totals = bench.network.totals();
    assert_eq!((totals.sent, totals.received), (info.bytes_sent, info.bytes_recv));
}

#[test]
fn bytes_that_come_one_by_one_take_little_more_memory_than_at_once() {
    let mut bench = Bench::new(quiet());
    let guest = bench.guest(ip(1, 0, 0, 1));
    let before = bench.network.memory(guest);
    for _ in 0..100_000 {
        bench.network.received(guest, vec![0xf9], bench.now);
    }
    let memory = bench.network.memory(guest) - before;
    assert!((100_000..250_000).contains(&memory), "{memory} bytes");
}
