//! `caesure top`: a running node in one screen of a terminal, by what it says over JSON-RPC.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use crossterm::cursor::{Hide, MoveTo, Show};
use crossterm::event::{Event, KeyCode, KeyEventKind, KeyModifiers, poll, read};
use crossterm::style::{Attribute, Print, SetAttribute};
use crossterm::terminal::{
    Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode,
    enable_raw_mode, size,
};
use crossterm::{execute, queue};
use indicatif::{DecimalBytes, FormattedDuration, HumanCount};
use serde_json::{Value, json};

use crate::args::{Common, Top};
use crate::{Error, Outcome, cli, clock, print_line, signals};

/// What a terminal has at least.
const SCREEN: (u16, u16) = (80, 24);

/// What the table of peers is sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    Id,
    Address,
    Ping,
    Received,
    Sent,
    Height,
}

const COLUMNS: [(char, Column, &str); 6] = [
    ('i', Column::Id, "id"),
    ('a', Column::Address, "address"),
    ('p', Column::Ping, "ping"),
    ('r', Column::Received, "received"),
    ('s', Column::Sent, "sent"),
    ('h', Column::Height, "height"),
];

#[derive(Clone, Copy, Debug)]
struct Sort {
    column: Column,
    is_reversed: bool,
}

/// What the node said at a time.
struct Sample {
    at: Instant,
    info: Value,
    peers: Vec<Value>,
}

pub(crate) fn run(common: &Common, top: &Top) -> Result<Outcome, Error> {
    let ask = || sample(common, top).map_err(Error::NoAnswer);
    let mut sort = Sort { column: Column::Id, is_reversed: false };
    let mut now = ask()?;
    if top.once {
        for (line, _) in frame(&now, None, sort, (SCREEN.0, u16::MAX)) {
            print_line(&line);
        }
        return Ok(Outcome::Done);
    }
    if !io::stdout().is_terminal() {
        return Err(Error::NoTerminal);
    }
    let mut screen = Screen::enter().map_err(Error::Terminal)?;
    signals::act(|| {
        // Nothing is drawn after this.
        let _out = io::stdout().lock();
        drop(Screen);
        signals::end()
    });
    let mut before: Option<Sample> = None;
    let mut trouble = String::new();
    loop {
        let size = size().unwrap_or(SCREEN);
        let mut lines = frame(&now, before.as_ref(), sort, size);
        if !trouble.is_empty() {
            lines.truncate(usize::from(size.1).saturating_sub(1));
            lines.push((cut(&trouble, size.0), true));
        }
        screen.draw(&lines).map_err(Error::Terminal)?;
        let next = now.at + Duration::from_secs(top.interval);
        match key(next).map_err(Error::Terminal)? {
            Some(Key::Quit) => return Ok(Outcome::Done),
            Some(Key::Sort(column)) => {
                let is_reversed = column == sort.column && !sort.is_reversed;
                sort = Sort { column, is_reversed };
            }
            Some(Key::Redraw) => {}
            None => match sample(common, top) {
                Ok(sample) => {
                    trouble.clear();
                    before = Some(std::mem::replace(&mut now, sample));
                }
                Err(error) => {
                    trouble = format!("no answer: {}", error.lines().next().unwrap_or_default());
                    now.at = clock::instant();
                }
            },
        }
    }
}

fn sample(common: &Common, top: &Top) -> Result<Sample, String> {
    let methods = ["getcaesureinfo", "getpeerinfo"];
    let batch = methods.map(|method| json!({ "method": method, "id": method, "jsonrpc": "2.0" }));
    let login = top.rpcuser.as_deref().zip(top.rpcpassword.as_deref());
    let mut answers = cli::ask_node(common, top.rpc, login, &Value::from(batch.to_vec()))?;
    let mut take = |index: usize| {
        let answer = answers[index].take();
        match answer["error"]["message"].as_str() {
            Some(error) => Err(error.to_owned()),
            None => Ok(answer["result"].clone()),
        }
    };
    let (info, peers) = (take(0)?, take(1)?);
    let peers = peers.as_array().cloned().unwrap_or_default();
    Ok(Sample { at: clock::instant(), info, peers })
}

enum Key {
    Quit,
    Sort(Column),
    Redraw,
}

/// Waits for a key until a time.
fn key(until: Instant) -> io::Result<Option<Key>> {
    loop {
        let left = until.saturating_duration_since(clock::instant());
        if !poll(left)? {
            return Ok(None);
        }
        let key = match read()? {
            Event::Resize(..) => return Ok(Some(Key::Redraw)),
            Event::Key(key) if key.kind != KeyEventKind::Release => key,
            _ => continue,
        };
        match key.code {
            KeyCode::Esc | KeyCode::Char('q') => return Ok(Some(Key::Quit)),
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => {
                return Ok(Some(Key::Quit));
            }
            KeyCode::Char(letter) => {
                if let Some((_, column, _)) = COLUMNS.iter().find(|(it, ..)| *it == letter) {
                    return Ok(Some(Key::Sort(*column)));
                }
            }
            _ => {}
        }
    }
}

