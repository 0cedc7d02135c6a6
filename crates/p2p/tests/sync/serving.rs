use std::sync::Arc;
use std::time::Duration;

use caesure_consensus::{HeaderId, Work};
use caesure_p2p::{Action, ChainTip, ConnectionKind, Random, Sync, SyncOptions, TipStatus};
use caesure_wire::{BlockHash, BlockTxnRequest, Inventory, Message};

use crate::harness::*;

fn server(count: u32) -> (Node, Vec<Bytes>) {
    let blocks = chain(count, 1);
    (Node::with(options(), at(count), &blocks), blocks)
}

fn told(message: &Message) -> Vec<BlockHash> {
    match message {
        Message::Headers(headers) => headers.iter().map(caesure_wire::Header::hash).collect(),
        Message::Inv(items) => items.iter().map(|item| BlockHash(item.hash)).collect(),
        other => panic!("{other:?}"),
    }
}

fn hashes(blocks: &[Bytes]) -> Vec<BlockHash> {
    blocks.iter().map(|block| hash(block)).collect()
}

#[test]
fn getheaders_is_answered_from_the_fork_to_the_stop_or_2000() {
    let (mut node, blocks) = server(2_100);
    let peer = node.inbound(1);
    let zero = BlockHash::ZERO;
    let genesis = params().genesis_hash;
    let mut ask = |hashes: Vec<BlockHash>, stop| {
        let sent = node.say(peer, Message::GetHeaders(locator(hashes, stop)));
        assert_eq!(sent.len(), 1);
        told(&sent[0])
    };
    assert_eq!(ask(vec![genesis], zero), hashes(&blocks[..2_000]));
    assert_eq!(ask(vec![zero], zero), hashes(&blocks[..2_000]));
    assert_eq!(
        ask(vec![hash(&blocks[99]), genesis], hash(&blocks[104])),
        hashes(&blocks[100..105])
    );
    assert_eq!(ask(vec![hash(&blocks[2_099])], zero), []);
    assert_eq!(ask(vec![], hash(&blocks[6])), hashes(&blocks[6..7]));
}

#[test]
fn getheaders_shows_no_chain_without_the_minimum_work() {
    let blocks = chain(3, 1);
    let mut bytes = [0; 32];
    bytes[31] = 11;
    let options = SyncOptions { minimum_chain_work: Work::from_be_bytes(bytes), ..options() };
    let mut node = Node::with(options, at(3), &blocks);
    let peer = node.inbound(1);
    let ask = Message::GetHeaders(locator(vec![params().genesis_hash], BlockHash::ZERO));
    assert_eq!(node.say(peer, ask.clone()), [Message::Headers(vec![])]);
    node.submit(&mine(hash(&blocks[2]), 3, 3, 1));
    assert_eq!(told(&node.say(peer, ask)[0]).len(), 6);
}

#[test]
fn a_locator_of_101_hashes_is_answered() {
    let (mut node, blocks) = server(3);
    for (id, message) in [(1, Message::GetHeaders as fn(_) -> _), (3, Message::GetBlocks)] {
        let peer = node.inbound(id);
        let at_limit = locator(vec![hash(&blocks[0]); 101], BlockHash::ZERO);
        assert_eq!(node.say(peer, message(at_limit)).len(), 1);
    }
}

#[test]
fn getblocks_tells_500_and_goes_on_after_the_last() {
    let (mut node, blocks) = server(700);
    let peer = node.inbound(1);
    let ask = |from: &Bytes, stop| Message::GetBlocks(locator(vec![hash(from)], stop));
    let sent = node.say(peer, ask(&blocks[0], BlockHash::ZERO));
    assert_eq!(told(&sent[0]), hashes(&blocks[1..501]));
    // The block that ends the batch is followed by the tip.
    let last = item(Inventory::WITNESS_BLOCK, &blocks[500]);
    let sent = node.say(peer, Message::GetData(vec![last]));
    assert_eq!(sent[0], Message::Block(Arc::clone(&blocks[500])));
    assert_eq!(told(&sent[1]), hashes(&blocks[699..]));
    assert_eq!(node.say(peer, Message::GetData(vec![last])).len(), 1);
    let sent = node.say(peer, ask(&blocks[0], hash(&blocks[9])));
    assert_eq!(told(&sent[0]), hashes(&blocks[1..9]));
}

