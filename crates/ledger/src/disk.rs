use std::fmt::Debug;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use crate::Error;

/// A change to a file, before it is made.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Change<'a> {
    /// A file is made, or emptied.
    Create {
        /// The file.
        path: &'a Path,
    },
    /// Bytes are written.
    Write {
        /// The file.
        path: &'a Path,
        /// Where the first byte goes.
        at: u64,
        /// The bytes.
        bytes: &'a [u8],
    },
    /// A file is cut.
    SetLen {
        /// The file.
        path: &'a Path,
        /// Its new length in bytes.
        len: u64,
    },
    /// What was written is forced to the disk.
    Sync {
        /// The file.
        path: &'a Path,
    },
    /// A file takes the place of another.
    Rename {
        /// Its old name.
        from: &'a Path,
        /// The name that it takes.
        to: &'a Path,
    },
    /// A file is removed.
    Remove {
        /// The file.
        path: &'a Path,
    },
    /// The names in a folder are forced to the disk.
    SyncFolder {
        /// The folder.
        path: &'a Path,
    },
}

/// Is told of every change that a ledger makes to its files, before it is made.
///
/// Tests stand in for a failing disk here: an error that [`before`](Self::before) returns is what the
/// disk would have said, and the change is not made.
pub trait Watch: Send + Sync + Debug {
    /// Allows a change, or fails it.
    ///
    /// # Errors
    /// What the ledger is to see as the disk's error.
    fn before(&self, change: Change<'_>) -> io::Result<()>;
}

/// The way to all changes of files.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk(pub(crate) Option<Arc<dyn Watch>>);

impl Disk {
    fn ask(&self, change: Change<'_>) -> io::Result<()> {
        self.0.as_ref().map_or(Ok(()), |watch| watch.before(change))
    }

    /// Opens a file for reading and writing, made empty if `is_new` or missing.
    pub(crate) fn open(&self, path: &Path, is_new: bool) -> Result<File, Error> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(is_new);
        let makes = is_new || !path.exists();
        let asked = if makes { self.ask(Change::Create { path }) } else { Ok(()) };
        asked.and_then(|()| options.open(path)).map_err(Error::io(path))
    }

    pub(crate) fn write(
        &self,
        file: &File,
        path: &Path,
        at: u64,
        bytes: &[u8],
    ) -> Result<(), Error> {
        self.ask(Change::Write { path, at, bytes })
            .and_then(|()| file.write_all_at(bytes, at))
            .map_err(Error::io(path))
    }

    pub(crate) fn set_len(&self, file: &File, path: &Path, len: u64) -> Result<(), Error> {
        self.ask(Change::SetLen { path, len })
            .and_then(|()| file.set_len(len))
            .map_err(Error::io(path))
    }

    pub(crate) fn sync(&self, file: &File, path: &Path) -> Result<(), Error> {
        self.ask(Change::Sync { path }).and_then(|()| file.sync_data()).map_err(Error::io(path))
    }

    /// Puts a file into the place of another, and sees to it that the names last.
    pub(crate) fn replace(&self, from: &Path, to: &Path) -> Result<(), Error> {
        self.ask(Change::Rename { from, to })
            .and_then(|()| fs::rename(from, to))
            .map_err(Error::io(to))?;
        self.sync_folder(to)
    }

    /// Removes a file, if it is there.
    pub(crate) fn remove(&self, path: &Path) -> Result<(), Error> {
        if !path.exists() {
            return Ok(());
        }
        self.ask(Change::Remove { path })
            .and_then(|()| fs::remove_file(path))
            .map_err(Error::io(path))?;
        self.sync_folder(path)
    }

    /// Forces the names in the folder of `path` to the disk.
    pub(crate) fn sync_folder(&self, path: &Path) -> Result<(), Error> {
        let Some(folder) = path.parent() else { return Ok(()) };
        self.ask(Change::SyncFolder { path: folder })
            .and_then(|()| File::open(folder)?.sync_all())
            .map_err(Error::io(folder))
    }
}
