//! A node in memory, on a generated chain.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use caesure_consensus::{BlockContext, HeaderTree, Network, Params, check_block, connect_block};
use caesure_generate::{Options, Profile, generate};
use caesure_ledger::{Ledger, Sums, Worlds, genesis_info};
use caesure_prompt::{Command, Fields, Limits, Look, Now, Session, Source, Value};
use caesure_wire::{Block, BlockHash};

pub(crate) struct Node {
    params: Params,
    tree: HeaderTree,
    ledger: Mutex<Ledger>,
    worlds: Worlds,
    blocks: BTreeMap<BlockHash, Vec<u8>>,
    pub(crate) takes_commands: AtomicBool,
    pub(crate) commands: Mutex<Vec<Command>>,
    mono: AtomicU64,
}

/// The height of the tip.
pub(crate) const TIP: u32 = 150;

static NODE: LazyLock<Arc<Node>> = LazyLock::new(|| Arc::new(Node::new(u32::MAX)));

/// The node that most tests look at; none changes it.
pub(crate) fn node() -> Arc<Node> {
    Arc::clone(&NODE)
}

pub(crate) fn session() -> Session {
    // The clock goes on with each question of any test.
    Session::new(node(), Limits { time: Duration::MAX / 4, ..Limits::default() })
}

impl Node {
    pub(crate) fn new(blocks_held_back_from: u32) -> Self {
        let params = Params::new(Network::Regtest);
        let tree = HeaderTree::new(&params);
        let ledger = Ledger::in_memory(genesis_info(&params, &tree), 288);
        let mut node = Self {
            worlds: ledger.reader(),
            ledger: Mutex::new(ledger),
            blocks: BTreeMap::from([(params.genesis_hash, params.genesis_block())]),
            params,
            tree,
            takes_commands: AtomicBool::new(true),
            commands: Mutex::default(),
            mono: AtomicU64::new(1),
        };
        let options =
            Options { blocks: TIP, txs: 120, pool: 40, profile: Profile::Mixed, forks: 2, seed: 7 };
        let made = generate(&options, &mut |bytes| {
            node.add(bytes, blocks_held_back_from);
            Ok(())
        });
        made.unwrap();
        node
    }

    fn add(&mut self, bytes: &[u8], held_back_from: u32) {
        let block = Block::parse(bytes).unwrap();
        let hash = block.hash();
        let id = self.tree.accept(block.header(), u32::MAX).unwrap();
        if hash == self.params.genesis_hash || held_back_from <= self.tree.height(id) {
            return;
        }
        self.blocks.insert(hash, bytes.to_vec());
        let txids = check_block(&block, &self.params).unwrap();
        let context = BlockContext::new(&self.params, &self.tree, id);
        let mut ledger = self.ledger.lock().unwrap();
        let resolved = ledger.resolve(&block, &txids, context.checks_bip30).unwrap().unwrap();
        let prevouts = &resolved.prevouts;
        let totals = connect_block(
            &block,
            &context,
            &self.params,
            &self.tree,
            prevouts,
            resolved.overwrites,
        );
        let totals = totals.unwrap();
        let chain_work = self.tree.chain_work(id);
        let sums = Sums { chain_work, fees: totals.fees, subsidy: totals.subsidy };
        ledger.extend(&block, &txids, &resolved, sums).unwrap();
        ledger.commit(&hash).unwrap();
    }
}

impl Source for Node {
    fn params(&self) -> &Params {
        &self.params
    }

    fn worlds(&self) -> Worlds {
        self.worlds.clone()
    }

    fn headers(&self, look: Look) {
        look(&self.tree);
    }

    fn read_block(&self, hash: &BlockHash) -> Result<Option<Vec<u8>>, String> {
        Ok(self.blocks.get(hash).cloned())
    }

    /// A millisecond goes by with each question.
    fn now(&self) -> Now {
        let mono = Duration::from_millis(self.mono.fetch_add(1, Ordering::Relaxed));
        Now { mono, unix: 1_700_000_000 }
    }

    fn peers(&self) -> Option<Vec<Fields>> {
        Some(vec![vec![
            ("id".into(), Value::Int(3)),
            ("address".into(), Value::Text("192.0.2.7:18444".into())),
            ("ping".into(), Value::Float(0.25)),
            ("in_flight".into(), Value::List(vec![Value::Int(7), Value::Nothing])),
            ("is_inbound".into(), Value::Bool(false)),
        ]])
    }

    fn counters(&self) -> Fields {
        vec![("headers".into(), Value::Int(i64::try_from(self.tree.len()).unwrap()))]
    }

    fn log(&self, count: usize, contains: &str) -> Option<Vec<String>> {
        let lines = ["engine started", "peer 3 connected", "peer 3 version"];
        let found = lines.iter().filter(|line| line.contains(contains));
        let found: Vec<String> = found.map(|line| (*line).to_owned()).collect();
        Some(found[found.len().saturating_sub(count)..].to_vec())
    }

    fn command(&self, command: &Command) -> Result<String, String> {
        if !self.takes_commands.load(Ordering::Relaxed) {
            return Err("commands are switched off (--no-commands)".into());
        }
        self.commands.lock().unwrap().push(command.clone());
        Ok("done".into())
    }
}
