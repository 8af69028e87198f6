//! Foreign text made harmless: one line, bounded, nothing that a terminal or a log would obey.

/// `text` as printable ASCII within one line; everything else, quotes and backslashes too, is
/// escaped. At most `limit` characters of it; the rest is counted.
pub(crate) fn ascii(text: &str, limit: usize) -> String {
    cut(text, limit, |c| {
        !matches!(c, ' '..='~') || matches!(c, '"' | '\\')
    })
}

/// `text` with its control characters and direction overrides escaped; other letters stay.
pub(crate) fn visible(text: &str, limit: usize) -> String {
    cut(text, limit, is_obeyed)
}

fn is_obeyed(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn cut(text: &str, limit: usize, escaped: impl Fn(char) -> bool) -> String {
    let mut shown = String::new();
    for c in text.chars().take(limit) {
        if escaped(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    let rest = text.chars().skip(limit).count();
    if rest > 0 {
        shown.push_str(&format!("...(+{rest})"));
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_log_would_obey_is_escaped_and_the_rest_counted() {
        assert_eq!(
            ascii("status\nroot: ok\0\u{1b}[2J\"é", 99),
            r#"status\nroot: ok\u{0}\u{1b}[2J\"\u{e9}"#
        );
        assert_eq!(ascii("abcdef", 4), "abcd...(+2)");
    }

    #[test]
    fn letters_of_any_language_stay_readable_but_obey_nothing() {
        assert_eq!(visible("“Größe”\u{202e}\t", 99), r"“Größe”\u{202e}\t");
    }
}
