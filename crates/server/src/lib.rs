//! The server: HTTP, identity, the page, metrics and reports, and [`app`], which puts all parts together.
//!
//! It owns no decision about power, agents or readiness: those are crates of their own.

#![forbid(unsafe_code)]

pub mod app;
pub mod auth;
pub mod hold;
pub mod http;
mod metrics;
mod report;
mod web;
