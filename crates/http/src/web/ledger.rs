//! The ledger: every world that is held, and what lies between two of them.

use std::cmp::Reverse;

use caesure_consensus::Coin;
use caesure_ledger::{World, WorldSize};
use caesure_wire::OutPoint;
use maud::{Markup, html};

use super::describe::{amount, output};
use super::shown::{Place, pager, part};
use super::text::{size, whole};
use super::{Answer, Answered, Fault, Visit};

/// How many rows a part of a table has.
const ROWS: usize = 100;

pub(crate) fn page(visit: &Visit<'_>) -> Answered {
    let worlds = visit.site.backend.worlds();
    let mut sizes = worlds.sizes().map_err(Fault::unreadable)?;
    sizes.reverse();
    let (root, leaves) = (worlds.root(), worlds.leaves());
    let mut ends: Vec<&WorldSize> =
        sizes.iter().filter(|size| leaves.iter().any(|leaf| leaf.hash == size.info.hash)).collect();
    ends.sort_by_key(|size| (Reverse(size.info.chain_work), Reverse(size.info.height)));
    let (number, parts, range) = part(visit, "part", sizes.len(), ROWS)?;
    let links = pager(visit, "part", number, parts);
    let bytes: u64 = sizes.iter().map(|size| size.bytes).sum();
    let is_verified = visit.world.is_verified();
    let body = html! {
        @if !is_verified {
            p role="status" { b.bad { "Unverified" } ": the set began with a snapshot (--unverified), and \
                validation has not yet reached it. Fees are those since." }
        }
        p {
            b { (whole(sizes.len() as u64)) } " worlds are held, on " b { (ends.len()) }
            @if ends.len() == 1 { " branch" } @else { " branches" } ". Their blocks take "
            b { (size(bytes)) } " of the log's " b { (size(worlds.log_len())) } "."
        }
        h2 { "Tips" }
        (table(visit, "The worlds at the end of each branch, most work first", &ends, is_verified))
        h2 { "Trailing ledger (at horizon)" }
        @let trailing: Vec<&WorldSize> = sizes.iter().filter(|size| size.info.hash == root.hash).collect();
        (table(visit, "The oldest world, which all others go on from", &trailing, is_verified))
        h2 { "All worlds" }
        (links)
        (table(visit, "Every world that is held, the highest first", &sizes[range].iter().collect::<Vec<_>>(), is_verified))
        (links)
        p { a href=(visit.link("diff")) { "The difference between two worlds" } }
    };
    Answer::page("Ledger", body)
}

fn table(visit: &Visit<'_>, caption: &str, rows: &[&WorldSize], is_verified: bool) -> Markup {
    let columns = [
        "Height",
        "Name and previous",
        "Total",
        "Live",
        "Lost",
        "Fees",
        "Coins",
        "Made",
        "Spent",
        "Bytes",
    ];
    html! {
        div.scroll tabindex="0" role="region" aria-label=(caption) { table.wide {
            caption { (caption) @if !is_verified { ", unverified" } }
            thead { tr { @for name in columns { th.num[name != "Name and previous"] scope="col" { (name) } } } }
            tbody { @for row in rows {
                @let info = &row.info;
                tr {
                    td.num { (info.height) }
                    th scope="row" { (visit.block_link(&info.hash)) br; span.hash.dim { (row.prev_block) } }
                    td.num { (amount(info.issued)) }
                    td.num { (amount(info.total)) }
                    td.num { (amount(info.lost())) }
                    td.num { (amount(info.fees)) }
                    td.num { (whole(row.coins)) }
                    td.num { (whole(row.created)) }
                    td.num { (whole(row.spent)) }
                    td.num { (size(row.bytes)) }
                }
            } }
        } }
    }
}

/// The coins of one world that another has not, and the other way round.
pub(crate) fn diff(visit: &Visit<'_>) -> Answered {
    let default = |name, or: String| visit.param(name).map_or(or, ToOwned::to_owned);
    let worlds = visit.site.backend.worlds();
    let previous = visit.world.info().height.saturating_sub(1).max(worlds.root().height);
    let (from, to) = (default("from", previous.to_string()), default("to", "tip".to_owned()));
    let (from_world, to_world) = (world(visit, &from)?, world(visit, &to)?);
    let difference = from_world.diff(&to_world).map_err(Fault::unreadable)?;
    let prefixes = visit.tree(|tree| tree.params().address_prefixes)?;
    let rows: Vec<(bool, &(OutPoint, Coin))> = difference
        .removed
        .iter()
        .map(|coin| (false, coin))
        .chain(difference.added.iter().map(|coin| (true, coin)))
        .collect();
    let sum = |coins: &[(OutPoint, Coin)]| amount(coins.iter().map(|(_, coin)| coin.value).sum());
    let (number, parts, range) = part(visit, "part", rows.len(), ROWS)?;
    let links = pager(visit, "part", number, parts);
    let body = html! {
        form method="get" action="/admin/diff" {
            label for="from" { "From" } input #from.mono name="from" value=(from) size="24";
            label for="to" { "To" } input #to.mono name="to" value=(to) size="24";
            @if let Some(at) = visit.param("at") { input type="hidden" name="at" value=(at); }
            p.dim { "Each is a block of which the world is held: its hash, its height, tip, or tip-N." }
            button { "Compare" }
        }
        p {
            "From height " b { (from_world.info().height) } ", block " (visit.block_link(&from_world.info().hash))
            ", to height " b { (to_world.info().height) } ", block " (visit.block_link(&to_world.info().hash)) ":"
        }
        ul {
            li { b.bad { "− " (whole(difference.removed.len() as u64)) } " coins go, of " (sum(&difference.removed)) }
            li { b.good { "+ " (whole(difference.added.len() as u64)) } " coins come, of " (sum(&difference.added)) }
        }
        (links)
        div.scroll tabindex="0" role="region" aria-label="Coins" { table.wide {
            caption { "Coins that go (−) and come (+), by outpoint" }
            thead { tr {
                th scope="col" { "Change" } th scope="col" { "Outpoint" } th.num scope="col" { "Height" }
                th.num scope="col" { "Value" } th scope="col" { "Script" }
            } }
            tbody { @for (is_added, (outpoint, coin)) in &rows[range] { tr {
                td { @if *is_added { b.good { "+" } } @else { b.bad { "−" } } }
                td.mono.break { (outpoint.txid) ":" (outpoint.vout) }
                td.num { (coin.height) @if coin.is_coinbase { " (coinbase)" } }
                td.num { (amount(coin.value)) }
                td.scripts { (output(&coin.script_pubkey, &prefixes)) }
            } } }
        } }
        (links)
    };
    Answer::page("Difference between two worlds", body)
}

/// The world of a block that a user names.
fn world(visit: &Visit<'_>, name: &str) -> Result<World, Fault> {
    let place = Place::find(visit, name)?;
    let worlds = visit.site.backend.worlds();
    worlds.world(&place.hash).ok_or_else(|| {
        let root = worlds.root();
        Fault::not_found(format!(
            "The world of block {} is not held. The oldest one held is that of block {}, height {}.",
            place.hash, root.hash, root.height
        ))
    })
}
