//! The files of the first Caesure, of 2014: `metadata.bin` version 1 and `utxo.bin` version 3.
//!
//! Both are streams of BER objects, of which a part of the codec is here. The bytes are in
//! `docs/snapshot-files.md`. The keys of `utxo.bin` hold half of a transaction's id, so it can be
//! looked at and compared, and can never be taken for a set of coins that blocks may spend.

use std::io::{self, BufRead, Write};

use caesure_consensus::{Coin, is_money};
use caesure_wire::{BlockHash, OutPoint};

use crate::format::{FormatError, FormatFault, Source};

const INTEGER: u8 = 0x02;
const OCTETS: u8 = 0x04;
const SEQUENCE: u8 = 0x30;
/// What the original's codec made of a Python tuple.
const TUPLE: u8 = 0xa0;

/// The longest object that the original's codec read.
const MAX_LENGTH: u64 = 1 << 31;

/// The first object of a file, which tells what file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// That of `metadata.bin`, with the number of its blocks.
    Metadata(u64),
    /// That of `utxo.bin`.
    Coins(CoinsHeader),
}

/// What follows the header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A block of `metadata.bin`, in any order.
    Block(BlockEntry),
    /// A coin of `utxo.bin`, in the order of keys.
    Coin(CoinEntry),
}

/// A block that `metadata.bin` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockEntry {
    /// The block.
    pub block: BlockHash,
    /// Where its record begins in `blocks.bin`, in bytes.
    pub position: u64,
    /// Its height.
    pub height: u32,
    /// Its parent, zero for block 0.
    pub prev_block: BlockHash,
}

/// What `utxo.bin` says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoinsHeader {
    /// The height of the block whose set it is.
    pub height: u32,
    /// The block.
    pub block: BlockHash,
    /// The sum of all unspent outputs, in satoshi.
    pub total: i64,
    /// The satoshi that could have been claimed and are in no output.
    pub lost: i64,
    /// The sum of all fees ever paid, in satoshi.
    pub fees: i64,
    /// How many coins follow.
    pub coins: u64,
}

/// A coin in `utxo.bin`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoinEntry {
    /// The first half of the transaction's id, in internal order.
    pub txid: [u8; 16],
    /// The index of the output.
    pub vout: u16,
    /// The amount in satoshi.
    pub value: i64,
    /// The script that locks it.
    pub script_pubkey: Box<[u8]>,
}

/// Reads a file and visits what it holds; what was visited before an error was read well.
///
/// The order of keys, the range of amounts, the number of entries and the end of the file are
/// checked; the sums in the header are not.
///
/// # Errors
/// When the file cannot be read, is damaged, or is neither of both.
pub fn read(input: impl BufRead, mut visit: impl FnMut(Entry)) -> Result<Header, FormatError> {
    let mut source = Source::new(input);
    let end = source.open(SEQUENCE)?;
    let at = source.offset;
    let header = match source.integer()? {
        1 => Header::Metadata(source.unsigned()?),
        3 => Header::Coins(CoinsHeader {
            height: source.unsigned()?,
            block: BlockHash(source.octets()?),
            total: source.integer()?,
            lost: source.integer()?,
            fees: source.integer()?,
            coins: source.unsigned()?,
        }),
        version => return Err(FormatFault::UnknownVersion(version).at(at)),
    };
    source.close(end)?;
    match header {
        Header::Metadata(blocks) => {
            for _ in 0..blocks {
                visit(Entry::Block(read_block(&mut source)?));
            }
        }
        Header::Coins(CoinsHeader { coins, .. }) => {
            let mut last = None;
            for _ in 0..coins {
                visit(Entry::Coin(read_coin(&mut source, &mut last)?));
            }
        }
    }
    source.finish().map(|()| header)
}

/// Writes `utxo.bin`, coin by coin, under a header that must be known before.
#[derive(Debug)]
pub struct CoinsWriter<W> {
    out: W,
    /// How many coins the header still promises.
    left: u64,
    last: Option<[u8; 18]>,
}

