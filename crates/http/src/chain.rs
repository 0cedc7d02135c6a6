//! Methods about blocks, headers and the set of coins.

use std::time::Duration;

use caesure_consensus::{
    BlockContext, Coin, Deployment, HeaderId, HeaderTree, Network, Target, Work,
};
use caesure_engine::Command;
use caesure_ledger::{Tally, World};
use caesure_p2p::PeerId;
use caesure_text::hex;
use caesure_wire::{Block, BlockHash, Header, OutPoint, Txid};
use serde_json::{Value, json};

use crate::About;
use crate::call::{Call, hash, not_found, unreadable};
use crate::error::{Answer, RpcError, code, fail, fail_if};
use crate::json::{Object, Spent, amount, object, real, script_json, tx_json};

/// A wait without an end is made of waits of this length.
const LONG: Duration = Duration::from_secs(3600);

/// What is said of a header, seen from a tip.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) header: Header,
    pub(crate) hash: BlockHash,
    pub(crate) height: u32,
    pub(crate) confirmations: i64,
    median_time: u32,
    work: Work,
    next: Option<BlockHash>,
}

impl Place {
    /// Core: `ComputeNextBlockAndDepth`.
    fn new(tree: &HeaderTree, id: HeaderId, tip: &BlockHash) -> Option<Self> {
        let tip = tree.find(tip)?;
        let height = tree.height(id);
        let next = tree.ancestor(tip, height + 1).filter(|next| tree.parent(*next) == Some(id));
        let is_on_chain = next.is_some() || id == tip;
        let depth = i64::from(tree.height(tip)) - i64::from(height) + 1;
        Some(Self {
            header: tree.header(id),
            hash: tree.hash(id),
            height,
            confirmations: if is_on_chain { depth } else { -1 },
            median_time: tree.median_time_past(id),
            work: tree.chain_work(id),
            next: next.map(|next| tree.hash(next)),
        })
    }

    /// Core: `blockheaderToJSON`.
    fn to_json(&self, tx_count: u32) -> Object {
        let Header { version, merkle_root, time, bits, nonce, prev_block } = self.header;
        object(json!({
            "hash": self.hash.to_string(),
            "confirmations": self.confirmations,
            "height": self.height,
            "version": version,
            "versionHex": format!("{version:08x}"),
            "merkleroot": merkle_root.to_string(),
            "time": time,
            "mediantime": self.median_time,
            "nonce": nonce,
            "bits": format!("{bits:08x}"),
            "target": target(bits),
            "difficulty": real(difficulty(bits)),
            "chainwork": self.work.to_string(),
            "nTx": tx_count,
            "previousblockhash": (0 < self.height).then(|| prev_block.to_string()),
            "nextblockhash": self.next.map(|next| next.to_string()),
        }))
    }
}

/// The target of compact bits, in 64 digits. Core: `GetTarget`.
fn target(bits: u32) -> String {
    Target::from_compact(bits).map_or_else(|| "0".repeat(64), |target| target.to_string())
}

/// Core: `GetDifficulty`.
pub(crate) fn difficulty(bits: u32) -> f64 {
    let exponent = i32::try_from(bits >> 24).unwrap_or(0);
    f64::from(0xffff) / f64::from(bits & 0x00ff_ffff) * 256_f64.powi(29 - exponent)
}

impl Call<'_> {
    /// Returns the place of a block, seen from the world that is read.
    pub(crate) fn place(&mut self, hash: BlockHash) -> Result<Place, RpcError> {
        let tip = self.world()?.info().hash;
        let place = self.tree(move |tree| Place::new(tree, tree.find(&hash)?, &tip))?;
        place.map_or_else(not_found, Ok)
    }

    /// Returns the place of the world's own block.
    fn tip(&mut self) -> Result<Place, RpcError> {
        let hash = self.world()?.info().hash;
        self.place(hash)
    }

    /// Returns a stored block, or says why there is none. Core: `CheckBlockDataAvailability`.
    pub(crate) fn block(&self, hash: &BlockHash) -> Result<Block<Vec<u8>>, RpcError> {
        let bytes = self.backend.read_block(hash).map_err(unreadable)?;
        let Some(bytes) = bytes else {
            let hash = *hash;
            let is_pruned = self.look(move |engine, _| {
                let sync = engine.sync();
                sync.tree().find(&hash).is_some_and(|id| sync.block_state(id).has_body)
            })?;
            let why = if is_pruned { "pruned data" } else { "not fully downloaded" };
            return fail(code::MISC_ERROR, format!("Block not available ({why})"));
        };
        Block::parse(bytes).map_err(unreadable)
    }

    /// As [`spent_lists`].
    pub(crate) fn spent(
        &self,
        block: &Block<Vec<u8>>,
        height: u32,
    ) -> Result<Option<Vec<Vec<Coin>>>, RpcError> {
        self.backend.worlds().spent_lists(block, height).map_err(unreadable)
    }
}

