//! Files of whole sets: look at them, write them, load them.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter};
use std::path::{Path, PathBuf};

use caesure_consensus::{Coin, HeaderId, HeaderTree, Network, Params, subsidy};
use caesure_ledger::original::{CoinsHeader, CoinsWriter, Entry, Header};
use caesure_ledger::{BlockInfo, FormatError, Ledger, Summary, Tally, World, original, snapshot};
use caesure_text::hex;
use caesure_wire::{BlockHash, OutPoint};
use indicatif::ProgressBarIter;
use serde_json::{Value, json};

use crate::args::{Ceiling, Common};
use crate::chain::Chain;
use crate::opening::{Access, Settings, open_chain, open_ledger};
use crate::progress::{measure, show_count};
use crate::utxo::{block_fields, for_each_coin, push_summary, world};
use crate::{Error, base, report, signals};

/// The first byte of the original's files; a snapshot begins with a `u`.
const ORIGINAL: u8 = 0x30;

const BUFFER: usize = 1 << 20;

/// Shows what a file holds.
pub(crate) fn info(common: &Common, path: &Path) -> Result<(), Error> {
    let (input, is_original) = open_file(path)?;
    let fields = read_measured(input, |input| match is_original {
        true => original_fields(input),
        false => snapshot_fields(input),
    });
    report(common, &fields.map_err(Error::format(path))?);
    Ok(())
}

/// A file that is there already is not written over.
pub(crate) fn refuse_existing(path: &Path) -> Result<(), Error> {
    let is_there = path.symlink_metadata().is_ok();
    if is_there { Err(Error::io(path)(io::ErrorKind::AlreadyExists.into())) } else { Ok(()) }
}

/// Writes the set of a block into a new file.
pub(crate) fn export(
    common: &Common,
    chain: &Chain,
    at: &str,
    format: u8,
    path: &Path,
) -> Result<(), Error> {
    let world = world(chain, at)?;
    let mut incomplete = path.as_os_str().to_owned();
    incomplete.push(".incomplete");
    let incomplete = PathBuf::from(incomplete);
    let part = incomplete.clone();
    signals::act(move || {
        let _ = fs::remove_file(&part);
        signals::end();
    });
    let written = write(&world, &incomplete, format, chain.params.magic).and_then(|summary| {
        fs::rename(&incomplete, path).map_err(Error::io(path)).map(|()| summary)
    });
    if written.is_err() {
        // Nobody needs a part; that it cannot be removed is not what went wrong.
        let _ = fs::remove_file(&incomplete);
    }
    let mut fields = block_fields(world.info());
    push_summary(&mut fields, &written?);
    report(common, &fields);
    Ok(())
}

fn write(world: &World, path: &Path, format: u8, magic: [u8; 4]) -> Result<Summary, Error> {
    let file = File::create(path).map_err(Error::io(path))?;
    let out = BufWriter::with_capacity(BUFFER, file);
    let (summary, out) = if format == 3 {
        // The header has the number of coins.
        let (info, summary) = (world.info(), world.summary()?);
        let header = CoinsHeader {
            height: info.height,
            block: info.hash,
            total: info.total,
            lost: info.lost(),
            fees: info.fees,
            coins: summary.txouts,
        };
        let mut writer = CoinsWriter::new(out, &header).map_err(Error::io(path))?;
        write_each(world, path, |outpoint, coin| writer.push(outpoint, coin))?;
        (summary, writer.finish())
    } else {
        let mut tally = Tally::default();
        let writer = snapshot::Writer::new(out, magic, world.info().hash);
        let mut writer = writer.map_err(Error::io(path))?;
        write_each(world, path, |outpoint, coin| {
            tally.push(outpoint, coin);
            writer.push(outpoint, coin)
        })?;
        (tally.finish(), writer.finish().map(|(_, out)| out))
    };
    out.and_then(|out| out.get_ref().sync_all()).map_err(Error::io(path))?;
    Ok(summary)
}

/// Visits all coins until one cannot be written.
fn write_each(
    world: &World,
    path: &Path,
    mut push: impl FnMut(&OutPoint, &Coin) -> io::Result<()>,
) -> Result<(), Error> {
    let mut written = Ok(());
    for_each_coin(world, "writing coins", |outpoint, coin| {
        if written.is_ok() {
            written = push(outpoint, coin);
        }
    })?;
    written.map_err(Error::io(path))
}

