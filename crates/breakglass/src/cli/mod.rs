//! The command line: parses, dispatches, and turns every end into an exit code.

mod acp;
mod audit;
mod cell_init;
mod cell_probe;
mod client;
mod connect;
mod direct;
mod doctor;
#[cfg(test)]
mod documents;
mod drill;
mod enroll;
mod follow;
mod incidents;
mod notify;
mod output;
mod remote;
mod runner;
mod runtime;
mod serve;
mod teach;
mod transfer;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use breakglass_verbs::Verb;
use clap::{Args, FromArgMatches as _, Parser, Subcommand};

use breakglass_config::ConfigError;

pub(crate) use output::{say, say_error, say_json};

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

    /// Every error of a configuration at once, under what can't be done because of them.
    fn of_config(what: &str, errors: &[ConfigError]) -> Failure {
        let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
        Failure::new(Exit::Usage, format!("{what}:\n{}", lines.join("\n")))
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
#[command(after_help = "Examples:
  breakglass drill  # start here: it needs nothing and touches nothing
  breakglass doctor --config breakglass.toml  # does everything hold that an emergency needs?
  breakglass cycle --direct --config breakglass.toml  # save the machine without any server

`breakglass help COMMAND` tells each command with examples.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server: page, API, power and agent.
    ///
    /// For the place that is up when the machine to be saved is down; docs/deploy.md has three. Every
    /// error of the configuration is said at once, and then nothing starts. Ends on SIGTERM or Ctrl-C,
    /// when what runs has ended, within 20 seconds.
    #[command(after_help = "Examples:
  breakglass serve --config /etc/breakglass/config.toml")]
    Serve(serve::ServeArgs),
    /// Rehearse an incident on a simulated machine: no config, no root, no key, no network.
    ///
    /// To learn breakglass, and to rehearse before the emergency. Everything is wired as in earnest: the
    /// page, SSH, the gate, the agent's bastion; the machine alone is simulated. The agent asks before it
    /// changes anything, until the page's menu says otherwise. It prints a link that signs you in. Ctrl-C
    /// ends it, and nothing is left.
    #[command(after_help = "Examples:
  breakglass drill
  breakglass drill --scenario io-stall
  breakglass drill --agent claude  # the real CLI; ANTHROPIC_API_KEY pays for it")]
    Drill(drill::DrillArgs),
    /// Tell the guest's run state; changes nothing.
    ///
    /// The first thing to ask: is there a QEMU process, does its monitor answer, and what is the verdict?
    /// Through a server, or with --direct straight to the host when there is none.
    #[command(after_help = "Examples:
  breakglass status --server https://rescue.example.org --token-file token
  breakglass status --direct --config breakglass.toml  # no server needed
  breakglass status --target devvm --json | jq .verdict")]
    Status(client::VerbArgs),
    /// Capture the evidence on the host; changes nothing.
    ///
    /// When you want to keep what is, and decide later: QEMU's answers, the screen, backtraces, pressure
    /// and the kernel's log, in a directory on the host. Each verb that changes something does the same
    /// first, by itself.
    #[command(after_help = "Examples:
  breakglass forensics --target devvm
  breakglass forensics --direct --config breakglass.toml")]
    Forensics(client::VerbArgs),
    /// What the host measures: writes, pressure, monitor, lock; changes nothing.
    ///
    /// When the guest does not answer and you want to know whether it works or hangs: asked twice, it
    /// shows whether its disks still complete writes.
    #[command(after_help = "Examples:
  breakglass vitals --target devvm
  breakglass vitals --direct --config breakglass.toml")]
    Vitals(client::VerbArgs),
    /// Start a stopped guest.
    ///
    /// For a guest whose status says `stopped`. One that runs is left alone.
    #[command(after_help = "Examples:
  breakglass start --target devvm
  breakglass start --direct --config breakglass.toml")]
    Start(client::VerbArgs),
    /// End the guest's QEMU process; unsaved work in the guest is lost.
    ///
    /// For a guest that does harm, or that is to stay down. Clean first, then by signals, and evidence is
    /// kept before. To bring a wedged guest back, use `cycle`.
    #[command(after_help = "Examples:
  breakglass stop --target devvm
  breakglass stop --direct --config breakglass.toml")]
    Stop(client::VerbArgs),
    /// Warm reset: the QEMU process stays; does not cure an I/O stall.
    ///
    /// For a kernel that panicked or hangs while QEMU is well. Staged changes of the configuration do not
    /// apply. If `vitals` says that no disk completes a write, use `cycle`.
    #[command(after_help = "Examples:
  breakglass reset --target devvm
  breakglass reset --direct --config breakglass.toml")]
    Reset(client::VerbArgs),
    /// Full stop and start: a fresh QEMU process; cures an I/O stall.
    ///
    /// The cure for a guest that does not come back by itself. Evidence is kept first, and the verb ends
    /// on the host even if the connection breaks; asked again meanwhile, it attaches.
    #[command(after_help = "Examples:
  breakglass cycle --server https://rescue.example.org --token-file token
  breakglass cycle --direct --config breakglass.toml  # no server needed")]
    Cycle(client::VerbArgs),
    /// List, show, report, export and import incidents.
    #[command(after_help = "Examples:
  breakglass incidents list --server https://rescue.example.org --token-file token
  breakglass incidents report 01a20a48-ff12-76e4-b170-59185cf2be2e > report.md")]
    Incidents(incidents::IncidentsArgs),
    /// Try everything that an emergency needs, and say what to mend; exit 1 if a check is red.
    ///
    /// Before the emergency: after setting up, after each change of key, host or network, and now and
    /// then. Each link is tried for real, also that the key opens nothing else. A remedy stands below
    /// what is not green.
    #[command(after_help = "Examples:
  breakglass doctor --config /etc/breakglass/config.toml
  breakglass doctor --config breakglass.toml --json
  breakglass doctor --config breakglass.toml --ask-model  # one short question to the model too")]
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
    /// Try out whether notifications arrive.
    #[command(after_help = "Examples:
  breakglass notify test --config /etc/breakglass/config.toml")]
    Notify(notify::NotifyArgs),
    /// Prove the record, or an exported incident.
    #[command(after_help = "Examples:
  breakglass audit verify --data-dir /var/lib/breakglass")]
    Audit(audit::AuditArgs),
    /// Run the agent's CLI in a container of its own, for a server with `agent.runner`.
    ///
    /// Where the model's login and the SSH key should not be in one place: the runner has the first alone
    /// and shares nothing with the server but a socket.
    #[command(after_help = "Examples:
  breakglass runner --listen /run/breakglass/runner.sock --api-key-file /secrets/model_key")]
    Runner(runner::RunnerArgs),
    /// Print completions for a shell.
    ///
    /// Once, when breakglass is installed, and again after each update.
    #[command(after_help = "Examples:
  breakglass completions bash > /usr/share/bash-completion/completions/breakglass
  breakglass completions zsh > /usr/share/zsh/site-functions/_breakglass
  breakglass completions fish > /usr/share/fish/vendor_completions.d/breakglass.fish")]
    Completions(teach::CompletionsArgs),
    /// Print the man page, or write one for each command.
    ///
    /// Once, when breakglass is installed, and again after each update: there may be no network to look
    /// things up when they are needed.
    #[command(after_help = "Examples:
  breakglass man | man -l -
  breakglass man --dir /usr/local/share/man/man1")]
    Man(teach::ManArgs),
    /// Hands a connection to the bastion to the agent's SSH client.
    #[command(hide = true)]
    Connect(connect::ConnectArgs),
    /// The first program inside the agent's sandbox.
    #[command(hide = true)]
    CellInit(cell_init::CellInitArgs),
    /// Speaks stream-json for an agent that speaks ACP, which it starts.
    #[command(hide = true, disable_version_flag = true)]
    Acp(breakglass_acp::Arguments),
    /// Tries from inside the agent's sandbox what nothing in it is to get.
    #[command(hide = true)]
    CellProbe(cell_probe::CellProbeArgs),
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
    #[arg(long, env = "BREAKGLASS_SERVER", value_name = "URL", global = true)]
    pub(crate) server: Option<String>,
    /// File that holds the API token; it never goes on the command line.
    #[arg(
        long,
        env = "BREAKGLASS_TOKEN_FILE",
        value_name = "FILE",
        global = true
    )]
    pub(crate) token_file: Option<PathBuf>,
}

