use caesure_http::ServeOptions;
use serde_json::json;

use crate::client::with_server;
use crate::node::Node;

/// Bodies, the status and the answer.
pub(crate) const CASES: [(&str, u16, &str); 33] = [
    (r#"{"method":"getblockcount"}"#, 200, r#"{"result":0,"error":null}"#),
    (r#"{"method":"getblockcount","id":null}"#, 200, r#"{"result":0,"error":null,"id":null}"#),
    (
        r#"{"jsonrpc":"1.0","method":"getblockcount","id":"a"}"#,
        200,
        r#"{"result":0,"error":null,"id":"a"}"#,
    ),
    (
        r#"{"version":"1.1","method":"getblockcount","params":[],"id":{"b":1}}"#,
        200,
        r#"{"result":0,"error":null,"id":{"b":1}}"#,
    ),
    (
        r#"{"jsonrpc":"2.0","method":"getblockcount","id":1.50}"#,
        200,
        r#"{"jsonrpc":"2.0","result":0,"id":1.50}"#,
    ),
    (r#"{"jsonrpc":"2.0","method":"getblockcount"}"#, 204, ""),
    (r#"{"jsonrpc":"2.0","method":"nothing"}"#, 204, ""),
    (
        r#"{"method":"nothing","id":1}"#,
        404,
        r#"{"result":null,"error":{"code":-32601,"message":"Method not found"},"id":1}"#,
    ),
    (
        r#"{"jsonrpc":"2.0","method":"nothing","id":1}"#,
        200,
        r#"{"jsonrpc":"2.0","error":{"code":-32601,"message":"Method not found"},"id":1}"#,
    ),
    (
        r#"{"method":1,"id":1}"#,
        400,
        r#"{"result":null,"error":{"code":-32600,"message":"Method must be a string"},"id":1}"#,
    ),
    (
        r#"{"id":1}"#,
        400,
        r#"{"result":null,"error":{"code":-32600,"message":"Missing method"},"id":1}"#,
    ),
    (
        r#"{"jsonrpc":"3.0","method":"getblockcount","id":1}"#,
        400,
        r#"{"result":null,"error":{"code":-32600,"message":"JSON-RPC version not supported"},"id":1}"#,
    ),
    (
        r#"{"jsonrpc":2,"method":"getblockcount","id":1}"#,
        400,
        r#"{"result":null,"error":{"code":-32600,"message":"jsonrpc field must be a string"},"id":1}"#,
    ),
    (
        r#"{"method":"getblockcount","params":"x","id":1}"#,
        400,
        r#"{"result":null,"error":{"code":-32600,"message":"Params must be an array or object"},"id":1}"#,
    ),
    (
        r#"{"method":"getblockcount""#,
        500,
        r#"{"result":null,"error":{"code":-32700,"message":"Parse error"},"id":null}"#,
    ),
    ("", 500, r#"{"result":null,"error":{"code":-32700,"message":"Parse error"},"id":null}"#),
    (
        "1",
        500,
        r#"{"result":null,"error":{"code":-32700,"message":"Top-level object parse error"},"id":null}"#,
    ),
    ("[]", 200, "[]"),
    (
        r#"[{"method":"getblockcount","id":1},{"jsonrpc":"2.0","method":"getblockcount","id":2},{"jsonrpc":"2.0","method":"getblockcount"}]"#,
        200,
        r#"[{"result":0,"error":null,"id":1},{"jsonrpc":"2.0","result":0,"id":2}]"#,
    ),
    (r#"[{"jsonrpc":"2.0","method":"getblockcount"}]"#, 204, ""),
    (
        r#"[1]"#,
        200,
        r#"[{"result":null,"error":{"code":-32600,"message":"Invalid Request object"},"id":null}]"#,
    ),
    (
        r#"[{"jsonrpc":"2.0","method":"nothing","id":7},[]]"#,
        200,
        r#"[{"jsonrpc":"2.0","error":{"code":-32601,"message":"Method not found"},"id":7},{"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid Request object"},"id":7}]"#,
    ),
    (
        r#"{"method":"getblockhash","params":[9],"id":1}"#,
        500,
        r#"{"result":null,"error":{"code":-8,"message":"Block height out of range"},"id":1}"#,
    ),
    (
        r#"{"method":"getblockhash","params":{"height":0},"id":1}"#,
        200,
        r#"{"result":"0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206","error":null,"id":1}"#,
    ),
    (
        r#"{"method":"getblockhash","params":{"args":[0]},"id":1}"#,
        200,
        r#"{"result":"0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206","error":null,"id":1}"#,
    ),
    (
        r#"{"method":"getblockhash","params":{"args":[0],"height":0},"id":1}"#,
        500,
        r#"{"result":null,"error":{"code":-8,"message":"Parameter height specified twice both as positional and named argument"},"id":1}"#,
    ),
    (
        r#"{"method":"getblockhash","params":{"height":0,"x":1},"id":1}"#,
        500,
        r#"{"result":null,"error":{"code":-8,"message":"Unknown named parameter x"},"id":1}"#,
    ),
    (
        r#"{"method":"getblockhash","params":["0"],"id":1}"#,
        500,
        r#"{"result":null,"error":{"code":-3,"message":"Wrong type passed:\n{\n    \"Position 1 (height)\": \"JSON value of type string is not of expected type number\"\n}"},"id":1}"#,
    ),
    (
        r#"{"method":"getblockhash","params":[0.0],"id":1}"#,
        500,
        r#"{"result":null,"error":{"code":-1,"message":"JSON integer out of range"},"id":1}"#,
    ),
    (
        r#"{"method":"getblock","params":["00"],"id":1}"#,
        500,
        r#"{"result":null,"error":{"code":-8,"message":"blockhash must be of length 64 (not 2, for '00')"},"id":1}"#,
    ),
    (
        r#"{"method":"getblock","params":{"verbose":true,"args":["zz88f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e220601"]},"id":1}"#,
        500,
        r#"{"result":null,"error":{"code":-8,"message":"blockhash must be hexadecimal string (not 'zz88f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e220601')"},"id":1}"#,
    ),
    (
        r#"{"method":"getblock","params":["0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206","1"],"id":1}"#,
        500,
        r#"{"result":null,"error":{"code":-3,"message":"JSON value of type string is not of expected type number"},"id":1}"#,
    ),
    (
        r#"{"method":"disconnectnode","params":["127.0.0.1:1",1],"id":1}"#,
        500,
        r#"{"result":null,"error":{"code":-32602,"message":"Only one of address and nodeid should be provided."},"id":1}"#,
    ),
];

#[test]
fn every_envelope_is_answered_as_bitcoind_does() {
    with_server(&Node::new(10), ServeOptions::default(), |client| {
        for (body, status, expected) in CASES {
            let response = client.post(body);
            assert_eq!((response.status, response.body.trim_end()), (status, expected), "{body}");
            let kind = response.header("content-type");
            assert_eq!(kind, (!expected.is_empty()).then_some("application/json"), "{body}");
        }
    });
}

#[test]
fn who_may_not_ask_is_told_so_as_bitcoind_does() {
    with_server(&Node::new(10), ServeOptions::default(), |client| {
        let body = br#"{"method":"getblockcount","id":1}"#;
        let check = |method: &str, path: &str, login: Option<&str>, expected: u16| {
            let response = client.send(method, path, login, body);
            assert_eq!(response.status, expected, "{method} {path} {login:?}");
            let realm = response.header("www-authenticate");
            assert_eq!(realm, (expected == 401).then_some("Basic realm=\"jsonrpc\""));
            assert!(expected == 200 || !response.body.contains("result"));
        };
        check("POST", "/", Some("u:p"), 200);
        check("POST", "/", Some("u:q"), 401);
        check("POST", "/", Some("u:"), 401);
        check("POST", "/", Some("v:p"), 401);
        check("POST", "/", None, 401);
        check("GET", "/", Some("u:p"), 405);
        check("PUT", "/", Some("u:p"), 405);
        check("GET", "/x", None, 404);
        check("POST", "/wallet/x", Some("u:p"), 404);
    });
}

#[test]
fn any_content_type_is_taken() {
    with_server(&Node::new(10), ServeOptions::default(), |client| {
        let body = r#"{"method":"getblockcount","id":1}"#;
        let length = body.len();
        let request = format!(
            "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Basic dTpw\r\n\
             Content-Type: text/plain; charset=utf-7\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        assert_eq!(client.raw(request.as_bytes()).unwrap().json()["result"], json!(0));
    });
}
