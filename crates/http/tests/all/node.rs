//! A node in memory.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use caesure_consensus::{
    BlockContext, HeaderTree, Network, Params, Reject, check_block, check_block_context,
    connect_block, verify_tx_scripts,
};
use caesure_engine::{
    ChainEvent, ChainRequest, Command, CommandError, Engine, EngineOptions, Input, Output,
};
use caesure_eventlog::{LogOptions, Logger, Tail};
use caesure_generate::{coinbase, mine_block};
use caesure_http::{About, Backend, Calls, Histogram, Look, Queue, Resources, Stored, Thread};
use caesure_ledger::{Ledger, Sums, Worlds, genesis_info};
use caesure_p2p::{BlockState, NetworkOptions, Now, PeerId, SavedFiles, SyncOptions};
use caesure_prompt::{Source, Still};
use caesure_wire::{Block, BlockHash, Endpoint, FrameHeader, Message, TxOut, Version};

/// The time of the clock until a test sets it.
pub(crate) const START: u64 = 1_700_000_000;

pub(crate) struct Node {
    inner: Mutex<Inner>,
    changed: Condvar,
    worlds: Worlds,
    pub(crate) about: About,
    is_stopping: AtomicBool,
    mock: AtomicU64,
    mono: AtomicU64,
    saves: AtomicU64,
    pub(crate) logger: Logger,
    met: AtomicU64,
    times: Histogram,
    calls: Calls,
    /// While it is locked, who asks for the threads or for a block's body waits.
    pub(crate) gate: Arc<Mutex<()>>,
    /// How many wait there, and how many did so at once at most.
    waiting: [AtomicU64; 2],
}

struct Inner {
    engine: Engine,
    ledger: Ledger,
    params: Params,
    blocks: BTreeMap<BlockHash, Vec<u8>>,
    /// The blocks in the order in which they came.
    stored: Vec<BlockHash>,
    replies: BTreeMap<u64, Result<(), CommandError>>,
    next_id: u64,
}

