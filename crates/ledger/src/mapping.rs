#![expect(
    unsafe_code,
    reason = "mapped memory is unsafe; this module is the crate's only such place"
)]

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::path::Path;
use std::slice;
use std::sync::atomic::AtomicU64;

use caesure_blockstore::MappingName;
use memmap2::{Advice, Mmap, MmapMut, MmapOptions, MmapRaw, UncheckedAdvice};

/// A long array of words, all zero at first, that many threads read and one writes.
#[derive(Debug)]
pub(crate) struct Words {
    map: MmapRaw,
    len: usize,
}

impl Words {
    /// Takes memory of the system; a page of it costs nothing before it is touched.
    pub(crate) fn anonymous(len: usize) -> io::Result<Self> {
        let map = MmapMut::map_anon(len * 8)?;
        // Large pages save misses of address translation; a system without them refuses.
        let _ = map.advise(Advice::HugePage);
        Ok(Self { map: map.into(), len })
    }

    /// Takes the words of a file that nobody else has, which the system may write out at will.
    pub(crate) fn of_file(file: &File, len: usize) -> io::Result<Self> {
        // SAFETY: the file has no name and this process alone has it open, at full length and all
        // of it written, so that it neither changes nor shrinks.
        let map = unsafe { MmapOptions::new().len(len * 8).map_mut(file)? };
        Ok(Self { map: map.into(), len })
    }

    pub(crate) fn as_slice(&self) -> &[AtomicU64] {
        // SAFETY: the map is aligned to a page, has `len` words, lives as long as `self`, and is only
        // ever looked at through these atomics.
        unsafe { slice::from_raw_parts(self.map.as_mut_ptr().cast(), self.len) }
    }
}

/// A part of a file, mapped for reading.
#[derive(Debug)]
pub(crate) struct Part {
    // Fields are dropped in this order: the name first.
    _name: MappingName,
    map: Mmap,
}

impl Deref for Part {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.map
    }
}

impl Part {
    /// Lets go of all pages that were looked at; the system's cache of the file keeps them.
    pub(crate) fn release(&self) -> io::Result<()> {
        // SAFETY: the map is shared and only read, so that a page that is looked at again comes back
        // from the file as it was.
        unsafe { self.map.unchecked_advise(UncheckedAdvice::DontNeed) }
    }
}

/// Maps a part of an append-only file for reading, beyond its present end.
pub(crate) fn map_part(file: &File, path: &Path, at: u64, len: usize) -> io::Result<Part> {
    // SAFETY: the caller looks only at bytes below the length that was written, and those are never
    // changed. A file that somebody cuts ends the process with SIGBUS instead of reading on.
    let map = unsafe { MmapOptions::new().offset(at).len(len).map(file)? };
    let _ = map.advise(Advice::Random);
    Ok(Part { _name: MappingName::new(path, &map, at), map })
}

/// Asks for a cache line ahead of its use.
#[inline]
pub(crate) fn prefetch<T>(place: &T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch reads nothing that the program sees, whatever the address.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(place).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}
