use std::sync::Arc;
use std::time::Duration;

use caesure_p2p::{Action, PeerId, SyncError, SyncOptions};
use caesure_wire::{BlockHash, Header, Inventory, Message};

use crate::harness::*;
use crate::headers::work;

/// The blocks that a peer is asked for.
fn wanted(sent: &[Message]) -> Vec<BlockHash> {
    let items = sent.iter().filter_map(|message| match message {
        Message::GetData(items) => Some(items),
        _ => None,
    });
    items.flatten().map(|item| BlockHash(item.hash)).collect()
}

fn hashes(blocks: &[Bytes]) -> Vec<BlockHash> {
    blocks.iter().map(|block| hash(block)).collect()
}

/// A node at the tip of `blocks`, and a peer that announced them.
fn at_tip(blocks: &[Bytes]) -> (Node, PeerId) {
    let count = u32::try_from(blocks.len()).unwrap();
    let mut node = Node::with(options(), at(count), blocks);
    let peer = node.outbound(0);
    node.say(peer, headers(blocks));
    (node, peer)
}

#[test]
fn blocks_are_asked_for_taken_and_counted_for_the_peer() {
    let blocks = chain(3, 1);
    let mut node = Node::new(options(), at(3), 1);
    let peer = node.outbound(0);
    assert_eq!(wanted(&node.say(peer, headers(&blocks))), hashes(&blocks));
    let chain = node.sync.peer_chain(peer).unwrap();
    assert_eq!(chain.in_flight, [1, 2, 3]);
    for block in [&blocks[2], &blocks[0], &blocks[1]] {
        node.say(peer, Message::Block(Arc::clone(block)));
    }
    assert_eq!(node.height(), 3);
    let notes = node.other.iter().filter(|action| **action == Action::NoteBlock(peer));
    assert_eq!(notes.count(), 3);
    assert_eq!(node.sync.peer_chain(peer).unwrap().in_flight, []);
}

#[test]
fn blocks_under_too_little_work_are_not_asked_for() {
    let blocks = chain(10, 1);
    let options = SyncOptions { minimum_chain_work: work(20), ..options() };
    let mut node = Node::new(options, at(100_000), 1);
    for block in &blocks {
        node.sync.submit_header(&header(block), node.now).unwrap();
    }
    let peer = node.inbound(1);
    assert_eq!(wanted(&node.say(peer, headers(&blocks))), []);
    // Nor are they taken unasked.
    node.say(peer, Message::Block(Arc::clone(&blocks[0])));
    assert_eq!(node.height(), 0);
    assert_eq!(node.gone, []);
}

#[test]
fn unsolicited_blocks_are_taken_with_the_work_of_the_tip_and_near_it() {
    let blocks = chain(300, 1);
    let (mut node, peer) = at_tip(&blocks[..5]);
    let stored = |node: &Node, block: &Bytes| node.store.contains_key(&hash(block));
    let fork = mine(hash(&blocks[2]), 3, 3, 2);
    // One with less work than the tip's is not.
    node.say(peer, Message::Block(Arc::clone(&fork[0])));
    assert!(!stored(&node, &fork[0]));
    // One with as much is, though its parent is missing.
    node.say(peer, Message::Block(Arc::clone(&fork[1])));
    assert!(stored(&node, &fork[1]));
    // 288 blocks ahead is near, 289 is not.
    node.now = at(300);
    for block in &blocks[5..294] {
        node.sync.submit_header(&header(block), node.now).unwrap();
    }
    node.run();
    node.judges = false;
    node.say(peer, Message::Block(Arc::clone(&blocks[293])));
    assert_eq!(node.unjudged.len(), 0);
    node.say(peer, Message::Block(Arc::clone(&blocks[292])));
    assert_eq!(node.unjudged.len(), 1);
    assert_eq!(node.gone, []);
}

#[test]
fn a_block_without_a_known_parent_is_punished() {
    let blocks = chain(5, 1);
    let (mut node, peer) = at_tip(&blocks[..2]);
    node.say(peer, Message::Block(Arc::clone(&blocks[4])));
    assert_eq!(node.punished, [peer]);
}

