//! Who may use an incident's sockets: processes of its agent, and a runner that speaks for them.
//!
//! An account is no proof, since all incidents' agents have one, and neither is a path, which anybody can
//! name. So a process is asked about itself: whether it descends from the one that was started for this
//! incident. Where that runs in another container, its runner asks, and shows the pass that it was given.

use breakglass_model::gateway::PeerCheck;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;

/// The longest line that a runner begins a connection with.
const LINE: usize = 512;
/// Refused connections of one post that are recorded; the next ones are only refused.
const TOLD: usize = 8;

/// What is known of those who may use one post.
pub(crate) struct Guard {
    proof: OnceLock<PeerCheck>,
    pass: String,
    told: AtomicUsize,
}

/// Why a connection is not served.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Who came, and why it is not let in.
    Stranger(String),
    /// A runner tells that it has turned somebody away.
    ByRunner(String),
}

impl Guard {
    pub(crate) fn new() -> Guard {
        Guard {
            proof: OnceLock::new(),
            pass: uuid::Uuid::new_v4().simple().to_string(),
            told: AtomicUsize::new(0),
        }
    }

    /// From now on those whom `proof` knows are let in. The first one counts.
    pub(crate) fn open_to(&self, proof: PeerCheck) {
        let _first_counts = self.proof.set(proof);
    }

    /// See [`super::Post::pass`].
    pub(crate) fn pass(&self) -> &str {
        &self.pass
    }

    /// Whether one more refusal is to be recorded.
    pub(crate) fn tells(&self) -> bool {
        self.told.fetch_add(1, Ordering::Relaxed) < TOLD
    }

    /// Whether a proof is asked; else the pass has to be shown.
    pub(crate) fn asks_for_proof(&self) -> bool {
        self.proof.get().is_some()
    }

    /// Lets in whom the proof knows.
    pub(crate) async fn prove(self: &Arc<Guard>, stream: &UnixStream) -> Result<(), Refused> {
        let unknown =
            |error: io::Error| Refused::Stranger(format!("who it is is not known: {error}"));
        let held = stream.as_fd().try_clone_to_owned().map_err(unknown)?;
        let guard = Arc::clone(self);
        #[allow(
            clippy::disallowed_methods,
            reason = "one short read of /proc per connection; no child is spawned there"
        )]
        let asking = tokio::task::spawn_blocking(move || guard.knows(held.as_fd()));
        let answer = asking.await.map_err(|error| unknown(error.into()))?;
        answer.map_err(Refused::Stranger)
    }

    /// Asks the proof; may take some milliseconds.
    pub(crate) fn knows(&self, peer: BorrowedFd<'_>) -> Result<(), String> {
        match self.proof.get() {
            Some(proof) => proof(peer),
            None => Err("nobody is known here".to_owned()),
        }
    }

    /// Lets in who shows the pass. Waits for as long as nothing is shown.
    pub(crate) async fn ask_for_pass(&self, stream: &mut UnixStream) -> Result<(), Refused> {
        let shown = line(stream).await.unwrap_or_default();
        let (pass, word) = shown.split_once(' ').unwrap_or((&shown, ""));
        if !same(pass.as_bytes(), self.pass.as_bytes()) {
            let why = "a process that did not come through the agent's runner";
            return Err(Refused::Stranger(why.to_owned()));
        }
        match word.strip_prefix("refused ") {
            Some(who) => Err(Refused::ByRunner(who.chars().take(LINE).collect())),
            None => Ok(()),
        }
    }
}

/// Reads to the first line's end and not a byte further: what follows is SSH's.
async fn line(stream: &mut UnixStream) -> io::Result<String> {
    let mut text = Vec::new();
    while text.len() < LINE {
        match stream.read_u8().await? {
            b'\n' => break,
            byte => text.push(byte),
        }
        // An SSH client has no pass, and waits for an answer to this.
        if text == b"SSH-" {
            break;
        }
    }
    Ok(breakglass_model::visible(&String::from_utf8_lossy(&text)).to_string())
}

/// Takes as long wherever two texts of one length differ.
fn same(one: &[u8], other: &[u8]) -> bool {
    let differing = one.iter().zip(other).fold(0, |all, (a, b)| all | (a ^ b));
    one.len() == other.len() && differing == 0
}

/// The words of a refusal, which a client may show: SSH lets a server say them before its version.
pub(crate) fn words(why: &str) -> String {
    let why = breakglass_model::visible(why);
    let line: Vec<&str> = why.split_whitespace().collect();
    format!("breakglass: refused: {}\r\n", line.join(" "))
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    async fn shown(guard: &Arc<Guard>, text: String) -> Result<(), Refused> {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(text.as_bytes()).await.unwrap();
        theirs.shutdown().await.unwrap();
        match guard.asks_for_proof() {
            true => guard.prove(&ours).await,
            false => guard.ask_for_pass(&mut ours).await,
        }
    }

    #[tokio::test]
    async fn without_a_proof_only_the_whole_pass_lets_in() {
        let guard = Arc::new(Guard::new());
        let pass = guard.pass().to_owned();
        assert_eq!(shown(&guard, format!("{pass} enter\n")).await, Ok(()));
        for wrong in [
            String::new(),
            "\n".to_owned(),
            "SSH-2.0-OpenSSH_9.2\r\n".to_owned(),
            format!("{} enter\n", &pass[1..]),
            format!("{pass}0 enter\n"),
            format!(
                "{} enter\n",
                pass.to_uppercase()
                    .replace(|c: char| c.is_ascii_digit(), "0")
            ),
            "x".repeat(10_000),
        ] {
            let refused = shown(&guard, wrong.clone()).await;
            assert!(matches!(refused, Err(Refused::Stranger(_))), "{wrong}");
        }
        let told = shown(&guard, format!("{pass} refused process 7 (x)\n")).await;
        assert_eq!(told, Err(Refused::ByRunner("process 7 (x)".to_owned())));
    }

    #[tokio::test]
    async fn where_a_proof_is_asked_no_pass_helps() {
        let guard = Arc::new(Guard::new());
        guard.open_to(Box::new(|_| Err("process 7 (x)".to_owned())));
        guard.open_to(Box::new(|_| Ok(())));
        let pass = guard.pass().to_owned();
        let refused = shown(&guard, format!("{pass} enter\n")).await;
        assert_eq!(refused, Err(Refused::Stranger("process 7 (x)".to_owned())));
    }

    #[test]
    fn words_are_one_line_that_no_client_takes_for_its_protocol() {
        let said = words("a\nSSH-2.0-b");
        assert_eq!(said.matches('\n').count(), 1, "{said:?}");
        assert!(!said.starts_with("SSH-"));
    }
}
