//! Output descriptors: which one stands for a script, and the few that are read. Core:
//! `script/descriptor.cpp`.

use caesure_script::{
    AddressPrefixes, ScriptType, classify, multisig_keys, parse_address, witness_program,
};
use caesure_text::hex;
use secp256k1::XOnlyPublicKey;

use crate::json::shown_address;

/// The characters of descriptors, in three groups of 32.
const CHARACTERS: &[u8; 95] = b"0123456789()[],'/*abcdefgh@:$%{}\
    IJKLMNOPQRSTUVWXYZ&+-.;<=>?!^_|~\
    ijklmnopqrstuvwxyzABCDEFGH`#\"\\ ";

const CHECKSUM_CHARACTERS: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";

const GENERATOR: [u64; 5] =
    [0xf5_dee5_1989, 0xa9_fdca_3312, 0x1b_ab10_e32d, 0x37_06b1_677a, 0x64_4d62_6ffd];

/// Returns the eight characters behind `#`; none for a text with other characters. Core:
/// `DescriptorChecksum`.
pub(crate) fn checksum(text: &str) -> Option<String> {
    let mut sum = 1;
    let mut add = |value: usize| {
        let top = sum >> 35;
        sum = (sum & 0x7_ffff_ffff) << 5 ^ value as u64;
        for (bit, generator) in GENERATOR.iter().enumerate() {
            if top >> bit & 1 == 1 {
                sum ^= generator;
            }
        }
    };
    for three in text.as_bytes().chunks(3) {
        let mut groups = 0;
        for byte in three {
            let position = CHARACTERS.iter().position(|it| it == byte)?;
            add(position & 31);
            groups = groups * 3 + (position >> 5);
        }
        add(groups);
    }
    (0..8).for_each(|_| add(0));
    sum ^= 1;
    let character = |at: u32| char::from(CHECKSUM_CHARACTERS[(sum >> (35 - 5 * at) & 31) as usize]);
    Some((0..8).map(character).collect())
}

/// Returns the descriptor of a script of which nothing else is known, but for the script of a
/// witness program where it is given. Core: `InferDescriptor`.
pub(crate) fn infer(
    script: &[u8],
    prefixes: &AddressPrefixes,
    witness_script: Option<&[u8]>,
) -> String {
    let text = witness_script
        .and_then(|inner| Some(format!("wsh({})", of_keys(inner)?)))
        .or_else(|| of_keys(script))
        .or_else(|| of_taproot_key(script))
        .or_else(|| Some(format!("addr({})", shown_address(script, prefixes)?)))
        .unwrap_or_else(|| format!("raw({})", hex::encode(script)));
    let sum = checksum(&text).unwrap_or_default();
    format!("{text}#{sum}")
}

/// Bare keys. Core takes no hybrid ones into descriptors.
fn of_keys(script: &[u8]) -> Option<String> {
    let is_plain = |key: &[u8]| matches!(key.first(), Some(2..=4));
    match classify(script) {
        ScriptType::Pubkey(key) => is_plain(key).then(|| format!("pk({})", hex::encode(key))),
        ScriptType::Multisig { required, .. } => {
            let keys = || multisig_keys(script);
            let list: Vec<String> = keys().map(hex::encode).collect();
            keys().all(is_plain).then(|| format!("multi({required},{})", list.join(",")))
        }
        _ => None,
    }
}

fn of_taproot_key(script: &[u8]) -> Option<String> {
    let ScriptType::WitnessV1Taproot(key) = classify(script) else { return None };
    XOnlyPublicKey::from_byte_array(*key).ok()?;
    Some(format!("rawtr({})", hex::encode(key)))
}

/// Reads `raw(HEX)` and `addr(ADDRESS)`, with or without a checksum, and returns the script.
///
/// # Errors
/// What is wrong, in Core's words where it has some.
pub(crate) fn parse(text: &str, prefixes: &AddressPrefixes) -> Result<Vec<u8>, String> {
    let (body, given) = match text.split_once('#') {
        Some((_, given)) if given.contains('#') => return Err("Multiple '#' symbols".into()),
        Some((body, given)) => (body, Some(given)),
        None => (text, None),
    };
    let length = given.map_or(8, str::len);
    if length != 8 {
        return Err(format!("Expected 8 character checksum, not {length} characters"));
    }
    let sum = checksum(body).ok_or("Invalid characters in payload")?;
    if let Some(given) = given.filter(|given| *given != sum) {
        let text = "does not match computed checksum";
        return Err(format!("Provided checksum '{given}' {text} '{sum}'"));
    }
    let inside = |name: &str| body.strip_prefix(name)?.strip_prefix('(')?.strip_suffix(')');
    if let Some(address) = inside("addr") {
        parse_address(address, prefixes).map_err(|_| "Address is not valid".into())
    } else if let Some(digits) = inside("raw") {
        let script = hex::decode(digits).ok().filter(|script| !script.is_empty());
        script.ok_or_else(|| "Raw script is not hex".into())
    } else if let Some(inner) = inside("sh").or_else(|| inside("wsh"))
        && let Some(name) =
            ["addr", "raw"].iter().find(|name| inner.starts_with(&format!("{name}(")))
    {
        Err(format!("Can only have {name}() at top level"))
    } else {
        Err(format!("'{body}' is not a valid descriptor function"))
    }
}

/// Returns the version and the program of an address' script, as `validateaddress` shows them.
pub(crate) fn shown_program(script: &[u8]) -> Option<(u8, &[u8])> {
    let is_anchor = classify(script) == ScriptType::Anchor;
    witness_program(script).filter(|_| !is_anchor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_agree_with_bip_380() {
        assert_eq!(checksum("raw(deadbeef)").as_deref(), Some("89f8spxm"));
        assert_eq!(checksum("Ü"), None);
    }

    #[test]
    fn what_is_no_descriptor_is_refused_in_words() {
        let error = |text: &str| parse(text, &AddressPrefixes::REGTEST).unwrap_err();
        assert_eq!(parse("raw(dead)", &AddressPrefixes::REGTEST), Ok(vec![0xde, 0xad]));
        assert_eq!(parse("raw(deadbeef)#89f8spxm", &AddressPrefixes::REGTEST).unwrap().len(), 4);
        assert!(error("raw(deadbeef)#89f8spxq").contains("does not match"));
        assert!(error("raw(deadbeef)#89f8").contains("not 4 characters"));
        assert_eq!(error("raw(deadbeef)##89f8spx"), "Multiple '#' symbols");
        assert_eq!(error("raw(deadbee)"), "Raw script is not hex");
        assert_eq!(error("addr(1)"), "Address is not valid");
        assert_eq!(error("raw(\u{fc})"), "Invalid characters in payload");
        assert!(error("tr(00)").contains("not a valid descriptor"));
    }
}
