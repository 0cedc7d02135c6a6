use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use caesure_p2p::{Action, ConnectionKind, SyncOptions, TxHash, TxPool, TxVerdict};
use caesure_wire::{Inventory, Message, Transaction, Tx, TxIn, TxOut, Txid, Wtxid};

use crate::harness::*;

const MAX_FEE_FILTER: i64 = 9_170_997;

/// A pool that takes all but what spends an output whose first byte is odd: that wants its parent.
#[derive(Clone, Default)]
struct Pool(Arc<Mutex<BTreeMap<TxHash, Bytes>>>);

impl TxPool for Pool {
    fn is_open(&self) -> bool {
        true
    }

    fn knows(&self, tx: &TxHash) -> bool {
        self.0.lock().unwrap().contains_key(tx)
    }

    fn get(&self, tx: &TxHash) -> Option<Bytes> {
        self.0.lock().unwrap().get(tx).cloned()
    }

    fn accept(&mut self, bytes: &Bytes) -> TxVerdict {
        let tx = Tx::parse(bytes.as_slice()).unwrap();
        let parent = tx.view().input(0).prevout.txid;
        if parent.0[0] % 2 == 1 {
            return TxVerdict::MissingParents(vec![parent]);
        }
        let mut map = self.0.lock().unwrap();
        map.insert(TxHash::Txid(tx.view().txid()), bytes.clone());
        map.insert(TxHash::Wtxid(tx.view().wtxid()), bytes.clone());
        TxVerdict::Accepted
    }

    fn min_fee_rate(&self) -> i64 {
        100
    }

    fn pays(&self, _: &TxHash, fee_rate: i64) -> bool {
        fee_rate <= 1_000
    }

    fn transactions(&self) -> Box<dyn Iterator<Item = (Wtxid, &Bytes)> + '_> {
        Box::new(std::iter::empty())
    }
}

fn tx(n: u32, parent: u8) -> (Bytes, Txid, Wtxid) {
    let mut input = TxIn { witness: vec![n.to_le_bytes().to_vec()], ..TxIn::default() };
    input.prevout.txid.0 = [parent; 32];
    let outputs = vec![TxOut { value: n.into(), script_pubkey: vec![0x51] }];
    let tx = Transaction { version: 2, inputs: vec![input], outputs, lock_time: 0 };
    (Arc::new(tx.encode()), tx.txid(), tx.wtxid())
}

fn wtx(hash: Wtxid) -> Inventory {
    Inventory { kind: Inventory::WTX, hash: hash.0 }
}

fn with_pool() -> (Node, Pool) {
    let mut node = Node::with(options(), at(3), &chain(3, 1));
    let pool = Pool::default();
    node.sync.set_pool(Box::new(pool.clone()));
    (node, pool)
}

fn fee_filters(node: &Node) -> Vec<i64> {
    let found = node.sent.iter().filter_map(|(_, message)| match message {
        Message::FeeFilter(rate) => Some(*rate),
        _ => None,
    });
    found.collect()
}

#[test]
fn a_node_that_takes_no_transactions_says_so_and_answers_none() {
    let mut node = Node::with(options(), at(3), &chain(3, 1));
    let peer = node.peer(0, ConnectionKind::Manual);
    assert_eq!(fee_filters(&node), [MAX_FEE_FILTER]);
    let (bytes, _, wtxid) = tx(1, 0);
    assert_eq!(node.say(peer, Message::Inv(vec![wtx(wtxid)])), []);
    assert_eq!(node.say(peer, Message::Tx(bytes)), []);
    node.pass(Duration::from_secs(3_600));
    assert_eq!(fee_filters(&node), []);
    let sent = node.say(peer, Message::GetData(vec![wtx(wtxid)]));
    assert_eq!(sent, [Message::NotFound(vec![wtx(wtxid)])]);
    assert_eq!(node.gone, []);
}

