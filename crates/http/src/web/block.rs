//! A block: where it stands, its header, its transactions.

use caesure_consensus::{Coin, subsidy};
use caesure_wire::{Block, OutPoint, OutputView, TxView, Txid};
use maud::{Markup, html};

use super::describe::{amount, cut, input, output};
use super::shown::{Neighbour, Place, pager, part};
use super::text::{time, whole};
use super::{Answer, Answered, Fault, Visit};

/// How many transactions a part of the table has, and how many inputs and outputs of each.
const TXS: usize = 50;
const ENDS: usize = 10;

/// The coins that each transaction of a block spends, as far as they are known.
type Coins = Vec<Vec<Option<Coin>>>;

pub(crate) fn page(visit: &Visit<'_>) -> Answered {
    if visit.arg(1).is_some() {
        return Err(Fault::not_found("A block's address ends with its hash or height."));
    }
    let place = Place::find(visit, visit.arg(0).unwrap_or("tip"))?;
    let block = place.block(visit)?;
    let title = format!("Block {}", place.height);
    let body = match &block {
        None => html! {
            (links(visit, &place)) (forks(visit, &place))
            (fields(visit, &place, None))
            p { "Its transactions are not stored here." }
        },
        Some(block) => {
            let txids = block.txids();
            let coins = place.coins(visit, block, &txids)?;
            html! {
                (links(visit, &place)) (forks(visit, &place))
                (fields(visit, &place, Some((block, &coins))))
                (transactions(visit, &place, block, &txids, &coins)?)
            }
        }
    };
    Answer::page(title, body)
}

/// First, previous, next, last.
fn links(visit: &Visit<'_>, place: &Place) -> Markup {
    let to = |name: &str| visit.link(&format!("block/{name}"));
    let next: Vec<&Neighbour> = place.children.iter().collect();
    let is_last = visit.world.info().hash == place.hash;
    html! {
        p {
            a href=(to("0")) { "First" }
            @if 0 < place.height {
                " · " a rel="prev" href=(to(&place.header.prev_block.to_string())) { "Previous" }
            }
            @for child in next {
                " · " a rel="next" href=(to(&child.hash.to_string())) {
                    @if child.is_in_world { "Next" }
                    @else if is_last { "Next (beyond this world)" }
                    @else { "Next (off this chain)" }
                }
            }
            " · " a href=(to("tip")) { "Last" }
        }
    }
}

/// The other blocks of the same height.
fn forks(visit: &Visit<'_>, place: &Place) -> Markup {
    html! {
        @if 1 < place.siblings.len() {
            p { "There are " b { (place.siblings.len()) } " blocks of this height, those with most work on them first:" }
            ol { @for sibling in &place.siblings {
                li {
                    @if sibling.hash == place.hash { span.hash { (sibling.hash) } " (this one)" }
                    @else { (visit.block_link(&sibling.hash)) }
                    @if !sibling.is_in_world { " – off this world's chain" }
                }
            } }
        }
    }
}

fn fields(visit: &Visit<'_>, place: &Place, body: Option<(&Block<Vec<u8>>, &Coins)>) -> Markup {
    let header = &place.header;
    let mut rows = vec![
        ("Number", html! { (place.height) }),
        (
            "State",
            html! {
                span.bad[place.is_refused] { (place.state) }
                @if !place.is_in_world { ", off this world's chain" }
            },
        ),
        ("Version", html! { (format!("{:#010x}", header.version)) }),
        ("Name", html! { (place.hash) }),
        (
            "Previous",
            if place.height == 0 {
                html! { "none" }
            } else {
                visit.block_link(&header.prev_block)
            },
        ),
        ("Merkle root", html! { (header.merkle_root) }),
        ("Time", html! { (header.time) " (" (time(header.time.into())) " UTC)" }),
        ("Bits", html! { (format!("{:08x}", header.bits)) }),
        ("Nonce", html! { (header.nonce) }),
        ("Subsidy", html! { (amount(subsidy(place.height, &place.params))) }),
        ("Script flags", html! { (place.flags) }),
    ];
    if let Some((block, coins)) = body {
        let fees = (1..block.tx_count()).map(|index| fee(block.tx(index), coins.get(index)));
        let fees = fees.sum::<Option<i64>>().map_or_else(unknown, |fees| html! { (amount(fees)) });
        let coinbase = (0 < block.tx_count()).then(|| {
            let script = block.tx(0).input(0).script_sig;
            let shown =
                |byte: &u8| if (0x20..0x7f).contains(byte) { char::from(*byte) } else { '·' };
            cut(&script.iter().map(shown).collect::<String>())
        });
        rows.extend([
            ("Transactions", html! { (whole(block.tx_count() as u64)) }),
            ("Size", html! { (whole(block.bytes().len() as u64)) " bytes" }),
            ("Weight", html! { (whole(block.weight() as u64)) }),
            ("Fees", fees),
            ("Coinbase text", html! { (coinbase.unwrap_or_default()) }),
        ]);
    }
    html! {
        div.scroll { table.fields {
            caption { "Block" }
            tbody { @for (name, value) in rows { tr {
                th scope="row" { (name) }
                td.mono.break { (value) }
            } } }
        } }
    }
}

