//! The command line: parses arguments, runs the command, and returns its exit code.
//!
//! Each command has a module; `output` prints, `runtime` has what long-running commands share.

mod acp;
mod audit;
mod cell_init;
mod cell_probe;
mod client;
mod completions;
mod connect;
mod direct;
#[cfg(test)]
mod documents;
mod drill;
mod enroll;
mod follow;
mod incidents;
mod notify;
mod output;
mod readiness;
mod remote;
mod runner;
mod runtime;
mod serve;
mod transfer;
mod verb;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use breakglass_verbs::Verb;
use clap::{Args, FromArgMatches as _, Parser, Subcommand};

use breakglass_config::ConfigError;

pub(crate) use output::{print_error, print_json, print_line};

/// The exit code of a command. The numbers are part of the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// The command succeeded.
    Done = 0,
    /// The verb or check ran and failed.
    Failed = 1,
    /// The command line or the configuration is wrong.
    Usage = 2,
    /// The identity check, the gate's policy or a running verb forbids it.
    Refused = 3,
    /// The server, the host or the guest could not be reached.
    Unreachable = 4,
}

/// A failed command: its exit code, and a sentence for standard error.
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

    /// All errors of a configuration, under a heading.
    fn of_config(heading: &str, errors: &[ConfigError]) -> Failure {
        let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
        Failure::new(Exit::Usage, format!("{heading}:\n{}", lines.join("\n")))
    }
}

/// A web console and command line to recover a virtual machine that is down: power control that needs
/// no AI, and an agent with SSH. Every action is recorded in one ordered log that can be verified.
#[derive(Debug, Parser)]
#[command(
    name = "breakglass",
    version,
    propagate_version = true,
    max_term_width = 100
)]
#[command(after_help = "Examples:
  breakglass drill  # start here: it needs no setup and affects no real machine
  breakglass doctor --config breakglass.toml  # is everything ready for an emergency?
  breakglass cycle --direct --config breakglass.toml  # restart the guest without a server

