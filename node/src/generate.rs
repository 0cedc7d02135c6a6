use std::fs::File;
use std::io::{BufWriter, ErrorKind, Write};
use std::path::Path;
use std::sync::atomic::Ordering;

use caesure_consensus::{Network, Params};
use caesure_generate::{Options, Summary, generate};
use serde_json::json;

use crate::args::{self, Common};
use crate::import::stop_flag;
use crate::progress::measure;
use crate::{Error, Outcome, report};

pub(crate) fn run(common: &Common, args: &args::Generate) -> Result<Outcome, Error> {
    let options = Options {
        blocks: args.blocks,
        txs: args.txs,
        pool: args.pool,
        profile: args.profile,
        forks: args.forks,
        seed: args.seed,
    };
    let summary = match write_chain(&args.out, &options) {
        Err(Error::Io { source, .. }) if source.kind() == ErrorKind::Interrupted => {
            return Ok(Outcome::Stopped);
        }
        written => written?,
    };
    report(
        common,
        &json!({
            "height": summary.height,
            "bestblock": summary.tip.to_string(),
            "blocks": summary.blocks,
            "txs": summary.transactions,
            "signatures": summary.signatures,
            "lost_tips": summary.lost_tips.iter().map(ToString::to_string).collect::<Vec<_>>(),
        }),
    );
    Ok(Outcome::Done)
}

/// Writes a chain in the form of bootstrap.dat. An unfinished file is removed.
pub(crate) fn write_chain(path: &Path, options: &Options) -> Result<Summary, Error> {
    let magic = Params::new(Network::Regtest).magic;
    if path.is_file() {
        return Err(Error::io(path)(ErrorKind::AlreadyExists.into()));
    }
    let stop = stop_flag();
    let mut file = BufWriter::new(File::create(path).map_err(Error::io(path))?);
    let written = measure("making blocks", options.blocks.into(), |bar| {
        generate(options, &mut |block| {
            if stop.load(Ordering::Relaxed) {
                return Err(ErrorKind::Interrupted.into());
            }
            let size = u32::try_from(block.len()).expect("a block is under 4 GiB");
            bar.inc(1);
            [&magic[..], &size.to_le_bytes(), block]
                .iter()
                .try_for_each(|part| file.write_all(part))
        })
    });
    let flushed = file.flush().map_err(Error::io(path));
    let result = written.map_err(|error| match error {
        caesure_generate::Error::Io(source) => Error::io(path)(source),
        error => Error::Generate(error),
    });
    let result = result.and_then(|summary| flushed.map(|()| summary));
    // A device is left alone.
    if result.is_err() && path.is_file() {
        // What is there is no chain; that it cannot be removed would be a second, lesser fault.
        let _ = std::fs::remove_file(path);
    }
    result
}
