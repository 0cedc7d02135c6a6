//! The examples, run on generated chains and on real ones, and their output compared to the letter.
//!
//! With `CAESURE_UPDATE_EXPECTED` set, the files in `expected/` are written anew instead.

#![allow(clippy::print_stdout, reason = "a test says what it leaves out")]

use std::fs::{self, File};
use std::io::{BufReader, Write};
use std::path::{Path, PathBuf};

use caesure_consensus::{Network, Params};
use caesure_examples::BlockFile;
use caesure_generate::{Options, generate};
use caesure_script::{ScriptType, classify};
use caesure_wire::OutPoint;

#[path = "../count.rs"]
#[expect(dead_code, reason = "only its main is not called")]
mod count;
#[path = "../explore.rs"]
#[expect(dead_code, reason = "only its main is not called")]
mod explore;
#[path = "../verify_input.rs"]
#[expect(dead_code, reason = "only its main is not called")]
mod verify_input;

/// A small chain with forks, in the form of `bootstrap.dat`.
fn chain(folder: &Path) -> PathBuf {
    let path = folder.join("bootstrap.dat");
    let mut file = File::create(&path).unwrap();
    let magic = Params::new(Network::Regtest).magic;
    let options = Options { blocks: 130, txs: 150, pool: 120, forks: 2, ..Options::default() };
    generate(&options, &mut |block| {
        let size = u32::try_from(block.len()).unwrap();
        [&magic[..], &size.to_le_bytes(), block].iter().try_for_each(|part| file.write_all(part))
    })
    .unwrap();
    path
}

fn check(name: &str, output: &[u8]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("expected").join(name);
    if std::env::var_os("CAESURE_UPDATE_EXPECTED").is_some() {
        fs::write(&path, output).unwrap();
    }
    let output = str::from_utf8(output).unwrap();
    let expected = fs::read_to_string(&path).unwrap();
    for (number, (line, expected)) in output.lines().zip(expected.lines()).enumerate() {
        assert_eq!(line, expected, "{name}, line {}", number + 1);
    }
    assert_eq!(output.lines().count(), expected.lines().count(), "{name}");
}

#[test]
fn count_tells_what_a_generated_file_consists_of() {
    let folder = tempfile::tempdir().unwrap();
    let mut output = Vec::new();
    count::run(&chain(folder.path()), &mut output).unwrap();
    check("count.txt", &output);
}

#[test]
fn explore_shows_a_block_of_a_generated_file_and_both_sides_of_a_fork() {
    let folder = tempfile::tempdir().unwrap();
    let path = chain(folder.path());
    let mut output = Vec::new();
    explore::run(&path, None, &mut output).unwrap();
    check("explore.txt", &output);
    let db = BlockFile::open(&path).unwrap();
    let forked = (0..130).find(|height| 1 < db.at_height(*height).len()).unwrap();
    let mut output = Vec::new();
    explore::run(&path, Some(forked), &mut output).unwrap();
    check("explore-fork.txt", &output);
}

/// Traces the first input of the chain that spends an output of a type.
fn check_first(path: &Path, type_name: &str) {
    let db = BlockFile::open(path).unwrap();
    let mut coins = std::collections::BTreeMap::new();
    for height in 0..=db.tree().height(db.last_block()) {
        let block = db.block(db.by_num(height).unwrap()).unwrap();
        for tx in block.txs() {
            for (index, input) in tx.inputs().enumerate() {
                if coins.get(&input.prevout) == Some(&type_name) {
                    let mut output = Vec::new();
                    verify_input::run(path, tx.txid(), index, &mut output).unwrap();
                    return check(&format!("verify_input-{type_name}.txt"), &output);
                }
            }
            let txid = tx.txid();
            for (vout, output) in (0..).zip(tx.outputs()) {
                let kind: ScriptType<'_> = classify(output.script_pubkey);
                coins.insert(OutPoint { txid, vout }, kind.name());
            }
        }
    }
    panic!("nothing spends an output of type {type_name}");
}

#[test]
fn verify_input_traces_spends_of_every_type() {
    let folder = tempfile::tempdir().unwrap();
    let path = chain(folder.path());
    for name in [
        "pubkey",
        "pubkeyhash",
        "multisig",
        "scripthash",
        "witness_v0_keyhash",
        "witness_v0_scripthash",
        "witness_v1_taproot",
        "anchor",
    ] {
        check_first(&path, name);
    }
}