fn unknown() -> Markup {
    html! { "not known: coins that it spends are not" }
}

/// What a transaction leaves to the miner; none where a coin that it spends is not known.
pub(crate) fn fee(tx: TxView<'_>, coins: Option<&Vec<Option<Coin>>>) -> Option<i64> {
    let spent: Option<i64> = coins?.iter().map(|coin| coin.as_ref().map(|coin| coin.value)).sum();
    spent?.checked_sub(tx.outputs().try_fold(0_i64, |sum, output| sum.checked_add(output.value))?)
}

fn transactions(
    visit: &Visit<'_>,
    place: &Place,
    block: &Block<Vec<u8>>,
    txids: &[Txid],
    coins: &Coins,
) -> Result<Markup, Fault> {
    let (number, parts, range) = part(visit, "part", block.tx_count(), TXS)?;
    let links = pager(visit, "part", number, parts);
    let mut rows = Vec::new();
    for index in range {
        rows.push(row(visit, place, (index, block.tx(index), txids[index]), &coins[index])?);
    }
    Ok(html! {
        h2 { "Transactions" }
        (links)
        div.scroll tabindex="0" role="region" aria-label="Transactions" { table.wide {
            caption { "Transactions with what they spend and make" }
            thead { tr {
                th.num scope="col" { "#" } th scope="col" { "Name" } th scope="col" { "Inputs" }
                th scope="col" { "Outputs" } th.num scope="col" { "Value" } th.num scope="col" { "Fee" }
            } }
            tbody { @for row in rows { (row) } }
        } }
        (links)
    })
}

fn row(
    visit: &Visit<'_>,
    place: &Place,
    (index, tx, txid): (usize, TxView<'_>, Txid),
    coins: &[Option<Coin>],
) -> Result<Markup, Fault> {
    let prefixes = &place.params.address_prefixes;
    let link = visit.link(&format!("tx/{}/{txid}", place.hash));
    let value = tx.outputs().try_fold(0_i64, |sum, output| sum.checked_add(output.value));
    let (ins, outs) = (tx.input_count().min(ENDS), tx.output_count().min(ENDS));
    let marks = marks(visit, place, txid, tx, 0..outs)?;
    let more = |count: usize| {
        html! {
            @if ENDS < count { li { a href=(link) { "and " (count - ENDS) " more" } } }
        }
    };
    Ok(html! {
        tr {
            td.num { (index) }
            th scope="row" { a.hash href=(link) { (txid) } }
            td { ol.ends start="0" {
                @for at in 0..ins {
                    @let prevout = tx.input(at).prevout;
                    li {
                        @if !tx.is_coinbase() { span.hash.dim { (shortened(&prevout)) } " " }
                        (input(tx, at, coins.get(at).and_then(Option::as_ref), prefixes))
                    }
                }
                (more(tx.input_count()))
            } }
            td { ol.ends start="0" {
                @for at in 0..outs {
                    @let made = tx.output(at);
                    li { (amount(made.value)) " " (output(made.script_pubkey, prefixes)) " " (marks[at]) }
                }
                (more(tx.output_count()))
            } }
            td.num { (value.map_or_else(|| "–".to_owned(), amount)) }
            td.num { @if index == 0 { "–" } @else {
                (fee(tx, Some(&coins.to_vec())).map_or_else(|| "not known".to_owned(), amount))
            } }
        }
    })
}

/// An outpoint of which the middle is left out.
fn shortened(outpoint: &OutPoint) -> String {
    let txid = outpoint.txid.to_string();
    format!("{}…{}:{}", &txid[..8], &txid[56..], outpoint.vout)
}

/// Says of outputs whether the world that is shown has them.
pub(crate) fn marks(
    visit: &Visit<'_>,
    place: &Place,
    txid: Txid,
    tx: TxView<'_>,
    range: std::ops::Range<usize>,
) -> Result<Vec<Markup>, Fault> {
    let outpoint = |at: usize| OutPoint { txid, vout: u32::try_from(at).unwrap_or(u32::MAX) };
    let outpoints: Vec<OutPoint> = range.clone().map(outpoint).collect();
    let coins = visit.world.get_many(&outpoints).map_err(Fault::unreadable)?;
    let mark = |at: usize, coin: Option<Coin>| {
        let OutputView { script_pubkey, .. } = tx.output(at);
        html! {
            @if coin.is_some_and(|coin| coin.height == place.height) { span.good { "(unspent)" } }
            @else if caesure_script::is_unspendable(script_pubkey) { span.dim { "(unspendable)" } }
            @else if place.height == 0 { span.dim { "(in no set)" } }
            @else if place.is_in_world { span.dim { "(spent)" } }
        }
    };
    Ok(range.zip(coins).map(|(at, coin)| mark(at, coin)).collect())
}
