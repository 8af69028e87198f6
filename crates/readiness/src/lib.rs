//! Readiness: whether everything that an emergency needs works. One list of checks, each tried for real, with its
//! evidence and its remedy.
//!
//! ```text
//! local: key, store, settings, drill ─┐
//! each target: guest, host ───────────┼─ run_checks ─┬─ breakglass doctor
//!   (over separate SSH connections)   │              └─ watch ── ReadinessState ─┬─ current checks (API, metrics)
//! agent, sometimes its model ─────────┘                                          └─ changes (log, notifications)
//! ```
//! Every check has a deadline and a result. A check that depends on a failed one is marked as not tried.

mod agent;
mod check;
mod clock;
mod connection;
mod drill_log;
mod files;
mod forced_command;
mod guest;
mod host;
mod incidents;
mod model;
mod sandbox;
mod settings;
mod state;
mod store;

use std::sync::Arc;
use std::time::Duration;

use breakglass_control::SshOptions;
use breakglass_control::Target;
use futures_util::future::join_all;

pub use agent::{examine as examine_agent, live as live_agent};
pub use check::{Check, State};
pub use drill_log::{CompletedDrill, DrillLog};
pub use host::FORCED_COMMAND_OPTIONS;
pub use incidents::record_changes;
pub use state::{Change, ReadinessState, watch};

use breakglass_config::Config;

/// Timeout of one check.
const CHECK_TIMEOUT: Duration = Duration::from_secs(5);

/// Runs all checks but the agent's: the local ones, and those of each target over separate connections. The agent's
/// checks are [`examine_agent`], or [`live_agent`] in a running server.
pub async fn examine(config: &Config) -> Vec<Check> {
    let (key, key_check) = files::key(&config.ssh.key_file);
    let mut checks = vec![key_check];
    checks.extend(store::checks(&config.data_dir).await);
    checks.extend(settings::checks(config));
    checks.extend(drill_log::check(config));
    let options = key.map(|key| SshOptions {
        connect_timeout: config.ssh.connect_timeout.min(CHECK_TIMEOUT),
        ..breakglass_config::ssh_options(config, Arc::new(key))
    });
    let target_checks = config
        .targets
        .iter()
        .map(|target| check_target(target, options.as_ref()));
    checks.extend(join_all(target_checks).await.into_iter().flatten());
    checks
}

/// The checks of one target's guest and host, in parallel. Without `options` they are not tried.
pub async fn check_target(target: &Target, options: Option<&SshOptions>) -> Vec<Check> {
    let Some(options) = options else {
        let names = guest::names(target).into_iter().chain(host::names(target));
        return names.map(|name| Check::untried(name, "ssh_key")).collect();
    };
    let (mut guest, host) = tokio::join!(
        guest::checks(target, options),
        host::checks(target, options)
    );
    guest.extend(host);
    guest
}
