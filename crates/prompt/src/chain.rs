use std::sync::Arc;

use caesure_consensus::{HeaderId, HeaderTree, subsidy};
use caesure_text::hex;
use caesure_wire::{BlockHash, Txid};
use rhai::{Array, Dynamic, Engine, EvalAltResult, FnPtr, INT, Map, NativeCallContext, Position};

use crate::context::{Context, Res, fail, told};
use crate::show::{bitcoins, dump_block, dump_tx};
use crate::values::{
    BlockValue, Bytes, Db, InputValue, Items, List, Name, OutputValue, Place, Table, TxValue, int,
};

/// How many headers are looked at in one turn of the loop that owns them.
const TURN: usize = 1 << 16;

/// The blocks of a height on all branches, by hash; those before `parent` alone, if it is given.
fn at_height(context: &Context, height: u32, parent: Option<BlockHash>) -> Res<Vec<BlockHash>> {
    let (mut from, mut found) = (0, Vec::new());
    loop {
        context.work(TURN as u64 / 64)?;
        let (next, hashes) = context.look(move |tree| {
            let end = tree.len().min(from + TURN);
            let ids = (from..end).filter_map(|id| Some(HeaderId(u32::try_from(id).ok()?)));
            let is_child = |id: HeaderId| {
                parent
                    .is_none_or(|parent| tree.parent(id).is_some_and(|it| tree.hash(it) == parent))
            };
            let hashes = ids.filter(|id| tree.height(*id) == height && is_child(*id));
            (end, hashes.map(|id| tree.hash(id)).collect::<Vec<_>>())
        })?;
        found.extend(hashes);
        if next < from + TURN {
            return Ok(found);
        }
        from = next;
    }
}

fn names(context: &Arc<Context>, hashes: &[BlockHash]) -> List {
    let names = hashes.iter().map(|hash| Name(hash.0)).collect();
    List { context: Arc::clone(context), items: Items::Names(names) }
}

/// The height that a number means; from the tip that the line reads if it is negative.
pub(crate) fn height_of(context: &Context, number: INT) -> Res<u32> {
    let tip = context.world().info().height;
    let height = if number < 0 { number.saturating_add(i64::from(tip) + 1) } else { number };
    let height = u32::try_from(height).ok().filter(|height| *height <= tip);
    height.ok_or_else(|| told(format!("there is no height {number}; the tip read is at {tip}")))
}

fn named(context: &Context, name: &Dynamic) -> Res<BlockValue> {
    let (hash, height) = context.find(name)?;
    context.block(hash, height)
}

fn parent(context: &Context, name: &Dynamic) -> Res<Option<BlockHash>> {
    let (hash, _) = context.find(name)?;
    context.look(move |tree| Some(tree.hash(tree.parent(tree.find(&hash)?)?)))
}

fn header(context: &Context, hash: BlockHash) -> Res<Map> {
    let facts = context.look(move |tree| {
        let id = tree.find(&hash)?;
        let (height, work, past) =
            (tree.height(id), tree.chain_work(id), tree.median_time_past(id));
        Some((tree.header(id), height, work, past, tree.is_invalid(id)))
    })?;
    let Some((header, height, work, past, is_invalid)) = facts else {
        return fail(format!("there is no header {hash}"));
    };
    let fields: [(&str, Dynamic); 11] = [
        ("hash", Dynamic::from(Name(hash.0))),
        ("height", int(height).into()),
        ("version", int(header.version).into()),
        ("prev_block", Dynamic::from(Name(header.prev_block.0))),
        ("merkle_root", Dynamic::from(Name(header.merkle_root.0))),
        ("timestamp", int(header.time).into()),
        ("bits", format!("{:08x}", header.bits).into()),
        ("nonce", int(header.nonce).into()),
        ("chain_work", work.to_string().into()),
        ("median_time", int(past).into()),
        ("is_invalid", is_invalid.into()),
    ];
    Ok(fields.into_iter().map(|(name, value)| (name.into(), value)).collect())
}

/// Teaches the interpreter blocks and headers.
pub(crate) fn register(engine: &mut Engine, context: &Arc<Context>) {
    register_db(engine, context);
    register_names(engine);
    register_block(engine, context);
    register_tx(engine, context);
    register_parts(engine, context);
    register_list(engine);
}

