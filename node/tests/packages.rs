//! The crates as others take them: packaged, in a workspace that has nothing of this one, each with the
//! program of docs/crates.md that uses it and no other. And what the READMEs say of themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    let node = Path::new(env!("CARGO_MANIFEST_DIR"));
    node.parent().expect("node is a folder of the workspace").to_owned()
}

/// Runs cargo and returns what it printed.
fn cargo(dir: &Path, arguments: &[&str]) -> String {
    let cargo = std::env::var_os("CARGO").expect("cargo runs the tests");
    let output = Command::new(cargo).args(arguments).current_dir(dir).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo {arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// The folders in `crates`, which are the names without `caesure-`.
fn crates() -> Vec<String> {
    let entries = fs::read_dir(root().join("crates")).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The text of the first fenced block of a language in a piece of Markdown.
fn fenced<'a>(text: &'a str, language: &str) -> &'a str {
    let start = format!("```{language}\n");
    let (_, rest) = text.split_once(&start).unwrap_or_else(|| panic!("no {language} in:\n{text}"));
    rest.split_once("```").expect("a fence is closed").0
}

/// The programs of docs/crates.md, by crate, with what they print.
fn programs() -> BTreeMap<String, (String, String)> {
    let text = fs::read_to_string(root().join("docs/crates.md")).unwrap();
    let sections = text.split("\n## `").skip(1);
    let program = |section: &str| {
        let (name, rest) = section.split_once('`').expect("the name is in backquotes");
        (name.to_owned(), (fenced(rest, "rust").to_owned(), fenced(rest, "text").to_owned()))
    };
    sections.map(program).collect()
}

#[test]
fn each_crate_builds_from_its_package_alone_and_its_program_prints_what_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let names = crates();
    let mut arguments = vec!["package", "--quiet", "--no-verify", "--allow-dirty", "--target-dir"];
    arguments.push(dir.path().to_str().expect("a path of ASCII"));
    let packages: Vec<String> =
        names.iter().map(|name| format!("--package=caesure-{name}")).collect();
    arguments.extend(packages.iter().map(String::as_str));
    cargo(&root(), &arguments);

    let programs = programs();
    assert_eq!(programs.keys().map(String::as_str).collect::<Vec<_>>(), PROGRAMS);
    let mut manifest = String::from(
        "[workspace]\nresolver = \"3\"\nmembers = [\"program-*\"]\n\n[profile.dev]\ndebug = false\n\n\
         [patch.crates-io]\n",
    );
    for name in &names {
        let archive = dir.path().join(format!("package/caesure-{name}-0.1.0.crate"));
        let status = Command::new("tar").arg("-xzmf").arg(archive).current_dir(dir.path()).status();
        assert!(status.unwrap().success(), "unpacking {name}");
        manifest += &format!("caesure-{name}.path = \"caesure-{name}-0.1.0\"\n");
    }
    fs::write(dir.path().join("Cargo.toml"), manifest).unwrap();
    // The versions that this workspace is tested with; what is not needed is dropped.
    fs::copy(root().join("Cargo.lock"), dir.path().join("Cargo.lock")).unwrap();
    for name in &names {
        let source = match programs.get(name) {
            Some((source, _)) => source.clone(),
            None => format!("use caesure_{name} as _;\n\nfn main() {{}}\n"),
        };
        let lines = source.lines().filter(|line| !line.is_empty()).count();
        assert!(lines <= 30, "the program of {name} has {lines} lines");
        let package = dir.path().join(format!("program-{name}"));
        fs::create_dir_all(package.join("src")).unwrap();
        fs::write(package.join("src/main.rs"), source).unwrap();
        let manifest = format!(
            "[package]\nname = \"program-{name}\"\nedition = \"2024\"\n\n[dependencies]\ncaesure-{name} = \"0.1\"\n"
        );
        fs::write(package.join("Cargo.toml"), manifest).unwrap();
    }
    let target = target.join("packages");
    for name in &names {
        let (what, expected) =
            programs.get(name).map_or(("check", ""), |(_, expected)| ("run", expected));
        let package = format!("program-{name}");
        let target = target.to_str().expect("a path of UTF-8");
        let printed = cargo(dir.path(), &[what, "--quiet", "--target-dir", target, "-p", &package]);
        assert_eq!(printed, expected, "the program of {name}");
    }
}

/// The crates that docs/crates.md has a program of.
const PROGRAMS: [&str; 5] = ["blockstore", "hash", "script", "text", "wire"];

/// How many packages a crate needs on Linux, itself not counted, to so many steps.
fn dependency_count(name: &str, depth: &str) -> usize {
    let package = format!("--package=caesure-{name}");
    let arguments =
        ["tree", "--quiet", "--edges=normal", "--prefix=none", "--format={p}", "--depth"];
    let target = "--target=x86_64-unknown-linux-gnu";
    let tree = cargo(&root(), &[&arguments[..], &[depth, target, &package]].concat());
    // A package that stands twice is marked with a star the second time.
    let packages: BTreeSet<&str> =
        tree.lines().map(|line| line.trim_end_matches(" (*)")).skip(1).collect();
    packages.len()
}

#[test]
fn a_readme_is_short_and_counts_the_dependencies() {
    for name in crates() {
        let text = fs::read_to_string(root().join("crates").join(&name).join("README.md")).unwrap();
        let lines = text.lines().count();
        assert!((20..=40).contains(&lines), "the README of {name} has {lines} lines");
        let (direct, all) = (dependency_count(&name, "1"), dependency_count(&name, "99"));
        let line = format!("Dependencies: {direct} direct, {all} in all.");
        assert!(text.contains(&line), "the README of {name} lacks: {line}");
        assert!(text.contains("```rust"), "the README of {name} has no example");
    }
}
