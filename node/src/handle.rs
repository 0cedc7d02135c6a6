use std::net::IpAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use caesure_engine::{Command, CommandError};
use caesure_eventlog::{Event, Logger, Tail};
use caesure_http::{About, Backend, Calls, Histogram, Look, Queue, Resources, Stored, Thread};
use caesure_ledger::Worlds;
use caesure_p2p::Now;
use caesure_prompt::Source;
use caesure_wire::{BlockHash, Header};
use crossbeam_channel::{Sender, bounded};
use mio::Waker;
use rustix::fs::statvfs;

use crate::clock;
use crate::disk::{Blocks, Job};
use crate::host_names::HostNames;
use crate::node::News;
use crate::validator::Task;

/// What all threads of the node look at.
pub(crate) struct Shared {
    start: Instant,
    /// A time that a test has set, seconds since 1970; 0 for none.
    mock: AtomicU64,
    /// By how many milliseconds a test has moved time on.
    forward: AtomicU64,
    pub(crate) stop: Arc<AtomicBool>,
    waker: Arc<Waker>,
    tip: Mutex<BlockHash>,
    tip_changed: Condvar,
}

impl Shared {
    pub(crate) fn new(waker: Arc<Waker>, tip: BlockHash) -> Self {
        Self {
            start: clock::instant(),
            mock: AtomicU64::new(0),
            forward: AtomicU64::new(0),
            stop: Arc::default(),
            waker,
            tip: Mutex::new(tip),
            tip_changed: Condvar::new(),
        }
    }

    pub(crate) fn now(&self) -> Now {
        let forward = Duration::from_millis(self.forward.load(Ordering::Relaxed));
        let unix = match self.mock.load(Ordering::Relaxed) {
            0 => clock::unix_time().into(),
            mock => mock,
        };
        Now { mono: self.start.elapsed() + forward, unix }
    }

    pub(crate) fn set_tip(&self, hash: BlockHash) {
        *self.tip() = hash;
        self.tip_changed.notify_all();
    }

    /// Ends the loop's turn.
    pub(crate) fn wake(&self) {
        // It fails only when the loop is gone.
        let _ = self.waker.wake();
    }

    /// Has the loop end.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        self.wake();
        // Those who wait for a tip look again.
        drop(self.tip());
        self.tip_changed.notify_all();
    }

    fn tip(&self) -> MutexGuard<'_, BlockHash> {
        self.tip.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The running node, for other threads.
#[derive(Clone)]
pub(crate) struct Handle {
    pub(crate) shared: Arc<Shared>,
    pub(crate) news: Sender<News>,
    pub(crate) tasks: Sender<Task>,
    pub(crate) jobs: Sender<Job>,
    /// What `--memory` allows, in bytes.
    pub(crate) memory_limit: u64,
    pub(crate) worlds: Worlds,
    pub(crate) blocks: Arc<Blocks>,
    pub(crate) about: Arc<About>,
    pub(crate) logger: Logger,
    /// How many transactions were connected.
    pub(crate) txs: Arc<AtomicU64>,
    pub(crate) times: Arc<Histogram>,
    pub(crate) calls: Arc<Calls>,
    /// Names of addresses, where they are wanted.
    pub(crate) names: Option<HostNames>,
    /// What prompts read.
    pub(crate) prompt: Option<Arc<dyn Source>>,
}

impl Handle {
    /// Puts into the log what a user had the node do.
    fn note(&self, command: &str) {
        self.logger.log(Event::Command { command: command.to_owned() });
    }

    fn tell(&self, news: News) {
        // Nobody listens any more when the node stops.
        let _ = self.news.send(news);
        self.shared.wake();
    }
}

impl Backend for Handle {
    fn query(&self, look: Look) {
        let (done, wait) = bounded(1);
        self.tell(News::Look(look, done));
        let _ = wait.recv();
    }

    fn command(&self, command: Command) -> Result<(), CommandError> {
        self.note(&name(&command));
        let (done, wait) = bounded(1);
        self.tell(News::Command(command, done));
        wait.recv().unwrap_or_else(|_| Err(CommandError::Refused("the node stops".to_owned())))
    }

    fn worlds(&self) -> Worlds {
        self.worlds.clone()
    }

    fn read_block(&self, hash: &BlockHash) -> Result<Option<Vec<u8>>, String> {
        self.blocks.read(hash).map_err(|error| error.to_string())
    }

    fn tx_count(&self, hash: &BlockHash) -> Result<Option<u32>, String> {
        self.blocks.tx_count(hash).map_err(|error| error.to_string())
    }

