//! A chain that stores and connects at once, peers that are scripts, and several `Sync`s that talk.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use caesure_consensus::{
    HeaderId, HeaderTree, Network, Params, RejectClass, Work, check_block, is_block_mutated,
};
use caesure_generate::{coinbase, mine_block};
use caesure_p2p::{
    Action, BlockState, ConnectionKind, NewPeer, Now, PeerId, Random, Sync, SyncOptions,
};
use caesure_wire::{Block, BlockHash, Header, Inventory, Locator, Message, TxOut};

pub type Bytes = Arc<Vec<u8>>;

pub const NETWORK_WITNESS: u64 = 1 | 8;

pub fn params() -> Params {
    Params::new(Network::Regtest)
}

pub fn options() -> SyncOptions {
    let params = params();
    SyncOptions {
        minimum_chain_work: Work::ZERO,
        params,
        blocks_only: false,
        relays_before_tip: false,
        pruned: false,
    }
}

/// A time `blocks` minutes after block 0, at which the blocks of [`mine`] are there.
pub fn at(blocks: u32) -> Now {
    let unix = u64::from(params().genesis.time) + 60 * u64::from(blocks);
    Now { mono: Duration::from_secs(1_000), unix }
}

pub fn mine_one(prev: BlockHash, height: u32, tag: u32, txs: &[Vec<u8>]) -> Bytes {
    let outputs = vec![TxOut { value: 0, script_pubkey: vec![0x51] }];
    let time = params().genesis.time + 60 * height;
    Arc::new(mine_block(prev, time, coinbase(height, tag, outputs), txs))
}

/// `count` blocks on `prev`, which is at `height`.
pub fn mine(prev: BlockHash, height: u32, count: u32, tag: u32) -> Vec<Bytes> {
    let mut prev = prev;
    let mut blocks = Vec::new();
    for height in height + 1..=height + count {
        let block = mine_one(prev, height, tag, &[]);
        prev = hash(&block);
        blocks.push(block);
    }
    blocks
}

pub fn chain(count: u32, tag: u32) -> Vec<Bytes> {
    mine(params().genesis_hash, 0, count, tag)
}

pub fn header(block: &[u8]) -> Header {
    Header::from_bytes(block[..80].try_into().unwrap())
}

pub fn hash(block: &[u8]) -> BlockHash {
    header(block).hash()
}

pub fn headers(blocks: &[Bytes]) -> Message {
    Message::Headers(blocks.iter().map(|block| header(block)).collect())
}

pub fn item(kind: u32, block: &[u8]) -> Inventory {
    Inventory { kind, hash: hash(block).0 }
}

pub fn locator(hashes: Vec<BlockHash>, stop: BlockHash) -> Locator {
    Locator { version: 70_016, hashes, stop }
}

/// Returns the block with another body under the same header.
pub fn mutate(block: &[u8]) -> Bytes {
    let mut bytes = block.to_vec();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    assert!(is_block_mutated(&Block::parse(&bytes).unwrap(), true));
    Arc::new(bytes)
}

/// One `Sync` over a chain that is made of maps.
pub struct Node {
    pub sync: Sync,
    pub now: Now,
    pub store: BTreeMap<BlockHash, Bytes>,
    connected: BTreeSet<BlockHash>,
    waiting: BTreeMap<BlockHash, Vec<BlockHash>>,
    /// Blocks that are stored and then found invalid.
    pub bad: BTreeSet<BlockHash>,
    /// Whether reads are answered.
    pub reads: bool,
    pub unread: Vec<u64>,
    /// Whether blocks are judged, or only kept in `unjudged`.
    pub judges: bool,
    pub unjudged: Vec<(BlockHash, Bytes)>,
    pub sent: Vec<(PeerId, Message)>,
    pub gone: Vec<(PeerId, &'static str)>,
    pub punished: Vec<PeerId>,
    pub other: Vec<Action>,
    known: BTreeSet<BlockHash>,
}

impl Node {
    pub fn new(options: SyncOptions, now: Now, seed: u8) -> Self {
        let tree = HeaderTree::new(&options.params);
        let state = BlockState { has_body: true, is_connected: true };
        let genesis = options.params.genesis_hash;
        let random = Random::new([seed; 32]);
        let sync = Sync::new(options, tree, vec![state], HeaderId(0), random, now);
        Self {
            sync,
            now,
            store: BTreeMap::new(),
            connected: [genesis].into(),
            waiting: BTreeMap::new(),
            bad: BTreeSet::new(),
            reads: true,
            unread: Vec::new(),
            judges: true,
            unjudged: Vec::new(),
            sent: Vec::new(),
            gone: Vec::new(),
            punished: Vec::new(),
            other: Vec::new(),
            known: [genesis].into(),
        }
    }

