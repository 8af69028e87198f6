//! Reads a session channel to its end. Every command over SSH uses this loop, except those that the bastion
//! relays: there each direction also waits for the agent's client.

use std::ops::ControlFlow;

use breakglass_model::OutputStream;
use russh::{ChannelMsg, ChannelReadHalf};

/// `SSH_EXTENDED_DATA_STDERR` of RFC 4254.
pub const STDERR: u32 = 1;

/// Why reading a channel ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelEnd {
    /// The command exited, with this code; `None` if a signal ended it.
    Exited(Option<u32>),
    /// The server rejected the request that was sent on the channel.
    Rejected,
    /// The receiver of the output returned [`ControlFlow::Break`].
    Stopped,
    /// The channel closed without an exit status.
    Closed,
}

/// Passes a command's output to `output` until the channel closes: the exit status is not the last message.
pub async fn read_output(
    channel: &mut ChannelReadHalf,
    mut output: impl FnMut(OutputStream, &[u8]) -> ControlFlow<()>,
) -> ChannelEnd {
    let mut end = ChannelEnd::Closed;
    while let Some(message) = channel.wait().await {
        let flow = match message {
            ChannelMsg::Data { data } => output(OutputStream::Stdout, &data),
            ChannelMsg::ExtendedData { data, ext: STDERR } => output(OutputStream::Stderr, &data),
            ChannelMsg::ExitStatus { exit_status } => {
                end = ChannelEnd::Exited(Some(exit_status));
                continue;
            }
            ChannelMsg::ExitSignal { .. } => {
                end = ChannelEnd::Exited(None);
                continue;
            }
            ChannelMsg::Failure => return ChannelEnd::Rejected,
            _ => continue,
        };
        if flow.is_break() {
            return ChannelEnd::Stopped;
        }
    }
    end
}
