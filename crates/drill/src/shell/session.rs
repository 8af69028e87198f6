//! Where a shell runs: on a machine, as a user, in a directory. Opens redirected files.

use std::mem::take;

use super::reply::{OUTPUT_MAX_BYTES, Reply};
use crate::machine::{DiskError, Machine, resolve};

#[derive(Debug)]
pub(super) struct Session {
    pub(super) machine: Machine,
    pub(super) user: String,
    pub(super) cwd: String,
}

/// Where a command writes one of its streams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sink {
    Out,
    Err,
    Null,
    File(String),
}

/// The sinks of standard output and standard error.
pub(super) type Sinks = [Sink; 2];

impl Session {
    pub(super) fn path(&self, name: &str) -> String {
        resolve(&self.cwd, name)
    }

    pub(super) fn read(&self, name: &str) -> Result<String, DiskError> {
        if name == "/dev/null" {
            return Ok(String::new());
        }
        let path = self.path(name);
        self.machine.step(|state, _| {
            let content = state.guest.disk.file(&path, &self.user)?;
            Ok(content.read(OUTPUT_MAX_BYTES))
        })
    }

    /// Opens a file for writing; empties it unless `append`.
    pub(super) fn create(&self, name: &str, append: bool) -> Result<Sink, DiskError> {
        match name {
            "/dev/stdout" => return Ok(Sink::Out),
            "/dev/stderr" => return Ok(Sink::Err),
            _ if name.starts_with("/dev/") => return Ok(Sink::Null),
            _ => {}
        }
        let path = self.path(name);
        self.machine.step(|state, now| {
            let disk = &mut state.guest.disk;
            if append && disk.get(&path).is_ok() {
                return Ok(());
            }
            disk.write(&path, "", false, &self.user, now)
        })?;
        Ok(Sink::File(path))
    }

    /// Writes both streams of `reply` to their sinks; what remains goes to the caller.
    pub(super) fn deliver(&self, mut reply: Reply, sinks: &Sinks) -> Reply {
        let texts = [take(&mut reply.out), take(&mut reply.err)];
        for (text, sink) in texts.into_iter().zip(sinks) {
            match sink {
                Sink::Out => reply.out.push_str(&text),
                Sink::Err => reply.err.push_str(&text),
                Sink::File(path) if !text.is_empty() => {
                    let written = self.machine.step(|state, now| {
                        let disk = &mut state.guest.disk;
                        disk.write(path, &text, true, &self.user, now)
                    });
                    if let Err(error) = written {
                        reply.add(Err(format!("sh: write error: {error}")));
                    }
                }
                Sink::Null | Sink::File(_) => {}
            }
        }
        reply
    }
}
