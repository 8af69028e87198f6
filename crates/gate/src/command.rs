//! The program around [`serve`]: policy, journal and driver for one SSH command.

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

use breakglass_verbs::{Request, Verb};

use crate::driver::{Driver, qm::QmDriver, virsh::VirshDriver};
use crate::journal::{Asked, FileJournal};
use crate::output::{Output, Streams};
use crate::policy::{DEFAULT_PATH, Kind, Policy, PolicyError};
use crate::relay::{Marked, relay};
use crate::run::{Fate, Runs, itself};
use crate::serve::{Context, REFUSED, serve};

const USAGE: &str = "usage: breakglass-gate [--policy FILE] [--check], as command=\"…\" in \
                     authorized_keys; the verb comes in SSH_ORIGINAL_COMMAND";

/// Runs the program: arguments from the authorized_keys line, the request from sshd.
///
/// What the client sent is in `SSH_ORIGINAL_COMMAND` alone. Arguments come from the operator, who
/// wrote the `command="…"` of the key; the client can't add any.
#[must_use]
pub fn run() -> ExitCode {
    let (mut out, mut words) = (Streams, env::args_os().skip(1));
    let mut gate = Gate {
        policy: DEFAULT_PATH.into(),
        check: false,
        worker: false,
        looker: false,
        blind: false,
    };
    while let Some(word) = words.next() {
        match (word.to_str(), &mut gate) {
            (Some("--policy"), gate) => gate.policy = words.next().unwrap_or_default().into(),
            (Some("--check"), gate) => gate.check = true,
            (Some("--worker"), gate) => gate.worker = true,
            (Some("--looker"), gate) => gate.looker = true,
            (Some("--blind"), gate) => gate.blind = true,
            _ => {
                out.error(USAGE);
                return ExitCode::from(REFUSED);
            }
        }
    }
    let code = match Policy::load(&gate.policy) {
        Ok(policy) if gate.check => {
            out.line(&format!(
                "{}: guest {}, ok",
                gate.policy.display(),
                policy.guest
            ));
            0
        }
        Ok(policy) => gate.obey(&policy, &mut out),
        Err(PolicyError(errors)) => {
            errors.iter().for_each(|why| out.error(why));
            out.error("refused: the gate has no valid policy, so nothing is allowed");
            REFUSED
        }
    };
    ExitCode::from(code)
}

struct Gate {
    policy: PathBuf,
    check: bool,
    /// Given by the gate to itself: serve the verb behind the channel.
    worker: bool,
    /// Likewise: look, and mark what is said for the gate that passes it on.
    looker: bool,
    /// Likewise: ask nothing of the hypervisor's tool and files.
    blind: bool,
}

impl Gate {
    fn obey(&self, policy: &Policy, out: &mut dyn Output) -> u8 {
        // Bytes that are not UTF-8 become U+FFFD, which no entry of the table holds.
        let lossy = |name| {
            env::var_os(name)
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned()
        };
        let (line, connection) = (lossy("SSH_ORIGINAL_COMMAND"), lossy("SSH_CONNECTION"));
        let paths = &policy.paths;
        let source = connection.split(' ').next().filter(|peer| !peer.is_empty());
        let context = Context {
            guest: &policy.guest,
            asked: Asked {
                source: source.unwrap_or("local"),
                request: &line,
            },
            forensics_dir: &paths.forensics_dir,
            keep: &policy.keep,
            journal: &FileJournal {
                file: paths.journal_file.clone(),
                syslog: paths.syslog.clone(),
            },
            limits: &policy.limits,
        };
        let request = match context.request(out) {
            Ok(request) => request,
            Err(refused) => return refused,
        };
        let runs = Runs::new(&paths.gate_dir, &policy.guest);
        // What can't be made is told by whoever needs it.
        let _ = runs.create();
        let mut driver: Box<dyn Driver> = match policy.kind {
            Kind::Qm if self.blind => Box::new(QmDriver::blind(policy)),
            Kind::Qm => Box::new(QmDriver::new(policy)),
            Kind::Virsh => Box::new(VirshDriver::new(policy)),
        };
        match request.verb.is_mutating() {
            true if self.worker => {
                let Some(mut run) = runs.claim(request.verb) else {
                    return 0;
                };
                let exit = serve(&context, driver.as_mut(), &mut run);
                run.end(exit);
                exit
            }
            true => self.front(request, &runs, &context, driver.as_mut(), out),
            false => {
                let is_read_by_people = !matches!(request.verb, Verb::Vitals | Verb::Screenshot);
                if is_read_by_people && !self.looker {
                    runs.note().iter().for_each(|note| out.line(note));
                }
                self.look(request, &runs, &context, driver.as_mut(), out)
            }
        }
    }

    /// A verb that only looks: by a process of its own, unless this is that one, or none can be had.
    fn look(
        &self,
        request: Request,
        runs: &Runs,
        context: &Context<'_>,
        driver: &mut dyn Driver,
        out: &mut dyn Output,
    ) -> u8 {
        if self.looker {
            let mut marked = Marked(std::io::stdout());
            let exit = serve(context, driver, &mut marked);
            marked.end(exit);
            return exit;
        }
        let line = request.to_string();
        let mut looker = itself("--looker", &self.policy, &line, context.asked.source);
        let stuck = runs.stuck();
        if stuck.is_full() {
            looker.arg("--blind");
        }
        relay(request, looker, &stuck, context.limits, out).unwrap_or_else(|why| {
            out.error(&format!("{why}; the verb runs in this channel"));
            serve(context, driver, out)
        })
    }

    fn front(
        &self,
        request: Request,
        runs: &Runs,
        context: &Context<'_>,
        driver: &mut dyn Driver,
        out: &mut dyn Output,
    ) -> u8 {
        match runs.follow(request, &self.policy, context, out) {
            Fate::Ended(exit) => exit,
            Fate::Undone(why) => {
                out.error(&format!(
                    "{why}; the verb runs in this channel, so keep it open"
                ));
                serve(context, driver, out)
            }
            Fate::Lost => {
                out.error(&format!(
                    "the worker of {} is gone before it ended",
                    request.verb
                ));
                runs.note().iter().for_each(|note| out.error(note));
                // Where that left the guest.
                let status = Request {
                    json: request.json,
                    verb: Verb::Status,
                };
                let asked = Asked {
                    request: &status.to_string(),
                    ..context.asked
                };
                let context = Context { asked, ..*context };
                self.look(status, runs, &context, driver, out).max(1)
            }
        }
    }
}
