use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use caesure_consensus::{Network as Chain, Params};
use caesure_p2p::{
    ConnectionKind, Effect, Event, Network, NetworkOptions, Now, PeerId, Random, SavedFiles,
};
use caesure_wire::{Endpoint, FrameHeader, Message, NetAddress, Version};

/// What a full node offers.
pub(crate) const FULL: u64 = 1 | 1 << 3;
/// A day in 2025.
pub(crate) const START: u64 = 1_750_000_000;

pub(crate) fn params() -> Params {
    Params::new(Chain::Main)
}

pub(crate) fn ip(a: u8, b: u8, c: u8, d: u8) -> Endpoint {
    Endpoint { address: NetAddress::Ipv4([a, b, c, d]), port: 8333 }
}

pub(crate) fn at(seconds: u64) -> Now {
    Now { mono: Duration::from_secs(seconds), unix: START + seconds }
}

/// Options of a node that dials nobody by itself.
pub(crate) fn quiet() -> NetworkOptions {
    let mut options = NetworkOptions::new(params());
    options.only_connect = true;
    options.services = FULL;
    options
}

pub(crate) fn network(options: NetworkOptions, seed: u8) -> Network {
    Network::new(options, SavedFiles::default(), Random::new([seed; 32]), at(0))
}

/// A version as a peer of today sends it.
pub(crate) fn version() -> Version {
    Version {
        version: 70_016,
        services: FULL,
        time: START.cast_signed(),
        receiver: (0, ip(1, 2, 3, 4)),
        sender: (0, Endpoint { address: NetAddress::NONE, port: 0 }),
        nonce: 77,
        user_agent: b"/test:1/".to_vec(),
        height: 0,
        relay: true,
    }
}

/// One network, spoken to by peers whose every byte the test chooses, in the clear.
pub(crate) struct Bench {
    pub(crate) network: Network,
    pub(crate) now: Now,
    pub(crate) events: Vec<Event>,
    pub(crate) log: Vec<String>,
    pub(crate) dials: Vec<(PeerId, Endpoint)>,
    pub(crate) closed: Vec<PeerId>,
    pub(crate) names: Vec<String>,
    pub(crate) files: BTreeMap<&'static str, Vec<u8>>,
    /// What was sent to each peer and not looked at.
    pub(crate) sent: BTreeMap<PeerId, Vec<u8>>,
    /// Whether the system takes what is sent at once.
    pub(crate) writes: bool,
    magic: [u8; 4],
    next: u64,
}

impl Bench {
    pub(crate) fn new(options: NetworkOptions) -> Self {
        Self::with(network(options, 1))
    }

    pub(crate) fn with(network: Network) -> Self {
        let mut bench = Self {
            network,
            now: at(0),
            events: Vec::new(),
            log: Vec::new(),
            dials: Vec::new(),
            closed: Vec::new(),
            names: Vec::new(),
            files: BTreeMap::new(),
            sent: BTreeMap::new(),
            writes: true,
            magic: params().magic,
            next: 1,
        };
        bench.settle();
        bench
    }

    /// Takes all that the network says.
    pub(crate) fn settle(&mut self) {
        loop {
            let event = self.network.next_event(self.now);
            let is_quiet = event.is_none();
            self.events.extend(event);
            // What left makes room for answers.
            if !self.take_effects() && is_quiet {
                return;
            }
        }
    }

    pub(crate) fn take_effects(&mut self) -> bool {
        let mut is_busy = false;
        while let Some(effect) = self.network.next_effect() {
            is_busy = true;
            match effect {
                Effect::Dial { peer, endpoint } => self.dials.push((peer, endpoint)),
                Effect::Send { peer, bytes } => {
                    if self.writes {
                        self.network.written(peer, bytes.len(), self.now);
                    }
                    self.sent.entry(peer).or_default().extend(bytes);
                }
                Effect::Close(peer) => self.closed.push(peer),
                Effect::Resolve(name) => self.names.push(name),
                Effect::Save { file, bytes } => _ = self.files.insert(file, bytes),
                Effect::Log(event) => self.log.push(event.to_string()),
            }
        }
        is_busy
    }

