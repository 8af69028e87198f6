//! `GET /api/incidents/{incident}/report.md`: the log as a Markdown report for people.
//!
//! Nothing that a machine, a model or a person wrote is Markdown here: long texts stand in
//! fences longer than any run of backticks within, short ones in code spans. So no output can
//! forge a heading, a link or a picture in the report.

use std::fmt::Write as _;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use breakglass_journal::{
    CommandMode, CommandStream, Event, EventBody, IncidentId, IncidentSummary,
};

use super::extract::PathOf;
use super::incidents;
use super::problem::Problem;
use super::state::AppState;
use crate::auth::Identity;

const PAGE: usize = 1_000;
/// Longest report, in bytes: more than anybody reads, less than hurts a phone.
const LIMIT: usize = 4 * 1024 * 1024;

pub(super) async fn show(
    State(state): State<AppState>,
    _: Identity,
    PathOf(incident): PathOf<IncidentId>,
) -> Result<Response, Problem> {
    let summary = incidents::find(&state, incident).await?;
    let mut report = Report::begin(&summary);
    let mut after = 0;
    loop {
        let page = state.journal.events(incident, after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = last.seq;
        for event in &page {
            report.add(event);
        }
        if page.len() < PAGE || report.text.len() > LIMIT {
            break;
        }
    }
    let headers = [
        (
            header::CONTENT_TYPE,
            "text/markdown; charset=utf-8".to_owned(),
        ),
        (
            header::CONTENT_DISPOSITION,
            format!("attachment; filename=\"incident-{incident}.md\""),
        ),
    ];
    Ok((headers, report.end(summary.head.saturating_sub(after))).into_response())
}

/// The report of an incident whose events are all at hand.
#[must_use]
pub fn render(summary: &IncidentSummary, events: &[Event]) -> String {
    let mut report = Report::begin(summary);
    for event in events {
        report.add(event);
    }
    report.end(0)
}

struct Report {
    text: String,
    /// Lines of the verb that is printing.
    lines: String,
}

impl Report {
    fn begin(summary: &IncidentSummary) -> Report {
        let drill = if summary.drill { " (DRILL)" } else { "" };
        let closed = summary.closed_at.as_deref().unwrap_or("still open");
        let text = format!(
            "# Incident on {}{drill}\n\n| | |\n| --- | --- |\n| incident | {} |\n| opened | {} |\n\
             | closed | {} |\n| events | {} |\n\n## Timeline\n",
            code(&summary.target),
            code(&summary.incident.to_string()),
            code(&summary.opened_at),
            code(closed),
            summary.head,
        );
        Report {
            text,
            lines: String::new(),
        }
    }

    fn end(mut self, left_out: u64) -> String {
        self.flush();
        if left_out > 0 {
            let _ = writeln!(
                self.text,
                "\n{left_out} more events are in the log and not here."
            );
        }
        self.text
    }

    fn add(&mut self, event: &Event) {
        if let EventBody::VerbOutput { line, .. } = &event.body {
            self.lines.push_str(line);
            self.lines.push('\n');
            return;
        }
        self.flush();
        let (what, block) = describe(&event.body);
        if what.is_empty() {
            return;
        }
        let time = event.at.get(11..19).unwrap_or(&event.at);
        let who = code(&event.actor.to_string());
        let _ = writeln!(self.text, "\n**{}** {who} — {what}", plain(time));
        if let Some(block) = block {
            self.fence(&block);
        }
    }

    fn flush(&mut self) {
        if !self.lines.is_empty() {
            let lines = std::mem::take(&mut self.lines);
            self.fence(&lines);
        }
    }

    fn fence(&mut self, block: &str) {
        let fence = "`".repeat(3.max(longest_run(block) + 1));
        let _ = writeln!(
            self.text,
            "\n{fence}text\n{}\n{fence}",
            visible(block).trim_end()
        );
    }
}

/// One line of our own words, and what stands below it in a fence.
fn describe(body: &EventBody) -> (String, Option<String>) {
    match body {
        EventBody::IncidentOpened { target, .. } => (format!("opened for {}", code(target)), None),
        EventBody::Prompt { text, .. } => ("asked the agent".into(), Some(text.clone())),
        EventBody::TurnStarted { turn, model, .. } => {
            (format!("turn {turn} began, model {}", code(model)), None)
        }
        EventBody::Text { text, .. } => ("said".into(), Some(text.clone())),
        EventBody::ToolStarted { tool, summary, .. } => {
            (format!("used {}", code(tool)), Some(summary.clone()))
        }
        EventBody::ToolFinished {
            is_error, output, ..
        } => {
            let how = if *is_error {
                "the tool failed"
            } else {
                "the tool answered"
            };
            (
                how.into(),
                (!output.trim().is_empty()).then(|| output.clone()),
            )
        }
        EventBody::TurnEnded {
            turn,
            outcome,
            reason,
            duration_ms,
            ..
        } => {
            let what = format!(
                "turn {turn} ended: {outcome:?} after {}",
                seconds(*duration_ms)
            );
            (what, reason.clone())
        }
        EventBody::VerbStarted { verb, target, .. } => {
            (format!("ran {} on {}", code(verb), code(target)), None)
        }
        EventBody::VerbFinished {
            verb,
            outcome,
            verdict,
            message,
            duration_ms,
            picture,
            ..
        } => {
            let verdict = verdict
                .as_deref()
                .map_or(String::new(), |v| format!(", {}", code(v)));
            let took = seconds(*duration_ms);
            let kept = if *picture {
                "; the screen of before is kept"
            } else {
                ""
            };
            let what = format!(
                "{} ended: {outcome:?}{verdict}, after {took}{kept}",
                code(verb)
            );
            (what, Some(message.clone()))
        }
        EventBody::VerbOutput { .. } => (String::new(), None),
        other => describe_rest(other),
    }
}

fn describe_rest(body: &EventBody) -> (String, Option<String>) {
    match body {
        EventBody::CommandStarted {
            host, mode, text, ..
        } => match mode {
            CommandMode::Exec => (format!("a command on {}", code(host)), Some(text.clone())),
            CommandMode::Shell => (format!("a shell on {}", code(host)), None),
            CommandMode::Subsystem => (format!("{} on {}", code(text), code(host)), None),
        },
        EventBody::CommandOutput { stream, text, .. } => match stream {
            CommandStream::Stdin => ("it was sent".into(), Some(text.clone())),
            CommandStream::Stdout | CommandStream::Stderr => {
                ("it printed".into(), Some(text.clone()))
            }
        },
        EventBody::CommandFinished {
            exit_code,
            signal,
            duration_ms,
            message,
            ..
        } => {
            let exit = exit_code.map(|exit| format!("exit code {exit}"));
            let signal = signal
                .as_deref()
                .map(|signal| format!("signal {}", code(signal)));
            let how = exit.or(signal).unwrap_or_else(|| "cut off".into());
            (
                format!("the command ended: {how}, after {}", seconds(*duration_ms)),
                message.clone(),
            )
        }
        EventBody::CheckFinished {
            check,
            summary,
            evidence,
            ..
        } => (
            format!("check {}", code(check)),
            Some(format!("{summary}\n{evidence}")),
        ),
        EventBody::Finding {
            summary, evidence, ..
        } => (
            "finding".into(),
            Some(format!("{summary}\n{}", evidence.join("\n"))),
        ),
        EventBody::ApprovalRequested {
            place,
            command,
            touches,
            ..
        } => (
            format!("asks for leave to run on {}: {touches}", code(place)),
            Some(command.clone()),
        ),
        EventBody::ApprovalDecided { decision, note, .. } => {
            (format!("settled the question: {decision:?}"), note.clone())
        }
        EventBody::AutonomyChanged { autonomy } => (
            format!("set the agent's autonomy to {}", code(autonomy.as_str())),
            None,
        ),
        EventBody::CutOffChanged { cut_off: true } => ("cut the agent off".into(), None),
        EventBody::CutOffChanged { cut_off: false } => ("let the agent back in".into(), None),
        EventBody::HostKeyChanged {
            host,
            pinned,
            shown,
        } => (
            format!("{} shows another key", code(host)),
            Some(format!("{pinned}\n{shown}")),
        ),
        EventBody::ReadinessChanged {
            check,
            before,
            now,
            evidence,
            remedy,
        } => {
            let (before, now) = (before.as_str(), now.as_str());
            let remedy = remedy.iter().map(|remedy| format!("\n→ {remedy}"));
            let what = format!("readiness: {} is {now}, was {before}", code(check));
            (
                what,
                Some(remedy.fold(evidence.clone(), |all, it| all + &it)),
            )
        }
        EventBody::Notice { level, message, .. } => {
            (format!("notice ({level:?})"), Some(message.clone()))
        }
        EventBody::IncidentClosed {} => ("closed the incident".into(), None),
        _ => (String::new(), None),
    }
}

fn seconds(ms: u64) -> String {
    format!("{}.{} s", ms / 1000, ms % 1000 / 100)
}

/// A code span that its content can't leave.
fn code(text: &str) -> String {
    let text = plain(text);
    let ticks = "`".repeat(longest_run(&text) + 1);
    let pad = if text.starts_with('`') || text.ends_with('`') || text.is_empty() {
        " "
    } else {
        ""
    };
    format!("{ticks}{pad}{text}{pad}{ticks}")
}

/// One line, without what would end a table cell.
fn plain(text: &str) -> String {
    visible(text).replace(['\n', '|'], " ")
}

/// Control sequences as pictures, so that a terminal that shows the report obeys none.
fn visible(text: &str) -> String {
    let picture = |c: char| match c {
        '\n' | '\t' => c,
        '\r' => '\u{240d}',
        '\0'..='\u{1f}' => char::from_u32(0x2400 + c as u32).unwrap_or('\u{fffd}'),
        '\u{7f}' => '\u{2421}',
        '\u{80}'..='\u{9f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        other => other,
    };
    text.chars().map(picture).collect()
}

fn longest_run(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_can_leave_its_fence_or_its_code_span() {
        for text in [
            "```\n# forged",
            "````",
            "a ` b `` c",
            "x\n~~~\n# forged",
            "\u{1b}[31m",
        ] {
            let mut report = Report {
                text: String::new(),
                lines: String::new(),
            };
            report.fence(text);
            let fence = report
                .text
                .trim_start()
                .split("text")
                .next()
                .unwrap()
                .to_owned();
            let inner = report
                .text
                .trim()
                .strip_prefix(&format!("{fence}text\n"))
                .unwrap();
            let inner = inner.strip_suffix(&fence).unwrap();
            assert!(!inner.contains(&fence), "{text:?}");
            assert!(!report.text.contains('\u{1b}'));
            let span = code(text);
            let ticks: String = span.chars().take_while(|&c| c == '`').collect();
            assert!(!span.contains('\n'));
            assert!(
                !span[ticks.len()..span.len() - ticks.len()].contains(&ticks),
                "{span}"
            );
        }
    }
}
