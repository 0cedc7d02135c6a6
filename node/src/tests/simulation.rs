//! Many nodes on one network that is made up: the shipped engine, validator, block store and ledger of
//! each; time, distance, disks and other people's bad will are this file's. A seed decides all.

use std::cmp::Reverse;
use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use caesure_consensus::{Network as Chosen, Params, RejectClass};
use caesure_engine::{ChainEvent, ChainRequest, Command, Effect, Engine, Input, Output};
use caesure_generate::{coinbase, mine_block};
use caesure_p2p::{Now, PeerId, Random};
use caesure_wire::{
    BlockHash, Endpoint, FrameHeader, Header, Message, NetAddress, OutPoint, Transaction, TxIn,
    TxOut,
};

use super::machine::Machine;
use super::model::Model;

/// When the simulated clock begins.
pub(super) const START: u64 = 1_700_000_000;
/// With as many blocks every node begins, so that there are coins to spend.
const TRUNK: u32 = 105;
/// The kernel takes as many bytes for a connection, each way.
const SOCKET_BUFFER: usize = 256 << 10;
/// How long a peer has for a block, and half as long for each other that is asked for some.
const BLOCK_DEADLINE: Duration = Duration::from_secs(600);
/// Until it is noticed.
const GRACE: Duration = Duration::from_secs(10);
/// What may wait for a peer and from it, and a message more each way.
const MEMORY_A_PEER: usize = 16 << 20;

/// What a machine does with what its engine says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Conduct {
    Honest,
    /// Says nothing after the handshake.
    Silent,
    /// Sends blocks whose last byte is another.
    Lying,
    /// A two-hundredth of the others' bandwidth.
    Slow,
}

#[derive(Clone, Debug)]
enum Happening {
    Input(Input),
    Arrive {
        peer: PeerId,
        bytes: Vec<u8>,
    },
    Chain(ChainRequest),
    Wake,
    Mine,
    Crash,
    Start,
    /// Which side each host is on from now on.
    Divide(Vec<u8>),
}

/// A machine, its disk, and its end of every connection.
struct Host {
    conduct: Conduct,
    endpoint: Endpoint,
    machine: Machine,
    engine: Option<Engine>,
    /// Counts starts, so that nothing reaches a process that is gone.
    boot: u32,
    next_inbound: u64,
    wake_at: Duration,
    ends: BTreeMap<PeerId, End>,
    saved: BTreeMap<&'static str, Vec<u8>>,
    has_stored: BTreeSet<BlockHash>,
    /// Valid blocks that are stored with all their ancestors, and valid ones that wait for some.
    complete: BTreeSet<BlockHash>,
    loose: BTreeSet<BlockHash>,
    /// Blocks that were asked for and did not come, of whom, and when.
    asked: BTreeMap<BlockHash, (PeerId, Duration)>,
    chain_free_at: Duration,
    tip: Option<BlockHash>,
}

/// One end of a connection.
struct End {
    other: (usize, PeerId),
    /// When the last byte that was sent is on its way.
    free_at: Duration,
    /// Bytes that arrived and are not taken.
    inbox: VecDeque<Vec<u8>>,
    /// What was sent and does not make a whole message yet, to look into.
    sent: Vec<u8>,
}

pub(super) struct Simulation {
    params: Params,
    random: Random,
    time: Duration,
    hosts: Vec<Host>,
    queue: BinaryHeap<Reverse<(Duration, u64, usize, u32)>>,
    happenings: BTreeMap<u64, Happening>,
    next: u64,
    sides: Vec<u8>,
    model: Model,
    mined: u32,
    mining_interval: Option<Duration>,
    pub(super) steps: u64,
    /// A hash over all that engines wanted done, in order.
    pub(super) trace: DefaultHasher,
    pub(super) blocks_connected: u64,
    pub(super) blocks_refused: u64,
    pub(super) reorganisations: u64,
}

