use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use caesure_consensus::{
    BlockContext, Coin, Params, Reject, check_block, check_block_context, verify_tx_scripts,
};
use caesure_script::{Flags, ScriptError};
use caesure_wire::{Block, BlockHash, DecodeError, TxView, Txid, Wtxid};
use crossbeam_channel::{Receiver, Sender, select_biased, unbounded};

use crate::disk::spawn_as;
use crate::script_cache::ScriptCache;

/// A block that passed every check that needs no coins.
#[derive(Debug)]
pub(crate) struct Body {
    pub(crate) block: Block<Vec<u8>>,
    pub(crate) txids: Vec<Txid>,
    pub(crate) wtxids: Vec<Wtxid>,
}

/// Why a block is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    #[error("the block does not decode: {0}")]
    Decode(#[from] DecodeError),
    #[error("{0}")]
    Reject(#[from] Reject),
}

/// An input whose script fails, by its place in the block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ScriptFault {
    pub(crate) tx: usize,
    pub(crate) input: usize,
    pub(crate) error: ScriptError,
}

/// Work for a thread. The ticket comes back with the result.
pub(crate) enum Job {
    Prepare { ticket: u64, bytes: Vec<u8>, context: BlockContext },
    Scripts { ticket: u64, scripts: Scripts, txs: Range<usize>, first_input: usize },
}

/// A block's scripts: what is shared by all parts of the work.
#[derive(Clone)]
pub(crate) struct Scripts {
    pub(crate) body: Arc<Body>,
    pub(crate) prevouts: Arc<[Option<Coin>]>,
    pub(crate) flags: Flags,
}

pub(crate) enum Done {
    Prepared { ticket: u64, result: Result<Arc<Body>, Fault> },
    Scripts { ticket: u64, checked: Checked },
}

/// What came of a part of a block's scripts.
#[derive(Default)]
pub(crate) struct Checked {
    /// The first failing input of each transaction.
    pub(crate) faults: Vec<ScriptFault>,
    /// How many signatures were checked.
    pub(crate) signatures: u64,
    /// How many inputs are of transactions that were known to be good.
    pub(crate) cached: u64,
}

/// What all threads look at.
struct Shared {
    params: Arc<Params>,
    cache: ScriptCache,
    is_closed: AtomicBool,
}

/// A fixed number of threads. Scripts go before preparation, so that what is begun gets finished.
/// Where there are none, [`take`](Self::take) does a piece of work itself, so that the same calls do
/// the same at any time.
///
/// Its queues take what they are given: the owner bounds the bytes that are on their way. When it is
/// dropped, each thread ends after the job that it has begun.
pub(crate) struct Pool {
    scripts: Option<Sender<Job>>,
    preparation: Option<Sender<Job>>,
    done: Receiver<Done>,
    threads: Vec<JoinHandle<()>>,
    shared: Arc<Shared>,
    /// The threads' ends of the queues.
    open: (Receiver<Job>, Receiver<Job>),
}

impl Pool {
    pub(crate) fn new(threads: usize, params: &Arc<Params>, cache: ScriptCache) -> Self {
        let (params, is_closed) = (Arc::clone(params), AtomicBool::new(false));
        let shared = Arc::new(Shared { params, cache, is_closed });
        let (scripts, scripts_in) = unbounded();
        let (preparation, preparation_in) = unbounded();
        let (out, done) = unbounded();
        let start = |_| {
            let (scripts, preparation) = (scripts_in.clone(), preparation_in.clone());
            let (out, shared) = (out.clone(), Arc::clone(&shared));
            spawn_as("scripts", move || work(&scripts, &preparation, &out, &shared))
        };
        let threads = (0..threads).map(start).collect();
        let (scripts, preparation) = (Some(scripts), Some(preparation));
        Self { scripts, preparation, done, threads, shared, open: (scripts_in, preparation_in) }
    }

    pub(crate) fn prepare(&self, job: Job) {
        send(self.preparation.as_ref(), job);
    }

    pub(crate) fn check(&self, job: Job) {
        send(self.scripts.as_ref(), job);
    }

