//! The data that the measurements run on, and how two ways to do one thing are compared.

pub mod driver;

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use caesure_generate::{Options, Profile, generate};
use caesure_wire::Block;
use cpu_time::ProcessTime;
use criterion::{Bencher, Criterion};

/// How many pairs a ratio is the median of.
const PAIRS: usize = 25;
/// How long one side of a pair runs at least.
const BATCH: Duration = Duration::from_millis(8);

/// Makes a chain without forks, the same for the same options, block 0 first.
///
/// # Panics
/// When the options cannot be met.
#[must_use]
pub fn chain(options: &Options) -> Vec<Block<Vec<u8>>> {
    let mut blocks = Vec::new();
    generate(options, &mut |bytes| {
        blocks.push(Block::parse(bytes.to_vec()).expect("a generated block decodes"));
        Ok(())
    })
    .expect("the options can be met");
    blocks
}

/// Returns mainnet's block 413567 and its name where `CAESURE_TEST_DATA` names the folder of outside
/// data, else a generated block of about its shape: 1 MB, 1,500 transactions, few outputs each.
///
/// # Panics
/// When the folder lacks the block.
#[must_use]
pub fn block() -> (&'static str, Vec<u8>) {
    if let Some(data) = std::env::var_os("CAESURE_TEST_DATA") {
        let path = Path::new(&data).join("blocks/mainnet/413567.raw");
        return ("413567", std::fs::read(path).expect("the folder has the block"));
    }
    let options = Options {
        blocks: 102,
        txs: 1_500,
        pool: 1_000,
        profile: Profile::Mixed,
        forks: 0,
        ..Options::default()
    };
    let last = chain(&options).pop().expect("a chain has blocks");
    ("generated", last.bytes().to_vec())
}

/// Measures two ways to do one thing, each by itself with criterion, then in pairs taken in turn, and
/// prints how many times faster ours is: medians of the pairs' ratios of wall and of processor time.
///
/// `goal` is the ratio that is wanted. When criterion only tests, or filters the name out, there are no
/// pairs.
pub fn compare<A, B>(
    criterion: &mut Criterion,
    name: &str,
    goal: f64,
    mut ours: impl FnMut() -> A,
    (rival, mut theirs): (&str, impl FnMut() -> B),
) {
    let mut has_measured = false;
    let mut group = criterion.benchmark_group(name);
    group.bench_function("caesure", |bencher: &mut Bencher<'_>| {
        has_measured = true;
        bencher.iter(&mut ours);
    });
    group.bench_function(rival, |bencher: &mut Bencher<'_>| bencher.iter(&mut theirs));
    group.finish();
    if !has_measured || std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let (our_count, their_count) = (batch_size(&mut ours), batch_size(&mut theirs));
    let (mut walls, mut cpus) = (Vec::new(), Vec::new());
    for pair in 0..PAIRS {
        let mut sides = [(0.0, 0.0); 2];
        for side in if pair % 2 == 0 { [0, 1] } else { [1, 0] } {
            sides[side] = match side {
                0 => run(&mut ours, our_count),
                _ => run(&mut theirs, their_count),
            };
        }
        walls.push(sides[1].0 / sides[0].0);
        cpus.push(sides[1].1 / sides[0].1);
    }
    let verdict = if goal <= median(&mut cpus) { "reached" } else { "MISSED" };
    eprintln!(
        "{name}: {:.2} times {rival} by wall time, {:.2} by processor time (goal {goal}: {verdict})\n",
        median(&mut walls),
        median(&mut cpus),
    );
}

/// How many calls fill a batch.
fn batch_size<T>(f: &mut impl FnMut() -> T) -> u32 {
    let mut count = 1;
    while run(f, count).0 * f64::from(count) < BATCH.as_secs_f64() {
        count *= 2;
    }
    count
}

/// Wall and processor time of one call, in seconds.
#[expect(clippy::disallowed_methods, reason = "measurements need a clock")]
fn run<T>(f: &mut impl FnMut() -> T, count: u32) -> (f64, f64) {
    let (wall, cpu) = (Instant::now(), ProcessTime::now());
    for _ in 0..count {
        black_box(&f());
    }
    let (cpu, wall) = (cpu.elapsed(), wall.elapsed());
    (wall.as_secs_f64() / f64::from(count), cpu.as_secs_f64() / f64::from(count))
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
