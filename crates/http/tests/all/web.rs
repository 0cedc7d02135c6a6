//! The web UI: who is let in, what changes the node, what is shown and how, and what it bears.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use caesure_eventlog::Event;
use caesure_hash::sha256;
use caesure_http::{Backend, ServeOptions, Stop, WebOptions, WebUser, serve_web};
use caesure_text::hex;
use proptest::prelude::*;

use crate::client::{Client, Response, with_server};
use crate::node::Node;

const PAGES: [&str; 10] = [
    "status",
    "connections",
    "charts",
    "threads",
    "log",
    "prompt",
    "connect",
    "save",
    "shutdown",
    "",
];

/// Runs the web UI over a node while `test` asks it.
pub(crate) fn with_pages(node: &Arc<Node>, options: WebOptions, test: impl FnOnce(Client)) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let stop = Stop::new();
    struct Guard<'a>(&'a Stop, &'a Node);
    impl Drop for Guard<'_> {
        fn drop(&mut self) {
            self.1.stop();
            self.0.stop();
        }
    }
    thread::scope(|scope| {
        let server =
            scope.spawn(|| serve_web(vec![listener], Arc::clone(node) as Arc<_>, options, &stop));
        let guard = Guard(&stop, node);
        test(Client { address });
        drop(guard);
        server.join().unwrap().unwrap();
    });
}

pub(crate) fn options() -> WebOptions {
    WebOptions::new([7; 32])
}

pub(crate) fn with_users() -> WebOptions {
    let users = vec![WebUser::new("anna", "secret: 1"), WebUser::new("bob", "p")];
    WebOptions { users, ..options() }
}

/// Asks with headers of the test's own.
pub(crate) fn ask(
    client: &Client,
    method: &str,
    path: &str,
    headers: &str,
    body: &str,
) -> Response {
    let host = if headers.contains("Host:") { "" } else { "Host: localhost:1\r\n" };
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\n{host}Connection: close\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
    );
    let response = client.raw(request.as_bytes()).expect("an answer");
    crate::access::check(path, &response.body);
    response
}

pub(crate) fn get(client: &Client, path: &str) -> Response {
    ask(client, "GET", path, "", "")
}

/// Sends a form of a page, with the token that the page has.
pub(crate) fn submit(client: &Client, path: &str, headers: &str, fields: &str) -> Response {
    let token = token(&get(client, path).body);
    ask(client, "POST", path, headers, &format!("token={token}&{fields}"))
}

pub(crate) fn token(page: &str) -> String {
    let (_, rest) = page.split_once("name=\"token\" value=\"").expect("a form");
    rest.split_once('"').unwrap().0.to_owned()
}

fn sha(parts: &[&str]) -> String {
    hex::encode(&sha256(parts.join(":").as_bytes()))
}

/// The nonce of a refusal.
pub(crate) fn nonce(response: &Response) -> String {
    let challenge = response.header("www-authenticate").unwrap();
    assert!(challenge.starts_with("Digest realm=\"caesure\", qop=\"auth\", algorithm=SHA-256"));
    challenge.split_once("nonce=\"").unwrap().1.split_once('"').unwrap().0.to_owned()
}

/// Answers a challenge as RFC 7616 wants it.
pub(crate) fn login(user: &str, password: &str, nonce: &str, count: u64, path: &str) -> String {
    login_to("GET", [user, password], nonce, count, path)
}

/// The same, for a method.
pub(crate) fn login_to(
    method: &str,
    [user, password]: [&str; 2],
    nonce: &str,
    count: u64,
    path: &str,
) -> String {
    let nc = format!("{count:08x}");
    let a1 = sha(&[user, "caesure", password]);
    let response = sha(&[&a1, nonce, &nc, "abc", "auth", &sha(&[method, path])]);
    format!(
        "Authorization: Digest username=\"{user}\", realm=\"caesure\", nonce=\"{nonce}\", uri=\"{path}\", \
         algorithm=SHA-256, qop=auth, nc={nc}, cnonce=\"abc\", response=\"{response}\"\r\n"
    )
}

