//! A turn, from the operator's prompt until the agent is done with it: a pure function from what
//! happens to what is to be done about it.
//!
//! ```text
//!            Stop, TimeLimit                 result, Gone
//! Running ───────────────────► Ending(why) ───────────────► Ended
//!    │                                                        ▲
//!    └──────────────── result, Gone ──────────────────────────┘
//! ```
//!
//! Whatever the CLI prints, a turn records `turn_ended` exactly once and as its last event, and
//! every `tool_started` is followed by one `tool_finished` before it. Nothing here waits, reads a
//! clock or writes: [`crate::conversation`] does.

mod call;
mod effect;
mod ending;
mod questions;
mod tools;
mod words;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use std::time::Duration;

use breakglass_model::{Actor, EventBody, Frame, Level, TurnNumber, TurnOutcome};

pub(crate) use effect::{Effect, Input};

use crate::refusal::Refusal;
use crate::wire::{self, Block, Line, Question, Status, ToolResult};
use breakglass_model::gateway::ToolQuestion;
use questions::Questions;
use serde_json::Value;
use tools::OpenTools;

/// One turn.
#[derive(Debug)]
pub(crate) struct Turn {
    number: TurnNumber,
    phase: Phase,
    tools: OpenTools,
    questions: Questions,
    /// The failure of which the CLI spoke in the model's place, until the model answers again.
    failure: Option<Failure>,
    /// Whether there is a word of the agent that answers what it was asked last.
    answered: bool,
    /// What the agent said last.
    last_text: String,
    compacting: bool,
    cost_before: f64,
    /// How a login is renewed here.
    sign_in: String,
    /// The last that is known of the model's API is that it could not be reached.
    retried: bool,
    login_told: bool,
    /// The agent at the beginning of a sentence.
    called: String,
}

/// A failure in the CLI's words, and its word for the kind.
#[derive(Debug)]
struct Failure {
    words: String,
    kind: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
enum Phase {
    Running,
    Ending(Why),
    Ended(TurnOutcome),
}

#[derive(Debug, Clone, PartialEq)]
enum Why {
    Stopped(Actor),
    TimedOut(Duration),
}

impl Turn {
    /// A turn that begins on a process that has cost `cost_before` US dollars so far.
    pub(crate) fn new(number: TurnNumber, cost_before: f64) -> Turn {
        Turn {
            number,
            phase: Phase::Running,
            tools: OpenTools::default(),
            questions: Questions::default(),
            failure: None,
            answered: false,
            last_text: String::new(),
            compacting: false,
            cost_before,
            sign_in: String::new(),
            retried: false,
            login_told: false,
            called: crate::Kind::Claude.called(),
        }
    }

    /// `sign_in` is how a login is renewed here, as a sentence.
    pub(crate) fn with_sign_in(self, sign_in: &str) -> Turn {
        let sign_in = sign_in.to_owned();
        Turn { sign_in, ..self }
    }

    /// `called` is the agent at the beginning of a sentence.
    pub(crate) fn with_agent(self, called: String) -> Turn {
        Turn { called, ..self }
    }

    /// How it ended, once it has.
    pub(crate) fn outcome(&self) -> Option<TurnOutcome> {
        match self.phase {
            Phase::Ended(outcome) => Some(outcome),
            _ => None,
        }
    }

    /// Whether a tool runs, so that silence of the CLI is no sign of anything.
    pub(crate) fn tool_runs(&self) -> bool {
        self.tools.any()
    }

    /// The calls that run a command now.
    pub(crate) fn running_calls(&self) -> Vec<&str> {
        self.tools.running()
    }

    /// What is to be done, in this order, about `input`, which came `elapsed` after the prompt.
    pub(crate) fn step(&mut self, input: Input<'_>, elapsed: Duration) -> Vec<Effect> {
        if self.outcome().is_some() {
            return Vec::new();
        }
        match input {
            Input::Line(line) => self.line(line, elapsed),
            Input::Stop(actor) => self.begin_end(Why::Stopped(actor)),
            Input::TimeLimit(limit) => self.begin_end(Why::TimedOut(limit)),
            Input::Silent { so_far, limit } => {
                vec![notice(
                    Level::Warning,
                    "agent_silent",
                    words::silent(so_far, limit),
                )]
            }
            Input::Ruled { request, leave } => self.ruled(&request, leave),
            Input::Gone(reason) => self.gone(reason, elapsed),
        }
    }

