//! The HTTP interface: `docs/api.md` in types. Handlers translate between the wire and the
//! services; nothing is decided here that a service could decide.

mod compress;
mod events;
mod export;
mod extract;
mod headers;
mod health;
mod incidents;
mod leave;
pub mod listen;
mod metrics;
mod notifications;
mod openapi;
mod operations;
mod pictures;
mod problem;
mod report;
mod router;
mod session;
mod state;
mod streams;
mod targets;

#[cfg(test)]
mod tests;

pub use crate::metrics::{Ends, Turned};
pub use incidents::MAX_PROMPT;
pub use listen::{ListenLimits, serve};
pub use metrics::metrics_router;
pub use problem::{Problem, ProblemBody};
pub use router::{PROTECTED, router};
pub use state::{About, AppState, Services};
pub use streams::Streams;

use breakglass_log::LogError;

/// The log could not do it: the client is told why, since it is the operator's own.
impl From<LogError> for Problem {
    fn from(error: LogError) -> Problem {
        let detail = breakglass_model::sentence(error.to_string());
        match error {
            LogError::NotFound { .. } => Problem::not_found(detail),
            LogError::Closed { .. } => Problem::conflict("closed", "Closed", detail),
            LogError::TooLarge { .. } => Problem::unacceptable(detail),
            _ => {
                tracing::error!(%error, "the incident log failed");
                Problem::unavailable(detail)
            }
        }
    }
}
