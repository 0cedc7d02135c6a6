//! The program as its user meets it: files good and bad, stops, crashes, exit statuses.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test may fail loudly")]

#[path = "support/running.rs"]
mod running;

use std::fs;
use std::io::{BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use running::{Running, wait_until};

const REGTEST: [u8; 4] = [0xfa, 0xbf, 0xb5, 0xda];

/// A folder with a generated chain of 130 blocks, where commands run on the base `base`.
struct World {
    dir: TempDir,
    blocks: Vec<Vec<u8>>,
}

struct Ran {
    status: i32,
    json: Value,
    stderr: String,
}

impl World {
    fn new(txs: u32, forks: u32) -> Self {
        let pool = 60 + txs / 2;
        let options =
            caesure_generate::Options { blocks: 130, txs, pool, forks, ..Default::default() };
        let mut blocks = Vec::new();
        let mut emit = |block: &[u8]| {
            blocks.push(block.to_vec());
            Ok(())
        };
        caesure_generate::generate(&options, &mut emit).unwrap();
        let world = Self { dir: tempfile::tempdir().unwrap(), blocks };
        world.write("chain.dat", &frame(&world.blocks));
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).unwrap();
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_caesure"));
        command.current_dir(self.dir.path()).env("CAESURE_BASE", "base").arg("--json");
        if !words.contains(&"--network") {
            command.args(["--network", "regtest"]);
        }
        command.args(words);
        command
    }

    fn run(&self, words: &[&str]) -> Ran {
        ran(&self.start_with(words, Stdio::null()).output())
    }

    /// Runs a command that must end well.
    fn done(&self, words: &[&str]) -> Value {
        let run = self.run(words);
        assert_eq!(run.status, 0, "{words:?}: {}", run.stderr);
        run.json
    }

    fn start(&self, words: &[&str]) -> Running {
        Running::start(self.command(words).stdout(Stdio::null()).stderr(Stdio::null()))
    }

    fn start_with(&self, words: &[&str], input: impl Into<Stdio>) -> Running {
        let mut command = self.command(words);
        Running::start(command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped()))
    }

    /// The set after an import of the whole file with no incident.
    fn expected(&self) -> Value {
        let run = self.done(&["-b", "undisturbed", "import", "chain.dat"]);
        assert_eq!(run["height"], 130);
        self.done(&["-b", "undisturbed", "utxo", "info"])
    }
}

fn ran(output: &Output) -> Ran {
    let stdout = String::from_utf8(output.stdout.clone()).unwrap();
    let json = stdout.lines().last().and_then(|line| serde_json::from_str(line).ok());
    Ran {
        status: output.status.code().unwrap(),
        json: json.unwrap_or_default(),
        stderr: String::from_utf8(output.stderr.clone()).unwrap(),
    }
}

fn record(magic: [u8; 4], block: &[u8]) -> Vec<u8> {
    [&magic[..], &u32::try_from(block.len()).unwrap().to_le_bytes(), block].concat()
}

fn frame(blocks: &[Vec<u8>]) -> Vec<u8> {
    blocks.iter().flat_map(|block| record(REGTEST, block)).collect()
}

