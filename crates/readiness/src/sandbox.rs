//! The check of the agent's sandbox: a probe inside tries to reach what the agent must not reach.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use breakglass_agent::sandbox::Attempt;
use breakglass_agent::{AgentOptions, TargetNames, run_in_sandbox};
use tempfile::TempDir;
use tokio::task::spawn_blocking;

use super::agent::{model_access, options, temporary_cell};
use super::check::Check;
use breakglass_cell::{Cell, Kind};
use breakglass_config::{AgentConfig, Config};

/// Name of the check.
pub(crate) const SANDBOX_CHECK: &str = "agent.sandbox";
/// Timeout of all attempts together.
const ATTEMPTS_TIMEOUT: Duration = Duration::from_secs(20);
/// Minimum number of attempts; with fewer, the result means nothing.
const ATTEMPTS_MIN: usize = 15;

/// Runs the check in a temporary cell, so that a running server's cell is not touched.
#[allow(
    clippy::disallowed_methods,
    reason = "awaited here, for at most ten seconds; its child process has ended by then"
)]
pub(crate) async fn check(config: &Config) -> Option<Check> {
    if !config.agent.enabled {
        return None;
    }
    let owned = config.clone();
    // Blocks until it is known whether a sandbox can be made.
    let prepared = spawn_blocking(move || prepare(&owned)).await;
    Some(match prepared {
        Ok(Ok((options, _dir, cell))) => {
            let check = probe(config, &options).await;
            cell.clear();
            check
        }
        Ok(Err(check)) => check,
        Err(error) => not_tried(&error.to_string()),
    })
}

/// A temporary cell with a sandbox, or the check if there is no sandbox.
fn prepare(config: &Config) -> Result<(AgentOptions, TempDir, Cell), Check> {
    match Kind::choose(&config.agent) {
        Ok(Kind::Sandbox(_)) => {}
        Ok(kind) => return Err(no_sandbox(&kind, config)),
        Err(why) => return Err(missing(&why)),
    }
    let prepared =
        temporary_cell(config).and_then(|(dir, cell)| Ok((options(config, &cell)?, dir, cell)));
    prepared.map_err(|error| not_tried(&error.to_string()))
}

/// The check if the agent is isolated in another way than by a sandbox.
fn no_sandbox(kind: &Kind, config: &Config) -> Check {
    match kind {
        Kind::Confinement(Some(why)) => Check::amber(
            SANDBOX_CHECK,
            format!(
                "The agent has no sandbox here, only confinement: {why}. So it asks before it changes anything, \
                 regardless of agent.autonomy."
            ),
            "follow this message and restart breakglass, or set agent.sandbox = \"none\" to let it act without \
             asking anyway",
        ),
        Kind::Confinement(None) => Check::amber(
            SANDBOX_CHECK,
            "The agent has no sandbox, only confinement, by the configuration (agent.sandbox = \"none\"): \
             it can send what it reads to any address, and it reaches every service of this machine.",
            "remove agent.sandbox from the configuration",
        ),
        Kind::Sandbox(_) | Kind::Runner => {
            let runner = config.agent.runner.as_deref().unwrap_or("".as_ref());
            Check::green(
                SANDBOX_CHECK,
                format!(
                    "The container of the runner at {} isolates the agent; what it reaches depends on the container's network, \
                     which cannot be tested from here.",
                    runner.display()
                ),
            )
        }
    }
}

fn missing(why: &str) -> Check {
    let evidence = format!(
        "No sandbox can be made, so there is no agent (agent.sandbox = \"required\"): {why}."
    );
    Check::red(
        SANDBOX_CHECK,
        evidence,
        "follow this message and restart breakglass",
    )
}

fn not_tried(why: &str) -> Check {
    Check::red(
        SANDBOX_CHECK,
        format!("The agent's sandbox cannot be tested: {why}."),
        "see the check `agent`, and the server's log",
    )
}