#[test]
fn behind_the_tip_transactions_are_dropped_and_the_true_fee_filter_follows() {
    let blocks = chain(3, 1);
    let mut node = Node::new(options(), at(1 + 24 * 60), 1);
    node.sync.set_pool(Box::new(Pool::default()));
    let peer = node.peer(0, ConnectionKind::OutboundFull);
    assert_eq!(fee_filters(&node), [MAX_FEE_FILTER]);
    let (bytes, _, wtxid) = tx(1, 0);
    assert_eq!(node.say(peer, Message::Inv(vec![wtx(wtxid)])), []);
    node.say(peer, Message::Tx(bytes.clone()));
    node.pass(Duration::from_secs(5));
    assert_eq!(node.sent, []);
    node.submit(&blocks);
    node.pass(Duration::from_secs(2));
    assert_eq!(fee_filters(&node), [100]);
    node.say(peer, Message::Inv(vec![wtx(wtxid)]));
    node.pass(Duration::from_secs(3));
    assert_eq!(node.sent_to(peer), [Message::GetData(vec![wtx(wtxid)])]);
}

#[test]
fn by_r_transactions_are_taken_before_the_tip_is_reached() {
    let options = SyncOptions { relays_before_tip: true, ..options() };
    let mut node = Node::new(options, at(100_000), 1);
    node.sync.set_pool(Box::new(Pool::default()));
    let peer = node.peer(0, ConnectionKind::OutboundFull);
    assert_eq!(fee_filters(&node), [100]);
    let (bytes, ..) = tx(1, 0);
    node.say(peer, Message::Tx(bytes));
    assert!(node.other.contains(&Action::NoteTx(peer)));
}

#[test]
fn who_sends_transactions_that_are_not_wanted_is_disconnected() {
    let (bytes, _, wtxid) = tx(1, 0);
    for message in [Message::Inv(vec![wtx(wtxid)]), Message::Tx(bytes)] {
        let blocks_only = SyncOptions { blocks_only: true, ..options() };
        let mut node = Node::with(blocks_only, at(3), &chain(3, 1));
        let peer = node.peer(0, ConnectionKind::OutboundFull);
        assert_eq!(fee_filters(&node), []);
        node.say(peer, message.clone());
        assert_eq!(node.gone[0].0, peer);
        assert_eq!(node.punished, []);

        let mut node = Node::with(options(), at(3), &chain(3, 1));
        let peer = node.peer(0, ConnectionKind::BlockRelay);
        assert_eq!(fee_filters(&node), []);
        node.say(peer, message);
        assert_eq!(node.gone[0].0, peer);
    }
}

#[test]
fn a_transaction_is_asked_for_taken_and_announced_to_who_has_it_not() {
    let (mut node, _) = with_pool();
    let [a, b, c] = [0, 2, 4].map(|id| node.outbound(id));
    let (bytes, _, wtxid) = tx(1, 0);
    node.say(a, Message::Inv(vec![wtx(wtxid)]));
    node.pass(Duration::from_secs(3));
    assert_eq!(node.sent, [(a, Message::GetData(vec![wtx(wtxid)]))]);
    node.say(b, Message::Inv(vec![wtx(wtxid)]));
    node.say(a, Message::Tx(bytes.clone()));
    assert!(node.other.contains(&Action::NoteTx(a)));
    node.pass(Duration::from_secs(60));
    assert_eq!(node.sent, [(c, Message::Inv(vec![wtx(wtxid)]))]);
    let sent = node.say(c, Message::GetData(vec![wtx(wtxid)]));
    assert_eq!(sent, [Message::Tx(bytes.clone())]);
    // By txid without the witness.
    let txid = Tx::parse(bytes.as_slice()).unwrap().view().txid();
    let sent = node.say(c, Message::GetData(vec![Inventory { kind: Inventory::TX, hash: txid.0 }]));
    let [Message::Tx(stripped)] = &sent[..] else { panic!("{sent:?}") };
    assert!(!Tx::parse(stripped.as_slice()).unwrap().view().has_witness());
}

