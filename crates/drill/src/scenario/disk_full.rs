//! A trace log that nobody rotates has filled `/`: the application can't write its lock and is down.

use std::time::Duration;

use crate::machine::{BLOCK, Content, Moment, State};

const LOG: &str = "/var/log/app/trace.log";
const LINE: &str = "TRACE app::http::pool connection 4 idle, 0 in flight, 0 waiting, 12 free";
/// What is left on the disk: less than any service needs.
const LEFT: u64 = 3 * BLOCK;
/// When the application noticed, in seconds before the drill.
const FAILED_BEFORE: i64 = 1_260;

pub(super) fn break_machine(state: &mut State) {
    let guest = &mut state.guest;
    let failed = Moment::before(FAILED_BEFORE);
    let config = "listen = \"0.0.0.0:8080\"\ndata = \"/var/lib/app\"\nlog_level = \"info\"\ntrace_file = \"/var/log/app/trace.log\" # for ticket 4412, remove when done\n";
    guest.disk.put(
        "/etc/app/app.toml",
        Some(Content::Text(config.to_owned())),
        "root",
        0o644,
        Moment::before(5 * 86_400),
    );
    let size = guest.disk.free() - LEFT;
    guest.disk.put(
        LOG,
        Some(Content::Log { line: LINE, size }),
        "app",
        0o644,
        failed,
    );
    let Some(app) = guest.unit("app") else { return };
    let note = "write /var/log/app/trace.log: No space left on device";
    guest.journal.service(failed, "app.service", 702, note);
    guest.stop(app, failed);
    // What systemd tried next, and what came of it, happens by the machine's own rules.
    for attempt in 1..=3 {
        let _ = guest.start(app, failed.plus(Duration::from_secs(attempt * 5)));
    }
}

pub(super) fn is_healthy(state: &State) -> bool {
    let disk = &state.guest.disk;
    disk.free() > disk.total() / 10
}