/// The terminal, which is as it was when this is dropped.
struct Screen;

impl Screen {
    fn enter() -> io::Result<Self> {
        enable_raw_mode()?;
        let screen = Self;
        execute!(io::stdout(), EnterAlternateScreen, Hide)?;
        Ok(screen)
    }

    /// Draws all lines at once; those that are marked are reversed.
    fn draw(&mut self, lines: &[(String, bool)]) -> io::Result<()> {
        let mut out = io::BufWriter::new(io::stdout().lock());
        for (row, (line, is_marked)) in (0..).zip(lines) {
            let look = if *is_marked { Attribute::Reverse } else { Attribute::Reset };
            queue!(out, MoveTo(0, row), SetAttribute(look), Print(line))?;
            queue!(out, SetAttribute(Attribute::Reset), Clear(ClearType::UntilNewLine))?;
        }
        queue!(out, Clear(ClearType::FromCursorDown))?;
        out.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // There is nobody to tell.
        let _ = execute!(io::stdout(), Show, LeaveAlternateScreen);
        let _ = disable_raw_mode();
    }
}

/// The lines of a screen, and which stand out.
fn frame(
    now: &Sample,
    before: Option<&Sample>,
    sort: Sort,
    (width, height): (u16, u16),
) -> Vec<(String, bool)> {
    let mut lines: Vec<(String, bool)> = Vec::new();
    lines.push((title(&now.info), true));
    lines.extend(facts(now, before).into_iter().map(|line| (line, false)));
    lines.push((String::new(), false));
    let columns = ["ID", "ADDRESS", "DIR", "PING ms", "IN/s", "OUT/s", "HEIGHT", "VERSION"];
    lines.push((row(columns.map(ToOwned::to_owned)), true));
    let keys = COLUMNS.map(|(letter, _, name)| format!("{letter} {name}")).join("  ");
    let room = usize::from(height).saturating_sub(lines.len() + 1);
    let peers = peers(now, before, sort);
    let more = peers.len().saturating_sub(room);
    lines.extend(peers.into_iter().take(room).map(|line| (line, false)));
    if height < u16::MAX {
        lines.resize(usize::from(height).saturating_sub(1).max(lines.len()), Default::default());
        let more = if 0 < more { format!("  ({more} more)") } else { String::new() };
        lines.push((format!("q quit  sort: {keys}{more}"), true));
        lines.truncate(height.into());
    }
    lines.into_iter().map(|(line, is_marked)| (cut(&line, width), is_marked)).collect()
}

fn title(info: &Value) -> String {
    let name = info["subversion"].as_str().unwrap_or_default().trim_matches('/').replace(':', " ");
    let state = match info["initialblockdownload"].as_bool() {
        Some(true) => "catching up",
        _ => "at the tip",
    };
    let chain = info["chain"].as_str().unwrap_or_default();
    format!("{name}  {chain}  {state}  up {}", duration(number(&info["uptime"])))
}

fn facts(now: &Sample, before: Option<&Sample>) -> Vec<String> {
    let info = &now.info;
    let count = |group: &str, name: &str| HumanCount(number(&info[group][name]));
    let bytes = |group: &str, name: &str| DecimalBytes(number(&info[group][name]));
    let [received, sent] = ["received", "sent"].map(|name| {
        let counter = |sample: &Sample| number(&sample.info["bytes"][name]);
        let rate = rate(before, now, counter);
        let rate = rate.map_or_else(String::new, |rate| format!(", {}/s", DecimalBytes(rate / 10)));
        format!("{name} {}{rate}", bytes("bytes", name))
    });
    let [held, forks, oldest] =
        ["held", "forks", "oldest_height"].map(|name| count("worlds", name));
    let [dialled, accepted] = ["outbound", "inbound"].map(|name| count("peers", name));
    let in_flight = HumanCount(number(&info["blocks_in_flight"]));
    let [blocks, ledger, free] = ["blocks", "ledger", "free"].map(|name| bytes("disk", name));
    let [resident, limit] = ["resident", "limit"].map(|name| bytes("memory", name));
    let queues = info["queues"].as_array().map_or(&[][..], |queues| queues).iter().map(|queue| {
        format!("{} {} of {}", text(&queue["name"]), queue["depth"], queue["capacity"])
    });
    vec![
        sync(now, before),
        bar(number(&info["blocks"]), number(&info["headers"])),
        format!("tip      {}", text(&info["bestblockhash"])),
        format!("worlds   {held} held, branches {forks}, the oldest at height {oldest}"),
        format!("peers    {dialled} dialled, {accepted} accepted, {in_flight} blocks asked for"),
        format!("network  {received}; {sent}"),
        format!("disk     blocks {blocks}, ledger {ledger}, free {free}"),
        format!("memory   {resident} with pages of files; --memory allows {limit}"),
        format!("queues   {}", queues.collect::<Vec<_>>().join(", ")),
    ]
}

