//! Server-sent events: stored blocks, and pages that are kept as they are.
//!
//! A stream holds nothing but where it is: it reads on when its client has taken what came before.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Response, StatusCode, header};
use caesure_wire::BlockHash;
use futures_util::stream::unfold;
use maud::html;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, timeout};

use super::server::{Ask, Busy, Site, plain};
use super::{Answer, Fault};
use crate::backend::look;

/// After this time without an event, a line that says nothing shows whether the client is there.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Between two looks at a page that is kept as it is.
const INTERVAL: Duration = Duration::from_secs(1);
/// How many blocks are told at a time.
const BATCH: usize = 64;

/// What a stream holds for as long as it lasts, and then lets go.
#[expect(dead_code, reason = "they are held, not read")]
pub(crate) struct Held {
    pub(crate) permit: OwnedSemaphorePermit,
    pub(crate) busy: Busy,
}

/// A subscriber of stored blocks.
struct Blocks {
    site: Arc<Site>,
    /// Raised when there are more.
    grown: watch::Receiver<u64>,
    /// The number of the block that is told next.
    next: u64,
    /// What was said when it began, before any block.
    first: Option<String>,
}

/// Tells all blocks that are stored from now on; or, to one who comes back, from the block on that
/// it had last. An event's id is the block's number among those stored, and its hash.
pub(crate) async fn blocks(site: Arc<Site>, last: Option<String>, held: Held) -> Response<Body> {
    let grown = site.grown.subscribe();
    let asked = Arc::clone(&site);
    let begin = site.run(move |_| begin(&asked, last.as_deref())).await.and_then(|begun| begun);
    let (next, first) = match begin {
        Ok(begin) => begin,
        Err(error) => return super::server::fault(&error),
    };
    let blocks = Blocks { site, grown, next, first };
    stream(unfold((blocks, held), |(mut blocks, held)| async move {
        let text = blocks.next().await?;
        Some((Ok::<_, Infallible>(Bytes::from(text)), (blocks, held)))
    }))
}

/// Where a subscriber begins, and what it is told of those it lost.
fn begin(site: &Site, last: Option<&str>) -> Result<(u64, Option<String>), Fault> {
    let stored = |from, count| site.backend.stored(from, count).map_err(Fault::unreadable);
    let len = stored(u64::MAX, 0)?.len;
    let Some(last) = last else { return Ok((len, None)) };
    let read = || {
        let (number, hash) = last.split_once('-')?;
        Some((number.parse::<u64>().ok()?, hash.parse::<BlockHash>().ok()?))
    };
    let Some((number, hash)) = read() else {
        return Err(Fault::bad("Last-Event-ID is the id of an event that was sent, NUMBER-HASH."));
    };
    match stored(number, 1)?.hashes.first() {
        Some(found) if *found == hash => Ok((number + 1, None)),
        // The list of another time or another folder: what came between cannot be told.
        _ => {
            let lost = json!({ "first_missing": number.saturating_add(1), "next": len });
            Ok((len, Some(event("lost", None, &lost.to_string()))))
        }
    }
}

impl Blocks {
    async fn next(&mut self) -> Option<String> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        loop {
            self.grown.borrow_and_update();
            let from = self.next;
            match self.site.run(move |site| told(site, from)).await {
                Ok(Some((text, count))) if 0 < count => {
                    self.next += count;
                    return Some(text);
                }
                Ok(Some(_)) => {}
                Ok(None) => return None,
                // Too many pages are asked for: later.
                Err(_) => tokio::time::sleep(INTERVAL).await,
            }
            match timeout(KEEP_ALIVE, self.grown.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return None,
                Err(_) => return Some(":\n\n".to_owned()),
            }
        }
    }
}

/// Tells blocks from a number on, and how many; none when the node stops or the list is shorter.
fn told(site: &Site, from: u64) -> Option<(String, u64)> {
    let stored = site.backend.stored(from, BATCH).ok().filter(|stored| from <= stored.len)?;
    let hashes = stored.hashes.clone();
    let heights = look(&*site.backend, move |engine, _| {
        let tree = engine.sync().tree();
        let height = |hash: &BlockHash| tree.find(hash).map(|id| tree.height(id));
        hashes.iter().map(height).collect::<Vec<_>>()
    })?;
    let mut text = String::new();
    let mut number = from;
    for (hash, height) in stored.hashes.iter().zip(heights) {
        let data = json!({ "number": number, "height": height, "hash": hash.to_string() });
        text += &event("block", Some(&format!("{number}-{hash}")), &data.to_string());
        number += 1;
    }
    Some((text, number - from))
}

/// Sends what a page shows whenever it is another, at most once a second.
pub(crate) fn page(site: Arc<Site>, ask: Ask, held: Held) -> Response<Body> {
    let state = (site, Arc::new(ask), String::new(), held);
    stream(unfold(state, |(site, ask, mut last, held)| async move {
        let quiet = Instant::now();
        loop {
            tokio::time::sleep(INTERVAL).await;
            let asked = Arc::clone(&ask);
            let text = site.fragment(&ask.key(), move |site| fragment(site, &asked)).await;
            let text = text.unwrap_or_else(|| last.clone());
            let out = if text != last {
                event("part", None, &text)
            } else if KEEP_ALIVE < quiet.elapsed() {
                ":\n\n".to_owned()
            } else {
                continue;
            };
            last = text;
            return Some((Ok::<_, Infallible>(Bytes::from(out)), (site, ask, last, held)));
        }
    }))
}

fn fragment(site: &Site, ask: &Ask) -> String {
    let made = ask.clone().visit(site, |visit, handler| match handler(visit)? {
        Answer::Page { body, .. } => Ok(body),
        _ => Err(Fault::bad("This page is not kept as it is.")),
    });
    made.unwrap_or_else(|error| html! { p.fault { (error.text) } }).into_string()
}

fn event(name: &str, id: Option<&str>, data: &str) -> String {
    let mut text = format!("event: {name}\n");
    if let Some(id) = id {
        text += &format!("id: {id}\n");
    }
    for line in data.split(['\n', '\r']) {
        text += &format!("data: {line}\n");
    }
    text + "\n"
}

fn stream<S>(events: S) -> Response<Body>
where
    S: futures_util::Stream<Item = Result<Bytes, Infallible>> + Send + 'static,
{
    let mut response = Response::new(Body::from_stream(events));
    let kind = HeaderValue::from_static("text/event-stream");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// What is answered where there are too many streams. Browsers then ask no more, and the page stands
/// still.
pub(crate) fn too_many() -> Response<Body> {
    let text = "Too many pages are kept up to date at once. Close some, or load this one again.";
    let mut response = plain(StatusCode::SERVICE_UNAVAILABLE, text);
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}
