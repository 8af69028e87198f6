//! What one check found.

pub use breakglass_model::CheckState as State;
use breakglass_model::clock;
use serde::{Deserialize, Serialize};

/// One named check: how it stands, by what evidence, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// Its name: `ssh_key`, or after a target's name `devvm.guest.sudo`.
    pub name: String,
    /// How it stands.
    pub state: State,
    /// What was seen, as a sentence.
    pub evidence: String,
    /// What to do, with the file or command; none where all is well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// When it was looked at, RFC 3339 in UTC.
    pub at: String,
    /// Whether it was not tried, since another one has to hold first: it tells nothing new.
    #[serde(skip)]
    pub untried: bool,
}

impl Check {
    /// A check that holds.
    pub fn green(name: impl Into<String>, evidence: impl Into<String>) -> Check {
        Check {
            name: name.into(),
            state: State::Green,
            evidence: evidence.into(),
            remedy: None,
            at: clock::now(),
            untried: false,
        }
    }

    /// A check that works and will bite later.
    pub fn amber(
        name: impl Into<String>,
        evidence: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Check {
        Check::not_green(State::Amber, name.into(), evidence.into(), remedy.into())
    }

    /// A check that does not hold.
    pub fn red(
        name: impl Into<String>,
        evidence: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Check {
        Check::not_green(State::Red, name.into(), evidence.into(), remedy.into())
    }

    /// A check that waits for another one to hold.
    pub fn untried(name: impl Into<String>, first: &str) -> Check {
        let evidence = format!("Not tried: {first} comes first.");
        Check {
            untried: true,
            ..Check::amber(name, evidence, format!("mend {first}"))
        }
    }

    fn not_green(state: State, name: String, evidence: String, remedy: String) -> Check {
        let remedy = Some(remedy);
        Check {
            state,
            remedy,
            ..Check::green(name, evidence)
        }
    }
}

/// The target that a check's name begins with, if it is the check of one.
pub(crate) fn target_of(check: &str) -> Option<&str> {
    let (target, rest) = check.split_once('.')?;
    let machine = rest.split('.').next()?;
    // As they are now, by their vital signs, or examined.
    matches!(machine, "guest" | "host" | "ssh" | "vm").then_some(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_belongs_to_the_target_that_it_is_named_after() {
        for (name, target) in [
            ("devvm.guest.sudo", Some("devvm")),
            ("agent.host.no_shell", Some("agent")),
            ("devvm.vm", Some("devvm")),
            ("agent.model", None),
            ("config.host_keys", None),
            ("store", None),
        ] {
            assert_eq!(target_of(name), target, "{name}");
        }
    }
}
