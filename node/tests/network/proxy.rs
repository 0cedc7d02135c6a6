//! `--proxy`: everything is dialled through a SOCKS5 proxy.
#![expect(clippy::disallowed_methods, reason = "a proxy serves several at once")]

use std::io::{ErrorKind, Read, copy};
use std::net::Shutdown;
use std::sync::{Arc, Mutex};
use std::thread;

use caesure_wire::{Endpoint, NetAddress};

use super::*;

/// What a client of the proxy asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Asked {
    user: Vec<u8>,
    host: String,
    port: u16,
}

/// A proxy for loopback: whatever it is asked for, it connects to one port.
struct Proxy {
    port: u16,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Proxy {
    /// The first so many connections are refused with a code.
    fn start(target: u16, refused: usize, code: u8) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let list = Arc::clone(&asked);
        thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let code = if number < refused { code } else { 0 };
                let list = Arc::clone(&list);
                thread::spawn(move || serve(stream.unwrap(), target, code, &list));
            }
        });
        Self { port, asked }
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    fn option(&self) -> String {
        format!("--proxy=127.0.0.1:{}", self.port)
    }
}

fn take<const N: usize>(stream: &mut TcpStream) -> [u8; N] {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

/// Bytes behind one that says how many they are.
fn take_short(stream: &mut TcpStream) -> Vec<u8> {
    let [length] = take(stream);
    let mut bytes = vec![0; length.into()];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

/// The proxy's side of RFC 1928 and RFC 1929.
fn serve(mut client: TcpStream, target: u16, code: u8, list: &Mutex<Vec<Asked>>) {
    // The node looks first whether anybody is there.
    if client.peek(&mut [0]).map_or_else(|error| error.kind() != ErrorKind::WouldBlock, |n| n == 0)
    {
        return;
    }
    assert_eq!(take(&mut client), [5]);
    let methods = take_short(&mut client);
    let method = if methods.contains(&2) { 2 } else { 0 };
    client.write_all(&[5, method]).unwrap();
    let mut user = Vec::new();
    if method == 2 {
        assert_eq!(take(&mut client), [1]);
        user = take_short(&mut client);
        take_short(&mut client);
        client.write_all(&[1, 0]).unwrap();
    }
    assert_eq!(take(&mut client), [5, 1, 0, 3], "a connection to a name");
    let host = String::from_utf8(take_short(&mut client)).unwrap();
    let port = u16::from_be_bytes(take(&mut client));
    list.lock().unwrap().push(Asked { user, host, port });
    client.write_all(&[5, code, 0, 1, 127, 0, 0, 1, 0, 9]).unwrap();
    if code != 0 {
        return;
    }
    let server = TcpStream::connect(("127.0.0.1", target)).unwrap();
    let back = (server.try_clone().unwrap(), client.try_clone().unwrap());
    let pass = |(mut from, mut to): (TcpStream, TcpStream)| {
        let _ = copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Both);
    };
    thread::spawn(move || pass(back));
    pass((client, server));
}

#[test]
fn an_onion_is_reached_through_the_proxy_that_looks_it_up() {
    let first = Node::start(&[]);
    let blocks = chain(&genesis(), 1, 30, 1);
    blocks.iter().for_each(|block| assert_eq!(first.submit(block), Value::Null));
    let proxy = Proxy::start(first.port, 0, 0);
    let onion = Endpoint { address: NetAddress::TorV3([7; 32]), port: 18_444 };
    let host = onion.address.to_string();
    assert!(host.ends_with(".onion"));
    let second = Node::start(&[proxy.option(), format!("-c{onion}")]);
    second.wait_tip(&last(&blocks));
    let asked = proxy.asked();
    let [one] = &asked[..] else { panic!("{asked:?}") };
    assert_eq!((&one.host, one.port), (&host, 18_444));
    assert!(!one.user.is_empty());
    let peers = second.get("getpeerinfo", &json!([]));
    assert_eq!(
        (&peers[0]["addr"], &peers[0]["network"]),
        (&json!(onion.to_string()), &"onion".into())
    );
    let networks = second.get("getnetworkinfo", &json!([]))["networks"].clone();
    let onions = networks.as_array().unwrap().iter().find(|it| it["name"] == "onion").unwrap();
    assert_eq!(onions["reachable"], true);
    assert_eq!(onions["proxy"], format!("127.0.0.1:{}", proxy.port));
}

#[test]
fn bitcoind_is_reached_through_the_proxy_and_each_connection_has_a_name_of_its_own() {
    let Some((core, port)) = listening_bitcoind("proxy", &["-maxtipage=1000000000"]) else {
        return;
    };
    let blocks = chain(&genesis(), 1, 40, 1);
    blocks.iter().for_each(|block| assert_eq!(core.submit(block), Value::Null));
    let proxy = Proxy::start(port, 0, 0);
    let dial = format!("-c127.0.0.1:{port}");
    let mut node = Node::start(&[proxy.option(), dial]);
    node.wait_tip(&last(&blocks));
    assert_eq!(node.end("-TERM"), Some(0));
    node.restart(&[]);
    let more = chain(&header(blocks.last().unwrap()), 41, 5, 1);
    more.iter().for_each(|block| assert_eq!(core.submit(block), Value::Null));
    node.wait_tip(&last(&more));
    let asked = proxy.asked();
    let [one, two] = &asked[..] else { panic!("{asked:?}") };
    assert_eq!((&*one.host, one.port), ("127.0.0.1", port));
    assert_ne!(one.user, two.user);
    let connections = core.get("getconnectioncount", &json!([]));
    assert_eq!(connections, 1);
}

#[test]
fn what_the_proxy_refuses_is_said_and_tried_again() {
    let first = Node::start(&[]);
    let blocks = chain(&genesis(), 1, 10, 1);
    blocks.iter().for_each(|block| assert_eq!(first.submit(block), Value::Null));
    let proxy = Proxy::start(first.port, 2, 4);
    let base = TempDir::new().unwrap();
    let (port, rpc) = (free_port(), free_port());
    let args = [proxy.option(), first.dial(), "-v".to_owned()];
    let mut child = Node::spawn(base.path(), port, rpc, &args, Stdio::piped());
    let said = child.stderr.take().unwrap();
    let mut second = Node { base, child, port, rpc, args: args.to_vec() };
    second.wait();
    second.wait_tip(&last(&blocks));
    assert_eq!(proxy.asked().len(), 2);
    assert_eq!(second.end("-TERM"), Some(0));
    let said = std::io::read_to_string(said).unwrap();
    assert!(said.contains("the proxy did not connect: host unreachable"), "{said}");
}
