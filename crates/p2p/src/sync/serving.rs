use std::sync::Arc;

use caesure_consensus::HeaderId;
use caesure_wire::{
    Block, BlockHash, BlockTxn, BlockTxnRequest, Inventory, Locator, Message, encode_block,
};

use super::headers::MAX_HEADERS;
use super::{Action, Sync};
use crate::{Now, PeerId, compact_block};

/// The most entries of `inv` and `getdata`. Core: `MAX_INV_SZ`.
pub(super) const MAX_INV: usize = 50_000;
/// How much a peer may have asked for that is not begun: entries of `getdata` count one each, a
/// `getblocktxn` one for every 16 of its indices.
pub(super) const MAX_REQUESTS: usize = MAX_INV;
/// How many blocks are read for one peer at a time, answers that wait for earlier ones included.
pub(super) const MAX_READS_PER_PEER: usize = 4;
/// How many blocks are read at a time in all.
pub(super) const MAX_READS: usize = 64;
/// How many transactions are sent before it is looked whether the peer takes more.
const MAX_TXS_AT_ONCE: usize = 64;
/// How many blocks are told by `inv`.
const MAX_BLOCK_INVS: usize = 500;
/// How deep a block is sent as a compact one. Core: `MAX_CMPCTBLOCK_DEPTH`.
const MAX_COMPACT_DEPTH: u32 = 5;
/// How deep single transactions of a block are sent. Core: `MAX_BLOCKTXN_DEPTH`.
const MAX_BLOCKTXN_DEPTH: u32 = 10;
/// How deep a pruned node serves blocks: two more than it promises. Core:
/// `NODE_NETWORK_LIMITED_MIN_BLOCKS`.
const MAX_PRUNED_DEPTH: u32 = 288 + 2;
/// The seconds for which a block that a pruned node announces by `inv` is to be there.
const PRUNED_RESERVE: u32 = 3_600;

/// Something that a peer asked for.
pub(super) enum Request {
    /// An entry of `getdata`.
    Item(Inventory),
    /// A block, announced by a compact one.
    Compact(HeaderId),
    /// Transactions of a recent block.
    Txs(HeaderId, Vec<u16>),
}

impl Request {
    fn cost(&self) -> usize {
        match self {
            Self::Txs(_, indices) => 1 + indices.len() / 16,
            _ => 1,
        }
    }
}

/// How a block is sent.
enum Form {
    Whole,
    /// Without witnesses.
    Stripped,
    Compact,
    Txs(Vec<u16>),
}

/// A block that is read for a peer, or was read and waits for those before it.
pub(super) struct Serving {
    ticket: u64,
    id: HeaderId,
    form: Form,
    block: Option<Arc<Vec<u8>>>,
}

impl Sync {
    /// Core: the part of `ProcessMessage` about `getdata`.
    pub(super) fn on_getdata(&mut self, peer: PeerId, items: Vec<Inventory>) {
        self.serve(peer, items.into_iter().map(Request::Item).collect());
    }

    /// Queues what a peer asked for, and begins with it.
    pub(super) fn serve(&mut self, peer: PeerId, requests: Vec<Request>) {
        let state = self.peer_mut(peer);
        let cost: usize = requests.iter().map(Request::cost).sum();
        if MAX_REQUESTS < state.requested_cost + cost {
            self.disconnect(peer, "it asks for more than it takes");
            return;
        }
        state.requested_cost += cost;
        state.requests.extend(requests);
        self.serve_queued(peer);
    }

    /// Answers in order, as far as the peer takes it. Core: `ProcessGetData`.
    pub(super) fn serve_queued(&mut self, peer: PeerId) {
        let mut missing = Vec::new();
        let sent = self.actions.len() + MAX_TXS_AT_ONCE;
        while let Some(state) = self.peers.get_mut(&peer) {
            if state.is_full || state.is_dropped || MAX_READS_PER_PEER <= state.serving.len() {
                break;
            }
            let is_tx = matches!(state.requests.front(), Some(Request::Item(item)) if is_tx(item));
            if is_tx && (!state.serving.is_empty() || sent <= self.actions.len()) {
                self.is_due = true;
                break;
            }
            if MAX_READS <= self.reads.len() && !is_tx && !state.requests.is_empty() {
                if !std::mem::replace(&mut state.is_waiting, true) {
                    self.waiting.push_back(peer);
                }
                break;
            }
            let Some(request) = state.requests.pop_front() else { break };
            state.requested_cost -= request.cost();
            match request {
                Request::Item(item) if is_tx => missing.extend(self.serve_tx(peer, &item)),
                Request::Item(item) => self.serve_item(peer, &item),
                Request::Compact(id) => self.serve_block(peer, id, Inventory::COMPACT_BLOCK),
                Request::Txs(id, indices) => self.read_for(peer, id, Form::Txs(indices)),
            }
        }
        if !missing.is_empty() {
            self.send(peer, Message::NotFound(missing));
        }
    }

