//! The program `caesure`: arguments, files, threads and clock around the library crates.

mod args;
mod base;
mod chain;
mod checkpointer;
mod clock;
mod demo;
mod error;
mod generate;
mod import;
mod memory;
mod opening;
mod pool;
mod progress;
mod script_cache;
mod truncate;
mod utxo;
mod utxo_file;
mod verify;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::process::ExitCode;

use caesure_blockstore::Converted;
use caesure_wire::BlockHash;
use clap::Parser;
use serde_json::{Value, json};

use args::{Arguments, Command, Common};
use error::Error;

/// Things that wait for a block, by its hash.
pub(crate) type Waiting<T> = BTreeMap<BlockHash, Vec<T>>;

/// How a command ended that was not kept from its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Exit status 0.
    Done,
    /// A block is invalid, or a stored one is damaged: exit status 1.
    Invalid,
    /// A signal came: exit status 130, and the same command goes on where this one stopped.
    Stopped,
}

fn main() -> ExitCode {
    let arguments = match expand(std::env::args_os()) {
        Ok(arguments) => Arguments::parse_from(arguments),
        Err(error) => {
            eprintln!("caesure: {error}");
            return ExitCode::from(2);
        }
    };
    match run(&arguments) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Invalid) => ExitCode::FAILURE,
        Ok(Outcome::Stopped) => ExitCode::from(130),
        Err(error) => {
            eprintln!("caesure: {error}");
            if let Error::Ledger(caesure_ledger::Error::Damaged { .. }) = error {
                match arguments.command {
                    Command::Import(_) | Command::Truncate { .. } => distrust(&arguments.common),
                    _ => eprintln!("caesure import makes the ledger anew from what is whole"),
                }
            }
            ExitCode::FAILURE
        }
    }
}

/// The next start makes the ledger anew from what is whole.
fn distrust(common: &Common) {
    let folder = base::network_folder(common.base.as_deref(), common.network());
    let distrusted = folder.map(|folder| caesure_ledger::Ledger::distrust(&folder));
    if let Ok(Err(error)) = distrusted {
        eprintln!("caesure: {error}");
    }
    eprintln!("the same command makes the ledger anew from what is whole, and goes on");
}

/// Runs a command.
pub(crate) fn run(arguments: &Arguments) -> Result<Outcome, Error> {
    let common = &arguments.common;
    match &arguments.command {
        Command::Demo => demo::show(),
        Command::Generate(options) => generate::run(common, options),
        Command::Import(options) => import::run(common, options),
        Command::Convert { file } => {
            let Converted { records, rewritten } = caesure_blockstore::convert(file)?;
            report(common, &json!({ "records": records, "rewritten": rewritten }));
            Ok(Outcome::Done)
        }
        Command::Verify(options) => verify::run(common, options),
        Command::Truncate { ceiling, block, yes } => truncate::run(common, *ceiling, block, *yes),
        Command::Utxo { ceiling, command } => utxo::run(common, *ceiling, command),
    }
}

/// Replaces `@FILE` by the file's lines, an argument each, as the original did.
fn expand(arguments: impl Iterator<Item = OsString>) -> Result<Vec<OsString>, Error> {
    let mut expanded = Vec::new();
    for argument in arguments {
        match argument.to_str().and_then(|text| text.strip_prefix('@')) {
            None => expanded.push(argument),
            Some(file) => {
                let path = std::path::Path::new(file);
                let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
                expanded.extend(text.lines().map(OsString::from));
            }
        }
    }
    Ok(expanded)
}

/// Prints what a command found: one JSON object, or a line for each of its fields.
pub(crate) fn report(common: &Common, fields: &Value) {
    match fields.as_object() {
        Some(fields) if !common.json => {
            for (name, value) in fields {
                let value = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
                print_line(&format!("{name:18} {value}"));
            }
        }
        _ => print_line(fields),
    }
}

/// Prints a line to standard output, which may be closed.
pub(crate) fn print_line(line: &impl std::fmt::Display) {
    use std::io::Write;
    let _ = writeln!(std::io::stdout(), "{line}");
}