    /// Lets time pass, tick by tick.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now.mono + time;
        self.settle();
        while self.network.deadline() <= end {
            let step = self.network.deadline().saturating_sub(self.now.mono);
            self.advance(step);
            self.network.tick(self.now);
            self.settle();
        }
        self.advance(end - self.now.mono);
    }

    /// Lets time pass from one deadline to the next, and returns how many there were.
    pub(crate) fn ticks_in(&mut self, time: Duration) -> usize {
        let mut ticks = 0;
        let end = self.now.mono + time;
        while self.network.deadline() <= end {
            let wait = self.network.deadline() - self.now.mono;
            self.pass(wait);
            ticks += 1;
        }
        ticks
    }

    /// Lets time pass, while all peers answer pings. Returns what else a peer heard.
    pub(crate) fn live(&mut self, peer: PeerId, time: Duration) -> Vec<Message> {
        let end = self.now.mono + time;
        let mut heard = Vec::new();
        while self.now.mono < end {
            self.pass(Duration::from_secs(30));
            let peers: Vec<PeerId> = self.network.peers().map(|info| info.id).collect();
            for id in peers {
                for message in self.heard(id) {
                    match message {
                        Message::Ping(Some(nonce)) => {
                            self.say(id, &Message::Pong(nonce.to_le_bytes().to_vec()));
                        }
                        message if id == peer => heard.push(message),
                        _ => {}
                    }
                }
            }
        }
        heard
    }

    fn advance(&mut self, time: Duration) {
        let whole = self.now.mono.as_secs();
        self.now.mono += time;
        self.now.unix += self.now.mono.as_secs() - whole;
    }

    pub(crate) fn accept(&mut self, remote: Endpoint) -> PeerId {
        let peer = PeerId(self.next);
        self.next += 2;
        self.network.accepted(peer, remote, ip(9, 9, 9, 9), self.now);
        self.settle();
        peer
    }

    /// Dials a node that speaks v1, and has the dial done.
    pub(crate) fn dial(&mut self, remote: Endpoint, kind: ConnectionKind) -> PeerId {
        let peer = self.network.connect(remote, kind, Some(false)).unwrap();
        self.answer_dial(peer);
        peer
    }

    pub(crate) fn answer_dial(&mut self, peer: PeerId) {
        self.network.dialled(peer, ip(9, 9, 9, 9), self.now);
        self.settle();
    }

    pub(crate) fn bytes(&mut self, peer: PeerId, bytes: &[u8]) {
        self.network.received(peer, bytes.to_vec(), self.now);
        self.settle();
    }

    /// Returns a message's bytes on the wire.
    pub(crate) fn frame(&self, command: &str, payload: &[u8]) -> Vec<u8> {
        FrameHeader::frame(self.magic, command, payload)
    }

    pub(crate) fn encode(&self, message: &Message) -> Vec<u8> {
        let mut payload = Vec::new();
        message.encode_payload(&mut payload);
        self.frame(message.command(), &payload)
    }

    pub(crate) fn say(&mut self, peer: PeerId, message: &Message) {
        let bytes = self.encode(message);
        self.bytes(peer, &bytes);
    }

    /// Returns what was sent to a peer since it was asked last.
    pub(crate) fn heard(&mut self, peer: PeerId) -> Vec<Message> {
        self.heard_raw(peer)
            .into_iter()
            .map(|(command, payload)| Message::decode(&command, &payload).unwrap())
            .collect()
    }

    pub(crate) fn heard_raw(&mut self, peer: PeerId) -> Vec<(String, Vec<u8>)> {
        let mut bytes = &self.sent.remove(&peer).unwrap_or_default()[..];
        let mut messages = Vec::new();
        while let Some((header, rest)) = bytes.split_first_chunk() {
            let header = FrameHeader::from_bytes(header);
            let (payload, rest) = rest.split_at(usize::try_from(header.length).unwrap());
            assert!(header.matches(payload), "the checksum is right");
            messages.push((header.command().unwrap().to_owned(), payload.to_vec()));
            bytes = rest;
        }
        assert!(bytes.is_empty(), "no part of a message");
        messages
    }

    pub(crate) fn commands(&mut self, peer: PeerId) -> Vec<String> {
        self.heard_raw(peer).into_iter().map(|(command, _)| command).collect()
    }

    /// Does a handshake as the peer.
    pub(crate) fn shake(&mut self, peer: PeerId) {
        self.shake_with(peer, version());
    }

    pub(crate) fn shake_with(&mut self, peer: PeerId, version: Version) {
        self.say(peer, &Message::Version(version));
        self.say(peer, &Message::SendAddrV2);
        self.say(peer, &Message::Verack);
        self.sent.remove(&peer);
    }

    /// Accepts a peer and does its handshake.
    pub(crate) fn guest(&mut self, remote: Endpoint) -> PeerId {
        let peer = self.accept(remote);
        self.shake(peer);
        peer
    }

    pub(crate) fn is_up(&self, peer: PeerId) -> bool {
        self.network.peer(peer).is_some()
    }

    pub(crate) fn is_ready(&self, peer: PeerId) -> bool {
        self.network.peer(peer).is_some_and(|info| info.is_ready)
    }
}