impl Simulation {
    pub(super) fn new(seed: u64, conducts: &[Conduct]) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let params = Params::new(Chosen::Regtest);
        let genesis = params.genesis_hash;
        let mut simulation = Self {
            random: Random::new(bytes),
            time: Duration::ZERO,
            hosts: Vec::new(),
            queue: BinaryHeap::new(),
            happenings: BTreeMap::new(),
            next: 0,
            sides: vec![0; conducts.len()],
            model: Model::new(genesis),
            mined: 0,
            mining_interval: None,
            steps: 0,
            trace: DefaultHasher::new(),
            blocks_connected: 0,
            blocks_refused: 0,
            reorganisations: 0,
            params,
        };
        let mut trunk = Vec::new();
        let mut tip = genesis;
        for _ in 0..TRUNK {
            tip = simulation.make_block(&tip, true);
            trunk.push(Arc::clone(&simulation.model.get(&tip).expect("just made").bytes));
        }
        for (index, &conduct) in conducts.iter().enumerate() {
            let machine = Machine::new(&simulation.params, &trunk);
            let index = u8::try_from(index).expect("at most 200 hosts");
            let endpoint =
                Endpoint { address: NetAddress::Ipv4([20 + index, index, 0, 1]), port: 18_444 };
            simulation.hosts.push(Host {
                conduct,
                endpoint,
                machine,
                engine: None,
                boot: 0,
                next_inbound: 1,
                wake_at: Duration::MAX,
                ends: BTreeMap::new(),
                saved: BTreeMap::new(),
                has_stored: BTreeSet::new(),
                complete: BTreeSet::new(),
                loose: BTreeSet::new(),
                asked: BTreeMap::new(),
                chain_free_at: Duration::ZERO,
                tip: None,
            });
        }
        for host in 0..conducts.len() {
            simulation.after(host, Duration::from_millis(100 * host as u64), Happening::Start);
        }
        simulation
    }

    /// Lets every honest host find blocks from now on, `interval` apart on average over all.
    pub(super) fn mine(&mut self, interval: Option<Duration>) {
        let was_off = self.mining_interval.is_none();
        self.mining_interval = interval;
        if let Some(mean) = interval
            && was_off
        {
            let wait = self.random.exponential(mean);
            self.after(0, wait, Happening::Mine);
        }
    }

    /// Has a host begin later.
    pub(super) fn postpone(&mut self, host: usize, until: Duration) {
        self.crash(host, Duration::from_millis(50 + 100 * host as u64), until);
    }

    /// Crashes a host some time from now, for some time.
    pub(super) fn crash(&mut self, host: usize, after: Duration, lasting: Duration) {
        self.after(host, after, Happening::Crash);
        self.after(host, after + lasting, Happening::Start);
    }

    /// Divides the network some time from now; hosts with the same number reach each other.
    pub(super) fn divide(&mut self, sides: Vec<u8>, after: Duration) {
        self.after(0, after, Happening::Divide(sides));
    }

    /// Goes on for some simulated time.
    pub(super) fn run(&mut self, lasting: Duration) {
        let end = self.time + lasting;
        while self.queue.peek().is_some_and(|Reverse((at, ..))| *at <= end) {
            self.step();
        }
        self.time = end;
    }

    /// Goes on until all honest hosts are on one tip, of most work among what is valid; whether that
    /// came in time.
    pub(super) fn converges_within(&mut self, limit: Duration) -> bool {
        let end = self.time + limit;
        while self.time < end {
            if self.has_converged() {
                return true;
            }
            self.run(Duration::from_secs(1));
        }
        self.has_converged()
    }

    /// All honest hosts are on one tip, and none of them has a valid block that is higher: on regtest
    /// work is height.
    fn has_converged(&self) -> bool {
        let honest = self.hosts.iter().filter(|host| host.conduct == Conduct::Honest);
        let mut tips = BTreeSet::new();
        let mut highest = 0;
        for host in honest {
            let Some(engine) = &host.engine else { return false };
            tips.insert(engine.sync().tree().hash(engine.sync().tip()));
            tips.insert(host.machine.tip());
            let valid = host.has_stored.iter().filter(|hash| self.model.is_valid(hash));
            let heights = valid.filter_map(|hash| self.model.get(hash)).map(|known| known.height);
            highest = highest.max(heights.max().unwrap_or(0));
        }
        let tip = tips.first().and_then(|tip| self.model.get(tip));
        tips.len() == 1 && tip.is_some_and(|tip| highest <= tip.height)
    }

    pub(super) fn now(&self) -> Now {
        Now { mono: self.time, unix: START + self.time.as_secs() }
    }

    pub(super) fn heights(&self) -> Vec<u32> {
        let engines = self.hosts.iter().filter_map(|host| host.engine.as_ref());
        engines.map(|engine| engine.sync().tree().height(engine.sync().tip())).collect()
    }

    /// What concerns a host that is not there any more is forgotten.
    fn after(&mut self, host: usize, wait: Duration, happening: Happening) {
        if host == usize::MAX {
            return;
        }
        let boot = self.hosts.get(host).map_or(0, |host| host.boot);
        let is_of_process = matches!(
            happening,
            Happening::Input(_) | Happening::Chain(_) | Happening::Wake | Happening::Arrive { .. }
        );
        self.queue.push(Reverse((
            self.time + wait,
            self.next,
            host,
            if is_of_process { boot } else { u32::MAX },
        )));
        self.happenings.insert(self.next, happening);
        self.next += 1;
    }

    fn step(&mut self) {
        let Some(Reverse((at, number, host, boot))) = self.queue.pop() else { return };
        let happening = self.happenings.remove(&number).expect("each number stands once");
        self.time = self.time.max(at);
        if boot != u32::MAX && boot != self.hosts[host].boot {
            return;
        }
        self.steps += 1;
        match happening {
            Happening::Input(input) => self.feed(host, input),
            Happening::Arrive { peer, bytes } => {
                if let Some(end) = self.hosts[host].ends.get_mut(&peer) {
                    end.inbox.push_back(bytes);
                    self.deliver(host);
                }
            }
            Happening::Chain(request) => self.ask_chain(host, request),
            Happening::Wake => {
                self.hosts[host].wake_at = Duration::MAX;
                self.feed(host, Input::Tick);
            }
            Happening::Mine => self.find_block(),
            Happening::Crash => self.stop(host),
            Happening::Start => self.start(host),
            Happening::Divide(sides) => {
                self.sides = sides;
                let cut: Vec<(usize, PeerId)> = (0..self.hosts.len())
                    .flat_map(|host| {
                        self.hosts[host]
                            .ends
                            .iter()
                            .map(move |(peer, end)| (host, *peer, end.other.0))
                    })
                    .filter(|(host, _, other)| {
                        let side = self.sides.get(*other);
                        side.is_some_and(|side| *side != self.sides[*host])
                    })
                    .map(|(host, peer, _)| (host, peer))
                    .collect();
                for (host, peer) in cut {
                    if self.hosts[host].ends.remove(&peer).is_some() {
                        self.feed(host, Input::Closed { peer });
                    }
                }
            }
        }
        if self.hosts[host].engine.is_some() {
            self.check(host);
        }
    }

    /// Tells an engine something, and does what it wants done.
    fn feed(&mut self, host: usize, input: Input) {
        let now = self.now();
        let Host { engine: Some(engine), asked, .. } = &mut self.hosts[host] else { return };
        if let Input::Closed { peer } = input {
            asked.retain(|_, (of, _)| *of != peer);
        }
        engine.handle(input, now);
        self.turn(host);
        self.deliver(host);
    }

    fn turn(&mut self, host: usize) {
        let now = self.now();
        while let Some(output) = self.hosts[host].engine.as_mut().and_then(|it| it.poll(now)) {
            self.perform(host, output);
        }
        let Some(engine) = &self.hosts[host].engine else { return };
        let at = engine.deadline().max(self.time + Duration::from_millis(1));
        if at < self.hosts[host].wake_at {
            self.hosts[host].wake_at = at;
            self.after(host, at - self.time, Happening::Wake);
        }
    }

    /// Hands an engine what arrived, as far as it wants it.
    fn deliver(&mut self, host: usize) {
        loop {
            let target = &mut self.hosts[host];
            let Some(engine) = &target.engine else { return };
            let ready = target
                .ends
                .iter_mut()
                .find(|(peer, end)| !end.inbox.is_empty() && engine.wants_bytes(**peer));
            let Some((&peer, end)) = ready else { return };
            let bytes = end.inbox.pop_front().expect("it is not empty");
            let (other, other_peer) = end.other;
            let written = Input::Written { peer: other_peer, bytes: bytes.len() };
            self.after(other, Duration::ZERO, Happening::Input(written));
            let now = self.now();
            let came = blocks_in(&bytes, self.params.magic);
            let target = &mut self.hosts[host];
            target.asked.retain(|hash, (of, _)| *of != peer || !came.contains(hash));
            let engine = target.engine.as_mut().expect("it is there");
            engine.handle(Input::Received { peer, bytes }, now);
            self.turn(host);
        }
    }

    fn perform(&mut self, host: usize, output: Output) {
        host.hash(&mut self.trace);
        std::mem::discriminant(&output).hash(&mut self.trace);
        if let Output::Network(effect) = &output {
            std::mem::discriminant(effect).hash(&mut self.trace);
        }
        if let Output::Network(Effect::Send { peer, bytes }) = &output {
            (peer, bytes).hash(&mut self.trace);
        }
        match output {
            Output::Network(Effect::Dial { peer, endpoint }) => self.dial(host, peer, &endpoint),
            Output::Network(Effect::Send { peer, bytes }) => self.send(host, peer, bytes),
            Output::Network(Effect::Close(peer)) => {
                self.hosts[host].asked.retain(|_, (of, _)| *of != peer);
                if let Some(end) = self.hosts[host].ends.remove(&peer) {
                    let wait =
                        (end.free_at.max(self.time) - self.time) + self.latency(host, end.other.0);
                    let closed = Input::Closed { peer: end.other.1 };
                    let far = self.hosts.get_mut(end.other.0);
                    if let Some(far) = far.and_then(|far| far.ends.get_mut(&end.other.1)) {
                        far.other.0 = usize::MAX;
                    }
                    self.after(end.other.0, wait, Happening::Input(closed));
                }
            }
            Output::Network(Effect::Resolve(name)) => {
                let addresses =
                    self.hosts.iter().map(|host| host.endpoint.address.clone()).collect();
                let input = Input::Resolved { name, addresses };
                self.after(host, Duration::from_millis(50), Happening::Input(input));
            }
            Output::Chain(request) => {
                let host_state = &mut self.hosts[host];
                let cost = match &request {
                    ChainRequest::Block { bytes, .. } => {
                        Duration::from_micros(200 + bytes.len() as u64)
                    }
                    _ => Duration::from_micros(50),
                };
                host_state.chain_free_at = host_state.chain_free_at.max(self.time) + cost;
                let wait = host_state.chain_free_at - self.time;
                self.after(host, wait, Happening::Chain(request));
            }
            Output::Network(Effect::Save { file, bytes }) => {
                self.hosts[host].saved.insert(file, bytes);
            }
            Output::Reply { .. } | Output::Network(Effect::Log(_)) => {}
        }
    }

    fn dial(&mut self, host: usize, peer: PeerId, endpoint: &Endpoint) {
        let target =
            self.hosts.iter().position(|it| it.endpoint == *endpoint && it.engine.is_some());
        let target = target.filter(|target| self.sides[host] == self.sides[*target]);
        let Some(target) = target else {
            let failed = Input::DialFailed { peer, reason: "no route to host".to_owned() };
            return self.after(host, Duration::from_secs(1), Happening::Input(failed));
        };
        let inbound = PeerId(self.hosts[target].next_inbound);
        self.hosts[target].next_inbound += 2;
        let end = |other| End {
            other,
            free_at: Duration::ZERO,
            inbox: VecDeque::new(),
            sent: Vec::new(),
        };
        self.hosts[host].ends.insert(peer, end((target, inbound)));
        self.hosts[target].ends.insert(inbound, end((host, peer)));
        let latency = self.latency(host, target);
        let port = u16::try_from(40_000 + inbound.0 % 20_000).expect("under 2^16");
        let remote = Endpoint { port, ..self.hosts[host].endpoint.clone() };
        let local = self.hosts[target].endpoint.clone();
        let accepted = Input::Accepted { peer: inbound, remote: remote.clone(), local };
        self.after(target, latency, Happening::Input(accepted));
        let dialled = Input::Dialled { peer, local: remote };
        self.after(host, latency * 2, Happening::Input(dialled));
    }

    /// Puts bytes on the way, one after the other.
    fn send(&mut self, host: usize, peer: PeerId, mut bytes: Vec<u8>) {
        let conduct = self.hosts[host].conduct;
        let Some(end) = self.hosts[host].ends.get_mut(&peer) else { return };
        let (other, other_peer) = end.other;
        let size = bytes.len();
        let asked = end.look(&mut bytes, conduct, self.params.magic);
        let bandwidth: u64 = if conduct == Conduct::Slow { 50_000 } else { 10_000_000 };
        let lasts = Duration::from_nanos(size as u64 * 1_000_000_000 / bandwidth);
        end.free_at = end.free_at.max(self.time) + lasts;
        let departs = end.free_at;
        if other == usize::MAX {
            return;
        }
        self.note_asked(host, peer, &asked);
        if bytes.is_empty() {
            let written = Input::Written { peer, bytes: size };
            return self.after(host, Duration::ZERO, Happening::Input(written));
        }
        let wait = departs - self.time + self.latency(host, other);
        self.after(other, wait, Happening::Arrive { peer: other_peer, bytes });
    }

    /// No whole block is asked for twice before it came, or who was asked is gone: that is what the
    /// deadline of a request leads to.
    fn note_asked(&mut self, host: usize, peer: PeerId, asked: &[BlockHash]) {
        for hash in asked {
            let before = self.hosts[host].asked.insert(*hash, (peer, self.time));
            let now = self.time;
            assert_eq!(
                before, None,
                "host {host} asks {peer} for {hash} at {now:?}, and asked before"
            );
        }
    }

    fn latency(&mut self, a: usize, b: usize) -> Duration {
        let base = 5 + 13 * (a.max(b) as u64 % 7) + 7 * (a.min(b) as u64 % 5);
        Duration::from_millis(base)
    }

    fn ask_chain(&mut self, host: usize, request: ChainRequest) {
        for event in self.hosts[host].machine.handle(request) {
            self.learn(host, &event);
            self.after(host, Duration::from_micros(10), Happening::Input(Input::Chain(event)));
        }
        if self.hosts[host].engine.is_some() {
            self.check_tip(host);
        }
    }

    /// Of all valid blocks that are stored with their ancestors none has more work than the tip. The
    /// caller has let the validator do all that it could.
    fn check_tip(&self, host: usize) {
        let Host { machine, complete, .. } = &self.hosts[host];
        let tip = self.model.get(&machine.tip()).expect("the tip was made here").height;
        let height = |hash: &BlockHash| self.model.get(hash).map(|known| known.height);
        let best = complete.iter().filter_map(height).max().unwrap_or(0);
        assert!(best <= tip, "host {host} is at {tip} and has a valid block at {best}");
    }

    fn note_stored(&mut self, host: usize, hash: BlockHash) {
        let Host { complete, loose, .. } = &mut self.hosts[host];
        if self.model.is_valid(&hash) {
            loose.insert(hash);
        }
        let parent_of = |hash: &BlockHash| self.model.get(hash).map(|known| known.parent);
        let is_ready = |complete: &BTreeSet<BlockHash>, hash: &BlockHash| {
            parent_of(hash)
                .is_some_and(|it| it == self.params.genesis_hash || complete.contains(&it))
        };
        while let Some(next) = loose.iter().copied().find(|hash| is_ready(complete, hash)) {
            loose.remove(&next);
            complete.insert(next);
        }
    }

    /// Compares what a validator says with the model.
    fn learn(&mut self, host: usize, event: &ChainEvent) {
        match event {
            ChainEvent::Stored { hash } => {
                self.hosts[host].has_stored.insert(*hash);
                self.hosts[host].asked.remove(hash);
                self.note_stored(host, *hash);
            }
            ChainEvent::Connected { hash } => {
                self.blocks_connected += 1;
                assert!(self.model.is_valid(hash), "{hash} is not valid and was connected");
            }
            ChainEvent::Refused { hash, class, .. } => {
                let is_mutated = *class == RejectClass::Mutated;
                let is_valid = self.model.is_valid(hash);
                assert!(!is_valid || is_mutated, "{hash} is valid and was refused: {event:?}");
                self.blocks_refused += 1;
            }
            ChainEvent::Tip { hash } => {
                let ours = self.hosts[host].machine.set_hash(hash);
                assert_eq!(ours, self.model.hash_serialized_3(hash), "the set after {hash}");
                let parent = self.model.get(hash).map(|known| known.parent);
                let before = self.hosts[host].tip.replace(*hash);
                self.reorganisations += u64::from(before.is_some() && before != parent);
            }
            _ => {}
        }
    }

    /// What holds after every step.
    fn check(&self, host: usize) {
        let host = &self.hosts[host];
        let engine = host.engine.as_ref().expect("the caller looked");
        assert!(engine.sync().pending_bytes() < 80 << 20, "blocks wait in bounded memory");
        let peers = u32::try_from(host.ends.len()).expect("a few");
        let deadline = BLOCK_DEADLINE * (2 + peers) / 2;
        let is_late = |(_, at): &(PeerId, Duration)| deadline + GRACE < self.time - *at;
        let late = host.asked.iter().find(|(_, asked)| is_late(asked));
        assert_eq!(late, None, "at {:?} it should have been given up", self.time);
        if self.steps.is_multiple_of(256) {
            for peer in engine.network().peers() {
                let memory = engine.network().memory(peer.id);
                assert!(memory < MEMORY_A_PEER, "{} takes {memory} bytes", peer.id);
            }
        }
        for (peer, end) in &host.ends {
            let waiting: usize = end.inbox.iter().map(Vec::len).sum();
            assert!(waiting < 64 * SOCKET_BUFFER, "{peer} has {waiting} bytes under way");
        }
    }

    fn start(&mut self, host: usize) {
        if self.hosts[host].engine.is_some() {
            return;
        }
        let seed = self.random.bytes();
        let now = self.now();
        let others: Vec<Endpoint> = (0..self.hosts.len())
            .filter(|other| *other != host)
            .map(|other| self.hosts[other].endpoint.clone())
            .collect();
        let mut connect = Vec::new();
        for _ in 0..3.min(others.len()) {
            let index = self.random.index(others.len());
            connect.push(others[index].clone());
        }
        let state = &mut self.hosts[host];
        state.boot += 1;
        state.wake_at = Duration::MAX;
        state.chain_free_at = self.time;
        let engine = state.machine.start(&state.endpoint, connect, &state.saved, seed, now);
        state.engine = Some(engine);
        (state.complete, state.loose) = Default::default();
        for hash in state.machine.stored() {
            self.note_stored(host, hash);
        }
        // What the crash left is a set of the model, too.
        let tip = self.hosts[host].machine.tip();
        let ours = self.hosts[host].machine.set_hash(&tip);
        assert_eq!(ours, self.model.hash_serialized_3(&tip), "the set after {tip}, at a start");
        self.check_tip(host);
        self.turn(host);
    }

    /// A process ends as if killed, and the disk loses what was not synced.
    fn stop(&mut self, host: usize) {
        let state = &mut self.hosts[host];
        if state.engine.take().is_none() {
            return;
        }
        state.boot += 1;
        state.asked.clear();
        let loses = self.random.below(2) == 0;
        state.machine.crash(loses, &mut self.random);
        for (_, end) in std::mem::take(&mut state.ends) {
            let (other, peer) = end.other;
            if other != usize::MAX && self.hosts[other].ends.remove(&peer).is_some() {
                self.after(
                    other,
                    Duration::from_millis(100),
                    Happening::Input(Input::Closed { peer }),
                );
            }
        }
    }

    /// Somebody finds a block, one in twenty of them faulty.
    fn find_block(&mut self) {
        let Some(mean) = self.mining_interval else { return };
        let host = self.random.index(self.hosts.len());
        if let Some(engine) = &self.hosts[host].engine {
            let tip = engine.sync().tree().hash(engine.sync().tip());
            let is_sound = self.random.below(20) != 0;
            let hash = self.make_block(&tip, is_sound);
            let bytes = Arc::clone(&self.model.get(&hash).expect("just made").bytes);
            let command = Command::SubmitBlock(bytes);
            self.feed(host, Input::Command { id: u64::from(self.mined), command });
        }
        let wait = self.random.exponential(mean);
        self.after(0, wait, Happening::Mine);
    }

    /// A block on another, with some spends; if not sound, one that claims too much.
    fn make_block(&mut self, parent: &BlockHash, is_sound: bool) -> BlockHash {
        let height = self.model.get(parent).expect("the parent was made here").height + 1;
        self.mined += 1;
        let mut txs = Vec::new();
        for prevout in self.model.mature(parent, 100).into_iter().take(2) {
            txs.push(spend(prevout).encode());
        }
        let value = if is_sound { 0 } else { 5_100_000_000 };
        let outputs = vec![
            TxOut { value, script_pubkey: vec![0x51] },
            TxOut { value: 0, script_pubkey: vec![0x51] },
        ];
        let time = u32::try_from(
            START + self.time.as_secs() - u64::from(TRUNK) + u64::from(self.mined.min(TRUNK)),
        )
        .expect("before 2106");
        let coinbase = coinbase(height, self.mined, outputs);
        self.model.add(mine_block(*parent, time, coinbase, &txs), is_sound)
    }
}

