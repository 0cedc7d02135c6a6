//! What would keep the loop waiting: blocks are read, files replaced and names looked up on threads of
//! their own.

use std::fs::{self, File};
use std::io::Write;
use std::net::ToSocketAddrs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::thread::{self, JoinHandle};

use caesure_blockstore::{BlockReader, Error as StoreError};
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
    /// A file of the network's folder is replaced.
    Save { file: &'static str, bytes: Vec<u8> },
    /// Go on with nothing more.
    Stop,
}

/// The stored blocks, for all threads: those that the writer has not synced are there too, and nobody
/// waits for it.
pub(crate) struct Blocks(RwLock<BlockReader>);

impl Blocks {
    fn beside(store: &BlockReader) -> Result<Self, Error> {
        Ok(Self(RwLock::new(store.beside()?)))
    }

    /// A block's bytes, none when it is not stored or pruned.
    pub(crate) fn read(&self, hash: &BlockHash) -> Result<Option<Vec<u8>>, StoreError> {
        self.find(|blocks| blocks.read(hash))
    }

    /// How many transactions a block has or had, none when it was never stored or that is not known.
    pub(crate) fn tx_count(&self, hash: &BlockHash) -> Result<Option<u32>, StoreError> {
        Ok(self.find(|blocks| blocks.tx_count(hash))?.flatten())
    }

    /// The blocks from a number on, as far as the index on the disk has them.
    pub(crate) fn stored(&self, from: u64, count: usize) -> Result<Stored, StoreError> {
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        if self.reader().len() <= from {
            self.refresh()?;
        }
        let blocks = self.reader();
        Ok(Stored { hashes: blocks.stored(from, count), len: blocks.len() as u64 })
    }

    /// What is not known was synced at this moment, or after the last look at the disk.
    fn find<T>(
        &self,
        find: impl Fn(&BlockReader) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let mut found = find(&self.reader());
        if let Err(StoreError::Unknown(_)) = found {
            self.refresh()?;
            found = find(&self.reader());
        }
        match found {
            Err(StoreError::Pruned(_) | StoreError::Unknown(_)) => Ok(None),
            found => found.map(Some),
        }
    }

    fn reader(&self) -> RwLockReadGuard<'_, BlockReader> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn refresh(&self) -> Result<bool, StoreError> {
        self.0.write().unwrap_or_else(PoisonError::into_inner).refresh()
    }
}

/// Reads blocks for peers and replaces files, in the order in which it is asked.
pub(crate) struct Disk {
    folder: PathBuf,
    pub(crate) blocks: Arc<Blocks>,
    /// The writer, who says what is wrong with a block that cannot be read.
    writer: Sender<Task>,
}

impl Disk {
    pub(crate) fn open(
        folder: &Path,
        store: &BlockReader,
        writer: Sender<Task>,
    ) -> Result<Self, Error> {
        let blocks = Arc::new(Blocks::beside(store)?);
        Ok(Self { folder: folder.to_owned(), blocks, writer })
    }

    /// Works until it is told to stop.
    pub(crate) fn start(
        self,
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
    fn work(&self, job: Job, tell: &impl Fn(Input)) -> Result<bool, Error> {
        match job {
            Job::Stop => return Ok(false),
            Job::Read { ticket, hash } => match self.blocks.read(&hash) {
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
            Job::Save { file, bytes } => replace_file(&self.folder.join(file), &bytes)?,
        }
        Ok(true)
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
    use caesure_blockstore::BlockStore;
    use caesure_consensus::{Network, Params};
    use crossbeam_channel::bounded;

    use super::*;

    #[test]
    fn blocks_are_read_at_once_before_and_after_the_writer_has_synced_them() {
        let folder = tempfile::tempdir().unwrap();
        let params = Params::new(Network::Regtest);
        let (mut store, _) = BlockStore::open(folder.path(), params.magic).unwrap();
        let blocks = Blocks::beside(&store).unwrap();
        let (genesis, hash) = (params.genesis_block(), params.genesis_hash);
        assert_eq!((blocks.read(&hash).unwrap(), blocks.tx_count(&hash).unwrap()), (None, None));
        store.append(&genesis, &hash).unwrap();
        for is_synced in [false, true] {
            assert_eq!(blocks.read(&hash).unwrap().as_ref(), Some(&genesis));
            assert_eq!(blocks.tx_count(&hash).unwrap(), Some(1));
            assert_eq!(blocks.stored(0, 9).unwrap().hashes.len(), usize::from(is_synced));
            store.sync().unwrap();
        }
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
