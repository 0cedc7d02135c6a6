use std::fs;
use std::io::{self, Write};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{Scope, scope};
use std::time::Duration;

use caesure_eventlog::{
    Event, Filter, LogOptions, LogWriter, Logger, Record, RecordReader, Tail, rotated,
};
use tempfile::tempdir;

use crate::{TIME, address, connect};

/// A clock that stands still, so that limits of rate bring nothing back.
const fn still() -> i64 {
    TIME
}

fn options() -> LogOptions {
    LogOptions::new(still)
}

/// What is written to a terminal.
#[derive(Clone, Default)]
struct Terminal(Arc<Mutex<Vec<u8>>>);

impl Write for Terminal {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Terminal {
    fn lines(&self) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().map(|line| line.split_once(' ').unwrap().1.to_owned()).collect()
    }
}

/// Runs a log for as long as a function takes.
fn with_log(options: LogOptions, work: impl FnOnce(&Logger)) -> Vec<String> {
    let terminal = Terminal::default();
    let (logger, writer) = Logger::new(options, Box::new(terminal.clone())).unwrap();
    scope(|threads: &Scope<'_, '_>| {
        let writer = threads.spawn(move || LogWriter::run(writer));
        work(&logger);
        logger.close();
        writer.join().unwrap().unwrap();
    });
    terminal.lines()
}

fn rare(count: u64) -> Event {
    Event::Addresses { count, source: "program".to_owned() }
}

fn often(height: u32) -> Event {
    Event::BlockConnected { name: [0x80; 32], height }
}

fn read(path: &std::path::Path) -> Vec<Record> {
    let file = fs::File::open(path).unwrap();
    let mut reader = RecordReader::new(file);
    let records = std::iter::from_fn(|| reader.next_record().unwrap()).collect();
    assert_eq!((reader.skipped(), reader.pending()), (0, 0));
    records
}

#[test]
fn without_a_file_events_are_lines_of_text() {
    let lines = with_log(options(), |logger| {
        logger.log(connect());
        logger.log(often(7));
    });
    assert_eq!(lines, ["server connect outgoing (127.0.0.1, 8333) (1.2.3.4, 8333)"]);
    let lines =
        with_log(LogOptions { is_verbose: true, ..options() }, |logger| logger.log(often(7)));
    assert_eq!(lines, [format!("ledger add {} 7", "80".repeat(32))]);
}

#[test]
fn a_file_is_appended_to_and_becomes_an_old_one_when_it_is_large() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("log.bin");
    let size = rare(0).record(TIME).to_bytes().len() as u64;
    let options =
        || LogOptions { file: Some(path.clone()), rotate_at: 3 * size, kept: 2, ..options() };
    let lines = with_log(options(), |logger| (0..4).for_each(|i| logger.log(rare(i))));
    assert!(lines.is_empty());
    let counts = |number: usize| {
        let path = if number == 0 { path.clone() } else { rotated(&path, number) };
        read(&path).iter().map(|record| record.items[2].clone()).collect::<Vec<_>>()
    };
    let numbers = |range: std::ops::Range<i128>| -> Vec<_> {
        range.map(caesure_eventlog::Value::Integer).collect()
    };
    assert_eq!((counts(1), counts(0)), (numbers(0..3), numbers(3..4)));
    with_log(options(), |logger| (4..11).for_each(|i| logger.log(rare(i))));
    assert_eq!((counts(2), counts(1), counts(0)), (numbers(3..6), numbers(6..9), numbers(9..11)));
    assert!(!rotated(&path, 3).exists());
}

#[test]
fn what_peers_cause_is_limited_in_rate_and_counted() {
    let lines = with_log(LogOptions { is_verbose: true, ..options() }, |logger| {
        for _ in 0..1_000 {
            logger.log(connect());
        }
        for i in 0..3_000 {
            logger.log(rare(i));
        }
        (0..5_000).for_each(|height| logger.log(often(height)));
    });
    let count = |start: &str| lines.iter().filter(|line| line.starts_with(start)).count();
    assert_eq!(
        (count("server connect"), count("addrcache"), count("ledger add")),
        (200, 3_000, 1_000)
    );
    assert!(lines.contains(&"log suppressed server connect 800".to_owned()), "{:?}", lines.last());
    assert!(lines.contains(&"log suppressed ledger add 4000".to_owned()));
}

