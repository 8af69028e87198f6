//! Whether everything that an emergency needs is in place: one list of checks, each tried for real,
//! with its evidence and its remedy.
//!
//! ```text
//! local: key, store, lint, drill ─┐
//! each target: guest, host ───────┼─ examine ─┬─ breakglass doctor
//!   (over SSH, of its own)        │           └─ watch ── findings ─┬─ readiness (with what is live)
//! agent, and at times its model ──┘                                 └─ changes
//! ```
//! Every check has a deadline and an answer; one that waits for another says so.

mod agent;
mod check;
mod clock;
mod files;
mod forced;
mod guest;
mod host;
mod incidents;
mod lint;
mod model;
mod practice;
mod reach;
mod sandbox;
mod store;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use breakglass_control::SshOptions;
use breakglass_control::Target;
use futures_util::future::join_all;

pub use agent::{examine as examine_agent, live as live_agent};
pub use check::{Check, State};
pub use host::HELD;
pub use incidents::tell_incidents;
pub use practice::{Place, Practice};
pub use watch::{Change, Findings, watch};

use breakglass_config::Config;

/// Longest wait for one check.
const LIMIT: Duration = Duration::from_secs(5);

/// Everything but the agent: what lies here, and each target over connections of its own. The
/// agent's part is [`examine_agent`], or what a running server knows of it.
pub async fn examine(config: &Config) -> Vec<Check> {
    let (key, key_check) = files::key(&config.ssh.key_file);
    let mut checks = vec![key_check];
    checks.extend(store::checks(&config.data_dir).await);
    checks.extend(lint::checks(config));
    checks.extend(practice::check(config));
    let options = key.map(|key| SshOptions {
        connect_timeout: config.ssh.connect_timeout.min(LIMIT),
        ..breakglass_config::ssh_options(config, Arc::new(key))
    });
    let of_targets = config
        .targets
        .iter()
        .map(|target| machines(target, options.as_ref()));
    checks.extend(join_all(of_targets).await.into_iter().flatten());
    checks
}

/// Guest and host of one target, at the same time.
pub async fn machines(target: &Target, options: Option<&SshOptions>) -> Vec<Check> {
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
