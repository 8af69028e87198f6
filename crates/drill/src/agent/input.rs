//! Reads prompts and control requests from stdin, one JSON object per line.

use std::io::{BufRead, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use serde_json::Value;

/// Maximum length of a line; a longer one ends the conversation.
const LINE_MAX_BYTES: u64 = 4 << 20;
/// Maximum number of lines that wait to be handled.
const LINES_MAX: usize = 64;

/// A line from the client.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Input {
    Prompt(String),
    /// A request to the program instead of the model.
    Control {
        id: String,
        request: Value,
    },
    /// Stdin is closed: the conversation is over.
    Closed,
}

/// Reads stdin on a separate thread.
pub(super) fn listen(stdin: impl Read + Send + 'static) -> Receiver<Input> {
    let (sender, receiver) = sync_channel(LINES_MAX);
    let thread = std::thread::Builder::new().name("stdin".to_owned());
    // Without a thread the sender is dropped, and the receiver ends like a closed conversation.
    let _ = thread.spawn(move || read_all(stdin, &sender));
    receiver
}

fn read_all(stdin: impl Read, sender: &SyncSender<Input>) {
    let mut reader = std::io::BufReader::new(stdin);
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut limited = reader.by_ref().take(LINE_MAX_BYTES);
        let read = limited.read_until(b'\n', &mut line);
        let is_cut = line.len() as u64 == LINE_MAX_BYTES && line.last() != Some(&b'\n');
        if !matches!(read, Ok(1..)) || is_cut {
            break;
        }
        if let Some(input) = decode(&line)
            && sender.send(input).is_err()
        {
            break;
        }
    }
    let _ = sender.send(Input::Closed);
}

/// Decodes a line; ignores unknown lines, as the real program does.
fn decode(line: &[u8]) -> Option<Input> {
    let mut line: Value = serde_json::from_slice(line).ok()?;
    match line["type"].as_str()? {
        "user" => Some(Input::Prompt(text(line.get("message")?.get("content")?))),
        "control_request" => Some(Input::Control {
            id: line["request_id"].as_str()?.to_owned(),
            request: line["request"].take(),
        }),
        _ => None,
    }
}

/// The text of a prompt: a string, or the text blocks among several blocks.
fn text(content: &Value) -> String {
    let blocks = content.as_array().into_iter().flatten();
    let texts: Vec<&str> = blocks.filter_map(|block| block["text"].as_str()).collect();
    content
        .as_str()
        .map_or_else(|| texts.join("\n"), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn recorded_lines_are_decoded() {
        let prompt = br#"{"type":"user","message":{"role":"user","content":"Triage the devvm."},"parent_tool_use_id":null,"session_id":""}"#;
        assert_eq!(
            decode(prompt),
            Some(Input::Prompt("Triage the devvm.".into()))
        );
        let stop = br#"{"type":"control_request","request_id":"stop-1","request":{"subtype":"interrupt"}}"#;
        assert_eq!(
            decode(stop),
            Some(Input::Control {
                id: "stop-1".into(),
                request: json!({"subtype": "interrupt"})
            })
        );
        assert_eq!(decode(b"not json"), None);
        assert_eq!(decode(br#"{"type":"new kind"}"#), None);
    }

    #[test]
    fn a_closed_stdin_closes_the_conversation() {
        let input = listen(&b"{\"type\":\"user\",\"message\":{\"content\":[{\"type\":\"text\",\"text\":\"hi\"}]}}\n"[..]);
        assert_eq!(input.recv(), Ok(Input::Prompt("hi".into())));
        assert_eq!(input.recv(), Ok(Input::Closed));
    }
}
