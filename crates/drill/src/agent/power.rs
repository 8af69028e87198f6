//! Repairs through the host, for a guest that does not answer.

use super::case::Case;
use super::output;
use super::talk::Stopped;
use super::tool::Ran;

/// Waits until the guest answers, at most about a minute and a half.
const WAIT: &str = "for n in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do timeout 8 ssh -o ConnectTimeout=3 devvm uptime && exit 0; sleep 1; done; exit 1";

/// Asks the host for the guest's state, and brings the guest back unless `look_only`. `guest` is the
/// command that the guest did not answer.
pub(super) fn bring_back(case: &mut Case<'_>, guest: &Ran, look_only: bool) -> Result<(), Stopped> {
    let reason = guest.stderr.lines().last().unwrap_or_default();
    let reason = if reason.is_empty() {
        "no answer in time"
    } else {
        reason
    };
    case.report
        .found(format!("the guest does not answer over SSH ({reason})"));
    let why = "No answer over SSH. What does the host see?";
    let title = "Run state and verdict from the gate";
    let status = case.talk.bash(why, "ssh pve status", title)?;
    let Some(verdict) = output::verdict(&status.stdout) else {
        let code = status.code.unwrap_or(-1);
        case.report
            .found(format!("the host does not help either (exit {code})"));
        case.report
            .done("nothing: neither the guest nor the host answers; this needs a person");
        return Ok(());
    };
    case.report
        .found(format!("the host's verdict: `{verdict}`"));
    if look_only {
        case.report.now("unchanged, as you asked");
        return Ok(());
    }
    capture_forensics(case)?;
    let verb = if verdict == "stopped" {
        "start"
    } else {
        "cycle"
    };
    run_verb(case, verb)
}

fn capture_forensics(case: &mut Case<'_>) -> Result<(), Stopped> {
    let why = "Evidence first: it ends with the process.";
    let title = "Capture the evidence on the host";
    let forensics = case.talk.bash(why, "ssh pve forensics", title)?;
    let report = &mut *case.report;
    report.done(if forensics.ok() {
        "captured forensics on the host".to_owned()
    } else {
        format!("tried forensics (exit {})", forensics.code.unwrap_or(-1))
    });
    let evidence = &forensics.stdout;
    if evidence.contains("anic") || evidence.contains("kernel NULL pointer") {
        report.found("its screen shows a kernel panic");
    } else if evidence.contains("query-blockstats") {
        report.found(
            "the monitor answers while the guest is silent: a stall in QEMU's I/O looks like this",
        );
    }
    Ok(())
}

fn run_verb(case: &mut Case<'_>, verb: &str) -> Result<(), Stopped> {
    let why = if verb == "start" {
        "It is off. I start it."
    } else {
        "A reset would keep this QEMU process and whatever is stuck in it. A cycle gives a fresh one."
    };
    let command = format!("ssh pve {verb}");
    let changed = case.talk.bash(why, &command, "Bring the guest back")?;
    let report = &mut *case.report;
    if changed.refusal().is_some() {
        report.change(&format!("brought back by `{verb}`"), &changed);
        return Ok(());
    }
    let verdict = output::verdict(&changed.stdout).unwrap_or("none");
    report.done(format!("`{verb}` through the gate, verdict `{verdict}`"));
    if !changed.ok() {
        let code = changed.code.map(|code| format!("exit {code}"));
        let code = code.unwrap_or_else(|| "it was ended before its verdict".to_owned());
        report.now(format!("**not repaired**: `{verb}` failed ({code})"));
        return Ok(());
    }
    let title = "Wait for SSH on the guest";
    let up = case.talk.bash("Waiting until it answers.", WAIT, title)?;
    if !up.ok() {
        case.report
            .now("**not repaired**: the guest runs, but does not answer over SSH");
    } else if !case.verify()? {
        case.report
            .now("it is up, but not healthy: ask me to fix the rest");
    }
    Ok(())
}
