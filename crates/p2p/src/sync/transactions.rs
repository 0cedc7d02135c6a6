use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use caesure_wire::{BlockHash, Inventory, Message, Tx, Txid, Wtxid};

use super::serving::{MAX_INV, is_tx};
use super::{Action, Sync};
use crate::{ConnectionKind, Now, PeerId, TxHash, TxPeer};

/// The greatest fee filter, which keeps all transactions away: the last step of the scale by which
/// fee filters are rounded. Core: `FeeFilterRounder`, `MAX_MONEY`.
const MAX_FEE_FILTER: i64 = 9_170_997;
/// Core: `AVG_FEEFILTER_BROADCAST_INTERVAL`.
const FEE_FILTER_INTERVAL: Duration = Duration::from_secs(10 * 60);
/// Core: `INBOUND_INVENTORY_BROADCAST_INTERVAL`.
const INBOUND_INTERVAL: Duration = Duration::from_secs(5);
/// Core: `OUTBOUND_INVENTORY_BROADCAST_INTERVAL`.
const OUTBOUND_INTERVAL: Duration = Duration::from_secs(2);
/// How many transactions are announced at a time, and how many more for each thousand that wait.
/// Core: `INVENTORY_BROADCAST_TARGET`, `INVENTORY_BROADCAST_MAX`.
const ANNOUNCED_AT_ONCE: usize = 70;
const MAX_ANNOUNCED_AT_ONCE: usize = 1_000;
/// The most transactions that wait to be announced to a peer; of more it is not told.
pub(super) const MAX_TO_SEND: usize = 5_000;
/// How many of the transactions that a peer knows are remembered at least; at most twice as many.
pub(super) const MAX_KNOWN: usize = 25_000;
/// The most entries of a `getdata`. Core: `MAX_GETDATA_SZ`.
const MAX_GETDATA: usize = 1_000;

/// What became of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TxVerdict {
    /// It is in the pool from now on, and is announced.
    Accepted,
    /// It is not taken; nobody is to blame.
    Refused,
    /// It was put aside until these are there.
    MissingParents(Vec<Txid>),
}

/// Where transactions go to and come from: the mempool.
pub trait TxPool {
    /// Returns whether it takes transactions at all.
    fn is_open(&self) -> bool;

    /// Returns whether a transaction need not be asked for: it is there, was refused, or was put
    /// aside.
    fn knows(&self, tx: &TxHash) -> bool;

    /// Returns a transaction, whole, that may be shown to peers.
    fn get(&self, tx: &TxHash) -> Option<Arc<Vec<u8>>>;

    /// Takes a transaction.
    fn accept(&mut self, tx: &Arc<Vec<u8>>) -> TxVerdict;

    /// Returns the least fee rate that it takes, in satoshi per 1,000 vbytes, rounded so that it does
    /// not give the pool away.
    fn min_fee_rate(&self) -> i64;

    /// Returns whether a transaction pays a fee rate, in satoshi per 1,000 vbytes.
    fn pays(&self, tx: &TxHash, fee_rate: i64) -> bool;

    /// Returns all that compact blocks may be put together of.
    fn transactions(&self) -> Box<dyn Iterator<Item = (Wtxid, &Arc<Vec<u8>>)> + '_>;
}

/// A pool that takes nothing.
#[derive(Clone, Copy, Debug)]
pub struct NoPool;

impl TxPool for NoPool {
    fn is_open(&self) -> bool {
        false
    }

    fn knows(&self, _: &TxHash) -> bool {
        true
    }

    fn get(&self, _: &TxHash) -> Option<Arc<Vec<u8>>> {
        None
    }

    fn accept(&mut self, _: &Arc<Vec<u8>>) -> TxVerdict {
        TxVerdict::Refused
    }

    fn min_fee_rate(&self) -> i64 {
        MAX_FEE_FILTER
    }

    fn pays(&self, _: &TxHash, _: i64) -> bool {
        false
    }

