//! Rules on headers: `AcceptBlockHeader`, `CheckBlockHeader`, `ContextualCheckBlockHeader`.

mod common;

use caesure_consensus::{
    Deployment, HeaderTree, Network, Params, Reject, RejectClass, Target, is_permitted_transition,
    retarget,
};
use caesure_wire::{BlockHash, Header};

use common::{Chain, NOW, mine, refused};

/// Judges the next header of a chain after a change.
fn judge(chain: &Chain, change: impl FnOnce(&mut Header)) -> Result<u32, Reject> {
    let mut header = chain.header();
    change(&mut header);
    mine(&mut header, &chain.params);
    let mut tree = chain.tree.clone();
    tree.accept(&header, chain.now).map(|id| tree.height(id))
}

/// Appends a header with a time.
fn extend(chain: &mut Chain, time: u32) {
    let mut header = chain.header();
    header.time = time;
    mine(&mut header, &chain.params);
    chain.tip = chain.tree.accept(&header, chain.now).unwrap();
}

#[test]
fn a_header_on_the_tip_is_accepted_and_again() {
    let mut chain = Chain::regtest(3);
    assert_eq!(judge(&chain, |_| ()), Ok(4));
    let tip = chain.tree.header(chain.tip);
    assert_eq!(chain.tree.accept(&tip, NOW), Ok(chain.tip));
    // Block 0 is accepted whatever was said of it.
    let genesis = chain.params.genesis;
    assert_eq!(chain.tree.accept(&genesis, NOW), Ok(HeaderTree::GENESIS));
    chain.tree.mark_invalid(HeaderTree::GENESIS);
    assert_eq!(chain.tree.accept(&genesis, NOW), Ok(HeaderTree::GENESIS));
}

#[test]
fn a_header_that_is_known_as_invalid_is_refused() {
    let mut chain = Chain::regtest(3);
    let header = chain.tree.header(chain.tip);
    chain.tree.mark_invalid(chain.tip);
    let result = chain.tree.accept(&header, NOW);
    refused(result, Reject::DuplicateInvalid, "duplicate-invalid", RejectClass::CachedInvalid);
}

#[test]
fn a_header_without_a_known_parent_is_refused() {
    let chain = Chain::regtest(1);
    let result = judge(&chain, |header| header.prev_block = BlockHash([1; 32]));
    refused(result, Reject::PrevBlkNotFound, "prev-blk-not-found", RejectClass::MissingPrev);
}

#[test]
fn a_header_on_an_invalid_one_or_its_descendant_is_refused() {
    let mut chain = Chain::regtest(4);
    chain.tree.mark_invalid(chain.tree.ancestor(chain.tip, 2).unwrap());
    let result = judge(&chain, |_| ());
    refused(result, Reject::BadPrevblk, "bad-prevblk", RejectClass::InvalidPrev);
    // A descendant that was known before is refused as known.
    let tip = chain.tree.header(chain.tip);
    let result = chain.tree.accept(&tip, NOW);
    refused(result, Reject::DuplicateInvalid, "duplicate-invalid", RejectClass::CachedInvalid);
    chain.tip = chain.tree.ancestor(chain.tip, 1).unwrap();
    assert_eq!(judge(&chain, |header| header.time += 1), Ok(2));
}

#[test]
fn a_hash_above_its_target_is_refused() {
    let mut chain = Chain::regtest(1);
    let mut check = |change: fn(&mut Header)| {
        let mut header = chain.header();
        change(&mut header);
        let result = chain.tree.accept(&header, NOW);
        refused(result, Reject::HighHash, "high-hash", RejectClass::InvalidHeader);
    };
    check(|header| {
        while header.hash().0[31] < 0x80 {
            header.nonce += 1;
        }
    });
    // Zero, negative, over 256 bits, over the network's limit: also when the parent is unknown.
    check(|header| header.bits = 0);
    check(|header| header.bits = 0x2080_0001);
    check(|header| header.bits = 0x2300_0001);
    check(|header| header.bits = 0x2100_8000);
    check(|header| (header.bits, header.prev_block) = (0, BlockHash([1; 32])));
    // A hash that meets the target does not help where the target is over the limit.
    check(|header| {
        header.bits = 0x2100_8000;
        while 0x80 <= header.hash().0[31] {
            header.nonce += 1;
        }
    });
}

