//! `text`, `hash`, `wire` and `script` in a static library that a C program links, with a panic
//! handler and an allocator of its own: proof that nothing below them needs the standard library,
//! which would bring a second panic handler and not compile. `main.c` is the program.

#![no_std]
#![expect(unsafe_code, reason = "the border to C, and the allocator")]

extern crate alloc;

use alloc::vec::Vec;
use core::alloc::{GlobalAlloc, Layout};
use core::panic::PanicInfo;
use core::slice;

use caesure_hash::sha256d;
use caesure_script::{Flags, TxContext};
use caesure_text::hex;
use caesure_wire::{OutputView, Tx};

unsafe extern "C" {
    fn aligned_alloc(alignment: usize, size: usize) -> *mut u8;
    fn free(memory: *mut u8);
    fn abort() -> !;
}

/// The allocator of the C library.
struct CAllocator;

#[global_allocator]
static ALLOCATOR: CAllocator = CAllocator;

// SAFETY: `aligned_alloc` gives memory of the size and alignment asked for, or null.
unsafe impl GlobalAlloc for CAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let alignment = layout.align().max(size_of::<usize>());
        // SAFETY: the alignment is a power of two and divides the size.
        unsafe { aligned_alloc(alignment, layout.size().next_multiple_of(alignment)) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, _: Layout) {
        // SAFETY: it came from `aligned_alloc`.
        unsafe { free(memory) }
    }
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    // SAFETY: it has no conditions.
    unsafe { abort() }
}

/// Named by the compiled `alloc` for unwinding, which does not happen here.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

/// Judges the spend by input 0 of a transaction in hexadecimal, under the rules of consensus, and writes
/// the transaction's double SHA-256 to `hash`.
///
/// Returns 0 when it is valid, -1 when a text is no transaction or no script, else 1 and the place of
/// the error in Core's list of script errors.
///
/// # Safety
/// Each pointer must have as many readable bytes as the length after it says, and `hash` room for 32.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn caesure_verify(
    tx: *const u8,
    tx_len: usize,
    script_pubkey: *const u8,
    script_pubkey_len: usize,
    value: i64,
    hash: &mut [u8; 32],
) -> i32 {
    // SAFETY: the caller vouches for both.
    let (tx, script) = unsafe { (text(tx, tx_len), text(script_pubkey, script_pubkey_len)) };
    let (Some(tx), Some(script_pubkey)) = (tx, script) else { return -1 };
    *hash = sha256d(&tx);
    let Ok(tx) = Tx::parse(tx) else { return -1 };
    if tx.view().input_count() != 1 {
        return -1;
    }
    let spent = [OutputView { value, script_pubkey: &script_pubkey }];
    match TxContext::new(tx.view(), &spent).verify_input(0, Flags::P2SH | Flags::WITNESS) {
        Ok(()) => 0,
        Err(error) => 1 + error as i32,
    }
}

/// Reads hexadecimal.
unsafe fn text(digits: *const u8, len: usize) -> Option<Vec<u8>> {
    // SAFETY: the caller vouches for it.
    let digits = unsafe { slice::from_raw_parts(digits, len) };
    hex::decode(core::str::from_utf8(digits).ok()?).ok()
}
