//! What outputs and inputs are, in a few words, as the original's pages said it.

use caesure_consensus::Coin;
use caesure_script::opcode::OP_CHECKSIG;
use caesure_script::{
    AddressPrefixes, Instructions, ScriptType, address, classify, multisig_keys, parse_script,
    pprint_script, push_slice, witness_program,
};
use caesure_text::hex;
use caesure_wire::TxView;
use maud::{Markup, Render, html};

/// From this size on, a script without a known form is only measured.
const BIG: usize = 500;
/// How many bytes are shown of what may be long.
const SHORT: usize = 80;
/// The longest text of a script.
const TEXT: usize = 1_000;

/// The kind of a script, and what there is to say: addresses, or its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Described {
    /// Empty where the address says it.
    pub(crate) kind: String,
    pub(crate) lines: Vec<String>,
}

impl Described {
    fn new(kind: impl Into<String>, lines: Vec<String>) -> Self {
        Self { kind: kind.into(), lines }
    }

    fn prefixed(self, kind: &str) -> Self {
        let own = if self.kind.is_empty() { "" } else { " " };
        Self { kind: format!("{kind}{own}{}", self.kind), lines: self.lines }
    }
}

impl Render for Described {
    fn render(&self) -> Markup {
        html! {
            @if !self.kind.is_empty() { b { (self.kind) } ":" }
            @for (index, line) in self.lines.iter().enumerate() {
                @if 1 < self.lines.len() && 0 < index { br; } @else if !self.kind.is_empty() { " " }
                span.mono.break { (line) }
            }
        }
    }
}

/// Says what locks an output.
pub(crate) fn output(script: &[u8], prefixes: &AddressPrefixes) -> Described {
    let with_address =
        |kind: &str| Described::new(kind, address(script, prefixes).into_iter().collect());
    match classify(script) {
        ScriptType::PubkeyHash(_) => with_address(""),
        ScriptType::Pubkey(_) => with_address("pubkey"),
        ScriptType::ScriptHash(_) => with_address("p2sh"),
        ScriptType::WitnessV0KeyHash(_) => with_address("p2wpkh"),
        ScriptType::WitnessV0ScriptHash(_) => with_address("p2wsh"),
        ScriptType::WitnessV1Taproot(_) => with_address("p2tr"),
        ScriptType::Anchor => with_address("anchor"),
        ScriptType::WitnessUnknown { version, .. } => with_address(&format!("witness v{version}")),
        ScriptType::Multisig { required, keys } => {
            let addresses = multisig_keys(script).map(|key| key_address(key, prefixes)).collect();
            Described::new(format!("multi:{required}/{keys}"), addresses)
        }
        ScriptType::NullData => Described::new("data", vec![text(script)]),
        _ if BIG < script.len() => Described::new("big", vec![format!("{} bytes", script.len())]),
        _ => match parse_script(script) {
            Ok(parsed) => Described::new("other", vec![pprint_script(&parsed)]),
            Err(_) => Described::new("bad", vec![hex::encode(script)]),
        },
    }
}

/// Says how an input spends its output, from what it spends where that is known, else by its form.
pub(crate) fn input(
    tx: TxView<'_>,
    index: usize,
    spent: Option<&Coin>,
    prefixes: &AddressPrefixes,
) -> Described {
    let script_sig = tx.input(index).script_sig;
    if tx.is_coinbase() {
        return Described::new("coinbase", vec![short(script_sig)]);
    }
    let witness: Vec<&[u8]> = tx.witness(index).collect();
    let pushes: Vec<&[u8]> =
        Instructions::new(script_sig).flatten().filter_map(|item| item.pushed()).collect();
    let Some(spent) = spent else { return guess(script_sig, &pushes, &witness, prefixes) };
    let lock = &*spent.script_pubkey;
    let program = |script: &[u8]| witness_program(script).map(|_| classify(script).name());
    match (classify(lock), pushes.split_last()) {
        (ScriptType::ScriptHash(_), Some((redeem, rest))) => match program(redeem) {
            Some(_) => witnessed(redeem, &witness, prefixes).prefixed("p2sh"),
            None => wrapped(redeem, rest, prefixes).prefixed("p2sh"),
        },
        _ if program(lock).is_some() => witnessed(lock, &witness, prefixes),
        _ => output(lock, prefixes),
    }
}

