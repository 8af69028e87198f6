//! The CLI in another container: a runner there starts it, and the server reaches the runner over a socket in a
//! directory that both share.
//!
//! ```text
//!   server                                runner
//!     │ ── connects, once per process ──────►│  checks the peer's uid
//!     │ ── Start (JSON, without secrets) ───►│
//!     │ ◄──────────── Started or Refused ─── │  the CLI runs in the runner's own cell
//!     │ ── Input, Sweep ────────────────────►│
//!     │ ◄────────────── Output, Eof, Swept ──│
//!     │ ── End or Kill ─────────────────────►│
//!     │ ◄──────────────────────────── Ended ─│
//! ```
//!
//! A frame is its length (four bytes, big-endian), one byte for its kind, and a payload of at most 256 KiB. The
//! process lives as long as the connection: if the server dies, the runner kills the process and everything that
//! it started; if the runner dies, the server ends the turn.
//!
//! The server can't examine the processes that connect from here, so the runner checks them at sockets of its
//! own ([`bastion_sockets`]). The login of the model's API stays with the runner, and the key of guest and host
//! with the server.

mod bastion_sockets;
mod client;
mod frame;
mod listen;
mod options;
mod session;
mod socket;

#[cfg(test)]
mod tests;

pub use listen::Runner;
pub use options::RunnerOptions;

pub(crate) use client::RemoteChild;
