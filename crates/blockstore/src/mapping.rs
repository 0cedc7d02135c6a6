#![expect(
    unsafe_code,
    reason = "mapping a file is unsafe, as is a signal's handler; this module is the crate's only such place"
)]

use std::ffi::{c_int, c_void};
use std::fs::File;
use std::ops::Deref;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize};
use std::{io, mem, ptr, slice};

use memmap2::{Mmap, UncheckedAdvice};

/// A mapped file.
#[derive(Debug)]
pub(crate) struct Mapped {
    // Fields are dropped in this order: the name first.
    _name: MappingName,
    map: Mmap,
}

impl Deref for Mapped {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.map
    }
}

/// Maps a whole file for reading.
///
/// Only inputs of an import and, under the writer's lock, the store's own file are mapped. Readers of
/// the store in other processes never map it.
pub(crate) fn map(file: &File, path: &Path) -> io::Result<Mapped> {
    // SAFETY: the map is only read, every access is checked against its length, and what is read is
    // judged as untrusted bytes, so a file changed meanwhile gives other bytes and no broken
    // invariant. A file cut meanwhile ends the process with SIGBUS instead of reading on.
    let map = unsafe { Mmap::map(file)? };
    let name = MappingName::new(path, &map, 0);
    Ok(Mapped { _name: name, map })
}

/// Gives the pages of a part of the file back to the system.
pub(crate) fn release(mapped: &Mapped, start: usize, end: usize) -> io::Result<()> {
    // SAFETY: the map is shared and only read, so that a page that is looked at again comes back from
    // the file as it was.
    unsafe { mapped.map.unchecked_advise_range(UncheckedAdvice::DontNeed, start, end - start) }
}

/// So many mappings can be named at once; what is beyond dies without a word.
const NAMES: usize = 1 << 14;
/// The start of a mapping that is being written down.
const BUSY: usize = 1;

/// What is known of a mapping. A start of zero: nothing.
struct Named {
    start: AtomicUsize,
    len: AtomicUsize,
    offset: AtomicU64,
    path: AtomicPtr<u8>,
    path_len: AtomicUsize,
}

static NAMED: [Named; NAMES] = [const {
    Named {
        start: AtomicUsize::new(0),
        len: AtomicUsize::new(0),
        offset: AtomicU64::new(0),
        path: AtomicPtr::new(ptr::null_mut()),
        path_len: AtomicUsize::new(0),
    }
}; NAMES];

/// Who says the sentence, and what was done with the signal before.
static BEFORE: OnceLock<(&str, libc::sigaction)> = OnceLock::new();

/// How long others have to take note of the sentence that [`name_bus_errors`] ends the process with.
const LAST_WORDS_MILLIS: c_int = 200;

/// Remembers of which file a mapping is, for [`name_bus_errors`]. To be dropped before the mapping.
#[derive(Debug)]
pub struct MappingName {
    at: Option<usize>,
    path: Box<[u8]>,
}

impl MappingName {
    /// Writes down that `map` is a part of a file from `offset` on.
    #[must_use]
    pub fn new(path: &Path, map: &[u8], offset: u64) -> Self {
        let path: Box<[u8]> = path.as_os_str().as_bytes().into();
        let is_ours =
            |named: &Named| named.start.compare_exchange(0, BUSY, Acquire, Relaxed).is_ok();
        let at = NAMED.iter().position(is_ours);
        if let Some(named) = at.map(|at| &NAMED[at]) {
            named.len.store(map.len(), Relaxed);
            named.offset.store(offset, Relaxed);
            named.path.store(path.as_ptr().cast_mut(), Relaxed);
            named.path_len.store(path.len(), Relaxed);
            named.start.store(map.as_ptr().addr(), Release);
        }
        Self { at, path }
    }
}

impl Drop for MappingName {
    fn drop(&mut self) {
        if let Some(at) = self.at {
            NAMED[at].start.store(0, Release);
        }
        self.path = Box::default();
    }
}

/// Ends the process with a sentence and exit status 1, and not by a bare SIGBUS, when a page of a
/// file that this crate or the ledger has mapped cannot be read: the disk failed, or another process
/// cut the file. `program` begins the sentence. For the program's `main`; what is not of these
/// mappings goes on to whoever handled the signal before.
///
/// # Panics
/// When the system takes no handler, which it always does.
pub fn name_bus_errors(program: &'static str) {
    BEFORE.get_or_init(|| {
        // SAFETY: all zeros are a valid `sigaction`; both calls are given valid ones.
        unsafe {
            let mut before: libc::sigaction = mem::zeroed();
            assert_eq!(
                libc::sigaction(libc::SIGBUS, ptr::null(), &raw mut before),
                0,
                "it is read"
            );
            (program, before)
        }
    });
    let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = on_bus_error;
    // SAFETY: the handler is of the form that `SA_SIGINFO` asks for, and calls nothing but what is
    // safe in a handler: atomics, `write`, `poll`, `_exit`, `sigaction`.
    unsafe {
        let mut ours: libc::sigaction = mem::zeroed();
        ours.sa_sigaction = handler as *const () as usize;
        ours.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        assert_eq!(libc::sigaction(libc::SIGBUS, &raw const ours, ptr::null_mut()), 0, "it is set");
    }
}

extern "C" fn on_bus_error(_: c_int, info: *mut libc::siginfo_t, _: *mut c_void) {
    let Some((program, before)) = BEFORE.get() else { return };
    // SAFETY: the system hands over a valid `info` with the address that could not be read.
    let address = unsafe { (*info).si_addr() }.addr();
    for named in &NAMED {
        let start = named.start.load(Acquire);
        let Some(inside) = address.checked_sub(start).filter(|_| BUSY < start) else { continue };
        if inside < named.len.load(Relaxed) {
            // SAFETY: the path is freed after the mapping, which this thread is reading.
            let path = unsafe {
                slice::from_raw_parts(named.path.load(Relaxed), named.path_len.load(Relaxed))
            };
            let mut digits = [0; 20];
            let digits = decimal(named.offset.load(Relaxed) + inside as u64, &mut digits);
            let rest = b" cannot be read: the disk failed, or somebody cut the file\n";
            for part in [program.as_bytes(), b": ", path, b" at offset ", digits, rest] {
                // SAFETY: the bytes are valid. What cannot be written is not said.
                let _ = unsafe { libc::write(2, part.as_ptr().cast(), part.len()) };
            }
            // Standard error may be a pipe that a thread of this process reads.
            // SAFETY: it waits for nothing but the time.
            unsafe { libc::poll(ptr::null_mut(), 0, LAST_WORDS_MILLIS) };
            // SAFETY: it ends the process and runs nothing of it.
            unsafe { libc::_exit(1) }
        }
    }
    // SAFETY: what was there before is valid; the reading is tried again and ends there.
    unsafe { libc::sigaction(libc::SIGBUS, ptr::from_ref(before), ptr::null_mut()) };
}

/// A number's digits, at the end of the place given for them.
fn decimal(mut number: u64, digits: &mut [u8; 20]) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b"0123456789"[usize::try_from(number % 10).unwrap_or(0)];
        number /= 10;
        if number == 0 {
            return &digits[at..];
        }
    }
}