    /// Takes a result, and waits for one if `waits`.
    pub(crate) fn take(&self, waits: bool) -> Option<Done> {
        if self.threads.is_empty() {
            let job = self.open.0.try_recv().or_else(|_| self.open.1.try_recv()).ok()?;
            return Some(guarded(job.hash(), || job.run(&self.shared)));
        }
        if waits { self.done.recv().ok() } else { self.done.try_recv().ok() }
    }
}

impl Pool {
    /// Where threads put what they have done.
    pub(crate) const fn done(&self) -> &Receiver<Done> {
        &self.done
    }
}

fn send(queue: Option<&Sender<Job>>, job: Job) {
    let sent = queue.expect("the queue is open while the pool lives").send(job);
    assert!(sent.is_ok(), "the threads end after the pool");
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.is_closed.store(true, Ordering::Relaxed);
        (self.scripts, self.preparation) = (None, None);
        for thread in self.threads.drain(..) {
            // A thread that panicked has ended the process already.
            let _ = thread.join();
        }
    }
}

/// Does a piece of work for a block. A panic in it ends the process: what is on the disk is whole at
/// any moment, what is in memory may not be.
pub(crate) fn guarded<T>(hash: BlockHash, work: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        eprintln!("caesure: stopped by a fault of its own while checking block {hash}");
        std::process::exit(101)
    })
}

fn work(scripts: &Receiver<Job>, preparation: &Receiver<Job>, out: &Sender<Done>, shared: &Shared) {
    while !shared.is_closed.load(Ordering::Relaxed) {
        let job = select_biased! {
            recv(scripts) -> job => job,
            recv(preparation) -> job => job,
        };
        let Ok(job) = job else { return };
        if out.send(guarded(job.hash(), || job.run(shared))).is_err() {
            return;
        }
    }
}

impl Job {
    fn hash(&self) -> BlockHash {
        match self {
            Self::Prepare { context, .. } => context.hash,
            Self::Scripts { scripts, .. } => scripts.body.block.hash(),
        }
    }

    fn run(self, shared: &Shared) -> Done {
        match self {
            Self::Prepare { ticket, bytes, context } => {
                let result = prepare(bytes, &context, &shared.params).map(Arc::new);
                Done::Prepared { ticket, result }
            }
            Self::Scripts { ticket, scripts, txs, first_input } => {
                let checked = check_scripts(&scripts, txs, first_input, &shared.cache);
                Done::Scripts { ticket, checked }
            }
        }
    }
}

fn prepare(bytes: Vec<u8>, context: &BlockContext, params: &Params) -> Result<Body, Fault> {
    let block = Block::parse(bytes)?;
    let txids = check_block(&block, params)?;
    let wtxids = check_block_context(&block, context, &txids)?;
    Ok(Body { block, txids, wtxids })
}

/// How long what unlocks coins is at least, if there is a signature in it.
const SIGNATURE_SIZE: usize = 64;

/// Where there is no room for a signature, scripts take less time than a look into the cache, which
/// waits for memory.
fn may_have_signatures(tx: TxView<'_>) -> bool {
    let unlocking: usize = tx.inputs().map(|input| input.script_sig.len()).sum();
    SIGNATURE_SIZE <= unlocking + (tx.total_size() - tx.stripped_size())
}

/// Runs the scripts of transactions that are not known to be good.
fn check_scripts(
    scripts: &Scripts,
    txs: Range<usize>,
    first_input: usize,
    cache: &ScriptCache,
) -> Checked {
    let mut prevouts = &scripts.prevouts[first_input..];
    let mut checked = Checked::default();
    for index in txs {
        let tx = scripts.body.block.tx(index);
        let (own, rest) = prevouts.split_at(tx.input_count());
        prevouts = rest;
        let key = || cache.key(&scripts.body.wtxids[index], scripts.flags);
        let key = may_have_signatures(tx).then(key);
        if key.is_some_and(|key| cache.contains(key)) {
            checked.cached += own.len() as u64;
            continue;
        }
        match verify_tx_scripts(tx, own, scripts.flags) {
            Ok(signatures) => {
                key.inspect(|key| cache.insert(*key));
                checked.signatures += signatures;
            }
            Err((input, error)) => checked.faults.push(ScriptFault { tx: index, input, error }),
        }
    }
    checked
}

