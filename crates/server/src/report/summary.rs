//! The summary at the head of a report, to be read in a minute.

use std::fmt::Write as _;

use breakglass_log::IncidentSummary;
use breakglass_model::{Decision, Level};

use super::actions;
use super::facts::{Agent, Facts, Listed, Question};
use super::labels::{outcome, time};
use super::markdown::{code, count, duration, head, row, short};

/// Maximum number of lines of one list in the summary. The tables have more.
const MAX_LINES: usize = 20;

pub(super) fn write(
    out: &mut String,
    incident: &IncidentSummary,
    degraded: Option<&str>,
    now: Option<&str>,
    facts: &Facts,
) {
    let drill = if incident.drill { " (DRILL)" } else { "" };
    let _ = writeln!(
        out,
        "# Incident on {}{drill}\n\n## Summary",
        short(&incident.target)
    );
    head(out, ["", ""]);
    for (name, value) in rows(incident, degraded, now, facts) {
        row(out, &[name.to_owned(), value]);
    }
    let found = facts.findings.shown.iter();
    let found = found.map(|it| format!("- {} {}", time(it.at), short(&it.summary)));
    list(out, "What was found", found, facts.findings.all);
    let done = actions::lines(facts).into_iter().enumerate();
    let done = done.map(|(index, action)| format!("{}. {action}", index + 1));
    let all = facts.runs.all + facts.agent.changing_commands;
    list(out, "What was done", done, all);
}

fn rows(
    incident: &IncidentSummary,
    degraded: Option<&str>,
    now: Option<&str>,
    facts: &Facts,
) -> Vec<(&'static str, String)> {
    let until = incident.closed_at.unwrap_or(incident.last_at);
    let closed = match (&incident.closed_at, &facts.closed_by) {
        (None, _) => "still open".to_owned(),
        (Some(at), Some(who)) => format!("{} by {}", code(&at.to_string()), short(who)),
        (Some(at), None) => code(&at.to_string()),
    };
    let mut rows = vec![
        ("incident", code(&incident.incident.to_string())),
        ("machine", short(&incident.target)),
        ("opened", code(&incident.opened_at.to_string())),
        ("closed", closed),
        ("lasted", duration(until.ms_since(incident.opened_at))),
        ("participants", actors(&facts.actors)),
        ("found", found(facts)),
        ("done", done(facts)),
        ("machine state", machine_state(facts, now)),
        ("agent", agent(facts)),
        ("approvals", approvals(&facts.questions)),
        ("log", log_state(incident, degraded, facts)),
    ];
    if let Some(at) = &incident.imported_at {
        let value = format!("{} from another log", code(&at.to_string()));
        rows.insert(4, ("imported", value));
    }
    rows
}

fn found(facts: &Facts) -> String {
    let bad = facts.checks.shown.iter();
    let bad = bad.filter(|check| check.level != Level::Info).count();
    let checks = count(facts.checks.all, "check");
    let findings = count(facts.findings.all, "finding");
    format!("{findings}; {checks}, {bad} with a problem")
}

fn list(out: &mut String, title: &str, lines: impl Iterator<Item = String>, all: u64) {
    let _ = writeln!(out, "\n### {title}\n");
    let lines: Vec<String> = lines.take(MAX_LINES).collect();
    if lines.is_empty() {
        out.push_str("Nothing.\n");
    }
    lines.iter().for_each(|line| {
        let _ = writeln!(out, "{line}");
    });
    let more = all.saturating_sub(lines.len() as u64);
    if more > 0 {
        let _ = writeln!(out, "\n{more} more: see below.");
    }
}

fn actors(actors: &Listed<String>) -> String {
    let shown: Vec<String> = actors
        .shown
        .iter()
        .take(MAX_LINES)
        .map(|it| short(it))
        .collect();
    let more = actors.all.saturating_sub(shown.len() as u64);
    let more = (more > 0).then(|| format!(" and {more} more"));
    shown.join(", ") + &more.unwrap_or_default()
}

