//! Reads at a block that is named, and batches that read one block throughout.

use caesure_http::ServeOptions;
use serde_json::{Value, json};

use crate::client::{Client, with_server};
use crate::node::Node;

const ADDRESS: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";

fn grow(client: &Client, count: u32) -> Vec<Value> {
    let made = client.call("generatetoaddress", json!([count, ADDRESS])).unwrap();
    made.as_array().unwrap().clone()
}

#[test]
fn a_read_at_a_block_answers_as_if_it_were_the_tip() {
    with_server(&Node::new(10), ServeOptions::default(), |client| {
        let hashes = grow(&client, 5);
        let hash_at = |height: usize| hashes[height - 1].as_str().unwrap();
        let tx = client.call("getblock", json!([hash_at(4)])).unwrap()["tx"][0].clone();
        for at in [json!(hash_at(3)), json!(3), json!("3"), json!("tip-2")] {
            let read = |method: &str, mut params: Value| {
                params["at"] = at.clone();
                client.call(method, params)
            };
            assert_eq!(read("getblockcount", json!({})), Ok(json!(3)));
            assert_eq!(read("getbestblockhash", json!({})), Ok(json!(hash_at(3))));
            let height = json!({ "height": 4 });
            assert_eq!(read("getblockhash", height).unwrap_err()["code"], json!(-8));
            let later = read("getblockheader", json!({ "blockhash": hash_at(4) })).unwrap();
            assert_eq!(later["confirmations"], json!(-1));
            let own = read("getblockheader", json!({ "blockhash": hash_at(3) })).unwrap();
            assert_eq!((&own["confirmations"], own.get("nextblockhash")), (&json!(1), None));
            let coin = read("gettxout", json!({ "txid": tx, "n": 0 }));
            assert_eq!(coin, Ok(Value::Null));
            let set = read("gettxoutsetinfo", json!({ "hash_type": "none" })).unwrap();
            assert_eq!((&set["height"], &set["txouts"]), (&json!(3), &json!(3)));
        }
        let coin = client.call("gettxout", json!([tx, 0])).unwrap();
        assert_eq!(coin["confirmations"], json!(2));
        for at in [json!("tip-6"), json!("tip+1"), json!(6), json!(-1), json!("x"), json!(true)] {
            let error = client.call("getblockcount", json!({ "at": at })).unwrap_err();
            assert!([json!(-8), json!(-3)].contains(&error["code"]), "{at}: {error}");
        }
    });
}

#[test]
fn a_block_that_is_no_longer_held_is_refused_naming_the_oldest_that_is() {
    with_server(&Node::new(3), ServeOptions::default(), |client| {
        let hashes = grow(&client, 8);
        let error = client.call("getblockcount", json!({ "at": 2 })).unwrap_err();
        let text = error["message"].as_str().unwrap();
        let oldest = hashes.iter().position(|it| text.contains(it.as_str().unwrap()));
        assert_eq!(error["code"], json!(-1));
        assert!(text.contains(hashes[1].as_str().unwrap()) && text.contains("height 5"), "{text}");
        assert_eq!(oldest, Some(1));
        assert!(text.contains(hashes[4].as_str().unwrap()));
        assert_eq!(client.call("getblockcount", json!({ "at": 5 })), Ok(json!(5)));
        // Headers and blocks can be read all the same, and what they spent.
        let old = client.call("getblock", json!([hashes[0], 3])).unwrap();
        assert_eq!(old["confirmations"], json!(8));
    });
}

#[test]
fn a_batch_reads_one_block_until_it_changes_the_chain_itself() {
    let node = Node::new(10);
    with_server(&node, ServeOptions::default(), |client| {
        grow(&client, 2);
        let count = json!({ "method": "getblockcount" });
        let old = json!({ "method": "getblockcount", "params": { "at": 1 } });
        let make = json!({ "method": "generatetoaddress", "params": [1, ADDRESS] });
        let batch = json!([count, old, count, make, count, count]);
        let response = client.post(batch.to_string());
        let replies = response.json();
        let results = |index: usize| replies[index]["result"].clone();
        assert_eq!([0, 1, 2, 4, 5].map(results), [2, 1, 2, 3, 3].map(|it| json!(it)));
        let tip = client.call("getbestblockhash", json!([])).unwrap();
        let view = format!("3 {}", tip.as_str().unwrap());
        assert_eq!(response.header("x-caesure-view"), Some(&*view));
        let response = client.post(json!({ "method": "uptime" }).to_string());
        assert_eq!(response.header("x-caesure-view"), None);
    });
}

#[test]
fn what_comes_in_during_a_batch_does_not_show_in_it() {
    let node = Node::new(10);
    with_server(&node, ServeOptions::default(), |client| {
        grow(&client, 1);
        // The second call waits until a block has come, without letting the pin go: the ledger's
        // set is counted, again and again.
        let count = json!({ "method": "getblockcount" });
        let set = json!({ "method": "gettxoutsetinfo", "params": ["none"] });
        let mut calls = vec![count.clone()];
        calls.extend(std::iter::repeat_n(set, 2_000));
        calls.push(count);
        std::thread::scope(|scope| {
            let asked = scope.spawn(|| client.post(Value::from(calls).to_string()).json());
            let made = scope.spawn(|| grow(&client, 3));
            let replies = asked.join().unwrap();
            made.join().unwrap();
            let replies = replies.as_array().unwrap();
            let first = &replies[0]["result"];
            assert_eq!(&replies.last().unwrap()["result"], first);
            assert!(replies[1..=2_000].iter().all(|it| it["result"]["height"] == *first));
        });
    });
}
