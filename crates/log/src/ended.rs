//! Who counts what came to an end.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use breakglass_model::EventBody;

/// A callback that is told of an end; it must return at once.
pub type EndSink = Box<dyn Fn(&EventBody) + Send + Sync>;

/// The end of a turn, a verb, a check or a question on its way into the log.
#[derive(Debug)]
pub(crate) struct Ended {
    body: EventBody,
    told: AtomicBool,
}

impl Ended {
    pub(crate) fn of(body: &EventBody) -> Option<Arc<Ended>> {
        let ends = matches!(
            body,
            EventBody::TurnEnded { .. }
                | EventBody::VerbFinished { .. }
                | EventBody::CheckFinished { .. }
                | EventBody::ApprovalDecided { .. }
        );
        ends.then(|| {
            Arc::new(Ended {
                body: body.clone(),
                told: AtomicBool::new(false),
            })
        })
    }
}

/// Tells of each end once, though a late commit may follow on what was given up as unrecorded.
pub(crate) struct Endings(pub(crate) Option<EndSink>);

impl Endings {
    pub(crate) fn tell(&self, ended: Option<&Arc<Ended>>) {
        let (Some(sink), Some(ended)) = (&self.0, ended) else {
            return;
        };
        if !ended.told.swap(true, Ordering::Relaxed) {
            sink(&ended.body);
        }
    }
}

impl fmt::Debug for Endings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Endings").field(&self.0.is_some()).finish()
    }
}
