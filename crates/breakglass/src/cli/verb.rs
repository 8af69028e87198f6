//! The arguments of the verbs, and the exit code of each outcome.

use std::path::PathBuf;

use breakglass_model::VerbOutcome;
use clap::Args;

use super::{Exit, ServerArgs};

#[derive(Debug, Args)]
pub(crate) struct VerbArgs {
    /// The target; may be omitted if there is only one.
    #[arg(long, env = "BREAKGLASS_TARGET", value_name = "NAME")]
    pub(super) target: Option<String>,
    #[command(flatten)]
    pub(super) server: ServerArgs,
    /// Connect to the host over SSH from here, without a server, even if one is named: the cold case.
    #[arg(long)]
    pub(super) direct: bool,
    /// With --direct: the configuration with the target and the key.
    #[arg(
        long,
        env = "BREAKGLASS_CONFIG",
        value_name = "FILE",
        requires = "direct"
    )]
    pub(super) config: Option<PathBuf>,
    /// Print the finished operation as JSON instead of its lines.
    #[arg(long)]
    pub(super) json: bool,
}

/// The exit code for an outcome.
pub(super) const fn exit_of(outcome: VerbOutcome) -> Exit {
    match outcome {
        VerbOutcome::Done => Exit::Done,
        VerbOutcome::Failed | VerbOutcome::Interrupted => Exit::Failed,
        VerbOutcome::Refused => Exit::Refused,
        VerbOutcome::Unreachable => Exit::Unreachable,
    }
}
