//! Tests the agent's sandbox from inside. Only the readiness checks start it.

use std::net::SocketAddr;
use std::path::PathBuf;

use breakglass_agent::sandbox::Probe;
use clap::Args;

use super::{Exit, Failure, print_json};

#[derive(Debug, Args)]
pub(crate) struct CellProbeArgs {
    /// A file that must not be readable.
    #[arg(long, value_name = "FILE")]
    file: Vec<PathBuf>,
    /// An address that must not be reachable.
    #[arg(long, value_name = "ADDRESS")]
    address: Vec<SocketAddr>,
    /// A process that must not be signalled.
    #[arg(long, value_name = "PID")]
    process: Option<u32>,
}

/// Prints each attempt as one line of JSON.
pub(crate) fn run(args: CellProbeArgs) -> Result<Exit, Failure> {
    let CellProbeArgs {
        file,
        address,
        process,
    } = args;
    let probe = Probe {
        files: file,
        addresses: address,
        process,
    };
    for tried in probe.run() {
        let line = serde_json::to_string(&tried);
        print_json(&line.map_err(|error| Failure::new(Exit::Failed, error.to_string()))?);
    }
    Ok(Exit::Done)
}
