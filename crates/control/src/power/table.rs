//! The operations that can be queried: all running ones, and the last that ended.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use breakglass_model::{IncidentId, OperationId, OutputStream, VerbOutcome};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::timeout;

use super::operation::{OperationState, OperationView, OutputLine};

/// Maximum number of ended operations kept.
const ENDED_MAX: usize = 128;
/// Maximum number of output lines kept per operation.
const OUTPUT_MAX_LINES: usize = 200;
/// Maximum size of the output kept per operation.
const OUTPUT_MAX_BYTES: usize = 64 * 1024;

/// The progress of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Progress {
    /// Admitted; its incident is not decided yet.
    Admitted,
    /// Its incident is decided.
    Placed,
    /// It has ended.
    Ended,
}

/// The result of an operation.
#[derive(Debug, Clone)]
pub(crate) struct OperationResult {
    pub(crate) outcome: VerbOutcome,
    pub(crate) verdict: Option<String>,
    pub(crate) message: String,
    pub(crate) duration_ms: u64,
}

/// One operation.
#[derive(Debug)]
pub struct Operation {
    pub(crate) id: OperationId,
    state: Mutex<State>,
    progress: watch::Sender<Progress>,
    /// The number of lines that it has printed.
    printed: watch::Sender<u64>,
}

#[derive(Debug)]
struct State {
    /// Without the lines.
    view: OperationView,
    lines: VecDeque<OutputLine>,
    bytes: usize,
}

impl Operation {
    pub(crate) fn new(view: OperationView) -> Operation {
        let id = view.operation;
        let state = State {
            view,
            lines: VecDeque::new(),
            bytes: 0,
        };
        Operation {
            id,
            state: Mutex::new(state),
            progress: watch::Sender::new(Progress::Admitted),
            printed: watch::Sender::new(0),
        }
    }

    /// The operation as the interface shows it.
    pub fn view(&self) -> OperationView {
        let state = self.state.lock();
        OperationView {
            lines: state.lines.iter().cloned().collect(),
            ..state.view.clone()
        }
    }

    pub(crate) fn push(&self, stream: OutputStream, line: &str) {
        let mut state = self.state.lock();
        state.bytes += line.len();
        state.lines.push_back(OutputLine {
            stream,
            line: line.to_owned(),
        });
        while state.lines.len() > OUTPUT_MAX_LINES || state.bytes > OUTPUT_MAX_BYTES {
            let Some(oldest) = state.lines.pop_front() else {
                break;
            };
            state.bytes -= oldest.line.len();
        }
        // Under the lock, so that the count and the lines agree.
        self.printed.send_modify(|printed| *printed += 1);
    }

    /// The number of lines printed so far, and those after the first `seen` that are still kept.
    pub fn lines_since(&self, seen: u64) -> (u64, Vec<OutputLine>) {
        let state = self.state.lock();
        let printed = *self.printed.borrow();
        let new = usize::try_from(printed.saturating_sub(seen)).unwrap_or(usize::MAX);
        let skipped = state.lines.len().saturating_sub(new);
        (printed, state.lines.iter().skip(skipped).cloned().collect())
    }

    /// Waits until it has printed more than `seen` lines or has ended; returns whether it has ended.
    pub async fn more_output(&self, seen: u64) -> bool {
        let mut progress = self.progress.subscribe();
        let mut printed = self.printed.subscribe();
        tokio::select! {
            ended = progress.wait_for(|now| *now == Progress::Ended) => ended.is_ok(),
            _ = printed.wait_for(|printed| *printed > seen) => {
                *self.progress.borrow() == Progress::Ended
            }
        }
    }

    pub(super) fn place(&self, incident: Option<IncidentId>) {
        self.state.lock().view.incident = incident;
        self.progress.send_replace(Progress::Placed);
    }

    fn end(&self, result: OperationResult) {
        let mut state = self.state.lock();
        state.view.state = OperationState::Finished;
        state.view.outcome = Some(result.outcome);
        state.view.verdict = result.verdict;
        state.view.message = Some(result.message);
        state.view.duration_ms = Some(result.duration_ms);
        drop(state);
        self.progress.send_replace(Progress::Ended);
    }

