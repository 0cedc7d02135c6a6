use caesure_hash::hmac_sha256;
use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher};
use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit, Tag};
use secp256k1::SecretKey;
use secp256k1::ellswift::{ElligatorSwift, Party};

/// After so many packets a cipher takes another key. Core: `REKEY_INTERVAL`.
const REKEY_INTERVAL: u32 = 224;
/// The bit of a packet's first byte that marks a decoy.
const IGNORE_BIT: u8 = 0x80;
/// The bytes before a packet's contents: length 3, flags 1.
pub(crate) const PREFIX_SIZE: usize = 4;
/// The bytes of the length before a packet.
pub(crate) const LENGTH_SIZE: usize = 3;
/// The bytes after a packet's contents.
pub(crate) const TAG_SIZE: usize = 16;
/// The bytes that end the garbage.
pub(crate) const TERMINATOR_SIZE: usize = 16;

/// The keys of a v2 connection, in both directions. Spec: BIP-0324. Core: `BIP324Cipher`.
pub(crate) struct Cipher {
    send_length: LengthCipher,
    send_packet: PacketCipher,
    receive_length: LengthCipher,
    receive_packet: PacketCipher,
    pub(crate) send_terminator: [u8; TERMINATOR_SIZE],
    pub(crate) receive_terminator: [u8; TERMINATOR_SIZE],
    pub(crate) session_id: [u8; 32],
}

impl Cipher {
    /// Derives the keys from our secret key, our public key's encoding and the peer's.
    pub(crate) fn new(
        secret_key: SecretKey,
        [ours, theirs]: [[u8; 64]; 2],
        is_initiator: bool,
        magic: [u8; 4],
    ) -> Self {
        let [ours, theirs] = [ours, theirs].map(ElligatorSwift::from_array);
        let shared = if is_initiator {
            ElligatorSwift::shared_secret(ours, theirs, secret_key, Party::Initiator)
        } else {
            ElligatorSwift::shared_secret(theirs, ours, secret_key, Party::Responder)
        };
        // HKDF with an output of one block. Spec: RFC 5869.
        let salt = [b"bitcoin_v2_shared_secret", &magic[..]].concat();
        let extracted = hmac_sha256(&salt, shared.as_secret_bytes());
        let expand = |info: &str| hmac_sha256(&extracted, &[info.as_bytes(), &[1]].concat());

        let initiator = (expand("initiator_L"), expand("initiator_P"));
        let responder = (expand("responder_L"), expand("responder_P"));
        let terminators = expand("garbage_terminators");
        let terminators = terminators.as_chunks().0;
        let (send, receive, [send_terminator, receive_terminator]) = if is_initiator {
            (initiator, responder, [terminators[0], terminators[1]])
        } else {
            (responder, initiator, [terminators[1], terminators[0]])
        };
        Self {
            send_length: LengthCipher::new(send.0),
            send_packet: PacketCipher::new(send.1),
            receive_length: LengthCipher::new(receive.0),
            receive_packet: PacketCipher::new(receive.1),
            send_terminator,
            receive_terminator,
            session_id: expand("session_id"),
        }
    }

    /// Makes a packet of what stands in `out` from `start` on: [`PREFIX_SIZE`] bytes for it to fill,
    /// and the contents.
    pub(crate) fn encrypt(&mut self, out: &mut Vec<u8>, start: usize, aad: &[u8], is_decoy: bool) {
        let (prefix, _) = out[start..].split_first_chunk_mut().expect("there is a prefix");
        let _: &mut [u8; PREFIX_SIZE] = prefix;
        prefix[PREFIX_SIZE - 1] = if is_decoy { IGNORE_BIT } else { 0 };
        let tag = self.send_packet.encrypt(&mut out[start + LENGTH_SIZE..], aad);
        let size = (out.len() - start - PREFIX_SIZE).to_le_bytes();
        out[start..start + LENGTH_SIZE].copy_from_slice(&size[..LENGTH_SIZE]);
        self.send_length.apply(&mut out[start..start + LENGTH_SIZE]);
        // Of a large packet, which doubling would make twice as large.
        out.reserve_exact(TAG_SIZE);
        out.extend(tag);
    }

    /// Reads the length of the next packet's contents; once for each packet.
    pub(crate) fn decrypt_length(&mut self, mut bytes: [u8; LENGTH_SIZE]) -> usize {
        self.receive_length.apply(&mut bytes);
        bytes.iter().rev().fold(0, |size, byte| size << 8 | usize::from(*byte))
    }

    /// Decrypts flags and contents, followed by the tag, in their place. Returns whether it is a
    /// decoy; none if it was not made by the peer.
    pub(crate) fn decrypt(&mut self, packet: &mut [u8], aad: &[u8]) -> Option<bool> {
        let (data, tag) = packet.split_last_chunk_mut()?;
        self.receive_packet.decrypt(data, aad, tag)?;
        Some(data.first()? & IGNORE_BIT != 0)
    }
}

