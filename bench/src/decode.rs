//! Decoding of the CLI's stream-json.

use std::time::Instant;

use crate::stats;

const LINES: usize = 400_000;

/// The two most frequent lines of the CLI: a text delta and a tool's result.
const DELTA: &str = r#"{"type":"stream_event","event":{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Looking at the "}},"session_id":"a411c207-ed09-4d48-92ab-e7f12fa076d2","parent_tool_use_id":null,"uuid":"c78827a7-6940-45cd-a030-aa65eb337e2c"}"#;
const RESULT: &str = r#"{"type":"user","message":{"role":"user","content":[{"tool_use_id":"toolu_01","type":"tool_result","content":"Filesystem 1K-blocks Used Available Use% Mounted on /dev/vda1 41152736 41152720 0 100% /","is_error":false}]},"parent_tool_use_id":null,"session_id":"a411c207-ed09-4d48-92ab-e7f12fa076d2","uuid":"710fcc3e-bf7b-4d8d-98e9-f673ed3a52a2","timestamp":"2026-11-23T17:56:17.028Z","tool_use_result":{"stdout":"Filesystem 1K-blocks Used Available Use% Mounted on /dev/vda1 41152736 41152720 0 100% /","stderr":"","interrupted":false,"isImage":false,"noOutputExpected":false}}"#;

pub(crate) fn run() {
    let mut rates: Vec<f64> = (0..5).map(|_| rate(decode_typed)).collect();
    let mut alternative: Vec<f64> = (0..5).map(|_| rate(decode_value)).collect();
    let (ours, theirs) = (stats::median(&mut rates), stats::median(&mut alternative));
    stats::print(
        "stream-json decoding",
        &format!("{ours:.0} MB/s"),
        &format!("serde_json::Value: {theirs:.0} MB/s"),
        Some(ours / theirs),
        "≥ 200 MB/s",
    );
}

fn rate(decode: fn(&str) -> bool) -> f64 {
    let started = Instant::now();
    let mut bytes = 0;
    for index in 0..LINES {
        let line = if index % 4 == 0 { RESULT } else { DELTA };
        assert!(decode(std::hint::black_box(line)));
        bytes += line.len();
    }
    bytes as f64 / started.elapsed().as_secs_f64() / 1e6
}

fn decode_typed(line: &str) -> bool {
    breakglass_agent::wire::decode(line).is_ok()
}

fn decode_value(line: &str) -> bool {
    serde_json::from_str::<serde_json::Value>(line).is_ok()
}
