//! Methods that take blocks or make them.

use std::sync::Arc;

use caesure_consensus::{Target, subsidy};
use caesure_engine::{Command, CommandError};
use caesure_hash::{merkle_root, sha256d};
use caesure_script::{opcode::OP_RETURN, parse_address, push_int};
use caesure_text::hex;
use caesure_wire::{Block, Header, MerkleRoot, Transaction, TxIn, TxOut, encode_block};
use serde_json::{Value, json};

use crate::call::{Call, text_of};
use crate::descriptor;
use crate::error::{Answer, RpcError, code, fail, fail_if};
use crate::transactions::decode_tx;

/// How many nonces are tried. Core: `DEFAULT_MAX_TRIES`.
const MAX_TRIES: u64 = 1_000_000;

/// A step back of the clock that the first block of a difficulty period may make. Spec: BIP-0094.
const MAX_TIMEWARP: u32 = 600;

pub(crate) fn submitblock(call: &mut Call<'_>) -> Answer {
    let bytes = hex::decode(call.text(0)?).ok();
    let Some(bytes) = bytes.filter(|bytes| Block::parse(bytes).is_ok()) else {
        return fail(code::DESERIALIZATION_ERROR, "Block decode failed");
    };
    match call.backend.command(Command::SubmitBlock(Arc::new(bytes))) {
        Ok(()) => Ok(Value::Null),
        Err(CommandError::Duplicate(_)) => Ok("duplicate".into()),
        Err(error) => Ok(text_of(error).into()),
    }
}

pub(crate) fn generatetoaddress(call: &mut Call<'_>) -> Answer {
    let count: i32 = call.int(0)?;
    let tries = call.int_or::<i32>(2, 1_000_000)?;
    let Ok(script) = parse_address(call.text(1)?, &call.params()?.address_prefixes) else {
        return fail(code::INVALID_ADDRESS_OR_KEY, "Error: Invalid address");
    };
    // A negative number stands for a great one, as in Core.
    generate(call, count, &script, u64::try_from(tries).unwrap_or(u64::MAX))
}

pub(crate) fn generatetodescriptor(call: &mut Call<'_>) -> Answer {
    let count: i32 = call.int(0)?;
    let tries = call.int_or(2, MAX_TRIES)?;
    let script = descriptor::parse(call.text(1)?, &call.params()?.address_prefixes)
        .map_err(|text| RpcError::new(code::INVALID_ADDRESS_OR_KEY, text))?;
    generate(call, count, &script, tries)
}

fn generate(call: &Call<'_>, count: i32, script: &[u8], tries: u64) -> Answer {
    let mut hashes = Vec::new();
    for _ in 0..count {
        if call.backend.is_stopping() {
            break;
        }
        let Some(block) = make_block(call, script, &[], tries)? else { break };
        let prefix = "ProcessNewBlock, block not accepted: ";
        hashes.push(Value::from(submit(call, block, code::INTERNAL_ERROR, prefix)?));
    }
    Ok(hashes.into())
}

/// Hands a new block over and returns its hash; an error gets a code and a beginning.
fn submit(
    call: &Call<'_>,
    (header, bytes): (Header, Vec<u8>),
    code: i32,
    prefix: &str,
) -> Result<String, RpcError> {
    match call.backend.command(Command::SubmitBlock(Arc::new(bytes))) {
        Ok(()) | Err(CommandError::Duplicate(_)) => Ok(header.hash().to_string()),
        Err(error) => fail(code, format!("{prefix}{}", text_of(error))),
    }
}

