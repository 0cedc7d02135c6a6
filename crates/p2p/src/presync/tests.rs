use super::*;
use core::time::Duration;

const TARGET: usize = 15_000;
const PARAMS: HeadersSyncParams =
    HeadersSyncParams { commitment_period: 600, redownload_buffer: TARGET - 2_123 };

/// Headers without proof of work, which the caller checks, a second apart.
fn chain(params: &Params, count: usize, mark: u8) -> Vec<Header> {
    let mut last = params.genesis;
    let next = |_| {
        last.prev_block = last.hash();
        last.merkle_root = MerkleRoot([mark; 32]);
        last.time += 1;
        last
    };
    (0..count).map(next).collect()
}

fn now(unix: u64) -> Now {
    Now { mono: Duration::ZERO, unix }
}

/// What the documentation of [`HeadersSync`] says, for messages of `batch` headers.
fn max_memory(sync: &HeadersSync, batch: usize) -> usize {
    let bits = usize::try_from(sync.max_bits).unwrap() / 8 + Bits::STEP * 8;
    bits + 2 * 48 * (sync.params.redownload_buffer + batch)
}

fn regtest_sync(seed: u8) -> (HeaderTree, HeadersSync) {
    let tree = HeaderTree::new(&Params::new(Network::Regtest));
    // Every header of regtest has a work of 2.
    let mut work = [0; 32];
    work[24..].copy_from_slice(&(2 * TARGET as u64).to_be_bytes());
    let work = Work::from_be_bytes(work);
    let mut random = Random::new([seed; 32]);
    let sync =
        HeadersSync::new(&tree, HeaderTree::GENESIS, PARAMS, work, &mut random, now(2_000_000_000));
    (tree, sync)
}

#[track_caller]
fn expect(outcome: &HeadersSyncOutcome, success: bool, more: bool, headers: usize) {
    assert_eq!(
        (outcome.success, outcome.request_more, outcome.headers.len()),
        (success, more, headers)
    );
}

#[test]
fn a_chain_with_enough_work_is_let_through_in_the_second_download() {
    for is_full in [false, true] {
        let (tree, mut sync) = regtest_sync(1);
        let genesis = tree.params().genesis_hash;
        let first = chain(tree.params(), TARGET - 1, 0);
        expect(&sync.process(&tree, &first, is_full), true, true, 0);
        assert_eq!(sync.state(), HeadersSyncState::Redownload);
        assert_eq!(sync.locator(&tree), [genesis; 2]);
        let (held, rest) = first.split_at(PARAMS.redownload_buffer);
        expect(&sync.process(&tree, held, true), true, true, 0);
        assert_eq!(sync.locator(&tree)[0], held[held.len() - 1].hash());
        assert_eq!(sync.process(&tree, &rest[..1], true).headers, first[..1]);
        let outcome = sync.process(&tree, &rest[1..], is_full);
        assert_eq!(outcome.headers, first[1..], "all the others, with their parents' hashes");
        expect(&outcome, true, false, TARGET - 2);
        assert_eq!((sync.state(), sync.memory()), (HeadersSyncState::Final, 0));
        assert_eq!(sync.locator(&tree), []);
        expect(&sync.process(&tree, &first, true), false, false, 0);
    }
}

#[test]
fn another_chain_in_the_second_download_is_found_out_before_a_header_is_let_through() {
    for seed in 0..8 {
        let (tree, mut sync) = regtest_sync(seed);
        let first = chain(tree.params(), TARGET - 1, 0);
        expect(&sync.process(&tree, &first[..1], true), true, true, 0);
        assert_eq!(sync.state(), HeadersSyncState::Presync);
        assert_eq!(sync.locator(&tree), [first[0].hash(), tree.params().genesis_hash]);
        expect(&sync.process(&tree, &first[1..], true), true, true, 0);
        let other = chain(tree.params(), TARGET - 2, 1);
        expect(&sync.process(&tree, &other, true), false, false, 0);
        assert_eq!((sync.state(), sync.memory()), (HeadersSyncState::Final, 0));
    }
}

#[test]
fn a_chain_with_too_little_work_ends_without_a_header() {
    let (tree, mut sync) = regtest_sync(1);
    let second = chain(tree.params(), TARGET - 2, 1);
    expect(&sync.process(&tree, &second[..1], true), true, true, 0);
    expect(&sync.process(&tree, &second[1..], false), true, false, 0);
    assert_eq!(sync.state(), HeadersSyncState::Final);
}

