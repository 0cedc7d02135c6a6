//! Ways to lay out the coins of the base, built far enough to be measured: a line a figure, wall time
//! and processor time.
//!
//! - `log`: slots of 8 bytes (tag of 24 bits, place of 40) in groups of 64 KiB, and a coin log, grouped
//!   by transaction, that is mapped. A hit is confirmed by the outpoint in the log.
//! - `blocks`: the same slots (tag of 20 bits, place of 44) that point to the transaction in a block
//!   file. A hit is confirmed by hashing the transaction.
//! - `inline`: slots of 88 bytes with outpoint, value, height and script, in a mapped file.
//!
//! `CAESURE_BENCH_COINS` is the number of coins, `TMPDIR` where the files lie. With
//! `CAESURE_BENCH_COLD`, root drops the machine's whole page cache for the cold figures. A batch reads
//! all slots first, then all records, so that the processor waits for many at once.

#![allow(clippy::print_stdout, reason = "the figures are the output")]
#![allow(clippy::cast_possible_truncation, reason = "a prototype to measure")]
#![allow(unsafe_code, reason = "mapping a file is unsafe; nothing else has these open")]

use std::fs::{self, File};
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::time::Instant;

use caesure_benches::driver::{Rng, encode, outpoint, script, value};
use caesure_hash::{Sha256, sha256d};
use caesure_wire::{InputView, OutPoint, OutputView, Reader, Txid};
use cpu_time::ProcessTime;
use memmap2::{Advice, MmapMut, UncheckedAdvice};

const GROUP: u64 = 8_192;
const GONE: u64 = 1;
const BATCH: usize = 64;

/// A mapped file that grows inside a length that is set at first.
struct Mapped {
    file: File,
    map: MmapMut,
    len: usize,
}

impl Mapped {
    fn new(capacity: usize) -> Self {
        let file = tempfile::tempfile().expect("a file");
        file.set_len(capacity as u64).expect("room");
        // SAFETY: the file has no name and no other user.
        let map = unsafe { MmapMut::map_mut(&file) }.expect("a file can be mapped");
        Self { file, map, len: 8 }
    }

