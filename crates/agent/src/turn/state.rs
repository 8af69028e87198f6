//! The state of a turn, and how a line of the CLI changes it.

use std::time::Duration;

use breakglass_model::{Actor, EventBody, Frame, Level, TurnNumber, TurnOutcome};

use super::effect::{Effect, Input};
use super::messages;
use super::questions::Questions;
use super::tools::{self, ToolCalls};
use crate::AgentKind;
use crate::refusal::Refusal;
use crate::wire::{ApiRetry, Block, Line, Status, ToolResult};

/// One turn.
#[derive(Debug)]
pub(crate) struct Turn {
    pub(super) number: TurnNumber,
    pub(super) phase: Phase,
    pub(super) calls: ToolCalls,
    pub(super) questions: Questions,
    /// A failure that the CLI reported in the model's place, until the model answers again.
    pub(super) failure: Option<Failure>,
    /// Whether the agent has answered since it was last asked something.
    pub(super) is_answered: bool,
    /// The agent's last text.
    pub(super) last_text: String,
    is_compacting: bool,
    pub(super) cost_before: f64,
    /// How the operator renews the login here, as a sentence.
    pub(super) login_remedy: String,
    /// Whether the last request to the model's API failed.
    is_retrying: bool,
    is_refusal_recorded: bool,
    /// The agent's name at the beginning of a sentence.
    pub(super) agent: String,
}

/// A failure as the CLI reports it.
#[derive(Debug)]
pub(super) struct Failure {
    text: String,
    pub(super) kind: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Phase {
    Running,
    Ending(Why),
    Ended(TurnOutcome),
}

/// Why the turn is being ended.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Why {
    Stopped(Actor),
    TimedOut(Duration),
}

impl Turn {
    /// A turn of a process that has cost `cost_before` US dollars so far.
    pub(crate) fn new(number: TurnNumber, cost_before: f64) -> Turn {
        Turn {
            number,
            phase: Phase::Running,
            calls: ToolCalls::default(),
            questions: Questions::default(),
            failure: None,
            is_answered: false,
            last_text: String::new(),
            is_compacting: false,
            cost_before,
            login_remedy: String::new(),
            is_retrying: false,
            is_refusal_recorded: false,
            agent: AgentKind::Claude.display_name(),
        }
    }

    /// `login_remedy` says how the operator renews the login here, as a sentence.
    pub(crate) fn with_login_remedy(self, login_remedy: &str) -> Turn {
        let login_remedy = login_remedy.to_owned();
        Turn {
            login_remedy,
            ..self
        }
    }

    /// `agent` is the agent's name at the beginning of a sentence.
    pub(crate) fn with_agent(self, agent: String) -> Turn {
        Turn { agent, ..self }
    }

    /// How the turn ended, once it has.
    pub(crate) fn outcome(&self) -> Option<TurnOutcome> {
        match self.phase {
            Phase::Ended(outcome) => Some(outcome),
            _ => None,
        }
    }

    /// Whether a tool is running, during which the CLI may be silent.
    pub(crate) fn is_tool_running(&self) -> bool {
        self.calls.is_any_open()
    }

    /// The calls that run a command now.
    pub(crate) fn running_calls(&self) -> Vec<&str> {
        self.calls.running()
    }

    /// Whether the turn failed because the model's API could not be reached.
    pub(crate) fn is_unreachable(&self) -> bool {
        self.is_retrying && self.outcome() == Some(TurnOutcome::Failed)
    }

    /// Handles `input`, which came `elapsed` after the prompt. The effects have to be carried out in order.
    pub(crate) fn step(&mut self, input: Input<'_>, elapsed: Duration) -> Vec<Effect> {
        if self.outcome().is_some() {
            return Vec::new();
        }
        match input {
            Input::Line(line) => self.line(line, elapsed),
            Input::Stop(actor) => self.begin_end(Why::Stopped(actor)),
            Input::TimeLimit(limit) => self.begin_end(Why::TimedOut(limit)),
            Input::Silent { so_far, limit } => {
                let message = messages::silent(so_far, limit);
                vec![notice(Level::Warning, "agent_silent", message)]
            }
            Input::Ruled {
                request,
                permission,
            } => self.ruled(&request, permission),
            Input::Gone(reason) => self.gone(reason, elapsed),
        }
    }

    fn line(&mut self, line: Line<'_>, elapsed: Duration) -> Vec<Effect> {
        match line {
            Line::TextDelta(text) => {
                self.is_retrying = false;
                vec![Effect::Show(Frame::TextDelta {
                    turn: self.number,
                    text: breakglass_model::visible(&text),
                })]
            }
            Line::Assistant {
                model,
                error,
                blocks,
            } => self.assistant(&model, error.as_deref(), blocks),
            Line::Status(status) => self.status(&status),
            Line::ToolResults(results) => self.tool_results(&results),
            Line::ApiRetry(retry) => self.retry(&retry),
            Line::ControlRequest { request, tool_use } => self.requested(&request, tool_use),
            Line::ControlCancelled { request } => self.withdrawn(&request),
            Line::TurnResult(result) => self.ended(&result, elapsed),
            Line::Init { .. } | Line::ControlResponse { .. } | Line::Ignored | Line::Unknown => {
                Vec::new()
            }
        }
    }

