//! Properties of every request, in all tests.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Dialect, Request};

/// Everything that is wrong with `requests`, one sentence each: a tool call that is not answered
/// exactly once in the next request, an answer without a call, a secret.
pub(super) fn faults(requests: &[Request], secrets: &[String]) -> Vec<String> {
    let mut faults = Vec::new();
    for (index, request) in requests.iter().enumerate() {
        let number = index + 1;
        let text = request.text();
        for secret in secrets
            .iter()
            .filter(|secret| text.contains(secret.as_str()))
        {
            faults.push(format!("request {number} holds the secret {secret:?}"));
        }
        if request.model().is_empty() {
            faults.push(format!("request {number} names no model"));
        }
        faults.extend(
            tools(request)
                .into_iter()
                .map(|fault| format!("request {number}: {fault}")),
        );
    }
    faults
}

/// A client's statement about a tool, in the order of the conversation.
enum Said<'a> {
    Called(&'a str),
    Answered(&'a str),
    /// The conversation continued: every call must have an answer by now.
    WentOn,
}

fn tools(request: &Request) -> Vec<String> {
    let mut faults = Vec::new();
    let mut open: BTreeMap<String, u32> = BTreeMap::new();
    let said = match request.dialect {
        Dialect::Messages => messages(&request.body),
        Dialect::Chat => chat(&request.body),
        Dialect::Responses => responses(&request.body),
    };
    for said in said {
        match said {
            Said::Called(id) => {
                open.insert(id.to_owned(), 0);
            }
            Said::Answered(id) => match open.get_mut(id) {
                Some(answers) => *answers += 1,
                None => faults.push(format!("the answer to {id} has no call")),
            },
            Said::WentOn => {
                let wrong = std::mem::take(&mut open).into_iter();
                let wrong = wrong.filter(|(_, answers)| *answers != 1);
                faults.extend(wrong.map(|(id, answers)| format!("{id} has {answers} answers")));
            }
        }
    }
    faults
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn messages(body: &Value) -> Vec<Said<'_>> {
    let mut all = Vec::new();
    for message in list(&body["messages"]) {
        for block in list(&message["content"]) {
            match block["type"].as_str() {
                Some("tool_use") => all.push(Said::Called(word(&block["id"]))),
                Some("tool_result") => all.push(Said::Answered(word(&block["tool_use_id"]))),
                _ => {}
            }
        }
        if message["role"] == "user" {
            all.push(Said::WentOn);
        }
    }
    all
}

fn chat(body: &Value) -> Vec<Said<'_>> {
    let mut all = Vec::new();
    for message in list(&body["messages"]) {
        if message["role"] == "tool" {
            all.push(Said::Answered(word(&message["tool_call_id"])));
            continue;
        }
        all.push(Said::WentOn);
        let calls = list(&message["tool_calls"]);
        all.extend(calls.map(|call| Said::Called(word(&call["id"]))));
    }
    all.push(Said::WentOn);
    all
}

fn responses(body: &Value) -> Vec<Said<'_>> {
    let mut all = Vec::new();
    for item in list(&body["input"]) {
        all.push(match word(&item["type"]) {
            "function_call" => Said::Called(word(&item["call_id"])),
            "function_call_output" => Said::Answered(word(&item["call_id"])),
            _ if item["role"] == "user" => Said::WentOn,
            _ => continue,
        });
    }
    all.push(Said::WentOn);
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn judged(messages: &Value) -> Vec<String> {
        judged_in(
            Dialect::Messages,
            json!({"model": "m", "messages": messages}),
        )
    }

    fn judged_in(dialect: Dialect, body: Value) -> Vec<String> {
        let headers = Default::default();
        let request = Request {
            dialect,
            headers,
            body,
        };
        faults(&[request], &["hunter2".to_owned()])
    }

    fn call(id: &str) -> Value {
        json!({"role": "assistant", "content": [{"type": "tool_use", "id": id}]})
    }

    fn answer(ids: &[&str]) -> Value {
        let results = ids
            .iter()
            .map(|id| json!({"type": "tool_result", "tool_use_id": id}));
        json!({"role": "user", "content": results.collect::<Vec<_>>()})
    }

    #[test]
    fn a_call_answered_once_and_at_once_is_right() {
        assert!(judged(&json!([call("a"), answer(&["a"])])).is_empty());
    }

    #[test]
    fn a_call_answered_twice_or_never_and_an_answer_to_nothing_are_faults() {
        assert_eq!(judged(&json!([call("a"), answer(&["a", "a"])])).len(), 1);
        assert_eq!(judged(&json!([call("a"), answer(&[])])).len(), 1);
        assert_eq!(judged(&json!([answer(&["a"])])).len(), 1);
    }

    #[test]
    fn a_secret_anywhere_is_a_fault() {
        assert_eq!(
            judged(&json!([{"role": "user", "content": "it is hunter2"}])).len(),
            1
        );
    }

    #[test]
    fn calls_are_judged_alike_in_every_dialect() {
        let call = json!({"role": "assistant", "tool_calls": [{"id": "a"}]});
        let answer = json!({"role": "tool", "tool_call_id": "a"});
        let user = json!({"role": "user", "content": "go on"});
        let made = json!({"type": "function_call", "call_id": "a"});
        let output = json!({"type": "function_call_output", "call_id": "a"});
        for (answers, faults) in [(0, 1), (1, 0), (2, 1)] {
            let repeat = |first: &Value, answer: &Value| {
                let mut all = vec![first.clone()];
                all.extend(vec![answer.clone(); answers]);
                all.push(user.clone());
                all
            };
            let body = json!({"model": "m", "messages": repeat(&call, &answer)});
            assert_eq!(judged_in(Dialect::Chat, body).len(), faults, "{answers}");
            let body = json!({"model": "m", "input": repeat(&made, &output)});
            assert_eq!(
                judged_in(Dialect::Responses, body).len(),
                faults,
                "{answers}"
            );
        }
    }
}