#[test]
fn getdata_is_answered_in_order() {
    let (mut node, blocks) = server(40);
    let peer = node.inbound(1);
    let unknown_tx = Inventory { kind: Inventory::WTX, hash: [9; 32] };
    let mut wanted = vec![unknown_tx];
    wanted.extend(blocks.iter().take(20).map(|block| item(Inventory::WITNESS_BLOCK, block)));
    wanted.push(item(Inventory::COMPACT_BLOCK, &blocks[39]));
    wanted.push(item(Inventory::COMPACT_BLOCK, &blocks[30]));
    wanted.push(unknown_tx);
    let sent = node.say(peer, Message::GetData(wanted));
    assert_eq!(sent[0], Message::NotFound(vec![unknown_tx]));
    let expected: Vec<_> = blocks[..20].iter().map(|block| Message::Block(block.clone())).collect();
    assert_eq!(sent[1..21], expected);
    assert!(matches!(&sent[21], Message::CmpctBlock(c) if c.header == header(&blocks[39])));
    assert_eq!(sent[22], Message::Block(Arc::clone(&blocks[30])));
    assert_eq!(sent[23], Message::NotFound(vec![unknown_tx]));
}

#[test]
fn a_block_is_sent_without_witnesses_when_asked_so() {
    let mut blocks = chain(2, 1);
    let spend = caesure_wire::Transaction {
        version: 2,
        inputs: vec![caesure_wire::TxIn { witness: vec![vec![1; 70]], ..Default::default() }],
        outputs: vec![Default::default()],
        lock_time: 0,
    };
    let mut spend = spend;
    spend.inputs[0].prevout.txid.0 = [3; 32];
    blocks.push(mine_one(hash(&blocks[1]), 3, 1, &[spend.encode()]));
    let mut node = Node::with(options(), at(3), &blocks);
    let peer = node.inbound(1);
    let sent = node.say(peer, Message::GetData(vec![item(Inventory::BLOCK, &blocks[2])]));
    let [Message::Block(stripped)] = &sent[..] else { panic!("{sent:?}") };
    let block = caesure_wire::Block::parse(stripped.as_slice()).unwrap();
    assert!(block.txs().all(|tx| !tx.has_witness()));
    assert_eq!(block.hash(), hash(&blocks[2]));
    assert_eq!(block.merkle_root().0, block.header().merkle_root);
    let sent = node.say(peer, Message::GetData(vec![item(Inventory::WITNESS_BLOCK, &blocks[2])]));
    assert_eq!(sent, [Message::Block(Arc::clone(&blocks[2]))]);
}

#[test]
fn cve_2024_52920_malformed_getdata_is_consumed() {
    let (mut node, blocks) = server(5);
    let peer = node.inbound(1);
    let odd = Inventory { kind: 0x7fff_ffff, hash: hash(&blocks[0]).0 };
    let filtered = item(Inventory::FILTERED_BLOCK, &blocks[0]);
    let unknown = Inventory { kind: Inventory::BLOCK, hash: [7; 32] };
    let mut wanted = vec![odd; 30_000];
    wanted.extend(vec![filtered; 10_000]);
    wanted.extend(vec![unknown; 9_999]);
    wanted.push(item(Inventory::WITNESS_BLOCK, &blocks[4]));
    assert_eq!(wanted.len(), 50_000);
    let sent = node.say(peer, Message::GetData(wanted.clone()));
    assert_eq!(sent, [Message::Block(Arc::clone(&blocks[4]))]);
    // Nothing is left: as many fit again.
    assert_eq!(node.say(peer, Message::GetData(wanted)).len(), 1);
    assert_eq!(node.gone, []);
    node.say(peer, Message::GetData(vec![odd; 50_001]));
    assert_eq!(node.gone.pop().unwrap().0, peer);
}

#[test]
fn reads_are_bounded_for_a_peer_and_in_all() {
    let (mut node, blocks) = server(10);
    node.reads = false;
    let peers: Vec<_> = (0..40).map(|i| node.inbound(1 + 2 * i)).collect();
    let want = |count| Message::GetData(vec![item(Inventory::WITNESS_BLOCK, &blocks[3]); count]);
    for (index, &peer) in peers.iter().enumerate() {
        node.say(peer, want(10));
        assert_eq!(node.unread.len(), (4 * (index + 1)).min(64));
    }
    // Those that had to wait get their turn, and everyone gets all.
    node.sent.clear();
    let mut most = 0;
    while let Some(ticket) = node.unread.pop() {
        node.sync.read(ticket, Some(Arc::clone(&blocks[3])), node.now);
        node.run();
        most = most.max(node.unread.len());
    }
    assert!(most <= 64);
    assert!(peers.iter().all(|&peer| node.sent_to(peer).len() == 10));
}

