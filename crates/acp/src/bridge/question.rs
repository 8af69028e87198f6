use serde_json::Value;

/// A question of the agent that the server has not answered yet.
#[derive(Debug)]
pub(super) struct Question {
    /// Id of the agent's request.
    pub(super) id: Value,
    /// Id of the tool call.
    pub(super) call: String,
    /// The option that allows the call once.
    pub(super) allow: Option<Value>,
    /// The option that rejects it.
    pub(super) reject: Option<Value>,
}
