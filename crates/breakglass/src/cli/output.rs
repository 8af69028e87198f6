//! Prints lines and JSON. Control characters and invisible characters are escaped, because the text may
//! come from machines and models.

use std::io::Write as _;

use breakglass_model::visible;
use breakglass_verbs::is_hidden;

/// Prints a line on standard output with control characters escaped. Ignores a closed pipe.
pub(crate) fn print_line(line: &str) {
    let _ = writeln!(std::io::stdout(), "{}", visible(line));
}

/// Prints JSON on standard output with invisible characters as `\uXXXX`, which parsers read as the same.
pub(crate) fn print_json(text: &str) {
    let _ = writeln!(std::io::stdout(), "{}", escape_json(text));
}

/// Prints a line on standard error, as [`print_line`] does.
pub(crate) fn print_error(line: &str) {
    let _ = writeln!(std::io::stderr(), "breakglass: {}", visible(line));
}

/// `json` with each invisible character as `\uXXXX`.
fn escape_json(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for c in json.chars() {
        if c == '\x7f' || is_hidden(c) {
            let units = c.encode_utf16(&mut [0; 2]).to_vec();
            escaped.extend(units.iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            escaped.push(c);
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_json_has_the_same_value() {
        let value = serde_json::json!({ "line": "r\u{200b}m\u{a0}\u{e0041}\u{9b}\x7f\u{1b} é" });
        let shown = escape_json(&value.to_string());
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
