//! Files of whole sets: look at them, write them, load them.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter};
use std::path::{Path, PathBuf};

use caesure_consensus::{HeaderId, HeaderTree, Network, Params, subsidy};
use caesure_ledger::original::{CoinsHeader, CoinsReader, CoinsWriter, MetadataReader, Original};
use caesure_ledger::{BlockInfo, FormatError, Summary, Tally, World, original, snapshot};
use caesure_text::hex;
use caesure_wire::BlockHash;
use serde_json::{Value, json};

use crate::args::{Ceiling, Common, Format};
use crate::chain::Chain;
use crate::opening::{Access, Settings, open_chain};
use crate::utxo::{push_summary, world};
use crate::{Error, base, report};

/// The first byte of the original's files; a snapshot begins with a `u`.
const ORIGINAL: u8 = 0x30;

const BUFFER: usize = 1 << 20;

/// Shows what a file holds.
pub(crate) fn info(common: &Common, path: &Path) -> Result<(), Error> {
    let (input, is_original) = open_file(path)?;
    let fields = if is_original {
        match original::read(input).map_err(Error::format(path))? {
            Original::Coins(reader) => coins_fields(reader),
            Original::Metadata(reader) => metadata_fields(reader),
        }
    } else {
        snapshot::Reader::new(input).and_then(snapshot_fields)
    };
    report(common, &fields.map_err(Error::format(path))?);
    Ok(())
}

/// A file that is there already is not written over.
pub(crate) fn refuse_existing(path: &Path) -> Result<(), Error> {
    let is_there = path.symlink_metadata().is_ok();
    if is_there { Err(Error::Exists(path.to_owned())) } else { Ok(()) }
}

/// Writes the set of a block into a new file.
pub(crate) fn export(
    common: &Common,
    chain: &Chain,
    at: &str,
    format: Format,
    path: &Path,
) -> Result<(), Error> {
    let world = world(chain, at)?;
    let mut incomplete = path.as_os_str().to_owned();
    incomplete.push(".incomplete");
    let incomplete = PathBuf::from(incomplete);
    let written = write(&world, &incomplete, format, chain.params.magic).and_then(|summary| {
        fs::rename(&incomplete, path).map_err(Error::io(path)).map(|()| summary)
    });
    if written.is_err() {
        // Nobody needs a part; that it cannot be removed is not what went wrong.
        let _ = fs::remove_file(&incomplete);
    }
    let info = world.info();
    let mut fields = json!({
        "path": path.display().to_string(),
        "height": info.height,
        "bestblock": info.hash.to_string(),
    });
    push_summary(&mut fields, &written?);
    report(common, &fields);
    Ok(())
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
    let mut coins_read = reader.map(|coin| coin.map_err(Error::format(path)));
    chain.load_snapshot(&folder, base, settings.ledger(), &mut coins_read, expected.0)?;
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
        (Some(built_in), Some(given)) if built_in != given => {
            Err(Error::OtherHash { block, built_in })
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

fn write(world: &World, path: &Path, format: Format, magic: [u8; 4]) -> Result<Summary, Error> {
    let file = File::create(path).map_err(Error::io(path))?;
    let out = BufWriter::with_capacity(BUFFER, file);
    let (summary, out) = match format {
        Format::Snapshot => {
            let mut tally = Tally::new();
            let mut writer = snapshot::Writer::new(out, magic, world.info().hash);
            world.for_each(|outpoint, coin| {
                tally.push(outpoint, coin);
                step(&mut writer, |writer| writer.push(outpoint, coin));
            })?;
            (tally.finish(), writer.and_then(snapshot::Writer::finish).map(|(_, out)| out))
        }
        Format::Original => {
            // The header has the number of coins.
            let summary = world.summary()?;
            let mut writer = CoinsWriter::new(out, &original_header(world.info(), &summary));
            world.for_each(|outpoint, coin| {
                step(&mut writer, |writer| writer.push(outpoint, coin));
            })?;
            (summary, writer.and_then(CoinsWriter::finish))
        }
    };
    out.and_then(|out| out.get_ref().sync_all()).map_err(Error::io(path))?;
    Ok(summary)
}

const fn original_header(info: &BlockInfo, summary: &Summary) -> CoinsHeader {
    CoinsHeader {
        height: info.height,
        block: info.hash,
        total: info.total,
        lost: info.lost(),
        fees: info.fees,
        coins: summary.txouts,
    }
}

/// Goes on with a writer that has not failed yet.
fn step<W>(writer: &mut io::Result<W>, go: impl FnOnce(&mut W) -> io::Result<()>) {
    if let Ok(good) = writer
        && let Err(error) = go(good)
    {
        *writer = Err(error);
    }
}

fn snapshot_fields<R: BufRead>(reader: snapshot::Reader<R>) -> Result<Value, FormatError> {
    let snapshot::Header { magic, base, .. } = *reader.header();
    let params = Network::ALL.map(Params::new).into_iter().find(|params| params.magic == magic);
    let mut tally = Tally::new();
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

fn coins_fields<R: BufRead>(reader: CoinsReader<R>) -> Result<Value, FormatError> {
    let header = *reader.header();
    let (mut transactions, mut total_amount) = (0_u64, 0_i64);
    let mut last = None;
    for coin in reader {
        let coin = coin?;
        transactions += u64::from(last.replace(coin.txid) != Some(coin.txid));
        total_amount = total_amount.saturating_add(coin.value);
    }
    Ok(json!({
        "format": "utxo.bin",
        "version": 3,
        "height": header.height,
        "bestblock": header.block.to_string(),
        "transactions": transactions,
        "txouts": header.coins,
        "total_amount": total_amount,
        "total": header.total,
        "lost": header.lost,
        "fees": header.fees,
    }))
}

fn metadata_fields<R: BufRead>(reader: MetadataReader<R>) -> Result<Value, FormatError> {
    let blocks = reader.blocks();
    let (mut highest, mut last_position) = (None, 0);
    for entry in reader {
        let entry = entry?;
        last_position = last_position.max(entry.position);
        highest = highest.max(Some((entry.height, entry.block)));
    }
    let (height, block) = highest.unzip();
    Ok(json!({
        "format": "metadata.bin",
        "version": 1,
        "height": height,
        "bestblock": block.map(|block: BlockHash| block.to_string()),
        "blocks": blocks,
        "last_position": last_position,
    }))
}
