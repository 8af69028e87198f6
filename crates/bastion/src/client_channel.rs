//! Writes to the agent's client on one channel.

use std::time::Duration;

use breakglass_control::ssh::channel::STDERR;
use bytes::Bytes;
use russh::server::{Handle, Msg};
use russh::{ChannelWriteHalf, Sig};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::recorder::Ended;

/// Timeout for a message that the client does not read.
const SEND_TIMEOUT: Duration = Duration::from_secs(2);
/// The exit code of OpenSSH's client if it could not run the command.
pub(crate) const FAILED: i32 = 255;

/// The client's end of one channel.
pub(crate) struct ClientChannel {
    pub(crate) writing: ChannelWriteHalf<Msg>,
    pub(crate) handle: Handle,
    /// Cancelled when either side has closed the channel, or the client is gone.
    pub(crate) closed: CancellationToken,
    /// It has a terminal, whose lines end in CR LF.
    pub(crate) has_terminal: bool,
}

impl ClientChannel {
    /// Sends standard output of the command. Waits while the client does not read.
    pub(crate) async fn out(&self, data: Bytes) -> Result<(), russh::Error> {
        self.writing.data_bytes(data).await
    }

    /// Sends standard error of the command, likewise.
    pub(crate) async fn err(&self, data: Bytes) -> Result<(), russh::Error> {
        self.writing.extended_data_bytes(STDERR, data).await
    }

    /// Sends a message of the bastion itself.
    pub(crate) async fn message(&self, sentence: &str) {
        let end = if self.has_terminal { "\r\n" } else { "\n" };
        let line = Bytes::from(format!("breakglass: {sentence}{end}"));
        // A message that the client does not read is in the log.
        let _ = timeout(SEND_TIMEOUT, self.err(line)).await;
    }

    /// Closes the channel with the exit status of the command.
    pub(crate) async fn finish(self, ended: &Ended) {
        if let Some(message) = &ended.message {
            self.message(message).await;
        }
        let closing = async {
            match (&ended.exit_code, &ended.signal) {
                (None, Some(signal)) => self.exit_signal(signal).await,
                (code, _) => {
                    let code = code.unwrap_or(FAILED);
                    let code = u32::try_from(code).unwrap_or(FAILED.unsigned_abs());
                    let _ = self.writing.exit_status(code).await;
                }
            }
            let _ = self.writing.eof().await;
            let _ = self.writing.close().await;
        };
        // A client that has disconnected does not read it.
        let _ = timeout(SEND_TIMEOUT, closing).await;
        self.closed.cancel();
    }

    async fn exit_signal(&self, name: &str) {
        let id = self.writing.id();
        let (message, language) = (String::new(), String::new());
        let signal = signal(name);
        let _ = self
            .handle
            .exit_signal_request(id, signal, false, message, language)
            .await;
    }
}

const KNOWN_SIGNALS: [(&str, Sig); 12] = [
    ("ABRT", Sig::ABRT),
    ("ALRM", Sig::ALRM),
    ("FPE", Sig::FPE),
    ("HUP", Sig::HUP),
    ("ILL", Sig::ILL),
    ("INT", Sig::INT),
    ("KILL", Sig::KILL),
    ("PIPE", Sig::PIPE),
    ("QUIT", Sig::QUIT),
    ("SEGV", Sig::SEGV),
    ("TERM", Sig::TERM),
    ("USR1", Sig::USR1),
];

/// A signal's name, without `SIG`, at most 32 visible characters.
pub(crate) fn signal_name(signal: &Sig) -> String {
    match signal {
        Sig::Custom(name) => name
            .chars()
            .filter(char::is_ascii_graphic)
            .take(32)
            .collect(),
        named => format!("{named:?}"),
    }
}

fn signal(name: &str) -> Sig {
    let named = KNOWN_SIGNALS.iter().find(|(known, _)| *known == name);
    named.map_or_else(
        || Sig::Custom(name.to_owned()),
        |(_, signal)| signal.clone(),
    )
}
