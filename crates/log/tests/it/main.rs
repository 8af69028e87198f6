//! The incident log through its public interface, in one program.

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
mod export;
mod follow;
mod formats;
mod retention;
