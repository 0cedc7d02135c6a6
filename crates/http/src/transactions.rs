//! Methods about transactions, scripts and addresses.

use std::collections::BTreeSet;

use caesure_consensus::Params;
use caesure_hash::{hash160, sha256};
use caesure_script::opcode::{OP_CHECKSIGADD, OP_EQUAL, OP_HASH160, is_success};
use caesure_script::{
    AddressPrefixes, Instructions, MAX_ITEM_SIZE, MAX_SCRIPT_SIZE, ScriptType, address, classify,
    is_unspendable, multisig_keys, parse_address,
};
use caesure_text::{TextError, base58, bech32, hex};
use caesure_wire::{Header, OutPoint, Reader, Transaction, TxIn, TxOut, Txid};
use serde_json::{Value, json};

use crate::call::{Call, hash, not_found, unreadable};
use crate::descriptor::shown_program;
use crate::error::{Answer, RpcError, code, fail};
use crate::json::{Object, Spent, is_coinbase, push_tx, script_json};
use crate::merkle_proof::MerkleProof;
use crate::table::{Effect, Method};

/// The last opcode that a script of old may have. Core: `MAX_OPCODE`.
const MAX_OPCODE: u8 = 0xb9;

pub(crate) static METHODS: [Method; 6] = [
    Method {
        category: "rawtransactions",
        name: "getrawtransaction",
        args: "txid:str! verbosity|verbose:num~=0 blockhash:str",
        effect: Effect::Reads,
        run: getrawtransaction,
        about: "Returns a transaction of a block.\n\nVerbosity 0: in hexadecimal; 1: as an \
                object; 2: with its fee and what it spends.",
    },
    Method {
        category: "rawtransactions",
        name: "decoderawtransaction",
        args: "hexstring:str! iswitness:bool",
        effect: Effect::None,
        run: decoderawtransaction,
        about: "Returns a serialized transaction as an object.\n\niswitness: whether it is read \
                with witnesses; as it makes more sense when left out.",
    },
    Method {
        category: "rawtransactions",
        name: "decodescript",
        args: "hexstring:str!",
        effect: Effect::None,
        run: decodescript,
        about: "Returns a script as an object, with the addresses of what may wrap it.",
    },
    Method {
        category: "blockchain",
        name: "gettxoutproof",
        args: "txids:arr<txid>! blockhash:str",
        effect: Effect::Reads,
        run: gettxoutproof,
        about: "Returns a proof that transactions are in a block.\n\nWithout a block, one of them \
                must have an unspent output.",
    },
    Method {
        category: "blockchain",
        name: "verifytxoutproof",
        args: "proof:str!",
        effect: Effect::Reads,
        run: verifytxoutproof,
        about: "Returns the transactions that a proof shows to be in a block of the best chain; \
                none when the proof is not sound.",
    },
    Method {
        category: "util",
        name: "validateaddress",
        args: "address:str!",
        effect: Effect::None,
        run: validateaddress,
        about: "Tells whether a text is an address, and of what.",
    },
];

fn getrawtransaction(call: &mut Call<'_>) -> Answer {
    let txid = Txid(call.hash(0, "parameter 1")?.0);
    let params = call.params()?;
    if txid.0 == params.genesis.merkle_root.0 {
        let text = "The genesis block coinbase is not considered an ordinary transaction and \
                    cannot be retrieved";
        return fail(code::INVALID_ADDRESS_OR_KEY, text);
    }
    let verbosity = call.verbosity(1, 0)?;
    if call.arg(2).is_null() {
        let text = "No such mempool transaction. Use -txindex or provide a block hash to enable \
                    blockchain transaction queries. Use gettransaction for wallet transactions.";
        return fail(code::INVALID_ADDRESS_OR_KEY, text);
    }
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
    let mut fields = Object::new();
    fields.insert("in_active_chain".into(), is_active.into());
    let lists = match verbosity {
        2.. if 0 < index => call.spent(&block, place.height)?,
        _ => None,
    };
    let coins = lists.as_ref().and_then(|lists| lists.get(index));
    let spent = coins.map_or(Spent::Unknown, |coins| Spent::Prevouts(coins));
    push_tx(&mut fields, &tx.to_owned(), &params.address_prefixes, spent, true);
    fields.insert("blockhash".into(), hash.to_string().into());
    fields.insert("confirmations".into(), place.confirmations.max(0).into());
    if is_active {
        fields.insert("time".into(), place.header.time.into());
        fields.insert("blocktime".into(), place.header.time.into());
    }
    Ok(fields.into())
}

