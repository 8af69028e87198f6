//! Properties of the bridge, whatever an agent, its log and a server send: it never panics, prints only lines that
//! the server's decoder knows, and never allows a command without asking the server.

use breakglass_acp::{Bridge, Effect, Plan, Session};
use breakglass_agent::wire::{self, Line, decode};
use proptest::prelude::*;
use serde_json::{Value, json};

#[derive(Debug, Clone)]
enum From {
    Agent(Value),
    AgentBytes(Vec<u8>),
    Server(String),
    Log(String),
}

/// Few words, so that ids repeat.
fn word() -> BoxedStrategy<Value> {
    prop_oneof![
        4 => prop::sample::select(vec![
            json!("a"), json!("s"), json!(""), json!("execute"), json!("read"), json!("other"),
            json!("pending"), json!("in_progress"), json!("completed"), json!("failed"),
            json!("allow_once"), json!("allow_always"), json!("reject_once"),
        ]),
        1 => any::<String>().prop_map(Value::String),
        1 => any::<i64>().prop_map(|number| json!(number)),
        1 => Just(json!(null)),
        1 => Just(json!([[], {}])),
    ]
    .boxed()
}

fn call() -> BoxedStrategy<Value> {
    let input = prop_oneof![
        Just(json!({})),
        word().prop_map(|word| json!({"command": word})),
        prop::collection::vec(word(), 0..4).prop_map(|words| json!({"command": words})),
        word().prop_map(|word| json!({"path": word})),
        word(),
    ];
    let output = prop_oneof![
        word(),
        (word(), word())
            .prop_map(|(text, exit)| json!({"output": text, "metadata": {"exit": exit}})),
    ];
    (word(), word(), word(), word(), input, output).prop_map(|(id, kind, title, status, input, output)| {
        json!({"toolCallId": id, "kind": kind, "title": title, "status": status, "rawInput": input,
            "rawOutput": output, "content": [{"type": "content", "content": {"text": title}}]})
    })
    .boxed()
}

fn message() -> BoxedStrategy<Value> {
    let update = |kind: &'static str, mut update: Value| {
        update["sessionUpdate"] = json!(kind);
        json!({"method": "session/update", "params": {"sessionId": "s", "update": update}})
    };
    let question = (word(), call(), prop::collection::vec(word(), 0..4));
    let question = question.prop_map(|(id, call, options)| {
        // An option has its kind as its id.
        let option = |kind: Value| json!({"kind": kind, "optionId": kind});
        let options: Vec<Value> = options.into_iter().map(option).collect();
        json!({"id": id, "method": "session/request_permission",
            "params": {"sessionId": "s", "toolCall": call, "options": options}})
    });
    let reason = prop::sample::select(vec!["end_turn", "cancelled", "max_tokens", "refusal", "?"]);
    prop_oneof![
        (1..9u64, reason)
            .prop_map(|(id, reason)| json!({"id": id, "result": {"stopReason": reason}})),
        (1..9u64, word(), word()).prop_map(|(id, code, words)| {
            json!({"id": id, "error": {"code": code, "message": words, "data": {"message": words}}})
        }),
        (word(), word()).prop_map(move |(text, id)| {
            update(
                "agent_message_chunk",
                json!({"content": {"text": text}, "messageId": id}),
            )
        }),
        call().prop_map(move |call| update("tool_call", call)),
        call().prop_map(move |call| update("tool_call_update", call)),
        question,
        (word(), word(), word()).prop_map(|(id, method, params)| {
            json!({"id": id, "method": method, "params": params})
        }),
    ]
    .boxed()
}

fn from() -> BoxedStrategy<From> {
    let name = (1..9u32).prop_map(|number| format!("acp-{number}"));
    let input = || serde_json::value::to_raw_value(&json!({})).unwrap();
    prop_oneof![
        6 => message().prop_map(From::Agent),
        1 => any::<Vec<u8>>().prop_map(From::AgentBytes),
        1 => "[a-z]{0,9}".prop_map(|text| From::Server(wire::prompt(&text))),
        1 => Just(From::Server(wire::interrupt("stop"))),
        1 => name.clone().prop_map(move |name| From::Server(wire::allow(&name, &input()))),
        1 => name.prop_map(|name| From::Server(wire::deny(&name, "no"))),
        1 => Just(From::Server(wire::set_model("model", "m"))),
        1 => any::<String>().prop_map(From::Server),
        1 => prop_oneof![
            any::<String>(),
            Just("Reconnecting... 1/5 Some(\"unexpected status 529\")".to_owned()),
            Just("message=\"stream error\" error.error=\"AI_APICallError: no\"".to_owned()),
        ].prop_map(From::Log),
    ]
    .boxed()
}

/// An open bridge.
fn open() -> Bridge {
    let plan = Plan {
        session: Session::New,
        name: "n".to_owned(),
        model: "default".to_owned(),
        instructions: "Be brief.".to_owned(),
        directory: "/".to_owned(),
        max_retries: 2,
        variables: Vec::new(),
    };
    let mut bridge = Bridge::new(plan).0;
    bridge.from_agent(br#"{"id":1,"result":{"protocolVersion":1}}"#);
    bridge.from_agent(br#"{"id":2,"result":{"sessionId":"s"}}"#);
    assert!(bridge.is_open());
    bridge
}

proptest! {
    #[test]
    fn no_input_makes_it_panic_or_run_a_command_without_permission(all in prop::collection::vec(from(), 0..60)) {
        let mut bridge = open();
        let (mut asked, mut begun, mut ended) = (0, 0, 0);
        for from in all {
            let allows = matches!(&from, From::Server(line) if line.contains("\"allow\""));
            let effects = match from {
                From::Agent(message) => bridge.from_agent(message.to_string().as_bytes()),
                From::AgentBytes(bytes) => bridge.from_agent(&bytes),
                From::Server(line) => bridge.from_server(line.as_bytes()),
                From::Log(line) => bridge.from_log(&line),
            };
            for effect in effects {
                match effect {
                    Effect::Print(lines) => for line in lines.lines() {
                        match decode(line).unwrap() {
                            Line::Unknown => panic!("{line}"),
                            Line::ControlRequest { tool_use, .. } => { tool_use.unwrap(); asked += 1; }
                            Line::Init { .. } => begun += 1,
                            Line::TurnResult(_) => ended += 1,
                            _ => {}
                        }
                    },
                    Effect::Send(sent) => {
                        let chosen = &sent["result"]["outcome"]["optionId"];
                        prop_assert!(*chosen != "allow_always");
                        prop_assert!(*chosen != "allow_once" || (allows && asked > 0));
                    }
                    Effect::StoreSession(_) | Effect::End(_) => {}
                }
            }
            prop_assert!(begun == ended || begun == ended + 1, "{} turns, {} ends", begun, ended);
        }
    }

    #[test]
    fn no_output_of_an_agent_that_is_not_ready_makes_it_panic(all in prop::collection::vec(message(), 0..20)) {
        let plan = Plan {
            session: Session::Resume("s".to_owned()), name: "n".to_owned(), model: "m".to_owned(),
            instructions: String::new(), directory: "/".to_owned(), max_retries: 0,
            variables: vec!["KEY".to_owned()],
        };
        let mut bridge = Bridge::new(plan).0;
        for message in all {
            bridge.from_agent(message.to_string().as_bytes());
        }
    }
}
