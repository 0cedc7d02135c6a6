use super::*;

use caesure_consensus::{COIN, Deployment, Network, Target, Work};
use caesure_generate::{coinbase, solve};
use caesure_script::opcode::{
    OP_0, OP_1, OP_CHECKLOCKTIMEVERIFY, OP_CHECKMULTISIG, OP_CHECKSEQUENCEVERIFY, OP_CHECKSIG,
    OP_NOT,
};
use caesure_script::push_slice;
use caesure_wire::{MerkleRoot, OutPoint, Transaction, TxIn, TxOut, Txid, encode_block};
use tempfile::TempDir;

use crate::opening::{Access, open_chain};

/// Time runs ahead of the clock where blocks come late.
const NOW: u32 = u32::MAX - (1 << 20);

/// Makes blocks whose headers keep all rules.
struct Maker {
    tree: HeaderTree,
}

type Made = (HeaderId, Vec<u8>);

impl Maker {
    fn new(params: &Params) -> Self {
        Self { tree: HeaderTree::new(params) }
    }

    fn block(
        &mut self,
        parent: HeaderId,
        seconds: u32,
        coinbase: Transaction,
        tx: &[Transaction],
    ) -> Made {
        let txs: Vec<&Transaction> = [&coinbase].into_iter().chain(tx).collect();
        let ids = txs.iter().map(|tx| tx.txid().0).collect();
        let time = self.tree.header(parent).time + seconds;
        let mut header = Header {
            version: 0x2000_0000,
            prev_block: self.tree.hash(parent),
            merkle_root: MerkleRoot(caesure_hash::merkle_root(ids).0),
            time,
            bits: self.tree.required_bits(parent, time),
            nonce: 0,
        };
        solve(&mut header);
        let id = self.tree.accept(&header, NOW).unwrap();
        let encoded: Vec<Vec<u8>> = txs.iter().map(|tx| tx.encode()).collect();
        (id, encode_block(&header, &encoded))
    }

    /// The work of a header alone.
    fn proof(&self, id: HeaderId) -> Work {
        self.tree.chain_work(id) - self.tree.chain_work(self.tree.parent(id).unwrap())
    }

    /// A block with nothing but a coinbase. Those of other branches differ in the tag.
    fn empty(&mut self, parent: HeaderId, seconds: u32, tag: u32) -> Made {
        let coinbase = coinbase(self.tree.height(parent) + 1, tag, vec![output(0, &[OP_1])]);
        self.block(parent, seconds, coinbase, &[])
    }

    fn branch(&mut self, parent: HeaderId, count: u32, seconds: u32, tag: u32) -> Vec<Made> {
        let mut made = Vec::new();
        let mut parent = parent;
        for _ in 0..count {
            made.push(self.empty(parent, seconds, tag));
            parent = made.last().unwrap().0;
        }
        made
    }
}

fn output(value: i64, script: &[u8]) -> TxOut {
    TxOut { value, script_pubkey: script.to_vec() }
}

/// As much as a signature takes comes before what matters.
fn spend(txid: Txid, unlocking: &[u8]) -> Transaction {
    let prevout = OutPoint { txid, vout: 0 };
    let mut script_sig = Vec::new();
    push_slice(&mut script_sig, &[1; 64]);
    script_sig.extend_from_slice(unlocking);
    Transaction {
        version: 1,
        inputs: vec![TxIn { prevout, script_sig, ..TxIn::default() }],
        outputs: vec![output(COIN, &[OP_1])],
        lock_time: 0,
    }
}

fn open(folder: &TempDir, params: &Params, horizon: u32) -> Chain {
    open_within(folder, params, horizon, Memory::of(64))
}

fn open_within(folder: &TempDir, params: &Params, horizon: u32, memory: Memory) -> Chain {
    let settings = Settings { threads: 2, horizon, memory, assumed_valid: BlockHash::ZERO };
    open_chain(folder.path(), params.clone(), Access::Write, &settings).unwrap()
}

impl Chain {
    fn give(&mut self, blocks: &[Made]) {
        for (_, bytes) in blocks {
            assert_eq!(self.offer(bytes, Origin::default(), NOW).unwrap(), Offer::Taken);
        }
    }

