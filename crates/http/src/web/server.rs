//! The web UI's connections, limits and addresses.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::http::request::Parts;
use axum::http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header,
};
use caesure_eventlog::{Event, Logger};
use caesure_hash::hmac_sha256;
use caesure_text::hex;
use caesure_wire::BlockHash;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::Instant;

use super::digest::{Nonces, Verdict, is_basic};
use super::guard::{harden, is_own_host, is_same_origin};
use super::metrics::{ChainTxs, Latest};
use super::prompt::Prompts;
use super::samples::{STEP, Sample, Samples};
use super::visit::{Pairs, pairs, value};
use super::{Answer, Fault, PAGES, Page, Visit, events, layout};
use crate::auth::equal;
use crate::server::limit_patience;
use crate::{Backend, Stop};

pub use super::digest::WebUser;

/// How the web UI is served.
#[derive(Clone, Debug)]
pub struct WebOptions {
    /// Who may use it; anybody who reaches it where there are none.
    pub users: Vec<WebUser>,
    /// Names of this machine that browsers may use, besides `localhost` and addresses.
    pub hosts: Vec<String>,
    /// Where answered requests are told.
    pub logger: Logger,
    /// Random bytes, that nonces and tokens are made from.
    pub seed: [u8; 32],
    /// How many connections there may be; beyond that, one that waits longest for a request is
    /// closed.
    pub connections: usize,
    /// How many of them may be streams of events; more are refused with status 503.
    pub streams: usize,
    /// How many pages are made at once.
    pub threads: usize,
    /// How many more may wait; beyond that they are refused with status 503.
    pub queue: usize,
    /// How long a client may take for a request.
    pub timeout: Duration,
    /// How long a client may take nothing of what was sent, where the system can tell (Linux).
    pub patience: Duration,
    /// How long a session of the prompt may rest.
    pub rest: Duration,
    /// How many bytes a form may have.
    pub body: usize,
}

impl WebOptions {
    /// Makes options with the usual limits and no users.
    #[must_use]
    pub fn new(seed: [u8; 32]) -> Self {
        Self {
            users: Vec::new(),
            hosts: Vec::new(),
            logger: Logger::default(),
            seed,
            connections: 192,
            streams: 32,
            threads: 4,
            queue: 64,
            timeout: Duration::from_secs(10),
            patience: Duration::from_secs(30),
            rest: Duration::from_secs(1800),
            body: 256 << 10,
        }
    }
}

/// How long a client that failed to say who it is waits for that answer.
const FAILURE_DELAY: Duration = Duration::from_millis(250);
/// How many bytes the head of a request may have.
const HEAD: usize = 16 << 10;
/// How many characters of a request are told to the log.
const LINE: usize = 200;

/// How long a part of a page is shown to all who have it open.
const FRAGMENT_AGE: Duration = Duration::from_millis(900);
/// How often it is seen to whether blocks were stored, where the tip stays.
const WATCH: Duration = Duration::from_secs(1);

/// What all requests share.
pub(crate) struct Site {
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) options: WebOptions,
    /// How many blocks are stored, as far as was seen.
    pub(crate) grown: watch::Sender<u64>,
    /// Prompts that were begun.
    pub(crate) prompts: Mutex<Prompts>,
    started: Instant,
    samples: Mutex<Samples>,
    /// What was counted of the last tip's block.
    pub(crate) latest: Mutex<Latest>,
    /// How many transactions the chain has, as far as they were counted.
    pub(crate) chain_txs: Mutex<ChainTxs>,
    /// Parts of pages that streams have sent, and when they were made.
    fragments: tokio::sync::Mutex<BTreeMap<String, (Instant, String)>>,
    streams: Arc<Semaphore>,
    nonces: Mutex<Nonces>,
    /// Pages that are made.
    running: Semaphore,
    /// Pages that are made or wait.
    admitted: Semaphore,
}

