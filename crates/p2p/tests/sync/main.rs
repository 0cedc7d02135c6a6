//! `Sync` against scripts of peers, and several of them against one another.

#![allow(unreachable_pub, reason = "what the harness gives to the tests beside it")]
#![allow(clippy::cast_possible_truncation, reason = "the numbers are small")]

mod any_messages;
mod blocks;
mod compact;
mod download;
mod harness;
mod headers;
mod serving;
mod transactions;
