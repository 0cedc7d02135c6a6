use core::fmt;
use core::str::FromStr;

/// A text is not 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a hash is 64 hexadecimal digits")]
pub struct ParseHashError;

fn parse(text: &str) -> Result<[u8; 32], ParseHashError> {
    let digits: &[u8; 64] = text.as_bytes().try_into().map_err(|_| ParseHashError)?;
    let digit = |byte: u8| char::from(byte).to_digit(16).ok_or(ParseHashError);
    let mut bytes = [0; 32];
    for (byte, [high, low]) in bytes.iter_mut().rev().zip(digits.as_chunks().0) {
        *byte = u8::try_from(digit(*high)? << 4 | digit(*low)?).map_err(|_| ParseHashError)?;
    }
    Ok(bytes)
}

macro_rules! hash_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// The bytes are in internal order; `Display` and `FromStr` are reversed hexadecimal.
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 32]);

        impl $name {
            /// The hash of 32 zero bytes, which stands for "none".
            pub const ZERO: Self = Self([0; 32]);
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().rev().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = ParseHashError;

            fn from_str(text: &str) -> Result<Self, ParseHashError> {
                parse(text).map(Self)
            }
        }
    };
}

hash_type! {
    /// The double SHA-256 of a transaction without its witnesses.
    Txid
}
hash_type! {
    /// The double SHA-256 of a whole transaction. Spec: BIP-0141.
    Wtxid
}
hash_type! {
    /// The double SHA-256 of a header.
    BlockHash
}
hash_type! {
    /// The merkle root of a block's transactions.
    MerkleRoot
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn text_is_reversed_hexadecimal() {
        let mut hash = Txid::ZERO;
        hash.0[0] = 0x1f;
        let text = hash.to_string();
        assert!(text.ends_with("001f"));
        assert_eq!(text.parse(), Ok(hash));
        assert_eq!(text[1..].parse::<Txid>(), Err(ParseHashError));
        assert_eq!(text.replace('f', "g").parse::<Txid>(), Err(ParseHashError));
    }
}
