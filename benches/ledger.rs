//! The ledger alone, fed by the synthetic driver: a line a figure.
//!
//! `CAESURE_BENCH_COINS` says how many coins (200,000 if it is not set), `TMPDIR` where the files lie.
//! What the driver does is outside of all spans, and its memory, a bit a coin, outside of all
//! differences; blocks are built ahead. `wall` is time on the clock, `cpu` the processor time of the
//! whole process.

#![allow(clippy::print_stdout, reason = "the figures are the output")]

use std::fs;
use std::hint::black_box;
use std::io::BufWriter;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use caesure_benches::driver::{Ages, Branch, Built, Driver, MADE, Rng, SPENT};
use caesure_consensus::{HeaderTree, Network, Params};
use caesure_ledger::{BlockInfo, Ledger, Options, World, genesis_info, snapshot};
use caesure_wire::OutPoint;
use cpu_time::ProcessTime;

const HORIZON: u32 = 288;
const OPERATIONS: f64 = (MADE + SPENT) as f64;

/// Prints a figure.
fn say(name: &str, value: f64, unit: &str) {
    println!("{name:<62} {value:>14.3} {unit}");
}

/// Wall and processor time, in seconds.
#[expect(clippy::disallowed_methods, reason = "measurements need a clock")]
fn time<T>(work: impl FnOnce() -> T) -> (f64, f64, T) {
    let (wall, cpu) = (Instant::now(), ProcessTime::now());
    let result = work();
    let (cpu, wall) = (cpu.elapsed(), wall.elapsed());
    (wall.as_secs_f64(), cpu.as_secs_f64(), result)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Resident bytes: anonymous, and of mapped files.
fn resident() -> (f64, f64) {
    let text = fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
        1024.0 * kib.unwrap_or(f64::NAN)
    };
    (field("Anonymous:"), field("Rss:") - field("Anonymous:"))
}

fn files(folder: &Path) -> f64 {
    let entries = fs::read_dir(folder).expect("the folder is there");
    let size = |entry: fs::DirEntry| entry.metadata().map_or(0, |metadata| metadata.len());
    entries.map(|entry| size(entry.expect("the folder can be read")) as f64).sum()
}

/// Where the ledger lies.
struct Bench {
    folder: tempfile::TempDir,
    params: Params,
    genesis: BlockInfo,
}

impl Bench {
    fn new() -> Self {
        let params = Params::new(Network::Regtest);
        let genesis = genesis_info(&params, &HeaderTree::new(&params));
        let folder = tempfile::tempdir().expect("a folder for the ledger");
        Self { folder, params, genesis }
    }

    fn open(&self) -> Ledger {
        let (folder, genesis) = (self.folder.path(), self.genesis);
        let options = Options { horizon: HORIZON, memory: 8 << 30, ..Options::default() };
        let opened = Ledger::open(folder, &self.params, genesis, options, true, &mut |_| Ok(true));
        opened.expect("it opens").0
    }
}

/// Looks many coins up in one world.
fn get_many(world: &World, outpoints: &[OutPoint]) -> usize {
    world.get_many(outpoints).expect("the world is held").iter().flatten().count()
}

/// From empty to the wanted number of coins.
fn fill(ledger: &mut Ledger, driver: &mut Driver, branch: &mut Branch, coins: u32) {
    let (mut walls, mut cpus, mut worst, mut operations, mut builds) =
        (0.0, 0.0, 0.0_f64, 0.0, 0.0);
    while branch.coins < coins {
        let (_, build, built) = time(|| driver.fill(branch));
        let (wall, cpu, ()) = time(|| built.connect(ledger));
        operations += (built.block.input_count() + built.block.output_count()) as f64;
        builds += build;
        (walls, cpus, worst) = (walls + wall, cpus + cpu, worst.max(wall));
    }
    say("coins", f64::from(branch.coins), "");
    say("the driver alone, an operation: cpu", 1e9 * builds / operations, "ns");
    say("grow from empty, blocks of 20,006 outputs: wall", walls, "s");
    say("grow from empty: cpu", cpus, "s");
    say("grow from empty: cpu an operation", 1e9 * cpus / operations, "ns");
    say("grow from empty: longest block", 1e3 * worst, "ms");
}

