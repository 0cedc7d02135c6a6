use alloc::vec::Vec;

use caesure_hash::{Sha256, sha256d};

use crate::{DecodeError, OutPoint, Reader, Transaction, TxIn, TxOut, Txid, Wtxid};

/// Where the parts of transactions lie in their bytes; one for a whole block.
#[derive(Clone, Debug, Default)]
pub(crate) struct Arena {
    pub(crate) txs: Vec<TxSpan>,
    inputs: Vec<InputSpan>,
    outputs: Vec<ScriptSpan>,
}

/// Offsets count from the start of the bytes; first and end of inputs and outputs from the arena's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TxSpan {
    start: u32,
    end: u32,
    /// Where the outputs end and the witnesses or the lock time begin.
    body_end: u32,
    first_input: u32,
    first_output: u32,
    end_input: u32,
    end_output: u32,
    has_witness: bool,
}

/// `start` of the input or output, and the script in it, the end of which is the output's too.
#[derive(Clone, Copy, Debug)]
struct ScriptSpan {
    start: u32,
    script: u32,
    script_end: u32,
}

#[derive(Clone, Copy, Debug)]
struct InputSpan {
    base: ScriptSpan,
    /// Where the witness stack begins, zero for none.
    witness: u32,
}

impl Arena {
    /// Reads one transaction and appends its spans. Core: `UnserializeTransaction`.
    pub(crate) fn read_tx(&mut self, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        let start = offset(reader)?;
        let first_input = count(&self.inputs);
        let first_output = count(&self.outputs);
        reader.bytes(4)?;
        let mut flag = 0;
        let flag_at = reader.position() + 1;
        let mut input_count = reader.compact_size()?;
        if input_count == 0 {
            flag = reader.u8()?;
            if flag != 0 {
                input_count = reader.compact_size()?;
            }
        }
        if input_count != 0 || flag != 0 {
            self.read_inputs(reader, input_count)?;
            self.read_outputs(reader)?;
        }
        let body_end = offset(reader)?;
        if flag & 1 != 0 {
            self.read_witnesses(reader, first_input)?;
        }
        if flag & !1 != 0 {
            return Err(DecodeError::UnknownFlag { at: flag_at, flag });
        }
        reader.bytes(4)?;
        self.txs.push(TxSpan {
            start,
            end: offset(reader)?,
            body_end,
            first_input,
            first_output,
            end_input: count(&self.inputs),
            end_output: count(&self.outputs),
            has_witness: flag != 0,
        });
        Ok(())
    }

    fn read_inputs(&mut self, reader: &mut Reader<'_>, n: usize) -> Result<(), DecodeError> {
        for _ in 0..n {
            let base = read_script(reader, 36)?;
            reader.bytes(4)?;
            self.inputs.push(InputSpan { base, witness: 0 });
        }
        Ok(())
    }

    fn read_outputs(&mut self, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        for _ in 0..reader.compact_size()? {
            let span = read_script(reader, 8)?;
            self.outputs.push(span);
        }
        Ok(())
    }

    fn read_witnesses(&mut self, reader: &mut Reader<'_>, first: u32) -> Result<(), DecodeError> {
        let mut is_empty = true;
        for input in &mut self.inputs[first as usize..] {
            input.witness = offset(reader)?;
            for _ in 0..reader.compact_size()? {
                reader.sized_bytes()?;
                is_empty = false;
            }
        }
        if is_empty {
            return Err(DecodeError::SuperfluousWitness { at: reader.position() });
        }
        Ok(())
    }

    #[inline]
    pub(crate) fn view<'a>(&'a self, bytes: &'a [u8], span: &'a TxSpan) -> TxView<'a> {
        TxView {
            bytes,
            span,
            inputs: &self.inputs[span.first_input as usize..span.end_input as usize],
            outputs: &self.outputs[span.first_output as usize..span.end_output as usize],
        }
    }

    pub(crate) const fn input_count(&self) -> usize {
        self.inputs.len()
    }

    pub(crate) const fn output_count(&self) -> usize {
        self.outputs.len()
    }
}

#[inline]
fn read_script(reader: &mut Reader<'_>, prefix: usize) -> Result<ScriptSpan, DecodeError> {
    let start = offset(reader)?;
    reader.bytes(prefix)?;
    let size = reader.compact_size()?;
    let script = offset(reader)?;
    reader.bytes(size)?;
    Ok(ScriptSpan { start, script, script_end: offset(reader)? })
}

/// The reader's position. Data of 4 GiB and more end, for this crate, before that.
#[inline]
fn offset(reader: &Reader<'_>) -> Result<u32, DecodeError> {
    let at = reader.position();
    u32::try_from(at).map_err(|_| DecodeError::UnexpectedEnd { at })
}

