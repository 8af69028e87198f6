//! A small client of QEMU's monitor, for faults.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

/// Gives one command to the monitor on `socket` and returns its answer.
///
/// # Panics
/// When the monitor does not answer within a minute, or refuses.
pub(super) fn ask(socket: &Path, command: &str, arguments: &Value) -> Value {
    let stream = UnixStream::connect(socket).unwrap();
    let patience = Some(Duration::from_secs(60));
    stream.set_read_timeout(patience).unwrap();
    let mut lines = BufReader::new(&stream).lines();
    let mut say = |command: &str, arguments: &Value| {
        let request = json!({ "execute": command, "arguments": arguments });
        writeln!(&stream, "{request}").unwrap();
        loop {
            let line = lines.next().unwrap().unwrap();
            let mut answer: Value = serde_json::from_str(&line).unwrap();
            assert!(answer.get("error").is_none(), "{command}: {answer}");
            if let Some(value) = answer.get_mut("return") {
                return value.take();
            }
        }
    };
    say("qmp_capabilities", &json!({}));
    say(command, arguments)
}
