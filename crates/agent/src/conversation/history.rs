//! What the log says of an incident's earlier turns.

use breakglass_journal::{EventBody, IncidentId, Journal, JournalError, TurnNumber};
use uuid::Uuid;

/// Events read at once.
const BLOCK: usize = 2_000;

/// The last turn, and the session that it ran in.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct History {
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
                    EventBody::Prompt { turn, .. } => history.turn = history.turn.max(*turn),
                    EventBody::TurnStarted { session, .. } => history.session = Some(*session),
                    _ => {}
                }
            }
        }
    }
}
