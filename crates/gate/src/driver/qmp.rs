//! A client for QEMU's monitor (QMP). The monitor serves one client at a time, so the client
//! connects for each command and disconnects at once.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::json_socket::JsonSocket;
use crate::deadline::with_timeout;

/// Maximum size of a conversation: a few times the block statistics of a hundred disks.
const CONVERSATION_MAX_BYTES: u64 = 1 << 20;

/// Sends the monitor one command and returns the `return` of its answer.
///
/// A stopped QEMU still accepts connections into its backlog, and blocks the connect itself once
/// that is full. So `timeout` bounds the whole conversation.
///
/// # Errors
/// If no process listens, if there is no answer in time, or the monitor's own error.
pub(super) fn query(
    socket: &Path,
    command: &str,
    arguments: Value,
    timeout: Duration,
) -> Result<Value, String> {
    let socket = socket.to_owned();
    let request = request(command, arguments);
    with_timeout(timeout, "the monitor", move || {
        let mut monitor =
            JsonSocket::connect(&socket, "the monitor", timeout, CONVERSATION_MAX_BYTES)?;
        if monitor.receive()?.get("QMP").is_none() {
            return Err("the program that listens there is not a QEMU monitor".to_owned());
        }
        execute(&mut monitor, &json!({ "execute": "qmp_capabilities" }))?;
        execute(&mut monitor, &request)
    })
}

/// A command in QMP's format; `arguments` may be null.
pub(super) fn request(command: &str, arguments: Value) -> Value {
    match arguments {
        Value::Null => json!({ "execute": command }),
        arguments => json!({ "execute": command, "arguments": arguments }),
    }
}

fn execute(monitor: &mut JsonSocket, request: &Value) -> Result<Value, String> {
    monitor.send(request)?;
    // Events may come before the answer.
    loop {
        let mut answer = monitor.receive()?;
        if let Some(value) = answer.get_mut("return") {
            return Ok(value.take());
        }
        if let Some(error) = answer.get("error") {
            return Err(format!("the monitor refuses: {error}"));
        }
    }
}
