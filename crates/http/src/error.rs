use serde_json::{Value, json};

/// What a method answers.
pub(crate) type Answer = Result<Value, RpcError>;

/// An error that a client sees. Core: `JSONRPCError`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} ({code})")]
pub(crate) struct RpcError {
    pub(crate) code: i32,
    pub(crate) message: String,
}

/// Core's numbers. Core: `RPCErrorCode`.
pub(crate) mod code {
    pub(crate) const INVALID_REQUEST: i32 = -32600;
    pub(crate) const METHOD_NOT_FOUND: i32 = -32601;
    pub(crate) const INVALID_PARAMS: i32 = -32602;
    pub(crate) const INTERNAL_ERROR: i32 = -32603;
    pub(crate) const PARSE_ERROR: i32 = -32700;
    pub(crate) const MISC_ERROR: i32 = -1;
    pub(crate) const TYPE_ERROR: i32 = -3;
    pub(crate) const INVALID_ADDRESS_OR_KEY: i32 = -5;
    pub(crate) const INVALID_PARAMETER: i32 = -8;
    pub(crate) const CLIENT_NOT_CONNECTED: i32 = -9;
    pub(crate) const DATABASE_ERROR: i32 = -20;
    pub(crate) const DESERIALIZATION_ERROR: i32 = -22;
    pub(crate) const CLIENT_NODE_ALREADY_ADDED: i32 = -23;
    pub(crate) const CLIENT_NODE_NOT_ADDED: i32 = -24;
    pub(crate) const VERIFY_ERROR: i32 = -25;
    pub(crate) const CLIENT_NODE_NOT_CONNECTED: i32 = -29;
    pub(crate) const CLIENT_INVALID_IP_OR_SUBNET: i32 = -30;
    pub(crate) const CLIENT_NODE_CAPACITY_REACHED: i32 = -34;
    pub(crate) const LIMIT_EXCEEDED: i32 = -37;
}

impl RpcError {
    pub(crate) fn new(code: i32, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({ "code": self.code, "message": self.message })
    }
}

/// Fails with a code and a sentence.
pub(crate) fn fail<T>(code: i32, message: impl Into<String>) -> Result<T, RpcError> {
    Err(RpcError::new(code, message))
}

/// Fails if it is so.
pub(crate) fn fail_if(is_so: bool, code: i32, text: impl Into<String>) -> Result<(), RpcError> {
    if is_so { fail(code, text) } else { Ok(()) }
}
