//! The messages of a turn to the operator.

use std::time::Duration;

use breakglass_model::TurnOutcome;

use crate::wire::{ApiRetry, TurnResult};

/// Maximum length of a sentence from the CLI.
const SENTENCE_MAX_CHARS: usize = 600;

/// Minimum delay of a retry that is mentioned.
const MENTIONED_DELAY_MIN: Duration = Duration::from_secs(10);

/// Maximum number of errors that are mentioned.
const ERRORS_MAX: usize = 5;

pub(super) const NO_ANSWER: &str = "The agent ended without an answer. Its actions are listed above; ask it for \
     its findings.";

pub(super) const COMPACTING: &str = "The agent's conversation has grown long and is being shortened. \
     This can take some minutes.";

pub(super) fn unreachable(retry: &ApiRetry<'_>) -> String {
    let error = retry.error.as_deref().map(bounded_line).unwrap_or_default();
    let reason = match (retry.error_status, error.as_str()) {
        (Some(status), "") => status.to_string(),
        (Some(status), error) => format!("{status} {error}"),
        // A sentence, and not a word of the claude CLI.
        (None, error) if error.contains(' ') => error.to_owned(),
        (None, "" | "unknown") => "no connection".to_owned(),
        (None, error) => format!("no connection, {error}"),
    };
    let next = if retry.delay < MENTIONED_DELAY_MIN {
        String::new()
    } else {
        format!(", the next in {}", duration_text(retry.delay))
    };
    format!(
        "The model does not answer ({reason}): attempt {} of {}{next}. Power and checks work without it.",
        retry.attempt, retry.max_retries
    )
}

pub(super) fn silent(so_far: Duration, limit: Duration) -> String {
    format!(
        "The agent has printed nothing for {}. It will be ended after {}; the next prompt then resumes \
         its session. Power and checks work without it.",
        duration_text(so_far),
        duration_text(limit)
    )
}

/// Why a turn failed. Prefers the text of the result to `synthetic`, the CLI's text in the model's place.
pub(super) fn failed(agent: &str, result: &TurnResult<'_>, synthetic: Option<&str>) -> String {
    let text = result.result.as_deref().map(bounded_line);
    let text = text.filter(|text| !text.is_empty());
    let text = text.or_else(|| synthetic.map(str::to_owned));
    let kind = result.subtype.as_deref().map(bounded_line);
    let kind = kind.filter(|kind| !matches!(kind.as_str(), "" | "success"));
    let kind = kind.map(|kind| format!(" ({kind})")).unwrap_or_default();
    match (text, errors(result)) {
        (Some(text), None) => text,
        (Some(text), Some(errors)) => format!("{} {errors}", sentence(&text)),
        (None, Some(errors)) => {
            format!("{agent} gave up{kind}: {errors} Prompt again to continue.")
        }
        (None, None) if kind.is_empty() => format!("{agent} gave up without a reason."),
        (None, None) => format!("{agent} gave up{kind}. Prompt again to continue."),
    }
}

/// The first errors of a turn, without diagnostics for the CLI's developers.
fn errors(result: &TurnResult<'_>) -> Option<String> {
    let errors = result.errors.iter().map(|error| bounded_line(error));
    let errors = errors.filter(|error| !error.is_empty() && !error.starts_with("[ede_diagnostic]"));
    let errors: Vec<String> = errors
        .take(ERRORS_MAX)
        .map(|error| sentence(&error))
        .collect();
    (!errors.is_empty()).then(|| errors.join(" "))
}

fn sentence(text: &str) -> String {
    if text.ends_with(['.', '!', '?', '…']) {
        text.to_owned()
    } else {
        format!("{text}.")
    }
}

/// The CLI's text in the model's place, if the turn did not fail.
pub(super) fn cli_says(agent: &str, text: &str) -> String {
    format!("{agent} says: {}", sentence(text))
}

pub(super) fn not_compacted(reason: Option<&str>) -> String {
    let reason = reason.map(bounded_line).filter(|reason| !reason.is_empty());
    let reason = reason.as_deref().unwrap_or("no reason given");
    format!(
        "The agent's conversation could not be shortened ({reason}). If the agent no longer answers, open a new incident."
    )
}

/// A turn that the CLI began by itself has failed.
pub(super) fn own_turn_failed(reason: &str) -> String {
    format!(
        "The agent failed to handle a background task that had ended: {}",
        sentence(reason)
    )
}

/// `outcome` is how the CLI ended the turn.
pub(super) fn stopped(outcome: TurnOutcome) -> &'static str {
    if outcome == TurnOutcome::Interrupted {
        "Stopped by the operator. The agent did not end by itself, so its processes were \
         killed; the next prompt resumes its session."
    } else {
        "Stopped by the operator."
    }
}

pub(super) fn timed_out(limit: Duration) -> String {
    format!(
        "The turn took longer than {} and was ended. Prompt again to continue.",
        duration_text(limit)
    )
}

pub(super) fn cut_off(outcome: TurnOutcome) -> &'static str {
    match outcome {
        TurnOutcome::Stopped => "Cut off: the operator stopped the turn.",
        TurnOutcome::TimedOut => "Cut off: the turn reached its time limit.",
        TurnOutcome::Interrupted => "Cut off: the agent's process is gone.",
        TurnOutcome::Done | TurnOutcome::Failed => "The turn ended before this tool did.",
    }
}

pub(super) fn no_such_tool(tool: &str) -> String {
    format!(
        "{} is not allowed here, only Bash, Read, Grep and Glob.",
        bounded_line(tool)
    )
}

/// The CLI's text as one line of limited length.
pub(super) fn bounded_line(text: &str) -> String {
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut short: String = flat
        .chars()
        .filter(|c| !c.is_control())
        .take(SENTENCE_MAX_CHARS)
        .collect();
    if short.len() < flat.len() && flat.chars().count() > SENTENCE_MAX_CHARS {
        short.push('…');
    }
    short
}

fn duration_text(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds / 60, seconds % 60) {
        (0, 0) => format!("{} ms", duration.as_millis()),
        (0, seconds) => format!("{seconds} s"),
        (minutes, 0) => format!("{minutes} min"),
        (minutes, seconds) => format!("{minutes} min {seconds} s"),
    }
}
