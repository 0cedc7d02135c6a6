//! What the web UI bears: every limit is one by itself.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use caesure_engine::Command;
use caesure_eventlog::{Filter, text};
use caesure_generate::{coinbase, mine_block};
use caesure_http::{Backend, WebOptions};
use caesure_wire::{Block, OutPoint, Transaction, TxIn, TxOut, Txid};

use crate::client::Client;
use crate::node::{Node, START};
use crate::web::{
    ask, events, get, login, login_to, next, nonce, options, submit, token, with_pages, with_users,
};

#[test]
fn a_connection_that_rests_longest_makes_room_and_streams_do_not() {
    let options = WebOptions { connections: 3, timeout: Duration::from_secs(3600), ..options() };
    with_pages(&Node::new(10), options, |client| {
        let mut stream = events(&client, "/admin/events?of=/admin/", "");
        let connect = || {
            let stream = TcpStream::connect(client.address).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
            BufReader::new(stream)
        };
        let visit = |stream: &mut BufReader<TcpStream>| {
            let request = b"GET /favicon.ico HTTP/1.1\r\nHost: localhost\r\n\r\n";
            stream.get_mut().write_all(request).unwrap();
            let (mut line, mut length) = (String::new(), 0);
            while stream.read_line(&mut line).unwrap() != 0 && line != "\r\n" {
                length = line
                    .strip_prefix("content-length: ")
                    .map_or(length, |it| it.trim().parse().unwrap());
                line.clear();
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).unwrap();
            assert!(body.starts_with(b"<svg"));
        };
        let (mut first, mut second) = (connect(), connect());
        // Both rest: one was answered, the other may be.
        visit(&mut first);
        visit(&mut second);
        let mut third = connect();
        visit(&mut third);
        assert_eq!(first.read(&mut [0]).unwrap(), 0, "it was closed");
        visit(&mut second);
        assert_eq!(next(&mut stream).0, "part");
    });
}

#[test]
fn pages_beyond_the_queue_are_refused_and_no_more_are_made_at_once() {
    let options = WebOptions { threads: 1, queue: 2, ..options() };
    let node = Node::new(10);
    with_pages(&node, options, |client| {
        thread::scope(|scope| {
            let (sender, statuses) = channel();
            let gate = node.gate.lock().unwrap();
            for _ in 0..4 {
                let sender = sender.clone();
                scope.spawn(move || sender.send(get(&client, "/admin/threads").status).unwrap());
            }
            assert_eq!(statuses.recv().unwrap(), 503);
            drop(gate);
            let rest: Vec<u16> = statuses.iter().take(3).collect();
            assert_eq!(rest, [200; 3]);
        });
        assert_eq!(node.most_waiting(), 1);
        assert_eq!(get(&client, "/admin/threads").status, 200);
    });
}

#[test]
fn a_request_is_told_to_the_log_up_to_so_many_characters() {
    let node = Node::new(10);
    let options = WebOptions { logger: node.logger.clone(), ..options() };
    with_pages(&node, options, |client| {
        assert_eq!(get(&client, &format!("/none?{}", "x".repeat(5_000))).status, 404);
        assert_eq!(get(&client, "/metrics").status, 200);
        node.logger.flush();
        let entries = node.logger.tail().last(9, &Filter::default());
        let lines: Vec<String> =
            entries.iter().map(|it| text::items(&it.record.items, true)).collect();
        assert!(lines[0].contains(&format!("\"GET /none?{}\" 404 ", "x".repeat(190))), "{lines:?}");
        assert!(lines[1].contains("\"GET /metrics\" 200 "), "{lines:?}");
    });
}

#[test]
fn who_gives_a_wrong_password_waits() {
    #[expect(clippy::disallowed_methods, reason = "that it is long is what is tested")]
    let now = std::time::Instant::now;
    with_pages(&Node::new(10), with_users(), |client| {
        let headers = login("bob", "q", &nonce(&get(&client, "/")), 1, "/admin/");
        let began = now();
        assert_eq!(ask(&client, "GET", "/admin/", &headers, "").status, 401);
        assert!(Duration::from_millis(250) <= now() - began);
    });
}

