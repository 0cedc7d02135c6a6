use std::sync::Arc;

use rhai::Engine;

use crate::context::{Context, Res, fail};

/// What the prompt has: its form, a line about it, and an example.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// How it is written, as `by_num(HEIGHT)` or `BLOCK.height`.
    pub form: &'static str,
    /// What it gives.
    pub about: &'static str,
    /// A line that can be typed.
    pub example: &'static str,
}

impl Entry {
    /// Returns the bare name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        let rest = self.form.split_once('.').map_or(self.form, |(_, rest)| rest);
        let end = rest.find(['(', '[', ' ']).unwrap_or(rest.len());
        &rest[..end]
    }
}

const fn entry(form: &'static str, about: &'static str, example: &'static str) -> Entry {
    Entry { form, about, example }
}

/// All that the prompt has besides the language itself.
pub const ENTRIES: &[Entry] = &[
    entry("help()", "lists all this; help(\"NAME\") tells of one", "help(\"fee\")"),
    entry("_", "the last value", "block(1); _"),
    // Blocks.
    entry("db", "the block database, as the original called it", "db.last_block"),
    entry("BlockDB()", "the same", "BlockDB().last_block"),
    entry("db.last_block", "the height of the tip", "db.last_block"),
    entry("db.num_block[HEIGHT]", "the names of all blocks at a height", "db.num_block[1]"),
    entry("db.prev[NAME]", "the name of the block before", "db.prev[\"tip\"]"),
    entry("db.blocks", "all of it, for len()", "len(db.blocks)"),
    entry(
        "by_num(HEIGHT)",
        "the block at a height of the branch that is read; -1 is the tip",
        "by_num(1)",
    ),
    entry(
        "block(NAME)",
        "a block by height, hash or tip-N; without a name, the tip",
        "block(\"tip-3\")",
    ),
    entry("has_block(NAME)", "whether there is a header of that name", "has_block(1)"),
    entry("has_key(NAME)", "the same, of db", "db.has_key(1)"),
    entry("next(NAME)", "the blocks after a block, on all branches", "next(0)"),
    entry("prev(NAME)", "the name of the block before", "prev(1)"),
    entry("header(NAME)", "a block's header and its place, as a map", "header(0).bits"),
    entry("tips()", "the tips of all branches whose worlds are held", "tips()[0].height"),
    entry("BLOCK.hash", "its name; BLOCK.name is the same", "block(0).hash"),
    entry("BLOCK.name", "its name", "block(0).name"),
    entry("BLOCK.height", "how many blocks are before it", "block(1).height"),
    entry("BLOCK.version", "the header's version", "block(0).version"),
    entry(
        "BLOCK.prev_block",
        "the name of the block before, from the header",
        "block(1).prev_block",
    ),
    entry("BLOCK.merkle_root", "the header's merkle root", "block(0).merkle_root"),
    entry("BLOCK.timestamp", "the header's time; BLOCK.time is the same", "block(0).timestamp"),
    entry("BLOCK.time", "the header's time, in seconds since 1970", "block(0).time"),
    entry("BLOCK.bits", "the header's target, compact", "block(0).bits"),
    entry("BLOCK.nonce", "the header's nonce", "block(0).nonce"),
    entry("BLOCK.size", "its bytes", "block(0).size"),
    entry("BLOCK.weight", "its weight, of BIP-0141", "block(0).weight"),
    entry("BLOCK.header", "its header, as header() gives it", "block(1).header.median_time"),
    entry("BLOCK.prev", "the block before", "block(1).prev"),
    entry("BLOCK.next", "the blocks after it, on all branches", "block(0).next"),
    entry(
        "BLOCK.transactions",
        "its transactions; BLOCK.txs is the same",
        "block(0).transactions[0]",
    ),
    entry("BLOCK.txs", "its transactions", "block(0).txs.len()"),
    entry(
        "BLOCK.tx(TXID)",
        "one of its transactions, by txid",
        "block(1).tx(block(1).txs[0].hash)",
    ),
    entry(
        "BLOCK.get_height()",
        "its height, as the original asked for it",
        "block(1).get_height()",
    ),
    entry("BLOCK.raw", "its serialization", "block(0).raw.len()"),
    entry("BLOCK.dump()", "prints it, as the original did; TX.dump() too", "block(0).dump()"),
    // Transactions.
    entry("tx(HEX)", "a transaction from its serialization", "tx(block(0).txs[0].raw)"),
    entry("TX.hash", "its txid; TX.name and TX.txid are the same", "block(0).txs[0].hash"),
    entry("TX.txid", "its txid", "block(0).txs[0].txid"),
    entry("TX.wtxid", "the hash with its witnesses", "block(0).txs[0].wtxid"),
    entry("TX.inputs", "its inputs", "block(0).txs[0].inputs.len()"),
    entry("TX.outputs", "its outputs", "block(0).txs[0].outputs[0].value"),
    entry("TX.value", "what its outputs pay, in satoshi", "block(0).txs[0].value"),
    entry("TX.fee", "its fee in satoshi, by the outputs that it spends", "block(1).txs[0].fee"),
    entry("TX.vsize", "its virtual size; TX.size and TX.weight too", "block(0).txs[0].vsize"),
    entry("TX.lock_time", "its lock time; TX.version too", "block(0).txs[0].lock_time"),
    entry("TX.is_coinbase", "whether it makes new money", "block(0).txs[0].is_coinbase"),
    entry("TX.block", "the block that it is of", "block(0).txs[0].block"),
    entry(
        "INPUT.outpoint",
        "what it spends: .txid and .vout",
        "block(0).txs[0].inputs[0].outpoint.vout",
    ),
    entry("INPUT.spent", "the output that it spends, a coin", "block(0).txs[0].inputs[0].spent"),
    entry(
        "INPUT.script",
        "its unlock script; OUTPUT.script and COIN.script, the lock script",
        "block(0).txs[0].inputs[0].script",
    ),
    entry("INPUT.sequence", "its sequence", "block(0).txs[0].inputs[0].sequence"),
    entry("INPUT.witness", "its witness stack", "block(0).txs[0].inputs[0].witness"),
    entry(
        "OUTPUT.value",
        "its amount in satoshi; COIN.value too",
        "block(0).txs[0].outputs[0].value",
    ),
    entry(
        "OUTPUT.address",
        "its address, if it has one; COIN.address too",
        "block(0).txs[0].outputs[0].address",
    ),
    entry(
        "OUTPUT.type",
        "its kind, in Core's words; COIN.type too",
        "block(0).txs[0].outputs[0].type",
    ),
    entry(
        "OUTPUT.is_unspent",
        "whether it is a coin of the world that is read",
        "block(1).txs[0].outputs[0].is_unspent",
    ),
    // Scripts.
    entry(
        "parse_script(SCRIPT)",
        "a script as nested tuples; takes bytes, hexadecimal, inputs, outputs",
        "parse_script(\"51\")",
    ),
    entry(
        "pprint_script(SCRIPT)",
        "a script as the names of its opcodes",
        "pprint_script(\"76a9\")",
    ),
    entry(
        "unparse_script(PARSED)",
        "its bytes again; with true, the shortest pushes",
        "unparse_script(parse_script(\"4c0105\"), true)",
    ),
    entry("asm(SCRIPT)", "a script as Core writes it", "asm(\"76a988ac\")"),
    entry("assemble(TEXT)", "the bytes of opcodes and pushes", "assemble(\"OP_DUP OP_HASH160\")"),
    entry(
        "address(SCRIPT)",
        "the address that a lock script has",
        "address(block(0).txs[0].outputs[0])",
    ),
    entry(
        "lock_script(ADDRESS)",
        "the lock script of an address",
        "lock_script(address(block(0).txs[0].outputs[0]))",
    ),
    entry("script_type(SCRIPT)", "its kind, in Core's words", "script_type(\"6a\")"),
    entry("is_unspendable(SCRIPT)", "whether no coin is made of it", "is_unspendable(\"6a\")"),
    entry("bytes(HEX)", "bytes from hexadecimal", "bytes(\"00ff\")"),
    entry("hex(BYTES)", "bytes or a name as hexadecimal", "bytes(\"00ff\").hex()"),
    entry("dhash(BYTES)", "double SHA-256", "dhash(bytes(\"00\"))"),
    entry("rhash(BYTES)", "RIPEMD-160 of SHA-256", "rhash(bytes(\"00\"))"),
    entry("make_push_str(BYTES)", "a script that pushes bytes", "make_push_str(bytes(\"00ff\"))"),
    entry("make_push_int(NUMBER)", "a script that pushes a number", "make_push_int(1000)"),
    entry("render_int(NUMBER)", "a number as scripts have it", "render_int(-1)"),
    entry("unrender_int(BYTES)", "the number again", "unrender_int(bytes(\"81\"))"),
    entry("bcrepr(SATOSHI)", "an amount in bitcoins", "bcrepr(5000000000)"),
    entry("compute_reward(HEIGHT)", "the subsidy at a height", "compute_reward(0)"),
    // Ranges.
    entry(
        "blocks(FROM, TO)",
        "blocks of a range of heights, without TO; for for, map, filter and what follows",
        "blocks(0, 2)",
    ),
    entry(
        "RANGE.count_txs()",
        "their transactions; .count_inputs(), .count_outputs() too",
        "blocks(0, 2).count_txs()",
    ),
    entry("RANGE.count_inputs()", "their inputs", "blocks(0, 2).count_inputs()"),
    entry("RANGE.count_outputs()", "their outputs", "blocks(0, 2).count_outputs()"),
    entry(
        "RANGE.sum_outputs()",
        "the satoshi that their outputs pay",
        "blocks(0, 2).sum_outputs()",
    ),
    entry("RANGE.sum_size()", "the bytes of their transactions", "blocks(0, 2).sum_size()"),
    entry(
        "RANGE.fold_native(FIELD)",
        "the sum of txs, inputs, outputs, value, size, lock_bytes, unlock_bytes, witness_items",
        "blocks(0, 2).fold_native(\"lock_bytes\")",
    ),
    entry("LIST.list()", "the items as an array", "block(0).txs.list().len()"),
    entry(
        "LIST.map(FUNCTION)",
        "what a function gives for each item",
        "blocks(0, 2).map(|b| b.height)",
    ),
    entry(
        "LIST.filter(FUNCTION)",
        "the items for which a function gives true",
        "block(0).txs.filter(|t| t.is_coinbase).len()",
    ),
    // Worlds.
    entry(
        "world(NAME)",
        "the set of unspent outputs at a block; without a name, the one that is read",
        "world(\"tip\")",
    ),
    entry("worlds()", "the names of the blocks whose worlds are held", "worlds().len()"),
    entry(
        "at(NAME)",
        "reads this world from now on; at() the tip again",
        "at(\"tip\"); at().height",
    ),
    entry("view()", "the world that the line reads", "view().height"),
    entry("WORLD.at(HEIGHT)", "the world of an ancestor", "world().at(world().height)"),
    entry(
        "WORLD.get(OUTPOINT)",
        "a coin, by \"TXID:INDEX\"; nothing if it is not there",
        "world().get(block(1).txs[0].hash.hex() + \":0\")",
    ),
    entry(
        "WORLD.diff(WORLD)",
        "the coins that one has and the other not: .removed, .added",
        "world().diff(world())",
    ),
    entry(
        "WORLD.supply()",
        "what was issued, is unspent, and is lost, in satoshi",
        "world().supply()",
    ),
    entry("WORLD.total", "the sum of its coins; WORLD.issued too", "world().total"),
    entry("WORLD.fees", "all fees up to it", "world().fees"),
    entry("WORLD.lost", "what was issued and is in no coin", "world().lost"),
    entry("WORLD.count", "how many coins there are, by counting", "world().count"),
    entry(
        "WORLD.coins(MOST)",
        "the first coins, in the order of their outpoints",
        "world().coins(1)",
    ),
    entry("WORLD.summary()", "counts and hashes, as gettxoutsetinfo", "world().summary().txouts"),
    entry("WORLD.block", "its block; WORLD.hash and WORLD.height too", "world().block.height"),
    entry("WORLD.chain_work", "the work of the chain up to it", "world().chain_work"),
    entry("WORLD.is_verified", "whether all was validated from block 0 on", "world().is_verified"),
    entry(
        "WORLD.try_block(BLOCK)",
        "what Core would say of a block on it; nothing is kept",
        "world(0).try_block(block(1)).valid",
    ),
    entry(
        "WORLD.try_tx(TX)",
        "what Core would say of a transaction in the next block",
        "world().try_tx(block(1).txs[0]).reason",
    ),
    entry("COIN.height", "where it was made", "world().coins(1)[0].height"),
    entry("COIN.is_coinbase", "whether a coinbase made it", "world().coins(1)[0].is_coinbase"),
    // The node.
    entry("peers()", "the connections, each a map; of a running node", "peers().len()"),
    entry("counters()", "what the node counts, as a map", "counters()"),
    entry("log(COUNT, TEXT)", "the last lines of the log, those with a text in them", "log(10)"),
    entry("connect(ADDRESS)", "connects to a peer", "connect(\"192.0.2.1\")"),
    entry(
        "disconnect(ADDRESS)",
        "ends a connection, by address or number",
        "disconnect(\"192.0.2.1:8333\")",
    ),
    entry(
        "ban(SUBNET, SECONDS)",
        "bans an address or a subnet, for a day if nothing is said",
        "ban(\"192.0.2.0/24\", 3600)",
    ),
    entry("unban(SUBNET)", "takes a ban back", "unban(\"192.0.2.0/24\")"),
    entry("save()", "writes blocks and ledger to the disk", "save()"),
    entry("stop()", "stops the node", "stop()"),
];

