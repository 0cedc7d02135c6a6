use std::io;
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
    #[error("there is nothing in {}: import a block file first", .0.display())]
    EmptyBase(PathBuf),
    #[error("the signals of the operating system cannot be caught: {0}")]
    Signals(#[from] ctrlc::Error),
    #[error("{} has a line that is no block hash", .0.display())]
    NotAHash(PathBuf),
    #[error("cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("--rpcauth {0}: not a user as rpcauth.py writes it, NAME:SALT$HASH")]
    RpcAuth(String),
    #[error("the proxy {address} cannot be reached: {source}")]
    Proxy { address: SocketAddr, source: io::Error },
    #[error(
        "{wanted} connections need {needed} open files, and the system allows {allowed}: give a smaller -i, \
         or raise the hard limit (ulimit -Hn)"
    )]
    TooManyConnections { wanted: usize, needed: u64, allowed: u64 },
    #[error("--prune {0} is too little: 550 MiB is the least that keeps what peers may ask for")]
    PruneTarget(u64),
    #[error("the sockets of the operating system cannot be watched: {0}")]
    Poll(io::Error),
    #[error("{}: {source}", path.display())]
    Record { path: PathBuf, source: caesure_engine::RecordError },
    #[error("nothing was cut: answer yes, or give --yes")]
    NotConfirmed,
}

impl Error {
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + use<'_> {
        |source| Self::Io { path: path.to_owned(), source }
    }

    pub(crate) fn format(path: &Path) -> impl Fn(FormatError) -> Self + use<'_> {
        |source| Self::Format { path: path.to_owned(), source }
    }
}
