//! A world's coins in key order, however many there are: sorted in parts that fit into memory.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, Write};
use std::sync::atomic::Ordering::Acquire;

use caesure_consensus::Coin;
use caesure_wire::OutPoint;

use crate::Error;
use crate::coin::{CoinView, code_of};
use crate::table::Place;
use crate::world::World;

/// What a coin takes while it is sorted, about.
const COIN_BYTES: u64 = 128;
/// Into how many files the coins are parted, at most.
const PARTS_MAX: u64 = 512;

impl World {
    /// Visits all coins in key order: by txid in internal order, then by index. Core: the order of
    /// `CCoinsViewDB`'s cursor.
    ///
    /// Memory is bounded by [`Options::sort`](crate::Options::sort); what is more is parted into files
    /// without a name in the ledger's folder. Blocks can be connected meanwhile.
    ///
    /// # Errors
    /// [`Error::NotHeld`] when the block leaves the window before the end, and whatever the disk says.
    pub fn for_each(&self, mut visit: impl FnMut(&OutPoint, &Coin)) -> Result<(), Error> {
        self.for_each_while(|outpoint, coin| {
            visit(outpoint, coin);
            true
        })
    }

    /// Visits coins in key order, until `visit` returns false.
    ///
    /// # Errors
    /// As [`for_each`](Self::for_each).
    pub fn for_each_while(&self, visit: impl FnMut(&OutPoint, &Coin) -> bool) -> Result<(), Error> {
        let coins = self.shared.table.live();
        let budget = self.shared.sort;
        let parts = (coins * COIN_BYTES).div_ceil(budget).clamp(1, PARTS_MAX);
        if parts == 1 {
            self.sort_in_memory(visit)
        } else {
            self.sort_in_parts(parts, budget, visit)
        }
    }

    /// The places of the world's coins in a part of the log, in its order.
    fn places(&self, from: Place, to: Place, places: &mut Vec<Place>) -> Result<(), Error> {
        let shared = &self.shared;
        places.clear();
        // Those beside the table first: they can go into it meanwhile, but not out of it.
        let extras = shared.extras.load();
        for &place in extras.values().flatten().filter(|place| (from..to).contains(*place)) {
            if shared.is_place_in(&self.entry, place)? {
                places.push(place);
            }
        }
        let mut failed = Ok(());
        let floor = || shared.floor.load(Acquire);
        let place_of = |slot| shared.place(slot);
        shared.table.for_each(floor, place_of, |floor, place, is_spent_somewhere| {
            if !(from..to).contains(&place) || failed.is_err() {
                return;
            }
            // What a dropped block made was gone before the floor rose above it.
            let is_old = place * 4 < floor && !is_spent_somewhere;
            match if is_old { Ok(true) } else { shared.is_place_in(&self.entry, place) } {
                Ok(true) => places.push(place),
                Ok(false) => {}
                Err(error) => failed = Err(error),
            }
        })?;
        failed?;
        places.sort_unstable();
        places.dedup();
        self.check_held()
    }

    /// Asks for the lines of coins that are read soon after the one at `at` of a list.
    fn prefetch_ahead(&self, at: usize, place: impl Fn(usize) -> Option<Place>) {
        if let Some(place) = place(at + 32) {
            self.shared.log.prefetch(place);
        }
        if let Some(place) = place(at + 16) {
            self.shared.log.prefetch_rest(place);
        }
    }

    fn sort_in_memory(&self, mut visit: impl FnMut(&OutPoint, &Coin) -> bool) -> Result<(), Error> {
        let (mut places, mut sorted) = (Vec::new(), Vec::new());
        self.places(0, Place::MAX, &mut places)?;
        for (at, &place) in places.iter().enumerate() {
            self.prefetch_ahead(at, |at| places.get(at).copied());
            sorted.push((self.shared.log.coin(place)?.outpoint(), place));
        }
        drop(places);
        sorted.sort_unstable();
        for (at, &(outpoint, place)) in sorted.iter().enumerate() {
            self.prefetch_ahead(at, |at| sorted.get(at).map(|(_, place)| *place));
            if !visit(&outpoint, &self.shared.log.coin(place)?.coin()) {
                break;
            }
        }
        Ok(())
    }

    fn sort_in_parts(
        &self,
        parts: u64,
        budget: u64,
        mut visit: impl FnMut(&OutPoint, &Coin) -> bool,
    ) -> Result<(), Error> {
        let folder = &self.shared.folder;
        let file = || tempfile::tempfile_in(folder).map(BufWriter::new);
        let files = (0..parts).map(|_| file()).collect::<Result<Vec<_>, _>>();
        let mut files = files.map_err(Error::io(folder))?;
        let end = self.shared.log.len() / 4 + 1;
        // Places take eight bytes, and the log is read once in its order.
        let passes = (self.shared.table.live() * 8).div_ceil(budget / 2).max(1);
        let mut places = Vec::new();
        for pass in 0..passes {
            self.places(end * pass / passes, end * (pass + 1) / passes, &mut places)?;
            for (at, &place) in places.iter().enumerate() {
                self.prefetch_ahead(at, |at| places.get(at).copied());
                let coin = self.shared.log.coin(place)?;
                let prefix = u64::from(u16::from_be_bytes([coin.txid[0], coin.txid[1]]));
                let part = usize::try_from((prefix * parts) >> 16).expect("there are few parts");
                write(&mut files[part], &coin).map_err(Error::io(folder))?;
            }
        }
        drop(places);
        for file in files {
            let file = file.into_inner().map_err(std::io::IntoInnerError::into_error);
            let coins = file.and_then(read_part).map_err(Error::io(folder))?;
            if !coins.iter().all(|(outpoint, coin)| visit(outpoint, coin)) {
                break;
            }
        }
        Ok(())
    }
}

fn write(file: &mut BufWriter<File>, coin: &CoinView<'_>) -> std::io::Result<()> {
    file.write_all(&coin.outpoint().to_bytes())?;
    file.write_all(&coin.code.to_le_bytes())?;
    file.write_all(&coin.value.to_le_bytes())?;
    file.write_all(&u32::try_from(coin.script().len()).unwrap_or(u32::MAX).to_le_bytes())?;
    file.write_all(coin.script())
}

/// Reads a part back and sorts it.
fn read_part(mut file: File) -> std::io::Result<Vec<(OutPoint, Coin)>> {
    let len = file.stream_position()?;
    file.rewind()?;
    let mut file = BufReader::with_capacity(1 << 20, file);
    let (mut coins, mut read) = (Vec::new(), 0);
    while read < len {
        let (mut outpoint, mut fixed) = ([0; 36], [0; 16]);
        file.read_exact(&mut outpoint)?;
        file.read_exact(&mut fixed)?;
        let [code, low, high, size] = [0, 4, 8, 12]
            .map(|at| u32::from_le_bytes([fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]]));
        let mut script_pubkey =
            vec![0; usize::try_from(size).unwrap_or(usize::MAX)].into_boxed_slice();
        file.read_exact(&mut script_pubkey)?;
        read += 52 + u64::from(size);
        let coin = Coin {
            value: (u64::from(high) << 32 | u64::from(low)).cast_signed(),
            height: code >> 1,
            is_coinbase: code & 1 == 1,
            script_pubkey: script_pubkey.into_vec().into(),
        };
        debug_assert_eq!(code, code_of(coin.height, coin.is_coinbase));
        coins.push((OutPoint::from_bytes(&outpoint), coin));
    }
    coins.sort_unstable_by_key(|(outpoint, _)| *outpoint);
    Ok(coins)
}
