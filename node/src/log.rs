//! The node's log: its thread, and whatever is written to standard error.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, PipeReader, Read, Write, pipe, stderr};
use std::os::fd::AsFd;
use std::panic;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use caesure_eventlog::{Event, LogOptions, Logger};
use rustix::stdio::dup2_stderr;

use crate::args::{Common, Run};
use crate::config::SECRETS;
use crate::disk::spawn_as;
use crate::{Error, clock};

/// A line of standard error that is longer is cut into such pieces.
const MAX_LINE: u64 = 4 << 10;
/// The line that is the last one for the terminal.
const LET_GO: &[u8] = b"\0\n";
/// What takes longer is told.
const SLOW: Duration = Duration::from_millis(500);

/// The log and its threads. What is left when this is dropped is written by [`end`](Self::end).
pub(crate) struct Log {
    pub(crate) logger: Logger,
    writer: JoinHandle<io::Result<()>>,
    capture: Option<Capture>,
}

impl Log {
    /// Begins the log. Where it goes to a file, so does standard error.
    pub(crate) fn start(common: &Common, run: &Run) -> Result<Self, Error> {
        let mut options = LogOptions::new(clock::micros);
        options.file.clone_from(&run.logfile);
        options.is_verbose = run.verbose;
        let path = run.logfile.clone().unwrap_or_default();
        let opened = Logger::new(options, Box::new(stderr()));
        let (logger, writer) = opened.map_err(Error::io(&path))?;
        let writer = spawn_as("log", move || writer.run());
        let captured = run.logfile.as_ref().map(|_| Capture::start(&logger));
        let capture = captured.transpose().map_err(Error::io(&path))?;
        log_panics(&logger, capture.as_ref().map(|capture| Arc::clone(&capture.terminal)));
        logger.log(Event::Starting {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            network: common.network().name().to_owned(),
            // A path may be no text.
            options: arguments(
                std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()),
            ),
        });
        Ok(Self { logger, writer, capture })
    }

    /// Says how it ended, and writes all that is left.
    pub(crate) fn end(self, result: &Result<crate::Outcome, Error>) {
        drop(panic::take_hook());
        if let Some(capture) = self.capture {
            capture.end();
        }
        let reason = result.as_ref().err().map_or_else(|| "done".to_owned(), ToString::to_string);
        self.logger.log(Event::Stopped { reason });
        self.logger.close();
        if let Ok(Err(error)) = self.writer.join() {
            eprintln!("caesure: the log could not be written: {error}");
        }
    }
}

/// Says that something took long: others waited for it.
pub(crate) fn note_slow(logger: &Logger, what: &'static str, began: Instant) {
    if SLOW <= began.elapsed() {
        logger.log(Event::Slow { what, millis: clock::millis_since(began) });
    }
}

/// What is written to standard error from now on goes to the log alone.
pub(crate) fn let_go() {
    let _ = stderr().write_all(LET_GO);
}

/// Standard error as it was, while somebody may look at it.
type Terminal = Arc<Mutex<Option<File>>>;

/// Reads what this process writes to standard error, tells it to the log, and passes it on.
struct Capture {
    terminal: Terminal,
    thread: JoinHandle<()>,
}

impl Capture {
    fn start(logger: &Logger) -> io::Result<Self> {
        let before = File::from(stderr().as_fd().try_clone_to_owned()?);
        let terminal = Arc::new(Mutex::new(Some(before)));
        let (reader, writer) = pipe()?;
        dup2_stderr(&writer)?;
        let (logger, out) = (logger.clone(), Arc::clone(&terminal));
        let thread = spawn_as("stderr", move || tell_lines(reader, &logger, &out));
        Ok(Self { terminal, thread })
    }

    fn end(self) {
        restore(&self.terminal);
        // Its pipe is closed now.
        let _ = self.thread.join();
    }
}

/// Has standard error go where it went before, or nowhere.
fn restore(terminal: &Terminal) {
    let terminal = terminal.lock().unwrap_or_else(PoisonError::into_inner);
    let _ = match &*terminal {
        Some(terminal) => dup2_stderr(terminal).map_err(io::Error::from),
        None => {
            OpenOptions::new().write(true).open("/dev/null").and_then(|it| Ok(dup2_stderr(it)?))
        }
    };
}

fn tell_lines(reader: PipeReader, logger: &Logger, terminal: &Terminal) {
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    while let Ok(1..) = reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut line) {
        let mut terminal = terminal.lock().unwrap_or_else(PoisonError::into_inner);
        if line == LET_GO {
            *terminal = None;
        } else {
            if let Some(terminal) = &mut *terminal {
                // A terminal that is gone is no reason to stop.
                let _ = terminal.write_all(&line);
            }
            let text = line.strip_suffix(b"\n").unwrap_or(&line);
            logger.log(Event::Stderr { text: text.into() });
        }
        line.clear();
    }
}

