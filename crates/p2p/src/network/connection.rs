use core::time::Duration;
use std::collections::VecDeque;

use caesure_wire::{Endpoint, Message, NetAddress};

use super::gossip::Gossip;
use super::{Effect, MessageTotals, Network, PeerInfo};
use crate::transport::SHORT_COMMANDS;
use crate::{ConnectionKind, NetworkKind, Now, PeerId, Socks5, Socks5Step, Transport};

/// Above so many bytes that wait to be sent, nothing of the peer's is looked into. Core:
/// `-maxsendbuffer`.
pub(super) const MAX_UNSENT: usize = 1_000_000;
/// So many bytes that came are kept unprocessed, and one chunk. Core: `-maxreceivebuffer`.
pub(super) const MAX_UNPROCESSED: usize = 5_000_000;
/// What came is put together to pieces of this size.
const CHUNK: usize = 4_096;

/// How far a connection is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stage {
    /// The system connects.
    #[default]
    Dialling,
    /// The proxy connects.
    Proxy,
    /// Messages, or the transport's handshake, go to and fro.
    Open,
}

/// A connection, or one that is being made.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(super) struct Connection {
    pub(super) info: PeerInfo,
    pub(super) stage: Stage,
    pub(super) transport: Transport,
    /// The talk with the proxy, and what it said that is not taken yet.
    pub(super) socks: Option<Box<(Socks5, Vec<u8>)>>,
    /// What the proxy is to look up, where we have no address.
    pub(super) host: Option<String>,
    /// What came, before the transport: looked at in turn with other peers.
    inbox: VecDeque<Vec<u8>>,
    inbox_bytes: usize,
    /// What was handed out to be sent, and is not yet written.
    unsent: usize,
    /// What the transport skipped, as far as it is counted.
    rejected: u64,
    /// It waits in `Network::runnable`.
    pub(super) is_runnable: bool,
    /// By which we know ourselves.
    pub(super) nonce: u64,
    /// What it is said to offer, before it says so itself.
    pub(super) offered: u64,
    pub(super) counts_failure: bool,
    pub(super) has_wanted_services: bool,
    pub(super) early_send_headers: bool,
    pub(super) early_send_cmpct: Option<Message>,
    pub(super) next_ping: Duration,
    pub(super) ping_nonce: u64,
    pub(super) is_ping_wanted: bool,
    pub(super) gossip: Option<Box<Gossip>>,
    /// It is dropped before others when there are too many.
    pub(super) is_discouraged: bool,
    /// The hash of its group under a secret key.
    pub(super) keyed_net_group: u64,
    pub(super) last_announcement: Option<Duration>,
    pub(super) is_downloading: bool,
    pub(super) is_protected: bool,
    /// Lines of the log that it may still cause.
    pub(super) log_tokens: u8,
}

impl Connection {
    /// Returns whether transactions and addresses are exchanged on such a connection.
    pub(super) const fn is_talkative(&self) -> bool {
        !matches!(self.info.kind, ConnectionKind::BlockRelay | ConnectionKind::Feeler)
    }

    /// Returns the network that the peer is reached by.
    pub(super) fn network(&self) -> NetworkKind {
        NetworkKind::of(&self.info.remote.address)
    }

    /// Returns how many bytes came that were not looked into.
    pub(super) fn unprocessed(&self) -> usize {
        self.inbox_bytes + self.transport.buffered()
    }

    /// Returns how many bytes of memory it holds, those of its queues among them.
    pub(super) fn memory(&self) -> usize {
        let counts = self.info.sent_by_message.len() + self.info.recv_by_message.len();
        let version = self.info.version.as_ref();
        size_of::<Self>()
            + self.inbox.iter().map(Vec::capacity).sum::<usize>()
            + self.inbox.capacity() * size_of::<Vec<u8>>()
            + self.transport.buffered()
            + self.gossip.as_ref().map_or(0, |gossip| gossip.memory())
            + version.map_or(0, |version| version.user_agent.capacity())
            // A node of a tree holds eleven entries, and is at least half full.
            + counts * 2 * size_of::<(&str, MessageTotals)>()
    }
}

