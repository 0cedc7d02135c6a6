//! Core's file of a UTXO set: `dumptxoutset`, `loadtxoutset`, version 2.
//!
//! The bytes are in `docs/snapshot-files.md`. Core: `SnapshotMetadata`, `WriteUTXOSnapshot`,
//! `PopulateAndValidateSnapshot`.
//!
//! ```
//! use std::io::Cursor;
//!
//! use caesure_consensus::Coin;
//! use caesure_ledger::snapshot::{Reader, Writer};
//! use caesure_wire::{BlockHash, OutPoint, Txid};
//!
//! let outpoint = OutPoint { txid: Txid([7; 32]), vout: 1 };
//! let coin = Coin { value: 1, height: 9, is_coinbase: true, script_pubkey: [0x51][..].into() };
//! let mut writer = Writer::new(Cursor::new(Vec::new()), [0xfa, 0xbf, 0xb5, 0xda], BlockHash::ZERO)?;
//! writer.push(&outpoint, &coin)?;
//! let (_, file) = writer.finish()?;
//!
//! let mut reader = Reader::new(&file.get_ref()[..])?;
//! assert_eq!(reader.header().coins, 1);
//! assert_eq!(reader.next().unwrap()?, (outpoint, coin));
//! assert!(reader.next().is_none());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::io::{self, BufRead, Seek, SeekFrom, Write};
use std::ops::Range;
use std::vec;

use caesure_consensus::{Coin, is_money};
use caesure_wire::{BlockHash, OutPoint, Txid, push_compact_size};

use crate::compress::{
    compress_amount, decompress_amount, push_script, push_varint, read_script, read_varint,
};
use crate::format::{FormatError, FormatFault, Source};

/// The bytes that a snapshot begins with. Core: `SNAPSHOT_MAGIC_BYTES`.
pub const MAGIC: [u8; 5] = *b"utxo\xff";

/// The version that is read and written. Core: `SnapshotMetadata::VERSION`.
pub const VERSION: u16 = 2;

/// Where the number of coins stands.
const COUNT_OFFSET: u64 = 43;

/// Up to this index, the order of keys in Core's database is that of numbers.
const LAST_SORTED_VOUT: u32 = 16_511;

/// What a snapshot says of itself. Core: `SnapshotMetadata`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The network's magic bytes.
    pub magic: [u8; 4],
    /// The block whose set it is.
    pub base: BlockHash,
    /// How many coins follow.
    pub coins: u64,
}

/// Writes a snapshot, coin by coin.
///
/// The number of coins is put in at the end, so a file that was not finished is refused by every
/// reader. The coins of one transaction are held until the next one's come.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    coins: u64,
    last: Option<OutPoint>,
    /// The index of each coin of the last transaction, and where its bytes lie.
    group: Vec<(u32, Range<usize>)>,
    bytes: Vec<u8>,
}