fn done(facts: &Facts) -> String {
    let verbs = count(facts.runs.all, "verb");
    match facts.agent.changing_commands {
        0 => verbs,
        changing => format!(
            "{verbs}, {} of the agent",
            count(changing, "changing command")
        ),
    }
}

/// The state of the machine now, or when the incident was closed. If neither was measured, the results
/// of the last verb and the last check.
fn machine_state(facts: &Facts, now: Option<&str>) -> String {
    if let Some(now) = now {
        return format!("now: {}", short(now));
    }
    if let Some(measured) = &facts.last_measured {
        return format!("{}: {}", time(measured.at), short(&measured.text));
    }
    let verb = facts.last_run.as_ref().map(|end| {
        let verdict = end
            .verdict
            .as_deref()
            .map_or("no verdict".to_owned(), short);
        let what = format!("{} {}", short(end.verb.as_str()), outcome(end.outcome));
        format!(
            "{what}, {verdict}, at {}: {}",
            time(end.at),
            short(&end.message)
        )
    });
    let check = facts.checks.shown.last().map(|check| {
        format!(
            "check {} at {}: {}",
            short(check.check.as_str()),
            time(check.at),
            short(&check.summary)
        )
    });
    let parts: Vec<String> = verb.into_iter().chain(check).collect();
    if parts.is_empty() {
        return "not measured; no verb or check was run".to_owned();
    }
    parts.join("; ")
}

fn agent(facts: &Facts) -> String {
    let agent: &Agent = &facts.agent;
    if agent.turns == 0 {
        return "no turns".to_owned();
    }
    let names = ["done", "failed", "stopped", "timed out", "interrupted"];
    let completed = names.iter().zip(agent.turns_by_outcome);
    let mut turns: Vec<String> = completed
        .filter(|(_, n)| *n > 0)
        .map(|(name, n)| format!("{n} {name}"))
        .collect();
    let running = agent
        .turns
        .saturating_sub(agent.turns_by_outcome.iter().sum());
    if running > 0 {
        turns.push(format!("{running} running"));
    }
    let commands = count(facts.commands.all, "command");
    let failed = agent.failed_commands;
    let mut text = format!(
        "{} ({}), {commands} ({failed} failed), {:.4} USD",
        count(agent.turns, "turn"),
        turns.join(", "),
        agent.cost_usd
    );
    if let Some(autonomy) = agent.autonomy {
        let _ = write!(text, ", autonomy {}", code(autonomy.as_str()));
    }
    if agent.cut_off {
        text.push_str(", cut off");
    }
    text
}

fn approvals(questions: &Listed<Question>) -> String {
    if questions.all == 0 {
        return "none".to_owned();
    }
    let answered = |wanted: Option<Decision>| {
        let answers = questions.shown.iter();
        let answers =
            answers.map(|question| question.answer.as_ref().map(|answer| answer.decision));
        answers.filter(|answer| *answer == wanted).count()
    };
    format!(
        "{}: {} allowed, {} denied, {} void, {} open",
        questions.all,
        answered(Some(Decision::Allow)),
        answered(Some(Decision::Deny)),
        answered(Some(Decision::Void)),
        answered(None)
    )
}

/// Whether the log is complete, as far as the log itself shows it.
fn log_state(incident: &IncidentSummary, degraded: Option<&str>, facts: &Facts) -> String {
    let events = count(incident.head, "event");
    let chain = format!("{events}, last hash {}", code(&facts.head_hash));
    let gaps = facts.gaps.shown.last().map(|gap| {
        format!(
            "DEGRADED: {}, the last at {}: {}",
            count(facts.gaps.all, "notice"),
            time(gap.at),
            short(&gap.text)
        )
    });
    let now = degraded.map(|reason| format!("DEGRADED now: {}", short(reason)));
    let faults: Vec<String> = gaps.into_iter().chain(now).collect();
    if faults.is_empty() {
        format!("complete: {chain}")
    } else {
        format!("{}; {chain}", faults.join("; "))
    }
}
