//! The pages about blocks, transactions, scripts and worlds, and what is counted, on a chain with
//! every kind of spend and with forks.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::sync::{Arc, LazyLock};
use std::thread;

use caesure_consensus::subsidy;
use caesure_engine::Command;
use caesure_generate::{Options, generate};
use caesure_http::{Backend, Stop, WebOptions, serve_web};
use caesure_wire::Block;
use proptest::prelude::*;

use crate::client::Client;
use crate::node::Node;

/// The blocks of `caesure generate --blocks 130 --txs 300 --pool 150 --forks 2 --seed 2014`.
static CHAIN: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let options =
        Options { blocks: 130, txs: 300, pool: 150, forks: 2, seed: 2014, ..Options::default() };
    let mut blocks = Vec::new();
    generate(&options, &mut |block| {
        blocks.push(block.to_vec());
        Ok(())
    })
    .unwrap();
    blocks
});

fn node() -> Arc<Node> {
    let node = Node::new(20);
    for block in &CHAIN[1..] {
        // What stands on a branch with less work is answered as inconclusive.
        let _ = node.command(Command::SubmitBlock(Arc::new(block.clone())));
    }
    assert_eq!(node.worlds().tip().info().height, 130);
    node
}

/// Serves the pages of a node on the chain while `test` asks for them.
fn with_chain(test: impl FnOnce(&Node, &Pages)) {
    with_node(node(), test);
}

fn with_node(node: Arc<Node>, test: impl FnOnce(&Node, &Pages)) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let pages = Pages(Client { address: listener.local_addr().unwrap() });
    let stop = Stop::new();
    struct Guard<'a>(&'a Stop, &'a Node);
    impl Drop for Guard<'_> {
        fn drop(&mut self) {
            self.1.stop();
            self.0.stop();
        }
    }
    thread::scope(|scope| {
        let backend = Arc::clone(&node) as Arc<_>;
        let options = WebOptions::new([7; 32]);
        scope.spawn(|| serve_web(vec![listener], backend, options, &stop).unwrap());
        let guard = Guard(&stop, &node);
        test(&node, &pages);
        drop(guard);
    });
}

struct Pages(Client);

impl Pages {
    fn get(&self, path: &[u8]) -> (u16, String) {
        let head: [&[u8]; 3] =
            [b"GET ", path, b" HTTP/1.1\r\nHost: localhost:1\r\nConnection: close\r\n\r\n"];
        let response = self.0.raw(&head.concat()).expect("an answer");
        let to = response.header("location").unwrap_or_default();
        crate::access::check(&String::from_utf8_lossy(path), &response.body);
        (response.status, format!("{}{to}", response.body))
    }

    /// A page's text without its tags.
    fn text(&self, path: &str) -> String {
        let (status, body) = self.get(path.as_bytes());
        assert_eq!(status, 200, "{path}: {body}");
        plain(&body)
    }

    fn refused(&self, path: &str, status: u16, text: &str) {
        let (got, body) = self.get(path.as_bytes());
        assert_eq!(got, status, "{path}: {body}");
        assert!(plain(&body).contains(text), "{path}: {body}");
    }
}

/// What is read of a page: its text, with one blank between words.
fn plain(page: &str) -> String {
    let mut text = String::new();
    let mut is_tag = false;
    for letter in page.chars() {
        match letter {
            '<' => is_tag = true,
            '>' if is_tag => {
                is_tag = false;
                text.push(' ');
            }
            _ if !is_tag => text.push(letter),
            _ => {}
        }
    }
    let text = text.replace('\u{202f}', " ").replace("&quot;", "\"").replace("&gt;", ">");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn parsed() -> Vec<Block<&'static [u8]>> {
    CHAIN.iter().map(|block| Block::parse(&block[..]).unwrap()).collect()
}

