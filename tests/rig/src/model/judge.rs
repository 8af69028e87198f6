//! What every request has to be, whatever the test is about.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Request;

/// Everything that is wrong with `requests`, a sentence each: a tool call that is not answered
/// exactly once and at once, an answer without a call, a secret.
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
            tools(&request.body)
                .into_iter()
                .map(|fault| format!("request {number}: {fault}")),
        );
    }
    faults
}

fn tools(body: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    let mut open: BTreeMap<String, u32> = BTreeMap::new();
    for message in body["messages"].as_array().into_iter().flatten() {
        let answering = message["role"] == "user";
        for block in message["content"].as_array().into_iter().flatten() {
            match block["type"].as_str() {
                Some("tool_use") => {
                    open.insert(block["id"].as_str().unwrap_or_default().to_owned(), 0);
                }
                Some("tool_result") => {
                    let id = block["tool_use_id"].as_str().unwrap_or_default();
                    match open.get_mut(id) {
                        Some(answers) => *answers += 1,
                        None => faults.push(format!("the answer to {id} has no call")),
                    }
                }
                _ => {}
            }
        }
        if answering {
            let wrong = std::mem::take(&mut open)
                .into_iter()
                .filter(|(_, answers)| *answers != 1);
            faults.extend(wrong.map(|(id, answers)| format!("{id} has {answers} answers")));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn judged(messages: &Value) -> Vec<String> {
        let body = json!({"model": "m", "messages": messages});
        faults(
            &[Request {
                headers: Default::default(),
                body,
            }],
            &["hunter2".to_owned()],
        )
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
}
