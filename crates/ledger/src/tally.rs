use caesure_consensus::Coin;
use caesure_hash::{MuHash3072, Sha256};
use caesure_wire::{OutPoint, Txid};

use crate::Summary;
use crate::coin::push_entry;

/// Counts and hashes a set whose coins come one by one in key order. Core: `ComputeUTXOStats`.
#[derive(Debug)]
pub struct Tally {
    txouts: u64,
    transactions: u64,
    total_amount: i64,
    bogosize: u64,
    last: Option<Txid>,
    hash: Sha256,
    muhash: Option<MuHash3072>,
    bytes: Vec<u8>,
}

impl Tally {
    /// Begins with no coin.
    #[must_use]
    pub fn new() -> Self {
        Self {
            txouts: 0,
            transactions: 0,
            total_amount: 0,
            bogosize: 0,
            last: None,
            hash: Sha256::new(),
            muhash: Some(MuHash3072::new()),
            bytes: Vec::new(),
        }
    }

    /// Begins with no coin, and leaves out `muhash`, which takes many times the other hash's time.
    #[must_use]
    pub fn without_muhash() -> Self {
        Self { muhash: None, ..Self::new() }
    }

    /// Takes the next coin. A sum over the range of amounts, which no valid set has, wraps.
    pub fn push(&mut self, outpoint: &OutPoint, coin: &Coin) {
        self.bytes.clear();
        push_entry(&mut self.bytes, outpoint, coin);
        self.hash.update(&self.bytes);
        if let Some(muhash) = &mut self.muhash {
            muhash.insert(&self.bytes);
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
            muhash: self.muhash.map_or([0; 32], |muhash| muhash.finish()),
        }
    }
}

impl Default for Tally {
    fn default() -> Self {
        Self::new()
    }
}
