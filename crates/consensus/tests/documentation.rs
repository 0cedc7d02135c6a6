//! `docs/consensus.md` names every reason, and a test that produces it.

use std::collections::BTreeMap;
use std::path::Path;

/// The variants of `Reject`, from its source.
fn variants() -> Vec<String> {
    let source = include_str!("../src/reject.rs");
    let body = source.split("pub enum Reject {").nth(1).unwrap().split("\n}").next().unwrap();
    let lines = body.lines().map(str::trim).filter(|line| line.starts_with(char::is_uppercase));
    lines.map(|line| line.trim_end_matches(',').split('(').next().unwrap().to_owned()).collect()
}

/// The bodies of all test functions, by name.
fn tests() -> BTreeMap<String, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut tests = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            let source = std::fs::read_to_string(path).unwrap();
            for item in source.split("#[test]\nfn ").skip(1) {
                let (name, body) = item.split_once('(').unwrap();
                let body = body.split("\n}").next().unwrap();
                assert!(tests.insert(name.to_owned(), body.to_owned()).is_none(), "{name} twice");
            }
        }
    }
    tests
}

#[test]
fn every_reason_has_a_row_and_every_row_a_test_that_produces_it() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/consensus.md");
    let document = std::fs::read_to_string(path).unwrap();
    let tests = tests();
    let sources: String = ["block_rules", "connect", "context", "header_rules", "header_tree"]
        .into_iter()
        .chain(["input_rules", "signet", "transaction_rules"])
        .map(|name| {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
            std::fs::read_to_string(folder.join(name).with_extension("rs")).unwrap()
        })
        .collect();
    let mut documented = Vec::new();
    for line in document.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
        let [_, reason, variant, function, core, _, class, test, _] = cells[..] else {
            panic!("a row of other cells: {line}");
        };
        let body = tests.get(test).unwrap_or_else(|| panic!("no test {test}"));
        // The helpers that are given a variant assert its text and class.
        assert!(body.contains(&format!("Reject::{variant}")), "{test} without {variant}");
        let text = reason.split(['(', '%']).next().unwrap().trim();
        assert!(body.contains(text), "{test} without {text}");
        let is_asserted = match class {
            "Consensus" => body.contains("broken("),
            "Mutated" => body.contains("mutated("),
            class => body.contains("refused(") && body.contains(&format!("RejectClass::{class}")),
        };
        assert!(is_asserted, "{test} does not assert {class}");
        let name = function.split("::").last().unwrap();
        assert!(sources.contains(&format!("fn {name}")), "no function {function}");
        assert!(sources.contains(core), "{core} is not named in the sources");
        documented.push(variant.to_owned());
    }
    let mut missing = variants();
    assert!(38 < missing.len());
    missing.retain(|variant| !documented.contains(variant));
    assert!(missing.is_empty(), "without a row: {missing:?}");
    documented.retain(|variant| !variants().contains(variant));
    assert!(documented.is_empty(), "rows of no variant: {documented:?}");
}

#[test]
fn variants_are_their_reasons_in_pascal_case() {
    let source = include_str!("../src/reject.rs");
    for variant in variants() {
        let after = source.split(&format!("Self::{variant}")).nth(1).unwrap();
        let reason = after.split('"').nth(1).unwrap();
        let pascal: String = reason
            .split('-')
            .map(|word| {
                let word = word.to_lowercase();
                word[..1].to_uppercase() + &word[1..]
            })
            .collect();
        assert_eq!(pascal, variant);
    }
}