pub(crate) fn getbestblockhash(call: &mut Call<'_>) -> Answer {
    Ok(call.world()?.info().hash.to_string().into())
}

pub(crate) fn getblockcount(call: &mut Call<'_>) -> Answer {
    Ok(call.world()?.info().height.into())
}

pub(crate) fn getblockhash(call: &mut Call<'_>) -> Answer {
    let tip = call.world()?.info().hash;
    let found = match u32::try_from(call.int::<i32>(0)?) {
        Ok(height) => call.ancestor(tip, height)?,
        Err(_) => None,
    };
    match found {
        Some(hash) => Ok(hash.to_string().into()),
        None => fail(code::INVALID_PARAMETER, "Block height out of range"),
    }
}

pub(crate) fn getblockheader(call: &mut Call<'_>) -> Answer {
    let hash = call.hash(0, "hash")?;
    let place = call.place(hash)?;
    if !call.flag_or(1, true)? {
        return Ok(hex::encode(&place.header.to_bytes()).into());
    }
    let count = call.backend.tx_count(&hash).map_err(unreadable)?;
    Ok(place.to_json(count.unwrap_or(0)).into())
}

pub(crate) fn getblock(call: &mut Call<'_>) -> Answer {
    let hash = call.hash(0, "blockhash")?;
    let verbosity = call.verbosity(1, 1)?;
    let place = call.place(hash)?;
    let block = call.block(&hash)?;
    if verbosity <= 0 {
        return Ok(hex::encode(block.bytes()).into());
    }
    let txs: Value = if verbosity == 1 {
        block.txids().iter().map(ToString::to_string).collect()
    } else {
        let spent = call.spent(&block, place.height)?;
        let prefixes = call.params()?.address_prefixes;
        let txs = block.txs().enumerate().map(|(index, tx)| {
            let coins = spent.as_ref().and_then(|lists| lists.get(index)).filter(|_| 0 < index);
            let spent = coins.map_or(Spent::Unknown, |coins| match verbosity {
                2 => Spent::Fee(coins),
                _ => Spent::Prevouts(coins),
            });
            tx_json(&tx.to_owned(), &prefixes, spent)
        });
        txs.collect()
    };
    let mut fields = place.to_json(u32::try_from(block.tx_count()).unwrap_or(u32::MAX));
    fields.extend(object(json!({
        "strippedsize": block.stripped_size(),
        "size": block.bytes().len(),
        "weight": block.weight(),
        "coinbase_tx": coinbase_json(&block),
    })));
    // As it stands: `json!` would copy it.
    fields.insert("tx".into(), txs);
    Ok(fields.into())
}

/// Core: `coinbaseTxToJSON`.
fn coinbase_json(block: &Block<Vec<u8>>) -> Object {
    let tx = block.tx(0);
    let input = tx.input(0);
    object(json!({
        "version": tx.version(),
        "locktime": tx.lock_time(),
        "sequence": input.sequence,
        "coinbase": hex::encode(input.script_sig),
        "witness": tx.witness(0).next().map(hex::encode),
    }))
}

/// Core's name of a network. Core: `ChainTypeToString`.
pub(crate) fn chain_name(network: Network) -> &'static str {
    if network == Network::Testnet3 { "test" } else { network.name() }
}

pub(crate) fn getblockchaininfo(call: &mut Call<'_>) -> Answer {
    let tip = call.tip()?;
    let params = call.params()?;
    let (headers, is_initial, pruned, now) = call.look(|engine, now| {
        let sync = engine.sync();
        let best = sync.tree().height(sync.tree().best());
        (best, sync.is_initial_download(), sync.pruned_height(), now.unix)
    })?;
    let bits = tip.header.bits;
    let About { is_pruned, prune_target, .. } = *call.backend.about();
    let fields = object(json!({
        "chain": chain_name(params.network),
        "blocks": tip.height,
        "headers": headers,
        "bestblockhash": tip.hash.to_string(),
        "bits": format!("{bits:08x}"),
        "target": target(bits),
        "difficulty": real(difficulty(bits)),
        "time": tip.header.time,
        "mediantime": tip.median_time,
        "verificationprogress": real(progress(&tip, headers, now, params.pow_target_spacing)),
        "initialblockdownload": is_initial,
        "chainwork": tip.work.to_string(),
        "size_on_disk": call.backend.disk_use(),
        "pruned": is_pruned,
        "pruneheight": is_pruned.then(|| pruned.map_or(0, |height| height + 1)),
        "automatic_pruning": is_pruned.then_some(prune_target.is_some()),
        "prune_target_size": prune_target,
        "signet_challenge": params.signet_challenge.as_deref().map(hex::encode),
        "warnings": [],
    }));
    Ok(fields.into())
}

