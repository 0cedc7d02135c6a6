//! The command line as its user meets it: help, settings, files of arguments, what is generated, errors,
//! and the node in the background.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test may fail loudly")]

#[path = "support/running.rs"]
mod running;
#[path = "command_line/terminal.rs"]
mod terminal;

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use caesure_eventlog::{RecordReader, text};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use running::{Running, wait_until};

/// A folder where commands run on the base `base` of regtest, without settings from outside.
struct World(TempDir);

impl World {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_caesure"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("CAESURE_") {
                command.env_remove(name);
            }
        }
        command.current_dir(self.0.path()).env("CAESURE_BASE", "base").env("COLUMNS", "80");
        command.stdin(Stdio::null()).args(words);
        command
    }

    fn output(&self, words: &[&str]) -> Output {
        output(&mut self.command(words))
    }

    /// What a command prints that ends well.
    fn printed(&self, words: &[&str]) -> String {
        printed(&mut self.command(words))
    }

    /// What a command says that ends with a status.
    fn refused(&self, words: &[&str], status: i32) -> String {
        let output = self.output(words);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(status), "{words:?}: {said}");
        said
    }

    /// A base with a generated chain.
    fn with_chain() -> Self {
        let world = Self::new();
        let words =
            "generate --network regtest --blocks 130 --txs 40 --pool 60 --forks 0 --out x.dat";
        world.printed(&words.split(' ').collect::<Vec<_>>());
        world.printed(&["--network", "regtest", "import", "x.dat"]);
        world
    }

    fn pid(&self) -> Option<i32> {
        let text = fs::read_to_string(self.path("base/regtest/caesure.pid")).ok()?;
        assert!(text.ends_with('\n'));
        Some(text.trim().parse().unwrap())
    }
}

fn output(command: &mut Command) -> Output {
    Running::start(command.stdout(Stdio::piped()).stderr(Stdio::piped())).output()
}

fn printed(command: &mut Command) -> String {
    let output = output(command);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn terminate(pid: i32) {
    kill_process(Pid::from_raw(pid).unwrap(), Signal::TERM).unwrap();
}

fn free_port() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// A node in the background, which ends with the test.
struct Daemon<'a> {
    world: &'a World,
    /// What the command has said that began it.
    said: String,
    pid: Option<i32>,
    log: &'a str,
}

impl<'a> Daemon<'a> {
    fn start(world: &'a World, words: &str, log: &'a str) -> Self {
        let words = format!("--network regtest --only-connect --daemon --logfile {log} {words}");
        let mut daemon = Self { world, said: String::new(), pid: None, log };
        let begun = world.output(&words.split_whitespace().collect::<Vec<_>>());
        daemon.said = String::from_utf8(begun.stderr).unwrap();
        assert!(begun.status.success(), "{}", daemon.said);
        daemon.pid = world.pid();
        let pid = daemon.pid.expect("a file with the number of the process");
        let printed = String::from_utf8(begun.stdout).unwrap();
        assert_eq!(printed, format!("caesure runs in the background, process {pid}\n"));
        daemon
    }

