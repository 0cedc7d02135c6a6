//! The ledger against a naive model, the past's faults, damage, and a disk that fails.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    reason = "a test may fail loudly"
)]

mod damage;
mod disk;
mod faults;
mod forks;
mod history;
mod horizon;
mod naive;
mod pair;
mod readers;
mod tree;
