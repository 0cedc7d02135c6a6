use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use caesure_blockstore::{Counts as InputCounts, RecordReader};
use caesure_consensus::Reject;
use caesure_wire::{BlockHash, Header};
use serde_json::{Value, json};

use crate::args::{Common, Import};
use crate::chain::{Chain, Offer, Origin, Refusal};
use crate::opening::{Access, Settings, open_chain};
use crate::progress::Progress;
use crate::{Error, Outcome, Waiting, base, clock, progress, report, signals};

/// How many bytes of unconnected blocks of a stream are kept; those of files are read again.
const STREAM_KEEP_MAX: usize = 64 << 20;

/// An unconnected block: where to find it.
struct Place {
    file: usize,
    position: u64,
    kept: Option<Vec<u8>>,
}

/// What an import met besides blocks that took their turn.
#[derive(Default)]
struct Tally {
    blocks_read: u64,
    duplicates: u64,
    unconnected: u64,
    input: InputCounts,
}

pub(crate) fn run(common: &Common, import: &Import) -> Result<Outcome, Error> {
    let folder = base::network_folder(common.base.as_deref(), common.network())?;
    let Import { validation, paths } = import;
    // A path that cannot be read is said before the base is made or locked.
    let params = common.params();
    let magic = params.magic;
    let readers: Vec<RecordReader> =
        paths.iter().map(|path| RecordReader::open(path, magic)).collect::<Result<_, _>>()?;
    let mut chain = open_chain(&folder, params, Access::Write, &Settings::new(validation))?;
    let total = readers.iter().map(RecordReader::total_bytes).sum();
    let mut progress =
        Progress::new(if paths.is_empty() { chain.tree.len() as u64 } else { total });
    let mut tally = Tally::default();
    chain.stop = stop_flag();
    if validation.assumevalid.is_some_and(|hash| hash != BlockHash::ZERO) {
        let files = readers.iter().zip(paths).filter(|(reader, _)| 0 < reader.total_bytes());
        files.into_iter().try_for_each(|(_, path)| announce_headers(&mut chain, path))?;
    }
    connect_stored(&mut chain, &mut progress, paths.is_empty())?;
    let mut failed = None;
    let mut before = 0;
    for mut reader in readers {
        let read = read_file(&mut chain, &mut reader, &mut tally, &mut progress, before);
        before += reader.total_bytes();
        if let Err(error) = read {
            failed = Some(error);
            break;
        }
    }
    let saved = chain.finish();
    progress.finish();
    failed.map_or(Ok(()), Err)?;
    saved?;
    if paths.is_empty() && chain.tree.len() == 1 {
        return Err(Error::EmptyBase(folder));
    }
    let waiting: usize = chain.waiting.values().map(Vec::len).sum();
    let own = json!({
        "blocks_read": tally.blocks_read,
        "skipped": chain.counts.skipped + tally.unconnected + waiting as u64,
        "parked": chain.counts.parked,
        "duplicates": tally.duplicates + chain.counts.duplicates,
        "foreign": tally.input.foreign,
        "torn_bytes": tally.input.torn_bytes,
        "skipped_bytes": tally.input.skipped_bytes,
        "pruned": tally.input.released,
    });
    Ok(conclude(common, &chain, &progress, own))
}

/// Sets a flag at the first SIGINT or SIGTERM; the second one ends the process, which loses nothing.
pub(crate) fn stop_flag() -> Arc<AtomicBool> {
    // A command that is repeated has the same.
    static STOP: OnceLock<Arc<AtomicBool>> = OnceLock::new();
    let stop = STOP.get_or_init(Arc::default);
    signals::act(|| {
        if stop.swap(true, Ordering::Relaxed) {
            signals::end();
        }
        let text = "stopping: what is stored stays; a second signal ends at once";
        progress::bar().suspend(|| eprintln!("{text}"));
    });
    Arc::clone(stop)
}

/// Shows the chain the headers of a file before its blocks, since what is assumed valid depends on
/// what is on top of it. Streams cannot be read twice. Whatever is wrong is said when the blocks come.
fn announce_headers(chain: &mut Chain, path: &Path) -> Result<(), Error> {
    let now = clock::unix_time();
    let mut waiting: Waiting<Header> = Waiting::new();
    let records = RecordReader::open(path, chain.params.magic)?.map_while(Result::ok);
    for record in records {
        if chain.is_stopped() {
            break;
        }
        let mut ready: Vec<Header> =
            record.bytes.as_ref().first_chunk().map(Header::from_bytes).into_iter().collect();
        while let Some(header) = ready.pop() {
            match chain.announce(&header, now) {
                Ok(()) => ready.extend(waiting.remove(&header.hash()).unwrap_or_default()),
                Err(Reject::PrevBlkNotFound) => {
                    waiting.entry(header.prev_block).or_default().push(header);
                }
                Err(_) => {}
            }
        }
    }
    Ok(())
}

/// Judges blocks that are stored and not yet in the ledger: after a stop, or of an adopted file.
fn connect_stored(chain: &mut Chain, progress: &mut Progress, shows: bool) -> Result<(), Error> {
    let open = chain.open_blocks();
    let over = (chain.tree.len() - open.len()) as u64;
    for (done, id) in (over + 1..).zip(open) {
        if chain.is_stopped() {
            break;
        }
        chain.offer_stored(id)?;
        progress.show(if shows { done } else { 0 }, chain)?;
    }
    chain.drain()
}