#[test]
fn an_import_goes_on_after_kill_9_at_any_moment() {
    let world = World::new(1500, 2);
    let expected = world.expected();
    let mut kills = 0;
    for step in 0..40 {
        let mut child = world.start(&["import", "--par", "2", "chain.dat"]);
        sleep(Duration::from_millis(5 + 12 * step));
        child.kill().unwrap();
        kills += u32::from(child.status().code().is_none());
        // The first kill may come before the first block.
        let info = world.run(&["utxo", "info"]);
        let is_empty = info.stderr.contains("there is nothing in");
        assert!(info.status == 0 || is_empty, "{}", info.stderr);
    }
    println!("{kills} of 40 imports were killed before their end");
    assert!(0 < kills);
    // None of these comes to its end, for it waits for the last block: each is killed when its log has grown
    // by some blocks.
    let size = || {
        let log = fs::metadata(world.path("amid/regtest/ledger.log"));
        log.map_or(0, |log| log.len())
    };
    let mut given = 0;
    for _ in 0..6 {
        let before = size();
        let mut child =
            world.start_with(&["-b", "amid", "import", "--par", "2", "-"], Stdio::piped());
        let input = child.stdin.as_mut().unwrap();
        input.write_all(&frame(&world.blocks[..given])).unwrap();
        wait_until("more is committed", || {
            if given < world.blocks.len() - 1 {
                input.write_all(&record(REGTEST, &world.blocks[given])).unwrap();
                given += 1;
            }
            before + 1_000 < size()
        });
        child.kill().unwrap();
        assert_eq!(child.status().code(), None);
        world.done(&["-b", "amid", "utxo", "info"]);
    }
    let connected = |base: &str| {
        let connected =
            world.done(&["-b", base, "import", "chain.dat"])["blocks_connected"].clone();
        assert_eq!(world.done(&["-b", base, "utxo", "info"]), expected, "{base}");
        let verified = world.done(&["-b", base, "verify"]);
        let counts = (&verified["blocks_connected"], &verified["blocks_invalid"]);
        assert_eq!(counts, (&130.into(), &0.into()), "{base}");
        connected.as_u64().unwrap()
    };
    connected("base");
    let (left, all) = (connected("amid"), connected("whole"));
    assert!(left + 6 <= all, "what was committed is connected again: {left} of {all}");
}

#[test]
fn a_signal_stops_an_import_and_the_next_one_goes_on() {
    let world = World::new(1500, 0);
    let expected = world.expected();
    let mut child = world.start(&["import", "--par", "1", "chain.dat"]);
    sleep(Duration::from_millis(150));
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    let status = child.status().code().unwrap();
    assert!([0, 130].contains(&status), "exit status {status}");
    world.done(&["import", "chain.dat"]);
    assert_eq!(world.done(&["utxo", "info"]), expected);
}

#[test]
fn blocks_in_any_order_in_files_and_on_standard_input_give_the_same_set() {
    let world = World::new(200, 2);
    let expected = world.expected();
    let mut shuffled = world.blocks.clone();
    shuffled[1..].reverse();
    for step in 1..shuffled.len() / 2 {
        shuffled.swap(step, 1 + step * 7 % 61);
    }
    world.write("shuffled.dat", &frame(&shuffled));
    assert_eq!(world.done(&["import", "shuffled.dat"])["skipped"], 0);
    assert_eq!(world.done(&["utxo", "info"]), expected);

    fs::create_dir(world.path("blocks")).unwrap();
    world.write("blocks/blk00000.dat", &[&frame(&world.blocks[60..])[..], &[0; 5000]].concat());
    world.write("blocks/blk00001.dat", &frame(&world.blocks[..60]));
    world.done(&["-b", "two", "import", "blocks"]);
    assert_eq!(world.done(&["-b", "two", "utxo", "info"]), expected);

    let mut child = world.start_with(&["-b", "three", "import", "-"], Stdio::piped());
    child.stdin.take().unwrap().write_all(&frame(&shuffled)).unwrap();
    let run = ran(&child.output());
    assert_eq!(run.status, 0, "{}", run.stderr);
    assert_eq!(world.done(&["-b", "three", "utxo", "info"]), expected);
}

#[test]
fn a_bootstrap_moved_into_the_base_is_adopted_in_either_form() {
    let world = World::new(100, 2);
    let expected = world.expected();
    fs::create_dir_all(world.path("base/regtest")).unwrap();
    let bootstrap = frame(&world.blocks);
    world.write("base/regtest/blocks.bin", &bootstrap);
    let converted = world.done(&["convert", "base/regtest/blocks.bin"]);
    assert_eq!(converted["rewritten"], world.blocks.len());
    let native = fs::read(world.path("base/regtest/blocks.bin")).unwrap();
    assert_ne!(native, bootstrap);
    assert_eq!(world.done(&["import"])["height"], 130);
    assert_eq!(fs::read(world.path("base/regtest/blocks.bin")).unwrap(), native);
    assert_eq!(world.done(&["utxo", "info"]), expected);
    fs::remove_file(world.path("base/regtest/blocks.idx")).unwrap();
    world.write("base/regtest/blocks.bin", &bootstrap);
    world.done(&["import"]);
    assert_eq!(world.done(&["utxo", "info"]), expected);
}

