//! A record of all that an engine was told, and the engine that runs from it again.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use caesure_consensus::{HeaderId, HeaderTree, Network, Params, RejectClass, Work};
use caesure_eventlog::Class;
use caesure_hash::{Sha256, sha256d};
use caesure_p2p::{
    BlockState, ConnectionKind, NetworkOptions, Now, PeerId, SavedFiles, SyncOptions,
};
use caesure_wire::{BlockHash, Endpoint, Header, NetAddress, Reader, push_compact_size};

use crate::{ChainEvent, ChainRequest, Command, Effect, Engine, EngineOptions, Input, Output};

/// What a record begins with: what it is, and its format.
const BEGIN: &[u8] = b"caesure record\n\x01\0\0\0";
const CHECKSUM_SIZE: usize = 4;

/// A record cannot be replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it {0}")]
pub struct RecordError(&'static str);

/// What came of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// How many inputs there were.
    pub inputs: u64,
    /// A hash of all outputs, and of tip, headers and peers: before [`Input::Stop`], and now. It
    /// compares runs of one version of the program.
    pub hash: [u8; 32],
}

/// An engine that is run an input at a time, with its record where one is wanted.
pub struct Runner {
    engine: Engine,
    record: Option<Record>,
}

struct Record {
    /// What was not taken yet.
    bytes: Vec<u8>,
    inputs: u64,
    hash: Sha256,
}

impl Runner {
    /// Begins with an engine; its first outputs come with the first step.
    #[must_use]
    pub fn new(mut options: EngineOptions, now: Now, is_recorded: bool) -> Self {
        let record = is_recorded.then(|| {
            let bytes = [BEGIN, &framed(now, |out| put_options(&mut options, out))].concat();
            Record { bytes, inputs: 0, hash: Sha256::new() }
        });
        Self { engine: Engine::new(options, now), record }
    }

    /// Tells the engine what happened, or nothing, and returns all that is to be done.
    pub fn step(&mut self, input: Option<Input>, now: Now) -> Vec<Output> {
        if let Some(record) = &mut self.record {
            record.bytes.extend(framed(now, |out| input.put(out)));
            record.inputs += u64::from(input.is_some());
            if matches!(input, Some(Input::Stop)) {
                hash_state(&mut record.hash, &self.engine);
            }
        }
        if let Some(input) = input {
            self.engine.handle(input, now);
        }
        let mut outputs = Vec::new();
        while let Some(output) = self.engine.poll(now) {
            if let Some(record) = &mut self.record {
                hash_output(&mut record.hash, &output);
            }
            outputs.push(output);
        }
        outputs
    }

    /// Returns the engine, to be looked into.
    #[must_use]
    pub const fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Returns what the record has grown by since it was last asked for.
    pub fn take_record(&mut self) -> Vec<u8> {
        self.record.as_mut().map(|record| std::mem::take(&mut record.bytes)).unwrap_or_default()
    }

    /// Returns what came of the steps so far, where a record is kept.
    #[must_use]
    pub fn summary(&self) -> Option<Summary> {
        let record = self.record.as_ref()?;
        let mut hash = record.hash.clone();
        hash_state(&mut hash, &self.engine);
        Some(Summary { inputs: record.inputs, hash: hash.finish() })
    }
}

/// A record: length, body and checksum.
fn framed(now: Now, put: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut record = vec![0; 4];
    now.put(&mut record);
    put(&mut record);
    let length = u32::try_from(record.len() - 4).expect("nothing takes 4 GiB");
    record[..4].copy_from_slice(&length.to_le_bytes());
    let checksum = sha256d(&record[4..]);
    record.extend_from_slice(&checksum[..CHECKSUM_SIZE]);
    record
}

