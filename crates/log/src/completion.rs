//! Reports the completion of turns, verbs, diagnoses and questions, for metrics.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use breakglass_model::EventBody;

/// A callback that receives the last event of a turn, verb, diagnosis or question; it must return at once.
pub type CompletionSink = Box<dyn Fn(&EventBody) + Send + Sync>;

/// The last event of a turn, a verb, a diagnosis or a question, on its way into the log.
#[derive(Debug)]
pub(crate) struct Completion {
    body: EventBody,
    reported: AtomicBool,
}

impl Completion {
    pub(crate) fn of(body: &EventBody) -> Option<Arc<Completion>> {
        let is_completion = matches!(
            body,
            EventBody::TurnEnded { .. }
                | EventBody::VerbFinished { .. }
                | EventBody::CheckFinished { .. }
                | EventBody::ApprovalDecided { .. }
        );
        is_completion.then(|| {
            Arc::new(Completion {
                body: body.clone(),
                reported: AtomicBool::new(false),
            })
        })
    }
}

/// Reports each completion once, even if an event that was given up as unrecorded is committed later.
pub(crate) struct CompletionReporter(pub(crate) Option<CompletionSink>);

impl CompletionReporter {
    pub(crate) fn report(&self, completion: Option<&Arc<Completion>>) {
        let (Some(sink), Some(completion)) = (&self.0, completion) else {
            return;
        };
        if !completion.reported.swap(true, Ordering::Relaxed) {
            sink(&completion.body);
        }
    }
}

impl fmt::Debug for CompletionReporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CompletionReporter")
            .field(&self.0.is_some())
            .finish()
    }
}