fn register_db(engine: &mut Engine, context: &Arc<Context>) {
    let with = || Arc::clone(context);
    engine.register_type_with_name::<Db>("BlockDB").register_type_with_name::<Table>("TABLE");
    engine.register_fn("BlockDB", || Db);
    let c = with();
    engine.register_get("last_block", move |_: &mut Db| int(c.world().info().height));
    engine.register_get("num_block", |_: &mut Db| Table::NumBlock);
    engine.register_get("prev", |_: &mut Db| Table::Prev);
    engine.register_get("blocks", |db: &mut Db| *db);
    let c = with();
    engine.register_fn("len", move |_: &mut Db| c.look(|tree| int(tree.len())));
    let c = with();
    engine.register_indexer_get(move |table: &mut Table, name: Dynamic| -> Res<Dynamic> {
        match (table, name.as_int()) {
            (Table::NumBlock, Ok(number)) => {
                let Ok(height) = u32::try_from(number) else {
                    return fail("a height is not negative");
                };
                Ok(Dynamic::from(names(&c, &at_height(&c, height, None)?)))
            }
            (Table::NumBlock, Err(_)) => fail("num_block takes a height"),
            (Table::Prev, _) => prev_name(&c, &name),
        }
    });
    for with_db in [true, false] {
        let (by_num, block, next, contains) = (with(), with(), with(), with());
        let by_num = move |height: INT| named(&by_num, &int(height_of(&by_num, height)?).into());
        let block = move |name: Dynamic| named(&block, &name);
        let next = move |name: Dynamic| {
            let (hash, height) = next.find(&name)?;
            children(&next, hash, height)
        };
        let contains = move |name: Dynamic| contains.find(&name).is_ok();
        if with_db {
            engine.register_fn("by_num", move |_: &mut Db, height: INT| by_num(height));
            engine.register_indexer_get(move |_: &mut Db, name: Dynamic| {
                // Fields that there are not come here too.
                match name.is_string()
                    && name.to_string().chars().all(|it| it.is_ascii_lowercase() || it == '_')
                {
                    true if name.to_string() != "tip" => {
                        Err(EvalAltResult::ErrorPropertyNotFound(name.to_string(), Position::NONE)
                            .into())
                    }
                    _ => block(name),
                }
            });
            engine.register_fn("next", move |_: &mut Db, name: Dynamic| next(name));
            engine.register_fn("has_key", move |_: &mut Db, name: Dynamic| contains(name));
        } else {
            engine.register_fn("by_num", by_num).register_fn("block", block);
            engine.register_fn("next", next).register_fn("has_block", contains);
        }
    }
    let c = with();
    engine.register_fn("prev", move |name: Dynamic| prev_name(&c, &name));
    let c = with();
    engine.register_fn("block", move || named(&c, &"tip".into()));
    let c = with();
    engine.register_fn("header", move |name: Dynamic| header(&c, c.find(&name)?.0));
    let c = with();
    engine.register_fn("tips", move || tips(&c));
    let c = with();
    engine.register_fn("compute_reward", move |height: INT| -> Res<INT> {
        let height = u32::try_from(height).map_err(|_| told("a height is from 0 to 4294967295"))?;
        Ok(subsidy(height, c.source.params()))
    });
    engine.register_fn("bcrepr", |satoshi: INT| bitcoins(satoshi));
}

fn prev_name(context: &Context, name: &Dynamic) -> Res<Dynamic> {
    Ok(Dynamic::from(Name(parent(context, name)?.unwrap_or(BlockHash::ZERO).0)))
}

fn children(context: &Context, hash: BlockHash, height: u32) -> Res<Array> {
    let hashes = at_height(context, height + 1, Some(hash))?;
    hashes.into_iter().map(|it| Ok(Dynamic::from(context.block(it, height + 1)?))).collect()
}

/// The tips of all branches whose worlds are held, and where each leaves the one that is read.
fn tips(context: &Context) -> Res<Array> {
    let tip = context.world().info().hash;
    let mut tips = Array::new();
    for info in context.source.worlds().leaves() {
        let fork = context.look(move |tree| fork_height(tree, tip, info.hash))?;
        let fields: [(&str, Dynamic); 5] = [
            ("height", int(info.height).into()),
            ("hash", Dynamic::from(Name(info.hash.0))),
            ("chain_work", info.chain_work.to_string().into()),
            ("fork_height", fork.map_or(Dynamic::UNIT, |height| int(height).into())),
            ("is_read", (info.hash == tip).into()),
        ];
        let fields: Map = fields.into_iter().map(|(name, value)| (name.into(), value)).collect();
        tips.push(fields.into());
    }
    Ok(tips)
}