impl<W: Write> CoinsWriter<W> {
    /// Writes the header.
    ///
    /// # Errors
    /// Those of `out`, and `InvalidInput` when there are 2^63 coins or more.
    pub fn new(mut out: W, header: &CoinsHeader) -> io::Result<Self> {
        let mut fields = Vec::new();
        push_integer(&mut fields, 3);
        push_integer(&mut fields, header.height.into());
        push_object(&mut fields, OCTETS, &header.block.0);
        let coins = i64::try_from(header.coins).map_err(|_| invalid(FormatFault::WrongCount))?;
        for amount in [header.total, header.lost, header.fees, coins] {
            push_integer(&mut fields, amount);
        }
        let mut object = Vec::new();
        push_object(&mut object, SEQUENCE, &fields);
        out.write_all(&object)?;
        Ok(Self { out, left: header.coins, last: None })
    }

    /// Writes a coin, which must come behind the one before in key order.
    ///
    /// # Errors
    /// Those of `out`, and `InvalidInput` when the coin is out of order or has the same key as the
    /// one before, its index is over 65,535, or the header promised fewer.
    pub fn push(&mut self, outpoint: &OutPoint, coin: &Coin) -> io::Result<()> {
        let vout = u16::try_from(outpoint.vout).map_err(|_| invalid(FormatFault::BadNumber))?;
        let mut key = [0; 18];
        key[..16].copy_from_slice(&outpoint.txid.0[..16]);
        key[16..].copy_from_slice(&vout.to_be_bytes());
        if self.last.replace(key).is_some_and(|last| key <= last) {
            return Err(invalid(FormatFault::OutOfOrder));
        }
        let left = self.left.checked_sub(1);
        self.left = left.ok_or_else(|| invalid(FormatFault::WrongCount))?;
        let mut fields = Vec::new();
        push_object(&mut fields, OCTETS, &key);
        push_integer(&mut fields, coin.value);
        push_object(&mut fields, OCTETS, &coin.script_pubkey);
        let mut object = Vec::new();
        push_object(&mut object, TUPLE, &fields);
        self.out.write_all(&object)
    }

    /// Returns `out`, flushed.
    ///
    /// # Errors
    /// Those of `out`, and `InvalidInput` when the header promised more coins.
    pub fn finish(mut self) -> io::Result<W> {
        if self.left != 0 {
            return Err(invalid(FormatFault::WrongCount));
        }
        self.out.flush()?;
        Ok(self.out)
    }
}

fn invalid(fault: FormatFault) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, fault)
}

fn read_block<R: BufRead>(source: &mut Source<R>) -> Result<BlockEntry, FormatError> {
    let end = source.open(SEQUENCE)?;
    let entry = BlockEntry {
        block: BlockHash(source.octets()?),
        position: source.unsigned()?,
        height: source.unsigned()?,
        prev_block: BlockHash(source.octets()?),
    };
    source.close(end).map(|()| entry)
}

fn read_coin<R: BufRead>(
    source: &mut Source<R>,
    last: &mut Option<[u8; 18]>,
) -> Result<CoinEntry, FormatError> {
    let end = source.open(TUPLE)?;
    let at = source.offset;
    let key: [u8; 18] = source.octets()?;
    if last.replace(key).is_some_and(|last| key <= last) {
        return Err(FormatFault::OutOfOrder.at(at));
    }
    let at = source.offset;
    let value = source.integer()?;
    if !is_money(value) {
        return Err(FormatFault::BadAmount.at(at));
    }
    let length = source.tag(OCTETS)?;
    let script_pubkey = source.bytes(length)?.into();
    let [txid @ .., high, low] = key;
    let vout = u16::from_be_bytes([high, low]);
    source.close(end).map(|()| CoinEntry { txid, vout, value, script_pubkey })
}

/// The decoding half of the codec.
impl<R: BufRead> Source<R> {
    /// Takes a tag and a definite length.
    fn tag(&mut self, tag: u8) -> Result<usize, FormatError> {
        let at = self.offset;
        let [found, first] = self.array()?;
        let unexpected = || FormatFault::UnexpectedField.at(at);
        if found != tag {
            return Err(unexpected());
        }
        let length = match first {
            0..=0x7f => first.into(),
            0x81..=0x84 => {
                let bytes = self.bytes((first & 0x7f).into())?;
                bytes.iter().fold(0, |length, byte| length << 8 | u64::from(*byte))
            }
            _ => return Err(unexpected()),
        };
        usize::try_from(length).ok().filter(|_| length <= MAX_LENGTH).ok_or_else(unexpected)
    }