impl Site {
    fn new(backend: Arc<dyn Backend>, options: WebOptions) -> Self {
        Self {
            backend,
            grown: watch::Sender::new(0),
            prompts: Mutex::default(),
            started: Instant::now(),
            samples: Mutex::default(),
            latest: Mutex::default(),
            chain_txs: Mutex::default(),
            fragments: tokio::sync::Mutex::default(),
            streams: Arc::new(Semaphore::new(options.streams)),
            nonces: Mutex::new(Nonces::new(hmac_sha256(&options.seed, b"nonces"))),
            running: Semaphore::new(options.threads),
            admitted: Semaphore::new(options.threads + options.queue),
            options,
        }
    }

    /// Makes the token that a user's forms carry. It is another in each process.
    pub(crate) fn token(&self, user: &str) -> String {
        hex::encode(&hmac_sha256(&self.options.seed, format!("token {user}").as_bytes()))
    }

    /// Returns who asks; else the answer that wants to know it.
    async fn user(&self, request: &Parts) -> Result<String, Response<Body>> {
        let users = &self.options.users;
        if users.is_empty() {
            return Ok(String::new());
        }
        let given = request.headers.get(header::AUTHORIZATION);
        // A name may have any letters.
        let given = given.and_then(|given| std::str::from_utf8(given.as_bytes()).ok());
        let is_metrics = request.uri.path() == "/metrics";
        let target = request.uri.path_and_query().map_or("/", |target| target.as_str());
        let verdict = match given {
            Some(given) if is_metrics && is_basic(users, given) => Verdict::User(String::new()),
            Some(given) => {
                let request = (request.method.as_str(), target);
                self.nonces().judge(users, given, request, self.started.elapsed())
            }
            None => Verdict::Refused,
        };
        if let Verdict::User(user) = verdict {
            return Ok(user);
        }
        if given.is_some() && verdict == Verdict::Refused {
            tokio::time::sleep(FAILURE_DELAY).await;
        }
        let is_stale = verdict == Verdict::Stale;
        let challenge = self.nonces().challenge(self.started.elapsed(), is_stale);
        let mut response = plain(StatusCode::UNAUTHORIZED, "A name and its password are needed.");
        let headers = response.headers_mut();
        for text in [Some(&*challenge), is_metrics.then_some("Basic realm=\"caesure\"")] {
            if let Some(value) = text.and_then(|text| HeaderValue::from_str(text).ok()) {
                headers.append(header::WWW_AUTHENTICATE, value);
            }
        }
        Err(response)
    }

    fn nonces(&self) -> std::sync::MutexGuard<'_, Nonces> {
        self.nonces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection: who may close it, and how many of its requests are being answered.
#[derive(Default)]
struct Client {
    close: Notify,
    busy: AtomicUsize,
}

/// Counts a request for as long as it is answered.
pub(crate) struct Busy(Arc<Client>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The connections that there are, by age.
type Clients = Arc<Mutex<VecDeque<Arc<Client>>>>;

/// Serves the web UI until it is stopped. Uses the thread that it is called on for all connections,
/// and up to [`WebOptions::threads`] and a few more for pages.
///
/// # Errors
/// When the system gives no event queue.
pub fn serve_web(
    listeners: Vec<TcpListener>,
    backend: Arc<dyn Backend>,
    options: WebOptions,
    stop: &Stop,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(options.threads + 2)
        .thread_keep_alive(Duration::from_secs(60))
        .build()?;
    let site = Arc::new(Site::new(backend, options));
    let clients = Clients::default();
    let end = runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for listener in listeners {
            listener.set_nonblocking(true)?;
            let listener = tokio::net::TcpListener::from_std(listener)?;
            tasks.spawn(accept(listener, Arc::clone(&site), Arc::clone(&clients)));
        }
        tasks.spawn(Arc::clone(&site).watch_blocks());
        tasks.spawn(Arc::clone(&site).sample());
        stop.pressed().await;
        tasks.abort_all();
        Ok(())
    });
    // A page that is being made is not waited for longer than this.
    runtime.shutdown_timeout(FAILURE_DELAY * 8);
    end
}