#[test]
fn original_fault_a_hash_equal_to_the_target_meets_it() {
    let mut bytes = [0; 32];
    bytes[4] = 0x12;
    let target = Target::from_be_bytes(bytes);
    bytes.reverse();
    assert!(target.is_met_by(&BlockHash(bytes)));
    bytes[0] = 1;
    assert!(!target.is_met_by(&BlockHash(bytes)));
}

#[test]
fn a_target_that_the_chain_does_not_require_is_refused() {
    let chain = Chain::regtest(1);
    let result = judge(&chain, |header| header.bits = 0x207f_fffe);
    refused(result, Reject::BadDiffbits, "bad-diffbits", RejectClass::InvalidHeader);
}

#[test]
fn a_time_up_to_the_median_is_refused() {
    let chain = Chain::regtest(20);
    let median = chain.tree.median_time_past(chain.tip);
    assert_eq!(median, chain.tree.header(chain.tip).time - 5 * 600);
    let result = judge(&chain, |header| header.time = median);
    refused(result, Reject::TimeTooOld, "time-too-old", RejectClass::InvalidHeader);
    assert_eq!(judge(&chain, |header| header.time = median + 1), Ok(21));
}

#[test]
fn satd_436_median_time_is_of_the_headers_own_ancestors() {
    let mut chain = Chain::regtest(5);
    let fork = chain.tip;
    let start = chain.tree.header(fork).time;
    for i in 1..=20 {
        extend(&mut chain, start + 10_000 * i);
    }
    chain.tip = fork;
    assert_eq!(chain.tree.median_time_past(fork), start - 2 * 600);
    assert_eq!(judge(&chain, |header| header.time = start - 2 * 600 + 1), Ok(6));
}

#[test]
fn the_median_of_fewer_than_eleven_is_the_upper_middle() {
    let mut chain = Chain::new(Params::new(Network::Regtest));
    let start = chain.params.genesis.time;
    assert_eq!(chain.tree.median_time_past(chain.tip), start);
    extend(&mut chain, start + 50);
    assert_eq!(chain.tree.median_time_past(chain.tip), start + 50);
    extend(&mut chain, start + 70);
    assert_eq!(chain.tree.median_time_past(chain.tip), start + 50);
    extend(&mut chain, start + 60);
    assert_eq!(chain.tree.median_time_past(chain.tip), start + 60);
}

#[test]
fn rustoshi_bip94_a_period_that_begins_too_far_before_its_parent_is_refused() {
    let mut chain = Chain::new(Params { enforces_bip94: true, ..Params::new(Network::Regtest) });
    let start = chain.params.genesis.time;
    for height in 1..=142 {
        extend(&mut chain, start + height);
    }
    extend(&mut chain, start + 7000);
    assert_eq!(judge(&chain, |header| header.time = start + 6400), Ok(144));
    let early = |header: &mut Header| header.time = start + 6399;
    let class = RejectClass::InvalidHeader;
    refused(judge(&chain, early), Reject::TimeTimewarpAttack, "time-timewarp-attack", class);
    // The median time is looked at first.
    let median = chain.tree.median_time_past(chain.tip);
    let result = judge(&chain, |header| header.time = median);
    refused(result, Reject::TimeTooOld, "time-too-old", class);
    // Within a period, and on other networks, it is no fault.
    extend(&mut chain, start + 14_000);
    assert_eq!(judge(&chain, early), Ok(145));
    chain.params.enforces_bip94 = false;
    let mut other = Chain::new(chain.params.clone());
    for height in 1..=142 {
        extend(&mut other, start + height);
    }
    extend(&mut other, start + 7000);
    assert_eq!(judge(&other, early), Ok(144));
}

#[test]
fn bitcoin_rs_a_time_over_two_hours_ahead_is_refused_for_now() {
    let mut chain = Chain::regtest(1);
    let time = chain.header().time;
    chain.now = time - 7201;
    let result = judge(&chain, |_| ());
    refused(result, Reject::TimeTooNew, "time-too-new", RejectClass::TimeFuture);
    chain.now = time - 7200;
    assert_eq!(judge(&chain, |_| ()), Ok(2));
    chain.now = u32::MAX;
    assert_eq!(judge(&chain, |header| header.time = u32::MAX), Ok(2));
}

