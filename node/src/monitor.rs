//! `-m`: the prompt on a unix socket, for as many as come, each on threads of its own.

use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use caesure_eventlog::Event;
use caesure_http::Backend;
use caesure_prompt::{Interrupt, Limits, Session, Source};
use crossbeam_channel::{Receiver, Sender, bounded};
use rustix::event::{PollFd, PollFlags, poll};

use crate::Error;
use crate::disk::spawn_as;
use crate::handle::Handle;

/// How many sessions there are at once.
const SESSIONS: usize = 16;
/// How many lines may be typed ahead.
const AHEAD: usize = 64;
/// A longer line is refused.
const MAX_LINE: usize = 4 << 20;
/// Who takes no answer for so long is let go.
const PATIENCE: Duration = Duration::from_secs(30);
/// The system takes as much at once or nothing. Of more it may take a part and keep quiet about the rest
/// for as long again.
const PIECE: usize = 16 << 10;
/// What a terminal sends for Ctrl-C where it does not act on it.
pub(crate) const CTRL_C: u8 = 3;
const CTRL_D: u8 = 4;
/// A program says so that it is none for people: its answers end with a mark instead of a prompt.
pub(crate) const ASK_MARKS: &str = "\x05";
/// And asks so for the names that can be completed.
pub(crate) const ASK_NAMES: &str = "\x05names";
/// It stands for the line ends of a text that is run as a whole, as of a file.
pub(crate) const LINE_END: &str = "\x0b";
/// It stands in no answer, and one of the next three comes behind it.
pub(crate) const MARK: u8 = 6;
pub(crate) const GOOD: u8 = b'+';
const FAILED: u8 = b'-';
pub(crate) const MORE: u8 = b'?';

/// The socket. It is gone when this is dropped.
pub(crate) struct Monitor {
    path: PathBuf,
    is_over: Arc<AtomicBool>,
}

impl Monitor {
    /// Begins to listen. A socket that nobody listens on any more is replaced.
    pub(crate) fn start(path: &Path, handle: &Handle) -> Result<Self, Error> {
        let listener =
            listen(path).map_err(|source| Error::Monitor { path: path.to_owned(), source })?;
        let address = path.display().to_string();
        handle.logger.log(Event::Listening { what: "monitor", address });
        let is_over = Arc::new(AtomicBool::new(false));
        let source = handle.prompt().expect("a node has a prompt");
        let (over, open) = (Arc::clone(&is_over), Arc::new(AtomicUsize::new(0)));
        spawn_as("monitor", move || {
            for stream in listener.incoming() {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                // It fails when there are no descriptors left; others are let go meanwhile.
                let Ok(stream) = stream else {
                    thread::sleep(Duration::from_millis(100));
                    continue;
                };
                serve(stream, &source, &open);
            }
        });
        Ok(Self { path: path.to_owned(), is_over })
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        // Who waits for a connection looks whether it is over.
        let _ = UnixStream::connect(&self.path);
        let _ = fs::remove_file(&self.path);
    }
}

