//! A bridge: to the server it is the claude CLI, which speaks stream-json; to an agent it is a client that
//! speaks ACP, the Agent Client Protocol (version 1, JSON-RPC over standard streams).
//!
//! ```text
//!  server ◀─ stream-json ─▶ bridge ◀─ ACP ─▶ agent (codex-acp, opencode acp, …)
//!           └──────────────── the agent's cell ────────────────┘
//! ```
//! It runs inside the cell, as no more than a part of the agent: what it says is decoded, judged, recorded
//! and stopped by the server exactly as what the claude CLI says. Nothing of it is trusted there.
//!
//! [`Bridge`] is pure: from a line of either side, to lines for both. [`run`] does the reading and writing.

mod agent;
mod arguments;
mod bridge;
mod calls;
mod fault;
mod open;
mod rpc;
mod run;
mod sessions;
mod short_lines;
mod told;
mod turn;
mod wire;

pub use arguments::Arguments;
pub use bridge::{Bridge, Effect, Plan, Session};
pub use run::run;