#[test]
fn versions_that_a_deployment_retired_are_refused() {
    let mut chain = Chain::new(Params {
        activation_heights: [2, 3, 4, 100, 100],
        ..Params::new(Network::Regtest)
    });
    assert_eq!(judge(&chain, |header| header.version = i32::MIN), Ok(1));
    let mut check = |version: i32, text: &str| {
        let time = chain.header().time;
        extend(&mut chain, time);
        let result = judge(&chain, |header| header.version = version);
        refused(result, Reject::BadVersion(version), text, RejectClass::InvalidHeader);
        assert!(judge(&chain, |header| header.version = version + 1).is_ok());
    };
    check(1, "bad-version(0x00000001)");
    check(2, "bad-version(0x00000002)");
    check(3, "bad-version(0x00000003)");
    let negative = judge(&Chain::regtest(1), |header| header.version = -1);
    let reject = Reject::BadVersion(-1);
    refused(negative, reject, "bad-version(0xffffffff)", RejectClass::InvalidHeader);
}

#[test]
fn satd_356_each_network_has_its_own_activation_heights() {
    use Deployment::{Cltv, Csv, DerSig, HeightInCoinbase, Segwit};
    let check = |network, heights: [u32; 5]| {
        let params = Params::new(network);
        for (deployment, height) in
            [HeightInCoinbase, DerSig, Cltv, Csv, Segwit].into_iter().zip(heights)
        {
            assert!(params.is_active(deployment, height));
            assert!(height == 0 || !params.is_active(deployment, height - 1));
        }
    };
    check(Network::Main, [227_931, 363_725, 388_381, 419_328, 481_824]);
    check(Network::Testnet3, [21_111, 330_776, 581_885, 770_112, 834_624]);
    check(Network::Testnet4, [1, 1, 1, 1, 1]);
    check(Network::Signet, [1, 1, 1, 1, 1]);
    check(Network::Regtest, [1, 1, 1, 1, 0]);
}

#[test]
fn of_two_faults_of_a_header_the_first_of_core_is_named() {
    let mut chain = Chain::regtest(20);
    chain.now = 0;
    let reason = |change: fn(&mut Header)| judge(&chain, change).unwrap_err().to_string();
    assert_eq!(
        reason(|h| (h.prev_block, h.bits) = (BlockHash::ZERO, 0x207f_fffe)),
        "prev-blk-not-found"
    );
    assert_eq!(reason(|h| (h.bits, h.time) = (0x207f_fffe, 1)), "bad-diffbits");
    assert_eq!(reason(|h| (h.time, h.version) = (1, 0)), "time-too-old");
    assert_eq!(reason(|h| (h.time, h.version) = (u32::MAX, 0)), "time-too-new");
}

#[test]
fn retargets_as_in_cores_tests() {
    let main = Params::new(Network::Main);
    assert_eq!(retarget(0x1d00_ffff, 1_261_130_161, 1_262_152_739, &main), 0x1d00_d86a);
    assert_eq!(retarget(0x1d00_ffff, 1_231_006_505, 1_233_061_996, &main), 0x1d00_ffff);
    assert_eq!(retarget(0x1c05_a3f4, 1_279_008_237, 1_279_297_671, &main), 0x1c01_68fd);
    assert_eq!(retarget(0x1c38_7f6f, 1_263_163_443, 1_269_211_443, &main), 0x1d00_e1fd);
    // Time that runs backwards counts as the least.
    assert_eq!(retarget(0x1c05_a3f4, 2_000_000_000, 1, &main), 0x1c01_68fd);
}

#[test]
fn difficulty_transitions_are_permitted_as_in_cores_tests() {
    let main = Params::new(Network::Main);
    assert!(is_permitted_transition(32_256, 0x1d00_ffff, 0x1d00_d86a, &main));
    assert!(is_permitted_transition(2_016, 0x1d00_ffff, 0x1d00_ffff, &main));
    assert!(is_permitted_transition(68_544, 0x1c05_a3f4, 0x1c01_68fd, &main));
    assert!(!is_permitted_transition(68_544, 0x1c05_a3f4, 0x1c01_68fc, &main));
    assert!(is_permitted_transition(46_368, 0x1c38_7f6f, 0x1d00_e1fd, &main));
    assert!(!is_permitted_transition(46_368, 0x1c38_7f6f, 0x1d00_e1fe, &main));
    // Not above the limit, and not at all within a period or to what is no target.
    assert!(!is_permitted_transition(2_016, 0x1d00_ffff, 0x1d01_0000, &main));
    assert!(!is_permitted_transition(2_017, 0x1d00_ffff, 0x1d00_d86a, &main));
    assert!(!is_permitted_transition(2_016, 0x1d00_ffff, 0, &main));
    assert!(!is_permitted_transition(2_016, 0, 0x1d00_ffff, &main));
    // Everything goes where blocks of the easiest target are allowed.
    let testnet = Params::new(Network::Testnet3);
    assert!(is_permitted_transition(5, 0x1c05_a3f4, 0x1d00_ffff, &testnet));
}

