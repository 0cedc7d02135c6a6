//! A snapshot as the beginning of a ledger.

use std::path::Path;

use caesure_consensus::{Coin, Params};
use caesure_hash::Sha256;
use caesure_wire::{BlockHash, OutPoint};

use crate::coin::{code_of, push_coin, push_entry, push_head};
use crate::disk::Disk;
use crate::log::{FILE_HEAD, Kind, Log, new_record, push_info};
use crate::open::paths;
use crate::{BlockInfo, Error, Ledger, Options, secret};

/// How long a record of coins gets, about.
const RECORD_LEN: usize = 4 << 20;

impl Ledger {
    /// Makes the coins of a snapshot the beginning of the ledger of a folder that has none yet. The
    /// ledger is then not verified until validation from genesis has reached the snapshot's block.
    ///
    /// The coins come in key order, and count only if they have the hash `expected`
    /// (`hash_serialized_3`, in internal order), which the caller trusts. Of `base`, the sum of the
    /// coins and the fees are set here: fees count from the snapshot on.
    ///
    /// # Errors
    /// When the folder's ledger is not empty, a coin cannot be read (`E`), or the hash is another.
    ///
    /// # Panics
    /// When a coin's script is longer than 32 MiB.
    pub fn load<E: From<Error>>(
        folder: &Path,
        params: &Params,
        base: BlockInfo,
        options: Options,
        coins: &mut dyn Iterator<Item = Result<(OutPoint, Coin), E>>,
        expected: [u8; 32],
    ) -> Result<(), E> {
        let (log_path, table_path) = paths(folder);
        let disk = Disk(options.watch);
        let log = Log::open(log_path.clone(), params.magic, secret(), disk.clone(), true)?;
        let log = log.expect("a writer makes the log").chunks_from(options.chunks_from);
        if log.record(FILE_HEAD)?.is_some() {
            return Err(Error::NotEmpty { path: log_path }.into());
        }
        log.truncate(FILE_HEAD)?;
        disk.remove(&table_path)?;
        match append_coins(&log, base, coins, expected) {
            Ok(()) => {
                log.cut_zeros();
                Ok(())
            }
            Err(error) => {
                // What was written says nothing without the record at its end.
                let _ = log.truncate(FILE_HEAD);
                Err(error)
            }
        }
    }

    /// Says that validation from genesis has reached the snapshot's block and found the same set, and
    /// these fees up to it. Fees of worlds include them from the next start on.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn mark_verified(&mut self, fees: i64) -> Result<(), Error> {
        self.check()?;
        let mut record = new_record(Kind::Verified);
        record.extend_from_slice(&fees.to_le_bytes());
        self.shared.log.append(Kind::Verified, record)?;
        self.shared.set_verified_fees(Some(fees));
        self.sync()
    }
}

fn append_coins<E: From<Error>>(
    log: &Log,
    mut base: BlockInfo,
    coins: &mut dyn Iterator<Item = Result<(OutPoint, Coin), E>>,
    expected: [u8; 32],
) -> Result<(), E> {
    let (mut hash, mut entry) = (Sha256::new(), Vec::new());
    let mut record = new_record(Kind::Coins);
    (base.total, base.fees) = (0, 0);
    for coin in coins {
        let (outpoint, coin) = coin?;
        entry.clear();
        push_entry(&mut entry, &outpoint, &coin);
        hash.update(&entry);
        base.total += coin.value;
        let head = record.len();
        push_head(&mut record, &outpoint.txid, code_of(coin.height, coin.is_coinbase), 1, 0);
        push_coin(&mut record, head, outpoint.vout, coin.value, &coin.script_pubkey);
        if RECORD_LEN <= record.len() {
            log.append(Kind::Coins, record)?;
            record = new_record(Kind::Coins);
        }
    }
    log.append(Kind::Coins, record)?;
    let found = hash.finish_double();
    if found != expected {
        let (found, expected) = (BlockHash(found), BlockHash(expected));
        return Err(Error::SnapshotHash { found, expected }.into());
    }
    log.sync()?;
    let mut record = new_record(Kind::Base);
    push_info(&mut record, &base);
    record.extend_from_slice(&found);
    log.append(Kind::Base, record)?;
    log.sync()?;
    Ok(())
}
