//! The program around [`serve`]: arguments, policy, log and driver for one SSH command.

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

use breakglass_verbs::{Request, Verb};

use crate::context::{Context, EXIT_REFUSED};
use crate::driver::{Driver, qm::QmDriver, virsh::VirshDriver};
use crate::frame::FrameWriter;
use crate::host_log::{ClientRequest, FileHostLog};
use crate::output::{Output, Streams};
use crate::policy::{DEFAULT_PATH, DriverKind, Policy, PolicyError};
use crate::probe_process::{self, HungProbes};
use crate::run_dir::RunDir;
use crate::serve::serve;
use crate::worker::{self, FollowOutcome, own_command};

const USAGE: &str = "usage: breakglass-gate [--policy FILE] [--check], as command=\"…\" in \
                     authorized_keys; the verb comes in SSH_ORIGINAL_COMMAND";

/// Runs the program and returns its exit code.
///
/// The client's input is only in `SSH_ORIGINAL_COMMAND`. The arguments come from the operator, who
/// wrote the `command="…"` of the key; the client can't add any.
#[must_use]
pub fn run() -> ExitCode {
    let mut out = Streams;
    let Some(options) = Options::parse() else {
        out.error(USAGE);
        return ExitCode::from(EXIT_REFUSED);
    };
    let code = match Policy::load(&options.policy) {
        Ok(policy) if options.check => {
            let path = options.policy.display();
            out.line(&format!("{path}: guest {}, ok", policy.guest));
            0
        }
        Ok(policy) => run_request(&options, &policy, &mut out),
        Err(PolicyError(errors)) => {
            errors.iter().for_each(|error| out.error(error));
            out.error("refused: the gate has no valid policy, so nothing is allowed");
            EXIT_REFUSED
        }
    };
    ExitCode::from(code)
}

struct Options {
    policy: PathBuf,
    check: bool,
    /// Set by the gate for a process that it starts: run a mutating verb as a worker.
    worker: bool,
    /// Set by the gate for a process that it starts: run a read-only verb and write frames.
    probe: bool,
    /// Set by the gate for a process that it starts: don't use the hypervisor's tool and files.
    kernel_only: bool,
}

impl Options {
    /// The program's options; none if one is unknown.
    fn parse() -> Option<Options> {
        let mut options = Options {
            policy: DEFAULT_PATH.into(),
            check: false,
            worker: false,
            probe: false,
            kernel_only: false,
        };
        let mut words = env::args_os().skip(1);
        while let Some(word) = words.next() {
            match word.to_str()? {
                "--policy" => options.policy = words.next().unwrap_or_default().into(),
                "--check" => options.check = true,
                "--worker" => options.worker = true,
                "--probe" => options.probe = true,
                "--kernel-only" => options.kernel_only = true,
                _ => return None,
            }
        }
        Some(options)
    }
}

fn run_request(options: &Options, policy: &Policy, out: &mut dyn Output) -> u8 {
    let line = variable("SSH_ORIGINAL_COMMAND");
    let connection = variable("SSH_CONNECTION");
    let source = connection.split(' ').next().filter(|peer| !peer.is_empty());
    let paths = &policy.paths;
    let context = Context {
        guest: &policy.guest,
        client: ClientRequest {
            source: source.unwrap_or("local"),
            line: &line,
        },
        forensics_dir: &paths.forensics_dir,
        retention: &policy.retention,
        host_log: &FileHostLog {
            file: paths.journal_file.clone(),
            syslog: paths.syslog.clone(),
        },
        limits: &policy.limits,
    };
    let request = match context.request(out) {
        Ok(request) => request,
        Err(refused) => return refused,
    };
    let runs = RunDir::new(&paths.gate_dir, &policy.guest);
    // Ignore the error: the step that needs the directory reports it.
    let _ = runs.create();
    let mut driver: Box<dyn Driver> = match policy.driver {
        DriverKind::Qm if options.kernel_only => Box::new(QmDriver::kernel_only(policy)),
        DriverKind::Qm => Box::new(QmDriver::new(policy)),
        DriverKind::Virsh => Box::new(VirshDriver::new(policy)),
    };
    let mut gate = Gate {
        options,
        context,
        runs: &runs,
        driver: driver.as_mut(),
        out,
    };
    match (request.verb.is_mutating(), options.worker) {
        (true, true) => gate.run_as_worker(request),
        (true, false) => gate.run_in_worker(request),
        (false, _) => gate.run_read_only(request),
    }
}

/// An environment variable. Bytes that are not UTF-8 become U+FFFD, which no verb contains.
fn variable(name: &str) -> String {
    let value = env::var_os(name).unwrap_or_default();
    value.to_string_lossy().into_owned()
}

struct Gate<'a> {
    options: &'a Options,
    context: Context<'a>,
    runs: &'a RunDir,
    driver: &'a mut dyn Driver,
    out: &'a mut dyn Output,
}

impl Gate<'_> {
    fn run_as_worker(&mut self, request: Request) -> u8 {
        let Some(mut run) = worker::claim(self.runs, request.verb) else {
            return 0;
        };
        let exit = serve(&self.context, self.driver, &mut run.output);
        run.output.exit(exit);
        exit
    }

    fn run_in_worker(&mut self, request: Request) -> u8 {
        let policy = &self.options.policy;
        match worker::follow(request, self.runs, policy, &self.context, self.out) {
            FollowOutcome::Ended(exit) => exit,
            FollowOutcome::NoWorker(why) => {
                self.out.error(&format!(
                    "{why}; the verb runs in this channel, so keep it open"
                ));
                serve(&self.context, self.driver, self.out)
            }
            FollowOutcome::WorkerLost => self.report_lost_worker(request),
        }
    }

    /// Reports the loss, and the state in which it left the guest.
    fn report_lost_worker(&mut self, request: Request) -> u8 {
        let verb = request.verb;
        let lost = format!("the worker of {verb} died before it finished");
        self.out.error(&lost);
        if let Some(note) = self.runs.note() {
            self.out.error(&note);
        }
        self.context.client.line = if request.json {
            "status --json"
        } else {
            "status"
        };
        let status = Request {
            verb: Verb::Status,
            ..request
        };
        self.probe(status).max(1)
    }

    fn run_read_only(&mut self, request: Request) -> u8 {
        let is_for_people = !matches!(request.verb, Verb::Vitals | Verb::Screenshot);
        if is_for_people
            && !self.options.probe
            && let Some(note) = self.runs.note()
        {
            self.out.line(&note);
        }
        self.probe(request)
    }

    /// Runs a read-only verb in a probe process, unless this is one or none can be started.
    fn probe(&mut self, request: Request) -> u8 {
        if self.options.probe {
            let mut frames = FrameWriter(std::io::stdout());
            let exit = serve(&self.context, self.driver, &mut frames);
            frames.exit(exit);
            return exit;
        }
        let line = request.to_string();
        let source = self.context.client.source;
        let mut command = own_command("--probe", &self.options.policy, &line, source);
        let hung = HungProbes(self.runs.hung_probes_file());
        if hung.is_full() {
            command.arg("--kernel-only");
        }
        let limits = self.context.limits;
        let result = probe_process::run(request, command, &hung, limits, self.out);
        result.unwrap_or_else(|why| {
            let notice = format!("{why}; the verb runs in this channel");
            self.out.error(&notice);
            serve(&self.context, self.driver, self.out)
        })
    }
}
