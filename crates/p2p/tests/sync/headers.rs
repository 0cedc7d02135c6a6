use std::time::Duration;

use caesure_consensus::{HeaderTree, Work};
use caesure_p2p::{Action, ConnectionKind, PeerId, SyncOptions};
use caesure_wire::{BlockHash, Header, Inventory, Message};

use crate::harness::*;

fn is_getheaders(message: &Message) -> bool {
    matches!(message, Message::GetHeaders(_))
}

fn count(sent: &[Message], is_it: impl Fn(&Message) -> bool) -> usize {
    sent.iter().filter(|message| is_it(message)).count()
}

/// As much work as `blocks` blocks of regtest have.
pub fn work(blocks: u16) -> Work {
    let mut bytes = [0; 32];
    bytes[30..].copy_from_slice(&(2 * blocks).to_be_bytes());
    Work::from_be_bytes(bytes)
}

/// Headers as far as they are made of nothing but themselves.
fn cheap_headers(prev: BlockHash, count: u32, tag: u8) -> Vec<Header> {
    let mut header = params().genesis;
    header.prev_block = prev;
    header.version = 0x2000_0000;
    header.merkle_root.0 = [tag; 32];
    let mut headers: Vec<Header> = Vec::new();
    for _ in 0..count {
        header.time += 1;
        caesure_generate::solve(&mut header);
        headers.push(header);
        header.prev_block = header.hash();
    }
    headers
}

#[test]
fn headers_are_asked_of_one_peer_until_the_best_is_of_today() {
    let mut node = Node::new(options(), at(100_000), 1);
    let kinds =
        [ConnectionKind::Inbound, ConnectionKind::OutboundFull, ConnectionKind::OutboundFull];
    let peers: Vec<_> = (0..3).map(|i| node.peer(i, kinds[i as usize])).collect();
    // An inbound one is as good as any while there is no other.
    let asked = |node: &Node, peer| count(&node.sent_to(peer), is_getheaders);
    assert_eq!([1, 0, 0], [0, 1, 2].map(|i| asked(&node, peers[i])));
    node.now = at(50);
    node.sent.clear();
    for &peer in &peers {
        node.sync.message(peer, Message::SendHeaders, node.now);
    }
    node.run();
    assert_eq!([0, 1, 1], [0, 1, 2].map(|i| asked(&node, peers[i])));
}

#[test]
fn a_peer_without_blocks_is_not_asked_for_headers() {
    let mut node = Node::new(options(), at(0), 1);
    let peer = node.peer_with(0, ConnectionKind::OutboundFull, 8);
    assert_eq!(count(&node.sent_to(peer), is_getheaders), 0);
}

#[test]
fn the_sync_peer_is_changed_when_its_headers_do_not_come_in_time() {
    // 144 blocks are missing: 15 minutes and 144 ms.
    let mut node = Node::new(options(), at(1_441), 1);
    let [first, second] = [0, 2].map(|id| node.peer(id, ConnectionKind::OutboundFull));
    node.pass(Duration::from_secs(15 * 60));
    assert_eq!(node.gone, []);
    node.pass(Duration::from_secs(3));
    assert_eq!(node.gone.iter().map(|gone| gone.0).collect::<Vec<_>>(), [first]);
    assert_eq!(count(&node.sent_to(second), is_getheaders), 1);
    // The last one stays.
    node.pass(Duration::from_secs(18 * 60));
    assert_eq!(node.gone.len(), 1);
}

#[test]
fn a_full_message_is_followed_by_the_next_question() {
    let blocks = chain(2_001, 1);
    let mut node = Node::new(options(), at(90_000), 1);
    let peer = node.outbound(0);
    let sent = node.say(peer, headers(&blocks[..2_000]));
    let Some(Message::GetHeaders(locator)) = sent.iter().find(|sent| is_getheaders(sent)) else {
        panic!("{sent:?}")
    };
    assert_eq!(locator.hashes[0], hash(&blocks[1_999]));
    assert_eq!(count(&node.say(peer, headers(&blocks[2_000..])), is_getheaders), 0);
    assert_eq!(node.sync.tree().len(), 2_002);
    assert_eq!(node.sync.peer_chain(peer).unwrap().best_known, Some(node.sync.tree().best()));
}

