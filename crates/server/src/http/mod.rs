//! The HTTP interface of `docs/api.md`. Handlers translate between requests and the services, which
//! make all decisions.

mod compress;
mod events;
mod export;
mod extract;
mod fallback;
mod headers;
mod health;
mod incidents;
pub mod listen;
mod lookup;
mod metrics;
mod notifications;
mod openapi;
mod operations;
mod permission;
mod report;
mod router;
mod screenshots;
mod session;
mod state;
mod streams;
mod targets;

#[cfg(test)]
mod tests;

pub use incidents::PROMPT_MAX_BYTES;
pub use listen::{ListenLimits, serve};
pub use metrics::metrics_router;

pub use router::{PROTECTED, router};
pub use state::{AppState, ServerInfo, Services};
pub use streams::Streams;
