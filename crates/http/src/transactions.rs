//! Methods about transactions, scripts and addresses.

use std::collections::BTreeSet;

use caesure_consensus::Params;
use caesure_hash::{hash160, sha256};
use caesure_script::opcode::{OP_CHECKSIGADD, OP_EQUAL, OP_HASH160, is_success};
use caesure_script::{
    AddressPrefixes, Instructions, MAX_ITEM_SIZE, MAX_SCRIPT_SIZE, ScriptType, address, classify,
    is_unspendable, multisig_keys, parse_address,
};
use caesure_text::{base58, bech32, hex};
use caesure_wire::{Header, OutPoint, Reader, Transaction, TxIn, TxOut, Txid};
use serde_json::{Value, json};

use crate::call::{Call, hash, not_found, unreadable};
use crate::descriptor::shown_program;
use crate::error::{Answer, RpcError, code, fail, fail_if};
use crate::json::{Spent, is_coinbase, object, script_json, tx_json};
use crate::merkle_proof::MerkleProof;

/// The last opcode that a script of old may have. Core: `MAX_OPCODE`.
const MAX_OPCODE: u8 = 0xb9;

pub(crate) fn getrawtransaction(call: &mut Call<'_>) -> Answer {
    let txid = Txid(call.hash(0, "parameter 1")?.0);
    let params = call.params()?;
    let text = "The genesis block coinbase is not considered an ordinary transaction and cannot be \
                retrieved";
    fail_if(txid.0 == params.genesis.merkle_root.0, code::INVALID_ADDRESS_OR_KEY, text)?;
    let verbosity = call.verbosity(1, 0)?;
    let text = "No such mempool transaction. Use -txindex or provide a block hash to enable \
                blockchain transaction queries. Use gettransaction for wallet transactions.";
    fail_if(call.arg(2).is_null(), code::INVALID_ADDRESS_OR_KEY, text)?;
    let hash = call.hash(2, "parameter 3")?;
    let Ok(place) = call.place(hash) else {
        return fail(code::INVALID_ADDRESS_OR_KEY, "Block hash not found");
    };
    let Ok(block) = call.block(&hash) else {
        return fail(code::MISC_ERROR, "Block not available");
    };
    let Some(index) = block.txids().iter().position(|it| *it == txid) else {
        let text = "No such transaction found in the provided block. Use gettransaction for \
                    wallet transactions.";
        return fail(code::INVALID_ADDRESS_OR_KEY, text);
    };
    let tx = block.tx(index);
    if verbosity <= 0 {
        return Ok(hex::encode(tx.bytes()).into());
    }
    let is_active = 0 < place.confirmations;
    let lists = match verbosity {
        2.. if 0 < index => call.spent(&block, place.height)?,
        _ => None,
    };
    let coins = lists.as_ref().and_then(|lists| lists.get(index));
    let spent = coins.map_or(Spent::Unknown, |coins| Spent::Prevouts(coins));
    let time = is_active.then_some(place.header.time);
    let mut fields = object(json!({ "in_active_chain": is_active }));
    fields.extend(tx_json(&tx.to_owned(), &params.address_prefixes, spent));
    fields.extend(object(json!({
        "blockhash": hash.to_string(),
        "confirmations": place.confirmations.max(0),
        "time": time,
        "blocktime": time,
    })));
    Ok(fields.into())
}

pub(crate) fn decoderawtransaction(call: &mut Call<'_>) -> Answer {
    let is_witness = call.arg(1).as_bool();
    let tx = hex::decode(call.text(0)?).ok().and_then(|bytes| decode_tx(&bytes, is_witness));
    let Some(tx) = tx else { return fail(code::DESERIALIZATION_ERROR, "TX decode failed") };
    let mut fields = tx_json(&tx, &call.params()?.address_prefixes, Spent::Unknown);
    fields.remove("hex");
    Ok(fields.into())
}

