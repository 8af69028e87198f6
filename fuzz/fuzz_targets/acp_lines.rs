//! Output of an ACP agent or of another program in its place: no bytes make the bridge panic or lose count of turns, and
//! the server's decoder knows every line that the bridge prints.
#![no_main]

use breakglass_acp::{Bridge, Effect, Plan, Session};
use breakglass_agent::wire::{self, Line, decode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let plan = Plan {
        session: Session::New,
        name: "n".to_owned(),
        model: "default".to_owned(),
        instructions: String::new(),
        directory: "/".to_owned(),
        max_retries: 1,
        variables: Vec::new(),
    };
    let mut bridge = Bridge::new(plan).0;
    bridge.from_agent(br#"{"id":1,"result":{"protocolVersion":1}}"#);
    bridge.from_agent(br#"{"id":2,"result":{"sessionId":"s"}}"#);
    let mut turns = 0;
    let prompt = wire::prompt("x");
    let mut all = vec![bridge.from_server(prompt.as_bytes())];
    for (number, line) in data.split(|byte| *byte == b'\n').enumerate() {
        all.push(bridge.from_agent(line));
        all.push(bridge.from_log(&String::from_utf8_lossy(line)));
        let ruled = wire::deny(&format!("acp-{number}"), "no");
        all.push(bridge.from_server(ruled.as_bytes()));
    }
    for effect in all.into_iter().flatten() {
        let Effect::Print(lines) = effect else { continue };
        for line in lines.lines() {
            match decode(line).expect("what the bridge says is read") {
                Line::Unknown => panic!("{line}"),
                Line::Init { .. } => turns += 1,
                Line::TurnResult(_) => turns -= 1,
                _ => {}
            }
            assert!((0..=1).contains(&turns));
        }
    }
});
