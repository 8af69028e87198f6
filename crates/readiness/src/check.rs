//! One check of readiness, with its result.

pub use breakglass_model::CheckState as State;
use breakglass_model::clock;
use serde::{Deserialize, Serialize};

/// One named check: its state, the evidence, and the remedy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// Its name: `ssh_key`, or after a target's name `devvm.guest.sudo`.
    pub name: String,
    /// Its state.
    pub state: State,
    /// The observation, as a sentence.
    pub evidence: String,
    /// What to do, with the file or command; `None` for a green check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// The time of the check, RFC 3339 in UTC.
    pub at: String,
    /// Whether it was not tried, because another check failed that it depends on. Its state means nothing then.
    #[serde(skip)]
    pub untried: bool,
}

impl Check {
    /// A check that passed.
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

    /// A check that works now, with a problem for later.
    pub fn amber(
        name: impl Into<String>,
        evidence: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Check {
        Check::not_green(State::Amber, name.into(), evidence.into(), remedy.into())
    }

    /// A check that failed.
    pub fn red(
        name: impl Into<String>,
        evidence: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Check {
        Check::not_green(State::Red, name.into(), evidence.into(), remedy.into())
    }

    /// A check that was not tried, because `first` failed.
    pub fn untried(name: impl Into<String>, first: &str) -> Check {
        let evidence = format!("Not tried, because {first} failed.");
        Check {
            untried: true,
            ..Check::amber(name, evidence, format!("fix {first}"))
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

/// The name of the target that a check belongs to, if it belongs to one.
pub(crate) fn target_of(check: &str) -> Option<&str> {
    let (target, rest) = check.split_once('.')?;
    let part = rest.split('.').next()?;
    // `guest` and `host` are readiness checks, `ssh` and `vm` are vital signs.
    matches!(part, "guest" | "host" | "ssh" | "vm").then_some(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_belongs_to_the_target_in_its_name() {
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
