//! A block in its turn: stored, connected to its parent's world, committed or dropped.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use caesure_consensus::{BlockTotals, HeaderId, Reject, RejectClass, connect_block};
use caesure_engine::ChainEvent;
use caesure_ledger::{Resolved, Sums};
use caesure_wire::Header;

use super::{Chain, Checking, Origin, Queued, Refusal, Store};
use crate::pool::{Body, Fault, Job, Scripts, guarded};
use crate::{Error, clock};

/// How many blocks may wait for their scripts.
const CHECKING_MAX: usize = 64;
/// How many inputs a thread takes at a time; a transaction is not divided.
const CHUNK_INPUTS: usize = 48;

impl Chain {
    pub(super) fn advance(&mut self) -> Result<(), Error> {
        loop {
            // A branch far below the tip is held as long as a block of it is not yet committed.
            let is_on_way = self.checking.len() == 1
                && self.queue.front().is_some_and(|it| it.is_needed || it.has_sound_ancestors);
            if !is_on_way && self.checking.front().is_some_and(|front| front.open_parts == 0) {
                let front = self.checking.pop_front().expect("there is a front");
                guarded(self.tree.hash(front.id), || self.conclude(front))?;
                continue;
            }
            let has_room = self.checking.is_empty()
                || is_on_way
                || (self.checking.len() < CHECKING_MAX && self.checking_coins < self.memory.coins);
            if has_room && self.queue.front().is_some_and(|front| front.body.is_some()) {
                let front = self.queue.pop_front().expect("there is a front");
                guarded(front.context.hash, || self.settle(front))?;
                continue;
            }
            return Ok(());
        }
    }

    /// A block's turn has come: it is stored, and connected to its parent's world.
    pub(super) fn settle(&mut self, mut queued: Queued) -> Result<(), Error> {
        let body = match queued.body.take().expect("a block settles once it is prepared") {
            Ok(body) => body,
            Err(fault) => {
                self.in_flight -= queued.size;
                self.judge(queued.id, queued.origin, fault, None);
                return Ok(());
            }
        };
        let hash = queued.context.hash;
        if !queued.is_stored && self.tree.is_invalid(queued.id) {
            self.in_flight -= queued.size;
            self.counts.skipped += 1;
            self.tell_refused(hash, Reject::BadPrevblk.into());
            return Ok(());
        }
        let was_known = !queued.is_stored && self.is_sound(&hash);
        if let Store::Writer(store) = &mut self.store
            && !queued.is_stored
        {
            store.append(body.block.bytes(), &hash)?;
            self.counts.damaged.remove(&hash);
            queued.is_stored = true;
            self.note_stored(queued.id);
            self.tell(ChainEvent::Stored { hash });
        }
        let is_over = if was_known {
            self.counts.duplicates += 1;
            true
        } else if self.tree.is_invalid(queued.id) || !self.links.is_linked(queued.id) {
            self.counts.skipped += 1;
            true
        } else if self.ledger.holds(&hash) {
            true
        } else {
            !queued.is_needed && self.is_behind(queued.id) && self.later.insert(queued.id)
        };
        if is_over {
            self.in_flight -= queued.size;
            return Ok(());
        }
        let (begun, looks_for_overwrites) = (clock::instant(), queued.context.checks_bip30);
        match self.ledger.resolve(&body.block, &body.txids, looks_for_overwrites)? {
            Some(resolved) => self.connect(queued, body, resolved, begun),
            None => self.fetch_ancestors(queued, body),
        }
    }

    pub(super) fn connect(
        &mut self,
        queued: Queued,
        body: Arc<Body>,
        resolved: Resolved,
        begun: Instant,
    ) -> Result<(), Error> {
        let Queued { ticket, id, context, origin, size, .. } = queued;
        let Resolved { prevouts, overwrites, .. } = &resolved;
        let (params, tree) = (&self.params, &self.tree);
        match connect_block(&body.block, &context, params, tree, prevouts, *overwrites) {
            Ok(BlockTotals { fees, subsidy, .. }) => {
                let sums = Sums { chain_work: self.tree.chain_work(id), fees, subsidy };
                self.ledger.extend(&body.block, &body.txids, &resolved, sums)?;
            }
            Err(reject) => {
                self.in_flight -= size;
                self.judge(id, origin, reject.into(), None);
                return Ok(());
            }
        }
        let scripts = Scripts { body, prevouts: resolved.prevouts, flags: context.flags };
        let is_assumed_valid = self.is_assumed_valid(id);
        // A block that left the window and comes back is resolved anew, but not run: what its inputs
        // spend is the same.
        let is_known = is_assumed_valid || self.tree.has_valid_scripts(id);
        let open_parts = if is_known { 0 } else { self.check_scripts(ticket, &scripts) };
        let coins = scripts.prevouts.iter().flatten().map(|coin| &coin.script_pubkey);
        let long = coins.filter(|script| script.spilled()).map(|script| 16 + script.len());
        let coins_size = size_of_val(&*scripts.prevouts) + long.sum::<usize>();
        self.checking_coins += coins_size;
        self.checking.push_back(Checking {
            ticket,
            begun,
            id,
            origin,
            scripts,
            size,
            coins_size,
            is_assumed_valid,
            open_parts,
            faults: Vec::new(),
        });
        Ok(())
    }

