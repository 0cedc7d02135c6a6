use caesure_consensus::Coin;
use caesure_hash::{MuHash3072, Sha256};
use caesure_wire::{OutPoint, Txid};

use crate::Summary;
use crate::coin::push_entry;

/// Counts and hashes a set whose coins come one by one in key order. Core: `ComputeUTXOStats`.
#[derive(Debug, Default)]
pub struct Tally {
    txouts: u64,
    transactions: u64,
    total_amount: i64,
    bogosize: u64,
    last: Option<Txid>,
    hash: Sha256,
    muhash: MuHash3072,
    without_muhash: bool,
    bytes: Vec<u8>,
}

impl Tally {
    /// Begins with no coin, and leaves out `muhash`, which takes many times the other hash's time.
    #[must_use]
    pub fn without_muhash() -> Self {
        Self { without_muhash: true, ..Self::default() }
    }

    /// Takes the next coin. A sum over the range of amounts, which no valid set has, wraps.
    pub fn push(&mut self, outpoint: &OutPoint, coin: &Coin) {
        self.bytes.clear();
        push_entry(&mut self.bytes, outpoint, coin);
        self.hash.update(&self.bytes);
        if !self.without_muhash {
            self.muhash.insert(&self.bytes);
        }
        self.txouts += 1;
        self.transactions += u64::from(self.last.replace(outpoint.txid) != Some(outpoint.txid));
        self.total_amount = self.total_amount.wrapping_add(coin.value);
        self.bogosize += 50 + coin.script_pubkey.len() as u64;
    }

    /// Returns the sums and both hashes.
    #[must_use]
    pub fn finish(self) -> Summary {
        Summary {
            txouts: self.txouts,
            transactions: self.transactions,
            total_amount: self.total_amount,
            bogosize: self.bogosize,
            hash_serialized_3: self.hash.finish_double(),
            muhash: self.muhash.finish(),
        }
    }
}