impl<W: Write + Seek> Writer<W> {
    /// Writes the header. `out` is empty.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn new(mut out: W, magic: [u8; 4], base: BlockHash) -> io::Result<Self> {
        let parts: [&[u8]; 5] = [&MAGIC, &VERSION.to_le_bytes(), &magic, &base.0, &[0; 8]];
        out.write_all(&parts.concat())?;
        Ok(Self { out, coins: 0, last: None, group: Vec::new(), bytes: Vec::new() })
    }

    /// Writes a coin, which must come behind the one before in key order.
    ///
    /// # Errors
    /// Those of `out`, and `InvalidInput` when the coin is out of order.
    pub fn push(&mut self, outpoint: &OutPoint, coin: &Coin) -> io::Result<()> {
        if self.last.is_some_and(|last| *outpoint <= last) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, FormatFault::OutOfOrder));
        }
        if let Some(last) = self.last.replace(*outpoint)
            && last.txid != outpoint.txid
        {
            self.write_group(&last.txid)?;
        }
        let (bytes, vout) = (&mut self.bytes, outpoint.vout);
        let start = bytes.len();
        push_compact_size(bytes, usize::try_from(vout).unwrap_or(usize::MAX));
        push_varint(bytes, u64::from(coin.height) << 1 | u64::from(coin.is_coinbase));
        push_varint(bytes, compress_amount(coin.value.cast_unsigned()));
        push_script(bytes, &coin.script_pubkey);
        self.group.push((vout, start..bytes.len()));
        self.coins += 1;
        Ok(())
    }

    /// Puts the number of coins into the header, and returns it and `out`, flushed.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn finish(mut self) -> io::Result<(u64, W)> {
        if let Some(last) = self.last {
            self.write_group(&last.txid)?;
        }
        self.out.seek(SeekFrom::Start(COUNT_OFFSET))?;
        self.out.write_all(&self.coins.to_le_bytes())?;
        self.out.seek(SeekFrom::End(0))?;
        self.out.flush()?;
        Ok((self.coins, self.out))
    }

    fn write_group(&mut self, txid: &Txid) -> io::Result<()> {
        if self.group.last().is_some_and(|(vout, _)| LAST_SORTED_VOUT < *vout) {
            // Core walks its database, where the index is a varint: 16,512 stands before 256.
            self.group.sort_by_cached_key(|(vout, _)| {
                let mut key = Vec::new();
                push_varint(&mut key, (*vout).into());
                key
            });
        }
        let mut head = txid.0.to_vec();
        push_compact_size(&mut head, self.group.len());
        self.out.write_all(&head)?;
        for (_, range) in self.group.drain(..) {
            self.out.write_all(&self.bytes[range])?;
        }
        self.bytes.clear();
        Ok(())
    }
}

/// Reads a snapshot: an iterator over its coins in key order, which ends at the first error.
///
/// Every rule of Core's but the set's hash is checked: that is the caller's, who knows which hash
/// to trust. Beyond Core, transactions must come in key order, and each must have a coin. The coins
/// of one transaction are held at a time.
#[derive(Debug)]
pub struct Reader<R> {
    source: Source<R>,
    header: Header,
    base_height: u32,
    /// How many coins were not read yet.
    left: u64,
    last: Option<Txid>,
    group: vec::IntoIter<(OutPoint, Coin)>,
    has_ended: bool,
}

impl<R: BufRead> Reader<R> {
    /// Reads the header. Whether the network is the right one is for the caller to see.
    ///
    /// # Errors
    /// When the file cannot be read, or is no snapshot of version 2.
    pub fn new(input: R) -> Result<Self, FormatError> {
        let mut source = Source::new(input);
        if source.array()? != MAGIC {
            return Err(FormatFault::UnknownFormat.at(0));
        }
        let at = source.offset;
        let version = u16::from_le_bytes(source.array()?);
        if version != VERSION {
            return Err(FormatFault::UnknownVersion(version.into()).at(at));
        }
        let header = Header {
            magic: source.array()?,
            base: BlockHash(source.array()?),
            coins: u64::from_le_bytes(source.array()?),
        };
        Ok(Self {
            source,
            header,
            base_height: u32::MAX,
            left: header.coins,
            last: None,
            group: Vec::new().into_iter(),
            has_ended: false,
        })
    }

    /// Returns the header.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// Has coins refused that are younger than the set's block, once its height is known.
    pub const fn set_base_height(&mut self, height: u32) {
        self.base_height = height;
    }

