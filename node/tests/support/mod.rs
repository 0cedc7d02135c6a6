//! What the tests of the program share: runs of it, and of a `bitcoind` to compare it with.

pub(crate) mod bitcoind;

use std::io::Write;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Regtest's magic bytes.
const MAGIC: [u8; 4] = [0xfa, 0xbf, 0xb5, 0xda];

/// A run of the program.
pub(crate) struct Run {
    pub(crate) status: i32,
    /// The JSON object.
    pub(crate) json: Value,
    pub(crate) stderr: String,
}

/// Runs the program on a base folder, for regtest and with JSON output.
pub(crate) fn caesure(base: &Path, args: &[&str]) -> Run {
    let output = Command::new(env!("CARGO_BIN_EXE_caesure"))
        .args(["--network", "regtest", "--json", "--base"])
        .arg(base)
        .args(args)
        .output()
        .unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    Run {
        status: output.status.code().unwrap(),
        json: stdout.lines().last().map_or(Value::Null, |line| serde_json::from_str(line).unwrap()),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Writes blocks as records of a block file.
pub(crate) fn write_records(path: &Path, blocks: &[impl AsRef<[u8]>]) {
    let mut bytes = Vec::new();
    for block in blocks {
        push_record(&mut bytes, block.as_ref());
    }
    std::fs::write(path, bytes).unwrap();
}

/// Appends a record of a block file.
pub(crate) fn push_record(file: &mut impl Write, block: &[u8]) {
    file.write_all(&MAGIC).unwrap();
    file.write_all(&u32::try_from(block.len()).unwrap().to_le_bytes()).unwrap();
    file.write_all(block).unwrap();
}

/// Copies a folder of files.
pub(crate) fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
