//! What the program decides, against a catalogue of faulty blocks and against Bitcoin Core.
//!
//! With `BITCOIND_EXE` set to a `bitcoind`, that is asked the same; without it, those tests say that
//! they are left out.
#![allow(clippy::print_stdout, reason = "each test tells how many cases it ran or left out")]

#[path = "support/faults/mod.rs"]
mod faults;
mod support;

use std::path::Path;
use std::time::SystemTime;

use caesure_consensus::{COIN, Network, Params, Reject, subsidy};
use caesure_generate::{Options, Profile, coinbase, generate, mine_block};
use caesure_script::opcode::{OP_1, OP_RETURN};
use caesure_wire::{BlockHash, Header, OutPoint, Transaction, TxIn, TxOut, Txid};
use faults::{Catalogue, Fault, catalogue};
use serde_json::json;
use support::bitcoind::Bitcoind;
use support::{caesure, copy_folder, push_record, write_records};
use tempfile::TempDir;

/// How many random trees are judged, and the time of their block 0, 2020-01-01.
const TREES: u64 = 12;
const TREE_TIME: u32 = 1_577_836_800;

fn the_catalogue() -> Catalogue {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    catalogue(now.try_into().unwrap())
}

fn hash(block: &[u8]) -> BlockHash {
    Header::from_bytes(block.first_chunk().unwrap()).hash()
}

/// Imports a faulty block on the chain that `base` holds, and compares what is said.
fn check(base: &Path, fault: &Fault, tip: &str, threads: &str) -> Result<(), String> {
    let folder = TempDir::new().unwrap();
    let (copy, file) = (folder.path().join("base"), folder.path().join("block.dat"));
    copy_folder(base, &copy);
    let blocks: Vec<_> = fault.before.iter().chain([&fault.block]).collect();
    write_records(&file, &blocks);
    let run = caesure(&copy, &["import", "--par", threads, file.to_str().unwrap()]);
    let json = run.json;
    let name = &fault.name;
    let unjudged = matches!(
        fault.reject,
        Reject::PrevBlkNotFound | Reject::BadPrevblk | Reject::DuplicateInvalid
    );
    let is_right = json["bestblock"] == tip
        && json["blocks_connected"] == 0
        && if unjudged {
            // What is known of the block before it is enough.
            let before = u64::try_from(fault.before.len()).unwrap();
            json["blocks_invalid"] == before && run.status == i32::from(0 < before)
        } else {
            let reason = json["first_invalid"]["reason"].as_str();
            json["blocks_invalid"] == 1
                && run.status == 1
                && reason == Some(&fault.reject.to_string())
                && json["first_invalid"]["hash"] == hash(&fault.block).to_string()
        };
    if is_right {
        return Ok(());
    }
    Err(format!("{name}, {threads} threads: {} expected, {json} {}", fault.reject, run.stderr))
}

#[test]
fn every_faulty_block_is_refused_for_its_reason_with_any_number_of_threads() {
    let Catalogue { chain, faults } = the_catalogue();
    let folder = TempDir::new().unwrap();
    let (base, file) = (folder.path().join("base"), folder.path().join("chain.dat"));
    write_records(&file, &chain);
    let run = caesure(&base, &["import", file.to_str().unwrap()]);
    assert_eq!(run.status, 0, "{}", run.stderr);
    let tip = hash(chain.last().unwrap()).to_string();
    assert_eq!(run.json["bestblock"], tip);
    let check_all = |threads| -> Vec<String> {
        faults.iter().filter_map(|fault| check(&base, fault, &tip, threads).err()).collect()
    };
    let wrong = std::thread::scope(|scope| {
        let runs = ["1", "2", "4"].map(|threads| scope.spawn(move || check_all(threads)));
        runs.map(|run| run.join().unwrap()).concat()
    });
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
    println!("{} faulty blocks, each with 1, 2 and 4 threads", faults.len());
}

