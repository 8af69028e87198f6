//! Rescues from outside: the guest does not answer, so the host is asked.

use std::io::Write;

use super::read;
use super::story::{Record, verify};
use super::talk::{Stopped, Talk};
use super::tool::Ran;

/// Waits until the guest answers, at most about a minute and a half.
const WAIT: &str = "for n in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do timeout 8 ssh -o ConnectTimeout=3 devvm uptime && exit 0; sleep 1; done; exit 1";

/// Finds out from the host what the guest is, and brings it back unless `look_only`.
pub(super) fn rescue<W: Write>(
    talk: &mut Talk<W>,
    guest: &Ran,
    look_only: bool,
    record: &mut Record,
) -> Result<(), Stopped> {
    let why = guest
        .stderr
        .lines()
        .last()
        .filter(|line| !line.is_empty())
        .unwrap_or("no answer in time");
    record
        .found
        .push(format!("the guest does not answer over SSH ({why})"));
    let status = talk.bash(
        "No answer over SSH. What does the host see?",
        "ssh pve status",
        "Run state and verdict from the gate",
    )?;
    let Some(verdict) = read::verdict(&status.stdout).map(str::to_owned) else {
        record.found.push(format!(
            "the host does not help either (exit {})",
            status.code.unwrap_or(-1)
        ));
        record.done.push(
            "nothing: neither guest nor host can be reached from here; this needs hands".to_owned(),
        );
        return Ok(());
    };
    record
        .found
        .push(format!("the host's verdict: `{verdict}`"));
    if look_only {
        record.now.push("unchanged, as you asked".to_owned());
        return Ok(());
    }
    let forensics = talk.bash(
        "Evidence first: it dies with the process.",
        "ssh pve forensics",
        "Capture the evidence on the host",
    )?;
    explain(&forensics, record);
    let verb = if verdict == "stopped" {
        "start"
    } else {
        "cycle"
    };
    bring_back(talk, verb, record)
}

fn explain(forensics: &Ran, record: &mut Record) {
    if forensics.ok() {
        record
            .done
            .push("captured forensics on the host".to_owned());
    } else {
        record.done.push(format!(
            "tried forensics (exit {})",
            forensics.code.unwrap_or(-1)
        ));
    }
    if forensics.stdout.contains("anic") || forensics.stdout.contains("kernel NULL pointer") {
        record
            .found
            .push("its screen shows a kernel panic".to_owned());
    } else if forensics.stdout.contains("query-blockstats") {
        record.found.push(
            "the monitor answers while the guest is silent: a stall in QEMU's I/O looks like this"
                .to_owned(),
        );
    }
}

fn bring_back<W: Write>(
    talk: &mut Talk<W>,
    verb: &str,
    record: &mut Record,
) -> Result<(), Stopped> {
    let why = match verb {
        "start" => "It is simply off. I start it.",
        _ => {
            "A reset would keep this QEMU process and whatever is stuck in it. A cycle gives a fresh one."
        }
    };
    let changed = talk.bash(why, &format!("ssh pve {verb}"), "Bring the guest back")?;
    if changed.refusal().is_some() {
        record.change(&format!("brought back by `{verb}`"), &changed);
        return Ok(());
    }
    let verdict = read::verdict(&changed.stdout).unwrap_or("none");
    record
        .done
        .push(format!("`{verb}` through the gate, verdict `{verdict}`"));
    if !changed.ok() {
        let exit = changed.code.map_or_else(
            || "it was ended before its verdict".to_owned(),
            |code| format!("exit {code}"),
        );
        record
            .now
            .push(format!("**not repaired**: `{verb}` failed ({exit})"));
        return Ok(());
    }
    let up = talk.bash(
        "Waiting until it answers.",
        WAIT,
        "Wait for SSH on the guest",
    )?;
    if !up.ok() {
        record
            .now
            .push("**not repaired**: the guest runs, but does not answer over SSH".to_owned());
        return Ok(());
    }
    if !verify(talk, record)? {
        record
            .now
            .push("it is up, but not well: ask me to fix the rest".to_owned());
    }
    Ok(())
}
