#![expect(
    unsafe_code,
    reason = "mapping a file is unsafe; this module is the crate's only such place"
)]

use std::fs::File;
use std::io;

use memmap2::{Mmap, UncheckedAdvice};

/// Maps a whole file for reading.
///
/// Only inputs of an import and, under the writer's lock, the store's own file are mapped. Readers of
/// the store in other processes never map it.
pub(crate) fn map(file: &File) -> io::Result<Mmap> {
    // SAFETY: the map is only read, every access is checked against its length, and what is read is
    // judged as untrusted bytes, so a file changed meanwhile gives other bytes and no broken
    // invariant. A file cut meanwhile ends the process with SIGBUS instead of reading on.
    unsafe { Mmap::map(file) }
}

/// Gives the pages of a part of the file back to the system.
pub(crate) fn release(map: &Mmap, start: usize, end: usize) -> io::Result<()> {
    // SAFETY: the map is shared and only read, so that a page that is looked at again comes back from
    // the file as it was.
    unsafe { map.unchecked_advise_range(UncheckedAdvice::DontNeed, start, end - start) }
}