/// Many blocks of which a script fails, all checked at the same time, and each dropped while others
/// still run.
#[test]
fn cve_2024_52911_a_block_found_invalid_while_others_are_checked_harms_nothing() {
    let Catalogue { chain, faults } = the_catalogue();
    let folder = TempDir::new().unwrap();
    let (base, file) = (folder.path().join("base"), folder.path().join("chain.dat"));
    let is_of_scripts =
        |fault: &&Fault| matches!(fault.reject, Reject::BlockScriptVerifyFlagFailed(_));
    let faulty: Vec<_> =
        faults.iter().filter(is_of_scripts).map(|fault| fault.block.clone()).collect();
    write_records(&file, &[&chain[..], &faulty].concat());
    let run = caesure(&base, &["import", "--par", "8", file.to_str().unwrap()]);
    assert_eq!(run.json["blocks_invalid"], faulty.len(), "{}", run.stderr);
    assert_eq!(run.json["bestblock"], hash(chain.last().unwrap()).to_string());
    println!("{} blocks with a failing script at the same time", faulty.len());
}

/// What Core's `submitblock` should say.
fn core_says(fault: &Fault, is_in_order: bool, answer: &str) -> bool {
    let reject = if is_in_order { fault.in_order } else { fault.reject };
    if fault.name.starts_with("two scripts") && !is_in_order {
        // Whichever thread is first.
        return answer.starts_with(reject.reason());
    }
    answer == reject.to_string()
}

#[test]
fn bitcoind_refuses_the_faulty_blocks_for_the_same_reasons() {
    let Catalogue { chain, faults } = the_catalogue();
    for threads in ["1", "3"] {
        let arg = format!("-par={threads}");
        let Some(bitcoind) = Bitcoind::start("faulty blocks", &[arg]) else { return };
        for block in &chain[1..] {
            let answer = bitcoind.submit(block);
            assert!(answer.is_null(), "{answer}");
        }
        let tip = bitcoind.get("getbestblockhash", &json!([]));
        assert_eq!(tip, hash(chain.last().unwrap()).to_string());
        let mut wrong = Vec::new();
        for fault in &faults {
            for block in &fault.before {
                assert!(bitcoind.submit(block).is_string(), "{}", fault.name);
            }
            let answer = bitcoind.submit(&fault.block);
            let is_in_order = threads == "1";
            if fault.name == "no witness nonce" {
                // The call puts the nonce in, and so makes the block valid.
                assert!(answer.is_null(), "{answer}");
                bitcoind.get("invalidateblock", &json!([hash(&fault.block).to_string()]));
                continue;
            }
            if !core_says(fault, is_in_order, answer.as_str().unwrap_or_default()) {
                let expected = if is_in_order { fault.in_order } else { fault.reject };
                wrong.push(format!("{}, -par={threads}: {expected}, but {answer}", fault.name));
            }
            if bitcoind.get("getbestblockhash", &json!([])) != tip {
                wrong.push(format!("{}, -par={threads}: becomes the tip", fault.name));
                bitcoind.get("invalidateblock", &json!([hash(&fault.block).to_string()]));
            }
        }
        assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
        println!("bitcoind refused {} blocks with -par={threads}", faults.len());
    }
}

#[test]
fn generated_chains_give_the_set_of_unspent_outputs_that_bitcoind_has() {
    let chains = [
        (Profile::Mixed, 300, 3_000, 1_000, 6, 1),
        (Profile::Mixed, 700, 700, 300, 30, 2),
        (Profile::Utxo, 200, 300, 5_000, 3, 3),
        (Profile::Coins, 200, 3_000, 5_000, 3, 6),
        (Profile::Sig, 200, 3_000, 1_000, 4, 4),
        (Profile::Legacy, 200, 20, 2_000, 5, 5),
    ];
    for (profile, blocks, txs, pool, forks, seed) in chains {
        let options = Options { blocks, txs, pool, profile, forks, seed };
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("chain.dat");
        let mut bytes = Vec::new();
        let summary = generate(&options, &mut |block| {
            push_record(&mut bytes, block);
            Ok(())
        })
        .unwrap();
        std::fs::write(&file, bytes).unwrap();
        let tip = summary.tip.to_string();
        let base = folder.path().join("base");
        let run = caesure(&base, &["import", file.to_str().unwrap()]);
        assert_eq!((run.status, &run.json["bestblock"]), (0, &json!(tip)), "{}", run.stderr);
        let ours = caesure(&base, &["utxo", "info"]).json;
        assert_eq!(ours["bestblock"], tip, "{options:?}");
        let Some(bitcoind) = Bitcoind::load("sets of unspent outputs", &file, &tip) else { return };
        let theirs = bitcoind.get("gettxoutsetinfo", &json!(["hash_serialized_3"]));
        for key in ["height", "bestblock", "txouts", "hash_serialized_3"] {
            assert_eq!(ours[key], theirs[key], "{key} of {options:?}");
        }
        let bitcoins = format!("{:.8}", theirs["total_amount"].as_f64().unwrap());
        assert_eq!(ours["total_amount"].to_string(), bitcoins.replace('.', ""), "{options:?}");
        let theirs = bitcoind.get("gettxoutsetinfo", &json!(["muhash"]));
        assert_eq!(ours["muhash"], theirs["muhash"], "{options:?}");
    }
    println!("bitcoind has the same set of unspent outputs after {} chains", chains.len());
}

