//! What SIGINT, SIGTERM and SIGHUP do.

use std::fs;
use std::io::{Write, stderr};
use std::sync::{Mutex, PoisonError};

use rustix::process::getpgrp;
use rustix::stdio::stdin;
use rustix::termios::{OptionalActions, tcgetattr, tcgetpgrp, tcsetattr};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::disk::spawn_as;
use crate::{Error, progress};

type Action = Box<dyn FnMut() + Send>;

static ACTION: Mutex<Option<Action>> = Mutex::new(None);

/// Has them end the program at once, unless it is said what else they do. SIGHUP does nothing where that
/// was wished before the start, as by `nohup`.
pub(crate) fn catch() -> Result<(), Error> {
    let all = [SIGINT, SIGTERM, SIGHUP];
    let signals = Signals::new(&all[..2 + usize::from(!ignores_hangup())]);
    let mut signals = signals.map_err(Error::Signals)?;
    spawn_as("signals", move || {
        for _ in signals.forever() {
            let mut action = ACTION.lock().unwrap_or_else(PoisonError::into_inner);
            action.as_mut().map_or_else(|| end(), |action| action());
        }
    });
    Ok(())
}

/// What Linux says; elsewhere it is not asked.
fn ignores_hangup() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask & 1 != 0)
}

/// Says what they do from now on.
pub(crate) fn act(action: impl FnMut() + Send + 'static) {
    *ACTION.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(action));
}

/// What makes the terminal again what it is now: who reads single keys from it changes it.
pub(crate) fn terminal() -> impl Fn() + Send + 'static {
    let before = tcgetattr(stdin()).ok();
    move || {
        // The system stops who does this in the background.
        let is_behind = tcgetpgrp(stdin()).is_ok_and(|group| group != getpgrp());
        if let Some(before) = before.as_ref().filter(|_| !is_behind) {
            let _ = tcsetattr(stdin(), OptionalActions::Now, before);
        }
    }
}

/// Ends the program, whose work was not done.
pub(crate) fn end() -> ! {
    progress::bar().finish_and_clear();
    // Its terminal may be gone.
    let _ = writeln!(stderr(), "caesure: stopped by a signal before the end");
    std::process::exit(130)
}
