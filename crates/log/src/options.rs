use std::fmt;
use std::path::PathBuf;

use crate::completion::CompletionSink;
use crate::retention::Retention;
use breakglass_model::OperationId;

/// A callback that gets whole JSON lines, newline included, on a thread of its own.
pub type LineSink = Box<dyn Fn(&[u8]) + Send>;

/// A callback that gets an operation.
pub type OperationSink = Box<dyn Fn(OperationId) + Send>;

/// Maximum size of one event's JSON, without its hash.
pub const MAX_EVENT_BYTES: usize = 256 * 1024;
/// Maximum size of an idempotency key, and of its value.
pub const MAX_KEY_BYTES: usize = 4 * 1024;

/// How to open the log.
pub struct Options {
    /// The SQLite file; it and its directory are created if missing. `None` keeps the log in memory on purpose, as a
    /// drill does; that does not count as degraded.
    pub path: Option<PathBuf>,
    /// Gets each durable event as one JSON line that also contains its `incident`, for a log shipper. A sink that
    /// stalls loses lines, which are counted; it never stalls the log.
    pub on_event: Option<LineSink>,
    /// Gets each event that could not be recorded, as one JSON line. `None` is standard error.
    pub on_unrecorded: Option<LineSink>,
    /// Gets the last event of each turn, verb, diagnosis and question once: when it is durable, or when it could not be
    /// recorded. It delays the caller, so it must return at once.
    pub on_completion: Option<CompletionSink>,
    /// Maximum size of the store. From nine tenths of it on, the oldest closed incidents are removed; if none is
    /// closed, appends beyond it fail as on a full disk.
    pub max_bytes: u64,
    /// How long closed incidents are kept.
    pub keep: Retention,
    /// Called for each operation of a removed incident for which a picture of the screen was kept, before its events are
    /// deleted; after a crash in between, possibly again. It runs on the writer's thread, so it must be quick.
    pub on_forgotten: Option<OperationSink>,
    /// Maximum number of frames that a reader may lag behind before it is disconnected.
    pub ring_frames: usize,
    /// Maximum number of bytes that a reader may lag behind before it is disconnected.
    pub ring_bytes: usize,
}

impl Options {
    /// A log in this file, with the default limits.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Options {
        Options {
            path: Some(path.into()),
            ..Options::in_memory()
        }
    }

    /// A log that ends with the process, with the default limits.
    #[must_use]
    pub fn in_memory() -> Options {
        Options {
            path: None,
            on_event: None,
            on_unrecorded: None,
            on_completion: None,
            max_bytes: 4 << 30,
            keep: Retention::default(),
            on_forgotten: None,
            ring_frames: 4096,
            ring_bytes: 4 << 20,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("path", &self.path)
            .field("max_bytes", &self.max_bytes)
            .field("keep", &self.keep)
            .field("ring_frames", &self.ring_frames)
            .field("ring_bytes", &self.ring_bytes)
            .finish_non_exhaustive()
    }
}
