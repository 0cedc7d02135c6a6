//! Records as text: for a terminal, and for `catlog`.

use std::fmt::Write;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::{Record, Value};

/// Bytes that are no text are shown in hexadecimal up to this length.
const LARGE: usize = 500;
/// Text is shown up to this length.
const LARGE_TEXT: usize = 1_000;

/// Returns a record as a line without its end: the local time in ISO 8601, then the items.
/// What is long is shown if `big`.
#[must_use]
pub fn line(record: &Record, big: bool) -> String {
    format!("{} {}", time(record.time), items(&record.items, big))
}

/// Returns a time, given in microseconds since 1970, as local time: `2015-02-26T16:10:15`.
#[must_use]
pub fn time(micros: i64) -> String {
    match Timestamp::from_microsecond(micros) {
        Ok(time) => time.to_zoned(TimeZone::system()).strftime("%Y-%m-%dT%H:%M:%S").to_string(),
        Err(_) => micros.to_string(),
    }
}

/// Returns a time in UTC, with microseconds: `2015-02-27T00:10:15.123456Z`.
#[must_use]
pub fn utc(micros: i64) -> String {
    Timestamp::from_microsecond(micros)
        .map_or_else(|_| micros.to_string(), |time| format!("{time:.6}"))
}

/// Returns items with blanks between them.
#[must_use]
pub fn items(items: &[Value], big: bool) -> String {
    let mut out = String::new();
    join(&mut out, items.iter(), " ", big);
    out
}

/// Returns bytes as text if they are some: UTF-8 without control characters.
#[must_use]
pub fn as_text(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?;
    let is_text = |c: char| !c.is_control() || c == '\n' || c == '\t';
    text.chars().all(is_text).then_some(text)
}

/// Returns bytes that are no text in hexadecimal; 32 of them are a name, in conventional order.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    let put = |mut out: String, byte: &u8| {
        let _ = write!(out, "{byte:02x}");
        out
    };
    if bytes.len() == 32 {
        bytes.iter().rev().fold(String::with_capacity(64), put)
    } else {
        bytes.iter().fold(String::with_capacity(2 * bytes.len()), put)
    }
}

fn join<'a>(out: &mut String, items: impl Iterator<Item = &'a Value>, separator: &str, big: bool) {
    for (i, item) in items.enumerate() {
        if i > 0 {
            out.push_str(separator);
        }
        put(out, item, big);
    }
}

fn put(out: &mut String, value: &Value, big: bool) {
    let mut nested = |begin, items: &[Value], end| {
        out.push(begin);
        join(out, items.iter(), ", ", big);
        out.push(end);
    };
    match value {
        Value::List(items) => nested('[', items, ']'),
        Value::Tuple(items) => nested('(', items, ')'),
        Value::Set(items) => nested('{', items, '}'),
        Value::Dict(entries) => {
            out.push('{');
            for (i, (key, value)) in entries.iter().enumerate() {
                out.push_str(if i > 0 { ", " } else { "" });
                put(out, key, big);
                out.push_str(": ");
                put(out, value, big);
            }
            out.push('}');
        }
        Value::None => out.push_str("none"),
        Value::Bool(is) => out.push_str(if *is { "true" } else { "false" }),
        Value::Integer(number) => _ = write!(out, "{number}"),
        Value::Float(number) => _ = write!(out, "{number:?}"),
        Value::BigInteger(bytes) => put_bytes(out, bytes, big),
        Value::Text(text) => put_text(out, text, big),
        Value::Bytes(bytes) => match as_text(bytes) {
            Some(text) => put_text(out, text, big),
            None => put_bytes(out, bytes, big),
        },
    }
}

fn put_text(out: &mut String, text: &str, big: bool) {
    let is_bare = |c: char| c.is_ascii_graphic() && !"\"'(),[]{}\\".contains(c);
    if text.len() >= LARGE_TEXT && !big {
        let _ = write!(out, "<large: {} bytes>", text.len());
    } else if !text.is_empty() && text.chars().all(is_bare) {
        out.push_str(text);
    } else {
        let _ = write!(out, "{text:?}");
    }
}

fn put_bytes(out: &mut String, bytes: &[u8], big: bool) {
    if bytes.len() >= LARGE && !big {
        let _ = write!(out, "<large: {} bytes>", bytes.len());
    } else {
        out.push_str(&hex(bytes));
    }
}
