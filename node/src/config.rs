//! Settings: the options of the command line by their long names, in a file and in the environment.
//! They become words of the command line that say what the words there do not.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use caesure_consensus::Network;
use clap::error::{ContextKind, ContextValue, ErrorKind as Wrong};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, CommandFactory};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::args::{self, Program};
use crate::base;

/// The file in the base folder.
const FILE: &str = "caesure.toml";
/// Options that are no settings.
const OTHERS: [&str; 5] = ["help", "version", "base", "config", "print-config"];
/// Settings that are not shown.
pub(crate) const SECRETS: [&str; 3] = ["rpcpassword", "rpcauth", "user"];

/// Why settings do not hold.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("{}: {source}: give another file with --config, or another base with -b", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{}: {source}", path.display())]
    Syntax { path: PathBuf, source: toml::de::Error },
    #[error("{place}: {name}: {reason}")]
    Wrong { place: String, name: String, reason: String },
}

/// What is set: one value or, of an option that may be repeated, several. A switch has `true` or
/// `false`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) values: Vec<String>,
    /// The variable of the environment, or the file and the line.
    pub(crate) place: String,
}

/// Settings by the long names of options.
pub(crate) type Settings = BTreeMap<String, Setting>;

/// Reads the settings of the file and the environment that hold for a network; for the one that they
/// name, if none is given. The base's own file may be missing.
pub(crate) fn settings(
    base: Option<&Path>,
    file: Option<&Path>,
    network: Option<Network>,
) -> Result<(Network, Settings), ConfigError> {
    let mut program = Program::command();
    program.build();
    let path = file.map(Path::to_owned);
    let path = path.or_else(|| std::env::var_os("CAESURE_CONFIG").map(PathBuf::from));
    let is_own = path.is_none();
    let own = || base::base_folder(base).map(|base| base.join(FILE)).unwrap_or_default();
    let path = path.unwrap_or_else(own);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if is_own && is_missing(&error) => String::new(),
        Err(source) => return Err(ConfigError::Read { path, source }),
    };
    let table = DeTable::parse(&text)
        .map_err(|source| ConfigError::Syntax { path: path.clone(), source })?;
    let environment = from_environment(&program)?;
    let (mut common, mut sections) = (Settings::new(), BTreeMap::new());
    for (key, value) in table.get_ref() {
        let is_network = args::network(key.get_ref()).is_some();
        match value.get_ref().as_table().filter(|_| is_network) {
            None => add(&mut common, &program, &path, &text, (key, value))?,
            Some(table) => {
                let mut section = Settings::new();
                for entry in table {
                    // The section says for which network it is.
                    if ["network", "testnet"].contains(&&**entry.0.get_ref()) {
                        let place = place(&path, &text, entry.0);
                        let reason = "it stands above all sections".to_owned();
                        let name = entry.0.get_ref().to_string();
                        return Err(ConfigError::Wrong { place, name, reason });
                    }
                    add(&mut section, &program, &path, &text, entry)?;
                }
                sections.insert(key.get_ref().to_string(), section);
            }
        }
    }
    let named = |settings: &Settings| {
        let first = |name| settings.get(name).and_then(|it: &Setting| it.values.first());
        let is_test = first("testnet").is_some_and(|value| value == "true");
        let network = first("network").and_then(|name| args::network(name));
        if is_test { Some(Network::Testnet3) } else { network }
    };
    let network = network.or_else(|| named(&environment)).or_else(|| named(&common));
    let network = network.unwrap_or(Network::Main);
    common.extend(sections.remove(network.name()).unwrap_or_default());
    common.extend(environment);
    Ok((network, common))
}