    /// Takes a block and does nothing with it yet.
    fn queue_up(&mut self, (id, bytes): &Made) {
        let header = Header::from_bytes(bytes.first_chunk().unwrap());
        assert_eq!(self.tree.accept(&header, NOW), Ok(*id));
        let queued = self.prepare(*id, bytes.clone(), Origin::default(), false);
        self.queue.push_back(queued);
    }

    fn settled(&mut self, blocks: &[Made]) {
        self.give(blocks);
        self.drain().unwrap();
    }
}

/// The rules of testnet3, or testnet4, in small: the difficulty changes every 16 blocks, fourfold at
/// most, and a block that comes more than 8 seconds late costs 256 hashes.
fn testnet_rules(enforces_bip94: bool) -> Params {
    let mut limit = [u8::MAX; 32];
    limit[0] = 0;
    let mut params = Params {
        has_no_retargeting: false,
        enforces_bip94,
        pow_limit: Target::from_be_bytes(limit),
        pow_target_timespan: 64,
        pow_target_spacing: 4,
        ..Params::new(Network::Regtest)
    };
    params.genesis.bits = params.pow_limit.to_compact();
    solve(&mut params.genesis);
    params.genesis_hash = params.genesis.hash();
    params
}

/// How many blocks the chain has in which no block is late.
const TRUNK: u32 = 210;
/// How many seconds make a block late.
const LATE: u32 = 9;

/// A chain that is sixteen times as hard as it may be from the 32nd block on.
fn trunk(maker: &mut Maker) -> Vec<Made> {
    let mut trunk = maker.branch(HeaderTree::GENESIS, 32, 1, 0);
    extend(maker, &mut trunk, TRUNK - 32);
    let proofs = [100, 209].map(|i| maker.proof(trunk[i].0));
    assert_eq!(proofs[0], proofs[1]);
    trunk
}

/// Adds blocks that keep the difficulty: 64 seconds pass between a period's first and last.
fn extend(maker: &mut Maker, blocks: &mut Vec<Made>, count: u32) {
    for _ in 0..count {
        let parent = blocks.last().unwrap().0;
        let height = maker.tree.height(parent) + 1;
        let seconds = 4 + u32::from(height.is_multiple_of(4) || height % 16 == 2);
        blocks.push(maker.empty(parent, seconds, 0));
    }
}

/// Blocks that come twenty minutes late cost next to nothing on testnets.
#[test]
fn a_branch_with_less_work_is_followed_last_and_only_within_144_proofs_of_the_tip() {
    for params in [testnet_rules(false), testnet_rules(true)] {
        let mut maker = Maker::new(&params);
        let mut trunk = trunk(&mut maker);
        let tip = trunk[209].0;
        let folder = tempfile::tempdir().unwrap();
        let mut chain = open(&folder, &params, 288);
        chain.settled(&trunk);
        assert_eq!(chain.tip_id(), tip);
        let slack = (0..144).fold(Work::ZERO, |sum, _| sum + maker.proof(tip));
        let mut followed = Vec::new();
        for (tag, depth) in (1..).zip([1, 30, 100, 140, 150, 180]) {
            let late = maker.branch(trunk[209 - depth].0, 3, LATE, tag);
            let hash = maker.tree.hash(late[2].0);
            let works = [tip, late[2].0].map(|id| maker.tree.chain_work(id));
            chain.settled(&late);
            let is_held = chain.ledger.holds(&hash);
            assert_eq!(is_held, works[0] < works[1] + slack, "{depth} blocks below the tip");
            assert!(chain.store.reader().contains(&hash));
            followed.push(is_held);
        }
        assert_eq!(followed, [true, true, true, true, false, false]);
        assert_eq!((chain.counts.parked, chain.tip_id()), (6, tip));

        // The branch comes first, and is judged last.
        let late = maker.branch(trunk[200].0, 1, LATE, 7);
        let late_hash = maker.tree.hash(late[0].0);
        chain.give(&late);
        extend(&mut maker, &mut trunk, 2);
        chain.give(&trunk[210..]);
        while chain.tip_id() != trunk[211].0 {
            chain.wait();
            chain.advance().unwrap();
        }
        assert!(!chain.ledger.holds(&late_hash) && !chain.later.is_empty());
        chain.drain().unwrap();
        assert!(chain.ledger.holds(&late_hash));

        // When its turn comes the tip has gone on.
        let late = maker.branch(trunk[211 - 138].0, 1, LATE, 8);
        chain.give(&late);
        extend(&mut maker, &mut trunk, 10);
        chain.settled(&trunk[212..]);
        assert!(!chain.ledger.holds(&maker.tree.hash(late[0].0)));
        assert_eq!(chain.counts.parked, 7);
    }
}

