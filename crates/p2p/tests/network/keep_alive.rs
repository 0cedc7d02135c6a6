use core::time::Duration;

use caesure_p2p::ConnectionKind;
use caesure_wire::Message;

use crate::support::{Bench, ip, quiet, version};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);

#[test]
fn a_handshake_may_take_a_minute() {
    let mut bench = Bench::new(quiet());
    let silent = bench.accept(ip(1, 0, 0, 1));
    let slow = bench.accept(ip(2, 0, 0, 1));
    bench.say(slow, &Message::Version(version()));
    let ready = bench.guest(ip(3, 0, 0, 1));
    let dialled = bench.dial(ip(4, 0, 0, 1), ConnectionKind::OutboundFull);
    bench.pass(MINUTE - SECOND);
    assert!([silent, slow, ready, dialled].iter().all(|&peer| bench.is_up(peer)));
    bench.pass(2 * SECOND);
    assert_eq!(bench.closed, [dialled, silent, slow]);
    assert!(bench.is_up(ready));
}

#[test]
fn a_dial_may_take_five_seconds() {
    let mut bench = Bench::new(quiet());
    let peer = bench.network.connect(ip(1, 0, 0, 1), ConnectionKind::Feeler, None).unwrap();
    bench.pass(4 * SECOND);
    assert!(bench.closed.is_empty());
    bench.pass(2 * SECOND);
    assert_eq!(bench.closed, [peer]);
    // What comes too late is nobody's.
    bench.answer_dial(peer);
    assert!(!bench.is_up(peer) && bench.sent.is_empty());
}

#[test]
fn a_dial_over_a_proxy_may_take_twenty_seconds_and_twenty_more() {
    let mut options = quiet();
    options.proxy = Some(ip(127, 0, 0, 1));
    let mut bench = Bench::new(options);
    let peer = bench.network.connect(ip(1, 0, 0, 1), ConnectionKind::Feeler, None).unwrap();
    bench.pass(19 * SECOND);
    bench.answer_dial(peer);
    bench.pass(19 * SECOND);
    assert!(bench.closed.is_empty());
    bench.pass(2 * SECOND);
    assert_eq!(bench.closed, [peer]);
}

#[test]
fn pings_are_sent_at_once_and_every_two_minutes() {
    let mut bench = Bench::new(quiet());
    let peer = bench.guest(ip(1, 0, 0, 1));
    bench.pass(SECOND);
    let heard = bench.heard(peer);
    let [Message::Ping(Some(nonce))] = heard[..] else { panic!("{heard:?}") };
    assert_ne!(nonce, 0);
    bench.say(peer, &Message::Pong(nonce.to_le_bytes().to_vec()));
    let info = bench.network.peer(peer).unwrap();
    assert!(info.ping.is_some() && info.ping == info.min_ping && info.ping_since.is_none());
    bench.pass(118 * SECOND);
    assert!(bench.heard(peer).is_empty());
    bench.pass(3 * SECOND);
    assert!(matches!(bench.heard(peer)[..], [Message::Ping(Some(_))]));
    // While one is unanswered there is no other, but by the user's will.
    bench.pass(5 * MINUTE);
    assert!(bench.heard(peer).is_empty());
    bench.network.ping_all();
    bench.pass(SECOND);
    assert!(matches!(bench.heard(peer)[..], [Message::Ping(Some(_))]));
}

