//! The table that finds coins: slots of eight bytes, many readers without a lock, one writer.
//!
//! A slot has 24 bits of the key and the coin's place in the log, or says which block of the window
//! has spent it, and so in whose record its place stands. It lies in one of two buckets of
//! eight slots, a cache line each, inside a group of 64 KiB. A full group is split in two by the next
//! bit of its keys, which its slots hold. The 64 groups of an empty table get shares of the keys that
//! grow from one to two, so that groups split one by one and never all at once: the table is 69 %
//! full at any size, at about twelve bytes a coin, and no insertion takes long.

use std::fs::File;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU32, AtomicU64, fence};
use std::sync::{Mutex, OnceLock};

use byteorder::{ByteOrder, LittleEndian};

use crate::Error;
use crate::mapping::{self, Words};

const WAYS: usize = 8;
const BUCKETS: usize = 1024;
/// How many slots a group has.
pub(crate) const GROUP_SLOTS: usize = WAYS * BUCKETS;
/// How many bytes it has.
pub(crate) const GROUP_BYTES: usize = GROUP_SLOTS * 8;
/// A group with so many coins is split.
const GROUP_FULL: u32 = 8_115;
/// How many groups are mapped at once: 32 MiB.
const SEGMENT_GROUPS: usize = 512;
const SEGMENT_BYTES: u64 = (SEGMENT_GROUPS * GROUP_BYTES) as u64;
/// An empty table has so many groups.
const FIRST_GROUPS: usize = 64;
/// A group is split at most so many times: room for 1.4 billion coins.
const SPLITS: u32 = 12;
/// How many parts of the keys a group may have, all of them at most and one at least.
const PARTS: usize = FIRST_GROUPS << SPLITS;
const TAG_BITS: u32 = 24;
const TAG_SHIFT: u32 = 64 - TAG_BITS;
/// The greatest place that a slot can have.
pub(crate) const PLACE: u64 = (1 << 38) - 1;
/// Instead of a place: the number of the block that spent the coin, and which of its coins it is.
const BY_BLOCK: u64 = 1 << 38;
/// The coin is spent in some world of the window, perhaps.
const SPENT: u64 = 1 << 39;
const NUMBER_SHIFT: u32 = 28;
/// The group still lies in the checkpoint. Odd, as for a group that is being changed.
const NOT_LOADED: u32 = u32::MAX;
/// How far a coin's way to a free slot is looked for.
const STEPS_MAX: usize = 128;

/// Which of the first groups a key belongs to, by its ten top bits: group i has 2^(i/64) shares.
static FIRST_GROUP: [u8; 1024] = first_groups();

const fn first_groups() -> [u8; 1024] {
    // 2^(1/64) and its powers, in units of 2^-30 and rounded down.
    let (mut groups, mut power, mut group, mut at) = ([0; 1024], 1_u64 << 30, 0, 0);
    while at < 1024 {
        // The shares below this group's end, out of 1024.
        while group < 63 && ((power * 1_085_434_106) >> 30) - (1 << 30) <= (at as u64) << 20 {
            power = (power * 1_085_434_106) >> 30;
            group += 1;
        }
        groups[at] = group;
        at += 1;
    }
    groups
}

/// The keyed hash of an outpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key(pub(crate) u64);

impl Key {
    const fn tag(self) -> u64 {
        self.0 >> 30 & ((1 << TAG_BITS) - 1)
    }

    /// Which of the smallest parts it belongs to that a group can have.
    fn part(self) -> usize {
        let first = usize::from(FIRST_GROUP[usize_of(self.0 >> 54)]);
        first << SPLITS | usize_of(self.tag() >> (TAG_BITS - SPLITS))
    }

    fn buckets(self) -> [usize; 2] {
        let first = usize_of(self.0) & (BUCKETS - 1);
        [first, other_bucket(first, self.tag())]
    }

    /// Whether both stand for one place of the table, so that one may be taken for the other.
    pub(crate) fn is_alike(self, other: Self) -> bool {
        let [a, b] = self.buckets();
        self.part() == other.part()
            && self.tag() == other.tag()
            && [[a, b], [b, a]].contains(&other.buckets())
    }
}

#[expect(clippy::cast_possible_truncation, reason = "callers mask or shift to less than 32 bits")]
const fn usize_of(word: u64) -> usize {
    word as usize
}

