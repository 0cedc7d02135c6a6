use caesure_text::TextError;

use core::fmt;

use crate::{ScriptSource, opcode};

macro_rules! script_errors {
    ($($variant:ident, $name:literal, $text:literal;)*) => {
        /// Why a script does not unlock an output: one variant for each of Core's `SCRIPT_ERR_`.
        ///
        /// `Display` is the text that Core puts into a reject reason (`ScriptErrorString`).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
        #[non_exhaustive]
        pub enum ScriptError {
            $(#[doc = $text] #[error($text)] $variant,)*
        }

        impl ScriptError {
            /// Every error, in Core's order.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Returns Core's name of the error without `SCRIPT_ERR_`, as its test vectors write it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

script_errors! {
    EvalFalse, "EVAL_FALSE", "Script evaluated without error but finished with a false/empty top stack element";
    OpReturn, "OP_RETURN", "OP_RETURN was encountered";
    Scriptnum, "SCRIPTNUM", "Script number overflowed or is non-minimally encoded";
    ScriptSize, "SCRIPT_SIZE", "Script is too big";
    PushSize, "PUSH_SIZE", "Push value size limit exceeded";
    OpCount, "OP_COUNT", "Operation limit exceeded";
    StackSize, "STACK_SIZE", "Stack size limit exceeded";
    SigCount, "SIG_COUNT", "Signature count negative or greater than pubkey count";
    PubkeyCount, "PUBKEY_COUNT", "Pubkey count negative or limit exceeded";
    Verify, "VERIFY", "Script failed an OP_VERIFY operation";
    Equalverify, "EQUALVERIFY", "Script failed an OP_EQUALVERIFY operation";
    Checkmultisigverify, "CHECKMULTISIGVERIFY", "Script failed an OP_CHECKMULTISIGVERIFY operation";
    Checksigverify, "CHECKSIGVERIFY", "Script failed an OP_CHECKSIGVERIFY operation";
    Numequalverify, "NUMEQUALVERIFY", "Script failed an OP_NUMEQUALVERIFY operation";
    BadOpcode, "BAD_OPCODE", "Opcode missing or not understood";
    DisabledOpcode, "DISABLED_OPCODE", "Attempted to use a disabled opcode";
    InvalidStackOperation, "INVALID_STACK_OPERATION", "Operation not valid with the current stack size";
    InvalidAltstackOperation, "INVALID_ALTSTACK_OPERATION", "Operation not valid with the current altstack size";
    UnbalancedConditional, "UNBALANCED_CONDITIONAL", "Invalid OP_IF construction";
    NegativeLocktime, "NEGATIVE_LOCKTIME", "Negative locktime";
    UnsatisfiedLocktime, "UNSATISFIED_LOCKTIME", "Locktime requirement not satisfied";
    SigHashtype, "SIG_HASHTYPE", "Signature hash type missing or not understood";
    SigDer, "SIG_DER", "Non-canonical DER signature";
    Minimaldata, "MINIMALDATA", "Data push larger than necessary";
    SigPushonly, "SIG_PUSHONLY", "Only push operators allowed in signatures";
    SigHighS, "SIG_HIGH_S", "Non-canonical signature: S value is unnecessarily high";
    SigNulldummy, "SIG_NULLDUMMY", "Dummy CHECKMULTISIG argument must be zero";
    Pubkeytype, "PUBKEYTYPE", "Public key is neither compressed or uncompressed";
    Cleanstack, "CLEANSTACK", "Stack size must be exactly one after execution";
    Minimalif, "MINIMALIF", "OP_IF/NOTIF argument must be minimal";
    SigNullfail, "NULLFAIL", "Signature must be zero for failed CHECK(MULTI)SIG operation";
    DiscourageUpgradableNops, "DISCOURAGE_UPGRADABLE_NOPS", "NOPx reserved for soft-fork upgrades";
    DiscourageUpgradableWitnessProgram, "DISCOURAGE_UPGRADABLE_WITNESS_PROGRAM", "Witness version reserved for soft-fork upgrades";
    DiscourageUpgradableTaprootVersion, "DISCOURAGE_UPGRADABLE_TAPROOT_VERSION", "Taproot version reserved for soft-fork upgrades";
    DiscourageOpSuccess, "DISCOURAGE_OP_SUCCESS", "OP_SUCCESSx reserved for soft-fork upgrades";
    DiscourageUpgradablePubkeytype, "DISCOURAGE_UPGRADABLE_PUBKEYTYPE", "Public key version reserved for soft-fork upgrades";
    WitnessProgramWrongLength, "WITNESS_PROGRAM_WRONG_LENGTH", "Witness program has incorrect length";
    WitnessProgramWitnessEmpty, "WITNESS_PROGRAM_WITNESS_EMPTY", "Witness program was passed an empty witness";
    WitnessProgramMismatch, "WITNESS_PROGRAM_MISMATCH", "Witness program hash mismatch";
    WitnessMalleated, "WITNESS_MALLEATED", "Witness requires empty scriptSig";
    WitnessMalleatedP2sh, "WITNESS_MALLEATED_P2SH", "Witness requires only-redeemscript scriptSig";
    WitnessUnexpected, "WITNESS_UNEXPECTED", "Witness provided for non-witness script";
    WitnessPubkeytype, "WITNESS_PUBKEYTYPE", "Using non-compressed keys in segwit";
    SchnorrSigSize, "SCHNORR_SIG_SIZE", "Invalid Schnorr signature size";
    SchnorrSigHashtype, "SCHNORR_SIG_HASHTYPE", "Invalid Schnorr signature hash type";
    SchnorrSig, "SCHNORR_SIG", "Invalid Schnorr signature";
    TaprootWrongControlSize, "TAPROOT_WRONG_CONTROL_SIZE", "Invalid Taproot control block size";
    TapscriptValidationWeight, "TAPSCRIPT_VALIDATION_WEIGHT", "Too much signature validation relative to witness weight";
    TapscriptCheckmultisig, "TAPSCRIPT_CHECKMULTISIG", "OP_CHECKMULTISIG(VERIFY) is not available in tapscript";
    TapscriptMinimalif, "TAPSCRIPT_MINIMALIF", "OP_IF/NOTIF argument must be minimal in tapscript";
    TapscriptEmptyPubkey, "TAPSCRIPT_EMPTY_PUBKEY", "Empty public key in tapscript";
    OpCodeseparator, "OP_CODESEPARATOR", "Using OP_CODESEPARATOR in non-witness script";
    SigFindanddelete, "SIG_FINDANDDELETE", "Signature is found in scriptCode";
}

/// Fails with `error` unless the rule holds.
pub(crate) const fn ensure(holds: bool, error: ScriptError) -> Result<(), ScriptError> {
    if holds { Ok(()) } else { Err(error) }
}

/// Why an input does not unlock its output, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The index of the input.
    pub input: usize,
    /// The rule that was broken.
    pub error: ScriptError,
    /// The script that broke it; none when it is about what goes with the scripts, as the witness.
    pub source: Option<ScriptSource>,
    /// Where in that script the instruction begins that broke it, in bytes, and its opcode. None when
    /// it is about the script as a whole: its size, or what it leaves at its end.
    pub instruction: Option<(usize, u8)>,
}

impl core::error::Error for Failure {}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "input {}: {}", self.input, self.error.name())?;
        match self.instruction {
            Some((at, size @ 1..opcode::OP_PUSHDATA1)) => {
                write!(f, " at byte {at} (a push of {size} bytes)")
            }
            Some((at, opcode)) => write!(f, " at byte {at} ({})", opcode::name(opcode)),
            None => f.write_str(" at no instruction"),
        }?;
        if let Some(source) = self.source {
            write!(f, " of the {source}")?;
        }
        write!(f, ": {}", self.error)
    }
}

