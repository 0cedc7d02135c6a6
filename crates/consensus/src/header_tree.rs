use alloc::vec::Vec;
use core::cmp::Reverse;
use core::iter;

use caesure_wire::{BlockHash, Header, MerkleRoot};
use hashbrown::HashTable;

use crate::header_rules::{HeaderContext, check_header_context};
use crate::{Params, Reject, Target, Work, check_header};

/// How many headers the median time is taken of. Core: `nMedianTimeSpan`.
const MEDIAN_TIME_SPAN: usize = 11;

/// The age, in seconds of work, from which scripts may be assumed valid.
const ASSUME_VALID_AGE: i64 = 14 * 24 * 60 * 60;

/// A header in a [`HeaderTree`]; ids count up in the order of acceptance, parents first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HeaderId(pub u32);

/// All headers that were accepted, on every branch, with the rules for the next.
///
/// A header takes 128 bytes, and 6 to 12 in the index by hash: a million take some 140 MB. The
/// index uses the first bytes of the block hash as they are: whoever wants two of them to collide
/// pays a proof of work for every try. Core: `CBlockIndex`, `BlockMap`.
#[derive(Clone, Debug)]
pub struct HeaderTree {
    params: Params,
    entries: Vec<Entry>,
    ids: HashTable<u32>,
    /// The headers that no other stands on.
    leaves: Vec<HeaderId>,
    best: HeaderId,
}

#[derive(Clone, Debug)]
struct Entry {
    hash: BlockHash,
    merkle_root: MerkleRoot,
    chain_work: Work,
    version: i32,
    time: u32,
    bits: u32,
    nonce: u32,
    parent: HeaderId,
    /// An ancestor further back, so that a walk takes few steps. Core: `pskip`.
    skip: HeaderId,
    height: u32,
    is_invalid: bool,
    has_valid_scripts: bool,
}

const _: () = assert!(size_of::<Entry>() == 128, "the size is documented");

impl HeaderTree {
    /// The id of block 0.
    pub const GENESIS: HeaderId = HeaderId(0);

    /// Makes a tree of block 0.
    #[must_use]
    pub fn new(params: &Params) -> Self {
        let (entries, ids, best) = (Vec::new(), HashTable::new(), Self::GENESIS);
        let leaves = Vec::new();
        let mut tree = Self { params: params.clone(), entries, ids, leaves, best };
        tree.insert(&params.genesis, params.genesis_hash, None);
        tree
    }

    /// Returns the parameters that the tree was made with.
    #[must_use]
    pub const fn params(&self) -> &Params {
        &self.params
    }

    /// Returns how many headers there are.
    #[expect(clippy::len_without_is_empty, reason = "block 0 is always there")]
    #[must_use]
    pub const fn len(&self) -> usize {
        self.entries.len()
    }

