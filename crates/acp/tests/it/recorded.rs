//! The bridge against recordings of real agents, codex-acp 0.16.0 and opencode 1.18.33. A recording contains both
//! directions; the bridge has to send exactly what was sent then.

use breakglass_acp::{Bridge, Effect, Plan, Session};
use breakglass_agent::wire::{self, Block, Line, decode};
use serde_json::Value;

const WITH_TOOL: [&str; 2] = [
    include_str!("../recordings/codex-turn-with-tool.jsonl"),
    include_str!("../recordings/opencode-turn-with-tool.jsonl"),
];
const DENIED: [&str; 2] = [
    include_str!("../recordings/codex-denied.jsonl"),
    include_str!("../recordings/opencode-denied.jsonl"),
];
const STOPPED: [&str; 2] = [
    include_str!("../recordings/codex-stopped.jsonl"),
    include_str!("../recordings/opencode-stopped.jsonl"),
];
const UNAUTHORIZED: [&str; 2] = [
    include_str!("../recordings/codex-unauthorized.jsonl"),
    include_str!("../recordings/opencode-unauthorized.jsonl"),
];

fn plan() -> Plan {
    Plan {
        session: Session::New,
        name: "7f9c2ba4-e88f-427d-8561-0123456789ab".to_owned(),
        model: "default".to_owned(),
        instructions: String::new(),
        directory: "/home/agent/work".to_owned(),
        max_retries: 1,
        variables: Vec::new(),
    }
}

/// Plays a recording again. What was sent to the agent then decides what the server sends now.
#[derive(Default)]
struct Play {
    bridge: Option<Bridge>,
    /// Messages of the bridge that the recording has not confirmed yet.
    sent: Vec<Value>,
    /// A short form of each line for the server.
    printed: Vec<String>,
    asked: Vec<String>,
}

impl Play {
    fn of(recording: &str) -> Vec<String> {
        let mut play = Play::default();
        let (bridge, effects) = Bridge::new(plan());
        play.bridge = Some(bridge);
        play.take(effects);
        for line in recording.lines() {
            let entry: Value = serde_json::from_str(line).unwrap();
            match entry["dir"].as_str() {
                Some("to_agent") => play.expect(&entry["line"]),
                _ => {
                    let line = entry["line"].to_string();
                    let effects = play.bridge.as_mut().unwrap().from_agent(line.as_bytes());
                    play.take(effects);
                }
            }
        }
        assert!(
            play.sent.is_empty(),
            "not in the recording: {:?}",
            play.sent
        );
        play.printed
    }

    /// The bridge sends this, by itself or because of a line of the server.
    fn expect(&mut self, line: &Value) {
        if self.sent.is_empty() {
            let line_of_server = match line["method"].as_str() {
                Some("session/prompt") => {
                    wire::prompt(line["params"]["prompt"][0]["text"].as_str().unwrap())
                }
                Some("session/cancel") => wire::interrupt("stop"),
                _ => self.ruling(line["result"]["outcome"]["optionId"].as_str().unwrap()),
            };
            let effects = self
                .bridge
                .as_mut()
                .unwrap()
                .from_server(line_of_server.as_bytes());
            self.take(effects);
        }
        let mut sent = self.sent.remove(0);
        // The recorded version may be older.
        if sent["method"] == "initialize" {
            sent["params"]["clientInfo"] = line["params"]["clientInfo"].clone();
        }
        assert_eq!(&sent, line);
    }

    fn ruling(&mut self, option: &str) -> String {
        let name = self.asked.remove(0);
        match option {
            "approved" | "once" => {
                wire::allow(&name, &serde_json::value::to_raw_value("x").unwrap())
            }
            _ => wire::deny(&name, "not today"),
        }
    }

    fn take(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Print(lines) => lines.lines().for_each(|line| self.print(line)),
                Effect::Send(message) => self.sent.push(message),
                Effect::StoreSession(session) => assert!(!session.is_empty()),
                Effect::End(end) => panic!("{end:?}"),
            }
        }
    }

    fn print(&mut self, line: &str) {
        let line = decode(line).unwrap();
        if let Line::ControlRequest { request, .. } = &line {
            self.asked.push(request.to_string());
        }
        self.printed.extend(short(&line));
    }
}

/// A short form of a line; none if it does not matter.
fn short(line: &Line<'_>) -> Option<String> {
    Some(match line {
        Line::Assistant {
            model,
            error,
            blocks,
        } => match &blocks[0] {
            Block::Text { text } => match error {
                Some(error) => format!("{} {}: {}", &**model, &**error, &**text),
                None => format!("text {}", &**text),
            },
            Block::ToolUse { id, name, input } => {
                format!(
                    "{} {}: {}",
                    &**id,
                    &**name,
                    input["command"].as_str().unwrap()
                )
            }
            Block::Other => panic!(),
        },
        Line::ToolResults(results) => {
            let result = &results[0];
            format!(
                "{} gave {:?}, error: {}",
                &*result.id, result.output, result.is_error
            )
        }
        Line::ControlRequest { tool_use, .. } => {
            format!("may {}", &**tool_use.as_ref()?.tool_use_id.as_ref()?)
        }
        Line::ApiRetry(retry) => format!("retry {:?}", retry.error_status),
        Line::TurnResult(result) => format!(
            "ended {} {:?} {:?}",
            &**result.subtype.as_ref()?,
            result.api_error_status,
            &**result.result.as_ref()?
        ),
        Line::Unknown => panic!("a line that the server does not know"),
        _ => return None,
    })
}

#[test]
fn a_turn_with_a_tool_is_printed_as_by_the_claude_cli() {
    for recording in WITH_TOOL {
        let printed = Play::of(recording);
        let output = &printed[2];
        let (out, err) = (output.contains("hi\\n"), output.contains("err\\n"));
        assert!(out && err && output.contains("Exit code 3"), "{output}");
        assert_eq!(printed[0], "call_1_0 Bash: echo hi; echo err >&2; exit 3");
        assert_eq!(printed[1], "may call_1_0");
        assert_eq!(
            printed[3..],
            ["text All is well.", "ended success None \"All is well.\""]
        );
    }
}

#[test]
fn a_denied_call_is_reported_at_once_and_the_agent_gets_the_reason_in_the_same_turn() {
    for recording in DENIED {
        assert_eq!(
            Play::of(recording),
            [
                "call_1_0 Bash: touch forbidden",
                "may call_1_0",
                "call_1_0 gave \"not today\", error: true",
                "text Pity.",
                "ended success None \"Pity.\"",
            ]
        );
    }
}

#[test]
fn a_stop_cancels_and_the_turn_ends_as_with_the_claude_cli() {
    for recording in STOPPED {
        let printed = Play::of(recording);
        let last = printed.last().unwrap();
        assert_eq!(
            last, "ended error_during_execution None \"\"",
            "{printed:?}"
        );
    }
}

#[test]
fn a_refused_login_is_recognised_by_its_status() {
    let printed = Play::of(UNAUTHORIZED[0]);
    let words = "unexpected status 401 Unauthorized: scripted, url: http://127.0.0.1";
    assert!(
        printed[0].starts_with(&format!("<synthetic> authentication_failed: {words}")),
        "{printed:?}"
    );
    assert!(
        printed[1].starts_with("ended success Some(401)"),
        "{printed:?}"
    );
    // This recording contains only a text without any known word.
    let printed = Play::of(UNAUTHORIZED[1]);
    assert_eq!(
        printed,
        ["ended success None \"The agent failed: scripted\""]
    );
}
