//! What the log says of an incident's earlier turns.

use std::collections::HashMap;

use breakglass_log::{Log, LogError};
use breakglass_model::{EventBody, IncidentId, TurnNumber};
use uuid::Uuid;

use super::summary::Summary;
use crate::crew::Crew;

/// Events read at once.
const BLOCK: usize = 2_000;

/// Whom the incident is about, its last turn, and the session that it ran in.
#[derive(Debug, Clone, Default)]
pub(super) struct History {
    pub(super) target: String,
    pub(super) turn: TurnNumber,
    /// The agent that had the last turn, where the log names one.
    pub(super) agent: Option<String>,
    /// The last session of each agent; of those that the log names, by their names.
    sessions: HashMap<Option<String>, Uuid>,
}

impl History {
    /// The session of the agent `name`. Where there was one agent alone, the log names none: it is the first.
    pub(super) fn session_of(&self, name: &str, crew: &Crew) -> Option<Uuid> {
        let first = crew.first().options.name == name;
        let unnamed = first.then(|| self.sessions.get(&None)).flatten();
        let named = self.sessions.get(&Some(name.to_owned()));
        named.or(unnamed).copied()
    }

    /// Whether the last turn was another agent's than `name`.
    pub(super) fn is_new_to(&self, name: &str, crew: &Crew) -> bool {
        let last = self.agent.as_deref();
        self.turn > 0 && last.unwrap_or(&crew.first().options.name) != name
    }

    /// Reads the incident's log.
    pub(super) async fn read(journal: &Log, incident: IncidentId) -> Result<History, LogError> {
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
                    EventBody::TurnStarted { session, agent, .. } => {
                        history.agent.clone_from(agent);
                        history.sessions.insert(agent.clone(), *session);
                    }
                    _ => {}
                }
            }
        }
    }
}

/// What is told of the incident's turns before the last one that has begun.
///
/// # Errors
/// What the log says.
pub(super) async fn summary(journal: &Log, incident: IncidentId) -> Result<Summary, LogError> {
    let (mut summary, mut after) = (Summary::default(), 0);
    let mut begun = None;
    loop {
        let events = journal.events(incident, after, BLOCK).await?;
        let Some(last) = events.last() else {
            return Ok(summary);
        };
        after = last.seq;
        for event in &events {
            // A prompt is a part of what was before only where another one follows.
            match &event.body {
                EventBody::Prompt { .. } => {
                    if let Some(earlier) = begun.replace(event.body.clone()) {
                        summary.add(&earlier);
                    }
                }
                EventBody::TurnEnded { .. }
                | EventBody::Text { .. }
                | EventBody::CommandStarted { .. } => {
                    if let Some(earlier) = begun.take() {
                        summary.add(&earlier);
                    }
                    summary.add(&event.body);
                }
                body => summary.add(body),
            }
        }
    }
}
