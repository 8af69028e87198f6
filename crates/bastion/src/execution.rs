//! What a running channel request shares: its session, its permission, its record, its client.

use std::sync::Arc;

use breakglass_control::ssh::{OpenSession, SshError};
use tokio::sync::oneshot;

use crate::channel_request::{ChannelRequest, Terminal, Variables};
use crate::client_channel::{ClientChannel, FAILED};
use crate::recorder::{Ended, Recorder};
use crate::session::{Admitted, BastionSession};

/// An admitted request that is being recorded.
pub(crate) struct Execution<'a> {
    pub(crate) session: &'a Arc<BastionSession>,
    pub(crate) admitted: &'a Admitted,
    pub(crate) recorder: &'a Recorder,
    pub(crate) client: &'a ClientChannel,
    pub(crate) request: &'a ChannelRequest,
    pub(crate) variables: &'a Variables,
    pub(crate) terminal: Option<&'a Terminal>,
}

/// A session on the guest, if one was opened early.
pub(crate) type EarlySession = Option<Result<OpenSession, SshError>>;

/// Tells the operator who decided that the decision took effect.
pub(crate) type EffectSender = Option<oneshot::Sender<()>>;

/// The agent's message about a denial.
pub(crate) fn denied(note: Option<&str>) -> String {
    match note.map(str::trim).filter(|note| !note.is_empty()) {
        Some(note) => format!("the operator denied it: {note}"),
        None => "the operator denied it".to_owned(),
    }
}

pub(crate) fn unrecorded(error: &dyn std::fmt::Display) -> Ended {
    Ended::because(
        FAILED,
        format!(
            "it was ended, since the agent's commands can't be recorded ({error}); power and \
             diagnoses work"
        ),
    )
}
