use std::collections::{BTreeSet, VecDeque};
use std::path::{Path, PathBuf};

use caesure_wire::{BlockHash, Header};

use crate::growing::{Files, Found};
use crate::input::Place;
use crate::links::Links;
use crate::{Change, Error};

/// Where to begin to follow. The default is a whole chain, from its beginning.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FollowOptions {
    /// Hash and height of the block on which the input's blocks build, as where a node has deleted
    /// old files. `None`: there is a genesis block among them.
    pub root: Option<(BlockHash, u32)>,
    /// What was followed before and is not to be told again.
    pub from: FollowPosition,
}

/// What a follower has told, for another to go on from there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FollowPosition {
    /// The files, and the byte up to which each was read.
    pub files: Vec<(PathBuf, u64)>,
    /// Blocks that lie below and were not told: they are damaged there, or their turn had not come.
    pub owed: Vec<BlockHash>,
    /// The tip of the best chain, which decides between chains of the same work.
    pub tip: Option<BlockHash>,
}

/// A block that was found by following.
#[derive(Clone, Debug)]
pub struct FollowedBlock {
    /// The raw block: it meets the target it claims, decodes, and gives its merkle root.
    pub bytes: Vec<u8>,
    /// The header's hash.
    pub hash: BlockHash,
    /// The height.
    pub height: u32,
    /// What the block does to the best chain.
    pub change: Change,
    /// The number of the file in [`Follow::files`].
    pub file: usize,
    /// The byte of the file at which the record's prefix begins.
    pub position: u64,
}

/// Follows block files to which another process appends, and tells each block once, after its parent.
///
/// [`poll`](Self::poll) is called until it gives nothing more, and again whenever the caller likes:
/// nothing is done in between, so that neither a clock nor a thread is needed, nor notices of the
/// operating system. A poll that finds nothing asks for the length of each file, and reads the last
/// record and what follows it.
///
/// A record at a file's end is not taken before it is whole, which its merkle root tells: a file of
/// Bitcoin Core is full of zeros beforehand. A damaged one with others behind it is passed over, and
/// told should it be stored again. Where the last record that was read is no longer there, since
/// the file was cut or written anew, the file is read again and only what is new is told.
///
/// A block of a store whose body was released is not told; those on top of it are.
///
/// About 130 bytes of memory are kept for each block, none of its own. A block whose parent has not
/// come is kept so too, and read when it has.
pub struct Follow {
    source: Files,
    links: Links,
    /// By the numbers of the blocks.
    places: Vec<Place>,
    /// Blocks whose turn has come.
    ready: VecDeque<(u32, Change)>,
    /// The bytes of the block that was read last.
    fresh: Option<(u32, Vec<u8>)>,
    /// Blocks that were not taken where they lie.
    owed: BTreeSet<BlockHash>,
    /// The tip of the best chain, as far as it was told.
    tip: Option<BlockHash>,
}

impl Follow {
    /// Opens a `bootstrap.dat` or the like, the `blocks` folder of Bitcoin Core or the one above it,
    /// or the folder of a store, of which only what is durable is told.
    ///
    /// # Errors
    /// When there is nothing to read, or `xor.dat` is no key.
    pub fn open(path: &Path, magic: [u8; 4], options: &FollowOptions) -> Result<Self, Error> {
        let mut follow = Self {
            source: Files::open(path, magic)?,
            links: Links::new(options.root),
            places: Vec::new(),
            ready: VecDeque::new(),
            fresh: None,
            owed: options.from.owed.iter().copied().collect(),
            tip: options.from.tip,
        };
        follow.take_up(&options.from)?;
        Ok(follow)
    }

    /// Returns the next block, or nothing when there is none yet.
    ///
    /// # Errors
    /// [`Error::OtherNetwork`] when there are only other networks' blocks; when a file cannot be
    /// read, or a block that was found is no longer there. The next call tries again.
    pub fn poll(&mut self) -> Result<Option<FollowedBlock>, Error> {
        loop {
            let Some(id) = self.next_ready()? else { return Ok(None) };
            let (hash, height) = (self.links.hash(id), self.links.height(id).unwrap_or_default());
            let place = self.places[id as usize];
            let bytes = match self.fresh.take_if(|(fresh, _)| *fresh == id) {
                Some((_, bytes)) => bytes,
                None => match self.source.read(place, &hash) {
                    Err(Error::Pruned(_)) => {
                        self.take_ready(hash);
                        continue;
                    }
                    read => read?,
                },
            };
            let Place { file, position, .. } = place;
            let block = |change| FollowedBlock { bytes, hash, height, change, file, position };
            return Ok(self.take_ready(hash).map(block));
        }
    }

    /// Takes the block off whose turn it is.
    fn take_ready(&mut self, hash: BlockHash) -> Option<Change> {
        let (_, change) = self.ready.pop_front()?;
        if !matches!(change, Change::Fork { .. }) {
            self.tip = Some(hash);
        }
        Some(change)
    }

    /// Reads on until a block's turn has come.
    fn next_ready(&mut self) -> Result<Option<u32>, Error> {
        while self.ready.is_empty() {
            let links = &self.links;
            match self.source.next(&|hash| links.find(hash).is_some())? {
                Found::Nothing => return Ok(None),
                Found::Known(hash, place) => {
                    if let Some(id) = self.links.find(&hash) {
                        self.places[id as usize] = place;
                    }
                }
                Found::Damaged(hash) => drop(self.owed.insert(hash)),
                Found::Released(header, place) => _ = self.add(&header, place),
                Found::New(header, place, bytes) => {
                    let id = self.add(&header, place);
                    self.fresh = Some((id, bytes));
                }
            }
        }
        Ok(self.ready.front().map(|(id, _)| *id))
    }

    /// Returns what was told so far.
    #[must_use]
    pub fn position(&self) -> FollowPosition {
        let ready = self.ready.iter().map(|(id, _)| self.links.hash(*id));
        let owed = ready.chain(self.owed.iter().copied()).collect();
        let files = self.source.ends().map(|(path, end)| (path.to_owned(), end)).collect();
        FollowPosition { files, owed, tip: self.tip }
    }

    /// Iterates over the paths of the files that were found so far.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.source.ends().map(|(path, _)| path)
    }

    /// Returns how many blocks wait for their parent.
    #[must_use]
    pub fn waiting_count(&self) -> usize {
        self.links.held_count()
    }

    /// Adds a sound block; it and those that waited for it are to be told.
    fn add(&mut self, header: &Header, place: Place) -> u32 {
        let hash = header.hash();
        self.owed.remove(&hash);
        self.places.push(place);
        self.links.add(hash, header, |id, change| self.ready.push_back((id, change)))
    }

    /// Takes up what was told before, by headers only.
    fn take_up(&mut self, from: &FollowPosition) -> Result<(), Error> {
        let Self { source, links, places, owed, .. } = self;
        let mut owed_places = Vec::new();
        source.take_up(&from.files, &mut |header, place| {
            let hash = header.hash();
            if owed.contains(&hash) {
                owed_places.push((header, place));
            } else if let Some(id) = links.find(&hash) {
                places[id as usize] = place;
            } else {
                places.push(place);
                links.add(hash, &header, |_, _| {});
            }
        })?;
        if let Some(tip) = self.tip.and_then(|hash| self.links.find(&hash)) {
            self.links.prefer(tip);
        }
        for (header, place) in owed_places {
            let is_new = self.links.find(&header.hash()).is_none();
            if is_new && self.source.read(place, &header.hash()).is_ok() {
                self.add(&header, place);
            }
        }
        Ok(())
    }
}
