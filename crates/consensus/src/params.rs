use alloc::boxed::Box;
use alloc::vec::Vec;

use caesure_hash::sha256d;
use caesure_script::{AddressPrefixes, Flags, opcode, push_slice};
use caesure_wire::{
    BlockHash, Header, MerkleRoot, OutPoint, Transaction, TxIn, TxOut, encode_block,
    push_compact_size,
};

use crate::{COIN, Target, Work};

/// A network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Network {
    /// The network on which bitcoins have a value.
    Main,
    /// The third test network, with minimum-difficulty blocks.
    Testnet3,
    /// The fourth test network. Spec: BIP-0094.
    Testnet4,
    /// A test network with signed blocks. Spec: BIP-0325.
    Signet,
    /// A private network where a block takes two hashes.
    Regtest,
}

impl Network {
    /// All networks.
    pub const ALL: [Self; 5] =
        [Self::Main, Self::Testnet3, Self::Testnet4, Self::Signet, Self::Regtest];

    /// Returns the name, which is that of Core's data folder too, but for `main`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Testnet3 => "testnet3",
            Self::Testnet4 => "testnet4",
            Self::Signet => "signet",
            Self::Regtest => "regtest",
        }
    }
}

/// A soft fork that a height switches on. Core: `BuriedDeployment`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deployment {
    /// The coinbase begins with the height; versions below 2 end. Spec: BIP-0034.
    HeightInCoinbase,
    /// Signatures are strict DER; versions below 3 end. Spec: BIP-0066.
    DerSig,
    /// `OP_CHECKLOCKTIMEVERIFY`; versions below 4 end. Spec: BIP-0065.
    Cltv,
    /// Relative lock times, median time past, `OP_CHECKSEQUENCEVERIFY`. Spec: BIP-0068, BIP-0112,
    /// BIP-0113.
    Csv,
    /// The witness commitment and `NULLDUMMY`. Spec: BIP-0141, BIP-0147.
    Segwit,
}

/// A set of unspent outputs that may be loaded before the blocks below it are validated, since its
/// hash was checked by those who released it. Core: `AssumeutxoData`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AssumedSet {
    /// The height of the block whose set it is.
    pub height: u32,
    /// The block.
    pub block: BlockHash,
    /// Core's `hash_serialized_3` of the set, in internal order.
    pub hash_serialized_3: [u8; 32],
}

/// The facts in which networks differ. Core: `CChainParams`, `Consensus::Params`.
///
/// A test may change a field, as Core's `-testactivationheight` does.
#[derive(Clone, Debug)]
pub struct Params {
    /// The network.
    pub network: Network,
    /// The four bytes before each message and each block record.
    pub magic: [u8; 4],
    /// The TCP port for peers.
    pub default_port: u16,
    /// The TCP port for RPC.
    pub rpc_port: u16,
    /// What stands before the parts of an address.
    pub address_prefixes: AddressPrefixes,
    /// The version byte of a private key.
    pub secret_key_prefix: u8,
    /// The header of block 0.
    pub genesis: Header,
    /// The hash of block 0.
    pub genesis_hash: BlockHash,
    /// The easiest target.
    pub pow_limit: Target,
    /// The seconds that a difficulty period should take.
    pub pow_target_timespan: u32,
    /// The seconds that a block should take.
    pub pow_target_spacing: u32,
    /// Whether a block that comes twenty minutes late may have the easiest target.
    pub allows_min_difficulty: bool,
    /// Whether the rules of testnet4 hold. Spec: BIP-0094.
    pub enforces_bip94: bool,
    /// Whether the target never changes.
    pub has_no_retargeting: bool,
    /// The blocks until the subsidy halves.
    pub subsidy_halving_interval: u32,
    /// The height from which each deployment holds, in the order of [`Deployment`].
    pub activation_heights: [u32; 5],
    /// The block at the height of BIP-0034 on the chain where BIP-0030 then needs no check.
    pub bip34_hash: BlockHash,
    /// The blocks that break a rule that holds for all others, with the flags they are checked by.
    pub script_flag_exceptions: &'static [(BlockHash, Flags)],
    /// The script that a block's solution must satisfy, on signets. Spec: BIP-0325.
    pub signet_challenge: Option<Box<[u8]>>,
    /// The least work of a chain that peers may have us store headers of.
    pub minimum_chain_work: Work,
    /// The block below which a running node may leave scripts unchecked; zero for none.
    pub default_assume_valid: BlockHash,
    /// The sets that may be loaded, by height. Core: `m_assumeutxo_data`.
    pub assumed_sets: Vec<AssumedSet>,
}

