//! The prompt where people meet it: on the socket of a running node, and on a base.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test may fail loudly")]

#[path = "support/running.rs"]
mod running;

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use caesure_wire::{Endpoint, FrameHeader, Message, Version};
use tempfile::TempDir;

use running::{LONG, Running, wait_until};

/// A base with a generated chain, and perhaps a node on it.
struct World {
    dir: TempDir,
    node: Option<Running>,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut chain = Vec::new();
        let options = caesure_generate::Options {
            blocks: 120,
            txs: 20,
            pool: 50,
            forks: 1,
            ..Default::default()
        };
        let made = caesure_generate::generate(&options, &mut |block: &[u8]| {
            chain.extend([0xfa, 0xbf, 0xb5, 0xda]);
            chain.extend(u32::try_from(block.len()).unwrap().to_le_bytes());
            chain.extend(block);
            Ok(())
        });
        made.unwrap();
        fs::write(dir.path().join("chain.dat"), chain).unwrap();
        let world = Self { dir, node: None };
        assert!(
            Running::start(&mut world.command(&["import", "chain.dat"])).output().status.success()
        );
        world
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_caesure"));
        command.current_dir(self.dir.path()).args(["-b", "base", "--network", "regtest"]);
        command.args(words).stdin(Stdio::null()).stderr(Stdio::piped()).stdout(Stdio::piped());
        command
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("base/regtest/monitor.sock")
    }

    fn start_command(&mut self, words: &[&str]) {
        let mut command = self.command(&["-m", "--only-connect", "--no-dns-seed", "--no-rpc"]);
        command.args(words).stderr(Stdio::null()).stdout(Stdio::null());
        self.node = Some(Running::start(&mut command));
    }

    fn connect(&self) -> UnixStream {
        patient(UnixStream::connect(self.socket()).unwrap())
    }

    /// Waits for the end of a node that was told to stop.
    fn ended(&mut self) {
        assert!(self.node.take().unwrap().status().success());
    }

    /// Starts a node with a monitor and waits until that answers.
    fn start(&mut self, words: &[&str]) {
        self.start_command(words);
        let socket = self.socket();
        self.wait_for(&socket);
    }

    fn wait_for(&mut self, socket: &Path) {
        wait_until("the monitor answers", || {
            let ended = self.node.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "the node has ended: {ended:?}");
            UnixStream::connect(socket).is_ok()
        });
    }

    /// Types lines and returns all that came back.
    fn type_in(&self, lines: &str) -> String {
        let mut stream = self.connect();
        stream.write_all(lines.as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }

    fn shell(&self, words: &[&str]) -> Output {
        let all: Vec<&str> = [&["shell"], words].concat();
        Running::start(&mut self.command(&all)).output()
    }

    /// Types into a shell, up to the end of its input.
    fn type_into(&self, words: &[&str], lines: &[u8]) -> Output {
        let mut shell = Running::start(self.command(words).stdin(Stdio::piped()));
        shell.stdin.take().unwrap().write_all(lines).unwrap();
        shell.output()
    }
}

