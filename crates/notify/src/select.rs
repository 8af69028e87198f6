//! Selects notifications from events, checks and vital signs. Pure functions: reading the sources is left to
//! `watch`.

use std::collections::BTreeMap;
use std::time::Duration;

use breakglass_log::IncidentSummary;
use breakglass_model::{
    EventBody, IncidentId, Level, Time, TurnOutcome, VerbOutcome, Verdict, VitalState, Vitals,
};

use super::notification::Notification;
use super::notified::Notified;
use breakglass_config::NotificationKind;
use breakglass_readiness::{Check, State};

/// The kinds of events that can become notifications.
pub(crate) const KINDS: &[&str] = &["approval_requested", "turn_ended", "verb_finished"];

/// Maximum number of checks that a notification names per state.
const NAMED_CHECKS_MAX: usize = 8;

/// Whether the incident is of this server and of a real machine: not imported, not a drill.
pub(crate) const fn is_live(summary: &IncidentSummary) -> bool {
    !summary.drill && summary.imported_at.is_none()
}

/// The states of the checks that were tried. The others are unknown, so their notified state stays.
pub(crate) fn tried_states(checks: Vec<Check>) -> Vec<(String, State)> {
    let tried = checks.into_iter().filter(|check| !check.untried);
    tried.map(|check| (check.name, check.state)).collect()
}

/// The notification of an event, if it has one. Its id depends only on the event, whether it was recorded or not.
/// The target of an unrecorded event may be unknown.
pub(crate) fn of_event(
    target: Option<&str>,
    incident: IncidentId,
    at: Time,
    body: &EventBody,
) -> Option<Notification> {
    let subject = target.unwrap_or("breakglass");
    let mut notification = match body {
        EventBody::VerbFinished { .. } => verb_ended(body)?,
        EventBody::TurnEnded { turn, outcome, .. } => {
            let (level, result) = turn_result(*outcome);
            let title = format!("{subject}: the agent's turn {result}");
            let text = format!("Turn {turn} {result}. The page shows it in full.");
            let id = format!("turn-{incident}-{turn}");
            Notification::new(&id, NotificationKind::TurnEnded, level, &title, &text)
        }
        EventBody::ApprovalRequested {
            approval,
            place,
            expires_at,
            ..
        } => {
            let title = format!("{subject}: the agent asks for approval");
            // The command may contain a secret, so only the page shows it.
            let text = format!(
                "The agent waits for your approval to run a command on {place}{}. The page shows it in full.",
                waiting_time(at, *expires_at)
            );
            let id = format!("approval-{incident}-{approval}");
            let kind = NotificationKind::ApprovalWanted;
            Notification::new(&id, kind, Level::Warning, &title, &text)
        }
        _ => return None,
    };
    notification.at = at.to_string();
    notification.target = notification.target.or_else(|| target.map(str::to_owned));
    notification.incident = Some(incident.to_string());
    Some(notification)
}

/// How long the agent waits for an answer, as the end of a sentence.
fn waiting_time(at: Time, expires_at: Option<Time>) -> String {
    let limit = expires_at.map(|end| end.seconds_since(at));
    limit.map_or_else(String::new, |limit| format!(", for {limit} s from then on"))
}

fn verb_ended(body: &EventBody) -> Option<Notification> {
    let EventBody::VerbFinished {
        operation,
        target,
        verb,
        outcome,
        verdict,
        ..
    } = body
    else {
        return None;
    };
    if !verb.is_mutating() {
        return None;
    }
    let (level, result) = verb_result(*outcome);
    // Texts from the host in a verdict are only in the log.
    let verdict = match verdict {
        Some(Verdict::Locked(_)) => "locked".to_owned(),
        Some(Verdict::Unknown(_)) => "unknown".to_owned(),
        Some(verdict) => verdict.to_string(),
        None => "none".to_owned(),
    };
    let title = format!("{target}: {verb} {result}");
    let text = format!("The verb {verb} on {target} {result}. Verdict: {verdict}.");
    let id = format!("verb-{operation}");
    let kind = NotificationKind::VerbEnded;
    let notification = Notification::new(&id, kind, level, &title, &text);
    Some(Notification {
        target: Some(target.clone()),
        ..notification
    })
}

const fn verb_result(outcome: VerbOutcome) -> (Level, &'static str) {
    match outcome {
        VerbOutcome::Done => (Level::Info, "is done"),
        VerbOutcome::Failed => (Level::Error, "failed"),
        VerbOutcome::Refused => (Level::Error, "was refused by the gate"),
        VerbOutcome::Unreachable => (Level::Error, "did not reach the host, or got no answer"),
        VerbOutcome::Interrupted => (Level::Error, "was interrupted because the server stopped"),
    }
}

const fn turn_result(outcome: TurnOutcome) -> (Level, &'static str) {
    match outcome {
        TurnOutcome::Done => (Level::Info, "is done"),
        TurnOutcome::Stopped => (Level::Info, "was stopped"),
        TurnOutcome::Failed => (Level::Warning, "failed"),
        TurnOutcome::TimedOut => (Level::Warning, "ran out of time"),
        TurnOutcome::Interrupted => (Level::Warning, "was interrupted"),
    }
}