#[test]
fn every_block_of_every_branch_has_its_page_and_neighbours() {
    with_chain(|node, pages| {
        let tip = node.worlds().tip().info().hash;
        let mut off = 0;
        for block in parsed() {
            let text = pages.text(&format!("/admin/block/{}", block.hash()));
            let header = block.header();
            for wanted in [
                format!("Name {}", block.hash()),
                format!("Merkle root {}", header.merkle_root),
                format!("Nonce {}", header.nonce),
                format!("Weight {}", block.weight()).replace("Weight ", ""),
            ] {
                let bare = text.replace(' ', "");
                assert!(bare.contains(&wanted.replace(' ', "")), "{wanted}: {text}");
            }
            assert!(text.contains("State valid"), "{text}");
            off += usize::from(text.contains("off this world's chain"));
            assert!(!text.contains("not known"), "{text}");
            for txid in block.txids().iter().take(50) {
                assert!(text.contains(&txid.to_string()));
            }
        }
        assert!(1 < off, "blocks of forks say so");
        assert!(pages.text("/admin/block").contains(&format!("Name {tip}")));
        assert!(pages.text("/admin/block/tip-1").contains("Number 129"));
        let forked = parsed();
        let twice = forked.iter().find(|block| {
            let prev = block.header().prev_block;
            1 < forked.iter().filter(|other| other.header().prev_block == prev).count()
        });
        let parent = twice.unwrap().header().prev_block;
        let page = pages.text(&format!("/admin/block/{parent}"));
        assert!(page.contains("Next (off this chain)") && page.contains("Next ·"), "{page}");
    });
}

#[test]
fn every_transaction_has_its_page_with_fee_and_marks_and_every_input_is_stepped_to_ok() {
    with_chain(|node, pages| {
        let tip = node.worlds().tip();
        let mut kinds = BTreeSet::new();
        for block in parsed().iter().skip(100) {
            for (tx, txid) in block.txs().zip(block.txids()).take(4) {
                let path = format!("/admin/tx/{}/{txid}", block.hash());
                let text = pages.text(&path);
                assert!(
                    text.contains(&format!("Name {txid}"))
                        && text.contains(&tx.wtxid().to_string())
                );
                let unspent = (0..tx.output_count()).filter(|vout| {
                    let vout = u32::try_from(*vout).unwrap();
                    let coin = tip.get(&caesure_wire::OutPoint { txid, vout }).unwrap();
                    coin.is_some_and(|coin| tip.info().height >= coin.height)
                });
                let marks = text.matches("(unspent)").count();
                for (count, name) in [(tx.input_count(), "input"), (tx.output_count(), "output")] {
                    let plural = if count == 1 { " " } else { "s " };
                    assert!(text.contains(&format!(" {count} {name}{plural}")), "{text}");
                }
                if !text.contains("off this world's chain") {
                    assert_eq!(marks, unspent.count(), "{text}");
                }
                if tx.is_coinbase() {
                    assert!(text.contains("none: a coinbase"));
                    pages.refused(
                        &format!("{}/0", path.replace("/tx/", "/debug/")),
                        404,
                        "coinbase",
                    );
                    continue;
                }
                assert!(text.contains("satoshi per vbyte"), "{text}");
                for input in 0..tx.input_count().min(3) {
                    let debug = format!("{}/{input}", path.replace("/tx/", "/debug/"));
                    let text = pages.text(&debug);
                    assert!(text.contains("Verdict: OK"), "{text}");
                    let end = pages.text(&format!("{debug}?step=end"));
                    assert!(end.contains("The end, after") && end.contains("Verdict: OK"));
                    assert!(!end.contains(" 1 items") && !end.contains(" 1 steps"), "{end}");
                    let left = end.split_once(" has left: ").expect("both stacks").1;
                    // All are written so that one item is left, true in old scripts' own way.
                    assert!(left.starts_with("Stack, "), "{end}");
                    assert!(
                        left.contains(" Other stack, 0 items, the top first (nothing)"),
                        "{end}"
                    );
                    let is_program = [" by key of ", " by anchor", " by witness v"];
                    if !is_program.iter().any(|by| text.contains(by)) {
                        assert!(left.starts_with("Stack, 1 item, the top first 0 01"), "{end}");
                    }
                    let by = text.split_once(" by ").unwrap().1;
                    kinds.insert(by.split([':', '.']).next().unwrap().to_owned());
                }
            }
        }
        assert!(5 < kinds.len(), "{kinds:?}");
    });
}

