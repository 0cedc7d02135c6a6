use std::path::PathBuf;

use caesure_consensus::{Network, Params};
use caesure_generate::Profile;
use caesure_wire::{BlockHash, ParseHashError};
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

/// A Bitcoin full node: imports, validates and shows the chain.
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
    #[arg(long, value_name = "HASH", default_value = "0", value_parser = parse_assumed)]
    pub(crate) assumevalid: BlockHash,
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
