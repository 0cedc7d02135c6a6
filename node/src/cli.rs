//! `caesure cli`: asks a running node, with the options, the output and the exit status of
//! bitcoin-cli.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::{self, BufRead, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use base64::Engine as _;
use caesure_consensus::{Network, Params};
use caesure_http::{Conversion, conversion, pretty};
use serde_json::{Map, Value, json};

use crate::args::Common;
use crate::base::network_folder;
use crate::config;

/// Options that have a value, and may have it as the next word.
const SPACED: &str = "b base config datadir network chain signet-challenge";
/// Options that have a value behind `=`.
const VALUED: &str = "rpcconnect rpcport rpcuser rpcpassword rpccookiefile rpcclienttimeout";
/// Options without a value.
const FLAGS: &str = "t testnet testnet4 signet regtest named stdin stdinrpcpass json rpcwait";

/// Seconds that an answer may take. Core: `DEFAULT_HTTP_CLIENT_TIMEOUT`.
const TIMEOUT: u64 = 900;

/// An answer is not longer.
const MAX_ANSWER: u64 = 1 << 30;

type Options = BTreeMap<String, String>;

/// Runs the command if the words name it; none if they do not.
pub(crate) fn intercept(words: &[OsString]) -> Option<ExitCode> {
    let words: Option<Vec<String>> =
        words.iter().skip(1).map(|word| word.clone().into_string().ok()).collect();
    let words = words?;
    let mut options = Options::new();
    let mut rest = &words[..];
    take_options(&mut rest, &mut options).ok()?;
    let (name, after) = rest.split_first()?;
    let asks_for_help =
        after.first().is_some_and(|word| ["-h", "-help", "--help"].contains(&&**word));
    if name != "cli" || asks_for_help {
        return None;
    }
    rest = after;
    let done = take_options(&mut rest, &mut options)
        .and_then(|()| fill(&mut options))
        .and_then(|()| run(rest, &options));
    let (status, text) = done.unwrap_or_else(|text| (1, format!("error: {text}")));
    if !text.is_empty() {
        // Nobody is there to be told that nobody listens.
        let _ = match status {
            0 => writeln!(io::stdout(), "{text}"),
            _ => writeln!(io::stderr(), "{text}"),
        };
    }
    Some(ExitCode::from(u8::try_from(status & 0xff).unwrap_or(1)))
}

/// Asks the running node for another command: the answer's body, which a batch has as a list.
pub(crate) fn ask_node(
    common: &Common,
    address: Option<SocketAddr>,
    login: Option<(&str, &str)>,
    request: &Value,
) -> Result<Value, String> {
    let mut options = Options::new();
    let mut set = |name: &str, value: String| options.insert(name.to_owned(), value);
    set("network", common.network().name().to_owned());
    set("rpcclienttimeout", "20".to_owned());
    if let Some(base) = &common.base {
        set("base", base.to_str().ok_or("the base folder's name is not UTF-8")?.to_owned());
    }
    if let Some(address) = address {
        set("rpcconnect", reachable(address).to_string());
    }
    if let Some((user, _)) = login {
        set("rpcuser", user.to_owned());
    }
    let password = login.map(|(_, password)| password.to_owned());
    let (status, body) = ask(&options, password, &request.to_string())?;
    if status != 200 {
        return Err(refused(status, &body));
    }
    serde_json::from_str(&body).map_err(|_| "couldn't parse reply from server".to_owned())
}

/// Why a status is no answer.
fn refused(status: u16, body: &str) -> String {
    match status {
        401 => "Authorization failed: wrong user, password or cookie file".to_owned(),
        503 => format!("Server response: {body}"),
        status => format!("server returned HTTP error {status}"),
    }
}

/// Takes words that begin with a hyphen.
fn take_options(words: &mut &[String], options: &mut Options) -> Result<(), String> {
    while let [word, rest @ ..] = *words
        && word.starts_with('-')
    {
        *words = rest;
        let option = word.trim_start_matches('-');
        let (name, value) = option.split_once('=').map_or((option, None), |(n, v)| (n, Some(v)));
        let is_of = |names: &str| names.split(' ').any(|it| it == name);
        let value = match value {
            Some(value) if [SPACED, VALUED, FLAGS].into_iter().any(is_of) => value.to_owned(),
            None if is_of(FLAGS) => "1".to_owned(),
            None if is_of(SPACED) => {
                let (value, rest) = words.split_first().ok_or(format!("{word} has no value"))?;
                *words = rest;
                value.clone()
            }
            _ => {
                let text = "Error parsing command line arguments: Invalid parameter";
                return Err(format!("{text} {word}"));
            }
        };
        options.insert(name.to_owned(), value);
    }
    Ok(())
}