/// Whether there is no such file. That its folder is none, those will say who open that.
fn is_missing(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// Adds to the words what the settings say and they do not, and returns where that stands by the
/// options' names. Words that are wrong stay as they are.
pub(crate) fn complete(words: &mut Vec<OsString>) -> Result<Settings, ConfigError> {
    let Some((command, matches)) = parse(words) else { return Ok(Settings::new()) };
    let path = |name| matches.get_one::<PathBuf>(name).map(PathBuf::as_path);
    let is_said = |arg: &Arg| {
        let id = arg.get_id().as_str();
        matches!(matches.try_contains_id(id), Ok(true))
            && matches.value_source(id) == Some(ValueSource::CommandLine)
    };
    let is_named = |name| command.get_arguments().any(|arg| arg.get_id() == name && is_said(arg));
    let network = match (is_named("testnet"), is_named("network")) {
        (true, _) => Some(Network::Testnet3),
        (false, true) => matches.get_one::<Network>("network").copied(),
        (false, false) => None,
    };
    let (_, mut settings) = settings(path("base"), path("config"), network)?;
    let program = Program::command();
    settings.retain(|name, _| {
        let arg = command.get_arguments().find(|arg| arg.get_long() == Some(name));
        // A subcommand may have another option of the same name.
        let values = find(&program, name).map(Arg::get_value_names);
        let arg = arg.filter(|arg| values == Some(arg.get_value_names()));
        let is_free = |arg: &Arg| {
            !is_said(arg) && !command.get_arg_conflicts_with(arg).into_iter().any(is_said)
        };
        let is_of_network = ["network", "testnet"].contains(&name.as_str());
        arg.is_some_and(is_free) && !(is_of_network && network.is_some())
    });
    let added = settings.iter().flat_map(|(name, setting)| said(name, setting));
    let end = words.iter().position(|word| word == "--").unwrap_or(words.len());
    words.splice(end..end, added.map(OsString::from).collect::<Vec<_>>());
    Ok(settings)
}

/// Parses words; the subcommand that they lead to, with what was found of its options.
fn parse(words: &[OsString]) -> Option<(Command, ArgMatches)> {
    let mut command = Program::command();
    command.build();
    let mut matches = command.clone().try_get_matches_from(words).ok()?;
    while let Some((name, below)) = matches.remove_subcommand() {
        command = command.find_subcommand(&name)?.clone();
        matches = below;
    }
    Some((command, matches))
}

/// The setting as words.
fn said(name: &str, setting: &Setting) -> Vec<String> {
    let word = |value: &String| match value.as_str() {
        "true" => Some(format!("--{name}")),
        "false" => None,
        value => Some(format!("--{name}={value}")),
    };
    setting.values.iter().filter_map(word).collect()
}

/// Prints what holds in the form of the file, with where it comes from.
pub(crate) fn show(words: &[OsString], added: &Settings) {
    let Some((command, matches)) = parse(words) else { return };
    for arg in command.get_arguments() {
        let Some(name) = arg.get_long().filter(|name| !OTHERS.contains(name)) else { continue };
        let id = arg.get_id().as_str();
        let place = match (added.get(name), matches.value_source(id)) {
            (Some(setting), _) => setting.place.clone(),
            (None, Some(ValueSource::CommandLine)) => "command line".to_owned(),
            (None, Some(_)) => "default".to_owned(),
            (None, None) => {
                crate::print_line(&format!("# {name} is not set"));
                continue;
            }
        };
        let raw = matches.get_raw(id).into_iter().flatten();
        let values: Vec<String> =
            raw.map(|value| written(name, &value.to_string_lossy())).collect();
        let value = match (&values[..], is_list(arg)) {
            ([], false) => "true".to_owned(),
            ([value], false) => value.clone(),
            (values, _) => format!("[{}]", values.join(", ")),
        };
        crate::print_line(&format!("{name} = {value}  # {place}"));
    }
}

fn written(name: &str, value: &str) -> String {
    match value {
        _ if SECRETS.contains(&name) => "\"(secret)\"".to_owned(),
        "true" | "false" => value.to_owned(),
        number if number.parse::<u64>().is_ok() => number.to_owned(),
        text => serde_json::Value::from(text).to_string(),
    }
}

fn is_list(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Append)
}

fn find<'a>(program: &'a Command, name: &str) -> Option<&'a Arg> {
    program.get_arguments().find(|arg| arg.get_long() == Some(name) && !OTHERS.contains(&name))
}

