//! A client that sends what it is told to.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use caesure_http::{ServeOptions, Stop, User, serve};
use serde_json::{Value, json};

use crate::node::Node;

/// An answer.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(it, _)| it == name).map(|(_, value)| &**value)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// Where to ask, and who asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client {
    pub(crate) address: SocketAddr,
}

impl Client {
    /// Sends bytes as they are and reads an answer, if one comes.
    pub(crate) fn raw(&self, bytes: &[u8]) -> Option<Response> {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        // The server may close before all is written.
        let _ = stream.write_all(bytes);
        read(&mut BufReader::new(stream))
    }

    /// Sends a body to a path with an `Authorization` header, if one is given.
    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        login: Option<&str>,
        body: &[u8],
    ) -> Response {
        let login = login.map_or_else(String::new, |login| {
            let login = base64::engine::general_purpose::STANDARD.encode(login);
            format!("Authorization: Basic {login}\r\n")
        });
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{login}Content-Length: \
             {length}\r\n\r\n"
        );
        self.raw(&[head.as_bytes(), body].concat()).expect("an answer")
    }

    pub(crate) fn post(&self, body: impl AsRef<[u8]>) -> Response {
        self.send("POST", "/", Some("u:p"), body.as_ref())
    }

    /// Calls a method and returns the result, or the error.
    pub(crate) fn call(&self, method: &str, params: Value) -> Result<Value, Value> {
        let request = json!({ "method": method, "params": params, "id": 1 });
        let mut reply = self.post(request.to_string()).json();
        match reply["error"].take() {
            Value::Null => Ok(reply["result"].take()),
            error => Err(error),
        }
    }
}

fn read(stream: &mut impl BufRead) -> Option<Response> {
    let mut line = String::new();
    stream.read_line(&mut line).ok()?;
    let status = line.split(' ').nth(1)?.parse().ok()?;
    let mut headers = Vec::new();
    loop {
        line.clear();
        stream.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length = length.map_or(0, |(_, value)| value.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some(Response { status, headers, body: String::from_utf8(body).unwrap() })
}

/// Runs a server over a node while `test` asks it.
pub(crate) fn with_server(node: &Arc<Node>, options: ServeOptions, test: impl FnOnce(Client)) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut options = options;
    options.users.push(User::new("u", "p", [1; 16]));
    let stop = Stop::new();
    /// Ends the server also when the test fails.
    struct Guard<'a>(&'a Stop, &'a Node);
    impl Drop for Guard<'_> {
        fn drop(&mut self) {
            caesure_http::Backend::stop(self.1);
            self.0.stop();
        }
    }
    thread::scope(|scope| {
        let server =
            scope.spawn(|| serve(vec![listener], Arc::clone(node) as Arc<_>, options, &stop));
        let guard = Guard(&stop, node);
        test(Client { address });
        drop(guard);
        server.join().unwrap().unwrap();
    });
}
