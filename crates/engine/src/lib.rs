//! The whole node without I/O.

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod engine;
mod port;
mod record;

pub use caesure_p2p::Effect;
pub use engine::{Engine, EngineOptions};
pub use port::{ChainEvent, ChainRequest, Command, CommandError, Input, Output};
pub use record::{RecordError, Runner, Summary, replay};