/// Reads a transaction with witnesses or without, or as it makes more sense. Core: `DecodeTx`.
pub(crate) fn decode_tx(bytes: &[u8], is_witness: Option<bool>) -> Option<Transaction> {
    let extended = || Transaction::decode(bytes).ok().filter(|tx| tx.encode() == bytes);
    let extended = if is_witness == Some(false) { None } else { extended() };
    if extended.as_ref().is_some_and(has_sound_scripts) {
        return extended;
    }
    let legacy = if is_witness == Some(true) { None } else { decode_legacy(bytes) };
    if legacy.as_ref().is_some_and(has_sound_scripts) {
        return legacy;
    }
    extended.or(legacy)
}

/// Reads the serialization from before BIP-0144, in which there may be no inputs.
fn decode_legacy(bytes: &[u8]) -> Option<Transaction> {
    let mut reader = Reader::new(bytes);
    let version = reader.u32().ok()?;
    let mut inputs = Vec::new();
    for _ in 0..reader.compact_size().ok()? {
        inputs.push(TxIn {
            prevout: OutPoint::from_bytes(&reader.array().ok()?),
            script_sig: reader.sized_bytes().ok()?.to_vec(),
            sequence: reader.u32().ok()?,
            witness: Vec::new(),
        });
    }
    let mut outputs = Vec::new();
    for _ in 0..reader.compact_size().ok()? {
        let value = reader.i64().ok()?;
        let script_pubkey = reader.sized_bytes().ok()?.to_vec();
        outputs.push(TxOut { value, script_pubkey });
    }
    let lock_time = reader.u32().ok()?;
    reader.is_empty().then_some(Transaction { version, inputs, outputs, lock_time })
}

/// Core: `CheckTxScriptsSanity`.
fn has_sound_scripts(tx: &Transaction) -> bool {
    let is_sound = |script: &[u8]| script.len() <= MAX_SCRIPT_SIZE && has_valid_ops(script);
    (is_coinbase(tx) || tx.inputs.iter().all(|input| is_sound(&input.script_sig)))
        && tx.outputs.iter().all(|output| is_sound(&output.script_pubkey))
}

/// Core: `CScript::HasValidOps`.
fn has_valid_ops(script: &[u8]) -> bool {
    Instructions::new(script).all(|item| {
        item.is_ok_and(|item| item.opcode <= MAX_OPCODE && item.data.len() <= MAX_ITEM_SIZE)
    })
}

pub(crate) fn decodescript(call: &mut Call<'_>) -> Answer {
    let script = match call.text(0)? {
        "" => Vec::new(),
        _ => call.bytes(0, "argument")?,
    };
    let prefixes = call.params()?.address_prefixes;
    let mut fields = script_json(&script, &prefixes, false, None);
    if can_be_wrapped(&script) {
        fields.insert("p2sh".into(), p2sh_address(&script, &prefixes).into());
        if let Some((outer, inner)) = segwit_of(&script) {
            let mut segwit = script_json(&outer, &prefixes, true, inner);
            segwit.insert("p2sh-segwit".into(), p2sh_address(&outer, &prefixes).into());
            fields.insert("segwit".into(), segwit.into());
        }
    }
    Ok(fields.into())
}

fn p2sh_address(script: &[u8], prefixes: &AddressPrefixes) -> Option<String> {
    let script = [&[OP_HASH160, 20][..], &hash160(script), &[OP_EQUAL]].concat();
    address(&script, prefixes)
}

fn can_be_wrapped(script: &[u8]) -> bool {
    let is_of_kind = matches!(
        classify(script),
        ScriptType::Multisig { .. }
            | ScriptType::Nonstandard
            | ScriptType::Pubkey(_)
            | ScriptType::PubkeyHash(_)
            | ScriptType::WitnessV0KeyHash(_)
            | ScriptType::WitnessV0ScriptHash(_)
    );
    let is_tapscript = |opcode: u8| opcode == OP_CHECKSIGADD || is_success(opcode);
    is_of_kind
        && has_valid_ops(script)
        && !is_unspendable(script)
        && !Instructions::new(script).flatten().any(|item| is_tapscript(item.opcode))
}