impl Node {
    pub(crate) fn new(horizon: u32) -> Arc<Self> {
        let params = Params::new(Network::Regtest);
        let tree = HeaderTree::new(&params);
        let ledger = Ledger::in_memory(genesis_info(&params, &tree), horizon);
        let worlds = ledger.reader();
        let mut network = NetworkOptions::new(params.clone());
        (network.outbound, network.only_connect, network.services) = (0, true, 9 | 1 << 10);
        let options = EngineOptions {
            network,
            sync: SyncOptions {
                params: params.clone(),
                minimum_chain_work: params.minimum_chain_work,
                blocks_only: false,
                relays_before_tip: false,
                pruned: false,
            },
            saved: SavedFiles::default(),
            tree,
            states: vec![BlockState { has_body: true, is_connected: true }],
            tip: HeaderTree::GENESIS,
            seed: [1; 32],
        };
        let (logger, writer) =
            Logger::new(LogOptions::new(|| START as i64 * 1_000_000), Box::new(std::io::sink()))
                .unwrap();
        // It ends with the process.
        #[expect(
            clippy::disallowed_methods,
            reason = "the log's writer needs a thread, as in node"
        )]
        std::thread::spawn(|| writer.run());
        let engine = Engine::new(options, Now { mono: Duration::ZERO, unix: START });
        let genesis = (params.genesis_hash, params.genesis_block());
        let inner = Inner {
            engine,
            ledger,
            params,
            stored: vec![genesis.0],
            blocks: BTreeMap::from([genesis]),
            replies: BTreeMap::new(),
            next_id: 0,
        };
        Arc::new(Self {
            inner: Mutex::new(inner),
            changed: Condvar::new(),
            worlds,
            about: About {
                folder: PathBuf::from("/nowhere"),
                log_file: None,
                started: Duration::ZERO,
                user_agent: "/Caesure:0.1.0/".into(),
                version: 100,
                is_pruned: false,
                prune_target: None,
                relays_txs: true,
                proxy: None,
                slots: [8, 117],
                allows_commands: true,
            },
            is_stopping: AtomicBool::new(false),
            mock: AtomicU64::new(0),
            mono: AtomicU64::new(1),
            saves: AtomicU64::new(0),
            logger,
            met: AtomicU64::new(1),
            times: Histogram::default(),
            calls: Calls::default(),
            gate: Arc::default(),
            waiting: Default::default(),
        })
    }

    /// One that may not be changed by those who look at it.
    pub(crate) fn without_commands(horizon: u32) -> Arc<Self> {
        let mut node = Self::new(horizon);
        Arc::get_mut(&mut node).unwrap().about.allows_commands = false;
        node
    }

    /// Makes blocks on the tip, and returns their hashes.
    pub(crate) fn grow(&self, count: u32) -> Vec<String> {
        self.mine(self.worlds.tip().info().hash, count, 0)
    }

    /// Makes blocks on the tip's parent, and returns their hashes.
    pub(crate) fn fork(&self, count: u32) -> Vec<String> {
        let tip = self.worlds.tip().info().hash;
        let parent = {
            let inner = self.inner.lock().unwrap();
            Block::parse(&inner.blocks[&tip][..]).unwrap().header().prev_block
        };
        self.mine(parent, count, 1)
    }

    /// Makes blocks on one, whose coinbases have the tag.
    pub(crate) fn mine(&self, on: BlockHash, count: u32, tag: u32) -> Vec<String> {
        let mut tip = on;
        let one = |_| {
            let inner = self.inner.lock().unwrap();
            let tree = inner.engine.sync().tree();
            let height = tree.height(tree.find(&tip).unwrap()) + 1;
            let output = TxOut { value: 1, script_pubkey: vec![0x51] };
            drop(inner);
            let time = u32::try_from(START).unwrap() - 10_000 + height;
            let bytes = mine_block(tip, time, coinbase(height, tag, vec![output]), &[]);
            tip = Block::parse(&bytes[..]).unwrap().header().hash();
            // A block of a branch with no more work than the tip's is taken all the same.
            let taken = self.command(Command::SubmitBlock(Arc::new(bytes)));
            assert!(matches!(&taken, Ok(())) || format!("{taken:?}").contains("inconclusive"));
            tip.to_string()
        };
        (0..count).map(one).collect()
    }

    /// Has a peer dial, at 10.0.0.1, that calls itself so; returns its number.
    pub(crate) fn meet(&self, user_agent: &str) -> u64 {
        let peer = PeerId(self.met.fetch_add(2, Ordering::Relaxed));
        let endpoint = |text: &str| Endpoint::parse(text, 1).unwrap();
        let version = Message::Version(Version {
            version: 70_016,
            services: 9,
            time: 0,
            receiver: (0, endpoint("127.0.0.1")),
            sender: (9, endpoint("10.0.0.1")),
            nonce: 1,
            user_agent: user_agent.into(),
            height: 7,
            relay: true,
        });
        let mut inner = self.inner.lock().unwrap();
        let magic = inner.params.magic;
        let mut payload = Vec::new();
        version.encode_payload(&mut payload);
        let frames = [("version", &payload[..]), ("verack", &[])];
        let bytes = frames.map(|(name, payload)| FrameHeader::frame(magic, name, payload)).concat();
        let (remote, local) = (endpoint("10.0.0.1"), endpoint("127.0.0.1"));
        inner.settle(Input::Accepted { peer, remote, local }, self.now());
        inner.settle(Input::Received { peer, bytes }, self.now());
        peer.0
    }

    /// Whom the node has banned.
    pub(crate) fn bans(&self) -> Vec<String> {
        let inner = self.inner.lock().unwrap();
        inner.engine.network().bans().iter().map(|(subnet, _)| subnet.to_string()).collect()
    }

    /// Has the list of stored blocks be shorter than it was.
    pub(crate) fn forget(&self, count: usize) {
        let mut inner = self.inner.lock().unwrap();
        let len = inner.stored.len() - count;
        inner.stored.truncate(len);
    }

    /// How many waited at the gate at once, at most.
    pub(crate) fn most_waiting(&self) -> u64 {
        self.waiting[1].load(Ordering::Relaxed)
    }

    /// Waits until the gate is open.
    fn pass(&self) {
        let waiting = self.waiting[0].fetch_add(1, Ordering::Relaxed) + 1;
        self.waiting[1].fetch_max(waiting, Ordering::Relaxed);
        drop(self.gate.lock());
        self.waiting[0].fetch_sub(1, Ordering::Relaxed);
    }

    /// How often it was to write a checkpoint.
    pub(crate) fn saves(&self) -> u64 {
        self.saves.load(Ordering::Relaxed)
    }

    fn now(&self) -> Now {
        let mono = Duration::from_millis(self.mono.fetch_add(1, Ordering::Relaxed));
        let mock = self.mock.load(Ordering::Relaxed);
        Now { mono, unix: if mock == 0 { START } else { mock } }
    }
}

