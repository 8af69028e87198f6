//! A bridge: for the server it is the claude CLI, which speaks stream-json; for an agent it is a client that
//! speaks ACP, the Agent Client Protocol (version 1, JSON-RPC over standard streams).
//!
//! ```text
//!  server ◀─ stream-json ─▶ bridge ◀─ ACP ─▶ agent (codex-acp, opencode acp, …)
//!           └──────────────── the agent's cell ────────────────┘
//! ```
//! It runs inside the cell and is trusted no more than the agent: the server decodes, judges, records and stops
//! it exactly like the claude CLI.
//!
//! [`Bridge`] is pure: it turns a line of either side into lines for both. [`run`] reads and writes.

mod agent;
mod arguments;
mod bridge;
mod calls;
mod model_failure;
mod plan;
mod rpc;
mod run;
mod sessions;
mod setup;
mod tool_call;
mod turn;
mod wire;

pub use arguments::Arguments;
pub use bridge::{Bridge, Effect};
pub use plan::{Plan, Session};
pub use run::run;