#[test]
fn a_branch_with_more_work_wins_however_deep_it_forks_and_however_short_it_is() {
    for params in [testnet_rules(false), testnet_rules(true)] {
        let mut maker = Maker::new(&params);
        let trunk = trunk(&mut maker);
        let folder = tempfile::tempdir().unwrap();
        let mut chain = open(&folder, &params, 5);
        chain.settled(&trunk);
        // Far more blocks, but each for nearly nothing.
        let long = maker.branch(trunk[59].0, 300, LATE, 1);
        chain.settled(&long);
        assert_eq!(chain.tip_id(), trunk[209].0);
        let mut short = Vec::new();
        let mut parent = trunk[59].0;
        while maker.tree.chain_work(parent) <= maker.tree.chain_work(trunk[209].0) {
            short.push(maker.empty(parent, 1, 2));
            parent = short.last().unwrap().0;
        }
        assert!(short.len() < 100, "{} blocks", short.len());
        let (last, before) = short.split_last().unwrap();
        chain.settled(before);
        assert_eq!(chain.tip_id(), trunk[209].0);
        chain.settled(std::slice::from_ref(last));
        assert_eq!(chain.tip_id(), last.0);

        let other = tempfile::tempdir().unwrap();
        let mut alone = open(&other, &params, 5);
        alone.settled(&trunk[..60]);
        alone.settled(&short);
        let sets = [&chain, &alone].map(|chain| chain.ledger.tip().summary().unwrap());
        assert_eq!(sets[0], sets[1]);
    }
}

#[test]
fn what_is_in_flight_keeps_to_its_part_of_the_memory_but_for_a_block_that_is_larger() {
    const BLOCKS: usize = 50;
    let params = Params::new(Network::Regtest);
    let mut maker = Maker::new(&params);
    let first = maker.branch(HeaderTree::GENESIS, 50, 600, 0);
    let second = maker.branch(HeaderTree::GENESIS, 51, 600, 1);
    let size = second[BLOCKS].1.len() + BLOCK_OVERHEAD;
    for room in [0, 10 * size] {
        let memory = Memory { in_flight: room, coins: 0, ..Memory::of(16) };
        let folder = tempfile::tempdir().unwrap();
        let mut chain = open_within(&folder, &params, 5, memory);
        for made in first.iter().chain(&second[..BLOCKS]) {
            chain.give(std::slice::from_ref(made));
            assert!(chain.in_flight <= room, "{} of {room}", chain.in_flight);
        }
        chain.drain().unwrap();
        // The last one wins, so that all before it are fetched, beside what is held to half of it.
        let id = &second[BLOCKS].0;
        chain.queue_up(&second[BLOCKS]);
        let mut most = 0;
        while !chain.queue.is_empty() || !chain.checking.is_empty() {
            chain.wait();
            chain.advance().unwrap();
            most = most.max(chain.in_flight);
        }
        // The newest is not committed before the next stands on it.
        assert!(most <= room + 3 * size, "{most} of {room}");
        assert_eq!(chain.tip_id(), *id);
    }
}

/// A chain of 108 blocks of which the first pays to `script`, and the transaction that spends it.
fn funded(params: &Params, script: &[u8], script_sig: &[u8]) -> (Maker, Vec<Made>, Transaction) {
    let mut maker = Maker::new(params);
    let first = coinbase(1, 0, vec![output(50 * COIN, script)]);
    let tx = spend(first.txid(), script_sig);
    let mut blocks = vec![maker.block(HeaderTree::GENESIS, 600, first, &[])];
    let parent = blocks[0].0;
    blocks.extend(maker.branch(parent, 107, 600, 0));
    (maker, blocks, tx)
}

impl Maker {
    fn with_tx(&mut self, parent: HeaderId, tag: u32, tx: &Transaction) -> Made {
        let coinbase = coinbase(self.tree.height(parent) + 1, tag, vec![output(0, &[OP_1])]);
        self.block(parent, 600, coinbase, std::slice::from_ref(tx))
    }
}

