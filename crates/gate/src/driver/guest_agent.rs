//! A client for the guest agent, for one question: whether a backup has frozen the file systems.
//! The agent answers it even while they are frozen.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::json_socket::JsonSocket;
use crate::deadline::with_timeout;

const CONVERSATION_MAX_BYTES: u64 = 64 * 1024;
pub(super) const FREEZE_STATUS: &str = "guest-fsfreeze-status";

/// Asks the agent on `socket`.
///
/// # Errors
/// It did not answer within `timeout`.
pub(super) fn is_frozen(socket: &Path, timeout: Duration) -> Result<bool, String> {
    let socket = socket.to_owned();
    with_timeout(timeout, "the guest agent", move || {
        let mut agent =
            JsonSocket::connect(&socket, "the guest agent", timeout, CONVERSATION_MAX_BYTES)?;
        // Skip the answers to earlier clients that have disconnected.
        let id = u64::from(std::process::id());
        agent.send(&json!({ "execute": "guest-sync", "arguments": { "id": id } }))?;
        while agent.receive()?["return"] != id {}
        agent.send(&json!({ "execute": FREEZE_STATUS }))?;
        parse_status(&agent.receive()?)
    })
}

/// Whether an answer to [`FREEZE_STATUS`] reports frozen file systems.
pub(super) fn parse_status(answer: &Value) -> Result<bool, String> {
    match answer["return"].as_str() {
        Some("frozen") => Ok(true),
        Some("thawed") => Ok(false),
        _ => Err("the guest agent did not report whether file systems are frozen".to_owned()),
    }
}
