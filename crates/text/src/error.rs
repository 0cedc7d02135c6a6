/// Why a text does not decode, or bytes cannot be written. `at` counts bytes from the text's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// A character does not belong to the alphabet.
    #[error("unexpected character {character:?} at position {at}")]
    InvalidCharacter {
        /// Where the character stands.
        at: usize,
        /// The character.
        character: char,
    },
    /// A letter's case differs from that of the letters before it.
    #[error("character {character:?} at position {at} mixes upper and lower case")]
    MixedCase {
        /// Where the letter stands.
        at: usize,
        /// The letter.
        character: char,
    },
    /// Hexadecimal has a digit without its partner.
    #[error("the number of digits, {length}, is odd")]
    OddLength {
        /// How many digits there are.
        length: usize,
    },
    /// A buffer does not fit: the text has not two characters for each byte.
    #[error("{length} characters where {expected} are expected")]
    WrongLength {
        /// How long the text is.
        length: usize,
        /// How long it should be.
        expected: usize,
    },
    /// The text is longer than the format allows.
    #[error("{length} characters are over the limit of {limit}")]
    TooLong {
        /// How long the text is or would be.
        length: usize,
        /// The limit.
        limit: usize,
    },
    /// The text is too short to hold a checksum.
    #[error("too short to hold a checksum")]
    TooShort,
    /// The checksum is not that of the data.
    #[error("wrong checksum")]
    Checksum,
    /// Bech32 has no human-readable part before a `1`.
    #[error("no human-readable part followed by '1'")]
    NoHrp,
    /// The human-readable part is another one: an address of another network, for example.
    #[error("the human-readable part is not the expected one")]
    WrongHrp,
    /// A value of Bech32 data is over 31. Only encoding can give this.
    #[error("value {value} at index {at} does not fit five bits")]
    ValueRange {
        /// The value's index.
        at: usize,
        /// The value.
        value: u8,
    },
    /// The bits that fill up the last character are more than four, or not zero.
    #[error("wrong padding")]
    Padding,
    /// There is no witness version, or one over 16.
    #[error("no witness version from 0 to 16")]
    WitnessVersion,
    /// Version 0 is written in Bech32m, or a later one in Bech32. Spec: BIP-0350.
    #[error("witness version {version} with the checksum of the other encoding")]
    WrongVariant {
        /// The witness version.
        version: u8,
    },
    /// The program is not of 2 to 40 bytes, or that of version 0 not of 20 or 32.
    #[error("a program of {length} bytes for witness version {version}")]
    ProgramLength {
        /// The witness version.
        version: u8,
        /// The length in bytes.
        length: usize,
    },
    /// The first byte of a private key's text is another one: that of another network, for example.
    #[error("the prefix byte is {prefix}, not the expected one")]
    WrongPrefix {
        /// The prefix byte that was found.
        prefix: u8,
    },
    /// A private key is not of 32 bytes, or the byte after them is not 1.
    #[error("no private key of 32 bytes with at most a byte of 1 after it")]
    KeyForm,
    /// A private key is zero, or not below the order of the curve.
    #[error("the private key is zero or not below the order of the curve")]
    KeyRange,
}
