//! Regtest blocks with up to three faults each, judged by Core and by us: the same verdict, the same
//! class of result, and the same reject reason.

#[path = "../../tests/common/mod.rs"]
mod common;

use caesure_consensus::{COIN, MAX_MONEY, Network, Params, Reject, check_block};
use caesure_hash::hash160;
use caesure_kernel_oracle::{Core, compare};
use caesure_script::opcode::{OP_CHECKSIG, OP_DROP, OP_EQUAL, OP_HASH160, OP_RETURN};
use caesure_script::push_slice;
use caesure_wire::{Block, BlockHash, OutPoint, TxOut};

use common::{Chain, Draft, OP_TRUE, coinbase, outpoint, tx};

/// A whole block goes through the checks that need no context before its header is looked up.
fn ours(chain: &mut Chain, block: &Block<Vec<u8>>) -> Result<(), Reject> {
    check_block(block, &chain.params)?;
    chain.judge(block).map(|_| ())
}

/// Judges a block by both and compares; returns our verdict.
fn judge(core: &Core, chain: &mut Chain, block: &Block<Vec<u8>>, name: &str) -> Option<Reject> {
    let theirs = core.judge(block.bytes());
    let reject = ours(chain, block).err();
    compare(theirs.as_ref(), reject).unwrap_or_else(|text| panic!("{name}: {text}"));
    reject
}

