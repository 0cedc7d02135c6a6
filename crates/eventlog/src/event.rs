use std::fmt;

use crate::field::Field;
use crate::value::put_octets;
use crate::{Address, Record, put_record};

/// What is known of a kind of event beside its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// The part of the program, the first item of its records.
    pub facility: &'static str,
    /// What happened, the second item; empty where there is none.
    pub name: &'static str,
    /// When it is logged.
    pub doc: &'static str,
    /// Who causes it, and how it is shown.
    pub class: Class,
    /// The name of each further item, its type and its meaning.
    pub fields: &'static [(&'static str, &'static str, &'static str)],
}

/// How often a kind of event may be, and where it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Always logged and shown.
    Rare,
    /// Always logged; the terminal is told in words.
    Told,
    /// Peers can cause it: limited in rate.
    Peer,
    /// Peers or blocks cause it, often: limited in rate, and shown at a terminal with `-v` alone.
    Often,
    /// Asked for by `-v` or `--packet`: all are logged and shown.
    Trace,
}

/// Makes the enum of events, their encoding and their shapes of one table.
macro_rules! events {
    ($(
        $(#[doc = $doc:literal])+
        $variant:ident $class:ident $facility:literal $name:literal {
            $($(#[doc = $field_doc:literal])+ $field:ident: $kind:ty),* $(,)?
        }
    )*) => {
        /// What the program has to say: one variant for each kind of event. Its record has the facility,
        /// the name, and the fields in their order.
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Event {
            $($(#[doc = $doc])+ $variant { $($(#[doc = $field_doc])+ $field: $kind),* },)*
        }

        impl Event {
            /// Every kind of event, in the order of docs/event-log.md.
            pub const SHAPES: &'static [Shape] = &[$(Shape {
                facility: $facility,
                name: $name,
                doc: concat!($($doc),+),
                class: Class::$class,
                fields: &[$((stringify!($field), <$kind as Field>::SHAPE, concat!($($field_doc),+))),*],
            }),*];

            /// Returns the place of the event's kind among [`SHAPES`](Self::SHAPES).
            pub(crate) fn kind(&self) -> usize {
                enum Kind { $($variant),* }
                match self { $(Self::$variant { .. } => Kind::$variant as usize),* }
            }

            fn encode_fields(&self, out: &mut Vec<u8>) {
                match self { $(Self::$variant { $($field),* } => { $($field.encode(out);)* })* }
            }
        }
    };
}

events! {
    /// The program begins.
    Starting Rare "server" "starting" {
        /// its version
        version: String,
        /// the network, as `--network` takes it
        network: String,
        /// its arguments, without passwords
        options: Vec<String>,
    }
    /// The program is about to end.
    Stopping Rare "server" "stopping" {
        /// `signal` or `command`
        reason: &'static str,
    }
    /// The program has ended.
    Stopped Rare "server" "stopped" {
        /// `done`, or the error that ended it
        reason: String,
    }
    /// Connections are accepted.
    Listening Rare "server" "listening" {
        /// `p2p`, `rpc`, `web` or `monitor`
        what: &'static str,
        /// where
        address: String,
    }
    /// A connection stands.
    Connect Peer "server" "connect" {
        /// `outgoing` or `incoming`
        direction: &'static str,
        /// our end
        local: Address,
        /// the peer
        remote: Address,
    }
    /// A connection ended, or one that the user wants could not be made.
    Disconnect Peer "server" "disconnect" {
        /// the connection's number
        peer: u64,
        /// the peer
        remote: Address,
        /// why
        reason: String,
    }
    /// Both sides took the other's version.
    Ready Peer "network" "ready" {
        /// the connection's number
        peer: u64,
        /// the peer
        remote: Address,
        /// the kind of connection, as `getpeerinfo` has it
        connection: &'static str,
        /// `v1` or `v2`
        transport: &'static str,
        /// the peer's protocol
        version: i32,
        /// what the peer calls itself, escaped
        user_agent: String,
        /// the height of its chain, by its own word
        height: i32,
    }
    /// A peer broke the protocol: it is disconnected and discouraged, unless the user named it.
    Misbehaving Peer "network" "misbehaving" {
        /// the connection's number
        peer: u64,
        /// the peer
        remote: Address,
        /// the rule
        reason: String,
    }
    /// Events of peers that were not passed on since the last.
    LeftOut Rare "network" "left out" {
        /// how many
        count: u64,
    }
    /// A user banned an address or a subnet.
    Banned Rare "network" "banned" {
        /// the address, and how many leading bits count
        subnet: String,
        /// until when, seconds since 1970
        until: u64,
    }
    /// A user ended a ban, or all of them.
    Unbanned Rare "network" "unbanned" {
        /// the address, and how many leading bits count, or `all`
        subnet: String,
    }
    /// A file of the network's folder is damaged and begun anew.
    FileDamaged Rare "addrcache" "damaged" {
        /// its name
        file: &'static str,
        /// what is wrong
        reason: String,
    }
    /// A DNS seed is asked for addresses.
    AskingSeed Rare "addrcache" "dns seeding" {
        /// its name
        seed: String,
    }
    /// There are peers enough: no DNS seed is asked.
    NoSeeding Rare "addrcache" "enough peers" {}
    /// New addresses came from a DNS seed, or with the program.
    Addresses Rare "addrcache" "load" {
        /// how many were new
        count: u64,
        /// the seed's name, or `program`
        source: String,
    }
    /// New headers are in the tree.
    Headers Often "headers" "accepted" {
        /// how many
        count: u64,
        /// the height of the last
        height: u32,
        /// the last
        name: [u8; 32],
    }
    /// No block came for long: another outbound peer is tried.
    StaleTip Rare "headers" "stale tip" {
        /// the height of our tip
        height: u32,
    }
    /// A block passed every check that needs no coins, and is stored.
    BlockStored Often "db" "add" {
        /// the block
        name: [u8; 32],
        /// its height
        height: u32,
    }
    /// A block was connected: it is valid.
    BlockConnected Often "ledger" "add" {
        /// the block
        name: [u8; 32],
        /// its height
        height: u32,
    }
    /// A block is refused.
    BlockRefused Peer "ledger" "refused" {
        /// the block
        name: [u8; 32],
        /// Core's reason
        reason: String,
    }
    /// Another block is the tip.
    Tip Often "ledger" "tip" {
        /// the tip before
        old: [u8; 32],
        /// the tip now
        new: [u8; 32],
        /// its height
        height: u32,
        /// how many blocks of the old chain are not in the new one
        fork_depth: u32,
    }
    /// How far the chain is: once a second while it is behind, later at each new tip.
    Progress Rare "ledger" "progress" {
        /// the tip's height
        height: u32,
        /// the height of the best header
        headers: u32,
        /// the tip
        name: [u8; 32],
        /// connections
        peers: u64,
        /// connected since the last such line, a second
        blocks_per_second: u64,
    }
    /// The chain was opened.
    Opened Rare "ledger" "loaded" {
        /// the tip's height
        height: u32,
        /// the tip
        name: [u8; 32],
        /// the folder
        folder: String,
        /// how long that took, milliseconds
        millis: u64,
    }
    /// Blocks were found in the block file that the index did not have: all, where it is built anew.
    IndexScanned Rare "db" "scan" {
        /// how many
        count: u64,
        /// bytes that were read for it
        size: u64,
    }
    /// The end of the block file is no whole block, and was cut.
    BlocksCut Told "db" "cut" {
        /// the file's length since
        position: u64,
        /// bytes that were cut
        size: u64,
        /// what is wrong
        reason: String,
    }
    /// A stored block is damaged: it is fetched again.
    BlockDamaged Told "db" "damaged" {
        /// the block
        name: [u8; 32],
        /// what is wrong, and where
        reason: String,
    }
    /// Blocks are fetched again that were released, for the ledger has need of them.
    BlocksWanted Told "db" "wanted" {
        /// how many
        count: u64,
        /// the height of the first
        height: u32,
    }
    /// The end of the file of headers is none, and was cut.
    HeadersCut Told "headers" "cut" {
        /// bytes that were cut
        size: u64,
    }
    /// The ledger was opened: from its checkpoint, or from its log alone.
    LedgerOpened Rare "ledger" "opened" {
        /// whether there was a checkpoint
        checkpoint: bool,
        /// blocks that were redone from the log
        replayed: u64,
    }
    /// A file of the ledger is damaged: the ledger was made anew from what is whole.
    LedgerDamaged Told "ledger" "damaged" {
        /// the file
        file: String,
        /// where in it
        position: u64,
    }
    /// The block file was shorter than the ledger, which stepped back to it.
    LedgerSteppedBack Told "ledger" "stepped back" {
        /// the height of its tip now
        height: u32,
    }
    /// The end of the ledger's log was no whole record, and was cut.
    LedgerCut Told "ledger" "cut" {
        /// bytes that were cut
        size: u64,
    }
    /// The set stands on a snapshot that validation from genesis has not reached.
    Unverified Told "ledger" "unverified" {
        /// the snapshot's block
        name: [u8; 32],
        /// its height
        height: u32,
    }
    /// Scripts below a block are not checked.
    AssumedValid Rare "ledger" "assumed valid" {
        /// the block
        name: [u8; 32],
    }
    /// A checkpoint is written.
    Checkpoint Rare "ledger" "checkpoint" {
        /// how long it took since it was begun, milliseconds
        millis: u64,
    }
    /// Old blocks were released.
    Pruned Rare "db" "pruned" {
        /// the height up to which
        height: u32,
    }
    /// Something took half a second or more, and others waited for it.
    Slow Peer "server" "slow" {
        /// what
        what: &'static str,
        /// how long, milliseconds
        millis: u64,
    }
    /// A request over HTTP was answered.
    Request Often "http" "request" {
        /// `rpc`, `web` or `metrics`
        server: &'static str,
        /// who asked
        remote: Address,
        /// the method and path
        request: String,
        /// the HTTP status
        status: u16,
        /// bytes of the answer
        size: u64,
        /// how long it took, microseconds
        micros: u64,
    }
    /// A session of the prompt began, on the monitor's socket or on a page.
    Session Rare "monitor" "incoming" {
        /// `socket` or `web`
        source: &'static str,
    }
    /// A user changed the node.
    Command Rare "server" "command" {
        /// the command, without secrets
        command: String,
    }
    /// A message was sent (`-v`).
    MessageSent Trace "conn" "=>" {
        /// the peer
        remote: Address,
        /// its name
        command: String,
        /// bytes on the wire
        size: u64,
    }
    /// A message came (`-v`).
    MessageReceived Trace "conn" "<=" {
        /// the peer
        remote: Address,
        /// its name
        command: String,
        /// bytes on the wire
        size: u64,
    }
    /// A message that was sent, whole (`--packet`).
    PacketSent Trace "send" "" {
        /// the peer
        remote: Address,
        /// its name
        command: String,
        /// its payload
        payload: Box<[u8]>,
    }
    /// A message that came, whole (`--packet`).
    PacketReceived Trace "recv" "" {
        /// the peer
        remote: Address,
        /// its name
        command: String,
        /// its payload
        payload: Box<[u8]>,
    }
    /// A line that something wrote to standard error, where there is a log file.
    Stderr Peer "stderr" "" {
        /// the line
        text: Box<[u8]>,
    }
    /// A thread panicked.
    Panic Rare "exception" "panic" {
        /// the thread's name
        thread: String,
        /// what it said
        text: String,
        /// the source file
        file: String,
        /// the line in it
        line: u32,
    }
    /// Events were dropped, since the writer could not keep up.
    Dropped Rare "log" "dropped" {
        /// how many
        count: u64,
    }
    /// Events of a kind that peers cause were left out, being too many.
    Suppressed Often "log" "suppressed" {
        /// the facility
        facility: &'static str,
        /// the event's name
        name: &'static str,
        /// how many
        count: u64,
    }
}

impl Event {
    /// Returns what is known of its kind.
    #[must_use]
    pub fn shape(&self) -> &'static Shape {
        &Self::SHAPES[self.kind()]
    }

    /// Appends the record of the event, as it stands in a file, to bytes. The time is in microseconds
    /// since 1970.
    pub fn encode(&self, time: i64, out: &mut Vec<u8>) {
        let shape = self.shape();
        put_record(out, time, |out| {
            put_octets(out, shape.facility.as_bytes());
            if !shape.name.is_empty() {
                put_octets(out, shape.name.as_bytes());
            }
            self.encode_fields(out);
        });
    }

    /// Returns the record of the event.
    ///
    /// # Panics
    /// Never: what is encoded can be decoded.
    #[must_use]
    pub fn record(&self, time: i64) -> Record {
        let mut out = Vec::new();
        self.encode(time, &mut out);
        Record::decode(&out[8..]).expect("it was encoded here")
    }

    /// Returns roughly how many bytes of memory it takes.
    pub(crate) fn size(&self) -> usize {
        let payload = match self {
            Self::PacketSent { payload, .. } | Self::PacketReceived { payload, .. } => {
                payload.len()
            }
            _ => 0,
        };
        size_of::<Self>() + payload
    }
}

/// The items, as [`catlog`](crate::text) shows them.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::text::items(&self.record(0).items, false).fmt(f)
    }
}

impl Shape {
    /// Finds the kind of a record, where it is one of ours.
    #[must_use]
    pub fn of(record: &Record) -> Option<&'static Self> {
        Event::SHAPES.iter().find(|shape| {
            let named = usize::from(!shape.name.is_empty());
            record.facility() == shape.facility
                && (named == 0 || record.text(1) == shape.name)
                && record.items.len() == 1 + named + shape.fields.len()
        })
    }
}
