//! The header tree against naive walks, targets and work, and the networks' parameters.

mod common;

use std::collections::BTreeSet;

use caesure_consensus::{HeaderId, HeaderTree, Network, Params, Target, Work, check_header};
use caesure_script::AddressPrefixes;
use caesure_wire::{Block, BlockHash};

use common::{Chain, NOW, mine};

/// A tree with many branches, grown by a seeded generator.
fn bushy(count: u32) -> HeaderTree {
    let mut chain = Chain::new(Params::new(Network::Regtest));
    let mut seed: u64 = 7;
    for nonce in 0..count {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // Mostly on the newest header, else on one of the last hundred.
        let back = if seed >> 60 < 13 { 0 } else { u32::try_from(seed >> 33).unwrap() % 100 };
        chain.tip = HeaderId(nonce.saturating_sub(back));
        let mut header = chain.header();
        header.merkle_root.0[..4].copy_from_slice(&nonce.to_le_bytes());
        mine(&mut header, &chain.params);
        assert_eq!(chain.tree.accept(&header, NOW), Ok(HeaderId(nonce + 1)));
    }
    chain.tree
}

/// A header and its ancestors, by parents alone.
fn path(tree: &HeaderTree, id: HeaderId) -> Vec<HeaderId> {
    std::iter::successors(Some(id), |id| tree.parent(*id)).collect()
}

#[test]
fn ancestors_and_fork_points_are_those_of_a_naive_walk() {
    let tree = bushy(1500);
    assert_eq!(tree.len(), 1501);
    for id in (0..1501).step_by(37).map(HeaderId) {
        let path = path(&tree, id);
        assert_eq!(tree.height(id) as usize, path.len() - 1);
        for (height, ancestor) in (0..).zip(path.iter().rev()) {
            assert_eq!(tree.ancestor(id, height), Some(*ancestor));
        }
        assert_eq!(tree.ancestor(id, tree.height(id) + 1), None);
        let path: BTreeSet<HeaderId> = path.into_iter().collect();
        for other in (0..1501).step_by(61).map(HeaderId) {
            let walk = std::iter::successors(Some(other), |id| tree.parent(*id));
            let fork = walk.into_iter().find(|id| path.contains(id)).unwrap();
            assert_eq!(tree.fork_point(id, other), fork);
        }
    }
}

#[test]
fn leaves_children_and_headers_of_a_height_are_those_of_a_naive_search() {
    let tree = bushy(1500);
    let all = || (0..1501).map(HeaderId);
    let children = |id| all().filter(|it| tree.parent(*it) == Some(id)).collect::<BTreeSet<_>>();
    let leaves: BTreeSet<_> = all().filter(|id| children(*id).is_empty()).collect();
    assert!(10 < leaves.len());
    assert_eq!(tree.leaves().iter().copied().collect::<BTreeSet<_>>(), leaves);
    assert_eq!(tree.leaves().len(), leaves.len());
    for id in all().step_by(7) {
        let height = tree.height(id);
        let peers: BTreeSet<_> = all().filter(|it| tree.height(*it) == height).collect();
        let found = tree.at_height(height);
        assert_eq!((found.len(), found.iter().copied().collect()), (peers.len(), peers));
        assert_eq!(Some(found[0]), tree.ancestor(tree.best(), height).or(Some(found[0])));
        assert_eq!(tree.children(id).into_iter().collect::<BTreeSet<_>>(), children(id));
    }
    assert_eq!(tree.at_height(2000), []);
}

#[test]
fn headers_are_given_back_and_found() {
    let tree = bushy(300);
    for id in (0..301).map(HeaderId) {
        let header = tree.header(id);
        assert_eq!(header.hash(), tree.hash(id));
        assert_eq!(tree.find(&header.hash()), Some(id));
        assert_eq!(tree.parent(id), tree.find(&header.prev_block));
    }
    assert_eq!(tree.find(&BlockHash([3; 32])), None);
    assert_eq!(tree.find(&BlockHash::ZERO), None);
}

#[test]
fn a_header_is_found_by_hash_height_or_distance_from_the_tip() {
    let tree = bushy(300);
    let tip = HeaderId(300);
    let height = tree.height(tip);
    let at = |height| tree.ancestor(tip, height);
    assert_eq!(tree.find_named("tip", tip), Some(tip));
    assert_eq!(tree.find_named("tip-3", tip), at(height - 3));
    assert_eq!(tree.find_named("7", tip), at(7));
    assert_eq!(tree.find_named(&tree.hash(HeaderId(9)).to_string(), tip), Some(HeaderId(9)));
    let above = (height + 1).to_string();
    let beyond = format!("tip-{above}");
    let unknown = BlockHash([3; 32]).to_string();
    for text in [&*above, &*beyond, &*unknown, "", "tip-", "tip+1", "tipsy", "-1"] {
        assert_eq!(tree.find_named(text, tip), None, "{text}");
    }
}

