//! One incident's conversation with the agent: a task that owns the CLI process and executes commands one by one.
//!
//! ```text
//!            warm, prompt                prompt              turn over
//!  (no task) ───────────► starting ──► idle ──────► turn ───────────────► idle
//!                            │          │             │
//!                            └──────────┴─────────────┴──► ended: no process, no task
//!                           cannot start   idle too long,   the CLI died or was killed
//!                                          slot wanted, shutdown
//! ```
//!
//! The task lives as long as its process. The number of the last turn and its session are in the log, where the
//! next prompt reads them. So it makes no difference whether the CLI died, was idle for too long, or the whole
//! server restarted.

mod history;
mod process;
mod questions;
mod recorder;
mod running_turn;
mod summary;
mod task;
mod timers;
mod types;

pub(crate) use task::Conversation;
pub use types::PromptTarget;
pub(crate) use types::{Activity, Command, PromptRequest, Shared};
