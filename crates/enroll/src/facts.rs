//! The state of a machine, parsed from the `fact` lines that the scripts print.

use super::error::{EnrollError, Result};
use super::key_line::PublicHalf;

/// The state of the guest's sudoers file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Sudoers {
    #[default]
    Absent,
    /// Exactly the text that enrolment writes.
    Ours,
    /// Another text that contains the same rule.
    HasRule,
    /// Another text.
    Other,
}

/// The state of one machine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Facts {
    /// Whether the account exists.
    pub account: bool,
    /// Whether the account is root, which needs no sudo.
    pub root: bool,
    /// The lines of the current key in authorized_keys.
    pub lines: Vec<String>,
    /// The lines of previous keys.
    pub old: Vec<String>,
    /// Number of lines of other keys.
    pub others: usize,
    /// Number of those lines that run the gate.
    pub gated: usize,
    pub sudoers: Sudoers,
    /// The SHA-256 of the gate, if it is installed.
    pub gate: Option<String>,
    /// The guest in the gate's policy, if there is a policy.
    pub policy: Option<String>,
    pub host_keys: Vec<PublicHalf>,
}

impl Facts {
    /// Parses the output of a script. Other lines, such as a greeting, are ignored.
    ///
    /// # Errors
    /// If the end is missing.
    pub(crate) fn parse(machine: &str, text: &str) -> Result<Facts> {
        let mut facts = Facts::default();
        let mut complete = false;
        for fact in text.lines().filter_map(|line| line.strip_prefix("fact ")) {
            let (name, value) = fact.split_once(' ').unwrap_or((fact, ""));
            match name {
                "account" => {
                    facts.account = true;
                    facts.root = value == "root";
                }
                "line" => facts.lines.push(value.to_owned()),
                "old" => facts.old.push(value.to_owned()),
                "others" => facts.others = value.parse().unwrap_or(0),
                "gated" => facts.gated = value.parse().unwrap_or(0),
                "sudoers" => facts.sudoers = sudoers(value),
                "gate" => facts.gate = Some(value.to_owned()),
                "policy" => facts.policy = Some(value.to_owned()),
                "hostkey" => facts.host_keys.extend(PublicHalf::parse(value)),
                "end" => complete = true,
                _ => {}
            }
        }
        if !complete {
            return Err(EnrollError::Failed(format!(
                "the answer of {machine} is incomplete; check that its login prints nothing unusual, \
                 and that `sh` and `awk` are installed"
            )));
        }
        Ok(facts)
    }
}

fn sudoers(word: &str) -> Sudoers {
    match word {
        "ours" => Sudoers::Ours,
        "holds" => Sudoers::HasRule,
        "other" => Sudoers::Other,
        _ => Sudoers::Absent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_parsed_among_other_output() {
        let text = "Welcome!\nfact account breakglass\nfact line from=\"10.0.0.1\",restrict ssh-ed25519 AAAA x\n\
                    fact others 2\nfact gated 1\nfact sudoers holds\nfact policy 102\n\
                    fact hostkey ssh-ed25519 AAAAhost\nfact hostkey '; rm\nfact end\n";
        let facts = Facts::parse("devvm.host", text).unwrap();
        assert!(facts.account && !facts.root);
        assert_eq!(facts.lines.len(), 1);
        assert_eq!(
            (facts.others, facts.gated, facts.sudoers),
            (2, 1, Sudoers::HasRule)
        );
        assert_eq!(facts.policy.as_deref(), Some("102"));
        assert_eq!(facts.host_keys.len(), 1);
    }

    #[test]
    fn incomplete_answer_is_an_error() {
        assert!(Facts::parse("devvm.host", "fact account root\n").is_err());
    }
}
