use caesure_hash::sha256d;
use caesure_wire::{DecodeError, Endpoint, NetAddress, Reader};

/// The first lines of the files, and the format that all are of.
pub(crate) const PEERS: &str = "caesure peers\n";
pub(crate) const BANS: &str = "caesure bans\n";
const ANCHORS: &str = "caesure anchors\n";
const FORMAT: u32 = 1;
/// How many anchors there are at most. Core: `MAX_BLOCK_RELAY_ONLY_ANCHORS`.
const MAX_ANCHORS: usize = 2;

/// Why a saved file is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SavedError {
    /// It does not begin with the line that tells what it is.
    #[error("it does not begin as such a file")]
    Magic,
    /// It is of a format that is not known here.
    #[error("its format {0} is not known")]
    Format(u32),
    /// The checksum differs.
    #[error("its checksum is wrong")]
    Checksum,
    /// The checksum is right, but it does not hold what it should.
    #[error("it is malformed")]
    Malformed,
}

impl From<DecodeError> for SavedError {
    fn from(_: DecodeError) -> Self {
        Self::Malformed
    }
}

/// Writes `anchors.bin`: the block-relay-only peers to dial first at the next start, at most two.
#[must_use]
pub fn anchors_to_bytes(anchors: &[Endpoint]) -> Vec<u8> {
    let mut file = begin(ANCHORS);
    for anchor in anchors.iter().take(MAX_ANCHORS) {
        anchor.address.encode_v2_to(&mut file);
        file.extend(anchor.port.to_le_bytes());
    }
    seal(file)
}

/// Reads `anchors.bin`.
///
/// # Errors
/// When the file is damaged.
pub fn anchors_from_bytes(bytes: &[u8]) -> Result<Vec<Endpoint>, SavedError> {
    let mut reader = open(ANCHORS, bytes)?;
    let mut anchors = Vec::new();
    while !reader.is_empty() {
        let address = NetAddress::read_v2(&mut reader)?;
        anchors.push(Endpoint { address, port: u16::from_le_bytes(reader.array()?) });
    }
    if anchors.len() > MAX_ANCHORS { Err(SavedError::Malformed) } else { Ok(anchors) }
}

/// Begins a file: what it is, and its format.
pub(crate) fn begin(magic: &str) -> Vec<u8> {
    [magic.as_bytes(), &FORMAT.to_le_bytes()].concat()
}

/// Ends a file: its checksum.
pub(crate) fn seal(mut file: Vec<u8>) -> Vec<u8> {
    let checksum = sha256d(&file);
    file.extend(checksum);
    file
}

/// Checks a file, and returns a reader of what is between.
pub(crate) fn open<'a>(magic: &str, bytes: &'a [u8]) -> Result<Reader<'a>, SavedError> {
    let rest = bytes.strip_prefix(magic.as_bytes()).ok_or(SavedError::Magic)?;
    let (format, rest) = rest.split_first_chunk().ok_or(SavedError::Checksum)?;
    let format = u32::from_le_bytes(*format);
    if format != FORMAT {
        return Err(SavedError::Format(format));
    }
    let (body, checksum) = rest.split_last_chunk::<32>().ok_or(SavedError::Checksum)?;
    if sha256d(&bytes[..bytes.len() - 32]) != *checksum {
        return Err(SavedError::Checksum);
    }
    Ok(Reader::new(body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_most_two_anchors_are_kept() {
        let anchor = |i| Endpoint { address: NetAddress::TorV3([i; 32]), port: 8333 };
        let anchors = [1, 2, 3].map(anchor);
        for count in 0..=3 {
            let file = anchors_to_bytes(&anchors[..count]);
            assert_eq!(anchors_from_bytes(&file).unwrap(), anchors[..count.min(2)]);
        }
        let one = anchors_to_bytes(&anchors[..1]);
        let body = &one[ANCHORS.len() + 4..one.len() - 32];
        let three = seal([&begin(ANCHORS)[..], body, body, body].concat());
        assert_eq!(anchors_from_bytes(&three), Err(SavedError::Malformed));
    }

    #[test]
    fn any_damage_to_the_anchors_is_an_error() {
        let endpoint = Endpoint { address: NetAddress::Ipv4([1, 2, 3, 4]), port: 8333 };
        let file = anchors_to_bytes(&[endpoint]);
        for i in 0..file.len() {
            let mut damaged = file.clone();
            damaged[i] ^= 0x10;
            assert!(anchors_from_bytes(&damaged).is_err());
            assert!(anchors_from_bytes(&file[..i]).is_err());
        }
        assert_eq!(anchors_from_bytes(&seal(begin(BANS))), Err(SavedError::Magic));
    }
}