#[test]
fn missing_parents_are_asked_for_by_txid() {
    let (mut node, _) = with_pool();
    let peer = node.outbound(0);
    let (bytes, ..) = tx(1, 5);
    node.say(peer, Message::Tx(bytes));
    node.pass(Duration::from_secs(10));
    let parent = Inventory { kind: Inventory::WITNESS_TX, hash: [5; 32] };
    assert_eq!(node.sent_to(peer), [Message::GetData(vec![parent])]);
}

#[test]
fn a_fee_filter_keeps_transactions_away() {
    let (mut node, _) = with_pool();
    let [from, to] = [0, 2].map(|id| node.outbound(id));
    node.say(to, Message::FeeFilter(1_001));
    // What is no amount is ignored.
    node.say(to, Message::FeeFilter(-1));
    node.say(to, Message::FeeFilter(i64::MIN));
    node.say(to, Message::FeeFilter(i64::MAX));
    assert_eq!(node.sync.peer_chain(to).unwrap().fee_filter, 1_001);
    node.say(from, Message::Tx(tx(1, 0).0));
    node.pass(Duration::from_secs(60));
    assert_eq!(node.sent, []);
}

#[test]
fn cve_2018_17145_and_cve_2024_52913_invs_of_a_peer_are_bounded() {
    let (mut node, _) = with_pool();
    let [flooding, honest] = [0, 2].map(|id| node.outbound(id));
    for step in 0..10_u32 {
        let items = (0..50_000).map(|n: u32| {
            let mut hash = [2; 32];
            hash[..8].copy_from_slice(&(u64::from(step) << 32 | u64::from(n)).to_le_bytes());
            Inventory { kind: Inventory::WTX, hash }
        });
        node.say(flooding, Message::Inv(items.collect()));
    }
    let (bytes, _, wtxid) = tx(1, 0);
    node.say(flooding, Message::Inv(vec![wtx(wtxid)]));
    node.say(honest, Message::Inv(vec![wtx(wtxid)]));
    node.pass(Duration::from_secs(70));
    let asked: usize = node
        .sent_to(flooding)
        .iter()
        .map(|message| match message {
            Message::GetData(items) => {
                assert!(items.len() <= 1_000);
                items.len()
            }
            _ => 0,
        })
        .sum();
    assert!(asked <= 5_000, "{asked}");
    // The flood does not hide what another announces.
    assert_eq!(node.sent_to(honest), [Message::GetData(vec![wtx(wtxid)])]);
    node.say(honest, Message::Tx(bytes));
    assert!(node.other.contains(&Action::NoteTx(honest)));
}

#[test]
fn cve_2023_33297_announcements_are_capped_and_drained() {
    let (mut node, _) = with_pool();
    let from = node.outbound(0);
    let to = node.inbound(1);
    for n in 0..6_000 {
        node.sync.message(from, Message::Tx(tx(n, 0).0), node.now);
    }
    node.run();
    let waiting = |node: &Node| node.sync.peer_chain(to).unwrap().inv_to_send;
    assert_eq!(waiting(&node), 5_000);
    let mut left = 5_000;
    for _ in 0..400 {
        node.pass(Duration::from_secs(1));
        for message in node.sent_to(to) {
            let Message::Inv(items) = message else { panic!("{message:?}") };
            assert!((1..=1_000).contains(&items.len()));
        }
        assert!(waiting(&node) <= left);
        left = waiting(&node);
    }
    assert_eq!(left, 0);
}

#[test]
fn a_notfound_frees_the_question_for_another_peer() {
    let (mut node, _) = with_pool();
    let [a, b] = [0, 2].map(|id| node.outbound(id));
    let (_, _, wtxid) = tx(1, 0);
    node.say(a, Message::Inv(vec![wtx(wtxid)]));
    node.pass(Duration::from_secs(3));
    node.say(b, Message::Inv(vec![wtx(wtxid)]));
    node.pass(Duration::from_secs(5));
    assert_eq!(node.sent, []);
    node.say(a, Message::NotFound(vec![wtx(wtxid)]));
    node.pass(Duration::from_secs(3));
    assert_eq!(node.sent, [(b, Message::GetData(vec![wtx(wtxid)]))]);
}
