//! The server over a node in memory: the shipped engine and ledger, and blocks that are checked
//! with the shipped rules, one after the other on the caller's thread.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may fail loudly")]

mod access;
mod bitcoind;
mod bounds;
mod client;
mod envelopes;
mod explore;
mod limits;
mod methods;
mod node;
mod same_as_core;
mod views;
mod web;