fn read_file(
    chain: &mut Chain,
    reader: &mut RecordReader,
    tally: &mut Tally,
    progress: &mut Progress,
    before: u64,
) -> Result<(), Error> {
    let files: Vec<PathBuf> = reader.files().map(Path::to_owned).collect();
    let is_stream = reader.total_bytes() == 0;
    let mut waiting: Waiting<Place> = Waiting::new();
    let mut kept_bytes = 0;
    while let Some(record) = reader.next() {
        let record = record?;
        if chain.is_stopped() {
            break;
        }
        tally.blocks_read += 1;
        let mut place = Place { file: record.file, position: record.position, kept: None };
        let Some(prev) = prev_block(record.bytes.as_ref()) else { continue };
        match offer(chain, record.bytes.as_ref(), &files, &place, tally)? {
            None if is_stream && STREAM_KEEP_MAX < kept_bytes + record.bytes.as_ref().len() => {
                tally.unconnected += 1;
            }
            None => {
                if is_stream {
                    kept_bytes += record.bytes.as_ref().len();
                    place.kept = Some(record.bytes.as_ref().to_vec());
                }
                waiting.entry(prev).or_default().push(place);
            }
            Some(hash) => connect_waiting(chain, reader, &files, &mut waiting, hash, tally)?,
        }
        progress.show(before + reader.bytes_read(), chain)?;
    }
    tally.unconnected += waiting.values().map(|places| places.len() as u64).sum::<u64>();
    let counts = reader.counts();
    if !chain.is_stopped() {
        reader.finish()?;
    }
    tally.input.foreign += counts.foreign;
    tally.input.torn_bytes += counts.torn_bytes;
    tally.input.zero_bytes += counts.zero_bytes;
    tally.input.skipped_bytes += counts.skipped_bytes;
    tally.input.released += counts.released;
    Ok(())
}

fn prev_block(bytes: &[u8]) -> Option<BlockHash> {
    bytes.first_chunk().map(|header| Header::from_bytes(header).prev_block)
}

/// Offers a block; returns its hash unless it is unconnected.
fn offer(
    chain: &mut Chain,
    bytes: &[u8],
    files: &[PathBuf],
    place: &Place,
    tally: &mut Tally,
) -> Result<Option<BlockHash>, Error> {
    let hash = bytes.first_chunk().map(|header| Header::from_bytes(header).hash());
    let origin = Origin { path: files[place.file].clone(), position: place.position };
    if let Some(hash) = hash.filter(|hash| chain.has_released(hash)) {
        tally.duplicates += 1;
        return Ok(Some(hash));
    }
    match chain.offer(bytes, origin, clock::unix_time())? {
        Offer::Unconnected => return Ok(None),
        Offer::Known => tally.duplicates += 1,
        Offer::Taken => {}
    }
    Ok(hash)
}

/// Offers the blocks that waited for a block, and those that waited for them.
fn connect_waiting(
    chain: &mut Chain,
    reader: &RecordReader,
    files: &[PathBuf],
    waiting: &mut Waiting<Place>,
    parent: BlockHash,
    tally: &mut Tally,
) -> Result<(), Error> {
    let mut ready = waiting.remove(&parent).unwrap_or_default();
    while let Some(place) = ready.pop() {
        let hash = match &place.kept {
            Some(bytes) => offer(chain, bytes, files, &place, tally)?,
            None => {
                let bytes = reader.read_at(place.file, place.position)?;
                offer(chain, bytes.as_ref(), files, &place, tally)?
            }
        };
        ready.extend(hash.and_then(|hash| waiting.remove(&hash)).unwrap_or_default());
    }
    Ok(())
}

/// Ends a command that validated blocks: prints what came of it, the fields that it alone has last.
pub(crate) fn conclude(common: &Common, chain: &Chain, progress: &Progress, own: Value) -> Outcome {
    let counts = &chain.counts;
    if let Some(refusal) = &counts.first_invalid {
        eprintln!("invalid block: {}", describe(refusal));
    }
    let tip = *chain.ledger.tip().info();
    let mut fields = json!({
        "blocks_connected": counts.connected,
        "blocks_invalid": counts.invalid,
        "first_invalid": counts.first_invalid.as_ref().map(refusal_json),
        "damaged": counts.damaged.len(),
        "txs": counts.txs,
        "inputs": counts.inputs,
        "signatures": counts.signatures,
        "scripts_cached": counts.scripts_cached,
        "scripts_skipped": counts.scripts_skipped,
        "seconds": progress.seconds(),
        "height": tip.height,
        "bestblock": tip.hash.to_string(),
        "verified": chain.ledger.is_verified(),
        "stopped": chain.is_stopped(),
    });
    if let (Value::Object(fields), Value::Object(mut own)) = (&mut fields, own) {
        fields.append(&mut own);
    }
    report(common, &fields);
    match (chain.is_stopped(), counts.invalid + counts.damaged.len() as u64) {
        (true, _) => Outcome::Stopped,
        (false, 0) => Outcome::Done,
        (false, _) => Outcome::Invalid,
    }
}

/// One line: file, offset, height, hash, input, reason.
fn describe(refusal: &Refusal) -> String {
    let Refusal { origin, height, hash, fault, input } = refusal;
    let height = height.map_or_else(|| "unknown height".to_owned(), |h| format!("height {h}"));
    let input =
        input.map_or_else(String::new, |(tx, input)| format!(", transaction {tx}, input {input}"));
    let (path, position) = (origin.path.display(), origin.position);
    format!("{path} at offset {position}, {height}, {hash}{input}: {fault}")
}

fn refusal_json(refusal: &Refusal) -> Value {
    json!({
        "file": refusal.origin.path.display().to_string(),
        "offset": refusal.origin.position,
        "height": refusal.height,
        "hash": refusal.hash.to_string(),
        "tx": refusal.input.map(|(tx, _)| tx),
        "input": refusal.input.map(|(_, input)| input),
        "reason": refusal.fault.to_string(),
    })
}