/// Fills an empty ledger.
pub(crate) fn load(
    common: &Common,
    ceiling: Ceiling,
    path: &Path,
    given: Option<BlockHash>,
) -> Result<(), Error> {
    let (input, is_original) = open_file(path)?;
    if is_original {
        return Err(Error::NotLoadable(path.to_owned()));
    }
    let mut reader = snapshot::Reader::new(input).map_err(Error::format(path))?;
    let snapshot::Header { magic, base: block, coins } = *reader.header();
    let params = common.params();
    if magic != params.magic {
        let network = params.network.name();
        return Err(Error::OtherNetwork { path: path.to_owned(), network });
    }
    let expected = trusted_hash(&params, block, given)?;
    let folder = base::network_folder(common.base.as_deref(), common.network())?;
    let settings = Settings::reading(ceiling);
    let mut chain = open_chain(&folder, params, Access::Write, &settings)?;
    if 0 < chain.ledger.tip().info().height {
        return Err(Error::NotEmpty(folder));
    }
    let id = on_best_chain(&chain.tree, &block).ok_or(Error::UnknownBase(block))?;
    let height = chain.tree.height(id);
    reader.set_base_height(height);
    let base = BlockInfo {
        hash: block,
        height,
        chain_work: chain.tree.chain_work(id),
        // The sum of the coins takes its place; what was paid in fees is in no snapshot.
        total: 0,
        fees: 0,
        issued: (0..=height).map(|height| subsidy(height, &chain.params)).sum(),
    };
    // The empty ledger gives way to one that begins with the set.
    let (genesis, options) = (*chain.ledger.base(), settings.ledger());
    chain.ledger = Ledger::in_memory(genesis, options.horizon);
    let params = &chain.params;
    measure("loading coins", coins, |bar| {
        let mut coins = reader.zip(1..).map(|(coin, count)| {
            show_count(bar, count);
            coin.map_err(Error::format(path))
        });
        Ledger::load(&folder, params, base, options.clone(), &mut coins, expected.0)
    })?;
    let found = &mut chain.found;
    chain.ledger = open_ledger(&folder, params, genesis, options, &chain.store, found)?;
    chain.save()?;
    report(
        common,
        &json!({
            "height": height,
            "bestblock": block.to_string(),
            "txouts": coins,
            "hash_serialized_3": expected.to_string(),
            "verified": false,
        }),
    );
    Ok(())
}

/// The hash that a set must have: the one built in for its block, or the user's.
fn trusted_hash(
    params: &Params,
    block: BlockHash,
    given: Option<BlockHash>,
) -> Result<BlockHash, Error> {
    match (built_in_hash(params, &block), given) {
        (Some(expected), Some(found)) if expected != found => {
            Err(Error::WrongHash { expected, found })
        }
        (built_in, given) => built_in.or(given).ok_or(Error::NoTrustedHash(block)),
    }
}

fn built_in_hash(params: &Params, block: &BlockHash) -> Option<BlockHash> {
    let set = params.assumed_sets.iter().find(|set| set.block == *block)?;
    Some(BlockHash(set.hash_serialized_3))
}

/// Finds a header on the branch of valid headers with the most work, or the first of several.
/// Core: `ActivateSnapshot`.
fn on_best_chain(tree: &HeaderTree, block: &BlockHash) -> Option<HeaderId> {
    let id = tree.find(block)?;
    let mut best = HeaderTree::GENESIS;
    for next in (0..).map(HeaderId).take(tree.len()) {
        if tree.chain_work(best) < tree.chain_work(next) && !tree.is_invalid(next) {
            best = next;
        }
    }
    (tree.ancestor(best, tree.height(id)) == Some(id)).then_some(id)
}

/// Opens a file, and tells whether it is one of the original's.
fn open_file(path: &Path) -> Result<(BufReader<File>, bool), Error> {
    let file = File::open(path).map_err(Error::io(path))?;
    let mut input = BufReader::with_capacity(BUFFER, file);
    let first = input.fill_buf().map_err(Error::io(path))?.first();
    let is_original = first == Some(&ORIGINAL);
    Ok((input, is_original))
}

/// Reads a file behind a bar.
fn read_measured<T>(
    input: BufReader<File>,
    read: impl FnOnce(BufReader<ProgressBarIter<BufReader<File>>>) -> T,
) -> T {
    let length = input.get_ref().metadata().map_or(0, |file| file.len());
    measure("reading coins", length, |bar| {
        read(BufReader::with_capacity(BUFFER, bar.wrap_read(input)))
    })
}

fn snapshot_fields(input: impl BufRead) -> Result<Value, FormatError> {
    let reader = snapshot::Reader::new(input)?;
    let snapshot::Header { magic, base, .. } = *reader.header();
    let params = Network::ALL.map(Params::new).into_iter().find(|params| params.magic == magic);
    let mut tally = Tally::default();
    for coin in reader {
        let (outpoint, coin) = coin?;
        tally.push(&outpoint, &coin);
    }
    let summary = tally.finish();
    let built_in = params.as_ref().and_then(|params| built_in_hash(params, &base));
    let mut fields = json!({
        "format": "snapshot",
        "version": snapshot::VERSION,
        "network": params.map_or_else(|| hex::encode(&magic), |it| it.network.name().to_owned()),
        "bestblock": base.to_string(),
    });
    push_summary(&mut fields, &summary);
    // Whether `load` takes it without a hash.
    fields["trusted"] = (built_in == Some(BlockHash(summary.hash_serialized_3))).into();
    Ok(fields)
}

fn original_fields(input: impl BufRead) -> Result<Value, FormatError> {
    let (mut total_amount, mut highest) = (0_i64, None);
    let header = original::read(input, |entry| match entry {
        Entry::Coin(coin) => total_amount = total_amount.saturating_add(coin.value),
        Entry::Block(block) => highest = highest.max(Some((block.height, block.block))),
    })?;
    let text = |block: BlockHash| block.to_string();
    Ok(match header {
        Header::Metadata(blocks) => json!({
            "format": "metadata.bin",
            "version": 1,
            "height": highest.map(|(height, _)| height),
            "bestblock": highest.map(|(_, block)| text(block)),
            "blocks": blocks,
        }),
        Header::Coins(header) => json!({
            "format": "utxo.bin",
            "version": 3,
            "height": header.height,
            "bestblock": text(header.block),
            "txouts": header.coins,
            "total_amount": total_amount,
            "total": header.total,
            "lost": header.lost,
            "fees": header.fees,
        }),
    })
}
