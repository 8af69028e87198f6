//! What can happen in an incident: a closed set, the same for the store, the page, the CLI,
//! the report and the audit.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use ts_rs::TS;
use uuid::Uuid;

use crate::actor::Actor;

/// Names one incident; a time-ordered UUID.
pub type IncidentId = Uuid;
/// Names one run of a verb; unique in the whole deployment.
pub type OperationId = Uuid;
/// Counts the turns of an incident from 1.
pub type TurnNumber = u32;

/// One entry of an incident's log, as it is stored, replayed and streamed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS, JsonSchema)]
#[ts(export)]
pub struct Event {
    /// Position in its incident's log: from 1, without gaps.
    #[ts(type = "number")]
    pub seq: u64,
    /// UTC, RFC 3339, milliseconds.
    pub at: String,
    /// Who did it.
    pub actor: Actor,
    /// What happened.
    #[serde(flatten)]
    pub body: EventBody,
    /// SHA-256 over the previous event's hash and this event's canonical bytes; lower-case hex.
    pub hash: String,
}

/// What happened. Each variant is one `kind` on the wire.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[ts(export)]
pub enum EventBody {
    /// The log begins.
    IncidentOpened {
        /// The machine to be saved.
        target: String,
        /// Whether this is a rehearsal on a simulated target.
        drill: bool,
    },
    /// The operator asked for something.
    Prompt {
        /// The turn that it starts.
        turn: TurnNumber,
        /// The operator's words.
        text: String,
    },
    /// The agent took the prompt.
    TurnStarted {
        /// The turn.
        turn: TurnNumber,
        /// The agent that took it, where there are several.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        agent: Option<String>,
        /// The model asked for.
        model: String,
        /// The CLI's session, by which it can be resumed.
        session: Uuid,
    },
    /// A finished block of the agent's words (Markdown).
    Text {
        /// The turn.
        turn: TurnNumber,
        /// What was said.
        text: String,
    },
    /// The agent began to use a tool.
    ToolStarted {
        /// The turn.
        turn: TurnNumber,
        /// The CLI's id of this call.
        tool_call: String,
        /// The tool's name, such as `Bash`.
        tool: String,
        /// One line for people: the command, the file.
        summary: String,
        /// The tool's whole input.
        input: serde_json::Value,
    },
    /// A tool ended.
    ToolFinished {
        /// The turn.
        turn: TurnNumber,
        /// The call that ended.
        tool_call: String,
        /// Whether the tool says that it failed.
        is_error: bool,
        /// What it printed; head and tail where it was long.
        output: String,
        /// Bytes left out of the middle of `output`.
        #[ts(type = "number")]
        omitted_bytes: u64,
    },
    /// The agent is done with the prompt.
    TurnEnded {
        /// The turn.
        turn: TurnNumber,
        /// How it ended.
        outcome: TurnOutcome,
        /// Why, as a sentence, unless it is simply done.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        reason: Option<String>,
        /// From prompt to end.
        #[ts(type = "number")]
        duration_ms: u64,
        /// What the model's API charged, where the CLI says so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        cost_usd: Option<f64>,
    },
    /// A command of the agent reached the bastion; nothing of it has run yet.
    CommandStarted {
        /// Names this command.
        command: Uuid,
        /// The turn that runs it.
        turn: TurnNumber,
        /// The tool call that caused it, where one was open.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        tool_call: Option<String>,
        /// The guest or the host, by its configured name.
        host: String,
        /// What was asked for.
        mode: CommandMode,
        /// The expanded text as it reached the bastion; a subsystem's name; empty for a shell.
        text: String,
    },
    /// What went in or out of a command.
    CommandOutput {
        /// The command.
        command: Uuid,
        /// Which way.
        stream: CommandStream,
        /// The text, control sequences made visible.
        text: String,
        /// The original bytes (base64) where `text` does not hold them exactly.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        raw: Option<String>,
    },
    /// A command ended.
    CommandFinished {
        /// The command.
        command: Uuid,
        /// Its exit code, if it had one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        exit_code: Option<i32>,
        /// The signal that ended it, if one did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        signal: Option<String>,
        /// How long it ran.
        #[ts(type = "number")]
        duration_ms: u64,
        /// Bytes of output that were counted and not kept.
        #[ts(type = "number")]
        omitted_bytes: u64,
        /// Why it ended, as a sentence, where it did not end by itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        message: Option<String>,
    },
    /// A verb was accepted and is about to reach the host.
    VerbStarted {
        /// This run.
        operation: OperationId,
        /// The machine.
        target: String,
        /// The verb.
        verb: String,
    },
    /// One line that the gate printed.
    VerbOutput {
        /// The run.
        operation: OperationId,
        /// Where it was printed.
        stream: OutputStream,
        /// The line, without its newline, control sequences made visible.
        line: String,
    },
    /// A verb ended.
    VerbFinished {
        /// The run.
        operation: OperationId,
        /// The machine.
        target: String,
        /// The verb.
        verb: String,
        /// How it ended.
        outcome: VerbOutcome,
        /// The gate's verdict line, if it gave one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        verdict: Option<String>,
        /// The gate's exit code, if it was reached.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        exit_code: Option<i32>,
        /// A sentence: what happened, and what to do next where it failed.
        message: String,
        /// How long it ran.
        #[ts(type = "number")]
        duration_ms: u64,
        /// Lines of output that were counted and not kept.
        #[ts(type = "number")]
        omitted_lines: u64,
        /// Whether the screen as it was just before is kept, under the run's name.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        #[ts(optional, as = "Option<bool>")]
        picture: bool,
    },
    /// A read-only diagnosis of the guest ended.
    CheckFinished {
        /// Its name.
        check: String,
        /// How it went.
        level: Level,
        /// One sentence.
        summary: String,
        /// What it read.
        evidence: String,
    },
    /// What the evidence says, by rule.
    Finding {
        /// The check that found it; none where the vital signs say it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        check: Option<String>,
        /// The rule.
        signature: String,
        /// One sentence.
        summary: String,
        /// What it rests on.
        evidence: Vec<String>,
        /// The one verb that it supports, if it supports one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        recommend: Option<String>,
    },
    /// The agent asks for leave.
    ApprovalRequested {
        /// This question.
        approval: String,
        /// The turn that asks.
        turn: TurnNumber,
        /// The tool call that asks, where one was open.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        tool_call: Option<String>,
        /// Where it would run: the guest or the host by its configured name, or `cell`.
        place: String,
        /// The whole command, never truncated.
        command: String,
        /// What it touches, as a sentence.
        touches: String,
        /// When it is void by itself, since who asks is ended then; RFC 3339. None: with its turn.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        expires_at: Option<String>,
    },
    /// The question is settled.
    ApprovalDecided {
        /// The question.
        approval: String,
        /// How.
        decision: Decision,
        /// What the agent is told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        note: Option<String>,
    },
    /// From now on the agent may do this much without asking.
    AutonomyChanged {
        /// How much.
        autonomy: Autonomy,
    },
    /// The bastion was closed to the agent, or opened again.
    CutOffChanged {
        /// Whether it is closed.
        cut_off: bool,
    },
    /// A host showed another key than the pinned one.
    HostKeyChanged {
        /// Which host.
        host: String,
        /// The pinned key's fingerprint.
        pinned: String,
        /// The fingerprint it showed.
        shown: String,
    },
    /// A check of what an emergency needs stands otherwise than before.
    ReadinessChanged {
        /// Its name, as readiness has it: `devvm.guest.sudo`.
        check: String,
        /// How it stood; what had not been looked at counts as green.
        before: CheckState,
        /// How it stands.
        now: CheckState,
        /// What was seen, as a sentence.
        evidence: String,
        /// What to do; none where all is well.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        remedy: Option<String>,
    },
    /// Something that the operator has to know.
    Notice {
        /// How grave.
        level: Level,
        /// A stable word for programs, such as `model_unreachable`.
        code: String,
        /// A sentence.
        message: String,
    },
    /// The log ends.
    IncidentClosed {},
}

