//! The program around [`serve`]: policy, journal and driver for one SSH command.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::driver::qm::QmDriver;
use crate::journal::FileJournal;
use crate::output::{Output, Streams};
use crate::policy::{DEFAULT_PATH, Policy, PolicyError};
use crate::serve::{Context, REFUSED, serve};

const USAGE: &str = "usage: breakglass-gate [--policy FILE] [--check], as command=\"…\" in \
                     authorized_keys; the verb comes in SSH_ORIGINAL_COMMAND";

/// Runs the program: arguments from the authorized_keys line, the request from sshd.
///
/// What the client sent is in `SSH_ORIGINAL_COMMAND` alone. Arguments come from the operator, who
/// wrote the `command="…"` of the key; the client can't add any.
#[must_use]
pub fn run() -> ExitCode {
    let mut out = Streams;
    let code = match Arguments::parse(env::args_os().skip(1)) {
        Ok(arguments) => arguments.run(&mut out),
        Err(why) => refuse(&mut out, &why),
    };
    ExitCode::from(code)
}

fn refuse(out: &mut dyn Output, why: &str) -> u8 {
    out.error(&format!("refused: {why}"));
    REFUSED
}

#[derive(Debug, PartialEq, Eq)]
struct Arguments {
    policy: PathBuf,
    check: bool,
}

impl Arguments {
    fn parse(mut words: impl Iterator<Item = OsString>) -> Result<Arguments, String> {
        let mut arguments = Arguments {
            policy: DEFAULT_PATH.into(),
            check: false,
        };
        while let Some(word) = words.next() {
            match word.to_str() {
                Some("--policy") => arguments.policy = words.next().ok_or(USAGE)?.into(),
                Some("--check") => arguments.check = true,
                _ => return Err(USAGE.to_owned()),
            }
        }
        Ok(arguments)
    }

    fn run(&self, out: &mut dyn Output) -> u8 {
        match Policy::load(&self.policy) {
            Ok(policy) if self.check => {
                out.line(&format!(
                    "{}: guest {}, ok",
                    self.policy.display(),
                    policy.guest
                ));
                0
            }
            Ok(policy) => obey(&policy, out),
            Err(PolicyError(errors)) => {
                errors.iter().for_each(|why| out.error(why));
                refuse(out, "the gate has no valid policy, so nothing is allowed")
            }
        }
    }
}

fn obey(policy: &Policy, out: &mut dyn Output) -> u8 {
    // Bytes that are not UTF-8 become U+FFFD, which no entry of the table holds.
    let lossy = |name| env::var_os(name).map(|value| value.to_string_lossy().into_owned());
    let line = lossy("SSH_ORIGINAL_COMMAND").unwrap_or_default();
    let connection = lossy("SSH_CONNECTION").unwrap_or_default();
    let journal = FileJournal::new(policy.journal_file.clone(), policy.syslog.clone());
    let context = Context {
        guest: &policy.guest,
        source: connection
            .split(' ')
            .next()
            .filter(|peer| !peer.is_empty())
            .unwrap_or("local"),
        forensics_dir: &policy.forensics_dir,
        journal: &journal,
        limits: policy.limits,
    };
    serve(&line, &context, &mut QmDriver::new(policy), out)
}
