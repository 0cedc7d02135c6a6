//! The running program over real sockets: with a `bitcoind`, and with itself.

#[path = "support/bitcoind.rs"]
mod bitcoind;
#[path = "network/live.rs"]
mod live;
#[path = "network/proxy.rs"]
mod proxy;
#[path = "network/prune.rs"]
mod prune;
#[path = "support/running.rs"]
mod running;

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use caesure_consensus::{Network, Params};
use caesure_generate::{coinbase, mine_block};
use caesure_wire::{BlockHash, Header, TxOut};
use serde_json::{Value, json};
use tempfile::TempDir;

use bitcoind::Bitcoind;
use running::Running;

const WAIT: Duration = Duration::from_millis(50);
/// Far longer than anything here takes.
const TRIES: u32 = 2_400;

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A running node on regtest.
struct Node {
    base: TempDir,
    child: Running,
    port: u16,
    rpc: u16,
    args: Vec<String>,
}

impl Node {
    fn start(args: &[String]) -> Self {
        let base = TempDir::new().unwrap();
        let (port, rpc) = (free_port(), free_port());
        let child = Self::spawn(base.path(), port, rpc, args, Stdio::inherit());
        let mut node = Self { base, child, port, rpc, args: args.to_vec() };
        node.wait();
        node
    }

    fn spawn(base: &Path, port: u16, rpc: u16, args: &[String], stderr: Stdio) -> Running {
        let mut command = Command::new(env!("CARGO_BIN_EXE_caesure"));
        command
            .args(["--network", "regtest", "--only-connect", "-b"])
            .arg(base)
            .args(["-s", &format!("127.0.0.1:{port}"), "--rpc", &format!("127.0.0.1:{rpc}")])
            .args(args)
            .stderr(stderr);
        Running::start(&mut command)
    }

    /// Starts it again on the same folder, with more peers to dial.
    fn restart(&mut self, more: &[String]) {
        self.args.extend_from_slice(more);
        self.child =
            Self::spawn(self.base.path(), self.port, self.rpc, &self.args, Stdio::inherit());
        self.wait();
    }

    fn wait(&mut self) {
        for _ in 0..TRIES {
            if self.call("getblockcount", &json!([])).is_ok() {
                return;
            }
            assert!(self.child.try_wait().unwrap().is_none(), "the node has stopped");
            sleep(WAIT);
        }
        panic!("the node does not answer");
    }

    fn folder(&self) -> PathBuf {
        self.base.path().join("regtest")
    }

    fn call(&self, method: &str, params: &Value) -> Result<Value, Value> {
        bitcoind::call(&self.folder().join(".cookie"), self.rpc, method, params)
    }

