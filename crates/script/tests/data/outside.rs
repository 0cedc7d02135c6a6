//! Where outside data comes from. The tests of several crates read this file by its path.
#![allow(clippy::print_stdout, reason = "a test says what it leaves out")]

use std::path::PathBuf;

/// Returns the folder of outside data, or prints how many cases are left out without it.
pub(crate) fn folder(left_out: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("CAESURE_TEST_DATA").map(PathBuf::from);
    if folder.is_none() {
        println!("left out without CAESURE_TEST_DATA: {left_out}");
    }
    folder
}

/// Reads a file of outside data, unpacked.
pub(crate) fn outside(path: &str, left_out: &str) -> Option<Vec<u8>> {
    let bytes = std::fs::read(folder(left_out)?.join(path)).expect(path);
    let mut unpacked = Vec::new();
    if path.ends_with(".xz") {
        lzma_rs::xz_decompress(&mut &bytes[..], &mut unpacked).expect(path);
    } else if path.ends_with(".zst") {
        let mut decoder = ruzstd::decoding::StreamingDecoder::new(&bytes[..]).expect(path);
        std::io::Read::read_to_end(&mut decoder, &mut unpacked).expect(path);
    } else {
        unpacked = bytes;
    }
    Some(unpacked)
}
