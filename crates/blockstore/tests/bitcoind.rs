//! A real `bitcoind`, named by `BITCOIND_EXE`, writes its blocks folder, and is followed. Apart from the
//! other tests, since a child holds the locks of their stores until it runs its own program.

#![allow(clippy::unwrap_used, missing_docs, reason = "a test may fail loudly")]
#![allow(clippy::print_stdout, reason = "says what was followed or left out")]

use std::ops::ControlFlow;

use caesure_blockstore::{Follow, FollowOptions, RecordReader, ScanOptions, scan};
use serde_json::json;

#[path = "../../../node/tests/support/bitcoind.rs"]
mod daemon;
#[allow(dead_code, reason = "other tests use all of it")]
#[path = "all/told.rs"]
mod told;

use daemon::Bitcoind;
use told::Told;

const REGTEST: [u8; 4] = [0xfa, 0xbf, 0xb5, 0xda];

/// Mines blocks whose coinbases have this script.
fn mine(bitcoind: &Bitcoind, count: u32, script: &str) {
    let params = json!([count, format!("raw({script})")]);
    bitcoind.get("generatetodescriptor", &params);
}

fn hash_at(bitcoind: &Bitcoind, height: u32) -> String {
    bitcoind.get("getblockhash", &json!([height])).as_str().unwrap().to_owned()
}

/// Compares the best chain that was told with that of the node, block by block.
fn check(bitcoind: &Bitcoind, told: &Told) {
    assert_eq!(bitcoind.get("getblockcount", &json!([])), told.chain.len() - 1);
    for (height, hash) in (0..).zip(&told.chain) {
        assert_eq!(hash_at(bitcoind, height), hash.to_string());
    }
}

#[test]
fn the_folder_of_a_running_bitcoind_is_followed_through_forks_and_a_restart() {
    let Some(mut bitcoind) = Bitcoind::start("following", &[]) else { return };
    let folder = bitcoind.folder();
    let open = |options: &FollowOptions| Follow::open(&folder, REGTEST, options).unwrap();
    let (mut follow, mut told) = (open(&FollowOptions::default()), Told::default());
    // The node writes while it is followed.
    std::thread::scope(|scope| {
        let miner = scope.spawn(|| (0..40).for_each(|_| mine(&bitcoind, 5, "51")));
        while !miner.is_finished() {
            told.poll(&mut follow);
        }
    });
    told.poll(&mut follow);
    check(&bitcoind, &told);
    assert_eq!((told.chain.len(), told.forks, told.reorganisations), (201, 0, 0));
    // Three blocks leave; the branch of four that replaces them comes one by one.
    let fork = json!([hash_at(&bitcoind, 198)]);
    bitcoind.get("invalidateblock", &fork);
    mine(&bitcoind, 4, "52");
    assert_eq!(told.poll(&mut follow), 4);
    assert_eq!((told.forks, told.reorganisations), (3, 1));
    check(&bitcoind, &told);
    let from = follow.position();
    mine(&bitcoind, 3, "53");
    bitcoind.restart();
    mine(&bitcoind, 2, "54");
    let mut follow = open(&FollowOptions { from, root: None });
    assert_eq!(told.poll(&mut follow), 5);
    check(&bitcoind, &told);
    let options = ScanOptions { best_chain: true, ..ScanOptions::default() };
    let input = RecordReader::open(&folder, REGTEST).unwrap();
    let report = scan(input, &options, |_| (), |()| ControlFlow::Continue(())).unwrap();
    assert_eq!(report.blocks, told.chain.len() as u64);
    assert_eq!(report.tip.map(|tip| tip.0), told.chain.last().copied());
    println!("followed {} blocks of bitcoind", told.blocks.len());
}