pub(crate) fn generateblock(call: &mut Call<'_>) -> Answer {
    let prefixes = call.params()?.address_prefixes;
    let output = call.text(0)?;
    let script = descriptor::parse(output, &prefixes)
        .or_else(|_| parse_address(output, &prefixes))
        .map_err(|_| {
            let text = "Error: Invalid address or descriptor";
            RpcError::new(code::INVALID_ADDRESS_OR_KEY, text)
        })?;
    let Value::Array(given) = call.arg(1) else { return call.misused() };
    let mut txs = Vec::new();
    for value in given {
        let text = value.as_str().unwrap_or_default();
        let is_txid = text.len() == 64 && hex::decode(text).is_ok();
        let missing = format!("Transaction {text} not in mempool.");
        fail_if(is_txid, code::INVALID_ADDRESS_OR_KEY, missing)?;
        let tx = hex::decode(text).ok().and_then(|bytes| decode_tx(&bytes, None));
        let Some(tx) = tx else {
            let text = format!(
                "Transaction decode failed for {text}. Make sure the tx has at least one input."
            );
            return fail(code::DESERIALIZATION_ERROR, text);
        };
        txs.push(tx);
    }
    let Some(block) = make_block(call, &script, &txs, MAX_TRIES)? else {
        return fail(code::MISC_ERROR, "Failed to make block.");
    };
    if !call.flag_or(2, true)? {
        return Ok(json!({ "hash": block.0.hash().to_string(), "hex": hex::encode(&block.1) }));
    }
    let hash = submit(call, block, code::VERIFY_ERROR, "TestBlockValidity failed: ")?;
    Ok(json!({ "hash": hash }))
}

/// Makes a block on the tip; none when no nonce was found. Core: `CreateNewBlock`,
/// `GenerateBlock`.
fn make_block(
    call: &Call<'_>,
    script: &[u8],
    txs: &[Transaction],
    tries: u64,
) -> Result<Option<(Header, Vec<u8>)>, RpcError> {
    let tip = call.backend.worlds().tip().info().hash;
    let (params, height, time, bits) = call
        .look(move |engine, now| {
            let tree = engine.sync().tree();
            let parent = tree.find(&tip)?;
            let height = tree.height(parent) + 1;
            let mut earliest = tree.median_time_past(parent) + 1;
            if height.is_multiple_of(tree.params().difficulty_interval()) {
                let before = tree.header(parent).time.saturating_sub(MAX_TIMEWARP);
                earliest = earliest.max(before);
            }
            let time = u32::try_from(now.unix).unwrap_or(u32::MAX).max(earliest);
            Some((tree.params().clone(), height, time, tree.required_bits(parent, time)))
        })?
        .ok_or_else(|| RpcError::new(code::INTERNAL_ERROR, "the tip's header is not known"))?;
    let value = subsidy(height, &params);
    let coinbase = coinbase(height, value, script, txs);
    let ids = [&coinbase].into_iter().chain(txs).map(|tx| tx.txid().0);
    let mut header = Header {
        version: 0x2000_0000,
        prev_block: tip,
        merkle_root: MerkleRoot(merkle_root(ids.collect()).0),
        time,
        bits,
        nonce: 0,
    };
    let target = Target::from_compact(bits)
        .ok_or_else(|| RpcError::new(code::INTERNAL_ERROR, "the next block has no target"))?;
    let mut left = tries;
    while 0 < left && !target.is_met_by(&header.hash()) {
        header.nonce = header.nonce.wrapping_add(1);
        left -= 1;
        if call.backend.is_stopping() {
            return Ok(None);
        }
    }
    let bytes: Vec<_> = [&coinbase].into_iter().chain(txs).map(Transaction::encode).collect();
    Ok((0 < left).then(|| (header, encode_block(&header, &bytes))))
}

/// A coinbase with the height, the reward and the witness commitment. Spec: BIP-0034, BIP-0141.
fn coinbase(height: u32, value: i64, script: &[u8], txs: &[Transaction]) -> Transaction {
    let mut script_sig = Vec::new();
    push_int(&mut script_sig, height.into());
    if height <= 16 {
        // It has two bytes at least.
        script_sig.push(0);
    }
    let hashes = [[0; 32]].into_iter().chain(txs.iter().map(|tx| tx.wtxid().0));
    let root = merkle_root(hashes.collect()).0;
    let mut commitment = vec![OP_RETURN, 36, 0xaa, 0x21, 0xa9, 0xed];
    commitment.extend(sha256d([root, [0; 32]].as_flattened()));
    let input =
        TxIn { script_sig, sequence: u32::MAX - 1, witness: vec![vec![0; 32]], ..TxIn::default() };
    let outputs = vec![
        TxOut { value, script_pubkey: script.to_vec() },
        TxOut { value: 0, script_pubkey: commitment },
    ];
    Transaction { version: 2, inputs: vec![input], outputs, lock_time: height - 1 }
}
