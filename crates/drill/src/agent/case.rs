//! One turn's work on the target: commands on the guest, and the report about them.

use super::output;
use super::report::Report;
use super::talk::{Stopped, Talk};
use super::tool::Ran;

/// Has a time limit of its own, whatever hangs.
const READ: &str = "timeout 20 ssh -o ConnectTimeout=5 devvm";
/// May wait for the operator's permission, so it has no time limit.
const RUN: &str = "ssh -o ConnectTimeout=5 devvm";
const OVERVIEW: &str = "uptime; df -h /; free -m; systemctl --failed --no-legend; true";

pub(super) struct Case<'a> {
    pub(super) talk: &'a mut Talk,
    pub(super) report: &'a mut Report,
}

impl Case<'_> {
    /// Says `why`, and runs a read-only command on the guest.
    pub(super) fn read(&mut self, why: &str, script: &str, title: &str) -> Result<Ran, Stopped> {
        self.talk.bash(why, &format!("{READ} '{script}'"), title)
    }

    /// Says `why`, and runs a command that may wait for the operator's permission.
    pub(super) fn run(&mut self, why: &str, script: &str, title: &str) -> Result<Ran, Stopped> {
        self.talk.bash(why, &format!("{RUN} '{script}'"), title)
    }

    /// Reads load, disk, memory and failed units of the guest.
    pub(super) fn overview(&mut self, why: &str) -> Result<Ran, Stopped> {
        let title = "Uptime, disk, memory and failed units of the guest";
        self.read(why, OVERVIEW, title)
    }

    /// Reports the state that an overview shows, also if nothing is wrong.
    pub(super) fn describe(&mut self, overview: &str) {
        if let Some(percent) = output::disk_percent(overview) {
            self.report.now(format!("`/` is {percent} % full"));
        }
        if let Some((available, total)) = output::memory(overview) {
            self.report
                .now(format!("{available} of {total} MiB memory available"));
        }
        let failed = output::failed_units(overview);
        self.report.now(if failed.is_empty() {
            "no unit has failed".to_owned()
        } else {
            format!("failed: {}", names(&failed))
        });
    }

    /// Checks the guest again and reports its state. Returns whether the application runs and no unit
    /// has failed.
    pub(super) fn verify(&mut self) -> Result<bool, Stopped> {
        let script = format!("{OVERVIEW}; systemctl is-active app");
        let why = "Checking the guest again.";
        let seen = self.read(why, &script, "The guest after the repair")?;
        if !seen.ok() && output::disk_percent(&seen.stdout).is_none() {
            self.report.now("the guest does not answer over SSH");
            return Ok(false);
        }
        self.describe(&seen.stdout);
        let is_active = seen.stdout.trim_end().ends_with("\nactive");
        self.report.now(if is_active {
            "`app.service` is active"
        } else {
            "`app.service` is **not** active"
        });
        Ok(is_active && output::failed_units(&seen.stdout).is_empty())
    }
}

/// Units as Markdown code.
pub(super) fn names(units: &[String]) -> String {
    format!("`{}`", units.join("`, `"))
}
