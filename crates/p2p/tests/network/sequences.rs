use core::time::Duration;

use caesure_p2p::{ConnectionKind, PeerId, commands};
use caesure_wire::{Message, Version};
use proptest::prelude::*;

use crate::support::{Bench, FULL, ip, network, quiet, version};

/// All that are known, some of nobody, and none.
fn all_commands() -> Vec<&'static str> {
    commands().chain(["reject", "alert", "unheardof", ""]).collect()
}

/// Something that happens to a node. A peer is chosen among those that stand.
#[derive(Clone, Debug)]
enum Happening {
    Accept(u8),
    Dial(u8, usize),
    Shake(usize, i32, u64, i64),
    Frame(usize, usize, Vec<u8>),
    Bytes(usize, Vec<u8>),
    Close(usize),
    Punish(usize),
    Pass(u64),
    Writes(bool),
    Ban(u8),
}

fn happening() -> impl Strategy<Value = Happening> {
    let peer = 0_usize..64;
    let bytes = prop::collection::vec(any::<u8>(), 0..300);
    prop_oneof![
        3 => any::<u8>().prop_map(Happening::Accept),
        1 => (any::<u8>(), 0_usize..5).prop_map(|(i, kind)| Happening::Dial(i, kind)),
        3 => (peer.clone(), any::<i32>(), any::<u64>(), any::<i64>())
            .prop_map(|(peer, version, services, time)| Happening::Shake(peer, version, services, time)),
        9 => (peer.clone(), 0..all_commands().len(), bytes.clone())
            .prop_map(|(peer, command, payload)| Happening::Frame(peer, command, payload)),
        1 => (peer.clone(), bytes).prop_map(|(peer, bytes)| Happening::Bytes(peer, bytes)),
        1 => peer.clone().prop_map(Happening::Close),
        1 => peer.prop_map(Happening::Punish),
        3 => (0_u64..100).prop_map(Happening::Pass),
        1 => any::<bool>().prop_map(Happening::Writes),
        1 => any::<u8>().prop_map(Happening::Ban),
    ]
}

fn happens(bench: &mut Bench, happening: &Happening) {
    let standing: Vec<PeerId> = bench.network.peers().map(|info| info.id).collect();
    let chosen = |i: usize| standing.get(i % standing.len().max(1)).copied();
    match happening {
        Happening::Accept(i) => _ = bench.accept(ip(1 + i / 8, *i, 0, 1)),
        Happening::Dial(i, kind) => {
            let kind = [
                ConnectionKind::OutboundFull,
                ConnectionKind::BlockRelay,
                ConnectionKind::Manual,
                ConnectionKind::Feeler,
                ConnectionKind::AddrFetch,
            ][*kind];
            if let Ok(peer) = bench.network.connect(ip(90, *i, 0, 1), kind, Some(false)) {
                bench.answer_dial(peer);
            }
        }
        Happening::Shake(i, number, services, time) => {
            let Some(peer) = chosen(*i) else { return };
            let said = Version { services: *services | FULL, time: *time, ..version() };
            let said = if *number % 3 == 0 { Version { version: *number, ..said } } else { said };
            bench.say(peer, &Message::Version(said));
            bench.say(peer, &Message::Verack);
        }
        Happening::Frame(i, command, payload) => {
            let Some(peer) = chosen(*i) else { return };
            let bytes = bench.frame(all_commands()[*command], payload);
            bench.bytes(peer, &bytes);
        }
        Happening::Bytes(i, bytes) => {
            let Some(peer) = chosen(*i) else { return };
            bench.bytes(peer, bytes);
        }
        Happening::Close(i) => {
            let Some(peer) = chosen(*i) else { return };
            bench.network.closed(peer, bench.now);
        }
        Happening::Punish(i) => {
            let Some(peer) = chosen(*i) else { return };
            bench.network.punish(peer, "test");
        }
        Happening::Pass(seconds) => bench.pass(Duration::from_secs(*seconds)),
        Happening::Writes(writes) => bench.writes = *writes,
        Happening::Ban(i) => {
            let until = bench.now.unix + 50;
            _ = bench.network.ban(&ip(1 + i / 8, *i, 0, 0).address, 16, until);
        }
    }
    bench.settle();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    /// Whatever peers send in whatever order: no panic, and every bound holds.
    #[test]
    fn any_sequence_of_messages_leaves_the_node_in_order(
        seed in any::<u8>(),
        happenings in prop::collection::vec(happening(), 1..100),
    ) {
        let mut options = quiet();
        options.inbound = 12;
        options.listen = vec![ip(9, 9, 9, 9)];
        let mut bench = Bench::with(network(options, seed));
        for one in &happenings {
            happens(&mut bench, one);
            let inbound = bench.network.peers().filter(|info| info.is_inbound()).count();
            prop_assert!(inbound <= 12);
            for info in bench.network.peers() {
                prop_assert!(bench.network.memory(info.id) < 100_000);
                prop_assert!(bench.network.wants_bytes(info.id));
                prop_assert!(!info.is_ready || info.version.is_some());
            }
        }
        // Who was said to be ready, and is not, was said to be gone.
        let ready = bench.events.iter().filter(|e| matches!(e, caesure_p2p::Event::Ready(_)));
        let gone = bench.events.iter().filter(|e| matches!(e, caesure_p2p::Event::Gone(_)));
        let stand = bench.network.peers().filter(|info| info.is_ready).count();
        prop_assert_eq!(ready.count(), gone.count() + stand);
    }
}
