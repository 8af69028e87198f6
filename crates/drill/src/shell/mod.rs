//! The guest's shell for commands over SSH: a small subset of `sh` and of Debian's programs.
//!
//! A script runs one pipeline at a time ([`Shell::step`]), so that its caller can send output as it
//! comes, let time pass between the steps, and stop. An unsupported construct is an error.

mod builtins;
mod commands;
mod expand;
mod parse;
mod reply;
mod run;
mod session;
mod syntax;
#[cfg(test)]
mod tests;
mod words;

pub(crate) use run::Shell;
