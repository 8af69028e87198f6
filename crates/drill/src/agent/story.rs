//! What the scripted agent does with a prompt: look, find the cause, repair, verify, report.
//!
//! ```text
//!             ┌─ answers ──▶ disk full? ──▶ memory gone? ──▶ unit failed? ──▶ nothing wrong
//!   guest ────┤                  └──────────────┴───────────────┴──▶ repair ──▶ verify ──▶ report
//!             └─ silent ───▶ host: status ──▶ forensics ──▶ start or cycle ──▶ wait ──▶ verify
//! ```

use std::io::Write;

use super::host;
use super::read;
use super::repair;
use super::talk::{Stopped, Talk};
use super::tool::Ran;

/// What a first look at the guest costs at most, whatever hangs.
pub(super) const GUEST: &str = "timeout 20 ssh -o ConnectTimeout=5 devvm";
/// A change may wait for the operator's answer, so it has no limit of its own.
pub(super) const REPAIR: &str = "ssh -o ConnectTimeout=5 devvm";
const LOOK: &str = "uptime; df -h /; free -m; systemctl --failed --no-legend; true";

/// What has been found and done so far, for the report and for later questions.
#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) found: Vec<String>,
    pub(super) done: Vec<String>,
    pub(super) now: Vec<String>,
}

impl Record {
    /// Notes what came of a change: `did` says what it is in the past tense. True where it was tried
    /// to its end, so that a look at the result is worth it.
    pub(super) fn change(&mut self, did: &str, ran: &Ran) -> bool {
        if let Some(why) = ran.refusal() {
            self.done.push(format!("nothing. Not {did}: {why}"));
            let next = "**not repaired**: say what I may do instead, or ask me again and allow it";
            self.now.push(next.to_owned());
            return false;
        }
        if ran.code.is_none() {
            self.done.push(format!(
                "tried, and not known to be {did}: the command was ended before its end, perhaps while \
                 its question waited"
            ));
            return true;
        }
        let outcome = if ran.ok() {
            ""
        } else {
            "; **not all of it worked**, see the output"
        };
        self.done.push(format!("{did}{outcome}"));
        true
    }
}

/// What the operator wants, by the words of the prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Intent {
    /// Look and change nothing.
    Look,
    /// Tell what was done.
    Recall,
    /// Find the cause and repair it.
    Rescue,
}

fn intent(prompt: &str) -> Intent {
    let prompt = prompt.to_lowercase();
    let asks = |words: &[&str]| words.iter().any(|word| prompt.contains(word));
    if asks(&[
        "what happened",
        "what did you",
        "summary",
        "summar",
        "report",
    ]) {
        Intent::Recall
    } else if asks(&[
        "status",
        "how is",
        "look only",
        "change nothing",
        "delete nothing",
        "read-only",
    ]) && !asks(&["fix", "triage", "repair"])
    {
        Intent::Look
    } else {
        Intent::Rescue
    }
}

/// Plays the turn that `prompt` asks for.
pub(super) fn play<W: Write>(
    talk: &mut Talk<W>,
    prompt: &str,
    record: &mut Record,
) -> Result<(), Stopped> {
    let intent = intent(prompt);
    if intent == Intent::Recall && !(record.found.is_empty() && record.done.is_empty()) {
        return talk.conclude(&report(record));
    }
    *record = Record::default();
    let first = if intent == Intent::Look {
        "Looking at the guest; I change nothing."
    } else {
        "Looking at the guest first: is it reachable, and what is short?"
    };
    let seen = talk.bash(
        first,
        &format!("{GUEST} '{LOOK}'"),
        "Uptime, disk, memory and failed units of the guest",
    )?;
    if let Some(why) = seen.refusal() {
        record
            .done
            .push(format!("nothing. Not looked at the guest: {why}"));
    } else if !seen.ok() {
        host::rescue(talk, &seen, intent == Intent::Look, record)?;
    } else if intent == Intent::Look {
        describe(&seen.stdout, record);
    } else {
        repair::rescue(talk, &seen.stdout, record)?;
    }
    talk.conclude(&report(record))
}

/// Says in sentences what a look at the guest showed. Nothing wrong is a finding too.
pub(super) fn describe(look: &str, record: &mut Record) {
    if let Some(percent) = read::disk_percent(look) {
        record.now.push(format!("`/` is {percent} % full"));
    }
    if let Some((available, total)) = read::memory(look) {
        record
            .now
            .push(format!("{available} of {total} MiB memory available"));
    }
    let failed = read::failed_units(look);
    record.now.push(match failed.as_slice() {
        [] => "no unit has failed".to_owned(),
        units => format!("failed: `{}`", units.join("`, `")),
    });
}

/// Looks again, and records how the guest is now. Tells whether nothing is failed or short.
pub(super) fn verify<W: Write>(talk: &mut Talk<W>, record: &mut Record) -> Result<bool, Stopped> {
    let look = format!("{GUEST} '{LOOK}; systemctl is-active app'");
    let seen = talk.bash(
        "Verifying with fresh eyes.",
        &look,
        "The guest after the repair",
    )?;
    if !seen.ok() && read::disk_percent(&seen.stdout).is_none() {
        record
            .now
            .push("the guest does not answer over SSH".to_owned());
        return Ok(false);
    }
    describe(&seen.stdout, record);
    let active = seen
        .stdout
        .lines()
        .last()
        .is_some_and(|line| line.trim() == "active");
    record.now.push(
        if active {
            "`app.service` is active"
        } else {
            "`app.service` is **not** active"
        }
        .to_owned(),
    );
    Ok(active && read::failed_units(&seen.stdout).is_empty())
}

fn report(record: &Record) -> String {
    let section = |title: &str, lines: &[String]| match lines {
        [] => String::new(),
        lines => format!(
            "**{title}**\n{}\n",
            lines
                .iter()
                .map(|line| format!("- {line}\n"))
                .collect::<String>()
        ),
    };
    let text = section("Found", &record.found)
        + &section("Done", &record.done)
        + &section("Now", &record.now);
    if text.is_empty() {
        "Nothing to report.".to_owned()
    } else {
        text.trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prompt_decides_whether_anything_is_changed() {
        assert_eq!(intent("Status?"), Intent::Look);
        assert_eq!(intent("What happened?"), Intent::Recall);
        assert_eq!(
            intent("What uses the space? Delete nothing yet."),
            Intent::Look
        );
        assert_eq!(intent("Triage the devvm."), Intent::Rescue);
        assert_eq!(intent("Status and fix it"), Intent::Rescue);
    }

    fn ran(code: Option<i32>, stderr: &str) -> Ran {
        let (stdout, stderr) = (String::new(), stderr.to_owned());
        Ran {
            stdout,
            stderr,
            code,
        }
    }

    #[test]
    fn a_change_that_was_denied_or_is_not_known_is_never_told_as_done() {
        let told = |ran: &Ran| {
            let mut record = Record::default();
            record.change("emptied `/x`", ran);
            report(&record)
        };
        assert_eq!(told(&ran(Some(0), "")), "**Done**\n- emptied `/x`");
        let denied = told(&ran(
            Some(126),
            "breakglass: the operator denied it: keep it",
        ));
        assert!(
            denied.contains("nothing. Not emptied `/x`: the operator denied it: keep it"),
            "{denied}"
        );
        assert!(denied.contains("**not repaired**"), "{denied}");
        let ended = told(&ran(None, ""));
        assert!(ended.contains("not known to be emptied `/x`"), "{ended}");
    }
}
