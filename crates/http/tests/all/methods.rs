use caesure_http::{Conversion, ServeOptions, conversion};
use serde_json::{Value, json};

use crate::client::with_server;
use crate::node::{Node, START};

const ADDRESS: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";

#[test]
fn help_lists_all_methods_and_tells_of_each() {
    with_server(&Node::new(10), ServeOptions::default(), |client| {
        let list = client.call("help", json!([])).unwrap();
        let list = list.as_str().unwrap();
        assert!(list.starts_with(
            "== Blockchain ==\ngetbestblockhash\ngetblock \"blockhash\" ( verbosity )\n"
        ));
        assert!(list.contains(
            "\n\n== Control ==\ngetcaesureinfo\ngetrpcinfo\nhelp ( \"command\" )\nstop\nuptime\n\n"
        ));
        assert!(list.contains("\ngettxoutproof [\"txid\",...] ( \"blockhash\" )\n"));
        assert!(!list.contains("generatetoaddress"));
        let names = list.lines().filter(|line| !line.is_empty() && !line.starts_with('='));
        for line in names.chain(["setmocktime timestamp"]) {
            let name = line.split(' ').next().unwrap();
            let help = client.call("help", json!([name])).unwrap();
            let mut lines = help.as_str().unwrap().lines();
            assert_eq!(lines.next(), Some(line));
            assert!(10 < lines.nth(1).unwrap().len(), "{help}");
        }
        let unknown = client.call("help", json!(["x"]));
        assert_eq!(unknown, Ok(json!("help: unknown command: x")));
        let wrong = client.call("getblockhash", json!([])).unwrap_err();
        assert_eq!(wrong["code"], json!(-1));
        assert!(wrong["message"].as_str().unwrap().starts_with("getblockhash height\n\n"));
    });
}

#[test]
fn arguments_of_a_command_line_are_read_by_the_same_table() {
    assert_eq!(conversion("getblock", Some(0), None), Conversion::Text);
    assert_eq!(conversion("getblock", Some(1), None), Conversion::Json);
    assert_eq!(conversion("getblock", None, Some("verbose")), Conversion::Json);
    assert_eq!(conversion("gettxoutsetinfo", Some(1), None), Conversion::JsonOrText);
    assert_eq!(conversion("gettxoutproof", Some(0), None), Conversion::Json);
    assert_eq!(conversion("getblock", Some(2), None), Conversion::Text);
    assert_eq!(conversion("nothing", Some(0), None), Conversion::Text);
}

#[test]
fn waits_end_with_what_they_wait_for_or_their_time() {
    let node = Node::new(10);
    with_server(&node, ServeOptions::default(), |client| {
        let made = |count: u32| client.call("generatetoaddress", json!([count, ADDRESS])).unwrap();
        let tip = |height: u32| {
            let hash = client.call("getblockhash", json!([height])).unwrap();
            json!({ "hash": hash, "height": height })
        };
        assert_eq!(client.call("waitfornewblock", json!([20])), Ok(tip(0)));
        assert_eq!(client.call("waitforblockheight", json!([3, 20])), Ok(tip(0)));
        std::thread::scope(|scope| {
            let height = scope.spawn(|| client.call("waitforblockheight", json!([3])));
            made(4);
            let reached = height.join().unwrap().unwrap();
            assert!(3 <= reached["height"].as_u64().unwrap());
        });
        let genesis = client.call("getblockhash", json!([0])).unwrap();
        assert_eq!(client.call("waitfornewblock", json!([0, genesis])), Ok(tip(4)));
        let hash = &tip(4)["hash"];
        assert_eq!(client.call("waitforblock", json!([hash])), Ok(tip(4)));
        assert_eq!(client.call("waitforblock", json!([genesis, 20])), Ok(tip(4)));
        let error = client.call("waitfornewblock", json!([-1])).unwrap_err();
        assert_eq!(error, json!({ "code": -1, "message": "Negative timeout" }));
    });
}

#[test]
fn the_clock_is_set_and_runs_again() {
    with_server(&Node::new(10), ServeOptions::default(), |client| {
        let time = START + 5_000;
        assert_eq!(client.call("setmocktime", json!([time])), Ok(Value::Null));
        let hash = client.call("generatetoaddress", json!([1, ADDRESS])).unwrap()[0].clone();
        let header = client.call("getblockheader", json!([hash])).unwrap();
        assert_eq!(header["time"], json!(time));
        let before = client.call("uptime", json!([])).unwrap().as_u64().unwrap();
        assert_eq!(client.call("mockscheduler", json!([3_600])), Ok(Value::Null));
        let after = client.call("uptime", json!([])).unwrap().as_u64().unwrap();
        assert!(before + 3_600 <= after);
        for (method, wrong) in
            [("setmocktime", -1_i64), ("setmocktime", 1 << 32), ("mockscheduler", 0)]
        {
            assert!(client.call(method, json!([wrong])).is_err());
        }
    });
}