#[test]
fn a_peer_that_asks_for_more_than_it_takes_is_disconnected() {
    let (mut node, blocks) = server(3);
    let peer = node.inbound(1);
    node.sync.peer_full(peer, true, node.now);
    let want = |count| Message::GetData(vec![item(Inventory::WITNESS_BLOCK, &blocks[0]); count]);
    assert_eq!(node.say(peer, want(50_000)), []);
    assert_eq!(node.gone, []);
    node.say(peer, want(1));
    assert_eq!(node.gone.len(), 1);

    // One that takes its answers late gets them.
    let peer = node.inbound(3);
    node.sync.peer_full(peer, true, node.now);
    assert_eq!(node.say(peer, want(9)), []);
    node.sync.peer_full(peer, false, node.now);
    node.run();
    assert_eq!(node.sent_to(peer).len(), 9);
}

#[test]
fn a_block_that_cannot_be_read_disconnects_who_waits_for_it() {
    let (mut node, blocks) = server(3);
    node.reads = false;
    let peer = node.inbound(1);
    node.say(peer, Message::GetData(vec![item(Inventory::WITNESS_BLOCK, &blocks[0])]));
    let ticket = node.unread.pop().unwrap();
    node.sync.read(ticket, None, node.now);
    node.run();
    assert_eq!(node.gone[0].0, peer);
    // An answer to one who is gone is nobody's.
    node.sync.read(ticket, Some(Arc::clone(&blocks[0])), node.now);
    assert!(node.sync.next_action().is_none());
}

#[test]
fn a_pruned_node_disconnects_who_asks_below_290_blocks() {
    let blocks = chain(300, 1);
    let mut node = Node::with(SyncOptions { pruned: true, ..options() }, at(300), &blocks);
    let peer = node.inbound(1);
    let want =
        |index: usize| Message::GetData(vec![item(Inventory::WITNESS_BLOCK, &blocks[index])]);
    assert_eq!(node.say(peer, want(9)).len(), 1);
    node.sync.pruned(11);
    assert_eq!(node.say(peer, want(9)), []);
    assert_eq!(node.gone, []);
    assert_eq!(node.say(peer, want(8)), []);
    assert_eq!(node.gone[0].0, peer);
    // An inv tells of those alone that are likely to be there for an hour.
    let peer = node.inbound(3);
    let ask =
        |index: usize| Message::GetBlocks(locator(vec![hash(&blocks[index])], BlockHash::ZERO));
    assert_eq!(node.say(peer, ask(0)), []);
    assert_eq!(told(&node.say(peer, ask(17))[0]), hashes(&blocks[18..]));
}

#[test]
fn forks_are_shown_when_valid_and_recent() {
    let (mut node, blocks) = server(10);
    let fork = mine(hash(&blocks[4]), 5, 2, 2);
    node.submit(&fork[..1]);
    node.sync.submit_header(&header(&fork[1]), node.now).unwrap();
    node.run();
    let peer = node.inbound(1);
    let want = |block: &Bytes| Message::GetData(vec![item(Inventory::WITNESS_BLOCK, block)]);
    let show = |block: &Bytes| Message::GetHeaders(locator(vec![], hash(block)));
    assert_eq!(node.say(peer, want(&fork[0])), [Message::Block(Arc::clone(&fork[0]))]);
    assert_eq!(told(&node.say(peer, show(&fork[0]))[0]), hashes(&fork[..1]));
    // Of this the header alone is there.
    assert_eq!(node.say(peer, want(&fork[1])), []);
    assert_eq!(node.say(peer, show(&fork[1])), []);
    // Thirty days of work later it is old.
    node.now = at(5_000);
    node.submit(&mine(hash(&blocks[9]), 10, 30 * 144, 1));
    assert_eq!(node.say(peer, want(&fork[0])), []);
    assert_eq!(node.say(peer, want(&blocks[5])), [Message::Block(Arc::clone(&blocks[5]))]);
}

