//! A rehearsed incident: a simulated hypervisor and guest behind real SSH servers on loopback, and a
//! scripted agent that works on them as a real agent would. `breakglass drill` runs the production
//! wiring against it.
//!
//! - [`Simulation`] is the target: one simulated machine, an SSH server for its guest and one for
//!   its host.
//! - [`Scenario`] defines what is broken in it, and when it counts as repaired.
//! - [`scripted_agent`] is the program behind the hidden subcommand `drill-agent`.

#![forbid(unsafe_code)]

mod agent;
mod machine;
mod scenario;
mod shell;
mod simulation;

pub use agent::scripted_agent;
pub use scenario::{Scenario, UnknownScenario};
pub use simulation::{HostKeys, Simulation};
