use std::collections::VecDeque;

use caesure_consensus::{
    HeaderId, HeaderTree, MAX_FUTURE_BLOCK_TIME, Network, Params, Target, Work,
    is_permitted_transition,
};
use caesure_hash::siphash24;
use caesure_wire::{BlockHash, Header, MerkleRoot};

use crate::{Now, Random};

/// How much a [`HeadersSync`] keeps. Core: `HeadersSyncParams`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadersSyncParams {
    /// One bit is kept of every so many headers; not 0.
    pub commitment_period: u32,
    /// How many headers are held back in the second download, so that this many, over their period,
    /// bits were right before one is let through.
    pub redownload_buffer: usize,
}

impl HeadersSyncParams {
    /// Returns those of a network.
    #[must_use]
    pub const fn new(network: Network) -> Self {
        let (commitment_period, redownload_buffer) = match network {
            Network::Main => (641, 15_218),
            Network::Testnet3 => (673, 14_460),
            Network::Testnet4 => (606, 16_092),
            Network::Signet => (620, 15_724),
            Network::Regtest => (275, 7_017),
        };
        Self { commitment_period, redownload_buffer }
    }
}

/// Which of the two downloads is under way. Core: `HeadersSyncState::State`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadersSyncState {
    /// The first, which counts the work and keeps one bit of many headers.
    Presync,
    /// The second, which compares the bits and lets headers through.
    Redownload,
    /// Nothing more is taken: the chain is through, or it broke a rule.
    Final,
}

/// What came of a batch of headers. Core: `HeadersSyncState::ProcessingResult`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeadersSyncOutcome {
    /// Headers that may go into the tree, parents first: they are on a chain with enough work.
    pub headers: Vec<Header>,
    /// Whether the next `getheaders` shall be sent, with [`HeadersSync::locator`].
    pub request_more: bool,
    /// Whether nothing was wrong with the batch.
    pub success: bool,
}

/// A download of one peer's headers that keeps next to nothing until their work was shown.
///
/// The headers are downloaded twice. The first time their work is counted, and a salted bit is kept
/// of one header in some hundred. Once the work is enough they are downloaded again, the bits are
/// compared, and a header is let through when enough bits behind it were right: a peer that shows
/// one chain and then sends another of less work is found out before it fills the memory.
///
/// Of the first download one bit is held per period, of at most six headers for each second since
/// the first: on the main network under 1 MB in 2026. Of the second there
/// are 48 bytes for each header that is held back or just came, and as much again for room to grow:
/// under 2 MB. Core: `HeadersSyncState`.
#[derive(Clone, Debug)]
pub struct HeadersSync {
    start: HeaderId,
    params: HeadersSyncParams,
    minimum_work: Work,
    /// Bits are kept of the heights that are this modulo the period. Nobody else knows it.
    offset: u32,
    salt: [u64; 2],
    bits: Bits,
    max_bits: u64,
    state: HeadersSyncState,
    first: Position,
    second: Position,
    buffer: VecDeque<Compressed>,
    /// The hash of the header before the first in the buffer.
    released: BlockHash,
    /// Whether the second download has the work too, so that nothing is held back any more.
    is_enough: bool,
}

impl HeadersSync {
    /// Begins at a header that is known, towards a chain of at least `minimum_work`.
    #[expect(clippy::missing_panics_doc, reason = "a number below a u32 is one")]
    #[must_use]
    pub fn new(
        tree: &HeaderTree,
        start: HeaderId,
        params: HeadersSyncParams,
        minimum_work: Work,
        random: &mut Random,
        now: Now,
    ) -> Self {
        let period = params.commitment_period.max(1);
        let since = now.unix.saturating_sub(tree.median_time_past(start).into());
        // As the median time must rise, no chain has more than six headers a second.
        let max_headers = since.saturating_add(MAX_FUTURE_BLOCK_TIME.into()).saturating_mul(6);
        let position = Position::new(tree, start);
        Self {
            start,
            params: HeadersSyncParams { commitment_period: period, ..params },
            minimum_work,
            offset: u32::try_from(random.below(period.into())).expect("it is below a u32"),
            salt: [random.u64(), random.u64()],
            bits: Bits::default(),
            max_bits: max_headers / u64::from(period),
            state: HeadersSyncState::Presync,
            first: position,
            second: position,
            buffer: VecDeque::new(),
            released: position.hash,
            is_enough: false,
        }
    }

    /// Takes the next batch. The caller has checked that they follow on one another and that each
    /// has its proof of work. `is_full`: whether the message had as many as it may have.
    pub fn process(
        &mut self,
        tree: &HeaderTree,
        headers: &[Header],
        is_full: bool,
    ) -> HeadersSyncOutcome {
        let mut outcome = HeadersSyncOutcome::default();
        if headers.is_empty() {
            return outcome;
        }
        match self.state {
            HeadersSyncState::Presync => {
                outcome.success = self.presync(tree, headers);
                let is_through = self.state == HeadersSyncState::Redownload;
                outcome.request_more = outcome.success && (is_full || is_through);
            }
            HeadersSyncState::Redownload => {
                let mut each = headers.iter();
                outcome.success = each.all(|header| self.redownload(tree.params(), header));
                if outcome.success {
                    outcome.headers = self.release();
                    let is_done = self.is_enough && self.buffer.is_empty();
                    outcome.request_more = is_full && !is_done;
                }
            }
            HeadersSyncState::Final => return outcome,
        }
        if !outcome.request_more {
            self.state = HeadersSyncState::Final;
            self.bits = Bits::default();
            self.buffer = VecDeque::new();
        }
        outcome
    }

