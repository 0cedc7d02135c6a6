//! A full disk, in a program of its own: a process that is started holds the locks of all stores that
//! are open just then, for a moment, and the other tests open many.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may fail loudly")]

#[path = "all/support.rs"]
#[allow(dead_code, reason = "this test needs little of it")]
mod support;

use std::fs;

use caesure_blockstore::BlockStore;
use support::*;

/// The file system refuses to grow a file past the limit set on this process's copy: here the disk is
/// full from the start.
#[cfg(target_os = "linux")]
#[test]
fn a_failed_append_is_cut_back_and_nothing_is_lost() {
    let blocks = chain(3);
    let dir = stored(&blocks[..2]);
    let before = fs::read(blocks_bin(&dir)).unwrap();
    let program = std::env::current_exe().unwrap();
    let script =
        format!("ulimit -f 1; trap '' XFSZ; exec {} --exact child_of_full_disk", program.display());
    let output = std::process::Command::new("bash")
        .args(["-c", &script])
        .env("CAESURE_FULL_DISK_DIR", dir.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(fs::read(blocks_bin(&dir)).unwrap(), before);
    let (mut store, _) = BlockStore::open(dir.path(), REGTEST).unwrap();
    check_blocks(&store, &blocks[..2]);
    append_all(&mut store, &blocks[2..]);
    check_blocks(&store, &blocks);
}

/// Runs as a child of the test above, where no file can grow past 1,024 bytes; alone it has no work.
#[test]
fn child_of_full_disk() {
    let Some(dir) = std::env::var_os("CAESURE_FULL_DISK_DIR") else { return };
    let (mut store, _) = BlockStore::open(dir.as_ref(), REGTEST).unwrap();
    let big = TestBlock::mine(Default::default(), 9, 2000);
    let error = store.append(&big.raw, &big.hash).unwrap_err();
    assert!(error.to_string().contains("blocks.bin: "), "{error}");
    assert_eq!(store.len(), 2);
    assert!(!store.contains(&big.hash));
}
