//! The bridge against what real agents said: codex-acp 0.16.0 and opencode 1.18.33. Each recording holds
//! both directions; what the bridge sends has to be what was sent then.

// Helpers of tests are tests: here a panic is the report.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use breakglass_acp::{Bridge, Effect, Plan, Session};
use breakglass_agent::wire::{self, Block, Line, decode};
use serde_json::Value;

const WITH_TOOL: [&str; 2] = [
    include_str!("recordings/codex-turn-with-tool.jsonl"),
    include_str!("recordings/opencode-turn-with-tool.jsonl"),
];
const DENIED: [&str; 2] = [
    include_str!("recordings/codex-denied.jsonl"),
    include_str!("recordings/opencode-denied.jsonl"),
];
const STOPPED: [&str; 2] = [
    include_str!("recordings/codex-stopped.jsonl"),
    include_str!("recordings/opencode-stopped.jsonl"),
];
const UNAUTHORIZED: [&str; 2] = [
    include_str!("recordings/codex-unauthorized.jsonl"),
    include_str!("recordings/opencode-unauthorized.jsonl"),
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

/// A recording as it is played again: the server's part is played by what was sent to the agent then.
#[derive(Default)]
struct Play {
    bridge: Option<Bridge>,
    /// What the bridge sent and the recording has not shown yet.
    sent: Vec<Value>,
    /// What the server heard, in short.
    heard: Vec<String>,
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
        play.heard
    }

    /// The bridge sends this, by itself or because the server says what makes it.
    fn expect(&mut self, line: &Value) {
        if self.sent.is_empty() {
            let said = match line["method"].as_str() {
                Some("session/prompt") => {
                    wire::prompt(line["params"]["prompt"][0]["text"].as_str().unwrap())
                }
                Some("session/cancel") => wire::interrupt("stop"),
                _ => self.ruling(line["result"]["outcome"]["optionId"].as_str().unwrap()),
            };
            let effects = self.bridge.as_mut().unwrap().from_server(said.as_bytes());
            self.take(effects);
        }
        let mut sent = self.sent.remove(0);
        // The version is this one's.
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
                Effect::Say(lines) => lines.lines().for_each(|line| self.hear(line)),
                Effect::Send(message) => self.sent.push(message),
                Effect::Keep(session) => assert!(!session.is_empty()),
                Effect::End(end) => panic!("{end:?}"),
            }
        }
    }

    fn hear(&mut self, line: &str) {
        let line = decode(line).unwrap();
        if let Line::Ask { request, .. } = &line {
            self.asked.push(request.to_string());
        }
        self.heard.extend(short(&line));
    }
}

/// What a line says, if it is anything.
fn short(line: &Line<'_>) -> Option<String> {
    Some(match line {
        Line::Said {
            model,
            error,
            blocks,
        } => match &blocks[0] {
            Block::Text { text } => match error {
                Some(error) => format!("{} {}: {}", &**model, &**error, &**text),
                None => format!("said {}", &**text),
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
        Line::Ask { question, .. } => {
            format!("may {}", &**question.as_ref()?.tool_use_id.as_ref()?)
        }
        Line::ApiRetry(retry) => format!("retry {:?}", retry.error_status),
        Line::Ended(ending) => format!(
            "ended {} {:?} {:?}",
            &**ending.subtype.as_ref()?,
            ending.api_error_status,
            &**ending.result.as_ref()?
        ),
        Line::Unknown => panic!("a line that the server does not know"),
        _ => return None,
    })
}

#[test]
fn a_turn_with_a_tool_is_told_as_the_claude_cli_would() {
    for recording in WITH_TOOL {
        let heard = Play::of(recording);
        let output = &heard[2];
        let (out, err) = (output.contains("hi\\n"), output.contains("err\\n"));
        assert!(out && err && output.contains("Exit code 3"), "{output}");
        assert_eq!(heard[0], "call_1_0 Bash: echo hi; echo err >&2; exit 3");
        assert_eq!(heard[1], "may call_1_0");
        assert_eq!(
            heard[3..],
            ["said All is well.", "ended success None \"All is well.\""]
        );
    }
}

#[test]
fn a_denied_call_is_told_at_once_and_the_agent_is_told_why_in_a_prompt_of_the_same_turn() {
    for recording in DENIED {
        assert_eq!(
            Play::of(recording),
            [
                "call_1_0 Bash: touch forbidden",
                "may call_1_0",
                "call_1_0 gave \"not today\", error: true",
                "said Pity.",
                "ended success None \"Pity.\"",
            ]
        );
    }
}

#[test]
fn a_stop_is_a_cancel_and_its_turn_ends_as_the_claude_clis_does() {
    for recording in STOPPED {
        let heard = Play::of(recording);
        let last = heard.last().unwrap();
        assert_eq!(last, "ended error_during_execution None \"\"", "{heard:?}");
    }
}

#[test]
fn a_refused_login_is_known_by_its_status() {
    let heard = Play::of(UNAUTHORIZED[0]);
    let words = "unexpected status 401 Unauthorized: scripted, url: http://127.0.0.1";
    assert!(
        heard[0].starts_with(&format!("<synthetic> authentication_failed: {words}")),
        "{heard:?}"
    );
    assert!(heard[1].starts_with("ended success Some(401)"), "{heard:?}");
    // Here the model's own words are all there is, and these say nothing.
    let heard = Play::of(UNAUTHORIZED[1]);
    assert_eq!(heard, ["ended success None \"The agent failed: scripted\""]);
}