    /// Returns the locator of the next `getheaders`; empty when all is over.
    #[must_use]
    pub fn locator(&self, tree: &HeaderTree) -> Vec<BlockHash> {
        let last = match self.state {
            HeadersSyncState::Presync => self.first.hash,
            HeadersSyncState::Redownload => self.second.hash,
            HeadersSyncState::Final => return Vec::new(),
        };
        [vec![last], tree.locator(self.start)].concat()
    }

    /// Returns which download is under way.
    #[must_use]
    pub const fn state(&self) -> HeadersSyncState {
        self.state
    }

    /// Returns the height that the first download reached.
    #[must_use]
    pub const fn presync_height(&self) -> u32 {
        self.first.height
    }

    /// Returns the bytes held, besides those of the struct itself.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.bits.words.capacity() * size_of::<u64>()
            + self.buffer.capacity() * size_of::<Compressed>()
    }

    /// Core: `ValidateAndStoreHeadersCommitments`.
    fn presync(&mut self, tree: &HeaderTree, headers: &[Header]) -> bool {
        if headers[0].prev_block != self.first.hash {
            return false;
        }
        for header in headers {
            if !self.first.advance(tree.params(), header) {
                return false;
            }
            if self.first.height % self.params.commitment_period == self.offset {
                if self.bits.len == self.max_bits {
                    return false;
                }
                self.bits.push(self.bit(&header.hash()));
            }
        }
        self.first.hash = headers[headers.len() - 1].hash();
        if self.minimum_work <= self.first.work {
            self.state = HeadersSyncState::Redownload;
        }
        true
    }

    /// Core: `ValidateAndStoreRedownloadedHeader`.
    fn redownload(&mut self, params: &Params, header: &Header) -> bool {
        if header.prev_block != self.second.hash || !self.second.advance(params, header) {
            return false;
        }
        let hash = header.hash();
        self.is_enough |= self.minimum_work <= self.second.work;
        // What comes after the work was shown may be new since the first download.
        let has_bit = self.second.height % self.params.commitment_period == self.offset;
        if !self.is_enough && has_bit && self.bits.pop() != Some(self.bit(&hash)) {
            return false;
        }
        self.buffer.push_back(Compressed::from(header));
        self.second.hash = hash;
        true
    }

    /// Core: `PopHeadersReadyForAcceptance`.
    fn release(&mut self) -> Vec<Header> {
        let kept = if self.is_enough { 0 } else { self.params.redownload_buffer };
        let count = self.buffer.len().saturating_sub(kept);
        let mut headers = Vec::with_capacity(count);
        for compressed in self.buffer.drain(..count) {
            let header = compressed.header(self.released);
            self.released = header.hash();
            headers.push(header);
        }
        headers
    }

    fn bit(&self, hash: &BlockHash) -> bool {
        siphash24(self.salt[0], self.salt[1], &hash.0) & 1 == 1
    }
}

/// Where a download stands.
#[derive(Clone, Copy, Debug)]
struct Position {
    hash: BlockHash,
    height: u32,
    bits: u32,
    work: Work,
}

impl Position {
    fn new(tree: &HeaderTree, id: HeaderId) -> Self {
        let (height, work) = (tree.height(id), tree.chain_work(id));
        Self { hash: tree.hash(id), height, bits: tree.header(id).bits, work }
    }

    /// Counts a header in, but for its hash. Whoever has little power has the best chance of much
    /// work by few hard headers, so the difficulty must not rise faster than it can.
    fn advance(&mut self, params: &Params, header: &Header) -> bool {
        let Some(height) = self.height.checked_add(1) else { return false };
        let target = Target::from_compact(header.bits);
        let is_permitted = is_permitted_transition(height, self.bits, header.bits, params);
        let Some(target) = target.filter(|_| is_permitted) else { return false };
        self.height = height;
        self.bits = header.bits;
        self.work = self.work + target.work();
        true
    }
}

/// A header without the hash of its parent. Core: `CompressedHeader`.
#[derive(Clone, Debug)]
struct Compressed {
    version: i32,
    merkle_root: MerkleRoot,
    time: u32,
    bits: u32,
    nonce: u32,
}

const _: () = assert!(size_of::<Compressed>() == 48, "the size is documented");

impl Compressed {
    const fn header(&self, prev_block: BlockHash) -> Header {
        let Self { version, merkle_root, time, bits, nonce } = *self;
        Header { version, prev_block, merkle_root, time, bits, nonce }
    }
}

impl From<&Header> for Compressed {
    fn from(header: &Header) -> Self {
        let Header { version, merkle_root, time, bits, nonce, .. } = *header;
        Self { version, merkle_root, time, bits, nonce }
    }
}

/// A queue of bits that is filled first and emptied then.
#[derive(Clone, Debug, Default)]
struct Bits {
    words: Vec<u64>,
    len: u64,
    read: u64,
}

impl Bits {
    /// By how many words it grows.
    const STEP: usize = 1_024;

    fn push(&mut self, bit: bool) {
        if self.len.is_multiple_of(64) {
            if self.words.len() == self.words.capacity() {
                self.words.reserve_exact(Self::STEP);
            }
            self.words.push(0);
        }
        let last = self.words.len() - 1;
        self.words[last] |= u64::from(bit) << (self.len % 64);
        self.len += 1;
    }

    fn pop(&mut self) -> Option<bool> {
        let index = usize::try_from(self.read / 64).ok().filter(|_| self.read < self.len)?;
        let bit = self.words[index] >> (self.read % 64) & 1;
        self.read += 1;
        Some(bit == 1)
    }
}

#[cfg(test)]
mod tests;
