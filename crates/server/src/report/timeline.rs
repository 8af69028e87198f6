//! The timeline of a report: every event in its order, with its actor.
//!
//! It is written event by event, and stops at a fixed size.

use std::fmt::Write as _;

use breakglass_model::{CommandMode, CommandStream, Event, EventBody, Time};

use super::labels::{self, time};
use super::markdown::{code, duration, fence, short};

/// Maximum size of the timeline, in bytes: more than people read, small enough for a phone.
const TIMELINE_MAX_BYTES: usize = 4 * 1024 * 1024;
/// Maximum length of one text, in bytes.
const TEXT_MAX_BYTES: usize = 64 * 1024;

#[derive(Debug, Default)]
pub(super) struct Timeline {
    text: String,
    /// Output lines of the running verb, not yet written.
    lines: String,
    /// Number of events beyond the size limit.
    omitted: u64,
}

impl Timeline {
    pub(super) fn finish(mut self) -> String {
        self.flush();
        if self.omitted > 0 {
            let _ = writeln!(
                self.text,
                "\n{} more events are only in the log.",
                self.omitted
            );
        }
        self.text
    }

    pub(super) fn add(&mut self, event: &Event) {
        if self.text.len() + self.lines.len() > TIMELINE_MAX_BYTES {
            self.omitted += 1;
            return;
        }
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
        let actor = short(&event.actor.to_string());
        let _ = writeln!(self.text, "\n{} {actor} — {what}", time(event.at));
        if let Some(block) = block {
            fence(&mut self.text, &block, TEXT_MAX_BYTES);
        }
    }

    fn flush(&mut self) {
        if !self.lines.is_empty() {
            let lines = std::mem::take(&mut self.lines);
            fence(&mut self.text, &lines, TEXT_MAX_BYTES);
        }
    }
}

/// One line about the event, and the text to show below it in a fence.
fn describe(body: &EventBody) -> (String, Option<String>) {
    match body {
        EventBody::IncidentOpened { target, .. } => (format!("opened for {}", short(target)), None),
        EventBody::Prompt { text, .. } => ("prompted the agent".into(), Some(text.clone())),
        EventBody::TurnStarted {
            turn, agent, model, ..
        } => {
            let agent = agent
                .as_deref()
                .map(|name| format!("agent {}, ", short(name)));
            let agent = agent.unwrap_or_default();
            let model = short(model);
            (format!("turn {turn} started, {agent}model {model}"), None)
        }
        EventBody::Text { text, .. } => ("wrote".into(), Some(text.clone())),
        EventBody::ToolStarted { tool, summary, .. } => {
            (format!("used {}", short(tool)), Some(summary.clone()))
        }
        EventBody::ToolFinished {
            is_error, output, ..
        } => {
            let how = if *is_error {
                "the tool failed"
            } else {
                "the tool returned"
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
                duration(*duration_ms)
            );
            (what, reason.clone())
        }
        EventBody::VerbStarted { verb, target, .. } => (
            format!("ran {} on {}", short(verb.as_str()), short(target)),
            None,
        ),
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
                .as_ref()
                .map_or(String::new(), |v| format!(", {}", short(&v.to_string())));
            let took = duration(*duration_ms);
            let kept = if *picture {
                "; a screenshot from before is stored"
            } else {
                ""
            };
            let what = format!(
                "{} ended: {}{verdict}, after {took}{kept}",
                short(verb.as_str()),
                labels::outcome(*outcome)
            );
            (what, Some(message.clone()))
        }
        EventBody::VerbOutput { .. } => (String::new(), None),
        other => describe_rest(other),
    }
}

/// The expiry of a question.
fn expiry(expires_at: Option<Time>) -> String {
    expires_at.map_or_else(String::new, |at| {
        format!(" (void at {} without an answer)", time(at))
    })
}

fn describe_rest(body: &EventBody) -> (String, Option<String>) {
    match body {
        EventBody::CommandStarted {
            host, mode, text, ..
        } => match mode {
            CommandMode::Exec => (format!("a command on {}", short(host)), Some(text.clone())),
            CommandMode::Shell => (format!("a shell on {}", short(host)), None),
            CommandMode::Subsystem => (format!("{} on {}", short(text), short(host)), None),
        },
        EventBody::CommandOutput { stream, text, .. } => match stream {
            CommandStream::Stdin => ("input".into(), Some(text.clone())),
            CommandStream::Stdout | CommandStream::Stderr => ("output".into(), Some(text.clone())),
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
                .map(|signal| format!("signal {}", short(signal)));
            let how = exit.or(signal).unwrap_or_else(|| "cut off".into());
            (
                format!("the command ended: {how}, after {}", duration(*duration_ms)),
                message.clone(),
            )
        }
        EventBody::CheckFinished {
            check,
            summary,
            evidence,
            ..
        } => (
            format!("check {}", short(check.as_str())),
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
            expires_at,
            ..
        } => (
            format!(
                "asks for approval to run on {}{}: {}",
                short(place),
                expiry(*expires_at),
                short(touches)
            ),
            Some(command.clone()),
        ),
        EventBody::ApprovalDecided { decision, note, .. } => (
            format!("answered the question: {}", labels::decision(*decision)),
            note.clone(),
        ),
        EventBody::AutonomyChanged { autonomy } => (
            format!("set the agent's autonomy to {}", code(autonomy.as_str())),
            None,
        ),
        EventBody::CutOffChanged { cut_off: true } => ("cut the agent off".into(), None),
        EventBody::CutOffChanged { cut_off: false } => ("lifted the cut-off".into(), None),
        EventBody::HostKeyChanged {
            host,
            pinned,
            shown,
        } => (
            format!("{} has another host key", short(host)),
            Some(format!("{pinned}\n{shown}")),
        ),
        EventBody::ReadinessChanged {
            check,
            before,
            now,
            evidence,
            remedy,
        } => {
            let before = before.as_str();
            let now = now.as_str();
            let remedy = remedy.iter().map(|remedy| format!("\n→ {remedy}"));
            let what = format!("readiness: {} is {now}, was {before}", short(check));
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