/// A block of a tree: its bytes, hash and height, and whether it and all below it are valid.
struct Node {
    bytes: Vec<u8>,
    hash: BlockHash,
    height: u32,
    is_valid: bool,
}

/// SplitMix64.
struct Rng(u64);

impl Rng {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ mixed >> 31) % limit as u64).unwrap()
    }
}

/// A block that spends the coinbase 100 blocks before, and may be faulty.
fn child(parent: &Node, coinbases: &[Txid], tag: u32, fault: usize) -> Node {
    let height = parent.height + 1;
    let txid = coinbases[usize::try_from(height).unwrap() - 100];
    let output = |value| TxOut { value, script_pubkey: vec![OP_1] };
    let prevout = OutPoint { txid, vout: 0 };
    let input = TxIn { prevout, sequence: u32::MAX, ..TxIn::default() };
    let mut tx = Transaction {
        version: 2,
        inputs: vec![input],
        outputs: vec![output(49 * COIN)],
        lock_time: tag & 1,
    };
    let subsidy = subsidy(height, &Params::new(Network::Regtest));
    let mut coinbase = coinbase(height, tag, vec![output(subsidy)]);
    match fault {
        0 => coinbase.outputs[0].value += COIN + 1,
        1 => coinbase.inputs[0].script_sig[1] ^= 1,
        2 => tx.inputs[0].script_sig = vec![OP_RETURN],
        3 => tx.inputs[0].prevout.vout = 1,
        _ => {}
    }
    let bytes = mine_block(parent.hash, TREE_TIME + 600 * height, coinbase, &[tx.encode()]);
    Node { hash: hash(&bytes), bytes, height, is_valid: parent.is_valid && 3 < fault }
}

/// A chain of 101 blocks, its last block, and the coinbases by height.
fn chain_of_101() -> (Vec<Vec<u8>>, Node, Vec<Txid>) {
    let genesis = Params::new(Network::Regtest).genesis_block();
    // A file without block 0 stops bitcoind.
    let mut blocks = vec![genesis.clone()];
    let mut node = Node { hash: hash(&genesis), bytes: genesis, height: 0, is_valid: true };
    let mut coinbases = vec![Txid::ZERO];
    while node.height < 101 {
        let height = node.height + 1;
        let output = TxOut { value: 50 * COIN, script_pubkey: vec![OP_1] };
        let coinbase = coinbase(height, 0, vec![output]);
        coinbases.push(coinbase.txid());
        let bytes = mine_block(node.hash, TREE_TIME + 600 * height, coinbase, &[]);
        node = Node { hash: hash(&bytes), bytes: bytes.clone(), height, is_valid: true };
        blocks.push(bytes);
    }
    (blocks, node, coinbases)
}

