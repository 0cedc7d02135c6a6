//! The real process, killed at any moment, hundreds of times: `CAESURE_KILLS` says how many.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test may fail loudly")]

#[path = "support/running.rs"]
mod running;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;

use running::{Running, wait_until};

const REGTEST: [u8; 4] = [0xfa, 0xbf, 0xb5, 0xda];
/// A short window and little memory, so that all of folding, checkpoints and going back is at work.
const IMPORT: [&str; 7] = ["import", "--horizon", "20", "--memory", "64", "--par", "2"];

/// Chains that share the genesis block only, the next one longer than the last: a deep
/// reorganisation each, and short forks inside.
fn chains() -> Vec<u8> {
    let mut file = Vec::new();
    for (blocks, forks, seed) in [(130, 4, 1), (150, 2, 2), (175, 4, 3)] {
        let options = caesure_generate::Options {
            blocks,
            txs: 700,
            pool: 250,
            forks,
            seed,
            ..Default::default()
        };
        let mut emit = |block: &[u8]| {
            file.extend(REGTEST);
            file.extend(u32::try_from(block.len()).unwrap().to_le_bytes());
            file.extend(block);
            Ok(())
        };
        caesure_generate::generate(&options, &mut emit).unwrap();
    }
    file
}

/// What stands before a record's payload, and in a block's before its info.
const PREFIX: usize = 12;
const BLOCK_INFO: usize = 40;
/// More of the log than it begins with, and than its first block takes.
const RECORDS: u64 = 1_000;

struct Base {
    folder: PathBuf,
    name: String,
}

impl Base {
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_caesure"));
        command.current_dir(&self.folder).args([
            "--json",
            "--network",
            "regtest",
            "-b",
            &self.name,
        ]);
        command.args(words);
        command
    }

    /// Runs a command that must end well.
    fn done(&self, words: &[&str]) -> Value {
        let mut command = self.command(words);
        let output = Running::start(command.stdout(Stdio::piped()).stderr(Stdio::piped())).output();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?} on {}: {stderr}", self.name);
        let stdout = String::from_utf8(output.stdout).unwrap();
        serde_json::from_str(stdout.lines().last().unwrap()).unwrap()
    }

    /// Starts an import and kills it some time after it has begun, or has committed more. Returns whether it
    /// came to its end before.
    fn import_and_kill(&self, waits: bool, after: Duration) -> bool {
        let before = self.size();
        let mut command = self.command(&IMPORT);
        let log = fs::File::create(self.folder.join("stderr")).unwrap();
        let mut child = Running::start(command.arg("chains.dat").stdout(Stdio::null()).stderr(log));
        if waits {
            wait_until("more is committed", || {
                before + RECORDS < self.size() || child.try_wait().unwrap().is_some()
            });
        }
        sleep(after);
        child.kill().unwrap();
        let status = child.status();
        let stderr = fs::read_to_string(self.folder.join("stderr")).unwrap();
        // Killed, or done: never stopped by what an earlier kill left.
        assert!(status.code().is_none_or(|code| code == 0), "{}: {stderr}", self.name);
        status.success()
    }

    /// The blocks that were ever committed, by the records that say so. docs/ledger-file.md
    fn committed(&self) -> Vec<[u8; 32]> {
        let log = self.folder.join(&self.name).join("regtest/ledger.log");
        let log = fs::read(log).unwrap_or_default();
        let (mut rest, mut hashes) = (log.get(32..).unwrap_or_default(), Vec::new());
        while let Some((prefix, payload)) = rest.split_first_chunk::<PREFIX>() {
            let len = u32::from_le_bytes(*prefix.first_chunk().unwrap());
            let Some(behind) = payload.get(usize::try_from(len).unwrap()..) else { break };
            if prefix[4..8] == *b"CMMT" {
                let block = u64::from_le_bytes(*payload.first_chunk().unwrap());
                let hash = usize::try_from(block).unwrap() + PREFIX + BLOCK_INFO;
                hashes.push(log[hash..hash + 32].try_into().unwrap());
            }
            rest = behind;
        }
        hashes
    }

    /// How long the log is, which has what is committed.
    fn size(&self) -> u64 {
        let log = self.folder.join(&self.name).join("regtest/ledger.log");
        fs::metadata(log).map_or(0, |metadata| metadata.len())
    }
}

fn base(folder: &Path, name: String) -> Base {
    Base { folder: folder.to_owned(), name }
}

#[test]
fn an_import_through_deep_reorganisations_goes_on_after_any_number_of_kills() {
    let kills = std::env::var("CAESURE_KILLS").map_or(60, |text| text.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("chains.dat"), chains()).unwrap();
    let undisturbed = base(folder.path(), "undisturbed".into());
    let import = [&IMPORT[..], &["chains.dat"]].concat();
    let connected = |base: &Base| base.done(&import)["blocks_connected"].as_u64().unwrap();
    let all = connected(&undisturbed);
    assert_eq!(undisturbed.committed().len() as u64, all, "each block has its record");
    let expected = undisturbed.done(&["utxo", "info"]);
    assert_eq!(expected["height"], 175);

    let (mut killed, mut round, mut amid) = (0, 0, 0);
    let mut random = 1_u32;
    while killed < kills {
        round += 1;
        assert!(round <= 20 * kills, "most imports end before they are killed");
        let base = base(folder.path(), format!("base{round}"));
        let mut committed = 0;
        loop {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let waits = killed % 2 == 0;
            let most = if waits { 50 } else { 400 };
            let after = Duration::from_millis(u64::from(random >> 16) % most);
            let is_over = base.import_and_kill(waits, after);
            killed += u32::from(!is_over);
            let now = base.committed().len();
            assert!(committed <= now, "what was committed stays");
            amid += u64::from(!is_over && committed < now);
            committed = now;
            if is_over || kills <= killed {
                break;
            }
            if killed % 7 == 0 && 0 < base.size() {
                base.done(&["utxo", "info"]);
            }
        }
        base.done(&import);
        let mut hashes = base.committed();
        let count = hashes.len();
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), count, "no block is connected again that was committed");
        assert_eq!(base.done(&["utxo", "info"]), expected, "{}", base.name);
        let verified = base.done(&["verify"]);
        assert_eq!(verified["blocks_invalid"], 0);
        assert_eq!(verified["height"], 175);
        fs::remove_dir_all(folder.path().join(&base.name)).unwrap();
    }
    println!("{killed} kills in {round} imports, {amid} of them after more was committed");
    assert!(u64::from(kills / 4) <= amid && 0 < amid, "{amid} of {killed}");
}
