use std::sync::Arc;

use caesure_wire::{DecodeError, Part, visit_block};
use rhai::{Dynamic, Engine, INT};

use crate::chain::height_of;
use crate::context::{Context, Res, fail, told};
use crate::values::{Items, List, Range};

/// Adds up what counts of a block's parts, and counts its transactions.
type Fold = fn(&[u8]) -> Result<(i128, u64), DecodeError>;

/// What can be added up over a range. Each is a walk of its own, which passes over what it need not see.
const FOLDS: [(&str, Fold); 8] = [
    ("txs", |block| sum(block, |part| i64::from(matches!(part, Part::Tx(_))))),
    ("inputs", |block| sum(block, |part| i64::from(matches!(part, Part::Input(_))))),
    ("outputs", |block| sum(block, |part| i64::from(matches!(part, Part::Output(_))))),
    ("value", |block| sum(block, |part| if let Part::Output(it) = part { it.value } else { 0 })),
    ("size", |block| sum(block, |part| if let Part::Tx(bytes) = part { len(bytes) } else { 0 })),
    ("lock_bytes", |block| {
        sum(block, |part| if let Part::Output(it) = part { len(it.script_pubkey) } else { 0 })
    }),
    ("unlock_bytes", |block| {
        sum(block, |part| if let Part::Input(it) = part { len(it.script_sig) } else { 0 })
    }),
    ("witness_items", |block| {
        sum(block, |part| if let Part::Witness(items) = part { len_of(items.len()) } else { 0 })
    }),
];

fn sum(block: &[u8], value: impl Fn(Part<'_>) -> i64) -> Result<(i128, u64), DecodeError> {
    let (mut sum, mut txs) = (0, 0);
    visit_block(block, |part| {
        txs += u64::from(matches!(part, Part::Tx(_)));
        sum += i128::from(value(part));
    })?;
    Ok((sum, txs))
}

fn len(bytes: &[u8]) -> i64 {
    len_of(bytes.len())
}

fn len_of(len: usize) -> i64 {
    i64::try_from(len).unwrap_or(i64::MAX)
}

/// Teaches the interpreter ranges of blocks.
pub(crate) fn register(engine: &mut Engine, context: &Arc<Context>) {
    let with = || Arc::clone(context);
    let c = with();
    engine.register_fn("blocks", move || blocks(&c, 0, None));
    let c = with();
    engine.register_fn("blocks", move |from: INT| blocks(&c, from, None));
    let c = with();
    engine.register_fn("blocks", move |from: INT, to: INT| blocks(&c, from, Some(to)));
    for (name, field) in [
        ("count_txs", "txs"),
        ("count_inputs", "inputs"),
        ("count_outputs", "outputs"),
        ("sum_outputs", "value"),
        ("sum_size", "size"),
    ] {
        engine.register_fn(name, move |list: &mut List| fold(list, field));
    }
    engine.register_fn("fold_native", |list: &mut List, field: &str| fold(list, field));
}

/// Blocks of the branch that the line reads; the last height is not in it, and negative ones count
/// from the tip.
fn blocks(context: &Arc<Context>, from: INT, to: Option<INT>) -> Res<List> {
    let tip = *context.world().info();
    let end = tip.height + 1;
    let to = match to {
        None => end,
        Some(to) if to < 0 => height_of(context, to)?,
        Some(to) => u32::try_from(to).unwrap_or(u32::MAX),
    };
    let from = if i64::from(end) <= from { end } else { height_of(context, from)? };
    if end < to {
        return fail(format!("there is no height {}; the tip read is at {}", to - 1, tip.height));
    }
    Ok(List { context: Arc::clone(context), items: Items::Blocks(Range::new(tip.hash, from, to)) })
}

/// Adds a field up over a range's blocks, as fast as they are read.
fn fold(list: &List, field: &str) -> Res<Dynamic> {
    let context = &list.context;
    let Items::Blocks(range) = &list.items else {
        return fail("this adds up ranges of blocks, as of blocks(0, 100)");
    };
    let Some((_, fold)) = FOLDS.iter().find(|(name, _)| *name == field) else {
        let names: Vec<&str> = FOLDS.iter().map(|(name, _)| *name).collect();
        return fail(format!("there is no field {field}; there are {}", names.join(", ")));
    };
    let mut sum: i128 = 0;
    for height in range.from..range.to {
        let bytes = context.read(&range.hash(context, height)?)?;
        let (of_block, txs) = fold(&bytes).map_err(told)?;
        sum += of_block;
        context.work(txs)?;
    }
    match INT::try_from(sum) {
        Ok(sum) => Ok(sum.into()),
        Err(_) => fail(format!("the sum, {sum}, is more than a number holds; take fewer blocks")),
    }
}
