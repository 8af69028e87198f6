//! Verbs, commands, checks, approvals and forensics, a row each.

use std::fmt::Write as _;

use breakglass_model::{Decision, Level, VerbOutcome};

use super::facts::{Bundle, Command, Facts, Question, Run};
use super::markdown::{code, duration, head, row, short};
use super::summary::time;

pub(super) fn write(out: &mut String, facts: &Facts) {
    verbs(out, facts);
    commands(out, facts);
    checks(out, facts);
    approvals(out, facts);
    forensics(out, facts);
}

/// A section's heading; says so where there is nothing in it.
fn section(out: &mut String, title: &str, all: u64) -> bool {
    let _ = writeln!(out, "\n## {title}");
    if all == 0 {
        out.push_str("\nNone.\n");
    }
    all > 0
}

/// Says how much a table leaves out.
fn rest(out: &mut String, shown: usize, all: u64) {
    let more = all.saturating_sub(shown as u64);
    if more > 0 {
        let _ = writeln!(out, "\n{more} more are in the log and not here.");
    }
}

fn verbs(out: &mut String, facts: &Facts) {
    if !section(out, "Verbs", facts.runs.all) {
        return;
    }
    let names = [
        "at",
        "verb",
        "by",
        "outcome",
        "verdict",
        "took",
        "screen of before",
    ];
    head(out, names);
    for run in &facts.runs.shown {
        row(out, &verb(run));
    }
    rest(out, facts.runs.shown.len(), facts.runs.all);
}

fn verb(run: &Run) -> [String; 7] {
    let end = run.end.as_ref();
    let how = end.map_or("running", |end| outcome(end.outcome));
    let verdict = end.and_then(|end| end.verdict.as_deref()).map(short);
    let took = end.map(|end| duration(end.took_ms));
    let picture = end.filter(|end| end.picture);
    [
        time(run.at),
        short(run.verb.as_str()),
        short(&run.who),
        how.to_owned(),
        verdict.unwrap_or_default(),
        took.unwrap_or_default(),
        picture.map_or(String::new(), |_| code(&run.operation.to_string())),
    ]
}

fn commands(out: &mut String, facts: &Facts) {
    if !section(out, "Commands", facts.commands.all) {
        return;
    }
    head(out, ["at", "host", "command", "exit", "took", "caused by"]);
    for command in &facts.commands.shown {
        row(out, &self::command(command));
    }
    rest(out, facts.commands.shown.len(), facts.commands.all);
}

fn command(command: &Command) -> [String; 6] {
    let end = command.end.as_ref();
    let exit = end.map_or("running".to_owned(), |end| {
        let code = end.exit_code.map(|exit| exit.to_string());
        let signal = end
            .signal
            .as_deref()
            .map(|it| format!("signal {}", short(it)));
        code.or(signal).unwrap_or_else(|| "cut off".to_owned())
    });
    let took = end.map(|end| duration(end.took_ms));
    let call = command.tool_call.as_deref().map(short);
    let call = call.map_or(String::new(), |call| format!(", {call}"));
    [
        time(command.at),
        short(&command.host),
        short(&command.text),
        exit,
        took.unwrap_or_default(),
        format!("turn {}{call}", command.turn),
    ]
}

fn checks(out: &mut String, facts: &Facts) {
    let all = facts.checks.all + facts.findings.all;
    if !section(out, "Checks and findings", all) {
        return;
    }
    head(out, ["at", "what", "level", "says", "recommends"]);
    for check in &facts.checks.shown {
        let (at, name) = (time(check.at), short(check.check.as_str()));
        let level = match check.level {
            Level::Info => "well",
            Level::Warning => "warning",
            Level::Error => "error",
        };
        row(
            out,
            &[
                at,
                name,
                level.to_owned(),
                short(&check.summary),
                String::new(),
            ],
        );
    }
    for finding in &facts.findings.shown {
        let (at, name) = (time(finding.at), short(&finding.signature));
        let advice = finding
            .recommend
            .map_or(String::new(), |verb| short(verb.as_str()));
        row(
            out,
            &[
                at,
                name,
                "finding".to_owned(),
                short(&finding.summary),
                advice,
            ],
        );
    }
    let shown = facts.checks.shown.len() + facts.findings.shown.len();
    rest(out, shown, all);
}

fn approvals(out: &mut String, facts: &Facts) {
    if !section(out, "Approvals", facts.questions.all) {
        return;
    }
    head(out, ["at", "on", "command", "answer", "by", "note"]);
    for question in &facts.questions.shown {
        row(out, &approval(question));
    }
    rest(out, facts.questions.shown.len(), facts.questions.all);
}

fn approval(question: &Question) -> [String; 6] {
    let (answer, who, note) = match &question.answer {
        None => ("open", String::new(), String::new()),
        Some((decision, who, note)) => {
            let note = note.as_deref().map(short).unwrap_or_default();
            (decided(*decision), short(who), note)
        }
    };
    [
        time(question.at),
        short(&question.place),
        short(&question.command),
        answer.to_owned(),
        who,
        note,
    ]
}

fn forensics(out: &mut String, facts: &Facts) {
    if !section(out, "Forensics", facts.bundles.all) {
        return;
    }
    head(
        out,
        ["verb", "operation", "on the host in", "evidence", "missing"],
    );
    for bundle in &facts.bundles.shown {
        let run = facts.runs.shown.iter();
        let run = run.rev().find(|run| run.operation == bundle.operation);
        row(out, &forensic(bundle, run));
    }
    rest(out, facts.bundles.shown.len(), facts.bundles.all);
}

fn forensic(bundle: &Bundle, run: Option<&Run>) -> [String; 5] {
    let named = |there: bool| {
        let pieces = bundle.evidence.iter().filter(|(_, is)| *is == there);
        let pieces: Vec<String> = pieces.map(|(name, _)| short(name)).collect();
        pieces.join(", ")
    };
    let running = run.is_some_and(|run| run.end.is_none());
    let missing = if running {
        "being taken"
    } else {
        "not kept there"
    };
    let place = bundle.place.as_deref();
    [
        run.map(|run| short(run.verb.as_str())).unwrap_or_default(),
        code(&bundle.operation.to_string()),
        place.map_or(missing.to_owned(), short),
        named(true),
        named(false),
    ]
}

/// An outcome in a word or two.
pub(super) const fn outcome(outcome: VerbOutcome) -> &'static str {
    match outcome {
        VerbOutcome::Done => "done",
        VerbOutcome::Failed => "failed",
        VerbOutcome::Refused => "refused",
        VerbOutcome::Unreachable => "not reached",
        VerbOutcome::Interrupted => "interrupted",
    }
}

/// A decision in a word.
pub(super) const fn decided(decision: Decision) -> &'static str {
    match decision {
        Decision::Allow => "allowed",
        Decision::Deny => "denied",
        Decision::Void => "void",
    }
}
