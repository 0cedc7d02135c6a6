use std::fmt;
use std::mem::take;
use std::ops::Range;

use caesure_wire::{FrameHeader, MAX_PAYLOAD, Message, pad_command, unpad_command};
use secp256k1::SecretKey;
use secp256k1::ellswift::ElligatorSwift;

use crate::Random;
use crate::cipher::{Cipher, LENGTH_SIZE, PREFIX_SIZE, TAG_SIZE, TERMINATOR_SIZE};

/// What follows the magic where a v1 connection begins.
const V1_START: [u8; 12] = *b"version\0\0\0\0\0";
/// The bytes of an ElligatorSwift encoding.
const KEY_SIZE: usize = 64;
/// The most bytes of garbage. Core: `MAX_GARBAGE_LEN`.
const MAX_GARBAGE_SIZE: usize = 4_095;
/// What a packet is longer than its contents.
const EXPANSION: usize = PREFIX_SIZE + TAG_SIZE;
/// The bytes of a command that stands in full.
const COMMAND_SIZE: usize = 12;
/// The most bytes of a packet's contents. Core: `MAX_CONTENTS_LEN`.
const MAX_CONTENTS_SIZE: usize = 1 + COMMAND_SIZE + MAX_PAYLOAD;
/// How much larger than what came a buffer may grow. Core: `MAX_RESERVE_AHEAD`.
const RESERVE_AHEAD: usize = 256 * 1024;
/// The commands that one byte stands for: its place here, between spaces. Spec: BIP-0324. Core:
/// `V2_MESSAGE_IDS`.
pub(crate) const SHORT_COMMANDS: &str = " addr block blocktxn cmpctblock feefilter filteradd filterclear \
    filterload getblocks getblocktxn getdata getheaders headers inv mempool merkleblock notfound \
    ping pong sendcmpct tx getcfilters cfilter getcfheaders cfheaders getcfcheckpt cfcheckpt addrv2 \
    \x20       feature";

/// Why a connection cannot go on: it must be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The peer speaks to another network.
    #[error("wrong network magic {0:02x?}")]
    WrongMagic([u8; 4]),
    /// A message is over the limit; seen in its header, before there is memory for it.
    #[error("message of {0} bytes is over the limit")]
    TooLong(usize),
    /// No garbage terminator after 4,111 bytes.
    #[error("missing garbage terminator")]
    MissingTerminator,
    /// A packet was changed, or made with another key.
    #[error("packet of {0} bytes does not authenticate")]
    BadPacket(usize),
}

/// Which transport a connection speaks, as `getpeerinfo` says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TransportKind {
    /// Not known yet.
    #[default]
    Detecting,
    /// In the clear.
    V1,
    /// Encrypted. Spec: BIP-0324.
    V2,
}

impl TransportKind {
    /// Returns Core's name of it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Detecting => "detecting",
            Self::V1 => "v1",
            Self::V2 => "v2",
        }
    }
}

/// A message that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The command.
    pub command: String,
    /// The payload.
    pub payload: Vec<u8>,
    /// How many bytes it took on the wire.
    pub size: usize,
}

/// Command and payload, none if the message is to be passed over; and how many bytes it took.
type Taken = (Option<(String, Vec<u8>)>, usize);

/// One connection's framing, without I/O: bytes in, messages out, and back.
///
/// It holds what came and was not asked for by [`next`](Self::next), which its owner bounds by
/// [`buffered`](Self::buffered), and never reserves memory for a length that is only claimed. Both
/// buffers are given back when they are empty.
#[derive(Default)]
pub struct Transport {
    magic: [u8; 4],
    is_initiator: bool,
    state: State,
    input: Vec<u8>,
    /// How many bytes of `input` are done with.
    used: usize,
    output: Vec<u8>,
    /// Messages for which there is no key yet.
    waiting: Vec<(String, Vec<u8>)>,
    has_received: bool,
    has_sent: bool,
    rejected_bytes: u64,
}

#[derive(Default)]
enum State {
    #[default]
    V1,
    /// A peer dialled, and it is not known whether v1 or v2. A seed for our key.
    Detecting([u8; 32]),
    /// Our key and garbage are out.
    Key(Box<Handshake>),
    /// The peer's key came.
    V2(Box<Secured>),
}

struct Handshake {
    secret_key: SecretKey,
    public_key: [u8; KEY_SIZE],
    garbage: Vec<u8>,
}

