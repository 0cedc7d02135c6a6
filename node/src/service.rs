//! The node in the background: detached from its terminal, or kept by a service manager.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::setsid;
use rustix::stdio::dup2_stdout;
use sd_notify::{NotifyState, notify, watchdog_enabled};

use crate::{Error, Outcome, clock, log};

/// The environment of the process in the background has it.
const MARK: &str = "CAESURE_DETACHED";
/// What that process writes when it works.
const READY: &str = "ready";

/// Starts this program again in the background, shows what it says until it works, and leaves it there.
/// A new program rather than a copy of this process: it begins with one thread, on every system.
pub(crate) fn start() -> Result<Outcome, Error> {
    let path = std::env::current_exe().map_err(Error::Detach)?;
    let mut command = Command::new(path);
    command.args(std::env::args_os().skip(1)).env(MARK, "1");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(Error::Detach)?;
    if let Some(mut said) = child.stderr.take() {
        // Whoever closed standard error does not want to know.
        let _ = io::copy(&mut said, &mut io::stderr());
    }
    let mut word = String::new();
    if let Some(mut output) = child.stdout.take() {
        output.read_to_string(&mut word).map_err(Error::Detach)?;
    }
    if word == READY {
        crate::print_line(&format!("caesure runs in the background, process {}", child.id()));
        return Ok(Outcome::Done);
    }
    // It has said why.
    child.wait().map_err(Error::Detach)?;
    Ok(Outcome::Invalid)
}

/// Whether this is the process in the background.
pub(crate) fn is_detached() -> bool {
    std::env::var_os(MARK).is_some()
}

/// Leaves the terminal, whose end would be the node's.
pub(crate) fn leave_terminal() -> Result<(), Error> {
    setsid().map(|_| ()).map_err(|error| Error::Detach(error.into()))
}

/// Ends the talk with the process that started this one, but for what the log still passes on.
fn let_go() -> io::Result<()> {
    let nowhere = OpenOptions::new().write(true).open("/dev/null")?;
    io::stdout().write_all(READY.as_bytes())?;
    io::stdout().flush()?;
    Ok(dup2_stdout(&nowhere)?)
}

/// The file with the number of the process, while it runs.
pub(crate) struct PidFile(PathBuf);

impl PidFile {
    /// Writes it. Whoever holds the folder's lock takes the place of one that was left behind.
    pub(crate) fn create(folder: &Path) -> Result<Self, Error> {
        let path = folder.join("caesure.pid");
        let new = folder.join("caesure.pid.new");
        fs::write(&new, number())
            .and_then(|()| fs::rename(&new, &path))
            .map_err(Error::io(&path))?;
        Ok(Self(path))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // One that has begun since has put its own into its place; what stays is replaced by the next.
        if fs::read_to_string(&self.0).is_ok_and(|it| it == number()) {
            let _ = fs::remove_file(&self.0);
        }
    }
}

fn number() -> String {
    format!("{}\n", std::process::id())
}

/// What the service manager hears (`NOTIFY_SOCKET`); without one nothing is said.
pub(crate) struct Service {
    /// How often it wants to hear that the loop turns.
    watchdog: Option<Duration>,
    told: Instant,
}

/// Between two words on how far the chain is.
const STATUS_INTERVAL: Duration = Duration::from_secs(5);

impl Service {
    pub(crate) fn new() -> Self {
        Self { watchdog: watchdog_enabled(), told: clock::instant() }
    }

    /// The node works: it listens and answers.
    pub(crate) fn ready(&self) {
        // A manager that does not listen is no reason to stop.
        let _ = notify(&[NotifyState::Ready]);
        if is_detached() {
            if let_go().is_err() {
                eprintln!("the terminal cannot be left");
            }
            log::let_go();
        }
    }

    /// Says that the loop turns and how far the chain is, if it is time.
    pub(crate) fn turn(&mut self, status: impl FnOnce() -> String) {
        let interval = self.watchdog.map_or(STATUS_INTERVAL, |it| (it / 3).min(STATUS_INTERVAL));
        if interval <= self.told.elapsed() {
            self.told = clock::instant();
            let _ = notify(&[NotifyState::Watchdog, NotifyState::Status(&status())]);
        }
    }

    /// The node stops.
    pub(crate) fn stopping(&self) {
        let _ = notify(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_file_is_taken_away_unless_it_is_of_another_process() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("caesure.pid");
        drop(PidFile::create(folder.path()).unwrap());
        assert!(!path.exists());
        let own = PidFile::create(folder.path()).unwrap();
        fs::write(&path, "1\n").unwrap();
        drop(own);
        assert_eq!(fs::read_to_string(&path).unwrap(), "1\n");
    }
}
