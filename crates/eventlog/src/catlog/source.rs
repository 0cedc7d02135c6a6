use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek, SeekFrom, stdin};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use caesure_eventlog::{Error, Record, RecordReader, rotated};

use crate::named;

/// How often a file is looked at that is followed.
const TURN: Duration = Duration::from_millis(200);
/// Where the search for the last record begins, before the end of a file.
const WINDOW: u64 = 1 << 16;

/// What records come from.
pub(crate) struct Source {
    reader: RecordReader<Box<dyn Read>>,
    /// The file that is followed.
    followed: Option<Followed>,
    reported: u64,
}

struct Followed {
    path: PathBuf,
    /// Names the file that is read.
    identity: (u64, u64),
    begin: u64,
}

impl Source {
    pub(crate) fn open(
        path: Option<&Path>,
        ago: Option<i64>,
        is_followed: bool,
    ) -> Result<Self, Error> {
        let Some(path) = path.filter(|path| *path != Path::new("-")) else {
            let reader = RecordReader::new(Box::new(stdin()) as Box<dyn Read>);
            return Ok(Self { reader, followed: None, reported: 0 });
        };
        let mut file = File::open(path).map_err(named(path))?;
        if file.metadata()?.is_dir() {
            return Err(named(path)(ErrorKind::IsADirectory.into()));
        }
        let begin = match ago {
            Some(ago) => find(&mut file, ago).map_err(|error| match error {
                Error::Io(error) => named(path)(error),
                error => error,
            })?,
            None => 0,
        };
        let identity = identity(&file.metadata()?);
        let followed = is_followed.then(|| Followed { path: path.to_owned(), identity, begin });
        Ok(Self { reader: RecordReader::new(Box::new(file)), followed, reported: 0 })
    }

    /// Returns the next record; none where it may have to be waited for.
    pub(crate) fn next(&mut self) -> Result<Option<Record>, Error> {
        let record = self.reader.next_read()?;
        let skipped = self.reader.skipped();
        if record.is_some() && self.reported < skipped {
            eprintln!("catlog: {} bytes are no record and were skipped", skipped - self.reported);
            self.reported = skipped;
        }
        Ok(record)
    }

    /// Waits for more; returns false when nothing more can come.
    pub(crate) fn wait(&mut self) -> Result<bool, Error> {
        if self.reader.has_more()? {
            return Ok(true);
        }
        let Some(followed) = &mut self.followed else { return Ok(false) };
        std::thread::sleep(TURN);
        // While it is renamed there may be none.
        let Ok(now) = fs::metadata(&followed.path) else { return Ok(true) };
        let is_same = identity(&now) == followed.identity;
        if is_same && followed.begin + self.reader.position() <= now.len() {
            return Ok(true);
        }
        // All of the old file was read: what was added to it before it was renamed may be left.
        if !is_same && self.reader.has_more()? {
            return Ok(true);
        }
        let path = if is_same { followed.path.clone() } else { followed.next() };
        let Ok(file) = File::open(&path) else { return Ok(true) };
        followed.identity = identity(&file.metadata()?);
        followed.begin = 0;
        self.report();
        (self.reader, self.reported) = (RecordReader::new(Box::new(file) as Box<dyn Read>), 0);
        Ok(true)
    }

    /// Says what was skipped at the end; returns whether there was anything.
    pub(crate) fn report(&self) -> bool {
        let skipped = self.reader.skipped();
        if self.reported < skipped {
            eprintln!("catlog: {} bytes are no record and were skipped", skipped - self.reported);
        }
        if self.reader.pending() > 0 {
            eprintln!("catlog: the last record is cut after {} bytes", self.reader.pending());
        }
        skipped > 0 || self.reader.pending() > 0
    }
}

impl Followed {
    /// Finds the file that came after the one that was read.
    fn next(&self) -> PathBuf {
        let is_read = |number: &usize| {
            let old = fs::metadata(rotated(&self.path, *number));
            old.is_ok_and(|old| identity(&old) == self.identity)
        };
        match (1..100).find(is_read) {
            Some(number) if number > 1 => rotated(&self.path, number - 1),
            _ => self.path.clone(),
        }
    }
}

fn identity(metadata: &fs::Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// Goes to the first record that is so many microseconds before the last, or later; returns its place.
fn find(file: &mut File, ago: i64) -> Result<u64, Error> {
    let length = file.seek(SeekFrom::End(0))?;
    let Some(last) = last_time(file, length)? else { return Ok(file.seek(SeekFrom::Start(0))?) };
    let (mut low, mut high) = (0, length);
    while low < high {
        let middle = low.midpoint(high);
        match first_from(file, middle)? {
            Some((record, end)) if record.time < last.saturating_sub(ago) => low = end.min(high),
            _ => high = middle,
        }
    }
    Ok(file.seek(SeekFrom::Start(low))?)
}

/// Returns the first record from a place on, and where it ends.
fn first_from(file: &mut File, place: u64) -> Result<Option<(Record, u64)>, Error> {
    file.seek(SeekFrom::Start(place))?;
    let mut reader = RecordReader::new(file).from_anywhere();
    let record = reader.next_record()?;
    Ok(record.map(|record| (record, place + reader.position())))
}

fn last_time(file: &mut File, length: u64) -> Result<Option<i64>, Error> {
    let mut window = WINDOW;
    loop {
        let begin = length.saturating_sub(window);
        file.seek(SeekFrom::Start(begin))?;
        let mut reader = RecordReader::new(&mut *file).from_anywhere();
        let mut last = None;
        while let Some(record) = reader.next_record()? {
            last = Some(record.time);
        }
        if last.is_some() || begin == 0 {
            return Ok(last);
        }
        window *= 16;
    }
}