#[cfg(test)]
mod tests {
    use super::*;

    use caesure_consensus::Network;
    use caesure_wire::{OutPoint, Transaction, TxIn, TxOut};

    /// Set in a process that one of the tests below starts, to have the fault in it.
    const CHILD: &str = "CAESURE_FAULT_IN";

    /// Two transactions, the second of which spends a coin that the job does not name.
    fn faulty_job() -> Job {
        let spend = |vout| Transaction {
            version: 1,
            inputs: vec![TxIn { prevout: OutPoint { vout, ..OutPoint::NULL }, ..TxIn::default() }],
            outputs: vec![TxOut::default()],
            lock_time: 0,
        };
        let txs = [spend(u32::MAX).encode(), spend(0).encode()];
        let params = Params::new(Network::Regtest);
        let block = Block::parse(caesure_wire::encode_block(&params.genesis, &txs)).unwrap();
        let (txids, wtxids) = (block.txids(), block.wtxids());
        let body = Arc::new(Body { block, txids, wtxids });
        let scripts = Scripts { body, prevouts: [None].into(), flags: Flags::NONE };
        Job::Scripts { ticket: 0, scripts, txs: 1..2, first_input: 0 }
    }

    fn pool(threads: usize) -> Pool {
        let params = Arc::new(Params::new(Network::Regtest));
        Pool::new(threads, &params, ScriptCache::new(0))
    }

    /// Runs this test alone in a process of its own, which must end with the block's hash.
    fn ends_with_the_hash(test: &str) {
        let output = crate::tests::run_alone(test, CHILD, test);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(101), "{stderr}");
        let hash = Params::new(Network::Regtest).genesis_hash;
        let line = format!("stopped by a fault of its own while checking block {hash}");
        assert!(stderr.contains(&line), "{stderr}");
    }

    #[test]
    fn a_panic_in_a_thread_ends_the_process_with_the_blocks_hash() {
        if std::env::var_os(CHILD).is_some() {
            let pool = pool(2);
            pool.check(faulty_job());
            pool.take(true);
            return;
        }
        ends_with_the_hash(
            "pool::tests::a_panic_in_a_thread_ends_the_process_with_the_blocks_hash",
        );
    }

    /// Else its stack would be unwound, with threads that work on and a ledger that is half changed.
    #[test]
    fn a_panic_of_the_thread_that_owns_the_chain_ends_the_process_in_the_same_way() {
        if std::env::var_os(CHILD).is_some() {
            let _pool = pool(2);
            guarded(faulty_job().hash(), || panic!("a fault"));
            return;
        }
        ends_with_the_hash(
            "pool::tests::a_panic_of_the_thread_that_owns_the_chain_ends_the_process_in_the_same_way",
        );
    }

    #[test]
    fn a_pool_that_is_dropped_leaves_what_it_has_not_begun() {
        const INPUTS: usize = 20_000;
        let inputs = vec![TxIn::default(); INPUTS];
        let tx = Transaction { inputs, outputs: vec![TxOut::default()], ..Transaction::default() };
        let header = Params::new(Network::Regtest).genesis;
        let bytes = caesure_wire::encode_block(&header, &[tx.encode()]);
        let block = Block::parse(bytes).unwrap();
        let (txids, wtxids) = (block.txids(), block.wtxids());
        let coin =
            Coin { value: 0, height: 0, is_coinbase: false, script_pubkey: [0x51][..].into() };
        let scripts = Scripts {
            body: Arc::new(Body { block, txids, wtxids }),
            prevouts: vec![Some(coin); INPUTS].into(),
            flags: Flags::NONE,
        };
        let pool = pool(2);
        let jobs = 500;
        for ticket in 0..jobs {
            let scripts = scripts.clone();
            pool.check(Job::Scripts { ticket, scripts, txs: 0..1, first_input: 0 });
        }
        let done = pool.done.clone();
        drop(pool);
        let done = done.iter().count();
        assert!(done < 250, "{done} of {jobs} jobs were done");
    }
}
