//! What a client of the bastion asks of one channel.

use breakglass_model::gateway::CALL_VARIABLE;
use breakglass_model::{CommandMode, visible};
use russh::Pty;

/// Longest command, in bytes: kept whole in the record and on an approval's card.
pub(crate) const COMMAND_LIMIT: usize = 64 * 1024;
/// Variables of one channel, and the bytes of one value.
const VARIABLES: usize = 32;
const VALUE_LIMIT: usize = 1024;

/// What is to be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Errand {
    Exec(Vec<u8>),
    Shell,
    Subsystem(String),
}

impl Errand {
    pub(crate) const fn mode(&self) -> CommandMode {
        match self {
            Errand::Exec(_) => CommandMode::Exec,
            Errand::Shell => CommandMode::Shell,
            Errand::Subsystem(_) => CommandMode::Subsystem,
        }
    }

    /// The whole text, made fit to be kept and shown; of one that is too long its beginning.
    pub(crate) fn text(&self) -> String {
        match self {
            Errand::Exec(bytes) => {
                let kept = &bytes[..bytes.len().min(COMMAND_LIMIT)];
                visible(&String::from_utf8_lossy(kept))
            }
            Errand::Shell => String::new(),
            Errand::Subsystem(name) => visible(&name.chars().take(256).collect::<String>()),
        }
    }

    /// Why it can't be taken at all.
    pub(crate) fn fault(&self) -> Option<String> {
        match self {
            Errand::Exec(bytes) if bytes.len() > COMMAND_LIMIT => Some(format!(
                "the command has {} bytes, and {COMMAND_LIMIT} are the most; send a long script \
                 through standard input: ssh HOST sh < FILE",
                bytes.len()
            )),
            Errand::Exec(bytes) if bytes.contains(&0) => {
                Some("the command holds a NUL byte, which no shell takes".to_owned())
            }
            _ => None,
        }
    }
}

/// A terminal, as it was asked for.
#[derive(Debug, Clone)]
pub(crate) struct Terminal {
    pub(crate) term: String,
    pub(crate) columns: u32,
    pub(crate) rows: u32,
    pub(crate) pixels: (u32, u32),
    pub(crate) modes: Vec<(Pty, u32)>,
}

/// Variables that may reach the guest: how text is shown, and nothing that a program obeys. And the one
/// that goes no further than here.
#[derive(Debug, Clone, Default)]
pub(crate) struct Variables {
    listed: Vec<(String, String)>,
    call: Option<String>,
}

impl Variables {
    /// Takes a variable, or says that it is not on the list.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> bool {
        let listed = matches!(name, "LANG" | "TZ" | "COLORTERM" | "NO_COLOR")
            || (name.starts_with("LC_") && name != super::remote::VARIABLE);
        let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        let fits = value.len() <= VALUE_LIMIT && plain(name) && plain(value);
        if fits && name == CALL_VARIABLE {
            self.call = Some(value.to_owned());
            return true;
        }
        if !listed || !fits || self.listed.len() >= VARIABLES {
            return false;
        }
        self.listed.push((name.to_owned(), value.to_owned()));
        true
    }

    /// Which call of a tool it says that it belongs to.
    pub(crate) fn call(&self) -> Option<&str> {
        self.call.as_deref()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &(String, String)> {
        self.listed.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_variables_of_plain_text_pass() {
        let mut variables = Variables::default();
        assert!(variables.set("LANG", "C.UTF-8"));
        assert!(variables.set("LC_ALL", "C"));
        for (name, value) in [
            ("LD_PRELOAD", "/tmp/x.so"),
            ("PATH", "/tmp"),
            ("BASH_ENV", "/tmp/x"),
            ("LC_BREAKGLASS", "0"),
            ("LANG", "C\nX=1"),
            ("LANG", &"x".repeat(VALUE_LIMIT + 1)),
        ] {
            assert!(!variables.set(name, value), "{name}");
        }
    }

    #[test]
    fn the_call_that_a_command_belongs_to_goes_no_further() {
        let mut variables = Variables::default();
        assert!(variables.set(CALL_VARIABLE, "toolu_1"));
        assert!(!variables.set(CALL_VARIABLE, "a b"));
        assert_eq!(variables.call(), Some("toolu_1"));
        assert_eq!(variables.iter().count(), 0);
    }

    #[test]
    fn a_command_that_no_record_could_hold_is_refused_with_another_way() {
        let fault = Errand::Exec(vec![b'x'; COMMAND_LIMIT + 1]).fault().unwrap();
        assert!(fault.contains("standard input"), "{fault}");
        assert!(Errand::Exec(b"a\0b".to_vec()).fault().is_some());
        assert_eq!(Errand::Exec(b"uptime".to_vec()).fault(), None);
    }
}
