//! Takes one channel request from its arrival to its recorded end.
//!
//! ```text
//!   admitted? ─▶ recorded ─▶ ruled on: allow, ask, deny ─▶ guest (relay) or host (verb) ─▶ recorded
//! ```
//! Nothing reaches guest or host before its start is in the log, and refusals are recorded as well.

use std::sync::Arc;
use std::time::Duration;

use breakglass_model::{Autonomy, Side};
use russh::server::{Handle, Msg};
use russh::{Channel, ChannelReadHalf};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::approvals::{Answer, Question};
use crate::channel_request::{ChannelRequest, Terminal, Variables};
use crate::client_channel::ClientChannel;
use crate::execution::{EarlySession, EffectSender, Execution, denied, unrecorded};
use crate::policy::{Action, Ruling};
use crate::recorder::{Ended, Opening, Recorder};
use crate::session::{Admitted, BastionSession};
use crate::{relay, verb};

/// A shell's exit code for a command that it may not run.
const NOT_PERMITTED: i32 = 126;
/// The gate's exit code for a refusal.
const REFUSED: i32 = 2;
/// Timeout for closing an unused session on the guest.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// A request with its channel.
pub(crate) struct PendingRequest {
    pub(crate) session: Arc<BastionSession>,
    pub(crate) side: Side,
    pub(crate) request: ChannelRequest,
    pub(crate) variables: Variables,
    pub(crate) terminal: Option<Terminal>,
    pub(crate) channel: Channel<Msg>,
    pub(crate) handle: Handle,
    pub(crate) closed: CancellationToken,
}

impl PendingRequest {
    pub(crate) async fn run(self) {
        let (mut reading, writing) = self.channel.split();
        let client = ClientChannel {
            writing,
            handle: self.handle,
            closed: self.closed,
            has_terminal: self.terminal.is_some(),
        };
        let named_call = self.variables.call();
        let admitted = self.session.admit(named_call);
        let (turn, tool_call) = match &admitted {
            Ok(admitted) => (admitted.turn, admitted.tool_call.clone()),
            Err(_) => self.session.current(named_call),
        };
        let opening = Opening {
            turn,
            tool_call,
            host: self.session.target.config().name_of(self.side).to_owned(),
            mode: self.request.mode(),
            text: self.request.text(),
        };
        let command = match &admitted {
            Ok(admitted) => admitted.command,
            Err(_) => uuid::Uuid::now_v7(),
        };
        let log = self.session.log().clone();
        let early = admitted.as_ref().ok();
        let early = early.filter(|_| self.side == Side::Guest && self.request.fault().is_none());
        // The session on the guest is opened while the start is recorded; nothing is sent over it before.
        let (recording, early_session) = tokio::join!(
            Recorder::begin(log, self.session.incident, command, opening),
            open_early(&self.session, early, &client.closed),
        );
        let recorder = match recording {
            Ok(recorder) => recorder,
            Err(error) => {
                close_unused(early_session).await;
                return client.finish(&unrecorded(&error)).await;
            }
        };
        let ended = match &admitted {
            Err(reason) => Ended::because(NOT_PERMITTED, reason.clone()),
            Ok(admitted) => {
                let execution = Execution {
                    session: &self.session,
                    admitted,
                    recorder: &recorder,
                    client: &client,
                    request: &self.request,
                    variables: &self.variables,
                    terminal: self.terminal.as_ref(),
                };
                run(&execution, self.side, &mut reading, early_session).await
            }
        };
        let ended = match recorder.finish(ended.clone()).await {
            Ok(()) => ended,
            Err(error) => unrecorded(&error),
        };
        client.finish(&ended).await;
        // The end of a turn waits for this.
        drop(admitted);
    }
}