/// What is logged at a user's wish alone is left out.
fn hash_output(hash: &mut Sha256, output: &Output) {
    let (what, bytes) = match output {
        Output::Network(Effect::Log(event)) if event.shape().class == Class::Trace => return,
        Output::Network(Effect::Send { peer, bytes }) => (format!("send {peer}"), &bytes[..]),
        Output::Chain(ChainRequest::Block { hash, bytes }) => (format!("block {hash}"), &bytes[..]),
        Output::Network(Effect::Save { file, bytes }) => (format!("save {file}"), &bytes[..]),
        other => (format!("{other:?}"), &[][..]),
    };
    hash.update(format!("{what} {}\n", bytes.len()).as_bytes());
    hash.update(bytes);
}

fn hash_state(hash: &mut Sha256, engine: &Engine) {
    let (tree, sync) = (engine.sync().tree(), engine.sync());
    hash.update(&sync.tip().0.to_le_bytes());
    for id in (0..).map(HeaderId).take(tree.len()) {
        hash.update(&tree.hash(id).0);
        hash.update(&[flags(tree, sync.block_state(id), id)]);
    }
    for peer in engine.network().peers() {
        hash.update(format!("{peer:?} {:?}\n", sync.peer_chain(peer.id)).as_bytes());
    }
}

/// A header's byte: what is known of its block.
fn flags(tree: &HeaderTree, state: BlockState, id: HeaderId) -> u8 {
    let (body, connected) = (u8::from(state.has_body), u8::from(state.is_connected));
    body | connected << 1 | u8::from(tree.is_invalid(id)) << 2
}

/// Runs a record again. Returns what came of it, and how many bytes were whole: the record ends where
/// it was cut, or is damaged.
///
/// # Errors
/// When it is no record of this format, ends before the engine begins, or holds what none can hold.
pub fn replay(mut record: impl Read) -> Result<(Summary, u64), RecordError> {
    let mut begin = [0; BEGIN.len()];
    if record.read_exact(&mut begin).is_err() || begin != BEGIN {
        return Err(RecordError("is no record of this format"));
    }
    let (mut runner, mut whole) = (None, BEGIN.len());
    while let Some(body) = next_body(&mut record) {
        run(&mut runner, &body).ok_or(RecordError("is malformed"))?;
        whole += 4 + body.len() + CHECKSUM_SIZE;
    }
    let summary = runner.as_ref().and_then(Runner::summary);
    Ok((summary.ok_or(RecordError("ends before the engine begins"))?, whole as u64))
}

fn run(runner: &mut Option<Runner>, body: &[u8]) -> Option<()> {
    let mut reader = Reader::new(body);
    let now = Field::get(&mut reader)?;
    match runner {
        None => *runner = Some(Runner::new(get_options(&mut reader)?, now, true)),
        Some(runner) => drop(runner.step(Field::get(&mut reader)?, now)),
    }
    runner.as_mut().map(Runner::take_record);
    reader.finish().ok()
}

/// The next record's body, if that is whole.
fn next_body(record: &mut impl Read) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    record.read_exact(&mut length).ok()?;
    let length = usize::try_from(u32::from_le_bytes(length)).ok()?;
    let mut body = Vec::new();
    record.take((length + CHECKSUM_SIZE) as u64).read_to_end(&mut body).ok()?;
    let checksum = body.split_off(length.min(body.len()));
    (checksum == sha256d(&body)[..CHECKSUM_SIZE]).then_some(body)
}