/// Takes connections. Where there are too many, one that waits for a request makes room.
async fn accept(listener: tokio::net::TcpListener, site: Arc<Site>, clients: Clients) {
    let room = Arc::new(Semaphore::new(site.options.connections));
    loop {
        let Ok((stream, remote)) = listener.accept().await else {
            // Without a descriptor nothing can be accepted until one is free.
            tokio::time::sleep(FAILURE_DELAY).await;
            continue;
        };
        if room.available_permits() == 0 {
            let clients = clients.lock().unwrap_or_else(PoisonError::into_inner);
            let idle = clients.iter().find(|client| client.busy.load(Ordering::Relaxed) == 0);
            if let Some(idle) = idle {
                idle.close.notify_one();
            }
        }
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        limit_patience(&stream, site.options.patience);
        let client = Arc::new(Client::default());
        let list = Arc::clone(&clients);
        list.lock().unwrap_or_else(PoisonError::into_inner).push_back(Arc::clone(&client));
        let site = Arc::clone(&site);
        tokio::spawn(async move {
            let service = TowerToHyperService::new(router(&site, &client, remote));
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(site.options.timeout)
                .max_buf_size(HEAD)
                .serve_connection(TokioIo::new(stream), service);
            // How a connection ends concerns the client alone.
            tokio::select! {
                _ = connection => {}
                () = client.close.notified() => {}
            }
            let mut clients = list.lock().unwrap_or_else(PoisonError::into_inner);
            clients.retain(|other| !Arc::ptr_eq(other, &client));
            drop(permit);
        });
    }
}

fn router(site: &Arc<Site>, client: &Arc<Client>, remote: SocketAddr) -> Router {
    let (site, client) = (Arc::clone(site), Arc::clone(client));
    Router::new().fallback(move |request: Request<Body>| async move {
        client.busy.fetch_add(1, Ordering::Relaxed);
        let busy = Busy(client);
        let logger = &site.options.logger;
        let (began, is_metrics) = (logger.now(), request.uri().path() == "/metrics");
        let line = format!("{} {}", request.method(), request.uri());
        let mut response = respond(&site, request, busy).await;
        harden(response.headers_mut());
        logger.log(Event::Request {
            server: if is_metrics { "metrics" } else { "web" },
            remote: remote.into(),
            request: line.chars().take(LINE).collect(),
            status: response.status().as_u16(),
            size: response.body().size_hint().exact().unwrap_or(0),
            micros: u64::try_from(logger.now() - began).unwrap_or(0),
        });
        response
    })
}

async fn respond(site: &Arc<Site>, request: Request<Body>, busy: Busy) -> Response<Body> {
    let (request, body) = request.into_parts();
    if 1 < request.headers.get_all(header::HOST).iter().count() {
        return plain(StatusCode::BAD_REQUEST, "A request names one host.");
    }
    let host = request.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.unwrap_or_default().to_owned();
    if !is_own_host(&host, &site.options.hosts) {
        let text = "This server is asked by an address, localhost or the machine's own name.";
        return plain(StatusCode::MISDIRECTED_REQUEST, text);
    }
    let user = match site.user(&request).await {
        Ok(user) => user,
        Err(response) => return response,
    };
    let is_post = request.method == Method::POST;
    if !is_post && ![Method::GET, Method::HEAD].contains(&request.method) {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "Pages are asked for with GET or POST.");
    }
    let address = request.uri.path().to_owned();
    let query = pairs(request.uri.query().unwrap_or_default().as_bytes());
    match &*address {
        "/" | "/admin" => return redirect("/admin/"),
        "/favicon.ico" => return bytes("image/svg+xml", layout::ICON.into()),
        "/admin/style.css" => return bytes("text/css; charset=utf-8", layout::STYLE.into()),
        "/admin/live.js" => return bytes("text/javascript; charset=utf-8", layout::SCRIPT.into()),
        _ => {}
    }
    if address == "/admin/events" && !is_post {
        return events(site, (user, &request.headers), query, busy).await;
    }
    let Some(page) = find(&address) else {
        return fault(&Fault::not_found("There is no page of this address."));
    };
    let mut form = Pairs::new();
    if is_post {
        let is_own = is_same_origin(&request.headers, &host);
        let body = axum::body::to_bytes(body, site.options.body);
        form = match tokio::time::timeout(site.options.timeout, body).await {
            Ok(Ok(body)) => pairs(&body),
            Ok(Err(_)) => return plain(StatusCode::PAYLOAD_TOO_LARGE, "The form is too long."),
            Err(_) => return plain(StatusCode::REQUEST_TIMEOUT, "The form did not come in time."),
        };
        let token = value(&form, "token").unwrap_or_default();
        if !is_own || !equal(token.as_bytes(), site.token(&user).as_bytes()) {
            let text = "This form is not one of this server's, or is of an earlier run. Go back, \
                        load the page again and send it anew.";
            return fault(&Fault { status: StatusCode::FORBIDDEN, text: text.into() });
        }
    }
    let ask = Ask { page, is_post, user, address, query, form };
    let _busy = busy;
    site.run(move |site| ask.answer(site)).await.unwrap_or_else(|error| fault(&error))
}

