//! What would keep the loop waiting: blocks are read, files replaced and names looked up on threads of
//! their own.

use std::fs::{self, File};
use std::io::Write;
use std::net::ToSocketAddrs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use caesure_blockstore::{BlockReader, BlockStore};
use caesure_engine::{ChainEvent, ChainRequest, Input};
use caesure_http::Stored;
use caesure_wire::{BlockHash, NetAddress};
use crossbeam_channel::{Receiver, Sender};

use crate::Error;
use crate::validator::Task;

/// What the thread is asked.
pub(crate) enum Job {
    /// A stored block is wanted; the answer is [`ChainEvent::Read`].
    Read { ticket: u64, hash: BlockHash },
    /// The same, for another thread. The writer is asked for one that the index does not have yet, and
    /// answers when it can.
    Find { hash: BlockHash, answer: Sender<Result<Option<Vec<u8>>, String>> },
    /// Stored blocks are wanted by their place in the list of them.
    Stored { from: u64, count: usize, answer: Sender<Result<Stored, String>> },
    /// How many transactions a block has is wanted, if the index on the disk has it.
    CountTxs { hash: BlockHash, answer: Sender<Result<Option<u32>, String>> },
    /// A file of the network's folder is replaced.
    Save { file: &'static str, bytes: Vec<u8> },
    /// Go on with nothing more.
    Stop,
}

/// Reads blocks and replaces files, in the order in which it is asked.
pub(crate) struct Disk {
    folder: PathBuf,
    blocks: BlockReader,
    /// The writer, who knows of blocks that the index on the disk does not have yet.
    writer: Sender<Task>,
}

impl Disk {
    pub(crate) fn open(folder: &Path, magic: [u8; 4], writer: Sender<Task>) -> Result<Self, Error> {
        let blocks = BlockStore::open_read_only(folder, magic)?;
        Ok(Self { folder: folder.to_owned(), blocks, writer })
    }

    /// Works until it is told to stop.
    pub(crate) fn start(
        mut self,
        jobs: Receiver<Job>,
        tell: impl Fn(Input) + Send + 'static,
    ) -> JoinHandle<Result<(), Error>> {
        spawn_as("disk", move || {
            while let Ok(job) = jobs.recv()
                && self.work(job, &tell)?
            {}
            Ok(())
        })
    }

    /// Returns whether there is to be more.
    fn work(&mut self, job: Job, tell: &impl Fn(Input)) -> Result<bool, Error> {
        match job {
            Job::Stop => return Ok(false),
            Job::Read { ticket, hash } => match self.read(&hash) {
                Ok(Some(block)) => {
                    let block = Some(Arc::new(block));
                    tell(Input::Chain(ChainEvent::Read { ticket, block }));
                }
                // What the writer cannot read either, it says.
                _ => {
                    let request = ChainRequest::Read { ticket, hash };
                    let _ = self.writer.send(Task::Request(request));
                }
            },
            // Who asked may be gone.
            Job::Find { hash, answer } => match self.read(&hash) {
                Ok(None) => _ = self.writer.send(Task::Find(hash, answer)),
                found => _ = answer.send(found.map_err(|error| error.to_string())),
            },
            Job::Stored { from, count, answer } => {
                let stored = self.stored(from, count).map_err(|error| error.to_string());
                let _ = answer.send(stored);
            }
            Job::CountTxs { hash, answer } => {
                let counted = self.count_txs(&hash).map_err(|error| error.to_string());
                let _ = answer.send(counted);
            }
            Job::Save { file, bytes } => replace_file(&self.folder.join(file), &bytes)?,
        }
        Ok(true)
    }

    /// The blocks from a number on, as far as the index on the disk has them.
    fn stored(&mut self, from: u64, count: usize) -> Result<Stored, caesure_blockstore::Error> {
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        if self.blocks.len() <= from {
            self.blocks.refresh()?;
        }
        let hashes = self.blocks.stored(from, count);
        Ok(Stored { hashes, len: self.blocks.len() as u64 })
    }

