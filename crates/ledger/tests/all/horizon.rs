//! A start with another horizon.

use crate::pair::{Pair, assert_set};

/// What the smaller horizon would have dropped on the way won in the end, and was synced.
#[test]
fn a_start_with_a_smaller_horizon_loses_no_tip() {
    let folder = tempfile::tempdir().unwrap();
    let mut pair = Pair::open(folder.path(), 8);
    let mut main = vec![pair.naive.genesis.hash];
    for height in 1..=6 {
        main.push(pair.add(main[height - 1], &[], 1));
    }
    let fork = pair.add(main[2], &[], 1);
    pair.add(main[6], &[], 1);
    let winner = pair.add(fork, &[], 20);
    pair.ledger.sync().unwrap();
    pair.naive.horizon = 1;
    pair.reopen(folder.path());
    assert_eq!(pair.ledger.tip().info().hash, winner);
    assert_set(&pair.ledger.tip(), pair.naive.set(&winner));
}
