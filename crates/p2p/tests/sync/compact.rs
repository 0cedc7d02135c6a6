use std::sync::Arc;

use caesure_p2p::{ConnectionKind, PeerId, SyncOptions, TxHash, TxPool, TxVerdict, compact_block};
use caesure_wire::{
    Block, BlockTxn, BlockTxnRequest, CompactBlock, Inventory, Message, Transaction, Tx, TxIn,
    TxOut, Wtxid,
};

use crate::harness::*;

fn tx(n: u8) -> Vec<u8> {
    let mut input = TxIn::default();
    input.prevout.txid.0 = [n + 1; 32];
    let outputs = vec![TxOut { value: 1, script_pubkey: vec![0x51] }];
    Transaction { version: 2, inputs: vec![input], outputs, lock_time: 0 }.encode()
}

/// 10 blocks, and one on top with three transactions besides its coinbase.
fn blocks() -> (Vec<Bytes>, Bytes) {
    let blocks = chain(10, 1);
    let txs: Vec<_> = (0..3).map(tx).collect();
    let next = mine_one(hash(&blocks[9]), 11, 1, &txs);
    (blocks, next)
}

fn compact(block: &[u8], nonce: u64) -> CompactBlock {
    compact_block(&Block::parse(block).unwrap(), nonce)
}

fn txs_of(block: &[u8], indices: &[u16]) -> Message {
    let hash = hash(block);
    let block = Block::parse(block).unwrap();
    let txs = indices.iter().map(|&i| Arc::new(block.tx(i.into()).bytes().to_vec())).collect();
    Message::BlockTxn(BlockTxn { hash, txs })
}

fn missing(block: &[u8]) -> Message {
    Message::GetBlockTxn(BlockTxnRequest { hash: hash(block), indices: vec![1, 2, 3] })
}

const LOW: Message = Message::SendCmpct { announce: false, version: 2 };
const HIGH: Message = Message::SendCmpct { announce: true, version: 2 };

/// A node at the tip with peers of which the first `3` were told to announce by compact blocks.
fn with_peers(kinds: &[ConnectionKind]) -> (Node, Vec<PeerId>, Vec<Bytes>, Bytes) {
    let (mut blocks, _) = blocks();
    let mut node = Node::with(options(), at(14), &blocks);
    let mut peers = Vec::new();
    for (id, &kind) in (0..).zip(kinds) {
        let peer = node.peer(id, kind);
        node.say(peer, LOW);
        node.say(peer, headers(&blocks));
        let last = blocks.len() - 1;
        blocks.push(mine_one(hash(&blocks[last]), last as u32 + 2, 1, &[]));
        let block = Arc::clone(&blocks[last + 1]);
        node.say(peer, headers(&[Arc::clone(&block)]));
        let sent = node.say(peer, Message::Block(block));
        assert!(sent.contains(&HIGH), "{sent:?}");
        peers.push(peer);
    }
    let last = blocks.len() - 1;
    let txs: Vec<_> = (0..3).map(tx).collect();
    let next = mine_one(hash(&blocks[last]), last as u32 + 2, 1, &txs);
    (node, peers, blocks, next)
}

use ConnectionKind::{Inbound, OutboundFull};

#[test]
fn a_compact_block_is_put_together_with_one_question() {
    let (mut node, peers, _, next) = with_peers(&[OutboundFull]);
    let sent = node.say(peers[0], Message::CmpctBlock(compact(&next, 5)));
    assert_eq!(sent, [missing(&next)]);
    node.say(peers[0], txs_of(&next, &[1, 2, 3]));
    assert_eq!(node.tip(), hash(&next));
    assert_eq!(node.store[&hash(&next)], next);
}

#[test]
fn an_empty_compact_block_needs_no_question() {
    let (mut node, peers, blocks, _) = with_peers(&[OutboundFull]);
    let next = mine(hash(&blocks[10]), 11, 1, 1).remove(0);
    let sent = node.say(peers[0], Message::CmpctBlock(compact(&next, 5)));
    assert_eq!(sent, []);
    assert_eq!(node.tip(), hash(&next));
}

/// A pool that only has what compact blocks are made of.
struct Known(Vec<(Wtxid, Bytes)>);

impl TxPool for Known {
    fn is_open(&self) -> bool {
        true
    }

    fn knows(&self, _: &TxHash) -> bool {
        false
    }

