use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use caesure_http::ServeOptions;
use proptest::prelude::*;
use serde_json::json;

use crate::client::with_server;
use crate::node::Node;

#[test]
fn deep_or_wide_json_is_answered_and_held_within_limits() {
    with_server(&Node::new(10), ServeOptions::default(), |client| {
        let deep = "[".repeat(100_000);
        let response = client.post(&deep);
        assert_eq!((response.status, &response.json()["error"]["code"]), (500, &json!(-32700)));

        let wide = format!("[{}1]", "1,".repeat(300_000));
        let response = client.post(&wide);
        assert_eq!((response.status, &response.json()["error"]["code"]), (500, &json!(-37)));

        let calls = vec![r#"{"method":"getblockcount"}"#; 50_000].join(",");
        let response = client.post(format!("[{calls}]"));
        assert_eq!(response.json().as_array().unwrap().len(), 50_000);
    });
}

#[test]
fn a_body_over_the_limit_is_refused() {
    let options = ServeOptions { body: 1_000, ..ServeOptions::default() };
    with_server(&Node::new(10), options, |client| {
        assert_eq!(client.post(vec![b' '; 1_001]).status, 413);
        assert_eq!(client.post(vec![b' '; 1_000]).status, 500);
    });
}

#[test]
fn calls_beyond_the_queue_are_refused_and_waiting_ones_do_not_stop_the_rest() {
    let options = ServeOptions { threads: 2, queue: 1, ..ServeOptions::default() };
    let node = Node::new(10);
    with_server(&node, options, |client| {
        let wait = br#"{"method":"waitforblockheight","params":[1],"id":1}"#;
        std::thread::scope(|scope| {
            let (sender, statuses) = std::sync::mpsc::channel();
            for _ in 0..4 {
                let sender = sender.clone();
                scope.spawn(move || {
                    let response = client.send("POST", "/", Some("u:p"), wait);
                    sender.send((response.status, response.body)).unwrap();
                });
            }
            // Two wait for a block and one for its turn; the fourth is told at once.
            let refused = (503, "Work queue depth exceeded".to_owned());
            assert_eq!(statuses.recv().unwrap(), refused);
            caesure_http::Backend::stop(&*node);
            for _ in 0..3 {
                assert_eq!(statuses.recv().unwrap().0, 200);
            }
        });
        let response = client.post(r#"{"method":"getblockcount"}"#);
        assert_eq!(response.status, 200);
    });
}

#[test]
fn a_slow_client_is_given_up() {
    let options = ServeOptions {
        timeout: Duration::from_millis(300),
        connections: 1,
        ..ServeOptions::default()
    };
    with_server(&Node::new(10), options, |client| {
        for start in [
            "",
            "POST / HT",
            "POST / HTTP/1.1\r\nAuthorization: Basic dTpw\r\nContent-Length: 9\r\n\r\n{",
        ] {
            let mut stream = TcpStream::connect(client.address).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            stream.write_all(start.as_bytes()).unwrap();
            let mut answer = Vec::new();
            // Read to the end: it was closed.
            stream.read_to_end(&mut answer).unwrap();
            assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 408"), "{start}");
        }
        // The one connection that there may be is free again.
        assert_eq!(client.post(r#"{"method":"getblockcount"}"#).status, 200);
    });
}

#[test]
#[cfg(target_os = "linux")]
fn who_takes_nothing_of_an_answer_is_let_go() {
    let options = ServeOptions {
        timeout: Duration::from_millis(300),
        connections: 1,
        ..ServeOptions::default()
    };
    with_server(&Node::new(10), options, |client| {
        // More than the system takes for one that reads nothing.
        let calls = vec![r#"{"method":"getblockchaininfo"}"#; 40_000].join(",");
        let mut deaf = TcpStream::connect(client.address).unwrap();
        deaf.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let length = calls.len() + 2;
        write!(
            deaf,
            "POST / HTTP/1.1\r\nAuthorization: Basic dTpw\r\nContent-Length: {length}\r\n\r\n[{calls}]"
        )
        .unwrap();
        // There may be one connection: this one is taken when that is over.
        assert_eq!(client.post(r#"{"method":"getblockcount"}"#).status, 200);
        let mut answer = Vec::new();
        // It may be reset.
        let _ = deaf.read_to_end(&mut answer);
        assert!(answer.starts_with(b"HTTP/1.1 200") && answer.last() != Some(&b'\n'));
    });
}

#[test]
fn any_bytes_are_answered_or_the_connection_is_closed() {
    with_server(&Node::new(10), ServeOptions::default(), |client| {
        let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(300));
        let pieces = prop::sample::select(vec![
            "POST / HTTP/1.1\r\n",
            "Authorization: Basic dTpw\r\n",
            "Content-Length: 5\r\n",
            "Transfer-Encoding: chunked\r\n",
            "\r\n",
            "{\"method\":",
            "[[[[",
            "5\r\n",
            "\u{0}\u{ff}",
        ]);
        let bytes = prop::collection::vec(
            prop_oneof![
                pieces.prop_map(|piece| piece.as_bytes().to_vec()),
                prop::collection::vec(any::<u8>(), 0..20),
            ],
            0..8,
        );
        runner
            .run(&bytes, |pieces| {
                let mut stream = TcpStream::connect(client.address).unwrap();
                let _ = stream.write_all(&pieces.concat());
                Ok(())
            })
            .unwrap();
        let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(300));
        runner
            .run(&prop::collection::vec(any::<u8>(), 0..100), |body| {
                let response = client.post(&body);
                prop_assert!([200, 204, 400, 500].contains(&response.status));
                Ok(())
            })
            .unwrap();
        assert_eq!(client.post(r#"{"method":"getblockcount"}"#).status, 200);
    });
}
