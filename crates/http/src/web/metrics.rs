//! What is counted, as Prometheus reads it. The `bitcoin_` names are those of jvstein's exporter, so
//! that dashboards made for it work.

use std::fmt::{self, Write};
use std::path::Path;
use std::sync::PoisonError;
use std::time::Duration;
use std::{fs, iter};

use caesure_consensus::HeaderTree;
use caesure_engine::Engine;
use caesure_p2p::{PeerInfo, TipStatus};
use caesure_wire::{Block, BlockHash};

use super::server::Site;
use super::shown::Place;
use super::{Answer, Answered, Fault, Visit};
use crate::Histogram;
use crate::backend::look;
use crate::chain::difficulty;
use crate::peers::PROTOCOL_VERSION;

/// The media type of the text format.
const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// How many blocks the hash rate is taken of. Core: `getnetworkhashps`.
const HASH_RATE_BLOCKS: u32 = 120;

/// What is counted of the last block, once.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Latest {
    hash: Option<BlockHash>,
    height: u32,
    size: usize,
    weight: usize,
    txs: usize,
    inputs: usize,
    outputs: usize,
    value: i64,
    fee: i64,
}

/// How many transactions the chain has up to a block. They are counted block by block, some at a time,
/// and a file has how far that is.
#[derive(Debug, Default)]
pub(crate) struct ChainTxs {
    upto: BlockHash,
    /// Without genesis.
    count: u64,
    /// Whether the tip was reached.
    is_whole: bool,
    /// How many blocks were counted since the file was written.
    unsaved: usize,
}

/// In the network's folder: the count, and the hash of the block up to which it is.
const COUNT_FILE: &str = "txcount";

impl ChainTxs {
    /// So many blocks are counted at once in the background, and while somebody waits.
    pub(crate) const MANY: u32 = 20_000;
    const FEW: u32 = 100;
    /// After so many the file is written.
    const SAVED: usize = 100;

    /// Goes on towards the tip by so many blocks at most, and returns the count; none before it is
    /// known. What another thread is at is not waited for.
    pub(crate) fn count(site: &Site, most: u32) -> Option<u64> {
        let mut held = site.chain_txs.try_lock().ok()?;
        let file = site.backend.about().folder.join(COUNT_FILE);
        if held.upto == BlockHash::ZERO {
            *held = Self::load(site, &file).unwrap_or_default();
        }
        let upto = held.upto;
        let (way, is_all) = look(&*site.backend, move |engine, _| way(engine, &upto, most))?;
        for (is_gone, hash, then) in way {
            // It is not known of a block that a snapshot stands for.
            let known = site.backend.tx_count(&hash).ok().flatten();
            let Some(count @ 1..) = known.map(u64::from) else { return held.whole() };
            held.count = if is_gone { held.count - count } else { held.count + count };
            held.upto = then;
            held.unsaved += 1;
        }
        if Self::SAVED <= held.unsaved {
            let new = file.with_extension("tmp");
            let text = format!("{} {}\n", held.count, held.upto);
            // Without it, all are counted again.
            let _ = fs::write(&new, text).and_then(|()| fs::rename(&new, &file));
            held.unsaved = 0;
        }
        held.is_whole |= is_all;
        held.whole()
    }

    /// What an earlier run counted, if the block is still known.
    fn load(site: &Site, file: &Path) -> Option<Self> {
        let text = fs::read_to_string(file).ok()?;
        let (count, upto) = text.trim_end().split_once(' ')?;
        let (count, upto) = (count.parse().ok()?, upto.parse().ok()?);
        let is_known = move |engine: &Engine, _| engine.sync().tree().find(&upto).is_some();
        look(&*site.backend, is_known)?.then_some(Self { upto, count, ..Self::default() })
    }

    fn whole(&self) -> Option<u64> {
        self.is_whole.then_some(self.count + 1)
    }
}

