#![cfg_attr(fuzzing, no_main)]
//! Any lines give replies, in bounded time and memory, and the session goes on.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use caesure_consensus::{HeaderTree, Network, Params};
use caesure_ledger::{Ledger, Worlds, genesis_info};
use caesure_prompt::{Limits, Look, Now, Outcome, Session, Source};
use caesure_wire::BlockHash;
use libfuzzer_sys::fuzz_target;

/// A node that has the genesis block.
struct Node {
    params: Params,
    tree: HeaderTree,
    worlds: Worlds,
    turns: AtomicU64,
}

static NODE: LazyLock<Arc<Node>> = LazyLock::new(|| {
    let params = Params::new(Network::Regtest);
    let tree = HeaderTree::new(&params);
    let worlds = Ledger::in_memory(genesis_info(&params, &tree), 1).reader();
    Arc::new(Node { params, tree, worlds, turns: AtomicU64::new(0) })
});

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
        Ok((*hash == self.params.genesis_hash).then(|| self.params.genesis_block()))
    }

    fn now(&self) -> Now {
        let turns = self.turns.fetch_add(1, Ordering::Relaxed);
        Now { mono: Duration::from_millis(turns), unix: 1_700_000_000 }
    }
}

fuzz_target!(|text: &str| {
    let limits = Limits {
        operations: 20_000,
        text: 10_000,
        list: 1_000,
        map: 1_000,
        memory: 1 << 20,
        blocks: 1 << 20,
        output: 10_000,
        ..Limits::default()
    };
    let mut session = Session::new(Arc::clone(&NODE) as Arc<dyn Source>, limits);
    for line in text.lines() {
        let reply = session.line(line);
        assert_eq!(session.is_incomplete(), reply.outcome == Outcome::Incomplete);
        if let Outcome::Error(fault) = reply.outcome {
            assert!(!fault.text.is_empty());
        }
    }
    session.cancel();
    assert_eq!(session.line("1 + 1").outcome, Outcome::Value("2".to_owned()));
});

#[cfg(not(fuzzing))]
fn main() {}
