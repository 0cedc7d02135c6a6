use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use caesure_consensus::{Network, Params, Work};
use caesure_generate::Profile;
use caesure_wire::{BlockHash, Endpoint, ParseHashError};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};

use crate::memory::Memory;

const NETWORKS: &[(&str, Network)] = &[
    ("main", Network::Main),
    ("testnet3", Network::Testnet3),
    ("testnet4", Network::Testnet4),
    ("signet", Network::Signet),
    ("regtest", Network::Regtest),
];

/// Every spend type and signature hash; many outputs and few spends; coins without signatures; one
/// signature after the other; old types with many inputs.
const PROFILES: &[(&str, Profile)] = &[
    ("mixed", Profile::Mixed),
    ("utxo", Profile::Utxo),
    ("coins", Profile::Coins),
    ("sig", Profile::Sig),
    ("legacy", Profile::Legacy),
];

/// Versions of files of whole sets.
const FORMATS: &[(&str, u8)] = &[("v2", 2), ("v3", 3)];

/// A Bitcoin full node. Without a subcommand it runs: it finds peers, validates the chain and serves it.
#[derive(Debug, Parser)]
#[command(name = "caesure", version)]
pub(crate) struct Program {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    pub(crate) run: Run,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// A Bitcoin full node: a subcommand, which takes none of the running node's options.
#[derive(Debug, Parser)]
#[command(name = "caesure", version, subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every subcommand takes.
#[derive(Args, Clone, Debug)]
pub(crate) struct Common {
    /// The base folder [default: $CAESURE_BASE, else ~/.caesure]
    #[arg(short, long, global = true, value_name = "DIR")]
    pub(crate) base: Option<PathBuf>,
    /// The network
    #[arg(long, global = true, value_parser = one_of(NETWORKS), default_value = "main")]
    network: Network,
    /// The same as --network testnet3
    #[arg(short, long, global = true, conflicts_with = "network")]
    testnet: bool,
    /// The challenge of a signet of your own, in hexadecimal
    #[arg(long, global = true, value_name = "HEX", value_parser = parse_hex)]
    signet_challenge: Option<Bytes>,
    /// Prints one JSON object as the last line
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// An alias, since clap takes the name `Vec` for a repeated option.
type Bytes = Vec<u8>;

fn parse_hex(text: &str) -> Result<Bytes, caesure_text::TextError> {
    caesure_text::hex::decode(text)
}

impl Common {
    pub(crate) fn network(&self) -> Network {
        if self.testnet { Network::Testnet3 } else { self.network }
    }

