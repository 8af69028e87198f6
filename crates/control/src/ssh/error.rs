//! Why a command over SSH did not run to its end, in words for the operator.

use std::time::Duration;

use breakglass_model::EventBody;

use crate::target::Endpoint;

/// Why a command did not run to its end: what happened, to what, what to do next.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SshError {
    /// No TCP connection.
    #[error(
        "{endpoint} is unreachable: {cause}; check that the machine is up and that the network reaches it"
    )]
    Unreachable {
        /// The other side.
        endpoint: Endpoint,
        /// The system's error.
        cause: String,
        /// Whether its kernel answered: it refused or closed the connection.
        refused: bool,
        /// Whether the connection was accepted before it broke.
        greeted: bool,
    },
    /// sshd refuses connections from this machine for now.
    #[error(
        "{endpoint} is up, but its sshd refuses this machine for now ({said:?}{}): {}", for_how_long(*.left), shut_out_remedy(said)
    )]
    ShutOut {
        /// The other side.
        endpoint: Endpoint,
        /// The refusal as sshd sent it.
        said: String,
        /// How long it may last, by our own count; zero if unknown.
        left: Duration,
    },
    /// Not dialled, so that its sshd does not shut this machine out.
    #[error(
        "{endpoint} was not dialled: recent logins there failed, and sshd shuts out machines that fail too often (PerSourcePenalties); the next attempt is in {} s", .left.as_secs() + 1
    )]
    HeldBack {
        /// The endpoint.
        endpoint: Endpoint,
        /// Time until it may be dialled.
        left: Duration,
    },
    /// The server refused the key.
    #[error(
        "{endpoint} refused the key; check that its authorized_keys contains the public key and that the account is not locked"
    )]
    KeyRefused {
        /// The other side.
        endpoint: Endpoint,
    },
    /// Only pinned keys are trusted, and none is pinned.
    #[error(
        "{endpoint} has the host key {shown}, and none is pinned for it; compare it on the machine itself, then add it to {file}"
    )]
    HostKeyUnknown {
        /// The other side.
        endpoint: Endpoint,
        /// The fingerprint of its key.
        shown: String,
        /// The file of pinned keys.
        file: String,
    },
    /// The host key differs from the pinned one.
    #[error(
        "{endpoint} has the host key {shown}, but {pinned} is pinned: the machine was rebuilt, or something intercepts the connection; compare the new key on the machine itself; if it matches, remove line {line} of {file} and pin the new key"
    )]
    HostKeyChanged {
        /// The other side.
        endpoint: Endpoint,
        /// The pinned key's fingerprint.
        pinned: Box<str>,
        /// The fingerprint of its key.
        shown: Box<str>,
        /// The file of pinned keys.
        file: Box<str>,
        /// The line of the pinned key in the file, from 1.
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
        /// The other side.
        endpoint: Endpoint,
        /// The step that timed out.
        stage: Stage,
        /// The timeout.
        after: Duration,
    },
    /// sshd allows few sessions per connection (`MaxSessions`), and other commands used all of them.
    #[error(
        "{endpoint} answers, but its sshd allows {granted}; none became free within {} s: wait for a command to end, or raise MaxSessions there", .after.as_secs()
    )]
    Crowded {
        /// The other side.
        endpoint: Endpoint,
        /// What sshd allows, as part of a sentence.
        granted: String,
        /// The timeout.
        after: Duration,
    },
    /// sshd allows no session at all.
    #[error(
        "{endpoint} accepts the key but allows no session; raise MaxSessions in its sshd_config, which may be 0"
    )]
    NoSession {
        /// The other side.
        endpoint: Endpoint,
    },
    /// The connection broke while the command ran.
    #[error(
        "the connection to {endpoint} broke while {command:?} was running; it may still be running there"
    )]
    Lost {
        /// The other side.
        endpoint: Endpoint,
        /// The command.
        command: String,
    },
    /// The server rejects a request, or does not speak the protocol.
    #[error("{endpoint} answers, but not like an SSH server: {cause}; check its sshd's log")]
    Protocol {
        /// The other side.
        endpoint: Endpoint,
        /// What went wrong.
        cause: String,
    },
}

impl SshError {
    /// A code for the kind of failure, for metrics.
    pub(super) const fn code(&self) -> &'static str {
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

    /// The log event for a changed host key; `None` for other errors.
    pub(crate) fn host_key_event(&self) -> Option<EventBody> {
        match self {
            SshError::HostKeyChanged {
                endpoint,
                pinned,
                shown,
                ..
            } => Some(EventBody::HostKeyChanged {
                host: endpoint.to_string(),
                pinned: pinned.to_string(),
                shown: shown.to_string(),
            }),
            _ => None,
        }
    }

    /// Whether the command had been sent, so that it may still be running.
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

/// What to do about the refusal.
fn shut_out_remedy(refusal: &str) -> &'static str {
    if refusal.contains("MaxStartups") {
        "too many logins are in progress there; try again, or raise MaxStartups in its sshd_config"
    } else {
        "OpenSSH 9.8 and newer does so for up to 10 min after failed logins from an address \
         (PerSourcePenalties); wait, or add this machine's address to PerSourcePenaltyExemptList in \
         its sshd_config"
    }
}

/// A step of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Opening the TCP connection.
    Connecting,
    /// Waiting for the server's greeting and exchanging keys.
    Greeting,
    /// Waiting for the answer to the key.
    Authenticating,
    /// Waiting for a channel on an open connection.
    Opening,
    /// Running the command.
    Running,
}

impl Stage {
    const fn advice(self) -> &'static str {
        match self {
            Stage::Connecting => "the machine is down, or a firewall drops the packets",
            Stage::Greeting | Stage::Authenticating | Stage::Opening => {
                "its kernel accepts connections, but sshd does not answer: the machine is stalled or overloaded"
            }
            Stage::Running => "the command may still be running there",
        }
    }
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Stage::Connecting => "connecting",
            Stage::Greeting => "exchanging keys",
            Stage::Authenticating => "checking the key",
            Stage::Opening => "opening a channel",
            Stage::Running => "running the command",
        })
    }
}
