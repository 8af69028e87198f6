use std::io::Write;
use std::sync::mpsc::{SyncSender, sync_channel};

use prometheus_client::metrics::counter::Counter;

use crate::options::LineSink;

/// Maximum number of lines that wait for a slow sink.
const LINES_MAX: usize = 256;

/// Writes lines to a sink on a thread of its own: a sink that stalls loses lines, and never stalls the log or a
/// verb.
#[derive(Debug)]
pub(crate) struct LineShipper {
    lines: SyncSender<Vec<u8>>,
    lost: Counter,
    name: &'static str,
}

impl LineShipper {
    pub(crate) fn new(name: &'static str, sink: LineSink, lost: Counter) -> LineShipper {
        let (lines, waiting) = sync_channel::<Vec<u8>>(LINES_MAX);
        let drain = move || waiting.iter().for_each(|line| sink(&line));
        let thread = std::thread::Builder::new().name(name.to_owned());
        if let Err(error) = thread.spawn(drain) {
            tracing::error!(%error, shipper = name, "cannot start the thread: its lines are lost");
        }
        LineShipper { lines, lost, name }
    }

    pub(crate) fn send(&self, line: Vec<u8>) {
        if self.lines.try_send(line).is_ok() {
            return;
        }
        let lost = self.lost.inc() + 1;
        if lost.is_power_of_two() {
            let shipper = self.name;
            tracing::warn!(lost, shipper, "the sink is too slow: lines are lost");
        }
    }
}

/// Writes to standard error directly, without the logging framework.
pub(crate) fn stderr() -> LineSink {
    Box::new(|line| {
        // If standard error is gone, nothing is left to report that to.
        let _ = std::io::stderr().lock().write_all(line);
    })
}
