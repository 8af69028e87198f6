//! Fetches the guest's screen from the host's gate, which sends a picture in place of lines.

use std::ops::ControlFlow;
use std::time::Duration;

use breakglass_model::OutputStream;
use breakglass_verbs::{Request, Verb};

use crate::handle::TargetHandle;
use crate::lines::OutputLines;
use crate::ssh::SshError;
use crate::ssh::exec::RemoteCommand;
use crate::ssh::warm::Priority;

/// Maximum size of a picture: the gate makes none that is larger.
const PICTURE_MAX_BYTES: usize = 4 << 20;
/// The first bytes of every PNG.
const PNG_SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

/// Why there is no picture.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoPicture {
    /// No such target is configured.
    #[error("there is no target {0:?}")]
    UnknownTarget(String),
    /// The host was not reached.
    #[error(transparent)]
    Unreachable(#[from] SshError),
    /// The gate's reason, such as that the guest is off.
    #[error("the gate returned no picture: {0}")]
    Refused(String),
    /// The gate sent something that is not a PNG of at most 4 MiB.
    #[error(
        "the gate sent no picture of at most 4 MiB; check that breakglass-gate is the forced command of this key"
    )]
    Invalid,
}

/// Requests the screen of `target` from its gate.
pub(crate) async fn fetch(
    target: &TargetHandle,
    timeout: Duration,
    priority: Priority,
) -> Result<Vec<u8>, NoPicture> {
    let command = Request {
        verb: Verb::Screenshot,
        json: false,
    };
    let command = command.to_string();
    let command = RemoteCommand {
        command: &command,
        timeout,
        priority,
    };
    let mut picture = Vec::new();
    let mut stderr = OutputLines::default();
    let mut last_line = String::new();
    let exit = target
        .host
        .exec_bytes(command, &mut |stream, bytes| {
            if stream == OutputStream::Stdout {
                // One byte more than allowed shows that the picture is too large.
                let room = PICTURE_MAX_BYTES + 1 - picture.len();
                picture.extend_from_slice(&bytes[..room.min(bytes.len())]);
            } else {
                stderr.push(stream, bytes, |_, line| line.clone_into(&mut last_line));
            }
            ControlFlow::Continue(())
        })
        .await?;
    if exit != Some(0) {
        let reason = last_line.strip_prefix("no picture: ").unwrap_or(&last_line);
        let reason = if reason.is_empty() {
            "no reason given"
        } else {
            reason
        };
        return Err(NoPicture::Refused(reason.to_owned()));
    }
    if picture.len() > PICTURE_MAX_BYTES || !picture.starts_with(PNG_SIGNATURE) {
        return Err(NoPicture::Invalid);
    }
    Ok(picture)
}
