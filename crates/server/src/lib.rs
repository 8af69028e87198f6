//! The server: HTTP, authentication, the page, metrics and reports, and [`app`], which connects all
//! parts. Power, agents and readiness are crates of their own.

#![forbid(unsafe_code)]

pub mod app;
pub mod auth;
pub mod http;
pub mod instance_lock;
pub mod metrics;
pub mod problem;
mod report;
mod web;