    fn count_txs(&mut self, hash: &BlockHash) -> Result<Option<u32>, caesure_blockstore::Error> {
        let is_known = |blocks: &BlockReader| blocks.contains(hash) || blocks.is_released(hash);
        if is_known(&self.blocks) || self.blocks.refresh()? && is_known(&self.blocks) {
            return self.blocks.tx_count(hash);
        }
        Ok(None)
    }

    /// A block that the index on the disk has, as far as is known or after another look.
    fn read(&mut self, hash: &BlockHash) -> Result<Option<Vec<u8>>, caesure_blockstore::Error> {
        if !self.blocks.contains(hash) && (!self.blocks.refresh()? || !self.blocks.contains(hash)) {
            return Ok(None);
        }
        self.blocks.read(hash).map(Some)
    }
}

/// Looks up names, one after the other, until nobody is left who may ask.
pub(crate) fn resolve_names(names: Receiver<String>, tell: impl Fn(Input) + Send + 'static) {
    spawn_as("names", move || {
        for name in names {
            let found = (name.as_str(), 0).to_socket_addrs();
            let addresses = found.into_iter().flatten().map(|it| address(it.ip())).collect();
            tell(Input::Resolved { name, addresses });
        }
    });
}

/// Replaces a file so that at any moment the old or the new one is there, and whole.
pub(crate) fn replace_file(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let temporary = path.with_extension("tmp");
    let write = || {
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    };
    write().map_err(Error::io(path))
}

/// An address as peers tell it: one of IPv4 may come in the clothes of IPv6.
pub(crate) fn address(ip: std::net::IpAddr) -> NetAddress {
    match ip.to_canonical() {
        std::net::IpAddr::V4(ip) => NetAddress::Ipv4(ip.octets()),
        std::net::IpAddr::V6(ip) => NetAddress::Ipv6(ip.octets()),
    }
}

/// Starts a thread that goes by a name.
pub(crate) fn spawn_as<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    let thread = thread::Builder::new().name(name.to_owned());
    thread.spawn(work).expect("the system gives a thread to a program that begins")
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::bounded;

    use super::*;

    #[test]
    fn a_block_that_the_writer_alone_has_keeps_no_other_job_waiting() {
        let folder = tempfile::tempdir().unwrap();
        drop(BlockStore::open(folder.path(), *b"abcd").unwrap());
        let (writer, asked) = bounded(8);
        let mut disk = Disk::open(folder.path(), *b"abcd", writer).unwrap();
        let hash = BlockHash([1; 32]);
        let (answer, found) = bounded(1);
        assert!(disk.work(Job::Find { hash, answer }, &|_| ()).unwrap());
        let (answer, counted) = bounded(1);
        assert!(disk.work(Job::CountTxs { hash, answer }, &|_| ()).unwrap());
        assert_eq!(counted.recv().unwrap(), Ok(None), "nobody is asked");
        assert!(found.try_recv().is_err());
        match asked.try_recv().unwrap() {
            Task::Find(wanted, answer) if wanted == hash => answer.send(Ok(Some(vec![7]))).unwrap(),
            _ => panic!("the block is asked for"),
        }
        assert_eq!(found.recv().unwrap(), Ok(Some(vec![7])));
        assert!(asked.try_recv().is_err());
    }

    #[test]
    fn a_name_is_looked_up_and_one_that_is_not_known_gives_no_address() {
        let (names, asked) = bounded(2);
        let (tell, told) = bounded(2);
        resolve_names(asked, move |input| tell.send(input).unwrap());
        let look_up = |name: &str| {
            names.send(name.to_owned()).unwrap();
            match told.recv().unwrap() {
                Input::Resolved { name: found, addresses } => {
                    assert_eq!(found, name);
                    addresses
                }
                other => panic!("{other:?}"),
            }
        };
        assert!(look_up("127.0.0.1").contains(&NetAddress::Ipv4([127, 0, 0, 1])));
        assert_eq!(look_up("::ffff:1.2.3.4"), [NetAddress::Ipv4([1, 2, 3, 4])]);
        assert_eq!(look_up("no such name"), []);
    }
}
