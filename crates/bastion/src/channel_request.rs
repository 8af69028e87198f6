//! Requests of the agent's client on one channel: a command, a shell or a subsystem, and its environment.

use breakglass_model::gateway::CALL_VARIABLE;
use breakglass_model::{CommandMode, visible};
use russh::Pty;

/// Maximum size of a command: the log and the approval's card contain all of it.
pub(crate) const COMMAND_MAX_BYTES: usize = 64 * 1024;
/// Maximum number of variables of one channel, and maximum size of a value.
const VARIABLES_MAX: usize = 32;
const VALUE_MAX_BYTES: usize = 1024;

/// What the client wants to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ChannelRequest {
    Exec(Vec<u8>),
    Shell,
    Subsystem(String),
}

impl ChannelRequest {
    pub(crate) const fn mode(&self) -> CommandMode {
        match self {
            ChannelRequest::Exec(_) => CommandMode::Exec,
            ChannelRequest::Shell => CommandMode::Shell,
            ChannelRequest::Subsystem(_) => CommandMode::Subsystem,
        }
    }

    /// The text with control characters made visible; cut if it is too long.
    pub(crate) fn text(&self) -> String {
        match self {
            ChannelRequest::Exec(bytes) => {
                let kept = &bytes[..bytes.len().min(COMMAND_MAX_BYTES)];
                visible(&String::from_utf8_lossy(kept))
            }
            ChannelRequest::Shell => String::new(),
            ChannelRequest::Subsystem(name) => visible(&name.chars().take(256).collect::<String>()),
        }
    }

    /// Why it can't be accepted at all, as a sentence for the agent.
    pub(crate) fn fault(&self) -> Option<String> {
        match self {
            ChannelRequest::Exec(bytes) if bytes.len() > COMMAND_MAX_BYTES => Some(format!(
                "the command has {} bytes, but at most {COMMAND_MAX_BYTES} are allowed; send a long script \
                 through standard input: ssh HOST sh < FILE",
                bytes.len()
            )),
            ChannelRequest::Exec(bytes) if bytes.contains(&0) => {
                Some("the command contains a NUL byte, which no shell accepts".to_owned())
            }
            _ => None,
        }
    }
}

/// The requested terminal.
#[derive(Debug, Clone)]
pub(crate) struct Terminal {
    pub(crate) term: String,
    pub(crate) columns: u32,
    pub(crate) rows: u32,
    pub(crate) pixels: (u32, u32),
    pub(crate) modes: Vec<(Pty, u32)>,
}

/// Environment variables for the guest: they change how text is displayed, not what a program does. The
/// variable that names the tool call stays here.
#[derive(Debug, Clone, Default)]
pub(crate) struct Variables {
    listed: Vec<(String, String)>,
    call: Option<String>,
}

impl Variables {
    /// Adds a variable; returns false if it is not allowed.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> bool {
        let listed = matches!(name, "LANG" | "TZ" | "COLORTERM" | "NO_COLOR")
            || (name.starts_with("LC_") && name != crate::cleanup::VARIABLE);
        let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        let fits = value.len() <= VALUE_MAX_BYTES && plain(name) && plain(value);
        if fits && name == CALL_VARIABLE {
            self.call = Some(value.to_owned());
            return true;
        }
        if !listed || !fits || self.listed.len() >= VARIABLES_MAX {
            return false;
        }
        self.listed.push((name.to_owned(), value.to_owned()));
        true
    }

    /// The tool call that the command claims to belong to.
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
    fn only_listed_variables_with_plain_values_are_accepted() {
        let mut variables = Variables::default();
        assert!(variables.set("LANG", "C.UTF-8"));
        assert!(variables.set("LC_ALL", "C"));
        for (name, value) in [
            ("LD_PRELOAD", "/tmp/x.so"),
            ("PATH", "/tmp"),
            ("BASH_ENV", "/tmp/x"),
            ("LC_BREAKGLASS", "0"),
            ("LANG", "C\nX=1"),
            ("LANG", &"x".repeat(VALUE_MAX_BYTES + 1)),
        ] {
            assert!(!variables.set(name, value), "{name}");
        }
    }

    #[test]
    fn tool_call_of_a_command_is_not_sent_to_the_guest() {
        let mut variables = Variables::default();
        assert!(variables.set(CALL_VARIABLE, "toolu_1"));
        assert!(!variables.set(CALL_VARIABLE, "a b"));
        assert_eq!(variables.call(), Some("toolu_1"));
        assert_eq!(variables.iter().count(), 0);
    }

    #[test]
    fn oversized_command_is_refused_with_an_alternative() {
        let fault = ChannelRequest::Exec(vec![b'x'; COMMAND_MAX_BYTES + 1])
            .fault()
            .unwrap();
        assert!(fault.contains("standard input"), "{fault}");
        assert!(ChannelRequest::Exec(b"a\0b".to_vec()).fault().is_some());
        assert_eq!(ChannelRequest::Exec(b"uptime".to_vec()).fault(), None);
    }
}
