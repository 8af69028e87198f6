//! Reads the agent's permissions from an incident's log, which survives a restart of the server.

use breakglass_log::{IncidentSummary, Log, LogError};
use breakglass_model::{Autonomy, Decision, Event, EventBody, IncidentId, Time};
use jiff::SignedDuration;

/// The place of approvals for commands in the agent's own cell.
pub(crate) const CELL: &str = "cell";

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
    let mut events = log
        .read(incident, 0)
        .only(&["autonomy_changed", "cut_off_changed"]);
    while let Some(event) = events.next().await? {
        match event.body {
            EventBody::AutonomyChanged { autonomy } => settings.autonomy = Some(autonomy),
            EventBody::CutOffChanged { cut_off } => settings.cut_off = cut_off,
            _ => {}
        }
    }
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
    earlier.sort_by_key(|incident| std::cmp::Reverse(incident.opened_at));
    let mut last: Option<(Time, Autonomy)> = None;
    for other in earlier.into_iter().take(EARLIER_INCIDENTS_MAX) {
        let chosen = chosen_in(log, other.incident, own.opened_at).await?;
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
    until: Time,
) -> Result<Option<(Time, Autonomy)>, LogError> {
    let mut last = None;
    let mut events = log.read(incident, 0).only(&["autonomy_changed"]);
    while let Some(event) = events.next().await? {
        if let EventBody::AutonomyChanged { autonomy } = event.body
            && event.at <= until
        {
            last = Some((event.at, autonomy));
        }
    }
    Ok(last)
}

/// How a question was settled, in a few words; `None` if it is open or not in the log.
pub(crate) async fn decision(
    log: &Log,
    incident: IncidentId,
    wanted: &str,
) -> Result<Option<String>, LogError> {
    let mut found = None;
    let mut events = log.read(incident, 0).only(&["approval_decided"]);
    while let Some(event) = events.next().await? {
        if let EventBody::ApprovalDecided {
            approval, decision, ..
        } = event.body
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
    }
    Ok(found)
}

/// The kinds of events that decide when a tool call ends at the latest.
const CALL_EVENTS: &[&str] = &["tool_started", "approval_requested", "approval_decided"];
/// The CLI's timeout for a command of its Bash tool, as set when it is started; a call can set a shorter one.
const BASH_TIMEOUT_MS: u64 = 600_000;

/// When the CLI ends a tool call: its timeout starts with the call, or with the operator's
/// approval of it. `None` if the log does not contain the call, or the call has no timeout.
pub(crate) async fn call_ends(
    log: &Log,
    incident: IncidentId,
    call: &str,
) -> Result<Option<Time>, LogError> {
    let mut known = Call::default();
    let mut events = log.read(incident, 0).only(CALL_EVENTS);
    while let Some(event) = events.next().await? {
        known.see(call, &event);
    }
    Ok(known.ends())
}

/// One tool call, as far as it is in the log.
#[derive(Default)]
struct Call {
    started: Option<Time>,
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
                self.started = Some(event.at);
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
                self.started = Some(event.at);
            }
            _ => {}
        }
    }

    fn ends(&self) -> Option<Time> {
        let limit = SignedDuration::from_millis(i64::try_from(self.limit_ms?).ok()?);
        self.started?.checked_add(limit)
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

#[cfg(test)]
mod tests {
    use breakglass_model::Actor;
    use serde_json::{Value, json};

    use super::*;

    fn event(at: &str, body: EventBody) -> Event {
        Event {
            seq: 1,
            at: at.parse().unwrap(),
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
        call.ends().map(|end| end.to_string())
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
