//! What a person types, and what comes of it.

mod document;
mod language;
mod limits;
mod node;
mod worlds;

use caesure_prompt::{Outcome, Session};

/// Types lines into a session and returns all that is shown, without the last line end.
pub(crate) fn type_in(session: &mut Session, lines: &[&str]) -> String {
    let mut shown = String::new();
    for line in lines {
        shown.push_str(&session.line(line).to_string());
    }
    shown.trim_end_matches('\n').to_owned()
}

/// Types lines into a new session.
pub(crate) fn shown(lines: &[&str]) -> String {
    type_in(&mut node::session(), lines)
}

/// What a line that fails says.
pub(crate) fn fault(session: &mut Session, line: &str) -> String {
    match session.line(line).outcome {
        Outcome::Error(fault) => fault.to_string(),
        outcome => panic!("{line} gave {outcome:?}"),
    }
}