#[test]
fn getblocktxn_is_answered_to_ten_blocks_deep_and_with_the_block_below() {
    let (mut node, blocks) = server(20);
    let peer = node.inbound(1);
    let ask = |index: usize, indices: &[u16]| {
        let request = BlockTxnRequest { hash: hash(&blocks[index]), indices: indices.to_vec() };
        Message::GetBlockTxn(request)
    };
    for index in [19, 9] {
        let sent = node.say(peer, ask(index, &[0]));
        let [Message::BlockTxn(answer)] = &sent[..] else { panic!("{sent:?}") };
        assert_eq!(answer.hash, hash(&blocks[index]));
        assert!(blocks[index].ends_with(&answer.txs[0]));
    }
    assert_eq!(node.say(peer, ask(8, &[0])), [Message::Block(Arc::clone(&blocks[8]))]);
    node.say(peer, ask(9, &[1]));
    assert_eq!(node.punished, [peer]);
}

#[test]
fn chain_tips_have_cores_statuses() {
    let (mut node, blocks) = server(10);
    let fork =
        |height: u32, count, tag| mine(hash(&blocks[height as usize - 1]), height, count, tag);
    let valid = fork(4, 2, 2);
    node.submit(&valid);
    let headers_only = fork(5, 3, 3);
    for block in &headers_only {
        node.sync.submit_header(&header(block), node.now).unwrap();
    }
    let invalid = fork(6, 2, 4);
    node.bad.insert(hash(&invalid[0]));
    node.submit(&invalid[..1]);
    assert!(node.sync.submit_header(&header(&invalid[1]), node.now).is_err());
    // Blocks are there, but the first was not connected.
    node.judges = false;
    let unjudged = fork(7, 2, 5);
    node.submit(&unjudged);
    for block in [&unjudged[1], &unjudged[0]] {
        node.sync.stored(&hash(block), node.now);
    }
    let tips = node.sync.chain_tips();
    let found: Vec<_> =
        tips.iter().map(|tip| (tip.height, tip.hash, tip.branch_len, tip.status)).collect();
    let expected = [
        (10, hash(&blocks[9]), 0, TipStatus::Active),
        (9, hash(&unjudged[1]), 2, TipStatus::ValidHeaders),
        (8, hash(&headers_only[2]), 3, TipStatus::HeadersOnly),
        (7, hash(&invalid[0]), 1, TipStatus::Invalid),
        (6, hash(&valid[1]), 2, TipStatus::ValidFork),
    ];
    assert_eq!(found, expected);
    // A node that begins with the same headers finds the same ends; what was invalid is not known to it.
    let states = (0..u32::try_from(node.sync.tree().len()).unwrap())
        .map(|id| node.sync.block_state(HeaderId(id)));
    let again = Sync::new(
        options(),
        node.sync.tree().clone(),
        states.collect(),
        node.sync.tip(),
        Random::new([1; 32]),
        node.now,
    );
    let ends = |tips: Vec<ChainTip>| tips.into_iter().map(|tip| tip.id).collect::<Vec<_>>();
    assert_eq!(ends(again.chain_tips()), ends(tips));
    // The user takes the mark away.
    node.sync.reconsidered(&hash(&invalid[0]), node.now);
    let status = node.sync.chain_tips()[3].status;
    assert_eq!(status, TipStatus::ValidHeaders);
}

#[test]
fn the_tip_is_stale_after_three_blocks_time_and_peers_are_tried_until_one_comes() {
    let (mut node, blocks) = server(10);
    let stale = |node: &Node| -> Vec<_> {
        let found = node.other.iter().filter_map(|action| match action {
            Action::StaleTip(is_stale) => Some(*is_stale),
            _ => None,
        });
        found.collect()
    };
    node.pass(Duration::from_secs(29 * 60));
    assert_eq!(stale(&node), []);
    node.pass(Duration::from_secs(12 * 60));
    assert_eq!(stale(&node), [true]);
    // Whoever was tried may have been of no help.
    node.pass(Duration::from_secs(10 * 60));
    assert_eq!(stale(&node), [true, true]);
    node.submit(&mine(hash(&blocks[9]), 10, 1, 1));
    node.pass(Duration::from_secs(20 * 60));
    assert_eq!(stale(&node), [true, true, false]);
}

#[test]
fn a_connection_without_chain_messages_is_not_listened_to_after_it_is_gone() {
    let (mut node, _) = server(1);
    let peer = node.peer(1, ConnectionKind::Inbound);
    node.sync.peer_gone(peer, node.now);
    assert_eq!(node.say(peer, Message::GetHeaders(locator(vec![], BlockHash::ZERO))), []);
    assert_eq!(node.sync.peer_chain(peer), None);
}