    pub(crate) fn params(&self) -> Params {
        match &self.signet_challenge {
            Some(challenge) if self.network() == Network::Signet => Params::signet(challenge),
            _ => Params::new(self.network()),
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Makes a small signed chain, imports it with every check, shows what to do next
    Demo,
    /// Writes a valid, signed regtest chain as a bootstrap.dat
    Generate(Generate),
    /// Validates block files (or the base's own blocks.bin) and stores their blocks
    Import(Import),
    /// Rewrites a bootstrap.dat in place to the native form of the original's blocks.bin
    Convert {
        /// The file
        file: PathBuf,
    },
    /// Validates the stored chain again, scripts included
    Verify(Verify),
    /// Drops every stored block above a block, on all forks
    Truncate {
        #[command(flatten)]
        ceiling: Ceiling,
        /// The last block to keep: a hash, a height, or tip-N
        block: String,
        /// Does not ask
        #[arg(long)]
        yes: bool,
    },
    /// Shows the set of unspent outputs
    Utxo {
        #[command(flatten)]
        ceiling: Ceiling,
        #[command(subcommand)]
        command: Utxo,
    },
    /// Runs a record of --record again, and shows what came of it
    Replay {
        /// The record
        file: PathBuf,
    },
    /// Asks a running node, with the options and output of bitcoin-cli
    Cli {
        /// Options of bitcoin-cli, the method, its arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Utxo {
    /// Counts and hashes the set as Bitcoin Core's gettxoutsetinfo does
    Info {
        /// The block: a hash, a height, or tip-N
        #[arg(long, default_value = "tip", value_name = "BLOCK", conflicts_with = "file")]
        at: String,
        /// Looks at a file instead: a snapshot of Bitcoin Core, or a utxo.bin or metadata.bin of the
        /// original
        file: Option<PathBuf>,
    },
    /// Shows what two sets do not share, a line for each coin: - in the first, + in the second
    Diff {
        /// The block of the first set: a hash, a height, or tip-N
        #[arg(long, value_name = "BLOCK")]
        from: String,
        /// The block of the second
        #[arg(long, default_value = "tip", value_name = "BLOCK")]
        at: String,
    },
    /// Writes a set into a new file
    Export {
        /// The block: a hash, a height, or tip-N
        #[arg(long, default_value = "tip", value_name = "BLOCK")]
        at: String,
        /// v2: as Bitcoin Core's dumptxoutset; v3: the original's utxo.bin, for comparison only
        #[arg(long, value_parser = one_of(FORMATS), default_value = "v2")]
        format: u8,
        /// The file, under the name FILE.incomplete until it is whole
        file: PathBuf,
    },
    /// Fills an empty ledger from a snapshot whose hash is known
    Load {
        /// A snapshot, as Bitcoin Core's dumptxoutset writes it
        file: PathBuf,
        /// The set's hash_serialized_3, where none is built in for its block
        #[arg(long, value_name = "HEX")]
        hash: Option<BlockHash>,
    },
}

/// What commands that open the set of unspent outputs take.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Ceiling {
    /// The most memory to take, in MiB
    #[arg(long, global = true, value_name = "MIB", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(16..))]
    memory: u32,
}

impl Ceiling {
    pub(crate) fn memory(self) -> Memory {
        Memory::of(self.memory)
    }
}

/// What commands that validate take.
#[derive(Args, Clone, Debug)]
pub(crate) struct Validation {
    /// Threads that check scripts [default: one a core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    par: Option<u16>,
    /// How many blocks below the tip keep a world of their own
    #[arg(long, value_name = "N", default_value_t = 288, value_parser = clap::value_parser!(u32).range(1..=800))]
    pub(crate) horizon: u32,
    /// A block whose ancestors' scripts are not checked, if it is on the best chain of headers and
    /// they are two weeks of work below its end; 0 checks all
    /// [default: 0; for the running node the block that came with the release]
    #[arg(long, value_name = "HASH", value_parser = parse_assumed)]
    pub(crate) assumevalid: Option<BlockHash>,
    #[command(flatten)]
    pub(crate) ceiling: Ceiling,
}

fn parse_assumed(text: &str) -> Result<BlockHash, ParseHashError> {
    if text == "0" { Ok(BlockHash::ZERO) } else { text.parse() }
}

impl Validation {
    pub(crate) fn threads(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, Into::into);
        self.par.map_or_else(cores, usize::from)
    }
}

/// What the running node takes.
#[derive(Args, Clone, Debug)]
pub(crate) struct Run {
    /// How many peers are dialled
    #[arg(short, value_name = "N", default_value_t = 8)]
    pub(crate) outgoing: usize,
    /// How many peers are accepted
    #[arg(short, value_name = "N", default_value_t = 114)]
    pub(crate) incoming: usize,
    /// Serves at this address alone, instead of all interfaces (repeatable)
    #[arg(short, value_name = "IP:PORT")]
    pub(crate) serve: Vec<SocketAddr>,
    /// Keeps a connection to this node (repeatable)
    #[arg(short, value_name = "IP:PORT", value_parser = Endpoint::from_str)]
    connect: Vec<Endpoint>,
    /// Takes and relays transactions even before the tip is reached
    #[arg(short)]
    pub(crate) relay: bool,
    /// Says what happens to connections
    #[arg(short)]
    pub(crate) verbose: bool,
    /// Serves JSON-RPC here [default: loopback, at the network's port]
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) rpc: Option<SocketAddr>,
    /// Serves no JSON-RPC
    #[arg(long, conflicts_with = "rpc")]
    pub(crate) no_rpc: bool,
    /// A user of JSON-RPC
    #[arg(long, value_name = "NAME", requires = "rpcpassword")]
    pub(crate) rpcuser: Option<String>,
    /// The user's password
    #[arg(long, value_name = "PASSWORD", requires = "rpcuser")]
    pub(crate) rpcpassword: Option<String>,
    /// A user of JSON-RPC, as rpcauth.py of Bitcoin Core writes it (repeatable)
    #[arg(long, value_name = "USER:SALT$HASH")]
    pub(crate) rpcauth: Vec<String>,
    #[command(flatten)]
    pub(crate) validation: Validation,
    /// Headers of chains with less work are not kept [default: the network's]
    #[arg(long, value_name = "HEX", value_parser = parse_work)]
    minimumchainwork: Option<Work>,
    /// Dials nobody but those of -c
    #[arg(long)]
    pub(crate) only_connect: bool,
    /// Does not ask the network's DNS seeds
    #[arg(long)]
    pub(crate) no_dns_seed: bool,
    /// Whether the encrypted transport of BIP324 is spoken
    #[arg(long, value_name = "0|1", default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=1))]
    pub(crate) v2transport: u8,
    /// Dials through this SOCKS5 proxy
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) proxy: Option<SocketAddr>,
    /// Keeps about as many MiB of blocks, 550 or more, and releases older ones
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u64).range(1..=1 << 40))]
    pub(crate) prune: Option<u64>,
    /// Asks peers for no transactions
    #[arg(long)]
    pub(crate) blocksonly: bool,
    /// Writes all that happens to the node into this new file, for caesure replay
    #[arg(long, value_name = "FILE")]
    pub(crate) record: Option<PathBuf>,
}