impl Params {
    /// Returns the parameters of a network; of signet with the default challenge.
    #[must_use]
    pub fn new(network: Network) -> Self {
        match network {
            Network::Main => Self::main(),
            Network::Testnet3 => Self::testnet3(),
            Network::Testnet4 => Self::testnet4(),
            Network::Signet => Self {
                minimum_chain_work: Work::from_be_bytes(hex(b"b463ea0a4b8")),
                default_assume_valid: hash(
                    b"8414aab61092ef93f1aacc54cf9e9f16af29ddad493b908a01ff5c329",
                ),
                ..Self::signet(&SIGNET_CHALLENGE)
            },
            Network::Regtest => Self::regtest(),
        }
    }

    /// Returns the parameters of the signet with a challenge. Spec: BIP-0325.
    #[must_use]
    pub fn signet(challenge: &[u8]) -> Self {
        let mut script = Vec::new();
        push_compact_size(&mut script, challenge.len());
        script.extend_from_slice(challenge);
        let [a, b, c, d, ..] = sha256d(&script);
        Self {
            magic: [a, b, c, d],
            default_port: 38333,
            rpc_port: 38332,
            genesis: genesis(1_598_918_400, 0x1e03_77ae, 52_613_770),
            genesis_hash: hash(b"8819873e925422c1ff0f99f7cc9bbb232af63a077a480a3633bee1ef6"),
            pow_limit: Target::from_be_bytes(hex(
                b"377ae000000000000000000000000000000000000000000000000000000",
            )),
            allows_min_difficulty: false,
            signet_challenge: Some(challenge.into()),
            ..Self::test_network(Network::Signet)
        }
    }

    /// Returns the serialized block 0.
    #[must_use]
    pub fn genesis_block(&self) -> Vec<u8> {
        let (message, key) = match self.network {
            Network::Testnet4 => (&TESTNET4_MESSAGE[..], &[0; 33][..]),
            _ => (&MESSAGE[..], &GENESIS_KEY[..]),
        };
        let mut script_pubkey = Vec::new();
        push_slice(&mut script_pubkey, key);
        script_pubkey.push(opcode::OP_CHECKSIG);
        let mut script_sig = Vec::new();
        for data in [&0x1d00_ffff_u32.to_le_bytes()[..], &[4], message] {
            push_slice(&mut script_sig, data);
        }
        let prevout = OutPoint::NULL;
        let input = TxIn { prevout, script_sig, sequence: u32::MAX, ..TxIn::default() };
        let coinbase = Transaction {
            version: 1,
            inputs: [input].into(),
            outputs: [TxOut { value: 50 * COIN, script_pubkey }].into(),
            lock_time: 0,
        };
        encode_block(&self.genesis, &[coinbase.encode()])
    }

    /// Returns whether a deployment holds for the block at `height`.
    #[must_use]
    pub const fn is_active(&self, deployment: Deployment, height: u32) -> bool {
        self.activation_heights[deployment as usize] <= height
    }

    /// Returns how many blocks a difficulty period has.
    #[must_use]
    pub const fn difficulty_interval(&self) -> u32 {
        self.pow_target_timespan / self.pow_target_spacing
    }

