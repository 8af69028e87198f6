//! The host: reached, entered, and nothing but the gate behind the key.

use std::time::Duration;

use breakglass_control::ssh::Probe;
use breakglass_control::{SshOptions, Target};
use breakglass_verbs::Verdict;

use super::check::Check;
use super::forced;
use super::guest::last_line;
use super::reach::{self, LINKS};

/// What is asked of the gate.
const OF_THE_GATE: [&str; 2] = ["gate", "vitals"];
/// What holds the key to the gate, in authorized_keys.
pub(crate) const HELD: &str = "command=\"/usr/local/sbin/breakglass-gate\",restrict";
/// Longest wait for the gate: it waits 10 s itself for a monitor that is dead.
const GATE_LIMIT: Duration = Duration::from_secs(15);

/// The names of all checks of the host.
pub(super) fn names(target: &Target) -> Vec<String> {
    let all = LINKS.iter().chain(&OF_THE_GATE).chain(&forced::NAMES);
    all.map(|check| name(target, check)).collect()
}

pub(super) fn name(target: &Target, check: &str) -> String {
    format!("{}.host.{check}", target.name)
}

pub(super) async fn checks(target: &Target, options: &SshOptions) -> Vec<Check> {
    let machine = format!("{}.host", target.name);
    let (mut checks, entered) = reach::enter(&machine, &target.host, options).await;
    match entered {
        Ok(probe) => {
            let (gate, forced) = tokio::join!(
                gate(target, &probe),
                forced::checks(target, &probe, options)
            );
            checks.extend(gate.into_iter().chain(forced));
        }
        Err(first) => {
            let rest = OF_THE_GATE.iter().chain(&forced::NAMES);
            checks.extend(rest.map(|check| Check::untried(name(target, check), &first)));
        }
    }
    checks
}

/// That it answers with a verdict; and if so, that it knows the newer words.
async fn gate(target: &Target, probe: &Probe) -> [Check; 2] {
    let [gate, vitals] = OF_THE_GATE.map(|check| name(target, check));
    let answer = match probe.run_for("status", GATE_LIMIT).await {
        Ok(answer) => answer,
        Err(error) => {
            let untried = Check::untried(vitals, &gate);
            return [
                Check::red(gate, format!("{error}."), no_gate(target)),
                untried,
            ];
        }
    };
    let last = last_line(&answer.stdout);
    let verdict = last.strip_prefix("verdict: ").and_then(Verdict::parse);
    if let Some(verdict) = verdict {
        let evidence = format!("The gate answers: the guest is {verdict}.");
        return [
            Check::green(gate, evidence),
            age(target, probe, vitals).await,
        ];
    }
    let said = match answer.stderr.is_empty() {
        true => last,
        false => answer.stderr.lines().next().unwrap_or_default(),
    };
    let is_gate = answer.code == Some(2) && answer.stderr.contains("refused: ");
    let remedy = match is_gate {
        true => format!("mend on {} what the gate names: {said}", target.host.host),
        false => no_gate(target),
    };
    let evidence = format!("`status` brought no verdict, but: {said}.");
    let untried = Check::untried(vitals, &gate);
    [Check::red(gate, evidence, remedy), untried]
}

async fn age(target: &Target, probe: &Probe, name: String) -> Check {
    let evidence = match probe.run_for("vitals", GATE_LIMIT).await {
        Ok(answer) if answer.code != Some(2) && answer.stdout.starts_with('{') => {
            return Check::green(name, "The gate knows `vitals`.");
        }
        Ok(answer) => format!(
            "The gate is an older one, without `vitals`: {}.",
            last_line(&answer.stderr)
        ),
        Err(error) => format!("{error}."),
    };
    Check::amber(
        name,
        evidence,
        format!("{}, the newer one", install(target)),
    )
}

fn no_gate(target: &Target) -> String {
    format!(
        "{}, and put {HELD} before the key in {}'s authorized_keys there",
        install(target),
        target.host.user
    )
}

fn install(target: &Target) -> String {
    let host = &target.host;
    format!(
        "install the gate: scripts/install-gate.sh {}@{} GUEST_ID",
        host.user, host.host
    )
}