struct Secured {
    cipher: Cipher,
    phase: Phase,
    /// What the next packet authenticates: in the first the garbage that came before it.
    aad: Vec<u8>,
    /// The size of the next packet's contents, if that came.
    size: Option<usize>,
}

#[derive(PartialEq)]
enum Phase {
    /// Garbage comes; so many bytes of it begin no terminator.
    Garbage(usize),
    /// The version packet comes, and decoys before it.
    Version,
    /// Messages come, and decoys.
    Ready,
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport")
            .field("kind", &self.kind())
            .field("buffered", &self.buffered())
            .field("output", &self.output.len())
            .finish_non_exhaustive()
    }
}

impl Transport {
    /// Begins a connection that we dialled.
    #[must_use]
    pub fn initiator(magic: [u8; 4], v2: bool, random: &mut Random) -> Self {
        let mut transport = Self { magic, is_initiator: true, ..Self::default() };
        if v2 {
            transport.send_key(random);
        }
        transport
    }

    /// Begins a connection that was accepted: v1 if it begins as such, or v2 is not accepted.
    #[must_use]
    pub fn responder(magic: [u8; 4], accepts_v2: bool, random: &mut Random) -> Self {
        let state = if accepts_v2 { State::Detecting(random.bytes()) } else { State::V1 };
        Self { magic, state, ..Self::default() }
    }

