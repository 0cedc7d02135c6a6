use std::collections::VecDeque;

use caesure_consensus::{
    COINBASE_MATURITY, LOCKTIME_THRESHOLD, MAX_BLOCK_SIGOPS_COST, MAX_BLOCK_WEIGHT, Network,
    Params, subsidy,
};
use caesure_hash::sha256d;
use caesure_script::opcode::OP_RETURN;
use caesure_wire::{Block, BlockHash, OutPoint, Transaction, TxIn, TxOut, Txid};

use crate::rng::Rng;
use crate::spend::{Coin, Draft, KEY_COUNT, Keys, Lock, TREE_SEQUENCE, Template, Wrap, push, sign};
use crate::{Error, Options, Profile, Summary, coinbase, mine_block};

/// The limits of a block, less what the header and the coinbase may take.
const MAX_WEIGHT: usize = MAX_BLOCK_WEIGHT - 4_000;
const MAX_SIGOPS: usize = MAX_BLOCK_SIGOPS_COST - 400;
/// Outputs of a transaction that fills the pool.
const FAN_OUT: usize = 500;
/// The bit of a sequence number that makes it count 512 seconds. Spec: BIP-0068.
const SEQUENCE_TIME: u32 = 1 << 22;

/// The first block's time, 2020-01-01, and the seconds in which a chain ends: four years.
const START_TIME: u32 = 1_577_836_800;
const TIME_SPAN: u32 = 4 * 365 * 86_400;

pub(crate) struct Chain<'a> {
    options: &'a Options,
    emit: &'a mut dyn FnMut(&[u8]) -> std::io::Result<()>,
    params: Params,
    keys: Keys,
    rng: Rng,
    state: State,
    summary: Summary,
}

/// What a branch has come to. A fork goes back to a clone of it.
#[derive(Clone, Default)]
struct State {
    height: u32,
    tip: BlockHash,
    /// Coins to spend, in no order but that the newest are near the end.
    pool: Vec<Coin>,
    /// Outputs of coinbases that are not mature yet, oldest first.
    immature: VecDeque<Coin>,
    /// Transactions in the branch's blocks.
    placed: u32,
}

/// The transactions of a block, whole, and what their fees come to.
#[derive(Default)]
struct Body {
    txs: Vec<Vec<u8>>,
    fees: i64,
}

impl<'a> Chain<'a> {
    /// Emits genesis and starts on it.
    pub(crate) fn new(
        options: &'a Options,
        emit: &'a mut dyn FnMut(&[u8]) -> std::io::Result<()>,
    ) -> Result<Self, Error> {
        let params = Params::new(Network::Regtest);
        emit(&params.genesis_block())?;
        let state = State { tip: params.genesis_hash, ..State::default() };
        let summary = Summary { blocks: 1, ..Summary::default() };
        let (keys, rng) = (Keys::new(), Rng(options.seed));
        Ok(Self { options, emit, params, keys, rng, state, summary })
    }

    pub(crate) fn run(mut self) -> Result<Summary, Error> {
        let Options { blocks, txs, forks, .. } = *self.options;
        let spacing = blocks.saturating_sub(COINBASE_MATURITY) / (forks + 1);
        let mut fork_count = 0;
        while self.state.height < blocks {
            let fork_height = COINBASE_MATURITY + (fork_count + 1) * spacing;
            if fork_count < forks && self.state.height == fork_height {
                fork_count += 1;
                let longest = usize::try_from(spacing - 3).unwrap_or(1).min(10);
                let depth = self.rng.within(1, longest);
                let lost_tip = match fork_count % 2 {
                    0 => self.fork_that_loses(depth, fork_count)?,
                    _ => self.fork_that_wins(depth, fork_count)?,
                };
                self.summary.lost_tips.push(lost_tip);
            } else {
                self.extend(0)?;
            }
        }
        if self.state.placed < txs {
            return Err(Error::DoesNotFit { placed: self.state.placed, txs });
        }
        self.summary.height = self.state.height;
        self.summary.tip = self.state.tip;
        self.summary.transactions = self.state.placed.into();
        Ok(self.summary)
    }

