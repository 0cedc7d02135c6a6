use core::time::Duration;

use caesure_p2p::{ConnectionKind, Event, PeerId, TransportKind};
use caesure_wire::{Endpoint, Locator, Message, NetAddress, Version};

use crate::support::{Bench, FULL, Wires, ip, network, quiet, version};

/// Two nodes, the first of which keeps a connection to the second.
fn pair(v2_first: bool, v2_second: bool) -> Wires {
    let mut first = quiet();
    first.v2 = v2_first;
    first.connect = vec![ip(2, 0, 0, 1)];
    let mut second = quiet();
    second.v2 = v2_second;
    Wires::new(vec![(network(first, 1), ip(1, 0, 0, 1)), (network(second, 2), ip(2, 0, 0, 1))])
}

fn kinds(wires: &Wires) -> Vec<(TransportKind, bool)> {
    let infos = wires.nodes.iter().flat_map(|node| node.network.peers());
    infos.map(|info| (info.transport, info.is_ready)).collect()
}

#[test]
fn two_nodes_shake_hands_in_the_clear() {
    let mut wires = pair(false, false);
    wires.pass(Duration::from_secs(1));
    assert_eq!(kinds(&wires), [(TransportKind::V1, true); 2]);
    assert!(matches!(wires.nodes[0].events[..], [Event::Ready(PeerId(0))]));
    assert!(matches!(wires.nodes[1].events[..], [Event::Ready(PeerId(1))]));
    let info = wires.nodes[0].network.peer(PeerId(0)).unwrap();
    assert!(info.wtxid_relay && info.addrv2 && info.relays_txs);
    assert_eq!(info.kind, ConnectionKind::Manual);
    assert_eq!(info.common_version, 70_017);
    assert_eq!(info.bytes_sent, info.sent_by_message.values().map(|it| it.bytes).sum::<u64>());
    assert_eq!(info.bytes_recv, info.recv_by_message.values().map(|it| it.bytes).sum::<u64>());
    assert_eq!(info.version.as_ref().unwrap().user_agent, b"/caesure:0.1.0/");
}

#[test]
fn two_nodes_shake_hands_encrypted() {
    let mut wires = pair(true, true);
    wires.pass(Duration::from_secs(1));
    assert_eq!(kinds(&wires), [(TransportKind::V2, true); 2]);
    let session = |i: usize| wires.nodes[i].network.peers().next().unwrap().session_id;
    assert!(session(0).is_some());
    assert_eq!(session(0), session(1));
}

#[test]
fn who_speaks_only_v1_is_dialled_again_by_v1_at_once() {
    let mut wires = pair(true, false);
    wires.pass(Duration::from_secs(1));
    assert_eq!(kinds(&wires), [(TransportKind::V1, true); 2]);
    let dials: Vec<u64> = wires.nodes[0].dials.iter().map(|(peer, _)| peer.0).collect();
    assert_eq!(dials, [0, 2]);
    // The failure was not the peer's: nobody waits.
    assert!(
        wires.nodes[0].network.peers().next().unwrap().connected_at.mono < Duration::from_secs(1)
    );
}

#[test]
fn who_speaks_only_v1_may_dial() {
    let mut wires = pair(false, true);
    wires.pass(Duration::from_secs(1));
    assert_eq!(kinds(&wires), [(TransportKind::V1, true); 2]);
}

#[test]
fn a_node_notices_that_it_talks_to_itself() {
    let mut options = quiet();
    options.connect = vec![ip(1, 0, 0, 1)];
    let mut wires = Wires::new(vec![(network(options, 1), ip(1, 0, 0, 1))]);
    wires.pass(Duration::from_millis(10));
    assert_eq!(wires.nodes[0].network.peers().count(), 0);
    assert!(wires.nodes[0].events.is_empty());
    assert!(!wires.nodes[0].closed.is_empty());
}

