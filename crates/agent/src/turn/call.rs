//! What the agent's commands are run with: the call that each belongs to.

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use breakglass_model::gateway::CALL_VARIABLE;

/// Longest id of a call that a variable can hold.
const MAX_ID: usize = 128;

/// `input` of a call of Bash, whose command says for itself and for all that it starts which call it
/// belongs to. Where that can't be said, `input` itself.
pub(super) fn named(input: Box<RawValue>, call: &str) -> Box<RawValue> {
    with_name(&input, call).unwrap_or(input)
}

fn with_name(input: &RawValue, call: &str) -> Option<Box<RawValue>> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    if call.is_empty() || call.len() > MAX_ID || !call.bytes().all(plain) {
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

    fn name(input: &str, call: &str) -> String {
        let input = serde_json::value::to_raw_value(&serde_json::from_str::<Value>(input).unwrap());
        named(input.unwrap(), call).get().to_owned()
    }

    #[test]
    fn a_command_says_which_call_it_belongs_to_and_is_else_what_it_was() {
        let input = r#"{"command":"cat <<'X'\nit's\nX","timeout":5}"#;
        let expected =
            r#"{"command":"export BREAKGLASS_CALL=toolu_1\ncat <<'X'\nit's\nX","timeout":5}"#;
        assert_eq!(name(input, "toolu_1"), expected);
    }

    #[test]
    fn an_id_that_no_shell_could_hold_and_an_input_without_a_command_stay_as_they_are() {
        let long = "x".repeat(MAX_ID + 1);
        for (input, call) in [
            (r#"{"command":"df"}"#, "a; reboot"),
            (r#"{"command":"df"}"#, ""),
            (r#"{"command":"df"}"#, long.as_str()),
            (r#"{"command":7}"#, "t"),
            (r#"{"file_path":"/x"}"#, "t"),
            ("[]", "t"),
        ] {
            assert_eq!(name(input, call), input);
        }
    }
}
