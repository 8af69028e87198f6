//! An incident's earlier turns, read from the log.

use std::collections::HashMap;

use breakglass_log::{Log, LogError};
use breakglass_model::{EventBody, IncidentId, TurnNumber};
use uuid::Uuid;

use super::summary::Summary;
use crate::roster::AgentRoster;

/// The incident's target, its last turn, and the sessions of its agents.
#[derive(Debug, Clone, Default)]
pub(super) struct History {
    pub(super) target: String,
    pub(super) turn: TurnNumber,
    /// The agent of the last turn, if the log names one.
    pub(super) agent: Option<String>,
    /// The last session of each agent by its name; `None` for turns without a named agent.
    sessions: HashMap<Option<String>, Uuid>,
}

impl History {
    /// The session of the agent `name`. The log names no agent if there was only one: that is the first.
    pub(super) fn session_of(&self, name: &str, roster: &AgentRoster) -> Option<Uuid> {
        let is_first = roster.first().options.name == name;
        let unnamed = is_first.then(|| self.sessions.get(&None)).flatten();
        let named = self.sessions.get(&Some(name.to_owned()));
        named.or(unnamed).copied()
    }

    /// Whether the last turn belonged to another agent than `name`.
    pub(super) fn is_new_to(&self, name: &str, roster: &AgentRoster) -> bool {
        let last = self.agent.as_deref();
        self.turn > 0 && last.unwrap_or(&roster.first().options.name) != name
    }

    /// Reads the incident's log.
    pub(super) async fn read(log: &Log, incident: IncidentId) -> Result<History, LogError> {
        let mut history = History::default();
        let mut events = log.read(incident, 0);
        while let Some(event) = events.next().await? {
            match event.body {
                EventBody::IncidentOpened { target, .. } => history.target = target,
                EventBody::Prompt { turn, .. } => history.turn = history.turn.max(turn),
                EventBody::TurnStarted { session, agent, .. } => {
                    history.agent.clone_from(&agent);
                    history.sessions.insert(agent, session);
                }
                _ => {}
            }
        }
        Ok(history)
    }
}

/// Summarises the incident's turns before the last one that has begun.
///
/// # Errors
/// The log's error.
pub(super) async fn summary(log: &Log, incident: IncidentId) -> Result<Summary, LogError> {
    let mut summary = Summary::default();
    let mut last_prompt = None;
    let mut events = log.read(incident, 0);
    while let Some(event) = events.next().await? {
        // The last prompt is not part of the summary.
        match event.body {
            EventBody::Prompt { .. } => {
                if let Some(earlier) = last_prompt.replace(event.body) {
                    summary.add(&earlier);
                }
            }
            body => {
                let is_work = matches!(
                    body,
                    EventBody::TurnEnded { .. }
                        | EventBody::Text { .. }
                        | EventBody::CommandStarted { .. }
                );
                if let Some(earlier) = last_prompt.take_if(|_| is_work) {
                    summary.add(&earlier);
                }
                summary.add(&body);
            }
        }
    }
    Ok(summary)
}
