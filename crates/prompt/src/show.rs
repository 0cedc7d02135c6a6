//! How values look, in the original's forms.

use std::fmt::Write as _;

use caesure_consensus::COIN;
use caesure_script::parse_script;
use caesure_wire::TxView;
use rhai::{Array, Dynamic, ImmutableString, Map};

use crate::context::{Context, Res};
use crate::script::Forms;
use crate::values::{
    BlockValue, Bytes, CoinValue, Db, InputValue, Items, List, Name, OutputValue, Place, Table,
    TxValue, WorldValue,
};

/// How many items of a list are shown.
const SHOWN: usize = 100;

/// Writes a value as the prompt shows it.
pub(crate) fn show(context: &Context, value: &Dynamic) -> String {
    let mut text = String::new();
    write_value(context, value, &mut text);
    text
}

fn write_value(context: &Context, value: &Dynamic, text: &mut String) {
    if context.limits.output < text.len() {
        return;
    }
    if value.is_unit() {
        text.push_str("()");
    } else if let Some(array) = value.read_lock::<Array>() {
        write_all(text, ["[", "]"], array.iter(), |text, item| write_value(context, item, text));
    } else if let Some(map) = value.read_lock::<Map>() {
        write_all(text, ["#{", "}"], map.iter(), |text, (name, item)| {
            let _ = write!(text, "{name}: ");
            write_value(context, item, text);
        });
    } else if let Some(list) = value.read_lock::<List>() {
        write_list(context, &list, text);
    } else if let Some(string) = value.read_lock::<ImmutableString>() {
        text.push_str(&quoted(&string));
    } else if let Some(bytes) = value.read_lock::<Bytes>() {
        text.push_str(&quoted_bytes(&bytes.bytes));
    } else if !write_object(context, value, text) {
        let _ = write!(text, "{value}");
    }
}

/// Writes a value of a type of our own; false if it is none.
fn write_object(context: &Context, value: &Dynamic, text: &mut String) -> bool {
    let _ = if let Some(name) = value.read_lock::<Name>() {
        write!(text, "{}", *name)
    } else if let Some(block) = value.read_lock::<BlockValue>() {
        write!(text, "<BLOCK {} {}>", block.0.height, block.0.hash)
    } else if let Some(tx) = value.read_lock::<TxValue>() {
        write!(text, "<TX {}>", tx.txid())
    } else if let Some(input) = value.read_lock::<InputValue>() {
        let view = input.0.view().input(input.1);
        let script = quoted_bytes(view.script_sig);
        write!(text, "({}, {script}, {})", place(&Place(view.prevout)), view.sequence)
    } else if let Some(output) = value.read_lock::<OutputValue>() {
        let view = output.0.view().output(output.1);
        write!(text, "({}L, {})", view.value, quoted_bytes(view.script_pubkey))
    } else if let Some(it) = value.read_lock::<Place>() {
        write!(text, "{}", place(&it))
    } else if let Some(coin) = value.read_lock::<CoinValue>() {
        let (txid, vout) = (coin.place.txid, coin.place.vout);
        let (it, _) = &*coin.coin;
        write!(text, "<COIN {txid}:{vout} {} at {}>", bitcoins(it.value), it.height)
    } else if let Some(world) = value.read_lock::<WorldValue>() {
        let info = world.0.info();
        write!(text, "<WORLD {} {}>", info.height, info.hash)
    } else if let Some(forms) = value.read_lock::<Forms>() {
        text.push_str(&forms.to_string());
        Ok(())
    } else if value.is::<Db>() {
        write!(text, "<BlockDB {}>", context.source.params().network.name())
    } else if let Some(table) = value.read_lock::<Table>() {
        write!(text, "<{:?}>", *table)
    } else {
        return false;
    };
    true
}

fn write_list(context: &Context, list: &List, text: &mut String) {
    if let Items::Blocks(range) = &list.items {
        let _ = write!(text, "<BLOCKS {} to {}>", range.from, range.to);
        return;
    }
    let ends = if matches!(list.items, Items::Names(_)) { ["set([", "])"] } else { ["[", "]"] };
    let len = list.len();
    let more = len.saturating_sub(SHOWN);
    let items = (0..len.min(SHOWN)).filter_map(|at| list.item(at).ok());
    write_all(text, [ends[0], ""], items, |text, item| write_value(context, &item, text));
    if 0 < more {
        let _ = write!(text, ", and {more} more");
    }
    text.push_str(ends[1]);
}