/// A key for lengths: one stream of [`REKEY_INTERVAL`] of them. BIP-0324: FSChaCha20.
struct LengthCipher {
    stream: ChaCha20,
    count: u32,
    rekeys: u64,
}

impl LengthCipher {
    fn new(key: [u8; 32]) -> Self {
        Self { stream: ChaCha20::new(&key.into(), &nonce(0, 0).into()), count: 0, rekeys: 0 }
    }

    fn apply(&mut self, bytes: &mut [u8]) {
        self.stream.apply_keystream(bytes);
        self.count += 1;
        if self.count == REKEY_INTERVAL {
            let mut key = [0; 32];
            self.stream.apply_keystream(&mut key);
            let rekeys = self.rekeys + 1;
            let stream = ChaCha20::new(&key.into(), &nonce(0, rekeys).into());
            *self = Self { stream, count: 0, rekeys };
        }
    }
}

/// A key for flags and contents. BIP-0324: FSChaCha20Poly1305.
struct PacketCipher {
    aead: ChaCha20Poly1305,
    count: u32,
    rekeys: u64,
}

impl PacketCipher {
    fn new(key: [u8; 32]) -> Self {
        Self { aead: ChaCha20Poly1305::new(&key.into()), count: 0, rekeys: 0 }
    }

    fn encrypt(&mut self, data: &mut [u8], aad: &[u8]) -> Tag {
        let nonce = nonce(self.count, self.rekeys).into();
        let tag = self.aead.encrypt_inout_detached(&nonce, aad, data.into());
        self.advance();
        tag.expect("a packet is no 256 GiB")
    }

    fn decrypt(&mut self, data: &mut [u8], aad: &[u8], tag: &[u8; TAG_SIZE]) -> Option<()> {
        let nonce = nonce(self.count, self.rekeys).into();
        let result = self.aead.decrypt_inout_detached(&nonce, aad, data.into(), &(*tag).into());
        self.advance();
        result.ok()
    }

    fn advance(&mut self) {
        self.count += 1;
        if self.count == REKEY_INTERVAL {
            let mut key = [0; 32];
            let nonce = nonce(u32::MAX, self.rekeys).into();
            self.aead
                .encrypt_inout_detached(&nonce, &[], key.as_mut_slice().into())
                .expect("a key is no 256 GiB");
            *self = Self { rekeys: self.rekeys + 1, ..Self::new(key) };
        }
    }
}

