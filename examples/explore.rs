//! A walk through a block file, as one took it at the original's prompt.
//!
//! `cargo run -p caesure-examples --example explore -- FILE [HEIGHT]` opens a `bootstrap.dat`, a
//! `blk*.dat`, a `blocks.bin` or a folder of them, and shows what there is to ask: the last block, a
//! block by its number, its transactions, their scripts in two forms, and the blocks at a height,
//! which are several where the chain forked. The answers need one pass over the headers and a read
//! of each block that is shown. Without a height, the last block with a payment in it is taken.

use std::error::Error;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use caesure_examples::{BlockFile, btc, dump_block, dump_tx, form_list, script_text};
use caesure_script::parse_script;
use caesure_wire::{Block, TxView};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let path = arguments.next().ok_or("usage: explore FILE [HEIGHT]")?;
    let height = arguments.next().map(|word| word.to_string_lossy().parse()).transpose()?;
    run(&PathBuf::from(path), height, &mut io::stdout().lock())
}

/// Writes the session.
pub(crate) fn run(
    path: &Path,
    height: Option<u32>,
    out: &mut dyn Write,
) -> Result<(), Box<dyn Error>> {
    let db = BlockFile::open(path)?;
    let tree = db.tree();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    writeln!(out, ">>> db = open('{name}')")?;
    writeln!(out, "<{}: {} blocks>", tree.params().network.name(), db.len())?;
    writeln!(out, ">>> db.last_block\n{}", tree.height(db.last_block()))?;

    let height = match height {
        Some(height) => height,
        None => last_payment(&db)?,
    };
    let id = db.by_num(height).ok_or("the chain is not that high")?;
    let block = db.block(id)?;
    writeln!(out, ">>> b = db.by_num({height})")?;
    writeln!(out, ">>> b.name\n<{}>", block.hash())?;
    writeln!(out, ">>> len(b.transactions)\n{}", block.tx_count())?;
    show_tx(&block, out)?;

    writeln!(out, ">>> db.num_block[{height}]")?;
    let names: Vec<_> =
        db.at_height(height).iter().map(|id| format!("<{}>", tree.hash(*id))).collect();
    writeln!(out, "{{{}}}", names.join(", "))?;
    write!(out, ">>> b.dump()\n{}", dump_block(&block))?;
    Ok(())
}

/// The second transaction of a block, or its only one, and both scripts at its first input's sides.
fn show_tx<B: AsRef<[u8]>>(block: &Block<B>, out: &mut dyn Write) -> io::Result<()> {
    let index = 1.min(block.tx_count() - 1);
    let tx: TxView<'_> = block.tx(index);
    writeln!(out, ">>> tx = b.transactions[{index}]")?;
    write!(out, ">>> tx.dump()\n{}", dump_tx(tx))?;
    let input = tx.input(0);
    writeln!(out, ">>> tx.inputs[0].outpoint\n<{}>", input.prevout)?;
    show_script("tx.inputs[0].script", input.script_sig, out)?;
    let output = tx.output(0);
    writeln!(out, ">>> bcrepr(tx.outputs[0].value)\n'{}'", btc(output.value.into()))?;
    show_script("tx.outputs[0].script", output.script_pubkey, out)
}

/// What the parser and the pretty printer say of a script.
fn show_script(name: &str, script: &[u8], out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, ">>> parse_script({name})")?;
    match parse_script(script) {
        Ok(parsed) => writeln!(out, "{}", form_list(&parsed))?,
        Err(error) => return writeln!(out, "BadScript: {error}"),
    }
    writeln!(out, ">>> pprint_script(_)\n{}", script_text(script))
}

/// The height of the last block that has more than a coinbase, or of the last one.
fn last_payment(db: &BlockFile) -> Result<u32, Box<dyn Error>> {
    let last = db.tree().height(db.last_block());
    for height in (0..=last).rev() {
        let id = db.by_num(height).ok_or("the chain has every height up to its last")?;
        if 1 < db.block(id)?.tx_count() {
            return Ok(height);
        }
    }
    Ok(last)
}