/// The other bucket of a slot, of which only the tag is known.
fn other_bucket(bucket: usize, tag: u64) -> usize {
    bucket ^ (usize_of(tag.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54) | 1)
}

/// A place in the log, in units of four bytes. None is zero.
pub(crate) type Place = u64;

/// What a slot that is taken says of its coin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot(u64);

impl Slot {
    /// A coin at a place, which some world of the window may have spent, or none.
    pub(crate) const fn at(place: Place, is_spent: bool) -> Self {
        Self(place | if is_spent { SPENT } else { 0 })
    }

    /// A coin that one block of the window alone has spent, of all its coins the one at `index`.
    pub(crate) fn spent_by(number: u16, index: usize) -> Self {
        Self(SPENT | BY_BLOCK | u64::from(number) << NUMBER_SHIFT | index as u64)
    }

    /// The coin's place, if it stands here.
    pub(crate) fn place(self) -> Option<Place> {
        (self.0 & BY_BLOCK == 0).then_some(self.0 & PLACE)
    }

    /// Which block has spent the coin, and which of its coins it is, if its place stands there.
    pub(crate) fn spender(self) -> Option<(u16, u64)> {
        let number = (self.0 >> NUMBER_SHIFT & 0x3ff) as u16;
        (self.0 & BY_BLOCK != 0).then_some((number, self.0 & ((1 << NUMBER_SHIFT) - 1)))
    }

    /// Whether some world of the window may have spent the coin.
    pub(crate) const fn is_spent_somewhere(self) -> bool {
        self.0 & SPENT != 0
    }

    const fn of(word: u64) -> Self {
        Self(word & ((1 << TAG_SHIFT) - 1))
    }

    const fn word(self, tag: u64) -> u64 {
        tag << TAG_SHIFT | self.0
    }
}

/// The slots of a cache line.
type Bucket = [AtomicU64; WAYS];

/// A slot, and what was read from it.
type Seen<'a> = (&'a AtomicU64, u64);

/// The slots of a bucket for whose words something holds. All are compared before the first is looked
/// at: which one it is cannot be foretold, and a wrong guess costs more.
#[inline(always)]
fn which(bucket: &Bucket, is_it: impl Fn(u64) -> bool) -> impl Iterator<Item = Seen<'_>> {
    let words = bucket.each_ref().map(|slot| slot.load(Acquire));
    let mut left = (0..WAYS).fold(0, |bits, at| bits | u32::from(is_it(words[at])) << at);
    std::iter::from_fn(move || {
        let at = left.trailing_zeros() as usize;
        left &= left.wrapping_sub(1);
        Some((bucket.get(at)?, words[at]))
    })
}

/// Those that may be of a coin with a tag.
#[inline(always)]
fn matches(bucket: &Bucket, tag: u64) -> impl Iterator<Item = Seen<'_>> {
    which(bucket, move |word| word >> TAG_SHIFT == tag).filter(|(_, word)| *word != 0)
}

#[inline]
fn free(bucket: &Bucket) -> Option<&AtomicU64> {
    which(bucket, |word| word == 0).next().map(|(slot, _)| slot)
}

#[derive(Clone, Copy, Debug)]
struct Group<'a> {
    segment: &'a Segment,
    number: usize,
}

impl<'a> Group<'a> {
    #[inline]
    fn buckets(self) -> &'a [Bucket; BUCKETS] {
        let buckets = self.segment.words.as_slice().as_chunks().0;
        &buckets.as_chunks().0[self.number % SEGMENT_GROUPS]
    }

    fn words(self) -> &'a [AtomicU64] {
        self.buckets().as_flattened()
    }

    #[inline]
    fn live(&self) -> &'a AtomicU32 {
        &self.segment.live[self.number % SEGMENT_GROUPS]
    }
}

/// Where the coins of a key lie, until the group is split.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spot<'a> {
    pub(crate) key: Key,
    group: Group<'a>,
    buckets: [&'a Bucket; 2],
}