/// A stream of which nothing is waited for without end.
fn patient(stream: UnixStream) -> UnixStream {
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream.set_write_timeout(Some(LONG)).unwrap();
    stream
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn the_monitor_answers_lines_with_either_end_and_stops_the_node() {
    let mut world = World::new();
    // A socket that a dead node left behind is replaced.
    drop(UnixListener::bind(world.socket()).unwrap());
    world.start(&[]);
    let mode = fs::metadata(world.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let shown =
        world.type_in("db.last_block\r\nb = by_num(_)\nfor t in b.txs:\n  t.dump()\n\nb.height");
    let (banner, rest) = shown.split_once('\n').unwrap();
    assert!(banner.starts_with("caesure ") && banner.contains("help()"), "{banner}");
    assert!(rest.starts_with(">>> 120\n>>> >>> ... ... hash: "), "{rest}");
    assert!(rest.ends_with(">>> 120\n>>> "), "{rest}");

    // A line that runs is stopped when nobody is there any more, and others go on meanwhile.
    let mut busy = world.connect();
    busy.write_all(b"loop { }\n").unwrap();
    assert!(world.type_in("1 + 1\n").contains(">>> 2\n"));
    drop(busy);

    // Another node leaves the socket alone.
    fs::create_dir_all(world.dir.path().join("other")).unwrap();
    let path = world.socket();
    let words = ["-m", path.to_str().unwrap(), "--only-connect", "--no-dns-seed", "--no-rpc"];
    let mut other = Command::new(env!("CARGO_BIN_EXE_caesure"));
    other.current_dir(world.dir.path()).args(["-b", "other", "--network", "regtest"]);
    let refused = Running::start(other.args(words).stderr(Stdio::piped())).output();
    assert!(text(&refused.stderr).contains("another node serves its prompt there"));
    assert_eq!(refused.status.code(), Some(1));

    let shown = world.type_in("connect(\"nowhere\")\nban(\"192.0.2.1\", 60)\nsave()\nlog(50, \"command\").len() > 0\nstop()\n");
    assert!(shown.contains("nowhere is no address") && shown.contains("'banned'"), "{shown}");
    assert!(shown.contains("'saving'") && shown.contains("'stopping'"), "{shown}");
    world.ended();
    assert!(!world.socket().exists());
}

#[test]
fn sessions_are_bounded_and_commands_can_be_switched_off() {
    let mut world = World::new();
    world.start(&["--no-commands"]);
    assert!(world.type_in("stop()\n").contains("commands are switched off"));
    // Those of before leave their seats in their own time.
    let sessions: Vec<UnixStream> = (0..16).map(|_| seat(&world)).collect();
    let said = world.type_in("");
    assert!(said.starts_with("16 sessions are open"), "{said}");
    drop(sessions);
}

#[test]
fn the_shell_reads_a_base_with_and_without_a_node() {
    let mut world = World::new();
    let one = world.shell(&["-e", "h = db.last_block", "-e", "by_num(h).len() > 0; h"]);
    assert_eq!((text(&one.stdout), one.status.code()), ("120\n".to_owned(), Some(0)));
    let bad = world.shell(&["-e", "by_num(121)"]);
    assert_eq!((text(&bad.stdout), bad.status.code()), (String::new(), Some(1)));
    assert!(text(&bad.stderr).contains("error at 1:1: there is no height 121"));
    fs::write(
        world.dir.path().join("file"),
        "let s = 0;\nfor b in blocks() { s += b.len() }\nprint(s);\npeers()\n",
    )
    .unwrap();
    let file = world.shell(&["file"]);
    assert_eq!((text(&file.stdout), file.status.code()), ("141\n".to_owned(), Some(1)));
    assert!(text(&file.stderr).contains("error at 4:1: no node runs here"));
    let typed = world.type_into(&["shell"], b"[1,\n2]\n_.len()\nstop()\n");
    assert_eq!((text(&typed.stdout), typed.status.code()), ("[1, 2]\n2\n".to_owned(), Some(1)));
    world.start(&[]);
    let beside = world.shell(&["-e", "world().count == world().summary().txouts"]);
    assert_eq!((text(&beside.stdout), beside.status.code()), ("true\n".to_owned(), Some(0)));
}

#[test]
fn the_shell_types_into_the_running_node_when_it_is_to_connect() {
    let mut world = World::new();
    let none = world.shell(&["--connect", "-e", "1"]);
    assert_eq!(none.status.code(), Some(1));
    let said = text(&none.stderr);
    assert!(said.contains("monitor.sock cannot be used: No such file"), "{said}");
    assert!(said.contains("start the node with -m"), "{said}");
    world.start(&["-o", "0"]);
    let one = world.shell(&["--connect", "-e", "h = db.last_block", "-e", "h + peers().len()"]);
    assert_eq!((text(&one.stdout), one.status.code()), ("120\n".to_owned(), Some(0)));
    let socket = world.socket();
    let words = ["-c", socket.to_str().unwrap(), "-e", "print(\"so\"); blok(1)", "-e", "2"];
    let bad = world.shell(&words);
    assert_eq!((text(&bad.stdout), bad.status.code()), (String::new(), Some(1)));
    assert_eq!(text(&bad.stderr).matches("is block meant?").count(), 1, "{bad:?}");
    fs::write(world.dir.path().join("file"), "for b in blocks(0, 2):\n  print(b.height)\n")
        .unwrap();
    let file = world.shell(&["file", "--connect"]);
    assert_eq!((text(&file.stdout), file.status.code()), ("0\n1\n".to_owned(), Some(0)));
    // What stands for a mark or a key in a text is none.
    let lines = b"[1,\n2]\n_.len()\n\"a\x03b\"\nprint(\"\\u0006-\")\n[\nnothing\n\nstop()\n7\n";
    let typed = world.type_into(&["shell", "--connect"], lines);
    let shown = "[1, 2]\n2\n'a b'\n?-\n'stopping'\n";
    assert!(text(&typed.stdout).starts_with(shown), "{typed:?}");
    assert_eq!(typed.status.code(), Some(1));
    assert!(text(&typed.stderr).contains("error at 3:1: "), "{typed:?}");
    world.ended();
}

#[test]
fn a_file_is_run_as_a_whole_offline_and_in_the_node() {
    let mut world = World::new();
    world.start(&["-o", "0"]);
    let lines = [
        "for b in blocks(0, 2):",
        "\tprint(b.height)",
        "print(`a",
        "b`); // c",
        "if db.last_block == 7 {",
        "    print(8);",
        "}",
        "else {",
        "    print(7);",
        "}",
        "blocks(0, 3)",
        "    .count_txs()",
    ];
    fs::write(world.dir.path().join("good"), lines.join("\n")).unwrap();
    fs::write(world.dir.path().join("bad"), "print(7);\nnothing(1);\nstop()\n").unwrap();
    for words in [&[][..], &["--connect"]] {
        let good = world.shell(&[&["good"], words].concat());
        assert_eq!(text(&good.stdout), "0\n1\na\nb\n7\n3\n", "{words:?}: {good:?}");
        assert_eq!(good.status.code(), Some(0));
        let bad = world.shell(&[&["bad"], words].concat());
        assert_eq!(bad.status.code(), Some(1));
        let said = text(&bad.stderr);
        assert!(said.contains("error at 2:1: there is no function nothing"), "{said}");
        assert!(!said.contains("no node runs"), "{said}");
    }
    assert!(world.type_in("1 + 1\n").contains(">>> 2\n"), "nothing is run behind an error");
}

/// A terminal would do what they say.
#[test]
fn what_peers_call_themselves_moves_no_cursor() {
    let mut world = World::new();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    world.start(&["-s", &free.to_string()]);
    let mut peer = TcpStream::connect(free).unwrap();
    let endpoint = |text: &str| Endpoint::parse(text, 1).unwrap();
    let version = Message::Version(Version {
        version: 70_016,
        services: 9,
        time: 0,
        receiver: (0, endpoint("127.0.0.1")),
        sender: (9, endpoint("127.0.0.1")),
        nonce: 1,
        user_agent: b"/so\x1b[31m\x07\xe2\x80\xae/".to_vec(),
        height: 0,
        relay: true,
    });
    let mut payload = Vec::new();
    version.encode_payload(&mut payload);
    peer.write_all(&FrameHeader::frame([0xfa, 0xbf, 0xb5, 0xda], "version", &payload)).unwrap();
    let mut shown = String::new();
    wait_until("the peer is shown", || {
        shown = world.type_in("print(peers()[0].user_agent)\npeers()\n");
        shown.contains("/so")
    });
    assert!(shown.contains(">>> /so31m/\n") && shown.contains("'/so31m/'"), "{shown:?}");
}

#[test]
fn the_shell_finds_the_socket_where_the_settings_have_it() {
    let mut world = World::new();
    let elsewhere = world.dir.path().join("elsewhere");
    let path = elsewhere.to_str().unwrap();
    // The peers of `connect` are no sockets.
    let settings =
        format!("connect = [\"192.0.2.1\"]\noutgoing = 0\n[regtest]\nmonitor = \"{path}\"\n");
    fs::write(world.dir.path().join("base/caesure.toml"), settings).unwrap();
    let own = world.shell(&["-e", "db.last_block"]);
    assert_eq!((text(&own.stdout), own.status.code()), ("120\n".to_owned(), Some(0)));
    let said = |output: &Output| text(&output.stderr);
    let none = world.shell(&["--connect", "-e", "1"]);
    assert!(said(&none).contains("elsewhere cannot be used: No such file"), "{}", said(&none));
    let mut command = world.command(&["--only-connect", "--no-dns-seed", "--no-rpc"]);
    world.node = Some(Running::start(&mut command));
    world.wait_for(&elsewhere);
    let one = world.shell(&["--connect", "-e", "h = db.last_block", "-e", "h"]);
    assert_eq!((text(&one.stdout), one.status.code()), ("120\n".to_owned(), Some(0)));
    let named = world.shell(&["-e", "1", "--connect", "none"]);
    assert!(said(&named).contains("the prompt at none cannot be used"), "{}", said(&named));
    let typed = world.type_into(&["shell", "-c"], b"1 +\n2\n1 +\n\n");
    assert_eq!((text(&typed.stdout), typed.status.code()), ("3\n".to_owned(), Some(1)));
    assert!(said(&typed).contains("error at 2:1: Syntax error: Script is incomplete"));
}

/// Reads from a stream until it has had this.
fn read_until(stream: &mut UnixStream, wanted: &[u8]) -> Vec<u8> {
    let (mut had, mut byte) = (Vec::new(), [0]);
    while !had.ends_with(wanted) {
        stream.read_exact(&mut byte).unwrap();
        had.push(byte[0]);
    }
    had
}

#[test]
fn a_signal_of_the_shell_stops_the_line_that_runs_in_the_node() {
    let mut world = World::new();
    let path = world.dir.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    let mut shell =
        Running::start(world.command(&["shell", "--connect", "s"]).stdin(Stdio::piped()));
    let mut stdin = shell.stdin.take().unwrap();
    stdin.write_all(b"loop { }\n2\n").unwrap();
    drop(stdin);
    listener.set_nonblocking(true).unwrap();
    let mut node = None;
    wait_until("the shell connects", || {
        node = listener.accept().ok();
        node.is_some()
    });
    let (node, _) = node.unwrap();
    node.set_nonblocking(false).unwrap();
    let mut node = patient(node);
    node.write_all(b"hello\n>>> ").unwrap();
    read_until(&mut node, b"\x05\n");
    node.write_all(b"\x06+").unwrap();
    assert_eq!(read_until(&mut node, b"\n"), b"loop { }\n");
    let pid = rustix::process::Pid::from_raw(i32::try_from(shell.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(read_until(&mut node, b"\x03"), b"\x03");
    node.write_all(b"stopped\n\x06-\n\x06+").unwrap();
    assert_eq!(read_until(&mut node, b"\n"), b"2\n");
    node.write_all(b"two\n\x06+").unwrap();
    let shell = shell.output();
    assert_eq!((text(&shell.stdout), text(&shell.stderr)), ("two\n".into(), "stopped\n".into()));

    // So does the node's end of it, also when the key comes before the line is begun.
    world.start(&[]);
    let mut stream = world.connect();
    stream.write_all(b"\x05\nloop { }\n\x031 + 1\n").unwrap();
    let said = text(&read_until(&mut stream, b"2\n\x06+"));
    let (_, answers) = said.split_once(">>> ").unwrap();
    let line = "error at 1:1: interrupted\n\x06-";
    assert_eq!(answers, format!("\x06+{line}\n\x06+2\n\x06+"));
}

#[test]
fn a_session_takes_keys_and_refuses_lines_without_end() {
    let mut world = World::new();
    fs::write(world.dir.path().join("taken"), "").unwrap();
    let mut refused = world.command(&["-m", "taken", "--only-connect", "--no-rpc"]);
    let refused = Running::start(&mut refused).output();
    assert!(text(&refused.stderr).contains("is no socket"), "{refused:?}");
    assert_eq!(fs::read(world.dir.path().join("taken")).unwrap(), b"");
    world.start(&["-u", "me:hidden", "--user=me:hidden", "-vume:hidden"]);
    // The log's own thread writes it in its time.
    let mut started = String::new();
    wait_until("the start is in the log", || {
        started = world.type_in("log(99)\n");
        started.contains("regtest")
    });
    assert_eq!(started.matches("(secret)").count(), 3, "{started}");
    assert!(!started.contains("hidden"), "{started}");
    let left = world.dir.path().join("base/regtest").read_dir().unwrap();
    let mut left = left.map(|entry| entry.unwrap().file_name());
    assert!(left.all(|name| !name.to_str().unwrap().starts_with(".m")));
    assert!(world.type_in("[1,\n\x032\n").ends_with("... \n>>> 2\n>>> "));
    let peak = || {
        let id = world.node.as_ref().unwrap().id();
        // Where the system does not tell, nothing is seen to grow.
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        line.map_or(0, |line| line.trim().trim_end_matches(" kB").parse::<u64>().unwrap())
    };
    let before = peak();
    let endless = format!("[\n{}\n7\n", "x".repeat(80 << 20));
    let shown = world.type_in(&endless);
    assert!(shown.ends_with("... error: a line has at most 4194304 bytes\n>>> 7\n>>> "), "{shown}");
    assert!(peak() < before + (40 << 10), "the line was not held");
    let mut stream = world.connect();
    stream.write_all(b"1\n").unwrap();
    read_until(&mut stream, b">>> 1\n>>> ");
    stream.write_all(b"\x04").unwrap();
    // Ctrl-D alone ends it: the connection is still open on this side.
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    let logged = world.type_in("save()\nlog(50, \"command Save\").len()\n");
    assert!(logged.contains("'saving'"), "{logged}");
    // The log's own thread writes it in its time.
    wait_until("the log has it", || {
        world.type_in("log(50, \"command Save\").len()\n").contains(">>> 1\n")
    });
}

/// Connects until there is a seat.
fn seat(world: &World) -> UnixStream {
    let mut seat = None;
    wait_until("a session has ended", || {
        let (mut stream, mut first) = (world.connect(), [0]);
        stream.read_exact(&mut first).unwrap();
        seat = (first == *b"c").then_some(stream);
        seat.is_some()
    });
    seat.unwrap()
}

#[test]
fn who_is_gone_or_reads_nothing_leaves_the_seat_and_keeps_nobody_waiting() {
    let mut world = World::new();
    world.start(&[]);
    let _idle: Vec<UnixStream> = (0..14).map(|_| seat(&world)).collect();
    // It reads nothing of an answer that no buffer holds.
    let mut slow = seat(&world);
    slow.write_all(b"a = \"\"; a.pad(1000000, \"x\"); a\n").unwrap();
    // Few operations, each of them long: it would run for as long as a line may.
    let mut busy = seat(&world);
    busy.write_all(b"a = \"\"; a.pad(1000000, \"x\"); loop { b = a + a }\n").unwrap();
    let said = world.type_in("");
    assert!(said.starts_with("16 sessions are open"), "{said}");
    drop(busy);
    let mut next = seat(&world);
    next.write_all(b"1 + 1\n").unwrap();
    read_until(&mut next, b">>> 2\n>>> ");
    // Only the slow one can make room now.
    let mut last = seat(&world);
    last.write_all(b"stop()\n").unwrap();
    read_until(&mut last, b"'stopping'\n>>> ");
    world.ended();
    let mut rest = Vec::new();
    slow.read_to_end(&mut rest).unwrap();
    assert!(rest.len() < 1_000_000, "it has taken what was sent, and no more");
}

#[test]
fn the_socket_is_made_in_a_folder_that_is_its_owners_alone() {
    let mut world = World::new();
    // That folder is there for an instant: it is looked for until it is met.
    let met = (0..100).find_map(|_| {
        world.start_command(&[]);
        let node = world.node.as_mut().unwrap();
        let folder = world.dir.path().join(format!("base/regtest/.m{}", node.id()));
        let mut mode = None;
        while mode.is_none() && !world.socket().exists() {
            assert!(world.node.as_mut().unwrap().try_wait().unwrap().is_none(), "it has ended");
            mode = fs::metadata(&folder).ok().map(|it| it.permissions().mode() & 0o777);
        }
        world.node = None;
        let _ = fs::remove_file(world.socket());
        mode
    });
    assert_eq!(met, Some(0o700));
}
