use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use caesure_ledger::FormatError;
use caesure_wire::BlockHash;

/// Why a command could not do its work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("no base folder: give one with -b, or set CAESURE_BASE or HOME")]
    NoBase,
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Store(#[from] caesure_blockstore::Error),
    #[error(transparent)]
    Ledger(#[from] caesure_ledger::Error),
    #[error("{}: {source}", path.display())]
    Format { path: PathBuf, source: FormatError },
    #[error(
        "{} is a file of the original: its keys hold half of each transaction id, so no block can be \
         judged by it. Import the blocks, or load a snapshot of Bitcoin Core",
        .0.display()
    )]
    NotLoadable(PathBuf),
    #[error("no hash is built in for the set of block {0}: give one that you trust with --hash")]
    NoTrustedHash(BlockHash),
    #[error("the hash of this set is {expected}, not {found}: nothing was loaded")]
    WrongHash { expected: BlockHash, found: BlockHash },
    #[error(
        "block {0} is not on the best chain of headers that is known: import its headers first"
    )]
    UnknownBase(BlockHash),
    #[error("the ledger in {} is not empty: choose another base", .0.display())]
    NotEmpty(PathBuf),
    #[error(
        "the snapshot of block {block} is wrong: validation from genesis gives its set the hash \
         {found}. Remove ledger.log and ledger.table in {}, and import again", folder.display()
    )]
    WrongSnapshot { block: BlockHash, found: BlockHash, folder: PathBuf },
    #[error(transparent)]
    Generate(#[from] caesure_generate::Error),
    #[error("{} is not of {network}: choose its network", path.display())]
    OtherNetwork { path: PathBuf, network: &'static str },
    #[error("{0} is not a block of this chain: give a hash, a height, tip or tip-N")]
    NoSuchBlock(String),
    #[error(
        "{count} blocks of {} were pruned, the first {first}: their bodies are needed for this, which \
         a base without --prune has", folder.display()
    )]
    Pruned { folder: PathBuf, count: usize, first: BlockHash },
    #[error(
        "there is nothing in {}: import a block file first, or choose another base with -b, another \
         network with --network", .0.display()
    )]
    EmptyBase(PathBuf),
    #[error("the signals of the operating system cannot be caught: {0}")]
    Signals(io::Error),
    #[error("{} has a line that is no block hash", .0.display())]
    NotAHash(PathBuf),
    #[error("cannot listen on {address} for {what}: {source}")]
    Listen { what: &'static str, address: SocketAddr, source: io::Error },
    #[error(
        "the web UI at {0} could be reached by others, and nobody needs a password: give -u USER:PASS, \
         or an address of this machine alone"
    )]
    WebWithoutUser(SocketAddr),
    #[error("--rpcauth {0}: not a user as rpcauth.py writes it, NAME:SALT$HASH")]
    RpcAuth(String),
    #[error("the proxy {address} cannot be reached: {source}")]
    Proxy { address: SocketAddr, source: io::Error },
    #[error(
        "{wanted} connections need {needed} open files, and the system allows {allowed}: give a smaller -i, \
         or raise the hard limit (ulimit -Hn)"
    )]
    TooManyConnections { wanted: usize, needed: u64, allowed: u64 },
    #[error("the monitor cannot be at {}: {source}", path.display())]
    Monitor { path: PathBuf, source: io::Error },
    #[error("the prompt at {} cannot be used: {source}", path.display())]
    Prompt { path: PathBuf, source: io::Error },
    #[error("--prune {0} is too little: 550 MiB is the least that keeps what peers may ask for")]
    PruneTarget(u64),
    #[error("the sockets of the operating system cannot be watched: {0}")]
    Poll(io::Error),
    #[error("{}: {source}", path.display())]
    Record { path: PathBuf, source: caesure_engine::RecordError },
    #[error("nothing was cut: answer yes, or give --yes")]
    NotConfirmed,
    #[error("--daemon needs --logfile: in the background nothing else is heard of the node")]
    DaemonLog,
    #[error("cannot run in the background: {0}; leave out --daemon")]
    Detach(io::Error),
    #[error("{0}")]
    NoAnswer(String),
    #[error("standard output is no terminal: --once prints one picture as text")]
    NoTerminal,
    #[error("the terminal cannot be used: {0}; --once prints one picture as text")]
    Terminal(io::Error),
    #[error(transparent)]
    Config(#[from] crate::config::ConfigError),
    #[error(
        "--rpcuser and --rpcpassword belong together: give both, or neither for the cookie file"
    )]
    HalfLogin,
    #[error("@{} holds {line}: a file of arguments names no other, so put its lines here", path.display())]
    Nested { path: PathBuf, line: String },
    #[error("@{}: {source}: an argument that begins with @ names a file of arguments, one a line", path.display())]
    Arguments { path: PathBuf, source: io::Error },
}

