//! What the command line prints: foreign text among it, shown so that a terminal obeys none of it and hides
//! none of it.

use std::io::Write as _;

use breakglass_model::visible;
use breakglass_verbs::is_hidden;

/// Prints a line on standard output; a closed pipe is no error of ours. What a terminal would obey or
/// not show is made visible.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{}", visible(line));
}

/// Prints JSON on standard output; a character that is not shown is written by its number, which is the
/// same to who parses it.
pub(crate) fn say_json(text: &str) {
    let _ = writeln!(std::io::stdout(), "{}", shown_json(text));
}

/// Prints a line on standard error, as [`say`] does.
pub(crate) fn say_error(line: &str) {
    let _ = writeln!(std::io::stderr(), "breakglass: {}", visible(line));
}

/// `json` with each character within it that is not shown as `\uXXXX`.
fn shown_json(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    for c in json.chars() {
        if c == '\x7f' || is_hidden(c) {
            let units = c.encode_utf16(&mut [0; 2]).to_vec();
            shown.extend(units.iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_with_hidden_characters_shows_them_and_says_the_same() {
        let value = serde_json::json!({ "line": "r\u{200b}m\u{a0}\u{e0041}\u{9b}\x7f\u{1b} é" });
        let shown = shown_json(&value.to_string());
        assert!(
            !shown.chars().any(|c| c.is_control() || is_hidden(c)),
            "{shown}"
        );
        assert!(shown.contains("\\u200bm\\u00a0\\udb40\\udc41"), "{shown}");
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&shown).unwrap(),
            value
        );
    }
}
