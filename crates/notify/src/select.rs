//! What is told: from events, checks and vital signs to notifications. Decides purely.

use std::collections::BTreeMap;
use std::time::Duration;

use breakglass_log::IncidentSummary;
use breakglass_model::{
    EventBody, IncidentId, Level, Time, TurnOutcome, VerbOutcome, Verdict, VitalState, Vitals,
};

use super::notification::Notification;
use super::progress::Told;
use breakglass_config::NotificationKind;
use breakglass_readiness::{Check, State};

/// The kinds of events that something may be told of.
pub(crate) const KINDS: &[&str] = &["approval_requested", "turn_ended", "verb_finished"];

/// Most checks that one notification names for each colour.
const MAX_NAMED: usize = 8;

/// Whether what is in this incident happened here, and to a real machine.
pub(crate) const fn is_live(summary: &IncidentSummary) -> bool {
    !summary.drill && summary.imported_at.is_none()
}

/// How the checks stand that were tried; of the others nothing is known, and what was told holds.
pub(crate) fn tried(checks: Vec<Check>) -> Vec<(String, State)> {
    let tried = checks.into_iter().filter(|check| !check.untried);
    tried.map(|check| (check.name, check.state)).collect()
}

/// What an event of `target`'s log is told as, if it is. Its id is the event's own, however it came
/// here. An event that is in no log may have no known target.
pub(crate) fn of_event(
    target: Option<&str>,
    incident: IncidentId,
    at: Time,
    body: &EventBody,
) -> Option<Notification> {
    let whose = target.unwrap_or("breakglass");
    let mut told = match body {
        EventBody::VerbFinished { .. } => verb_ended(body)?,
        EventBody::TurnEnded { turn, outcome, .. } => {
            let (level, words) = of_turn(*outcome);
            let title = format!("{whose}: the agent's turn {words}");
            let text = format!("Turn {turn} {words}. The page shows the whole of it.");
            let id = format!("turn-{incident}-{turn}");
            Notification::new(&id, NotificationKind::TurnEnded, level, &title, &text)
        }
        EventBody::ApprovalRequested {
            approval,
            place,
            expires_at,
            ..
        } => {
            let title = format!("{whose}: the agent asks for approval");
            // The command is on the page alone: it may hold a secret.
            let text = format!(
                "The agent waits for your approval to run a command on {place}{}. The page shows it in full.",
                within(at, *expires_at)
            );
            let id = format!("approval-{incident}-{approval}");
            let kind = NotificationKind::ApprovalWanted;
            Notification::new(&id, kind, Level::Warning, &title, &text)
        }
        _ => return None,
    };
    told.at = at.to_string();
    told.target = told.target.or_else(|| target.map(str::to_owned));
    told.incident = Some(incident.to_string());
    Some(told)
}

/// How long an answer is waited for, from `at` on.
fn within(at: Time, expires_at: Option<Time>) -> String {
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
    let (level, words) = of_verb(*outcome);
    // The host's own words in a verdict stay in the log.
    let verdict = match verdict {
        Some(Verdict::Locked(_)) => "locked".to_owned(),
        Some(Verdict::Unknown(_)) => "unknown".to_owned(),
        Some(verdict) => verdict.to_string(),
        None => "none".to_owned(),
    };
    let title = format!("{target}: {verb} {words}");
    let text = format!("The verb {verb} on {target} {words}. Verdict: {verdict}.");
    let id = format!("verb-{operation}");
    let kind = NotificationKind::VerbEnded;
    let told = Notification::new(&id, kind, level, &title, &text);
    Some(Notification {
        target: Some(target.clone()),
        ..told
    })
}

const fn of_verb(outcome: VerbOutcome) -> (Level, &'static str) {
    match outcome {
        VerbOutcome::Done => (Level::Info, "is done"),
        VerbOutcome::Failed => (Level::Error, "failed"),
        VerbOutcome::Refused => (Level::Error, "was refused by the gate"),
        VerbOutcome::Unreachable => (Level::Error, "did not reach the host, or got no answer"),
        VerbOutcome::Interrupted => (Level::Error, "was interrupted by the server's end"),
    }
}

const fn of_turn(outcome: TurnOutcome) -> (Level, &'static str) {
    match outcome {
        TurnOutcome::Done => (Level::Info, "is done"),
        TurnOutcome::Stopped => (Level::Info, "was stopped"),
        TurnOutcome::Failed => (Level::Warning, "failed"),
        TurnOutcome::TimedOut => (Level::Warning, "ran out of time"),
        TurnOutcome::Interrupted => (Level::Warning, "was interrupted"),
    }
}

