//! The HTTP side: connections, limits, who may ask.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::HttpBody;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use axum::routing::any;
use caesure_eventlog::{Event, Logger};
use caesure_p2p::Subnet;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};

use crate::Backend;
use crate::auth::{User, is_authorized};
use crate::envelope::{Reply, answer};

/// How the server is run.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// Who may ask.
    pub users: Vec<User>,
    /// From where, besides this machine: addresses and how many leading bits of them count.
    pub allow: Vec<(IpAddr, u8)>,
    /// How many connections there may be; more wait to be accepted.
    pub connections: usize,
    /// How many calls run at once (Core: `-rpcthreads`).
    pub threads: usize,
    /// How many more may wait for one of them; beyond that they are refused with status 503
    /// (Core: `-rpcworkqueue`).
    pub queue: usize,
    /// How long a client may take for a request, or take nothing of an answer (Core:
    /// `-rpcservertimeout`).
    pub timeout: Duration,
    /// How many bytes a request may have.
    pub body: usize,
    /// Where requests are told.
    pub logger: Logger,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            users: Vec::new(),
            allow: Vec::new(),
            connections: 256,
            threads: 16,
            queue: 64,
            timeout: Duration::from_secs(30),
            body: 32 << 20,
            logger: Logger::default(),
        }
    }
}

/// How long a client that failed to say who it is waits for that answer.
const FAILURE_DELAY: Duration = Duration::from_millis(250);

/// The block that an answer is of: its height and its hash.
const VIEW: HeaderName = HeaderName::from_static("x-caesure-view");

/// A switch that ends [`serve`]. A clone is the same switch.
#[derive(Clone, Debug)]
pub struct Stop(watch::Sender<bool>);

impl Default for Stop {
    fn default() -> Self {
        Self::new()
    }
}

impl Stop {
    /// Makes a switch that is not pressed.
    #[must_use]
    pub fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    /// Has the server answer what it was asked, and end. Calls that wait must be woken by the
    /// backend.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }

    /// Waits until it is pressed.
    pub(crate) async fn pressed(&self) {
        // The sender is held by `self`.
        let _ = self.0.subscribe().wait_for(|is| *is).await;
    }
}

/// What all requests share.
#[derive(Clone)]
struct Server {
    backend: Arc<dyn Backend>,
    options: Arc<ServeOptions>,
    /// Calls that run.
    running: Arc<Semaphore>,
    /// Calls that run or wait.
    admitted: Arc<Semaphore>,
}

/// Answers JSON-RPC over HTTP until it is stopped. Uses the thread that it is called on for all
/// connections, and up to [`ServeOptions::threads`] more for calls.
///
/// # Errors
/// When the system gives no event queue.
pub fn serve(
    listeners: Vec<TcpListener>,
    backend: Arc<dyn Backend>,
    options: ServeOptions,
    stop: &Stop,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(options.threads)
        .thread_keep_alive(Duration::from_secs(60))
        .build()?;
    let connections = Arc::new(Semaphore::new(options.connections));
    let all = u32::try_from(options.connections).unwrap_or(u32::MAX);
    let server = Server {
        backend,
        running: Arc::new(Semaphore::new(options.threads)),
        admitted: Arc::new(Semaphore::new(options.threads + options.queue)),
        options: Arc::new(options),
    };
    runtime.block_on(async {
        let mut accepting = tokio::task::JoinSet::new();
        for listener in listeners {
            listener.set_nonblocking(true)?;
            let listener = tokio::net::TcpListener::from_std(listener)?;
            let (server, connections) = (server.clone(), Arc::clone(&connections));
            accepting.spawn(accept(listener, server, connections, stop.0.subscribe()));
        }
        stop.pressed().await;
        accepting.abort_all();
        // What was asked is answered; who holds a connection without asking is not waited for.
        let _ = tokio::time::timeout(FAILURE_DELAY * 8, connections.acquire_many(all)).await;
        Ok(())
    })
}

/// Takes connections, as many as there are permits.
async fn accept(
    listener: tokio::net::TcpListener,
    server: Server,
    connections: Arc<Semaphore>,
    stop: watch::Receiver<bool>,
) {
    loop {
        let Ok(permit) = Arc::clone(&connections).acquire_owned().await else { return };
        let Ok((stream, remote)) = listener.accept().await else {
            // Without a descriptor nothing can be accepted until one is free.
            tokio::time::sleep(FAILURE_DELAY).await;
            continue;
        };
        let (server, mut stop) = (server.clone(), stop.clone());
        limit_patience(&stream, server.options.timeout);
        tokio::spawn(async move {
            let service = TowerToHyperService::new(router(server.clone(), remote));
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(server.options.timeout)
                .max_buf_size(64 << 10)
                .serve_connection(TokioIo::new(stream), service);
            let mut connection = std::pin::pin!(connection);
            // How a connection ends concerns the client alone.
            let is_over = tokio::select! {
                _ = connection.as_mut() => true,
                _ = stop.wait_for(|is| *is) => false,
            };
            if !is_over {
                connection.as_mut().graceful_shutdown();
                let _ = connection.await;
            }
            drop(permit);
        });
    }
}

