use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rhai::{AST, Dynamic, Engine, EvalAltResult, Position, Scope, Token};

use crate::context::{Context, fail, lock};
use crate::help::{self, ENTRIES};
use crate::scan::{Scan, braced, scan};
use crate::script::{self, Forms};
use crate::show::show;
use crate::values::{
    BlockValue, Bytes, CoinValue, Db, InputValue, List, Name, OutputValue, Place, TxValue,
    WorldValue,
};
use crate::{Source, chain, monitor, range, worlds};

/// The name of the last value.
const LAST: &str = "_";
/// The stack of a line, in bytes; what it does not use costs nothing.
const STACK: usize = 256 << 20;
/// After how many uses of variables their bytes are counted again.
const ACCESSES: u64 = 128;

/// How much a line may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How many operations of the interpreter; loops of the node's own count one for each
    /// transaction.
    pub operations: u64,
    /// How long.
    pub time: Duration,
    /// The bytes of a text.
    pub text: usize,
    /// The items of a list, those of lists in it included.
    pub list: usize,
    /// The entries of a map, those of maps in it included.
    pub map: usize,
    /// The bytes of all texts, lists and maps in variables together.
    pub memory: usize,
    /// How many functions deep.
    pub depth: usize,
    /// How many variables at once.
    pub variables: usize,
    /// The bytes of blocks that are held by values.
    pub blocks: usize,
    /// The bytes that a line prints.
    pub output: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            operations: 200_000_000,
            time: Duration::from_secs(300),
            text: 2 << 20,
            list: 20_000,
            map: 5_000,
            memory: 64 << 20,
            depth: 16,
            variables: 64,
            blocks: 64 << 20,
            output: 4 << 20,
        }
    }
}

/// What a line gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// What was printed on the way, with its line ends.
    pub printed: String,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// More lines are wanted; an empty one ends them.
    Incomplete,
    /// Done, and there is no value to show.
    Nothing,
    /// The value, as text.
    Value(String),
    /// It failed.
    Error(Fault),
}

/// Why a line failed, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The reason.
    pub text: String,
    /// The line of the input, from 1; 0 where no place is to blame.
    pub line: usize,
    /// The character of the line, from 1; 0 where no place is to blame.
    pub column: usize,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { text, line, column } = self;
        if *line == 0 {
            write!(f, "error: {text}")
        } else {
            write!(f, "error at {line}:{column}: {text}")
        }
    }
}

impl Reply {
    fn failed(text: String) -> Self {
        let outcome = Outcome::Error(Fault { text, line: 0, column: 0 });
        Self { printed: String::new(), outcome }
    }

    /// Returns whether the line failed.
    #[must_use]
    pub const fn is_error(&self) -> bool {
        matches!(self.outcome, Outcome::Error(_))
    }
}

/// All that is to be shown, with line ends; nothing while more lines are wanted.
impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.printed)?;
        match &self.outcome {
            Outcome::Incomplete | Outcome::Nothing => Ok(()),
            Outcome::Value(text) => writeln!(f, "{text}"),
            Outcome::Error(fault) => writeln!(f, "{fault}"),
        }
    }
}

/// Stops a line that runs, from another thread.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Has the line that runs end with an error; without one, the next that does not come after
    /// [`cancel`](Session::cancel).
    pub fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// One user's prompt: variables, the last value, and the lines of an input that is not complete.
///
/// It can be moved to another thread, and owns nothing that the node waits for.
pub struct Session {
    context: Arc<Context>,
    engine: Engine,
    scope: Scope<'static>,
    /// The functions that were defined.
    functions: AST,
    /// What functions see of the variables.
    globals: Arc<Mutex<Scope<'static>>>,
    /// Where `_` is the default case of the input that is parsed.
    defaults: Arc<Mutex<Vec<(usize, usize)>>>,
    input: String,
}

impl Session {
    /// Begins.
    #[must_use]
    pub fn new(source: Arc<dyn Source>, limits: Limits) -> Self {
        let context = Arc::new(Context::new(source, limits, Arc::default()));
        let (globals, defaults) = (Arc::default(), Arc::default());
        let engine = interpreter(&context, &globals, &defaults);
        let (functions, input) = (AST::empty(), String::new());
        let mut scope = Scope::new();
        scope.push("db", Db).push(LAST, ());
        Self { context, engine, scope, functions, globals, defaults, input }
    }

