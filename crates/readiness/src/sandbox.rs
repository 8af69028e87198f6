//! The agent's sandbox, tried from inside: what nothing in it is to get.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use breakglass_agent::sandbox::Attempt;
use breakglass_agent::{AgentOptions, TargetNames, run_in_sandbox};
use tempfile::TempDir;
use tokio::task::spawn_blocking;

use super::agent::{lay_out, options, reached};
use super::check::Check;
use breakglass_cell::{Cell, Kind};
use breakglass_config::{AgentConfig, Config};

/// The name of its check.
pub(crate) const SANDBOX: &str = "agent.sandbox";
/// Longest wait for all attempts together.
const LIMIT: Duration = Duration::from_secs(20);
/// How many are tried at the least: fewer are none that count.
const ATTEMPTS_MIN: usize = 15;

/// The check in a cell of its own, which leaves a running server's as it is.
#[allow(
    clippy::disallowed_methods,
    reason = "awaited here, ten seconds at most; the child that is started there has ended by then"
)]
pub(crate) async fn check(config: &Config) -> Option<Check> {
    if !config.agent.enabled {
        return None;
    }
    let owned = config.clone();
    // Whether a sandbox can be made is waited for.
    let prepared = spawn_blocking(move || prepare(&owned)).await;
    Some(match prepared {
        Ok(Ok((options, _dir, cell))) => {
            let check = tried(config, &options).await;
            cell.clear();
            check
        }
        Ok(Err(check)) => check,
        Err(error) => untried(&error.to_string()),
    })
}

/// A cell with a sandbox, or the check where there is none.
fn prepare(config: &Config) -> Result<(AgentOptions, TempDir, Cell), Check> {
    match Kind::choose(&config.agent) {
        Ok(Kind::Sandbox(_)) => {}
        Ok(kind) => return Err(without(&kind, config)),
        Err(why) => return Err(missing(&why)),
    }
    let laid_out = lay_out(config).and_then(|(dir, cell)| Ok((options(config, &cell)?, dir, cell)));
    laid_out.map_err(|error| untried(&error.to_string()))
}

/// What keeps the agent in where that is no sandbox.
fn without(kind: &Kind, config: &Config) -> Check {
    match kind {
        Kind::Walls(Some(why)) => Check::amber(
            SANDBOX,
            format!(
                "The agent has no sandbox here, and walls alone: {why}. So it asks before it changes anything, \
                 whatever agent.autonomy says."
            ),
            "do what it says and start breakglass again, or set agent.sandbox = \"none\" to let it act without \
             asking all the same",
        ),
        Kind::Walls(None) => Check::amber(
            SANDBOX,
            "The agent has no sandbox, and walls alone, by the configuration (agent.sandbox = \"none\"): \
             what it reads it can send anywhere, and it reaches every service of this machine.",
            "remove agent.sandbox from the configuration",
        ),
        Kind::Sandbox(_) | Kind::Runner => {
            let runner = config.agent.runner.as_deref().unwrap_or("".as_ref());
            Check::green(
                SANDBOX,
                format!(
                    "The container of the runner at {} keeps the agent in; what it reaches is up to its network, \
                     which can't be tried from here.",
                    runner.display()
                ),
            )
        }
    }
}

fn missing(why: &str) -> Check {
    let evidence =
        format!("There is no sandbox, and so no agent (agent.sandbox = \"required\"): {why}.");
    Check::red(
        SANDBOX,
        evidence,
        "do what it says and start breakglass again",
    )
}

fn untried(why: &str) -> Check {
    Check::red(
        SANDBOX,
        format!("The agent's sandbox can't be tried: {why}."),
        "see the check agent, and the server's log",
    )
}

async fn tried(config: &Config, options: &AgentOptions) -> Check {
    let target = config.targets.first();
    let names = TargetNames {
        guest: target.map_or_else(|| "guest".to_owned(), |target| target.name.clone()),
        host: target.map_or_else(|| "host".to_owned(), |target| target.host_name.clone()),
    };
    let arguments = arguments(config);
    let probed = run_in_sandbox(options, &names, &arguments, reached(config), LIMIT).await;
    match probed {
        Ok(lines) => judge(&lines, &names, &config.agent),
        Err(why) => untried(why.trim_end_matches('.')),
    }
}

/// What the probe gets to know. Paths and numbers are no secrets.
fn arguments(config: &Config) -> Vec<OsString> {
    let mut all = vec![OsString::from("cell-probe")];
    let record = config.data_dir.join(breakglass_config::RECORD_FILE);
    let files = config.private.iter().cloned().chain([record]);
    let files: Vec<PathBuf> = files.filter(|file| file.exists()).collect();
    for file in files {
        all.extend([OsString::from("--file"), file.into_os_string()]);
    }
    let listens = [Some(config.listen), config.metrics_listen];
    for address in listens.into_iter().flatten() {
        all.extend(["--address".into(), reachable(address).to_string().into()]);
    }
    // This process is the server, or has its account.
    all.extend(["--process".into(), std::process::id().to_string().into()]);
    all
}

/// An address at which something that listens everywhere is reached.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip().is_unspecified() {
        true => SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), address.port()),
        false => address,
    }
}

fn judge(lines: &[String], names: &TargetNames, agent: &AgentConfig) -> Check {
    let all: Vec<Attempt> = lines
        .iter()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    if all.len() < ATTEMPTS_MIN {
        return untried(&format!("only {} attempts were made", all.len()));
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
        let remedy = "cut the agent off, or set agent.enabled = false, until that is refused; power and checks work \
                      without it";
        return Check::red(SANDBOX, evidence, remedy);
    }
    let listed = agent.listed();
    let listed: Vec<String> = listed.iter().map(ToString::to_string).collect();
    let evidence = format!(
        "{} attempts from inside the agent's sandbox, none got out; it reaches {}, {} and {}.",
        all.len(),
        names.guest,
        names.host,
        listed.join(", ")
    );
    Check::green(SANDBOX, evidence)
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
    fn one_attempt_that_succeeds_turns_it_red_by_name_and_too_few_are_none() {
        let agent = AgentConfig::default();
        let check = |lines: &[String]| judge(lines, &names(), &agent);
        let held = check(&lines(20, true));
        assert!(held.remedy.is_none(), "{held:?}");
        assert!(
            held.evidence.contains("20 attempts")
                && held.evidence.contains("api.anthropic.com:443")
        );
        let open = check(&[lines(20, true), lines(1, false)].concat());
        assert!(open.evidence.contains("can read /key"), "{open:?}");
        let few = check(&lines(3, true));
        assert!(few.evidence.contains("only 3"), "{few:?}");
    }
}
