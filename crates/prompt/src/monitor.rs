use std::sync::Arc;

use rhai::{Array, Dynamic, Engine, INT, Map};

use crate::context::{Context, Res, fail, told};
use crate::source::OFFLINE;
use crate::{Command, Fields, Value};

/// How long a ban lasts when nothing is said, in seconds. Core: `DEFAULT_MISBEHAVING_BANTIME`.
const BAN_TIME: INT = 24 * 60 * 60;

fn value(value: Value) -> Dynamic {
    match value {
        Value::Nothing => Dynamic::UNIT,
        Value::Bool(it) => it.into(),
        Value::Int(it) => it.into(),
        Value::Float(it) => it.into(),
        Value::Text(it) => it.into(),
        Value::List(items) => items.into_iter().map(self::value).collect::<Array>().into(),
        Value::Map(it) => fields(it).into(),
    }
}

fn fields(fields: Fields) -> Map {
    fields.into_iter().map(|(name, it)| (name.into(), value(it))).collect()
}

/// Teaches the interpreter the node: what it says of itself, and what changes it.
pub(crate) fn register(engine: &mut Engine, context: &Arc<Context>) {
    let with = || Arc::clone(context);
    let c = with();
    engine.register_fn("peers", move || -> Res<Array> {
        let peers = c.source.peers().ok_or_else(|| told(OFFLINE))?;
        Ok(peers.into_iter().map(|peer| fields(peer).into()).collect())
    });
    let c = with();
    engine.register_fn("counters", move || fields(c.source.counters()));
    let c = with();
    engine.register_fn("log", move |count: INT| log(&c, count, ""));
    let c = with();
    engine.register_fn("log", move |count: INT, contains: &str| log(&c, count, contains));
    let c = with();
    let run = move |command: Command| c.source.command(&command).map_err(told);
    let (connect, disconnect, id) = (run.clone(), run.clone(), run.clone());
    engine.register_fn("connect", move |it: &str| connect(Command::Connect(it.to_owned())));
    engine
        .register_fn("disconnect", move |it: &str| disconnect(Command::Disconnect(it.to_owned())));
    engine.register_fn("disconnect", move |it: INT| id(Command::Disconnect(it.to_string())));
    let ban = run.clone();
    let ban = move |it: &str, seconds: INT| match u64::try_from(seconds) {
        Ok(seconds) if 0 < seconds => ban(Command::Ban(it.to_owned(), seconds)),
        _ => fail("a ban lasts a number of seconds above 0"),
    };
    let shorter = ban.clone();
    engine.register_fn("ban", move |it: &str| shorter(it, BAN_TIME));
    engine.register_fn("ban", ban);
    let (unban, save, stop) = (run.clone(), run.clone(), run);
    engine.register_fn("unban", move |it: &str| unban(Command::Unban(it.to_owned())));
    engine.register_fn("save", move || save(Command::Save));
    engine.register_fn("stop", move || stop(Command::Stop));
}

fn log(context: &Context, count: INT, contains: &str) -> Res<Array> {
    let count = usize::try_from(count).unwrap_or(0).min(context.limits.list);
    let lines = context.source.log(count, contains).ok_or_else(|| told(OFFLINE))?;
    Ok(lines.into_iter().map(Into::into).collect())
}
