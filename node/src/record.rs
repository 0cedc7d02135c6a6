//! `--record`, and `caesure replay`.

use std::fs::{File, OpenOptions};
use std::io::BufReader;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use caesure_text::hex;
use serde_json::json;

use crate::args::Common;
use crate::{Error, Outcome, report};

/// Makes the file of a record. It has secrets in it, of the address book and of connections.
pub(crate) fn create(path: &Path) -> Result<File, Error> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.map_err(Error::io(path))
}

/// `caesure replay`: runs a record again.
pub(crate) fn replay(common: &Common, path: &Path) -> Result<Outcome, Error> {
    let file = File::open(path).map_err(Error::io(path))?;
    let length = file.metadata().map_err(Error::io(path))?.len();
    let failed = |source| Error::Record { path: path.to_owned(), source };
    let (summary, whole) = caesure_engine::replay(BufReader::new(file)).map_err(failed)?;
    let (hash, left) = (hex::encode(&summary.hash), length.saturating_sub(whole));
    report(common, &json!({ "inputs": summary.inputs, "hash": hash, "left": left }));
    Ok(Outcome::Done)
}
