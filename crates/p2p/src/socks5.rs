/// Why a proxy did not connect us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Socks5Error {
    /// The host's name has more than 255 bytes, or is none.
    #[error("the name of the host is empty or longer than 255 bytes")]
    Name,
    /// It does not speak version 5.
    #[error("the proxy does not speak SOCKS5")]
    Version,
    /// It wants another authentication than was offered.
    #[error("the proxy wants authentication by method {0:#04x}, which was not offered")]
    Method(u8),
    /// It did not take user and password.
    #[error("the proxy did not accept user and password")]
    Authentication,
    /// It did not connect us.
    #[error("the proxy did not connect: {}", reply_text(*.0))]
    Refused(u8),
    /// Its reply is none.
    #[error("the proxy sent a malformed reply")]
    Malformed,
}

/// What a proxy's bytes led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Socks5Step {
    /// More bytes are needed.
    Wait,
    /// These go to the proxy; then ask again.
    Send(Vec<u8>),
    /// The connection stands: what is left of the bytes, and what follows, comes from the peer.
    Connected,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Method,
    Authentication,
    Reply,
    Connected,
}

/// A client of a SOCKS5 proxy, over buffers. Names are looked up by the proxy. At most 262 bytes are
/// waited for, whatever lengths a reply claims. Spec: RFC 1928, RFC 1929.
#[derive(Clone, Debug)]
pub struct Socks5 {
    stage: Stage,
    request: Vec<u8>,
    login: Option<Vec<u8>>,
}

impl Socks5 {
    /// Begins a connection to a host; returns what goes to the proxy first. With `isolation`, random
    /// bytes, they are user and password, which has Tor use a circuit for this connection alone.
    ///
    /// # Errors
    /// When the name does not fit.
    pub fn new(
        host: &str,
        port: u16,
        isolation: Option<[u8; 16]>,
    ) -> Result<(Self, Vec<u8>), Socks5Error> {
        let len = u8::try_from(host.len()).ok().filter(|&len| len > 0).ok_or(Socks5Error::Name)?;
        // Version, CONNECT, reserved, a name.
        let mut request = vec![5, 1, 0, 3, len];
        request.extend(host.as_bytes());
        request.extend(port.to_be_bytes());
        let login = isolation.map(|random| {
            let mut login = vec![1];
            for word in random.as_chunks::<8>().0 {
                let word = format!("{:016x}", u64::from_le_bytes(*word));
                login.push(16);
                login.extend(word.as_bytes());
            }
            login
        });
        let hello = if login.is_some() { vec![5, 2, 0, 2] } else { vec![5, 1, 0] };
        Ok((Self { stage: Stage::Method, request, login }, hello))
    }

    /// Takes what it needs from the front of the bytes that came.
    ///
    /// # Errors
    /// When the proxy refused or broke the protocol: the connection is to be closed.
    pub fn receive(&mut self, buffer: &mut Vec<u8>) -> Result<Socks5Step, Socks5Error> {
        match (self.stage, &buffer[..]) {
            (Stage::Connected, _) => Ok(Socks5Step::Connected),
            (Stage::Method, [5, method, ..]) => {
                let method = *method;
                buffer.drain(..2);
                match (method, self.login.take()) {
                    (0, _) => Ok(self.ask()),
                    (2, Some(login)) => {
                        self.stage = Stage::Authentication;
                        Ok(Socks5Step::Send(login))
                    }
                    _ => Err(Socks5Error::Method(method)),
                }
            }
            (Stage::Authentication, [1, 0, ..]) => {
                buffer.drain(..2);
                Ok(self.ask())
            }
            (Stage::Reply, [5, 0, 0, kind, rest @ ..]) => {
                let len = match (kind, rest.first()) {
                    (1, _) => 4,
                    (4, _) => 16,
                    (3, Some(&len)) => 1 + usize::from(len),
                    (3, None) => return Ok(Socks5Step::Wait),
                    _ => return Err(Socks5Error::Malformed),
                };
                if rest.len() < len + 2 {
                    return Ok(Socks5Step::Wait);
                }
                buffer.drain(..4 + len + 2);
                self.stage = Stage::Connected;
                Ok(Socks5Step::Connected)
            }
            (Stage::Method, [] | [5])
            | (Stage::Authentication, [] | [_])
            | (Stage::Reply, [] | [5] | [5, 0] | [5, 0, 0]) => Ok(Socks5Step::Wait),
            (Stage::Authentication, _) => Err(Socks5Error::Authentication),
            (Stage::Reply, [5, 0, ..]) => Err(Socks5Error::Malformed),
            (Stage::Reply, [5, code, ..]) => Err(Socks5Error::Refused(*code)),
            (Stage::Method | Stage::Reply, _) => Err(Socks5Error::Version),
        }
    }

    fn ask(&mut self) -> Socks5Step {
        self.stage = Stage::Reply;
        Socks5Step::Send(core::mem::take(&mut self.request))
    }
}

