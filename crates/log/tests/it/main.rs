//! The log's tests against real files and processes, in one binary.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "in a test, a panic is the report"
)]

mod attach;
mod common;
mod degraded;
mod durable;
mod earlier;
mod export;
mod follow;
mod formats;
mod retention;