/// A chain of 101 blocks with a tree on it, parents first, and the block where it must lead.
fn random_tree(rng: &mut Rng) -> (Vec<Vec<u8>>, BlockHash) {
    let (mut blocks, node, coinbases) = chain_of_101();
    let mut nodes = vec![node];
    for tag in 1..=80 {
        let back = 1 + rng.below(nodes.len().min(6));
        let kinds = [8, 100][rng.below(2)];
        let fault = rng.below(kinds);
        nodes.push(child(&nodes[nodes.len() - back], &coinbases, tag, fault));
    }
    let best = nodes.iter().filter(|node| node.is_valid).max_by_key(|node| node.height).unwrap();
    // One block more, so that no other has as much work.
    nodes.push(child(best, &coinbases, 81, 4));
    let tip = nodes.last().unwrap().hash;
    blocks.extend(nodes.drain(1..).map(|node| node.bytes));
    (blocks, tip)
}

#[test]
fn trees_with_faulty_blocks_lead_to_the_tip_and_the_set_that_bitcoind_finds() {
    let mut asked = 0;
    for seed in 0..TREES {
        let rng = &mut Rng(seed);
        let (mut blocks, tip) = random_tree(rng);
        let tip = tip.to_string();
        let folder = TempDir::new().unwrap();
        let [ordered, file, start] =
            ["ordered.dat", "all.dat", "start.dat"].map(|name| folder.path().join(name));
        write_records(&ordered, &blocks);
        // Only bitcoind needs parents first.
        for i in (103..blocks.len()).rev() {
            blocks.swap(i, 102 + rng.below(i + 1 - 102));
        }
        write_records(&file, &blocks);
        write_records(&start, &blocks[..102 + rng.below(80)]);
        let [file_arg, start_arg] = [&file, &start].map(|path| path.to_str().unwrap());
        let horizon = (1 + rng.below(12)).to_string();
        let mut infos = Vec::new();
        for (name, parts) in [("once", &[file_arg][..]), ("in parts", &[start_arg, file_arg])] {
            let base = folder.path().join(name);
            let mut best = json!(null);
            for part in parts {
                let args = ["import", "--par", "2", "--horizon", &horizon, part];
                let run = caesure(&base, &args);
                assert!(run.status <= 1, "seed {seed}, {name}: {}", run.stderr);
                best = run.json["bestblock"].clone();
            }
            assert_eq!(best, tip, "seed {seed}, {name}, horizon {horizon}");
            infos.push(caesure(&base, &["utxo", "info"]).json);
        }
        assert_eq!(infos[0], infos[1], "seed {seed}");
        if let Some(bitcoind) = Bitcoind::load("trees", &ordered, &tip) {
            let theirs = bitcoind.get("gettxoutsetinfo", &json!(["hash_serialized_3"]));
            for key in ["height", "bestblock", "txouts", "hash_serialized_3"] {
                assert_eq!(infos[0][key], theirs[key], "{key}, seed {seed}");
            }
            asked += 1;
        }
    }
    println!("{TREES} trees of 82 blocks, {asked} of them by bitcoind too");
}

/// A chain of which block 102 has a fault and 2,100 blocks stand on it, and the hashes of blocks 101
/// and 150 and of its last.
fn chain_with_an_early_fault(fault: usize) -> (Vec<Vec<u8>>, [String; 3]) {
    let (mut blocks, node, coinbases) = chain_of_101();
    let mut hashes = vec![node.hash];
    let faulty = child(&node, &coinbases, 1, fault);
    hashes.push(faulty.hash);
    blocks.push(faulty.bytes);
    for height in 103..=2_202 {
        let output = TxOut { value: 0, script_pubkey: vec![OP_1] };
        let coinbase = coinbase(height, 0, vec![output]);
        let bytes = mine_block(hashes[hashes.len() - 1], TREE_TIME + 600 * height, coinbase, &[]);
        hashes.push(hash(&bytes));
        blocks.push(bytes);
    }
    let names = [0, 49, hashes.len() - 1].map(|index| hashes[index].to_string());
    (blocks, names)
}