    /// Takes a line, without its end. An input goes over several while a bracket, a text, a comment or
    /// an expression is open, or it is a block that a colon begins; an empty line ends it.
    pub fn line(&mut self, line: &str) -> Reply {
        let line = line.trim_end_matches(['\r', '\n']);
        let is_first = self.input.is_empty();
        if self.context.limits.text.saturating_mul(2) < self.input.len() + line.len() {
            self.cancel();
            return Reply::failed("the input is too long".into());
        }
        self.input.push_str(line);
        let scan = scan(&self.input);
        let is_open = scan.is_open || braced(&self.input, &scan).is_some();
        if !line.trim().is_empty() && (is_open || self.wants_more(&scan)) {
            self.input.push('\n');
            return Reply { printed: String::new(), outcome: Outcome::Incomplete };
        }
        let text = std::mem::take(&mut self.input);
        if is_first && line.trim().is_empty() {
            return Reply { printed: String::new(), outcome: Outcome::Nothing };
        }
        self.run(&text)
    }

    /// Runs a whole text, of one line or many.
    pub fn run(&mut self, text: &str) -> Reply {
        self.input.clear();
        let braced = braced(text, &scan(text));
        let text = braced.as_deref().unwrap_or(text);
        // Values may be nested deeper than the stack of a thread goes.
        stacker::grow(STACK, || {
            self.context.begin();
            let result = self.evaluate(text);
            let outcome = match result {
                Ok(value) if value.is_unit() => Outcome::Nothing,
                Ok(value) => {
                    let text = show(&self.context, &value);
                    self.scope.set_value(LAST, value);
                    Outcome::Value(text)
                }
                Err(fault) => Outcome::Error(fault),
            };
            self.tidy();
            self.cancel();
            Reply { printed: self.context.take_output(), outcome }
        })
    }

    /// Forgets the lines of an input that is not complete, and an [`Interrupt`] that found no line.
    pub fn cancel(&mut self) {
        self.input.clear();
        self.context.interrupt.store(false, Ordering::Relaxed);
    }

    /// Returns whether lines of an input wait for more.
    #[must_use]
    pub const fn is_incomplete(&self) -> bool {
        !self.input.is_empty()
    }

    /// Returns what stops a line that runs.
    #[must_use]
    pub fn interrupt(&self) -> Interrupt {
        Interrupt(Arc::clone(&self.context.interrupt))
    }

    /// Returns the block whose world the last line read, as `HASH at HEIGHT`.
    #[must_use]
    pub fn view(&self) -> String {
        let world = self.context.world();
        format!("{} at {}", world.info().hash, world.info().height)
    }

    /// Returns the names that can be used, for completion: functions, fields and variables.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let own = self.scope.iter_raw().map(|(name, ..)| name.to_owned());
        let known = ENTRIES.iter().map(|entry| entry.name().to_owned());
        let mut names: Vec<String> = own.chain(known).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Whether the input is right as far as it goes, and the parser misses something behind its end.
    fn wants_more(&self, scan: &Scan) -> bool {
        lock(&self.defaults).clone_from(&scan.defaults);
        let parsed = stacker::grow(STACK, || self.engine.compile(&self.input));
        parsed.is_err_and(|error| {
            let at = error.position();
            (Some(scan.end.0), Some(scan.end.1)) < (at.line(), at.position())
        })
    }

    fn evaluate(&mut self, text: &str) -> Result<Dynamic, Fault> {
        let scan = scan(text);
        (*lock(&self.defaults)).clone_from(&scan.defaults);
        // A name springs up when it is assigned to.
        for name in &scan.assigned {
            if !self.scope.contains(name) && self.scope.len() < self.context.limits.variables {
                self.scope.push(name.as_str(), ());
            }
        }
        let parsed = self.engine.compile(text);
        let ast = parsed.map_err(|error| self.fault(error.into()))?;
        self.functions = self.functions.merge(&ast.clone_functions_only());
        let mut last = Dynamic::UNIT;
        for statement in ast.statements() {
            if self.functions.has_functions() {
                *lock(&self.globals) = self.scope.clone();
            }
            let ast = AST::new([statement.clone()], self.functions.shared_lib().clone());
            let result = self.engine.eval_ast_with_scope(&mut self.scope, &ast);
            last = result.map_err(|error| self.fault(error))?;
        }
        Ok(last)
    }