#[test]
fn what_is_no_block_is_ignored() {
    let blocks = chain(2, 1);
    let (mut node, peer) = at_tip(&blocks);
    for bytes in [vec![], vec![0; 79], blocks[0][..90].to_vec(), [&blocks[0][..], &[0]].concat()] {
        assert_eq!(node.say(peer, Message::Block(Arc::new(bytes))), []);
    }
    assert_eq!(node.gone, []);
}

#[test]
fn cve_2024_52921_a_mutated_block_clears_nobody_elses_request() {
    let blocks = chain(3, 1);
    let (mut node, honest) = at_tip(&blocks[..2]);
    assert_eq!(wanted(&node.say(honest, headers(&blocks[2..]))), hashes(&blocks[2..]));
    let liar = node.inbound(1);
    node.say(liar, Message::Block(mutate(&blocks[2])));
    assert_eq!(node.punished, [liar]);
    assert_eq!(node.sync.peer_chain(honest).unwrap().in_flight, [3]);
    assert_eq!(node.height(), 2);
    node.say(honest, Message::Block(Arc::clone(&blocks[2])));
    assert_eq!(node.height(), 3);
    assert_eq!(node.punished, [liar]);
}

#[test]
fn ten_thousand_mutated_bodies_leave_nothing_and_the_true_block_is_taken() {
    let blocks = chain(3, 1);
    let (mut node, honest) = at_tip(&blocks[..2]);
    node.say(honest, headers(&blocks[2..]));
    for id in 0..10_000 {
        let liar = node.inbound(2 * id + 1);
        node.say(liar, Message::Block(mutate(&blocks[2])));
    }
    assert_eq!(node.punished.len(), 10_000);
    assert_eq!(node.store.len(), 2);
    node.say(honest, Message::Block(Arc::clone(&blocks[2])));
    assert_eq!(node.height(), 3);
}

#[test]
fn an_invalid_block_marks_its_branch_and_is_punished() {
    let blocks = chain(8, 1);
    let (mut node, peer) = at_tip(&blocks[..3]);
    let other = node.outbound(2);
    node.bad.insert(hash(&blocks[3]));
    node.say(peer, headers(&blocks[3..]));
    for block in &blocks[3..] {
        node.say(peer, Message::Block(Arc::clone(block)));
    }
    assert_eq!(node.punished, [peer]);
    assert_eq!(node.height(), 3);
    let tree = node.sync.tree();
    assert!(tree.is_invalid(tree.find(&hash(&blocks[7])).unwrap()));
    let refusal = |at: usize| node.sync.refusal(tree.find(&hash(&blocks[at])).unwrap());
    assert_eq!([2, 4].map(refusal), [None; 2]);
    assert!(refusal(3).is_some_and(|reason| !reason.is_empty()));
    assert_eq!(tree.best(), node.sync.tip());
    // Nobody is asked for what is on top of it.
    assert_eq!(wanted(&node.say(other, Message::SendHeaders)), []);
    assert!(node.sync.peer_chain(other).unwrap().in_flight.is_empty());
}

#[test]
fn a_block_that_is_being_judged_is_not_asked_for_again() {
    let blocks = chain(3, 1);
    let (mut node, peer) = at_tip(&blocks[..2]);
    node.judges = false;
    node.say(peer, headers(&blocks[2..]));
    node.say(peer, Message::Block(Arc::clone(&blocks[2])));
    let other = node.outbound(2);
    assert_eq!(wanted(&node.say(other, headers(&blocks[2..]))), []);
    node.say(other, Message::Block(Arc::clone(&blocks[2])));
    assert_eq!(node.unjudged.len(), 1);
    node.judge_waiting();
    assert_eq!(node.height(), 3);
}