    /// Begins an object that holds others, and returns where it ends.
    fn open(&mut self, tag: u8) -> Result<u64, FormatError> {
        let length = self.tag(tag)?;
        Ok(self.offset + length as u64)
    }

    /// Checks that an object ends here.
    fn close(&self, end: u64) -> Result<(), FormatError> {
        if self.offset == end { Ok(()) } else { Err(FormatFault::UnexpectedField.at(self.offset)) }
    }

    fn integer(&mut self) -> Result<i64, FormatError> {
        let at = self.offset;
        let length = self.tag(INTEGER)?;
        if !(1..=8).contains(&length) {
            return Err(FormatFault::BadNumber.at(at));
        }
        let bytes = self.bytes(length)?;
        // The first byte has the sign.
        let start = if bytes[0] < 0x80 { 0 } else { -1 };
        Ok(bytes.iter().fold(start, |number, byte| number << 8 | i64::from(*byte)))
    }

    fn unsigned<T: TryFrom<i64>>(&mut self) -> Result<T, FormatError> {
        let at = self.offset;
        T::try_from(self.integer()?).map_err(|_| FormatFault::BadNumber.at(at))
    }

    fn octets<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        let at = self.offset;
        match self.tag(OCTETS)? {
            length if length == N => self.array(),
            _ => Err(FormatFault::UnexpectedField.at(at)),
        }
    }
}

fn push_integer(out: &mut Vec<u8>, number: i64) {
    let bytes = number.to_be_bytes();
    // Bytes that only repeat the sign of the next one are left out.
    let is_needed = |at: usize| match bytes[at] {
        0 => 0x80 <= bytes[at + 1],
        0xff => bytes[at + 1] < 0x80,
        _ => true,
    };
    let start = (0..7).find(|at| is_needed(*at)).unwrap_or(7);
    push_object(out, INTEGER, &bytes[start..]);
}

/// Appends a tag, the length in its shortest form, and the content.
fn push_object(out: &mut Vec<u8>, tag: u8, content: &[u8]) {
    let bytes = content.len().to_be_bytes();
    let start = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len() - 1);
    out.push(tag);
    if 0x80 <= content.len() {
        out.push(0x80 | (bytes.len() - start).to_le_bytes()[0]);
    }
    out.extend_from_slice(&bytes[start..]);
    out.extend_from_slice(content);
}

#[cfg(test)]
mod tests {
    use super::*;
    use caesure_wire::Txid;
    use proptest::prelude::*;

    type Read = (CoinsHeader, Vec<CoinEntry>);

    const GENESIS: [u8; 32] = *b"\x6f\xe2\x8c\x0a\xb6\xf1\xb3\x72\xc1\xa6\xa2\x46\xae\x63\xf7\x4f\
        \x93\x1e\x83\x65\xe1\x5a\x08\x9c\x68\xd6\x19\x00\x00\x00\x00\x00";

    /// Written by the original after it had read block 0.
    const METADATA: &str = "3006020101020101304a04206fe28c0ab6f1b372c1a6a246ae63f74f931e8365e15a089\
        c68d619000000000002010002010004200000000000000000000000000000000000000000000000000000000000\
        000000";

    const COINS: &str = "303802010302010004206fe28c0ab6f1b372c1a6a246ae63f74f931e8365e15a089c68d6190\
        0000000000205012a05f200020100020100020101a06004123ba3edfd7a7b12b27ac72c3e67768f610000020501\
        2a05f20004434104678afdb0fe5548271967f1a67130b7105cd6a828e03909a67962e0ea1f61deb649f6bc3f4ce\
        f38c4f35504e51ec112de5c384df7ba0b8d578a4c702b6bf11d5fac";

    fn unhex(text: &str) -> Vec<u8> {
        let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
        (0..text.len()).step_by(2).map(digit).collect()
    }

    fn metadata(bytes: &[u8]) -> Result<Vec<BlockEntry>, FormatError> {
        let mut blocks = Vec::new();
        read(bytes, |entry| match entry {
            Entry::Block(block) => blocks.push(block),
            Entry::Coin(_) => panic!("a utxo.bin"),
        })?;
        Ok(blocks)
    }

