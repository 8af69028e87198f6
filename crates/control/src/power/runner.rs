//! Runs an admitted operation to its end, in a task of its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use breakglass_model::{Actor, Diagnosis, EventBody, IncidentId, OperationId, VerbOutcome};
use breakglass_verbs::Verb;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::event_writer::{EventWriter, write_events};
use super::operation::Accepted;
use super::placement::place;
use super::request::{OperationAction, OperationRequest};
use super::table::{Operation, OperationResult};
use crate::diagnosis;
use crate::invoke::invoke;
use crate::pictures::spawn_file_task;
use crate::refusal::Refusal;
use crate::screenshot;
use crate::shared::Shared;
use crate::ssh::SshError;
use crate::ssh::warm::Priority;

/// Longest wait for the log before an operation starts.
const LOG_TIMEOUT: Duration = Duration::from_secs(1);
/// Longest wait for the log to accept the last events of an operation.
const LAST_EVENTS_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest delay of a verb by the picture of what it is about to change.
const PICTURE_TIMEOUT: Duration = Duration::from_secs(2);

/// One admitted operation.
pub(crate) struct Run {
    pub(crate) shared: Arc<Shared>,
    pub(crate) operation: Arc<Operation>,
    pub(crate) request: OperationRequest,
}

/// Sends the answer to the caller of [`crate::Control::submit`].
pub(crate) type Reply = oneshot::Sender<Result<Accepted, Refusal>>;

/// What the log stores for an idempotency key.
#[derive(Debug, Serialize, Deserialize)]
struct KeyRecord {
    operation: OperationId,
    target: String,
    what: String,
    incident: Option<IncidentId>,
}

impl Run {
    /// Acts at once; its incident is found, and reported to the caller, at the same time.
    pub(crate) async fn run(self: Arc<Self>, reply: Reply) {
        let mut end = EndOnDrop {
            run: &self,
            started: Instant::now(),
            result: None,
        };
        if let Some(earlier) = self.earlier_run().await {
            let _caller_is_gone = reply.send(self.replay(earlier));
            return;
        }
        let (mut writer, events) = EventWriter::new(Arc::clone(&self.operation));
        let placing = Arc::clone(&self);
        let mut writing = self.shared.tasks.spawn(async move {
            let incident = placing.place(reply).await;
            write_events(&placing.shared.log, incident, events).await;
        });
        let (result, last_events) = self.act(&mut writer).await;
        end.result = Some(result);
        let finishing = async {
            for event in last_events {
                writer.event(Actor::System, event).await;
            }
            drop(writer);
            (&mut writing).await
        };
        if timeout(LAST_EVENTS_TIMEOUT, finishing).await.is_err() {
            tracing::error!(operation = %self.operation.id, "the log did not accept the end of an operation in time");
            writing.abort();
        }
    }

    /// Finds the operation's incident and reports it to the caller.
    async fn place(&self, reply: Reply) -> IncidentId {
        let operation = self.operation.id;
        let incident = place(&self.shared, &self.request, &self.operation).await;
        let _caller_is_gone = reply.send(Ok(Accepted {
            operation,
            incident,
            replayed: false,
        }));
        // Events without an incident are published as unrecorded; under one id they still belong together.
        incident.unwrap_or(operation)
    }

    /// What the server ran under the same key before its last restart.
    async fn earlier_run(&self) -> Option<KeyRecord> {
        let key = self.request.scoped_key()?;
        let record = KeyRecord {
            operation: self.operation.id,
            target: self.request.target().to_owned(),
            what: self.request.permit.action.as_str().to_owned(),
            incident: self.request.incident,
        };
        let record = serde_json::to_string(&record).ok()?;
        let remembering = self.shared.log.remember(&key, &record);
        let earlier = timeout(LOG_TIMEOUT, remembering).await.ok()?.ok()??;
        serde_json::from_str(&earlier).ok()
    }