/// Several networks, each with an address, whose connections carry bytes `chunk` at a time.
pub(crate) struct Wires {
    pub(crate) nodes: Vec<Node>,
    pub(crate) now: Now,
    pub(crate) chunk: usize,
    next: u64,
}

pub(crate) struct Node {
    pub(crate) network: Network,
    pub(crate) address: Endpoint,
    pub(crate) events: Vec<Event>,
    pub(crate) dials: Vec<(PeerId, Endpoint)>,
    pub(crate) closed: Vec<PeerId>,
    /// Each connection's other end, and the bytes on their way to it.
    wires: BTreeMap<PeerId, (usize, PeerId, VecDeque<u8>)>,
}

impl Wires {
    pub(crate) fn new(nodes: Vec<(Network, Endpoint)>) -> Self {
        let nodes = nodes.into_iter().map(|(network, address)| Node {
            network,
            address,
            events: Vec::new(),
            dials: Vec::new(),
            closed: Vec::new(),
            wires: BTreeMap::new(),
        });
        Self { nodes: nodes.collect(), now: at(0), chunk: 1, next: 1 }
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now.mono + time;
        self.settle();
        loop {
            let next = self.nodes.iter().map(|node| node.network.deadline()).min().unwrap();
            if next > end {
                break;
            }
            let next = next.max(self.now.mono);
            self.now.unix += next.as_secs() - self.now.mono.as_secs();
            self.now.mono = next;
            for node in &mut self.nodes {
                if node.network.deadline() <= next {
                    node.network.tick(self.now);
                }
            }
            self.settle();
        }
        self.now.unix += end.as_secs() - self.now.mono.as_secs();
        self.now.mono = end;
    }

    pub(crate) fn settle(&mut self) {
        while (0..self.nodes.len()).filter(|&i| self.step(i)).count() > 0 {}
    }

    /// Takes what a node says, and carries one chunk of each of its connections.
    fn step(&mut self, i: usize) -> bool {
        let node = &mut self.nodes[i];
        let mut is_busy = false;
        while let Some(event) = node.network.next_event(self.now) {
            node.events.push(event);
        }
        let mut effects = Vec::new();
        effects.extend(core::iter::from_fn(|| node.network.next_effect()));
        for effect in effects {
            is_busy = true;
            self.apply(i, effect);
        }
        let node = &mut self.nodes[i];
        let mut carried = Vec::new();
        for (&peer, (other, remote, bytes)) in &mut node.wires {
            let chunk: Vec<u8> = bytes.drain(..self.chunk.min(bytes.len())).collect();
            if !chunk.is_empty() {
                node.network.written(peer, chunk.len(), self.now);
                carried.push((*other, *remote, chunk));
            }
        }
        for (other, remote, chunk) in carried {
            is_busy = true;
            self.nodes[other].network.received(remote, chunk, self.now);
        }
        is_busy
    }

    fn apply(&mut self, i: usize, effect: Effect) {
        match effect {
            Effect::Dial { peer, endpoint } => {
                self.nodes[i].dials.push((peer, endpoint.clone()));
                let from = self.nodes[i].address.clone();
                let Some(other) = self.nodes.iter().position(|node| node.address == endpoint)
                else {
                    return;
                };
                let remote = PeerId(self.next);
                self.next += 2;
                self.nodes[i].wires.insert(peer, (other, remote, VecDeque::new()));
                self.nodes[other].wires.insert(remote, (i, peer, VecDeque::new()));
                self.nodes[other].network.accepted(remote, from.clone(), endpoint, self.now);
                self.nodes[i].network.dialled(peer, from, self.now);
            }
            Effect::Send { peer, bytes } => {
                if let Some((.., wire)) = self.nodes[i].wires.get_mut(&peer) {
                    wire.extend(bytes);
                }
            }
            Effect::Close(peer) => {
                self.nodes[i].closed.push(peer);
                if let Some((other, remote, _)) = self.nodes[i].wires.remove(&peer) {
                    self.nodes[other].wires.remove(&remote);
                    self.nodes[other].network.closed(remote, self.now);
                }
            }
            Effect::Resolve(_) | Effect::Save { .. } | Effect::Log(_) => {}
        }
    }
}
