use std::sync::Arc;

use caesure_ledger::World;
use caesure_wire::OutPoint;
use rhai::{Dynamic, Engine, INT, Map};

use crate::attempt;
use crate::context::{Context, Res, fail, told};
use crate::script::script_of;
use crate::values::{
    BlockValue, Bytes, CoinValue, InputValue, Items, List, Name, Place, TxValue, WorldValue, int,
};

/// The most blocks that two worlds may be apart to be compared: what lies between is held at once.
const DIFF_BLOCKS: u32 = 144;
/// The most coins that are listed at once.
const COINS_MAX: usize = 100_000;

/// The world of a block.
fn world(context: &Context, name: &Dynamic) -> Res<WorldValue> {
    let (hash, height) = context.find(name)?;
    let worlds = context.source.worlds();
    let held = worlds.world(&hash).map(WorldValue);
    held.ok_or_else(|| {
        let root = worlds.root();
        told(format!(
            "the world of block {hash} at height {height} is not held; the oldest is {} at height {}",
            root.hash, root.height
        ))
    })
}

fn outpoint(value: &Dynamic) -> Res<OutPoint> {
    if let Some(place) = value.read_lock::<Place>() {
        Ok(place.0)
    } else if let Some(input) = value.read_lock::<InputValue>() {
        Ok(input.0.view().input(input.1).prevout)
    } else if let Some(coin) = value.read_lock::<CoinValue>() {
        Ok(coin.place)
    } else {
        value.to_string().parse().map_err(|_| told("an outpoint is written \"TXID:INDEX\""))
    }
}

fn map<const N: usize>(fields: [(&str, Dynamic); N]) -> Map {
    fields.into_iter().map(|(name, value)| (name.into(), value)).collect()
}

/// Teaches the interpreter worlds and coins.
pub(crate) fn register(engine: &mut Engine, context: &Arc<Context>) {
    register_pin(engine, context);
    register_world(engine, context);
    register_coin(engine, context);
    register_attempts(engine, context);
}

fn register_pin(engine: &mut Engine, context: &Arc<Context>) {
    let with = || Arc::clone(context);
    let c = with();
    engine.register_fn("world", move || WorldValue(c.world()));
    let c = with();
    engine.register_fn("world", move |name: Dynamic| world(&c, &name));
    let c = with();
    engine.register_fn("worlds", move || -> rhai::Array {
        let infos = c.source.worlds().worlds();
        infos.iter().map(|info| Dynamic::from(Name(info.hash.0))).take(c.limits.list).collect()
    });
    let c = with();
    engine.register_fn("at", move |name: Dynamic| -> Res<WorldValue> {
        let world = world(&c, &name)?;
        c.pin(Some(world.0.clone()));
        Ok(world)
    });
    let c = with();
    engine.register_fn("at", move || -> WorldValue {
        c.pin(None);
        WorldValue(c.world())
    });
    let c = with();
    engine.register_fn("view", move || {
        let (world, is_pinned) = (c.world(), c.is_pinned());
        let info = world.info();
        map([
            ("height", int(info.height).into()),
            ("hash", Dynamic::from(Name(info.hash.0))),
            ("is_pinned", is_pinned.into()),
        ])
    });
}

fn register_world(engine: &mut Engine, context: &Arc<Context>) {
    let with = || Arc::clone(context);
    engine.register_type_with_name::<WorldValue>("WORLD");
    for name in ["hash", "name"] {
        engine.register_get(name, |it: &mut WorldValue| Name(it.0.info().hash.0));
    }
    engine.register_get("height", |it: &mut WorldValue| int(it.0.info().height));
    engine.register_get("total", |it: &mut WorldValue| it.0.info().total);
    engine.register_get("fees", |it: &mut WorldValue| it.0.info().fees);
    engine.register_get("lost", |it: &mut WorldValue| it.0.info().lost());
    engine.register_get("issued", |it: &mut WorldValue| it.0.info().issued);
    engine.register_get("chain_work", |it: &mut WorldValue| it.0.info().chain_work.to_string());
    engine.register_get("is_verified", |it: &mut WorldValue| it.0.is_verified());
    engine.register_fn("supply", |it: &mut WorldValue| {
        let info = it.0.info();
        let (issued, total, lost) = (info.issued, info.total, info.lost());
        map([("issued", issued.into()), ("total", total.into()), ("lost", lost.into())])
    });
    let c = with();
    engine.register_get("count", move |it: &mut WorldValue| -> Res<INT> {
        let mut count = 0;
        visit(&c, &it.0, |_, _| {
            count += 1;
            Ok(true)
        })?;
        Ok(count)
    });
    let c = with();
    engine.register_get("block", move |it: &mut WorldValue| {
        c.block(it.0.info().hash, it.0.info().height)
    });
    let c = with();
    engine.register_fn("at", move |it: &mut WorldValue, height: INT| -> Res<WorldValue> {
        let (hash, own) = (it.0.info().hash, it.0.info().height);
        let below = u32::try_from(height).ok().filter(|height| *height <= own);
        let Some(height) = below else { return fail(format!("the world is at height {own}")) };
        let found =
            c.look(move |tree| Some(tree.hash(tree.ancestor(tree.find(&hash)?, height)?)))?;
        let hash = found.ok_or_else(|| told("its header is not known"))?;
        world(&c, &hash.to_string().into())
    });
    let c = with();
    engine.register_fn("get", move |it: &mut WorldValue, place: Dynamic| -> Res<Dynamic> {
        c.work(10)?;
        let place = outpoint(&place)?;
        match it.0.get(&place).map_err(told)? {
            Some(coin) => Ok(Dynamic::from(c.coin(place, coin)?)),
            None => Ok(Dynamic::UNIT),
        }
    });
    engine.register_fn("==", |a: WorldValue, b: WorldValue| a.0.info().hash == b.0.info().hash);
    let c = with();
    engine.register_fn("diff", move |it: &mut WorldValue, other: WorldValue| {
        diff(&c, &it.0, &other.0)
    });
    let c = with();
    engine.register_fn("coins", move |it: &mut WorldValue, most: INT| coins(&c, &it.0, most));
    let c = with();
    engine.register_fn("summary", move |it: &mut WorldValue| summary(&c, &it.0));
}

