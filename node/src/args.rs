use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
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

/// Returns the network of a name.
pub(crate) fn network(name: &str) -> Option<Network> {
    NETWORKS.iter().find(|(it, _)| *it == name).map(|(_, network)| *network)
}

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

/// The prompt's socket in a network's folder.
pub(crate) const MONITOR: &str = "monitor.sock";

const PEERS: &str = "Peers";
const INSIDE: &str = "See inside";
const RPC: &str = "JSON-RPC";
const VALIDATION: &str = "Validation";

/// What `-h` and `--help` say of the running node.
const ABOUT: &str = "A Bitcoin full node. Without a subcommand it runs: it finds peers, validates the \
                     chain and serves it.";

/// A Bitcoin full node. Without a subcommand it runs: it finds peers, validates the chain and serves it.
#[derive(Debug, Parser)]
#[command(
    name = "caesure",
    version,
    about = ABOUT,
    max_term_width = 100,
    after_help = "All options, examples, files and ports: caesure --help",
    after_long_help = LONG_HELP
)]
pub(crate) struct Program {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    pub(crate) run: Run,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// What `--help` ends with.
const LONG_HELP: &str = include_str!("help.txt");

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
    /// The base folder [default: ~/.caesure]
    #[arg(short, long, global = true, display_order = 201, value_name = "DIR")]
    pub(crate) base: Option<PathBuf>,
    /// The network: main, testnet3, testnet4, signet, regtest
    #[arg(long, global = true, display_order = 202, value_name = "NAME", hide_possible_values = true, value_parser = one_of(NETWORKS), default_value = "main", hide_default_value = true)]
    network: Network,
    /// The same as --network testnet3
    #[arg(short, long, global = true, display_order = 203, conflicts_with = "network")]
    testnet: bool,
    /// The challenge of a signet of your own, in hexadecimal
    #[arg(long, global = true, display_order = 204, value_name = "HEX", value_parser = parse_hex, hide_short_help = true)]
    signet_challenge: Option<Bytes>,
    /// Prints one JSON object as the last line
    #[arg(long, global = true, display_order = 205, hide_short_help = true)]
    pub(crate) json: bool,
    /// Settings [default: caesure.toml in the base folder]
    #[arg(long, global = true, display_order = 206, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Shows all settings and where each comes from, and ends
    #[arg(long, global = true, display_order = 207, hide_short_help = true)]
    pub(crate) print_config: bool,
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
    /// Makes a small signed chain and imports it, shows what to do next
    Demo,
    /// Writes a valid, signed regtest chain as a bootstrap.dat
    Generate(Generate),
    /// Validates and stores the blocks of files, or of the base itself
    Import(Import),
    /// Rewrites a bootstrap.dat in place to the original's blocks.bin
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
    ///
    /// `caesure cli help` lists the methods, and `caesure cli help METHOD` tells of one. Of the options it
    /// takes -rpcconnect, -rpcport, -rpcuser, -rpcpassword, -stdin, -named and others.
    Cli {
        /// Options of bitcoin-cli, the method, its arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
    /// Opens the prompt on a base, or of the running node (--connect)
    Shell(Shell),
    /// Watches a running node: sync, peers, worlds, disk and memory
    Top(Top),
    /// Prints what makes a shell complete caesure's words
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Prints the manual page, or writes those of all subcommands
    Man {
        /// A folder, for a page of each subcommand
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
}

/// What the prompt on a base takes.
#[derive(Args, Debug)]
pub(crate) struct Shell {
    #[command(flatten)]
    pub(crate) ceiling: Ceiling,
    /// Types into the running node instead, whose socket -m made [default: monitor.sock in its folder]
    #[arg(short, long, value_name = "PATH", num_args = 0..=1)]
    pub(crate) connect: Option<Option<PathBuf>>,
    /// Evaluates this, prints the result and ends (repeatable)
    #[arg(short, value_name = "EXPR")]
    pub(crate) expressions: Vec<String>,
    /// A file to run, and then to end
    pub(crate) file: Option<PathBuf>,
}

/// What the view of a running node takes.
#[derive(Args, Debug)]
pub(crate) struct Top {
    /// Prints one picture as text and ends
    #[arg(long)]
    pub(crate) once: bool,
    /// Seconds between two pictures
    #[arg(long, value_name = "SECONDS", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=3600), allow_negative_numbers = true)]
    pub(crate) interval: u64,
    /// Where the node serves JSON-RPC [default: loopback, at the network's port]
    #[arg(long, value_name = "IP:PORT", value_parser = parse_address)]
    pub(crate) rpc: Option<SocketAddr>,
    /// A user of JSON-RPC [default: by the cookie file]
    #[arg(long, value_name = "NAME")]
    pub(crate) rpcuser: Option<String>,
    /// The user's password
    #[arg(long, value_name = "PASSWORD")]
    pub(crate) rpcpassword: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Utxo {
    /// Counts and hashes the set as Bitcoin Core's gettxoutsetinfo does
    Info {
        /// The block: a hash, a height, or tip-N
        #[arg(
            long,
            default_value = "tip",
            value_name = "BLOCK",
            conflicts_with = "file",
            allow_negative_numbers = true
        )]
        at: String,
        /// Looks at a file instead: a snapshot of Bitcoin Core, or a utxo.bin or metadata.bin of the
        /// original
        file: Option<PathBuf>,
    },
    /// Shows what two sets do not share, a line for each coin: - in the first, + in the second
    Diff {
        /// The block of the first set: a hash, a height, or tip-N
        #[arg(long, value_name = "BLOCK", allow_negative_numbers = true)]
        from: String,
        /// The block of the second
        #[arg(long, default_value = "tip", value_name = "BLOCK", allow_negative_numbers = true)]
        at: String,
    },
    /// Writes a set into a new file
    Export {
        /// The block: a hash, a height, or tip-N
        #[arg(long, default_value = "tip", value_name = "BLOCK", allow_negative_numbers = true)]
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
    #[arg(long, global = true, value_name = "MIB", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(16..), help_heading = VALIDATION, allow_negative_numbers = true)]
    memory: u32,
}

impl Ceiling {
    pub(crate) fn memory(self) -> Memory {
        Memory::of(self.memory)
    }

    pub(crate) fn bytes(self) -> u64 {
        u64::from(self.memory) << 20
    }
}

/// What commands that validate take.
#[derive(Args, Clone, Debug)]
pub(crate) struct Validation {
    /// Threads that check scripts [default: one a core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256), help_heading = VALIDATION, allow_negative_numbers = true)]
    par: Option<u16>,
    /// How many blocks below the tip keep a world of their own
    #[arg(long, value_name = "N", default_value_t = 288, value_parser = clap::value_parser!(u32).range(1..=800), help_heading = VALIDATION, hide_short_help = true, allow_negative_numbers = true)]
    pub(crate) horizon: u32,
    /// A block whose ancestors' scripts are not checked; 0 checks all
    ///
    /// It has to be on the best chain of headers, and they two weeks of work below its end.
    /// [default: 0; for the running node the block that came with the release]
    #[arg(long, value_name = "HASH", value_parser = parse_assumed, help_heading = VALIDATION, hide_short_help = true)]
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
    #[arg(short, long, value_name = "N", default_value_t = 8, help_heading = PEERS, allow_negative_numbers = true)]
    pub(crate) outgoing: usize,
    /// How many peers are accepted
    #[arg(short, long, value_name = "N", default_value_t = 114, help_heading = PEERS, allow_negative_numbers = true)]
    pub(crate) incoming: usize,
    /// Serves here alone, not everywhere (repeatable)
    #[arg(short, long, value_name = "IP:PORT", value_parser = parse_address, help_heading = PEERS)]
    pub(crate) serve: Vec<SocketAddr>,
    /// Keeps a connection to this node (repeatable)
    #[arg(short, long, value_name = "IP:PORT", value_parser = Endpoint::from_str, help_heading = PEERS)]
    connect: Vec<Endpoint>,
    /// Takes and relays transactions even before the tip is reached
    #[arg(short, long, help_heading = PEERS, hide_short_help = true)]
    pub(crate) relay: bool,
    /// Dials nobody but those of -c
    #[arg(long, help_heading = PEERS, hide_short_help = true)]
    pub(crate) only_connect: bool,
    /// Does not ask the network's DNS seeds
    #[arg(long, help_heading = PEERS, hide_short_help = true)]
    pub(crate) no_dns_seed: bool,
    /// Whether the encrypted transport of BIP324 is spoken
    #[arg(long, value_name = "0|1", default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=1), help_heading = PEERS, hide_short_help = true, allow_negative_numbers = true)]
    pub(crate) v2transport: u8,
    /// Dials through this SOCKS5 proxy
    #[arg(long, value_name = "IP:PORT", value_parser = parse_address, help_heading = PEERS, hide_short_help = true)]
    pub(crate) proxy: Option<SocketAddr>,
    /// Asks peers for no transactions
    #[arg(long, help_heading = PEERS, hide_short_help = true)]
    pub(crate) blocksonly: bool,
    /// Serves the prompt on a unix socket, monitor.sock
    ///
    /// Without a path it lies in the network's folder. Only its owner may open it.
    #[arg(short, long, value_name = "PATH", num_args = 0..=1, help_heading = INSIDE)]
    pub(crate) monitor: Option<Option<PathBuf>>,
    /// Serves the web UI, at port 8380 on main
    ///
    /// Without an address it is served on loopback, with -u on all interfaces.
    #[arg(short = 'a', long, value_name = "IP:PORT", value_parser = parse_address, num_args = 0..=1, help_heading = INSIDE)]
    pub(crate) webui: Option<Option<SocketAddr>>,
    /// A user of the web UI (repeatable)
    #[arg(short, long, value_name = "USER:PASS", value_parser = parse_user, help_heading = INSIDE)]
    pub(crate) user: Vec<String>,
    /// Shows the host names of peers, which asks DNS for them
    #[arg(long, help_heading = INSIDE, hide_short_help = true)]
    pub(crate) names: bool,
    /// Switches off what changes the node in the web UI and the prompt
    #[arg(long, help_heading = INSIDE, hide_short_help = true)]
    pub(crate) no_commands: bool,
    /// Says what happens to connections
    #[arg(short, long, help_heading = INSIDE)]
    pub(crate) verbose: bool,
    /// Logs every message of peers whole
    #[arg(long, help_heading = INSIDE, hide_short_help = true)]
    pub(crate) packet: bool,
    /// Logs to this file, which catlog reads
    #[arg(long, value_name = "FILE", help_heading = INSIDE)]
    pub(crate) logfile: Option<PathBuf>,
    /// Runs in the background; needs --logfile
    #[arg(long, help_heading = INSIDE)]
    pub(crate) daemon: bool,
    /// Writes all that happens to the node into this new file, for caesure replay
    #[arg(long, value_name = "FILE", help_heading = INSIDE, hide_short_help = true)]
    pub(crate) record: Option<PathBuf>,
    /// Serves JSON-RPC here [default: loopback, at the network's port]
    #[arg(long, value_name = "IP:PORT", value_parser = parse_address, help_heading = RPC, hide_short_help = true)]
    pub(crate) rpc: Option<SocketAddr>,
    /// Serves no JSON-RPC
    #[arg(long, conflicts_with = "rpc", help_heading = RPC, hide_short_help = true)]
    pub(crate) no_rpc: bool,
    /// A user of JSON-RPC; needs --rpcpassword
    #[arg(long, value_name = "NAME", help_heading = RPC, hide_short_help = true)]
    pub(crate) rpcuser: Option<String>,
    /// The user's password; needs --rpcuser
    #[arg(long, value_name = "PASSWORD", help_heading = RPC, hide_short_help = true)]
    pub(crate) rpcpassword: Option<String>,
    /// A user of JSON-RPC, as rpcauth.py of Bitcoin Core writes it (repeatable)
    #[arg(long, value_name = "USER:SALT$HASH", help_heading = RPC, hide_short_help = true)]
    pub(crate) rpcauth: Vec<String>,
    #[command(flatten)]
    pub(crate) validation: Validation,
    /// Headers of chains with less work are not kept [default: the network's]
    #[arg(long, value_name = "HEX", value_parser = parse_work, help_heading = VALIDATION, hide_short_help = true)]
    minimumchainwork: Option<Work>,
    /// Keeps about as many MiB of blocks, 550 or more
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u64).range(1..=1 << 40), help_heading = VALIDATION, allow_negative_numbers = true)]
    pub(crate) prune: Option<u64>,
}

