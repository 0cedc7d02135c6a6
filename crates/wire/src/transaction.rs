use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use byteorder::{ByteOrder, LittleEndian};
use caesure_hash::sha256d;

use crate::{DecodeError, Tx, Txid, Wtxid, push_compact_size};

/// A reference to an output: the transaction that made it, and its place there.
///
/// On the wire 36 bytes: txid 32, index 4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OutPoint {
    /// The transaction's id.
    pub txid: Txid,
    /// The output's index.
    pub vout: u32,
}

impl OutPoint {
    /// The prevout of a coinbase input.
    pub const NULL: Self = Self { txid: Txid::ZERO, vout: u32::MAX };

    /// Returns the 36 bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 36] {
        let mut bytes = [0; 36];
        bytes[..32].copy_from_slice(&self.txid.0);
        bytes[32..].copy_from_slice(&self.vout.to_le_bytes());
        bytes
    }

    /// Reads an outpoint from 36 bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 36]) -> Self {
        let mut txid = [0; 32];
        txid.copy_from_slice(&bytes[..32]);
        Self { txid: Txid(txid), vout: LittleEndian::read_u32(&bytes[32..]) }
    }
}

impl Default for OutPoint {
    fn default() -> Self {
        Self::NULL
    }
}

impl fmt::Display for OutPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.txid, self.vout)
    }
}

/// A text is not a txid, a colon and an index without leading zeros or sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an outpoint is 64 hexadecimal digits, a colon and a decimal number below 2^32")]
pub struct ParseOutPointError;

impl FromStr for OutPoint {
    type Err = ParseOutPointError;

    fn from_str(text: &str) -> Result<Self, ParseOutPointError> {
        let (txid, vout) = text.split_once(':').ok_or(ParseOutPointError)?;
        let is_plain = vout == "0" || !vout.starts_with(['0', '+']);
        let vout = vout.parse().ok().filter(|_| is_plain).ok_or(ParseOutPointError)?;
        Ok(Self { txid: txid.parse().map_err(|_| ParseOutPointError)?, vout })
    }
}

/// An input that can be changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TxIn {
    /// The output that is spent.
    pub prevout: OutPoint,
    /// The script that unlocks it.
    pub script_sig: Vec<u8>,
    /// The sequence number. Spec: BIP-0068.
    pub sequence: u32,
    /// The witness stack, bottom first. Spec: BIP-0141.
    pub witness: Vec<Vec<u8>>,
}

impl TxIn {
    /// Appends prevout 36, CompactSize, script, sequence 4; the witness stands elsewhere.
    pub fn encode_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.prevout.to_bytes());
        push_sized(out, &self.script_sig);
        out.extend_from_slice(&self.sequence.to_le_bytes());
    }
}

/// An output that can be changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TxOut {
    /// The amount in satoshi, signed as in Core.
    pub value: i64,
    /// The script that locks it.
    pub script_pubkey: Vec<u8>,
}

impl TxOut {
    /// Appends value 8, CompactSize, script.
    pub fn encode_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.value.to_le_bytes());
        push_sized(out, &self.script_pubkey);
    }
}

/// A transaction that can be built and changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transaction {
    /// The version, unsigned as in Core.
    pub version: u32,
    /// The inputs.
    pub inputs: Vec<TxIn>,
    /// The outputs.
    pub outputs: Vec<TxOut>,
    /// The lock time: a height, or seconds since 1970 from 500,000,000 on.
    pub lock_time: u32,
}

impl Transaction {
    /// Reads a transaction that fills `bytes`, in the form with witnesses or without.
    ///
    /// # Errors
    /// When the bytes are not exactly one transaction.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Ok(Tx::parse(bytes)?.view().to_owned())
    }

    /// Returns the serialization, with witnesses when an input has one. Spec: BIP-0144.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.encode_with(self.inputs.iter().any(|input| !input.witness.is_empty()))
    }

    /// Returns the serialization without witnesses.
    #[must_use]
    pub fn encode_stripped(&self) -> Vec<u8> {
        self.encode_with(false)
    }

    /// Returns the hash of the serialization without witnesses.
    #[must_use]
    pub fn txid(&self) -> Txid {
        Txid(sha256d(&self.encode_stripped()))
    }

    /// Returns the hash of the whole serialization. Spec: BIP-0141.
    #[must_use]
    pub fn wtxid(&self) -> Wtxid {
        Wtxid(sha256d(&self.encode()))
    }

    /// Returns three times the stripped size plus the total size. Spec: BIP-0141.
    #[must_use]
    pub fn weight(&self) -> usize {
        3 * self.encode_stripped().len() + self.encode().len()
    }

    fn encode_with(&self, has_witness: bool) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(&self.version.to_le_bytes());
        if has_witness {
            out.extend_from_slice(&[0, 1]);
        }
        push_compact_size(&mut out, self.inputs.len());
        for input in &self.inputs {
            input.encode_to(&mut out);
        }
        push_compact_size(&mut out, self.outputs.len());
        for output in &self.outputs {
            output.encode_to(&mut out);
        }
        if has_witness {
            for input in &self.inputs {
                push_compact_size(&mut out, input.witness.len());
                for item in &input.witness {
                    push_sized(&mut out, item);
                }
            }
        }
        out.extend_from_slice(&self.lock_time.to_le_bytes());
        out
    }
}

fn push_sized(out: &mut Vec<u8>, bytes: &[u8]) {
    push_compact_size(out, bytes.len());
    out.extend_from_slice(bytes);
}
