//! The gate's driver for the simulated machine: what `qm`, QMP and the host's files are on a real host.

use std::time::Duration;

use breakglass_gate::{Action, Driver, Evidence, Failure, Probe, Process, Qemu, WayBack};
use serde_json::{Value, json};

use super::screen;
use crate::machine::{Fault, Machine, Moment, Phase, State};
use crate::scenario::PANIC_SCREEN;

const QUIT_DURATION: Duration = Duration::from_millis(600);
/// How long a QEMU with a stalled disk may take to quit before it is killed.
const QUIT_TIMEOUT: Duration = Duration::from_millis(2_400);
const START_DURATION: Duration = Duration::from_millis(450);
const RESET_DURATION: Duration = Duration::from_millis(150);
const RESUME_DURATION: Duration = Duration::from_millis(50);
/// The simulated host's uptime at the beginning of the drill.
const HOST_UPTIME_MILLIS: i64 = 4_000_000_000;

pub(super) struct SimulatedDriver {
    pub(super) machine: Machine,
}

impl SimulatedDriver {
    fn stop(&self) -> String {
        let qemu = self.machine.step(|state, _| state.power.qemu().copied());
        let Some(qemu) = qemu else {
            return String::new();
        };
        let mut report = "asked QEMU to quit".to_owned();
        if matches!(qemu.fault, Some(Fault::IoStall(_))) {
            self.machine.clock().wait(QUIT_TIMEOUT);
            report.push_str("\nQEMU waits for its disk and did not quit; killed it");
        }
        self.machine.clock().wait(QUIT_DURATION);
        self.machine.step(|state, _| state.power.stop());
        report
    }
}

impl Driver for SimulatedDriver {
    fn find_qemu(&mut self) -> Qemu {
        self.machine.step(|state, _| match state.power.qemu() {
            None => Qemu::Absent,
            Some(qemu) => Qemu::Alive(Process {
                pid: qemu.pid,
                // In clock ticks of 10 ms since the host booted.
                started: u64::try_from(qemu.started.0 + HOST_UPTIME_MILLIS).unwrap_or(0) / 10,
                state: 'S',
            }),
        })
    }

    fn query_monitor(
        &mut self,
        command: &str,
        _arguments: Value,
        _limit: Duration,
    ) -> Result<Value, String> {
        self.machine.step(|state, now| match state.power.qemu() {
            None => Err("there is no QEMU process to ask".to_owned()),
            Some(_) if !state.power.monitor_answers(now) => {
                Err("the monitor's socket does not exist yet".to_owned())
            }
            Some(_) => answer(command, state.power.disk_writes(now)),
        })
    }

    fn add_hypervisor_evidence(&mut self, evidence: &mut Evidence, _limit: Duration) {
        evidence.way_back = WayBack::Proven("the simulated host starts every guest".to_owned());
    }

    fn perform(&mut self, action: Action, _limit: Duration) -> Result<String, Failure> {
        let runs = self.machine.step(|state, _| state.power.qemu().is_some());
        let (change, wait): (fn(&mut State, Moment), _) = match (action, runs) {
            (Action::Stop, _) => return Ok(self.stop()),
            (Action::Start, true) => return Err("VM 102 already running".to_owned().into()),
            (Action::Start, false) => (State::start, START_DURATION),
            (Action::Unlock, _) => return Ok(String::new()),
            (Action::Reset | Action::Resume | Action::Wake, false) => {
                return Err("VM 102 not running".to_owned().into());
            }
            (Action::Reset, true) => (State::reset, RESET_DURATION),
            // The simulated guest is never paused or suspended.
            (Action::Resume | Action::Wake, true) => (|_, _| {}, RESUME_DURATION),
        };
        self.machine.clock().wait(wait);
        self.machine.step(change);
        Ok(String::new())
    }

    fn signal(&mut self, _process: Process, _force: bool) -> Result<(), String> {
        self.machine.step(|state, _| state.power.stop());
        Ok(())
    }

    fn screenshot(&mut self, _limit: Duration) -> Result<Vec<u8>, String> {
        self.machine
            .step(|state, now| console(state, now))
            .map(|text| screen::draw(&text))
    }

    fn probes(&mut self) -> Vec<(&'static str, Probe)> {
        let serial = self.machine.step(|state, now| console(state, now));
        vec![
            ("qm-config", Probe::Known(Ok(CONFIG.to_owned()))),
            ("serial", Probe::Known(serial)),
        ]
    }

    fn read_host_file(&mut self, file: &str, _limit: Duration) -> Result<String, String> {
        let found = HOST.iter().find(|(_, path, _)| *path == file);
        match (found, file) {
            (Some((.., text)), _) => Ok((*text).to_owned()),
            (None, "/proc/uptime") => {
                let now = self.machine.step(|_, now| now);
                Ok(format!(
                    "{}.00 0.00\n",
                    (now.0 + HOST_UPTIME_MILLIS) / 1_000
                ))
            }
            (None, _) => Err(format!("the simulated host has no {file}")),
        }
    }

