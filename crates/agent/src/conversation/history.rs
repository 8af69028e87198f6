//! What the log says of an incident's earlier turns.

use breakglass_journal::{EventBody, IncidentId, Journal, JournalError, TurnNumber};
use uuid::Uuid;

/// Events read at once.
const BLOCK: usize = 2_000;

/// Whom the incident is about, its last turn, and the session that it ran in.
#[derive(Debug, Clone, Default)]
pub(super) struct History {
    pub(super) target: String,
    pub(super) turn: TurnNumber,
    pub(super) session: Option<Uuid>,
}

impl History {
    /// Reads the incident's log.
    pub(super) async fn read(
        journal: &Journal,
        incident: IncidentId,
    ) -> Result<History, JournalError> {
        let mut history = History::default();
        let mut after = 0;
        loop {
            let events = journal.events(incident, after, BLOCK).await?;
            let Some(last) = events.last() else {
                return Ok(history);
            };
            after = last.seq;
            for event in &events {
                match &event.body {
                    EventBody::IncidentOpened { target, .. } => history.target.clone_from(target),
                    EventBody::Prompt { turn, .. } => history.turn = history.turn.max(*turn),
                    EventBody::TurnStarted { session, .. } => history.session = Some(*session),
                    _ => {}
                }
            }
        }
    }
}