    /// Leaves of several variables of one name the last, and none that an input began and did not
    /// assign to.
    fn tidy(&mut self) {
        let mut scope = Scope::new();
        for (name, is_constant, value) in self.scope.iter_raw() {
            if value.is_unit() && name != LAST {
                continue;
            }
            let is_last = self.scope.get(name).is_some_and(|last| std::ptr::eq(last, value));
            if is_last && is_constant {
                scope.push_constant_dynamic(name, value.clone());
            } else if is_last {
                scope.push_dynamic(name, value.clone());
            }
        }
        self.scope = scope;
        lock(&self.globals).clear();
    }

    /// Says what failed, where, and which name may have been meant.
    fn fault(&self, error: Box<EvalAltResult>) -> Fault {
        let mut error = error;
        while let EvalAltResult::ErrorInFunctionCall(_, _, inner, _) = *error {
            error = inner;
        }
        let position = error.take_position();
        let unknown = match &*error {
            EvalAltResult::ErrorVariableNotFound(name, _)
            | EvalAltResult::ErrorPropertyNotFound(name, _) => Some(name.clone()),
            EvalAltResult::ErrorFunctionNotFound(call, _) => {
                let name = call.split([' ', '(']).next();
                let name = name.filter(|name| ENTRIES.iter().all(|it| it.name() != *name));
                name.map(ToOwned::to_owned)
            }
            EvalAltResult::ErrorDotExpr(text, _) => text.split('\'').nth(1).map(ToOwned::to_owned),
            _ => None,
        };
        let mut text = match &*error {
            EvalAltResult::ErrorRuntime(why, _) | EvalAltResult::ErrorTerminated(why, _) => {
                why.to_string()
            }
            EvalAltResult::ErrorTooManyOperations(_) => {
                format!(
                    "more than {} operations; ask for less at a time",
                    self.context.limits.operations
                )
            }
            EvalAltResult::ErrorFunctionNotFound(call, _) => help::misfit(call),
            EvalAltResult::ErrorDotExpr(text, _) => match *text.split('\'').collect::<Vec<_>>() {
                [_, name, _, kind, _] => format!("there is no {name} in a {}", help::plain(kind)),
                _ => error.to_string(),
            },
            other => other.to_string(),
        };
        if let Some(near) = unknown.and_then(|name| self.nearest(&name)) {
            text.push_str(&format!("; is {near} meant?"));
        }
        Fault { text, line: position.line().unwrap_or(0), column: position.position().unwrap_or(0) }
    }

    /// The known name that is nearest to an unknown one, if any is near.
    fn nearest(&self, name: &str) -> Option<String> {
        let names = self.names().into_iter().filter(|known| known != name);
        let ranked = names.map(|known| (strsim::damerau_levenshtein(name, &known), known));
        let (distance, near) = ranked.min()?;
        (distance < name.len() && distance <= 1 + name.len() / 4).then_some(near)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        stacker::grow(STACK, || {
            self.scope.clear();
            lock(&self.globals).clear();
        });
    }
}

