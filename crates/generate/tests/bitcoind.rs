//! A real `bitcoind`, named by `BITCOIND_EXE`, judges generated chains.
#![allow(clippy::print_stdout, reason = "each test tells how many chains it ran or left out")]

#[path = "../../../node/tests/support/bitcoind.rs"]
mod bitcoind;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use bitcoind::Bitcoind;
use caesure_generate::{Options, Profile, Summary, generate};
use caesure_wire::{BlockHash, Header};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Starts `bitcoind` with two script threads, and without the checks that regtest has on.
fn start(name: &str, args: &[String]) -> Option<Bitcoind> {
    let own = ["-par=2", "-checkblockindex=0"].map(str::to_owned);
    Bitcoind::start(name, &[&own, args].concat())
}

/// Compares the tips that bitcoind knows with those of the generator.
fn check(bitcoind: &Bitcoind, summary: &Summary) {
    let tips = bitcoind.get("getchaintips", &json!([]));
    let mut hashes: Vec<_> =
        tips.as_array().unwrap().iter().map(|tip| text(&tip["hash"])).collect();
    let mut expected: Vec<_> = summary.lost_tips.iter().map(BlockHash::to_string).collect();
    expected.push(summary.tip.to_string());
    hashes.sort();
    expected.sort();
    assert_eq!(hashes, expected);
    assert!(!tips.to_string().contains("invalid"), "{tips}");
    let set = bitcoind.get("gettxoutsetinfo", &json!([]));
    assert_eq!(text(&set["bestblock"]), summary.tip.to_string());
    assert_eq!(set["height"], summary.height);
    let log = std::fs::read_to_string(bitcoind.folder().join("debug.log")).unwrap();
    for word in ["InvalidChainFound", "ERROR", "Misbehaving", "bad-"] {
        assert!(!log.contains(word), "{word} in debug.log");
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
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
        (Profile::Coins, 200, 9000, 9000, 2, 9),
        (Profile::Sig, 200, 5000, 1000, 2, 7),
        (Profile::Legacy, 200, 20, 2000, 2, 8),
    ];
    for (profile, blocks, txs, pool, forks, seed) in chains {
        let options = Options { blocks, txs, pool, profile, forks, seed };
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("chain.dat");
        let summary = write_file(&options, &path);
        let arg = format!("-loadblock={}", path.display());
        let Some(bitcoind) = start("import", &[arg]) else { return };
        for _ in 0..600 {
            if bitcoind.get("getbestblockhash", &json!([])) == summary.tip.to_string() {
                break;
            }
            sleep(Duration::from_millis(100));
        }
        check(&bitcoind, &summary);
    }
    println!("bitcoind imported {} chains", chains.len());
}

#[test]
fn bitcoind_takes_blocks_one_by_one_and_validates_the_branches_that_lose() {
    let options =
        Options { blocks: 250, txs: 3000, pool: 800, forks: 10, seed: 9, ..Options::default() };
    let Some(bitcoind) = start("blocks one by one", &[]) else { return };
    let mut tip_changes = 0;
    let mut prevs = Vec::new();
    let summary = generate(&options, &mut |block| {
        let header = Header::from_bytes(block.first_chunk().unwrap());
        prevs.push((header.hash(), header.prev_block));
        if prevs.len() == 1 {
            return Ok(());
        }
        let before = bitcoind.get("getbestblockhash", &json!([]));
        let answer = bitcoind.submit(block);
        assert!(answer.is_null() || answer == "inconclusive", "{answer}");
        let after = bitcoind.get("getbestblockhash", &json!([]));
        if after == header.hash().to_string() && before != header.prev_block.to_string() {
            tip_changes += 1;
        }
        Ok(())
    })
    .unwrap();
    assert_eq!(tip_changes, 5, "every second fork wins");
    check(&bitcoind, &summary);
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
