//! `--prune`: old bodies go, and peers are told what is left.

use std::io::Read;
use std::net::Shutdown;
use std::sync::Arc;

use caesure_wire::{Endpoint, FrameHeader, Inventory, Message, NetAddress, Version};

use super::*;

const MAGIC: [u8; 4] = [0xfa, 0xbf, 0xb5, 0xda];
const NETWORK: u64 = 1;
const LIMITED: u64 = 1 << 10;
const BLOCKS: u32 = 400;
/// The highest of them whose body goes.
const RELEASED: u32 = BLOCKS - 288;

/// A peer that says what a test has it say.
struct Peer {
    stream: TcpStream,
    /// What the node offers.
    services: u64,
}

impl Peer {
    fn connect(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut peer = Self { stream, services: 0 };
        let nobody = || (0, Endpoint { address: NetAddress::Ipv4([0; 4]), port: 0 });
        peer.send(&Message::Version(Version {
            version: 70_016,
            services: 9,
            time: recently().into(),
            receiver: nobody(),
            sender: nobody(),
            nonce: 1,
            user_agent: b"/test/".to_vec(),
            height: 0,
            relay: false,
        }));
        while let Some(message) = peer.receive() {
            match message {
                Message::Version(version) => {
                    peer.services = version.services;
                    peer.send(&Message::Verack);
                }
                Message::Verack => return peer,
                _ => {}
            }
        }
        panic!("the node hangs up");
    }

    fn send(&mut self, message: &Message) {
        let mut payload = Vec::new();
        message.encode_payload(&mut payload);
        let frame = FrameHeader::frame(MAGIC, message.command(), &payload);
        // The node may have hung up, which shows when it is read from.
        let _ = self.stream.write_all(&frame);
    }

    /// The next message; none when the node hung up.
    fn receive(&mut self) -> Option<Message> {
        let mut head = [0; FrameHeader::SIZE];
        self.stream.read_exact(&mut head).ok()?;
        let head = FrameHeader::from_bytes(&head);
        let mut payload = vec![0; usize::try_from(head.length).unwrap()];
        self.stream.read_exact(&mut payload).ok()?;
        Some(Message::decode(head.command().unwrap(), &payload).unwrap())
    }

    /// What is answered to the question for a block; none when the node hangs up.
    fn ask(&mut self, block: &[u8]) -> Option<Arc<Vec<u8>>> {
        let item = Inventory { kind: Inventory::WITNESS_BLOCK, hash: hash(block).0 };
        self.send(&Message::GetData(vec![item]));
        while let Some(message) = self.receive() {
            if let Message::Block(bytes) = message {
                return Some(bytes);
            }
        }
        None
    }
}

/// Blocks of 10 kB.
fn heavy(count: u32) -> Vec<Vec<u8>> {
    let mut parent = genesis();
    let start = recently();
    let block = |height| {
        let mut script_pubkey = vec![0x6a];
        script_pubkey.resize(9_900, 1);
        let outputs =
            vec![TxOut { value: 1, script_pubkey: vec![0x51] }, TxOut { value: 0, script_pubkey }];
        let time = start.max(parent.time + 1);
        let bytes = mine_block(parent.hash(), time, coinbase(height, 1, outputs), &[]);
        parent = header(&bytes);
        bytes
    };
    (1..=count).map(block).collect()
}

/// Waits until the bodies up to a height are released.
fn wait_released(node: &Node, height: u32) {
    for _ in 0..TRIES {
        if node.get("getblockchaininfo", &json!([]))["pruneheight"] == height + 1 {
            return;
        }
        sleep(WAIT);
    }
    panic!("nothing goes: {}", node.get("getblockchaininfo", &json!([])));
}

