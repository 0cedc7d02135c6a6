use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use caesure_eventlog::{Event, rotated};
use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};

use crate::running::{Running, wait_until};
use crate::{GOLDEN, TIME, address, connect, log_of, unhex};

struct World {
    folder: TempDir,
}

impl World {
    fn new(log: &[u8]) -> Self {
        let folder = tempdir().unwrap();
        fs::write(folder.path().join("log.bin"), log).unwrap();
        Self { folder }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("log.bin")
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_catlog"));
        command.args(words).current_dir(self.folder.path()).env("TZ", "UTC").stdin(Stdio::null());
        command
    }

    fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    /// The lines without their times.
    fn lines(&self, words: &[&str]) -> Vec<String> {
        let output = self.run(words);
        assert_eq!(output.status.code(), Some(0), "{words:?}: {}", said(&output));
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| line.split_once(' ').unwrap().1.to_owned()).collect()
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn packet(command: &str, payload: &[u8]) -> Event {
    let remote = address("1.2.3.4:8333");
    Event::PacketReceived { remote, command: command.to_owned(), payload: payload.into() }
}

fn log(events: &[Event]) -> Vec<u8> {
    let mut out = Vec::new();
    events.iter().for_each(|event| event.encode(TIME, &mut out));
    out
}

#[test]
fn the_originals_record_is_shown() {
    let world = World::new(&unhex(GOLDEN));
    let output = world.run(&["log.bin"]);
    let line = "2015-02-27T00:10:15 server connect outgoing (127.0.0.1, 8333) (1.2.3.4, 8333)\n";
    assert_eq!(String::from_utf8(output.stdout).unwrap(), line);
    let mut command = world.command(&["log.bin"]);
    let output = command.env("TZ", "EST5").output().unwrap();
    assert!(output.stdout.starts_with(b"2015-02-26T19:10:15 "), "{output:?}");
}

#[test]
fn standard_input_is_read_from_any_place() {
    let world = World::new(&[]);
    let bytes = [&unhex(GOLDEN)[20..], &unhex(GOLDEN)].concat();
    for words in [&[][..], &["-"]] {
        let mut command = world.command(words);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = Running::start(&mut command);
        child.stdin.take().unwrap().write_all(&bytes).unwrap();
        let output = child.output();
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(output.stdout.iter().filter(|&&byte| byte == b'\n').count(), 1);
        assert!(said(&output).contains("60 bytes are no record"), "{}", said(&output));
    }
}

/// As behind `tail -f`: the input stays open, and what is shown is read meanwhile.
#[test]
fn what_comes_in_is_shown_before_there_is_more() {
    let world = World::new(&[]);
    let mut command = world.command(&[]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut log, shown) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    std::thread::scope(|scope| {
        let (told, lines) = std::sync::mpsc::channel();
        scope.spawn(move || {
            BufReader::new(shown).lines().for_each(|line| _ = told.send(line.unwrap()));
        });
        // A record, and one with the beginning of a third.
        let cut = unhex(GOLDEN).len() / 2;
        for bytes in [unhex(GOLDEN), [&unhex(GOLDEN), &unhex(GOLDEN)[..cut]].concat()] {
            log.write_all(&bytes).unwrap();
            let line = lines.recv_timeout(std::time::Duration::from_secs(60)).unwrap_or_default();
            if !line.ends_with("(1.2.3.4, 8333)") {
                child.kill().unwrap();
                panic!("nothing was shown: {line}");
            }
        }
        drop(log);
        assert!(child.wait().unwrap().success());
    });
}

#[test]
fn damage_is_told_and_passed_over() {
    let log = log_of(20, 1);
    let size = log.len() / 20;
    let damaged = [&log[..3 * size], &[7; 99], &log[3 * size..]].concat();
    let output = World::new(&damaged).run(&["log.bin"]);
    assert_eq!(output.stdout.iter().filter(|&&byte| byte == b'\n').count(), 20);
    assert_eq!(said(&output), "catlog: 99 bytes are no record and were skipped\n");
    let output = World::new(&log[..log.len() - 5]).run(&["log.bin"]);
    let cut = format!("catlog: the last record is cut after {} bytes\n", size - 5);
    assert_eq!((output.status.code(), said(&output)), (Some(0), cut));
}

#[test]
fn the_status_is_1_for_what_cannot_be_read_and_2_for_wrong_usage() {
    let world = World::new(&[0x31; 20_000]);
    for (words, status, text) in [
        (&["log.bin"][..], 1, "no record in"),
        (
            &["nothing.bin"],
            1,
            "nothing.bin: No such file or directory (os error 2): check the path",
        ),
        (&["."], 1, ".: is a directory: check the path"),
        (&["nothing.bin", "-f"], 1, "nothing.bin: No such file"),
        (&["log.bin", "--pcap", "no/where"], 1, "no/where: No such file"),
        (&["--nonsense"], 2, "--nonsense"),
        (&["log.bin", "-a", "3"], 2, "give a number and s, m, h, d or w"),
        (&["-f"], 2, "<FILE>"),
    ] {
        let output = world.run(words);
        assert_eq!(output.status.code(), Some(status), "{words:?}");
        assert!(said(&output).contains(text), "{words:?}: {}", said(&output));
    }
    fs::write(world.path(), [0x31; 50]).unwrap();
    let output = world.run(&["log.bin"]);
    assert_eq!(output.status.code(), Some(1), "bytes, but no record");
    assert!(said(&output).contains("name a file that caesure --logfile wrote"), "{output:?}");
    fs::write(world.path(), []).unwrap();
    assert_eq!(world.run(&["log.bin"]).status.code(), Some(0), "a log without events");
}

#[test]
fn records_are_chosen_by_facility_and_without_blocks() {
    let events = [connect(), packet("block", &[1]), packet("tx", &[2]), Event::NoSeeding {}];
    let world = World::new(&log(&events));
    let facilities = |words: &[&str]| -> Vec<String> {
        let lines = world.lines(&[&["log.bin"], words].concat());
        lines.iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect()
    };
    assert_eq!(facilities(&[]), ["server", "recv", "recv", "addrcache"]);
    assert_eq!(facilities(&["--facility", "recv"]), ["recv", "recv"]);
    assert_eq!(
        facilities(&["--facility", "recv", "--facility", "server"]),
        ["server", "recv", "recv"]
    );
    assert_eq!(facilities(&["-nb"]), ["server", "recv", "addrcache"]);
    assert_eq!(facilities(&["--no_blocks", "--facility", "recv"]), ["recv"]);
}

#[test]
fn large_items_are_shown_at_request() {
    let world = World::new(&log(&[packet("tx", &[0xfe; 500])]));
    assert_eq!(world.lines(&["log.bin"]), ["recv (1.2.3.4, 8333) tx <large: 500 bytes>"]);
    let whole = format!("recv (1.2.3.4, 8333) tx {}", "fe".repeat(500));
    assert_eq!(world.lines(&["log.bin", "-b"]), [whole]);
}

#[test]
fn an_event_of_ours_is_json_with_its_fields_by_name() {
    let foreign = caesure_eventlog::Record {
        time: TIME,
        items: vec![
            caesure_eventlog::Value::text("x"),
            caesure_eventlog::Value::Integer(i128::MAX),
            caesure_eventlog::Value::List(vec![caesure_eventlog::Value::None]),
        ],
    };
    let block = Event::BlockConnected { name: [0xab; 32], height: 7 };
    let bytes = [log(&[connect(), block, packet("x\"\n", &[0])]), foreign.to_bytes()].concat();
    let output = World::new(&bytes).run(&["log.bin", "--json"]);
    let lines: Vec<Value> = output
        .stdout
        .split(|&byte| byte == b'\n')
        .filter(|it| !it.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect();
    let time = "2015-02-27T00:10:15.123456Z";
    assert_eq!(
        lines,
        [
            json!({"time": time, "facility": "server", "event": "connect", "direction": "outgoing",
            "local": ["127.0.0.1", 8333], "remote": ["1.2.3.4", 8333]}),
            json!({"time": time, "facility": "ledger", "event": "add", "name": "ab".repeat(32), "height": 7}),
            json!({"time": time, "facility": "recv", "remote": ["1.2.3.4", 8333], "command": "x\"\n", "payload": "00"}),
            json!({"time": time, "items": ["x", i128::MAX.to_string(), [null]]}),
        ]
    );
}

#[test]
fn ago_begins_at_the_first_record_that_is_late_enough() {
    // One record a second.
    let log = log_of(5_000, 1_000_000);
    let world = World::new(&log);
    for (ago, count) in
        [("0s", 1), ("1s", 2), ("90s", 91), ("3m", 181), ("1h", 3_601), ("2w", 5_000)]
    {
        let lines = world.lines(&["log.bin", "-a", ago]);
        assert_eq!(lines.len(), count, "{ago}");
        assert!(lines[lines.len() - 1].ends_with(" 4999"));
    }
    fs::write(world.path(), log_of(30, 86_400_000_000)).unwrap();
    let counts = ["3d", "2w"].map(|ago| world.lines(&["log.bin", "-a", ago]).len());
    assert_eq!(counts, [4, 15]);
    fs::write(world.path(), [&log[..], &[9; 200_000]].concat()).unwrap();
    let output = world.run(&["log.bin", "--ago", "2s"]);
    assert_eq!(output.stdout.iter().filter(|&&byte| byte == b'\n').count(), 3, "{}", said(&output));
    fs::write(world.path(), []).unwrap();
    assert!(world.lines(&["log.bin", "--ago", "2s"]).is_empty());
}

#[test]
fn a_closed_pipe_ends_it_quietly() {
    let world = World::new(&log_of(50_000, 1));
    let mut command = world.command(&["log.bin"]);
    let mut child = Running::start(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
    let mut first = [0; 10];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    let output = child.output();
    assert_eq!((output.status.code(), said(&output)), (Some(0), String::new()));
}

fn append(path: &Path, bytes: &[u8]) {
    let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
    file.write_all(bytes).unwrap();
}

#[test]
fn a_follower_shows_what_is_added_over_rotations() {
    let records: Vec<Vec<u8>> =
        (0..8).map(|height| log(&[Event::BlockConnected { name: [0x80; 32], height }])).collect();
    let world = World::new(&records[0]);
    let path = world.path();
    let mut command = world.command(&["log.bin", "-f"]);
    let shown = world.folder.path().join("shown");
    let _follower = Running::start(command.stdout(fs::File::create(&shown).unwrap()));
    let shows = |heights: &str| {
        let mut last = String::new();
        wait_until(heights, || {
            let text = fs::read_to_string(&shown).unwrap();
            last = text.lines().flat_map(|line| line.chars().last()).collect();
            heights.len() <= last.len()
        });
        assert_eq!(last, heights);
    };
    shows("0");
    append(&path, &records[1][..10]);
    append(&path, &records[1][10..]);
    shows("01");
    // Something is added to the old file, and two rotations come at once.
    append(&path, &records[2]);
    fs::rename(&path, rotated(&path, 2)).unwrap();
    append(&rotated(&path, 1), &[&records[3][..], &records[4]].concat());
    append(&path, &records[5]);
    shows("012345");
    // It is emptied.
    fs::write(&path, []).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(900));
    append(&path, &records[6]);
    shows("0123456");
}

#[test]
fn packets_become_a_capture_that_others_read() {
    let starting =
        Event::Starting { version: "1".into(), network: "regtest".into(), options: vec![] };
    let sent = Event::PacketSent {
        remote: address("[2001:db8::1]:9"),
        command: "ping".to_owned(),
        payload: [1; 8].into(),
    };
    let block = vec![5; 150_000];
    let world = World::new(&log(&[
        starting,
        packet("verack", &[]),
        sent,
        packet("block", &block),
        connect(),
    ]));
    let output = world.run(&["log.bin", "--pcap", "out.pcap"]);
    assert_eq!((output.status.code(), said(&output)), (Some(0), "catlog: 3 messages\n".to_owned()));
    let file = fs::read(world.folder.path().join("out.pcap")).unwrap();
    assert_eq!(file[..24], unhex("d4c3b2a1020004000000000000000000 00000400 65000000"));
    let mut rest = &file[24..];
    let mut streams: Vec<(String, u32, Vec<u8>)> = Vec::new();
    while let Some((head, after)) = rest.split_first_chunk::<16>() {
        let word = |i: usize| u32::from_le_bytes(head[i..i + 4].try_into().unwrap());
        assert_eq!((word(0), word(4)), (1_424_995_815, 123_456));
        assert_eq!(word(8), word(12));
        let (packet, after) = after.split_at(word(8) as usize);
        rest = after;
        let packet = etherparse::SlicedPacket::from_ip(packet).unwrap();
        let Some(etherparse::TransportSlice::Tcp(tcp)) = packet.transport else { panic!("no TCP") };
        let name = format!("{} to {}", tcp.source_port(), tcp.destination_port());
        streams.push((name, tcp.sequence_number(), tcp.payload().to_vec()));
    }
    let names: Vec<(&str, u32)> = streams.iter().map(|(name, at, _)| (&**name, *at)).collect();
    assert_eq!(
        names,
        [
            ("8333 to 18444", 0),
            ("18444 to 9", 0),
            ("8333 to 18444", 24),
            ("8333 to 18444", 60_024),
            ("8333 to 18444", 120_024),
        ]
    );
    let verack = "fabfb5da76657261636b000000000000000000005df6e0e2";
    assert_eq!(streams[0].2, unhex(verack));
    let whole: Vec<u8> = streams[2..].iter().flat_map(|(.., part)| part.clone()).collect();
    assert_eq!(whole.len(), 24 + block.len());
    assert_eq!(whole[24..], block[..]);
}
