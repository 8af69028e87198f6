//! The inputs and effects of a turn.

use std::time::Duration;

use breakglass_model::{Actor, EventBody, Frame};

use crate::wire::Line;
use breakglass_model::gateway::ToolQuestion;

/// Something that happens to a turn.
#[derive(Debug)]
pub(crate) enum Input<'a> {
    /// The CLI printed a line.
    Line(Line<'a>),
    /// The operator stops the turn.
    Stop(Actor),
    /// The turn has reached its maximum duration.
    TimeLimit(Duration),
    /// The CLI has printed nothing for `so_far`, and will be ended at `limit`.
    Silent { so_far: Duration, limit: Duration },
    /// The decision about a tool use.
    Ruled {
        /// Id of the CLI's request.
        request: String,
        /// The error is a sentence for the agent.
        permission: Result<(), String>,
    },
    /// The process is gone; the reason is a sentence.
    Gone(String),
}

/// What the caller has to do. An effect is carried out only if those before it succeeded.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Effect {
    /// Append to the incident log.
    Record(Actor, EventBody),
    /// Show to the clients that are attached now.
    Show(Frame),
    /// Decide whether a tool may be used.
    Judge {
        /// Id of the CLI's request.
        request: String,
        question: ToolQuestion,
    },
    /// The CLI has withdrawn this request.
    Withdraw(String),
    /// Write this line to the CLI.
    Send(String),
    /// Ask the CLI to end the turn, and kill the CLI if it does not.
    Interrupt,
}
