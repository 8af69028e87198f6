//! Real programs for tests: each type starts the program in its name, and `Drop` ends it.

// Test code: a panic reports a failure.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr
)]
#![forbid(unsafe_code)]

pub mod acp;
pub mod claude;
pub mod gate;
pub mod lab;
pub mod machine;
pub mod model;
pub mod nat;
pub mod port;
pub mod pve;
pub mod qmp;
pub mod shells;
pub mod sshd;
