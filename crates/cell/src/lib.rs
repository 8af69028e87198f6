//! What one agent can reach, and how it is kept to that: its home and sandbox ([`Cell`]), the connections out of
//! the sandbox ([`outbound`]), the proxy to its model ([`egress`]) and the gateway that joins proxy and bastion.
//!
//! Starting and driving the CLI belongs to the agent's crate, decisions on commands to the bastion.

#![forbid(unsafe_code)]

mod agents;
pub mod egress;
mod gateway;
mod home;
mod kind;
mod options;
pub mod outbound;
mod sandbox;
mod ssh;

pub use agents::{NoAgent, allowed_hosts, build_agents};
pub use home::Cell;
pub use kind::Kind;
pub use options::other_options;
pub use outbound::Outbound;
pub use sandbox::SandboxSetup;
pub use ssh::{SOCKETS, client_config};
