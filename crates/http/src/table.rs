//! The table of methods: what there is, with what arguments, and what a user is told of it.

use std::fmt::Write;

use serde_json::{Map, Value};

use crate::call::Call;
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

/// A method.
#[derive(Debug)]
pub(crate) struct Method {
    pub(crate) category: &'static str,
    pub(crate) name: &'static str,
    /// The arguments in order: `name|other name:kind`, then `!` when required, `=TEXT` with the
    /// default, `~` when any type may be passed, `.` when not shown.
    pub(crate) args: &'static str,
    pub(crate) effect: Effect,
    pub(crate) run: fn(&mut Call<'_>) -> Answer,
    pub(crate) about: &'static str,
}

/// The kind of an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Number,
    Bool,
    Array,
    /// A number or a text.
    Either,
}

/// An argument of a method.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arg {
    names: &'static str,
    kind: Kind,
    /// Of arrays: what is in them.
    inner: &'static str,
    default: Option<&'static str>,
    is_required: bool,
    is_checked: bool,
    is_hidden: bool,
}

impl Arg {
    fn read(spec: &'static str) -> Self {
        let (spec, default) = match spec.split_once('=') {
            Some((spec, default)) => (spec, Some(default)),
            None => (spec, None),
        };
        let (names, kind) = spec.split_once(':').expect("each argument has a kind");
        let word = kind.trim_end_matches(['!', '~', '.']);
        let (word, inner) = word.split_once('<').unwrap_or((word, ""));
        let has = |mark: char| kind.contains(mark);
        Self {
            names,
            kind: match word {
                "str" => Kind::Text,
                "num" => Kind::Number,
                "bool" => Kind::Bool,
                "arr" => Kind::Array,
                _ => Kind::Either,
            },
            inner: inner.trim_end_matches('>'),
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
        match self.kind {
            Kind::Text => format!("\"{}\"", self.name()),
            Kind::Array => format!("[\"{}\",...]", self.inner),
            Kind::Number | Kind::Bool | Kind::Either => self.name().into(),
        }
    }

    fn description(&self) -> String {
        let kind = match self.kind {
            Kind::Text => "string",
            Kind::Number => "numeric",
            Kind::Bool => "boolean",
            Kind::Array => "json array",
            Kind::Either => "string or numeric",
        };
        match (self.is_required, self.default) {
            (true, _) => format!("({kind}, required)"),
            (_, Some(default)) => format!("({kind}, optional, default={default})"),
            _ => format!("({kind}, optional)"),
        }
    }

    /// What is wrong with a value's type, if anything. Core: `RPCArg::MatchesType`.
    fn mismatch(&self, value: &Value) -> Option<String> {
        let expected = match self.kind {
            Kind::Text => "string",
            Kind::Number => "number",
            Kind::Bool => "bool",
            Kind::Array => "array",
            Kind::Either => return None,
        };
        let is_left_out = !self.is_required && value.is_null();
        if !self.is_checked || is_left_out || type_name(value) == expected {
            return None;
        }
        let found = type_name(value);
        Some(format!("JSON value of type {found} is not of expected type {expected}"))
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
        all().find(|method| method.name == name)
    }

    fn args(&self) -> impl Iterator<Item = Arg> {
        self.args.split_whitespace().map(Arg::read)
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
        let count = self.args().count();
        let required = self.args().collect::<Vec<_>>();
        let required = required.iter().rposition(|arg| arg.is_required).map_or(0, |last| last + 1);
        if values.len() < required || count < values.len() {
            return fail(code::MISC_ERROR, self.help());
        }
        let mut wrong = Map::new();
        for (index, arg) in self.args().enumerate() {
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
        for (index, arg) in self.args().enumerate() {
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
        for arg in self.args().take_while(|arg| !arg.is_hidden) {
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
        let mut text = format!("{}\n\n{}\n", self.usage(), self.about);
        let args: Vec<Arg> = self.args().take_while(|arg| !arg.is_hidden).collect();
        if !args.is_empty() {
            text += "\nArguments:\n";
        }
        for (index, arg) in args.iter().enumerate() {
            let _ = writeln!(text, "{}. {}    {}", index + 1, arg.name(), arg.description());
        }
        if self.effect == Effect::Reads {
            text += "\nNamed Arguments:\nat    (string or numeric, optional, default=the tip) The \
                     block whose chain and coins are read: its hash, its height, or tip-N\n";
        }
        text
    }
}

/// All methods.
pub(crate) fn all() -> impl Iterator<Item = &'static Method> {
    let tables: [&'static [Method]; 5] = [
        &chain::METHODS,
        &control::METHODS,
        &mining::METHODS,
        &peers::METHODS,
        &transactions::METHODS,
    ];
    tables.into_iter().flatten()
}

/// A line for each method, by category; hidden ones left out. Core: `CRPCTable::help`.
pub(crate) fn list() -> String {
    let mut methods: Vec<_> = all().filter(|method| method.category != "hidden").collect();
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
        (Some(place), _) => method.args().nth(place),
        (None, Some(name)) => method.args().find(|arg| arg.is_called(name)),
        _ => None,
    });
    match arg.map(|arg| arg.kind) {
        None | Some(Kind::Text) => Conversion::Text,
        Some(Kind::Either) => Conversion::JsonOrText,
        Some(Kind::Number | Kind::Bool | Kind::Array) => Conversion::Json,
    }
}

/// Writes JSON over several lines. Core: `UniValue::write`.
#[must_use]
pub fn pretty(value: &Value, indent: usize) -> String {
    let mut text = String::new();
    push_pretty(&mut text, value, indent, 0);
    text
}

fn push_pretty(out: &mut String, value: &Value, indent: usize, depth: usize) {
    let end = |out: &mut String, is_last: bool, depth: usize| {
        if !is_last {
            out.push(',');
        }
        let _ = write!(out, "\n{:1$}", "", indent * (depth + usize::from(!is_last)));
    };
    let begin = |out: &mut String, bracket: char| {
        let _ = write!(out, "{bracket}\n{:1$}", "", indent * (depth + 1));
    };
    match value {
        Value::Array(values) => {
            begin(out, '[');
            for (index, value) in values.iter().enumerate() {
                push_pretty(out, value, indent, depth + 1);
                end(out, index + 1 == values.len(), depth);
            }
            if values.is_empty() {
                out.truncate(out.len() - indent * (depth + 1));
                let _ = write!(out, "{:1$}", "", indent * depth);
            }
            out.push(']');
        }
        Value::Object(fields) => {
            begin(out, '{');
            for (index, (name, value)) in fields.iter().enumerate() {
                let _ = write!(out, "{}: ", Value::from(name.as_str()));
                push_pretty(out, value, indent, depth + 1);
                end(out, index + 1 == fields.len(), depth);
            }
            if fields.is_empty() {
                out.truncate(out.len() - indent * (depth + 1));
                let _ = write!(out, "{:1$}", "", indent * depth);
            }
            out.push('}');
        }
        value => {
            let _ = write!(out, "{value}");
        }
    }
}
