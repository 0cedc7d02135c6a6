//! All connections below the level of the chain: who is dialled and accepted, handshakes, pings,
//! addresses, bans, limits.

mod accepting;
mod commands;
mod connection;
mod dialling;
mod event;
mod gossip;
mod handshake;
mod keep_alive;
mod log;
mod options;
mod peer_info;
mod seeding;

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use caesure_wire::{DecodeError, Endpoint, Message};

pub use self::connection::commands;
use self::connection::{Connection, Stage};
use self::dialling::{Added, Dialler};
pub use self::event::{Effect, Event, NetworkError};
use self::gossip::Answers;
use self::log::{LINES, Tokens};
pub use self::options::{NetworkOptions, SavedFiles};
pub use self::peer_info::{MessageTotals, PeerInfo};
use self::seeding::Seeding;
use crate::{
    AddressBook, Bans, ConnectionKind, Now, PeerId, Random, anchors_from_bytes, anchors_to_bytes,
    is_local,
};

/// How often the address book is saved. Core: `DUMP_PEERS_INTERVAL`.
const SAVE_INTERVAL: Duration = Duration::from_mins(15);

/// A node that a connection is kept to (`getaddednodeinfo`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddedNode {
    /// The node.
    pub endpoint: Endpoint,
    /// The connection to it, if one stands.
    pub peer: Option<PeerId>,
}

/// Bytes over all connections since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Sent.
    pub sent: u64,
    /// Received.
    pub received: u64,
}

/// All connections of a node. Core: `CConnman`, and what `PeerManagerImpl` does without the chain.
///
/// Inputs say what happened outside; then [`Network::next_event`] is called until it has no more,
/// and [`Network::next_effect`] likewise. [`Network::deadline`] says when [`Network::tick`] is
/// wanted next. The same inputs and the same seed give the same outputs.
///
/// A peer's bytes wait as they came until its turn, and while more than 1 MB waits to be sent to it;
/// [`Network::wants_bytes`] says no at 5 MB. What is queued to be sent is thus at most 1 MB and one
/// message's answer.
#[derive(Debug)]
pub struct Network {
    options: NetworkOptions,
    is_active: bool,
    now: Now,
    random: Random,
    /// Salts hashes whose results peers may not foresee.
    salt: (u64, u64),
    next_id: u64,
    connections: BTreeMap<PeerId, Connection>,
    /// Those with bytes to be looked into, in turn.
    runnable: VecDeque<PeerId>,
    events: VecDeque<Event>,
    effects: VecDeque<Effect>,
    book: AddressBook,
    bans: Bans,
    dialler: Dialler,
    seeding: Seeding,
    /// Where we can be reached, and how often that was confirmed.
    local: BTreeMap<Endpoint, u32>,
    answers: Answers,
    height: u32,
    tip_time: u32,
    is_initial_download: bool,
    totals: Totals,
    log_limit: Tokens,
    /// Events of peers that were not logged since the last one that was.
    left_out: u64,
    last_tick: Duration,
    next_tick: Duration,
    next_save: Duration,
}

impl Network {
    /// Makes a network without connections. What was saved and is damaged is said in an
    /// [`Effect::Log`] and left out.
    #[must_use]
    pub fn new(options: NetworkOptions, saved: SavedFiles, mut random: Random, now: Now) -> Self {
        let local = options.listen.iter().filter(|own| crate::is_routable(&own.address));
        let mut network = Self {
            is_active: true,
            now,
            salt: (random.u64(), random.u64()),
            next_id: 0,
            connections: BTreeMap::new(),
            runnable: VecDeque::new(),
            events: VecDeque::new(),
            effects: VecDeque::new(),
            book: AddressBook::new(random.bytes()),
            bans: Bans::new(&mut random),
            dialler: Dialler::default(),
            seeding: Seeding::default(),
            local: local.map(|own| (own.clone(), 1)).collect(),
            answers: BTreeMap::new(),
            height: 0,
            tip_time: 0,
            is_initial_download: true,
            totals: Totals::default(),
            log_limit: Tokens::new(LINES, now.mono),
            left_out: 0,
            last_tick: now.mono,
            next_tick: now.mono,
            next_save: now.mono + SAVE_INTERVAL,
            random,
            options,
        };
        network.load(saved);
        network.dialler.start(&mut network.random, now.mono);
        for endpoint in network.options.connect.clone() {
            network.dialler.added.insert(endpoint, Added::new(None, now.mono));
        }
        network.seeding = network.new_seeding();
        network
    }

