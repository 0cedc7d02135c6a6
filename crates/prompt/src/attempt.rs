//! What would become of a block or a transaction on a world. Nothing is kept of it.

use std::sync::Arc;

use caesure_consensus::{
    BlockContext, BlockTotals, Coin, Reject, check_block, check_block_context, check_inputs,
    check_transaction, connect_block, is_final, is_sequence_final, sigop_cost, verify_tx_scripts,
};
use caesure_ledger::World;
use caesure_wire::{Block, BlockHash, DecodeError, OutPoint, Tx, TxView};
use rhai::{Dynamic, Map};

use crate::context::{Context, Res, fail, told};
use crate::values::{Name, int};

/// A verdict, with what was found besides.
fn verdict(reason: Option<String>, facts: Vec<(&str, Dynamic)>) -> Map {
    let mut map = Map::new();
    map.insert("valid".into(), reason.is_none().into());
    map.insert("reason".into(), reason.unwrap_or_default().into());
    map.extend(facts.into_iter().map(|(name, value)| (name.into(), value)));
    map
}

fn undecodable(error: DecodeError) -> Map {
    verdict(Some(format!("cannot be decoded: {error}")), Vec::new())
}

/// The context of a block on the world's.
fn child(context: &Context, world: &World, hash: BlockHash, time: u32) -> Res<BlockContext> {
    let (params, parent) = (context.source.params().clone(), world.info().hash);
    let found = context.look(move |tree| {
        let parent = tree.find(&parent)?;
        Some(BlockContext::child(&params, tree, parent, hash, time))
    })?;
    found.ok_or_else(|| told("the header of the world's block is not known"))
}

/// Tries a transaction in the next block of a world.
pub(crate) fn tx(context: &Context, world: &World, bytes: &[u8]) -> Res<Map> {
    let tx = match Tx::parse(bytes) {
        Ok(tx) => tx,
        Err(error) => return Ok(undecodable(error)),
    };
    let view = tx.view();
    let mut facts: Vec<(&str, Dynamic)> = vec![
        ("txid", Dynamic::from(Name(view.txid().0))),
        ("size", int(view.total_size()).into()),
        ("vsize", int(view.vsize()).into()),
        ("weight", int(view.weight()).into()),
    ];
    let outpoints: Vec<OutPoint> = view.inputs().map(|input| input.prevout).collect();
    context.work(1_000 * (1 + outpoints.len() as u64))?;
    let now = u32::try_from(context.source.now().unix).unwrap_or(u32::MAX);
    let child = child(context, world, BlockHash::ZERO, now)?;
    let prevouts: Arc<[Option<Coin>]> = world.get_many(&outpoints).map_err(told)?.into();
    let judged = match judge_tx(view, &child, &prevouts) {
        Err(reject) => Err(reject.to_string()),
        Ok(fee) => {
            facts.push(("fee", fee.into()));
            facts.push(("sigops", int(sigop_cost(view, &prevouts, child.flags)).into()));
            locks(context, world, bytes, &child, &prevouts)?.and_then(|()| {
                let scripts = verify_tx_scripts(view, &prevouts, child.flags);
                scripts.map(drop).map_err(|(index, error)| {
                    format!("{} (input {index})", Reject::BlockScriptVerifyFlagFailed(error))
                })
            })
        }
    };
    Ok(verdict(judged.err(), facts))
}

/// What needs no header, in the order of a block's rules.
fn judge_tx(
    tx: TxView<'_>,
    child: &BlockContext,
    prevouts: &[Option<Coin>],
) -> Result<i64, Reject> {
    if tx.is_coinbase() {
        return Err(Reject::BadCbMultiple);
    }
    check_transaction(tx)?;
    if !is_final(tx, child.height, child.lock_time_cutoff) {
        return Err(Reject::BadTxnsNonfinal);
    }
    check_inputs(tx, prevouts, child.height)
}

