//! The rig is what the tests take it for.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "in a test, a panic is the report"
)]

mod lab;
mod sshd;