/// Takes from the settings what no option says. Core's folder, of `-datadir`, has none.
fn fill(options: &mut Options) -> Result<(), String> {
    let has = |options: &Options, names: &str| names.split(' ').any(|it| options.contains_key(it));
    if has(options, "datadir") {
        return Ok(());
    }
    let is_named = has(options, "network chain t testnet testnet4 signet regtest");
    let given = if is_named { Some(network(options)?) } else { None };
    let path = |names: [&str; 2]| names.iter().find_map(|it| options.get(*it)).map(PathBuf::from);
    let (base, file) = (path(["b", "base"]), path(["config"; 2]));
    let found = config::settings(base.as_deref(), file.as_deref(), given);
    let (network, settings) = found.map_err(|error| error.to_string())?;
    if !is_named {
        options.insert("network".to_owned(), network.name().to_owned());
    }
    let first = |name: &str| settings.get(name).and_then(|it| it.values.first()).cloned();
    if !has(options, "rpcuser rpcpassword rpccookiefile stdinrpcpass")
        && let (Some(user), Some(password)) = (first("rpcuser"), first("rpcpassword"))
    {
        options.insert("rpcuser".to_owned(), user);
        options.insert("rpcpassword".to_owned(), password);
    }
    if !has(options, "rpcconnect rpcport")
        && let Some(address) = first("rpc").and_then(|address| address.parse().ok())
    {
        options.insert("rpcconnect".to_owned(), reachable(address).to_string());
    }
    Ok(())
}

/// Where one on this machine reaches what is served at an address.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

fn is_set(options: &Options, name: &str) -> bool {
    options.get(name).is_some_and(|value| value != "0")
}

fn network(options: &Options) -> Result<Network, String> {
    let flags = ["t", "testnet", "testnet4", "signet", "regtest"];
    let flag = flags.into_iter().find(|flag| is_set(options, flag));
    let given = options.get("network").or_else(|| options.get("chain"));
    let name = match (flag, given.map_or("main", |name| name)) {
        (Some("t" | "testnet"), _) | (None, "test") => "testnet3",
        (flag, given) => flag.unwrap_or(given),
    };
    let found = Network::ALL.into_iter().find(|network| network.name() == name);
    found.ok_or_else(|| format!("Unknown chain {name}."))
}

/// Calls the method and returns the exit status and what is printed.
fn run(words: &[String], options: &Options) -> Result<(i64, String), String> {
    let mut words = words.to_vec();
    let mut password = options.get("rpcpassword").cloned();
    let mut lines = io::stdin().lock().lines();
    if is_set(options, "stdinrpcpass") {
        password = lines.next().and_then(Result::ok);
        let text = "-stdinrpcpass specified but failed to read from standard input";
        password.as_ref().ok_or(text)?;
    }
    if is_set(options, "stdin") {
        words.extend(lines.map_while(Result::ok));
    }
    let (method, args) = words.split_first().ok_or("too few parameters (need at least command)")?;
    let params =
        if is_set(options, "named") { named(method, args)? } else { placed(method, args)? };
    let request = json!({ "method": method, "params": params, "id": 1, "jsonrpc": "2.0" });
    let (status, body) = ask(options, password, &request.to_string())?;
    if ![200, 400, 404, 500].contains(&status) {
        return Err(refused(status, &body));
    }
    let reply: Value =
        serde_json::from_str(&body).map_err(|_| "couldn't parse reply from server")?;
    Ok(match &reply["error"] {
        Value::Null => (0, result_text(&reply["result"])),
        error => error_text(error),
    })
}

/// Core: `ParseResult`.
fn result_text(result: &Value) -> String {
    match result {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        result => pretty(result, 2),
    }
}

/// Core: `ParseError`.
fn error_text(error: &Value) -> (i64, String) {
    let code = error["code"].as_i64().unwrap_or(1);
    let message = error["message"].as_str().unwrap_or_default();
    (code.saturating_abs(), format!("error code: {code}\nerror message:\n{message}"))
}

/// Core: `ParseParam`.
fn converted(word: &str, conversion: Conversion) -> Result<Value, String> {
    match (conversion, serde_json::from_str(word)) {
        (Conversion::Text, _) | (Conversion::JsonOrText, Err(_)) => Ok(word.into()),
        (_, Ok(value)) => Ok(value),
        (Conversion::Json, Err(_)) => Err(format!("Error parsing JSON: {word}")),
    }
}

