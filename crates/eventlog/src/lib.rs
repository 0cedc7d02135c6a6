#![doc = include_str!("../README.md")]

mod event;
mod field;
mod logger;
mod record;
mod rotation;
mod tail;
pub mod text;
mod value;

pub use event::{Class, Event, Shape};
pub use field::{Address, Host};
pub use logger::{LogOptions, LogWriter, Logger};
pub use record::{MAGIC, MAX_SKIPPED, Record, RecordReader};
pub use rotation::rotated;
pub use tail::{Entry, Filter, News, Tail};
pub use value::Value;

use record::put_record;

/// Why a log cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes end within a value.
    #[error("the record is cut")]
    Cut,
    /// The bytes are no value, or none that a record may have there.
    #[error("the record is malformed")]
    Malformed,
    /// Values are nested too deeply.
    #[error("the record is nested too deeply")]
    TooDeep,
    /// There is no record where there should be one.
    #[error("no record in {skipped} bytes: this is no event log, or it is damaged")]
    NoRecords {
        /// How many bytes were passed over.
        skipped: u64,
    },
    /// The input cannot be read.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}