    fn main() -> Self {
        Self {
            network: Network::Main,
            magic: [0xf9, 0xbe, 0xb4, 0xd9],
            default_port: 8333,
            rpc_port: 8332,
            address_prefixes: AddressPrefixes::MAIN,
            secret_key_prefix: 128,
            genesis: genesis(1_231_006_505, 0x1d00_ffff, 2_083_236_893),
            genesis_hash: hash(b"19d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f"),
            activation_heights: [227_931, 363_725, 388_381, 419_328, 481_824],
            bip34_hash: hash(b"24b89b42a942fe0d9fea3bb44ab7bd1b19115dd6a759c0808b8"),
            script_flag_exceptions: &MAIN_EXCEPTIONS,
            allows_min_difficulty: false,
            minimum_chain_work: Work::from_be_bytes(hex(b"1128750f82f4c366153a3a030")),
            default_assume_valid: hash(b"ccebd6d74d9194d8dcdc1d177c478e094bfad51ba5ac"),
            ..Self::test_network(Network::Main)
        }
    }

    fn testnet3() -> Self {
        Self {
            magic: [0x0b, 0x11, 0x09, 0x07],
            default_port: 18333,
            rpc_port: 18332,
            genesis: genesis(1_296_688_602, 0x1d00_ffff, 414_098_458),
            genesis_hash: hash(b"933ea01ad0ee984209779baaec3ced90fa3f408719526f8d77f4943"),
            activation_heights: [21_111, 330_776, 581_885, 770_112, 834_624],
            bip34_hash: hash(b"23b3a96d3484e5abb3755c413e7d41500f8e2a5c3f0dd01299cd8ef8"),
            script_flag_exceptions: &TESTNET3_EXCEPTIONS,
            minimum_chain_work: Work::from_be_bytes(hex(b"17dde1c649f3708d14b6")),
            default_assume_valid: hash(b"7a61e4230b28ac5cb6b5e5a0130de37ac1faf2f8987d2fa6505b67f4"),
            ..Self::test_network(Network::Testnet3)
        }
    }

    fn testnet4() -> Self {
        let merkle_root = hash(b"7aa0a7ae1e223414cb807e40cd57e667b718e42aaf9306db9102fe28912b7b4e");
        Self {
            magic: [0x1c, 0x16, 0x3f, 0x28],
            default_port: 48333,
            rpc_port: 48332,
            genesis: Header {
                merkle_root: MerkleRoot(merkle_root.0),
                ..genesis(1_714_777_860, 0x1d00_ffff, 393_743_547)
            },
            genesis_hash: hash(b"da84f2bafbbc53dee25a72ae507ff4914b867c565be350b0da8bf043"),
            enforces_bip94: true,
            minimum_chain_work: Work::from_be_bytes(hex(b"9a0fe15d0177d086304")),
            default_assume_valid: hash(b"2368b1e4ee27e2e85676ae6f9f9e69579b29093e9a82c170bf7cf8a"),
            ..Self::test_network(Network::Testnet4)
        }
    }

    fn regtest() -> Self {
        Self {
            address_prefixes: AddressPrefixes::REGTEST,
            pow_limit: Target::from_be_bytes(hex(
                b"7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
            )),
            pow_target_timespan: 24 * 60 * 60,
            has_no_retargeting: true,
            subsidy_halving_interval: 150,
            activation_heights: [1, 1, 1, 1, 0],
            ..Self::test_network(Network::Regtest)
        }
    }

    /// What most test networks share; all else is regtest's.
    fn test_network(network: Network) -> Self {
        Self {
            network,
            magic: [0xfa, 0xbf, 0xb5, 0xda],
            default_port: 18444,
            rpc_port: 18443,
            address_prefixes: AddressPrefixes::TEST,
            secret_key_prefix: 239,
            genesis: genesis(1_296_688_602, 0x207f_ffff, 2),
            genesis_hash: hash(b"0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206"),
            pow_limit: Target::from_be_bytes(hex(&[b'f'; 56])),
            pow_target_timespan: 14 * 24 * 60 * 60,
            pow_target_spacing: 10 * 60,
            allows_min_difficulty: true,
            enforces_bip94: false,
            has_no_retargeting: false,
            subsidy_halving_interval: 210_000,
            activation_heights: [1; 5],
            bip34_hash: BlockHash::ZERO,
            script_flag_exceptions: &[],
            signet_challenge: None,
            minimum_chain_work: Work::ZERO,
            default_assume_valid: BlockHash::ZERO,
            assumed_sets: assumed_sets(network),
        }
    }
}