/// The part of the blocks that is validated, counting those that must have been found since the
/// last that is known. Core counts transactions.
fn progress(tip: &Place, headers: u32, now: u64, spacing: u32) -> f64 {
    let to_come = now.saturating_sub(tip.header.time.into()) / u64::from(spacing.max(1));
    let to_come = u32::try_from(to_come).unwrap_or(u32::MAX);
    let total = headers.max(tip.height.saturating_add(to_come));
    let is_near = tip.height == headers && to_come < 12;
    if is_near { 1.0 } else { f64::from(tip.height) / f64::from(total.max(1)) }
}

pub(crate) fn getdifficulty(call: &mut Call<'_>) -> Answer {
    Ok(real(difficulty(call.tip()?.header.bits)))
}

pub(crate) fn getdeploymentinfo(call: &mut Call<'_>) -> Answer {
    const NAMES: [(Deployment, &str); 5] = [
        (Deployment::HeightInCoinbase, "bip34"),
        (Deployment::DerSig, "bip66"),
        (Deployment::Cltv, "bip65"),
        (Deployment::Csv, "csv"),
        (Deployment::Segwit, "segwit"),
    ];
    let block =
        if call.arg(0).is_null() { call.world()?.info().hash } else { call.hash(0, "blockhash")? };
    let id = call.known(block)?;
    call.tree(move |tree| {
        let params = tree.params();
        let height = tree.height(id);
        let flags = BlockContext::new(params, tree, id).flags.to_string();
        let mut flags: Vec<&str> = flags.split(',').filter(|flag| *flag != "NONE").collect();
        flags.sort_unstable();
        let deployments = NAMES.map(|(deployment, name)| {
            let entry = json!({
                "type": "buried",
                "active": params.is_active(deployment, height + 1),
                "height": params.activation_heights[deployment as usize],
            });
            (name.to_owned(), entry)
        });
        json!({
            "hash": block.to_string(),
            "height": height,
            "script_flags": flags,
            "deployments": Object::from_iter(deployments),
        })
    })
}

pub(crate) fn getchaintips(call: &mut Call<'_>) -> Answer {
    let tips = call.look(|engine, _| engine.sync().chain_tips())?;
    let tips = tips.iter().map(|tip| {
        json!({
            "height": tip.height,
            "hash": tip.hash.to_string(),
            "branchlen": tip.branch_len,
            "status": tip.status.name(),
        })
    });
    Ok(tips.collect())
}

pub(crate) fn gettxout(call: &mut Call<'_>) -> Answer {
    let outpoint = OutPoint { txid: Txid(call.hash(0, "txid")?.0), vout: call.int(1)? };
    call.flag_or(2, true)?;
    let world = call.world()?;
    let Some(coin) = world.get(&outpoint).map_err(unreadable)? else { return Ok(Value::Null) };
    let prefixes = call.params()?.address_prefixes;
    Ok(json!({
        "bestblock": world.info().hash.to_string(),
        "confirmations": world.info().height - coin.height + 1,
        "value": amount(coin.value),
        "scriptPubKey": script_json(&coin.script_pubkey, &prefixes, true, None),
        "coinbase": coin.is_coinbase,
    }))
}

pub(crate) fn gettxoutsetinfo(call: &mut Call<'_>) -> Answer {
    let kind = call.text_or(0, "hash_serialized_3").to_owned();
    let is_known = ["hash_serialized_3", "muhash", "none"].contains(&&*kind);
    let text = format!("'{kind}' is not a valid hash_type");
    fail_if(!is_known, code::INVALID_PARAMETER, text)?;
    let at = call.arg(1).clone();
    if at.is_number() {
        let height: i64 = call.int::<i32>(1)?.into();
        let tip = call.world()?.info().height;
        let text = format!("Target block height {height} is negative");
        fail_if(height < 0, code::INVALID_PARAMETER, text)?;
        let text = format!("Target block height {height} after current tip {tip}");
        fail_if(i64::from(tip) < height, code::INVALID_PARAMETER, text)?;
    } else if !at.is_null() {
        hash(&at, "hash_or_height")?;
    }
    if !at.is_null() {
        call.at = Some(at);
    }
    let world = call.world()?;
    let mut tally = if kind == "muhash" { Tally::default() } else { Tally::without_muhash() };
    world.for_each(|outpoint, coin| tally.push(outpoint, coin)).map_err(unreadable)?;
    let summary = tally.finish();
    let log = call.backend.about().folder.join("ledger.log");
    let hash_of = |name: &str, hash: [u8; 32]| (kind == name).then(|| BlockHash(hash).to_string());
    let fields = object(json!({
        "height": world.info().height,
        "bestblock": world.info().hash.to_string(),
        "txouts": summary.txouts,
        "bogosize": summary.bogosize,
        "hash_serialized_3": hash_of("hash_serialized_3", summary.hash_serialized_3),
        "muhash": hash_of("muhash", summary.muhash),
        "total_amount": amount(summary.total_amount),
        "transactions": summary.transactions,
        "disk_size": std::fs::metadata(log).map_or(0, |it| it.len()),
    }));
    Ok(fields.into())
}