#[test]
fn every_page_is_shown_and_names_its_world() {
    let node = Node::new(10);
    with_pages(&node, options(), |client| {
        for (path, target) in [("/", "/admin/"), ("/admin", "/admin/")] {
            let response = get(&client, path);
            assert_eq!((response.status, response.header("location")), (303, Some(target)));
        }
        let genesis = node.worlds().tip().info().hash.to_string();
        for page in PAGES {
            let response = get(&client, &format!("/admin/{page}"));
            assert_eq!(response.status, 200, "{page}");
            assert_eq!(response.header("x-caesure-view"), Some(&*format!("0 {genesis}")));
            assert!(response.body.contains("World at height <b>0</b>, block"), "{page}");
            assert_eq!(response.body.matches("<nav ").count(), 2);
            assert_eq!(response.body.matches("<main ").count(), 1);
        }
        for (path, kind) in [
            ("/favicon.ico", "image/svg+xml"),
            ("/admin/style.css", "text/css; charset=utf-8"),
            ("/admin/live.js", "text/javascript; charset=utf-8"),
        ] {
            assert_eq!(get(&client, path).header("content-type"), Some(kind));
        }
        for path in ["/admin/none", "/admin/peer/9", "/x", "/status", "/adminx/"] {
            assert_eq!(get(&client, path).status, 404, "{path}");
        }
        assert_eq!(get(&client, "/admin/peer/x").status, 400);
        assert_eq!(ask(&client, "PUT", "/admin/", "", "").status, 405);
    });
}

#[test]
fn a_world_is_chosen_by_at_and_kept_in_all_links() {
    let node = Node::new(3);
    let hashes = node.grow(6);
    with_pages(&node, options(), |client| {
        for at in ["tip-2", "4", &hashes[3]] {
            let response = get(&client, &format!("/admin/status?at={at}"));
            assert_eq!(response.header("x-caesure-view"), Some(&*format!("4 {}", hashes[3])));
            let body = response.body;
            let link = format!("href=\"/admin/connections?at={at}\"");
            assert_eq!(body.matches(&link).count(), 3, "{body}");
            assert!(body.contains("href=\"/admin/status\">Follow the tip"));
        }
        for (at, status) in [("7", 400), ("tip-7", 400), ("x", 400), ("2", 404)] {
            assert_eq!(get(&client, &format!("/admin/?at={at}")).status, status, "{at}");
        }
        let gone = get(&client, "/admin/?at=2").body;
        assert!(gone.contains("no longer held") && gone.contains(&hashes[2]), "{gone}");
        let body = get(&client, "/admin/").body;
        let stay = format!("href=\"/admin/?at={}\">Stay with this world", hashes[5]);
        assert!(body.contains(&stay), "{body}");
    });
}

#[test]
fn a_page_loads_itself_again_only_if_asked_to() {
    with_pages(&Node::new(10), options(), |client| {
        assert!(!get(&client, "/admin/").body.contains("http-equiv"));
        for (given, seconds) in [("5", "5"), ("0", "1"), ("999999", "3600")] {
            let body = get(&client, &format!("/admin/?refresh={given}")).body;
            assert!(body.contains(&format!("http-equiv=\"refresh\" content=\"{seconds}\"")));
            assert!(body.contains("href=\"/admin/\">Stop loading again"));
        }
        assert!(!get(&client, "/admin/?refresh=x").body.contains("http-equiv"));
    });
}