/// Block 170,060 breaks P2SH, block 709,632 taproot.
const MAIN_EXCEPTIONS: [(BlockHash, Flags); 2] = [
    (hash(b"2dc756eebf4f49723ed8d30cc28a5f108eb94b1ba88ac4f9c22"), Flags::NONE),
    (
        hash(b"f14c35b2d841e986ab5441de8c585d5ffe55ea1e395ad"),
        Flags(Flags::P2SH.0 | Flags::WITNESS.0),
    ),
];

const TESTNET3_EXCEPTIONS: [(BlockHash, Flags); 1] =
    [(hash(b"dd30457c001f4095d208cc1296b0eed002427aa599874af7a432b105"), Flags::NONE)];

const MESSAGE: &[u8; 69] = b"The Times 03/Jan/2009 Chancellor on brink of second bailout for banks";

const TESTNET4_MESSAGE: &[u8; 76] =
    b"03/May/2024 000000000000000000001ebd58c244970b3aa9d783bb001011fbe8ea8e98e00e";

const GENESIS_KEY: [u8; 65] = hex(
    b"04678afdb0fe5548271967f1a67130b7105cd6a828e03909a67962e0ea1f61deb649f6bc3f4cef38c4f35504e51ec1\
      12de5c384df7ba0b8d578a4c702b6bf11d5f",
);

/// One of two signatures by two keys.
const SIGNET_CHALLENGE: [u8; 71] = hex(
    b"512103ad5e0edad18cb1f0fc0d28a3d4f1f3e445640337489abb10404f2d1e086be430210359ef5021964fe22d6f8e\
      05b2463c9540ce96883fe3b278760f048f5189f2e6c452ae",
);

/// Reads the table of sets, a line each: network, height, block, hash.
fn assumed_sets(network: Network) -> Vec<AssumedSet> {
    let read = |line: &str| {
        let mut words = line.strip_prefix(network.name())?.split_whitespace();
        Some(AssumedSet {
            height: words.next()?.parse().ok()?,
            block: words.next()?.parse().ok()?,
            hash_serialized_3: words.next()?.parse::<BlockHash>().ok()?.0,
        })
    };
    include_str!("assumed_sets.txt").lines().filter_map(read).collect()
}

const fn genesis(time: u32, bits: u32, nonce: u32) -> Header {
    let root = hash(b"4a5e1e4baab89f3a32518a88c31bc87f618f76673e2cc77ab2127b7afdeda33b");
    Header {
        version: 1,
        prev_block: BlockHash::ZERO,
        merkle_root: MerkleRoot(root.0),
        time,
        bits,
        nonce,
    }
}

/// Reads a hash from its usual digits, of which leading zeros may be left out.
pub(crate) const fn hash(digits: &[u8]) -> BlockHash {
    let mut bytes = hex(digits);
    bytes.reverse();
    BlockHash(bytes)
}

/// Reads hexadecimal digits into the end of an array of zeros.
const fn hex<const N: usize>(digits: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    let mut i = 0;
    while i < digits.len() {
        let digit = digits[digits.len() - 1 - i];
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            _ => digit - b'a' + 10,
        };
        out[N - 1 - i / 2] |= value << (4 * (i % 2));
        i += 1;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_network_has_the_sets_of_core() {
        let sets = |network: &Network| Params::new(*network).assumed_sets;
        assert_eq!(Network::ALL.each_ref().map(|it| sets(it).len()), [4, 2, 2, 2, 3]);
        assert_eq!(include_str!("assumed_sets.txt").lines().count(), 13);
        let first = sets(&Network::Main)[0];
        assert_eq!(first.height, 840_000);
        assert_eq!(first.block, hash(b"320283a032748cef8227873ff4872689bf23f1cda83a5"));
        let set = hash(b"a2a5521b1b5ab65f67818e5e8eccabb7171a517f9e2382208f77687310768f96");
        assert_eq!(first.hash_serialized_3, set.0);
    }
}
