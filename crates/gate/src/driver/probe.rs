//! Probes: pieces of evidence for forensics, and those that every host has.

use std::path::PathBuf;

use super::evidence::Process;

/// How to obtain a piece of evidence. The gate bounds its time and size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// The end of a file.
    File(PathBuf),
    /// The output of a program, given by its absolute path, with these arguments.
    Run(PathBuf, Vec<String>),
    /// The state and kernel wait channel of each thread of a process.
    Threads(u32),
    /// What the driver already knows, or why it does not.
    Known(Result<String, String>),
}

/// Files of the host, by the name of their probe.
const HOST_FILES: [(&str, &str); 5] = [
    ("host-load", "/proc/loadavg"),
    ("host-memory", "/proc/meminfo"),
    ("host-pressure-cpu", "/proc/pressure/cpu"),
    ("host-pressure-io", "/proc/pressure/io"),
    ("host-pressure-memory", "/proc/pressure/memory"),
];

/// The probes of the host, and of the QEMU `process` if there is one.
pub(super) fn host_probes(process: Option<Process>) -> Vec<(&'static str, Probe)> {
    let run = |program: &str, words: &str| {
        let words = words.split_ascii_whitespace().map(str::to_owned);
        Probe::Run(program.into(), words.collect())
    };
    let mut probes = Vec::new();
    let pid = process.map(|process| process.pid);
    probes.extend(pid.map(|pid| ("qemu-threads", Probe::Threads(pid))));
    probes.extend(HOST_FILES.map(|(name, path)| (name, Probe::File(path.into()))));
    let journal = run("/usr/bin/journalctl", "-kn200 --no-pager -oshort-iso");
    probes.push(("host-kernel-log", journal));
    if let Some(pid) = pid {
        let status = Probe::File(format!("/proc/{pid}/status").into());
        probes.push(("qemu-process", status));
        // Last, because QEMU is stopped while gdb is attached to it.
        let mut words: Vec<String> = ["-nx", "-batch", "-p"].map(str::to_owned).to_vec();
        words.extend([pid.to_string(), "-ex".to_owned()]);
        words.push("thread apply all bt 30".to_owned());
        probes.push(("qemu-backtrace", Probe::Run("/usr/bin/gdb".into(), words)));
    }
    probes
}