    /// A node with these blocks; the rest of the time is after them.
    pub fn with(options: SyncOptions, now: Now, blocks: &[Bytes]) -> Self {
        let mut node = Self::new(options, now, 7);
        node.submit(blocks);
        node.other.clear();
        node
    }

    pub fn submit(&mut self, blocks: &[Bytes]) {
        for block in blocks {
            self.sync.submit_block(Arc::clone(block), self.now).unwrap();
            self.run();
        }
    }

    pub fn peer(&mut self, id: u64, kind: ConnectionKind) -> PeerId {
        self.peer_with(id, kind, NETWORK_WITNESS)
    }

    pub fn peer_with(&mut self, id: u64, kind: ConnectionKind, services: u64) -> PeerId {
        let id = PeerId(id);
        let relays_txs = kind != ConnectionKind::BlockRelay;
        let facts = NewPeer { id, kind, services, version: 70_016, wtxid_relay: true, relays_txs };
        self.sync.peer_ready(facts, self.now);
        self.run();
        id
    }

    /// An outbound peer, without what is said to it at first.
    pub fn outbound(&mut self, id: u64) -> PeerId {
        let peer = self.peer(id, ConnectionKind::OutboundFull);
        self.sent.clear();
        peer
    }

    pub fn inbound(&mut self, id: u64) -> PeerId {
        let peer = self.peer(id, ConnectionKind::Inbound);
        self.sent.clear();
        peer
    }

    /// Hands in a message and returns what is sent to that peer then.
    pub fn say(&mut self, peer: PeerId, message: Message) -> Vec<Message> {
        self.sent.clear();
        self.sync.message(peer, message, self.now);
        self.run();
        self.sent_to(peer)
    }

    pub fn sent_to(&self, peer: PeerId) -> Vec<Message> {
        let of_peer = self.sent.iter().filter(|(to, _)| *to == peer);
        of_peer.map(|(_, message)| message.clone()).collect()
    }

    pub fn pass(&mut self, time: Duration) {
        let end = self.now.mono + time;
        self.sent.clear();
        while self.now.mono < end {
            let step = Duration::from_secs(1).min(end - self.now.mono);
            let before = self.now.mono.as_secs();
            self.now.mono += step;
            self.now.unix += self.now.mono.as_secs() - before;
            self.sync.tick(self.now);
            self.run();
        }
    }

    pub fn tip(&self) -> BlockHash {
        self.sync.tree().hash(self.sync.tip())
    }

    pub fn height(&self) -> u32 {
        self.sync.tree().height(self.sync.tip())
    }

    pub fn run(&mut self) {
        while let Some(action) = self.sync.next_action() {
            match action {
                Action::Send { peer, message } => self.sent.push((peer, message)),
                Action::Punish { peer, why } => {
                    self.punished.push(peer);
                    self.leave(peer, why);
                }
                Action::Disconnect { peer, why } => self.leave(peer, why),
                Action::Headers(headers) => {
                    for header in headers {
                        assert!(self.known.contains(&header.prev_block), "parents first");
                        assert!(self.known.insert(header.hash()), "each header once");
                    }
                }
                Action::Block { hash, bytes } => {
                    assert!(self.known.contains(&hash), "the header was said before");
                    match self.judges {
                        true => self.judge(hash, bytes),
                        false => self.unjudged.push((hash, bytes)),
                    }
                }
                Action::Read { ticket, hash } => {
                    let block = self.store.get(&hash).cloned();
                    assert!(block.is_some(), "only stored blocks are read");
                    match self.reads {
                        true => self.sync.read(ticket, block, self.now),
                        false => self.unread.push(ticket),
                    }
                }
                other => self.other.push(other),
            }
        }
    }

    fn leave(&mut self, peer: PeerId, why: &'static str) {
        self.gone.push((peer, why));
        self.sync.peer_gone(peer, self.now);
    }

    pub fn judge_waiting(&mut self) {
        for (hash, bytes) in std::mem::take(&mut self.unjudged) {
            self.judge(hash, bytes);
        }
        self.run();
    }

