//! QEMU's monitor, asked over its socket: one JSON object a line, one client at a time. So nothing
//! stays connected: connect, ask, leave.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::child;

/// Longest conversation that is read: block statistics of a hundred disks fit a few times.
const LONGEST: u64 = 1 << 20;

/// Gives the monitor one command; the value of its answer's `return`.
///
/// A stopped QEMU still accepts connections into its backlog, and blocks the connect itself once
/// that is full: the whole conversation is bounded by `limit`.
///
/// # Errors
/// A sentence: nobody listens, no answer in time, or the monitor's own error.
pub(crate) fn ask(
    socket: &Path,
    command: &str,
    arguments: Value,
    limit: Duration,
) -> Result<Value, String> {
    let socket = socket.to_owned();
    let request = match arguments {
        Value::Null => json!({ "execute": command }),
        arguments => json!({ "execute": command, "arguments": arguments }),
    };
    child::within(limit, "the monitor", move || {
        let stream = UnixStream::connect(&socket);
        let stream = stream.map_err(|error| format!("{}: {error}", socket.display()))?;
        // Ends the thread too, once it is left behind.
        let bounded = stream.set_read_timeout(Some(limit));
        bounded.map_err(|error| error.to_string())?;
        let mut lines = BufReader::new((&stream).take(LONGEST));
        if line(&mut lines)?.get("QMP").is_none() {
            return Err("what listens there is not a QEMU monitor".to_owned());
        }
        answer(
            &mut lines,
            &stream,
            &json!({ "execute": "qmp_capabilities" }),
        )?;
        answer(&mut lines, &stream, &request)
    })
}

fn answer(
    lines: &mut impl BufRead,
    mut stream: &UnixStream,
    request: &Value,
) -> Result<Value, String> {
    let sent = stream.write_all(format!("{request}\n").as_bytes());
    sent.map_err(|error| format!("the monitor does not listen: {error}"))?;
    // Events of a busy guest may come first.
    loop {
        let mut answer = line(lines)?;
        if let Some(value) = answer.get_mut("return") {
            return Ok(value.take());
        }
        if let Some(error) = answer.get("error") {
            return Err(format!("the monitor refuses: {error}"));
        }
    }
}

pub(super) fn line(lines: &mut impl BufRead) -> Result<Value, String> {
    let mut line = Vec::new();
    match lines.read_until(b'\n', &mut line) {
        Ok(_) if line.ends_with(b"\n") => serde_json::from_slice(&line)
            .map_err(|error| format!("the monitor does not speak JSON: {error}")),
        Ok(_) => Err("the monitor closed the connection, or never ends".to_owned()),
        Err(error) => Err(format!("the monitor does not answer: {error}")),
    }
}
