//! The host: reached, entered, and nothing but the gate behind the key.

use std::time::Duration;

use breakglass_control::ssh::Probe;
use breakglass_control::{SshOptions, Target};
use breakglass_verbs::Verdict;
use serde_json::Value;

use super::check::Check;
use super::clock::{Asked, Told};
use super::forced;
use super::guest::last_line;
use super::reach::{self, LINKS};

/// What is asked of the gate.
const OF_THE_GATE: [&str; 3] = ["gate", "vitals", "clock"];
/// What holds the key to the gate, in authorized_keys.
pub const HELD: &str = "command=\"/usr/local/sbin/breakglass-gate\",restrict";
/// Longest wait for the gate: it waits 10 s itself for a monitor that is dead.
const GATE_LIMIT: Duration = Duration::from_secs(15);

/// The names of all checks of the host.
pub(crate) fn names(target: &Target) -> Vec<String> {
    let all = LINKS.iter().chain(&OF_THE_GATE).chain(&forced::NAMES);
    all.map(|check| name(target, check)).collect()
}

pub(crate) fn name(target: &Target, check: &str) -> String {
    format!("{}.host.{check}", target.name)
}

pub(crate) async fn checks(target: &Target, options: &SshOptions) -> Vec<Check> {
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
async fn gate(target: &Target, probe: &Probe) -> [Check; 3] {
    let [gate, vitals, clock] = OF_THE_GATE.map(|check| name(target, check));
    let broken = |check: Check| {
        let untried = [vitals.clone(), clock.clone()].map(|name| Check::untried(name, &gate));
        let [vitals, clock] = untried;
        [check, vitals, clock]
    };
    let answer = match probe.run_for("status", GATE_LIMIT).await {
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
        let [vitals, clock] = newer(target, probe, [vitals, clock]).await;
        return [Check::green(gate, evidence), vitals, clock];
    }
    let said = match answer.stderr.is_empty() {
        true => last,
        false => answer.stderr.lines().next().unwrap_or_default(),
    };
    let is_gate = answer.code == Some(2) && answer.stderr.contains("refused: ");
    let speaks = answer
        .stdout
        .lines()
        .any(|line| line.starts_with("verdict: "));
    let (evidence, remedy) = match (is_gate, speaks) {
        (_, true) => (
            format!("The gate answers, and something prints after it: {last:?}."),
            quiet(target),
        ),
        (true, _) => (
            format!("`status` brought no verdict, but: {said}."),
            format!(
                "put right on {} what the gate names: {said}",
                target.host.host
            ),
        ),
        (false, _) => (
            format!("`status` brought no verdict, but: {said}."),
            no_gate(target),
        ),
    };
    broken(Check::red(gate.clone(), evidence, remedy))
}

/// That it knows `vitals`, and that the time in it is ours.
async fn newer(target: &Target, probe: &Probe, names: [String; 2]) -> [Check; 2] {
    let [vitals, clock] = names;
    let asked = Asked::now();
    let remedy = format!("{}, the newer one", install(target));
    let (evidence, remedy) = match probe.run_for("vitals", GATE_LIMIT).await {
        Ok(answer) if answer.code != Some(2) && json_in(&answer.stdout).is_some() => {
            let clock = match time_in(&answer.stdout) {
                Some(told) => asked.compare(clock, "host", told),
                None => {
                    let evidence = "The gate is an older one, which does not tell the host's time.";
                    Check::amber(clock, evidence, remedy)
                }
            };
            let vitals = match noise(&answer.stdout) {
                None => Check::green(vitals, "The gate knows `vitals`."),
                Some(said) => Check::amber(
                    vitals,
                    format!("The gate knows `vitals`, and something prints beside it: {said:?}."),
                    quiet(target),
                ),
            };
            return [vitals, clock];
        }
        Ok(answer) if answer.code == Some(2) && answer.stderr.contains("refused: ") => {
            let said = last_line(&answer.stderr);
            let evidence = format!("The gate is an older one, without `vitals`: {said}.");
            (evidence, remedy)
        }
        Ok(answer) => {
            let said = match answer.stderr.is_empty() {
                true => last_line(&answer.stdout),
                false => last_line(&answer.stderr),
            };
            let evidence = format!("`vitals` brought no vital signs, but: {said}.");
            (evidence, quiet(target))
        }
        Err(error) => (format!("{error}."), remedy),
    };
    let untried = Check::untried(clock, &vitals);
    [Check::amber(vitals, evidence, remedy), untried]
}

/// The host's time as `vitals` has it.
fn time_in(said: &str) -> Option<Told> {
    Told::by_text(json_in(said)?.get("time")?.as_str()?)
}

/// The vital signs among what was printed.
fn json_in(said: &str) -> Option<Value> {
    let signs = |line| serde_json::from_str(line).ok().filter(Value::is_object);
    said.lines().find_map(signs)
}

/// The first line that no gate prints with its vital signs.
fn noise(said: &str) -> Option<&str> {
    said.lines().find(|line| {
        let is_verdict = line.starts_with("verdict: ");
        !is_verdict && !line.trim().is_empty() && json_in(line).is_none()
    })
}

fn quiet(target: &Target) -> String {
    let host = &target.host;
    format!(
        "on {}: let nothing print beside the gate: {HELD} before the key in {}'s authorized_keys, and no \
         line that prints in what its login shell reads at every start (.bashrc, .zshenv, .cshrc)",
        host.host, host.user
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
