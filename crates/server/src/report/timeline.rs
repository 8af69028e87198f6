//! Everything in its order, with who did it.

use std::fmt::Write as _;

use breakglass_model::{CommandMode, CommandStream, Event, EventBody, Time};

use super::markdown::{code, duration, fence, short};
use super::tables::{self, decided};

/// Longest timeline, in bytes: more than anybody reads, less than hurts a phone.
const LIMIT: usize = 4 * 1024 * 1024;
/// Most bytes of one text.
const BLOCK: usize = 64 * 1024;

#[derive(Debug, Default)]
pub(super) struct Timeline {
    text: String,
    /// Lines of the verb that is printing.
    lines: String,
    /// Events that had no room.
    left_out: u64,
}

impl Timeline {
    pub(super) fn end(mut self) -> String {
        self.flush();
        if self.left_out > 0 {
            let _ = writeln!(
                self.text,
                "\n{} more events are in the log and not here.",
                self.left_out
            );
        }
        self.text
    }

    pub(super) fn add(&mut self, event: &Event) {
        if self.text.len() + self.lines.len() > LIMIT {
            self.left_out += 1;
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
        let time = super::summary::time(event.at);
        let who = short(&event.actor.to_string());
        let _ = writeln!(self.text, "\n{time} {who} — {what}");
        if let Some(block) = block {
            fence(&mut self.text, &block, BLOCK);
        }
    }

    fn flush(&mut self) {
        if !self.lines.is_empty() {
            let lines = std::mem::take(&mut self.lines);
            fence(&mut self.text, &lines, BLOCK);
        }
    }
}

/// One line of our own words, and what stands below it in a fence.
fn describe(body: &EventBody) -> (String, Option<String>) {
    match body {
        EventBody::IncidentOpened { target, .. } => (format!("opened for {}", short(target)), None),
        EventBody::Prompt { text, .. } => ("asked the agent".into(), Some(text.clone())),
        EventBody::TurnStarted {
            turn, agent, model, ..
        } => {
            let agent = agent
                .as_deref()
                .map(|name| format!("agent {}, ", short(name)));
            let (agent, model) = (agent.unwrap_or_default(), short(model));
            (format!("turn {turn} began, {agent}model {model}"), None)
        }
        EventBody::Text { text, .. } => ("said".into(), Some(text.clone())),
        EventBody::ToolStarted { tool, summary, .. } => {
            (format!("used {}", short(tool)), Some(summary.clone()))
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
                "; the screen of before is kept"
            } else {
                ""
            };
            let what = format!(
                "{} ended: {}{verdict}, after {took}{kept}",
                short(verb.as_str()),
                tables::outcome(*outcome)
            );
            (what, Some(message.clone()))
        }
        EventBody::VerbOutput { .. } => (String::new(), None),
        other => describe_rest(other),
    }
}

/// Until when an answer counts.
fn until(expires_at: Option<Time>) -> String {
    expires_at.map_or_else(String::new, |end| {
        format!(" (unanswered, void at {})", super::summary::time(end))
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
                until(*expires_at),
                short(touches)
            ),
            Some(command.clone()),
        ),
        EventBody::ApprovalDecided { decision, note, .. } => (
            format!("settled the question: {}", decided(*decision)),
            note.clone(),
        ),
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
            format!("{} shows another key", short(host)),
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
