use std::fs::{File, OpenOptions};
use std::io::{BufReader, Read, Write};
use std::path::{Path, PathBuf};

use caesure_eventlog::{Event, Logger};
use caesure_wire::Header;

use crate::Error;

const NAME: &str = "headers.bin";
const HEADER_SIZE: usize = 80;

/// All headers that peers told, parents first: `headers.bin`, laid out in docs/files.md. It is a
/// cache: what is lost of it is asked for again.
#[derive(Debug)]
pub(crate) struct HeaderFile {
    path: PathBuf,
    file: File,
}

impl HeaderFile {
    /// Opens the file of a network, or makes it, and gives `take` each header, until that refuses one:
    /// there the file is cut, as at a torn end.
    pub(crate) fn open(
        folder: &Path,
        network: &str,
        logger: &Logger,
        mut take: impl FnMut(&Header) -> bool,
    ) -> Result<Self, Error> {
        let path = folder.join(NAME);
        let magic = format!("caesure headers 1 {network}\n");
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true).truncate(false);
        let mut file = options.open(&path).map_err(Error::io(&path))?;
        let length = file.metadata().map_err(Error::io(&path))?.len();
        let mut reader = BufReader::new(&file);
        let mut begin = vec![0; magic.len()];
        let mut sound = 0;
        if reader.read_exact(&mut begin).is_ok() && begin == magic.as_bytes() {
            sound = magic.len() as u64;
            let mut bytes = [0; HEADER_SIZE];
            while reader.read_exact(&mut bytes).is_ok() && take(&Header::from_bytes(&bytes)) {
                sound += HEADER_SIZE as u64;
            }
        }
        if sound < length {
            let (path, size) = (path.display(), length - sound);
            eprintln!("cut {size} bytes from the end of {path}; their headers are asked for again");
            logger.log(Event::HeadersCut { size });
            file.set_len(sound).map_err(Error::io(&folder.join(NAME)))?;
        }
        if sound == 0 {
            file.write_all(magic.as_bytes()).map_err(Error::io(&path))?;
        }
        Ok(Self { path, file })
    }

    /// Appends headers whose parents are in the file, or are those of stored blocks.
    pub(crate) fn append(&mut self, headers: &[Header]) -> Result<(), Error> {
        let bytes: Vec<u8> = headers.iter().flat_map(Header::to_bytes).collect();
        self.file.write_all(&bytes).map_err(Error::io(&self.path))
    }
}