#[test]
fn headers_that_do_not_follow_end_either_download() {
    let (tree, mut sync) = regtest_sync(1);
    let first = chain(tree.params(), TARGET - 1, 0);
    expect(&sync.process(&tree, &first[1..], true), false, false, 0);
    let (tree, mut sync) = regtest_sync(1);
    expect(&sync.process(&tree, &first, true), true, true, 0);
    expect(&sync.process(&tree, &first[1..2], true), false, false, 0);
    let (_, mut sync) = regtest_sync(1);
    expect(&sync.process(&tree, &[], true), false, false, 0);
    assert_eq!(sync.state(), HeadersSyncState::Presync, "an empty message changes nothing");
}

#[test]
fn a_peer_that_stops_in_the_second_download_is_left() {
    let (tree, mut sync) = regtest_sync(1);
    let first = chain(tree.params(), TARGET - 1, 0);
    expect(&sync.process(&tree, &first, true), true, true, 0);
    expect(&sync.process(&tree, &first[..1_000], false), true, false, 0);
    assert_eq!((sync.state(), sync.memory()), (HeadersSyncState::Final, 0));
}

/// CVE-2019-25220, CVE-2024-52916: headers of next to no work must not fill the memory.
#[test]
fn cve_2019_25220_a_flood_of_low_work_headers_commits_nothing() {
    let main = Params::new(Network::Main);
    let tree = HeaderTree::new(&main);
    let params = HeadersSyncParams::new(Network::Main);
    let mut random = Random::new([5; 32]);
    let (start, work) = (HeaderTree::GENESIS, main.minimum_chain_work);
    let clock = now(1_800_000_000);
    let mut sync = HeadersSync::new(&tree, start, params, work, &mut random, clock);
    let flood = chain(&main, 300_000, 7);
    let mut most = 0;
    for batch in flood.chunks(2_000) {
        expect(&sync.process(&tree, batch, true), true, true, 0);
        most = most.max(sync.memory());
    }
    assert_eq!(sync.presync_height(), 300_000);
    assert_eq!((sync.state(), tree.len()), (HeadersSyncState::Presync, 1));
    assert_eq!(sync.bits.len, 300_000 / 641);
    assert_eq!(most, Bits::STEP * 8, "a bit in 641 headers, and room for 65,536 of them");
    assert!(max_memory(&sync, 2_000) < 2_500_000, "{}", max_memory(&sync, 2_000));

    // As many as a chain can have by now, and no more: 6 a second for two hours, and 641.
    let clock = now(main.genesis.time.into());
    let mut sync = HeadersSync::new(&tree, start, params, work, &mut random, clock);
    let taken = flood.chunks(2_000).take_while(|batch| sync.process(&tree, batch, true).success);
    let taken = taken.count() * 2_000;
    assert!((6 * 7_200 - 2_000..6 * 7_200 + 641).contains(&taken), "{taken}");
    assert_eq!((sync.state(), sync.memory()), (HeadersSyncState::Final, 0));
}

#[test]
fn memory_in_both_downloads_stays_under_what_is_said() {
    let (tree, mut sync) = regtest_sync(1);
    let first = chain(tree.params(), TARGET - 1, 0);
    let max = max_memory(&sync, 2_000);
    for _ in 0..2 {
        for batch in first.chunks(2_000) {
            assert!(sync.process(&tree, batch, true).success);
            assert!(sync.memory() <= max, "{} of {max}", sync.memory());
        }
    }
    assert_eq!(sync.state(), HeadersSyncState::Final);
}

#[test]
fn difficulty_must_not_change_faster_than_it_can() {
    let main = Params::new(Network::Main);
    let tree = HeaderTree::new(&main);
    let params = HeadersSyncParams::new(Network::Main);
    let start = |bits: u32, height: usize| {
        let mut random = Random::new([5; 32]);
        let (id, work) = (HeaderTree::GENESIS, main.minimum_chain_work);
        let clock = now(1_800_000_000);
        let mut sync = HeadersSync::new(&tree, id, params, work, &mut random, clock);
        let mut headers = chain(&main, height, 0);
        headers[height - 1].bits = bits;
        sync.process(&tree, &headers, true).success
    };
    // A fourth of the first target at the first retarget, and not a bit less, nor before it.
    assert!(start(0x1c3f_ffc0, 2_016));
    assert!(!start(0x1c3f_ffbf, 2_016));
    assert!(!start(0x1c3f_ffc0, 2_015));
    assert!(!start(0, 2_016) && !start(0xffff_ffff, 2_016));
}
