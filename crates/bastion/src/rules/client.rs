//! The one call that the agent's own shell may make unasked: the SSH client, which only hands a command
//! over to the bastion, where it is judged.
//!
//! OpenSSH has options that run programs and write files on this side (`-o ProxyCommand`, `-E`, `-F`,
//! `-I`, …), takes them also behind the host and in clusters (`-tTE FILE`), and its configuration puts the
//! host's name into a command. So what may stand in the call is listed here, and nothing else may.

use super::words::{self, Word};

/// Letters of options without a value that change nothing on this side.
const FLAGS: &str = "46CnqTtvx";

/// Settings that `-o` may give, each with digits.
const NUMBERS: [&str; 3] = [
    "ConnectTimeout",
    "ServerAliveInterval",
    "ServerAliveCountMax",
];

/// What passes, for the one who is refused.
const FORM: &str = "unasked passes one `[timeout N] ssh [-T] [-o ConnectTimeout=N] HOST 'COMMAND'`, \
                    alone and without a substitution";

/// Whether `line` does no more, in the shell that runs it, than to hand a command over to the bastion.
///
/// # Errors
/// A sentence: what else it may do.
pub(crate) fn hands_over(line: &str) -> Result<(), String> {
    let commands = words::split(line.as_bytes())?;
    let [command] = &commands[..] else {
        return Err(format!("it is more than one command; {FORM}"));
    };
    if command.iter().any(|word| word.glob) {
        return Err(format!("it has a pattern; {FORM}"));
    }
    let texts: Vec<&str> = command
        .iter()
        .map(|word: &Word| word.text.as_str())
        .collect();
    let call = match &texts[..] {
        ["timeout", seconds, call @ ..] if is_digits(seconds) => call,
        call => call,
    };
    match call {
        ["ssh", words @ ..] => after_options(words),
        _ => Err(format!("it does not call `ssh`; {FORM}")),
    }
}

/// Takes the options off that are listed, and looks at what they stand before.
fn after_options(words: &[&str]) -> Result<(), String> {
    match words {
        ["-o", setting, rest @ ..] if is_listed(setting) => after_options(rest),
        [option, rest @ ..] if option.starts_with('-') => {
            let attached = option.strip_prefix("-o").is_some_and(is_listed);
            if attached || is_flags(option) {
                return after_options(rest);
            }
            Err(format!(
                "the option `{}` of `ssh` is not listed; {FORM}",
                words::shown(option)
            ))
        }
        // Behind the host the client looks for options again.
        [host, first, ..] if is_name(host) && !first.starts_with('-') => Ok(()),
        _ => Err(format!("no plain host with a command follows; {FORM}")),
    }
}

fn is_flags(option: &str) -> bool {
    option.len() > 1 && option[1..].chars().all(|letter| FLAGS.contains(letter))
}

fn is_listed(setting: &str) -> bool {
    setting.split_once('=').is_some_and(|(name, value)| {
        (NUMBERS.contains(&name) && is_digits(value)) || setting == "BatchMode=yes"
    })
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.len() <= 9 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A name of a machine, and neither an account at one nor a path.
fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(plain)
}