/// What the program was called with, without secrets.
fn arguments(words: impl Iterator<Item = String>) -> Vec<String> {
    let mut hides_next = false;
    let show = |word: String| {
        if std::mem::take(&mut hides_next) {
            return "(secret)".to_owned();
        }
        let (name, is_long) = match word.strip_prefix("--") {
            Some(name) => (name.split('=').next().unwrap_or_default(), true),
            None => (word.strip_prefix('-').unwrap_or_default(), false),
        };
        // Of short options, that of a user alone has a secret; it may stand behind others.
        let at = if is_long { Some(name.len()) } else { name.find('u') };
        let Some(at) = at.filter(|_| !is_long || SECRETS.contains(&name)) else { return word };
        let name_ends = at + 2;
        hides_next = name_ends == word.len();
        let kept = name_ends + usize::from(is_long && !hides_next);
        if hides_next { word } else { format!("{}(secret)", &word[..kept]) }
    };
    words.map(show).collect()
}

/// A panic becomes a record, and is then told as ever.
fn log_panics(logger: &Logger, terminal: Option<Terminal>) {
    let (before, logger) = (panic::take_hook(), logger.clone());
    panic::set_hook(Box::new(move |panic| {
        let (file, line) = panic.location().map_or(("", 0), |at| (at.file(), at.line()));
        logger.log(Event::Panic {
            thread: std::thread::current().name().unwrap_or_default().to_owned(),
            text: panic.payload_as_str().unwrap_or_default().to_owned(),
            file: file.to_owned(),
            line,
        });
        logger.flush();
        // It may end the process before anybody else passes its words on.
        terminal.as_ref().inspect(|terminal| restore(terminal));
        before(panic);
    }));
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use caesure_eventlog::{RecordReader, Value};
    use clap::Parser;

    use super::*;
    use crate::Outcome;
    use crate::args::Program;

    const CHILD: &str = "CAESURE_LOG_TEST";

    fn texts(words: &[&str]) -> Vec<String> {
        arguments(words.iter().map(|&word| word.to_owned()))
    }

    #[test]
    fn arguments_are_shown_without_secrets() {
        let said = texts(&["-v", "-u", "me:secret", "--user=me:secret", "--rpcpassword", "secret"]);
        assert_eq!(said, ["-v", "-u", "(secret)", "--user=(secret)", "--rpcpassword", "(secret)"]);
        let said = texts(&["-ume:secret", "-au", "me:secret", "--rpcuser", "me", "--rpcauth=x:y"]);
        assert_eq!(
            said,
            ["-u(secret)", "-au", "(secret)", "--rpcuser", "me", "--rpcauth=(secret)"]
        );
        assert_eq!(texts(&["--", "-", "top", "--json"]), ["--", "-", "top", "--json"]);
    }

    /// What the process does that this test starts.
    fn speak_and_panic(path: &Path) {
        let words = ["caesure", "--network", "regtest", "--logfile", path.to_str().unwrap()];
        let program = Program::parse_from(words);
        let log = Log::start(&program.common, &program.run).unwrap();
        eprintln!("a line\nand another");
        let_go();
        eprintln!("for the log alone");
        assert!(log.logger.tail().wait(3, Duration::from_secs(60)));
        assert!(spawn_as("test", || panic!("something is wrong")).join().is_err());
        log.end(&Ok(Outcome::Done));
    }

    /// Lines on standard error and a panic are in the file, and on the terminal while there is one.
    #[test]
    fn what_goes_to_standard_error_becomes_records() {
        if let Some(path) = std::env::var_os(CHILD) {
            return speak_and_panic(Path::new(&path));
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.bin");
        let test = "log::tests::what_goes_to_standard_error_becomes_records";
        let output = crate::tests::run_alone(test, CHILD, &path);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{said}");
        assert!(said.contains("a line\nand another\n"), "{said}");
        assert!(!said.contains("log alone") && !said.contains("is wrong"), "{said}");

        let mut reader = RecordReader::new(File::open(&path).unwrap());
        let records: Vec<_> = std::iter::from_fn(|| reader.next_record().unwrap()).collect();
        let of = |facility: &str| -> Vec<&[Value]> {
            let records = records.iter().filter(|record| record.facility() == facility);
            records.map(|record| &record.items[1..]).collect()
        };
        let lines = ["a line", "and another", "for the log alone"].map(|line| [Value::text(line)]);
        assert_eq!(of("stderr"), lines);
        assert_eq!(of("exception").len(), 1);
        assert_eq!(of("exception")[0][2], Value::text("something is wrong"));
        assert_eq!(of("server").len(), 2, "starting and stopped");
    }
}