#[test]
fn whom_one_accepts_speaks_first() {
    let mut bench = Bench::new(quiet());
    let peer = bench.accept(ip(1, 0, 0, 1));
    assert!(bench.heard(peer).is_empty());
    bench.say(peer, &Message::Version(version()));
    assert_eq!(bench.commands(peer), ["version", "wtxidrelay", "sendaddrv2", "verack"]);
    assert!(!bench.is_ready(peer));
    bench.say(peer, &Message::Verack);
    assert!(bench.is_ready(peer));
}

#[test]
fn whom_one_dials_hears_the_version_first() {
    let mut bench = Bench::new(quiet());
    let peer = bench.dial(ip(1, 2, 3, 4), ConnectionKind::Manual);
    let heard = bench.heard(peer);
    let [Message::Version(said)] = &heard[..] else { panic!("{heard:?}") };
    assert_eq!(said.services, FULL | 1 << 11);
    assert_eq!(said.receiver.1, ip(1, 2, 3, 4));
    assert_eq!(said.sender.1, Endpoint { address: NetAddress::NONE, port: 0 });
    assert!(said.relay);
    bench.say(peer, &Message::Version(version()));
    assert_eq!(bench.commands(peer), ["wtxidrelay", "sendaddrv2", "verack", "getaddr"]);
}

#[test]
fn the_relay_flag_follows_the_kind_of_connection() {
    for (kind, blocks_only, relay) in [
        (ConnectionKind::OutboundFull, false, true),
        (ConnectionKind::OutboundFull, true, false),
        (ConnectionKind::BlockRelay, false, false),
        (ConnectionKind::Feeler, false, false),
        (ConnectionKind::AddrFetch, false, true),
    ] {
        let mut options = quiet();
        options.blocks_only = blocks_only;
        let mut bench = Bench::new(options);
        let peer = bench.dial(ip(1, 2, 3, 4), kind);
        let heard = bench.heard(peer);
        assert!(matches!(&heard[..], [Message::Version(said)] if said.relay == relay), "{kind:?}");
    }
}

#[test]
fn a_second_version_is_ignored() {
    let mut bench = Bench::new(quiet());
    let peer = bench.guest(ip(1, 0, 0, 1));
    bench.say(peer, &Message::Version(Version { services: 0, ..version() }));
    assert!(bench.is_ready(peer));
    assert_eq!(bench.network.peer(peer).unwrap().services, FULL);
    assert!(bench.heard(peer).is_empty());
}

#[test]
fn an_obsolete_version_is_disconnected() {
    for (number, stays) in [(31_799, false), (31_800, true), (i32::MIN, false), (i32::MAX, true)] {
        let mut bench = Bench::new(quiet());
        let peer = bench.accept(ip(1, 0, 0, 1));
        bench.say(peer, &Message::Version(Version { version: number, ..version() }));
        assert_eq!(bench.is_up(peer), stays, "{number}");
    }
}

#[test]
fn who_is_dialled_has_to_offer_what_is_wanted() {
    const LIMITED: u64 = 1 << 10 | 1 << 3;
    for (kind, services, tip_age, stays) in [
        (ConnectionKind::OutboundFull, FULL, 0, true),
        (ConnectionKind::OutboundFull, 1, 0, false),
        (ConnectionKind::OutboundFull, 0, 0, false),
        (ConnectionKind::BlockRelay, 1, 0, false),
        (ConnectionKind::AddrFetch, 1, 0, false),
        (ConnectionKind::Manual, 0, 0, true),
        (ConnectionKind::OutboundFull, LIMITED, 0, true),
        (ConnectionKind::OutboundFull, LIMITED, 144 * 600, false),
    ] {
        let mut bench = Bench::new(quiet());
        let time = u32::try_from(bench.now.unix - tip_age).unwrap();
        bench.network.set_tip(100, time, false);
        let peer = bench.dial(ip(1, 0, 0, 1), kind);
        bench.say(peer, &Message::Version(Version { services, ..version() }));
        assert_eq!(bench.is_up(peer), stays, "{kind:?} {services:#x}");
    }
}