impl Spot<'_> {
    /// Asks for the line where a coin most likely lies, or goes.
    #[inline]
    pub(crate) fn prefetch(&self) {
        mapping::prefetch(self.buckets[0]);
    }

    /// A slot of the first bucket that may be the key's: a hint of what will be looked at. Without one,
    /// the line of the second is asked for, where [`peek_second`](Self::peek_second) looks.
    #[inline]
    pub(crate) fn peek(&self) -> Option<Slot> {
        let seen = matches(self.buckets[0], self.key.tag()).next();
        if seen.is_none() {
            mapping::prefetch(self.buckets[1]);
        }
        seen.map(|(_, word)| Slot::of(word))
    }

    #[inline]
    pub(crate) fn peek_second(&self) -> Option<Slot> {
        matches(self.buckets[1], self.key.tag()).next().map(|(_, word)| Slot::of(word))
    }

    /// Whether the first bucket is full. The line of the second one is asked for then.
    #[inline]
    pub(crate) fn is_first_full(&self) -> bool {
        let is_full = free(self.buckets[0]).is_none();
        if is_full {
            mapping::prefetch(self.buckets[1]);
        }
        is_full
    }

    /// Asks for the lines where coins of the first bucket may go, if the second is full too.
    pub(crate) fn prefetch_room(&self) {
        if free(self.buckets[1]).is_none() {
            let [first, _] = self.key.buckets();
            let tags = self.buckets[0].iter().map(|slot| slot.load(Relaxed) >> TAG_SHIFT);
            let buckets = self.group.buckets();
            tags.for_each(|tag| mapping::prefetch(&buckets[other_bucket(first, tag)]));
        }
    }
}

/// What readers look at in a group, which hardly ever changes: what each insertion changes does not lie
/// beside it, or each would take the cache line away from all readers.
#[derive(Debug, Default)]
struct Header {
    /// Odd while slots move; what a reader did not find then, it looks for again.
    version: AtomicU32,
    /// The first part that the group has, and how many splits made it.
    first: AtomicU32,
    splits: AtomicU32,
}

impl Deref for Group<'_> {
    type Target = Header;

    #[inline]
    fn deref(&self) -> &Header {
        &self.segment.headers[self.number % SEGMENT_GROUPS]
    }
}

#[derive(Debug)]
struct Segment {
    words: Words,
    headers: Box<[Header; SEGMENT_GROUPS]>,
    live: Box<[AtomicU32; SEGMENT_GROUPS]>,
}

/// A counter in cache lines of its own.
#[derive(Debug)]
#[repr(align(128))]
struct Apart(AtomicU64);

/// Where groups lie that were not yet looked at.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) file: File,
    pub(crate) path: PathBuf,
    pub(crate) groups: Vec<SavedGroup>,
}

/// What a checkpoint says of a group.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SavedGroup {
    pub(crate) first: u32,
    pub(crate) splits: u32,
    pub(crate) live: u32,
    pub(crate) crc: u32,
}

impl SavedGroup {
    /// Whether it can have the parts that it says.
    pub(crate) fn is_sound(&self) -> bool {
        let first = usize::try_from(self.first).unwrap_or(usize::MAX);
        self.splits <= SPLITS && first < PARTS && first % (1 << (SPLITS - self.splits)) == 0
    }
}

/// The table. Only one thread may call what changes it.
#[derive(Debug)]
pub(crate) struct Table {
    /// Which group has a part of the keys: at level n, 2^n parts for each of the first groups. The
    /// last level counts, which is as small as the groups allow and so lies in the caches.
    directory: [OnceLock<Box<[AtomicU32]>>; SPLITS as usize + 1],
    level: AtomicU32,
    segments: Box<[OnceLock<Segment>]>,
    count: AtomicU32,
    live: Apart,
    source: Option<Source>,
    loading: Mutex<()>,
    /// How many bytes may be memory of the system's; what is beyond them is a file in the folder.
    memory: u64,
    folder: PathBuf,
}

impl Table {
    pub(crate) fn new(memory: u64, folder: PathBuf, source: Option<Source>) -> Result<Self, Error> {
        let segments = PARTS.div_ceil(SEGMENT_GROUPS);
        let mut table = Self {
            directory: Default::default(),
            level: AtomicU32::new(0),
            segments: (0..segments).map(|_| OnceLock::new()).collect(),
            count: AtomicU32::new(0),
            live: Apart(AtomicU64::new(0)),
            source,
            loading: Mutex::new(()),
            memory,
            folder,
        };
        let saved = table.source.as_mut().map(|source| source.groups.clone()).unwrap_or_default();
        let level = saved.iter().map(|group| group.splits).max().unwrap_or(0);
        table.level.store(level, Relaxed);
        let entries = (0..FIRST_GROUPS << level).map(|_| AtomicU32::new(0)).collect();
        let _ = table.directory[level as usize].set(entries);
        if saved.is_empty() {
            for first in (0..PARTS).step_by(1 << SPLITS) {
                table.add_group(first, 0, Some(0))?;
            }
        }
        for group in saved {
            let first = usize::try_from(group.first).unwrap_or(usize::MAX);
            table.add_group(first, group.splits, None)?;
            *table.live.0.get_mut() += u64::from(group.live);
        }
        table.settle_splits();
        Ok(table)
    }