    fn transactions(&self) -> Box<dyn Iterator<Item = (Wtxid, &Arc<Vec<u8>>)> + '_> {
        Box::new(std::iter::empty())
    }
}

/// What was said to and by a peer of transactions. Core: `Peer::TxRelay`.
#[derive(Default)]
pub(super) struct TxRelay {
    fee_filter_sent: i64,
    next_fee_filter: Duration,
    pub(super) fee_filter: i64,
    next_inv: Duration,
    pub(super) to_send: BTreeSet<TxHash>,
    known: [BTreeSet<u64>; 2],
}

impl TxRelay {
    /// Remembers that the peer knows a transaction. Core: `m_tx_inventory_known_filter`.
    fn note_known(&mut self, hash: &[u8; 32]) {
        if MAX_KNOWN <= self.known[0].len() {
            self.known[1] = std::mem::take(&mut self.known[0]);
        }
        self.known[0].insert(key(hash));
    }

    fn knows(&self, hash: &[u8; 32]) -> bool {
        self.known.iter().any(|known| known.contains(&key(hash)))
    }
}

fn key(hash: &[u8; 32]) -> u64 {
    u64::from_le_bytes(*hash.first_chunk().expect("a hash has 8 bytes"))
}

impl Sync {
    /// Whether transactions are listened to.
    fn takes_txs(&self) -> bool {
        self.pool.is_open() && (!self.is_initial_download || self.options.relays_before_tip)
    }

    pub(super) fn on_inv(&mut self, peer: PeerId, items: &[Inventory], now: Now) {
        if MAX_INV < items.len() {
            self.punish(peer, "too many entries in inv");
            return;
        }
        let (rejects_txs, takes_txs) = (self.rejects_txs(peer), self.takes_txs());
        let wtxid_relay = self.peers[&peer].facts.wtxid_relay;
        let ignored = if wtxid_relay { Inventory::TX } else { Inventory::WTX };
        let mut unknown = None;
        for item in items.iter().filter(|item| item.kind != ignored) {
            let hash = BlockHash(item.hash);
            if item.kind == Inventory::BLOCK {
                self.note_available(peer, &hash);
                if self.chain.tree.find(&hash).is_none() {
                    unknown = Some(hash);
                }
            } else if is_tx(item) {
                if rejects_txs {
                    self.disconnect(peer, "it announces transactions that are not wanted");
                    return;
                }
                let tx = tx_hash(item);
                if takes_txs {
                    self.peer_mut(peer).txs.note_known(&item.hash);
                    if !self.pool.knows(&tx) {
                        self.requests.announced(peer, tx, now.mono);
                        self.is_due = true;
                    }
                }
            }
        }
        if let Some(unknown) = unknown {
            self.ask_after_inv(peer, unknown, now);
        }
    }

    /// Asks for the headers to an unknown block: once for an `inv`; before headers are asked of all,
    /// once for a peer, and of one peer for a block.
    fn ask_after_inv(&mut self, peer: PeerId, block: BlockHash, now: Now) {
        let state = &self.peers[&peer];
        let is_syncing = state.is_syncing;
        if is_syncing || (!state.was_asked_for_inv && self.last_inv_asked != Some(block)) {
            self.ask_for_headers(peer, self.chain.tree.best(), now);
            if !is_syncing {
                self.peer_mut(peer).was_asked_for_inv = true;
                self.last_inv_asked = Some(block);
            }
        }
    }