#[test]
fn an_adopted_file_with_an_invalid_header_is_judged_too() {
    let world = World::new(1, 0);
    let mut blocks = world.blocks.clone();
    // A version that no block of this height may have, and a nonce that meets the target again.
    let mut header = caesure_wire::Header::from_bytes(blocks[100].first_chunk().unwrap());
    header.version = 1;
    caesure_generate::solve(&mut header);
    blocks[100][..80].copy_from_slice(&header.to_bytes());
    fs::create_dir_all(world.path("base/regtest")).unwrap();
    world.write("base/regtest/blocks.bin", &frame(&blocks));
    let run = world.run(&["import"]);
    assert_eq!((run.status, &run.json["height"]), (1, &99.into()), "{}", run.stderr);
    assert_eq!(run.json["first_invalid"]["reason"], "bad-version(0x00000001)");
    assert_eq!((&run.json["blocks_invalid"], &run.json["skipped"]), (&1.into(), &30.into()));
    // A header's fault comes before the body's, as where Core loads a file.
    blocks[100][81] ^= 1;
    world.write("both.dat", &frame(&blocks));
    let run = world.run(&["-b", "other", "import", "both.dat"]);
    assert_eq!(run.json["first_invalid"]["reason"], "bad-version(0x00000001)");
}

/// The body of block 120 does not fit its header: mutated, so that the header stays good.
#[test]
fn an_invalid_block_in_the_middle_is_named_and_the_rest_is_read() {
    let world = World::new(100, 0);
    let mut blocks = world.blocks.clone();
    // The first byte after header and count: the version of the coinbase.
    blocks[120][81] ^= 1;
    world.write("bad.dat", &frame(&blocks));
    let run = world.run(&["import", "bad.dat"]);
    assert_eq!((run.status, &run.json["blocks_invalid"]), (1, &1.into()), "{}", run.stderr);
    assert_eq!((&run.json["height"], &run.json["skipped"]), (&119.into(), &10.into()));
    let first = &run.json["first_invalid"];
    let (hash, offset) = (first["hash"].as_str().unwrap(), frame(&blocks[..120]).len());
    assert_eq!((&first["height"], &first["offset"]), (&120.into(), &offset.into()));
    assert_eq!(first["reason"], "bad-txnmrklroot");
    let line = format!("bad.dat at offset {offset}, height 120, {hash}: bad-txnmrklroot");
    assert!(run.stderr.contains(&line), "{}", run.stderr);
    // The true body under the same header is taken, and what stands on it is followed.
    assert_eq!(world.done(&["import", "chain.dat"])["height"], 130);
    assert_eq!(world.done(&["utxo", "info"]), world.expected());
}

#[test]
fn input_that_cannot_be_used_is_refused_in_a_clear_sentence() {
    let world = World::new(1, 0);
    world.write("noise.dat", &[7; 5000]);
    world.write("empty.dat", &[]);
    for (words, expected) in [
        (&["import", "noise.dat"][..], "noise.dat holds no block"),
        (&["import", "empty.dat"], "empty.dat holds no block"),
        (&["import", "missing.dat"], "missing.dat: No such file"),
        (&["--network", "main", "import", "chain.dat"], "of the network regtest, not of"),
        (&["-b", "new", "import"], "there is nothing in"),
        (&["utxo", "info", "--at", "9999"], "9999 is not a block of this chain"),
        (&["-b", "chain.dat", "import", "chain.dat"], "chain.dat/regtest: Not a directory"),
    ] {
        let run = world.run(words);
        assert_eq!(run.status, 1, "{words:?}");
        assert!(run.stderr.contains(expected), "{words:?}: {}", run.stderr);
    }
    assert_eq!(world.run(&["import", "--par", "none"]).status, 2);
    assert_eq!(world.run(&["explode"]).status, 2);
}

