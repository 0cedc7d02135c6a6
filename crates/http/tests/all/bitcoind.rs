//! A bitcoind to compare with.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::client::Client;

pub(crate) struct Bitcoind {
    child: Child,
    pub(crate) client: Client,
    _folder: TempDir,
}

impl Bitcoind {
    /// Starts one on regtest without peers; says so and gives none where the program is not named.
    pub(crate) fn start() -> Option<Self> {
        let Ok(program) = std::env::var("BITCOIND_EXE") else {
            println!("BITCOIND_EXE is not set: nothing is compared with bitcoind");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let child = Command::new(program)
            .args(["-regtest", "-listen=0", "-connect=0", "-rpcuser=u", "-rpcpassword=p"])
            .args(["-server", "-txindex=0", "-disablewallet"])
            .arg(format!("-rpcport={}", address.port()))
            .arg(format!("-datadir={}", folder.path().display()))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let client = Client { address };
        let bitcoind = Self { child, client, _folder: folder };
        for _ in 0..600 {
            let is_up = std::net::TcpStream::connect(address).is_ok()
                && client.call("getblockcount", json!([])).is_ok();
            if is_up {
                return Some(bitcoind);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("bitcoind does not answer");
    }

    pub(crate) fn call(&self, method: &str, params: Value) -> Result<Value, Value> {
        self.client.call(method, params)
    }
}

impl Drop for Bitcoind {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
