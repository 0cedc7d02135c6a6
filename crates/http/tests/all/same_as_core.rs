//! The same calls to a bitcoind with the same chain, compared as text: fields, their order, and how
//! numbers are written.

use std::collections::BTreeSet;
use std::slice::from_ref;

use caesure_generate::{Options, generate};
use caesure_http::ServeOptions;
use caesure_script::Instructions;
use caesure_text::hex;
use caesure_wire::Block;
use serde_json::{Value, json};

use crate::bitcoind::Bitcoind;
use crate::client::{Client, with_server};
use crate::envelopes::CASES;
use crate::node::Node;

/// What must differ, by method: who the node is, what it is made of, and guesses.
const DIFFERENT: [(&str, &[&str]); 4] = [
    ("getblockchaininfo", &["size_on_disk", "verificationprogress", "warnings"]),
    ("gettxoutsetinfo", &["disk_size"]),
    (
        "getnetworkinfo",
        &["version", "subversion", "networks", "warnings", "localservices", "localservicesnames"],
    ),
    ("getnettotals", &["timemillis"]),
];

struct Pair<'a> {
    ours: Client,
    core: &'a Bitcoind,
}

impl Pair<'_> {
    /// Asks both and compares; returns our answer.
    fn same(&self, method: &str, params: Value) -> Result<Value, Value> {
        let mut answers = [&self.ours, &self.core.client].map(|it| it.call(method, params.clone()));
        let different = DIFFERENT.iter().find(|(name, _)| *name == method);
        for field in different.into_iter().flat_map(|(_, fields)| *fields) {
            for answer in answers.iter_mut().flatten() {
                let removed = answer.as_object_mut().unwrap().shift_remove(*field);
                assert!(removed.is_some(), "{method} has {field}");
            }
        }
        // Core's help is in other words.
        let code = |answer: &Result<Value, Value>| Some(answer.as_ref().err()?["code"].clone());
        let is_help = |answer: &Result<Value, Value>| {
            let text = answer.as_ref().err().and_then(|error| error["message"].as_str());
            text.is_some_and(|text| text.starts_with(method))
        };
        if answers.iter().all(is_help) {
            assert_eq!(code(&answers[0]), code(&answers[1]));
        } else {
            let [ours, core] = answers.each_ref().map(|it| match it {
                Ok(value) => format!("result {value}"),
                Err(error) => format!("error {error}"),
            });
            assert!(ours == core, "{method} {params}\nours: {ours}\ncore: {core}");
        }
        let [ours, _] = answers;
        ours
    }
}

