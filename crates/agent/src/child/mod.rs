//! A child process on this machine that cannot outlive its use.
//!
//! Each of these alone is enough to end it: [`LocalChild::end`] and [`LocalChild::kill`], dropping it, the
//! parent-death signal when the server dies, and a sweep when the next server starts. Killing the process group
//! is not enough: the CLI runs each tool in its own session, and a tool survives a killed CLI. So every child
//! has a mark in its environment, which all descendants inherit, and a sweep kills every process with the mark.

mod exit;
mod local;
mod peer;
mod pre_exec;
mod process_tree;
mod spawner;
mod stderr;
mod sweep;

pub(crate) use exit::Exit;
pub(crate) use local::{LocalChild, SandboxedCommand};
pub(crate) use peer::peer_uid;
pub use process_tree::{NotInTree, ProcessTree};
pub(crate) use spawner::Spawner;
pub(crate) use sweep::{MARK, mark_prefix};
