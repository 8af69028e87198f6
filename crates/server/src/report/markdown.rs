//! Writes foreign text into Markdown so that it stays plain text: in code spans and fences that it
//! can't close.

use std::fmt::Write as _;

use breakglass_model::{bounded, visible};

/// Maximum length of a text in a table or a list, in bytes.
const SHORT_TEXT_MAX_BYTES: usize = 240;

/// `text` in a code span that it can't close.
pub(super) fn code(text: &str) -> String {
    let text = plain(text);
    let ticks = "`".repeat(longest_run(&text) + 1);
    let pad = if text.starts_with('`') || text.ends_with('`') || text.trim().is_empty() {
        " "
    } else {
        ""
    };
    format!("{ticks}{pad}{text}{pad}{ticks}")
}

/// Like [`code`], truncated to the length for tables and lists.
pub(super) fn short(text: &str) -> String {
    if text.len() <= SHORT_TEXT_MAX_BYTES {
        return code(text);
    }
    let end = text.floor_char_boundary(SHORT_TEXT_MAX_BYTES);
    code(&format!("{}…", &text[..end]))
}

/// Writes at most `limit` bytes of `text` in a fence that it can't close.
pub(super) fn fence(out: &mut String, text: &str, limit: usize) {
    let (text, _) = bounded(text, limit);
    let text = visible(&text);
    let fence = "`".repeat(3.max(longest_run(&text) + 1));
    let _ = writeln!(out, "\n{fence}text\n{}\n{fence}", text.trim_end());
}

/// Writes the head of a table. [`row`] writes its rows.
pub(super) fn head<const N: usize>(out: &mut String, names: [&str; N]) {
    let _ = writeln!(out, "\n| {} |\n|{}", names.join(" | "), " --- |".repeat(N));
}

/// Writes a row of a table. Foreign text in cells must come from [`code`] or [`short`].
pub(super) fn row<const N: usize>(out: &mut String, cells: &[String; N]) {
    let _ = writeln!(out, "| {} |", cells.join(" | "));
}

/// A readable duration of `ms` milliseconds: `12.3 s`, `1 min 5 s`, `1 h 2 min`.
pub(super) fn duration(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0..60 => format!("{seconds}.{} s", ms % 1000 / 100),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// `n thing` or `n things`.
pub(super) fn count(n: u64, thing: &str) -> String {
    match n {
        1 => format!("1 {thing}"),
        n => format!("{n} {thing}s"),
    }
}

/// `text` as one line without `|`, which would end a table cell. Escaping the bar with a backslash is
/// not safe: readers treat it differently.
fn plain(text: &str) -> String {
    visible(text).replace('|', "¦").replace(['\n', '\t'], " ")
}

fn longest_run(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invisible_characters_are_shown_by_their_code_point() {
        let text = "r\u{200b}m\u{a0}\u{202e}x";
        let shown = "r<U+200B>m<U+00A0><U+202E>x";
        let mut fenced = String::new();
        fence(&mut fenced, text, 1000);
        assert!(fenced.contains(shown), "{fenced}");
        assert_eq!(code(text), format!("`{shown}`"));
        assert_eq!(short(text), format!("`{shown}`"));
    }

    #[test]
    fn text_cannot_close_its_fence_or_code_span() {
        for text in [
            "```\n# forged",
            "````",
            "a ` b `` c",
            "x\n~~~\n# forged",
            "\u{1b}[31m",
        ] {
            let mut fenced = String::new();
            fence(&mut fenced, text, 1000);
            let marks = fenced.trim_start().split("text").next().unwrap().to_owned();
            let inner = fenced.trim().strip_prefix(&format!("{marks}text\n"));
            let inner = inner.unwrap().strip_suffix(&marks).unwrap();
            assert!(!inner.contains(&marks), "{text:?}");
            assert!(!fenced.contains('\u{1b}'));
            let span = code(text);
            let ticks: String = span.chars().take_while(|&c| c == '`').collect();
            assert!(!span.contains('\n'));
            assert!(
                !span[ticks.len()..span.len() - ticks.len()].contains(&ticks),
                "{span}"
            );
        }
    }

    #[test]
    fn durations_are_readable() {
        for (ms, text) in [
            (0, "0.0 s"),
            (59_940, "59.9 s"),
            (61_000, "1 min 1 s"),
            (3_723_000, "1 h 2 min"),
        ] {
            assert_eq!(duration(ms), text);
        }
    }
}