#[test]
fn nobody_without_a_password_sees_anything() {
    let node = Node::new(10);
    with_pages(&node, with_users(), |client| {
        let pages = PAGES.map(|page| format!("/admin/{page}"));
        let others =
            ["/", "/favicon.ico", "/metrics", "/admin/events", "/admin/none", "/admin/live.js"];
        for path in pages.iter().map(String::as_str).chain(others) {
            let response = get(&client, path);
            assert_eq!(response.status, 401, "{path}");
            assert!(!response.body.contains('<'), "{path}");
        }
        let path = "/admin/?at=0";
        let fresh = || nonce(&get(&client, "/"));
        let shown = |headers: &str| ask(&client, "GET", path, headers, "").status;
        assert_eq!(shown(&login("anna", "secret: 1", &fresh(), 1, path)), 200);
        assert_eq!(shown(&login("bob", "p", &fresh(), 1, path)), 200);
        assert_eq!(shown(&login("bob", "secret: 1", &fresh(), 1, path)), 401);
        assert_eq!(shown(&login("anna", "secret: 2", &fresh(), 1, path)), 401);
        assert_eq!(
            shown(&login("anna", "secret: 1", &fresh(), 1, "/admin/")),
            401,
            "another page's"
        );
        let forged = "0".repeat(64);
        assert_eq!(shown(&login("anna", "secret: 1", &forged, 1, path)), 401);
        let own = login("anna", "secret: 1", &fresh(), 1, path);
        assert_eq!(shown(&own.replace("qop=auth, ", "")), 401);
        assert_eq!(shown(&own.replace("SHA-256", "MD5")), 401);
        let basic = |text: &str| {
            let text = base64::engine::general_purpose::STANDARD.encode(text);
            format!("Authorization: Basic {text}\r\n")
        };
        let others = ["bob:q", "eve:p", "bob", ":p", "bob:p:"].map(basic);
        let basic = basic("bob:p");
        assert_eq!(shown(&basic), 401, "pages take no password in the clear");
        let metrics = ask(&client, "GET", "/metrics", &basic, "").status;
        assert_ne!(metrics, 401);
        for wrong in [&[basic.replace("Basic ", "Basic A")][..], &others].concat() {
            assert_eq!(ask(&client, "GET", "/metrics", &wrong, "").status, 401, "{wrong}");
        }
    });
}

#[test]
fn a_name_and_a_password_may_have_any_letters() {
    let user = "n\u{e9} \u{1f511}";
    let users = vec![WebUser::new(user, "p\u{e9}:w")];
    with_pages(&Node::new(10), WebOptions { users, ..options() }, |client| {
        let nonce = nonce(&get(&client, "/"));
        for (count, password, status) in [(1, "p\u{e9}:w", 200), (2, "pe:w", 401)] {
            let headers = login(user, password, &nonce, count, "/admin/");
            assert_eq!(ask(&client, "GET", "/admin/", &headers, "").status, status);
        }
    });
}

#[test]
fn an_answer_to_a_challenge_counts_once() {
    with_pages(&Node::new(10), with_users(), |client| {
        let nonce = nonce(&get(&client, "/"));
        let shown = |count: u64| {
            let headers = login("bob", "p", &nonce, count, "/admin/");
            let response = ask(&client, "GET", "/admin/", &headers, "");
            let challenge = response.header("www-authenticate").unwrap_or_default();
            (response.status, challenge.contains("stale=true"))
        };
        // Browsers ask for several things at once: their counts come in any order, each once.
        for count in [1, 3, 2, 70, 8] {
            assert_eq!(shown(count), (200, false), "{count}");
        }
        for count in [1, 2, 3, 70, 8, 5, 0] {
            assert_eq!(shown(count), (401, true), "{count}");
        }
        assert_eq!(shown(u64::from(u32::MAX)), (200, false));
        assert_eq!(shown(71), (401, true));
    });
}

#[test]
fn foreign_names_of_this_machine_are_refused() {
    let options = WebOptions { hosts: vec!["Node1".into()], ..options() };
    with_pages(&Node::new(10), options, |client| {
        let shown =
            |host: &str| ask(&client, "GET", "/admin/", &format!("Host: {host}\r\n"), "").status;
        for own in [
            "localhost",
            "LOCALHOST:8380",
            "127.0.0.1:8380",
            "10.1.2.3",
            "[::1]:8380",
            "[::1]",
            "node1:80",
            "localhost.",
        ] {
            assert_eq!(shown(own), 200, "{own}");
        }
        for foreign in [
            "evil.example",
            "evil.example:8380",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "node2",
            "",
        ] {
            assert_eq!(shown(foreign), 421, "{foreign}");
        }
        for second in ["evil.example", "localhost"] {
            assert_eq!(shown(&format!("localhost\r\nHost: {second}")), 400, "{second}");
        }
    });
}

