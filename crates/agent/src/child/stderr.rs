use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::process::ChildStderr;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::wire::{Lines, RawLine};

const LINES_MAX: usize = 8;
const LINE_MAX_CHARS: usize = 400;
const LINE_MAX_BYTES: usize = 64 * 1024;
/// Maximum time for the last output to arrive.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(200);

/// Reads all of a child's standard error, and keeps the last lines.
#[derive(Debug)]
pub(super) struct Tail {
    last: Arc<Mutex<VecDeque<String>>>,
    reader: JoinSet<()>,
}

impl Tail {
    pub(super) fn follow(stderr: ChildStderr) -> Tail {
        let last = Arc::new(Mutex::new(VecDeque::with_capacity(LINES_MAX)));
        let kept = Arc::clone(&last);
        let mut reader = JoinSet::new();
        reader.spawn(async move {
            let mut lines = Lines::with_max(stderr, LINE_MAX_BYTES);
            while let Ok(Some(line)) = lines.next().await {
                let RawLine::Whole(line) = line else { continue };
                let text: String = String::from_utf8_lossy(line)
                    .chars()
                    .take(LINE_MAX_CHARS)
                    .collect();
                if text.trim().is_empty() {
                    continue;
                }
                let mut kept = kept.lock();
                if kept.len() == LINES_MAX {
                    kept.pop_front();
                }
                kept.push_back(breakglass_model::visible(text.trim_end()).to_string());
            }
        });
        Tail { last, reader }
    }

    /// The last lines. Waits a moment for the end of the pipe, which a grandchild may keep open.
    pub(super) async fn last_lines(&mut self) -> String {
        let _ = timeout(DRAIN_TIMEOUT, self.reader.join_next()).await;
        let kept = self.last.lock();
        kept.iter()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join("\n")
    }
}
