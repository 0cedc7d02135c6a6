use byteorder::{ByteOrder, LittleEndian};
use caesure_consensus::Coin;
use caesure_wire::{DecodeError, OutPoint, Reader, push_compact_size};

/// Appends a coin: u32 height * 2 + coinbase flag, i64 value, CompactSize, script.
///
/// After an outpoint, these are the bytes that Core hashes for each coin (`TxOutSer`).
pub(crate) fn push_coin(out: &mut Vec<u8>, coin: &Coin) {
    let mut fixed = [0; 12];
    LittleEndian::write_u32(&mut fixed, coin.height << 1 | u32::from(coin.is_coinbase));
    LittleEndian::write_i64(&mut fixed[4..], coin.value);
    out.extend_from_slice(&fixed);
    push_compact_size(out, coin.script_pubkey.len());
    out.extend_from_slice(&coin.script_pubkey);
}

/// Takes what [`push_coin`] wrote.
pub(crate) fn read_coin(reader: &mut Reader<'_>) -> Result<Coin, DecodeError> {
    let code = reader.u32()?;
    Ok(Coin {
        height: code >> 1,
        is_coinbase: code & 1 == 1,
        value: reader.i64()?,
        script_pubkey: reader.sized_bytes()?.into(),
    })
}

/// Appends an outpoint and a coin.
pub(crate) fn push_entry(out: &mut Vec<u8>, outpoint: &OutPoint, coin: &Coin) {
    out.extend_from_slice(&outpoint.to_bytes());
    push_coin(out, coin);
}

/// Takes what [`push_entry`] wrote.
pub(crate) fn read_entry(reader: &mut Reader<'_>) -> Result<(OutPoint, Coin), DecodeError> {
    Ok((OutPoint::from_bytes(&reader.array()?), read_coin(reader)?))
}
