//! JSON-RPC 1.0, 1.1 and 2.0, one call or many, as bitcoind takes and answers them. Core:
//! `httprpc.cpp`, `rpc/request.cpp`.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::Backend;
use crate::call::{Call, Session};
use crate::error::{Answer, RpcError, code, fail};
use crate::table::{Effect, Method};

/// A body holds at most so many values; more would take much memory for nothing. Counted are
/// commas and opening brackets, those inside strings too.
const MAX_VALUES: usize = 200_000;

/// Calls of a batch beyond so many bytes of answers are refused.
const MAX_REPLY: usize = 256 << 20;

/// An answer: an HTTP status, a body that may be empty, and the block that was read.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: String,
    pub(crate) session: Session,
}

/// What is known of a request while it is read; in a batch, a request that is no object is answered
/// with what was read of the one before, as Core does.
#[derive(Debug)]
struct Request {
    /// None when there is none.
    id: Option<Value>,
    is_v2: bool,
    method: String,
    params: Value,
}

impl Request {
    const fn new() -> Self {
        Self { id: Some(Value::Null), is_v2: false, method: String::new(), params: Value::Null }
    }

    fn is_notification(&self) -> bool {
        self.is_v2 && self.id.is_none()
    }

    /// Core: `JSONRPCRequest::parse`.
    fn read(&mut self, request: Value) -> Result<(), RpcError> {
        let Value::Object(mut request) = request else {
            return fail(code::INVALID_REQUEST, "Invalid Request object");
        };
        self.id = request.remove("id");
        self.is_v2 = false;
        self.is_v2 = match request.get("jsonrpc") {
            None | Some(Value::Null) => false,
            Some(Value::String(version)) if version == "1.0" => false,
            Some(Value::String(version)) if version == "2.0" => true,
            Some(Value::String(_)) => {
                return fail(code::INVALID_REQUEST, "JSON-RPC version not supported");
            }
            Some(_) => return fail(code::INVALID_REQUEST, "jsonrpc field must be a string"),
        };
        self.method = match request.remove("method") {
            None | Some(Value::Null) => return fail(code::INVALID_REQUEST, "Missing method"),
            Some(Value::String(method)) => method,
            Some(_) => return fail(code::INVALID_REQUEST, "Method must be a string"),
        };
        self.params = match request.remove("params") {
            None | Some(Value::Null) => Value::Array(Vec::new()),
            Some(params @ (Value::Array(_) | Value::Object(_))) => params,
            Some(_) => return fail(code::INVALID_REQUEST, "Params must be an array or object"),
        };
        Ok(())
    }

    /// Core: `JSONRPCReplyObj`.
    fn reply(&mut self, answer: Answer) -> String {
        let mut fields = Map::new();
        if self.is_v2 {
            fields.insert("jsonrpc".into(), "2.0".into());
        }
        let (result, error) = match answer {
            Ok(result) => (Some(result), None),
            Err(error) => (None, Some(error.to_json())),
        };
        for (name, value) in [("result", result), ("error", error)] {
            if value.is_some() || !self.is_v2 {
                fields.insert(name.into(), value.unwrap_or_default());
            }
        }
        if let Some(id) = &self.id {
            fields.insert("id".into(), id.clone());
        }
        Value::Object(fields).to_string()
    }

    fn run(&mut self, backend: &Arc<dyn Backend>, session: &mut Session) -> Answer {
        let Some(method) = Method::find(&self.method) else {
            return fail(code::METHOD_NOT_FOUND, "Method not found");
        };
        let _active = backend.calls().begin(method.name);
        let (args, at) = method.arguments(std::mem::take(&mut self.params))?;
        if method.effect == Effect::Moves {
            session.pin = None;
        }
        let answer = (method.run)(&mut Call { backend, session, method, args, at });
        if method.effect == Effect::Moves {
            session.pin = None;
        }
        answer
    }
}

/// Answers a request's body.
pub(crate) fn answer(backend: &Arc<dyn Backend>, body: &[u8]) -> Reply {
    let mut session = Session::default();
    let is_mark = |byte: &&u8| matches!(byte, b',' | b'[' | b'{');
    let parsed = if MAX_VALUES < body.iter().filter(is_mark).count() {
        fail(code::LIMIT_EXCEEDED, format!("The request has more than {MAX_VALUES} values"))
    } else {
        serde_json::from_slice(body).map_err(|_| RpcError::new(code::PARSE_ERROR, "Parse error"))
    };
    let mut request = Request::new();
    let (status, body) = match parsed {
        Ok(Value::Array(calls)) => batch(backend, &mut session, calls),
        Ok(call @ Value::Object(_)) => single(backend, &mut session, call),
        Ok(_) => {
            failed(&mut request, RpcError::new(code::PARSE_ERROR, "Top-level object parse error"))
        }
        Err(error) => failed(&mut request, error),
    };
    Reply { status, body, session }
}

fn single(backend: &Arc<dyn Backend>, session: &mut Session, call: Value) -> (u16, String) {
    let mut request = Request::new();
    if let Err(error) = request.read(call) {
        return failed(&mut request, error);
    }
    match request.run(backend, session) {
        Err(error) if !request.is_v2 => failed(&mut request, error),
        _ if request.is_notification() => (204, String::new()),
        answer => (200, request.reply(answer) + "\n"),
    }
}

/// Core: `JSONErrorReply`.
fn failed(request: &mut Request, error: RpcError) -> (u16, String) {
    let status = match error.code {
        code::INVALID_REQUEST => 400,
        code::METHOD_NOT_FOUND => 404,
        _ => 500,
    };
    (status, request.reply(Err(error)) + "\n")
}

fn batch(backend: &Arc<dyn Backend>, session: &mut Session, calls: Vec<Value>) -> (u16, String) {
    let is_empty = calls.is_empty();
    let mut body = String::from("[");
    let mut request = Request::new();
    for call in calls {
        let answer = match request.read(call) {
            Ok(()) if MAX_REPLY < body.len() => {
                fail(code::LIMIT_EXCEEDED, "The answers of the batch are too long")
            }
            Ok(()) => request.run(backend, session),
            Err(error) => Err(error),
        };
        if !request.is_notification() {
            if body.len() != 1 {
                body.push(',');
            }
            body += &request.reply(answer);
        }
    }
    if body.len() == 1 && !is_empty {
        return (204, String::new());
    }
    (200, body + "]\n")
}