    /// A branch grows by `depth` blocks and is overtaken by another that spends the coins otherwise.
    /// Returns the tip of the branch that lost.
    fn fork_that_wins(&mut self, depth: usize, branch: u32) -> Result<BlockHash, Error> {
        let start = self.state.clone();
        (0..depth).try_for_each(|_| self.extend(0).map(drop))?;
        let lost = std::mem::replace(&mut self.state, start);
        (0..=depth).try_for_each(|_| self.extend(branch).map(drop))?;
        Ok(lost.tip)
    }

    /// The chain grows by `depth` blocks; then comes a branch with at most the same work, which has
    /// the chain's transactions one block later. Returns that branch's tip.
    fn fork_that_loses(&mut self, depth: usize, branch: u32) -> Result<BlockHash, Error> {
        let State { height, mut tip, .. } = self.state;
        let bodies: Vec<Body> = (0..depth).map(|_| self.extend(0)).collect::<Result<_, _>>()?;
        // The last block's transactions are left out.
        let bodies = [Body::default()].into_iter().chain(bodies).take(depth);
        for (height, body) in (height + 1..).zip(bodies) {
            tip = self.emit_block(tip, height, branch, &body)?.0;
        }
        Ok(tip)
    }

    /// Fills and emits the next block of the branch and returns its body.
    fn extend(&mut self, branch: u32) -> Result<Body, Error> {
        let height = self.state.height + 1;
        while let Some(coin) = self.state.immature.front()
            && coin.height + COINBASE_MATURITY <= height
        {
            self.state.pool.extend(self.state.immature.pop_front());
        }
        let blocks_left = self.options.blocks + 1 - height;
        let quota = (self.options.txs - self.state.placed).div_ceil(blocks_left);
        let body = self.fill(height, quota);
        let (hash, coin) = self.emit_block(self.state.tip, height, branch, &body)?;
        self.state.immature.push_back(coin);
        self.state.height = height;
        self.state.tip = hash;
        Ok(body)
    }

    /// Mines and emits a block. Its coinbase takes the fees, but on some heights not all of them.
    fn emit_block(
        &mut self,
        prev: BlockHash,
        height: u32,
        branch: u32,
        body: &Body,
    ) -> Result<(BlockHash, Coin), Error> {
        let mut lock = self.new_lock(height);
        while matches!(lock.template, Template::Cltv | Template::Csv) {
            lock = self.new_lock(height);
        }
        let unclaimed = if height % 20 == 7 { body.fees / 2 } else { 0 };
        let value = subsidy(height, &self.params) + body.fees - unclaimed;
        let mut outputs = vec![TxOut { value, script_pubkey: self.keys.script_pubkey(lock) }];
        if height.is_multiple_of(10) {
            outputs.push(data_output(0, &height.to_le_bytes()));
        }
        let coinbase = coinbase(height, branch, outputs);
        let bytes = mine_block(prev, self.time(height), coinbase, &body.txs);
        let block = Block::parse(&bytes[..]).expect("a mined block is a block");
        assert!(block.weight() <= MAX_BLOCK_WEIGHT, "a filled block keeps to the weight limit");
        let outpoint = OutPoint { txid: block.tx(0).txid(), vout: 0 };
        (self.emit)(&bytes)?;
        self.summary.blocks += 1;
        Ok((block.hash(), Coin { outpoint, value, height, lock }))
    }

    /// Drafts and signs up to `quota` transactions. They come in layers, each of which can spend
    /// what those before it made, and is signed on all cores.
    fn fill(&mut self, height: u32, quota: u32) -> Body {
        let mut body = Body::default();
        let (mut weight, mut sigops) = (0, 0);
        let mut left = usize::try_from(quota).expect("a count of transactions fits memory");
        while 0 < left {
            let mut drafts: Vec<Draft> = Vec::new();
            let (mut layer_weight, mut pending) = (weight, 0);
            while drafts.len() <= left * 3 / 4 {
                let Some(draft) = self.draft(height, pending) else { break };
                let (draft_weight, draft_sigops) = draft.max_cost();
                if MAX_WEIGHT < layer_weight + draft_weight || MAX_SIGOPS < sigops + draft_sigops {
                    self.state.pool.extend(draft.coins);
                    break;
                }
                layer_weight += draft_weight;
                sigops += draft_sigops;
                pending += draft.locks.len();
                drafts.push(draft);
            }
            if drafts.is_empty() {
                break;
            }
            self.summary.signatures += sign_all(&self.keys, &mut drafts);
            left -= drafts.len();
            self.state.placed += u32::try_from(drafts.len()).expect("at most the quota");
            for draft in drafts {
                let stripped = draft.tx.encode_stripped();
                let bytes = draft.tx.encode();
                let tx_weight = 3 * stripped.len() + bytes.len();
                assert!(tx_weight <= draft.max_cost().0, "weights were foreseen");
                weight += tx_weight;
                self.receive(height, Txid(sha256d(&stripped)), &draft);
                body.fees += draft.fee;
                body.txs.push(bytes);
            }
        }
        body
    }

