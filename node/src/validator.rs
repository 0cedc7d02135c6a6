//! The thread that owns the chain: what the engine asks of it comes in over one bounded channel, and
//! what became of it goes out over another.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use caesure_engine::{ChainEvent, ChainRequest};
use caesure_wire::{BlockHash, Header};
use crossbeam_channel::{Receiver, never, select};

use crate::chain::Chain;
use crate::disk::replace_file;
use crate::header_file::HeaderFile;
use crate::prune::{prune, pruned_height};
use crate::{Error, clock, log};

/// Blocks that a user holds for invalid, a hash a line.
const INVALID: &str = "invalid.txt";
/// While blocks come one after the other, readers see them after this time at the latest.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);

/// What the thread is asked.
pub(crate) enum Task {
    Request(ChainRequest),
    /// The ledger is to be written to the disk.
    Save,
    /// Go on with nothing more.
    Stop,
}

/// A chain that is fed by the engine.
pub(crate) struct Validator {
    pub(crate) chain: Chain,
    headers: HeaderFile,
    folder: PathBuf,
    /// How many bytes of blocks are kept, where old ones are released.
    pub(crate) prune_target: Option<u64>,
    /// How many transactions were connected, for others to see.
    pub(crate) txs: Arc<AtomicU64>,
    /// How many blocks were connected when old ones were last released.
    pruned_at: u64,
    /// Blocks that a user holds for invalid.
    marks: BTreeSet<BlockHash>,
}

impl Validator {
    /// Takes a chain that was opened for writing, with the headers that peers told and what its user
    /// thinks of blocks.
    pub(crate) fn new(mut chain: Chain, folder: &Path) -> Result<Self, Error> {
        let (network, logger) = (chain.params.network.name(), chain.logger.clone());
        let take = |header: &Header| chain.take_header(header).is_ok();
        let headers = HeaderFile::open(folder, network, &logger, take)?;
        let marks = read_marks(&folder.join(INVALID))?;
        for hash in &marks {
            if chain.tree.find(hash).is_some() {
                chain.condemn(hash)?;
            }
        }
        chain.go_live();
        if let Some(height) = pruned_height(&chain) {
            chain.tell(ChainEvent::Pruned { height });
        }
        let (folder, prune_target) = (folder.to_owned(), None);
        let txs = Arc::default();
        Ok(Self { chain, headers, folder, prune_target, txs, pruned_at: 0, marks })
    }

    /// Takes what the engine asks. It is done by [`step`](Self::step), but for what users ask, which
    /// is done here and now.
    pub(crate) fn handle(&mut self, request: ChainRequest) -> Result<(), Error> {
        match request {
            ChainRequest::Headers(headers) => self.take_headers(&headers)?,
            ChainRequest::Block { hash, bytes } => {
                self.chain.take_block(hash, Arc::unwrap_or_clone(bytes));
            }
            ChainRequest::Read { ticket, hash } => {
                let block = self.chain.store.find(&hash)?.map(Arc::new);
                self.chain.tell(ChainEvent::Read { ticket, block });
            }
            ChainRequest::Precious { id, hash } => {
                let result = self.chain.prefer(&hash);
                self.answer(id, result)?;
            }
            ChainRequest::Invalidate { id, hash } => {
                let result = self.chain.condemn(&hash).and_then(|()| {
                    self.marks.insert(hash);
                    self.save_marks()?;
                    self.chain.drain()
                });
                self.answer(id, result)?;
            }
            ChainRequest::Reconsider { id, hash } => {
                let result = self.reconsider(&hash);
                self.answer(id, result)?;
            }
        }
        Ok(())
    }

    /// Does what can be done at once; returns whether there is more.
    pub(crate) fn step(&mut self) -> Result<bool, Error> {
        self.chain.step()
    }

    fn take_headers(&mut self, headers: &[Header]) -> Result<(), Error> {
        let mut taken = Vec::with_capacity(headers.len());
        for header in headers {
            match self.chain.take_header(header) {
                Ok(id) => {
                    taken.push(*header);
                    if self.marks.contains(&header.hash()) {
                        self.chain.tree.mark_invalid(id);
                    }
                }
                // What it stands on was found invalid since.
                Err(reject) => self.chain.tell_refused(header.hash(), reject.into()),
            }
        }
        self.headers.append(&taken)
    }

