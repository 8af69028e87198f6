//! Runs what has been read: pipelines, redirects, and the commands that run other commands.

use std::time::Duration;

use super::commands::{self, Call};
use super::syntax::{Action, Fd, List, Pipeline, Redirect, Stage};
use super::{MAX_OUTPUT, Reply, Shell, parse};
use crate::machine::{cut, resolve};

/// Substitutions, `sh -c`, `sudo` and their like inside each other at most.
const MAX_DEPTH: usize = 24;

/// Where output goes.
#[derive(Clone, PartialEq, Eq)]
enum Sink {
    Out,
    Err,
    Null,
    File(String),
}

struct Sinks {
    out: Sink,
    err: Sink,
}

impl Shell {
    pub(super) fn pipeline(&mut self, pipeline: &Pipeline) -> Reply {
        let mut whole = Reply::default();
        let mut input = String::new();
        for stage in &pipeline.stages {
            let reply = self.stage(stage, input);
            whole.err.push_str(&reply.err);
            whole.takes = whole.takes.saturating_add(reply.takes);
            whole.code = reply.code;
            input = reply.out;
        }
        whole.out = input;
        if pipeline.negated {
            whole.code = u8::from(whole.code == 0);
        }
        limit(&mut whole);
        whole
    }

    fn stage(&mut self, stage: &Stage, mut input: String) -> Reply {
        let sinks = match self.open(&stage.redirects, &mut input) {
            Ok(sinks) => sinks,
            Err(message) => return Reply::fail(2, format!("sh: 1: {message}")),
        };
        let mut reply = match &stage.action {
            Action::Words(words) => {
                let args = self.expand(words);
                self.command(&args, input)
            }
            Action::Group(list) => self.list(list),
        };
        limit(&mut reply);
        self.deliver(reply, &sinks)
    }

    /// Runs a whole list at once.
    fn list(&mut self, list: &List) -> Reply {
        let mut whole = Reply::default();
        for (connector, pipeline) in &list.0 {
            if self.ended {
                break;
            }
            if self.runs(*connector) {
                let reply = self.pipeline(pipeline);
                self.status = reply.code;
                whole.out.push_str(&reply.out);
                whole.err.push_str(&reply.err);
                whole.takes = whole.takes.saturating_add(reply.takes);
                limit(&mut whole);
            }
        }
        whole.code = self.status;
        whole
    }

    /// The output of `script`, without the line ends behind it.
    pub(super) fn substitute(&mut self, script: &List) -> String {
        if self.depth >= MAX_DEPTH {
            return String::new();
        }
        self.depth += 1;
        let reply = self.list(script);
        self.depth -= 1;
        reply.out.trim_end_matches('\n').to_owned()
    }

    fn open(&mut self, redirects: &[Redirect], input: &mut String) -> Result<Sinks, String> {
        let mut sinks = Sinks {
            out: Sink::Out,
            err: Sink::Err,
        };
        for redirect in redirects {
            match redirect {
                Redirect::Input(word) => {
                    let path = self.expand_one(word);
                    *input = self
                        .read(&path)
                        .map_err(|e| format!("cannot open {path}: {e}"))?;
                }
                Redirect::Copy { fd, from } => {
                    let sink = if *from == Fd::Out {
                        sinks.out.clone()
                    } else {
                        sinks.err.clone()
                    };
                    sinks.set(*fd, sink);
                }
                Redirect::File { fd, target, append } => {
                    let path = self.expand_one(target);
                    let sink = self
                        .create(&path, *append)
                        .map_err(|e| format!("cannot create {path}: {e}"))?;
                    sinks.set(*fd, sink);
                }
            }
        }
        Ok(sinks)
    }

    fn read(&self, path: &str) -> Result<String, crate::machine::DiskError> {
        if path == "/dev/null" {
            return Ok(String::new());
        }
        let path = resolve(&self.cwd, path);
        self.machine
            .step(|state, _| Ok(state.guest.disk.file(&path, &self.user)?.read(MAX_OUTPUT)))
    }

