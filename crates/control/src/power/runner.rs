//! Runs what was admitted, in a task of its own, to its end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use breakglass_model::{Actor, EventBody, IncidentId, OperationId, VerbOutcome};
use breakglass_verbs::Verb;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::conduct::{Conclusion, conduct};
use super::operation::Accepted;
use super::queue::What;
use super::scribe::{self, Pen};
use super::table::{Ending, Operation};
use crate::checks;
use crate::control::{Inner, Station};
use crate::permit::Refusal;
use crate::pictures::aside;
use crate::screen;
use crate::ssh::SshError;
use crate::ssh::pool::Urgency;

/// Longest wait for the log before something that a person asked for is begun or reported.
const LOG_LIMIT: Duration = Duration::from_secs(1);
/// Longest wait for the log to take the last events of an operation.
const LAST_WORDS_LIMIT: Duration = Duration::from_secs(5);
/// Longest time that a verb waits for the picture of what it is about to change.
const PICTURE_LIMIT: Duration = Duration::from_secs(2);

/// One admitted operation, with all that it needs.
pub(crate) struct Run {
    pub(crate) inner: Arc<Inner>,
    pub(crate) station: Arc<Station>,
    pub(crate) operation: Arc<Operation>,
    pub(crate) what: What,
    pub(crate) actor: Actor,
    pub(crate) incident: Option<IncidentId>,
    /// The idempotency key in its actor's space.
    pub(crate) key: Option<String>,
}

/// Where the caller waits to hear what became of its wish.
pub(crate) type Tell = oneshot::Sender<Result<Accepted, Refusal>>;

/// What the log remembers for an idempotency key.
#[derive(Debug, Serialize, Deserialize)]
struct Remembered {
    operation: OperationId,
    target: String,
    what: String,
    incident: Option<IncidentId>,
}

impl Run {
    /// Acts at once; the incident is found, and told to the caller, meanwhile.
    pub(crate) async fn run(self, tell: Tell) {
        let mut room = Room {
            run: &self,
            began: Instant::now(),
            ending: None,
        };
        if let Some(earlier) = self.earlier().await {
            let _caller_left = tell.send(self.replay(earlier));
            return;
        }
        let (mut pen, written) = scribe::pen(Arc::clone(&self.operation));
        let inner = Arc::clone(&self.inner);
        let placing = Placing::of(&self);
        let mut scribe = self.inner.tracker.spawn(async move {
            let incident = placing.place(tell).await;
            scribe::copy_out(inner.log.clone(), incident, written).await;
        });
        let ending = self.act(&mut pen).await;
        room.ending = Some(ending.0);
        let last_words = async {
            for (actor, body) in ending.1 {
                pen.event(actor, body).await;
            }
            drop(pen);
            (&mut scribe).await
        };
        if timeout(LAST_WORDS_LIMIT, last_words).await.is_err() {
            tracing::error!(operation = %self.operation.id, "the log did not take the end of an operation in time");
            scribe.abort();
        }
    }

    /// What an earlier life of the server did under the same key.
    async fn earlier(&self) -> Option<Remembered> {
        let key = self.key.as_ref()?;
        let mine = Remembered {
            operation: self.operation.id,
            target: self.station.target.name.clone(),
            what: self.what.as_str().to_owned(),
            incident: self.incident,
        };
        let mine = serde_json::to_string(&mine).ok()?;
        let asking = self.inner.log.remember(key, &mine);
        let earlier = timeout(LOG_LIMIT, asking).await.ok()?.ok()??;
        serde_json::from_str(&earlier).ok()
    }

    fn replay(&self, earlier: Remembered) -> Result<Accepted, Refusal> {
        let Remembered {
            operation,
            target,
            what,
            incident,
        } = earlier;
        if let Some(key) = &self.key {
            self.inner.queue().claim(key, operation, &target, &what);
        }
        self.inner.table.retract(self.operation.id);
        if target == self.station.target.name && what == self.what.as_str() {
            return Ok(Accepted {
                operation,
                incident,
                replayed: true,
            });
        }
        Err(Refusal::KeyReused {
            operation,
            what,
            target,
        })
    }

    async fn act(&self, pen: &mut Pen) -> (Ending, Vec<scribe::Entry>) {
        match self.what {
            What::Verb(verb) => self.act_verb(verb, pen).await,
            What::Check(check) => checks::run(check, &self.station).await,
        }
    }

    async fn act_verb(&self, verb: Verb, pen: &mut Pen) -> (Ending, Vec<scribe::Entry>) {
        let (operation, target) = (self.operation.id, self.station.target.name.clone());
        let started = EventBody::VerbStarted {
            operation,
            target: target.clone(),
            verb: verb.to_string(),
        };
        pen.event(self.actor.clone(), started).await;
        let picture = self.picture_before(verb).await;
        let mut sink = |stream, line: &str| pen.line(stream, line);
        let urgency = match verb.is_mutating() {
            true => Urgency::First,
            false => Urgency::Now,
        };
        let ended = conduct(&self.station.host, verb, urgency, &mut sink).await;
        let omitted_lines = timeout(LAST_WORDS_LIMIT, pen.flush())
            .await
            .unwrap_or_default();
        let mut events: Vec<EventBody> = ended.error.iter().filter_map(host_key_changed).collect();
        events.push(EventBody::VerbFinished {
            operation,
            target,
            verb: verb.to_string(),
            outcome: ended.outcome,
            verdict: ended.verdict.clone(),
            exit_code: ended.exit_code,
            message: ended.message.clone(),
            duration_ms: ended.duration_ms,
            omitted_lines,
            picture: is_kept(picture).await,
        });
        let events = events
            .into_iter()
            .map(|body| (Actor::System, body))
            .collect();
        (Ending::from(ended), events)
    }
}

