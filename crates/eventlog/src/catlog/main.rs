//! `catlog`: shows the event log.

mod pcap;
mod show;
mod source;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, IsTerminal, Write, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

use caesure_eventlog::{Error, Record};
use clap::Parser;

use pcap::Capture;
use show::Form;
use source::Source;

/// Shows an event log of Caesure: a file, or standard input
#[derive(Debug, Parser)]
#[command(name = "catlog", version)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option")]
struct Arguments {
    /// The log; without it, or with -, standard input is read, from any place in a log
    file: Option<PathBuf>,
    /// Shows what is added to the file from now on, too, over its rotations
    #[arg(short, long, requires = "file")]
    follow: bool,
    /// Begins so long before the last record: 90s, 3m, 1h, 20d, 2w
    #[arg(short, long, requires = "file", value_name = "TIME", value_parser = parse_time)]
    ago: Option<i64>,
    /// Shows this part of the program alone (repeatable)
    #[arg(long)]
    facility: Vec<String>,
    /// Shows large items whole
    #[arg(short, long)]
    big: bool,
    /// Leaves out the messages with blocks that --packet logs (short: -nb)
    #[arg(long = "no_blocks", alias = "no-blocks")]
    no_blocks: bool,
    /// Prints an object of JSON a line
    #[arg(long)]
    json: bool,
    /// Writes the messages that --packet logs into this file, for Wireshark, and prints nothing
    #[arg(long, value_name = "FILE", conflicts_with_all = ["json", "follow"])]
    pcap: Option<PathBuf>,
    /// The network of the messages, where the log does not say it
    #[arg(long, default_value = "main", value_parser = pcap::NETWORKS.map(|(name, ..)| name))]
    network: String,
}

fn main() -> ExitCode {
    // A name of two letters after one hyphen, which the original had.
    let words = std::env::args_os();
    let words = words.map(|word| if word == "-nb" { OsString::from("--no_blocks") } else { word });
    let arguments = Arguments::parse_from(words);
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        // Who reads it has seen enough.
        Err(Error::Io(error)) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("catlog: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Shows all that is asked for; returns false when the input holds bytes but no record, and says so.
fn run(arguments: &Arguments) -> Result<bool, Error> {
    let mut source = Source::open(arguments.file.as_deref(), arguments.ago, arguments.follow)?;
    let mut out = BufWriter::new(stdout().lock());
    let mut capture = match &arguments.pcap {
        Some(path) => Some(Capture::new(
            BufWriter::new(File::create(path).map_err(named(path))?),
            &arguments.network,
        )?),
        None => None,
    };
    let form = match arguments.json {
        true => Form::Json,
        false => Form::Text { big: arguments.big, has_colours: has_colours() },
    };
    let mut count = 0u64;
    loop {
        let Some(record) = source.next()? else {
            out.flush()?;
            if source.wait()? { continue } else { break }
        };
        count += 1;
        if let Some(capture) = &mut capture {
            capture.take(&record)?;
        } else if is_wanted(&record, arguments) {
            writeln!(out, "{}", show::record(&record, form))?;
        }
    }
    if let Some(capture) = capture {
        let messages = capture.finish()?;
        eprintln!("catlog: {messages} messages");
    }
    let is_log = !source.report() || count > 0;
    if !is_log {
        eprintln!("catlog: this is no event log: name a file that caesure --logfile wrote");
    }
    Ok(is_log)
}

fn is_wanted(record: &Record, arguments: &Arguments) -> bool {
    let facilities = &arguments.facility;
    (facilities.is_empty() || facilities.iter().any(|it| it == record.facility()))
        && !(arguments.no_blocks && record.text(2) == "block")
}

fn has_colours() -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    stdout().is_terminal() && !is_set("NO_COLOR")
}

/// Microseconds.
fn parse_time(text: &str) -> Result<i64, String> {
    let units = [('s', 1), ('m', 60), ('h', 3_600), ('d', 86_400), ('w', 604_800)];
    let unit = units.iter().find(|(unit, _)| text.ends_with(*unit));
    let number = |text: &str| text.parse::<u32>().ok();
    match unit.and_then(|(unit, seconds)| Some((number(text.strip_suffix(*unit)?)?, seconds))) {
        Some((number, seconds)) => Ok(i64::from(number) * seconds * 1_000_000),
        None => Err("give a number and s, m, h, d or w".to_owned()),
    }
}

/// Names the file that an error is of.
fn named(path: &std::path::Path) -> impl Fn(io::Error) -> Error {
    let path = path.display().to_string();
    move |error| io::Error::new(error.kind(), format!("{path}: {error}: check the path")).into()
}