    fn coins(bytes: &[u8]) -> Result<Read, FormatError> {
        let mut coins = Vec::new();
        let header = read(bytes, |entry| match entry {
            Entry::Coin(coin) => coins.push(coin),
            Entry::Block(_) => panic!("a metadata.bin"),
        })?;
        match header {
            Header::Coins(header) => Ok((header, coins)),
            Header::Metadata(_) => panic!("a metadata.bin"),
        }
    }

    fn genesis() -> (CoinsHeader, OutPoint, Coin) {
        let block = BlockHash(GENESIS);
        let total = 5_000_000_000;
        let mut txid = Txid::ZERO;
        txid.0[..16].copy_from_slice(&unhex("3ba3edfd7a7b12b27ac72c3e67768f61"));
        let script_pubkey = unhex(COINS)[unhex(COINS).len() - 67..].into();
        (
            CoinsHeader { height: 0, block, total, lost: 0, fees: 0, coins: 1 },
            OutPoint { txid, vout: 0 },
            Coin { value: total, height: 0, is_coinbase: true, script_pubkey },
        )
    }

    #[test]
    fn the_originals_metadata_is_read() {
        let entry = BlockEntry {
            block: BlockHash(GENESIS),
            position: 0,
            height: 0,
            prev_block: BlockHash::ZERO,
        };
        assert_eq!(metadata(&unhex(METADATA)).unwrap(), [entry]);
    }

    #[test]
    fn the_originals_set_is_read_and_written() {
        let (header, outpoint, coin) = genesis();
        let entry = CoinEntry {
            txid: *outpoint.txid.0.first_chunk().unwrap(),
            vout: 0,
            value: coin.value,
            script_pubkey: coin.script_pubkey.to_vec().into(),
        };
        assert_eq!(coins(&unhex(COINS)).unwrap(), (header, vec![entry]));
        let mut writer = CoinsWriter::new(Vec::new(), &header).unwrap();
        writer.push(&outpoint, &coin).unwrap();
        assert_eq!(writer.finish().unwrap(), unhex(COINS));
    }

    #[test]
    fn numbers_have_the_forms_of_the_original() {
        for (number, form) in [
            (0, "020100"),
            (127, "02017f"),
            (128, "02020080"),
            (-1, "0201ff"),
            (-128, "020180"),
            (-129, "0202ff7f"),
            (5_000_000_000, "0205012a05f200"),
            (1_424_995_815_123_456, "02070510 06b15dea00"),
            (i64::MAX, "02087fffffffffffffff"),
            (i64::MIN, "02088000000000000000"),
        ] {
            let form = unhex(&form.replace(' ', ""));
            let mut out = Vec::new();
            push_integer(&mut out, number);
            assert_eq!(out, form, "{number}");
            assert_eq!(Source::new(&form[..]).integer().unwrap(), number);
        }
    }

    #[test]
    fn lengths_of_every_width() {
        for (length, form) in [
            (0, "0400"),
            (127, "047f"),
            (128, "048180"),
            (256, "04820100"),
            (1 << 16, "0483010000"),
        ] {
            let mut out = Vec::new();
            push_object(&mut out, OCTETS, &vec![7; length]);
            assert_eq!(out, [unhex(form), vec![7; length]].concat());
            assert_eq!(Source::new(&out[..]).tag(OCTETS).unwrap(), length);
        }
        // Indefinite, five bytes, over 2 GiB; and a claim of 2 GiB costs nothing.
        for form in ["0480", "04850000000001", "048480000001"] {
            assert!(Source::new(&unhex(form)[..]).tag(OCTETS).is_err(), "{form}");
        }
        assert_eq!(Source::new(&unhex("048480000000")[..]).tag(OCTETS).unwrap(), 1 << 31);
        assert!(Source::new(&unhex("07")[..]).bytes(1 << 31).is_err());
    }

    #[test]
    fn a_file_cut_anywhere_is_refused_where_it_ends() {
        let check = |bytes: &[u8], read: &dyn Fn(&[u8]) -> Option<FormatError>| {
            for end in 0..bytes.len() {
                let error = read(&bytes[..end]).unwrap();
                let offset = usize::try_from(error.offset).unwrap();
                assert!(matches!(error.fault, FormatFault::UnexpectedEnd), "{end}: {error}");
                assert!(offset <= end && end < offset + 67, "{end}: {error}");
            }
        };
        check(&unhex(METADATA), &|bytes| metadata(bytes).err());
        check(&unhex(COINS), &|bytes| coins(bytes).err());
    }

