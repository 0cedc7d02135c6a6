//! Deterministic, fully signed regtest chains with every standard spend type, for tests and
//! benchmarks.
//!
//! [`generate`] makes a chain from [`Options`] and hands out its blocks one by one: genesis first,
//! then each block after its parent, blocks of forks among them. The same options give the same
//! bytes, on any machine. Every signature is real and every block keeps every rule, so that a node
//! can be tested on what it accepts, and measured on chains of a shape that is chosen.
//!
//! ```
//! use caesure_generate::{Options, Profile, generate};
//!
//! let options = Options { blocks: 120, txs: 20, pool: 50, ..Options::default() };
//! let mut size = 0;
//! let summary = generate(&options, &mut |block| {
//!     size += block.len();
//!     Ok(())
//! })?;
//! assert_eq!((summary.height, summary.transactions), (120, 20));
//! assert!(25_000 < size);
//! # Ok::<(), caesure_generate::Error>(())
//! ```
//!
//! What is in a chain of the mixed profile:
//!
//! - Spends of P2PK and P2PKH (compressed keys and uncompressed), bare multisig, P2WPKH and
//!   P2SH-P2WPKH, pay to anchor; multisig, CLTV and CSV in P2SH, P2WSH and P2SH-P2WSH, with locks of
//!   heights and of times; taproot by key and by script, with one signature, two, and CSV.
//! - Signatures of every hash type: ALL, NONE and SINGLE, each with ANYONECANPAY too, and taproot's
//!   default; SINGLE also without an output to sign, where that is valid.
//! - Coins of all ages, from the same block to the first coinbase that is mature; outputs of data,
//!   some with value; fees, on some heights not all of them claimed.
//! - Forks that win, by one block and with other spends of the same coins, and forks that lose, with
//!   the chain's own transactions at another height.
//!
//! The time of the first block is the start of 2020, and a chain ends before 2024. The keys are the
//! same for every seed and known to all.
//!
//! The parts are there for tests that make blocks by hand: [`coinbase`], [`mine_block`], [`solve`].
//!
//! This crate signs on all cores, which is its one use of threads; it reads no clock and writes no
//! file. Not here: invalid blocks, other networks, the records of a block file.

/// Compiles the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod chain;
mod regtest;
mod rng;
mod spend;

pub use regtest::{BITS, coinbase, mine_block, solve};

use caesure_consensus::COINBASE_MATURITY;
use caesure_wire::BlockHash;

use spend::{Template, Wrap};

/// What chain to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The height of the tip. Blocks of branches that lose come on top.
    pub blocks: u32,
    /// Transactions in the blocks from genesis to the tip, coinbases not counted.
    pub txs: u32,
    /// Coins that are kept ready to be spent; the first transactions make them.
    pub pool: u32,
    /// What the transactions are like.
    pub profile: Profile,
    /// Forks: the first wins, the second loses, and so on in turn.
    pub forks: u32,
    /// Where the random numbers start.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        let profile = Profile::Mixed;
        Self { blocks: 300, txs: 2_000, pool: 1_000, profile, forks: 4, seed: 1 }
    }
}

/// What transactions are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Profile {
    /// Every type of spend and every hash type, in transactions of a few inputs and outputs.
    Mixed,
    /// Many outputs that are never spent, and few inputs.
    Utxo,
    /// Outputs that anyone can spend, OP_TRUE alone and in P2WSH, twice as many made as spent: no
    /// signature, all work is on the set.
    Coins,
    /// Single signatures in witnesses, one to three a transaction.
    Sig,
    /// P2PKH and P2SH multisig with 100 to 1,500 inputs: what each signature hashes grows with them.
    Legacy,
}

impl Profile {
    /// Where scripts stand, and what scripts.
    const fn locks(self) -> &'static [(Wrap, &'static [Template])] {
        use Template::{Cltv, Csv, Multisig, Pk, Pkh, True};
        match self {
            Self::Mixed => &[
                (Wrap::Bare, &[Pk, Pkh, Multisig]),
                (Wrap::P2sh, &[Multisig, Cltv, Csv]),
                (Wrap::P2wpkh, &[Pkh]),
                (Wrap::P2shP2wpkh, &[Pkh]),
                (Wrap::P2wsh, &[Multisig, Cltv, Csv]),
                (Wrap::P2shP2wsh, &[Multisig, Cltv, Csv]),
                (Wrap::TaprootKey, &[Pk]),
                (Wrap::TaprootScript, &[Pk, Multisig, Csv]),
                (Wrap::Anchor, &[Pk]),
            ],
            Self::Utxo => &[
                (Wrap::Bare, &[Pkh]),
                (Wrap::P2wpkh, &[Pkh]),
                (Wrap::P2wsh, &[Multisig]),
                (Wrap::TaprootKey, &[Pk]),
            ],
            Self::Coins => &[(Wrap::Bare, &[True]), (Wrap::P2wsh, &[True])],
            Self::Sig => {
                &[(Wrap::P2wpkh, &[Pkh]), (Wrap::P2shP2wpkh, &[Pkh]), (Wrap::TaprootKey, &[Pk])]
            }
            Self::Legacy => &[(Wrap::Bare, &[Pkh]), (Wrap::P2sh, &[Multisig])],
        }
    }
}

/// What was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// The height of the tip.
    pub height: u32,
    /// The hash of the tip.
    pub tip: BlockHash,
    /// Blocks handed out, genesis and branches that lost included.
    pub blocks: u64,
    /// Transactions from genesis to the tip, coinbases not counted.
    pub transactions: u64,
    /// Signatures made for all blocks.
    pub signatures: u64,
    /// The last block of each branch that lost.
    pub lost_tips: Vec<BlockHash>,
}

/// Why a chain could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The receiver of the blocks failed.
    #[error("a block was not taken")]
    Io(#[from] std::io::Error),
    /// Transactions need a mature coinbase, and forks four blocks each.
    #[error("{blocks} blocks are too few, {needed} are needed")]
    TooFewBlocks {
        /// The number that was asked for.
        blocks: u32,
        /// The least number for these transactions and forks.
        needed: u32,
    },
    /// The blocks or the coins do not hold the transactions.
    #[error("only {placed} of {txs} transactions fit the blocks")]
    DoesNotFit {
        /// Transactions that were placed.
        placed: u32,
        /// Transactions that were asked for.
        txs: u32,
    },
}

/// Makes a chain and hands out its blocks, whole and serialized, genesis first and each after its
/// parent. At no time is more than a few blocks kept.
///
/// # Errors
/// When `emit` fails, or the options cannot be met. The last is in part known only at the end.
pub fn generate(
    options: &Options,
    emit: &mut dyn FnMut(&[u8]) -> std::io::Result<()>,
) -> Result<Summary, Error> {
    let forks = options.forks.saturating_add(1).saturating_mul(4);
    let needed = match (options.txs, options.forks) {
        (0, 0) => 0,
        (_, 0) => COINBASE_MATURITY + 1,
        _ => forks.saturating_add(COINBASE_MATURITY),
    };
    if options.blocks < needed {
        return Err(Error::TooFewBlocks { blocks: options.blocks, needed });
    }
    chain::Chain::new(options, emit)?.run()
}