async fn probe(config: &Config, options: &AgentOptions) -> Check {
    let target = config.targets.first();
    let names = TargetNames {
        guest: target.map_or_else(|| "guest".to_owned(), |target| target.name.clone()),
        host: target.map_or_else(|| "host".to_owned(), |target| target.host_name.clone()),
    };
    let arguments = arguments(config);
    let probed = run_in_sandbox(
        options,
        &names,
        &arguments,
        model_access(config),
        ATTEMPTS_TIMEOUT,
    )
    .await;
    match probed {
        Ok(lines) => evaluate(&lines, &names, &config.agent),
        Err(why) => not_tried(why.trim_end_matches('.')),
    }
}

/// The arguments of the probe. Paths and numbers are not secret.
fn arguments(config: &Config) -> Vec<OsString> {
    let mut all = vec![OsString::from("cell-probe")];
    let record = config.data_dir.join(breakglass_config::LOG_FILE);
    let files = config.private.iter().cloned().chain([record]);
    let files: Vec<PathBuf> = files.filter(|file| file.exists()).collect();
    for file in files {
        all.extend([OsString::from("--file"), file.into_os_string()]);
    }
    let listens = [Some(config.listen), config.metrics_listen];
    for address in listens.into_iter().flatten() {
        all.extend(["--address".into(), reachable(address).to_string().into()]);
    }
    // This process is the server, or has the same account.
    all.extend(["--process".into(), std::process::id().to_string().into()]);
    all
}

/// The loopback address for a listener on all addresses, otherwise the address itself.
fn reachable(address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), address.port())
    } else {
        address
    }
}

/// Converts the lines of the probe into the check.
fn evaluate(lines: &[String], names: &TargetNames, agent: &AgentConfig) -> Check {
    let all: Vec<Attempt> = lines
        .iter()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    if all.len() < ATTEMPTS_MIN {
        return not_tried(&format!("only {} attempts were made", all.len()));
    }
    let succeeded: Vec<&str> = all
        .iter()
        .filter(|tried| tried.refused.is_none())
        .map(|tried| tried.what.as_str())
        .collect();
    if !succeeded.is_empty() {
        let evidence = format!(
            "From inside its sandbox the agent can {}.",
            succeeded.join("; it can ")
        );
        let remedy = "cut the agent off, or set agent.enabled = false, until this is fixed; power and checks work \
                      without it";
        return Check::red(SANDBOX_CHECK, evidence, remedy);
    }
    let hosts = agent.allowed_hosts();
    let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
    let evidence = format!(
        "All {} attempts from inside the agent's sandbox were refused; it reaches {}, {} and {}.",
        all.len(),
        names.guest,
        names.host,
        hosts.join(", ")
    );
    Check::green(SANDBOX_CHECK, evidence)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(count: usize, refused: bool) -> Vec<String> {
        let refused = refused.then(|| "no".to_owned());
        let what = "read /key".to_owned();
        let tried = serde_json::to_string(&Attempt { what, refused }).unwrap();
        vec![tried; count]
    }

    fn names() -> TargetNames {
        let (guest, host) = ("devvm".to_owned(), "pve".to_owned());
        TargetNames { guest, host }
    }

    #[test]
    fn successful_attempt_is_red_and_too_few_attempts_do_not_count() {
        let agent = AgentConfig::default();
        let check = |lines: &[String]| evaluate(lines, &names(), &agent);
        let closed = check(&lines(20, true));
        assert!(closed.remedy.is_none(), "{closed:?}");
        assert!(
            closed.evidence.contains("20 attempts")
                && closed.evidence.contains("api.anthropic.com:443")
        );
        let open = check(&[lines(20, true), lines(1, false)].concat());
        assert!(open.evidence.contains("can read /key"), "{open:?}");
        let few = check(&lines(3, true));
        assert!(few.evidence.contains("only 3"), "{few:?}");
    }
}