impl EventBody {
    /// The kind's name on the wire.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            EventBody::IncidentOpened { .. } => "incident_opened",
            EventBody::Prompt { .. } => "prompt",
            EventBody::TurnStarted { .. } => "turn_started",
            EventBody::Text { .. } => "text",
            EventBody::ToolStarted { .. } => "tool_started",
            EventBody::ToolFinished { .. } => "tool_finished",
            EventBody::TurnEnded { .. } => "turn_ended",
            EventBody::CommandStarted { .. } => "command_started",
            EventBody::CommandOutput { .. } => "command_output",
            EventBody::CommandFinished { .. } => "command_finished",
            EventBody::VerbStarted { .. } => "verb_started",
            EventBody::VerbOutput { .. } => "verb_output",
            EventBody::VerbFinished { .. } => "verb_finished",
            EventBody::CheckFinished { .. } => "check_finished",
            EventBody::Finding { .. } => "finding",
            EventBody::ApprovalRequested { .. } => "approval_requested",
            EventBody::ApprovalDecided { .. } => "approval_decided",
            EventBody::AutonomyChanged { .. } => "autonomy_changed",
            EventBody::CutOffChanged { .. } => "cut_off_changed",
            EventBody::HostKeyChanged { .. } => "host_key_changed",
            EventBody::ReadinessChanged { .. } => "readiness_changed",
            EventBody::Notice { .. } => "notice",
            EventBody::IncidentClosed {} => "incident_closed",
        }
    }
}

