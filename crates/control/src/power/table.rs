//! The operations that can be asked about: all that run, and the last that ended.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use breakglass_model::{IncidentId, OperationId, OutputStream, VerbOutcome};
use tokio::sync::watch;
use tokio::time::timeout;

use super::operation::{OperationState, OperationView, OutputLine};

/// Ended operations that can still be asked about.
const ENDED: usize = 128;
/// Lines that an operation keeps, and their bytes.
const LINES: usize = 200;
const LINE_BYTES: usize = 64 * 1024;

/// How far an operation has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Admitted; its incident is not settled yet.
    Admitted,
    /// It has its incident, if there is one to have.
    Placed,
    /// It has ended.
    Ended,
}

/// How an operation ended.
#[derive(Debug, Clone)]
pub(crate) struct Ending {
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
    stage: watch::Sender<Stage>,
    /// How many lines it has printed.
    printed: watch::Sender<u64>,
}

#[derive(Debug)]
struct State {
    /// Without its lines.
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
            stage: watch::Sender::new(Stage::Admitted),
            printed: watch::Sender::new(0),
        }
    }

    /// The operation as the interface shows it.
    pub fn view(&self) -> OperationView {
        let state = self.lock();
        OperationView {
            lines: state.lines.iter().cloned().collect(),
            ..state.view.clone()
        }
    }

    pub(crate) fn push(&self, stream: OutputStream, line: &str) {
        let mut state = self.lock();
        state.bytes += line.len();
        state.lines.push_back(OutputLine {
            stream,
            line: line.to_owned(),
        });
        while state.lines.len() > LINES || state.bytes > LINE_BYTES {
            let Some(oldest) = state.lines.pop_front() else {
                break;
            };
            state.bytes -= oldest.line.len();
        }
        // Under the lock, so that the count and the lines agree.
        self.printed.send_modify(|printed| *printed += 1);
    }

    /// How many lines it has printed so far, and those after the first `seen` that are still kept.
    pub fn lines_since(&self, seen: u64) -> (u64, Vec<OutputLine>) {
        let state = self.lock();
        let printed = *self.printed.borrow();
        let new = usize::try_from(printed.saturating_sub(seen)).unwrap_or(usize::MAX);
        let skipped = state.lines.len().saturating_sub(new);
        (printed, state.lines.iter().skip(skipped).cloned().collect())
    }

    /// Waits until it has printed more than `seen` lines or has ended; says whether it has ended.
    pub async fn grew(&self, seen: u64) -> bool {
        let (mut stage, mut printed) = (self.stage.subscribe(), self.printed.subscribe());
        tokio::select! {
            ended = stage.wait_for(|now| *now == Stage::Ended) => ended.is_ok(),
            _ = printed.wait_for(|printed| *printed > seen) => {
                *self.stage.borrow() == Stage::Ended
            }
        }
    }

    pub(crate) fn place(&self, incident: Option<IncidentId>) {
        self.lock().view.incident = incident;
        self.stage.send_replace(Stage::Placed);
    }

    fn end(&self, ending: Ending) {
        let mut state = self.lock();
        state.view.state = OperationState::Finished;
        state.view.outcome = Some(ending.outcome);
        state.view.verdict = ending.verdict;
        state.view.message = Some(ending.message);
        state.view.duration_ms = Some(ending.duration_ms);
        drop(state);
        self.stage.send_replace(Stage::Ended);
    }

    /// Waits until it has come as far as `stage`, at most `limit`.
    pub(crate) async fn reached(&self, stage: Stage, limit: Duration) -> bool {
        let mut watching = self.stage.subscribe();
        let waiting = watching.wait_for(|now| *now >= stage);
        timeout(limit, waiting).await.is_ok_and(|seen| seen.is_ok())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All operations that can be asked about.
#[derive(Debug, Default)]
pub(crate) struct Table {
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    running: HashMap<OperationId, Arc<Operation>>,
    ended: VecDeque<Arc<Operation>>,
}

impl Table {
    pub(crate) fn begin(&self, view: OperationView) -> Arc<Operation> {
        let operation = Arc::new(Operation::new(view));
        self.lock()
            .running
            .insert(operation.id, Arc::clone(&operation));
        operation
    }

    /// Ends a running operation; one that has ended keeps its first ending.
    pub(crate) fn end(&self, id: OperationId, ending: Ending) {
        let mut entries = self.lock();
        let Some(operation) = entries.running.remove(&id) else {
            return;
        };
        operation.end(ending);
        entries.ended.push_back(operation);
        while entries.ended.len() > ENDED {
            entries.ended.pop_front();
        }
    }

    /// Forgets a running operation that never began.
    pub(crate) fn retract(&self, id: OperationId) {
        self.lock().running.remove(&id);
    }

    pub(crate) fn get(&self, id: OperationId) -> Option<Arc<Operation>> {
        let entries = self.lock();
        let ended = || entries.ended.iter().find(|operation| operation.id == id);
        entries.running.get(&id).or_else(ended).map(Arc::clone)
    }

    pub(crate) fn running(&self) -> Vec<Arc<Operation>> {
        self.lock().running.values().map(Arc::clone).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
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

    fn ending(message: &str) -> Ending {
        let outcome = VerbOutcome::Done;
        Ending {
            outcome,
            verdict: None,
            message: message.into(),
            duration_ms: 1,
        }
    }

    #[test]
    fn the_last_operations_stay_known_and_older_ones_go() {
        let table = Table::default();
        for number in 0..200 {
            table.begin(view(number));
            table.end(Uuid::from_u128(number), ending("done"));
        }
        assert!(table.get(Uuid::from_u128(199)).is_some());
        assert!(table.get(Uuid::from_u128(200 - ENDED as u128)).is_some());
        assert!(table.get(Uuid::from_u128(199 - ENDED as u128)).is_none());
        assert!(table.running().is_empty());
    }

    #[test]
    fn an_operation_keeps_its_last_lines_within_bounds() {
        let operation = Operation::new(view(1));
        for number in 0..1000 {
            operation.push(OutputStream::Stdout, &format!("line {number}"));
        }
        let lines = operation.view().lines;
        assert_eq!(lines.len(), LINES);
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
        assert!(bytes <= LINE_BYTES);
    }

    #[tokio::test]
    async fn who_waits_is_woken_by_the_first_ending_and_later_ones_change_nothing() {
        let table = Table::default();
        let operation = table.begin(view(1));
        assert!(
            !operation
                .reached(Stage::Ended, Duration::from_millis(1))
                .await
        );
        table.end(operation.id, ending("first"));
        table.end(operation.id, ending("second"));
        assert!(operation.reached(Stage::Ended, Duration::ZERO).await);
        assert_eq!(operation.view().message.as_deref(), Some("first"));
    }
}
