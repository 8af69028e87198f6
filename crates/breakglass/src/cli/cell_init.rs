//! The first program inside the agent's sandbox. Only the server starts it.

use std::ffi::OsString;
use std::io;
use std::process::ExitCode;

use breakglass_agent::Account;
use breakglass_agent::sandbox::{InitOptions, confine_as_init, run_init};
use clap::Args;

use super::{Exit, Failure};

#[derive(Debug, Args)]
pub(crate) struct CellInitArgs {
    /// The number of the inherited socket to the server.
    #[arg(long, value_name = "FD", default_value_t = -1)]
    handover: i32,
    /// Only confine this process, and run nothing.
    #[arg(long)]
    trial: bool,
    /// The account to become.
    #[arg(long, requires = "gid")]
    uid: Option<u32>,
    /// The group to become.
    #[arg(long)]
    gid: Option<u32>,
    /// The name of the guest.
    #[arg(long)]
    guest: Option<String>,
    /// The name of the host.
    #[arg(long)]
    host: Option<String>,
    /// The command to run, with its arguments.
    #[arg(last = true, required_unless_present = "trial")]
    command: Vec<OsString>,
}

/// Runs the command and returns its exit code.
pub(crate) fn run(args: CellInitArgs) -> Result<ExitCode, Failure> {
    let account = args.uid.zip(args.gid);
    let account = account.map(|(uid, gid)| Account { uid, gid });
    if args.trial {
        return confine_as_init(account)
            .map(|()| ExitCode::SUCCESS)
            .map_err(|error| setup_failed(&error));
    }
    let options = InitOptions {
        handover: args.handover,
        account,
        guest: args.guest,
        host: args.host,
        command: args.command,
    };
    match run_init(&options) {
        Ok(code) => Ok(ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))),
        Err(error) => Err(setup_failed(&error)),
    }
}

fn setup_failed(error: &io::Error) -> Failure {
    let message = format!("the sandbox could not be set up: {error}");
    Failure::new(Exit::Unreachable, message)
}