#[test]
fn a_subscriber_is_told_few_blocks_at_a_time_and_hears_that_the_list_is_shorter() {
    let node = Node::new(10);
    let hashes = node.grow(150);
    with_pages(&node, options(), |client| {
        let after = format!("/admin/events?after=1-{}", hashes[0]);
        let mut stream = events(&client, &after, "");
        let mut told = Vec::new();
        while told.iter().sum::<usize>() < 149 {
            let mut line = String::new();
            stream.read_line(&mut line).unwrap();
            let mut chunk = vec![0; usize::from_str_radix(line.trim(), 16).unwrap() + 2];
            stream.read_exact(&mut chunk).unwrap();
            told.push(String::from_utf8(chunk).unwrap().matches("event: block\n").count());
        }
        assert_eq!(told, [64, 64, 21]);
        // It was told of blocks that there are no more: it begins anew, and hears which it lost.
        node.forget(2);
        let mut rest = String::new();
        stream.read_to_string(&mut rest).unwrap();
        assert!(!rest.contains("event: block"), "{rest}");
        let last = format!("Last-Event-ID: 150-{}\r\n", hashes[149]);
        let (name, _, data) = next(&mut events(&client, "/admin/events", &last));
        assert_eq!((&*name, &*data), ("lost", "{\"first_missing\":151,\"next\":149}"));
    });
}

#[test]
#[cfg(target_os = "linux")]
fn a_subscriber_that_takes_nothing_leaves_its_place_to_another() {
    let node = Node::new(10);
    // More than the system takes for one that reads nothing.
    let hashes = node.grow(1_500);
    let options = WebOptions { streams: 1, patience: Duration::from_millis(300), ..options() };
    with_pages(&node, options, |client| {
        let path = format!("/admin/events?after=1-{}", hashes[0]);
        let ask = || {
            let mut stream = TcpStream::connect(client.address).unwrap();
            write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
            stream
        };
        let status = || {
            let mut status = [0; 12];
            ask().read_exact(&mut status).unwrap();
            String::from_utf8(status.to_vec()).unwrap()
        };
        let deaf = ask();
        assert_eq!(status(), "HTTP/1.1 503");
        let waited = (0..1_000).find(|_| {
            thread::sleep(Duration::from_millis(50));
            status() == "HTTP/1.1 200"
        });
        assert!(waited.is_some(), "it keeps its place");
        drop(deaf);
    });
}

#[test]
fn pages_that_are_kept_up_to_date_are_each_their_own() {
    with_pages(&Node::new(10), options(), |client| {
        let mut streams = ["status", "connections"]
            .map(|page| events(&client, &format!("/admin/events?of=/admin/{page}"), ""));
        let [status, connections] = streams.each_mut().map(|stream| next(stream).2);
        assert!(status.contains("Height <b>0</b>") && !connections.contains("Height <b>0</b>"));
        assert!(connections.contains("<b>0</b> outbound, <b>0</b> inbound"), "{connections}");
    });
}

/// What was said in a prompt's page, and the number of its session.
fn talk(page: &str) -> (&str, &str) {
    let (_, rest) = page.split_once("id=\"said\"").expect("something was said");
    let said = rest.split_once('>').unwrap().1.split_once("</pre>").unwrap().0;
    let (_, rest) = page.split_once("name=\"session\" value=\"").unwrap();
    (said, rest.split_once('"').unwrap().0)
}

#[test]
fn sessions_in_the_page_are_few_and_what_they_show_is_bounded() {
    let node = Node::new(10);
    with_pages(&node, options(), |client| {
        let run = |fields: &str| submit(&client, "/admin/prompt", "", fields);
        let sessions: Vec<String> =
            (0..9).map(|_| talk(&run("text=a+%3D+7").body).1.to_owned()).collect();
        assert_eq!(run(&format!("session={}&text=a", sessions[0])).status, 404);
        let page = run(&format!("session={}&text=a", sessions[1])).body;
        assert!(talk(&page).0.ends_with("&gt;&gt;&gt; a\n7\n"));
        let long = "text=x+%3D+%22%22%3B+x.pad(60000,+%22y%22)%3B+x";
        let page = run(long).body;
        let page = run(&format!("session={}&{long}", talk(&page).1)).body;
        assert_eq!(talk(&page).0.replace("&gt;", ">").replace("&quot;", "\"").len(), 64 << 10);
        let page = run("text=loop+%7B+print(1)+%7D").body;
        assert!(page.contains(": more than 65536 bytes printed\n"));
    });
}

#[test]
fn a_session_begins_in_the_world_that_its_page_names() {
    let node = Node::new(10);
    node.grow(5);
    with_pages(&node, options(), |client| {
        let path = "/admin/prompt?at=tip-2";
        let page = submit(&client, path, "", "text=world().height").body;
        let (said, session) = talk(&page);
        assert!(said.ends_with("\n3\n"), "{said}");
        assert!(page.contains("World at height <b>3</b>"), "{page}");
        // From then on the session says which.
        let form = format!("session={session}&text=at();+world().height");
        let page = submit(&client, path, "", &form).body;
        assert!(talk(&page).0.ends_with("\n5\n"), "{page}");
        let form = format!("session={session}&text=world().height");
        let page = submit(&client, path, "", &form).body;
        assert!(talk(&page).0.ends_with("\n5\n"), "{page}");
    });
}

