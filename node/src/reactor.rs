//! Sockets: bytes come in, bytes go out. Nothing here knows what they mean.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::clock;

/// How many bytes of a connection are read in one turn.
const READ_MAX: usize = 64 << 10;
/// How many connections of a listener are accepted in one turn.
const ACCEPT_MAX: usize = 32;
/// More bytes than that never wait for a peer that does not take them: it is closed.
const QUEUE_MAX: usize = 64 << 20;
/// A listener rests so long when the system has no descriptors left.
const REST: Duration = Duration::from_millis(500);
const EVENTS: usize = 1024;
const WAKER: Token = Token(usize::MAX);
/// Listeners have the numbers from here on.
const LISTENERS: usize = usize::MAX / 2;

/// What happened to a connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Happening {
    Accepted { id: u64, remote: SocketAddr, local: SocketAddr },
    Dialled { id: u64, local: SocketAddr },
    DialFailed { id: u64, reason: String },
    Received { id: u64, bytes: Vec<u8> },
    Written { id: u64, bytes: usize },
    Closed { id: u64 },
}

struct Connection {
    stream: TcpStream,
    is_connecting: bool,
    is_accepted: bool,
    /// Whether the peer has closed: what it sent before is still there, and nothing more is told.
    is_over: bool,
    /// Whether the system takes bytes, as far as we know.
    is_writable: bool,
    queue: VecDeque<Vec<u8>>,
    queued: usize,
    /// How much of the first buffer is written.
    offset: usize,
}

struct Listener {
    socket: TcpListener,
    /// Whether there may be connections to accept.
    is_pending: bool,
    rests_until: Option<Instant>,
}

/// All sockets of the node, on one thread. The system tells once that there is something to read;
/// what is not read then is remembered here.
pub(crate) struct Reactor {
    poll: Poll,
    events: Events,
    waker: Arc<Waker>,
    listeners: Vec<Listener>,
    connections: BTreeMap<u64, Connection>,
    /// Connections that may have bytes to read.
    readable: BTreeSet<u64>,
    happened: VecDeque<Happening>,
    accepted: usize,
    accepted_max: usize,
    next_accepted: u64,
    buffer: Vec<u8>,
}