/// An interpreter that can do nothing but what is given to it.
fn interpreter(
    context: &Arc<Context>,
    globals: &Arc<Mutex<Scope<'static>>>,
    defaults: &Arc<Mutex<Vec<(usize, usize)>>>,
) -> Engine {
    let mut engine = Engine::new();
    let limits = context.limits;
    engine
        .set_max_operations(limits.operations)
        .set_max_string_size(limits.text)
        .set_max_array_size(limits.list)
        .set_max_map_size(limits.map)
        .set_max_call_levels(limits.depth)
        .set_max_variables(limits.variables)
        .set_max_functions(limits.variables)
        .set_max_expr_depths(64, 32)
        .set_strict_variables(false);
    // A function that holds values would hold them uncounted.
    for symbol in ["eval", "curry", "import", "export"] {
        engine.disable_symbol(symbol);
    }
    // What sleeps cannot be stopped.
    engine.register_fn("sleep", |_: rhai::INT| fail::<()>("there is no sleep here"));
    engine.register_fn("sleep", |_: rhai::FLOAT| fail::<()>("there is no sleep here"));
    let c = Arc::clone(context);
    engine.on_progress(move |operations| c.over(operations, operations % 1024 == 0));
    let c = Arc::clone(context);
    engine.on_print(move |line| c.print(line));
    let c = Arc::clone(context);
    engine.on_debug(move |line, _, _| c.print(line));
    let (globals, c) = (Arc::clone(globals), Arc::clone(context));
    #[expect(deprecated, reason = "so rhai calls what may change with it")]
    engine.on_var(move |name, _, scope| {
        // An assignment to a part of a value is nowhere else seen.
        if c.accesses.fetch_add(1, Ordering::Relaxed).is_multiple_of(ACCESSES) {
            let values = scope.scope().iter_raw().map(|(_, _, value)| weight(value, &c.limits));
            let bytes = values.sum::<Result<usize, _>>()?;
            if c.limits.memory < bytes {
                return fail(format!("the variables hold over {} bytes", c.limits.memory));
            }
        }
        let is_own = scope.scope().contains(name);
        let found = if is_own { None } else { lock(&globals).get(name).cloned() };
        Ok(found.or_else(|| (name == "tip" && !is_own).then(|| name.into())))
    });
    let defaults = Arc::clone(defaults);
    #[expect(deprecated, reason = "so rhai calls what may change with it")]
    engine.on_parse_token(move |token, position, _| match token {
        Token::Underscore if !is_at(&lock(&defaults), position) => {
            Token::Identifier(Box::new(LAST.into()))
        }
        token => token,
    });
    chain::register(&mut engine, context);
    script::register(&mut engine, context);
    worlds::register(&mut engine, context);
    range::register(&mut engine, context);
    monitor::register(&mut engine, context);
    help::register(&mut engine, context);
    register_texts(&mut engine, context);
    engine
}

/// How values look when they are printed or made part of a text.
fn register_texts(engine: &mut Engine, context: &Arc<Context>) {
    fn one<T: rhai::Variant + Clone>(engine: &mut Engine, context: &Arc<Context>) {
        for name in ["to_string", "to_debug", "print", "debug"] {
            let c = Arc::clone(context);
            engine.register_fn(name, move |it: &mut T| show(&c, &Dynamic::from(it.clone())));
        }
    }
    one::<Name>(engine, context);
    one::<Bytes>(engine, context);
    one::<BlockValue>(engine, context);
    one::<TxValue>(engine, context);
    one::<InputValue>(engine, context);
    one::<OutputValue>(engine, context);
    one::<Place>(engine, context);
    one::<CoinValue>(engine, context);
    one::<WorldValue>(engine, context);
    one::<List>(engine, context);
    one::<Forms>(engine, context);
    one::<Db>(engine, context);
    one::<rhai::Array>(engine, context);
    one::<rhai::Map>(engine, context);
}

/// The bytes that a value holds, about; those of blocks are counted elsewhere. An error if a map in it
/// has too many entries.
fn weight(value: &Dynamic, limits: &Limits) -> Result<usize, Box<EvalAltResult>> {
    if let Some(array) = value.read_lock::<rhai::Array>() {
        array.iter().map(|item| Ok(size_of::<Dynamic>() + weight(item, limits)?)).sum()
    } else if let Some(map) = value.read_lock::<rhai::Map>() {
        if limits.map < map.len() {
            return fail(format!("a map has over {} entries", limits.map));
        }
        map.iter().map(|(name, item)| Ok(64 + name.len() + weight(item, limits)?)).sum()
    } else if let Some(text) = value.read_lock::<rhai::ImmutableString>() {
        Ok(text.len())
    } else {
        Ok(value.read_lock::<rhai::Blob>().map_or(0, |blob| blob.len()))
    }
}

fn is_at(places: &[(usize, usize)], position: Position) -> bool {
    position.line().zip(position.position()).is_some_and(|place| places.contains(&place))
}