/// How far the chain is, how fast, and how long it will take.
fn sync(now: &Sample, before: Option<&Sample>) -> String {
    let height = |sample: &Sample| number(&sample.info["blocks"]);
    let (blocks, headers) = (height(now), number(&now.info["headers"]));
    let age = u64::from(clock::unix_time()).saturating_sub(number(&now.info["time"]));
    let (done, all, age) = (HumanCount(blocks), HumanCount(headers), duration(age));
    let mut line = format!("block    {done} of {all}, {age} old");
    if let Some(rate) = rate(before, now, height).filter(|rate| 0 < *rate) {
        line += &format!(", {}.{} blocks/s", rate / 10, rate % 10);
        let left = headers.saturating_sub(blocks).saturating_mul(10) / rate;
        line += &if 0 < left { format!(", {} left", duration(left)) } else { String::new() };
    }
    line
}

/// The rows of the table.
fn peers(now: &Sample, before: Option<&Sample>, sort: Sort) -> Vec<String> {
    let id = |peer: &Value| number(&peer["id"]);
    let flow = |peer: &Value, name: &str| {
        let find = |sample: &Sample| {
            let found = sample.peers.iter().find(|it| id(it) == id(peer));
            found.map_or(0, |peer| number(&peer[name]))
        };
        let rate = rate(before, now, find);
        rate.map_or_else(|| "-".to_owned(), |rate| DecimalBytes(rate / 10).to_string())
    };
    let mut peers: Vec<&Value> = now.peers.iter().collect();
    let real = |value: &Value| value.as_f64().unwrap_or(f64::INFINITY);
    peers.sort_by(|a, b| {
        let order = match sort.column {
            Column::Id => id(a).cmp(&id(b)),
            Column::Address => text(&a["addr"]).cmp(&text(&b["addr"])),
            Column::Ping => real(&a["pingtime"]).total_cmp(&real(&b["pingtime"])),
            // The greatest first.
            Column::Received => number(&b["bytesrecv"]).cmp(&number(&a["bytesrecv"])),
            Column::Sent => number(&b["bytessent"]).cmp(&number(&a["bytessent"])),
            Column::Height => b["synced_headers"].as_i64().cmp(&a["synced_headers"].as_i64()),
        };
        let order = order.then_with(|| id(a).cmp(&id(b)));
        if sort.is_reversed { order.reverse() } else { order }
    });
    let rows = peers.into_iter().map(|peer| {
        let ping = peer["pingtime"].as_f64();
        let height = peer["synced_headers"].as_i64().filter(|height| 0 <= *height);
        row([
            id(peer).to_string(),
            text(&peer["addr"]),
            if peer["inbound"] == true { "in".to_owned() } else { "out".to_owned() },
            ping.map_or_else(|| "-".to_owned(), |ping| format!("{:.0}", ping * 1000.0)),
            flow(peer, "bytesrecv"),
            flow(peer, "bytessent"),
            height.map_or_else(|| "-".to_owned(), |height| height.to_string()),
            text(&peer["subver"]),
        ])
    });
    rows.collect()
}

fn row([id, address, direction, ping, received, sent, height, version]: [String; 8]) -> String {
    format!(
        "{id:>4} {address:22} {direction:3} {ping:>7} {received:>9} {sent:>9} {height:>7} {version}"
    )
}