    fn assistant(
        &mut self,
        model: &str,
        error: Option<&str>,
        blocks: Vec<Block<'_>>,
    ) -> Vec<Effect> {
        if model == "<synthetic>" || error.is_some() {
            return self.synthetic(error, &blocks);
        }
        let mut effects = Vec::new();
        for block in blocks {
            match block {
                Block::Text { text } => {
                    effects.extend(self.overcome_failure());
                    self.is_answered |= !text.trim().is_empty();
                    effects.push(self.text(&text));
                }
                Block::ToolUse { id, name, input } => {
                    effects.extend(self.overcome_failure());
                    self.is_answered = false;
                    effects.extend(self.calls.start(self.number, &id, &name, input));
                }
                Block::Other => {}
            }
        }
        effects
    }

    pub(super) fn text(&mut self, text: &str) -> Effect {
        let text = tools::bounded_text(text).0;
        self.last_text.clone_from(&text);
        let turn = self.number;
        Effect::Record(Actor::Agent, EventBody::Text { turn, text })
    }

    /// The CLI's own text in the model's place: a failure, which may end the turn or be overcome, or a report of
    /// what the CLI did by itself.
    fn synthetic(&mut self, error: Option<&str>, blocks: &[Block<'_>]) -> Vec<Effect> {
        let texts = blocks.iter().filter_map(|block| match block {
            Block::Text { text } => Some(&**text),
            _ => None,
        });
        let text = messages::bounded_line(&texts.collect::<Vec<_>>().join(" "));
        if text.is_empty() && error.is_none() {
            return Vec::new();
        }
        let is_failure = error.is_some()
            || text.starts_with("API Error")
            || Refusal::of(None, None, Some(&text)).is_some();
        if !is_failure {
            self.is_answered = true;
            let message = messages::cli_says(&self.agent, &text);
            return vec![notice(Level::Warning, "agent_cli_says", message)];
        }
        let kind = error.map(messages::bounded_line);
        self.failure = Some(Failure { text, kind });
        Vec::new()
    }

    /// The model answers again: an earlier failure becomes a notice.
    fn overcome_failure(&mut self) -> Option<Effect> {
        let failure = self.failure.take()?;
        let message = messages::cli_says(&self.agent, &failure.description());
        Some(notice(Level::Warning, "agent_cli_says", message))
    }

    fn status(&mut self, status: &Status<'_>) -> Vec<Effect> {
        if status.status.as_deref() == Some("requesting") {
            self.is_answered = false;
        }
        let has_begun = status.is_compacting() && !self.is_compacting;
        self.is_compacting = status.is_compacting();
        match status.compact_result.as_deref() {
            Some("failed") => {
                let message = messages::not_compacted(status.compact_error.as_deref());
                vec![notice(Level::Warning, "agent_not_compacted", message)]
            }
            // The operator may have asked only for the compaction.
            Some(_) => {
                self.is_answered = true;
                Vec::new()
            }
            None if has_begun => {
                let message = messages::COMPACTING.to_owned();
                vec![notice(Level::Info, "agent_compacting", message)]
            }
            None => Vec::new(),
        }
    }

    fn tool_results(&mut self, results: &[ToolResult<'_>]) -> Vec<Effect> {
        let results = results.iter();
        results
            .filter_map(|result| self.calls.finish(self.number, result))
            .collect()
    }

    fn retry(&mut self, retry: &ApiRetry<'_>) -> Vec<Effect> {
        if let Some(refusal) = Refusal::of(retry.error_status, retry.error.as_deref(), None) {
            return self.refused(refusal).into_iter().collect();
        }
        self.is_retrying = true;
        let message = messages::unreachable(retry);
        vec![notice(Level::Warning, "model_unreachable", message)]
    }

    /// Records a refusal once in a turn.
    pub(super) fn refused(&mut self, refusal: Refusal) -> Option<Effect> {
        let is_recorded = std::mem::replace(&mut self.is_refusal_recorded, true);
        let message = refusal.sentence(&self.login_remedy);
        (!is_recorded).then(|| notice(Level::Error, refusal.code(), message))
    }
}

impl Failure {
    /// The CLI's text, or its word for the kind if there is no text.
    pub(super) fn description(&self) -> String {
        match (&*self.text, &self.kind) {
            ("", Some(kind)) => kind.clone(),
            (text, _) => text.to_owned(),
        }
    }
}

pub(super) fn notice(level: Level, code: &str, message: String) -> Effect {
    let body = EventBody::Notice {
        level,
        code: code.to_owned(),
        message,
    };
    Effect::Record(Actor::System, body)
}
