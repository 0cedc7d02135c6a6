//! How far the node is: sync, rates, connections, and the tips with their forks.

use std::cmp::Reverse;
use std::time::Duration;

use caesure_consensus::HeaderTree;
use caesure_ledger::BlockInfo;
use caesure_wire::{BlockHash, Header};
use maud::{Markup, html};

use super::text::{bytes, duration, number, size, time, whole};
use super::{Answer, Answered, Fault, Visit};

/// How many tips are told of and drawn.
const TIPS: usize = 12;

/// What is looked at in the engine, at one moment.
struct Seen {
    is_behind: bool,
    best: u32,
    /// The time of the tip's block.
    tip_time: u32,
    now: u64,
    outbound: usize,
    inbound: usize,
    in_flight: usize,
    tips: Vec<Tip>,
}

/// A tip.
struct Tip {
    info: BlockInfo,
    header: Header,
    /// The height at which it leaves the branches before it; 0 for the first.
    fork: u32,
    /// Which of those it leaves there.
    parent: usize,
}

pub(crate) fn page(visit: &Visit<'_>) -> Answered {
    let worlds = visit.site.backend.worlds();
    let tip = *worlds.tip().info();
    let mut leaves = worlds.leaves();
    leaves.sort_by_key(|leaf| (leaf.hash != tip.hash, Reverse(leaf.height)));
    let more = leaves.len().saturating_sub(TIPS);
    leaves.truncate(TIPS);
    let seen = look(visit, leaves, tip.hash)?;
    Answer::page(
        "Status",
        html! {
            (progress(&tip, &seen))
            div.row { (rates(visit, &tip, &seen)) (connections(visit, &seen)) }
            h2 { "Tips" }
            p.dim {
                "Branches of which a world is held, above height " (worlds.root().height)
                @if 0 < more { "; " (more) " more are on " a href=(visit.link("ledger")) { "the page of the ledger" } }
                "."
            }
            (drawing(visit, &seen.tips, worlds.root().height))
            @for branch in &seen.tips { (tip_table(visit, branch, branch.info.hash == tip.hash)?) }
        },
    )
}

fn look(visit: &Visit<'_>, leaves: Vec<BlockInfo>, tip: BlockHash) -> Result<Seen, Fault> {
    visit.look(move |engine, now| {
        let (network, sync) = (engine.network(), engine.sync());
        let tree = sync.tree();
        let inbound = network.peers().filter(|peer| peer.is_inbound()).count();
        let in_flight = network.peers().filter_map(|peer| sync.peer_chain(peer.id));
        let tip_time = tree.find(&tip).map_or(0, |id| tree.header(id).time);
        Seen {
            is_behind: sync.is_initial_download(),
            best: tree.height(tree.best()),
            tip_time,
            now: now.unix,
            outbound: network.peers().count() - inbound,
            inbound,
            in_flight: in_flight.map(|chain| chain.in_flight.len()).sum(),
            tips: branches(tree, leaves),
        }
    })
}

/// What the tree knows of tips.
fn branches(tree: &HeaderTree, leaves: Vec<BlockInfo>) -> Vec<Tip> {
    let mut tips: Vec<Tip> = Vec::new();
    let mut ids = Vec::new();
    for info in leaves {
        let Some(id) = tree.find(&info.hash) else { continue };
        let forks = ids.iter().map(|earlier| tree.height(tree.fork_point(*earlier, id)));
        // Of those that have the block, the first one is drawn with it.
        let fork = forks.zip((0..).map(Reverse)).max();
        let (fork, Reverse(parent)) = fork.unwrap_or((0, Reverse(0)));
        tips.push(Tip { info, header: tree.header(id), fork, parent });
        ids.push(id);
    }
    tips
}

fn progress(tip: &BlockInfo, seen: &Seen) -> Markup {
    let remaining = seen.best.saturating_sub(tip.height);
    let share = f64::from(tip.height) / f64::from(seen.best.max(1)) * 100.0;
    let age = Duration::from_secs(seen.now.saturating_sub(seen.tip_time.into()));
    html! {
        p role="status" {
            @if seen.is_behind && 0 < remaining { b { "Synchronizing the block chain." } }
            @else if seen.is_behind { b { "No newer header is known yet." } }
            @else { b.good { "Synchronized." } }
            " Height " b { (whole(tip.height)) } " of " b { (whole(seen.best)) } " headers"
            @if 0 < remaining { ", " (whole(remaining)) " to go" }
            ". The tip's block is of " (duration(age)) " ago."
        }
        label.dim for="sync" { (format!("{share:.2} % of the headers' height")) }
        progress #sync max=(seen.best.max(1)) value=(tip.height) { (format!("{share:.1} %")) }
    }
}