    /// Waits at most `limit` until it has reached `progress`.
    pub(crate) async fn reached(&self, progress: Progress, limit: Duration) -> bool {
        let mut watching = self.progress.subscribe();
        let waiting = watching.wait_for(|now| *now >= progress);
        timeout(limit, waiting).await.is_ok_and(|seen| seen.is_ok())
    }
}

/// All operations that can be queried.
#[derive(Debug, Default)]
pub(crate) struct OperationTable(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    running: HashMap<OperationId, Arc<Operation>>,
    ended: VecDeque<Arc<Operation>>,
}

impl OperationTable {
    pub(crate) fn start(&self, view: OperationView) -> Arc<Operation> {
        let operation = Arc::new(Operation::new(view));
        self.0
            .lock()
            .running
            .insert(operation.id, Arc::clone(&operation));
        operation
    }

    /// Ends a running operation; one that has ended keeps its first result.
    pub(crate) fn end(&self, id: OperationId, result: OperationResult) {
        let mut entries = self.0.lock();
        let Some(operation) = entries.running.remove(&id) else {
            return;
        };
        operation.end(result);
        entries.ended.push_back(operation);
        while entries.ended.len() > ENDED_MAX {
            entries.ended.pop_front();
        }
    }

    /// Forgets a running operation that was never started.
    pub(crate) fn retract(&self, id: OperationId) {
        self.0.lock().running.remove(&id);
    }

    pub(crate) fn get(&self, id: OperationId) -> Option<Arc<Operation>> {
        let entries = self.0.lock();
        let ended = || entries.ended.iter().find(|operation| operation.id == id);
        entries.running.get(&id).or_else(ended).map(Arc::clone)
    }

    pub(crate) fn running(&self) -> Vec<Arc<Operation>> {
        self.0.lock().running.values().map(Arc::clone).collect()
    }
}

#[cfg(test)]
mod tests {
    use breakglass_model::Actor;
    use uuid::Uuid;

    use super::*;
    use crate::power::OperationKind;

    fn view(number: u128) -> OperationView {
        OperationView {
            operation: Uuid::from_u128(number),
            incident: None,
            target: "devvm".into(),
            kind: OperationKind::Verb,
            verb: "status".into(),
            actor: Actor::System,
            state: OperationState::Running,
            outcome: None,
            verdict: None,
            message: None,
            started_at: String::new(),
            duration_ms: None,
            lines: Vec::new(),
        }
    }

    fn result(message: &str) -> OperationResult {
        let outcome = VerbOutcome::Done;
        OperationResult {
            outcome,
            verdict: None,
            message: message.into(),
            duration_ms: 1,
        }
    }

    #[test]
    fn last_operations_are_kept_and_older_ones_are_dropped() {
        let table = OperationTable::default();
        for number in 0..200 {
            table.start(view(number));
            table.end(Uuid::from_u128(number), result("done"));
        }
        assert!(table.get(Uuid::from_u128(199)).is_some());
        assert!(
            table
                .get(Uuid::from_u128(200 - ENDED_MAX as u128))
                .is_some()
        );
        assert!(
            table
                .get(Uuid::from_u128(199 - ENDED_MAX as u128))
                .is_none()
        );
        assert!(table.running().is_empty());
    }

    #[test]
    fn operation_keeps_its_last_lines_within_its_limits() {
        let operation = Operation::new(view(1));
        for number in 0..1000 {
            operation.push(OutputStream::Stdout, &format!("line {number}"));
        }
        let lines = operation.view().lines;
        assert_eq!(lines.len(), OUTPUT_MAX_LINES);
        assert_eq!(lines.last().unwrap().line, "line 999");
        for _ in 0..100 {
            operation.push(OutputStream::Stdout, &"x".repeat(2000));
        }
        let bytes: usize = operation
            .view()
            .lines
            .iter()
            .map(|line| line.line.len())
            .sum();
        assert!(bytes <= OUTPUT_MAX_BYTES);
    }

    #[tokio::test]
    async fn first_result_wakes_waiting_callers_and_a_second_one_changes_nothing() {
        let table = OperationTable::default();
        let operation = table.start(view(1));
        assert!(
            !operation
                .reached(Progress::Ended, Duration::from_millis(1))
                .await
        );
        table.end(operation.id, result("first"));
        table.end(operation.id, result("second"));
        assert!(operation.reached(Progress::Ended, Duration::ZERO).await);
        assert_eq!(operation.view().message.as_deref(), Some("first"));
    }
}