/// Ordinary blocks on each of some branches in turn; says what one costs.
fn connect(
    name: &str,
    ledger: &mut Ledger,
    driver: &mut Driver,
    (branches, rounds): (&mut [Branch], usize),
) {
    let (mut walls, mut cpus, mut parts) =
        (Vec::new(), Vec::new(), [Vec::new(), Vec::new(), Vec::new()]);
    for _ in 0..rounds {
        for branch in &mut *branches {
            let built = driver.block(branch);
            let Built { block, txids, sums } = &built;
            let (resolve, cpu_1, resolved) =
                time(|| ledger.resolve(block, txids, false).expect("readable").expect("a parent"));
            assert!(resolved.prevouts.iter().all(Option::is_some), "the ledger lost a coin");
            let (extend, cpu_2, ()) =
                time(|| ledger.extend(block, txids, &resolved, *sums).expect("there is room"));
            let (commit, cpu_3, ()) =
                time(|| ledger.commit(&block.hash()).expect("the disk takes it"));
            walls.push(resolve + extend + commit);
            cpus.push(cpu_1 + cpu_2 + cpu_3);
            parts
                .iter_mut()
                .zip([resolve, extend, commit])
                .for_each(|(part, wall)| part.push(wall));
        }
    }
    if name.is_empty() {
        return;
    }
    say(
        &format!("{name}: a block of 13,000 operations, longest"),
        1e3 * walls.iter().copied().fold(0.0, f64::max),
        "ms",
    );
    say(&format!("{name}: median wall"), 1e3 * median(walls), "ms");
    let cpu = median(cpus);
    say(&format!("{name}: median cpu"), 1e3 * cpu, "ms");
    say(&format!("{name}: cpu an operation"), 1e9 * cpu / OPERATIONS, "ns");
    for (part, walls) in
        ["resolve, a spend", "extend, an operation", "commit and fold, an operation"]
            .iter()
            .zip(parts)
    {
        let count = if part.contains("spend") { f64::from(SPENT) } else { OPERATIONS };
        say(&format!("{name}: {part}"), 1e9 * median(walls) / count, "ns");
    }
}

/// Look-ups of coins that the last `reach` blocks made.
fn look(name: &str, world: &World, branch: &Branch, reach: usize, count: usize) {
    let mut rng = Rng(1);
    let outpoints: Vec<OutPoint> = (0..count).map(|_| branch.outpoint(&mut rng, reach)).collect();
    let get = |outpoint: &OutPoint| world.get(outpoint).expect("the world is held").is_some();
    let single = || outpoints.iter().filter(|outpoint| get(outpoint)).count();
    let batched = || outpoints.chunks(1_024).map(|chunk| get_many(world, chunk)).sum::<usize>();
    assert_eq!(single(), count, "{name}: the ledger lost a coin");
    // A few are looked at again and again, or there were nothing to measure.
    let times = 1 + 100_000 / count;
    let single = time(|| (0..times).map(|_| single()).sum::<usize>());
    let batched = time(|| (0..times).map(|_| batched()).sum());
    for (way, (_, cpu, found)) in [("single", single), ("batched", batched)] {
        assert_eq!(found, times * count, "{name}: the ledger lost a coin");
        say(&format!("look-up, {name}, {way}"), 1e9 * cpu / found as f64, "ns");
    }
}

/// Look-ups by another thread while blocks connect: what each side loses, with look-ups in this
/// ledger, and with look-ups in another that shares nothing with it, which is what the machine takes.
/// Look-ups, blocks, and both go by turns, many times, since the machine's pace changes by itself.
fn contend(
    ledger: &mut Ledger,
    driver: &mut Driver,
    (branch, apart): (&mut Branch, (&World, &Branch)),
    rounds: usize,
) {
    let mut rng = Rng(2);
    for (name, apart) in [("this ledger", None), ("another ledger", Some(apart))] {
        let mut times: [Vec<f64>; 4] = Default::default();
        for _ in 0..rounds {
            let own = ledger.tip();
            let (world, from) = apart.unwrap_or((&own, branch));
            let outpoints: Vec<OutPoint> =
                (0..32 << 10).map(|_| from.outpoint(&mut rng, usize::MAX)).collect();
            let built: Vec<Built> = (0..6).map(|_| driver.block(branch)).collect();
            let mut blocks = |some: &[Built]| -> Vec<f64> {
                some.iter().map(|built| time(|| built.connect(ledger)).0).collect()
            };
            let look = |is_done: &AtomicBool| {
                let chunks = outpoints.chunks(1_024).cycle();
                let chunks = chunks.take_while(|_| !is_done.load(Ordering::Relaxed)).take(1_000);
                chunks.map(|some| time(|| get_many(world, some)).0 / 1_024.0).collect::<Vec<_>>()
            };
            let is_done = AtomicBool::new(false);
            let alone = std::thread::scope(|scope| {
                let looker = scope.spawn(|| look(&is_done));
                std::thread::sleep(Duration::from_millis(10));
                is_done.store(true, Ordering::Relaxed);
                looker.join().expect("the look-ups end")
            });
            let blocks_alone = blocks(&built[..3]);
            is_done.store(false, Ordering::Relaxed);
            let [look_both, blocks_both] = std::thread::scope(|scope| {
                let looker = scope.spawn(|| look(&is_done));
                let blocks_both = blocks(&built[3..]);
                is_done.store(true, Ordering::Relaxed);
                [looker.join().expect("the look-ups end"), blocks_both]
            });
            let new = [alone, look_both, blocks_alone, blocks_both];
            times.iter_mut().zip(new).for_each(|(all, new)| all.extend(new));
        }
        let [alone, both, blocks_alone, blocks_both] = times.map(median);
        let slower = |both: f64, alone: f64| 100.0 * (both / alone - 1.0);
        say(&format!("look-up in {name}, alone"), 1e9 * alone, "ns");
        say(
            &format!("look-ups in {name} are slower while blocks connect by"),
            slower(both, alone),
            "%",
        );
        say("and blocks beside them are slower by", slower(blocks_both, blocks_alone), "%");
    }
}

