//! What a block file consists of, in one pass: `cargo run -p caesure-examples --example count -- FILE`.
//!
//! All blocks are counted, those of forks too, and nothing is judged. The file is mapped and read in
//! place; memory does not grow with it. Block views hand out slices of the mapped bytes, so that the
//! pass allocates nothing for a transaction.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use caesure_blockstore::RecordReader;
use caesure_examples::{btc, network_of};
use caesure_script::classify;
use caesure_wire::{Block, TxView};

/// What was counted.
#[derive(Default)]
struct Totals {
    blocks: u64,
    undecodable: u64,
    bytes: u64,
    txs: u64,
    coinbases: u64,
    witness_txs: u64,
    inputs: u64,
    witness_inputs: u64,
    /// Count and satoshi by the name of the output's type.
    outputs: BTreeMap<&'static str, (u64, i128)>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args_os().nth(1).ok_or("usage: count FILE")?;
    run(&PathBuf::from(path), &mut io::stdout().lock())
}

/// Counts and writes the table.
pub(crate) fn run(path: &Path, out: &mut dyn Write) -> Result<(), Box<dyn Error>> {
    let params = network_of(path)?;
    let mut records = RecordReader::open(path, params.magic)?;
    let mut totals = Totals::default();
    for record in records.by_ref() {
        let bytes = record?.bytes;
        match Block::parse(&bytes) {
            Ok(block) => totals.add_block(&block),
            Err(_) => totals.undecodable += 1,
        }
    }
    records.finish()?;
    writeln!(out, "network {}", params.network.name())?;
    totals.write(out)?;
    Ok(())
}

impl Totals {
    fn add_block<B: AsRef<[u8]>>(&mut self, block: &Block<B>) {
        self.blocks += 1;
        self.bytes += block.bytes().len() as u64;
        block.txs().for_each(|tx| self.add_tx(tx));
    }

    fn add_tx(&mut self, tx: TxView<'_>) {
        self.txs += 1;
        self.coinbases += u64::from(tx.is_coinbase());
        self.witness_txs += u64::from(tx.has_witness());
        self.inputs += tx.input_count() as u64;
        let witnesses = (0..tx.input_count()).filter(|index| tx.witness(*index).len() != 0);
        self.witness_inputs += witnesses.count() as u64;
        for output in tx.outputs() {
            let name = classify(output.script_pubkey).name();
            let (count, value) = self.outputs.entry(name).or_default();
            *count += 1;
            *value += i128::from(output.value);
        }
    }

    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        for (name, count) in [
            ("blocks", self.blocks),
            ("  that do not decode", self.undecodable),
            ("  bytes", self.bytes),
            ("transactions", self.txs),
            ("  coinbases", self.coinbases),
            ("  with witnesses", self.witness_txs),
            ("inputs", self.inputs),
            ("  with a witness", self.witness_inputs),
        ] {
            writeln!(out, "{name:24}{count:12}")?;
        }
        let sum = self.outputs.values().fold((0, 0), |sum, item| (sum.0 + item.0, sum.1 + item.1));
        writeln!(out, "{:24}{:12}{:>24} BTC", "outputs", sum.0, btc(sum.1))?;
        for (name, (count, value)) in &self.outputs {
            writeln!(out, "  {name:22}{count:12}{:>24} BTC", btc(*value))?;
        }
        Ok(())
    }
}