#[test]
fn a_limit_of_rate_is_over_with_time_and_when_the_clock_is_set_back() {
    static CLOCK: AtomicI64 = AtomicI64::new(TIME);
    let options = LogOptions::new(|| CLOCK.load(Ordering::Relaxed));
    let lines = with_log(options, |logger| {
        let burst = || (0..1_000).for_each(|_| logger.log(connect()));
        burst();
        // One in 50 milliseconds.
        CLOCK.fetch_add(500_000, Ordering::Relaxed);
        burst();
        CLOCK.fetch_sub(3_600_000_000, Ordering::Relaxed);
        burst();
        CLOCK.fetch_add(1_000_000, Ordering::Relaxed);
        burst();
    });
    let count = lines.iter().filter(|line| line.starts_with("server connect")).count();
    assert_eq!(count, 200 + 10 + 20);
}

#[test]
fn what_does_not_fit_into_the_queue_is_counted() {
    let packet = |size: usize| Event::PacketSent {
        remote: address("1.2.3.4:1"),
        command: "block".to_owned(),
        payload: vec![0; size].into(),
    };
    let lines = with_log(LogOptions { queue_bytes: 100_000, ..options() }, |logger| {
        (0..3).for_each(|_| logger.log(packet(200_000)));
        logger.log(packet(10));
        assert_eq!(logger.dropped(), 3);
    });
    assert_eq!(lines, ["send (1.2.3.4, 1) block 00000000000000000000", "log dropped 3"]);
}

