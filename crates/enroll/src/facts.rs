//! What a machine says of itself: the `fact` lines that the scripts print.

use super::error::{EnrollError, Result};
use super::line::Public;

/// How the guest's sudoers file stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Sudoers {
    #[default]
    Absent,
    /// Word for word what enroll writes.
    Ours,
    /// Somebody else's, with the same rule in it.
    Holds,
    /// Somebody else's.
    Other,
}

/// One machine, as it was found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Facts {
    /// Whether there is the account.
    pub account: bool,
    /// Whether it is root, who needs no sudo.
    pub root: bool,
    /// The lines of our key in authorized_keys.
    pub lines: Vec<String>,
    /// The lines of the key before.
    pub old: Vec<String>,
    /// How many lines of other keys there are.
    pub others: usize,
    /// How many of these lead to the gate.
    pub gated: usize,
    pub sudoers: Sudoers,
    /// The gate's SHA-256, if there is one.
    pub gate: Option<String>,
    /// The guest that the gate's policy names, if there is one.
    pub policy: Option<String>,
    pub host_keys: Vec<Public>,
}

impl Facts {
    /// Reads what a script printed; anything else on the way, such as a greeting, is passed over.
    ///
    /// # Errors
    /// When the end is missing.
    pub(crate) fn parse(machine: &str, text: &str) -> Result<Facts> {
        let mut facts = Facts::default();
        let mut whole = false;
        for fact in text.lines().filter_map(|line| line.strip_prefix("fact ")) {
            let (name, value) = fact.split_once(' ').unwrap_or((fact, ""));
            match name {
                "account" => (facts.account, facts.root) = (true, value == "root"),
                "line" => facts.lines.push(value.to_owned()),
                "old" => facts.old.push(value.to_owned()),
                "others" => facts.others = value.parse().unwrap_or(0),
                "gated" => facts.gated = value.parse().unwrap_or(0),
                "sudoers" => facts.sudoers = sudoers(value),
                "gate" => facts.gate = Some(value.to_owned()),
                "policy" => facts.policy = Some(value.to_owned()),
                "hostkey" => facts.host_keys.extend(Public::parse(value)),
                "end" => whole = true,
                _ => {}
            }
        }
        whole.then_some(facts).ok_or_else(|| {
            EnrollError::Failed(format!(
                "{machine} did not tell all that it was asked; see that its login prints nothing odd, \
                 and that `sh` and `awk` are there"
            ))
        })
    }
}

fn sudoers(word: &str) -> Sudoers {
    match word {
        "ours" => Sudoers::Ours,
        "holds" => Sudoers::Holds,
        "other" => Sudoers::Other,
        _ => Sudoers::Absent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_read_between_whatever_a_login_prints() {
        let text = "Welcome!\nfact account breakglass\nfact line from=\"10.0.0.1\",restrict ssh-ed25519 AAAA x\n\
                    fact others 2\nfact gated 1\nfact sudoers holds\nfact policy 102\n\
                    fact hostkey ssh-ed25519 AAAAhost\nfact hostkey '; rm\nfact end\n";
        let facts = Facts::parse("devvm.host", text).unwrap();
        assert!(facts.account && !facts.root);
        assert_eq!(facts.lines.len(), 1);
        assert_eq!(
            (facts.others, facts.gated, facts.sudoers),
            (2, 1, Sudoers::Holds)
        );
        assert_eq!(facts.policy.as_deref(), Some("102"));
        assert_eq!(facts.host_keys.len(), 1);
    }

    #[test]
    fn half_an_answer_is_none() {
        assert!(Facts::parse("devvm.host", "fact account root\n").is_err());
    }
}
