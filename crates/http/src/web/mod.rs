//! The web UI: pages about the running node, made anew for each request.
//!
//! A page is a function from a [`Visit`] to an [`Answer`]; [`PAGES`] lists them all. It runs on a
//! thread of a small pool, so it may block, and reads one world throughout: that of `at`, else the
//! tip's. Whatever changes anything is a POST with a token. Templates escape all text.

mod block;
mod charts;
mod control;
mod debugger;
mod describe;
mod digest;
mod events;
mod guard;
mod layout;
mod ledger;
mod log;
mod metrics;
mod peers;
mod prompt;
mod samples;
mod server;
mod shown;
mod status;
mod text;
mod threads;
mod transaction;
mod visit;

pub use server::{WebOptions, WebUser, serve_web};
pub(crate) use visit::{Answer, Answered, Fault, Visit};

/// What the menu calls the groups of its pages, in its order. Later ones (the transactions that
/// wait, addresses, indexes) have their place in `Chain`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    Node,
    Chain,
    Tools,
    /// In no menu: reached by links of other pages.
    None,
}

/// What answers a request for a page.
type Handler = fn(&Visit<'_>) -> Answered;

/// A page, at `/admin/NAME`, or a step below it.
#[derive(Debug)]
pub(crate) struct Page {
    /// Its part of the address.
    pub(crate) name: &'static str,
    /// What the menu calls it.
    pub(crate) label: &'static str,
    pub(crate) group: Group,
    /// Whether what it shows is replaced each second where there is JavaScript.
    pub(crate) is_live: bool,
    pub(crate) get: Handler,
    /// What a form of it does. The token has been looked at.
    pub(crate) post: Option<Handler>,
}

const fn page(name: &'static str, label: &'static str, group: Group, get: Handler) -> Page {
    Page { name, label, group, is_live: false, get, post: None }
}

const fn form(name: &'static str, label: &'static str, group: Group, both: [Handler; 2]) -> Page {
    Page { name, label, group, is_live: false, get: both[0], post: Some(both[1]) }
}

const fn live(page: Page) -> Page {
    Page { is_live: true, ..page }
}

/// All pages, in the order of the menu.
pub(crate) static PAGES: &[Page] = &[
    live(page("status", "Status", Group::Node, status::page)),
    live(page("connections", "Connections", Group::Node, peers::list)),
    live(form("peer", "Peer", Group::None, [peers::one, peers::act])),
    live(page("charts", "Charts", Group::Node, charts::page)),
    live(page("threads", "Threads", Group::Node, threads::page)),
    live(page("log", "Log", Group::Node, log::page)),
    page("block", "Blocks", Group::Chain, block::page),
    page("tx", "Transaction", Group::Chain, transaction::page),
    page("ledger", "Ledger", Group::Chain, ledger::page),
    page("diff", "Difference", Group::Chain, ledger::diff),
    page("metrics", "Metrics", Group::None, metrics::page),
    page("debug", "Scripts", Group::None, debugger::page),
    form("prompt", "Prompt", Group::Tools, [prompt::page, prompt::run]),
    form("connect", "Connect", Group::Tools, [control::ask_connect, control::connect]),
    form("save", "Save", Group::Tools, [control::ask_save, control::save]),
    form("shutdown", "Shutdown", Group::Tools, [control::ask_shutdown, control::shutdown]),
];