/// Runs a test over both, with the same blocks.
fn compare(options: &Options, test: impl FnOnce(&Pair<'_>, &[Vec<u8>])) {
    let Some(core) = Bitcoind::start() else { return };
    let mut blocks = Vec::new();
    generate(options, &mut |block| {
        blocks.push(block.to_vec());
        Ok(())
    })
    .unwrap();
    with_server(&Node::new(1_000), ServeOptions::default(), |ours| {
        let pair = Pair { ours, core: &core };
        pair.same("setmocktime", json!([1_710_000_000])).unwrap();
        for block in &blocks {
            pair.same("submitblock", json!([hex::encode(block)])).unwrap();
        }
        test(&pair, &blocks);
    });
}

fn options() -> Options {
    Options { blocks: 130, txs: 120, pool: 200, forks: 4, ..Options::default() }
}

#[test]
fn envelopes_are_the_same() {
    let Some(core) = Bitcoind::start() else { return };
    for (body, status, expected) in CASES {
        let response = core.client.post(body);
        assert_eq!((response.status, response.body.trim_end()), (status, expected), "{body}");
    }
}

#[test]
fn blocks_headers_and_transactions_are_the_same() {
    compare(&options(), |pair, blocks| {
        for bytes in blocks {
            let block = Block::parse(&bytes[..]).unwrap();
            let hash = block.hash().to_string();
            let header = pair.same("getblockheader", json!([hash])).unwrap();
            // Of a branch that never won, Core does not know what its blocks spend.
            let is_active = header["confirmations"] != json!(-1);
            pair.same("getblockheader", json!([hash, false])).unwrap();
            for verbosity in [json!(true), json!(0), json!(1), json!(2), json!(3)] {
                if is_active || verbosity.as_i64() < Some(2) {
                    pair.same("getblock", json!([hash, verbosity])).unwrap();
                }
            }
            for (index, tx) in block.txs().enumerate().take(20) {
                let txid = tx.txid().to_string();
                for verbosity in 0..if is_active { 3 } else { 2 } {
                    let _ = pair.same("getrawtransaction", json!([txid, verbosity, hash]));
                }
                pair.same("decoderawtransaction", json!([hex::encode(tx.bytes())])).unwrap();
                for vout in 0..tx.output_count().min(3) {
                    // What was in a lost block is in Core's mempool again.
                    pair.same("gettxout", json!([txid, vout, false])).unwrap();
                }
                if index % 7 == 1 {
                    let proof = pair.same("gettxoutproof", json!([[txid], hash])).unwrap();
                    let _ = pair.same("verifytxoutproof", json!([proof]));
                    let _ = pair.same("gettxoutproof", json!([[txid]]));
                }
            }
        }
    });
}

#[test]
fn the_chain_the_set_and_the_node_are_the_same() {
    compare(&options(), |pair, blocks| {
        let plain = ["getblockcount", "getbestblockhash", "getdifficulty"];
        let more = ["getblockchaininfo", "gettxoutsetinfo", "getnetworkinfo", "getnettotals"];
        let empty = ["getpeerinfo", "getconnectioncount", "getaddednodeinfo", "listbanned"];
        let rest = ["getnodeaddresses", "getaddrmaninfo", "getrawaddrman", "getindexinfo"];
        for method in [&plain[..], &more, &empty, &rest].concat() {
            pair.same(method, json!([])).unwrap();
        }
        // What Core has not validated since it never won, is validated here.
        let tips = [&pair.ours, &pair.core.client].map(|it| {
            let tips = it.call("getchaintips", json!([])).unwrap().to_string();
            tips.replace("valid-headers", "valid-fork")
        });
        assert_eq!(tips[0], tips[1]);
        for kind in ["hash_serialized_3", "muhash", "none"] {
            pair.same("gettxoutsetinfo", json!([kind])).unwrap();
        }
        for height in [0, 1, 2, 50, 129] {
            pair.same("getblockhash", json!([height])).unwrap();
        }
        // A soft fork that is only there for tests is only there in Core.
        for height in [0, 1, 50] {
            let hash = pair.same("getblockhash", json!([height])).unwrap();
            let ours = pair.ours.call("getdeploymentinfo", json!([hash])).unwrap();
            let mut core = pair.core.call("getdeploymentinfo", json!([hash])).unwrap();
            core["deployments"].as_object_mut().unwrap().shift_remove("testdummy").unwrap();
            assert_eq!(ours.to_string(), core.to_string());
        }
        let tip = Block::parse(&blocks[5][..]).unwrap().hash().to_string();
        for (method, params) in wrong_calls(&tip).into_iter().chain(wrong_descriptors()) {
            let answer = pair.same(method, params.clone());
            assert!(answer.is_err() || method == "verifytxoutproof", "{method} {params}");
        }
    });
}

/// Calls that fail.
fn wrong_calls(hash: &str) -> Vec<(&'static str, Value)> {
    let zero = "00".repeat(32);
    let genesis_coinbase = "4a5e1e4baab89f3a32518a88c31bc87f618f76673e2cc77ab2127b7afdeda33b";
    vec![
        ("getblock", json!([zero])),
        ("getblock", json!([])),
        ("getblock", json!([hash, 1, 2])),
        ("getblock", json!([null])),
        ("getblock", json!([hash, [1]])),
        ("getblockheader", json!([zero])),
        ("getblockheader", json!([hash, 1])),
        ("getblockhash", json!([-1])),
        ("getblockhash", json!([131])),
        ("getblockhash", json!([1e3])),
        ("getdeploymentinfo", json!([zero])),
        ("gettxout", json!([zero, -1])),
        ("gettxout", json!(["x", 0])),
        ("gettxout", json!([zero, 0, "x"])),
        ("gettxoutsetinfo", json!(["x"])),
        ("gettxoutproof", json!([[]])),
        ("gettxoutproof", json!([[zero, zero]])),
        ("gettxoutproof", json!([[zero]])),
        ("gettxoutproof", json!([[zero], hash])),
        ("gettxoutproof", json!([[zero], zero])),
        ("gettxoutproof", json!([[1]])),
        ("verifytxoutproof", json!(["zz"])),
        ("verifytxoutproof", json!([""])),
        ("getrawtransaction", json!([zero])),
        ("getrawtransaction", json!([zero, 1, hash])),
        ("getrawtransaction", json!([zero, 1, zero])),
        ("getrawtransaction", json!([genesis_coinbase])),
        ("decoderawtransaction", json!(["00"])),
        ("decoderawtransaction", json!(["zz"])),
        ("decodescript", json!(["zz"])),
        ("decodescript", json!([1])),
        ("invalidateblock", json!([zero])),
        ("reconsiderblock", json!([zero])),
        ("preciousblock", json!([zero])),
        ("getblockfrompeer", json!([zero, 0])),
        ("getblockfrompeer", json!([hash, 0])),
        ("waitfornewblock", json!([-1])),
        ("waitforblock", json!(["x"])),
        ("addnode", json!(["1.2.3.4", "x"])),
        ("addnode", json!(["1.2.3.4", "remove"])),
        ("getaddednodeinfo", json!(["1.2.3.4"])),
        ("disconnectnode", json!(["1.2.3.4:1"])),
        ("disconnectnode", json!([])),
        ("disconnectnode", json!(["", 1_000])),
        ("setban", json!(["1.2.3.4", "x"])),
        ("setban", json!(["1.2.3.4/33", "add"])),
        ("setban", json!(["1.2.3.4", "add", 1, true])),
        ("setban", json!(["1.2.3.4", "remove"])),
        ("getnodeaddresses", json!([-1])),
        ("getnodeaddresses", json!([1, "x"])),
        ("addpeeraddress", json!(["x", 1])),
        ("addpeeraddress", json!(["1.2.3.4", 65_536])),
        ("addconnection", json!(["1.2.3.4:1", "x", false])),
        ("sendmsgtopeer", json!([1_000, "ping", ""])),
        ("sendmsgtopeer", json!([0, "0123456789012", ""])),
        ("sendmsgtopeer", json!([0, "ping", "x"])),
        ("submitblock", json!(["00"])),
        ("submitheader", json!(["00"])),
        ("submitheader", json!(["00".repeat(80)])),
        ("generatetoaddress", json!([1, "x"])),
        ("addnode", json!(["1.2.3.4", "add", "x"])),
        ("generateblock", json!(["x", []])),
        ("generateblock", json!(["raw(51)", [zero]])),
        ("generateblock", json!(["raw(51)", ["00"]])),
        ("setmocktime", json!([-1])),
        ("mockscheduler", json!([0])),
    ]
}

fn wrong_descriptors() -> Vec<(&'static str, Value)> {
    vec![
        ("generatetodescriptor", json!([1, ""])),
        ("generatetodescriptor", json!([1, "x"])),
        ("generatetodescriptor", json!([1, "raw(51"])),
        ("generatetodescriptor", json!([1, "raw(5)"])),
        ("generatetodescriptor", json!([1, "raw()"])),
        ("generatetodescriptor", json!([1, "raw(51)#"])),
        ("generatetodescriptor", json!([1, "raw(51)##8lvh9jx"])),
        ("generatetodescriptor", json!([1, "raw(51)#8lvh9jx"])),
        ("generatetodescriptor", json!([1, "raw(51)#8lvh9jxq"])),
        ("generatetodescriptor", json!([1, "raw(51)x"])),
        ("generatetodescriptor", json!([1, "raw(\u{fc})"])),
        ("generatetodescriptor", json!([1, "addr()"])),
        ("generatetodescriptor", json!([1, "addr(1)"])),
        ("generatetodescriptor", json!([1, "foo(51)"])),
        ("generatetodescriptor", json!([1, "sh(raw(51))"])),
        ("generatetodescriptor", json!([1, "sh(addr(51))"])),
        ("generateblock", json!(["raw(5)", []])),
        ("generateblock", json!(["raw(51)#8lvh9jxq", []])),
    ]
}

#[test]
fn scripts_and_addresses_are_the_same() {
    compare(&options(), |pair, blocks| {
        let mut scripts = BTreeSet::from([Vec::new()]);
        for bytes in blocks {
            let block = Block::parse(&bytes[..]).unwrap();
            for tx in block.txs() {
                scripts.extend(tx.outputs().map(|output| output.script_pubkey.to_vec()));
                for index in 0..tx.input_count() {
                    // The last item of each is the script of a hash, if there is one.
                    let pushed = Instructions::new(tx.input(index).script_sig).flatten().last();
                    scripts.extend(pushed.map(|item| item.data.to_vec()));
                    scripts.extend(tx.witness(index).last().map(<[u8]>::to_vec));
                }
            }
        }
        scripts.extend(
            ["6a", "51", "51024e73", "0020", "ba", "4c", "a9", "00", "020000"]
                .map(|it| hex::decode(it).unwrap()),
        );
        let mut addresses = BTreeSet::new();
        for script in &scripts {
            let text = hex::encode(script);
            let mut answers =
                [&pair.ours, &pair.core.client].map(|it| it.call("decodescript", json!([text])));
            // Core tells miniscript behind the hash of a witness script; here that is an address.
            let is_miniscript = |answer: &Result<Value, Value>| {
                let desc = answer.as_ref().ok()?["segwit"]["desc"].as_str()?.to_owned();
                Some(desc.starts_with("wsh(") && !desc.starts_with("wsh(multi("))
            };
            if is_miniscript(&answers[1]) == Some(true) {
                for answer in answers.iter_mut().flatten() {
                    answer["segwit"].as_object_mut().unwrap().shift_remove("desc");
                }
            }
            assert_eq!(format!("{:?}", answers[0]), format!("{:?}", answers[1]), "{text}");
            let address = answers[0].as_ref().ok().and_then(|it| it["address"].as_str());
            addresses.extend(address.map(str::to_owned));
        }
        assert!(20 < addresses.len());
        let damaged: Vec<String> = addresses.iter().take(30).flat_map(|it| damage(it)).collect();
        for address in addresses.into_iter().chain(damaged) {
            pair.same("validateaddress", json!([address])).unwrap();
        }
    });
}

/// Texts that are no longer addresses, most of them.
fn damage(address: &str) -> Vec<String> {
    let mut texts = vec![
        String::new(),
        format!("{address}x"),
        format!(" {address}"),
        address.to_uppercase(),
        address[..address.len() - 1].to_owned(),
        address.replace('1', ""),
        address.replacen("bcrt1", "bc1", 1),
        address.replacen("bcrt1", "bcrt11", 1),
        format!("{address}{address}"),
        "bcrt1".to_owned(),
        "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa".to_owned(),
        "bcrt1pw508d6qejxtdg4y5r3zarvary0c5xw7kw508d6qejxtdg4y5r3zarvary0c5xw7k0ylj56".to_owned(),
    ];
    let one = [(3, 'b'), (8, 'O'), (10, 'B'), (12, 'q'), (14, 'b'), (15, 'i'), (9, '\u{e9}')];
    let changed = |changes: &[(usize, char)]| {
        let mut text: Vec<char> = address.chars().collect();
        for &(index, character) in changes {
            text[index] = character;
        }
        text.into_iter().collect::<String>()
    };
    texts.extend(one.map(|change| changed(&[change])));
    let letters = ['q', 'p', 'z', 'r', 'y', '9', 'x', '8'];
    for (step, letter) in letters.into_iter().enumerate() {
        let place = |number: usize| (6 + (7 * step + 5 * number) % (address.len() - 6), letter);
        texts.extend((1..5).map(|count| changed(&(0..count).map(place).collect::<Vec<_>>())));
    }
    texts
}

#[test]
fn blocks_that_are_refused_are_refused_for_the_same_reason() {
    compare(&Options { blocks: 3, txs: 0, pool: 0, forks: 0, ..options() }, |pair, blocks| {
        let tip = Block::parse(&blocks[3][..]).unwrap();
        let mut header = *tip.header();
        let coinbase = tip.tx(0).bytes().to_vec();
        let submit = |header: &caesure_wire::Header, txs: &[Vec<u8>]| {
            let block = hex::encode(&caesure_wire::encode_block(header, txs));
            pair.same("submitblock", json!([block])).unwrap()
        };
        assert_eq!(submit(&header, from_ref(&coinbase)), json!("duplicate"));
        header.merkle_root.0[0] ^= 1;
        caesure_generate::solve(&mut header);
        assert_eq!(submit(&header, from_ref(&coinbase)), json!("bad-txnmrklroot"));
        header.prev_block = caesure_wire::BlockHash([7; 32]);
        header.merkle_root = tip.header().merkle_root;
        caesure_generate::solve(&mut header);
        assert_eq!(submit(&header, &[coinbase]), json!("prev-blk-not-found"));
        let header = hex::encode(&header.to_bytes());
        pair.same("submitheader", json!([header])).unwrap_err();
    });
}
