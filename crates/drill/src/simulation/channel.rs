use std::time::Duration;

use russh::ChannelId;
use russh::server::{Handle, Session};
use tokio::time::timeout;

/// How long a client may leave output unread before the server drops it.
const UNREAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Writes the output of one SSH channel. After the first failure or timeout it discards everything.
pub(super) struct ChannelWriter {
    handle: Handle,
    channel: ChannelId,
    is_gone: bool,
}

impl ChannelWriter {
    pub(super) fn new(session: &Session, channel: ChannelId) -> ChannelWriter {
        ChannelWriter {
            handle: session.handle(),
            channel,
            is_gone: false,
        }
    }

    pub(super) async fn out(&mut self, bytes: Vec<u8>) {
        if !self.is_gone && !bytes.is_empty() {
            let sent = timeout(UNREAD_TIMEOUT, self.handle.data(self.channel, bytes)).await;
            self.is_gone = !matches!(sent, Ok(Ok(())));
        }
    }

    pub(super) async fn err(&mut self, text: String) {
        if !self.is_gone && !text.is_empty() {
            let sending = self.handle.extended_data(self.channel, 1, text);
            let sent = timeout(UNREAD_TIMEOUT, sending).await;
            self.is_gone = !matches!(sent, Ok(Ok(())));
        }
    }

    /// Sends the exit code and closes the channel.
    pub(super) async fn finish(self, code: u8) {
        let (handle, channel) = (self.handle, self.channel);
        let closing = async {
            let _ = handle.exit_status_request(channel, code.into()).await;
            let _ = handle.eof(channel).await;
            let _ = handle.close(channel).await;
        };
        if !self.is_gone {
            let _ = timeout(UNREAD_TIMEOUT, closing).await;
        }
    }
}