/// What a node whose blocks are [`heavy`] ones, and of which the oldest are gone, tells and serves.
fn check_pruned(node: &Node, blocks: &[Vec<u8>]) {
    let at = |height: u32| &blocks[height as usize - 1];
    // The ledger may be there a moment before the loop hears of it, which serves peers.
    let is_there = || node.get("getchaintips", &json!([]))[0]["status"] == "active";
    assert!((0..TRIES).any(|_| is_there() || (sleep(WAIT), false).1));
    let mut peer = Peer::connect(node.port);
    assert_eq!(peer.services & (NETWORK | LIMITED), LIMITED);
    for height in [BLOCKS, BLOCKS - 100, RELEASED + 1] {
        assert!(peer.ask(at(height)).as_deref() == Some(at(height)), "{height}");
    }
    assert!(peer.ask(at(50)).is_none());
    let names = node.get("getnetworkinfo", &json!([]))["localservicesnames"].clone();
    let names: Vec<&str> = names.as_array().unwrap().iter().flat_map(Value::as_str).collect();
    assert!(!names.contains(&"NETWORK") && names.contains(&"NETWORK_LIMITED"), "{names:?}");
    let old = hash(at(50)).to_string();
    let error = node.call("getblock", &json!([old])).unwrap_err();
    assert_eq!(error, json!({ "code": -1, "message": "Block not available (pruned data)" }));
    assert_eq!(node.get("getblockheader", &json!([old]))["nTx"], 1);
}

#[test]
fn old_blocks_go_and_peers_are_told_and_a_restart_keeps_it_so() {
    let blocks = heavy(BLOCKS);
    let mut node = Node::start(&["--prune=1".to_owned(), "--horizon=20".to_owned()]);
    blocks.iter().for_each(|block| assert_eq!(node.submit(block), Value::Null));
    wait_released(&node, RELEASED);
    check_pruned(&node, &blocks);
    let info = node.get("getblockchaininfo", &json!([]));
    assert_eq!((&info["pruned"], &info["automatic_pruning"]), (&json!(true), &json!(true)));
    assert_eq!(info["prune_target_size"], 1 << 20);
    let length = std::fs::metadata(node.folder().join("blocks.bin")).unwrap().len();
    assert!(info["size_on_disk"].as_u64().unwrap() < length - 500_000, "{info} {length}");
    let set = set_hash(&node.get("gettxoutsetinfo", &json!([])));

    assert_eq!(node.end("-TERM"), Some(0));
    node.restart(&[]);
    wait_released(&node, RELEASED);
    check_pruned(&node, &blocks);
    // What is gone does not come back when nothing more is to go.
    assert_eq!(node.end("-TERM"), Some(0));
    node.args.retain(|arg| !arg.starts_with("--prune"));
    node.restart(&[]);
    check_pruned(&node, &blocks);
    let info = node.get("getblockchaininfo", &json!([]));
    assert_eq!((&info["pruned"], &info["pruneheight"]), (&json!(true), &json!(RELEASED + 1)));
    assert_eq!(info["automatic_pruning"], false);
    assert_eq!(info.get("prune_target_size"), None);
    assert_eq!(set_hash(&node.get("gettxoutsetinfo", &json!([]))), set);

    // Who wants only what is there gets it; who wants all goes on looking.
    let near = Node::start(&[node.dial()]);
    let (known, new) = blocks.split_at(blocks.len() - 50);
    known.iter().for_each(|block| _ = near.submit(block));
    near.wait_tip(&last(new));
    let fresh = Node::start(&[node.dial()]);
    let headers = |node: &Node| node.get("getblockchaininfo", &json!([]))["headers"].clone();
    for _ in 0..TRIES {
        if headers(&fresh) == BLOCKS {
            break;
        }
        sleep(WAIT);
    }
    assert_eq!(
        (headers(&fresh), fresh.get("getblockcount", &json!([]))),
        (BLOCKS.into(), 0.into())
    );
    assert_eq!(node.tip(), last(&blocks));
}

/// Changes a byte of the ledger's log.
fn damage_log(node: &Node) {
    let path = node.folder().join("ledger.log");
    let mut log = std::fs::read(&path).unwrap();
    let at = log.len() / 8;
    log[at] ^= 0xff;
    std::fs::write(&path, log).unwrap();
}