fn parse_work(text: &str) -> Result<Work, String> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    let bytes = caesure_text::hex::decode(&format!("{digits:0>64}"));
    let bytes = bytes.map_err(|error| error.to_string())?;
    let bytes = bytes.try_into().map_err(|_| "more than 64 digits".to_owned())?;
    Ok(Work::from_be_bytes(bytes))
}

impl Run {
    /// The network's parameters, as the user wants them.
    pub(crate) fn params(&self, common: &Common) -> Params {
        let params = common.params();
        let minimum_chain_work = self.minimumchainwork.unwrap_or(params.minimum_chain_work);
        Params { minimum_chain_work, ..params }
    }

    /// The nodes of `-c`, at the network's port where none is said.
    pub(crate) fn connect(&self, default_port: u16) -> Vec<Endpoint> {
        let with_port = |endpoint: &Endpoint| {
            let port = if endpoint.port == 0 { default_port } else { endpoint.port };
            Endpoint { port, ..endpoint.clone() }
        };
        self.connect.iter().map(with_port).collect()
    }
}

#[derive(Args, Debug)]
pub(crate) struct Import {
    #[command(flatten)]
    pub(crate) validation: Validation,
    /// bootstrap.dat, blk*.dat, a folder of them, or - for standard input; none for the base's own
    /// blocks.bin
    #[arg(value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct Verify {
    #[command(flatten)]
    pub(crate) validation: Validation,
    /// Where inputs whose script fails are written, as lines of: lock script, transaction, input
    /// index, block time
    #[arg(long, value_name = "FILE", default_value = "fails.txt")]
    pub(crate) fails: PathBuf,
}

#[derive(Args, Debug)]
pub(crate) struct Generate {
    /// The file to write
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// Blocks on the best chain
    #[arg(long, default_value_t = 300)]
    pub(crate) blocks: u32,
    /// Transactions besides the coinbases
    #[arg(long, default_value_t = 2000)]
    pub(crate) txs: u32,
    /// Coins that the transactions turn over
    #[arg(long, default_value_t = 500)]
    pub(crate) pool: u32,
    /// Which spends: of every type; few, with many outputs; of coins without signatures; one
    /// signature after the other; old types with many inputs
    #[arg(long, value_parser = one_of(PROFILES), default_value = "mixed")]
    pub(crate) profile: Profile,
    /// Forks, losing and winning ones in turn
    #[arg(long, default_value_t = 2)]
    pub(crate) forks: u32,
    /// The same seed gives the same bytes
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
}

/// A parser that takes one of the names and gives what it stands for.
fn one_of<T: Copy + Send + Sync + 'static>(
    names: &'static [(&'static str, T)],
) -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(names.iter().map(|(name, _)| *name)).map(|given| {
        let found = names.iter().find(|(name, _)| *name == given);
        found.expect("the parser takes these names only").1
    })
}
