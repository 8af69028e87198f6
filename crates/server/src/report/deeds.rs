//! What was done to the machine, in its order: verbs, and what the agent ran that does not only read.

use breakglass_model::Decision;

use super::facts::{Command, Facts, Run};
use super::markdown::short;
use super::summary::time;
use super::tables::outcome;

/// One line each: when, what, by whom, with which result.
pub(super) fn of(facts: &Facts) -> Vec<String> {
    let verbs = facts.runs.shown.iter().map(|run| (run.at, did(run)));
    let commands = facts
        .commands
        .shown
        .iter()
        .filter(|command| command.changes);
    let commands = commands.map(|command| (command.at, ran(command, facts)));
    let mut deeds: Vec<_> = verbs.chain(commands).collect();
    deeds.sort_by_key(|(at, _)| *at);
    deeds.into_iter().map(|(_, deed)| deed).collect()
}

fn did(run: &Run) -> String {
    let (at, verb, who) = (time(run.at), short(run.verb.as_str()), short(&run.who));
    let end = run.end.as_ref().map_or("still running".to_owned(), |end| {
        let verdict = end.verdict.as_deref().map(short);
        let verdict = verdict.map_or(String::new(), |verdict| format!(", {verdict}"));
        format!("{}{verdict}", outcome(end.outcome))
    });
    format!("{at} {verb} by {who}: {end}")
}

fn ran(command: &Command, facts: &Facts) -> String {
    let (at, text, host) = (time(command.at), short(&command.text), short(&command.host));
    let leave = allowed_by(command, facts)
        .map_or(String::new(), |who| format!(", allowed by {}", short(who)));
    format!(
        "{at} {text} on {host} by the agent{leave}: {}",
        ended(command)
    )
}

fn ended(command: &Command) -> String {
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

/// Who answered the question about this very command: the first that was asked after it arrived.
fn allowed_by<'f>(command: &Command, facts: &'f Facts) -> Option<&'f str> {
    let asked = facts.questions.shown.iter().find(|asked| {
        asked.at >= command.at && asked.place == command.host && asked.command == command.text
    })?;
    let (decision, who, _) = asked.answer.as_ref()?;
    (*decision == Decision::Allow).then_some(who)
}