/// What can stand in a record.
trait Field: Sized {
    fn put(&self, out: &mut Vec<u8>);
    fn get(reader: &mut Reader<'_>) -> Option<Self>;
}

/// Types that stand in a record as others, with the ways there and back.
macro_rules! standing_for {
    ($($type:ty as $other:ty: $to:expr, $from:expr;)+) => {
        $(impl Field for $type {
            fn put(&self, out: &mut Vec<u8>) {
                let to: fn(&Self) -> $other = $to;
                to(self).put(out);
            }

            fn get(reader: &mut Reader<'_>) -> Option<Self> {
                let from: fn($other) -> Option<Self> = $from;
                from(Field::get(reader)?)
            }
        })+
    };
}

/// Variants by their numbers, and their fields in order.
macro_rules! variants {
    ($type:ident: $($number:literal $variant:ident $(($inner:ident))? $({ $($name:ident),+ })?;)+ $(else $rest:pat)?) => {
        impl Field for $type {
            fn put(&self, out: &mut Vec<u8>) {
                match self {
                    $(Self::$variant $(($inner))? $({ $($name),+ })? => {
                        out.push($number);
                        $($inner.put(out);)?
                        $($($name.put(out);)+)?
                    })+
                    $($rest => out.push(u8::MAX),)?
                }
            }

            fn get(reader: &mut Reader<'_>) -> Option<Self> {
                Some(match reader.u8().ok()? {
                    $($number => {
                        $(let $inner = Field::get(reader)?;)?
                        $($(let $name = Field::get(reader)?;)+)?
                        Self::$variant $(($inner))? $({ $($name),+ })?
                    })+
                    _ => return None,
                })
            }
        }
    };
}

standing_for! {
    u8 as [u8; 1]: |it| [*it], |[it]| Some(it);
    u16 as [u8; 2]: |it| it.to_le_bytes(), |it| Some(Self::from_le_bytes(it));
    u32 as [u8; 4]: |it| it.to_le_bytes(), |it| Some(Self::from_le_bytes(it));
    u64 as [u8; 8]: |it| it.to_le_bytes(), |it| Some(Self::from_le_bytes(it));
    usize as u64: |it| *it as u64, |it| Self::try_from(it).ok();
    bool as u8: |it| u8::from(*it), |it| (it < 2).then_some(it == 1);
    String as Vec<u8>: |it| it.clone().into_bytes(), |it| Self::from_utf8(it).ok();
    Box<[u8]> as Vec<u8>: |it| it.to_vec(), |it| Some(it.into());
    Arc<Vec<u8>> as Vec<u8>: |it| it.to_vec(), |it| Some(it.into());
    Result<(), String> as Option<String>: |it| it.clone().err(), |it| Some(it.map_or(Ok(()), Err));
    Now as (u64, u64): |it| (u64::try_from(it.mono.as_nanos()).unwrap_or(u64::MAX), it.unix),
        |(nanos, unix)| Some(Self { mono: Duration::from_nanos(nanos), unix });
    PeerId as u64: |it| it.0, |it| Some(Self(it));
    BlockHash as [u8; 32]: |it| it.0, |it| Some(Self(it));
    Header as [u8; 80]: Self::to_bytes, |it| Some(Self::from_bytes(&it));
    Work as [u8; 32]: |it| it.to_be_bytes(), |it| Some(Self::from_be_bytes(it));
    Endpoint as (NetAddress, u16): |it| (it.address.clone(), it.port),
        |(address, port)| Some(Self { address, port });
    Network as String: |it| it.name().to_owned(),
        |it| Self::ALL.into_iter().find(|network| network.name() == it);
}

impl<const N: usize> Field for [u8; N] {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }

    fn get(reader: &mut Reader<'_>) -> Option<Self> {
        reader.array().ok()
    }
}

impl<T: Field> Field for Option<T> {
    fn put(&self, out: &mut Vec<u8>) {
        self.is_some().put(out);
        if let Some(it) = self {
            it.put(out);
        }
    }

    fn get(reader: &mut Reader<'_>) -> Option<Self> {
        if bool::get(reader)? { T::get(reader).map(Some) } else { Some(None) }
    }
}

impl<T: Field> Field for Vec<T> {
    fn put(&self, out: &mut Vec<u8>) {
        push_compact_size(out, self.len());
        self.iter().for_each(|it| it.put(out));
    }

