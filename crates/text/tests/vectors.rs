//! Core's and the BIPs' vectors.
#![allow(clippy::print_stdout, reason = "each test tells how many cases it ran")]

#[path = "support/core_text.rs"]
mod core_text;

use std::path::PathBuf;

use caesure_text::bech32::{self, Variant};
use caesure_text::{TextError, base58, hex, wif};
use serde_json::Value;

fn core_vectors(name: &str) -> Value {
    serde_json::from_str(&core_text::core_text(&format!("data/{name}"))).unwrap()
}

fn bip_vectors(name: &str) -> Option<Value> {
    let Some(folder) = std::env::var_os("CAESURE_TEST_DATA") else {
        println!("{name}: all cases left out, CAESURE_TEST_DATA is not set");
        return None;
    };
    let path = PathBuf::from(folder).join("bips").join(name);
    Some(serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap())
}

fn text<'a>(case: &'a Value, key: &str) -> &'a str {
    case[key].as_str().unwrap()
}

#[test]
fn core_base58_encode_decode() {
    let vectors = core_vectors("base58_encode_decode.json");
    let cases = vectors.as_array().unwrap();
    for case in cases {
        let [bytes, text] = [0, 1].map(|i| case[i].as_str().unwrap());
        let bytes = hex::decode(bytes).unwrap();
        assert_eq!(base58::encode(&bytes), text);
        assert_eq!(base58::decode(text), Ok(bytes));
    }
    assert!(10 < cases.len());
    println!("base58_encode_decode.json: {} cases", cases.len());
}

/// What texts of a network start with, under the name that Core's lists have for it.
struct Network {
    chain: &'static str,
    p2pkh: u8,
    p2sh: u8,
    private_key: u8,
    hrp: &'static str,
}

const NETWORKS: [Network; 5] = [
    Network { chain: "main", p2pkh: 0, p2sh: 5, private_key: wif::MAIN_PREFIX, hrp: "bc" },
    test_network("test", "tb"),
    test_network("testnet4", "tb"),
    test_network("signet", "tb"),
    test_network("regtest", "bcrt"),
];

const fn test_network(chain: &'static str, hrp: &'static str) -> Network {
    Network { chain, p2pkh: 111, p2sh: 196, private_key: wif::TEST_PREFIX, hrp }
}

/// The script of an address, and the address written anew.
fn address(network: &Network, text: &str) -> Option<(Vec<u8>, String)> {
    if let Ok((version, program)) = bech32::decode_segwit(network.hrp, text) {
        let text = bech32::encode_segwit(network.hrp, version, &program).unwrap();
        return Some((script_of(version, &program), text));
    }
    let payload = base58::decode_check(text).ok()?;
    let (prefix, hash) = payload.split_first().filter(|(_, hash)| hash.len() == 20)?;
    let (start, end) = match *prefix {
        prefix if prefix == network.p2pkh => ("76a914", "88ac"),
        prefix if prefix == network.p2sh => ("a914", "87"),
        _ => return None,
    };
    let script = [&hex::decode(start).unwrap(), hash, &hex::decode(end).unwrap()].concat();
    Some((script, base58::encode_check(&payload)))
}

#[test]
fn core_key_io_valid_both_ways_for_every_network() {
    let vectors = core_vectors("key_io_valid.json");
    let cases = vectors.as_array().unwrap();
    let (mut private_keys, mut flipped) = (0, 0);
    for case in cases {
        let [text, data] = [0, 1].map(|i| case[i].as_str().unwrap());
        let bytes = hex::decode(data).unwrap();
        let chain = case[2]["chain"].as_str().unwrap();
        let network = NETWORKS.iter().find(|network| network.chain == chain).unwrap();
        if case[2]["isPrivkey"] == true {
            let is_compressed = case[2]["isCompressed"].as_bool().unwrap();
            let key: [u8; 32] = bytes.try_into().unwrap();
            assert_eq!(wif::decode(network.private_key, text), Ok((key, is_compressed)));
            let encoded = wif::encode(network.private_key, &key, is_compressed);
            assert_eq!(encoded.as_deref(), Ok(text));
            assert_eq!(address(network, text), None, "{text}");
            private_keys += 1;
            continue;
        }
        assert_eq!(address(network, text), Some((bytes.clone(), text.into())));
        assert!(wif::decode(network.private_key, text).is_err(), "{text}");
        let other_case = |c: char| match c.is_ascii_lowercase() {
            true => c.to_ascii_uppercase(),
            false => c.to_ascii_lowercase(),
        };
        let other: String = text.chars().map(other_case).collect();
        if case[2]["tryCaseFlip"] == true {
            assert_eq!(address(network, &other), Some((bytes, text.into())));
            flipped += 1;
        } else {
            assert_eq!(address(network, &other), None, "{other}");
        }
    }
    assert!(10 < private_keys && 20 < flipped && private_keys + flipped < cases.len());
    println!(
        "key_io_valid.json: {} cases, {private_keys} of private keys, {flipped} in capitals also",
        cases.len()
    );
}

