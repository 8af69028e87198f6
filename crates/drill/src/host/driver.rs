use std::time::Duration;

use breakglass_gate::{Driver, Evidence, Failure, Monitor, Output, Probe, Process, Qemu};
use breakglass_verbs::Verb;

use crate::machine::{Fault, Machine, Moment, Phase, State};
use crate::scenario::PANIC_SCREEN;

/// How long QEMU takes to go when it is asked to.
const QUIT: Duration = Duration::from_millis(600);
/// How long it is waited for when its disk is stuck, before it is killed.
const STUCK: Duration = Duration::from_millis(2_400);
const START: Duration = Duration::from_millis(450);
const RESET: Duration = Duration::from_millis(150);
/// Time between two looks at the counters of the virtual disk.
const BETWEEN: Duration = Duration::from_secs(2);

/// A driver of the gate for the simulated machine.
pub(crate) struct SimulatedDriver {
    machine: Machine,
    holds: bool,
}

impl SimulatedDriver {
    pub(crate) fn new(machine: Machine) -> SimulatedDriver {
        SimulatedDriver {
            machine,
            holds: false,
        }
    }
}

impl Drop for SimulatedDriver {
    fn drop(&mut self) {
        if self.holds {
            self.machine.step(|state, _| state.power.holder = None);
        }
    }
}

impl Driver for SimulatedDriver {
    fn claim(&mut self, verb: Verb) -> Result<(), String> {
        let clock = self.machine.clock().clone();
        self.machine.step(|state, now| match state.power.holder {
            Some((running, since)) => Err(format!(
                "{running} runs since {}",
                clock.date(since).strftime("%H:%M:%S UTC")
            )),
            None => {
                state.power.holder = Some((verb.as_str(), now));
                Ok(())
            }
        })?;
        self.holds = true;
        Ok(())
    }

    fn evidence(&mut self) -> Evidence {
        self.machine.step(|state, now| evidence(state, now))
    }

    fn probes(&mut self, sink: &mut dyn FnMut(Probe)) {
        let ask = |name: &str, answer: fn(&State, Moment) -> Result<String, String>| {
            Probe::new(name, self.machine.step(|state, now| answer(state, now)))
        };
        sink(ask("qm-status", |state, _| {
            Ok(format!(
                "status: {}\n",
                if state.power.qemu().is_some() {
                    "running"
                } else {
                    "stopped"
                }
            ))
        }));
        sink(ask("qm-config", |_, _| Ok(CONFIG.to_owned())));
        sink(ask("qmp-query-status", query_status));
        sink(ask("qmp-query-block", query_block));
        sink(ask("qmp-query-blockstats", query_blockstats));
        if self
            .machine
            .step(|state, now| state.power.monitor_answers(now))
        {
            self.machine.clock().wait(BETWEEN);
        }
        sink(ask("qmp-query-blockstats-later", query_blockstats));
        sink(ask("screen", screen));
        sink(Probe::new(
            "backtrace",
            Err("a simulated QEMU has no threads to look at".to_owned()),
        ));
    }

    fn start(&mut self, out: &mut dyn Output) -> Result<(), Failure> {
        if self.machine.step(|state, _| state.power.qemu().is_some()) {
            return Err(Failure::new("VM 102 already running"));
        }
        out.line("start: a fresh QEMU process");
        self.machine.clock().wait(START);
        self.machine.step(State::start);
        Ok(())
    }

    fn stop(&mut self, out: &mut dyn Output) -> Result<(), Failure> {
        let Some(fault) = self
            .machine
            .step(|state, _| state.power.qemu().map(|qemu| qemu.fault))
        else {
            return Ok(());
        };
        out.line("stop: asked QEMU to quit");
        if matches!(fault, Some(Fault::IoStall(_))) {
            self.machine.clock().wait(STUCK);
            out.line("stop: QEMU waits for its disk and does not quit; killed");
        }
        self.machine.clock().wait(QUIT);
        self.machine.step(|state, _| state.power.stop());
        Ok(())
    }

    fn reset(&mut self, out: &mut dyn Output) -> Result<(), Failure> {
        if self.machine.step(|state, _| state.power.qemu().is_none()) {
            return Err(Failure::new("VM 102 not running"));
        }
        out.line("reset: the guest boots again in the same QEMU process");
        self.machine.clock().wait(RESET);
        self.machine.step(State::reset);
        Ok(())
    }
}

fn evidence(state: &State, now: Moment) -> Evidence {
    let Some(qemu) = state.power.qemu() else {
        return Evidence::default();
    };
    // Clock ticks since the host booted, which it did well before anything here.
    let started = u64::try_from(qemu.started.0 + 4_000_000_000).unwrap_or(0) / 10;
    let monitor = if state.power.monitor_answers(now) {
        Monitor::Says("running".to_owned())
    } else {
        Monitor::Silent("its socket is not there yet".to_owned())
    };
    Evidence {
        qemu: Qemu::Alive(Process {
            pid: qemu.pid,
            started,
            state: 'S',
        }),
        monitor,
        ..Evidence::default()
    }
}

fn asked(state: &State, now: Moment, answer: String) -> Result<String, String> {
    match state.power.qemu() {
        None => Err("there is no QEMU process to ask".to_owned()),
        Some(_) if !state.power.monitor_answers(now) => {
            Err("the monitor's socket is not there yet".to_owned())
        }
        Some(_) => Ok(answer),
    }
}

fn query_status(state: &State, now: Moment) -> Result<String, String> {
    asked(
        state,
        now,
        "{\"return\":{\"running\":true,\"singlestep\":false,\"status\":\"running\"}}\n".to_owned(),
    )
}

fn query_block(state: &State, now: Moment) -> Result<String, String> {
    asked(state, now, "{\"return\":[{\"device\":\"drive-virtio0\",\"io-status\":\"ok\",\"locked\":false,\"inserted\":{\"file\":\"/dev/pve/vm-102-disk-0\",\"drv\":\"raw\",\"ro\":false}}]}\n".to_owned())
}

fn query_blockstats(state: &State, now: Moment) -> Result<String, String> {
    let writes = state.power.disk_writes(now);
    asked(
        state,
        now,
        format!(
            "{{\"return\":[{{\"device\":\"drive-virtio0\",\"stats\":{{\"wr_operations\":{writes},\"wr_bytes\":{},\"flush_operations\":{},\"failed_wr_operations\":0}}}}]}}\n",
            writes * 12_288,
            writes / 7
        ),
    )
}

fn screen(state: &State, now: Moment) -> Result<String, String> {
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