/// Relative lock times, which are of the headers.
fn locks(
    context: &Context,
    world: &World,
    bytes: &[u8],
    child: &BlockContext,
    prevouts: &Arc<[Option<Coin>]>,
) -> Res<Result<(), String>> {
    if !child.has_csv {
        return Ok(Ok(()));
    }
    let (parent, bytes, prevouts) = (world.info().hash, bytes.to_vec(), Arc::clone(prevouts));
    let is_final = context.look(move |tree| {
        let tx = Tx::parse(&bytes[..]).ok()?;
        Some(is_sequence_final(tx.view(), &prevouts, tree, tree.find(&parent)?))
    })?;
    Ok(match is_final {
        Some(true) => Ok(()),
        _ => Err(Reject::BadTxnsNonfinal.to_string()),
    })
}

/// Tries a block on a world.
pub(crate) fn block(context: &Context, world: &World, bytes: &[u8]) -> Res<Map> {
    let block = match Block::parse(bytes.to_vec()) {
        Ok(block) => Arc::new(block),
        Err(error) => return Ok(undecodable(error)),
    };
    let header = *block.header();
    if header.prev_block != world.info().hash {
        let parent = header.prev_block;
        return fail(format!("the block's parent is {parent}; try it on world(\"{parent}\")"));
    }
    context.work(1_000 * (1 + block.input_count() as u64))?;
    let facts = vec![
        ("hash", Dynamic::from(Name(block.hash().0))),
        ("height", int(world.info().height + 1).into()),
        ("size", int(bytes.len()).into()),
        ("weight", int(block.weight()).into()),
    ];
    Ok(match judge_block(context, world, &block)? {
        Ok(totals) => {
            let mut facts = facts;
            facts.push(("fees", totals.fees.into()));
            facts.push(("subsidy", totals.subsidy.into()));
            facts.push(("sigops", int(totals.sigop_cost).into()));
            verdict(None, facts)
        }
        Err(reject) => verdict(Some(reject.to_string()), facts),
    })
}

type Verdict = Result<BlockTotals, Reject>;

/// All rules, in Core's order.
fn judge_block(context: &Context, world: &World, block: &Arc<Block<Vec<u8>>>) -> Res<Verdict> {
    let header = *block.header();
    let now = u32::try_from(context.source.now().unix).unwrap_or(u32::MAX);
    if let Err(reject) = context.look(move |tree| tree.check(&header, now).map(drop))? {
        return Ok(Err(reject));
    }
    let child = child(context, world, block.hash(), header.time)?;
    let txids = match check_block(block, context.source.params()) {
        Ok(txids) => txids,
        Err(reject) => return Ok(Err(reject)),
    };
    if let Err(reject) = check_block_context(block, &child, &txids) {
        return Ok(Err(reject));
    }
    let worlds = context.source.worlds();
    let resolved = worlds.resolve(block, &txids, child.checks_bip30).map_err(told)?;
    let resolved = resolved.ok_or_else(|| told("the world is not held any more"))?;
    let (params, shared) = (context.source.params().clone(), Arc::clone(block));
    let (prevouts, overwrites) = (Arc::clone(&resolved.prevouts), resolved.overwrites);
    let totals = context
        .look(move |tree| connect_block(&shared, &child, &params, tree, &prevouts, overwrites))?;
    let totals = match totals {
        Ok(totals) => totals,
        Err(reject) => return Ok(Err(reject)),
    };
    let mut rest = &resolved.prevouts[..];
    for tx in block.txs().skip(1) {
        let (spent, others) = rest.split_at(tx.input_count());
        rest = others;
        context.work(1_000 * spent.len() as u64)?;
        if let Err((_, error)) = verify_tx_scripts(tx, spent, child.flags) {
            return Ok(Err(Reject::BlockScriptVerifyFlagFailed(error)));
        }
    }
    Ok(Ok(totals))
}
