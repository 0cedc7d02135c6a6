use core::mem;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use caesure_hash::siphash24;
use caesure_wire::{Txid, Wtxid};

use crate::{PeerId, Random};

/// By how much a peer that we did not dial is asked later. Core: `NONPREF_PEER_TX_DELAY`.
const UNPREFERRED_DELAY: Duration = Duration::from_secs(2);

/// By how much a txid is asked for later while there are peers that announce by wtxid. Core:
/// `TXID_RELAY_DELAY`.
const TXID_DELAY: Duration = Duration::from_secs(2);

/// By how much a peer that owes many answers is asked later. Core: `OVERLOADED_PEER_TX_DELAY`.
const OVERLOADED_DELAY: Duration = Duration::from_secs(2);

/// How long a peer has to answer before another is asked. Core: `GETDATA_TX_INTERVAL`.
const EXPIRY: Duration = Duration::from_secs(60);

type Hash = [u8; 32];

/// By which hash a transaction was announced. Core: `GenTxid`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TxHash {
    /// Without its witnesses.
    Txid(Txid),
    /// With them. Spec: BIP-0339.
    Wtxid(Wtxid),
}

impl TxHash {
    /// Returns the hash, whichever it is.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; 32] {
        match self {
            Self::Txid(Txid(hash)) | Self::Wtxid(Wtxid(hash)) => hash,
        }
    }
}

/// What matters of a peer for the order in which transactions are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TxPeer {
    /// Whether we dialled it: it is asked first, and at once.
    pub is_preferred: bool,
    /// Whether it announces by wtxid.
    pub relays_wtxids: bool,
}

/// Which peer is asked for which transaction, and when.
///
/// A transaction is asked of one peer at a time, those that we dialled first, else of one that a salt
/// picks; after 60 seconds without an answer, of the next that announced it. So a peer can neither
/// keep a transaction away for longer, nor tell how to be the first who is asked. At most
/// [`MAX_PER_PEER`](Self::MAX_PER_PEER) announcements of a peer are kept. Core: `TxRequestTracker`,
/// `TxDownloadManager`.
#[derive(Clone, Debug, Default)]
pub struct TxRequests {
    salt: [u64; 2],
    /// How many announcements there have been.
    sequence: u64,
    peers: BTreeMap<PeerId, Peer>,
    wtxid_peers: usize,
    announcements: BTreeMap<(PeerId, Hash), Announcement>,
    /// All, by transaction, state and priority.
    by_hash: BTreeSet<(Hash, State, u64, PeerId)>,
    /// Those that wait for a time.
    by_time: BTreeSet<(Duration, PeerId, Hash)>,
    /// The transactions that can be asked for and are not.
    open: BTreeSet<Hash>,
}

#[derive(Clone, Copy, Debug)]
struct Peer {
    facts: TxPeer,
    count: usize,
    in_flight: usize,
}

#[derive(Clone, Copy, Debug)]
struct Announcement {
    tx: TxHash,
    state: State,
    /// Until when it waits, when it does.
    time: Duration,
    sequence: u64,
}

/// The order is that of [`TxRequests::by_hash`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    /// The peer may be asked later.
    Delayed,
    /// The peer may be asked.
    Ready,
    /// The peer was asked.
    Requested,
    /// The peer has answered or did not in time, and is not asked again.
    Completed,
}

impl TxRequests {
    /// The most announcements of a peer that are kept. Core: `MAX_PEER_TX_ANNOUNCEMENTS`.
    pub const MAX_PER_PEER: usize = 5_000;
    /// From how many unanswered requests on a peer is asked later than others. Core:
    /// `MAX_PEER_TX_REQUEST_IN_FLIGHT`.
    pub const MANY_IN_FLIGHT: usize = 100;

    /// Makes an empty one; the seed salts which of several peers is asked.
    #[must_use]
    pub fn new(random: &mut Random) -> Self {
        Self { salt: [random.u64(), random.u64()], ..Self::default() }
    }

    /// Takes a peer in.
    pub fn peer_ready(&mut self, peer: PeerId, facts: TxPeer) {
        self.peers.entry(peer).or_insert_with(|| {
            self.wtxid_peers += usize::from(facts.relays_wtxids);
            Peer { facts, count: 0, in_flight: 0 }
        });
    }

    /// Forgets a peer and what it announced.
    pub fn peer_gone(&mut self, peer: PeerId) {
        let all = (peer, [0; 32])..=(peer, [0xff; 32]);
        let hashes: Vec<Hash> = self.announcements.range(all).map(|(key, _)| key.1).collect();
        for hash in hashes {
            self.remove(peer, hash);
            self.settle(hash);
        }
        if let Some(gone) = self.peers.remove(&peer) {
            self.wtxid_peers -= usize::from(gone.facts.relays_wtxids);
        }
    }

    /// Takes an announcement of a transaction that we do not have. `now` is [`Now::mono`](crate::Now).
    pub fn announced(&mut self, peer: PeerId, tx: TxHash, now: Duration) {
        let Some(Peer { facts, count, in_flight }) = self.peers.get(&peer).copied() else { return };
        if Self::MAX_PER_PEER <= count || self.announcements.contains_key(&(peer, *tx.bytes())) {
            return;
        }
        let is_behind = matches!(tx, TxHash::Txid(_)) && 0 < self.wtxid_peers;
        let is_overloaded = Self::MANY_IN_FLIGHT <= in_flight;
        let delays = [
            (!facts.is_preferred, UNPREFERRED_DELAY),
            (is_behind, TXID_DELAY),
            (is_overloaded, OVERLOADED_DELAY),
        ];
        let delay: Duration = delays.iter().filter(|delay| delay.0).map(|delay| delay.1).sum();
        let (state, time) = (State::Delayed, now.saturating_add(delay));
        self.insert(peer, Announcement { tx, state, time, sequence: self.sequence });
        self.sequence += 1;
    }