    fn wait_for_tip(&self, last: BlockHash, timeout: Duration) -> BlockHash {
        let end = clock::instant().checked_add(timeout);
        let mut tip = self.shared.tip();
        while *tip == last && !self.is_stopping() {
            let left =
                end.map_or(Duration::MAX, |end| end.saturating_duration_since(clock::instant()));
            if left.is_zero() {
                break;
            }
            // A clock that steps does no harm in so short a time.
            let waited =
                self.shared.tip_changed.wait_timeout(tip, left.min(Duration::from_secs(60)));
            tip = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        *tip
    }

    fn set_mock_time(&self, unix: u64) {
        self.note(&format!("SetMockTime({unix})"));
        self.shared.mock.store(unix, Ordering::Relaxed);
        self.shared.wake();
    }

    fn run_scheduler(&self, forward: Duration) {
        self.note(&format!("RunScheduler({forward:?})"));
        let millis = u64::try_from(forward.as_millis()).unwrap_or(u64::MAX);
        self.shared.forward.fetch_add(millis, Ordering::Relaxed);
        self.shared.wake();
    }

    fn stop(&self) {
        self.logger.log(Event::Stopping { reason: "command" });
        self.shared.stop();
    }

    fn is_stopping(&self) -> bool {
        self.shared.stop.load(Ordering::Relaxed)
    }

    fn about(&self) -> &About {
        &self.about
    }

    fn disk_use(&self) -> u64 {
        on_disk(&self.about.folder.join("blocks.bin"))
    }

    fn stored(&self, from: u64, count: usize) -> Result<Stored, String> {
        self.blocks.stored(from, count).map_err(|error| error.to_string())
    }

    fn save(&self) {
        self.note("Save");
        // The chain's thread saves by itself when it ends.
        let _ = self.tasks.send(Task::Save);
    }

    fn prompt(&self) -> Option<Arc<dyn Source>> {
        self.prompt.clone()
    }

    fn log(&self) -> Option<Tail> {
        Some(self.logger.tail())
    }

    fn threads(&self) -> Vec<Thread> {
        threads()
    }

    fn connected_txs(&self) -> u64 {
        self.txs.load(Ordering::Relaxed)
    }

    fn validate_times(&self) -> &Histogram {
        &self.times
    }

    fn calls(&self) -> &Calls {
        &self.calls
    }

    fn log_dropped(&self) -> u64 {
        self.logger.dropped()
    }

    fn host_name(&self, address: IpAddr) -> Option<String> {
        self.names.as_ref()?.find(address)
    }

    fn resources(&self) -> Resources {
        let folder = &self.about.folder;
        let ledger = ["ledger.log", "ledger.table"].map(|name| on_disk(&folder.join(name)));
        let free = statvfs(folder).map_or(0, |disk| disk.f_bavail.saturating_mul(disk.f_frsize));
        let queue = |name, depth, capacity: Option<usize>| Queue {
            name,
            depth,
            capacity: capacity.unwrap_or(usize::MAX),
        };
        Resources {
            memory: resident_memory(),
            memory_limit: self.memory_limit,
            ledger: ledger.iter().sum(),
            free,
            queues: vec![
                queue("loop", self.news.len(), self.news.capacity()),
                queue("chain", self.tasks.len(), self.tasks.capacity()),
                queue("disk", self.jobs.len(), self.jobs.capacity()),
            ],
        }
    }
}

/// What a user wants, without what may be large.
fn name(command: &Command) -> String {
    match command {
        Command::SendMessage { peer, name, payload } => {
            format!("SendMessage {name} of {} bytes to {peer}", payload.len())
        }
        Command::SubmitBlock(block) => match block.first_chunk() {
            Some(header) => format!("SubmitBlock({})", Header::from_bytes(header).hash()),
            None => "SubmitBlock of no block".to_owned(),
        },
        Command::SubmitHeader(header) => format!("SubmitHeader({})", header.hash()),
        other => format!("{other:?}"),
    }
}

/// How much of the disk a file takes, holes left out.
fn on_disk(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).map_or(0, |file| file.blocks() * 512)
}

/// What Linux says that the process has in memory, in bytes; 0 elsewhere.
fn resident_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.map_or(0, |kib| kib << 10)
}

/// What Linux says of the threads of the process; none elsewhere.
fn threads() -> Vec<Thread> {
    /// What the system counts a thread's time in.
    const TICK: Duration = Duration::from_millis(10);
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let thread = |task: std::fs::DirEntry| {
        // NUMBER (NAME) STATE, then numbers; the name may have any letters.
        let text = std::fs::read_to_string(task.path().join("stat")).ok()?;
        let (head, rest) = text.rsplit_once(')')?;
        let (id, name) = head.split_once(" (")?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let ticks = |index: usize| fields.get(index)?.parse::<u32>().ok();
        Some(Thread {
            id: id.parse().ok()?,
            name: name.to_owned(),
            state: if fields.first() == Some(&"R") { "running" } else { "waiting" },
            busy: TICK * (ticks(11)? + ticks(12)?),
        })
    };
    tasks.filter_map(thread).collect()
}