#[test]
fn a_pong_counts_only_with_the_number_of_the_ping() {
    let mut bench = Bench::new(quiet());
    let peer = bench.guest(ip(1, 0, 0, 1));
    bench.pass(SECOND);
    let heard = bench.heard(peer);
    let [Message::Ping(Some(nonce))] = heard[..] else { panic!("{heard:?}") };
    let waits = |bench: &Bench| bench.network.peer(peer).unwrap().ping_since.is_some();
    bench.say(peer, &Message::Pong((nonce ^ 1).to_le_bytes().to_vec()));
    assert!(waits(&bench));
    for cancelling in [vec![0; 8], Vec::new(), vec![1; 7]] {
        bench.say(peer, &Message::Pong(cancelling));
        assert!(!waits(&bench));
        bench.network.ping_all();
        bench.pass(SECOND);
        assert!(waits(&bench));
    }
    assert!(bench.network.peer(peer).unwrap().ping.is_none());
    // More than eight bytes: the first eight count.
    let heard = bench.heard(peer);
    let Some(Message::Ping(Some(nonce))) = heard.last() else { panic!("{heard:?}") };
    bench.say(peer, &Message::Pong([&nonce.to_le_bytes()[..], &[9]].concat()));
    assert!(bench.network.peer(peer).unwrap().ping.is_some());
}

#[test]
fn old_versions_are_pinged_without_a_number_and_not_answered() {
    let mut bench = Bench::new(quiet());
    let peer = bench.accept(ip(1, 0, 0, 1));
    bench.say(peer, &Message::Version(caesure_wire::Version { version: 60_000, ..version() }));
    bench.say(peer, &Message::Verack);
    bench.heard(peer);
    bench.pass(SECOND);
    assert_eq!(bench.heard(peer), [Message::Ping(None)]);
    bench.say(peer, &Message::Ping(None));
    let bytes = bench.frame("ping", &[1; 8]);
    bench.bytes(peer, &bytes);
    assert!(bench.heard(peer).is_empty() && bench.is_ready(peer));
}

#[test]
fn who_does_not_answer_a_ping_for_twenty_minutes_is_dropped() {
    let mut bench = Bench::new(quiet());
    let peer = bench.guest(ip(1, 0, 0, 1));
    for minute in 1..20 {
        bench.pass(MINUTE);
        // Other words are no answer.
        bench.say(peer, &Message::Ping(Some(minute)));
        assert!(bench.is_up(peer), "minute {minute}");
    }
    bench.pass(MINUTE + SECOND);
    assert_eq!(bench.closed, [peer]);
}

#[test]
fn who_answers_stays_for_days() {
    let mut bench = Bench::new(quiet());
    let peer = bench.guest(ip(1, 0, 0, 1));
    bench.live(peer, Duration::from_hours(50));
    assert!(bench.is_ready(peer));
}

#[test]
fn who_says_nothing_for_twenty_minutes_is_dropped() {
    let mut bench = Bench::new(quiet());
    let peer = bench.guest(ip(1, 0, 0, 1));
    // It answers the first ping, so that no ping is late yet.
    bench.live(peer, 30 * SECOND);
    bench.pass(20 * MINUTE - SECOND);
    assert!(bench.is_up(peer));
    bench.pass(2 * SECOND);
    assert_eq!(bench.closed, [peer]);
}

#[test]
fn who_takes_nothing_for_twenty_minutes_is_dropped() {
    let mut bench = Bench::new(quiet());
    let peer = bench.guest(ip(1, 0, 0, 1));
    bench.live(peer, 30 * SECOND);
    bench.writes = false;
    for _ in 0..19 {
        bench.pass(MINUTE);
        bench.say(peer, &Message::GetAddr);
    }
    assert!(bench.is_up(peer));
    bench.pass(MINUTE);
    assert_eq!(bench.closed, [peer]);
}

#[test]
fn who_is_to_give_addresses_alone_has_five_minutes() {
    let mut bench = Bench::new(quiet());
    let peer = bench.dial(ip(1, 0, 0, 1), ConnectionKind::AddrFetch);
    bench.shake(peer);
    bench.live(peer, 5 * MINUTE - SECOND);
    bench.pass(SECOND);
    assert_eq!(bench.closed, [peer]);
}

#[test]
fn an_idle_node_wakes_no_more_than_its_peers_need() {
    let mut bench = Bench::new(quiet());
    let peer = bench.guest(ip(1, 0, 0, 1));
    bench.live(peer, 10 * MINUTE);
    let ticks = bench.ticks_in(2 * MINUTE);
    assert!(ticks <= 6, "{ticks} ticks in two minutes");
}
