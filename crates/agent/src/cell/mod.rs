//! The cell that the CLI lives in: its directories, its instructions, its command line, its start.
//!
//! [`crate::child`] owns the running process, [`crate::sandbox`] what surrounds it.

mod command;
mod conversation_dirs;
mod dirs;
mod instructions;
mod ssh_files;
mod start;

pub use conversation_dirs::write_login;
pub(crate) use dirs::{credentials, lock};
pub(crate) use instructions::instructions;
pub use ssh_files::{SshFiles, write_ssh_files};
pub(crate) use start::{Program, start};
