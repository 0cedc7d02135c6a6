use std::collections::VecDeque;
use std::ops::{ControlFlow, RangeInclusive};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use caesure_wire::{BlockHash, Header};

use crate::input::{InputFile, Place};
use crate::links::Links;
use crate::record::{PREFIX_SIZE, is_released, meets_claimed_target};
use crate::window::Window;
use crate::{Counts, Error, Fault, RecordReader};

/// A worker takes blocks of at least so many bytes at a time, for threads wake each other once a
/// chunk.
const CHUNK_SIZE: usize = 1 << 22;
/// How many chunks are in work or wait for their delivery, for each thread.
const CHUNKS_AHEAD: usize = 3;
/// How many threads there are at most.
const MAX_THREADS: usize = 1024;
/// After how many blocks the first pass tells how far it is.
const PROGRESS_STEP: u64 = 1024;

/// In which order the results of a scan are delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// As they are done.
    Any,
    /// As the records lie in the files.
    #[default]
    File,
    /// By height; blocks of the same height, and behind all others those whose height is not known,
    /// as their records lie.
    Height,
}

/// Which blocks are scanned, and how. The default is all of them, on all cores.
#[derive(Clone, Debug)]
pub struct ScanOptions {
    /// Only blocks of these heights; `None` is all, those too whose height is not known.
    pub heights: Option<RangeInclusive<u32>>,
    /// Only blocks whose header has one of these times, in seconds since 1970.
    pub times: RangeInclusive<u32>,
    /// Only blocks of the chain with the most work; of several, that which was complete first.
    pub best_chain: bool,
    /// The order of the results.
    pub order: Order,
    /// How many threads do the work, 1 to 1,024; the caller's own only delivers.
    pub threads: usize,
    /// Hash and height of the block on which the input's blocks build. `None`: there is a genesis
    /// block among them.
    pub root: Option<(BlockHash, u32)>,
    /// Shows from other threads how far the scan is, and stops it.
    pub control: Arc<ScanControl>,
}

impl Default for ScanOptions {
    fn default() -> Self {
        Self {
            heights: None,
            times: 0..=u32::MAX,
            best_chain: false,
            order: Order::File,
            threads: thread::available_parallelism().map_or(1, usize::from),
            root: None,
            control: Arc::default(),
        }
    }
}

/// How far a scan is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The length in bytes of all files.
    pub input_bytes: u64,
    /// In how many of them records were looked for, without reading the blocks.
    pub located_bytes: u64,
    /// How many blocks are scanned, known when all are located.
    pub total_blocks: u64,
    /// Their length in bytes.
    pub total_bytes: u64,
    /// How many of them are scanned and delivered.
    pub done_blocks: u64,
    /// Their length in bytes.
    pub done_bytes: u64,
}

/// The handle of a scan for other threads.
#[derive(Debug, Default)]
pub struct ScanControl {
    is_stopped: AtomicBool,
    progress: Mutex<Progress>,
}

impl ScanControl {
    /// Ends the scan, now or before it begins: blocks that are in work are finished, no further
    /// result is delivered.
    pub fn stop(&self) {
        self.is_stopped.store(true, Ordering::Relaxed);
    }

    /// Returns how far the scan is.
    pub fn progress(&self) -> Progress {
        *lock(&self.progress)
    }

    fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Relaxed)
    }
}

/// One block of a scan. Nothing is known of it but its framing: it may not even decode.
#[derive(Clone, Copy, Debug)]
pub struct ScannedBlock<'a> {
    /// The raw block.
    pub bytes: &'a [u8],
    /// The header's hash.
    pub hash: BlockHash,
    /// The height, if all blocks below are in the input and meet the targets they claim.
    pub height: Option<u32>,
    /// Whether the block is in the chain with the most work.
    pub is_best: bool,
    /// The file.
    pub path: &'a Path,
    /// The byte of the file at which the record's prefix begins.
    pub position: u64,
}

/// What a scan met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScanReport {
    /// How many blocks were scanned and delivered.
    pub blocks: u64,
    /// Records, and what was passed over between them.
    pub counts: Counts,
    /// Records of blocks that stand in the input again, behind these.
    pub duplicates: u64,
    /// Blocks whose height is not known.
    pub unconnected: u64,
    /// Hash and height of the last block of the best chain.
    pub tip: Option<(BlockHash, u32)>,
    /// Whether the scan was stopped before its end.
    pub is_stopped: bool,
}