impl Run {
    /// Takes the screen before `verb` changes it, and begins to keep it. None where there is no
    /// screen to be had at once: the verb does not wait for it.
    async fn picture_before(&self, verb: Verb) -> Option<JoinHandle<bool>> {
        let is_evidence = verb.is_mutating() || matches!(verb, Verb::Forensics | Verb::Screenshot);
        let known = is_evidence && self.station.vitals.gate_is_new();
        if !known || !self.inner.pictures.are_kept() {
            return None;
        }
        // A watcher's urgency: while the host is known to be out of reach, that is the answer.
        let taken = screen::fetch(&self.station, PICTURE_LIMIT, Urgency::Patient);
        let taken = match timeout(PICTURE_LIMIT, taken).await {
            Ok(taken) => taken.map_err(|error| error.to_string()),
            Err(_) => Err("it took too long".to_owned()),
        };
        let (inner, operation) = (Arc::clone(&self.inner), self.operation.id);
        match taken {
            Ok(picture) => Some(aside(move || inner.pictures.keep(operation, &picture))),
            Err(error) => {
                tracing::debug!(%operation, %verb, error, "no picture of before");
                None
            }
        }
    }
}

/// Whether the picture is kept; one that the disk does not take in time counts as lost.
async fn is_kept(picture: Option<JoinHandle<bool>>) -> bool {
    let Some(keeping) = picture else { return false };
    let kept = timeout(LAST_WORDS_LIMIT, keeping).await;
    kept.ok().and_then(Result::ok).unwrap_or(false)
}

impl From<Conclusion> for Ending {
    fn from(ended: Conclusion) -> Ending {
        let Conclusion {
            outcome,
            verdict,
            message,
            duration_ms,
            ..
        } = ended;
        Ending {
            outcome,
            verdict,
            message,
            duration_ms,
        }
    }
}

/// The event that a changed host key is, if `error` is one.
pub(crate) fn host_key_changed(error: &SshError) -> Option<EventBody> {
    let SshError::HostKeyChanged {
        endpoint,
        pinned,
        shown,
        ..
    } = error
    else {
        return None;
    };
    Some(EventBody::HostKeyChanged {
        host: endpoint.to_string(),
        pinned: pinned.to_string(),
        shown: shown.to_string(),
    })
}

/// Finds the incident of an operation and tells the caller.
struct Placing {
    inner: Arc<Inner>,
    station: Arc<Station>,
    operation: Arc<Operation>,
    actor: Actor,
    incident: Option<IncidentId>,
}

impl Placing {
    fn of(run: &Run) -> Placing {
        Placing {
            inner: Arc::clone(&run.inner),
            station: Arc::clone(&run.station),
            operation: Arc::clone(&run.operation),
            actor: run.actor.clone(),
            incident: run.incident,
        }
    }

    async fn place(self, tell: Tell) -> IncidentId {
        // One at a time, so that two first presses don't open two incidents, and none is closed
        // between being found and being written into.
        let opening = timeout(LOG_LIMIT, self.station.opening.lock()).await;
        let incident = match (self.given().await, &opening) {
            (Some(given), _) => Some(given),
            (None, Ok(_)) => self.find().await,
            (None, Err(_)) => None,
        };
        self.operation.place(incident);
        drop(opening);
        let operation = self.operation.id;
        let _caller_left = tell.send(Ok(Accepted {
            operation,
            incident,
            replayed: false,
        }));
        incident.unwrap_or(scribe::stand_in(operation))
    }

    /// The incident that was asked for, unless it was closed meanwhile.
    async fn given(&self) -> Option<IncidentId> {
        let given = self.incident?;
        let log = &self.inner.log;
        match timeout(LOG_LIMIT, log.incident(given)).await {
            Ok(Ok(Some(found))) if found.closed_at.is_some() => None,
            _ => Some(given),
        }
    }

    async fn find(&self) -> Option<IncidentId> {
        scribe::place(
            &self.inner.log,
            &self.station.target,
            &self.actor,
            LOG_LIMIT,
        )
        .await
    }
}

/// The room that an operation takes up: given back when its task ends, even by a panic.
struct Room<'a> {
    run: &'a Run,
    began: Instant,
    ending: Option<Ending>,
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        let Run {
            inner,
            station,
            operation,
            what,
            ..
        } = self.run;
        let ending = self.ending.take().unwrap_or_else(|| Ending {
            outcome: VerbOutcome::Interrupted,
            verdict: None,
            message: format!("{} broke off inside the server; ask status.", what.as_str()),
            duration_ms: u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX),
        });
        inner.queue().finish(&station.target.name, operation.id);
        inner.table.end(operation.id, ending);
        station.look_again(matches!(what, What::Verb(verb) if verb.is_mutating()));
    }
}