#[test]
fn a_feeler_ends_with_the_version_and_marks_the_address_good() {
    let mut bench = Bench::new(quiet());
    bench.network.add_address(ip(1, 2, 3, 4), false).unwrap();
    let peer = bench.dial(ip(1, 2, 3, 4), ConnectionKind::Feeler);
    bench.say(peer, &Message::Version(version()));
    assert_eq!(bench.closed, [peer]);
    assert!(bench.network.address_book().get(&ip(1, 2, 3, 4)).unwrap().is_tried);
    assert!(bench.events.is_empty());
}

/// Every message there is, before the version and between version and verack.
#[test]
fn no_message_before_its_time_does_anything() {
    let locator = Locator { version: 1, hashes: Vec::new(), stop: Default::default() };
    let early = [
        Message::Verack,
        Message::GetAddr,
        Message::Ping(Some(1)),
        Message::Pong(vec![1; 8]),
        Message::FeeFilter(1),
        Message::Inv(Vec::new()),
        Message::GetData(Vec::new()),
        Message::NotFound(Vec::new()),
        Message::GetBlocks(locator.clone()),
        Message::GetHeaders(locator),
        Message::Headers(Vec::new()),
        Message::Addr(Vec::new()),
        Message::AddrV2(Vec::new()),
        Message::WtxidRelay,
        Message::SendAddrV2,
        Message::SendHeaders,
        Message::SendCmpct { announce: true, version: 2 },
        Message::Feature { id: b"x".to_vec(), data: Vec::new() },
    ];
    let names = [
        "block",
        "tx",
        "cmpctblock",
        "getblocktxn",
        "blocktxn",
        "mempool",
        "filterload",
        "filteradd",
        "filterclear",
        "merkleblock",
        "alert",
        "reject",
        "sendtxrcncl",
        "getcfilters",
        "whatever",
    ];
    // With v2, who does not begin with a version in the clear is held for encrypted.
    let mut options = quiet();
    options.v2 = false;
    let mut bench = Bench::new(options);
    let peer = bench.accept(ip(1, 0, 0, 1));
    for message in &early {
        bench.say(peer, message);
    }
    let raw = |bench: &mut Bench| {
        for name in names {
            for payload in [&[][..], &[0xff; 100]] {
                let bytes = bench.frame(name, payload);
                bench.bytes(peer, &bytes);
            }
        }
    };
    raw(&mut bench);
    assert!(bench.is_up(peer) && bench.events.is_empty() && bench.heard(peer).is_empty());
    assert_eq!(bench.network.peer(peer).unwrap().common_version, 0);

    bench.say(peer, &Message::Version(version()));
    bench.heard(peer);
    for message in &early[1..13] {
        bench.say(peer, message);
    }
    raw(&mut bench);
    assert!(bench.is_up(peer) && bench.events.is_empty() && bench.heard(peer).is_empty());
}

#[test]
fn what_is_said_of_headers_before_the_verack_counts_after_it() {
    let mut bench = Bench::new(quiet());
    let peer = bench.accept(ip(1, 0, 0, 1));
    bench.say(peer, &Message::Version(version()));
    bench.say(peer, &Message::SendHeaders);
    bench.say(peer, &Message::SendCmpct { announce: false, version: 2 });
    bench.say(peer, &Message::Verack);
    assert!(matches!(
        bench.events[..],
        [
            Event::Ready(_),
            Event::Message { message: Message::SendHeaders, .. },
            Event::Message { message: Message::SendCmpct { announce: false, version: 2 }, .. },
        ]
    ));
}

#[test]
fn what_belongs_into_the_handshake_ends_the_connection_after_it() {
    for message in [
        Message::WtxidRelay,
        Message::SendAddrV2,
        Message::Feature { id: b"test".to_vec(), data: Vec::new() },
    ] {
        let mut bench = Bench::new(quiet());
        let peer = bench.guest(ip(1, 0, 0, 1));
        bench.say(peer, &message);
        assert_eq!(bench.closed, [peer], "{message:?}");
        assert!(matches!(bench.events[..], [Event::Ready(_), Event::Gone(_)]));
    }
}