/// The blocks between one, genesis where it is not known, and the tip: whether each is on the other
/// branch, which one it is, and where one stands behind it; and whether these are all.
fn way(engine: &Engine, from: &BlockHash, most: u32) -> (Vec<(bool, BlockHash, BlockHash)>, bool) {
    let (tree, tip) = (engine.sync().tree(), engine.sync().tip());
    let from = tree.find(from).unwrap_or(HeaderTree::GENESIS);
    let fork = tree.fork_point(from, tip);
    let above = |id| {
        let down = iter::successors(Some(id), |id| tree.parent(*id));
        down.take_while(|id| *id != fork).map(|id| (tree.hash(id), tree.header(id).prev_block))
    };
    let end = tree.ancestor(tip, tree.height(fork).saturating_add(most)).unwrap_or(tip);
    let mut come: Vec<_> = above(end).map(|(hash, _)| (false, hash, hash)).collect();
    come.reverse();
    (above(from).map(|(hash, parent)| (true, hash, parent)).chain(come).collect(), end == tip)
}

/// The text, as it grows.
#[derive(Default)]
struct Page(String);

impl Page {
    /// Writes one number of a name.
    fn one(&mut self, kind: &str, name: &str, help: &str, value: impl fmt::Display) {
        self.many(kind, name, help, [(String::new(), value)]);
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl fmt::Display) {
        self.one("gauge", name, help, value);
    }

    fn counter(&mut self, name: &str, help: &str, value: impl fmt::Display) {
        self.one("counter", name, help, value);
    }

    /// Writes a number for each set of labels.
    fn many<T: fmt::Display>(
        &mut self,
        kind: &str,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (String, T)>,
    ) {
        // A text takes all that is written to it.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in values {
            let labels = if labels.is_empty() { labels } else { format!("{{{labels}}}") };
            let _ = writeln!(self.0, "{name}{labels} {value}");
        }
    }

    fn durations(&mut self, name: &str, help: &str, times: &Histogram) {
        let bucket = |(bound, count): (Option<Duration>, u64)| {
            let bound = bound.map_or_else(|| "+Inf".into(), |it| it.as_secs_f64().to_string());
            (format!("le=\"{bound}\""), count)
        };
        let buckets: Vec<(String, u64)> = times.buckets().map(bucket).collect();
        let count = buckets.last().map_or(0, |(_, count)| *count);
        let start = self.0.len();
        self.many("histogram", name, help, buckets);
        let lines =
            self.0.split_off(start).replace(&format!("\n{name}{{"), &format!("\n{name}_bucket{{"));
        let _ = writeln!(self.0, "{lines}{name}_sum {}", times.sum().as_secs_f64());
        let _ = writeln!(self.0, "{name}_count {count}");
    }
}

/// What is looked at in the engine, at one moment.
struct Seen {
    headers: u32,
    height: u32,
    bits: u32,
    hash_rate: f64,
    uptime: f64,
    sent: u64,
    received: u64,
    /// By direction, by whether the connection is encrypted (v2).
    peers: [[usize; 2]; 2],
    /// By [`STATUSES`].
    tips: [usize; STATUSES.len()],
    bans: Vec<(String, u64, u64)>,
    in_flight: usize,
    is_behind: bool,
}

const STATUSES: [TipStatus; 5] = [
    TipStatus::Active,
    TipStatus::ValidFork,
    TipStatus::ValidHeaders,
    TipStatus::HeadersOnly,
    TipStatus::Invalid,
];

pub(crate) fn page(visit: &Visit<'_>) -> Answered {
    let seen = seen(visit)?;
    let latest = latest(visit)?;
    let mut page = Page::default();
    chain(&mut page, visit, &seen, &latest);
    network(&mut page, &seen);
    node(&mut page, visit, &seen)?;
    Ok(Answer::Bytes(MEDIA_TYPE, page.0.into_bytes()))
}

