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
    #[error("{} is damaged at offset {offset}", path.display())]
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
    /// The table has no room for more coins.
    #[error("the table is full: it holds about 1.4 billion coins")]
    TableFull,
    /// The log cannot grow.
    #[error("{} is full: it holds one tebibyte, and 32 MiB a block", path.display())]
    LogFull {
        /// The file.
        path: PathBuf,
    },
    /// The ledger does not go back to this block.
    #[error("block {hash} is no ancestor of the ledger's root, or below its base {base}")]
    NoAncestor {
        /// The block that was asked for.
        hash: BlockHash,
        /// The first block of the ledger.
        base: BlockHash,
    },
    /// A change failed half-way before.
    #[error("the ledger failed before; start again, and it goes on from what is on the disk")]
    Broken,
    /// A snapshot was to be loaded into a ledger that has blocks.
    #[error("{} has blocks already; a snapshot is loaded into an empty ledger", path.display())]
    NotEmpty {
        /// The log.
        path: PathBuf,
    },
    /// A snapshot's coins do not have the hash that was asked for.
    #[error("the coins have the hash {found}, not {expected}: nothing was loaded")]
    SnapshotHash {
        /// What they hash to, as Core prints it.
        found: BlockHash,
        /// What was asked for.
        expected: BlockHash,
    },
    /// The block store failed.
    #[error(transparent)]
    Store(#[from] caesure_blockstore::Error),
}

impl Error {
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + use<'_> {
        |source| Self::Io { path: path.to_owned(), source }
    }
}
