//! A rehearsed incident: a simulated hypervisor and guest behind real SSH servers on loopback,
//! and a scripted agent that works on them as the real one would.
//!
//! Nothing here is test code: `breakglass drill` runs the production wiring against it.
//!
//! - [`Simulation`] is the target: one coherent machine, two SSH servers (guest and gate).
//! - [`Scenario`] says what is broken in it, and what counts as repaired.
//! - [`scripted_agent`] is the program behind the hidden subcommand `drill-agent`.

#![forbid(unsafe_code)]

mod agent;
mod host;
mod machine;
mod scenario;
mod shell;

pub use agent::scripted_agent;
pub use host::{HostKeys, Simulation};
pub use scenario::{Scenario, UnknownScenario};
