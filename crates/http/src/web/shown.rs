//! A block that pages show: where it stands, its bytes, and the coins that it spends.

use std::collections::BTreeMap;
use std::iter;

use caesure_consensus::{BlockContext, Coin, HeaderId, HeaderTree, Params};
use caesure_engine::Engine;
use caesure_script::Flags;
use caesure_wire::{Block, BlockHash, Header, OutPoint, Txid};
use maud::{Markup, html};

use super::{Fault, Visit};

/// So many ancestors are looked at for the block for whose sake one is refused.
const REFUSAL_WALK: usize = 2_000;

/// What the engine knows of a block.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) header: Header,
    pub(crate) hash: BlockHash,
    pub(crate) height: u32,
    pub(crate) flags: Flags,
    /// Whether the world that is shown has the block.
    pub(crate) is_in_world: bool,
    pub(crate) state: String,
    pub(crate) is_refused: bool,
    /// All blocks at the height, the branch with most work first.
    pub(crate) siblings: Vec<Neighbour>,
    pub(crate) children: Vec<Neighbour>,
    pub(crate) params: Params,
}

/// A block that a page leads to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Neighbour {
    pub(crate) hash: BlockHash,
    pub(crate) is_in_world: bool,
}

impl Place {
    /// Finds a block by hash, by height (on the world's chain, else the branch with most work), or as `tip-N` of the world.
    pub(crate) fn find(visit: &Visit<'_>, name: &str) -> Result<Self, Fault> {
        let (tip, text) = (visit.world.info().hash, name.to_owned());
        let found = visit.look(move |engine, _| {
            let tree = engine.sync().tree();
            let tip = tree.find(&tip)?;
            // Above the world, and beside it, by the most work.
            let beside = || tree.at_height(text.parse().ok()?).first().copied();
            let id = tree.find_named(&text, tip).or_else(beside)?;
            Some(Self::new(engine, id, tip))
        })?;
        found.ok_or_else(|| {
            if name.parse::<BlockHash>().is_ok() {
                Fault::not_found(format!("No block {name} is known."))
            } else if name.bytes().all(|byte| byte.is_ascii_digit()) {
                Fault::not_found(format!("No block of height {name} is known."))
            } else {
                Fault::bad("A block is named by its hash, its height, tip, or tip-N.")
            }
        })
    }

    fn new(engine: &Engine, id: HeaderId, tip: HeaderId) -> Self {
        let tree = engine.sync().tree();
        let is_in_world = |id| tree.ancestor(tip, tree.height(id)) == Some(id);
        let neighbour =
            |id: HeaderId| Neighbour { hash: tree.hash(id), is_in_world: is_in_world(id) };
        let (state, is_refused) = state(engine, tree, id);
        Self {
            header: tree.header(id),
            hash: tree.hash(id),
            height: tree.height(id),
            flags: BlockContext::new(tree.params(), tree, id).flags,
            is_in_world: is_in_world(id),
            state,
            is_refused,
            siblings: tree.at_height(tree.height(id)).into_iter().map(neighbour).collect(),
            children: tree.children(id).into_iter().map(neighbour).collect(),
            params: tree.params().clone(),
        }
    }

    /// Reads the block; says what is wanting where it is not stored.
    pub(crate) fn block(&self, visit: &Visit<'_>) -> Result<Option<Block<Vec<u8>>>, Fault> {
        let bytes = visit.read_block(&self.hash)?;
        bytes.map(|bytes| Block::parse(bytes).map_err(Fault::unreadable)).transpose()
    }