    fn get(&self, _: &TxHash) -> Option<Bytes> {
        None
    }

    fn accept(&mut self, _: &Bytes) -> TxVerdict {
        TxVerdict::Refused
    }

    fn min_fee_rate(&self) -> i64 {
        0
    }

    fn pays(&self, _: &TxHash, _: i64) -> bool {
        true
    }

    fn transactions(&self) -> Box<dyn Iterator<Item = (Wtxid, &Bytes)> + '_> {
        Box::new(self.0.iter().map(|(wtxid, bytes)| (*wtxid, bytes)))
    }
}

#[test]
fn what_the_pool_has_is_not_asked_for() {
    for known in 0..=3 {
        let (mut node, peers, _, next) = with_peers(&[OutboundFull]);
        let txs = (0..known).map(|n| {
            let bytes = tx(n);
            (Tx::parse(&bytes[..]).unwrap().view().wtxid(), Arc::new(bytes))
        });
        node.sync.set_pool(Box::new(Known(txs.collect())));
        let sent = node.say(peers[0], Message::CmpctBlock(compact(&next, 5)));
        let indices: Vec<u16> = (u16::from(known) + 1..4).collect();
        if !indices.is_empty() {
            let request = BlockTxnRequest { hash: hash(&next), indices: indices.clone() };
            assert!(sent.contains(&Message::GetBlockTxn(request)));
            node.say(peers[0], txs_of(&next, &indices));
        }
        assert_eq!(node.tip(), hash(&next));
    }
}

#[test]
fn cve_2024_35202_short_ids_that_collide_fall_back_to_the_block() {
    let (mut node, peers, _, next) = with_peers(&[OutboundFull, Inbound]);
    let mut colliding = compact(&next, 5);
    colliding.short_ids[1] = colliding.short_ids[0];
    let whole = Message::GetData(vec![item(Inventory::WITNESS_BLOCK, &next)]);
    assert_eq!(node.say(peers[0], Message::CmpctBlock(colliding.clone())), [whole]);
    // Another peer's collision asks for nothing, since the first was asked.
    assert_eq!(node.say(peers[1], Message::CmpctBlock(colliding)), []);
    node.say(peers[0], Message::Block(Arc::clone(&next)));
    assert_eq!(node.tip(), hash(&next));
    assert_eq!(node.gone, []);
}

#[test]
fn a_compact_block_is_asked_for_when_one_block_is_missing_at_the_tip() {
    let (blocks, next) = blocks();
    let mut node = Node::with(options(), at(11), &blocks);
    let peer = node.outbound(0);
    node.say(peer, LOW);
    let sent = node.say(peer, headers(&[Arc::clone(&next)]));
    let wanted = item(Inventory::COMPACT_BLOCK, &next);
    assert!(sent.contains(&Message::GetData(vec![wanted])), "{sent:?}");
    // It was asked for, so that a low-bandwidth peer may send it.
    assert_eq!(node.say(peer, Message::CmpctBlock(compact(&next, 5))), [missing(&next)]);
    let sent = node.say(peer, txs_of(&next, &[1, 2, 3]));
    assert_eq!(node.tip(), hash(&next));
    assert_eq!(sent, [HIGH]);
}

#[test]
fn unsolicited_compact_blocks_of_other_peers_are_ignored() {
    let (blocks, next) = blocks();
    let mut node = Node::with(options(), at(11), &blocks);
    let [understands, silent] = [node.outbound(0), node.outbound(2)];
    node.say(understands, LOW);
    for peer in [understands, silent] {
        let sent = node.say(peer, Message::CmpctBlock(compact(&next, 5)));
        assert!(!sent.contains(&missing(&next)), "{sent:?}");
        // Of one that understands them the header is taken, and the block asked for as any.
        assert_eq!(sent.is_empty(), peer == silent);
    }
    let blocks_only = SyncOptions { blocks_only: true, ..options() };
    let mut node = Node::with(blocks_only, at(11), &blocks);
    let peer = node.outbound(0);
    node.say(peer, LOW);
    assert_eq!(node.say(peer, Message::CmpctBlock(compact(&next, 5))), []);
    assert_eq!(node.sync.tree().len(), 11);
}

