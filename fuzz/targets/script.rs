#![cfg_attr(fuzzing, no_main)]
//! Any bytes can be taken apart as a script, and what parses is put together to the same bytes. Any
//! text is assembled or refused, and so are addresses.

use caesure_script::{
    AddressPrefixes, Instructions, ScriptType, address, assemble, classify, decode_number,
    disassemble, disassemble_exact, disassemble_signatures, encode_number, is_push_only,
    is_unspendable, multisig_keys, p2sh_sigop_count, parse_address, parse_script, pprint_script,
    sigop_count, unparse_script, witness_program,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    check_words(data);
    check_forms(data);
    check_type(data);
    if let Ok(text) = str::from_utf8(data) {
        check_text(text);
    }
    assert!(sigop_count(data, true) <= sigop_count(data, false));
    assert!(p2sh_sigop_count(data, data) <= 20 * data.len());
    if let Ok(number) = decode_number(data, true, 8) {
        assert_eq!(encode_number(number), data);
    }
});

fn check_words(script: &[u8]) {
    let is_whole = Instructions::new(script).all(|item| item.is_ok());
    let words = disassemble(script);
    assert_eq!(words.ends_with("[error]"), !is_whole);
    let exact = disassemble_exact(script);
    assert_eq!(assemble(&exact).as_deref(), Ok(script));
    let comes_back = |text: &str| assemble(text).as_deref() == Ok(script);
    assert_eq!(comes_back(&words), words == exact);
    assert_eq!(comes_back(&disassemble_signatures(script)), words == exact);
    assert!(!is_push_only(script) || is_whole);
}

fn check_forms(script: &[u8]) {
    let Ok(parsed) = parse_script(script) else { return };
    assert!(Instructions::new(script).all(|item| item.is_ok()));
    assert_eq!(unparse_script(&parsed, false), script);
    let text = pprint_script(&parsed);
    let minimal = unparse_script(&parsed, true);
    assert!(minimal.len() <= script.len());
    assert_eq!(pprint_script(&parse_script(&minimal).expect("it was parsed before")), text);
    assert!(Instructions::new(&minimal).flatten().all(|item| item.is_minimal_push()));
}

fn check_type(script: &[u8]) {
    let kind = classify(script);
    let is_program = kind.name().starts_with("witness") || kind == ScriptType::Anchor;
    // A program of version 0 with another length can never be spent, and is of no type.
    let is_known = witness_program(script)
        .is_some_and(|(version, it)| version != 0 || matches!(it.len(), 20 | 32));
    assert_eq!(is_program, is_known);
    assert!(is_unspendable(script) || kind != ScriptType::NullData);
    let key_count = if let ScriptType::Multisig { keys, .. } = kind { keys } else { 0 };
    assert_eq!(multisig_keys(script).count(), key_count);
    for prefixes in AddressPrefixes::ALL {
        let Some(text) = address(script, &prefixes) else { continue };
        assert!(text.len() <= 90);
        let again = parse_address(&text, &prefixes).expect("it was written here");
        assert!(again == script || matches!(kind, ScriptType::Pubkey(_)));
    }
}

fn check_text(text: &str) {
    if let Ok(script) = assemble(text) {
        assert_eq!(assemble(&disassemble_exact(&script)), Ok(script));
    }
    for prefixes in AddressPrefixes::ALL {
        if let Ok(script) = parse_address(text, &prefixes) {
            let again = address(&script, &prefixes).expect("it came from an address");
            assert!(text.trim().eq_ignore_ascii_case(&again));
        }
    }
}

#[cfg(not(fuzzing))]
fn main() {}