#[test]
fn torn_tails_garbage_duplicates_and_foreign_records_are_counted_and_no_error() {
    let world = World::new(20, 0);
    let parts = [
        &frame(&world.blocks)[..],
        &[9; 1000],
        &frame(&world.blocks[3..5]),
        &record([0xf9, 0xbe, 0xb4, 0xd9], &world.blocks[5]),
        &frame(&world.blocks[6..7])[..100],
    ];
    world.write("messy.dat", &parts.concat());
    let json = world.done(&["import", "messy.dat"]);
    let count = |name: &str| json[name].as_u64().unwrap();
    assert_eq!((count("duplicates"), count("foreign")), (3, 1), "{json}");
    assert_eq!((count("torn_bytes"), count("skipped_bytes")), (100, 1000), "{json}");
    assert_eq!(world.done(&["utxo", "info"]), world.expected());
}

#[test]
fn a_flipped_bit_anywhere_is_noticed_and_harms_nothing() {
    let world = World::new(30, 0);
    let expected = world.expected();
    let whole = frame(&world.blocks);
    for number in 1..25 {
        let at = number * (whole.len() / 25) + number;
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (number % 8);
        world.write("flipped.dat", &flipped);
        let base = format!("base{number}");
        let run = world.run(&["-b", &base, "import", "flipped.dat"]);
        let is_noticed = run.json["skipped"] != 0 || run.json["skipped_bytes"] != 0;
        assert!(run.status == 1 || is_noticed, "byte {at}: {}", run.json);
        world.done(&["-b", &base, "import", "chain.dat"]);
        assert_eq!(world.done(&["-b", &base, "utxo", "info"]), expected, "byte {at}");
    }
}

#[test]
fn satd_270_a_second_process_on_the_same_base_is_refused() {
    let world = World::new(10, 0);
    let mut child = world.start_with(&["import", "-"], Stdio::piped());
    let mut input = child.stdin.take().unwrap();
    input.write_all(&frame(&world.blocks[..50])).unwrap();
    // The first one has the lock once its base holds a ledger.
    wait_until("it has the lock", || world.path("base/regtest/ledger.log").exists());
    let run = world.run(&["import", "chain.dat"]);
    assert_eq!(run.status, 1);
    assert!(run.stderr.contains("in use by another"), "{}", run.stderr);
    world.done(&["utxo", "info"]);
    input.write_all(&frame(&world.blocks[50..])).unwrap();
    drop(input);
    let run = ran(&child.output());
    assert_eq!((run.status, &run.json["height"]), (0, &130.into()), "{}", run.stderr);
}

#[test]
fn a_damaged_table_is_named_never_judges_a_block_and_is_made_anew() {
    let world = World::new(300, 0);
    world.done(&["import", "chain.dat"]);
    let expected = world.done(&["utxo", "info"]);
    let path = world.path("base/regtest/ledger.table");
    let mut bytes = fs::read(&path).unwrap();
    let taken = (1 << 16..bytes.len()).find(|&at| bytes[at] != 0).unwrap();
    bytes[taken] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let offset = taken >> 16 << 16;
    let named = format!("ledger.table is damaged at offset {offset}");
    // One who only looks changes nothing.
    for _ in 0..2 {
        let run = world.run(&["utxo", "info"]);
        assert!(run.status == 1 && run.stderr.contains(&named), "{}", run.stderr);
    }
    // An import makes it anew by itself; where its input cannot be read again, the next one does.
    for words in [&["import", "-"][..], &["import"], &["import", "chain.dat"]] {
        fs::write(&path, &bytes).unwrap();
        let input = fs::File::open(world.path("chain.dat")).unwrap();
        let run = ran(&world.start_with(words, input).output());
        let is_stream = words.contains(&"-");
        assert_eq!(run.status, i32::from(is_stream), "{words:?}: {}", run.stderr);
        let anew = "the ledger is made anew from what is whole";
        assert!(
            run.stderr.contains(&named) && run.stderr.contains(anew) != is_stream,
            "{}",
            run.stderr
        );
        assert!(is_stream || run.json["blocks_invalid"] == 0, "{}", run.json);
        if is_stream {
            world.done(&["import"]);
        }
        assert_eq!(world.done(&["utxo", "info"]), expected);
    }
}