#[test]
fn what_changes_the_node_takes_a_form_of_this_server() {
    let node = Node::new(10);
    with_pages(&node, options(), |client| {
        let page = get(&client, "/admin/save").body;
        let own = format!("token={}", token(&page));
        let other = format!("token={}", sha(&["token"]));
        let refused = |method: &str, headers: &str, body: &str| {
            let status = ask(&client, method, "/admin/save", headers, body).status;
            assert_eq!(node.saves(), 0, "{method} {headers} {body}");
            status
        };
        assert_eq!(refused("GET", "", &own), 200);
        assert_eq!(refused("POST", "", ""), 403);
        assert_eq!(refused("POST", "", "token="), 403);
        assert_eq!(refused("POST", "", &other), 403);
        assert_eq!(refused("POST", "Origin: http://evil.example\r\n", &own), 403);
        assert_eq!(refused("POST", "Origin: http://localhost:2\r\n", &own), 403, "another port");
        assert_eq!(refused("POST", "Origin: null\r\n", &own), 403);
        assert_eq!(refused("POST", "Sec-Fetch-Site: cross-site\r\n", &own), 403);
        assert_eq!(refused("POST", "Sec-Fetch-Site: same-site\r\n", &own), 403);
        let headers = "Origin: http://localhost:1\r\nSec-Fetch-Site: same-origin\r\n";
        assert_eq!(ask(&client, "POST", "/admin/save", headers, &own).status, 200);
        assert_eq!(node.saves(), 1);
        assert_eq!(ask(&client, "POST", "/admin/status", "", &own).status, 400);
        assert!(!node.is_stopping());
        assert_eq!(submit(&client, "/admin/shutdown", "", "").status, 200);
        assert!(node.is_stopping());
    });
}

#[test]
fn a_token_is_of_one_user() {
    with_pages(&Node::new(10), with_users(), |client| {
        let page = |user: &str, password: &str| {
            let headers = login(user, password, &nonce(&get(&client, "/")), 1, "/admin/save");
            token(&ask(&client, "GET", "/admin/save", &headers, "").body)
        };
        let (anna, bob) = (page("anna", "secret: 1"), page("bob", "p"));
        assert_ne!(anna, bob);
        assert_eq!(page("bob", "p"), bob);
    });
}

#[test]
fn nothing_changes_the_node_where_that_is_switched_off() {
    let node = Node::without_commands(10);
    with_pages(&node, options(), |client| {
        // A page without a form has no token; that of the prompt is of the same user.
        let token = token(&get(&client, "/admin/prompt").body);
        for path in ["/admin/save", "/admin/shutdown", "/admin/connect"] {
            let shown = get(&client, path).body;
            assert!(shown.contains("--no-commands") && !shown.contains("<form"), "{path}");
            let body = format!("token={token}&host=127.0.0.1");
            assert_eq!(ask(&client, "POST", path, "", &body).status, 403, "{path}");
        }
        assert!(!node.is_stopping());
        assert_eq!(node.saves(), 0);
    });
}

#[test]
fn a_branch_is_drawn_from_the_one_that_it_leaves() {
    let node = Node::new(100);
    let main = node.grow(6);
    let block = |name: &String| name.parse().unwrap();
    let branch = node.mine(block(&main[0]), 4, 1);
    node.mine(block(&main[2]), 1, 2);
    node.mine(block(&branch[0]), 1, 3);
    with_pages(&node, options(), |client| {
        let page = get(&client, "/admin/").body;
        // Where each begins and ends: two on the first row, and one on that of the branch.
        for rows in [" 18 V54 ", " 18 V90 ", " 54 V126 "] {
            assert_eq!(page.matches(rows).count(), 1, "{rows}: {page}");
        }
    });
}

#[test]
fn tips_that_are_not_drawn_are_counted() {
    let node = Node::new(100);
    node.grow(1);
    with_pages(&node, options(), |client| {
        for branches in 2..=14 {
            node.grow(2);
            node.fork(1);
            let page = get(&client, "/admin/").body;
            let drawn = page.matches("<circle class=\"tip\"").count();
            assert_eq!(drawn, branches.min(12), "{page}");
            let more = format!("above height 0; {} more are on <a", branches.saturating_sub(12));
            assert_eq!(page.contains(&more), 12 < branches, "{page}");
            assert_eq!(page.contains(" more are on "), 12 < branches);
        }
    });
}

