use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use caesure_consensus::{HeaderId, HeaderTree};
use caesure_eventlog as log;
use caesure_p2p::{
    Action, BlockState, ConnectionKind, Effect, Event, Network, NetworkError, NetworkOptions, Now,
    PeerId, Random, SavedFiles, Submitted, Sync, SyncError, SyncOptions,
};
use caesure_wire::{Block, BlockHash, Header};

use crate::{ChainEvent, ChainRequest, Command, CommandError, Input, Output};

/// How an engine begins.
#[derive(Debug)]
pub struct EngineOptions {
    /// What concerns connections.
    pub network: NetworkOptions,
    /// What concerns the chain.
    pub sync: SyncOptions,
    /// The files of the last run, as they were given to [`Effect::Save`].
    pub saved: SavedFiles,
    /// All headers that are known.
    pub tree: HeaderTree,
    /// What is known of each header's block.
    pub states: Vec<BlockState>,
    /// The active tip.
    pub tip: HeaderId,
    /// Where all random numbers come from.
    pub seed: [u8; 32],
}

/// The whole node without I/O: it is told what happened, and says what is to be done.
///
/// The same inputs at the same times, with the same seed, give the same outputs.
pub struct Engine {
    network: Network,
    sync: Sync,
    outputs: VecDeque<Output>,
    /// Who waits for the verdict on a block.
    submitted: BTreeMap<BlockHash, Vec<u64>>,
}

impl Engine {
    /// Begins; what is to be done first waits in [`poll`](Self::poll).
    #[must_use]
    pub fn new(options: EngineOptions, now: Now) -> Self {
        let mut random = Random::new(options.seed);
        let network_random = Random::new(random.bytes());
        let network = Network::new(options.network, options.saved, network_random, now);
        let EngineOptions { sync, tree, states, tip, .. } = options;
        let sync = Sync::new(sync, tree, states, tip, random, now);
        let mut engine =
            Self { network, sync, outputs: VecDeque::new(), submitted: BTreeMap::new() };
        engine.tell_tip();
        // What was noticed of the saved files is said before anything happens.
        engine.settle(now);
        engine
    }

    /// Takes what happened. Afterwards [`poll`](Self::poll) is asked until it has nothing.
    pub fn handle(&mut self, input: Input, now: Now) {
        let network = &mut self.network;
        match input {
            Input::Accepted { peer, remote, local } => network.accepted(peer, remote, local, now),
            Input::Dialled { peer, local } => network.dialled(peer, local, now),
            Input::DialFailed { peer, reason } => network.dial_failed(peer, &reason, now),
            Input::Received { peer, bytes } => network.received(peer, bytes, now),
            Input::Written { peer, bytes } => {
                network.written(peer, bytes, now);
                self.note_fullness(peer, now);
            }
            Input::Closed { peer } => network.closed(peer, now),
            Input::Resolved { name, addresses } => network.resolved(&name, addresses, now),
            Input::Chain(event) => self.chain(event, now),
            Input::Command { id, command } => match self.command(id, command, now) {
                Ok(false) => {}
                done => self.reply(id, done.map(drop)),
            },
            Input::Tick => {
                self.note_downloads();
                self.network.tick(now);
                self.sync.tick(now);
            }
            Input::Stop => network.stop(now),
        }
        self.settle(now);
    }

    /// Returns the next thing to be done, in order. Messages of peers are taken up here, one at a
    /// time, when nothing else waits.
    pub fn poll(&mut self, now: Now) -> Option<Output> {
        while self.outputs.is_empty() {
            match self.network.next_event(now)? {
                Event::Ready(peer) => {
                    if let Some(info) = self.network.peer(peer) {
                        self.sync.peer_ready(info, now);
                    }
                }
                Event::Message { peer, message } => self.sync.message(peer, message, now),
                Event::Gone(peer) => self.sync.peer_gone(peer, now),
            }
            self.settle(now);
        }
        self.outputs.pop_front()
    }

    /// Returns when [`Input::Tick`] is wanted at the latest, on the scale of [`Now::mono`].
    #[must_use]
    pub fn deadline(&self) -> Duration {
        self.network.deadline().min(self.sync.deadline())
    }

    /// Returns whether more bytes of a peer are taken now; those that come all the same are kept.
    #[must_use]
    pub fn wants_bytes(&self, peer: PeerId) -> bool {
        self.network.wants_bytes(peer)
    }

    /// Returns all connections.
    #[must_use]
    pub const fn network(&self) -> &Network {
        &self.network
    }

    /// Returns what is known of the chain, and of the peers' chains.
    #[must_use]
    pub const fn sync(&self) -> &Sync {
        &self.sync
    }

