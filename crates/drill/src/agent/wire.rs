//! Writes the claude CLI's stream-json to stdout, with every field that was recorded from it.

use std::io::Write;
use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

use super::tool::Ran;

/// The version of the CLI from which the format was recorded.
const VERSION: &str = "2.1.197";

pub(super) struct Wire {
    out: Box<dyn Write>,
    session: String,
    pub(super) model: String,
    messages: u32,
    tools: u32,
    /// The index of the next content block in the message.
    block: u32,
    is_open: bool,
}

/// How a turn ended.
pub(super) struct TurnResult<'a> {
    pub(super) text: &'a str,
    pub(super) duration: Duration,
    pub(super) messages: u32,
    pub(super) interrupted: bool,
}

impl Wire {
    pub(super) fn new(out: Box<dyn Write>, session: String, model: String) -> Wire {
        Wire {
            out,
            session,
            model,
            messages: 0,
            tools: 0,
            block: 0,
            is_open: true,
        }
    }

    /// Whether every line so far could be written.
    pub(super) fn is_open(&self) -> bool {
        self.is_open
    }

    fn send(&mut self, line: &Value) {
        let written = writeln!(self.out, "{line}").and_then(|()| self.out.flush());
        self.is_open &= written.is_ok();
    }

    /// Sends a line of the session, with the session's id and a new id.
    fn send_own(&mut self, mut line: Value) {
        line["session_id"] = json!(self.session);
        line["uuid"] = json!(Uuid::new_v4().to_string());
        self.send(&line);
    }

    fn event(&mut self, event: &Value) {
        self.send_own(json!({"type": "stream_event", "event": event, "parent_tool_use_id": null}));
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
        let cwd = std::env::current_dir().unwrap_or_default();
        self.send_own(json!({
            "type": "system", "subtype": "init", "cwd": cwd.to_string_lossy(), "tools": ["Bash", "Read"], "mcp_servers": [],
            "model": self.model, "permissionMode": "bypassPermissions", "slash_commands": [],
            "apiKeySource": "none", "claude_code_version": VERSION, "output_style": "default",
            "agents": ["breakglass"], "skills": [], "plugins": [], "analytics_disabled": true
        }));
    }

    pub(super) fn begin_message(&mut self) {
        self.messages += 1;
        self.block = 0;
        self.send_own(json!({"type": "system", "subtype": "status", "status": "requesting"}));
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
        self.begin_block(&json!({"type": "text", "text": ""}));
    }

    pub(super) fn text(&mut self, word: &str) {
        self.delta(&json!({"type": "text_delta", "text": word}));
    }

    pub(super) fn end_text(&mut self, whole: &str) {
        self.end_block(&json!({"type": "text", "text": whole}));
    }

    /// Sends a call of the Bash tool; returns its id.
    pub(super) fn tool(&mut self, input: &Value) -> String {
        self.tools += 1;
        let session: String = self.session.chars().take(8).collect();
        let id = format!("toolu_{:02}_{session}", self.tools);
        self.begin_block(&json!({"type": "tool_use", "id": id, "name": "Bash", "input": {}}));
        self.delta(&json!({"type": "input_json_delta", "partial_json": input.to_string()}));
        self.end_block(&json!({"type": "tool_use", "id": id, "name": "Bash", "input": input}));
        id
    }

    fn begin_block(&mut self, block: &Value) {
        let index = self.block;
        self.event(&json!({"type": "content_block_start", "index": index, "content_block": block}));
    }

    fn delta(&mut self, delta: &Value) {
        let index = self.block;
        self.event(&json!({"type": "content_block_delta", "index": index, "delta": delta}));
    }

    fn end_block(&mut self, block: &Value) {
        let message = self.message(&json!([block]));
        self.send_own(json!({"type": "assistant", "message": message, "parent_tool_use_id": null}));
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

    /// Sends the result of a tool; `None` if it was interrupted.
    pub(super) fn tool_result(&mut self, id: &str, ran: Option<&Ran>) {
        let is_error = !ran.is_some_and(Ran::ok);
        let (content, detail) = match ran {
            None => {
                let text = "The tool use was interrupted.".to_owned();
                (text, json!("User rejected tool use"))
            }
            Some(ran) if is_error => {
                let code = ran.code.unwrap_or(137);
                let text = format!("Exit code {code}\n{}", ran.text());
                (text.clone(), json!(format!("Error: {text}")))
            }
            Some(ran) => {
                let detail = json!({
                    "stdout": ran.stdout.trim_end(), "stderr": ran.stderr.trim_end(),
                    "interrupted": false, "isImage": false, "noOutputExpected": false
                });
                (ran.text(), detail)
            }
        };
        let block = json!({"tool_use_id": id, "type": "tool_result", "content": content, "is_error": is_error});
        self.user(&block, &detail);
    }

    /// Sends the note that the CLI adds to the conversation when it is interrupted.
    pub(super) fn interrupted(&mut self, in_tool: bool) {
        let suffix = if in_tool { " for tool use" } else { "" };
        let text = format!("[Request interrupted by user{suffix}]");
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
        self.send_own(line);
    }

    pub(super) fn result(&mut self, result: &TurnResult<'_>) {
        let millis = u64::try_from(result.duration.as_millis()).unwrap_or(u64::MAX);
        let mut line = json!({
            "type": "result", "subtype": "success", "is_error": false, "api_error_status": null,
            "duration_ms": millis, "duration_api_ms": millis, "num_turns": result.messages,
            "result": result.text, "stop_reason": "end_turn", "total_cost_usd": 0.0,
            "usage": {"input_tokens": 0, "output_tokens": 0}, "modelUsage": {},
            "permission_denials": [], "terminal_reason": "completed"
        });
        if result.interrupted {
            line["subtype"] = json!("error_during_execution");
            line["is_error"] = json!(true);
            line["terminal_reason"] = json!("aborted_tools");
            line["errors"] = json!(["interrupted"]);
            if let Some(fields) = line.as_object_mut() {
                fields.remove("result");
                fields.remove("api_error_status");
            }
        }
        self.send_own(line);
    }
}
