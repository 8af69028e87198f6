//! One conversation of the agent: a bastion session with the sockets that are served for it. It is the
//! interface for the server, which runs the agent: turns, tool calls, and the end of what a turn leaves behind.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use breakglass_model::gateway::{PeerCheck, ToolQuestion, ToolRuling};
use breakglass_model::{Actor, EventBody, IncidentId, Level, TurnNumber};
use tokio::net::UnixStream;
use tokio_util::sync::CancellationToken;

use crate::approvals::{Answer, Question};
use crate::cleanup::{self, CleanupResult};
use crate::execution::denied;
use crate::history::CELL;
use crate::listener::{Service, Sockets};
use crate::policy::{Action, Ruling};
use crate::session::BastionSession;
use breakglass_model::Side;

/// Longest wait until the commands of a turn have ended and are recorded; ending one takes time on the guest,
/// see `cleanup`.
const QUIET_TIMEOUT: Duration = Duration::from_secs(15);

/// A conversation of the agent. Its sockets are closed when it is dropped.
pub struct BastionConversation {
    session: Arc<BastionSession>,
    service: Service,
    sockets: Option<Sockets>,
}

impl Drop for BastionConversation {
    fn drop(&mut self) {
        self.service.cancel.cancel();
    }
}

impl BastionConversation {
    pub(crate) fn new(session: Arc<BastionSession>, service: Service) -> BastionConversation {
        let upstream = Arc::clone(session.target.guest());
        // Bounded by the timeout of the dial.
        session
            .target
            .tasks()
            .spawn(async move { upstream.warm().await });
        BastionConversation {
            session,
            service,
            sockets: None,
        }
    }

    pub(crate) fn listen(&mut self, directory: &Path) -> io::Result<()> {
        self.sockets = Some(self.service.listen(directory)?);
        Ok(())
    }

    /// The directory of the sockets, one named after each machine; `None` if connections are passed to
    /// [`BastionConversation::receive`].
    #[must_use]
    pub fn sockets(&self) -> Option<&Path> {
        self.sockets.as_ref().map(|sockets| sockets.0.as_path())
    }

    /// Serves a connection of the agent to one of its machines. `stream` comes from its sandbox, so it needs no
    /// authentication. Does not wait.
    pub fn receive(&self, side: Side, stream: UnixStream) {
        self.service.serve(stream, side);
    }

    /// The incident.
    #[must_use]
    pub fn incident(&self) -> IncidentId {
        self.session.incident
    }

    /// Cancelled while the operator has cut off the agent.
    #[must_use]
    pub fn until_cut_off(&self) -> CancellationToken {
        self.session.until_cut_off()
    }

    /// Accepts connections only from processes that pass `check`: those of the agent that was started for this
    /// conversation. Only the first call has an effect.
    pub fn admit(&self, check: PeerCheck) {
        self.service.peer_auth.set_check(check);
    }

    /// The secret of a runner that speaks for the agent's processes if there is no check: it sends
    /// `SECRET enter` as the first line of a connection, and SSH after that. Never give it to the agent.
    #[must_use]
    pub fn runner_secret(&self) -> &str {
        self.service.peer_auth.secret()
    }

    /// Starts a turn: from now on commands belong to it. Without a turn they are refused.
    pub fn turn_began(&self, turn: TurnNumber) {
        self.session.turn_began(turn);
    }

    /// Sets the running tool calls, to which commands are attributed.
    pub fn tools_run(&self, calls: &[&str]) {
        self.session.tools_run(calls);
    }

    /// Decides on a tool call in the agent's cell by the same policy as on commands. Poll it to completion, so
    /// that the question is settled; cancel `withdrawn` to end it early.
    pub async fn judge(&self, question: ToolQuestion, withdrawn: CancellationToken) -> ToolRuling {
        let ToolQuestion { tool_call, command } = question;
        let ruling = |permission| ToolRuling {
            permission,
            delivered: None,
        };
        let touches = match self.session.rule(Action::Cell(&command)) {
            Ruling::Allow => return ruling(Ok(())),
            Ruling::Deny(why) => return ruling(Err(why)),
            Ruling::Ask(touches) => touches,
        };
        let turn_over = self.session.turn_over();
        let question = Question {
            turn: self.session.current(None).0,
            tool_call: Some(tool_call),
            place: CELL.to_owned(),
            command,
            touches,
        };
        let gone = async {
            tokio::select! {
                () = turn_over.cancelled() => "its turn ended".to_owned(),
                () = withdrawn.cancelled() => "the agent no longer waits for it".to_owned(),
            }
        };
        match self.session.approvals.ask(question, gone).await {
            Ok(Answer::Allowed(effect)) => ToolRuling {
                permission: Ok(()),
                delivered: Some(effect),
            },
            Ok(Answer::Denied(note, effect)) => ToolRuling {
                permission: Err(denied(note.as_deref())),
                delivered: Some(effect),
            },
            Ok(Answer::Void(why)) => ruling(Err(format!("nobody decided on it: {why}"))),
            Err(error) => ruling(Err(format!("it can't be recorded: {error}"))),
        }
    }

    /// Refuses further commands of the turn and starts to end the running ones. Does not wait.
    pub fn turn_is_ending(&self) {
        self.session.end_turn();
    }

    /// Returns when every command of the turn has ended and is recorded. `cut`: the turn was interrupted, so
    /// processes that its commands left on the guest are ended as well.
    pub async fn turn_ended(&self, cut: bool) {
        self.session.end_turn();
        if cut {
            end_commands(&self.session).await;
        } else {
            self.session.quiet(QUIET_TIMEOUT).await;
            report_detached(&self.session).await;
        }
    }
}

/// Waits until cancelled commands have ended, and ends those that lost their client before.
pub(crate) async fn end_commands(session: &BastionSession) {
    let running = session.quiet(QUIET_TIMEOUT).await;
    if running > 0 {
        let message = format!(
            "{running} commands of the agent did not end within {} s and may still be running; check with \
             `ps` on the guest.",
            QUIET_TIMEOUT.as_secs()
        );
        notice(session, Level::Error, "commands_not_ended", message).await;
    }
    let detached = session.take_detached();
    if detached.is_empty() {
        return;
    }
    let count = detached.len();
    let name = &session.target.config().name;
    let before = format!("{count} commands had lost the agent's client");
    let (level, message) = match cleanup::end(session.target.guest(), &detached).await {
        Ok(CleanupResult { ended, left: 0 }) => (
            Level::Info,
            format!(
                "{before}; {ended} of their processes were still running on {name} and have been ended."
            ),
        ),
        Ok(CleanupResult { left, .. }) => (
            Level::Error,
            format!("{before}; {left} of their processes on {name} could not be ended."),
        ),
        Err(error) => (
            Level::Error,
            format!("{before}; whether they are still running on {name} is unknown: {error}."),
        ),
    };
    notice(session, level, "left_commands_ended", message).await;
}

async fn report_detached(session: &BastionSession) {
    let count = session.take_detached().len();
    if count > 0 {
        let name = &session.target.config().name;
        let message = format!(
            "{count} commands lost the agent's client in this turn and may still be running on {name}; \
             check with `ps` there."
        );
        notice(session, Level::Warning, "commands_left", message).await;
    }
}

async fn notice(session: &BastionSession, level: Level, code: &str, message: String) {
    let notice = EventBody::Notice {
        level,
        code: code.to_owned(),
        message,
    };
    let log = session.log();
    log.record(session.incident, Actor::System, notice).await;
}