#[test]
fn a_log_that_is_cut_while_it_is_in_use_ends_the_program_with_a_sentence() {
    let world = World::new(300, 0);
    world.write("below.dat", &frame(&world.blocks[..129]));
    world.done(&["import", "below.dat"]);
    let mut child = world.start_with(&["import", "-"], Stdio::piped());
    let log = world.path("base/regtest/ledger.log");
    let mut input = child.stdin.take().unwrap();
    let maps = format!("/proc/{}/maps", child.id());
    wait_until("the log is mapped", || {
        fs::read_to_string(&maps).unwrap_or_default().contains("ledger.log")
    });
    // It is mapped when the window is taken from it; then the program waits for its input.
    sleep(Duration::from_millis(500));
    fs::OpenOptions::new().write(true).open(&log).unwrap().set_len(32).unwrap();
    input.write_all(&record(REGTEST, &world.blocks[129])).unwrap();
    drop(input);
    let run = ran(&child.output());
    assert_eq!(run.status, 1, "{}", run.stderr);
    let said = "ledger.log at offset ";
    assert!(run.stderr.contains(said) && run.stderr.contains("cannot be read"), "{}", run.stderr);
    fs::remove_file(log).unwrap();
    world.done(&["import", "chain.dat"]);
    assert_eq!(world.done(&["utxo", "info"]), world.expected());
}

#[test]
fn a_full_disk_is_an_error_and_loses_nothing() {
    let world = World::new(600, 0);
    let mount = world.path("small");
    fs::create_dir(&mount).unwrap();
    let mount_with = |options: &str| {
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", options, "none"]).arg(&mount).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    if !mount_with("size=120k") {
        println!("left out: 1 case, since no small file system can be mounted here");
        return;
    }
    let run = world.run(&["-b", "small", "import", "chain.dat"]);
    let is_grown = mount_with("remount,size=90m");
    let again = world.run(&["-b", "small", "import", "chain.dat"]);
    let info = world.run(&["-b", "small", "utxo", "info"]).json;
    Command::new("umount").arg(&mount).status().unwrap();
    assert!(is_grown && run.status == 1);
    assert!(run.stderr.contains("No space left on device"), "{}", run.stderr);
    assert!(run.stderr.contains("small/regtest/"), "{}", run.stderr);
    assert_eq!((again.status, info), (0, world.expected()), "{}", again.stderr);
}

#[test]
fn truncate_drops_what_is_above_on_all_forks_and_asks_first() {
    let world = World::new(100, 4);
    world.done(&["import", "chain.dat"]);
    let refused = world.run(&["truncate", "100"]);
    assert_eq!(refused.status, 1);
    assert!(refused.stderr.contains("will be dropped"), "{}", refused.stderr);
    assert_eq!(world.done(&["utxo", "info"]), world.expected());
    for height in ["125", "104", "7"] {
        assert_eq!(world.done(&["truncate", height, "--yes"])["height"].to_string(), height);
        assert_eq!(world.done(&["utxo", "info"])["height"].to_string(), height);
    }
    world.done(&["import", "chain.dat"]);
    assert_eq!(world.done(&["utxo", "info"]), world.expected());
}

#[test]
fn rustoshi_no_cap_on_depth_a_branch_that_forks_below_the_root_wins_with_more_work() {
    let world = World::new(60, 0);
    let options = caesure_generate::Options { blocks: 150, seed: 9, ..Default::default() };
    let options = caesure_generate::Options { txs: 40, pool: 30, forks: 0, ..options };
    let mut other = Vec::new();
    let mut emit = |block: &[u8]| {
        other.extend(record(REGTEST, block));
        Ok(())
    };
    caesure_generate::generate(&options, &mut emit).unwrap();
    world.write("other.dat", &other);
    world.done(&["import", "--horizon", "5", "chain.dat"]);
    let json = world.done(&["import", "--horizon", "5", "other.dat"]);
    assert_eq!((&json["height"], &json["blocks_connected"]), (&150.into(), &150.into()), "{json}");
    let info = world.done(&["utxo", "info"]);
    world.done(&["-b", "alone", "import", "other.dat"]);
    assert_eq!(world.done(&["-b", "alone", "utxo", "info"]), info);
    // The chain that lost is still stored, and nothing of it is judged again.
    assert_eq!(world.done(&["import", "chain.dat"])["blocks_connected"], 0);
}

