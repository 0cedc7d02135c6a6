//! The shape of the workspace: who may depend on whom, what may be called what, and how long a file
//! may be. ARCHITECTURE.md says why.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// What each crate may depend on among the others. Those above `node` may use all.
///
/// `eventlog` stands beside the others: whoever has something to say says it as one of its events, which
/// is shorter than as many types of events and as many translations as there are layers above.
const EDGES: [(&str, &[&str]); 13] = [
    ("eventlog", &[]),
    ("hash", &[]),
    ("text", &["hash"]),
    ("wire", &["hash"]),
    ("script", &["wire", "hash", "text"]),
    ("consensus", &["script", "wire", "hash"]),
    ("blockstore", &["wire", "hash"]),
    ("ledger", &["consensus", "blockstore", "wire", "hash"]),
    ("generate", &["consensus", "script", "wire", "hash"]),
    ("p2p", &["consensus", "wire", "hash", "eventlog"]),
    ("engine", &["p2p", "consensus", "wire", "hash", "eventlog"]),
    ("prompt", &["ledger", "consensus", "script", "wire", "text", "hash"]),
    (
        "http",
        &[
            "engine",
            "p2p",
            "ledger",
            "consensus",
            "script",
            "wire",
            "text",
            "hash",
            "eventlog",
            "prompt",
        ],
    ),
];

const BANNED_NAMES: [&str; 7] =
    ["common", "core", "types", "utils", "helpers", "prelude", "primitives"];

/// What may lie beside dot-files at the top, and where cargo builds.
const TOP: [&str; 13] = [
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "benches",
    "crates",
    "docs",
    "examples",
    "fuzz",
    "node",
    "target",
];

const MAX_LINES: usize = 800;

fn root() -> PathBuf {
    let node = Path::new(env!("CARGO_MANIFEST_DIR"));
    node.parent().expect("node is a folder of the workspace").to_owned()
}

/// The packages of the workspace, as cargo sees them.
fn packages() -> Vec<Value> {
    let cargo = std::env::var_os("CARGO").expect("cargo runs the tests");
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--format-version", "1", "--manifest-path"])
        .arg(root().join("Cargo.toml"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

/// The names of what a package depends on, not counting its tests.
fn dependencies(package: &Value) -> BTreeSet<&str> {
    let all = package["dependencies"].as_array().unwrap().iter();
    all.filter(|it| it["kind"] != "dev").map(|it| it["name"].as_str().unwrap()).collect()
}

/// All Rust files under a folder, but those of tests.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy();
            if path.is_dir() && !["tests", "target"].contains(&&*name) {
                folders.push(path);
            } else if name.ends_with(".rs") && name != "tests.rs" {
                files.push(path);
            }
        }
    }
    assert!(!files.is_empty(), "{}", folder.display());
    files
}

/// The part of a source file before its tests.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default().to_owned()
}

#[test]
fn dependencies_point_down_only() {
    let packages = packages();
    let mut seen = 0;
    for package in &packages {
        let name = package["name"].as_str().unwrap();
        let Some(name) = name.strip_prefix("caesure-") else { continue };
        let Some((_, allowed)) = EDGES.iter().find(|(crate_name, _)| *crate_name == name) else {
            assert!(["examples", "benches"].contains(&name), "{name} has no place in the layers");
            continue;
        };
        seen += 1;
        for dependency in dependencies(package) {
            let own = dependency.strip_prefix("caesure").map(|rest| rest.trim_start_matches('-'));
            let is_allowed = own.is_none_or(|own| allowed.contains(&own));
            assert!(is_allowed, "{name} must not depend on {dependency}");
        }
    }
    assert_eq!(seen, EDGES.len(), "every crate of the list exists");
}

#[test]
fn every_folder_of_crates_is_a_package_of_its_name() {
    let packages = packages();
    let names: BTreeSet<&str> =
        packages.iter().map(|package| package["name"].as_str().unwrap()).collect();
    for entry in fs::read_dir(root().join("crates")).unwrap() {
        let folder = entry.unwrap().file_name().into_string().unwrap();
        assert!(names.contains(&*format!("caesure-{folder}")), "crates/{folder}");
    }
    assert!(names.contains("caesure"));
}

#[test]
fn sockets_are_only_in_node() {
    for package in packages().iter().filter(|package| package["name"] != "caesure") {
        assert!(!dependencies(package).contains("mio"), "{}", package["name"]);
    }
}

#[test]
fn nothing_is_called_common_or_the_like() {
    let crates = root().join("crates");
    let files: Vec<PathBuf> = EDGES
        .iter()
        .map(|(name, _)| crates.join(name))
        .chain([root().join("node")])
        .flat_map(|folder| sources(&folder))
        .collect();
    for path in files {
        let inside = path.strip_prefix(root()).unwrap();
        for part in inside.with_extension("").components() {
            let part = part.as_os_str().to_string_lossy();
            assert!(!BANNED_NAMES.contains(&&*part), "{}", inside.display());
        }
    }
}

#[test]
fn the_top_level_has_nothing_else() {
    for entry in fs::read_dir(root()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(name.starts_with('.') || TOP.contains(&&*name), "{name} at the top level");
    }
}

#[test]
fn no_source_file_is_longer_than_800_lines() {
    for folder in ["crates", "node", "examples", "benches", "fuzz"] {
        for path in sources(&root().join(folder)) {
            let lines = code(&path).lines().count();
            assert!(lines <= MAX_LINES, "{} has {lines} lines", path.display());
        }
    }
}

#[test]
fn no_crate_below_node_reads_a_clock_or_starts_a_thread_that_it_leaves() {
    for (name, _) in EDGES {
        for path in sources(&root().join("crates").join(name).join("src")) {
            let code = code(&path);
            for banned in ["time::Instant", "Instant::now", "SystemTime", "thread::spawn"] {
                // A server has time limits, by its runtime's clock.
                let is_served = name == "http" && banned.contains("Instant");
                let allowed = if is_served { "std::time::Instant" } else { banned };
                assert!(!code.contains(allowed), "{} mentions {banned}", path.display());
            }
        }
    }
}