#[test]
fn the_debugger_shows_each_step_that_the_interpreter_takes() {
    with_chain(|_, pages| {
        let blocks = parsed();
        let mut checked = 0;
        for block in blocks.iter().skip(105) {
            for (tx, txid) in block.txs().zip(block.txids()).skip(1).take(1) {
                let path = format!("/admin/debug/{}/{txid}/0", block.hash());
                let first = pages.text(&path);
                let Some((_, rest)) = first.split_once("Step 0 of ") else { continue };
                let steps: usize = rest.split(' ').next().unwrap().parse().unwrap();
                for step in 0..steps {
                    let text = pages.text(&format!("{path}?step={step}"));
                    assert!(text.contains(&format!("Step {step} of {steps}")), "{text}");
                    assert_eq!(text.matches('▶').count(), 1, "{text}");
                    assert!(text.contains("Stack,") && text.contains("Other stack,"));
                }
                checked += usize::from(0 < steps && !tx.is_coinbase());
            }
        }
        assert!(5 < checked, "{checked}");
    });
}

#[test]
fn a_block_that_is_refused_says_why_and_so_does_what_stands_on_it() {
    with_chain(|node, pages| {
        let tip = node.worlds().tip().info().hash;
        let header =
            *Block::parse(
                &CHAIN
                    .iter()
                    .find(|block| Block::parse(&block[..]).unwrap().hash() == tip)
                    .unwrap()[..],
            )
            .unwrap()
            .header();
        let height = node.worlds().tip().info().height + 1;
        let params = caesure_consensus::Params::new(caesure_consensus::Network::Regtest);
        let value = subsidy(height, &params) + 1;
        let outputs = vec![caesure_wire::TxOut { value, script_pubkey: vec![0x51] }];
        let coinbase = caesure_generate::coinbase(height, 0, outputs);
        let bytes = caesure_generate::mine_block(tip, header.time + 1, coinbase, &[]);
        let hash = Block::parse(&bytes[..]).unwrap().hash();
        node.command(Command::SubmitBlock(Arc::new(bytes))).unwrap_err();
        let text = pages.text(&format!("/admin/block/{hash}"));
        assert!(text.contains("refused: bad-cb-amount"), "{text}");
    });
}

#[test]
fn a_transaction_is_found_by_its_id_alone_where_that_can_be() {
    with_chain(|_, pages| {
        let blocks = parsed();
        let block = blocks.last().unwrap();
        let txid = block.txids()[0];
        let (status, to) = pages.get(format!("/admin/tx/{txid}").as_bytes());
        assert_eq!(
            (status, to.ends_with(&format!("/admin/tx/{}/{txid}", block.hash()))),
            (303, true)
        );
        let (status, _) = pages.get(format!("/admin/tx?id={txid}").as_bytes());
        assert_eq!(status, 303);
        pages.refused(&format!("/admin/tx/{}", "00".repeat(32)), 404, "name its block too");
        let text = "none of its first 2048 outputs is unspent in it";
        pages.refused(&format!("/admin/tx/{}", "00".repeat(32)), 404, text);
        pages.refused("/admin/tx/x", 400, "64 digits");
        let other = format!("/admin/tx/{}/{txid}", blocks[0].hash());
        pages.refused(&other, 404, "has no transaction");
    });
}