#[test]
fn examples_name_what_is_wrong_with_their_input() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bootstrap.dat");
    fs::write(&path, "this is a text and no block file at all").unwrap();
    let error = count::run(&path, &mut Vec::new()).unwrap_err().to_string();
    assert!(error.ends_with("bootstrap.dat: no network's blocks begin like this"), "{error}");
    let path = chain(folder.path());
    let error = explore::run(&path, Some(131), &mut Vec::new()).unwrap_err().to_string();
    assert_eq!(error, "the chain is not that high");
    let block = BlockFile::open(&path).unwrap();
    let block = block.block(block.last_block()).unwrap();
    let verify = |txid, index| {
        verify_input::run(&path, txid, index, &mut Vec::new()).unwrap_err().to_string()
    };
    assert_eq!(verify(caesure_wire::Txid::ZERO, 0), "the chain has no such transaction");
    assert_eq!(verify(block.tx(0).txid(), 0), "a coinbase spends nothing");
    assert_eq!(verify(block.tx(0).txid(), 1), "the transaction has 1 inputs");
}

#[test]
fn a_file_in_reverse_order_and_native_form_gives_the_same_chain() {
    let folder = tempfile::tempdir().unwrap();
    let path = chain(folder.path());
    let db = BlockFile::open(&path).unwrap();
    let last = db.last_block();
    let reversed = folder.path().join("reversed.dat");
    let mut file = File::create(&reversed).unwrap();
    // Block 0, by which the network is told, stays the first.
    for height in [0].into_iter().chain((1..=db.tree().height(last)).rev()) {
        let block = db.block(db.by_num(height).unwrap()).unwrap();
        file.write_all(&(block.bytes().len() as u64).to_le_bytes()).unwrap();
        file.write_all(block.bytes()).unwrap();
    }
    let other = BlockFile::open(&reversed).unwrap();
    assert_eq!(other.tree().hash(other.last_block()), db.tree().hash(last));
    assert_eq!(other.len(), 131);
}

#[test]
fn real_blocks_show_what_everyone_knows_of_them() {
    let Some(data) = std::env::var_os("CAESURE_TEST_DATA") else {
        println!(
            "left out: 3 examples on the real blocks 0 to 2200 (CAESURE_TEST_DATA is not set)"
        );
        return;
    };
    let packed = Path::new(&data).join("chains/mainnet-0-2200.blk.xz");
    let mut packed = BufReader::new(File::open(packed).unwrap());
    let mut bytes = Vec::new();
    lzma_rs::xz_decompress(&mut packed, &mut bytes).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("blk00000.dat");
    fs::write(&path, bytes).unwrap();

    let mut output = Vec::new();
    count::run(&path, &mut output).unwrap();
    let text = String::from_utf8(output).unwrap();
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap().split_whitespace().next().unwrap().to_owned()
    };
    assert_eq!(
        ["network", "blocks", "transactions"].map(value),
        ["main", "2201", "2231"].map(str::to_owned)
    );

    let mut output = Vec::new();
    explore::run(&path, Some(170), &mut output).unwrap();
    let text = String::from_utf8(output).unwrap();
    let first_payment = "f4184fc596403b9d638783cf57adfe4c75c605f6356fbc91338530e9831e9e16";
    for part in [
        ">>> db.last_block\n2200\n",
        "<00000000d1145790a8694403d4063f323d499e655c83426834d4ce2f8dd4a2ee>",
        &format!(">>> tx.dump()\nhash: {first_payment}\ninputs: 1\n"),
        "outputs: 2\n  0 10.00000000 ['0x04ae1a62fe09c5f51b13905f07f06b99a2f7159b2225f374cd378d71302",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }

    let mut output = Vec::new();
    verify_input::run(&path, first_payment.parse().unwrap(), 0, &mut output).unwrap();
    let text = String::from_utf8(output).unwrap();
    assert!(text.contains("0437cd7f8525ceed2324359c2d0ba26006d92d856a9c20fa0241106ee5a597c9:0"));
    assert!(text.ends_with("3 steps: valid\n"), "{text}");
}
