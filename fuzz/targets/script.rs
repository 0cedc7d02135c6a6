#![cfg_attr(fuzzing, no_main)]
//! Any bytes can be taken apart as a script, and what parses is put together to the same bytes.

use caesure_script::{
    AddressPrefixes, Instructions, address, classify, decode_number, disassemble, encode_number,
    is_push_only, is_unspendable, p2sh_sigop_count, parse_script, pprint_script, sigop_count,
    unparse_script, witness_program,
};
use libfuzzer_sys::fuzz_target;

const PREFIXES: AddressPrefixes = AddressPrefixes { p2pkh: 0, p2sh: 5, hrp: "bc" };

fuzz_target!(|data: &[u8]| {
    let instructions: Result<Vec<_>, _> = Instructions::new(data).collect();
    let words = disassemble(data);
    assert_eq!(words.ends_with("[error]"), instructions.is_err());
    if let Ok(parsed) = parse_script(data) {
        assert_eq!(instructions.as_ref().map(Vec::is_empty), Ok(data.is_empty()));
        assert_eq!(unparse_script(&parsed, false), data);
        let text = pprint_script(&parsed);
        let minimal = unparse_script(&parsed, true);
        assert!(minimal.len() <= data.len());
        assert_eq!(pprint_script(&parse_script(&minimal).expect("it was parsed before")), text);
        assert!(Instructions::new(&minimal).flatten().all(|item| item.is_minimal_push()));
    }
    assert!(sigop_count(data, true) <= sigop_count(data, false));
    assert!(p2sh_sigop_count(data, data) <= 20 * data.len());
    let name = classify(data).name();
    let is_program = name.starts_with("witness") || name == "anchor";
    let program = witness_program(data);
    // A program of version 0 with another length can never be spent, and is of no type.
    let is_known = program.is_some_and(|(version, it)| version != 0 || matches!(it.len(), 20 | 32));
    assert_eq!(is_program, is_known);
    assert!(is_unspendable(data) || name != "nulldata");
    assert!(address(data, &PREFIXES).is_none_or(|text| text.len() <= 90));
    assert!(!is_push_only(data) || instructions.is_ok());
    if let Ok(number) = decode_number(data, true, 8) {
        assert_eq!(encode_number(number), data);
    }
});

#[cfg(not(fuzzing))]
fn main() {}