#[test]
fn a_transaction_on_several_forks_is_verified_once() {
    let params = Params::new(Network::Regtest);
    let (mut maker, blocks, tx) = funded(&params, &[OP_1], &[]);
    let tip = blocks[107].0;
    let folder = tempfile::tempdir().unwrap();
    let mut chain = open(&folder, &params, 288);
    chain.settled(&blocks);
    let one = maker.with_tx(tip, 1, &tx);
    chain.settled(&[one]);
    assert_eq!((chain.counts.inputs, chain.counts.scripts_cached), (1, 0));
    // On another block of the same height, then at another height.
    let two = maker.with_tx(tip, 2, &tx);
    chain.settled(&[two]);
    assert_eq!((chain.counts.inputs, chain.counts.scripts_cached), (2, 1));
    let three = maker.empty(tip, 600, 3);
    let four = maker.with_tx(three.0, 4, &tx);
    chain.settled(&[three, four]);
    assert_eq!((chain.counts.inputs, chain.counts.scripts_cached), (3, 2));
    // The same spend with other bytes is another transaction.
    let five = maker.with_tx(tip, 5, &Transaction { version: 2, ..tx });
    chain.settled(&[five]);
    assert_eq!((chain.counts.inputs, chain.counts.scripts_cached), (4, 2));
    assert_eq!(chain.counts.invalid, 0);
}

#[test]
fn a_branch_that_begins_deeper_than_the_horizon_is_followed_up_to_its_end() {
    let params = Params::new(Network::Regtest);
    let mut maker = Maker::new(&params);
    let trunk = maker.branch(HeaderTree::GENESIS, 30, 600, 0);
    let folder = tempfile::tempdir().unwrap();
    let mut chain = open(&folder, &params, 5);
    chain.settled(&trunk[..25]);
    // The root stays below this fork, at block 20, while the tip goes on.
    let other = maker.branch(trunk[19].0, 7, 600, 1);
    chain.settled(&other);
    chain.settled(&trunk[25..]);
    assert_eq!((chain.tip_height(), chain.ledger.root().height), (30, 20));
    // Of its first blocks, each would be dropped at once: they are 9 to 6 blocks below the tip.
    let late = maker.branch(trunk[19].0, 6, 600, 2);
    chain.give(&late);
    let mut steps = 0;
    while chain.step().unwrap() {
        steps += 1;
        assert!(steps < 1_000, "it comes to an end");
        if !chain.queue.is_empty() || !chain.checking.is_empty() {
            chain.wait();
        }
    }
    assert!(chain.ledger.holds(&maker.tree.hash(late[5].0)));
    assert_eq!(chain.ledger.tip().info().hash, maker.tree.hash(trunk[29].0));
}

#[test]
fn a_start_amid_a_deep_reorganisation_goes_on_with_it() {
    let params = Params::new(Network::Regtest);
    let mut maker = Maker::new(&params);
    let first = maker.branch(HeaderTree::GENESIS, 30, 600, 0);
    let second = maker.branch(HeaderTree::GENESIS, 31, 600, 1);
    for is_live in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let mut chain = open(&folder, &params, 5);
        chain.settled(&first);
        chain.settled(&second[..30]);
        assert_eq!((chain.tip_id(), chain.counts.parked), (first[29].0, 30));
        chain.queue_up(&second[30]);
        while !(6..30).contains(&chain.tip_height()) {
            chain.wait();
            chain.advance().unwrap();
        }
        drop(chain);

        let mut chain = open(&folder, &params, 5);
        let height = chain.tip_height();
        assert!((6..30).contains(&height), "{height}");
        if is_live {
            chain.go_live();
        } else {
            chain.open_blocks().into_iter().for_each(|id| chain.offer_stored(id).unwrap());
        }
        chain.drain().unwrap();
        let connected = u64::from(31 - height);
        assert_eq!((chain.tip_id(), chain.counts.connected), (second[30].0, connected));
    }
}

#[test]
fn a_branch_with_as_much_work_as_a_block_whose_scripts_still_run_does_not_displace_it() {
    let params = Params::new(Network::Regtest);
    let (mut maker, blocks, tx) = funded(&params, &[OP_1], &[]);
    let other = maker.branch(HeaderTree::GENESIS, 108, 600, 1);
    let last = maker.with_tx(blocks[107].0, 0, &tx);
    let tie = maker.empty(other[107].0, 600, 1);
    let folder = tempfile::tempdir().unwrap();
    let mut chain = open(&folder, &params, 5);
    chain.settled(&blocks);
    chain.settled(&other);
    [&last, &tie].into_iter().for_each(|made| chain.queue_up(made));
    while chain.queue.iter().any(|queued| queued.body.is_none()) {
        chain.wait();
    }
    chain.drain().unwrap();
    assert_eq!((chain.tip_id(), chain.ledger.root().height), (last.0, 104));
    assert_eq!(chain.counts.parked, 109);
}

