//! Scripts and addresses as text: there and back for any bytes, and beside rust-bitcoin.
//!
//! Where rust-bitcoin differs on purpose, the test that meets it says how.
#![allow(clippy::print_stdout, reason = "each test prints how many cases it ran")]

mod data;

use bitcoin::script::{Instruction as TheirInstruction, Script};
use bitcoin::{Address, Network};
use caesure_script::{
    AddressError, AddressPrefixes, AssembleError, Instruction, Instructions, ScriptType, address,
    assemble, classify, decode_number, disassemble, disassemble_exact, disassemble_signatures,
    is_push_only, multisig_keys, opcode, parse_address, parse_script, push_int, push_slice,
    sigop_count, unparse_script,
};
use caesure_text::{base58, bech32};
use caesure_wire::Block;
use data::{bytes, core_text, core_vectors, outside_data, text};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

const NETWORKS: [(Network, AddressPrefixes); 5] = [
    (Network::Bitcoin, AddressPrefixes::MAIN),
    (Network::Testnet, AddressPrefixes::TEST),
    (Network::Testnet4, AddressPrefixes::TEST),
    (Network::Signet, AddressPrefixes::TEST),
    (Network::Regtest, AddressPrefixes::REGTEST),
];

/// Data of sizes at the borders of pushes, and numbers, padded ones too, and decimal digits.
fn pushed() -> impl Strategy<Value = Vec<u8>> {
    let digits = (0u8..10, 0u8..10).prop_map(|(high, low)| high << 4 | low);
    prop_oneof![
        vec(any::<u8>(), 0..6),
        vec(select(vec![0, 1, 16, 17, 0x7f, 0x80, 0x81, 0xff]), 0..6),
        vec(digits, 4..7),
        (select(vec![20, 32, 33, 65, 71, 75, 76, 77, 255, 256]), any::<u8>())
            .prop_map(|(size, byte)| std::vec![byte; size]),
    ]
}

fn push(kind: u8, data: &[u8]) -> Vec<u8> {
    let mut script = Vec::new();
    let size = (data.len() as u64).to_le_bytes();
    match kind {
        0x4c..=0x4e => {
            script.push(kind);
            script.extend(&size[..1 << (kind - 0x4c)]);
            script.extend(data);
        }
        _ => push_slice(&mut script, data),
    }
    script
}

