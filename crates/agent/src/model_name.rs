const MODEL_NAME_MAX_BYTES: usize = 100;

/// Whether `name` is a valid model name. It becomes an argument of the CLI, so it must not look like an option.
pub(crate) fn is_model_name(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-:/@[]".contains(&byte);
    let first = name.bytes().next();
    first.is_some_and(|byte| byte.is_ascii_alphanumeric())
        && name.len() <= MODEL_NAME_MAX_BYTES
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
        ] {
            assert!(is_model_name(good), "{good}");
        }
        for bad in ["", "-p", "--model", "a b", "a\n", "é", &"a".repeat(101)] {
            assert!(!is_model_name(bad), "{bad}");
        }
    }
}
