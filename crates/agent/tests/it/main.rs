//! The real claude CLI against a scripted model.

// Helpers of tests are tests: here a panic is the report.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cli_behaviour;
mod endings;
mod failures;
mod fallback;
mod runner;
mod support;
mod turns;
