use std::sync::{Arc, LazyLock};
use std::time::Duration;

use caesure_p2p::{ConnectionKind, PeerId, compact_block};
use caesure_wire::{Block, BlockHash, BlockTxn, BlockTxnRequest, Inventory, Message};
use proptest::prelude::*;

use crate::harness::*;

/// A chain of 30, a branch of 8 from the twentieth on, and a bad block on the tenth.
static BLOCKS: LazyLock<Vec<Bytes>> = LazyLock::new(|| {
    let main = chain(30, 1);
    let fork = mine(hash(&main[19]), 20, 8, 2);
    let bad = mine(hash(&main[9]), 10, 40, 3);
    [main, fork, bad].concat()
});

const BAD: usize = 38;

fn kinds() -> impl Strategy<Value = u32> {
    prop::sample::select(vec![
        Inventory::TX,
        Inventory::BLOCK,
        Inventory::FILTERED_BLOCK,
        Inventory::COMPACT_BLOCK,
        Inventory::WTX,
        Inventory::WITNESS_BLOCK,
        99,
    ])
}

fn block() -> impl Strategy<Value = Bytes> {
    (0..BLOCKS.len()).prop_map(|index| Arc::clone(&BLOCKS[index]))
}

fn blocks() -> impl Strategy<Value = Vec<Bytes>> {
    (0..BLOCKS.len(), 0_usize..20)
        .prop_map(|(from, count)| BLOCKS[from..BLOCKS.len().min(from + count)].to_vec())
}

fn items() -> impl Strategy<Value = Vec<Inventory>> {
    prop::collection::vec((kinds(), block()).prop_map(|(kind, block)| item(kind, &block)), 0..20)
}

fn compact(block: &[u8], nonce: u64) -> Message {
    Message::CmpctBlock(compact_block(&Block::parse(block).unwrap(), nonce))
}

fn message() -> impl Strategy<Value = Message> {
    let locators = || {
        (blocks(), block()).prop_map(|(known, stop)| {
            locator(known.iter().map(|block| hash(block)).collect(), hash(&stop))
        })
    };
    let txs = |block: Bytes| {
        let parsed = Block::parse(block.as_slice()).unwrap();
        let txs = parsed.txs().map(|tx| Arc::new(tx.bytes().to_vec())).collect();
        Message::BlockTxn(BlockTxn { hash: hash(&block), txs })
    };
    prop_oneof![
        1 => Just(Message::SendHeaders),
        1 => any::<bool>().prop_map(|announce| Message::SendCmpct { announce, version: 2 }),
        1 => any::<i64>().prop_map(Message::FeeFilter),
        1 => items().prop_map(Message::Inv),
        1 => items().prop_map(Message::GetData),
        1 => items().prop_map(Message::NotFound),
        1 => locators().prop_map(Message::GetBlocks),
        1 => locators().prop_map(Message::GetHeaders),
        8 => blocks().prop_map(|blocks| headers(&blocks)),
        8 => block().prop_map(Message::Block),
        1 => block().prop_map(|block| Message::Block(mutate(&block))),
        1 => block().prop_map(Message::Tx),
        4 => (block(), any::<u64>()).prop_map(|(block, nonce)| compact(&block, nonce)),
        1 => (block(), prop::collection::btree_set(0_u16..4, 0..3)).prop_map(|(block, indices)| {
            let indices = indices.into_iter().collect();
            Message::GetBlockTxn(BlockTxnRequest { hash: hash(&block), indices })
        }),
        2 => block().prop_map(txs),
        1 => Just(Message::BlockTxn(BlockTxn { hash: BlockHash::ZERO, txs: vec![] })),
    ]
}

fn asked(sent: &[Message]) -> Vec<Inventory> {
    let items = sent.iter().filter_map(|message| match message {
        Message::GetData(items) => Some(items.clone()),
        _ => None,
    });
    items.flatten().collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// The harness asserts the order of headers and blocks, and that nothing is stored twice.
    #[test]
    fn any_messages_in_any_order_are_survived_within_bounds_and_the_chain_is_found(
        steps in prop::collection::vec((0_u64..6, message(), 0_u64..100), 0..120),
        is_recent: bool,
    ) {
        let now = if is_recent { at(60) } else { at(10_000) };
        let mut node = Node::new(options(), now, 3);
        node.bad.insert(hash(&BLOCKS[BAD]));
        for (id, message, seconds) in steps {
            let peer = PeerId(id);
            if node.sync.peer_chain(peer).is_none() {
                let kind = if id % 2 == 1 { ConnectionKind::Inbound } else { ConnectionKind::Manual };
                node.peer(id, kind);
            }
            node.say(peer, message);
            if 80 < seconds {
                node.pass(Duration::from_secs(seconds - 80));
            }
            if let Some(chain) = node.sync.peer_chain(peer) {
                prop_assert!(chain.in_flight.len() <= 16);
            }
            let high = (0..6).filter_map(|id| node.sync.peer_chain(PeerId(id)));
            prop_assert!(high.filter(|chain| chain.high_bandwidth_to).count() <= 3);
        }
        // Honest peers end it. Each of six that do not answer may be waited for 35 minutes, and one
        // whose headers are not of today is changed for another.
        let good = &BLOCKS[..30];
        let mut honest = PeerId(100);
        let mut wanted = Vec::new();
        for _ in 0..1_000 {
            if node.sync.peer_chain(honest).is_none() {
                honest.0 += 2;
                node.peer(honest.0, ConnectionKind::OutboundFull);
                wanted = asked(&node.say(honest, headers(good)));
            }
            while let Some(item) = wanted.pop() {
                let block = good.iter().find(|block| hash(block).0 == item.hash).unwrap();
                wanted.extend(asked(&node.say(honest, Message::Block(Arc::clone(block)))));
            }
            if node.height() == 30 {
                break;
            }
            node.pass(Duration::from_secs(20));
            wanted = asked(&node.sent_to(honest));
        }
        prop_assert_eq!(node.tip(), hash(&good[29]));
    }
}