fn parse_user(text: &str) -> Result<String, String> {
    match text.split_once(':') {
        Some((name, password)) if !name.is_empty() && !password.is_empty() => Ok(text.to_owned()),
        _ => Err("give a name, a colon and a password".to_owned()),
    }
}

fn parse_address(text: &str) -> Result<SocketAddr, &'static str> {
    let text = text.replace("localhost:", "127.0.0.1:");
    text.parse().map_err(|_| "write an IP address and a port, as 127.0.0.1:8000 or [::1]:8000")
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

    /// Where the web UI is served; none without `-a`. Loopback alone when nobody needs a password.
    pub(crate) fn webui(&self, network: Network) -> Vec<SocketAddr> {
        let port = match network {
            Network::Main => 8380,
            Network::Testnet3 => 18380,
            Network::Testnet4 => 48380,
            Network::Signet => 38380,
            Network::Regtest => 18480,
        };
        let at = |ip: [IpAddr; 2]| ip.map(|ip| SocketAddr::new(ip, port)).to_vec();
        match self.webui {
            None => Vec::new(),
            Some(Some(address)) => vec![address],
            Some(None) if self.user.is_empty() => {
                at([Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()])
            }
            Some(None) => at([Ipv6Addr::UNSPECIFIED.into(), Ipv4Addr::UNSPECIFIED.into()]),
        }
    }

    /// The socket of the prompt; none without `-m`.
    pub(crate) fn monitor(&self, folder: &Path) -> Option<PathBuf> {
        let path = self.monitor.as_ref()?.clone();
        Some(path.unwrap_or_else(|| folder.join(MONITOR)))
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
    #[arg(long, default_value_t = 300, allow_negative_numbers = true)]
    pub(crate) blocks: u32,
    /// Transactions besides the coinbases
    #[arg(long, default_value_t = 2000, allow_negative_numbers = true)]
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
