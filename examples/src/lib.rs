//! What the examples share: a block file as a tree of blocks, and the forms in which the original
//! printed transactions, blocks and scripts.
//!
//! ```
//! use caesure_examples::dump_tx;
//! use caesure_wire::{OutPoint, Transaction, Tx, TxIn, TxOut};
//!
//! let tx = Transaction {
//!     version: 1,
//!     inputs: vec![TxIn { prevout: OutPoint::NULL, script_sig: vec![1, 7], ..TxIn::default() }],
//!     outputs: vec![TxOut { value: 1, script_pubkey: vec![0x51, 0xac] }],
//!     lock_time: 0,
//! };
//! let text = dump_tx(Tx::parse(tx.encode())?.view());
//! assert!(text.ends_with("  0 0.00000001 ['0x01', 'OP_CHECKSIG']\nlock_time: 0\n"));
//! # Ok::<(), caesure_wire::DecodeError>(())
//! ```

mod chain;
mod dump;

pub use chain::{BlockFile, network_of};
pub use dump::{btc, dump_block, dump_tx, form_list, script_text};
