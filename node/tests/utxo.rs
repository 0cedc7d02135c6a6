//! Sets of unspent outputs as files: Core's snapshots, byte for byte, and the original's.
//!
//! With `BITCOIND_EXE` set to a `bitcoind`, that writes the same snapshots and loads ours; without
//! it, those tests say what they leave out.
#![allow(clippy::print_stdout, reason = "says what was compared")]
#![allow(dead_code, reason = "the shared support has more than is needed here")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use caesure_consensus::{Coin, Network, Params, subsidy};
use caesure_generate::{Options, Profile, coinbase, generate, mine_block, solve};
use caesure_ledger::snapshot::{Reader, Writer};
use caesure_script::push_int;
use caesure_wire::{
    BlockHash, Header, MerkleRoot, OutPoint, Transaction, TxIn, TxOut, Txid, encode_block,
};
use serde_json::{Value, json};
use support::bitcoind::Bitcoind;
use support::{Run, caesure, write_records};
use tempfile::TempDir;

fn unhex(text: &str) -> Vec<u8> {
    caesure_text::hex::decode(text).unwrap()
}

fn params() -> Params {
    Params::new(Network::Regtest)
}

fn hash(block: &[u8]) -> BlockHash {
    Header::from_bytes(block.first_chunk().unwrap()).hash()
}

/// A folder with a base into which a chain was imported.
struct Base {
    dir: TempDir,
    blocks: Vec<Vec<u8>>,
}

