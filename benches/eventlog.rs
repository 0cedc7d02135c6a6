//! What an event costs who tells it, how many are written a second and how long they are, beside
//! `tracing` with a writer of JSON.

#![allow(missing_docs, reason = "criterion's macros make public items")]
#![expect(clippy::disallowed_methods, reason = "it measures, and runs a log's thread")]
#![expect(clippy::print_stdout, reason = "it says what it measured")]

use std::fs::{self, File};
use std::hint::black_box;
use std::io::{BufWriter, sink};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use caesure_eventlog::{Event, LogOptions, Logger};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tracing::subscriber::with_default;

/// So many events are told one after the other; then what is told is written, which is not counted.
const BURST: u32 = 10_000;
const WRITTEN: u32 = 1_000_000;

fn clock() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or_default()
}

fn event(remote: SocketAddr, height: u32) -> Event {
    // Of a kind that is not limited in rate, with a text of its own.
    let (remote, size) = (remote.into(), u64::from(height));
    Event::MessageReceived { remote, command: "getheaders".to_owned(), size }
}

fn tell_tracing(remote: SocketAddr, height: u32) {
    let command = "getheaders".to_owned();
    tracing::info!(target: "conn", %remote, command, size = height, "<=");
}

/// Runs a log into a file, and returns what a function returns of it.
fn with_log<T>(path: &Path, work: impl FnOnce(&Logger) -> T) -> T {
    let options = LogOptions { file: Some(path.to_owned()), ..LogOptions::new(clock) };
    let (logger, writer) = Logger::new(options, Box::new(sink())).expect("a file can be made");
    let writer = thread::spawn(move || writer.run());
    let result = work(&logger);
    logger.close();
    writer.join().expect("it does not panic").expect("the file can be written");
    result
}

fn subscriber(path: &Path) -> impl tracing::Subscriber + Send + Sync + 'static {
    let file = BufWriter::new(File::create(path).expect("a file can be made"));
    tracing_subscriber::fmt().json().with_writer(Mutex::new(file)).finish()
}

/// Measures bursts, between which all is written.
fn bursts(times: u64, mut tell: impl FnMut(u32), mut settle: impl FnMut()) -> Duration {
    let mut sum = Duration::ZERO;
    for _ in 0..times {
        let begin = Instant::now();
        for i in 0..BURST {
            tell(black_box(i));
        }
        sum += begin.elapsed();
        settle();
    }
    sum
}

fn callers(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let (ours, theirs) = (folder.path().join("log.bin"), folder.path().join("log.json"));
    let remote = "1.2.3.4:8333".parse().expect("an address");
    let mut group = criterion.benchmark_group("an event, at the caller");
    group.throughput(Throughput::Elements(BURST.into())).sample_size(10);
    group.bench_function("Caesure", |bencher| {
        with_log(&ours, |logger| {
            bencher.iter_custom(|times| {
                bursts(times, |i| logger.log(event(remote, i)), || logger.flush())
            });
        });
    });
    group.bench_function("tracing, JSON", |bencher| {
        with_default(subscriber(&theirs), || {
            bencher.iter_custom(|times| bursts(times, |i| tell_tracing(remote, i), || {}));
        });
    });
    group.finish();
    let length = |path: &Path| fs::metadata(path).expect("it was written").len();
    let (ours, theirs) = (folder.path().join("all.bin"), folder.path().join("all.json"));
    let begin = Instant::now();
    with_log(&ours, |logger| {
        for i in 0..WRITTEN {
            logger.log(event(remote, i));
            if i % (8 * BURST) == 0 {
                logger.flush();
            }
        }
    });
    let own = (begin.elapsed(), length(&ours));
    let begin = Instant::now();
    with_default(subscriber(&theirs), || (0..WRITTEN).for_each(|i| tell_tracing(remote, i)));
    for (name, (time, length)) in
        [("Caesure", own), ("tracing, JSON", (begin.elapsed(), length(&theirs)))]
    {
        let rate = f64::from(WRITTEN) / time.as_secs_f64();
        let bytes = length / u64::from(WRITTEN);
        println!("{name}: {rate:.0} events a second to a file, {bytes} bytes an event");
    }
}

criterion_group!(benches, callers);
criterion_main!(benches);
