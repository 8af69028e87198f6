//! The report worker leaks memory. The kernel may not kill it (`OOMScoreAdjust=-1000`), so it killed
//! the application, and does so again at every start of the application while the worker runs.

use crate::machine::{Content, Footprint, Moment, Node, State};

/// When the worker was restarted, in seconds before the drill: long enough to fill the memory.
const LEAKING_FOR: i64 = 3 * 3_600;
const KILLED_BEFORE: i64 = 760;

const UNIT_PATH: &str = "/etc/systemd/system/report-worker.service";
const UNIT_FILE: &str = "[Unit]\nDescription=Nightly report worker\n\n[Service]\nUser=app\nExecStart=/opt/app/bin/report-worker --queue nightly\nOOMScoreAdjust=-1000\n\n[Install]\nWantedBy=multi-user.target\n";

pub(super) fn break_machine(state: &mut State) {
    let guest = &mut state.guest;
    let Some(worker) = guest.unit("report-worker") else {
        return;
    };
    let text = Content::text(UNIT_FILE);
    let written = Moment::before(9 * 86_400);
    guest.disk.put(UNIT_PATH, Node::file(text, "root", written));
    guest.stop(worker, Moment::before(LEAKING_FOR));
    guest.units[worker].file.memory = Footprint {
        mebibytes: 148,
        leak_mebibytes: 1,
        leak_max_mebibytes: 4_512,
        spared: true,
    };
    let _ = guest.start(worker, Moment::before(LEAKING_FOR));
    // By now the memory is exhausted: the OOM killer chooses the application.
    guest.settle(Moment::before(KILLED_BEFORE));
    let Some(app) = guest.unit("app") else { return };
    let _ = guest.start(app, Moment::before(KILLED_BEFORE - 5));
}

pub(super) fn has_memory(state: &State, now: Moment) -> bool {
    let memory = state.guest.memory(now);
    memory.available > memory.total / 4
}
