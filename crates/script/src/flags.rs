use core::fmt;
use core::ops::BitOr;

/// Which rules a script is held to. Every flag only forbids more.
///
/// The bits are Core's. `WITNESS` wants `P2SH`, and `CLEANSTACK` wants both, since these rules would
/// not be soft forks alone. Core: `script_verify_flags`.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flags(pub u32);

macro_rules! flags {
    ($($name:ident = $bit:literal, $doc:literal;)*) => {
        impl Flags {
            $(#[doc = $doc] pub const $name: Self = Self(1 << $bit);)*

            /// Every flag and its name.
            pub const NAMES: &[(&str, Self)] = &[$((stringify!($name), Self::$name),)*];
        }
    };
}

flags! {
    P2SH = 0, "Runs the redeem script. Spec: BIP-0016.";
    STRICTENC = 1, "Public keys and hash types must be defined ones.";
    DERSIG = 2, "Signatures must be strict DER. Spec: BIP-0066.";
    LOW_S = 3, "S must be in the lower half. Spec: BIP-0062.";
    NULLDUMMY = 4, "`OP_CHECKMULTISIG`'s dummy must be empty. Spec: BIP-0147.";
    SIGPUSHONLY = 5, "scriptSig may only push. Spec: BIP-0062.";
    MINIMALDATA = 6, "Pushes and numbers must be minimal. Spec: BIP-0062.";
    DISCOURAGE_UPGRADABLE_NOPS = 7, "Reserved no-ops fail.";
    CLEANSTACK = 8, "One item must be left; wants P2SH and WITNESS. Spec: BIP-0062.";
    CHECKLOCKTIMEVERIFY = 9, "Spec: BIP-0065.";
    CHECKSEQUENCEVERIFY = 10, "Spec: BIP-0112.";
    WITNESS = 11, "Runs witness programs; wants P2SH. Spec: BIP-0141.";
    DISCOURAGE_UPGRADABLE_WITNESS_PROGRAM = 12, "Unknown witness versions fail.";
    MINIMALIF = 13, "`OP_IF`'s operand must be empty or 1 in witness version 0.";
    NULLFAIL = 14, "A signature that fails must be empty. Spec: BIP-0146.";
    WITNESS_PUBKEYTYPE = 15, "Keys in witness version 0 must be compressed.";
    CONST_SCRIPTCODE = 16, "`OP_CODESEPARATOR` and found signatures fail before segwit.";
    TAPROOT = 17, "Runs taproot spends; wants WITNESS. Spec: BIP-0341, BIP-0342.";
    DISCOURAGE_UPGRADABLE_TAPROOT_VERSION = 18, "Unknown leaf versions fail.";
    DISCOURAGE_OP_SUCCESS = 19, "`OP_SUCCESSx` fails.";
    DISCOURAGE_UPGRADABLE_PUBKEYTYPE = 20, "Unknown public key types in tapscript fail.";
}

impl Flags {
    /// No flag: the rules of 2009.
    pub const NONE: Self = Self(0);

    /// Returns whether all flags of `other` are set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Returns whether any flag of `other` is set.
    #[must_use]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Returns the flags that are not in `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Reads names separated by commas, as Core's test vectors write them; `NONE` and nothing are
    /// no flags.
    #[must_use]
    pub fn from_names(names: &str) -> Option<Self> {
        let mut flags = Self::NONE;
        for name in names.split(',').filter(|name| !matches!(*name, "" | "NONE")) {
            flags = flags | Self::NAMES.iter().find(|(known, _)| *known == name)?.1;
        }
        Some(flags)
    }
}

impl BitOr for Flags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (name, _) in Self::NAMES.iter().filter(|(_, flag)| self.contains(*flag)) {
            write!(f, "{separator}{name}")?;
            separator = ",";
        }
        if separator.is_empty() { f.write_str("NONE") } else { Ok(()) }
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
