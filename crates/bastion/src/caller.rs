//! The agent's end of one channel.

use std::time::Duration;

use bytes::Bytes;
use russh::server::{Handle, Msg};
use russh::{ChannelWriteHalf, Sig};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::recorder::Ended;

/// `SSH_EXTENDED_DATA_STDERR` of RFC 4254.
pub(crate) const STDERR: u32 = 1;
/// How long a client may leave a goodbye unread.
const GOODBYE: Duration = Duration::from_secs(2);
/// What stock `ssh` exits with when it did not come to run the command.
pub(crate) const FAILED: i32 = 255;

/// Writes to the agent's client.
pub(crate) struct Caller {
    pub(crate) writing: ChannelWriteHalf<Msg>,
    pub(crate) handle: Handle,
    /// Cancelled when the client has closed the channel or is gone, and when we have closed it.
    pub(crate) gone: CancellationToken,
    /// It has a terminal, whose lines end in CR LF.
    pub(crate) terminal: bool,
}

impl Caller {
    /// Standard output of the command. Waits for as long as the client does not read.
    pub(crate) async fn out(&self, data: Bytes) -> Result<(), russh::Error> {
        self.writing.data_bytes(data).await
    }

    /// Standard error of the command, likewise.
    pub(crate) async fn err(&self, data: Bytes) -> Result<(), russh::Error> {
        self.writing.extended_data_bytes(STDERR, data).await
    }

    /// Something of the bastion's own.
    pub(crate) async fn say(&self, sentence: &str) {
        let end = if self.terminal { "\r\n" } else { "\n" };
        let line = Bytes::from(format!("breakglass: {sentence}{end}"));
        // Who does not read it finds it in the record.
        let _ = timeout(GOODBYE, self.err(line)).await;
    }

    /// Ends the channel as the command ended.
    pub(crate) async fn finish(self, ended: &Ended) {
        if let Some(message) = &ended.message {
            self.say(message).await;
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
        // A client that is gone needs no goodbye.
        let _ = timeout(GOODBYE, closing).await;
        self.gone.cancel();
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

const NAMED: [(&str, Sig); 12] = [
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
pub(crate) fn name(signal: &Sig) -> String {
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
    let named = NAMED.iter().find(|(known, _)| *known == name);
    named.map_or_else(
        || Sig::Custom(name.to_owned()),
        |(_, signal)| signal.clone(),
    )
}