fn fork_height(tree: &HeaderTree, a: BlockHash, b: BlockHash) -> Option<u32> {
    Some(tree.height(tree.fork_point(tree.find(&a)?, tree.find(&b)?)))
}

fn register_names(engine: &mut Engine) {
    engine.register_type_with_name::<Name>("NAME").register_type_with_name::<Place>("OUTPOINT");
    engine.register_fn("hex", |name: &mut Name| name.to_hex());
    engine.register_fn("==", |a: Name, b: Name| a == b);
    engine.register_fn("!=", |a: Name, b: Name| a != b);
    engine.register_fn("==", |a: Name, b: &str| a.to_hex() == b);
    engine.register_fn("!=", |a: Name, b: &str| a.to_hex() != b);
    engine.register_fn("==", |a: &str, b: Name| b.to_hex() == a);
    engine.register_fn("!=", |a: &str, b: Name| b.to_hex() != a);
    engine.register_fn("==", |a: Place, b: Place| a == b);
    engine.register_get("txid", |it: &mut Place| Name(it.0.txid.0));
    engine.register_get("vout", |it: &mut Place| int(it.0.vout));
    engine.register_indexer_get(|it: &mut Place, at: INT| -> Res<Dynamic> {
        match at {
            0 => Ok(Dynamic::from(Name(it.0.txid.0))),
            1 => Ok(int(it.0.vout).into()),
            _ => fail("an outpoint has two parts: [0] txid, [1] index"),
        }
    });
}

fn register_block(engine: &mut Engine, context: &Arc<Context>) {
    let with = || Arc::clone(context);
    engine.register_type_with_name::<BlockValue>("BLOCK");
    for name in ["hash", "name"] {
        engine.register_get(name, |it: &mut BlockValue| Name(it.0.hash.0));
    }
    for name in ["timestamp", "time"] {
        engine.register_get(name, |it: &mut BlockValue| int(it.0.block.header().time));
    }
    engine.register_get("height", |it: &mut BlockValue| int(it.0.height));
    engine.register_get("version", |it: &mut BlockValue| int(it.0.block.header().version));
    engine.register_get("prev_block", |it: &mut BlockValue| Name(it.0.block.header().prev_block.0));
    engine
        .register_get("merkle_root", |it: &mut BlockValue| Name(it.0.block.header().merkle_root.0));
    engine.register_get("bits", |it: &mut BlockValue| int(it.0.block.header().bits));
    engine.register_get("nonce", |it: &mut BlockValue| int(it.0.block.header().nonce));
    engine.register_get("size", |it: &mut BlockValue| int(it.0.block.bytes().len()));
    engine.register_get("weight", |it: &mut BlockValue| int(it.0.block.weight()));
    let c = with();
    engine.register_get("header", move |it: &mut BlockValue| header(&c, it.0.hash));
    let c = with();
    engine.register_get("raw", move |it: &mut BlockValue| c.bytes(it.0.block.bytes()));
    let c = with();
    engine.register_get("prev", move |it: &mut BlockValue| -> Res<Dynamic> {
        let Some(height) = it.0.height.checked_sub(1) else { return Ok(Dynamic::UNIT) };
        Ok(Dynamic::from(c.block(it.0.block.header().prev_block, height)?))
    });
    let c = with();
    engine.register_get("next", move |it: &mut BlockValue| children(&c, it.0.hash, it.0.height));
    for name in ["transactions", "txs"] {
        let c = with();
        engine.register_get(name, move |it: &mut BlockValue| List {
            context: Arc::clone(&c),
            items: Items::Txs(it.clone()),
        });
    }
    engine.register_fn("tx", |it: &mut BlockValue, txid: Dynamic| -> Res<TxValue> {
        let wanted = txid.clone().try_cast::<Name>().map(Name::to_hex).unwrap_or(txid.to_string());
        let wanted: Txid = wanted.parse().map_err(told)?;
        let at = it.0.block.txs().position(|tx| tx.txid() == wanted);
        let at = at.ok_or_else(|| told(format!("the block has no transaction {wanted}")))?;
        Ok(TxValue::Of(it.clone(), at))
    });
    engine.register_fn("len", |it: &mut BlockValue| int(it.0.block.tx_count()));
    engine.register_fn("==", |a: BlockValue, b: BlockValue| a.0.hash == b.0.hash);
    engine.register_fn("!=", |a: BlockValue, b: BlockValue| a.0.hash != b.0.hash);
    engine.register_fn("get_height", |it: &mut BlockValue| int(it.0.height));
    let c = with();
    engine.register_fn("dump", move |it: &mut BlockValue| dump_block(&c, it));
}

