//! How numbers, scripts and transactions are written, as Bitcoin Core writes them.

use caesure_consensus::{COIN, Coin};
use caesure_script::{
    AddressPrefixes, ScriptType, address, classify, disassemble, disassemble_signatures,
};
use caesure_text::hex;
use caesure_wire::Transaction;
use serde_json::{Map, Number, Value, json};

use crate::descriptor;

/// An object whose fields keep their order.
pub(crate) type Object = Map<String, Value>;

/// The fields of what `json!` made of braces, but for those that are null.
pub(crate) fn object(value: Value) -> Object {
    let Value::Object(mut fields) = value else { return Object::new() };
    fields.retain(|_, value| !value.is_null());
    fields
}

/// Satoshi as bitcoins, with eight decimals. Core: `ValueFromAmount`.
pub(crate) fn amount(satoshi: i64) -> Value {
    let coin = COIN.unsigned_abs();
    let (sign, value) = (if satoshi < 0 { "-" } else { "" }, satoshi.unsigned_abs());
    number(format!("{sign}{}.{:08}", value / coin, value % coin))
}

/// A number with up to 16 significant digits, as `%.16g` of C. Core: `UniValue::setFloat`.
pub(crate) fn real(value: f64) -> Value {
    let text = format!("{value:.15e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let trim = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    number(match usize::try_from(15 - exponent) {
        Ok(decimals) if -4 <= exponent => trim(&format!("{value:.decimals$}")),
        _ => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{}e{sign}{:02}", trim(digits), exponent.unsigned_abs())
        }
    })
}

fn number(text: String) -> Value {
    Value::Number(Number::from_string_unchecked(text))
}

/// A locking script. Core: `ScriptToUniv`.
pub(crate) fn script_json(
    script: &[u8],
    prefixes: &AddressPrefixes,
    include_hex: bool,
    witness_script: Option<&[u8]>,
) -> Object {
    object(json!({
        "asm": disassemble(script),
        "desc": descriptor::infer(script, prefixes, witness_script),
        "hex": include_hex.then(|| hex::encode(script)),
        "address": shown_address(script, prefixes),
        "type": classify(script).name(),
    }))
}

/// The address of a script; Core shows none for a bare key.
pub(crate) fn shown_address(script: &[u8], prefixes: &AddressPrefixes) -> Option<String> {
    address(script, prefixes).filter(|_| !matches!(classify(script), ScriptType::Pubkey(_)))
}

/// What is told of a transaction's inputs beyond itself.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Spent<'a> {
    /// Nothing.
    Unknown,
    /// The fee.
    Fee(&'a [Coin]),
    /// The fee and each output that is spent.
    Prevouts(&'a [Coin]),
}

/// A transaction. Core: `TxToUniv`.
pub(crate) fn tx_json(tx: &Transaction, prefixes: &AddressPrefixes, spent: Spent<'_>) -> Object {
    let (bytes, weight) = (tx.encode(), tx.weight());
    let (coins, prevouts) = match spent {
        Spent::Unknown => (None, &[][..]),
        Spent::Fee(coins) => (Some(coins), &[][..]),
        Spent::Prevouts(coins) => (Some(coins), coins),
    };
    let inputs = (0..tx.inputs.len()).map(|at| input_json(tx, at, prevouts.get(at), prefixes));
    let outputs = tx.outputs.iter().enumerate().map(|(n, output)| {
        json!({
            "value": amount(output.value),
            "n": n,
            "scriptPubKey": script_json(&output.script_pubkey, prefixes, true, None),
        })
    });
    let kept: i64 = tx.outputs.iter().map(|output| output.value).sum();
    let fee = |coins: &[Coin]| amount(coins.iter().map(|coin| coin.value).sum::<i64>() - kept);
    object(json!({
        "txid": tx.txid().to_string(),
        "hash": tx.wtxid().to_string(),
        "version": tx.version,
        "size": bytes.len(),
        "vsize": weight.div_ceil(4),
        "weight": weight,
        "locktime": tx.lock_time,
        "vin": inputs.collect::<Value>(),
        "vout": outputs.collect::<Value>(),
        "fee": coins.map(fee),
        "hex": hex::encode(&bytes),
    }))
}

fn input_json(
    tx: &Transaction,
    index: usize,
    prevout: Option<&Coin>,
    prefixes: &AddressPrefixes,
) -> Object {
    let input = &tx.inputs[index];
    let script = hex::encode(&input.script_sig);
    let witness: Vec<String> = input.witness.iter().map(|item| hex::encode(item)).collect();
    let mut fields = if is_coinbase(tx) {
        object(json!({ "coinbase": script }))
    } else {
        object(json!({
            "txid": input.prevout.txid.to_string(),
            "vout": input.prevout.vout,
            "scriptSig": { "asm": disassemble_signatures(&input.script_sig), "hex": script },
        }))
    };
    let prevout = prevout.map(|coin| {
        json!({
            "generated": coin.is_coinbase,
            "height": coin.height,
            "value": amount(coin.value),
            "scriptPubKey": script_json(&coin.script_pubkey, prefixes, true, None),
        })
    });
    fields.extend(object(json!({
        "txinwitness": (!witness.is_empty()).then_some(witness),
        "prevout": prevout,
        "sequence": input.sequence,
    })));
    fields
}

/// Core: `CTransaction::IsCoinBase`.
pub(crate) fn is_coinbase(tx: &Transaction) -> bool {
    matches!(&tx.inputs[..], [input] if input.prevout == caesure_wire::OutPoint::NULL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_eight_decimals() {
        let check = |satoshi, expected: &str| assert_eq!(amount(satoshi).to_string(), expected);
        check(0, "0.00000000");
        check(1, "0.00000001");
        check(5_000_000_000, "50.00000000");
        check(2_100_000_000_000_000, "21000000.00000000");
        check(-150_000_000, "-1.50000000");
        check(i64::MIN, "-92233720368.54775808");
    }

    #[test]
    fn real_numbers_are_written_as_c_does() {
        let check = |value, expected: &str| assert_eq!(real(value).to_string(), expected);
        check(1.0, "1");
        check(0.0, "0");
        check(-0.5, "-0.5");
        check(4.656_542_373_906_925e-10, "4.656542373906925e-10");
        check(0.000_1, "0.0001");
        check(0.000_012_5, "1.25e-05");
        check(126_411_437_451_912.23, "126411437451912.2");
        check(1e15, "1000000000000000");
        check(1e16, "1e+16");
        check(1.0 / 3.0, "0.3333333333333333");
        check(0.1 + 0.2, "0.3");
    }
}
