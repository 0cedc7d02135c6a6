//! What stops the node, has it write, or has it connect.

use caesure_engine::Command;
use caesure_p2p::ConnectionKind;
use caesure_wire::Endpoint;
use maud::{Markup, html};

use super::{Answer, Answered, Fault, Visit};

/// Shows a form with one button, or says that it is switched off.
fn ask(visit: &Visit<'_>, title: &str, text: &str, button: &str) -> Answered {
    Answer::page(
        title,
        switched(
            visit,
            &html! {
                form method="post" action=(visit.link(visit.page.name)) {
                    (visit.token())
                    p { (text) }
                    button { (button) }
                }
            },
        ),
    )
}

/// Shows a form where the node may be changed.
pub(crate) fn switched(visit: &Visit<'_>, form: &Markup) -> Markup {
    match visit.may_change() {
        Ok(()) => form.clone(),
        Err(Fault { text, .. }) => html! { p.dim { (text) } },
    }
}

pub(crate) fn ask_shutdown(visit: &Visit<'_>) -> Answered {
    let text = "The node closes its connections, writes what it has to, and ends.";
    ask(visit, "Shutdown", text, "Stop the node")
}

pub(crate) fn shutdown(visit: &Visit<'_>) -> Answered {
    visit.may_change()?;
    visit.site.backend.stop();
    Answer::page("Shutdown", html! { p role="status" { "The node is stopping." } })
}

pub(crate) fn ask_save(visit: &Visit<'_>) -> Answered {
    let text = "The ledger is written to the disk while the node goes on, so that the next start has \
                less to do. It does so by itself now and then, and when it stops.";
    ask(visit, "Save", text, "Write a checkpoint")
}

pub(crate) fn save(visit: &Visit<'_>) -> Answered {
    visit.may_change()?;
    visit.site.backend.save();
    Answer::page("Save", html! { p role="status" { "The checkpoint is being written." } })
}

pub(crate) fn ask_connect(visit: &Visit<'_>) -> Answered {
    let port = visit.tree(|tree| tree.params().default_port)?;
    let form = html! {
        form method="post" action=(visit.link("connect")) {
            (visit.token())
            label for="host" { "Address" }
            input #host name="host" required placeholder="192.0.2.1" autocomplete="off"
                spellcheck="false" aria-describedby="hint";
            p #hint.dim {
                "IPv4, IPv6, or an onion, I2P or CJDNS address; with a port, else " (port) " is meant: "
                code { "192.0.2.1" } ", " code { "[2001:db8::1]:" (port) } "."
            }
            button { "Connect" }
        }
    };
    Answer::page("Connect", switched(visit, &form))
}

pub(crate) fn connect(visit: &Visit<'_>) -> Answered {
    let port = visit.tree(|tree| tree.params().default_port)?;
    let host = visit.field("host").unwrap_or_default();
    let endpoint = Endpoint::parse(host, port)
        .map_err(|error| Fault::bad(format!("This is not an address: {error}.")))?;
    visit.command(Command::Connect { endpoint, kind: ConnectionKind::Manual, v2: None })?;
    Ok(Answer::Redirect(visit.link("connections")))
}