#[test]
fn no_more_blocks_are_asked_for_while_32_mib_wait_for_the_validator() {
    let data = vec![0; 900_000];
    let mut blocks: Vec<Bytes> = Vec::new();
    let mut prev = params().genesis_hash;
    for height in 1..=60 {
        let outputs = vec![caesure_wire::TxOut { value: 0, script_pubkey: data.clone() }];
        let coinbase = caesure_generate::coinbase(height, 1, outputs);
        let time = params().genesis.time + 60 * height;
        let block = caesure_generate::mine_block(prev, time, coinbase, &[]);
        prev = hash(&block);
        blocks.push(Arc::new(block));
    }
    let mut node = Node::new(options(), at(60), 1);
    node.judges = false;
    let peer = node.outbound(0);
    let mut asked = wanted(&node.say(peer, headers(&blocks)));
    let mut given = 0;
    while given < asked.len() {
        let block = blocks.iter().find(|block| hash(block) == asked[given]).unwrap().clone();
        asked.extend(wanted(&node.say(peer, Message::Block(block))));
        given += 1;
    }
    // 38 wait when it is noticed, and 15 were asked for before.
    assert!((38..=54).contains(&given), "{given}");
    assert_eq!(node.unjudged.len(), given);
    node.judge_waiting();
    node.pass(Duration::from_secs(1));
    assert_eq!(wanted(&node.sent_to(peer)).len(), 16.min(60 - given));
}

#[test]
fn a_peer_that_has_not_what_it_announced_is_given_up_for_another() {
    let blocks = chain(3, 1);
    let (mut node, peer) = at_tip(&blocks[..2]);
    let other = node.outbound(2);
    node.say(peer, headers(&blocks[2..]));
    assert_eq!(wanted(&node.say(other, headers(&blocks[2..]))), []);
    let missing = item(Inventory::WITNESS_BLOCK, &blocks[2]);
    // Nobody else's request ends by it.
    node.say(other, Message::NotFound(vec![missing]));
    assert_eq!(node.gone, []);
    node.say(peer, Message::NotFound(vec![missing]));
    assert_eq!(node.gone[0].0, peer);
    node.pass(Duration::from_secs(1));
    assert_eq!(wanted(&node.sent_to(other)), hashes(&blocks[2..]));
}

#[test]
fn a_branch_with_less_work_is_fetched_within_144_blocks_of_the_tip_only() {
    let blocks = chain(400, 1);
    let (mut node, _) = at_tip(&blocks);
    for (height, is_wanted) in [(256, true), (255, false)] {
        let tag = 2 + height;
        let fork = mine(hash(&blocks[height as usize - 11]), height - 10, 10, tag);
        // The header is there, whatever its work.
        for block in &fork {
            node.sync.submit_header(&header(block), node.now).unwrap();
        }
        let peer = node.outbound(u64::from(2 * height));
        let asked = wanted(&node.say(peer, headers(&fork)));
        assert_eq!(asked, if is_wanted { hashes(&fork) } else { vec![] }, "{height}");
        for block in fork.iter().filter(|_| is_wanted) {
            node.say(peer, Message::Block(Arc::clone(block)));
        }
        let last = node.sync.tree().find(&hash(&fork[9])).unwrap();
        assert_eq!(node.sync.block_state(last).is_connected, is_wanted);
    }
    assert_eq!(node.height(), 400);
}

#[test]
fn a_user_has_a_block_fetched_from_one_peer() {
    let blocks = chain(4, 1);
    let (mut node, peer) = at_tip(&blocks[..3]);
    let fork = mine(hash(&blocks[0]), 1, 1, 2);
    let get = |node: &mut Node, block: &Bytes, peer: u64| {
        let answer = node.sync.get_block_from_peer(&hash(block), PeerId(peer), node.now);
        node.sent.clear();
        node.run();
        answer
    };
    assert_eq!(get(&mut node, &fork[0], 0), Err(SyncError::NoHeader));
    assert_eq!(get(&mut node, &blocks[0], 0), Err(SyncError::HaveBlock));
    node.sync.submit_header(&header(&fork[0]), node.now).unwrap();
    assert_eq!(get(&mut node, &fork[0], 8), Err(SyncError::NoPeer));
    assert_eq!(get(&mut node, &fork[0], 0), Ok(()));
    assert_eq!(wanted(&node.sent_to(peer)), hashes(&fork));
    // It is taken, with less work than the tip's.
    node.say(peer, Message::Block(Arc::clone(&fork[0])));
    assert!(node.store.contains_key(&hash(&fork[0])));
    let old = node.peer_with(3, caesure_p2p::ConnectionKind::Inbound, 1);
    assert_eq!(get(&mut node, &fork[0], old.0), Err(SyncError::HaveBlock));
    node.sync.submit_header(&header(&blocks[3]), node.now).unwrap();
    assert_eq!(get(&mut node, &blocks[3], old.0), Err(SyncError::NoWitnesses));
}