#[test]
fn a_compact_block_without_a_known_parent_asks_for_headers() {
    let (mut node, peers, _, next) = with_peers(&[OutboundFull]);
    let after = mine_one(hash(&next), 13, 1, &[]);
    let sent = node.say(peers[0], Message::CmpctBlock(compact(&after, 5)));
    assert!(matches!(&sent[..], [Message::GetHeaders(_)]), "{sent:?}");
}

#[test]
fn cve_2024_35202_transactions_that_come_twice_or_do_not_fit_fall_back_to_the_block() {
    let (mut node, peers, _, next) = with_peers(&[OutboundFull]);
    node.say(peers[0], Message::CmpctBlock(compact(&next, 5)));
    // As many, but others: it may be a collision of short ids.
    let sent = node.say(peers[0], txs_of(&next, &[1, 1, 1]));
    let whole = Message::GetData(vec![item(Inventory::WITNESS_BLOCK, &next)]);
    assert_eq!(sent, [whole]);
    assert_eq!(node.punished, []);
    // The second answer to one question.
    node.say(peers[0], txs_of(&next, &[1, 2, 3]));
    assert_eq!(node.punished, [peers[0]]);
    // The true block is still taken of another.
    let other = node.outbound(8);
    node.say(other, headers(&[Arc::clone(&next)]));
    node.say(other, Message::Block(Arc::clone(&next)));
    assert_eq!(node.tip(), hash(&next));
}

#[test]
fn transactions_that_nobody_asked_for_are_ignored() {
    let (mut node, peers, blocks, next) = with_peers(&[OutboundFull]);
    node.say(peers[0], txs_of(&next, &[1, 2, 3]));
    node.say(peers[0], txs_of(&blocks[3], &[0]));
    assert_eq!(node.gone, []);
    assert_eq!(node.height(), 11);
}

#[test]
fn cve_2024_52922_up_to_three_compact_blocks_are_fetched_at_a_time() {
    let (mut node, peers, _, next) = with_peers(&[OutboundFull, Inbound, Inbound]);
    for &peer in &peers {
        assert_eq!(node.say(peer, Message::CmpctBlock(compact(&next, 5))), [missing(&next)]);
    }
    // The first stalls; the last to be asked gives the block, and all requests end.
    node.say(peers[2], txs_of(&next, &[1, 2, 3]));
    assert_eq!(node.tip(), hash(&next));
    for &peer in &peers {
        assert_eq!(node.sync.peer_chain(peer).unwrap().in_flight, []);
    }
}

#[test]
fn the_last_place_of_three_is_for_an_outbound_peer() {
    let (mut node, peers, _, next) = with_peers(&[Inbound, Inbound, Inbound]);
    let asked = peers.iter().filter(|&&peer| {
        node.say(peer, Message::CmpctBlock(compact(&next, 5))) == [missing(&next)]
    });
    assert_eq!(asked.count(), 2);
}

#[test]
fn an_invalid_block_by_compact_relay_is_not_punished() {
    let (mut node, peers, _, next) = with_peers(&[OutboundFull]);
    node.bad.insert(hash(&next));
    node.say(peers[0], Message::CmpctBlock(compact(&next, 5)));
    node.say(peers[0], txs_of(&next, &[1, 2, 3]));
    assert!(node.store.contains_key(&hash(&next)));
    assert_eq!(node.gone, []);
    // Who builds on it is.
    let after = mine_one(hash(&next), 13, 1, &[]);
    node.say(peers[0], Message::CmpctBlock(compact(&after, 5)));
    assert_eq!(node.punished, [peers[0]]);
}

#[test]
fn a_compact_block_of_no_honest_node_is_punished() {
    let (mut node, peers, _, next) = with_peers(&[OutboundFull]);
    let mut bad = compact(&next, 5);
    bad.prefilled.clear();
    bad.short_ids.clear();
    node.say(peers[0], Message::CmpctBlock(bad));
    assert_eq!(node.punished, [peers[0]]);
}

