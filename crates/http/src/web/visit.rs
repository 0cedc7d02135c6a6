//! A request for a page: its arguments, and the world that it reads.

use std::borrow::Cow;

use axum::http::StatusCode;
use caesure_consensus::HeaderTree;
use caesure_engine::{Command, Engine};
use caesure_ledger::World;
use caesure_p2p::Now;
use caesure_wire::BlockHash;
use form_urlencoded::byte_serialize;
use maud::{Markup, html};

use super::Page;
use super::server::Site;
use crate::backend;
use crate::call::text_of;

/// What a page answers.
#[derive(Debug)]
pub(crate) enum Answer {
    /// A page in the frame.
    Page {
        /// What stands above it, and in the window's title.
        title: String,
        /// What of it is never replaced while it is looked at.
        still: Markup,
        body: Markup,
    },
    /// Another page instead, by its address.
    Redirect(String),
    /// Something that is no page: its media type and its bytes.
    Bytes(&'static str, Vec<u8>),
}

impl Answer {
    pub(crate) fn page(title: impl Into<String>, body: Markup) -> Answered {
        Self::live(title, Markup::default(), body)
    }

    /// A page of which one part stands still.
    pub(crate) fn live(title: impl Into<String>, still: Markup, body: Markup) -> Answered {
        Ok(Self::Page { title: title.into(), still, body })
    }
}

/// Why there is no such page, in words for its reader.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) status: StatusCode,
    pub(crate) text: String,
}

impl Fault {
    /// There is nothing of that name.
    pub(crate) fn not_found(text: impl Into<String>) -> Self {
        Self { status: StatusCode::NOT_FOUND, text: text.into() }
    }

    /// What was asked has no meaning.
    pub(crate) fn bad(text: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, text: text.into() }
    }

    /// A file cannot be read.
    pub(crate) fn unreadable(error: impl std::fmt::Display) -> Self {
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, text: error.to_string() }
    }

    pub(crate) fn stopping() -> Self {
        let text = "The node is stopping.".to_owned();
        Self { status: StatusCode::SERVICE_UNAVAILABLE, text }
    }
}

/// A page, or why there is none.
pub(crate) type Answered = Result<Answer, Fault>;

/// Names and values, as they were given.
pub(crate) type Pairs = Vec<(String, String)>;

/// A request for a page.
pub(crate) struct Visit<'a> {
    pub(crate) site: &'a Site,
    pub(crate) page: &'static Page,
    /// The address without the query.
    pub(crate) address: String,
    /// What follows the page's name in the address, between the slashes.
    pub(crate) rest: Vec<String>,
    pub(crate) query: Pairs,
    /// What a form sent.
    pub(crate) form: Pairs,
    /// Who asks; empty where there are no users.
    pub(crate) user: String,
    /// The world that the page is of.
    pub(crate) world: World,
}

impl<'a> Visit<'a> {
    /// Finds the world that `at` names: the hash of a block, a height of the active chain, `tip-N`.
    pub(crate) fn find_world(site: &Site, query: &Pairs) -> Result<World, Fault> {
        let worlds = site.backend.worlds();
        let tip = worlds.tip();
        let Some(at) = value(query, "at") else { return Ok(tip) };
        let (hash, name) = (tip.info().hash, at.to_owned());
        let find = move |engine: &Engine, _: Now| {
            let tree = engine.sync().tree();
            Some(tree.hash(tree.find_named(&name, tree.find(&hash)?)?))
        };
        let found = backend::look(&*site.backend, find).ok_or_else(Fault::stopping)?;
        let Some(hash) = found else {
            let text = "at is the hash of a known block, a height up to the tip's, or tip-N.";
            return Err(Fault::bad(text));
        };
        worlds.world(&hash).ok_or_else(|| {
            let root = worlds.root();
            Fault::not_found(format!(
                "The world of block {hash} is no longer held. The oldest one held is that of block \
                 {}, height {}.",
                root.hash, root.height
            ))
        })
    }

    /// Looks into the engine, on the loop's thread: it must be short.
    pub(crate) fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Engine, Now) -> T + Send + 'static,
    ) -> Result<T, Fault> {
        backend::look(&*self.site.backend, look).ok_or_else(Fault::stopping)
    }

    /// Looks into the header tree.
    pub(crate) fn tree<T: Send + 'static>(
        &self,
        look: impl FnOnce(&HeaderTree) -> T + Send + 'static,
    ) -> Result<T, Fault> {
        self.look(move |engine, _| look(engine.sync().tree()))
    }

    /// Returns a stored block; none when it was never stored or is pruned.
    pub(crate) fn read_block(&self, hash: &BlockHash) -> Result<Option<Vec<u8>>, Fault> {
        self.site.backend.read_block(hash).map_err(Fault::unreadable)
    }

    /// Fails where the node was told to let nobody change it.
    pub(crate) fn may_change(&self) -> Result<(), Fault> {
        match self.site.backend.about().allows_commands {
            true => Ok(()),
            false => Err(Fault {
                status: StatusCode::FORBIDDEN,
                text: "What changes the node is switched off (--no-commands).".to_owned(),
            }),
        }
    }

    /// Has the engine do something, if that may be.
    pub(crate) fn command(&self, command: Command) -> Result<(), Fault> {
        self.may_change()?;
        self.site.backend.command(command).map_err(|error| Fault::bad(text_of(error)))
    }

    /// Returns a part of the address after the page's name; none where it is left out.
    pub(crate) fn arg(&self, index: usize) -> Option<&str> {
        self.rest.get(index).map(String::as_str).filter(|text| !text.is_empty())
    }

    /// Returns a value of the query; none where it is left out or empty.
    pub(crate) fn param(&self, name: &str) -> Option<&str> {
        value(&self.query, name)
    }

    /// Returns a value that a form sent; none where it is left out or empty.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        value(&self.form, name)
    }

    /// Makes the address of a page from what follows `/admin/`, with the `at` of this one.
    pub(crate) fn link(&self, path: &str) -> String {
        self.link_with(path, &[])
    }

    /// The same, with more values in its query.
    pub(crate) fn link_with(&self, path: &str, more: &[(&str, &str)]) -> String {
        let at = self.param("at").map(|at| ("at", at));
        address(&format!("/admin/{path}"), more.iter().copied().chain(at))
    }

    /// Makes a link to a block's page, with the hash as its text.
    pub(crate) fn block_link(&self, hash: &BlockHash) -> Markup {
        html! { a.hash href=(self.link(&format!("block/{hash}"))) { (hash) } }
    }

    /// Makes the field with the token that every form with POST must have.
    pub(crate) fn token(&self) -> Markup {
        html! { input type="hidden" name="token" value=(self.site.token(&self.user)); }
    }
}

/// Makes an address from a path and a query.
pub(crate) fn address<'a>(path: &str, query: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    let mut whole = path.to_owned();
    for (index, (name, value)) in query.enumerate() {
        whole.push(if index == 0 { '?' } else { '&' });
        whole += &format!("{name}={}", encoded(value));
    }
    whole
}

/// Reads a query or a form.
pub(crate) fn pairs(encoded: &[u8]) -> Pairs {
    let pairs = form_urlencoded::parse(encoded);
    pairs.map(|(name, value)| (Cow::into_owned(name), Cow::into_owned(value))).collect()
}

pub(crate) fn value<'a>(pairs: &'a Pairs, name: &str) -> Option<&'a str> {
    let found = pairs.iter().find(|(key, _)| key == name);
    found.map(|(_, value)| value.trim()).filter(|value| !value.is_empty())
}