/// Parses the process's arguments, runs the command, and reports.
pub(crate) fn main() -> ExitCode {
    let matches = teach::command().get_matches();
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
        Command::Doctor(args) => doctor::run(&args),
        Command::Notify(args) => notify::run(&args),
        Command::Enroll(args) => enroll::run(&args),
        Command::Audit(args) => audit::run(&args),
        Command::Runner(args) => runner::run(&args),
        Command::Completions(args) => teach::completions(&args),
        Command::Man(args) => teach::man(&args),
        Command::Connect(args) => connect::run(&args),
        Command::CellInit(args) => {
            return cell_init::run(args).unwrap_or_else(|failure| end(&failure));
        }
        Command::Acp(args) => acp::run(&args),
        Command::CellProbe(args) => cell_probe::run(args),
        Command::DrillAgent(_) => return breakglass_drill::scripted_agent(),
    };
    result.map_or_else(|failure| end(&failure), |exit| ExitCode::from(exit as u8))
}

fn end(failure: &Failure) -> ExitCode {
    say_error(&failure.message);
    ExitCode::from(failure.exit as u8)
}

/// The record of a data directory, or the record itself.
pub(crate) fn record_file(data_dir: &Path) -> PathBuf {
    if data_dir.is_dir() {
        data_dir.join(breakglass_config::RECORD_FILE)
    } else {
        data_dir.to_owned()
    }
}