    /// How many coins of all worlds the table has, about.
    pub(crate) fn live(&self) -> u64 {
        self.live.0.load(Relaxed)
    }

    /// How many groups there are.
    pub(crate) fn groups(&self) -> usize {
        usize::try_from(self.count.load(Acquire)).unwrap_or(usize::MAX)
    }

    /// The last level of the directory, and by how many bits a part's number is longer than its own.
    #[inline]
    fn directory(&self) -> (&[AtomicU32], u32) {
        let level = self.level.load(Acquire);
        let entries = self.directory[level as usize].get();
        (entries.expect("a level is made before it counts"), SPLITS - level)
    }

    /// The number of the group that has a key.
    #[inline]
    fn number(&self, key: Key) -> usize {
        let (entries, shift) = self.directory();
        entries[key.part() >> shift].load(Acquire) as usize
    }

    /// Makes the directory long enough for groups that so many splits made.
    fn deepen(&self, splits: u32) {
        let (entries, _) = self.directory();
        if self.level.load(Relaxed) < splits {
            let twice = entries.iter().flat_map(|entry| [entry.load(Relaxed); 2]);
            let _ = self.directory[splits as usize].set(twice.map(AtomicU32::new).collect());
            self.level.store(splits, Release);
        }
    }

    /// Appends a group that takes over a part of the directory.
    fn add_group(&self, first: usize, splits: u32, version: Option<u32>) -> Result<usize, Error> {
        let number = self.groups();
        let group = self.new_group(number)?;
        group.first.store(u32::try_from(first).unwrap_or(u32::MAX), Relaxed);
        group.splits.store(splits, Relaxed);
        group.version.store(version.unwrap_or(NOT_LOADED), Release);
        self.count.fetch_add(1, Release);
        let number_32 = u32::try_from(number).map_err(|_| Error::TableFull)?;
        let (entries, shift) = self.directory();
        for entry in &entries[first >> shift..][..1 << (SPLITS - splits - shift)] {
            entry.store(number_32, Release);
        }
        Ok(number)
    }

    /// A group that was saved before it was split still claims its other half, which a later one
    /// has taken over.
    fn settle_splits(&self) {
        for number in 0..self.groups() {
            let group = self.group(number);
            let first = usize::try_from(group.first.load(Relaxed)).unwrap_or(usize::MAX);
            let own = |entry: &&AtomicU32| entry.load(Relaxed) as usize == number;
            let (entries, shift) = self.directory();
            let count = entries[first >> shift..].iter().take_while(own).count();
            group.splits.store(SPLITS - shift - count.max(1).ilog2(), Relaxed);
        }
    }

