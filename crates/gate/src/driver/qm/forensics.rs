//! What is looked at before a QEMU process is reset or killed, for its evidence dies with it.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::QmDriver;
use crate::child::{self, Bounds};
use crate::driver::{Process, proc, qmp};
use crate::probe::Probe;

/// Bytes kept of one probe.
const LARGEST: usize = 512 * 1024;
const NO_PROCESS: &str = "there is no QEMU process";

/// Takes every probe in turn. The disk counters come first and last: the others fill the pause.
pub(super) fn capture(driver: &QmDriver, process: Option<Process>, sink: &mut dyn FnMut(Probe)) {
    let began = Instant::now();
    let answers = process.is_some() && monitor(driver, sink);
    for (name, verb, extra) in [
        ("qm-status", "status", ["--verbose"].as_slice()),
        ("qm-config", "config", &[]),
        ("qm-pending", "pending", &[]),
    ] {
        sink(Probe::new(name, driver.qm(verb, extra, driver.limits.ask)));
    }
    host(driver, sink);
    of_process(driver, process, sink);
    if answers {
        thread::sleep(driver.limits.sample_gap.saturating_sub(began.elapsed()));
        let again = session(driver).and_then(|mut session| session.ask("query-blockstats"));
        sink(Probe::new(
            "qmp-blockstats-2",
            again.map(|answer| format!("{answer:#}\n")),
        ));
    } else if process.is_none() {
        sink(Probe::new("qmp", Err(NO_PROCESS.to_owned())));
    }
}

/// Everything the monitor is asked, in one session; tells whether it answered.
fn monitor(driver: &QmDriver, sink: &mut dyn FnMut(Probe)) -> bool {
    let mut session = match session(driver) {
        Ok(session) => session,
        Err(why) => {
            sink(Probe::new("qmp", Err(why)));
            return false;
        }
    };
    for (name, command) in [
        ("qmp-status", "query-status"),
        ("qmp-block", "query-block"),
        ("qmp-blockstats-1", "query-blockstats"),
    ] {
        let answer = session.ask(command).map(|answer| format!("{answer:#}\n"));
        sink(Probe::new(name, answer));
    }
    true
}

fn session(driver: &QmDriver) -> Result<qmp::Session, String> {
    qmp::Session::open(&driver.socket(), super::MONITOR.min(driver.limits.ask))
}

fn host(driver: &QmDriver, sink: &mut dyn FnMut(Probe)) {
    for (name, file) in [
        ("host-load", "/proc/loadavg"),
        ("host-memory", "/proc/meminfo"),
        ("host-pressure-io", "/proc/pressure/io"),
        ("host-pressure-memory", "/proc/pressure/memory"),
    ] {
        sink(Probe::new(
            name,
            fs::read_to_string(file).map_err(|error| format!("{file}: {error}")),
        ));
    }
    let log = [
        "--kernel",
        "--lines=200",
        "--no-pager",
        "--output=short-iso",
    ];
    sink(Probe::new(
        "host-kernel-log",
        tool("/usr/bin/journalctl", &log, driver.limits.ask),
    ));
}

fn of_process(driver: &QmDriver, process: Option<Process>, sink: &mut dyn FnMut(Probe)) {
    let Some(Process { pid, .. }) = process else {
        return sink(Probe::new("qemu-threads", Err(NO_PROCESS.to_owned())));
    };
    sink(Probe::new("qemu-threads", proc::threads(pid)));
    let status = format!("/proc/{pid}/status");
    sink(Probe::new(
        "qemu-process",
        fs::read_to_string(&status).map_err(|e| format!("{status}: {e}")),
    ));
    let pid = pid.to_string();
    let args = [
        "-nx",
        "-batch",
        "-p",
        &pid,
        "-ex",
        "thread apply all backtrace 30",
    ];
    sink(Probe::new(
        "qemu-backtrace",
        tool("/usr/bin/gdb", &args, driver.limits.ask),
    ));
}

/// The output of a tool that the host may not have.
fn tool(program: &str, args: &[&str], deadline: Duration) -> Result<String, String> {
    if !Path::new(program).exists() {
        return Err(format!("{program} is not installed"));
    }
    child::run(
        Path::new(program),
        args,
        Bounds {
            deadline,
            bytes: LARGEST,
        },
    )
    .map_err(|error| format!("{program} can't be started: {error}"))?
    .success()
}