fn nonce(count: u32, rekeys: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[..4].copy_from_slice(&count.to_le_bytes());
    nonce[4..].copy_from_slice(&rekeys.to_le_bytes());
    nonce
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two lines of BIP-0324's packet_encoding_test_vectors.csv.
    const GOLDEN: [&str; 2] = [
        "1,61062ea5071d800bbfd59e2e8b53d47d194b095ae5a4df04936b49772ef0d4d7,ec0adff257bbfe500c188\
         c80b4fdd640f6b45a482bbc15fc7cef5931deff0aa186f6eb9bba7b85dc4dcc28b28722de1e3d9108b985e29\
         67045668f66098e475b,a4a94dfce69b4a2a0a099313d10f9f7e7d649d60501c9e1d274c300e0d89aafaffff\
         ffffffffffffffffffffffffffffffffffffffffffffffffffff8faf88d5,1,8e,1,,0,19e965bc20fc40614\
         e33f2f82d4eeff81b5e7516b12a5c6c0d6053527eba0923,0c71defa3fafd74cb835102acd81490963f6b72d\
         889495e06561375bd65f6ffc,4eb2bf85bd00939468ea2abb25b63bc642e3d1eb8b967fb90caa2d89e716050\
         e,c6992a117f5edbea70c3f511d32d26b9798be4b81a62eaee1a5acaa8459a3592,9a6478b5fbab1f4dd2f78\
         994b774c03211c78312786e602da75a0d1767fb55cf,7d0c7820ba6a4d29ce40baf2caa6035e04f1e1cefd59\
         f3e7e59e9e5af84f1f51,17bc726421e4054ac6a1d54915085aaa766f4d3cf67bbd168e6080eac289d15e,9f\
         0fc1c0e85fd9a8eee07e6fc41dba2ff54c7729068a239ac97c37c524cca1c0,faef555dfcdb936425d84aba5\
         24758f3,02cb8ff24307a6e27de3b4e7ea3fa65b,ce72dffb015da62b0d0f5474cab8bc72605225b0cee3f62\
         312ec680ec5f41ba5,7530d2a18720162ac09c25329a60d75adf36eda3c3,",
        "999,6f312890ec83bbb26798abaadd574684a53e74ccef7953b790fcc29409080246,a8785af31c029efc82f\
         a9fc677d7118031358d7c6a25b5779a9b900e5ccd94aac97eb36a3c5dbcdb2ca5843cc4c2fe0aaa46d10eb3d\
         233a81c3dde476da00eef,fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2f00\
         00000000000000000000000000000000000000000000000000000000000000,0,3eb1d4e98035cfd8eeb29ba\
         c969ed3824a,1,,0,d4b65faa965b31fe2d9faaeb806c6449a50fe3679555c3518f7a0885f572457f,edd1fd\
         3e327ce90cc7a3542614289aee9682003e9cf7dcc9cf2ca9743be5aa0c,13c1bf6a3ca37da9ffc7f45ec1810\
         fa935c45454c03dc0144c1a9755bb52f81f,a6f79eb08243b6f65dbe42bfe4a6cf3f131d6963fa5d06c770a1\
         8f7b9c489b78,efc938c88c925459a9c837238716cfadfb1c3016f60d12923933710b5fcc9b55,91702f3cbd\
         33b3c4a0b29b40548aea1ab01e43582db194afee70637d247aa036,7f457572e4260c611a6858acc8f325d87\
         a3c8af8a59ce1da26ef6041f35715e8,1fe4d56334f5b0a5bd3c71ce4e338f40fc7e194925daa7ee6ce98aec\
         f1766d7c,44737108aec5f8b6c1c277b31bbce9c1,ca29b3a35237f8212bd13ed187a1da2e,b0490e26111cb\
         2d55bbff2ace00f7f644f64006539abb4e7513f05107bb10608,d78adbcba0eebfb15cfbd8142c84dc729d23\
         3d0dc11b1d851e46a114122b8d5b96b7d59317,",
    ];

    fn bytes(hex: &str) -> Vec<u8> {
        let digit = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        (0..hex.len()).step_by(2).map(digit).collect()
    }

    fn array<const N: usize>(hex: &str) -> [u8; N] {
        bytes(hex).try_into().unwrap()
    }

    /// The session id that a line of the vectors gives, and its packet, which the other side reads.
    fn check(line: &str) {
        let fields: Vec<&str> = line.trim_end().split(',').collect();
        let [index, secret_key, ours, theirs, is_initiator, contents, times, aad, is_decoy, ..] =
            fields[..]
        else {
            panic!("a line with too few fields");
        };
        let is_initiator = is_initiator == "1";
        let secret_key = SecretKey::from_secret_bytes(array(secret_key)).unwrap();
        let keys = [array(ours), array(theirs)];
        let magic = [0xf9, 0xbe, 0xb4, 0xd9];
        let new = || Cipher::new(secret_key, keys, is_initiator, magic);
        let mut cipher = new();
        assert_eq!(cipher.send_terminator, array(fields[17]));
        assert_eq!(cipher.receive_terminator, array(fields[18]));
        assert_eq!(cipher.session_id, array(fields[19]));

        // What the peer would receive by.
        let mut peer = new();
        std::mem::swap(&mut peer.send_length, &mut peer.receive_length);
        std::mem::swap(&mut peer.send_packet, &mut peer.receive_packet);
        let mut packet = Vec::new();
        for _ in 0..index.parse().unwrap() {
            packet = vec![0; PREFIX_SIZE];
            cipher.encrypt(&mut packet, 0, &[], false);
            assert_eq!(peer.decrypt_length(*packet.first_chunk().unwrap()), 0);
            assert_eq!(peer.decrypt(&mut packet[LENGTH_SIZE..], &[]), Some(false));
        }
        let (contents, aad) = (bytes(contents).repeat(times.parse().unwrap()), bytes(aad));
        packet.splice(.., [0; PREFIX_SIZE]);
        packet.extend(&contents);
        cipher.encrypt(&mut packet, 0, &aad, is_decoy == "1");
        if fields[20].is_empty() {
            assert!(packet.ends_with(&bytes(fields[21])));
        } else {
            assert_eq!(packet, bytes(fields[20]));
        }
        assert_eq!(peer.decrypt_length(*packet.first_chunk().unwrap()), contents.len());
        assert_eq!(peer.decrypt(&mut packet[LENGTH_SIZE..], &aad), Some(is_decoy == "1"));
        assert_eq!(packet[PREFIX_SIZE..PREFIX_SIZE + contents.len()], contents);
    }

    #[test]
    fn packets_are_those_of_bip_0324() {
        GOLDEN.into_iter().for_each(check);
        let Some(folder) = std::env::var_os("CAESURE_TEST_DATA") else {
            return println!("the file of vectors is left out, CAESURE_TEST_DATA is not set");
        };
        let path = std::path::Path::new(&folder).join("bips");
        let text = std::fs::read(path.join("bip-0324-packet_encoding_test_vectors.csv")).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert_eq!(text.lines().skip(1).map(check).count(), 7);
    }
}
