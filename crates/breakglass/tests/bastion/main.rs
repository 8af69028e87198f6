//! The bastion between the stock OpenSSH clients and a real sshd and the real gate.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code"
)]

mod abuse;
mod approvals;
mod autonomy;
mod flow;
mod record;
mod relay;
mod scene;
mod stop;
mod upstream;
mod verbs;