    fn line(&mut self, line: Line<'_>, elapsed: Duration) -> Vec<Effect> {
        match line {
            Line::TextDelta(text) => {
                self.retried = false;
                vec![Effect::Show(Frame::TextDelta {
                    turn: self.number,
                    text: breakglass_model::visible(&text),
                })]
            }
            Line::Said {
                model,
                error,
                blocks,
            } => self.said(&model, error.as_deref(), blocks),
            Line::Status(status) => self.status(&status),
            Line::ToolResults(results) => self.finished(results),
            Line::ApiRetry(retry) => self.retry(&retry),
            Line::Ask { request, question } => self.asked(&request, question),
            Line::Ended(ending) => self.ended(&ending, elapsed),
            Line::AskCancelled { request } => self.withdrawn(&request),
            Line::Init { .. } | Line::Answer { .. } | Line::Quiet | Line::Unknown => Vec::new(),
        }
    }

    fn said(&mut self, model: &str, error: Option<&str>, blocks: Vec<Block<'_>>) -> Vec<Effect> {
        if model == "<synthetic>" || error.is_some() {
            return self.cli_said(error, &blocks);
        }
        let mut effects = Vec::new();
        for block in blocks {
            match block {
                Block::Text { text } => {
                    effects.extend(self.overcome());
                    self.answered |= !text.trim().is_empty();
                    effects.push(self.text(&text));
                }
                Block::ToolUse { id, name, input } => {
                    effects.extend(self.overcome());
                    self.answered = false;
                    effects.extend(self.tools.start(self.number, &id, &name, input));
                }
                Block::Other => {}
            }
        }
        effects
    }

    fn text(&mut self, text: &str) -> Effect {
        let turn = self.number;
        let text = tools::kept(text).0;
        self.last_text.clone_from(&text);
        agent(EventBody::Text { turn, text })
    }

