//! Which commands on the guest only read, decided by rules that are data.
//!
//! ```text
//! bytes ── words ──► simple commands ── wrappers ──► program + arguments ── rule ──► reads | why not
//!        (as every shell splits them)  (sudo, …)                (read-only.toml)
//! ```
//!
//! Whoever writes a command wants it to pass, so only what is known passes: a line that every shell
//! splits alike, whose programs each have a rule, whose options and operands that rule names. All
//! else *changes*, with the reason. A judgement trusts the guest's own state: that `ls` there is
//! `ls`, that its shell's start-up files do not redefine it.

mod client;
mod kind;
mod load;
mod rule;
#[cfg(test)]
mod tests;
mod words;
mod wrappers;

use rule::Mismatch;
use words::{Command, shown};

pub(crate) use client::hands_over;
use load::Loaded;
pub use load::{RuleFault, RulesError};
pub use words::{Word, split};

/// The rules that come with the program.
const BUILT_IN: &str = include_str!("read-only.toml");

/// The rules; made once, shared in an `Arc`.
pub struct Rules {
    rules: Vec<Loaded>,
}

/// What the rules say of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement {
    /// It only reads; by these rules, one for each program it runs, in their order.
    Reads(Vec<String>),
    /// It is not known to only read; why, as a sentence.
    Changes(String),
}

impl Rules {
    /// The rules that come with the program.
    ///
    /// # Errors
    /// What is wrong with them; a test proves that nothing is.
    pub fn built_in() -> Result<Rules, RulesError> {
        Rules { rules: Vec::new() }.and(BUILT_IN, "the built-in rules")
    }

    /// These rules and those of `toml`, the text of the file `origin`. Every rule is proven: its
    /// example is allowed by it alone, its counter-example by no rule at all.
    ///
    /// # Errors
    /// Everything that is wrong, each with file, rule and reason.
    pub fn and(mut self, toml: &str, origin: &str) -> Result<Rules, RulesError> {
        let (more, mut faults) = load::read(toml, origin);
        self.rules.extend(more);
        faults.extend(self.faults());
        if faults.is_empty() {
            Ok(self)
        } else {
            Err(RulesError(faults))
        }
    }

    /// Whether `command` only reads, given to the guest's login shell on a channel **without a
    /// terminal**: at a terminal a pager may come up, and what is typed there runs programs. A
    /// command with a terminal is not known to only read, whatever it is.
    #[must_use]
    pub fn judge(&self, command: &[u8]) -> Judgement {
        match judge(&self.rules.iter().collect::<Vec<_>>(), command) {
            Ok(names) => Judgement::Reads(names),
            Err(why) => Judgement::Changes(why),
        }
    }

    fn faults(&self) -> Vec<RuleFault> {
        let all: Vec<_> = self.rules.iter().collect();
        let mut faults = Vec::new();
        for (at, loaded) in self.rules.iter().enumerate() {
            let name = &loaded.rule.name;
            if self.rules[..at].iter().any(|it| it.rule.name == *name) {
                faults.push(loaded.fault("another rule has this name".to_owned()));
            }
            if let Err(why) = judge(&[loaded], loaded.example.as_bytes()) {
                let example = &loaded.example;
                faults.push(loaded.fault(format!("its example `{example}` does not pass: {why}")));
            }
            let counter = &loaded.counter_example;
            if !loaded
                .rule
                .programs
                .iter()
                .any(|it| counter.contains(it.as_str()))
            {
                faults.push(loaded.fault(format!(
                    "its counter-example `{counter}` runs none of its programs"
                )));
            }
            if let Ok(names) = judge(&all, counter.as_bytes()) {
                faults.push(loaded.fault(format!(
                    "its counter-example `{counter}` passes, by {}",
                    names.join(", ")
                )));
            }
        }
        faults
    }
}

/// The names of the rules that allow the simple commands of `command`, or why not all are allowed.
fn judge(rules: &[&Loaded], command: &[u8]) -> Result<Vec<String>, String> {
    let commands = words::split(command)?;
    commands.iter().map(|it| allow(rules, it)).collect()
}

fn allow(rules: &[&Loaded], command: &Command) -> Result<String, String> {
    let (program, arguments) = wrappers::unwrap(command)?;
    let mut best: Option<Mismatch> = None;
    for Loaded { rule, .. } in rules {
        if !rule.programs.iter().any(|it| it == program) {
            continue;
        }
        match rule.allows(arguments) {
            Ok(()) => return Ok(rule.name.clone()),
            Err(mismatch) if mismatch.close || best.is_none() => best = Some(mismatch),
            Err(_) => {}
        }
    }
    Err(match best {
        Some(mismatch) => format!("`{}`: {}", shown(program), mismatch.why),
        None => format!("`{}` has no rule that says it only reads", shown(program)),
    })
}