/// The witness program that stands for a script, and the script where the program is of its hash.
fn segwit_of(script: &[u8]) -> Option<(Vec<u8>, Option<&[u8]>)> {
    let program = |hash: &[u8]| [&[0, u8::try_from(hash.len()).unwrap_or(0)], hash].concat();
    let is_compressed = |key: &[u8]| key.len() == 33;
    match classify(script) {
        ScriptType::Pubkey(key) => is_compressed(key).then(|| (program(&hash160(key)), None)),
        ScriptType::PubkeyHash(hash) => Some((program(hash), None)),
        ScriptType::Multisig { .. } if !multisig_keys(script).all(is_compressed) => None,
        ScriptType::Multisig { .. } | ScriptType::Nonstandard => {
            Some((program(&sha256(script)), Some(script)))
        }
        _ => None,
    }
}

pub(crate) fn gettxoutproof(call: &mut Call<'_>) -> Answer {
    let mut txids = BTreeSet::new();
    let Value::Array(given) = call.arg(0).clone() else { return call.misused() };
    fail_if(given.is_empty(), code::INVALID_PARAMETER, "Parameter 'txids' cannot be empty")?;
    for value in &given {
        let txid = Txid(hash(value, "txid")?.0);
        let text = format!("Invalid parameter, duplicated txid: {txid}");
        fail_if(!txids.insert(txid), code::INVALID_PARAMETER, text)?;
    }
    let hash = if call.arg(1).is_null() {
        block_of_unspent(call, &txids)?
    } else {
        let hash = call.hash(1, "blockhash")?;
        call.place(hash)?.hash
    };
    let block = call.block(&hash)?;
    let all = block.txids();
    let count = all.iter().filter(|txid| txids.contains(txid)).count();
    let text = "Not all transactions found in specified or retrieved block";
    fail_if(count != txids.len(), code::INVALID_ADDRESS_OR_KEY, text)?;
    let proof = MerkleProof::new(&all, |txid| txids.contains(txid));
    let bytes = [&block.header().to_bytes()[..], &proof.to_bytes()].concat();
    Ok(hex::encode(&bytes).into())
}

/// Finds the block of a transaction that has an unspent output. Core: `AccessByTxid`.
fn block_of_unspent(
    call: &mut Call<'_>,
    txids: &BTreeSet<Txid>,
) -> Result<caesure_wire::BlockHash, RpcError> {
    /// A transaction has no more outputs. Core: `MAX_OUTPUTS_PER_BLOCK`.
    const MAX_OUTPUTS: u32 = 4_000_000 / 36;
    /// So many are looked up at once.
    const STEP: u32 = 1 << 10;
    let world = call.world()?;
    for txid in txids {
        for start in (0..MAX_OUTPUTS).step_by(STEP as usize) {
            let outpoints: Vec<OutPoint> =
                (start..start + STEP).map(|vout| OutPoint { txid: *txid, vout }).collect();
            let coins = world.get_many(&outpoints).map_err(unreadable)?;
            if let Some(coin) = coins.into_iter().flatten().next() {
                return call.ancestor(world.info().hash, coin.height)?.map_or_else(not_found, Ok);
            }
        }
    }
    fail(code::INVALID_ADDRESS_OR_KEY, "Transaction not yet in block")
}

pub(crate) fn verifytxoutproof(call: &mut Call<'_>) -> Answer {
    let bytes = call.bytes(0, "proof")?;
    let mut reader = Reader::new(&bytes);
    let parsed =
        Header::read(&mut reader).and_then(|header| Ok((header, MerkleProof::read(&mut reader)?)));
    let (header, proof) =
        parsed.map_err(|error| RpcError::new(code::MISC_ERROR, error.to_string()))?;
    let Some((root, txids)) = proof.matches() else { return Ok(json!([])) };
    if root != header.merkle_root {
        return Ok(json!([]));
    }
    let hash = header.hash();
    let place = call.place(hash).ok().filter(|place| 0 < place.confirmations);
    let Some(block) = place.and_then(|_| call.block(&hash).ok()) else {
        return fail(code::INVALID_ADDRESS_OR_KEY, "Block not found in chain");
    };
    // A wrong number of transactions would let an inner node pass for one.
    if block.tx_count() != proof.tx_count() {
        return Ok(json!([]));
    }
    Ok(txids.iter().map(ToString::to_string).collect())
}

