use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::process::ChildStderr;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::wire::{Lines, RawLine};

const MAX_LINES: usize = 8;
const MAX_CHARS: usize = 400;
const MAX_LINE: usize = 64 * 1024;
/// How long what was printed last may take to come through the pipe.
const DRAIN: Duration = Duration::from_millis(200);

/// Keeps the last lines of a child's standard error, and always drains it.
#[derive(Debug)]
pub(super) struct Tail {
    last: Arc<Mutex<VecDeque<String>>>,
    reader: JoinSet<()>,
}

impl Tail {
    pub(super) fn follow(stderr: ChildStderr) -> Tail {
        let last = Arc::new(Mutex::new(VecDeque::with_capacity(MAX_LINES)));
        let kept = Arc::clone(&last);
        let mut reader = JoinSet::new();
        reader.spawn(async move {
            let mut lines = Lines::with_max(stderr, MAX_LINE);
            while let Ok(Some(line)) = lines.next().await {
                let RawLine::Whole(line) = line else { continue };
                let text: String = String::from_utf8_lossy(line)
                    .chars()
                    .take(MAX_CHARS)
                    .collect();
                if text.trim().is_empty() {
                    continue;
                }
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                if kept.len() == MAX_LINES {
                    kept.pop_front();
                }
                kept.push_back(breakglass_model::visible(text.trim_end()).to_string());
            }
        });
        Tail { last, reader }
    }

    /// The last lines; waits a moment for the end of the pipe, which a grandchild may hold open.
    pub(super) async fn last_words(&mut self) -> String {
        let _ = timeout(DRAIN, self.reader.join_next()).await;
        let kept = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join("\n")
    }
}
