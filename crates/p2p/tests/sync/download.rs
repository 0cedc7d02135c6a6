use std::collections::BTreeSet;
use std::time::Duration;

use caesure_p2p::Random;
use caesure_wire::{BlockHash, Message};
use proptest::prelude::*;

use crate::harness::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Honest,
    /// Every message takes long.
    Slow,
    /// Says nothing at all.
    Mute,
    /// Sends headers, and no block.
    Silent,
    /// Sends blocks with another body.
    Mutating,
    /// Has a branch with less work.
    Behind,
    /// Has a branch with more headers, of which a block is invalid.
    Invalid,
    /// Forgets every other message.
    Lossy,
}

const ROLES: [Role; 8] = [
    Role::Honest,
    Role::Slow,
    Role::Mute,
    Role::Silent,
    Role::Mutating,
    Role::Behind,
    Role::Invalid,
    Role::Lossy,
];

/// Lets a node without blocks download from peers of these roles, and returns the seconds it took.
fn download(roles: &[Role], count: u32, is_recent: bool, seed: u64) -> Option<u64> {
    let blocks = chain(count, 1);
    let fork = mine(hash(&blocks[count as usize / 2 - 1]), count / 2, count / 2 - 1, 2);
    let longer = mine(hash(&blocks[count as usize / 2 - 1]), count / 2, count / 2 + 5, 3);
    let now = if is_recent { at(count + 10) } else { at(count + 3_000) };
    let mut nodes = vec![Node::new(options(), now, 99)];
    nodes[0].bad.insert(hash(&longer[2]));
    let half = &blocks[..count as usize / 2];
    for (role, seed) in roles.iter().zip(0..) {
        let mut node = Node::new(options(), now, seed);
        match role {
            Role::Behind => node.submit(&[half, &fork].concat()),
            Role::Invalid => node.submit(&[half, &longer].concat()),
            _ => node.submit(&blocks),
        }
        nodes.push(node);
    }
    let mut world = World::new(nodes);
    let faulty = roles.to_vec();
    let mut random = Random::new([u8::try_from(seed % 256).unwrap(); 32]);
    world.faults = Box::new(move |from, _, message| {
        let Some(role) = from.checked_sub(1).map(|from| faulty[from]) else { return Way::Through };
        match (role, message) {
            (Role::Slow, _) => Way::Slow(Duration::from_secs(3)),
            (Role::Mute, _) | (Role::Silent, Message::Block(_)) => Way::Lost,
            (Role::Mutating, Message::Block(block)) => Way::Other(Message::Block(mutate(block))),
            (Role::Lossy, _) if random.below(2) == 0 => Way::Lost,
            _ => Way::Slow(Duration::from_millis(random.below(400))),
        }
    });
    for peer in 1..=roles.len() {
        world.link(0, peer);
    }
    let mut seconds = 0;
    while world.nodes[0].tip() != hash(&blocks[count as usize - 1]) {
        if 4 * 3_600 < seconds {
            return None;
        }
        world.pass(Duration::from_secs(1));
        seconds += 1;
        // Those that were lost are dialled again, as long as they were not punished.
        for (peer, role) in roles.iter().enumerate() {
            let is_again = !matches!(role, Role::Mutating | Role::Invalid);
            if seconds % 60 == 0 && is_again && !world.is_linked(0, peer + 1) {
                world.link(0, peer + 1);
            }
        }
    }
    Some(seconds)
}

#[test]
fn blocks_come_in_parallel_from_all_peers() {
    let seconds = download(&[Role::Honest; 4], 2_500, true, 1).unwrap();
    assert!(seconds <= 20, "{seconds}");
}

#[test]
fn a_peer_that_keeps_the_window_from_moving_is_dropped_in_seconds() {
    let roles = [Role::Silent, Role::Honest, Role::Honest];
    let seconds = download(&roles, 2_500, true, 1).unwrap();
    assert!(seconds <= 40, "{seconds}");
}

#[test]
fn each_kind_of_bad_peer_beside_a_good_one_is_survived() {
    for role in ROLES {
        for is_recent in [true, false] {
            let seconds = download(&[role, Role::Honest], 60, is_recent, 5);
            assert!(seconds.is_some(), "{role:?}, recent: {is_recent}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn initial_download_from_slow_silent_and_lying_peers_ends_at_the_most_work(
        mut roles in prop::collection::vec(prop::sample::select(&ROLES[..]), 0..6),
        place in 0_usize..6,
        count in 20_u32..120,
        is_recent: bool,
        seed: u64,
    ) {
        roles.insert(place.min(roles.len()), Role::Honest);
        prop_assert!(download(&roles, count, is_recent, seed).is_some(), "{roles:?}");
    }
}

#[test]
fn nodes_that_mined_apart_agree_once_they_are_connected() {
    let stem = chain(20, 1);
    let branches: Vec<Vec<Bytes>> =
        (0..4).map(|tag| mine(hash(&stem[19]), 20, 5 + 3 * tag, 10 + tag)).collect();
    let nodes = branches.iter().enumerate().map(|(seed, branch)| {
        let mut node = Node::new(options(), at(60), u8::try_from(seed).unwrap());
        node.submit(&stem);
        node.submit(branch);
        node
    });
    let mut world = World::new(nodes.collect());
    for (from, to) in [(0, 1), (1, 2), (2, 3)] {
        world.link(from, to);
    }
    world.pass(Duration::from_secs(30));
    let tips: BTreeSet<BlockHash> = world.nodes.iter().map(Node::tip).collect();
    assert_eq!(tips, [hash(&branches[3][13])].into());
    // The branch beside it that its neighbour had was fetched and connected too: it is near.
    let sync = &world.nodes[3].sync;
    let beside = sync.tree().find(&hash(&branches[2][10])).unwrap();
    assert!(sync.block_state(beside).is_connected && !sync.is_active(beside));
    assert!(world.nodes.iter().all(|node| node.punished.is_empty()));
    // A block that one of them finds goes round.
    let next = mine(tips.into_iter().next().unwrap(), 34, 1, 50);
    world.nodes[0].submit(&next);
    world.pass(Duration::from_secs(2));
    assert!(world.nodes.iter().all(|node| node.tip() == hash(&next[0])));
}
