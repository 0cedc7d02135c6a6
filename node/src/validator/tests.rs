use super::*;

use caesure_consensus::{Network, Params, RejectClass};
use caesure_generate::{Options, coinbase, generate, mine_block};
use caesure_ledger::Summary;
use caesure_p2p::Random;
use caesure_wire::{Block, TxOut};
use crossbeam_channel::{bounded, unbounded};
use tempfile::TempDir;

use crate::chain::Origin;
use crate::disk::spawn_as;
use crate::memory::Memory;
use crate::opening::{Access, Settings, open_chain};

fn params() -> Params {
    Params::new(Network::Regtest)
}

fn open_with(folder: &TempDir, threads: usize, horizon: u32) -> Chain {
    let memory = Memory { in_flight: 1 << 16, ..Memory::of(64) };
    let settings = Settings { threads, horizon, memory, assumed_valid: BlockHash::ZERO };
    open_chain(folder.path(), params(), Access::Write, &settings).unwrap()
}

fn open(folder: &TempDir) -> Validator {
    Validator::new(open_with(folder, 0, 288), folder.path()).unwrap()
}

/// The blocks of a generated chain with forks, in the order of the file.
fn generated(seed: u64) -> Vec<Vec<u8>> {
    let mut blocks = Vec::new();
    let options = Options { blocks: 130, txs: 150, pool: 40, forks: 5, seed, ..Options::default() };
    let mut emit = |block: &[u8]| {
        blocks.push(block.to_vec());
        Ok(())
    };
    generate(&options, &mut emit).unwrap();
    blocks
}

fn header(block: &[u8]) -> Header {
    Header::from_bytes(block.first_chunk().unwrap())
}

fn hash(block: &[u8]) -> BlockHash {
    header(block).hash()
}

/// A block on a parent, with nothing but a coinbase, which claims too much if it is to be wrong.
fn made(height: u32, parent: &[u8], tag: u32, is_wrong: bool) -> Vec<u8> {
    let value = if is_wrong { i64::from(u32::MAX) * 10 } else { 1 };
    let outputs = vec![TxOut { value, script_pubkey: vec![0x51] }];
    mine_block(hash(parent), header(parent).time + 1, coinbase(height, tag, outputs), &[])
}

fn summary(chain: &Chain) -> (BlockHash, Summary, [u8; 32]) {
    let tip = chain.ledger.tip();
    (tip.info().hash, tip.summary().unwrap(), tip.hash_serialized_3().unwrap())
}

fn imported(blocks: &[Vec<u8>]) -> (BlockHash, Summary, [u8; 32]) {
    let folder = tempfile::tempdir().unwrap();
    let mut chain = open_with(&folder, 2, 288);
    for block in blocks {
        chain.offer(block, Origin::default(), clock::unix_time()).unwrap();
    }
    chain.finish().unwrap();
    summary(&chain)
}

impl Validator {
    fn ask_headers(&mut self, blocks: &[Vec<u8>]) {
        let headers = blocks.iter().map(|block| header(block)).collect();
        self.handle(ChainRequest::Headers(headers)).unwrap();
    }

    fn ask(&mut self, block: &[u8]) {
        let bytes = Arc::new(block.to_vec());
        self.handle(ChainRequest::Block { hash: hash(block), bytes }).unwrap();
    }

    /// Works until nothing is left, and returns what happened.
    fn events(&mut self) -> Vec<ChainEvent> {
        while self.step().unwrap() {}
        std::iter::from_fn(|| self.chain.next_event()).collect()
    }

    fn tip(&self) -> BlockHash {
        self.chain.ledger.tip().info().hash
    }
}

fn stored(events: &[ChainEvent]) -> usize {
    events.iter().filter(|event| matches!(event, ChainEvent::Stored { .. })).count()
}

