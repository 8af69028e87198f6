//! JSON-RPC as ACP uses it: one message per line.

use serde_json::{Value, json};

/// Maximum length of a request's id, as JSON.
const ID_MAX_BYTES: usize = 256;
/// Maximum length of an error's text.
const TEXT_MAX_CHARS: usize = 500;

/// The agent needs a login.
const AUTH_REQUIRED: i64 = -32000;
const METHOD_NOT_FOUND: i64 = -32601;

/// A message from the agent.
#[derive(Debug)]
pub(crate) enum Message {
    /// The response to one of our requests, by its id.
    Response(u64, Result<Value, RpcError>),
    /// A request: id, method and parameters.
    Request(Value, String, Value),
    /// A notification: method and parameters.
    Notification(String, Value),
    /// Not a message of the protocol.
    Invalid,
}

/// An error response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RpcError {
    pub(crate) code: i64,
    /// The error's text, of limited length.
    pub(crate) text: String,
}

impl RpcError {
    pub(crate) fn needs_login(&self) -> bool {
        self.code == AUTH_REQUIRED
    }
}

/// Reads one line.
pub(crate) fn read(line: &[u8]) -> Message {
    let Ok(Value::Object(mut message)) = serde_json::from_slice(line) else {
        return Message::Invalid;
    };
    let mut take = |name: &str| message.remove(name).unwrap_or_default();
    let (id, method, params) = (take("id"), take("method"), take("params"));
    match (id, method) {
        (Value::Null, Value::String(method)) => Message::Notification(method, params),
        (id, Value::String(method)) if id.to_string().len() <= ID_MAX_BYTES => {
            Message::Request(id, method, params)
        }
        (Value::Number(id), Value::Null) => match (id.as_u64(), take("error"), take("result")) {
            (Some(id), Value::Null, result) => Message::Response(id, Ok(result)),
            (Some(id), error, _) => Message::Response(id, Err(to_rpc_error(&error))),
            _ => Message::Invalid,
        },
        _ => Message::Invalid,
    }
}

/// Joins the general message with the details, which agents put into the data.
fn to_rpc_error(error: &Value) -> RpcError {
    let data = &error["data"];
    let parts = [&error["message"], data, &data["message"], &data["details"]];
    let mut texts: Vec<&str> = parts.into_iter().filter_map(Value::as_str).collect();
    if texts.len() > 1 {
        texts.retain(|part| *part != "Internal error");
    }
    let text = texts.join(": ");
    let text = text.strip_prefix("Internal error: ").unwrap_or(&text);
    RpcError {
        code: error["code"].as_i64().unwrap_or_default(),
        text: short(text),
    }
}

/// The beginning of a text, at most [`TEXT_MAX_CHARS`].
pub(crate) fn short(text: &str) -> String {
    text.chars().take(TEXT_MAX_CHARS).collect()
}

pub(crate) fn request(id: u64, method: &str, params: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
}

pub(crate) fn notification(method: &str, params: &Value) -> Value {
    json!({"jsonrpc": "2.0", "method": method, "params": params})
}

pub(crate) fn response(id: &Value, result: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "result": result})
}

/// The response to an unsupported request.
pub(crate) fn refuse(id: &Value) -> Value {
    let error = json!({"code": METHOD_NOT_FOUND, "message": "not supported"});
    json!({"jsonrpc": "2.0", "id": id, "error": error})
}