    fn get(reader: &mut Reader<'_>) -> Option<Self> {
        (0..reader.compact_size().ok()?).map(|_| T::get(reader)).collect()
    }
}

impl<A: Field, B: Field> Field for (A, B) {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
        self.1.put(out);
    }

    fn get(reader: &mut Reader<'_>) -> Option<Self> {
        Some((A::get(reader)?, B::get(reader)?))
    }
}

variants! { NetAddress:
    1 Ipv4(bytes); 2 Ipv6(bytes); 4 TorV3(bytes); 5 I2p(bytes); 6 Cjdns(bytes);
    0 Unknown { network, bytes };
}

variants! { ConnectionKind:
0 Inbound; 1 OutboundFull; 2 BlockRelay; 3 Manual; 4 Feeler; 5 AddrFetch; }

variants! { RejectClass:
    0 Consensus; 1 CachedInvalid; 2 InvalidHeader; 3 Mutated; 4 MissingPrev; 5 InvalidPrev;
    6 TimeFuture; else _
}

variants! { Input:
    0 Tick; 1 Accepted { peer, remote, local }; 2 Dialled { peer, local };
    3 DialFailed { peer, reason }; 4 Received { peer, bytes }; 5 Written { peer, bytes };
    6 Closed { peer }; 7 Resolved { name, addresses }; 8 Chain(event); 9 Command { id, command };
    10 Stop;
}

variants! { ChainEvent:
    0 Stored { hash }; 1 Connected { hash }; 2 Refused { hash, reason, class }; 3 Tip { hash };
    4 Read { ticket, block }; 5 Done { id, result }; 6 Pruned { height };
}

variants! { Command:
    0 AddNode { endpoint, v2 }; 1 RemoveNode(endpoint); 2 Connect { endpoint, kind, v2 };
    3 DisconnectPeer(peer); 4 DisconnectAddress(endpoint); 5 Ban { address, prefix, until };
    6 Unban { address, prefix }; 7 ClearBans; 8 SetActive(is_active); 9 SubmitBlock(bytes);
    10 SubmitHeader(header); 11 GetBlockFromPeer { hash, peer }; 12 Precious(hash);
    13 Invalidate(hash); 14 Reconsider(hash); 15 AddAddress { endpoint, tried };
    16 SendMessage { peer, name, payload };
}

/// Does something with each option in the order of the record: one list for both directions.
macro_rules! each_option {
    ($network:ident $sync:ident $saved:ident, $it:ident => $do:expr) => {
        each_option! { $it $do;
            $network: outbound inbound listen connect only_connect dns_seed fixed_seeds v2 proxy
                blocks_only user_agent services;
            $sync: minimum_chain_work blocks_only relays_before_tip pruned;
            $saved: peers bans anchors;
        }
    };
    ($it:ident $do:expr; $($of:ident: $($field:ident)+;)+) => {
        $($({ let $it = &mut $of.$field; $do; })+)+
    };
}

fn put_options(options: &mut EngineOptions, out: &mut Vec<u8>) {
    let EngineOptions { network, sync, saved, tree, states, tip, seed } = options;
    network.params.network.put(out);
    network.params.signet_challenge.put(out);
    network.params.minimum_chain_work.put(out);
    each_option!(network sync saved, it => it.put(out));
    seed.put(out);
    tip.0.put(out);
    push_compact_size(out, states.len());
    for (id, state) in (0..).map(HeaderId).zip(states) {
        (tree.header(id), flags(tree, *state, id)).put(out);
    }
}

