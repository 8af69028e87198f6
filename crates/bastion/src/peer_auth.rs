//! Authenticates the processes that connect to an incident's sockets: its agent's, or a runner that speaks for
//! them.
//!
//! The account proves nothing, since all incidents' agents share one, and neither does the path, which anyone
//! can name. So the peer process is checked: it must descend from the one that was started for this incident.
//! If the agent runs in another container, its runner does that check and presents the secret that it was
//! given.

use breakglass_model::gateway::PeerCheck;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;

/// Maximum length of the line with which a runner starts a connection.
const CREDENTIAL_LINE_MAX_BYTES: usize = 512;
/// Maximum number of refused connections that are recorded per conversation.
const RECORDED_REFUSALS_MAX: usize = 8;

/// Decides which processes may connect for one conversation.
pub(crate) struct PeerAuth {
    check: OnceLock<PeerCheck>,
    secret: String,
    recorded_refusals: AtomicUsize,
}

/// Why a connection is refused.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PeerRefusal {
    /// The process, and why it is refused.
    NotTheAgent(String),
    /// A runner reports that it has refused a process.
    ByRunner(String),
}

impl PeerAuth {
    pub(crate) fn new() -> PeerAuth {
        PeerAuth {
            check: OnceLock::new(),
            secret: uuid::Uuid::new_v4().simple().to_string(),
            recorded_refusals: AtomicUsize::new(0),
        }
    }

    /// Sets the check that processes must pass. Only the first call has an effect.
    pub(crate) fn set_check(&self, check: PeerCheck) {
        let _first_counts = self.check.set(check);
    }

    /// The secret for a runner.
    pub(crate) fn secret(&self) -> &str {
        &self.secret
    }

    /// Whether to record one more refusal.
    pub(crate) fn should_record(&self) -> bool {
        self.recorded_refusals.fetch_add(1, Ordering::Relaxed) < RECORDED_REFUSALS_MAX
    }

    /// Whether processes are checked; otherwise a connection must start with the secret.
    pub(crate) fn has_check(&self) -> bool {
        self.check.get().is_some()
    }

    /// Checks the process at the other end.
    pub(crate) async fn check_peer(
        self: &Arc<PeerAuth>,
        stream: &UnixStream,
    ) -> Result<(), PeerRefusal> {
        let unknown = |error: io::Error| {
            PeerRefusal::NotTheAgent(format!("the process could not be identified: {error}"))
        };
        let held = stream.as_fd().try_clone_to_owned().map_err(unknown)?;
        let auth = Arc::clone(self);
        #[allow(
            clippy::disallowed_methods,
            reason = "one short read of /proc per connection; no child process is spawned there"
        )]
        let asking = tokio::task::spawn_blocking(move || auth.is_agent(held.as_fd()));
        let answer = asking.await.map_err(|error| unknown(error.into()))?;
        answer.map_err(PeerRefusal::NotTheAgent)
    }

    /// Runs the check; may take some milliseconds.
    pub(crate) fn is_agent(&self, peer: BorrowedFd<'_>) -> Result<(), String> {
        match self.check.get() {
            Some(check) => check(peer),
            None => Err("no process is accepted here".to_owned()),
        }
    }

    /// Reads the first line, which must contain the secret. Waits until it arrives.
    pub(crate) async fn read_credential(&self, stream: &mut UnixStream) -> Result<(), PeerRefusal> {
        let shown = line(stream).await.unwrap_or_default();
        let (secret, word) = shown.split_once(' ').unwrap_or((&shown, ""));
        if !equal_in_constant_time(secret.as_bytes(), self.secret.as_bytes()) {
            let why = "a process that did not come through the agent's runner";
            return Err(PeerRefusal::NotTheAgent(why.to_owned()));
        }
        match word.strip_prefix("refused ") {
            Some(who) => Err(PeerRefusal::ByRunner(
                who.chars().take(CREDENTIAL_LINE_MAX_BYTES).collect(),
            )),
            None => Ok(()),
        }
    }
}

/// Reads up to the end of the first line, and not a byte more: SSH follows.
async fn line(stream: &mut UnixStream) -> io::Result<String> {
    let mut text = Vec::new();
    while text.len() < CREDENTIAL_LINE_MAX_BYTES {
        match stream.read_u8().await? {
            b'\n' => break,
            byte => text.push(byte),
        }
        // An SSH client sends no secret, and waits for an answer.
        if text == b"SSH-" {
            break;
        }
    }
    Ok(breakglass_model::visible(&String::from_utf8_lossy(&text)).to_string())
}

/// Compares in a time that does not depend on where the texts differ.
fn equal_in_constant_time(one: &[u8], other: &[u8]) -> bool {
    let differing = one.iter().zip(other).fold(0, |all, (a, b)| all | (a ^ b));
    one.len() == other.len() && differing == 0
}

/// The message of a refusal: SSH allows a server to send lines before its version, and clients may show them.
pub(crate) fn refusal_line(why: &str) -> String {
    let why = breakglass_model::visible(why);
    let line: Vec<&str> = why.split_whitespace().collect();
    format!("breakglass: refused: {}\r\n", line.join(" "))
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    async fn shown(auth: &Arc<PeerAuth>, text: String) -> Result<(), PeerRefusal> {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(text.as_bytes()).await.unwrap();
        theirs.shutdown().await.unwrap();
        if auth.has_check() {
            auth.check_peer(&ours).await
        } else {
            auth.read_credential(&mut ours).await
        }
    }

    #[tokio::test]
    async fn without_a_check_only_the_whole_secret_is_accepted() {
        let auth = Arc::new(PeerAuth::new());
        let secret = auth.secret().to_owned();
        assert_eq!(shown(&auth, format!("{secret} enter\n")).await, Ok(()));
        for wrong in [
            String::new(),
            "\n".to_owned(),
            "SSH-2.0-OpenSSH_9.2\r\n".to_owned(),
            format!("{} enter\n", &secret[1..]),
            format!("{secret}0 enter\n"),
            format!(
                "{} enter\n",
                secret
                    .to_uppercase()
                    .replace(|c: char| c.is_ascii_digit(), "0")
            ),
            "x".repeat(10_000),
        ] {
            let refused = shown(&auth, wrong.clone()).await;
            assert!(
                matches!(refused, Err(PeerRefusal::NotTheAgent(_))),
                "{wrong}"
            );
        }
        let refused = shown(&auth, format!("{secret} refused process 7 (x)\n")).await;
        assert_eq!(
            refused,
            Err(PeerRefusal::ByRunner("process 7 (x)".to_owned()))
        );
    }

    #[tokio::test]
    async fn with_a_check_the_secret_is_not_accepted() {
        let auth = Arc::new(PeerAuth::new());
        auth.set_check(Box::new(|_| Err("process 7 (x)".to_owned())));
        auth.set_check(Box::new(|_| Ok(())));
        let secret = auth.secret().to_owned();
        let refused = shown(&auth, format!("{secret} enter\n")).await;
        assert_eq!(
            refused,
            Err(PeerRefusal::NotTheAgent("process 7 (x)".to_owned()))
        );
    }

    #[test]
    fn refusal_is_one_line_that_is_not_an_ssh_version() {
        let said = refusal_line("a\nSSH-2.0-b");
        assert_eq!(said.matches('\n').count(), 1, "{said:?}");
        assert!(!said.starts_with("SSH-"));
    }
}