    /// The CLI speaks in the model's place: of a failure, which may end the turn or be overcome, or
    /// of what it did by itself.
    fn cli_said(&mut self, error: Option<&str>, blocks: &[Block<'_>]) -> Vec<Effect> {
        let words = blocks.iter().filter_map(|block| match block {
            Block::Text { text } => Some(&**text),
            _ => None,
        });
        let words = words::bounded_line(&words.collect::<Vec<_>>().join(" "));
        if words.is_empty() && error.is_none() {
            return Vec::new();
        }
        if error.is_none() && !words.starts_with("API Error") && !self.is_refused(&words) {
            self.answered = true;
            let text = words::cli_says(&self.called, &words);
            return vec![notice(Level::Warning, "agent_cli_says", text)];
        }
        let kind = error.map(words::bounded_line);
        self.failure = Some(Failure { words, kind });
        Vec::new()
    }

    fn is_refused(&self, words: &str) -> bool {
        Refusal::of(None, None, Some(words)).is_some()
    }

    /// The model answers again: a failure before that is told, and is no end.
    fn overcome(&mut self) -> Option<Effect> {
        let failure = self.failure.take()?;
        let text = words::cli_says(&self.called, &failure.told());
        Some(notice(Level::Warning, "agent_cli_says", text))
    }

    fn status(&mut self, status: &Status<'_>) -> Vec<Effect> {
        if status.status.as_deref() == Some("requesting") {
            self.answered = false;
        }
        let began = status.is_compacting() && !self.compacting;
        self.compacting = status.is_compacting();
        match status.compact_result.as_deref() {
            Some("failed") => {
                let text = words::not_compacted(status.compact_error.as_deref());
                vec![notice(Level::Warning, "agent_not_compacted", text)]
            }
            // To shorten it may be all that was asked for.
            Some(_) => {
                self.answered = true;
                Vec::new()
            }
            None if began => {
                let text = words::COMPACTING.to_owned();
                vec![notice(Level::Info, "agent_compacting", text)]
            }
            None => Vec::new(),
        }
    }

    fn finished(&mut self, results: Vec<ToolResult<'_>>) -> Vec<Effect> {
        results
            .into_iter()
            .filter_map(|result| self.tools.finish(self.number, &result))
            .collect()
    }

    /// The call is recorded before it is allowed: nothing runs unrecorded.
    fn asked(&mut self, request: &str, question: Option<Question<'_>>) -> Vec<Effect> {
        let Some(question) = question else {
            return vec![Effect::Send(wire::refuse(request))];
        };
        let id = question.tool_use_id.as_deref().unwrap_or(request);
        let input: Value = serde_json::from_str(question.input.get()).unwrap_or_default();
        let command = input["command"].as_str().map(str::to_owned);
        let mut effects = Vec::new();
        effects.extend(
            self.tools
                .start(self.number, id, &question.tool_name, input),
        );
        let deny = |why: &str| Effect::Send(wire::deny(request, why));
        effects.push(match (&self.phase, command) {
            (Phase::Running, _) if !tools::allowed(&question.tool_name) => {
                deny(&words::no_such_tool(&question.tool_name))
            }
            (Phase::Running, _) if !self.tools.recorded(id) => deny("It could not be recorded."),
            (Phase::Running, Some(_)) if !self.questions.ask(request, id, question.input) => {
                deny("Too many questions are open.")
            }
            (Phase::Running, Some(command)) => {
                self.tools.asked(id);
                let tool_call = id.to_owned();
                let question = ToolQuestion { tool_call, command };
                let request = request.to_owned();
                Effect::Judge { request, question }
            }
            // What runs no command looks at files of the cell.
            (Phase::Running, None) => Effect::Send(wire::allow(request, question.input)),
            _ => deny("This turn is being ended."),
        });
        effects
    }

    fn ruled(&mut self, request: &str, leave: Result<(), String>) -> Vec<Effect> {
        let Some((call, input)) = self.questions.settle(request) else {
            return Vec::new();
        };
        vec![Effect::Send(match (&self.phase, leave) {
            (Phase::Running, Ok(())) => {
                self.tools.given(&call);
                wire::allow(request, &call::named(input, &call))
            }
            (Phase::Running, Err(why)) => wire::deny(request, &why),
            _ => wire::deny(request, "This turn is being ended."),
        })]
    }

    fn withdrawn(&mut self, request: &str) -> Vec<Effect> {
        let settled = self.questions.settle(request);
        settled
            .map(|_| Effect::Withdraw(request.to_owned()))
            .into_iter()
            .collect()
    }

    fn retry(&mut self, retry: &wire::ApiRetry<'_>) -> Vec<Effect> {
        match Refusal::of(retry.error_status, retry.error.as_deref(), None) {
            Some(refusal) => self.refused(refusal).into_iter().collect(),
            None => {
                self.retried = true;
                vec![notice(
                    Level::Warning,
                    "model_unreachable",
                    words::unreachable(retry),
                )]
            }
        }
    }

    /// Whether it failed because the model's API could not be reached.
    pub(crate) fn is_unreachable(&self) -> bool {
        self.retried && self.outcome() == Some(TurnOutcome::Failed)
    }

    /// Told once in a turn.
    fn refused(&mut self, refusal: Refusal) -> Option<Effect> {
        let told = std::mem::replace(&mut self.login_told, true);
        let text = refusal.sentence(&self.sign_in);
        (!told).then(|| notice(Level::Error, refusal.code(), text))
    }
}

impl Failure {
    /// In words, where there are any.
    fn told(&self) -> String {
        match (&*self.words, &self.kind) {
            ("", Some(kind)) => kind.clone(),
            (words, _) => words.to_owned(),
        }
    }
}

fn agent(body: EventBody) -> Effect {
    Effect::Record(Actor::Agent, body)
}

fn notice(level: Level, code: &str, message: String) -> Effect {
    Effect::Record(
        Actor::System,
        EventBody::Notice {
            level,
            code: code.to_owned(),
            message,
        },
    )
}
