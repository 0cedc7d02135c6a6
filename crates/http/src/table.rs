//! The table of methods: what there is, with what arguments, and what a user is told of it.

use std::fmt::Write;
use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use crate::call::{Call, wrong_type};
use crate::error::{Answer, RpcError, code, fail};
use crate::{chain, control, mining, peers, transactions};

/// What a method does to what a client sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Reads the chain, at any block whose world is held.
    Reads,
    /// Changes the chain or waits for it: what was pinned is let go.
    Moves,
    /// Neither.
    None,
}

type Run = fn(&mut Call<'_>) -> Answer;

/// A method.
#[derive(Debug)]
pub(crate) struct Method {
    category: &'static str,
    pub(crate) name: &'static str,
    args: Vec<Arg>,
    pub(crate) effect: Effect,
    pub(crate) run: Run,
    /// Paragraphs.
    about: Vec<&'static str>,
}

/// All methods, by category and effect: a line `# CATEGORY EFFECT`, then for each method a line with
/// its name and its arguments, and its description, a paragraph a line. An argument is
/// `name|other name:kind`, then `!` when required, `=TEXT` with the default, `~` when any type may be
/// passed, `.` when not shown.
static METHODS: LazyLock<Vec<Method>> = LazyLock::new(|| read(include_str!("methods.txt")));

const HANDLERS: [(&str, Run); 55] = [
    ("getbestblockhash", chain::getbestblockhash),
    ("getblockcount", chain::getblockcount),
    ("getblockhash", chain::getblockhash),
    ("getblockheader", chain::getblockheader),
    ("getblock", chain::getblock),
    ("getblockchaininfo", chain::getblockchaininfo),
    ("getdifficulty", chain::getdifficulty),
    ("getdeploymentinfo", chain::getdeploymentinfo),
    ("getchaintips", chain::getchaintips),
    ("gettxout", chain::gettxout),
    ("gettxoutsetinfo", chain::gettxoutsetinfo),
    ("getblockfrompeer", chain::getblockfrompeer),
    ("preciousblock", chain::preciousblock),
    ("waitfornewblock", chain::waitfornewblock),
    ("waitforblock", chain::waitforblock),
    ("waitforblockheight", chain::waitforblockheight),
    ("invalidateblock", chain::invalidateblock),
    ("reconsiderblock", chain::reconsiderblock),
    ("syncwithvalidationinterfacequeue", |_| Ok(Value::Null)),
    ("submitheader", chain::submitheader),
    ("help", control::help),
    ("stop", control::stop),
    ("uptime", control::uptime),
    ("getrpcinfo", control::getrpcinfo),
    ("getcaesureinfo", control::getcaesureinfo),
    ("setmocktime", control::setmocktime),
    ("mockscheduler", control::mockscheduler),
    ("submitblock", mining::submitblock),
    ("generatetoaddress", mining::generatetoaddress),
    ("generatetodescriptor", mining::generatetodescriptor),
    ("generateblock", mining::generateblock),
    ("getconnectioncount", peers::getconnectioncount),
    ("getpeerinfo", peers::getpeerinfo),
    ("getnettotals", peers::getnettotals),
    ("getnetworkinfo", peers::getnetworkinfo),
    ("addnode", peers::addnode),
    ("disconnectnode", peers::disconnectnode),
    ("getaddednodeinfo", peers::getaddednodeinfo),
    ("setban", peers::setban),
    ("listbanned", peers::listbanned),
    ("clearbanned", peers::clearbanned),
    ("setnetworkactive", peers::setnetworkactive),
    ("getnodeaddresses", peers::getnodeaddresses),
    ("getaddrmaninfo", peers::getaddrmaninfo),
    ("getrawaddrman", peers::getrawaddrman),
    ("addconnection", peers::addconnection),
    ("addpeeraddress", peers::addpeeraddress),
    ("sendmsgtopeer", peers::sendmsgtopeer),
    ("getindexinfo", |_| Ok(json!({}))),
    ("getrawtransaction", transactions::getrawtransaction),
    ("decoderawtransaction", transactions::decoderawtransaction),
    ("decodescript", transactions::decodescript),
    ("gettxoutproof", transactions::gettxoutproof),
    ("verifytxoutproof", transactions::verifytxoutproof),
    ("validateaddress", transactions::validateaddress),
];

fn read(table: &'static str) -> Vec<Method> {
    let mut methods: Vec<Method> = Vec::new();
    let (mut category, mut effect) = ("", Effect::None);
    for line in table.lines() {
        let mut words = line.trim_start_matches("# ").split(' ');
        let word = words.next().unwrap_or_default();
        if line.starts_with('#') {
            category = word;
            effect = match words.next() {
                Some("reads") => Effect::Reads,
                Some("moves") => Effect::Moves,
                _ => Effect::None,
            };
        } else if line.starts_with(' ') {
            methods.last_mut().expect("a method comes first").about.push(line.trim_start());
        } else {
            let handler = HANDLERS.iter().find(|(name, _)| *name == word);
            let (name, run) = *handler.expect("each method has a handler");
            let (args, about) = (words.map(Arg::read).collect(), Vec::new());
            methods.push(Method { category, name, args, effect, run, about });
        }
    }
    methods
}

/// An argument of a method.
#[derive(Clone, Copy, Debug)]
struct Arg {
    names: &'static str,
    /// What it is called in the help, and in errors.
    kinds: [&'static str; 2],
    conversion: Conversion,
    /// Of arrays: what is in them.
    inner: Option<&'static str>,
    default: Option<&'static str>,
    is_required: bool,
    is_checked: bool,
    is_hidden: bool,
}

impl Arg {
    fn read(spec: &'static str) -> Self {
        let (spec, default) = spec.split_once('=').map_or((spec, None), |(a, b)| (a, Some(b)));
        let (names, kind) = spec.split_once(':').expect("each argument has a kind");
        let word = kind.trim_end_matches(['!', '~', '.']);
        let (word, inner) = word.split_once('<').map_or((word, None), |(a, b)| (a, Some(b)));
        let has = |mark: char| kind.contains(mark);
        let (kinds, conversion) = match word {
            "str" => (["string"; 2], Conversion::Text),
            "num" => (["numeric", "number"], Conversion::Json),
            "bool" => (["boolean", "bool"], Conversion::Json),
            "arr" => (["json array", "array"], Conversion::Json),
            _ => (["string or numeric", "any"], Conversion::JsonOrText),
        };
        Self {
            names,
            kinds,
            conversion,
            inner: inner.map(|inner| inner.trim_end_matches('>')),
            default,
            is_required: has('!'),
            is_checked: !has('~') && word != "any",
            is_hidden: has('.'),
        }
    }

    fn name(&self) -> &'static str {
        self.names.split('|').next().unwrap_or_default()
    }

    fn is_called(&self, name: &str) -> bool {
        self.names.split('|').any(|it| it == name)
    }

    fn usage(&self) -> String {
        match self.inner {
            Some(inner) => format!("[\"{inner}\",...]"),
            None if self.conversion == Conversion::Text => format!("\"{}\"", self.name()),
            None => self.name().into(),
        }
    }

    fn description(&self) -> String {
        let kind = self.kinds[0];
        match (self.is_required, self.default) {
            (true, _) => format!("({kind}, required)"),
            (_, Some(default)) => format!("({kind}, optional, default={default})"),
            _ => format!("({kind}, optional)"),
        }
    }

    /// What is wrong with a value's type, if anything. Core: `RPCArg::MatchesType`.
    fn mismatch(&self, value: &Value) -> Option<String> {
        let is_left_out = !self.is_required && value.is_null();
        let is_fine = !self.is_checked || is_left_out || type_name(value) == self.kinds[1];
        (!is_fine).then(|| wrong_type(value, self.kinds[1]).message)
    }
}

/// Core: `uvTypeName`.
pub(crate) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

impl Method {
    /// Finds a method by its name.
    pub(crate) fn find(name: &str) -> Option<&'static Self> {
        METHODS.iter().find(|method| method.name == name)
    }

    /// The arguments that are shown.
    fn shown(&self) -> impl Iterator<Item = &Arg> {
        self.args.iter().take_while(|arg| !arg.is_hidden)
    }

    /// Returns the arguments in order, and the `at` of a method that reads.
    ///
    /// # Errors
    /// When they are too few or too many, not known, or of a wrong type.
    pub(crate) fn arguments(&self, params: Value) -> Result<(Vec<Value>, Option<Value>), RpcError> {
        let mut at = None;
        let values = match params {
            Value::Object(mut named) => {
                if self.effect == Effect::Reads {
                    at = named.remove("at");
                }
                self.positional(named)?
            }
            Value::Array(values) => values,
            _ => Vec::new(),
        };
        let last = self.args.iter().rposition(|arg| arg.is_required);
        if !(last.map_or(0, |last| last + 1)..=self.args.len()).contains(&values.len()) {
            return fail(code::MISC_ERROR, self.help());
        }
        let mut wrong = Map::new();
        for (index, arg) in self.args.iter().enumerate() {
            if let Some(mismatch) = arg.mismatch(values.get(index).unwrap_or(&Value::Null)) {
                let place = format!("Position {} ({})", index + 1, arg.names);
                wrong.insert(place, mismatch.into());
            }
        }
        if !wrong.is_empty() {
            let list = pretty(&wrong.into(), 4);
            return fail(code::TYPE_ERROR, format!("Wrong type passed:\n{list}"));
        }
        Ok((values, at))
    }

    /// Puts named arguments in order. Core: `transformNamedArguments`.
    fn positional(&self, mut named: Map<String, Value>) -> Result<Vec<Value>, RpcError> {
        let first = match named.get("args") {
            Some(Value::Array(_)) => named.remove("args"),
            _ => None,
        };
        let mut values = Vec::new();
        let mut first_named: Option<(usize, &str)> = None;
        for (index, arg) in self.args.iter().enumerate() {
            let name = arg.names.split('|').find(|name| named.contains_key(*name));
            if let Some(value) = name.and_then(|name| named.shift_remove(name)) {
                values.resize(index, Value::Null);
                values.push(value);
                first_named.get_or_insert((index, arg.names));
            }
        }
        if let Some(Value::Array(first)) = first {
            if let Some((index, names)) = first_named
                && index < first.len()
            {
                let text = format!(
                    "Parameter {names} specified twice both as positional and named argument"
                );
                return fail(code::INVALID_PARAMETER, text);
            }
            let rest = values.split_off(first.len().min(values.len()));
            values = first;
            values.extend(rest);
        }
        match named.keys().next() {
            Some(name) => fail(code::INVALID_PARAMETER, format!("Unknown named parameter {name}")),
            None => Ok(values),
        }
    }

    /// The method and its arguments in a line.
    fn usage(&self) -> String {
        let mut text = self.name.to_owned();
        let mut is_open = false;
        for arg in self.shown() {
            let change = match (is_open, arg.is_required) {
                (false, false) => "( ",
                (true, true) => ") ",
                _ => "",
            };
            is_open = !arg.is_required;
            let _ = write!(text, " {change}{}", arg.usage());
        }
        if is_open { text + " )" } else { text }
    }

    /// All that is told of it.
    pub(crate) fn help(&self) -> String {
        let mut text = format!("{}\n\n{}\n", self.usage(), self.about.join("\n\n"));
        if self.shown().next().is_some() {
            text += "\nArguments:\n";
        }
        for (index, arg) in self.shown().enumerate() {
            let _ = writeln!(text, "{}. {}    {}", index + 1, arg.name(), arg.description());
        }
        if self.effect == Effect::Reads {
            text += "\nNamed Arguments:\nat    (string or numeric, optional, default=the tip) The \
                     block whose chain and coins are read: its hash, its height, or tip-N\n";
        }
        text
    }
}

