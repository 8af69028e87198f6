//! Everything that can happen in an incident: one closed set for the log, the page, the CLI, the report and the audit.
//! The words that events use are in `outcome`.

use breakglass_verbs::{Verb, Verdict};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;
use ts_rs::TS;
use uuid::Uuid;

use crate::actor::Actor;
use crate::diagnosis::Diagnosis;
use crate::outcome::{
    Autonomy, CheckState, CommandMode, CommandStream, Decision, Level, OutputStream, TurnOutcome,
    VerbOutcome,
};
use crate::time::Time;
use crate::word::{self, VerbWord, VerdictWord};

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
    /// When it happened.
    pub at: Time,
    /// Who did it.
    pub actor: Actor,
    /// What happened.
    #[serde(flatten)]
    pub body: EventBody,
    /// SHA-256 over the previous event's hash and this event's canonical bytes; lower-case hex.
    pub hash: String,
}

/// What happened. Each variant is one `kind` in JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS, JsonSchema, IntoStaticStr)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
#[ts(export, optional_fields)]
pub enum EventBody {
    /// The log begins.
    IncidentOpened {
        /// The target.
        target: String,
        /// Whether this is a drill on a simulated target.
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
        /// The agent that took it, if several are configured.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        agent: Option<String>,
        /// The model asked for.
        model: String,
        /// The CLI's session, to resume it.
        session: Uuid,
    },
    /// A finished block of the agent's words (Markdown).
    Text {
        /// The turn.
        turn: TurnNumber,
        /// The text.
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
        /// One line for people, such as the command or the file.
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
        /// Whether the tool reported a failure.
        is_error: bool,
        /// What it printed; only head and tail if it is long.
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
        /// Why it ended, as a sentence; none if the agent finished.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// From prompt to end.
        #[ts(type = "number")]
        duration_ms: u64,
        /// What the model's API charged, if the CLI reports it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cost_usd: Option<f64>,
    },
    /// A command of the agent reached the bastion; nothing of it has run yet.
    CommandStarted {
        /// Names this command.
        command: Uuid,
        /// The turn that runs it.
        turn: TurnNumber,
        /// The tool call that caused it, if known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tool_call: Option<String>,
        /// The guest or the host, by its configured name.
        host: String,
        /// What kind of session it is.
        mode: CommandMode,
        /// The command as it reached the bastion, or the subsystem's name; empty for a shell.
        text: String,
    },
    /// Input or output of a command.
    CommandOutput {
        /// The command.
        command: Uuid,
        /// The stream.
        stream: CommandStream,
        /// The text, control sequences made visible.
        text: String,
        /// The original bytes in base64, if `text` differs from them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        raw: Option<String>,
    },
    /// A command ended.
    CommandFinished {
        /// The command.
        command: Uuid,
        /// Its exit code, if it had one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exit_code: Option<i32>,
        /// The signal that ended it, if one did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signal: Option<String>,
        /// How long it ran.
        #[ts(type = "number")]
        duration_ms: u64,
        /// Bytes of output that were counted but not kept.
        #[ts(type = "number")]
        omitted_bytes: u64,
        /// Why it ended, as a sentence, if it did not end by itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<String>,
    },
    /// A verb was accepted and is about to reach the host.
    VerbStarted {
        /// This run.
        operation: OperationId,
        /// The machine.
        target: String,
        /// The verb.
        #[serde(with = "word")]
        #[ts(as = "VerbWord")]
        #[schemars(with = "VerbWord")]
        verb: Verb,
    },
    /// One line that the gate printed.
    VerbOutput {
        /// The run.
        operation: OperationId,
        /// The stream it was printed to.
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
        #[serde(with = "word")]
        #[ts(as = "VerbWord")]
        #[schemars(with = "VerbWord")]
        verb: Verb,
        /// How it ended.
        outcome: VerbOutcome,
        /// The gate's verdict line, if it gave one.
        #[serde(
            default,
            skip_serializing_if = "Option::is_none",
            with = "word::optional"
        )]
        #[ts(as = "Option<VerdictWord>")]
        #[schemars(with = "Option<VerdictWord>")]
        verdict: Option<Verdict>,
        /// The gate's exit code, if it was reached.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exit_code: Option<i32>,
        /// A sentence: what happened and, if it failed, what to do next.
        message: String,
        /// How long it ran.
        #[ts(type = "number")]
        duration_ms: u64,
        /// Lines of output that were counted but not kept.
        #[ts(type = "number")]
        omitted_lines: u64,
        /// Whether a picture of the screen just before the verb is kept; its name is `operation`.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        #[ts(optional, as = "Option<bool>")]
        picture: bool,
    },
    /// A diagnosis of the guest ended.
    CheckFinished {
        /// Which one.
        check: Diagnosis,
        /// The result.
        level: Level,
        /// One sentence.
        summary: String,
        /// What it rests on.
        evidence: String,
    },
    /// A conclusion from evidence, by a fixed rule.
    Finding {
        /// The diagnosis that found it; none if it follows from vital signs.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        check: Option<Diagnosis>,
        /// The rule.
        signature: String,
        /// One sentence.
        summary: String,
        /// What it rests on.
        evidence: Vec<String>,
        /// The verb that the evidence supports, if any.
        #[serde(
            default,
            skip_serializing_if = "Option::is_none",
            with = "word::optional"
        )]
        #[ts(as = "Option<VerbWord>")]
        #[schemars(with = "Option<VerbWord>")]
        recommend: Option<Verb>,
    },
    /// The agent asks for permission.
    ApprovalRequested {
        /// This question.
        approval: String,
        /// The turn that asks.
        turn: TurnNumber,
        /// The tool call that asks, if known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tool_call: Option<String>,
        /// Where the command would run: guest or host by its configured name, or `cell`.
        place: String,
        /// The whole command, never truncated.
        command: String,
        /// What it affects, as a sentence.
        touches: String,
        /// When the question becomes void because the asking process reaches its time limit. None: when its turn ends.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_at: Option<Time>,
    },
    /// The question was settled.
    ApprovalDecided {
        /// The question.
        approval: String,
        /// How.
        decision: Decision,
        /// A message for the agent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        note: Option<String>,
    },
    /// The agent's autonomy was changed.
    AutonomyChanged {
        /// The new setting.
        autonomy: Autonomy,
    },
    /// The agent was cut off from guest and host, or connected again.
    CutOffChanged {
        /// Whether it is cut off now.
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
    /// The state of a readiness check changed.
    ReadinessChanged {
        /// The check's name, such as `devvm.guest.sudo`.
        check: String,
        /// The previous state; green if it was not checked before.
        before: CheckState,
        /// The new state.
        now: CheckState,
        /// The evidence, as a sentence.
        evidence: String,
        /// What to do; none if the check passes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        remedy: Option<String>,
    },
    /// A message for the operator.
    Notice {
        /// How serious it is.
        level: Level,
        /// A stable word for programs, such as `model_unreachable`.
        code: String,
        /// A sentence.
        message: String,
    },
    /// The incident was closed; no event follows.
    IncidentClosed {},
}

impl EventBody {
    /// The kind's name on the wire.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.into()
    }
}
