//! Foreign text, escaped to one bounded line that no terminal or log interprets; and times in UTC.

use std::time::{SystemTime, UNIX_EPOCH};

use breakglass_verbs::is_hidden;

/// Maximum number of characters of a line of evidence.
pub(crate) const LINE_MAX_CHARS: usize = 400;
/// Maximum number of characters of a line that explains a decision.
pub(crate) const EXPLANATION_MAX_CHARS: usize = 600;

/// `text` as printable ASCII. Everything else, and quotes and backslashes, is escaped. At most
/// `max_chars` characters of `text`; the rest is counted.
pub(crate) fn ascii(text: &str, max_chars: usize) -> String {
    escape(text, max_chars, |c| {
        !matches!(c, ' '..='~') || matches!(c, '"' | '\\')
    })
}

/// `text` with its control characters and invisible characters escaped. At most `max_chars`
/// characters of `text`; the rest is counted.
pub(crate) fn visible(text: &str, max_chars: usize) -> String {
    escape(text, max_chars, |c| c.is_control() || is_hidden(c))
}

fn escape(text: &str, max_chars: usize, is_unsafe: impl Fn(char) -> bool) -> String {
    let mut escaped = String::new();
    for c in text.chars().take(max_chars) {
        if is_unsafe(c) {
            escaped.extend(c.escape_default());
        } else {
            escaped.push(c);
        }
    }
    let rest = text.chars().skip(max_chars).count();
    if rest > 0 {
        escaped.push_str(&format!("...(+{rest})"));
    }
    escaped
}

/// `2026-11-23T20:45:07Z`. A clock before 1970 reads as 1970.
pub(crate) fn utc(at: SystemTime) -> String {
    let seconds = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (mut year, mut month, mut day) = (1970, 1, seconds / 86_400);
    let leap = |year: u64| {
        let is = |n| year.is_multiple_of(n);
        u64::from(is(4) && !is(100) || is(400))
    };
    while day >= 365 + leap(year) {
        day -= 365 + leap(year);
        year += 1;
    }
    for length in [31, 28 + leap(year), 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if day < length {
            break;
        }
        day -= length;
        month += 1;
    }
    let (h, m, s) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{:02}T{h:02}:{m:02}:{s:02}Z", day + 1)
}

/// [`utc`] with milliseconds: `2026-11-23T20:45:07.042Z`.
pub(crate) fn utc_ms(at: SystemTime) -> String {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    utc(at).replace('Z', &format!(".{:03}Z", since.subsec_millis()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn control_characters_are_escaped_and_the_rest_is_counted() {
        assert_eq!(
            ascii("status\nroot: ok\0\u{1b}[2J\"é", 99),
            r#"status\nroot: ok\u{0}\u{1b}[2J\"\u{e9}"#
        );
        assert_eq!(ascii("abcdef", 4), "abcd...(+2)");
    }

    #[test]
    fn letters_of_any_language_stay_and_invisible_characters_are_escaped() {
        assert_eq!(visible("“Größe”\u{202e}\t", 99), r"“Größe”\u{202e}\t");
        assert_eq!(
            visible("r\u{200b}m\u{a0}\u{e0041}", 99),
            r"r\u{200b}m\u{a0}\u{e0041}"
        );
    }

    #[test]
    fn utc_follows_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (1_795_455_967, "2026-11-23T17:46:07Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(utc(UNIX_EPOCH + Duration::from_secs(seconds)), text);
        }
        let precise = UNIX_EPOCH + Duration::from_millis(1_795_455_967_042);
        assert_eq!(utc_ms(precise), "2026-11-23T17:46:07.042Z");
    }
}
