use rusqlite::Connection;

use crate::{Log, LogError, Recovered};
use breakglass_model::clock::ms_between;
use breakglass_model::{Actor, EventBody};
use breakglass_model::{Decision, IncidentId, OperationId, TurnNumber, TurnOutcome, VerbOutcome};

/// The most unfinished turns and verbs each that one start ends.
const MAX_UNFINISHED: usize = 10_000;
/// Events read at once.
const BLOCK: usize = 2_000;

struct Turn {
    incident: IncidentId,
    turn: TurnNumber,
    started_at: String,
    last_at: String,
}

struct Verb {
    incident: IncidentId,
    operation: OperationId,
    target: String,
    verb: String,
    started_at: String,
    last_at: String,
}

impl Log {
    /// Ends, as interrupted, every turn and verb that was running when the process died, with the
    /// turns' commands and open questions. To be
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
    /// The ends of what an incident's dead turn left open, in the order in which it began.
    async fn left_open(&self, incident: IncidentId) -> Result<Vec<EventBody>, LogError> {
        let (mut open, mut after) = (Vec::new(), 0);
        loop {
            let events = self.events(incident, after, BLOCK).await?;
            let Some(last) = events.last() else {
                return Ok(open.into_iter().map(|(_, end)| end).collect());
            };
            after = last.seq;
            for event in events {
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
        }
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
            duration_ms: ms_between(&self.started_at, &self.last_at),
            cost_usd: None,
        }
    }
}

impl Verb {
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
            duration_ms: ms_between(&self.started_at, &self.last_at),
            omitted_lines: 0,
            picture: false,
        }
    }
}

fn turns(connection: &Connection) -> rusqlite::Result<Vec<Turn>> {
    let sql = format!(
        "SELECT id, turn, turn_at, last_at FROM incident WHERE turn IS NOT NULL LIMIT {MAX_UNFINISHED}"
    );
    let read = |row: &rusqlite::Row<'_>| {
        Ok(Turn {
            incident: row.get(0)?,
            turn: row.get(1)?,
            started_at: row.get(2)?,
            last_at: row.get(3)?,
        })
    };
    connection.prepare(&sql)?.query_map([], read)?.collect()
}

fn verbs(connection: &Connection) -> rusqlite::Result<Vec<Verb>> {
    let sql = format!(
        "SELECT v.incident, v.operation, v.target, v.verb, v.at, i.last_at
         FROM running_verb v JOIN incident i ON i.id = v.incident LIMIT {MAX_UNFINISHED}"
    );
    let read = |row: &rusqlite::Row<'_>| {
        let (incident, operation, target, verb) =
            (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
        Ok(Verb {
            incident,
            operation,
            target,
            verb,
            started_at: row.get(4)?,
            last_at: row.get(5)?,
        })
    };
    connection.prepare(&sql)?.query_map([], read)?.collect()
}
