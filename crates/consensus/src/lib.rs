//! Bitcoin's consensus rules as ordered lists with Bitcoin Core's reject reasons.
//!
//! A rule is one function under one sentence that says what MUST be; a phase is a list of rules in
//! the order in which Core checks them; a soft fork is a height in a table. So of several faults of a
//! block the one that Core would name is named, by [`Reject`], with Core's class of result.
//!
//! ```
//! use caesure_consensus::{HeaderTree, Network, Params, check_header};
//!
//! let params = Params::new(Network::Regtest);
//! let mut tree = HeaderTree::new(&params);
//! let now = params.genesis.time + 600;
//!
//! // A header on block 0, with a proof of work that takes two hashes.
//! let mut header = params.genesis;
//! header.prev_block = params.genesis_hash;
//! while check_header(&header, &params).is_err() {
//!     header.nonce += 1;
//! }
//! assert_eq!(tree.accept(&header, now).unwrap_err().to_string(), "time-too-old");
//!
//! header.time += 1;
//! while check_header(&header, &params).is_err() {
//!     header.nonce += 1;
//! }
//! assert_eq!(tree.accept(&header, now).unwrap_err().to_string(), "bad-version(0x00000001)");
//! ```
//!
//! A block goes through these, and is refused by the first that fails:
//!
//! 1. [`HeaderTree::accept`] judges its header and gives it an id.
//! 2. [`check_block`] judges the block by itself: proof of work, signet solution, merkle root,
//!    transactions. A block that a peer or a user hands over whole goes through this first, as in
//!    Core's `ProcessNewBlock`; one that is read from a file does not.
//! 3. [`BlockContext::new`] gathers the facts of its place in the chain, and
//!    [`check_block_context`] judges it by them: lock times, height, witnesses, weight.
//! 4. [`connect_block`] judges what it spends, given the coins.
//! 5. [`verify_tx_scripts`] runs the scripts, one transaction at a time, on as many threads as the
//!    caller has.
//!
//! Facts are passed in; nothing is asked for. No function here does I/O, reads a clock or keeps a
//! reference, so none fails but by a rule, and each can be tried on bytes alone. Which of the valid
//! chains is the best, where coins are kept and what is remembered of a refusal is the caller's part.
//! What is mutated ([`RejectClass::Mutated`], [`is_block_mutated`]) must never be held against the
//! header.
//!
//! [`Params`] holds the five networks and custom signets. [`HeaderTree`] has every branch, with work,
//! median times, difficulty, ancestors in logarithmic time and locators.
//!
//! Sources: the `validation.cpp`, `consensus/`, `pow.cpp`, `signet.cpp`, `chain.cpp` and
//! `kernel/chainparams.cpp` of Bitcoin Core 31.99, and the BIPs that the items name. The table of
//! rules is in `docs/consensus.md`.

#![no_std]

extern crate alloc;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod block_rules;
mod coin;
mod connect;
mod context;
mod header_rules;
mod header_tree;
mod input_rules;
mod params;
mod reject;
mod signet;
mod transaction_rules;
mod uint256;

pub use block_rules::{MAX_BLOCK_SIGOPS_COST, check_block, is_block_mutated, witness_commitment};
pub use caesure_script::is_unspendable;
pub use coin::{COIN, Coin, MAX_MONEY, is_money};
pub use connect::{BlockTotals, connect_block, subsidy};
pub use context::{BlockContext, check_block_context, is_bip30_unspendable};
pub use header_rules::{MAX_FUTURE_BLOCK_TIME, check_header, is_permitted_transition, retarget};
pub use header_tree::{HeaderId, HeaderTree};
pub use input_rules::{
    COINBASE_MATURITY, LOCKTIME_THRESHOLD, check_inputs, is_final, is_sequence_final,
    legacy_sigop_count, sigop_cost, verify_tx_scripts,
};
pub use params::{AssumedSet, Deployment, Network, Params};
pub use reject::{Reject, RejectClass};
pub use signet::signet_spend;
pub use transaction_rules::{MAX_BLOCK_WEIGHT, WITNESS_SCALE_FACTOR, check_transaction};
pub use uint256::{Target, Work};
