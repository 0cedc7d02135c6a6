//! A transaction: what it spends and makes, and what of that is unspent in the world that is shown.

use std::collections::BTreeMap;

use caesure_consensus::Coin;
use caesure_script::disassemble_signatures;
use caesure_text::hex;
use caesure_wire::{Block, BlockHash, OutPoint, TxView, Txid};
use maud::{Markup, html};

use super::block::{fee, marks};
use super::describe::{amount, cut, hash_type, input, output, short};
use super::shown::{Place, pager, part};
use super::text::{count, time, whole};
use super::{Answer, Answered, Fault, Visit};

/// How many inputs and outputs a part of their tables has.
const ENDS: usize = 100;
/// In how many of the world's last blocks a transaction is looked for.
const LAST: u32 = 12;
/// How many outputs of a transaction are looked for in the set.
const OUTPUTS: u32 = 2_048;
/// How many witness items are shown of an input.
const ITEMS: usize = 20;
/// How many bytes are shown in hexadecimal.
const HEX: usize = 1_000;
/// From here on a lock time is a time and not a height.
const LOCK_TIMES: u32 = 500_000_000;

/// A transaction of a block, and what it spends.
pub(crate) struct Found {
    pub(crate) place: Place,
    pub(crate) block: Block<Vec<u8>>,
    pub(crate) index: usize,
    pub(crate) txid: Txid,
    /// None where a coin is not known.
    pub(crate) coins: Vec<Option<Coin>>,
}

impl Found {
    /// Finds a transaction in a block.
    pub(crate) fn new(visit: &Visit<'_>, block: &str, txid: &str) -> Result<Self, Fault> {
        let txid = parse_txid(txid)?;
        let place = Place::find(visit, block)?;
        let Some(block) = place.block(visit)? else {
            let text = format!("Block {} is not stored here: {}.", place.hash, place.state);
            return Err(Fault::not_found(text));
        };
        let txids = block.txids();
        let Some(index) = txids.iter().position(|other| *other == txid) else {
            let text = format!("Block {} has no transaction {txid}.", place.hash);
            return Err(Fault::not_found(text));
        };
        let coins = place.coins(visit, &block, &txids)?.swap_remove(index);
        Ok(Self { place, block, index, txid, coins })
    }

    pub(crate) fn tx(&self) -> TxView<'_> {
        self.block.tx(self.index)
    }
}

fn parse_txid(text: &str) -> Result<Txid, Fault> {
    let hash: Option<BlockHash> = text.parse().ok();
    let hash =
        hash.ok_or_else(|| Fault::bad("A transaction is named by the 64 digits of its txid."))?;
    Ok(Txid(hash.0))
}

pub(crate) fn page(visit: &Visit<'_>) -> Answered {
    let (block, txid) = match (visit.arg(0), visit.arg(1), visit.arg(2)) {
        (Some(block), Some(txid), None) => (block, txid),
        (Some(txid), None, None) => return search(visit, parse_txid(txid)?),
        (None, ..) => return ask(visit),
        _ => return Err(Fault::not_found("A transaction's address is tx/BLOCK/TXID.")),
    };
    let found = Found::new(visit, block, txid)?;
    if visit.param("hex").is_some() {
        let text = hex::encode(found.tx().bytes());
        return Ok(Answer::Bytes("text/plain; charset=utf-8", text.into_bytes()));
    }
    let title = format!("Transaction {}…", &found.txid.to_string()[..8]);
    let body = html! {
        (fields(visit, &found))
        (inputs(visit, &found)?)
        (outputs(visit, &found)?)
        (bytes(visit, &found))
    };
    Answer::page(title, body)
}

/// Asks for a transaction.
fn ask(visit: &Visit<'_>) -> Answered {
    if let Some(txid) = visit.param("id") {
        return search(visit, parse_txid(txid)?);
    }
    let body = html! {
        p { "There is no index of all transactions. One is found by its id alone if it stands in one of \
             the last " (LAST) " blocks, or if one of its first " (whole(OUTPUTS)) " outputs is unspent in this world. Any other is \
             found by its block: " code { "/admin/tx/BLOCK/TXID" } "." }
        form method="get" action="/admin/tx" {
            label for="id" { "Transaction id" }
            input #id.mono name="id" size="64" required autocomplete="off" spellcheck="false";
            @if let Some(at) = visit.param("at") { input type="hidden" name="at" value=(at); }
            " " button { "Find" }
        }
    };
    Answer::page("Transaction", body)
}