fn get_options(reader: &mut Reader<'_>) -> Option<EngineOptions> {
    let params = match (Field::get(reader)?, Option::<Box<[u8]>>::get(reader)?) {
        (Network::Signet, Some(challenge)) => Params::signet(&challenge),
        (network, _) => Params::new(network),
    };
    let params = Params { minimum_chain_work: Field::get(reader)?, ..params };
    let (mut network, mut saved) = (NetworkOptions::new(params.clone()), SavedFiles::default());
    let mut sync = SyncOptions {
        minimum_chain_work: params.minimum_chain_work,
        params,
        blocks_only: false,
        relays_before_tip: false,
        pruned: false,
    };
    each_option!(network sync saved, it => *it = Field::get(reader)?);
    let (seed, tip) = (Field::get(reader)?, HeaderId(Field::get(reader)?));
    let headers: Vec<(Header, u8)> = Field::get(reader)?;
    let (mut tree, mut states) = (HeaderTree::new(&sync.params), Vec::new());
    for (header, flags) in &headers {
        // Each is judged again, at any time.
        tree.accept(header, u32::MAX).ok()?;
        states.push(BlockState { has_body: flags & 1 != 0, is_connected: flags & 2 != 0 });
    }
    // Nothing is accepted on top of those that are invalid.
    for (id, (_, flags)) in (0..).map(HeaderId).zip(&headers) {
        if flags & 4 != 0 && !tree.is_invalid(id) {
            tree.mark_invalid(id);
        }
    }
    let is_sound = tree.len() == states.len() && (tip.0 as usize) < tree.len();
    is_sound.then_some(EngineOptions { network, sync, saved, tree, states, tip, seed })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: PeerId = PeerId(7);
    const HASH: BlockHash = BlockHash([9; 32]);

    fn endpoints() -> Vec<Endpoint> {
        let unknown = NetAddress::Unknown { network: 99, bytes: Box::new([1, 2, 3]) };
        let addresses = [
            NetAddress::Ipv4([192, 0, 2, 1]),
            NetAddress::Ipv6([0xfc; 16]),
            NetAddress::TorV3([3; 32]),
            NetAddress::I2p([4; 32]),
            NetAddress::Cjdns([0xfc; 16]),
            unknown,
        ];
        addresses
            .into_iter()
            .zip(8333..)
            .map(|(address, port)| Endpoint { address, port })
            .collect()
    }

    fn commands() -> Vec<Command> {
        use ConnectionKind::{AddrFetch, BlockRelay, Feeler, Inbound, Manual, OutboundFull};
        let mut commands = Vec::new();
        for endpoint in endpoints() {
            let address = endpoint.address.clone();
            commands.extend([
                Command::AddNode { endpoint: endpoint.clone(), v2: Some(false) },
                Command::RemoveNode(endpoint.clone()),
                Command::DisconnectAddress(endpoint.clone()),
                Command::AddAddress { endpoint, tried: true },
                Command::Ban { address: address.clone(), prefix: 24, until: 1 << 40 },
                Command::Unban { address, prefix: 24 },
            ]);
        }
        let kinds = [Inbound, OutboundFull, BlockRelay, Manual, Feeler, AddrFetch];
        for (kind, v2) in kinds.into_iter().zip([None, Some(true), Some(false)].into_iter().cycle())
        {
            commands.push(Command::Connect { endpoint: endpoints().remove(0), kind, v2 });
        }
        let (name, payload) = ("pong".to_owned(), vec![0; 300]);
        commands.extend([
            Command::DisconnectPeer(PEER),
            Command::ClearBans,
            Command::SetActive(false),
            Command::SetActive(true),
            Command::SubmitBlock(Arc::new(vec![1; 500])),
            Command::SubmitHeader(Params::new(Network::Main).genesis),
            Command::GetBlockFromPeer { hash: HASH, peer: PEER },
            Command::Precious(HASH),
            Command::Invalidate(HASH),
            Command::Reconsider(HASH),
            Command::SendMessage { peer: PEER, name, payload },
        ]);
        commands
    }

    /// Each variant of all that goes into an engine, in an order that means nothing to it.
    fn inputs() -> Vec<Input> {
        use RejectClass::{
            CachedInvalid, Consensus, InvalidHeader, InvalidPrev, MissingPrev, Mutated, TimeFuture,
        };
        let reason = || "größer".to_owned();
        let remote = endpoints().remove(1);
        let local = endpoints().remove(0);
        let mut inputs = vec![
            Input::Accepted { peer: PEER, remote, local: local.clone() },
            Input::Received { peer: PEER, bytes: vec![5; 1000] },
            Input::Written { peer: PEER, bytes: 70_000 },
            Input::Dialled { peer: PeerId(2), local },
            Input::DialFailed { peer: PeerId(u64::MAX), reason: reason() },
            Input::Resolved {
                name: String::new(),
                addresses: endpoints().into_iter().map(|it| it.address).collect(),
            },
        ];
        let classes = [
            Consensus,
            CachedInvalid,
            InvalidHeader,
            Mutated,
            MissingPrev,
            InvalidPrev,
            TimeFuture,
        ];
        let refused = |class| ChainEvent::Refused { hash: HASH, reason: reason(), class };
        let events = [
            ChainEvent::Stored { hash: HASH },
            ChainEvent::Connected { hash: HASH },
            ChainEvent::Tip { hash: Params::new(Network::Regtest).genesis_hash },
            ChainEvent::Read { ticket: 1, block: None },
            ChainEvent::Read { ticket: 2, block: Some(Arc::new(vec![8; 90])) },
            ChainEvent::Done { id: 4, result: Ok(()) },
            ChainEvent::Done { id: 5, result: Err(reason()) },
            ChainEvent::Pruned { height: 0 },
        ];
        inputs.extend(classes.map(refused).into_iter().chain(events).map(Input::Chain));
        let commands = commands().into_iter().zip(0..);
        inputs.extend(commands.map(|(command, id)| Input::Command { id, command }));
        inputs.extend([Input::Closed { peer: PEER }, Input::Tick, Input::Stop]);
        inputs
    }

    fn options() -> EngineOptions {
        let params = Params { minimum_chain_work: Work::ZERO, ..Params::new(Network::Regtest) };
        let mut tree = HeaderTree::new(&params);
        let mut states = vec![BlockState { has_body: true, is_connected: true }];
        // Two children of block 0, and one on top of the second, which is invalid.
        for (tag, on_last) in [(0, false), (1, false), (2, true)] {
            let last = HeaderId(u32::try_from(states.len()).unwrap() - 1);
            let parent = if on_last { last } else { HeaderTree::GENESIS };
            let mut header = tree.header(parent);
            header.prev_block = tree.hash(parent);
            header.merkle_root.0[0] = tag;
            header.version = 4;
            header.time += 1;
            while tree.accept(&header, u32::MAX).is_err() {
                header.nonce += 1;
            }
            states.push(BlockState { has_body: tag == 0, is_connected: false });
        }
        tree.mark_invalid(HeaderId(2));
        let network = NetworkOptions {
            listen: endpoints(),
            proxy: Some(endpoints().remove(0)),
            only_connect: true,
            services: 0x409,
            ..NetworkOptions::new(params.clone())
        };
        let sync = SyncOptions {
            minimum_chain_work: Work::from_be_bytes([1; 32]),
            params,
            blocks_only: false,
            relays_before_tip: true,
            pruned: false,
        };
        let saved = SavedFiles { peers: Some(vec![1; 40]), bans: Some(Vec::new()), anchors: None };
        let tip = HeaderTree::GENESIS;
        EngineOptions { network, sync, saved, tree, states, tip, seed: [6; 32] }
    }

    fn at(seconds: u64) -> Now {
        Now { mono: Duration::from_millis(seconds * 1_001), unix: 1_700_000_000 + seconds }
    }

    /// A record of a run through all inputs, in its pieces, with what came of each beginning.
    fn record() -> Vec<(Vec<u8>, Summary)> {
        let mut runner = Runner::new(options(), at(0), true);
        let mut pieces = vec![(runner.take_record(), runner.summary().unwrap())];
        for (input, second) in [None].into_iter().chain(inputs().into_iter().map(Some)).zip(1..) {
            runner.step(input, at(second));
            pieces.push((runner.take_record(), runner.summary().unwrap()));
        }
        pieces
    }

    #[test]
    fn each_input_comes_back_as_it_was() {
        for input in inputs() {
            let mut bytes = Vec::new();
            input.put(&mut bytes);
            let mut reader = Reader::new(&bytes);
            let read = Input::get(&mut reader).unwrap();
            assert!(reader.is_empty(), "{input:?}");
            assert_eq!(format!("{read:?}"), format!("{input:?}"));
            for cut in 0..bytes.len() {
                assert!(Input::get(&mut Reader::new(&bytes[..cut])).is_none(), "{input:?}");
            }
        }
    }

    #[test]
    fn options_come_back_as_they_were() {
        for params in [options().network.params, Params::signet(&[0x51])] {
            let mut options = options();
            if params.network == Network::Signet {
                options.tree = HeaderTree::new(&params);
                options.states.truncate(1);
            }
            options.network.params = params.clone();
            options.sync.params = params;
            let mut bytes = Vec::new();
            put_options(&mut options, &mut bytes);
            let mut reader = Reader::new(&bytes);
            let read = get_options(&mut reader).unwrap();
            assert!(reader.is_empty());
            assert_eq!(format!("{read:?}"), format!("{options:?}"));
        }
    }

    #[test]
    fn a_record_cut_anywhere_gives_what_the_run_had_come_to() {
        let pieces = record();
        let (mut bytes, mut before) = (Vec::new(), None);
        for (piece, summary) in &pieces {
            for cut in [0, 1, 4, piece.len() / 2, piece.len() - 1] {
                let cut = [&bytes[..], &piece[..cut]].concat();
                match before {
                    Some(before) => assert_eq!(replay(&cut[..]), Ok((before, bytes.len() as u64))),
                    None => assert!(replay(&cut[..]).is_err()),
                }
            }
            bytes.extend_from_slice(piece);
            before = Some(*summary);
            assert_eq!(replay(&bytes[..]), Ok((*summary, bytes.len() as u64)));
        }
        let count = inputs().len() as u64;
        assert_eq!(before.map(|summary| summary.inputs), Some(count));
    }

    #[test]
    fn another_input_or_another_time_gives_another_hash() {
        let run = |seed: u8, second| {
            let mut runner =
                Runner::new(EngineOptions { seed: [seed; 32], ..options() }, at(0), true);
            inputs()
                .into_iter()
                .take(3)
                .for_each(|input| drop(runner.step(Some(input), at(second))));
            runner.summary().unwrap().hash
        };
        assert_eq!(run(1, 9), run(1, 9));
        assert_ne!(run(1, 9), run(1, 10));
        assert_ne!(run(1, 9), run(2, 9));
    }

    #[test]
    fn any_damage_ends_the_replay_or_is_an_error() {
        let pieces = record();
        let whole: Vec<u8> = pieces.iter().flat_map(|(piece, _)| piece.clone()).collect();
        for at in (0..whole.len()).step_by(13) {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x40;
            if let Ok((_, sound)) = replay(&damaged[..]) {
                assert!(sound <= at as u64, "byte {at}");
            }
        }
        // With a right checksum too, anything is an error or a value.
        let bodies = pieces.iter().skip(2).map(|(piece, _)| &piece[20..piece.len() - 4]);
        let mut random = caesure_p2p::Random::new([3; 32]);
        for body in bodies {
            for byte in random.bytes::<16>() {
                let mut body = body.to_vec();
                let place = usize::from(byte) * 7 % body.len();
                body[place] ^= byte;
                let record = [&pieces[0].0[..], &framed(at(1), |out| out.extend(&body))].concat();
                let _ = replay(&record[..]);
            }
        }
    }
}