fn seen(visit: &Visit<'_>) -> Result<Seen, Fault> {
    let started = visit.site.backend.about().started;
    visit.look(move |engine, now| {
        let (network, sync) = (engine.network(), engine.sync());
        let (tree, tip) = (sync.tree(), sync.tip());
        let height = tree.height(tip);
        let first = tree.ancestor(tip, height.saturating_sub(HASH_RATE_BLOCKS)).unwrap_or(tip);
        let seconds = tree.header(tip).time.saturating_sub(tree.header(first).time).max(1);
        let work = (tree.chain_work(tip) - tree.chain_work(first)).to_string();
        let mut peers = [[0; 2]; 2];
        let is_encrypted = |peer: &PeerInfo| peer.transport.name() == "v2";
        for peer in network.peers() {
            peers[usize::from(!peer.is_inbound())][usize::from(is_encrypted(peer))] += 1;
        }
        let chains = sync.chain_tips();
        let count = |status| chains.iter().filter(|tip| tip.status == status).count();
        let flying = network.peers().filter_map(|peer| sync.peer_chain(peer.id));
        Seen {
            headers: tree.height(tree.best()),
            height,
            bits: tree.header(tip).bits,
            hash_rate: hex_to_f64(&work) / f64::from(seconds),
            uptime: now.mono.saturating_sub(started).as_secs_f64(),
            sent: network.totals().sent,
            received: network.totals().received,
            peers,
            tips: STATUSES.map(count),
            bans: network
                .bans()
                .iter()
                .map(|(subnet, ban)| (subnet.to_string(), ban.created, ban.until))
                .collect(),
            in_flight: flying.map(|chain| chain.in_flight.len()).sum(),
            is_behind: sync.is_initial_download(),
        }
    })
}

/// A number of hexadecimal digits, rounded.
fn hex_to_f64(digits: &str) -> f64 {
    digits
        .chars()
        .filter_map(|digit| digit.to_digit(16))
        .fold(0.0, |sum, digit| sum * 16.0 + f64::from(digit))
}

/// Counts the tip's block, unless it was counted before.
fn latest(visit: &Visit<'_>) -> Result<Latest, Fault> {
    let tip = visit.world.info().hash;
    let held = || visit.site.latest.lock().unwrap_or_else(PoisonError::into_inner);
    let before = *held();
    if before.hash == Some(tip) {
        return Ok(before);
    }
    let place = Place::find(visit, &tip.to_string())?;
    let mut latest = Latest { hash: Some(tip), height: place.height, ..Latest::default() };
    if let Some(block) = place.block(visit)? {
        let worlds = visit.site.backend.worlds();
        let spent = worlds.spent_lists(&block, place.height).map_err(Fault::unreadable)?;
        latest =
            count(latest, &block, spent.iter().flatten().flatten().map(|coin| coin.value).sum());
    }
    *held() = latest;
    Ok(latest)
}

fn count(latest: Latest, block: &Block<Vec<u8>>, spent: i64) -> Latest {
    let made: i64 = block.txs().flat_map(|tx| tx.outputs()).map(|output| output.value).sum();
    let own: i64 = block.txs().skip(1).flat_map(|tx| tx.outputs()).map(|output| output.value).sum();
    Latest {
        size: block.bytes().len(),
        weight: block.weight(),
        txs: block.tx_count(),
        inputs: block.input_count(),
        outputs: block.output_count(),
        value: made,
        fee: (spent - own).max(0),
        ..latest
    }
}