/// Opens a session on the guest for a command that needs no approval.
async fn open_early(
    session: &BastionSession,
    admitted: Option<&Admitted>,
    closed: &CancellationToken,
) -> EarlySession {
    let cancelled = &admitted?.token;
    if session.autonomy() != Autonomy::Autonomous {
        return None;
    }
    tokio::select! {
        biased;
        // A command that has to wait for a session is opened later, with a message to its client.
        opened = session.target.guest().open_at_once() => opened.ok(),
        () = cancelled.cancelled() => None,
        () = closed.cancelled() => None,
    }
}

async fn run(
    execution: &Execution<'_>,
    side: Side,
    reading: &mut ChannelReadHalf,
    early_session: EarlySession,
) -> Ended {
    if let Some(fault) = execution.request.fault() {
        return Ended::because(NOT_PERMITTED, fault);
    }
    let action = match (side, execution.request) {
        (Side::Host, request) => match verb::parse(request) {
            Ok(verb) => Action::Verb(verb),
            Err(refusal) => return Ended::because(REFUSED, refusal),
        },
        (Side::Guest, ChannelRequest::Exec(_)) if execution.terminal.is_some() => {
            Action::OnTerminal
        }
        (Side::Guest, ChannelRequest::Exec(command)) => Action::Command(command),
        (Side::Guest, ChannelRequest::Shell) => Action::Shell,
        (Side::Guest, ChannelRequest::Subsystem(name)) => Action::Subsystem(name),
    };
    let effect = match permission(execution, side, action).await {
        Ok(effect) => effect,
        Err(ended) => {
            close_unused(early_session).await;
            return ended;
        }
    };
    match action {
        Action::Verb(verb) => verb::run(execution, verb, effect).await,
        _ => relay::run(execution, reading, early_session, effect).await,
    }
}

/// Applies the policy and asks the operator if necessary. The error is the end of a command without permission.
async fn permission(
    execution: &Execution<'_>,
    side: Side,
    action: Action<'_>,
) -> Result<EffectSender, Ended> {
    let session = execution.session;
    let admitted = execution.admitted;
    let touches = match session.rule(action) {
        Ruling::Allow => return Ok(None),
        Ruling::Deny(reason) => return Err(Ended::because(NOT_PERMITTED, reason)),
        Ruling::Ask(touches) => touches,
    };
    let question = Question {
        turn: admitted.turn,
        tool_call: admitted.tool_call.clone(),
        place: session.target.config().name_of(side).to_owned(),
        command: shown(execution.request),
        touches,
    };
    let withdrawn = async {
        tokio::select! {
            () = admitted.token.cancelled() => "its turn ended".to_owned(),
            () = execution.client.closed.cancelled() => "the agent no longer waits for it".to_owned(),
        }
    };
    match session.approvals.ask(question, withdrawn).await {
        Ok(Answer::Allowed(effect)) if !admitted.token.is_cancelled() => Ok(Some(effect)),
        Ok(Answer::Allowed(_)) => Err(Ended::because(NOT_PERMITTED, "its turn ended")),
        Ok(Answer::Denied(note, effect)) => {
            let _decider_is_gone = effect.send(());
            Err(Ended::because(NOT_PERMITTED, denied(note.as_deref())))
        }
        Ok(Answer::Void(reason)) => {
            let void = format!("nobody decided on it: {reason}");
            Err(Ended::because(NOT_PERMITTED, void))
        }
        Err(error) => Err(unrecorded(&error)),
    }
}

/// The request in full, for the question to the operator.
fn shown(request: &ChannelRequest) -> String {
    match request {
        ChannelRequest::Exec(_) => request.text(),
        ChannelRequest::Shell => "(a shell)".to_owned(),
        ChannelRequest::Subsystem(_) => format!("(the subsystem {})", request.text()),
    }
}

/// Closes a session that is not needed: sshd allows few.
async fn close_unused(session: EarlySession) {
    if let Some(Ok(session)) = session {
        let _ = timeout(CLOSE_TIMEOUT, session.channel.close()).await;
    }
}
