use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use caesure_engine::{Command, CommandError, Engine};
use caesure_eventlog::Tail;
use caesure_ledger::Worlds;
use caesure_p2p::Now;
use caesure_wire::{BlockHash, Endpoint};
use tokio::time::Instant;

/// What looks into the engine, on the thread that runs it.
pub type Look = Box<dyn FnOnce(&Engine, Now) + Send>;

/// The running node, as the server sees it. All functions may be called from any thread at once,
/// and may block.
pub trait Backend: Send + Sync {
    /// Runs `look` on the loop's thread and returns when it is done. It is dropped, not run, when
    /// the node stops.
    fn query(&self, look: Look);

    /// Has the engine do something, and waits until it is done.
    ///
    /// # Errors
    /// What hindered it.
    fn command(&self, command: Command) -> Result<(), CommandError>;

    /// Returns the readers' side of the ledger.
    fn worlds(&self) -> Worlds;

    /// Returns a stored block; none when it was never stored, or is pruned.
    ///
    /// # Errors
    /// When the file cannot be read or is damaged, in words for the user.
    fn read_block(&self, hash: &BlockHash) -> Result<Option<Vec<u8>>, String>;

    /// Returns how many transactions a stored block has, or had before it was pruned; none when it was
    /// never stored, or that is not known.
    ///
    /// # Errors
    /// When the file cannot be read or is damaged, in words for the user.
    fn tx_count(&self, hash: &BlockHash) -> Result<Option<u32>, String>;

    /// Waits until the active tip is another than `last`, the time is over, or the node stops, and
    /// returns the tip.
    fn wait_for_tip(&self, last: BlockHash, timeout: Duration) -> BlockHash;

    /// Sets the clock to a fixed time, in seconds since 1970; 0 lets it run again. Regtest only.
    fn set_mock_time(&self, unix: u64);

    /// Lets scheduled work of the next so many seconds be done now. Regtest only.
    fn run_scheduler(&self, forward: Duration);

    /// Asks the node to stop; returns before it has.
    fn stop(&self);

    /// Returns whether the node was asked to stop.
    fn is_stopping(&self) -> bool;

    /// Returns the facts that do not change while it runs.
    fn about(&self) -> &About;

    /// Returns how much the blocks take on disk.
    fn disk_use(&self) -> u64;

    /// Returns what the node takes of the machine.
    fn resources(&self) -> Resources;

    /// Returns the blocks from a number on, at most `count`, in the order in which they were stored.
    ///
    /// # Errors
    /// When the file cannot be read, in words for the user.
    fn stored(&self, from: u64, count: usize) -> Result<Stored, String>;

    /// Has the ledger written to the disk; returns before it is.
    fn save(&self);

    /// Returns the threads of the process.
    fn threads(&self) -> Vec<Thread>;

    /// Returns how many transactions were connected since the start.
    fn connected_txs(&self) -> u64;

    /// Returns the calls of JSON-RPC that are being answered.
    fn calls(&self) -> &Calls;

    /// Returns how long blocks took from looking their coins up until they were connected.
    fn validate_times(&self) -> &Histogram;

    /// Returns how many events the log could not keep up with.
    fn log_dropped(&self) -> u64;

    /// Returns the name of an address if it is known by now, and asks for it otherwise; none where
    /// names are not wanted.
    fn host_name(&self, _address: IpAddr) -> Option<String> {
        None
    }

    /// Returns the newest records of the log, if they are kept.
    fn log(&self) -> Option<Tail> {
        None
    }

    /// Returns what a prompt reads, if there may be one.
    fn prompt(&self) -> Option<Arc<dyn caesure_prompt::Source>> {
        None
    }
}

/// What a running node takes of its machine. Sizes are in bytes, 0 where the system does not tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// The memory that the process has, pages of mapped files included.
    pub memory: u64,
    /// How much it may take, as the user set it.
    pub memory_limit: u64,
    /// What the ledger takes on disk.
    pub ledger: u64,
    /// What is free there.
    pub free: u64,
    /// The queues between threads.
    pub queues: Vec<Queue>,
}

/// Counts durations by how long they are. Any thread may count while others read.
#[derive(Debug, Default)]
pub struct Histogram {
    counts: [AtomicU64; BOUNDS.len() + 1],
    nanos: AtomicU64,
}