fn refusals(events: &[ChainEvent]) -> Vec<(BlockHash, &str, RejectClass)> {
    let all = events.iter().filter_map(|event| match event {
        ChainEvent::Refused { hash, reason, class } => Some((*hash, reason.as_str(), *class)),
        _ => None,
    });
    all.collect()
}

fn last_tip(events: &[ChainEvent]) -> Option<BlockHash> {
    let tip = |event: &ChainEvent| match event {
        ChainEvent::Tip { hash } => Some(*hash),
        _ => None,
    };
    events.iter().rev().find_map(tip)
}

#[test]
fn blocks_in_any_order_give_the_tip_and_the_set_that_an_import_gives() {
    for seed in 0..6 {
        let mut blocks = generated(seed);
        let best = blocks.len() - 1;
        // A branch that breaks a rule in its second block, with more blocks on top than any other.
        let mut wrong: Vec<Vec<u8>> = vec![made(101, &blocks[100], 9, false)];
        for at in 1..60 {
            wrong.push(made(101 + at, &wrong[at as usize - 1], 9, at == 1));
        }
        let expected = imported(&[&blocks[..], &wrong[..2]].concat());
        blocks.extend(wrong);
        let folder = tempfile::tempdir().unwrap();
        let mut validator = open(&folder);
        validator.ask_headers(&blocks);
        let mut random = Random::new([u8::try_from(seed).unwrap(); 32]);
        let mut order: Vec<&Vec<u8>> = blocks[1..].iter().collect();
        random.shuffle(&mut order);
        let mut events = Vec::new();
        for block in &order {
            validator.ask(block);
            if random.below(3) == 0 {
                validator.step().unwrap();
            }
            if random.below(20) == 0 {
                events.extend(validator.events());
            }
        }
        events.extend(validator.events());
        assert_eq!(summary(&validator.chain), expected, "seed {seed}");
        assert_eq!(last_tip(&events), Some(expected.0));
        // Each block is answered for; a refusal after `Stored` is the wrong block's own.
        let refused = refusals(&events);
        assert_eq!(refused[0].1, "bad-cb-amount");
        let answers = stored(&events) + refused[1..].len();
        assert_eq!(answers, order.len(), "{best} blocks");
        assert!(!validator.chain.waits_for_threads());

        // A start with what is stored gives the same, with threads too.
        validator.chain.save().unwrap();
        drop(validator);
        let again = Validator::new(open_with(&folder, 2, 288), folder.path()).unwrap();
        assert_eq!(summary(&again.chain), expected);
        assert_eq!(again.chain.tree.len(), blocks.len(), "all headers are known again");
    }
}

#[test]
fn a_thread_gives_the_same_and_stops_when_told() {
    let blocks = generated(3);
    let expected = imported(&blocks);
    let folder = tempfile::tempdir().unwrap();
    let validator = Validator::new(open_with(&folder, 2, 288), folder.path()).unwrap();
    let (tasks, tasks_out) = bounded(8);
    let (events_in, events) = unbounded();
    let thread = spawn_as("chain", move || {
        validator.run(&tasks_out, |event| events_in.send(event).is_ok()).unwrap()
    });
    let headers = blocks.iter().map(|block| header(block)).collect();
    tasks.send(Task::Request(ChainRequest::Headers(headers))).unwrap();
    for block in blocks[1..].iter().rev() {
        let (hash, bytes) = (hash(block), Arc::new(block.clone()));
        tasks.send(Task::Request(ChainRequest::Block { hash, bytes })).unwrap();
    }
    while !matches!(events.recv().unwrap(), ChainEvent::Tip { hash } if hash == expected.0) {}
    tasks.send(Task::Stop).unwrap();
    thread.join().unwrap();
    assert_eq!(summary(&open_with(&folder, 2, 288)), expected);
}

