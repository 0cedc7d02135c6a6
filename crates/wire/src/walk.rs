use crate::tx::{InputView, OutputView, Witness};
use crate::{DecodeError, Header, Reader};

/// The least bytes of an input: prevout 36, CompactSize, sequence 4.
const MIN_INPUT_SIZE: usize = 41;
/// The least bytes of an output: value 8, CompactSize.
const MIN_OUTPUT_SIZE: usize = 9;
/// The least bytes of a transaction: version 4, no inputs, no flag, lock time 4.
pub(crate) const MIN_TX_SIZE: usize = 10;

/// What [`visit_block`] comes by.
#[derive(Clone, Debug)]
pub enum Part<'a> {
    /// An input.
    Input(InputView<'a>),
    /// An output; those of a transaction follow its inputs.
    Output(OutputView<'a>),
    /// The witness stack of an input: of a transaction with witnesses there is one for each input,
    /// and they follow its outputs.
    Witness(Witness<'a>),
    /// A whole transaction, after its parts: the serialization.
    Tx(&'a [u8]),
}

/// Walks a block that fills `bytes` and remembers nothing: for a single pass that adds something up,
/// faster than [`Block::parse`](crate::Block::parse).
///
/// # Errors
/// As [`Block::parse`](crate::Block::parse). What was visited before an error may be part of no block.
pub fn visit_block<'a>(
    bytes: &'a [u8],
    mut visit: impl FnMut(Part<'a>),
) -> Result<Header, DecodeError> {
    let mut reader = Reader::new(bytes);
    let header = Header::read(&mut reader)?;
    for _ in 0..reader.count(MIN_TX_SIZE)? {
        let start = reader.position();
        walk_tx(&mut reader, |_, part| visit(part))?;
        visit(Part::Tx(&bytes[start..reader.position()]));
    }
    reader.finish()?;
    Ok(header)
}

/// Where a transaction lies and its body ends, counted from the start of the bytes, and what is in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) start: u32,
    pub(crate) end: u32,
    /// Where the outputs end and the witnesses or the lock time begin.
    pub(crate) body_end: u32,
    pub(crate) input_count: u32,
    pub(crate) output_count: u32,
}

/// Walks one transaction, and hands out each part with where it begins. Core:
/// `UnserializeTransaction`.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "a count is at most MAX_SIZE")]
pub(crate) fn walk_tx<'a>(
    reader: &mut Reader<'a>,
    mut visit: impl FnMut(u32, Part<'a>),
) -> Result<Place, DecodeError> {
    let start = reader.mark();
    reader.bytes(4)?;
    let flag_at = reader.position() + 1;
    let (mut flag, mut output_count) = (0, 0);
    let mut input_count = reader.count(MIN_INPUT_SIZE)?;
    if input_count == 0 {
        flag = reader.u8()?;
        if flag != 0 {
            input_count = reader.count(MIN_INPUT_SIZE)?;
        }
    }
    if input_count != 0 || flag != 0 {
        for _ in 0..input_count {
            let at = reader.mark();
            visit(at, Part::Input(InputView::read(reader)?));
        }
        output_count = reader.count(MIN_OUTPUT_SIZE)?;
        for _ in 0..output_count {
            let at = reader.mark();
            visit(at, Part::Output(OutputView::read(reader)?));
        }
    }
    let body_end = reader.mark();
    if flag & 1 != 0 {
        let mut item_count = 0;
        for _ in 0..input_count {
            let at = reader.mark();
            let witness = Witness::read(reader)?;
            item_count += witness.len();
            visit(at, Part::Witness(witness));
        }
        if item_count == 0 {
            return Err(DecodeError::SuperfluousWitness { at: reader.position() });
        }
    }
    if flag & !1 != 0 {
        return Err(DecodeError::UnknownFlag { at: flag_at, flag });
    }
    reader.bytes(4)?;
    // Data of 4 GiB and more end, for this crate, before that.
    let at = reader.position();
    let end = u32::try_from(at).map_err(|_| DecodeError::UnexpectedEnd { at })?;
    let (input_count, output_count) = (input_count as u32, output_count as u32);
    Ok(Place { start, end, body_end, input_count, output_count })
}