#[test]
fn headers_that_break_a_rule_are_punished() {
    let blocks = chain(20, 1);
    let all: Vec<_> = blocks.iter().map(|block| header(block)).collect();
    let mut bad_work = all.clone();
    while caesure_consensus::check_header(&bad_work[3], &params()).is_ok() {
        bad_work[3].nonce += 1;
    }
    let gap = [&all[..3], &all[4..]].concat();
    let mut too_old = all[..1].to_vec();
    too_old[0].time = params().genesis.time;
    caesure_generate::solve(&mut too_old[0]);
    for headers in [bad_work, gap, too_old] {
        let mut node = Node::new(options(), at(20), 1);
        let peer = node.outbound(0);
        node.say(peer, Message::Headers(headers.clone()));
        assert_eq!(node.punished, [peer], "{}", headers.len());
        assert_eq!(node.sync.tree().len(), 1);
    }
    // A manual peer stays, and is still listened to.
    let mut node = Node::new(options(), at(20), 1);
    let peer = node.peer(0, ConnectionKind::Manual);
    node.sync.message(peer, Message::Headers(gap_of(&all)), node.now);
    let mut is_punished = false;
    while let Some(action) = node.sync.next_action() {
        is_punished |= matches!(action, Action::Punish { .. });
    }
    assert!(is_punished);
    node.sync.message(peer, Message::Headers(all), node.now);
    assert_eq!(node.sync.tree().len(), 21);
}

fn gap_of(all: &[Header]) -> Vec<Header> {
    [&all[..3], &all[4..]].concat()
}

#[test]
fn headers_on_an_invalid_block_are_punished() {
    let blocks = chain(10, 1);
    let mut node = Node::with(options(), at(10), &blocks[..5]);
    node.bad.insert(hash(&blocks[5]));
    node.submit(&blocks[5..6]);
    let peer = node.outbound(0);
    node.say(peer, headers(&blocks[6..7]));
    assert_eq!(node.punished, [peer]);
    // Of the invalid block itself, only those that we chose.
    let [outbound, inbound] = [node.outbound(2), node.inbound(3)];
    node.say(inbound, headers(&blocks[5..6]));
    assert_eq!(node.punished.len(), 1);
    node.say(outbound, headers(&blocks[5..6]));
    assert_eq!(node.punished, [peer, outbound]);
}

#[test]
fn headers_that_do_not_connect_are_asked_for_once_in_two_minutes() {
    let blocks = chain(10, 1);
    let mut node = Node::with(options(), at(10), &blocks[..3]);
    let peer = node.outbound(0);
    node.say(peer, headers(&blocks[..3]));
    let mut asked = 0;
    for _ in 0..20 {
        asked += count(&node.say(peer, headers(&blocks[8..9])), is_getheaders);
    }
    assert_eq!(asked, 1);
    node.pass(Duration::from_secs(121));
    assert_eq!(count(&node.say(peer, headers(&blocks[8..9])), is_getheaders), 1);
    assert_eq!(node.sync.tree().len(), 4);
    assert_eq!(node.gone, []);
    // The peer counts as having the block once its header is known.
    node.sync.submit_header(&header(&blocks[3]), node.now).unwrap();
    for block in &blocks[4..9] {
        node.sync.submit_header(&header(block), node.now).unwrap();
    }
    node.say(peer, Message::SendHeaders);
    let best = node.sync.tree().find(&hash(&blocks[8]));
    assert_eq!(node.sync.peer_chain(peer).unwrap().best_known, best);
}

#[test]
fn cve_2024_52915_an_inv_leads_to_one_getheaders() {
    let blocks = chain(3, 1);
    let mut node = Node::with(options(), at(3), &blocks);
    let peer = node.outbound(0);
    node.say(peer, headers(&blocks));
    let items = |from: u32| {
        let item = |n: u32| {
            let mut hash = [1; 32];
            hash[..4].copy_from_slice(&n.to_le_bytes());
            Inventory { kind: Inventory::BLOCK, hash }
        };
        Message::Inv((from..from + 50_000).map(item).collect())
    };
    assert_eq!(count(&node.say(peer, items(0)), is_getheaders), 1);
    assert_eq!(node.say(peer, items(60_000)), []);
    assert_eq!(node.gone, []);
    let Message::Inv(mut many) = items(0) else { unreachable!() };
    many.push(many[0]);
    node.say(peer, Message::Inv(many));
    assert_eq!(node.punished, [peer]);
}