#[test]
fn a_damaged_block_is_found_by_verify_and_mended_by_an_import() {
    let world = World::new(100, 0);
    world.done(&["import", "chain.dat"]);
    let file = world.path("base/regtest/blocks.bin");
    let mut bytes = fs::read(&file).unwrap();
    let at = frame(&world.blocks[..125]).len() + 200;
    bytes[at] ^= 1;
    fs::write(&file, bytes).unwrap();
    let run = world.run(&["verify"]);
    assert_eq!(
        (run.status, &run.json["damaged"], &run.json["height"]),
        (1, &1.into(), &124.into())
    );
    assert!(run.stderr.contains("blocks.bin at byte"), "{}", run.stderr);
    world.done(&["import", "chain.dat"]);
    assert_eq!(world.done(&["verify"])["height"], 130);
    assert_eq!(world.done(&["utxo", "info"]), world.expected());
}

#[test]
fn little_memory_gives_the_same_set() {
    let world = World::new(1500, 2);
    let expected = world.expected();
    world.done(&["import", "--memory", "16", "chain.dat"]);
    assert_eq!(world.done(&["utxo", "info", "--memory", "16"]), expected);
    let verified = world.done(&["verify", "--memory", "16", "--par", "2"]);
    assert_eq!((&verified["height"], &verified["scripts_skipped"]), (&130.into(), &0.into()));
    assert_eq!(world.run(&["import", "--memory", "15", "chain.dat"]).status, 2);
    assert_eq!(world.run(&["import", "--assumevalid", "1", "chain.dat"]).status, 2);
}

#[test]
fn a_transaction_that_stands_on_two_forks_is_checked_once() {
    let world = World::new(600, 4);
    let imported = world.done(&["import", "--par", "1", "chain.dat"]);
    let verified = world.done(&["verify"]);
    let count = |json: &Value, name: &str| json[name].as_u64().unwrap();
    let [all, cached] = ["inputs", "scripts_cached"].map(|name| count(&imported, name));
    assert!(0 < cached && count(&verified, "inputs") < all, "{imported}");
    assert_eq!(count(&verified, "scripts_cached"), 0);
}

#[test]
fn verify_follows_the_chain_and_leaves_its_forks_and_what_was_refused() {
    let world = World::new(100, 4);
    // On block 110 stands a longer branch of which a block claims too much.
    let mut blocks = world.blocks.clone();
    let mut parent = caesure_wire::Header::from_bytes(blocks[100].first_chunk().unwrap());
    let first = u32::try_from(blocks.len()).unwrap();
    for height in 101..=135 {
        let value = if height == 120 { 1 << 50 } else { 0 };
        let output = caesure_wire::TxOut { value, script_pubkey: vec![0x51] };
        let coinbase = caesure_generate::coinbase(height, first, vec![output]);
        let bytes = caesure_generate::mine_block(parent.hash(), parent.time + 60, coinbase, &[]);
        parent = caesure_wire::Header::from_bytes(bytes.first_chunk().unwrap());
        blocks.push(bytes);
    }
    world.write("refused.dat", &frame(&blocks));
    let run = world.run(&["import", "refused.dat"]);
    assert_eq!((run.status, &run.json["height"]), (1, &130.into()), "{}", run.stderr);
    assert_eq!(run.json["first_invalid"]["reason"], "bad-cb-amount");
    let verified = world.done(&["verify"]);
    assert_eq!(verified["bestblock"], run.json["bestblock"]);
    assert_eq!(verified["blocks_connected"], 130);
    assert_eq!(world.done(&["utxo", "info"]), world.expected());
}

