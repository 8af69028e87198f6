use std::time::Duration;

use breakglass_model::{Actor, EventBody, Frame};

use crate::wire::Line;
use breakglass_model::gateway::ToolQuestion;

/// What can happen to a turn.
#[derive(Debug)]
pub(crate) enum Input<'a> {
    /// The CLI printed a line.
    Line(Line<'a>),
    /// The operator wants it to stop.
    Stop(Actor),
    /// It has taken as long as it may.
    TimeLimit(Duration),
    /// The CLI has printed nothing for `so_far`, and will be ended at `limit`.
    Silent {
        /// How long it has been silent.
        so_far: Duration,
        /// How long it may be.
        limit: Duration,
    },
    /// It was decided whether a tool may be used.
    Ruled {
        /// The CLI's question.
        request: String,
        /// If not, a sentence for the agent.
        leave: Result<(), String>,
    },
    /// The process is no more; why, as a sentence.
    Gone(String),
}

/// What is to be done. An effect is tried only if the ones before it succeeded.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Effect {
    /// Append to the incident's log.
    Record(Actor, EventBody),
    /// Show to whoever is attached now.
    Show(Frame),
    /// Have it decided whether a tool may be used.
    Judge {
        /// The CLI's question.
        request: String,
        /// What it is about.
        question: ToolQuestion,
    },
    /// The CLI no longer asks this.
    Withdraw(String),
    /// Write this line to the CLI.
    Send(String),
    /// Ask the CLI to end the turn, and end the CLI if it does not.
    Interrupt,
}