/// Returns what a reply says, Tor's own among them.
const fn reply_text(code: u8) -> &'static str {
    match code {
        0x01 => "general failure",
        0x02 => "connection not allowed",
        0x03 => "network unreachable",
        0x04 => "host unreachable",
        0x05 => "connection refused",
        0x06 => "time to live expired",
        0x07 => "command not supported",
        0x08 => "address type not supported",
        0xf0 => "onion service descriptor not found",
        0xf1 => "onion service descriptor invalid",
        0xf2 => "onion service introduction failed",
        0xf3 => "onion service rendezvous failed",
        0xf4 => "onion service wants client authorization",
        0xf5 => "onion service refuses the client authorization",
        0xf6 => "onion address invalid",
        0xf7 => "onion service introduction timed out",
        _ => "unknown reason",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Lets the client run until it waits, and returns what it sent and whether it is connected.
    fn run(client: &mut Socks5, buffer: &mut Vec<u8>) -> Result<(Vec<u8>, bool), Socks5Error> {
        let mut sent = Vec::new();
        loop {
            match client.receive(buffer)? {
                Socks5Step::Wait => return Ok((sent, false)),
                Socks5Step::Send(bytes) => sent.extend(bytes),
                Socks5Step::Connected => return Ok((sent, true)),
            }
        }
    }

    /// Returns a client that has asked to be connected.
    fn asked() -> Socks5 {
        let (mut client, hello) = Socks5::new("a.onion", 0x1234, None).unwrap();
        assert_eq!(hello, [5, 1, 0]);
        let (sent, is_connected) = run(&mut client, &mut vec![5, 0]).unwrap();
        assert_eq!(sent, b"\x05\x01\x00\x03\x07a.onion\x12\x34");
        assert!(!is_connected);
        client
    }

    #[test]
    fn it_connects_and_leaves_what_the_peer_sent() {
        for reply in [
            &[5, 0, 0, 1, 1, 2, 3, 4, 9, 9][..],
            &[5, 0, 0, 3, 3, b'a', b'.', b'b', 9, 9],
            &[5, 0, 0, 3, 0, 9, 9],
            &[5, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 9, 9],
        ] {
            for split in 0..reply.len() {
                let mut client = asked();
                let mut buffer = reply[..split].to_vec();
                assert_eq!(run(&mut client, &mut buffer), Ok((vec![], false)));
                buffer.extend(&reply[split..]);
                buffer.extend(b"peer");
                assert_eq!(run(&mut client, &mut buffer), Ok((vec![], true)));
                assert_eq!(buffer, b"peer");
                assert_eq!(run(&mut client, &mut buffer), Ok((vec![], true)));
            }
        }
    }

    #[test]
    fn isolated_connections_log_in_as_random_users() {
        let random = core::array::from_fn(|i| u8::try_from(i).unwrap());
        let (mut client, hello) = Socks5::new("1.2.3.4", 1, Some(random)).unwrap();
        assert_eq!(hello, [5, 2, 0, 2]);
        let (login, _) = run(&mut client, &mut vec![5, 2]).unwrap();
        assert_eq!(login, b"\x01\x100706050403020100\x100f0e0d0c0b0a0908");
        let (request, _) = run(&mut client, &mut vec![1, 0]).unwrap();
        assert_eq!(request, b"\x05\x01\x00\x03\x071.2.3.4\x00\x01");
        let (mut client, _) = Socks5::new("1.2.3.4", 1, Some(random)).unwrap();
        run(&mut client, &mut vec![5, 2]).unwrap();
        assert_eq!(run(&mut client, &mut vec![1, 1]), Err(Socks5Error::Authentication));
        // A proxy that wants no login is asked at once.
        let (mut client, _) = Socks5::new("1.2.3.4", 1, Some(random)).unwrap();
        assert_eq!(run(&mut client, &mut vec![5, 0]).unwrap().0, request);
    }

    #[test]
    fn every_refusal_has_its_sentence() {
        let error = |bytes: &[u8]| run(&mut asked(), &mut bytes.to_vec()).unwrap_err();
        assert_eq!(error(&[5, 4]).to_string(), "the proxy did not connect: host unreachable");
        assert_eq!(
            error(&[5, 0xf0, 0]).to_string(),
            "the proxy did not connect: onion service descriptor not found"
        );
        assert_eq!(error(&[5, 99]).to_string(), "the proxy did not connect: unknown reason");
        assert_eq!(error(&[4]), Socks5Error::Version);
        assert_eq!(error(&[5, 0, 1]), Socks5Error::Malformed);
        assert_eq!(error(&[5, 0, 0, 2, 0]), Socks5Error::Malformed);
        let first = |bytes: &[u8]| {
            let (mut client, _) = Socks5::new("a", 1, None).unwrap();
            run(&mut client, &mut bytes.to_vec()).unwrap_err()
        };
        assert_eq!(first(b"HTTP"), Socks5Error::Version);
        assert_eq!(first(&[5, 2]), Socks5Error::Method(2));
        assert_eq!(first(&[5, 255]), Socks5Error::Method(255));
        let long = "a".repeat(256);
        assert_eq!(Socks5::new(&long, 1, None).unwrap_err(), Socks5Error::Name);
        assert_eq!(Socks5::new("", 1, None).unwrap_err(), Socks5Error::Name);
        assert!(Socks5::new(&long[1..], 1, None).is_ok());
    }

    #[test]
    fn a_reply_of_the_longest_name_is_262_bytes_and_no_more_is_kept_cve_2017_18350() {
        let mut client = asked();
        let mut buffer = [&[5, 0, 0, 3, 255][..], &[0xff; 256]].concat();
        assert_eq!(run(&mut client, &mut buffer), Ok((vec![], false)));
        assert_eq!(buffer.len(), 261);
        buffer.extend([1, 2, 3]);
        assert_eq!(run(&mut client, &mut buffer), Ok((vec![], true)));
        assert_eq!(buffer, [2, 3]);
    }

    proptest! {
        #[test]
        fn any_bytes_end_within_262_or_give_an_error(
            bytes in prop::collection::vec(prop_oneof![Just(5), 0..5_u8, any::<u8>()], 0..600),
            isolation: Option<[u8; 16]>,
        ) {
            let (mut client, _) = Socks5::new("host", 8333, isolation).unwrap();
            let mut buffer = Vec::new();
            for byte in bytes {
                buffer.push(byte);
                match run(&mut client, &mut buffer) {
                    Ok((_, false)) => prop_assert!(buffer.len() < 262),
                    Ok((_, true)) | Err(_) => break,
                }
            }
        }
    }
}
