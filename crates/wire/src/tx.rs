use alloc::vec::Vec;

use caesure_hash::{Sha256, sha256d};

use crate::walk::{Place, walk_tx};
use crate::{DecodeError, OutPoint, Reader, Transaction, TxIn, TxOut, Txid, Wtxid};

const READ_BEFORE: &str = "the walk read it before";

/// Where the parts of transactions lie in their bytes; one for a whole block.
#[derive(Clone, Debug)]
pub(crate) struct Arena {
    pub(crate) txs: Vec<TxSpan>,
    /// Where each input begins, each output, and, in a transaction with witnesses, the witness stack
    /// of each input: one transaction after the other.
    starts: Vec<u32>,
}

/// A transaction in an arena: `first` is an index into its `starts`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TxSpan {
    place: Place,
    first: u32,
}

impl Arena {
    /// Makes room for `tx_count` transactions of common size, though not for more than a block has.
    pub(crate) fn with_capacity(tx_count: usize) -> Self {
        let tx_count = tx_count.min(10_000);
        Self { txs: Vec::with_capacity(tx_count), starts: Vec::with_capacity(8 * tx_count) }
    }

    /// Reads one transaction and appends its spans.
    pub(crate) fn read_tx(&mut self, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        let first = self.starts.len();
        let place = walk_tx(reader, |start, _| self.starts.push(start))?;
        let first = u32::try_from(first).expect("each part takes one of under 2^32 bytes");
        self.txs.push(TxSpan { place, first });
        Ok(())
    }

    #[inline]
    pub(crate) fn view<'a>(&'a self, bytes: &'a [u8], span: &'a TxSpan) -> TxView<'a> {
        TxView { bytes, place: &span.place, starts: &self.starts[span.first as usize..] }
    }
}

/// One transaction over its own bytes.
#[derive(Clone, Debug)]
pub struct Tx<B> {
    bytes: B,
    arena: Arena,
}

impl<B: AsRef<[u8]>> Tx<B> {
    /// Reads a transaction that fills `bytes`, in the form with witnesses or without.
    ///
    /// # Errors
    /// When the bytes are not exactly one transaction.
    pub fn parse(bytes: B) -> Result<Self, DecodeError> {
        let mut arena = Arena::with_capacity(1);
        let mut reader = Reader::new(bytes.as_ref());
        arena.read_tx(&mut reader)?;
        reader.finish()?;
        Ok(Self { bytes, arena })
    }

    /// Returns the view.
    #[must_use]
    pub fn view(&self) -> TxView<'_> {
        self.arena.view(self.bytes.as_ref(), &self.arena.txs[0])
    }
}

/// A transaction as slices of its bytes. Copying it is cheap.
#[derive(Clone, Copy, Debug)]
pub struct TxView<'a> {
    bytes: &'a [u8],
    place: &'a Place,
    starts: &'a [u32],
}

/// An input as slices of its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InputView<'a> {
    /// The output that is spent.
    pub prevout: OutPoint,
    /// The script that unlocks it.
    pub script_sig: &'a [u8],
    /// The sequence number.
    pub sequence: u32,
}

/// An output as slices of its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputView<'a> {
    /// The amount in satoshi, signed as in Core.
    pub value: i64,
    /// The script that locks it.
    pub script_pubkey: &'a [u8],
}

impl<'a> InputView<'a> {
    /// Takes an input from a reader: prevout 36, CompactSize, script, sequence 4.
    ///
    /// # Errors
    /// When the bytes end, or the length is not in its shortest form or over the limit.
    #[inline]
    pub fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let prevout = OutPoint::from_bytes(&reader.array()?);
        let script_sig = reader.sized_bytes()?;
        Ok(Self { prevout, script_sig, sequence: reader.u32()? })
    }

    /// Returns an owned copy, without a witness.
    #[must_use]
    pub fn to_owned(&self) -> TxIn {
        let Self { prevout, script_sig, sequence } = *self;
        TxIn { prevout, script_sig: script_sig.to_vec(), sequence, witness: Vec::new() }
    }
}