#[test]
fn a_locator_steps_back_ever_further() {
    let chain = Chain::regtest(100);
    let height = |hash: &BlockHash| chain.tree.height(chain.tree.find(hash).unwrap());
    let heights = |id| -> Vec<u32> { chain.tree.locator(id).iter().map(height).collect() };
    let expected = [100, 99, 98, 97, 96, 95, 94, 93, 92, 91, 90, 89, 87, 83, 75, 59, 27, 0];
    assert_eq!(heights(chain.tip), expected);
    assert_eq!(heights(HeaderTree::GENESIS), [0]);
    assert_eq!(heights(HeaderId(2)), [2, 1, 0]);
}

#[test]
fn invalid_headers_make_their_descendants_invalid_and_no_others() {
    let mut tree = bushy(500);
    let bad = HeaderId(200);
    tree.mark_invalid(bad);
    for id in (0..501).map(HeaderId) {
        assert_eq!(tree.is_invalid(id), path(&tree, id).contains(&bad));
    }
    let count = (0..501).filter(|id| tree.is_invalid(HeaderId(*id))).count();
    assert!((2..300).contains(&count));
}

#[test]
fn work_adds_up_along_the_chain() {
    let chain = Chain::regtest(9);
    assert_eq!(chain.tree.chain_work(chain.tip).to_string(), format!("{:064x}", 20));
    let main = HeaderTree::new(&Params::new(Network::Main));
    let work = main.chain_work(HeaderTree::GENESIS).to_string();
    assert_eq!(work, format!("{:064x}", 0x1_0001_0001_u64));
}

#[test]
fn blvm_the_work_of_the_hardest_and_the_easiest_target() {
    let target = |bits| Target::from_compact(bits).unwrap();
    let work = |bits| target(bits).work().to_string();
    // 2^256 / 2, / 2^255 and a half, and the target of July 2019.
    assert_eq!(work(0x0101_0000), format!("8{}", "0".repeat(63)));
    assert_eq!(work(0x207f_ffff), format!("{:064x}", 2));
    assert_eq!(work(0x1d00_ffff), format!("{:064x}", 0x1_0001_0001_u64));
    assert_eq!(Work::ZERO.to_string(), "0".repeat(64));
    let hardest = target(0x0101_0000).work();
    assert_eq!(hardest + hardest, Work::ZERO);
    assert!(target(0x1d00_ffff).work() < target(0x1c00_ffff).work());
}

#[test]
fn kotoba_compact_targets_with_exponents_33_and_34() {
    let check = |bits: u32, expected: Option<&str>| {
        let actual = Target::from_compact(bits).map(|target| target.to_string());
        let expected = expected.map(|digits| format!("{digits}{}", "0".repeat(64 - digits.len())));
        assert_eq!(actual, expected, "{bits:08x}");
    };
    check(0x2012_3456, Some("123456"));
    check(0x2100_1234, Some("1234"));
    check(0x2100_ffff, Some("ffff"));
    check(0x2101_0000, None);
    check(0x2200_0012, Some("12"));
    check(0x2200_00ff, Some("ff"));
    check(0x2200_0100, None);
    check(0x2300_0001, None);
    check(0xff12_3456, None);
    // A mantissa of zero is zero, whatever the exponent.
    check(0xff00_0000, None);
}

#[test]
fn original_fault_compact_targets_that_are_negative_zero_or_short() {
    // Core's arith_uint256 tests: compact form, value, and compact form again.
    let check = |bits: u32, value: Option<(u64, u32)>| {
        let target = Target::from_compact(bits);
        let actual = target.map(|target| (target.to_string(), target.to_compact()));
        let expected = value.map(|(value, compact)| (format!("{value:064x}"), compact));
        assert_eq!(actual, expected, "{bits:08x}");
    };
    check(0, None);
    check(0x0012_3456, None);
    check(0x0100_3456, None);
    check(0x0200_0056, None);
    check(0x0300_0000, None);
    check(0x0400_0000, None);
    check(0x0092_3456, None);
    check(0x0180_3456, None);
    check(0x0280_0056, None);
    check(0x0380_0000, None);
    check(0x0480_0000, None);
    check(0x0112_3456, Some((0x12, 0x0112_0000)));
    check(0x01fe_dcba, None);
    check(0x0212_3456, Some((0x1234, 0x0212_3400)));
    check(0x0312_3456, Some((0x12_3456, 0x0312_3456)));
    check(0x0412_3456, Some((0x1234_5600, 0x0412_3456)));
    check(0x0492_3456, None);
    check(0x0500_9234, Some((0x9234_0000, 0x0500_9234)));
    // A first bit that is set would be the sign, so the mantissa moves by a byte.
    check(0x0400_8000, Some((0x0080_0000, 0x0400_8000)));
}

