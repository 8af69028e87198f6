//! Decides which commands on the guest only read, by rules that are data.
//!
//! ```text
//! bytes ── words ──► simple commands ── wrappers ──► program + arguments ── rule ──► reads | why not
//!        (as every shell splits them)  (sudo, …)                (read-only.toml)
//! ```
//!
//! The author of a command may be hostile, so a command passes only if all of it is known: every shell splits the
//! line alike, each program has a rule, and that rule lists the options and operands. Any other command
//! counts as *changing*, with the reason. A judgement trusts the guest itself: that `ls` there is `ls`, and
//! that its shell's start-up files do not redefine it.

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

/// A set of rules; loaded once and shared in an `Arc`.
pub struct Rules {
    rules: Vec<Loaded>,
}

/// The judgement on a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement {
    /// It only reads, by these rules: one for each program, in their order.
    Reads(Vec<String>),
    /// It is not known to only read, for this reason.
    Changes(String),
}

impl Rules {
    /// The rules that come with the program.
    ///
    /// # Errors
    /// When they are invalid; a test proves that they are not.
    pub fn built_in() -> Result<Rules, RulesError> {
        Rules { rules: Vec::new() }.and(BUILT_IN, "the built-in rules")
    }

    /// Adds the rules of `toml`, the text of the file `origin`. Every rule is tested: it alone must allow its
    /// example, and no rule may allow its counter-example.
    ///
    /// # Errors
    /// All faults, each with file, rule and reason.
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

    /// Whether `command` only reads if the guest's login shell runs it on a channel **without a terminal**. On a
    /// terminal a pager may start, and a pager can run programs: so no command with a terminal is known to
    /// only read.
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
                faults.push(loaded.fault(format!("its example `{example}` is not allowed: {why}")));
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
                    "its counter-example `{counter}` is allowed by {}",
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
