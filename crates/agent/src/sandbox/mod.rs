//! The sandbox around the agent's CLI and everything that it starts: `bwrap` makes the namespaces, and
//! [`bwrap`] lists what is visible inside.
//!
//! ```text
//!   server ── bwrap ── cell-init ── the CLI ── its tools
//!     ▲                   │  the first process inside: when it ends, everything inside ends
//!     │                   │  listens inside: on 127.0.0.1 for the model, on unix sockets for guest and host
//!     └── one socket ─────┘  and passes each connection to the server over the one socket it inherited
//! ```
//! Inside there is no network but `lo`, no process but the agent's own, and no file of the server's.

mod bwrap;
mod handover;
mod identity;
mod init;
mod limits;
mod options;
mod probe;
mod running;
mod seccomp;

pub use init::{InitOptions, confine_as_init, run as run_init};
pub use options::{CELL, Connected, HOME, MODEL_PROXY, PROGRAM, SOCKETS, Sandbox, no_connections};
pub use probe::{Attempt, Probe};

pub(crate) use handover::HandoverSockets;
pub(crate) use options::{Contents, LIBRARY, WORK};
pub(crate) use running::RunningSandbox;
