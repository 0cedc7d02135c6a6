use core::fmt;

use caesure_script::ScriptError;

/// What a refusal says about the block, which decides whether its hash is remembered as bad.
/// Core: `BlockValidationResult`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RejectClass {
    /// The block breaks a rule, and always will.
    Consensus,
    /// The header is known, and was found invalid before.
    CachedInvalid,
    /// The header breaks a rule, and always will.
    InvalidHeader,
    /// The content is not what the header commits to; the header may be good.
    Mutated,
    /// The parent is not known.
    MissingPrev,
    /// The parent is invalid.
    InvalidPrev,
    /// The time is too far ahead; later the header may be good.
    TimeFuture,
}

/// Why a header, a transaction or a block is refused: one variant for each of Core's reasons.
///
/// `Display` is the reject reason as Core prints it, with its variable part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reject {
    /// The header is known as invalid.
    DuplicateInvalid,
    /// The header's parent is not known.
    PrevBlkNotFound,
    /// The header's parent is invalid.
    BadPrevblk,
    /// The hash does not meet the target, or the target is out of range.
    HighHash,
    /// The target is not the one that the chain requires.
    BadDiffbits,
    /// The time is not after the median of the eleven blocks before.
    TimeTooOld,
    /// The first block of a difficulty period is more than 600 s before its parent.
    TimeTimewarpAttack,
    /// The time is over two hours ahead.
    TimeTooNew,
    /// The version is one that a deployment retired.
    BadVersion(i32),
    /// The transactions do not hash to the header's merkle root.
    BadTxnmrklroot,
    /// Transactions are repeated without a change of the merkle root (CVE-2012-2459).
    BadTxnsDuplicate,
    /// The signet's challenge is not met.
    BadSignetBlksig,
    /// There is no transaction, or there are too many bytes.
    BadBlkLength,
    /// The first transaction is not a coinbase.
    BadCbMissing,
    /// Another transaction is a coinbase.
    BadCbMultiple,
    /// There are too many signature operations.
    BadBlkSigops,
    /// A transaction has no input.
    BadTxnsVinEmpty,
    /// A transaction has no output.
    BadTxnsVoutEmpty,
    /// A transaction alone is larger than a block.
    BadTxnsOversize,
    /// An output's value is negative.
    BadTxnsVoutNegative,
    /// An output's value is over 21 million bitcoins.
    BadTxnsVoutToolarge,
    /// The sum of the outputs is over 21 million bitcoins.
    BadTxnsTxouttotalToolarge,
    /// A transaction spends an output twice (CVE-2018-17144).
    BadTxnsInputsDuplicate,
    /// A coinbase's input script is not of 2 to 100 bytes.
    BadCbLength,
    /// An input that is not a coinbase's has a null prevout.
    BadTxnsPrevoutNull,
    /// A lock time or a relative lock time is not reached.
    BadTxnsNonfinal,
    /// The coinbase does not begin with the height.
    BadCbHeight,
    /// The coinbase's witness is not one item of 32 bytes.
    BadWitnessNonceSize,
    /// The witnesses do not hash to the coinbase's commitment.
    BadWitnessMerkleMatch,
    /// There is a witness, and nothing commits to it.
    UnexpectedWitness,
    /// The weight is over 4,000,000.
    BadBlkWeight,
    /// A transaction would overwrite one that has unspent outputs.
    BadTxnsBip30,
    /// An input's output does not exist or is spent.
    BadTxnsInputsMissingorspent,
    /// A coinbase is spent before 100 blocks were built on it.
    BadTxnsPrematureSpendOfCoinbase,
    /// An input's value, or their sum, is over 21 million bitcoins.
    BadTxnsInputvaluesOutofrange,
    /// A transaction pays more than it spends.
    BadTxnsInBelowout,
    /// The sum of the fees is over 21 million bitcoins.
    BadTxnsAccumulatedFeeOutofrange,
    /// The coinbase pays more than subsidy and fees.
    BadCbAmount,
    /// A script fails.
    BlockScriptVerifyFlagFailed(ScriptError),
}