    /// A group that is there.
    #[inline]
    fn group(&self, number: usize) -> Group<'_> {
        let segment = self.segments.get(number / SEGMENT_GROUPS).and_then(OnceLock::get);
        Group { segment: segment.expect("a segment is made before its groups"), number }
    }

    /// The place of a group, whose segment is made if there is none.
    fn new_group(&self, number: usize) -> Result<Group<'_>, Error> {
        let index = number / SEGMENT_GROUPS;
        let place = self.segments.get(index).ok_or(Error::TableFull)?;
        if place.get().is_none() {
            let _ = place.set(self.make_segment(index)?);
        }
        Ok(self.group(number))
    }

    fn make_segment(&self, index: usize) -> Result<Segment, Error> {
        let len = SEGMENT_GROUPS * GROUP_SLOTS;
        let is_within = (index as u64 + 1) * SEGMENT_BYTES <= self.memory.max(SEGMENT_BYTES);
        let words = if is_within {
            Words::anonymous(len)
        } else {
            tempfile::tempfile_in(&self.folder).and_then(|file| {
                // Written out, so that a full disk is an error here and not a signal later.
                let zeros = vec![0; 1 << 20];
                for at in (0..SEGMENT_BYTES).step_by(1 << 20) {
                    std::os::unix::fs::FileExt::write_all_at(&file, &zeros, at)?;
                }
                Words::of_file(&file, len)
            })
        };
        let words = words.map_err(Error::io(&self.folder))?;
        let headers = Box::new(std::array::from_fn(|_| Header::default()));
        let live = Box::new(std::array::from_fn(|_| AtomicU32::new(0)));
        Ok(Segment { words, headers, live })
    }

    /// Where the coins of a key lie.
    #[inline(always)]
    pub(crate) fn spot(&self, key: Key) -> Spot<'_> {
        let group = self.group(self.number(key));
        let buckets = group.buckets();
        Spot { key, group, buckets: key.buckets().map(|bucket| &buckets[bucket]) }
    }

    /// Takes a group from the checkpoint if that is where it still lies. Returns its version.
    #[inline]
    fn loaded(&self, group: Group<'_>) -> Result<u32, Error> {
        let version = group.version.load(Acquire);
        if version != NOT_LOADED {
            return Ok(version);
        }
        self.load(group)?;
        Ok(group.version.load(Acquire))
    }

    #[cold]
    fn load(&self, group: Group<'_>) -> Result<(), Error> {
        let _one_at_a_time = self.loading.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if group.version.load(Acquire) != NOT_LOADED {
            return Ok(());
        }
        let source = self.source.as_ref().expect("only a checkpoint has groups to load");
        let number = group.number;
        let offset = (number as u64 + 1) * GROUP_BYTES as u64;
        let mut bytes = vec![0; GROUP_BYTES];
        std::os::unix::fs::FileExt::read_exact_at(&source.file, &mut bytes, offset)
            .map_err(Error::io(&source.path))?;
        if crc32fast::hash(&bytes) != source.groups[number].crc {
            return Err(Error::Damaged { path: source.path.clone(), offset });
        }
        let first = u64::from(group.first.load(Relaxed));
        let splits = group.splits.load(Relaxed);
        let prefix = (first & ((1 << SPLITS) - 1)) >> (SPLITS - splits);
        let mut live = 0;
        for (word, bytes) in group.words().iter().zip(bytes.as_chunks().0) {
            let value = u64::from_le_bytes(*bytes);
            // Slots that a split has taken away since are left out.
            let is_own = splits == 0 || value >> (64 - splits) == prefix;
            if value != 0 && is_own {
                word.store(value, Relaxed);
                live += 1;
            }
        }
        group.live().store(live, Relaxed);
        group.version.store(0, Release);
        Ok(())
    }

    /// Looks at the slots that may be the key's, until `look` says that one is; whether one is.
    ///
    /// What `look` said, an error too, counts only if the slot is the same afterwards; else all is done
    /// again.
    #[inline(always)]
    pub(crate) fn find<'a>(
        &'a self,
        mut spot: Spot<'a>,
        mut look: impl FnMut(Slot) -> Result<bool, Error>,
    ) -> Result<bool, Error> {
        let key = spot.key;
        'again: loop {
            let version = self.loaded(spot.group)?;
            if version & 1 == 1 {
                std::hint::spin_loop();
                continue;
            }
            for bucket in spot.buckets {
                for (slot, word) in matches(bucket, key.tag()) {
                    let is_it = look(Slot::of(word));
                    if slot.load(Acquire) != word {
                        spot = self.spot(key);
                        continue 'again;
                    }
                    if is_it? {
                        return Ok(true);
                    }
                }
            }
            fence(Acquire);
            if spot.group.version.load(Relaxed) == version && self.number(key) == spot.group.number
            {
                return Ok(false);
            }
            spot = self.spot(key);
        }
    }

    #[inline]
    fn position<'a>(&self, spot: Spot<'a>, slot: Slot) -> Result<Option<&'a AtomicU64>, Error> {
        self.loaded(spot.group)?;
        let word = slot.word(spot.key.tag());
        let slot = |bucket| which(bucket, |other| other == word).next();
        Ok(spot.buckets.into_iter().find_map(slot).map(|(slot, _)| slot))
    }

    /// Says something else of a coin. Gives false if there is none of which `from` is said.
    pub(crate) fn replace(&self, spot: Spot<'_>, from: Slot, to: Slot) -> Result<bool, Error> {
        let position = self.position(spot, from)?;
        if let Some(slot) = position {
            slot.store(to.word(spot.key.tag()), Release);
        }
        Ok(position.is_some())
    }

    /// Takes a coin out. Gives false if it was not there.
    pub(crate) fn remove(&self, spot: Spot<'_>, slot: Slot) -> Result<bool, Error> {
        let position = self.position(spot, slot)?;
        if let Some(slot) = position {
            slot.store(0, Release);
            let live = spot.group.live();
            live.store(live.load(Relaxed) - 1, Relaxed);
            self.live.0.store(self.live() - 1, Relaxed);
        }
        Ok(position.is_some())
    }

    /// Puts a coin in that is not there. Gives false if `is_same` says of one that was met that it has
    /// the same outpoint: such are kept elsewhere. Only where the first bucket is full is the other met,
    /// so that a few coins of one outpoint may be in the table, but never so many as to fill it.
    pub(crate) fn insert_new(
        &self,
        spot: Spot<'_>,
        place: Place,
        mut is_same: impl FnMut(Slot) -> Result<bool, Error>,
    ) -> Result<bool, Error> {
        self.loaded(spot.group)?;
        for (_, word) in matches(spot.buckets[0], spot.key.tag()) {
            if is_same(Slot::of(word))? {
                return Ok(false);
            }
        }
        match free(spot.buckets[0]).filter(|_| spot.group.live().load(Relaxed) < GROUP_FULL) {
            Some(slot) => {
                self.fill(spot, slot, Slot::at(place, false));
                Ok(true)
            }
            None => self.insert(spot, Slot::at(place, false), is_same),
        }
    }

    fn fill(&self, spot: Spot<'_>, at: &AtomicU64, slot: Slot) {
        assert!(slot.0 & PLACE != 0 && slot.0 & BY_BLOCK == 0, "the log ends at one tebibyte");
        at.store(slot.word(spot.key.tag()), Release);
        let live = spot.group.live();
        live.store(live.load(Relaxed) + 1, Relaxed);
        self.live.0.store(self.live() + 1, Relaxed);
    }

    /// Puts a coin in that has a place, if it is not there. Gives false if `is_same` says of
    /// another coin of its buckets that it has the same outpoint: those are kept elsewhere.
    pub(crate) fn insert<'a>(
        &'a self,
        mut spot: Spot<'a>,
        coin: Slot,
        mut is_same: impl FnMut(Slot) -> Result<bool, Error>,
    ) -> Result<bool, Error> {
        let (key, tag) = (spot.key, spot.key.tag());
        loop {
            self.loaded(spot.group)?;
            for bucket in spot.buckets {
                for (_, word) in matches(bucket, tag) {
                    if word & !SPENT == coin.word(tag) & !SPENT {
                        return Ok(true);
                    }
                    if is_same(Slot::of(word))? {
                        return Ok(false);
                    }
                }
            }
            // In the first bucket if that has room, so that most coins are found at the first look.
            if spot.group.live().load(Relaxed) < GROUP_FULL
                && let Some(slot) = spot
                    .buckets
                    .into_iter()
                    .find_map(free)
                    .or_else(|| make_room(spot.group, key.buckets()[0]))
            {
                self.fill(spot, slot, coin);
                return Ok(true);
            }
            self.split(spot.group)?;
            spot = self.spot(key);
        }
    }

    /// Moves the upper half of a group's keys to a new group.
    fn split(&self, group: Group<'_>) -> Result<(), Error> {
        let splits = group.splits.load(Relaxed);
        if splits == SPLITS {
            return Err(Error::TableFull);
        }
        let new_group = self.new_group(self.groups())?;
        let bit = 1 << (63 - splits);
        self.deepen(splits + 1);
        group.version.fetch_add(1, Relaxed);
        fence(Release);
        let mut moved = 0;
        for (from, to) in group.words().iter().zip(new_group.words()) {
            let word = from.load(Relaxed);
            if word & bit != 0 {
                to.store(word, Relaxed);
                moved += 1;
            }
        }
        let first = group.first.load(Relaxed) as usize + (1 << (SPLITS - splits - 1));
        new_group.live().store(moved, Relaxed);
        self.add_group(first, splits + 1, Some(0))?;
        group.splits.store(splits + 1, Relaxed);
        for slot in group.words() {
            if slot.load(Relaxed) & bit != 0 {
                slot.store(0, Release);
            }
        }
        group.live().store(group.live().load(Relaxed) - moved, Relaxed);
        group.version.fetch_add(1, Release);
        Ok(())
    }

    /// Copies a group as it is at one instant, with the places of all coins, which `place` knows.
    pub(crate) fn copy(
        &self,
        number: usize,
        to: &mut [u64],
        place: impl Fn(Slot) -> Result<Place, Error>,
    ) -> Result<(u32, u32), Error> {
        let group = self.group(number);
        loop {
            let version = self.loaded(group)?;
            if version & 1 == 1 {
                std::hint::spin_loop();
                continue;
            }
            if group.live().load(Acquire) == 0 {
                to.fill(0);
                return Ok((group.first.load(Relaxed), group.splits.load(Relaxed)));
            }
            for (to, slot) in to.iter_mut().zip(group.words()) {
                *to = slot.load(Acquire);
                while Slot::of(*to).spender().is_some() {
                    // As in `find`: what was read counts only if the slot is the same afterwards.
                    let (word, place) = (*to, place(Slot::of(*to)));
                    *to = slot.load(Acquire);
                    if *to == word {
                        *to = Slot::at(place?, true).word(word >> TAG_SHIFT);
                    }
                }
            }
            let range = (group.first.load(Relaxed), group.splits.load(Relaxed));
            fence(Acquire);
            if group.version.load(Relaxed) == version {
                return Ok(range);
            }
        }
    }

    /// Visits the places of all coins, some of them twice if groups are split meanwhile, and with each
    /// whether it may be spent, and what `before` gave before its group was copied.
    pub(crate) fn for_each<T: Copy>(
        &self,
        before: impl Fn() -> T,
        place: impl Fn(Slot) -> Result<Place, Error>,
        mut visit: impl FnMut(T, Place, bool),
    ) -> Result<(), Error> {
        let mut words = vec![0; GROUP_SLOTS];
        let mut number = 0;
        while number < self.groups() {
            let first = before();
            self.copy(number, &mut words, &place)?;
            for word in words.iter().filter(|&&word| word != 0) {
                visit(first, word & PLACE, word & SPENT != 0);
            }
            number += 1;
        }
        Ok(())
    }
}