    /// Reads the coins of the next transaction, sorted by index; none at the end.
    fn read_group(&mut self) -> Result<Option<Vec<(OutPoint, Coin)>>, FormatError> {
        if self.left == 0 {
            return self.source.finish().map(|()| None);
        }
        let at = self.source.offset;
        let txid = Txid(self.source.array()?);
        if self.last.replace(txid).is_some_and(|last| txid <= last) {
            return Err(FormatFault::OutOfOrder.at(at));
        }
        let count_at = self.source.offset;
        let count = self.source.compact_size()?.into();
        if count == 0 || self.left < count {
            return Err(FormatFault::WrongCount.at(count_at));
        }
        let mut group = Vec::new();
        for _ in 0..count {
            group.push(self.read_coin(txid)?);
        }
        self.left -= count;
        group.sort_by_key(|(outpoint, _)| *outpoint);
        if group.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return Err(FormatFault::OutOfOrder.at(at));
        }
        Ok(Some(group))
    }

    fn read_coin(&mut self, txid: Txid) -> Result<(OutPoint, Coin), FormatError> {
        let source = &mut self.source;
        let outpoint = OutPoint { txid, vout: source.compact_size()? };
        let at = source.offset;
        let code = read_varint(source, u32::MAX.into())?;
        let height = u32::try_from(code >> 1).map_err(|_| FormatFault::BadNumber.at(at))?;
        if self.base_height < height {
            return Err(FormatFault::TooYoung(height).at(at));
        }
        let at = source.offset;
        let amount = decompress_amount(read_varint(source, u64::MAX)?);
        let value = i64::try_from(amount).ok().filter(|value| is_money(*value));
        let value = value.ok_or_else(|| FormatFault::BadAmount.at(at))?;
        let script_pubkey = read_script(source)?.into_vec().into();
        Ok((outpoint, Coin { value, height, is_coinbase: code & 1 == 1, script_pubkey }))
    }
}

impl<R: BufRead> Iterator for Reader<R> {
    type Item = Result<(OutPoint, Coin), FormatError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.group.as_slice().is_empty() && !self.has_ended {
            match self.read_group() {
                Ok(Some(group)) => self.group = group.into_iter(),
                ended => {
                    self.has_ended = true;
                    return ended.err().map(Err);
                }
            }
        }
        self.group.next().map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::io::Cursor;

    type Coins = Vec<(OutPoint, Coin)>;

    const REGTEST: [u8; 4] = [0xfa, 0xbf, 0xb5, 0xda];
    const BASE: BlockHash = BlockHash([9; 32]);

    fn outpoint(txid: u8, vout: u32) -> OutPoint {
        OutPoint { txid: Txid([txid; 32]), vout }
    }

    fn coin(value: i64, height: u32, script: &[u8]) -> Coin {
        Coin { value, height, is_coinbase: height == 120_891, script_pubkey: script.into() }
    }

    fn p2pkh(hash: [u8; 20]) -> Vec<u8> {
        [&[0x76, 0xa9, 20][..], &hash, &[0x88, 0xac]].concat()
    }

    /// Two coins that Core's tests have the bytes of, and one more.
    fn three() -> Coins {
        let first =
            *b"\x81\x61\x15\x94\x4e\x07\x7f\xe7\xc8\x03\xcf\xa5\x7f\x29\xb3\x6b\xf8\x7c\x1d\x35";
        let second =
            *b"\x8c\x98\x8f\x1a\x4a\x4d\xe2\x16\x1e\x0f\x50\xaa\xc7\xf1\x7e\x7f\x95\x55\xca\xa4";
        vec![
            (outpoint(1, 0), coin(60_000_000_000, 203_998, &p2pkh(first))),
            (outpoint(1, 300), coin(110_397, 120_891, &p2pkh(second))),
            (outpoint(2, 7), coin(0, 0, &[])),
        ]
    }

    const THREE: &[u8] = b"\
        utxo\xff\x02\x00\xfa\xbf\xb5\xda\
        \x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\
        \x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\
        \x03\x00\x00\x00\x00\x00\x00\x00\
        \x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\
        \x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\
        \x02\
        \x00\x97\xf2\x3c\x83\x58\x00\
        \x81\x61\x15\x94\x4e\x07\x7f\xe7\xc8\x03\xcf\xa5\x7f\x29\xb3\x6b\xf8\x7c\x1d\x35\
        \xfd\x2c\x01\x8d\xdf\x77\xbb\xd1\x23\x00\
        \x8c\x98\x8f\x1a\x4a\x4d\xe2\x16\x1e\x0f\x50\xaa\xc7\xf1\x7e\x7f\x95\x55\xca\xa4\
        \x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\
        \x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\
        \x01\
        \x07\x00\x00\x06";