    /// Hands the scripts out in parts and returns how many there are.
    pub(super) fn check_scripts(&self, ticket: u64, scripts: &Scripts) -> usize {
        let block = &scripts.body.block;
        let (mut parts, mut start, mut first_input, mut inputs) = (0, 1, 0, 0);
        for end in 1..=block.tx_count() {
            if CHUNK_INPUTS <= inputs || (end == block.tx_count() && 0 < inputs) {
                let (txs, scripts) = (start..end, scripts.clone());
                self.pool.check(Job::Scripts { ticket, scripts, txs, first_input });
                parts += 1;
                first_input += inputs;
                (start, inputs) = (end, 0);
            }
            if end < block.tx_count() {
                inputs += block.tx(end).input_count();
            }
        }
        parts
    }

    /// Concludes all blocks that wait for their scripts.
    pub(super) fn conclude_all(&mut self) -> Result<(), Error> {
        while let Some(front) = self.checking.front() {
            if front.open_parts == 0 {
                let front = self.checking.pop_front().expect("there is a front");
                self.conclude(front)?;
            } else {
                self.wait();
            }
        }
        Ok(())
    }

    /// All scripts of the oldest block are checked: it is committed, or it falls with what is on it.
    pub(super) fn conclude(&mut self, mut checked: Checking) -> Result<(), Error> {
        self.in_flight -= checked.size;
        self.checking_coins -= checked.coins_size;
        checked.faults.sort_unstable();
        let hash = self.tree.hash(checked.id);
        if let Some(&first) = checked.faults.first() {
            let Some(report) = &mut self.on_script_fault else {
                self.ledger.discard(&hash)?;
                let fault = Reject::BlockScriptVerifyFlagFailed(first.error).into();
                let input = Some((first.tx, first.input));
                self.judge(checked.id, checked.origin, fault, input);
                self.drop_descendants();
                return Ok(());
            };
            report(&checked.scripts, &checked.faults)?;
            self.counts.invalid += 1;
        } else if !checked.is_assumed_valid {
            self.tree.mark_scripts_valid(checked.id);
        }
        self.ledger.commit(&hash)?;
        let block = &checked.scripts.body.block;
        self.counts.connected += 1;
        self.times.observe(checked.begun.elapsed());
        self.counts.txs += block.tx_count() as u64;
        let inputs = checked.scripts.prevouts.len() as u64;
        self.counts.inputs += inputs;
        self.counts.scripts_skipped += if checked.is_assumed_valid { inputs } else { 0 };
        self.counts.bytes += block.bytes().len() as u64;
        self.tell(ChainEvent::Connected { hash });
        self.tell_tip(false);
        self.checkpoint()
    }

    /// Takes blocks out whose ancestor was just found invalid.
    pub(super) fn drop_descendants(&mut self) {
        let is_invalid = |checking: &Checking| self.tree.is_invalid(checking.id);
        let (dropped, kept): (VecDeque<Checking>, _) =
            self.checking.drain(..).partition(is_invalid);
        self.checking = kept;
        for checking in dropped {
            self.in_flight -= checking.size;
            self.checking_coins -= checking.coins_size;
            self.counts.skipped += 1;
        }
    }

    /// Remembers a fault against the hash, unless another body may stand under the same header.
    pub(super) fn judge(
        &mut self,
        id: HeaderId,
        origin: Origin,
        fault: Fault,
        input: Option<(usize, usize)>,
    ) {
        if let Fault::Reject(reject) = fault
            && reject.class() != RejectClass::Mutated
        {
            self.tree.mark_invalid(id);
            self.must_search |= self.events.is_some();
        }
        let (height, hash) = (Some(self.tree.height(id)), self.tree.hash(id));
        self.refuse(Refusal { origin, height, hash, fault, input });
    }

    pub(super) fn refuse_header(&mut self, header: &Header, origin: Origin, reject: Reject) {
        let parent = self.tree.find(&header.prev_block);
        let height = parent.map(|parent| self.tree.height(parent) + 1);
        let (hash, fault) = (header.hash(), reject.into());
        self.refuse(Refusal { origin, height, hash, fault, input: None });
    }

    pub(super) fn refuse(&mut self, refusal: Refusal) {
        self.counts.invalid += 1;
        self.tell_refused(refusal.hash, refusal.fault);
        self.counts.first_invalid.get_or_insert(refusal);
    }
}
