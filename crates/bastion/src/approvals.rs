//! Questions to the operator: asked once, answered once, void when their turn ends.
//!
//! ```text
//!   ask ── recorded ──▶ open ──▶ decided (allow, deny) ── recorded ──▶ in effect
//!                        │
//!                        └─────▶ void: the turn ended, or the agent stopped waiting
//! ```
//! Removing a question from the table settles it, so no question is settled twice, and none is both decided
//! and void.

use std::collections::HashMap;
use std::time::Duration;

use breakglass_log::{Log, LogError};
use breakglass_model::{Actor, Decision, EventBody, IncidentId, Time, visible};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::oneshot;
use tokio::time::timeout;
use uuid::Uuid;

use crate::history::{self, CELL};

/// Maximum number of open questions of one incident.
const OPEN_QUESTIONS_MAX: usize = 64;
/// Timeout for a decision to take effect; it includes dialling a machine in trouble.
const EFFECT_TIMEOUT: Duration = Duration::from_secs(20);

/// Timeout for reading the log before a question is asked.
const LOG_TIMEOUT: Duration = Duration::from_millis(500);
/// A question to the operator.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    pub(crate) turn: breakglass_model::TurnNumber,
    pub(crate) tool_call: Option<String>,
    pub(crate) place: String,
    pub(crate) command: String,
    pub(crate) touches: String,
}

/// The result of a question.
#[derive(Debug)]
pub(crate) enum Answer {
    /// Allowed; report through the sender when it has taken effect.
    Allowed(oneshot::Sender<()>),
    /// Denied, with a note for the agent.
    Denied(Option<String>, oneshot::Sender<()>),
    /// Not decided, with the reason.
    Void(String),
}

/// Why a decision was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecideError {
    /// There never was such a question.
    #[error("there is no question {0} in this incident")]
    Unknown(String),
    /// It was settled before.
    #[error("this question was settled before: {0}")]
    Settled(String),
    /// The log did not accept the decision, so it was not carried out, and the question is void.
    #[error(transparent)]
    Unrecorded(#[from] LogError),
    /// It was recorded, but did not take effect in time.
    #[error("the decision is recorded, but did not take effect within 20 s; check the command")]
    NoEffect,
}

/// The open questions of one incident.
pub(crate) struct Approvals {
    log: Log,
    incident: IncidentId,
    open: Mutex<HashMap<String, oneshot::Sender<OperatorAnswer>>>,
}

struct OperatorAnswer {
    decision: Decision,
    note: Option<String>,
    effect: oneshot::Sender<()>,
}

impl Approvals {
    pub(crate) fn new(log: Log, incident: IncidentId) -> Approvals {
        let open = Mutex::default();
        Approvals {
            log,
            incident,
            open,
        }
    }

    /// Asks, and waits for the answer or for `gone`, whose result is the reason why the agent stopped waiting.
    pub(crate) async fn ask(
        &self,
        question: Question,
        gone: impl Future<Output = String>,
    ) -> Result<Answer, LogError> {
        let id = Uuid::now_v7().to_string();
        let (reply, mut answer) = oneshot::channel();
        let expires_at = self.expiry(&question).await;
        if self.open().len() >= OPEN_QUESTIONS_MAX {
            return Ok(Answer::Void(format!(
                "{OPEN_QUESTIONS_MAX} questions are open already; decide on those first"
            )));
        }
        self.open().insert(id.clone(), reply);
        let asked = self.record(Actor::Agent, requested(id.clone(), question, expires_at));
        if let Err(error) = asked.await {
            self.open().remove(&id);
            return Err(error);
        }
        tokio::select! {
            biased;
            answer = &mut answer => Ok(Answer::of(answer.ok())),
            why = gone => {
                if self.open().remove(&id).is_some() {
                    return self.void(id, why).await;
                }
                // A decision is being recorded.
                Ok(Answer::of(answer.await.ok()))
            }
        }
    }

    /// When the waiting tool call ends, if the log knows it in time. In the cell the CLI itself waits, for
    /// its whole turn.
    async fn expiry(&self, question: &Question) -> Option<Time> {
        let call = question.tool_call.as_deref()?;
        if question.place == CELL {
            return None;
        }
        let ends = history::call_ends(&self.log, self.incident, call);
        timeout(LOG_TIMEOUT, ends).await.ok()?.ok()?
    }

    /// Settles a question. Returns when the decision took effect.
    pub(crate) async fn decide(
        &self,
        id: &str,
        decision: Decision,
        note: Option<String>,
        actor: Actor,
    ) -> Result<(), DecideError> {
        let Some(reply) = self.open().remove(id) else {
            return Err(settled(&self.log, self.incident, id).await);
        };
        let decided = EventBody::ApprovalDecided {
            approval: id.to_owned(),
            decision,
            note: note.clone(),
        };
        // If this fails, dropping the sender reports it to the waiting command.
        self.record(actor, decided).await?;
        let (effect, in_effect) = oneshot::channel();
        let answer = OperatorAnswer {
            decision,
            note,
            effect,
        };
        let _agent_is_gone = reply.send(answer);
        match timeout(EFFECT_TIMEOUT, in_effect).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(DecideError::NoEffect),
        }
    }

    async fn void(&self, id: String, why: String) -> Result<Answer, LogError> {
        let note = Some(why.clone());
        let decision = Decision::Void;
        let void = EventBody::ApprovalDecided {
            approval: id,
            decision,
            note,
        };
        self.record(Actor::System, void).await?;
        Ok(Answer::Void(why))
    }

    async fn record(&self, actor: Actor, body: EventBody) -> Result<(), LogError> {
        self.log.append(self.incident, actor, body).await?;
        Ok(())
    }

    pub(crate) fn count(&self) -> usize {
        self.open().len()
    }

    fn open(&self) -> MutexGuard<'_, HashMap<String, oneshot::Sender<OperatorAnswer>>> {
        self.open.lock()
    }
}

impl Answer {
    fn of(answer: Option<OperatorAnswer>) -> Answer {
        match answer {
            Some(OperatorAnswer {
                decision: Decision::Allow,
                effect,
                ..
            }) => Answer::Allowed(effect),
            Some(OperatorAnswer { note, effect, .. }) => Answer::Denied(note, effect),
            None => Answer::Void("the decision could not be recorded".to_owned()),
        }
    }
}

/// Why a question that is not open can't be decided.
pub(crate) async fn settled(log: &Log, incident: IncidentId, id: &str) -> DecideError {
    match history::decision(log, incident, id).await {
        Ok(Some(how)) => DecideError::Settled(how),
        Ok(None) => DecideError::Unknown(id.to_owned()),
        Err(error) => DecideError::Unrecorded(error),
    }
}

fn requested(approval: String, question: Question, expires_at: Option<Time>) -> EventBody {
    let Question {
        turn,
        tool_call,
        place,
        command,
        touches,
    } = question;
    EventBody::ApprovalRequested {
        approval,
        turn,
        tool_call,
        place,
        command: visible(&command),
        touches: visible(&touches),
        expires_at,
    }
}