    fn push(&mut self, bytes: &[u8]) {
        self.map[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    /// Leaves nothing of the file in memory, if that is wanted.
    fn cool(&self) -> bool {
        if std::env::var_os("CAESURE_BENCH_COLD").is_none() {
            return false;
        }
        self.file.sync_all().expect("the disk takes it");
        self.map.advise(Advice::Random).expect("advice is taken");
        // SAFETY: the mapping is shared, so that what it drops is read again from the file.
        unsafe { self.map.unchecked_advise(UncheckedAdvice::DontNeed) }.expect("advice is taken");
        fs::write("/proc/sys/vm/drop_caches", "1").is_ok()
    }
}

/// Slots of 8 bytes, in memory.
struct Slots {
    slots: Vec<u64>,
    place_bits: u32,
}

fn key(OutPoint { txid, vout }: &OutPoint) -> u64 {
    let word = |at: usize| u64::from_le_bytes(*txid.0[at..].first_chunk().expect("32 bytes"));
    let fold = |a: u64, b: u64| {
        let product = u128::from(a) * u128::from(b);
        product as u64 ^ (product >> 64) as u64
    };
    let first = fold(word(0) ^ 0x243f_6a88_85a3_08d3, word(8) ^ 0x1319_8a2e_0370_7344);
    let second = fold(word(16) ^ 0xa409_3822_299f_31d0, word(24) ^ 0x082e_fa98_ec4e_6c89);
    fold(first ^ u64::from(*vout), second ^ 0x4528_21e6_38d0_1377)
}

impl Slots {
    fn new(coins: u32, place_bits: u32) -> Self {
        let groups = (u64::from(coins) * 100 / 78).div_ceil(GROUP);
        Self { slots: vec![0; (groups * GROUP) as usize], place_bits }
    }

    /// The slots where a key can be, in order.
    fn walk(&self, key: u64) -> impl Iterator<Item = usize> + use<> {
        let groups = self.slots.len() as u64 / GROUP;
        let group = ((u128::from(key) * u128::from(groups)) >> 64) as u64;
        let start = key >> 24 & (GROUP - 1);
        (0..GROUP).map(move |step| (group * GROUP + ((start + step) & (GROUP - 1))) as usize)
    }

    const fn tag(&self, key: u64) -> u64 {
        key << self.place_bits
    }

    fn first(&self, key: u64) -> u64 {
        self.slots[self.walk(key).next().expect("a group has slots")]
    }

    /// The slot and the place of a key that `is_it` confirms.
    fn find(&self, key: u64, mut is_it: impl FnMut(usize) -> bool) -> Option<(usize, usize)> {
        for at in self.walk(key) {
            let slot = self.slots[at];
            if slot == 0 {
                return None;
            }
            let place = (slot & ((1 << self.place_bits) - 1)) as usize;
            if slot != GONE
                && slot >> self.place_bits << self.place_bits == self.tag(key)
                && is_it(place)
            {
                return Some((at, place));
            }
        }
        None
    }

    fn insert(&mut self, key: u64, place: usize) {
        let free = self.walk(key).find(|&at| self.slots[at] <= GONE).expect("the group has room");
        self.slots[free] = self.tag(key) | place as u64;
    }
}

/// What every layout can do. A coin is a number, so that none has to be kept to be asked for.
trait Layout {
    fn outpoint(&self, coin: u32) -> OutPoint;
    fn insert(&mut self, coin: u32);
    /// The value and the length of the script.
    fn get(&self, outpoint: &OutPoint) -> Option<u64>;
    fn get_batch(&self, outpoints: &[OutPoint]) -> u64;
    fn remove(&mut self, outpoint: &OutPoint);
    /// Hashes all coins in key order and says how many there were.
    fn ordered(&self) -> usize;
    fn file(&self) -> &Mapped;
    fn memory(&self) -> usize;
}

/// The number of the driver's coin: those that its filling blocks leave.
const fn numbered(coin: u32) -> u32 {
    coin / 4 * 7 + [1, 3, 5, 6][coin as usize % 4]
}

/// Visits in order of the keys' first 8 bytes; what is equal there does not matter here.
fn visit(mut keys: Vec<(u64, u64)>, mut bytes: impl FnMut(u64, &mut Sha256)) -> usize {
    keys.sort_unstable();
    let mut hash = Sha256::new();
    keys.iter().for_each(|&(_, place)| bytes(place, &mut hash));
    black_box(hash.finish_double());
    keys.len()
}

fn prefix(txid: &[u8]) -> u64 {
    u64::from_be_bytes(*txid.first_chunk().expect("an id"))
}

struct Log {
    slots: Slots,
    log: Mapped,
    last: (Txid, usize),
}

impl Log {
    fn new(coins: u32, spare: u32) -> Self {
        let log = Mapped::new((coins + spare) as usize * 72 + 4_096);
        Self { slots: Slots::new(coins + spare / 2, 40), log, last: (Txid::ZERO, 0) }
    }

    /// Whether the record at a place is the outpoint's: its transaction's header is `back` before it.
    fn is_it(&self, place: usize, outpoint: &OutPoint) -> bool {
        let bytes = &self.log.map[..];
        let back = usize::from(u16::from_le_bytes([bytes[place], bytes[place + 1]]));
        u32::from(bytes[place + 2]) == outpoint.vout
            && bytes[place - back..][..32] == outpoint.txid.0
    }

    /// As `get`, but the file is read where that maps it.
    fn read(&self, outpoint: &OutPoint) -> Option<u64> {
        let mut coin = 0;
        let is_it = |place: usize| {
            // The header is seldom farther away.
            let mut bytes = [0; 192];
            let first = place - place.min(128);
            let count =
                self.log.file.read_at(&mut bytes, first as u64).expect("the file can be read");
            let (bytes, at) = (&bytes[..count], place - first);
            let back = usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
            coin = u64::from(bytes[at + 8]);
            u32::from(bytes[at + 2]) == outpoint.vout && bytes[at - back..][..32] == outpoint.txid.0
        };
        self.slots.find(key(outpoint), is_it)?;
        Some(coin)
    }

    fn coin(&self, place: usize) -> u64 {
        let bytes = &self.log.map[place..place + 9];
        u64::from_le_bytes([bytes[3], bytes[4], bytes[5], bytes[6], bytes[7], 0, 0, 0])
            + u64::from(bytes[8])
    }
}

impl Layout for Log {
    fn outpoint(&self, coin: u32) -> OutPoint {
        outpoint(numbered(coin))
    }

    fn insert(&mut self, coin: u32) {
        let number = numbered(coin);
        let outpoint = outpoint(number);
        if self.last.0 != outpoint.txid {
            self.last = (outpoint.txid, self.log.len);
            self.log.push(&outpoint.txid.0);
            self.log.push(&[0, 1, 2, 3, 1]);
        }
        let (place, script) = (self.log.len, script(number));
        let mut record = [0; 9];
        record[..2].copy_from_slice(&((place - self.last.1) as u16).to_le_bytes());
        record[2] = outpoint.vout as u8;
        record[3..8].copy_from_slice(&value(number).to_le_bytes()[..5]);
        record[8] = script.len() as u8;
        self.log.push(&record);
        self.log.push(&script);
        self.slots.insert(key(&outpoint), place);
    }

    fn get(&self, outpoint: &OutPoint) -> Option<u64> {
        let found = self.slots.find(key(outpoint), |place| self.is_it(place, outpoint));
        found.map(|(_, place)| self.coin(place))
    }

    fn get_batch(&self, outpoints: &[OutPoint]) -> u64 {
        let mut slots = [0; BATCH];
        slots
            .iter_mut()
            .zip(outpoints)
            .for_each(|(slot, outpoint)| *slot = self.slots.first(key(outpoint)));
        let place = |slot: u64| (slot & ((1 << 40) - 1)) as usize;
        black_box(slots.iter().map(|&slot| u64::from(self.log.map[place(slot)])).sum::<u64>());
        outpoints.iter().map(|outpoint| self.get(outpoint).expect("it is there")).sum()
    }

    fn remove(&mut self, outpoint: &OutPoint) {
        let found = self.slots.find(key(outpoint), |place| self.is_it(place, outpoint));
        self.slots.slots[found.expect("it is there").0] = GONE;
    }

    fn ordered(&self) -> usize {
        let places =
            self.slots.slots.iter().filter(|&&slot| GONE < slot).map(|slot| slot & ((1 << 40) - 1));
        // In the file's order, so that the first pass over it is sequential.
        let mut places: Vec<u64> = places.collect();
        places.sort_unstable();
        let header = |place: u64| {
            let place = place as usize;
            place - usize::from(u16::from_le_bytes([self.log.map[place], self.log.map[place + 1]]))
        };
        let keys = places.iter().map(|&place| (prefix(&self.log.map[header(place)..]), place));
        visit(keys.collect(), |place, hash| {
            hash.update(&self.log.map[header(place)..][..36]);
            hash.update(&self.log.map[place as usize + 2..][..35]);
        })
    }

    fn file(&self) -> &Mapped {
        &self.log
    }

    fn memory(&self) -> usize {
        8 * self.slots.slots.len()
    }
}

struct Blocks {
    slots: Slots,
    blocks: Mapped,
    /// Where each block starts, for the heights of its coins.
    starts: Vec<u64>,
    /// Outputs of a transaction, all of them coins; 0 for 2, 2 and 3 with the first one spent.
    outputs: u32,
    last: (u32, Txid, usize),
}

impl Blocks {
    fn new(coins: u32, spare: u32, outputs: u32) -> Self {
        let blocks = Mapped::new((coins + spare) as usize * 200 + 4_096);
        let starts =
            (0..1_000_000).map(|block| block * (blocks.map.len() as u64 / 1_000_000)).collect();
        let last = (u32::MAX, Txid::ZERO, 0);
        Self { slots: Slots::new(coins + spare / 2, 44), blocks, starts, outputs, last }
    }

    /// The transaction of a coin and the output's index in it.
    const fn place(&self, coin: u32) -> (u32, u32) {
        if let Some(tx) = coin.checked_div(self.outputs) {
            return (tx, coin % self.outputs);
        }
        let rest = coin as usize % 4;
        (coin / 4 * 3 + [0, 1, 2, 2][rest], [1, 1, 1, 2][rest])
    }

    /// A transaction of one input with a witness, whole, and its id.
    fn tx(&self, number: u32) -> (Vec<u8>, Txid) {
        let first =
            if self.outputs == 0 { number / 3 * 7 + number % 3 * 2 } else { number * self.outputs };
        let count = if self.outputs == 0 { [2, 2, 3][number as usize % 3] } else { self.outputs };
        let outputs: Vec<_> =
            (first..first + count).map(|coin| (value(coin), script(coin))).collect();
        let stripped = encode(&[outpoint(number)], &outputs);
        let (start, end) = (&stripped[..4], &stripped[stripped.len() - 4..]);
        let witness = [&[2, 72][..], &[7; 72], &[33], &[2; 33]].concat();
        let whole = [start, &[0, 1], &stripped[4..stripped.len() - 4], &witness, end].concat();
        (whole, Txid(sha256d(&stripped)))
    }

    /// The id of the transaction at a place, and the value and script length of one of its outputs.
    fn read(&self, place: usize, vout: u32) -> (Txid, u64) {
        let bytes = &self.blocks.map[place..self.blocks.len];
        let mut reader = Reader::new(&bytes[6..]);
        let at = |reader: &Reader<'_>| 6 + reader.position();
        let inputs = reader.compact_size().expect("a count");
        for _ in 0..inputs {
            InputView::read(&mut reader).expect("an input");
        }
        let mut coin = 0;
        for index in 0..reader.compact_size().expect("a count") {
            let output = OutputView::read(&mut reader).expect("an output");
            if index == vout as usize {
                coin = output.value.cast_unsigned() + output.script_pubkey.len() as u64;
            }
        }
        let end = at(&reader);
        for _ in 0..inputs {
            let items = reader.compact_size().expect("a count");
            for _ in 0..items {
                reader.sized_bytes().expect("an item");
            }
        }
        let lock_time = at(&reader);
        let mut hash = Sha256::new();
        for part in [&bytes[..4], &bytes[6..end], &bytes[lock_time..lock_time + 4]] {
            hash.update(part);
        }
        let height = self.starts.partition_point(|&start| start <= place as u64);
        (Txid(hash.finish_double()), coin + black_box(height as u64) - height as u64)
    }
}

impl Layout for Blocks {
    fn outpoint(&self, coin: u32) -> OutPoint {
        let (tx, vout) = self.place(coin);
        OutPoint { txid: self.tx(tx).1, vout }
    }

    fn insert(&mut self, coin: u32) {
        let (tx, vout) = self.place(coin);
        if self.last.0 != tx {
            let (bytes, txid) = self.tx(tx);
            self.last = (tx, txid, self.blocks.len);
            self.blocks.push(&bytes);
        }
        self.slots.insert(key(&OutPoint { txid: self.last.1, vout }), self.last.2);
    }

    fn get(&self, outpoint: &OutPoint) -> Option<u64> {
        let mut coin = 0;
        let is_it = |place| {
            let (txid, found) = self.read(place, outpoint.vout);
            coin = found;
            txid == outpoint.txid
        };
        self.slots.find(key(outpoint), is_it)?;
        Some(coin)
    }

    fn get_batch(&self, outpoints: &[OutPoint]) -> u64 {
        let mut slots = [0; BATCH];
        slots
            .iter_mut()
            .zip(outpoints)
            .for_each(|(slot, outpoint)| *slot = self.slots.first(key(outpoint)));
        let touch = |slot: u64| {
            let place = (slot & ((1 << 44) - 1)) as usize;
            [0, 64, 128, 192]
                .map(|line| u64::from(self.blocks.map[place + line]))
                .iter()
                .sum::<u64>()
        };
        black_box(slots.iter().map(|&slot| touch(slot)).sum::<u64>());
        outpoints.iter().map(|outpoint| self.get(outpoint).expect("it is there")).sum()
    }

    fn remove(&mut self, outpoint: &OutPoint) {
        let is_it = |place| self.read(place, outpoint.vout).0 == outpoint.txid;
        let found = self.slots.find(key(outpoint), is_it);
        self.slots.slots[found.expect("it is there").0] = GONE;
    }

    fn ordered(&self) -> usize {
        let places =
            self.slots.slots.iter().filter(|&&slot| GONE < slot).map(|slot| slot & ((1 << 44) - 1));
        let mut places: Vec<u64> = places.collect();
        places.sort_unstable();
        let mut last = (u64::MAX, 0);
        let mut keys = Vec::with_capacity(places.len());
        for place in places {
            if last.0 != place {
                last = (place, prefix(&self.read(place as usize, 0).0.0));
            }
            keys.push((last.1, place));
        }
        // An output is about 37 bytes, 60 after the start; the id is known from the first pass.
        visit(keys, |place, hash| hash.update(&self.blocks.map[place as usize + 60..][..72]))
    }

    fn file(&self) -> &Mapped {
        &self.blocks
    }

    fn memory(&self) -> usize {
        8 * self.slots.slots.len()
    }
}

/// Slots of `WIDTH` bytes: outpoint, value, height, the script's length and the script. The length
/// plus one, so that 0 is a free slot and 255 one whose coin is gone.
struct Inline {
    table: Mapped,
    slots: usize,
}

const WIDTH: usize = 88;

impl Inline {
    fn new(coins: u32, spare: u32) -> Self {
        let slots = (coins + spare / 2) as usize * 100 / 78;
        let mut table = Mapped::new(slots * WIDTH);
        table.len = slots * WIDTH;
        Self { table, slots }
    }

    fn start(&self, key: u64) -> usize {
        ((u128::from(key) * self.slots as u128) >> 64) as usize
    }

    fn slot(&self, at: usize) -> &[u8] {
        &self.table.map[at * WIDTH..][..WIDTH]
    }

    fn find(&self, outpoint: &OutPoint) -> Option<usize> {
        let mut at = self.start(key(outpoint));
        while self.slot(at)[48] != 0 {
            let slot = self.slot(at);
            if slot[48] != 255
                && slot[..32] == outpoint.txid.0
                && slot[32..36] == outpoint.vout.to_le_bytes()
            {
                return Some(at);
            }
            at = (at + 1) % self.slots;
        }
        None
    }
}

impl Layout for Inline {
    fn outpoint(&self, coin: u32) -> OutPoint {
        outpoint(numbered(coin))
    }

    fn insert(&mut self, coin: u32) {
        let number = numbered(coin);
        let (outpoint, script) = (outpoint(number), script(number));
        let mut at = self.start(key(&outpoint));
        while !matches!(self.slot(at)[48], 0 | 255) {
            at = (at + 1) % self.slots;
        }
        let slot = &mut self.table.map[at * WIDTH..][..WIDTH];
        slot[..32].copy_from_slice(&outpoint.txid.0);
        slot[32..36].copy_from_slice(&outpoint.vout.to_le_bytes());
        slot[36..44].copy_from_slice(&value(number).to_le_bytes());
        slot[48] = script.len() as u8 + 1;
        slot[49..49 + script.len()].copy_from_slice(&script);
    }

    fn get(&self, outpoint: &OutPoint) -> Option<u64> {
        let slot = self.slot(self.find(outpoint)?);
        Some(
            u64::from_le_bytes(*slot[36..].first_chunk().expect("8 bytes")) + u64::from(slot[48])
                - 1,
        )
    }

    fn get_batch(&self, outpoints: &[OutPoint]) -> u64 {
        let touch = |outpoint| {
            let slot = self.slot(self.start(key(outpoint)));
            u64::from(slot[0]) + u64::from(slot[87])
        };
        black_box(outpoints.iter().map(touch).sum::<u64>());
        outpoints.iter().map(|outpoint| self.get(outpoint).expect("it is there")).sum()
    }

    fn remove(&mut self, outpoint: &OutPoint) {
        let at = self.find(outpoint).expect("it is there");
        self.table.map[at * WIDTH + 48] = 255;
    }

    fn ordered(&self) -> usize {
        let live = (0..self.slots).filter(|&at| !matches!(self.slot(at)[48], 0 | 255));
        let keys = live.map(|at| (prefix(self.slot(at)), at as u64)).collect();
        visit(keys, |at, hash| hash.update(&self.slot(at as usize)[..72]))
    }

    fn file(&self) -> &Mapped {
        &self.table
    }

    fn memory(&self) -> usize {
        0
    }
}

fn say(name: &str, wall: f64, cpu: f64, unit: &str) {
    println!("{name:<56} {wall:>12.3} {unit} wall {cpu:>12.3} {unit} cpu");
}

#[expect(clippy::disallowed_methods, reason = "measurements need a clock")]
fn time(name: &str, count: usize, work: impl FnOnce()) {
    let (wall, cpu) = (Instant::now(), ProcessTime::now());
    work();
    let (cpu, wall) = (cpu.elapsed().as_secs_f64(), wall.elapsed().as_secs_f64());
    say(name, 1e9 * wall / count as f64, 1e9 * cpu / count as f64, "ns");
}

fn measure(name: &str, coins: u32, count: u32, layout: &mut dyn Layout) {
    time(&format!("{name}: insert in order"), coins as usize, || {
        (0..coins).for_each(|coin| layout.insert(coin))
    });
    let file = layout.file().len as f64 / f64::from(coins);
    println!(
        "{name}: {:.2} bytes a coin in memory, {file:.2} in the file",
        layout.memory() as f64 / f64::from(coins)
    );
    let mut rng = Rng(3);
    let draw = |_| u32::try_from(rng.below(coins.into())).expect("below a u32");
    let drawn: Vec<u32> = (0..count).map(draw).collect();
    let outpoints: Vec<_> = drawn.iter().map(|&coin| layout.outpoint(coin)).collect();
    // Once, so that all pages are mapped.
    let sum: u64 =
        outpoints.iter().map(|outpoint| layout.get(outpoint).expect("it is there")).sum();
    for _ in 0..2 {
        time(&format!("{name}: look-up, warm, single"), outpoints.len(), || {
            assert_eq!(
                sum,
                outpoints
                    .iter()
                    .map(|outpoint| layout.get(outpoint).expect("it is there"))
                    .sum::<u64>()
            );
        });
        time(&format!("{name}: look-up, warm, {BATCH} at once"), outpoints.len(), || {
            assert_eq!(
                sum,
                outpoints.chunks(BATCH).map(|batch| layout.get_batch(batch)).sum::<u64>()
            );
        });
    }
    let mut missing = outpoints.clone();
    missing.iter_mut().for_each(|outpoint| outpoint.txid.0[0] ^= 1);
    time(&format!("{name}: look-up of what is not there"), missing.len(), || {
        assert!(missing.iter().all(|outpoint| layout.get(outpoint).is_none()));
    });
    time(&format!("{name}: all coins in key order, warm"), coins as usize, || {
        assert_eq!(layout.ordered(), coins as usize)
    });
    let mut gone: Vec<u32> = drawn.iter().map(|coin| coin / 2).collect();
    gone.sort_unstable();
    gone.dedup();
    let mut gone: Vec<_> = gone.into_iter().map(|coin| layout.outpoint(coin)).collect();
    (1..gone.len()).for_each(|at| {
        gone.swap(at, usize::try_from(rng.below(at as u64 + 1)).expect("below a usize"))
    });
    let added = coins..coins + gone.len() as u32;
    time(&format!("{name}: remove, warm"), gone.len(), || {
        gone.iter().for_each(|outpoint| layout.remove(outpoint))
    });
    time(&format!("{name}: insert into the full table, warm"), gone.len(), || {
        added.for_each(|coin| layout.insert(coin))
    });
    assert!(gone.iter().all(|outpoint| layout.get(outpoint).is_none()));
    let cold: Vec<_> =
        outpoints.into_iter().filter(|outpoint| layout.get(outpoint).is_some()).collect();
    let cold = &cold[..cold.len() / 50];
    if layout.file().cool() {
        time(&format!("{name}: look-up, cold"), cold.len(), || {
            assert!(cold.iter().all(|outpoint| layout.get(outpoint).is_some()));
        });
    }
}

fn main() {
    let is_test = std::env::args().any(|argument| argument == "--test");
    let coins = std::env::var("CAESURE_BENCH_COINS").ok().and_then(|coins| coins.parse().ok());
    let coins: u32 = coins.unwrap_or(if is_test { 20_000 } else { 200_000 });
    let count = (coins / 2).min(1_000_000);
    let mut log = Log::new(coins, count);
    measure("log", coins, count, &mut log);
    let kept = (coins..coins + count / 4).map(|coin| log.outpoint(coin)).collect::<Vec<_>>();
    // They are in the page cache, but after the cold figures not mapped.
    assert!(kept.iter().all(|outpoint| log.get(outpoint).is_some()));
    time("log: look-up of the newest, warm, mapped", kept.len(), || {
        assert!(kept.iter().all(|outpoint| log.get(outpoint).is_some()));
    });
    time("log: look-up of the newest, warm, read", kept.len(), || {
        assert!(kept.iter().all(|outpoint| log.read(outpoint).is_some()));
    });
    drop(log);
    measure("inline", coins, count, &mut Inline::new(coins, count));
    measure("blocks", coins, count, &mut Blocks::new(coins, count, 0));
    // A block that spends outputs of transactions of 100 kB, 2,777 outputs each.
    let coins = coins.min(5_000_000);
    measure("blocks, 100 kB each", coins, 6_000, &mut Blocks::new(coins, 6_000, 2_777));
}
