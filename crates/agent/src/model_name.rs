//! Which names of models are accepted, by the configuration, prompts and the runner alike.

/// Maximum length of a model's name.
const MODEL_NAME_MAX_BYTES: usize = 128;

/// Whether `name` can be the name of a model. It becomes an argument of the CLI, so it must not look like an
/// option.
#[must_use]
pub fn is_model_name(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-:/@[]".contains(&byte);
    (1..=MODEL_NAME_MAX_BYTES).contains(&name.len())
        && !name.starts_with('-')
        && name.bytes().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_name_can_not_be_an_option() {
        for good in [
            "sonnet",
            "claude-opus-4-8",
            "opus[1m]",
            "us.anthropic.claude:0",
            "@cf/meta/llama",
        ] {
            assert!(is_model_name(good), "{good}");
        }
        for bad in ["", "-p", "--model", "a b", "a\n", "é", &"a".repeat(129)] {
            assert!(!is_model_name(bad), "{bad}");
        }
    }
}