pub(crate) fn getblockfrompeer(call: &mut Call<'_>) -> Answer {
    let hash = call.hash(0, "blockhash")?;
    let peer: i64 = call.int(1)?;
    // No peer has a negative number.
    let peer = PeerId(u64::try_from(peer).unwrap_or(u64::MAX));
    call.command(Command::GetBlockFromPeer { hash, peer }, code::MISC_ERROR)?;
    Ok(json!({}))
}

pub(crate) fn preciousblock(call: &mut Call<'_>) -> Answer {
    mark(call, Command::Precious)
}

pub(crate) fn invalidateblock(call: &mut Call<'_>) -> Answer {
    mark(call, Command::Invalidate)
}

pub(crate) fn reconsiderblock(call: &mut Call<'_>) -> Answer {
    mark(call, Command::Reconsider)
}

fn mark(call: &mut Call<'_>, command: fn(BlockHash) -> Command) -> Answer {
    let hash = call.hash(0, "blockhash")?;
    call.known(hash)?;
    call.command(command(hash), code::DATABASE_ERROR)
}

pub(crate) fn waitfornewblock(call: &mut Call<'_>) -> Answer {
    let first = match call.arg(1) {
        Value::Null => call.backend.worlds().tip().info().hash,
        _ => call.hash(1, "current_tip")?,
    };
    wait(call, 0, move |tip| tip.info().hash != first)
}

pub(crate) fn waitforblock(call: &mut Call<'_>) -> Answer {
    let wanted = call.hash(0, "blockhash")?;
    wait(call, 1, move |tip| tip.info().hash == wanted)
}

pub(crate) fn waitforblockheight(call: &mut Call<'_>) -> Answer {
    let wanted: i32 = call.int(0)?;
    wait(call, 1, move |tip| i64::from(wanted) <= tip.info().height.into())
}

/// Waits until the tip is what it should be; the argument at `timeout` is the milliseconds.
fn wait(call: &Call<'_>, timeout: usize, is_it: impl Fn(&World) -> bool) -> Answer {
    let timeout: i32 = call.int_or(timeout, 0)?;
    let Ok(timeout) = u64::try_from(timeout) else {
        return fail(code::MISC_ERROR, "Negative timeout");
    };
    let now = || call.look(|_, now| now.mono);
    let deadline =
        (0 < timeout).then(|| Ok(now()? + Duration::from_millis(timeout))).transpose()?;
    let mut tip = call.backend.worlds().tip();
    while !is_it(&tip) && !call.backend.is_stopping() {
        let left = match deadline {
            None => LONG,
            Some(deadline) => deadline.saturating_sub(now()?),
        };
        if left.is_zero() {
            break;
        }
        let hash = call.backend.wait_for_tip(tip.info().hash, left);
        let worlds = call.backend.worlds();
        tip = worlds.world(&hash).unwrap_or_else(|| worlds.tip());
    }
    Ok(json!({ "hash": tip.info().hash.to_string(), "height": tip.info().height }))
}

pub(crate) fn submitheader(call: &mut Call<'_>) -> Answer {
    let bytes = hex::decode(call.text(0)?).unwrap_or_default();
    let Ok(bytes) = <&[u8; Header::SIZE]>::try_from(&bytes[..]) else {
        return fail(code::DESERIALIZATION_ERROR, "Block header decode failed");
    };
    let header = Header::from_bytes(bytes);
    let parent = header.prev_block;
    let is_known = call.tree(move |tree| tree.find(&parent).is_some())?;
    let text = format!("Must submit previous header ({parent}) first");
    fail_if(!is_known, code::VERIFY_ERROR, text)?;
    call.command(Command::SubmitHeader(header), code::VERIFY_ERROR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn target_and_difficulty_are_those_of_core() {
        let target_of = |bits, expected: &str| assert_eq!(target(bits), expected);
        target_of(0x1d00_ffff, &format!("{:0<64}", "00000000ffff"));
        target_of(0x207f_ffff, &format!("{:0<64}", "7fffff"));
        target_of(0x0100_3456, &"0".repeat(64));
        target_of(0x0312_3456, &format!("{:0>64}", "123456"));
        assert_eq!(real(difficulty(0x1d00_ffff)).to_string(), "1");
        assert_eq!(real(difficulty(0x207f_ffff)).to_string(), "4.656542373906925e-10");
        assert_eq!(real(difficulty(0x1702_3a04)).to_string(), "126411437451912.2");
    }
}
