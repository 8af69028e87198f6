//! `breakglass doctor` and a server's readiness on real parts: all is well, then each link broken in
//! turn, and mended as its remedy says.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code"
)]

#[path = "../common/mod.rs"]
mod common;
mod deployment;
mod faults;
mod sandbox;
mod server;
mod settings;