/// A name, and what it does to a good block.
type Fault = (&'static str, fn(&Chain, &mut Draft));

/// What can be wrong with the header, the coinbase and the last transaction.
const FAULTS: [Fault; 36] = [
    ("version", |_, draft| draft.header.version = 3),
    ("negative version", |_, draft| draft.header.version = -1),
    ("old time", |chain, draft| draft.header.time = chain.tree.median_time_past(chain.tip)),
    ("future time", |_, draft| draft.header.time = u32::MAX),
    ("bits", |_, draft| draft.header.bits = 0x207f_fffe),
    ("parent", |_, draft| draft.header.prev_block = BlockHash([9; 32])),
    ("no coinbase", |_, draft| {
        draft.txs.remove(0);
    }),
    ("two coinbases", |chain, draft| draft.txs.push(coinbase(chain.height() + 1, 7))),
    ("repeated transaction", |_, draft| draft.txs.push(draft.txs.last().unwrap().clone())),
    ("no transactions", |_, draft| draft.txs.clear()),
    ("no outputs", |_, draft| last(draft).outputs.clear()),
    ("negative output", |_, draft| last(draft).outputs[0].value = -1),
    ("large output", |_, draft| last(draft).outputs[0].value = MAX_MONEY + 1),
    ("large sum", |_, draft| {
        let output = TxOut { value: MAX_MONEY, script_pubkey: vec![OP_TRUE] };
        last(draft).outputs.push(output);
    }),
    ("input twice", |_, draft| {
        let input = last(draft).inputs[0].clone();
        last(draft).inputs.push(input);
    }),
    ("null prevout", |_, draft| {
        let mut input = last(draft).inputs[0].clone();
        input.prevout = OutPoint::NULL;
        last(draft).inputs.push(input);
    }),
    ("short coinbase", |_, draft| draft.txs[0].inputs[0].script_sig.truncate(1)),
    ("long coinbase", |_, draft| draft.txs[0].inputs[0].script_sig.resize(101, 0)),
    ("sigops", |_, draft| last(draft).outputs[0].script_pubkey = vec![OP_CHECKSIG; 20_001]),
    ("size", |_, draft| last(draft).outputs[0].script_pubkey = vec![0; 1_000_000]),
    ("lock time", |_, draft| (last(draft).lock_time, last(draft).inputs[0].sequence) = (9999, 0)),
    ("coinbase lock time", |_, draft| {
        (draft.txs[0].lock_time, draft.txs[0].inputs[0].sequence) = (9999, 0);
    }),
    ("height", |_, draft| draft.txs[0].inputs[0].script_sig = vec![2, 1, 1]),
    ("witness", |_, draft| last(draft).inputs[0].witness = vec![vec![1]]),
    ("coinbase witness", |_, draft| draft.txs[0].inputs[0].witness = vec![vec![7; 32]]),
    ("nonce", |_, draft| {
        draft.commit();
        draft.txs[0].inputs[0].witness[0].truncate(31);
    }),
    ("weight", |_, draft| {
        last(draft).inputs[0].witness = vec![vec![0; 4_000_000]];
        draft.commit();
    }),
    ("commitment", |_, draft| {
        draft.commit();
        draft.txs[0].outputs.last_mut().unwrap().script_pubkey[20] ^= 1;
    }),
    ("missing input", |_, draft| last(draft).inputs[0].prevout = outpoint(9)),
    ("spent input", |_, draft| {
        let prevout = draft.txs[0].inputs[0].prevout;
        let first = draft.txs.iter().find(|tx| tx.inputs[0].prevout != prevout);
        let input = first.unwrap().inputs[0].clone();
        last(draft).inputs.push(input);
    }),
    ("young coinbase", |chain, draft| {
        last(draft).inputs[0].prevout = chain.coinbase_at(chain.height());
    }),
    ("inflation", |_, draft| last(draft).outputs[0].value = 21 * COIN),
    ("sequence lock", |_, draft| last(draft).inputs[0].sequence = 0xffff),
    ("coinbase amount", |_, draft| draft.txs[0].outputs[0].value = 51 * COIN),
    ("script", |_, draft| last(draft).inputs[0].script_sig = vec![OP_RETURN]),
    ("sigop cost", |_, draft| {
        let script = vec![OP_CHECKSIG; 19_990];
        draft.txs[0].outputs.push(TxOut { value: 0, script_pubkey: script });
        let redeem = vec![OP_CHECKSIG; 11];
        let mut script_sig = Vec::new();
        push_slice(&mut script_sig, &redeem);
        let mut lock = vec![OP_HASH160];
        push_slice(&mut lock, &hash160(&redeem));
        lock.push(OP_EQUAL);
        let made = last(draft);
        made.outputs[0].script_pubkey = lock;
        let mut spend = tx(&[OutPoint { txid: made.txid(), vout: 0 }], &[0]);
        spend.inputs[0].script_sig = script_sig;
        draft.txs.push(spend);
    }),
];

fn last(draft: &mut Draft) -> &mut caesure_wire::Transaction {
    draft.txs.last_mut().expect("it was not emptied")
}

/// A block with a merkle root whose hash is above its target.
fn unmined(draft: Draft) -> Block<Vec<u8>> {
    let block = draft.seal(&Params::new(Network::Regtest));
    let mut header = *block.header();
    while header.hash().0[31] < 0x80 {
        header.nonce += 1;
    }
    Block::parse([&header.to_bytes()[..], &block.bytes()[80..]].concat()).unwrap()
}

/// A good block: two spends of coinbases that are old enough, and a coinbase unlike all before.
fn good(chain: &Chain, nonce: u32) -> Draft {
    let is_old = |height: u32| height + 99 <= chain.height();
    let mut coins: Vec<(u32, OutPoint)> = chain
        .coins
        .iter()
        .filter(|(_, coin)| coin.is_coinbase && coin.value == COIN && is_old(coin.height))
        .map(|(prevout, coin)| (coin.height, *prevout))
        .collect();
    coins.sort_unstable();
    let spends = coins[..2].iter().map(|(_, prevout)| tx(&[*prevout], &[1000])).collect();
    let mut draft = chain.draft(spends);
    let [a, b, c, d] = nonce.to_le_bytes();
    draft.txs[0].outputs[0].script_pubkey = vec![4, a, b, c, d, OP_DROP, OP_TRUE];
    draft
}

#[test]
fn blocks_with_up_to_three_faults_are_judged_as_by_core() {
    let core = Core::new(2);
    let mut chain = Chain::regtest(0);
    chain.now = u32::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap();
    for _ in 0..350 {
        let block = chain.draft(vec![]).seal(&chain.params);
        assert_eq!(judge(&core, &mut chain, &block, "base"), None);
    }
    let mut seed: u64 = 1;
    let mut random = |end: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap() % end
    };
    let mut reasons = std::collections::BTreeMap::new();
    for round in 0..2000_u32 {
        // First each fault alone, then two and three together, in any order.
        let chosen: Vec<usize> = match round as usize {
            round if round < FAULTS.len() => vec![round],
            // Half of them without the faults that hide most others.
            round => {
                let first = if round % 4 < 2 { 0 } else { FAULTS.len() - 16 };
                (0..2 + round % 2).map(|_| first + random(FAULTS.len() - first)).collect()
            }
        };
        let mut draft = good(&chain, round);
        let mut names = Vec::new();
        for fault in chosen {
            let (name, apply) = FAULTS[fault];
            let empty = draft.txs.len() < 2 || draft.txs.iter().any(|tx| tx.outputs.is_empty());
            if !empty {
                apply(&chain, &mut draft);
                names.push(name);
            }
        }
        let name = names.join(" + ");
        let block = match random(20) {
            0 => draft.mine(&chain.params),
            1 => unmined(draft),
            _ => draft.seal(&chain.params),
        };
        let reject = judge(&core, &mut chain, &block, &name);
        if let Some(reject) = reject {
            *reasons.entry(reject.reason()).or_insert(0) += 1;
        }
        // Every so often a good one, which moves both chains on.
        if round % 20 == 0 {
            let block = good(&chain, u32::MAX - round).seal(&chain.params);
            assert_eq!(judge(&core, &mut chain, &block, "good"), None);
        }
    }
    println!("{reasons:#?}");
    assert!(30 <= reasons.len());
}
