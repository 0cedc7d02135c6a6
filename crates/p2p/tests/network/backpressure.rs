use std::sync::Arc;

use caesure_p2p::{Event, PeerId};
use caesure_wire::{Message, Transaction, TxIn, TxOut, encode_block};

use crate::support::{Bench, ip, params, quiet};

const MAX_UNSENT: usize = 1_000_000;
const MAX_UNPROCESSED: usize = 5_000_000;

fn queued(bench: &Bench, peer: PeerId) -> usize {
    bench.sent.get(&peer).map_or(0, Vec::len)
}

/// A peer that asks and never listens: what waits for it is bounded.
#[test]
fn cve_2024_52915_what_is_queued_for_a_peer_is_bounded() {
    let mut bench = Bench::new(quiet());
    let peer = bench.guest(ip(1, 0, 0, 1));
    bench.writes = false;
    let ping = bench.encode(&Message::Ping(Some(3)));
    let chunk = ping.repeat(65_536 / ping.len());
    let mut given = 0;
    while bench.network.wants_bytes(peer) {
        bench.network.received(peer, chunk.clone(), bench.now);
        bench.settle();
        given += chunk.len();
        assert!(given < 10_000_000, "it stops reading");
        assert!(queued(&bench, peer) <= MAX_UNSENT + ping.len());
    }
    assert!(bench.network.peer(peer).unwrap().is_full);
    assert!(queued(&bench, peer) > MAX_UNSENT);
    // What was answered, and what waits: no more than both limits and one chunk.
    assert!(given <= MAX_UNSENT + ping.len() + MAX_UNPROCESSED + chunk.len());
    assert!(bench.network.memory(peer) < MAX_UNPROCESSED + 2 * chunk.len() + 20_000);

    // It listens again, and all is answered.
    bench.writes = true;
    let waiting = queued(&bench, peer);
    bench.network.written(peer, waiting, bench.now);
    bench.settle();
    assert!(bench.network.wants_bytes(peer));
    assert_eq!(queued(&bench, peer), given);
    assert!(!bench.network.peer(peer).unwrap().is_full);
}

/// A message that is claimed to be large and comes slowly holds what came of it, no more.
#[test]
fn memory_is_held_for_bytes_that_came_alone() {
    let mut bench = Bench::new(quiet());
    let peer = bench.guest(ip(1, 0, 0, 1));
    let before = bench.network.memory(peer);
    let mut bytes = bench.frame("block", &[]);
    bytes[16..20].copy_from_slice(&4_000_000_u32.to_le_bytes());
    bench.bytes(peer, &bytes);
    assert!(bench.network.memory(peer) < before + 1_000);
    bench.bytes(peer, &[0; 1_000]);
    assert!(bench.network.memory(peer) < before + 5_000);
}

/// The largest message there may be passes while the limits hold.
#[test]
fn a_message_of_4_mb_passes() {
    let mut bench = Bench::new(quiet());
    let peer = bench.guest(ip(1, 0, 0, 1));
    let script_pubkey = vec![0x51; 3_999_000];
    let outputs = vec![TxOut { value: 0, script_pubkey }];
    let inputs = vec![TxIn::default()];
    let tx = Transaction { version: 1, inputs, outputs, lock_time: 0 };
    let block = encode_block(&params().genesis, &[tx.encode()]);
    let bytes = bench.encode(&Message::Block(Arc::new(block.clone())));
    for chunk in bytes.chunks(65_536) {
        assert!(bench.network.wants_bytes(peer));
        bench.bytes(peer, chunk);
    }
    let Some(Event::Message { message: Message::Block(came), .. }) = bench.events.last() else {
        panic!("no block")
    };
    assert!(**came == block);
    assert!(bench.network.memory(peer) < 20_000);
}

/// One peer's flood does not keep another's message waiting: each has its turn.
#[test]
fn peers_have_their_turns() {
    let mut bench = Bench::new(quiet());
    let flooder = bench.guest(ip(1, 0, 0, 1));
    let other = bench.guest(ip(2, 0, 0, 1));
    bench.events.clear();
    let inv = bench.encode(&Message::Inv(Vec::new()));
    bench.network.received(flooder, inv.repeat(1_000), bench.now);
    bench.network.received(other, inv, bench.now);
    let from: Vec<PeerId> = core::iter::from_fn(|| match bench.network.next_event(bench.now) {
        Some(Event::Message { peer, .. }) => Some(peer),
        _ => None,
    })
    .collect();
    assert_eq!(from.len(), 1_001);
    assert_eq!(from.iter().position(|&peer| peer == other), Some(1));
}

/// The network itself, when nobody listens, says so before large answers are begun.
#[test]
fn the_chain_side_sees_that_a_queue_is_full() {
    let mut bench = Bench::new(quiet());
    let peer = bench.guest(ip(1, 0, 0, 1));
    bench.writes = false;
    let block = Message::Block(Arc::new(vec![1; 400_000]));
    let mut blocks = 0;
    while !bench.network.peer(peer).unwrap().is_full {
        bench.network.send(peer, &block);
        blocks += 1;
    }
    assert_eq!(blocks, 3);
    bench.take_effects();
    bench.network.written(peer, 400_000, bench.now);
    assert!(!bench.network.peer(peer).unwrap().is_full);
}

/// Small messages to one peer leave as one piece.
#[test]
fn what_is_sent_together_leaves_together() {
    let mut bench = Bench::new(quiet());
    let peer = bench.guest(ip(1, 0, 0, 1));
    for nonce in 0..10 {
        bench.network.send(peer, &Message::Ping(Some(nonce)));
    }
    assert!(bench.network.next_effect().is_some());
    assert!(bench.network.next_effect().is_none());
}

#[test]
fn nothing_is_sent_to_those_who_are_gone_or_not_ready() {
    let mut bench = Bench::new(quiet());
    let peer = bench.accept(ip(1, 0, 0, 1));
    bench.network.send(peer, &Message::SendHeaders);
    bench.network.send(PeerId(99), &Message::SendHeaders);
    bench.settle();
    assert!(bench.sent.is_empty());
    bench.network.closed(peer, bench.now);
    bench.network.closed(peer, bench.now);
    bench.network.received(peer, vec![1], bench.now);
    bench.network.written(peer, 1, bench.now);
    bench.settle();
    assert!(bench.events.is_empty() && bench.closed.is_empty());
}
