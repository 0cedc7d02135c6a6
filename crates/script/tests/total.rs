//! Properties of any bytes as a script, and the text that Core's RPC prints for some.
#![allow(clippy::print_stdout, reason = "each test prints how many cases it ran")]

mod data;

use caesure_script::{
    AddressPrefixes, Flags, Instructions, address, classify, disassemble, disassemble_signatures,
    opcode, parse_script, pprint_script, sigop_count, unparse_script,
};
use data::{Random, Spend, bytes, outside_data, text};
use serde_json::Value;

/// Random bytes, of which many are opcodes that have a structure.
fn random_script(random: &mut Random) -> Vec<u8> {
    let structure = [
        opcode::OP_IF,
        opcode::OP_NOTIF,
        opcode::OP_ELSE,
        opcode::OP_ENDIF,
        opcode::OP_PUSHDATA1,
        opcode::OP_PUSHDATA2,
        opcode::OP_CHECKMULTISIG,
        opcode::OP_RETURN,
        opcode::OP_HASH160,
        0,
        2,
        20,
    ];
    let size = random.below(40);
    let byte = |_| match random.below(3) {
        0 => random.bytes(1)[0],
        _ => structure[random.below(structure.len())],
    };
    (0..size).map(byte).collect()
}

#[test]
fn any_bytes_give_values_or_errors_and_come_back() {
    let mut random = Random(7);
    let mut parsed_count = 0;
    for _ in 0..50_000 {
        let script = random_script(&mut random);
        let is_whole = Instructions::new(&script).all(|item| item.is_ok());
        assert_eq!(disassemble(&script).ends_with("[error]"), !is_whole, "{script:?}");
        assert!(sigop_count(&script, true) <= sigop_count(&script, false));
        let is_standard = classify(&script).name() != "nonstandard";
        assert!(is_standard || address(&script, &AddressPrefixes::REGTEST).is_none(), "{script:?}");
        if let Ok(parsed) = parse_script(&script) {
            parsed_count += 1;
            assert!(is_whole);
            assert_eq!(unparse_script(&parsed, false), script);
            let minimal = unparse_script(&parsed, true);
            assert!(minimal.len() <= script.len());
            let again = parse_script(&minimal).unwrap();
            assert_eq!(pprint_script(&again), pprint_script(&parsed), "{script:?}");
            assert!(Instructions::new(&minimal).flatten().all(|item| item.is_minimal_push()));
        }
        let other = random_script(&mut random);
        let spend = Spend::of(other, script, vec![], 0);
        let all = Flags::NAMES.iter().fold(Flags::NONE, |flags, (_, flag)| flags | *flag);
        let with_all = spend.verify(0, all);
        assert!(with_all.is_err() || spend.verify(0, Flags::NONE).is_ok());
    }
    println!("{parsed_count} of 50000 random scripts are well-formed");
    assert!(3_000 < parsed_count);
}

#[test]
fn assembly_text_is_core_s() {
    let check = |script: &str, expected: &str| assert_eq!(disassemble(&bytes(script)), expected);
    check("", "");
    check("004f5160", "0 -1 1 16");
    check("0100018004ffffffff0500000000017e", "0 0 -2147483647 0000000001 OP_CAT");
    check(
        "6ab1babbff02ff",
        "OP_RETURN OP_CHECKLOCKTIMEVERIFY OP_CHECKSIGADD OP_UNKNOWN OP_INVALIDOPCODE [error]",
    );
    let typed = |sighash_type: &str| bytes(&format!("093006020101020101{sighash_type}"));
    for (sighash_type, expected) in [
        ("01", "3006020101020101[ALL]"),
        ("02", "3006020101020101[NONE]"),
        ("03", "3006020101020101[SINGLE]"),
        ("81", "3006020101020101[ALL|ANYONECANPAY]"),
        ("82", "3006020101020101[NONE|ANYONECANPAY]"),
        ("83", "3006020101020101[SINGLE|ANYONECANPAY]"),
        ("04", "300602010102010104"),
    ] {
        assert_eq!(disassemble_signatures(&typed(sighash_type)), expected);
        assert_eq!(disassemble(&typed(sighash_type)), format!("3006020101020101{sighash_type}"));
    }
    let path = "core/functional/rpc_decodescript.json";
    let Some(json) = outside_data(path, "the cases of rpc_decodescript.json") else { return };
    let cases: Vec<(String, Value)> = serde_json::from_slice(&json).unwrap();
    for (script, expected) in &cases {
        let script = bytes(script);
        assert_eq!(disassemble(&script), text(&expected["asm"]));
        assert_eq!(classify(&script).name(), text(&expected["type"]));
        assert_eq!(
            address(&script, &AddressPrefixes::REGTEST).as_deref(),
            expected["address"].as_str()
        );
    }
    println!("rpc_decodescript.json: {} cases", cases.len());
}