#[test]
fn features_are_ignored_where_they_are_agreed_on_and_well_formed() {
    let feature = |id: &[u8]| Message::Feature { id: id.to_vec(), data: vec![1, 2] };
    for (number, id, stays) in
        [(70_017, &b"test"[..], true), (70_016, b"test", false), (70_017, b"abc", false)]
    {
        let mut bench = Bench::new(quiet());
        let peer = bench.accept(ip(1, 0, 0, 1));
        bench.say(peer, &Message::Version(Version { version: number, ..version() }));
        bench.say(peer, &feature(id));
        assert_eq!(bench.is_up(peer), stays, "{number} {id:?}");
    }
    let mut bench = Bench::new(quiet());
    let peer = bench.accept(ip(1, 0, 0, 1));
    bench.say(peer, &Message::Version(Version { version: 70_017, ..version() }));
    let bytes = bench.frame("feature", &[200]);
    bench.bytes(peer, &bytes);
    assert!(!bench.is_up(peer));
}

#[test]
fn old_versions_are_not_told_of_new_messages() {
    let mut bench = Bench::new(quiet());
    let peer = bench.accept(ip(1, 0, 0, 1));
    bench.say(peer, &Message::Version(Version { version: 70_015, ..version() }));
    assert_eq!(bench.commands(peer), ["version", "verack"]);
    bench.say(peer, &Message::WtxidRelay);
    assert!(!bench.network.peer(peer).unwrap().wtxid_relay);
}

#[test]
fn filters_end_the_connection() {
    for name in ["mempool", "filterload", "filteradd", "filterclear"] {
        let mut bench = Bench::new(quiet());
        let peer = bench.guest(ip(1, 0, 0, 1));
        // Also with the filters of no size that CVE-2013-5700 was about.
        let bytes = bench.frame(name, &[]);
        bench.bytes(peer, &bytes);
        assert_eq!(bench.closed, [peer], "{name}");
    }
    for (name, size) in [("getcfilters", 37), ("getcfheaders", 37), ("getcfcheckpt", 33)] {
        let mut bench = Bench::new(quiet());
        let peer = bench.guest(ip(1, 0, 0, 1));
        // One that is cut short is no message, as in Core.
        for (size, closed) in [(size - 1, &[][..]), (size, &[peer])] {
            let bytes = bench.frame(name, &vec![0; size]);
            bench.bytes(peer, &bytes);
            assert_eq!(bench.closed, closed, "{name}");
        }
    }
}

#[test]
fn cve_2016_10724_alerts_and_other_unknown_messages_are_ignored() {
    let mut bench = Bench::new(quiet());
    let peer = bench.guest(ip(1, 0, 0, 1));
    for name in ["alert", "reject", "merkleblock", "sendtxrcncl", "whatever"] {
        let bytes = bench.frame(name, &[0xff; 50]);
        bench.bytes(peer, &bytes);
    }
    assert!(bench.is_ready(peer) && bench.heard(peer).is_empty());
    assert!(matches!(bench.events[..], [Event::Ready(_)]));
    let info = bench.network.peer(peer).unwrap();
    assert!(info.recv_by_message["*other*"].bytes >= 2 * 74);
    assert_eq!(info.bytes_recv, info.recv_by_message.values().map(|it| it.bytes).sum::<u64>());
}

#[test]
fn bytes_of_another_network_end_the_connection() {
    let mut bench = Bench::new(quiet());
    let peer = bench.guest(ip(1, 0, 0, 1));
    bench.bytes(peer, &[0xaa; 24]);
    assert_eq!(bench.closed, [peer]);
}