    fn load(&mut self, saved: SavedFiles) {
        let damaged =
            |file, e: crate::SavedError| log::Event::FileDamaged { file, reason: e.to_string() };
        match saved.peers.map(|bytes| AddressBook::from_bytes(&bytes)) {
            Some(Ok(book)) => self.book = book,
            Some(Err(e)) => self.log(damaged("peers.bin", e)),
            None => {}
        }
        match saved.bans.map(|bytes| Bans::from_bytes(&bytes, &mut self.random)) {
            Some(Ok(bans)) => self.bans = bans,
            Some(Err(e)) => self.log(damaged("bans.bin", e)),
            None => {}
        }
        self.bans.sweep(self.now.unix);
        match saved.anchors.map(|bytes| anchors_from_bytes(&bytes)) {
            Some(Ok(anchors)) => {
                self.dialler.anchors = anchors;
                // They are for one start: what ends in a crash is begun without them.
                self.save_anchors(&[]);
            }
            Some(Err(e)) => self.log(damaged("anchors.bin", e)),
            None => {}
        }
    }

    /// A connection that was asked for could not be made.
    pub fn dial_failed(&mut self, peer: PeerId, reason: &str, now: Now) {
        self.now = now;
        if self.connections.get(&peer).is_some_and(|c| c.stage == Stage::Dialling) {
            self.remove(peer, reason, false);
        }
    }

    /// The peer closed, or the connection failed.
    pub fn closed(&mut self, peer: PeerId, now: Now) {
        self.now = now;
        self.remove(peer, "it closed", false);
    }

    /// Does what is due: dials, pings, timeouts, addresses, files.
    pub fn tick(&mut self, now: Now) {
        self.now = now;
        self.last_tick = now.mono;
        self.next_tick = Duration::MAX;
        if now.mono >= self.next_save {
            self.save_book();
        }
        let seeding = self.seed_due();
        let dialling = self.dial_due();
        let next = self.keep_alive().min(dialling).min(seeding).min(self.next_save);
        // Not more often than dials are made, however much there is to do.
        self.next_tick = self.next_tick.min(next).max(now.mono + dialling::DIAL_INTERVAL);
    }

    /// Returns when [`Network::tick`] is wanted next, by [`Now::mono`].
    #[must_use]
    pub const fn deadline(&self) -> Duration {
        self.next_tick
    }

    /// Has the next tick come soon.
    fn hurry(&mut self) {
        self.next_tick = self.next_tick.min(self.last_tick + dialling::DIAL_INTERVAL);
    }

