//! Where test data comes from.
#![allow(clippy::print_stdout, reason = "what is left out is said")]

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

/// Reads a file of the test data that the package `libbitcoinkernel-sys` carries.
pub(crate) fn core_json(name: &str) -> Value {
    let cargo = std::env::var("CARGO").unwrap_or("cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("metadata is JSON");
    let mut packages = metadata["packages"].as_array().expect("packages").iter();
    let package = packages.rfind(|package| package["name"] == "libbitcoinkernel-sys");
    let manifest = package.expect("the package is downloaded")["manifest_path"].as_str();
    let file =
        PathBuf::from(manifest.expect("a path")).with_file_name("bitcoin/src/test/data").join(name);
    serde_json::from_slice(&std::fs::read(&file).expect("the package has it")).expect("it is JSON")
}

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

/// Reads a file of outside data as JSON.
pub(crate) fn outside_json(path: &str, left_out: &str) -> Option<Value> {
    outside(path, left_out).map(|bytes| serde_json::from_slice(&bytes).expect(path))
}

/// Reads hexadecimal digits, with or without `0x` before them.
pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digits = text.trim_start_matches("0x").as_bytes();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}