impl Reject {
    /// Returns Core's reject reason without its variable part.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        self.facts().0
    }

    /// Returns what the refusal says about a block.
    #[must_use]
    pub const fn class(self) -> RejectClass {
        self.facts().1
    }

    const fn facts(self) -> (&'static str, RejectClass) {
        use RejectClass::{Consensus, InvalidHeader, Mutated};
        match self {
            Self::DuplicateInvalid => ("duplicate-invalid", RejectClass::CachedInvalid),
            Self::PrevBlkNotFound => ("prev-blk-not-found", RejectClass::MissingPrev),
            Self::BadPrevblk => ("bad-prevblk", RejectClass::InvalidPrev),
            Self::HighHash => ("high-hash", InvalidHeader),
            Self::BadDiffbits => ("bad-diffbits", InvalidHeader),
            Self::TimeTooOld => ("time-too-old", InvalidHeader),
            Self::TimeTimewarpAttack => ("time-timewarp-attack", InvalidHeader),
            Self::TimeTooNew => ("time-too-new", RejectClass::TimeFuture),
            Self::BadVersion(_) => ("bad-version", InvalidHeader),
            Self::BadTxnmrklroot => ("bad-txnmrklroot", Mutated),
            Self::BadTxnsDuplicate => ("bad-txns-duplicate", Mutated),
            Self::BadSignetBlksig => ("bad-signet-blksig", Consensus),
            Self::BadBlkLength => ("bad-blk-length", Consensus),
            Self::BadCbMissing => ("bad-cb-missing", Consensus),
            Self::BadCbMultiple => ("bad-cb-multiple", Consensus),
            Self::BadBlkSigops => ("bad-blk-sigops", Consensus),
            Self::BadTxnsVinEmpty => ("bad-txns-vin-empty", Consensus),
            Self::BadTxnsVoutEmpty => ("bad-txns-vout-empty", Consensus),
            Self::BadTxnsOversize => ("bad-txns-oversize", Consensus),
            Self::BadTxnsVoutNegative => ("bad-txns-vout-negative", Consensus),
            Self::BadTxnsVoutToolarge => ("bad-txns-vout-toolarge", Consensus),
            Self::BadTxnsTxouttotalToolarge => ("bad-txns-txouttotal-toolarge", Consensus),
            Self::BadTxnsInputsDuplicate => ("bad-txns-inputs-duplicate", Consensus),
            Self::BadCbLength => ("bad-cb-length", Consensus),
            Self::BadTxnsPrevoutNull => ("bad-txns-prevout-null", Consensus),
            Self::BadTxnsNonfinal => ("bad-txns-nonfinal", Consensus),
            Self::BadCbHeight => ("bad-cb-height", Consensus),
            Self::BadWitnessNonceSize => ("bad-witness-nonce-size", Mutated),
            Self::BadWitnessMerkleMatch => ("bad-witness-merkle-match", Mutated),
            Self::UnexpectedWitness => ("unexpected-witness", Mutated),
            Self::BadBlkWeight => ("bad-blk-weight", Consensus),
            Self::BadTxnsBip30 => ("bad-txns-BIP30", Consensus),
            Self::BadTxnsInputsMissingorspent => ("bad-txns-inputs-missingorspent", Consensus),
            Self::BadTxnsPrematureSpendOfCoinbase => {
                ("bad-txns-premature-spend-of-coinbase", Consensus)
            }
            Self::BadTxnsInputvaluesOutofrange => ("bad-txns-inputvalues-outofrange", Consensus),
            Self::BadTxnsInBelowout => ("bad-txns-in-belowout", Consensus),
            Self::BadTxnsAccumulatedFeeOutofrange => {
                ("bad-txns-accumulated-fee-outofrange", Consensus)
            }
            Self::BadCbAmount => ("bad-cb-amount", Consensus),
            Self::BlockScriptVerifyFlagFailed(_) => ("block-script-verify-flag-failed", Consensus),
        }
    }
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadVersion(version) => write!(f, "{}(0x{version:08x})", self.reason()),
            Self::BlockScriptVerifyFlagFailed(error) => write!(f, "{} ({error})", self.reason()),
            _ => f.write_str(self.reason()),
        }
    }
}