/// Does `work` for each block of an input that the options choose, on several threads, and hands the
/// results to `sink` on the caller's thread, until it breaks off.
///
/// First the heads of all records are read, about a page a block, and linked to a tree by their
/// hashes; this takes about 110 bytes of memory a block. Then the chosen blocks are read and worked
/// on. Of several records of one block the last counts, as in a store. No thread outlives the call.
///
/// Blocks are taken in chunks of about 4 MiB, of which at most three for each thread are in work or
/// wait for `sink`. A block that is chosen is in memory while it is worked on, and no longer.
///
/// # Errors
/// [`Error::NotABlockFile`] or [`Error::OtherNetwork`] when there is no record; [`Error::NotSeekable`]
/// for a stream; [`Error::Pruned`] when a chosen block's body is released; [`Error::Damaged`] when a file changes meanwhile; when a file cannot be read.
///
/// # Panics
/// When `work` or `sink` does.
pub fn scan<T: Send>(
    input: RecordReader,
    options: &ScanOptions,
    work: impl Fn(&ScannedBlock<'_>) -> T + Sync,
    sink: impl FnMut(T) -> ControlFlow<()>,
) -> Result<ScanReport, Error> {
    let control = &*options.control;
    *lock(&control.progress) = Progress::default();
    if input.is_stream() {
        return Err(Error::NotSeekable(0));
    }
    let (mut reader, files) = input.unmapped();
    let mut plan = Plan {
        files,
        links: Links::new(options.root),
        places: Vec::new(),
        times: Vec::new(),
        chosen: Vec::new(),
        report: ScanReport::default(),
    };
    plan.locate_all(&mut reader, options)?;
    let threads = options.threads.clamp(1, MAX_THREADS);
    let is_over = AtomicBool::new(false);
    let (tickets, queue) = channel();
    let queue = Mutex::new(queue);
    let (blocks, is_whole) = thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| run(&plan, options, &queue, &is_over, &work));
        }
        let done = plan.deliver(tickets, threads * CHUNKS_AHEAD, options, sink);
        is_over.store(true, Ordering::Relaxed);
        done
    })?;
    let counts = if is_whole { reader.finish()? } else { reader.counts() };
    Ok(ScanReport { blocks, counts, is_stopped: !is_whole, ..plan.report })
}

/// What is to be scanned.
struct Plan {
    files: Vec<InputFile>,
    links: Links,
    /// The places and times of the blocks by their numbers.
    places: Vec<Place>,
    times: Vec<u32>,
    /// The numbers of the chosen blocks in the order of their delivery.
    chosen: Vec<u32>,
    report: ScanReport,
}

impl Plan {
    fn locate_all(
        &mut self,
        reader: &mut RecordReader,
        options: &ScanOptions,
    ) -> Result<(), Error> {
        let control = &*options.control;
        lock(&control.progress).input_bytes = reader.total_bytes();
        while !control.is_stopped()
            && let Some(record) = reader.locate()?
        {
            let (hash, header) = (record.header.hash(), &record.header);
            if let Some(id) = self.links.find(&hash) {
                self.places[id as usize] = record.place;
                self.report.duplicates += 1;
                continue;
            }
            match meets_claimed_target(&header.to_bytes()) {
                true => self.links.add(hash, header, |_, _| {}),
                false => self.links.push(hash, 0),
            };
            self.places.push(record.place);
            self.times.push(header.time);
            if reader.counts().records.is_multiple_of(PROGRESS_STEP) {
                lock(&control.progress).located_bytes = reader.bytes_read();
            }
        }
        self.choose(options);
        let tip = self.links.tip();
        self.report.tip =
            tip.and_then(|id| self.links.height(id).map(|h| (self.links.hash(id), h)));
        let mut progress = lock(&control.progress);
        progress.located_bytes = reader.bytes_read();
        progress.total_blocks = self.chosen.len() as u64;
        let size = |id: &u32| self.places[*id as usize].size as u64;
        progress.total_bytes = self.chosen.iter().map(size).sum();
        Ok(())
    }

    fn choose(&mut self, options: &ScanOptions) {
        let (links, places, times) = (&self.links, &self.places, &self.times);
        let ids = 0..u32::try_from(places.len()).expect("fewer blocks than 2^32");
        self.report.unconnected =
            ids.clone().filter(|&id| links.height(id).is_none()).count() as u64;
        let is_chosen = |id: &u32| {
            let heights = options.heights.as_ref();
            heights.is_none_or(|heights| links.height(*id).is_some_and(|h| heights.contains(&h)))
                && options.times.contains(&times[*id as usize])
                && (!options.best_chain || links.is_best(*id))
        };
        self.chosen = ids.filter(is_chosen).collect();
        let is_by_height = options.order == Order::Height;
        self.chosen.sort_unstable_by_key(|&id| {
            let Place { file, position, .. } = places[id as usize];
            let height = links.height(id).map_or(u64::MAX, u64::from);
            (if is_by_height { height } else { 0 }, file, position)
        });
    }
}