pub(crate) fn validateaddress(call: &mut Call<'_>) -> Answer {
    let params = call.params()?;
    let text = call.text(0)?;
    let Ok(script) = parse_address(text, &params.address_prefixes) else {
        let (error, places) = address_error(text, &params);
        return Ok(json!({ "isvalid": false, "error_locations": places, "error": error }));
    };
    let kind = classify(&script);
    let is_known = !matches!(kind, ScriptType::WitnessUnknown { .. });
    let is_key = matches!(kind, ScriptType::PubkeyHash(_) | ScriptType::WitnessV0KeyHash(_));
    let is_old = matches!(kind, ScriptType::PubkeyHash(_) | ScriptType::ScriptHash(_));
    let (version, program) = shown_program(&script).unzip();
    let fields = object(json!({
        "isvalid": true,
        "address": address(&script, &params.address_prefixes),
        "scriptPubKey": hex::encode(&script),
        "isscript": is_known.then_some(!is_key),
        "iswitness": !is_old,
        "witness_version": version,
        "witness_program": program.map(hex::encode),
    }));
    Ok(fields.into())
}

/// What is wrong with an address, in Core's words, and where. Core: `DecodeDestination`.
fn address_error(text: &str, params: &Params) -> (String, Vec<usize>) {
    let prefixes = &params.address_prefixes;
    let start = text.as_bytes().get(..prefixes.hrp.len());
    if !start.is_some_and(|start| start.eq_ignore_ascii_case(prefixes.hrp.as_bytes())) {
        let error = match (base58::decode_check(text), base58::decode(text.trim())) {
            (Ok(data), _) if data.len() <= 21 => match data.first() {
                Some(first) if [prefixes.p2pkh, prefixes.p2sh].contains(first) => {
                    "Invalid length for Base58 address (P2PKH or P2SH)"
                }
                _ => "Invalid or unsupported Base58-encoded address.",
            },
            (_, Ok(data)) if data.len() <= 100 => {
                "Invalid checksum or length of Base58 address (P2PKH or P2SH)"
            }
            _ => "Invalid or unsupported Segwit (Bech32) or Base58 encoding.",
        };
        return (error.into(), Vec::new());
    }
    match bech32::decode(text) {
        Ok((hrp, values, variant)) => {
            (program_error(&hrp, &values, variant, prefixes.hrp), Vec::new())
        }
        Err(_) => {
            let (error, places) = bech32::locate_errors(text);
            (error.into(), places)
        }
    }
}

/// What is wrong with a sound Bech32 text.
fn program_error(hrp: &str, values: &[u8], variant: bech32::Variant, expected: &str) -> String {
    let Some((version, data)) = values.split_first() else {
        return "Empty Bech32 data section".into();
    };
    if hrp != expected {
        let text = "Invalid or unsupported prefix for Segwit (Bech32) address";
        return format!("{text} (expected {expected}, got {hrp}).");
    }
    if variant != bech32::Variant::of_version(*version) {
        let (version, letter) = if *version == 0 { ("0", "") } else { ("1+", "m") };
        return format!("Version {version} witness address must use Bech32{letter} checksum");
    }
    let (size, left) = (data.len() * 5 / 8, data.len() * 5 % 8);
    if 5 <= left || data.last().is_some_and(|last| last & ((1 << left) - 1) != 0) {
        return "Invalid padding in Bech32 data section".into();
    }
    let bytes = if size == 1 { "byte" } else { "bytes" };
    match version {
        0 => format!("Invalid Bech32 v0 address program size ({size} {bytes}), per BIP141"),
        17.. => "Invalid Bech32 address witness version".into(),
        _ => format!("Invalid Bech32 address program size ({size} {bytes})"),
    }
}