#[test]
fn what_others_say_is_shown_and_never_run() {
    let node = Node::new(10);
    let evil = "<script>alert(1)</script>";
    let peer = node.meet(&format!("/{evil}\"'&:1/"));
    node.logger.log(Event::Ready {
        peer: 1,
        remote: std::net::SocketAddr::from(([10, 0, 0, 1], 1)).into(),
        connection: "inbound",
        transport: "v1",
        version: 70016,
        user_agent: evil.to_owned(),
        height: 0,
    });
    node.logger.flush();
    with_pages(&node, options(), |client| {
        let marks = ["<script>alert", "<b>10.", "<i>loop"];
        let encoded = "%3Cscript%3Ealert(1)%3C/script%3E";
        let mut seen = String::new();
        for path in [
            "/admin/connections".to_owned(),
            format!("/admin/peer/{peer}"),
            "/admin/log".to_owned(),
            "/admin/threads".to_owned(),
            format!("/admin/log?facility={encoded}&text=%22{encoded}"),
            format!("/admin/?at={encoded}"),
            format!("/admin/{encoded}"),
            format!("/admin/peer/{encoded}"),
            format!("/admin/?refresh={encoded}&x=%22%3E{encoded}"),
        ] {
            let body = get(&client, &path).body;
            for mark in marks {
                assert!(!body.contains(mark), "{path}: {body}");
            }
            seen += &body;
        }
        for shown in ["&lt;script&gt;alert(1)", "&lt;b&gt;10.0.0.1&lt;/b&gt;", "&lt;i&gt;loop"] {
            assert!(seen.contains(shown), "{shown}");
        }
        let token = token(&get(&client, "/admin/connect").body);
        let body = format!("token={token}&host={encoded}");
        let refused = ask(&client, "POST", "/admin/connect", "", &body);
        assert_eq!(refused.status, 400);
        assert!(!refused.body.contains("<script>alert"));
    });
}

/// Runs the script of the pages in what stands for a browser: a page that is hidden and shown again, whose
/// server goes and comes back. Says after each how many streams are open, and whether that is told.
const BROWSER: &str = r#"
const open = [], listeners = {}, marks = new Set();
class EventSource {
    static CLOSED = 2;
    readyState = 0;
    on = {};
    constructor() { open.push(this); }
    addEventListener(name, act) { this.on[name] = act; }
    close() { this.readyState = 2; open.splice(open.indexOf(this), 1); }
}
const live = {
    dataset: { events: "/admin/events" },
    contains: () => false,
    setAttribute: (name) => marks.add(name),
    removeAttribute: (name) => marks.delete(name),
};
const document = {
    hidden: false,
    getElementById: () => live,
    addEventListener: (name, act) => { listeners[name] = act; },
};
const script = require("fs").readFileSync(0, "utf8");
const names = ["document", "EventSource", "addEventListener", "getSelection"];
new Function(...names, script)(document, EventSource, () => {}, () => ({ isCollapsed: true }));
const say = () => console.log(open.length, ...marks, live.innerHTML ?? "");
const show = (hidden) => { document.hidden = hidden; listeners.visibilitychange(); say(); };
say();
show(true);
show(false);
show(false);
open[0].on.error(); say();
open[0].on.open(); open[0].on.part({ data: "new" }); say();
open[0].on.error(); open[0].readyState = 2; open.pop(); say();
show(false);
"#;