/// Core: `RPCConvertValues`.
fn placed(method: &str, args: &[String]) -> Result<Value, String> {
    let place =
        |(place, word): (usize, &String)| converted(word, conversion(method, Some(place), None));
    args.iter().enumerate().map(place).collect()
}

/// Core: `RPCConvertNamedValues`.
fn named(method: &str, args: &[String]) -> Result<Value, String> {
    let (mut fields, mut places) = (Map::new(), Vec::new());
    for word in args {
        match word.split_once('=') {
            None => {
                let conversion = conversion(method, Some(places.len()), None);
                places.push(converted(word, conversion)?);
            }
            // An array with such a sign in it is no name.
            Some((name, _))
                if conversion(method, Some(places.len()), None) == Conversion::Json
                    && conversion(method, None, Some(name)) == Conversion::Text
                    && let Ok(value) = serde_json::from_str(word) =>
            {
                places.push(value);
            }
            Some((name, value)) => {
                let value = converted(value, conversion(method, None, Some(name)))?;
                fields.insert(name.to_owned(), value);
            }
        }
    }
    if !places.is_empty() {
        fields.insert("args".to_owned(), places.into());
    }
    Ok(fields.into())
}

/// Sends a request, and returns the status and the body of the answer.
fn ask(
    options: &Options,
    password: Option<String>,
    request: &str,
) -> Result<(u16, String), String> {
    let network = network(options)?;
    let login = match password.filter(|password| !password.is_empty()) {
        Some(password) => {
            format!("{}:{password}", options.get("rpcuser").map_or("", |user| &**user))
        }
        // Without a cookie the server says that it wants one.
        None => fs::read_to_string(cookie_path(options, network)?).unwrap_or_default(),
    };
    let login = base64::engine::general_purpose::STANDARD.encode(login.trim_end());
    let (host, port) = server(options, network)?;
    let unreachable = |error: &dyn std::fmt::Display| {
        format!(
            "Error while attempting to communicate with server {host}:{port} ({error})\n\nMake sure \
             the node is running and that you are connecting to the correct RPC port."
        )
    };
    let length = request.len();
    let head = format!(
        "POST / HTTP/1.0\r\nHost: {host}\r\nContent-Type: \
         application/json\r\nAuthorization: Basic {login}\r\nContent-Length: {length}\r\n\r\n"
    );
    let talk = || {
        let mut addresses = (host.as_str(), port).to_socket_addrs()?;
        let address = addresses.next().ok_or(io::ErrorKind::NotFound)?;
        let mut stream = TcpStream::connect(address)?;
        let seconds = options.get("rpcclienttimeout").and_then(|it| it.parse().ok());
        let seconds = seconds.unwrap_or(TIMEOUT);
        stream.set_read_timeout((0 < seconds).then(|| Duration::from_secs(seconds)))?;
        stream.write_all(head.as_bytes())?;
        stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        stream.take(MAX_ANSWER).read_to_end(&mut answer)?;
        io::Result::Ok(answer)
    };
    let wait = is_set(options, "rpcwait");
    let answer = loop {
        match talk() {
            Err(error) if wait && error.kind() == io::ErrorKind::ConnectionRefused => {
                std::thread::sleep(Duration::from_secs(1));
            }
            talked => break talked.map_err(|error| unreachable(&error))?,
        }
    };
    read_answer(&answer).ok_or_else(|| "no response from server".to_owned())
}

/// The status and the body of an answer: all that came after its headers, since by HTTP/1.0 it ends with
/// the connection and is not cut into pieces.
fn read_answer(answer: &[u8]) -> Option<(u16, String)> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let status = str::from_utf8(&answer[..end]).ok()?.split(' ').nth(1)?.parse().ok()?;
    Some((status, String::from_utf8_lossy(&answer[end + 4..]).into_owned()))
}

fn server(options: &Options, network: Network) -> Result<(String, u16), String> {
    let port_of = |text: &str, option: &str, value: &str| {
        let port = text.parse().ok().filter(|port| *port != 0);
        port.ok_or_else(|| format!("Invalid port provided in -{option}: {value}"))
    };
    let given = options.get("rpcconnect").map_or("127.0.0.1", |host| host);
    let (host, port) = match given.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
            (host, port_of(port, "rpcconnect", given)?)
        }
        _ => (given, Params::new(network).rpc_port),
    };
    let port = options.get("rpcport").map_or(Ok(port), |text| port_of(text, "rpcport", text))?;
    Ok((host.trim_matches(['[', ']']).to_owned(), port))
}

