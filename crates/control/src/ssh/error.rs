use std::time::Duration;

use crate::target::Endpoint;

/// Why a command did not run to its end: what happened, to what, what to do next.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SshError {
    /// No TCP connection.
    #[error(
        "{endpoint} is unreachable: {cause}; check that the machine is up and the network leads there"
    )]
    Unreachable {
        /// What was dialled.
        endpoint: Endpoint,
        /// What the system said.
        cause: String,
        /// Whether a kernel answers there: it refused the connection, or hung up.
        refused: bool,
        /// Whether something took the connection before it broke.
        greeted: bool,
    },
    /// sshd takes no connection of this machine at the moment.
    #[error(
        "{endpoint} lives, and its sshd refuses this machine for now: it said {said:?}{}; {}", for_how_long(*.left), shut_out(said)
    )]
    ShutOut {
        /// What was dialled.
        endpoint: Endpoint,
        /// Its words.
        said: String,
        /// How long it may last, by our own count; zero where that knows of nothing.
        left: Duration,
    },
    /// Not dialled, so that sshd does not shut this machine out.
    #[error(
        "{endpoint} was not dialled: logins there failed just now, and an sshd shuts out who fails too often (PerSourcePenalties); the next try is in {} s", .left.as_secs() + 1
    )]
    HeldBack {
        /// What was not dialled.
        endpoint: Endpoint,
        /// How long until it may be.
        left: Duration,
    },
    /// The server does not take the key.
    #[error(
        "{endpoint} refused the key; check that its authorized_keys holds the public key and that the account is not locked"
    )]
    KeyRefused {
        /// What was dialled.
        endpoint: Endpoint,
    },
    /// The policy is to trust pinned keys only, and none is pinned.
    #[error(
        "{endpoint} shows the key {shown}, and no key is pinned for it; compare it on the machine itself, then add it to {file}"
    )]
    HostKeyUnknown {
        /// What was dialled.
        endpoint: Endpoint,
        /// The fingerprint that it showed.
        shown: String,
        /// The file of pinned keys.
        file: String,
    },
    /// Another key than the pinned one.
    #[error(
        "{endpoint} shows the key {shown}, pinned is {pinned}: it was rebuilt, or something stands in between; compare the new key on the machine itself; if it is right, remove line {line} of {file} and pin the new one"
    )]
    HostKeyChanged {
        /// What was dialled.
        endpoint: Endpoint,
        /// The pinned key's fingerprint.
        pinned: Box<str>,
        /// The fingerprint that it showed.
        shown: Box<str>,
        /// The file of pinned keys.
        file: Box<str>,
        /// The line of the pinned key in it, from 1.
        line: usize,
    },
    /// The file of pinned keys can't be used.
    #[error("the pinned host keys in {file} can't be used: {cause}; repair the file")]
    HostKeyFile {
        /// The file.
        file: String,
        /// Why.
        cause: String,
    },
    /// No answer in time.
    #[error("{endpoint} gave no answer within {} s while {stage}; {}", .after.as_secs_f32(), .stage.advice())]
    TimedOut {
        /// What was dialled.
        endpoint: Endpoint,
        /// In what.
        stage: Stage,
        /// How long was waited.
        after: Duration,
    },
    /// sshd grants few sessions on a connection (`MaxSessions`), and others had them all.
    #[error(
        "{endpoint} answers, but its sshd grants {granted}; none got free within {} s: wait for a command to end, or raise MaxSessions there", .after.as_secs()
    )]
    Crowded {
        /// What was asked.
        endpoint: Endpoint,
        /// How many sessions and connections, as part of a sentence.
        granted: String,
        /// How long was waited.
        after: Duration,
    },
    /// sshd grants no session at all.
    #[error(
        "{endpoint} takes the key and grants no session; raise MaxSessions in its sshd_config, which may be 0"
    )]
    NoSession {
        /// What was asked.
        endpoint: Endpoint,
    },
    /// The connection broke while the command ran.
    #[error(
        "the connection to {endpoint} broke while {command:?} ran; it may still be running there"
    )]
    Lost {
        /// The other side.
        endpoint: Endpoint,
        /// The command.
        command: String,
    },
    /// The server does not do what was asked, or does not speak the protocol.
    #[error("{endpoint} answers, but not as an SSH server should: {cause}; look at its sshd's log")]
    Protocol {
        /// The other side.
        endpoint: Endpoint,
        /// What went wrong.
        cause: String,
    },
}

impl SshError {
    /// The kind of failure in a word, out of a closed set.
    pub(super) const fn word(&self) -> &'static str {
        match self {
            SshError::Unreachable { .. } => "unreachable",
            SshError::ShutOut { .. } => "shut_out",
            SshError::HeldBack { .. } => "held_back",
            SshError::KeyRefused { .. } => "key_refused",
            SshError::HostKeyUnknown { .. } => "host_key_unknown",
            SshError::HostKeyChanged { .. } => "host_key_changed",
            SshError::HostKeyFile { .. } => "host_key_file",
            SshError::TimedOut { .. } => "timed_out",
            SshError::Crowded { .. } => "crowded",
            SshError::NoSession { .. } => "no_session",
            SshError::Lost { .. } => "lost",
            SshError::Protocol { .. } => "protocol",
        }
    }

    /// Whether the command had been sent and its fate is unknown.
    pub(crate) const fn while_running(&self) -> bool {
        matches!(
            self,
            SshError::Lost { .. }
                | SshError::TimedOut {
                    stage: Stage::Running,
                    ..
                }
        )
    }
}

fn for_how_long(left: Duration) -> String {
    match left.as_secs() {
        0 => String::new(),
        seconds => format!(", for {seconds} s by our own count"),
    }
}

/// What to do about an sshd that said this.
fn shut_out(said: &str) -> &'static str {
    match said.contains("MaxStartups") {
        true => {
            "too many logins are under way there: try again, or raise MaxStartups in its sshd_config"
        }
        false => {
            "OpenSSH 9.8 and newer does so for up to 10 min after failed logins from an address              (PerSourcePenalties): wait, or put this machine's address into PerSourcePenaltyExemptList              in its sshd_config"
        }
    }
}

/// How far a connection had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Opening the TCP connection.
    Connecting,
    /// Waiting for the server's greeting and exchanging keys.
    Greeting,
    /// Waiting for the answer to the key.
    Authenticating,
    /// Waiting for a channel on a connection that stood.
    Opening,
    /// The command runs.
    Running,
}

impl Stage {
    const fn advice(self) -> &'static str {
        match self {
            Stage::Connecting => "the machine is down, or a firewall swallows the packets",
            Stage::Greeting | Stage::Authenticating | Stage::Opening => {
                "its kernel takes connections, but sshd does not answer: the machine is stalled or overloaded"
            }
            Stage::Running => "the command may still be running there",
        }
    }
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Stage::Connecting => "being dialled",
            Stage::Greeting => "greeting",
            Stage::Authenticating => "looking at the key",
            Stage::Opening => "opening a channel",
            Stage::Running => "running the command",
        })
    }
}