/// A text of a stranger, without what moves the cursor.
fn text(value: &Value) -> String {
    let shown =
        |letter: char| if letter.is_ascii_graphic() || letter == ' ' { letter } else { '?' };
    value.as_str().unwrap_or_default().chars().map(shown).collect()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

/// How fast a counter grew, in tenths a second.
fn rate(before: Option<&Sample>, now: &Sample, counter: impl Fn(&Sample) -> u64) -> Option<u64> {
    let before = before?;
    let millis = now.at.saturating_duration_since(before.at).as_millis();
    let grown = u128::from(counter(now).saturating_sub(counter(before)));
    u64::try_from((grown * 10_000).checked_div(millis)?).ok()
}

fn bar(done: u64, all: u64) -> String {
    let per_mille = u128::from(done) * 1000 / u128::from(all.max(1));
    let per_mille = usize::try_from(per_mille).unwrap_or(1000).min(1000);
    let full = "#".repeat(per_mille / 20);
    format!("         [{full:-<50}] {}.{} %", per_mille / 10, per_mille % 10)
}

fn duration(seconds: u64) -> FormattedDuration {
    FormattedDuration(Duration::from_secs(seconds))
}

fn cut(line: &str, width: u16) -> String {
    line.chars().take(width.into()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at: Instant, blocks: u64, peers: Vec<Value>) -> Sample {
        let info = json!({
            "subversion": "/caesure:0.1.0/",
            "chain": "main",
            "uptime": 93_784,
            "blocks": blocks,
            "headers": 900_000,
            "time": 0,
            "bestblockhash": "00".repeat(32),
            "initialblockdownload": true,
            "blocks_in_flight": 16,
            "worlds": { "held": 289, "forks": 1, "oldest_height": blocks - 288 },
            "peers": { "inbound": 0, "outbound": peers.len() },
            "bytes": { "received": blocks * 1_000, "sent": 5 },
            "disk": { "blocks": 1_234_567_890_123_u64, "ledger": 0, "free": 999 },
            "memory": { "resident": 1_000_000_000, "limit": 2_000_000_000 },
            "queues": [{ "name": "chain", "depth": 3, "capacity": 1024 }],
        });
        Sample { at, info, peers }
    }

    fn peer(id: u64, address: &str, received: u64) -> Value {
        json!({ "id": id, "addr": address, "bytesrecv": received, "bytessent": 0, "subver": "/x/" })
    }

    const BY_ID: Sort = Sort { column: Column::Id, is_reversed: false };

    #[test]
    fn a_screen_has_24_lines_of_80_columns_with_rates_between_two_samples() {
        let start = clock::instant();
        let before = sample(start, 500_000, vec![peer(7, "192.0.2.1:8333", 0)]);
        let address = "[2001:db8:1111:2222:3333:4444:5555:6666]:8333";
        let peers = (0..40).map(|id| peer(id, address, 4_000)).collect();
        let now = sample(start + Duration::from_secs(2), 500_020, peers);
        let lines = frame(&now, Some(&before), BY_ID, SCREEN);
        assert_eq!(lines.len(), 24);
        assert!(lines.iter().all(|(line, _)| line.chars().count() <= 80), "{lines:?}");
        let text: Vec<&str> = lines.iter().map(|(line, _)| line.as_str()).collect();
        assert_eq!(text[0], "caesure 0.1.0  main  catching up  up 1d 02:03:04");
        assert!(text[1].starts_with("block    500,020 of 900,000, "), "{}", text[1]);
        assert!(text[1].ends_with(", 10.0 blocks/s, 11:06:38 left"), "{}", text[1]);
        assert!(text[2].ends_with("] 55.5 %"));
        assert_eq!(text[6], "network  received 500.02 MB, 10.00 kB/s; sent 5 B, 0 B/s");
        assert_eq!(text[7], "disk     blocks 1.23 TB, ledger 0 B, free 999 B");
        assert!(text[23].ends_with("(29 more)"), "{}", text[23]);
        let seven = text.iter().find(|line| line.starts_with("   7 ")).unwrap();
        assert!(seven.contains(" 2.00 kB "), "{seven}");
    }

    #[test]
    fn peers_are_sorted_by_the_column_that_is_asked_for() {
        let peers = vec![peer(1, "b", 5), peer(2, "a", 9), peer(3, "c", 9)];
        let now = sample(clock::instant(), 500_000, peers);
        let ids = |column, is_reversed| -> Vec<String> {
            let rows = super::peers(&now, None, Sort { column, is_reversed });
            rows.iter().map(|row| row.trim_start()[..1].to_owned()).collect()
        };
        assert_eq!(ids(Column::Id, false), ["1", "2", "3"]);
        assert_eq!(ids(Column::Id, true), ["3", "2", "1"]);
        assert_eq!(ids(Column::Address, false), ["2", "1", "3"]);
        assert_eq!(ids(Column::Received, false), ["2", "3", "1"]);
        // Nothing is known of their pings.
        assert_eq!(ids(Column::Ping, false), ["1", "2", "3"]);
    }

    #[test]
    fn what_a_peer_says_of_itself_cannot_move_the_cursor() {
        let mut stranger = peer(1, "a", 0);
        stranger["subver"] = "\u{1b}[2J\u{9b}x\n\u{202e}y".into();
        let now = sample(clock::instant(), 500_000, vec![stranger]);
        let text = frame(&now, None, BY_ID, SCREEN).into_iter().map(|(line, _)| line);
        let text: String = text.collect();
        assert!(text.contains("?[2J?x??y"), "{text}");
        assert!(text.chars().all(|letter| letter.is_ascii_graphic() || letter == ' '));
    }
}