#[test]
fn kotoba_scripts_are_assumed_valid_only_over_two_weeks_of_work_back() {
    let mut chain = Chain::new(Params::new(Network::Regtest));
    for _ in 0..2100 {
        let mut header = chain.header();
        mine(&mut header, &chain.params);
        chain.tip = chain.tree.accept(&header, u32::MAX).unwrap();
    }
    let at = |height| chain.tree.ancestor(chain.tip, height).unwrap();
    let tip = chain.tree.hash(chain.tip);
    let check = |height, assumed: &BlockHash, best, work| {
        chain.tree.is_assumed_valid(at(height), assumed, best, work)
    };
    // At one difficulty, two weeks are 2,016 blocks; exactly that is too recent.
    assert!(check(83, &tip, chain.tip, Work::ZERO));
    assert!(!check(84, &tip, chain.tip, Work::ZERO));
    // The block itself may be the assumed one; its child is not below it.
    let hash = chain.tree.hash(at(50));
    assert!(check(50, &hash, chain.tip, Work::ZERO));
    assert!(!check(51, &hash, chain.tip, Work::ZERO));
    // The assumed block must be known, the best header have the least work and descend from both.
    assert!(!check(50, &BlockHash([1; 32]), chain.tip, Work::ZERO));
    assert!(!check(50, &BlockHash::ZERO, chain.tip, Work::ZERO));
    let work = chain.tree.chain_work(chain.tip);
    assert!(check(50, &tip, chain.tip, work));
    assert!(!check(50, &tip, chain.tip, work + Work::from_be_bytes([1; 32])));
    assert!(!check(50, &tip, at(49), Work::ZERO));
    let mut fork = chain.clone();
    fork.tip = at(40);
    let mut header = fork.header();
    header.time += 1;
    mine(&mut header, &fork.params);
    let side = fork.tree.accept(&header, u32::MAX).unwrap();
    assert!(!fork.tree.is_assumed_valid(side, &tip, chain.tip, Work::ZERO));
    assert!(!fork.tree.is_assumed_valid(at(50), &header.hash(), chain.tip, Work::ZERO));
}

#[test]
fn the_best_header_has_the_most_work_and_is_the_first_of_several_that_are_not_invalid() {
    let mut chain = Chain::new(Params::new(Network::Regtest));
    let mut add = |parent, tag| {
        chain.tip = parent;
        let mut header = chain.header();
        header.time += tag;
        mine(&mut header, &chain.params);
        chain.tip = chain.tree.accept(&header, u32::MAX).unwrap();
        (chain.tip, chain.tree.best())
    };
    let (a, best) = add(HeaderTree::GENESIS, 1);
    assert_eq!(best, a);
    let (b, best) = add(HeaderTree::GENESIS, 2);
    assert_eq!(best, a);
    let (c, best) = add(b, 1);
    assert_eq!(best, c);
    chain.tree.mark_invalid(c);
    assert_eq!(chain.tree.best(), a);
    chain.tree.mark_invalid(a);
    assert_eq!(chain.tree.best(), b);
    chain.tree.mark_invalid(b);
    assert_eq!(chain.tree.best(), HeaderTree::GENESIS);
    chain.tree.mark_valid(c);
    assert_eq!(chain.tree.best(), c);
}

#[test]
fn a_mark_of_invalidity_comes_off_ancestors_and_descendants_alone() {
    let mut tree = bushy(1500);
    let id = HeaderId(700);
    let ancestors = path(&tree, id);
    tree.mark_invalid(ancestors[40]);
    let was_invalid: BTreeSet<_> =
        (0..1501).map(HeaderId).filter(|id| tree.is_invalid(*id)).collect();
    tree.mark_valid(id);
    for other in (0..1501).map(HeaderId) {
        let is_kin = ancestors.contains(&other) || path(&tree, other).contains(&id);
        assert_eq!(tree.is_invalid(other), was_invalid.contains(&other) && !is_kin);
    }
    assert!(was_invalid.iter().any(|id| tree.is_invalid(*id)));
    assert!(!tree.is_invalid(tree.best()));
}

