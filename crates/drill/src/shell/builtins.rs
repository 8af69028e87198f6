//! Runs one command: the shell's builtins, and the commands that run other commands, such as `sudo`
//! and `timeout`. All other programs are in `commands`.

use std::mem::replace;

use super::commands::{self, Call};
use super::parse;
use super::reply::Reply;
use super::run::{DEPTH_MAX, Shell, complaint};
use super::session::Session;

const PROGRAM_DIRS: [&str; 4] = ["/usr/bin/", "/bin/", "/usr/sbin/", "/sbin/"];

impl Shell {
    /// Runs the command `args`, or nothing if it is empty.
    pub(super) fn command(&mut self, args: &[String], input: String) -> Reply {
        let Some((name, rest)) = args.split_first() else {
            return Reply::default();
        };
        if self.depth >= DEPTH_MAX {
            return complaint(2, "commands are nested too deeply");
        }
        self.depth += 1;
        let reply = self.dispatch(name, rest, input);
        self.depth -= 1;
        reply
    }

    fn dispatch(&mut self, name: &str, args: &[String], input: String) -> Reply {
        if let Some((variable, value)) = assignment(name) {
            // Before a command it would apply to the environment of that command only.
            if args.is_empty() {
                self.variables.insert(variable, value);
            }
            return self.command(args, input);
        }
        let stripped = PROGRAM_DIRS.iter().find_map(|dir| name.strip_prefix(dir));
        let name = stripped.unwrap_or(name);
        match name {
            "sudo" => self.sudo(args, input),
            "sh" | "bash" | "dash" => self.sub_shell(args),
            "command" if args.first().is_some_and(|word| word == "-v") => {
                self.program("which", &args[1..], &input)
            }
            "timeout" | "nice" | "ionice" | "env" | "nohup" | "time" | "stdbuf" | "command" => {
                self.wrapper(name, args, input)
            }
            "xargs" => self.xargs(args, &input),
            "exec" if !args.is_empty() => {
                let reply = self.command(args, input);
                self.exited = true;
                reply
            }
            "cd" => self.change_dir(args),
            "exit" => {
                self.exited = true;
                let code = args.first().and_then(|code| code.parse().ok());
                Reply::code(code.unwrap_or(self.status))
            }
            "export" => {
                let assignments = args.iter().filter_map(|word| assignment(word));
                self.variables.extend(assignments);
                Reply::default()
            }
            _ => self.program(name, args, &input),
        }
    }

    fn program(&mut self, name: &str, args: &[String], input: &str) -> Reply {
        let Some(program) = commands::find(name) else {
            return complaint(127, format_args!("{name}: not found"));
        };
        let Session { machine, user, cwd } = &self.session;
        machine.step(|state, now| {
            program.run(Call {
                name,
                args,
                operands: Vec::new(),
                input,
                user,
                cwd,
                state,
                now,
                clock: machine.clock(),
            })
        })
    }

    fn sudo(&mut self, args: &[String], input: String) -> Reply {
        let mut rest = args;
        while let Some((option, more)) = rest.split_first()
            && option.starts_with('-')
        {
            let values = usize::from(option == "-u");
            rest = more.get(values..).unwrap_or_default();
        }
        if rest.is_empty() {
            return Reply::fail(1, "usage: sudo [-n] command [argument ...]");
        }
        let user = replace(&mut self.session.user, "root".to_owned());
        let reply = self.command(rest, input);
        self.session.user = user;
        reply
    }

    fn sub_shell(&mut self, args: &[String]) -> Reply {
        let is_option = |word: &&String| word.starts_with('-') && !word.ends_with('c');
        let mut words = args.iter().skip_while(is_option).skip(1);
        let Some(script) = words.next() else {
            return complaint(2, "the drill's shell supports sh -c '…' only");
        };
        let list = match parse::parse(script) {
            Ok(list) => list,
            Err(error) => return complaint(2, error),
        };
        let (cwd, variables) = (self.session.cwd.clone(), self.variables.clone());
        let exited = self.exited;
        self.status = 0;
        let name = words.next().map_or("sh", String::as_str);
        self.variables.insert("0".to_owned(), name.to_owned());
        let reply = self.list(&list);
        (self.session.cwd, self.variables, self.exited) = (cwd, variables, exited);
        reply
    }

    /// `timeout 5 command`, `nice -n 19 command`, `env A=b command` and similar wrappers.
    fn wrapper(&mut self, name: &str, args: &[String], input: String) -> Reply {
        let is_own = |word: &&String| {
            word.starts_with(|c: char| c == '-' || c.is_ascii_digit()) || word.contains('=')
        };
        let own = args.iter().take_while(is_own).count();
        let timeout = args[..own].iter().find_map(|word| commands::seconds(word));
        let reply = self.command(&args[own..], input);
        match timeout {
            Some(timeout) if name == "timeout" && reply.duration > timeout => {
                reply.with_duration(timeout).with_code(124)
            }
            _ => reply,
        }
    }

    fn xargs(&mut self, args: &[String], input: &str) -> Reply {
        let own = args.iter().take_while(|word| word.starts_with('-')).count();
        let mut words = args[own..].to_vec();
        if words.is_empty() {
            words.push("echo".to_owned());
        }
        let more = input.split(['\n', ' ', '\t', '\0']);
        words.extend(more.filter(|word| !word.is_empty()).map(str::to_owned));
        self.command(&words, String::new())
    }

    fn change_dir(&mut self, args: &[String]) -> Reply {
        let home = self.variable("HOME");
        let path = self.session.path(args.first().unwrap_or(&home));
        let is_dir = self.session.machine.step(|state, _| {
            let node = state.guest.disk.get(&path);
            node.is_ok_and(|node| node.is_dir())
        });
        if !is_dir {
            return complaint(2, format_args!("cd: can't cd to {path}"));
        }
        self.session.cwd = path;
        Reply::default()
    }
}

/// The name and the value of `word`, if it is an assignment.
fn assignment(word: &str) -> Option<(String, String)> {
    let (name, value) = word.split_once('=')?;
    let valid = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let is_name = name.chars().all(valid) && name.starts_with(|c: char| !c.is_ascii_digit());
    is_name.then(|| (name.to_owned(), value.to_owned()))
}
