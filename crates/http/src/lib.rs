//! JSON-RPC over HTTP as bitcoind speaks it, and the web UI, over a handle to a running node.
//!
//! [`serve`] answers until it is stopped: one thread for all connections, a few for calls. What it
//! asks of the node is [`Backend`]; who may ask is told by [`User`] and [`Cookie`]. Clients notice
//! no difference from Bitcoin Core 31.99: the envelopes of JSON-RPC 1.0, 1.1 and 2.0, batches,
//! arguments by place and by name, codes of errors and of HTTP, field names and their order, and
//! how numbers are written.
//!
//! What is more here than there: every method that reads takes a named argument `at`, the hash or
//! the height of a block, or `tip-N`, and then answers as if that block were the tip. A batch
//! without `at` reads one block throughout, whatever comes in meanwhile. The header
//! `X-Caesure-View` says which block was read.
//!
//! There is one table of methods, with arguments, help and handler; [`conversion`] reads it for the
//! command line. Limits: [`ServeOptions`] for connections, calls, bytes and time; 200,000 values a
//! request; 256 MiB of answers a batch.
//!
//! [`serve_web`] is the web UI, on a port of its own: pages that are made anew for each request, and
//! server-sent events that keep them up to date. [`WebOptions`] has its limits, [`WebUser`] who may
//! see them.
//!
//! Sources: Core's `httprpc.cpp`, `rpc/`, `core_io.cpp`; BIP-0022, BIP-0380; RFC 7616.

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod auth;
mod backend;
mod call;
mod chain;
mod control;
mod descriptor;
mod envelope;
mod error;
mod json;
mod merkle_proof;
mod mining;
mod peers;
mod server;
mod table;
mod transactions;
mod web;

pub use auth::{Cookie, User};
pub use backend::{About, Backend, Calls, Histogram, Look, Queue, Resources, Stored, Thread};
pub use peers::sanitized;
pub use server::{ServeOptions, Stop, serve};
pub use table::{Conversion, conversion, pretty};
pub use web::{WebOptions, WebUser, serve_web};