    fn replay(&self, earlier: KeyRecord) -> Result<Accepted, Refusal> {
        let KeyRecord {
            operation,
            target,
            what,
            incident,
        } = earlier;
        if let Some(key) = self.request.scoped_key() {
            let mut admission = self.shared.admission.lock();
            admission.claim_key(key, operation, &target, &what);
        }
        self.shared.operations.retract(self.operation.id);
        if target == self.request.target() && what == self.request.permit.action.as_str() {
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

    /// Runs the action. Returns its result and its last events.
    async fn act(&self, writer: &mut EventWriter) -> (OperationResult, Vec<EventBody>) {
        match self.request.permit.action {
            OperationAction::Verb(verb) => self.run_verb(verb, writer).await,
            OperationAction::Diagnosis(diagnosis) => self.run_diagnosis(diagnosis).await,
        }
    }

    async fn run_diagnosis(&self, diagnosis: Diagnosis) -> (OperationResult, Vec<EventBody>) {
        let started = Instant::now();
        let (report, error) = diagnosis::run(diagnosis, &self.request.permit.target).await;
        let result = OperationResult {
            outcome: report.outcome,
            verdict: None,
            message: report.summary.clone(),
            duration_ms: milliseconds(started),
        };
        let mut events: Vec<EventBody> =
            error.iter().filter_map(SshError::host_key_event).collect();
        events.extend(report.into_events(diagnosis));
        (result, events)
    }

    async fn run_verb(
        &self,
        verb: Verb,
        writer: &mut EventWriter,
    ) -> (OperationResult, Vec<EventBody>) {
        let operation = self.operation.id;
        let permit = &self.request.permit;
        let started = EventBody::VerbStarted {
            operation,
            target: self.request.target().to_owned(),
            verb,
        };
        writer.event(permit.actor.clone(), started).await;
        let picture = self.picture_before(verb).await;
        let priority = if verb.is_mutating() {
            Priority::Critical
        } else {
            Priority::Interactive
        };
        let mut sink = |stream, line: &str| writer.line(stream, line);
        let ended = invoke(&permit.target.host, verb, priority, &mut sink).await;
        let flushing = timeout(LAST_EVENTS_TIMEOUT, writer.flush());
        let omitted_lines = flushing.await.unwrap_or_default();
        let verdict = ended.verdict;
        let key_event = ended.error.as_ref().and_then(SshError::host_key_event);
        let finished = EventBody::VerbFinished {
            operation,
            target: self.request.target().to_owned(),
            verb,
            outcome: ended.outcome,
            verdict: verdict.clone(),
            exit_code: ended.exit_code,
            message: ended.message.clone(),
            duration_ms: ended.duration_ms,
            omitted_lines,
            picture: is_kept(picture).await,
        };
        let result = OperationResult {
            outcome: ended.outcome,
            verdict: verdict.map(|verdict| verdict.to_string()),
            message: ended.message,
            duration_ms: ended.duration_ms,
        };
        (result, key_event.into_iter().chain([finished]).collect())
    }

    /// Takes a picture of the screen before `verb` changes it, and starts to store it. `None` if no picture
    /// is available at once: the verb does not wait for it.
    async fn picture_before(&self, verb: Verb) -> Option<JoinHandle<bool>> {
        let target = &self.request.permit.target;
        let is_evidence = verb.is_mutating() || matches!(verb, Verb::Forensics | Verb::Screenshot);
        if !is_evidence || !target.vitals.gate_knows_vitals() || !self.shared.pictures.are_kept() {
            return None;
        }
        // A watcher's priority: if the host is known to be unreachable, don't dial for a picture.
        let taking = screenshot::fetch(target, PICTURE_TIMEOUT, Priority::Background);
        let taken = match timeout(PICTURE_TIMEOUT, taking).await {
            Ok(taken) => taken.map_err(|error| error.to_string()),
            Err(_) => Err("it took too long".to_owned()),
        };
        let shared = Arc::clone(&self.shared);
        let operation = self.operation.id;
        match taken {
            Ok(picture) => Some(spawn_file_task(move || {
                shared.pictures.keep(operation, &picture)
            })),
            Err(error) => {
                tracing::debug!(%operation, %verb, error, "no picture of the screen before the verb");
                None
            }
        }
    }
}

/// Whether the picture is stored; one that the disk does not accept in time counts as lost.
async fn is_kept(picture: Option<JoinHandle<bool>>) -> bool {
    let Some(storing) = picture else { return false };
    let stored = timeout(LAST_EVENTS_TIMEOUT, storing).await;
    stored.ok().and_then(Result::ok).unwrap_or(false)
}

fn milliseconds(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// Ends the operation and releases its place when its task ends, even after a panic.
struct EndOnDrop<'a> {
    run: &'a Run,
    started: Instant,
    result: Option<OperationResult>,
}

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        let Run {
            shared,
            operation,
            request,
        } = self.run;
        let action = request.permit.action;
        let result = self.result.take().unwrap_or_else(|| OperationResult {
            outcome: VerbOutcome::Interrupted,
            verdict: None,
            message: format!(
                "{} was interrupted inside the server; ask status.",
                action.as_str()
            ),
            duration_ms: milliseconds(self.started),
        });
        let mut admission = shared.admission.lock();
        admission.release(request.target(), operation.id);
        drop(admission);
        shared.operations.end(operation.id, result);
        if action.mutating().is_some() {
            request.permit.target.record_change();
        }
        request.permit.target.wake();
    }
}
