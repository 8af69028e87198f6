//! The CLI in another container: a runner there starts it, and the server reaches it by a socket in
//! a directory that both share.
//!
//! ```text
//!   server                                runner
//!     │ ── connects, once a process ────────►│  the peer's uid is looked at
//!     │ ── Start (JSON; never a secret) ────►│
//!     │ ◄──────────── Started, or Refused ── │  the CLI runs, in the runner's own cell
//!     │ ── Input, Sweep ────────────────────►│
//!     │ ◄────────────── Output, Eof, Swept ──│
//!     │ ── End or Kill ─────────────────────►│
//!     │ ◄──────────────────────────── Ended ─│
//! ```
//!
//! Each frame is a length of four bytes, big-endian, a byte that tells its kind, and at most
//! 256 KiB. The connection is the process's life: when it goes, because the server died, the runner
//! kills the process and all that it started; when the runner dies, the server sees the connection
//! go and ends the turn. So neither needs to know anything of the other's earlier life.
//!
//! The bastion's sockets are the server's, which does not see who connects from here; a porter stands at
//! sockets of the runner's own in front of them.
//!
//! The login of the model's API is the runner's alone, and the key of guest and host the server's.

mod client;
mod frame;
mod listen;
mod porter;
mod session;

#[cfg(test)]
mod tests;

pub use listen::{Runner, RunnerOptions};

pub(crate) use client::Remote;
