//! What goes out on stdout: the claude CLI's stream-json, field for field as recorded.

use std::io::Write;
use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

const VERSION: &str = "2.1.197";

/// The writing end of a conversation.
pub(super) struct Wire<W> {
    out: W,
    pub(super) session: String,
    pub(super) model: String,
    messages: u32,
    tools: u32,
    block: u32,
    /// Whether somebody still reads.
    open: bool,
}

/// How a turn ended.
pub(super) struct Ending<'a> {
    pub(super) text: &'a str,
    pub(super) took: Duration,
    pub(super) messages: u32,
    pub(super) interrupted: bool,
}

impl<W: Write> Wire<W> {
    pub(super) fn new(out: W, session: String, model: String) -> Wire<W> {
        Wire {
            out,
            session,
            model,
            messages: 0,
            tools: 0,
            block: 0,
            open: true,
        }
    }

    /// Whether somebody still reads.
    pub(super) fn is_open(&self) -> bool {
        self.open
    }

    fn send(&mut self, line: &Value) {
        let mut text = line.to_string();
        text.push('\n');
        let sent = self
            .out
            .write_all(text.as_bytes())
            .and_then(|()| self.out.flush());
        self.open &= sent.is_ok();
    }

    /// A line of the session's: with its id and one of its own.
    fn own(&mut self, mut line: Value) {
        line["session_id"] = json!(self.session);
        line["uuid"] = json!(Uuid::new_v4().to_string());
        self.send(&line);
    }

    fn event(&mut self, event: &Value) {
        self.own(json!({"type": "stream_event", "event": event, "parent_tool_use_id": null}));
    }

    pub(super) fn answer(&mut self, request_id: &str, response: Option<Value>) {
        let mut inner = json!({"subtype": "success", "request_id": request_id});
        if let Some(response) = response {
            inner["response"] = response;
        }
        self.send(&json!({"type": "control_response", "response": inner}));
    }

    pub(super) fn refuse(&mut self, request_id: &str, error: &str) {
        self.send(&json!({"type": "control_response", "response": {"subtype": "error", "request_id": request_id, "error": error}}));
    }

    pub(super) fn init(&mut self) {
        let cwd = std::env::current_dir()
            .map(|dir| dir.display().to_string())
            .unwrap_or_default();
        let model = self.model.clone();
        self.own(json!({
            "type": "system", "subtype": "init", "cwd": cwd, "tools": ["Bash", "Read"], "mcp_servers": [],
            "model": model, "permissionMode": "bypassPermissions", "slash_commands": [],
            "apiKeySource": "none", "claude_code_version": VERSION, "output_style": "default",
            "agents": ["breakglass"], "skills": [], "plugins": [], "analytics_disabled": true
        }));
    }

    pub(super) fn begin_message(&mut self) {
        self.messages += 1;
        self.block = 0;
        self.own(json!({"type": "system", "subtype": "status", "status": "requesting"}));
        let message = self.message(&json!([]));
        self.event(&json!({"type": "message_start", "message": message}));
    }

    fn message(&self, content: &Value) -> Value {
        json!({
            "id": format!("msg_{}", self.messages), "type": "message", "role": "assistant", "model": self.model,
            "content": content, "stop_reason": null, "stop_sequence": null,
            "usage": {"input_tokens": 0, "output_tokens": 0}
        })
    }

    pub(super) fn begin_text(&mut self) {
        let index = self.block;
        self.event(&json!({"type": "content_block_start", "index": index, "content_block": {"type": "text", "text": ""}}));
    }

    pub(super) fn text(&mut self, token: &str) {
        let index = self.block;
        self.event(&json!({"type": "content_block_delta", "index": index, "delta": {"type": "text_delta", "text": token}}));
    }

    pub(super) fn end_text(&mut self, whole: &str) {
        self.end_block(&json!({"type": "text", "text": whole}));
    }

    /// A call of Bash; returns its id.
    pub(super) fn tool(&mut self, input: &Value) -> String {
        self.tools += 1;
        let id = format!(
            "toolu_{:02}_{}",
            self.tools,
            &self.session[..self.session.len().min(8)]
        );
        let index = self.block;
        let block = json!({"type": "tool_use", "id": id, "name": "Bash", "input": {}});
        self.event(&json!({"type": "content_block_start", "index": index, "content_block": block}));
        let delta = json!({"type": "input_json_delta", "partial_json": input.to_string()});
        self.event(&json!({"type": "content_block_delta", "index": index, "delta": delta}));
        self.end_block(&json!({"type": "tool_use", "id": id, "name": "Bash", "input": input}));
        id
    }

    fn end_block(&mut self, block: &Value) {
        let message = self.message(&json!([block]));
        self.own(json!({"type": "assistant", "message": message, "parent_tool_use_id": null}));
        let index = self.block;
        self.event(&json!({"type": "content_block_stop", "index": index}));
        self.block += 1;
    }

    pub(super) fn end_message(&mut self, stop_reason: &str) {
        let delta = json!({"stop_reason": stop_reason, "stop_sequence": null});
        self.event(
            &json!({"type": "message_delta", "delta": delta, "usage": {"output_tokens": 0}}),
        );
        self.event(&json!({"type": "message_stop"}));
    }

    pub(super) fn tool_result(&mut self, id: &str, content: &str, is_error: bool, detail: &Value) {
        let block = json!({"tool_use_id": id, "type": "tool_result", "content": content, "is_error": is_error});
        self.user(&block, detail);
    }

    /// The note that the real program leaves in the conversation when it is stopped.
    pub(super) fn interrupted(&mut self, in_tool: bool) {
        let text = if in_tool {
            "[Request interrupted by user for tool use]"
        } else {
            "[Request interrupted by user]"
        };
        self.user(&json!({"type": "text", "text": text}), &Value::Null);
    }

    fn user(&mut self, block: &Value, detail: &Value) {
        let now = jiff::Timestamp::now();
        let mut line = json!({
            "type": "user", "message": {"role": "user", "content": [block]}, "parent_tool_use_id": null,
            "timestamp": format!("{now:.3}")
        });
        if !detail.is_null() {
            line["tool_use_result"] = detail.clone();
        }
        self.own(line);
    }

    pub(super) fn result(&mut self, ending: &Ending<'_>) {
        let millis = u64::try_from(ending.took.as_millis()).unwrap_or(u64::MAX);
        let mut line = json!({
            "type": "result", "subtype": "success", "is_error": false, "api_error_status": null,
            "duration_ms": millis, "duration_api_ms": millis, "num_turns": ending.messages,
            "result": ending.text, "stop_reason": "end_turn", "total_cost_usd": 0.0,
            "usage": {"input_tokens": 0, "output_tokens": 0}, "modelUsage": {},
            "permission_denials": [], "terminal_reason": "completed"
        });
        if ending.interrupted {
            line["subtype"] = json!("error_during_execution");
            line["is_error"] = json!(true);
            line["terminal_reason"] = json!("aborted_tools");
            line["errors"] = json!(["interrupted"]);
            if let Some(fields) = line.as_object_mut() {
                fields.remove("result");
                fields.remove("api_error_status");
            }
        }
        self.own(line);
    }
}
