//! Runs a script, one pipeline at a time: conditions, pipelines, redirections, substitutions. The
//! commands are in `builtins` and `commands`.

use std::collections::{BTreeMap, VecDeque};
use std::mem::take;

use super::expand;
use super::parse;
use super::reply::Reply;
use super::session::{Session, Sink, Sinks};
use super::syntax::{
    Body, Connector, List, Pipeline, Redirect, Stage, Stream, Target, Value, Word,
};
use crate::machine::Machine;

/// Maximum nesting of substitutions, `sh -c`, `sudo` and similar commands.
pub(super) const DEPTH_MAX: usize = 24;
/// Maximum number of arguments of one command.
const ARGUMENTS_MAX: usize = 4096;

/// A script that runs on a machine.
#[derive(Debug)]
pub(crate) struct Shell {
    pub(super) session: Session,
    pub(super) variables: BTreeMap<String, String>,
    pub(super) status: u8,
    pub(super) depth: usize,
    pub(super) exited: bool,
    script: VecDeque<(Connector, Pipeline)>,
    /// The error message of a script that could not be parsed.
    syntax_error: Option<Reply>,
}

impl Shell {
    /// A shell of `user` that will run `script`. A syntax error is the reply of its first step.
    pub(crate) fn new(machine: Machine, user: &str, script: &str) -> Shell {
        let (script, syntax_error) = match parse::parse(script) {
            Ok(list) => (list.0.into(), None),
            Err(error) => (VecDeque::new(), Some(complaint(2, error))),
        };
        let home = if user == "root" {
            "/root"
        } else {
            "/home/breakglass"
        };
        let variables = [
            ("USER", user),
            ("HOME", home),
            ("SHELL", "/bin/bash"),
            ("LANG", "C.UTF-8"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let session = Session {
            machine,
            user: user.to_owned(),
            cwd: home.to_owned(),
        };
        Shell {
            session,
            variables: variables.into(),
            status: 0,
            depth: 0,
            exited: false,
            script,
            syntax_error,
        }
    }

    /// Runs the next pipeline; `None` at the end of the script.
    pub(crate) fn step(&mut self) -> Option<Reply> {
        if let Some(reply) = self.syntax_error.take() {
            self.status = reply.code;
            return Some(reply);
        }
        loop {
            let (connector, pipeline) = self.script.pop_front()?;
            if let Some(reply) = self.run_if(connector, &pipeline) {
                return Some(reply);
            }
        }
    }

    /// The exit code of the last pipeline.
    pub(crate) fn status(&self) -> u8 {
        self.status
    }

    /// Runs `pipeline` unless its condition fails or the shell has exited.
    fn run_if(&mut self, connector: Connector, pipeline: &Pipeline) -> Option<Reply> {
        let runs = match connector {
            Connector::Always => true,
            Connector::And => self.status == 0,
            Connector::Or => self.status != 0,
        };
        if self.exited || !runs {
            return None;
        }
        let reply = self.pipeline(pipeline);
        self.status = reply.code;
        Some(reply)
    }

    fn pipeline(&mut self, pipeline: &Pipeline) -> Reply {
        let mut whole = Reply::default();
        for stage in &pipeline.stages {
            let input = take(&mut whole.out);
            whole.then(&self.stage(stage, input));
        }
        if pipeline.negated {
            whole.code = u8::from(whole.code == 0);
        }
        whole
    }

    pub(super) fn list(&mut self, list: &List) -> Reply {
        let mut whole = Reply::default();
        for (connector, pipeline) in &list.0 {
            if let Some(reply) = self.run_if(*connector, pipeline) {
                whole.then(&reply);
            }
        }
        whole.with_code(self.status)
    }

    fn stage(&mut self, stage: &Stage, mut input: String) -> Reply {
        let sinks = match self.open(&stage.redirects, &mut input) {
            Ok(sinks) => sinks,
            Err(message) => return complaint(2, message),
        };
        let mut reply = match &stage.body {
            Body::Command(words) => {
                let words = words.iter().flat_map(|word| self.expand(word));
                let args: Vec<String> = words.take(ARGUMENTS_MAX).collect();
                self.command(&args, input)
            }
            Body::Group(list) => self.list(list),
        };
        reply.limit();
        self.session.deliver(reply, &sinks)
    }

    fn open(&mut self, redirects: &[Redirect], input: &mut String) -> Result<Sinks, String> {
        let mut sinks = [Sink::Out, Sink::Err];
        let index = |stream: Stream| usize::from(stream == Stream::Err);
        for Redirect { from, to } in redirects {
            match to {
                Target::Stream(stream) => sinks[index(*from)] = sinks[index(*stream)].clone(),
                Target::File { name, append } => {
                    let fields = expand::fields(name, |value| self.value(value));
                    let name = expand::unescape(&fields.join(" "));
                    if *from == Stream::In {
                        let text = self.session.read(&name);
                        *input = text.map_err(|error| format!("cannot open {name}: {error}"))?;
                    } else {
                        let sink = self.session.create(&name, *append);
                        sinks[index(*from)] =
                            sink.map_err(|error| format!("cannot create {name}: {error}"))?;
                    }
                }
            }
        }
        Ok(sinks)
    }

    fn expand(&mut self, word: &Word) -> Vec<String> {
        let patterns = expand::fields(word, |value| self.value(value));
        let Session { machine, cwd, .. } = &self.session;
        machine.step(|state, _| {
            let names = |pattern: &String| expand::names(&state.guest.disk, cwd, pattern);
            patterns.iter().flat_map(names).collect()
        })
    }

    fn value(&mut self, value: &Value) -> String {
        match value {
            Value::Text(text) => text.clone(),
            Value::Variable(name) => self.variable(name),
            Value::Output(_) if self.depth >= DEPTH_MAX => String::new(),
            Value::Output(list) => {
                self.depth += 1;
                let reply = self.list(list);
                self.depth -= 1;
                reply.out.trim_end_matches('\n').to_owned()
            }
        }
    }

    pub(super) fn variable(&self, name: &str) -> String {
        match name {
            "?" => self.status.to_string(),
            "PWD" => self.session.cwd.clone(),
            _ => self.variables.get(name).cloned().unwrap_or_default(),
        }
    }
}

pub(super) fn complaint(code: u8, message: impl std::fmt::Display) -> Reply {
    Reply::fail(code, format_args!("sh: 1: {message}"))
}