/// The cookie file: of Core's folder with `-datadir`, else of the base.
fn cookie_path(options: &Options, network: Network) -> Result<PathBuf, String> {
    let base = ["datadir", "b", "base"].iter().find_map(|name| options.get(*name));
    let base = base.map(PathBuf::from);
    let folder = network_folder(base.as_deref(), network).map_err(|error| error.to_string())?;
    let name = options.get("rpccookiefile").map_or(".cookie", |name| name);
    Ok(folder.join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(words: &[&str]) -> Result<(Options, Vec<String>), String> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let (mut rest, mut options) = (&words[..], Options::new());
        take_options(&mut rest, &mut options)?;
        Ok((options, rest.to_vec()))
    }

    #[test]
    fn options_are_those_of_bitcoin_cli_with_one_hyphen_or_two() {
        let (found, rest) = options(&[
            "-regtest",
            "--rpcport=7",
            "-datadir=/x",
            "--named",
            "-b",
            "/y",
            "getblock",
            "-1",
        ])
        .unwrap();
        assert_eq!(rest, ["getblock", "-1"]);
        assert_eq!(network(&found), Ok(Network::Regtest));
        assert_eq!(server(&found, Network::Regtest), Ok(("127.0.0.1".to_owned(), 7)));
        let path = cookie_path(&found, Network::Regtest).unwrap();
        assert_eq!(path, PathBuf::from("/x/regtest/.cookie"));
        assert!(options(&["-nothing"]).is_err());
        assert!(options(&["-rpcport"]).is_err());
        let (found, _) = options(&["-rpcconnect=[::1]:9", "--network", "signet"]).unwrap();
        assert_eq!(server(&found, Network::Signet), Ok(("::1".to_owned(), 9)));
        assert_eq!(server(&Options::new(), Network::Main).unwrap().1, 8332);
        for wrong in ["-rpcport=x", "-rpcport=0", "-rpcconnect=a:x"] {
            assert!(server(&options(&[wrong]).unwrap().0, Network::Main).is_err());
        }
    }

    #[test]
    fn arguments_become_json_where_the_method_wants_json() {
        let words =
            |words: &[&str]| -> Vec<String> { words.iter().map(|it| (*it).into()).collect() };
        assert_eq!(placed("getblock", &words(&["00", "2"])), Ok(json!(["00", 2])));
        assert_eq!(placed("getblockhash", &words(&["x"])), Err("Error parsing JSON: x".into()));
        assert_eq!(placed("gettxoutsetinfo", &words(&["none", "ab"])), Ok(json!(["none", "ab"])));
        assert_eq!(placed("gettxoutproof", &words(&["[\"a\"]"])), Ok(json!([["a"]])));
        assert_eq!(
            named("getblock", &words(&["00", "verbosity=2", "at=3"])),
            Ok(json!({ "verbosity": 2, "at": "3", "args": ["00"] }))
        );
        assert_eq!(
            named("gettxoutproof", &words(&["[\"a=b\"]", "blockhash=00"])),
            Ok(json!({ "blockhash": "00", "args": [["a=b"]] }))
        );
        assert_eq!(named("getblockhash", &words(&["height=7"])), Ok(json!({ "height": 7 })));
        assert_eq!(named("getblock", &words(&["a=b"])), Ok(json!({ "a": "b" })));
    }

    #[test]
    fn the_body_is_all_bytes_behind_the_headers() {
        let body = "{\"a\": \"\u{e9}\u{2013}\"}";
        let answer = format!("HTTP/1.0 500 Error\r\nContent-Length: 17\r\n\r\n{body}");
        assert_eq!(read_answer(answer.as_bytes()), Some((500, body.to_owned())));
        assert_eq!(read_answer(b"HTTP/1.1 200 OK\r\n\r\n"), Some((200, String::new())));
        assert_eq!(read_answer(b"HTTP/1.1 200 OK\r\n"), None);
        assert_eq!(read_answer(b"nothing\r\n\r\n"), None);
    }

    #[test]
    fn answers_are_printed_as_bitcoin_cli_prints_them() {
        assert_eq!(result_text(&json!("a\"b")), "a\"b");
        assert_eq!(result_text(&Value::Null), "");
        assert_eq!(result_text(&json!(1)), "1");
        let nested = json!({ "a": [1, { "b": [] }], "c": {} });
        let expected = "{\n  \"a\": [\n    1,\n    {\n      \"b\": [\n      ]\n    }\n  ],\n  \"c\": {\n  }\n}";
        assert_eq!(result_text(&nested), expected);
        let error = json!({ "code": -8, "message": "Block height out of range" });
        let text = "error code: -8\nerror message:\nBlock height out of range";
        assert_eq!(error_text(&error), (8, text.to_owned()));
        assert_eq!(error_text(&json!({ "code": i64::MIN })).0, i64::MAX);
    }
}
