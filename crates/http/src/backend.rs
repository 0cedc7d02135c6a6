use std::path::PathBuf;
use std::time::Duration;

use caesure_engine::{Command, CommandError, Engine};
use caesure_ledger::Worlds;
use caesure_p2p::Now;
use caesure_wire::{BlockHash, Endpoint};

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
}
