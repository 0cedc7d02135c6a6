//! What SIGINT, SIGTERM and SIGHUP do.

use std::sync::{Mutex, PoisonError};

use crate::{Error, progress};

type Action = Box<dyn FnMut() + Send>;

static ACTION: Mutex<Option<Action>> = Mutex::new(None);

/// Has them end the program at once, unless it is said what else they do.
pub(crate) fn catch() -> Result<(), Error> {
    Ok(ctrlc::set_handler(|| {
        let mut action = ACTION.lock().unwrap_or_else(PoisonError::into_inner);
        action.as_mut().map_or_else(|| end(), |action| action());
    })?)
}

/// Says what they do from now on.
pub(crate) fn act(action: impl FnMut() + Send + 'static) {
    *ACTION.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(action));
}

/// Ends the program, whose work was not done.
pub(crate) fn end() -> ! {
    progress::bar().finish_and_clear();
    eprintln!("caesure: stopped by a signal before the end");
    std::process::exit(130)
}
