//! The bridge: alone, as a process, and between the server's agent crate and real agents.

// Helpers of tests are tests: here a panic is the report.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod contract;
mod process;
mod properties;
mod recorded;
#[path = "../../../agent/tests/it/support/mod.rs"]
mod support;
