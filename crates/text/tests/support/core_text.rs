//! Where Bitcoin Core's test vectors come from. The tests of several crates read this file by its path.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

/// Reads a file below `src/test` of the copy of Bitcoin Core that the package `libbitcoinkernel-sys`
/// carries.
pub(crate) fn core_text(path: &str) -> String {
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
        PathBuf::from(manifest.expect("a path")).with_file_name("bitcoin/src/test").join(path);
    std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}
