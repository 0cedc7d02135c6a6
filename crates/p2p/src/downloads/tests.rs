use super::*;
use caesure_consensus::{Network, Params, check_header};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::sync::LazyLock;

/// A chain of 1,300 headers, and one of 1,310 that leaves it at 1,250.
static TREE: LazyLock<(HeaderTree, Vec<HeaderId>, Vec<HeaderId>)> = LazyLock::new(|| {
    let params = Params::new(Network::Regtest);
    let mut tree = HeaderTree::new(&params);
    let mut grow = |parent: HeaderId, count: u32, version: i32| {
        let mut chain = vec![parent];
        for _ in 0..count {
            let parent = chain[chain.len() - 1];
            let mut header = tree.header(parent);
            header.prev_block = tree.hash(parent);
            (header.version, header.time) = (version, header.time + 600);
            while check_header(&header, &params).is_err() {
                header.nonce = header.nonce.wrapping_add(1);
            }
            chain.push(tree.accept(&header, u32::MAX - 7_200).unwrap());
        }
        chain
    };
    let main = grow(HeaderTree::GENESIS, 1_300, 4);
    let fork = grow(main[1_250], 60, 5);
    let fork = [&main[..1_250], &fork].concat();
    (tree, main, fork)
});

struct Chain {
    tip: HeaderId,
    stored: BTreeSet<HeaderId>,
    pending: BTreeSet<HeaderId>,
}

impl Chain {
    fn new(stored: u32) -> Self {
        let (_, main, _) = &*TREE;
        let stored = &main[..=stored as usize];
        let tip = stored[stored.len() - 1];
        Self { tip, stored: stored.iter().copied().collect(), pending: BTreeSet::new() }
    }

