//! One errand of the agent, from its request to its recorded end.
//!
//! ```text
//!   admitted? ─▶ recorded ─▶ ruled: allow, ask, deny ─▶ guest (relay) or host (verb) ─▶ recorded
//! ```
//! Nothing reaches guest or host before its beginning is in the log, and whatever stands in the way is
//! recorded as well.

use std::sync::Arc;
use std::time::Duration;

use russh::server::{Handle, Msg};
use russh::{Channel, ChannelReadHalf};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::approvals::{Answer, Question};
use crate::caller::{Caller, FAILED};
use crate::errand::{Errand, Terminal, Variables};
use crate::policy::{Ruling, Wish};
use crate::recorder::{Ended, Opening, Recorder};
use crate::seat::{Admitted, Seat};
use crate::{relay, verb};
use breakglass_control::ssh::OpenSession;
use breakglass_control::ssh::SshError;
use breakglass_model::Side;

/// What a shell says when it may not run a command.
const NOT_PERMITTED: i32 = 126;
/// What the gate exits with when it refuses.
const REFUSED: i32 = 2;
/// Longest wait for a goodbye to the guest.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// An errand with the channel that it came by.
pub(crate) struct Job {
    pub(crate) seat: Arc<Seat>,
    pub(crate) place: Side,
    pub(crate) errand: Errand,
    pub(crate) variables: Variables,
    pub(crate) terminal: Option<Terminal>,
    pub(crate) channel: Channel<Msg>,
    pub(crate) handle: Handle,
    pub(crate) gone: CancellationToken,
}

/// An errand that was let in and is being recorded.
pub(crate) struct Work<'a> {
    pub(crate) seat: &'a Arc<Seat>,
    pub(crate) admitted: &'a Admitted,
    pub(crate) recorder: &'a Recorder,
    pub(crate) caller: &'a Caller,
    pub(crate) errand: &'a Errand,
    pub(crate) variables: &'a Variables,
    pub(crate) terminal: Option<&'a Terminal>,
}

/// A session on the guest, if one was opened early.
pub(crate) type Opened = Option<Result<OpenSession, SshError>>;

/// Where the one who decided waits to hear that it took effect.
pub(crate) type Taken = Option<oneshot::Sender<()>>;

impl Job {
    pub(crate) async fn run(self) {
        let (mut reading, writing) = self.channel.split();
        let caller = Caller {
            writing,
            handle: self.handle,
            gone: self.gone,
            terminal: self.terminal.is_some(),
        };
        let named = self.variables.call();
        let admitted = self.seat.admit(named);
        let (turn, tool_call) = match &admitted {
            Ok(admitted) => (admitted.turn, admitted.tool_call.clone()),
            Err(_) => self.seat.now(named),
        };
        let opening = Opening {
            turn,
            tool_call,
            host: self.seat.target.config().name_of(self.place).to_owned(),
            mode: self.errand.mode(),
            text: self.errand.text(),
        };
        let command = admitted
            .as_ref()
            .map_or_else(|_| uuid::Uuid::now_v7(), |admitted| admitted.command);
        let log = self.seat.log().clone();
        let fit = self.errand.fault().is_none();
        // The way to the guest is made while the beginning is written; nothing goes over it before.
        let (begun, session) = tokio::join!(
            Recorder::begin(log, self.seat.incident, command, opening),
            self.seat
                .open_early(self.place, fit.then_some(&admitted), &caller.gone),
        );
        let recorder = match begun {
            Ok(recorder) => recorder,
            Err(error) => {
                give_back(session).await;
                return caller.finish(&unrecorded(&error)).await;
            }
        };
        let ended = match &admitted {
            Err(why) => Ended::because(NOT_PERMITTED, why.clone()),
            Ok(admitted) => {
                let work = Work {
                    seat: &self.seat,
                    admitted,
                    recorder: &recorder,
                    caller: &caller,
                    errand: &self.errand,
                    variables: &self.variables,
                    terminal: self.terminal.as_ref(),
                };
                work.attend(self.place, &mut reading, session).await
            }
        };
        let ended = match recorder.finish(ended.clone()).await {
            Ok(()) => ended,
            Err(error) => unrecorded(&error),
        };
        caller.finish(&ended).await;
        // Only now may whoever waits for quiet see that it is over.
        drop(admitted);
    }
}

impl Work<'_> {
    async fn attend(&self, place: Side, reading: &mut ChannelReadHalf, session: Opened) -> Ended {
        if let Some(fault) = self.errand.fault() {
            return Ended::because(NOT_PERMITTED, fault);
        }
        let wish = match (place, self.errand) {
            (Side::Host, errand) => match verb::parse(errand) {
                Ok(verb) => Wish::Verb(verb),
                Err(refusal) => return Ended::because(REFUSED, refusal),
            },
            (Side::Guest, Errand::Exec(_)) if self.terminal.is_some() => Wish::OnTerminal,
            (Side::Guest, Errand::Exec(command)) => Wish::Command(command),
            (Side::Guest, Errand::Shell) => Wish::Shell,
            (Side::Guest, Errand::Subsystem(name)) => Wish::Subsystem(name),
        };
        let taken = match self.leave(place, wish).await {
            Ok(taken) => taken,
            Err(ended) => {
                give_back(session).await;
                return ended;
            }
        };
        match wish {
            Wish::Verb(verb) => verb::run(self, verb, taken).await,
            _ => relay::run(self, reading, (session, taken)).await,
        }
    }

    /// Leave to go on, or how it ends without.
    async fn leave(&self, place: Side, wish: Wish<'_>) -> Result<Taken, Ended> {
        let touches = match self.seat.rule(wish) {
            Ruling::Allow => return Ok(None),
            Ruling::Deny(why) => return Err(Ended::because(NOT_PERMITTED, why)),
            Ruling::Ask(touches) => touches,
        };
        let question = Question {
            turn: self.admitted.turn,
            tool_call: self.admitted.tool_call.clone(),
            place: self.seat.target.config().name_of(place).to_owned(),
            command: self.shown(),
            touches,
        };
        let gone = async {
            tokio::select! {
                () = self.admitted.token.cancelled() => "its turn ended".to_owned(),
                () = self.caller.gone.cancelled() => "the agent no longer waits for it".to_owned(),
            }
        };
        match self.seat.approvals.ask(question, gone).await {
            Ok(Answer::Allowed(taken)) if !self.admitted.token.is_cancelled() => Ok(Some(taken)),
            Ok(Answer::Allowed(_)) => Err(Ended::because(NOT_PERMITTED, "its turn ended")),
            Ok(Answer::Denied(note, taken)) => {
                let _decider_left = taken.send(());
                Err(Ended::because(NOT_PERMITTED, denied(note.as_deref())))
            }
            Ok(Answer::Void(why)) => {
                let void = format!("nobody decided on it: {why}");
                Err(Ended::because(NOT_PERMITTED, void))
            }
            Err(error) => Err(unrecorded(&error)),
        }
    }

    /// What is asked about, in full.
    fn shown(&self) -> String {
        match self.errand {
            Errand::Exec(_) => self.errand.text(),
            Errand::Shell => "(a shell)".to_owned(),
            Errand::Subsystem(_) => format!("(the subsystem {})", self.errand.text()),
        }
    }
}

/// Closes a session that is not used after all: sshd grants few.
async fn give_back(session: Opened) {
    if let Some(Ok(session)) = session {
        let _ = timeout(CLOSE_LIMIT, session.channel.close()).await;
    }
}

/// What the agent is told of a refusal.
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
            "it was ended, since what the agent does can't be recorded ({error}); power and \
             checks work"
        ),
    )
}
