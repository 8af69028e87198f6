//! At the start: ends what an earlier process left unfinished.

use rusqlite::Connection;

use crate::store::{time, unreadable_text};
use crate::{Log, LogError, Recovered};
use breakglass_model::{
    Actor, Decision, EventBody, IncidentId, OperationId, Time, TurnNumber, TurnOutcome, Verb,
    VerbOutcome,
};

/// Maximum number of unfinished turns, and of unfinished verbs, that one start ends.
const UNFINISHED_MAX: usize = 10_000;

struct Turn {
    incident: IncidentId,
    turn: TurnNumber,
    started_at: Time,
    last_at: Time,
}

struct RunningVerb {
    incident: IncidentId,
    operation: OperationId,
    target: String,
    verb: Verb,
    started_at: Time,
    last_at: Time,
}

impl Log {
    /// Ends, as interrupted, every turn and verb that was running when the process died, with the
    /// turns' commands and open queries. To be
    /// called once at the start, before anything is appended. A duration counts up to the
    /// incident's last event: when the process died is not known.
    ///
    /// # Errors
    /// [`LogError`] if the log can be neither read nor written.
    pub async fn recover(&self) -> Result<Recovered, LogError> {
        let (verbs, turns) = self
            .reader()
            .ask(|connection| Ok((verbs(connection)?, turns(connection)?)))
            .await?;
        let recovered = Recovered {
            turns: turns.len(),
            verbs: verbs.len(),
        };
        for verb in verbs {
            self.append(verb.incident, Actor::System, verb.ended())
                .await?;
        }
        for turn in turns {
            for body in self.left_open(turn.incident).await? {
                self.append(turn.incident, Actor::System, body).await?;
            }
            self.append(turn.incident, Actor::System, turn.ended())
                .await?;
        }
        Ok(recovered)
    }
}

impl Log {
    /// The last events for the commands and questions that an interrupted turn left open, in the order in which they
    /// began.
    async fn left_open(&self, incident: IncidentId) -> Result<Vec<EventBody>, LogError> {
        let mut open = Vec::new();
        let mut events = self.read(incident, 0);
        while let Some(event) = events.next().await? {
            match event.body {
                EventBody::CommandStarted { command, .. } => {
                    open.push((command.to_string(), command_ended(command)));
                }
                EventBody::ApprovalRequested { approval, .. } => {
                    open.push((approval.clone(), void(approval)));
                }
                EventBody::CommandFinished { command, .. } => {
                    open.retain(|(id, _)| *id != command.to_string());
                }
                EventBody::ApprovalDecided { approval, .. } => {
                    open.retain(|(id, _)| *id != approval);
                }
                _ => {}
            }
        }
        Ok(open.into_iter().map(|(_, end)| end).collect())
    }
}

fn command_ended(command: uuid::Uuid) -> EventBody {
    EventBody::CommandFinished {
        command,
        exit_code: None,
        signal: None,
        duration_ms: 0,
        omitted_bytes: 0,
        message: Some(
            "breakglass died while it ran; it may still run there, and what it printed since is \
             not known"
                .to_owned(),
        ),
    }
}

fn void(approval: String) -> EventBody {
    EventBody::ApprovalDecided {
        approval,
        decision: Decision::Void,
        note: Some("breakglass died while it was open".to_owned()),
    }
}

impl Turn {
    fn ended(&self) -> EventBody {
        EventBody::TurnEnded {
            turn: self.turn,
            outcome: TurnOutcome::Interrupted,
            reason: Some("breakglass died while this turn ran; ask again to go on".to_owned()),
            duration_ms: self.last_at.ms_since(self.started_at),
            cost_usd: None,
        }
    }
}

impl RunningVerb {
    fn ended(self) -> EventBody {
        let message = format!(
            "breakglass died while {} ran on {}; what it did is not known: look at its status",
            self.verb, self.target
        );
        EventBody::VerbFinished {
            operation: self.operation,
            target: self.target,
            verb: self.verb,
            outcome: VerbOutcome::Interrupted,
            verdict: None,
            exit_code: None,
            message,
            duration_ms: self.last_at.ms_since(self.started_at),
            omitted_lines: 0,
            picture: false,
        }
    }
}

fn turns(connection: &Connection) -> rusqlite::Result<Vec<Turn>> {
    let sql = format!(
        "SELECT id, turn, turn_at, last_at FROM incident WHERE turn IS NOT NULL LIMIT {UNFINISHED_MAX}"
    );
    let read = |row: &rusqlite::Row<'_>| {
        Ok(Turn {
            incident: row.get(0)?,
            turn: row.get(1)?,
            started_at: time(row, 2)?,
            last_at: time(row, 3)?,
        })
    };
    connection.prepare(&sql)?.query_map([], read)?.collect()
}

fn verbs(connection: &Connection) -> rusqlite::Result<Vec<RunningVerb>> {
    let sql = format!(
        "SELECT v.incident, v.operation, v.target, v.verb, v.at, i.last_at
         FROM running_verb v JOIN incident i ON i.id = v.incident LIMIT {UNFINISHED_MAX}"
    );
    let read = |row: &rusqlite::Row<'_>| {
        let word = row.get_ref(3)?.as_str()?;
        let unknown = || unreadable_text(3, format!("unknown verb {word:?}").into());
        Ok(RunningVerb {
            incident: row.get(0)?,
            operation: row.get(1)?,
            target: row.get(2)?,
            verb: Verb::parse(word).ok_or_else(unknown)?,
            started_at: time(row, 4)?,
            last_at: time(row, 5)?,
        })
    };
    connection.prepare(&sql)?.query_map([], read)?.collect()
}