`breakglass help COMMAND` explains each command with examples.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server: page, API, power and agent.
    ///
    /// Run it on a machine that is up when the target is down; docs/deploy.md has three ways. If the
    /// configuration has errors, all of them are reported and nothing starts. On SIGTERM or Ctrl-C it
    /// refuses new work, waits up to 20 seconds for running work, and exits.
    #[command(after_help = "Examples:
  breakglass serve --config /etc/breakglass/config.toml")]
    Serve(serve::ServeArgs),
    /// Rehearse an incident on a simulated machine: no config, no root, no key, no network.
    ///
    /// Use it to learn breakglass and to practise before an emergency. The page, SSH, the gate and the
    /// agent's bastion are the real ones; only the machine is simulated. The agent asks before it changes
    /// anything, unless you change that in the page's menu. It prints a link that signs you in. Ctrl-C
    /// ends the drill and removes its files.
    #[command(after_help = "Examples:
  breakglass drill
  breakglass drill --scenario io-stall
  breakglass drill --agent claude  # the real CLI; ANTHROPIC_API_KEY pays for it")]
    Drill(drill::DrillArgs),
    /// Show the guest's run state; changes nothing.
    ///
    /// Run this first. It shows whether there is a QEMU process, whether its monitor answers, and the
    /// verdict. It goes through a server or, with --direct, to the host itself.
    #[command(after_help = "Examples:
  breakglass status --server https://rescue.example.org --token-file token
  breakglass status --direct --config breakglass.toml  # no server needed
  breakglass status --target devvm --json | jq .verdict")]
    Status(verb::VerbArgs),
    /// Capture the evidence on the host; changes nothing.
    ///
    /// Use it to keep evidence and decide later: QEMU's answers, the screen, backtraces, pressure and the
    /// kernel's log, in a directory on the host. Each verb that changes the guest captures the same
    /// evidence first.
    #[command(after_help = "Examples:
  breakglass forensics --target devvm
  breakglass forensics --direct --config breakglass.toml")]
    Forensics(verb::VerbArgs),
    /// Show the host's measurements: disk writes, pressure, monitor, lock; changes nothing.
    ///
    /// Use it if the guest does not answer, to see whether it is working or hanging: run it twice and
    /// compare whether its disks still complete writes.
    #[command(after_help = "Examples:
  breakglass vitals --target devvm
  breakglass vitals --direct --config breakglass.toml")]
    Vitals(verb::VerbArgs),
    /// Start a stopped guest.
    ///
    /// Use it for a guest whose status is `stopped`. It does nothing to a running guest.
    #[command(after_help = "Examples:
  breakglass start --target devvm
  breakglass start --direct --config breakglass.toml")]
    Start(verb::VerbArgs),
    /// Stop the guest's QEMU process; unsaved work in the guest is lost.
    ///
    /// Use it for a guest that does harm or must stay down. It captures evidence, tries a clean shutdown,
    /// and then uses signals. To bring a wedged guest back, use `cycle`.
    #[command(after_help = "Examples:
  breakglass stop --target devvm
  breakglass stop --direct --config breakglass.toml")]
    Stop(verb::VerbArgs),
    /// Warm reset: the QEMU process stays; does not cure an I/O stall.
    ///
    /// Use it for a kernel that panicked or hangs while QEMU works. Staged configuration changes do not
    /// apply. If `vitals` shows that no disk completes writes, use `cycle`.
    #[command(after_help = "Examples:
  breakglass reset --target devvm
  breakglass reset --direct --config breakglass.toml")]
    Reset(verb::VerbArgs),
    /// Full stop and start with a new QEMU process; cures an I/O stall.
    ///
    /// Use it for a guest that does not come back by itself. It captures evidence first. The verb
    /// continues on the host if the connection breaks; run the command again to follow it.
    #[command(after_help = "Examples:
  breakglass cycle --server https://rescue.example.org --token-file token
  breakglass cycle --direct --config breakglass.toml  # no server needed")]
    Cycle(verb::VerbArgs),
    /// List, show, report, export and import incidents.
    #[command(after_help = "Examples:
  breakglass incidents list --server https://rescue.example.org --token-file token
  breakglass incidents report 01a20a48-ff12-76e4-b170-59185cf2be2e > report.md")]
    Incidents(incidents::IncidentsArgs),
    /// Check everything that an emergency needs, and report what to fix; exit 1 if a check is red.
    ///
    /// Run it after the setup, after each change of key, host or network, and from time to time. Each
    /// check is a real attempt, including one that the key can't do anything else. A remedy is printed
    /// below each check that is not green.
    #[command(after_help = "Examples:
  breakglass doctor --config /etc/breakglass/config.toml
  breakglass doctor --config breakglass.toml --json
  breakglass doctor --config breakglass.toml --ask-model  # one short question to the model too")]
    Doctor(readiness::DoctorArgs),
    /// Set up key, guest and host over your own ssh, and prove that they work.
    ///
    /// Run it before the first emergency, on the server's machine and as its account. Without --run it
    /// prints the commands to paste on guest and host, and changes nothing except that it creates a
    /// missing key. If interrupted, run it again: it continues where it stopped and repeats nothing. It
    /// finishes with the checks of `breakglass doctor`.
    #[command(after_help = "Examples:
  breakglass enroll --config breakglass.toml --guest-id 102 --dry-run  # what would change?
  breakglass enroll --config breakglass.toml --guest-id 102 --run
  breakglass enroll --config breakglass.toml --run --from here --from 192.168.1.50  # a laptop too
  breakglass enroll --config breakglass.toml --rotate --run  # a new key, proven first
  breakglass enroll --config breakglass.toml --remove --run")]
    Enroll(enroll::EnrollArgs),
    /// Test whether notifications arrive.
    #[command(after_help = "Examples:
  breakglass notify test --config /etc/breakglass/config.toml")]
    Notify(notify::NotifyArgs),
    /// Verify the incident log, or an exported incident.
    #[command(after_help = "Examples:
  breakglass audit verify --data-dir /var/lib/breakglass")]
    Audit(audit::AuditArgs),
    /// Run the agent's CLI in a container of its own, for a server with `agent.runner`.
    ///
    /// Use it to keep the model's login and the SSH key apart: the runner has only the login, and shares
    /// only a socket with the server.
    #[command(after_help = "Examples:
  breakglass runner --listen /run/breakglass/runner.sock --api-key-file /secrets/model_key")]
    Runner(runner::RunnerArgs),
    /// Print completions for a shell.
    ///
    /// Run it after the installation, and again after each update.
    #[command(after_help = "Examples:
  breakglass completions bash > /usr/share/bash-completion/completions/breakglass
  breakglass completions zsh > /usr/share/zsh/site-functions/_breakglass
  breakglass completions fish > /usr/share/fish/vendor_completions.d/breakglass.fish")]
    Completions(completions::CompletionsArgs),
    /// Print the man page, or write one for each command.
    ///
    /// Run it after the installation, and again after each update: in an emergency there may be no
    /// network to read the documents.
    #[command(after_help = "Examples:
  breakglass man | man -l -
  breakglass man --dir /usr/local/share/man/man1")]
    Man(completions::ManArgs),
    /// Passes a connection to the bastion on to the agent's SSH client.
    #[command(hide = true)]
    Connect(connect::ConnectArgs),
    /// The first program inside the agent's sandbox.
    #[command(hide = true)]
    CellInit(cell_init::CellInitArgs),
    /// Starts an agent that speaks ACP, and translates between ACP and stream-json.
    #[command(hide = true, disable_version_flag = true)]
    Acp(breakglass_acp::Arguments),
    /// Tests from inside the agent's sandbox that forbidden things are out of reach.
    #[command(hide = true)]
    CellProbe(cell_probe::CellProbeArgs),
    /// The drill's scripted agent; speaks stream-json on standard input and output.
    #[command(hide = true)]
    DrillAgent(DrillAgentArgs),
}

