//! Repairs from inside: the guest answers, and something in it is short or down.

use std::io::Write;

use super::read;
use super::story::{GUEST, REPAIR, Record, describe, verify};
use super::talk::{Stopped, Talk};

/// From this usage of `/` on, the disk is the suspect.
const FULL: u32 = 95;

/// Follows the first look to its cause and takes it away.
pub(super) fn rescue<W: Write>(
    talk: &mut Talk<W>,
    look: &str,
    record: &mut Record,
) -> Result<(), Stopped> {
    let failed = read::failed_units(look);
    let percent = read::disk_percent(look).unwrap_or(0);
    let short_of_memory =
        read::memory(look).is_some_and(|(available, total)| available * 10 < total);
    if percent >= FULL {
        record.found.push(format!("`/` is {percent} % full"));
        free_disk(talk, &failed, record)
    } else if short_of_memory {
        record
            .found
            .push("the guest has almost no memory left".to_owned());
        free_memory(talk, &failed, record)
    } else if failed.is_empty() {
        record
            .found
            .push("nothing wrong: disk, memory and units are in order".to_owned());
        describe(look, record);
        Ok(())
    } else {
        restart_failed(talk, &failed, record)
    }
}

fn free_disk<W: Write>(
    talk: &mut Talk<W>,
    failed: &[String],
    record: &mut Record,
) -> Result<(), Stopped> {
    let listing = talk.bash(
        "The disk is full. What takes the space?",
        &format!("{GUEST} 'sudo -n du -xa / 2>/dev/null | sort -rn | head -n 40'"),
        "The largest files and directories of the guest",
    )?;
    read_journal(talk, failed)?;
    let Some((_, path)) = read::largest_log(&listing.stdout) else {
        record.done.push(
            "nothing: no log or leftover among the largest files; what may go is yours to say"
                .to_owned(),
        );
        return Ok(());
    };
    record
        .found
        .push(format!("most of it is `{path}`, a log that nobody rotates"));
    let restart = restart_command(failed);
    let script =
        format!("sudo -n tail -n 2 {path}; sudo -n truncate -s 0 {path} && {restart}df -h /");
    let fixed = talk.bash(
        &format!("`{path}` has eaten the disk. It is a log: I keep its last lines here, empty it and restart what is down."),
        &format!("{REPAIR} '{script}'"),
        "Empty the runaway log, restart the failed units",
    )?;
    if !record.change(&repaired(&format!("emptied `{path}`"), failed), &fixed) {
        return Ok(());
    }
    let well = verify(talk, record)?;
    advise(
        record,
        well,
        "rotate that log, or turn off what writes it, or this comes back",
    );
    Ok(())
}

fn free_memory<W: Write>(
    talk: &mut Talk<W>,
    failed: &[String],
    record: &mut Record,
) -> Result<(), Stopped> {
    let listing = talk.bash(
        "Memory is gone. Who holds it, and whom did the kernel kill?",
        &format!("{GUEST} 'ps -eo pid,rss,comm --sort=-rss | head -n 6; sudo -n dmesg | grep -i \"out of memory\" | tail -n 3'"),
        "Largest processes and the kernel's OOM kills",
    )?;
    read_journal(talk, failed)?;
    let Some((pid, name)) = read::largest_process(&listing.stdout) else {
        record
            .done
            .push("nothing: the largest process can't be told".to_owned());
        return Ok(());
    };
    record
        .found
        .push(format!("`{name}` (pid {pid}) holds most of the memory"));
    let restart = restart_command(failed);
    let script = format!(
        "systemctl is-active -q {name} && sudo -n systemctl restart {name} || sudo -n kill {pid}; {restart}free -m"
    );
    let fixed = talk.bash(
        &format!("`{name}` is the leak. I restart it, which gives its memory back, and then what the kernel killed."),
        &format!("{REPAIR} '{script}'"),
        "Restart the leaking unit and the failed ones",
    )?;
    if !record.change(&repaired(&format!("restarted `{name}`"), failed), &fixed) {
        return Ok(());
    }
    let well = verify(talk, record)?;
    advise(
        record,
        well,
        &format!("`{name}` leaks: give its unit a `MemoryMax=` until it is mended"),
    );
    Ok(())
}

fn restart_failed<W: Write>(
    talk: &mut Talk<W>,
    failed: &[String],
    record: &mut Record,
) -> Result<(), Stopped> {
    record
        .found
        .push(format!("failed: `{}`", failed.join("`, `")));
    read_journal(talk, failed)?;
    let script = format!("{}systemctl --failed --no-legend", restart_command(failed));
    let fixed = talk.bash(
        "Disk and memory are fine. I restart what failed.",
        &format!("{REPAIR} '{script}'"),
        "Restart the failed units",
    )?;
    if record.change(&format!("restarted `{}`", failed.join("`, `")), &fixed) {
        verify(talk, record)?;
    }
    Ok(())
}

fn read_journal<W: Write>(talk: &mut Talk<W>, failed: &[String]) -> Result<(), Stopped> {
    if let Some(unit) = failed.first() {
        let script = format!("journalctl -u {unit} -n 8 --no-pager");
        talk.bash(
            &format!("And what does `{unit}` say?"),
            &format!("{REPAIR} '{script}'"),
            "The failed unit's last log lines",
        )?;
    }
    Ok(())
}

fn restart_command(failed: &[String]) -> String {
    if failed.is_empty() {
        String::new()
    } else {
        format!("sudo -n systemctl restart {} && ", failed.join(" "))
    }
}

fn repaired(what: &str, failed: &[String]) -> String {
    if failed.is_empty() {
        return what.to_owned();
    }
    format!("{what}, restarted `{}`", failed.join("`, `"))
}

fn advise(record: &mut Record, well: bool, next: &str) {
    record.now.push(if well {
        format!("next: {next}")
    } else {
        "**not repaired**: this needs you".to_owned()
    });
}
