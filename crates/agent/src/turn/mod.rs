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

mod effect;
mod questions;
mod tools;
mod words;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use std::time::Duration;

use breakglass_journal::{Actor, EventBody, Frame, Level, TurnNumber, TurnOutcome};

pub(crate) use effect::{Effect, Input};

use crate::ToolQuestion;
use crate::wire::{self, Block, Ending, Line, Question, ToolResult};
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
    /// What the CLI itself said in the model's place: the error in words.
    synthetic: Option<String>,
    cost_before: f64,
    login_told: bool,
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
            synthetic: None,
            cost_before,
            login_told: false,
        }
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

    /// The call of a tool that runs now, if one does: of several that the model made at once the CLI
    /// asks about each when its time has come.
    pub(crate) fn current_call(&self) -> Option<&str> {
        self.tools.current()
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
            Line::TextDelta(text) => vec![Effect::Show(Frame::TextDelta {
                turn: self.number,
                text: breakglass_journal::visible(&text),
            })],
            Line::Said { model, blocks } => self.said(&model, blocks),
            Line::ToolResults(results) => self.finished(results),
            Line::ApiRetry(retry) => self.retry(&retry),
            Line::Ask { request, question } => self.asked(&request, question),
            Line::Ended(ending) => self.ended(&ending, elapsed),
            Line::AskCancelled { request } => self.withdrawn(&request),
            Line::Init { .. } | Line::Answer { .. } | Line::Quiet | Line::Unknown => Vec::new(),
        }
    }

    fn said(&mut self, model: &str, blocks: Vec<Block<'_>>) -> Vec<Effect> {
        let mut effects = Vec::new();
        for block in blocks {
            match block {
                Block::Text { text } if model == "<synthetic>" => {
                    self.synthetic = Some(words::bounded_line(&text));
                }
                Block::Text { text } => effects.push(agent(EventBody::Text {
                    turn: self.number,
                    text: tools::kept(&text).0,
                })),
                Block::ToolUse { id, name, input } => {
                    effects.extend(self.tools.start(self.number, &id, &name, input));
                }
                Block::Other => {}
            }
        }
        effects
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
            (Phase::Running, Some(_)) if !self.questions.ask(request, question.input) => {
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
        let Some(input) = self.questions.settle(request) else {
            return Vec::new();
        };
        vec![Effect::Send(match (&self.phase, leave) {
            (Phase::Running, Ok(())) => wire::allow(request, &input),
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
        if retry.error_status != Some(401) {
            return vec![notice(
                Level::Warning,
                "model_unreachable",
                words::unreachable(retry),
            )];
        }
        if std::mem::replace(&mut self.login_told, true) {
            return Vec::new();
        }
        vec![notice(
            Level::Error,
            "agent_login_expired",
            words::LOGIN_EXPIRED.to_owned(),
        )]
    }

    fn begin_end(&mut self, why: Why) -> Vec<Effect> {
        if self.phase != Phase::Running {
            return Vec::new();
        }
        self.phase = Phase::Ending(why);
        vec![Effect::Interrupt]
    }

    fn ended(&mut self, ending: &Ending<'_>, elapsed: Duration) -> Vec<Effect> {
        let cost = ending
            .total_cost_usd
            .map(|total| (total - self.cost_before).max(0.0));
        let mut effects = Vec::new();
        let (outcome, reason) = if ending.is_error {
            if ending.api_error_status == Some(401) && !self.login_told {
                let text = words::LOGIN_EXPIRED.to_owned();
                effects.push(notice(Level::Error, "agent_login_expired", text));
            }
            (
                TurnOutcome::Failed,
                Some(words::failed(ending, self.synthetic.as_deref())),
            )
        } else {
            (TurnOutcome::Done, None)
        };
        effects.extend(self.end(outcome, reason, cost, elapsed));
        effects
    }

    fn gone(&mut self, reason: String, elapsed: Duration) -> Vec<Effect> {
        self.end(TurnOutcome::Interrupted, Some(reason), None, elapsed)
    }

    /// The one way out: closes open tools, then the turn. Who began to end it has the last word
    /// on how it ended.
    fn end(
        &mut self,
        outcome: TurnOutcome,
        reason: Option<String>,
        cost_usd: Option<f64>,
        elapsed: Duration,
    ) -> Vec<Effect> {
        let (actor, outcome, reason) = match std::mem::replace(&mut self.phase, Phase::Running) {
            Phase::Ending(Why::Stopped(actor)) => {
                (actor, TurnOutcome::Stopped, Some(words::stopped(outcome)))
            }
            Phase::Ending(Why::TimedOut(limit)) => (
                Actor::System,
                TurnOutcome::TimedOut,
                Some(words::timed_out(limit)),
            ),
            _ => (author(outcome), outcome, reason),
        };
        self.phase = Phase::Ended(outcome);
        let mut effects = self.tools.close(self.number, words::cut_off(outcome));
        effects.push(Effect::Record(
            actor,
            EventBody::TurnEnded {
                turn: self.number,
                outcome,
                reason,
                duration_ms: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
                cost_usd,
            },
        ));
        effects
    }
}

fn author(outcome: TurnOutcome) -> Actor {
    match outcome {
        TurnOutcome::Done | TurnOutcome::Failed => Actor::Agent,
        _ => Actor::System,
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
