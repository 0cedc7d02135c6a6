use std::io;
use std::path::{Path, PathBuf};

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
    #[error(transparent)]
    Generate(#[from] caesure_generate::Error),
    #[error("the blocks in {} are not of {network}: choose their network", folder.display())]
    OtherGenesis { folder: PathBuf, network: &'static str },
    #[error("{0} is not a block of this chain: give a hash, a height, tip or tip-N")]
    NoSuchBlock(String),
    #[error("there is nothing in {}: import a block file first", .0.display())]
    EmptyBase(PathBuf),
    #[error("the signals of the operating system cannot be caught: {0}")]
    Signals(#[from] ctrlc::Error),
    #[error("nothing was cut: answer yes, or give --yes")]
    NotConfirmed,
}

impl Error {
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + use<'_> {
        |source| Self::Io { path: path.to_owned(), source }
    }
}