#[test]
fn a_session_that_rests_too_long_is_forgotten() {
    let rests = |rest: Duration| {
        let mut second = None;
        with_pages(&Node::new(10), WebOptions { rest, ..options() }, |client| {
            let page = submit(&client, "/admin/prompt", "", "text=a+%3D+7").body;
            let form = format!("session={}&text=a", talk(&page).1);
            second = Some(submit(&client, "/admin/prompt", "", &form));
        });
        second.unwrap()
    };
    let kept = rests(options().rest);
    assert!(kept.status == 200 && kept.body.contains("A session that rests for 30 minutes"));
    let over = rests(Duration::ZERO);
    assert!(over.status == 404 && over.body.contains("has rested too long"), "{}", over.body);
}

#[test]
fn a_line_that_runs_is_not_waited_for() {
    let node = Node::new(10);
    with_pages(&node, options(), |client| {
        let page = submit(&client, "/admin/prompt", "", "text=1").body;
        let session = talk(&page).1.to_owned();
        let form = format!("token={}&session={session}&text=", token(&page));
        let run = |line: &str| ask(&client, "POST", "/admin/prompt", "", &format!("{form}{line}"));
        thread::scope(|scope| {
            let gate = node.gate.lock().unwrap();
            // Either may come while the other's line runs, and is refused then.
            let until = |line: &str, status: u16| loop {
                let answer = run(line);
                if answer.status == status {
                    break answer;
                }
            };
            let busy = scope.spawn(move || until("block(0).txs.len()", 200));
            let refused = until("2", 400);
            assert!(refused.body.contains("still runs"), "{}", refused.body);
            drop(gate);
            assert!(busy.join().unwrap().body.contains("block(0).txs.len()\n1\n"));
        });
    });
}

#[test]
fn a_session_is_of_its_user() {
    with_pages(&Node::new(10), with_users(), |client| {
        let path = "/admin/prompt";
        let run = |user: [&str; 2], fields: &str| {
            let fresh = || nonce(&get(&client, "/"));
            let page = ask(&client, "GET", path, &login(user[0], user[1], &fresh(), 1, path), "");
            let form = format!("token={}&{fields}", token(&page.body));
            ask(&client, "POST", path, &login_to("POST", user, &fresh(), 1, path), &form)
        };
        let page = run(["bob", "p"], "text=a+%3D+7").body;
        let form = format!("session={}&text=a", talk(&page).1);
        assert_eq!(run(["anna", "secret: 1"], &form).status, 404);
        assert!(talk(&run(["bob", "p"], &form).body).0.ends_with("a\n7\n"));
    });
}

#[test]
fn the_log_and_the_tips_are_shown_as_far_as_they_fit_a_page() {
    let node = Node::new(100);
    for _ in 0..13 {
        node.grow(1);
        node.fork(2);
    }
    for number in 0..250 {
        node.logger.log(caesure_eventlog::Event::LedgerCut { size: number });
    }
    node.logger.flush();
    with_pages(&node, options(), |client| {
        let log = get(&client, "/admin/log").body;
        assert_eq!(log.matches("<td class=\"mono break\">").count(), 200);
        assert!(log.contains("cut 249<") && !log.contains("cut 49<"), "{log}");
        let status = get(&client, "/admin/").body;
        assert_eq!(status.matches(">Merkle root</th>").count(), 12);
    });
}

/// What lies between the first of two texts and the second behind it.
fn between<'a>(page: &'a str, begin: &str, end: &str) -> &'a str {
    page.split_once(begin).expect(begin).1.split_once(end).expect(end).0
}

