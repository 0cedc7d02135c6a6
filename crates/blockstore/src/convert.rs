use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::Error;
use crate::record::{HEAD_SIZE, PREFIX_SIZE, block_size, meets_claimed_target, words};
use crate::store::lock_dir;

/// What a conversion did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Converted {
    /// How many records the file has.
    pub records: u64,
    /// How many of them were not yet in native form.
    pub rewritten: u64,
}

/// Rewrites the prefixes of a `bootstrap.dat` to the original's native form, in place: a magic and a
/// `u32` size become a `u64` size. No other byte changes.
///
/// First the sizes are followed from record to record; only if they lead exactly to the end of the
/// file is anything written. A file that is converted already, or in part, is one more valid input:
/// first every magic is replaced by the size, then, after a sync, the second copy of the size is
/// cleared, so that one whole copy is there whatever a power cut leaves.
///
/// # Errors
/// [`Error::NotConvertible`] naming the first place that is no record; [`Error::Locked`] when the
/// file is in the base of a running process; or when the file cannot be read or written.
pub fn convert(path: &Path) -> Result<Converted, Error> {
    let dir = path.parent().filter(|dir| dir.join("blocks.lock").exists());
    let _lock = dir.map(lock_dir).transpose()?;
    let file = OpenOptions::new().read(true).write(true).open(path).map_err(Error::io(path))?;
    let len = file.metadata().map_err(Error::io(path))?.len();
    let mut converted = Converted::default();
    for_each_record(path, &file, len, |_, _, is_native| {
        converted.records += 1;
        converted.rewritten += u64::from(!is_native);
        Ok(())
    })?;
    if converted.rewritten == 0 {
        return Ok(converted);
    }
    for (offset, mask) in [(0, u32::MAX), (4, 0)] {
        for_each_record(path, &file, len, |position, size, is_native| match is_native {
            true => Ok(()),
            false => file.write_all_at(&(size & mask).to_le_bytes(), position + offset),
        })?;
        file.sync_data().map_err(Error::io(path))?;
    }
    Ok(converted)
}

/// Follows the records to the end of the file: position, size, and whether the prefix is native.
fn for_each_record(
    path: &Path,
    file: &File,
    len: u64,
    mut visit: impl FnMut(u64, u32, bool) -> std::io::Result<()>,
) -> Result<(), Error> {
    let mut position = 0;
    while position != len {
        let mut head = [0; HEAD_SIZE];
        let rest = len - position;
        if HEAD_SIZE as u64 <= rest {
            file.read_exact_at(&mut head, position).map_err(Error::io(path))?;
        }
        let size = announced_size(&head)
            .filter(|size| PREFIX_SIZE as u64 + u64::from(*size) <= rest)
            .ok_or_else(|| Error::NotConvertible { path: path.to_owned(), position })?;
        visit(position, size, words(&head) == Some((size, 0))).map_err(Error::io(path))?;
        position += PREFIX_SIZE as u64 + u64::from(size);
    }
    Ok(())
}

/// The size in a prefix, be it old, new, or between both after a power cut: then one of the words is
/// a whole copy of it, and each byte of the other is as it was or as it shall be.
fn announced_size(head: &[u8; HEAD_SIZE]) -> Option<u32> {
    let (low, high) = words(head)?;
    let is_cleared_copy = high
        .to_le_bytes()
        .iter()
        .zip(low.to_le_bytes())
        .all(|(high, low)| *high == 0 || *high == low);
    let size = if block_size(low).is_some() && is_cleared_copy { low } else { high };
    (block_size(size).is_some() && meets_claimed_target(&head[PREFIX_SIZE..])).then_some(size)
}

#[cfg(test)]
mod tests {
    use caesure_wire::Header;

    use super::*;

    /// The size that is read from two words before the header of mainnet's genesis block.
    fn check(low: [u8; 4], high: [u8; 4], size: Option<u32>) {
        let genesis = Header {
            version: 1,
            merkle_root: "4a5e1e4baab89f3a32518a88c31bc87f618f76673e2cc77ab2127b7afdeda33b"
                .parse()
                .unwrap(),
            time: 1_231_006_505,
            bits: 0x1d00_ffff,
            nonce: 2_083_236_893,
            ..Header::default()
        };
        let mut head = [0; HEAD_SIZE];
        head[..4].copy_from_slice(&low);
        head[4..8].copy_from_slice(&high);
        head[8..].copy_from_slice(&genesis.to_bytes());
        assert_eq!(announced_size(&head), size, "{low:02x?} {high:02x?}");
    }

    #[test]
    fn every_state_between_the_two_forms_tells_the_size() {
        let size = 0x0003_021d_u32;
        let bytes = size.to_le_bytes();
        for magic in [[0xf9, 0xbe, 0xb4, 0xd9], [0x0b, 0x11, 0x09, 0x07], [0xfa, 0xbf, 0xb5, 0xda]]
        {
            for mask in 0..16 {
                let mix = |old: [u8; 4], new: [u8; 4]| {
                    std::array::from_fn(|i| if mask >> i & 1 == 0 { old[i] } else { new[i] })
                };
                check(mix(magic, bytes), bytes, Some(size));
                check(bytes, mix(bytes, [0; 4]), Some(size));
            }
        }
        check([0; 4], [0; 4], None);
        check([0xf9, 0xbe, 0xb4, 0xd9], [0x50, 0, 0, 0], None);
    }
}
