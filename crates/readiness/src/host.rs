//! Checks of the host: it is reachable, accepts the key, and the key opens only the gate.

use std::time::Duration;

use breakglass_control::ssh::Probe;
use breakglass_control::{SshOptions, Target};
use breakglass_verbs::Verdict;
use serde_json::Value;

use super::check::Check;
use super::clock::{ReportedTime, TimeQuery};
use super::connection::{self, STEPS};
use super::forced_command;
use super::guest::last_line;

/// Names of the checks of the gate.
const GATE_CHECKS: [&str; 3] = ["gate", "vitals", "clock"];
/// Options in authorized_keys that restrict the key to the gate.
pub const FORCED_COMMAND_OPTIONS: &str = "command=\"/usr/local/sbin/breakglass-gate\",restrict";
/// Timeout of the gate, which itself waits up to 10 s for a QEMU monitor that does not answer.
const GATE_TIMEOUT: Duration = Duration::from_secs(15);

/// The names of all checks of the host.
pub(crate) fn names(target: &Target) -> Vec<String> {
    let all = STEPS
        .iter()
        .chain(&GATE_CHECKS)
        .chain(&forced_command::NAMES);
    all.map(|check| name(target, check)).collect()
}

pub(crate) fn name(target: &Target, check: &str) -> String {
    format!("{}.host.{check}", target.name)
}

pub(crate) async fn checks(target: &Target, options: &SshOptions) -> Vec<Check> {
    let machine = format!("{}.host", target.name);
    let (mut checks, login) = connection::log_in(&machine, &target.host, options).await;
    match login {
        Ok(probe) => {
            let (gate, forced_command) = tokio::join!(
                gate(target, &probe),
                forced_command::checks(target, &probe, options)
            );
            checks.extend(gate.into_iter().chain(forced_command));
        }
        Err(first) => {
            let rest = GATE_CHECKS.iter().chain(&forced_command::NAMES);
            checks.extend(rest.map(|check| Check::untried(name(target, check), &first)));
        }
    }
    checks
}

/// Checks that the gate answers with a verdict, and then that it knows the newer verbs.
async fn gate(target: &Target, probe: &Probe) -> [Check; 3] {
    let [gate, vitals, clock] = GATE_CHECKS.map(|check| name(target, check));
    let broken = |check: Check| {
        let untried = [vitals.clone(), clock.clone()].map(|name| Check::untried(name, &gate));
        let [vitals, clock] = untried;
        [check, vitals, clock]
    };
    let answer = match probe.run_for("status", GATE_TIMEOUT).await {
        Ok(answer) => answer,
        Err(error) => {
            let check = Check::red(gate.clone(), format!("{error}."), no_gate(target));
            return broken(check);
        }
    };
    let last = last_line(&answer.stdout);
    let verdict = last.strip_prefix("verdict: ").and_then(Verdict::parse);
    if let Some(verdict) = verdict {
        let evidence = format!("The gate answers: the guest is {verdict}.");
        let [vitals, clock] = newer_verbs(target, probe, [vitals, clock]).await;
        return [Check::green(gate, evidence), vitals, clock];
    }
    let output = if answer.stderr.is_empty() {
        last
    } else {
        answer.stderr.lines().next().unwrap_or_default()
    };
    let is_gate = answer.code == Some(2) && answer.stderr.contains("refused: ");
    let has_verdict = answer
        .stdout
        .lines()
        .any(|line| line.starts_with("verdict: "));
    let no_verdict = format!("`status` returned no verdict, but: {output}.");
    let (evidence, remedy) = if has_verdict {
        let evidence = format!("The gate answers, but something prints after it: {last:?}.");
        (evidence, no_other_output(target))
    } else if is_gate {
        let host = &target.host.host;
        (
            no_verdict,
            format!("fix on {host} what the gate reports: {output}"),
        )
    } else {
        (no_verdict, no_gate(target))
    };
    broken(Check::red(gate.clone(), evidence, remedy))
}

/// Checks that the gate knows `vitals`, and that the host's time in it is correct.
async fn newer_verbs(target: &Target, probe: &Probe, names: [String; 2]) -> [Check; 2] {
    let [vitals, clock] = names;
    let query = TimeQuery::now();
    let remedy = format!("{}, in the current version", install(target));
    let (evidence, remedy) = match probe.run_for("vitals", GATE_TIMEOUT).await {
        Ok(answer) if answer.code != Some(2) && json_in(&answer.stdout).is_some() => {
            let clock = match time_in(&answer.stdout) {
                Some(time) => query.compare(clock, "host", time),
                None => {
                    let evidence =
                        "The gate is an older version, which does not report the host's time.";
                    Check::amber(clock, evidence, remedy)
                }
            };
            let vitals = match noise(&answer.stdout) {
                None => Check::green(vitals, "The gate knows `vitals`."),
                Some(line) => Check::amber(
                    vitals,
                    format!("The gate knows `vitals`, but something else prints too: {line:?}."),
                    no_other_output(target),
                ),
            };
            return [vitals, clock];
        }
        Ok(answer) if answer.code == Some(2) && answer.stderr.contains("refused: ") => {
            let refusal = last_line(&answer.stderr);
            let evidence = format!("The gate is an older version, without `vitals`: {refusal}.");
            (evidence, remedy)
        }
        Ok(answer) => {
            let output = if answer.stderr.is_empty() {
                &answer.stdout
            } else {
                &answer.stderr
            };
            let line = last_line(output);
            let evidence = format!("`vitals` returned no vital signs, but: {line}.");
            (evidence, no_other_output(target))
        }
        Err(error) => (format!("{error}."), remedy),
    };
    let untried = Check::untried(clock, &vitals);
    [Check::amber(vitals, evidence, remedy), untried]
}

/// The host's time in the output of `vitals`.
fn time_in(output: &str) -> Option<ReportedTime> {
    ReportedTime::from_rfc3339(json_in(output)?.get("time")?.as_str()?)
}

/// The vital signs in the output.
fn json_in(output: &str) -> Option<Value> {
    let signs = |line| serde_json::from_str(line).ok().filter(Value::is_object);
    output.lines().find_map(signs)
}

/// The first line of the output that is not from the gate.
fn noise(output: &str) -> Option<&str> {
    output.lines().find(|line| {
        let is_verdict = line.starts_with("verdict: ");
        !is_verdict && !line.trim().is_empty() && json_in(line).is_none()
    })
}

fn no_other_output(target: &Target) -> String {
    let host = &target.host;
    format!(
        "on {}: let nothing but the gate print: {FORCED_COMMAND_OPTIONS} before the key in {}'s authorized_keys, and no \
         line that prints in the startup files of its login shell (.bashrc, .zshenv, .cshrc)",
        host.host, host.user
    )
}

fn no_gate(target: &Target) -> String {
    format!(
        "{}, and put {FORCED_COMMAND_OPTIONS} before the key in {}'s authorized_keys there",
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