#[test]
fn a_world_of_the_window_is_shown_at_a_block() {
    let world = World::new(50, 0);
    world.done(&["import", "chain.dat"]);
    let by_height = world.done(&["utxo", "info", "--at", "120"]);
    let hash = by_height["bestblock"].as_str().unwrap();
    assert_eq!(by_height["height"], 120);
    assert_eq!(world.done(&["utxo", "info", "--at", "tip-10"]), by_height);
    assert_eq!(world.done(&["utxo", "info", "--at", hash]), by_height);
    assert_ne!(world.done(&["utxo", "info"]), by_height);
}

#[test]
fn a_pruned_base_goes_on_and_what_needs_the_bodies_says_so() {
    let world = World::new(100, 0);
    world.done(&["import", "chain.dat"]);
    let folder = world.path("base/regtest");
    let (mut store, _) = caesure_blockstore::BlockStore::open(&folder, REGTEST).unwrap();
    let hash =
        |block: &Vec<u8>| caesure_wire::Header::from_bytes(block.first_chunk().unwrap()).hash();
    let old: Vec<_> = world.blocks[1..=50].iter().map(hash).collect();
    assert!(0 < store.release(&old).unwrap());
    drop(store);
    assert_eq!(world.done(&["utxo", "info"]), world.expected());
    let run = world.run(&["verify"]);
    assert!(run.status == 1 && run.stderr.contains("50 blocks of"), "{}", run.stderr);
    assert!(run.stderr.contains("were pruned"), "{}", run.stderr);
    // What was connected and released is not stored again.
    let before = fs::metadata(folder.join("blocks.bin")).unwrap().len();
    let again = world.done(&["import", "chain.dat"]);
    assert_eq!((&again["duplicates"], &again["blocks_connected"]), (&131.into(), &0.into()));
    assert_eq!(fs::metadata(folder.join("blocks.bin")).unwrap().len(), before);
    assert_eq!(world.done(&["truncate", "120", "--yes"])["height"], 120);
    world.done(&["import", "chain.dat"]);
    assert_eq!(world.done(&["utxo", "info"]), world.expected());
    // Nor does it make a base: what is left of it is counted.
    let other = world.done(&["-b", "other", "import", "base/regtest"]);
    assert_eq!((&other["pruned"], &other["height"]), (&50.into(), &0.into()));
    assert_eq!(other["skipped"], 80);
}

/// The trace of original.md's appendix, with a block on block 20 beside the chain.
#[test]
fn the_originals_forks_are_trimmed_at_the_same_heights() {
    let world = World::new(1, 0);
    let mine = |parent: &caesure_wire::Header, height, tag| {
        let output = caesure_wire::TxOut { value: 0, script_pubkey: vec![0x51] };
        let coinbase = caesure_generate::coinbase(height, tag, vec![output]);
        caesure_generate::mine_block(parent.hash(), parent.time + 60, coinbase, &[])
    };
    let header = |block: &[u8]| caesure_wire::Header::from_bytes(block.first_chunk().unwrap());
    let mut main = vec![world.blocks[0].clone()];
    for height in 1..=43 {
        main.push(mine(&header(main.last().unwrap()), height, 0));
    }
    let fork = mine(&header(&main[20]), 21, 1);
    let fork_hash = header(&fork).hash().to_string();
    let mut imported = frame(&main[..30]);
    imported.extend(record(REGTEST, &fork));
    // The height of the tip, of the root, whether the fork is held, and how many worlds are.
    for (tip, root, has_fork, count) in [
        (29, 9, true, 22),
        (40, 20, true, 22),
        (41, 20, true, 23),
        (42, 22, false, 21),
        (43, 23, false, 21),
    ] {
        imported.extend(frame(&main[30..=tip.max(29)]));
        world.write("trace.dat", &imported);
        let json = world.done(&["import", "--horizon", "20", "trace.dat"]);
        assert_eq!(json["height"], tip);
        let is_held = |at: &str| {
            let run = world.run(&["utxo", "info", "--at", at]);
            let says = format!("is not held; the oldest is that of {}", header(&main[root]).hash());
            assert!(run.status == 0 || run.stderr.contains(&says), "{tip}: {}", run.stderr);
            run.status == 0
        };
        let held = (0..=tip).filter(|height| is_held(&height.to_string()));
        let held: Vec<usize> = held.collect();
        assert_eq!(held, (root..=tip).collect::<Vec<_>>());
        assert_eq!(is_held(&fork_hash), has_fork, "{tip}");
        assert_eq!(held.len() + usize::from(has_fork), count);
    }
}

