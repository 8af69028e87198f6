//! A small honest shell for commands over SSH: it does what it says, and says what it can't.
//!
//! A script is run one pipeline at a time ([`Shell::step`]), so that whoever runs it can send the
//! output as it comes, let time pass between the steps, and stop.

mod commands;
mod expand;
mod parse;
mod run;
mod syntax;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::machine::Machine;
use syntax::{Connector, Pipeline};

/// Bytes of output that one command may produce.
const MAX_OUTPUT: usize = 256 * 1024;

/// What a command left behind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) out: String,
    pub(crate) err: String,
    pub(crate) code: u8,
    /// How long it takes before it is over.
    pub(crate) takes: Duration,
}

impl Reply {
    /// Success, with output.
    pub(crate) fn out(text: impl Into<String>) -> Reply {
        Reply {
            out: text.into(),
            ..Reply::default()
        }
    }

    /// Failure with one line on standard error.
    pub(crate) fn fail(code: u8, message: impl std::fmt::Display) -> Reply {
        Reply {
            err: format!("{message}\n"),
            code,
            ..Reply::default()
        }
    }

    /// Adds a line on standard error, and failure.
    pub(crate) fn complain(&mut self, message: impl std::fmt::Display) {
        self.err.push_str(&format!("{message}\n"));
        self.code = 1;
    }
}

/// A script on its way through a machine.
#[derive(Debug)]
pub(crate) struct Shell {
    machine: Machine,
    user: String,
    cwd: String,
    variables: BTreeMap<String, String>,
    status: u8,
    /// Substitutions and `sh -c` inside each other.
    depth: usize,
    ended: bool,
    script: VecDeque<(Connector, Pipeline)>,
    /// A script that could not be read: its complaint is the only step.
    broken: Option<Reply>,
}

impl Shell {
    /// `script`, to be run by `user`. A script that can't be read complains when it is run.
    pub(crate) fn new(machine: Machine, user: &str, script: &str) -> Shell {
        let (script, broken) = match parse::parse(script) {
            Ok(list) => (list.0.into(), None),
            Err(error) => (
                VecDeque::new(),
                Some(Reply::fail(2, format!("sh: 1: {error}"))),
            ),
        };
        let home = if user == "root" {
            "/root".to_owned()
        } else {
            "/home/breakglass".to_owned()
        };
        let variables = [
            ("USER", user),
            ("HOME", &home),
            ("SHELL", "/bin/bash"),
            ("LANG", "C.UTF-8"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
        Shell {
            machine,
            user: user.to_owned(),
            cwd: home,
            variables: variables.into(),
            status: 0,
            depth: 0,
            ended: false,
            script,
            broken,
        }
    }

    /// Runs the next pipeline; `None` when the script is over.
    pub(crate) fn step(&mut self) -> Option<Reply> {
        if let Some(reply) = self.broken.take() {
            self.status = reply.code;
            return Some(reply);
        }
        while let Some((connector, pipeline)) = self.script.pop_front() {
            if self.ended {
                return None;
            }
            if self.runs(connector) {
                let reply = self.pipeline(&pipeline);
                self.status = reply.code;
                return Some(reply);
            }
        }
        None
    }

    /// The exit code so far.
    pub(crate) fn status(&self) -> u8 {
        self.status
    }

    fn runs(&self, connector: Connector) -> bool {
        match connector {
            Connector::Always => true,
            Connector::And => self.status == 0,
            Connector::Or => self.status != 0,
        }
    }

    fn variable(&self, name: &str) -> String {
        match name {
            "?" => self.status.to_string(),
            "PWD" => self.cwd.clone(),
            _ => self.variables.get(name).cloned().unwrap_or_default(),
        }
    }
}
