//! Reads the agent's permissions from an incident's log, which survives a restart of the server.

use breakglass_log::{IncidentSummary, Log, LogError};
use breakglass_model::{Autonomy, Decision, Event, EventBody, IncidentId, clock};
use jiff::{SignedDuration, Timestamp};

/// The place of approvals for commands in the agent's own cell.
pub(crate) const CELL: &str = "cell";

/// Number of events read at once.
const EVENTS_PER_READ: usize = 2_000;

/// Maximum number of earlier incidents to read. Each of them has adopted the choice from before it.
const EARLIER_INCIDENTS_MAX: usize = 8;

/// The latest settings of an incident.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    /// `None`: as configured.
    pub(crate) autonomy: Option<Autonomy>,
    pub(crate) cut_off: bool,
}

/// Reads the settings from the log.
pub(crate) async fn settings(log: &Log, incident: IncidentId) -> Result<Settings, LogError> {
    let mut settings = Settings::default();
    walk(log, incident, |body| match body {
        EventBody::AutonomyChanged { autonomy } => settings.autonomy = Some(*autonomy),
        EventBody::CutOffChanged { cut_off } => settings.cut_off = *cut_off,
        _ => {}
    })
    .await?;
    Ok(settings)
}

/// The last choice for the agent on this incident's target before the incident was opened, from earlier
/// incidents; `None` if there was none. Imported incidents do not count.
pub(crate) async fn chosen_before(
    log: &Log,
    incident: IncidentId,
) -> Result<Option<Autonomy>, LogError> {
    let all = log.incidents().await?;
    let Some(own) = all.iter().find(|other| other.incident == incident) else {
        return Ok(None);
    };
    let before = |other: &&IncidentSummary| {
        other.incident != incident
            && other.opened_at <= own.opened_at
            && (&other.target, other.drill) == (&own.target, own.drill)
            && other.imported_at.is_none()
    };
    let mut earlier: Vec<&IncidentSummary> = all.iter().filter(before).collect();
    earlier.sort_by(|one, other| other.opened_at.cmp(&one.opened_at));
    let mut last: Option<(String, Autonomy)> = None;
    for other in earlier.into_iter().take(EARLIER_INCIDENTS_MAX) {
        let chosen = chosen_in(log, other.incident, &own.opened_at).await?;
        last = last
            .into_iter()
            .chain(chosen)
            .max_by(|one, other| one.0.cmp(&other.0));
    }
    Ok(last.map(|(_, autonomy)| autonomy))
}

/// The last choice in one incident up to `until`, with its time.
async fn chosen_in(
    log: &Log,
    incident: IncidentId,
    until: &str,
) -> Result<Option<(String, Autonomy)>, LogError> {
    let (mut last, mut after) = (None, 0);
    loop {
        let found = log.select(incident, after, &["autonomy_changed"]).await?;
        for event in found.events {
            if let EventBody::AutonomyChanged { autonomy } = event.body
                && event.at.as_str() <= until
            {
                last = Some((event.at, autonomy));
            }
        }
        if found.last == after {
            return Ok(last);
        }
        after = found.last;
    }
}

/// How a question was settled, in a few words; `None` if it is open or not in the log.
pub(crate) async fn decision(
    log: &Log,
    incident: IncidentId,
    wanted: &str,
) -> Result<Option<String>, LogError> {
    let mut found = None;
    walk(log, incident, |body| {
        if let EventBody::ApprovalDecided {
            approval, decision, ..
        } = body
            && approval == wanted
        {
            let how = match decision {
                Decision::Allow => "allowed",
                Decision::Deny => "denied",
                Decision::Void => {
                    "void, because its turn ended or the agent stopped waiting for it"
                }
            };
            found = Some(how.to_owned());
        }
    })
    .await?;
    Ok(found)
}

/// The kinds of events that decide when a tool call ends at the latest.
const CALL_EVENTS: &[&str] = &["tool_started", "approval_requested", "approval_decided"];
/// The CLI's timeout for a command of its Bash tool, as set when it is started; a call can set a shorter one.
const BASH_TIMEOUT_MS: u64 = 600_000;

/// When the CLI ends a tool call, RFC 3339: its timeout starts with the call, or with the operator's
/// approval of it. `None` if the log does not contain the call, or the call has no timeout.
pub(crate) async fn call_ends(
    log: &Log,
    incident: IncidentId,
    call: &str,
) -> Result<Option<String>, LogError> {
    let (mut after, mut known) = (0, Call::default());
    loop {
        let selection = log.select(incident, after, CALL_EVENTS).await?;
        selection
            .events
            .iter()
            .for_each(|event| known.see(call, event));
        if selection.last <= after {
            return Ok(known.ends());
        }
        after = selection.last;
    }
}

