//! The agent: the claude CLI, or a bridge that speaks like it, as one running process per incident, driven over
//! stream-json.
//!
//! This crate has no key and reaches no machine. It starts the CLI in its cell, turns the operator's prompts into
//! the CLI's input, and the CLI's output into events of the incident log.

#![deny(unsafe_code)]

mod account;
mod agents;
mod bastion_socket;
mod cell;
mod child;
mod confinement;
mod conversation;
mod descriptor;
mod error;
mod health;
mod kind;
mod login;
mod model_name;
mod options;
mod plan;
mod privileges;
mod refusal;
mod roster;
pub mod runner;
mod safe_dir;
pub mod sandbox;
mod selftest;
mod start;
mod target;
mod turn;
pub mod wire;

pub use account::{Account, CellAccess, act_as};
pub use agents::Agents;
pub use bastion_socket::{BastionAnswer, connect_to_bastion, pass_connection};
pub use cell::{SshFiles, write_login, write_ssh_files};
pub use child::{NotInTree, ProcessTree};
pub use confinement::Confinement;
pub use conversation::PromptTarget;
pub use error::PromptError;
pub use health::AgentHealth;
pub use kind::{AcpAgent, AgentKind};
pub use model_name::is_model_name;
pub use options::{AgentOptions, RunnerAccess};
pub use privileges::without_privileges;
pub use selftest::{ModelError, ask_model, check_cli, run_in_sandbox};
pub use target::TargetNames;