/// A disk that fails for a while.
struct Disk(Terminal, u32);

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.1 = self.1.saturating_sub(1);
        if self.1 > 0 { Err(io::ErrorKind::StorageFull.into()) } else { self.0.write(bytes) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn what_cannot_be_written_is_counted_and_told_later() {
    let terminal = Terminal::default();
    let disk = Disk(terminal.clone(), 2);
    let (logger, writer) = Logger::new(options(), Box::new(disk)).unwrap();
    scope(|threads| {
        let writer = threads.spawn(|| writer.run());
        logger.log(rare(1));
        logger.flush();
        logger.log(rare(2));
        logger.close();
        writer.join().unwrap().unwrap();
        assert_eq!(logger.dropped(), 1);
    });
    assert_eq!(terminal.lines(), ["addrcache load 2 program", "log dropped 1"]);
}

#[test]
fn a_log_that_nobody_writes_keeps_nothing() {
    let logger = Logger::default();
    (0..10).for_each(|i| logger.log(rare(i)));
    assert_eq!(logger.tail().next_sequence(), 0);
}

#[test]
fn the_newest_records_are_held_and_what_was_lost_is_told() {
    let mut kept: Option<Tail> = None;
    with_log(LogOptions { tail_bytes: 1_000, ..options() }, |logger| {
        (0..100).for_each(|i| logger.log(rare(i)));
        logger.flush();
        kept = Some(logger.tail());
    });
    let tail = kept.unwrap();
    let all = tail.last(1_000, &Filter::default());
    assert!((5..40).contains(&all.len()), "{}", all.len());
    assert_eq!((all[all.len() - 1].sequence, tail.next_sequence()), (99, 100));
    assert!(all.windows(2).all(|pair| pair[0].sequence + 1 == pair[1].sequence));
    assert_eq!(tail.last(2, &Filter::default()), all[all.len() - 2..]);
    let first = all[0].sequence;
    let news = tail.since(10, 3, &Filter::default());
    assert_eq!((news.lost, news.next), (first - 10, first + 3));
    assert_eq!(news.entries, all[..3]);
    let rest = tail.since(news.next, 1_000, &Filter::default());
    assert_eq!((rest.lost, rest.next, rest.entries), (0, 100, all[3..].to_vec()));
    assert!(tail.since(5_000, 9, &Filter::default()).entries.is_empty());
}

#[test]
fn a_tail_is_filtered_by_facility_and_text() {
    let mut kept = None;
    with_log(options(), |logger| {
        logger.log(connect());
        (0..20).for_each(|i| logger.log(rare(i)));
        logger.flush();
        kept = Some(logger.tail());
    });
    let tail = kept.unwrap();
    let of = |facility: &str, contains: &str| {
        let facilities = facility.split_whitespace().map(ToOwned::to_owned).collect();
        tail.last(100, &Filter { facilities, contains: contains.to_owned() }).len()
    };
    assert_eq!((of("", ""), of("server", ""), of("server addrcache", "")), (21, 1, 21));
    assert_eq!((of("", "1.2.3.4"), of("addrcache", "load 1"), of("ledger", "")), (1, 11, 0));
    let filter = Filter { facilities: vec!["server".to_owned()], ..Filter::default() };
    let news = tail.since(0, 10, &filter);
    assert_eq!((news.entries.len(), news.next), (1, 21));
}

#[test]
fn who_waits_for_a_record_is_woken_by_it() {
    with_log(options(), |logger| {
        let tail = logger.tail();
        assert!(!tail.wait(0, Duration::ZERO));
        scope(|threads| {
            let waiting = threads.spawn(|| tail.wait(0, Duration::from_secs(60)));
            logger.log(rare(0));
            assert!(waiting.join().unwrap());
        });
    });
}

#[test]
fn old_files_keep_their_order_and_none_are_kept_if_so_told() {
    let folder = tempdir().unwrap();
    let size = rare(0).record(TIME).to_bytes().len() as u64;
    for (kept, rotate_at, expected) in
        [(3, size, &[5, 4, 3, 2][..]), (0, size, &[5]), (3, 1, &[5, 4, 3, 2])]
    {
        let path = folder.path().join(format!("{kept}-{rotate_at}"));
        let options = LogOptions { file: Some(path.clone()), rotate_at, kept, ..options() };
        with_log(options, |logger| (0..6).for_each(|i| logger.log(rare(i))));
        for (number, count) in expected.iter().enumerate() {
            let path = if number == 0 { path.clone() } else { rotated(&path, number) };
            let found: Vec<_> = read(&path).iter().map(|it| it.items[2].clone()).collect();
            assert_eq!(found, [caesure_eventlog::Value::Integer(*count)], "{kept} {number}");
        }
        assert!(!rotated(&path, expected.len()).exists());
    }
}

#[test]
fn a_large_record_is_in_the_file_alone_and_words_of_the_terminal_come_from_elsewhere() {
    let mut kept = None;
    let lines = with_log(options(), |logger| {
        let payload = vec![0; 20_000].into();
        logger.log(Event::PacketSent {
            remote: address("1.2.3.4:1"),
            command: "tx".into(),
            payload,
        });
        logger.log(Event::LedgerCut { size: 5 });
        logger.flush();
        kept = Some(logger.tail().last(9, &Filter::default()).len());
    });
    assert_eq!((lines.len(), kept), (1, Some(1)));
}

#[test]
fn a_file_with_nothing_in_it_is_no_old_one() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("log.bin");
    let options = LogOptions { file: Some(path.clone()), rotate_at: 1, ..options() };
    with_log(options, |logger| (0..2).for_each(|i| logger.log(rare(i))));
    assert_eq!((read(&rotated(&path, 1)).len(), read(&path).len()), (1, 1));
    assert!(!rotated(&path, 2).exists());
}

#[test]
fn what_was_written_leaves_room_in_the_queue() {
    let packet = || Event::PacketSent {
        remote: address("1.2.3.4:1"),
        command: "block".to_owned(),
        payload: vec![0; 60_000].into(),
    };
    let options = LogOptions { queue_bytes: 100_000, is_verbose: true, ..options() };
    let lines = with_log(options, |logger| {
        for _ in 0..5 {
            logger.log(packet());
            logger.flush();
        }
        assert_eq!(logger.dropped(), 0);
    });
    assert_eq!(lines.len(), 5);
}

#[test]
fn what_was_suppressed_is_told_once_a_second_and_at_the_end() {
    let lines = with_log(LogOptions { is_verbose: true, ..options() }, |logger| {
        for _ in 0..3 {
            (0..1_000).for_each(|_| logger.log(connect()));
            logger.flush();
        }
    });
    let told = lines.iter().filter_map(|it| it.strip_prefix("log suppressed server connect "));
    let counts: Vec<u32> = told.map(|count| count.parse().unwrap()).collect();
    assert!(counts.len() <= 2 && counts.iter().sum::<u32>() == 2_800, "{counts:?}");
}