    pub(super) fn on_tx(&mut self, peer: PeerId, bytes: &Arc<Vec<u8>>, now: Now) {
        if self.rejects_txs(peer) {
            self.disconnect(peer, "it sends transactions that are not wanted");
            return;
        }
        if !self.takes_txs() {
            return;
        }
        let Ok(tx) = Tx::parse(bytes.as_slice()) else { return };
        let (txid, wtxid) = (tx.view().txid(), tx.view().wtxid());
        self.requests.answered(peer, &txid.0);
        self.requests.answered(peer, &wtxid.0);
        let known = if self.peers[&peer].facts.wtxid_relay { wtxid.0 } else { txid.0 };
        self.peer_mut(peer).txs.note_known(&known);
        if self.pool.knows(&TxHash::Wtxid(wtxid)) {
            return;
        }
        match self.pool.accept(bytes) {
            TxVerdict::Accepted => {
                self.actions.push_back(Action::NoteTx(peer));
                self.announce_tx(txid, wtxid);
            }
            TxVerdict::Refused => {
                self.requests.forget(&txid.0);
                self.requests.forget(&wtxid.0);
            }
            TxVerdict::MissingParents(parents) => {
                for parent in parents {
                    let parent = TxHash::Txid(parent);
                    if !self.pool.knows(&parent) {
                        self.requests.announced(peer, parent, now.mono);
                    }
                }
                self.is_due = true;
            }
        }
    }

    /// Has a transaction of the pool announced to all peers that want it. Core:
    /// `InitiateTxBroadcastToAll`.
    pub fn announce_tx(&mut self, txid: Txid, wtxid: Wtxid) {
        self.requests.forget(&txid.0);
        self.requests.forget(&wtxid.0);
        for state in self.peers.values_mut().filter(|state| state.facts.relays_txs) {
            let (tx, hash) = match state.facts.wtxid_relay {
                true => (TxHash::Wtxid(wtxid), wtxid.0),
                false => (TxHash::Txid(txid), txid.0),
            };
            if !state.txs.knows(&hash) && state.txs.to_send.len() < MAX_TO_SEND {
                state.txs.to_send.insert(tx);
                self.is_due = true;
            }
        }
    }

    /// Announces transactions, a few at a time, when it is the peer's turn.
    pub(super) fn poll_announcements(&mut self, peer: PeerId, now: Now) {
        let state = self.peers.get_mut(&peer).expect("the caller found the peer");
        if state.txs.to_send.is_empty() || now.mono < state.txs.next_inv {
            return;
        }
        state.txs.next_inv = if state.facts.kind == ConnectionKind::Inbound {
            // All that dialled are told at one time, so that many of them see no more than one.
            if self.next_inbound_inv <= now.mono {
                self.next_inbound_inv = now.mono + self.random.exponential(INBOUND_INTERVAL);
            }
            self.next_inbound_inv
        } else {
            now.mono + self.random.exponential(OUTBOUND_INTERVAL)
        };
        let waiting = state.txs.to_send.len();
        let count = (ANNOUNCED_AT_ONCE + waiting / 1_000 * 5).min(MAX_ANNOUNCED_AT_ONCE);
        let mut items = Vec::new();
        while items.len() < count {
            let Some(tx) = state.txs.to_send.pop_first() else { break };
            let item = inventory(&tx);
            let is_wanted = self.pool.pays(&tx, state.txs.fee_filter);
            if is_wanted && self.pool.get(&tx).is_some() && !state.txs.knows(&item.hash) {
                state.txs.note_known(&item.hash);
                items.push(item);
            }
        }
        if !items.is_empty() {
            self.send(peer, Message::Inv(items));
        }
        self.is_due = true;
    }

    /// Asks for the transactions whose turn it is.
    pub(super) fn poll_requests(&mut self, now: Now) {
        let pool = &self.pool;
        let due = self.requests.due(now.mono, |tx| pool.knows(tx));
        for of_peer in due.chunk_by(|a, b| a.0 == b.0) {
            let peer = of_peer[0].0;
            let Some(state) = self.peers.get(&peer) else { continue };
            let by_txid =
                if state.serves_witnesses() { Inventory::WITNESS_TX } else { Inventory::TX };
            let item = |(_, tx): &(PeerId, TxHash)| match tx {
                TxHash::Wtxid(_) => inventory(tx),
                TxHash::Txid(hash) => Inventory { kind: by_txid, hash: hash.0 },
            };
            let items: Vec<_> = of_peer.iter().map(item).collect();
            for items in items.chunks(MAX_GETDATA) {
                self.send(peer, Message::GetData(items.to_vec()));
            }
        }
    }

