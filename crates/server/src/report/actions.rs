//! The actions on the machine in their order: verbs, and commands of the agent that are not known to
//! be read-only.

use breakglass_model::Decision;

use super::facts::{Command, Facts, Run};
use super::labels::{outcome, time};
use super::markdown::short;

/// One line per action: time, action, actor, result.
pub(super) fn lines(facts: &Facts) -> Vec<String> {
    let verbs = facts.runs.shown.iter().map(|run| (run.at, verb(run)));
    let commands = facts
        .commands
        .shown
        .iter()
        .filter(|command| command.changes);
    let commands = commands.map(|command| (command.at, self::command(command, facts)));
    let mut actions: Vec<_> = verbs.chain(commands).collect();
    actions.sort_by_key(|(at, _)| *at);
    actions.into_iter().map(|(_, line)| line).collect()
}

fn verb(run: &Run) -> String {
    let result = run.end.as_ref().map_or("still running".to_owned(), |end| {
        let verdict = end.verdict.as_deref().map(short);
        let verdict = verdict.map_or(String::new(), |verdict| format!(", {verdict}"));
        format!("{}{verdict}", outcome(end.outcome))
    });
    format!(
        "{} {} by {}: {result}",
        time(run.at),
        short(run.verb.as_str()),
        short(&run.who)
    )
}

fn command(command: &Command, facts: &Facts) -> String {
    let allowed = allowed_by(command, facts)
        .map_or(String::new(), |who| format!(", allowed by {}", short(who)));
    format!(
        "{} {} on {} by the agent{allowed}: {}",
        time(command.at),
        short(&command.text),
        short(&command.host),
        result(command)
    )
}

fn result(command: &Command) -> String {
    let Some(end) = &command.end else {
        return "still running".to_owned();
    };
    let signal = end
        .signal
        .as_deref()
        .map(|it| format!("signal {}", short(it)));
    let code = end.exit_code.map(|code| format!("exit code {code}"));
    let how = code.or(signal).unwrap_or_else(|| "cut off".to_owned());
    match &end.message {
        Some(message) => format!("{how}, {}", short(message)),
        None => how,
    }
}

/// The operator who allowed this command: the question about a command is the first one with its text
/// that was asked after it arrived.
fn allowed_by<'f>(command: &Command, facts: &'f Facts) -> Option<&'f str> {
    let question = facts.questions.shown.iter().find(|question| {
        question.at >= command.at
            && question.place == command.host
            && question.command == command.text
    })?;
    let answer = question.answer.as_ref()?;
    (answer.decision == Decision::Allow).then_some(&answer.who)
}