#[test]
fn before_the_tip_an_inv_turns_to_one_more_peer_a_block() {
    let mut node = Node::new(options(), at(100_000), 1);
    let peers = [0, 2, 4].map(|id| node.outbound(id));
    let inv = |tag| Message::Inv(vec![Inventory { kind: Inventory::BLOCK, hash: [tag; 32] }]);
    let asked = |node: &mut Node, peer, tag| count(&node.say(peer, inv(tag)), is_getheaders);
    // The first is being asked already; the second is asked, for that block nobody else.
    assert_eq!(asked(&mut node, peers[0], 1), 0);
    assert_eq!(asked(&mut node, peers[1], 1), 1);
    assert_eq!(asked(&mut node, peers[2], 1), 0);
    assert_eq!(asked(&mut node, peers[2], 2), 1);
    node.pass(Duration::from_secs(200));
    assert_eq!(asked(&mut node, peers[1], 3), 0);
}

#[test]
fn cve_2019_25220_and_cve_2024_52916_low_work_headers_leave_nothing() {
    let options = SyncOptions { minimum_chain_work: work(20_000), ..options() };
    let mut node = Node::new(options, at(100_000), 1);
    let peer = node.outbound(0);
    let mut prev = params().genesis_hash;
    let mut time = params().genesis.time;
    for step in 0..4_u16 {
        let mut batch = Vec::new();
        for _ in 0..2_000 {
            time += 1;
            let mut header = Header { time, prev_block: prev, ..params().genesis };
            header.version = 0x2000_0000;
            caesure_generate::solve(&mut header);
            prev = header.hash();
            batch.push(header);
        }
        let sent = node.say(peer, Message::Headers(batch));
        assert_eq!(count(&sent, is_getheaders), 1);
        assert_eq!(node.sync.tree().len(), 1);
        assert_eq!(presync_height(&node, peer), Some(2_000 * u32::from(step + 1)));
    }
    // The chain ends there: all was for nothing, and an outbound peer with it.
    node.say(peer, Message::Headers(vec![]));
    assert_eq!(presync_height(&node, peer), None);
    assert_eq!(node.sync.tree().len(), 1);
    // A short message of too little work is not even begun with.
    let batch = cheap_headers(params().genesis_hash, 1_999, 3);
    assert_eq!(node.say(peer, Message::Headers(batch)), []);
    assert_eq!(node.sync.tree().len(), 1);
    assert_eq!(presync_height(&node, peer), None);
}

fn presync_height(node: &Node, peer: PeerId) -> Option<u32> {
    node.sync.peer_chain(peer).unwrap().presync_height
}

#[test]
fn a_chain_that_shows_its_work_is_taken_after_the_second_download() {
    let blocks = cheap_headers(params().genesis_hash, 9_500, 1);
    let options = SyncOptions { minimum_chain_work: work(9_000), ..options() };
    let mut node = Node::new(options, at(9_500), 1);
    let peer = node.outbound(0);
    let mut next = 0;
    let mut messages = 0;
    while node.sync.tree().len() < 9_501 && messages < 20 {
        messages += 1;
        let end = blocks.len().min(next + 2_000);
        let sent = node.say(peer, Message::Headers(blocks[next..end].to_vec()));
        let Some(Message::GetHeaders(locator)) = sent.iter().find(|sent| is_getheaders(sent))
        else {
            break;
        };
        let at = |hash: &BlockHash| blocks.iter().position(|header| header.hash() == *hash);
        next = locator.hashes.iter().find_map(at).map_or(0, |at| at + 1);
    }
    assert_eq!(node.sync.tree().len(), 9_501);
    assert_eq!(node.gone, []);
    assert_eq!(presync_height(&node, peer), None);
}

#[test]
fn an_outbound_peer_whose_chain_has_too_little_work_is_dropped_while_behind() {
    let blocks = chain(10, 1);
    let options = SyncOptions { minimum_chain_work: work(50), ..options() };
    let mut node = Node::new(options, at(100_000), 1);
    // Its headers reach the tree through the user, so that they are not low work to be ignored.
    for block in &blocks {
        node.sync.submit_header(&header(block), node.now).unwrap();
    }
    let [outbound, inbound] = [node.outbound(0), node.inbound(1)];
    node.say(inbound, headers(&blocks));
    assert_eq!(node.gone, []);
    node.say(outbound, headers(&blocks));
    assert_eq!(node.gone[0].0, outbound);
}