#[test]
fn new_blocks_are_announced_as_each_peer_wants_them() {
    let blocks = chain(30, 1);
    let (mut node, from) = at_tip(&blocks[..10]);
    let by_headers = node.inbound(1);
    node.say(by_headers, Message::SendHeaders);
    let by_inv = node.inbound(3);
    for peer in [by_headers, by_inv] {
        node.say(peer, headers(&blocks[..10]));
    }
    let unknowing = node.inbound(5);
    node.say(unknowing, Message::SendHeaders);
    node.sent.clear();
    node.submit(&blocks[10..11]);
    assert_eq!(node.sent_to(by_headers), [headers(&blocks[10..11])]);
    let inv = |block: &Bytes| Message::Inv(vec![item(Inventory::BLOCK, block)]);
    assert_eq!(node.sent_to(by_inv), [inv(&blocks[10])]);
    // A header would not follow on anything that this one is known to have.
    assert_eq!(node.sent_to(unknowing), [inv(&blocks[10])]);
    // Who has a block is not told of it.
    node.say(from, headers(&blocks[11..12]));
    node.say(from, Message::Block(Arc::clone(&blocks[11])));
    assert_eq!(node.sent_to(from), []);
    assert_eq!(node.sent_to(by_headers), [headers(&blocks[11..12])]);
}

#[test]
fn of_a_reorganisation_up_to_eight_blocks_are_announced_by_headers_else_the_tip() {
    let blocks = chain(10, 1);
    for (fork_at, expects_headers) in [(4, true), (1, false)] {
        let (mut node, _) = at_tip(&blocks);
        let peer = node.inbound(1);
        node.say(peer, Message::SendHeaders);
        node.say(peer, headers(&blocks));
        let fork = mine(hash(&blocks[fork_at - 1]), fork_at as u32, 11 - fork_at as u32, 2);
        // All at once: the last to come is the first.
        for block in fork[1..].iter().rev() {
            for header in fork.iter().map(|block| header(block)) {
                let _ = node.sync.submit_header(&header, node.now);
            }
            node.submit(std::slice::from_ref(block));
        }
        node.sent.clear();
        node.submit(&fork[..1]);
        assert_eq!(node.height(), 11);
        let told = node.sent_to(peer);
        // The chain moved block by block, so that what was announced last is what counts.
        let Some(last) = told.last() else { panic!("nothing was told") };
        match (expects_headers, last) {
            (true, Message::Headers(headers)) => {
                assert_eq!(headers.last().map(Header::hash), Some(hash(&fork[fork.len() - 1])));
            }
            (false, Message::Inv(_)) => {}
            _ => panic!("{last:?}"),
        }
    }
}

#[test]
fn nothing_is_announced_during_the_initial_download() {
    let blocks = chain(5, 1);
    let mut node = Node::new(options(), at(100_000), 1);
    let peer = node.inbound(1);
    node.submit(&blocks);
    assert_eq!(node.height(), 5);
    assert!(!node.sent_to(peer).iter().any(|message| matches!(message, Message::Inv(_))));
}

#[test]
fn who_sent_blocks_is_remembered_of_4096() {
    // Blocks that are stored and never connected, since the first is missing.
    let blocks = chain(2, 1);
    let (mut node, peer) = at_tip(&blocks[..1]);
    let mut first = None;
    for tag in 0..4_100 {
        let parent = mine_one(hash(&blocks[0]), 2, 10 + tag, &[]);
        node.sync.submit_header(&header(&parent), node.now).unwrap();
        let child = mine_one(hash(&parent), 3, 10 + tag, &[]);
        node.say(peer, Message::Block(Arc::clone(&child)));
        first.get_or_insert((parent, child));
    }
    assert_eq!(node.store.len(), 4_101);
    // Nobody is blamed for the first any more.
    let (parent, child) = first.unwrap();
    node.bad.insert(hash(&child));
    node.submit(&[parent]);
    assert_eq!(node.punished, []);
}
