use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// A file that is renamed to `FILE.1` when it is large, and that to `FILE.2`.
pub(crate) struct RotatingFile {
    path: PathBuf,
    file: BufWriter<File>,
    length: u64,
    rotate_at: u64,
    kept: usize,
}

impl RotatingFile {
    pub(crate) fn open(path: PathBuf, rotate_at: u64, kept: usize) -> io::Result<Self> {
        let (file, length) = append(&path)?;
        Ok(Self { path, file, length, rotate_at, kept })
    }

    /// Appends a whole record.
    pub(crate) fn write(&mut self, record: &[u8]) -> io::Result<()> {
        if self.length > 0 && self.rotate_at < self.length + record.len() as u64 {
            self.rotate()?;
        }
        self.length += record.len() as u64;
        self.file.write_all(record)
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.file.flush()?;
        for i in (1..self.kept).rev() {
            rename(&rotated(&self.path, i), &rotated(&self.path, i + 1))?;
        }
        if self.kept == 0 {
            fs::remove_file(&self.path)?;
        } else {
            rename(&self.path, &rotated(&self.path, 1))?;
        }
        (self.file, self.length) = append(&self.path)?;
        Ok(())
    }
}

fn append(path: &Path) -> io::Result<(BufWriter<File>, u64)> {
    let file = OpenOptions::new().create(true).append(true).open(path)?;
    let length = file.metadata()?.len();
    Ok((BufWriter::with_capacity(1 << 16, file), length))
}

/// What is not there needs no other name.
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Returns the name of an old file of a log: `FILE.1` is the one before `FILE`.
#[must_use]
pub fn rotated(path: &Path, number: usize) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".{number}"));
    name.into()
}