/// Makes the socket where nobody else can reach it, and puts it into its place when its mode is set.
fn listen(path: &Path) -> io::Result<UnixListener> {
    // Nobody could connect to one that the system takes no name for.
    SocketAddr::from_pathname(path)?;
    match fs::symlink_metadata(path) {
        Ok(file) if !file.file_type().is_socket() => {
            return Err(io::Error::new(ErrorKind::AlreadyExists, "it is there and is no socket"));
        }
        Ok(_) if UnixStream::connect(path).is_ok() => {
            let text = "another node serves its prompt there";
            return Err(io::Error::new(ErrorKind::AddrInUse, text));
        }
        _ => {}
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let folder = parent.unwrap_or(Path::new(".")).join(format!(".m{}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    DirBuilder::new().mode(0o700).create(&folder)?;
    let made = folder.join("s");
    let listener = UnixListener::bind(&made).and_then(|listener| {
        fs::set_permissions(&made, Permissions::from_mode(0o600))?;
        fs::rename(&made, path)?;
        Ok(listener)
    });
    let _ = fs::remove_dir_all(&folder);
    listener
}

/// Begins a session, if there is room for one.
fn serve(mut stream: UnixStream, source: &Arc<dyn Source>, open: &Arc<AtomicUsize>) {
    let _ = stream.set_write_timeout(Some(PATIENCE));
    if SESSIONS <= open.load(Ordering::Relaxed) {
        let text = format!("{SESSIONS} sessions are open; close one first\n");
        let _ = stream.write_all(text.as_bytes());
        return;
    }
    let Ok(reader) = stream.try_clone() else { return };
    open.fetch_add(1, Ordering::Relaxed);
    let (source, seat) = (Arc::clone(source), Seat(Arc::clone(open)));
    let begun = start("prompt", move || {
        let _seat = seat;
        let mut session = Session::new(source, Limits::default());
        let (lines, typed) = bounded(AHEAD);
        let interrupt = session.interrupt();
        // It ends with the connection.
        if start("typing", move || listen_to(reader, lines, &interrupt)) {
            // Who is gone needs no answer.
            let _ = talk(&mut session, &mut stream, &typed);
        }
        let _ = stream.shutdown(std::net::Shutdown::Both);
    });
    if !begun {
        eprintln!("monitor: the system gives no thread for a session");
    }
}

/// One of the sessions that may be open.
struct Seat(Arc<AtomicUsize>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Starts a thread, if the system gives one.
fn start(name: &str, work: impl FnOnce() + Send + 'static) -> bool {
    thread::Builder::new().name(name.to_owned()).spawn(work).is_ok()
}

/// What somebody typed.
enum Typed {
    Line(String),
    Cancel,
    TooLong,
}

/// Reads lines, and stops the one that runs when Ctrl-C is typed or nobody is there any more.
fn listen_to(stream: UnixStream, lines: Sender<Typed>, interrupt: &Interrupt) {
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    while let Ok(bytes) = reader.fill_buf() {
        if bytes.is_empty() || bytes[0] == CTRL_D {
            break;
        }
        let end = bytes.iter().position(|byte| *byte == b'\n' || *byte == CTRL_C);
        let taken = end.map_or(bytes.len(), |end| end + 1);
        let last = bytes[taken - 1];
        if line.len() <= MAX_LINE {
            line.extend_from_slice(&bytes[..taken]);
        }
        reader.consume(taken);
        if end.is_none() {
            continue;
        }
        let typed = if last == CTRL_C {
            interrupt.stop();
            Typed::Cancel
        } else if MAX_LINE < line.len() {
            Typed::TooLong
        } else {
            Typed::Line(String::from_utf8_lossy(&line).into_owned())
        };
        line.clear();
        if lines.send(typed).is_err() {
            return;
        }
    }
    if !line.is_empty() && line[0] != CTRL_D {
        let _ = lines.send(Typed::Line(String::from_utf8_lossy(&line).into_owned()));
    }
    // Nothing more is typed, but the answers may still be waited for: the session ends after them.
    drop(lines);
    let stream = reader.into_inner();
    let hung_up = |stream: &UnixStream| {
        let mut fds = [PollFd::new(stream, PollFlags::empty())];
        poll(&mut fds, None).is_ok() && fds[0].revents().intersects(PollFlags::HUP | PollFlags::ERR)
    };
    if hung_up(&stream) {
        interrupt.stop();
    }
}

fn talk(session: &mut Session, stream: &mut UnixStream, typed: &Receiver<Typed>) -> io::Result<()> {
    write!(stream, "{}\n>>> ", greeting())?;
    let mut is_marked = false;
    for typed in typed {
        let (text, is_good) = match typed {
            Typed::Line(line) if line.trim_end() == ASK_MARKS => {
                is_marked = true;
                (String::new(), true)
            }
            Typed::Line(line) if line.trim_end() == ASK_NAMES => (session.names().join(" "), true),
            Typed::Line(line) => {
                let reply = match is_marked && line.contains(LINE_END) {
                    true => session.run(&line.replace(LINE_END, "\n")),
                    false => session.line(&line),
                };
                (reply.to_string(), !reply.is_error())
            }
            Typed::Cancel => {
                session.cancel();
                ("\n".to_owned(), true)
            }
            Typed::TooLong => {
                session.cancel();
                (format!("error: a line has at most {MAX_LINE} bytes\n"), false)
            }
        };
        let (prompt, mark) = match session.is_incomplete() {
            true => ("... ", MORE),
            false => (">>> ", if is_good { GOOD } else { FAILED }),
        };
        if is_marked {
            send(stream, &text.replace(char::from(MARK), "?"))?;
            stream.write_all(&[MARK, mark])?;
        } else {
            send(stream, &text)?;
            stream.write_all(prompt.as_bytes())?;
        }
    }
    Ok(())
}

/// Sends an answer, of which each piece has to be taken in time.
fn send(stream: &mut UnixStream, text: &str) -> io::Result<()> {
    text.as_bytes().chunks(PIECE).try_for_each(|piece| stream.write_all(piece))
}

/// What a session begins with.
pub(crate) fn greeting() -> String {
    format!("caesure {}; help() lists what there is, Ctrl-D ends", env!("CARGO_PKG_VERSION"))
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn an_answer_that_nobody_takes_is_sent_in_whole_pieces_so_that_patience_is_had_once() {
        let (mut near, mut far) = UnixStream::pair().unwrap();
        near.set_write_timeout(Some(Duration::from_millis(1))).unwrap();
        assert!(send(&mut near, &"x".repeat(8 << 20)).is_err());
        drop(near);
        let mut taken = Vec::new();
        far.read_to_end(&mut taken).unwrap();
        assert!(!taken.is_empty() && taken.len().is_multiple_of(PIECE), "{}", taken.len());
    }
}