/// The results of a chunk, and the number of bytes of its blocks.
type Done<T> = Result<(Vec<T>, u64), Error>;

/// The numbers of a chunk's blocks, and where their results go. Should its worker panic, that is dropped.
type Ticket<'a, T> = (&'a [u32], Sender<Done<T>>);

/// The results of the next chunk; none when there is no more, or its worker is gone.
fn next_done<T>(waiting: &mut VecDeque<Receiver<Done<T>>>, order: Order) -> Option<Done<T>> {
    let is_done = |(at, results): (usize, &Receiver<Done<T>>)| Some((at, results.try_recv().ok()?));
    if order == Order::Any
        && let Some((at, done)) = waiting.iter().enumerate().find_map(is_done)
    {
        drop(waiting.remove(at));
        return Some(done);
    }
    waiting.pop_front()?.recv().ok()
}

/// Works on chunks until there are no more.
fn run<T>(
    plan: &Plan,
    options: &ScanOptions,
    queue: &Mutex<Receiver<Ticket<'_, T>>>,
    is_over: &AtomicBool,
    work: impl Fn(&ScannedBlock<'_>) -> T,
) {
    let mut open = None;
    let next = || lock(queue).recv();
    while let Ok((chunk, sender)) = next()
        && !is_over.load(Ordering::Relaxed)
        && !options.control.is_stopped()
    {
        let (mut results, mut bytes) = (Vec::new(), 0);
        let mut visit = |block: &ScannedBlock<'_>| {
            bytes += block.bytes.len() as u64;
            results.push(work(block));
        };
        let done = chunk.iter().try_for_each(|&id| plan.visit(id, &mut open, &mut visit));
        // It fails when the scan is over.
        drop(sender.send(done.map(|()| (results, bytes))));
    }
}

impl Plan {
    /// Hands out chunks, and their results to `sink`. Returns how many, and whether that was all.
    fn deliver<'a, T>(
        &'a self,
        tickets: Sender<Ticket<'a, T>>,
        ahead: usize,
        options: &ScanOptions,
        mut sink: impl FnMut(T) -> ControlFlow<()>,
    ) -> Result<(u64, bool), Error> {
        let control = &*options.control;
        let (mut left, mut waiting, mut blocks) = (&self.chosen[..], VecDeque::new(), 0);
        loop {
            while waiting.len() < ahead && !left.is_empty() {
                let (sender, results) = channel();
                waiting.push_back(results);
                // It fails when all workers panicked.
                drop(tickets.send((self.split_chunk(&mut left), sender)));
            }
            // The scope panics when a worker did.
            let Some(done) = next_done(&mut waiting, options.order) else { break };
            let (results, bytes) = done?;
            for result in results {
                if control.is_stopped() {
                    return Ok((blocks, false));
                }
                blocks += 1;
                lock(&control.progress).done_blocks = blocks;
                if sink(result).is_break() {
                    return Ok((blocks, false));
                }
            }
            lock(&control.progress).done_bytes += bytes;
        }
        Ok((blocks, !control.is_stopped()))
    }

    /// Splits off the blocks that make a chunk.
    fn split_chunk<'a>(&self, left: &mut &'a [u32]) -> &'a [u32] {
        let mut bytes = 0;
        let is_in = |id: &&u32| {
            let is_open = bytes < CHUNK_SIZE;
            bytes += self.places[**id as usize].size;
            is_open
        };
        let (chunk, rest) = left.split_at(left.iter().take_while(is_in).count());
        *left = rest;
        chunk
    }

    /// Reads a block and shows it. The file that was read last stays open.
    fn visit(
        &self,
        id: u32,
        open: &mut Option<(usize, Window)>,
        visit: &mut impl FnMut(&ScannedBlock<'_>),
    ) -> Result<(), Error> {
        let Place { file, position, size } = self.places[id as usize];
        let path = &self.files[file].path;
        if open.as_ref().is_none_or(|(last, _)| *last != file) {
            *open = Some((file, self.files[file].open_unmapped()?));
        }
        let Some((_, window)) = open else { return Ok(()) };
        let bytes = window.get(position + PREFIX_SIZE as u64, size).map_err(Error::io(path))?;
        let (links, hash) = (&self.links, self.links.hash(id));
        let fault = match bytes.first_chunk().map(|header| Header::from_bytes(header).hash()) {
            _ if bytes.len() < size => Fault::Short,
            found if found != Some(hash) => Fault::Hash,
            _ if is_released(bytes) => return Err(Error::Pruned(hash)),
            _ => {
                let (height, is_best) = (links.height(id), links.is_best(id));
                visit(&ScannedBlock { bytes, hash, height, is_best, path, position });
                return Ok(());
            }
        };
        Err(Error::Damaged { path: path.clone(), position, fault })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no thread panics while it holds this")
}