#[test]
fn cve_2015_3641_a_message_over_4_mb_ends_the_connection_at_its_header() {
    let mut bench = Bench::new(quiet());
    let peer = bench.guest(ip(1, 0, 0, 1));
    let mut bytes = bench.frame("block", &[]);
    bytes[16..20].copy_from_slice(&4_000_001_u32.to_le_bytes());
    bench.bytes(peer, &bytes);
    assert_eq!(bench.closed, [peer]);
}

#[test]
fn a_wrong_checksum_costs_the_message_alone() {
    let mut bench = Bench::new(quiet());
    let peer = bench.guest(ip(1, 0, 0, 1));
    let mut bytes = bench.frame("ping", &[1; 8]);
    bytes[20] ^= 1;
    bench.bytes(peer, &bytes);
    bench.say(peer, &Message::Ping(Some(5)));
    assert_eq!(bench.heard(peer), [Message::Pong(5_u64.to_le_bytes().to_vec())]);
    let info = bench.network.peer(peer).unwrap();
    let other = info.recv_by_message["*other*"];
    assert_eq!((other.messages, other.bytes), (0, 32), "what is skipped is no message");
}

#[test]
fn a_malformed_message_costs_the_message_alone() {
    let mut bench = Bench::new(quiet());
    let peer = bench.guest(ip(1, 0, 0, 1));
    for name in ["inv", "addr", "addrv2", "headers", "tx", "cmpctblock", "sendcmpct", "feefilter"] {
        let bytes = bench.frame(name, &[0xfd]);
        bench.bytes(peer, &bytes);
    }
    assert!(bench.is_ready(peer));
}

#[test]
fn too_many_entries_are_punished_or_disconnected() {
    for (name, is_punished) in [
        ("inv", true),
        ("getdata", true),
        ("headers", true),
        ("addr", true),
        ("addrv2", true),
        ("getheaders", false),
        ("getblocks", false),
        ("sendcmpct", true),
    ] {
        let mut bench = Bench::new(quiet());
        let peer = bench.guest(ip(1, 0, 0, 1));
        let payload = match name {
            "inv" | "getdata" => [&[0xfd, 0x51, 0xc3][..], &[1; 36 * 50_001]].concat(),
            "headers" => [&[0xfd, 0xd1, 0x07][..], &[0; 81 * 2_001]].concat(),
            "addr" => [&[0xfd, 0xe9, 0x03][..], &[0; 30 * 1_001]].concat(),
            "addrv2" => {
                let one = [0, 0, 0, 0, 1, 1, 4, 1, 2, 3, 4, 0x20, 0x8d];
                [&[0xfd, 0xe9, 0x03][..], &one.repeat(1_001)].concat()
            }
            "sendcmpct" => vec![2; 9],
            _ => [&[1, 0, 0, 0, 102][..], &[0; 32 * 103]].concat(),
        };
        let bytes = bench.frame(name, &payload);
        bench.bytes(peer, &bytes);
        assert_eq!(bench.closed, [peer], "{name}");
        let address = ip(1, 0, 0, 1).address;
        assert_eq!(bench.network.bans().is_discouraged(&address), is_punished, "{name}");
    }
}

/// Nothing that a version says moves our clock or overflows a number.
#[test]
fn cve_2024_52912_no_peer_moves_our_clock() {
    for time in [i64::MIN, -1, 0, i64::MAX] {
        let mut bench = Bench::new(quiet());
        for i in 0..20 {
            let peer = bench.dial(ip(i + 1, 0, 0, 1), ConnectionKind::Manual);
            bench.shake_with(peer, Version { time, height: i32::MIN, ..version() });
            assert!(bench.is_ready(peer));
        }
        let now = bench.now;
        bench.pass(Duration::from_secs(10));
        assert_eq!(bench.now.unix, now.unix + 10);
        let last = bench.dial(ip(99, 0, 0, 1), ConnectionKind::Manual);
        let heard = bench.heard(last);
        let [Message::Version(said)] = &heard[..] else { panic!("{heard:?}") };
        assert_eq!(said.time, bench.now.unix.cast_signed());
    }
}