/// Why bytes are not a well-formed script. `at` counts bytes from the start of the script.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// A push claims more bytes than are left.
    #[error("the push at byte {at} runs past the end of the script")]
    TruncatedPush {
        /// Where the instruction begins.
        at: usize,
    },
    /// `OP_ELSE` or `OP_ENDIF` without an open conditional, `OP_VERIF`, `OP_VERNOTIF`, or a
    /// conditional that is still open at the end.
    #[error("the conditional at byte {at} is not balanced")]
    UnbalancedConditional {
        /// Where the instruction begins; for an open conditional, the end of the script.
        at: usize,
    },
}

/// Why a text is not assembly. `at` counts bytes from the start of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AssembleError {
    /// A word is neither raw bytes, number, opcode nor data.
    #[error("no opcode, number or data at position {at}")]
    UnknownWord {
        /// Where the word begins.
        at: usize,
    },
    /// No data comes after an opcode that needs some, as `OP_PUSHDATA1`.
    #[error("no data after the opcode at position {at}")]
    MissingData {
        /// Where the opcode begins.
        at: usize,
    },
    /// The data is not of the size that the opcode before it pushes.
    #[error("the data at position {at} is not of the size that the opcode before it pushes")]
    DataSize {
        /// Where the data begins.
        at: usize,
    },
}

/// Why a text is not an address of the network asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// The text is damaged, or of another format.
    #[error(transparent)]
    Text(#[from] TextError),
    /// The version byte or the human-readable part is another one; the text itself is sound.
    #[error("an address of another network")]
    OtherNetwork,
    /// A Base58Check text has not the 21 bytes of an address: a private key has 33 or 34.
    #[error("{length} bytes where an address has 21")]
    Length {
        /// How many bytes it has, the checksum left out.
        length: usize,
    },
}