fn decoderawtransaction(call: &mut Call<'_>) -> Answer {
    let is_witness = match call.arg(1) {
        Value::Bool(flag) => Some(*flag),
        _ => None,
    };
    let tx = hex::decode(call.text(0)?).ok().and_then(|bytes| decode_tx(&bytes, is_witness));
    let Some(tx) = tx else { return fail(code::DESERIALIZATION_ERROR, "TX decode failed") };
    let mut fields = Object::new();
    push_tx(&mut fields, &tx, &call.params()?.address_prefixes, Spent::Unknown, false);
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

fn decodescript(call: &mut Call<'_>) -> Answer {
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
    let program = |hash: &[u8]| {
        let mut out = vec![0];
        caesure_script::push_slice(&mut out, hash);
        out
    };
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

fn gettxoutproof(call: &mut Call<'_>) -> Answer {
    let mut txids = BTreeSet::new();
    let Value::Array(given) = call.arg(0).clone() else { return call.misused() };
    if given.is_empty() {
        return fail(code::INVALID_PARAMETER, "Parameter 'txids' cannot be empty");
    }
    for value in &given {
        let txid = Txid(hash(value, "txid")?.0);
        if !txids.insert(txid) {
            let text = format!("Invalid parameter, duplicated txid: {txid}");
            return fail(code::INVALID_PARAMETER, text);
        }
    }
    let hash = if call.arg(1).is_null() {
        block_of_unspent(call, &txids)?
    } else {
        let hash = call.hash(1, "blockhash")?;
        call.place(hash)?.hash
    };
    let block = call.block(&hash)?;
    let all = block.txids();
    if all.iter().filter(|txid| txids.contains(txid)).count() != txids.len() {
        let text = "Not all transactions found in specified or retrieved block";
        return fail(code::INVALID_ADDRESS_OR_KEY, text);
    }
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
                let tip = world.info().hash;
                let found = call.tree(move |tree| {
                    Some(tree.hash(tree.ancestor(tree.find(&tip)?, coin.height)?))
                })?;
                return found.map_or_else(not_found, Ok);
            }
        }
    }
    fail(code::INVALID_ADDRESS_OR_KEY, "Transaction not yet in block")
}

fn verifytxoutproof(call: &mut Call<'_>) -> Answer {
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

fn validateaddress(call: &mut Call<'_>) -> Answer {
    let params = call.params()?;
    let text = call.text(0)?;
    let script = match parse_address(text, &params.address_prefixes) {
        Ok(script) => script,
        Err(_) => {
            let (error, places) = address_error(text, &params);
            return Ok(json!({ "isvalid": false, "error_locations": places, "error": error }));
        }
    };
    let mut fields = Object::new();
    fields.insert("isvalid".into(), true.into());
    fields.insert("address".into(), address(&script, &params.address_prefixes).into());
    fields.insert("scriptPubKey".into(), hex::encode(&script).into());
    let kind = classify(&script);
    if !matches!(kind, ScriptType::WitnessUnknown { .. }) {
        let is_key = matches!(kind, ScriptType::PubkeyHash(_) | ScriptType::WitnessV0KeyHash(_));
        fields.insert("isscript".into(), (!is_key).into());
    }
    let is_old = matches!(kind, ScriptType::PubkeyHash(_) | ScriptType::ScriptHash(_));
    fields.insert("iswitness".into(), (!is_old).into());
    if let Some((version, program)) = shown_program(&script) {
        fields.insert("witness_version".into(), version.into());
        fields.insert("witness_program".into(), hex::encode(program).into());
    }
    Ok(fields.into())
}

/// What is wrong with an address, in Core's words, and where. Wrong characters of a sound form are
/// not looked for, as Core's `LocateErrors` does.
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
        Err(TextError::Checksum) => ("Invalid Bech32 checksum".into(), Vec::new()),
        Err(TextError::InvalidCharacter { at, .. } | TextError::MixedCase { at, .. }) => {
            ("Invalid character or mixed case".into(), vec![at])
        }
        Err(_) if 90 < text.len() => ("Bech32 string too long".into(), (90..text.len()).collect()),
        Err(_) => match text.rfind('1') {
            None => ("Missing separator".into(), Vec::new()),
            Some(at) => ("Invalid separator position".into(), vec![at]),
        },
    }
}

/// What is wrong with a sound Bech32 text.
fn program_error(hrp: &str, values: &[u8], variant: bech32::Variant, expected: &str) -> String {
    let Some((version, data)) = values.split_first() else {
        return "Empty Bech32 data section".into();
    };
    if hrp != expected {
        return format!(
            "Invalid or unsupported prefix for Segwit (Bech32) address (expected {expected}, got \
             {hrp})."
        );
    }
    if variant != bech32::Variant::of_version(*version) {
        let text = match version {
            0 => "Version 0 witness address must use Bech32 checksum",
            _ => "Version 1+ witness address must use Bech32m checksum",
        };
        return text.into();
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