    /// Returns what happened next: of each peer's messages one in turn. Messages that are not about
    /// the chain are answered here, and not told.
    pub fn next_event(&mut self, now: Now) -> Option<Event> {
        self.now = now;
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            if !self.step() {
                return None;
            }
        }
    }

    /// Returns what is to be done next.
    pub fn next_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Returns whether more may be read from the peer: what waits unprocessed is under its limit of
    /// 5 MB. Asked again after each [`Network::next_event`] that gave nothing.
    #[must_use]
    pub fn wants_bytes(&self, peer: PeerId) -> bool {
        let c = self.connections.get(&peer);
        c.is_some_and(|c| c.unprocessed() < connection::MAX_UNPROCESSED)
    }

    /// Sends a message, unless the peer is gone or its handshake is not complete.
    pub fn send(&mut self, peer: PeerId, message: &Message) {
        if self.connections.get(&peer).is_some_and(|c| c.info.is_ready) {
            self.push(peer, message);
        }
    }

    /// Closes a connection to a peer that broke the protocol, and all others to its address, which
    /// is discouraged. Peers that the user named are left alone; of those on our own machine only
    /// this connection is closed. Core: `Misbehaving`, `MaybeDiscourageAndDisconnect`.
    pub fn punish(&mut self, peer: PeerId, why: &str) {
        let Some(c) = self.connections.get(&peer) else { return };
        let address = c.info.remote.address.clone();
        let is_manual = c.info.kind == ConnectionKind::Manual;
        let reason = log::text(why.as_bytes());
        self.log_peer(peer, |peer, remote| log::Event::Misbehaving { peer, remote, reason });
        if is_manual {
            return;
        }
        self.disconnect(peer, why);
        if is_local(&address) {
            return;
        }
        self.bans.discourage(&address);
        let others = self.connections.values();
        let others = others.filter(|c| c.info.remote.address == address).map(|c| c.info.id);
        for peer in others.collect::<Vec<_>>() {
            self.disconnect(peer, "another at its address did wrong");
        }
    }

    /// Returns what is known of a connection that stands.
    #[must_use]
    pub fn peer(&self, peer: PeerId) -> Option<&PeerInfo> {
        self.connections.get(&peer).filter(|c| c.stage == Stage::Open).map(|c| &c.info)
    }

    /// Returns all connections that stand, by number.
    pub fn peers(&self) -> impl Iterator<Item = &PeerInfo> {
        self.connections.values().filter(|c| c.stage == Stage::Open).map(|c| &c.info)
    }

    /// Returns how many bytes of memory a connection holds, 0 if there is none.
    #[must_use]
    pub fn memory(&self, peer: PeerId) -> usize {
        self.connections.get(&peer).map_or(0, Connection::memory)
    }

    /// Sets what we offer to peers that come later.
    pub const fn set_services(&mut self, services: u64) {
        self.options.services = services;
    }

    /// Says where the chain stands: the tip's height and time, which a version message tells and by
    /// which pruned peers are judged, and whether it is far behind, when we advertise no address.
    pub fn set_tip(&mut self, height: u32, time: u32, is_initial_download: bool) {
        self.height = height;
        self.tip_time = time;
        self.is_initial_download = is_initial_download;
        self.dialler.has_synced |= !is_initial_download;
    }

    /// The peer gave a block that was new and passed the checks that need no coins.
    pub fn note_block(&mut self, peer: PeerId, now: Now) {
        self.connections.entry(peer).and_modify(|c| c.info.last_block = Some(now));
    }

    /// The peer gave a transaction that was taken.
    pub fn note_tx(&mut self, peer: PeerId, now: Now) {
        self.connections.entry(peer).and_modify(|c| c.info.last_tx = Some(now));
    }

    /// The peer announced a block of more work than our tip that was not known. Core:
    /// `m_last_block_announcement`.
    pub fn note_announcement(&mut self, peer: PeerId, now: Now) {
        self.connections.entry(peer).and_modify(|c| c.last_announcement = Some(now.mono));
    }

    /// Says whether blocks are on their way from a peer, which keeps it from being rotated out.
    pub fn set_downloading(&mut self, peer: PeerId, is_downloading: bool) {
        self.connections.entry(peer).and_modify(|c| c.is_downloading = is_downloading);
    }

    /// Keeps an outbound peer from being rotated out. Core: `m_chain_sync.m_protect`.
    pub fn protect(&mut self, peer: PeerId) {
        self.connections.entry(peer).and_modify(|c| c.is_protected = true);
    }

    /// Says whether the tip may be stale: one more outbound peer is then tried. Core:
    /// `SetTryNewOutboundPeer`.
    pub fn set_try_new_outbound(&mut self, is_wanted: bool) {
        self.dialler.try_new_outbound = is_wanted;
        self.hurry();
    }

    /// Returns the bytes over all connections.
    #[must_use]
    pub const fn totals(&self) -> Totals {
        self.totals
    }

    /// Returns the address book.
    #[must_use]
    pub const fn address_book(&self) -> &AddressBook {
        &self.book
    }

    /// Returns the bans.
    #[must_use]
    pub const fn bans(&self) -> &Bans {
        &self.bans
    }

    /// Returns the addresses that are advertised, with what is known of their worth
    /// (`localaddresses`).
    pub fn local_addresses(&self) -> impl Iterator<Item = (&Endpoint, u32)> {
        self.local.iter().map(|(own, &score)| (own, score))
    }

    /// Saves all files and closes all connections: the end.
    pub fn stop(&mut self, now: Now) {
        self.now = now;
        self.save_book();
        self.save_bans();
        if !self.options.only_connect {
            let anchors = self.peers().filter(|info| info.kind == ConnectionKind::BlockRelay);
            let anchors: Vec<Endpoint> = anchors.map(|info| info.remote.clone()).take(2).collect();
            self.save_anchors(&anchors);
        }
        self.set_active(false);
    }

    fn save_anchors(&mut self, anchors: &[Endpoint]) {
        let bytes = anchors_to_bytes(anchors);
        self.effects.push_back(Effect::Save { file: "anchors.bin", bytes });
    }

    fn save_book(&mut self) {
        self.next_save = self.now.mono + SAVE_INTERVAL;
        let bytes = self.book.to_bytes();
        self.effects.push_back(Effect::Save { file: "peers.bin", bytes });
    }

    /// Handles one message, or has it told. Core: `ProcessMessage`.
    fn dispatch(&mut self, peer: PeerId, command: &str, payload: &[u8]) {
        let message = match Message::decode(command, payload) {
            Ok(message) => message,
            Err(e) => return self.on_malformed(peer, command, e),
        };
        let Some(c) = self.connections.get_mut(&peer) else { return };
        match message {
            Message::Version(_) => self.handshake(peer, message),
            message if !c.info.is_ready => self.handshake(peer, message),
            Message::WtxidRelay | Message::SendAddrV2 | Message::Feature { .. } => {
                self.disconnect(peer, &format!("{command} after the handshake"));
            }
            Message::Ping(Some(nonce)) if c.info.common_version > keep_alive::BIP31_VERSION => {
                self.push(peer, &Message::Pong(nonce.to_le_bytes().to_vec()));
            }
            Message::Pong(payload) => self.on_pong(peer, &payload),
            Message::Addr(addresses) | Message::AddrV2(addresses) => {
                self.on_addresses(peer, addresses);
            }
            Message::GetAddr => self.on_getaddr(peer),
            Message::Bloom(name) => self.disconnect(peer, &format!("{name}: there are no filters")),
            Message::Verack | Message::Ping(_) | Message::Unknown(_) => {}
            message => self.events.push_back(Event::Message { peer, message }),
        }
    }

    /// A payload is not what its name says: nothing comes of that, but for a few.
    fn on_malformed(&mut self, peer: PeerId, command: &str, error: DecodeError) {
        let Some(c) = self.connections.get(&peer) else { return };
        match (command, error) {
            // Nothing before the version counts, and features are over with the handshake.
            _ if c.info.version.is_none() => {}
            ("feature", _) => self.disconnect(peer, "feature message is malformed"),
            (_, DecodeError::BadAnnounce { .. }) => self.punish(peer, &error.to_string()),
            (_, DecodeError::TooMany { .. }) if !c.info.is_ready => {}
            ("getblocks" | "getheaders", DecodeError::TooMany { .. }) => {
                self.disconnect(peer, &format!("{command} of {error}"));
            }
            ("addr" | "addrv2", DecodeError::TooMany { .. }) if !c.is_talkative() => {}
            (_, DecodeError::TooMany { .. }) => self.punish(peer, &format!("{command} of {error}")),
            _ => {}
        }
    }

    /// Closes a connection. The reason goes to the log, limited in rate.
    pub fn disconnect(&mut self, peer: PeerId, why: &str) {
        self.remove(peer, why, true);
    }

    /// Forgets a connection that ended, or that could not be made.
    fn remove(&mut self, peer: PeerId, why: &str, closes: bool) {
        let Some(c) = self.connections.get(&peer) else { return };
        let kind = c.info.kind;
        if c.stage == Stage::Open || kind == ConnectionKind::Manual {
            let reason = log::text(why.as_bytes());
            self.log_peer(peer, |peer, remote| log::Event::Disconnect { peer, remote, reason });
        }
        let Some(c) = self.connections.remove(&peer) else { return };
        if closes {
            self.effects.push_back(Effect::Close(peer));
        }
        if c.info.is_ready {
            self.events.push_back(Event::Gone(peer));
            if kind != ConnectionKind::Inbound && kind != ConnectionKind::BlockRelay {
                self.book.connected(&c.info.remote, self.now.unix);
            }
        }
        self.hurry();
        if kind != ConnectionKind::Inbound {
            self.after_dial(&c);
        }
    }
}