/// One notification of all checks whose state differs from the notified one; updates the notified states. A
/// check without a notified state counts as green.
pub(crate) fn of_checks(notified: &mut Notified, now: &[(String, State)]) -> Option<Notification> {
    let mut changed: BTreeMap<State, Vec<&str>> = BTreeMap::new();
    for (name, state) in now {
        let before = notified.checks.get(name).map_or("green", String::as_str);
        if before != state.as_str() {
            changed.entry(*state).or_default().push(name);
        }
    }
    let worst = *changed.keys().next_back()?;
    let parts = changed
        .iter()
        .rev()
        .map(|(state, names)| state_sentence(*state, names));
    let text = parts.collect::<Vec<_>>().join(" ");
    for (name, state) in now {
        match state {
            State::Green => drop(notified.checks.remove(name)),
            state => drop(
                notified
                    .checks
                    .insert(name.clone(), state.as_str().to_owned()),
            ),
        }
    }
    let count = changed.get(&worst).map_or(0, Vec::len);
    let (level, title) = match worst {
        State::Red => (
            Level::Error,
            format!("breakglass: {count} checks turned red"),
        ),
        State::Amber => (
            Level::Warning,
            format!("breakglass: {count} checks turned amber"),
        ),
        State::Green if notified.checks.is_empty() => (
            Level::Info,
            "breakglass: all checks are green again".to_owned(),
        ),
        State::Green => (
            Level::Info,
            format!("breakglass: {count} checks are green again"),
        ),
    };
    let id = notified.next_id("ready");
    let kind = NotificationKind::ReadinessChanged;
    Some(Notification::new(&id, kind, level, &title, &text))
}

fn state_sentence(state: State, names: &[&str]) -> String {
    let more = names.len().saturating_sub(NAMED_CHECKS_MAX);
    let named = names.iter().take(NAMED_CHECKS_MAX).copied();
    let mut text = format!(
        "Now {}: {}",
        state.as_str(),
        named.collect::<Vec<_>>().join(", ")
    );
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text.push('.');
    text
}

/// The state of a guest, as its vital signs show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GuestState {
    /// It answers on SSH.
    Up,
    /// It does not answer on SSH, or its virtual machine does not run.
    Down,
    /// The vital signs are missing or contradict each other.
    Unknown,
}

/// Derives the guest's state. While a verb runs, the guest is between two states: unknown.
pub(crate) fn guest_state(vitals: &Vitals, verb_runs: bool) -> GuestState {
    match (vitals.ssh.state, vitals.vm.state) {
        _ if verb_runs => GuestState::Unknown,
        // Another machine answers at the guest's address, or the host reports another guest.
        (VitalState::Good, VitalState::Dead) => GuestState::Unknown,
        (VitalState::Dead, _) | (_, VitalState::Dead) => GuestState::Down,
        (VitalState::Good | VitalState::Slow, _) => GuestState::Up,
        (VitalState::Unknown, _) => GuestState::Unknown,
    }
}

/// Suppresses short changes: a guest counts as down, or as up again, once all its known states during `after`
/// were the same. Unknown states are ignored.
#[derive(Debug, Clone)]
pub(crate) struct Debounce {
    after: Duration,
    /// The last notified state.
    down: bool,
    /// The time since which the guest has had the opposite state.
    since: Option<Duration>,
}

impl Debounce {
    /// Starts with the last notified state.
    pub(crate) const fn new(down: bool, after: Duration) -> Debounce {
        Debounce {
            after,
            down,
            since: None,
        }
    }

    /// Processes the state at `now`, a monotonic time. Returns a change to notify: whether the guest is down.
    pub(crate) fn observe(&mut self, now: Duration, state: GuestState) -> Option<bool> {
        let is_opposite = match state {
            GuestState::Unknown => return None,
            GuestState::Down => !self.down,
            GuestState::Up => self.down,
        };
        if !is_opposite {
            self.since = None;
            return None;
        }
        let since = *self.since.get_or_insert(now);
        if now.saturating_sub(since) < self.after {
            return None;
        }
        self.down = !self.down;
        self.since = None;
        Some(self.down)
    }
}

/// The notification of a guest that has been down, or up again, for the time `lasted`.
pub(crate) fn of_guest(
    notified: &mut Notified,
    target: &str,
    down: bool,
    vitals: &Vitals,
    lasted: Duration,
) -> Notification {
    notified.down.retain(|other| other != target);
    let seconds = lasted.as_secs();
    let (kind, level, title, text) = if down {
        notified.down.push(target.to_owned());
        let why = match vitals.vm.state {
            VitalState::Dead => "its host reports that it is not running",
            _ => "it does not answer on SSH",
        };
        let title = format!("{target} is down");
        let text = format!("For {seconds} s: {why}.");
        (NotificationKind::GuestDown, Level::Error, title, text)
    } else {
        let title = format!("{target} is up again");
        let text = format!("It has answered on SSH for {seconds} s.");
        (NotificationKind::GuestUp, Level::Info, title, text)
    };
    let id = notified.next_id("guest");
    Notification {
        target: Some(target.to_owned()),
        ..Notification::new(&id, kind, level, &title, &text)
    }
}