    fn write<'a>(coins: impl IntoIterator<Item = &'a (OutPoint, Coin)>) -> Vec<u8> {
        let mut writer = Writer::new(Cursor::new(Vec::new()), REGTEST, BASE).unwrap();
        for (outpoint, coin) in coins {
            writer.push(outpoint, coin).unwrap();
        }
        writer.finish().unwrap().1.into_inner()
    }

    fn read(bytes: &[u8]) -> Result<(Header, Coins), FormatError> {
        let reader = Reader::new(bytes)?;
        Ok((*reader.header(), reader.collect::<Result<_, _>>()?))
    }

    /// The fault of the file of three coins with some bytes replaced, and where it is.
    fn fault_of(at: usize, old: &[u8], new: &[u8]) -> (FormatFault, u64) {
        assert_eq!(THREE[at..at + old.len()], *old);
        let bytes = [&THREE[..at], new, &THREE[at + old.len()..]].concat();
        let error = read(&bytes).unwrap_err();
        (error.fault, error.offset)
    }

    #[test]
    fn a_file_of_three_coins_has_the_bytes_of_core() {
        assert_eq!(write(&three()), THREE);
        let header = Header { magic: REGTEST, base: BASE, coins: 3 };
        assert_eq!(read(THREE).unwrap(), (header, three()));
        assert_eq!(read(&write([])).unwrap().1, []);
    }

    #[test]
    fn a_file_cut_anywhere_is_refused_where_it_ends() {
        for end in 0..THREE.len() {
            let error = read(&THREE[..end]).unwrap_err();
            let offset = usize::try_from(error.offset).unwrap();
            assert!(matches!(error.fault, FormatFault::UnexpectedEnd), "{end}: {error}");
            assert!(offset <= end && end < offset + 32, "{end}: {error}");
        }
    }

    #[test]
    fn a_changed_byte_gives_an_error_or_another_set() {
        let good = read(THREE).unwrap();
        for at in 0..THREE.len() {
            for bit in 0..8 {
                let mut bytes = THREE.to_vec();
                bytes[at] ^= 1 << bit;
                match read(&bytes) {
                    Ok(other) => assert_ne!(other, good, "byte {at}, bit {bit}"),
                    Err(error) => assert!(error.offset <= THREE.len() as u64, "{error}"),
                }
            }
        }
    }

    #[test]
    fn every_rule_is_kept_and_names_its_place() {
        use FormatFault::*;
        assert!(matches!(fault_of(0, b"u", b"U"), (UnknownFormat, 0)));
        assert!(matches!(fault_of(5, &[2], &[1]), (UnknownVersion(1), 5)));
        assert!(matches!(fault_of(43, &[3], &[2]), (TrailingBytes, 141)));
        assert!(matches!(fault_of(43, &[3], &[1]), (WrongCount, 83)));
        assert!(matches!(fault_of(43, &[3], &[4]), (UnexpectedEnd, 178)));
        assert!(matches!(fault_of(83, &[2], &[0]), (WrongCount, 83)));
        assert!(matches!(fault_of(84, &[0], &[0xfe, 1, 0, 0, 2]), (BadNumber, 84)));
        assert!(matches!(fault_of(84, &[0], &[0xfd, 0, 0]), (BadNumber, 84)));
        assert!(matches!(fault_of(84, &[0], &[0xfd, 0x2c, 1]), (OutOfOrder, 51)));
        assert!(matches!(fault_of(51, &[1; 32], &[2; 32]), (OutOfOrder, 141)));
        assert!(matches!(fault_of(51, &[1; 32], &[3; 32]), (OutOfOrder, 141)));
        assert!(matches!(fault_of(175, &[0], &[0xff; 9]), (BadNumber, 175)));
        assert!(matches!(fault_of(177, &[6], &[6, 0]), (TrailingBytes, 178)));
        assert!(matches!(fault_of(177, &[6], &[7]), (UnexpectedEnd, 178)));
    }

    #[test]
    fn amounts_end_at_21_million_bitcoins_and_do_not_wrap_into_range() {
        for (amount, is_right) in [(2_100_000_000_000_000, true), (2_100_000_000_000_001, false)] {
            let bytes = write(&[(outpoint(1, 0), coin(amount, 1, &[]))]);
            assert_eq!(read(&bytes).is_ok(), is_right, "{amount}");
        }
        let bytes = write(&[(outpoint(1, 0), coin(-1, 1, &[]))]);
        assert!(matches!(read(&bytes).unwrap_err().fault, FormatFault::BadAmount));
    }

    #[test]
    fn a_coin_above_the_base_is_refused() {
        let bytes = write(&three());
        for (height, is_right) in [(203_998, true), (203_997, false)] {
            let mut reader = Reader::new(&bytes[..]).unwrap();
            reader.set_base_height(height);
            let last = reader.last().unwrap();
            assert_eq!(last.is_ok(), is_right);
            if let Err(error) = last {
                assert_eq!(
                    error.to_string(),
                    "a coin of height 203998 is younger than the block of this set, at offset 85"
                );
            }
        }
    }

    #[test]
    fn many_outputs_stand_in_the_order_of_cores_database_and_are_read_in_that_of_numbers() {
        let coins: Coins =
            (0..17_000).map(|vout| (outpoint(1, vout), coin(1, 1, &[0x51]))).collect();
        let bytes = write(&coins);
        assert_eq!(read(&bytes).unwrap().1, coins);
        // A CompactSize of three bytes, then three of the coin and its script.
        let place = |vout: u16| {
            let form = [&[0xfd][..], &vout.to_le_bytes(), &[2, 1, 7, 0x51]].concat();
            bytes.windows(7).position(|it| it == form).unwrap()
        };
        let places = [253, 255, 16_512, 16_999, 256, 16_511].map(place);
        assert!(places.is_sorted(), "{places:?}");
    }

    #[test]
    fn the_writer_takes_no_disorder_and_what_is_not_finished_is_refused() {
        let mut file = Cursor::new(Vec::new());
        let mut writer = Writer::new(&mut file, REGTEST, BASE).unwrap();
        let coin = coin(1, 1, &[]);
        writer.push(&outpoint(2, 1), &coin).unwrap();
        for wrong in [outpoint(2, 1), outpoint(2, 0), outpoint(1, 9)] {
            assert!(writer.push(&wrong, &coin).is_err());
        }
        writer.push(&outpoint(3, 0), &coin).unwrap();
        drop(writer);
        let error = read(file.get_ref()).unwrap_err();
        assert!(matches!(error.fault, FormatFault::TrailingBytes), "{error}");
    }

    #[test]
    fn nothing_comes_after_an_error() {
        let mut reader = Reader::new(&THREE[..170]).unwrap();
        assert_eq!(reader.by_ref().filter(Result::is_ok).count(), 2);
        assert!(reader.next().is_none());
    }

    fn any_script() -> impl Strategy<Value = Vec<u8>> {
        let key = any::<[u8; 32]>().prop_map(|x| [&[33, 3][..], &x, &[0xac]].concat());
        let hash = any::<[u8; 20]>().prop_map(|x| [&[0xa9, 20][..], &x, &[0x87]].concat());
        let any_bytes = proptest::collection::vec(any::<u8>(), 0..200);
        prop_oneof![any::<[u8; 20]>().prop_map(p2pkh), hash, key, any_bytes]
    }

    proptest! {
        #[test]
        fn any_set_comes_back(
            set in proptest::collection::btree_map(
                (0_u8..20, 0_u32..40_000),
                (0..=2_100_000_000_000_000_i64, 0_u32..1 << 31, any::<bool>(), any_script()),
                0..100,
            )
        ) {
            let coins: BTreeMap<OutPoint, Coin> = set
                .into_iter()
                .map(|((txid, vout), (value, height, is_coinbase, script))| {
                    let script_pubkey = script.into();
                    (outpoint(txid, vout), Coin { value, height, is_coinbase, script_pubkey })
                })
                .collect();
            let coins: Coins = coins.into_iter().collect();
            prop_assert_eq!(read(&write(&coins)).unwrap().1, coins);
        }

        #[test]
        fn any_bytes_give_coins_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let bytes = [&THREE[..51], &bytes].concat();
            if let Err(error) = read(&bytes) {
                prop_assert!(error.offset <= bytes.len() as u64);
            }
        }
    }
}
