//! Questions to the operator: asked once, answered once, void when their turn ends.
//!
//! ```text
//!   ask ── recorded ──▶ open ──▶ decided (allow, deny) ── recorded ──▶ taken: it took effect
//!                        │
//!                        └─────▶ void: the turn ended, or who asked went away
//! ```
//! Whoever takes a question out of the table settles it; so no question is settled twice, and none
//! that was decided is void.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use breakglass_log::{Log, LogError};
use breakglass_model::{Actor, Decision, EventBody, IncidentId, visible};
use tokio::sync::oneshot;
use tokio::time::timeout;
use uuid::Uuid;

/// Questions of one incident that may be open at once.
const OPEN: usize = 64;
/// How long an answer may take to take effect: a dial to a machine in trouble is in it.
const EFFECT_LIMIT: Duration = Duration::from_secs(20);

/// Longest look into the log before a question is asked.
const LOOK_LIMIT: Duration = Duration::from_millis(500);
/// The place of what would run in the agent's cell.
pub(crate) const CELL: &str = "cell";

/// What is asked.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    pub(crate) turn: breakglass_model::TurnNumber,
    pub(crate) tool_call: Option<String>,
    pub(crate) place: String,
    pub(crate) command: String,
    pub(crate) touches: String,
}

/// What became of a question.
#[derive(Debug)]
pub(crate) enum Answer {
    /// Do it, and tell by the sender when it is done.
    Allowed(oneshot::Sender<()>),
    /// Don't; the note is for the agent.
    Denied(Option<String>, oneshot::Sender<()>),
    /// Nobody decided; the sentence says why.
    Void(String),
}

/// Why a decision was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecideError {
    /// No such question is or was open.
    #[error("there is no question {0} in this incident")]
    Unknown(String),
    /// It was settled before.
    #[error("this question was settled before: {0}")]
    Settled(String),
    /// The log did not take the decision, so it was not carried out, and the question is void.
    #[error(transparent)]
    Unrecorded(#[from] LogError),
    /// It was recorded, and whoever asked did not take it in time.
    #[error("the decision is recorded, and did not take effect within 20 s; look at the command")]
    NoEffect,
}

/// The open questions of one incident.
pub(crate) struct Approvals {
    log: Log,
    incident: IncidentId,
    open: Mutex<HashMap<String, oneshot::Sender<Told>>>,
}

struct Told {
    decision: Decision,
    note: Option<String>,
    taken: oneshot::Sender<()>,
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

    /// Asks, and waits for the answer or for `gone`, whose result says why nobody waits any more.
    pub(crate) async fn ask(
        &self,
        question: Question,
        gone: impl Future<Output = String>,
    ) -> Result<Answer, LogError> {
        let id = Uuid::now_v7().to_string();
        let (tell, mut told) = oneshot::channel();
        let expires_at = self.expiry(&question).await;
        if self.open().len() >= OPEN {
            return Ok(Answer::Void(format!(
                "{OPEN} questions are open already; answer or deny those first"
            )));
        }
        self.open().insert(id.clone(), tell);
        let asked = self.record(Actor::Agent, requested(id.clone(), question, expires_at));
        if let Err(error) = asked.await {
            self.open().remove(&id);
            return Err(error);
        }
        tokio::select! {
            biased;
            told = &mut told => Ok(Answer::of(told.ok())),
            why = gone => {
                if self.open().remove(&id).is_some() {
                    return self.void(id, why).await;
                }
                // Somebody is just deciding.
                Ok(Answer::of(told.await.ok()))
            }
        }
    }

    /// When the one who asks is ended, as far as the log can tell in time. In the cell, the CLI itself
    /// waits, for as long as its turn.
    async fn expiry(&self, question: &Question) -> Option<String> {
        let call = question.tool_call.as_deref()?;
        if question.place == CELL {
            return None;
        }
        let ends = crate::history::call_ends(&self.log, self.incident, call);
        timeout(LOOK_LIMIT, ends).await.ok()?.ok()?
    }

    /// Settles a question. Returns when the decision took effect.
    pub(crate) async fn decide(
        &self,
        id: &str,
        decision: Decision,
        note: Option<String>,
        actor: Actor,
    ) -> Result<(), DecideError> {
        let Some(tell) = self.open().remove(id) else {
            return Err(settled(&self.log, self.incident, id).await);
        };
        let decided = EventBody::ApprovalDecided {
            approval: id.to_owned(),
            decision,
            note: note.clone(),
        };
        // Where this fails, whoever asked hears it by the dropped sender.
        self.record(actor, decided).await?;
        let (taken, effect) = oneshot::channel();
        let told = Told {
            decision,
            note,
            taken,
        };
        let _asker_left = tell.send(told);
        match timeout(EFFECT_LIMIT, effect).await {
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

    fn open(&self) -> MutexGuard<'_, HashMap<String, oneshot::Sender<Told>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Answer {
    fn of(told: Option<Told>) -> Answer {
        match told {
            Some(Told {
                decision: Decision::Allow,
                taken,
                ..
            }) => Answer::Allowed(taken),
            Some(Told { note, taken, .. }) => Answer::Denied(note, taken),
            None => Answer::Void("the decision could not be recorded".to_owned()),
        }
    }
}

/// Why a question that is not open can't be decided.
pub(crate) async fn settled(log: &Log, incident: IncidentId, id: &str) -> DecideError {
    match crate::history::decision(log, incident, id).await {
        Ok(Some(how)) => DecideError::Settled(how),
        Ok(None) => DecideError::Unknown(id.to_owned()),
        Err(error) => DecideError::Unrecorded(error),
    }
}

fn requested(approval: String, question: Question, expires_at: Option<String>) -> EventBody {
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