impl<'a> OutputView<'a> {
    /// Takes an output from a reader: value 8, CompactSize, script.
    ///
    /// # Errors
    /// When the bytes end, or the length is not in its shortest form or over the limit.
    #[inline]
    pub fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(Self { value: reader.i64()?, script_pubkey: reader.sized_bytes()? })
    }

    /// Returns an owned copy.
    #[must_use]
    pub fn to_owned(&self) -> TxOut {
        TxOut { value: self.value, script_pubkey: self.script_pubkey.to_vec() }
    }
}

impl<'a> TxView<'a> {
    /// Returns the version, unsigned as in Core.
    #[must_use]
    pub fn version(&self) -> u32 {
        u32::from_le_bytes(self.array(self.place.start))
    }

    /// Returns the lock time.
    #[must_use]
    pub fn lock_time(&self) -> u32 {
        u32::from_le_bytes(self.array(self.place.end - 4))
    }

    /// Returns how many inputs there are.
    #[must_use]
    pub const fn input_count(&self) -> usize {
        self.place.input_count as usize
    }

    /// Returns how many outputs there are.
    #[must_use]
    pub const fn output_count(&self) -> usize {
        self.place.output_count as usize
    }

    /// Returns an input.
    ///
    /// # Panics
    /// When `index` is not below [`input_count`](Self::input_count).
    #[must_use]
    #[inline]
    pub fn input(&self, index: usize) -> InputView<'a> {
        let start = self.starts[..self.input_count()][index];
        InputView::read(&mut self.reader(start)).expect(READ_BEFORE)
    }

    /// Returns an output.
    ///
    /// # Panics
    /// When `index` is not below [`output_count`](Self::output_count).
    #[must_use]
    #[inline]
    pub fn output(&self, index: usize) -> OutputView<'a> {
        OutputView::read(&mut self.reader(self.output_starts()[index])).expect(READ_BEFORE)
    }

    /// Returns the bytes of an output: value, CompactSize, script.
    ///
    /// # Panics
    /// When `index` is not below [`output_count`](Self::output_count).
    #[must_use]
    pub fn output_bytes(&self, index: usize) -> &'a [u8] {
        let starts = self.output_starts();
        let end = starts.get(index + 1).unwrap_or(&self.place.body_end);
        self.slice(starts[index], *end)
    }

    /// Returns the witness stack of an input, empty when it has none.
    ///
    /// # Panics
    /// When `index` is not below [`input_count`](Self::input_count).
    #[must_use]
    pub fn witness(&self, index: usize) -> Witness<'a> {
        assert!(index < self.input_count(), "no such input");
        if !self.has_witness() {
            return Witness { reader: Reader::new(&[]), left: 0 };
        }
        let mut reader = self.reader(self.starts[self.input_count() + self.output_count() + index]);
        let left = reader.compact_size().expect(READ_BEFORE);
        Witness { reader, left }
    }

    /// Iterates over the inputs.
    pub fn inputs(
        &self,
    ) -> impl DoubleEndedIterator<Item = InputView<'a>> + ExactSizeIterator + use<'a> {
        let tx = *self;
        (0..self.input_count()).map(move |index| tx.input(index))
    }

    /// Iterates over the outputs.
    pub fn outputs(
        &self,
    ) -> impl DoubleEndedIterator<Item = OutputView<'a>> + ExactSizeIterator + use<'a> {
        let tx = *self;
        (0..self.output_count()).map(move |index| tx.output(index))
    }

    /// Returns whether there is one input, and its prevout is null. Core: `IsCoinBase`.
    #[must_use]
    pub fn is_coinbase(&self) -> bool {
        self.input_count() == 1 && self.input(0).prevout == OutPoint::NULL
    }

    /// Returns whether an input has a witness that is not empty. Without one nothing stands between
    /// outputs and lock time.
    #[must_use]
    pub const fn has_witness(&self) -> bool {
        self.place.body_end + 4 < self.place.end
    }

    /// Returns the whole serialization.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.slice(self.place.start, self.place.end)
    }

    /// Returns the length in bytes with witnesses.
    #[must_use]
    pub const fn total_size(&self) -> usize {
        (self.place.end - self.place.start) as usize
    }

    /// Returns the length in bytes without witnesses.
    #[must_use]
    pub const fn stripped_size(&self) -> usize {
        8 + (self.place.body_end - self.body_start()) as usize
    }

    /// Returns three times the stripped size plus the total size. Spec: BIP-0141.
    #[must_use]
    pub const fn weight(&self) -> usize {
        3 * self.stripped_size() + self.total_size()
    }

    /// Returns the weight in units of four, rounded up. Spec: BIP-0141.
    #[must_use]
    pub const fn vsize(&self) -> usize {
        self.weight().div_ceil(4)
    }

    /// Computes the hash of the serialization without witnesses.
    #[must_use]
    pub fn txid(&self) -> Txid {
        let [first, second, third] = self.stripped_parts();
        Txid(Sha256::new().chain(first).chain(second).chain(third).finish_double())
    }

    /// Computes the hash of the whole serialization.
    #[must_use]
    pub fn wtxid(&self) -> Wtxid {
        Wtxid(sha256d(self.bytes()))
    }

    /// Returns an owned copy that can be changed.
    #[must_use]
    pub fn to_owned(&self) -> Transaction {
        let input = |index: usize| {
            let witness = self.witness(index).map(<[u8]>::to_vec).collect();
            TxIn { witness, ..self.input(index).to_owned() }
        };
        Transaction {
            version: self.version(),
            inputs: (0..self.input_count()).map(input).collect(),
            outputs: self.outputs().map(|output| output.to_owned()).collect(),
            lock_time: self.lock_time(),
        }
    }

    /// The serialization without witnesses.
    pub(crate) fn stripped_parts(&self) -> [&'a [u8]; 3] {
        let Place { start, end, body_end, .. } = *self.place;
        if self.has_witness() {
            let body = self.slice(self.body_start(), body_end);
            [self.slice(start, start + 4), body, self.slice(end - 4, end)]
        } else {
            [self.bytes(), &[], &[]]
        }
    }

    #[inline]
    fn output_starts(&self) -> &'a [u32] {
        &self.starts[self.input_count()..][..self.output_count()]
    }

    #[inline]
    fn reader(&self, start: u32) -> Reader<'a> {
        Reader::at(self.bytes, start as usize)
    }

    /// Where the input count begins: after the version and, with witnesses, marker and flag.
    const fn body_start(&self) -> u32 {
        self.place.start + if self.has_witness() { 6 } else { 4 }
    }

    #[inline]
    fn slice(&self, start: u32, end: u32) -> &'a [u8] {
        &self.bytes[start as usize..end as usize]
    }

    #[inline]
    fn array<const N: usize>(&self, start: u32) -> [u8; N] {
        *self.bytes[start as usize..].first_chunk().expect("spans lie inside the bytes")
    }
}

/// The items of a witness stack, bottom first.
#[derive(Clone, Debug)]
pub struct Witness<'a> {
    reader: Reader<'a>,
    left: usize,
}

impl<'a> Witness<'a> {
    #[inline]
    pub(crate) fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let left = reader.compact_size()?;
        let witness = Self { reader: reader.clone(), left };
        for _ in 0..left {
            reader.sized_bytes()?;
        }
        Ok(witness)
    }
}

impl<'a> Iterator for Witness<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.left = self.left.checked_sub(1)?;
        Some(self.reader.sized_bytes().expect("the stack was read before"))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Witness<'_> {}

#[cfg(test)]
mod tests;
