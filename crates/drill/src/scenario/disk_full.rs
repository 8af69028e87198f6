//! A trace log without rotation has filled `/`: the application can't write its lock and is down.

use std::time::Duration;

use crate::machine::{BLOCK, Content, Moment, Node, State};

const LOG: &str = "/var/log/app/trace.log";
const LINE: &str = "TRACE app::http::pool connection 4 idle, 0 in flight, 0 waiting, 12 free";
const CONFIG: &str = "listen = \"0.0.0.0:8080\"\ndata = \"/var/lib/app\"\nlog_level = \"info\"\ntrace_file = \"/var/log/app/trace.log\" # for ticket 4412, remove when done\n";
/// Free bytes: fewer than any service needs.
const FREE_BYTES: u64 = 3 * BLOCK;
/// When the application failed, in seconds before the drill.
const FAILED_BEFORE: i64 = 1_260;

pub(super) fn break_machine(state: &mut State) {
    let guest = &mut state.guest;
    let failed = Moment::before(FAILED_BEFORE);
    let config = Content::text(CONFIG);
    let changed = Moment::before(5 * 86_400);
    guest
        .disk
        .put("/etc/app/app.toml", Node::file(config, "root", changed));
    let log = Content::log(LINE, guest.disk.free() - FREE_BYTES);
    guest.disk.put(LOG, Node::file(log, "app", failed));
    let Some(app) = guest.unit("app") else { return };
    let message = format!("write {LOG}: No space left on device");
    guest.journal.service(failed, "app.service", 702, message);
    guest.stop(app, failed);
    // systemd's attempts to restart it fail by the machine's own rules.
    for attempt in 1..=3 {
        let _ = guest.start(app, failed.plus(Duration::from_secs(attempt * 5)));
    }
}

pub(super) fn has_space(state: &State) -> bool {
    let disk = &state.guest.disk;
    disk.free() > disk.total() / 10
}
