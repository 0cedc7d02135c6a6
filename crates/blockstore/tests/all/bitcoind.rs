//! A real `bitcoind`, named by `BITCOIND_EXE`, writes its blocks folder, and is followed.

#![allow(clippy::print_stdout, reason = "says what was followed or left out")]

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use caesure_blockstore::{Follow, FollowOptions, RecordReader, ScanOptions, scan};
use serde_json::{Value, json};

use crate::follow::Told;
use crate::support::REGTEST;

struct Bitcoind {
    child: Child,
    base: PathBuf,
    port: u16,
}

impl Bitcoind {
    fn start(program: &Path, base: &Path) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Command::new(program)
            .args(["-regtest", "-connect=0", "-listen=0", "-server=1"])
            .args([format!("-datadir={}", base.display()), format!("-rpcport={port}")])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut bitcoind = Self { child, base: base.to_owned(), port };
        while bitcoind.call("getblockcount", &json!([])).is_err() {
            assert!(bitcoind.child.try_wait().unwrap().is_none(), "bitcoind has stopped");
            sleep(Duration::from_millis(100));
        }
        bitcoind
    }

    fn call(&self, method: &str, params: &Value) -> Result<Value, String> {
        let error = |error: std::io::Error| error.to_string();
        let cookie = fs::read(self.base.join("regtest/.cookie")).map_err(error)?;
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).map_err(error)?;
        let body = json!({"id": 1, "method": method, "params": params}).to_string();
        let (length, cookie) = (body.len(), base64(&cookie));
        write!(stream, "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n").map_err(error)?;
        write!(stream, "Authorization: Basic {cookie}\r\n").map_err(error)?;
        write!(stream, "Content-Length: {length}\r\n\r\n{body}").map_err(error)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map_err(error)?;
        let (_, answer) = answer.split_once("\r\n\r\n").ok_or("no HTTP answer")?;
        let answer: Value = serde_json::from_str(answer).map_err(|error| error.to_string())?;
        match &answer["error"] {
            Value::Null => Ok(answer["result"].clone()),
            error => Err(error.to_string()),
        }
    }

    /// Mines blocks whose coinbases have this script.
    fn mine(&self, count: u32, script: &str) {
        let params = json!([count, format!("raw({script})")]);
        self.call("generatetodescriptor", &params).unwrap();
    }

    fn hash(&self, height: u32) -> String {
        self.call("getblockhash", &json!([height])).unwrap().as_str().unwrap().to_owned()
    }

    /// Compares the best chain that was told with that of the node, block by block.
    fn check(&self, told: &Told) {
        assert_eq!(self.call("getblockcount", &json!([])).unwrap(), told.chain.len() - 1);
        for (height, hash) in (0..).zip(&told.chain) {
            assert_eq!(self.hash(height), hash.to_string());
        }
    }
}

impl Drop for Bitcoind {
    fn drop(&mut self) {
        if self.call("stop", &json!([])).is_err() {
            self.child.kill().unwrap();
        }
        self.child.wait().unwrap();
    }
}

fn base64(bytes: &[u8]) -> String {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |chunk: &[u8]| {
        let bits = (0..3).fold(0, |bits, i| bits << 8 | usize::from(*chunk.get(i).unwrap_or(&0)));
        let digit = |i: usize| match i <= chunk.len() {
            true => char::from(alphabet[bits >> (18 - 6 * i) & 63]),
            false => '=',
        };
        [0, 1, 2, 3].map(digit)
    };
    bytes.chunks(3).flat_map(group).collect()
}

#[test]
fn the_folder_of_a_running_bitcoind_is_followed_through_forks_and_a_restart() {
    let Some(program) = std::env::var_os("BITCOIND_EXE") else {
        return println!("left out: BITCOIND_EXE is not set");
    };
    let program = Path::new(&program);
    let base = tempfile::tempdir().unwrap();
    let bitcoind = Bitcoind::start(program, base.path());
    let folder = base.path().join("regtest");
    let open = |options: &FollowOptions| Follow::open(&folder, REGTEST, options).unwrap();
    let (mut follow, mut told) = (open(&FollowOptions::default()), Told::default());
    // The node writes while it is followed.
    std::thread::scope(|scope| {
        let miner = scope.spawn(|| (0..40).for_each(|_| bitcoind.mine(5, "51")));
        while !miner.is_finished() {
            told.poll(&mut follow);
        }
    });
    told.poll(&mut follow);
    bitcoind.check(&told);
    assert_eq!((told.chain.len(), told.forks, told.reorganisations), (201, 0, 0));
    // Three blocks leave; the branch of four that replaces them comes one by one.
    let fork = json!([bitcoind.hash(198)]);
    bitcoind.call("invalidateblock", &fork).unwrap();
    bitcoind.mine(4, "52");
    assert_eq!(told.poll(&mut follow), 4);
    assert_eq!((told.forks, told.reorganisations), (3, 1));
    bitcoind.check(&told);
    let from = follow.position();
    bitcoind.mine(3, "53");
    drop(bitcoind);
    let bitcoind = Bitcoind::start(program, base.path());
    bitcoind.mine(2, "54");
    let mut follow = open(&FollowOptions { from, root: None });
    assert_eq!(told.poll(&mut follow), 5);
    bitcoind.check(&told);
    let options = ScanOptions { best_chain: true, ..ScanOptions::default() };
    let input = RecordReader::open(&folder, REGTEST).unwrap();
    let report = scan(input, &options, |_| (), |()| ControlFlow::Continue(())).unwrap();
    assert_eq!(report.blocks, told.chain.len() as u64);
    assert_eq!(report.tip.map(|tip| tip.0), told.chain.last().copied());
    println!("followed {} blocks of bitcoind", told.blocks.len());
}
