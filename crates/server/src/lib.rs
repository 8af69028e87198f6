//! breakglass: saves a machine that is down. Power without any model, and an agent with SSH.
//!
//! This crate puts the parts together and shows them to people: configuration, identity, HTTP,
//! the page, the command line.

#![forbid(unsafe_code)]

pub mod app;
pub mod auth;
mod cell;
pub mod cli;
pub mod config;
mod doctor;
pub mod egress;
mod enroll;
mod gateway;
mod hold;
pub mod http;
mod metrics;
mod notify;
mod outbound;
mod report;
mod web;