    /// Puts a transaction's outputs into the pool. Those that it has no room for are never spent.
    fn receive(&mut self, height: u32, txid: Txid, draft: &Draft) {
        let target = self.pool_target();
        let room = (target + target / 8 + 64).saturating_sub(self.state.pool.len());
        let outputs = (0..).zip(&draft.tx.outputs).zip(&draft.locks).take(room);
        self.state.pool.extend(outputs.map(|((vout, output), &lock)| {
            let outpoint = OutPoint { txid, vout };
            Coin { outpoint, value: output.value, height, lock }
        }));
    }

    /// Makes a transaction without signatures; none when no coin can be spent yet.
    fn draft(&mut self, height: u32, pending: usize) -> Option<Draft> {
        let (input_count, output_count) = self.shape(pending);
        let version = if self.rng.one_in(4) { 1 } else { 2 };
        let mut tx = Transaction { version, ..Transaction::default() };
        let (mut coins, mut skipped) = (Vec::new(), Vec::new());
        while coins.len() < input_count && skipped.len() < input_count + 8 {
            let Some(coin) = self.take() else { break };
            if let Some(sequence) = self.admit(&mut tx, &coin, height) {
                let prevout = coin.outpoint;
                tx.inputs.push(TxIn { prevout, sequence, ..TxIn::default() });
                coins.push(coin);
            } else {
                skipped.push(coin);
            }
        }
        self.state.pool.extend(skipped);
        if coins.is_empty() {
            return None;
        }
        if tx.lock_time == 0 && self.rng.one_in(4) {
            tx.lock_time = height - 1;
        }
        let mut left: i64 = coins.iter().map(|coin| coin.value).sum();
        let mut fee = self.below(left / 200).min(20_000);
        left -= fee;
        let mut locks = Vec::new();
        for outputs_left in (1..=output_count).rev() {
            let share = left / i64::try_from(outputs_left).expect("outputs fit a block");
            let value = match outputs_left {
                1 => left,
                // Of many outputs, the first is change: without it, coins would soon be dust.
                _ if outputs_left == output_count && 10 < output_count => left / 4 * 3,
                _ => share / 2 + self.below(share),
            };
            left -= value;
            let lock = self.new_lock(height);
            tx.outputs.push(TxOut { value, script_pubkey: self.keys.script_pubkey(lock) });
            locks.push(lock);
        }
        if self.rng.one_in(16) {
            let burnt = fee / 2;
            fee -= burnt;
            tx.outputs.push(data_output(burnt, &self.rng.next().to_le_bytes()));
        }
        let is_varied = self.options.profile == Profile::Mixed;
        Some(Draft { tx, coins, locks, fee, seed: self.rng.next(), is_varied })
    }

    /// How many inputs and outputs the next transaction should have.
    fn shape(&mut self, pending: usize) -> (usize, usize) {
        let have = self.state.pool.len() + pending;
        let target = self.pool_target();
        if have < target * 3 / 4 {
            return (1, (target - have).clamp(2, FAN_OUT));
        }
        let rng = &mut self.rng;
        let (inputs, more) = match self.options.profile {
            Profile::Mixed if rng.one_in(20) => (rng.within(10, 20), 10),
            Profile::Mixed => (rng.within(1, 4), 2),
            Profile::Sig => (rng.within(1, 3), 1),
            Profile::Utxo => return (rng.within(1, 2), rng.within(100, FAN_OUT)),
            Profile::Coins => return (rng.within(1, 3), rng.within(2, 6)),
            Profile::Legacy => (rng.within(100, 1500), 10),
        };
        // About as many outputs as inputs, more of them while the pool is not full.
        let most = if have < target { inputs + more } else { inputs };
        (inputs, rng.within(inputs.saturating_sub(more).max(1), most))
    }

