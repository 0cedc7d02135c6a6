//! What a prompt reads: of the running node, and of a base without one.

use std::time::Duration;

use caesure_blockstore::Error as StoreError;
use caesure_consensus::Params;
use caesure_engine::{Command as Wish, CommandError};
use caesure_eventlog::{Filter, text};
use caesure_http::{Backend, sanitized};
use caesure_ledger::Worlds;
use caesure_p2p::{ConnectionKind, PeerId, PeerInfo, Subnet};
use caesure_prompt::{Command, Fields, Look, Now, Source, Still, Value};
use caesure_wire::{BlockHash, Endpoint};

use crate::args::{Ceiling, Common};
use crate::chain::{Chain, Store};
use crate::handle::Handle;
use crate::opening::{Access, Settings, open_chain};
use crate::{Error, base, clock};

/// The running node.
pub(crate) struct Live {
    handle: Handle,
    params: Params,
    takes_commands: bool,
}

impl Live {
    pub(crate) const fn new(handle: Handle, params: Params, takes_commands: bool) -> Self {
        Self { handle, params, takes_commands }
    }

    fn wish(&self, command: &Command) -> Result<(Wish, &'static str), String> {
        let endpoint = |text: &str| {
            let endpoint = Endpoint::parse(text, self.params.default_port);
            endpoint.map_err(|_| format!("{text} is no address; write IP:PORT"))
        };
        let subnet = |text: &str| {
            let subnet = text.parse::<Subnet>();
            let subnet = subnet.map_err(|_| format!("{text} is no address and no subnet"))?;
            Ok::<_, String>((subnet.address().clone(), subnet.prefix()))
        };
        Ok(match command {
            Command::Connect(text) => {
                let (endpoint, kind) = (endpoint(text)?, ConnectionKind::Manual);
                (
                    Wish::Connect { endpoint, kind, v2: None },
                    "connecting; peers() shows what comes of it",
                )
            }
            Command::Disconnect(text) => match text.parse() {
                Ok(id) => (Wish::DisconnectPeer(PeerId(id)), "disconnected"),
                Err(_) => (Wish::DisconnectAddress(endpoint(text)?), "disconnected"),
            },
            Command::Ban(text, seconds) => {
                let (address, prefix) = subnet(text)?;
                let until = self.now().unix.saturating_add(*seconds);
                (Wish::Ban { address, prefix, until }, "banned")
            }
            Command::Unban(text) => {
                let (address, prefix) = subnet(text)?;
                (Wish::Unban { address, prefix }, "no longer banned")
            }
            other => return Err(format!("{other:?} is not of the network")),
        })
    }
}

impl Source for Live {
    fn params(&self) -> &Params {
        &self.params
    }

    fn worlds(&self) -> Worlds {
        self.handle.worlds()
    }

    fn headers(&self, look: Look) {
        self.handle.query(Box::new(move |engine, _| look(engine.sync().tree())));
    }

    fn read_block(&self, hash: &BlockHash) -> Result<Option<Vec<u8>>, String> {
        self.handle.read_block(hash)
    }

    fn now(&self) -> Now {
        let now = self.handle.shared.now();
        Now { mono: now.mono, unix: now.unix }
    }

    fn peers(&self) -> Option<Vec<Fields>> {
        let (told, peers) = std::sync::mpsc::sync_channel(1);
        self.handle.query(Box::new(move |engine, _| {
            let sync = engine.sync();
            let peers = engine.network().peers().map(|peer| {
                let best = sync.peer_chain(peer.id).and_then(|chain| chain.best_known);
                peer_fields(peer, best.map(|id| sync.tree().height(id)))
            });
            let _ = told.send(peers.collect::<Vec<_>>());
        }));
        peers.recv().ok()
    }

    fn counters(&self) -> Fields {
        let (told, found) = std::sync::mpsc::sync_channel(1);
        self.handle.query(Box::new(move |engine, _| {
            let (sync, network) = (engine.sync(), engine.network());
            let (height, totals) = (sync.tree().height(sync.tip()), network.totals());
            let _ = told.send(vec![
                field("height", height),
                field("headers", sync.tree().len()),
                field("best_header_height", sync.tree().height(sync.tree().best())),
                field("peers", network.peers().count()),
                field("bytes_sent", totals.sent),
                field("bytes_received", totals.received),
            ]);
        }));
        let mut fields = found.recv().unwrap_or_default();
        let resources = self.handle.resources();
        fields.extend([
            field("txs_connected", self.handle.connected_txs()),
            field("worlds", self.handle.worlds().worlds().len()),
            field("memory", resources.memory),
            field("memory_limit", resources.memory_limit),
            field("disk_blocks", self.handle.disk_use()),
            field("disk_ledger", resources.ledger),
            field("uptime_seconds", (self.now().mono - self.handle.about.started).as_secs()),
        ]);
        fields.extend(
            resources.queues.iter().map(|it| field(&format!("queue_{}", it.name), it.depth)),
        );
        fields
    }