/// Has the system end a connection whose client takes nothing of what was sent for so long, where it can.
pub(crate) fn limit_patience(stream: &TcpStream, patience: Duration) {
    #[cfg(target_os = "linux")]
    let _ = socket2::SockRef::from(stream).set_tcp_user_timeout(Some(patience));
    #[cfg(not(target_os = "linux"))]
    let _ = (stream, patience);
}

fn router(server: Server, remote: SocketAddr) -> Router {
    let handle = move |State(server): State<Server>, request: Request<Body>| async move {
        let logger = &server.options.logger;
        let (began, request_line) =
            (logger.now(), format!("{} {}", request.method(), request.uri()));
        let response = respond(&server, remote.ip(), request).await;
        logger.log(Event::Request {
            server: "rpc",
            remote: remote.into(),
            request: request_line,
            status: response.status().as_u16(),
            size: response.body().size_hint().exact().unwrap_or(0),
            micros: u64::try_from(logger.now() - began).unwrap_or(0),
        });
        response
    };
    Router::new().route("/", any(handle)).with_state(server)
}

/// Core: `HTTPReq_JSONRPC`.
async fn respond(server: &Server, remote: IpAddr, request: Request<Body>) -> Response<Body> {
    let options = &server.options;
    if !is_allowed(remote, &options.allow) {
        return plain(StatusCode::FORBIDDEN, "");
    }
    if request.method() != Method::POST {
        let text = "JSONRPC server handles only POST requests";
        return plain(StatusCode::METHOD_NOT_ALLOWED, text);
    }
    let given = request.headers().get(header::AUTHORIZATION);
    let is_authorized = given.is_some_and(|value| is_authorized(&options.users, value.as_bytes()));
    if !is_authorized {
        if given.is_some() {
            tokio::time::sleep(FAILURE_DELAY).await;
        }
        let mut response = plain(StatusCode::UNAUTHORIZED, "");
        let realm = HeaderValue::from_static("Basic realm=\"jsonrpc\"");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, realm);
        return response;
    }
    let Ok(_admitted) = server.admitted.try_acquire() else {
        return plain(StatusCode::SERVICE_UNAVAILABLE, "Work queue depth exceeded");
    };
    let body = axum::body::to_bytes(request.into_body(), options.body);
    let body = match tokio::time::timeout(options.timeout, body).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => return plain(StatusCode::PAYLOAD_TOO_LARGE, ""),
        Err(_) => return plain(StatusCode::REQUEST_TIMEOUT, ""),
    };
    let Some(reply) = run(server, body).await else {
        return plain(StatusCode::INTERNAL_SERVER_ERROR, "");
    };
    let is_empty = reply.body.is_empty();
    let mut response = Response::new(Body::from(reply.body));
    *response.status_mut() =
        StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    if !is_empty {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    let view = reply.session.view.map(|(height, hash)| format!("{height} {hash}"));
    if let Some(view) = view.and_then(|view| HeaderValue::from_str(&view).ok()) {
        headers.insert(VIEW, view);
    }
    response
}

/// Runs a request on a thread of the pool; none when it panicked.
async fn run(server: &Server, body: Bytes) -> Option<Reply> {
    let _running = server.running.acquire().await.ok()?;
    let backend = Arc::clone(&server.backend);
    tokio::task::spawn_blocking(move || answer(&backend, &body)).await.ok()
}

fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response
}

/// Whether an address is this machine's, or one that was allowed. Core: `ClientAllowed`.
fn is_allowed(remote: IpAddr, allow: &[(IpAddr, u8)]) -> bool {
    let is_in = |&(address, prefix): &(IpAddr, u8)| {
        Subnet::new(address.into(), prefix).is_some_and(|subnet| subnet.contains(&remote.into()))
    };
    remote.to_canonical().is_loopback() || allow.iter().any(is_in)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_and_what_was_allowed_may_ask() {
        let allow = [("10.0.0.0".parse().unwrap(), 8), ("fd00::".parse().unwrap(), 64)];
        let check = |address: &str, expected: bool| {
            assert_eq!(is_allowed(address.parse().unwrap(), &allow), expected, "{address}");
        };
        check("127.0.0.1", true);
        check("::1", true);
        check("::ffff:127.0.0.1", true);
        check("10.255.0.1", true);
        check("::ffff:10.1.2.3", true);
        check("11.0.0.1", false);
        check("fd00::1", true);
        check("fd00:0:0:1::1", false);
        check("0a00::1", false);
    }
}