    /// Takes a coin out of the pool: any one, or now and then one of the newest.
    fn take(&mut self) -> Option<Coin> {
        let last = self.state.pool.len().checked_sub(1)?;
        let reach = if self.rng.one_in(8) { last.min(15) } else { last };
        Some(self.state.pool.swap_remove(last - self.rng.within(0, reach)))
    }

    /// Fits a transaction's lock time and version to an input, and returns the input's sequence
    /// number; none when the coin's lock holds at this height, or clashes with another input's.
    fn admit(&mut self, tx: &mut Transaction, coin: &Coin, height: u32) -> Option<u32> {
        let demand = coin.lock.demand;
        let median_time = self.median_time_past(height - 1);
        match coin.lock.template {
            Template::Cltv => {
                let is_time = LOCKTIME_THRESHOLD <= demand;
                let is_same = tx.lock_time == 0 || (LOCKTIME_THRESHOLD <= tx.lock_time) == is_time;
                let is_open = demand < if is_time { median_time } else { height };
                tx.lock_time = (is_same && is_open).then_some(tx.lock_time.max(demand))?;
                Some(u32::MAX - 1)
            }
            Template::Csv => {
                tx.version = tx.version.max(2);
                let start = self.median_time_past(coin.height - 1);
                let is_open = match demand & SEQUENCE_TIME {
                    0 => coin.height + demand <= height,
                    _ => start + (demand ^ SEQUENCE_TIME) * 512 <= median_time,
                };
                is_open.then_some(demand)
            }
            _ => Some(u32::MAX - *self.rng.pick(&[0, 1, 2])),
        }
    }

    /// Draws what locks a new output, with a demand that the chain meets some blocks on.
    fn new_lock(&mut self, height: u32) -> Lock {
        let (wrap, templates) = *self.rng.pick(self.options.profile.locks());
        let template = *self.rng.pick(templates);
        let distance = u32::try_from(self.rng.within(1, 8)).expect("at most 8");
        let demand = match (template, self.rng.one_in(2)) {
            _ if wrap == Wrap::TaprootScript => TREE_SEQUENCE,
            (Template::Cltv, true) => self.time(height + distance - 1),
            (Template::Cltv, false) => height + distance - 1,
            (_, true) => SEQUENCE_TIME | distance,
            (_, false) => distance,
        };
        Lock { wrap, template, key: self.rng.below(KEY_COUNT), demand }
    }

    fn pool_target(&self) -> usize {
        usize::try_from(self.options.pool).expect("a count of coins fits memory")
    }

    /// A number below `limit`, or 0.
    fn below(&mut self, limit: i64) -> i64 {
        (self.rng.next() >> 1).cast_signed() % limit.max(1)
    }

    /// The time in the header at a height, the same on every branch.
    fn time(&self, height: u32) -> u32 {
        let step = (TIME_SPAN / self.options.blocks.max(1)).clamp(1, 600);
        if height == 0 { self.params.genesis.time } else { START_TIME + (height - 1) * step }
    }

    /// The median time past at a height. Times only grow, so it is the time of the middle block.
    fn median_time_past(&self, height: u32) -> u32 {
        self.time(if height < 10 { height.div_ceil(2) } else { height - 5 })
    }
}

fn data_output(value: i64, data: &[u8]) -> TxOut {
    TxOut { value, script_pubkey: [&[OP_RETURN], &push(data)[..]].concat() }
}

/// Signs drafts and returns how many signatures that took. The result does not depend on the
/// number of threads.
fn sign_all(keys: &Keys, drafts: &mut [Draft]) -> u64 {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let size = drafts.len().div_ceil(threads).max(8);
    std::thread::scope(|scope| {
        let sign_chunk =
            |chunk: &mut [Draft]| chunk.iter_mut().map(|draft| sign(keys, draft)).sum();
        let spawn = |chunk| scope.spawn(move || -> u64 { sign_chunk(chunk) });
        let threads: Vec<_> = drafts.chunks_mut(size).map(spawn).collect();
        threads.into_iter().map(|thread| thread.join().expect("signing does not panic")).sum()
    })
}