impl Inner {
    fn settle(&mut self, input: Input, now: Now) {
        self.engine.handle(input, now);
        while let Some(output) = self.engine.poll(now) {
            match output {
                Output::Chain(request) => self.request(request, now),
                Output::Reply { id, answer } => {
                    self.replies.insert(id, answer);
                }
                _ => {}
            }
        }
    }

    fn tell(&mut self, event: ChainEvent, now: Now) {
        self.settle(Input::Chain(event), now);
    }

    fn request(&mut self, request: ChainRequest, now: Now) {
        let done = |id| ChainEvent::Done { id, result: Ok(()) };
        match request {
            ChainRequest::Headers(_) => {}
            ChainRequest::Block { hash, bytes } => {
                if let Err(error) = self.block(hash, &bytes, now) {
                    let (reason, class) = (error.reason().to_owned(), error.class());
                    self.tell(ChainEvent::Refused { hash, reason, class }, now);
                }
            }
            ChainRequest::Read { ticket, hash } => {
                let block = self.blocks.get(&hash).cloned().map(Arc::new);
                self.tell(ChainEvent::Read { ticket, block }, now);
            }
            ChainRequest::Precious { id, hash } => {
                let chosen = self.ledger.choose(&hash);
                assert!(chosen.is_ok(), "a test asks for blocks that are held");
                self.tell(ChainEvent::Tip { hash }, now);
                self.tell(done(id), now);
            }
            ChainRequest::Invalidate { id, hash } => {
                let block = Block::parse(&self.blocks[&hash][..]).unwrap();
                let parent = block.header().prev_block;
                self.ledger.choose(&parent).unwrap();
                self.tell(ChainEvent::Tip { hash: parent }, now);
                self.tell(done(id), now);
            }
            ChainRequest::Reconsider { id, hash } => {
                self.ledger.choose(&hash).unwrap();
                self.tell(ChainEvent::Tip { hash }, now);
                self.tell(done(id), now);
            }
        }
    }

    /// Checks a block in all ways and connects it.
    fn block(&mut self, hash: BlockHash, bytes: &[u8], now: Now) -> Result<(), Reject> {
        let block = Block::parse(bytes).unwrap();
        let txids = check_block(&block, &self.params)?;
        let tree = self.engine.sync().tree();
        let id = tree.find(&hash).unwrap();
        let (work, context) = (tree.chain_work(id), BlockContext::new(&self.params, tree, id));
        check_block_context(&block, &context, &txids)?;
        self.blocks.insert(hash, bytes.to_vec());
        self.stored.push(hash);
        self.tell(ChainEvent::Stored { hash }, now);
        let resolved = self.ledger.resolve(&block, &txids, context.checks_bip30).unwrap();
        let Some(resolved) = resolved else { return Ok(()) };
        let totals = connect_block(
            &block,
            &context,
            &self.params,
            self.engine.sync().tree(),
            &resolved.prevouts,
            resolved.overwrites,
        )?;
        let mut rest = &resolved.prevouts[..];
        for tx in block.txs().skip(1) {
            let (spent, after) = rest.split_at(tx.input_count());
            rest = after;
            let verified = verify_tx_scripts(tx, spent, context.flags);
            verified.map_err(|(_, error)| Reject::BlockScriptVerifyFlagFailed(error))?;
        }
        let sums = Sums { chain_work: work, fees: totals.fees, subsidy: totals.subsidy };
        let before = self.ledger.tip().info().hash;
        self.ledger.extend(&block, &txids, &resolved, sums).unwrap();
        self.ledger.commit(&hash).unwrap();
        self.tell(ChainEvent::Connected { hash }, now);
        let tip = self.ledger.tip().info().hash;
        if tip != before {
            self.tell(ChainEvent::Tip { hash: tip }, now);
        }
        Ok(())
    }
}

