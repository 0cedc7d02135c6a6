//! The prompt over a stored chain: sums by a native fold and by the interpreter, a line a figure.

#![allow(clippy::print_stdout, reason = "the figures are the output")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use caesure_blockstore::{BlockReader, BlockStore};
use caesure_consensus::{HeaderTree, Network, Params};
use caesure_generate::{Options, Profile, generate};
use caesure_ledger::{BlockInfo, Ledger, Worlds, genesis_info};
use caesure_prompt::{Limits, Look, Now, Outcome, Session, Source};
use caesure_wire::{Block, BlockHash};

/// A chain in a block file; of its worlds there is the tip's, and it has no coins.
struct Stored {
    params: Params,
    tree: HeaderTree,
    worlds: Worlds,
    blocks: BlockReader,
    _folder: tempfile::TempDir,
}

impl Stored {
    fn new(txs: u32) -> Self {
        let params = Params::new(Network::Regtest);
        let folder = tempfile::tempdir().expect("there is room");
        let (mut store, _) = BlockStore::open(folder.path(), params.magic).expect("a new store");
        let mut tree = HeaderTree::new(&params);
        let options =
            Options { blocks: 400, txs, pool: 1_000, profile: Profile::Mixed, forks: 0, seed: 1 };
        let made = generate(&options, &mut |bytes| {
            let header = *Block::parse(bytes).expect("it is made so").header();
            store.append(bytes, &header.hash()).expect("there is room");
            tree.accept(&header, u32::MAX).expect("it is made so");
            Ok(())
        });
        made.expect("it is made so");
        store.sync().expect("there is room");
        drop(store);
        let blocks =
            BlockStore::open_read_only(folder.path(), params.magic).expect("it was written");
        let tip = tree.best();
        let (hash, height, chain_work) = (tree.hash(tip), tree.height(tip), tree.chain_work(tip));
        let info = BlockInfo { hash, height, chain_work, ..genesis_info(&params, &tree) };
        let worlds = Ledger::in_memory(info, 1).reader();
        Self { params, tree, worlds, blocks, _folder: folder }
    }
}

#[expect(clippy::disallowed_methods, reason = "measurements need a clock")]
fn instant() -> Instant {
    Instant::now()
}

impl Source for Stored {
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
        self.blocks.read(hash).map(Some).map_err(|error| error.to_string())
    }

    fn now(&self) -> Now {
        Now { mono: Duration::ZERO, unix: 0 }
    }
}

/// Runs a line and says how many of something were done in a second.
fn measure(session: &mut Session, name: &str, count: u64, line: &str) {
    let began = instant();
    let reply = session.line(line);
    let seconds = began.elapsed().as_secs_f64();
    assert!(!matches!(reply.outcome, Outcome::Error(_)), "{reply}");
    println!("{name:<44} {:>14.0} a second", count as f64 / seconds);
}

fn main() {
    let source = Arc::new(Stored::new(20_000));
    let (bytes, blocks) = (source.blocks.body_bytes(), source.blocks.len());
    let limits = Limits { operations: u64::MAX, ..Limits::default() };
    let mut session = Session::new(source, limits);
    let Outcome::Value(txs) = session.line("blocks().count_txs()").outcome else {
        panic!("a number")
    };
    let txs: u64 = txs.parse().expect("a number");
    println!("{txs} transactions, {bytes} bytes, {blocks} blocks");
    let times = 500;
    let folds = |fold: &str| format!("for i in 0..{times} {{ blocks().{fold} }}");
    measure(&mut session, "transactions, native count", txs * times, &folds("count_txs()"));
    measure(
        &mut session,
        "transactions, native sum of outputs",
        txs * times,
        &folds("sum_outputs()"),
    );
    measure(&mut session, "bytes, native sum of outputs", bytes * times, &folds("sum_outputs()"));
    let line = "v = 0; for b in blocks() { for t in b.txs { v += t.value } }";
    measure(&mut session, "transactions, interpreter", txs, line);
    let line = "v = 0; for i in 0..3000000 { v += i }";
    measure(&mut session, "turns of a loop, interpreter", 3_000_000, line);
}
