//! Text from outside, made fit to be kept and shown.

/// Cuts `text` to at most `max` bytes, keeping its head and its tail at character boundaries,
/// with a line between them that says how much is missing (where `max` has room for one).
/// Returns the text and the bytes left out; `0` means that it is whole.
#[must_use]
pub fn bounded(text: &str, max: usize) -> (String, u64) {
    if text.len() <= max {
        return (text.to_owned(), 0);
    }
    let room = max.saturating_sub(MARK_BYTES);
    if room < MARK_BYTES {
        let head = text.floor_char_boundary(max);
        return (text[..head].to_owned(), (text.len() - head) as u64);
    }
    let head = text.floor_char_boundary(room / 2);
    let tail = text.ceil_char_boundary(text.len() - (room - room / 2));
    let omitted = (tail - head) as u64;
    (
        format!(
            "{}\n[… {omitted} bytes omitted …]\n{}",
            &text[..head],
            &text[tail..]
        ),
        omitted,
    )
}

/// Enough for the mark with the longest number.
const MARK_BYTES: usize = 48;

/// Makes visible what a terminal or a browser would obey instead of show: ESC and the other C0
/// controls (except newline and tab) and DEL become their pictures (`␛`), C1 controls, bidirectional
/// overrides and the Unicode line separators become `<U+202E>`.
#[must_use]
pub fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => shown.push(c),
            '\0'..='\x1f' => shown.push(char::from_u32(0x2400 + u32::from(c)).unwrap_or('␦')),
            '\x7f' => shown.push('␡'),
            _ if obeyed(c) => shown.push_str(&format!("<U+{:04X}>", u32::from(c))),
            _ => shown.push(c),
        }
    }
    shown
}

const fn obeyed(c: char) -> bool {
    matches!(c,
        '\u{80}'..='\u{9f}'
        | '\u{61c}' | '\u{200e}' | '\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bounded_text_keeps_head_and_tail_and_counts_the_rest(text in "\\PC{0,400}", max in 0usize..600) {
            let (kept, omitted) = bounded(&text, max);
            prop_assert!(kept.len() <= max || omitted == 0);
            if omitted == 0 {
                prop_assert_eq!(&kept, &text);
            } else if let Some((head, rest)) = kept.split_once("\n[… ") {
                let tail = rest.split_once(" bytes omitted …]\n").unwrap().1;
                prop_assert!(text.starts_with(head) && text.ends_with(tail));
                prop_assert_eq!(head.len() + tail.len() + usize::try_from(omitted).unwrap(), text.len());
            } else {
                prop_assert!(text.starts_with(&kept));
                prop_assert_eq!(kept.len() + usize::try_from(omitted).unwrap(), text.len());
            }
        }

        #[test]
        fn visible_text_holds_nothing_that_a_screen_obeys(text in any::<String>()) {
            let shown = visible(&text);
            prop_assert!(shown.chars().all(|c| c == '\n' || c == '\t' || !(c.is_control() || obeyed(c))));
            prop_assert_eq!(visible(&shown), shown);
        }

        #[test]
        fn harmless_text_stays_as_it_is(text in "[ -~äß漢🙂\n\t]{0,200}") {
            prop_assert_eq!(visible(&text), text);
        }
    }

    #[test]
    fn escape_and_bidi_override_become_pictures() {
        assert_eq!(
            visible("a\x1b[31m\r\u{9b}\u{202e}b"),
            "a␛[31m␍<U+009B><U+202E>b"
        );
    }
}
