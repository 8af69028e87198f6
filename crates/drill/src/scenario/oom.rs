//! The report worker leaks. The kernel may not kill it (`OOMScoreAdjust=-1000`), so it killed the
//! application, and kills it again whenever it is started while the worker lives.

use crate::machine::{Footprint, Moment, State};

const MIB: u64 = 1 << 20;
/// When the worker was last restarted, in seconds before the drill: long enough to fill the memory.
const LEAKING_FOR: i64 = 3 * 3_600;
const KILLED_BEFORE: i64 = 760;

const UNIT_FILE: &str = "[Unit]\nDescription=Nightly report worker\n\n[Service]\nUser=app\nExecStart=/opt/app/bin/report-worker --queue nightly\nOOMScoreAdjust=-1000\n\n[Install]\nWantedBy=multi-user.target\n";

pub(super) fn break_machine(state: &mut State) {
    let guest = &mut state.guest;
    let Some(worker) = guest.unit("report-worker") else {
        return;
    };
    let text = crate::machine::Content::Text(UNIT_FILE.to_owned());
    guest.disk.put(
        "/etc/systemd/system/report-worker.service",
        Some(text),
        "root",
        0o644,
        Moment::before(9 * 86_400),
    );
    guest.stop(worker, Moment::before(LEAKING_FOR));
    guest.units[worker].file.footprint = Footprint {
        base: 148 * MIB,
        leak: MIB,
        cap: 4_660 * MIB,
        spared: true,
    };
    let _ = guest.start(worker, Moment::before(LEAKING_FOR));
    // The memory is gone by now: the kernel's own rule picks the application.
    guest.settle(Moment::before(KILLED_BEFORE));
    let Some(app) = guest.unit("app") else { return };
    let _ = guest.start(app, Moment::before(KILLED_BEFORE - 5));
}

pub(super) fn is_healthy(state: &State, now: Moment) -> bool {
    let memory = state.guest.memory(now);
    memory.available > memory.total / 4
}
