//! `caesure shell`: the prompt on a base, without a node or beside one, and that of a running node.

use std::io::{self, BufRead, BufReader, ErrorKind, IsTerminal, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use caesure_prompt::{Limits, Reply, Session};
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::Validator;
use rustyline::{Context, Editor, Helper};

use crate::args::{Common, MONITOR, Shell};
use crate::monitor::{ASK_MARKS, ASK_NAMES, CTRL_C, GOOD, LINE_END, MARK, MORE, greeting};
use crate::prompt::open_folder;
use crate::{Error, Outcome, base, config, signals};

/// What one's own process may take, for nobody else waits for it.
fn limits() -> Limits {
    Limits {
        operations: 1 << 40,
        time: Duration::from_secs(24 * 60 * 60),
        text: 16 << 20,
        list: 200_000,
        map: 50_000,
        memory: 1 << 30,
        blocks: 1 << 30,
        output: 64 << 20,
        ..Limits::default()
    }
}

/// What lines are typed into.
trait Prompt {
    /// Takes a line, and shows what came of it; returns whether that is no error.
    fn line(&mut self, line: &str) -> Result<bool, Error>;

    /// Takes a whole text in the same way.
    fn text(&mut self, text: &str) -> Result<bool, Error>;

    fn is_incomplete(&self) -> bool;
    fn cancel(&mut self) -> Result<(), Error>;
    fn names(&mut self) -> Vec<String>;
    fn greeting(&self) -> String;
}

/// Whether a line runs, which Ctrl-C stops.
type Running = Arc<Mutex<bool>>;

fn set(running: &Running, to: bool) -> bool {
    std::mem::replace(&mut *running.lock().unwrap_or_else(PoisonError::into_inner), to)
}

/// Has a signal stop the line that runs; the second, or one without a line, ends the program.
fn stop_by_signal(stop: impl Fn() + Send + 'static) -> Running {
    let running = Running::default();
    let (is_running, restore) = (Arc::clone(&running), signals::terminal());
    signals::act(move || {
        let mut is_running = is_running.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::mem::take(&mut *is_running) {
            restore();
            std::process::exit(130);
        }
        stop();
    });
    running
}

/// A session of this process.
struct Own {
    session: Session,
    running: Running,
}

impl Own {
    fn run(&mut self, work: impl FnOnce(&mut Session) -> Reply) -> bool {
        set(&self.running, true);
        let reply = work(&mut self.session);
        if !set(&self.running, false) {
            self.session.cancel();
        }
        if let caesure_prompt::Outcome::Error(fault) = &reply.outcome {
            crate::print(reply.printed.as_bytes());
            eprintln!("{fault}");
            return false;
        }
        crate::print(reply.to_string().as_bytes());
        true
    }
}

impl Prompt for Own {
    fn line(&mut self, line: &str) -> Result<bool, Error> {
        Ok(self.run(|session| session.line(line)))
    }

    fn text(&mut self, text: &str) -> Result<bool, Error> {
        Ok(self.run(|session| session.run(text)))
    }

    fn is_incomplete(&self) -> bool {
        self.session.is_incomplete()
    }

    fn cancel(&mut self) -> Result<(), Error> {
        self.session.cancel();
        Ok(())
    }

    fn names(&mut self) -> Vec<String> {
        self.session.names()
    }

    fn greeting(&self) -> String {
        format!("{}\nreading {}", greeting(), self.session.view())
    }
}

/// A session of the running node.
struct Remote {
    path: PathBuf,
    stream: BufReader<UnixStream>,
    running: Running,
    is_incomplete: bool,
    greeting: String,
}

impl Remote {
    fn open(path: PathBuf) -> Result<Self, Error> {
        let open = || {
            let stream = UnixStream::connect(&path)?;
            Ok((stream.try_clone()?, stream))
        };
        let opened = open().map_err(|source| Error::Prompt { path: path.clone(), source });
        let (stream, typed) = opened?;
        // A node that is gone says so to the line that waits.
        let running = stop_by_signal(move || _ = (&typed).write_all(&[CTRL_C]));
        let stream = BufReader::new(stream);
        let mut it = Self { path, stream, running, is_incomplete: false, greeting: String::new() };
        let (said, _) = it.ask(&format!("{ASK_MARKS}\n"))?;
        said.lines().next().unwrap_or_default().clone_into(&mut it.greeting);
        Ok(it)
    }

    /// Types something, and waits for the answer. Returns it, and whether it is no error.
    fn ask(&mut self, typed: &str) -> Result<(String, bool), Error> {
        set(&self.running, true);
        let sent = self.stream.get_mut().write_all(typed.as_bytes());
        let answered = sent.and_then(|()| self.answer()).and_then(|answer| {
            // What Ctrl-C types has an answer of its own.
            if set(&self.running, false) { Ok(answer) } else { self.answer().map(|_| answer) }
        });
        answered.map_err(|source| Error::Prompt { path: self.path.clone(), source })
    }

    /// Types a line, and shows what came of it.
    fn show(&mut self, line: &str) -> Result<bool, Error> {
        let (text, is_good) = self.ask(&format!("{line}\n"))?;
        match is_good {
            true => crate::print(text.as_bytes()),
            // Nobody may listen.
            false => _ = io::stderr().write_all(text.as_bytes()),
        }
        Ok(is_good)
    }

    fn answer(&mut self) -> io::Result<(String, bool)> {
        let (mut text, mut mark) = (Vec::new(), [0]);
        self.stream.read_until(MARK, &mut text)?;
        let is_whole = text.pop_if(|last| *last == MARK).is_some();
        let text = String::from_utf8_lossy(&text).into_owned();
        if !is_whole {
            let said = text.trim_end();
            let said = if said.is_empty() { "the node has ended the session" } else { said };
            return Err(io::Error::new(ErrorKind::UnexpectedEof, said));
        }
        self.stream.read_exact(&mut mark)?;
        self.is_incomplete = mark == [MORE];
        Ok((text, self.is_incomplete || mark == [GOOD]))
    }
}

impl Prompt for Remote {
    fn line(&mut self, line: &str) -> Result<bool, Error> {
        // What stands for a key would have an answer of its own.
        self.show(&line.replace(char::is_control, " "))
    }

    fn text(&mut self, text: &str) -> Result<bool, Error> {
        let line = |line: &str| line.replace(char::is_control, " ") + LINE_END;
        self.show(&text.lines().map(line).collect::<String>())
    }

    fn is_incomplete(&self) -> bool {
        self.is_incomplete
    }

    fn cancel(&mut self) -> Result<(), Error> {
        self.ask(char::from(CTRL_C).encode_utf8(&mut [0])).map(|_| ())
    }

    fn names(&mut self) -> Vec<String> {
        // That the node is gone is said of the next line.
        let names = self.ask(&format!("{ASK_NAMES}\n")).map_or_else(|_| String::new(), |it| it.0);
        names.split(' ').map(ToOwned::to_owned).collect()
    }

    fn greeting(&self) -> String {
        self.greeting.clone()
    }
}

pub(crate) fn run(common: &Common, shell: &Shell) -> Result<Outcome, Error> {
    let mut prompt: Box<dyn Prompt> = if let Some(path) = &shell.connect {
        Box::new(Remote::open(path.clone().map_or_else(|| socket(common), Ok)?)?)
    } else {
        let session = Session::new(Arc::new(open_folder(common, shell.ceiling)?), limits());
        let interrupt = session.interrupt();
        Box::new(Own { session, running: stop_by_signal(move || interrupt.stop()) })
    };
    let mut is_done = true;
    if let Some(path) = &shell.file {
        is_done &= prompt.text(&std::fs::read_to_string(path).map_err(Error::io(path))?)?;
    }
    for text in &shell.expressions {
        is_done = is_done && prompt.text(text)?;
    }
    if shell.file.is_none() && shell.expressions.is_empty() {
        if io::stdin().is_terminal() && io::stdout().is_terminal() {
            edit(common, &mut *prompt)?;
        } else {
            for text in io::stdin().lock().lines() {
                is_done &= prompt.line(&text.map_err(Error::io(Path::new("standard input")))?)?;
            }
            is_done &= !prompt.is_incomplete() || prompt.line("")?;
        }
    }
    Ok(if is_done { Outcome::Done } else { Outcome::Invalid })
}

/// The socket where the settings have it, in the network's folder if they do not say.
fn socket(common: &Common) -> Result<PathBuf, Error> {
    let (base, file) = (common.base.as_deref(), common.config.as_deref());
    let (network, settings) = config::settings(base, file, Some(common.network()))?;
    let set = settings.get("monitor").and_then(|setting| setting.values.first());
    match set.filter(|path| !["true", "false"].contains(&path.as_str())) {
        Some(path) => Ok(path.into()),
        None => Ok(base::network_folder(base, network)?.join(MONITOR)),
    }
}

/// Reads lines at a terminal, with history and completion.
fn edit(common: &Common, prompt: &mut dyn Prompt) -> Result<(), Error> {
    let failed = |error: ReadlineError| Error::Terminal(io::Error::other(error));
    let mut editor = Editor::<Names, FileHistory>::new().map_err(failed)?;
    let history = base::base_folder(common.base.as_deref())?.join("history");
    // The first time there is none.
    let _ = editor.load_history(&history);
    crate::print_line(&prompt.greeting());
    loop {
        editor.set_helper(Some(Names(prompt.names())));
        match editor.readline(if prompt.is_incomplete() { "... " } else { ">>> " }) {
            Ok(text) => {
                // A base that cannot be written can still be read.
                let _ = editor.add_history_entry(&text);
                let _ = editor.append_history(&history);
                text.split('\n').try_for_each(|line| prompt.line(line).map(drop))?;
            }
            Err(ReadlineError::Interrupted) => prompt.cancel()?,
            Err(ReadlineError::Eof) => return Ok(()),
            Err(error) => return Err(failed(error)),
        }
    }
}

/// The names that can be completed.
struct Names(Vec<String>);

impl Completer for Names {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        at: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        let typed = line.get(..at).unwrap_or_default();
        let is_part = |char: char| char.is_ascii_alphanumeric() || char == '_';
        let from = typed.trim_end_matches(is_part).len();
        let word = &typed[from..];
        let found = self.0.iter().filter(|name| !word.is_empty() && name.starts_with(word));
        Ok((from, found.cloned().collect()))
    }
}

impl Hinter for Names {
    type Hint = String;
}
impl Highlighter for Names {}
impl Validator for Names {}
impl Helper for Names {}