/// Visits coins in key order, until the visitor has seen enough or the line must end.
fn visit(
    context: &Context,
    world: &World,
    mut visitor: impl FnMut(&OutPoint, &caesure_consensus::Coin) -> Res<bool>,
) -> Res<()> {
    let mut result = Ok(true);
    let visited = world.for_each_while(|outpoint, coin| {
        result = context.work(1).and_then(|()| visitor(outpoint, coin));
        matches!(result, Ok(true))
    });
    visited.map_err(told)?;
    result.map(drop)
}

fn coins(context: &Arc<Context>, world: &World, most: INT) -> Res<List> {
    let most = usize::try_from(most).unwrap_or(0).min(COINS_MAX);
    let mut found: Vec<CoinValue> = Vec::new();
    visit(context, world, |place, coin| {
        if found.len() < most {
            found.push(context.coin(*place, coin.clone())?);
        }
        Ok(found.len() < most)
    })?;
    Ok(List { context: Arc::clone(context), items: Items::Coins(found.into()) })
}

/// What the set adds up to, with Core's hashes of it.
fn summary(context: &Context, world: &World) -> Res<Map> {
    let mut tally = caesure_ledger::Tally::default();
    visit(context, world, |place, coin| {
        // A coin costs about as much as so many operations: most of it is the second hash.
        context.work(10)?;
        tally.push(place, coin);
        Ok(true)
    })?;
    let summary = tally.finish();
    Ok(map([
        ("txouts", int(summary.txouts).into()),
        ("transactions", int(summary.transactions).into()),
        ("total_amount", summary.total_amount.into()),
        ("bogosize", int(summary.bogosize).into()),
        ("hash_serialized_3", Name(summary.hash_serialized_3).to_hex().into()),
        ("muhash", Name(summary.muhash).to_hex().into()),
    ]))
}

fn diff(context: &Arc<Context>, a: &World, b: &World) -> Res<Map> {
    let (first, second) = (a.info().hash, b.info().hash);
    let apart = context.look(move |tree| {
        let (first, second) = (tree.find(&first)?, tree.find(&second)?);
        let fork = tree.height(tree.fork_point(first, second));
        Some(tree.height(first) - fork + tree.height(second) - fork)
    })?;
    let apart = apart.ok_or_else(|| told("its header is not known"))?;
    if DIFF_BLOCKS < apart {
        return fail(format!(
            "the worlds are {apart} blocks apart; at most {DIFF_BLOCKS} are compared"
        ));
    }
    context.work(u64::from(apart) * 10_000)?;
    let difference = a.diff(b).map_err(told)?;
    let list = |coins: Vec<(OutPoint, caesure_consensus::Coin)>| -> Res<Dynamic> {
        let coins = coins.into_iter().map(|(place, coin)| context.coin(place, coin));
        let coins = coins.collect::<Res<Vec<_>>>()?.into();
        Ok(Dynamic::from(List { context: Arc::clone(context), items: Items::Coins(coins) }))
    };
    Ok(map([("removed", list(difference.removed)?), ("added", list(difference.added)?)]))
}

fn register_coin(engine: &mut Engine, context: &Arc<Context>) {
    engine.register_type_with_name::<CoinValue>("COIN");
    engine.register_get("value", |it: &mut CoinValue| it.coin.0.value);
    engine.register_get("height", |it: &mut CoinValue| int(it.coin.0.height));
    engine.register_get("is_coinbase", |it: &mut CoinValue| it.coin.0.is_coinbase);
    engine.register_get("outpoint", |it: &mut CoinValue| Place(it.place));
    engine.register_get("type", |it: &mut CoinValue| {
        caesure_script::classify(&it.coin.0.script_pubkey).name().to_owned()
    });
    let c = Arc::clone(context);
    engine.register_get("script", move |it: &mut CoinValue| c.bytes(&it.coin.0.script_pubkey[..]));
    let c = Arc::clone(context);
    engine.register_get("address", move |it: &mut CoinValue| -> Dynamic {
        let prefixes = &c.source.params().address_prefixes;
        let address = caesure_script::address(&it.coin.0.script_pubkey, prefixes);
        address.map_or(Dynamic::UNIT, Into::into)
    });
}

/// The bytes of a transaction or a block: of a value, or as hexadecimal.
fn raw(context: &Context, value: &Dynamic) -> Res<Bytes> {
    if let Some(block) = value.read_lock::<BlockValue>() {
        context.bytes(block.0.block.bytes())
    } else if let Some(tx) = value.read_lock::<TxValue>() {
        context.bytes(tx.view().bytes())
    } else {
        script_of(context, value)
    }
}

fn register_attempts(engine: &mut Engine, context: &Arc<Context>) {
    let c = Arc::clone(context);
    engine.register_fn("try_tx", move |it: &mut WorldValue, tx: Dynamic| -> Res<Map> {
        attempt::tx(&c, &it.0, &raw(&c, &tx)?.bytes)
    });
    let c = Arc::clone(context);
    engine.register_fn("try_block", move |it: &mut WorldValue, block: Dynamic| -> Res<Map> {
        attempt::block(&c, &it.0, &raw(&c, &block)?.bytes)
    });
}
