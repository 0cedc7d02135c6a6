//! A real `bitcoind`, named by `BITCOIND_EXE`, judges generated chains.
#![allow(clippy::print_stdout, reason = "each test tells how many chains it ran or left out")]

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use caesure_generate::{Options, Profile, Summary, generate};
use caesure_wire::{BlockHash, Header};
use serde_json::{Value, json};
use tempfile::TempDir;

struct Bitcoind {
    child: Child,
    base: TempDir,
    port: u16,
}

impl Bitcoind {
    /// None when there is no program to run.
    fn start(name: &str, args: &[String]) -> Option<Self> {
        let Some(program) = std::env::var_os("BITCOIND_EXE") else {
            println!("{name}: left out, BITCOIND_EXE is not set");
            return None;
        };
        let base = TempDir::new().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Command::new(program)
            .args([
                "-regtest",
                "-connect=0",
                "-listen=0",
                "-assumevalid=0",
                "-par=2",
                "-server=1",
                "-checkblockindex=0",
            ])
            .args([format!("-datadir={}", base.path().display()), format!("-rpcport={port}")])
            .args(args)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut bitcoind = Self { child, base, port };
        while bitcoind.call("getblockcount", &json!([])).is_err() {
            assert!(bitcoind.child.try_wait().unwrap().is_none(), "bitcoind has stopped");
            sleep(Duration::from_millis(100));
        }
        Some(bitcoind)
    }

    fn call(&self, method: &str, params: &Value) -> Result<Value, Value> {
        let error = |error: std::io::Error| json!(error.to_string());
        let cookie = std::fs::read(self.base.path().join("regtest/.cookie")).map_err(error)?;
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).map_err(error)?;
        let body = json!({"id": 1, "method": method, "params": params}).to_string();
        let (length, cookie) = (body.len(), base64(&cookie));
        write!(stream, "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n").map_err(error)?;
        write!(stream, "Authorization: Basic {cookie}\r\n").map_err(error)?;
        write!(stream, "Content-Length: {length}\r\n\r\n{body}").map_err(error)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map_err(error)?;
        let (_, answer) = answer.split_once("\r\n\r\n").ok_or("no HTTP answer")?;
        let answer: Value =
            serde_json::from_str(answer).map_err(|error| json!(error.to_string()))?;
        if answer["error"].is_null() {
            Ok(answer["result"].clone())
        } else {
            Err(answer["error"].clone())
        }
    }

    fn get(&self, method: &str, params: &Value) -> Value {
        self.call(method, params).unwrap()
    }

    /// Compares the tips that bitcoind knows with those of the generator.
    fn check(&self, summary: &Summary) {
        let tips = self.get("getchaintips", &json!([]));
        let mut hashes: Vec<_> =
            tips.as_array().unwrap().iter().map(|tip| text(&tip["hash"])).collect();
        let mut expected: Vec<_> = summary.lost_tips.iter().map(BlockHash::to_string).collect();
        expected.push(summary.tip.to_string());
        hashes.sort();
        expected.sort();
        assert_eq!(hashes, expected);
        assert!(!tips.to_string().contains("invalid"), "{tips}");
        let set = self.get("gettxoutsetinfo", &json!([]));
        assert_eq!(text(&set["bestblock"]), summary.tip.to_string());
        assert_eq!(set["height"], summary.height);
        let log = std::fs::read_to_string(self.base.path().join("regtest/debug.log")).unwrap();
        for word in ["InvalidChainFound", "ERROR", "Misbehaving", "bad-"] {
            assert!(!log.contains(word), "{word} in debug.log");
        }
    }
}