#[test]
fn the_ledger_shows_every_world_and_differences_are_those_of_the_worlds() {
    with_chain(|node, pages| {
        let text = pages.text("/admin/ledger");
        let worlds = node.worlds();
        for info in worlds.worlds() {
            assert!(text.contains(&info.hash.to_string()));
        }
        let coins = worlds.tip().summary().unwrap().txouts;
        assert!(text.replace(' ', "").contains(&coins.to_string()), "{coins}: {text}");
        assert!(text.contains("Trailing ledger (at horizon)"));
        let (tip, root) = (worlds.tip(), worlds.world(&worlds.root().hash).unwrap());
        let difference = root.diff(&tip).unwrap();
        let text = pages.text(&format!("/admin/diff?from={}&to=tip", root.info().hash));
        for (sign, count) in [("−", difference.removed.len()), ("+", difference.added.len())] {
            assert!(text.replace(' ', "").contains(&format!("{sign}{count}coins")), "{text}");
        }
        pages.refused("/admin/diff?from=1", 404, "The oldest one held");
        pages.refused("/admin/ledger?part=99", 400, "from 1 to");
        pages.refused("/admin/block?at=1", 404, "The oldest one held");
    });
}

#[test]
fn a_page_reads_the_world_that_at_names() {
    with_chain(|node, pages| {
        let text = pages.text("/admin/block/tip?at=tip-3");
        let height = node.worlds().tip().info().height - 3;
        assert!(text.contains(&format!("Number {height}")), "{text}");
        assert!(text.contains("Next (beyond this world)"), "{text}");
        assert!(text.contains(&format!("World at height {height}")), "{text}");
    });
}

#[test]
fn what_is_counted_is_in_the_format_with_all_names_from_the_first_time_on() {
    with_chain(|node, pages| {
        let (status, text) = pages.get(b"/metrics");
        assert_eq!(status, 200);
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.unwrap_or_else(|| panic!("{name} in {text}")).parse::<f64>().unwrap()
        };
        let tip = node.worlds().tip();
        assert_eq!(value("bitcoin_blocks"), f64::from(tip.info().height));
        assert_eq!(value("bitcoin_latest_block_txs"), parsed().last().unwrap().tx_count() as f64);
        assert_eq!(value("caesure_coins"), tip.summary().unwrap().txouts as f64);
        assert_eq!(value("caesure_worlds"), node.worlds().worlds().len() as f64);
        for status in ["active", "valid-fork", "valid-headers", "headers-only", "invalid"] {
            value(&format!("caesure_chain_tips{{status=\"{status}\"}}"));
        }
        assert_eq!(value("caesure_peers{direction=\"inbound\",transport=\"v2\"}"), 0.0);
        let mut names = BTreeSet::new();
        for line in text.lines() {
            match line.strip_prefix("# TYPE ") {
                Some(rest) => {
                    assert!(names.insert(rest.split(' ').next().unwrap()), "{line} twice")
                }
                None if line.starts_with("# HELP ") => {}
                None => {
                    let name = line.split(['{', ' ']).next().unwrap();
                    assert!(names.iter().any(|known| name.starts_with(known)), "{line}");
                    line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap();
                }
            }
        }
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/grafana.json");
        let board: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(root).unwrap()).unwrap();
        let mut panels = 0;
        for panel in board["panels"].as_array().unwrap() {
            for target in panel["targets"].as_array().into_iter().flatten() {
                let expr = target["expr"].as_str().unwrap();
                let words = expr.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
                let used: Vec<&str> = words
                    .filter(|word| word.starts_with("bitcoin_") || word.starts_with("caesure_"))
                    .collect();
                assert!(!used.is_empty(), "{expr}");
                for name in used {
                    assert!(names.contains(name), "{name} is in no answer");
                }
                panels += 1;
            }
        }
        assert!(10 < panels);
    });
}

/// All names of jvstein's exporter, of which dashboards are made.
const EXPORTED: &str = "blocks difficulty peers conn_in conn_out warnings uptime meminfo_used \
    meminfo_free meminfo_total meminfo_locked meminfo_chunks_used meminfo_chunks_free mempool_bytes \
    mempool_size mempool_usage mempool_minfee mempool_unbroadcast latest_block_height \
    latest_block_weight latest_block_size latest_block_txs latest_block_inputs latest_block_outputs \
    latest_block_value latest_block_fee txcount num_chaintips total_bytes_recv total_bytes_sent \
    server_version protocol_version size_on_disk verification_progress rpc_active est_smart_fee_2 \
    est_smart_fee_3 est_smart_fee_5 est_smart_fee_20 hashps";

