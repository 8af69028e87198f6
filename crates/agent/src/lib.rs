//! The agent: the claude CLI, or a bridge that speaks like it, as one living process per incident, driven
//! over stream-json.
//!
//! This crate holds no key and reaches no machine. It starts the CLI in its cell, turns the
//! operator's prompts into its input and what it prints into events of the incident log.

#![deny(unsafe_code)]

mod account;
mod agents;
mod beneath;
mod cell;
mod child;
mod conversation;
mod crew;
mod door;
mod error;
mod health;
mod homes;
mod kind;
mod options;
mod refusal;
pub mod runner;
pub mod sandbox;
mod ssh_files;
mod start;
mod trial;
mod turn;
pub mod wire;

pub use account::{Account, act_as};
pub use agents::Agents;
pub use child::{Family, Stranger, without_privileges};
pub use conversation::Asked;
pub use door::{Knocked, hand_over, knock};
pub use error::PromptError;
pub use health::AgentHealth;
pub use homes::give_sign_in;
pub use kind::{AcpAgent, Kind};
pub use options::{AgentOptions, RunnerAccess, TargetNames, Walls};
pub use ssh_files::write_ssh_files;
pub use trial::{NoAnswer, try_cli, try_inside, try_model};