#[test]
fn a_pruned_node_whose_log_is_damaged_says_so_and_has_its_blocks_from_peers() {
    let blocks = heavy(BLOCKS);
    let mut node = Node::start(&["--prune=1".to_owned(), "--horizon=20".to_owned()]);
    blocks.iter().for_each(|block| assert_eq!(node.submit(block), Value::Null));
    wait_released(&node, RELEASED);
    let set = set_hash(&node.get("gettxoutsetinfo", &json!([])));
    assert_eq!(node.end("-TERM"), Some(0));

    // The table points into it: who reads the coin there is told, and nothing else stops.
    damage_log(&node);
    node.restart(&[]);
    let error = node.call("gettxoutsetinfo", &json!([])).unwrap_err();
    let text = error["message"].as_str().unwrap();
    assert!(text.contains("ledger.log") && text.contains("damaged"), "{text}");
    assert_eq!(node.tip(), last(&blocks));
    assert_eq!(node.end("-TERM"), Some(0));

    // Without a table all is made anew from what is whole of the log. The rest of the blocks is gone.
    std::fs::remove_file(node.folder().join("ledger.table")).unwrap();
    let start = |node: &mut Node| {
        node.child = Node::spawn(node.base.path(), node.port, node.rpc, &node.args, Stdio::piped());
        let said = node.child.stderr.take().unwrap();
        node.wait();
        said
    };
    let said = start(&mut node);
    let height = node.get("getblockcount", &json!([])).as_u64().unwrap();
    assert!((1..u64::from(RELEASED)).contains(&height), "{height}");
    assert_eq!(node.end("-TERM"), Some(0));
    let said = std::io::read_to_string(said).unwrap();
    assert!(said.contains("from the ledger's log"), "{said}");
    let missing = u64::from(RELEASED) - height;
    let text = format!("{missing} blocks, the first at height {}", height + 1);
    assert!(said.contains(&text), "{said}");

    let full = Node::start(&[]);
    blocks.iter().for_each(|block| assert_eq!(full.submit(block), Value::Null));
    node.args.push(full.dial());
    let said = start(&mut node);
    node.wait_tip(&last(&blocks));
    assert_eq!(set_hash(&node.get("gettxoutsetinfo", &json!([]))), set);
    // What came again goes again.
    wait_released(&node, RELEASED);
    check_pruned(&node, &blocks);
    assert_eq!(node.end("-TERM"), Some(0));
    let said = std::io::read_to_string(said).unwrap();
    assert!(said.contains(&text), "{said}");
    let said = start(&mut node);
    assert_eq!(node.tip(), last(&blocks));
    assert_eq!(node.end("-TERM"), Some(0));
    let said = std::io::read_to_string(said).unwrap();
    assert!(!said.contains("the first at height"), "{said}");
}

#[test]
fn a_node_that_keeps_all_says_so_and_serves_all() {
    let node = Node::start(&[]);
    let blocks = chain(&genesis(), 1, 300, 1);
    blocks.iter().for_each(|block| assert_eq!(node.submit(block), Value::Null));
    let mut peer = Peer::connect(node.port);
    assert_eq!(peer.services & (NETWORK | LIMITED), NETWORK | LIMITED);
    assert!(peer.ask(&blocks[0]).as_deref() == Some(&blocks[0]));
    let _ = peer.stream.shutdown(Shutdown::Both);
    assert_eq!(node.get("getblockchaininfo", &json!([]))["pruned"], false);
}

#[test]
fn what_is_told_of_pruning_is_what_bitcoind_tells() {
    let Some((core, _)) = listening_bitcoind("pruning", &["-prune=550"]) else { return };
    let node = Node::start(&["--prune=550".to_owned()]);
    let infos =
        [node.get("getblockchaininfo", &json!([])), core.get("getblockchaininfo", &json!([]))];
    let told = infos.map(|info| {
        let names = ["pruned", "pruneheight", "automatic_pruning", "prune_target_size"];
        let all: Vec<String> = info.as_object().unwrap().keys().cloned().collect();
        (all, names.map(|name| info[name].clone()))
    });
    assert_eq!(told[0], told[1]);
    let services = |info: Value| info["localservicesnames"].clone();
    let ours = services(node.get("getnetworkinfo", &json!([])));
    assert!(!ours.as_array().unwrap().contains(&json!("NETWORK")), "{ours}");
}

#[test]
fn too_small_a_target_is_refused_but_on_regtest() {
    let base = TempDir::new().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_caesure"));
    command.args(["--network", "signet", "--only-connect", "--no-rpc", "--prune", "549", "-b"]);
    command.arg(base.path()).stderr(Stdio::piped());
    let output = Running::start(&mut command).output();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("--prune 549 is too little"), "{said}");
}