/// A spend of a witness program.
fn witnessed(program: &[u8], witness: &[&[u8]], prefixes: &AddressPrefixes) -> Described {
    match (classify(program), witness) {
        (ScriptType::WitnessV0ScriptHash(_), [rest @ .., script]) => {
            wrapped(script, rest, prefixes).prefixed("p2wsh")
        }
        (ScriptType::WitnessV1Taproot(_), _) => {
            let witness = without_annex(witness);
            match witness {
                [.., script, _] => wrapped(script, &[], prefixes).prefixed("p2tr script"),
                _ => output(program, prefixes).prefixed("key of"),
            }
        }
        _ => output(program, prefixes),
    }
}

/// The items of a taproot witness before the annex.
pub(crate) fn without_annex<'a, 'b>(witness: &'a [&'b [u8]]) -> &'a [&'b [u8]] {
    match witness {
        [rest @ .., last] if !rest.is_empty() && last.first() == Some(&0x50) => rest,
        all => all,
    }
}

/// A script that stood as a hash, and what was given to it.
fn wrapped(script: &[u8], given: &[&[u8]], prefixes: &AddressPrefixes) -> Described {
    match classify(script) {
        ScriptType::Multisig { required, keys } => {
            let signatures = given.iter().filter(|item| !item.is_empty()).count();
            let addresses = multisig_keys(script).map(|key| key_address(key, prefixes)).collect();
            let plural = if signatures == 1 { "" } else { "s" };
            Described::new(format!("({signatures} sig{plural}):{required}/{keys}"), addresses)
        }
        ScriptType::Nonstandard => Described::new("", vec![text(script)]),
        _ => output(script, prefixes),
    }
}

/// What the form alone suggests.
fn guess(
    script_sig: &[u8],
    pushes: &[&[u8]],
    witness: &[&[u8]],
    prefixes: &AddressPrefixes,
) -> Described {
    let is_key = |item: &[u8]| {
        matches!(item, [2 | 3, ..] if item.len() == 33)
            || matches!(item, [4, ..] if item.len() == 65)
    };
    match (pushes, witness) {
        ([_, key], _) if is_key(key) => Described::new("", vec![key_address(key, prefixes)]),
        ([[], rest @ .., redeem], _) => match classify(redeem) {
            ScriptType::Multisig { .. } => wrapped(redeem, rest, prefixes).prefixed("p2sh"),
            _ => Described::new("bad p2sh", vec![text(script_sig)]),
        },
        ([_], []) => Described::new("sig", Vec::new()),
        ([], [_, ..]) => Described::new("witness", vec![format!("{} items", witness.len())]),
        _ => Described::new("", vec![text(script_sig)]),
    }
}

/// The address of a key's hash.
fn key_address(key: &[u8], prefixes: &AddressPrefixes) -> String {
    let mut script = Vec::new();
    push_slice(&mut script, key);
    script.push(OP_CHECKSIG);
    address(&script, prefixes).unwrap_or_else(|| hex::encode(key))
}

/// A script as nested forms, or its bytes where it is none; not without an end.
pub(crate) fn text(script: &[u8]) -> String {
    let start = &script[..script.len().min(TEXT)];
    match parse_script(start) {
        Ok(parsed) if start.len() == script.len() => cut(&pprint_script(&parsed)),
        _ => short(script),
    }
}

/// The beginning of a text that may be long.
pub(crate) fn cut(text: &str) -> String {
    match text.char_indices().nth(TEXT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Bytes in hexadecimal, of long ones the beginning and their number.
pub(crate) fn short(bytes: &[u8]) -> String {
    match bytes.get(..SHORT) {
        Some(start) if SHORT < bytes.len() => {
            format!("{}… ({} bytes)", hex::encode(start), bytes.len())
        }
        _ => hex::encode(bytes),
    }
}

/// The hash type of what looks like a signature; in taproot by its length alone.
pub(crate) fn hash_type(item: &[u8], is_taproot: bool) -> Option<String> {
    let byte = match item {
        [.., _] if is_taproot && item.len() == 64 => return Some("DEFAULT".to_owned()),
        [.., last] if is_taproot && item.len() == 65 => *last,
        [0x30, .., last] if !is_taproot && (9..=73).contains(&item.len()) => *last,
        _ => return None,
    };
    let base = match byte & 0x7f {
        1 => "ALL",
        2 => "NONE",
        3 => "SINGLE",
        _ => return Some(format!("{byte:#04x}")),
    };
    let alone = if byte & 0x80 == 0 { "" } else { "|ANYONECANPAY" };
    Some(format!("{base}{alone}"))
}

/// Satoshi as bitcoins.
pub(crate) fn amount(satoshi: i64) -> String {
    crate::json::amount(satoshi).to_string()
}