fn rates(visit: &Visit<'_>, tip: &BlockInfo, seen: &Seen) -> Markup {
    let samples = visit.site.samples();
    let blocks = samples.rate(|it| it.height);
    let remaining = seen.best.saturating_sub(tip.height);
    let left = blocks.filter(|rate| 0.0 < *rate && 0 < remaining);
    let left = left.map(|rate| duration(Duration::from_secs_f64(f64::from(remaining) / rate)));
    let shown = |rate: Option<f64>, show: fn(f64) -> String| {
        rate.map_or_else(|| "not known yet".to_owned(), |rate| format!("{}/s", show(rate)))
    };
    html! {
        table {
            caption { "Rates over the last minute" }
            tbody {
                tr { th scope="row" { "Blocks" } td.num { (shown(blocks, number)) } }
                tr { th scope="row" { "Transactions" } td.num { (shown(samples.rate(|it| it.txs), number)) } }
                tr { th scope="row" { "Received" } td.num { (shown(samples.rate(|it| it.received), bytes)) } }
                tr { th scope="row" { "Sent" } td.num { (shown(samples.rate(|it| it.sent), bytes)) } }
                tr { th scope="row" { "Time to completion" } td.num {
                    @if remaining == 0 { "–" } @else { (left.unwrap_or_else(|| "not known yet".to_owned())) }
                } }
                tr { th scope="row" { "Blocks on disk" } td.num { (size(visit.site.backend.disk_use())) } }
                tr { th scope="row" { "Memory" } td.num {
                    (samples.hour.back().map_or_else(|| "not known yet".to_owned(), |it| size(it.memory)))
                } }
            }
        }
    }
}

fn connections(visit: &Visit<'_>, seen: &Seen) -> Markup {
    let [out_slots, in_slots] = visit.site.backend.about().slots;
    html! {
        div { table {
            caption { "Connections" }
            thead { tr { th scope="col" { "Direction" } th.num scope="col" { "Connected" } th.num scope="col" { "Free slots" } } }
            tbody {
                tr { th scope="row" { "Outbound" } td.num { (seen.outbound) } td.num { (out_slots.saturating_sub(seen.outbound)) } }
                tr { th scope="row" { "Inbound" } td.num { (seen.inbound) } td.num { (in_slots.saturating_sub(seen.inbound)) } }
            }
        }
        p { (whole(seen.in_flight as u64)) " blocks are in flight. " a href=(visit.link("connections")) { "All connections" } } }
    }
}

/// Draws the branches: each a line that leaves an earlier one where it forks, and ends in a link.
fn drawing(visit: &Visit<'_>, tips: &[Tip], root: u32) -> Markup {
    const LEFT: usize = 60;
    const STEP: usize = 36;
    let mut heights: Vec<u32> = tips.iter().flat_map(|tip| [tip.info.height, tip.fork]).collect();
    heights.push(root);
    heights.retain(|height| root <= *height);
    heights.sort_unstable();
    heights.dedup();
    let gap = 560 / heights.len().max(1);
    let x = |height: u32| LEFT + heights.iter().position(|it| *it == height).unwrap_or(0) * gap;
    let rows = tips.len() * STEP;
    let y = |row: usize| STEP / 2 + row * STEP;
    html! {
        div.scroll tabindex="0" role="region" aria-label="Branches" {
            svg.tree viewBox=(format!("0 0 860 {rows}")) width="860" height=(rows) role="group"
                aria-label=(format!("{} branches above height {root}", tips.len()))
            {
                text x="0" y=(y(0) + 4) { (root) }
                @for (row, tip) in tips.iter().enumerate() {
                    @let (end, begin, from) = (x(tip.info.height), x(tip.fork), tip.parent);
                    @if row == 0 {
                        path d=(format!("M{} {} H{end}", x(root), y(0))) {}
                    } @else {
                        path d=(format!("M{begin} {} V{} H{end}", y(from), y(row))) {}
                        circle cx=(begin) cy=(y(from)) r="3" {}
                        text x=(begin + 6) y=(y(row) - 6) { (tip.fork) }
                    }
                    circle.tip cx=(end) cy=(y(row)) r="5" {}
                    a href=(visit.link(&format!("block/{}", tip.info.hash))) {
                        text x=(end + 12) y=(y(row) + 4) {
                            (tip.info.height) " …" (&tip.info.hash.to_string()[48..])
                        }
                    }
                }
            }
        }
    }
}

fn tip_table(visit: &Visit<'_>, tip: &Tip, is_active: bool) -> Result<Markup, Fault> {
    let (leaf, header) = (&tip.info, &tip.header);
    let count = visit.site.backend.tx_count(&leaf.hash).map_err(Fault::unreadable)?;
    let rows = [
        ("Version", html! { (format!("{:#010x}", header.version)) }),
        ("Name", visit.block_link(&leaf.hash)),
        ("Previous", visit.block_link(&header.prev_block)),
        ("Merkle root", html! { (header.merkle_root) }),
        ("Time", html! { (header.time) " (" (time(header.time.into())) " UTC)" }),
        ("Bits", html! { (format!("{:08x}", header.bits)) }),
        ("Nonce", html! { (header.nonce) }),
        ("Transactions", html! { (count.map_or_else(|| "–".to_owned(), whole)) }),
    ];
    Ok(html! {
        div.scroll { table {
            caption {
                "Height " (leaf.height) @if is_active { ", the active tip" } @else { ", a fork" }
            }
            tbody { @for (name, value) in rows { tr {
                th scope="row" { (name) }
                td.mono.break { (value) }
            } } }
        } }
    })
}
