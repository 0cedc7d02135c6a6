//! The many-worlds UTXO set: an immutable, complete set of unspent outputs for every recent block on every fork
