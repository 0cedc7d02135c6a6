//! The prompt, in a page.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use caesure_eventlog::Event;
use caesure_hash::hmac_sha256;
use caesure_prompt::{Limits, Session};
use caesure_text::hex;
use maud::html;

use super::{Answer, Answered, Fault, Visit};

/// How many sessions are held; the one that rested longest makes room.
const SESSIONS: usize = 8;
/// How many bytes of what was said are shown.
const SHOWN: usize = 64 << 10;
/// A page answers within this time.
const LINE_TIME: Duration = Duration::from_secs(20);

/// The sessions of all who have a prompt open.
#[derive(Default)]
pub(crate) struct Prompts {
    begun: u64,
    held: BTreeMap<String, Held>,
}

struct Held {
    user: String,
    used: Duration,
    talk: Arc<Mutex<Talk>>,
}

/// A session and what was said in it.
struct Talk {
    session: Session,
    said: String,
}

impl Prompts {
    /// Returns a user's session, or begins one.
    fn open(
        &mut self,
        visit: &Visit<'_>,
        id: Option<&str>,
    ) -> Result<(String, Arc<Mutex<Talk>>), Fault> {
        let now = visit.site.age();
        self.held.retain(|_, held| now.saturating_sub(held.used) < visit.site.options.rest);
        if let Some(id) = id {
            let held = self.held.get_mut(id).filter(|held| held.user == visit.user);
            let text = "This session has rested too long and is over. Open the prompt again.";
            let held = held.ok_or_else(|| Fault::not_found(text))?;
            held.used = now;
            return Ok((id.to_owned(), Arc::clone(&held.talk)));
        }
        let source = visit.site.backend.prompt();
        let source = source.ok_or_else(|| Fault::not_found("This node has no prompt."))?;
        if SESSIONS <= self.held.len()
            && let Some(oldest) = self.held.iter().min_by_key(|(_, held)| held.used)
        {
            let oldest = oldest.0.clone();
            self.held.remove(&oldest);
        }
        visit.site.options.logger.log(Event::Session { source: "web" });
        self.begun += 1;
        let seed = &visit.site.options.seed;
        let id = hex::encode(&hmac_sha256(seed, format!("prompt {}", self.begun).as_bytes())[..16]);
        let limits = Limits { time: LINE_TIME, output: SHOWN, ..Limits::default() };
        let mut talk = Talk { session: Session::new(source, limits), said: String::new() };
        if visit.param("at").is_some() {
            let reply = talk.session.run(&format!("at(\"{}\");", visit.world.info().hash));
            talk.said = reply.to_string();
        }
        let talk = Arc::new(Mutex::new(talk));
        let held = Held { user: visit.user.clone(), used: now, talk: Arc::clone(&talk) };
        self.held.insert(id.clone(), held);
        Ok((id, talk))
    }
}

/// An empty form. A session begins with its first line, so that a page that is only looked at costs
/// nothing.
pub(crate) fn page(visit: &Visit<'_>) -> Answered {
    show(visit, "", "", "")
}

/// Runs what the form sent, and shows all that was said.
pub(crate) fn run(visit: &Visit<'_>) -> Answered {
    let open = visit
        .site
        .prompts
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .open(visit, visit.field("session"));
    let (id, talk) = open?;
    // A line that still runs is not waited for.
    let Ok(mut talk) = talk.try_lock() else {
        return Err(Fault::bad("The last line of this session still runs. Go back and wait."));
    };
    let Talk { session, said } = &mut *talk;
    let text = visit.form.iter().find(|(name, _)| name == "text").map_or("", |(_, text)| text);
    let text = text.trim_end();
    for (index, line) in text.lines().enumerate() {
        said.push_str(if index == 0 { ">>> " } else { "... " });
        said.push_str(line);
        said.push('\n');
    }
    said.push_str(&session.run(text).to_string());
    if SHOWN < said.len() {
        let from = said.ceil_char_boundary(said.len() - SHOWN);
        said.drain(..from);
    }
    show(visit, &id, said, &session.view())
}

fn show(visit: &Visit<'_>, id: &str, said: &str, view: &str) -> Answered {
    let form = html! {
        @if !said.is_empty() {
            pre #said tabindex="0" role="log" aria-label="What was said" { (said) }
            @if !view.is_empty() { p.dim { "The last line read " (view) "." } }
        }
        form method="post" action=(visit.link("prompt")) {
            (visit.token())
            @if !id.is_empty() { input type="hidden" name="session" value=(id); }
            label for="text" { "Line, or lines" }
            textarea #text name="text" rows="4" cols="80" required autofocus[!said.is_empty()]
                spellcheck="false" autocapitalize="none" aria-describedby="hint" {}
            p #hint.dim {
                "A line may take " (LINE_TIME.as_secs()) " seconds. " code { "help()" }
                " says what there is; " code { "_" } " is the last result. A session that rests for "
                (visit.site.options.rest.as_secs() / 60) " minutes is forgotten."
            }
            button { "Run" }
        }
    };
    Answer::page("Prompt", form)
}