fn register_tx(engine: &mut Engine, context: &Arc<Context>) {
    let with = || Arc::clone(context);
    engine.register_type_with_name::<TxValue>("TX");
    let c = with();
    engine.register_fn("tx", move |text: &str| -> Res<TxValue> {
        if text.len() == 64 {
            return fail(
                "there is no index of transactions; block(…).tx(\"txid\") finds one in its block",
            );
        }
        c.tx(hex::decode(text).map_err(told)?)
    });
    let c = with();
    engine.register_fn("tx", move |bytes: Bytes| c.tx(bytes.bytes.to_vec()));
    for name in ["hash", "name", "txid"] {
        engine.register_get(name, |it: &mut TxValue| Name(it.txid().0));
    }
    engine.register_get("wtxid", |it: &mut TxValue| Name(it.view().wtxid().0));
    engine.register_get("version", |it: &mut TxValue| int(it.view().version()));
    engine.register_get("lock_time", |it: &mut TxValue| int(it.view().lock_time()));
    engine.register_get("size", |it: &mut TxValue| int(it.view().total_size()));
    engine.register_get("weight", |it: &mut TxValue| int(it.view().weight()));
    engine.register_get("vsize", |it: &mut TxValue| int(it.view().vsize()));
    engine.register_get("is_coinbase", |it: &mut TxValue| it.view().is_coinbase());
    engine.register_get("value", |it: &mut TxValue| sum(it.view().outputs().map(|out| out.value)));
    let c = with();
    engine.register_get("fee", move |it: &mut TxValue| -> Res<INT> {
        if it.view().is_coinbase() {
            return Ok(0);
        }
        let spent = c.spent(it)?;
        if spent.iter().any(Option::is_none) {
            return fail("an output that it spends is not known in the world that is read");
        }
        let paid = sum(it.view().outputs().map(|out| out.value));
        Ok(sum(spent.iter().flatten().map(|coin| coin.value)).saturating_sub(paid))
    });
    let c = with();
    engine.register_get("raw", move |it: &mut TxValue| c.bytes(it.view().bytes()));
    let c = with();
    engine.register_get("inputs", move |it: &mut TxValue| List {
        context: Arc::clone(&c),
        items: Items::Inputs(it.clone()),
    });
    let c = with();
    engine.register_get("outputs", move |it: &mut TxValue| List {
        context: Arc::clone(&c),
        items: Items::Outputs(it.clone()),
    });
    engine.register_get("block", |it: &mut TxValue| match it {
        TxValue::Of(block, _) => Dynamic::from(block.clone()),
        TxValue::Own(_) => Dynamic::UNIT,
    });
    let c = with();
    engine.register_fn("dump", move |it: &mut TxValue| dump_tx(&c, it.view()));
}

fn sum(values: impl Iterator<Item = i64>) -> INT {
    values.fold(0, i64::saturating_add)
}