#[test]
fn core_key_io_invalid_is_refused_for_every_network() {
    let vectors = core_vectors("key_io_invalid.json");
    let cases = vectors.as_array().unwrap();
    for case in cases {
        let text = case[0].as_str().unwrap();
        for network in &NETWORKS {
            assert_eq!(address(network, text), None, "{text} on {}", network.chain);
            assert!(wif::decode(network.private_key, text).is_err(), "{text} on {}", network.chain);
        }
    }
    assert!(50 < cases.len());
    println!("key_io_invalid.json: {} cases, {} networks each", cases.len(), NETWORKS.len());
}

#[test]
fn addresses_of_later_versions_in_bip173s_list_are_invalid_since_bip350() {
    let refuse = |address: &str| {
        let hrp = address[..2].to_lowercase();
        let version = bech32::decode(address).unwrap().1[0];
        let error = bech32::decode_segwit(&hrp, address).unwrap_err();
        assert!(version != 0 && error == TextError::WrongVariant { version }, "{address}");
    };
    refuse("bc1pw508d6qejxtdg4y5r3zarvary0c5xw7kw508d6qejxtdg4y5r3zarvary0c5xw7k7grplx");
    let Some(lists) = bip_vectors("bip-0173-lists.json") else { return };
    let cases = lists["valid_address"].as_array().unwrap();
    let is_later = |case: &&Value| !text(case, "scriptPubKey").starts_with("00");
    let later: Vec<&Value> = cases.iter().filter(is_later).collect();
    later.iter().for_each(|case| refuse(text(case, "address")));
    assert!(2 < later.len() && later.len() < cases.len());
    println!("bip-0173: {} of {} valid addresses refused", later.len(), cases.len());
}

#[test]
fn bip173_and_bip350_lists() {
    for (name, variant) in [("bip-0173", Variant::Bech32), ("bip-0350", Variant::Bech32m)] {
        let Some(lists) = bip_vectors(&format!("{name}-lists.json")) else { continue };
        let list = |key: &str| lists[key].as_array().unwrap().clone();
        for case in list("valid_checksum") {
            let text = case.as_str().unwrap();
            let (hrp, values, found) = bech32::decode(text).unwrap();
            assert_eq!(found, variant, "{text}");
            assert_eq!(bech32::encode(&hrp, &values, variant).unwrap(), text.to_lowercase());
        }
        for case in list("invalid_checksum") {
            assert!(bech32::decode(text(&case, "string")).is_err(), "{case}");
        }
        for case in list("valid_address") {
            let address = text(&case, "address");
            let hrp = &address[..2].to_lowercase();
            let result = bech32::decode_segwit(hrp, address);
            let script = text(&case, "scriptPubKey");
            if variant == Variant::Bech32 && !script.starts_with("00") {
                continue;
            }
            let (version, program) = result.unwrap();
            assert_eq!(hex::encode(&script_of(version, &program)), script);
            let encoded = bech32::encode_segwit(hrp, version, &program);
            assert_eq!(encoded, Ok(address.to_lowercase()));
        }
        for case in list("invalid_address") {
            for hrp in ["bc", "tb"] {
                assert!(bech32::decode_segwit(hrp, text(&case, "address")).is_err(), "{case}");
            }
        }
        let count: usize =
            lists.as_object().unwrap().values().filter_map(|l| l.as_array()).map(Vec::len).sum();
        println!("{name}: {count} cases");
    }
}

#[test]
fn genesis_address() {
    let hash = hex::decode("62e907b15cbf27d5425399ebf6f0fb50ebb88f18").unwrap();
    let address = "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa";
    assert_eq!(base58::encode_check(&[&[0][..], &hash].concat()), address);
    assert_eq!(base58::decode_check(address).unwrap()[1..], hash);
}

fn script_of(version: u8, program: &[u8]) -> Vec<u8> {
    let opcode = if version == 0 { 0 } else { 0x50 + version };
    [&[opcode, u8::try_from(program.len()).unwrap()], program].concat()
}
