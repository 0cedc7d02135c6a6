use alloc::vec::Vec;

use caesure_hash::sha256d;

/// The most bytes of a message's payload. Core: `MAX_PROTOCOL_MESSAGE_LENGTH`.
pub const MAX_PAYLOAD: usize = 4_000_000;

/// What stands before a payload on a v1 connection, 24 bytes: magic 4, command 12, length 4,
/// checksum 4. Core: `CMessageHeader`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// The network.
    pub magic: [u8; 4],
    /// The command, with zeros to its right.
    pub command: [u8; 12],
    /// The length of the payload in bytes, as claimed.
    pub length: u32,
    /// The first four bytes of the payload's double SHA-256.
    pub checksum: [u8; 4],
}

impl FrameHeader {
    /// The length of a header in bytes.
    pub const SIZE: usize = 24;

    /// Makes the header of a payload. Of a command, twelve bytes fit in.
    #[must_use]
    pub fn new(magic: [u8; 4], command: &str, payload: &[u8]) -> Self {
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        Self { magic, command: pad_command(command), length, checksum: checksum(payload) }
    }

    /// Returns a whole message as it stands on a v1 connection: its header and the payload.
    #[must_use]
    pub fn frame(magic: [u8; 4], command: &str, payload: &[u8]) -> Vec<u8> {
        [&Self::new(magic, command, payload).to_bytes(), payload].concat()
    }

    /// Reads a header; whatever it says.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; Self::SIZE]) -> Self {
        let (mut magic, mut command) = ([0; 4], [0; 12]);
        let (mut length, mut checksum) = ([0; 4], [0; 4]);
        magic.copy_from_slice(&bytes[..4]);
        command.copy_from_slice(&bytes[4..16]);
        length.copy_from_slice(&bytes[16..20]);
        checksum.copy_from_slice(&bytes[20..]);
        Self { magic, command, length: u32::from_le_bytes(length), checksum }
    }

    /// Returns the 24 bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        bytes[..4].copy_from_slice(&self.magic);
        bytes[4..16].copy_from_slice(&self.command);
        bytes[16..20].copy_from_slice(&self.length.to_le_bytes());
        bytes[20..].copy_from_slice(&self.checksum);
        bytes
    }

    /// Returns the command without the zeros: letters from space to tilde, and nothing but zeros
    /// after the first zero, else none. Core: `IsMessageTypeValid`.
    #[must_use]
    pub fn command(&self) -> Option<&str> {
        unpad_command(&self.command, b'~')
    }

    /// Returns whether the checksum is that of the payload.
    #[must_use]
    pub fn matches(&self, payload: &[u8]) -> bool {
        self.checksum == checksum(payload)
    }
}

/// Returns a command's first twelve bytes, with zeros to its right.
#[must_use]
pub fn pad_command(command: &str) -> [u8; 12] {
    let mut padded = [0; 12];
    padded.iter_mut().zip(command.as_bytes()).for_each(|(to, from)| *to = *from);
    padded
}

/// Returns a command without the zeros to its right; none when a byte is not from space to `last`, or
/// one follows a zero. `last` is ASCII: on v1 connections `~`, on v2 connections 0x7f.
#[must_use]
pub fn unpad_command(command: &[u8; 12], last: u8) -> Option<&str> {
    let end = command.iter().position(|&byte| byte == 0).unwrap_or(command.len());
    let (letters, padding) = command.split_at(end);
    let is_valid = letters.iter().all(|byte| (b' '..=last).contains(byte))
        && padding.iter().all(|&byte| byte == 0);
    str::from_utf8(letters).ok().filter(|_| is_valid)
}

fn checksum(payload: &[u8]) -> [u8; 4] {
    *sha256d(payload).first_chunk().expect("a hash is longer")
}
