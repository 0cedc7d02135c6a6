use std::sync::mpsc;
use std::time::Duration;

use caesure_consensus::{HeaderTree, Params};
use caesure_ledger::{Ledger, Worlds, genesis_info};
use caesure_wire::BlockHash;

use crate::PromptError;

/// Why there is nothing to see of a node.
pub(crate) const OFFLINE: &str =
    "no node runs here; caesure shell --connect opens the prompt of one that runs";

/// What looks into the tree of headers, wherever that lives.
pub type Look = Box<dyn FnOnce(&HeaderTree) + Send>;

/// What a prompt reads: a running node, or the folder of one. What is only there with a node is, unless said
/// otherwise, not there.
///
/// All functions may be called from any thread at once, and may block.
pub trait Source: Send + Sync {
    /// Returns the network's parameters.
    fn params(&self) -> &Params;

    /// Returns the readers' side of the ledger.
    fn worlds(&self) -> Worlds;

    /// Runs `look` over all headers, and returns when it is done. It is dropped, not run, when there
    /// are none any more.
    fn headers(&self, look: Look);

    /// Returns a stored block; none when it was never stored, or is pruned.
    ///
    /// # Errors
    /// When the file cannot be read or is damaged, in words for the user.
    fn read_block(&self, hash: &BlockHash) -> Result<Option<Vec<u8>>, String>;

    /// Returns the time.
    fn now(&self) -> Now;

    /// Returns the connections, each as its fields in order; none without a running node.
    fn peers(&self) -> Option<Vec<Fields>> {
        None
    }

    /// Returns what the running node counts, or what is known of the folder.
    fn counters(&self) -> Fields {
        Fields::new()
    }

    /// Returns the last records of the log that contain a text, as text, the oldest first; none
    /// without a running node.
    fn log(&self, _count: usize, _contains: &str) -> Option<Vec<String>> {
        None
    }

    /// Changes the node, and says what was done.
    ///
    /// # Errors
    /// Why it was not, in words for the user.
    fn command(&self, _command: &Command) -> Result<String, String> {
        Err(OFFLINE.to_owned())
    }
}

/// A chain that stands still, as that of a folder does without a node, and how its blocks are read.
#[expect(clippy::type_complexity, reason = "the functions of a source")]
pub struct Still {
    /// The network's parameters.
    pub params: Params,
    /// All headers.
    pub tree: HeaderTree,
    /// The readers' side of the ledger.
    pub worlds: Worlds,
    /// Returns a block, as [`Source::read_block`].
    pub read: Box<dyn Fn(&BlockHash) -> Result<Option<Vec<u8>>, String> + Send + Sync>,
    /// Returns the time.
    pub now: Box<dyn Fn() -> Now + Send + Sync>,
    /// What is known of it besides.
    pub counters: Fields,
}

impl Still {
    /// Makes the chain of a network's genesis block alone, whose clock stands still too.
    #[must_use]
    pub fn new(params: Params) -> Self {
        let tree = HeaderTree::new(&params);
        let (hash, block) = (params.genesis_hash, params.genesis_block());
        Self {
            worlds: Ledger::in_memory(genesis_info(&params, &tree), 1).reader(),
            params,
            tree,
            read: Box::new(move |wanted| Ok((*wanted == hash).then(|| block.clone()))),
            now: Box::new(Now::default),
            counters: Fields::new(),
        }
    }
}

impl Source for Still {
    fn params(&self) -> &Params {
        &self.params
    }

    fn worlds(&self) -> Worlds {
        self.worlds.clone()
    }

    fn headers(&self, look: Look) {
        look(&self.tree);
    }

    fn read_block(&self, hash: &BlockHash) -> Result<Option<Vec<u8>>, String> {
        (self.read)(hash)
    }

    fn now(&self) -> Now {
        (self.now)()
    }

    fn counters(&self) -> Fields {
        self.counters.clone()
    }
}

/// The time, as a [`Source`] tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Since some fixed moment.
    pub mono: Duration,
    /// Seconds since 1970.
    pub unix: u64,
}

/// Named values, in the order in which they are shown.
pub type Fields = Vec<(String, Value)>;

/// A value that a [`Source`] tells.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Not known.
    Nothing,
    /// True or false.
    Bool(bool),
    /// A number.
    Int(i64),
    /// A number with a fraction.
    Float(f64),
    /// Text.
    Text(String),
    /// Several values.
    List(Vec<Self>),
    /// Named values.
    Map(Fields),
}

/// What changes the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Connects to this address; the port is the network's unless it is given.
    Connect(String),
    /// Ends the connection to this address, or of this number.
    Disconnect(String),
    /// Bans an address or a subnet for so many seconds.
    Ban(String, u64),
    /// Takes a ban back.
    Unban(String),
    /// Writes the ledger to the disk.
    Save,
    /// Stops the node.
    Stop,
}

impl dyn Source + '_ {
    /// Looks into the tree of headers.
    ///
    /// # Errors
    /// When there is no tree any more.
    pub fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&HeaderTree) -> T + Send + 'static,
    ) -> Result<T, PromptError> {
        let (done, found) = mpsc::sync_channel(1);
        // Who waits is there until it is told.
        self.headers(Box::new(move |tree| _ = done.send(look(tree))));
        found.recv().map_err(|_| PromptError::Stopping)
    }
}