    fn host_probes(&mut self, _process: Option<Process>) -> Vec<(&'static str, Probe)> {
        let files = HOST.map(|(name, _, text)| (name, Probe::Known(Ok(text.to_owned()))));
        let no_threads = "a simulated QEMU has no threads".to_owned();
        files
            .into_iter()
            .chain([("qemu-backtrace", Probe::Known(Err(no_threads)))])
            .collect()
    }
}

fn answer(command: &str, writes: u64) -> Result<Value, String> {
    match command {
        "query-status" => Ok(json!({ "running": true, "singlestep": false, "status": "running" })),
        "query-block" => Ok(json!([{
            "device": "drive-virtio0", "io-status": "ok", "locked": false,
            "inserted": { "file": "/dev/pve/vm-102-disk-0", "drv": "raw", "ro": false },
        }])),
        "query-blockstats" => Ok(json!([{
            "device": "drive-virtio0",
            "stats": {
                "wr_operations": writes, "wr_bytes": writes * 12_288,
                "flush_operations": writes / 7, "failed_wr_operations": 0,
            },
        }])),
        _ => Err(format!("the simulated monitor does not know {command}")),
    }
}

/// The text on the guest's console.
fn console(state: &State, now: Moment) -> Result<String, String> {
    let text = match (state.power.phase(now), state.power.fault()) {
        (_, Some(Fault::Panic(_))) => PANIC_SCREEN.join("\n"),
        (Phase::Off, _) => return Err("the guest is off and has no screen".to_owned()),
        (Phase::Firmware, _) => {
            "SeaBIOS (version rel-1.16.3)\nBooting from Hard Disk...".to_owned()
        }
        (Phase::Kernel, _) => "[    0.412] EXT4-fs (vda1): mounted filesystem".to_owned(),
        (Phase::Up, _) => "Debian GNU/Linux 12 devvm tty1\n\ndevvm login:".to_owned(),
    };
    Ok(text + "\n")
}

const CONFIG: &str = "agent: 1\nboot: order=virtio0\ncores: 2\ncpu: host\nmemory: 4096\nname: devvm\nostype: l26\nscsihw: virtio-scsi-pci\nvirtio0: local-lvm:vm-102-disk-0,aio=io_uring,size=40G\n";

const NO_PRESSURE: &str = "some avg10=0.00 avg60=0.05 avg300=0.11 total=91837\n\
                    full avg10=0.00 avg60=0.00 avg300=0.00 total=0\n";
/// The files of the simulated host's kernel: name of the probe, path, content.
const HOST: [(&str, &str, &str); 4] = [
    ("host-load", "/proc/loadavg", "0.42 0.37 0.31 1/412 24871\n"),
    ("host-pressure-cpu", "/proc/pressure/cpu", NO_PRESSURE),
    ("host-pressure-io", "/proc/pressure/io", NO_PRESSURE),
    ("host-pressure-memory", "/proc/pressure/memory", NO_PRESSURE),
];

#[cfg(test)]
#[macro_use]
#[path = "../../../../tests/rig/src/contract.rs"]
mod contract;

#[cfg(test)]
mod tests {
    use breakglass_gate::{ClientRequest, Context, Limits, NoHostLog, Output, Retention};

    use super::contract::{self, Answer, Subject};
    use super::*;
    use crate::machine::Clock;
    use crate::scenario::Scenario;

    struct Host {
        machine: Machine,
        forensics: tempfile::TempDir,
    }

    #[derive(Default)]
    struct Recorded {
        out: Vec<u8>,
        err: String,
    }

    impl Output for Recorded {
        fn line(&mut self, text: &str) {
            self.out.extend(format!("{text}\n").bytes());
        }

        fn error(&mut self, text: &str) {
            self.err.push_str(&format!("{text}\n"));
        }

        fn picture(&mut self, bytes: &[u8]) {
            self.out.extend(bytes);
        }
    }

    impl Subject for Host {
        fn running() -> Host {
            Host {
                machine: Machine::new(Scenario::Panic.broken_machine().unwrap(), Clock::system()),
                forensics: tempfile::tempdir().unwrap(),
            }
        }

        fn stopped() -> Host {
            let host = Host::running();
            host.machine.step(|state, _| state.power.stop());
            host
        }

        fn send(&self, line: &str) -> Answer {
            let (mut output, machine) = (Recorded::default(), self.machine.clone());
            let context = Context {
                guest: "102",
                client: ClientRequest {
                    source: "192.0.2.7",
                    line,
                },
                forensics_dir: self.forensics.path(),
                retention: &Retention::default(),
                host_log: &NoHostLog,
                limits: &Limits::default(),
            };
            let code =
                breakglass_gate::serve(&context, &mut SimulatedDriver { machine }, &mut output);
            Answer {
                code: code.into(),
                out: output.out,
                err: output.err,
            }
        }

        fn process(&self) -> Option<u64> {
            self.machine
                .step(|state, _| state.power.qemu().map(|qemu| qemu.pid.into()))
        }
    }

    contract!(Host);
}