/// A line for each method, by category; hidden ones left out. Core: `CRPCTable::help`.
pub(crate) fn list() -> String {
    let shown = METHODS.iter().filter(|method| method.category != "hidden");
    let mut methods: Vec<_> = shown.collect();
    methods.sort_by_key(|method| (method.category, method.name));
    let mut text = String::new();
    let mut category = "";
    for method in methods {
        if category != method.category {
            category = method.category;
            let (first, rest) = category.split_at(1);
            let gap = if text.is_empty() { "" } else { "\n" };
            let _ = writeln!(text, "{gap}== {}{rest} ==", first.to_uppercase());
        }
        let _ = writeln!(text, "{}", method.usage());
    }
    text.trim_end().to_owned()
}

/// How a command line's word becomes an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conversion {
    /// It is a string as it stands.
    Text,
    /// It is JSON.
    Json,
    /// It is JSON, or else a string.
    JsonOrText,
}

/// Returns how an argument of a method is read from a command line, by its place or by its name.
/// Those that are not known are strings. Core: `vRPCConvertParams`.
#[must_use]
pub fn conversion(method: &str, place: Option<usize>, name: Option<&str>) -> Conversion {
    let arg = Method::find(method).and_then(|method| match (place, name) {
        (Some(place), _) => method.args.get(place),
        (None, Some(name)) => method.args.iter().find(|arg| arg.is_called(name)),
        _ => None,
    });
    arg.map_or(Conversion::Text, |arg| arg.conversion)
}

