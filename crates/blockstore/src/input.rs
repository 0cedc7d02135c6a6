use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use caesure_wire::Header;

use crate::record::{Form, HEAD_SIZE, Next, PREFIX_SIZE, Prefix, check_block, is_released};
use crate::window::{BLANKS_IN_SIZE, KEY_SIZE, RecordBytes, Window};
use crate::{Error, Magic};

/// One raw block of an input.
#[derive(Clone, Debug)]
pub struct Record {
    /// The number of the file in [`RecordReader::files`].
    pub file: usize,
    /// The byte of the file at which the record's prefix begins.
    pub position: u64,
    /// The block. Nothing but its length is known of it, and that the prefix announces it.
    pub bytes: RecordBytes,
}

/// What an input held besides, and how many records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records of our network.
    pub records: u64,
    /// Whole records of other networks, which are passed over.
    pub foreign: u64,
    /// The network of the last foreign record.
    pub foreign_magic: Option<Magic>,
    /// Bytes at the end of a file that begin a record and do not complete it.
    pub torn_bytes: u64,
    /// Zero bytes at the end of a file, which Bitcoin Core writes ahead.
    pub zero_bytes: u64,
    /// All other bytes outside of records.
    pub skipped_bytes: u64,
    /// Records whose block's body was [released](crate::BlockStore::release), which are passed over.
    pub released: u64,
}

/// Reads block files one record after the other, in whatever form and state they are.
///
/// Each record may have either form of prefix. What is no record is passed over up to the next
/// prefix whose header meets the target it claims, and is counted. Nothing is judged but the
/// framing: a block can still break every rule, and its size may be all that is right about it.
pub struct RecordReader {
    magic: Magic,
    files: Vec<InputFile>,
    /// What is open of the files, by their numbers.
    windows: Vec<Option<Window>>,
    current: usize,
    position: u64,
    /// Where the last record of another network ended.
    foreign_end: u64,
    counts: Counts,
    access: Access,
}

/// How files are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Mapped, unless they are obfuscated.
    Map,
    /// By plain reads, of the heads only.
    Read,
    /// As `Read`, and what begins a record at a file's end and does not complete it is not searched
    /// for others: it may be half written.
    Follow,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct InputFile {
    pub(crate) path: PathBuf,
    /// Where reading begins.
    pub(crate) from: u64,
    /// The length in bytes; nothing of a stream.
    pub(crate) size: u64,
    pub(crate) key: [u8; KEY_SIZE],
}

/// Where a record is: the file's number, its first byte, and the length of its block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) file: usize,
    pub(crate) position: u64,
    pub(crate) size: usize,
}

/// What is known of a record without reading its block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Located {
    pub(crate) place: Place,
    pub(crate) header: Header,
    /// No other head follows at once: this record may be half written.
    pub(crate) is_last: bool,
}

impl InputFile {
    /// A file of Bitcoin Core with its key, or any other.
    pub(crate) fn new(path: PathBuf, from: u64) -> Result<Self, Error> {
        let size = fs::metadata(&path).map_err(Error::io(&path))?.len();
        let key = xor_key(&path)?;
        Ok(Self { path, from, size, key })
    }

    fn open(&self, access: Access) -> Result<Window, Error> {
        if access != Access::Map || self.key != [0; KEY_SIZE] {
            return self.open_unmapped();
        }
        let file = File::open(&self.path).map_err(Error::io(&self.path))?;
        Window::map(&file, &self.path).map_err(Error::io(&self.path))
    }

    pub(crate) fn open_unmapped(&self) -> Result<Window, Error> {
        let file = File::open(&self.path).map_err(Error::io(&self.path))?;
        Ok(Window::file(file, self.size, self.key))
    }
}

impl RecordReader {
    /// Opens a file, a stream (`-` is standard input), or a folder: Bitcoin Core's `blocks` folder or
    /// the one above it, or a base that holds a `blocks.bin`.
    ///
    /// # Errors
    /// When there is nothing to read, or `xor.dat` is no key.
    pub fn open(path: &Path, magic: [u8; 4]) -> Result<Self, Error> {
        if path == Path::new("-") {
            return Ok(Self::stream(path, magic, io::stdin()));
        }
        let meta = fs::metadata(path).map_err(Error::io(path))?;
        if !meta.is_dir() && !meta.is_file() {
            let stream = File::open(path).map_err(Error::io(path))?;
            return Ok(Self::stream(path, magic, stream));
        }
        let paths = if meta.is_dir() { block_files(path)? } else { vec![path.to_owned()] };
        let files = paths.into_iter().map(|path| InputFile::new(path, 0));
        Ok(Self::new(files.collect::<Result<_, _>>()?, magic, Access::Map))
    }

    /// Reads a stream; `name` stands for it in messages. No more than about two blocks are held.
    pub fn stream(name: &Path, magic: [u8; 4], stream: impl Read + Send + 'static) -> Self {
        let file = InputFile { path: name.to_owned(), ..InputFile::default() };
        let mut reader = Self::new(vec![file], magic, Access::Map);
        reader.windows[0] = Some(Window::stream(stream));
        reader
    }