/// Branches of empty blocks that become the tip: what the block takes that does it, the least of some
/// tries.
fn switch(ledger: &mut Ledger, driver: &mut Driver) {
    let worlds = ledger.worlds();
    let (root, tip) = (ledger.root().height, *ledger.tip().info());
    for depth in [1, 6, 100, HORIZON - 1].into_iter().filter(|depth| root + depth <= tip.height) {
        let fork = worlds.iter().find(|info| info.height + depth == tip.height);
        let mut branch = Branch::new(fork.expect("the window reaches so deep"));
        let empty: Vec<Built> = (0..depth).map(|_| driver.empty(&mut branch)).collect();
        empty.iter().for_each(|built| built.connect(ledger));
        let mut least = f64::INFINITY;
        for _ in 0..9 {
            assert_eq!(*ledger.tip().info(), tip, "the first of equal work stays the tip");
            let built = driver.empty(&mut branch.clone());
            least = least.min(time(|| built.connect(ledger)).0);
            assert_eq!(ledger.tip().info().hash, built.block.hash());
            ledger.discard(&built.block.hash()).expect("readable");
        }
        say(&format!("tip switch by an empty block, fork {depth} deep"), 1e6 * least, "us");
        ledger.discard(&empty[0].block.hash()).expect("readable");
    }
}

/// All coins of the tip's world: looked at, hashed, and written as a snapshot, the latter two while a
/// block is connected now and then.
fn iterate(ledger: &mut Ledger, driver: &mut Driver, branch: &mut Branch) {
    let (world, count) = (ledger.tip(), branch.coins);
    let mut coins = 0_u32;
    let (wall, cpu, ()) = time(|| world.for_each(|_, _| coins += 1).expect("the tip is held"));
    assert_eq!(coins, count, "the ledger lost coins");
    say("all coins in key order: wall", f64::from(coins) / wall / 1e6, "million a second");
    say("all coins in key order: cpu", 1e9 * cpu / f64::from(coins), "ns a coin");
    let hash = || world.hash_serialized_3().map(drop);
    let snapshot = || {
        let file = BufWriter::new(tempfile::tempfile().expect("room for a file"));
        let mut writer = snapshot::Writer::new(file, [0; 4], world.info().hash).expect("room");
        world.for_each(|outpoint, coin| writer.push(outpoint, coin).expect("in order"))?;
        assert_eq!(writer.finish().expect("room").0, u64::from(count), "a snapshot of all coins");
        Ok(())
    };
    // The world is held for 288 blocks.
    let pause = Duration::from_secs_f64(wall / 60.0);
    both(ledger, driver, branch, pause, ("hash_serialized_3", hash));
    both(ledger, driver, branch, pause, ("snapshot", snapshot));
    if coins < 6_000_000 {
        let (wall, _, _) = time(|| world.summary().expect("the tip is held"));
        say("both hashes of the set: wall", f64::from(coins) / wall / 1e6, "million a second");
    }
}

/// Does something on one thread, and connects blocks on the other with pauses.
fn both(
    ledger: &mut Ledger,
    driver: &mut Driver,
    branch: &mut Branch,
    pause: Duration,
    (name, work): (&str, impl FnOnce() -> Result<(), caesure_ledger::Error> + Send),
) {
    let (before, coins, mut most, mut blocks) = (resident().0, branch.coins, 0.0_f64, Vec::new());
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| time(work));
        while !worker.is_finished() {
            let built = driver.block(branch);
            blocks.push(time(|| built.connect(ledger)).0);
            most = most.max(resident().0 - before);
            std::thread::sleep(pause);
        }
        let (wall, _, result) = worker.join().expect("it ends");
        result.expect("the world is held");
        say(&format!("{name}: wall"), f64::from(coins) / wall / 1e6, "million a second");
    });
    say(&format!("{name}: blocks connected meanwhile"), blocks.len() as f64, "");
    say(&format!("{name}: such a block, median"), 1e3 * median(blocks), "ms");
    say(&format!("{name}: anonymous memory, at most"), most / 1e6, "MB");
}