#[test]
fn outbound_peers_with_less_work_are_evicted_but_for_four() {
    let blocks = chain(30, 1);
    let mut node = Node::with(options(), at(30), &blocks[..20]);
    let good: Vec<_> = (0..5).map(|i| node.outbound(2 * i)).collect();
    for &peer in &good {
        node.say(peer, headers(&blocks[..20]));
    }
    let protects = |action: &&Action| matches!(action, Action::Protect(_));
    assert_eq!(node.other.iter().filter(protects).count(), 4);
    let behind = node.peer(20, ConnectionKind::BlockRelay);
    node.say(behind, headers(&blocks[..10]));
    let inbound = node.inbound(21);
    node.say(inbound, headers(&blocks[..10]));
    // From now on the fifth is behind too.
    node.submit(&blocks[20..]);
    node.pass(Duration::from_secs(20 * 60 - 5));
    assert_eq!(node.gone, []);
    node.pass(Duration::from_secs(10));
    assert_eq!(count(&node.sent_to(behind), is_getheaders), 1);
    node.pass(Duration::from_secs(125));
    let mut gone: Vec<_> = node.gone.iter().map(|gone| gone.0).collect();
    gone.sort();
    assert_eq!(gone, [good[4], behind]);
}

#[test]
fn an_outbound_peer_that_catches_up_in_time_stays() {
    let blocks = chain(30, 1);
    let mut node = Node::with(options(), at(30), &blocks);
    let peer = node.peer(0, ConnectionKind::BlockRelay);
    node.say(peer, headers(&blocks[..10]));
    node.pass(Duration::from_secs(20 * 60 + 5));
    node.say(peer, headers(&blocks[10..]));
    node.pass(Duration::from_secs(60 * 60));
    assert_eq!(node.gone, []);
}

#[test]
fn the_initial_download_is_over_when_the_tip_is_of_today_and_stays_so() {
    let blocks = chain(2, 1);
    let mut node = Node::new(options(), at(2 + 24 * 60), 1);
    node.submit(&blocks[..1]);
    assert!(node.sync.is_initial_download());
    node.submit(&blocks[1..]);
    assert!(!node.sync.is_initial_download());
    node.now = at(1_000_000);
    node.submit(&mine(hash(&blocks[1]), 2, 1, 1));
    assert!(!node.sync.is_initial_download());
    // Nor is it while the chain has not the minimum work.
    let mut node = Node::new(SyncOptions { minimum_chain_work: work(4), ..options() }, at(2), 1);
    node.submit(&blocks);
    assert!(node.sync.is_initial_download());
    node.submit(&mine(hash(&blocks[1]), 2, 1, 1));
    assert!(!node.sync.is_initial_download());
}

#[test]
fn a_user_hands_over_headers_and_blocks() {
    let blocks = chain(3, 1);
    let mut node = Node::new(options(), at(3), 1);
    let submit = |node: &mut Node, block: &Bytes| {
        let answer = node.sync.submit_block(block.clone(), node.now);
        node.run();
        answer.map(|submitted| format!("{submitted:?}")).unwrap_or_else(|error| error.to_string())
    };
    let orphan = header(&blocks[1]);
    let error = node.sync.submit_header(&orphan, node.now).unwrap_err().to_string();
    assert_eq!(error, format!("Must submit previous header ({}) first", hash(&blocks[0])));
    assert_eq!(submit(&mut node, &blocks[1]), "prev-blk-not-found");
    assert_eq!(submit(&mut node, &mutate(&blocks[0])), "bad-txnmrklroot");
    assert_eq!(submit(&mut node, &blocks[0]), "Taken");
    assert_eq!(submit(&mut node, &blocks[0]), "Duplicate");
    assert!(node.sync.submit_block(blocks[1][..90].to_vec().into(), node.now).is_err());
    node.bad.insert(hash(&blocks[1]));
    assert_eq!(submit(&mut node, &blocks[1]), "Taken");
    assert_eq!(submit(&mut node, &blocks[1]), "duplicate-invalid");
    assert_eq!(submit(&mut node, &blocks[2]), "bad-prevblk");
    assert_eq!(node.sync.tree().find(&params().genesis_hash), Some(HeaderTree::GENESIS));
}