fn write_all<T>(
    text: &mut String,
    ends: [&str; 2],
    items: impl Iterator<Item = T>,
    mut write: impl FnMut(&mut String, T),
) {
    text.push_str(ends[0]);
    for (at, item) in items.enumerate() {
        text.push_str(if at == 0 { "" } else { ", " });
        write(text, item);
    }
    text.push_str(ends[1]);
}

fn place(place: &Place) -> String {
    format!("(<{}>, {})", place.0.txid, place.0.vout)
}

/// Writes text in quotes, as Python 2 does.
fn quoted(text: &str) -> String {
    let quote = quote_of(text.contains('\''), text.contains('"'));
    let mut quoted = String::from(quote);
    for char in text.chars() {
        match char {
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            _ if char == quote => quoted.extend(['\\', char]),
            // What a peer or a script says must not move the cursor of a terminal.
            _ if char.is_control() => _ = write!(quoted, "\\x{:02x}", u32::from(char)),
            _ => quoted.push(char),
        }
    }
    quoted.push(quote);
    quoted
}

/// Writes bytes in quotes, as Python 2 does.
pub(crate) fn quoted_bytes(bytes: &[u8]) -> String {
    let quote = quote_of(bytes.contains(&b'\''), bytes.contains(&b'"'));
    let mut quoted = String::from(quote);
    for &byte in bytes {
        match byte {
            b'\\' => quoted.push_str("\\\\"),
            b'\n' => quoted.push_str("\\n"),
            b'\r' => quoted.push_str("\\r"),
            b'\t' => quoted.push_str("\\t"),
            _ if char::from(byte) == quote => quoted.extend(['\\', quote]),
            b' '..=b'~' => quoted.push(char::from(byte)),
            _ => _ = write!(quoted, "\\x{byte:02x}"),
        }
    }
    quoted.push(quote);
    quoted
}

const fn quote_of(has_single: bool, has_double: bool) -> char {
    if has_single && !has_double { '"' } else { '\'' }
}

/// Writes satoshi as bitcoins with eight decimals.
pub(crate) fn bitcoins(satoshi: i64) -> String {
    let (whole, rest) = (
        satoshi.unsigned_abs() / COIN.unsigned_abs(),
        satoshi.unsigned_abs() % COIN.unsigned_abs(),
    );
    format!("{}{whole}.{rest:08}", if satoshi < 0 { "-" } else { "" })
}

/// Writes a script as `dump` shows it: as forms, or as bare hexadecimal where it has none.
fn dumped(script: &[u8]) -> String {
    match parse_script(script) {
        Ok(parsed) => caesure_script::pprint_script(&parsed),
        Err(_) => format!("'{}'", caesure_text::hex::encode(script)),
    }
}

/// Writes what the original's `TX.dump()` printed, with the hash in conventional order.
pub(crate) fn dump_tx(context: &Context, tx: TxView<'_>) -> Res<()> {
    context.print(format_args!("hash: {}", tx.txid()));
    context.print(format_args!("inputs: {}", tx.input_count()));
    for (at, input) in tx.inputs().enumerate() {
        context.work(1)?;
        let (prevout, script) = (input.prevout, dumped(input.script_sig));
        let line =
            format_args!("{at:3} {}:{} {script} {}", prevout.txid, prevout.vout, input.sequence);
        context.print(line);
    }
    context.print(format_args!("outputs: {}", tx.output_count()));
    for (at, output) in tx.outputs().enumerate() {
        context.work(1)?;
        let line =
            format_args!("{at:3} {} {}", bitcoins(output.value), dumped(output.script_pubkey));
        context.print(line);
    }
    context.print(format_args!("lock_time: {}", tx.lock_time()));
    Ok(())
}

/// Writes what the original's `BLOCK.dump()` printed.
pub(crate) fn dump_block(context: &Context, block: &BlockValue) -> Res<()> {
    let header = block.0.block.header();
    context.print(format_args!("version:{}", header.version));
    context.print(format_args!("prev_block:{}", header.prev_block));
    context.print(format_args!("merkle_root:{}", header.merkle_root));
    context.print(format_args!("timestamp:{}", header.time));
    context.print(format_args!("bits:{:08x}", header.bits));
    context.print(format_args!("nonce:{}", header.nonce));
    for (at, tx) in block.0.block.txs().enumerate() {
        context.print(format_args!("tx {at} {{"));
        dump_tx(context, tx)?;
        context.print("}");
    }
    Ok(())
}
