use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use caesure_engine::{Command, CommandError};
use caesure_http::{About, Backend, Look};
use caesure_ledger::Worlds;
use caesure_p2p::Now;
use caesure_wire::BlockHash;
use crossbeam_channel::{Sender, bounded};
use mio::Waker;

use crate::clock;
use crate::disk::Job;
use crate::node::News;

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
    pub(crate) jobs: Sender<Job>,
    pub(crate) worlds: Worlds,
    pub(crate) blocks_path: PathBuf,
    pub(crate) about: Arc<About>,
}

impl Handle {
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
        let (done, wait) = bounded(1);
        self.tell(News::Command(command, done));
        wait.recv().unwrap_or_else(|_| Err(CommandError::Refused("the node stops".to_owned())))
    }

    fn worlds(&self) -> Worlds {
        self.worlds.clone()
    }

    fn read_block(&self, hash: &BlockHash) -> Result<Option<Vec<u8>>, String> {
        let (answer, found) = bounded(1);
        let _ = self.jobs.send(Job::Find { hash: *hash, answer });
        found.recv().unwrap_or_else(|_| Err("the node stops".to_owned()))
    }

    fn tx_count(&self, hash: &BlockHash) -> Result<Option<u32>, String> {
        let (answer, found) = bounded(1);
        let _ = self.jobs.send(Job::CountTxs { hash: *hash, answer });
        found.recv().unwrap_or_else(|_| Err("the node stops".to_owned()))
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
        self.shared.mock.store(unix, Ordering::Relaxed);
        self.shared.wake();
    }

    fn run_scheduler(&self, forward: Duration) {
        let millis = u64::try_from(forward.as_millis()).unwrap_or(u64::MAX);
        self.shared.forward.fetch_add(millis, Ordering::Relaxed);
        self.shared.wake();
    }

    fn stop(&self) {
        self.shared.stop();
    }

    fn is_stopping(&self) -> bool {
        self.shared.stop.load(Ordering::Relaxed)
    }

    fn about(&self) -> &About {
        &self.about
    }

    fn disk_use(&self) -> u64 {
        use std::os::unix::fs::MetadataExt;
        std::fs::metadata(&self.blocks_path).map_or(0, |file| file.blocks() * 512)
    }
}
