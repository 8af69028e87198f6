//! JSON-RPC as ACP uses it: one message a line.

use serde_json::{Value, json};

/// Longest id of a request that is answered, as JSON, in bytes.
const MAX_ID: usize = 256;
/// Longest text that is taken over from an error, in characters.
const MAX_WORDS: usize = 500;

/// The agent no longer takes prompts until somebody has signed in.
const AUTH_REQUIRED: i64 = -32000;
const METHOD_NOT_FOUND: i64 = -32601;

/// What the agent sent.
#[derive(Debug)]
pub(crate) enum Message {
    /// The answer to a request of ours.
    Answer(u64, Result<Value, Fault>),
    /// It wants an answer.
    Request(Value, String, Value),
    /// It tells something.
    Notice(String, Value),
    /// Nothing that the protocol knows.
    Nonsense,
}

/// Why the agent did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) code: i64,
    /// What it says, bounded.
    pub(crate) words: String,
}

impl Fault {
    pub(crate) fn is_of_login(&self) -> bool {
        self.code == AUTH_REQUIRED
    }
}

/// Reads one line.
pub(crate) fn read(line: &[u8]) -> Message {
    let Ok(Value::Object(mut message)) = serde_json::from_slice(line) else {
        return Message::Nonsense;
    };
    let mut take = |name: &str| message.remove(name).unwrap_or_default();
    let (id, method, params) = (take("id"), take("method"), take("params"));
    match (id, method) {
        (Value::Null, Value::String(method)) => Message::Notice(method, params),
        (id, Value::String(method)) if id.to_string().len() <= MAX_ID => {
            Message::Request(id, method, params)
        }
        (Value::Number(id), Value::Null) => match (id.as_u64(), take("error"), take("result")) {
            (Some(id), Value::Null, result) => Message::Answer(id, Ok(result)),
            (Some(id), error, _) => Message::Answer(id, Err(fault(&error))),
            _ => Message::Nonsense,
        },
        _ => Message::Nonsense,
    }
}

/// The general words first, then those for the case, which agents put into the data.
fn fault(error: &Value) -> Fault {
    let data = &error["data"];
    let parts = [&error["message"], data, &data["message"], &data["details"]];
    let mut words: Vec<&str> = parts.into_iter().filter_map(Value::as_str).collect();
    if words.len() > 1 {
        words.retain(|part| *part != "Internal error");
    }
    let words = words.join(": ");
    let words = words.strip_prefix("Internal error: ").unwrap_or(&words);
    Fault {
        code: error["code"].as_i64().unwrap_or_default(),
        words: short(words),
    }
}

/// The beginning of a text.
pub(crate) fn short(text: &str) -> String {
    text.chars().take(MAX_WORDS).collect()
}

pub(crate) fn request(id: u64, method: &str, params: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
}

pub(crate) fn notice(method: &str, params: &Value) -> Value {
    json!({"jsonrpc": "2.0", "method": method, "params": params})
}

pub(crate) fn answer(id: &Value, result: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "result": result})
}

/// The answer to a request that is not served here.
pub(crate) fn refuse(id: &Value) -> Value {
    let error = json!({"code": METHOD_NOT_FOUND, "message": "not served here"});
    json!({"jsonrpc": "2.0", "id": id, "error": error})
}
