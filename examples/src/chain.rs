use std::collections::BTreeMap;
use std::error::Error;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use caesure_blockstore::RecordReader;
use caesure_consensus::{HeaderId, HeaderTree, Network, Params};
use caesure_wire::{Block, BlockHash, Header};

/// A header and where its record lies: file and byte.
type Place = (Header, usize, u64);

/// The blocks of a file, linked by their headers. Headers are judged; what is in the blocks is not.
pub struct BlockFile {
    tree: HeaderTree,
    reader: RecordReader,
    places: BTreeMap<HeaderId, (usize, u64)>,
    tip: HeaderId,
}

impl BlockFile {
    /// Reads the headers of a file, or of a folder of files, in whatever order they are there.
    /// Blocks that no chain of headers links to block 0 are left out.
    ///
    /// # Errors
    /// When the file cannot be read, or no known network's blocks are in it.
    pub fn open(path: &Path) -> Result<Self, Box<dyn Error>> {
        let params = network_of(path)?;
        let mut reader = RecordReader::open(path, params.magic)?;
        let mut waiting: BTreeMap<BlockHash, Vec<Place>> = BTreeMap::new();
        for record in reader.by_ref() {
            let record = record?;
            let Some(header) = record.bytes.as_ref().first_chunk() else { continue };
            let header = Header::from_bytes(header);
            let place = (header, record.file, record.position);
            waiting.entry(header.prev_block).or_default().push(place);
        }
        reader.finish()?;
        let tree = HeaderTree::new(&params);
        let mut file = Self { tree, reader, places: BTreeMap::new(), tip: HeaderTree::GENESIS };
        let mut parents = vec![BlockHash::ZERO, params.genesis_hash];
        while let Some(parent) = parents.pop() {
            for (header, number, position) in waiting.remove(&parent).unwrap_or_default() {
                // Nothing here depends on a clock: no header is refused for being of the future.
                let Ok(id) = file.tree.accept(&header, u32::MAX) else { continue };
                file.places.entry(id).or_insert((number, position));
                parents.push(header.hash());
            }
        }
        file.tip = file.best();
        Ok(file)
    }

    /// Returns the headers.
    pub const fn tree(&self) -> &HeaderTree {
        &self.tree
    }

    /// Returns how many blocks there are, those of forks included.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Returns whether no block is linked to block 0.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Returns the last block of the chain with the most work.
    pub const fn last_block(&self) -> HeaderId {
        self.tip
    }

    /// Returns the block at a height of the chain with the most work.
    pub fn by_num(&self, height: u32) -> Option<HeaderId> {
        self.tree.ancestor(self.tip, height)
    }

    /// Returns all blocks at a height, whatever their fork.
    pub fn at_height(&self, height: u32) -> Vec<HeaderId> {
        self.places.keys().copied().filter(|id| self.tree.height(*id) == height).collect()
    }

    /// Reads a block.
    ///
    /// # Errors
    /// When the block cannot be read or decoded. Block 0 is known even if the file has it not.
    pub fn block(&self, id: HeaderId) -> Result<Block<Vec<u8>>, Box<dyn Error>> {
        let bytes = match self.places.get(&id) {
            Some((file, position)) => self.reader.read_at(*file, *position)?.as_ref().to_vec(),
            None => self.tree.params().genesis_block(),
        };
        Ok(Block::parse(bytes)?)
    }

    /// The block with the most work, of several the one that came first.
    fn best(&self) -> HeaderId {
        let ids = self.places.keys().copied();
        ids.fold(HeaderTree::GENESIS, |best, id| {
            if self.tree.chain_work(best) < self.tree.chain_work(id) { id } else { best }
        })
    }
}

/// Finds the network of a block file: by the magic it begins with, or by its block 0.
///
/// # Errors
/// When the file cannot be read, or is of no known network.
pub fn network_of(path: &Path) -> Result<Params, Box<dyn Error>> {
    let all = Network::ALL.map(Params::new);
    let mut magic = [0; 4];
    if path.is_file() {
        // A shorter file has no magic, and is refused below.
        let _ = File::open(path)?.read(&mut magic)?;
    }
    if let Some(params) = all.iter().find(|params| params.magic == magic) {
        return Ok(params.clone());
    }
    for params in all {
        let first = RecordReader::open(path, params.magic)?.next().transpose()?;
        let header = first.as_ref().and_then(|record| record.bytes.as_ref().first_chunk());
        if header.is_some_and(|header| Header::from_bytes(header).hash() == params.genesis_hash) {
            return Ok(params);
        }
    }
    Err(format!("{}: no network's blocks begin like this", path.display()).into())
}
