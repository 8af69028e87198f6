//! The tables of a report: verbs, commands, checks, approvals and forensics.
//!
//! Each table shows the entries that the facts kept, and the number of those that it omits.

use std::fmt::Write as _;

use breakglass_model::Level;

use super::facts::{Bundle, Command, Facts, Question, Run};
use super::labels::{decision, outcome, time};
use super::markdown::{code, duration, head, row, short};

pub(super) fn write(out: &mut String, facts: &Facts) {
    verbs(out, facts);
    commands(out, facts);
    checks(out, facts);
    approvals(out, facts);
    forensics(out, facts);
}

/// Writes a section's heading, and "None." if it has no entries. Returns whether it has any.
fn section(out: &mut String, title: &str, all: u64) -> bool {
    let _ = writeln!(out, "\n## {title}");
    if all == 0 {
        out.push_str("\nNone.\n");
    }
    all > 0
}

/// Writes the number of entries that a table omits.
fn omitted(out: &mut String, shown: usize, all: u64) {
    let more = all.saturating_sub(shown as u64);
    if more > 0 {
        let _ = writeln!(out, "\n{more} more are only in the log.");
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
        "screenshot before",
    ];
    head(out, names);
    for run in &facts.runs.shown {
        row(out, &verb(run));
    }
    omitted(out, facts.runs.shown.len(), facts.runs.all);
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
    omitted(out, facts.commands.shown.len(), facts.commands.all);
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
    head(out, ["at", "check", "level", "result", "recommendation"]);
    for check in &facts.checks.shown {
        let level = match check.level {
            Level::Info => "ok",
            Level::Warning => "warning",
            Level::Error => "error",
        };
        row(
            out,
            &[
                time(check.at),
                short(check.check.as_str()),
                level.to_owned(),
                short(&check.summary),
                String::new(),
            ],
        );
    }
    for finding in &facts.findings.shown {
        let recommendation = finding
            .recommend
            .map_or(String::new(), |verb| short(verb.as_str()));
        row(
            out,
            &[
                time(finding.at),
                short(&finding.signature),
                "finding".to_owned(),
                short(&finding.summary),
                recommendation,
            ],
        );
    }
    let shown = facts.checks.shown.len() + facts.findings.shown.len();
    omitted(out, shown, all);
}

fn approvals(out: &mut String, facts: &Facts) {
    if !section(out, "Approvals", facts.questions.all) {
        return;
    }
    head(out, ["at", "on", "command", "answer", "by", "note"]);
    for question in &facts.questions.shown {
        row(out, &approval(question));
    }
    omitted(out, facts.questions.shown.len(), facts.questions.all);
}

fn approval(question: &Question) -> [String; 6] {
    let answer = question.answer.as_ref();
    let note = answer.and_then(|answer| answer.note.as_deref());
    [
        time(question.at),
        short(&question.place),
        short(&question.command),
        answer
            .map_or("open", |answer| decision(answer.decision))
            .to_owned(),
        answer.map(|answer| short(&answer.who)).unwrap_or_default(),
        note.map(short).unwrap_or_default(),
    ]
}

fn forensics(out: &mut String, facts: &Facts) {
    if !section(out, "Forensics", facts.bundles.all) {
        return;
    }
    head(
        out,
        [
            "verb",
            "operation",
            "directory on the host",
            "evidence",
            "missing",
        ],
    );
    for bundle in &facts.bundles.shown {
        let run = facts.runs.shown.iter();
        let run = run.rev().find(|run| run.operation == bundle.operation);
        row(out, &forensic(bundle, run));
    }
    omitted(out, facts.bundles.shown.len(), facts.bundles.all);
}

fn forensic(bundle: &Bundle, run: Option<&Run>) -> [String; 5] {
    let names = |captured: bool| {
        let pieces = bundle
            .evidence
            .iter()
            .filter(|piece| piece.captured == captured);
        let names: Vec<String> = pieces.map(|piece| short(&piece.name)).collect();
        names.join(", ")
    };
    let is_running = run.is_some_and(|run| run.end.is_none());
    let no_directory = if is_running {
        "being captured"
    } else {
        "not stored"
    };
    let directory = bundle.directory.as_deref();
    [
        run.map(|run| short(run.verb.as_str())).unwrap_or_default(),
        code(&bundle.operation.to_string()),
        directory.map_or(no_directory.to_owned(), short),
        names(true),
        names(false),
    ]
}
