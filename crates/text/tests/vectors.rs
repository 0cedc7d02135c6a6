//! Core's and the BIPs' vectors.
#![allow(clippy::print_stdout, reason = "each test tells how many cases it ran")]

use std::path::PathBuf;
use std::process::Command;

use caesure_text::bech32::{self, Variant};
use caesure_text::{base58, hex};
use serde_json::Value;

/// A file of Core's test data, which the package `libbitcoinkernel-sys` carries.
fn core_vectors(name: &str) -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--manifest-path"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .output()
        .unwrap();
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut packages = metadata["packages"].as_array().unwrap().iter();
    let package = packages.find(|package| package["name"] == "libbitcoinkernel-sys").unwrap();
    let manifest = PathBuf::from(package["manifest_path"].as_str().unwrap());
    let path = manifest.with_file_name("bitcoin/src/test/data").join(name);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
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

#[test]
fn core_key_io_base58_and_bech32_addresses() {
    let vectors = core_vectors("key_io_valid.json");
    let cases = vectors.as_array().unwrap();
    let mut segwit_count = 0;
    for case in cases {
        let [address, script] = [0, 1].map(|i| case[i].as_str().unwrap());
        if let Ok((hrp, _, _)) = bech32::decode(address) {
            let (version, program) = bech32::decode_segwit(&hrp, address).unwrap();
            assert_eq!(hex::encode(&script_of(version, &program)), script);
            segwit_count += 1;
        } else {
            let payload = base58::decode_check(address).unwrap();
            // A script holds the hash of its address; a private key can have a byte after it.
            let data = hex::encode(&payload[1..]);
            assert!(script.contains(&data) || data.starts_with(script), "{address}");
            assert_eq!(base58::encode_check(&payload), address);
        }
    }
    assert!(20 < segwit_count && segwit_count < cases.len());
    println!("key_io_valid.json: {} cases, {segwit_count} of them segwit", cases.len());
}

#[test]
fn core_key_io_invalid_texts_are_no_segwit_address() {
    let vectors = core_vectors("key_io_invalid.json");
    let cases = vectors.as_array().unwrap();
    for case in cases {
        let text = case[0].as_str().unwrap();
        for hrp in ["bc", "tb", "bcrt"] {
            assert!(bech32::decode_segwit(hrp, text).is_err(), "{text}");
        }
    }
    assert!(50 < cases.len());
    println!("key_io_invalid.json: {} cases", cases.len());
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
                // What BIP-0173 allowed for later versions, BIP-0350 forbids.
                assert!(result.is_err(), "{address}");
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
