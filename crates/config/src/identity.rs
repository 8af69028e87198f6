//! Which names can identify a person, in the configuration and in the header of a proxy.

/// Longest name, in bytes.
const MAX_NAME_BYTES: usize = 128;

/// Whether `name` may name a person: 1 to 128 bytes of characters that show, no blank at
/// either end.
///
/// # Errors
/// What is wrong with it, as the end of a sentence.
pub fn check_identity(name: &str) -> Result<(), &'static str> {
    if name.is_empty() {
        return Err("the name is empty");
    }
    if name.len() > MAX_NAME_BYTES {
        return Err("the name is longer than 128 bytes");
    }
    if !name.chars().all(shows) {
        return Err("the name holds characters that no screen shows");
    }
    if name.starts_with(' ') || name.ends_with(' ') {
        return Err("the name begins or ends with a blank");
    }
    Ok(())
}

/// Whether `c` may stand in a name: something that shows, or a plain blank. What a screen does not
/// show, or obeys, could make two people look the same.
fn shows(c: char) -> bool {
    c == ' ' || !(c.is_control() || c.is_whitespace() || is_invisible(c))
}

/// Formatting, bidirectional controls, fillers, variation selectors, tags, private use: the
/// characters of Unicode 16 that are meant not to show.
const fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}'
        | '\u{890}'..='\u{891}' | '\u{8e2}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{e000}'..='\u{f8ff}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{ffff}'
        | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{10ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_screen_shows_stands_in_no_name() {
        for c in "\0\t\n\u{1b}\u{7f}\u{85}\u{a0}\u{ad}\u{34f}\u{61c}\u{115f}\u{180e}\u{200b}\u{200d}\u{200e}\
                  \u{2028}\u{202e}\u{2060}\u{2062}\u{2066}\u{2800}\u{3000}\u{3164}\u{e000}\u{fe0f}\u{feff}\
                  \u{fff9}\u{ffa0}\u{e0041}\u{e0100}\u{10fffd}"
            .chars()
        {
            assert!(!shows(c), "U+{:04X}", u32::from(c));
        }
        for c in " aZ~'éßøłЖ山田אب한\u{301}🙂".chars() {
            assert!(shows(c), "U+{:04X}", u32::from(c));
        }
    }
}