    /// Returns what is to be asked for now, of whom, grouped by peer, each in the order in which it
    /// announced; it counts as asked for. What `has` tells to be there meanwhile is forgotten.
    #[expect(clippy::missing_panics_doc, reason = "the indices agree")]
    pub fn due(&mut self, now: Duration, has: impl Fn(&TxHash) -> bool) -> Vec<(PeerId, TxHash)> {
        while let Some((_, peer, hash)) = self.by_time.first().copied().filter(|due| due.0 <= now) {
            let state = match self.announcements[&(peer, hash)].state {
                State::Delayed => State::Ready,
                _ => State::Completed,
            };
            self.change(peer, hash, state, now);
            self.settle(hash);
        }
        let mut due = Vec::new();
        for hash in mem::take(&mut self.open) {
            let (.., peer) = self.best(hash).expect("one is ready");
            let Announcement { tx, sequence, .. } = self.announcements[&(peer, hash)];
            if has(&tx) {
                self.forget(&hash);
            } else {
                self.change(peer, hash, State::Requested, now.saturating_add(EXPIRY));
                due.push((peer, sequence, tx));
            }
        }
        due.sort_unstable_by_key(|(peer, sequence, _)| (*peer, *sequence));
        due.into_iter().map(|(peer, _, tx)| (peer, tx)).collect()
    }

    /// Returns when [`due`](Self::due) may have something; none while nothing waits.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        match self.open.is_empty() {
            true => self.by_time.first().map(|first| first.0),
            false => Some(Duration::ZERO),
        }
    }

    /// Notes that a peer answered, with the transaction or with `notfound`, under either hash.
    pub fn answered(&mut self, peer: PeerId, hash: &[u8; 32]) {
        if self.announcements.contains_key(&(peer, *hash)) {
            self.change(peer, *hash, State::Completed, Duration::ZERO);
            self.settle(*hash);
        }
    }

    /// Forgets a transaction: it was accepted, or refused for good.
    pub fn forget(&mut self, hash: &[u8; 32]) {
        let all = self.by_hash.range(first(*hash, State::Delayed)..=last(*hash, State::Completed));
        let peers: Vec<PeerId> = all.map(|(.., peer)| *peer).collect();
        for peer in peers {
            self.remove(peer, *hash);
        }
        self.open.remove(hash);
    }

    /// Core: `PriorityComputer`.
    fn priority(&self, peer: PeerId, hash: &Hash) -> u64 {
        let mut bytes = [0; 40];
        bytes[..32].copy_from_slice(hash);
        bytes[32..].copy_from_slice(&peer.0.to_le_bytes());
        let is_preferred = self.peers.get(&peer).is_some_and(|peer| peer.facts.is_preferred);
        siphash24(self.salt[0], self.salt[1], &bytes) >> 1 | u64::from(is_preferred) << 63
    }

    fn key(&self, peer: PeerId, hash: Hash, state: State) -> (Hash, State, u64, PeerId) {
        let priority = if state == State::Ready { self.priority(peer, &hash) } else { 0 };
        (hash, state, priority, peer)
    }

    /// The announcement whose peer is to be asked next.
    fn best(&self, hash: Hash) -> Option<(Hash, State, u64, PeerId)> {
        self.by_hash
            .range(first(hash, State::Ready)..=last(hash, State::Ready))
            .next_back()
            .copied()
    }

    fn insert(&mut self, peer: PeerId, announcement: Announcement) {
        let Announcement { tx, state, time, .. } = announcement;
        let hash = *tx.bytes();
        self.by_hash.insert(self.key(peer, hash, state));
        if matches!(state, State::Delayed | State::Requested) {
            self.by_time.insert((time, peer, hash));
        }
        self.announcements.insert((peer, hash), announcement);
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.count += 1;
            peer.in_flight += usize::from(state == State::Requested);
        }
    }

    fn remove(&mut self, peer: PeerId, hash: Hash) -> Option<Announcement> {
        let announcement = self.announcements.remove(&(peer, hash))?;
        let state = announcement.state;
        self.by_hash.remove(&self.key(peer, hash, state));
        self.by_time.remove(&(announcement.time, peer, hash));
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.count -= 1;
            peer.in_flight -= usize::from(state == State::Requested);
        }
        Some(announcement)
    }

    fn change(&mut self, peer: PeerId, hash: Hash, state: State, time: Duration) {
        if let Some(announcement) = self.remove(peer, hash) {
            self.insert(peer, Announcement { state, time, ..announcement });
        }
    }

    /// Notes whether a transaction can be asked for, after a change; forgets it when nobody is
    /// left to ask.
    fn settle(&mut self, hash: Hash) {
        let mut left =
            self.by_hash.range(first(hash, State::Delayed)..first(hash, State::Completed));
        if left.next().is_none() {
            self.forget(&hash);
            return;
        }
        let mut asked =
            self.by_hash.range(first(hash, State::Requested)..first(hash, State::Completed));
        if asked.next().is_none() && self.best(hash).is_some() {
            self.open.insert(hash);
        } else {
            self.open.remove(&hash);
        }
    }
}

const fn first(hash: Hash, state: State) -> (Hash, State, u64, PeerId) {
    (hash, state, 0, PeerId(0))
}

const fn last(hash: Hash, state: State) -> (Hash, State, u64, PeerId) {
    (hash, state, u64::MAX, PeerId(u64::MAX))
}

#[cfg(test)]
mod tests;
