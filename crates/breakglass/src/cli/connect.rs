//! The `ProxyCommand` of the agent's SSH client: connects to a socket of the bastion, waits until it is accepted,
//! and passes the connection to the client (`ProxyUseFdpass yes`), so that no process sits between the two.

use std::io;
use std::os::fd::AsFd as _;
use std::path::PathBuf;

use breakglass_agent::{BastionAnswer, connect_to_bastion, pass_connection};
use clap::Args;

use super::{Exit, Failure};

#[derive(Debug, Args)]
pub(crate) struct ConnectArgs {
    /// The socket of the bastion.
    socket: PathBuf,
}

pub(crate) fn run(args: &ConnectArgs) -> Result<Exit, Failure> {
    let failed = |error: io::Error| {
        let name = args.socket.file_name().unwrap_or_default().display();
        let reason = match error.kind() {
            io::ErrorKind::NotFound => {
                "there is no such machine here, or the agent's conversation has ended".to_owned()
            }
            io::ErrorKind::TimedOut => "the bastion did not answer within 10 s".to_owned(),
            _ => error.to_string(),
        };
        Failure::new(
            Exit::Unreachable,
            format!("{name} can't be reached: {reason}"),
        )
    };
    match connect_to_bastion(&args.socket).map_err(failed)? {
        // Standard output is a socket of the client's, which waits for a descriptor.
        BastionAnswer::Accepted(connection) => {
            pass_connection(io::stdout().as_fd(), &connection).map_err(failed)?;
        }
        BastionAnswer::Refused(words) => {
            return Err(Failure::new(Exit::Unreachable, refusal_reason(&words)));
        }
    }
    Ok(Exit::Done)
}

fn refusal_reason(words: &str) -> String {
    match words.strip_prefix("breakglass: ") {
        Some(words) => words.to_owned(),
        None => "the bastion closed the connection".to_owned(),
    }
}