/// Looks for a transaction among the coins of the world, then in its last blocks.
fn search(visit: &Visit<'_>, txid: Txid) -> Answered {
    let outpoints: Vec<OutPoint> = (0..OUTPUTS).map(|vout| OutPoint { txid, vout }).collect();
    let coins = visit.world.get_many(&outpoints).map_err(Fault::unreadable)?;
    let info = visit.world.info();
    let heights = match coins.into_iter().flatten().next() {
        Some(coin) => vec![coin.height],
        None => (info.height.saturating_sub(LAST - 1)..=info.height).collect(),
    };
    for hash in hashes(visit, info.hash, heights)?.into_values().rev() {
        let Some(bytes) = visit.read_block(&hash)? else { continue };
        let block = Block::parse(bytes).map_err(Fault::unreadable)?;
        if block.txids().contains(&txid) {
            return Ok(Answer::Redirect(visit.link(&format!("tx/{hash}/{txid}"))));
        }
    }
    Err(Fault::not_found(format!(
        "Transaction {txid} is in none of the last {LAST} blocks of this world, and none of its first \
         {OUTPUTS} outputs is unspent in it. There is no index of all transactions: name its block too, as /admin/tx/BLOCK/{txid}."
    )))
}

/// The blocks of heights on the chain up to a block.
fn hashes(
    visit: &Visit<'_>,
    tip: BlockHash,
    heights: Vec<u32>,
) -> Result<BTreeMap<u32, BlockHash>, Fault> {
    visit.tree(move |tree| {
        let Some(tip) = tree.find(&tip) else { return BTreeMap::new() };
        let hash = |height| Some((height, tree.hash(tree.ancestor(tip, height)?)));
        heights.into_iter().filter_map(hash).collect()
    })
}

fn fields(visit: &Visit<'_>, found: &Found) -> Markup {
    let (tx, place) = (found.tx(), &found.place);
    let lock_time = match tx.lock_time() {
        0 => "0".to_owned(),
        height @ 1..LOCK_TIMES => format!("{height} (after block {height})"),
        at => format!("{at} ({} UTC)", time(at.into())),
    };
    let coins = (!tx.is_coinbase()).then_some(&found.coins);
    let fee = fee(tx, coins);
    let sum: Option<i64> =
        tx.outputs().try_fold(0, |sum: i64, output| sum.checked_add(output.value));
    let rate = fee.map(|fee| {
        #[expect(clippy::cast_precision_loss, reason = "it is shown to two decimals")]
        let rate = fee as f64 / tx.vsize() as f64;
        format!("{} ({rate:.2} satoshi per vbyte)", amount(fee))
    });
    let no_fee = if tx.is_coinbase() { "none: a coinbase" } else { "not known" };
    let rows = [
        ("Name", html! { (found.txid) }),
        ("Witness name", html! { (tx.wtxid()) }),
        (
            "Block",
            html! {
                (visit.block_link(&place.hash)) ", height " (place.height) ", number " (found.index)
                @if !place.is_in_world { ", off this world's chain" }
            },
        ),
        ("Block's state", html! { span.bad[place.is_refused] { (place.state) } }),
        ("Version", html! { (tx.version()) }),
        ("Lock time", html! { (lock_time) }),
        (
            "Size",
            html! { (whole(tx.total_size() as u64)) " bytes, " (whole(tx.vsize() as u64)) " vbytes, weight " (whole(tx.weight() as u64)) },
        ),
        ("Value of outputs", html! { (sum.map_or_else(|| "–".to_owned(), amount)) }),
        ("Fee", html! { (rate.as_deref().unwrap_or(no_fee)) }),
    ];
    html! {
        div.scroll { table.fields {
            caption { "Transaction" }
            tbody { @for (name, value) in rows { tr { th scope="row" { (name) } td.mono.break { (value) } } } }
        } }
    }
}

fn inputs(visit: &Visit<'_>, found: &Found) -> Result<Markup, Fault> {
    let tx = found.tx();
    let (number, parts, range) = part(visit, "inputs", tx.input_count(), ENDS)?;
    let shown = range.clone().filter_map(|at| found.coins.get(at)?.as_ref());
    let heights = shown.map(|coin| coin.height).collect();
    let blocks = hashes(visit, found.place.hash, heights)?;
    let links = pager(visit, "inputs", number, parts);
    Ok(html! {
        h2 { (count(tx.input_count(), "input")) }
        (links)
        div.scroll tabindex="0" role="region" aria-label="Inputs" { table.wide {
            caption { "Inputs, and the outputs that they spend" }
            thead { tr {
                th.num scope="col" { "#" } th scope="col" { "Spends" } th.num scope="col" { "Value" }
                th scope="col" { "Scripts" } th scope="col" { "Sequence" } th scope="col" { "Steps" }
            } }
            tbody { @for at in range { (input_row(visit, found, at, &blocks)) } }
        } }
        (links)
    })
}

