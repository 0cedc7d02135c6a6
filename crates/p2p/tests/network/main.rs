//! The network, wired together byte by byte in memory under a clock that the test sets.

mod backpressure;
mod dialling;
mod gossip;
mod handshake;
mod keep_alive;
mod limits;
mod sequences;
mod support;