/// Scripts of pushes in any form, opcodes, signatures and stray bytes.
fn script() -> impl Strategy<Value = Vec<u8>> {
    let types = vec![0, 1, 2, 3, 4, 0x81, 0x82, 0x83];
    let signature = select(types).prop_map(|sighash_type| {
        push(0, &[&bytes("3006020101020101")[..], &[sighash_type]].concat())
    });
    let piece = prop_oneof![
        4 => (0x4b..=0x4eu8, pushed()).prop_map(|(kind, data)| push(kind, &data)),
        4 => pushed().prop_map(|data| push(0, &data)),
        4 => (0x4f..=0xbau8).prop_map(|opcode| vec![opcode]),
        1 => any::<i64>().prop_map(|number| { let mut it = vec![]; push_int(&mut it, number); it }),
        1 => signature,
        1 => vec(any::<u8>(), 0..4),
    ];
    vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

/// Keys, most with the first byte that their size asks for.
fn key() -> impl Strategy<Value = Vec<u8>> {
    let start = prop_oneof![
        20 => select(vec![(2u8, 33), (3, 33), (4, 65), (6, 65), (7, 65)]),
        1 => (0u8..10, select(vec![32, 33, 34, 64, 65, 66])),
    ];
    (start, any::<u8>()).prop_map(|((first, size), byte)| {
        let mut key = std::vec![byte; size];
        key[0] = first;
        key
    })
}

fn multisig(required: i64, keys: &[Vec<u8>], count: i64) -> Vec<u8> {
    let mut script = Vec::new();
    push_int(&mut script, required);
    keys.iter().for_each(|key| push_slice(&mut script, key));
    push_int(&mut script, count);
    script.push(opcode::OP_CHECKMULTISIG);
    script
}

/// Scripts of each type, whole or with a changed byte.
fn lock() -> impl Strategy<Value = Vec<u8>> {
    let multisig = (1usize..4, vec(key(), 1..6))
        .prop_map(|(required, keys)| multisig(required as i64, &keys, keys.len() as i64));
    let program = (0u8..=17, vec(any::<u8>(), 1..=42)).prop_map(|(version, program)| {
        let version = if version == 0 { 0 } else { version + 0x50 };
        [&[version], &push(0, &program)[..]].concat()
    });
    let known = (select(vec![0x00u8, 0x51]), select(vec![20, 32]), any::<u8>());
    let whole = prop_oneof![
        key().prop_map(|key| [&push(0, &key)[..], &[0xac]].concat()),
        any::<[u8; 20]>().prop_map(|h| [&[0x76, 0xa9, 20], &h[..], &[0x88, 0xac]].concat()),
        any::<[u8; 20]>().prop_map(|h| [&[0xa9, 20], &h[..], &[0x87]].concat()),
        multisig,
        program,
        known.prop_map(
            |(version, size, byte)| [&[version], &push(0, &std::vec![byte; size])[..]].concat()
        ),
        Just(vec![0x51, 2, 0x4e, 0x73]),
        script().prop_map(|script| [&[0x6a], &script[..]].concat()),
        script(),
    ];
    (whole, any::<Index>(), any::<u8>(), 0..3).prop_map(|(mut script, place, byte, is_changed)| {
        if is_changed == 0 && !script.is_empty() {
            let place = place.index(script.len());
            script[place] = byte;
        }
        script
    })
}

const WORDS: [&str; 15] = [
    "0",
    "-1",
    "17",
    "00",
    "0xab",
    "0xabc",
    "OP_DUP",
    "SWAP",
    "OP_PUSHDATA1",
    "OP_PUSHBYTES_2",
    "abcd",
    "'ab'",
    "''",
    "ab[ALL]",
    "[error]",
];

/// The conditions under which Core's words say all, as they are documented.
fn is_told_by_core_s_words(script: &[u8]) -> bool {
    Instructions::new(script).all(|item| {
        let Ok(item) = item else { return false };
        let is_number = decode_number(item.data, true, 4).is_ok();
        let digits = item.data.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
        let reads_as_number = item.data.len() == 5
            && digits
                .parse()
                .is_ok_and(|number| (1_000_000_000..=4_294_967_295u64).contains(&number));
        opcode::name(item.opcode) != "OP_UNKNOWN" && !item.is_data_push()
            || item.is_data_push()
                && item.is_minimal_push()
                && (is_number || 4 < item.data.len())
                && !reads_as_number
    })
}

fn config() -> ProptestConfig {
    ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_bytes_come_back_from_the_exact_words(
        script in script(),
        noise in vec(any::<u8>(), 0..40),
    ) {
        for script in [script, noise] {
            let text = disassemble_exact(&script);
            prop_assert_eq!(assemble(&text), Ok(script), "{}", text);
        }
    }

    #[test]
    fn core_s_words_come_back_exactly_when_they_say_all(script in script()) {
        let text = disassemble(&script);
        let says_all = is_told_by_core_s_words(&script);
        prop_assert_eq!(assemble(&text).as_ref() == Ok(&script), says_all, "{}", text);
        prop_assert_eq!(disassemble_exact(&script) == text, says_all, "{}", text);
        let with_types = disassemble_signatures(&script);
        prop_assert_eq!(assemble(&with_types).as_ref() == Ok(&script), says_all, "{}", with_types);
    }

    #[test]
    fn texts_join_as_scripts_do(start in script(), end in script()) {
        let text = format!("{}\n {}", disassemble_exact(&start), disassemble_exact(&end));
        prop_assert_eq!(assemble(&text), Ok([start, end].concat()));
    }

    #[test]
    fn any_text_is_assembled_or_named_by_its_byte(
        words in vec(prop_oneof!["[ -~é]{0,8}", select(&WORDS[..]).prop_map(String::from)], 0..6),
    ) {
        use AssembleError::{DataSize, MissingData, UnknownWord};

        let text = words.join(" ");
        match assemble(&text) {
            Ok(script) => prop_assert_eq!(assemble(&disassemble_exact(&script)), Ok(script)),
            Err(UnknownWord { at } | MissingData { at } | DataSize { at }) => {
                let (before, word) = text.split_at(at);
                prop_assert!(before.is_empty() || before.ends_with(' '), "{at} of {text:?}");
                prop_assert!(!word.starts_with(' '), "{at} of {text:?}");
                // What is before the word is sound, but for the opcode that awaits data.
                let is_sound = !matches!(assemble(before), Err(UnknownWord { .. }));
                prop_assert!(is_sound, "{at} of {text:?}");
            }
            Err(error) => prop_assert!(false, "{error}"),
        }
    }

    #[test]
    fn forms_come_back_and_minimal_ones_push_the_same(script in script()) {
        if let Ok(parsed) = parse_script(&script) {
            prop_assert_eq!(unparse_script(&parsed, false), &script[..]);
            let minimal = unparse_script(&parsed, true);
            let pushed = |item: Result<Instruction<'_>, _>| item.unwrap().pushed().map(Vec::from);
            let before = Instructions::new(&script).map(pushed);
            prop_assert!(Instructions::new(&minimal).map(pushed).eq(before));
            prop_assert!(Instructions::new(&minimal).all(|item| item.unwrap().is_minimal_push()));
        }
    }

    /// rust-bitcoin writes each push as its opcode and the data, `OP_1` as `OP_PUSHNUM_1`, two
    /// opcodes short (`OP_CLTV`, `OP_CSV`), those of no meaning as `OP_RETURN_187`, and ends at a
    /// push past the end. Nothing is lost in a whole script, but for an empty push of `OP_PUSHDATA1`
    /// and the like its opcode stands alone, which is refused here.
    #[test]
    fn the_words_of_rust_bitcoin_are_read(script in script()) {
        let text = Script::from_bytes(&script).to_asm_string();
        let mut items = Instructions::new(&script);
        let is_told = items.all(|item| {
            item.is_ok_and(|item| !item.data.is_empty() || !(0x4c..=0x4e).contains(&item.opcode))
        });
        if is_told {
            prop_assert_eq!(assemble(&text), Ok(script), "{}", text);
        } else {
            prop_assert!(assemble(&text).is_err(), "{}", text);
        }
    }

    /// rust-bitcoin does not tell in which form data were pushed.
    #[test]
    fn instructions_are_those_of_rust_bitcoin(script in script()) {
        let theirs = Script::from_bytes(&script).instructions().map(|item| match item {
            Ok(TheirInstruction::PushBytes(data)) => Some((None, data.as_bytes())),
            Ok(TheirInstruction::Op(op)) => Some((Some(op.to_u8()), &[][..])),
            Err(_) => None,
        });
        let ours = Instructions::new(&script).map(|item| {
            item.ok().map(|item| ((!item.is_data_push()).then_some(item.opcode), item.data))
        });
        prop_assert_eq!(ours.collect::<Vec<_>>(), theirs.collect::<Vec<_>>());
        let mut items = Instructions::new(&script);
        let is_minimal = items.all(|item| item.is_ok_and(|item| item.is_minimal_push()));
        let theirs = Script::from_bytes(&script).instructions_minimal().all(|item| item.is_ok());
        prop_assert_eq!(is_minimal, theirs);
    }

    /// rust-bitcoin asks less of keys than Core: a first byte of any value in a bare key, and data
    /// of any size in a multisig, whose counts it knows as opcodes only, and does not need the
    /// second. Its `is_op_return` looks at one byte. Its accurate count of signature checks takes a
    /// number with another check between, and is not that of Core there.
    #[test]
    fn types_are_those_of_rust_bitcoin(script in lock()) {
        let theirs = Script::from_bytes(&script);
        let ours = classify(&script);
        prop_assert_eq!(matches!(ours, ScriptType::PubkeyHash(_)), theirs.is_p2pkh());
        prop_assert_eq!(matches!(ours, ScriptType::ScriptHash(_)), theirs.is_p2sh());
        prop_assert_eq!(matches!(ours, ScriptType::WitnessV0KeyHash(_)), theirs.is_p2wpkh());
        prop_assert_eq!(matches!(ours, ScriptType::WitnessV0ScriptHash(_)), theirs.is_p2wsh());
        prop_assert_eq!(matches!(ours, ScriptType::WitnessV1Taproot(_)), theirs.is_p2tr());
        prop_assert_eq!(
            caesure_script::witness_program(&script).map(|(version, _)| version),
            theirs.witness_version().map(bitcoin::WitnessVersion::to_num)
        );
        prop_assert_eq!(is_push_only(&script), theirs.is_push_only());
        prop_assert_eq!(sigop_count(&script, false), theirs.count_sigops_legacy());
        let is_null_data = theirs.is_op_return() && Script::from_bytes(&script[1..]).is_push_only();
        prop_assert_eq!(ours == ScriptType::NullData, is_null_data);
        let has_known_start = |key: &[u8]| match key.len() {
            33 => matches!(key[0], 2 | 3),
            _ => matches!(key[0], 4 | 6 | 7),
        };
        let is_key = theirs.is_p2pk() && has_known_start(&script[1..script.len() - 1]);
        prop_assert_eq!(matches!(ours, ScriptType::Pubkey(_)), is_key);
        if let ScriptType::Multisig { required, keys } = ours {
            prop_assert!(theirs.is_multisig() || 16 < keys);
            let found: Vec<_> = multisig_keys(&script).map(Vec::from).collect();
            prop_assert_eq!(multisig(required as i64, &found, keys as i64), script);
        } else {
            prop_assert_eq!(multisig_keys(&script).count(), 0);
        }
    }

    #[test]
    fn a_multisig_is_one_when_all_its_parts_are_right(
        required in -1i64..22,
        keys in vec(key(), 0..22),
        more in prop_oneof![8 => Just(0), 1 => -1i64..2],
    ) {
        let count = keys.len() as i64;
        let script = multisig(required, &keys, count + more);
        let is_key = |key: &Vec<u8>| match key[0] {
            2 | 3 => key.len() == 33,
            4 | 6 | 7 => key.len() == 65,
            _ => false,
        };
        let has_counts = 1 <= required && required <= count && count <= 20 && more == 0;
        if has_counts && keys.iter().all(is_key) {
            let required = usize::try_from(required).unwrap();
            let expected = ScriptType::Multisig { required, keys: keys.len() };
            prop_assert_eq!(classify(&script), expected);
            prop_assert!(multisig_keys(&script).eq(keys.iter().map(Vec::as_slice)));
        } else {
            prop_assert_eq!(classify(&script), ScriptType::Nonstandard);
            prop_assert_eq!(multisig_keys(&script).count(), 0);
        }
    }

    /// rust-bitcoin has no address for a bare key.
    #[test]
    fn addresses_are_those_of_rust_bitcoin_and_lead_back(script in lock()) {
        for (network, prefixes) in NETWORKS {
            let theirs = Address::from_script(Script::from_bytes(&script), network);
            let ours = address(&script, &prefixes);
            if let ScriptType::Pubkey(_) = classify(&script) {
                let hash = parse_address(&ours.unwrap(), &prefixes).unwrap();
                prop_assert!(matches!(classify(&hash), ScriptType::PubkeyHash(_)));
                continue;
            }
            prop_assert_eq!(&ours, &theirs.ok().map(|it| it.to_string()));
            if let Some(text) = ours {
                prop_assert_eq!(parse_address(&text, &prefixes), Ok(script.clone()), "{}", text);
            }
        }
    }

    /// rust-bitcoin allows no white space around Base58.
    #[test]
    fn damaged_addresses_are_refused_as_by_rust_bitcoin(
        script in lock(),
        from in select(NETWORKS.to_vec()),
        place in any::<Index>(),
        change in prop_oneof!["[ -~]{0,3}", "[ \t\n]{1,2}", Just("é".into())],
        kind in 0..6,
    ) {
        let Some(mut damaged) = address(&script, &from.1) else { return Ok(()) };
        let at = place.index(damaged.len());
        match kind {
            0 => damaged.replace_range(at..=at, &change),
            1 => damaged.insert_str(at, &change),
            2 => damaged = damaged.to_ascii_uppercase(),
            3 => damaged.truncate(at),
            4 => damaged.push_str(&change),
            _ => damaged.insert_str(0, &change),
        }
        let trimmed = damaged.trim_matches([' ', '\t', '\n']);
        for (network, prefixes) in NETWORKS {
            let theirs = trimmed.parse::<Address<_>>().ok();
            let theirs = theirs.and_then(|it| it.require_network(network).ok());
            let is_trimmed = trimmed.len() < damaged.len();
            let theirs = theirs.filter(|it| !is_trimmed || it.witness_program().is_none());
            let ours = parse_address(&damaged, &prefixes);
            prop_assert_eq!(ours.is_ok(), theirs.is_some(), "{:?} {:?}", &damaged, &ours);
            if let (Ok(ours), Some(theirs)) = (ours, theirs) {
                prop_assert_eq!(ours, theirs.script_pubkey().into_bytes());
            }
        }
    }

    #[test]
    fn sound_texts_of_any_payload_are_addresses_only_if_core_says_so(
        prefix in select(vec![0u8, 5, 111, 196, 128, 48]),
        payload in vec(any::<u8>(), 18..23),
        hrp in select(vec!["bc", "tb", "bcrt", "b", "ltc", "tbc"]),
        values in (0u8..20, vec(0u8..32, 0..70)),
        is_m in any::<bool>(),
    ) {
        let legacy = base58::encode_check(&[&[prefix], &payload[..]].concat());
        let variant = if is_m { bech32::Variant::Bech32m } else { bech32::Variant::Bech32 };
        let segwit = bech32::encode(hrp, &[&[values.0], &values.1[..]].concat(), variant).unwrap();
        for (network, prefixes) in NETWORKS {
            for text in [&legacy, &segwit] {
                let theirs = text.parse::<Address<_>>().ok();
                let theirs = theirs.and_then(|it| it.require_network(network).ok());
                let theirs = theirs.map(|it| it.script_pubkey().into_bytes());
                let ours = parse_address(text, &prefixes);
                prop_assert_eq!(ours.as_ref().ok(), theirs.as_ref(), "{}", text);
                let looks_like_bech32 = text.to_ascii_lowercase().starts_with(prefixes.hrp);
                if text == &legacy && !looks_like_bech32 && let Err(error) = ours {
                    prop_assert_eq!(error, match payload.len() + 1 {
                        21 => AddressError::OtherNetwork,
                        length => AddressError::Length { length },
                    });
                }
            }
        }
    }
}

#[test]
fn opcodes_have_the_bytes_and_names_of_core_s_source() {
    let mut names = [const { String::new() }; 256];
    let header = core_text("../script/script.h");
    let source = core_text("../script/script.cpp");
    let mut count = 0;
    for line in header.lines() {
        let line = line.trim();
        let Some((name, value)) = line.split_once(" = 0x").filter(|_| line.starts_with("OP_"))
        else {
            continue;
        };
        let Some(code) = value.get(..2).and_then(|value| u8::from_str_radix(value, 16).ok()) else {
            continue;
        };
        assert_eq!(opcode::from_name(name), Some(code), "{name}");
        let case = source.lines().find(|line| line.split_whitespace().take(2).eq(["case", name]));
        names[usize::from(code)] =
            case.unwrap_or_else(|| panic!("{name}")).split('"').nth(1).unwrap().to_owned();
        count += 1;
    }
    for (code, name) in (0..=255).zip(&names) {
        let expected = if name.is_empty() { "OP_UNKNOWN" } else { name };
        assert_eq!(opcode::name(code), expected, "{code:#x}");
    }
    println!("script.h: {count} opcodes");
    assert_eq!(count, 113);
}

#[test]
fn core_s_list_for_parse_script() {
    let source = core_text("script_parse_tests.cpp");
    let pairs: Vec<Vec<&str>> = source
        .lines()
        .filter(|line| line.trim_start().starts_with("{\""))
        .map(|line| line.split('"').skip(1).step_by(2).collect())
        .collect();
    for pair in &pairs {
        assert_eq!(assemble(pair[0]), Ok(bytes(pair[1])), "{pair:?}");
    }
    assert!(assemble("11111111111").is_err());
    println!("script_parse_tests.cpp: {} cases", pairs.len());
    assert_eq!(pairs.len(), 24);
}

/// The prefixes of a chain as Core's vectors name it.
fn prefixes_of(chain: &str) -> AddressPrefixes {
    match chain {
        "main" => AddressPrefixes::MAIN,
        "test" | "testnet4" | "signet" => AddressPrefixes::TEST,
        "regtest" => AddressPrefixes::REGTEST,
        _ => panic!("{chain}"),
    }
}

#[test]
fn core_s_list_of_valid_addresses_on_their_networks_only() {
    let vectors = core_vectors("key_io_valid.json");
    let mut address_count = 0;
    for vector in &vectors {
        let (address_text, expected) = (text(&vector[0]), bytes(text(&vector[1])));
        let prefixes = prefixes_of(text(&vector[2]["chain"]));
        let swap = |c: char| {
            if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() }
        };
        let flipped: String = address_text.chars().map(swap).collect();
        if vector[2]["isPrivkey"] == true {
            for prefixes in AddressPrefixes::ALL {
                let error = parse_address(address_text, &prefixes).unwrap_err();
                assert!(matches!(error, AddressError::Length { length: 33 | 34 }), "{error}");
            }
            continue;
        }
        address_count += 1;
        assert_eq!(parse_address(address_text, &prefixes), Ok(expected.clone()), "{address_text}");
        assert_eq!(address(&expected, &prefixes).as_deref(), Some(address_text));
        let flips = vector[2]["tryCaseFlip"] == true;
        assert_eq!(parse_address(&flipped, &prefixes).is_ok(), flips, "{flipped}");
        for other in AddressPrefixes::ALL {
            let is_alike = match bech32::decode(address_text) {
                Ok((hrp, ..)) => hrp == other.hrp,
                Err(_) => other.p2pkh == prefixes.p2pkh,
            };
            let result = parse_address(address_text, &other);
            let expected = is_alike.then(|| expected.clone()).ok_or(AddressError::OtherNetwork);
            assert_eq!(result, expected, "{address_text} {other:?}");
        }
    }
    println!("key_io_valid.json: {} cases, {address_count} of them addresses", vectors.len());
    assert_eq!(vectors.len(), 70);
}

