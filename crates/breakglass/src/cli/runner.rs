//! Runs the agent's CLI in a container of its own, which shares a directory with the server but no
//! secret.

use std::path::PathBuf;

use breakglass_agent::Account;
use breakglass_agent::runner::{Runner, RunnerOptions};
use clap::Args;
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::filter::LevelFilter;

use super::runtime::Interrupt;
use super::{Exit, Failure};
use breakglass_cell::Cell;
use breakglass_config::check_library;

#[derive(Debug, Args)]
pub(crate) struct RunnerArgs {
    /// The socket, in a directory shared with the server (its agent.runner).
    #[arg(long, value_name = "SOCKET")]
    listen: PathBuf,
    /// The directory for the CLI's home and sessions.
    #[arg(long, value_name = "DIR", default_value = "/var/lib/breakglass")]
    data_dir: PathBuf,
    /// The server's uid, if it differs from this process's; may be repeated.
    #[arg(long, value_name = "UID")]
    peer_uid: Vec<u32>,
    /// The account for the CLI, if it differs from this process's: a name, a uid, or uid:gid.
    #[arg(long, value_name = "USER", value_parser = breakglass_config::parse_user)]
    user: Option<Account>,
    /// The claude CLI: a path, or a name to look up in PATH.
    #[arg(long, value_name = "FILE", default_value = "claude")]
    command: PathBuf,
    /// A file with the model API's key, which must not be on the command line.
    #[arg(long, value_name = "FILE")]
    api_key_file: Option<PathBuf>,
    /// The model API's address, if it is not the vendor's.
    #[arg(long, value_name = "URL")]
    base_url: Option<String>,
    /// A folder of runbooks for the agent, in this container.
    #[arg(long, value_name = "DIR")]
    library: Option<PathBuf>,
    /// A directory with the CLI's own sign-in (.credentials.json) instead of a key.
    #[arg(long, value_name = "DIR")]
    credentials_dir: Option<PathBuf>,
}

pub(crate) fn run(args: &RunnerArgs) -> Result<Exit, Failure> {
    super::runtime::seal_memory()?;
    super::runtime::init_tracing(LevelFilter::INFO);
    let options = options(args)?;
    super::runtime::block_on(async {
        let interrupt = Interrupt::install()?;
        let end = CancellationToken::new();
        let socket = options.socket.display().to_string();
        let runner = Runner::bind(options, end.clone()).map_err(|error| {
            let message = format!(
                "can't listen on {socket}: {error}; stop the other runner, or change --listen"
            );
            Failure::new(Exit::Usage, message)
        })?;
        tracing::info!(%socket, "running the agent's CLI for a server");
        let running = runner.run();
        tokio::pin!(running);
        tokio::select! {
            () = &mut running => {}
            () = interrupt.received() => {
                end.cancel();
                running.await;
            }
        }
        Ok(Exit::Done)
    })?
}

fn options(args: &RunnerArgs) -> Result<RunnerOptions, Failure> {
    if let Some(library) = &args.library {
        check_library(library, args.user, &secrets(args)).map_err(|(problem, remedy)| {
            Failure::new(Exit::Usage, format!("--library: {problem}; {remedy}"))
        })?;
    }
    let key = args.api_key_file.as_ref().map(read_key).transpose()?;
    let cell = std::fs::create_dir_all(&args.data_dir)
        .and_then(|()| Cell::create(args.data_dir.join("cell"), args.user, None));
    let cell = cell.map_err(|error| {
        let dir = args.data_dir.display();
        let message = format!("the cell below {dir} could not be created: {error}");
        Failure::new(Exit::Usage, message)
    })?;
    if let Some(source) = &args.credentials_dir {
        cell.sign_in(source);
    }
    let own = rustix::process::geteuid().as_raw();
    let peers = match args.peer_uid.as_slice() {
        [] => vec![own],
        given => given.to_vec(),
    };
    let mut agent = cell
        .options(
            args.command.clone(),
            args.api_key_file.as_slice(),
            key.as_ref(),
            args.base_url.as_deref(),
        )
        .map_err(|error| Failure::new(Exit::Usage, format!("the agent's cell: {error}")))?;
    if let Some(library) = &args.library {
        agent.set_library(library.clone());
    }
    Ok(RunnerOptions {
        socket: args.listen.clone(),
        peers,
        agent,
        ssh_dir: cell.root().to_owned(),
    })
}

/// The secrets that must not be in the agent's library.
fn secrets(args: &RunnerArgs) -> Vec<PathBuf> {
    let secrets = args.api_key_file.iter().chain(&args.credentials_dir);
    secrets.chain([&args.data_dir]).cloned().collect()
}

fn read_key(path: &PathBuf) -> Result<SecretString, Failure> {
    let refuse = |reason: String| {
        let path = path.display();
        Failure::new(Exit::Usage, format!("--api-key-file {path}: {reason}"))
    };
    let text = std::fs::read_to_string(path).map_err(|error| refuse(error.to_string()))?;
    match text.trim() {
        "" => Err(refuse("the file has no key".to_owned())),
        key => Ok(SecretString::from(key)),
    }
}