/// Reads `CAESURE_MEMORY` and the like; of options that may be repeated, values with blanks between.
fn from_environment(program: &Command) -> Result<Settings, ConfigError> {
    let mut settings = Settings::new();
    for arg in program.get_arguments() {
        let Some(name) = arg.get_long().filter(|name| find(program, name).is_some()) else {
            continue;
        };
        let variable = format!("CAESURE_{}", name.to_uppercase().replace('-', "_"));
        let Ok(text) = std::env::var(&variable) else { continue };
        let values = match (text.as_str(), is_list(arg)) {
            ("", _) => continue,
            (text, true) => text.split_whitespace().map(ToOwned::to_owned).collect(),
            ("1", false) if is_switch(arg) => vec!["true".to_owned()],
            ("0", false) if is_switch(arg) => vec!["false".to_owned()],
            (text, false) => vec![text.to_owned()],
        };
        let setting = Setting { values, place: format!("environment {variable}") };
        check(program, arg, name, &setting)?;
        settings.insert(name.to_owned(), setting);
    }
    Ok(settings)
}

/// Whether an option holds without a value too.
fn is_switch(arg: &Arg) -> bool {
    arg.get_num_args().is_some_and(|count| count.min_values() == 0)
}

fn place(path: &Path, text: &str, key: &Spanned<impl Sized>) -> String {
    let before = text.get(..key.span().start).unwrap_or_default();
    format!("{} line {}", path.display(), 1 + before.matches('\n').count())
}

/// Adds an entry of the file.
fn add<'a, T: std::ops::Deref<Target = str>>(
    settings: &mut Settings,
    program: &Command,
    path: &Path,
    text: &str,
    (key, value): (&Spanned<T>, &Spanned<DeValue<'a>>),
) -> Result<(), ConfigError> {
    let name = key.get_ref().to_string();
    let place = place(path, text, key);
    if value.get_ref().is_table() {
        let reason = "no network: main, testnet3, testnet4, signet or regtest".to_owned();
        return Err(ConfigError::Wrong { place, name, reason });
    }
    let Some(arg) = find(program, &name) else {
        let reason = unknown(program, &name);
        return Err(ConfigError::Wrong { place, name, reason });
    };
    let values = match value.get_ref() {
        DeValue::Array(values) if is_list(arg) => {
            values.iter().map(|value| plain(value.get_ref())).collect()
        }
        value => plain(value).map(|value| vec![value]),
    };
    let Some(values) = values else {
        let reason =
            "not a number, a text, true or false, or a list of such where there may be several";
        return Err(ConfigError::Wrong { place, name, reason: reason.to_owned() });
    };
    let setting = Setting { values, place };
    check(program, arg, &name, &setting)?;
    settings.insert(name, setting);
    Ok(())
}

fn plain(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
        DeValue::Boolean(value) => Some(value.to_string()),
        _ => None,
    }
}

/// Says that there is no such setting, and which it may have been.
fn unknown(program: &Command, name: &str) -> String {
    let error = program.clone().try_get_matches_from(["caesure", &format!("--{name}")]).err();
    let nearest = error.as_ref().and_then(|error| error.get(ContextKind::SuggestedArg));
    match nearest {
        Some(ContextValue::String(nearest)) => {
            format!("no such setting; did you mean {}?", nearest.trim_start_matches('-'))
        }
        _ => "no such setting; caesure --help has them all".to_owned(),
    }
}

/// Has the parser of the command line judge each value.
fn check(program: &Command, arg: &Arg, name: &str, setting: &Setting) -> Result<(), ConfigError> {
    let wrong = |reason: String| {
        let place = setting.place.clone();
        Err(ConfigError::Wrong { place, name: name.to_owned(), reason })
    };
    for value in &setting.values {
        match value.as_str() {
            "true" | "false" if is_switch(arg) => continue,
            _ if matches!(arg.get_action(), ArgAction::SetTrue) => {
                return wrong(format!("{value} is neither true nor false"));
            }
            _ => {}
        }
        let word = format!("--{name}={value}");
        if let Err(error) = program.clone().try_get_matches_from(["caesure", &word])
            && error.kind() != Wrong::MissingRequiredArgument
        {
            return wrong(reason(&error));
        }
    }
    Ok(())
}

/// What the parser says, without the advice for the command line.
fn reason(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let text = text.split("\n\n").next().unwrap_or_default();
    let lines = text.trim_start_matches("error: ").lines().map(str::trim);
    lines.collect::<Vec<_>>().join(" ")
}
