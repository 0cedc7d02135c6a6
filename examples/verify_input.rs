//! One input of a block file's chain, step by step.
//!
//! `cargo run -p caesure-examples --example verify_input -- FILE TXID INDEX` finds the transaction
//! in the chain with the most work, and in the blocks before it the outputs that it spends; then it
//! runs the input's scripts under the rules of its block, printing both stacks before each
//! instruction, and at last the verdict. What need not be a script is not traced: a taproot key
//! spend shows only its verdict.

use std::error::Error;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use caesure_consensus::{BlockContext, HeaderId};
use caesure_examples::{BlockFile, btc, script_text};
use caesure_script::{TxContext, classify};
use caesure_wire::{OutPoint, OutputView, Transaction, Tx, TxOut, Txid};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let [path, txid, index] = &arguments[..] else {
        return Err("usage: verify_input FILE TXID INDEX".into());
    };
    let txid = txid.to_string_lossy().parse()?;
    let index = index.to_string_lossy().parse()?;
    run(&PathBuf::from(path), txid, index, &mut io::stdout().lock())
}

/// Writes the trace and the verdict.
pub(crate) fn run(
    path: &Path,
    txid: Txid,
    index: usize,
    out: &mut dyn Write,
) -> Result<(), Box<dyn Error>> {
    let db = BlockFile::open(path)?;
    let tree = db.tree();
    let (id, owned) = find(&db, txid)?.ok_or("the chain has no such transaction")?;
    if owned.inputs.len() <= index {
        return Err(format!("the transaction has {} inputs", owned.inputs.len()).into());
    }
    let spent = prevouts(&db, id, &owned)?;
    let bytes = Tx::parse(owned.encode())?;
    let tx = bytes.view();
    if tx.is_coinbase() {
        return Err("a coinbase spends nothing".into());
    }

    // The rules are those of the block, not of today.
    let context = BlockContext::new(tree.params(), tree, id);
    writeln!(out, "transaction {txid}")?;
    writeln!(out, "in block    {} at height {}", context.hash, context.height)?;
    writeln!(out, "flags       {}", context.flags)?;
    let (input, output) = (tx.input(index), &spent[index]);
    writeln!(out, "input {index} spends {}", input.prevout)?;
    writeln!(
        out,
        "  {} BTC, {}: {}",
        btc(output.value.into()),
        classify(&output.script_pubkey).name(),
        script_text(&output.script_pubkey)
    )?;
    writeln!(out, "script_sig  {}", script_text(input.script_sig))?;
    writeln!(out, "witness     {} items\n", tx.witness(index).len())?;

    let spent: Vec<OutputView<'_>> = spent.iter().map(view).collect();
    let mut steps = 0;
    let verdict = TxContext::new(tx, &spent).trace_input(index, context.flags, &mut |step| {
        steps += 1;
        writeln!(out, "{step}").map_or(ControlFlow::Break(()), ControlFlow::Continue)
    });
    match verdict {
        ControlFlow::Continue(Ok(())) => writeln!(out, "\n{steps} steps: valid")?,
        ControlFlow::Continue(Err(failure)) => writeln!(out, "\n{steps} steps: {failure}")?,
        ControlFlow::Break(()) => return Err("the output was closed".into()),
    }
    Ok(())
}

/// The block and a copy of a transaction.
fn find(db: &BlockFile, txid: Txid) -> Result<Option<(HeaderId, Transaction)>, Box<dyn Error>> {
    for height in 0..=db.tree().height(db.last_block()) {
        let Some(id) = db.by_num(height) else { break };
        let block = db.block(id)?;
        if let Some(tx) = block.txs().find(|tx| tx.txid() == txid) {
            return Ok(Some((id, tx.to_owned())));
        }
    }
    Ok(None)
}

/// The outputs that a transaction spends, by input, out of the blocks up to its own.
fn prevouts(
    db: &BlockFile,
    id: HeaderId,
    spender: &Transaction,
) -> Result<Vec<TxOut>, Box<dyn Error>> {
    let mut found: Vec<Option<TxOut>> = vec![None; spender.inputs.len()];
    for height in 0..=db.tree().height(id) {
        let Some(id) = db.by_num(height) else { break };
        let block = db.block(id)?;
        for tx in block.txs() {
            let txid = tx.txid();
            for (input, place) in spender.inputs.iter().zip(&mut found) {
                let OutPoint { txid: wanted, vout } = input.prevout;
                if wanted == txid {
                    *place = tx.outputs().nth(vout as usize).map(|output| output.to_owned());
                }
            }
        }
    }
    let is_null = spender.inputs.iter().any(|input| input.prevout == OutPoint::NULL);
    let all: Option<Vec<_>> = found.into_iter().collect();
    all.or_else(|| is_null.then(Vec::new)).ok_or_else(|| "the file has not all it spends".into())
}

fn view(output: &TxOut) -> OutputView<'_> {
    OutputView { value: output.value, script_pubkey: &output.script_pubkey }
}
