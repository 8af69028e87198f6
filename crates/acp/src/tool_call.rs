//! An agent's messages about a tool call, brought into one form: agents fill the same fields differently.

use serde_json::{Map, Value, json};

/// Maximum length of a call's id.
const ID_MAX_BYTES: usize = 256;

/// One message about a call; fields that it does not contain are none.
#[derive(Debug, Default)]
pub(crate) struct ToolCallUpdate<'a> {
    pub(crate) id: &'a str,
    pub(crate) kind: Option<&'a str>,
    pub(crate) title: Option<&'a str>,
    pub(crate) status: Option<&'a str>,
    pub(crate) input: Option<&'a Map<String, Value>>,
    /// The output, and whether the call failed.
    pub(crate) output: Option<(String, bool)>,
}

impl<'a> ToolCallUpdate<'a> {
    /// None without a valid id.
    pub(crate) fn of(call: &'a Value) -> Option<ToolCallUpdate<'a>> {
        let id = call["toolCallId"].as_str()?;
        (1..=ID_MAX_BYTES)
            .contains(&id.len())
            .then(|| ToolCallUpdate {
                id,
                kind: call["kind"].as_str(),
                title: call["title"].as_str(),
                status: call["status"].as_str(),
                input: call["rawInput"]
                    .as_object()
                    .filter(|input| !input.is_empty()),
                output: output(call),
            })
    }

    pub(crate) fn is_over(&self) -> bool {
        matches!(self.status, Some("completed" | "failed" | "cancelled"))
    }
}

/// The claude CLI's name for the tool, and its form of the input. Every call with a command is Bash, whatever the
/// agent calls it, because commands need permission.
pub(crate) fn to_cli_tool(
    kind: &str,
    title: &str,
    raw: &Map<String, Value>,
) -> (&'static str, Value) {
    let mut input = raw.clone();
    let command = command(raw).or_else(|| (kind == "execute").then(|| title.to_owned()));
    if let Some(command) = command {
        input.insert("command".to_owned(), Value::String(command));
        return ("Bash", Value::Object(input));
    }
    let path = ["file_path", "filePath", "path"]
        .iter()
        .find_map(|name| raw.get(*name)?.as_str());
    if let Some(path) = path {
        input.insert("file_path".to_owned(), json!(path));
    }
    if input.is_empty() {
        input.insert("title".to_owned(), json!(title));
    }
    let tool = match kind {
        "read" => "Read",
        "search" => "Grep",
        "edit" => "Edit",
        "delete" => "Delete",
        "move" => "Move",
        "fetch" => "Fetch",
        "think" => "Think",
        _ => "Other",
    };
    (tool, Value::Object(input))
}

fn command(raw: &Map<String, Value>) -> Option<String> {
    match raw.get("command").or_else(|| raw.get("cmd"))? {
        Value::String(command) => Some(command.clone()),
        Value::Array(words) => {
            let words: Vec<&str> = words.iter().filter_map(Value::as_str).collect();
            Some(match words[..] {
                [shell, "-c" | "-lc", command] if shell.ends_with("sh") => command.to_owned(),
                _ => words
                    .iter()
                    .map(|word| quoted(word))
                    .collect::<Vec<_>>()
                    .join(" "),
            })
        }
        _ => None,
    }
}

/// Quotes a word for a shell.
fn quoted(word: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./:=@%+,".contains(&byte);
    if !word.is_empty() && word.bytes().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// The whole raw output if there is one, otherwise the displayed content.
fn output(call: &Value) -> Option<(String, bool)> {
    let raw = &call["rawOutput"];
    let fields = ["aggregated_output", "output", "error", "stdout"];
    let text = raw
        .as_str()
        .or_else(|| fields.iter().find_map(|name| raw[*name].as_str()));
    let text = text
        .map(str::to_owned)
        .or_else(|| displayed(&call["content"]))?;
    let exit = raw["exit_code"]
        .as_i64()
        .or_else(|| raw["metadata"]["exit"].as_i64());
    let failed = call["status"] != "completed" || exit.is_some_and(|code| code != 0);
    Some(match exit.filter(|code| *code != 0) {
        Some(code) => (format!("Exit code {code}\n{text}"), failed),
        None => (text, failed),
    })
}

fn displayed(content: &Value) -> Option<String> {
    let parts = content.as_array()?.iter();
    let texts = parts.filter_map(|part| match part["type"].as_str() {
        Some("content") => part["content"]["text"].as_str().map(str::to_owned),
        Some("diff") => part["path"].as_str().map(|path| format!("changed {path}")),
        _ => None,
    });
    let texts: Vec<String> = texts.collect();
    (!texts.is_empty()).then(|| texts.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(kind: &str, title: &str, raw: &Value) -> (&'static str, Value) {
        to_cli_tool(kind, title, raw.as_object().unwrap())
    }

    #[test]
    fn every_call_with_a_command_is_bash_with_that_command() {
        for (kind, title, raw, command) in [
            (
                "execute",
                "x",
                json!({"command": "df -h", "cwd": "/"}),
                "df -h",
            ),
            (
                "execute",
                "x",
                json!({"command": ["/bin/bash", "-lc", "df; ls"]}),
                "df; ls",
            ),
            (
                "execute",
                "x",
                json!({"command": ["rm", "-rf", "a b", "it's"]}),
                r"rm -rf 'a b' 'it'\''s'",
            ),
            (
                "read",
                "x",
                json!({"command": ["/bin/zsh", "-c", "cat a"]}),
                "cat a",
            ),
            ("other", "x", json!({"cmd": "reboot"}), "reboot"),
            ("execute", "touch a", json!({}), "touch a"),
            ("execute", "touch a", json!({"command": 7}), "touch a"),
        ] {
            let (tool, input) = named(kind, title, &raw);
            assert_eq!(
                (tool, &input["command"]),
                ("Bash", &json!(command)),
                "{raw}"
            );
        }
    }

    #[test]
    fn only_reading_is_named_reading() {
        let (tool, input) = named("read", "a", &json!({"filePath": "/etc/hosts"}));
        assert_eq!((tool, &input["file_path"]), ("Read", &json!("/etc/hosts")));
        for kind in [
            "edit",
            "delete",
            "move",
            "fetch",
            "think",
            "switch_mode",
            "other",
            "",
            "Read",
        ] {
            let (tool, _) = named(kind, "Read", &json!({"path": "/x"}));
            assert!(
                !["Bash", "Read", "Grep", "Glob"].contains(&tool),
                "{kind}: {tool}"
            );
        }
    }

    #[test]
    fn a_nonzero_exit_code_is_a_failure_whatever_the_status_is() {
        let output = |raw: Value, status: &str| {
            let call = json!({"toolCallId": "a", "status": status, "rawOutput": raw});
            ToolCallUpdate::of(&call).unwrap().output.unwrap()
        };
        let metadata = json!({"output": "hi\n", "metadata": {"exit": 3}});
        assert_eq!(
            output(metadata, "completed"),
            ("Exit code 3\nhi\n".to_owned(), true)
        );
        let codex = json!({"aggregated_output": "hi\n", "stdout": "", "exit_code": 0});
        assert_eq!(output(codex, "completed"), ("hi\n".to_owned(), false));
        assert_eq!(output(json!("no"), "failed"), ("no".to_owned(), true));
    }
}