    fn serve_item(&mut self, peer: PeerId, item: &Inventory) {
        let kinds = [Inventory::BLOCK, Inventory::WITNESS_BLOCK, Inventory::COMPACT_BLOCK];
        let id = self.chain.tree.find(&BlockHash(item.hash));
        if let Some(id) = id.filter(|_| kinds.contains(&item.kind)) {
            self.serve_block(peer, id, item.kind);
        }
    }

    /// Core: `ProcessGetBlockData`.
    fn serve_block(&mut self, peer: PeerId, id: HeaderId, kind: u32) {
        // One that was announced when it was stored is shown before it is connected.
        let hash = self.chain.tree.hash(id);
        if !self.chain.may_show(id) && self.recent_block(&hash).is_none() {
            return;
        }
        let height = self.chain.tree.height(id);
        if self.options.pruned && height + MAX_PRUNED_DEPTH < self.chain.height() {
            self.disconnect(peer, "it asks for a block that a pruned node need not have");
            return;
        }
        if !self.chain.has_body(id) {
            return;
        }
        let is_recent = self.chain.height() <= height.saturating_add(MAX_COMPACT_DEPTH);
        let form = match kind {
            Inventory::BLOCK => Form::Stripped,
            Inventory::COMPACT_BLOCK if is_recent && self.chain.is_near_today(self.now) => {
                Form::Compact
            }
            _ => Form::Whole,
        };
        self.read_for(peer, id, form);
    }

    /// The bytes of the last block that came, if it is this one.
    fn recent_block(&self, hash: &BlockHash) -> Option<Arc<Vec<u8>>> {
        let recent = self.recent.as_ref().filter(|recent| recent.hash == *hash);
        recent.map(|recent| Arc::clone(&recent.bytes))
    }

    fn read_for(&mut self, peer: PeerId, id: HeaderId, form: Form) {
        let hash = self.chain.tree.hash(id);
        let state = self.peer_mut(peer);
        // One alone: of many it must be seen in between whether the peer takes more.
        let is_alone = state.requests.is_empty() && state.serving.is_empty();
        if let Some(bytes) = self.recent_block(&hash).filter(|_| is_alone) {
            self.send_block(peer, id, form, bytes);
            return;
        }
        self.ticket += 1;
        let ticket = self.ticket;
        self.reads.insert(ticket, peer);
        self.actions.push_back(Action::Read { ticket, hash });
        self.peer_mut(peer).serving.push_back(Serving { ticket, id, form, block: None });
    }

    /// A stored block that was asked for, or none.
    pub fn read(&mut self, ticket: u64, block: Option<Arc<Vec<u8>>>, now: Now) {
        self.now = now;
        let Some(peer) = self.reads.remove(&ticket) else { return };
        if let Some(state) = self.peers.get_mut(&peer).filter(|state| !state.is_dropped) {
            let serving = state.serving.iter_mut().find(|serving| serving.ticket == ticket);
            match (serving, block) {
                (Some(serving), Some(block)) => serving.block = Some(block),
                _ => self.disconnect(peer, "a block that it asked for cannot be read"),
            }
            self.send_read(peer);
            self.serve_queued(peer);
        }
        while self.reads.len() < MAX_READS {
            let Some(next) = self.waiting.pop_front() else { break };
            if let Some(state) = self.peers.get_mut(&next) {
                state.is_waiting = false;
                self.serve_queued(next);
            }
        }
    }

    /// Sends the blocks that were read, in order.
    fn send_read(&mut self, peer: PeerId) {
        while let Some(state) = self.peers.get_mut(&peer) {
            if state.serving.front().is_none_or(|serving| serving.block.is_none()) {
                break;
            }
            let Some(serving) = state.serving.pop_front() else { break };
            let Some(bytes) = serving.block else { break };
            self.send_block(peer, serving.id, serving.form, bytes);
        }
    }

