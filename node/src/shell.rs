//! `caesure shell`: the prompt on a base, without a node or beside one.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::Path;
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

use crate::args::{Common, Shell};
use crate::prompt::Folder;
use crate::{Error, Outcome, base};

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

pub(crate) fn run(common: &Common, shell: &Shell) -> Result<Outcome, Error> {
    let folder = Folder::open(common, shell.ceiling)?;
    let mut session = Session::new(Arc::new(folder), limits());
    // A line that runs is stopped; the second signal, or one without a line, ends the program.
    let running = Arc::new(Mutex::new(false));
    let (interrupt, is_running) = (session.interrupt(), Arc::clone(&running));
    ctrlc::set_handler(move || {
        let mut is_running = is_running.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::mem::take(&mut *is_running) {
            std::process::exit(130);
        }
        interrupt.stop();
    })?;
    let run = |work: &mut dyn FnMut(&mut Session) -> Reply, session: &mut Session| {
        *running.lock().unwrap_or_else(PoisonError::into_inner) = true;
        let reply = work(session);
        *running.lock().unwrap_or_else(PoisonError::into_inner) = false;
        is_good(&reply)
    };
    let mut is_done = true;
    if let Some(path) = &shell.file {
        let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
        is_done &= run(&mut |session| session.run(&text), &mut session);
    }
    for text in &shell.expressions {
        is_done &= is_done && run(&mut |session| session.run(text), &mut session);
    }
    if shell.file.is_none() && shell.expressions.is_empty() {
        let mut line = |line: &str, session: &mut Session| run(&mut |it| it.line(line), session);
        if io::stdin().is_terminal() && io::stdout().is_terminal() {
            edit(common, &mut session, &mut line)?;
        } else {
            for text in io::stdin().lock().lines() {
                is_done &=
                    line(&text.map_err(Error::io(Path::new("standard input")))?, &mut session);
            }
            is_done &= !session.is_incomplete() || line("", &mut session);
        }
    }
    Ok(if is_done { Outcome::Done } else { Outcome::Invalid })
}

/// Shows a reply: values to standard output, errors to standard error. Returns whether it is none.
fn is_good(reply: &Reply) -> bool {
    if let caesure_prompt::Outcome::Error(fault) = &reply.outcome {
        let _ = io::stdout().write_all(reply.printed.as_bytes());
        eprintln!("{fault}");
        return false;
    }
    let _ = io::stdout().write_all(reply.to_string().as_bytes());
    true
}

type Line<'a> = dyn FnMut(&str, &mut Session) -> bool + 'a;

/// Reads lines at a terminal, with history and completion.
fn edit(common: &Common, session: &mut Session, line: &mut Line<'_>) -> Result<(), Error> {
    let failed = |error: ReadlineError| Error::Terminal(io::Error::other(error));
    let mut editor = Editor::<Names, FileHistory>::new().map_err(failed)?;
    let history = base::base_folder(common.base.as_deref())?.join("history");
    // The first time there is none.
    let _ = editor.load_history(&history);
    println(&format!(
        "caesure {}; help() lists what there is, Ctrl-D ends",
        env!("CARGO_PKG_VERSION")
    ));
    println(&format!("reading {}", session.view()));
    loop {
        editor.set_helper(Some(Names(session.names())));
        match editor.readline(if session.is_incomplete() { "... " } else { ">>> " }) {
            Ok(text) => {
                let _ = editor.add_history_entry(&text);
                line(&text, session);
            }
            Err(ReadlineError::Interrupted) => session.cancel(),
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(failed(error)),
        }
    }
    // A base that cannot be written can still be read.
    let _ = editor.save_history(&history);
    Ok(())
}

fn println(line: &str) {
    crate::print_line(&line);
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
