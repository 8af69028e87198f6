//! The control plane on real parts: a real sshd, the real gate, in one program.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "in a test, a panic is the report"
)]

mod common;
mod power;
mod shells;
mod ssh;
mod watch;