#[test]
fn blocks_are_made_marked_and_stopped() {
    let node = Node::new(10);
    with_server(&node, ServeOptions::default(), |client| {
        let raw = client.call("generatetodescriptor", json!([2, "raw(51)#8lvh9jxk"])).unwrap();
        let spent = client.call("getblock", json!([raw[0], 2])).unwrap()["tx"][0].clone();
        assert_eq!(spent["vout"][0]["scriptPubKey"]["hex"], json!("51"));
        assert_eq!(spent["vout"][0]["value"].to_string(), "50.00000000");
        let held = client.call("generateblock", json!([ADDRESS, [], false])).unwrap();
        let again = client.call("submitblock", json!([held["hex"]]));
        assert_eq!(again, Ok(Value::Null));
        assert_eq!(client.call("submitblock", json!([held["hex"]])), Ok(json!("duplicate")));
        assert_eq!(client.call("getblockcount", json!([])), Ok(json!(3)));
        assert_eq!(client.call("getbestblockhash", json!([])).unwrap(), held["hash"]);
        for method in ["invalidateblock", "reconsiderblock", "preciousblock"] {
            assert_eq!(client.call(method, json!([held["hash"]])), Ok(Value::Null), "{method}");
            let unknown = client.call(method, json!(["00".repeat(32)])).unwrap_err();
            assert_eq!(unknown, json!({ "code": -5, "message": "Block not found" }));
        }
        let wrong = [
            ("generatetoaddress", json!([1, "x"]), -5),
            ("generatetodescriptor", json!([1, "wpkh(x)"]), -5),
            ("generateblock", json!([ADDRESS, ["00".repeat(32)]]), -5),
            ("generateblock", json!([ADDRESS, ["00"]]), -22),
            ("submitblock", json!(["00"]), -22),
            ("submitheader", json!(["00"]), -22),
            ("submitheader", json!(["00".repeat(80)]), -25),
        ];
        for (method, params, code) in wrong {
            let error = client.call(method, params).unwrap_err();
            assert_eq!(error["code"], json!(code), "{method} {error}");
        }
        assert_eq!(client.call("stop", json!([])), Ok(json!("Caesure stopping")));
        assert!(caesure_http::Backend::is_stopping(&*node));
    });
}

#[test]
fn bans_nodes_and_addresses_are_kept_by_the_engine() {
    with_server(&Node::new(10), ServeOptions::default(), |client| {
        let call = |method: &str, params: Value| client.call(method, params);
        assert_eq!(call("setban", json!(["10.1.2.3/24", "add"])), Ok(Value::Null));
        let bans = call("listbanned", json!([])).unwrap();
        assert_eq!(bans[0]["address"], json!("10.1.2.0/24"));
        assert_eq!(bans[0]["ban_duration"], json!(86_400));
        let again = call("setban", json!(["10.1.2.0/24", "add"])).unwrap_err();
        assert_eq!(again["code"], json!(-23));
        let inside = call("setban", json!(["10.1.2.9", "add"])).unwrap_err();
        assert_eq!(inside["code"], json!(-23));
        let other = call("setban", json!(["10.1.2.9", "remove"])).unwrap_err();
        assert_eq!(other["code"], json!(-30));
        assert_eq!(call("setban", json!(["x", "add"])).unwrap_err()["code"], json!(-30));
        let past = call("setban", json!(["10.0.0.1", "add", 1, true])).unwrap_err();
        assert_eq!(past["code"], json!(-8));
        assert_eq!(call("clearbanned", json!([])), Ok(Value::Null));
        assert_eq!(call("listbanned", json!([])), Ok(json!([])));

        assert_eq!(call("addnode", json!(["127.0.0.1:1", "add"])), Ok(Value::Null));
        let again = call("addnode", json!(["127.0.0.1:1", "add"])).unwrap_err();
        assert_eq!(again["code"], json!(-23));
        let added = call("getaddednodeinfo", json!([])).unwrap();
        assert_eq!(added[0]["addednode"], json!("127.0.0.1:1"));
        assert_eq!(call("addnode", json!(["127.0.0.1:1", "remove"])), Ok(Value::Null));
        let gone = call("getaddednodeinfo", json!(["127.0.0.1:1"])).unwrap_err();
        assert_eq!(gone["code"], json!(-24));
        assert_eq!(call("addnode", json!(["127.0.0.1", "x"])).unwrap_err()["code"], json!(-1));

        let added = call("addpeeraddress", json!(["1.2.3.4", 8333]));
        assert_eq!(added, Ok(json!({ "success": true })));
        let found = call("getnodeaddresses", json!([0])).unwrap();
        assert_eq!(
            (&found[0]["address"], &found[0]["network"]),
            (&json!("1.2.3.4"), &json!("ipv4"))
        );
        assert_eq!(call("getaddrmaninfo", json!([])).unwrap()["ipv4"]["total"], json!(1));
        assert_eq!(call("setnetworkactive", json!([false])), Ok(json!(false)));
        assert_eq!(call("getnetworkinfo", json!([])).unwrap()["networkactive"], json!(false));
        assert_eq!(call("getpeerinfo", json!([])), Ok(json!([])));
        assert_eq!(call("disconnectnode", json!(["", 7])).unwrap_err()["code"], json!(-29));
        let sent = call("sendmsgtopeer", json!([7, "ping", "00"])).unwrap_err();
        assert_eq!(sent["code"], json!(-1));
    });
}
