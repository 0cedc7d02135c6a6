//! The whole node without I/O.

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod engine;
mod port;

pub use engine::{Engine, EngineOptions};
pub use port::{ChainEvent, ChainRequest, Command, CommandError, Input, Output};
