//! The sentences that a turn tells the operator.

use std::time::Duration;

use breakglass_model::TurnOutcome;

use crate::wire::{ApiRetry, Ending};

/// Longest sentence taken over from the CLI, in characters.
const MAX_SENTENCE: usize = 600;

/// Waits shorter than this are not worth a word.
const WORTH_TELLING: Duration = Duration::from_secs(10);

pub(super) const NO_ANSWER: &str = "The agent ended without an answer. What it did is above; ask it \
     for its findings.";

pub(super) const COMPACTING: &str = "The agent's conversation has grown long and is being shortened. \
     That may take some minutes.";

pub(super) fn unreachable(retry: &ApiRetry<'_>) -> String {
    let error = retry.error.as_deref().map(bounded_line).unwrap_or_default();
    let why = match (retry.error_status, error.as_str()) {
        (Some(status), "") => status.to_string(),
        (Some(status), error) => format!("{status} {error}"),
        // What it says itself, where that is no word of the claude CLI's.
        (None, error) if error.contains(' ') => error.to_owned(),
        (None, "" | "unknown") => "no connection".to_owned(),
        (None, error) => format!("no connection, {error}"),
    };
    let next = match retry.delay {
        delay if delay < WORTH_TELLING => String::new(),
        delay => format!(", the next in {}", span(delay)),
    };
    format!(
        "The model does not answer ({why}): try {} of {}{next}. Power and checks work without it.",
        retry.attempt, retry.max_retries
    )
}

pub(super) fn silent(so_far: Duration, limit: Duration) -> String {
    format!(
        "The agent has said nothing for {}. It will be ended at {}; a prompt then resumes its \
         session. Power and checks work without it.",
        span(so_far),
        span(limit)
    )
}

/// Why a turn failed: in the CLI's words, those of its result first.
pub(super) fn failed(called: &str, ending: &Ending<'_>, synthetic: Option<&str>) -> String {
    let said = ending.result.as_deref().map(bounded_line);
    let said = said.filter(|text| !text.is_empty());
    let said = said.or_else(|| synthetic.map(str::to_owned));
    let word = ending.subtype.as_deref().map(bounded_line);
    let word = word.filter(|word| !matches!(word.as_str(), "" | "success"));
    let word = word.map(|word| format!(" ({word})")).unwrap_or_default();
    match (said, errors(ending)) {
        (Some(said), None) => said,
        (Some(said), Some(errors)) => format!("{} {errors}", sentence(&said)),
        (None, Some(errors)) => {
            format!("{called} gave up{word}: {errors} Prompt again to go on.")
        }
        (None, None) if word.is_empty() => format!("{called} gave up without a reason."),
        (None, None) => format!("{called} gave up{word}. Prompt again to go on."),
    }
}

/// The errors of a turn, without what is for the CLI's makers alone.
fn errors(ending: &Ending<'_>) -> Option<String> {
    let told = ending.errors.iter().map(|error| bounded_line(error));
    let told = told.filter(|error| !error.is_empty() && !error.starts_with("[ede_diagnostic]"));
    let told: Vec<String> = told.take(5).map(|error| sentence(&error)).collect();
    (!told.is_empty()).then(|| told.join(" "))
}

fn sentence(text: &str) -> String {
    let ended = text.ends_with(['.', '!', '?', '…']);
    format!("{text}{}", if ended { "" } else { "." })
}

/// What the CLI said in the model's place though the turn went on or went well.
pub(super) fn cli_says(called: &str, text: &str) -> String {
    format!("{called} says: {}", sentence(text))
}

pub(super) fn not_compacted(why: Option<&str>) -> String {
    let why = why.map(bounded_line).unwrap_or_default();
    let why = if why.is_empty() {
        "no reason given".to_owned()
    } else {
        why
    };
    format!(
        "The agent's conversation could not be shortened ({why}). If it goes no further, open a new incident."
    )
}

/// A turn that the CLI began by itself has failed.
pub(super) fn own_turn_failed(why: &str) -> String {
    format!(
        "What the agent did about a task that ended in the background failed: {}",
        sentence(why)
    )
}

pub(super) fn stopped(without: TurnOutcome) -> String {
    match without {
        TurnOutcome::Interrupted => {
            "Stopped by the operator. The agent did not end by itself, so its processes were \
             killed; the next prompt resumes its session."
                .to_owned()
        }
        _ => "Stopped by the operator.".to_owned(),
    }
}

pub(super) fn timed_out(limit: Duration) -> String {
    format!(
        "The turn took longer than {} and was ended. Prompt again to go on.",
        span(limit)
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
        "{} may not be used here: only Bash, Read, Grep and Glob.",
        bounded_line(tool)
    )
}

/// One line of bounded length from what the CLI says.
pub(super) fn bounded_line(text: &str) -> String {
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut short: String = flat
        .chars()
        .filter(|c| !c.is_control())
        .take(MAX_SENTENCE)
        .collect();
    if short.len() < flat.len() && flat.chars().count() > MAX_SENTENCE {
        short.push('…');
    }
    short
}

fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    match (seconds / 60, seconds % 60) {
        (0, 0) => format!("{} ms", time.as_millis()),
        (0, seconds) => format!("{seconds} s"),
        (minutes, 0) => format!("{minutes} min"),
        (minutes, seconds) => format!("{minutes} min {seconds} s"),
    }
}
