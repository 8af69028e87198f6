//! Repairs inside a guest that answers: a full disk, exhausted memory, failed units.

use super::case::{Case, names};
use super::output;
use super::talk::Stopped;

/// The disk counts as full from this usage of `/`.
const DISK_FULL_PERCENT: u32 = 95;

/// Finds the cause of what `overview` shows, and removes it.
pub(super) fn repair(case: &mut Case<'_>, overview: &str) -> Result<(), Stopped> {
    let failed = output::failed_units(overview);
    let percent = output::disk_percent(overview).unwrap_or(0);
    let memory = output::memory(overview);
    if percent >= DISK_FULL_PERCENT {
        case.report.found(format!("`/` is {percent} % full"));
        free_disk(case, &failed)
    } else if memory.is_some_and(|(available, total)| available * 10 < total) {
        case.report.found("the guest has almost no memory left");
        free_memory(case, &failed)
    } else if failed.is_empty() {
        let finding = "nothing wrong: disk, memory and units are in order";
        case.report.found(finding);
        case.describe(overview);
        Ok(())
    } else {
        restart_failed(case, &failed)
    }
}

fn free_disk(case: &mut Case<'_>, failed: &[String]) -> Result<(), Stopped> {
    let listing = case.read(
        "The disk is full. What takes the space?",
        "sudo -n du -xa / 2>/dev/null | sort -rn | head -n 40",
        "The largest files and directories of the guest",
    )?;
    read_journal(case, failed)?;
    let Some(path) = output::largest_log(&listing.stdout) else {
        case.report.done(
            "nothing: no log or leftover among the largest files; tell me what may be deleted",
        );
        return Ok(());
    };
    let finding = format!("most of it is `{path}`, a log without rotation");
    case.report.found(finding);
    let restart = restart_command(failed);
    let fixed = case.run(
        &format!("`{path}` has filled the disk. It is a log: I print its last lines here, empty it and restart what is down."),
        &format!("sudo -n tail -n 2 {path}; sudo -n truncate -s 0 {path} && {restart}df -h /"),
        "Empty the runaway log, restart the failed units",
    )?;
    let did = format!("emptied `{path}`{}", restarted(failed));
    if case.report.change(&did, &fixed) {
        let advice = "rotate that log, or turn off what writes it, or this comes back";
        conclude(case, advice)?;
    }
    Ok(())
}

fn free_memory(case: &mut Case<'_>, failed: &[String]) -> Result<(), Stopped> {
    let listing = case.read(
        "Memory is exhausted. Which process uses it, and what did the kernel kill?",
        "ps -eo pid,rss,comm --sort=-rss | head -n 6; sudo -n dmesg | grep -i \"out of memory\" | tail -n 3",
        "Largest processes and the kernel's OOM kills",
    )?;
    read_journal(case, failed)?;
    let Some((pid, name)) = output::largest_process(&listing.stdout) else {
        case.report.done("nothing: the largest process is unknown");
        return Ok(());
    };
    case.report
        .found(format!("`{name}` (pid {pid}) uses most of the memory"));
    let restart = restart_command(failed);
    let fixed = case.run(
        &format!("`{name}` is the leak. I restart it, which frees its memory, and then what the kernel killed."),
        &format!("systemctl is-active -q {name} && sudo -n systemctl restart {name} || sudo -n kill {pid}; {restart}free -m"),
        "Restart the leaking unit and the failed ones",
    )?;
    let did = format!("restarted `{name}`{}", restarted(failed));
    if case.report.change(&did, &fixed) {
        let advice = format!("`{name}` leaks: give its unit a `MemoryMax=` until it is fixed");
        conclude(case, &advice)?;
    }
    Ok(())
}

fn restart_failed(case: &mut Case<'_>, failed: &[String]) -> Result<(), Stopped> {
    case.report.found(format!("failed: {}", names(failed)));
    read_journal(case, failed)?;
    let fixed = case.run(
        "Disk and memory are fine. I restart what failed.",
        &format!("{}systemctl --failed --no-legend", restart_command(failed)),
        "Restart the failed units",
    )?;
    let did = format!("restarted {}", names(failed));
    if case.report.change(&did, &fixed) {
        case.verify()?;
    }
    Ok(())
}

fn read_journal(case: &mut Case<'_>, failed: &[String]) -> Result<(), Stopped> {
    if let Some(unit) = failed.first() {
        let why = format!("And what does the log of `{unit}` say?");
        let script = format!("journalctl -u {unit} -n 8 --no-pager");
        case.run(&why, &script, "The failed unit's last log lines")?;
    }
    Ok(())
}

fn restart_command(failed: &[String]) -> String {
    if failed.is_empty() {
        return String::new();
    }
    format!("sudo -n systemctl restart {} && ", failed.join(" "))
}

fn restarted(failed: &[String]) -> String {
    if failed.is_empty() {
        return String::new();
    }
    format!(", restarted {}", names(failed))
}

/// Verifies the repair and reports the next step.
fn conclude(case: &mut Case<'_>, advice: &str) -> Result<(), Stopped> {
    let is_repaired = case.verify()?;
    case.report.now(if is_repaired {
        format!("next: {advice}")
    } else {
        "**not repaired**: this needs you".to_owned()
    });
    Ok(())
}