    /// The coins that each transaction spends, as far as they are known: from what the ledger keeps of
    /// the block, or, where it was never connected, from its parent's world.
    pub(crate) fn coins(
        &self,
        visit: &Visit<'_>,
        block: &Block<Vec<u8>>,
        txids: &[Txid],
    ) -> Result<Vec<Vec<Option<Coin>>>, Fault> {
        let worlds = visit.site.backend.worlds();
        let lists = worlds.spent_lists(block, self.height).map_err(Fault::unreadable)?;
        if let Some(lists) = lists {
            return Ok(lists
                .into_iter()
                .map(|list| list.into_iter().map(Some).collect())
                .collect());
        }
        let made: BTreeMap<Txid, usize> =
            txids.iter().enumerate().map(|(index, txid)| (*txid, index)).collect();
        let outpoints: Vec<OutPoint> =
            block.txs().skip(1).flat_map(|tx| tx.inputs().map(|input| input.prevout)).collect();
        let found = match worlds.world(&self.header.prev_block) {
            Some(parent) => parent.get_many(&outpoints).map_err(Fault::unreadable)?,
            None => vec![None; outpoints.len()],
        };
        let mut found = found.into_iter();
        let lists = block.txs().enumerate().map(|(index, tx)| {
            let inputs = if index == 0 { 0 } else { tx.input_count() };
            let coin = |at| {
                let outpoint = tx.input(at).prevout;
                let is_earlier = made.get(&outpoint.txid).is_some_and(|other| *other < index);
                let own = is_earlier.then(|| own_coin(block, &made, outpoint, self.height));
                found.next().flatten().or(own.flatten())
            };
            (0..inputs).map(coin).collect()
        });
        Ok(lists.collect())
    }
}

/// The output of a transaction of the same block.
fn own_coin(
    block: &Block<Vec<u8>>,
    made: &BTreeMap<Txid, usize>,
    outpoint: OutPoint,
    height: u32,
) -> Option<Coin> {
    let index = *made.get(&outpoint.txid)?;
    let tx = block.tx(index);
    let vout = usize::try_from(outpoint.vout).ok().filter(|vout| *vout < tx.output_count())?;
    Coin::from_output(&tx.output(vout), height, index == 0)
}

/// What became of a block, and whether it was refused.
fn state(engine: &Engine, tree: &HeaderTree, id: HeaderId) -> (String, bool) {
    let sync = engine.sync();
    if tree.is_invalid(id) {
        let mut walk = iter::successors(Some(id), |id| tree.parent(*id)).take(REFUSAL_WALK);
        let why = walk.find_map(|other| Some((other, sync.refusal(other)?)));
        let text = match why {
            Some((other, why)) if other == id => format!("refused: {why}"),
            Some((other, why)) => {
                format!("refused: it stands on block {}, which is: {why}", tree.hash(other))
            }
            None => "refused; the reason was given when it was validated".to_owned(),
        };
        return (text, true);
    }
    let known = sync.block_state(id);
    let text = match (known.is_connected, known.has_body) {
        (true, true) => "valid",
        (true, false) => "valid, its bytes are pruned",
        (false, true) => "stored, not validated",
        (false, false) => "only its header is known",
    };
    (text.to_owned(), false)
}

/// Makes links to parts of a list, of which one is shown; nothing where there is one part.
pub(crate) fn pager(visit: &Visit<'_>, name: &str, part: usize, parts: usize) -> Markup {
    let path = visit.address.strip_prefix("/admin/").unwrap_or_default();
    let link = |to: usize| {
        let others = visit.query.iter().filter(|(key, _)| key != name && key != "at");
        let others = others.map(|(key, value)| (&**key, &**value));
        let number = to.to_string();
        let all: Vec<(&str, &str)> = others.chain([(name, &*number)]).collect();
        visit.link_with(path, &all)
    };
    html! {
        @if 1 < parts {
            p {
                @if 1 < part { a href=(link(1)) { "First" } " · " a href=(link(part - 1)) rel="prev" { "Previous" } " · " }
                "Part " b { (part) } " of " (parts)
                @if part < parts { " · " a href=(link(part + 1)) rel="next" { "Next" } " · " a href=(link(parts)) { "Last" } }
            }
        }
    }
}

/// The part of a list that is asked for, from 1 on, how many there are, and the places of its items.
pub(crate) fn part(
    visit: &Visit<'_>,
    name: &str,
    count: usize,
    size: usize,
) -> Result<(usize, usize, std::ops::Range<usize>), Fault> {
    let parts = count.div_ceil(size).max(1);
    let part = match visit.param(name) {
        None => 1,
        Some(text) => text
            .parse()
            .ok()
            .filter(|part| (1..=parts).contains(part))
            .ok_or_else(|| Fault::bad(format!("{name} is a number from 1 to {parts}.")))?,
    };
    let start = (part - 1) * size;
    Ok((part, parts, start..(start + size).min(count)))
}
