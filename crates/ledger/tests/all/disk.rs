//! A disk that fails at a chosen change, and that a loss of power robs of what was not synced.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use caesure_ledger::{Change, Watch};

use crate::naive::Random;

/// What becomes of the change at which the disk fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Nothing of it is done.
    Whole,
    /// Of a write, this many of 256 parts reach the file; anything else is not done.
    Prefix(usize),
    /// Nothing of it is done, nor of any change after it, as on a disk that is full.
    Forever,
}

/// A change to a file's bytes that no sync has made last.
#[derive(Clone, Debug)]
enum Bytes {
    Write { at: usize, bytes: Vec<u8> },
    SetLen(usize),
}

impl Bytes {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Write { at, bytes } => {
                let end = at + bytes.len();
                if content.len() < end {
                    content.resize(end, 0);
                }
                content[*at..end].copy_from_slice(bytes);
            }
            Self::SetLen(len) => content.resize(*len, 0),
        }
    }
}

/// A file apart from its name.
#[derive(Clone, Debug, Default)]
struct Node {
    lasting: Vec<u8>,
    unsynced: Vec<Bytes>,
}

/// A change to the names in the folder that no sync has made last.
#[derive(Clone, Debug)]
enum Names {
    Give { path: PathBuf, node: usize },
    Move { from: PathBuf, to: PathBuf, node: usize },
    Take { path: PathBuf },
}

impl Names {
    fn apply(&self, names: &mut BTreeMap<PathBuf, usize>) {
        match self {
            Self::Give { path, node } => drop(names.insert(path.clone(), *node)),
            Self::Take { path } => drop(names.remove(path)),
            Self::Move { from, to, node } => {
                if names.get(from) == Some(node) {
                    names.remove(from);
                }
                names.insert(to.clone(), *node);
            }
        }
    }
}

/// What lasts, and what does not yet, in the order in which it was done.
#[derive(Clone, Debug, Default)]
struct State {
    nodes: Vec<Node>,
    lasting: BTreeMap<PathBuf, usize>,
    names: BTreeMap<PathBuf, usize>,
    unsynced: Vec<Names>,
    changes: u64,
    failing: Option<(u64, Failure)>,
    /// The change that failed, as text, once it did.
    failed: Option<String>,
}

/// Keeps its own image of a folder beside the real one.
#[derive(Debug)]
pub(crate) struct Disk(Mutex<State>);

impl Disk {
    /// A disk that holds what is in a folder now, all of it synced, and fails at a change, counted
    /// from 1.
    pub(crate) fn new(folder: &Path, failing: Option<(u64, Failure)>) -> Self {
        let mut state = State { failing, ..State::default() };
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            state.names.insert(path.clone(), state.nodes.len());
            state.nodes.push(Node { lasting: fs::read(path).unwrap(), unsynced: Vec::new() });
        }
        state.lasting = state.names.clone();
        Self(Mutex::new(state))
    }

    /// The failed change, if it has come to that.
    pub(crate) fn failed(&self) -> Option<String> {
        self.0.lock().unwrap().failed.clone()
    }

    pub(crate) fn changes(&self) -> u64 {
        self.0.lock().unwrap().changes
    }

    /// Writes what a loss of power leaves into an empty folder: of what was not synced, each change
    /// with a chance of `percent`, and of a write perhaps a part.
    pub(crate) fn lose_power(&self, folder: &Path, percent: usize, seed: u64) {
        let state = self.0.lock().unwrap();
        let mut random = Random::new(seed);
        let mut names = state.lasting.clone();
        for change in &state.unsynced {
            if random.chance(percent) {
                change.apply(&mut names);
            }
        }
        let contents: Vec<Vec<u8>> = state
            .nodes
            .iter()
            .map(|node| {
                let mut content = node.lasting.clone();
                for change in &node.unsynced {
                    if !random.chance(percent) {
                        continue;
                    }
                    let mut change = change.clone();
                    if let Bytes::Write { bytes, .. } = &mut change
                        && percent < 100
                        && random.chance(20)
                    {
                        bytes.truncate(random.below(bytes.len() + 1));
                    }
                    change.apply(&mut content);
                }
                content
            })
            .collect();
        for (path, node) in names {
            fs::write(folder.join(path.file_name().unwrap()), &contents[node]).unwrap();
        }
    }

    /// The files as they would be without a loss.
    pub(crate) fn whole(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let state = self.0.lock().unwrap();
        let content = |node: &Node| {
            let mut content = node.lasting.clone();
            node.unsynced.iter().for_each(|change| change.apply(&mut content));
            content
        };
        let file = |(path, node): (&PathBuf, &usize)| (path.clone(), content(&state.nodes[*node]));
        state.names.iter().map(file).collect()
    }
}

impl State {
    fn node(&mut self, path: &Path) -> &mut Node {
        let number = self.names[path];
        &mut self.nodes[number]
    }

    fn make(&mut self, change: Change<'_>) {
        match change {
            Change::Create { path } => {
                // A file that is emptied stays the same file.
                if self.names.contains_key(path) {
                    self.node(path).unsynced.push(Bytes::SetLen(0));
                } else {
                    let node = self.nodes.len();
                    self.nodes.push(Node::default());
                    self.names.insert(path.to_owned(), node);
                    self.unsynced.push(Names::Give { path: path.to_owned(), node });
                }
            }
            Change::Write { path, at, bytes } => {
                let change =
                    Bytes::Write { at: usize::try_from(at).unwrap(), bytes: bytes.to_vec() };
                self.node(path).unsynced.push(change);
            }
            Change::SetLen { path, len } => {
                self.node(path).unsynced.push(Bytes::SetLen(usize::try_from(len).unwrap()));
            }
            Change::Sync { path } => {
                let node = self.node(path);
                let done = std::mem::take(&mut node.unsynced);
                done.iter().for_each(|change| change.apply(&mut node.lasting));
            }
            Change::Rename { from, to } => {
                let node = self.names.remove(from).unwrap();
                self.names.insert(to.to_owned(), node);
                let (from, to) = (from.to_owned(), to.to_owned());
                self.unsynced.push(Names::Move { from, to, node });
            }
            Change::Remove { path } => {
                self.names.remove(path);
                self.unsynced.push(Names::Take { path: path.to_owned() });
            }
            Change::SyncFolder { .. } => {
                self.lasting = self.names.clone();
                self.unsynced.clear();
            }
            other => panic!("{other:?} is a new sort of change"),
        }
    }

    fn fail(&mut self, change: Change<'_>, failure: Failure) -> io::Result<()> {
        let part = |bytes: &[u8]| match failure {
            Failure::Whole | Failure::Forever => 0,
            Failure::Prefix(parts) => bytes.len() * parts / 256,
        };
        let mut name = format!("{change:?}");
        name.truncate(200);
        if let Change::Write { path, at, bytes } = change {
            let bytes = &bytes[..part(bytes)];
            name = format!("{} of {}", bytes.len(), name);
            if !bytes.is_empty() {
                fs::OpenOptions::new().write(true).open(path)?.write_all_at(bytes, at)?;
                self.make(Change::Write { path, at, bytes });
            }
        }
        self.failed = Some(name);
        Err(io::Error::other("the disk fails, as the test has it"))
    }
}

impl Watch for Disk {
    fn before(&self, change: Change<'_>) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        state.changes += 1;
        if let Some((at, failure)) = state.failing
            && (at == state.changes || (failure == Failure::Forever && at < state.changes))
        {
            return state.fail(change, failure);
        }
        state.make(change);
        Ok(())
    }
}

/// All files of a folder.
pub(crate) fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let paths: BTreeSet<PathBuf> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}