/// Writes JSON over several lines. Core: `UniValue::write`.
#[must_use]
pub fn pretty(value: &Value, indent: usize) -> String {
    let mut text = String::new();
    push_pretty(&mut text, value, indent, 0);
    text
}

fn push_pretty(out: &mut String, value: &Value, indent: usize, depth: usize) {
    let (items, [open, close]): (Vec<(String, &Value)>, _) = match value {
        Value::Array(values) => (values.iter().map(|it| (String::new(), it)).collect(), ['[', ']']),
        Value::Object(fields) => {
            let name = |name: &String| format!("{}: ", Value::from(name.as_str()));
            (fields.iter().map(|(key, value)| (name(key), value)).collect(), ['{', '}'])
        }
        value => return *out += &value.to_string(),
    };
    let line = |depth: usize| format!("\n{:1$}", "", indent * depth);
    out.push(open);
    for (index, (name, value)) in items.into_iter().enumerate() {
        *out += if index == 0 { "" } else { "," };
        *out += &(line(depth + 1) + name.as_str());
        push_pretty(out, value, indent, depth + 1);
    }
    *out += &line(depth);
    out.push(close);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_handler_is_in_the_table_once_and_each_method_has_one() {
        let mut names: Vec<_> = METHODS.iter().map(|method| method.name).collect();
        let mut handlers = HANDLERS.map(|(name, _)| name);
        names.sort_unstable();
        handlers.sort_unstable();
        assert_eq!(names, handlers);
        assert!(handlers.is_sorted_by(|a, b| a < b));
        assert!(METHODS.iter().all(|method| !method.about.is_empty()));
    }
}
