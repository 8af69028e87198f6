//! What comes in on stdin: prompts and control requests, one JSON object a line.

use std::io::{BufRead, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use serde::Deserialize;
use serde_json::Value;

/// Bytes of one line; a longer one ends the conversation.
const MAX_LINE: u64 = 4 << 20;
/// Lines that wait to be looked at.
const QUEUE: usize = 64;

/// One line from the other side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Input {
    Prompt(String),
    Control {
        id: String,
        request: Control,
    },
    /// Stdin is closed: the conversation is over.
    Closed,
}

/// What the other side wants of the program rather than of the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Control {
    Initialize,
    Interrupt,
    SetModel(String),
    /// Anything else, by name: refused.
    Unknown(String),
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Line {
    User {
        message: Message,
    },
    ControlRequest {
        request_id: String,
        request: Value,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Message {
    content: Value,
}

/// Reads stdin on a thread of its own.
pub(super) fn listen(stdin: impl Read + Send + 'static) -> Receiver<Input> {
    let (sender, receiver) = sync_channel(QUEUE);
    let reading = std::thread::Builder::new().name("stdin".to_owned());
    // Without a thread the sender is dropped, and the receiver finds the conversation closed.
    let _ = reading.spawn(move || read_all(stdin, &sender));
    receiver
}

fn read_all(stdin: impl Read, sender: &SyncSender<Input>) {
    let mut reader = std::io::BufReader::new(stdin);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut line);
        if !matches!(read, Ok(1..))
            || (line.last() != Some(&b'\n') && line.len() as u64 == MAX_LINE)
        {
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

/// The meaning of a line; none for what is not understood, as the real program does.
fn decode(line: &[u8]) -> Option<Input> {
    match serde_json::from_slice(line).ok()? {
        Line::User { message } => Some(Input::Prompt(text(&message.content))),
        Line::ControlRequest {
            request_id,
            request,
        } => {
            let request = match request["subtype"].as_str().unwrap_or_default() {
                "initialize" => Control::Initialize,
                "interrupt" => Control::Interrupt,
                "set_model" => {
                    Control::SetModel(request["model"].as_str().unwrap_or_default().to_owned())
                }
                other => Control::Unknown(other.to_owned()),
            };
            Some(Input::Control {
                id: request_id,
                request,
            })
        }
        Line::Other => None,
    }
}

/// The text of a prompt: a string, or blocks of which some are text.
fn text(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(blocks) => blocks
            .iter()
            .filter_map(|block| block["text"].as_str())
            .collect::<Vec<_>>()
            .join("\n"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recorded_lines_of_the_other_side_are_understood() {
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
                request: Control::Interrupt
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