/// Header trees over easy targets: a limit whose products fit into 256 bits, and periods of ten.
fn easy(allows_min_difficulty: bool, enforces_bip94: bool) -> Chain {
    let mut params = Params {
        has_no_retargeting: false,
        allows_min_difficulty,
        enforces_bip94,
        pow_target_timespan: 60,
        pow_target_spacing: 6,
        pow_limit: Target::from_compact(0x1f1f_ffff).unwrap(),
        ..Params::new(Network::Regtest)
    };
    params.genesis.bits = 0x1f07_ffff;
    params.genesis_hash = params.genesis.hash();
    Chain::new(params)
}

#[test]
fn satd_354_minimum_difficulty_is_walked_back_along_parents() {
    let mut chain = easy(true, false);
    let start = chain.params.genesis.time;
    let bits = |chain: &Chain, time| chain.tree.required_bits(chain.tip, time);
    assert_eq!(bits(&chain, start + 12), 0x1f07_ffff);
    assert_eq!(bits(&chain, start + 13), 0x1f1f_ffff);
    let late = |chain: &mut Chain, by: u32| {
        let time = chain.tree.header(chain.tip).time + by;
        let mut header = chain.header();
        (header.time, header.bits) = (time, bits(chain, time));
        mine(&mut header, &chain.params);
        chain.tip = chain.tree.accept(&header, NOW).unwrap();
        header.bits
    };
    assert_eq!(late(&mut chain, 13), 0x1f1f_ffff);
    assert_eq!(late(&mut chain, 13), 0x1f1f_ffff);
    assert_eq!(late(&mut chain, 1), 0x1f07_ffff);
    for _ in 0..6 {
        assert_eq!(late(&mut chain, 13), 0x1f1f_ffff);
    }
    // The period's last block has the easiest target, so the next period starts from it.
    assert_eq!(chain.height(), 9);
    assert_eq!(late(&mut chain, 30), 0x1f1f_ffff);
    assert_eq!(late(&mut chain, 1), 0x1f1f_ffff);
}

#[test]
fn bip94_retargets_from_the_first_block_of_the_period() {
    for (enforces_bip94, expected) in [(false, 0x1f1f_ffff), (true, 0x1f0c_cccb)] {
        let mut chain = easy(true, enforces_bip94);
        let start = chain.params.genesis.time;
        for i in 1..=9 {
            let mut header = chain.header();
            header.time = start + [0, 10, 20, 30, 40, 50, 60, 70, 83, 96][i];
            header.bits = chain.tree.required_bits(chain.tip, header.time);
            mine(&mut header, &chain.params);
            chain.tip = chain.tree.accept(&header, NOW).unwrap();
        }
        assert_eq!(chain.tree.header(chain.tip).bits, 0x1f1f_ffff);
        let actual = chain.tree.required_bits(chain.tip, start + 97);
        assert_eq!(format!("{actual:x}"), format!("{expected:x}"));
    }
}

#[test]
fn regtest_never_retargets() {
    let mut chain = Chain::new(Params::new(Network::Regtest));
    let start = chain.params.genesis.time;
    for height in 1..=300 {
        extend(&mut chain, start + height);
        assert_eq!(chain.tree.header(chain.tip).bits, 0x207f_ffff);
    }
}

#[test]
fn rustoshi_headers_of_deep_side_branches_are_judged_in_full() {
    let mut chain = Chain::regtest(3);
    let fork = chain.tip;
    let start = chain.tree.header(fork).time;
    for i in 1..=1000 {
        extend(&mut chain, start + i);
    }
    // However deep a branch leaves the best chain, it is accepted.
    chain.tip = fork;
    assert_eq!(judge(&chain, |header| header.time = start + 5000), Ok(4));
    let class = RejectClass::InvalidHeader;
    let median = chain.tree.median_time_past(fork);
    refused(judge(&chain, |h| h.time = median), Reject::TimeTooOld, "time-too-old", class);
    refused(judge(&chain, |h| h.bits = 0x207f_fffe), Reject::BadDiffbits, "bad-diffbits", class);
    let result = judge(&chain, |header| header.version = 3);
    refused(result, Reject::BadVersion(3), "bad-version(0x00000003)", class);
}
