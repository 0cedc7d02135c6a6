//! A mapped file that is cut while it is read, in a program of its own: a process that is started holds
//! the locks of all stores that are open just then, for a moment, and the other tests open many.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may fail loudly")]

#[path = "all/support.rs"]
#[allow(dead_code, reason = "this test needs little of it")]
mod support;

use std::fs;
use std::process::Command;

use caesure_blockstore::{RecordReader, name_bus_errors};

use support::*;

/// Set in the child process, which is this test alone: the folder with its file.
const FOLDER: &str = "CAESURE_BUS_FOLDER";
const NAME: &str = "an_input_that_is_cut_while_it_is_read_is_named_with_the_place";

#[test]
fn an_input_that_is_cut_while_it_is_read_is_named_with_the_place() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        name_bus_errors("reader");
        let path = std::path::PathBuf::from(folder).join("input.dat");
        let mut reader = RecordReader::open(&path, REGTEST).unwrap();
        assert!(reader.next().unwrap().is_ok());
        fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(0).unwrap();
        let _ = reader.next();
        unreachable!("the page is gone");
    }
    let dir = new_dir();
    let block = TestBlock::mine(caesure_wire::BlockHash::ZERO, 1, 20_000);
    fs::write(dir.path().join("input.dat"), block.record(REGTEST).repeat(9)).unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", NAME, "--nocapture"]).env(FOLDER, dir.path());
    let output = child.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    let start = format!("reader: {}/input.dat at offset ", dir.path().display());
    let said = stderr.lines().last().unwrap();
    let place = said.strip_prefix(&start).unwrap_or_else(|| panic!("{stderr}"));
    let end = " cannot be read: the disk failed, or somebody cut the file";
    let offset: u64 = place.strip_suffix(end).unwrap().parse().unwrap();
    assert!(offset < 9 * block.record(REGTEST).len() as u64, "{offset}");
}
