//! The program `caesure`: arguments, files, threads and clock around the library crates.

mod args;
mod base;
mod chain;
mod checkpointer;
mod cli;
mod clock;
mod config;
mod demo;
mod disk;
mod error;
mod generate;
mod handle;
mod header_file;
mod host_names;
mod import;
mod log;
mod manual;
mod memory;
mod monitor;
mod node;
mod opening;
mod pool;
mod progress;
mod prompt;
mod prune;
mod reactor;
mod record;
mod run;
mod script_cache;
mod service;
mod shell;
mod signals;
mod top;
mod truncate;
mod utxo;
mod utxo_file;
mod validator;
mod verify;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use caesure_blockstore::Converted;
use caesure_wire::BlockHash;
use clap::Parser;
use serde_json::{Value, json};

use args::{Arguments, Command, Common, Program};
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
    caesure_blockstore::name_bus_errors("caesure");
    let refused = |error: &dyn std::fmt::Display| {
        eprintln!("caesure: {error}");
        ExitCode::from(2)
    };
    let mut words = match expand(std::env::args_os()) {
        Ok(words) => words,
        Err(error) => return refused(&error),
    };
    if let Some(status) = cli::intercept(&words) {
        return status;
    }
    let settings = match config::complete(&mut words) {
        Ok(settings) => settings,
        Err(error) => return refused(&error),
    };
    let program = Program::parse_from(&words);
    if program.common.print_config {
        config::show(&words, &settings);
        return ExitCode::SUCCESS;
    }
    if let Err(error) = signals::catch() {
        return refused(&error);
    }
    let (outcome, writes) = match &program.command {
        None => (run::run(&program.common, &program.run), true),
        Some(_) => {
            let arguments = Arguments::parse_from(&words);
            let mut outcome = run(&arguments);
            if let Err(error) = &outcome
                && is_damage(error)
                && can_be_repeated(&arguments.command)
            {
                eprintln!("caesure: {error}");
                distrust(&program.common);
                eprintln!("the ledger is made anew from what is whole");
                outcome = run(&arguments);
            }
            let writes = matches!(arguments.command, Command::Import(_) | Command::Truncate { .. });
            (outcome, writes)
        }
    };
    match outcome {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Invalid) => ExitCode::FAILURE,
        Ok(Outcome::Stopped) => signals::end(),
        Err(error) => {
            eprintln!("caesure: {error}");
            if let Some(advice) = error.advice() {
                eprintln!("{advice}");
            }
            if is_damage(&error) && writes {
                distrust(&program.common);
                eprintln!("the same command makes the ledger anew from what is whole");
            } else if is_damage(&error) {
                eprintln!("caesure import makes the ledger anew from what is whole");
            }
            ExitCode::FAILURE
        }
    }
}

const fn is_damage(error: &Error) -> bool {
    matches!(error, Error::Ledger(caesure_ledger::Error::Damaged { .. }))
}

/// Whether a command can be run again from its beginning: a stream cannot be read again, and nobody
/// answers a question twice.
fn can_be_repeated(command: &Command) -> bool {
    match command {
        Command::Import(import) => import.paths.iter().all(|path| path.is_file() || path.is_dir()),
        Command::Truncate { yes, .. } => *yes,
        _ => false,
    }
}

/// The next start makes the ledger anew from what is whole.
fn distrust(common: &Common) {
    let folder = base::network_folder(common.base.as_deref(), common.network());
    let distrusted = folder.map(|folder| caesure_ledger::Ledger::distrust(&folder));
    if let Ok(Err(error)) = distrusted {
        eprintln!("caesure: {error}");
    }
}

/// Runs a command.
pub(crate) fn run(arguments: &Arguments) -> Result<Outcome, Error> {
    let common = &arguments.common;
    match &arguments.command {
        Command::Demo => demo::show(),
        Command::Generate(options) => generate::run(common, options),
        Command::Import(options) => import::run(common, options),
        Command::Convert { file } => {
            let Converted { records, rewritten } =
                progress::watch("rewriting", || caesure_blockstore::convert(file))?;
            report(common, &json!({ "records": records, "rewritten": rewritten }));
            Ok(Outcome::Done)
        }
        Command::Verify(options) => verify::run(common, options),
        Command::Truncate { ceiling, block, yes } => truncate::run(common, *ceiling, block, *yes),
        Command::Utxo { ceiling, command } => utxo::run(common, *ceiling, command),
        Command::Replay { file } => record::replay(common, file),
        Command::Cli { .. } => unreachable!("it was run before"),
        Command::Shell(options) => shell::run(common, options),
        Command::Top(options) => top::run(common, options),
        Command::Completions { shell } => Ok(manual::completions(*shell)),
        Command::Man { out } => manual::pages(out.as_deref()),
    }
}

/// Replaces `@FILE` by the file's lines, an argument each, as the original did. Empty lines are none.
fn expand(arguments: impl Iterator<Item = OsString>) -> Result<Vec<OsString>, Error> {
    let mut expanded = Vec::new();
    for argument in arguments {
        let Some(file) = argument.to_str().and_then(|text| text.strip_prefix('@')) else {
            expanded.push(argument);
            continue;
        };
        let path = PathBuf::from(file);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(source) => return Err(Error::Arguments { path, source }),
        };
        for line in text.lines().filter(|line| !line.is_empty()) {
            if line.starts_with('@') {
                return Err(Error::Nested { path, line: line.to_owned() });
            }
            expanded.push(line.into());
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

/// Prints a line to standard output.
pub(crate) fn print_line(line: &impl std::fmt::Display) {
    print(format!("{line}\n").as_bytes());
}

/// Prints to standard output, to which nobody may listen any more. What is otherwise not taken, as by a
/// file on a full disk, ends the program: what is there is not whole.
pub(crate) fn print(text: &[u8]) {
    match io::stdout().write_all(text) {
        Err(source) if source.kind() != io::ErrorKind::BrokenPipe => {
            let error = Error::io(Path::new("standard output"))(source);
            eprintln!("caesure: {error}\n{}", error.advice().unwrap_or_default());
            std::process::exit(1);
        }
        _ => {}
    }
}