/// One tool call, as far as it is in the log.
#[derive(Default)]
struct Call {
    started: Option<String>,
    limit_ms: Option<u64>,
    /// The question whether it may start.
    question: Option<String>,
}

impl Call {
    fn see(&mut self, call: &str, event: &Event) {
        match &event.body {
            EventBody::ToolStarted {
                tool_call,
                tool,
                input,
                ..
            } if tool_call == call && tool == "Bash" => {
                self.started = Some(event.at.clone());
                let background = input["run_in_background"].as_bool() == Some(true);
                let limit = input["timeout"].as_f64().filter(|limit| *limit > 0.0);
                let limit = limit.map_or(BASH_TIMEOUT_MS, whole).min(BASH_TIMEOUT_MS);
                self.limit_ms = (!background).then_some(limit);
            }
            EventBody::ApprovalRequested {
                approval,
                tool_call: Some(tool_call),
                place,
                ..
            } if tool_call == call && place == CELL => self.question = Some(approval.clone()),
            EventBody::ApprovalDecided { approval, .. }
                if self.question.as_ref() == Some(approval) =>
            {
                self.started = Some(event.at.clone());
            }
            _ => {}
        }
    }

    fn ends(&self) -> Option<String> {
        let started: Timestamp = self.started.as_ref()?.parse().ok()?;
        let limit = SignedDuration::from_millis(i64::try_from(self.limit_ms?).ok()?);
        Some(clock::written(started.checked_add(limit).ok()?))
    }
}

/// Milliseconds from a JSON number.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it is positive, and the cast saturates"
)]
fn whole(milliseconds: f64) -> u64 {
    milliseconds as u64
}

async fn walk(
    log: &Log,
    incident: IncidentId,
    mut see: impl FnMut(&EventBody),
) -> Result<(), LogError> {
    let mut after = 0;
    loop {
        let events = log.events(incident, after, EVENTS_PER_READ).await?;
        let Some(last) = events.last() else {
            return Ok(());
        };
        after = last.seq;
        events.iter().for_each(|event| see(&event.body));
    }
}

#[cfg(test)]
mod tests {
    use breakglass_model::Actor;
    use serde_json::{Value, json};

    use super::*;

    fn event(at: &str, body: EventBody) -> Event {
        Event {
            seq: 1,
            at: at.to_owned(),
            actor: Actor::Agent,
            body,
            hash: String::new(),
        }
    }

    fn started(tool: &str, input: Value) -> Event {
        let body = EventBody::ToolStarted {
            turn: 1,
            tool_call: "t".to_owned(),
            tool: tool.to_owned(),
            summary: String::new(),
            input,
        };
        event("2026-11-30T03:00:00.000Z", body)
    }

    fn ends(events: &[Event]) -> Option<String> {
        let mut call = Call::default();
        events.iter().for_each(|event| call.see("t", event));
        call.ends()
    }

    #[test]
    fn call_ends_by_its_own_timeout_or_the_clis() {
        for (tool, input, end) in [
            (
                "Bash",
                json!({"command": "ssh devvm reboot"}),
                Some("03:10:00.000"),
            ),
            ("Bash", json!({"timeout": 30_000}), Some("03:00:30.000")),
            ("Bash", json!({"timeout": 9e99}), Some("03:10:00.000")),
            ("Bash", json!({"timeout": 900_000}), Some("03:10:00.000")),
            ("Bash", json!({"timeout": -1}), Some("03:10:00.000")),
            ("Bash", json!({"timeout": "5"}), Some("03:10:00.000")),
            (
                "Bash",
                Value::String("cut".to_owned()),
                Some("03:10:00.000"),
            ),
            ("Bash", json!({"run_in_background": true}), None),
            ("Read", json!({"file_path": "x"}), None),
        ] {
            let expected = end.map(|end| format!("2026-11-30T{end}Z"));
            assert_eq!(ends(&[started(tool, input.clone())]), expected, "{input}");
        }
        assert_eq!(ends(&[]), None);
    }

    #[test]
    fn call_that_waited_for_approval_starts_with_the_answer() {
        let asked = EventBody::ApprovalRequested {
            approval: "q".to_owned(),
            turn: 1,
            tool_call: Some("t".to_owned()),
            place: CELL.to_owned(),
            command: String::new(),
            touches: String::new(),
            expires_at: None,
        };
        let decided = EventBody::ApprovalDecided {
            approval: "q".to_owned(),
            decision: Decision::Allow,
            note: None,
        };
        let events = [
            started("Bash", json!({})),
            event("2026-11-30T03:00:01.000Z", asked),
            event("2026-11-30T03:05:00.000Z", decided),
        ];
        let end = Some("2026-11-30T03:15:00.000Z".to_owned());
        assert_eq!(ends(&events), end);
    }
}