/// How a turn ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[ts(export)]
pub enum TurnOutcome {
    /// The agent finished.
    Done,
    /// The agent, or the model's API, gave up.
    Failed,
    /// The operator stopped it.
    Stopped,
    /// The time limit ended it.
    TimedOut,
    /// The CLI or the server died under it.
    Interrupted,
}

/// How a verb ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[ts(export)]
pub enum VerbOutcome {
    /// The gate did it and the verdict agrees.
    Done,
    /// The gate tried, and the verdict or the exit code says no.
    Failed,
    /// The gate refused.
    Refused,
    /// The host was not reached, or did not answer in time.
    Unreachable,
    /// The server died while it ran; what it did on the host is not known.
    Interrupted,
}

/// Which of a command's two outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[ts(export)]
pub enum OutputStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How grave something is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, TS, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[ts(export)]
pub enum Level {
    /// All is well, or good to know.
    Info,
    /// Look at it.
    Warning,
    /// It does not work.
    Error,
}

/// How a check of readiness stands; the worse is the greater.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, TS, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
#[ts(export)]
pub enum CheckState {
    /// It holds.
    Green,
    /// It works and will bite later, or it could not be tried.
    Amber,
    /// It does not hold: in an emergency something would not work, or somebody has too much leave.
    Red,
}

impl CheckState {
    /// The word on the wire and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            CheckState::Green => "green",
            CheckState::Amber => "amber",
            CheckState::Red => "red",
        }
    }
}

/// Which of a command's standard streams.
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
    /// A shell without a command; what it is told is in its standard input.
    Shell,
    /// A subsystem, such as `sftp`.
    Subsystem,
}

/// What the agent may do without asking. Enforced where its commands pass, not in its prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "kebab-case")]
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
    /// The narrower of the two.
    #[must_use]
    pub fn at_most(self, most: Autonomy) -> Autonomy {
        let widest_first = |one: &Autonomy| Autonomy::ALL.iter().position(|it| it == one);
        match widest_first(&self) < widest_first(&most) {
            true => most,
            false => self,
        }
    }

    /// All settings, the widest first.
    pub const ALL: [Autonomy; 3] = [
        Autonomy::Autonomous,
        Autonomy::ApproveMutations,
        Autonomy::ReadOnly,
    ];

    /// The word in configuration, interface and log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Autonomy::Autonomous => "autonomous",
            Autonomy::ApproveMutations => "approve-mutations",
            Autonomy::ReadOnly => "read-only",
        }
    }

    /// The setting of this word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Autonomy> {
        Autonomy::ALL.into_iter().find(|one| one.as_str() == word)
    }
}

impl std::fmt::Display for Autonomy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What became of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[ts(export)]
pub enum Decision {
    /// Once, this command.
    Allow,
    /// No.
    Deny,
    /// Its turn ended first.
    Void,
}