/// The number of a name, in what is counted.
fn counted(pages: &Pages, name: &str) -> f64 {
    let (status, text) = pages.get(b"/metrics");
    assert_eq!(status, 200, "{text}");
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{name} in {text}")).parse().unwrap()
}

#[test]
fn every_name_of_the_exporter_that_dashboards_are_made_for_is_counted() {
    with_chain(|node, pages| {
        for name in EXPORTED.split_whitespace() {
            counted(pages, &format!("bitcoin_{name}"));
        }
        let (_, text) = pages.get(b"/metrics");
        for name in ["ban_created", "banned_until"] {
            assert!(
                text.contains(&format!("# TYPE bitcoin_{name} gauge\n# HELP")),
                "nobody is yet"
            );
        }
        let address = caesure_wire::NetAddress::Ipv4([10, 0, 0, 0]);
        node.command(Command::Ban { address, prefix: 8, until: 1_900_000_000 }).unwrap();
        let label = "{address=\"10.0.0.0/8\",reason=\"manually added\"}";
        assert_eq!(counted(pages, &format!("bitcoin_banned_until{label}")), 1.9e9);
        assert_eq!(counted(pages, &format!("bitcoin_ban_created{label}")), 1.7e9);
    });
}

#[test]
fn the_figures_of_the_chain_and_its_last_block_are_what_the_blocks_have() {
    with_chain(|node, pages| {
        let blocks = parsed();
        let worlds = node.worlds();
        let find = |hash| blocks.iter().find(|block| block.hash() == hash);
        let chain = |tip: caesure_wire::BlockHash| {
            std::iter::successors(find(tip), |block| find(block.header().prev_block))
        };
        let tip = worlds.tip();
        let block = find(tip.info().hash).unwrap();
        let outputs = |skip| block.txs().skip(skip).flat_map(|tx| tx.outputs()).map(|it| it.value);
        let spent = worlds.spent_lists(block, tip.info().height).unwrap().unwrap();
        let spent: i64 = spent.iter().flatten().map(|coin| coin.value).sum();
        for (name, expected) in [
            ("height", f64::from(tip.info().height)),
            ("size", block.bytes().len() as f64),
            ("weight", block.weight() as f64),
            ("txs", block.tx_count() as f64),
            ("inputs", block.input_count() as f64),
            ("outputs", block.output_count() as f64),
            ("value", outputs(0).sum::<i64>() as f64 / 1e8),
            ("fee", (spent - outputs(1).sum::<i64>()) as f64 / 1e8),
        ] {
            assert_eq!(counted(pages, &format!("bitcoin_latest_block_{name}")), expected, "{name}");
        }
        assert!(spent > outputs(1).sum(), "it pays fees");
        let txs = |tip| chain(tip).map(Block::tx_count).sum::<usize>() as f64;
        let count = || loop {
            let count = counted(pages, "bitcoin_txcount");
            // They are counted some at a time.
            if !count.is_nan() {
                return count;
            }
        };
        assert_eq!(count(), txs(tip.info().hash));
        // On another branch the count is that branch's.
        let children =
            |hash| blocks.iter().filter(move |it| it.header().prev_block == hash).count();
        let fork = chain(tip.info().hash).find(|it| 1 < children(it.hash())).unwrap().hash();
        let on = chain(tip.info().hash).find(|it| it.header().prev_block == fork).unwrap();
        let other =
            blocks.iter().find(|it| it.header().prev_block == fork && it.hash() != on.hash());
        let other = other.unwrap().hash();
        node.command(Command::Invalidate(on.hash())).unwrap();
        node.command(Command::Reconsider(other)).unwrap();
        assert_eq!(node.worlds().tip().info().hash, other);
        assert_ne!(txs(other), txs(tip.info().hash));
        assert_eq!(count(), txs(other));
        assert_eq!(counted(pages, "bitcoin_latest_block_height"), txs_height(&blocks, other));
    });
}