/// Waits until a block was found invalid, or all are connected.
fn wait_for_the_verdict(bitcoind: &Bitcoind, is_refused: bool) {
    let is_there = |tips: &serde_json::Value| {
        let mut tips = tips.as_array().unwrap().iter();
        match is_refused {
            true => tips.any(|tip| tip["status"] == "invalid"),
            false => tips.all(|tip| tip["status"] == "active"),
        }
    };
    while !is_there(&bitcoind.get("getchaintips", &json!([]))) {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

#[test]
fn scripts_below_an_assumed_valid_block_are_skipped_and_nothing_else_as_by_bitcoind() {
    // A script that fails, a coinbase that claims too much, a coin that does not exist.
    let mut asked = 0;
    for (fault, reason) in [
        (2, "block-script-verify-flag-failed"),
        (0, "bad-cb-amount"),
        (3, "bad-txns-inputs-missingorspent"),
    ] {
        let (mut blocks, [before, middle, tip]) = chain_with_an_early_fault(fault);
        let folder = TempDir::new().unwrap();
        let [file, shuffled] = ["chain.dat", "shuffled.dat"].map(|name| folder.path().join(name));
        write_records(&file, &blocks);
        let rng = &mut Rng(1);
        for i in (2..blocks.len()).rev() {
            blocks.swap(i, 1 + rng.below(i));
        }
        write_records(&shuffled, &blocks);
        // The block that is assumed valid may stand anywhere above; below it says nothing.
        for (assumed, is_skipped) in
            [(&*tip, true), (&middle, true), ("0", false), (&before, false)]
        {
            let expected = if is_skipped && fault == 2 { &tip } else { &before };
            for path in [&file, &shuffled] {
                let base = TempDir::new().unwrap();
                let args = ["import", "--assumevalid", assumed, path.to_str().unwrap()];
                let run = caesure(base.path(), &args);
                assert_eq!(run.json["bestblock"], *expected, "{reason}, {assumed}: {}", run.stderr);
                let skipped = u64::from(expected == &tip);
                assert_eq!(run.json["scripts_skipped"], skipped, "{reason}, {assumed}");
                if expected == &before {
                    let said = run.json["first_invalid"]["reason"].as_str().unwrap();
                    assert!(said.starts_with(reason), "{said}");
                    continue;
                }
                assert_eq!(run.json["skipped"], 0, "each block comes after its parent");
                // What was skipped is found by those who do not assume it.
                let run = caesure(base.path(), &["verify", "--assumevalid", &middle]);
                assert_eq!((run.status, &run.json["scripts_skipped"]), (0, &json!(1)));
                let fails = base.path().join("fails.txt");
                let run = caesure(base.path(), &["verify", "--fails", fails.to_str().unwrap()]);
                assert_eq!((run.status, &run.json["blocks_invalid"]), (1, &json!(1)));
            }
            let args = [format!("-assumevalid={assumed}")];
            let Some(bitcoind) = Bitcoind::load_with("assumevalid", &file, expected, &args) else {
                continue;
            };
            wait_for_the_verdict(&bitcoind, expected == &before);
            assert_eq!(bitcoind.get("getbestblockhash", &json!([])), *expected, "{reason}");
            asked += 1;
        }
    }
    println!("12 imports with --assumevalid, {asked} of them by bitcoind too");
}

/// Two weeks of work must stand on a block; 2,016 blocks are not more than that.
#[test]
fn a_block_with_less_than_two_weeks_of_work_on_it_is_checked_whatever_is_assumed() {
    let (blocks, [before, _, _]) = chain_with_an_early_fault(2);
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("chain.dat");
    for (count, is_skipped) in [(103 + 2_016, false), (103 + 2_017, true)] {
        write_records(&file, &blocks[..count]);
        let tip = hash(&blocks[count - 1]).to_string();
        let expected = if is_skipped { &tip } else { &before };
        let base = TempDir::new().unwrap();
        let args = ["import", "--assumevalid", &tip, file.to_str().unwrap()];
        assert_eq!(caesure(base.path(), &args).json["bestblock"], *expected);
        let args = [format!("-assumevalid={tip}")];
        if let Some(bitcoind) = Bitcoind::load_with("two weeks of work", &file, expected, &args) {
            wait_for_the_verdict(&bitcoind, !is_skipped);
            assert_eq!(bitcoind.get("getbestblockhash", &json!([])), *expected);
        }
    }
}