/// Answers with a stream of events: of the page that `of` names, or of stored blocks.
async fn events(
    site: &Arc<Site>,
    (user, headers): (String, &HeaderMap),
    query: Pairs,
    busy: Busy,
) -> Response<Body> {
    let Ok(permit) = Arc::clone(&site.streams).try_acquire_owned() else {
        return events::too_many();
    };
    let held = events::Held { permit, busy };
    let Some(address) = value(&query, "of").map(ToOwned::to_owned) else {
        let last = headers.get("last-event-id").and_then(|last| last.to_str().ok());
        let last = last.map(ToOwned::to_owned);
        let last = last.or_else(|| value(&query, "after").map(ToOwned::to_owned));
        return events::blocks(Arc::clone(site), last, held).await;
    };
    let Some(page) = find(&address).filter(|page| page.is_live) else {
        return fault(&Fault::not_found("There is no such page that is kept up to date."));
    };
    let ask = Ask { page, is_post: false, user, address, query, form: Pairs::new() };
    events::page(Arc::clone(site), ask, held)
}

/// A request for a page, on its way to a thread.
#[derive(Clone)]
pub(crate) struct Ask {
    pub(crate) page: &'static Page,
    pub(crate) is_post: bool,
    pub(crate) user: String,
    pub(crate) address: String,
    pub(crate) query: Pairs,
    pub(crate) form: Pairs,
}

impl Ask {
    /// A text that is another for every other page.
    pub(crate) fn key(&self) -> String {
        format!("{:?}", (&self.user, &self.address, &self.query))
    }

    fn answer(self, site: &Site) -> Response<Body> {
        self.visit(site, |visit, handler| {
            let answer = handler(visit)?;
            let info = visit.world.info();
            let view = format!("{} {}", info.height, info.hash);
            let mut response = match answer {
                Answer::Page { title, still, body } => {
                    let page = layout::frame(visit, &title, &[still, body]).into_string();
                    bytes("text/html; charset=utf-8", page.into())
                }
                Answer::Redirect(address) => redirect(&address),
                Answer::Bytes(kind, content) => bytes(kind, content.into()),
            };
            if let Ok(value) = HeaderValue::from_str(&view) {
                response.headers_mut().insert(HeaderName::from_static("x-caesure-view"), value);
            }
            Ok(response)
        })
        .unwrap_or_else(|error| fault(&error))
    }

    /// Has something done with the page that is asked for.
    pub(crate) fn visit<T>(
        self,
        site: &Site,
        act: impl FnOnce(&Visit<'_>, super::Handler) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let handler = match self.is_post {
            true => self.page.post.ok_or_else(|| Fault::bad("This page has no form."))?,
            false => self.page.get,
        };
        let world = Visit::find_world(site, &self.query)?;
        let rest = self.address.strip_prefix("/admin/").unwrap_or_default();
        let rest = rest.split('/').skip(1).map(ToOwned::to_owned).collect();
        let Self { page, address, query, form, user, .. } = self;
        act(&Visit { site, page, address, rest, query, form, user, world }, handler)
    }
}

