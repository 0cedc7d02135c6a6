use caesure_consensus::Params;
use caesure_wire::Endpoint;

/// What the user may set of a [`Network`](crate::Network).
#[derive(Clone, Debug)]
pub struct NetworkOptions {
    /// The network's magic, port and name.
    pub params: Params,
    /// How many connections that relay all are dialled, 8 in Core. The two for blocks alone come
    /// on top, none where this is 0.
    pub outbound: usize,
    /// How many connections are accepted.
    pub inbound: usize,
    /// Where connections are accepted. Those that can be reached from elsewhere are advertised.
    pub listen: Vec<Endpoint>,
    /// The nodes to which a connection is kept (`-c`).
    pub connect: Vec<Endpoint>,
    /// Whether nobody but those of `connect`, and those that commands name, is dialled.
    pub only_connect: bool,
    /// Whether the network's DNS seeds are asked when peers are wanting.
    pub dns_seed: bool,
    /// Whether addresses that came with the program are tried when there are no others.
    pub fixed_seeds: bool,
    /// Whether the encrypted transport is spoken. Spec: BIP-0324.
    pub v2: bool,
    /// A SOCKS5 proxy, over which everything is dialled; onion addresses are dialled over it alone.
    pub proxy: Option<Endpoint>,
    /// Whether peers are told to announce no transactions.
    pub blocks_only: bool,
    /// What we call ourselves, as BIP-0014 has it; at most 256 bytes are sent.
    pub user_agent: String,
    /// Whether the name of each message goes to the log (`-v`), but for pings.
    pub log_commands: bool,
    /// Whether each message goes to the log, whole (`--packet`).
    pub log_packets: bool,
    /// The service bits, but for that of the v2 transport, which `v2` decides.
    pub services: u64,
}

impl NetworkOptions {
    /// Returns the options of a node that was asked for nothing.
    #[must_use]
    pub fn new(params: Params) -> Self {
        Self {
            params,
            outbound: 8,
            inbound: 114,
            listen: Vec::new(),
            connect: Vec::new(),
            only_connect: false,
            dns_seed: true,
            fixed_seeds: true,
            v2: true,
            proxy: None,
            blocks_only: false,
            user_agent: concat!("/caesure:", env!("CARGO_PKG_VERSION"), "/").to_owned(),
            log_commands: false,
            log_packets: false,
            services: 0,
        }
    }
}

/// The files that an earlier run saved, as they are on the disk.
#[derive(Clone, Debug, Default)]
pub struct SavedFiles {
    /// `peers.bin`, the address book.
    pub peers: Option<Vec<u8>>,
    /// `bans.bin`.
    pub bans: Option<Vec<u8>>,
    /// `anchors.bin`, the peers for blocks alone that stood at the end.
    pub anchors: Option<Vec<u8>>,
}