fn chain(page: &mut Page, visit: &Visit<'_>, seen: &Seen, latest: &Latest) {
    let coins = |satoshi: i64| crate::json::amount(satoshi);
    page.gauge("bitcoin_blocks", "Height of the active tip.", seen.height);
    page.gauge("bitcoin_difficulty", "Difficulty of the tip.", difficulty(seen.bits));
    page.gauge("bitcoin_hashps", "Hashes a second, of the last 120 blocks.", seen.hash_rate);
    page.gauge(
        "bitcoin_num_chaintips",
        "Ends of branches that are known.",
        seen.tips.iter().sum::<usize>(),
    );
    let share = f64::from(seen.height) / f64::from(seen.headers.max(1));
    page.gauge(
        "bitcoin_verification_progress",
        "Part of the known headers' height that is validated.",
        share,
    );
    page.gauge("bitcoin_size_on_disk", "Bytes of blocks on disk.", visit.site.backend.disk_use());
    page.gauge("bitcoin_latest_block_height", "Height of the last block.", latest.height);
    page.gauge("bitcoin_latest_block_size", "Bytes of the last block.", latest.size);
    page.gauge("bitcoin_latest_block_weight", "Weight of the last block.", latest.weight);
    page.gauge("bitcoin_latest_block_txs", "Transactions of the last block.", latest.txs);
    page.gauge("bitcoin_latest_block_inputs", "Inputs of the last block.", latest.inputs);
    page.gauge("bitcoin_latest_block_outputs", "Outputs of the last block.", latest.outputs);
    page.gauge(
        "bitcoin_latest_block_value",
        "Bitcoins in the outputs of the last block.",
        coins(latest.value),
    );
    page.gauge(
        "bitcoin_latest_block_fee",
        "Bitcoins of fees of the last block.",
        coins(latest.fee),
    );
    let txs = ChainTxs::count(visit.site, ChainTxs::FEW);
    let txs = txs.map_or_else(|| "NaN".to_owned(), |count| count.to_string());
    page.gauge("bitcoin_txcount", "Transactions of the chain; NaN until they are counted.", txs);
    page.gauge("bitcoin_warnings", "Warnings that the node gave.", 0);
    let tips = STATUSES.iter().zip(seen.tips);
    let tips = tips.map(|(status, count)| (format!("status=\"{}\"", status.name()), count));
    page.many("gauge", "caesure_chain_tips", "Ends of branches, by what is known of them.", tips);
    page.gauge("caesure_headers", "Height of the best header.", seen.headers);
    page.gauge(
        "caesure_initial_download",
        "1 until the tip was reached.",
        u8::from(seen.is_behind),
    );
    page.gauge("caesure_blocks_in_flight", "Blocks that peers were asked for.", seen.in_flight);
    page.counter(
        "caesure_connected_txs_total",
        "Transactions connected since the start.",
        visit.site.backend.connected_txs(),
    );
}

fn network(page: &mut Page, seen: &Seen) {
    let [inbound, outbound] = seen.peers.map(|kinds| kinds.iter().sum::<usize>());
    page.gauge("bitcoin_peers", "Connections.", inbound + outbound);
    page.gauge("bitcoin_conn_in", "Inbound connections.", inbound);
    page.gauge("bitcoin_conn_out", "Outbound connections.", outbound);
    page.counter("bitcoin_total_bytes_recv", "Bytes received.", seen.received);
    page.counter("bitcoin_total_bytes_sent", "Bytes sent.", seen.sent);
    let labels = |name: &str| format!("address=\"{name}\",reason=\"manually added\"");
    let created = seen.bans.iter().map(|(name, created, _)| (labels(name), *created));
    page.many("gauge", "bitcoin_ban_created", "When a ban was made.", created);
    let until = seen.bans.iter().map(|(name, _, until)| (labels(name), *until));
    page.many("gauge", "bitcoin_banned_until", "When a ban ends.", until);
    let kinds =
        ["inbound", "outbound"].into_iter().zip(seen.peers).flat_map(|(direction, kinds)| {
            let label =
                move |transport| format!("direction=\"{direction}\",transport=\"{transport}\"");
            ["v1", "v2"].into_iter().zip(kinds).map(move |(name, count)| (label(name), count))
        });
    page.many("gauge", "caesure_peers", "Connections, by direction and transport.", kinds);
}