impl Site {
    /// Returns the samples that are held.
    pub(crate) fn samples(&self) -> Samples {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns how long the server runs.
    pub(crate) fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// Does something on a thread of the pool.
    pub(crate) async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        make: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Result<T, Fault> {
        let fail = |status, text: &str| Fault { status, text: text.to_owned() };
        let busy =
            |_| fail(StatusCode::SERVICE_UNAVAILABLE, "Too many pages are asked for at once.");
        let _admitted = self.admitted.try_acquire().map_err(busy)?;
        let _running = self.running.acquire().await.map_err(|_| Fault::stopping())?;
        let site = Arc::clone(self);
        let made = tokio::task::spawn_blocking(move || make(&site)).await;
        made.map_err(|_| fail(StatusCode::INTERNAL_SERVER_ERROR, "This page has a fault."))
    }

    /// Makes a part of a page, unless it was made just now; none where too much is asked at once.
    pub(crate) async fn fragment(
        self: &Arc<Self>,
        key: &str,
        make: impl FnOnce(&Self) -> String + Send + 'static,
    ) -> Option<String> {
        let mut held = self.fragments.lock().await;
        held.retain(|_, (at, _)| at.elapsed() < FRAGMENT_AGE);
        if let Some((_, text)) = held.get(key) {
            return Some(text.clone());
        }
        let text = self.run(make).await.ok()?;
        held.insert(key.to_owned(), (Instant::now(), text.clone()));
        Some(text)
    }

    /// Watches for stored blocks, until the node stops.
    async fn watch_blocks(self: Arc<Self>) {
        let mut tip = BlockHash::ZERO;
        while !self.backend.is_stopping() {
            let site = Arc::clone(&self);
            let look = move || {
                let tip = site.backend.wait_for_tip(tip, WATCH);
                (tip, site.backend.stored(u64::MAX, 0))
            };
            let Ok((seen, stored)) = tokio::task::spawn_blocking(look).await else { return };
            tip = seen;
            if let Ok(stored) = stored {
                self.grown.send_if_modified(|len| std::mem::replace(len, stored.len) != stored.len);
            }
            tokio::time::sleep(FAILURE_DELAY).await;
        }
    }

    /// Counts every few seconds, until the node stops.
    async fn sample(self: Arc<Self>) {
        loop {
            let site = Arc::clone(&self);
            let take = move || {
                ChainTxs::count(&site, ChainTxs::MANY);
                Sample::take(&*site.backend)
            };
            let taken = tokio::task::spawn_blocking(take).await;
            let Ok(Some(sample)) = taken else { return };
            self.samples.lock().unwrap_or_else(PoisonError::into_inner).push(sample);
            tokio::time::sleep(STEP).await;
        }
    }
}

/// Finds the page of an address: `/admin/` is the first one, `/metrics` is one too.
fn find(address: &str) -> Option<&'static Page> {
    let name = match address.strip_prefix("/admin/") {
        Some(rest) => rest.split('/').next().unwrap_or_default(),
        None if address == "/metrics" => "metrics",
        None => return None,
    };
    let name = if name.is_empty() { "status" } else { name };
    PAGES.iter().find(|page| page.name == name)
}

pub(crate) fn fault(fault: &Fault) -> Response<Body> {
    let page = layout::fault(fault).into_string();
    let mut response = bytes("text/html; charset=utf-8", page.into());
    *response.status_mut() = fault.status;
    response
}

fn redirect(address: &str) -> Response<Body> {
    let mut response = plain(StatusCode::SEE_OTHER, "");
    let value = HeaderValue::from_str(address).unwrap_or(HeaderValue::from_static("/admin/"));
    response.headers_mut().insert(header::LOCATION, value);
    response
}

fn bytes(kind: &'static str, content: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::from(content));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

pub(crate) fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = bytes("text/plain; charset=utf-8", text.into());
    *response.status_mut() = status;
    response
}