impl Base {
    fn new(blocks: Vec<Vec<u8>>) -> Self {
        let base = Self { dir: TempDir::new().unwrap(), blocks };
        write_records(&base.path("chain.dat"), &base.blocks);
        let run = base.run(&["import", "--horizon", "800", &base.text("chain.dat")]);
        assert_eq!(run.json["bestblock"], base.tip(), "{}", run.stderr);
        base
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    fn tip(&self) -> String {
        hash(self.blocks.last().unwrap()).to_string()
    }

    fn run(&self, args: &[&str]) -> Run {
        caesure(&self.path("base"), args)
    }

    fn done(&self, args: &[&str]) -> Value {
        let run = self.run(args);
        assert_eq!(run.status, 0, "{args:?}: {}", run.stderr);
        run.json
    }

    /// Runs a command that must fail, and returns what it says.
    fn fails(&self, args: &[&str]) -> String {
        let run = self.run(args);
        assert_eq!(run.status, 1, "{args:?}: {}", run.json);
        run.stderr
    }

    fn export(&self, at: &str, name: &str) -> Vec<u8> {
        self.done(&["utxo", "export", "--at", at, &self.text(name)]);
        fs::read(self.path(name)).unwrap()
    }

    /// Takes the ledger's files away, so that the headers are known and no coin is.
    fn forget_ledger(&self) {
        for entry in fs::read_dir(self.path("base/regtest")).unwrap() {
            let entry = entry.unwrap();
            if entry.file_name().to_str().unwrap().starts_with("ledger.") {
                fs::remove_file(entry.path()).unwrap();
            }
        }
    }
}

/// The 200 blocks that Core's tests build, for whose set a hash is built in.
fn chain_of_core() -> Vec<Vec<u8>> {
    let params = params();
    let mut blocks = vec![params.genesis_block()];
    let p2wsh_of_op_true =
        unhex("00204ae81572f06e1b88fd5ced7a1a000945432e83e1551e6f721ee9c00b8cc33260");
    for height in 1..=200 {
        let mut script_sig = Vec::new();
        push_int(&mut script_sig, height.into());
        script_sig.push(0);
        let input = TxIn { script_sig, sequence: u32::MAX - 1, ..TxIn::default() };
        let script_pubkey = p2wsh_of_op_true.clone();
        let coinbase = Transaction {
            version: 2,
            inputs: vec![input],
            outputs: vec![TxOut { value: subsidy(height, &params), script_pubkey }],
            lock_time: height - 1,
        };
        let mut header = Header {
            version: 4,
            prev_block: hash(blocks.last().unwrap()),
            merkle_root: MerkleRoot(coinbase.txid().0),
            time: params.genesis.time + height,
            bits: params.genesis.bits,
            nonce: 0,
        };
        solve(&mut header);
        blocks.push(encode_block(&header, &[coinbase.encode()]));
    }
    blocks
}

/// Blocks whose coinbases have outputs of every kind that a snapshot has a form for, and more
/// outputs than Core's database keeps in the order of their numbers.
fn odd_chain(most: usize) -> Vec<Vec<u8>> {
    let params = params();
    let x = "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
    let y = "483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8";
    let zero = "00".repeat(32);
    let mut scripts: Vec<Vec<u8>> = [
        format!("76a914{}88ac", &x[..40]),
        format!("a914{}87", &x[..40]),
        format!("2102{x}ac"),
        format!("2103{x}ac"),
        format!("2102{zero}ac"),
        format!("4104{x}{y}ac"),
        format!("4104{x}{zero}ac"),
        format!("4106{x}{y}ac"),
        format!("5120{x}"),
        String::new(),
        "51".to_owned(),
    ]
    .iter()
    .map(|script| unhex(script))
    .collect();
    scripts.extend([121, 122, 9_999, 10_000].map(|size| vec![0x51; size]));
    let mut blocks = vec![params.genesis_block()];
    for height in 1..=3 {
        let mut outputs: Vec<TxOut> = scripts
            .iter()
            .zip([0, 1, 9, 10, 99_999_999, 100_000_000, 1_000_000_000, 123_456_789].iter().cycle())
            .map(|(script, value)| TxOut { value: *value, script_pubkey: script.clone() })
            .collect();
        let more = TxOut { value: i64::from(height), script_pubkey: vec![0x51] };
        outputs.resize([16_511, most, 20][usize::try_from(height).unwrap() - 1], more);
        let coinbase = coinbase(height, 0, outputs);
        let time = params.genesis.time + 600 * height;
        blocks.push(mine_block(hash(blocks.last().unwrap()), time, coinbase, &[]));
    }
    blocks
}

fn generated_chain(profile: Profile, blocks: u32, seed: u64) -> Vec<Vec<u8>> {
    let txs = if profile == Profile::Legacy { 40 } else { 1_000 };
    let options = Options { blocks, txs, pool: 400, profile, forks: 2, seed };
    let mut chain = Vec::new();
    let emit = &mut |block: &[u8]| {
        chain.push(block.to_vec());
        Ok(())
    };
    let tip = generate(&options, emit).unwrap().tip;
    // What was mined last need not be the tip; the tests take it for that.
    let at = chain.iter().position(|block| hash(block) == tip).unwrap();
    let last = chain.remove(at);
    chain.push(last);
    chain
}

fn coins(file: &[u8]) -> BTreeMap<OutPoint, Coin> {
    Reader::new(file).unwrap().map(Result::unwrap).collect()
}

#[test]
fn a_snapshot_has_the_bytes_that_bitcoind_writes() {
    let chains = [
        ("odd outputs", odd_chain(70_000)),
        ("mixed", generated_chain(Profile::Mixed, 250, 1)),
        ("many outputs", generated_chain(Profile::Utxo, 200, 2)),
        ("legacy", generated_chain(Profile::Legacy, 200, 3)),
    ];
    let mut compared = 0;
    for (name, blocks) in chains {
        let base = Base::new(blocks);
        let ours = base.export("tip", "ours.dat");
        let info = base.done(&["utxo", "info"]);
        assert_eq!(coins(&ours).len(), usize::try_from(info["txouts"].as_u64().unwrap()).unwrap());
        let chain = base.path("chain.dat");
        let Some(bitcoind) = Bitcoind::load("snapshots of bitcoind", &chain, &base.tip()) else {
            continue;
        };
        let theirs = bitcoind.get("dumptxoutset", &json!([base.text("theirs.dat"), "latest"]));
        assert_eq!(theirs["txoutset_hash"], info["hash_serialized_3"], "{name}");
        assert!(fs::read(base.path("theirs.dat")).unwrap() == ours, "{name}");
        compared += 1;
    }
    println!("bitcoind wrote {compared} snapshots of the same bytes");
}

#[test]
fn bitcoind_loads_our_snapshot_of_a_set_whose_hash_is_built_in() {
    let base = Base::new(chain_of_core());
    let params = params();
    let set = params.assumed_sets[1];
    let info = base.done(&["utxo", "info"]);
    assert_eq!(info["height"], set.height);
    assert_eq!(info["bestblock"], set.block.to_string());
    assert_eq!(info["hash_serialized_3"], BlockHash(set.hash_serialized_3).to_string());
    base.export("tip", "ours.dat");
    assert_eq!(base.done(&["utxo", "info", &base.text("ours.dat")])["trusted"], true);
    let Some(bitcoind) = Bitcoind::start("a snapshot of ours", &[]) else { return };
    for block in &base.blocks[1..] {
        let header = caesure_text::hex::encode(&block[..80]);
        bitcoind.get("submitheader", &json!([header]));
    }
    let loaded = bitcoind.get("loadtxoutset", &json!([base.text("ours.dat")]));
    assert_eq!(loaded["coins_loaded"], 200);
    assert_eq!(loaded["tip_hash"], set.block.to_string());
    assert_eq!(bitcoind.get("getblockcount", &json!([])), 200);
    println!("bitcoind loaded a snapshot of 200 coins");
}

#[test]
fn the_difference_of_two_sets_leads_from_one_to_the_other() {
    let base = Base::new(generated_chain(Profile::Mixed, 200, 4));
    let mut set = coins(&base.export("150", "from.dat"));
    let expected = coins(&base.export("tip-3", "to.dat"));
    let diff = base.done(&["utxo", "diff", "--from", "150", "--at", "tip-3"]);
    assert_eq!((&diff["from"]["height"], &diff["at"]["height"]), (&json!(150), &json!(197)));
    let list = |name: &str| {
        let read = |coin: &Value| {
            let number = |name: &str| coin[name].as_i64().unwrap();
            let outpoint = OutPoint {
                txid: coin["txid"].as_str().unwrap().parse().unwrap(),
                vout: number("vout").try_into().unwrap(),
            };
            let coin = Coin {
                value: number("value"),
                height: number("height").try_into().unwrap(),
                is_coinbase: coin["coinbase"].as_bool().unwrap(),
                script_pubkey: unhex(coin["script_pubkey"].as_str().unwrap()).into(),
            };
            (outpoint, coin)
        };
        let list: Vec<_> = diff[name].as_array().unwrap().iter().map(read).collect();
        assert_eq!(diff[format!("{name}_count")], list.len());
        list
    };
    let (removed, added) = (list("removed"), list("added"));
    assert!(!removed.is_empty() && !added.is_empty());
    for (outpoint, coin) in &removed {
        assert_eq!(set.remove(outpoint).as_ref(), Some(coin));
    }
    set.extend(added.clone());
    assert_eq!(set, expected);

    let text = Command::new(env!("CARGO_BIN_EXE_caesure"))
        .args(["--network", "regtest", "utxo", "diff", "--from", "150", "--at", "tip-3", "-b"])
        .arg(base.path("base"))
        .output()
        .unwrap();
    let text = String::from_utf8(text.stdout).unwrap();
    let (outpoint, coin) = &added[0];
    let mark = if coin.is_coinbase { "c" } else { "" };
    let script = caesure_text::hex::encode(&coin.script_pubkey);
    let line = format!("+ {outpoint} {} {}{mark} {script}\n", coin.value, coin.height);
    assert!(text.contains(&line), "{line}{text}");
    assert_eq!(text.matches("\n- ").count() + 1, removed.len());
}

#[test]
fn an_export_overwrites_nothing_and_leaves_no_part() {
    let base = Base::new(odd_chain(17_000));
    fs::write(base.path("there"), b"mine").unwrap();
    let error = base.fails(&["utxo", "export", &base.text("there")]);
    assert!(error.contains("exists"), "{error}");
    assert_eq!(fs::read(base.path("there")).unwrap(), b"mine");
    // What an export that was killed left behind is no hindrance.
    fs::write(base.path("new.incomplete"), vec![7; 10 << 20]).unwrap();
    base.export("tip", "new");
    assert!(!base.path("new.incomplete").exists());
    let error = base.fails(&["utxo", "export", "--at", "4", &base.text("other")]);
    assert!(error.contains("is not a block of this chain"), "{error}");
    let error = base.fails(&["utxo", "export", &base.text("no/folder")]);
    assert!(error.contains("no/folder"), "{error}");
    assert!(!base.path("other").exists() && !base.path("other.incomplete").exists());
}

/// As after a crash: the blocks are there, and what says where each lies is older.
#[test]
fn a_set_that_is_ahead_of_the_index_is_shown_as_far_as_that_goes() {
    const ENTRY: u64 = 132;
    let base = Base::new(odd_chain(17_000));
    let whole = base.done(&["utxo", "info"]);
    let index = base.path("base/regtest/blocks.idx");
    let len = fs::metadata(&index).unwrap().len();
    fs::OpenOptions::new().write(true).open(&index).unwrap().set_len(len - ENTRY).unwrap();
    let run = base.run(&["utxo", "info"]);
    let height = whole["height"].as_u64().unwrap() - 1;
    assert_eq!(run.json["height"], height, "{}", run.stderr);
    assert!(
        run.stderr.contains(&format!("up to height {height}; caesure import")),
        "{}",
        run.stderr
    );
    base.done(&["import"]);
    assert_eq!(base.done(&["utxo", "info"]), whole);
}

#[test]
fn an_export_that_fails_leaves_no_part() {
    // The original's format has two bytes for an index.
    let base = Base::new(odd_chain(70_000));
    let error = base.fails(&["utxo", "export", "--format", "v3", &base.text("utxo.bin")]);
    assert!(error.contains("a number is too large"), "{error}");
    assert!(!base.path("utxo.bin").exists() && !base.path("utxo.bin.incomplete").exists());
}

#[test]
fn a_file_tells_what_set_it_holds() {
    let base = Base::new(odd_chain(17_000));
    let info = base.done(&["utxo", "info", "--at", "2"]);
    base.export("2", "set.dat");
    // Also when another network is chosen.
    let run = base.done(&["utxo", "info", "--network", "main", &base.text("set.dat")]);
    assert_eq!((&run["format"], &run["version"]), (&json!("snapshot"), &json!(2)));
    assert_eq!((&run["network"], &run["trusted"]), (&json!("regtest"), &json!(false)));
    for key in ["bestblock", "transactions", "txouts", "bogosize", "total_amount", "muhash"] {
        assert_eq!(run[key], info[key], "{key}");
    }
    assert_eq!(run["hash_serialized_3"], info["hash_serialized_3"]);

    let original = base.text("utxo.bin");
    base.done(&["utxo", "export", "--at", "2", "--format", "v3", &original]);
    let run = base.done(&["utxo", "info", &original]);
    assert_eq!((&run["format"], &run["version"]), (&json!("utxo.bin"), &json!(3)));
    for key in ["height", "bestblock", "txouts", "total_amount", "fees", "lost"] {
        assert_eq!(run[key], info[key], "{key}");
    }
    assert_eq!(run["total"], info["total_amount"]);

    let metadata = "3006020101020101304a04206fe28c0ab6f1b372c1a6a246ae63f74f931e8365e15a089c68d61900\
                    0000000002010002010004200000000000000000000000000000000000000000000000000000000000000000";
    fs::write(base.path("metadata.bin"), unhex(metadata)).unwrap();
    let run = base.done(&["utxo", "info", &base.text("metadata.bin")]);
    let genesis = Params::new(Network::Main).genesis_hash.to_string();
    assert_eq!((&run["format"], &run["blocks"]), (&json!("metadata.bin"), &json!(1)));
    assert_eq!((&run["height"], &run["bestblock"]), (&json!(0), &json!(genesis)));
}

#[test]
fn a_damaged_file_is_refused_with_its_name_and_the_place() {
    let base = Base::new(odd_chain(17_000));
    let good = base.export("tip", "good.dat");
    base.done(&["utxo", "export", "--format", "v3", &base.text("utxo.bin")]);
    let original = fs::read(base.path("utxo.bin")).unwrap();
    let cases = [
        (b"blocks".to_vec(), "this is no file of coins, at offset 0"),
        (vec![], "the file ends too early, at offset 0"),
        (good[..good.len() - 1].to_vec(), "the file ends too early, at offset"),
        ([&good[..], &[0]].concat(), "bytes follow the last coin, at offset"),
        (original[..original.len() - 1].to_vec(), "the file ends too early, at offset"),
    ];
    for (bytes, message) in cases {
        fs::write(base.path("bad"), bytes).unwrap();
        let error = base.fails(&["utxo", "info", &base.text("bad")]);
        assert!(error.contains(&base.text("bad")) && error.contains(message), "{error}");
    }
    let error = base.fails(&["utxo", "info", &base.text("none")]);
    assert!(error.contains(&base.text("none")), "{error}");
}

#[test]
fn only_a_set_whose_hash_is_known_is_loaded() {
    let base = Base::new(generated_chain(Profile::Mixed, 150, 5));
    let info = base.done(&["utxo", "info"]);
    let right = info["hash_serialized_3"].as_str().unwrap();
    let wrong = BlockHash([1; 32]).to_string();
    base.export("tip", "set.dat");
    let set = base.text("set.dat");
    let load = |args: &[&str]| base.fails(&[&["utxo", "load"], args].concat());

    assert!(load(&[&set]).contains("no hash is built in"));
    assert!(load(&[&set, "--hash", right]).contains("is not empty"));
    base.forget_ledger();
    assert!(load(&[&set, "--hash", &wrong]).contains("nothing was loaded"));
    let other = load(&[&set, "--hash", right, "--network", "signet"]);
    assert!(other.contains("is not of signet"), "{other}");
    let empty = caesure(&base.path("empty"), &["utxo", "load", &set, "--hash", right]);
    assert!(empty.stderr.contains("import its headers first"), "{}", empty.stderr);
    assert_eq!(base.run(&["utxo", "load", &set, "--hash", "12"]).status, 2);
    base.done(&["utxo", "load", &set, "--hash", right]);
    let loaded = base.done(&["utxo", "info"]);
    assert_eq!(loaded["hash_serialized_3"], right);
    assert_eq!(loaded["verified"], false);
}

#[test]
fn a_loaded_set_is_unverified_until_validation_from_genesis_reaches_its_block() {
    let base = Base::new(generated_chain(Profile::Mixed, 150, 5));
    let expected = base.done(&["utxo", "info"]);
    let earlier = base.done(&["utxo", "info", "--at", "tip-10"]);
    base.export("tip-10", "set.dat");
    base.forget_ledger();
    let hash = earlier["hash_serialized_3"].as_str().unwrap();
    base.done(&["utxo", "load", &base.text("set.dat"), "--hash", hash]);
    // The blocks above it are connected to it.
    assert_eq!(base.done(&["import"])["verified"], false);
    let unverified = base.done(&["utxo", "info"]);
    assert_eq!(unverified["hash_serialized_3"], expected["hash_serialized_3"]);
    assert_eq!((&unverified["verified"], &unverified["lost"]), (&false.into(), &expected["lost"]));
    assert!(base.run(&["utxo", "info"]).stderr.contains("unverified"));
    let below = base.fails(&["utxo", "info", "--at", "tip-11"]);
    assert!(below.contains("is not held"), "{below}");

    base.done(&["verify"]);
    assert_eq!(base.done(&["utxo", "info"]), expected);
}

#[test]
fn a_loaded_set_that_validation_does_not_give_is_named() {
    let base = Base::new(generated_chain(Profile::Mixed, 150, 5));
    base.export("tip-10", "set.dat");
    base.forget_ledger();
    let mut file = fs::File::create(base.path("more.dat")).unwrap();
    write_set(&mut file, &base.path("set.dat"), Some(params().genesis_hash));
    let file = base.text("more.dat");
    let hash = base.done(&["utxo", "info", &file])["hash_serialized_3"].clone();
    base.done(&["utxo", "load", &file, "--hash", hash.as_str().unwrap()]);
    let error = base.fails(&["verify"]);
    assert!(error.contains("the snapshot of block") && error.contains("is wrong"), "{error}");
    assert_eq!(base.done(&["utxo", "info"])["verified"], false);
}

#[test]
fn a_hash_that_is_built_in_needs_no_option_and_suffers_no_other() {
    let base = Base::new(chain_of_core());
    base.export("tip", "set.dat");
    let set = base.text("set.dat");
    base.forget_ledger();
    let wrong = BlockHash([1; 32]).to_string();
    let error = base.fails(&["utxo", "load", &set, "--hash", &wrong]);
    assert!(error.contains("the hash of this set is"), "{error}");
    // A coin more is another hash.
    let mut file = fs::File::create(base.path("more.dat")).unwrap();
    write_set(&mut file, &base.path("set.dat"), Some(params().genesis_hash));
    let error = base.fails(&["utxo", "load", &base.text("more.dat")]);
    assert!(error.contains("nothing was loaded"), "{error}");
    base.done(&["utxo", "load", &set]);
}

/// Writes the set of a file anew, with a coin more whose id is `more`.
fn write_set(out: &mut fs::File, from: &Path, more: Option<BlockHash>) {
    let bytes = fs::read(from).unwrap();
    let header = *Reader::new(&bytes[..]).unwrap().header();
    let mut set = coins(&bytes);
    if let Some(more) = more {
        let coin = set.values().next().unwrap().clone();
        set.insert(OutPoint { txid: Txid(more.0), vout: 0 }, coin);
    }
    let mut writer = Writer::new(out, header.magic, header.base).unwrap();
    for (outpoint, coin) in &set {
        writer.push(outpoint, coin).unwrap();
    }
    writer.finish().unwrap();
}

#[test]
fn a_coin_that_is_younger_than_its_set_is_refused_before_anything_is_loaded() {
    let base = Base::new(odd_chain(17_000));
    base.export("tip", "set.dat");
    let mut bytes = fs::read(base.path("set.dat")).unwrap();
    let block_2 = hash(&base.blocks[2]);
    bytes[11..43].copy_from_slice(&block_2.0);
    fs::write(base.path("young.dat"), bytes).unwrap();
    base.forget_ledger();
    let any = BlockHash([1; 32]).to_string();
    let error = base.fails(&["utxo", "load", &base.text("young.dat"), "--hash", &any]);
    assert!(error.contains("a coin of height 3 is younger"), "{error}");
}

#[test]
fn the_originals_set_is_never_loaded_and_the_reason_is_said() {
    let base = Base::new(odd_chain(17_000));
    let file = base.text("utxo.bin");
    base.done(&["utxo", "export", "--format", "v3", &file]);
    let error = base.fails(&["utxo", "load", &file, "--hash", &BlockHash([1; 32]).to_string()]);
    assert!(error.contains("half of each transaction id"), "{error}");
}

#[test]
fn a_set_on_a_branch_with_less_work_is_not_loaded() {
    let mut blocks = odd_chain(17_000);
    let fork = {
        let coinbase = coinbase(1, 9, vec![TxOut { value: 1, script_pubkey: vec![0x51] }]);
        mine_block(params().genesis_hash, params().genesis.time + 600, coinbase, &[])
    };
    blocks.insert(1, fork.clone());
    let base = Base::new(blocks);
    base.export(&hash(&fork).to_string(), "fork.dat");
    base.forget_ledger();
    let any = BlockHash([1; 32]).to_string();
    let error = base.fails(&["utxo", "load", &base.text("fork.dat"), "--hash", &any]);
    assert!(error.contains("is not on the best chain of headers"), "{error}");
}
