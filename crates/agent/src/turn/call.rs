//! Marks each command of the agent with the tool call that it belongs to.

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use breakglass_model::gateway::CALL_VARIABLE;

/// Maximum length of a call's id.
const CALL_ID_MAX_BYTES: usize = 128;

/// The `input` of a Bash call with a command that exports the call's id to everything that it starts. Returns
/// `input` unchanged if it has no command or the id is unusual.
pub(super) fn with_call_id(input: Box<RawValue>, call: &str) -> Box<RawValue> {
    mark(&input, call).unwrap_or(input)
}

fn mark(input: &RawValue, call: &str) -> Option<Box<RawValue>> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    if call.is_empty() || call.len() > CALL_ID_MAX_BYTES || !call.bytes().all(is_plain) {
        return None;
    }
    let mut input: Map<String, Value> = serde_json::from_str(input.get()).ok()?;
    let command = input.get_mut("command")?;
    *command = Value::String(format!(
        "export {CALL_VARIABLE}={call}\n{}",
        command.as_str()?
    ));
    serde_json::value::to_raw_value(&input).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marked(input: &str, call: &str) -> String {
        let input = serde_json::value::to_raw_value(&serde_json::from_str::<Value>(input).unwrap());
        with_call_id(input.unwrap(), call).get().to_owned()
    }

    #[test]
    fn a_command_exports_its_call_and_is_otherwise_unchanged() {
        let input = r#"{"command":"cat <<'X'\nit's\nX","timeout":5}"#;
        let expected =
            r#"{"command":"export BREAKGLASS_CALL=toolu_1\ncat <<'X'\nit's\nX","timeout":5}"#;
        assert_eq!(marked(input, "toolu_1"), expected);
    }

    #[test]
    fn an_unusual_id_and_an_input_without_a_command_change_nothing() {
        let long = "x".repeat(CALL_ID_MAX_BYTES + 1);
        for (input, call) in [
            (r#"{"command":"df"}"#, "a; reboot"),
            (r#"{"command":"df"}"#, ""),
            (r#"{"command":"df"}"#, long.as_str()),
            (r#"{"command":7}"#, "t"),
            (r#"{"file_path":"/x"}"#, "t"),
            ("[]", "t"),
        ] {
            assert_eq!(marked(input, call), input);
        }
    }
}
