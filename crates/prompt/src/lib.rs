//! A prompt over a node: what a person types, and what comes of it.
//!
//! A [`Session`] takes lines in the language of Rhai, to which this crate gives blocks, transactions, scripts,
//! headers, worlds and coins, and what a node tells of itself. Values look as the original Caesure showed them.
//! What the lines read is a [`Source`]: a running node, or the folder of one.
//!
//! A session can be careless and the node is safe. A line ends after so many operations, bytes and seconds
//! ([`Limits`]), from which no function of the interpreter is free: what is done outside it is counted as
//! operations too, blocks and transactions that values hold are counted by their bytes, and functions can
//! hold no values. Nothing in the language reaches a file, a socket or a clock. What is nested deeper than a
//! thread's stack runs on one of its own.
//!
//! Each line reads one world of the ledger throughout, which it pins when it begins: what a node connects
//! meanwhile is seen by the next.
//!
//! Not here: sockets, terminals and threads, which `node` has; policy of a mempool, for what is tried is judged
//! by the rules of consensus.
//!
//! [`ENTRIES`] lists all that the language is given; `docs/prompt.md` shows it.

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod attempt;
mod chain;
mod context;
mod error;
mod help;
mod monitor;
mod range;
mod scan;
mod script;
mod session;
mod show;
mod source;
mod values;
mod worlds;

pub use error::PromptError;
pub use help::{ENTRIES, Entry};
pub use session::{Fault, Interrupt, Limits, Outcome, Reply, Session};
pub use source::{Command, Fields, Look, Now, Source, Still, Value};