    #[test]
    fn a_changed_byte_gives_an_error_or_another_set() {
        let good = coins(&unhex(COINS)).unwrap();
        for at in 5..unhex(COINS).len() {
            for bit in 0..8 {
                let mut bytes = unhex(COINS);
                bytes[at] ^= 1 << bit;
                match coins(&bytes) {
                    Ok(other) => assert_ne!(other, good, "byte {at}, bit {bit}"),
                    Err(error) => assert!(error.offset <= bytes.len() as u64, "{error}"),
                }
            }
        }
    }

    #[test]
    fn every_rule_is_kept_and_names_its_place() {
        let fault = |old: &str, new: &str| {
            assert_eq!(COINS.matches(old).count(), 1, "{old}");
            let error = coins(&unhex(&COINS.replace(old, new))).unwrap_err();
            (error.fault, error.offset)
        };
        use FormatFault::*;
        assert!(matches!(fault("3038020103", "3138020103"), (UnexpectedField, 0)));
        assert!(matches!(fault("3038020103", "3038020104"), (UnknownVersion(4), 2)));
        assert!(matches!(fault("3038020103", "3039020103"), (UnexpectedField, 58)));
        assert!(matches!(fault("020101a060", "0201ffa060"), (BadNumber, 55)));
        assert!(matches!(fault("020101a060", "020100a060"), (TrailingBytes, 58)));
        assert!(matches!(fault("020101a060", "020102a060"), (UnexpectedEnd, 156)));
        assert!(matches!(fault("a0600412", "a0610412"), (UnexpectedField, 156)));
        assert!(matches!(fault("8f6100000205012a", "8f6100000205812a"), (BadAmount, 80)));
        let (entry, bytes) =
            (&unhex(COINS)[58..], unhex(&COINS.replace("020101a060", "020102a060")));
        let error = coins(&[&bytes, entry].concat()).unwrap_err();
        assert!(matches!((error.fault, error.offset), (OutOfOrder, 158)));
    }

    #[test]
    fn the_writer_keeps_what_its_header_promised() {
        let (header, first, coin) = genesis();
        let writer = || CoinsWriter::new(Vec::new(), &header).unwrap();
        assert!(writer().finish().is_err());
        let mut one = writer();
        one.push(&first, &coin).unwrap();
        assert!(one.push(&OutPoint { vout: 1, ..first }, &coin).is_err());
        let header = CoinsHeader { coins: 3, ..header };
        let mut three = CoinsWriter::new(Vec::new(), &header).unwrap();
        three.push(&first, &coin).unwrap();
        // The same first half of an id is the same key.
        let mut twin = first;
        twin.txid.0[31] = 1;
        assert!(three.push(&twin, &coin).is_err());
        assert!(three.push(&OutPoint { vout: 65_536, ..first }, &coin).is_err());
        three.push(&OutPoint { vout: 65_535, ..first }, &coin).unwrap();
    }

    proptest! {
        #[test]
        fn any_set_comes_back(
            height: u32,
            sums: [i64; 3],
            set in proptest::collection::btree_map(
                (0_u8..9, 0_u16..),
                (0..=2_100_000_000_000_000_i64, proptest::collection::vec(any::<u8>(), 0..300)),
                0..50,
            )
        ) {
            let [total, lost, fees] = sums;
            let block = BlockHash([3; 32]);
            let header = CoinsHeader { height, block, total, lost, fees, coins: set.len() as u64 };
            let mut writer = CoinsWriter::new(Vec::new(), &header).unwrap();
            let mut expected = Vec::new();
            for ((txid, vout), (value, script)) in set {
                let script_pubkey = script.clone().into();
                let coin = Coin { value, height: 1, is_coinbase: false, script_pubkey };
                writer.push(&OutPoint { txid: Txid([txid; 32]), vout: vout.into() }, &coin).unwrap();
                let script_pubkey = script.into();
                expected.push(CoinEntry { txid: [txid; 16], vout, value, script_pubkey });
            }
            prop_assert_eq!(coins(&writer.finish().unwrap()).unwrap(), (header, expected));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut entries = 0;
            let header = read(&bytes[..], |_| entries += 1);
            prop_assert!(entries <= bytes.len());
            prop_assert!(header.is_ok() || header.is_err_and(|it| it.offset <= bytes.len() as u64));
        }
    }
}
