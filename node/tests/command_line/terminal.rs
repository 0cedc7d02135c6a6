//! What a person sees who types at a terminal.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use caesure_consensus::{Network, Params};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};

use crate::{Daemon, Running, World, free_port, terminate, wait_until};

/// A terminal, and all that was shown on it.
struct Terminal {
    keys: File,
    shown: String,
}

impl Terminal {
    /// Starts a program whose standard error is the terminal, and its output where that is not piped.
    fn start(command: &mut Command, types: bool) -> (Self, Running) {
        let keys = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&keys).unwrap();
        unlockpt(&keys).unwrap();
        let name = ptsname(&keys, Vec::new()).unwrap();
        let open = || {
            File::from(
                rustix::fs::open(&name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap(),
            )
        };
        command.stderr(open()).stdout(open());
        if types {
            command.stdin(open());
        }
        let child = Running::start(command);
        // What the command holds of the terminal is closed with it.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        (Self { keys: keys.into(), shown: String::new() }, child)
    }

    /// Reads what comes next; false at the end.
    fn read(&mut self) -> bool {
        let mut bytes = [0; 4096];
        let length = self.keys.read(&mut bytes).unwrap_or(0);
        self.shown += &String::from_utf8_lossy(&bytes[..length]);
        0 < length
    }

    fn has_more(&self) -> bool {
        let mut fds = [PollFd::new(&self.keys, PollFlags::IN)];
        0 < poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap_or(0)
    }

    fn read_until(&mut self, text: &str) {
        let shown = self.shown.len();
        wait_until(text, || {
            let is_open = !self.has_more() || self.read();
            assert!(is_open, "{text} in {:?}", self.shown);
            self.shown[shown..].contains(text)
        });
    }

    fn read_all(&mut self) -> &str {
        wait_until("the end", || self.has_more() && !self.read());
        &self.shown
    }
}

/// Whether a line has a text and nothing else on the screen.
fn is_line(shown: &str, text: &str) -> bool {
    let moves = ["\x1b[1A", "\x1b[1B", "\x1b[2K"];
    let lines = moves.iter().fold(shown.to_owned(), |shown, it| shown.replace(it, "\n"));
    lines.lines().any(|line| line.trim() == text)
}

const ENDED: &str = "caesure: stopped by a signal before the end";

#[test]
fn a_stop_takes_the_bar_away_and_is_said_on_a_line_of_its_own() {
    let world = World::new();
    let words = "generate --blocks 130 --txs 300 --pool 60 --profile utxo --forks 0 --out x.dat";
    world.printed(&words.split(' ').collect::<Vec<_>>());
    world.printed(&["--network", "regtest", "import", "x.dat"]);
    // Each of them waits for a pipe: for the first coin, or for somebody who takes the set.
    let params = Params::new(Network::Regtest);
    let head = [b"utxo\xff\x02\0", &params.magic[..], &params.genesis_hash.0, &[9; 1], &[0; 7]];
    let hash = "11".repeat(32);
    for (words, name, bar) in [
        (&["utxo", "info", "pipe"][..], "pipe", "reading coins"),
        (&["-b", "other", "utxo", "load", "pipe", "--hash", &hash], "pipe", "loading coins"),
        (&["utxo", "export", "set"], "set.incomplete", "writing coins"),
    ] {
        let made = Command::new("mkfifo").arg(name).current_dir(world.path("")).status().unwrap();
        assert!(made.success());
        let mut pipe = OpenOptions::new().read(true).write(true).open(world.path(name)).unwrap();
        if name == "pipe" {
            pipe.write_all(&head.concat()).unwrap();
        }
        let mut command = world.command(&[&["--network", "regtest"], words].concat());
        let (mut terminal, mut child) = Terminal::start(&mut command, false);
        terminal.read_until(bar);
        terminate(child.id().try_into().unwrap());
        let shown = terminal.read_all();
        assert!(is_line(shown, ENDED) && shown.ends_with("\r\n"), "{words:?}: {shown:?}");
        assert_eq!(child.status().code(), Some(130));
        let _ = fs::remove_file(world.path("pipe"));
    }
    assert!(!world.path("set.incomplete").exists() && !world.path("set").exists());
}

#[test]
fn what_is_said_while_a_bar_is_shown_stands_on_a_line_of_its_own() {
    let world = World::with_chain();
    let mut command = world.command(&["--network", "regtest", "-b", "other", "import", "-"]);
    let (mut terminal, mut child) = Terminal::start(command.stdin(Stdio::piped()), false);
    let mut blocks = child.stdin.take().unwrap();
    let chain = fs::read(world.path("x.dat")).unwrap();
    for part in chain.chunks(chain.len() / 10) {
        blocks.write_all(part).unwrap();
        thread::sleep(Duration::from_millis(50));
    }
    terminal.read_until(" blocks, height ");
    terminate(child.id().try_into().unwrap());
    let said = "stopping: what is stored stays; a second signal ends at once";
    terminal.read_until(said);
    drop(blocks);
    let shown = terminal.read_all();
    assert!(is_line(shown, said) && is_line(shown, ENDED), "{shown:?}");
    assert_eq!(child.status().code(), Some(130));
}