#[test]
fn a_header_is_judged_without_being_kept() {
    let mut chain = Chain::new(Params::new(Network::Regtest));
    let mut header = chain.header();
    mine(&mut header, &chain.params);
    assert_eq!(chain.tree.check(&header, NOW), Ok(None));
    assert_eq!(chain.tree.len(), 1);
    assert_eq!(chain.tree.accept(&header, NOW), Ok(HeaderId(1)));
    assert_eq!(chain.tree.check(&header, NOW), Ok(Some(HeaderId(1))));
    // Work takes the target's spacing a block, in either direction.
    assert_eq!(chain.tree.seconds_of_work(HeaderId(0), HeaderId(1)), 600);
    assert_eq!(chain.tree.seconds_of_work(HeaderId(1), HeaderId(0)), -600);
    assert_eq!(chain.tree.proof(HeaderId(1)), Target::from_compact(header.bits).unwrap().work());
}

#[test]
fn genesis_blocks_have_their_hashes_and_pass_the_rules() {
    let check = |params: Params, hash: &str, magic: [u8; 4], ports: [u16; 2]| {
        assert_eq!(params.genesis_hash.to_string(), hash);
        let block = Block::parse(params.genesis_block()).unwrap();
        assert_eq!(block.hash(), params.genesis_hash);
        assert_eq!(*block.header(), params.genesis);
        assert_eq!(check_header(block.header(), &params), Ok(()));
        assert!(caesure_consensus::check_block(&block, &params).is_ok());
        assert_eq!((params.magic, [params.default_port, params.rpc_port]), (magic, ports));
    };
    check(
        Params::new(Network::Main),
        "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f",
        [0xf9, 0xbe, 0xb4, 0xd9],
        [8333, 8332],
    );
    check(
        Params::new(Network::Testnet3),
        "000000000933ea01ad0ee984209779baaec3ced90fa3f408719526f8d77f4943",
        [0x0b, 0x11, 0x09, 0x07],
        [18333, 18332],
    );
    check(
        Params::new(Network::Testnet4),
        "00000000da84f2bafbbc53dee25a72ae507ff4914b867c565be350b0da8bf043",
        [0x1c, 0x16, 0x3f, 0x28],
        [48333, 48332],
    );
    let signet = "00000008819873e925422c1ff0f99f7cc9bbb232af63a077a480a3633bee1ef6";
    check(Params::new(Network::Signet), signet, [0x0a, 0x03, 0xcf, 0x40], [38333, 38332]);
    // The magic of the signet that anyone solves, as its users know it.
    check(Params::signet(&[0x51]), signet, [0x54, 0xd2, 0x6f, 0xbd], [38333, 38332]);
    check(
        Params::new(Network::Regtest),
        "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206",
        [0xfa, 0xbf, 0xb5, 0xda],
        [18444, 18443],
    );
}

#[test]
fn what_else_differs_between_networks() {
    let main = Params::new(Network::Main);
    assert_eq!(
        main.bip34_hash.to_string(),
        "000000000000024b89b42a942fe0d9fea3bb44ab7bd1b19115dd6a759c0808b8"
    );
    assert_eq!(
        Params::new(Network::Testnet3).bip34_hash.to_string(),
        "0000000023b3a96d3484e5abb3755c413e7d41500f8e2a5c3f0dd01299cd8ef8"
    );
    let limits = Network::ALL.map(|network| {
        let params = Params::new(network);
        assert_eq!(params.network, network);
        assert_eq!(params.genesis.bits, params.pow_limit.to_compact());
        params.pow_limit.to_compact()
    });
    assert_eq!(limits, [0x1d00_ffff, 0x1d00_ffff, 0x1d00_ffff, 0x1e03_77ae, 0x207f_ffff]);
    let intervals = Network::ALL.map(|network| Params::new(network).difficulty_interval());
    assert_eq!(intervals, [2016, 2016, 2016, 2016, 144]);
    let flags = Network::ALL.map(|network| {
        let params = Params::new(network);
        [params.allows_min_difficulty, params.enforces_bip94, params.has_no_retargeting]
    });
    let (yes, no) = (true, false);
    assert_eq!(flags, [[no; 3], [yes, no, no], [yes, yes, no], [no; 3], [yes, no, yes]]);
    let prefixes = Network::ALL.map(|network| {
        let params = Params::new(network);
        let AddressPrefixes { p2pkh, p2sh, hrp } = params.address_prefixes;
        ([p2pkh, p2sh, params.secret_key_prefix], hrp)
    });
    let test = ([111, 196, 239], "tb");
    assert_eq!(prefixes, [([0, 5, 128], "bc"), test, test, test, ([111, 196, 239], "bcrt")]);
    let names = Network::ALL.map(Network::name);
    assert_eq!(names, ["main", "testnet3", "testnet4", "signet", "regtest"]);
    assert!(Params::signet(&[0x51]).minimum_chain_work == Work::ZERO);
    assert!(Work::ZERO < Params::new(Network::Signet).minimum_chain_work);
}