#[test]
fn mutated_bodies_leave_the_file_as_it_is_and_the_true_block_is_then_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let mut validator = open(&folder);
    let genesis = params().genesis_block();
    let first = made(1, &genesis, 0, false);
    let second = made(2, &first, 0, false);
    validator.ask_headers(&[first.clone(), second.clone()]);
    validator.events();
    validator.ask(&second);
    validator.events();
    let size = || fs::metadata(folder.path().join("blocks.bin")).unwrap().len();
    let before = size();
    for nonce in 0..2_000_u32 {
        let mut mutated = first.clone();
        let at = mutated.len() - 4;
        mutated[at..].copy_from_slice(&(nonce + 1).to_le_bytes());
        validator.ask(&mutated);
        let events = validator.events();
        assert_eq!(refusals(&events), [(hash(&first), "bad-txnmrklroot", RejectClass::Mutated)]);
    }
    // Not even a block.
    validator.ask(&first[..first.len() - 1]);
    let events = validator.events();
    assert_eq!(refusals(&events), [(hash(&first), "Block decode failed", RejectClass::Mutated)]);
    assert_eq!(size(), before);
    validator.ask(&first);
    let events = validator.events();
    assert_eq!(last_tip(&events), Some(hash(&second)));
    assert_eq!(stored(&events), 1);
}

#[test]
fn a_block_that_was_marked_is_invalid_when_its_header_comes() {
    let folder = tempfile::tempdir().unwrap();
    let first = made(1, &params().genesis_block(), 1, false);
    let second = made(2, &first, 1, false);
    fs::write(folder.path().join(INVALID), format!("{}\n\n", hash(&first))).unwrap();
    let mut validator = open(&folder);
    validator.ask_headers(&[first.clone(), second]);
    validator.ask(&first);
    let events = validator.events();
    let reasons: Vec<&str> = refusals(&events).iter().map(|it| it.1).collect();
    assert_eq!(reasons, ["bad-prevblk", "duplicate-invalid"]);
    assert_eq!(validator.tip(), params().genesis_hash);
    fs::write(folder.path().join(INVALID), "no hash\n").unwrap();
    drop(validator);
    let refused = Validator::new(open_with(&folder, 0, 288), folder.path()).err().unwrap();
    assert!(matches!(refused, Error::NotAHash(_)), "{refused}");
}

#[test]
fn an_invalidated_block_falls_with_all_on_it_and_a_start_remembers_it() {
    for horizon in [288, 5] {
        let folder = tempfile::tempdir().unwrap();
        let genesis = params().genesis_block();
        let mut long = vec![genesis.clone()];
        let mut short = vec![genesis];
        for height in 1..=40 {
            long.push(made(height, long.last().unwrap(), 1, false));
        }
        for height in 1..=20 {
            short.push(made(height, short.last().unwrap(), 2, false));
        }
        let start = || Validator::new(open_with(&folder, 0, horizon), folder.path()).unwrap();
        let mut validator = start();
        validator.ask_headers(&long[1..]);
        validator.ask_headers(&short[1..]);
        long[1..].iter().chain(&short[1..]).for_each(|block| validator.ask(block));
        assert_eq!(last_tip(&validator.events()), Some(hash(&long[40])));
        let invalidate = |id, block: &[u8]| ChainRequest::Invalidate { id, hash: hash(block) };
        let is_done = |events: &[ChainEvent], wanted: u64| matches!(events.last(), Some(ChainEvent::Done { id, result: Ok(()) }) if *id == wanted);
        validator.handle(invalidate(1, &long[30])).unwrap();
        let events = validator.events();
        assert_eq!(last_tip(&events), Some(hash(&long[29])), "{events:?}");
        assert!(is_done(&events, 1));
        validator.handle(invalidate(2, &long[3])).unwrap();
        let events = validator.events();
        assert_eq!(last_tip(&events), Some(hash(&short[20])), "horizon {horizon}: {events:?}");
        assert!(is_done(&events, 2));
        validator.ask(&made(41, &long[40], 1, false));
        assert_eq!(refusals(&validator.events())[0].1, "prev-blk-not-found");
        drop(validator);

        let mut validator = start();
        assert_eq!(last_tip(&validator.events()), Some(hash(&short[20])));
        let reconsider = |block: &[u8]| ChainRequest::Reconsider { id: 3, hash: hash(block) };
        validator.handle(reconsider(&long[35])).unwrap();
        assert!(is_done(&validator.events(), 3));
        assert_eq!(validator.tip(), hash(&long[40]));
        drop(validator);
        let validator = start();
        assert_eq!(validator.tip(), hash(&long[40]));
        validator.chain.ledger.tip().hash_serialized_3().unwrap();
    }
}