    /// Passes on what the parts want done, until they want nothing.
    fn settle(&mut self, now: Now) {
        while let Some(action) = self.sync.next_action() {
            self.act(action, now);
        }
        while let Some(effect) = self.network.next_effect() {
            if let Effect::Send { peer, .. } = effect {
                self.note_fullness(peer, now);
            }
            self.outputs.push_back(Output::Network(effect));
        }
    }

    /// Reads nothing more for a peer while it does not take what was read.
    fn note_fullness(&mut self, peer: PeerId, now: Now) {
        if let Some(info) = self.network.peer(peer) {
            self.sync.peer_full(peer, info.is_full, now);
        }
    }

    /// Peers that blocks come from are not rotated out.
    fn note_downloads(&mut self) {
        let outbound = self.network.peers().filter(|info| info.kind != ConnectionKind::Inbound);
        let peers: Vec<PeerId> = outbound.map(|info| info.id).collect();
        for peer in peers {
            let chain = self.sync.peer_chain(peer);
            let is_downloading = chain.is_some_and(|chain| !chain.in_flight.is_empty());
            self.network.set_downloading(peer, is_downloading);
        }
    }

    fn act(&mut self, action: Action, now: Now) {
        match action {
            Action::Send { peer, message } => self.network.send(peer, &message),
            Action::Punish { peer, why } => self.network.punish(peer, why),
            Action::Disconnect { peer, why } => self.network.disconnect(peer, why),
            Action::NoteBlock(peer) => self.network.note_block(peer, now),
            Action::NoteTx(peer) => self.network.note_tx(peer, now),
            Action::Protect(peer) => self.network.protect(peer),
            Action::Announced(peer) => self.network.note_announcement(peer, now),
            Action::Headers(headers) => {
                self.log_headers(&headers);
                self.ask_chain(ChainRequest::Headers(headers));
            }
            Action::Block { hash, bytes } => {
                self.ask_chain(ChainRequest::Block { hash, bytes });
            }
            Action::Read { ticket, hash } => self.ask_chain(ChainRequest::Read { ticket, hash }),
            Action::StaleTip(is_stale) => {
                self.network.set_try_new_outbound(is_stale);
                if is_stale {
                    let height = self.sync.tree().height(self.sync.tip());
                    self.log(log::Event::StaleTip { height });
                }
            }
        }
    }

    fn ask_chain(&mut self, request: ChainRequest) {
        self.outputs.push_back(Output::Chain(request));
    }

    fn log(&mut self, event: log::Event) {
        self.outputs.push_back(Output::Network(Effect::Log(event)));
    }

    fn log_headers(&mut self, headers: &[Header]) {
        let tree = self.sync.tree();
        if let Some(id) = headers.last().and_then(|last| tree.find(&last.hash())) {
            let (count, height, name) = (headers.len() as u64, tree.height(id), tree.hash(id).0);
            self.log(log::Event::Headers { count, height, name });
        }
    }

    /// Says what became of the chain.
    fn log_chain(&mut self, event: &ChainEvent) {
        let (tree, tip) = (self.sync.tree(), self.sync.tip());
        let height = |hash: &BlockHash| tree.find(hash).map_or(0, |id| tree.height(id));
        self.log(match event {
            ChainEvent::Stored { hash } => {
                log::Event::BlockStored { name: hash.0, height: height(hash) }
            }
            ChainEvent::Connected { hash } => {
                log::Event::BlockConnected { name: hash.0, height: height(hash) }
            }
            ChainEvent::Refused { hash, reason, .. } => {
                log::Event::BlockRefused { name: hash.0, reason: reason.clone() }
            }
            ChainEvent::Tip { hash } => {
                let Some(id) = tree.find(hash).filter(|&id| id != tip) else { return };
                let fork_depth = tree.height(tip) - tree.height(tree.fork_point(tip, id));
                let (old, height) = (tree.hash(tip).0, tree.height(id));
                log::Event::Tip { old, new: hash.0, height, fork_depth }
            }
            ChainEvent::Pruned { height } => log::Event::Pruned { height: *height },
            ChainEvent::Read { .. } | ChainEvent::Done { .. } => return,
        });
    }

    fn chain(&mut self, event: ChainEvent, now: Now) {
        self.log_chain(&event);
        match event {
            ChainEvent::Stored { hash } => {
                self.sync.stored(&hash, now);
                self.tell_if_aside(&hash);
            }
            ChainEvent::Connected { hash } => {
                self.sync.connected(&hash, now);
                self.tell_submitter(&hash, &Ok(()));
            }
            ChainEvent::Refused { hash, reason, class } => {
                self.sync.refused(&hash, &reason, class, now);
                self.tell_submitter(&hash, &Err(CommandError::Refused(reason)));
            }
            ChainEvent::Tip { hash } => {
                self.sync.tip_changed(&hash, now);
                self.tell_tip();
                // What lost the race since it was stored waits in vain.
                let waiting: Vec<BlockHash> = self.submitted.keys().copied().collect();
                waiting.iter().for_each(|hash| self.tell_if_aside(hash));
            }
            ChainEvent::Read { ticket, block } => self.sync.read(ticket, block, now),
            ChainEvent::Done { id, result } => {
                self.reply(id, result.map_err(CommandError::Refused));
            }
            ChainEvent::Pruned { height } => {
                self.sync.pruned(height);
            }
        }
    }