/// Browsers open six connections to one server, for all tabs.
#[test]
fn a_page_that_nobody_looks_at_keeps_no_connection_and_one_that_stands_still_says_so() {
    with_pages(&Node::new(10), options(), |client| {
        let mut node = Command::new("node");
        let node = node.args(["-e", BROWSER]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let Ok(mut node) = node else {
            return eprintln!("node is not here: the script of the pages was not run");
        };
        let script = get(&client, "/admin/live.js").body;
        node.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        let said = String::from_utf8(node.wait_with_output().unwrap().stdout).unwrap();
        let lines: Vec<&str> = said.lines().map(str::trim).collect();
        let stale = "1 data-stale";
        let expected = ["1", "0", "1", "1", stale, "1 new", "0 data-stale new", "1 data-stale new"];
        assert_eq!(lines, expected);
    });
}

#[test]
fn every_answer_tells_browsers_what_to_keep_from() {
    with_pages(&Node::new(10), options(), |client| {
        let mut answers =
            vec![ask(&client, "PUT", "/", "", ""), ask(&client, "GET", "/", "Host: x.y\r\n", "")];
        answers.extend(
            ["/admin/", "/admin/none", "/", "/admin/live.js"].map(|path| get(&client, path)),
        );
        for answer in &answers {
            let policy = answer.header("content-security-policy").unwrap();
            let own = "style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'";
            let none = "base-uri 'none'; frame-ancestors 'none'";
            assert_eq!(policy, format!("default-src 'none'; {own}; {none}"));
            assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
            assert_eq!(answer.header("referrer-policy"), Some("same-origin"));
            for inline in
                ["<style", "style=", "onclick", "<script>", "javascript:", "http://", "https://"]
            {
                assert!(!answer.body.contains(inline) || answer.body.starts_with('"'), "{inline}");
            }
        }
    });
}

#[test]
fn calls_that_are_being_answered_are_counted() {
    let node = Node::new(10);
    with_pages(&node, options(), |pages| {
        let active = || {
            let text = get(&pages, "/metrics").body;
            text.split_once("\nbitcoin_rpc_active ").unwrap().1.as_bytes()[0] - b'0'
        };
        assert_eq!(active(), 0);
        with_server(&node, ServeOptions::default(), |client| {
            thread::scope(|scope| {
                let wait = r#"{"method":"waitforblockheight","params":[1],"id":1}"#;
                let waiting = scope.spawn(move || client.post(wait));
                while active() == 0 {}
                assert_eq!(active(), 1);
                let info = client.post(r#"{"method":"getrpcinfo"}"#).json();
                let commands = info["result"]["active_commands"].as_array().unwrap();
                let methods: Vec<_> = commands.iter().map(|it| it["method"].as_str()).collect();
                assert_eq!(methods, [Some("waitforblockheight"), Some("getrpcinfo")]);
                assert!(commands[1]["duration"].as_u64() <= commands[0]["duration"].as_u64());
                node.grow(1);
                assert_eq!(waiting.join().unwrap().status, 200);
            });
        });
        assert_eq!(active(), 0);
    });
}

#[test]
fn a_peer_is_disconnected_or_banned_by_a_form() {
    let node = Node::new(10);
    let peer = node.meet("/x:1/");
    with_pages(&node, options(), |client| {
        let path = format!("/admin/peer/{peer}");
        let shown = get(&client, &path).body;
        for text in ["10.0.0.1:1", "/x:1/", "version", "NETWORK WITNESS", "inbound"] {
            assert!(shown.contains(text), "{text}");
        }
        let row = |name: &str| {
            let (_, rest) = shown.split_once(&format!("scope=\"row\">{name}</th>")).unwrap();
            let cells = rest.split_once("</tr>").unwrap().0.split("<td class=\"num\">").skip(1);
            cells.map(|cell| cell.split('<').next().unwrap().to_owned()).collect::<Vec<_>>()
        };
        // An empty message is of 24 bytes.
        assert_eq!(row("verack"), ["1", "24", "1", "24"]);
        assert_eq!(row("wtxidrelay"), ["1", "24", "0", "0"]);
        let table = get(&client, "/admin/connections").body;
        assert!(table.contains("<b>0</b> outbound, <b>1</b> inbound"));
        assert_eq!(submit(&client, &path, "", "do=dance").status, 400);
        let response = submit(&client, &path, "", "do=ban");
        assert_eq!(
            (response.status, response.header("location")),
            (303, Some("/admin/connections"))
        );
        assert!(
            get(&client, "/admin/connections").body.contains("<b>0</b> outbound, <b>0</b> inbound")
        );
        assert_eq!(node.bans(), ["10.0.0.1/32"]);
        let again = node.meet("/x:1/");
        let path = format!("/admin/peer/{again}");
        assert_eq!(get(&client, &path).status, 404, "who is banned is not let in");
    });
}

#[test]
fn the_log_is_filtered_by_facility_and_text() {
    let node = Node::new(10);
    for user_agent in ["/one/", "/two/"] {
        node.logger.log(Event::Misbehaving {
            peer: 1,
            remote: std::net::SocketAddr::from(([10, 0, 0, 1], 1)).into(),
            reason: user_agent.to_owned(),
        });
    }
    node.logger.flush();
    with_pages(&node, options(), |client| {
        let shown = |query: &str| {
            let body = get(&client, &format!("/admin/log?{query}")).body;
            ["/one/", "/two/"].map(|text| body.contains(&format!("1) {text}<")))
        };
        assert_eq!(shown(""), [true, true]);
        assert_eq!(shown("facility=network"), [true, true]);
        assert_eq!(shown("facility=server"), [false, false]);
        assert_eq!(shown("facility=server,network&text=/two"), [false, true]);
    });
}

/// Opens a stream of events.
pub(crate) fn events(client: &Client, path: &str, headers: &str) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(client.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n").unwrap();
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    while stream.read_line(&mut line).unwrap() != 0 && line != "\r\n" {
        assert!(!line.starts_with("HTTP") || line.contains(" 200 "), "{line}");
        line.clear();
    }
    stream
}

/// Reads the next event: its name, its id and its data.
pub(crate) fn next(stream: &mut impl BufRead) -> (String, String, String) {
    let (mut name, mut id, mut data) = (String::new(), String::new(), String::new());
    loop {
        let mut line = String::new();
        assert_ne!(stream.read_line(&mut line).unwrap(), 0, "the stream ends");
        let line = line.trim_end();
        match line.split_once(": ") {
            Some(("event", text)) => name = text.to_owned(),
            Some(("id", text)) => id = text.to_owned(),
            Some(("data", text)) => data += text,
            _ if line.is_empty() && !name.is_empty() => return (name, id, data),
            _ => {}
        }
    }
}

#[test]
fn a_subscriber_gets_every_stored_block_once_and_in_order() {
    let node = Node::new(10);
    let before = node.grow(3);
    with_pages(&node, options(), |client| {
        let mut stream = events(&client, "/admin/events", "");
        let mut hashes = node.grow(150);
        hashes.extend(node.fork(2));
        let mut ids = Vec::new();
        for (index, hash) in hashes.iter().enumerate() {
            let (name, id, data) = next(&mut stream);
            let number = index + before.len() + 1;
            assert_eq!((&*name, &*id), ("block", &*format!("{number}-{hash}")));
            assert!(data.contains(&format!("\"hash\":\"{hash}\"")), "{data}");
            ids.push(id);
        }
        // One who comes back goes on where it was, however long ago.
        let mut stream =
            events(&client, "/admin/events", &format!("Last-Event-ID: {}\r\n", ids[9]));
        for id in &ids[10..] {
            assert_eq!(next(&mut stream).1, *id);
        }
        // One who was told of other blocks is told that it lost some, and from where on.
        for last in [format!("12-{}", hashes[0]), format!("9999-{}", hashes[0])] {
            let mut stream =
                events(&client, "/admin/events", &format!("Last-Event-ID: {last}\r\n"));
            let (name, _, data) = next(&mut stream);
            let missing: u64 = last.split_once('-').unwrap().0.parse().unwrap();
            assert_eq!(name, "lost");
            assert_eq!(
                data,
                format!(
                    "{{\"first_missing\":{},\"next\":{}}}",
                    missing + 1,
                    hashes.len() + before.len() + 1
                )
            );
            let more = node.grow(1);
            assert!(next(&mut stream).1.ends_with(&more[0]));
            hashes.extend(more);
        }
        assert_eq!(get(&client, "/admin/events?after=x").status, 400);
    });
}

#[test]
fn a_live_page_is_sent_again_when_it_is_another() {
    let node = Node::new(10);
    with_pages(&node, options(), |client| {
        let mut stream = events(&client, "/admin/events?of=%2Fadmin%2Fstatus", "");
        let (name, _, data) = next(&mut stream);
        assert_eq!(name, "part");
        assert!(data.contains("Height <b>0</b>") && !data.contains("<nav"), "{data}");
        node.grow(2);
        let mut last = String::new();
        while !last.contains("Height <b>2</b>") {
            last = next(&mut stream).2;
        }
        for path in ["/admin/prompt", "/admin/none", "/x"] {
            let path = format!("/admin/events?of={path}");
            assert_eq!(get(&client, &path).status, 404, "{path}");
        }
    });
}

#[test]
fn a_thousand_idle_tabs_are_answered_and_the_next_page_is_too() {
    let options = WebOptions { connections: 40, streams: 8, ..options() };
    with_pages(&Node::new(10), options, |client| {
        let mut streams = Vec::new();
        let mut refused = 0;
        for index in 0..1000 {
            let mut stream = TcpStream::connect(client.address).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
            // Half of them say nothing at all.
            if index % 2 == 0 {
                stream
                    .write_all(b"GET /admin/events?of=/admin/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
                    .unwrap();
                let mut status = [0; 12];
                stream.read_exact(&mut status).unwrap();
                refused += usize::from(status == *b"HTTP/1.1 503");
                assert!([*b"HTTP/1.1 200", *b"HTTP/1.1 503"].contains(&status));
            }
            streams.push(stream);
        }
        assert_eq!(refused, 500 - 8);
        assert_eq!(get(&client, "/admin/").status, 200);
        drop(streams);
    });
}

#[test]
fn slow_or_large_requests_are_given_up() {
    let options = WebOptions { timeout: Duration::from_millis(300), body: 1000, ..options() };
    with_pages(&Node::new(10), options, |client| {
        let form = "POST /admin/save HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nt";
        for start in ["", "GET /ad", "GET / HTTP/1.1\r\nHost: loc", form] {
            let mut stream = TcpStream::connect(client.address).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
            stream.write_all(start.as_bytes()).unwrap();
            let mut answer = Vec::new();
            // Read to the end: it was closed.
            stream.read_to_end(&mut answer).unwrap();
            assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 408"), "{start}");
        }
        let long = "x".repeat(40_000);
        let response = ask(&client, "GET", &format!("/{long}"), "", "");
        assert!([414, 431].contains(&response.status), "{}", response.status);
        assert_eq!(ask(&client, "POST", "/admin/save", "", &"x".repeat(1001)).status, 413);
        assert_eq!(get(&client, "/admin/").status, 200);
    });
}

#[test]
fn an_address_of_any_bytes_is_answered() {
    with_pages(&Node::new(10), options(), |client| {
        let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(300));
        let page = prop::sample::select([&PAGES[..], &["peer", "events", "metrics"]].concat());
        let piece = prop_oneof![
            "[ -~]{0,12}".prop_map(|text| text.replace([' ', '#'], "%20")),
            prop::sample::select(vec!["?at=", "&of=/admin/", "%ff%00", "/", "..", "?refresh="])
                .prop_map(ToOwned::to_owned),
        ];
        let address = (page, prop::collection::vec(piece, 0..6));
        runner
            .run(&address, |(page, rest)| {
                let path = format!("/admin/{page}{}", rest.concat());
                // A stream has no end: that it begins is enough.
                let mut stream = TcpStream::connect(client.address).unwrap();
                write!(
                    stream,
                    "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
                )
                .unwrap();
                let mut status = [0; 12];
                stream.read_exact(&mut status).unwrap();
                let status: u16 = str::from_utf8(&status[9..]).unwrap().parse().unwrap();
                prop_assert!([200, 303, 400, 404, 503].contains(&status), "{} {}", path, status);
                Ok(())
            })
            .unwrap();
        assert_eq!(get(&client, "/admin/").status, 200);
    });
}
