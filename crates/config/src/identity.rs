//! Which names can identify a person, in the configuration and in the header of a proxy.

use breakglass_verbs::is_hidden;

/// Maximum length of a name.
const IDENTITY_MAX_BYTES: usize = 128;

/// Checks that `name` can identify a person: 1 to 128 bytes, visible characters and spaces, no space at
/// either end.
///
/// # Errors
/// The problem, as a clause.
pub fn check_identity(name: &str) -> Result<(), &'static str> {
    if name.is_empty() {
        return Err("the name is empty");
    }
    if name.len() > IDENTITY_MAX_BYTES {
        return Err("the name is longer than 128 bytes");
    }
    if !name.chars().all(is_visible) {
        return Err("the name contains invisible characters");
    }
    if name.starts_with(' ') || name.ends_with(' ') {
        return Err("the name starts or ends with a space");
    }
    Ok(())
}

/// Whether `c` is visible, or a space. With other characters, two different names could look the same.
fn is_visible(c: char) -> bool {
    c == ' ' || !(c.is_control() || c.is_whitespace() || is_hidden(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invisible_characters_are_refused_in_names() {
        for c in "\0\t\n\u{1b}\u{7f}\u{85}\u{a0}\u{ad}\u{34f}\u{61c}\u{115f}\u{180e}\u{200b}\u{200d}\u{200e}\
                  \u{2028}\u{202e}\u{2060}\u{2062}\u{2066}\u{2800}\u{3000}\u{3164}\u{e000}\u{fe0f}\u{feff}\
                  \u{fff9}\u{ffa0}\u{e0041}\u{e0100}\u{10fffd}"
            .chars()
        {
            assert!(!is_visible(c), "U+{:04X}", u32::from(c));
        }
        for c in " aZ~'éßøłЖ山田אب한\u{301}🙂".chars() {
            assert!(is_visible(c), "U+{:04X}", u32::from(c));
        }
    }
}