/// The interpreter's names of types, in words.
pub(crate) fn plain(types: &str) -> String {
    let words =
        [("&str | ImmutableString | String", "text"), ("i64", "number"), ("f64", "fraction")];
    words.iter().fold(types.to_owned(), |text, (name, word)| text.replace(name, word))
}

/// What is wrong with a call, `NAME (TYPES)`, for which there is no function.
pub(crate) fn misfit(call: &str) -> String {
    let (name, types) = call.split_once(" (").unwrap_or((call, ")"));
    let forms = ENTRIES.iter().filter(|it| it.name() == name && it.form.contains('('));
    let forms: Vec<&str> = forms.map(|it| it.form).collect();
    match (forms.is_empty(), name.starts_with(|it: char| it.is_alphabetic())) {
        (false, _) => format!("{} does not take ({}", forms.join(" or "), plain(types)),
        (true, true) => format!("there is no function {name} for ({}", plain(types)),
        (true, false) => format!("{name} does not work on ({}", plain(types)),
    }
}

/// Teaches the interpreter to tell what it has.
pub(crate) fn register(engine: &mut Engine, context: &Arc<Context>) {
    let c = Arc::clone(context);
    engine.register_fn("help", move || {
        for entry in ENTRIES {
            c.print(format_args!("{:28} {}", entry.form, entry.about));
        }
    });
    let c = Arc::clone(context);
    engine.register_fn("help", move |name: &str| -> Res<()> {
        let mut found =
            ENTRIES.iter().filter(|entry| entry.name() == name || entry.form == name).peekable();
        if found.peek().is_none() {
            return fail(format!("there is no {name}; help() lists what there is"));
        }
        for entry in found {
            c.print(format_args!("{}: {}\n>>> {}", entry.form, entry.about, entry.example));
        }
        Ok(())
    });
}
