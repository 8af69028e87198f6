//! The closed sets of words in events: how things ended, which stream, how serious, how free the agent is.
//!
//! `<&str>::from` gives each value's word in JSON.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr, VariantArray};
use ts_rs::TS;

/// How a turn ended.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    TS,
    JsonSchema,
    IntoStaticStr,
    VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
#[ts(export)]
pub enum TurnOutcome {
    /// The agent finished.
    Done,
    /// The agent, or the model's API, gave up.
    Failed,
    /// The operator stopped it.
    Stopped,
    /// It reached its time limit.
    TimedOut,
    /// The CLI or the server died while it ran.
    Interrupted,
}

/// How a verb ended.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema, IntoStaticStr,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
#[ts(export)]
pub enum VerbOutcome {
    /// The gate ran it and the verdict agrees.
    Done,
    /// The gate tried, and the verdict or the exit code says no.
    Failed,
    /// The gate refused.
    Refused,
    /// The host was not reached, or did not answer in time.
    Unreachable,
    /// The server died while it ran; its effect on the host is unknown.
    Interrupted,
}

/// One of a command's two outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[ts(export)]
pub enum OutputStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How serious something is.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    TS,
    JsonSchema,
    IntoStaticStr,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
#[ts(export)]
pub enum Level {
    /// All is well, or good to know.
    Info,
    /// Needs attention.
    Warning,
    /// Does not work.
    Error,
}

/// The state of a readiness check; the worse one is the greater.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    TS,
    JsonSchema,
    IntoStaticStr,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
#[ts(export)]
pub enum CheckState {
    /// Passing.
    Green,
    /// Works now and will cause trouble later, or could not be tried.
    Amber,
    /// Failing: in an emergency something would not work, or someone has too much access.
    Red,
}

impl CheckState {
    /// The word on the wire and on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// One of a command's three standard streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[ts(export)]
pub enum CommandStream {
    /// What the agent sent to it.
    Stdin,
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// What a session on guest or host was opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[ts(export)]
pub enum CommandMode {
    /// One command.
    Exec,
    /// A shell without a command; its standard input contains what it was asked to do.
    Shell,
    /// A subsystem, such as `sftp`.
    Subsystem,
}

/// What the agent may do without asking. Enforced by the bastion, not by the agent's prompt. The widest comes
/// first.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    TS,
    JsonSchema,
    EnumString,
    IntoStaticStr,
    VariantArray,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
#[ts(export)]
pub enum Autonomy {
    /// Everything that can be reached.
    Autonomous,
    /// What only reads; the operator is asked about all else.
    ApproveMutations,
    /// What only reads; all else is refused.
    ReadOnly,
}

impl Autonomy {
    /// All settings, the widest first.
    pub const ALL: &[Autonomy] = Autonomy::VARIANTS;

    /// The narrower of the two.
    #[must_use]
    pub fn at_most(self, most: Autonomy) -> Autonomy {
        self.max(most)
    }

    /// The word in configuration, interface and log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The setting with this word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Autonomy> {
        word.parse().ok()
    }
}

impl std::fmt::Display for Autonomy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a question was settled.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    TS,
    JsonSchema,
    IntoStaticStr,
    VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
#[ts(export)]
pub enum Decision {
    /// This command may run once.
    Allow,
    /// No.
    Deny,
    /// Its turn ended first.
    Void,
}