impl End {
    /// Looks at what is sent in v1 frames: which blocks are asked for; and changes it as the conduct
    /// will have it.
    fn look(&mut self, bytes: &mut Vec<u8>, conduct: Conduct, magic: [u8; 4]) -> Vec<BlockHash> {
        let mut asked = Vec::new();
        self.sent.append(bytes);
        while let Some((name, mut payload, size)) = frame(&self.sent, magic) {
            let mut whole: Vec<u8> = self.sent.drain(..size).collect();
            match (conduct, Message::decode(&name, &payload)) {
                (Conduct::Silent, _)
                    if !["version", "verack", "wtxidrelay", "sendaddrv2", "pong"]
                        .contains(&&*name) =>
                {
                    continue;
                }
                (Conduct::Lying, Ok(Message::Block(_))) => {
                    *payload.last_mut().expect("a block has bytes") ^= 1;
                    whole = FrameHeader::frame(magic, &name, &payload);
                }
                (_, Ok(Message::GetData(inventory))) => {
                    let blocks = inventory.iter().filter(|it| it.kind & 0xff == 2);
                    asked.extend(blocks.map(|it| BlockHash(it.hash)));
                }
                _ => {}
            }
            bytes.append(&mut whole);
        }
        asked
    }
}

/// The first v1 message in a buffer: name, payload, and how many bytes it is.
fn frame(bytes: &[u8], magic: [u8; 4]) -> Option<(String, Vec<u8>, usize)> {
    let (header, rest) = bytes.split_first_chunk()?;
    let header = FrameHeader::from_bytes(header);
    assert_eq!(header.magic, magic, "the simulation speaks v1");
    let size = usize::try_from(header.length).expect("32 bits fit");
    let name = header.command().expect("the engine sends names").to_owned();
    Some((name, rest.get(..size)?.to_vec(), FrameHeader::SIZE + size))
}

/// The blocks among whole messages, whatever their bodies are.
fn blocks_in(mut bytes: &[u8], magic: [u8; 4]) -> Vec<BlockHash> {
    let mut hashes = Vec::new();
    while let Some((name, payload, size)) = frame(bytes, magic) {
        if name == "block" {
            let header = payload.first_chunk().expect("a block has a header");
            hashes.push(Header::from_bytes(header).hash());
        }
        bytes = &bytes[size..];
    }
    hashes
}

fn spend(prevout: OutPoint) -> Transaction {
    // The stripped size must not be 64.
    let script_sig = vec![0x51; 20];
    Transaction {
        version: 2,
        inputs: vec![TxIn { prevout, script_sig, ..TxIn::default() }],
        outputs: vec![TxOut { value: 0, script_pubkey: vec![0x51] }],
        lock_time: 0,
    }
}