    fn judge(&mut self, hash: BlockHash, bytes: Bytes) {
        let block = Block::parse(bytes.as_slice()).unwrap();
        if let Err(reject) = check_block(&block, &params()) {
            self.sync.refused(&hash, reject.reason(), reject.class(), self.now);
            return;
        }
        let parent = block.header().prev_block;
        assert!(self.store.insert(hash, Arc::clone(&bytes)).is_none(), "each block once");
        self.sync.stored(&hash, self.now);
        self.run();
        if self.connected.contains(&parent) {
            self.connect(hash);
        } else {
            self.waiting.entry(parent).or_default().push(hash);
        }
    }

    fn connect(&mut self, first: BlockHash) {
        let mut ready = VecDeque::from([first]);
        while let Some(hash) = ready.pop_front() {
            if self.bad.contains(&hash) {
                self.sync.refused(&hash, "bad", RejectClass::Consensus, self.now);
                continue;
            }
            self.connected.insert(hash);
            self.sync.connected(&hash, self.now);
            let tree = self.sync.tree();
            let id = tree.find(&hash).unwrap();
            if tree.chain_work(self.sync.tip()) < tree.chain_work(id) {
                self.sync.tip_changed(&hash, self.now);
            }
            ready.extend(self.waiting.remove(&hash).into_iter().flatten());
        }
    }
}

/// What becomes of a message on its way.
#[derive(Clone, PartialEq, Eq)]
pub enum Way {
    Through,
    Lost,
    Slow(Duration),
    Other(Message),
}

/// Decides about a message from one node to another.
pub type Faults = Box<dyn FnMut(usize, usize, &Message) -> Way>;

/// Nodes and the connections between them.
pub struct World {
    pub nodes: Vec<Node>,
    /// Both ends of each connection: node and its number there.
    links: BTreeMap<(usize, PeerId), (usize, PeerId)>,
    queue: BTreeMap<(Duration, u64), (usize, PeerId, Message)>,
    next: u64,
    pub faults: Faults,
}

impl World {
    pub fn new(nodes: Vec<Node>) -> Self {
        let faults = Box::new(|_, _, _: &_| Way::Through);
        Self { nodes, links: BTreeMap::new(), queue: BTreeMap::new(), next: 0, faults }
    }

    /// Connects two nodes; the first dialled.
    pub fn link(&mut self, from: usize, to: usize) {
        self.next += 2;
        let (dialled, accepted) = (PeerId(self.next), PeerId(self.next + 1));
        self.links.insert((from, dialled), (to, accepted));
        self.links.insert((to, accepted), (from, dialled));
        self.nodes[from].peer(dialled.0, ConnectionKind::OutboundFull);
        self.nodes[to].peer(accepted.0, ConnectionKind::Inbound);
    }

    pub fn is_linked(&self, from: usize, to: usize) -> bool {
        self.links.iter().any(|(a, b)| a.0 == from && b.0 == to)
    }

    pub fn pass(&mut self, time: Duration) {
        let end = self.nodes[0].now.mono + time;
        while self.nodes[0].now.mono < end {
            self.settle();
            for node in &mut self.nodes {
                let before = node.now.mono.as_secs();
                node.now.mono += Duration::from_millis(200);
                node.now.unix += node.now.mono.as_secs() - before;
                node.sync.tick(node.now);
                node.run();
            }
        }
        self.settle();
    }

    fn settle(&mut self) {
        loop {
            self.collect();
            let now = self.nodes[0].now.mono;
            let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= now) else {
                return;
            };
            let (to, peer, message) = entry.remove();
            if self.links.contains_key(&(to, peer)) {
                let node = &mut self.nodes[to];
                node.sync.message(peer, message, node.now);
                node.run();
            }
        }
    }

    fn collect(&mut self) {
        for from in 0..self.nodes.len() {
            for (peer, message) in std::mem::take(&mut self.nodes[from].sent) {
                let Some(&(to, accepted)) = self.links.get(&(from, peer)) else { continue };
                let (delay, message) = match (self.faults)(from, to, &message) {
                    Way::Through => (Duration::ZERO, message),
                    Way::Slow(delay) => (delay, message),
                    Way::Other(message) => (Duration::ZERO, message),
                    Way::Lost => continue,
                };
                self.next += 2;
                let at = self.nodes[0].now.mono + delay;
                self.queue.insert((at, self.next), (to, accepted, message));
            }
            for (peer, _) in self.nodes[from].gone.split_off(0) {
                if let Some((to, accepted)) = self.links.remove(&(from, peer)) {
                    self.links.remove(&(to, accepted));
                    let node = &mut self.nodes[to];
                    node.sync.peer_gone(accepted, node.now);
                    node.run();
                }
            }
        }
    }
}