    /// The tip stands in version messages, and decides what pruned peers are good for.
    fn tell_tip(&mut self) {
        let (tree, tip) = (self.sync.tree(), self.sync.tip());
        let is_behind = self.sync.is_initial_download();
        self.network.set_tip(tree.height(tip), tree.header(tip).time, is_behind);
    }

    /// A stored block that will not be judged now has no verdict to wait for.
    fn tell_if_aside(&mut self, hash: &BlockHash) {
        if self.submitted.contains_key(hash) && self.is_aside(hash) {
            self.tell_submitter(hash, &Err(CommandError::Refused("inconclusive".to_owned())));
        }
    }

    fn is_aside(&self, hash: &BlockHash) -> bool {
        let tree = self.sync.tree();
        let Some(id) = tree.find(hash) else { return true };
        let parent_is_connected =
            tree.parent(id).is_some_and(|parent| self.sync.block_state(parent).is_connected);
        let is_better = tree.chain_work(self.sync.tip()) < tree.chain_work(id);
        self.sync.block_state(id).has_body && !(parent_is_connected && is_better)
    }

    fn tell_submitter(&mut self, hash: &BlockHash, answer: &Result<(), CommandError>) {
        for id in self.submitted.remove(hash).unwrap_or_default() {
            self.reply(id, answer.clone());
        }
    }

    fn reply(&mut self, id: u64, answer: Result<(), CommandError>) {
        self.outputs.push_back(Output::Reply { id, answer });
    }

    /// Does what a user wants; returns false when it is answered later.
    fn command(&mut self, id: u64, command: Command, now: Now) -> Result<bool, CommandError> {
        let network = &mut self.network;
        match command {
            Command::AddNode { endpoint, v2 } => network.add_node(endpoint, v2)?,
            Command::RemoveNode(endpoint) => network.remove_node(&endpoint)?,
            Command::Connect { endpoint, kind, v2 } => {
                network.connect(endpoint, kind, v2)?;
            }
            Command::DisconnectPeer(peer) => network.disconnect_peer(peer)?,
            Command::DisconnectAddress(endpoint) => network.disconnect_address(&endpoint)?,
            Command::Ban { address, prefix, until } => network.ban(&address, prefix, until)?,
            Command::Unban { address, prefix } => network.unban(&address, prefix)?,
            Command::ClearBans => network.clear_bans(),
            Command::SetActive(is_active) => network.set_active(is_active),
            Command::AddAddress { endpoint, tried } => network.add_address(endpoint, tried)?,
            Command::SendMessage { peer, name, payload } => {
                network.send_raw(peer, &name, &payload)?;
            }
            Command::SubmitHeader(header) => {
                self.sync.submit_header(&header, now)?;
            }
            Command::GetBlockFromPeer { hash, peer } => {
                self.sync.get_block_from_peer(&hash, peer, now)?;
            }
            Command::SubmitBlock(bytes) => return self.submit_block(id, bytes, now),
            Command::Precious(hash) => {
                self.ask_chain(ChainRequest::Precious { id, hash });
                return Ok(false);
            }
            Command::Invalidate(hash) => {
                self.sync.invalidated(&hash, now);
                self.ask_chain(ChainRequest::Invalidate { id, hash });
                return Ok(false);
            }
            Command::Reconsider(hash) => {
                self.sync.reconsidered(&hash, now);
                self.ask_chain(ChainRequest::Reconsider { id, hash });
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn submit_block(
        &mut self,
        id: u64,
        bytes: Arc<Vec<u8>>,
        now: Now,
    ) -> Result<bool, CommandError> {
        let hash = Block::parse(&bytes[..]).map_err(SyncError::from)?.hash();
        match self.sync.submit_block(bytes, now)? {
            Submitted::Taken => self.submitted.entry(hash).or_default().push(id),
            Submitted::Duplicate => return Err(CommandError::Duplicate("duplicate".to_owned())),
        }
        Ok(false)
    }
}

impl From<SyncError> for CommandError {
    fn from(error: SyncError) -> Self {
        Self::Refused(error.to_string())
    }
}

impl From<NetworkError> for CommandError {
    fn from(error: NetworkError) -> Self {
        let text = error.to_string();
        match error {
            NetworkError::AlreadyAdded | NetworkError::AlreadyBanned => Self::Duplicate(text),
            NetworkError::NotAdded | NetworkError::NotBanned | NetworkError::NotConnected => {
                Self::NotFound(text)
            }
            _ => Self::Refused(text),
        }
    }
}
