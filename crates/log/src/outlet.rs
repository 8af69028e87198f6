use std::io::Write;
use std::sync::mpsc::{SyncSender, sync_channel};

use prometheus_client::metrics::counter::Counter;

use crate::options::LineSink;

/// The most lines that wait for a slow sink.
const MAX_WAITING: usize = 256;

/// Lines on their way out of the process, on a thread of their own: a sink that stalls loses
/// lines, and never stalls the log or a verb.
#[derive(Debug)]
pub(crate) struct Outlet {
    lines: SyncSender<Vec<u8>>,
    lost: Counter,
    name: &'static str,
}

impl Outlet {
    pub(crate) fn new(name: &'static str, sink: LineSink, lost: Counter) -> Outlet {
        let (lines, waiting) = sync_channel::<Vec<u8>>(MAX_WAITING);
        let drain = move || waiting.iter().for_each(|line| sink(&line));
        if let Err(error) = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(drain)
        {
            tracing::error!(%error, outlet = name, "no thread for the outlet: its lines are lost");
        }
        Outlet { lines, lost, name }
    }

    pub(crate) fn send(&self, line: Vec<u8>) {
        if self.lines.try_send(line).is_ok() {
            return;
        }
        let lost = self.lost.inc() + 1;
        if lost.is_power_of_two() {
            tracing::warn!(
                lost,
                outlet = self.name,
                "the outlet does not keep up: lines are lost"
            );
        }
    }
}

/// Standard error, without any of the logging machinery in between.
pub(crate) fn stderr() -> LineSink {
    Box::new(|line| {
        // Nowhere is left to report that standard error itself is gone.
        let _ = std::io::stderr().lock().write_all(line);
    })
}