#[derive(Debug, Args)]
struct DrillAgentArgs {
    /// The arguments of the claude CLI; accepted and ignored.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, num_args = 0..)]
    _ignored: Vec<String>,
}

/// The server and the credentials for it.
#[derive(Debug, Clone, Args)]
pub(crate) struct ServerArgs {
    /// The server's address, such as http://127.0.0.1:8080.
    #[arg(long, env = "BREAKGLASS_SERVER", value_name = "URL", global = true)]
    pub(crate) server: Option<String>,
    /// A file with the API token, which must not be on the command line.
    #[arg(
        long,
        env = "BREAKGLASS_TOKEN_FILE",
        value_name = "FILE",
        global = true
    )]
    pub(crate) token_file: Option<PathBuf>,
}

/// Parses the process's arguments, runs the command, and prints its failure.
pub(crate) fn main() -> ExitCode {
    let matches = completions::command().get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let result = match cli.command {
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
        Command::Doctor(args) => readiness::run(&args),
        Command::Notify(args) => notify::run(&args),
        Command::Enroll(args) => enroll::run(&args),
        Command::Audit(args) => audit::run(&args),
        Command::Runner(args) => runner::run(&args),
        Command::Completions(args) => completions::completions(&args),
        Command::Man(args) => completions::man(&args),
        Command::Connect(args) => connect::run(&args),
        Command::CellInit(args) => {
            return cell_init::run(args).unwrap_or_else(|failure| report(&failure));
        }
        Command::Acp(args) => acp::run(&args),
        Command::CellProbe(args) => cell_probe::run(args),
        Command::DrillAgent(_) => return breakglass_drill::scripted_agent(),
    };
    result.map_or_else(
        |failure| report(&failure),
        |exit| ExitCode::from(exit as u8),
    )
}

fn report(failure: &Failure) -> ExitCode {
    print_error(&failure.message);
    ExitCode::from(failure.exit as u8)
}

/// The log file in a data directory; any other path is returned as the log file itself.
pub(crate) fn log_file(data_dir: &Path) -> PathBuf {
    if data_dir.is_dir() {
        data_dir.join(breakglass_config::LOG_FILE)
    } else {
        data_dir.to_owned()
    }
}