    fn reconsider(&mut self, hash: &BlockHash) -> Result<(), Error> {
        if let Some(id) = self.chain.tree.find(hash) {
            let chain = &self.chain;
            let is_kin = |mark: &BlockHash| {
                chain.tree.find(mark).is_some_and(|mark| chain.are_kin(mark, id))
            };
            self.marks.retain(|mark| !is_kin(mark));
            self.save_marks()?;
        }
        self.chain.reconsider(hash)
    }

    /// Answers a user. What hinders him stops nothing else; what stops the node is not his to know.
    fn answer(&mut self, id: u64, result: Result<(), Error>) -> Result<(), Error> {
        let result = match result {
            Err(
                error @ (Error::NoSuchBlock(_)
                | Error::Ledger(caesure_ledger::Error::NoAncestor { .. })),
            ) => Err(error.to_string()),
            other => Ok(other?),
        };
        self.chain.tell(ChainEvent::Done { id, result });
        Ok(())
    }

    fn save_marks(&self) -> Result<(), Error> {
        let text: String = self.marks.iter().map(|mark| format!("{mark}\n")).collect();
        replace_file(&self.folder.join(INVALID), text.as_bytes())
    }

    /// Works until it is told to stop, or nobody is left to tell; then saves what it has.
    pub(crate) fn run(
        mut self,
        tasks: &Receiver<Task>,
        tell: impl Fn(ChainEvent) -> bool,
    ) -> Result<(), Error> {
        let mut synced = clock::instant();
        let mut is_synced = true;
        while !self.chain.is_stopped() {
            let began = clock::instant();
            let is_busy = self.step()?;
            log::note_slow(&self.chain.logger, "step of the validator", began);
            self.txs.store(self.chain.counts.txs, Ordering::Relaxed);
            is_synced &= !is_busy;
            if !is_synced && (!is_busy || SYNC_INTERVAL < synced.elapsed()) {
                self.chain.sync()?;
                self.prune()?;
                (synced, is_synced) = (clock::instant(), true);
            }
            if !self.deliver(&tell) {
                break;
            }
            let nothing = never();
            let is_open = self.chain.has_room();
            let tasks = if is_open { tasks } else { &nothing };
            let task = if is_busy && !self.chain.waits_for_threads() {
                tasks.try_recv().ok()
            } else if is_busy {
                select! {
                    recv(tasks) -> task => Some(task.unwrap_or(Task::Stop)),
                    recv(self.chain.done()) -> done => {
                        done.into_iter().for_each(|done| self.chain.receive(done));
                        None
                    }
                }
            } else {
                Some(tasks.recv().unwrap_or(Task::Stop))
            };
            match task {
                None => {}
                Some(Task::Request(request)) => {
                    self.handle(request)?;
                    is_synced = false;
                }
                Some(Task::Save) => self.chain.begin_save()?,
                Some(Task::Stop) => break,
            }
        }
        // Blocks whose scripts are being checked are finished, all others forgotten.
        self.chain.stop.store(true, Ordering::Relaxed);
        self.chain.drain()?;
        self.chain.save()
    }

    /// Releases old blocks if there are too many.
    fn prune(&mut self) -> Result<(), Error> {
        let connected = self.chain.counts.connected;
        if let Some(target) = self.prune_target
            && self.pruned_at != connected
        {
            self.pruned_at = connected;
            if let Some(height) = prune(&mut self.chain, target)? {
                self.chain.tell(ChainEvent::Pruned { height });
            }
        }
        Ok(())
    }

    /// Passes on what happened; false when nobody listens any more.
    fn deliver(&mut self, tell: impl Fn(ChainEvent) -> bool) -> bool {
        while let Some(event) = self.chain.next_event() {
            if !tell(event) {
                return false;
            }
        }
        true
    }
}

fn read_marks(path: &Path) -> Result<BTreeSet<BlockHash>, Error> {
    match fs::read_to_string(path) {
        Ok(text) => {
            let hash = |line: &str| line.parse().map_err(|_| Error::NotAHash(path.to_owned()));
            text.lines().filter(|line| !line.is_empty()).map(hash).collect()
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(BTreeSet::new()),
        Err(error) => Err(Error::io(path)(error)),
    }
}

#[cfg(test)]
mod tests;