/// The bounds of a [`Histogram`], in milliseconds.
const BOUNDS: [u64; 13] = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 10_000, 60_000];

impl Histogram {
    /// Counts a duration.
    pub fn observe(&self, time: Duration) {
        let index = BOUNDS.partition_point(|bound| Duration::from_millis(*bound) < time);
        self.counts[index].fetch_add(1, Ordering::Relaxed);
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// Returns upper bounds, the last of which is none, and how many durations are within.
    pub fn buckets(&self) -> impl Iterator<Item = (Option<Duration>, u64)> {
        let bounds = BOUNDS.into_iter().map(Duration::from_millis).map(Some).chain([None]);
        let mut sum = 0;
        bounds.zip(&self.counts).map(move |(bound, count)| {
            sum += count.load(Ordering::Relaxed);
            (bound, sum)
        })
    }

    /// Returns the sum of all durations.
    #[must_use]
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.nanos.load(Ordering::Relaxed))
    }
}

/// The calls of JSON-RPC that are being answered.
#[derive(Debug, Default)]
pub struct Calls(Mutex<Begun>);

#[derive(Debug, Default)]
struct Begun {
    count: u64,
    /// By number: the method, and since when.
    active: BTreeMap<u64, (&'static str, Instant)>,
}

impl Calls {
    /// Counts a call until what is returned is dropped.
    pub(crate) fn begin(&self, method: &'static str) -> Active<'_> {
        let mut begun = self.lock();
        begun.count += 1;
        let number = begun.count;
        begun.active.insert(number, (method, Instant::now()));
        Active(self, number)
    }

    /// Returns the calls in the order in which they began: their methods, and how long each runs.
    #[must_use]
    pub fn active(&self) -> Vec<(&'static str, Duration)> {
        self.lock().active.values().map(|(method, began)| (*method, began.elapsed())).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Begun> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that is being answered.
pub(crate) struct Active<'a>(&'a Calls, u64);

impl Drop for Active<'_> {
    fn drop(&mut self) {
        self.0.lock().active.remove(&self.1);
    }
}

/// A queue between two threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    /// The thread that takes from it: `loop`, `chain` or `disk`.
    pub name: &'static str,
    /// How many values are in it.
    pub depth: usize,
    /// How many fit.
    pub capacity: usize,
}

/// A part of the list of stored blocks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// The blocks.
    pub hashes: Vec<BlockHash>,
    /// How many blocks the whole list has.
    pub len: u64,
}

/// A thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thread {
    /// The system's number of it.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// What it does, as `running` or `waiting`.
    pub state: &'static str,
    /// How long it was on a processor.
    pub busy: Duration,
}

/// Looks into the engine and returns what was found; none when the node stops.
pub(crate) fn look<T: Send + 'static>(
    backend: &dyn Backend,
    look: impl FnOnce(&Engine, Now) -> T + Send + 'static,
) -> Option<T> {
    let found = Arc::new(Mutex::new(None));
    let place = Arc::clone(&found);
    backend.query(Box::new(move |engine, now| {
        let value = look(engine, now);
        if let Ok(mut place) = place.lock() {
            *place = Some(value);
        }
    }));
    found.lock().ok().and_then(|mut found| found.take())
}

/// Facts of a running node.
#[derive(Clone, Debug)]
pub struct About {
    /// The folder of the network.
    pub folder: PathBuf,
    /// The log, if there is one.
    pub log_file: Option<PathBuf>,
    /// When it began, by [`Now::mono`].
    pub started: Duration,
    /// How it calls itself in `version`, as `/Caesure:0.1.0/`.
    pub user_agent: String,
    /// The number that stands for its version in `getnetworkinfo`.
    pub version: u32,
    /// Whether blocks are pruned, or were once.
    pub is_pruned: bool,
    /// How many bytes of blocks are kept, if more are pruned.
    pub prune_target: Option<u64>,
    /// Whether peers are asked for transactions (`localrelay`).
    pub relays_txs: bool,
    /// Whether peers are dialled through a proxy, and which.
    pub proxy: Option<Endpoint>,
    /// How many connections the node makes, and how many it takes.
    pub slots: [usize; 2],
    /// Whether what changes the node may be done in the web UI and the prompt.
    pub allows_commands: bool,
}