    fn get(&self, method: &str, params: &Value) -> Value {
        self.call(method, params).unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    fn tip(&self) -> String {
        self.get("getbestblockhash", &json!([])).as_str().unwrap().to_owned()
    }

    fn wait_tip(&self, tip: &str) {
        for _ in 0..TRIES {
            if self.tip() == tip {
                return;
            }
            sleep(WAIT);
        }
        let info = self.get("getblockchaininfo", &json!([]));
        panic!("not at {tip}: {info}, {}", self.get("getpeerinfo", &json!([])));
    }

    fn submit(&self, block: &[u8]) -> Value {
        self.get("submitblock", &json!([caesure_text::hex::encode(block)]))
    }

    /// Sends a signal and returns the exit status.
    fn end(&mut self, signal: &str) -> Option<i32> {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
        self.child.status().code()
    }

    fn dial(&self) -> String {
        format!("-c127.0.0.1:{}", self.port)
    }
}

/// A day ago: blocks of today are relayed, those of long ago are not.
fn recently() -> u32 {
    #[expect(clippy::disallowed_methods, reason = "peers compare it with their clocks")]
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    u32::try_from(since.unwrap().as_secs()).unwrap() - 20_000
}

/// Blocks on a parent, each with a coinbase alone.
fn chain(parent: &Header, height: u32, count: u32, tag: u32) -> Vec<Vec<u8>> {
    let mut parent = *parent;
    let start = recently();
    let block = |height| {
        let outputs = vec![TxOut { value: 1, script_pubkey: vec![0x51] }];
        let time = start.max(parent.time + 1);
        let bytes = mine_block(parent.hash(), time, coinbase(height, tag, outputs), &[]);
        parent = header(&bytes);
        bytes
    };
    (height..height + count).map(block).collect()
}

fn header(block: &[u8]) -> Header {
    Header::from_bytes(block.first_chunk().unwrap())
}

fn hash(block: &[u8]) -> BlockHash {
    header(block).hash()
}

fn genesis() -> Header {
    Params::new(Network::Regtest).genesis
}

fn last(blocks: &[Vec<u8>]) -> String {
    hash(blocks.last().unwrap()).to_string()
}

/// A `bitcoind` that listens for peers, and the port.
fn listening_bitcoind(test: &str, args: &[&str]) -> Option<(Bitcoind, u16)> {
    let port = free_port();
    let own = [format!("-port={port}"), format!("-bind=127.0.0.1:{port}"), "-listen=1".to_owned()];
    let args: Vec<String> = own.into_iter().chain(args.iter().map(|it| (*it).to_owned())).collect();
    Some((Bitcoind::start(test, &args)?, port))
}

fn wait_bitcoind(bitcoind: &Bitcoind, tip: &str) {
    for _ in 0..TRIES {
        if bitcoind.get("getbestblockhash", &json!([])) == tip {
            return;
        }
        sleep(WAIT);
    }
    panic!("bitcoind stays at {}", bitcoind.get("getchaintips", &json!([])));
}

fn transports(node: &Node) -> Vec<Value> {
    let peers = node.get("getpeerinfo", &json!([]));
    peers.as_array().unwrap().iter().map(|peer| peer["transport_protocol_type"].clone()).collect()
}

fn set_hash(value: &Value) -> (Value, Value) {
    (value["hash_serialized_3"].clone(), value["bestblock"].clone())
}

#[test]
fn it_syncs_from_bitcoind_and_serves_a_new_one_over_both_transports() {
    for v2 in ["1", "0"] {
        let transport = format!("-v2transport={v2}");
        let Some((core, port)) =
            listening_bitcoind("sync from and to bitcoind", &[&transport, "-maxtipage=1000000000"])
        else {
            return;
        };
        let blocks = chain(&genesis(), 1, 300, 1);
        blocks.iter().for_each(|block| assert_eq!(core.submit(block), Value::Null));
        let tip = last(&blocks);
        let v2_arg = format!("--v2transport={v2}");
        let node = Node::start(&[format!("-c127.0.0.1:{port}"), v2_arg]);
        node.wait_tip(&tip);
        assert_eq!(transports(&node), [["v1", "v2"][usize::from(v2 == "1")]]);
        let sets =
            [node.get("gettxoutsetinfo", &json!([])), core.get("gettxoutsetinfo", &json!([]))];
        assert_eq!(set_hash(&sets[0]), set_hash(&sets[1]));

        let Some((fresh, _)) = listening_bitcoind("", &[&transport, "-maxtipage=1000000000"])
        else {
            unreachable!("the first one started")
        };
        let address = format!("127.0.0.1:{}", node.port);
        fresh.get("addnode", &json!([address, "onetry"]));
        wait_bitcoind(&fresh, &tip);
    }
}

#[test]
fn it_follows_reorganisations_of_bitcoind_however_deep_and_either_may_start_again() {
    let Some((mut core, port)) =
        listening_bitcoind("reorganisations", &["-maxtipage=1000000000", "-persistmempool=0"])
    else {
        return;
    };
    let dial = format!("-c127.0.0.1:{port}");
    let mut blocks = chain(&genesis(), 1, 130, 1);
    blocks.iter().for_each(|block| assert_eq!(core.submit(block), Value::Null));
    let mut node = Node::start(&[dial, "--horizon=20".to_owned()]);
    node.wait_tip(&last(&blocks));
    for (tag, depth) in (2..).zip([1, 6, 100]) {
        let kept = blocks.len() - depth;
        let fork = chain(
            &header(&blocks[kept - 1]),
            u32::try_from(kept).unwrap() + 1,
            u32::try_from(depth).unwrap() + 1,
            tag,
        );
        blocks.truncate(kept);
        fork.iter().for_each(|block| _ = core.submit(block));
        blocks.extend(fork);
        wait_bitcoind(&core, &last(&blocks));
        node.wait_tip(&last(&blocks));
    }
    // Killed in the middle of a sync, then the other one.
    let more =
        chain(&header(blocks.last().unwrap()), u32::try_from(blocks.len()).unwrap() + 1, 150, 9);
    more[..140].iter().for_each(|block| assert_eq!(core.submit(block), Value::Null));
    assert_eq!(node.end("-KILL"), None);
    node.restart(&[]);
    node.wait_tip(&hash(&more[139]).to_string());
    core.restart();
    more[140..].iter().for_each(|block| assert_eq!(core.submit(block), Value::Null));
    node.wait_tip(&last(&more));
    let sets = [node.get("gettxoutsetinfo", &json!([])), core.get("gettxoutsetinfo", &json!([]))];
    assert_eq!(set_hash(&sets[0]), set_hash(&sets[1]));
    assert_eq!(node.end("-TERM"), Some(0));
}

#[test]
fn new_blocks_go_to_bitcoind_and_come_from_it_as_compact_blocks() {
    let Some((core, port)) = listening_bitcoind("compact blocks", &["-maxtipage=1000000000"])
    else {
        return;
    };
    let blocks = chain(&genesis(), 1, 60, 1);
    blocks[..20].iter().for_each(|block| assert_eq!(core.submit(block), Value::Null));
    let node = Node::start(&[format!("-c127.0.0.1:{port}")]);
    node.wait_tip(&hash(&blocks[19]).to_string());
    for (at, block) in blocks.iter().enumerate().skip(20) {
        if at % 2 == 0 {
            assert_eq!(core.submit(block), Value::Null);
        } else {
            assert_eq!(node.submit(block), Value::Null);
        }
        let tip = hash(block).to_string();
        node.wait_tip(&tip);
        wait_bitcoind(&core, &tip);
    }
    let peers = core.get("getpeerinfo", &json!([]));
    let (sent, received) = (&peers[0]["bytessent_per_msg"], &peers[0]["bytesrecv_per_msg"]);
    assert!(sent["cmpctblock"].is_number(), "{peers}");
    assert!(received["cmpctblock"].is_number(), "{peers}");
}

#[test]
fn two_nodes_agree_and_one_goes_on_after_kill_9() {
    let first = Node::start(&[]);
    let blocks = chain(&genesis(), 1, 200, 1);
    blocks[..120].iter().for_each(|block| assert_eq!(first.submit(block), Value::Null));
    let mut second = Node::start(&[first.dial()]);
    second.wait_tip(&hash(&blocks[119]).to_string());
    assert_eq!(transports(&second), ["v2"]);
    assert_eq!(second.end("-KILL"), None);
    blocks[120..].iter().for_each(|block| assert_eq!(first.submit(block), Value::Null));
    second.restart(&[]);
    second.wait_tip(&last(&blocks));
    // A longer branch in the one that was dialled by nobody else.
    let fork = chain(&header(&blocks[149]), 151, 60, 2);
    fork.iter().for_each(|block| _ = second.submit(block));
    second.wait_tip(&last(&fork));
    first.wait_tip(&last(&fork));
    let sets = [&first, &second].map(|node| node.get("gettxoutsetinfo", &json!([])));
    assert_eq!(set_hash(&sets[0]), set_hash(&sets[1]));
}

#[test]
fn a_node_is_added_by_the_transport_that_the_user_names() {
    let [first, second, old] =
        [Node::start(&[]), Node::start(&[]), Node::start(&["--v2transport=0".to_owned()])];
    let address = format!("127.0.0.1:{}", first.port);
    for (v2, expected) in [(json!(false), "v1"), (Value::Null, "v2"), (json!(true), "v2")] {
        second.get("addnode", &json!([address, "add", v2]));
        for _ in 0..TRIES {
            if transports(&second) == [expected] {
                break;
            }
            sleep(WAIT);
        }
        assert_eq!(transports(&second), [expected], "{v2}");
        second.get("addnode", &json!([address, "remove"]));
        second.get("disconnectnode", &json!([address]));
    }
    let text = "Error: v2transport requested but not enabled (see -v2transport)";
    let error = json!({ "code": -8, "message": text });
    for what in ["add", "onetry", "remove"] {
        assert_eq!(old.call("addnode", &json!([address, what, true])), Err(error.clone()));
    }
    if let Some((core, _)) = listening_bitcoind("transports", &["-v2transport=0"]) {
        assert_eq!(core.call("addnode", &json!([address, "add", true])), Err(error));
    }
}

/// A full node of bcoin: its port, whom it dials, how many blocks it finds first. It prints its tip.
const BCOIN: &str = "
process.env.NODE_BACKEND = 'js';
const {FullNode} = require('bcoin');
const [port, peer, blocks] = process.argv.slice(1);
(async () => {
    const node = new FullNode({network: 'regtest', memory: true, listen: true, workers: false,
        host: '127.0.0.1', port: +port, httpPort: +port + 1, maxOutbound: 1, bip37: false,
        logLevel: 'none', nodes: peer === '-' ? [] : [peer]});
    await node.open();
    await node.connect();
    for (let i = 0; i < +blocks; i++)
        await node.chain.add(await node.miner.mineBlock());
    node.startSync();
    setInterval(() => console.log(node.chain.tip.rhash()), 100);
})();
";

/// Starts bcoin and waits for a tip that is good.
fn bcoin(
    folder: &Path,
    peer: &str,
    blocks: u32,
    is_good: impl Fn(&str) -> bool,
) -> (Running, u16, String) {
    let port = free_port();
    let mut command = Command::new("node");
    command.args(["-e", BCOIN, &port.to_string(), peer, &blocks.to_string()]);
    let mut running = Running::start(command.current_dir(folder).stdout(Stdio::piped()));
    let lines = BufReader::new(running.stdout.as_mut().unwrap()).lines();
    let tip = lines.map(Result::unwrap).take(600).find(|tip| is_good(tip));
    (running, port, tip.expect("bcoin comes to a tip"))
}

#[test]
fn it_syncs_from_bcoin_and_serves_it() {
    let Some(folder) = std::env::var_os("BCOIN_DIR").map(PathBuf::from) else {
        println!("it_syncs_from_bcoin_and_serves_it: left out, BCOIN_DIR is not set");
        return;
    };
    let genesis = Params::new(Network::Regtest).genesis_hash.to_string();
    let (_running, port, tip) = bcoin(&folder, "-", 120, |_| true);
    // bcoin bans who speaks the second transport to it.
    let arguments = [format!("-c127.0.0.1:{port}"), "--v2transport=0".to_owned()];
    let node = Node::start(&arguments);
    node.wait_tip(&tip);
    assert_ne!(tip, genesis);
    let us = format!("127.0.0.1:{}", node.port);
    let (_other, _, theirs) = bcoin(&folder, &us, 0, |theirs| theirs == tip);
    assert_eq!(theirs, tip);
}

/// What `caesure replay` says of a record.
fn replay(record: &Path) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_caesure"));
    let output = command.args(["--json", "replay"]).arg(record).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_recorded_node_runs_again_from_its_record() {
    let dir = TempDir::new().unwrap();
    let first = Node::start(&[]);
    let blocks = chain(&genesis(), 1, 150, 1);
    blocks[..120].iter().for_each(|block| assert_eq!(first.submit(block), Value::Null));
    let record = |name: &str| dir.path().join(name);
    let option = |name: &str| format!("--record={}", record(name).display());
    let mut second = Node::start(&[first.dial(), option("killed")]);
    second.wait_tip(&hash(&blocks[119]).to_string());
    assert_eq!(second.end("-KILL"), None);
    let killed = replay(&record("killed"));
    assert!(Some(100) < killed["inputs"].as_u64(), "{killed}");

    // From what the disk has by now, with commands, and to the end, which says the hash.
    second.args.pop();
    let mut args = second.args.clone();
    args.push(option("stopped"));
    let mut child = Node::spawn(second.base.path(), second.port, second.rpc, &args, Stdio::piped());
    let said = child.stderr.take().unwrap();
    second.child = child;
    second.wait();
    blocks[120..140].iter().for_each(|block| assert_eq!(first.submit(block), Value::Null));
    second.wait_tip(&hash(&blocks[139]).to_string());
    blocks[140..].iter().for_each(|block| assert_eq!(second.submit(block), Value::Null));
    second.get("invalidateblock", &json!([last(&blocks)]));
    first.wait_tip(&last(&blocks));
    assert_eq!(second.end("-TERM"), Some(0));
    let said = std::io::read_to_string(said).unwrap();
    let again = replay(&record("stopped"));
    let (inputs, hash) = (&again["inputs"], again["hash"].as_str().unwrap());
    assert!(said.contains(&format!("recorded {inputs} inputs, hash {hash}")), "{said}{again}");
    assert_eq!(again["left"], 0);

    let whole = std::fs::read(record("stopped")).unwrap();
    std::fs::write(record("cut"), &whole[..whole.len() - 3]).unwrap();
    let cut = replay(&record("cut"));
    assert_eq!(cut["inputs"].as_u64(), inputs.as_u64().map(|inputs| inputs - 1));
    assert_ne!(cut["left"], 0);
    assert_ne!(cut["hash"], again["hash"]);
}

#[test]
fn a_signal_or_the_stop_command_ends_it_with_success_and_all_is_saved() {
    let blocks = chain(&genesis(), 1, 50, 1);
    for how in ["-TERM", "-INT", "stop"] {
        let mut node = Node::start(&[]);
        blocks.iter().for_each(|block| assert_eq!(node.submit(block), Value::Null));
        let status = if how == "stop" {
            node.get("stop", &json!([]));
            node.child.status().code()
        } else {
            node.end(how)
        };
        assert_eq!(status, Some(0), "{how}");
        for file in ["peers.bin", "headers.bin", "ledger.table"] {
            assert!(node.folder().join(file).exists(), "{how}: {file}");
        }
        assert!(!node.folder().join(".cookie").exists(), "{how}");
        node.restart(&[]);
        assert_eq!(node.tip(), last(&blocks));
    }
}

#[test]
fn an_invalidated_block_stays_so_after_a_start_until_it_is_reconsidered() {
    let mut node = Node::start(&[]);
    let blocks = chain(&genesis(), 1, 30, 1);
    blocks.iter().for_each(|block| assert_eq!(node.submit(block), Value::Null));
    let hash_at = |at: usize| hash(&blocks[at]).to_string();
    node.get("invalidateblock", &json!([hash_at(10)]));
    assert_eq!(node.tip(), hash_at(9));
    assert_eq!(node.end("-TERM"), Some(0));
    node.restart(&[]);
    assert_eq!(node.tip(), hash_at(9));
    node.get("reconsiderblock", &json!([hash_at(10)]));
    node.wait_tip(&last(&blocks));
}

/// The exit status and what is said.
fn refused(args: &[&str]) -> (i32, String) {
    let base = TempDir::new().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_caesure"));
    command.args(["--network", "regtest", "--only-connect", "--no-rpc", "-b"]);
    command.arg(base.path()).args(args).stderr(Stdio::piped());
    let output = Running::start(&mut command).output();
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn what_cannot_be_done_is_said_in_a_sentence() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let (status, said) = refused(&["-s", &taken]);
    assert_eq!(status, 1, "{said}");
    assert!(
        said.contains(&format!("cannot listen on {taken}")) && said.contains("in use"),
        "{said}"
    );
    let closed = format!("127.0.0.1:{}", free_port());
    let (status, said) = refused(&["--proxy", &closed]);
    assert_eq!(status, 1, "{said}");
    assert!(said.contains(&format!("the proxy {closed} cannot be reached")), "{said}");
    for wrong in [["-c", "nowhere:8333x"], ["-s", "127.0.0.1"], ["--minimumchainwork", "xyz"]] {
        let (status, said) = refused(&wrong);
        assert_eq!(status, 2, "{said}");
        assert!(said.contains(wrong[1]), "{said}");
    }
    let (status, said) = refused(&["-i", "900000000"]);
    assert_eq!(status, 1, "{said}");
    assert!(said.contains("smaller -i"), "{said}");
}

#[test]
fn a_peer_that_says_nothing_or_nonsense_harms_nobody() {
    let node = Node::start(&[]);
    let silent = TcpStream::connect(("127.0.0.1", node.port)).unwrap();
    let mut loud = TcpStream::connect(("127.0.0.1", node.port)).unwrap();
    // It may be closed before all is written.
    let _ = loud.write_all(&[0xff; 1 << 20]);
    let mut http = TcpStream::connect(("127.0.0.1", node.port)).unwrap();
    let _ = http.write_all(b"GET / HTTP/1.1\r\n\r\n");
    let blocks = chain(&genesis(), 1, 10, 1);
    blocks.iter().for_each(|block| assert_eq!(node.submit(block), Value::Null));
    assert_eq!(node.tip(), last(&blocks));
    drop(silent);
    let mut line = String::new();
    let _ = BufReader::new(loud).read_line(&mut line);
    assert_eq!(node.get("getblockcount", &json!([])), 10);
}

/// The records of a log, each as the names of its facility and event and its other items.
fn records(path: &Path) -> Vec<caesure_eventlog::Record> {
    let mut reader = caesure_eventlog::RecordReader::new(std::fs::File::open(path).unwrap());
    let records = std::iter::from_fn(|| reader.next_record().unwrap()).collect();
    assert_eq!((reader.skipped(), reader.pending()), (0, 0));
    records
}

/// Has a node do all that changes it, but for bans and its end; returns what its log says of it, and how
/// often. What comes to nothing is told too.
fn what_changes_it(node: &Node) -> Vec<(String, usize)> {
    let tip = node.tip();
    let key = "raw(51)#8lvh9jxk";
    let made = node.get("generatetodescriptor", &json!([2, key]));
    let made: Vec<&str> =
        made.as_array().unwrap().iter().map(|hash| hash.as_str().unwrap()).collect();
    let parent = node.get("getblockheader", &json!([made[1], false]));
    let parent = caesure_text::hex::decode(parent.as_str().unwrap()).unwrap();
    let block = &chain(&Header::from_bytes(parent[..].try_into().unwrap()), 24, 1, 9)[0];
    let header = caesure_text::hex::encode(&block[..80]);
    for (method, params) in [
        ("submitheader", json!([header])),
        ("invalidateblock", json!([made[1]])),
        ("reconsiderblock", json!([made[1]])),
        ("preciousblock", json!([made[1]])),
        ("addnode", json!(["127.0.0.1:1", "add"])),
        ("addnode", json!(["127.0.0.1:1", "remove"])),
        ("addnode", json!(["127.0.0.1:1", "onetry"])),
        ("clearbanned", json!([])),
        ("setnetworkactive", json!([false])),
        ("setnetworkactive", json!([true])),
        ("addpeeraddress", json!(["8.8.8.8", 8333])),
        ("setmocktime", json!([0])),
        ("mockscheduler", json!([1])),
    ] {
        node.get(method, &params);
    }
    let of = |name: &str, hash: &str| (format!("{name}({hash})"), 1);
    let mut all = vec![
        of("SubmitBlock", &tip),
        of("SubmitBlock", made[0]),
        of("SubmitBlock", made[1]),
        of("SubmitHeader", &hash(block).to_string()),
        of("Invalidate", made[1]),
        of("Reconsider", made[1]),
        of("Precious", made[1]),
        of("SetActive", "false"),
        of("SetActive", "true"),
        of("SetMockTime", "0"),
        of("RunScheduler", "1s"),
    ];
    let others = ["AddNode {", "RemoveNode(", "Connect {", "ClearBans", "AddAddress {"];
    all.extend(others.map(|name| (name.to_owned(), 1)));
    all
}

#[test]
fn a_log_tells_what_happened_from_the_start_to_the_end() {
    let first = Node::start(&[]);
    let blocks = chain(&genesis(), 1, 20, 1);
    blocks.iter().for_each(|block| assert_eq!(first.submit(block), Value::Null));
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("log.bin");
    let option = format!("--logfile={}", path.display());
    let words = [first.dial(), option, "-v".to_owned(), "--packet".to_owned()];
    let mut second = Node::start(&words);
    second.wait_tip(&last(&blocks));
    // Three blocks, of which the last two make another branch.
    let fork = chain(&header(&blocks[17]), 19, 3, 2);
    fork.iter().for_each(|block| _ = second.submit(block));
    second.wait_tip(&last(&fork));
    second.get("setban", &json!(["9.9.9.9", "add"]));
    let done = what_changes_it(&second);
    assert_eq!(second.end("-TERM"), Some(0));

    let records = records(&path);
    let text =
        |record: &caesure_eventlog::Record| caesure_eventlog::text::items(&record.items, true);
    let lines: Vec<String> = records.iter().map(text).collect();
    let find = |start: &str| {
        lines.iter().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{start}"))
    };
    assert!(
        lines[0].starts_with("server starting ") && lines[0].contains("--packet"),
        "{}",
        lines[0]
    );
    assert_eq!(lines[lines.len() - 1], "server stopped done");
    let peer = format!("(127.0.0.1, {})", first.port);
    assert!(find("server connect outgoing").ends_with(&peer));
    assert!(find("network ready").contains(&format!("{peer} manual v2 70017 /caesure:")));
    find("headers accepted 20 20 ");
    find(&format!("conn <= {peer} headers "));
    find(&format!("conn => {peer} getdata "));
    find("server command \"Ban {");
    for (text, count) in done {
        let said = lines.iter().filter_map(|line| line.strip_prefix("server command "));
        let found = said.filter(|said| said.trim_matches('"').starts_with(&text)).count();
        assert_eq!(found, count, "{text}");
    }
    find("network banned 9.9.9.9/32 ");
    find("http request rpc (127.0.0.1, ");
    find("server stopping signal");
    find("server disconnect ");
    assert!(!lines.iter().any(|line| line.starts_with("conn ") && line.contains(" ping ")));
    for block in &blocks {
        let name = hash(block);
        find(&format!("db add {name} "));
        find(&format!("ledger add {name} "));
        let payload = caesure_text::hex::encode(block);
        find(&format!("recv {peer} block {payload}"));
    }
    let tip = format!("ledger tip {} {} 21 2", last(&blocks), last(&fork));
    assert!(lines.contains(&tip), "{tip}");
}