/// All checks that stand otherwise than they were told, as one notification; notes them as told.
/// A check that was never told counts as green.
pub(crate) fn of_checks(told: &mut Told, now: &[(String, State)]) -> Option<Notification> {
    let mut changed: BTreeMap<State, Vec<&str>> = BTreeMap::new();
    for (name, state) in now {
        let before = told.checks.get(name).map_or("green", String::as_str);
        if before != state.as_str() {
            changed.entry(*state).or_default().push(name);
        }
    }
    let worst = *changed.keys().next_back()?;
    let parts = changed
        .iter()
        .rev()
        .map(|(state, names)| listed(*state, names));
    let text = parts.collect::<Vec<_>>().join(" ");
    for (name, state) in now {
        match state {
            State::Green => drop(told.checks.remove(name)),
            state => drop(told.checks.insert(name.clone(), state.as_str().to_owned())),
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
        State::Green if told.checks.is_empty() => (
            Level::Info,
            "breakglass: every check holds again".to_owned(),
        ),
        State::Green => (
            Level::Info,
            format!("breakglass: {count} checks hold again"),
        ),
    };
    let id = told.name("ready");
    let kind = NotificationKind::ReadinessChanged;
    Some(Notification::new(&id, kind, level, &title, &text))
}

fn listed(state: State, names: &[&str]) -> String {
    let more = names.len().saturating_sub(MAX_NAMED);
    let named = names.iter().take(MAX_NAMED).copied();
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

/// What vital signs say of a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sign {
    /// It answers.
    Up,
    /// It does not answer, or its machine does not run.
    Down,
    /// They don't tell.
    Unclear,
}

/// Reads the vital signs; while a verb has the machine between two states they say nothing.
pub(crate) fn sign(vitals: &Vitals, verb_runs: bool) -> Sign {
    match (vitals.ssh.state, vitals.vm.state) {
        _ if verb_runs => Sign::Unclear,
        // Another machine may answer at its address, or the host speak of another guest.
        (VitalState::Good, VitalState::Dead) => Sign::Unclear,
        (VitalState::Dead, _) | (_, VitalState::Dead) => Sign::Down,
        (VitalState::Good | VitalState::Slow, _) => Sign::Up,
        (VitalState::Unknown, _) => Sign::Unclear,
    }
}

/// Holds back what does not last: a guest is down once every sign for `down_after` said so, and up
/// again once every sign for `up_after` said that. Signs that tell nothing change nothing.
#[derive(Debug, Clone)]
pub(crate) struct Hold {
    down_after: Duration,
    up_after: Duration,
    /// What was told last.
    down: bool,
    /// Since when the signs have said the opposite.
    since: Option<Duration>,
}

impl Hold {
    /// For a guest that was told to be down, or not.
    pub(crate) const fn new(down: bool, down_after: Duration, up_after: Duration) -> Hold {
        Hold {
            down_after,
            up_after,
            down,
            since: None,
        }
    }

    /// Takes one sign at `now`, a time that only grows; gives what is to be told: whether it is down.
    pub(crate) fn observe(&mut self, now: Duration, sign: Sign) -> Option<bool> {
        let opposite = match sign {
            Sign::Unclear => return None,
            Sign::Down => !self.down,
            Sign::Up => self.down,
        };
        if !opposite {
            self.since = None;
            return None;
        }
        let since = *self.since.get_or_insert(now);
        let wait = if self.down {
            self.up_after
        } else {
            self.down_after
        };
        if now.saturating_sub(since) < wait {
            return None;
        }
        (self.down, self.since) = (!self.down, None);
        Some(self.down)
    }
}

/// A guest that is down, or up again, for this long.
pub(crate) fn of_guest(
    told: &mut Told,
    target: &str,
    down: bool,
    vitals: &Vitals,
    held: Duration,
) -> Notification {
    told.down.retain(|other| other != target);
    let held = held.as_secs();
    let (kind, level, title, text) = if down {
        told.down.push(target.to_owned());
        let why = match vitals.vm.state {
            VitalState::Dead => "its host says that the machine does not run",
            _ => "it does not answer on SSH",
        };
        let title = format!("{target} is down");
        let text = format!("For {held} s now: {why}.");
        (NotificationKind::GuestDown, Level::Error, title, text)
    } else {
        let title = format!("{target} is up again");
        let text = format!("It has answered on SSH for {held} s.");
        (NotificationKind::GuestUp, Level::Info, title, text)
    };
    let id = told.name("guest");
    Notification {
        target: Some(target.to_owned()),
        ..Notification::new(&id, kind, level, &title, &text)
    }
}
