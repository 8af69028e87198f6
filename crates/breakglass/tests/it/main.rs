//! The program from outside, on real parts, in one test program.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "in a test, a panic is the report"
)]

mod agent;
mod bastion;
mod cell;
mod cli;
mod common;
mod completions;
mod config;
mod crash;
mod docs;
mod doctor;
mod drill;
mod edge;
mod enroll;
mod escapes;
mod exposition;
mod flood;
mod isolation;
mod log;
mod notify;
mod operate;
mod other_agents;
mod outbound;
mod permission;
mod power;
mod several_agents;
mod transfer;
