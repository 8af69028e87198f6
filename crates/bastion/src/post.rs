//! A seat that a conversation has taken.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use breakglass_model::gateway::{PeerCheck, ToolQuestion, ToolRuling};
use breakglass_model::{Actor, EventBody, IncidentId, Level, TurnNumber};
use tokio::net::UnixStream;
use tokio_util::sync::CancellationToken;

use crate::approvals::{Answer, CELL, Question};
use crate::listener::{Service, Sockets};
use crate::policy::{Ruling, Wish};
use crate::remote::{self, Found};
use crate::seat::Seat;
use crate::work::denied;
use breakglass_model::Side;

/// Longest wait for the commands of a turn to be ended and recorded; ending one takes its own time
/// on the guest, see `remote`.
const QUIET_LIMIT: Duration = Duration::from_secs(15);

/// A seat that a conversation has taken, and its sockets; given back by Drop.
pub struct Post {
    seat: Arc<Seat>,
    service: Service,
    sockets: Option<Sockets>,
}

impl Drop for Post {
    fn drop(&mut self) {
        self.service.cancel.cancel();
    }
}

impl Post {
    pub(crate) fn new(seat: Arc<Seat>, service: Service) -> Post {
        let upstream = Arc::clone(seat.target.guest());
        // Bounded by the dial's own limit.
        seat.target
            .tasks()
            .spawn(async move { upstream.warm().await });
        Post {
            seat,
            service,
            sockets: None,
        }
    }

    pub(crate) fn listen(&mut self, directory: &Path) -> io::Result<()> {
        self.sockets = Some(self.service.listen(directory)?);
        Ok(())
    }

    /// The directory of the sockets, each by the name of its machine; none where connections are given to
    /// [`Post::receive`].
    #[must_use]
    pub fn sockets(&self) -> Option<&Path> {
        self.sockets.as_ref().map(|sockets| sockets.0.as_path())
    }

    /// Serves a connection of the agent's to one of its machines: `stream` came out of its sandbox, so
    /// nobody else's it can be. Does not wait.
    pub fn receive(&self, place: Side, stream: UnixStream) {
        self.service.take_in(stream, place);
    }

    /// The incident.
    #[must_use]
    pub fn incident(&self) -> IncidentId {
        self.seat.incident
    }

    /// Cancelled when, or while, the operator has cut the agent off.
    #[must_use]
    pub fn until_cut_off(&self) -> CancellationToken {
        self.seat.until_cut_off()
    }

    /// Lets in the processes that `proof` knows, and from then on no others: those of the agent that was
    /// started for this post. The first one counts.
    pub fn admit(&self, check: PeerCheck) {
        self.service.guard.open_to(check);
    }

    /// What a runner shows that speaks for the agent's processes, where no proof was given: it sends
    /// `PASS enter` as the first line of a connection, and SSH after that. A secret, never to be given to
    /// the agent.
    #[must_use]
    pub fn runner_secret(&self) -> &str {
        self.service.guard.pass()
    }

    /// From now on commands belong to this turn; before the first one they are refused.
    pub fn turn_began(&self, turn: TurnNumber) {
        self.seat.turn_began(turn);
    }

    /// Names the tool calls that run now, to which commands are put down.
    pub fn tools_run(&self, calls: &[&str]) {
        self.seat.tools_run(calls);
    }

    /// Rules on a tool call in the agent's cell, by the same policy as on commands. To be polled to its
    /// end, so that the question is settled; `withdrawn` brings that about.
    pub async fn judge(&self, question: ToolQuestion, withdrawn: CancellationToken) -> ToolRuling {
        let ToolQuestion { tool_call, command } = question;
        let ruled = |leave| ToolRuling {
            permission: leave,
            delivered: None,
        };
        let touches = match self.seat.rule(Wish::Cell(&command)) {
            Ruling::Allow => return ruled(Ok(())),
            Ruling::Deny(why) => return ruled(Err(why)),
            Ruling::Ask(touches) => touches,
        };
        let over = self.seat.turn_over();
        let question = Question {
            turn: self.seat.now(None).0,
            tool_call: Some(tool_call),
            place: CELL.to_owned(),
            command,
            touches,
        };
        let gone = async {
            tokio::select! {
                () = over.cancelled() => "its turn ended".to_owned(),
                () = withdrawn.cancelled() => "the agent no longer asks".to_owned(),
            }
        };
        match self.seat.approvals.ask(question, gone).await {
            Ok(Answer::Allowed(taken)) => ToolRuling {
                permission: Ok(()),
                delivered: Some(taken),
            },
            Ok(Answer::Denied(note, taken)) => ToolRuling {
                permission: Err(denied(note.as_deref())),
                delivered: Some(taken),
            },
            Ok(Answer::Void(why)) => ruled(Err(format!("nobody decided on it: {why}"))),
            Err(error) => ruled(Err(format!("it can't be recorded: {error}"))),
        }
    }

    /// Lets nothing more of the turn in and begins to end what runs; does not wait.
    pub fn turn_is_ending(&self) {
        self.seat.end_turn();
    }

    /// Returns when no command of the turn runs any more and that is recorded. `cut`: the turn did not
    /// end by itself, so what its commands left behind on the guest is ended as well.
    pub async fn turn_ended(&self, cut: bool) {
        self.seat.end_turn();
        if cut {
            end_commands(&self.seat).await;
        } else {
            self.seat.quiet(QUIET_LIMIT).await;
            tell_left(&self.seat).await;
        }
    }
}

/// Waits until what was cancelled has ended, and ends what lost its client earlier.
pub(crate) async fn end_commands(seat: &Seat) {
    let running = seat.quiet(QUIET_LIMIT).await;
    if running > 0 {
        let message = format!(
            "{running} commands of the agent did not end within {} s and may still run; look with \
             `ps` on the guest.",
            QUIET_LIMIT.as_secs()
        );
        notice(seat, Level::Error, "commands_not_ended", message).await;
    }
    let left = seat.take_left();
    if left.is_empty() {
        return;
    }
    let (count, name) = (left.len(), &seat.target.config().name);
    let before = format!("{count} commands had lost the agent's client before");
    let (level, message) = match remote::end(seat.target.guest(), &left).await {
        Ok(Found { ended, left: 0 }) => (
            Level::Info,
            format!("{before}; {ended} of their processes still ran on {name} and are gone."),
        ),
        Ok(Found { left, .. }) => (
            Level::Error,
            format!("{before}; {left} of their processes do not die on {name}."),
        ),
        Err(error) => (
            Level::Error,
            format!("{before}; whether they still run on {name} is not known: {error}."),
        ),
    };
    notice(seat, level, "left_commands_ended", message).await;
}

async fn tell_left(seat: &Seat) {
    let left = seat.take_left().len();
    if left > 0 {
        let name = &seat.target.config().name;
        let message = format!(
            "{left} commands lost the agent's client in this turn and may run on on {name}; look \
             with `ps` there."
        );
        notice(seat, Level::Warning, "commands_left", message).await;
    }
}

async fn notice(seat: &Seat, level: Level, code: &str, message: String) {
    let notice = EventBody::Notice {
        level,
        code: code.to_owned(),
        message,
    };
    let log = seat.log();
    log.record(seat.incident, Actor::System, notice).await;
}
