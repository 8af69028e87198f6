//! The guest agent, asked one thing over its socket: whether a backup holds the file systems frozen.
//! It answers that also while they are.

use std::io::{BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::qmp::line;
use crate::child;

/// Longest conversation that is read.
const LONGEST: u64 = 64 * 1024;
pub(crate) const STATUS: &str = "guest-fsfreeze-status";

/// What the agent on `socket` says; an error where it does not within `limit`.
pub(crate) fn is_frozen(socket: &Path, limit: Duration) -> Result<bool, String> {
    let socket = socket.to_owned();
    // Answers to those who asked before, and left, may still come first.
    let mark = u64::from(std::process::id());
    child::within(limit, "the guest agent", move || {
        let stream = UnixStream::connect(&socket);
        let stream = stream.map_err(|error| format!("{}: {error}", socket.display()))?;
        let bounded = stream.set_read_timeout(Some(limit));
        bounded.map_err(|error| error.to_string())?;
        let mut lines = BufReader::new((&stream).take(LONGEST));
        let sync = json!({ "execute": "guest-sync", "arguments": { "id": mark } });
        say(&stream, &sync)?;
        while line(&mut lines).map(|answer| answer["return"] != mark)? {}
        say(&stream, &json!({ "execute": STATUS }))?;
        read(&line(&mut lines)?)
    })
}

/// What `answer` says of the file systems.
pub(crate) fn read(answer: &Value) -> Result<bool, String> {
    match answer["return"].as_str() {
        Some("frozen") => Ok(true),
        Some("thawed") => Ok(false),
        _ => Err("the guest agent does not say whether file systems are frozen".to_owned()),
    }
}

fn say(mut stream: &UnixStream, words: &Value) -> Result<(), String> {
    let sent = stream.write_all(format!("{words}\n").as_bytes());
    sent.map_err(|error| format!("the guest agent does not listen: {error}"))
}
