//! The agent's CLI in a container of its own: it shares a directory with the server, and no secret.

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
    /// Where the server finds it (agent.runner there): in a directory that both share.
    #[arg(long, value_name = "SOCKET")]
    listen: PathBuf,
    /// Where the CLI lives: its home, its sessions.
    #[arg(long, value_name = "DIR", default_value = "/var/lib/breakglass")]
    data_dir: PathBuf,
    /// The server's uid, if it is not this one's; may be given again.
    #[arg(long, value_name = "UID")]
    peer_uid: Vec<u32>,
    /// The account that the CLI runs as, if not this one's: a name, a uid, or uid:gid.
    #[arg(long, value_name = "USER", value_parser = breakglass_config::parse_user)]
    user: Option<Account>,
    /// The claude CLI: a path, or a name to be found on PATH.
    #[arg(long, value_name = "FILE", default_value = "claude")]
    command: PathBuf,
    /// File with the model API's key; it never goes on the command line.
    #[arg(long, value_name = "FILE")]
    api_key_file: Option<PathBuf>,
    /// The model API's address, where it is not the vendor's.
    #[arg(long, value_name = "URL")]
    base_url: Option<String>,
    /// Folder of runbooks that the agent reads, in this container.
    #[arg(long, value_name = "DIR")]
    library: Option<PathBuf>,
    /// Directory with the CLI's own sign-in (.credentials.json), in place of a key.
    #[arg(long, value_name = "DIR")]
    credentials_dir: Option<PathBuf>,
}

pub(crate) fn run(args: &RunnerArgs) -> Result<Exit, Failure> {
    super::runtime::seal_memory()?;
    super::runtime::init_tracing(LevelFilter::INFO);
    let options = options(args)?;
    super::runtime::block_on(async {
        let interrupt = Interrupt::caught()?;
        let end = CancellationToken::new();
        let socket = options.socket.display().to_string();
        let runner = Runner::bind(options, end.clone()).map_err(|error| {
            let message = format!(
                "can't listen on {socket}: {error}; end the runner that does, or change --listen"
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
        check_library(library, args.user, &kept(args)).map_err(|(problem, remedy)| {
            Failure::new(Exit::Usage, format!("--library: {problem}; {remedy}"))
        })?;
    }
    let key = args.api_key_file.as_ref().map(read_key).transpose()?;
    let cell = std::fs::create_dir_all(&args.data_dir)
        .and_then(|()| Cell::lay_out(args.data_dir.join("cell"), args.user, None));
    let cell = cell.map_err(|error| {
        let dir = args.data_dir.display();
        let message = format!("the cell below {dir} could not be made: {error}");
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

/// What the agent is not to find in its library.
fn kept(args: &RunnerArgs) -> Vec<PathBuf> {
    let secrets = args.api_key_file.iter().chain(&args.credentials_dir);
    secrets.chain([&args.data_dir]).cloned().collect()
}

fn read_key(path: &PathBuf) -> Result<SecretString, Failure> {
    let refuse = |why: String| {
        let path = path.display();
        Failure::new(Exit::Usage, format!("--api-key-file {path}: {why}"))
    };
    let text = std::fs::read_to_string(path).map_err(|error| refuse(error.to_string()))?;
    match text.trim() {
        "" => Err(refuse("it holds no key".to_owned())),
        key => Ok(SecretString::from(key)),
    }
}