impl Drop for Bitcoind {
    fn drop(&mut self) {
        let stopped = self.call("stop", &json!([]));
        if stopped.is_err() {
            self.child.kill().unwrap();
        }
        self.child.wait().unwrap();
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
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

fn write_file(options: &Options, path: &Path) -> Summary {
    let mut file = BufWriter::new(File::create(path).unwrap());
    let summary = generate(options, &mut |block| {
        file.write_all(&[0xfa, 0xbf, 0xb5, 0xda])?;
        file.write_all(&u32::try_from(block.len()).unwrap().to_le_bytes())?;
        file.write_all(block)
    });
    file.flush().unwrap();
    summary.unwrap()
}

#[test]
fn bitcoind_imports_every_profile_to_the_same_tip() {
    let chains = [
        (Profile::Mixed, 300, 3000, 1000, 6, 1),
        (Profile::Mixed, 170, 6000, 2000, 3, 2),
        (Profile::Mixed, 101, 3, 10, 0, 3),
        (Profile::Mixed, 2000, 2000, 300, 30, 4),
        (Profile::Mixed, 50, 0, 10, 0, 5),
        (Profile::Utxo, 200, 200, 500, 2, 6),
        (Profile::Sig, 200, 5000, 1000, 2, 7),
        (Profile::Legacy, 200, 200, 2000, 2, 8),
    ];
    for (profile, blocks, txs, pool, forks, seed) in chains {
        let options = Options { blocks, txs, pool, profile, forks, seed };
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("chain.dat");
        let summary = write_file(&options, &path);
        let arg = format!("-loadblock={}", path.display());
        let Some(bitcoind) = Bitcoind::start("import", &[arg]) else { return };
        for _ in 0..600 {
            if bitcoind.get("getbestblockhash", &json!([])) == summary.tip.to_string() {
                break;
            }
            sleep(Duration::from_millis(100));
        }
        bitcoind.check(&summary);
    }
    println!("bitcoind imported {} chains", chains.len());
}

#[test]
fn bitcoind_takes_blocks_one_by_one_and_validates_the_branches_that_lose() {
    let options =
        Options { blocks: 250, txs: 3000, pool: 800, forks: 10, seed: 9, ..Options::default() };
    let Some(bitcoind) = Bitcoind::start("blocks one by one", &[]) else { return };
    let mut tip_changes = 0;
    let mut prevs = Vec::new();
    let summary = generate(&options, &mut |block| {
        let header = Header::from_bytes(block.first_chunk().unwrap());
        prevs.push((header.hash(), header.prev_block));
        if prevs.len() == 1 {
            return Ok(());
        }
        let before = bitcoind.get("getbestblockhash", &json!([]));
        let hex: String = block.iter().map(|byte| format!("{byte:02x}")).collect();
        let answer = bitcoind.get("submitblock", &json!([hex]));
        assert!(answer.is_null() || answer == "inconclusive", "{answer}");
        let after = bitcoind.get("getbestblockhash", &json!([]));
        if after == header.hash().to_string() && before != header.prev_block.to_string() {
            tip_changes += 1;
        }
        Ok(())
    })
    .unwrap();
    assert_eq!(tip_changes, 5, "every second fork wins");
    bitcoind.check(&summary);
    // With the chain's own block after the fork point out of the way, the branch must be taken.
    let prev_of = |hash: BlockHash| prevs.iter().find(|(block, _)| *block == hash).unwrap().1;
    let chain: Vec<_> = std::iter::successors(Some(summary.tip), |&hash| {
        Some(prev_of(hash)).filter(|prev| *prev != BlockHash::ZERO)
    })
    .collect();
    for &tip in summary.lost_tips.iter().rev() {
        let mut fork = tip;
        while !chain.contains(&fork) {
            fork = prev_of(fork);
        }
        let place = chain.iter().position(|&hash| hash == fork).unwrap();
        let rival = json!([chain[place - 1].to_string()]);
        bitcoind.get("invalidateblock", &rival);
        assert_eq!(bitcoind.get("getbestblockhash", &json!([])), tip.to_string());
        bitcoind.get("reconsiderblock", &rival);
        assert_eq!(bitcoind.get("getbestblockhash", &json!([])), summary.tip.to_string());
    }
    println!("bitcoind validated {} branches that lost", summary.lost_tips.len());
}