fn count<T>(spans: &[T]) -> u32 {
    u32::try_from(spans.len()).expect("an input or output takes more than one of under 2^32 bytes")
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
        let mut arena = Arena::default();
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
    span: &'a TxSpan,
    inputs: &'a [InputSpan],
    outputs: &'a [ScriptSpan],
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

impl OutputView<'_> {
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
        u32::from_le_bytes(self.array(self.span.start))
    }

    /// Returns the lock time.
    #[must_use]
    pub fn lock_time(&self) -> u32 {
        u32::from_le_bytes(self.array(self.span.end - 4))
    }

    /// Returns how many inputs there are.
    #[must_use]
    pub const fn input_count(&self) -> usize {
        self.inputs.len()
    }

    /// Returns how many outputs there are.
    #[must_use]
    pub const fn output_count(&self) -> usize {
        self.outputs.len()
    }

    /// Returns an input.
    ///
    /// # Panics
    /// When `index` is not below [`input_count`](Self::input_count).
    #[must_use]
    #[inline]
    pub fn input(&self, index: usize) -> InputView<'a> {
        let span = &self.inputs[index].base;
        InputView {
            prevout: OutPoint::from_bytes(&self.array(span.start)),
            script_sig: self.slice(span.script, span.script_end),
            sequence: u32::from_le_bytes(self.array(span.script_end)),
        }
    }

    /// Returns an output.
    ///
    /// # Panics
    /// When `index` is not below [`output_count`](Self::output_count).
    #[must_use]
    #[inline]
    pub fn output(&self, index: usize) -> OutputView<'a> {
        let span = &self.outputs[index];
        OutputView {
            value: i64::from_le_bytes(self.array(span.start)),
            script_pubkey: self.slice(span.script, span.script_end),
        }
    }

    /// Returns the bytes of an output: value, CompactSize, script.
    ///
    /// # Panics
    /// When `index` is not below [`output_count`](Self::output_count).
    #[must_use]
    pub fn output_bytes(&self, index: usize) -> &'a [u8] {
        let span = &self.outputs[index];
        self.slice(span.start, span.script_end)
    }

    /// Returns the witness stack of an input, empty when it has none.
    ///
    /// # Panics
    /// When `index` is not below [`input_count`](Self::input_count).
    #[must_use]
    pub fn witness(&self, index: usize) -> Witness<'a> {
        match self.inputs[index].witness {
            0 => Witness { reader: Reader::new(&[]), left: 0 },
            at => {
                let mut reader = Reader::at(self.bytes, at as usize);
                let left = reader.compact_size().expect("the stack was read before");
                Witness { reader, left }
            }
        }
    }

    /// Iterates over the inputs.
    pub fn inputs(&self) -> impl ExactSizeIterator<Item = InputView<'a>> + use<'a> {
        let tx = *self;
        (0..self.inputs.len()).map(move |index| tx.input(index))
    }

    /// Iterates over the outputs.
    pub fn outputs(&self) -> impl ExactSizeIterator<Item = OutputView<'a>> + use<'a> {
        let tx = *self;
        (0..self.outputs.len()).map(move |index| tx.output(index))
    }

    /// Returns whether there is one input, and its prevout is null. Core: `IsCoinBase`.
    #[must_use]
    pub fn is_coinbase(&self) -> bool {
        self.inputs.len() == 1 && self.input(0).prevout == OutPoint::NULL
    }

    /// Returns whether an input has a witness that is not empty.
    #[must_use]
    pub const fn has_witness(&self) -> bool {
        self.span.has_witness
    }

    /// Returns the whole serialization.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.slice(self.span.start, self.span.end)
    }

    /// Returns the length in bytes with witnesses.
    #[must_use]
    pub const fn total_size(&self) -> usize {
        (self.span.end - self.span.start) as usize
    }

    /// Returns the length in bytes without witnesses.
    #[must_use]
    pub const fn stripped_size(&self) -> usize {
        8 + (self.span.body_end - self.body_start()) as usize
    }

    /// Returns three times the stripped size plus the total size. Spec: BIP-0141.
    #[must_use]
    pub const fn weight(&self) -> usize {
        3 * self.stripped_size() + self.total_size()
    }

    /// Computes the hash of the serialization without witnesses.
    #[must_use]
    pub fn txid(&self) -> Txid {
        if !self.span.has_witness {
            return Txid(sha256d(self.bytes()));
        }
        let hash = Sha256::new()
            .chain(self.slice(self.span.start, self.span.start + 4))
            .chain(self.slice(self.body_start(), self.span.body_end))
            .chain(self.slice(self.span.end - 4, self.span.end));
        Txid(hash.finish_double())
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
            let InputView { prevout, script_sig, sequence } = self.input(index);
            let witness = self.witness(index).map(<[u8]>::to_vec).collect();
            TxIn { prevout, script_sig: script_sig.to_vec(), sequence, witness }
        };
        Transaction {
            version: self.version(),
            inputs: (0..self.input_count()).map(input).collect(),
            outputs: self.outputs().map(|output| output.to_owned()).collect(),
            lock_time: self.lock_time(),
        }
    }

    /// Where the input count begins: after the version and, with witnesses, marker and flag.
    const fn body_start(&self) -> u32 {
        self.span.start + if self.span.has_witness { 6 } else { 4 }
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
