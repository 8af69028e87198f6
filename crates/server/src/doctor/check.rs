//! What one check found.

use breakglass_journal::clock;
use schemars::JsonSchema;
use serde::Serialize;
use ts_rs::TS;

/// How a check stands; the worse is the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, TS, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[ts(export, rename = "CheckState")]
#[schemars(rename = "CheckState")]
pub(crate) enum State {
    /// It holds.
    Green,
    /// It works and will bite later, or it could not be tried.
    Amber,
    /// It does not hold: in an emergency something would not work, or somebody has too much leave.
    Red,
}

impl State {
    /// The word on the wire and on the command line.
    #[must_use]
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            State::Green => "green",
            State::Amber => "amber",
            State::Red => "red",
        }
    }
}

/// One named check: how it stands, by what evidence, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Check {
    /// Its name: `ssh_key`, or after a target's name `devvm.guest.sudo`.
    pub(crate) name: String,
    /// How it stands.
    pub(crate) state: State,
    /// What was seen, as a sentence.
    pub(crate) evidence: String,
    /// What to do, with the file or command; none where all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) remedy: Option<String>,
    /// When it was looked at, RFC 3339 in UTC.
    pub(crate) at: String,
}

impl Check {
    /// A check that holds.
    pub(crate) fn green(name: impl Into<String>, evidence: impl Into<String>) -> Check {
        Check {
            name: name.into(),
            state: State::Green,
            evidence: evidence.into(),
            remedy: None,
            at: clock::now(),
        }
    }

    /// A check that works and will bite later.
    pub(crate) fn amber(
        name: impl Into<String>,
        evidence: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Check {
        Check::not_green(State::Amber, name.into(), evidence.into(), remedy.into())
    }

    /// A check that does not hold.
    pub(crate) fn red(
        name: impl Into<String>,
        evidence: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Check {
        Check::not_green(State::Red, name.into(), evidence.into(), remedy.into())
    }

    /// A check that waits for another one to hold.
    pub(crate) fn untried(name: impl Into<String>, first: &str) -> Check {
        let evidence = format!("Not tried: {first} comes first.");
        Check::amber(name, evidence, format!("mend {first}"))
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