    fn create(&self, path: &str, append: bool) -> Result<Sink, crate::machine::DiskError> {
        if path.starts_with("/dev/") {
            return Ok(match path {
                "/dev/stdout" => Sink::Out,
                "/dev/stderr" => Sink::Err,
                _ => Sink::Null,
            });
        }
        let path = resolve(&self.cwd, path);
        self.machine.step(|state, now| {
            let disk = &mut state.guest.disk;
            if append && disk.get(&path).is_ok() {
                return Ok(());
            }
            disk.write(&path, "", false, &self.user, now)
        })?;
        Ok(Sink::File(path))
    }

    fn deliver(&self, reply: Reply, sinks: &Sinks) -> Reply {
        let mut rest = Reply {
            code: reply.code,
            takes: reply.takes,
            ..Reply::default()
        };
        for (text, sink) in [(reply.out, &sinks.out), (reply.err, &sinks.err)] {
            match sink {
                Sink::Out => rest.out.push_str(&text),
                Sink::Err => rest.err.push_str(&text),
                Sink::Null => {}
                Sink::File(_) if text.is_empty() => {}
                Sink::File(path) => {
                    let written = self.machine.step(|state, now| {
                        state.guest.disk.write(path, &text, true, &self.user, now)
                    });
                    if let Err(error) = written {
                        rest.complain(format_args!("sh: write error: {error}"));
                    }
                }
            }
        }
        rest
    }

    /// Runs one command with its arguments.
    fn command(&mut self, args: &[String], input: String) -> Reply {
        let Some((name, rest)) = args.split_first() else {
            return Reply::default();
        };
        if self.depth >= MAX_DEPTH {
            return Reply::fail(2, "sh: this drill's shell goes no deeper");
        }
        self.depth += 1;
        let reply = self.dispatch(name, rest, input);
        self.depth -= 1;
        reply
    }

    fn dispatch(&mut self, name: &str, rest: &[String], input: String) -> Reply {
        if let Some((variable, value)) = assignment(name) {
            if rest.is_empty() {
                self.variables.insert(variable.to_owned(), value.to_owned());
                return Reply::default();
            }
            return self.command(rest, input);
        }
        let name = program(name);
        match name {
            "sudo" => self.sudo(rest, input),
            "sh" | "bash" | "dash" => self.sub_shell(rest),
            "timeout" | "nice" | "ionice" | "env" | "nohup" | "time" | "stdbuf" | "command" => {
                self.wrapped(name, rest, input)
            }
            "xargs" => self.xargs(rest, &input),
            "exec" if !rest.is_empty() => {
                let reply = self.command(rest, input);
                self.ended = true;
                reply
            }
            "cd" => self.change_dir(rest),
            "exit" => {
                self.ended = true;
                let code = rest
                    .first()
                    .and_then(|code| code.parse().ok())
                    .unwrap_or(self.status);
                Reply {
                    code,
                    ..Reply::default()
                }
            }
            "export" => rest.iter().fold(Reply::default(), |reply, word| {
                if let Some((name, value)) = assignment(word) {
                    self.variables.insert(name.to_owned(), value.to_owned());
                }
                reply
            }),
            _ => self.plain(name, rest, &input),
        }
    }

    fn plain(&mut self, name: &str, args: &[String], input: &str) -> Reply {
        let Some(command) = commands::find(name) else {
            return Reply::fail(127, format!("sh: 1: {name}: not found"));
        };
        let clock = self.machine.clock().clone();
        let (user, cwd) = (&self.user, &self.cwd);
        self.machine.step(|state, now| {
            command(&mut Call {
                name,
                args,
                input,
                user,
                cwd,
                state,
                now,
                clock: &clock,
            })
        })
    }

    fn sudo(&mut self, args: &[String], input: String) -> Reply {
        let mut rest = args;
        while let Some((option, more)) =
            rest.split_first().filter(|(word, _)| word.starts_with('-'))
        {
            rest = if option == "-u" {
                more.get(1..).unwrap_or_default()
            } else {
                more
            };
        }
        if rest.is_empty() {
            return Reply::fail(1, "usage: sudo [-n] command [argument ...]");
        }
        let user = std::mem::replace(&mut self.user, "root".to_owned());
        let reply = self.command(rest, input);
        self.user = user;
        reply
    }

