//! A node in memory, on a generated chain.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use caesure_consensus::{
    BlockContext, HeaderId, HeaderTree, Network, Params, check_block, connect_block,
};
use caesure_generate::{Options, Profile, generate};
use caesure_ledger::{Ledger, Sums, Worlds, genesis_info};
use caesure_prompt::{Command, Fields, Limits, Look, Now, Session, Source, Still, Value};
use caesure_wire::{Block, BlockHash};

pub(crate) struct Node {
    chain: Still,
    pub(crate) takes_commands: AtomicBool,
    pub(crate) commands: Mutex<Vec<Command>>,
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
        let mut tree = HeaderTree::new(&params);
        let mut ledger = Ledger::in_memory(genesis_info(&params, &tree), 288);
        let mut blocks = BTreeMap::from([(params.genesis_hash, params.genesis_block())]);
        let options =
            Options { blocks: TIP, txs: 120, pool: 40, profile: Profile::Mixed, forks: 2, seed: 7 };
        let made = generate(&options, &mut |bytes| {
            let block = Block::parse(bytes).unwrap();
            let id = tree.accept(block.header(), u32::MAX).unwrap();
            if (1..blocks_held_back_from).contains(&tree.height(id)) {
                blocks.insert(block.hash(), bytes.to_vec());
                connect(&block, &params, &tree, id, &mut ledger);
            }
            Ok(())
        });
        made.unwrap();
        let mono = AtomicU64::new(1);
        // A millisecond goes by with each question.
        let now = move || Now {
            mono: Duration::from_millis(mono.fetch_add(1, Ordering::Relaxed)),
            unix: 1_700_000_000,
        };
        let headers = Value::Int(i64::try_from(tree.len()).unwrap());
        Self {
            chain: Still {
                params,
                tree,
                worlds: ledger.reader(),
                read: Box::new(move |hash| Ok(blocks.get(hash).cloned())),
                now: Box::new(now),
                counters: vec![("headers".into(), headers)],
            },
            takes_commands: AtomicBool::new(true),
            commands: Mutex::default(),
        }
    }
}

fn connect(
    block: &Block<&[u8]>,
    params: &Params,
    tree: &HeaderTree,
    id: HeaderId,
    ledger: &mut Ledger,
) {
    let txids = check_block(block, params).unwrap();
    let context = BlockContext::new(params, tree, id);
    let resolved = ledger.resolve(block, &txids, context.checks_bip30).unwrap().unwrap();
    let (prevouts, overwrites) = (&resolved.prevouts, resolved.overwrites);
    let totals = connect_block(block, &context, params, tree, prevouts, overwrites).unwrap();
    let chain_work = tree.chain_work(id);
    let sums = Sums { chain_work, fees: totals.fees, subsidy: totals.subsidy };
    ledger.extend(block, &txids, &resolved, sums).unwrap();
    ledger.commit(&block.hash()).unwrap();
}

impl Source for Node {
    fn params(&self) -> &Params {
        self.chain.params()
    }

    fn worlds(&self) -> Worlds {
        self.chain.worlds()
    }

    fn headers(&self, look: Look) {
        self.chain.headers(look);
    }

    fn read_block(&self, hash: &BlockHash) -> Result<Option<Vec<u8>>, String> {
        self.chain.read_block(hash)
    }

    fn now(&self) -> Now {
        self.chain.now()
    }

    fn counters(&self) -> Fields {
        self.chain.counters()
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