    /// Takes bytes that came. There may be output afterwards.
    ///
    /// # Errors
    /// When the connection must be closed.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<(), TransportError> {
        self.has_received |= !bytes.is_empty();
        if self.input.capacity() < self.input.len() + bytes.len() {
            self.input.reserve_exact(bytes.len() + self.input.len().min(RESERVE_AHEAD));
        }
        self.input.extend_from_slice(bytes);
        while self.advance()? {}
        Ok(())
    }

    /// Returns the next message that came whole. One whose checksum or name is wrong is passed over.
    ///
    /// # Errors
    /// When the connection must be closed.
    #[expect(clippy::should_implement_trait, reason = "it can fail")]
    pub fn next(&mut self) -> Result<Option<Frame>, TransportError> {
        loop {
            let taken = match self.kind() {
                TransportKind::V1 => self.next_v1()?,
                TransportKind::V2 => self.next_v2()?,
                TransportKind::Detecting => None,
            };
            match taken {
                None => return Ok(None),
                Some((Some((command, payload)), size)) => {
                    return Ok(Some(Frame { command, payload, size }));
                }
                Some((None, size)) => self.rejected_bytes += size as u64,
            }
        }
    }

    /// Sends a message, and returns how many bytes it takes on the wire. As long as there is no key,
    /// it waits.
    pub fn send(&mut self, message: &Message) -> usize {
        self.write(message.command(), |out| message.encode_payload(out))
    }

    /// Sends any payload under any command, of which twelve bytes fit in; returns the bytes that it
    /// takes on the wire.
    pub fn send_raw(&mut self, command: &str, payload: &[u8]) -> usize {
        self.write(command, |out| out.extend_from_slice(payload))
    }

    /// Returns what is to be written, and forgets it.
    pub fn take_output(&mut self) -> Vec<u8> {
        self.has_sent |= !self.output.is_empty();
        take(&mut self.output)
    }

    /// Returns what the connection speaks: v2 only once the peer has shown that it has the keys.
    #[must_use]
    pub const fn kind(&self) -> TransportKind {
        match &self.state {
            State::V1 => TransportKind::V1,
            State::V2(v2) if matches!(v2.phase, Phase::Ready) => TransportKind::V2,
            _ => TransportKind::Detecting,
        }
    }

    /// Returns the session id of a v2 connection.
    #[must_use]
    pub fn session_id(&self) -> Option<[u8; 32]> {
        let State::V2(v2) = &self.state else { return None };
        (v2.phase == Phase::Ready).then_some(v2.cipher.session_id)
    }

    /// Returns whether a connection that was closed just now shall be dialled anew as v1: a v2 one of
    /// ours, on which our key went out and no byte came. Core: `ShouldReconnectV1`.
    #[must_use]
    pub const fn should_fall_back_to_v1(&self) -> bool {
        let is_v2 = !matches!(self.state, State::V1);
        self.is_initiator && is_v2 && self.has_sent && !self.has_received
    }

    /// Returns how many bytes came and were not given out.
    #[must_use]
    pub const fn buffered(&self) -> usize {
        self.input.len() - self.used
    }

    /// Returns the bytes of all messages that came with a wrong checksum or name, and were passed over.
    #[must_use]
    pub const fn rejected_bytes(&self) -> u64 {
        self.rejected_bytes
    }

    /// Takes one step of the handshake; returns whether another may be due.
    fn advance(&mut self) -> Result<bool, TransportError> {
        let came = &self.input[self.used..];
        match &mut self.state {
            State::V1 => Ok(false),
            State::Detecting(seed) => {
                let start = [&self.magic[..], &V1_START].concat();
                let seed = *seed;
                if !start.starts_with(&came[..came.len().min(start.len())]) {
                    self.send_key(&mut Random::new(seed));
                    return Ok(true);
                }
                if start.len() <= came.len() {
                    self.state = State::V1;
                    self.send_waiting();
                }
                Ok(false)
            }
            State::Key(_) => self.take_key(),
            State::V2(v2) => match v2.phase {
                Phase::Garbage(searched) => {
                    let most = came.len().min(MAX_GARBAGE_SIZE + TERMINATOR_SIZE);
                    let mut places = came[searched..most].windows(TERMINATOR_SIZE);
                    if let Some(at) = places.position(|at| *at == v2.cipher.receive_terminator) {
                        v2.aad = came[..searched + at].to_vec();
                        v2.phase = Phase::Version;
                        self.consume(searched + at + TERMINATOR_SIZE);
                        return Ok(true);
                    }
                    v2.phase = Phase::Garbage((most + 1).saturating_sub(TERMINATOR_SIZE));
                    let is_over = most == MAX_GARBAGE_SIZE + TERMINATOR_SIZE;
                    if is_over { Err(TransportError::MissingTerminator) } else { Ok(false) }
                }
                Phase::Version => match self.open_packet()? {
                    Some((is_decoy, contents)) => {
                        self.consume(contents.len() + EXPANSION);
                        if let State::V2(v2) = &mut self.state
                            && !is_decoy
                        {
                            v2.phase = Phase::Ready;
                        }
                        Ok(true)
                    }
                    None => Ok(false),
                },
                Phase::Ready => Ok(false),
            },
        }
    }

    /// Makes a key, and sends it with garbage.
    fn send_key(&mut self, random: &mut Random) {
        let secret_key = loop {
            // Of 2^128 numbers, one is no key.
            if let Ok(secret_key) = SecretKey::from_secret_bytes(random.bytes()) {
                break secret_key;
            }
        };
        let public_key = ElligatorSwift::from_seckey(secret_key, Some(random.bytes())).to_array();
        let mut garbage = vec![0; random.index(MAX_GARBAGE_SIZE + 1)];
        random.fill(&mut garbage);
        self.output.extend(public_key);
        self.output.extend(&garbage);
        self.state = State::Key(Box::new(Handshake { secret_key, public_key, garbage }));
    }

    /// Takes the peer's key, ends our garbage, and says the version, which is empty.
    fn take_key(&mut self) -> Result<bool, TransportError> {
        let (State::Key(handshake), came) = (&self.state, &self.input[self.used..]) else {
            return Ok(false);
        };
        // A v1 peer of another network: our key says nothing to it.
        if let Some((magic, rest)) = came.split_first_chunk()
            && !self.is_initiator
            && rest.starts_with(&V1_START)
        {
            return Err(TransportError::WrongMagic(*magic));
        }
        let Some(theirs) = came.first_chunk() else { return Ok(false) };
        let Handshake { secret_key, public_key, garbage } = &**handshake;
        let keys = [*public_key, *theirs];
        let mut cipher = Cipher::new(*secret_key, keys, self.is_initiator, self.magic);
        self.output.extend(cipher.send_terminator);
        let start = self.output.len();
        self.output.extend([0; PREFIX_SIZE]);
        cipher.encrypt(&mut self.output, start, garbage, false);
        let phase = Phase::Garbage(0);
        self.state = State::V2(Box::new(Secured { cipher, phase, aad: Vec::new(), size: None }));
        self.consume(KEY_SIZE);
        self.send_waiting();
        Ok(true)
    }

    /// Decrypts the next packet in its place, if it came whole. Returns whether it is a decoy, and
    /// where its contents are; it is not consumed.
    fn open_packet(&mut self) -> Result<Option<(bool, Range<usize>)>, TransportError> {
        let State::V2(v2) = &mut self.state else { return Ok(None) };
        let came = &mut self.input[self.used..];
        let size = match (v2.size, came.first_chunk()) {
            (Some(size), _) => size,
            (None, Some(length)) => v2.cipher.decrypt_length(*length),
            (None, None) => return Ok(None),
        };
        v2.size = Some(size);
        if MAX_CONTENTS_SIZE < size {
            return Err(TransportError::TooLong(size));
        }
        let Some(packet) = came.get_mut(LENGTH_SIZE..size + EXPANSION) else { return Ok(None) };
        let is_decoy = v2.cipher.decrypt(packet, &take(&mut v2.aad));
        let is_decoy = is_decoy.ok_or(TransportError::BadPacket(size))?;
        v2.size = None;
        let start = self.used + PREFIX_SIZE;
        Ok(Some((is_decoy, start..start + size)))
    }

    fn next_v2(&mut self) -> Result<Option<Taken>, TransportError> {
        while let Some((is_decoy, contents)) = self.open_packet()? {
            let size = contents.len() + EXPANSION;
            let message = split_contents(&self.input[contents])
                .map(|(command, payload)| (String::from(command), payload.to_vec()));
            self.consume(size);
            if !is_decoy {
                return Ok(Some((message, size)));
            }
        }
        Ok(None)
    }

    fn next_v1(&mut self) -> Result<Option<Taken>, TransportError> {
        let Some((header, rest)) = self.input[self.used..].split_first_chunk() else {
            return Ok(None);
        };
        let header = FrameHeader::from_bytes(header);
        if header.magic != self.magic {
            return Err(TransportError::WrongMagic(header.magic));
        }
        let size = usize::try_from(header.length).unwrap_or(usize::MAX);
        if MAX_PAYLOAD < size {
            return Err(TransportError::TooLong(size));
        }
        let Some(payload) = rest.get(..size) else { return Ok(None) };
        let command = header.command().filter(|_| header.matches(payload));
        let message = command.map(|command| (String::from(command), payload.to_vec()));
        let size = FrameHeader::SIZE + size;
        self.consume(size);
        Ok(Some((message, size)))
    }

    fn write(&mut self, command: &str, encode: impl FnOnce(&mut Vec<u8>)) -> usize {
        let out = &mut self.output;
        let start = out.len();
        match &mut self.state {
            State::V1 => {
                out.extend([0; FrameHeader::SIZE]);
                encode(out);
                let (header, payload) = out[start..].split_at_mut(FrameHeader::SIZE);
                let bytes = FrameHeader::new(self.magic, command, payload).to_bytes();
                header.copy_from_slice(&bytes);
            }
            State::V2(v2) => {
                out.extend([0; PREFIX_SIZE]);
                push_command(out, command);
                encode(out);
                v2.cipher.encrypt(out, start, &[], false);
            }
            State::Detecting(_) | State::Key(_) => {
                let (mut prefix, mut payload) = (Vec::new(), Vec::new());
                push_command(&mut prefix, command);
                encode(&mut payload);
                let size = prefix.len() + payload.len() + EXPANSION;
                self.waiting.push((String::from(command), payload));
                return size;
            }
        }
        self.output.len() - start
    }

    fn send_waiting(&mut self) {
        for (command, payload) in take(&mut self.waiting) {
            self.send_raw(&command, &payload);
        }
    }

    /// Forgets bytes that came. What is left is moved to the front when it is the smaller part.
    fn consume(&mut self, size: usize) {
        self.used += size;
        if self.used == self.input.len() {
            (self.input, self.used) = (Vec::new(), 0);
        } else if self.input.len() < 2 * self.used {
            self.input.drain(..self.used);
            self.used = 0;
        }
    }
}

/// Appends the byte that stands for a command, or a zero and its twelve bytes.
fn push_command(out: &mut Vec<u8>, command: &str) {
    match (0_u8..).zip(SHORT_COMMANDS.split(' ')).skip(1).find(|(_, name)| *name == command) {
        Some((id, _)) => out.push(id),
        None => {
            out.push(0);
            out.extend(pad_command(command));
        }
    }
}

/// Core: `V2Transport::GetMessageType`.
fn split_contents(contents: &[u8]) -> Option<(&str, &[u8])> {
    let (id, rest) = contents.split_first()?;
    if *id != 0 {
        return SHORT_COMMANDS.split(' ').nth((*id).into()).map(|command| (command, rest));
    }
    let (command, payload) = rest.split_first_chunk()?;
    Some((unpad_command(command, 0x7f)?, payload))
}

#[cfg(test)]
mod tests;
