//! A unix socket that speaks JSON, one object per line: QEMU's monitor or the guest agent.

use std::io::{BufRead, BufReader, Read, Take, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

/// One connection. Not bounded in time by itself: run it in [`crate::deadline::with_timeout`].
pub(super) struct JsonSocket {
    /// The peer's name, for errors.
    peer: &'static str,
    stream: UnixStream,
    lines: BufReader<Take<UnixStream>>,
}

impl JsonSocket {
    /// Connects to `path`. At most `max_bytes` are received.
    ///
    /// # Errors
    /// A sentence.
    pub(super) fn connect(
        path: &Path,
        peer: &'static str,
        timeout: Duration,
        max_bytes: u64,
    ) -> Result<JsonSocket, String> {
        let open = || {
            let stream = UnixStream::connect(path)?;
            // Ends an abandoned thread as well.
            stream.set_read_timeout(Some(timeout))?;
            let lines = BufReader::new(stream.try_clone()?.take(max_bytes));
            Ok(JsonSocket {
                peer,
                stream,
                lines,
            })
        };
        open().map_err(|error: std::io::Error| format!("{}: {error}", path.display()))
    }

    pub(super) fn send(&mut self, request: &Value) -> Result<(), String> {
        let sent = self.stream.write_all(format!("{request}\n").as_bytes());
        sent.map_err(|error| format!("{} does not read: {error}", self.peer))
    }

    pub(super) fn receive(&mut self) -> Result<Value, String> {
        let peer = self.peer;
        let mut line = Vec::new();
        match self.lines.read_until(b'\n', &mut line) {
            Ok(_) if line.ends_with(b"\n") => serde_json::from_slice(&line)
                .map_err(|error| format!("{peer} does not speak JSON: {error}")),
            Ok(_) => Err(format!("{peer} closed the connection or sends without end")),
            Err(error) => Err(format!("{peer} does not answer: {error}")),
        }
    }
}