/// A node with a block of many transactions, of which one has many inputs, and the coins that they
/// spend; the hash of the block that made those and of this one, and their transactions.
fn crowded() -> (Arc<Node>, [(String, Vec<Txid>); 2]) {
    let node = Node::new(200);
    let mine = |txs: &[Vec<u8>], outputs: Vec<TxOut>| {
        let info = *node.worlds().tip().info();
        let time = u32::try_from(START).unwrap() - 10_000 + info.height + 1;
        let bytes = mine_block(info.hash, time, coinbase(info.height + 1, 0, outputs), txs);
        let block = Block::parse(bytes.clone()).unwrap();
        node.command(Command::SubmitBlock(Arc::new(bytes))).unwrap();
        (block.header().hash().to_string(), block.txs().map(|tx| tx.txid()).collect::<Vec<_>>())
    };
    let lock = |script_pubkey: Vec<u8>| TxOut { value: 1, script_pubkey };
    let mut outputs = vec![lock(vec![0x51]); 180];
    // A witness program of a later version, and many conditions.
    outputs[120] = lock(vec![0x52, 2, 1, 1]);
    outputs[121] = lock([[0x51, 0x63].repeat(45), vec![0x68; 45], vec![0x51]].concat());
    let (first, made) = mine(&[], outputs);
    node.grow(100);
    let spend =
        |places: std::ops::Range<u32>, script_sig: &[u8], witness: &[Vec<u8>], lock: TxOut| {
            let input = |vout| TxIn {
                prevout: OutPoint { txid: made[0], vout },
                script_sig: script_sig.to_vec(),
                sequence: u32::MAX,
                witness: witness.to_vec(),
            };
            let inputs = places.map(input).collect();
            Transaction { version: 2, inputs, outputs: vec![lock], lock_time: 0 }.encode()
        };
    let mut txs = vec![
        spend(0..120, &[], &[], lock(vec![0x51; 1_500])),
        spend(120..121, &[], &vec![vec![1; 9]; 25], lock(vec![0x51])),
        spend(121..122, &[0x51; 50], &[], lock(vec![0x51])),
    ];
    txs.extend((122..180).map(|at| spend(at..at + 1, &[], &[], lock(vec![0x51]))));
    let second = mine(&txs, vec![lock(vec![0x51])]);
    (node, [(first, made), second])
}

#[test]
fn long_tables_are_shown_in_parts_and_long_items_are_cut() {
    let (node, [(first, made), (hash, txids)]) = crowded();
    with_pages(&node, options(), |client: Client| {
        let rows = |path: &str, caption: &str| {
            let page = get(&client, path);
            assert_eq!(page.status, 200, "{path}: {}", page.body);
            let table = between(&page.body, caption, "</table>");
            table.split_once("<tbody>").unwrap().1.matches("<tr").count()
        };
        let block = format!("/admin/block/{hash}");
        for (path, caption, parts) in [
            (&*block, "Transactions with what", [50, 12]),
            ("/admin/ledger", "Every world that is held", [100, 3]),
            ("/admin/diff?from=1&to=tip", "Coins that go", [100, 0]),
        ] {
            let and = if path.contains('?') { '&' } else { '?' };
            assert_eq!(rows(path, caption), parts[0], "{path}");
            let second = rows(&format!("{path}{and}part=2"), caption);
            assert_eq!(second, if parts[1] == 0 { 100 } else { parts[1] }, "{path}");
        }
        let big = format!("/admin/tx/{hash}/{}", txids[1]);
        assert_eq!(rows(&big, "Inputs, and"), 100);
        assert_eq!(rows(&format!("{big}?inputs=2"), "Inputs, and"), 20);
        let many = format!("/admin/tx/{first}/{}", made[0]);
        assert_eq!(rows(&many, "Outputs, and"), 100);
        assert_eq!(rows(&format!("{many}?outputs=2"), "Outputs, and"), 80);
        let page = get(&client, &big).body;
        assert_eq!(between(&page, "<h2>Bytes</h2><p class=\"mono break\">", "<").len(), 2_000 + 3);
        assert!(page.matches("OP_1").count() < 1_500);
        let page = get(&client, &format!("/admin/block/{first}")).body;
        assert_eq!(page.matches("<li>0.00000001").count(), 10);
        let page = get(&client, &block).body;
        assert!(page.contains("and 110 more"));
        let paths = format!("/admin/block/{first}");
        assert!(get(&client, &paths).body.contains("and 170 more"));
        let page = get(&client, &format!("/admin/tx/{hash}/{}", txids[2])).body;
        assert_eq!(between(&page, "Inputs, and", "</table>").matches(&"01".repeat(9)).count(), 20);
        assert!(page.contains("and 5 more witness items"));
        let page = get(&client, &format!("/admin/debug/{hash}/{}/0?step=end", txids[3])).body;
        let stack = between(&page, "Stack, 51 items", "</table>");
        assert_eq!(stack.matches("<td class=\"num\">").count(), 40);
        let path = format!("/admin/debug/{hash}/{}/0?step=140", txids[3]);
        let page = get(&client, &path).body;
        assert!(
            page.contains(&format!(">{}, …<", ["taken"; 40].join(", "))),
            "{}",
            between(&page, "Conditionals", "</tr>")
        );
    });
}
