//! Hexadecimal, Base58Check, Bech32 and Bech32m as Bitcoin uses them
