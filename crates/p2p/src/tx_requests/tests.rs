use super::*;
use proptest::prelude::*;

const DIALLED: TxPeer = TxPeer { is_preferred: true, relays_wtxids: true };
const INBOUND: TxPeer = TxPeer { is_preferred: false, ..DIALLED };

fn wtx(mark: u64) -> TxHash {
    let mut hash = [0; 32];
    hash[..8].copy_from_slice(&mark.to_le_bytes());
    TxHash::Wtxid(Wtxid(hash))
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn requests(peers: &[(u64, TxPeer)]) -> TxRequests {
    let mut requests = TxRequests::new(&mut Random::new([3; 32]));
    for (peer, facts) in peers {
        requests.peer_ready(PeerId(*peer), *facts);
    }
    requests
}

fn count(requests: &TxRequests, peer: PeerId) -> usize {
    requests.peers.get(&peer).map_or(0, |peer| peer.count)
}

fn in_flight(requests: &TxRequests, peer: PeerId) -> usize {
    requests.peers.get(&peer).map_or(0, |peer| peer.in_flight)
}

fn due(requests: &mut TxRequests, at: u64) -> Vec<(u64, TxHash)> {
    let due = requests.due(secs(at), |_| false);
    due.into_iter().map(|(peer, tx)| (peer.0, tx)).collect()
}

#[test]
fn one_peer_is_asked_at_a_time_and_the_next_after_a_minute() {
    let mut requests = requests(&[(1, INBOUND), (2, DIALLED), (3, INBOUND)]);
    for peer in [1, 3] {
        requests.announced(PeerId(peer), wtx(7), secs(0));
    }
    assert_eq!((due(&mut requests, 1), requests.deadline()), (vec![], Some(secs(2))));
    requests.announced(PeerId(2), wtx(7), secs(1));
    assert_eq!(due(&mut requests, 1), [(2, wtx(7))], "whom we dialled, at once");
    assert_eq!(requests.deadline(), Some(secs(2)));
    assert_eq!(due(&mut requests, 60), []);
    let [(next, _)] = due(&mut requests, 61)[..] else { panic!("one is asked") };
    assert!([1, 3].contains(&next));
    requests.answered(PeerId(next), wtx(7).bytes());
    assert_eq!(requests.deadline(), Some(Duration::ZERO));
    assert_eq!(due(&mut requests, 61), [(4 - next, wtx(7))], "at once after notfound");
    requests.announced(PeerId(2), wtx(7), secs(62));
    assert_eq!(requests.announcements.len(), 3, "who had his turn gets no other");
    assert_eq!(due(&mut requests, 121), []);
    assert_eq!((requests.announcements.len(), requests.deadline()), (0, None), "nobody is left");
}

#[test]
fn txids_and_busy_peers_wait() {
    let mut requests = requests(&[(2, DIALLED)]);
    let txid = |mark| TxHash::Txid(Txid(*wtx(mark).bytes()));
    requests.announced(PeerId(2), txid(1), secs(0));
    assert_eq!((due(&mut requests, 1), due(&mut requests, 2)), (vec![], vec![(2, txid(1))]));
    for mark in 2..101 {
        requests.announced(PeerId(2), wtx(mark), secs(2));
    }
    assert_eq!(due(&mut requests, 2).len(), 99);
    assert_eq!(in_flight(&requests, PeerId(2)), TxRequests::MANY_IN_FLIGHT);
    requests.announced(PeerId(2), wtx(200), secs(2));
    requests.announced(PeerId(2), txid(201), secs(2));
    assert_eq!(due(&mut requests, 3), []);
    assert_eq!(due(&mut requests, 4), [(2, wtx(200))]);
    assert_eq!(due(&mut requests, 6), [(2, txid(201))]);
    let before = TxPeer { relays_wtxids: false, ..DIALLED };
    let mut requests = self::requests(&[(4, before)]);
    requests.announced(PeerId(4), txid(1), secs(0));
    assert_eq!(due(&mut requests, 0), [(4, txid(1))], "nobody announces by wtxid");
}

#[test]
fn announcements_of_a_peer_are_bounded() {
    let mut requests = requests(&[(1, INBOUND)]);
    for mark in 0..6_000 {
        requests.announced(PeerId(1), wtx(mark), secs(0));
        requests.announced(PeerId(5), wtx(mark), secs(0));
    }
    assert_eq!(count(&requests, PeerId(1)), TxRequests::MAX_PER_PEER);
    assert_eq!(count(&requests, PeerId(5)), 0);
    requests.peer_gone(PeerId(1));
    let TxRequests { announcements, by_hash, by_time, open, peers, .. } = &requests;
    let left = [announcements.len(), by_hash.len(), by_time.len(), open.len(), peers.len()];
    assert_eq!((left, requests.wtxid_peers), ([0; 5], 0));
}

/// CVE-2024-52913: whoever announces first and stays silent, however many they are, delays
/// nobody whom we dialled.
#[test]
fn cve_2024_52913_a_thousand_silent_peers_do_not_delay_an_honest_one() {
    let attackers: Vec<u64> = (0..1_000).map(|i| 2 * i + 1).collect();
    let mut peers: Vec<(u64, TxPeer)> = attackers.iter().map(|peer| (*peer, INBOUND)).collect();
    peers.push((2, DIALLED));
    let mut requests = requests(&peers);
    for attacker in &attackers {
        requests.announced(PeerId(*attacker), wtx(7), secs(0));
        requests.announced(PeerId(*attacker), wtx(7), secs(1));
    }
    requests.announced(PeerId(2), wtx(7), secs(1));
    assert_eq!(due(&mut requests, 2), [(2, wtx(7))]);
    requests.forget(wtx(7).bytes());
    // One was asked before: the honest one is asked when its minute is over, before all others.
    for attacker in &attackers {
        requests.announced(PeerId(*attacker), wtx(8), secs(2));
    }
    assert_eq!(due(&mut requests, 4).len(), 1);
    requests.announced(PeerId(2), wtx(8), secs(30));
    assert_eq!(due(&mut requests, 63), [], "neither is an announcement a way to be asked again");
    assert_eq!(due(&mut requests, 64).last(), Some(&(2, wtx(8))));
    // They cannot tell who is asked: the salt picks.
    let asked: BTreeSet<u64> = (100..150)
        .map(|mark| {
            for attacker in &attackers[..20] {
                requests.announced(PeerId(*attacker), wtx(mark), secs(100));
            }
            due(&mut requests, 102)[0].0
        })
        .collect();
    assert!(10 < asked.len(), "{asked:?}");
}

#[test]
fn what_is_there_meanwhile_is_not_asked_for() {
    let mut requests = requests(&[(2, DIALLED)]);
    for mark in [9, 3, 5] {
        requests.announced(PeerId(2), wtx(mark), secs(0));
    }
    let due = requests.due(secs(0), |tx| *tx == wtx(3));
    assert_eq!(due, [(PeerId(2), wtx(9)), (PeerId(2), wtx(5))], "in the order of announcement");
    assert_eq!(requests.announcements.len(), 2);
    requests.forget(wtx(9).bytes());
    assert_eq!((requests.announcements.len(), in_flight(&requests, PeerId(2))), (1, 1));
}

/// The same by lists that are gone through every time.
#[derive(Debug, Default)]
struct Naive {
    peers: Vec<(u64, TxPeer)>,
    announcements: Vec<(u64, TxHash, State, Duration, u64)>,
    sequence: u64,
}

impl Naive {
    fn facts(&self, peer: u64) -> Option<TxPeer> {
        self.peers.iter().find(|known| known.0 == peer).map(|known| known.1)
    }

    fn announced(&mut self, peer: u64, tx: TxHash, now: Duration) {
        let Some(facts) = self.facts(peer) else { return };
        if self.announcements.iter().any(|known| known.0 == peer && known.1.bytes() == tx.bytes()) {
            return;
        }
        let has_wtxid_peer = self.peers.iter().any(|peer| peer.1.relays_wtxids);
        let is_behind = matches!(tx, TxHash::Txid(_)) && has_wtxid_peer;
        let delay = 2 * (u64::from(!facts.is_preferred) + u64::from(is_behind));
        self.announcements.push((peer, tx, State::Delayed, now + secs(delay), self.sequence));
        self.sequence += 1;
    }

    fn tidy(&mut self) {
        let live: Vec<Hash> = self
            .announcements
            .iter()
            .filter(|known| known.2 != State::Completed)
            .map(|known| *known.1.bytes())
            .collect();
        self.announcements.retain(|known| live.contains(known.1.bytes()));
    }

    fn due(&mut self, now: Duration, real: &TxRequests) -> Vec<(PeerId, TxHash)> {
        for known in &mut self.announcements {
            match known.2 {
                State::Delayed if known.3 <= now => known.2 = State::Ready,
                State::Requested if known.3 <= now => known.2 = State::Completed,
                _ => {}
            }
        }
        self.tidy();
        let mut due = Vec::new();
        let hashes: BTreeSet<Hash> =
            self.announcements.iter().map(|known| *known.1.bytes()).collect();
        for hash in hashes {
            let of = |known: &&mut (u64, TxHash, State, Duration, u64)| *known.1.bytes() == hash;
            if self.announcements.iter_mut().filter(of).any(|known| known.2 == State::Requested) {
                continue;
            }
            let ready =
                self.announcements.iter_mut().filter(of).filter(|known| known.2 == State::Ready);
            let best = ready.max_by_key(|known| real.priority(PeerId(known.0), &hash));
            if let Some(best) = best {
                (best.2, best.3) = (State::Requested, now + EXPIRY);
                due.push((best.0, best.4, best.1));
            }
        }
        due.sort_unstable_by_key(|due| (due.0, due.1));
        due.into_iter().map(|due| (PeerId(due.0), due.2)).collect()
    }
}

#[derive(Clone, Debug)]
enum Step {
    Ready(u64, bool, bool),
    Gone(u64),
    Announced(u64, u64, bool),
    Answered(u64, u64),
    Forget(u64),
    Due(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let (peer, tx) = (0_u64..6, 0_u64..5);
    prop_oneof![
        1 => (peer.clone(), any::<bool>(), any::<bool>()).prop_map(|(p, a, b)| Step::Ready(p, a, b)),
        1 => peer.clone().prop_map(Step::Gone),
        8 => (peer.clone(), tx.clone(), any::<bool>()).prop_map(|(p, t, w)| Step::Announced(p, t, w)),
        3 => (peer, tx.clone()).prop_map(|(p, t)| Step::Answered(p, t)),
        1 => tx.prop_map(Step::Forget),
        6 => prop_oneof![0_u64..4, 30_u64..62].prop_map(Step::Due),
    ]
}

proptest! {
    #[test]
    fn it_does_what_lists_would_do(steps in proptest::collection::vec(step(), 1..120)) {
        let (mut real, mut naive) = (requests(&[]), Naive::default());
        let mut now = Duration::ZERO;
        for step in steps {
            match step {
                Step::Ready(peer, is_preferred, relays_wtxids) => {
                    let facts = TxPeer { is_preferred, relays_wtxids };
                    real.peer_ready(PeerId(peer), facts);
                    if naive.facts(peer).is_none() {
                        naive.peers.push((peer, facts));
                    }
                }
                Step::Gone(peer) => {
                    real.peer_gone(PeerId(peer));
                    naive.peers.retain(|known| known.0 != peer);
                    naive.announcements.retain(|known| known.0 != peer);
                    naive.tidy();
                }
                Step::Announced(peer, tx, is_wtxid) => {
                    let wtxid = wtx(tx);
                    let tx = if is_wtxid { wtxid } else { TxHash::Txid(Txid(*wtxid.bytes())) };
                    real.announced(PeerId(peer), tx, now);
                    naive.announced(peer, tx, now);
                }
                Step::Answered(peer, tx) => {
                    real.answered(PeerId(peer), wtx(tx).bytes());
                    let mut known = naive.announcements.iter_mut();
                    if let Some(known) = known.find(|known| known.0 == peer && known.1.bytes() == wtx(tx).bytes()) {
                        known.2 = State::Completed;
                    }
                    naive.tidy();
                }
                Step::Forget(tx) => {
                    real.forget(wtx(tx).bytes());
                    naive.announcements.retain(|known| known.1.bytes() != wtx(tx).bytes());
                }
                Step::Due(later) => {
                    now += secs(later);
                    let expects = real.deadline().is_some_and(|deadline| deadline <= now);
                    let due = real.due(now, |_| false);
                    prop_assert!(due.is_empty() || expects, "the deadline says so");
                    prop_assert_eq!(due, naive.due(now, &real));
                }
            }
            prop_assert_eq!(real.announcements.len(), naive.announcements.len());
            prop_assert_eq!(real.by_hash.len(), real.announcements.len());
            for peer in 0..6 {
                let of = naive.announcements.iter().filter(|known| known.0 == peer);
                let asked = of.clone().filter(|known| known.2 == State::Requested);
                prop_assert_eq!(count(&real, PeerId(peer)), of.count());
                prop_assert_eq!(in_flight(&real, PeerId(peer)), asked.count());
            }
        }
    }
}