#[test]
fn three_peers_announce_by_compact_blocks_and_one_outbound_is_kept() {
    let high = |node: &Node, peers: &[PeerId]| -> Vec<bool> {
        let is_high = |&peer| node.sync.peer_chain(peer).unwrap().high_bandwidth_to;
        peers.iter().map(is_high).collect()
    };
    let (node, peers, ..) = with_peers(&[Inbound; 5]);
    assert_eq!(high(&node, &peers), [false, false, true, true, true]);
    let (node, peers, ..) = with_peers(&[OutboundFull, Inbound, Inbound, Inbound, Inbound]);
    assert_eq!(high(&node, &peers), [true, false, false, true, true]);
    let (mut node, peers, ..) =
        with_peers(&[OutboundFull, OutboundFull, OutboundFull, OutboundFull]);
    assert_eq!(high(&node, &peers), [false, true, true, true]);
    // Who leaves makes room.
    node.sync.peer_gone(peers[3], node.now);
    assert_eq!(high(&node, &peers[..3]), [false, true, true]);
}

#[test]
fn a_stored_block_is_announced_compactly_before_it_is_connected() {
    let (blocks, next) = blocks();
    let mut node = Node::with(options(), at(11), &blocks);
    let peer = node.inbound(1);
    node.say(peer, HIGH);
    node.say(peer, headers(&blocks));
    assert!(node.sync.peer_chain(peer).unwrap().high_bandwidth_from);
    // One that is not known to have the parent could make nothing of it.
    let unknowing = node.inbound(3);
    node.say(unknowing, HIGH);
    node.judges = false;
    node.submit(&[Arc::clone(&next)]);
    node.sent.clear();
    node.sync.stored(&hash(&next), node.now);
    node.run();
    let sent = node.sent_to(peer);
    let [Message::CmpctBlock(compact)] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!(node.sent_to(unknowing), []);
    assert_eq!(compact.header, header(&next));
    assert_eq!(compact.short_ids.len(), 3);
    // What is missing is answered without a read, before the block is connected.
    node.reads = false;
    assert_eq!(node.say(peer, missing(&next)), [txs_of(&next, &[1, 2, 3])]);
    let wanted = |kind| Message::GetData(vec![item(kind, &next)]);
    let sent = node.say(peer, wanted(Inventory::WITNESS_BLOCK));
    assert_eq!(sent, [Message::Block(Arc::clone(&next))]);
    let sent = node.say(peer, wanted(Inventory::COMPACT_BLOCK));
    assert_eq!(sent, [Message::CmpctBlock(compact.clone())]);
    // Of many it is read, a few at a time.
    node.store.insert(hash(&next), Arc::clone(&next));
    let many = vec![item(Inventory::WITNESS_BLOCK, &next); 100];
    assert!(node.say(peer, Message::GetData(many)).is_empty());
    assert_eq!(node.unread.len(), 4);
    // The new tip is not told again.
    node.sync.connected(&hash(&next), node.now);
    node.sync.tip_changed(&hash(&next), node.now);
    node.sent.clear();
    node.run();
    assert_eq!(node.sent_to(peer), []);
}

/// A node with a peer that wants compact blocks, and a branch of two beside its tip: the second is
/// stored, and was not on the tip then; the first is to come.
fn child_before_its_parent() -> (Node, PeerId, Vec<Bytes>) {
    let (blocks, _) = blocks();
    let mut node = Node::with(options(), at(12), &blocks);
    let peer = node.inbound(1);
    node.say(peer, HIGH);
    node.say(peer, headers(&blocks));
    let fork = mine(hash(&blocks[8]), 9, 2, 2);
    node.sync.submit_header(&header(&fork[0]), node.now).unwrap();
    node.submit(&fork[1..]);
    (node, peer, fork)
}

#[test]
fn a_tip_that_was_not_announced_when_stored_is_read_for_the_compact_block() {
    let (mut node, peer, fork) = child_before_its_parent();
    node.say(peer, Message::SendHeaders);
    node.say(peer, headers(&fork[..1]));
    node.sent.clear();
    node.submit(&fork[..1]);
    let sent = node.sent_to(peer);
    let of_tip = |message: &Message| matches!(message, Message::CmpctBlock(compact) if compact.header == header(&fork[1]));
    assert!(sent.iter().any(of_tip), "{sent:?}");
}

#[test]
fn two_new_blocks_are_not_announced_compactly_to_who_prefers_no_headers() {
    let (mut node, peer, fork) = child_before_its_parent();
    node.say(peer, headers(&fork[..1]));
    node.sent.clear();
    node.submit(&fork[..1]);
    let tip = Message::Inv(vec![item(Inventory::BLOCK, &fork[1])]);
    assert_eq!(node.sent_to(peer), [tip]);
}