impl Error {
    /// What to do next, where the error's own sentence does not say it.
    pub(crate) fn advice(&self) -> Option<&'static str> {
        use caesure_blockstore::Error as Store;
        use caesure_ledger::{Error as Ledger, FormatFault};
        match self {
            Self::Io { source, .. } => Some(after_io(source)),
            Self::Format { source, .. } => Some(match &source.fault {
                FormatFault::Io(source) => after_io(source),
                FormatFault::UnknownVersion(_) => {
                    "a newer version wrote it: use that, or write the file again with this one"
                }
                FormatFault::UnknownFormat => {
                    "name another file, as Bitcoin Core's dumptxoutset or caesure utxo export writes it"
                }
                _ => "the file is damaged: get it again from where it came",
            }),
            Self::Listen { source, .. } => Some(match source.kind() {
                ErrorKind::AddrInUse => {
                    "another program listens there, perhaps another node: stop it, or choose another address"
                }
                ErrorKind::PermissionDenied => "ports below 1024 are for root: choose a higher one",
                _ => "give an address of this machine",
            }),
            Self::Monitor { source, .. } => Some(match source.kind() {
                ErrorKind::AlreadyExists
                | ErrorKind::AddrInUse
                | ErrorKind::InvalidInput
                | ErrorKind::PermissionDenied => "choose another path with -m PATH",
                _ => after_io(source),
            }),
            Self::Prompt { source, .. } => Some(match source.kind() {
                ErrorKind::PermissionDenied => after_io(source),
                _ => "start the node with -m, and give the path if it was given one",
            }),
            Self::Proxy { .. } => Some("start the proxy, or give another --proxy, or none"),
            Self::Record { .. } => Some("name a file that --record of this version wrote"),
            Self::NotAHash(_) => Some("mend the line or remove the file"),
            Self::WrongHash { .. } => Some("get the snapshot from elsewhere, or check --hash"),
            Self::Generate(_) => Some("give more --blocks, or fewer --txs or --forks"),
            Self::Store(error) | Self::Ledger(Ledger::Store(error)) => match error {
                Store::Io { source, .. } => Some(after_io(source)),
                Store::Locked(_) => Some(
                    "stop that process (caesure cli stop, for a node), or choose another base with -b",
                ),
                Store::Damaged { .. } => Some(
                    "import the block again from another file; caesure verify finds what else is damaged",
                ),
                Store::Unknown(_) => Some("import the block first"),
                Store::Pruned(_) => Some("a base without --prune has it"),
                Store::NoRecordAt { .. } => {
                    Some("the file changed while it was read: run the command again")
                }
                _ => None,
            },
            Self::Ledger(error) => match error {
                Ledger::Io { source, .. } => Some(after_io(source)),
                Ledger::NotHeld { .. } => {
                    Some("name a later block; with a larger --horizon the node keeps more of them")
                }
                Ledger::Foreign { .. } => {
                    Some("what a newer version of caesure wrote, only that or a newer one reads")
                }
                Ledger::NoAncestor { .. } => Some("name a block of the best chain"),
                Ledger::SnapshotHash { .. } => Some("get the snapshot from elsewhere"),
                Ledger::TableFull | Ledger::LogFull { .. } => {
                    Some("no option makes more room: this version ends here")
                }
                _ => None,
            },
            _ => None,
        }
    }

    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + use<'_> {
        |source| Self::Io { path: path.to_owned(), source }
    }

    pub(crate) fn format(path: &Path) -> impl Fn(FormatError) -> Self + use<'_> {
        |source| Self::Format { path: path.to_owned(), source }
    }
}

/// What to do after the system has refused a file.
fn after_io(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => "check the path",
        ErrorKind::AlreadyExists => "choose another name, or remove the file first",
        ErrorKind::PermissionDenied => {
            "run it as the owner of the file or folder, or choose another (-b for the base)"
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "make room on the disk, and run it again"
        }
        ErrorKind::ReadOnlyFilesystem => "choose a folder that can be written to",
        ErrorKind::IsADirectory => "name a file",
        ErrorKind::InvalidData => "the file is no text in UTF-8: name another",
        ErrorKind::UnexpectedEof => "the file is shorter than it says: get it again",
        _ => "look at the disk, and at what the system says of it (dmesg)",
    }
}
