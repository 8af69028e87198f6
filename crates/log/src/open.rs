//! Opens the log: in its file, or in memory if the file cannot be used.

use std::path::Path;
use std::sync::{Arc, mpsc as blocking};

use parking_lot::Mutex;
use tokio::sync::{broadcast, mpsc, watch};

use crate::completion::CompletionReporter;
use crate::health::Health;
use crate::line_shipper::{LineShipper, stderr};
use crate::live::{LiveStreams, RingLimits};
use crate::log::Inner;
use crate::metrics::LogMetrics;
use crate::store::{IncidentNumbers, Reader, RetentionWorker, Shared, StoreLocation, Writer};
use crate::{Log, Options};

/// Maximum number of commands that wait for the writer; beyond it, callers wait.
const COMMANDS_MAX: usize = 1024;
/// Maximum number of unrecorded events buffered for a subscriber.
const UNRECORDED_MAX: usize = 256;
/// Maximum size of a log that is kept in memory because its file cannot be used.
const MEMORY_BYTES_MAX: u64 = 256 << 20;

impl Log {
    /// Opens the log. Never fails: a file that cannot be used is left unchanged, the log is kept in memory, and
    /// [`Log::degraded`] says why. Blocks until the file is open.
    #[must_use]
    pub fn open(options: Options) -> Log {
        let numbers = IncidentNumbers::default();
        let opened = open_store(&options, &numbers);
        let metrics = LogMetrics::default();
        let sink = options.on_unrecorded.unwrap_or_else(stderr);
        let unrecorded = LineShipper::new("log-unrecorded", sink, metrics.lost("stderr"));
        let ship = |sink| LineShipper::new("log-shipper", sink, metrics.lost("stdout"));
        let shared = Arc::new(Shared {
            live: Arc::new(LiveStreams::new(RingLimits {
                frames: options.ring_frames,
                bytes: options.ring_bytes,
            })),
            health: Health::new(opened.degraded),
            numbers,
            appended: watch::Sender::new(0),
            unrecorded: broadcast::Sender::new(UNRECORDED_MAX),
            shipper: options.on_event.map(ship),
            metrics,
            completions: CompletionReporter(options.on_completion),
        });
        let (commands, waiting) = mpsc::channel(COMMANDS_MAX);
        let (done, drained) = blocking::sync_channel(1);
        match opened.connection {
            Some(connection) => {
                let retention =
                    RetentionWorker::new(options.keep, opened.max_bytes, options.on_forgotten);
                let writer = Writer::new(connection, waiting, Arc::clone(&shared), retention);
                start_writer(writer, done);
            }
            None => drop((waiting, done)),
        }
        Log(Arc::new(Inner {
            commands: Mutex::new(Some(commands)),
            drained: Mutex::new(drained),
            reader: Reader::start(opened.location),
            shared,
            unrecorded,
        }))
    }
}

struct OpenedStore {
    /// `None`: not even a log in memory could be opened.
    connection: Option<rusqlite::Connection>,
    max_bytes: u64,
    location: StoreLocation,
    degraded: Option<String>,
}

fn open_store(options: &Options, numbers: &IncidentNumbers) -> OpenedStore {
    let Some(path) = &options.path else {
        return open_in_memory(options.max_bytes, None, numbers);
    };
    let location = StoreLocation::File(path.clone());
    match location.open(options.max_bytes, numbers) {
        Ok(connection) => OpenedStore {
            connection: Some(connection),
            max_bytes: options.max_bytes,
            location,
            degraded: None,
        },
        Err(reason) => {
            let degraded = unusable(path, &reason);
            open_in_memory(MEMORY_BYTES_MAX, Some(degraded), numbers)
        }
    }
}

fn open_in_memory(
    max_bytes: u64,
    degraded: Option<String>,
    numbers: &IncidentNumbers,
) -> OpenedStore {
    numbers.clear();
    let location = StoreLocation::memory();
    let (connection, degraded) = match location.open(max_bytes, numbers) {
        Ok(connection) => (Some(connection), degraded),
        Err(reason) => {
            let degraded = format!("there is no incident log at all: {reason}");
            (None, Some(degraded))
        }
    };
    OpenedStore {
        connection,
        max_bytes,
        location,
        degraded,
    }
}

fn unusable(path: &Path, reason: &str) -> String {
    tracing::error!(path = %path.display(), reason, "the incident log cannot be used");
    format!(
        "the incident log {} cannot be used ({reason}); events are kept in memory until breakglass ends. \
         The file was not changed: repair it or move it away, and start again",
        path.display()
    )
}

fn start_writer(writer: Writer, done: blocking::SyncSender<()>) {
    let run = move || {
        writer.run();
        drop(done);
    };
    let thread = std::thread::Builder::new().name("log-writer".to_owned());
    if let Err(error) = thread.spawn(run) {
        tracing::error!(%error, "cannot start the thread that writes the incident log");
    }
}