    /// Stops it, waits for its last word, and returns its log.
    fn end(mut self) -> Vec<String> {
        terminate(self.pid.unwrap());
        let mut lines = Vec::new();
        wait_until("the node ends", || {
            let mut reader = RecordReader::new(fs::File::open(self.world.path(self.log)).unwrap());
            let records = std::iter::from_fn(|| reader.next_record().unwrap());
            lines = records.map(|it| text::items(&it.items, false)).collect();
            lines.last().is_some_and(|line| line == "server stopped done")
        });
        self.pid = None;
        assert_eq!(self.world.pid(), None, "it has taken its number away");
        lines
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        let pid = self.pid.or_else(|| self.world.pid());
        if let Some(pid) = pid.and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

fn count(lines: &[String], start: &str) -> usize {
    lines.iter().filter(|line| line.starts_with(start)).count()
}

#[test]
fn short_help_fits_a_screen() {
    let help = World::new().printed(&["-h"]);
    assert!(help.lines().count() < 50, "{} lines", help.lines().count());
    for line in help.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
    assert!(World::new().printed(&["cli", "-h"]).contains("Usage: caesure cli"));
}

#[test]
fn long_help_and_the_document_name_every_option_and_subcommand() {
    let world = World::new();
    let help = world.printed(&["--help"]);
    for word in ["Examples:", "Files", "Ports:", "caesure.toml", "CAESURE_", "@FILE", "SIGTERM"] {
        assert!(help.contains(word), "{word}");
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let document = fs::read_to_string(root.join("docs/command-line.md")).unwrap();
    assert!(document.contains(&world.printed(&["-h"])), "the document shows another short help");
    let words = help.split([' ', '\n', ',', '=', '[', ';', ':']);
    for option in words.filter(|word| word.len() > 2 && word.starts_with("--")) {
        assert!(document.contains(&format!("`{option}")) || document.contains(option), "{option}");
    }
}

#[test]
fn the_command_line_comes_before_the_environment_and_that_before_the_file() {
    let world = World::new();
    world.write(
        "base/caesure.toml",
        "par = 2\nhorizon = 20\noutgoing = 3\nconnect = [\"192.0.2.1\", \"192.0.2.2:1\"]\nverbose = true\n\
         [regtest]\npar = 4\nwebui = true\nmonitor = \"m.sock\"\nhorizon = 25\n[main]\noutgoing = 5\n",
    );
    let shown = |words: &[&str]| {
        let mut command = world.command(&[words, &["--print-config"]].concat());
        printed(command.env("CAESURE_HORIZON", "30").env("CAESURE_SERVE", "1.1.1.1:1 [::1]:2"))
    };
    let regtest = shown(&["--network", "regtest", "-o", "9"]);
    let file = "base/caesure.toml";
    for line in [
        "network = \"regtest\"  # command line".to_owned(),
        "outgoing = 9  # command line".to_owned(),
        "incoming = 114  # default".to_owned(),
        "serve = [\"1.1.1.1:1\", \"[::1]:2\"]  # environment CAESURE_SERVE".to_owned(),
        format!("connect = [\"192.0.2.1\", \"192.0.2.2:1\"]  # {file} line 4"),
        format!("verbose = true  # {file} line 5"),
        format!("par = 4  # {file} line 7"),
        format!("webui = true  # {file} line 8"),
        format!("monitor = \"m.sock\"  # {file} line 9"),
        "horizon = 30  # environment CAESURE_HORIZON".to_owned(),
        "# prune is not set".to_owned(),
    ] {
        assert!(regtest.lines().any(|it| it == line), "{line} in\n{regtest}");
    }
    let main = shown(&["-c", "192.0.2.3"]);
    for line in ["outgoing = 5  # base/caesure.toml line 12", "par = 2  # base/caesure.toml line 1"]
    {
        assert!(main.lines().any(|it| it == line), "{line} in\n{main}");
    }
    assert!(main.contains("connect = [\"192.0.2.3\"]  # command line"), "{main}");
    // What is shown is a file again, with the same in it.
    world.write("shown.toml", &regtest);
    let again = world.printed(&["--config", "shown.toml", "--print-config"]);
    let values = |text: &str| -> Vec<String> {
        text.lines().map(|line| line.split("  # ").next().unwrap().to_owned()).collect()
    };
    assert_eq!(values(&again), values(&regtest));
    // An empty list is none of the options, and not one without a value.
    world.write("empty.toml", "connect = []\n");
    let empty = world.printed(&["--config", "empty.toml", "--print-config"]);
    assert!(empty.contains("\nconnect = []  # empty.toml line 1\n"), "{empty}");
}

#[test]
fn settings_reach_subcommands_and_what_conflicts_with_the_command_line_is_left_out() {
    let world = World::with_chain();
    world.write(
        "base/caesure.toml",
        "network = \"regtest\"\nhorizon = 10\noutgoing = 1\njson = true\n",
    );
    let info = world.printed(&["utxo", "info"]);
    assert!(info.starts_with("{\"height\":130,"), "{info}");
    let shown = world.printed(&["import", "--par", "3", "--print-config"]);
    assert!(shown.contains("horizon = 10  # base/caesure.toml line 2"), "{shown}");
    assert!(shown.contains("par = 3  # command line") && !shown.contains("outgoing"), "{shown}");
    let verified = world.printed(&["verify"]);
    assert!(verified.contains("\"blocks_connected\":130"), "{verified}");
    assert!(!world.path("fails.txt").exists(), "no script failed");
    // The file's network gives way to the option that excludes it.
    assert!(world.refused(&["-t", "utxo", "info"], 1).contains("base/testnet3"));
    world.write("other.toml", "no-rpc = true\n");
    let shown =
        world.printed(&["--config", "other.toml", "--rpc", "127.0.0.1:1", "--print-config"]);
    assert!(shown.contains("no-rpc = false  # default"), "{shown}");
}

#[test]
fn the_environment_names_the_file_and_says_no_and_secrets_are_not_shown() {
    let world = World::new();
    world.write(
        "x.toml",
        "testnet = true\nno-rpc = true\nrpcuser = \"me\"\nrpcpassword = \"hidden\"\n",
    );
    let mut command = world.command(&["--print-config"]);
    let shown = printed(command.env("CAESURE_CONFIG", "x.toml").env("CAESURE_NO_RPC", "0"));
    assert!(shown.contains("testnet = true  # x.toml line 1"), "{shown}");
    assert!(shown.contains("rpcpassword = \"(secret)\"") && !shown.contains("hidden"), "{shown}");
    assert!(!shown.contains("no-rpc = true"), "{shown}");
    let shown = printed(world.command(&["--print-config"]).env("CAESURE_NO_RPC", "1"));
    assert!(shown.contains("no-rpc = true  # environment CAESURE_NO_RPC"), "{shown}");
}

#[test]
fn the_network_that_is_said_anywhere_chooses_the_section() {
    let world = World::new();
    let sections = "[testnet3]\npar = 3\n[regtest]\npar = 4\n[main]\npar = 5\n";
    let shown = |first: &str, words: &[&str], network: &str| {
        world.write("base/caesure.toml", &format!("{first}{sections}"));
        let mut command = world.command(&[words, &["--print-config"]].concat());
        printed(command.env("CAESURE_NETWORK", network))
    };
    for (first, words, network, par) in [
        ("", &[][..], "", 5),
        ("testnet = true\n", &[], "", 3),
        ("testnet = false\nnetwork = \"regtest\"\n", &[], "", 4),
        ("network = \"main\"\n", &["-t"], "", 3),
        ("testnet = true\n", &["--network", "regtest"], "", 4),
        ("", &[], "regtest", 4),
        ("", &["-t"], "regtest", 3),
    ] {
        let shown = shown(first, words, network);
        assert!(shown.contains(&format!("par = {par}  # base/")), "{first} {words:?} {shown}");
        let chosen = shown.contains("testnet = true  #");
        assert_eq!(chosen, par == 3, "{first} {words:?} {shown}");
    }
}

#[test]
fn settings_stand_before_what_comes_behind_two_dashes() {
    let world = World::with_chain();
    fs::rename(world.path("x.dat"), world.path("-x")).unwrap();
    world.write("base/caesure.toml", "network = \"regtest\"\npar = 1\n");
    world.printed(&["import", "--", "-x"]);
}

#[test]
fn wrong_settings_are_named_with_file_line_and_nearest_name() {
    let world = World::new();
    let said = |text: &str| {
        world.write("x.toml", text);
        world.refused(&["--config", "x.toml", "utxo", "info"], 2)
    };
    for (text, expected) in [
        ("\nmemroy = 3\n", "x.toml line 2: memroy: no such setting; did you mean memory?"),
        ("[regtest]\nzzz = 3\n", "x.toml line 2: zzz: no such setting; caesure --help"),
        ("config = \"y\"\n", "x.toml line 1: config: no such setting"),
        (
            "par = 700\n",
            "x.toml line 1: par: invalid value '700' for '--par <N>': 700 is not in 1..=256",
        ),
        ("par = [1]\n", "x.toml line 1: par: not a number, a text"),
        ("par = 1.5\n", "x.toml line 1: par: not a number, a text"),
        ("no-rpc = 3\n", "x.toml line 1: no-rpc: 3 is neither true nor false"),
        ("[regtset]\n", "x.toml line 1: regtset: no network: main, testnet3"),
        ("[main]\nnetwork = \"regtest\"\n", "x.toml line 2: network: it stands above all sections"),
        ("par = \n", "x.toml: TOML parse error at line 1, column 7"),
        ("par = 1\npar = 2\n", "x.toml: TOML parse error at line 2"),
    ] {
        let found = said(text);
        assert!(found.starts_with(&format!("caesure: {expected}")), "{text}: {found}");
    }
    let missing = world.refused(&["--config", "none.toml", "utxo", "info"], 2);
    assert!(
        missing.contains("none.toml: No such file") && missing.contains("--config"),
        "{missing}"
    );
    let mut command = world.command(&["utxo", "info"]);
    let output = output(command.env("CAESURE_PAR", "x"));
    let found = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        found.starts_with("caesure: environment CAESURE_PAR: par: invalid value 'x'"),
        "{found}"
    );
}

#[test]
fn a_file_of_arguments_stands_for_its_lines() {
    let world = World::new();
    world.write("more", "--network\nregtest\n\n-o\n7\n--print-config\n");
    let shown = world.printed(&["-i", "3", "@more"]);
    for line in ["network = \"regtest\"  # command line", "outgoing = 7  # command line"] {
        assert!(shown.contains(line), "{shown}");
    }
    assert!(shown.contains("incoming = 3  # command line"), "{shown}");
    world.write("nested", "-o\n@more\n");
    let nested = world.refused(&["@nested"], 2);
    assert!(nested.starts_with("caesure: @nested holds @more: a file of arguments names no other"));
    let missing = world.refused(&["@none"], 2);
    assert!(missing.starts_with("caesure: @none: No such file"), "{missing}");
    assert!(missing.contains("names a file of arguments, one a line"), "{missing}");
}

#[test]
fn completions_are_programs_of_their_shells() {
    let world = World::new();
    for (shell, of) in [
        ("bash", " -o default caesure\n"),
        ("zsh", "#compdef caesure\n"),
        ("fish", "\ncomplete -c caesure -n "),
    ] {
        let script = world.printed(&["completions", shell]);
        for word in ["import", "horizon", "completions", of] {
            assert!(script.contains(word), "{shell}: {word}");
        }
        world.write(shell, &script);
        match Command::new(shell).args(["-n", shell]).current_dir(world.0.path()).output() {
            Ok(output) => assert!(output.status.success(), "{shell}: {output:?}"),
            Err(_) => eprintln!("{shell} is not here: its script was not parsed"),
        }
    }
    assert!(world.refused(&["completions", "csh"], 2).contains("bash"));
}

#[test]
fn manual_pages_are_written_and_render() {
    let world = World::new();
    world.printed(&["man", "--out", "pages"]);
    for name in ["caesure.1", "caesure-import.1", "caesure-utxo-info.1", "caesure-top.1"] {
        let page = fs::read_to_string(world.path("pages").join(name)).unwrap();
        assert!(page.starts_with(".ie") && page.contains(".SH NAME"), "{name}");
    }
    world.write("caesure.1", &world.printed(&["man"]));
    let mut groff = Command::new("groff");
    groff.args(["-man", "-Tutf8", "-ww", "-P-cbou", "caesure.1"]).current_dir(world.0.path());
    let Ok(output) = groff.output() else {
        return eprintln!("groff is not here: the page was not rendered");
    };
    let (text, errors) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(errors.is_empty(), "{errors}");
    for word in [
        "NAME",
        "SYNOPSIS",
        "       --blocksonly\n              Asks peers for no transactions",
        "         webui = true\n       The environment has them as CAESURE_PAR=4.",
    ] {
        assert!(text.contains(word), "{word} in\n{text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
}

#[test]
fn common_errors_say_what_to_do_next() {
    let world = World::with_chain();
    let regtest = |words: &[&str]| world.refused(&[&["--network", "regtest"], words].concat(), 1);
    let long = "x".repeat(200);
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = busy.local_addr().unwrap().to_string();
    let said = [
        (regtest(&["-b", "none", "utxo", "info"]), "import a block file first"),
        (world.refused(&["-b", "base/regtest", "utxo", "info"], 1), "choose that network"),
        (regtest(&["--only-connect", "--rpc", &port]), "choose another address"),
        (
            regtest(&["-s", "192.0.2.1:1", "--no-rpc"]),
            "cannot listen on 192.0.2.1:1 for peers (-s): Cannot assign requested address (os error 99)\n\
             give an address of this machine",
        ),
        (
            regtest(&["--only-connect", "--rpc", "192.0.2.1:1"]),
            "192.0.2.1:1 for JSON-RPC (--rpc): ",
        ),
        (
            regtest(&["--only-connect", "--no-rpc", "-u", "a:b", "-a", "192.0.2.1:1"]),
            "192.0.2.1:1 for the web UI (-a): ",
        ),
        (regtest(&["--only-connect", "--proxy", "127.0.0.1:1"]), "start the proxy"),
        (
            regtest(&["generate", "--out", "/dev/full"]),
            "No space left on device (os error 28)\nmake room",
        ),
        (regtest(&["generate", "--out", "none/x"]), "check the path"),
        (regtest(&["generate", "--out", "x.dat"]), "choose another name, or remove the file first"),
        (regtest(&["shell", "base/regtest/blocks.bin"]), "the file is no text in UTF-8"),
        (regtest(&["--no-rpc", "--only-connect", "-m", "x.dat"]), "choose another path with -m"),
        (regtest(&["--no-rpc", "--only-connect", "-m", &long]), "choose another path with -m"),
        (regtest(&["--no-rpc", "--only-connect", "-m", "none/x"]), "check the path"),
        (regtest(&["-b", "x.dat", "import", "x.dat"]), "check the path"),
        (regtest(&["import", "base"]), "name the file itself"),
        (regtest(&["utxo", "info", "--at", "999"]), "give a hash, a height, tip or tip-N"),
        (regtest(&["utxo", "export", "x.dat"]), "choose another name"),
        (regtest(&["utxo", "info", "x.dat"]), "name another file"),
        (regtest(&["replay", "x.dat"]), "name a file that --record"),
        (regtest(&["generate", "--blocks", "3", "--out", "y"]), "give more --blocks"),
        (regtest(&["--daemon"]), "--daemon needs --logfile"),
        (regtest(&["--rpcuser", "x", "--only-connect"]), "give both, or neither"),
        (regtest(&["top", "--once", "--rpc", "127.0.0.1:1"]), "Make sure the node is running"),
        (regtest(&["cli", "getblockcount"]), "Make sure the node is running"),
        (regtest(&["-b", "none", "verify", "--fails", "none/x"]), "none/x: No such file"),
        (regtest(&["truncate", "100"]), "answer yes, or give --yes"),
    ];
    for (said, advice) in said {
        assert!(said.contains(advice), "{advice} in {said}");
    }
    for option in ["-s", "--rpc", "-a", "--proxy"] {
        let said = world.refused(&[option, "8000"], 2);
        assert!(said.contains("write an IP address and a port, as 127.0.0.1:8000"), "{said}");
    }
    assert!(world.0.path().read_dir().unwrap().all(|entry| entry.unwrap().file_name() != "none"));

    let ledger = world.path("base/regtest/ledger.log");
    let good = fs::read(&ledger).unwrap();
    let said_of = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        fs::write(&ledger, bytes).unwrap();
        regtest(&["utxo", "info"])
    };
    let newer = said_of(7, b'9');
    assert!(newer.contains("newer version of caesure"), "{newer}");
    let damaged = said_of(20, !good[20]);
    assert!(damaged.contains("caesure import makes the ledger anew"), "{damaged}");
    fs::write(&ledger, &good).unwrap();
}

#[test]
fn a_path_that_is_no_text_is_a_path() {
    let world = World::new();
    let mut command = world.command(&["--prune", "1", "--no-rpc", "--only-connect", "-b"]);
    let output = command.arg(OsStr::from_bytes(b"\xff")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("--prune 1 is too little") && said.contains("-b, \"\u{fffd}\"]"),
        "{said}"
    );
}

#[test]
fn who_lacks_rights_is_told_what_was_refused_and_what_to_do() {
    const NOBODY: u32 = 65_534;
    let world = World::with_chain();
    let program = world.path("caesure");
    // Whatever this process had open for writing, a child of another test might hold a moment longer.
    let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_caesure")).arg(&program).status();
    assert!(copied.unwrap().success());
    fs::create_dir(world.path("closed")).unwrap();
    for (name, mode) in [("", 0o777), ("closed", 0o555), ("base/regtest/ledger.log", 0)] {
        fs::set_permissions(world.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    let said = |words: &str| {
        let mut command = Command::new(&program);
        command.current_dir(world.0.path()).args(["--network", "regtest"]).args(words.split(' '));
        // Root is refused nothing.
        if rustix::process::geteuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        let output = output(command.stdin(Stdio::null()));
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    let refused = "Permission denied (os error 13)";
    let monitor = said("-b own --only-connect --no-rpc -m closed/s");
    let expected =
        format!("monitor cannot be at closed/s: {refused}\nchoose another path with -m PATH\n");
    assert!(monitor.ends_with(&expected), "{monitor}");
    let ledger = said("-b base utxo info");
    assert!(ledger.contains("ledger.log: ") && ledger.contains("run it as the owner"), "{ledger}");
    let first_free = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    if first_free.is_ok_and(|port| port.trim().parse().is_ok_and(|port: u16| port <= 82)) {
        return eprintln!("ports below 1024 are open to all here: no node was refused one");
    }
    for (words, at) in [
        ("--no-rpc --only-connect -a localhost:80", "127.0.0.1:80 for the web UI (-a)"),
        ("--no-rpc -s 127.0.0.1:81", "127.0.0.1:81 for peers (-s)"),
        ("--only-connect --rpc 127.0.0.1:82", "127.0.0.1:82 for JSON-RPC (--rpc)"),
    ] {
        let said = said(&format!("-b own {words}"));
        let expected = format!(
            "caesure: cannot listen on {at}: {refused}\nports below 1024 are for root: choose a higher one\n"
        );
        assert!(said.ends_with(&expected), "{said}");
    }
}

#[test]
fn a_chain_whose_making_is_stopped_leaves_no_file() {
    let world = World::new();
    let words = "generate --profile sig --blocks 3000 --txs 1000000 --pool 9000 --out x.dat";
    let mut command = world.command(&words.split(' ').collect::<Vec<_>>());
    let child = Running::start(command.stderr(Stdio::piped()));
    wait_until("the file is begun", || world.path("x.dat").exists());
    terminate(child.id().try_into().unwrap());
    let output = child.output();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(said.ends_with("caesure: stopped by a signal before the end\n"), "{said}");
    assert!(!world.path("x.dat").exists());
}

#[test]
fn a_program_ends_with_its_terminal_unless_it_was_begun_to_outlive_it() {
    let world = World::new();
    let words = "generate --profile sig --blocks 3000 --txs 1000000 --pool 9000 --out x.dat";
    for outlives in [false, true] {
        let program = world.command(&words.split(' ').collect::<Vec<_>>());
        // The test itself may have been begun in either way.
        let mut command = match outlives {
            true => Command::new("nohup"),
            false => Command::new("env"),
        };
        command.args((!outlives).then_some("--default-signal=HUP"));
        command.arg(program.get_program()).args(program.get_args());
        command.current_dir(world.0.path()).env_clear();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = Running::start(&mut command);
        wait_until("the file is begun", || world.path("x.dat").exists());
        let pid = Pid::from_child(&child);
        kill_process(pid, Signal::HUP).unwrap();
        // What comes later is seen later, if it is seen.
        std::thread::sleep(Duration::from_millis(300));
        let ended = outlives.then(|| child.try_wait().unwrap()).flatten();
        assert!(ended.is_none(), "{ended:?}");
        if outlives {
            kill_process(pid, Signal::TERM).unwrap();
        }
        assert_eq!(child.status().code(), Some(130));
    }
}

#[test]
fn a_number_below_0_is_a_value_and_the_value_is_what_is_wrong() {
    let world = World::new();
    for (words, wrong) in [
        (&["import", "--par", "-3"][..], "'-3' for '--par <N>': -3 is not in 1..=256"),
        (&["import", "--memory", "-1"], "'-1' for '--memory <MIB>': -1 is not in 16.."),
        (&["-o", "-1"], "'-1' for '--outgoing <N>'"),
    ] {
        let said = world.refused(words, 2);
        assert!(said.contains(wrong), "{said}");
    }
    let world = World::with_chain();
    let said = world.refused(&["--network", "regtest", "utxo", "info", "--at", "-1"], 1);
    assert!(said.contains("-1 is not a block of this chain"), "{said}");
}

#[test]
fn what_cannot_be_printed_is_an_error_unless_nobody_listens_any_more() {
    let world = World::with_chain();
    let printing = |words: &[&str], to: Stdio| {
        let mut command = world.command(&[&["--network", "regtest"], words].concat());
        let output = Running::start(command.stdout(to).stderr(Stdio::piped())).output();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    for words in [&["utxo", "diff", "--from", "3"][..], &["shell", "-e", "1"], &["man"]] {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let said = "caesure: standard output: No space left on device (os error 28)\nmake room";
        let (status, found) = printing(words, full.into());
        assert!(status == Some(1) && found.starts_with(said), "{words:?}: {status:?} {found}");
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        assert_eq!(printing(words, writer.into()), (Some(0), String::new()), "{words:?}");
    }
}

#[test]
fn the_node_runs_in_the_background_with_a_pid_file_until_sigterm() {
    let world = World::with_chain();
    let [rpc, web, peers] = [(); 3].map(|()| free_port());
    fs::write(world.path("base/regtest/caesure.pid"), "1\n").unwrap();
    let daemon = Daemon::start(&world, &format!("--rpc {rpc} -a {web} -s {peers} -m"), "log");
    let pid = world.pid().unwrap();
    assert_ne!(pid, 1, "what was left behind is replaced");
    if cfg!(target_os = "linux") {
        let at = |name: &str| PathBuf::from(format!("/proc/{pid}/{name}"));
        // Standard error goes into the log.
        for descriptor in ["fd/0", "fd/1"] {
            assert_eq!(fs::read_link(at(descriptor)).unwrap(), Path::new("/dev/null"));
        }
        let stat = fs::read_to_string(at("stat")).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        assert_eq!(fields[3], pid.to_string(), "it has a session of its own");
        assert_eq!(fields[4], "0", "it has no terminal");
    }
    let top = world.printed(&["--network", "regtest", "top", "--once", "--rpc", &rpc]);
    for line in
        ["caesure 0.1.0  regtest  ", "block    130 of 130, ", "worlds   131 held, ", "memory   "]
    {
        assert!(top.lines().any(|it| it.starts_with(line)), "{line} in\n{top}");
    }
    assert!(top.lines().all(|line| line.chars().count() <= 80), "{top}");
    world.write("base/caesure.toml", &format!("network = \"regtest\"\nrpc = \"{rpc}\"\n"));
    assert_eq!(world.printed(&["cli", "getblockcount"]), "130\n", "the settings say where");
    fs::remove_file(world.path("base/caesure.toml")).unwrap();
    // One node a folder; what the second says is heard before it is in the background.
    let second = "--network regtest --only-connect --no-rpc --daemon --logfile log2";
    let locked = world.refused(&second.split(' ').collect::<Vec<_>>(), 1);
    assert!(locked.contains("in use by another running process\nstop that process"), "{locked}");
    assert_eq!(world.pid(), Some(pid));
    let lines = daemon.end();
    let socket = "base/regtest/monitor.sock";
    for (what, address) in [("rpc", &rpc[..]), ("web", &web), ("p2p", &peers), ("monitor", socket)]
    {
        assert_eq!(count(&lines, &format!("server listening {what} {address}")), 1, "{lines:#?}");
    }
    Daemon::start(&world, "--no-rpc", "log2").end();
}

#[test]
fn what_opening_finds_and_repairs_is_said_and_is_in_the_log_as_events() {
    let world = World::with_chain();
    let folder = world.path("base/regtest");
    let damage = || {
        fs::write(folder.join("headers.bin"), [7; 9]).unwrap();
        for name in ["blocks.bin", "ledger.log"] {
            let mut file = OpenOptions::new().append(true).open(folder.join(name)).unwrap();
            file.write_all(&[7; 5]).unwrap();
        }
    };
    damage();
    let length = fs::metadata(folder.join("blocks.bin")).unwrap().len() - 5;
    fs::remove_file(folder.join("blocks.idx")).unwrap();
    let daemon = Daemon::start(&world, "--no-rpc", "log");
    for sentence in [
        "cut 5 bytes from the end of base/regtest/blocks.bin, at offset ",
        "cut 5 bytes of an unfinished record from the ledger's log",
        "cut 9 bytes from the end of base/regtest/headers.bin; their headers are asked for again",
    ] {
        assert!(daemon.said.contains(sentence), "{sentence} in {}", daemon.said);
    }
    let lines = daemon.end();
    for event in [
        &format!("db cut {length} 5 ")[..],
        "db scan 131 ",
        "ledger cut 5",
        "ledger opened true 0",
        "ledger loaded 130 ",
        "headers cut 9",
    ] {
        assert_eq!(count(&lines, event), 1, "{event} in {lines:#?}");
    }

    // Without a log file it is said in words alone, and what has none as an event.
    damage();
    let mut command = world.command(&["--network", "regtest", "--only-connect", "--no-rpc"]);
    let file = fs::File::create(world.path("said")).unwrap();
    let mut node = Running::start(command.stdout(Stdio::null()).stderr(file));
    let said = || fs::read_to_string(world.path("said")).unwrap();
    wait_until("the node has opened", || said().contains(" ledger loaded "));
    terminate(node.id().try_into().unwrap());
    assert!(node.status().success());
    let said = said();
    let count = |part: &str| said.lines().filter(|line| line.contains(part)).count();
    assert_eq!((count("cut "), count("ledger opened true 0")), (3, 1), "{said}");
}

#[test]
fn a_damaged_ledger_a_damaged_block_and_a_shorter_block_file_are_events_too() {
    let world = World::with_chain();
    let folder = world.path("base/regtest");
    let words = format!("--no-rpc --assumevalid {}", "11".repeat(32));
    let events_of_a_start = |log: &str| Daemon::start(&world, &words, log).end();
    let (blocks, ledger) = (folder.join("blocks.bin"), folder.join("ledger.log"));
    let length = fs::metadata(&blocks).unwrap().len();
    OpenOptions::new().write(true).open(&blocks).unwrap().set_len(length - 1).unwrap();
    let shorter = events_of_a_start("shorter");
    assert_eq!(count(&shorter, "ledger \"stepped back\" 129"), 1, "{shorter:#?}");
    assert_eq!(count(&shorter, "ledger damaged"), 0, "{shorter:#?}");
    let mut bytes = fs::read(&ledger).unwrap();
    bytes[20] ^= 1;
    fs::write(&ledger, bytes).unwrap();
    let damaged = events_of_a_start("damaged");
    assert_eq!(count(&damaged, "ledger damaged"), 1, "{damaged:#?}");
    for event in ["ledger opened", "ledger loaded", "ledger \"assumed valid\""] {
        assert_eq!(count(&damaged, event), 1, "{event} in {damaged:#?}");
    }
    let mut bytes = fs::read(&blocks).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&blocks, bytes).unwrap();
    fs::remove_file(folder.join("blocks.idx")).unwrap();
    let block = events_of_a_start("block");
    assert_eq!(count(&block, "db damaged "), 1, "{block:#?}");
}

#[test]
fn a_set_that_stands_on_a_snapshot_is_told_as_an_event() {
    let world = World::with_chain();
    let regtest = |words: &str| {
        let words = format!("--network regtest {words}");
        world.printed(&words.split(' ').collect::<Vec<_>>())
    };
    let info = regtest("--json utxo info --at 120");
    let info: serde_json::Value = serde_json::from_str(&info).unwrap();
    let [block, hash] = ["bestblock", "hash_serialized_3"].map(|name| info[name].as_str().unwrap());
    regtest("utxo export --at 120 set.dat");
    for name in ["ledger.log", "ledger.table"] {
        fs::remove_file(world.path("base/regtest").join(name)).unwrap();
    }
    regtest(&format!("utxo load set.dat --hash {hash}"));
    let lines = Daemon::start(&world, "--no-rpc", "log").end();
    assert_eq!(count(&lines, &format!("ledger unverified {block} 120")), 1, "{lines:#?}");
}

/// The socket of a service manager that takes what is said when it likes.
struct Manager {
    socket: UnixDatagram,
    waiting: usize,
}

impl Manager {
    /// One that has room for so many messages until it begins to listen.
    fn with_room(world: &World, room: usize) -> Self {
        let path = world.path("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let own = UnixDatagram::unbound().unwrap();
        own.set_nonblocking(true).unwrap();
        let most = (0..100_000).take_while(|_| own.send_to(b"of its own", &path).is_ok()).count();
        let mut manager = Self { socket, waiting: most };
        (0..room).for_each(|_| manager.drop_one());
        manager
    }

    fn drop_one(&mut self) {
        assert_eq!(self.hear().as_deref(), Some("of its own"));
        self.waiting -= 1;
    }

    /// The next message; none when there is none for a while.
    fn hear(&self) -> Option<String> {
        self.socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let mut bytes = [0; 1024];
        loop {
            // With a time-out a signal ends the call, also one that only lets the process go on.
            match self.socket.recv(&mut bytes) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return None,
                length => {
                    return Some(String::from_utf8_lossy(&bytes[..length.unwrap()]).into_owned());
                }
            }
        }
    }
}

#[test]
fn a_service_manager_hears_of_readiness_progress_and_the_stop() {
    let world = World::with_chain();
    // READY finds no room: the node waits with it.
    let opening = ["opening the blocks", "opening the ledger", "reading headers"];
    let mut manager = Manager::with_room(&world, opening.len());
    let [rpc, web, peers] = [(); 3].map(|()| free_port());
    world.write("base/caesure.toml", &format!("network = \"regtest\"\nrpc = \"{rpc}\"\n"));
    let words = format!("--only-connect -a {web} -s {peers} -m");
    let mut command = world.command(&words.split(' ').collect::<Vec<_>>());
    command.env("NOTIFY_SOCKET", world.path("notify")).env("WATCHDOG_USEC", "300000");
    let mut node = Running::start(command.stderr(Stdio::null()));
    let pid = node.id().try_into().unwrap();
    for address in [&rpc, &web, &peers] {
        wait_until(address, || TcpStream::connect(address).is_ok());
    }
    UnixStream::connect(world.path("base/regtest/monitor.sock")).unwrap();
    assert_eq!(world.printed(&["cli", "getblockcount"]), "130\n");
    while 0 < manager.waiting {
        manager.drop_one();
    }
    let mut hear = || {
        let mut said = None;
        wait_until("a word, or the node's end", || {
            said = manager.hear();
            said.is_some() || node.try_wait().unwrap().is_some()
        });
        said.or_else(|| manager.hear()).expect("a word before the end")
    };
    for what in opening {
        assert_eq!(hear(), format!("STATUS={what}\n"));
    }
    assert_eq!(hear(), "READY=1\n");
    for _ in 0..3 {
        assert_eq!(hear(), "WATCHDOG=1\nSTATUS=height 130 of 130, 0 peers\n");
    }
    terminate(pid);
    let mut last = hear();
    while last.starts_with("WATCHDOG=1\n") {
        last = hear();
    }
    assert!(last.starts_with("STOPPING=1\n"), "{last}");
    assert!(node.status().success());
    assert!(world.pid().is_none(), "a service has no such file");
}

#[test]
fn the_unit_for_systemd_is_one_if_systemd_is_here() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let unit = fs::read_to_string(root.join("docs/caesure.service")).unwrap();
    let world = World::new();
    let program = env!("CARGO_BIN_EXE_caesure");
    let lines = unit.lines().filter(|line| !line.starts_with("Documentation="));
    let unit = lines.collect::<Vec<_>>().join("\n").replace("/usr/local/bin/caesure", program);
    world.write("caesure.service", &unit);
    let mut verify = Command::new("systemd-analyze");
    verify.arg("verify").arg(world.path("caesure.service"));
    match verify.output() {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            let ours =
                said.lines().filter(|line| line.contains("caesure.service")).collect::<Vec<_>>();
            assert!(ours.is_empty(), "{ours:?}");
        }
        Err(_) => eprintln!("systemd-analyze is not here: the unit was not judged"),
    }
    // Its options are such as the program takes.
    let line = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    let words: Vec<&str> = line.split(' ').skip(1).chain(["--print-config"]).collect();
    world.printed(&words);
}
