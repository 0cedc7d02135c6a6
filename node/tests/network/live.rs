//! The running node's threads: its clock, those who wait, and what ends it.
#![expect(clippy::disallowed_methods, reason = "two wait while the test goes on")]

use std::thread;

use caesure_wire::{OutPoint, Transaction, TxIn};

use super::*;

const KEY: &str = "raw(51)#8lvh9jxk";

/// Starts a node on the folder of one that has stopped, and returns what it says to the end.
fn start_again(node: &mut Node) -> std::process::ChildStderr {
    node.child = Node::spawn(node.base.path(), node.port, node.rpc, &node.args, Stdio::piped());
    let said = node.child.stderr.take().unwrap();
    node.wait();
    said
}

#[test]
fn a_test_sets_the_clock_and_moves_time_on() {
    let node = Node::start(&[]);
    let made = || {
        let hash = node.get("generatetodescriptor", &json!([1, KEY]))[0].clone();
        node.get("getblockheader", &json!([hash]))["time"].as_u64().unwrap()
    };
    let time = u64::from(recently()) - 1_000_000;
    node.get("setmocktime", &json!([time]));
    assert_eq!(made(), time);
    node.get("setmocktime", &json!([0]));
    assert!(time + 1_000_000 <= made());
    let uptime = || node.get("uptime", &json!([])).as_u64().unwrap();
    let before = uptime();
    node.get("mockscheduler", &json!([3_600]));
    assert!(before + 3_600 <= uptime());
}

#[test]
fn who_waits_for_a_block_is_told_of_it_or_of_the_end() {
    let mut node = Node::start(&[]);
    let blocks = chain(&genesis(), 1, 3, 1);
    let wait = |height: u32| {
        let (cookie, rpc) = (node.folder().join(".cookie"), node.rpc);
        thread::spawn(move || {
            bitcoind::call(&cookie, rpc, "waitforblockheight", &json!([height, 600_000]))
        })
    };
    let [third, never] = [wait(3), wait(1_000)];
    blocks.iter().for_each(|block| assert_eq!(node.submit(block), Value::Null));
    let reached = json!({ "hash": last(&blocks), "height": 3 });
    assert_eq!(third.join().unwrap(), Ok(reached.clone()));
    // What is stored is found at once.
    let read = node.get("getblock", &json!([last(&blocks), 0]));
    assert_eq!(read, caesure_text::hex::encode(&blocks[2]));
    node.get("stop", &json!([]));
    assert_eq!(never.join().unwrap(), Ok(reached));
    assert_eq!(node.child.status().code(), Some(0));
}

#[test]
fn files_that_are_damaged_or_of_another_network_are_told_and_begun_anew() {
    let mut node = Node::start(&[]);
    let blocks = chain(&genesis(), 1, 20, 1);
    blocks.iter().for_each(|block| assert_eq!(node.submit(block), Value::Null));
    assert_eq!(node.end("-TERM"), Some(0));
    let path = |name: &str| node.folder().join(name);
    let mut peers = std::fs::read(path("peers.bin")).unwrap();
    *peers.last_mut().unwrap() ^= 1;
    std::fs::write(path("peers.bin"), peers).unwrap();
    let headers = std::fs::read(path("headers.bin")).unwrap();
    let head = "caesure headers 1 regtest\n".len();
    assert_eq!(headers.len(), head + 20 * 80);
    std::fs::write(
        path("headers.bin"),
        [b"caesure headers 1 signets\n", &headers[head..]].concat(),
    )
    .unwrap();
    let said = start_again(&mut node);
    assert_eq!(node.tip(), last(&blocks));
    assert_eq!(node.end("-TERM"), Some(0));
    let said = std::io::read_to_string(said).unwrap();
    assert!(said.contains("headers.bin; their headers are asked for again"), "{said}");
    assert!(said.contains("peers.bin"), "{said}");
    assert_eq!(std::fs::read(node.folder().join("headers.bin")).unwrap(), headers[..head]);
}

#[test]
fn a_coin_that_cannot_be_read_stops_the_node_and_the_next_start_makes_the_ledger_anew() {
    let mut node = Node::start(&["--horizon=20".to_owned()]);
    let mut blocks = chain(&genesis(), 1, 130, 1);
    blocks.iter().for_each(|block| assert_eq!(node.submit(block), Value::Null));
    assert_eq!(node.end("-TERM"), Some(0));
    let log = node.folder().join("ledger.log");
    let mut bytes = std::fs::read(&log).unwrap();
    let end = bytes.len() / 2;
    bytes[256..end].iter_mut().for_each(|byte| *byte ^= 0x55);
    std::fs::write(&log, bytes).unwrap();

    let coin = caesure_wire::Block::parse(&blocks[20][..]).unwrap().tx(0).txid();
    let spend = Transaction {
        version: 2,
        inputs: vec![TxIn {
            prevout: OutPoint { txid: coin, vout: 0 },
            script_sig: vec![0x51; 20],
            ..TxIn::default()
        }],
        outputs: vec![TxOut { value: 1, script_pubkey: vec![0x51] }],
        lock_time: 0,
    };
    let parent = header(&blocks[129]);
    let first = coinbase(131, 1, vec![TxOut { value: 1, script_pubkey: vec![0x51] }]);
    blocks.push(mine_block(parent.hash(), parent.time + 1, first, &[spend.encode()]));
    let said = start_again(&mut node);
    assert_eq!(node.tip(), hash(&blocks[129]).to_string());
    let _ = node.call("submitblock", &json!([caesure_text::hex::encode(&blocks[130])]));
    assert_eq!(node.child.status().code(), Some(1));
    let said = std::io::read_to_string(said).unwrap();
    assert!(said.contains("ledger.log is damaged at offset"), "{said}");
    assert!(said.contains("the same command makes the ledger anew"), "{said}");

    node.restart(&[]);
    node.wait_tip(&last(&blocks));
    let whole = Node::start(&[]);
    blocks.iter().for_each(|block| assert_eq!(whole.submit(block), Value::Null));
    let sets = [&node, &whole].map(|node| set_hash(&node.get("gettxoutsetinfo", &json!([]))));
    assert_eq!(sets[0], sets[1]);
}
