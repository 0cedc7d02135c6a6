//! The prompt over a stored chain: sums by a native fold and by the interpreter, a line a figure.

#![allow(clippy::print_stdout, reason = "the figures are the output")]

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use caesure_blockstore::BlockStore;
use caesure_consensus::{HeaderTree, Network, Params};
use caesure_generate::{Options, Profile, generate};
use caesure_ledger::{BlockInfo, Ledger, genesis_info};
use caesure_prompt::{Limits, Outcome, Session, Still};
use caesure_wire::Block;

/// A chain in a block file, with the transactions' bytes and blocks; of its worlds there is the tip's, and
/// it has no coins.
fn stored(folder: &Path, txs: u32) -> (Still, u64, usize) {
    let params = Params::new(Network::Regtest);
    let (mut store, _) = BlockStore::open(folder, params.magic).expect("a new store");
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
    let blocks = BlockStore::open_read_only(folder, params.magic).expect("it was written");
    let (bytes, count) = (blocks.body_bytes(), blocks.len());
    let tip = tree.best();
    let (hash, height, chain_work) = (tree.hash(tip), tree.height(tip), tree.chain_work(tip));
    let info = BlockInfo { hash, height, chain_work, ..genesis_info(&params, &tree) };
    let worlds = Ledger::in_memory(info, 1).reader();
    let read = Box::new(move |hash: &_| blocks.read(hash).map(Some).map_err(|it| it.to_string()));
    let still = Still { tree, worlds, read, ..Still::new(params) };
    (still, bytes, count)
}

#[expect(clippy::disallowed_methods, reason = "measurements need a clock")]
fn instant() -> Instant {
    Instant::now()
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
    let folder = tempfile::tempdir().expect("there is room");
    let (source, bytes, blocks) = stored(folder.path(), 20_000);
    let limits = Limits { operations: u64::MAX, ..Limits::default() };
    let mut session = Session::new(Arc::new(source), limits);
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