#[test]
fn the_number_of_transactions_is_counted_on_from_where_an_earlier_run_was() {
    let folder = tempfile::tempdir().unwrap();
    let count = || {
        let (mut counted_txs, mut node) = (f64::NAN, node());
        Arc::get_mut(&mut node).unwrap().about.folder = folder.path().to_owned();
        with_node(node, |_, pages| {
            while counted_txs.is_nan() {
                counted_txs = counted(pages, "bitcoin_txcount");
            }
        });
        counted_txs
    };
    let (all, file) = (count(), folder.path().join("txcount"));
    let text = std::fs::read_to_string(&file).unwrap();
    let (number, hash) = text.trim_end().split_once(' ').unwrap();
    let more = number.parse::<u64>().unwrap() + 1_000_000;
    std::fs::write(&file, format!("{more} {hash}\n")).unwrap();
    assert_eq!(count(), all + 1e6, "the blocks below are not counted again");
    for damaged in ["7", &format!("7 {}", "00".repeat(32)), &format!("{more} {}", &hash[1..]), ""] {
        std::fs::write(&file, damaged).unwrap();
        assert_eq!(count(), all, "{damaged}");
    }
}

/// The height of a block, by its ancestors.
fn txs_height(blocks: &[Block<&[u8]>], hash: caesure_wire::BlockHash) -> f64 {
    let find = |hash| blocks.iter().find(|block| block.hash() == hash);
    (std::iter::successors(find(hash), |it| find(it.header().prev_block)).count() - 1) as f64
}

/// Runs the examples of `docs/web.md`: a request, and what its answer says.
#[test]
fn the_examples_of_the_document_are_answered_as_it_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/web.md");
    let document = std::fs::read_to_string(path).unwrap();
    with_chain(|_, pages| {
        let mut count = 0;
        for example in document.split("```page\n").skip(1) {
            let mut lines = example.split("```").next().unwrap().lines();
            let request = lines.next().unwrap().strip_prefix("GET ").unwrap();
            let (status, body) = pages.get(request.as_bytes());
            let text = if body.starts_with('<') { plain(&body) } else { body };
            for line in lines {
                let is_there = match line.strip_prefix("status ") {
                    Some(wanted) => status.to_string() == wanted,
                    None => text.contains(line),
                };
                assert!(is_there, "{request}: {line:?} is not in\n{text}");
                count += 1;
            }
        }
        assert!(20 < count);
    });
}

#[test]
fn any_bytes_in_an_address_are_answered() {
    with_chain(|_, pages| {
        let blocks = parsed();
        let block = blocks.last().unwrap();
        let (hash, txid) = (block.hash().to_string(), block.txids()[0].to_string());
        let word = prop_oneof![
            proptest::sample::select(vec![
                "block",
                "tx",
                "debug",
                "ledger",
                "diff",
                "metrics",
                "tip",
                "tip-1",
                "0",
                "7",
                "-1",
                "4294967295",
                "99999999999999999999999",
                "",
                "%00",
                "%ff",
                "..",
                "?",
                "&",
                "=",
                "step=",
                "part=0",
                "part=2",
                "at=",
                "at=tip-2",
                "from=0",
                "to=x",
                "hex",
                "end",
            ])
            .prop_map(|word| word.as_bytes().to_vec()),
            Just(hash.into_bytes()),
            Just(txid.into_bytes()),
            proptest::collection::vec(0x21_u8..=0xff, 0..20),
        ];
        let separator = proptest::sample::select(vec![b'/', b'?', b'&', b'/']);
        let path = proptest::collection::vec((separator, word), 1..6);
        let config =
            ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) };
        proptest!(config, |(parts in path)| {
            let mut address = b"/admin".to_vec();
            for (separator, word) in parts {
                address.push(separator);
                address.extend(word);
            }
            let (status, body) = pages.get(&address);
            prop_assert!([200, 303, 400, 404].contains(&status), "{status}: {body}");
        });
    });
}