impl Network {
    /// Makes a connection that does not stand yet.
    pub(super) fn new_connection(
        &mut self,
        peer: PeerId,
        kind: ConnectionKind,
        remote: Endpoint,
        v2: bool,
    ) -> Connection {
        let magic = self.options.params.magic;
        let transport = if kind == ConnectionKind::Inbound {
            Transport::responder(magic, v2, &mut self.random)
        } else {
            Transport::initiator(magic, v2, &mut self.random)
        };
        Connection {
            keyed_net_group: self.keyed_net_group(&remote.address),
            is_discouraged: self.bans.is_discouraged(&remote.address),
            info: PeerInfo::new(peer, kind, remote, self.now),
            transport,
            nonce: self.random.u64(),
            log_tokens: super::log::PEER_LINES,
            ..Connection::default()
        }
    }

    /// Bytes came. They are looked into by [`Network::next_event`].
    pub fn received(&mut self, peer: PeerId, mut bytes: Vec<u8>, now: Now) {
        self.now = now;
        let Some(c) = self.connections.get_mut(&peer) else { return };
        if bytes.is_empty() || c.stage == Stage::Dialling {
            return;
        }
        c.info.last_recv = Some(self.now);
        c.info.bytes_recv += bytes.len() as u64;
        self.totals.received += bytes.len() as u64;
        c.inbox_bytes += bytes.len();
        // A byte that comes alone would take many times its size.
        match c.inbox.back_mut() {
            Some(last) if last.len() + bytes.len() <= CHUNK => last.append(&mut bytes),
            _ => c.inbox.push_back(bytes),
        }
        self.make_runnable(peer);
    }

    /// Bytes of [`Effect::Send`] were handed to the system.
    pub fn written(&mut self, peer: PeerId, bytes: usize, now: Now) {
        self.now = now;
        let Some(c) = self.connections.get_mut(&peer) else { return };
        c.unsent = c.unsent.saturating_sub(bytes);
        c.info.last_send = Some(self.now);
        c.info.bytes_sent += bytes as u64;
        c.info.is_full = c.unsent > MAX_UNSENT;
        self.totals.sent += bytes as u64;
        self.make_runnable(peer);
    }

    /// Has a peer's bytes looked into in its turn, if there are any.
    fn make_runnable(&mut self, peer: PeerId) {
        let Some(c) = self.connections.get_mut(&peer) else { return };
        if !c.is_runnable && c.unprocessed() > 0 {
            c.is_runnable = true;
            self.runnable.push_back(peer);
        }
    }

    /// Looks at one message of the next peer in turn; returns whether there was a peer.
    pub(super) fn step(&mut self) -> bool {
        let Some(peer) = self.runnable.pop_front() else { return false };
        let Some(c) = self.connections.get_mut(&peer) else { return true };
        c.is_runnable = false;
        // What is written makes room for answers, and gives it another turn.
        if c.info.is_full {
            return true;
        }
        match self.next_message(peer) {
            Ok(Some((command, payload))) => self.dispatch(peer, &command, &payload),
            Ok(None) => return true,
            Err(why) => self.disconnect(peer, &why),
        }
        // Whether there is another message whole is seen in the next turn.
        self.make_runnable(peer);
        true
    }

    /// Returns the next message, feeding the transport as much as it needs and no more.
    fn next_message(&mut self, peer: PeerId) -> Result<Option<(String, Vec<u8>)>, String> {
        loop {
            let Some(c) = self.connections.get_mut(&peer) else { return Ok(None) };
            if c.stage == Stage::Open {
                let frame = c.transport.next().map_err(|e| e.to_string())?;
                let rejected = c.transport.rejected_bytes();
                if rejected > c.rejected {
                    c.info.recv_by_message.entry(OTHER).or_default().bytes += rejected - c.rejected;
                    c.rejected = rejected;
                }
                if let Some(frame) = frame {
                    let count = c.info.recv_by_message.entry(known_name(&frame.command));
                    count.or_default().add(frame.size);
                    c.info.messages_recv += 1;
                    self.trace_received(peer, &frame);
                    return Ok(Some((frame.command, frame.payload)));
                }
            }
            let Some(mut chunk) = c.inbox.pop_front() else { return Ok(None) };
            c.inbox_bytes -= chunk.len();
            if c.stage == Stage::Proxy {
                self.on_proxy_bytes(peer, &mut chunk)?;
            }
            let Some(c) = self.connections.get_mut(&peer) else { return Ok(None) };
            if c.stage == Stage::Open {
                c.transport.receive(&chunk).map_err(|e| e.to_string())?;
                c.info.transport = c.transport.kind();
                c.info.session_id = c.transport.session_id();
                self.flush(peer);
            }
        }
    }