    fn facts<T>(&self, with: impl FnOnce(&ChainFacts<'_>) -> T) -> T {
        with(&ChainFacts {
            tree: &TREE.0,
            tip: self.tip,
            minimum_chain_work: Work::ZERO,
            has_block: &|id| self.stored.contains(&id),
            is_pending: &|id| self.pending.contains(&id),
        })
    }

    fn next(&self, downloads: &mut Downloads, peer: u64, best: HeaderId, now: u64) -> Vec<u32> {
        self.next_of(downloads, peer, full(best), now)
    }

    fn next_of(
        &self,
        downloads: &mut Downloads,
        peer: u64,
        facts: DownloadPeer,
        now: u64,
    ) -> Vec<u32> {
        let next = self.facts(|chain| downloads.next_for(PeerId(peer), facts, chain, secs(now)));
        next.into_iter().map(|id| TREE.0.height(id)).collect()
    }
}

fn full(best_known: HeaderId) -> DownloadPeer {
    DownloadPeer { best_known, is_limited: false, serves_witnesses: true }
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn downloads(peers: u64) -> Downloads {
    let mut downloads = Downloads::new(600);
    for peer in 0..peers {
        downloads.peer_ready(PeerId(peer), peer % 2 == 1);
    }
    downloads
}

#[test]
fn each_peer_gets_sixteen_blocks_that_no_other_has() {
    let (_, main, _) = &*TREE;
    let (chain, mut downloads) = (Chain::new(0), downloads(3));
    assert_eq!(chain.next(&mut downloads, 0, main[1_300], 0), Vec::from_iter(1..=16));
    assert_eq!(chain.next(&mut downloads, 1, main[1_300], 0), Vec::from_iter(17..=32));
    assert_eq!(chain.next(&mut downloads, 0, main[1_300], 0), []);
    downloads.release(PeerId(0), main[3], secs(1));
    assert_eq!(chain.next(&mut downloads, 0, main[1_300], 1), [3]);
    assert_eq!(chain.next(&mut downloads, 2, main[40], 1), Vec::from_iter(33..=40));
    assert_eq!(chain.next(&mut downloads, 9, main[40], 1), [], "a stranger");
    assert_eq!(downloads.len(), 40);
    downloads.peer_gone(PeerId(1));
    assert_eq!((downloads.len(), downloads.in_flight(PeerId(1)).count()), (24, 0));
    assert_eq!(chain.next(&mut downloads, 2, main[1_300], 1), Vec::from_iter(17..=24));
}

#[test]
fn blocks_are_asked_of_no_peer_that_has_nothing_better_or_cannot_serve_them() {
    let (tree, main, _) = &*TREE;
    let (mut chain, mut downloads) = (Chain::new(1_000), downloads(2));
    assert_eq!(chain.next(&mut downloads, 0, main[999], 0), []);
    assert_eq!(chain.next(&mut downloads, 0, main[1_000], 0), []);
    let blind = DownloadPeer { serves_witnesses: false, ..full(main[1_300]) };
    assert_eq!(chain.next_of(&mut downloads, 0, blind, 0), []);
    let limited = DownloadPeer { is_limited: true, ..full(main[1_300]) };
    // 286 below its best and deeper are left out.
    assert_eq!(chain.next_of(&mut downloads, 0, limited, 0), Vec::from_iter(1_015..=1_030));
    chain.pending.extend([main[1_001], main[1_003]]);
    assert_eq!(chain.next(&mut downloads, 1, main[1_004], 0), [1_002, 1_004]);
    let work = tree.chain_work(main[1_300]) + Work::from_be_bytes([1; 32]);
    let next = chain.facts(|facts| {
        let facts = ChainFacts { minimum_chain_work: work, ..*facts };
        downloads.next_for(PeerId(1), full(main[1_300]), &facts, secs(0))
    });
    assert_eq!(next, [], "less than the least work");
}

#[test]
fn a_block_that_was_pending_and_no_good_is_asked_for_again() {
    let (_, main, _) = &*TREE;
    let (mut chain, mut downloads) = (Chain::new(0), downloads(1));
    chain.pending.extend(&main[1..=5]);
    assert_eq!(chain.next(&mut downloads, 0, main[6], 0), [6]);
    assert_eq!(downloads.last_common(PeerId(0)), Some(main[0]));
    chain.pending.remove(&main[2]);
    chain.stored.insert(main[1]);
    assert_eq!(chain.next(&mut downloads, 0, main[6], 0), [2]);
    assert_eq!(downloads.last_common(PeerId(0)), Some(main[1]));
}

#[test]
fn the_window_moves_with_what_is_stored_and_a_fork_begins_where_it_leaves() {
    let (_, main, fork) = &*TREE;
    let (mut chain, mut downloads) = (Chain::new(0), downloads(2));
    chain.stored.extend(&main[2..=1_020]);
    let asked = chain.next(&mut downloads, 0, main[1_300], 0);
    assert_eq!(asked, [1, 1_021, 1_022, 1_023, 1_024], "1,024 above block 0");
    chain.stored.insert(main[1]);
    downloads.stored(main[1], secs(1));
    let asked = chain.next(&mut downloads, 0, main[1_300], 1);
    assert_eq!(asked, Vec::from_iter(1_025..=1_036));
    assert_eq!(downloads.last_common(PeerId(0)), Some(main[1_020]));
    // The peer is on another branch: what it had in common there holds no more.
    chain.stored.extend(&main[1_021..=1_280]);
    assert_eq!(chain.next(&mut downloads, 1, main[1_300], 1)[0], 1_281);
    assert_eq!(downloads.last_common(PeerId(1)), Some(main[1_280]));
    downloads.peer_gone(PeerId(1));
    downloads.peer_ready(PeerId(1), false);
    chain.tip = main[1_280];
    assert_eq!(chain.next(&mut downloads, 1, fork[1_310], 1), Vec::from_iter(1_251..=1_266));
    assert_eq!(downloads.last_common(PeerId(1)), Some(main[1_250]));
}

#[test]
fn who_keeps_the_window_from_moving_is_given_two_seconds_and_the_next_more() {
    let (_, main, _) = &*TREE;
    let (mut chain, mut downloads) = (Chain::new(0), downloads(4));
    assert_eq!(chain.next(&mut downloads, 0, main[16], 0).len(), 16);
    chain.stored.extend(&main[17..=1_024]);
    assert_eq!(chain.next(&mut downloads, 0, main[1_300], 5), [], "it does not stall itself");
    assert_eq!(chain.next(&mut downloads, 1, main[1_300], 5), []);
    assert_eq!(chain.next(&mut downloads, 2, main[1_300], 6), []);
    assert_eq!(downloads.timeouts(secs(7)), []);
    let late = secs(7) + Duration::from_nanos(1);
    assert_eq!(downloads.timeouts(late), [(PeerId(0), DownloadTimeout::Stalling)]);
    assert_eq!(downloads.timeouts(late), [], "once");
    downloads.peer_gone(PeerId(0));
    // The next has four seconds, and a block in time gives it more.
    assert_eq!(chain.next(&mut downloads, 1, main[1_300], 8).len(), 16);
    assert_eq!(chain.next(&mut downloads, 2, main[1_300], 8), []);
    downloads.release(PeerId(1), main[9], secs(11));
    assert_eq!(downloads.timeouts(secs(13)), []);
    chain.stored.insert(main[9]);
    assert_eq!(chain.next(&mut downloads, 2, main[1_300], 13), []);
    assert_eq!(downloads.timeouts(secs(17)), []);
    assert_eq!(downloads.timeouts(secs(18)).len(), 1);
    // Up to 64 seconds, and less again as blocks are connected.
    for expected in [16, 32, 64, 64] {
        assert_eq!(chain.next(&mut downloads, 2, main[1_300], 100), []);
        assert_eq!(downloads.timeouts(secs(400)).len(), 1);
        assert_eq!(downloads.stalling_timeout, secs(expected));
    }
    for expected in [54, 45, 38, 32] {
        downloads.connected();
        assert_eq!(downloads.stalling_timeout, secs(expected));
    }
    (0..20).for_each(|_| downloads.connected());
    assert_eq!(downloads.stalling_timeout, secs(2));
}

#[test]
fn a_block_may_take_longer_while_others_share_the_line() {
    let (_, main, _) = &*TREE;
    let (chain, mut downloads) = (Chain::new(0), downloads(3));
    chain.next(&mut downloads, 0, main[1_300], 100);
    assert_eq!(downloads.timeouts(secs(700)), []);
    assert_eq!(downloads.timeouts(secs(701)), [(PeerId(0), DownloadTimeout::Block(main[1]))]);
    chain.next(&mut downloads, 1, main[1_300], 500);
    chain.next(&mut downloads, 2, main[1_300], 500);
    assert_eq!(downloads.timeouts(secs(1_300)), []);
    assert_eq!(downloads.timeouts(secs(1_301)).len(), 1);
    // It is the first of its blocks that counts, from when the one before came.
    downloads.release(PeerId(0), main[2], secs(1_200));
    assert_eq!(downloads.timeouts(secs(1_301)).len(), 1);
    downloads.release(PeerId(0), main[1], secs(1_200));
    assert_eq!(downloads.timeouts(secs(1_700)), []);
    assert_eq!(downloads.timeouts(secs(1_700) + Duration::from_nanos(1)).len(), 2);
}

#[test]
fn blocks_that_were_just_announced_are_asked_for_when_they_are_few() {
    let (_, main, fork) = &*TREE;
    let (mut chain, mut downloads) = (Chain::new(1_280), downloads(2));
    let direct = |chain: &Chain, downloads: &mut Downloads, peer, best| {
        let facts = full(best);
        chain.facts(|chain| downloads.direct_for(PeerId(peer), facts, chain, secs(0)))
    };
    chain.stored.insert(main[1_283]);
    assert_eq!(
        direct(&chain, &mut downloads, 0, main[1_284]),
        [main[1_281], main[1_282], main[1_284]]
    );
    assert_eq!(direct(&chain, &mut downloads, 1, main[1_285]), [main[1_285]]);
    assert_eq!(direct(&chain, &mut downloads, 1, main[1_279]), [], "no more work than the tip");
    assert_eq!(direct(&chain, &mut downloads, 1, fork[1_310]), [], "60 blocks are many");
    assert_eq!(direct(&chain, &mut downloads, 1, main[1_296]).len(), 11);
    assert_eq!(direct(&chain, &mut downloads, 1, main[1_300]).len(), 4, "16 in all");
    assert_eq!(downloads.in_flight(PeerId(1)).count(), Downloads::MAX_PER_PEER);
}

/// CVE-2024-52921: what a peer sends unasked, or mutated, ends nobody else's request.
#[test]
fn cve_2024_52921_a_mutated_block_clears_no_other_peers_request() {
    let (_, main, _) = &*TREE;
    let (chain, mut downloads) = (Chain::new(0), downloads(2));
    chain.next(&mut downloads, 0, main[1], 0);
    assert!(!downloads.release(PeerId(1), main[1], secs(1)), "it was not asked");
    assert!(!downloads.release(PeerId(9), main[1], secs(1)));
    assert_eq!(downloads.peers_of(main[1]), [PeerId(0)]);
    assert!(!downloads.request(PeerId(0), main[1], secs(1)), "once");
    assert!(downloads.request(PeerId(1), main[1], secs(1)));
    assert!(downloads.release(PeerId(1), main[1], secs(1)));
    assert_eq!(downloads.peers_of(main[1]), [PeerId(0)]);
    downloads.request(PeerId(1), main[1], secs(1));
    downloads.stored(main[1], secs(2));
    assert!(downloads.is_empty() && downloads.in_flight(PeerId(0)).next().is_none());
}

/// CVE-2024-52922: three peers may be putting a compact block together, one place of which no
/// inbound peer takes before an outbound one.
#[test]
fn cve_2024_52922_three_compact_blocks_with_a_place_for_an_outbound_peer() {
    let (_, main, _) = &*TREE;
    let block = main[1];
    let taken = |is_first, earlier| CompactSlot::Taken { is_first, earlier };
    // Peers with odd numbers are inbound.
    let mut downloads = downloads(12);
    let mut slot = |peer: u64| downloads.compact_slot(PeerId(peer), block, secs(0));
    assert_eq!([slot(1), slot(1)], [taken(true, 0), CompactSlot::Duplicate]);
    assert_eq!([slot(3), slot(5), slot(7)], [taken(false, 1), taken(false, 2), CompactSlot::Full]);
    assert_eq!(slot(99), CompactSlot::Full);
    let may = |downloads: &Downloads, peer, slot, is_high_bandwidth| {
        downloads.may_ask_for_missing(PeerId(peer), block, slot, is_high_bandwidth)
    };
    assert!(may(&downloads, 1, taken(true, 0), false), "the first, whoever it is");
    assert!(
        may(&downloads, 3, taken(false, 1), true) && !may(&downloads, 3, taken(false, 1), false)
    );
    assert!(!may(&downloads, 5, taken(false, 2), true), "the last place is kept");
    assert!(!may(&downloads, 5, CompactSlot::Full, true));
    downloads.release(PeerId(5), block, secs(0));
    assert_eq!(downloads.compact_slot(PeerId(4), block, secs(0)), taken(false, 2));
    assert!(
        may(&downloads, 4, taken(false, 2), true) && !may(&downloads, 4, taken(false, 2), false)
    );
    downloads.release(PeerId(3), block, secs(0));
    assert_eq!(downloads.compact_slot(PeerId(5), block, secs(0)), taken(false, 2));
    assert!(may(&downloads, 5, taken(false, 2), true), "an outbound one is being asked");
    assert_eq!(downloads.peers_of(block), [PeerId(1), PeerId(4), PeerId(5)]);
    // One that was asked for the whole block may send it compact, but one that is full may not.
    let (chain, mut downloads) = (Chain::new(0), self::downloads(2));
    chain.next(&mut downloads, 0, main[1_300], 0);
    assert_eq!(downloads.compact_slot(PeerId(0), main[20], secs(0)), CompactSlot::Full);
    assert_eq!(downloads.compact_slot(PeerId(0), main[5], secs(0)), taken(true, 1));
    assert!(downloads.compact(PeerId(0), main[5]).is_none());
}

#[derive(Clone, Debug)]
enum Step {
    Ready(u64),
    Gone(u64),
    Next(u64),
    Deliver(u64),
    Mutated(u64),
    NotFound(u64),
    Unasked(u64, usize),
    Time(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let peer = 1_u64..7;
    prop_oneof![
        2 => peer.clone().prop_map(Step::Ready),
        1 => peer.clone().prop_map(Step::Gone),
        6 => peer.clone().prop_map(Step::Next),
        8 => peer.clone().prop_map(Step::Deliver),
        1 => peer.clone().prop_map(Step::Mutated),
        1 => peer.clone().prop_map(Step::NotFound),
        1 => (peer, 1_150_usize..1_300).prop_map(|(peer, height)| Step::Unasked(peer, height)),
        1 => (0_u64..3).prop_map(Step::Time),
    ]
}

/// Peers with numbers that 3 divides are on the fork.
fn best(peer: u64) -> HeaderId {
    if peer.is_multiple_of(3) { TREE.2[1_310] } else { TREE.1[1_300] }
}

/// A tip is connected as far as its blocks are stored.
fn connect(chain: &mut Chain) {
    for branch in [&TREE.1, &TREE.2] {
        let linked = branch.iter().take_while(|id| chain.stored.contains(id)).last().unwrap();
        if TREE.0.chain_work(chain.tip) < TREE.0.chain_work(*linked) {
            chain.tip = *linked;
        }
    }
}

/// The same request by request, as far as it can be said without the order.
fn check(downloads: &Downloads, chain: &Chain) {
    let mut listed = 0;
    for (peer, state) in &downloads.peers {
        assert!(state.requests.len() <= Downloads::MAX_PER_PEER);
        for request in &state.requests {
            assert_eq!(downloads.peers_of(request.block), [*peer], "asked of one peer");
            assert!(!chain.stored.contains(&request.block), "what is stored is not asked for");
        }
        listed += state.requests.len();
    }
    assert_eq!(downloads.len(), listed);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn nothing_is_asked_twice_and_nothing_is_lost(
        steps in proptest::collection::vec(step(), 1..300),
    ) {
        let (mut chain, mut downloads, mut now) = (Chain::new(1_150), downloads(1), 0);
        for step in steps {
            match step {
                Step::Ready(peer) => downloads.peer_ready(PeerId(peer), false),
                Step::Gone(peer) => downloads.peer_gone(PeerId(peer)),
                Step::Next(peer) => {
                    let before = downloads.clone();
                    let asked = chain.facts(|chain| {
                        downloads.next_for(PeerId(peer), full(best(peer)), chain, secs(now))
                    });
                    for id in asked {
                        prop_assert!(before.peers_of(id).is_empty());
                        let height = TREE.0.height(id);
                        prop_assert_eq!(TREE.0.ancestor(best(peer), height), Some(id));
                    }
                }
                Step::Deliver(peer) => {
                    let asked = downloads.in_flight(PeerId(peer)).next();
                    if let Some(id) = asked {
                        downloads.release(PeerId(peer), id, secs(now));
                        chain.stored.insert(id);
                        connect(&mut chain);
                        downloads.stored(id, secs(now));
                        downloads.connected();
                    }
                }
                Step::Mutated(peer) => {
                    let asked = downloads.in_flight(PeerId(peer)).last();
                    if let Some(id) = asked {
                        downloads.release(PeerId(peer), id, secs(now));
                        downloads.peer_gone(PeerId(peer));
                    }
                }
                Step::NotFound(peer) => {
                    let asked = downloads.in_flight(PeerId(peer)).next();
                    if let Some(id) = asked {
                        prop_assert!(downloads.release(PeerId(peer), id, secs(now)));
                    }
                }
                Step::Unasked(peer, height) => {
                    let id = TREE.1[height];
                    let others = downloads.peers_of(id).iter().filter(|other| other.0 != peer).count();
                    downloads.release(PeerId(peer), id, secs(now));
                    prop_assert_eq!(downloads.peers_of(id).len(), others);
                }
                Step::Time(later) => {
                    now += later;
                    for (peer, _) in downloads.timeouts(secs(now)) {
                        downloads.peer_gone(peer);
                    }
                }
            }
            check(&downloads, &chain);
        }
        // All go but an honest one: everything that is wanted is asked of it.
        (1..7).for_each(|peer| downloads.peer_gone(PeerId(peer)));
        downloads.peer_ready(PeerId(0), false);
        let wanted = TREE.2[1_310];
        for _ in 0..2 * 160 {
            chain.facts(|chain| downloads.next_for(PeerId(0), full(wanted), chain, secs(now)));
            check(&downloads, &chain);
            let Some(id) = downloads.in_flight(PeerId(0)).next() else { break };
            chain.stored.insert(id);
            connect(&mut chain);
            downloads.stored(id, secs(now));
        }
        prop_assert!(downloads.is_empty());
        prop_assert_eq!(chain.tip, wanted);
    }
}
