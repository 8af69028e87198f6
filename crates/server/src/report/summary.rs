//! What a colleague reads in a minute.

use std::fmt::Write as _;

use breakglass_log::IncidentSummary;
use breakglass_model::{Decision, Level, Time};

use super::deeds;
use super::facts::{Agent, Facts, Listed, Question};
use super::markdown::{code, count, duration, head, row, short};
use super::tables::outcome;

/// Most lines of one list here; the tables have more.
const MOST: usize = 20;

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
    let done = deeds::of(facts).into_iter().enumerate();
    let done = done.map(|(index, deed)| format!("{}. {deed}", index + 1));
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
        ("took part", actors(&facts.actors)),
        ("found", found(facts)),
        ("done", done(facts)),
        ("ended", ended(facts, now)),
        ("agent", agent(facts)),
        ("approvals", approvals(&facts.questions)),
        ("record", record(incident, degraded, facts)),
    ];
    if let Some(at) = &incident.imported_at {
        let value = format!("{} from another record", code(&at.to_string()));
        rows.insert(4, ("imported", value));
    }
    rows
}

fn found(facts: &Facts) -> String {
    let ill = facts.checks.shown.iter();
    let ill = ill.filter(|check| check.level != Level::Info).count();
    let checks = count(facts.checks.all, "check");
    let findings = count(facts.findings.all, "finding");
    format!("{findings}; {checks}, {ill} not well")
}

fn list(out: &mut String, title: &str, lines: impl Iterator<Item = String>, all: u64) {
    let _ = writeln!(out, "\n### {title}\n");
    let lines: Vec<String> = lines.take(MOST).collect();
    if lines.is_empty() {
        out.push_str("Nothing.\n");
    }
    lines.iter().for_each(|line| {
        let _ = writeln!(out, "{line}");
    });
    let more = all.saturating_sub(lines.len() as u64);
    if more > 0 {
        let _ = writeln!(out, "\nAnd {more} more, see below.");
    }
}

fn actors(actors: &Listed<String>) -> String {
    let shown: Vec<String> = actors.shown.iter().take(MOST).map(|it| short(it)).collect();
    let more = actors.all.saturating_sub(shown.len() as u64);
    let more = (more > 0).then(|| format!(" and {more} more"));
    shown.join(", ") + &more.unwrap_or_default()
}

fn done(facts: &Facts) -> String {
    let verbs = count(facts.runs.all, "verb");
    match facts.agent.changing_commands {
        0 => verbs,
        changing => format!(
            "{verbs}, {} of the agent's",
            count(changing, "changing command")
        ),
    }
}

/// How the machine is now, or was when the incident was closed; where neither was measured, what was
/// asked of it last.
fn ended(facts: &Facts, now: Option<&str>) -> String {
    if let Some(now) = now {
        return format!("not yet; measured last: {}", short(now));
    }
    if let Some((at, message)) = &facts.measured {
        return format!("{}: {}", time(*at), short(message));
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
        let (at, name) = (time(check.at), short(check.check.as_str()));
        format!("check {name} at {at}: {}", short(&check.summary))
    });
    let parts: Vec<String> = verb.into_iter().chain(check).collect();
    if parts.is_empty() {
        return "nothing was asked of the machine".to_owned();
    }
    parts.join("; ")
}

fn agent(facts: &Facts) -> String {
    let agent: &Agent = &facts.agent;
    if agent.turns == 0 {
        return "took no turn".to_owned();
    }
    let names = ["done", "failed", "stopped", "timed out", "interrupted"];
    let ended = names.iter().zip(agent.ended).filter(|(_, n)| *n > 0);
    let mut ended: Vec<String> = ended.map(|(name, n)| format!("{n} {name}")).collect();
    let running = agent.turns.saturating_sub(agent.ended.iter().sum());
    if running > 0 {
        ended.push(format!("{running} running"));
    }
    let commands = count(facts.commands.all, "command");
    let failed = agent.failed_commands;
    let mut text = format!(
        "{} ({}), {commands} ({failed} failed), {:.4} USD",
        count(agent.turns, "turn"),
        ended.join(", "),
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
        return "none asked".to_owned();
    }
    let answered = |wanted: Option<Decision>| {
        let answers = questions.shown.iter();
        let answers = answers.map(|question| question.answer.as_ref().map(|(how, ..)| *how));
        answers.filter(|answer| *answer == wanted).count()
    };
    format!(
        "{} asked: {} allowed, {} denied, {} void, {} open",
        questions.all,
        answered(Some(Decision::Allow)),
        answered(Some(Decision::Deny)),
        answered(Some(Decision::Void)),
        answered(None)
    )
}

/// Whether everything is in the record, as far as the record itself can know.
fn record(incident: &IncidentSummary, degraded: Option<&str>, facts: &Facts) -> String {
    let events = count(incident.head, "event");
    let chain = format!("{events}, the last hash is {}", code(&facts.head_hash));
    let gaps = facts.gaps.shown.last().map(|(at, message)| {
        let times = count(facts.gaps.all, "time");
        format!(
            "DEGRADED {times}, the last at {}: {}",
            time(*at),
            short(message)
        )
    });
    let now = degraded.map(|reason| format!("DEGRADED now: {}", short(reason)));
    let faults: Vec<String> = gaps.into_iter().chain(now).collect();
    if faults.is_empty() {
        format!("sound: {chain}")
    } else {
        format!("{}; {chain}", faults.join("; "))
    }
}

/// The time of day of an event.
pub(super) fn time(at: Time) -> String {
    code(&at.time_of_day())
}