/// Writes a group's bytes as they are saved, and returns how many coins it has.
pub(crate) fn group_bytes(words: &[u64], bytes: &mut [u8]) -> u32 {
    let mut live = 0;
    for (word, bytes) in words.iter().zip(bytes.chunks_exact_mut(8)) {
        LittleEndian::write_u64(bytes, *word);
        live += u32::from(*word != 0);
    }
    live
}

/// Frees a slot of a full bucket: a coin goes to its other bucket, or, where none of the bucket's coins
/// finds room so, takes the place of one there that does, and so on.
fn make_room(group: Group<'_>, bucket: usize) -> Option<&AtomicU64> {
    let (words, mut path) = (group.words(), Vec::<usize>::new());
    let word = |slot: usize| words[slot].load(Relaxed);
    let slots = |bucket: usize| bucket * WAYS..(bucket + 1) * WAYS;
    let (mut at, mut random) = (bucket, bucket as u64 | 1);
    for _ in 0..STEPS_MAX {
        let is_free = |slot: &usize| !path.contains(slot);
        let hole = slots(at).filter(is_free).find_map(|from| {
            let other = other_bucket(at, word(from) >> TAG_SHIFT);
            Some((from, slots(other).find(|&slot| word(slot) == 0)?))
        });
        if let Some((from, mut hole)) = hole {
            path.push(from);
            group.version.fetch_add(1, Relaxed);
            fence(Release);
            for &from in path.iter().rev() {
                words[hole].store(word(from), Release);
                words[from].store(0, Release);
                hole = from;
            }
            group.version.fetch_add(1, Release);
            return Some(&words[hole]);
        }
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let start = usize_of(random >> 40) % WAYS;
        let mut ways = (0..WAYS).map(|way| at * WAYS + (start + way) % WAYS);
        let from = ways.find(|slot| !path.contains(slot))?;
        path.push(from);
        at = other_bucket(at, word(from) >> TAG_SHIFT);
    }
    None
}

#[cfg(test)]
mod tests;