impl Reactor {
    /// Accepted connections have odd numbers. When `accepted_max` of them stand, others are closed
    /// at once.
    pub(crate) fn new(accepted_max: usize) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        Ok(Self {
            poll,
            events: Events::with_capacity(EVENTS),
            waker,
            listeners: Vec::new(),
            connections: BTreeMap::new(),
            readable: BTreeSet::new(),
            happened: VecDeque::new(),
            accepted: 0,
            accepted_max,
            next_accepted: 1,
            buffer: vec![0; READ_MAX],
        })
    }

    /// Ends a turn from another thread.
    pub(crate) fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    /// Accepts connections at an address, and returns it with the port that was free if it had none.
    pub(crate) fn listen(&mut self, address: SocketAddr) -> io::Result<SocketAddr> {
        let mut socket = TcpListener::bind(address)?;
        let token = Token(LISTENERS + self.listeners.len());
        self.poll.registry().register(&mut socket, token, Interest::READABLE)?;
        let local = socket.local_addr()?;
        self.listeners.push(Listener { socket, is_pending: false, rests_until: None });
        Ok(local)
    }

    /// Connects; `Dialled` or `DialFailed` says what came of it.
    pub(crate) fn dial(&mut self, id: u64, address: SocketAddr) {
        match TcpStream::connect(address).and_then(|stream| self.add(id, stream, true)) {
            Ok(()) => {}
            Err(error) => {
                let reason = error.to_string();
                self.happened.push_back(Happening::DialFailed { id, reason });
            }
        }
    }

    /// Sends bytes, now or when the system takes them.
    pub(crate) fn send(&mut self, id: u64, bytes: Vec<u8>) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.queued += bytes.len();
        connection.queue.push_back(bytes);
        if QUEUE_MAX < connection.queued {
            self.fail(id);
        } else if connection.is_writable {
            self.flush(id);
        }
    }

    /// Closes a connection; nothing more is said of it.
    pub(crate) fn close(&mut self, id: u64) {
        self.readable.remove(&id);
        if let Some(mut connection) = self.connections.remove(&id) {
            self.accepted -= usize::from(connection.is_accepted);
            // Closing the socket takes it out of the poll in any case.
            let _ = self.poll.registry().deregister(&mut connection.stream);
        }
    }

    /// What happened, in order.
    pub(crate) fn next(&mut self) -> Option<Happening> {
        self.happened.pop_front()
    }

    /// How many connections there are, made or not.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.connections.len()
    }

    /// Waits until something happens, but not longer than `timeout`, and does what can be done at
    /// once. Only connections that `wants` says yes to are read from.
    pub(crate) fn turn(
        &mut self,
        timeout: Duration,
        wants: impl Fn(u64) -> bool,
    ) -> io::Result<()> {
        let has_work = !self.happened.is_empty()
            || self.listeners.iter().any(|it| it.is_pending && it.rests_until.is_none())
            || self.readable.iter().any(|&id| wants(id));
        let rest = self.listeners.iter().filter_map(|it| it.rests_until).min();
        let rest = rest.map(|until| until.saturating_duration_since(clock::instant()));
        let timeout = if has_work { Duration::ZERO } else { rest.unwrap_or(timeout).min(timeout) };
        let mut events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        let polled = self.poll.poll(&mut events, Some(timeout));
        for event in &events {
            self.note(event);
        }
        self.events = events;
        match polled {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        for at in 0..self.listeners.len() {
            self.accept(at);
        }
        let wanted: Vec<u64> = self.readable.iter().copied().filter(|&id| wants(id)).collect();
        for id in wanted {
            self.read(id);
        }
        Ok(())
    }

    fn note(&mut self, event: &Event) {
        let Token(token) = event.token();
        if event.token() == WAKER {
            return;
        }
        if let Some(listener) =
            token.checked_sub(LISTENERS).and_then(|at| self.listeners.get_mut(at))
        {
            listener.is_pending = true;
            return;
        }
        let id = token as u64;
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if connection.is_connecting {
            return self.conclude_dial(id);
        }
        if event.is_writable() {
            connection.is_writable = true;
            self.flush(id);
        }
        let is_over = event.is_read_closed() || event.is_write_closed() || event.is_error();
        if let Some(connection) = self.connections.get_mut(&id)
            && (event.is_readable() || is_over)
        {
            connection.is_over |= is_over;
            self.readable.insert(id);
        }
    }

    fn conclude_dial(&mut self, id: u64) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let error = match connection.stream.take_error() {
            Ok(None) => match connection.stream.peer_addr() {
                Ok(_) => None,
                // Not yet.
                Err(error) if error.kind() == ErrorKind::NotConnected => return,
                Err(error) => Some(error),
            },
            Ok(Some(error)) | Err(error) => Some(error),
        };
        let happening = match error.map_or_else(|| connection.stream.local_addr(), Err) {
            Ok(local) => {
                (connection.is_connecting, connection.is_writable) = (false, true);
                self.readable.insert(id);
                Happening::Dialled { id, local }
            }
            Err(error) => {
                self.close(id);
                Happening::DialFailed { id, reason: error.to_string() }
            }
        };
        self.happened.push_back(happening);
    }

    fn add(&mut self, id: u64, mut stream: TcpStream, is_connecting: bool) -> io::Result<()> {
        // Small messages are answers that somebody waits for. The system may not know it.
        let _ = stream.set_nodelay(true);
        let token = Token(usize::try_from(id).map_err(io::Error::other)?);
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut stream, token, interest)?;
        let connection = Connection {
            stream,
            is_connecting,
            is_accepted: !is_connecting,
            is_over: false,
            is_writable: !is_connecting,
            queue: VecDeque::new(),
            queued: 0,
            offset: 0,
        };
        self.connections.insert(id, connection);
        Ok(())
    }

    fn accept(&mut self, at: usize) {
        let listener = &mut self.listeners[at];
        if listener.rests_until.is_some_and(|until| until <= clock::instant()) {
            listener.rests_until = None;
        }
        for _ in 0..ACCEPT_MAX {
            let listener = &mut self.listeners[at];
            if !listener.is_pending || listener.rests_until.is_some() {
                return;
            }
            match listener.socket.accept() {
                Ok((stream, remote)) if self.accepted < self.accepted_max => {
                    let id = self.next_accepted;
                    self.next_accepted += 2;
                    let Ok(local) = stream.local_addr() else { continue };
                    if self.add(id, stream, false).is_ok() {
                        self.accepted += 1;
                        self.happened.push_back(Happening::Accepted { id, remote, local });
                    }
                }
                Ok(_) => {}
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => listener.is_pending = false,
                    ErrorKind::Interrupted | ErrorKind::ConnectionAborted => {}
                    // No descriptors or no memory: it gets better when others go.
                    _ => listener.rests_until = Some(clock::instant() + REST),
                },
            }
        }
    }

    fn read(&mut self, id: u64) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        match connection.stream.read(&mut self.buffer) {
            Ok(0) => self.fail(id),
            Ok(count) => {
                // There was less than there was room for: the system tells when there is more.
                if count < self.buffer.len() && !connection.is_over {
                    self.readable.remove(&id);
                }
                let bytes = self.buffer[..count].to_vec();
                self.happened.push_back(Happening::Received { id, bytes });
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock => {
                    self.readable.remove(&id);
                }
                ErrorKind::Interrupted => {}
                _ => self.fail(id),
            },
        }
    }

    fn flush(&mut self, id: u64) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let mut written = 0;
        let mut is_failed = false;
        while let Some(first) = connection.queue.front() {
            match connection.stream.write(&first[connection.offset..]) {
                Ok(count) => {
                    written += count;
                    connection.offset += count;
                    if connection.offset == first.len() {
                        connection.queue.pop_front();
                        connection.offset = 0;
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    connection.is_writable = false;
                    is_failed = error.kind() != ErrorKind::WouldBlock;
                    break;
                }
            }
        }
        connection.queued -= written;
        if 0 < written {
            self.happened.push_back(Happening::Written { id, bytes: written });
        }
        if is_failed {
            self.fail(id);
        }
    }

    /// A connection is over, and not by our will.
    fn fail(&mut self, id: u64) {
        self.close(id);
        self.happened.push_back(Happening::Closed { id });
    }
}

/// Has the system allow as many descriptors as it may, and returns how many.
pub(crate) fn allow_descriptors() -> u64 {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Where it cannot be raised, what there is may do.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