#[test]
fn core_s_list_of_texts_that_are_no_addresses() {
    let vectors: Vec<[String; 1]> =
        serde_json::from_str(&core_text("data/key_io_invalid.json")).unwrap();
    for [text] in &vectors {
        for prefixes in AddressPrefixes::ALL {
            assert!(parse_address(text, &prefixes).is_err(), "{text}");
        }
    }
    println!("key_io_invalid.json: {} cases", vectors.len());
    assert_eq!(vectors.len(), 70);
}

#[test]
fn scripts_of_real_blocks_come_back_and_are_those_of_rust_bitcoin() {
    let what = "the scripts of block 413567 and of testnet3 up to height 2016";
    let Some(block) = outside_data("blocks/mainnet/413567.raw", what) else { return };
    let chain = outside_data("chains/testnet3-0-2016.json.xz", what).unwrap();
    let chain: Vec<String> = serde_json::from_slice(&chain).unwrap();
    let (mut count, mut told_count) = (0, 0);
    let mut check = |script: &[u8]| {
        let text = disassemble_exact(script);
        assert_eq!(assemble(&text).as_deref(), Ok(script), "{text}");
        count += 1;
        told_count += usize::from(disassemble(script) == text);
        if Instructions::new(script).all(|item| item.is_ok()) {
            let theirs = Script::from_bytes(script).to_asm_string();
            assert_eq!(assemble(&theirs).as_deref(), Ok(script), "{theirs}");
        }
        if !matches!(classify(script), ScriptType::Pubkey(_)) {
            let theirs = Address::from_script(Script::from_bytes(script), Network::Testnet);
            let ours = address(script, &AddressPrefixes::TEST);
            assert_eq!(ours, theirs.ok().map(|it| it.to_string()), "{text}");
        }
    };
    for block in chain.iter().map(|block| bytes(block)).chain([block]) {
        let block = Block::parse(&block[..]).unwrap();
        for tx in block.txs() {
            tx.inputs().for_each(|input| check(input.script_sig));
            tx.outputs().for_each(|output| check(output.script_pubkey));
        }
    }
    println!("{count} scripts, {told_count} of them told by Core's words");
    assert!(10_000 < count && told_count < count);
}
