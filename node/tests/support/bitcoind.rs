//! A `bitcoind` to compare with. The tests of several crates read this file by its path.
#![allow(dead_code, reason = "each test program uses a part")]
#![allow(clippy::print_stdout, reason = "says what is left out")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

/// A real `bitcoind` on regtest, stopped when it is dropped.
pub(crate) struct Bitcoind {
    command: Command,
    child: Child,
    base: TempDir,
    port: u16,
}

impl Bitcoind {
    /// Starts the program that `BITCOIND_EXE` names; none when it is not set, which is said.
    pub(crate) fn start(test: &str, args: &[String]) -> Option<Self> {
        let Some(program) = std::env::var_os("BITCOIND_EXE") else {
            println!("{test}: left out, BITCOIND_EXE is not set");
            return None;
        };
        let base = TempDir::new().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new(program);
        command
            .args(["-regtest", "-connect=0", "-listen=0", "-assumevalid=0", "-server=1"])
            .args([format!("-datadir={}", base.path().display()), format!("-rpcport={port}")])
            .args(args)
            .stdout(Stdio::null());
        let child = command.spawn().unwrap();
        let mut bitcoind = Self { command, child, base, port };
        bitcoind.wait();
        Some(bitcoind)
    }

    /// Stops it and starts it again on the same folder.
    pub(crate) fn restart(&mut self) {
        self.stop();
        self.child = self.command.spawn().unwrap();
        self.wait();
    }

    /// Waits until it answers.
    fn wait(&mut self) {
        for _ in 0..1_200 {
            if self.call("getblockcount", &json!([])).is_ok() {
                return;
            }
            assert!(self.child.try_wait().unwrap().is_none(), "bitcoind has stopped");
            sleep(Duration::from_millis(50));
        }
        panic!("bitcoind does not answer");
    }

    fn stop(&mut self) {
        if self.call("stop", &json!([])).is_err() {
            self.child.kill().unwrap();
        }
        self.child.wait().unwrap();
    }

    /// The folder of regtest, which holds `blocks` and `debug.log`.
    pub(crate) fn folder(&self) -> PathBuf {
        self.base.path().join("regtest")
    }

    /// Starts it with a block file, and waits until `tip` is reached.
    pub(crate) fn load(test: &str, file: &Path, tip: &str) -> Option<Self> {
        Self::load_with(test, file, tip, &[])
    }

    /// The same with more arguments.
    pub(crate) fn load_with(test: &str, file: &Path, tip: &str, args: &[String]) -> Option<Self> {
        let loading = [format!("-loadblock={}", file.display())];
        let bitcoind = Self::start(test, &[&loading, args].concat())?;
        for _ in 0..1_200 {
            if bitcoind.get("getbestblockhash", &json!([])) == tip {
                return Some(bitcoind);
            }
            sleep(Duration::from_millis(50));
        }
        panic!("bitcoind stays at {}", bitcoind.get("getblockchaininfo", &json!([])));
    }

    /// The result of a remote procedure call, or its error.
    pub(crate) fn call(&self, method: &str, params: &Value) -> Result<Value, Value> {
        call(&self.folder().join(".cookie"), self.port, method, params)
    }

    /// The result of a remote procedure call that must succeed.
    pub(crate) fn get(&self, method: &str, params: &Value) -> Value {
        self.call(method, params).unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// What it says to a block: nothing when that is the new tip.
    pub(crate) fn submit(&self, block: &[u8]) -> Value {
        self.get("submitblock", &json!([hex(block)]))
    }
}

impl Drop for Bitcoind {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A remote procedure call to a node on this machine, by the password of its cookie file.
pub(crate) fn call(cookie: &Path, port: u16, method: &str, params: &Value) -> Result<Value, Value> {
    let error = |error: std::io::Error| json!(error.to_string());
    let cookie = std::fs::read(cookie).map_err(error)?;
    let mut stream = TcpStream::connect(("127.0.0.1", port)).map_err(error)?;
    let body = json!({"id": 1, "method": method, "params": params}).to_string();
    let (length, cookie) = (body.len(), base64(&cookie));
    let head = format!(
        "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Basic {cookie}\r\n\
         Content-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).map_err(error)?;
    stream.write_all(body.as_bytes()).map_err(error)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(error)?;
    let (_, answer) = answer.split_once("\r\n\r\n").ok_or("no HTTP answer")?;
    let answer: Value = serde_json::from_str(answer).map_err(|error| json!(error.to_string()))?;
    if answer["error"].is_null() {
        Ok(answer["result"].clone())
    } else {
        Err(answer["error"].clone())
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        write!(text, "{byte:02x}").unwrap();
    }
    text
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
