//! Bitcoin's script interpreter, signature hashes and step debugger, answering as Bitcoin Core does.
//!
//! A [`TxContext`] is a transaction with the outputs that it spends, and the hashes that its
//! signatures share, computed once. [`verify`](TxContext::verify) runs the scripts of all inputs
//! under [`Flags`], [`verify_input`](TxContext::verify_input) those of one, and [`verify_batch`] many
//! transactions. What fails has the [`ScriptError`] that Core gives, one variant for each of its 53,
//! and a [`Failure`] says which instruction at which byte of which script.
//! [`trace_input`](TxContext::trace_input) shows the machine as a [`Step`] before each instruction
//! and stops where it is told to:
//!
//! ```
//! use std::ops::ControlFlow;
//!
//! use caesure_script::{Flags, TxContext, disassemble, push_int};
//! use caesure_script::caesure_wire::{OutputView, Transaction, Tx, TxIn};
//!
//! let lock = [0x93, 0x55, 0x88, 0x51];
//! assert_eq!(disassemble(&lock), "OP_ADD 5 OP_EQUALVERIFY 1");
//!
//! let spend = |a, b| {
//!     let mut script_sig = Vec::new();
//!     push_int(&mut script_sig, a);
//!     push_int(&mut script_sig, b);
//!     let inputs = vec![TxIn { script_sig, ..TxIn::default() }];
//!     Tx::parse(Transaction { version: 2, inputs, ..Transaction::default() }.encode()).unwrap()
//! };
//! let spent = [OutputView { value: 1000, script_pubkey: &lock }];
//!
//! let tx = spend(2, 3);
//! let context = TxContext::new(tx.view(), &spent);
//! let mut depths = Vec::new();
//! let result = context.trace_input(0, Flags::P2SH, &mut |step| {
//!     depths.push(step.stack.len());
//!     ControlFlow::Continue(())
//! });
//! assert_eq!(result, ControlFlow::Continue(Ok(())));
//! assert_eq!(depths, [0, 1, 2, 1, 2, 0]);
//!
//! let tx = spend(2, 2);
//! let failure = TxContext::new(tx.view(), &spent).verify_input_located(0, Flags::P2SH);
//! assert_eq!(
//!     failure.unwrap_err().to_string(),
//!     "input 0: EQUALVERIFY at byte 2 (OP_EQUALVERIFY) of the scriptPubKey: \
//!      Script failed an OP_EQUALVERIFY operation"
//! );
//! ```
//!
//! Beside that: instructions ([`Instructions`], [`opcode`]), numbers and pushes, signature hashes of
//! all three kinds, the hashes of script trees, counts of signature checks, what kind of script
//! locks an output ([`classify`]), addresses both ways ([`address`], [`parse_address`]), assembly as
//! Core prints it ([`disassemble`]) and so that any bytes come back ([`disassemble_exact`],
//! [`assemble`]), and nested forms ([`parse_script`], [`pprint_script`], [`unparse_script`]).
//!
//! Everything is total: any bytes give a value or an error, no depth of conditionals takes call
//! stack, and memory is bounded by a small multiple of the transaction. What is not here: which
//! flags hold for a block, the rules on transactions and blocks, and policy.
//!
//! The decision that shapes the crate: stack items are slices of the transaction until something
//! computes a new one, and hashes that several signatures share are computed once, so that nearly
//! all the time goes into the curve, for which libsecp256k1 is used. The encoding rules of BIP-0066
//! are checked here and never left to that library. Many legacy inputs in one transaction cost the
//! square of their number whoever verifies them: [`TxContext::legacy_sighash`] has the law.
//!
//! The crate needs no `std`. Its one feature, `std`, changes no answer: libsecp256k1 then keeps what
//! it prepares for each thread, where without it every check of a signature prepares anew, at about
//! 5 % of its time.
//!
//! Sources: BIP-0016, 0065, 0066, 0112, 0141, 0143, 0147, 0340, 0341, 0342; Core's
//! `script/interpreter.cpp`, `script/script.cpp`, `script/solver.cpp`, `core_io.cpp`,
//! `key_io.cpp`.

#![no_std]

extern crate alloc;

/// The crate whose transactions and outputs this one takes.
pub use caesure_wire;

mod address;
mod asm;
mod classify;
mod error;
mod flags;
mod instruction;
mod interpreter;
mod legacy;
mod number;
pub mod opcode;
mod parse;
mod script;
mod sighash;
mod signature;
mod taproot;
mod verify;

pub use address::{AddressPrefixes, address, parse_address};
pub use asm::{assemble, disassemble, disassemble_exact, disassemble_signatures};
pub use classify::{ScriptType, classify, multisig_keys};
pub use error::{AddressError, AssembleError, Failure, ParseError, ScriptError};
pub use flags::Flags;
pub use instruction::{Instruction, Instructions, is_push_only, push_int, push_slice};
pub use interpreter::{End, ScriptSource, Step};
pub use legacy::legacy_sighash;
pub use number::{decode_number, encode_number, is_true};
pub use parse::{Form, ParsedScript, parse_script, pprint_script, push_kind, unparse_script};
pub use script::{
    MAX_ITEM_SIZE, MAX_MULTISIG_KEYS, MAX_OPS, MAX_SCRIPT_SIZE, MAX_STACK_ITEMS, is_unspendable,
    p2sh_hash, p2sh_sigop_count, sigop_count, witness_program, witness_sigop_count,
};
pub use sighash::{
    Leaf, SIGHASH_ALL, SIGHASH_ANYONECANPAY, SIGHASH_DEFAULT, SIGHASH_NONE, SIGHASH_SINGLE,
    TxContext,
};
pub use signature::verify_schnorr;
pub use taproot::{TAPSCRIPT_LEAF_VERSION, tap_branch_hash, tap_leaf_hash, tap_tweak_hash};
pub use verify::verify_batch;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
