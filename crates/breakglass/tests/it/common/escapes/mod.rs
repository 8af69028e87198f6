//! Attempts to escape from inside the agent's sandbox, in addition to [`super::attempts`]: lists of
//! commands, each of which succeeds if the escape did, and a shell script that runs a list and prints
//! the result of each. The script is in the agent's library, so that one tool call runs a whole
//! list.

#![allow(unreachable_pub, dead_code, reason = "a module of several tests")]

mod exhaustion;
mod files;
mod kernel;
mod network;
mod processes;
mod proxy;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

pub use exhaustion::exhaustion;

/// Everything that an attacker might know about the machine.
pub struct Prey<'a> {
    /// The server's process.
    pub server: u32,
    /// A process of the same account that does not belong to the agent.
    pub neighbour: u32,
    /// The server's directory, key, token, log and program.
    pub data: &'a Path,
    pub key: &'a Path,
    pub token: &'a Path,
    pub program: &'a Path,
    /// A file beside them that only its account reads.
    pub secret: &'a Path,
    /// A unix socket whose server trusts every client that is root, as docker's and libvirt's do.
    pub trusting: &'a Path,
    /// The same under an abstract name.
    pub trusting_abstract: &'a str,
    /// Ports of the server itself, and of another service, on 127.0.0.1.
    pub api: u16,
    pub service: u16,
    /// An address of the machine that is not loopback.
    pub address: &'a str,
    /// The port of an allowed service on `localhost` that returns its input.
    pub listed: u16,
    /// The home of another incident's agent, and the name of a file in it.
    pub other_home: &'a Path,
    pub other_file: &'a str,
}

impl Prey<'_> {
    fn record(&self) -> PathBuf {
        self.data.join("record.db")
    }
}

/// One attempt.
pub struct Attempt {
    pub name: &'static str,
    command: String,
    /// Whether it succeeds without a sandbox, which proves that it is a real attempt.
    outside: bool,
    /// Whether it must succeed, which proves that the list is run.
    allowed: bool,
}

/// An attempt that can only be made inside.
fn attempt(name: &'static str, command: impl Into<String>) -> Attempt {
    Attempt {
        name,
        command: command.into(),
        outside: false,
        allowed: false,
    }
}

/// An attempt that succeeds without a sandbox.
fn real(name: &'static str, command: impl Into<String>) -> Attempt {
    Attempt {
        outside: true,
        ..attempt(name, command)
    }
}

/// A command that must succeed.
fn allowed(name: &'static str, command: impl Into<String>) -> Attempt {
    Attempt {
        allowed: true,
        ..attempt(name, command)
    }
}

/// A system call, by its numbers on the two architectures that are supported. One that there is not is
/// passed over.
fn call(x86_64: u32, aarch64: u32, arguments: &str) -> String {
    let number = match cfg!(target_arch = "aarch64") {
        true => aarch64,
        false => x86_64,
    };
    perl(&format!("call({number}, {arguments})"))
}

/// A line of perl that is true on success.
fn perl(line: &str) -> String {
    format!(
        "perl -Mstrict -MSocket -MIO::Socket::INET -MIO::Socket::UNIX -e 'BEGIN {{ do \"$ENV{{LIB}}/lib.pl\" }} \
         got(sub {{ {line} }})'"
    )
}

/// A named list; its script has the same name.
pub struct List {
    pub name: &'static str,
    pub attempts: Vec<Attempt>,
    /// Number of concurrent attempts.
    at_once: usize,
}

/// All lists except the one that fills the machine.
pub fn lists(prey: &Prey<'_>) -> Vec<List> {
    let list = |name, attempts| List {
        name,
        attempts,
        at_once: 8,
    };
    vec![
        list("files", files::files(prey)),
        list("metadata", files::metadata(prey)),
        list("kernel", kernel::kernel()),
        list("privileges", kernel::privileges()),
        list("processes", processes::processes(prey)),
        list("sockets", processes::sockets(prey)),
        list("network", network::network(prey)),
        list("proxy", proxy::proxy(prey)),
    ]
}

/// The result of one attempt as printed by the script: `number REACHED name: how`.
#[derive(Debug)]
pub struct Outcome {
    pub reached: bool,
    pub said: String,
}

impl List {
    pub fn one_by_one(name: &'static str, attempts: Vec<Attempt>) -> List {
        List {
            name,
            attempts,
            at_once: 1,
        }
    }

    /// Writes the script and its files into `library`.
    pub fn write(&self, library: &Path) {
        fs::write(library.join("lib.pl"), include_str!("lib.pl")).unwrap();
        let small = library.join("int80");
        fs::write(&small, kernel::old_calls_program()).unwrap();
        let mut script = include_str!("try.sh").to_owned();
        for (number, attempt) in self.attempts.iter().enumerate() {
            let quoted = |text: &str| format!("'{}'", text.replace('\'', r"'\''"));
            let (name, command) = (quoted(attempt.name), quoted(&attempt.command));
            let which = match attempt.outside {
                true => "real",
                false => "inside",
            };
            script += &format!("begin {which} {number} {name} {command}\n");
            if (number + 1) % self.at_once == 0 {
                script += "wait\n";
            }
        }
        script += "wait\ncat \"$T\"/*.result\nrm -rf \"$T\"\n";
        let path = library.join(format!("{}.sh", self.name));
        fs::write(&path, script).unwrap();
        for path in [&path, &small] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        }
    }

    /// The command that runs it from `library`.
    pub fn command(&self, library: &str) -> String {
        format!("LIB={library} bash {library}/{}.sh", self.name)
    }

    /// The results in `output`. A missing line is a failure.
    pub fn outcomes<'a>(&'a self, output: &str) -> Vec<(&'a Attempt, Outcome)> {
        let outcome = |(number, attempt): (usize, &'a Attempt)| {
            let [reached, refused] = ["REACHED", "REFUSED"].map(|word| {
                let begin = format!("{number} {word} {}:", attempt.name);
                output.lines().find(|line| line.starts_with(&begin))
            });
            let said = reached.or(refused).unwrap_or_else(|| {
                panic!(
                    "{}: nothing is seen of {:?}:\n{output}",
                    self.name, attempt.name
                )
            });
            let outcome = Outcome {
                reached: reached.is_some(),
                said: said.to_owned(),
            };
            (attempt, outcome)
        };
        self.attempts.iter().enumerate().map(outcome).collect()
    }

    /// The attempts with a wrong result inside a sandbox.
    pub fn faults(&self, output: &str) -> Vec<String> {
        let all = self.outcomes(output).into_iter();
        all.filter(|(attempt, outcome)| attempt.allowed != outcome.reached)
            .map(|(_, outcome)| format!("{}: {}", self.name, outcome.said))
            .collect()
    }

    /// The attempts that fail even without a sandbox, with their output.
    pub fn blunt(&self, output: &str) -> Vec<String> {
        let real = self
            .attempts
            .iter()
            .enumerate()
            .filter(|(_, it)| it.outside);
        let blunt = real.filter(|(number, it)| {
            !output
                .lines()
                .any(|line| line.starts_with(&format!("{number} REACHED {}:", it.name)))
        });
        blunt
            .map(|(_, it)| format!("{}: {}", self.name, it.name))
            .collect()
    }
}