fn register_parts(engine: &mut Engine, context: &Arc<Context>) {
    let with = || Arc::clone(context);
    engine.register_type_with_name::<InputValue>("INPUT");
    engine.register_type_with_name::<OutputValue>("OUTPUT");
    engine.register_get("outpoint", |it: &mut InputValue| Place(it.0.view().input(it.1).prevout));
    engine.register_get("sequence", |it: &mut InputValue| int(it.0.view().input(it.1).sequence));
    let c = with();
    engine.register_get("script", move |it: &mut InputValue| {
        c.bytes(it.0.view().input(it.1).script_sig)
    });
    let c = with();
    engine.register_get("witness", move |it: &mut InputValue| -> Res<Array> {
        let witness = it.0.view().witness(it.1);
        if c.limits.list < witness.len() {
            return fail(format!("the witness has {} items, too many for a list", witness.len()));
        }
        witness.map(|item| Ok(Dynamic::from(c.bytes(item)?))).collect()
    });
    let c = with();
    engine.register_get("spent", move |it: &mut InputValue| -> Res<Dynamic> {
        let place = it.0.view().input(it.1).prevout;
        let mut spent = c.spent(&it.0)?;
        match spent.get_mut(it.1).and_then(Option::take) {
            Some(coin) => Ok(Dynamic::from(c.coin(place, coin)?)),
            None => Ok(Dynamic::UNIT),
        }
    });
    let c = with();
    engine.register_indexer_get(move |it: &mut InputValue, at: INT| -> Res<Dynamic> {
        let input = it.0.view().input(it.1);
        match at {
            0 => Ok(Dynamic::from(Place(input.prevout))),
            1 => Ok(Dynamic::from(c.bytes(input.script_sig)?)),
            2 => Ok(int(input.sequence).into()),
            _ => fail("an input has three parts: [0] outpoint, [1] script, [2] sequence"),
        }
    });
    engine.register_get("value", |it: &mut OutputValue| it.0.view().output(it.1).value);
    let c = with();
    engine.register_get("script", move |it: &mut OutputValue| {
        c.bytes(it.0.view().output(it.1).script_pubkey)
    });
    let c = with();
    engine.register_get("is_unspent", move |it: &mut OutputValue| -> Res<bool> {
        c.work(10)?;
        let vout = u32::try_from(it.1).map_err(told)?;
        let place = caesure_wire::OutPoint { txid: it.0.txid(), vout };
        Ok(c.world().get(&place).map_err(told)?.is_some())
    });
    let c = with();
    engine.register_indexer_get(move |it: &mut OutputValue, at: INT| -> Res<Dynamic> {
        let output = it.0.view().output(it.1);
        match at {
            0 => Ok(output.value.into()),
            1 => Ok(Dynamic::from(c.bytes(output.script_pubkey)?)),
            _ => fail("an output has two parts: [0] value, [1] script"),
        }
    });
    register_fields(engine, context);
}

/// What outputs, and the coins that they become, tell of their scripts as fields.
fn register_fields(engine: &mut Engine, context: &Arc<Context>) {
    let c = Arc::clone(context);
    engine.register_get("address", move |it: &mut OutputValue| -> Dynamic {
        let prefixes = &c.source.params().address_prefixes;
        let address = caesure_script::address(it.0.view().output(it.1).script_pubkey, prefixes);
        address.map_or(Dynamic::UNIT, Into::into)
    });
    engine.register_get("type", |it: &mut OutputValue| {
        caesure_script::classify(it.0.view().output(it.1).script_pubkey).name().to_owned()
    });
}

fn register_list(engine: &mut Engine) {
    engine.register_type_with_name::<List>("LIST");
    engine.register_iterator_result::<List, Dynamic>();
    engine.register_fn("len", |list: &mut List| int(list.len()));
    engine.register_indexer_get(|list: &mut List, at: INT| list.at(at));
    engine.register_fn("list", |list: List| take(&list, list.clone().into_iter()));
    engine.register_fn("map", |call: NativeCallContext<'_>, list: List, f: FnPtr| {
        let items = list.clone().into_iter();
        take(&list, items.map(|item| f.call_within_context(&call, (item?,))))
    });
    engine.register_fn(
        "filter",
        |call: NativeCallContext<'_>, list: List, f: FnPtr| -> Res<Array> {
            let items = list.clone().into_iter().map(|item| {
                let item = item?;
                let is_wanted: bool = f.call_within_context(&call, (item.clone(),))?;
                Ok(is_wanted.then_some(item))
            });
            take(&list, items.filter_map(Res::transpose))
        },
    );
}

/// Collects items, as many as a list may have.
fn take(list: &List, items: impl Iterator<Item = Res<Dynamic>>) -> Res<Array> {
    let (limit, mut array) = (list.context.limits.list, Array::new());
    for item in items {
        if array.len() == limit {
            return fail(format!("more than {limit} items; use for, or a range of fewer blocks"));
        }
        array.push(item?);
    }
    Ok(array)
}