    fn send_block(&mut self, peer: PeerId, id: HeaderId, form: Form, bytes: Arc<Vec<u8>>) {
        let hash = self.chain.tree.hash(id);
        let message = match (form, Block::parse(bytes.as_slice())) {
            (Form::Whole, _) | (_, Err(_)) => Message::Block(bytes),
            (Form::Stripped, Ok(block)) => {
                let txs: Vec<_> = block.txs().map(|tx| tx.to_owned().encode_stripped()).collect();
                Message::Block(Arc::new(encode_block(block.header(), &txs)))
            }
            (Form::Compact, Ok(block)) => {
                let recent = self.recent.as_ref().filter(|recent| recent.hash == hash);
                let compact = recent.map(|recent| recent.compact.clone());
                let nonce = self.random.u64();
                Message::CmpctBlock(compact.unwrap_or_else(|| compact_block(&block, nonce)))
            }
            (Form::Txs(indices), Ok(block)) => {
                let is_there = |index: &u16| usize::from(*index) < block.tx_count();
                if !indices.iter().all(is_there) {
                    self.punish(peer, "getblocktxn with out-of-bounds tx indices");
                    return;
                }
                let tx = |index: &u16| Arc::new(block.tx((*index).into()).bytes().to_vec());
                Message::BlockTxn(BlockTxn { hash, txs: indices.iter().map(tx).collect() })
            }
        };
        self.send(peer, message);
        let state = self.peer_mut(peer);
        if state.continuation == Some(id) {
            state.continuation = None;
            let hash = self.chain.tree.hash(self.chain.tip).0;
            self.send(peer, Message::Inv(vec![Inventory { kind: Inventory::BLOCK, hash }]));
        }
    }

    pub(super) fn on_getblocktxn(&mut self, peer: PeerId, request: BlockTxnRequest) {
        let Some(id) = self.chain.tree.find(&request.hash) else { return };
        if let Some(bytes) = self.recent_block(&request.hash) {
            self.send_block(peer, id, Form::Txs(request.indices), bytes);
            return;
        }
        if !self.chain.has_body(id) {
            return;
        }
        let is_recent =
            self.chain.height() <= self.chain.tree.height(id).saturating_add(MAX_BLOCKTXN_DEPTH);
        let whole = Inventory { kind: Inventory::WITNESS_BLOCK, hash: request.hash.0 };
        let request = match is_recent {
            true => Request::Txs(id, request.indices),
            false => Request::Item(whole),
        };
        self.serve(peer, vec![request]);
    }

    pub(super) fn on_getheaders(&mut self, peer: PeerId, locator: &Locator) {
        if self.chain.tip_work() < self.chain.minimum_work {
            self.send(peer, Message::Headers(Vec::new()));
            return;
        }
        let stop = self.chain.tree.find(&locator.stop);
        let ids = if locator.hashes.is_empty() {
            let Some(id) = stop.filter(|&id| self.chain.may_show(id)) else { return };
            vec![id]
        } else {
            let fork = self.chain.fork_of(&locator.hashes);
            self.chain.active_from(self.chain.tree.height(fork) + 1, MAX_HEADERS)
        };
        let end = ids.iter().position(|&id| Some(id) == stop).map_or(ids.len(), |last| last + 1);
        let ids = &ids[..end];
        let is_cut = ids.len() == MAX_HEADERS || ids.last().is_some_and(|&id| Some(id) == stop);
        let last = ids.last().copied().filter(|_| is_cut).unwrap_or(self.chain.tip);
        let headers = ids.iter().map(|&id| self.chain.tree.header(id)).collect();
        self.peer_mut(peer).best_sent = Some(last);
        self.send(peer, Message::Headers(headers));
    }

    pub(super) fn on_getblocks(&mut self, peer: PeerId, locator: &Locator) {
        let fork = self.chain.fork_of(&locator.hashes);
        let next = self.chain.tree.height(fork) + 1;
        let spacing = self.options.params.pow_target_spacing;
        let least = self.chain.height().saturating_sub(288 - PRUNED_RESERVE / spacing);
        let is_wanted = |id: &HeaderId| {
            let is_safe = self.chain.has_body(*id) && least < self.chain.tree.height(*id);
            self.chain.tree.hash(*id) != locator.stop && (!self.options.pruned || is_safe)
        };
        let ids = self.chain.active_from(next, MAX_BLOCK_INVS);
        let ids: Vec<_> = ids.into_iter().take_while(is_wanted).collect();
        let item =
            |id: &HeaderId| Inventory { kind: Inventory::BLOCK, hash: self.chain.tree.hash(*id).0 };
        let items: Vec<_> = ids.iter().map(item).collect();
        if items.len() == MAX_BLOCK_INVS {
            self.peer_mut(peer).continuation = ids.last().copied();
        }
        if !items.is_empty() {
            self.send(peer, Message::Inv(items));
        }
    }
}

pub(super) const fn is_tx(item: &Inventory) -> bool {
    matches!(item.kind, Inventory::TX | Inventory::WTX | Inventory::WITNESS_TX)
}