    fn log(&self, count: usize, contains: &str) -> Option<Vec<String>> {
        let filter = Filter { contains: contains.to_owned(), ..Filter::default() };
        let entries = self.handle.logger.tail().last(count, &filter);
        Some(entries.iter().map(|entry| text::line(&entry.record, false)).collect())
    }

    fn command(&self, command: &Command) -> Result<String, String> {
        if !self.takes_commands {
            return Err("commands are switched off; the node was started with --no-commands".into());
        }
        match command {
            Command::Save => {
                self.handle.save();
                Ok("saving".to_owned())
            }
            Command::Stop => {
                self.handle.stop();
                Ok("stopping".to_owned())
            }
            _ => {
                let (wish, done) = self.wish(command)?;
                self.handle.command(wish).map_err(|error| match error {
                    CommandError::Refused(why)
                    | CommandError::Duplicate(why)
                    | CommandError::NotFound(why) => why,
                })?;
                Ok(done.to_owned())
            }
        }
    }
}

/// A block's bytes, none when it is pruned.
fn body(found: Result<Vec<u8>, StoreError>) -> Result<Option<Vec<u8>>, String> {
    match found {
        Ok(bytes) => Ok(Some(bytes)),
        Err(StoreError::Pruned(_) | StoreError::Unknown(_)) => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

fn field(name: &str, number: impl TryInto<i64>) -> (String, Value) {
    (name.to_owned(), Value::Int(number.try_into().unwrap_or(i64::MAX)))
}

fn peer_fields(peer: &PeerInfo, height: Option<u32>) -> Fields {
    let text = |name: &str, text: String| (name.to_owned(), Value::Text(text));
    let agent = peer.version.as_ref().map_or(&[][..], |version| &version.user_agent);
    let seconds =
        |time: Option<Duration>| time.map_or(Value::Nothing, |it| Value::Float(it.as_secs_f64()));
    vec![
        field("id", peer.id.0),
        text("address", peer.remote.to_string()),
        text("kind", peer.kind.name().to_owned()),
        ("is_inbound".to_owned(), Value::Bool(peer.is_inbound())),
        text("transport", peer.transport.name().to_owned()),
        field("services", peer.services),
        text("user_agent", sanitized(agent)),
        ("height".to_owned(), height.map_or(Value::Nothing, |height| Value::Int(height.into()))),
        ("ping".to_owned(), seconds(peer.ping)),
        field("connected_at", peer.connected_at.unix),
        field("bytes_sent", peer.bytes_sent),
        field("bytes_received", peer.bytes_recv),
    ]
}

/// Opens a base to look at it, of a node that runs or not, and writes nothing.
pub(crate) fn open_folder(common: &Common, ceiling: Ceiling) -> Result<Still, Error> {
    let folder = base::network_folder(common.base.as_deref(), common.network())?;
    let settings = Settings::reading(ceiling);
    let chain = open_chain(&folder, common.params(), Access::Read, &settings)?;
    let Chain { tree, ledger, params, store: Store::Reader(blocks), .. } = chain else {
        unreachable!("it was opened to be read")
    };
    let (worlds, began) = (ledger.reader(), clock::instant());
    let counters = vec![
        ("folder".to_owned(), Value::Text(folder.display().to_string())),
        field("height", worlds.tip().info().height),
        field("headers", tree.len()),
        field("blocks", blocks.len()),
        field("bytes_of_blocks", blocks.body_bytes()),
        field("worlds", worlds.worlds().len()),
    ];
    Ok(Still {
        params: Params::clone(&params),
        tree,
        worlds,
        read: Box::new(move |hash| body(blocks.read(hash))),
        now: Box::new(move || Now { mono: began.elapsed(), unix: clock::unix_time().into() }),
        counters,
    })
}