    /// Answers one entry of `getdata`; returns it when the transaction is not there.
    pub(super) fn serve_tx(&mut self, peer: PeerId, item: &Inventory) -> Option<Inventory> {
        if !self.peers[&peer].facts.relays_txs {
            return None;
        }
        let Some(bytes) = self.pool.get(&tx_hash(item)) else { return Some(*item) };
        let bytes = match Tx::parse(bytes.as_slice()) {
            Ok(tx) if item.kind == Inventory::TX => {
                Arc::new(tx.view().to_owned().encode_stripped())
            }
            _ => bytes,
        };
        self.send(peer, Message::Tx(bytes));
        None
    }

    pub(super) fn on_not_found(&mut self, peer: PeerId, items: &[Inventory], now: Now) {
        for item in items {
            match item.kind {
                _ if is_tx(item) => self.requests.answered(peer, &item.hash),
                Inventory::BLOCK | Inventory::WITNESS_BLOCK | Inventory::COMPACT_BLOCK => {
                    self.on_block_not_found(peer, &BlockHash(item.hash), now);
                }
                _ => {}
            }
        }
    }

    /// Tells the peer which transactions are wanted, when that changed. Core: `MaybeSendFeefilter`.
    pub(super) fn poll_fee_filter(&mut self, peer: PeerId, now: Now) {
        let is_behind = !self.takes_txs();
        let filter = if is_behind { MAX_FEE_FILTER } else { self.pool.min_fee_rate() };
        let state = self.peers.get_mut(&peer).expect("the caller found the peer");
        let is_told = state.facts.kind != ConnectionKind::BlockRelay
            && super::FEE_FILTER_VERSION <= state.facts.version;
        if self.options.blocks_only || !is_told {
            return;
        }
        let is_out = !is_behind && state.txs.fee_filter_sent == MAX_FEE_FILTER;
        if is_out || state.txs.next_fee_filter <= now.mono {
            let next = now.mono + self.random.exponential(FEE_FILTER_INTERVAL);
            state.txs.next_fee_filter = next;
            if std::mem::replace(&mut state.txs.fee_filter_sent, filter) != filter {
                self.send(peer, Message::FeeFilter(filter));
            }
        }
    }

    pub(super) fn add_tx_peer(&mut self, peer: PeerId) {
        let state = &self.peers[&peer];
        let is_preferred = !state.is_inbound();
        let relays_wtxids = state.facts.wtxid_relay;
        let facts = TxPeer { is_preferred, relays_wtxids };
        self.requests.peer_ready(peer, facts);
    }
}

fn tx_hash(item: &Inventory) -> TxHash {
    match item.kind {
        Inventory::WTX => TxHash::Wtxid(Wtxid(item.hash)),
        _ => TxHash::Txid(Txid(item.hash)),
    }
}

fn inventory(tx: &TxHash) -> Inventory {
    match tx {
        TxHash::Wtxid(hash) => Inventory { kind: Inventory::WTX, hash: hash.0 },
        TxHash::Txid(hash) => Inventory { kind: Inventory::TX, hash: hash.0 },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_peer_knows_is_remembered_of_25000_to_50000_transactions() {
        let mut relay = TxRelay::default();
        let hash = |n: u64| {
            let mut hash = [0; 32];
            hash[..8].copy_from_slice(&n.to_le_bytes());
            hash
        };
        for n in 0..200_000 {
            relay.note_known(&hash(n));
            assert!(relay.known.iter().map(BTreeSet::len).sum::<usize>() <= 2 * MAX_KNOWN);
        }
        assert!((175_000..200_000).all(|n| relay.knows(&hash(n))));
        assert!(!relay.knows(&hash(0)));
    }
}