#[test]
fn a_precious_block_is_the_tip_among_those_of_its_work_until_more_work_comes() {
    let folder = tempfile::tempdir().unwrap();
    let mut validator = open(&folder);
    let genesis = params().genesis_block();
    let [a, b] = [1, 2].map(|tag| made(1, &genesis, tag, false));
    let next = made(2, &a, 1, false);
    validator.ask_headers(&[a.clone(), b.clone(), next.clone()]);
    validator.ask(&a);
    validator.ask(&b);
    validator.events();
    assert_eq!(validator.tip(), hash(&a));
    let precious = |block: &[u8]| ChainRequest::Precious { id: 1, hash: hash(block) };
    validator.handle(precious(&b)).unwrap();
    assert_eq!(last_tip(&validator.events()), Some(hash(&b)));
    validator.handle(precious(&a)).unwrap();
    validator.handle(precious(&b)).unwrap();
    validator.handle(precious(&genesis)).unwrap();
    validator.events();
    assert_eq!(validator.tip(), hash(&b));
    validator.ask(&next);
    assert_eq!(last_tip(&validator.events()), Some(hash(&next)));
    let unknown = ChainRequest::Precious { id: 2, hash: BlockHash([7; 32]) };
    validator.handle(unknown).unwrap();
    let events = validator.events();
    assert!(matches!(events[..], [ChainEvent::Done { id: 2, result: Err(_) }]), "{events:?}");
}

#[test]
fn a_header_file_with_a_torn_or_damaged_end_is_cut_there() {
    let blocks = generated(1);
    let count = blocks.len();
    for damage in 0..3 {
        let folder = tempfile::tempdir().unwrap();
        let mut validator = open(&folder);
        validator.ask_headers(&blocks);
        assert_eq!(validator.chain.tree.len(), count);
        drop(validator);
        let path = folder.path().join("headers.bin");
        let mut bytes = fs::read(&path).unwrap();
        let begin = bytes.len() - 80 * (count - 1);
        let expected = match damage {
            0 => {
                bytes.truncate(begin + 80 * 50 + 79);
                51
            }
            1 => {
                bytes[begin + 80 * 20 + 3] ^= 1;
                21
            }
            _ => {
                bytes[0] ^= 1;
                1
            }
        };
        fs::write(&path, bytes).unwrap();
        let mut validator = open(&folder);
        assert_eq!(validator.chain.tree.len(), expected);
        validator.ask_headers(&blocks);
        drop(validator);
        assert_eq!(open(&folder).chain.tree.len(), count);
    }
}

#[test]
fn a_block_whose_bytes_are_decoded_is_what_a_read_gives() {
    let folder = tempfile::tempdir().unwrap();
    let mut validator = open(&folder);
    let block = made(1, &params().genesis_block(), 1, false);
    validator.ask_headers(std::slice::from_ref(&block));
    validator.ask(&block);
    validator.events();
    validator.handle(ChainRequest::Read { ticket: 5, hash: hash(&block) }).unwrap();
    validator.handle(ChainRequest::Read { ticket: 6, hash: BlockHash([1; 32]) }).unwrap();
    let events = validator.events();
    let [
        ChainEvent::Read { ticket: 5, block: Some(read) },
        ChainEvent::Read { ticket: 6, block: None },
    ] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!(Block::parse(&read[..]).unwrap().hash(), hash(&block));
}