fn node(page: &mut Page, visit: &Visit<'_>, seen: &Seen) -> Result<(), Fault> {
    let backend = &visit.site.backend;
    let (about, resources, worlds) = (backend.about(), backend.resources(), backend.worlds());
    let (info, leaves, held) = (*worlds.tip().info(), worlds.leaves(), worlds.worlds());
    page.gauge("bitcoin_server_version", "Number of the program's version.", about.version);
    page.gauge("bitcoin_protocol_version", "Version of the protocol.", PROTOCOL_VERSION);
    page.gauge("bitcoin_uptime", "Seconds since the start.", seen.uptime);
    // There is no locked memory; the process's own stands for it.
    page.gauge("bitcoin_meminfo_used", "Bytes of memory that the process has.", resources.memory);
    page.gauge(
        "bitcoin_meminfo_total",
        "Bytes of memory that it may take.",
        resources.memory_limit,
    );
    for name in ["free", "locked", "chunks_used", "chunks_free"] {
        page.gauge(&format!("bitcoin_meminfo_{name}"), "Always 0: there is no locked pool.", 0);
    }
    let pool = ["bytes", "size", "usage", "unbroadcast", "minfee"];
    let pool = pool.map(|name| format!("mempool_{name}"));
    let fees = [2, 3, 5, 20].map(|blocks| format!("est_smart_fee_{blocks}"));
    for name in pool.iter().chain(&fees) {
        page.gauge(&format!("bitcoin_{name}"), "Always 0: there is no pool yet.", 0);
    }
    let calls = backend.calls().active().len();
    page.gauge("bitcoin_rpc_active", "Calls of JSON-RPC that are being answered.", calls);
    page.gauge("caesure_worlds", "Worlds that are held.", held.len());
    page.gauge(
        "caesure_forks",
        "Branches besides the active one of which worlds are held.",
        leaves.len().saturating_sub(1),
    );
    page.gauge("caesure_root_height", "Height of the oldest world.", worlds.root().height);
    page.gauge("caesure_supply_satoshi", "Satoshi in unspent outputs at the tip.", info.total);
    page.gauge(
        "caesure_lost_satoshi",
        "Satoshi that were allowed and are in no output.",
        info.lost(),
    );
    page.gauge("caesure_fees_satoshi", "Satoshi of all fees.", info.fees);
    page.gauge("caesure_ledger_log_bytes", "Bytes of the ledger's log.", worlds.log_len());
    page.gauge("caesure_ledger_disk_bytes", "Bytes of the ledger on disk.", resources.ledger);
    page.gauge("caesure_disk_free_bytes", "Bytes that are free on the disk.", resources.free);
    let sizes = worlds.sizes().map_err(Fault::unreadable)?;
    let bytes: u64 = sizes.iter().map(|size| size.bytes).sum();
    page.gauge("caesure_worlds_bytes", "Bytes of the log that the worlds held take.", bytes);
    let coins = sizes.iter().find(|size| size.info.hash == info.hash).map_or(0, |size| size.coins);
    page.gauge("caesure_coins", "Unspent outputs at the tip.", coins);
    page.counter(
        "caesure_log_dropped_total",
        "Events that the log could not keep up with.",
        backend.log_dropped(),
    );
    page.durations(
        "caesure_validate_seconds",
        "From looking a block's coins up until it is connected.",
        backend.validate_times(),
    );
    let label = |name: &str| format!("queue=\"{name}\"");
    let depths = resources.queues.iter().map(|queue| (label(queue.name), queue.depth));
    page.many("gauge", "caesure_queue_depth", "Values that wait for a thread.", depths);
    let rooms = resources.queues.iter().map(|queue| (label(queue.name), queue.capacity));
    page.many("gauge", "caesure_queue_capacity", "Values that may wait for a thread.", rooms);
    Ok(())
}