    /// Reads one mapped file from a record's place on.
    pub(crate) fn file_at(path: &Path, size: u64, magic: Magic, from: u64) -> Self {
        let file = InputFile { path: path.to_owned(), from, size, ..InputFile::default() };
        Self::new(vec![file], magic.0, Access::Map)
    }

    pub(crate) fn new(files: Vec<InputFile>, magic: [u8; 4], access: Access) -> Self {
        let (magic, counts) = (Magic(magic), Counts::default());
        let position = files.first().map_or(0, |file| file.from);
        let windows = files.iter().map(|_| None).collect();
        Self { magic, files, windows, current: 0, position, foreign_end: 0, counts, access }
    }

    /// The same input from its beginning, by plain reads, and its files with their keys.
    pub(crate) fn unmapped(&self) -> (Self, Vec<InputFile>) {
        (Self::new(self.files.clone(), self.magic.0, Access::Read), self.files.clone())
    }

    /// Whether no file can be read at an offset.
    pub(crate) fn is_stream(&self) -> bool {
        self.windows.iter().flatten().any(Window::is_stream)
    }

    /// Iterates over the paths of the files, in the order in which they are read.
    pub fn files(&self) -> impl ExactSizeIterator<Item = &Path> {
        self.files.iter().map(|file| file.path.as_path())
    }

    /// Returns the length in bytes of all files; 0 for a stream.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }

    /// Returns how many bytes of all files are behind the reader.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.files[..self.current].iter().map(|file| file.size).sum::<u64>() + self.position
    }

    /// Returns what was met so far.
    #[must_use]
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// Judges the input as a whole, to be called at its end.
    ///
    /// # Errors
    /// [`Error::OtherNetwork`] or [`Error::NotABlockFile`] when there was no record of our network.
    pub fn finish(&self) -> Result<Counts, Error> {
        let path = self.files[0].path.clone();
        match self.counts.foreign_magic {
            _ if 0 < self.counts.records => Ok(self.counts),
            Some(found) => Err(Error::OtherNetwork { path, expected: self.magic, found }),
            None => Err(Error::NotABlockFile(path)),
        }
    }

    /// Reads again the block of a record that was returned before.
    ///
    /// # Errors
    /// [`Error::NotSeekable`] for a stream; [`Error::NoRecordAt`] when no record begins there.
    ///
    /// # Panics
    /// When there is no such file.
    pub fn read_at(&self, file: usize, position: u64) -> Result<RecordBytes, Error> {
        let input = &self.files[file];
        let again = self.windows[file].as_ref().and_then(Window::again);
        let path = &input.path;
        let mut window = match (again, self.is_stream()) {
            (Some(window), _) => window,
            (None, false) => input.open(self.access)?,
            (None, true) => return Err(Error::NotSeekable(position)),
        };
        let head = window.get(position, HEAD_SIZE).map_err(Error::io(path))?;
        let size = Prefix::read(head, self.magic).map_or(0, |prefix| prefix.size);
        let start = position + PREFIX_SIZE as u64;
        let is_whole = window.get(start, size).map_err(Error::io(path))?.len() == size;
        if size == 0 || !is_whole {
            return Err(Error::NoRecordAt { path: path.clone(), position });
        }
        window.take(start, size).map_err(Error::io(path))
    }

    /// Where the last record of another network ended.
    pub(crate) const fn foreign_end(&self) -> u64 {
        self.foreign_end
    }

    /// The next record, though its block's body be released.
    pub(crate) fn next_record(&mut self) -> Result<Option<Record>, Error> {
        let Some(located) = self.locate()? else { return Ok(None) };
        let Place { file, position, .. } = located.place;
        Ok(Some(Record { file, position, bytes: self.take_block(located.place)? }))
    }

    /// Takes the block of the record that was located last.
    pub(crate) fn take_block(&mut self, place: Place) -> Result<RecordBytes, Error> {
        let window = self.windows[place.file].as_mut().expect("a record was located in it");
        let bytes = window.take(place.position + PREFIX_SIZE as u64, place.size);
        bytes.map_err(Error::io(&self.files[place.file].path))
    }

    /// Finds the next record without reading more of its block than it takes.
    pub(crate) fn locate(&mut self) -> Result<Option<Located>, Error> {
        while let Some(file) = self.files.get(self.current) {
            let window = &mut self.windows[self.current];
            if window.is_none() && file.from < file.size {
                *window = Some(file.open(self.access)?);
            }
            if let Some(found) = self.step().map_err(Error::io(&self.files[self.current].path))? {
                return Ok(Some(found));
            }
            self.leave_file();
        }
        Ok(None)
    }

    /// Moves to the next file. One that is not mapped is closed: there may be thousands.
    pub(crate) fn leave_file(&mut self) {
        let window = &mut self.windows[self.current];
        window.take_if(|window| !window.is_stream() && window.again().is_none());
        self.current += 1;
        self.position = self.files.get(self.current).map_or(0, |file| file.from);
    }

    /// Moves to the end of the next record of the current file, or to the file's end.
    fn step(&mut self) -> io::Result<Option<Located>> {
        let (window, key) = (&mut self.windows[self.current], &self.files[self.current].key);
        let counts = &mut self.counts;
        let Some(window) = window else { return Ok(None) };
        loop {
            let at = self.position;
            let head = window.get(at, HEAD_SIZE)?;
            if head.is_empty() {
                return Ok(None);
            }
            let prefix = Prefix::read(head, self.magic);
            let is_start =
                prefix.is_some() || head.len() < PREFIX_SIZE && head[0] == self.magic.0[0];
            let header = head.get(PREFIX_SIZE..).and_then(<[u8]>::first_chunk).copied();
            let mut record = None;
            if let Some((prefix, header)) = prefix.zip(header)
                && let Some(rest) = window.behind(at, PREFIX_SIZE + prefix.size)?
            {
                let next =
                    what_follows(rest, self.magic, key, at + (PREFIX_SIZE + prefix.size) as u64);
                let is_last = rest.len() < HEAD_SIZE || next == Next::Blank;
                let is_sound = |block: &[u8]| check_block(block).is_ok() || is_released(block);
                if prefix.fits(&header, next)
                    || is_sound(&window.get(at, PREFIX_SIZE + prefix.size)?[PREFIX_SIZE..])
                {
                    record = Some((prefix, Header::from_bytes(&header), is_last));
                }
            } else if is_start && self.access == Access::Follow {
                return Ok(None);
            }
            let Some((Prefix { form, size }, header, is_last)) = record else {
                self.position = skip(window, counts, at, is_start, self.magic)?;
                continue;
            };
            self.position = at + (PREFIX_SIZE + size) as u64;
            if let Form::Foreign(magic) = form {
                counts.foreign += 1;
                counts.foreign_magic = Some(magic);
                self.foreign_end = self.position;
                continue;
            }
            counts.records += 1;
            let place = Place { file: self.current, position: at, size };
            return Ok(Some(Located { place, header, is_last }));
        }
    }
}

