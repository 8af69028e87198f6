//! The sentences that a turn tells the operator.

use std::time::Duration;

use breakglass_journal::TurnOutcome;

use crate::wire::{ApiRetry, Ending};

/// Longest sentence taken over from the CLI, in characters.
const MAX_SENTENCE: usize = 600;

pub(super) const LOGIN_EXPIRED: &str = "The agent's login has expired: the model's API refuses it \
     (401). Renew the API key or the login of the claude CLI. Power and checks work without it.";

const SIGNED_OUT: &str = "The agent is not signed in: set agent.api_key_file, or agent.credentials_dir \
     to a directory with the claude CLI's own sign-in. Power and checks work without it.";

pub(super) fn unreachable(retry: &ApiRetry<'_>) -> String {
    let error = retry.error.as_deref().map(bounded_line).unwrap_or_default();
    let why = match (retry.error_status, error.as_str()) {
        (Some(status), "") => status.to_string(),
        (Some(status), error) => format!("{status} {error}"),
        (None, "" | "unknown") => "no connection".to_owned(),
        (None, error) => format!("no connection, {error}"),
    };
    format!(
        "The model does not answer ({why}): try {} of {}. Power and checks work without it.",
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

pub(super) fn failed(ending: &Ending<'_>, synthetic: Option<&str>) -> String {
    if ending.api_error_status == Some(401) {
        return LOGIN_EXPIRED.to_owned();
    }
    let said = ending
        .result
        .as_deref()
        .map(bounded_line)
        .filter(|text| !text.is_empty());
    // The CLI's own words tell of a command that there is not here.
    let signed_out = |text: &&str| text.starts_with("Not logged in");
    if said.as_deref().or(synthetic).filter(signed_out).is_some() {
        return SIGNED_OUT.to_owned();
    }
    match (said, synthetic, ending.subtype.as_deref()) {
        (Some(text), _, _) => text,
        (None, Some(text), _) => text.to_owned(),
        (None, None, Some(word)) => format!("The claude CLI gave up: {}.", bounded_line(word)),
        (None, None, None) => "The claude CLI gave up without a reason.".to_owned(),
    }
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