impl Backend for Node {
    fn query(&self, look: Look) {
        look(&self.inner.lock().unwrap().engine, self.now());
    }

    fn command(&self, command: Command) -> Result<(), CommandError> {
        let mut inner = self.inner.lock().unwrap();
        let id = inner.next_id;
        inner.next_id += 1;
        inner.settle(Input::Command { id, command }, self.now());
        self.changed.notify_all();
        inner.replies.remove(&id).expect("each command is answered at once")
    }

    fn worlds(&self) -> Worlds {
        self.worlds.clone()
    }

    fn read_block(&self, hash: &BlockHash) -> Result<Option<Vec<u8>>, String> {
        Ok(self.inner.lock().unwrap().blocks.get(hash).cloned())
    }

    fn tx_count(&self, hash: &BlockHash) -> Result<Option<u32>, String> {
        let block = self.read_block(hash)?;
        let count = |block: Vec<u8>| Block::parse(block).unwrap().tx_count();
        Ok(block.map(count).map(|count| u32::try_from(count).unwrap()))
    }

    fn wait_for_tip(&self, last: BlockHash, timeout: Duration) -> BlockHash {
        let mut inner = self.inner.lock().unwrap();
        let tip = || self.worlds.tip().info().hash;
        // The node's time goes on by a millisecond with each question.
        let mut left = timeout.min(Duration::from_secs(60));
        while tip() == last && !self.is_stopping() && !left.is_zero() {
            let step = left.min(Duration::from_millis(5));
            inner = self.changed.wait_timeout(inner, step).unwrap().0;
            self.mono.fetch_add(u64::try_from(step.as_millis()).unwrap(), Ordering::Relaxed);
            left -= step;
        }
        tip()
    }

    fn set_mock_time(&self, unix: u64) {
        self.mock.store(unix, Ordering::Relaxed);
    }

    fn run_scheduler(&self, forward: Duration) {
        let millis = u64::try_from(forward.as_millis()).unwrap();
        self.mono.fetch_add(millis, Ordering::Relaxed);
    }

    fn stop(&self) {
        self.is_stopping.store(true, Ordering::Relaxed);
        self.changed.notify_all();
    }

    fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Relaxed)
    }

    fn about(&self) -> &About {
        &self.about
    }

    fn stored(&self, from: u64, count: usize) -> Result<Stored, String> {
        let inner = self.inner.lock().unwrap();
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        let hashes = inner.stored.iter().skip(from).take(count).copied().collect();
        Ok(Stored { hashes, len: inner.stored.len() as u64 })
    }

    fn save(&self) {
        self.saves.fetch_add(1, Ordering::Relaxed);
    }

    fn prompt(&self) -> Option<Arc<dyn Source>> {
        let inner = self.inner.lock().unwrap();
        let (gate, blocks) = (Arc::clone(&self.gate), inner.blocks.clone());
        let read = move |hash: &BlockHash| {
            drop(gate.lock());
            Ok(blocks.get(hash).cloned())
        };
        Some(Arc::new(Still {
            tree: inner.engine.sync().tree().clone(),
            worlds: self.worlds.clone(),
            read: Box::new(read),
            ..Still::new(inner.params.clone())
        }))
    }

    fn threads(&self) -> Vec<Thread> {
        self.pass();
        let busy = Duration::from_secs(61);
        vec![Thread { id: 7, name: "<i>loop</i>".into(), state: "running", busy }]
    }

    fn connected_txs(&self) -> u64 {
        self.inner.lock().unwrap().blocks.len() as u64
    }

    fn calls(&self) -> &Calls {
        &self.calls
    }

    fn validate_times(&self) -> &Histogram {
        &self.times
    }

    fn log_dropped(&self) -> u64 {
        3
    }

    fn host_name(&self, address: IpAddr) -> Option<String> {
        Some(format!("<b>{address}</b>"))
    }

    fn log(&self) -> Option<Tail> {
        Some(self.logger.tail())
    }

    fn resources(&self) -> Resources {
        Resources {
            queues: vec![Queue { name: "loop", depth: 1, capacity: 2 }],
            ..Resources::default()
        }
    }

    fn disk_use(&self) -> u64 {
        let inner = self.inner.lock().unwrap();
        inner.blocks.values().map(|block| block.len() as u64 + 8).sum()
    }
}
