//! The command line: parses, dispatches, and turns every end into an exit code.

mod audit;
mod client;
mod connect;
mod direct;
mod doctor;
mod drill;
mod enroll;
mod incidents;
mod remote;
mod runner;
mod runtime;
mod serve;

use std::path::PathBuf;
use std::process::ExitCode;

use breakglass_verbs::Verb;
use clap::{Args, Parser, Subcommand};

/// How a command ended. The numbers are part of the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It did what was asked.
    Done = 0,
    /// The verb or check ran and failed.
    Failed = 1,
    /// The command line or the configuration is wrong.
    Usage = 2,
    /// An identity or a policy forbids it.
    Refused = 3,
    /// Server, host or guest was not reached.
    Unreachable = 4,
}

/// An end with its sentence for standard error.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Failure {
        Failure {
            exit,
            message: message.into(),
        }
    }
}

/// A web console and CLI to save a machine that is down: power that needs no AI, and an agent
/// with SSH. Everything that anyone does is one ordered, provable log.
#[derive(Debug, Parser)]
#[command(
    name = "breakglass",
    version,
    propagate_version = true,
    max_term_width = 100
)]
#[command(
    after_help = "Exit codes: 0 done; 1 the verb or check failed; 2 usage or config; \
    3 refused; 4 unreachable.\nStart with `breakglass drill`: it needs nothing and touches nothing."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server: page, API, power and agent.
    Serve(serve::ServeArgs),
    /// Rehearse an incident on a simulated machine: no config, no root, no key, no network.
    Drill(drill::DrillArgs),
    /// Tell the guest's run state; changes nothing.
    Status(client::VerbArgs),
    /// Capture the evidence on the host; changes nothing.
    Forensics(client::VerbArgs),
    /// What the host measures: writes, pressure, monitor, lock; changes nothing.
    Vitals(client::VerbArgs),
    /// Start a stopped guest.
    Start(client::VerbArgs),
    /// End the guest's QEMU process; unsaved work in the guest is lost.
    Stop(client::VerbArgs),
    /// Warm reset: the QEMU process stays; does not cure an I/O stall.
    Reset(client::VerbArgs),
    /// Full stop and start: a fresh QEMU process; cures an I/O stall.
    Cycle(client::VerbArgs),
    /// List, show and export incidents of a server.
    Incidents(incidents::IncidentsArgs),
    /// Try everything that an emergency needs, and say what to mend; exit 1 if a check is red.
    Doctor(doctor::DoctorArgs),
    /// Set up key, guest and host over your own ssh, and prove that they hold.
    ///
    /// Before the first emergency, where the server runs and as its account. Without --run it prints what
    /// to paste on guest and host, and changes nothing but that it makes a missing key. Broken off, the
    /// same command goes on; said again, it touches nothing. It ends with the doctor.
    #[command(after_help = "Examples:
  breakglass enroll --config breakglass.toml --guest-id 102 --dry-run  # what would change?
  breakglass enroll --config breakglass.toml --guest-id 102 --run
  breakglass enroll --config breakglass.toml --run --from here --from 192.168.1.50  # a laptop too
  breakglass enroll --config breakglass.toml --rotate --run  # a new key, proven first
  breakglass enroll --config breakglass.toml --remove --run")]
    Enroll(enroll::EnrollArgs),
    /// Prove the record.
    Audit(audit::AuditArgs),
    /// Run the agent's CLI in a container of its own, for a server with `agent.runner`.
    Runner(runner::RunnerArgs),
    /// Hands a connection to the bastion to the agent's SSH client.
    #[command(hide = true)]
    Connect(connect::ConnectArgs),
    /// The drill's scripted agent; speaks stream-json on standard input and output.
    #[command(hide = true)]
    DrillAgent(DrillAgentArgs),
}

#[derive(Debug, Args)]
struct DrillAgentArgs {
    /// What the claude CLI would be given; accepted and ignored.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, num_args = 0..)]
    _ignored: Vec<String>,
}

/// Which server to ask, and with what.
#[derive(Debug, Clone, Args)]
pub(crate) struct ServerArgs {
    /// The server's address, such as http://127.0.0.1:8080.
    #[arg(long, env = "BREAKGLASS_SERVER", value_name = "URL")]
    pub(crate) server: Option<String>,
    /// File that holds the API token; it never goes on the command line.
    #[arg(long, env = "BREAKGLASS_TOKEN_FILE", value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
}

/// Parses the process's arguments, runs the command, and reports.
pub fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Serve(args) => serve::run(&args),
        Command::Drill(args) => drill::run(&args),
        Command::Status(args) => client::run(Verb::Status, &args),
        Command::Forensics(args) => client::run(Verb::Forensics, &args),
        Command::Vitals(args) => client::run(Verb::Vitals, &args),
        Command::Start(args) => client::run(Verb::Start, &args),
        Command::Stop(args) => client::run(Verb::Stop, &args),
        Command::Reset(args) => client::run(Verb::Reset, &args),
        Command::Cycle(args) => client::run(Verb::Cycle, &args),
        Command::Incidents(args) => incidents::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Enroll(args) => enroll::run(&args),
        Command::Audit(args) => audit::run(&args),
        Command::Runner(args) => runner::run(&args),
        Command::Connect(args) => connect::run(&args),
        Command::DrillAgent(_) => return breakglass_drill::scripted_agent(),
    };
    match result {
        Ok(exit) => ExitCode::from(exit as u8),
        Err(failure) => {
            say_error(&failure.message);
            ExitCode::from(failure.exit as u8)
        }
    }
}

/// Prints a line on standard output; a closed pipe is no error of ours.
pub(crate) fn say(line: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Prints a line on standard error.
pub(crate) fn say_error(line: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "breakglass: {line}");
}
