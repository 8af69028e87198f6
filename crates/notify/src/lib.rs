//! Notifications: sends events to receivers outside, and never delays anything else.
//!
//! ```text
//! the log ───────┐                            ┌─ outbox ─ deliver ─▶ receiver
//! unrecorded ────┤                            │  (a bounded file and a thread for each)
//! readiness ─────┼─ watch ─ select (pure) ────┼─ outbox ─ deliver ─▶ receiver
//! vital signs ───┘   │                        └─ …
//!                    └─ notified: the last notified state, a file
//! ```
//! A notification is in every outbox on disk before `notified` counts it, and its id is the same whenever it is
//! derived again. So a kill between the two loses nothing and repeats nothing. All waiting for a disk or a
//! receiver happens on separate threads.

mod deliver;
mod notification;
mod notified;
mod outbox;
mod pause;
mod select;
mod shape;
mod status;
mod store;
mod template;
#[cfg(test)]
mod tests;
mod watch;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use breakglass_control::Control;
use breakglass_log::Log;
use breakglass_model::Level;
use tokio::runtime::Handle;
use tokio::sync::watch as flag;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use breakglass_config::{Config, NotificationKind, NotifyConfig, ReceiverConfig};
use breakglass_readiness::{Check, ReadinessState};

pub use status::ReceiverStatus;

use deliver::ReceiverClient;
use notification::Notification;
use notified::NotifiedFile;
use outbox::Outbox;

/// Name of the directory in `data_dir`.
const DIR_NAME: &str = "notify";
/// Maximum wait on shutdown until the last events are in the outboxes.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

/// All receivers. Clones share one state.
#[derive(Clone)]
pub struct Notifier(Arc<Inner>);

struct Inner {
    config: NotifyConfig,
    dir: PathBuf,
    outboxes: Vec<Arc<Outbox>>,
    /// Asks the watch to read the sources once more and to end.
    end: CancellationToken,
    /// Whether the watch has ended.
    ended: flag::Sender<bool>,
}

impl std::fmt::Debug for Notifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Notifier").finish_non_exhaustive()
    }
}

/// The sources of notifications.
pub struct Sources {
    /// The incident log.
    pub log: Log,
    /// The vital signs.
    pub control: Control,
    /// The readiness state.
    pub readiness: ReadinessState,
}

impl Notifier {
    /// Opens the outboxes on disk. Nothing is sent before [`Notifier::start`].
    pub fn new(config: &Config) -> Notifier {
        let dir = config.data_dir.join(DIR_NAME);
        let open = |receiver: &ReceiverConfig| Arc::new(Outbox::open(&dir, receiver));
        Notifier(Arc::new(Inner {
            outboxes: config.notify.receivers.iter().map(open).collect(),
            config: config.notify.clone(),
            dir,
            end: CancellationToken::new(),
            ended: flag::Sender::new(true),
        }))
    }

    /// Starts to follow the sources and to deliver, until [`Notifier::shutdown`]. Must be called in a tokio
    /// runtime.
    pub fn start(&self, sources: Sources) {
        let inner = &self.0;
        let notified_path = NotifiedFile::path_in(&inner.dir);
        if inner.outboxes.is_empty() {
            // A receiver that is configured later gets only events from then on.
            let _ = std::fs::remove_file(notified_path);
            return;
        }
        for (outbox, receiver) in inner.outboxes.iter().zip(&inner.config.receivers) {
            let outbox = Arc::clone(outbox);
            let client = ReceiverClient::new(receiver);
            spawn(&format!("notify-{}", receiver.name), move || {
                deliver::run(&outbox, &client);
            });
        }
        let runtime = Handle::current();
        let this = self.clone();
        inner.ended.send_replace(false);
        let follow = move || {
            let notified = NotifiedFile::open(notified_path);
            let watch = watch::Watch::new(sources, &this.0.config, &this.0.outboxes, notified);
            runtime.block_on(watch.run(&this.0.end));
            this.0.ended.send_replace(true);
        };
        if !spawn("notify", follow) {
            inner.ended.send_replace(true);
        }
    }

    /// Puts the last events into the outboxes, within 2 s, and ends delivery after the current attempt. The next
    /// start delivers what is pending.
    pub async fn shutdown(&self) {
        self.0.end.cancel();
        let mut ended = self.0.ended.subscribe();
        let end = ended.wait_for(|ended| *ended);
        if tokio::time::timeout(SHUTDOWN_TIMEOUT, end).await.is_err() {
            tracing::warn!("the disk is slow: the last events are notified after the next start");
        }
        for outbox in &self.0.outboxes {
            outbox.stop();
        }
    }

    /// The status of each receiver. Does not block.
    pub fn statuses(&self) -> Vec<ReceiverStatus> {
        self.0
            .outboxes
            .iter()
            .map(|outbox| outbox.status())
            .collect()
    }

    /// The statuses as checks of readiness, named `notify.NAME`.
    pub fn checks(&self) -> Vec<Check> {
        self.statuses().iter().map(status::check).collect()
    }
}

/// Runs `work` on a new thread. Returns whether the thread could be started.
fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> bool {
    let started = std::thread::Builder::new()
        .name(name.chars().take(15).collect())
        .spawn(work);
    if let Err(error) = &started {
        tracing::error!(%error, name, "cannot start a thread: notifications are not sent");
    }
    started.is_ok()
}

/// A receiver's answer to a test, as a sentence; `Err` if it did not accept the test.
pub type Answer = Result<String, String>;

/// Sends one test to each receiver, all in parallel. Returns names and answers in the order of the configuration.
pub fn send_tests(config: &NotifyConfig) -> Vec<(String, Answer)> {
    let id = Uuid::now_v7().to_string();
    let title = "breakglass: a test";
    let text = "Notifications of breakglass arrive here.";
    let test = Notification::new(&id, NotificationKind::Test, Level::Info, title, text);
    let test = &test.linked(config.public_url.as_deref());
    std::thread::scope(|scope| {
        let send = |receiver: &'_ ReceiverConfig| {
            let client = ReceiverClient::new(receiver);
            scope.spawn(move || client.send(test))
        };
        let attempts: Vec<_> = config.receivers.iter().map(send).collect();
        let answers = attempts.into_iter().map(|attempt| match attempt.join() {
            Ok(answer) => answer.map_err(|failure| failure.message),
            Err(_) => Err("the attempt failed unexpectedly".to_owned()),
        });
        let names = config
            .receivers
            .iter()
            .map(|receiver| receiver.name.clone());
        names.zip(answers).collect()
    })
}