    /// Talks with the proxy; what comes after its last word is left in `chunk`.
    fn on_proxy_bytes(&mut self, peer: PeerId, chunk: &mut Vec<u8>) -> Result<(), String> {
        loop {
            let Some(c) = self.connections.get_mut(&peer) else { return Ok(()) };
            let Some((socks, buffer)) = c.socks.as_deref_mut() else { return Ok(()) };
            buffer.append(chunk);
            match socks.receive(buffer).map_err(|e| e.to_string())? {
                Socks5Step::Wait => return Ok(()),
                Socks5Step::Send(bytes) => self.send_bytes(peer, bytes),
                Socks5Step::Connected => {
                    *chunk = core::mem::take(buffer);
                    c.socks = None;
                    self.open(peer);
                    return Ok(());
                }
            }
        }
    }

    /// Sends a message.
    pub(super) fn push(&mut self, peer: PeerId, message: &Message) {
        let Some(c) = self.connections.get_mut(&peer) else { return };
        let size = c.transport.send(message);
        self.trace_sent(peer, message.command(), size, || {
            let mut payload = Vec::new();
            message.encode_payload(&mut payload);
            payload
        });
        self.note_sent(peer, message.command(), size);
    }

    /// Counts a message that the transport took, and hands its bytes out.
    pub(super) fn note_sent(&mut self, peer: PeerId, command: &str, size: usize) {
        let Some(c) = self.connections.get_mut(&peer) else { return };
        c.info.sent_by_message.entry(known_name(command)).or_default().add(size);
        c.info.messages_sent += 1;
        self.flush(peer);
    }

    /// Hands out what the transport has to send.
    pub(super) fn flush(&mut self, peer: PeerId) {
        let Some(c) = self.connections.get_mut(&peer) else { return };
        let bytes = c.transport.take_output();
        self.send_bytes(peer, bytes);
    }

    pub(super) fn send_bytes(&mut self, peer: PeerId, mut bytes: Vec<u8>) {
        let Some(c) = self.connections.get_mut(&peer) else { return };
        if bytes.is_empty() {
            return;
        }
        c.unsent += bytes.len();
        c.info.is_full = c.unsent > MAX_UNSENT;
        match self.effects.back_mut() {
            Some(Effect::Send { peer: last, bytes: before }) if *last == peer => {
                before.append(&mut bytes);
            }
            _ => self.effects.push_back(Effect::Send { peer, bytes }),
        }
    }

    /// Returns the hash of an address's group under a secret key.
    fn keyed_net_group(&self, address: &NetAddress) -> u64 {
        caesure_hash::siphash24(self.salt.0, !self.salt.1, &crate::net_group(address))
    }
}

/// The messages without a short name on v2 connections.
const LONG_COMMANDS: &str = "getaddr sendaddrv2 sendheaders sendtxrcncl verack version wtxidrelay";
const OTHER: &str = "*other*";

/// Returns the names of all messages that are counted, those that are not answered too. Bytes are counted
/// by known names alone, whatever names peers make up.
pub fn commands() -> impl Iterator<Item = &'static str> {
    SHORT_COMMANDS.split(' ').chain(LONG_COMMANDS.split(' ')).filter(|name| !name.is_empty())
}

fn known_name(command: &str) -> &'static str {
    commands().find(|name| *name == command).unwrap_or(OTHER)
}