    /// Judges a header and takes it in. A header that is known is accepted again. `now` is the
    /// clock in seconds since 1970. Core: `AcceptBlockHeader`.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn accept(&mut self, header: &Header, now: u32) -> Result<HeaderId, Reject> {
        match self.check(header, now)? {
            Some(id) => Ok(id),
            None => {
                let parent = self.find(&header.prev_block);
                Ok(self.insert(header, header.hash(), parent))
            }
        }
    }

    /// Judges a header as [`accept`](Self::accept) does, and returns its id if it is known.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn check(&self, header: &Header, now: u32) -> Result<Option<HeaderId>, Reject> {
        let hash = header.hash();
        if let Some(id) = self.find(&hash) {
            // Block 0 is accepted whatever is said of it.
            let is_known_bad = self.is_invalid(id) && id != Self::GENESIS;
            return if is_known_bad { Err(Reject::DuplicateInvalid) } else { Ok(Some(id)) };
        }
        check_header(header, &self.params)?;
        let parent = self.find(&header.prev_block).ok_or(Reject::PrevBlkNotFound)?;
        if self.is_invalid(parent) {
            return Err(Reject::BadPrevblk);
        }
        let context = HeaderContext { tree: self, parent, now };
        check_header_context(header, &context)?;
        Ok(None)
    }

    /// Finds a header by its hash.
    #[must_use]
    pub fn find(&self, hash: &BlockHash) -> Option<HeaderId> {
        let is_it = |id: &u32| self.entry(HeaderId(*id)).hash == *hash;
        self.ids.find(key(hash), is_it).map(|id| HeaderId(*id))
    }

    /// Finds a header as people name it: by hash, by its height on the chain up to `tip`, or as
    /// `tip` or `tip-N`.
    #[must_use]
    pub fn find_named(&self, text: &str, tip: HeaderId) -> Option<HeaderId> {
        let height = match text.strip_prefix("tip") {
            Some("") => return Some(tip),
            Some(rest) => {
                let back = rest.strip_prefix('-')?.parse().ok()?;
                self.height(tip).checked_sub(back)?
            }
            None => match text.parse() {
                Ok(height) => height,
                Err(_) => return self.find(&text.parse().ok()?),
            },
        };
        self.ancestor(tip, height)
    }

    /// Returns a header.
    ///
    /// # Panics
    /// When the id is another tree's, as all that take an id.
    #[must_use]
    pub fn header(&self, id: HeaderId) -> Header {
        let entry = self.entry(id);
        Header {
            version: entry.version,
            prev_block: self.parent(id).map_or(BlockHash::ZERO, |parent| self.hash(parent)),
            merkle_root: entry.merkle_root,
            time: entry.time,
            bits: entry.bits,
            nonce: entry.nonce,
        }
    }

    /// Returns a header's hash.
    #[must_use]
    pub fn hash(&self, id: HeaderId) -> BlockHash {
        self.entry(id).hash
    }

    /// Returns how many ancestors a header has.
    #[must_use]
    pub fn height(&self, id: HeaderId) -> u32 {
        self.entry(id).height
    }

    /// Returns the work of a header and its ancestors. Core: `nChainWork`.
    #[must_use]
    pub fn chain_work(&self, id: HeaderId) -> Work {
        self.entry(id).chain_work
    }

    /// Returns a header's parent, none for block 0.
    #[must_use]
    pub fn parent(&self, id: HeaderId) -> Option<HeaderId> {
        (id != Self::GENESIS).then(|| self.entry(id).parent)
    }

    /// Returns the header with the most work that is not marked as invalid, the first of several.
    /// Core: `m_best_header`.
    #[must_use]
    pub const fn best(&self) -> HeaderId {
        self.best
    }

    /// Returns the headers that no other stands on, the ends of all branches.
    #[must_use]
    pub fn leaves(&self) -> &[HeaderId] {
        &self.leaves
    }

    /// Returns all headers at a height, those first whose branch leads to the most work. Takes time in
    /// proportion to the branches.
    #[must_use]
    pub fn at_height(&self, height: u32) -> Vec<HeaderId> {
        let mut leaves = self.leaves.clone();
        leaves.sort_by_key(|id| (Reverse(self.chain_work(*id)), *id));
        let mut found = Vec::new();
        for id in leaves.into_iter().filter_map(|leaf| self.ancestor(leaf, height)) {
            if !found.contains(&id) {
                found.push(id);
            }
        }
        found
    }

    /// Returns the headers that stand on a header, those first whose branch leads to the most work.
    #[must_use]
    pub fn children(&self, id: HeaderId) -> Vec<HeaderId> {
        let mut children = self.at_height(self.height(id) + 1);
        children.retain(|child| self.parent(*child) == Some(id));
        children
    }

    /// Returns the ancestor at a height, or the header itself; none above it.
    /// Core: `GetAncestor`.
    #[must_use]
    pub fn ancestor(&self, id: HeaderId, height: u32) -> Option<HeaderId> {
        let mut walk = self.entry(id).height;
        if walk < height {
            return None;
        }
        let mut id = id;
        while height < walk {
            let skip = skip_height(walk);
            let parent_skip = skip_height(walk - 1);
            // The parent's skip is taken instead where it leads nearer.
            let parent_is_better = parent_skip + 2 < skip && height <= parent_skip;
            if skip == height || (height < skip && !parent_is_better) {
                id = self.entry(id).skip;
                walk = skip;
            } else {
                id = self.entry(id).parent;
                walk -= 1;
            }
        }
        Some(id)
    }

    /// Returns the median time of a header and the ten before it. Core: `GetMedianTimePast`.
    /// Spec: BIP-0113.
    #[must_use]
    pub fn median_time_past(&self, id: HeaderId) -> u32 {
        let mut times = [0; MEDIAN_TIME_SPAN];
        let mut count = 0;
        let chain = iter::successors(Some(id), |id| self.parent(*id));
        for (time, id) in times.iter_mut().zip(chain) {
            *time = self.entry(id).time;
            count += 1;
        }
        times[..count].sort_unstable();
        times[count / 2]
    }

    /// Returns the last header that both are or descend from. Core: `LastCommonAncestor`.
    ///
    /// # Panics
    /// When an id is another tree's.
    #[must_use]
    pub fn fork_point(&self, a: HeaderId, b: HeaderId) -> HeaderId {
        let height = self.height(a).min(self.height(b));
        let at_height = |id| self.ancestor(id, height).expect("the height is not above it");
        let (mut a, mut b) = (at_height(a), at_height(b));
        while a != b {
            let [x, y] = [self.entry(a), self.entry(b)];
            // At one height the skips are at one height too.
            (a, b) = if x.skip == y.skip { (x.parent, y.parent) } else { (x.skip, y.skip) };
        }
        a
    }

    /// Returns hashes from a header back to block 0, ever further apart, by which another node
    /// finds where its chain leaves ours. Core: `LocatorEntries`.
    ///
    /// # Panics
    /// When the id is another tree's.
    #[must_use]
    pub fn locator(&self, id: HeaderId) -> Vec<BlockHash> {
        let mut hashes = alloc::vec![self.hash(id)];
        let mut id = id;
        let mut step = 1;
        while id != Self::GENESIS {
            let height = self.height(id).saturating_sub(step);
            id = self.ancestor(id, height).expect("the height is below it");
            if 10 < hashes.len() {
                step *= 2;
            }
            hashes.push(self.hash(id));
        }
        hashes
    }

    /// Marks a header and all that descend from it as invalid. Takes time in proportion to the
    /// headers that came after it. Core: `InvalidBlockFound`, `SetBlockFailureFlags`.
    pub fn mark_invalid(&mut self, id: HeaderId) {
        let first = id.0 as usize;
        self.entries[first].is_invalid = true;
        for i in first + 1..self.entries.len() {
            let parent = self.entries[i].parent;
            self.entries[i].is_invalid |= self.entry(parent).is_invalid;
        }
        if self.is_invalid(self.best) {
            self.find_best();
        }
    }

    /// Takes the mark of invalidity off a header, its ancestors and all that descend from it. Takes
    /// time in proportion to the headers. Core: `ResetBlockFailureFlags`.
    pub fn mark_valid(&mut self, id: HeaderId) {
        let height = self.height(id);
        for other in (0..).map(HeaderId).take(self.len()) {
            let is_kin = || {
                self.ancestor(other, height) == Some(id)
                    || self.ancestor(id, self.height(other)) == Some(other)
            };
            if self.is_invalid(other) && is_kin() {
                self.entries[other.0 as usize].is_invalid = false;
            }
        }
        self.find_best();
    }

    fn find_best(&mut self) {
        let valid = (0..).map(HeaderId).take(self.len()).filter(|&id| !self.is_invalid(id));
        let best = valid.reduce(|best, id| self.better(best, id));
        self.best = best.unwrap_or(Self::GENESIS);
    }

    /// Marks a block as one whose own scripts were run and are good; those of an ancestor may have been
    /// assumed to be. Core: `BLOCK_VALID_SCRIPTS`.
    pub fn mark_scripts_valid(&mut self, id: HeaderId) {
        self.entries[id.0 as usize].has_valid_scripts = true;
    }

    /// Returns whether a block was [marked](Self::mark_scripts_valid) so.
    #[must_use]
    pub fn has_valid_scripts(&self, id: HeaderId) -> bool {
        self.entry(id).has_valid_scripts
    }

    /// Returns whether a header or an ancestor of it was marked as invalid.
    #[must_use]
    pub fn is_invalid(&self, id: HeaderId) -> bool {
        self.entry(id).is_invalid
    }

    /// Returns whether the scripts of a block may be left unchecked, because it is below a block
    /// that is assumed valid: that block is known, descends from it, and so does the best header,
    /// which has at least `minimum_chain_work` and is over two weeks of work ahead.
    /// Core: `ConnectBlock`, `GetBlockProofEquivalentTime`.
    #[must_use]
    pub fn is_assumed_valid(
        &self,
        id: HeaderId,
        assumed: &BlockHash,
        best: HeaderId,
        minimum_chain_work: Work,
    ) -> bool {
        let height = self.height(id);
        let leads_to = |descendant| self.ancestor(descendant, height) == Some(id);
        self.find(assumed).is_some_and(leads_to)
            && leads_to(best)
            && minimum_chain_work <= self.chain_work(best)
            && ASSUME_VALID_AGE < self.seconds_of_work(id, best)
    }

    /// Returns how many seconds the work from `from` to `to` takes at the difficulty of `to`,
    /// negative when `from` has more. Core: `GetBlockProofEquivalentTime`.
    #[must_use]
    pub fn seconds_of_work(&self, from: HeaderId, to: HeaderId) -> i64 {
        let (low, high) = (self.chain_work(from), self.chain_work(to));
        let seconds = |work: Work| work.seconds(self.proof(to), self.params.pow_target_spacing);
        if low <= high { seconds(high - low) } else { -seconds(low - high) }
    }

    /// Returns the work of a header alone. Core: `GetBlockProof`.
    #[must_use]
    pub fn proof(&self, id: HeaderId) -> Work {
        proof(self.entry(id).bits)
    }

    /// The one with more work, or the first.
    fn better(&self, first: HeaderId, second: HeaderId) -> HeaderId {
        if self.chain_work(first) < self.chain_work(second) { second } else { first }
    }

    fn entry(&self, id: HeaderId) -> &Entry {
        &self.entries[id.0 as usize]
    }

    fn insert(&mut self, header: &Header, hash: BlockHash, parent: Option<HeaderId>) -> HeaderId {
        let id = HeaderId(u32::try_from(self.entries.len()).expect("under 2^32 headers"));
        let height = parent.map_or(0, |parent| self.height(parent) + 1);
        let skip = parent.and_then(|parent| self.ancestor(parent, skip_height(height)));
        let work = parent.map_or(Work::ZERO, |parent| self.chain_work(parent));
        self.entries.push(Entry {
            hash,
            merkle_root: header.merkle_root,
            chain_work: work + proof(header.bits),
            version: header.version,
            time: header.time,
            bits: header.bits,
            nonce: header.nonce,
            parent: parent.unwrap_or(id),
            skip: skip.unwrap_or(id),
            height,
            is_invalid: false,
            has_valid_scripts: false,
        });
        let entries = &self.entries;
        self.ids.insert_unique(key(&hash), id.0, |id| key(&entries[*id as usize].hash));
        match self.leaves.iter_mut().rev().find(|leaf| Some(**leaf) == parent) {
            Some(leaf) => *leaf = id,
            None => self.leaves.push(id),
        }
        self.best = self.better(self.best, id);
        id
    }
}

fn proof(bits: u32) -> Work {
    Target::from_compact(bits).expect("an accepted header has a target").work()
}

/// The first bytes of the hash, which are random where the last are zero.
fn key(hash: &BlockHash) -> u64 {
    u64::from_le_bytes(*hash.0.first_chunk().expect("a hash has 8 bytes"))
}

/// The height that a header's skip leads to. Core: `GetSkipHeight`.
const fn skip_height(height: u32) -> u32 {
    const fn clear_lowest_bit(n: u32) -> u32 {
        n & n.wrapping_sub(1)
    }
    match height {
        0 | 1 => 0,
        _ if height % 2 == 1 => clear_lowest_bit(clear_lowest_bit(height - 1)) + 1,
        _ => clear_lowest_bit(height),
    }
}
