use std::io;
use std::path::{Path, PathBuf};

use caesure_wire::BlockHash;

/// What can go wrong with a ledger. None of it says anything about a block's validity.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A file of the ledger is damaged.
    #[error("{} is damaged at offset {offset}; move it away, and the ledger is rebuilt from the blocks", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the damage was noticed.
        offset: u64,
    },
    /// A file was written for another network, or by another version.
    #[error("{} belongs to another network or version; choose another base folder", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A block's world is no longer held, or not yet.
    #[error(
        "the world of block {hash} is not held; the oldest is that of {root} at height {height}"
    )]
    NotHeld {
        /// The block that was asked for.
        hash: BlockHash,
        /// The block of the oldest world.
        root: BlockHash,
        /// Its height.
        height: u32,
    },
    /// The window is full of blocks that cannot be folded or dropped.
    #[error("the window is full of blocks that cannot be given up; give a smaller horizon")]
    WindowFull,
    /// A block that the ledger has to undo or redo is not in the block store.
    #[error("block {0} is needed by the ledger and is not in the block store")]
    MissingBlock(BlockHash),
    /// A ledger in memory keeps no journal and cannot go back behind its root.
    #[error("a ledger in memory cannot go back behind its oldest world")]
    NoJournal,
    /// The block store failed.
    #[error(transparent)]
    Store(#[from] caesure_blockstore::Error),
}

impl Error {
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + use<'_> {
        |source| Self::Io { path: path.to_owned(), source }
    }
}
