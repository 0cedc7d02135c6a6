use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use caesure_consensus::{
    BlockContext, Coin, Params, Reject, check_block, check_block_context, verify_tx_scripts,
};
use caesure_script::{Flags, ScriptError};
use caesure_wire::{Block, BlockHash, DecodeError, Txid};
use crossbeam_channel::{Receiver, Sender, select_biased, unbounded};

/// A block that passed every check that needs no coins.
#[derive(Debug)]
pub(crate) struct Body {
    pub(crate) block: Block<Vec<u8>>,
    pub(crate) txids: Vec<Txid>,
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
    Scripts { ticket: u64, faults: Vec<ScriptFault>, signatures: u64 },
}

/// A fixed number of threads. Scripts go before preparation, so that what is begun gets finished.
pub(crate) struct Pool {
    scripts: Option<Sender<Job>>,
    preparation: Option<Sender<Job>>,
    done: Receiver<Done>,
    threads: Vec<JoinHandle<()>>,
}

impl Pool {
    pub(crate) fn new(threads: usize, params: &Arc<Params>) -> Self {
        let (scripts, scripts_in) = unbounded();
        let (preparation, preparation_in) = unbounded();
        let (out, done) = unbounded();
        let start = |_| {
            let (scripts, preparation) = (scripts_in.clone(), preparation_in.clone());
            let (out, params) = (out.clone(), Arc::clone(params));
            #[expect(clippy::disallowed_methods, reason = "this is where node starts its threads")]
            thread::spawn(move || work(&scripts, &preparation, &out, &params))
        };
        let threads = (0..threads).map(start).collect();
        Self { scripts: Some(scripts), preparation: Some(preparation), done, threads }
    }

    pub(crate) fn prepare(&self, job: Job) {
        send(self.preparation.as_ref(), job);
    }

    pub(crate) fn check(&self, job: Job) {
        send(self.scripts.as_ref(), job);
    }

    /// Takes a result, and waits for one if `waits`.
    pub(crate) fn take(&self, waits: bool) -> Option<Done> {
        if waits { self.done.recv().ok() } else { self.done.try_recv().ok() }
    }
}

fn send(queue: Option<&Sender<Job>>, job: Job) {
    let sent = queue.expect("the queue is open while the pool lives").send(job);
    assert!(sent.is_ok(), "the threads end after the pool");
}

impl Drop for Pool {
    fn drop(&mut self) {
        (self.scripts, self.preparation) = (None, None);
        for thread in self.threads.drain(..) {
            // A thread that panicked has ended the process already.
            let _ = thread.join();
        }
    }
}

fn work(scripts: &Receiver<Job>, preparation: &Receiver<Job>, out: &Sender<Done>, params: &Params) {
    loop {
        let job = select_biased! {
            recv(scripts) -> job => job,
            recv(preparation) -> job => job,
        };
        let Ok(job) = job else { return };
        let hash = job.hash();
        let Ok(done) = catch_unwind(AssertUnwindSafe(|| job.run(params))) else {
            eprintln!("caesure: stopped by a fault of its own while checking block {hash}");
            std::process::exit(101);
        };
        if out.send(done).is_err() {
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

    fn run(self, params: &Params) -> Done {
        match self {
            Self::Prepare { ticket, bytes, context } => {
                let result = prepare(bytes, &context, params).map(Arc::new);
                Done::Prepared { ticket, result }
            }
            Self::Scripts { ticket, scripts, txs, first_input } => {
                let (faults, signatures) = check_scripts(&scripts, txs, first_input);
                Done::Scripts { ticket, faults, signatures }
            }
        }
    }
}

fn prepare(bytes: Vec<u8>, context: &BlockContext, params: &Params) -> Result<Body, Fault> {
    let block = Block::parse(bytes)?;
    let txids = check_block(&block, params)?;
    check_block_context(&block, context)?;
    Ok(Body { block, txids })
}

/// The first failing input of each transaction, and how many signatures were checked.
fn check_scripts(
    scripts: &Scripts,
    txs: Range<usize>,
    first_input: usize,
) -> (Vec<ScriptFault>, u64) {
    let mut prevouts = &scripts.prevouts[first_input..];
    let (mut faults, mut signatures) = (Vec::new(), 0);
    for index in txs {
        let tx = scripts.body.block.tx(index);
        let (own, rest) = prevouts.split_at(tx.input_count());
        prevouts = rest;
        match verify_tx_scripts(tx, own, scripts.flags) {
            Ok(checked) => signatures += checked,
            Err((input, error)) => faults.push(ScriptFault { tx: index, input, error }),
        }
    }
    (faults, signatures)
}