#[test]
fn a_tab_at_bash_offers_files_where_a_file_is_wanted_and_options_behind_a_hyphen() {
    let world = World::new();
    world.write("completions", &world.printed(&["completions", "bash"]));
    for name in ["alpha.dat", "folder/gamma.dat"] {
        world.write(name, "");
    }
    // A session of its own takes no other terminal.
    let mut command = Command::new("setsid");
    let is_here = command.args(["bash", "--version"]).output().is_ok_and(|it| it.status.success());
    if !is_here {
        return eprintln!("bash or setsid is not here: no Tab was typed");
    }
    let mut command = Command::new("setsid");
    command.args(["bash", "--norc", "--noprofile", "-i"]).current_dir(world.path(""));
    command.envs([("PS1", "$ "), ("INPUTRC", "/dev/null"), ("TERM", "dumb")]);
    let (mut terminal, _bash) = Terminal::start(&mut command, true);
    let settings = "bind 'set show-all-if-ambiguous on'; bind 'set bell-style none'; . completions";
    writeln!(terminal.keys, "{settings}; echo rea''dy").unwrap();
    terminal.read_until("ready\r\n");
    for (typed, offered) in [
        ("caesure import ", "alpha.dat completions folder/"),
        ("caesure utxo load ", "alpha.dat completions folder/"),
        ("caesure --logfile ", "alpha.dat completions folder/"),
        ("caesure utxo ", "diff export help info load"),
        ("caesure utxo load --h", "--hash --help"),
    ] {
        write!(terminal.keys, "{typed}\t").unwrap();
        terminal.read_until(&format!("\r\n$ {typed}"));
        let shown = terminal.shown.rsplit("\r\n").nth(1).unwrap();
        let mut words = shown.split_whitespace().collect::<Vec<_>>();
        // Bash leaves files as the folder has them.
        words.sort_unstable();
        assert_eq!(words.join(" "), offered, "{typed}");
        terminal.keys.write_all(b"\x15").unwrap();
    }
    write!(terminal.keys, "caesure import fo\t").unwrap();
    terminal.read_until("caesure import folder/");
}

#[test]
fn a_tab_at_the_prompt_offers_the_variables_of_the_session_offline_and_in_the_node() {
    let world = World::with_chain();
    let daemon = Daemon::start(&world, "--no-rpc -m", "log");
    for words in [&["--network", "regtest", "shell"][..], &["--network", "regtest", "shell", "-c"]]
    {
        let mut command = world.command(words);
        let (mut terminal, mut shell) = Terminal::start(command.env("TERM", "xterm"), true);
        terminal.read_until(">>> ");
        for (typed, shown) in [
            ("let mine_alone = 41;\n", ">>> "),
            ("mine_a\t", "mine_alone"),
            (" + 1\n", "42\r\n"),
            ("counte\t", "counters"),
            ("\x15\x04", "\n"),
        ] {
            write!(terminal.keys, "{typed}").unwrap();
            terminal.read_until(shown);
        }
        terminal.read_all();
        assert!(shell.status().success(), "{:?}", terminal.shown);
    }
    daemon.end();
}

/// As when its window is closed, or somebody ends it from elsewhere.
#[test]
fn who_is_ended_by_a_signal_leaves_the_terminal_and_the_history_as_they_should_be() {
    let world = World::with_chain();
    let rpc = free_port();
    let words = format!("-s {} --rpc {rpc} -m", free_port());
    let daemon = Daemon::start(&world, &words, "log");
    for (words, begins) in [
        (&["shell"][..], ">>> "),
        (&["shell", "-c"], ">>> "),
        (&["top", "--rpc", &rpc], "\x1b[?1049h"),
    ] {
        let mut command = world.command(&[&["--network", "regtest"], words].concat());
        let (mut terminal, mut child) = Terminal::start(command.env("TERM", "xterm"), true);
        terminal.read_until(begins);
        let typed = words.join("");
        if words[0] == "shell" {
            writeln!(terminal.keys, "\"{typed}\".len()").unwrap();
            terminal.read_until(&format!("{}\r\n", typed.len()));
        }
        let is_usual = |terminal: &Terminal| {
            let modes = tcgetattr(&terminal.keys).unwrap().local_modes;
            modes.contains(LocalModes::ICANON | LocalModes::ECHO)
        };
        wait_until("keys are read one by one", || !is_usual(&terminal));
        terminate(child.id().try_into().unwrap());
        terminal.read_all();
        assert_eq!(child.status().code(), Some(130));
        assert!(is_usual(&terminal), "{words:?}");
        if words[0] == "shell" {
            let history = fs::read_to_string(world.path("base/history")).unwrap();
            assert!(history.contains(&typed), "{history}");
        } else {
            let left = terminal.shown.split("\x1b[?25h").nth(1).unwrap();
            assert!(left.starts_with("\x1b[?1049l"), "{left:?}");
        }
    }
    // Of one whose terminal is gone nothing can be heard any more.
    let mut command = world.command(&["--network", "regtest", "top", "--rpc", &rpc]);
    let (mut terminal, mut child) = Terminal::start(command.env("TERM", "xterm"), true);
    terminal.read_until("\x1b[?1049h");
    drop(terminal);
    terminate(child.id().try_into().unwrap());
    // It may have met the end of its terminal before the signal.
    wait_until("it ends without a terminal", || child.try_wait().unwrap().is_some());
    daemon.end();
}