    fn sub_shell(&mut self, args: &[String]) -> Reply {
        let mut words = args
            .iter()
            .skip_while(|word| word.starts_with('-') && !word.ends_with('c'))
            .skip(1);
        let Some(script) = words.next() else {
            return Reply::fail(2, "sh: this drill's shell runs sh -c '…' only");
        };
        let list = match parse::parse(script) {
            Ok(list) => list,
            Err(error) => return Reply::fail(2, format!("sh: 1: {error}")),
        };
        let (cwd, variables, ended) = (self.cwd.clone(), self.variables.clone(), self.ended);
        self.status = 0;
        let name = words.next().map_or("sh", String::as_str);
        self.variables.insert("0".to_owned(), name.to_owned());
        let reply = self.list(&list);
        (self.cwd, self.variables, self.ended) = (cwd, variables, ended);
        reply
    }

    /// `timeout 5 command`, `nice -n 19 command`, `env A=b command` and their like.
    fn wrapped(&mut self, name: &str, args: &[String], input: String) -> Reply {
        let is_own = |word: &&String| {
            word.starts_with('-')
                || word.contains('=')
                || word.chars().next().is_some_and(|c| c.is_ascii_digit())
        };
        let own: Vec<&String> = args.iter().take_while(is_own).collect();
        let deadline = own
            .iter()
            .find_map(|word| commands::seconds(word))
            .filter(|_| name == "timeout");
        if name == "command" && args.first().is_some_and(|word| word == "-v") {
            return self.plain("which", &args[1..], &input);
        }
        let mut reply = self.command(&args[own.len()..], input);
        if let Some(deadline) = deadline.filter(|deadline| reply.takes > *deadline) {
            (reply.takes, reply.code) = (deadline, 124);
        }
        reply
    }

    fn xargs(&mut self, args: &[String], input: &str) -> Reply {
        let own = args.iter().take_while(|word| word.starts_with('-')).count();
        let mut words = args[own..].to_vec();
        if words.is_empty() {
            words.push("echo".to_owned());
        }
        words.extend(
            input
                .split(['\n', ' ', '\t', '\0'])
                .filter(|word| !word.is_empty())
                .map(str::to_owned),
        );
        self.command(&words, String::new())
    }

    fn change_dir(&mut self, args: &[String]) -> Reply {
        let home = self.variable("HOME");
        let path = resolve(&self.cwd, args.first().map_or(&home, |path| path));
        if !self
            .machine
            .step(|state, _| state.guest.disk.get(&path).is_ok_and(|node| node.is_dir()))
        {
            return Reply::fail(2, format!("sh: 1: cd: can't cd to {path}"));
        }
        self.cwd = path;
        Reply::default()
    }
}

impl Sinks {
    fn set(&mut self, fd: Fd, sink: Sink) {
        match fd {
            Fd::Out => self.out = sink,
            Fd::Err => self.err = sink,
        }
    }
}

/// The name of a program without the system directory in front of it.
fn program(name: &str) -> &str {
    let dirs = ["/usr/bin/", "/bin/", "/usr/sbin/", "/sbin/"];
    dirs.iter()
        .find_map(|dir| name.strip_prefix(dir))
        .unwrap_or(name)
}

fn assignment(word: &str) -> Option<(&str, &str)> {
    let (name, value) = word.split_once('=')?;
    let valid = |c: char| c.is_ascii_alphanumeric() || c == '_';
    (!name.is_empty() && name.chars().all(valid) && !name.starts_with(|c: char| c.is_ascii_digit()))
        .then_some((name, value))
}

fn limit(reply: &mut Reply) {
    for text in [&mut reply.out, &mut reply.err] {
        let keep = cut(text, MAX_OUTPUT).len();
        text.truncate(keep);
    }
    reply.takes = reply.takes.min(Duration::from_secs(3_600));
}