impl Iterator for RecordReader {
    type Item = Result<Record, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut item = self.next_record().transpose();
        while let Some(Ok(record)) = &item
            && is_released(record.bytes.as_ref())
        {
            self.counts.released += 1;
            item = self.next_record().transpose();
        }
        if matches!(item, Some(Err(_))) {
            self.current = self.files.len();
            self.position = 0;
        }
        item
    }
}

/// What the bytes after a record are.
fn what_follows(rest: &[u8], magic: Magic, key: &[u8; KEY_SIZE], at: u64) -> Next {
    if rest.is_empty() || Prefix::read(rest, magic).is_some() {
        return Next::Boundary;
    }
    let is_blank = rest.len() < PREFIX_SIZE || Window::is_blank(key, at, &rest[..PREFIX_SIZE]);
    if is_blank { Next::Blank } else { Next::Unknown }
}

/// Passes over what is no record, counts it, and returns where it ends.
fn skip(
    window: &mut Window,
    counts: &mut Counts,
    from: u64,
    is_start: bool,
    magic: Magic,
) -> io::Result<u64> {
    let (blank_end, is_end) = window.blank_end(from)?;
    if is_end {
        counts.zero_bytes += blank_end - from;
        return Ok(blank_end);
    }
    let search_from = (from + 1).max(blank_end.saturating_sub(BLANKS_IN_SIZE as u64));
    let is_accepted = |head: &[u8]| Prefix::is_resync_point(head, magic);
    let (end, is_end) = window.search(search_from, HEAD_SIZE, is_accepted)?;
    match is_end && is_start {
        true => counts.torn_bytes += end - from,
        false => counts.skipped_bytes += end - from,
    }
    Ok(end)
}

/// The key beside a file of Bitcoin Core; zeros, which change nothing, for any other file.
pub(crate) fn xor_key(path: &Path) -> Result<[u8; KEY_SIZE], Error> {
    let key_path = path.with_file_name("xor.dat");
    if file_number(path).is_none() || !key_path.exists() {
        return Ok([0; KEY_SIZE]);
    }
    let key = fs::read(&key_path).map_err(Error::io(&key_path))?;
    key.try_into().map_err(|_| Error::BadXorKey(key_path))
}

/// The number in a name of the form `blk00000.dat`.
fn file_number(path: &Path) -> Option<u32> {
    path.file_name()?.to_str()?.strip_prefix("blk")?.strip_suffix(".dat")?.parse().ok()
}

/// The block files of a folder.
pub(crate) fn block_files(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    for dir in [dir, &dir.join("blocks")] {
        let Ok(entries) = fs::read_dir(dir) else { continue };
        let paths = entries.map(|entry| Ok(entry.map_err(Error::io(dir))?.path()));
        let mut paths = paths.collect::<Result<Vec<_>, Error>>()?;
        paths.retain(|path| file_number(path).is_some());
        paths.sort_by_key(|path| file_number(path));
        if !paths.is_empty() {
            return Ok(paths);
        }
    }
    let own = dir.join("blocks.bin");
    if own.is_file() { Ok(vec![own]) } else { Err(Error::NoBlockFiles(dir.to_owned())) }
}
