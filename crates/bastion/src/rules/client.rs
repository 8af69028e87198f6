//! Recognises the one call that the agent's own shell may make without asking: the SSH client, which only
//! passes a command on to the bastion, where it is judged.
//!
//! OpenSSH has options that run programs and write files on this side (`-o ProxyCommand`, `-E`, `-F`,
//! `-I`, …), accepts them also after the host and in clusters (`-tTE FILE`), and its configuration puts the
//! host's name into a command. So this file lists everything that such a call may contain.

use super::words::{self, Word};

/// Options without a value that change nothing on this side.
const FLAGS: &str = "46CnqTtvx";

/// Settings that `-o` may set, each to a number.
const NUMBERS: [&str; 3] = [
    "ConnectTimeout",
    "ServerAliveInterval",
    "ServerAliveCountMax",
];

/// The allowed form, for the message of a refusal.
const FORM: &str = "without asking, only one `[timeout N] ssh [-T] [-o ConnectTimeout=N] HOST 'COMMAND'` is allowed, \
                    alone and without a substitution";

/// Checks that `line`, in the shell that runs it, only passes a command on to the bastion.
///
/// # Errors
/// A sentence about what else it could do.
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

/// Skips the listed options, and checks the host and command after them.
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
        // After the host the client parses options again.
        [host, first, ..] if is_name(host) && !first.starts_with('-') => Ok(()),
        _ => Err(format!("no plain host name with a command follows; {FORM}")),
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

/// A machine's name, without an account or a path.
fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(plain)
}
