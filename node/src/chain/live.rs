//! The chain of a running node: headers come first, blocks in any order, and somebody wants to know
//! what becomes of them.

use std::collections::VecDeque;

use caesure_consensus::{HeaderId, HeaderTree, Reject, RejectClass};
use caesure_engine::ChainEvent;
use caesure_p2p::BlockState;
use caesure_wire::{BlockHash, Header};
use crossbeam_channel::Receiver;

use super::{Chain, Origin};
use crate::Error;
use crate::pool::{Done, Fault};

/// Headers that the engine took are not judged by the clock again: it may be another one by now.
pub(crate) const ANY_TIME: u32 = u32::MAX - (1 << 20);

impl Chain {
    /// From now on every event is told, the tip first. Blocks that are stored and not judged, after a
    /// stop, take their turn.
    pub(crate) fn go_live(&mut self) {
        self.events = Some(VecDeque::new());
        let is_linked = |id: &HeaderId| self.links.is_linked(*id);
        self.ready = self.open_blocks().into_iter().filter(is_linked).collect();
        self.told = self.tip_id();
        let hash = self.tree.hash(self.told);
        self.tell(ChainEvent::Tip { hash });
    }

    pub(crate) fn next_event(&mut self) -> Option<ChainEvent> {
        self.events.as_mut()?.pop_front()
    }

    /// Where threads say that they are done, to wait for them and others at once.
    pub(crate) const fn done(&self) -> &Receiver<Done> {
        self.pool.done()
    }

    /// Whether another block may be taken without growing beyond what may be in flight.
    pub(crate) const fn has_room(&self) -> bool {
        self.in_flight <= self.memory.in_flight
    }

    /// Whether blocks are with the threads.
    pub(crate) fn waits_for_threads(&self) -> bool {
        !self.queue.is_empty() || !self.checking.is_empty()
    }

    /// What is known of every header's block.
    pub(crate) fn states(&self) -> Vec<BlockState> {
        let state = |id| {
            let is_connected = self.is_over(id);
            BlockState { has_body: self.links.is_stored(id) || is_connected, is_connected }
        };
        self.ids().map(state).collect()
    }

    /// Takes a header that was judged elsewhere, and stored blocks that waited for it.
    pub(crate) fn take_header(&mut self, header: &Header) -> Result<HeaderId, Reject> {
        let id = self.tree.accept(header, ANY_TIME)?;
        let first = self.tree.len();
        if let Some(waiting) = self.waiting.remove(&header.hash()) {
            self.accept_stored(waiting, ANY_TIME);
            self.link_from(first);
        }
        Ok(id)
    }

    /// Takes a block under a header of the tree. It is stored or refused, and connected once its
    /// ancestors are.
    pub(crate) fn take_block(&mut self, hash: BlockHash, bytes: Vec<u8>) {
        let Some(id) = self.tree.find(&hash) else {
            return self.tell_refused(hash, Reject::PrevBlkNotFound.into());
        };
        if self.tree.is_invalid(id) {
            self.tell_refused(hash, Reject::DuplicateInvalid.into());
        } else if self.links.is_stored(id)
            && !self.counts.damaged.contains(&hash)
            && !self.store.reader().is_released(&hash)
        {
            self.tell(ChainEvent::Stored { hash });
        } else {
            let queued = self.prepare(id, bytes, Origin::default(), false);
            self.queue.push_back(queued);
        }
    }

    /// Makes a block the tip, if it has as much work and is valid. Core: `PreciousBlock`.
    pub(crate) fn prefer(&mut self, hash: &BlockHash) -> Result<(), Error> {
        let id = self.known(hash)?;
        let is_behind =
            |chain: &Self| chain.tree.chain_work(id) < chain.tree.chain_work(chain.tip_id());
        if is_behind(self) || self.tree.is_invalid(id) || !self.links.is_linked(id) {
            return Ok(());
        }
        if !self.is_over(id) {
            self.take_stored(id, true)?;
        }
        self.drain()?;
        if !is_behind(self) && self.ledger.world(hash).is_some() {
            self.ledger.choose(hash)?;
        }
        self.tell_tip(true);
        Ok(())
    }

    /// Holds a block for invalid, and all on top of it; the tip is the best of the others once the
    /// chain has done what then is to be done. Core: `InvalidateBlock`.
    pub(crate) fn condemn(&mut self, hash: &BlockHash) -> Result<(), Error> {
        let id = self.known(hash)?;
        let parent = self.tree.parent(id).ok_or(Error::NoSuchBlock(hash.to_string()))?;
        self.conclude_all()?;
        if self.is_below_root(id) {
            self.rewind(parent)?;
        } else {
            self.ledger.discard(hash)?;
        }
        self.tree.mark_invalid(id);
        self.must_search = true;
        Ok(())
    }

    /// Takes the mark of invalidity off a block, its ancestors and descendants.
    /// Core: `ResetBlockFailureFlags`.
    pub(crate) fn reconsider(&mut self, hash: &BlockHash) -> Result<(), Error> {
        let id = self.known(hash)?;
        self.tree.mark_valid(id);
        self.must_search = true;
        self.drain()
    }

    /// Whether one of two blocks stands on the other, or they are one.
    pub(crate) fn are_kin(&self, a: HeaderId, b: HeaderId) -> bool {
        let fork = self.tree.fork_point(a, b);
        fork == a || fork == b
    }

    fn known(&self, hash: &BlockHash) -> Result<HeaderId, Error> {
        self.tree.find(hash).ok_or_else(|| Error::NoSuchBlock(hash.to_string()))
    }

    /// Takes in what is stored of the headers from a number on.
    pub(crate) fn link_from(&mut self, first: usize) {
        for id in self.ids().skip(first) {
            if self.store.reader().contains(&self.tree.hash(id)) {
                self.note_stored(id);
            }
        }
    }

    /// Takes in that a block is stored; those that waited for it take their turn.
    pub(super) fn note_stored(&mut self, id: HeaderId) {
        let parent = self.tree.parent(id).unwrap_or(HeaderTree::GENESIS);
        let is_linked = id == parent || self.links.is_linked(parent) || self.is_over(parent);
        let linked = self.links.store(id, parent, is_linked);
        self.ready.extend(linked);
    }

    pub(crate) fn tell(&mut self, event: ChainEvent) {
        if let Some(events) = &mut self.events {
            events.push_back(event);
        }
    }

    pub(crate) fn tell_refused(&mut self, hash: BlockHash, fault: Fault) {
        let (reason, class) = match fault {
            Fault::Reject(reject) => (reject.to_string(), reject.class()),
            // Another body may stand under the header.
            Fault::Decode(_) => ("Block decode failed".to_owned(), RejectClass::Mutated),
        };
        self.tell(ChainEvent::Refused { hash, reason, class });
    }

    /// Tells the tip if it is another. While work goes on, one with less work may be but a step of the
    /// way to a better one.
    pub(crate) fn tell_tip(&mut self, is_settled: bool) {
        if self.events.is_none() {
            return;
        }
        let tip = self.tip_id();
        let has_more = self.tree.chain_work(self.told) < self.tree.chain_work(tip);
        if tip != self.told && (is_settled || has_more) {
            self.told = tip;
            let hash = self.tree.hash(tip);
            self.tell(ChainEvent::Tip { hash });
        }
    }
}