/// What a start takes, after a clean stop and after a crash.
fn restart(bench: &Bench, mut ledger: Ledger, driver: &mut Driver, branch: &mut Branch) {
    let built: Vec<Built> = (0..20).map(|_| driver.block(branch)).collect();
    let (wall, cpu, ()) = time(|| ledger.checkpoint().expect("the disk takes it"));
    say("checkpoint: wall", wall, "s");
    say("checkpoint: cpu", cpu, "s");
    let tip = *ledger.tip().info();
    drop(ledger);
    let (wall, _, mut ledger) = time(|| bench.open());
    if *ledger.tip().info() != tip {
        println!("starts are not measured: this ledger wants whole blocks, the driver has none");
        return;
    }
    say("start after a clean stop: wall", wall, "s");
    built.iter().for_each(|built| built.connect(&mut ledger));
    ledger.sync().expect("the disk takes it");
    let tip = *ledger.tip().info();
    drop(ledger);
    let (wall, _, ledger) = time(|| bench.open());
    assert_eq!(*ledger.tip().info(), tip, "a block was lost");
    say("start after a crash, 20 blocks on: wall", wall, "s");
}

/// From empty to the wanted number of coins, and what one takes.
fn grow(bench: &Bench, ledger: &mut Ledger, driver: &mut Driver, coins: u32) -> Branch {
    let mut branch = Branch::new(&bench.genesis);
    let before = resident();
    fill(ledger, driver, &mut branch, coins);
    let after = resident();
    let each = f64::from(branch.coins);
    // The driver has a bit for each coin that it made, of which 4 of 7 are left.
    let bits = 7.0 / 4.0 / 8.0;
    say("resident a coin, anonymous", (after.0 - before.0) / each - bits, "bytes");
    say("resident a coin, files mapped", (after.1 - before.1) / each, "bytes");
    say("on disk a coin", files(bench.folder.path()) / each, "bytes");
    branch
}

fn main() {
    let is_test = std::env::args().any(|argument| argument == "--test");
    let coins = std::env::var("CAESURE_BENCH_COINS").ok().and_then(|coins| coins.parse().ok());
    let coins = coins.unwrap_or(if is_test { 20_000 } else { 200_000_u32 });
    let scale = if is_test { 20 } else { 1 };
    let bench = Bench::new();
    let mut ledger = bench.open();
    let mut driver = Driver::new(1);
    let mut one = [grow(&bench, &mut ledger, &mut driver, coins.max(20_000))];

    // The first blocks fold those that filled the set; they are not measured.
    connect("", &mut ledger, &mut driver, (&mut one, 320 / scale));
    connect("one branch", &mut ledger, &mut driver, (&mut one, 80 / scale));
    driver.ages = Ages::Uniform;
    connect("one branch, any age", &mut ledger, &mut driver, (&mut one, 80 / scale));
    driver.ages = Ages::Natural;
    switch(&mut ledger, &mut driver);

    let [branch] = one;
    let (mut branches, before) = (vec![branch.clone(); 8], resident());
    let held = ledger.worlds().len();
    connect("", &mut ledger, &mut driver, (&mut branches, 80 / scale));
    let worlds = (ledger.worlds().len() - held) as f64;
    let bytes = resident().0 - before.0;
    say("a retained world of a full block, anonymous", bytes / worlds / 1e6, "MB");
    branches.push(branch);
    connect("", &mut ledger, &mut driver, (&mut branches[8..], 80 / scale));
    connect("nine branches", &mut ledger, &mut driver, (&mut branches, 4));
    say("worlds held", ledger.worlds().len() as f64, "");

    let world = ledger.world(&branches[0].tip).expect("the fork is held");
    let count = 1_000_000 / scale;
    look("made in the last 80 blocks", &world, &branches[0], 80 / scale, count);
    look("made in the last block", &world, &branches[0], 1, 1_000);
    look("any coin", &world, &branches[0], usize::MAX, count);
    let (wall, _, ()) = time(|| (0..count).for_each(|_| drop(black_box(ledger.tip()))));
    say("a pinned view taken and released", 1e9 * wall / count as f64, "ns");
    drop(world);

    let mut branch = branches.pop().expect("there are nine");
    {
        let bench = Bench::new();
        let mut apart = bench.open();
        let other = grow(&bench, &mut apart, &mut Driver::new(2), coins.max(20_000));
        contend(&mut ledger, &mut driver, (&mut branch, (&apart.tip(), &other)), 60 / scale);
    }
    iterate(&mut ledger, &mut driver, &mut branch);
    restart(&bench, ledger, &mut driver, &mut branch);
}
