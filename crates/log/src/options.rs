use std::fmt;
use std::path::PathBuf;

use crate::ended::EndSink;
use crate::retention::Retention;
use breakglass_model::OperationId;

/// A callback that gets whole JSON lines, newline included, on a thread of its own.
pub type LineSink = Box<dyn Fn(&[u8]) + Send>;

/// A callback that is told of an operation.
pub type OperationSink = Box<dyn Fn(OperationId) + Send>;

/// The most bytes that one event's JSON may have, without its hash.
pub const MAX_EVENT_BYTES: usize = 256 * 1024;
/// The most bytes that an idempotency key, and what is remembered for it, may have each.
pub const MAX_KEY_BYTES: usize = 4 * 1024;

/// How the journal is opened.
pub struct Options {
    /// The SQLite file; it and its directory are made where missing. `None` keeps the log in
    /// memory on purpose, which counts as sound: a drill wants no file.
    pub path: Option<PathBuf>,
    /// Gets each durable event as one JSON line that also names its `incident`, for whatever
    /// ships logs. A sink that stalls loses lines (counted in a warning); it never stalls the log.
    pub on_event: Option<LineSink>,
    /// Gets each event that could not be recorded, as one JSON line. `None` is standard error.
    pub on_unrecorded: Option<LineSink>,
    /// Is told once of each end of a turn, a verb, a check or a question: when it is durable, or
    /// when it could not be recorded. Called on the way, so it must return at once.
    pub on_end: Option<EndSink>,
    /// The most bytes that the store may grow to. From nine tenths of it on, the oldest closed
    /// incidents go; where there is none, appends fail beyond it as on a full disk.
    pub max_bytes: u64,
    /// How long closed incidents are kept.
    pub keep: Retention,
    /// Called for each operation of a removed incident whose screen was kept, before its events
    /// are gone; again for the same one after a crash in between. On the writer's thread: it has to
    /// be quick.
    pub on_forgotten: Option<OperationSink>,
    /// The most frames that a reader may lag behind before it is cut off.
    pub ring_frames: usize,
    /// The most bytes that a reader may lag behind before it is cut off.
    pub ring_bytes: usize,
}

impl Options {
    /// A log in this file, with the usual bounds.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Options {
        Options {
            path: Some(path.into()),
            ..Options::in_memory()
        }
    }

    /// A log that ends with the process, with the usual bounds.
    #[must_use]
    pub fn in_memory() -> Options {
        Options {
            path: None,
            on_event: None,
            on_unrecorded: None,
            on_end: None,
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