#[test]
fn a_base_of_another_network_is_refused() {
    let world = World::new(1, 0);
    world.done(&["import", "chain.dat"]);
    // Main lies in the base itself, so that this base is regtest's, taken for main's.
    let run = world.run(&["--network", "main", "-b", "base/regtest", "import"]);
    assert_eq!(run.status, 1);
    assert!(run.stderr.contains("of the network regtest, not of"), "{}", run.stderr);
    // The native form has no magic, but the first block tells.
    fs::create_dir(world.path("native")).unwrap();
    fs::copy(world.path("chain.dat"), world.path("native/blocks.bin")).unwrap();
    world.done(&["convert", "native/blocks.bin"]);
    let run = world.run(&["--network", "main", "-b", "native", "import"]);
    assert_eq!(run.status, 1);
    assert!(run.stderr.contains("native is not of main"), "{}", run.stderr);
}

#[test]
fn arguments_come_from_a_file_too() {
    let world = World::new(1, 0);
    world.write("words", b"import\nchain.dat\n");
    assert_eq!(world.done(&["@words"])["height"], 130);
}

#[test]
fn real_chains_give_cores_set_after_a_stop_a_start_and_a_kill() {
    let Ok(data) = std::env::var("CAESURE_TEST_DATA") else {
        println!("left out: 3 real chains, since CAESURE_TEST_DATA is not set");
        return;
    };
    let data = Path::new(&data).join("chains");
    let world = World::new(1, 0);
    let testnet3: Vec<String> =
        serde_json::from_slice(&unxz(&data.join("testnet3-0-2016.json.xz"))).unwrap();
    let signet: Vec<Value> =
        serde_json::from_slice(&fs::read(data.join("signet-0-60.json")).unwrap()).unwrap();
    let signet = signet.iter().map(|block| block["block"].as_str().unwrap());
    let cases = [
        ("main", 2200, unxz(&data.join("mainnet-0-2200.blk.xz")), 2130, "2f903ffba6a4486f"),
        (
            "testnet3",
            2016,
            from_hex([0x0b, 0x11, 0x09, 0x07], testnet3.iter().map(String::as_str)),
            2213,
            "d3f1ade94b18d996",
        ),
        ("signet", 60, from_hex([0x0a, 0x03, 0xcf, 0x40], signet), 60, "6b086bc7d3830612"),
    ];
    for (network, height, bytes, txouts, hash) in cases {
        let command = |words: &[&str]| world.done(&[&["--network", network], words].concat());
        // Half of it and a start, a kill, all of it, and a start with nothing to do.
        world.write("half.dat", &bytes[..bytes.len() / 2]);
        world.write("real.dat", &bytes);
        command(&["import", "half.dat"]);
        let child = world.start(&["--network", network, "import", "real.dat"]);
        sleep(Duration::from_millis(20));
        drop(child);
        assert_eq!(command(&["import", "real.dat"])["height"], height);
        assert_eq!(command(&["import"])["blocks_connected"], 0);
        let info = command(&["utxo", "info"]);
        assert_eq!(info["txouts"], txouts, "{network}");
        assert!(info["hash_serialized_3"].as_str().unwrap().starts_with(hash), "{network}: {info}");
        let verified = command(&["verify"]);
        assert_eq!(verified["blocks_connected"], height, "{network}");
        println!("{network}: {} blocks, {} inputs", height + 1, verified["inputs"]);
    }
}

fn from_hex<'a>(magic: [u8; 4], blocks: impl Iterator<Item = &'a str>) -> Vec<u8> {
    blocks.flat_map(|block| record(magic, &caesure_text::hex::decode(block).unwrap())).collect()
}

fn unxz(path: &Path) -> Vec<u8> {
    let mut out = Vec::new();
    let file = fs::File::open(path).unwrap();
    lzma_rs::xz_decompress(&mut BufReader::new(file), &mut out).unwrap();
    out
}