#[test]
fn scripts_of_a_branch_that_left_the_window_are_not_run_again_when_it_wins() {
    let params = Params::new(Network::Regtest);
    let (mut maker, blocks, tx) = funded(&params, &[OP_1], &[]);
    let tip = blocks[107].0;
    let folder = tempfile::tempdir().unwrap();
    let mut chain = open(&folder, &params, 5);
    chain.settled(&blocks);
    let one = maker.with_tx(tip, 1, &tx);
    let (one_id, hash) = (one.0, maker.tree.hash(one.0));
    chain.settled(&[one]);
    let other = maker.branch(tip, 20, 600, 2);
    chain.settled(&other);
    assert_eq!((chain.tip_id(), chain.ledger.holds(&hash)), (other[19].0, false));
    assert_eq!((chain.counts.inputs, chain.counts.scripts_cached), (1, 0));
    let more = maker.branch(one_id, 20, 600, 3);
    chain.settled(&more);
    assert_eq!(chain.tip_id(), more[19].0);
    assert_eq!((chain.counts.inputs, chain.counts.scripts_cached), (2, 0));

    let alone = tempfile::tempdir().unwrap();
    let mut alone = open(&alone, &params, 5);
    let branch = [maker.with_tx(tip, 1, &tx)];
    [&blocks[..], &branch, &more].into_iter().for_each(|some| alone.settled(some));
    let sets = [&chain, &alone].map(|chain| chain.ledger.tip().summary().unwrap());
    assert_eq!(sets[0], sets[1]);
}

/// Scripts that pass only while a deployment does not hold: what locks and what unlocks.
fn forbidden_later() -> [(Deployment, Vec<u8>, Vec<u8>); 4] {
    // No strict encoding, and no signature of this key either.
    let mut der = Vec::new();
    push_slice(&mut der, &[0x30, 0x01, 0x01]);
    push_slice(&mut der, &[&[2; 1][..], &[1; 32]].concat());
    der.extend([OP_CHECKSIG, OP_NOT]);
    [
        (Deployment::DerSig, der, vec![]),
        (Deployment::Cltv, vec![OP_1, OP_CHECKLOCKTIMEVERIFY], vec![]),
        (Deployment::Csv, vec![OP_1, OP_CHECKSEQUENCEVERIFY], vec![]),
        // A dummy that is not empty, of no signatures by no keys.
        (Deployment::Segwit, vec![OP_0, OP_0, OP_CHECKMULTISIG], vec![OP_1]),
    ]
}

#[test]
fn a_transaction_on_both_sides_of_an_activation_is_verified_twice_and_judged_differently() {
    for (deployment, script, script_sig) in forbidden_later() {
        let mut params = Params::new(Network::Regtest);
        params.activation_heights[deployment as usize] = 110;
        let (mut maker, blocks, tx) = funded(&params, &script, &script_sig);
        let tip = blocks[107].0;
        let before = [maker.with_tx(tip, 1, &tx)];
        let empty = maker.empty(tip, 600, 2);
        let parent = empty.0;
        let after = [empty, maker.with_tx(parent, 3, &tx), maker.with_tx(parent, 4, &tx)];
        for order in [[&before[..], &after], [&after, &before]] {
            let folder = tempfile::tempdir().unwrap();
            let mut chain = open(&folder, &params, 288);
            chain.settled(&blocks);
            order.iter().for_each(|blocks| chain.settled(blocks));
            let holds = |made: &Made| chain.ledger.holds(&maker.tree.hash(made.0));
            assert!(holds(&before[0]) && holds(&after[0]), "{deployment:?}");
            assert!(!holds(&after[1]) && !holds(&after[2]), "{deployment:?}");
            let Counts { invalid, scripts_cached, ref first_invalid, .. } = chain.counts;
            assert_eq!((invalid, scripts_cached), (2, 0), "{deployment:?}");
            let fault = first_invalid.as_ref().unwrap().fault.to_string();
            assert!(fault.starts_with("block-script-verify-flag-failed"), "{fault}");
        }
    }
}
