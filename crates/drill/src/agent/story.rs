//! What the scripted agent does with a prompt: look, find the cause, repair, verify, report.
//!
//! ```text
//!             ┌─ answers ──▶ disk full? ──▶ memory gone? ──▶ unit failed? ──▶ nothing wrong
//!   guest ────┤                  └──────────────┴───────────────┴──▶ repair ──▶ verify ──▶ report
//!             └─ silent ───▶ host: status ──▶ forensics ──▶ start or cycle ──▶ wait ──▶ verify
//! ```

use super::case::Case;
use super::report::Report;
use super::talk::{Stopped, Talk};
use super::{power, repair};

const RECALL_WORDS: [&str; 4] = ["what happened", "what did you", "summar", "report"];
const LOOK_WORDS: [&str; 6] = [
    "status",
    "how is",
    "look only",
    "change nothing",
    "delete nothing",
    "read-only",
];
const REPAIR_WORDS: [&str; 3] = ["fix", "triage", "repair"];

/// What the operator asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Intent {
    /// Look at the machine and change nothing.
    Look,
    /// Repeat the report.
    Recall,
    /// Find the cause and repair it.
    Repair,
}

fn intent(prompt: &str) -> Intent {
    let prompt = prompt.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| prompt.contains(word));
    if has(&RECALL_WORDS) {
        Intent::Recall
    } else if has(&LOOK_WORDS) && !has(&REPAIR_WORDS) {
        Intent::Look
    } else {
        Intent::Repair
    }
}

/// Plays one turn.
pub(super) fn play(talk: &mut Talk, prompt: &str, report: &mut Report) -> Result<(), Stopped> {
    let intent = intent(prompt);
    if intent == Intent::Recall && !report.is_empty() {
        return talk.conclude(&report.text());
    }
    *report = Report::default();
    let mut case = Case { talk, report };
    work(&mut case, intent == Intent::Look)?;
    case.talk.conclude(&case.report.text())
}

fn work(case: &mut Case<'_>, look_only: bool) -> Result<(), Stopped> {
    let seen = case.overview(if look_only {
        "Looking at the guest; I change nothing."
    } else {
        "Looking at the guest first: does it answer, and what is short?"
    })?;
    if let Some(reason) = seen.refusal() {
        let action = format!("nothing. Not looked at the guest: {reason}");
        case.report.done(action);
        Ok(())
    } else if !seen.ok() {
        power::bring_back(case, &seen, look_only)
    } else if look_only {
        case.describe(&seen.stdout);
        Ok(())
    } else {
        repair::repair(case, &seen.stdout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prompt_decides_whether_the_agent_changes_anything() {
        assert_eq!(intent("Status?"), Intent::Look);
        assert_eq!(intent("What happened?"), Intent::Recall);
        assert_eq!(
            intent("What uses the space? Delete nothing yet."),
            Intent::Look
        );
        assert_eq!(intent("Triage the devvm."), Intent::Repair);
        assert_eq!(intent("Status and fix it"), Intent::Repair);
    }
}