fn input_row(
    visit: &Visit<'_>,
    found: &Found,
    at: usize,
    blocks: &BTreeMap<u32, BlockHash>,
) -> Markup {
    let (tx, prefixes) = (found.tx(), &found.place.params.address_prefixes);
    let (view, coin) = (tx.input(at), found.coins.get(at).and_then(Option::as_ref));
    let program = coin.and_then(|coin| caesure_script::witness_program(&coin.script_pubkey));
    let is_taproot = program.is_some_and(|(version, program)| version == 1 && program.len() == 32);
    let OutPoint { txid, vout } = view.prevout;
    let source = coin.and_then(|coin| blocks.get(&coin.height));
    let link = source.map(|block| visit.link(&format!("tx/{block}/{txid}")));
    let debug = visit.link(&format!("debug/{}/{}/{at}", found.place.hash, found.txid));
    html! {
        tr {
            td.num { (at) }
            td {
                @if tx.is_coinbase() { "nothing: it makes new coins" } @else {
                    @match link { Some(link) => { a.hash href=(link) { (txid) } }, None => { span.hash { (txid) } } }
                    ":" (vout)
                    @match coin {
                        Some(coin) => { br; span.dim { "of height " (coin.height) @if coin.is_coinbase { ", a coinbase" } } }
                        None => { br; span.dim { "not known" } }
                    }
                }
            }
            td.num { (coin.map_or_else(|| "–".to_owned(), |coin| amount(coin.value))) }
            td.scripts {
                (input(tx, at, coin, prefixes))
                @if let Some(coin) = coin { (script("scriptPubKey", &caesure_script::disassemble(&coin.script_pubkey))) }
                @if !view.script_sig.is_empty() {
                    @if tx.is_coinbase() { (script("coinbase", &short(view.script_sig))) }
                    @else { (script("scriptSig", &disassemble_signatures(view.script_sig))) }
                }
                @for (index, item) in tx.witness(at).enumerate().take(ITEMS) {
                    (script(&format!("witness {index}"), &witness_item(item, is_taproot)))
                }
                @if ITEMS < tx.witness(at).len() { p.dim { "and " (tx.witness(at).len() - ITEMS) " more witness items" } }
            }
            td.mono { (format!("{:#010x}", view.sequence)) }
            td { @if !tx.is_coinbase() { a href=(debug) { "Debug" } } }
        }
    }
}

fn witness_item(item: &[u8], is_taproot: bool) -> String {
    let kind = hash_type(item, is_taproot);
    let kind = kind.map_or_else(String::new, |kind| format!("[{kind}]"));
    if item.is_empty() { "(empty)".to_owned() } else { format!("{}{kind}", short(item)) }
}

fn script(name: &str, text: &str) -> Markup {
    html! { div { span.dim { (name) } " " span.mono.break { (cut(text)) } } }
}

fn outputs(visit: &Visit<'_>, found: &Found) -> Result<Markup, Fault> {
    let (tx, prefixes) = (found.tx(), &found.place.params.address_prefixes);
    let (number, parts, range) = part(visit, "outputs", tx.output_count(), ENDS)?;
    let marks = marks(visit, &found.place, found.txid, tx, range.clone())?;
    let links = pager(visit, "outputs", number, parts);
    Ok(html! {
        h2 { (count(tx.output_count(), "output")) }
        (links)
        div.scroll tabindex="0" role="region" aria-label="Outputs" { table.wide {
            caption { "Outputs, and whether they are unspent in this world" }
            thead { tr {
                th.num scope="col" { "#" } th.num scope="col" { "Value" } th scope="col" { "Script" }
                th scope="col" { "In this world" }
            } }
            tbody { @for (at, mark) in range.zip(marks) {
                @let made = tx.output(at);
                tr {
                    td.num { (at) }
                    td.num { (amount(made.value)) }
                    td.scripts {
                        (output(made.script_pubkey, prefixes))
                        (script("scriptPubKey", &caesure_script::disassemble(made.script_pubkey)))
                    }
                    td { (mark) }
                }
            } }
        } }
        (links)
    })
}

fn bytes(visit: &Visit<'_>, found: &Found) -> Markup {
    let bytes = found.tx().bytes();
    let path = format!("tx/{}/{}", found.place.hash, found.txid);
    html! {
        h2 { "Bytes" }
        p.mono.break {
            (hex::encode(&bytes[..bytes.len().min(HEX)]))
            @if HEX < bytes.len() { "…" }
        }
        p { a href=(visit.link_with(&path, &[("hex", "1")])) { "All of it as text" } }
    }
}
